/*
 * json_test: JSON that a test knows to be right.
 */
#pragma once

#include "test.h"

#include "data/json.h"

/* The caller frees it. */
static inline struct json *json_of(const char *text)
{
        struct json *json = NULL;
        struct error error = ERROR_NULL;

        if (json_parse(view_of(text), &json, &error) != 0)
                fail_msg("%s: %s", text, error_message(&error));
        return json;
}
