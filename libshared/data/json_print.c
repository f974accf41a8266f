#include "data/json_backend.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void print(struct json_object *object, bool sorted, struct buffer *buffer);

static int compare_keys(const void *a, const void *b)
{
        return strcmp(((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

static void print_string(struct view text, struct buffer *buffer)
{
        buffer_add_char(buffer, '"');
        buffer_add_json(buffer, text);
        buffer_add_char(buffer, '"');
}

static void print_member(struct json_member member, bool first, bool sorted, struct buffer *buffer)
{
        if (!first)
                buffer_add_char(buffer, ',');
        print_string(view_of(member.key), buffer);
        buffer_add_char(buffer, ':');
        print(json_backend(member.value), sorted, buffer);
}

static void print_object(struct json_object *object, struct buffer *buffer)
{
        bool first = true;

        JSON_EACH(json_frontend(object), member) {
                print_member(member, first, false, buffer);
                first = false;
        }
}

static void print_object_sorted(struct json_object *object, struct buffer *buffer)
{
        size_t count = (size_t)json_object_object_length(object), i = 0;
        struct json_member *members;

        if (count == 0)
                return;
        members = memory_zero(count, sizeof(*members));
        JSON_EACH(json_frontend(object), member)
                members[i++] = member;
        qsort(members, count, sizeof(*members), compare_keys);
        for (i = 0; i < count; i++)
                print_member(members[i], i == 0, true, buffer);
        free(members);
}

static void print_array(struct json_object *object, bool sorted, struct buffer *buffer)
{
        size_t count = json_object_array_length(object), i;

        for (i = 0; i < count; i++) {
                if (i)
                        buffer_add_char(buffer, ',');
                print(json_object_array_get_idx(object, i), sorted, buffer);
        }
}

static void print(struct json_object *object, bool sorted, struct buffer *buffer)
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
                print_array(object, sorted, buffer);
                buffer_add_char(buffer, ']');
                break;
        case json_type_object:
                buffer_add_char(buffer, '{');
                if (sorted)
                        print_object_sorted(object, buffer);
                else
                        print_object(object, buffer);
                buffer_add_char(buffer, '}');
                break;
        }
}

void json_print(const struct json *json, struct buffer *buffer)
{
        if (json)
                print(json_backend(json), false, buffer);
}

void json_print_sorted(const struct json *json, struct buffer *buffer)
{
        if (json)
                print(json_backend(json), true, buffer);
}

char *json_text(const struct json *json)
{
        struct buffer buffer = BUFFER_NULL;

        json_print(json, &buffer);
        return buffer_steal(&buffer);
}
