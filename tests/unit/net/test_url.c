#include "net/url.h"

#include "base/cleanup.h"

#include <string.h>

#include "../test.h"

static void urls_are_checked_in_the_words_of_go(void **state)
{
        static const struct {
                const char *text;
                const char *says; /* NULL: nothing */
        } cases[] = {
                { "https://example.com/a/b.git", NULL },
                { "http://u:p%40x@h:8080/r?q=%zz", NULL },
                { "ssh://git@[::1]:22/a%20b#c", NULL },
                { "http://[fe80::1%25en0]/", NULL },
                { "http://h:/r", NULL },
                { "http://\xc3\xa4.example/", NULL },
                { "http://", NULL },
                { "mailto:%zz", NULL },
                { "", NULL },
                { "http://a b/x", "parse \"http://a b/x\": invalid character \" \" in host name" },
                { "http://a\\b", "parse \"http://a\\\\b\": invalid character \"\\\\\" in host name" },
                { "http://%zz", "parse \"http://%zz\": invalid URL escape \"%zz\"" },
                { "http://h/%z", "parse \"http://h/%z\": invalid URL escape \"%z\"" },
                { "http://%41", "parse \"http://%41\": invalid URL escape \"%41\"" },
                { "http://h/a#%g1", "parse \"http://h/a#%g1\": invalid URL escape \"%g1\"" },
                { "http://h\tx/", "parse \"http://h\\tx/\": net/url: invalid control character in URL" },
                { "http://h:abc/", "parse \"http://h:abc/\": invalid port \":abc\" after host" },
                { "http://::1/", "parse \"http://::1/\": invalid port \"::1\" after host" },
                { "ssh://a:b:22/", NULL },
                { "http://[::1/x", "parse \"http://[::1/x\": missing ']' in host" },
                { "http://[1.2.3.4]/", "parse \"http://[1.2.3.4]/\": invalid IP-literal" },
                { "http://x[::1]/", "parse \"http://x[::1]/\": invalid IP-literal" },
                { "http://[::1]x/", "parse \"http://[::1]x/\": invalid port \"x\" after host" },
                { ":x", "parse \":x\": missing protocol scheme" },
                { "127.0.0.1:3128", "parse \"127.0.0.1:3128\": first path segment in URL cannot contain colon" },
                { "http://u:p%zz@h/", "parse \"http://h/\": net/url: invalid userinfo" },
                { "http://u:p w@h/", "parse \"http://h/\": net/url: invalid userinfo" },
                { "http://u:secret@h h/", "parse \"http://h h/\": invalid character \" \" in host name" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                int result = url_check(view_of(cases[i].text), &err);

                print_message("%s\n", cases[i].text);
                assert_int_equal(result, cases[i].says ? -1 : 0);
                if (cases[i].says)
                        assert_string_equal(error_message(&err), cases[i].says);
        }
}

static void passwords_are_not_shown(void **state)
{
        static const char *const cases[][2] = {
                { "http://ada:secret@h:80/x?y", "http://h:80/x?y" },
                { "http://ada:se@cret@h", "http://h" },
                { "ssh://git@h/x", "ssh://git@h/x" },
                { "http://h/a:b@c", "http://h/a:b@c" },
                { "no url", "no url" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer shown = BUFFER_NULL;

                url_show(view_of(cases[i][0]), &shown);
                assert_string_equal(buffer_string(&shown), cases[i][1]);
        }
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(urls_are_checked_in_the_words_of_go),
                cmocka_unit_test(passwords_are_not_shown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
