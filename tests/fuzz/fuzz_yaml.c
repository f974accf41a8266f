/* Every document that is accepted is JSON within the limits, and reads back from its JSON text, which is YAML too. */
#include "base/cleanup.h"
#include "data/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct view text = { (const char *)data + 1, size - 1 };
        cleanup(yaml_close) struct yaml_reader *reader = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct json *json = NULL;

        if (size == 0)
                return 0;
        reader = yaml_open(text, data[0] & 1 ? YAML_UNIQUE_KEYS : 0);
        while (yaml_next(reader, &json, &error) == 0) {
                cleanup(buffer_release) struct buffer printed = BUFFER_NULL;
                cleanup(json_free) struct json *again = NULL;

                if (json_depth(json) > JSON_DEPTH_LIMIT)
                        abort();
                json_print(json, &printed);
                if (json_parse(buffer_view(&printed), &again, &error) < 0 || !json_equal(json, again))
                        abort();
                json_free(&json);
        }
        return 0;
}
