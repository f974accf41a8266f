#include "data/json_backend.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char null_place;
struct json *const json_null_node = (struct json *)(uintptr_t)&null_place;

static struct json *made(struct json_object *object)
{
        if (!object)
                memory_exhausted();
        return json_frontend(object);
}

static struct lh_table *table_of(const struct json *json)
{
        struct json_object *object = json ? json_backend(json) : NULL;

        return json_object_is_type(object, json_type_object) ? json_object_get_object(object) : NULL;
}

static struct array_list *list_of(const struct json *json)
{
        struct json_object *object = json ? json_backend(json) : NULL;

        return json_object_is_type(object, json_type_array) ? json_object_get_array(object) : NULL;
}

void json_free(struct json **json)
{
        if (*json)
                json_object_put(json_backend(*json));
        *json = NULL;
}

void json_blank(struct json *json)
{
        struct view text = json_view(json);
        size_t i;

        if (text.length)
                explicit_bzero((char *)(uintptr_t)text.data, text.length);
        JSON_EACH(json, member)
                json_blank(member.value);
        for (i = 0; json_type(json) == JSON_ARRAY && i < json_length(json); i++)
                json_blank(json_at(json, i));
}

void json_wipe(struct json **json)
{
        json_blank(*json);
        json_free(json);
}

struct json *json_copy(const struct json *json)
{
        struct json_object *copy = NULL;

        if (!json || json == json_null_node)
                return (struct json *)(uintptr_t)json;
        if (json_object_deep_copy(json_backend(json), &copy, NULL) < 0)
                memory_exhausted();
        return made(copy);
}

enum json_type json_type(const struct json *json)
{
        if (!json)
                return JSON_ABSENT;
        switch (json_object_get_type(json_backend(json))) {
        case json_type_null:
                return JSON_NULL;
        case json_type_boolean:
                return JSON_BOOL;
        case json_type_int:
                return JSON_INTEGER;
        case json_type_double:
                return JSON_FLOAT;
        case json_type_string:
                return JSON_STRING;
        case json_type_array:
                return JSON_ARRAY;
        case json_type_object:
                return JSON_OBJECT;
        }
        return JSON_ABSENT;
}

bool json_is_null(const struct json *json)
{
        return !json || json == json_null_node;
}

const char *json_type_name(enum json_type type)
{
        static const char *const names[] = {
                [JSON_ABSENT] = "nothing", [JSON_NULL] = "null",     [JSON_BOOL] = "boolean", [JSON_INTEGER] = "integer",
                [JSON_FLOAT] = "number",   [JSON_STRING] = "string", [JSON_ARRAY] = "array",  [JSON_OBJECT] = "object",
        };

        return names[type];
}

unsigned json_depth(const struct json *json)
{
        const struct array_list *list = list_of(json);
        unsigned deepest = 0, depth;
        size_t i;

        if (!list && !table_of(json))
                return 0;
        for (i = 0; list && i < list->length; i++) {
                depth = json_depth(list->array[i]);
                if (depth > deepest)
                        deepest = depth;
        }
        JSON_EACH(json, member) {
                depth = json_depth(member.value);
                if (depth > deepest)
                        deepest = depth;
        }
        return deepest + 1;
}

struct json *json_get(const struct json *object, const char *key)
{
        struct lh_table *table = table_of(object);
        void *value;

        if (!table || !lh_table_lookup_ex(table, key, &value))
                return NULL;
        return json_frontend(value);
}

struct json *json_at(const struct json *array, size_t index)
{
        const struct array_list *list = list_of(array);

        return list && index < list->length ? json_frontend(list->array[index]) : NULL;
}

size_t json_length(const struct json *json)
{
        const struct array_list *list = list_of(json);
        struct lh_table *table = table_of(json);

        if (list)
                return list->length;
        return table ? (size_t)lh_table_length(table) : 0;
}

struct json *json_path(const struct json *object, ...)
{
        const struct json *node = object;
        const char *key;
        va_list keys;

        va_start(keys, object);
        while ((key = va_arg(keys, const char *)))
                node = json_get(node, key);
        va_end(keys);
        return (struct json *)(uintptr_t)node;
}

