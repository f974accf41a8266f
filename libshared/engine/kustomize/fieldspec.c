#include "engine/kustomize/fieldspec.h"

#include "base/cleanup.h"

#include <string.h>

size_t path_split(struct arena *arena, struct view path, char separator, struct view **ret_segments)
{
        struct view *segments = arena_array(arena, path.length + 1, sizeof(*segments));
        char *text = arena_allocate(arena, path.length + 1), *start = text, *out = text;
        size_t count = 0;

        for (size_t i = 0; i <= path.length; i++) {
                if (i < path.length && path.data[i] == '\\' && i + 1 < path.length && path.data[i + 1] == separator) {
                        *out++ = path.data[++i];
                } else if (i == path.length || path.data[i] == separator) {
                        if (out != start || count > 0 || i == path.length)
                                segments[count++] = (struct view){ start, (size_t)(out - start) };
                        start = out;
                } else {
                        *out++ = path.data[i];
                }
        }
        *ret_segments = segments;
        return count;
}

int path_check_pieces(struct build *build, size_t piece_count)
{
        if (piece_count <= READER_DEPTH)
                return 0;
        return error_set(build->error, ERROR_TOO_LARGE, "a path of %zu pieces leads deeper than %d levels", piece_count,
                         READER_DEPTH);
}

struct walker {
        struct build *build;
        const struct field_spec *spec;
        const struct field_walk *walk;
};

static int visit(struct walker *w, struct node *node, size_t at);

static void become(struct node *node, enum node_kind kind, enum node_tag tag)
{
        node->kind = (uint8_t)kind;
        node->tag = (uint8_t)tag;
        if (kind != NODE_SCALAR) {
                node->count = node->capacity = 0;
                node->entries = NULL;
        }
}

static int visit_map(struct walker *w, struct node *map, size_t at)
{
        struct arena *arena = w->build->arena;
        struct view name = w->spec->segments[at];
        bool list = view_ends(name, VIEW("[]")), create = w->spec->create && w->walk->create != CREATE_NOTHING && !list;
        bool last = at + 1 == w->spec->segment_count, leaf_scalar = last && w->walk->create == CREATE_SCALAR;
        struct node *field;

        if (list)
                name.length -= 2;
        if (name.length == 0)
                return error_set(w->build->error, ERROR_INVALID, "cannot set or create an empty field name");
        field = node_get(map, name);
        if (!field) {
                if (!create)
                        return 0;
                field = leaf_scalar ? node_scalar(arena, TAG_NONE, STYLE_PLAIN, VIEW("")) : node_map(arena);
                node_add_entry(arena, map, node_scalar(arena, TAG_NONE, STYLE_PLAIN, name), field);
        } else if (node_is_null(field)) {
                if (list)
                        become(field, NODE_LIST, TAG_NONE);
                else if (create)
                        become(field, leaf_scalar ? NODE_SCALAR : NODE_MAP, leaf_scalar ? w->walk->tag : TAG_NONE);
        }
        return visit(w, field, at + 1);
}

/* "visit traversal on path: [metadata labels]: ..." */
static int visit_list(struct walker *w, struct node *list, size_t at)
{
        cleanup(buffer_release) struct buffer rest = BUFFER_NULL;
        uint32_t i = 0;

        while (i < list->count && visit(w, list->items[i], at) == 0)
                i++;
        if (i == list->count)
                return 0;
        for (size_t k = at; k < w->spec->segment_count; k++)
                buffer_printf(&rest, "%s%.*s", k > at ? " " : "", VIEW_ARGS(w->spec->segments[k]));
        return error_wrap(w->build->error, "visit traversal on path: [%s]", buffer_string(&rest));
}

static int visit(struct walker *w, struct node *node, size_t at)
{
        if (at == w->spec->segment_count)
                return w->walk->function(w->walk->user, node);
        if (node_is_null(node))
                return 0;
        if (node->kind == NODE_MAP)
                return visit_map(w, node, at);
        if (node->kind == NODE_SCALAR)
                return error_set(w->build->error, ERROR_INVALID, "expected sequence or mapping node");
        return visit_list(w, node, at);
}

