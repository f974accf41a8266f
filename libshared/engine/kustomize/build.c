#define BUILD_IMPLEMENTATION
#include "engine/kustomize/build.h"

#include "base/cleanup.h"
#include "engine/kustomize/emitter.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int build_check(struct build *build)
{
        if (arena_used(build->arena) <= build->limits.memory_bytes)
                return 0;
        return error_set(build->error, ERROR_TOO_LARGE, "the build needs more than %" PRIu64 " bytes of memory",
                         build->limits.memory_bytes);
}

void build_warn(struct build *build, const char *format, ...)
{
        va_list arguments;
        char *line = NULL;

        if (!build->options->warn)
                return;
        va_start(arguments, format);
        if (vasprintf(&line, format, arguments) >= 0) {
                build->options->warn(build->options->user, line);
                free(line);
        }
        va_end(arguments);
}

int build_wrong_kind(struct build *build, enum node_kind expected, const struct node *node)
{
        static const char *const names[] = {
                [NODE_SCALAR] = "ScalarNode", [NODE_MAP] = "MappingNode", [NODE_LIST] = "SequenceNode"
        };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;

        (void)emit_yaml(&text, build->arena, node, 0, &ignored);
        return error_set(build->error, ERROR_INVALID, "wrong node kind: expected %s but got %s: node contents:\n%s",
                         names[expected], names[node->kind], buffer_string(&text));
}
