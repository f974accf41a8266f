#include "engine/kustomize/target.h"

#include "base/cleanup.h"
#include "engine/kustomize/variable.h"

#include <limits.h>
#include <string.h>

static int load_openapi(struct build *build, struct target *target)
{
        const struct node *openapi = node_get_of(target->kustomization.fields, "openapi");
        struct view path = node_get_text(openapi, "path"), version = node_get_text(openapi, "version"), text;
        const struct schema *schema;
        struct node *document = NULL;

        if (!openapi || (path.length == 0 && version.length == 0))
                return 0;
        if (path.length && tree_read(build, target->directory, path.data, &text) < 0)
                return -1;
        if (path.length && version.length)
                return error_set(build->error, ERROR_INVALID, "builtin version and custom schema provided, cannot use both");
        if (version.length && !view_is(version, "v1.21.2"))
                return error_set(build->error, ERROR_INVALID, "the specified OpenAPI version is not built in");
        if (build->schema_set)
                return 0;
        build->schema_set = true;
        if (version.length)
                return 0;
        TRY(reader_document(&build->reader, SCALAR_CONFIGURATION, text, &document, build->error));
        TRY(schema_load(build->arena, document, build->options->openapi_adds || build->schema_used, &schema, build->error));
        build->identity.schema = schema;
        build->identity.scopes = arena_new_of(build->arena, struct scope_cache);
        return 0;
}

int target_load(struct build *build, struct target *target)
{
        TRY(kustomization_load(build, target->directory, !target->parent, &target->kustomization));
        return load_openapi(build, target);
}

static int parse_file(struct build *build, struct target *target, const char *path, struct node_array *ret)
{
        struct view text;

        TRY(tree_read(build, target->directory, path, &text));
        if (reader_resources(&build->reader, text, ret, build->error) == 0)
                return 0;
        if (strncmp(error_message(build->error), "yaml: ", 6) != 0)
                return -1;
        return error_set(build->error, build->error->kind, "MalformedYAMLError: %s in File: %s",
                         arena_string(build->arena, error_message(build->error)), path);
}

/* A file that holds an object twice does not even become a list that could be merged. */
static int not_merged(struct build *build, const struct node_array *objects, const char *path)
{
        struct accumulator own = { 0 };

        for (size_t i = 0; i < objects->count; i++)
                if (accumulator_add(build, &own, resource_new(build->arena, objects->items[i])) < 0)
                        return error_wrap(build->error, "accumulating resources from '%s'", path);
        return error_wrap(build->error, "merging resources from '%s'", path);
}

static int add_file(struct build *build, struct target *target, struct accumulator *accumulator, const char *path)
{
        struct node_array objects;
        const char *origin;

        if (parse_file(build, target, path, &objects) < 0)
                return error_wrap(build->error, "accumulating resources from '%s'", path);
        origin = target_origin_path(build, target, path);
        for (size_t i = 0; i < objects.count; i++) {
                struct resource *resource = resource_new(build->arena, objects.items[i]);

                if (origin)
                        node_set_annotation(build->arena, resource->node, ANNOTATION_ORIGIN, view_of(origin));
                if (accumulator_add(build, accumulator, resource) < 0)
                        return not_merged(build, &objects, path);
        }
        return build_check(build);
}

static bool is_ancestor(const char *candidate, const char *visited)
{
        size_t length = strlen(candidate);

        return length == 0 || (strncmp(visited, candidate, length) == 0 && (visited[length] == '/' || visited[length] == '\0'));
}

/* Lexically cleaned, `..` at the front kept. */
static const char *clean_path(struct build *build, const char *directory, const char *path)
{
        char *text = arena_printf(build->arena, "%s/%s", directory, path), *out = text;
        const char *in = text;

        while (*in) {
                size_t length = strcspn(in, "/");
                size_t done = (size_t)(out - text);
                bool up = length == 2 && memcmp(in, "..", 2) == 0;
                bool keep = length && !(length == 1 && *in == '.');

                if (up && done && !(done >= 2 && memcmp(out - 2, "..", 2) == 0 && (done == 2 || out[-3] == '/'))) {
                        while (out > text && out[-1] != '/')
                                out--;
                        out -= out > text;
                } else if (keep) {
                        if (done)
                                *out++ = '/';
                        memmove(out, in, length);
                        out += length;
                }
                in += length;
                in += *in == '/';
        }
        *out = '\0';
        return text;
}

