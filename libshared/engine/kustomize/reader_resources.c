#include "base/memory.h"
#include "engine/kustomize/emitter.h"
#include "engine/kustomize/reader.h"

#include <stdlib.h>
#include <string.h>

static void add(struct arena *arena, struct node_array *array, struct node *node)
{
        /* Powers of two: the array grows when its count is one. */
        if ((array->count & (array->count - 1)) == 0)
                array->items = arena_grow(arena, array->items, array->count * sizeof(node),
                                          (array->count ? array->count * 2 : 1) * sizeof(node));
        array->items[array->count++] = node;
}

/* CRLF becomes LF; the text itself if it has none. */
static struct view without_carriage_returns(struct arena *arena, struct view text)
{
        ptrdiff_t found = view_find(text, '\r', 0);
        char *copy;
        size_t length = 0;

        while (found >= 0 && !view_starts(view_slice(text, (size_t)found, 2), VIEW("\r\n")))
                found = view_find(text, '\r', (size_t)found + 1);
        if (found < 0)
                return text;
        copy = arena_allocate(arena, text.length + 1);
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] != '\r' || i + 1 == text.length || text.data[i + 1] != '\n')
                        copy[length++] = text.data[i];
        return (struct view){ copy, length };
}

/* The line break before a line that begins with `---`. From break to break: these are found faster than any longer text. */
static ptrdiff_t find_separator(struct view text, size_t from)
{
        ptrdiff_t found = view_find(text, '\n', from);

        while (found >= 0 && !view_starts(view_slice(text, (size_t)found + 1, 3), VIEW("---")))
                found = view_find(text, '\n', (size_t)found + 1);
        return found;
}

static uint32_t count_lines(struct view text)
{
        uint32_t count = 0;

        for (ptrdiff_t found = view_find(text, '\n', 0); found >= 0; found = view_find(text, '\n', (size_t)found + 1))
                count++;
        return count;
}

/*
 * Cuts the next part off: up to a line that begins with `---` and is not the first of the part. The part keeps the line break before the
 * separator. Outcome 1: nothing is left.
 */
static int next_part(struct view text, size_t *at, struct view *ret_part, bool *ret_last, struct error *error)
{
        size_t from = *at;
        ptrdiff_t found, end;
        struct view rest;

        if (from > text.length)
                return 1;
        found = find_separator(text, from);
        end = found < 0 ? -1 : view_find(text, '\n', (size_t)found + 1);
        if (end < 0) {
                *ret_part = view_slice(text, from, SIZE_MAX);
                *ret_last = true;
                *at = text.length + 1;
                return 0;
        }
        rest = view_trim(view_slice(text, (size_t)found + 4, (size_t)(end - found) - 4));
        if (rest.length && rest.data[0] != '#') {
                struct view line = view_trim(view_slice(text, (size_t)found, (size_t)(end - found)));

                return error_set(error, ERROR_INVALID, "invalid document separator: %.*s", VIEW_ARGS(line));
        }
        *ret_part = view_slice(text, from, (size_t)found + 1 - from);
        *ret_last = false;
        *at = (size_t)end + 1;
        return 0;
}

static int by_key(const void *a, const void *b)
{
        const struct node_entry *const *one = a, *const *other = b;
        int r = view_compare(node_text((*one)->key), node_text((*other)->key));

        return r ? r : *one < *other ? -1 : 1;
}

/* As Go prints one: sorted, of a key that is there twice the last. */
static void print_map(struct buffer *out, const struct node *map)
{
        size_t count = node_is_map(map) ? map->count : 0;
        const struct node_entry **entries = memory_zero(count + 1, sizeof(*entries));
        const char *between = "";

        for (size_t i = 0; i < count; i++)
                entries[i] = &map->entries[i];
        qsort(entries, count, sizeof(*entries), by_key);
        buffer_add_string(out, " map[");
        for (size_t i = 0; i < count; i++) {
                const struct node *value = entries[i]->value;

                if (i + 1 < count && view_equal(node_text(entries[i]->key), node_text(entries[i + 1]->key)))
                        continue;
                buffer_printf(out, "%s%.*s:%.*s", between, VIEW_ARGS(node_text(entries[i]->key)),
                              node_is_scalar(value) ? (int)value->count : 0, node_is_scalar(value) ? value->text : "");
                between = " ";
        }
        buffer_add_char(out, ']');
        free(entries);
}

