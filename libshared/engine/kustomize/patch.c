#include "base/cleanup.h"
#include "engine/kustomize/json_patch.h"
#include "engine/kustomize/merge.h"
#include "engine/kustomize/target_selector.h"
#include "engine/kustomize/transformer.h"

#include <string.h>

static bool flag(const struct node *config, const char *name)
{
        return node_text_is(node_get_of(node_get_of(config, "options"), name), "true");
}

/* Merges one patch into one resource; kind and name come back unless the patch may change them, the namespace always. */
static int merge_into(struct build *build, struct accumulator *accumulator, struct resource *resource, struct node *patch)
{
        struct resource as_patch = { .node = patch };
        bool name_change = resource_enabled(&as_patch, ANNOTATION_ALLOW_NAME_CHANGE);
        bool kind_change = resource_enabled(&as_patch, ANNOTATION_ALLOW_KIND_CHANGE), deleted;
        struct view name = resource_name(resource), namespace = resource_namespace(resource), kind = resource_kind(resource);

        if (name_change || kind_change)
                resource_push_id(&build->identity, resource);
        name = arena_view(build->arena, name);
        namespace = arena_view(build->arena, namespace);
        kind = arena_view(build->arena, kind);
        TRY(merge_patch(build, resource->node, patch, &deleted));
        accumulator->any_indexed &= !(name_change || kind_change || deleted);
        if (deleted) {
                resource->node = NULL;
                return 0;
        }
        if (node_is_empty(resource->node))
                return 0;
        if (!kind_change)
                resource_set_kind(build->arena, resource->node, kind);
        if (!name_change)
                resource_set_name(build->arena, resource->node, name);
        resource_set_namespace(build->arena, resource->node, namespace);
        return build_check(build);
}

/* Drops what a patch deleted; ids may collide after a change of name or kind. */
static int settle(struct build *build, struct accumulator *accumulator)
{
        struct resource_list list = accumulator->list;

        accumulator_touch(accumulator);
        accumulator->list = (struct resource_list){ 0 };
        for (size_t i = 0; i < list.count; i++)
                if (!node_is_empty(list.items[i]->node))
                        TRY(accumulator_add(build, accumulator, list.items[i]));
        return 0;
}

static int find_target(struct build *build, struct accumulator *accumulator, const struct node *patch, struct resource **ret)
{
        struct resource as_patch = { .node = (struct node *)(uintptr_t)patch };
        struct resource_id id = resource_original(&build->identity, &as_patch);
        struct resource_list found = accumulator_by_any_id(build, accumulator, &id);
        const char *text;

        if (found.count == 1) {
                *ret = found.items[0];
                return 0;
        }
        text = resource_id_text(build->arena, &id);
        return error_set(build->error, ERROR_INVALID, "%s for Id %s; failed to find unique target for patch %s",
                         found.count ? "multiple matches" : "no matches", text, text);
}

/* What the reference does to a patch before it goes into each selected resource: labels and annotations become texts. */
static struct node *patch_for(struct build *build, const struct node *patch, const struct resource *resource)
{
        struct node *copy = node_copy(build->arena, patch);
        struct resource as_patch = { .node = copy };
        struct view kind = resource_kind(&as_patch);
        const struct node *api_version = node_get_of(resource->node, "apiVersion");

        resource_rebuild_map(build->arena, copy, "labels");
        resource_rebuild_map(build->arena, copy, "annotations");
        resource_set_namespace(build->arena, copy, resource_namespace(&as_patch));
        field_set(build->arena, copy, VIEW("apiVersion"),
                  node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, api_version ? node_text(api_version) : VIEW_NULL));
        resource_set_kind(build->arena, copy, kind);
        return copy;
}

static int merge_selected(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        cleanup(target_selector_close) struct target_selector selector = { 0 };
        bool renames = false;

        if (t->patches.count > 1)
                return error_set(
                        build->error, ERROR_INVALID,
                        "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: %s",
                        t->source);
        if (target_selector_open(build, t->config, &selector) < 0)
                return error_wrap(build->error, "unable to find patch target \"%s\" in `resources`",
                                  target_selector_text(build, t->config));
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                int r = target_selector_matches(&selector, resource);

                if (r < 0)
                        return r;
                if (r > 0) {
                        TRY(merge_into(build, accumulator, resource, patch_for(build, t->patches.items[0], resource)));
                        renames = true;
                }
        }
        return renames ? settle(build, accumulator) : 0;
}

static int run_merge(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        if (t->config)
                return merge_selected(build, accumulator, t);
        for (size_t i = 0; i < t->patches.count; i++) {
                struct node *patch = t->patches.items[i];
                struct resource as_patch = { .node = patch };
                struct resource_id id = resource_original(&build->identity, &as_patch);
                struct resource *target;

                if (find_target(build, accumulator, patch, &target) < 0)
                        return error_wrap(build->error, "no resource matches strategic merge patch \"%s\"",
                                          resource_id_text(build->arena, &id));
                TRY(merge_into(build, accumulator, target, patch));
        }
        accumulator->indexed = false;
        return 0;
}

