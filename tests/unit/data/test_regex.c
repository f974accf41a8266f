#include "data/regex.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct regex *compiled(const char *pattern, unsigned flags)
{
        struct regex *regex = NULL;
        struct error error = ERROR_NULL;

        if (regex_compile(view_of(pattern), flags, &regex, &error) != 0)
                fail_msg("%s: %s", pattern, error_message(&error));
        return regex;
}

static void matches_as_go_does(void **state)
{
        static const struct {
                const char *pattern, *text, *found; /* NULL: no match */
        } cases[] = {
                { "", "abc", "" },
                { "b", "abc", "b" },
                { "a|ab", "abc", "a" },
                { "a+?", "aaa", "a" },
                { "a{2,3}", "aaaa", "aaa" },
                { "a{,3}", "a{,3}", "a{,3}" },
                { "a{2", "a{2", "a{2" },
                { "a{02}", "a{02}", "a{02}" },
                { "x*", "b", "" },
                { "^abc$", "abc", "abc" },
                { "^abc$", "abc\n", NULL },
                { "(?m)^b$", "a\nb\nc", "b" },
                { "a.c", "a\nc", NULL },
                { "a.c", "a\rc", "a\rc" },
                { "(?s)a.c", "a\nc", "a\nc" },
                { "(?i)ABC", "xabc", "abc" },
                { "(?i:a)b", "AB", NULL },
                { "(?U)a+", "aaa", "a" },
                { "\\s", "\v", NULL },
                { "\\s", "\t", "\t" },
                { "\\S", "\v", "\v" },
                { "[\\s-a]+", "- a", "- a" },
                { "[\\s-a]", "B", NULL },
                { "\\v", "\v", "\v" },
                { "[\\v]", "\v", "\v" },
                { "\\d+", "x٣12", "12" },
                { "\\w", "é", NULL },
                { "\\pL+", "1é2", "é" },
                { "\\p{Greek}", "aλ", "λ" },
                { "[[:alpha:]]+", "1ab2", "ab" },
                { "[[:^alpha:]x]+", "a1x", "1x" },
                { "[]a]+", "x]a", "]a" },
                { "[^]a]", "]ab", "b" },
                { "[[]", "[", "[" },
                { "[a[b]", "[", "[" },
                { "\\101", "A", "A" },
                { "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\\12", "abcdefghij\n", "abcdefghij\n" },
                { "\\x41\\x{42}", "AB", "AB" },
                { "\\Qa.b*\\E+", "a.b**", "a.b**" },
                { "\\Q(", "(", "(" },
                { "\\_\\.\\-", "_.-", "_.-" },
                { "a]b}", "a]b}", "a]b}" },
                { "(?P<x>a)(?<y>b)", "ab", "ab" },
                { "\\bfoo\\b", "a foo b", "foo" },
                { "\\Aa\\z", "a", "a" },
                { "a^*b\\b?", "ab", "ab" },
                { "é", "caf\xc3\xa9", "é" },
                { "a",
                  "\xff"
                  "a",
                  "a" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(regex_free) struct regex *regex = compiled(cases[i].pattern, 0);
                cleanup(error_release) struct error error = ERROR_NULL;
                struct view found = VIEW_NULL;
                int r = regex_find(regex, view_of(cases[i].text), 0, &found, 1, &error);

                if (r != (cases[i].found ? 0 : REGEX_NO_MATCH) || (cases[i].found && !view_is(found, cases[i].found)))
                        fail_msg("%s on %s: %d %.*s", cases[i].pattern, cases[i].text, r, VIEW_ARGS(found));
        }
}

static void anchored_is_the_whole_text(void **state)
{
        static const struct {
                const char *pattern, *text;
                bool match;
        } cases[] = {
                { "a|b", "b", true },   { "a|b", "ab", false },
                { "a.*", "abc", true }, { "a", "a\n", false },
                { "", "", true },       { "", "a", false },
                { "^a$", "a", true },   { "(?m)a$", "a\nb", false },
                { "(?i)A", "a", true }, { "Deployment", "Deployments", false },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(regex_free) struct regex *regex = compiled(cases[i].pattern, REGEX_ANCHORED);
                cleanup(error_release) struct error error = ERROR_NULL;

                if (regex_match(regex, view_of(cases[i].text), &error) != (cases[i].match ? 0 : REGEX_NO_MATCH))
                        fail_msg("%s on %s", cases[i].pattern, cases[i].text);
        }
}

static void what_re2_lacks_is_refused_in_its_words(void **state)
{
        static const struct {
                const char *pattern, *message;
        } cases[] = {
                { "(?=a)", "invalid or unsupported Perl syntax: `(?=`" },
                { "(?!a)", "invalid or unsupported Perl syntax: `(?!`" },
                { "(?<=a)", "invalid or unsupported Perl syntax: `(?<`" },
                { "(?<!a)", "invalid or unsupported Perl syntax: `(?<`" },
                { "(?>a)", "invalid or unsupported Perl syntax: `(?>`" },
                { "(?#a)", "invalid or unsupported Perl syntax: `(?#`" },
                { "(?R)", "invalid or unsupported Perl syntax: `(?R`" },
                { "(?1)", "invalid or unsupported Perl syntax: `(?1`" },
                { "(?(1)a)", "invalid or unsupported Perl syntax: `(?(`" },
                { "(?x)a", "invalid or unsupported Perl syntax: `(?x`" },
                { "(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`" },
                { "(?P=n)", "invalid or unsupported Perl syntax: `(?P`" },
                { "(?i", "missing closing ): `(?i`" },
                { "(?P<n", "invalid named capture: `(?P<n`" },
                { "(?P<n-1>a)", "invalid named capture: `(?P<n-1>`" },
                { "(a)\\1", "invalid escape sequence: `\\1`" },
                { "\\k<n>", "invalid escape sequence: `\\k`" },
                { "\\8", "invalid escape sequence: `\\8`" },
                { "\\R", "invalid escape sequence: `\\R`" },
                { "\\K", "invalid escape sequence: `\\K`" },
                { "\\Z", "invalid escape sequence: `\\Z`" },
                { "\\h", "invalid escape sequence: `\\h`" },
                { "[\\b]", "invalid escape sequence: `\\b`" },
                { "\\xzz", "invalid escape sequence: `\\xz`" },
                { "\\é", "invalid escape sequence: `\\é`" },
                { "(?", "invalid or unsupported Perl syntax: `(?`" },
                { "\\x{12", "invalid escape sequence: `\\x{12`" },
                { "a\\", "trailing backslash at end of expression: ``" },
                { "a++", "invalid nested repetition operator: `++`" },
                { "a*+", "invalid nested repetition operator: `*+`" },
                { "a?+", "invalid nested repetition operator: `?+`" },
                { "a{2}{3}", "invalid nested repetition operator: `{2}{3}`" },
                { "a**", "invalid nested repetition operator: `**`" },
                { "*a", "missing argument to repetition operator: `*`" },
                { "(*ACCEPT)", "missing argument to repetition operator: `*`" },
                { "a|*", "missing argument to repetition operator: `*`" },
                { "a{1001}", "invalid repeat count: `{1001}`" },
                { "a{2,1}", "invalid repeat count: `{2,1}`" },
                { "a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`" },
                { "(a", "missing closing ): `(a`" },
                { "a)", "unexpected ): `a)`" },
                { "[a", "missing closing ]: `[a`" },
                { "[[:nope:]]", "invalid character class range: `[:nope:]`" },
                { "[[:<:]]", "invalid character class range: `[:<:]`" },
                { "[]", "missing closing ]: `[]`" },
                { "\xff", "invalid UTF-8" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct regex *regex = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(free_string) char *expected = memory_printf("error parsing regexp: %s", cases[i].message);

                assert_int_equal(regex_compile(view_of(cases[i].pattern), 0, &regex, &error), -1);
                assert_null(regex);
                assert_string_equal(error_message(&error), expected);
        }
}

static void what_pcre2_refuses_is_refused(void **state)
{
        static const char *const patterns[] = { "[z-a]", "\\p{Nope}", "(?P<n>a)(?P<n>b)" };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
                struct regex *regex = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                if (regex_compile(view_of(patterns[i]), 0, &regex, &error) != -1)
                        fail_msg("accepted: %s", patterns[i]);
                assert_non_null(strstr(error_message(&error), patterns[i]));
        }
}

static void groups_are_found(void **state)
{
        cleanup(regex_free) struct regex *regex = compiled("(?P<major>\\d+)\\.(\\d+)(-x)?", 0);
        cleanup(error_release) struct error error = ERROR_NULL;
        struct view groups[5];

        (void)state;
        assert_int_equal(regex_group_index(regex, "major"), 1);
        assert_int_equal(regex_group_index(regex, "minor"), -1);
        assert_int_equal(regex_find(regex, VIEW("1.2 30.40"), 3, groups, 5, &error), 0);
        assert_true(view_is(groups[0], "30.40"));
        assert_true(view_is(groups[1], "30"));
        assert_true(view_is(groups[2], "40"));
        assert_null(groups[3].data);
        assert_null(groups[4].data);
}

static void a_match_ends(void **state)
{
        cleanup(regex_free) struct regex *regex = compiled("(a+)+$", 0);
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        assert_int_equal(regex_match(regex, VIEW("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), &error), -1);
        assert_int_equal(error.kind, ERROR_TOO_LARGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(matches_as_go_does),
                cmocka_unit_test(anchored_is_the_whole_text),
                cmocka_unit_test(what_re2_lacks_is_refused_in_its_words),
                cmocka_unit_test(what_pcre2_refuses_is_refused),
                cmocka_unit_test(groups_are_found),
                cmocka_unit_test(a_match_ends),
        };

        return cmocka_run_group_tests_name("regex", tests, NULL, NULL);
}
