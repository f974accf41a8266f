/* Scalar typing and the emitter: acceptance checks 1 to 8 of the engine's specification. */
#include "kustomize_test.h"

#include <stdio.h>

struct data_case {
        const char *input;  /* the value of `data`, as written in a file */
        const char *output; /* what stands behind `data:`, or NULL for an error */
};

static void check(const struct data_case *c)
{
        cleanup(buffer_release) struct buffer resource = BUFFER_NULL;
        cleanup(buffer_release) struct buffer expected = BUFFER_NULL;
        struct build_case build = { .name = c->input,
                                    .files = { { "kustomization.yaml", "resources: [a.yaml]\n" }, { "a.yaml", NULL } } };

        buffer_printf(&resource, "kind: A\nmetadata: {name: a}\ndata:%s\n", c->input);
        build.files[1].text = buffer_string(&resource);
        if (c->output)
                buffer_printf(&expected, "data:%s\nkind: A\nmetadata:\n  name: a\n", c->output);
        build.expected = buffer_string(&expected);
        build.error = c->output ? NULL : "";
        run_case(&build);
}

static void scalars(void **state)
{
        static const struct data_case cases[] = {
                { " yes", " \"yes\"" },
                { " on", " \"on\"" },
                { " 1e3", " 1000" },
                { " 010", " 8" },
                { " 0o10", " 8" },
                { " 1.0", " 1" },
                { " 2001-01-01", " \"2001-01-01T00:00:00Z\"" },
                { " 2001-12-14t21:59:43.10-05:00", " \"2001-12-14T21:59:43.1-05:00\"" },
                { " 2001-13-01", " 2001-13-01" },
                { " \"0o10\"", " \"0o10\"" },
                { " 1_000", " 1000" },
                { " 09", " 9" },
                { " +5", " 5" },
                { " 0x1F", " 31" },
                { " 1:20", " \"1:20\"" },
                { " 1.2.3", " 1.2.3" },
                { " ~", " null" },
                { " ''", " \"\"" },
                { " 1234567.5", " 1.2345675e+06" },
                { " 123456.5", " 123456.5" },
                { " 0.00001234", " 1.234e-05" },
                { " 1e20", " 1e+20" },
                { " 1e19", " 10000000000000000000" },
                { " 18446744073709551615", " 18446744073709551615" },
                { " 18446744073709551616", " 1.8446744073709552e+19" },
                { " -0.0", " 0" },
                { " 1e400", " 1e400" },
                { " .inf", NULL },
                { " !!str 5", " \"5\"" },
                { " !!int abc", NULL },
                { " !custom 5", " \"5\"" },
                { " !!binary aGk=", " hi" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                check(&cases[i]);
}

static void strings(void **state)
{
        static const struct data_case cases[] = {
                { " \"a\\tb\\n\"", " \"a\\tb\\n\"" },
                { " \"a \\nb\"", " \"a \\nb\"" },
                { " \"a\\nb\\n\"", " |\n  a\n  b" },
                { " \"a\\nb\"", " |-\n  a\n  b" },
                { " \"a\\n\\nb\\n\\n\"", " |+\n  a\n\n  b\n" },
                { " \" a\\nb\"", " |2-\n   a\n  b" },
                { " \"\xf0\x9f\x98\x80\"", " \"\\U0001F600\"" },
                { " \xc3\xa9\xe4\xb8\xad", " \xc3\xa9\xe4\xb8\xad" },
                { " \"\\x7f\"", NULL },
                { " \"a\\u0085b\"", " a b" },
                { " \"- a\"", " '- a'" },
                { " \"it's: \"", " 'it''s: '" },
                { " \"a: b\"", " 'a: b'" },
                { " \"a #b\"", " 'a #b'" },
                { " \"a#b\"", " a#b" },
                { " \"@a\"", " '@a'" },
                { " \"190:20:30\"", " \"190:20:30\"" },
                { " \"null\"", " \"null\"" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                check(&cases[i]);
}

static void collections(void **state)
{
        static const struct data_case cases[] = {
                { " {}", " {}" },
                { " []", " []" },
                { " [[1, 2], [], {a: b}]", "\n- - 1\n  - 2\n- []\n- a: b" },
                { " {z10: 1, z9: 1, aB: 1, a_b: 1, a.b: 1, a-b: 1, a: 1, Z: 1, \"10\": 1, \"9\": 1, \"1\": 1, \"\": 1}",
                  "\n  \"\": 1\n  \"1\": 1\n  \"9\": 1\n  \"10\": 1\n  Z: 1\n  a: 1\n  a-b: 1\n  a.b: 1\n  a_b: 1\n  aB: 1\n  z9: "
                  "1\n  z10: 1" },
                { " {a: 1, a: 2}", NULL },
                { " {1: a}", NULL },
                { " {yes: a}", "\n  \"yes\": a" },
                { " {<<: {a: 1, b: 2}, a: 3}", "\n  a: 3\n  b: 2" },
                { " &x [1, *x]", NULL },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                check(&cases[i]);
}

/* A key of 128 bytes is a simple one, of 129 not. */
static void long_keys(void **state)
{
        char input[400], output[400], key[130];
        struct data_case c = { input, output };

        (void)state;
        memset(key, 'k', sizeof(key));
        key[129] = '\0';
        snprintf(input, sizeof(input), " {? %s : [1]}", key);
        snprintf(output, sizeof(output), "\n  ? %s\n  : - 1", key);
        check(&c);
        key[128] = '\0';
        snprintf(input, sizeof(input), " {%s: [1]}", key);
        snprintf(output, sizeof(output), "\n  %s:\n  - 1", key);
        check(&c);
}

static void annotations(void **state)
{
        static const struct build_case cases[] = {
                { .name = "values become texts",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" },
                             { "a.yaml", "kind: A\nmetadata:\n  name: a\n  labels: {x: 8080}\n  annotations: {port: 8080, n: null, "
                                         "d: 2001-01-01, f: 1.50}\n" } },
                  .expected = "kind: A\nmetadata:\n  annotations:\n    d: \"2001-01-01\"\n    f: \"1.50\"\n    \"n\": \"null\"\n   "
                              " port: \"8080\"\n"
                              "  labels:\n    x: 8080\n  name: a\n" },
                { .name = "empty ones vanish",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" },
                             { "a.yaml", "kind: A\nmetadata: {name: a, annotations: {}}\n" } },
                  .expected = "kind: A\nmetadata:\n  name: a\n" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                run_case(&cases[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(scalars),   cmocka_unit_test(strings),     cmocka_unit_test(collections),
                cmocka_unit_test(long_keys), cmocka_unit_test(annotations),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
