#include "data/selector.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Labels are "key=value" texts here; NULL ends them. */
static bool label_of(const void *labels, const char *key, struct view *ret_value)
{
        const char *const *label = labels;
        size_t length = strlen(key);

        for (; label && *label; label++) {
                if (strncmp(*label, key, length) == 0 && (*label)[length] == '=') {
                        *ret_value = view_of(*label + length + 1);
                        return true;
                }
        }
        return false;
}

static void selectors_match(void **state)
{
        static const char *const labels[] = { "app=web", "tier=front", "size=5", "example.com/key=", "in=notin", NULL };
        static const struct {
                const char *selector;
                bool match, match_nothing; /* on the labels above; on none */
        } cases[] = {
                { "", true, true },
                { "  ", true, true },
                { "app", true, false },
                { "!app", false, true },
                { "! app", false, true },
                { "app=web", true, false },
                { "app==web", true, false },
                { " app = web , tier=front ", true, false },
                { "app=web,tier=back", false, false },
                { "app=", false, false },
                { "example.com/key=", true, false },
                { "example.com/key", true, false },
                { "app!=web", false, true },
                { "app!=db", true, true },
                { "app in (web)", true, false },
                { "app in (db, web)", true, false },
                { "app in (db,,x)", false, false },
                { "example.com/key in (a,)", true, false },
                { "example.com/key in ()", true, false },
                { "app notin (db,web)", false, true },
                { "app notin (db)", true, true },
                { "app in (web),!none,tier notin (back)", true, false },
                { "size>4", true, false },
                { "size > 5", false, false },
                { "size<6", true, false },
                { "app>1", false, false },
                { "in in (notin)", true, false },
                { "in=notin", true, false },
                { "reconcile.fluxcd.io/watch=Enabled", false, false },
        };
        struct error error = ERROR_NULL;
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(selector_free) struct selector *selector = NULL;

                if (selector_parse(view_of(cases[i].selector), &selector, &error) < 0)
                        fail_msg("%s: %s", cases[i].selector, error_message(&error));
                if (selector_matches(selector, label_of, labels) != cases[i].match ||
                    selector_matches(selector, label_of, NULL) != cases[i].match_nothing)
                        fail_msg("%s", cases[i].selector);
        }
}

static void bad_selectors_are_refused(void **state)
{
        static const struct {
                const char *selector, *message;
        } cases[] = {
                { "=a", "found '=', expected: !, identifier, or 'end of string'" },
                { ",a", "found ',', expected: !, identifier, or 'end of string'" },
                { "a,", "found '', expected: identifier after ','" },
                { "a,,b", "found ',', expected: identifier after ','" },
                { "a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt" },
                { "a=b c", "found 'c', expected: ',' or 'end of string'" },
                { "!a=b", "found '=', expected: ',' or 'end of string'" },
                { "!", "unable to parse requirement: found '', expected: identifier" },
                { "a=(b)", "unable to parse requirement: found '(', expected: identifier" },
                { "a in b", "unable to parse requirement: found 'b' expected: '('" },
                { "a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier" },
                { "a in (b,", "unable to parse requirement: found '', expected: ',', or identifier" },
                { "a in (b", "unable to parse requirement: found '', expected: ',' or ')'" },
                { "a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'" },
                { "a>b", "unable to parse requirement: values[0][a]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value "
                         "must be an integer" },
                { "-a", "unable to parse requirement: key: Invalid value: \"-a\": not a qualified name (as in 'MyName' or "
                        "'example.com/MyName')" },
                { "A.com/b",
                  "unable to parse requirement: key: Invalid value: \"A.com/b\": not a qualified name (as in 'MyName' or "
                  "'example.com/MyName')" },
                { "a./b", "unable to parse requirement: key: Invalid value: \"a./b\": not a qualified name (as in 'MyName' or "
                          "'example.com/MyName')" },
                { "a=b/c", "unable to parse requirement: values[0][a]: Invalid value: \"b/c\": not a label value (as in 'MyValue' "
                           "or '12345')" },
                { "a in (b,-)",
                  "unable to parse requirement: values[1][a]: Invalid value: \"-\": not a label value (as in 'MyValue' or "
                  "'12345')" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct selector *selector = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                assert_int_equal(selector_parse(view_of(cases[i].selector), &selector, &error), -1);
                assert_null(selector);
                assert_string_equal(error_message(&error), cases[i].message);
        }
}

static void names_have_limits(void **state)
{
        char text[320];
        size_t length;

        (void)state;
        for (length = 63; length <= 64; length++) {
                cleanup(selector_free) struct selector *selector = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                memset(text, 'a', length);
                text[length] = '\0';
                assert_int_equal(selector_parse(view_of(text), &selector, &error), length == 63 ? 0 : -1);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(selectors_match),
                cmocka_unit_test(bad_selectors_are_refused),
                cmocka_unit_test(names_have_limits),
        };

        return cmocka_run_group_tests_name("selector", tests, NULL, NULL);
}
