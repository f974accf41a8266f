/*
 * replacement_path: the paths of replacements: `spec.containers.[name=web].image`, `*`, indexes.
 */
#pragma once

#include "engine/kustomize/build.h"

struct path_pieces {
        struct view *items;
        size_t count;
};

/* Splits at dots; `\.` is a dot inside a piece, `[a.b/c]` one key, `[field=value]` one piece. */
struct path_pieces replacement_path_split(struct build *build, struct view path);

/* The one node at a source's path (values in brackets are exact texts, `-` the last element); *ret is NULL if there is none. */
int replacement_path_lookup(struct build *build, struct node *node, struct path_pieces path, struct node **ret);

enum path_create {
        PATH_CREATE_NOTHING,
        PATH_CREATE_SCALAR,
        PATH_CREATE_MAP,
        PATH_CREATE_LIST,
};

/* All nodes at a target's path (values in brackets are regular expressions), missing ones made if asked for. */
int replacement_path_match(struct build *build, struct node *node, struct path_pieces path, enum path_create create,
                           struct node_array *ret_nodes);
