#include "engine/kustomize/accumulator.h"

#include "engine/kustomize/variable.h"

#include <string.h>

static void id_table_add(struct arena *arena, struct id_table *table, uint64_t hash, struct resource *resource);

static void table_grow(struct arena *arena, struct id_table *table)
{
        struct id_table larger = { .capacity = table->capacity ? table->capacity * 2 : 64 };

        larger.slots = arena_array(arena, larger.capacity, sizeof(*larger.slots));
        for (size_t i = 0; i < table->capacity; i++)
                if (table->slots[i].resource)
                        id_table_add(arena, &larger, table->slots[i].hash, table->slots[i].resource);
        *table = larger;
}

static void id_table_add(struct arena *arena, struct id_table *table, uint64_t hash, struct resource *resource)
{
        size_t at;

        if (table->count * 4 >= table->capacity * 3)
                table_grow(arena, table);
        for (at = hash & (table->capacity - 1); table->slots[at].resource; at = (at + 1) & (table->capacity - 1))
                continue;
        table->slots[at] = (struct id_slot){ hash, resource };
        table->count++;
}

/* One after the other the resources with that hash: 1 with the next one, 0 when there are no more. The cursor starts at 0. */
static int id_table_find(const struct id_table *table, uint64_t hash, size_t *cursor, struct resource **ret_resource)
{
        while (table->capacity && *cursor < table->capacity) {
                const struct id_slot *slot = &table->slots[(hash + *cursor) & (table->capacity - 1)];

                if (!slot->resource)
                        return 0;
                ++*cursor;
                if (slot->hash == hash) {
                        *ret_resource = slot->resource;
                        return 1;
                }
        }
        return 0;
}

void accumulator_touch(struct accumulator *accumulator)
{
        accumulator->indexed = false;
        accumulator->any_indexed = false;
}

/* Another than `self`, which may be NULL. What the table knows under an id of the past is not found. */
static struct resource *find_current(struct build *build, const struct id_table *table, const struct resource_id *id,
                                     const struct resource *self)
{
        struct resource *resource;
        size_t cursor = 0;

        while (id_table_find(table, resource_id_hash(id), &cursor, &resource)) {
                struct resource_id other;

                if (resource == self)
                        continue;
                other = resource_current(&build->identity, resource);
                if (resource_id_equal(id, &other))
                        return resource;
        }
        return NULL;
}

static void index_current(struct build *build, struct accumulator *accumulator)
{
        if (accumulator->indexed)
                return;
        accumulator->current = (struct id_table){ 0 };
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource_id id = resource_current(&build->identity, accumulator->list.items[i]);

                id_table_add(build->arena, &accumulator->current, resource_id_hash(&id), accumulator->list.items[i]);
        }
        accumulator->indexed = true;
}

int accumulator_add(struct build *build, struct accumulator *accumulator, struct resource *resource)
{
        struct resource_id id = resource_current(&build->identity, resource);

        index_current(build, accumulator);
        if (find_current(build, &accumulator->current, &id, NULL))
                return error_set(build->error, ERROR_INVALID, "may not add resource with an already registered id: %s",
                                 resource_id_text(build->arena, &id));
        resource_list_add(build->arena, &accumulator->list, resource);
        id_table_add(build->arena, &accumulator->current, resource_id_hash(&id), resource);
        accumulator->any_indexed = false;
        return 0;
}

static int add_all(struct build *build, struct accumulator *accumulator, const struct resource_list *list)
{
        for (size_t i = 0; i < list->count; i++)
                TRY(accumulator_add(build, accumulator, list->items[i]));
        return 0;
}

static void index_any(struct build *build, struct accumulator *accumulator)
{
        if (accumulator->any_indexed)
                return;
        accumulator->any = (struct id_table){ 0 };
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                struct id_list ids = resource->node ? resource_all_ids(&build->identity, resource) : (struct id_list){ NULL, 0 };

                for (size_t k = 0; k < ids.count; k++)
                        id_table_add(build->arena, &accumulator->any, resource_id_hash(&ids.items[k]), resource);
        }
        accumulator->any_indexed = true;
}

static bool has_id(struct build *build, const struct resource *resource, const struct resource_id *id)
{
        struct id_list ids = resource_all_ids(&build->identity, resource);

        for (size_t i = 0; i < ids.count; i++)
                if (resource_id_equal(&ids.items[i], id))
                        return true;
        return false;
}

