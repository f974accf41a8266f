/* What the fuzz targets of the kustomize engine share: a build of a few texts, and what must hold for its output. */
#pragma once

#include "base/cleanup.h"
#include "engine/kustomize/kustomize.h"

#include <fcntl.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline int build(struct arena *arena, const struct kustomize_file *files, size_t count, struct buffer *text,
                        struct error *error)
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

/* What a build prints reads back and prints the same; what fails says why. */
static inline void check_build(const struct kustomize_file *files, size_t count)
{
        struct kustomize_file again[2] = { { "kustomization.yaml", VIEW("resources: [a.yaml]\n") }, { "a.yaml", VIEW_NULL } };
        cleanup(buffer_release) struct buffer first = BUFFER_NULL;
        cleanup(buffer_release) struct buffer second = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(arena_free) struct arena *arena = arena_new();

        if (build(arena, files, count, &first, &error) < 0) {
                if (error.kind == ERROR_NONE || !*error_message(&error))
                        abort();
                return;
        }
        again[1].text = buffer_view(&first);
        /* Items of a List come out as resources of their own the second time. */
        if (first.length == 0 || view_search(buffer_view(&first), VIEW("List\n"), 0) >= 0)
                return;
        if (build(arena, again, 2, &second, &error) == 0 && !view_equal(buffer_view(&first), buffer_view(&second)))
                abort();
}

/* The input in pieces, divided by lines of "%%"; missing ones are empty. */
static inline void split(const uint8_t *data, size_t size, struct kustomize_file *files, size_t count)
{
        struct view rest = { (const char *)data, size };

        for (size_t i = 0; i < count; i++) {
                ptrdiff_t end = view_search(rest, VIEW("%%\n"), 0);

                files[i].text = end < 0 ? rest : view_slice(rest, 0, (size_t)end);
                rest = end < 0 ? VIEW_NULL : view_slice(rest, (size_t)end + 3, SIZE_MAX);
        }
}