/* "a - .." where somebody indented the second entry of a list too far: lexically it vanishes, and another directory is meant. */
static bool has_dots_inside(const char *path)
{
        while (*path) {
                size_t length = strcspn(path, "/");

                if (length > 2 && view_search((struct view){ path, length }, VIEW(".."), 0) >= 0)
                        return true;
                path += length;
                path += *path == '/';
        }
        return false;
}

static int ambiguous(struct build *build, const char *path)
{
        cleanup(buffer_release) struct buffer given = BUFFER_NULL, clean = BUFFER_NULL;
        const char *end = clean_path(build, "", path);

        emit_json_string(&given, view_of(path), 0);
        emit_json_string(&clean, view_of(*end ? end : "."), 0);
        return error_set(
                build->error, ERROR_INVALID,
                "path %s is ambiguous: resolves to %s after normalization, which is likely not the intended target; check for "
                "YAML indentation errors in your kustomization file",
                buffer_string(&given), buffer_string(&clean));
}

/* Resolves a directory that is no part of the way up to here. */
static int enter(struct build *build, struct target *target, const char *path, struct target *ret)
{
        const char *directory;

        if (build_next(build) && *path != '/' && has_dots_inside(path))
                return ambiguous(build, path);
        TRY(tree_directory(build, target->directory, path, NULL, &directory));
        for (const struct target *t = target; t; t = t->parent)
                if (is_ancestor(directory, t->directory))
                        return error_set(build->error, ERROR_INVALID,
                                         "cycle detected: candidate root '%s' contains visited root '%s'",
                                         tree_display(build, directory), tree_display(build, t->directory));
        if (target->depth + 1 > build->limits.depth)
                return error_set(build->error, ERROR_TOO_LARGE, "more than %u kustomizations above each other",
                                 build->limits.depth);
        *ret = (struct target){ .directory = directory, .parent = target, .depth = target->depth + 1 };
        ret->origin = arena_printf(build->arena, "%s%s%s", target->origin, *target->origin ? "/" : "", path);
        return 0;
}

/* How far an error tells the way to where it happened. A longer one would be all that fits into a condition, and quoted at each step it doubles. */
static bool tells_way(const struct target *target)
{
        return target->depth <= 10;
}

static int add_directory(struct build *build, struct target *sub, struct accumulator *accumulator, bool component)
{
        const char *shown = tree_display(build, sub->directory);
        struct accumulator own = { 0 };

        if (target_load(build, sub) < 0)
                return error_wrap(build->error, "couldn't make target for path '%s'", shown);
        if (component && !sub->kustomization.component)
                return error_set(build->error, ERROR_INVALID, "expected kind 'Component' for path '%s' but got 'Kustomization'",
                                 shown);
        if (!component && sub->kustomization.component)
                return error_set(build->error, ERROR_INVALID, "expected kind != 'Component' for path '%s'", shown);
        if (target_accumulate(build, sub, component ? accumulator : &own) < 0)
                return tells_way(sub) ? error_wrap(build->error, "recursed accumulation of path '%s'", shown) : -1;
        if (!component && accumulator_merge(build, accumulator, &own) < 0)
                return error_wrap(build->error, "recursed merging from path '%s'", shown);
        return 0;
}

static int refuse_remote(struct build *build, const char *field, const char *path)
{
        return error_set(build->error, ERROR_UNSUPPORTED,
                         "%s: '%s' is remote: a build reads only the files of its own source, keep a copy there", field, path);
}

/* As a file, else as a directory. */
static int add_path(struct build *build, struct target *target, struct accumulator *accumulator, const char *path)
{
        struct error file_error = ERROR_NULL;
        struct target sub = { 0 };
        int r;

        if (tree_is_remote(path))
                return refuse_remote(build, "resources", path);
        if (add_file(build, target, accumulator, path) == 0)
                return 0;
        if (build->error->kind == ERROR_TOO_LARGE || build->error->kind == ERROR_INTERNAL)
                return -1;
        error_move(&file_error, build->error);
        r = enter(build, target, path, &sub);
        if (r < 0 && strstr(error_message(&file_error), "MalformedYAMLError"))
                return error_move(build->error, &file_error);
        if (r == 0)
                r = add_directory(build, &sub, accumulator, false);
        if (r < 0 && tells_way(target) && build->error->kind != ERROR_TOO_LARGE && build->error->kind != ERROR_UNSUPPORTED)
                error_wrap(build->error, "accumulation err='%s'", error_message(&file_error));
        error_release(&file_error);
        return r;
}

int target_resources(struct build *build, struct target *target, struct accumulator *accumulator, const struct node *paths)
{
        for (uint32_t i = 0; paths && i < paths->count; i++)
                TRY(add_path(build, target, accumulator, paths->items[i]->text));
        return 0;
}

