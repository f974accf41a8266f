/*
 * node: a YAML document as kustomize sees it: ordered maps, lists, and scalars that keep their text, tag and style.
 *
 * A scalar's final type is decided when it is written (scalar.h): `1` patched over `"a"` becomes `"1"`, because the quotes belong to the place
 * and the text to the value. Nodes live in an arena and are never freed one by one; a tree has one owner, and no node is reachable twice
 * (aliases are expanded by the reader), so changing a node in place changes one place.
 *
 * (One exception, which the reference has: labels and annotations that a transformer adds to several places of one object are one node, and a
 * later change of one is a change of all.)
 *
 * Trees are as deep as their reader allowed (READER_DEPTH at most), and as a transformer's path makes them (as many pieces at most), which is
 * what makes recursion over them safe.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum node_kind {
        NODE_SCALAR, /* also null */
        NODE_MAP,
        NODE_LIST,
};

enum node_tag {
        TAG_NONE, /* typed by its text when written */
        TAG_STRING,
        TAG_INTEGER,
        TAG_FLOAT,
        TAG_BOOL,
        TAG_NULL,
        TAG_TIMESTAMP,
        TAG_BINARY,
        TAG_MERGE, /* the plain key `<<` */
        TAG_OTHER, /* `!name`: the text is a string */
};

enum node_style {
        STYLE_PLAIN,
        STYLE_SINGLE,
        STYLE_DOUBLE,
        STYLE_LITERAL,
        STYLE_FOLDED,
        STYLE_FLOW, /* of a map or list; block is STYLE_PLAIN */
};

struct node;

struct node_entry {
        struct node *key; /* a scalar */
        struct node *value;
};

struct node {
        uint8_t kind;  /* enum node_kind */
        uint8_t tag;   /* enum node_tag; of scalars */
        uint8_t style; /* enum node_style */
        bool explicit_tag;
        uint32_t line;     /* in its file, from 1; 0: made here */
        uint32_t count;    /* entries, items, or bytes of text */
        uint32_t capacity; /* entries or items; of a scalar that was read: where its source begins, in code points */
        union {
                const char *text; /* terminated; may hold NUL bytes */
                struct node_entry *entries;
                struct node **items;
        };
};

/* Constructors; texts are copied into the arena. A string is quoted where its plain form would read as something else. */
struct node *node_string(struct arena *arena, struct view text);
struct node *node_string_of(struct arena *arena, const char *text);
struct node *node_scalar(struct arena *arena, enum node_tag tag, enum node_style style, struct view text);
struct node *node_integer(struct arena *arena, int64_t value);
struct node *node_bool(struct arena *arena, bool value);
struct node *node_null(struct arena *arena);
struct node *node_map(struct arena *arena);
struct node *node_list(struct arena *arena);
struct node *node_copy(struct arena *arena, const struct node *node);

/* Of a map or list nothing. */
static inline struct view node_text(const struct node *node)
{
        return node->kind == NODE_SCALAR ? (struct view){ node->text, node->count } : VIEW_NULL;
}

/* NULL and null scalars are null; so is an empty plain text. */
static inline bool node_is_null(const struct node *node)
{
        return !node || (node->kind == NODE_SCALAR && node->tag == TAG_NULL);
}
static inline bool node_is_map(const struct node *node)
{
        return node && node->kind == NODE_MAP;
}
static inline bool node_is_list(const struct node *node)
{
        return node && node->kind == NODE_LIST;
}
/* A scalar that is not null. */
bool node_is_scalar(const struct node *node);
/* Null, an empty map or an empty list. */
bool node_is_empty(const struct node *node);
/* A scalar's text is `text`. */
bool node_text_is(const struct node *node, const char *text);

/* The value of `key`, NULL if `map` is none or has none. With duplicate keys the first. */
struct node *node_get(const struct node *map, struct view key);
struct node *node_get_of(const struct node *map, const char *key);
/* Descends through maps along NULL-terminated keys. */
struct node *node_path(const struct node *node, ...) __attribute__((__sentinel__));
/* The text of a scalar at `key`; VIEW_NULL if there is none or it is null. */
struct view node_get_text(const struct node *map, const char *key);
/* As the pointer, with "" for what is not there. */
const char *node_get_string(const struct node *map, const char *key);

/* Replaces the value of `key` or appends it. The node becomes part of the map. */
void node_set(struct arena *arena, struct node *map, struct view key, struct node *value);
void node_set_of(struct arena *arena, struct node *map, const char *key, struct node *value);
/* The map at `key`, made (in place of a null too) where there is none; NULL if something else is there. */
struct node *node_make_map(struct arena *arena, struct node *map, const char *key);
/* True if it was there. */
bool node_remove(struct node *map, struct view key);
bool node_remove_of(struct node *map, const char *key);
void node_append(struct arena *arena, struct node *list, struct node *item);
void node_insert(struct arena *arena, struct node *list, size_t at, struct node *item);
void node_remove_at(struct node *list, size_t at);
void node_add_entry(struct arena *arena, struct node *map, struct node *key, struct node *value);

/* Takes tag and text of `value` and keeps the style of the place ("set value"); a map or list replaces the node as a whole. */
void node_assign(struct node *place, const struct node *value);

/* Nesting: a scalar is 1. Stops counting at `limit`. */
unsigned node_depth(const struct node *node, unsigned limit);

/* Labels and annotations of a Kubernetes object; metadata and the map are made as needed. Setting fails (-1) if they are no maps. */
struct view node_label(const struct node *object, const char *key);
struct view node_annotation(const struct node *object, const char *key);
int node_set_label(struct arena *arena, struct node *object, const char *key, struct view value);
int node_set_annotation(struct arena *arena, struct node *object, const char *key, struct view value);
