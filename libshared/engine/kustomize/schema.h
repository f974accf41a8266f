/*
 * schema: which lists merge by key in a strategic merge, and which kinds have no namespace.
 *
 * The built-in tables are those of Kubernetes 1.21.2, the only version that kustomize 5.8.1 carries. openapi.path replaces them, or adds to
 * them, for one build.
 */
#pragma once

#include "base/error.h"
#include "engine/kustomize/node.h"

#define SCHEMA_KEYS 4

struct schema_type;

struct schema_field {
        const char *name;               /* NULL ends the list; "*" any other key (additionalProperties) */
        const struct schema_type *type; /* of the value, or of a list's elements; NULL: nothing below it merges */
        bool merge;                     /* a list that merges, by `keys`; without keys by its elements' texts */
        const char *keys[SCHEMA_KEYS];
};

struct schema_type {
        const struct schema_field *fields;
};

struct schema;

/* The built-in one; openapi.path derives others from it. */
const struct schema *schema_builtin(void);

/*
 * From the definitions (and paths) of a swagger 2 document. `adds`: the kinds it does not define keep the built-in meaning, else they have none.
 */
int schema_load(struct arena *arena, const struct node *document, bool adds, const struct schema **ret_schema, struct error *error);

/* NULL if the kind has none. */
const struct schema_type *schema_of(const struct schema *schema, struct view api_version, struct view kind);
const struct schema_field *schema_field(const struct schema_type *type, struct view name);
/* `next`: what follows 5.8.1 knows more kinds. *ret_unknown is set (never cleared) if Kubernetes has no such kind. */
bool schema_cluster_scoped(const struct schema *schema, struct view group, struct view version, struct view kind, bool next,
                           bool *ret_unknown);