int field_walk_any(struct build *build, struct resource *resource, struct field_spec *spec, const struct field_walk *walk)
{
        struct walker w = { build, spec, walk };
        struct resource_id id;

        if (!spec->segments)
                spec->segment_count = path_split(build->arena, spec->path, '/', &spec->segments);
        TRY(path_check_pieces(build, spec->segment_count));
        if (visit(&w, resource->node, 0) == 0)
                return 0;
        id = resource_current(&build->identity, resource);
        return error_wrap(build->error, "considering field '%.*s' of object %s", VIEW_ARGS(spec->path),
                          resource_id_text(build->arena, &id));
}

int field_walk(struct build *build, struct resource *resource, struct field_spec *spec, const struct field_walk *walk)
{
        struct gvk gvk = resource_gvk(resource);

        return gvk_selected(&gvk, &spec->gvk) ? field_walk_any(build, resource, spec, walk) : 0;
}

void spec_list_add(struct build *build, struct spec_list *list, const struct field_spec *spec)
{
        if (list->count == list->capacity) {
                size_t capacity = list->capacity ? list->capacity * 2 : 8;

                list->items = arena_grow(build->arena, list->items, list->capacity * sizeof(*spec), capacity * sizeof(*spec));
                list->capacity = capacity;
        }
        list->items[list->count++] = *spec;
}

int spec_list_merge_one(struct build *build, struct spec_list *list, const struct field_spec *spec)
{
        for (size_t i = 0; i < list->count; i++) {
                if (!gvk_selected(&list->items[i].gvk, &spec->gvk) || !view_equal(list->items[i].path, spec->path))
                        continue;
                if (list->items[i].create != spec->create)
                        return error_set(build->error, ERROR_INVALID, "conflicting fieldspecs");
                return 0;
        }
        spec_list_add(build, list, spec);
        return 0;
}

int spec_list_merge(struct build *build, struct spec_list *list, const struct spec_list *from)
{
        for (size_t i = 0; i < from->count; i++)
                TRY(spec_list_merge_one(build, list, &from->items[i]));
        return 0;
}

static struct gvk decode_gvk(const struct node *node)
{
        return (struct gvk){ node_get_text(node, "group"), node_get_text(node, "version"), node_get_text(node, "kind") };
}

struct spec_list spec_list_decode(struct build *build, const struct node *list)
{
        struct spec_list specs = { 0 };

        for (uint32_t i = 0; node_is_list(list) && i < list->count; i++) {
                const struct node *node = list->items[i];
                struct field_spec spec = { .gvk = decode_gvk(node), .path = node_get_text(node, "path") };

                spec.create = node_text_is(node_get_of(node, "create"), "true");
                spec_list_add(build, &specs, &spec);
        }
        return specs;
}

static struct name_reference *add_reference(struct build *build, struct reference_list *list, const struct gvk *referral)
{
        if (!list->items || list->count == list->capacity) {
                size_t capacity = list->capacity ? list->capacity * 2 : 8;

                list->items = arena_grow(build->arena, list->items, list->capacity * sizeof(*list->items),
                                         capacity * sizeof(*list->items));
                list->capacity = capacity;
        }
        list->items[list->count] = (struct name_reference){ .referral = *referral };
        return &list->items[list->count++];
}

static struct name_reference *find_reference(struct reference_list *list, const struct gvk *referral)
{
        for (size_t i = 0; i < list->count; i++)
                if (gvk_equal(&list->items[i].referral, referral))
                        return &list->items[i];
        return NULL;
}

static bool before(const struct gvk *a, int rank_a, const struct gvk *b, int rank_b)
{
        return rank_a != rank_b ? rank_a < rank_b : gvk_legacy_compare(a, b) < 0;
}

static void sort_references(struct reference_list *list)
{
        for (size_t i = 0; i < list->count; i++)
                list->items[i].rank = kind_legacy_rank(list->items[i].referral.kind);
        for (size_t i = 1; i < list->count; i++) {
                struct name_reference reference = list->items[i];
                size_t at = i;

                while (at > 0 &&
                       before(&reference.referral, reference.rank, &list->items[at - 1].referral, list->items[at - 1].rank)) {
                        list->items[at] = list->items[at - 1];
                        at--;
                }
                list->items[at] = reference;
        }
}

static void sort_specs(struct spec_list *list)
{
        for (size_t i = 0; i < list->count; i++)
                list->items[i].rank = kind_legacy_rank(list->items[i].gvk.kind);
        for (size_t i = 1; i < list->count; i++) {
                struct field_spec spec = list->items[i];
                size_t at = i;

                while (at > 0 && before(&spec.gvk, spec.rank, &list->items[at - 1].gvk, list->items[at - 1].rank)) {
                        list->items[at] = list->items[at - 1];
                        at--;
                }
                list->items[at] = spec;
        }
}

