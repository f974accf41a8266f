/*
 * test: what every unit test program includes. cmocka wants these headers in this order.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a program that runs under qemu-user, as on the way to another processor, does without. A test that needs it asks, and skips that part. */

/* Without it weir opens nothing through links. */
static inline bool kernel_has_openat2(void)
{
        return syscall(SYS_openat2, -1, "", NULL, 0) >= 0 || errno != ENOSYS;
}

/* Without them weir runs no job. */
static inline bool kernel_has_filters(void)
{
        uint32_t verdict = SECCOMP_RET_ERRNO;

        if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &verdict) == 0)
                return true;
        fputs("skipped: no seccomp filters here\n", stderr);
        return false;
}

/* That a program is not there is known to who starts it, not only to its child. */
static inline bool kernel_has_vfork(void)
{
        char program[] = "/nonexistent/program", *arguments[] = { program, NULL };
        pid_t pid;

        if (posix_spawn(&pid, program, NULL, NULL, arguments, arguments + 1) != 0)
                return true;
        waitpid(pid, NULL, 0);
        return false;
}
