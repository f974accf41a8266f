#include "engine/kustomize/resource.h"

#include "base/hash.h"
#include "engine/kustomize/scalar.h"

#include <string.h>

struct gvk gvk_parse(struct view api_version, struct view kind)
{
        ptrdiff_t slash = view_find(api_version, '/', 0);

        if (slash < 0)
                return (struct gvk){ VIEW_NULL, api_version, kind };
        return (struct gvk){ view_slice(api_version, 0, (size_t)slash), view_slice(api_version, (size_t)slash + 1, SIZE_MAX),
                             kind };
}

bool gvk_selected(const struct gvk *gvk, const struct gvk *selector)
{
        return (selector->kind.length == 0 || view_equal(selector->kind, gvk->kind)) &&
               (selector->group.length == 0 || view_equal(selector->group, gvk->group)) &&
               (selector->version.length == 0 || view_equal(selector->version, gvk->version));
}

bool gvk_equal(const struct gvk *a, const struct gvk *b)
{
        return view_equal(a->kind, b->kind) && view_equal(a->group, b->group) && view_equal(a->version, b->version);
}

static struct view text_or(struct view text, struct view other)
{
        return text.length ? text : other;
}

char *gvk_text(struct arena *arena, const struct gvk *gvk)
{
        struct view kind = text_or(gvk->kind, VIEW("[noKind]"));
        struct view version = text_or(gvk->version, VIEW("[noVer]"));
        struct view group = text_or(gvk->group, VIEW("[noGrp]"));

        return arena_printf(arena, "%.*s.%.*s.%.*s", VIEW_ARGS(kind), VIEW_ARGS(version), VIEW_ARGS(group));
}

static bool cluster_scoped(const struct identity *identity, const struct gvk *gvk)
{
        size_t at = gvk->kind.length * 7 + gvk->group.length * 3 + gvk->version.length;
        size_t slot = (at + (gvk->kind.length ? (unsigned char)gvk->kind.data[0] : 0u)) % SCOPES_CACHED;
        struct gvk *cached = &identity->scopes->slots[slot].gvk;

        if (gvk->kind.length == 0 || !gvk_equal(cached, gvk)) {
                identity->scopes->slots[slot].cluster = schema_cluster_scoped(identity->schema, gvk->group, gvk->version, gvk->kind,
                                                                              identity->next, identity->schema_used);
                *cached = *gvk;
        }
        return identity->scopes->slots[slot].cluster;
}

struct resource_id resource_id_make(const struct identity *identity, struct gvk gvk, struct view name, struct view namespace)
{
        struct resource_id id = { gvk, name, namespace, namespace };

        if (cluster_scoped(identity, &gvk))
                id.effective = VIEW(CLUSTER_NAMESPACE);
        else if (namespace.length == 0)
                id.effective = VIEW("default");
        return id;
}

static struct view field_text(const struct node *map, const char *name)
{
        const struct node *value = node_get_of(map, name);

        return value && value->kind == NODE_SCALAR ? node_text(value) : VIEW_NULL;
}

struct gvk resource_gvk(const struct resource *resource)
{
        return gvk_parse(field_text(resource->node, "apiVersion"), field_text(resource->node, "kind"));
}

struct view resource_kind(const struct resource *resource)
{
        return field_text(resource->node, "kind");
}

struct view resource_name(const struct resource *resource)
{
        return node_get_text(node_get_of(resource->node, "metadata"), "name");
}

struct view resource_namespace(const struct resource *resource)
{
        return node_get_text(node_get_of(resource->node, "metadata"), "namespace");
}

struct resource_id resource_current(const struct identity *identity, const struct resource *resource)
{
        return resource_id_make(identity, resource_gvk(resource), resource_name(resource), resource_namespace(resource));
}

struct view resource_annotation(const struct resource *resource, const char *annotation, bool *ret_found)
{
        const struct node *value = node_get_of(node_path(resource->node, "metadata", "annotations", NULL), annotation);

