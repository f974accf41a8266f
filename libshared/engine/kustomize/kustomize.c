#include "engine/kustomize/kustomize.h"

#include "engine/kustomize/emitter.h"
#include "engine/kustomize/order.h"
#include "engine/kustomize/reference.h"
#include "engine/kustomize/target.h"
#include "engine/kustomize/variable.h"

#include <string.h>

#define KUSTOMIZE_VERSION "v5.8.1"

static bool lists(const struct node *fields, const char *option)
{
        const struct node *metadata = node_get_of(fields, "buildMetadata");

        for (uint32_t i = 0; metadata && i < metadata->count; i++)
                if (node_text_is(metadata->items[i], option))
                        return true;
        return false;
}

/* Resources that are only configuration leave the list; what patches left of the others must still be an object. */
static int drop_local(struct build *build, struct accumulator *accumulator)
{
        size_t kept = 0;

        for (size_t i = 0; i < accumulator->list.count; i++) {
                bool found;
                struct view value = resource_annotation(accumulator->list.items[i], ANNOTATION_LOCAL_CONFIG, &found);

                TRY(reader_validate(accumulator->list.items[i]->node, build->error));
                if (!resource_history_complete(accumulator->list.items[i]))
                        return error_set(
                                build->error, ERROR_INVALID,
                                "number of previous names, number of previous namespaces, number of previous kinds not equal");
                if (!found || view_is(value, "false"))
                        accumulator->list.items[kept++] = accumulator->list.items[i];
        }
        accumulator->list.count = kept;
        return 0;
}

static void remove_internal(struct build *build, struct resource *resource, bool origin, bool transformations)
{
        static const char *const names[] = {
                ANNOTATION_PREVIOUS_KINDS,
                ANNOTATION_PREVIOUS_NAMES,
                ANNOTATION_PREVIOUS_NAMESPACES,
                ANNOTATION_PREFIXES,
                ANNOTATION_SUFFIXES,
                ANNOTATION_REFERENCED_BY,
                ANNOTATION_BEHAVIOR,
                ANNOTATION_NEEDS_HASH,
                ANNOTATION_ALLOW_NAME_CHANGE,
                ANNOTATION_ALLOW_KIND_CHANGE,
                ANNOTATION_HELM_GENERATED,
                INTERNAL_PREFIX "path",
                INTERNAL_PREFIX "index",
                INTERNAL_PREFIX "seqindent",
                INTERNAL_PREFIX "id",
                INTERNAL_PREFIX "annotations-migration-resource-id",
                "config.kubernetes.io/path",
                "config.kubernetes.io/index",
                "config.k8s.io/id",
        };
        struct node *annotations;

        resource_rebuild_map(build->arena, resource->node, "annotations");
        annotations = node_path(resource->node, "metadata", "annotations", NULL);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                node_remove_of(annotations, names[i]);
        if (!origin)
                node_remove_of(annotations, ANNOTATION_ORIGIN);
        if (!transformations)
                node_remove_of(annotations, ANNOTATION_TRANSFORMATIONS);
        if (annotations && annotations->count == 0)
                node_remove_of(node_get_of(resource->node, "metadata"), "annotations");
}

static int add_managed_by(struct build *build, struct accumulator *accumulator)
{
        struct node *labels = node_map(build->arena);
        struct field_spec spec = { .path = VIEW("metadata/labels"), .create = true };
        struct transformer t = { .config = labels, .specs = { &spec, 1, 1 } };

        node_set_of(build->arena, labels, "app.kubernetes.io/managed-by",
                    node_string_of(build->arena, "kustomize-" KUSTOMIZE_VERSION));
        return transform_labels(build, accumulator, &t);
}

static int finish(struct build *build, const struct node *fields, struct accumulator *accumulator)
{
        TRY(transform_hash(build, accumulator, NULL));
        TRY(reference_fix(build, accumulator));
        TRY(variable_resolve(build, accumulator));
        TRY(drop_local(build, accumulator));
        TRY(order_resources(build, node_get_of(fields, "sortOptions"), &accumulator->list));
        if (build->options->managed_by_label || lists(fields, "managedByLabel"))
                TRY(add_managed_by(build, accumulator));
        for (size_t i = 0; i < accumulator->list.count; i++)
                remove_internal(build, accumulator->list.items[i], lists(fields, "originAnnotations"),
                                lists(fields, "transformerAnnotations"));
        return build_check(build);
}

