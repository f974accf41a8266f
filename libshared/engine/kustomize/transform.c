#include "engine/kustomize/generator.h"
#include "engine/kustomize/image.h"
#include "engine/kustomize/keys.h"
#include "engine/kustomize/transformer.h"

#include <string.h>

struct transformer *transformer_add(struct build *build, struct transformer_list *list, const char *kind, transformer_function *run)
{
        struct transformer *transformer = arena_new_of(build->arena, struct transformer);

        if (list->count == list->capacity) {
                size_t capacity = list->capacity ? list->capacity * 2 : 8;

                list->items =
                        arena_grow(build->arena, list->items, list->capacity * sizeof(transformer), capacity * sizeof(transformer));
                list->capacity = capacity;
        }
        transformer->kind = kind;
        transformer->run = run;
        list->items[list->count++] = transformer;
        return transformer;
}

struct setter {
        struct build *build;
        struct view key;
        struct view text;
        enum node_tag tag;
        bool unset_only;
        struct node *entry; /* of set_entry: one node for all places in a resource */
};

/* Sets `key` of the map at the end of the path. */
static int set_entry(void *user, struct node *node)
{
        struct setter *s = user;

        if (node_is_null(node))
                return 0;
        if (!field_set(s->build->arena, node, s->key, s->entry))
                return build_wrong_kind(s->build, NODE_MAP, node);
        return 0;
}

/* Sets the scalar at the end of the path. */
static int set_scalar(void *user, struct node *node)
{
        struct setter *s = user;

        if (node->kind != NODE_SCALAR)
                return build_wrong_kind(s->build, NODE_SCALAR, node);
        if (!s->unset_only || node_is_null(node) || node->count == 0)
                field_set_text(s->build->arena, node, s->text, s->tag);
        return 0;
}

/* subjects of a binding: their namespace. */
static int set_subjects(struct build *build, struct resource *resource, const struct transformer *t, struct setter *setter)
{
        struct node *subjects = node_get_of(resource->node, "subjects");

        if (t->subjects == SUBJECTS_NONE || node_is_null(subjects))
                return 0;
        if (!node_is_list(subjects))
                return build_wrong_kind(build, NODE_LIST, subjects);
        for (uint32_t i = 0; i < subjects->count; i++) {
                struct node *subject = subjects->items[i], *namespace;
                bool accounts = t->subjects == SUBJECTS_SERVICE_ACCOUNTS;

                if (!node_is_null(subject) && subject->kind != NODE_MAP) {
                        (void)build_wrong_kind(build, NODE_MAP, subject);
                        return error_wrap(build->error, "looking up %s on (cluster)role binding subject",
                                          accounts ? "kind" : "name");
                }
                if (!node_text_is(node_get_of(subject, accounts ? "kind" : "name"), accounts ? "ServiceAccount" : "default"))
                        continue;
                namespace = node_get_of(subject, "namespace");
                if (!namespace) {
                        namespace = node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, VIEW(""));
                        node_add_entry(build->arena, subject, node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, VIEW("namespace")),
                                       namespace);
                }
                TRY(set_scalar(setter, namespace));
        }
        return 0;
}

static bool is_binding(struct view kind)
{
        return view_is(kind, "RoleBinding") || view_is(kind, "ClusterRoleBinding");
}

static int set_namespace(struct build *build, struct resource *resource, struct transformer *t)
{
        struct setter setter = { .build = build, .text = t->text, .tag = TAG_STRING, .unset_only = t->unset_only };
        struct field_walk walk = { CREATE_SCALAR, TAG_STRING, set_scalar, &setter };
        struct field_spec metadata = { .path = VIEW("metadata/namespace"), .create = true };
        struct resource_id id = resource_current(&build->identity, resource);
        bool core = view_is(id.gvk.version, "v1") && id.gvk.group.length == 0;

        if (!resource_id_cluster_scoped(&id))
                TRY(field_walk(build, resource, &metadata, &walk));
        if (is_binding(id.gvk.kind) && set_subjects(build, resource, t, &setter) < 0)
                return error_wrap(build->error, "setting namespace on (cluster)role binding subjects");
        for (size_t i = 0; i < t->specs.count; i++) {
                struct field_spec *spec = &t->specs.items[i];

                if (view_is(spec->path, "metadata/namespace") || (view_is(spec->path, "metadata/name") && !core) ||
                    (is_binding(id.gvk.kind) && is_binding(spec->gvk.kind) && view_is(spec->path, "subjects/namespace")))
                        continue;
                if (field_walk(build, resource, spec, &walk) < 0)
                        return error_wrap(build->error, strstr(error_message(build->error), ": wrong node kind: ")
                                                                ? "namespace field specs must target scalar nodes"
                                                                : "namespace transformation failed");
        }
        return 0;
}

