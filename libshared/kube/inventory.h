/*
 * inventory: the list of what an owner has put into the cluster, as Flux writes it into a status.
 *
 * An entry's id is `<namespace>_<name>_<group>_<Kind>`, its v the API version without the group. Names of RBAC objects may hold ':', which is
 * written as "__", and so a name that has "__" of its own cannot be told from it: it is read as ':'. Two entries are the same object if their ids are equal;
 * the version does not count.
 *
 * People and other tools write statuses too. An entry that names no object is kept as it is and never acted upon: what it once meant may still be there.
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

/* An entry that names no object. */
struct inventory_unread {
        size_t position;  /* in status.inventory.entries */
        struct view text; /* of the entry: JSON */
        const char *why;
};

struct inventory {
        struct object_id *items;
        size_t count;
        const struct inventory_unread *unread;
        size_t unread_count;
};

#define INVENTORY_NULL ((struct inventory){ NULL, 0, NULL, 0 })

/* Appends the id. */
void inventory_id_print(const struct object_id *object, struct buffer *id);
/*
 * -1, ERROR_INVALID: `unable to parse stored object metadata: <why>`. Refused is also what no object can be called (a NUL, a '/'): it would be a request
 * about something else.
 */
int inventory_id_parse(struct view id, const char *version, struct arena *arena, struct object_id *ret_object, struct error *error);

/* status.inventory; absent is empty. */
struct inventory inventory_decode(const struct json *inventory, struct arena *arena);
/* A line for each entry that could not be read: which one, and why. Appended. */
void inventory_unread_print(const struct inventory *inventory, struct buffer *text);
/* {"entries":[{"id","v"}]}, those that could not be read as they were; the caller owns it. */
struct json *inventory_encode(const struct inventory *inventory);

/* Its id may mean an object of another name as well. */
bool object_id_ambiguous(const struct object_id *object);
/*
 * Those of `old` that are not in `now`, in the order of `old`. The items stay where they are. A namespace that only one of two entries has does not
 * tell them apart: an object of the cluster may have been recorded with the namespace of its manifest, and what is in `now` must not be deleted. What
 * could not be read is in no difference.
 */
struct inventory inventory_difference(const struct inventory *old, const struct inventory *now, struct arena *arena);
/* Those of `a`, then those of `b` that are not in it. What could not be read is taken from the first that has any. */
struct inventory inventory_union(const struct inventory *a, const struct inventory *b, struct arena *arena);

/* For asking about many objects: is it in the inventory, whatever the version, and the namespace where only one of the two has one. */
struct inventory_index;
const struct inventory_index *inventory_index(const struct inventory *inventory, struct arena *arena);
bool inventory_has(const struct inventory_index *index, const struct object_id *object);

/* An object by the words of its manifest, copied into the arena. */
struct object_id object_id_of(struct view api_version, struct view kind, struct view namespace, struct view name,
                              struct arena *arena);

/* "<Kind>/<namespace>/<name>", without the namespace if there is none. Appended. */
void object_id_describe(const struct object_id *object, struct buffer *text);

/*
 * The order in which objects are applied: the rank of the kind, then group, kind, namespace, name. Pruning goes the other way.
 */
int object_id_compare(const struct object_id *a, const struct object_id *b);
unsigned object_id_rank(const struct object_id *object);
