#include "engine/kustomize/fieldspec.h"
#include "engine/kustomize/kustomization.h"

#include <stddef.h>
#include <strings.h>

static int load_file(struct build *build, const char *directory, const char *path, struct configuration *into)
{
        static const struct {
                const char *field;
                size_t offset;
        } lists[] = {
                { "namePrefix", offsetof(struct configuration, name_prefix) },
                { "nameSuffix", offsetof(struct configuration, name_suffix) },
                { "namespace", offsetof(struct configuration, namespace) },
                { "commonLabels", offsetof(struct configuration, common_labels) },
                { "labels", offsetof(struct configuration, labels) },
                { "templateLabels", offsetof(struct configuration, template_labels) },
                { "volumeClaimTemplateLabels", offsetof(struct configuration, claim_labels) },
                { "commonAnnotations", offsetof(struct configuration, common_annotations) },
                { "images", offsetof(struct configuration, images) },
                { "replicas", offsetof(struct configuration, replicas) },
                { "varReference", offsetof(struct configuration, var_reference) },
        };
        struct configuration loaded = { 0 };
        const struct node *references;
        struct node *document = NULL;
        struct view text;

        TRY(tree_read(build, directory, path, &text));
        if (reader_document(&build->reader, SCALAR_CONFIGURATION, text, &document, build->error) < 0)
                return error_wrap(build->error, "%s: error converting YAML to JSON", path);
        if (node_is_null(document))
                return 0;
        TRY(kustomization_check(build, SHAPE_CONFIGURATION, document, false,
                                arena_printf(build->arena, "%s: error unmarshaling JSON: while decoding JSON", path)));
        for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
                *(struct spec_list *)((char *)&loaded + lists[i].offset) =
                        spec_list_decode(build, node_get_of(document, lists[i].field));
        references = node_get_of(document, "nameReference");
        if (references) {
                loaded.name_reference.items = arena_array(build->arena, references->count, sizeof(*loaded.name_reference.items));
                loaded.name_reference.count = loaded.name_reference.capacity = references->count;
        }
        for (size_t i = 0; i < loaded.name_reference.count; i++) {
                const struct node *entry = references->items[i];

                loaded.name_reference.items[i].referral =
                        (struct gvk){ node_get_text(entry, "group"), node_get_text(entry, "version"),
                                      node_get_text(entry, "kind") };
                loaded.name_reference.items[i].referrers = spec_list_decode(build, node_get_of(entry, "fieldSpecs"));
        }
        return configuration_merge(build, into, &loaded);
}

int configuration_load(struct build *build, const char *directory, const struct node *paths, struct configuration *into)
{
        for (uint32_t i = 0; paths && i < paths->count; i++)
                TRY(load_file(build, directory, paths->items[i]->text, into));
        return 0;
}

/* A definition's `Schema`, in any case. */
static const struct node *schema_of_definition(const struct node *definition)
{
        for (uint32_t i = 0; node_is_map(definition) && i < definition->count; i++)
                if (strcasecmp(definition->entries[i].key->text, "schema") == 0)
                        return definition->entries[i].value;
        return NULL;
}

struct crd {
        struct build *build;
        struct gvk gvk;
        const struct node *definitions;
        struct configuration *into;
};

static int add_definition(struct crd *crd, const struct node *definition, const char *prefix, unsigned depth);

static int add_reference(struct crd *crd, const struct node *property, const char *path)
{
        struct view version = node_get_text(property, "x-kubernetes-object-ref-api-version"),
                    kind = node_get_text(property, "x-kubernetes-object-ref-kind"),
                    key = node_get_text(property, "x-kubernetes-object-ref-name-key");
        struct name_reference rule = { .referral = { VIEW_NULL, version, kind } };
        struct field_spec spec = { .gvk = crd->gvk };
        struct configuration one = { .name_reference = { &rule, 1, 1 } };

        if (version.length == 0 || kind.length == 0)
                return 0;
        if (key.length == 0)
                key = VIEW("name");
        spec.path = view_of(arena_printf(crd->build->arena, "%s/%.*s", path, VIEW_ARGS(key)));
        rule.referrers = (struct spec_list){ &spec, 1, 1 };
        return configuration_merge(crd->build, crd->into, &one);
}

