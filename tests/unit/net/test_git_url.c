#include "net/git_private.h"

#include "base/cleanup.h"

#include <string.h>

#include "../test.h"

static void urls_are_taken_apart(void **state)
{
        static const struct {
                const char *text, *host, *path, *user, *password, *shown;
                unsigned port;
                bool bad;
        } cases[] = {
                { "https://example.com/a/b.git", "example.com", "/a/b.git", NULL, NULL, "https://example.com/a/b.git", 443, false },
                { "http://u:p%40x@h:8080/r", "h", "/r", "u", "p@x", "http://h:8080/r", 80 + 8000, false },
                { "ssh://git@h/r.git", "h", "/r.git", "git", NULL, "ssh://h/r.git", 22, false },
                { "ssh://h:2222/a%20b", "h", "/a b", NULL, NULL, "ssh://h:2222/a b", 2222, false },
                { "https://[::1]:8443/r", "::1", "/r", NULL, NULL, "https://[::1]:8443/r", 8443, false },
                { "https://h", "h", "/", NULL, NULL, "https://h/", 443, false },
                { .text = "ftp://h/r", .bad = true },
                { .text = "file:///etc/passwd", .bad = true },
                { .text = "git@h:r.git", .bad = true },
                { .text = "http://", .bad = true },
                { .text = "http:///x.git", .bad = true },
                { .text = "ssh:///x.git", .bad = true },
                { "http://h/r?a=b:///c", "h", "/r", NULL, NULL, "http://h/r", 80, false },
                { .text = "http://h:99999/", .bad = true },
                { .text = "http://h h/", .bad = true },
        };
        struct arena *arena = arena_new();

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(buffer_release) struct buffer shown = BUFFER_NULL;
                struct git_url url;

                print_message("%s\n", cases[i].text);
                assert_int_equal(git_url_parse(arena, view_of(cases[i].text), &url, &err), cases[i].bad ? -1 : 0);
                if (cases[i].bad)
                        continue;
                assert_string_equal(url.host, cases[i].host);
                assert_string_equal(url.path, cases[i].path);
                assert_int_equal(url.port, cases[i].port);
                assert_true(view_equal(view_of(url.user), view_of(cases[i].user)));
                assert_true(view_equal(view_of(url.password), view_of(cases[i].password)));
                git_url_print(&url, &shown);
                assert_string_equal(buffer_string(&shown), cases[i].shown);
        }
        arena_free(&arena);
}

static void redirects_follow_the_policy(void **state)
{
        static const struct {
                const char *base, *location, *to;
                bool other;
        } cases[] = {
                { "https://a/r.git", "https://a/moved.git/info/refs?service=git-upload-pack", "https://a/moved.git", false },
                { "http://a/r.git", "https://a/r.git/info/refs?service=git-upload-pack", "https://a/r.git", false },
                { "https://a/r.git", "https://b/r.git/info/refs", "https://b/r.git", true },
                { "https://a/r.git", "https://a:8443/r.git/info/refs", "https://a:8443/r.git", true },
                { "https://A/r.git", "https://a/r.git/info/refs", "https://a/r.git", false },
                { "https://a/r.git", "https://x:y@b/r.git/info/refs", "https://b/r.git", true },
                { "https://a/r.git", "http://a/r.git/info/refs", NULL, false },
                { "https://a/r.git", "https://a/login?next=/info/refs", NULL, false },
                { "https://a/r.git", "https://a/r.git/info/refs/", NULL, false },
                { "https://a/r.git", "ssh://a/r.git/info/refs", NULL, false },
                { "https://a/r.git", "file:///etc/info/refs", NULL, false },
        };
        struct arena *arena = arena_new();

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(buffer_release) struct buffer to = BUFFER_NULL;
                struct git_url base, moved;
                bool other = false;

                print_message("%s\n", cases[i].location);
                assert_int_equal(git_url_parse(arena, view_of(cases[i].base), &base, &err), 0);
                assert_int_equal(git_url_redirect(arena, &base, view_of(cases[i].location), &moved, &other, &err),
                                 cases[i].to ? 0 : -1);
                if (!cases[i].to)
                        continue;
                git_url_print(&moved, &to);
                assert_string_equal(buffer_string(&to), cases[i].to);
                assert_int_equal(other, cases[i].other);
                assert_null(moved.user);
        }
        arena_free(&arena);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(urls_are_taken_apart),
                cmocka_unit_test(redirects_follow_the_policy),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