struct resource_list accumulator_by_any_id(struct build *build, struct accumulator *accumulator, const struct resource_id *id)
{
        struct resource_list found = { 0 };
        struct resource *resource;
        size_t cursor = 0;

        index_any(build, accumulator);
        while (id_table_find(&accumulator->any, resource_id_hash(id), &cursor, &resource)) {
                bool known = !resource->node || !has_id(build, resource, id);

                for (size_t i = 0; i < found.count && !known; i++)
                        known = found.items[i] == resource;
                if (!known)
                        resource_list_add(build->arena, &found, resource);
        }
        return found;
}

static int conflict(struct build *build, const struct accumulator *accumulator, const struct resource_id *id, const char *what)
{
        struct buffer text = BUFFER_NULL;
        struct error ignored = ERROR_NULL;

        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource_id other = resource_current(&build->identity, accumulator->list.items[i]);

                if (!resource_id_equal(id, &other))
                        continue;
                buffer_add_string(&text, text.length ? " " : "");
                (void)emit_json(&text, build->arena, accumulator->list.items[i]->node, EMIT_HTML_ESCAPE, &ignored);
        }
        error_set(build->error, ERROR_INVALID, "%s: [%s]", what, buffer_string(&text));
        buffer_release(&text);
        error_release(&ignored);
        return -1;
}

int accumulator_reindex(struct build *build, struct accumulator *accumulator, struct resource *resource, const char *what)
{
        struct resource_id id = resource_current(&build->identity, resource);

        index_current(build, accumulator);
        if (find_current(build, &accumulator->current, &id, resource))
                return conflict(build, accumulator, &id, what);
        id_table_add(build->arena, &accumulator->current, resource_id_hash(&id), resource);
        accumulator->any_indexed = false;
        return 0;
}

void accumulator_drop_empty(struct accumulator *accumulator)
{
        size_t kept = 0;

        for (size_t i = 0; i < accumulator->list.count; i++)
                if (!node_is_empty(accumulator->list.items[i]->node))
                        accumulator->list.items[kept++] = accumulator->list.items[i];
        if (kept != accumulator->list.count)
                accumulator_touch(accumulator);
        accumulator->list.count = kept;
}

static const char *behavior_of(const struct resource *resource)
{
        bool found;
        struct view text = resource_annotation(resource, ANNOTATION_BEHAVIOR, &found);

        if (view_is(text, "merge"))
                return "merge";
        if (view_is(text, "replace"))
                return "replace";
        return view_is(text, "create") ? "create" : "unspecified";
}

/* Go's %#v of an id. */
static char *dump_id(struct build *build, const struct resource_id *id)
{
        return arena_printf(build->arena,
                            "resid.ResId{Gvk:resid.Gvk{Group:\"%.*s\", Version:\"%.*s\", Kind:\"%.*s\", isClusterScoped:%s}, "
                            "Name:\"%.*s\", Namespace:\"%.*s\"}",
                            VIEW_ARGS(id->gvk.group), VIEW_ARGS(id->gvk.version), VIEW_ARGS(id->gvk.kind),
                            resource_id_cluster_scoped(id) ? "true" : "false", VIEW_ARGS(id->name), VIEW_ARGS(id->namespace));
}

/* The union of a map of texts, the new one's entries winning. Gone if both are empty. */
static void unite(struct arena *arena, struct node *target, struct node *old, const char *field)
{
        struct node *mine = node_get_of(target, field), *other = node_get_of(old, field), *map = node_map(arena);

        for (int side = 0; side < 2; side++) {
                struct node *source = side ? mine : other;

                for (uint32_t i = 0; node_is_map(source) && i < source->count; i++) {
                        struct node *value = source->entries[i].value;

                        if (value->kind == NODE_SCALAR)
                                node_set(arena, map, node_text(source->entries[i].key),
                                         node_scalar(arena, TAG_STRING, value->style, node_text(value)));
                }
        }
        node_remove_of(target, field);
        if (map->count)
                node_set_of(arena, target, field, map);
}

static bool is_build_annotation(struct view name)
{
        static const char *const names[] = {
                ANNOTATION_PREVIOUS_KINDS,    ANNOTATION_PREVIOUS_NAMES,      ANNOTATION_PREFIXES,
                ANNOTATION_SUFFIXES,          ANNOTATION_PREVIOUS_NAMESPACES, ANNOTATION_ALLOW_NAME_CHANGE,
                ANNOTATION_ALLOW_KIND_CHANGE, ANNOTATION_REFERENCED_BY,       ANNOTATION_BEHAVIOR,
                ANNOTATION_NEEDS_HASH,        ANNOTATION_HELM_GENERATED,
        };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (view_is(name, names[i]))
                        return true;
        return false;
}

