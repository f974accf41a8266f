/*
 * element_index: the elements of a long list by the text of one field, so that merging two lists takes time as they are long and not as the product.
 *
 * Lives in the arena. It holds what was put into it and does not follow the list: whoever changes the list keeps it true.
 */
#pragma once

#include "engine/kustomize/node.h"

struct element_slot {
        struct view text;
        struct node *element; /* NULL: free */
        uint32_t place;       /* in the list */
};

struct element_index {
        struct element_slot *slots; /* NULL: there is no index */
        size_t capacity;            /* a power of two */
};

#define ELEMENT_INDEX_NULL ((struct element_index){ NULL, 0 })

/* An empty one with room for `most` elements. */
struct element_index element_index_new(struct arena *arena, size_t most);
/* Of the maps in `list` that have the field: the first of each text. `list` may be NULL, or no list. */
struct element_index element_index_of(struct arena *arena, const struct node *list, struct view field);

/* The slot of that text: free if there is no such element, and then it may be filled, once for each element that there is room for. */
struct element_slot *element_index_at(const struct element_index *index, struct view text);
