/*
 * What jobs may take of the memory of the container that they are in.
 */
#include "../test.h"

#include "base/cleanup.h"
#include "base/folder.h"
#include "base/job_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

struct file {
        const char *path, *text;
};

static void put(int root, const struct file *file)
{
        char part[256];
        int fd;

        for (const char *slash = strchr(file->path, '/'); slash; slash = strchr(slash + 1, '/')) {
                snprintf(part, sizeof(part), "%.*s", (int)(slash - file->path), file->path);
                mkdirat(root, part, 0700);
        }
        fd = openat(root, file->path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, file->text, strlen(file->text)), strlen(file->text));
        close(fd);
}

static void the_least_limit_counts(void **state)
{
        static const struct {
                const char *name, *groups;
                struct file files[4];
                uint64_t limit;
        } rows[] = {
                { "nothing is mounted", "0::/\n", { { NULL, NULL } }, UINT64_MAX },
                { "a container", "0::/\n", { { "memory.max", "1073741824\n" } }, 1024 * MIB },
                { "no limit", "0::/\n", { { "memory.max", "max\n" } }, UINT64_MAX },
                { "a service below a slice",
                  "0::/a.slice/b.service\n",
                  { { "memory.max", "max\n" },
                    { "a.slice/memory.max", "536870912\n" },
                    { "a.slice/b.service/memory.max", "1073741824\n" } },
                  512 * MIB },
                { "the path is the host's", "0::/kubepods/pod1/x\n", { { "memory.max", "268435456\n" } }, 256 * MIB },
                { "version 1",
                  "5:devices:/\n4:cpu,memory:/x\n0::/\n",
                  { { "memory/x/memory.limit_in_bytes", "134217728\n" },
                    { "memory/memory.limit_in_bytes", "9223372036854771712\n" } },
                  128 * MIB },
                { "version 1 without a limit",
                  "4:memory:/\n",
                  { { "memory/memory.limit_in_bytes", "9223372036854771712\n" } },
                  UINT64_MAX },
                { "not a number", "0::/\n", { { "memory.max", "much\n" } }, UINT64_MAX },
                { "not a list", "memory\n:\n", { { "memory.max", "1\n" } }, UINT64_MAX },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(rows); i++) {
                cleanup(free_string) char *path = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                uint64_t limit;
                int root;

                assert_int_equal(folder_temporary("budget-", &path, &root, &error), 0);
                for (const struct file *file = rows[i].files; file->path; file++)
                        put(root, file);
                limit = job_group_limit(view_of(rows[i].groups), path);
                if (limit != rows[i].limit)
                        fail_msg("%s: %llu", rows[i].name, (unsigned long long)limit);
                close(root);
                assert_int_equal(folder_remove(AT_FDCWD, path, &error), 0);
        }
}

static void the_process_keeps_a_part(void **state)
{
        static const struct {
                uint64_t limit, budget;
        } rows[] = {
                { UINT64_MAX, UINT64_MAX }, { 1024 * MIB, 896 * MIB }, { 256 * MIB, 192 * MIB },
                { 128 * MIB, 64 * MIB },    { 32 * MIB, 64 * MIB },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(rows); i++)
                assert_int_equal(job_budget_of(rows[i].limit), rows[i].budget);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_least_limit_counts),
                cmocka_unit_test(the_process_keeps_a_part),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