int transform_namespace(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        if (t->text.length == 0)
                return 0;
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                bool found;

                if (view_is(resource_annotation(resource, ANNOTATION_HELM_GENERATED, &found), "true"))
                        continue;
                resource_push_id(&build->identity, resource);
                TRY(set_namespace(build, resource, t));
                TRY(accumulator_reindex(build, accumulator, resource, "namespace transformation produces ID conflict"));
        }
        return 0;
}

struct affix {
        struct build *build;
        struct view text;
        bool suffix;
};

static int add_affix(void *user, struct node *node)
{
        struct affix *a = user;
        struct view old = node->kind == NODE_SCALAR ? node_text(node) : VIEW_NULL;
        struct view before = a->suffix ? old : a->text, after = a->suffix ? a->text : old;

        if (node->kind != NODE_SCALAR)
                return build_wrong_kind(a->build, NODE_SCALAR, node);
        field_set_text(a->build->arena, node,
                       view_of(arena_printf(a->build->arena, "%.*s%.*s", VIEW_ARGS(before), VIEW_ARGS(after))), TAG_NONE);
        return 0;
}

static bool keeps_name(const struct gvk *gvk)
{
        return view_is(gvk->kind, "CustomResourceDefinition") || view_is(gvk->kind, "Namespace") ||
               (view_is(gvk->kind, "APIService") && view_is(gvk->group, "apiregistration.k8s.io"));
}

static int affix_all(struct build *build, struct accumulator *accumulator, struct transformer *t, bool suffix)
{
        struct affix affix = { build, t->text, suffix };
        struct field_walk walk = { CREATE_SCALAR, TAG_STRING, add_affix, &affix };

        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                struct resource_id id = resource_original(&build->identity, resource);

                if (keeps_name(&id.gvk))
                        continue;
                for (size_t k = 0; k < t->specs.count; k++) {
                        struct field_spec *spec = &t->specs.items[k];

                        if (!gvk_selected(&id.gvk, &spec->gvk))
                                continue;
                        if (view_is(spec->path, "metadata/name") && t->text.length) {
                                resource_append_list(build->arena, resource, suffix ? ANNOTATION_SUFFIXES : ANNOTATION_PREFIXES,
                                                     t->text);
                                resource_push_id(&build->identity, resource);
                        }
                        TRY(field_walk(build, resource, spec, &walk));
                }
        }
        accumulator_touch(accumulator);
        return 0;
}

int transform_prefix(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        return affix_all(build, accumulator, t, false);
}

int transform_suffix(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        return affix_all(build, accumulator, t, true);
}

static int set_map_entries(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        uint32_t count = t->config ? t->config->count : 0;
        struct sorted_key *keys = arena_array(build->arena, count, sizeof(*keys));
        struct setter setter = { .build = build, .tag = TAG_STRING };
        struct field_walk walk = { CREATE_MAP, TAG_NONE, set_entry, &setter };

        if (count == 0)
                return 0;
        TRY(keys_sort(build->arena, t->config, KEYS_BYTEWISE, true, keys, build->error));
        for (size_t i = 0; i < accumulator->list.count; i++) {
                for (uint32_t k = 0; k < count; k++) {
                        setter.key = keys[k].text;
                        setter.entry = node_scalar(build->arena, TAG_STRING, STYLE_PLAIN, node_text(keys[k].value));
                        for (size_t s = 0; s < t->specs.count; s++)
                                TRY(field_walk(build, accumulator->list.items[i], &t->specs.items[s], &walk));
                }
        }
        return 0;
}

int transform_labels(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        return set_map_entries(build, accumulator, t);
}

int transform_annotations(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        TRY(set_map_entries(build, accumulator, t));
        /* A user may write the annotations that hold the history. */
        accumulator_touch(accumulator);
        return 0;
}

static bool has_name_and_gvk(struct build *build, const struct resource *resource, struct view name, const struct gvk *gvk)
{
        struct id_list ids = resource_all_ids(&build->identity, resource);

        for (size_t i = 0; i < ids.count; i++)
                if (view_equal(ids.items[i].name, name) && gvk_selected(&ids.items[i].gvk, gvk))
                        return true;
        return false;
}

