#include "base/cleanup.h"
#include "engine/kustomize/kustomization.h"
#include "engine/kustomize/replacement_path.h"
#include "engine/kustomize/replacement_text.h"
#include "engine/kustomize/target_selector.h"
#include "engine/kustomize/transformer.h"

#include <inttypes.h>
#include <string.h>

static const char default_path[] = "metadata.name";

struct replacer {
        struct build *build;
        const struct node *value;
        const struct node *options; /* of the target */
};

static int64_t option_index(const struct node *options)
{
        int64_t index = 0;

        if (view_to_int64(node_get_text(options, "index"), &index) < 0)
                return 0;
        return index;
}

static const char *quoted(struct build *build, struct view text)
{
        cleanup(buffer_release) struct buffer json = BUFFER_NULL;

        emit_json_string(&json, text, 0);
        return arena_string(build->arena, buffer_string(&json));
}

/* "/(1), create=false"; "" if nothing is set. */
static const char *options_text(struct build *build, const struct node *source)
{
        const struct node *options = node_get_of(source, "options");
        const char *delimiter = node_get_string(options, "delimiter");
        bool create = node_text_is(node_get_of(options, "create"), "true");
        int64_t index = option_index(options);

        if (!*delimiter && !create)
                return "";
        return arena_printf(build->arena, "%s(%" PRId64 "), create=%s", delimiter, index, create ? "true" : "false");
}

static char *source_text(struct build *build, const struct node *source, bool path)
{
        struct gvk gvk = { node_get_text(source, "group"), node_get_text(source, "version"), node_get_text(source, "kind") };
        struct resource_id id = { gvk, node_get_text(source, "name"), node_get_text(source, "namespace"), VIEW_NULL };
        const char *field = path ? node_get_string(source, "fieldPath") : "", *options = path ? options_text(build, source) : "";

        return arena_printf(build->arena, "%s%s%s%s%s", resource_id_text(build->arena, &id), *field ? ":" : "", field,
                            *options ? ":" : "", options);
}

static bool selects_source(struct build *build, const struct node *source, const struct resource *resource)
{
        struct gvk wanted = { node_get_text(source, "group"), node_get_text(source, "version"), node_get_text(source, "kind") };
        struct view name = node_get_text(source, "name"), namespace = node_get_text(source, "namespace");
        struct resource_id selector = resource_id_make(&build->identity, wanted, name, namespace);
        struct id_list ids = resource_all_ids(&build->identity, resource);

        for (size_t i = 0; i < ids.count; i++)
                if (gvk_selected(&ids.items[i].gvk, &wanted) && (name.length == 0 || view_equal(name, ids.items[i].name)) &&
                    (namespace.length == 0 || view_equal(selector.effective, ids.items[i].effective)))
                        return true;
        return false;
}

static int find_source(struct build *build, const struct accumulator *accumulator, const struct node *source, struct resource **ret)
{
        struct resource *found = NULL;

        for (size_t i = 0; i < accumulator->list.count; i++) {
                if (!selects_source(build, source, accumulator->list.items[i]))
                        continue;
                if (found)
                        return error_set(build->error, ERROR_INVALID, "multiple matches for selector %s",
                                         source_text(build, source, true));
                found = accumulator->list.items[i];
        }
        if (!found)
                return error_set(build->error, ERROR_INVALID, "nothing selected by %s", source_text(build, source, true));
        *ret = found;
        return 0;
}

/* The piece number `index` of a text cut at each delimiter; false if there is none. */
static bool piece_of(struct view text, struct view delimiter, int64_t index, struct view *ret)
{
        size_t from = 0;

        for (int64_t i = 0; index >= 0; i++) {
                ptrdiff_t end = view_search(text, delimiter, from);

                *ret = view_slice(text, from, end < 0 ? SIZE_MAX : (size_t)end - from);
                if (i == index)
                        return true;
                if (end < 0)
                        return false;
                from = (size_t)end + delimiter.length;
        }
        return false;
}

static int refine(struct build *build, const struct node *options, struct node *node, struct node **ret)
{
        struct view delimiter = node_get_text(options, "delimiter"), piece;

        *ret = node;
        if (delimiter.length == 0)
                return 0;
        if (node->kind != NODE_SCALAR)
                return error_set(build->error, ERROR_INVALID, "delimiter option can only be used with scalar nodes");
        if (!piece_of(node_text(node), delimiter, option_index(options), &piece))
                return error_set(build->error, ERROR_INVALID, "options.index %lld is out of bounds for value %.*s",
                                 (long long)option_index(options), VIEW_ARGS(node_text(node)));
        *ret = node_copy(build->arena, node);
        field_set_text(build->arena, *ret, piece, node->tag);
        return 0;
}