/* patchesStrategicMerge goes the way of a patch with target: its labels and annotations become texts too. */
static int run_legacy_merge(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        for (size_t i = 0; i < t->patches.count; i++) {
                struct resource *target;

                TRY(find_target(build, accumulator, t->patches.items[i], &target));
                TRY(merge_into(build, accumulator, target, patch_for(build, t->patches.items[i], target)));
                if (!target->node)
                        TRY(settle(build, accumulator));
        }
        accumulator->indexed = false;
        return 0;
}

static bool is_internal(struct view name)
{
        return view_starts(name, VIEW(INTERNAL_PREFIX)) || view_is(name, "config.kubernetes.io/path") ||
               view_is(name, "config.kubernetes.io/index") || view_is(name, "config.k8s.io/id");
}

/* Applies a JSON patch; the history that it saw is there afterwards too. */
static int patch_resource(struct build *build, struct resource *resource, const struct transformer *t)
{
        const struct node *annotations;
        struct node *kept = node_map(build->arena);

        if (t->push_history)
                resource_push_id(&build->identity, resource);
        annotations = node_path(resource->node, "metadata", "annotations", NULL);
        for (uint32_t i = 0; node_is_map(annotations) && i < annotations->count; i++)
                if (is_internal(node_text(annotations->entries[i].key)))
                        node_set(build->arena, kept, node_text(annotations->entries[i].key), annotations->entries[i].value);
        TRY(json_patch_apply(build, resource->node, t->operations));
        for (uint32_t i = 0; i < kept->count; i++)
                node_set_annotation(build->arena, resource->node, kept->entries[i].key->text, node_text(kept->entries[i].value));
        resource_rebuild_map(build->arena, resource->node, "annotations");
        return 0;
}

static int run_json(struct build *build, struct accumulator *accumulator, struct transformer *t)
{
        cleanup(target_selector_close) struct target_selector selector = { 0 };

        if (!t->config)
                return error_set(build->error, ERROR_INVALID, "must specify a target for JSON patch %s", t->source);
        TRY(target_selector_open(build, t->config, &selector));
        for (size_t i = 0; i < accumulator->list.count; i++) {
                int r = target_selector_matches(&selector, accumulator->list.items[i]);

                if (r < 0)
                        return r;
                if (r > 0)
                        TRY(patch_resource(build, accumulator->list.items[i], t));
        }
        accumulator_touch(accumulator);
        return 0;
}

static const char *yaml_of(struct build *build, const struct node *config)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;

        return emit_yaml(&text, build->arena, config, 0, &ignored) < 0 ? "" : arena_string(build->arena, buffer_string(&text));
}

static int load_patch(struct build *build, const char *directory, const struct node *config, struct view *ret_text,
                      const char **ret_source)
{
        struct view patch = view_trim(node_get_text(config, "patch")), path = node_get_text(config, "path");
        struct buffer quoted = BUFFER_NULL;

        if (patch.length == 0 && path.length == 0)
                return error_set(build->error, ERROR_INVALID, "must specify one of patch and path in\n%s", yaml_of(build, config));
        if (patch.length && path.length)
                return error_set(build->error, ERROR_INVALID, "patch and path can't be set at the same time\n%s",
                                 yaml_of(build, config));
        if (path.length && tree_read(build, directory, path.data, ret_text) < 0)
                return error_wrap(build->error, "failed to get the patch file from path(%s)", path.data);
        if (patch.length)
                *ret_text = patch;
        emit_json_string(&quoted, patch.length ? patch : path, 0);
        *ret_source = arena_printf(build->arena, "[%s: %s]", patch.length ? "patch" : "path", buffer_string(&quoted));
        buffer_release(&quoted);
        return 0;
}

static void allow_changes(struct build *build, const struct node *config, const struct node_array *patches)
{
        for (size_t i = 0; i < patches->count; i++) {
                struct resource as_patch = { .node = patches->items[i] };

                if (flag(config, "allowNameChange"))
                        resource_enable(build->arena, &as_patch, ANNOTATION_ALLOW_NAME_CHANGE);
                if (flag(config, "allowKindChange"))
                        resource_enable(build->arena, &as_patch, ANNOTATION_ALLOW_KIND_CHANGE);
        }
}

