/*
 * zeros: what Go's typed structs leave out of an object of a built-in kind: nulls, empty lists, empty maps of texts, and the zeros of fields that
 * cannot tell them from absence. Nobody owns what is not there.
 */
#pragma once

#include "engine/kustomize/node.h"

/* In place. In a map of texts a null becomes "", in one of quantities "0": the keys stay. */
void zeros_leave_out(struct arena *arena, struct node *object);
/* false, 0 or "". */
bool zeros_is_zero(const struct node *value);