static void fill_output(struct build *build, const struct resource_list *list, struct kustomize_output *ret)
{
        ret->count = list->count;
        ret->resources = arena_array(build->arena, list->count, sizeof(*ret->resources));
        for (size_t i = 0; i < list->count; i++) {
                const struct resource *resource = list->items[i];
                const struct node *api_version = node_get_of(resource->node, "apiVersion");
                struct resource_id id = resource_current(&build->identity, resource);

                ret->resources[i] = (struct kustomize_resource){
                        .api_version = api_version && api_version->kind == NODE_SCALAR ? node_text(api_version) : VIEW_NULL,
                        .kind = resource_kind(resource),
                        .name = resource_name(resource),
                        .namespace = resource_namespace(resource),
                        .effective_namespace = resource_id_cluster_scoped(&id) ? VIEW_NULL : id.effective,
                        .node = resource->node,
                };
        }
}

static void set_limits(struct build *build)
{
        static const struct kustomize_limits defaults = { 10000000, 512u << 20, 128u << 20, 2ull << 30, 256 };
        struct kustomize_limits *limits = &build->limits;

        *limits = build->options->limits;
        limits->nodes = limits->nodes ? limits->nodes : defaults.nodes;
        limits->bytes = limits->bytes ? limits->bytes : defaults.bytes;
        limits->file_bytes = limits->file_bytes ? limits->file_bytes : defaults.file_bytes;
        limits->memory_bytes = limits->memory_bytes ? limits->memory_bytes : defaults.memory_bytes;
        limits->depth = limits->depth ? limits->depth : defaults.depth;
        build->budget = (struct reader_budget){ limits->nodes, limits->bytes };
}

int kustomize_build(struct arena *arena, const struct kustomize_tree *tree, const char *directory,
                    const struct kustomize_options *options, struct kustomize_output *ret_output, struct error *error)
{
        struct build build = { .arena = arena, .tree = tree, .options = options, .error = error };
        struct accumulator accumulator = { 0 };
        struct target top = { .origin = "" };
        const struct node *metadata;

        set_limits(&build);
        build.reader = (struct reader){ arena, &build.budget };
        build.identity = (struct identity){ arena, schema_builtin(), &build.schema_used, arena_new_of(arena, struct scope_cache),
                                            options->compat == KUSTOMIZE_COMPAT_NEXT };
        TRY(tree_directory(&build, "", directory, options->called, &top.directory));
        TRY(target_load(&build, &top));
        metadata = node_get_of(top.kustomization.fields, "buildMetadata");
        build.metadata = metadata && metadata->count;
        TRY(target_accumulate(&build, &top, &accumulator));
        TRY(finish(&build, top.kustomization.fields, &accumulator));
        fill_output(&build, &accumulator.list, ret_output);
        return 0;
}

/* Where the object cannot even be decoded the reference shows an empty value in front, else all of its values. */
int kustomize_emit_object(struct buffer *buffer, struct arena *arena, const struct node *object, struct error *error)
{
        struct view kind = node_get_text(object, "kind"), name = node_get_text(node_get_of(object, "metadata"), "name");
        const char *text;

        if (emit_yaml(buffer, arena, object, 0, error) == 0)
                return 0;
        text = arena_string(arena, error_message(error));
        if (strncmp(text, "yaml: ", 6) != 0 || strcmp(text, "yaml: control characters are not allowed") == 0)
                return error_wrap(error, "%.*s/%.*s", VIEW_ARGS(kind), VIEW_ARGS(name));
        return error_set(error, error->kind, "map[string]interface {}(nil): %s (%.*s/%.*s)", text, VIEW_ARGS(kind),
                         VIEW_ARGS(name));
}

int kustomize_emit(struct buffer *buffer, struct arena *arena, const struct kustomize_output *output, struct error *error)
{
        for (size_t i = 0; i < output->count; i++) {
                if (i > 0)
                        buffer_add_string(buffer, "---\n");
                TRY(kustomize_emit_object(buffer, arena, output->resources[i].node, error));
        }
        return 0;
}
