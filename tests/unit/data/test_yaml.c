#include "data/yaml.h"

#include "base/cleanup.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *text, unsigned flags, const char *json_expected, const char *message)
{
        cleanup(json_free) struct json *json = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(free_string) char *printed = NULL;
        int r = yaml_parse(view_of(text), flags, &json, &error);

        printed = json_text(json);
        if (r != (message ? -1 : 0) || strcmp(error_message(&error), message ? message : "") ||
            strcmp(printed, json_expected ? json_expected : ""))
                fail_msg("%s\ngives %s\n%s", text, printed, error_message(&error));
}

static void scalars_are_typed_as_go_does(void **state)
{
        static const struct {
                const char *scalar, *json;
        } cases[] = {
                { "yes", "true" },
                { "No", "false" },
                { "on", "true" },
                { "OFF", "false" },
                { "y", "true" },
                { "N", "false" },
                { "true", "true" },
                { "FALSE", "false" },
                { "tRue", "\"tRue\"" },
                { "null", "null" },
                { "~", "null" },
                { "Null", "null" },
                { "", "null" },
                { "nULL", "\"nULL\"" },
                { "1", "1" },
                { "010", "8" },
                { "09", "9" },
                { "0x1F", "31" },
                { "-0x10", "-16" },
                { "0o17", "15" },
                { "0b11", "3" },
                { "0b2", "\"0b2\"" },
                { "0x", "\"0x\"" },
                { "+5", "5" },
                { "1_000", "1000" },
                { "-0", "0" },
                { "1.0", "1" },
                { "1.50", "1.5" },
                { "1e3", "1000" },
                { "1e21", "1e+21" },
                { "1e20", "1e+20" },
                { "1.", "1" },
                { ".5", "0.5" },
                { "-.5", "-0.5" },
                { "._5", "\"._5\"" },
                { "0.000001", "0.000001" },
                { "0.0000001", "1e-7" },
                { "123456789.123", "123456789.123" },
                { "5e-324", "5e-324" },
                { "1e400", "\"1e400\"" },
                { "18446744073709551615", "18446744073709551615" },
                { "-9223372036854775808", "-9223372036854775808" },
                { "18446744073709551616", "1.8446744073709552e+19" },
                { "1:20", "\"1:20\"" },
                { "1.2.3", "\"1.2.3\"" },
                { "1,000", "\"1,000\"" },
                { "v1", "\"v1\"" },
                { "2001-01-01", "\"2001-01-01\"" },
                { "2001-12-14t21:59:43.10-05:00", "\"2001-12-14t21:59:43.10-05:00\"" },
                { "-", "[null]" },
                { ".", "\".\"" },
                { "'yes'", "\"yes\"" },
                { "\"1\"", "\"1\"" },
                { "\"a\\u00e9\\n\"", "\"aé\\n\"" },
                { "!!str 12", "\"12\"" },
                { "!!int \"12\"", "12" },
                { "!!float 1", "1" },
                { "!!bool \"yes\"", "true" },
                { "!!null \"\"", "null" },
                { "!foo 12", "\"12\"" },
                { "!!binary aGkK", "\"hi\\n\"" },
                { "!!timestamp 2001-01-01", "\"2001-01-01\"" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                check(cases[i].scalar, 0, cases[i].json, NULL);
}

static void documents_become_trees(void **state)
{
        static const struct {
                const char *text, *json;
        } cases[] = {
                { "", "null" },
                { "# only a comment\n", "null" },
                { "---\n...\n", "null" },
                { "a: 1\nb:\n- x\n- w: [1, {z: }]\n", "{\"a\":1,\"b\":[\"x\",{\"w\":[1,{\"z\":null}]}]}" },
                { "a: |\n  one\n  two\nb: >-\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\"}" },
                { "{\"json\": [true, null, 1.5]}", "{\"json\":[true,null,1.5]}" },
                { "a: 1\n---\nb: 2\n", "{\"a\":1}" },
                { "1: a\nyes: b\n1.5: c\n0x10: d\n", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\",\"16\":\"d\"}" },
                { "a: 1\nb: 2\na: 3\n", "{\"a\":3,\"b\":2}" },
                { "%YAML 1.1\n---\na: 1\n", "{\"a\":1}" },
                { "a: &x [1, 2]\nb: *x\nc: &x 5\nd: *x\n", "{\"a\":[1,2],\"b\":[1,2],\"c\":5,\"d\":5}" },
                { "&k a: 1\n*k : 2\n", "{\"a\":2}" },
                { "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"q\":3,\"p\":1}}" },
                { "a: &x {p: 1, q: 2}\nb:\n  q: 3\n  <<: *x\n", "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"q\":3,\"p\":1}}" },
                { "- &x {p: 1}\n- &y {p: 2, q: 2}\n- <<: [*x, *y]\n- <<: [*y, *x]\n",
                  "[{\"p\":1},{\"p\":2,\"q\":2},{\"p\":1,\"q\":2},{\"p\":2,\"q\":2}]" },
                { "a:\n  <<: {p: 1}\n", "{\"a\":{\"p\":1}}" },
                { "a: {\"<<\": 1}\n", "{\"a\":{\"<<\":1}}" },
                { "\xef\xbb\xbf"
                  "a: 1\r\nb: 2\r\n",
                  "{\"a\":1,\"b\":2}" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                check(cases[i].text, 0, cases[i].json, NULL);
}

static void what_is_wrong_is_told_with_its_line(void **state)
{
        static const struct {
                const char *text;
                unsigned flags;
                const char *message;
        } cases[] = {
                { "a: 1\n b: 2\n", 0, "yaml: line 2: mapping values are not allowed in this context" },
                { "a: [1\n", 0, "yaml: line 2: did not find expected ',' or ']'" },
                { "a:\n\t- b\n", 0, "yaml: line 2: found character that cannot start any token" },
                { "a: \"x\n", 0, "yaml: line 2: found unexpected end of stream" },
                { "a: 1\na: 2\n", YAML_UNIQUE_KEYS, "yaml: line 2: key \"a\" already set in map" },
                { "x:\n  1: a\n  \"1\": b\n", YAML_UNIQUE_KEYS, "yaml: line 3: key \"1\" already set in map" },
                { "a: *x\n", 0, "yaml: line 1: unknown anchor 'x' referenced" },
                { "a: &x\n  b: *x\n", 0, "yaml: line 2: anchor 'x' value contains itself" },
                { "a: .inf\n", 0, "yaml: line 1: JSON has no value for `.inf`" },
                { "a:\n  b: .NaN\n", 0, "yaml: line 2: JSON has no value for `.NaN`" },
                { "a: !!int abc\n", 0, "yaml: line 1: cannot decode !!str `abc` as a !!int" },
                { "a: !!binary \"%\"\n", 0, "yaml: line 1: !!binary value contains invalid base64 data" },
                { "a: !!binary /w==\n", 0, "yaml: line 1: the text is not UTF-8" },
                { "~: 1\n", 0, "yaml: line 1: a key must be text, a number or a boolean" },
                { "? [a]\n: 1\n", 0, "yaml: line 1: a key must be text, a number or a boolean" },
                { "\"a\\0b\": 1\n", 0, "yaml: line 1: a key holds a NUL" },
                { "<<: 1\n", 0, "yaml: line 1: map merge requires map or sequence of maps as the value" },
                { "<<: [{}, 1]\n", 0, "yaml: line 1: map merge requires map or sequence of maps as the value" },
                { "a: \xff\n", 0, "yaml: line 1: invalid leading UTF-8 octet" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                check(cases[i].text, cases[i].flags, NULL, cases[i].message);
}

static void merged_members_are_no_duplicates(void **state)
{
        (void)state;
        check("a: &x {p: 1}\nb: {<<: *x, p: 2}\n", YAML_UNIQUE_KEYS, "{\"a\":{\"p\":1},\"b\":{\"p\":2}}", NULL);
}

static void readers_give_every_document(void **state)
{
        static const struct {
                const char *text, *documents[4];
        } cases[] = {
                { "", { NULL } },
                { "# nothing\n", { NULL } },
                { "a: 1\n---\n# empty\n---\nb: 2\n", { "{\"a\":1}", "null", "{\"b\":2}" } },
                { "---\na: &x 1\n---\nb: 2\n...\n---\n- c\n", { "{\"a\":1}", "{\"b\":2}", "[\"c\"]" } },
        };
        size_t i, j;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(yaml_close) struct yaml_reader *reader = yaml_open(view_of(cases[i].text), 0);
                cleanup(error_release) struct error error = ERROR_NULL;
                struct json *json = NULL;

                for (j = 0; cases[i].documents[j]; j++) {
                        char *text;

                        assert_int_equal(yaml_next(reader, &json, &error), 0);
                        text = json_text(json);
                        assert_string_equal(text, cases[i].documents[j]);
                        free(text);
                        json_free(&json);
                }
                assert_int_equal(yaml_next(reader, &json, &error), YAML_END);
                assert_int_equal(yaml_next(reader, &json, &error), YAML_END);
        }
}

static void a_failure_ends_the_reader(void **state)
{
        cleanup(yaml_close) struct yaml_reader *reader = yaml_open(VIEW("a: 1\n---\nb: *none\n---\nc: 3\n"), 0);
        cleanup(error_release) struct error error = ERROR_NULL;
        struct json *json = NULL;

        (void)state;
        assert_int_equal(yaml_next(reader, &json, &error), 0);
        json_free(&json);
        assert_int_equal(yaml_next(reader, &json, &error), -1);
        assert_int_equal(yaml_next(reader, &json, &error), YAML_END);
}

/* Anchors are of one document. */
static void anchors_end_with_their_document(void **state)
{
        cleanup(yaml_close) struct yaml_reader *reader = yaml_open(VIEW("a: &x 1\n---\nb: *x\n"), 0);
        cleanup(error_release) struct error error = ERROR_NULL;
        struct json *json = NULL;

        (void)state;
        assert_int_equal(yaml_next(reader, &json, &error), 0);
        json_free(&json);
        assert_int_equal(yaml_next(reader, &json, &error), -1);
        assert_string_equal(error_message(&error), "yaml: line 3: unknown anchor 'x' referenced");
}

static void expect_too_large(const char *text)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        struct json *json = NULL;

        assert_int_equal(yaml_parse(view_of(text), 0, &json, &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);
}

static void bombs_are_stopped(void **state)
{
        cleanup(buffer_release) struct buffer nodes = BUFFER_NULL, bytes = BUFFER_NULL, levels = BUFFER_NULL, nested = BUFFER_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        int i;

        (void)state;
        buffer_add_string(&nodes, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for (i = 1; i < 10; i++)
                buffer_printf(&nodes, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1,
                              i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        expect_too_large(buffer_string(&nodes));

        buffer_add_string(&bytes, "a: &a ");
        for (i = 0; i < 1000000; i++)
                buffer_add_char(&bytes, 'x');
        buffer_add_string(&bytes, "\nb: [");
        for (i = 0; i < 100; i++)
                buffer_add_string(&bytes, "*a,");
        buffer_add_string(&bytes, "]\n");
        expect_too_large(buffer_string(&bytes));

        /* Each alias is one level deeper than the anchor before. */
        buffer_add_string(&levels, "- &a0 []\n");
        for (i = 1; i <= JSON_DEPTH_LIMIT; i++)
                buffer_printf(&levels, "- &a%d [*a%d]\n", i, i - 1);
        expect_too_large(buffer_string(&levels));

        /* Each anchor holds all that is below it. */
        for (i = 0; i < 500; i++)
                buffer_printf(&nested, "&a%d [", i);
        for (i = 0; i < 10000; i++)
                buffer_add_string(&nested, "x,");
        for (i = 0; i < 500; i++)
                buffer_add_string(&nested, "]");
        expect_too_large(buffer_string(&nested));

        for (i = 0; i < 5000; i++)
                buffer_printf(&names, "- &a%d x\n", i);
        expect_too_large(buffer_string(&names));
}

static void *deepest_text(void *argument)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(json_free) struct json *json = NULL;
        bool *passed = argument;
        int i;

        for (i = 0; i < JSON_DEPTH_LIMIT; i++)
                buffer_add_string(&text, "- ");
        buffer_add_string(&text, "x\n");
        *passed = yaml_parse(buffer_view(&text), 0, &json, &error) == 0 && json_depth(json) == JSON_DEPTH_LIMIT;
        return NULL;
}

static void depth_is_limited(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        bool passed = false;
        pthread_attr_t attributes;
        pthread_t thread;
        int i;

        (void)state;
        for (i = 0; i < 10000; i++)
                buffer_add_string(&text, "- ");
        expect_too_large(buffer_string(&text));

        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
        assert_int_equal(pthread_create(&thread, &attributes, deepest_text, &passed), 0);
        pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
        assert_true(passed);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(scalars_are_typed_as_go_does),
                cmocka_unit_test(documents_become_trees),
                cmocka_unit_test(what_is_wrong_is_told_with_its_line),
                cmocka_unit_test(merged_members_are_no_duplicates),
                cmocka_unit_test(readers_give_every_document),
                cmocka_unit_test(a_failure_ends_the_reader),
                cmocka_unit_test(anchors_end_with_their_document),
                cmocka_unit_test(bombs_are_stopped),
                cmocka_unit_test(depth_is_limited),
        };

        return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
