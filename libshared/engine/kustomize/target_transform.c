#include "base/cleanup.h"
#include "engine/kustomize/generator.h"
#include "engine/kustomize/plugin.h"
#include "engine/kustomize/target.h"

#include <string.h>

static int add_labels(struct build *build, const struct node *fields, const struct configuration *configuration,
                      struct transformer_list *list)
{
        static const struct field_spec metadata_labels = { .path = { "metadata/labels", 15 }, .create = true };
        const struct node *labels = node_get_of(fields, "labels"), *common = node_get_of(fields, "commonLabels");
        struct transformer *t;

        if (!(labels && labels->count) && !(common && common->count))
                return 0;
        for (uint32_t i = 0; labels && i < labels->count; i++) {
                const struct node *entry = labels->items[i];
                struct spec_list specs = spec_list_decode(build, node_get_of(entry, "fields"));
                int r = spec_list_merge(build, &specs, &configuration->labels);

                if (r == 0 && node_text_is(node_get_of(entry, "includeSelectors"), "true")) {
                        r = spec_list_merge(build, &specs, &configuration->common_labels);
                } else if (r == 0) {
                        if (node_text_is(node_get_of(entry, "includeTemplates"), "true"))
                                r = spec_list_merge(build, &specs, &configuration->template_labels);
                        if (r == 0 && node_text_is(node_get_of(entry, "includeVolumeClaimTemplates"), "true"))
                                r = spec_list_merge(build, &specs, &configuration->claim_labels);
                        if (r == 0)
                                r = spec_list_merge_one(build, &specs, &metadata_labels);
                }
                if (r < 0)
                        return error_wrap(build->error, "failed to merge labels");
                t = transformer_add(build, list, "LabelTransformer", transform_labels);
                t->config = node_get_of(entry, "pairs");
                t->specs = specs;
        }
        t = transformer_add(build, list, "LabelTransformer", transform_labels);
        t->config = common;
        t->specs = configuration->common_labels;
        return 0;
}

static void add_texts(struct build *build, const struct node *fields, const struct configuration *configuration,
                      struct transformer_list *list)
{
        const struct {
                const char *field;
                const char *kind;
                transformer_function *run;
                const struct spec_list *specs;
        } texts[] = {
                { "namespace", "NamespaceTransformer", transform_namespace, &configuration->namespace },
                { "namePrefix", "PrefixTransformer", transform_prefix, &configuration->name_prefix },
                { "nameSuffix", "SuffixTransformer", transform_suffix, &configuration->name_suffix },
        };

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                struct view text = node_get_text(fields, texts[i].field);
                struct transformer *t;

                if (text.length == 0)
                        continue;
                t = transformer_add(build, list, texts[i].kind, texts[i].run);
                t->text = text;
                t->specs = *texts[i].specs;
        }
}

/* "trouble configuring builtin <kind> with config: `\n<yaml>`: ..."; in the configuration of the built-in transformer this is its `field`. */
static int config_error(struct build *build, const char *kind, const char *field, const struct node *value)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct node *config = node_map(build->arena);

        if (field)
                node_set_of(build->arena, config, field, node_copy(build->arena, value));
        (void)emit_yaml(&text, build->arena, field ? config : value, 0, &ignored);
        return error_wrap(build->error, "trouble configuring builtin %s with config: `\n%s`", kind, buffer_string(&text));
}

/* An entry of patchesJson6902 has other names, and less, inside. */
static const struct node *json6902_config(struct build *build, const struct node *entry)
{
        struct node *config = node_copy(build->arena, entry), *patch = node_get_of(config, "patch");

        node_remove_of(config, "patch");
        node_remove_of(config, "options");
        if (patch)
                node_set_of(build->arena, config, "jsonOp", patch);
        return config;
}

static int add_patches(struct build *build, const char *directory, const struct node *fields, struct transformer_list *list)
{
        const struct node *merges = node_get_of(fields, "patchesStrategicMerge"), *patches = node_get_of(fields, "patches");

        if (merges && merges->count)
                if (transformer_add_merge(build, directory, merges, VIEW_NULL, list) < 0)
                        return config_error(build, "PatchStrategicMergeTransformer", "paths", merges);
        for (uint32_t i = 0; patches && i < patches->count; i++) {
                struct node *entry = patches->items[i];

                /* Empty texts are none, and not shown. */
                if (node_get_text(entry, "path").length == 0)
                        node_remove_of(entry, "path");
                if (node_get_text(entry, "patch").length == 0)
                        node_remove_of(entry, "patch");
                if (transformer_add_patch(build, directory, entry, list) < 0)
                        return config_error(build, "PatchTransformer", NULL, entry);
        }
        return 0;
}

static void add_each(struct build *build, const struct node *entries, const char *kind, transformer_function *run,
                     const struct spec_list *specs, struct transformer_list *list)
{
        for (uint32_t i = 0; entries && i < entries->count; i++) {
                struct transformer *t = transformer_add(build, list, kind, run);

                t->config = entries->items[i];
                t->specs = *specs;
        }
}

static int add_builtin(struct build *build, struct target *target, const struct configuration *configuration,
                       struct transformer_list *list)
{
        const struct node *fields = target->kustomization.fields;
        const struct node *annotations = node_get_of(fields, "commonAnnotations"), *json = node_get_of(fields, "patchesJson6902");
        const struct node *replacements = node_get_of(fields, "replacements");

