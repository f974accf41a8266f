#include "engine/kustomize/kustomization.h"

#include "base/cleanup.h"
#include "engine/kustomize/scalar.h"

#include <string.h>
#include <strings.h>

enum field_kind {
        FIELD_STRING,
        FIELD_BOOL,
        FIELD_INTEGER,
        FIELD_STRINGS,    /* list of strings */
        FIELD_STRING_MAP, /* map of strings */
        FIELD_OBJECT,
        FIELD_OBJECTS, /* list of objects */
        FIELD_ANY,
};

struct shape;

/* Error texts name types, and structs inside structs, as the reference does. */
struct shape_field {
        const char *name;
        enum field_kind kind;
        const struct shape *shape;
        const char *inside; /* the embedded structs that it is in: "ResId.Gvk"; NULL: none */
        const char *type;   /* NULL: what the kind says */
        bool next;          /* not in 5.8.1 */
};

struct shape {
        const char *type; /* "Selector" */
        const struct shape_field *fields;
        size_t count;
};

#define SHAPE(name, type, ...)                                                                                                     \
        static const struct shape_field name##_fields[] = { __VA_ARGS__ };                                                         \
        static const struct shape name##_shape = { type, name##_fields, sizeof(name##_fields) / sizeof(name##_fields[0]) }

#define GVK_FIELDS(inside)                                                                                                         \
        { "group", FIELD_STRING, NULL, inside }, { "version", FIELD_STRING, NULL, inside },                                        \
        {                                                                                                                          \
                "kind", FIELD_STRING, NULL, inside                                                                                 \
        }
#define ID_FIELDS                                                                                                                  \
        GVK_FIELDS("ResId.Gvk"), { "name", FIELD_STRING, NULL, "ResId" },                                                          \
        {                                                                                                                          \
                "namespace", FIELD_STRING, NULL, "ResId"                                                                           \
        }

SHAPE(metadata, "ObjectMeta", { "name", FIELD_STRING, NULL }, { "namespace", FIELD_STRING, NULL },
      { "labels", FIELD_STRING_MAP, NULL }, { "annotations", FIELD_STRING_MAP, NULL });
SHAPE(field_spec, "FieldSpec", GVK_FIELDS("Gvk"), { "path", FIELD_STRING, NULL }, { "create", FIELD_BOOL, NULL });
SHAPE(name_reference, "NameBackReferences", GVK_FIELDS("Gvk"), { "fieldSpecs", FIELD_OBJECTS, &field_spec_shape });
SHAPE(generator_options, "GeneratorOptions", { "labels", FIELD_STRING_MAP, NULL }, { "annotations", FIELD_STRING_MAP, NULL },
      { "disableNameSuffixHash", FIELD_BOOL, NULL }, { "immutable", FIELD_BOOL, NULL });

#define GENERATOR "GeneratorArgs"
#define SOURCES   "GeneratorArgs.KvPairSources"
#define GENERATOR_FIELDS                                                                                                           \
        { "name", FIELD_STRING, NULL, GENERATOR }, { "namespace", FIELD_STRING, NULL, GENERATOR },                                 \
                { "behavior", FIELD_STRING, NULL, GENERATOR }, { "literals", FIELD_STRINGS, NULL, SOURCES },                       \
                { "files", FIELD_STRINGS, NULL, SOURCES }, { "envs", FIELD_STRINGS, NULL, SOURCES },                               \
                { "env", FIELD_STRING, NULL, SOURCES },                                                                            \
        {                                                                                                                          \
                "options", FIELD_OBJECT, &generator_options_shape, GENERATOR                                                       \
        }

SHAPE(config_map_generator, "ConfigMapArgs", GENERATOR_FIELDS);
SHAPE(secret_generator, "SecretArgs", GENERATOR_FIELDS, { "type", FIELD_STRING, NULL });
SHAPE(label, "Label", { "pairs", FIELD_STRING_MAP, NULL }, { "includeSelectors", FIELD_BOOL, NULL },
      { "includeTemplates", FIELD_BOOL, NULL }, { "includeVolumeClaimTemplates", FIELD_BOOL, .next = true },
      { "fields", FIELD_OBJECTS, &field_spec_shape });