static int no_replicas(struct build *build, const struct transformer *t, struct view name)
{
        struct buffer kinds = BUFFER_NULL;

        for (size_t i = 0; i < t->specs.count; i++)
                buffer_printf(&kinds, "%s%s", i ? " " : "", gvk_text(build->arena, &t->specs.items[i].gvk));
        error_set(build->error, ERROR_INVALID, "resource with name %.*s does not match a config with the following GVK [%s]",
                  VIEW_ARGS(name), buffer_string(&kinds));
        buffer_release(&kinds);
        return -1;
}

int transform_replicas(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        struct node *count = node_get_of(t->config, "count");
        struct view name = node_get_text(t->config, "name");
        struct setter setter = { .build = build, .text = count ? node_text(count) : VIEW("0"), .tag = TAG_INTEGER };
        struct field_walk walk = { CREATE_SCALAR, TAG_INTEGER, set_scalar, &setter };
        bool found = false;

        for (size_t s = 0; s < t->specs.count; s++) {
                for (size_t i = 0; i < accumulator->list.count; i++) {
                        struct resource *resource = accumulator->list.items[i];

                        if (!has_name_and_gvk(build, resource, name, &t->specs.items[s].gvk))
                                continue;
                        found = true;
                        TRY(field_walk(build, resource, &t->specs.items[s], &walk));
                }
        }
        return found ? 0 : no_replicas(build, t, name);
}

static int set_image(void *user, struct node *node)
{
        struct image_change *change = user;

        if (node_is_null(node))
                return 0;
        if (node->kind != NODE_SCALAR)
                return build_wrong_kind(change->build, NODE_SCALAR, node);
        return image_apply(change, node);
}

/* In every list below a key `containers` or `initContainers`, wherever it is. */
static int visit_containers(struct image_change *change, struct node *node)
{
        if (node->kind == NODE_LIST) {
                for (uint32_t i = 0; i < node->count; i++)
                        TRY(visit_containers(change, node->items[i]));
        }
        if (node->kind != NODE_MAP)
                return 0;
        for (uint32_t i = 0; i < node->count; i++) {
                struct node *value = node->entries[i].value;

                TRY(visit_containers(change, value));
                if (value->kind != NODE_LIST ||
                    !(node_text_is(node->entries[i].key, "containers") || node_text_is(node->entries[i].key, "initContainers")))
                        continue;
                for (uint32_t k = 0; k < value->count; k++) {
                        struct node *image = node_get_of(value->items[k], "image");

                        if (!node_is_map(value->items[k]) && !node_is_null(value->items[k]))
                                return build_wrong_kind(change->build, NODE_MAP, value->items[k]);
                        if (image)
                                TRY(set_image(change, image));
                }
        }
        return 0;
}

int transform_image(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        struct image_change change;
        struct field_walk walk = { CREATE_NOTHING, TAG_NONE, set_image, &change };
        int r = 0;

        TRY(image_open(build, t->config, &change));
        for (size_t i = 0; i < accumulator->list.count && r == 0; i++)
                if (!view_is(resource_kind(accumulator->list.items[i]), "CustomResourceDefinition"))
                        r = visit_containers(&change, accumulator->list.items[i]->node);
        for (size_t i = 0; i < accumulator->list.count && r == 0; i++)
                if (!view_is(resource_kind(accumulator->list.items[i]), "CustomResourceDefinition"))
                        for (size_t s = 0; s < t->specs.count && r == 0; s++)
                                r = field_walk(build, accumulator->list.items[i], &t->specs.items[s], &walk);
        image_close(&change);
        return r;
}

int transform_hash(struct build *build, struct accumulator *accumulator, struct transformer *transformer)
{
        (void)transformer;
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                char hash[CONTENT_HASH];
                struct view name;

                if (!resource_enabled(resource, ANNOTATION_NEEDS_HASH))
                        continue;
                TRY(content_hash(build, resource->node, hash));
                resource_push_id(&build->identity, resource);
                name = resource_name(resource);
                resource_set_name(build->arena, resource->node,
                                  view_of(arena_printf(build->arena, "%.*s-%s", VIEW_ARGS(name), hash)));
        }
        accumulator_touch(accumulator);
        return 0;
}
