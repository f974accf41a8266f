#include "data/patch.h"

#include "base/cleanup.h"
#include "base/str.h"

#include "../json_test.h"

#include <stdlib.h>
#include <string.h>

static void assert_text(const struct json *json, const char *expected)
{
        cleanup(free_string) char *text = json_text(json);

        assert_string_equal(text, expected);
}

/* The examples of RFC 7386, appendix A, and more. */
static void merge_patch_applies(void **state)
{
        static const struct {
                const char *target, *patch, *result;
        } cases[] = {
                { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
                { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
                { "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
                { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
                { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
                { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
                { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
                { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
                { "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
                { "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
                { "{\"a\":\"foo\"}", "null", "null" },
                { "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
                { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
                { "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
                { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
                { "{\"a\":null}", "{\"a\":{}}", "{\"a\":{}}" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *patch = json_of(cases[i].patch);
                cleanup(json_free) struct json *result = patch_merge_apply(json_of(cases[i].target), patch);

                assert_text(result, cases[i].result);
                assert_text(patch, cases[i].patch);
        }
}

static void merge_patch_is_created(void **state)
{
        static const struct {
                const char *before, *after, *patch; /* NULL: nothing to send */
        } cases[] = {
                { "{}", "{}", NULL },
                { "{\"a\":1}", "{\"a\":1.0}", NULL },
                { "{\"a\":{\"b\":[1]}}", "{\"a\":{\"b\":[1]}}", NULL },
                { "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", NULL },
                { "{}", "{\"a\":null}", NULL },
                { "{\"a\":null}", "{}", NULL },
                { "{\"a\":1}", "{\"a\":2}", "{\"a\":2}" },
                { "{\"a\":1}", "{}", "{\"a\":null}" },
                { "{\"a\":1}", "{\"a\":null}", "{\"a\":null}" },
                { "{}", "{\"a\":{}}", "{\"a\":{}}" },
                { "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":3}}", "{\"a\":{\"c\":3}}" },
                { "{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":null}}" },
                { "{\"a\":[1,2]}", "{\"a\":[2,1]}", "{\"a\":[2,1]}" },
                { "{\"a\":\"x\"}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}" },
                { "{\"a\":{\"b\":1}}", "{\"a\":\"x\"}", "{\"a\":\"x\"}" },
                { "{\"metadata\":{\"finalizers\":[\"x\",\"y\"]}}", "{\"metadata\":{\"finalizers\":[\"y\"]}}",
                  "{\"metadata\":{\"finalizers\":[\"y\"]}}" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *before = json_of(cases[i].before), *after = json_of(cases[i].after);
                cleanup(json_free) struct json *patch = patch_merge_create(before, after);

                if (cases[i].patch)
                        assert_text(patch, cases[i].patch);
                else
                        assert_null(patch);
        }
}

static unsigned next_random(unsigned *state)
{
        *state = *state * 1103515245u + 12345u;
        return (*state >> 16) & 0x7fff;
}

/* A tree without null members, which no merge patch can make. */
static struct json *random_tree(unsigned *seed, unsigned depth)
{
        static const char *const keys[] = { "a", "b", "c", "d/e", "f~g" };
        unsigned kind = next_random(seed) % (depth ? 8 : 5), count, i;
        struct json *json;

        switch (kind) {
        case 0:
                return json_new_bool(next_random(seed) % 2);
        case 1:
        case 2:
                return json_new_integer((int)(next_random(seed) % 4) - 1);
        case 3:
                return json_new_number(next_random(seed) % 2 ? VIEW("1.0") : VIEW("2.5"));
        case 4:
                return json_new_printf("s%u", next_random(seed) % 3);
        case 5:
                json = json_new_array();
                for (count = next_random(seed) % 4, i = 0; i < count; i++)
                        json_append(json, next_random(seed) % 8 ? random_tree(seed, depth - 1) : json_new_null());
                return json;
        default:
                json = json_new_object();
                for (count = next_random(seed) % 5, i = 0; i < count; i++)
                        json_set(json, keys[next_random(seed) % 5], random_tree(seed, depth - 1));
                return json;
        }
}

static struct json *random_object(unsigned *seed)
{
        struct json *json = json_new_object();

        json_set(json, "a", random_tree(seed, 4));
        json_set(json, "b", random_tree(seed, 4));
        if (next_random(seed) % 2)
                json_set(json, "c", random_tree(seed, 4));
        return json;
}

static void random_pairs_reach_the_target(void **state)
{
        unsigned seed = 7386, changed = 0;
        int i;

        (void)state;
        for (i = 0; i < 5000; i++) {
                cleanup(json_free) struct json *before = random_object(&seed);
                cleanup(json_free) struct json *after = i % 10 ? random_object(&seed) : json_copy(before);
                cleanup(json_free) struct json *patch = patch_merge_create(before, after);
                cleanup(json_free) struct json *result = NULL, *again = NULL;

                if (json_equal(before, after)) {
                        assert_null(patch);
                        continue;
                }
                changed++;
                assert_non_null(patch);
                result = patch_merge_apply(json_copy(before), patch);
                assert_true(json_equal(result, after));
                again = patch_merge_create(result, after);
                assert_null(again);
        }
        assert_true(changed > 4000);
}

/* The examples of RFC 6902, appendix A, and the limits. */
static void json_patch_applies(void **state)
{
        static const struct {
                const char *document, *operations, *result, *message;
        } cases[] = {
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
                  "{\"foo\":\"bar\",\"baz\":\"qux\"}", NULL },
                { "{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
                  "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", NULL },
                { "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", "{\"foo\":\"bar\"}", NULL },
                { "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]", "{\"foo\":[\"bar\",\"baz\"]}",
                  NULL },
                { "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
                  "{\"baz\":\"boo\",\"foo\":\"bar\"}", NULL },
                { "{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
                  "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
                  "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}", NULL },
                { "{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}", "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
                  "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}", NULL },
                { "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
                  "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2.0}]",
                  "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}", NULL },
                { "{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", NULL,
                  "operation 1 (test /baz): the value is another one" },
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
                  "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}", NULL },
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
                  "{\"foo\":\"bar\",\"baz\":\"qux\"}", NULL },
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", NULL,
                  "operation 1 (add /baz/bat): path \"/baz/bat\": there is nothing" },
                { "{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]", "{\"/\":9,\"~1\":10}", NULL },
                { "{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]", NULL,
                  "operation 1 (test /~01): the value is another one" },
                { "{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
                  "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}", NULL },
                { "{\"a\":{\"b\":1}}",
                  "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"},{\"op\":\"replace\",\"path\":\"/c/b\",\"value\":2}]",
                  "{\"a\":{\"b\":1},\"c\":{\"b\":2}}", NULL },
                { "{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b/c\"}]", NULL,
                  "operation 1 (move /a/b/c): a value cannot be moved into itself" },
                { "{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", "{\"a\":{\"b\":1}}", NULL },
                { "{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/ab\"}]", "{\"ab\":1}", NULL },
                { "{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/y\"}]", NULL,
                  "operation 1 (copy /y): there is nothing at \"/x\"" },
                { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":null}]", "{\"a\":1,\"b\":null}", NULL },
                { "{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}", NULL },
                { "{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", NULL, "operation 1 (test /a): there is nothing" },
                { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", NULL, "operation 1 (add /b): \"value\" is missing" },
                { "{\"a\":1}", "[{\"op\":\"spam\",\"path\":\"/b\"}]", NULL, "operation 1 (spam /b): the operation is not known" },
                { "{\"a\":1}", "[{\"op\":\"add\",\"value\":1}]", NULL, "operation 1 (add ?): \"path\" is missing or no string" },
                { "{\"a\":1}", "[3]", NULL, "operation 1 (? ?): \"path\" is missing or no string" },
                { "{\"a\":1}", "{}", NULL, "a JSON patch is a list of operations (found: object)" },
                { "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2},{\"op\":\"remove\",\"path\":\"/b\"}]", NULL,
                  "operation 2 (remove /b): path \"/b\": there is nothing" },
                { "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[]}]", "[]", NULL },
                { "{\"a\":1}", "[]", "{\"a\":1}", NULL },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *document = json_of(cases[i].document), *operations = json_of(cases[i].operations);
                cleanup(error_release) struct error error = ERROR_NULL;

                assert_int_equal(patch_json_apply(&document, operations, &error), cases[i].message ? -1 : 0);
                assert_string_equal(error_message(&error), cases[i].message ? cases[i].message : "");
                assert_text(document, cases[i].result ? cases[i].result : cases[i].document);
        }
}

static void copies_that_double_are_stopped(void **state)
{
        cleanup(json_free) struct json *document = json_of("{\"a\":[\"x\"]}"), *operations = json_new_array();
        cleanup(error_release) struct error error = ERROR_NULL;
        int i;

        (void)state;
        for (i = 0; i < 64; i++)
                json_append(operations, json_of("{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}"));
        assert_int_equal(patch_json_apply(&document, operations, &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);
        assert_text(document, "{\"a\":[\"x\"]}");
}

static void operations_are_limited(void **state)
{
        cleanup(json_free) struct json *document = json_of("{\"a\":1}"), *operations = json_new_array();
        cleanup(error_release) struct error error = ERROR_NULL;
        int i;

        (void)state;
        for (i = 0; i < PATCH_OPERATIONS_LIMIT; i++)
                json_append(operations, json_of("{\"op\":\"test\",\"path\":\"/a\",\"value\":1}"));
        assert_int_equal(patch_json_apply(&document, operations, &error), 0);
        json_append(operations, json_of("{\"op\":\"test\",\"path\":\"/a\",\"value\":1}"));
        assert_int_equal(patch_json_apply(&document, operations, &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(merge_patch_applies),
                cmocka_unit_test(merge_patch_is_created),
                cmocka_unit_test(random_pairs_reach_the_target),
                cmocka_unit_test(json_patch_applies),
                cmocka_unit_test(copies_that_double_are_stopped),
                cmocka_unit_test(operations_are_limited),
        };

        return cmocka_run_group_tests_name("patch", tests, NULL, NULL);
}
