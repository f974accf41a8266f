/*
 * variable: the deprecated `vars`: $(NAME) in fields of any resource.
 */
#pragma once

#include "engine/kustomize/accumulator.h"

/* Registers the vars of a kustomization: each is tied to the resource that it names now, if it is there. */
int variable_register(struct build *build, struct accumulator *accumulator, const struct node *variables);
/* Those of a base. -1: "var 'X' already encountered". */
int variable_add_all(struct build *build, struct accumulator *accumulator, const struct variable_list *variables);
/* Puts the values in. */
int variable_resolve(struct build *build, struct accumulator *accumulator);
