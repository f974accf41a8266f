#include "../test.h"

#include "base/beneath.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int root;

static const struct {
        const char *path;
        bool links;
        int error; /* 0: it opens */
        int error_without_openat2;
} cases[] = {
        { "file", false, 0, 0 },
        { "a/b/file", false, 0, 0 },
        { "a//b/./file", false, 0, 0 },
        { ".", false, 0, 0 },
        { "missing", false, ENOENT, ENOENT },
        { "file/x", false, ENOTDIR, ENOTDIR },
        { "..", false, EXDEV, EXDEV },
        { "a/../../x", false, EXDEV, EXDEV },
        { "/etc/passwd", true, EXDEV, EXDEV },
        { "inside", false, ELOOP, ELOOP },
        { "inside", true, 0, ELOOP },
        { "linked/file", true, 0, ENOTDIR },
        { "linked/file", false, ELOOP, ENOTDIR },
        { "outside", true, EXDEV, ELOOP },
        { "upwards", true, EXDEV, ELOOP },
};

static int failures(bool openat2)
{
        int count = 0;

        for (size_t i = 0; i < COUNT(cases); i++) {
                int fd = beneath_open(root, cases[i].path, O_RDONLY, cases[i].links);
                int number = fd < 0 ? errno : 0;

                if (number != (openat2 ? cases[i].error : cases[i].error_without_openat2)) {
                        fprintf(stderr, "'%s': %s\n", cases[i].path, strerror(number));
                        count++;
                }
                close_descriptor(&fd);
        }
        return count;
}

static void nothing_leads_out(void **state)
{
        (void)state;
        assert_int_equal(failures(kernel_has_openat2()), 0);
}

static void nor_on_an_old_kernel(void **state)
{
        struct sock_filter list[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 437 /* openat2 */, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = COUNT(list), .filter = list };
        int status;
        pid_t pid;

        (void)state;
        if (!kernel_has_filters())
                skip();
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                _exit(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? 100 : failures(false));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void parents_open(void **state)
{
        const char *name = NULL;
        int fd = beneath_open_parent(root, "a/b/new", &name);

        (void)state;
        assert_true(fd >= 0);
        assert_string_equal(name, "new");
        assert_int_equal(faccessat(fd, "file", F_OK, 0), 0);
        close(fd);
        fd = beneath_open_parent(root, "new", &name);
        assert_true(fd >= 0);
        assert_int_equal(faccessat(fd, "file", F_OK, 0), 0);
        close(fd);
        assert_int_equal(beneath_open_parent(root, "../new", &name), -1);
}

static int put(const char *path)
{
        int fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        return fd < 0 ? -1 : close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_leads_out),
                cmocka_unit_test(nor_on_an_old_kernel),
                cmocka_unit_test(parents_open),
        };
        char scratch[] = "/tmp/weir-beneath-XXXXXX", command[64];
        int r;

        if (!mkdtemp(scratch))
                return 1;
        root = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (mkdirat(root, "a", 0700) < 0 || mkdirat(root, "a/b", 0700) < 0 || put("file") < 0 || put("a/b/file") < 0 ||
            symlinkat("a/b/file", root, "inside") < 0 || symlinkat("a/b", root, "linked") < 0 ||
            symlinkat("/etc/passwd", root, "outside") < 0 || symlinkat("../../../etc/passwd", root, "upwards") < 0)
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        snprintf(command, sizeof(command), "rm -rf %s", scratch);
        return system(command) || r;
}
