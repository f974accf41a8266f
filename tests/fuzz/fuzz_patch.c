/*
 * Two JSON texts, one after the other with a NUL between them. As before and after: the merge patch reaches its target. As document and
 * operations: a patch that fails changes nothing, and one that applies keeps the depth.
 */
#include "base/cleanup.h"
#include "data/patch.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A null member cannot be made by a merge patch. */
static void drop_nulls(struct json *json)
{
        bool again = true;

        while (again) {
                again = false;
                JSON_EACH(json, member) {
                        if (json_type(member.value) == JSON_NULL) {
                                json_remove(json, member.key);
                                again = true;
                                break;
                        }
                        drop_nulls(member.value);
                }
        }
}

static void merge(const struct json *first, const struct json *second)
{
        cleanup(json_free) struct json *before = json_copy(first), *after = json_copy(second), *patch = NULL, *result = NULL;

        drop_nulls(before);
        drop_nulls(after);
        patch = patch_merge_create(before, after);
        result = patch ? patch_merge_apply(json_copy(before), patch) : json_copy(before);
        if (!json_equal(result, after))
                abort();
}

static void apply(const struct json *document, const struct json *operations)
{
        cleanup(json_free) struct json *result = json_copy(document);
        cleanup(error_release) struct error error = ERROR_NULL;

        if (patch_json_apply(&result, operations, &error) < 0 && !json_equal(result, document))
                abort();
        if (json_depth(result) > JSON_DEPTH_LIMIT)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *middle = size ? memchr(data, 0, size) : NULL;
        cleanup(json_free) struct json *first = NULL, *second = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        size_t length = middle ? (size_t)(middle - data) : 0;

        if (!middle || json_parse((struct view){ (const char *)data, length }, &first, &error) < 0 ||
            json_parse((struct view){ (const char *)middle + 1, size - length - 1 }, &second, &error) < 0)
                return 0;
        merge(first, second);
        apply(first, second);
        return 0;
}