SHAPE(selector, "Selector", ID_FIELDS, { "labelSelector", FIELD_STRING, NULL }, { "annotationSelector", FIELD_STRING, NULL });
SHAPE(patch_options, "PatchArgs", { "allowNameChange", FIELD_BOOL, NULL }, { "allowKindChange", FIELD_BOOL, NULL });
SHAPE(patch, "Patch", { "path", FIELD_STRING, NULL }, { "patch", FIELD_STRING, NULL }, { "target", FIELD_OBJECT, &selector_shape },
      { "options", FIELD_OBJECT, &patch_options_shape });
SHAPE(image, "Image", { "name", FIELD_STRING, NULL }, { "newName", FIELD_STRING, NULL }, { "newTag", FIELD_STRING, NULL },
      { "tagSuffix", FIELD_STRING, NULL }, { "digest", FIELD_STRING, NULL });
SHAPE(replica, "Replica", { "name", FIELD_STRING, NULL }, { "count", FIELD_INTEGER, NULL });
SHAPE(replacement_options, "FieldOptions", { "delimiter", FIELD_STRING, NULL }, { "index", FIELD_INTEGER, NULL, NULL, "int" },
      { "encoding", FIELD_STRING, NULL }, { "create", FIELD_BOOL, NULL });
SHAPE(replacement_source, "SourceSelector", ID_FIELDS, { "fieldPath", FIELD_STRING, NULL },
      { "options", FIELD_OBJECT, &replacement_options_shape });
SHAPE(replacement_target, "TargetSelector", { "select", FIELD_OBJECT, &selector_shape },
      { "reject", FIELD_OBJECTS, &selector_shape, NULL, "[]*types.Selector" }, { "fieldPaths", FIELD_STRINGS, NULL },
      { "options", FIELD_OBJECT, &replacement_options_shape });
SHAPE(replacement, "ReplacementField", { "path", FIELD_STRING, NULL },
      { "source", FIELD_OBJECT, &replacement_source_shape, "Replacement" }, { "sourceValue", FIELD_STRING, NULL, "Replacement" },
      { "targets", FIELD_OBJECTS, &replacement_target_shape, "Replacement", "[]*types.TargetSelector" });
SHAPE(object_reference, "Target", { "apiVersion", FIELD_STRING, NULL }, GVK_FIELDS("Gvk"), { "name", FIELD_STRING, NULL },
      { "namespace", FIELD_STRING, NULL });
SHAPE(field_reference, "FieldSelector", { "fieldPath", FIELD_STRING, NULL });
SHAPE(variable, "Var", { "name", FIELD_STRING, NULL }, { "objref", FIELD_OBJECT, &object_reference_shape },
      { "fieldref", FIELD_OBJECT, &field_reference_shape });
SHAPE(legacy_sort, "LegacySortOptions", { "orderFirst", FIELD_STRINGS, NULL }, { "orderLast", FIELD_STRINGS, NULL });
SHAPE(sort_options, "SortOptions", { "order", FIELD_STRING, NULL, NULL, "types.SortOrder" },
      { "legacySortOptions", FIELD_OBJECT, &legacy_sort_shape });

SHAPE(kustomization, "Kustomization", { "apiVersion", FIELD_STRING, NULL, "TypeMeta" }, { "kind", FIELD_STRING, NULL, "TypeMeta" },
      { "metadata", FIELD_OBJECT, &metadata_shape }, { "openapi", FIELD_STRING_MAP, NULL }, { "namePrefix", FIELD_STRING, NULL },
      { "nameSuffix", FIELD_STRING, NULL }, { "namespace", FIELD_STRING, NULL }, { "commonLabels", FIELD_STRING_MAP, NULL },
      { "labels", FIELD_OBJECTS, &label_shape }, { "commonAnnotations", FIELD_STRING_MAP, NULL },
      { "patchesStrategicMerge", FIELD_STRINGS, NULL, NULL, "types.PatchStrategicMerge" },
      { "patchesJson6902", FIELD_OBJECTS, &patch_shape }, { "patches", FIELD_OBJECTS, &patch_shape },
      { "images", FIELD_OBJECTS, &image_shape }, { "imageTags", FIELD_OBJECTS, &image_shape },
      { "replacements", FIELD_OBJECTS, &replacement_shape }, { "replicas", FIELD_OBJECTS, &replica_shape },
      { "vars", FIELD_OBJECTS, &variable_shape }, { "sortOptions", FIELD_OBJECT, &sort_options_shape },
      { "resources", FIELD_STRINGS, NULL }, { "components", FIELD_STRINGS, NULL }, { "crds", FIELD_STRINGS, NULL },
      { "bases", FIELD_STRINGS, NULL }, { "configMapGenerator", FIELD_OBJECTS, &config_map_generator_shape },
      { "secretGenerator", FIELD_OBJECTS, &secret_generator_shape }, { "helmGlobals", FIELD_ANY, NULL },
      { "helmCharts", FIELD_ANY, NULL }, { "helmChartInflationGenerator", FIELD_ANY, NULL },
      { "generatorOptions", FIELD_OBJECT, &generator_options_shape }, { "configurations", FIELD_STRINGS, NULL },
      { "generators", FIELD_STRINGS, NULL }, { "transformers", FIELD_STRINGS, NULL }, { "validators", FIELD_STRINGS, NULL },
      { "buildMetadata", FIELD_STRINGS, NULL });

