#include "generate.h"

#include "base/cleanup.h"
#include "engine/kustomize/emitter.h"
#include "engine/kustomize/reader.h"
#include "unpacked.h"

#include <string.h>
#include <strings.h>

/* Directories above each other while looking for manifests. */
#define WALK_DEPTH 128

static const char *const file_names[] = { "kustomization.yaml", "kustomization.yml", "Kustomization" };
#define FILE_NAMES (sizeof(file_names) / sizeof(file_names[0]))

/* The directory's own kustomization file, NULL if it has none. */
static const char *own_file(struct arena *arena, int root, const char *directory)
{
        for (size_t i = 0; i < FILE_NAMES; i++) {
                const char *path = unpacked_join(arena, directory, file_names[i]);

                if (unpacked_type(root, path) == UNPACKED_FILE)
                        return path;
        }
        return NULL;
}

static int read_file(struct arena *arena, const struct generate_input *input, const char *path, struct node **ret_file,
                     struct error *error)
{
        struct reader reader = { .arena = arena };
        struct node *file = NULL;
        struct view text;

        TRY(unpacked_read(arena, input->root, path, &text, error));
        if (reader_document(&reader, SCALAR_CONFIGURATION, text, &file, error) < 0)
                return view_starts(view_of(error_message(error)), VIEW("yaml: "))
                               ? error_wrap(error, "error converting YAML to JSON")
                               : -1;
        if (!file)
                file = node_map(arena);
        if (!node_is_map(file))
                return error_set(error, ERROR_INVALID, "the kustomization file %s/%s is not a map", input->root_path, path);
        *ret_file = file;
        return 0;
}

/* ---- a directory without a file ---- */

struct walk {
        struct arena *arena;
        const struct generate_input *input;
        struct node *resources;
        struct error *error;
};

static bool is_manifest(const char *name)
{
        struct view text = view_of(name);

        return view_ends(text, VIEW(".yaml")) || view_ends(text, VIEW(".yml"));
}

/* A component cannot be built as a resource: a directory that holds one is left to whoever names it. */
static bool is_component(struct walk *walk, const char *path)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        struct node *file = NULL;

        return read_file(walk->arena, walk->input, path, &file, &ignored) == 0 && view_is(node_get_text(file, "kind"), "Component");
}

static void add_resource(struct walk *walk, const char *path)
{
        size_t skip = strcmp(walk->input->directory, ".") == 0 ? 0 : strlen(walk->input->directory) + 1;

        node_append(walk->arena, walk->resources, node_string_of(walk->arena, arena_printf(walk->arena, "./%s", path + skip)));
}

static int check_manifest(struct walk *walk, const char *path)
{
        struct reader reader = { .arena = walk->arena };
        struct node_array objects;
        struct view text;

        TRY(unpacked_read(walk->arena, walk->input->root, path, &text, walk->error));
        if (reader_resources(&reader, text, &objects, walk->error) < 0) {
                if (view_starts(view_of(error_message(walk->error)), VIEW("yaml: ")))
                        error_wrap(walk->error, "MalformedYAMLError");
                return error_wrap(walk->error, "failed to decode Kubernetes YAML from %s/%s", walk->input->root_path, path);
        }
        return 0;
}

static int walk_directory(struct walk *walk, const char *directory, int depth)
{
        const char **names;
        size_t count;

        if (depth == WALK_DEPTH)
                return error_set(walk->error, ERROR_TOO_LARGE, "directories below '%s' are nested deeper than %d",
                                 *walk->input->directory ? walk->input->directory : ".", WALK_DEPTH);
        TRY(unpacked_list(walk->arena, walk->input->root, directory, &names, &count, walk->error));
        for (size_t i = 0; i < count; i++) {
                const char *path = unpacked_join(walk->arena, directory, names[i]), *file;

                if (unpacked_type(walk->input->root, path) == UNPACKED_DIRECTORY) {
                        file = own_file(walk->arena, walk->input->root, path);
                        if (!file)
                                TRY(walk_directory(walk, path, depth + 1));
                        else if (!is_component(walk, file))
                                add_resource(walk, path);
                } else if (is_manifest(names[i])) {
                        TRY(check_manifest(walk, path));
                        add_resource(walk, path);
                }
        }
        return 0;
}

static int make_file(struct arena *arena, const struct generate_input *input, struct node **ret_file, struct error *error)
{
        struct walk walk = { arena, input, node_list(arena), error };
        struct node *file = node_map(arena);

        TRY(walk_directory(&walk, input->directory, 0));
        if (walk.resources->count)
                node_set_of(arena, file, "resources", walk.resources);
        else
                node_set_of(arena, file, "namespace",
                            node_string_of(arena, "_placeholder")); /* an empty file would be an error; this is zero objects */
        *ret_file = file;
        return 0;
}

/* ---- the fields of spec ---- */

static void set_text(struct arena *arena, struct node *file, const char *field, const struct node *spec, const char *spec_field)
{
        struct view value = node_get_text(spec, spec_field);

        if (node_get_of(spec, spec_field))
                node_set_of(arena, file, field, node_string(arena, value));
}

static struct node *list_at(struct arena *arena, struct node *file, const char *field)
{
        struct node *list = node_get_of(file, field);

        if (!node_is_list(list)) {
                list = node_list(arena);
                node_set_of(arena, file, field, list);
        }
        return list;
}

