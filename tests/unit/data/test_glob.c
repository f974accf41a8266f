#include "../test.h"

#include "data/glob.h"

/* What Go's path.Match says of the same, but for the slash. */
static void patterns(void **state)
{
        static const struct {
                const char *pattern, *name;
                int result;
        } cases[] = {
                { "", "", 1 },
                { "", "a", 0 },
                { "abc", "abc", 1 },
                { "abc", "abcd", 0 },
                { "*", "", 1 },
                { "*", "a/b", 1 },
                { "*c", "abc", 1 },
                { "a*", "abc", 1 },
                { "a*b*c*d*e*f", "axbxcxdxexf", 1 },
                { "a*b*c*d*e*f", "axbxcxdxexg", 0 },
                { "a*b?c*x", "abxbbxdbxebxczzx", 1 },
                { "a*b?c*x", "abxbbxdbxebxczzy", 0 },
                { "?", "", 0 },
                { "ab[c]", "abc", 1 },
                { "ab[b-d]", "abc", 1 },
                { "ab[e-g]", "abc", 0 },
                { "ab[^c]", "abc", 0 },
                { "ab[^e-g]", "abc", 1 },
                { "[x\\-]", "-", 1 },
                { "[\\]a]", "]", 1 },
                { "*[a-c]x", "zzbzbx", 1 },
                { "a\\*b", "a*b", 1 },
                { "a\\*b", "ab", 0 },
                /* Characters and their bytes. */
                { "a?z", "a\xe2\x98\xbaz", 1 },
                { "a???z", "a\xe2\x98\xbaz", 0 },
                { "a[^a]z", "a\xe2\x98\xbaz", 1 },
                { "\xe2\x98\xba*", "\xe2\x98\xba!", 1 },
                { "\xff", "\xff", 1 },
                { "\xff", "\xfe", 0 },
                { "\xff", "\xef\xbf\xbd", 0 },
                { "?", "\xff", 1 },
                /* No pattern. Found only where it is reached. */
                { "a\\", "ab", -1 },
                { "[]a]", "]", -1 },
                { "[-]", "-", -1 },
                { "[x-]", "x", -1 },
                { "[a-b-c]", "a", -1 },
                { "[", "a", -1 },
                { "[^", "a", -1 },
                { "[^bc", "a", -1 },
                { "a[", "ab", -1 },
                { "[", "", 0 },
                { "b[", "a", 0 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                if (glob_match(view_of(cases[i].pattern), view_of(cases[i].name)) != cases[i].result)
                        fail_msg("'%s': '%s'", cases[i].pattern, cases[i].name);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(patterns),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
