/*
 * start_order: in which order the Kustomizations begin that one event wakes, so that few find what they depend on unfinished.
 */
#pragma once

#include "kube/cache.h"

#include <stddef.h>

/*
 * `order` has room for as many places as the list has items: each comes after those of the list that it depends on (spec.dependsOn). Those in a
 * circle, and those behind one, come last. Without recursion; builds no trees.
 */
void start_order(const struct cache_list *list, const struct cache_object **order);
