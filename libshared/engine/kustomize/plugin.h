/*
 * plugin: the entries of `generators`, `transformers` and `validators`: configurations of built-in plugins, in files or inline.
 */
#pragma once

#include "engine/kustomize/target.h"

int plugin_generate(struct build *build, struct target *target, const struct node *entries, struct accumulator *accumulator);
int plugin_transformers(struct build *build, struct target *target, const struct node *entries, struct transformer_list *list);
/* Runs a transformer that must not change anything. */
int plugin_validate(struct build *build, struct accumulator *accumulator, struct transformer *transformer);