static int missing(const struct node *object, const char *what, struct error *error)
{
        const struct node *metadata = node_get_of(object, "metadata");
        struct buffer text = BUFFER_NULL;

        buffer_printf(&text, "{{%s %s} {{%s %s}", node_get_string(object, "apiVersion"), node_get_string(object, "kind"),
                      node_get_string(metadata, "name"), node_get_string(metadata, "namespace"));
        print_map(&text, node_get_of(metadata, "labels"));
        print_map(&text, node_get_of(metadata, "annotations"));
        error_set(error, ERROR_INVALID, "missing %s in object %s}}", what, buffer_string(&text));
        buffer_release(&text);
        return -1;
}

static bool ends_in_list(struct view kind)
{
        return view_ends(kind, VIEW("List"));
}

int reader_validate(const struct node *object, struct error *error)
{
        const struct node *metadata = node_get_of(object, "metadata");
        struct view kind = node_get_text(object, "kind");

        if (!node_is_map(object) ||
            (kind.length == 0 && node_get_text(object, "apiVersion").length == 0 && node_is_empty(metadata)))
                return error_set(error, ERROR_INVALID, "missing Resource metadata");
        if (kind.length == 0)
                return missing(object, "kind", error);
        if (ends_in_list(kind) || node_get_text(metadata, "name").length)
                return 0;
        return missing(object, "metadata.name", error);
}

static int add_list_items(const struct reader *reader, const struct node *object, struct node_array *queue, struct error *error)
{
        const struct node *items = node_get_of(object, "items");
        struct view kind = node_get_text(object, "kind");

        if (node_is_null(items))
                return 0;
        if (!node_is_list(items))
                return error_set(error, ERROR_INVALID, "expected array in %.*s/items, but found %s", VIEW_ARGS(kind),
                                 node_is_map(items) ? "map[string]interface {}" : "string");
        for (uint32_t i = 0; i < items->count; i++) {
                struct node *item;

                if (node_is_empty(items->items[i]))
                        continue;
                TRY(node_normalize(reader->arena, items->items[i], NORMALIZE_NESTED, &item, error));
                TRY(reader_validate(item, error));
                add(reader->arena, queue, item);
        }
        return 0;
}

static bool is_wrapper(const struct node *object)
{
        struct view kind = node_get_text(object, "kind");

        return (view_is(kind, "List") || view_is(kind, "ResourceList")) &&
               (node_get_of(object, "items") || node_get_of(object, "functionConfig"));
}

static int read_parts(const struct reader *reader, struct view text, struct node_array *ret, struct error *error)
{
        struct reader part_reader = *reader;
        bool only = true, last = false;
        size_t at = 0;
        int r;

        for (;;) {
                struct node *object = NULL;
                struct view part = VIEW_NULL;
                size_t from = at;

                r = next_part(text, &at, &part, &last, error);
                if (r != 0)
                        return r < 0 ? r : 0;
                only = only && last;
                TRY(reader_document(&part_reader, SCALAR_RESOURCES, part, &object, error));
                part_reader.lines_before += count_lines(view_slice(text, from, at - from));
                if (node_is_null(object))
                        continue;
                if (only && is_wrapper(object)) {
                        const struct node *items = node_get_of(object, "items");

                        for (uint32_t i = 0; node_is_list(items) && i < items->count; i++)
                                add(reader->arena, ret, items->items[i]);
                } else {
                        add(reader->arena, ret, object);
                }
                only = false;
        }
}

int reader_resources(const struct reader *reader, struct view text, struct node_array *ret_objects, struct error *error)
{
        struct node_array queue = { NULL, 0 }, result = { NULL, 0 };

        if (text.length)
                TRY(read_parts(reader, without_carriage_returns(reader->arena, text), &queue, error));
        for (size_t i = 0; i < queue.count; i++)
                if (!node_is_empty(queue.items[i]))
                        TRY(reader_validate(queue.items[i], error));
        /* Items of lists come behind everything that is in the file itself, and may be lists again. */
        for (size_t i = 0; i < queue.count; i++) {
                struct node *object = queue.items[i];

                if (node_is_empty(object))
                        continue;
                if (ends_in_list(node_get_text(object, "kind")) && node_get_of(object, "items"))
                        TRY(add_list_items(reader, object, &queue, error));
                else
                        add(reader->arena, &result, object);
        }
        *ret_objects = result;
        return 0;
}