static int read_value(struct build *build, const struct accumulator *accumulator, const struct node *config, struct node **ret)
{
        const struct node *source = node_get_of(config, "source");
        struct view path = node_get_text(source, "fieldPath");
        struct resource *resource = NULL;
        struct node *found;

        if (!source) {
                *ret = node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, node_get_text(config, "sourceValue"));
                return 0;
        }
        TRY(find_source(build, accumulator, source, &resource));
        if (path.length == 0)
                path = view_of(default_path);
        if (replacement_path_lookup(build, resource->node, replacement_path_split(build, path), &found) < 0)
                return error_wrap(build->error, "error looking up replacement source");
        if (node_is_empty(found))
                return error_set(build->error, ERROR_INVALID, "fieldPath `%.*s` is missing for replacement source %s",
                                 VIEW_ARGS(path), source_text(build, source, false));
        return refine(build, node_get_of(source, "options"), found, ret);
}

/* The target's text with one of its pieces replaced, or the value put before or behind. */
static struct view put_piece(struct build *build, struct view text, struct view delimiter, int64_t index, struct view value)
{
        cleanup(buffer_release) struct buffer out = BUFFER_NULL;
        ptrdiff_t end = 0;
        int64_t i = 0;

        if (index < 0) {
                buffer_add_view(&out, value);
                buffer_add_view(&out, delimiter);
        }
        for (size_t from = 0; end >= 0; i++, from = (size_t)end + delimiter.length) {
                end = view_search(text, delimiter, from);
                if (i > 0)
                        buffer_add_view(&out, delimiter);
                buffer_add_view(&out, i == index ? value : view_slice(text, from, end < 0 ? SIZE_MAX : (size_t)end - from));
        }
        if (index >= i) {
                buffer_add_view(&out, delimiter);
                buffer_add_view(&out, value);
        }
        return arena_view(build->arena, buffer_view(&out));
}

static int set_value(void *user, struct node *target)
{
        struct replacer *r = user;
        struct view delimiter = node_get_text(r->options, "delimiter");
        struct view text = r->value->kind == NODE_SCALAR ? node_text(r->value) : VIEW_NULL;

        if (delimiter.length && target->kind != NODE_SCALAR)
                return error_set(r->build->error, ERROR_INVALID, "delimiter option can only be used with scalar nodes");
        if (delimiter.length)
                text = put_piece(r->build, node_text(target), delimiter, option_index(r->options),
                                 node_is_null(r->value) ? VIEW_NULL : text);
        if (target->kind == NODE_SCALAR) {
                field_set_text(r->build->arena, target, text, target->tag);
                return 0;
        }
        *target = *node_copy(r->build->arena, r->value);
        return 0;
}

/* Inside a text, where 5.8.1 does not look at the options. */
static int set_in_text(void *user, struct node *target)
{
        struct replacer r = *(struct replacer *)user;

        if (!build_next(r.build))
                r.options = NULL;
        return set_value(&r, target);
}

static enum path_create create_kind(const struct replacer *r)
{
        if (!node_text_is(node_get_of(r->options, "create"), "true"))
                return PATH_CREATE_NOTHING;
        if (r->value->kind == NODE_SCALAR)
                return PATH_CREATE_SCALAR;
        return r->value->kind == NODE_MAP ? PATH_CREATE_MAP : PATH_CREATE_LIST;
}

static int replace_at(struct replacer *r, struct resource *resource, struct view path)
{
        enum path_create create = create_kind(r);
        struct path_pieces pieces = replacement_path_split(r->build, path);
        struct node_array found = { NULL, 0 };
        int done;

        TRY(path_check_pieces(r->build, pieces.count));
        done = replacement_text_set(r->build, resource->node, pieces, create, set_in_text, r);
        if (done != 0)
                return done < 0 ? done : 0;
        done = replacement_path_match(r->build, resource->node, pieces, create, &found);
        if (done == 0 && found.count == 0)
                return error_set(r->build->error, ERROR_INVALID, "unable to find %sfield %s in replacement target",
                                 create ? "or create " : "", quoted(r->build, path));
        if (done < 0)
                return error_wrap(r->build->error, "unable to find %sfield %s in replacement target", create ? "or create " : "",
                                  quoted(r->build, path));
        for (size_t i = 0; i < found.count; i++)
                TRY(set_value(r, found.items[i]));
        if (r->value->kind != NODE_SCALAR && node_depth(resource->node, READER_DEPTH + 1) > READER_DEPTH)
                return error_set(r->build->error, ERROR_TOO_LARGE, "the replacement's target is nested too deep");
        return build_check(r->build);
}

/* Only expressions are compiled ahead in the reference; of labels it says nothing more. */
static int open_selector(struct build *build, const struct node *config, struct target_selector *ret)
{
        if (target_selector_open(build, config, ret) == 0)
                return 0;
        if (!view_starts(view_of(error_message(build->error)), VIEW("error parsing regexp")))
                return -1;
        return error_wrap(build->error, "error creating target selector");
}

