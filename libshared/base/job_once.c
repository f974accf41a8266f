/* One job without a server: the caller forks the child and waits for it. */
#include "base/job_private.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(const struct job_request *request, const int *descriptors, unsigned count, int null, pid_t caller)
        __attribute__((__noreturn__));
static void child(const struct job_request *request, const int *descriptors, unsigned count, int null, pid_t caller)
{
        int own[JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT];
        struct job_child job = { .request = request,
                                 .descriptors = own,
                                 .descriptor_count = count,
                                 .server = caller,
                                 .null = null,
                                 .mapped_bytes = job_mapped_bytes() };
        struct error err = ERROR_NULL;

        /* What was granted may be a standard descriptor, which is closed in a job. */
        for (unsigned i = 0; i < count; i++)
                if ((own[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 3)) < 0)
                        _exit(1);
        job_privileges_drop(null);
        if (job_filter_install_server(&err) < 0)
                _exit(1);
        job_child_run(&job);
}

static bool ended(pid_t pid)
{
        siginfo_t info = { .si_pid = 0 };

        return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == pid;
}

/* SIGCHLD is blocked, so that none is missed between the question and the wait. */
static enum job_end await(pid_t pid, int64_t deadline_ms, const sigset_t *child_signal)
{
        int64_t end = clock_now_ms() + deadline_ms, left;

        while (!ended(pid)) {
                struct timespec timeout;

                left = end - clock_now_ms();
                if (left <= 0)
                        return JOB_END_DEADLINE;
                timeout = clock_timespec(left);
                sigtimedwait(child_signal, NULL, &timeout);
        }
        return JOB_END_EXIT;
}

int job_once(const struct job_request *request, const int *descriptors, unsigned count, struct job_report *ret_report,
             struct error *err)
{
        cleanup(close_descriptor) int null = open("/dev/null", O_RDWR | O_CLOEXEC); /* the child could not say why it has none */
        struct job_report report = { .end = JOB_END_EXIT };
        int64_t started_ns = clock_now_ns();
        pid_t caller = getpid(), pid;
        sigset_t child_signal, before;
        struct rusage usage;
        int number;

        if (!job_filter_supported())
                return error_set(err, ERROR_UNSUPPORTED, "run a job: this kernel has no seccomp filters");
        if (null < 0)
                return error_set_errno(err, errno, "run a job: open '/dev/null'");
        signal(SIGCHLD, SIG_DFL); /* whoever started us may have had it ignored */
        sigemptyset(&child_signal);
        sigaddset(&child_signal, SIGCHLD);
        sigprocmask(SIG_BLOCK, &child_signal, &before);
        pid = fork();
        if (pid == 0)
                child(request, descriptors, count, null, caller);
        number = errno;
        if (pid > 0) {
                setpgid(pid, pid); /* the child does the same; whoever is first */
                report.end = await(pid, request->limits.deadline_ms, &child_signal);
                kill(-pid, SIGKILL);
                kill(pid, SIGKILL);
                while (wait4(pid, &report.status, 0, &usage) < 0 && errno == EINTR)
                        ;
                report.wall_us = (clock_now_ns() - started_ns) / 1000;
                job_report_usage(&report, &usage);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (pid < 0)
                return error_set_errno(err, number, "run a job: fork");
        *ret_report = report;
        return 0;
}