/* Metadata of the new one over that of the old; history and flags are the old one's, the hash suffix only if both have it. */
static void merge_metadata(struct build *build, struct resource *resource, struct resource *old)
{
        struct node *metadata = node_make_map(build->arena, resource->node, "metadata");
        struct node *before = node_get_of(old->node, "metadata");
        struct node *before_annotations = node_get_of(before, "annotations"), *annotations;
        bool needs_hash;

        resource_annotation(resource, ANNOTATION_NEEDS_HASH, &needs_hash);
        unite(build->arena, metadata, before, "labels");
        unite(build->arena, metadata, before, "annotations");
        annotations = node_get_of(metadata, "annotations");
        for (uint32_t i = annotations ? annotations->count : 0; i > 0; i--) {
                struct view name = node_text(annotations->entries[i - 1].key);
                struct node *kept = node_get(before_annotations, name);

                if (!is_build_annotation(name))
                        continue;
                if (kept)
                        annotations->entries[i - 1].value = node_copy(build->arena, kept);
                else
                        node_remove(annotations, name);
        }
        if (!needs_hash)
                node_remove_of(annotations, ANNOTATION_NEEDS_HASH);
        if (annotations && annotations->count == 0)
                node_remove_of(metadata, "annotations");
        resource_set_name(build->arena, resource->node, resource_name(old));
        resource_set_namespace(build->arena, resource->node, resource_namespace(old));
        resource->variables = old->variables;
        resource->variable_count = old->variable_count;
}

static void merge_over(struct build *build, struct resource *resource, struct resource *old, bool data)
{
        bool has_origin;
        struct view origin = resource_annotation(old, ANNOTATION_ORIGIN, &has_origin);

        merge_metadata(build, resource, old);
        if (!data)
                return;
        unite(build->arena, resource->node, old->node, "data");
        unite(build->arena, resource->node, old->node, "binaryData");
        if (has_origin)
                node_set_annotation(build->arena, resource->node, ANNOTATION_ORIGIN, origin);
}

int accumulator_absorb(struct build *build, struct accumulator *accumulator, struct resource *resource)
{
        struct resource_id id = resource_current(&build->identity, resource);
        struct resource_list found = accumulator_by_any_id(build, accumulator, &id);
        const char *behavior = behavior_of(resource);
        bool merge = strcmp(behavior, "merge") == 0, replace = strcmp(behavior, "replace") == 0;

        if (found.count == 0) {
                if (merge || replace)
                        return error_set(build->error, ERROR_INVALID, "id %s does not exist; cannot merge or replace",
                                         dump_id(build, &id));
                return accumulator_add(build, accumulator, resource);
        }
        if (found.count > 1)
                return error_set(build->error, ERROR_INVALID, "found multiple objects that could accept merge of %s",
                                 resource_id_text(build->arena, &id));
        if (!merge && !replace)
                return error_set(build->error, ERROR_INVALID,
                                 "id %s exists; can not use behavior: '%s', behavior must be merge or replace", dump_id(build, &id),
                                 behavior);
        merge_over(build, resource, found.items[0], merge);
        *found.items[0] = *resource;
        accumulator_touch(accumulator);
        return 0;
}

int accumulator_configure(struct build *build, struct accumulator *accumulator, const struct configuration *configuration)
{
        /* The built-in one over itself or over nothing is itself. */
        if (configuration == build->defaults && (!accumulator->configuration || accumulator->configuration == build->defaults)) {
                accumulator->configuration = build->defaults;
                return 0;
        }
        if (!accumulator->configuration)
                accumulator->configuration = arena_new_of(build->arena, struct configuration);
        else if (accumulator->configuration == build->defaults)
                accumulator->configuration = configuration_copy(build, build->defaults);
        return configuration_merge(build, accumulator->configuration, configuration);
}

int accumulator_merge(struct build *build, struct accumulator *accumulator, struct accumulator *base)
{
        TRY(add_all(build, accumulator, &base->list));
        if (base->configuration)
                TRY(accumulator_configure(build, accumulator, base->configuration));
        return variable_add_all(build, accumulator, &base->variables);
}
