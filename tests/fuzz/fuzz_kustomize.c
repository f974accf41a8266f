/* A tree of three files, divided by lines of "%%": kustomization.yaml, a.yaml, p.yaml. What a build prints reads back and prints the same. */
#include "base/cleanup.h"
#include "engine/kustomize/kustomize.h"

#include <fcntl.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int build(struct arena *arena, const struct kustomize_file *files, size_t count, struct buffer *text, struct error *error)
{
        static int root = -1;
        struct kustomize_tree tree = { .root_path = "/tree", .files = files, .file_count = count };
        struct kustomize_options options = { .order = KUSTOMIZE_ORDER_FIFO,
                                             .limits = { .nodes = 100000, .bytes = 1 << 20, .memory_bytes = 64 << 20 } };
        struct kustomize_output output;

        if (root < 0)
                root = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        tree.root = root;
        if (kustomize_build(arena, &tree, ".", &options, &output, error) < 0)
                return -1;
        return kustomize_emit(text, arena, &output, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct kustomize_file files[3] = { { "kustomization.yaml", VIEW_NULL }, { "a.yaml", VIEW_NULL }, { "p.yaml", VIEW_NULL } };
        struct kustomize_file again[2] = { { "kustomization.yaml", VIEW("resources: [a.yaml]\n") }, { "a.yaml", VIEW_NULL } };
        cleanup(buffer_release) struct buffer first = BUFFER_NULL;
        cleanup(buffer_release) struct buffer second = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        struct view rest = { (const char *)data, size };

        for (size_t i = 0; i < 3; i++) {
                ptrdiff_t end = view_search(rest, VIEW("%%\n"), 0);

                files[i].text = end < 0 ? rest : view_slice(rest, 0, (size_t)end);
                rest = end < 0 ? VIEW_NULL : view_slice(rest, (size_t)end + 3, SIZE_MAX);
        }
        if (build(arena, files, 3, &first, &error) < 0 || first.length == 0)
                return 0;
        again[1].text = buffer_view(&first);
        /* Items of a List come out as resources of their own the second time. */
        if (view_search(buffer_view(&first), VIEW("List\n"), 0) >= 0)
                return 0;
        if (build(arena, again, 2, &second, &error) == 0 && !view_equal(buffer_view(&first), buffer_view(&second)))
                abort();
        return 0;
}