static void add_patches(struct arena *arena, struct node *file, const struct node *patches)
{
        struct node *list;

        if (!node_is_list(patches) || !patches->count)
                return;
        list = list_at(arena, file, "patches");
        for (uint32_t i = 0; i < patches->count; i++) {
                struct node *entry = node_map(arena), *target = node_get_of(patches->items[i], "target");

                node_set_of(arena, entry, "patch", node_string(arena, node_get_text(patches->items[i], "patch")));
                if (node_is_map(target))
                        node_set_of(arena, entry, "target", node_copy(arena, target));
                node_append(arena, list, entry);
        }
}

static bool is_local(const char *path)
{
        static const char *const remote[] = {
                "git::", "gh:", "ssh://", "https://", "http://", "git@", "github.com:", "github.com/"
        };

        for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
                if (strlen(path) > strlen(remote[i]) && strncasecmp(path, remote[i], strlen(remote[i])) == 0)
                        return false;
        if (strncasecmp(path, "file://", 7) == 0)
                path += 7;
        return path[0] != '/';
}

static int add_components(struct arena *arena, const struct generate_input *input, struct node *file, struct error *error)
{
        const struct node *components = node_get_of(input->spec, "components");
        bool ignore_missing = node_text_is(node_get_of(input->spec, "ignoreMissingComponents"), "true");

        for (uint32_t i = 0; node_is_list(components) && i < components->count; i++) {
                const char *path = components->items[i]->text;

                if (!is_local(path))
                        return error_set(error, ERROR_INVALID, "component path '%s' must be local and relative", path);
                if (ignore_missing && unpacked_type(input->root, unpacked_normalize(arena, unpacked_join(arena, input->directory,
                                                                                                         path))) == UNPACKED_ABSENT)
                        continue;
                node_append(arena, list_at(arena, file, "components"), node_string_of(arena, path));
        }
        return 0;
}

static void copy_text(struct arena *arena, struct node *to, const struct node *from, const char *field)
{
        struct view value = node_get_text(from, field);

        if (value.length)
                node_set_of(arena, to, field, node_string(arena, value));
        else
                node_remove_of(to, field);
}

static struct node *image_named(struct node *images, struct view name)
{
        for (uint32_t i = 0; i < images->count; i++)
                if (view_equal(node_get_text(images->items[i], "name"), name))
                        return images->items[i];
        return NULL;
}

/* Tag and digest both select the version: setting one clears the other. */
static void merge_images(struct arena *arena, struct node *file, const struct node *wanted)
{
        for (uint32_t i = 0; node_is_list(wanted) && i < wanted->count; i++) {
                const struct node *image = wanted->items[i];
                struct node *images = list_at(arena, file, "images"), *own = image_named(images, node_get_text(image, "name"));

                if (!own) {
                        node_append(arena, images, node_copy(arena, image));
                        continue;
                }
                if (node_get_text(image, "newName").length)
                        copy_text(arena, own, image, "newName");
                if (node_get_text(image, "newTag").length || node_get_text(image, "digest").length) {
                        copy_text(arena, own, image, "newTag");
                        copy_text(arena, own, image, "digest");
                }
        }
}

static int merge_spec(struct arena *arena, const struct generate_input *input, struct node *file, struct error *error)
{
        const struct node *metadata = node_get_of(input->spec, "buildMetadata");

        set_text(arena, file, "namespace", input->spec, "targetNamespace");
        set_text(arena, file, "namePrefix", input->spec, "namePrefix");
        set_text(arena, file, "nameSuffix", input->spec, "nameSuffix");
        add_patches(arena, file, node_get_of(input->spec, "patches"));
        TRY(add_components(arena, input, file, error));
        merge_images(arena, file, node_get_of(input->spec, "images"));
        if (node_is_list(metadata) && metadata->count)
                node_set_of(arena, file, "buildMetadata", node_copy(arena, metadata));
        return 0;
}

static void default_text(struct arena *arena, struct node *file, const char *field, const char *value)
{
        if (!node_get_text(file, field).length)
                node_set_of(arena, file, field, node_string_of(arena, value));
}

int generate_kustomization(struct arena *arena, const struct generate_input *input, const char **ret_path, struct view *ret_text,
                           struct error *error)
{
        const char *path = own_file(arena, input->root, input->directory);
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct node *file = NULL, *resources;

        if (unpacked_type(input->root, input->directory) == UNPACKED_FILE) {
                path = arena_printf(arena, "%s/%s/%s", input->root_path, input->directory, file_names[0]);
                return error_set(error, ERROR_INVALID, "open %s: not a directory remove %s: not a directory", path, path);
        }
        if (path) {
                TRY(read_file(arena, input, path, &file, error));
                resources = node_get_of(file, "resources");
                if (!node_is_list(resources) || !resources->count) {
                        struct node *metadata = node_list(arena);

                        node_append(arena, metadata, node_string_of(arena, "originAnnotations"));
                        node_set_of(arena, file, "buildMetadata", metadata);
                }
        } else {
                TRY(make_file(arena, input, &file, error));
                path = unpacked_join(arena, input->directory, file_names[0]);
        }
        default_text(arena, file, "apiVersion", "kustomize.config.k8s.io/v1beta1");
        default_text(arena, file, "kind", "Kustomization");
        TRY(merge_spec(arena, input, file, error));
        TRY(emit_yaml(&text, arena, file, 0, error));
        *ret_path = path;
        *ret_text = arena_view(arena, buffer_view(&text));
        return 0;
}