        *ret_found = value != NULL;
        return value && value->kind == NODE_SCALAR ? node_text(value) : VIEW_NULL;
}

static size_t count_pieces(struct view list)
{
        size_t count = 1;

        for (size_t i = 0; i < list.length; i++)
                count += list.data[i] == ',';
        return count;
}

struct id_list resource_all_ids(const struct identity *identity, const struct resource *resource)
{
        bool has_names, has_namespaces, has_kinds;
        struct view names = resource_annotation(resource, ANNOTATION_PREVIOUS_NAMES, &has_names);
        struct view namespaces = resource_annotation(resource, ANNOTATION_PREVIOUS_NAMESPACES, &has_namespaces);
        struct view kinds = resource_annotation(resource, ANNOTATION_PREVIOUS_KINDS, &has_kinds);
        struct id_list list = { NULL, 0 };
        struct gvk gvk = resource_gvk(resource);
        struct view name, namespace, kind;
        size_t count = has_names ? count_pieces(names) : 0;

        /* Lists that a patch left incomplete say nothing. */
        if (!has_namespaces || !has_kinds || count_pieces(namespaces) != count || count_pieces(kinds) != count)
                count = 0;
        list.items = arena_array(identity->arena, count + 1, sizeof(*list.items));
        while (list.count < count && view_split(&names, ',', &name) && view_split(&namespaces, ',', &namespace) &&
               view_split(&kinds, ',', &kind)) {
                struct gvk previous = { gvk.group, gvk.version, kind };

                list.items[list.count++] = resource_id_make(identity, previous, name, namespace);
        }
        list.items[list.count++] = resource_current(identity, resource);
        return list;
}

bool resource_history_complete(const struct resource *resource)
{
        static const char *const lists[] = { ANNOTATION_PREVIOUS_NAMES, ANNOTATION_PREVIOUS_NAMESPACES, ANNOTATION_PREVIOUS_KINDS };
        size_t counts[3];

        for (size_t i = 0; i < 3; i++) {
                bool found;
                struct view list = resource_annotation(resource, lists[i], &found);

                counts[i] = found ? count_pieces(list) : 0;
        }
        return !counts[0] || (counts[0] == counts[1] && counts[1] == counts[2]);
}

struct resource_id resource_original(const struct identity *identity, const struct resource *resource)
{
        return resource_all_ids(identity, resource).items[0];
}

bool resource_id_equal(const struct resource_id *a, const struct resource_id *b)
{
        return view_equal(a->name, b->name) && gvk_equal(&a->gvk, &b->gvk) && view_equal(a->effective, b->effective);
}

uint64_t resource_id_hash(const struct resource_id *id)
{
        uint64_t hash = hash_add(HASH_EMPTY, id->name);

        hash = hash_add(hash, id->gvk.kind);
        hash = hash_add(hash, id->gvk.group);
        return hash_add(hash, id->effective);
}

bool resource_id_cluster_scoped(const struct resource_id *id)
{
        return view_is(id->effective, CLUSTER_NAMESPACE);
}

char *resource_id_text(struct arena *arena, const struct resource_id *id)
{
        struct view name = text_or(id->name, VIEW("[noName]"));
        struct view namespace = text_or(id->namespace, VIEW("[noNs]"));

        return arena_printf(arena, "%s/%.*s.%.*s", gvk_text(arena, &id->gvk), VIEW_ARGS(name), VIEW_ARGS(namespace));
}

void resource_append_list(struct arena *arena, struct resource *resource, const char *annotation, struct view value)
{
        struct view old;
        bool found;

        if (value.length == 0)
                return;
        old = resource_annotation(resource, annotation, &found);
        if (found)
                value = view_of(arena_printf(arena, "%.*s,%.*s", VIEW_ARGS(old), VIEW_ARGS(value)));
        node_set_annotation(arena, resource->node, annotation, value);
}

