#include "engine/kustomize/schema_swagger.h"

#include <string.h>

struct loader {
        struct arena *arena;
        const struct node *definitions;
        struct schema_type *types; /* one for each definition, for they may refer to each other */
        bool *known;               /* it is filled, or waits for that */
        size_t *waiting;           /* to be filled one after the other: no recursion, however long a row of references is */
        size_t waiting_count;
        bool adds;
        struct error *error;
};

static const struct schema_type *type_of(struct loader *l, const struct node *property, unsigned depth);

/* `#/definitions/name` to its number; -1 if there is none. */
static ptrdiff_t find_definition(const struct loader *l, struct view reference)
{
        static const struct view prefix = VIEW("#/definitions/");

        if (!view_starts(reference, prefix))
                return -1;
        reference = view_slice(reference, prefix.length, SIZE_MAX);
        for (uint32_t i = 0; i < l->definitions->count; i++)
                if (view_equal(node_text(l->definitions->entries[i].key), reference))
                        return (ptrdiff_t)i;
        return -1;
}

static bool has_merge(struct view strategy)
{
        struct view piece;

        while (view_split(&strategy, ',', &piece))
                if (view_is(piece, "merge"))
                        return true;
        return false;
}

static void fill_field(struct loader *l, struct schema_field *field, const char *name, const struct node *property, unsigned depth)
{
        const struct node *keys = node_get_of(property, "x-kubernetes-list-map-keys");
        struct view key = node_get_text(property, "x-kubernetes-patch-merge-key");

        field->name = name;
        field->type = type_of(l, property, depth);
        field->merge = has_merge(node_get_text(property, "x-kubernetes-patch-strategy"));
        if (node_is_list(keys)) {
                for (uint32_t i = 0; i < keys->count && i < SCHEMA_KEYS - 1; i++)
                        field->keys[i] = keys->items[i]->kind == NODE_SCALAR ? keys->items[i]->text : "";
        } else if (key.length) {
                field->keys[0] = key.data;
        }
}

static void fill_type(struct loader *l, struct schema_type *type, const struct node *definition, unsigned depth)
{
        const struct node *properties = node_get_of(definition, "properties");
        const struct node *any = node_get_of(definition, "additionalProperties");
        uint32_t count = node_is_map(properties) ? properties->count : 0;
        struct schema_field *fields = arena_array(l->arena, count + 2, sizeof(*fields));

        type->fields = fields;
        for (uint32_t i = 0; i < count; i++)
                fill_field(l, &fields[i], properties->entries[i].key->text, properties->entries[i].value, depth + 1);
        if (node_is_map(any))
                fill_field(l, &fields[count], "*", any, depth + 1);
}

static const struct schema_type *type_of_definition(struct loader *l, size_t number)
{
        if (!l->known[number]) {
                l->known[number] = true;
                l->waiting[l->waiting_count++] = number;
        }
        return &l->types[number];
}

static const struct schema_type *type_of(struct loader *l, const struct node *property, unsigned depth)
{
        struct view reference = node_get_text(property, "$ref");
        const struct node *items = node_get_of(property, "items");
        struct schema_type *type;
        ptrdiff_t found;

        if (depth > 64)
                return NULL;
        if (reference.length) {
                found = find_definition(l, reference);
                if (found < 0)
                        return l->adds ? schema_builtin_definition(view_slice(reference, strlen("#/definitions/"), SIZE_MAX))
                                       : NULL;
                return type_of_definition(l, (size_t)found);
        }
        if (node_is_map(items))
                return type_of(l, items, depth + 1);
        type = arena_new_of(l->arena, struct schema_type);
        fill_type(l, type, property, depth);
        return type;
}

static struct view api_version_of(struct arena *arena, const struct node *gvk)
{
        struct view group = node_get_text(gvk, "group"), version = node_get_text(gvk, "version");

        if (group.length == 0)
                return version;
        return view_of(arena_printf(arena, "%.*s/%.*s", VIEW_ARGS(group), VIEW_ARGS(version)));
}

static size_t count_kinds(const struct node *definitions)
{
        size_t count = 0;

        for (uint32_t i = 0; i < definitions->count; i++) {
                const struct node *gvks = node_get_of(definitions->entries[i].value, "x-kubernetes-group-version-kind");

                count += node_is_list(gvks) ? gvks->count : 0;
        }
        return count;
}

static void load_kinds(struct loader *l, struct schema *schema)
{
        struct schema_kind *kinds = arena_array(l->arena, count_kinds(l->definitions), sizeof(*kinds));

        for (uint32_t i = 0; i < l->definitions->count; i++) {
                const struct node *definition = l->definitions->entries[i].value;
                const struct node *gvks = node_get_of(definition, "x-kubernetes-group-version-kind");

                if (!node_is_list(gvks) || gvks->count == 0)
                        continue;
                for (uint32_t k = 0; k < gvks->count; k++) {
                        kinds[schema->kind_count].api_version = api_version_of(l->arena, gvks->items[k]);
                        kinds[schema->kind_count].kind = node_get_text(gvks->items[k], "kind");
                        kinds[schema->kind_count++].type = type_of_definition(l, i);
                }
        }
        while (l->waiting_count) {
                size_t number = l->waiting[--l->waiting_count];

                fill_type(l, &l->types[number], l->definitions->entries[number].value, 0);
        }
        schema->kinds = kinds;
}

/* A kind whose paths have no namespace in them is cluster-scoped. */
static void load_scopes(struct arena *arena, const struct node *paths, struct schema *schema)
{
        struct schema_scope *scopes;

        if (!node_is_map(paths))
                return;
        scopes = arena_array(arena, paths->count, sizeof(*scopes));
        for (uint32_t i = 0; i < paths->count; i++) {
                const struct node *get = node_get_of(paths->entries[i].value, "get");
                const struct node *gvk = node_get_of(get, "x-kubernetes-group-version-kind");
                struct schema_scope scope;
                bool known = false;

                if (!node_is_map(gvk))
                        continue;
                scope.api_version = api_version_of(arena, gvk);
                scope.kind = node_get_text(gvk, "kind");
                scope.cluster = view_search(node_text(paths->entries[i].key), VIEW("namespaces/{namespace}"), 0) < 0;
                for (size_t k = 0; k < schema->scope_count && !known; k++) {
                        known = view_equal(scopes[k].api_version, scope.api_version) && view_equal(scopes[k].kind, scope.kind);
                        if (known)
                                scopes[k].cluster &= scope.cluster;
                }
                if (!known)
                        scopes[schema->scope_count++] = scope;
        }
        schema->scopes = scopes;
}

int schema_load(struct arena *arena, const struct node *document, bool adds, const struct schema **ret_schema, struct error *error)
{
        struct schema *schema = arena_new_of(arena, struct schema);
        struct loader l = { .arena = arena, .definitions = node_get_of(document, "definitions"), .adds = adds, .error = error };

        if (!node_is_map(document))
                return error_set(error, ERROR_INVALID, "the OpenAPI document is not a mapping");
        schema->builtin = adds;
        if (node_is_map(l.definitions)) {
                l.types = arena_array(arena, l.definitions->count, sizeof(*l.types));
                l.known = arena_array(arena, l.definitions->count, sizeof(*l.known));
                l.waiting = arena_array(arena, l.definitions->count, sizeof(*l.waiting));
                load_kinds(&l, schema);
        }
        load_scopes(arena, node_get_of(document, "paths"), schema);
        *ret_schema = schema;
        return 0;
}
