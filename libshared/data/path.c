#include "data/path.h"

#include "base/cleanup.h"

/* A place is its parent and the name or index in it. The document itself has no parent. */
struct place {
        struct json *parent; /* NULL: the document */
        struct buffer name;
        size_t index; /* if the parent is an array; its length stands for "-" too */
};

static void place_release(struct place *place)
{
        buffer_release(&place->name);
}

static int bad_pointer(struct view pointer, const char *what, struct error *error)
{
        return error_set(error, ERROR_INVALID, "path \"%.*s\": %s", VIEW_ARGS(pointer), what);
}

static int nothing_there(struct view pointer, struct error *error)
{
        return error_set(error, ERROR_NOT_FOUND, "path \"%.*s\": there is nothing", VIEW_ARGS(pointer));
}

int path_check(struct view pointer, struct error *error)
{
        size_t i;

        if (pointer.length == 0)
                return 0;
        if (pointer.data[0] != '/')
                return bad_pointer(pointer, "a path begins with '/'", error);
        for (i = 0; i < pointer.length; i++) {
                if (pointer.data[i] == '\0')
                        return bad_pointer(pointer, "a path holds no NUL", error);
                if (pointer.data[i] == '~' &&
                    (i + 1 == pointer.length || (pointer.data[i + 1] != '0' && pointer.data[i + 1] != '1')))
                        return bad_pointer(pointer, "'~' is followed by '0' or '1'", error);
        }
        return 0;
}

size_t path_parts(struct view pointer)
{
        size_t count = 0, i;

        for (i = 0; i < pointer.length; i++)
                count += pointer.data[i] == '/';
        return count;
}

void path_append(struct buffer *pointer, struct view part)
{
        size_t i;

        buffer_add_char(pointer, '/');
        for (i = 0; i < part.length; i++) {
                if (part.data[i] == '~')
                        buffer_add_string(pointer, "~0");
                else if (part.data[i] == '/')
                        buffer_add_string(pointer, "~1");
                else
                        buffer_add_char(pointer, part.data[i]);
        }
}

/* Takes the next part off a checked pointer. False at its end. */
static bool next_part(struct view *rest, struct buffer *ret_part)
{
        size_t i;

        if (rest->length == 0)
                return false;
        buffer_clear(ret_part);
        for (i = 1; i < rest->length && rest->data[i] != '/'; i++) {
                char c = rest->data[i];

                if (c == '~')
                        c = rest->data[++i] == '0' ? '~' : '/';
                buffer_add_char(ret_part, c);
        }
        *rest = view_slice(*rest, i, rest->length);
        return true;
}

/* An index up to and including the length. */
static bool parse_index(const struct json *array, struct view part, size_t *ret_index)
{
        size_t length = json_length(array);
        uint64_t index;

        if (view_is(part, "-")) {
                *ret_index = length;
                return true;
        }
        if ((part.length > 1 && part.data[0] == '0') || view_to_uint64(part, &index) < 0 || index > length)
                return false;
        *ret_index = (size_t)index;
        return true;
}

static struct json *child_of(const struct json *parent, const struct buffer *part)
{
        size_t index;

        if (json_type(parent) == JSON_OBJECT)
                return json_get(parent, buffer_string(part));
        if (json_type(parent) == JSON_ARRAY && parse_index(parent, buffer_view(part), &index))
                return json_at(parent, index);
        return NULL;
}

struct json *path_get(const struct json *document, struct view pointer)
{
        cleanup(buffer_release) struct buffer part = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        const struct json *node = document;

        if (path_check(pointer, &error) < 0)
                return NULL;
        while (node && next_part(&pointer, &part))
                node = child_of(node, &part);
        return (struct json *)(uintptr_t)node;
}

/* Finds the parent; with `make`, missing or null members on the way become objects. */
static int find_place(struct json *document, struct view pointer, bool make, struct place *ret_place, struct error *error)
{
        struct view rest = pointer;
        struct json *child;

        TRY(path_check(pointer, error));
        if (!next_part(&rest, &ret_place->name))
                return 0;
        for (ret_place->parent = document; rest.length; ret_place->parent = child) {
                child = child_of(ret_place->parent, &ret_place->name);
                if (make && json_is_null(child) && json_type(ret_place->parent) == JSON_OBJECT)
                        child = json_object_at(ret_place->parent, buffer_string(&ret_place->name));
                if (!child)
                        return nothing_there(pointer, error);
                next_part(&rest, &ret_place->name);
        }
        if (json_type(ret_place->parent) == JSON_OBJECT)
                return 0;
        if (json_type(ret_place->parent) == JSON_ARRAY &&
            parse_index(ret_place->parent, buffer_view(&ret_place->name), &ret_place->index))
                return 0;
        return nothing_there(pointer, error);
}

enum put { PUT_ADD, PUT_REPLACE, PUT_SET };

static int put_into_array(struct place *place, struct view pointer, struct json **value, enum put how, struct error *error)
{
        if (how == PUT_ADD) {
                json_insert(place->parent, place->index, steal(value));
                return 0;
        }
        if (place->index >= json_length(place->parent))
                return nothing_there(pointer, error);
        json_put(place->parent, place->index, steal(value));
        return 0;
}

static int put(struct json **document, struct view pointer, struct json *new_value, enum put how, struct error *error)
{
        cleanup(place_release) struct place place = { .parent = NULL, .name = BUFFER_NULL };
        cleanup(json_free) struct json *value = new_value;

        if (path_parts(pointer) + json_depth(value) > JSON_DEPTH_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "path \"%.*s\": more than %d levels", VIEW_ARGS(pointer),
                                 JSON_DEPTH_LIMIT);
        TRY(find_place(*document, pointer, how == PUT_SET, &place, error));
        if (!place.parent) {
                json_free(document);
                *document = steal(&value);
                return 0;
        }
        if (json_type(place.parent) == JSON_ARRAY)
                return put_into_array(&place, pointer, &value, how, error);
        if (how == PUT_REPLACE && !json_get(place.parent, buffer_string(&place.name)))
                return nothing_there(pointer, error);
        json_set(place.parent, buffer_string(&place.name), steal(&value));
        return 0;
}

int path_add(struct json **document, struct view pointer, struct json *value, struct error *error)
{
        return put(document, pointer, value, PUT_ADD, error);
}

int path_replace(struct json **document, struct view pointer, struct json *value, struct error *error)
{
        return put(document, pointer, value, PUT_REPLACE, error);
}

int path_set(struct json **document, struct view pointer, struct json *value, struct error *error)
{
        return put(document, pointer, value, PUT_SET, error);
}

int path_take(struct json **document, struct view pointer, struct json **ret_json, struct error *error)
{
        cleanup(place_release) struct place place = { .parent = NULL, .name = BUFFER_NULL };
        struct json *taken;

        TRY(find_place(*document, pointer, false, &place, error));
        if (!place.parent)
                return bad_pointer(pointer, "the whole document cannot be removed", error);
        if (json_type(place.parent) == JSON_ARRAY)
                taken = json_take_at(place.parent, place.index);
        else
                taken = json_take(place.parent, buffer_string(&place.name));
        if (!taken)
                return nothing_there(pointer, error);
        *ret_json = taken;
        return 0;
}

bool path_remove(struct json *document, struct view pointer)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(json_free) struct json *taken = NULL;

        return path_take(&document, pointer, &taken, &error) == 0;
}
