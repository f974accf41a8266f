#include "data/patch.h"

#include "base/cleanup.h"
#include "data/path.h"

#include <string.h>

static struct json *create_members(const struct json *before, const struct json *after)
{
        struct json *patch = NULL;

        JSON_EACH(before, member) {
                if (json_type(member.value) == JSON_NULL || !json_is_null(json_get(after, member.key)))
                        continue;
                if (!patch)
                        patch = json_new_object();
                json_set(patch, member.key, json_new_null());
        }
        JSON_EACH(after, member) {
                struct json *change;

                if (json_is_null(member.value))
                        continue;
                change = patch_merge_create(json_get(before, member.key), member.value);
                if (!change)
                        continue;
                if (!patch)
                        patch = json_new_object();
                json_set(patch, member.key, change);
        }
        return patch;
}

struct json *patch_merge_create(const struct json *before, const struct json *after)
{
        if (json_type(before) == JSON_OBJECT && json_type(after) == JSON_OBJECT)
                return create_members(before, after);
        return json_equal(before, after) ? NULL : json_copy(after);
}

struct json *patch_merge_apply(struct json *target, const struct json *patch)
{
        struct json *result = target;

        if (json_type(patch) != JSON_OBJECT) {
                json_free(&result);
                return json_copy(patch);
        }
        if (json_type(result) != JSON_OBJECT) {
                json_free(&result);
                result = json_new_object();
        }
        JSON_EACH(patch, member) {
                struct json *old;

                if (json_is_null(member.value)) {
                        json_remove(result, member.key);
                        continue;
                }
                old = json_get(result, member.key);
                if (json_type(member.value) == JSON_OBJECT && json_type(old) == JSON_OBJECT)
                        patch_merge_apply(old, member.value); /* in place: an object stays the same node */
                else
                        json_set(result, member.key, patch_merge_apply(NULL, member.value));
        }
        return result;
}

struct operation {
        struct view path, from;
        struct json *value;
};

static int operation_test(struct json **document, const struct operation *operation, struct error *error)
{
        const struct json *found = path_get(*document, operation->path);

        if (!found)
                return error_set(error, ERROR_NOT_FOUND, "there is nothing");
        if (!json_equal(found, operation->value))
                return error_set(error, ERROR_INVALID, "the value is another one");
        return 0;
}

static int operation_remove(struct json **document, const struct operation *operation, struct error *error)
{
        cleanup(json_free) struct json *taken = NULL;

        return path_take(document, operation->path, &taken, error);
}

static int operation_move(struct json **document, const struct operation *operation, struct error *error)
{
        struct view rest = view_slice(operation->path, operation->from.length, operation->path.length);
        struct json *taken = NULL;

        if (!path_get(*document, operation->from))
                return error_set(error, ERROR_NOT_FOUND, "there is nothing at \"%.*s\"", VIEW_ARGS(operation->from));
        if (view_equal(operation->path, operation->from))
                return 0;
        if (view_starts(operation->path, operation->from) && view_starts(rest, VIEW("/")))
                return error_set(error, ERROR_INVALID, "a value cannot be moved into itself");
        TRY(path_take(document, operation->from, &taken, error));
        return path_add(document, operation->path, taken, error);
}

/* Roughly what a copy takes. */
static size_t weight(const struct json *json)
{
        size_t total = 64 + json_view(json).length, i;

        for (i = 0; json_type(json) == JSON_ARRAY && i < json_length(json); i++)
                total += weight(json_at(json, i));
        JSON_EACH(json, member)
                total += strlen(member.key) + weight(member.value);
        return total;
}

static int operation_copy(struct json **document, const struct operation *operation, size_t *copied, struct error *error)
{
        const struct json *found = path_get(*document, operation->from);

        if (!found)
                return error_set(error, ERROR_NOT_FOUND, "there is nothing at \"%.*s\"", VIEW_ARGS(operation->from));
        *copied += weight(found);
        if (*copied > PATCH_COPY_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "the copies are more than %zu bytes", PATCH_COPY_LIMIT);
        return path_add(document, operation->path, json_copy(found), error);
}

static int read_pointer(const struct json *object, const char *member, struct view *ret_pointer, struct error *error)
{
        const struct json *pointer = json_get(object, member);

        if (json_type(pointer) != JSON_STRING)
                return error_set(error, ERROR_INVALID, "\"%s\" is missing or no string", member);
        TRY(path_check(json_view(pointer), error));
        *ret_pointer = json_view(pointer);
        return 0;
}

static int apply_operation(struct json **document, const struct json *object, size_t *copied, struct error *error)
{
        struct view op = json_view(json_get(object, "op"));
        struct operation operation = { .value = json_get(object, "value") };

        TRY(read_pointer(object, "path", &operation.path, error));
        if (view_is(op, "remove"))
                return operation_remove(document, &operation, error);
        if (view_is(op, "move") || view_is(op, "copy")) {
                TRY(read_pointer(object, "from", &operation.from, error));
                return view_is(op, "move") ? operation_move(document, &operation, error)
                                           : operation_copy(document, &operation, copied, error);
        }
        if (!view_is(op, "add") && !view_is(op, "replace") && !view_is(op, "test"))
                return error_set(error, ERROR_INVALID, "the operation is not known");
        if (!operation.value)
                return error_set(error, ERROR_INVALID, "\"value\" is missing");
        if (view_is(op, "test"))
                return operation_test(document, &operation, error);
        return view_is(op, "add") ? path_add(document, operation.path, json_copy(operation.value), error)
                                  : path_replace(document, operation.path, json_copy(operation.value), error);
}

int patch_json_apply(struct json **document, const struct json *operations, struct error *error)
{
        cleanup(json_free) struct json *result = NULL;
        size_t count = json_length(operations), copied = 0, i;

        if (json_type(operations) != JSON_ARRAY)
                return error_set(error, ERROR_INVALID, "a JSON patch is a list of operations (found: %s)",
                                 json_type_name(json_type(operations)));
        if (count > PATCH_OPERATIONS_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "%zu operations are more than %d", count, PATCH_OPERATIONS_LIMIT);

        result = json_copy(*document);
        for (i = 0; i < count; i++) {
                const struct json *object = json_at(operations, i);

                if (apply_operation(&result, object, &copied, error) < 0)
                        return error_wrap(error, "operation %zu (%s %s)", i + 1, json_string(json_get(object, "op"), "?"),
                                          json_string(json_get(object, "path"), "?"));
        }
        json_free(document);
        *document = steal(&result);
        return 0;
}
