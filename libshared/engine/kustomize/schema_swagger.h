/*
 * schema_swagger: the schema that openapi.path loads, in the form of schema.h. Private to schema.c and schema_swagger.c.
 */
#pragma once

#include "engine/kustomize/schema.h"

struct schema_kind {
        struct view api_version;
        struct view kind;
        const struct schema_type *type;
};

struct schema_scope {
        struct view api_version;
        struct view kind;
        bool cluster;
};

struct schema {
        bool builtin; /* kinds not listed here have their built-in schema */
        const struct schema_kind *kinds;
        size_t kind_count;
        const struct schema_scope *scopes;
        size_t scope_count;
};

/* The built-in type of a definition's name; NULL if there is none, or nothing below it merges. */
const struct schema_type *schema_builtin_definition(struct view name);
