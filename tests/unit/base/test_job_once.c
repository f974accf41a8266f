/*
 * A job without a server: the same answers and the same walls as behind one.
 */
#include "job_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int refuses(struct job *job, struct error *err)
{
        (void)job;
        return error_set_reason(err, ERROR_FORBIDDEN, "Because", "not today");
}

static int takes_memory(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        for (size_t i = 0; i < 1024; i++)
                memset(memory_allocate(MIB), 1, MIB);
        return 0;
}

static int writes_much(struct job *job, struct error *err)
{
        static const char zeros[4096];

        for (;;)
                TRY(job_write(job, (struct view){ zeros, sizeof(zeros) }, err));
}

static int ends_itself(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        _exit(3);
}

static void ends_are_told_apart(void **state)
{
        static const struct {
                const char *name;
                job_fn *fn;
                struct job_limits limits;
                int outcome;
                enum error_kind kind;
                const char *message;
        } cases[] = {
                { "an error", refuses, { 0 }, -1, ERROR_FORBIDDEN, "not today" },
                { "a deadline", loops, { .deadline_ms = 50 }, JOB_KILLED, ERROR_TIMEOUT, "killed after 50ms: deadline" },
                { "memory", takes_memory, { .memory_bytes = 16 * MIB }, JOB_KILLED, ERROR_TOO_LARGE, "memory limit of 16 MiB" },
                { "output", writes_much, { .output_bytes = 4096 }, JOB_TOO_LARGE, ERROR_TOO_LARGE, "larger than 4096 bytes" },
                { "an exit", ends_itself, { 0 }, JOB_KILLED, ERROR_INTERNAL, "exited with status 3" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                if (SANITIZED && cases[i].fn == takes_memory)
                        continue; /* the sanitizer's allocator ends in its own way */
                if (job_run_once(cases[i].fn, VIEW("input"), &cases[i].limits, NULL, &result, &err) != cases[i].outcome ||
                    err.kind != cases[i].kind || !strstr(error_message(&err), cases[i].message))
                        fail_msg("%s: %s", cases[i].name, error_message(&err));
        }
}

static void bytes_in_bytes_out(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(job_run_once(upper, VIEW("some text"), NULL, NULL, &result, &err), 0);
        assert_true(view_is(result.output, "SOME TEXT"));
        assert_true(result.wall_us > 0 && result.peak_bytes > 0);
}

/* One letter for each wall: capital if it stands. */
static int tries(struct job *job, struct error *err)
{
        char walls[6];

        walls[0] = open("/etc/hostname", O_RDONLY) < 0 ? 'F' : 'f';
        walls[1] = socket(AF_INET, SOCK_STREAM, 0) < 0 ? 'N' : 'n';
        walls[2] = fork() < 0 ? 'P' : 'p';
        walls[3] = getenv("TEST_JOB_ONCE") ? 'e' : 'E';
        walls[4] = kill(getppid(), 0) < 0 ? 'K' : 'k';
        walls[5] = openat(job->descriptors[0], "stat", O_RDONLY) >= 0 && write(job->descriptors[1], "said", 4) == 4 ? 'G' : 'g';
        return job_write(job, (struct view){ walls, sizeof(walls) }, err);
}

static void the_walls_are_those_of_every_job(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int folder = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int standard = dup(STDERR_FILENO), ends[2];
        struct job_descriptor descriptors[] = { { folder, JOB_READ }, { STDERR_FILENO, JOB_HANDLE } };
        struct job_grant grant = { .descriptors = descriptors, .descriptor_count = 2 };
        char said[4] = "";
        int r;

        (void)state;
        setenv("TEST_JOB_ONCE", "secret", 1);
        /* A granted descriptor may be a standard one, which jobs have only where it is granted. */
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        dup2(ends[1], STDERR_FILENO);
        r = job_run_once(tries, VIEW_NULL, NULL, &grant, &result, &err);
        dup2(standard, STDERR_FILENO);
        close(standard);
        close(ends[1]);
        if (r != 0)
                fail_msg("%s", error_message(&err));
        if (!view_is(result.output, "FNPEKG"))
                fail_msg("walls are missing: %.*s", VIEW_ARGS(result.output));
        assert_int_equal(read(ends[0], said, 4), 4);
        assert_memory_equal(said, "said", 4);
        close(ends[0]);
        assert_non_null(getenv("TEST_JOB_ONCE"));
}

/* A place without a /dev/null, or with no descriptor for it: the child could only end. */
static void what_a_job_lacks_is_named(void **state)
{
        struct rlimit limit, fewer;
        bool named = false;
        int r = -1;

        (void)state;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        fewer = limit;
        for (fewer.rlim_cur = 3; r != 0 && fewer.rlim_cur < 64; fewer.rlim_cur++) {
                cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(setrlimit(RLIMIT_NOFILE, &fewer), 0);
                r = job_run_once(upper, VIEW("x"), NULL, NULL, &result, &err);
                named = named || (r < 0 && strstr(error_message(&err), "run a job: open '/dev/null': Too many open files"));
        }
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(r, 0);
        assert_true(named);
}

/* Somebody who ignores SIGCHLD passes that on to what it starts. */
static void children_are_collected_whatever_was_inherited(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        signal(SIGCHLD, SIG_IGN);
        assert_int_equal(job_run_once(upper, VIEW("x"), NULL, NULL, &result, &err), 0);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_in_bytes_out),
                cmocka_unit_test(ends_are_told_apart),
                cmocka_unit_test(the_walls_are_those_of_every_job),
                cmocka_unit_test(what_a_job_lacks_is_named),
                cmocka_unit_test(children_are_collected_whatever_was_inherited),
        };

        return kernel_has_filters() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
