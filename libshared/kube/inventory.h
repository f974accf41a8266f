/*
 * inventory: the list of what an owner has put into the cluster, as Flux writes it into a status.
 *
 * An entry's id is `<namespace>_<name>_<group>_<Kind>`, its v the API version without the group. Names of RBAC objects may hold ':', which is
 * written as "__". Two entries are the same object if their ids are equal; the version does not count.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Strings are never NULL and live where the reader or writer says. */
struct object_id {
        const char *group; /* "" for the core group */
        const char *version;
        const char *kind;
        const char *namespace; /* "" if it has none */
        const char *name;
};

struct inventory {
        struct object_id *items;
        size_t count;
};

/* Appends the id. */
void inventory_id_print(const struct object_id *object, struct buffer *id);
/* -1, ERROR_INVALID: `unable to parse stored object metadata: <id>`. */
int inventory_id_parse(struct view id, const char *version, struct arena *arena, struct object_id *ret_object, struct error *error);

/* status.inventory; absent is empty. What cannot be parsed fails the whole. */
int inventory_decode(const struct json *inventory, struct arena *arena, struct inventory *ret_inventory, struct error *error);
/* {"entries":[{"id","v"}]}; the caller owns it. */
struct json *inventory_encode(const struct inventory *inventory);

bool object_id_same(const struct object_id *a, const struct object_id *b);
/*
 * Those of `old` that are not in `now`, in the order of `old`. The items stay where they are. A namespace that only one of two entries has does not
 * tell them apart: an object of the cluster may have been recorded with the namespace of its manifest, and what is in `now` must not be deleted.
 */
struct inventory inventory_difference(const struct inventory *old, const struct inventory *now, struct arena *arena);
/* Those of `a`, then those of `b` that are not in it. */
struct inventory inventory_union(const struct inventory *a, const struct inventory *b, struct arena *arena);

/* "<Kind>/<namespace>/<name>", without the namespace if there is none. Appended. */
void object_id_describe(const struct object_id *object, struct buffer *text);

/*
 * The order in which objects are applied: the rank of the kind, then group, kind, namespace, name. Pruning goes the other way.
 */
int object_id_compare(const struct object_id *a, const struct object_id *b);
unsigned object_id_rank(const struct object_id *object);
