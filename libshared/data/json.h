/*
 * json: JSON trees. The one place that knows json-c.
 *
 * A tree belongs to one thread from parse to free: reference counts are not atomic and printing writes into nodes. What is shared between
 * threads is text. Members keep the order in which they were added; a repeated key keeps its last value. Numbers keep what they were: an integer that
 * does not fit 64 bits is refused, a float keeps its text.
 *
 * `struct json *` is a node anywhere in a tree; only the root is owned. NULL is "absent" and every reading function accepts it; JSON's own
 * null is a node of JSON_NULL.
 *
 * No tree is deeper than JSON_DEPTH_LIMIT: the parsers see to it, and whoever grafts one input onto another asks json_depth. The functions
 * here recurse on that promise.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct json;

enum json_type {
        JSON_ABSENT,
        JSON_NULL,
        JSON_BOOL,
        JSON_INTEGER,
        JSON_FLOAT,
        JSON_STRING,
        JSON_ARRAY,
        JSON_OBJECT,
};

#define JSON_DEPTH_LIMIT 512
#define JSON_BYTES_LIMIT ((size_t)64 << 20)

/*
 * The whole text is one value of RFC 8259: nothing may follow but blanks, the text is UTF-8, a member's name holds no NUL, an integer fits
 * int64 or uint64 and a float double. ERROR_INVALID with the offset, or ERROR_TOO_LARGE for the depth and the bytes.
 */
int json_parse(struct view text, struct json **ret_json, struct error *error);
/* Gives a root up; for cleanup(json_free). */
void json_free(struct json **json);
/* Overwrites the strings of a tree. The same, and gives it up: for cleanup(json_wipe) of what came with a Secret. */
void json_blank(struct json *json);
void json_wipe(struct json **json);
/* A copy that shares nothing. */
struct json *json_copy(const struct json *json);

enum json_type json_type(const struct json *json);
bool json_is_null(const struct json *json); /* absent or null */
/* "null", "boolean", "integer", "number", "string", "array", "object"; "nothing" if absent. For messages. */
const char *json_type_name(enum json_type type);
/* Levels of containers: 0 for a scalar, 1 for [] and {}. */
unsigned json_depth(const struct json *json);

/* Members and items; NULL where there is none or the node is of another type. Borrowed from the tree. */
struct json *json_get(const struct json *object, const char *key);
struct json *json_at(const struct json *array, size_t index);
size_t json_length(const struct json *json); /* members of an object, items of an array, else 0 */
/* json_path(o, "metadata", "labels", NULL): members all the way down. */
struct json *json_path(const struct json *object, ...) __attribute__((__sentinel__));
#define JSON_PATH(object, ...) json_path((object), __VA_ARGS__, NULL)

/* The value, or the fallback where the node is absent or of another type. Strings are borrowed and terminated; they may hold NUL: use json_view. */
const char *json_string(const struct json *json, const char *fallback);
struct view json_view(const struct json *json);
bool json_bool(const struct json *json, bool fallback);
int64_t json_integer(const struct json *json, int64_t fallback); /* beyond int64: the fallback */
double json_number(const struct json *json, double fallback);    /* of an integer or a float */

/* Iteration in order: for (struct json_member m = json_first(object); m.key; m = json_next(m)). The object must not change meanwhile. */
struct json_member {
        const char *key;    /* NULL: the end */
        struct json *value; /* never NULL while there is a key */
        void *position;
};
struct json_member json_first(const struct json *object);
struct json_member json_next(struct json_member member);
#define JSON_EACH(object, member) for (struct json_member member = json_first(object); member.key; member = json_next(member))

/* New nodes. */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(const char *string);
struct json *json_new_view(struct view text);
struct json *json_new_integer(int64_t value);
struct json *json_new_unsigned(uint64_t value);
/* From the text of a JSON number, which a float keeps; NULL if it is none or out of range. */
struct json *json_new_number(struct view text);
struct json *json_new_bool(bool value);
struct json *json_new_null(void);
/* printf into a string node. */
struct json *json_new_printf(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* Take ownership of `value`; an existing member is replaced in place. NULL sets null. Return `value` for further filling. */
struct json *json_set(struct json *object, const char *key, struct json *value);
struct json *json_append(struct json *array, struct json *value);
/* Replaces item `index`; takes ownership. */
void json_put(struct json *array, size_t index, struct json *value);
/* Removes; true if it was there. */
bool json_remove(struct json *object, const char *key);
bool json_remove_at(struct json *array, size_t index);
/* Inserts before `index` (== length appends); takes ownership. */
void json_insert(struct json *array, size_t index, struct json *value);
/* Takes a member out of its object, or an item out of its array; the caller owns it. NULL if there is none. */
struct json *json_take(struct json *object, const char *key);
struct json *json_take_at(struct json *array, size_t index);
void json_set_string(struct json *object, const char *key, const char *string); /* NULL removes the member */
void json_set_integer(struct json *object, const char *key, int64_t value);
void json_set_bool(struct json *object, const char *key, bool value);
/* The object under `key`, made if it is absent or no object. */
struct json *json_object_at(struct json *object, const char *key);
struct json *json_array_at(struct json *object, const char *key);

/* Same value: members in any order, 1 == 1.0, absent != null. */
bool json_equal(const struct json *a, const struct json *b);
/* Plain text: no blanks, no escaped slashes. */
void json_print(const struct json *json, struct buffer *buffer);
/* As a new string for messages and tests. */
char *json_text(const struct json *json);