const char *json_string(const struct json *json, const char *fallback)
{
        return json_type(json) == JSON_STRING ? json_object_get_string(json_backend(json)) : fallback;
}

struct view json_view(const struct json *json)
{
        struct json_object *object;

        if (json_type(json) != JSON_STRING)
                return VIEW_NULL;
        object = json_backend(json);
        return (struct view){ json_object_get_string(object), (size_t)json_object_get_string_len(object) };
}

bool json_bool(const struct json *json, bool fallback)
{
        return json_type(json) == JSON_BOOL ? json_object_get_boolean(json_backend(json)) : fallback;
}

int64_t json_integer(const struct json *json, int64_t fallback)
{
        struct json_object *object;

        if (json_type(json) != JSON_INTEGER)
                return fallback;
        object = json_backend(json);
        return json_object_get_uint64(object) > INT64_MAX ? fallback : json_object_get_int64(object);
}

double json_number(const struct json *json, double fallback)
{
        enum json_type type = json_type(json);

        return type == JSON_INTEGER || type == JSON_FLOAT ? json_object_get_double(json_backend(json)) : fallback;
}

static struct json_member member_at(struct lh_entry *entry)
{
        if (!entry)
                return (struct json_member){ NULL, NULL, NULL };
        return (struct json_member){ lh_entry_k(entry), json_frontend(lh_entry_v(entry)), entry };
}

struct json_member json_first(const struct json *object)
{
        struct lh_table *table = table_of(object);

        return member_at(table ? lh_table_head(table) : NULL);
}

struct json_member json_next(struct json_member member)
{
        return member_at(lh_entry_next((struct lh_entry *)member.position));
}

struct json *json_new_object(void)
{
        return made(json_object_new_object());
}

struct json *json_new_array(void)
{
        return made(json_object_new_array_ext(4));
}

struct json *json_new_string(const char *string)
{
        return json_new_view(view_of(string));
}

struct json *json_new_view(struct view text)
{
        if (text.length > JSON_BYTES_LIMIT)
                memory_exhausted();
        return made(json_object_new_string_len(text.data ? text.data : "", (int)text.length));
}

struct json *json_new_integer(int64_t value)
{
        return made(json_object_new_int64(value));
}

struct json *json_new_unsigned(uint64_t value)
{
        return value > INT64_MAX ? made(json_object_new_uint64(value)) : json_new_integer((int64_t)value);
}

struct json *json_new_number(struct view text)
{
        struct json *json = NULL;
        uint64_t big;
        int64_t integer;
        char *copy;

        switch (json_number_check(text)) {
        case JSON_INTEGER:
                if (view_to_int64(text, &integer) == 0)
                        json = json_new_integer(integer);
                else if (view_to_uint64(text, &big) == 0)
                        json = json_new_unsigned(big);
                break;
        case JSON_FLOAT:
                copy = memory_string_n(text.data, text.length);
                json = made(json_object_new_double_s(strtod(copy, NULL), copy));
                free(copy);
                break;
        default:
                break;
        }
        return json;
}

struct json *json_new_bool(bool value)
{
        return made(json_object_new_boolean(value));
}

struct json *json_new_null(void)
{
        return json_null_node;
}

struct json *json_new_printf(const char *format, ...)
{
        struct buffer text = BUFFER_NULL;
        struct json *json;
        va_list arguments;

        va_start(arguments, format);
        buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        json = json_new_view(buffer_view(&text));
        buffer_release(&text);
        return json;
}

struct json *json_set(struct json *object, const char *key, struct json *value)
{
        struct json *node = value ? value : json_null_node;

        if (json_object_object_add(json_backend(object), key, json_backend(node)) < 0)
                memory_exhausted();
        return node;
}

struct json *json_append(struct json *array, struct json *value)
{
        struct json *node = value ? value : json_null_node;

        if (json_object_array_add(json_backend(array), json_backend(node)) < 0)
                memory_exhausted();
        return node;
}

void json_put(struct json *array, size_t index, struct json *value)
{
        if (json_object_array_put_idx(json_backend(array), index, value ? json_backend(value) : NULL) < 0)
                memory_exhausted();
}

