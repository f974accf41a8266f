#include "engine/kustomize/json_patch.h"

#include "base/cleanup.h"
#include "engine/kustomize/scalar.h"

#include <limits.h>
#include <string.h>

int json_patch_decode(struct build *build, struct view text, const struct node **ret_operations)
{
        cleanup(buffer_release) struct buffer json = BUFFER_NULL;
        struct node *operations = NULL;

        if (text.length == 0)
                return error_set(build->error, ERROR_INVALID, "empty json patch operations");
        if (text.data[0] == '[')
                TRY(reader_json(&build->reader, text, &operations, build->error));
        else
                TRY(reader_document(&build->reader, SCALAR_CONFIGURATION, text, &operations, build->error));
        if (node_is_null(operations)) {
                *ret_operations = node_list(build->arena);
                return 0;
        }
        if (operations->kind != NODE_LIST)
                return error_set(build->error, ERROR_INVALID,
                                 "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
        for (uint32_t i = 0; i < operations->count; i++)
                if (!node_is_map(operations->items[i]) && !node_is_null(operations->items[i]))
                        return error_set(build->error, ERROR_INVALID,
                                         "json: cannot unmarshal string into Go value of type jsonpatch.Operation");
        /* A patch is JSON: what has no form there makes it none. */
        TRY(emit_json(&json, build->arena, operations, 0, build->error));
        *ret_operations = operations;
        return 0;
}

/* A place: the container and the last token of the pointer. */
struct place {
        struct node *container;
        struct view key;
};

static struct view unescape_token(struct arena *arena, struct view token)
{
        char *text = arena_string_n(arena, token.data, token.length);
        size_t length = 0;

        for (size_t i = 0; i < token.length; i++) {
                char c = text[i];

                if (c == '~' && i + 1 < token.length && (text[i + 1] == '0' || text[i + 1] == '1'))
                        c = text[++i] == '0' ? '~' : '/';
                text[length++] = c;
        }
        return (struct view){ text, length };
}

/* Go's strconv.Atoi. */
static bool parse_index(struct view text, long *ret)
{
        int64_t value;

        if (text.length > 1 && text.data[0] == '+')
                text = view_slice(text, 1, SIZE_MAX);
        if (text.length > 10 || view_to_int64(text, &value) < 0)
                return false;
        *ret = (long)value;
        return true;
}

static struct node *child(const struct node *container, struct view key)
{
        long index;

        if (node_is_map(container))
                return node_get(container, key);
        if (!node_is_list(container) || !parse_index(key, &index))
                return NULL;
        if (index < 0)
                index += container->count;
        return index >= 0 && index < (long)container->count ? container->items[index] : NULL;
}

/* False if something on the way is missing, or is no container. */
static bool find_place(struct build *build, struct node *document, struct view path, struct place *ret)
{
        struct place place = { document, VIEW_NULL };
        bool first = true;
        struct view token;

        if (path.length == 0 || path.data[0] != '/')
                return false;
        path = view_slice(path, 1, SIZE_MAX);
        if (path.length == 0)
                path = (struct view){ "", 0 };
        while (view_split(&path, '/', &token)) {
                if (!first) {
                        place.container = child(place.container, place.key);
                        if (!place.container || place.container->kind == NODE_SCALAR)
                                return false;
                }
                place.key = unescape_token(build->arena, token);
                first = false;
        }
        if (place.container->kind == NODE_SCALAR)
                return false;
        *ret = place;
        return true;
}

static int missing(struct build *build, struct view operation, struct view path)
{
        const char *quote = view_is(operation, "replace") ? "" : "\"";

        return error_set(build->error, ERROR_INVALID, "%.*s operation does not apply: doc is missing path: %s%.*s%s: missing value",
                         VIEW_ARGS(operation), quote, VIEW_ARGS(path), quote);
}

static int no_number(struct build *build, struct view key)
{
        return error_set(build->error, ERROR_INVALID, "strconv.Atoi: parsing \"%.*s\": invalid syntax", VIEW_ARGS(key));
}

/* A list has no such element. */
static int invalid_index(struct build *build, struct view key)
{
        long index;

        if (!parse_index(key, &index))
                return no_number(build, key);
        return error_set(build->error, ERROR_INVALID, "Unable to access invalid index: %.*s: invalid index referenced",
                         VIEW_ARGS(key));
}

static int add_at(struct build *build, const struct place *place, struct node *value)
{
        long index, count = place->container->count;

        if (place->container->kind == NODE_MAP) {
                node_set(build->arena, place->container, place->key, value);
                return 0;
        }
        if (view_is(place->key, "-")) {
                node_append(build->arena, place->container, value);
                return 0;
        }
        if (!parse_index(place->key, &index))
                return error_wrap((no_number(build, place->key), build->error), "value was not a proper array index: '%.*s'",
                                  VIEW_ARGS(place->key));
        if (index > count || index < -(count + 1))
                return invalid_index(build, place->key);
        if (index < 0)
                index += count + 1;
        node_insert(build->arena, place->container, (size_t)index, value);
        return 0;
}

static int remove_at(struct build *build, const struct place *place)
{
        long index, count = place->container->count;

        if (place->container->kind == NODE_MAP) {
                if (node_remove(place->container, place->key))
                        return 0;
                return error_set(build->error, ERROR_INVALID, "Unable to remove nonexistent key: %.*s: missing value",
                                 VIEW_ARGS(place->key));
        }
        if (!parse_index(place->key, &index) || index >= count || index < -count)
                return invalid_index(build, place->key);
        if (index < 0)
                index += count;
        node_remove_at(place->container, (size_t)index);
        return 0;
}

static int replace_at(struct build *build, const struct place *place, struct view path, struct node *value)
{
        long index, count = place->container->count;

        if (place->container->kind == NODE_MAP) {
                node_set(build->arena, place->container, place->key, value);
                return 0;
        }
        if (!parse_index(place->key, &index) || index >= count || index < -count)
                return error_set(build->error, ERROR_INVALID,
                                 "replace operation does not apply: doc is missing key: %.*s: missing value", VIEW_ARGS(path));
        if (index < 0)
                index += count;
        place->container->items[index] = value;
        return 0;
}

static bool scalars_equal(struct build *build, const struct node *a, const struct node *b)
{
        struct buffer text_a = BUFFER_NULL, text_b = BUFFER_NULL;
        struct error ignored = ERROR_NULL;
        bool equal = emit_json(&text_a, build->arena, a, 0, &ignored) == 0 &&
                     emit_json(&text_b, build->arena, b, 0, &ignored) == 0 &&
                     view_equal(buffer_view(&text_a), buffer_view(&text_b));

        buffer_release(&text_a);
        buffer_release(&text_b);
        error_release(&ignored);
        return equal;
}

static bool json_equal(struct build *build, const struct node *a, const struct node *b)
{
        if (node_is_null(a) || node_is_null(b))
                return node_is_null(a) && node_is_null(b);
        if (a->kind != b->kind)
                return false;
        if (a->kind == NODE_SCALAR)
                return scalars_equal(build, a, b);
        if (a->count != b->count)
                return false;
        for (uint32_t i = 0; i < a->count; i++) {
                const struct node *other = a->kind == NODE_LIST ? b->items[i] : node_get(b, node_text(a->entries[i].key));
                const struct node *mine = a->kind == NODE_LIST ? a->items[i] : a->entries[i].value;

                if (!other || !json_equal(build, mine, other))
                        return false;
        }
        return true;
}

static int run_test(struct build *build, struct node *document, struct view path, const struct node *value)
{
        struct place place;
        const struct node *found = document;

        if (path.length) {
                if (!find_place(build, document, path, &place))
                        return error_set(build->error, ERROR_INVALID,
                                         "test operation does not apply: is missing path: %.*s: missing value", VIEW_ARGS(path));
                found = child(place.container, place.key);
                if (!found && place.container->kind == NODE_LIST)
                        return error_wrap((invalid_index(build, place.key), build->error), "error in test for path: '%.*s'",
                                          VIEW_ARGS(path));
        }
        if (json_equal(build, found, value))
                return 0;
        return error_set(build->error, ERROR_INVALID, "testing value %.*s failed: test failed", VIEW_ARGS(path));
}

static int check_depth(struct build *build, const struct node *node)
{
        if (node_depth(node, READER_DEPTH + 1) <= READER_DEPTH)
                return 0;
        return error_set(build->error, ERROR_TOO_LARGE, "the patched object is nested too deep");
}

static int run_move(struct build *build, struct node *document, struct view from, struct view path, bool copy)
{
        struct place source, target;
        struct node *value;

        if (!find_place(build, document, from, &source))
                return error_set(build->error, ERROR_INVALID,
                                 "%s operation does not apply: doc is missing from path: %.*s: missing value",
                                 copy ? "copy" : "move", VIEW_ARGS(from));
        value = child(source.container, source.key);
        if (!value && source.container->kind == NODE_LIST) {
                invalid_index(build, source.key);
                return error_wrap(build->error, copy ? "error in copy for from: '%.*s'" : "error in move for path: '%.*s'",
                                  VIEW_ARGS(copy ? from : source.key));
        }
        if (!value)
                value = node_null(build->arena);
        TRY(check_depth(build, value));
        value = node_copy(build->arena, value);
        if (!copy && remove_at(build, &source) < 0)
                return error_wrap(build->error, "error in move for path: '%.*s'", VIEW_ARGS(source.key));
        if (!find_place(build, document, path, &target))
                return error_set(build->error, ERROR_INVALID,
                                 "%s operation does not apply: doc is missing destination path: %.*s: missing value",
                                 copy ? "copy" : "move", VIEW_ARGS(path));
        if (add_at(build, &target, value) == 0)
                return 0;
        if (copy)
                return error_wrap(build->error, "error while adding value during copy");
        return error_wrap(build->error, "error in move for path: '%.*s'", VIEW_ARGS(path));
}

/* Only a text counts. */
static bool get_text(const struct node *operation, const char *field, struct view *ret)
{
        const struct node *value = node_get_of(operation, field);

        if (!value || value->kind != NODE_SCALAR || value->tag == TAG_NULL || value->tag == TAG_BOOL || value->tag == TAG_INTEGER ||
            value->tag == TAG_FLOAT)
                return false;
        *ret = node_text(value);
        return true;
}

static int move_or_copy(struct build *build, struct node *document, const struct node *operation, bool copy)
{
        const char *name = copy ? "copy" : "move";
        struct view from, path;

        if (!get_text(operation, "from", &from))
                return error_set(build->error, ERROR_INVALID,
                                 "%s operation failed to decode from: operation, missing from field: missing value", name);
        if (!get_text(operation, "path", &path))
                return error_set(build->error, ERROR_INVALID, "%s operation failed to decode path: missing value", name);
        return run_move(build, document, from, path, copy);
}

static int run_operation(struct build *build, struct node *document, const struct node *operation)
{
        struct view kind = VIEW("unknown"), path;
        const struct node *given = node_get_of(operation, "value");
        struct node *value;
        struct place place;
        bool add, replace;

        get_text(operation, "op", &kind);
        add = view_is(kind, "add");
        replace = view_is(kind, "replace");
        value = given ? NULL : node_null(build->arena);
        if (given)
                TRY(node_normalize(build->arena, given, NORMALIZE_PATCH, &value, build->error));
        if (view_is(kind, "move") || view_is(kind, "copy"))
                return move_or_copy(build, document, operation, view_is(kind, "copy"));
        if (!add && !replace && !view_is(kind, "remove") && !view_is(kind, "test"))
                return error_set(build->error, ERROR_INVALID, "Unexpected kind: %.*s", VIEW_ARGS(kind));
        if (!get_text(operation, "path", &path))
                return error_set(build->error, ERROR_INVALID, "%.*s operation failed to decode path: missing value",
                                 VIEW_ARGS(kind));
        if (view_is(kind, "test"))
                return run_test(build, document, path, value);
        if (replace && path.length == 0) {
                if (value->kind == NODE_SCALAR)
                        return error_set(build->error, ERROR_INVALID, "replace operation value must be object or array");
                *document = *value;
                return 0;
        }
        if (!find_place(build, document, path, &place))
                return missing(build, kind, path);
        if (replace)
                return replace_at(build, &place, path, value);
        if ((add ? add_at(build, &place, value) : remove_at(build, &place)) == 0)
                return 0;
        return error_wrap(build->error, "error in %s for path: '%.*s'", add ? "add" : "remove", VIEW_ARGS(path));
}

int json_patch_apply(struct build *build, struct node *object, const struct node *operations)
{
        struct node *document;

        TRY(node_normalize(build->arena, object, NORMALIZE_PATCHED_OBJECT, &document, build->error));
        for (uint32_t i = 0; i < operations->count; i++) {
                TRY(run_operation(build, document, operations->items[i]));
                TRY(build_check(build));
        }
        if (document->kind != NODE_MAP)
                return error_set(build->error, ERROR_INVALID,
                                 "json: cannot unmarshal array into Go value of type map[string]interface {}");
        TRY(check_depth(build, document));
        *object = *document;
        return 0;
}
