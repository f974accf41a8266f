/* What a hostile repository can do to a build: nothing but make it fail, with a text that says what happened. */
#include "kustomize_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char resource[] = "kind: A\nmetadata: {name: a}\n";

/* A tree on disk, removed at the end. */
struct folder {
        char path[64];
        int root;
};

static void folder_open(struct folder *folder)
{
        strcpy(folder->path, "/tmp/test_kustomize.XXXXXX");
        assert_non_null(mkdtemp(folder->path));
        folder->root = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(folder->root >= 0);
}

static void folder_close(struct folder *folder)
{
        char command[128];

        close(folder->root);
        snprintf(command, sizeof(command), "rm -rf '%s'", folder->path);
        assert_int_equal(system(command), 0);
}

static void folder_write(const struct folder *folder, const char *path, const char *text, size_t length)
{
        int fd = openat(folder->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, length), (ssize_t)length);
        close(fd);
}

static int folder_build(const struct folder *folder, const char *directory, const struct kustomize_options *options,
                        struct buffer *text, struct error *error)
{
        struct kustomize_tree tree = { .root = folder->root, .root_path = "/artifact" };
        cleanup(arena_free) struct arena *arena = arena_new();
        struct kustomize_output output;

        if (kustomize_build(arena, &tree, directory, options, &output, error) < 0)
                return -1;
        return kustomize_emit(text, arena, &output, error);
}

static void refuses(const struct folder *folder, const char *directory, enum kustomize_restriction restriction,
                    enum error_kind kind, const char *message)
{
        const struct kustomize_options options = { .order = KUSTOMIZE_ORDER_FIFO, .restriction = restriction };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        assert_int_equal(folder_build(folder, directory, &options, &text, &error), -1);
        if (!strstr(error_message(&error), message) || error.kind != kind)
                fail_msg("wanted '%s' of kind %d, got '%s' of kind %d", message, kind, error_message(&error), error.kind);
        /* A condition shows no more than 32 KiB. */
        assert_true(strlen(error_message(&error)) < 16384);
}

static void paths_stay_in_the_tree(void **state)
{
        struct folder folder;

        (void)state;
        folder_open(&folder);
        assert_int_equal(mkdirat(folder.root, "app", 0700), 0);
        assert_int_equal(mkdirat(folder.root, "base", 0700), 0);
        folder_write(&folder, "base/a.yaml", resource, strlen(resource));
        folder_write(&folder, "base/kustomization.yaml", "resources: [a.yaml]\n", 20);
        assert_int_equal(symlinkat("/etc/passwd", folder.root, "app/absolute.yaml"), 0);
        assert_int_equal(symlinkat("../../../../etc/passwd", folder.root, "app/relative.yaml"), 0);
        assert_int_equal(symlinkat("/", folder.root, "app/root"), 0);
        assert_int_equal(symlinkat("loop", folder.root, "app/loop"), 0);
        assert_int_equal(symlinkat("../base/a.yaml", folder.root, "app/inside.yaml"), 0);

        folder_write(&folder, "app/kustomization.yaml", "resources: [absolute.yaml]\n", 27);
        refuses(&folder, "app", KUSTOMIZE_NONE, ERROR_FORBIDDEN,
                "fs-security-constraint open /artifact/app/absolute.yaml: path '/artifact/app/absolute.yaml' is not in or below "
                "'/artifact'");
        folder_write(&folder, "app/kustomization.yaml", "resources: [relative.yaml]\n", 27);
        refuses(&folder, "app", KUSTOMIZE_NONE, ERROR_FORBIDDEN, "fs-security-constraint");
        folder_write(&folder, "app/kustomization.yaml", "resources: [../../x]\n", 21);
        refuses(&folder, "app", KUSTOMIZE_NONE, ERROR_FORBIDDEN, "fs-security-constraint");
        folder_write(&folder, "app/kustomization.yaml", "resources: [root/etc]\n", 22);
        refuses(&folder, "app", KUSTOMIZE_NONE, ERROR_FORBIDDEN, "fs-security-constraint");
        folder_write(&folder, "app/kustomization.yaml", "resources: [loop]\n", 18);
        refuses(&folder, "app", KUSTOMIZE_NONE, ERROR_NOT_FOUND, "EvalSymlinks: too many links");
        folder_write(&folder, "app/kustomization.yaml", "resources: [inside.yaml]\n", 25);
        refuses(&folder, "app", KUSTOMIZE_ROOT_ONLY, ERROR_INVALID,
                "security; file '/artifact/app/inside.yaml' is not in or below");
        refuses(&folder, "..", KUSTOMIZE_NONE, ERROR_FORBIDDEN, "must build at directory: not a valid directory");
        folder_close(&folder);
}

