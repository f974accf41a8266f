/*
 * keys: the entries of a map in the order in which they are written.
 */
#pragma once

#include "base/error.h"
#include "engine/kustomize/node.h"

#define SORTED_KEYS_SMALL 24 /* maps up to this many entries are sorted on the stack */

enum key_order {
        KEYS_NATURAL,  /* as go-yaml sorts: digits by value, letters after what is none */
        KEYS_BYTEWISE, /* as encoding/json sorts */
        KEYS_UNSORTED, /* as they stand; duplicates are not looked for */
};

struct sorted_key {
        struct view text;
        const struct node *value;
};

/*
 * Fills `keys` (room for map->count) in order. -1, ERROR_INVALID: a key occurs twice, or is no string by its type; `top`: there any scalar
 * is taken by its text.
 */
int keys_sort(struct arena *arena, const struct node *map, enum key_order order, bool top, struct sorted_key *keys,
              struct error *error);
