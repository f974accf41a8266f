#include "data/json.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include "../json_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void accepted_text_prints_the_same(void **state)
{
        static const struct {
                const char *text, *printed;
        } cases[] = {
                { "null", "null" },
                { " true ", "true" },
                { "false\n", "false" },
                { "0", "0" },
                { "-1", "-1" },
                { "12 ", "12" },
                { "9223372036854775807", "9223372036854775807" },
                { "-9223372036854775808", "-9223372036854775808" },
                { "18446744073709551615", "18446744073709551615" },
                { "1.0", "1.0" },
                { "1.50e3", "1.50e3" },
                { "-0.0", "-0.0" },
                { "1E-7", "1E-7" },
                { "\"\"", "\"\"" },
                { "\"a/b\\/c\"", "\"a/b/c\"" },
                { "\"\\u00e9\\ud83d\\ude00\"", "\"é😀\"" },
                { "\"é😀\"", "\"é😀\"" },
                { "{\"ä\":[\"\xc2\x80\"]}", "{\"ä\":[\"\xc2\x80\"]}" },
                { "\"\\ud800\"", "\"\xef\xbf\xbd\"" },
                { "\"a\\u0000b\"", "\"a\\u0000b\"" },
                { "\"<&>\"", "\"<&>\"" },
                { "[]", "[]" },
                { "[ 1 , null, [ ] ]", "[1,null,[]]" },
                { "{}", "{}" },
                { "{\"b\":1,\"a\":{\"x\":null}}", "{\"b\":1,\"a\":{\"x\":null}}" },
                { "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}" },
                { "{\"\":0}", "{\"\":0}" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *json = json_of(cases[i].text);
                cleanup(free_string) char *text = json_text(json);

                assert_non_null(json);
                assert_string_equal(text, cases[i].printed);
        }
}

static void refused_text_says_where(void **state)
{
        static const struct {
                const char *text, *message;
                enum error_kind kind;
        } cases[] = {
                { "", "invalid JSON at offset 0: nothing there" },
                { "  \n", "invalid JSON at offset 0: nothing there" },
                { "nul", "invalid JSON at offset 0: an unexpected character" },
                { "NaN", "invalid JSON at offset 0: an unexpected character" },
                { "Infinity", NULL },
                { "-Infinity", "invalid JSON at offset 0: not a number, or one that is out of range" },
                { "True", NULL },
                { "01", "invalid JSON at offset 0: not a number, or one that is out of range" },
                { "[-]", "invalid JSON at offset 1: not a number, or one that is out of range" },
                { "1.", NULL },
                { ".5", NULL },
                { "+1", NULL },
                { "1e", NULL },
                { "0x10", NULL },
                { "18446744073709551616", "invalid JSON at offset 0: not a number, or one that is out of range" },
                { "-9223372036854775809", "invalid JSON at offset 0: not a number, or one that is out of range" },
                { "1e400", "invalid JSON at offset 0: not a number, or one that is out of range" },
                { "[1, ]", "invalid JSON at offset 4: nothing after a comma" },
                { "[1,,2]", NULL },
                { "[1 2]", NULL },
                { "[,]", NULL },
                { "{\"a\":1,}", NULL },
                { "{a:1}", NULL },
                { "{'a':1}", NULL },
                { "{\"a\"}", NULL },
                { "{1:2}", NULL },
                { "[1", NULL },
                { "{\"a\":", NULL },
                { "[}", NULL },
                { "]", NULL },
                { "1 2", NULL },
                { "{} x", NULL },
                { "{}{}", NULL },
                { "[] // no", NULL },
                { "/* no */ []", NULL },
                { "\"a", "invalid JSON at offset 0: a string without an end" },
                { "\"a\\", "invalid JSON at offset 0: a string without an end" },
                { "\"a\nb\"", "invalid JSON at offset 2: a control character in a string" },
                { "\"\\x\"", NULL },
                { "\"\\u12g4\"", NULL },
                { "\"a\xff\"", "invalid JSON at offset 2: a string that is not UTF-8" },
                { "\"\xc0\x80\"", "invalid JSON at offset 1: a string that is not UTF-8" },
                { "\"\xed\xa0\x80\"", NULL },
                { "\xc3\xa9", "invalid JSON at offset 0: an unexpected character" },
                { "{\"a\\u0000b\" : 1}", "invalid JSON at offset 1: a name with a NUL" },
                { "\x0b[]", NULL },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct json *json = (struct json *)state;
                cleanup(error_release) struct error error = ERROR_NULL;

                if (json_parse(view_of(cases[i].text), &json, &error) != -1)
                        fail_msg("accepted: %s", cases[i].text);
                assert_int_equal(error.kind, ERROR_INVALID);
                assert_ptr_equal(json, state);
                if (cases[i].message)
                        assert_string_equal(error.message, cases[i].message);
        }
}

static void embedded_nul_is_no_end(void **state)
{
        struct json *json = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        assert_int_equal(json_parse((struct view){ "[]\0[]", 5 }, &json, &error), -1);
        assert_int_equal(json_parse((struct view){ "[1]]", 3 }, &json, &error), 0);
        json_free(&json);
}

static char *nested(unsigned levels, const char *inner)
{
        struct buffer text = BUFFER_NULL;
        unsigned i;

        for (i = 0; i < levels; i++)
                buffer_add_string(&text, i % 2 ? "{\"a\":" : "[");
        buffer_add_string(&text, inner);
        for (i = levels; i > 0; i--)
                buffer_add_string(&text, (i - 1) % 2 ? "}" : "]");
        return buffer_steal(&text);
}

static void *deepest_tree(void *argument)
{
        cleanup(free_string) char *text = nested(JSON_DEPTH_LIMIT, "1");
        cleanup(json_free) struct json *json = NULL, *copy = NULL;
        cleanup(buffer_release) struct buffer printed = BUFFER_NULL;
        struct error error = ERROR_NULL;
        bool *passed = argument;

        if (json_parse(view_of(text), &json, &error) != 0)
                return NULL;
        copy = json_copy(json);
        json_print(copy, &printed);
        *passed = json_equal(json, copy) && json_depth(copy) == JSON_DEPTH_LIMIT && view_is(buffer_view(&printed), text);
        return NULL;
}

static void depth_is_limited(void **state)
{
        cleanup(free_string) char *text = nested(JSON_DEPTH_LIMIT + 1, "");
        cleanup(error_release) struct error error = ERROR_NULL;
        struct json *json = NULL;
        bool passed = false;
        pthread_attr_t attributes;
        pthread_t thread;

        (void)state;
        assert_int_equal(json_parse(view_of(text), &json, &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);

        /* The deepest tree is handled on the smallest stack that a worker has. */
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
        assert_int_equal(pthread_create(&thread, &attributes, deepest_tree, &passed), 0);
        pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
        assert_true(passed);
}

static void bytes_are_limited(void **state)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        struct view huge = { "1", JSON_BYTES_LIMIT + 1 };
        struct json *json = NULL;

        (void)state;
        assert_int_equal(json_parse(huge, &json, &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);
}

static void absent_and_null_differ(void **state)
{
        cleanup(json_free) struct json *json = json_of("{\"n\":null,\"l\":[null],\"o\":{\"p\":{\"q\":7}}}");

        (void)state;
        assert_int_equal(json_type(json_get(json, "n")), JSON_NULL);
        assert_int_equal(json_type(json_get(json, "x")), JSON_ABSENT);
        assert_int_equal(json_type(json_at(json_get(json, "l"), 0)), JSON_NULL);
        assert_int_equal(json_type(json_at(json_get(json, "l"), 1)), JSON_ABSENT);
        assert_true(json_is_null(json_get(json, "n")) && json_is_null(json_get(json, "x")));
        assert_int_equal(json_integer(JSON_PATH(json, "o", "p", "q"), 0), 7);
        assert_null(JSON_PATH(json, "o", "x", "q"));
        assert_null(JSON_PATH(json, "n", "x"));
        assert_null(json_get(NULL, "x"));
        assert_null(json_at(json, 0));
        assert_int_equal(json_length(NULL), 0);
}

static void readers_fall_back(void **state)
{
        cleanup(json_free) struct json *json =
                json_of("{\"s\":\"a\\u0000b\",\"i\":-3,\"u\":18446744073709551615,\"f\":2.5,\"b\":true}");

        (void)state;
        assert_true(view_equal(json_view(json_get(json, "s")), (struct view){ "a\0b", 3 }));
        assert_string_equal(json_string(json_get(json, "i"), "none"), "none");
        assert_null(json_string(NULL, NULL));
        assert_int_equal(json_view(json_get(json, "i")).length, 0);
        assert_int_equal(json_integer(json_get(json, "i"), 9), -3);
        assert_int_equal(json_integer(json_get(json, "u"), 9), 9);
        assert_int_equal(json_integer(json_get(json, "f"), 9), 9);
        assert_true(json_number(json_get(json, "f"), 0) == 2.5);
        assert_true(json_number(json_get(json, "i"), 0) == -3.0);
        assert_true(json_number(json_get(json, "s"), 1.5) == 1.5);
        assert_true(json_bool(json_get(json, "b"), false));
        assert_true(json_bool(json_get(json, "s"), true));
}

static void writers_take_ownership(void **state)
{
        cleanup(json_free) struct json *json = json_new_object();
        struct json *list, *taken;
        char *text;

        (void)state;
        json_set_string(json, "a", "1");
        json_set_integer(json_object_at(json, "o"), "i", 2);
        json_set_bool(json_object_at(json, "o"), "b", true);
        list = json_array_at(json, "l");
        json_append(list, json_new_string("y"));
        json_insert(list, 0, json_new_string("x"));
        json_insert(list, 2, json_new_null());
        json_insert(list, 1, NULL);
        json_put(list, 0, json_new_printf("%d-%s", 7, "z"));
        json_append(json_array_at(json, "l"), json_new_unsigned(UINT64_MAX));
        json_set(json, "a", NULL);
        json_set_string(json, "gone", "x");
        json_set_string(json, "gone", NULL);
        text = json_text(json);
        assert_string_equal(text, "{\"a\":null,\"o\":{\"i\":2,\"b\":true},\"l\":[\"7-z\",null,\"y\",null,18446744073709551615]}");
        free(text);

        taken = json_take(json, "o");
        assert_int_equal(json_integer(json_get(taken, "i"), 0), 2);
        json_free(&taken);
        taken = json_take_at(list, 2);
        assert_string_equal(json_string(taken, ""), "y");
        json_free(&taken);
        assert_null(json_take(json, "o"));
        assert_true(json_remove(json, "a"));
        assert_false(json_remove(json, "a"));
        assert_true(json_remove_at(list, 0));
        assert_false(json_remove_at(list, 9));
        text = json_text(json);
        assert_string_equal(text, "{\"l\":[null,null,18446744073709551615]}");
        free(text);
}

static void equality_is_by_value(void **state)
{
        static const struct {
                const char *a, *b;
                bool equal;
        } cases[] = {
                { "1", "1.0", true },
                { "1", "1e0", true },
                { "10", "1E1", true },
                { "0", "-0.0", true },
                { "9007199254740993", "9007199254740992.0", false },
                { "18446744073709551615", "18446744073709551615", true },
                { "18446744073709551615", "9223372036854775807", false },
                { "18446744073709551615", "-1", false },
                { "1", "\"1\"", false },
                { "1", "true", false },
                { "null", "false", false },
                { "{}", "[]", false },
                { "{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}", true },
                { "{\"a\":null}", "{}", false },
                { "{\"a\":null}", "{\"b\":null}", false },
                { "[1,2]", "[2,1]", false },
                { "\"a\"", "\"a\\u0000\"", false },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *a = json_of(cases[i].a), *b = json_of(cases[i].b);

                if (json_equal(a, b) != cases[i].equal || json_equal(b, a) != cases[i].equal)
                        fail_msg("%s and %s", cases[i].a, cases[i].b);
        }
        assert_true(json_equal(NULL, NULL));
        assert_false(json_equal(NULL, json_new_null()));
}

static void print_honours_the_buffers_limit(void **state)
{
        cleanup(json_free) struct json *json = json_of("[1,2,3,4,5,6,7,8,9]");
        cleanup(buffer_release) struct buffer buffer = BUFFER_LIMIT(8);

        (void)state;
        json_print(json, &buffer);
        assert_true(buffer.full);
}

static void copies_share_nothing(void **state)
{
        cleanup(json_free) struct json *json = json_of("{\"f\":1.50,\"l\":[\"a\\u0000b\",null]}");
        struct json *copy = json_copy(json);
        char *text;

        (void)state;
        json_set_string(json, "f", "changed");
        json_remove_at(json_get(json, "l"), 0);
        text = json_text(copy);
        assert_string_equal(text, "{\"f\":1.50,\"l\":[\"a\\u0000b\",null]}");
        free(text);
        json_free(&copy);
        assert_null(json_copy(NULL));
        assert_int_equal(json_type(json_copy(json_new_null())), JSON_NULL);
}

static void numbers_from_text(void **state)
{
        static const struct {
                const char *text;
                enum json_type type;
        } cases[] = {
                { "7", JSON_INTEGER }, { "-7", JSON_INTEGER },   { "18446744073709551615", JSON_INTEGER },
                { "7.0", JSON_FLOAT }, { "1e3", JSON_FLOAT },    { "18446744073709551616", JSON_ABSENT },
                { "x", JSON_ABSENT },  { "", JSON_ABSENT },      { "1 ", JSON_ABSENT },
                { "-", JSON_ABSENT },  { "1e999", JSON_ABSENT },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(json_free) struct json *json = json_new_number(view_of(cases[i].text));

                assert_int_equal(json_type(json), cases[i].type);
                if (json) {
                        cleanup(free_string) char *text = json_text(json);

                        assert_string_equal(text, cases[i].text);
                }
        }
}

static void secrets_are_overwritten_where_they_are(void **state)
{
        cleanup(json_free) struct json *json =
                json_of("{\"data\":{\"password\":\"short\",\"long\":\"0123456789012345678901234567890123456789\"},"
                        "\"list\":[\"one\",{\"two\":\"2\"}],\"n\":1,\"no\":null}");
        struct view inside = json_view(JSON_PATH(json, "data", "long"));
        cleanup(free_string) char *text = NULL;

        (void)state;
        json_blank(json);
        for (size_t i = 0; i < inside.length; i++)
                assert_int_equal(inside.data[i], 0);
        text = json_text(json);
        assert_null(strstr(text, "short"));
        assert_null(strstr(text, "one"));
        assert_null(strstr(text, "\"2\""));
        assert_non_null(strstr(text, "\"n\":1,\"no\":null"));
        json_blank(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(accepted_text_prints_the_same),
                cmocka_unit_test(refused_text_says_where),
                cmocka_unit_test(embedded_nul_is_no_end),
                cmocka_unit_test(depth_is_limited),
                cmocka_unit_test(bytes_are_limited),
                cmocka_unit_test(absent_and_null_differ),
                cmocka_unit_test(readers_fall_back),
                cmocka_unit_test(writers_take_ownership),
                cmocka_unit_test(equality_is_by_value),
                cmocka_unit_test(print_honours_the_buffers_limit),
                cmocka_unit_test(copies_share_nothing),
                cmocka_unit_test(numbers_from_text),
                cmocka_unit_test(secrets_are_overwritten_where_they_are),
        };

        return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