static int configure_patch(struct build *build, const char *directory, const struct node *config, struct transformer *t)
{
        struct error merge_error = ERROR_NULL, json_error = ERROR_NULL, *error = build->error;
        struct view text = VIEW_NULL;
        int merge, json;

        TRY(load_patch(build, directory, config, &text, &t->source));
        merge = reader_resources(&build->reader, text, &t->patches, &merge_error);
        build->error = &json_error;
        json = json_patch_decode(build, text, &t->operations);
        build->error = error;
        if (merge < 0 && merge_error.kind == ERROR_TOO_LARGE) {
                error_move(error, &merge_error);
                error_release(&json_error);
                return -1;
        }
        error_release(&json_error);
        error_release(&merge_error);
        if (merge == 0 && json == 0 && t->patches.count && t->operations->count)
                return error_set(error, ERROR_INVALID, "illegally qualifies as both an SM and JSON patch: %s", t->source);
        if (merge < 0 && json < 0)
                return error_set(error, ERROR_INVALID, "unable to parse SM or JSON patch from %s", t->source);
        t->config = node_get_of(config, "target");
        t->push_history = true;
        if (merge == 0) {
                allow_changes(build, config, &t->patches);
                t->run = run_merge;
        }
        return 0;
}

int transformer_add_patch(struct build *build, const char *directory, const struct node *config, struct transformer_list *list)
{
        struct transformer *t = transformer_add(build, list, "PatchTransformer", run_json);

        TRY(configure_patch(build, directory, config, t));
        /* A text of comments alone changes nothing. */
        if (t->run == run_merge && t->patches.count == 0)
                t->config = NULL;
        return 0;
}

static int add_patches(struct build *build, struct view text, struct node_array *patches)
{
        struct node_array more;
        struct node **items;

        TRY(reader_resources(&build->reader, text, &more, build->error));
        items = arena_array(build->arena, patches->count + more.count, sizeof(*items));
        if (patches->count)
                memcpy(items, patches->items, patches->count * sizeof(*items));
        if (more.count)
                memcpy(items + patches->count, more.items, more.count * sizeof(*items));
        *patches = (struct node_array){ items, patches->count + more.count };
        return 0;
}

static int add_patch_file(struct build *build, const char *directory, const struct node *entry, struct node_array *patches)
{
        struct view text;

        if (add_patches(build, node_text(entry), patches) == 0)
                return 0;
        error_release(build->error);
        TRY(tree_read(build, directory, entry->text, &text));
        if (add_patches(build, text, patches) == 0)
                return 0;
        return error_wrap(build->error, "%s", entry->text);
}

int transformer_add_merge(struct build *build, const char *directory, const struct node *paths, struct view patches,
                          struct transformer_list *list)
{
        struct transformer *t = transformer_add(build, list, "PatchStrategicMergeTransformer", run_legacy_merge);
        cleanup(buffer_release) struct buffer files = BUFFER_NULL;

        for (uint32_t i = 0; paths && i < paths->count; i++) {
                TRY(add_patch_file(build, directory, paths->items[i], &t->patches));
                buffer_printf(&files, "%s%.*s", i ? " " : "", VIEW_ARGS(node_text(paths->items[i])));
        }
        if (patches.length)
                TRY(add_patches(build, patches, &t->patches));
        if ((!paths || paths->count == 0) && patches.length == 0)
                return error_set(build->error, ERROR_INVALID, "empty file path and empty patch content");
        if (t->patches.count)
                return 0;
        return error_set(build->error, ERROR_INVALID, "patch appears to be empty; files=[%s], Patch=%.*s", buffer_string(&files),
                         VIEW_ARGS(patches));
}

static int configure_json6902(struct build *build, const char *directory, const struct node *config, struct view patch,
                              struct transformer *t)
{
        struct view path = node_get_text(config, "path");

        t->config = node_get_of(config, "target");
        if (node_get_text(t->config, "name").length == 0)
                return error_set(build->error, ERROR_INVALID, "must specify the target name");
        if (path.length == 0 && patch.length == 0)
                return error_set(build->error, ERROR_INVALID, "empty file path and empty jsonOp");
        if (path.length && patch.length)
                return error_set(build->error, ERROR_INVALID, "must specify a file path or jsonOp, not both");
        if (path.length)
                TRY(tree_read(build, directory, path.data, &patch));
        if (patch.length == 0)
                return error_set(build->error, ERROR_INVALID, "patch file '%s' empty seems to be empty", path.data);
        if (json_patch_decode(build, patch, &t->operations) < 0)
                return error_wrap(build->error, "decoding %.*s", VIEW_ARGS(patch));
        if (t->operations->count == 0)
                return error_set(build->error, ERROR_INVALID, "patch appears to be empty; file=%.*s, JsonOp=%.*s", VIEW_ARGS(path),
                                 VIEW_ARGS(patch));
        t->source = arena_string_n(build->arena, patch.data, patch.length);
        return 0;
}

int transformer_add_json6902(struct build *build, const char *directory, const struct node *config, struct view patch,
                             struct transformer_list *list)
{
        struct transformer *t = transformer_add(build, list, "PatchJson6902Transformer", run_json);

        return configure_json6902(build, directory, config, patch, t);
}