static void links_inside_are_followed(void **state)
{
        const struct kustomize_options options = { .order = KUSTOMIZE_ORDER_FIFO, .restriction = KUSTOMIZE_NONE };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct folder folder;

        (void)state;
        folder_open(&folder);
        assert_int_equal(mkdirat(folder.root, "app", 0700), 0);
        folder_write(&folder, "a.yaml", resource, strlen(resource));
        folder_write(&folder, "app/kustomization.yaml", "resources: [link.yaml]\n", 23);
        assert_int_equal(symlinkat("../a.yaml", folder.root, "app/link.yaml"), 0);
        assert_int_equal(folder_build(&folder, "app", &options, &text, &error), 0);
        assert_string_equal(buffer_string(&text), "kind: A\nmetadata:\n  name: a\n");
        folder_close(&folder);
}

/* 10 000 kustomizations, each the base of the one before. */
static void bases_above_each_other(void **state)
{
        struct folder folder;
        char path[64], text[64];

        (void)state;
        folder_open(&folder);
        for (int i = 0; i < 10000; i++) {
                snprintf(path, sizeof(path), "%d", i);
                assert_int_equal(mkdirat(folder.root, path, 0700), 0);
                snprintf(path, sizeof(path), "%d/kustomization.yaml", i);
                snprintf(text, sizeof(text), "resources: [../%d]\n", i + 1);
                folder_write(&folder, path, text, strlen(text));
        }
        refuses(&folder, "0", KUSTOMIZE_NONE, ERROR_TOO_LARGE, "more than 256 kustomizations above each other");
        folder_close(&folder);
}

/* The reference quotes an error at each step up from a component, which doubles it: sixty of them would be more than any memory. */
static void components_above_each_other(void **state)
{
        struct folder folder;
        char path[64], text[128];

        (void)state;
        folder_open(&folder);
        for (int i = 0; i <= 60; i++) {
                snprintf(path, sizeof(path), "%d", i);
                assert_int_equal(mkdirat(folder.root, path, 0700), 0);
                snprintf(path, sizeof(path), "%d/kustomization.yaml", i);
                snprintf(text, sizeof(text), "kind: %s\ncomponents: [../%d]\n", i ? "Component" : "Kustomization", i + 1);
                folder_write(&folder, path, text, strlen(text));
        }
        refuses(&folder, "0", KUSTOMIZE_NONE, ERROR_NOT_FOUND, "61");
        folder_close(&folder);
}

