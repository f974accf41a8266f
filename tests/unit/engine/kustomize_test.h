/* What the tests of the kustomize engine share: a build of files that are only in memory. */
#pragma once

#include "base/cleanup.h"
#include "engine/kustomize/kustomize.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#define FILES_MAX 12

struct test_file {
        const char *path;
        const char *text;
};

struct build_case {
        const char *name;
        struct test_file files[FILES_MAX];
        const char *directory; /* NULL: the root */
        const char *expected;  /* the YAML, or NULL: whatever it is */
        const char *error;     /* a part of the message, or NULL */
        struct kustomize_options options;
};

static inline void run_case(const struct build_case *c)
{
        struct kustomize_file files[FILES_MAX];
        struct kustomize_tree tree = { .root_path = "/tree", .files = files };
        struct kustomize_options options = c->options;
        struct kustomize_output output;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(close_descriptor) int root = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        for (; tree.file_count < FILES_MAX && c->files[tree.file_count].path; tree.file_count++)
                files[tree.file_count] =
                        (struct kustomize_file){ c->files[tree.file_count].path, view_of(c->files[tree.file_count].text) };
        tree.root = root;
        if (options.order == KUSTOMIZE_ORDER_LEGACY)
                options.order = KUSTOMIZE_ORDER_FIFO;
        r = kustomize_build(arena, &tree, c->directory ? c->directory : ".", &options, &output, &error);
        if (r == 0)
                r = kustomize_emit(&text, arena, &output, &error);
        if (c->error) {
                if (r == 0 || !strstr(error_message(&error), c->error))
                        fail_msg("%s: wanted the error '%s', got '%s%s'", c->name, c->error, error_message(&error),
                                 buffer_string(&text));
                return;
        }
        if (r != 0)
                fail_msg("%s: %s", c->name, error_message(&error));
        if (c->expected && strcmp(buffer_string(&text), c->expected) != 0)
                fail_msg("%s: wanted\n%s\ngot\n%s", c->name, c->expected, buffer_string(&text));
}