/* The order has effects: a spec for any kind that is merged behind one for a kind counts as there already. */
void configuration_sort(struct configuration *configuration)
{
        sort_specs(&configuration->name_prefix);
        sort_specs(&configuration->name_suffix);
        sort_specs(&configuration->namespace);
        sort_specs(&configuration->common_labels);
        sort_specs(&configuration->labels);
        sort_specs(&configuration->template_labels);
        sort_specs(&configuration->claim_labels);
        sort_specs(&configuration->common_annotations);
        sort_specs(&configuration->var_reference);
        sort_specs(&configuration->images);
        sort_specs(&configuration->replicas);
        sort_references(&configuration->name_reference);
}

struct name_reference *configuration_reference(struct build *build, struct configuration *configuration, const struct gvk *referral)
{
        struct name_reference *found = find_reference(&configuration->name_reference, referral);

        return found ? found : add_reference(build, &configuration->name_reference, referral);
}

static int merge_list(struct build *build, struct spec_list *into, const struct spec_list *from, const char *name)
{
        if (spec_list_merge(build, into, from) == 0)
                return 0;
        return error_wrap(build->error, "failed to merge %s fieldSpec", name);
}

int configuration_merge(struct build *build, struct configuration *into, const struct configuration *from)
{
        TRY(merge_list(build, &into->name_prefix, &from->name_prefix, "NamePrefix"));
        TRY(merge_list(build, &into->name_suffix, &from->name_suffix, "NameSuffix"));
        TRY(merge_list(build, &into->namespace, &from->namespace, "NameSpace"));
        TRY(merge_list(build, &into->common_annotations, &from->common_annotations, "CommonAnnotations"));
        TRY(merge_list(build, &into->common_labels, &from->common_labels, "CommonLabels"));
        TRY(merge_list(build, &into->labels, &from->labels, "Labels"));
        TRY(merge_list(build, &into->template_labels, &from->template_labels, "TemplateLabels"));
        TRY(merge_list(build, &into->claim_labels, &from->claim_labels, "VolumeClaimTemplateLabels"));
        TRY(merge_list(build, &into->var_reference, &from->var_reference, "VarReference"));
        for (size_t i = 0; i < from->name_reference.count; i++) {
                const struct name_reference *source = &from->name_reference.items[i];
                struct name_reference *target = configuration_reference(build, into, &source->referral);

                TRY(merge_list(build, &target->referrers, &source->referrers, "NameReference"));
        }
        TRY(merge_list(build, &into->images, &from->images, "Images"));
        TRY(merge_list(build, &into->replicas, &from->replicas, "Replicas"));
        configuration_sort(into);
        return 0;
}

static struct spec_list copy_specs(struct build *build, const struct spec_list *list)
{
        struct spec_list copy = { 0 };

        for (size_t i = 0; i < list->count; i++)
                spec_list_add(build, &copy, &list->items[i]);
        return copy;
}

struct configuration *configuration_copy(struct build *build, const struct configuration *configuration)
{
        struct configuration *copy = arena_new_of(build->arena, struct configuration);

        copy->name_prefix = copy_specs(build, &configuration->name_prefix);
        copy->name_suffix = copy_specs(build, &configuration->name_suffix);
        copy->namespace = copy_specs(build, &configuration->namespace);
        copy->common_labels = copy_specs(build, &configuration->common_labels);
        copy->labels = copy_specs(build, &configuration->labels);
        copy->template_labels = copy_specs(build, &configuration->template_labels);
        copy->claim_labels = copy_specs(build, &configuration->claim_labels);
        copy->common_annotations = copy_specs(build, &configuration->common_annotations);
        copy->images = copy_specs(build, &configuration->images);
        copy->replicas = copy_specs(build, &configuration->replicas);
        copy->var_reference = copy_specs(build, &configuration->var_reference);
        for (size_t i = 0; i < configuration->name_reference.count; i++) {
                const struct name_reference *reference = &configuration->name_reference.items[i];

                add_reference(build, &copy->name_reference, &reference->referral)->referrers =
                        copy_specs(build, &reference->referrers);
        }
        return copy;
}