SHAPE(configuration, "TransformerConfig", { "namePrefix", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "nameSuffix", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "namespace", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "commonLabels", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "labels", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "templateLabels", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "volumeClaimTemplateLabels", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice", .next = true },
      { "commonAnnotations", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "nameReference", FIELD_OBJECTS, &name_reference_shape },
      { "varReference", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "images", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" },
      { "replicas", FIELD_OBJECTS, &field_spec_shape, .type = "types.FsSlice" });

#define PLUGIN_FIELDS                                                                                                              \
        { "apiVersion", FIELD_STRING, NULL }, { "kind", FIELD_STRING, NULL },                                                      \
        {                                                                                                                          \
                "metadata", FIELD_ANY, NULL                                                                                        \
        }
#define FIELD_SPECS                                                                                                                \
        {                                                                                                                          \
                "fieldSpecs", FIELD_OBJECTS, &field_spec_shape                                                                     \
        }

SHAPE(plugin_config_map, "plugin", PLUGIN_FIELDS, GENERATOR_FIELDS);
SHAPE(plugin_secret, "plugin", PLUGIN_FIELDS, GENERATOR_FIELDS, { "type", FIELD_STRING, NULL });
SHAPE(plugin_annotations, "plugin", PLUGIN_FIELDS, FIELD_SPECS, { "annotations", FIELD_STRING_MAP, NULL });
SHAPE(plugin_labels, "plugin", PLUGIN_FIELDS, FIELD_SPECS, { "labels", FIELD_STRING_MAP, NULL });
SHAPE(plugin_hash, "plugin", PLUGIN_FIELDS);
SHAPE(plugin_image, "plugin", PLUGIN_FIELDS, FIELD_SPECS, { "imageTag", FIELD_OBJECT, &image_shape });
SHAPE(plugin_namespace, "plugin", PLUGIN_FIELDS, FIELD_SPECS, { "unsetOnly", FIELD_BOOL, NULL },
      { "setRoleBindingSubjects", FIELD_STRING, NULL });
SHAPE(plugin_json6902, "plugin", PLUGIN_FIELDS, { "target", FIELD_OBJECT, &selector_shape }, { "path", FIELD_STRING, NULL },
      { "jsonOp", FIELD_STRING, NULL });
SHAPE(plugin_merge, "plugin", PLUGIN_FIELDS, { "paths", FIELD_STRINGS, NULL }, { "patches", FIELD_STRING, NULL });
SHAPE(plugin_patch, "plugin", PLUGIN_FIELDS, { "path", FIELD_STRING, NULL }, { "patch", FIELD_STRING, NULL },
      { "target", FIELD_OBJECT, &selector_shape }, { "options", FIELD_OBJECT, &patch_options_shape });
SHAPE(plugin_prefix, "plugin", PLUGIN_FIELDS, FIELD_SPECS, { "prefix", FIELD_STRING, NULL }, { "suffix", FIELD_STRING, NULL });
SHAPE(plugin_replacement, "plugin", PLUGIN_FIELDS, { "replacements", FIELD_OBJECTS, &replacement_shape });
SHAPE(plugin_replica, "plugin", PLUGIN_FIELDS, FIELD_SPECS, { "replica", FIELD_OBJECT, &replica_shape });
SHAPE(value_add_target, "plugin", { "selector", FIELD_OBJECT, &selector_shape }, { "fieldPath", FIELD_STRING, NULL },
      { "filePathPosition", FIELD_INTEGER, NULL });
SHAPE(plugin_value_add, "plugin", PLUGIN_FIELDS, { "value", FIELD_STRING, NULL },
      { "targets", FIELD_OBJECTS, &value_add_target_shape }, { "targetFilePath", FIELD_STRING, NULL });
SHAPE(value_add_file, "plugin", { "targets", FIELD_OBJECTS, &value_add_target_shape });
SHAPE(cluster_account, "plugin", { "name", FIELD_STRING, NULL }, { "namespace", FIELD_STRING, NULL });
SHAPE(cloud_account, "plugin", { "name", FIELD_STRING, NULL }, { "projectId", FIELD_STRING, NULL });
SHAPE(plugin_policy, "plugin", PLUGIN_FIELDS, { "cloud", FIELD_STRING, NULL },
      { "kubernetesService", FIELD_OBJECT, &cluster_account_shape }, { "serviceAccount", FIELD_OBJECT, &cloud_account_shape });

static const struct {
        const char *kind;
        const struct shape *shape;
} plugins[] = {
        { "ConfigMapGenerator", &plugin_config_map_shape },
        { "SecretGenerator", &plugin_secret_shape },
        { "IAMPolicyGenerator", &plugin_policy_shape },
        { "AnnotationsTransformer", &plugin_annotations_shape },
        { "HashTransformer", &plugin_hash_shape },
        { "ImageTagTransformer", &plugin_image_shape },
        { "LabelTransformer", &plugin_labels_shape },
        { "NamespaceTransformer", &plugin_namespace_shape },
        { "PatchJson6902Transformer", &plugin_json6902_shape },
        { "PatchStrategicMergeTransformer", &plugin_merge_shape },
        { "PatchTransformer", &plugin_patch_shape },
        { "PrefixSuffixTransformer", &plugin_prefix_shape },
        { "PrefixTransformer", &plugin_prefix_shape },
        { "SuffixTransformer", &plugin_prefix_shape },
        { "ReplacementTransformer", &plugin_replacement_shape },
        { "ReplicaCountTransformer", &plugin_replica_shape },
        { "ValueAddTransformer", &plugin_value_add_shape },
};

struct check {
        struct build *build;
        bool strict; /* unknown fields are errors */
        bool coerce; /* numbers and bools are taken as strings, but in what an embedded struct holds: the reference looks at the struct */
        const char *type; /* of the struct that is being read */
        const char *what;
};

static int check_object(struct check *c, const struct shape *shape, struct node *object, const char *path);

const char *kustomization_json_type(const struct node *node)
{
        if (node->kind == NODE_MAP)
                return "object";
        if (node->kind == NODE_LIST)
                return "array";
        switch ((enum node_tag)node->tag) {
        case TAG_BOOL:
                return "bool";
        case TAG_INTEGER:
        case TAG_FLOAT:
                return "number";
        default:
                return "string";
        }
}

static int wrong_type(struct check *c, const struct node *value, const char *path, const char *type)
{
        if (!c->type)
                return error_set(c->build->error, ERROR_INVALID, "%s: json: cannot unmarshal %s into Go value of type %s", c->what,
                                 kustomization_json_type(value), type);
        return error_set(c->build->error, ERROR_INVALID, "%s: json: cannot unmarshal %s into Go struct field %s.%s of type %s",
                         c->what, kustomization_json_type(value), c->type, path, type);
}

/* Only a text counts: 1.0, true and yes are other types. */
static int check_string(struct check *c, struct node *value, const char *path, const char *type)
{
        struct value typed;

        if (value->kind == NODE_SCALAR && strcmp(kustomization_json_type(value), "string") == 0) {
                TRY(scalar_value(c->build->arena, value, false, &typed, c->build->error));
                *value = *node_scalar(c->build->arena, TAG_STRING, STYLE_DOUBLE,
                                      typed.kind == VALUE_STRING ? typed.string : node_text(value));
                return 0;
        }
        if (value->kind != NODE_SCALAR || !c->coerce)
                return wrong_type(c, value, path, type);
        if (value->tag == TAG_FLOAT || value->tag == TAG_INTEGER) {
                struct buffer text = BUFFER_NULL;
                int r = emit_json(&text, c->build->arena, value, 0, c->build->error);

                if (r == 0)
                        *value = *node_scalar(c->build->arena, TAG_STRING, STYLE_DOUBLE, buffer_view(&text));
                buffer_release(&text);
                return r;
        }
        TRY(scalar_value(c->build->arena, value, false, &typed, c->build->error));
        *value = *node_scalar(c->build->arena, TAG_STRING, STYLE_DOUBLE, typed.boolean ? VIEW("true") : VIEW("false"));
        return 0;
}

static int check_strings(struct check *c, struct node *value, const char *path, const char *type)
{
        if (value->kind != NODE_LIST)
                return wrong_type(c, value, path, arena_printf(c->build->arena, "[]%s", type));
        for (uint32_t i = 0; i < value->count; i++) {
                if (node_is_null(value->items[i]))
                        value->items[i] = node_scalar(c->build->arena, TAG_STRING, STYLE_DOUBLE, VIEW(""));
                TRY(check_string(c, value->items[i], path, type));
        }
        return 0;
}

static int check_string_map(struct check *c, struct node *value, const char *path)
{
        if (value->kind != NODE_MAP)
                return wrong_type(c, value, path, "map[string]string");
        for (uint32_t i = 0; i < value->count; i++) {
                if (node_is_null(value->entries[i].value))
                        value->entries[i].value = node_scalar(c->build->arena, TAG_STRING, STYLE_DOUBLE, VIEW(""));
                TRY(check_string(c, value->entries[i].value, path, "string"));
        }
        return 0;
}

/* 3.0 is an integer too: JSON has only numbers. */
static int check_integer(struct check *c, struct node *value, const char *path, const char *type)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct value typed;

        if (value->kind != NODE_SCALAR || (value->tag != TAG_INTEGER && value->tag != TAG_FLOAT))
                return wrong_type(c, value, path, type);
        TRY(emit_json(&text, c->build->arena, value, 0, c->build->error));
        if (scalar_parse_integer(buffer_view(&text), &typed) != 0 || typed.kind != VALUE_SIGNED)
                return error_set(c->build->error, ERROR_INVALID,
                                 "%s: json: cannot unmarshal number %s into Go struct field %s.%s of type %s", c->what,
                                 buffer_string(&text), c->type, path, type);
        *value = *node_scalar(c->build->arena, TAG_INTEGER, STYLE_PLAIN, buffer_view(&text));
        return 0;
}

static int check_value(struct check *c, const struct shape_field *field, struct node *value, const char *path)
{
        const char *type = field->type ? field->type : field->kind == FIELD_INTEGER ? "int64" : "string";

        switch (field->kind) {
        case FIELD_STRING:
                return check_string(c, value, path, type);
        case FIELD_BOOL:
                return value->kind == NODE_SCALAR && value->tag == TAG_BOOL ? 0 : wrong_type(c, value, path, "bool");
        case FIELD_INTEGER:
                return check_integer(c, value, path, type);
        case FIELD_STRINGS:
                return check_strings(c, value, path, type);
        case FIELD_STRING_MAP:
                return check_string_map(c, value, path);
        case FIELD_OBJECT:
                return check_object(c, field->shape, value, path);
        case FIELD_OBJECTS:
                if (value->kind != NODE_LIST)
                        return wrong_type(c, value, path,
                                          field->type ? field->type
                                                      : arena_printf(c->build->arena, "[]types.%s", field->shape->type));
                for (uint32_t i = 0; i < value->count; i++) {
                        if (node_is_null(value->items[i]))
                                value->items[i] = node_map(c->build->arena);
                        TRY(check_object(c, field->shape, value->items[i], path));
                }
                return 0;
        case FIELD_ANY:
                return 0;
        }
        return 0;
}

static const struct shape_field *find_field(const struct check *c, const struct shape *shape, const struct node *key)
{
        bool next = build_next(c->build);

        for (size_t i = 0; i < shape->count; i++)
                if (shape->fields[i].next <= next && node_text_is(key, shape->fields[i].name))
                        return &shape->fields[i];
        for (size_t i = 0; i < shape->count; i++)
                if (shape->fields[i].next <= next && strlen(shape->fields[i].name) == key->count &&
                    strcasecmp(shape->fields[i].name, key->text) == 0)
                        return &shape->fields[i];
        return NULL;
}

static const char *field_path(struct check *c, const char *path, const struct shape_field *field)
{
        const char *inside = field->inside ? field->inside : "";

        return arena_printf(c->build->arena, "%s%s%s%s%s", path, *path ? "." : "", inside, *inside ? "." : "", field->name);
}

static int unknown_field(struct check *c, struct view name)
{
        cleanup(buffer_release) struct buffer quoted = BUFFER_NULL;

        emit_json_string(&quoted, name, 0);
        return error_set(c->build->error, ERROR_INVALID, "%s: json: unknown field %s", c->what, buffer_string(&quoted));
}

static int check_object(struct check *c, const struct shape *shape, struct node *object, const char *path)
{
        struct node *canonical = node_map(c->build->arena);
        const char *outer = c->type;
        bool coerce = c->coerce;

        if (object->kind != NODE_MAP)
                return wrong_type(c, object, path, arena_printf(c->build->arena, "types.%s", shape->type));
        c->type = shape->type;
        for (uint32_t i = 0; i < object->count; i++) {
                const struct node *key = object->entries[i].key;
                struct node *value = object->entries[i].value;
                const struct shape_field *field = find_field(c, shape, key);

                if (!field && c->strict)
                        return unknown_field(c, node_text(key));
                if (!field || node_is_null(value))
                        continue;
                c->coerce = coerce && !field->inside;
                TRY(check_value(c, field, value, field_path(c, path, field)));
                node_set_of(c->build->arena, canonical, field->name, value);
        }
        c->type = outer;
        c->coerce = coerce;
        object->entries = canonical->entries;
        object->count = canonical->count;
        object->capacity = canonical->capacity;
        return 0;
}

int kustomization_check(struct build *build, enum kustomization_shape shape, struct node *node, bool lenient, const char *what)
{
        static const struct shape *const shapes[] = {
                [SHAPE_KUSTOMIZATION] = &kustomization_shape,
                [SHAPE_REPLACEMENT] = &replacement_shape,
                [SHAPE_CONFIGURATION] = &configuration_shape,
                [SHAPE_VALUE_ADD] = &value_add_file_shape,
        };
        struct check c = { .build = build,
                           .strict = !lenient && shape != SHAPE_REPLACEMENT && shape != SHAPE_VALUE_ADD,
                           .coerce = lenient,
                           .what = what };

        return check_object(&c, shapes[shape], node, "");
}

int kustomization_check_plugin(struct build *build, const char *kind, struct node *node)
{
        const char *what = strcmp(kind, "NamespaceTransformer") == 0
                                   ? "unmarshalling NamespaceTransformer config: error unmarshaling JSON: while decoding JSON"
                                   : "error unmarshaling JSON: while decoding JSON";
        struct check c = { .build = build, .coerce = true, .what = what };

        for (size_t i = 0; i < sizeof(plugins) / sizeof(plugins[0]); i++) {
                struct shape shape = *plugins[i].shape;

                if (strcmp(plugins[i].kind, kind) != 0)
                        continue;
                shape.type = arena_printf(build->arena, "%sPlugin", kind);
                return check_object(&c, &shape, node, "");
        }
        return error_set(build->error, ERROR_UNSUPPORTED, "unable to load builtin %s.builtin.[noGrp]", kind);
}

static void append_list(struct arena *arena, struct node *fields, const char *from, const char *to)
{
        struct node *source = node_get_of(fields, from), *target = node_get_of(fields, to);

        if (!source)
                return;
        node_remove_of(fields, from);
        if (!target) {
                node_set_of(arena, fields, to, source);
                return;
        }
        for (uint32_t i = 0; i < source->count; i++)
                node_append(arena, target, source->items[i]);
}

static void merge_env(struct arena *arena, struct node *generators)
{
        for (uint32_t i = 0; generators && i < generators->count; i++) {
                struct node *env = node_get_of(generators->items[i], "env"), *list;

                if (!env || env->count == 0)
                        continue;
                list = node_get_of(generators->items[i], "envs");
                if (!list) {
                        list = node_list(arena);
                        node_set_of(arena, generators->items[i], "envs", list);
                }
                node_append(arena, list, env);
                node_remove_of(generators->items[i], "env");
        }
}

static void warn_deprecated(struct build *build, const struct node *fields)
{
        static const struct {
                const char *field;
                const char *successor;
                const char *experimental;
        } deprecated[] = {
                { "bases", "resources", "" },
                { "commonLabels", "labels", "" },
                { "imageTags", "images", "" },
                { "patchesJson6902", "patches", "" },
                { "patchesStrategicMerge", "patches", "" },
                { "vars", "replacements", "[EXPERIMENTAL] " },
        };

        for (size_t i = 0; i < sizeof(deprecated) / sizeof(deprecated[0]); i++)
                if (node_get_of(fields, deprecated[i].field))
                        build_warn(
                                build,
                                "# Warning: '%s' is deprecated. Please use '%s' instead. %sRun 'kustomize edit fix' to update your "
                                "Kustomization automatically.",
                                deprecated[i].field, deprecated[i].successor, deprecated[i].experimental);
}

static bool is_zero(const struct node *value)
{
        return value->kind == NODE_SCALAR && value->tag == TAG_STRING && value->count == 0;
}

static int enforce(struct build *build, const char *directory, struct kustomization *k)
{
        const char *kind = node_get_string(k->fields, "kind"), *api_version = node_get_string(k->fields, "apiVersion"), *wanted;
        const char *about = "";
        bool empty = true, known, fits;

        for (uint32_t i = 0; i < k->fields->count; i++)
                if (!node_text_is(k->fields->entries[i].key, "kind") && !node_text_is(k->fields->entries[i].key, "apiVersion"))
                        empty = empty && is_zero(k->fields->entries[i].value);
        if (empty)
                return error_set(build->error, ERROR_INVALID, "kustomization.yaml is empty");
        if (!*kind)
                kind = "Kustomization";
        k->component = strcmp(kind, "Component") == 0;
        known = k->component || strcmp(kind, "Kustomization") == 0;
        wanted = k->component ? "kustomize.config.k8s.io/v1alpha1" : "kustomize.config.k8s.io/v1beta1";
        fits = !*api_version || strcmp(api_version, wanted) == 0;
        if (known && fits)
                return 0;
        if (!fits)
                about = arena_printf(build->arena, "%sapiVersion for %s should be %s", known ? "" : "\n", kind, wanted);
        return error_set(build->error, ERROR_INVALID, "Failed to read kustomization file under %s:\n%s%s",
                         tree_display(build, directory), known ? "" : "kind should be Kustomization or Component", about);
}

static int find_file(struct build *build, const char *directory, struct view *ret_text, const char **ret_name)
{
        static const char *const names[] = { "kustomization.yaml", "kustomization.yml", "Kustomization" };
        unsigned found = 0;

        for (size_t i = 0; i < 3; i++) {
                int r = tree_probe(build, directory, names[i], ret_text);

                if (r < 0)
                        return r;
                if (r == 0) {
                        *ret_name = names[i];
                        found++;
                }
        }
        if (found == 0)
                return error_set(
                        build->error, ERROR_INVALID,
                        "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '%s'",
                        tree_display(build, directory));
        if (found > 1)
                return error_set(build->error, ERROR_INVALID, "Found multiple kustomization files under: %s\n",
                                 tree_display(build, directory));
        return 0;
}

int kustomization_load(struct build *build, const char *directory, bool top, struct kustomization *ret)
{
        bool lenient = top && build->options->lenient_root;
        struct kustomization k = { 0 };
        struct view text = VIEW_NULL;

        TRY(find_file(build, directory, &text, &k.file));
        if (reader_document(&build->reader, SCALAR_CONFIGURATION, text, &k.fields, build->error) < 0)
                return error_wrap(build->error, "invalid Kustomization");
        if (node_is_null(k.fields))
                k.fields = node_map(build->arena);
        TRY(kustomization_check(build, SHAPE_KUSTOMIZATION, k.fields, lenient, "invalid Kustomization"));
        warn_deprecated(build, k.fields);
        append_list(build->arena, k.fields, "bases", "resources");
        append_list(build->arena, k.fields, "imageTags", "images");
        merge_env(build->arena, node_get_of(k.fields, "configMapGenerator"));
        merge_env(build->arena, node_get_of(k.fields, "secretGenerator"));
        TRY(enforce(build, directory, &k));
        *ret = k;
        return 0;
}