void resource_push_id(const struct identity *identity, struct resource *resource)
{
        struct resource_id id = resource_current(identity, resource);

        resource_append_list(identity->arena, resource, ANNOTATION_PREVIOUS_NAMES, id.name);
        resource_append_list(identity->arena, resource, ANNOTATION_PREVIOUS_NAMESPACES, id.effective);
        resource_append_list(identity->arena, resource, ANNOTATION_PREVIOUS_KINDS, id.gvk.kind);
}

bool resource_enabled(const struct resource *resource, const char *annotation)
{
        bool found;

        return view_is(resource_annotation(resource, annotation, &found), "enabled");
}

void resource_enable(struct arena *arena, struct resource *resource, const char *annotation)
{
        node_set_annotation(arena, resource->node, annotation, VIEW("enabled"));
}

void resource_rebuild_map(struct arena *arena, struct node *object, const char *field)
{
        struct node *metadata = node_make_map(arena, object, "metadata");
        struct node *old = node_get_of(metadata, field), *map;

        if (!metadata)
                return;
        if (!node_is_map(old) || old->count == 0) {
                node_remove_of(metadata, field);
                return;
        }
        map = node_map(arena);
        for (uint32_t i = 0; i < old->count; i++) {
                const struct node *value = old->entries[i].value;
                struct view text = value->kind == NODE_SCALAR ? node_text(value) : VIEW_NULL;

                node_set(arena, map, node_text(old->entries[i].key), node_string(arena, text));
        }
        while (node_remove_of(metadata, field))
                continue;
        node_set_of(arena, metadata, field, map);
}

void resource_list_add(struct arena *arena, struct resource_list *list, struct resource *resource)
{
        if (list->count == list->capacity) {
                size_t capacity = list->capacity ? list->capacity * 2 : 16;

                list->items = arena_grow(arena, list->items, list->capacity * sizeof(resource), capacity * sizeof(resource));
                list->capacity = capacity;
        }
        list->items[list->count++] = resource;
}

struct resource *resource_new(struct arena *arena, struct node *node)
{
        struct resource *resource = arena_new_of(arena, struct resource);

        resource->node = node;
        return resource;
}

static void quote_if_typed(struct node *value)
{
        if (value->kind == NODE_SCALAR && (value->tag == TAG_STRING || value->tag == TAG_NONE) && value->style == STYLE_PLAIN &&
            value->count && scalar_resolve(SCALAR_CONFIGURATION, node_text(value)) != TAG_STRING)
                value->style = STYLE_DOUBLE;
}

bool field_set(struct arena *arena, struct node *map, struct view name, struct node *value)
{
        struct node *old;

        if (!node_is_map(map))
                return false;
        if (node_is_null(value)) {
                node_remove(map, name);
                return true;
        }
        quote_if_typed(value);
        old = node_get(map, name);
        if (old)
                node_assign(old, value);
        else
                node_add_entry(arena, map, node_scalar(arena, TAG_NONE, STYLE_PLAIN, name), value);
        return true;
}

void field_set_text(struct arena *arena, struct node *place, struct view text, enum node_tag tag)
{
        place->text = arena_string_n(arena, text.data ? text.data : "", text.length);
        place->count = (uint32_t)text.length;
        place->tag = (uint8_t)tag;
}

static struct node *metadata_of(struct arena *arena, struct node *object)
{
        return node_make_map(arena, object, "metadata");
}

void resource_set_name(struct arena *arena, struct node *object, struct view name)
{
        field_set(arena, metadata_of(arena, object), VIEW("name"), node_scalar(arena, TAG_NONE, STYLE_PLAIN, name));
}

void resource_set_kind(struct arena *arena, struct node *object, struct view kind)
{
        field_set(arena, object, VIEW("kind"), node_scalar(arena, TAG_NONE, STYLE_PLAIN, kind));
}

void resource_set_namespace(struct arena *arena, struct node *object, struct view namespace)
{
        if (namespace.length)
                field_set(arena, metadata_of(arena, object), VIEW("namespace"),
                          node_scalar(arena, TAG_NONE, STYLE_PLAIN, namespace));
        else
                node_remove_of(node_get_of(object, "metadata"), "namespace");
}
