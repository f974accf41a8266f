#include "data/path.h"

#include "base/cleanup.h"

#include "../json_test.h"

#include <stdlib.h>
#include <string.h>

static void get_finds_what_the_rfc_says(void **state)
{
        static const char document[] = "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"m~n\":8,\"~1\":9,\"n\":null}";
        static const struct {
                const char *pointer, *found; /* NULL: nothing */
        } cases[] = {
                { "", document },
                { "/foo", "[\"bar\",\"baz\"]" },
                { "/foo/0", "\"bar\"" },
                { "/foo/1", "\"baz\"" },
                { "/", "0" },
                { "/a~1b", "1" },
                { "/c%d", "2" },
                { "/m~0n", "8" },
                { "/~01", "9" },
                { "/n", "null" },
                { "/foo/2", NULL },
                { "/foo/-", NULL },
                { "/foo/01", NULL },
                { "/foo/-1", NULL },
                { "/foo/x", NULL },
                { "/foo/", NULL },
                { "/foo/0/x", NULL },
                { "/none", NULL },
                { "/none/x", NULL },
                { "/n/x", NULL },
                { "foo", NULL },
                { "/m~2n", NULL },
                { "/m~", NULL },
                { "//", NULL },
                { "/foo/18446744073709551616", NULL },
        };
        cleanup(json_free) struct json *json = json_of(document);
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                const struct json *found = path_get(json, view_of(cases[i].pointer));
                cleanup(free_string) char *text = json_text(found);

                if (!cases[i].found != !found || (found && strcmp(text, cases[i].found)))
                        fail_msg("%s gives %s", cases[i].pointer, text);
        }
}

enum how { ADD, REPLACE, SET, TAKE };

static void writes_change_one_place(void **state)
{
        static const struct {
                enum how how;
                const char *document, *pointer, *result, *message;
        } cases[] = {
                { ADD, "{}", "/a", "{\"a\":7}", NULL },
                { ADD, "{\"a\":1,\"b\":2}", "/a", "{\"a\":7,\"b\":2}", NULL },
                { ADD, "[1,2]", "/0", "[7,1,2]", NULL },
                { ADD, "[1,2]", "/1", "[1,7,2]", NULL },
                { ADD, "[1,2]", "/2", "[1,2,7]", NULL },
                { ADD, "[1,2]", "/-", "[1,2,7]", NULL },
                { ADD, "[1,2]", "/3", NULL, "path \"/3\": there is nothing" },
                { ADD, "{}", "", "7", NULL },
                { ADD, "{}", "/a/b", NULL, "path \"/a/b\": there is nothing" },
                { ADD, "{\"a\":1}", "/a/b", NULL, "path \"/a/b\": there is nothing" },
                { ADD, "{}", "a", NULL, "path \"a\": a path begins with '/'" },
                { ADD, "{}", "/~", NULL, "path \"/~\": '~' is followed by '0' or '1'" },
                { REPLACE, "{\"a\":1}", "/a", "{\"a\":7}", NULL },
                { REPLACE, "{\"a\":null}", "/a", "{\"a\":7}", NULL },
                { REPLACE, "{}", "/a", NULL, "path \"/a\": there is nothing" },
                { REPLACE, "[1,2]", "/1", "[1,7]", NULL },
                { REPLACE, "[1,2]", "/2", NULL, "path \"/2\": there is nothing" },
                { REPLACE, "[1,2]", "/-", NULL, "path \"/-\": there is nothing" },
                { REPLACE, "1", "", "7", NULL },
                { SET, "{}", "/a/b/c", "{\"a\":{\"b\":{\"c\":7}}}", NULL },
                { SET, "{\"a\":null}", "/a/b", "{\"a\":{\"b\":7}}", NULL },
                { SET, "{\"a\":[{}]}", "/a/0/b", "{\"a\":[{\"b\":7}]}", NULL },
                { SET, "{\"a\":1}", "/a/b", NULL, "path \"/a/b\": there is nothing" },
                { TAKE, "{\"a\":7,\"b\":1}", "/a", "{\"b\":1}", NULL },
                { TAKE, "{\"a\":[1,7]}", "/a/1", "{\"a\":[1]}", NULL },
                { TAKE, "[1]", "/-", NULL, "path \"/-\": there is nothing" },
                { TAKE, "{}", "/a", NULL, "path \"/a\": there is nothing" },
                { TAKE, "{}", "", NULL, "path \"\": the whole document cannot be removed" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *json = json_of(cases[i].document), *taken = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                struct view pointer = view_of(cases[i].pointer);
                char *text;
                int r = 0;

                switch (cases[i].how) {
                case ADD:
                        r = path_add(&json, pointer, json_new_integer(7), &error);
                        break;
                case REPLACE:
                        r = path_replace(&json, pointer, json_new_integer(7), &error);
                        break;
                case SET:
                        r = path_set(&json, pointer, json_new_integer(7), &error);
                        break;
                case TAKE:
                        r = path_take(&json, pointer, &taken, &error);
                        assert_int_equal(json_integer(taken, 0), r == 0 ? 7 : 0);
                        break;
                }
                text = json_text(json);
                assert_int_equal(r, cases[i].result ? 0 : -1);
                assert_string_equal(text, cases[i].result ? cases[i].result : cases[i].document);
                assert_string_equal(error_message(&error), cases[i].message ? cases[i].message : "");
                free(text);
        }
}

static void parts_are_escaped(void **state)
{
        cleanup(buffer_release) struct buffer pointer = BUFFER_NULL;

        (void)state;
        path_append(&pointer, VIEW("metadata"));
        path_append(&pointer, VIEW("a.b/c~d"));
        path_append(&pointer, VIEW(""));
        assert_string_equal(buffer_string(&pointer), "/metadata/a.b~1c~0d/");
        assert_int_equal(path_parts(buffer_view(&pointer)), 3);
        assert_int_equal(path_parts(VIEW("")), 0);
}

static void depth_is_kept(void **state)
{
        cleanup(json_free) struct json *json = json_new_object();
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer pointer = BUFFER_NULL;
        int i;

        (void)state;
        for (i = 0; i < JSON_DEPTH_LIMIT; i++)
                path_append(&pointer, VIEW("a"));
        assert_int_equal(path_set(&json, buffer_view(&pointer), json_new_integer(1), &error), 0);
        assert_int_equal(json_depth(json), JSON_DEPTH_LIMIT);
        assert_int_equal(path_set(&json, buffer_view(&pointer), json_new_array(), &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(get_finds_what_the_rfc_says),
                cmocka_unit_test(writes_change_one_place),
                cmocka_unit_test(parts_are_escaped),
                cmocka_unit_test(depth_is_kept),
        };

        return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