/* Field specs that a property asks for by its extensions. */
static int add_property(struct crd *crd, const struct node *property, const char *path, unsigned depth)
{
        struct field_spec spec = { .gvk = crd->gvk, .path = view_of(path) };
        struct view reference = node_get_text(property, "$ref");

        if (node_get_of(property, "x-kubernetes-annotation"))
                TRY(spec_list_merge_one(crd->build, &crd->into->common_annotations, &spec));
        if (node_get_of(property, "x-kubernetes-label-selector"))
                TRY(spec_list_merge_one(crd->build, &crd->into->common_labels, &spec));
        if (node_get_of(property, "x-kubernetes-identity"))
                TRY(spec_list_merge_one(crd->build, &crd->into->name_prefix, &spec));
        TRY(add_reference(crd, property, path));
        return reference.length ? add_definition(crd, node_get(crd->definitions, reference), path, depth + 1) : 0;
}

static int add_definition(struct crd *crd, const struct node *definition, const char *prefix, unsigned depth)
{
        const struct node *properties = node_get_of(schema_of_definition(definition), "properties");

        if (depth > 32)
                return error_set(crd->build->error, ERROR_INVALID, "the definitions refer to each other without end");
        for (uint32_t i = 0; node_is_map(properties) && i < properties->count; i++)
                TRY(add_property(
                        crd, properties->entries[i].value,
                        arena_printf(crd->build->arena, "%s%s%s", prefix, *prefix ? "/" : "", properties->entries[i].key->text),
                        depth));
        return 0;
}

static bool is_object(const struct node *definition)
{
        const struct node *properties = node_get_of(schema_of_definition(definition), "properties");

        return node_get_of(properties, "kind") && node_get_of(properties, "apiVersion") && node_get_of(properties, "metadata");
}

/* The kind is what stands behind the last dot of a definition's name. */
static struct view kind_of(struct view name)
{
        for (size_t i = name.length; i > 0; i--)
                if (name.data[i - 1] == '.')
                        return view_slice(name, i, SIZE_MAX);
        return name;
}

static int load_crd(struct build *build, const char *directory, const char *path, struct configuration *into)
{
        struct node *definitions = NULL;
        struct view text;

        TRY(tree_read(build, directory, path, &text));
        if (reader_document(&build->reader, SCALAR_CONFIGURATION, text, &definitions, build->error) < 0)
                return error_wrap(build->error, "unable to parse open API definition from '%s'", path);
        for (uint32_t i = 0; node_is_map(definitions) && i < definitions->count; i++) {
                struct crd crd = {
                        build, { VIEW_NULL, VIEW_NULL, kind_of(node_text(definitions->entries[i].key)) }, definitions, into
                };

                if (!node_is_map(definitions->entries[i].value) && !node_is_null(definitions->entries[i].value))
                        return error_set(build->error, ERROR_INVALID,
                                         "unable to parse open API definition from '%s': error unmarshaling JSON: while decoding "
                                         "JSON: json: cannot unmarshal %s into Go value of type accumulator.OpenAPIDefinition",
                                         path, kustomization_json_type(definitions->entries[i].value));
                if (is_object(definitions->entries[i].value))
                        TRY(add_definition(&crd, definitions->entries[i].value, "", 0));
        }
        return 0;
}

int configuration_load_crds(struct build *build, const char *directory, const struct node *paths, struct configuration *into)
{
        for (uint32_t i = 0; paths && i < paths->count; i++)
                if (load_crd(build, directory, paths->items[i]->text, into) < 0)
                        return error_wrap(build->error, "loading CRDs [%s]", paths->items[i]->text);
        return 0;
}
