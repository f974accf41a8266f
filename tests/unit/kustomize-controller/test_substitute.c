#include "../test.h"

#include "../../../kustomize-controller/substitute.h"
#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

static const struct variable set[] = {
        { { "_u", 2 }, { "x", 1 } },
        { { "dollar", 6 }, { "a$b", 3 } },
        { { "e", 1 }, { "", 0 } },
        { { "path", 4 }, { "/usr/local/bin", 14 } },
        { { "q", 1 }, { "\"", 1 } },
        { { "v", 1 }, { "Hello World", 11 } },
        { { "\xc3\xa9t\xc3\xa9", 5 }, { "\xc3\xa9t\xc3\xa9", 5 } },
};

static const struct {
        const char *text, *result, *strict_error; /* strict_error: NULL if strict evaluation gives the same */
} cases[] = {
        { "", "", NULL },
        { "plain $v $(v) \\ $", "plain $v $(v) \\ $", NULL },
        { "${v}", "Hello World", NULL },
        { "a${v}b${_u}c", "aHello Worldbxc", NULL },
        { "$${v}", "${v}", NULL },
        { "a$$b", "a$b", NULL },
        { "$$$${v}", "$${v}", NULL },
        { "$$${v}", "$Hello World", NULL },
        { "${unset}", "", "variable not set (strict mode): \"unset\"" },
        { "${1st}", "", "variable not set (strict mode): \"1st\"" },
        { "${#v}", "11", NULL },
        { "${#unset}", "0", "variable not set (strict mode): \"unset\"" },
        { "${v^}${v,}", "Hello Worldhello World", NULL },
        { "${v^^} ${v,,}", "HELLO WORLD hello world", NULL },
        { "${\xc3\xa9t\xc3\xa9^^}", "\xc3\x89T\xc3\x89", NULL },
        { "${\xc3\xa9t\xc3\xa9^}", "\xc3\x89t\xc3\xa9", NULL },
        { "${v,^}", "Hello World", NULL },
        { "${v:6}", "World", NULL },
        { "${v:0:5}", "Hello", NULL },
        { "${v:6:99}", "World", NULL },
        { "${v:99}", "", NULL },
        { "${v:99:1}", "", NULL },
        { "${v:x}", "Hello World", NULL },
        { "${v:0:x}", "Hello World", NULL },
        { "${v::5}", NULL, NULL },
        { "${v:${minus:--5}}", "World", NULL },
        { "${v:${minus:--99}:5}", "Hello", NULL },
        { "${v:-d}${e:-d}${unset:-d}", "Hello Worlddd", NULL },
        { "${e:=d}${e=d}${e:?d}${e:+d}", "dddd", NULL },
        { "${v:+d}", "Hello World", NULL },
        { "${unset:-}", "", NULL },
        { "${unset:-${e:-${v}}}", "Hello World", NULL },
        { "${unset:-a ${_u} b}", "a x b", NULL },
        { "${unset:-a$$b\\/}", "a$$b\\/", NULL },
        { "${v/l/L}", "HeLlo World", NULL },
        { "${v//l/L}", "HeLLo WorLd", NULL },
        { "${v//l/}", "Heo Word", NULL },
        { "${v/#Hello/Bye}", "Bye World", NULL },
        { "${v/#World/Bye}", "Hello World", NULL },
        { "${v/%World/All}", "Hello All", NULL },
        { "${v/%World/}", "Hello World", NULL },
        { "${path//\\//-}", "-usr-local-bin", NULL },
        { "${dollar/$$/S}", "aSb", NULL },
        { "${v/o/$$}", "Hell$ World", NULL },
        { "${path#*/}", "usr/local/bin", NULL },
        { "${path##*/}", "bin", NULL },
        { "${path%/*}", "/usr/local", NULL },
        { "${path%%/*}", "", NULL },
        { "${v#H?l}", "lo World", NULL },
        { "${v##[A-H]*[^a-z]}", "orld", NULL },
        { "${v#[}", "Hello World", NULL },
        { "${v#x}", "Hello World", NULL },
        { "${path##/usr\\/}", "local/bin", NULL },
        { "${q}${v}${q}", "\"Hello World\"", NULL },
        { "${unset/a/${_u}}", "", "variable not set (strict mode): \"unset\"" },
        { "${v/p} and/or}", "Hello World", NULL },
};

static const struct {
        const char *text, *message;
} mistakes[] = {
        { "${v", "missing closing brace" },
        { "${v-d}", "missing closing brace" },
        { "${v+d}", "missing closing brace" },
        { "${a-b}", "missing closing brace" },
        { "${}", "unable to parse variable name" },
        { "${ x}", "unable to parse variable name" },
        { "${", "unable to parse variable name" },
        { "${v/p}", "bad substitution" },
        { "${v,,x}", "bad substitution" },
        { "${#}", "bad substitution" },
        { "${v:", "bad substitution" },
        { "${v:1${_u}}", "bad substitution" },
        { "${v%}", "unable to parse substitution within function" },
        { "${v:}", "unable to parse substitution within function" },
        { "${v:-x", "unable to parse substitution within function" },
        { "${v::5}", "unable to parse substitution within function" },
        { "${v/a/", "unable to parse substitution within function" },
        { "${v:1:-1}", "the length of a substring is negative: -1" },
        /* a mistake is reported before a variable that is missing in front of it */
        { "${unset} ${", "unable to parse variable name" },
};

static int run(const char *text, bool strict, struct buffer *output, struct error *err)
{
        struct variables variables = { set, COUNT(set), strict };

        return substitute(&variables, view_of(text), output, err);
}

static void results(void **state)
{
        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                for (int strict = 0; strict < 2; strict++) {
                        cleanup(buffer_release) struct buffer output = BUFFER_NULL;
                        cleanup(error_release) struct error err = ERROR_NULL;
                        bool fails = !cases[i].result || (strict && cases[i].strict_error);

                        if (run(cases[i].text, strict, &output, &err) != (fails ? -1 : 0))
                                fail_msg("%s: %s", cases[i].text, error_message(&err));
                        if (!fails && strcmp(buffer_string(&output), cases[i].result) != 0)
                                fail_msg("%s: got %s, want %s", cases[i].text, buffer_string(&output), cases[i].result);
                        if (fails && cases[i].result)
                                assert_string_equal(error_message(&err), cases[i].strict_error);
                }
        }
}

static void messages(void **state)
{
        (void)state;
        for (size_t i = 0; i < COUNT(mistakes); i++) {
                cleanup(buffer_release) struct buffer output = BUFFER_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                if (run(mistakes[i].text, true, &output, &err) != -1)
                        fail_msg("%s: no error but %s", mistakes[i].text, buffer_string(&output));
                if (strcmp(error_message(&err), mistakes[i].message) != 0)
                        fail_msg("%s: got %s, want %s", mistakes[i].text, error_message(&err), mistakes[i].message);
        }
}

static void nesting_is_bounded(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL, output = BUFFER_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        for (int i = 0; i < 100000; i++)
                buffer_add_string(&text, "${e:-");
        assert_int_equal(run(buffer_string(&text), true, &output, &err), -1);
        assert_string_equal(error_message(&err), "substitutions are nested deeper than 64");
}

static void names(void **state)
{
        (void)state;
        assert_true(substitute_name_valid(VIEW("_a1")));
        assert_false(substitute_name_valid(VIEW("1a")));
        assert_false(substitute_name_valid(VIEW("a-b")));
        assert_false(substitute_name_valid(VIEW("")));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(results),
                cmocka_unit_test(messages),
                cmocka_unit_test(nesting_is_bounded),
                cmocka_unit_test(names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