/* The reference prints these errors as Go-quoted strings. */
static int quoted(struct build *build, const struct target *target, const char *context)
{
        struct buffer text = BUFFER_NULL;
        enum error_kind kind = build->error->kind;

        if (!tells_way(target))
                return -1;
        emit_json_string(&text, view_of(error_message(build->error)), 0);
        error_set(build->error, kind, "%s %s", context, buffer_string(&text));
        buffer_release(&text);
        return -1;
}

static int add_components(struct build *build, struct target *target, struct accumulator *accumulator, const struct node *paths)
{
        for (uint32_t i = 0; paths && i < paths->count; i++) {
                struct target sub = { 0 };

                if (tree_is_remote(paths->items[i]->text))
                        return refuse_remote(build, "components", paths->items[i]->text);
                if (enter(build, target, paths->items[i]->text, &sub) < 0)
                        return quoted(build, target, "loader.New");
                if (add_directory(build, &sub, accumulator, true) < 0)
                        return quoted(build, target, "accumulateDirectory:");
        }
        return 0;
}

static bool is_listed(const struct node *fields, const char *field)
{
        const struct node *list = node_get_of(fields, field);

        return list && list->count;
}

/* The built-in configuration, or one made of it with the files of `configurations`; then that of `crds`. */
static int configure(struct build *build, struct target *target, struct accumulator *accumulator)
{
        const struct node *fields = target->kustomization.fields;
        const struct configuration *defaults = configuration_default(build);
        struct configuration extra = { 0 }, crds = { 0 }, *own;

        if (is_listed(fields, "configurations")) {
                TRY(configuration_load(build, target->directory, node_get_of(fields, "configurations"), &extra));
                own = configuration_copy(build, defaults);
                TRY(configuration_merge(build, own, &extra));
                if (accumulator_configure(build, accumulator, own) < 0)
                        return error_wrap(build->error, "merging config");
        } else {
                TRY(accumulator_configure(build, accumulator, defaults));
        }
        if (!is_listed(fields, "crds"))
                return 0;
        TRY(configuration_load_crds(build, target->directory, node_get_of(fields, "crds"), &crds));
        if (accumulator_configure(build, accumulator, &crds) < 0)
                return error_wrap(build->error, "merging CRDs");
        return 0;
}

static int refuse_fields(struct build *build, const struct node *fields)
{
        static const char *const charts[] = { "helmCharts", "helmChartInflationGenerator" };

        for (size_t i = 0; i < 2; i++) {
                const struct node *list = node_get_of(fields, charts[i]);
                cleanup(error_release) struct error ignored = ERROR_NULL;
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                if (!is_listed(fields, charts[i]))
                        continue;
                if (node_is_list(list))
                        (void)emit_yaml(&text, build->arena, list->items[0], 0, &ignored);
                return error_set(build->error, ERROR_UNSUPPORTED,
                                 "trouble configuring builtin HelmChartInflationGenerator with config: `\n%s`: must specify "
                                 "--enable-helm: %s are not rendered in a build, use a HelmRelease",
                                 buffer_string(&text), charts[i]);
        }
        return 0;
}

int target_accumulate(struct build *build, struct target *target, struct accumulator *accumulator)
{
        const struct node *fields = target->kustomization.fields;

        if (target_resources(build, target, accumulator, node_get_of(fields, "resources")) < 0)
                return tells_way(target) ? error_wrap(build->error, "accumulating resources") : -1;
        TRY(configure(build, target, accumulator));
        TRY(refuse_fields(build, fields));
        TRY(target_generate(build, target, accumulator));
        if (add_components(build, target, accumulator, node_get_of(fields, "components")) < 0)
                return tells_way(target) ? error_wrap(build->error, "accumulating components") : -1;
        TRY(target_transform(build, target, accumulator));
        TRY(target_validate(build, target, accumulator));
        TRY(variable_register(build, accumulator, node_get_of(fields, "vars")));
        return build_check(build);
}

const char *target_origin_path(struct build *build, const struct target *target, const char *path)
{
        if (!build->metadata)
                return NULL;
        return arena_printf(build->arena, "path: %s\n", clean_path(build, target->origin, path));
}

const char *target_origin_builtin(struct build *build, const struct target *target, const char *kind)
{
        if (!build->metadata)
                return NULL;
        return arena_printf(build->arena, "configuredIn: %s\nconfiguredBy:\n  apiVersion: builtin\n  kind: %s\n",
                            clean_path(build, target->origin, target->kustomization.file), kind);
}