bool json_remove(struct json *object, const char *key)
{
        struct lh_table *table = table_of(object);

        return table && lh_table_delete(table, key) == 0;
}

bool json_remove_at(struct json *array, size_t index)
{
        return list_of(array) && json_object_array_del_idx(json_backend(array), index, 1) == 0;
}

void json_insert(struct json *array, size_t index, struct json *value)
{
        struct array_list *list;
        void *last;

        json_append(array, value);
        list = list_of(array);
        last = list->array[list->length - 1];
        if (index >= list->length)
                return;
        memmove(&list->array[index + 1], &list->array[index], (list->length - 1 - index) * sizeof(*list->array));
        list->array[index] = last;
}

/* The container's own reference goes with the removal; the one taken here is the caller's. */
static struct json *keep(struct json *json)
{
        if (json)
                json_object_get(json_backend(json));
        return json;
}

struct json *json_take(struct json *object, const char *key)
{
        struct json *value = keep(json_get(object, key));

        json_remove(object, key);
        return value;
}

struct json *json_take_at(struct json *array, size_t index)
{
        struct json *value = keep(json_at(array, index));

        json_remove_at(array, index);
        return value;
}

void json_set_string(struct json *object, const char *key, const char *string)
{
        if (string)
                json_set(object, key, json_new_string(string));
        else
                json_remove(object, key);
}

void json_set_integer(struct json *object, const char *key, int64_t value)
{
        json_set(object, key, json_new_integer(value));
}

void json_set_bool(struct json *object, const char *key, bool value)
{
        json_set(object, key, json_new_bool(value));
}

struct json *json_object_at(struct json *object, const char *key)
{
        struct json *member = json_get(object, key);

        return json_type(member) == JSON_OBJECT ? member : json_set(object, key, json_new_object());
}

struct json *json_array_at(struct json *object, const char *key)
{
        struct json *member = json_get(object, key);

        return json_type(member) == JSON_ARRAY ? member : json_set(object, key, json_new_array());
}

/* An integer and a float are compared without rounding: long double holds 64 bits of both. */
static bool numbers_equal(const struct json *a, enum json_type type_a, const struct json *b, enum json_type type_b)
{
        struct json_object *x = json_backend(a), *y = json_backend(b);
        long double p, q;

        if (type_a == JSON_INTEGER && type_b == JSON_INTEGER)
                return json_object_get_int64(x) == json_object_get_int64(y) &&
                       json_object_get_uint64(x) == json_object_get_uint64(y);
        p = json_object_get_double(x);
        q = json_object_get_double(y);
        if (type_a == JSON_INTEGER)
                p = json_object_get_uint64(x) > INT64_MAX ? (long double)json_object_get_uint64(x)
                                                          : (long double)json_object_get_int64(x);
        if (type_b == JSON_INTEGER)
                q = json_object_get_uint64(y) > INT64_MAX ? (long double)json_object_get_uint64(y)
                                                          : (long double)json_object_get_int64(y);
        return p == q;
}

bool json_equal(const struct json *a, const struct json *b)
{
        enum json_type type_a = json_type(a), type_b = json_type(b);
        size_t i;

        if (a == b)
                return true;
        if ((type_a == JSON_INTEGER || type_a == JSON_FLOAT) && (type_b == JSON_INTEGER || type_b == JSON_FLOAT))
                return numbers_equal(a, type_a, b, type_b);
        if (type_a != type_b || json_length(a) != json_length(b))
                return false;
        switch (type_a) {
        case JSON_BOOL:
                return json_bool(a, false) == json_bool(b, false);
        case JSON_STRING:
                return view_equal(json_view(a), json_view(b));
        case JSON_ARRAY:
                for (i = 0; i < json_length(a); i++)
                        if (!json_equal(json_at(a, i), json_at(b, i)))
                                return false;
                return true;
        case JSON_OBJECT:
                JSON_EACH(a, member)
                        if (!json_equal(member.value, json_get(b, member.key)))
                                return false;
                return true;
        default:
                return true;
        }
}
