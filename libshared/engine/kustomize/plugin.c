#include "engine/kustomize/plugin.h"

#include "engine/kustomize/generator.h"

#include <string.h>

/* Inline texts first, then the files and directories of those that are none. */
static int load_configs(struct build *build, struct target *target, const struct node *entries, struct resource_list *ret)
{
        struct accumulator accumulator = { 0 };
        struct node *paths = node_list(build->arena);

        for (uint32_t i = 0; entries && i < entries->count; i++) {
                struct error ignored = ERROR_NULL;
                struct node_array objects;
                int r = reader_resources(&build->reader, node_text(entries->items[i]), &objects, &ignored);

                error_release(&ignored);
                if (r < 0)
                        node_append(build->arena, paths, entries->items[i]);
                for (size_t k = 0; r == 0 && k < objects.count; k++) {
                        const char *origin = target_origin_path(build, target, target->kustomization.file);

                        if (origin)
                                node_set_annotation(build->arena, objects.items[k], ANNOTATION_ORIGIN, view_of(origin));
                        TRY(accumulator_add(build, &accumulator, resource_new(build->arena, objects.items[k])));
                }
        }
        TRY(target_resources(build, target, &accumulator, paths));
        *ret = accumulator.list;
        return 0;
}

/* Only built-in plugins: the rest would be programs of the repository. */
static int refuse_foreign(struct build *build, const struct resource *config)
{
        struct gvk gvk = resource_gvk(config);
        const struct node *annotations = node_path(config->node, "metadata", "annotations", NULL);

        if (node_get_of(annotations, "config.kubernetes.io/function"))
                return error_set(
                        build->error, ERROR_UNSUPPORTED,
                        "external plugins disabled; unable to load external plugin '%.*s': KRM functions are programs, and a "
                        "build runs none",
                        VIEW_ARGS(gvk.kind));
        if (gvk.group.length == 0 && view_is(gvk.version, "builtin"))
                return 0;
        return error_set(build->error, ERROR_UNSUPPORTED, "external plugins disabled; unable to load external plugin '%.*s'",
                         VIEW_ARGS(gvk.kind));
}

struct config {
        struct node *node;
        const char *kind;
        const char *name;
        const char *namespace;
        const char *origin; /* of what it makes or changes; NULL: not kept */
};

/* The origin of a configuration file as that of its results: `path` becomes `configuredIn`. */
static const char *config_origin(struct build *build, const struct resource *resource, const struct config *config)
{
        bool found;
        struct view origin = resource_annotation(resource, ANNOTATION_ORIGIN, &found);

        if (!build->metadata || !view_starts(origin, VIEW("path: ")))
                return NULL;
        return arena_printf(build->arena, "configuredIn: %.*sconfiguredBy:\n  apiVersion: builtin\n  kind: %s\n  name: %s\n%s%s%s",
                            VIEW_ARGS(view_slice(origin, 6, SIZE_MAX)), config->kind, config->name,
                            *config->namespace ? "  namespace: " : "", config->namespace, *config->namespace ? "\n" : "");
}

static int check_config(struct build *build, struct resource *resource, struct config *ret)
{
        struct view kind = resource_kind(resource), name = resource_name(resource), namespace = resource_namespace(resource);

        TRY(refuse_foreign(build, resource));
        *ret = (struct config){
                .node = resource->node,
                .kind = arena_string_n(build->arena, kind.data, kind.length),
                .name = arena_string_n(build->arena, name.data, name.length),
                .namespace = namespace.length ? arena_string_n(build->arena, namespace.data, namespace.length) : "",
        };
        ret->origin = config_origin(build, resource, ret);
        return 0;
}

static int fails_configuration(struct build *build, const struct resource *resource)
{
        struct resource_id id = resource_original(&build->identity, resource);

        return error_wrap(build->error, "plugin %s fails configuration", resource_id_text(build->arena, &id));
}

/* A plugin for another field; one that does not exist is left to kustomization_check_plugin. */
static int is_no(struct build *build, const struct config *config, const struct resource *resource, const char *what)
{
        struct resource_id id = resource_original(&build->identity, resource);
        size_t length = strlen(what);

        if (view_ends(view_of(config->kind), (struct view){ what, length }))
                return 0;
        return error_set(build->error, ERROR_INVALID, "plugin %s not a %s%s", resource_id_text(build->arena, &id),
                         *what == 'G' ? "g" : "t", what + 1);
}

