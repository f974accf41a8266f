#include "net/git_private.h"

#include "base/cleanup.h"

#include <string.h>

#include "../test.h"

#define HEAD_COUNT (sizeof(server) / sizeof(server[0]))

/* The last digit of an id is its place below; a peeled tag stands for its commit. */
static const char *const server[] = {
        "HEAD",
        "refs/heads/main",
        "refs/heads/x/y",
        "refs/pull/7/merge",
        "refs/tags/1.0.0",
        "refs/tags/1.1.0",
        "refs/tags/1.1.0^{}",
        "refs/tags/v2.0.0-rc.1",
        "refs/tags/not-a-version",
        "refs/tags/0.9",
        "refs/tags/3.0.0+a",
        "refs/tags/3.0.0+b",
};

static void advertise(struct git_advertised heads[HEAD_COUNT])
{
        for (size_t i = 0; i < HEAD_COUNT; i++) {
                heads[i].name = server[i];
                memset(&heads[i].oid, 0, sizeof(heads[i].oid));
                heads[i].oid.id[19] = (unsigned char)(i + 1);
        }
}

#define ID(digits) "00000000000000000000000000000000000000" digits

static void references_are_chosen(void **state)
{
        static const struct {
                const char *commit, *name, *tag, *semver, *branch;
                const char *revision; /* of the first candidate */
                const char *fetched;  /* NULL: the commit by its id */
                size_t candidates;
                const char *message;
        } cases[] = {
                { .branch = "main", .revision = "main@sha1:" ID("02"), .fetched = "refs/heads/main", .candidates = 1 },
                { .branch = "x/y", .revision = "x/y@sha1:" ID("03"), .fetched = "refs/heads/x/y", .candidates = 1 },
                { .message = "couldn't find remote ref \"refs/heads/master\"" },
                { .branch = "nope", .message = "couldn't find remote ref \"refs/heads/nope\"" },
                { .tag = "1.0.0",
                  .branch = "main",
                  .revision = "1.0.0@sha1:" ID("05"),
                  .fetched = "refs/tags/1.0.0",
                  .candidates = 1 },
                { .tag = "1.1.0", .revision = "1.1.0@sha1:" ID("07"), .fetched = "refs/tags/1.1.0", .candidates = 1 },
                { .tag = "nope", .branch = "main", .message = "couldn't find remote ref \"refs/tags/nope\"" },
                /* The tag counts, not the range. */
                { .tag = "1.0.0",
                  .semver = "2.x",
                  .revision = "1.0.0@sha1:" ID("05"),
                  .fetched = "refs/tags/1.0.0",
                  .candidates = 1 },
                { .semver = "<2",
                  .branch = "main",
                  .revision = "1.1.0@sha1:" ID("07"),
                  .fetched = "refs/tags/1.1.0",
                  .candidates = 1 },
                { .semver = ">=1.0.0-0 <3-0",
                  .revision = "v2.0.0-rc.1@sha1:" ID("08"),
                  .fetched = "refs/tags/v2.0.0-rc.1",
                  .candidates = 1 },
                { .semver = "*", .revision = "3.0.0+a@sha1:" ID("0b"), .fetched = "refs/tags/3.0.0+a", .candidates = 2 },
                { .semver = ">=9", .message = "no match found for semver: >=9" },
                { .semver = "<1.0.0", .message = "no match found for semver: <1.0.0" }, /* 0.9 has one dot */
                { .semver = "not a range", .message = "semver parse error: improper constraint: \"not a range\"" },
                { .name = "refs/heads/main",
                  .tag = "1.0.0",
                  .revision = "refs/heads/main@sha1:" ID("02"),
                  .fetched = "refs/heads/main",
                  .candidates = 1 },
                { .name = "refs/pull/7/merge",
                  .revision = "refs/pull/7/merge@sha1:" ID("04"),
                  .fetched = "refs/pull/7/merge",
                  .candidates = 1 },
                { .name = "refs/tags/1.1.0",
                  .revision = "refs/tags/1.1.0@sha1:" ID("07"),
                  .fetched = "refs/tags/1.1.0",
                  .candidates = 1 },
                { .name = "refs/tags/1.1.0^{}",
                  .revision = "refs/tags/1.1.0^{}@sha1:" ID("07"),
                  .fetched = "refs/tags/1.1.0",
                  .candidates = 1 },
                { .name = "refs/nope", .message = "unable to resolve ref 'refs/nope' to a specific commit" },
                { .name = "/refs/heads/main",
                  .message = "ref /refs/heads/main is invalid; Git refs cannot begin or end with a slash '/'" },
                { .name = "refs/heads/", .message = "ref refs/heads/ is invalid; Git refs cannot begin or end with a slash '/'" },
                { .commit = ID("ff"), .revision = "sha1:" ID("ff"), .candidates = 1 },
                { .commit = ID("ff"), .branch = "main", .revision = "main@sha1:" ID("ff"), .candidates = 1 },
                { .commit = ID("ff"), .name = "refs/heads/main", .revision = "refs/heads/main@sha1:" ID("ff"), .candidates = 1 },
                { .commit = ID("ff"), .tag = "1.0.0", .semver = "*", .revision = "sha1:" ID("ff"), .candidates = 1 },
                { .commit = ID("03"), .revision = "sha1:" ID("03"), .fetched = "refs/heads/x/y", .candidates = 1 },
                { .commit = ID("ff"), .branch = "nope", .message = "couldn't find remote ref \"refs/heads/nope\"" },
                { .commit = "abc", .message = "unable to resolve commit object for 'abc': object not found" },
                { .commit = "zz" ID(""), .message = "unable to resolve commit object for 'zz" ID("") "': object not found" },
        };
        struct git_advertised heads[HEAD_COUNT];
        struct arena *arena = arena_new();

        (void)state;
        advertise(heads);
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                struct git_request request = {
                        .commit = view_of(cases[i].commit),
                        .name = view_of(cases[i].name),
                        .tag = view_of(cases[i].tag),
                        .semver = view_of(cases[i].semver),
                        .branch = view_of(cases[i].branch),
                };
                struct git_selection selection;
                int result = git_select(arena, &request, heads, HEAD_COUNT, &selection, &err);

                print_message("case %zu\n", i);
                assert_int_equal(result, cases[i].message ? -1 : 0);
                if (cases[i].message) {
                        assert_string_equal(error_message(&err), cases[i].message);
                        continue;
                }
                assert_int_equal(selection.count, cases[i].candidates);
                assert_string_equal(git_revision(arena, &selection, selection.reference, &selection.candidates[0].oid),
                                    cases[i].revision);
                if (cases[i].fetched)
                        assert_string_equal(selection.candidates[0].name, cases[i].fetched);
                else
                        assert_null(selection.candidates[0].name);
        }
        arena_free(&arena);
}

