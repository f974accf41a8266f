#include "engine/kustomize/fieldspec.h"
#include "engine/kustomize/kustomization.h"

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
        TRY(reader_document(&build->reader, SCALAR_CONFIGURATION, text, &document, build->error));
        if (node_is_null(document))
                return 0;
        TRY(kustomization_check(build, SHAPE_CONFIGURATION, document, false, path));
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

/* Field specs that the properties of one definition ask for by their extensions. */
static int add_properties(struct build *build, const struct gvk *gvk, const struct node *definitions, const struct node *definition,
                          const char *prefix, unsigned depth, struct configuration *into)
{
        const struct node *properties = node_get_of(definition, "properties");

        if (depth > 32)
                return error_set(build->error, ERROR_INVALID, "crds: the definitions refer to each other without end");
        for (uint32_t i = 0; node_is_map(properties) && i < properties->count; i++) {
                const struct node *property = properties->entries[i].value;
                const char *name = properties->entries[i].key->text;
                const char *path = arena_printf(build->arena, "%s%s%s", prefix, *prefix ? "/" : "", name);
                struct field_spec spec = { .gvk = *gvk, .path = view_of(path), .create = false };
                struct view reference = node_get_text(property, "$ref"),
                            kind = node_get_text(property, "x-kubernetes-object-ref-kind");
                struct view version = node_get_text(property, "x-kubernetes-object-ref-api-version"),
                            key = node_get_text(property, "x-kubernetes-object-ref-name-key");

                if (node_get_of(property, "x-kubernetes-annotation"))
                        TRY(spec_list_merge_one(build, &into->common_annotations, &spec));
                if (node_get_of(property, "x-kubernetes-label-selector"))
                        TRY(spec_list_merge_one(build, &into->common_labels, &spec));
                if (node_get_of(property, "x-kubernetes-identity"))
                        TRY(spec_list_merge_one(build, &into->name_prefix, &spec));
                if (version.length && kind.length) {
                        struct configuration one = { 0 };
                        struct name_reference rule = { .referral = { VIEW_NULL, version, kind } };

                        spec.path =
                                view_of(arena_printf(build->arena, "%s/%.*s", path, VIEW_ARGS(key.length ? key : VIEW("name"))));
                        rule.referrers = (struct spec_list){ &spec, 1, 1 };
                        one.name_reference = (struct reference_list){ &rule, 1, 1 };
                        TRY(configuration_merge(build, into, &one));
                }
                if (view_starts(reference, VIEW("#/definitions/")))
                        reference = view_slice(reference, 14, SIZE_MAX);
                if (reference.length && node_get(definitions, reference))
                        TRY(add_properties(build, gvk, definitions, node_get(definitions, reference), path, depth + 1, into));
        }
        return 0;
}

static bool is_object(const struct node *definition)
{
        const struct node *properties = node_get_of(definition, "properties");

        return node_get_of(properties, "kind") && node_get_of(properties, "apiVersion") && node_get_of(properties, "metadata");
}

/* `name.Kind` or `group.version.Kind`: the kind is the last piece. */
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
        TRY(reader_document(&build->reader, SCALAR_CONFIGURATION, text, &definitions, build->error));
        for (uint32_t i = 0; node_is_map(definitions) && i < definitions->count; i++) {
                struct gvk gvk = { VIEW_NULL, VIEW_NULL, kind_of(node_text(definitions->entries[i].key)) };

                if (is_object(definitions->entries[i].value))
                        TRY(add_properties(build, &gvk, definitions, definitions->entries[i].value, "", 0, into));
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