/* A ServiceAccount bound to one of Google's cloud. */
static int generate_policy(struct build *build, const struct config *config, struct resource **ret)
{
        const struct node *cluster = node_get_of(config->node, "kubernetesService"),
                          *cloud = node_get_of(config->node, "serviceAccount");
        const char *provider = node_get_string(config->node, "cloud");
        struct view namespace = node_get_text(cluster, "namespace");
        struct node *object = node_map(build->arena);

        if (strcmp(provider, "gke") != 0)
                return error_set(build->error, ERROR_INVALID, "cloud provider %s not supported yet", provider);
        node_set_of(build->arena, object, "apiVersion", node_string_of(build->arena, "v1"));
        node_set_of(build->arena, object, "kind", node_string_of(build->arena, "ServiceAccount"));
        node_set_annotation(build->arena, object, "iam.gke.io/gcp-service-account",
                            view_of(arena_printf(build->arena, "%s@%s.iam.gserviceaccount.com", node_get_string(cloud, "name"),
                                                 node_get_string(cloud, "projectId"))));
        resource_set_name(build->arena, object, node_get_text(cluster, "name"));
        if (namespace.length)
                resource_set_namespace(build->arena, object, namespace);
        *ret = resource_new(build->arena, object);
        return 0;
}

static int generate_one(struct build *build, struct target *target, const struct config *config, struct resource **ret)
{
        bool secret = strcmp(config->kind, "SecretGenerator") == 0;

        if (strcmp(config->kind, "IAMPolicyGenerator") == 0)
                return generate_policy(build, config, ret);
        if (!secret && strcmp(config->kind, "ConfigMapGenerator") != 0)
                return error_set(build->error, ERROR_UNSUPPORTED, "unable to load builtin %s.builtin.[noGrp]", config->kind);
        /* What the configuration itself is called is the name if it gives none. */
        if (node_get_text(config->node, "name").length == 0)
                node_set_of(build->arena, config->node, "name", node_string_of(build->arena, config->name));
        if (node_get_text(config->node, "namespace").length == 0 && *config->namespace)
                node_set_of(build->arena, config->node, "namespace", node_string_of(build->arena, config->namespace));
        return generate(build, target->directory, secret, config->node, NULL, ret);
}

static int load_generator(struct build *build, struct resource *resource, struct config *ret)
{
        TRY(check_config(build, resource, ret));
        if (kustomization_check_plugin(build, ret->kind, resource->node) < 0)
                return build->error->kind == ERROR_UNSUPPORTED ? -1 : fails_configuration(build, resource);
        return is_no(build, ret, resource, "Generator");
}

int plugin_generate(struct build *build, struct target *target, const struct node *entries, struct accumulator *accumulator)
{
        struct resource_list configs = { 0 };

        if (!entries || entries->count == 0)
                return 0;
        if (load_configs(build, target, entries, &configs) < 0)
                return error_wrap(build->error, "loading generator plugins");
        for (size_t i = 0; i < configs.count; i++) {
                struct resource *resource = NULL;
                struct config config;

                if (load_generator(build, configs.items[i], &config) < 0)
                        return error_wrap(build->error, "loading generator plugins: failed to load generator");
                TRY(generate_one(build, target, &config, &resource));
                if (config.origin)
                        node_set_annotation(build->arena, resource->node, ANNOTATION_ORIGIN, view_of(config.origin));
                if (accumulator_absorb(build, accumulator, resource) < 0)
                        return error_wrap(build->error, "merging from generator %s", config.kind);
        }
        return 0;
}

static int add_namespace(struct build *build, const struct config *config, struct transformer_list *list)
{
        const char *mode = node_get_string(config->node, "setRoleBindingSubjects");
        struct transformer *t = transformer_add(build, list, "NamespaceTransformer", transform_namespace);

        t->text = view_of(config->namespace);
        t->specs = spec_list_decode(build, node_get_of(config->node, "fieldSpecs"));
        t->unset_only = node_text_is(node_get_of(config->node, "unsetOnly"), "true");
        if (strcmp(mode, "allServiceAccounts") == 0)
                t->subjects = SUBJECTS_SERVICE_ACCOUNTS;
        else if (strcmp(mode, "none") == 0)
                t->subjects = SUBJECTS_NONE;
        else if (*mode && strcmp(mode, "defaultOnly") != 0)
                return error_set(build->error, ERROR_INVALID,
                                 "invalid value \"%s\" for setRoleBindingSubjects: must be one of \"defaultOnly\", \"none\" or "
                                 "\"allServiceAccounts\"",
                                 mode);
        return 0;
}

static int add_affix(struct build *build, const struct node *config, const char *field, transformer_function *run,
                     struct transformer_list *list)
{
        struct transformer *t =
                transformer_add(build, list, strcmp(field, "prefix") == 0 ? "PrefixTransformer" : "SuffixTransformer", run);

        t->text = node_get_text(config, field);
        t->specs = spec_list_decode(build, node_get_of(config, "fieldSpecs"));
        if (!node_get_of(config, "fieldSpecs"))
                return error_set(build->error, ERROR_INVALID, "fieldSpecs is not expected to be nil");
        return 0;
}