static void equal_versions_of_one_commit_need_no_choice(void **state)
{
        struct git_advertised heads[] = { { .name = "refs/tags/1.0.0+a" }, { .name = "refs/tags/1.0.0+b" } };
        cleanup(error_release) struct error err = ERROR_NULL;
        struct arena *arena = arena_new();
        struct git_request request = { .semver = VIEW("*") };
        struct git_selection selection;

        (void)state;
        assert_int_equal(git_select(arena, &request, heads, 2, &selection, &err), 0);
        assert_int_equal(selection.count, 1);
        arena_free(&arena);
}

static void an_empty_repository_is_an_outcome_of_its_own(void **state)
{
        cleanup(error_release) struct error err = ERROR_NULL;
        struct arena *arena = arena_new();
        struct git_request branch = { .branch = VIEW("main") }, tag = { .tag = VIEW("1.0.0") };
        struct git_selection selection;

        (void)state;
        assert_int_equal(git_select(arena, &branch, NULL, 0, &selection, &err), GIT_EMPTY);
        assert_int_equal(git_select(arena, &tag, NULL, 0, &selection, &err), -1);
        assert_string_equal(error_message(&err), "remote repository is empty");
        arena_free(&arena);
}

#define HEX "0123456789abcdef0123456789abcdef01234567"

static void revisions_are_told_apart(void **state)
{
        static const struct {
                const char *recorded, *revision;
                bool same;
        } cases[] = {
                { "main@sha1:" HEX, "main@sha1:" HEX, true },
                { "sha1:" HEX, "sha1:" HEX, true },
                { "main/" HEX, "main@sha1:" HEX, true },
                { "feature/x/" HEX, "feature/x@sha1:" HEX, true },
                { "refs/heads/sha1:x/" HEX, "refs/heads/sha1:x@sha1:" HEX, true },
                { "", "main@sha1:" HEX, false },
                { "main", "main@sha1:" HEX, false },
                { "next/" HEX, "main@sha1:" HEX, false },
                { "main-" HEX, "main@sha1:" HEX, false },
                { "main/0000000000000000000000000000000000000000", "main@sha1:" HEX, false },
                { "main@sha1:" HEX, "sha1:" HEX, false },
                { "/" HEX, "sha1:" HEX, false },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                assert_int_equal(git_revision_is(view_of(cases[i].recorded), cases[i].revision), cases[i].same);
}

static void a_request_survives_its_way_into_the_job(void **state)
{
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer bytes = BUFFER_NULL;
        struct git_request request = {
                .url = VIEW("https://example.com/a.git"),
                .password = { "a\0b\xff", 4 },
                .ignore = VIEW(""),
                .proxy_password = VIEW("p"),
                .always = true,
                .algorithm = DIGEST_SHA512,
                .timeout_ms = 1234,
        };
        struct git_request copy;

        (void)state;
        git_request_encode(&request, &bytes);
        assert_int_equal(git_request_decode(buffer_view(&bytes), &copy, &err), 0);
        assert_true(view_equal(copy.url, request.url));
        assert_true(view_equal(copy.password, request.password));
        assert_true(view_equal(copy.proxy_password, request.proxy_password));
        assert_non_null(copy.ignore.data); /* set, and empty */
        assert_int_equal(copy.ignore.length, 0);
        assert_int_equal(copy.username.length, 0);
        assert_true(copy.always);
        assert_int_equal(copy.algorithm, DIGEST_SHA512);
        assert_int_equal(copy.timeout_ms, 1234);
        request.ignore = VIEW_NULL;
        buffer_clear(&bytes);
        git_request_encode(&request, &bytes);
        assert_int_equal(git_request_decode(buffer_view(&bytes), &copy, &err), 0);
        assert_null(copy.ignore.data);
        for (size_t length = 0; length < bytes.length; length++)
                assert_int_equal(git_request_decode(view_slice(buffer_view(&bytes), 0, length), &copy, &err), -1);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(references_are_chosen),
                cmocka_unit_test(equal_versions_of_one_commit_need_no_choice),
                cmocka_unit_test(an_empty_repository_is_an_outcome_of_its_own),
                cmocka_unit_test(revisions_are_told_apart),
                cmocka_unit_test(a_request_survives_its_way_into_the_job),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