        TRY(add_patches(build, target->directory, fields, list));
        add_texts(build, fields, configuration, list);
        TRY(add_labels(build, fields, configuration, list));
        if (annotations && annotations->count) {
                struct transformer *t = transformer_add(build, list, "AnnotationsTransformer", transform_annotations);

                t->config = annotations;
                t->specs = configuration->common_annotations;
        }
        for (uint32_t i = 0; json && i < json->count; i++)
                if (transformer_add_json6902(build, target->directory, json->items[i], node_get_text(json->items[i], "patch"),
                                             list) < 0)
                        return config_error(build, "PatchJson6902Transformer", NULL, json6902_config(build, json->items[i]));
        add_each(build, node_get_of(fields, "replicas"), "ReplicaCountTransformer", transform_replicas, &configuration->replicas,
                 list);
        add_each(build, node_get_of(fields, "images"), "ImageTagTransformer", transform_image, &configuration->images, list);
        if (replacements && replacements->count)
                if (transformer_add_replacements(build, target->directory, replacements, list) < 0)
                        return config_error(build, "ReplacementTransformer", "Replacements", replacements);
        for (size_t i = 0; i < list->count; i++)
                list->items[i]->origin = target_origin_builtin(build, target, list->items[i]->kind);
        return 0;
}

/* A list entry of the transformations annotation: the origin, indented. */
static const char *list_entry(struct build *build, const char *origin)
{
        struct view rest = view_of(origin), line;
        struct buffer text = BUFFER_NULL;
        const char *entry;
        bool first = true;

        while (view_split(&rest, '\n', &line)) {
                if (line.length)
                        buffer_printf(&text, "%s%.*s\n", first ? "- " : "  ", VIEW_ARGS(line));
                first = false;
        }
        entry = arena_string(build->arena, buffer_string(&text));
        buffer_release(&text);
        return entry;
}

/* The first transformer that meets a resource without origin becomes its origin. */
static void annotate(struct build *build, struct accumulator *accumulator, const char *origin)
{
        const char *entry = list_entry(build, origin);

        for (size_t i = 0; i < accumulator->list.count; i++) {
                struct resource *resource = accumulator->list.items[i];
                bool has_origin, has_list;
                struct view list;

                if (!resource->node)
                        continue;
                resource_annotation(resource, ANNOTATION_ORIGIN, &has_origin);
                list = resource_annotation(resource, ANNOTATION_TRANSFORMATIONS, &has_list);
                if (!has_origin)
                        node_set_annotation(build->arena, resource->node, ANNOTATION_ORIGIN, view_of(origin));
                else
                        node_set_annotation(build->arena, resource->node, ANNOTATION_TRANSFORMATIONS,
                                            view_of(arena_printf(build->arena, "%.*s%s", VIEW_ARGS(list), entry)));
        }
}

static int run_all(struct build *build, struct accumulator *accumulator, const struct transformer_list *list)
{
        for (size_t i = 0; i < list->count; i++) {
                TRY(list->items[i]->run(build, accumulator, list->items[i]));
                if (list->items[i]->origin)
                        annotate(build, accumulator, list->items[i]->origin);
                accumulator_drop_empty(accumulator);
                TRY(build_check(build));
        }
        return 0;
}

int target_transform(struct build *build, struct target *target, struct accumulator *accumulator)
{
        struct transformer_list list = { 0 };

        TRY(add_builtin(build, target, accumulator->configuration, &list));
        TRY(plugin_transformers(build, target, node_get_of(target->kustomization.fields, "transformers"), &list));
        return run_all(build, accumulator, &list);
}

int target_validate(struct build *build, struct target *target, struct accumulator *accumulator)
{
        struct transformer_list list = { 0 };

        TRY(plugin_transformers(build, target, node_get_of(target->kustomization.fields, "validators"), &list));
        for (size_t i = 0; i < list.count; i++)
                TRY(plugin_validate(build, accumulator, list.items[i]));
        return 0;
}

static int run_generators(struct build *build, struct target *target, struct accumulator *accumulator, const struct node *entries,
                          bool secret)
{
        const struct node *options = node_get_of(target->kustomization.fields, "generatorOptions");
        const char *origin = target_origin_builtin(build, target, secret ? "SecretGenerator" : "ConfigMapGenerator");

        for (uint32_t i = 0; entries && i < entries->count; i++) {
                struct resource *resource;

                TRY(generate(build, target->directory, secret, entries->items[i], options, &resource));
                if (origin)
                        node_set_annotation(build->arena, resource->node, ANNOTATION_ORIGIN, view_of(origin));
                if (accumulator_absorb(build, accumulator, resource) < 0)
                        return error_wrap(build->error, "merging from generator %s", node_get_string(entries->items[i], "name"));
        }
        return 0;
}

int target_generate(struct build *build, struct target *target, struct accumulator *accumulator)
{
        const struct node *fields = target->kustomization.fields;

        TRY(run_generators(build, target, accumulator, node_get_of(fields, "configMapGenerator"), false));
        TRY(run_generators(build, target, accumulator, node_get_of(fields, "secretGenerator"), true));
        return plugin_generate(build, target, node_get_of(fields, "generators"), accumulator);
}
