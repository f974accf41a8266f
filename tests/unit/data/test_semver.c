#include "data/semver.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void versions_are_read_loosely(void **state)
{
        static const struct {
                const char *text;
                uint64_t major, minor, patch;
                const char *pre, *metadata, *message;
        } cases[] = {
                { "1.2.3", 1, 2, 3, "", "", NULL },
                { "v1.2.3", 1, 2, 3, "", "", NULL },
                { "1.0", 1, 0, 0, "", "", NULL },
                { "v1", 1, 0, 0, "", "", NULL },
                { "1.2-5", 1, 2, 0, "5", "", NULL },
                { "v1.2-beta.5", 1, 2, 0, "beta.5", "", NULL },
                { "1.2.3-alpha.-1", 1, 2, 3, "alpha.-1", "", NULL },
                { "1.2.3+test.01", 1, 2, 3, "", "test.01", NULL },
                { "1.2.3-rc.1+b.2", 1, 2, 3, "rc.1", "b.2", NULL },
                { "2025.02.03", 2025, 2, 3, "", "", NULL },
                { "18446744073709551615.0.0", UINT64_MAX, 0, 0, "", "", NULL },
                { "20221209-update-renovatejson-v4", 20221209, 0, 0, "update-renovatejson-v4", "", NULL },
                { "18446744073709551616.0.0", 0, 0, 0, "", "",
                  "error parsing version segment: \"18446744073709551616\": value out of range" },
                { "1.2.3-01", 0, 0, 0, "", "", "version segment starts with 0" },
                { "1.2.3-alpha.01", 0, 0, 0, "", "", "version segment starts with 0" },
                { "", 0, 0, 0, "", "", "invalid semantic version" },
                { "V1.2.3", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.beta", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3.4", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3-", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3+", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3-a..b", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3-a.", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3-a_b", 0, 0, 0, "", "", "invalid semantic version" },
                { "1.2.3 ", 0, 0, 0, "", "", "invalid semantic version" },
                { "1..3", 0, 0, 0, "", "", "invalid semantic version" },
                { "foo", 0, 0, 0, "", "", "invalid semantic version" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(error_release) struct error error = ERROR_NULL;
                struct semver version = { 0 };
                int r = semver_parse(view_of(cases[i].text), &version, &error);

                if (r != (cases[i].message ? -1 : 0) || strcmp(error_message(&error), cases[i].message ? cases[i].message : ""))
                        fail_msg("%s: %s", cases[i].text, error_message(&error));
                assert_int_equal(version.major, cases[i].major);
                assert_int_equal(version.minor, cases[i].minor);
                assert_int_equal(version.patch, cases[i].patch);
                assert_true(view_is(version.pre, cases[i].pre));
                assert_true(view_is(version.metadata, cases[i].metadata));
                if (r == 0)
                        assert_true(view_is(version.original, cases[i].text));
        }
}

static void tags_need_two_dots(void **state)
{
        static const struct {
                const char *text;
                bool valid;
        } cases[] = {
                { "1.2.3", true }, { "1.2", false }, { "v1", false }, { "1.0.0.1", false }, { "1-a.b.c", true }, { "1.2-a", false },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(error_release) struct error error = ERROR_NULL;
                struct semver version;

                assert_int_equal(semver_parse_tag(view_of(cases[i].text), &version, &error), cases[i].valid ? 0 : -1);
        }
}

/* Each is lower than the next one; equal ones share a line. */
static void order_is_total(void **state)
{
        static const char *const ordered[][3] = {
                { "0.0.0-0" },
                { "0.0.0" },
                { "0.0.1" },
                { "0.9" },
                { "1.0.0-0" },
                { "1.0.0-1" },
                { "1.0.0-10" },
                { "1.0.0-18446744073709551616" },
                { "1.0.0-alpha" },
                { "1.0.0-alpha.1" },
                { "1.0.0-alpha.beta" },
                { "1.0.0-beta" },
                { "1.0.0-beta.2" },
                { "1.0.0-beta.11" },
                { "1.0.0-rc.1" },
                { "1.0.0-rc10" },
                { "1.0.0-rc9" },
                { "1.0.0", "v1.0.0+b", "1" },
                { "1.0.1-0" },
                { "1.2", "v1.2.0" },
                { "1.10.0" },
                { "2.0.0-a" },
                { "10.0.0" },
        };
        const size_t count = sizeof(ordered) / sizeof(*ordered);
        struct error error = ERROR_NULL;
        struct semver a, b;
        size_t i, j, k, l;

        (void)state;
        for (i = 0; i < count; i++)
                for (k = 0; k < 3 && ordered[i][k]; k++)
                        for (j = 0; j < count; j++)
                                for (l = 0; l < 3 && ordered[j][l]; l++) {
                                        int order;

                                        assert_int_equal(semver_parse(view_of(ordered[i][k]), &a, &error), 0);
                                        assert_int_equal(semver_parse(view_of(ordered[j][l]), &b, &error), 0);
                                        order = semver_compare(&a, &b);
                                        if ((order > 0) - (order < 0) != (i > j) - (i < j))
                                                fail_msg("%s and %s: %d", ordered[i][k], ordered[j][l], order);
                                }
}

static void ranges(void **state)
{
        static const struct {
                const char *range, *version;
                bool match;
        } cases[] = {
                { "=2.0.0", "1.2.3", false },
                { "=2.0.0", "2.0.0", true },
                { "=2.0", "1.2.3", false },
                { "=2.0", "2.0.0", true },
                { "=2.0", "2.0.1", true },
                { "4.1", "4.1.0", true },
                { "2", "1.0.0", false },
                { "2", "3.4.5", false },
                { "2", "2.1.1", true },
                { "2.1", "2.1.1", true },
                { "2.1", "2.2.1", false },
                { "v1.2.3", "1.2.3", true },
                { "!=4.1.0", "4.1.0", false },
                { "!=4.1.0", "4.1.1", true },
                { "!=4.1", "4.1.0", false },
                { "!=4.1", "4.1.1", false },
                { "!=4.1", "5.1.0-alpha.1", false },
                { "!=4.1-alpha", "4.1.0", true },
                { "!=4", "4.1.1", false },
                { "!=4", "5.0.0", true },
                { "!=4.x", "4.9.9", false },
                { ">1.1", "4.1.0", true },
                { ">1.1", "1.1.0", false },
                { ">0", "0", false },
                { ">0", "1", true },
                { ">0", "0.0.1-alpha", false },
                { ">0.0", "0.0.1-alpha", false },
                { ">0-0", "0.0.1-alpha", false },
                { ">0.0-0", "0.0.1-alpha", false },
                { ">0.0.0-0", "0.0.0-alpha", true },
                { ">1.2.3-alpha.1", "1.2.3-alpha.2", true },
                { ">1.2.3-alpha.1", "1.3.3-alpha.2", true },
                { ">11", "11.1.0", false },
                { ">11.1", "11.1.1", false },
                { ">11.1", "11.2.0", true },
                { ">11", "12.0.0", true },
                { "<1.1", "0.1.0", true },
                { "<1.1", "1.1.0", false },
                { "<1.1", "1.1.1", false },
                { "<0-0", "0.0.0-alpha", false },
                { "<1.0.0-1", "0.9.0", true },
                { ">=1.1", "4.1.0", true },
                { ">=1.1", "1.1.0", true },
                { ">=1.1", "0.0.9", false },
                { "=>1.1", "1.1.0", true },
                { "=<11", "11.9.9", true },
                { "<=1.1", "0.1.0", true },
                { "<=1.1", "1.1.0", true },
                { "<=1.1", "1.1.1", true },
                { "<=1.1", "1.2.0", false },
                { "<=11", "11.1.0", true },
                { "<=11", "12.0.0", false },
                { "<=1.2", "1.2.9", true },
                { "<=1.2", "1.3.0", false },
                { "<v0.2.1", "0.2.0", true },
                { "<v0.2.1", "0.2.1", false },
                { "*", "1.0.0", true },
                { "*", "4.5.6", true },
                { "*", "1.2.3-alpha.1", false },
                { "*-0", "1.2.3-alpha.1", true },
                { "x", "0.0.0", true },
                { "1.x", "1.4.0", true },
                { "1.x", "2.0.0", false },
                { "1.0.x", "1.0.1", true },
                { "1.0.x", "1.2.0", false },
                { "1.*.9", "1.3.1", true },
                { "~*", "2.1.1", true },
                { "~1", "1.2.3", true },
                { "~1", "1.9.0", true },
                { "~1", "2.0.0", false },
                { "~1.2", "1.2.9", true },
                { "~1.2", "1.3.0", false },
                { "~>1.2", "1.2.1", true },
                { "~1.2.3", "1.2.5", true },
                { "~1.2.3", "1.2.2", false },
                { "~1.2.3", "1.3.2", false },
                { "~1.1", "1.1.1-alpha", false },
                { "~1.1-alpha", "1.1.1-beta", true },
                { "~1.1.1-beta", "1.1.1-alpha", false },
                { "~0.0.0", "9.9.9", true },
                { "^*", "1.2.3", false },
                { "^1.2.3", "1.9.0", true },
                { "^1.2.3", "1.2.2", false },
                { "^1.2.3", "2.0.0", false },
                { "^1.2", "1.8.9", true },
                { "^1.2", "1.1.9", false },
                { "^1", "1.0.0", true },
                { "^1", "2.0.0", false },
                { "^0.2.3", "0.2.9", true },
                { "^0.2.3", "0.3.0", false },
                { "^0.2", "0.2.0", true },
                { "^0.2", "0.3.0", false },
                { "^0.0.3", "0.0.3", true },
                { "^0.0.3", "0.0.4", false },
                { "^0.0", "0.0.9", true },
                { "^0.0", "0.1.0", false },
                { "^0", "0.9.9", true },
                { "^0", "1.0.0", false },
                { "^0.2.3-beta.2", "0.2.3-beta.4", true },
                { "^0.2.3-beta.2", "0.2.4-beta.2", true },
                { "^0.2.3-beta.2", "0.3.0-beta.2", false },
                { "1.2 - 1.4.5", "1.4.5", true },
                { "1.2 - 1.4.5", "1.4.6", false },
                { "1.2 - 1.4.5", "1.2.0", true },
                { "1.1 - 2", "2.9.9", true },
                { "1.1 - 2", "3.0.0", false },
                { "1.1-3", "4.3.2", false },
                { ">1.1, <2", "1.1.1", false },
                { ">1.1, <2", "1.2.1", true },
                { ">=1.1 <2 !=1.2.3", "1.2.3", false },
                { ">1.1 <3 || >4", "4.3.2", false },
                { ">1.1 <3 || >4", "5.0.0", true },
                { "^1 || ^3", "3.1.0", true },
                { "1.1 - 2 || 3", "3.0.5", true },
                { ">=1.0.0-0 <1.1.0-0", "1.1.0-rc.1", false },
                { ">=1.0.0-0 <1.1.0-0", "1.0.5-rc.1", true },
                { ">=1.0.0-0", "1.1.0-rc.1", true },
                { ">=1.0.0", "1.1.0-rc.1", false },
                { ">=1.0.0-0 || >2", "3.0.0-rc.1", true },
                { ">=9.0.0-0 || >2", "3.0.0-rc.1", false },
                { ">= 1.0", "1.0.0", true },
                { "  1.0.0  ", "1.0.0", true },
                { "=1.0.0+a", "1.0.0+b", true },
                { ">=1.19", "v1.27.3-gke.1", false },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(semver_range_free) struct semver_range *range = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                struct semver version;

                assert_int_equal(semver_range_parse(view_of(cases[i].range), &range, &error), 0);
                assert_int_equal(semver_parse(view_of(cases[i].version), &version, &error), 0);
                if (semver_range_contains(range, &version) != cases[i].match)
                        fail_msg("%s on %s", cases[i].range, cases[i].version);
        }
}

static void bad_ranges_are_named(void **state)
{
        static const struct {
                const char *range, *message;
        } cases[] = {
                { "", "improper constraint: \"\"" },
                { "foo", "improper constraint: \"foo\"" },
                { ">= bar", "improper constraint: \">= bar\"" },
                { "1.0.0p", "improper constraint: \"1.0.0p\"" },
                { "BAR >= 1.2.3", "improper constraint: \"BAR >= 1.2.3\"" },
                { ">1.0<2.0", "improper constraint: \">1.0<2.0\"" },
                { "1.0,", "improper constraint: \"1.0,\"" },
                { "1.0 ||", "improper constraint: \"\"" },
                { "== 1.0", "improper constraint: \"== 1.0\"" },
                { "1.0.0 - 2.0.0 - 3", "improper constraint: \">= 1.0.0, <= 2.0.0 - 3\"" },
                { "1.2.3.4", "improper constraint: \"1.2.3.4\"" },
                { "~>1.2.3-\"", "improper constraint: \"~>1.2.3-\\\"\"" },
                { "1.1x", "constraint parser error" },
                { "1|2", "constraint parser error" },
                { "1.2.3-01", "constraint parser error" },
                { "18446744073709551616", "constraint parser error" },
                { "1x nonsense", "improper constraint: \"1x nonsense\"" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct semver_range *range = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                assert_int_equal(semver_range_parse(view_of(cases[i].range), &range, &error), -1);
                assert_null(range);
                assert_string_equal(error_message(&error), cases[i].message);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(versions_are_read_loosely),
                cmocka_unit_test(tags_need_two_dots),
                cmocka_unit_test(order_is_total),
                cmocka_unit_test(ranges),
                cmocka_unit_test(bad_ranges_are_named),
        };

        return cmocka_run_group_tests_name("semver", tests, NULL, NULL);
}