/* 1: a target's `reject` meets it. */
static int is_rejected(struct build *build, const struct node *rejects, const struct resource *resource, const struct id_list *ids)
{
        for (uint32_t i = 0; rejects && i < rejects->count; i++) {
                cleanup(target_selector_close) struct target_selector selector = { 0 };
                int r = 0;

                TRY(open_selector(build, rejects->items[i], &selector));
                if (target_selector_has_metadata(&selector))
                        r = target_selector_matches_metadata(&selector, resource);
                for (size_t k = 0; k < ids->count && r == 0 && target_selector_has_id(&selector); k++)
                        r = target_selector_matches_id(&selector, &ids->items[k]);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int is_selected(const struct target_selector *selector, const struct node *rejects, const struct resource *resource)
{
        struct id_list ids = resource_all_ids(&selector->build->identity, resource);
        int r = target_selector_matches_metadata(selector, resource), selected = 0;

        for (size_t i = 0; i < ids.count && r > 0 && selected == 0; i++)
                selected = target_selector_matches_id(selector, &ids.items[i]);
        if (r <= 0 || selected <= 0)
                return r < 0 ? r : selected;
        r = is_rejected(selector->build, rejects, resource, &ids);
        return r < 0 ? r : !r;
}

static int run_target(struct replacer *r, struct accumulator *accumulator, const struct node *target)
{
        cleanup(target_selector_close) struct target_selector selector = { 0 };
        const struct node *select = node_get_of(target, "select"), *paths = node_get_of(target, "fieldPaths");

        if (!select)
                return error_set(r->build->error, ERROR_INVALID, "target must specify resources to select");
        TRY(open_selector(r->build, select, &selector));
        r->options = node_get_of(target, "options");
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                int selected = is_selected(&selector, node_get_of(target, "reject"), resource);

                if (selected < 0)
                        return selected;
                if (!selected)
                        continue;
                if (!paths || paths->count == 0)
                        TRY(replace_at(r, resource, view_of(default_path)));
                for (uint32_t k = 0; paths && k < paths->count; k++)
                        TRY(replace_at(r, resource, node_text(paths->items[k])));
        }
        return 0;
}

static int run_replacement(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        for (uint32_t i = 0; i < t->config->count; i++) {
                const struct node *config = t->config->items[i], *targets = node_get_of(config, "targets");
                bool source = node_get_of(config, "source"), value = node_get_of(config, "sourceValue");
                struct replacer r = { .build = build };
                struct node *node = NULL;

                if ((!source && !value) || !targets)
                        return error_set(build->error, ERROR_INVALID, "replacements must specify a source and at least one target");
                if (source && value)
                        return error_set(build->error, ERROR_INVALID, "value and resource selectors are mutually exclusive");
                TRY(read_value(build, accumulator, config, &node));
                r.value = node;
                for (uint32_t k = 0; k < targets->count; k++)
                        TRY(run_target(&r, accumulator, targets->items[k]));
        }
        accumulator_touch(accumulator);
        return 0;
}

static int load_file(struct build *build, const char *directory, const char *path, struct node *list)
{
        struct node *document = NULL;
        struct view text;

        TRY(tree_read(build, directory, path, &text));
        TRY(reader_document(&build->reader, SCALAR_CONFIGURATION, text, &document, build->error));
        if (node_is_map(document)) {
                TRY(kustomization_check(build, SHAPE_REPLACEMENT, document, false, path));
                node_append(build->arena, list, document);
                return 0;
        }
        if (!node_is_list(document))
                return error_set(build->error, ERROR_INVALID,
                                 "unsupported replacement type encountered within replacement path: %s",
                                 document ? "string" : "invalid");
        for (uint32_t i = 0; i < document->count; i++) {
                TRY(kustomization_check(build, SHAPE_REPLACEMENT, document->items[i], false, path));
                node_append(build->arena, list, document->items[i]);
        }
        return 0;
}

static int gather(struct build *build, const char *directory, const struct node *replacements, struct node *list)
{
        for (uint32_t i = 0; replacements && i < replacements->count; i++) {
                struct node *entry = replacements->items[i];
                const struct node *targets = node_get_of(entry, "targets");
                const char *path = node_get_string(entry, "path");

                if (*path && (node_get_of(entry, "source") || (targets && targets->count)))
                        return error_set(build->error, ERROR_INVALID, "cannot specify both path and inline replacement");
                if (*path)
                        TRY(load_file(build, directory, path, list));
                else
                        node_append(build->arena, list, entry);
        }
        return 0;
}

int transformer_add_replacements(struct build *build, const char *directory, const struct node *replacements,
                                 struct transformer_list *list)
{
        struct transformer *t = transformer_add(build, list, "ReplacementTransformer", run_replacement);
        struct node *all = node_list(build->arena);

        t->config = all;
        return gather(build, directory, replacements, all);
}
