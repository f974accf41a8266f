/*
 * json_backend: how the nodes of json.h are made of json-c's. For the json*.c files alone.
 *
 * json-c writes null as a NULL pointer; json.h needs NULL for "absent". One immutable node, never counted and never freed, stands for null
 * on our side and becomes NULL where it is handed to json-c.
 */
#pragma once

#include "data/json.h"

/* json-c calls two things as json.h does. */
#define json_type json_c_type
#define json_bool json_c_bool
#include <json-c/json.h>
#undef json_type
#undef json_bool

extern struct json *const json_null_node;

static inline struct json_object *json_backend(const struct json *json)
{
        return json == json_null_node ? NULL : (struct json_object *)(uintptr_t)json;
}

/* Of a node that is there. */
static inline struct json *json_frontend(struct json_object *object)
{
        return object ? (struct json *)(void *)object : json_null_node;
}

/* Checks the text of a JSON number: the grammar, and that it fits. JSON_INTEGER, JSON_FLOAT, or JSON_ABSENT if it is none or too large. */
enum json_type json_number_check(struct view text);
