/*
 * json_patch: JSON 6902 as evanphx/json-patch v4 applies it, negative indices and lenient replace included.
 */
#pragma once

#include "engine/kustomize/build.h"

/* A JSON patch from a text in JSON or YAML: a list of objects. -1 if it is none. */
int json_patch_decode(struct build *build, struct view text, const struct node **ret_operations);
/* Applies to the object, which becomes what is left after a trip through JSON: styles are gone, numbers are doubles. */
int json_patch_apply(struct build *build, struct node *object, const struct node *operations);