/* A file that is larger than the limit is not read. */
static void large_file(void **state)
{
        struct folder folder;
        int fd;

        (void)state;
        folder_open(&folder);
        folder_write(&folder, "kustomization.yaml", "resources: [a.yaml]\n", 20);
        fd = openat(folder.root, "a.yaml", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(ftruncate(fd, 200 << 20), 0);
        close(fd);
        refuses(&folder, ".", KUSTOMIZE_NONE, ERROR_TOO_LARGE, "209715200 bytes are more than a build may read");
        folder_close(&folder);
}

static char *repeat(const char *text, size_t count, const char *tail)
{
        size_t length = strlen(text);
        char *result = malloc(length * count + strlen(tail) + 1);

        assert_non_null(result);
        for (size_t i = 0; i < count; i++)
                memcpy(result + i * length, text, length);
        strcpy(result + length * count, tail);
        return result;
}

static void fails_with(const char *file, const char *message)
{
        struct build_case c = { .name = message,
                                .files = { { "kustomization.yaml", "resources: [a.yaml]\n" }, { "a.yaml", file } },
                                .error = message };

        run_case(&c);
}

static void deep_documents(void **state)
{
        static const struct {
                const char *open;
                const char *message;
        } cases[] = {
                { "[", "exceeded max depth" },
                { "{a: ", "exceeded max depth" },
                { "- ", "exceeded max depth" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char *text = repeat(cases[i].open, 10000, "x\n");

                fails_with(text, cases[i].message);
                free(text);
        }
}

static void alias_bomb(void **state)
{
        char text[8192] = "kind: A\nmetadata: {name: a}\nl0: &l0 [x, x, x, x, x, x, x, x, x, x]\n";

        (void)state;
        for (int i = 1; i < 12; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text),
                         "l%d: &l%d [*l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d]\n", i, i, i - 1, i - 1, i - 1,
                         i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        fails_with(text, "excessive aliasing");
}

/* Each replacement copies the map into itself twice. */
static void replacements_that_double(void **state)
{
        char text[8192] = "resources: [a.yaml]\nreplacements:\n";
        struct build_case c = { .name = "doubling",
                                .files = { { "kustomization.yaml", text },
                                           { "a.yaml", "kind: A\nmetadata: {name: a}\nm: {k: v}\n" } } };

        (void)state;
        for (int i = 0; i < 40; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text),
                         "- source: {kind: A, fieldPath: m}\n  targets: [{select: {kind: A}, fieldPaths: [m.a%d, m.b%d], options: "
                         "{create: true}}]\n",
                         i, i);
        c.options.limits.memory_bytes = 64 << 20;
        c.error = "the build needs more than 67108864 bytes of memory";
        run_case(&c);
}

/* Each replacement doubles a text, and with it the pieces that its delimiter cuts it into: no time may grow with their square. */
static void texts_that_double(void **state)
{
        char text[8192] = "resources: [a.yaml]\nreplacements:\n";
        struct build_case c = { .name = "doubling text",
                                .files = { { "kustomization.yaml", text },
                                           { "a.yaml", "kind: A\nmetadata: {name: a}\nt: axa\n" } } };

        (void)state;
        for (int i = 0; i < 40; i++)
                strcat(text, "- source: {kind: A, fieldPath: t}\n  targets: [{select: {kind: A}, fieldPaths: [t], options: "
                             "{delimiter: x, index: 9999999999}}]\n");
        c.options.limits.memory_bytes = 16 << 20;
        c.error = "the build needs more than 16777216 bytes of memory";
        run_case(&c);
}

/* Anchors whose maps are merged into maps that are merged: what an alias bomb is without aliases of lists. */
static void merge_bomb(void **state)
{
        char text[8192] = "kind: A\nmetadata: {name: a}\nm0: &m0 {a: b}\n";

        (void)state;
        for (int i = 1; i < 40; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "m%d: &m%d {<<: *m%d, k%d: *m%d}\n", i, i, i - 1, i,
                         i - 1);
        fails_with(text, "excessive aliasing");
}

/* A path that makes what is missing: each piece would be a level. */
static void paths_too_deep(void **state)
{
        static const struct {
                const char *before, *piece, *behind;
        } cases[] = {
                { "replacements: [{sourceValue: v, targets: [{select: {kind: A}, options: {create: true}, fieldPaths: [\"", "a.",
                  "a\"]}]}]\n" },
                { "labels: [{pairs: {k: v}, fields: [{create: true, path: \"", "a/", "a\"}]}]\n" },
                { "transformers: [\"{apiVersion: builtin, kind: ValueAddTransformer, metadata: {name: t}, value: v, targets: "
                  "[{selector: {kind: A}, fieldPath: ",
                  "a/", "a}]}\"]\n" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char *path = repeat(cases[i].piece, 99999, cases[i].behind);
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                struct build_case c = { .name = cases[i].before,
                                        .files = { { "kustomization.yaml", NULL }, { "a.yaml", resource } },
                                        .error = "a path of 100000 pieces leads deeper than 512 levels" };

                buffer_printf(&text, "resources: [a.yaml]\n%s%s", cases[i].before, path);
                c.files[0].text = buffer_string(&text);
                run_case(&c);
                free(path);
        }
}

/* Each operation copies the map into its deepest place: it is twice as deep then. */
static void copies_that_deepen(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct build_case c = { .name = "deepening",
                                .files = { { "kustomization.yaml", NULL }, { "a.yaml", "kind: A\nmetadata: {name: a}\nm: {}\n" } },
                                .error = "the patched object is nested too deep" };

        (void)state;
        buffer_add_string(&text, "resources: [a.yaml]\npatches:\n- target: {kind: A}\n  patch: |-\n");
        for (int i = 0; i < 18; i++) {
                char *path = repeat("/a", (size_t)1 << i, "");

                buffer_printf(&text, "    - {op: copy, from: /m, path: /m%s}\n", path);
                free(path);
        }
        c.files[0].text = buffer_string(&text);
        run_case(&c);
}

/* Definitions of a schema, each made of the next one. */
static void definitions_in_a_row(void **state)
{
        enum { DEFINITIONS = 15000 };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct build_case c = { .name = "definitions",
                                .files = { { "kustomization.yaml", "resources: [a.yaml]\nopenapi: {path: schema.yaml}\n" },
                                           { "a.yaml", resource },
                                           { "schema.yaml", NULL } } };

        (void)state;
        buffer_add_string(&text, "definitions:\n  d0: {x-kubernetes-group-version-kind: [{kind: A}], "
                                 "properties: {p: {$ref: '#/definitions/d1'}}}\n");
        for (int i = 1; i < DEFINITIONS; i++)
                buffer_printf(&text, "  d%d: {properties: {p: {$ref: '#/definitions/d%d'}}}\n", i, i + 1);
        c.files[2].text = buffer_string(&text);
        run_case(&c);
}

static void truncated_documents(void **state)
{
        static const struct {
                const char *text;
                const char *message;
        } cases[] = {
                { "kind: A\nmetadata: {name: ", "yaml: line 2: did not find expected node content in File: a.yaml" },
                { "kind: A\nmetadata:\n  name: \"a", "yaml: line 3: found unexpected end of stream in File: a.yaml" },
                { "kind: A\nmetadata: {name: a}\nx: [1, ", "yaml: line 3: did not find expected node content" },
                { "kind: A\nmetadata: {name: a}\nx: &", "did not find expected alphabetic or numeric character" },
                { "{\"kind\": \"A\", \"metadata\": {\"na", "found unexpected end of stream" },
                { "- ", "missing Resource metadata" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                fails_with(cases[i].text, cases[i].message);
}

/* Not a file, or one that points at itself: no read of these would end. */
static void files_that_are_none(void **state)
{
        struct folder folder;

        (void)state;
        folder_open(&folder);
        assert_int_equal(mkfifoat(folder.root, "pipe", 0600), 0);
        assert_int_equal(symlinkat("two", folder.root, "one"), 0);
        assert_int_equal(symlinkat("one", folder.root, "two"), 0);
        assert_int_equal(symlinkat(".", folder.root, "here"), 0);
        folder_write(&folder, "kustomization.yaml", "resources: [pipe]\n", 18);
        refuses(&folder, ".", KUSTOMIZE_NONE, ERROR_INVALID, "pipe");
        folder_write(&folder, "kustomization.yaml", "resources: [one]\n", 17);
        refuses(&folder, ".", KUSTOMIZE_NONE, ERROR_NOT_FOUND, "EvalSymlinks: too many links");
        folder_write(&folder, "kustomization.yaml", "resources: [here/here]\n", 23);
        refuses(&folder, ".", KUSTOMIZE_NONE, ERROR_INVALID, "cycle detected");
        folder_close(&folder);
}

static void refused_by_name(void **state)
{
        static const struct build_case cases[] = {
                { .name = "remote file",
                  .files = { { "kustomization.yaml", "resources: ['https://example.com/a.yaml']\n" } },
                  .error = "resources: 'https://example.com/a.yaml' is remote" },
                { .name = "remote base",
                  .files = { { "kustomization.yaml", "resources: ['github.com/a/b//c?ref=v1']\n" } },
                  .error = "is remote" },
                { .name = "remote base over ssh",
                  .files = { { "kustomization.yaml", "bases: ['git@github.com:a/b.git']\n" } },
                  .error = "is remote" },
                { .name = "remote component",
                  .files = { { "kustomization.yaml", "components: ['https://github.com/a/b']\n" } },
                  .error = "components: 'https://github.com/a/b' is remote" },
                { .name = "charts",
                  .files = { { "kustomization.yaml", "helmCharts: [{name: a}]\n" } },
                  .error = "must specify --enable-helm" },
                { .name = "function",
                  .files = { { "kustomization.yaml", "transformers: [t.yaml]\n" },
                             { "t.yaml", "apiVersion: v1\nkind: T\nmetadata:\n  name: t\n  annotations:\n    "
                                         "config.kubernetes.io/function: \"container: {image: x}\"\n" } },
                  .error = "external plugins disabled" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                run_case(&cases[i]);
}

/* Builds the files and writes what they make into `text`. The CPU time that took, in microseconds. */
static int64_t build_cost(struct arena *arena, const struct kustomize_file *files, size_t count, struct buffer *text,
                          size_t *ret_resources)
{
        const struct kustomize_options options = { .order = KUSTOMIZE_ORDER_FIFO };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(close_descriptor) int root = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct kustomize_tree tree = { .root = root, .root_path = "/tree", .files = files, .file_count = count };
        struct kustomize_output output;
        struct timespec before, after;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
        assert_int_equal(kustomize_build(arena, &tree, ".", &options, &output, &error), 0);
        assert_int_equal(kustomize_emit(text, arena, &output, &error), 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
        *ret_resources = output.count;
        return (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
}

/* What one overlay over `count` Deployments, Services and ConfigMaps costs: CPU time and the bytes of the arena. */
static void build_many(size_t count, int64_t *ret_cpu, uint64_t *ret_bytes)
{
        static const char overlay[] = "resources: [base]\nnamePrefix: p-\nnamespace: production\nlabels: [{pairs: {environment: "
                                      "production}, includeSelectors: true}]\nimages: [{name: nginx, newTag: \"1.20\"}]\n";
        cleanup(buffer_release) struct buffer resources = BUFFER_NULL, text = BUFFER_NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        struct kustomize_file files[] = { { "kustomization.yaml", view_of(overlay) },
                                          { "base/kustomization.yaml", VIEW("resources: [all.yaml]\n") },
                                          { "base/all.yaml", VIEW_NULL } };
        size_t built;
        char last[64];

        for (size_t i = 0; i < count; i++)
                buffer_printf(
                        &resources,
                        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w-%zu}\nspec:\n  template:\n    spec:\n      "
                        "containers:\n      - {name: w, image: nginx, envFrom: [{configMapRef: {name: c-%zu}}]}\n---\n"
                        "apiVersion: v1\nkind: Service\nmetadata: {name: w-%zu}\nspec: {ports: [{port: 80}]}\n---\n"
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c-%zu}\ndata: {number: \"%zu\"}\n---\n",
                        i, i, i, i, i);
        files[2].text = buffer_view(&resources);
        *ret_cpu = build_cost(arena, files, 3, &text, &built);
        assert_int_equal(built, 3 * count);
        snprintf(last, sizeof(last), "            name: p-c-%zu\n", count - 1);
        assert_non_null(strstr(buffer_string(&text), last));
        *ret_bytes = arena_used(arena);
}

/* Three times the resources cost three times as much: not nine times, as where each is compared with all others. */
static void cost_grows_with_resources(void **state)
{
        int64_t small = INT64_MAX, large = INT64_MAX, cpu;
        uint64_t bytes = 0, few = 0;

        (void)state;
        for (int i = 0; i < 3; i++) {
                build_many(500, &cpu, &few);
                small = cpu < small ? cpu : small;
                build_many(1500, &cpu, &bytes);
                large = cpu < large ? cpu : large;
        }
        if (large > small * 6)
                fail_msg("1 500 resources took %lld us, 4 500 %lld", (long long)small, (long long)large);
        assert_in_range(bytes, 1, few * 4);
        assert_in_range(bytes, 1, 40 << 20);
}

/* The CPU time of a patch of one variable among `count`. */
static int64_t patch_one_of(size_t count)
{
        static const char kustomization[] = "resources: [all.yaml]\npatches: [{path: patch.yaml}]\n";
        static const char head[] = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  template:\n    spec:\n"
                                   "      containers:\n      - name: w\n        env:\n";
        cleanup(buffer_release) struct buffer all = BUFFER_NULL, patch = BUFFER_NULL, text = BUFFER_NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        struct kustomize_file files[] = { { "kustomization.yaml", view_of(kustomization) },
                                          { "all.yaml", VIEW_NULL },
                                          { "patch.yaml", VIEW_NULL } };
        size_t built;
        int64_t cpu;

        buffer_add_string(&all, head);
        for (size_t i = 0; i < count; i++)
                buffer_printf(&all, "        - {name: V%zu, value: a}\n", i);
        buffer_printf(&patch, "%s        - {name: V%zu, value: b}\n", head, count / 2);
        files[1].text = buffer_view(&all);
        files[2].text = buffer_view(&patch);
        cpu = build_cost(arena, files, 3, &text, &built);
        assert_int_equal(built, 1);
        assert_non_null(strstr(buffer_string(&text), "value: b\n"));
        return cpu;
}

/* Four times the elements of a list that is merged cost four times as much, not sixteen times. */
static void cost_grows_with_elements(void **state)
{
        int64_t small = INT64_MAX, large = INT64_MAX;

        (void)state;
        for (int i = 0; i < 3; i++) {
                int64_t few = patch_one_of(2000), many = patch_one_of(8000);

                small = few < small ? few : small;
                large = many < large ? many : large;
        }
        if (large > small * 9)
                fail_msg("2 000 elements took %lld us, 8 000 %lld", (long long)small, (long long)large);
}

/* The line with the number in place of "%zu". */
static void add_numbered(struct buffer *text, const char *line, size_t number)
{
        const char *place = strstr(line, "%zu");

        buffer_printf(text, "%.*s%zu%s", (int)(place - line), line, number, place + 3);
}

/* What is searched from one end for each of its elements is not searched for hours. */
static void merges_that_take_too_long(void **state)
{
        static const struct {
                const char *head, *element, *patch, *message;
                size_t count;
        } cases[] = {
                { "kind: Service\nspec:\n  ports:\n", "  - {port: %zu, name: a}\n", "  - {port: %zu, name: b}\n",
                  "merging 30000 elements of a list takes too long", 15000 },
                { "kind: Service\nspec:\n  ports:\n", "  - {port: %zu}\n", "  - {port: %zu, $patch: delete}\n",
                  "merging 30000 elements of a list takes too long", 15000 },
                { "kind: ConfigMap\ndata:\n", "  k%zu: a\n", "  k%zu: null\n", "merging 100000 fields of a map takes too long",
                  50000 },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                static const char kustomization[] = "resources: [all.yaml]\npatches: [{path: patch.yaml}]\n";
                const struct kustomize_options options = { .order = KUSTOMIZE_ORDER_FIFO };
                struct buffer texts[2] = { BUFFER_NULL, BUFFER_NULL };
                cleanup(arena_free) struct arena *arena = arena_new();
                cleanup(error_release) struct error error = ERROR_NULL;
                struct kustomize_file files[] = { { "kustomization.yaml", view_of(kustomization) },
                                                  { "all.yaml", VIEW_NULL },
                                                  { "patch.yaml", VIEW_NULL } };
                cleanup(close_descriptor) int root = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                const struct kustomize_tree tree = { .root = root, .root_path = "/tree", .files = files, .file_count = 3 };
                struct kustomize_output output;

                for (int t = 0; t < 2; t++) {
                        buffer_printf(&texts[t], "apiVersion: v1\nmetadata: {name: s}\n%s", cases[i].head);
                        for (size_t k = 0; k < cases[i].count; k++)
                                add_numbered(&texts[t], t ? cases[i].patch : cases[i].element, k);
                        files[1 + t].text = buffer_view(&texts[t]);
                }
                assert_int_equal(kustomize_build(arena, &tree, ".", &options, &output, &error), -1);
                if (!strstr(error_message(&error), cases[i].message) || error.kind != ERROR_TOO_LARGE)
                        fail_msg("wanted '%s', got '%s' of kind %d", cases[i].message, error_message(&error), error.kind);
                buffer_release(&texts[0]);
                buffer_release(&texts[1]);
        }
}

/* A recursion that a repository drives ends early. Not where sanitizers make each frame a multiple of what it is. */
static int small_stack(void **state)
{
        (void)state;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        assert_int_equal(setrlimit(RLIMIT_STACK, &(struct rlimit){ 2 << 20, 2 << 20 }), 0);
#endif
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_stay_in_the_tree),
                cmocka_unit_test(links_inside_are_followed),
                cmocka_unit_test(bases_above_each_other),
                cmocka_unit_test(components_above_each_other),
                cmocka_unit_test(large_file),
                cmocka_unit_test(deep_documents),
                cmocka_unit_test(alias_bomb),
                cmocka_unit_test(replacements_that_double),
                cmocka_unit_test(texts_that_double),
                cmocka_unit_test(merge_bomb),
                cmocka_unit_test(paths_too_deep),
                cmocka_unit_test(copies_that_deepen),
                cmocka_unit_test(definitions_in_a_row),
                cmocka_unit_test(truncated_documents),
                cmocka_unit_test(files_that_are_none),
                cmocka_unit_test(refused_by_name),
                cmocka_unit_test(cost_grows_with_resources),
                cmocka_unit_test(cost_grows_with_elements),
                cmocka_unit_test(merges_that_take_too_long),
        };

        return cmocka_run_group_tests(tests, small_stack, NULL);
}
