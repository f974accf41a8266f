/*
 * managed_fields: who owns which fields of an object (FieldsV1).
 *
 * A field set is a trie: a path element is "f:<name>", "k:<keys of a list item>", "v:<item of a set>" or "i:<index>"; a node may be owned itself and
 * may have children. A set lives in an arena, does not change after it is made, and sets share their parts. Printing gives the bytes that the API server
 * writes: the node itself, then fields, keys, values and indices, each sorted.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>
#include <stddef.h>

struct field_set;

/* Elements with a prefix that is not known are skipped. ERROR_INVALID if it is no object of objects or an element is malformed. */
int field_set_parse(const struct json *fields_v1, struct arena *arena, const struct field_set **ret_set, struct error *error);
void field_set_print(const struct field_set *set, struct buffer *buffer);

const struct field_set *field_set_union(const struct field_set *a, const struct field_set *b, struct arena *arena);
bool field_set_equal(const struct field_set *a, const struct field_set *b);
bool field_set_empty(const struct field_set *set); /* NULL is empty */

/*
 * The places of `object` that are in the set, as JSON pointers in the order of the set; places that are not there any more are left out. A list
 * item is found by its keys; a key that the item does not have matches the protocol's default TCP.
 * `seen` returns false to stop.
 */
void field_set_resolve(const struct field_set *set, const struct json *object, bool (*seen)(void *argument, struct view pointer),
                       void *argument);
/* For people: ".spec.replicas, .spec.template.spec.containers[name="web"].image" and at most `limit` of them, then ", ..." */
void field_set_describe(const struct field_set *set, unsigned limit, struct buffer *buffer);

/* One entry of metadata.managedFields. */
struct field_owner {
        const char *manager;
        const char *operation;   /* "Apply" or "Update" */
        const char *subresource; /* "" if none */
};
struct field_owner field_owner_of(const struct json *entry);

/* An owner whose fields are taken over. */
struct field_takeover {
        const char *manager;
        const char *operation; /* NULL: any */
        bool prefix;           /* the manager's name begins with it */
};

/* Whether it is one of them; an owner of a subresource never is. */
bool field_owner_taken(const struct field_owner *owner, const struct field_takeover *owners, size_t count);

/*
 * The list of entries after `manager` has taken over what the matching entries (without subresource) own: their sets go into its Apply entry; without
 * one the first of them is renamed. The merged entry comes last.
 *
 *  0              *ret_entries is the new list, which the caller owns
 *  MANAGED_FIELDS_UNCHANGED  none matches
 * -1              an entry is malformed
 */
#define MANAGED_FIELDS_UNCHANGED 1
int managed_fields_take_over(const struct json *object, const char *manager, const struct field_takeover *owners, size_t count,
                             struct json **ret_entries, struct error *error);
