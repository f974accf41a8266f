/*
 * order: the order of the output.
 */
#pragma once

#include "engine/kustomize/build.h"

/* Sorts by sortOptions of the top file (NULL: none) or the caller's order. */
int order_resources(struct build *build, const struct node *sort_options, struct resource_list *list);
