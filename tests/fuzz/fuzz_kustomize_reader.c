/*
 * One text as the engine's readers take it: a document by either scalar rules, JSON, and a file of resources. What is printed of a document reads
 * back and prints the same.
 */
#include "engine/kustomize/emitter.h"
#include "engine/kustomize/reader.h"
#include "kustomize.h"

static void check_document(struct arena *arena, enum scalar_rules rules, struct view text)
{
        cleanup(buffer_release) struct buffer first = BUFFER_NULL;
        cleanup(buffer_release) struct buffer second = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct reader_budget budget = { 100000, 1 << 20 };
        struct reader reader = { .arena = arena, .budget = &budget };
        struct node *node = NULL;

        if (reader_document(&reader, rules, text, &node, &error) < 0 || !node || emit_yaml(&first, arena, node, 0, &error) < 0)
                return;
        if (reader_document(&reader, rules, arena_view(arena, buffer_view(&first)), &node, &error) < 0 ||
            emit_yaml(&second, arena, node, 0, &error) < 0)
                return;
        if (!view_equal(buffer_view(&first), buffer_view(&second)))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct view text = { (const char *)data, size };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        struct reader_budget budget = { 100000, 1 << 20 };
        struct reader reader = { .arena = arena, .budget = &budget };
        struct node_array resources;
        struct node *node;

        check_document(arena, SCALAR_RESOURCES, text);
        check_document(arena, SCALAR_CONFIGURATION, text);
        if (reader_json(&reader, text, &node, &error) < 0)
                error_release(&error);
        (void)reader_resources(&reader, text, &resources, &error);
        return 0;
}
