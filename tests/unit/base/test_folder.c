#include "../test.h"

#include "base/cleanup.h"
#include "base/folder.h"
#include "base/pack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void trees_go_and_links_are_not_followed(void **state)
{
        cleanup(free_string) char *path = NULL, *outside = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int root = -1, other = -1;

        (void)state;
        assert_int_equal(folder_temporary("weir-test-", &path, &root, &err), 0);
        assert_int_equal(folder_temporary("weir-test-", &outside, &other, &err), 0);
        assert_int_equal(mkdirat(root, "a", 0700), 0);
        assert_int_equal(mkdirat(root, "a/b", 0700), 0);
        close(openat(root, "a/b/file", O_CREAT | O_WRONLY, 0600));
        close(openat(other, "kept", O_CREAT | O_WRONLY, 0600));
        assert_int_equal(symlinkat(outside, root, "a/link"), 0);
        assert_int_equal(folder_remove(AT_FDCWD, path, &err), 0);
        assert_int_not_equal(access(path, F_OK), 0);
        assert_int_equal(faccessat(other, "kept", F_OK, 0), 0);
        assert_int_equal(folder_remove(AT_FDCWD, path, &err), 0); /* gone already */
        assert_int_equal(folder_remove(AT_FDCWD, outside, &err), 0);
}

/* As an archive may hold it. A process that is short of descriptors removes it as well. */
static void a_tree_of_any_depth_goes(void **state)
{
        cleanup(free_string) char *path = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct rlimit before, few = { 64, 64 };
        int folder = -1;

        (void)state;
        assert_int_equal(folder_temporary("weir-test-", &path, &folder, &err), 0);
        for (int i = 0; i < 3000; i++) {
                int next;

                assert_int_equal(mkdirat(folder, "d", 0700), 0);
                close(openat(folder, "f", O_CREAT | O_WRONLY, 0600));
                next = openat(folder, "d", O_RDONLY | O_DIRECTORY);
                assert_true(next >= 0);
                close(folder);
                folder = next;
        }
        close(folder);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        few.rlim_max = before.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(folder_remove(AT_FDCWD, path, &err), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_not_equal(access(path, F_OK), 0);
}

static void what_a_kill_left_is_swept(void **state)
{
        cleanup(free_string) char *parent = NULL, *held = NULL, *abandoned = NULL, *other = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int in_use = -1;
        const char *before = getenv("TMPDIR");
        cleanup(free_string) char *saved = before ? strdup(before) : NULL;

        (void)state;
        assert_int_equal(folder_temporary("weir-test-", &parent, NULL, &err), 0);
        setenv("TMPDIR", parent, 1);
        assert_int_equal(folder_temporary("run-a-", &held, &in_use, &err), 0);
        assert_int_equal(folder_temporary("run-b-", &abandoned, NULL, &err), 0);
        assert_int_equal(folder_temporary("else-", &other, NULL, &err), 0);
        folder_sweep("run-");
        assert_int_equal(access(held, F_OK), 0);
        assert_int_not_equal(access(abandoned, F_OK), 0);
        assert_int_equal(access(other, F_OK), 0);
        close_descriptor(&in_use);
        folder_sweep("run-");
        assert_int_not_equal(access(held, F_OK), 0);
        if (saved)
                setenv("TMPDIR", saved, 1);
        else
                unsetenv("TMPDIR");
        assert_int_equal(folder_remove(AT_FDCWD, parent, &err), 0);
}

static void packed_strings_come_back(void **state)
{
        cleanup(buffer_release) struct buffer packed = BUFFER_NULL;
        struct view rest, first, second;
        uint64_t number;

        (void)state;
        pack_view(&packed, (struct view){ "a\0b", 3 });
        pack_number(&packed, UINT64_MAX);
        pack_string(&packed, NULL);
        rest = buffer_view(&packed);
        assert_int_equal(unpack_view(&rest, &first), 0);
        assert_int_equal(first.length, 3);
        assert_int_equal(unpack_number(&rest, &number), 0);
        assert_true(number == UINT64_MAX);
        assert_int_equal(unpack_view(&rest, &second), 0);
        assert_int_equal(second.length, 0);
        assert_int_equal(unpack_view(&rest, &second), -1);
        for (size_t cut = 0; cut < 11; cut++) { /* every way to cut the first string short */
                rest = view_slice(buffer_view(&packed), 0, cut);
                assert_int_equal(unpack_view(&rest, &first), -1);
        }
        buffer_clear(&packed);
        pack_number(&packed, UINT64_MAX); /* a length that is not there */
        rest = buffer_view(&packed);
        assert_int_equal(unpack_view(&rest, &first), -1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(trees_go_and_links_are_not_followed),
                cmocka_unit_test(a_tree_of_any_depth_goes),
                cmocka_unit_test(what_a_kill_left_is_swept),
                cmocka_unit_test(packed_strings_come_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
