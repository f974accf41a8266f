#include "data/json_backend.h"

#include <inttypes.h>

static void print(struct json_object *object, struct buffer *buffer);

static void print_string(struct view text, struct buffer *buffer)
{
        buffer_add_char(buffer, '"');
        buffer_add_json(buffer, text);
        buffer_add_char(buffer, '"');
}

static void print_member(struct json_member member, bool first, struct buffer *buffer)
{
        if (!first)
                buffer_add_char(buffer, ',');
        print_string(view_of(member.key), buffer);
        buffer_add_char(buffer, ':');
        print(json_backend(member.value), buffer);
}

static void print_object(struct json_object *object, struct buffer *buffer)
{
        bool first = true;

        JSON_EACH(json_frontend(object), member) {
                print_member(member, first, buffer);
                first = false;
        }
}

static void print_array(struct json_object *object, struct buffer *buffer)
{
        size_t count = json_object_array_length(object), i;

        for (i = 0; i < count; i++) {
                if (i)
                        buffer_add_char(buffer, ',');
                print(json_object_array_get_idx(object, i), buffer);
        }
}

static void print(struct json_object *object, struct buffer *buffer)
{
        switch (json_object_get_type(object)) {
        case json_type_null:
                buffer_add_string(buffer, "null");
                break;
        case json_type_boolean:
                buffer_add_string(buffer, json_object_get_boolean(object) ? "true" : "false");
                break;
        case json_type_int:
                if (json_object_get_uint64(object) > INT64_MAX)
                        buffer_printf(buffer, "%" PRIu64, json_object_get_uint64(object));
                else
                        buffer_printf(buffer, "%" PRId64, json_object_get_int64(object));
                break;
        case json_type_double:
                /* Every float here was made from a text, which json-c keeps as the node's user data. */
                buffer_add_string(buffer, json_object_get_userdata(object));
                break;
        case json_type_string:
                print_string((struct view){ json_object_get_string(object), (size_t)json_object_get_string_len(object) }, buffer);
                break;
        case json_type_array:
                buffer_add_char(buffer, '[');
                print_array(object, buffer);
                buffer_add_char(buffer, ']');
                break;
        case json_type_object:
                buffer_add_char(buffer, '{');
                print_object(object, buffer);
                buffer_add_char(buffer, '}');
                break;
        }
}

void json_print(const struct json *json, struct buffer *buffer)
{
        if (json)
                print(json_backend(json), buffer);
}

char *json_text(const struct json *json)
{
        struct buffer buffer = BUFFER_NULL;

        json_print(json, &buffer);
        return buffer_steal(&buffer);
}
