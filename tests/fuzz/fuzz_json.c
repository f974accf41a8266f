/* What is accepted prints to a text that reads back as an equal tree, and a copy of that prints to the same text. */
#include "base/cleanup.h"
#include "data/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        cleanup(json_free) struct json *json = NULL, *again = NULL, *copy = NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL, text_again = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;

        if (json_parse((struct view){ (const char *)data, size }, &json, &error) < 0)
                return 0;
        if (json_depth(json) > JSON_DEPTH_LIMIT)
                abort();
        json_print(json, &text);
        if (json_parse(buffer_view(&text), &again, &error) < 0 || !json_equal(json, again))
                abort();
        copy = json_copy(again);
        json_print(copy, &text_again);
        if (!view_equal(buffer_view(&text), buffer_view(&text_again)))
                abort();
        return 0;
}