static void add_simple(struct build *build, const char *kind, transformer_function *run, const struct node *config,
                       const char *field, struct transformer_list *list)
{
        struct transformer *t = transformer_add(build, list, kind, run);

        t->config = node_get_of(config, field);
        t->specs = spec_list_decode(build, node_get_of(config, "fieldSpecs"));
}

static int add_transformer(struct build *build, struct target *target, const struct config *loaded, struct transformer_list *list)
{
        const struct node *config = loaded->node;
        const char *kind = loaded->kind;
        bool affixes = strcmp(kind, "PrefixSuffixTransformer") == 0;

        if (strcmp(kind, "NamespaceTransformer") == 0)
                return add_namespace(build, loaded, list);
        if (affixes || strcmp(kind, "PrefixTransformer") == 0)
                TRY(add_affix(build, config, "prefix", transform_prefix, list));
        if (affixes || strcmp(kind, "SuffixTransformer") == 0)
                return add_affix(build, config, "suffix", transform_suffix, list);
        if (strcmp(kind, "PrefixTransformer") == 0)
                return 0;
        if (strcmp(kind, "PatchTransformer") == 0)
                return transformer_add_patch(build, target->directory, config, list);
        if (strcmp(kind, "PatchStrategicMergeTransformer") == 0)
                return transformer_add_merge(build, target->directory, node_get_of(config, "paths"),
                                             node_get_text(config, "patches"), list);
        if (strcmp(kind, "PatchJson6902Transformer") == 0)
                return transformer_add_json6902(build, target->directory, config, node_get_text(config, "jsonOp"), list);
        if (strcmp(kind, "ReplacementTransformer") == 0)
                return transformer_add_replacements(build, target->directory, node_get_of(config, "replacements"), list);
        if (strcmp(kind, "ValueAddTransformer") == 0)
                return transformer_add_value(build, target->directory, config, list);
        if (strcmp(kind, "LabelTransformer") == 0)
                add_simple(build, "LabelTransformer", transform_labels, config, "labels", list);
        else if (strcmp(kind, "AnnotationsTransformer") == 0)
                add_simple(build, "AnnotationsTransformer", transform_annotations, config, "annotations", list);
        else if (strcmp(kind, "ImageTagTransformer") == 0)
                add_simple(build, "ImageTagTransformer", transform_image, config, "imageTag", list);
        else if (strcmp(kind, "ReplicaCountTransformer") == 0)
                add_simple(build, "ReplicaCountTransformer", transform_replicas, config, "replica", list);
        else if (strcmp(kind, "HashTransformer") == 0)
                add_simple(build, "HashTransformer", transform_hash, config, "none", list);
        else
                return error_set(build->error, ERROR_UNSUPPORTED, "unable to load builtin %s.builtin.[noGrp]", kind);
        return 0;
}

int plugin_transformers(struct build *build, struct target *target, const struct node *entries, struct transformer_list *list)
{
        struct resource_list configs = { 0 };

        if (!entries || entries->count == 0)
                return 0;
        TRY(load_configs(build, target, entries, &configs));
        for (size_t i = 0; i < configs.count; i++) {
                struct config config;
                size_t before = list->count;

                TRY(check_config(build, configs.items[i], &config));
                if (kustomization_check_plugin(build, config.kind, config.node) < 0)
                        return build->error->kind == ERROR_UNSUPPORTED ? -1 : fails_configuration(build, configs.items[i]);
                TRY(is_no(build, &config, configs.items[i], "Transformer"));
                if (add_transformer(build, target, &config, list) < 0)
                        return fails_configuration(build, configs.items[i]);
                for (size_t k = before; k < list->count; k++)
                        list->items[k]->origin = config.origin;
        }
        return 0;
}

static int print_all(struct build *build, const struct accumulator *accumulator, struct buffer *text)
{
        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct node *copy = node_copy(build->arena, accumulator->list.items[i]->node);
                struct node *labels = node_path(copy, "metadata", "labels", NULL);

                node_remove_of(labels, "validated-by");
                if (labels && labels->count == 0)
                        node_remove_of(node_get_of(copy, "metadata"), "labels");
                TRY(emit_json(text, build->arena, copy, 0, build->error));
                buffer_add_char(text, '\n');
        }
        return 0;
}

int plugin_validate(struct build *build, struct accumulator *accumulator, struct transformer *transformer)
{
        struct buffer before = BUFFER_NULL, after = BUFFER_NULL;
        int r = print_all(build, accumulator, &before);

        if (r == 0)
                r = transformer->run(build, accumulator, transformer);
        if (r == 0)
                r = print_all(build, accumulator, &after);
        if (r == 0 && !view_equal(buffer_view(&before), buffer_view(&after)))
                r = error_set(build->error, ERROR_INVALID, "validator shouldn't modify the resource map");
        buffer_release(&before);
        buffer_release(&after);
        return r;
}
