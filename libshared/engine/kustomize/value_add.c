#include "base/cleanup.h"
#include "engine/kustomize/kustomization.h"
#include "engine/kustomize/target_selector.h"
#include "engine/kustomize/transformer.h"

#include <string.h>

/* The path `text` with a part put in at `position` (from 0; too large: at the end); an absolute path stays absolute. */
static struct view insert_part(struct build *build, struct view text, int64_t position, struct view part)
{
        bool absolute = view_starts(text, VIEW("/")), placed = false;
        struct view rest = absolute ? view_slice(text, 1, SIZE_MAX) : text, piece, result;
        struct buffer out = BUFFER_NULL;
        bool first = true;

        if (absolute)
                buffer_add_char(&out, '/');
        for (int64_t i = 0; rest.length && view_split(&rest, '/', &piece); i++) {
                if (piece.length == 0)
                        continue;
                if (i == position) {
                        buffer_printf(&out, "%s%.*s", first ? "" : "/", VIEW_ARGS(part));
                        placed = true;
                        first = false;
                }
                buffer_printf(&out, "%s%.*s", first ? "" : "/", VIEW_ARGS(piece));
                first = false;
        }
        if (!placed)
                buffer_printf(&out, "%s%.*s", first ? "" : "/", VIEW_ARGS(part));
        result = arena_view(build->arena, buffer_view(&out));
        buffer_release(&out);
        return result;
}

/* The scalar at the path, made where it is missing. */
static int make_place(struct build *build, struct node *object, struct view path, struct node **ret)
{
        struct view *segments;
        size_t count = path_split(build->arena, path, '/', &segments);
        struct node *node = object;

        TRY(path_check_pieces(build, count));
        for (size_t i = 0; i < count; i++) {
                struct node *child = node_get(node, segments[i]);

                if (!node_is_map(node))
                        return error_set(build->error, ERROR_INVALID, "wrong node kind: expected MappingNode at '%.*s'",
                                         VIEW_ARGS(path));
                if (node_is_null(child)) {
                        child = i + 1 < count ? node_map(build->arena) : node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, VIEW(""));
                        node_set(build->arena, node, segments[i], child);
                }
                node = child;
        }
        if (node->kind != NODE_SCALAR)
                return error_set(build->error, ERROR_INVALID, "wrong node kind: expected ScalarNode at '%.*s'", VIEW_ARGS(path));
        *ret = node;
        return 0;
}

static int add_value(struct build *build, struct resource *resource, const struct node *target, struct view value)
{
        struct view path = node_get_text(target, "fieldPath");
        struct resource_id id = resource_current(&build->identity, resource);
        int64_t position = 0;
        struct node *place = NULL;

        if (view_is(path, "metadata/namespace")) {
                if (!resource_id_cluster_scoped(&id))
                        resource_set_namespace(build->arena, resource->node, value);
                return 0;
        }
        (void)view_to_int64(node_get_text(target, "filePathPosition"), &position);
        TRY(make_place(build, resource->node, path, &place));
        if (position > 0)
                value = insert_part(build, node_text(place), position - 1, value);
        field_set_text(build->arena, place, value, TAG_NONE);
        return 0;
}

static int run_value_add(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        const struct node *targets = node_get_of(t->config, "targets");

        for (uint32_t i = 0; i < targets->count; i++) {
                cleanup(target_selector_close) struct target_selector selector = { 0 };

                TRY(target_selector_open(build, node_get_of(targets->items[i], "selector"), &selector));
                for (size_t k = 0; k < accumulator->list.count; k++) {
                        int r = target_selector_matches(&selector, accumulator->list.items[k]);

                        if (r < 0)
                                return r;
                        if (r > 0)
                                TRY(add_value(build, accumulator->list.items[k], targets->items[i], t->text));
                }
        }
        accumulator_touch(accumulator);
        return 0;
}

static int load_targets(struct build *build, const char *directory, const char *path, struct node *targets)
{
        struct node *document = NULL;
        const struct node *more;
        struct view text;

        TRY(tree_read(build, directory, path, &text));
        TRY(reader_document(&build->reader, SCALAR_CONFIGURATION, text, &document, build->error));
        if (node_is_null(document))
                return 0;
        TRY(kustomization_check(build, SHAPE_VALUE_ADD, document, false, path));
        more = node_get_of(document, "targets");
        for (uint32_t i = 0; more && i < more->count; i++)
                node_append(build->arena, targets, more->items[i]);
        return 0;
}

static int check_targets(struct build *build, const struct node *targets)
{
        if (targets->count == 0)
                return error_set(build->error, ERROR_INVALID, "must specify at least one target");
        for (uint32_t i = 0; i < targets->count; i++) {
                struct view position = node_get_text(targets->items[i], "filePathPosition");

                if (node_get_text(targets->items[i], "fieldPath").length == 0)
                        return error_set(build->error, ERROR_INVALID, "fieldPath cannot be empty");
                if (view_starts(position, VIEW("-")))
                        return error_set(build->error, ERROR_INVALID, "value of FilePathPosition (%.*s) cannot be negative",
                                         VIEW_ARGS(position));
        }
        return 0;
}

int transformer_add_value(struct build *build, const char *directory, const struct node *config, struct transformer_list *list)
{
        struct transformer *t = transformer_add(build, list, "ValueAddTransformer", run_value_add);
        const char *path = node_get_string(config, "targetFilePath"), *slash = strrchr(directory, '/');
        const struct node *own = node_get_of(config, "targets");
        struct node *targets = node_list(build->arena), *all = node_map(build->arena);

        t->text = view_trim(node_get_text(config, "value"));
        if (t->text.length == 0)
                t->text = view_of(slash ? slash + 1 : directory);
        for (uint32_t i = 0; own && i < own->count; i++)
                node_append(build->arena, targets, own->items[i]);
        node_set_of(build->arena, all, "targets", targets);
        t->config = all;
        if (*path)
                TRY(load_targets(build, directory, path, targets));
        return check_targets(build, targets);
}
