/*
 * A job's bytes, errors and ends come back, whoever waits.
 */
#include "job_test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int shows_processes(struct job *job, struct error *err)
{
        const pid_t pids[2] = { getpid(), getppid() };

        return job_write(job, (struct view){ (const char *)pids, sizeof(pids) }, err);
}

/* Says who it is through a pipe, and stays. */
static int announces(struct job *job, struct error *err)
{
        const pid_t pids[2] = { getpid(), getppid() };

        if (write(job->descriptors[0], pids, sizeof(pids)) < 0)
                return error_set_errno(err, errno, "write");
        for (;;)
                pause();
}

static int nothing(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        return 0;
}

static int refuses(struct job *job, struct error *err)
{
        (void)job;
        error_set_reason(err, ERROR_FORBIDDEN, "AuthenticationFailed", "fetch '%s': not with these credentials", "x");
        err->http_status = 401;
        err->retry_after_ms = 1500;
        return -1;
}

static int silent_failure(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        return -1;
}

static int outcome(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        return 7;
}

static void bytes_in_bytes_out(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(run(upper, "hello", NULL, NULL, &result, &err), 0);
        assert_true(view_is(result.output, "HELLO"));
        assert_true(result.peak_bytes > 0 && result.wall_us > 0 && result.cpu_us >= 0);
        job_result_release(&result);
        assert_int_equal(run(nothing, NULL, NULL, NULL, &result, &err), 0);
        assert_int_equal(result.output.length, 0);
}

static void errors_come_back_whole(void **state)
{
        struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(run(refuses, NULL, NULL, NULL, &result, &err), -1);
        assert_int_equal(err.kind, ERROR_FORBIDDEN);
        assert_string_equal(err.reason, "AuthenticationFailed");
        assert_string_equal(err.message, "fetch 'x': not with these credentials");
        assert_int_equal(err.http_status, 401);
        assert_int_equal(err.retry_after_ms, 1500);
        assert_int_equal(run(silent_failure, NULL, NULL, NULL, &result, &err), -1);
        assert_string_equal(err.message, "a job failed without saying why");
        assert_int_equal(run(outcome, NULL, NULL, NULL, &result, &err), -1);
        assert_int_equal(err.kind, ERROR_INTERNAL);
}

struct canceller {
        struct context *ctx;
        int64_t at_ns;
};

static void *cancel_soon(void *data)
{
        struct canceller *canceller = data;

        usleep(50000);
        canceller->at_ns = clock_now_ns();
        context_cancel(canceller->ctx, CONTEXT_SHUTDOWN);
        return NULL;
}

static void cancellation_kills_the_child(void **state)
{
        struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct context ctx;
        struct canceller canceller = { .ctx = &ctx };
        pthread_t thread;
        int64_t took_ns = INT64_MAX;

        (void)state;
        /* The best of a few, as the machine may be busy. */
        for (int i = 0; i < 20 && took_ns > 10000000; i++) {
                context_open(&ctx, NULL, CLOCK_NEVER);
                assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &canceller), 0);
                assert_int_equal(job_run(&ctx, loops, VIEW_NULL, NULL, NULL, &result, &err), -1);
                pthread_join(thread, NULL);
                took_ns = clock_now_ns() - canceller.at_ns;
                assert_int_equal(err.kind, ERROR_CANCELLED);
                context_close(&ctx);
        }
        print_message("a cancelled job was gone after %" PRId64 " us\n", took_ns / 1000);
        assert_true(took_ns < 10000000);

        context_open(&ctx, NULL, clock_now_ms() + 50);
        assert_int_equal(job_run(&ctx, sleeps, VIEW_NULL, NULL, NULL, &result, &err), -1);
        assert_int_equal(err.kind, ERROR_TIMEOUT);
        context_close(&ctx);
}

static void *run_many(void *data)
{
        int *failures = data;

        for (int i = 0; i < 20; i++) {
                cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;
                char input[32];

                snprintf(input, sizeof(input), "thread %d", i);
                if (i % 4 == 3)
                        *failures += run(crash, NULL, NULL, NULL, &result, &err) != JOB_KILLED;
                else if (run(upper, input, NULL, NULL, &result, &err) != 0 || result.output.length != strlen(input))
                        ++*failures;
        }
        return NULL;
}

static void many_at_a_time(void **state)
{
        pthread_t threads[8];
        int failures[8] = { 0 };

        (void)state;
        for (int i = 0; i < 8; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, run_many, &failures[i]), 0);
        for (int i = 0; i < 8; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(failures[i], 0);
        }
}

static void large_input_and_output(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(free_string) char *input = memory_allocate(8 * MIB + 1);

        (void)state;
        memset(input, 'a', 8 * MIB);
        input[8 * MIB] = '\0';
        assert_int_equal(run(upper, input, NULL, NULL, &result, &err), 0);
        assert_int_equal(result.output.length, 8 * MIB);
        assert_int_equal(result.output.data[8 * MIB - 1], 'A');
}

static void round_trip_time(void **state)
{
        int64_t best = INT64_MAX, start, total = clock_now_ns();
        cleanup(close_descriptor) int own = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        (void)state;
        for (int i = 0; i < 200; i++) {
                cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                start = clock_now_ns();
                assert_int_equal(
                        run(upper, "x", NULL,
                            &(struct job_grant){ .descriptors = &(struct job_descriptor){ own, JOB_WRITE }, .descriptor_count = 1 },
                            &result, &err),
                        0);
                if (clock_now_ns() - start < best)
                        best = clock_now_ns() - start;
        }
        total = clock_now_ns() - total;
        print_message("round trip of a job: best %" PRId64 " us, mean %" PRId64 " us\n", best / 1000, total / 200000);
}

static void the_sandbox_says_what_it_is(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        bool complete = job_sandbox_describe(&text);

        (void)state;
        print_message("%s\n", buffer_string(&text));
        assert_int_equal(complete, strncmp(buffer_string(&text), "Landlock ABI", 12) == 0);
}

/* Dead, whether its new parent has collected it or not. */
static bool is_gone(pid_t pid)
{
        char path[32], state = 'Z';
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        file = fopen(path, "re");
        if (!file)
                return true;
        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
                state = 'Z';
        fclose(file);
        return state == 'Z' || state == 'X';
}

static bool is_gone_within(pid_t pid, int64_t milliseconds)
{
        int64_t end = clock_now_ms() + milliseconds;

        while (!is_gone(pid)) {
                if (clock_now_ms() > end)
                        return false;
                usleep(1000);
        }
        return true;
}

/* A controller that is killed takes its server and its jobs with it. */
static void test_controller_killed_during_a_job(void **state)
{
        int ends[2], status;
        pid_t pids[2], controller;

        (void)state;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        controller = fork();
        if (controller == 0) {
                struct job_result result = JOB_RESULT_NULL;
                struct error err = ERROR_NULL;
                const struct job_descriptor pipe_end = { ends[1], JOB_HANDLE };

                if (job_server_start(NULL, &err) < 0)
                        _exit(1);
                run(announces, NULL, NULL, &(struct job_grant){ .descriptors = &pipe_end, .descriptor_count = 1 }, &result, &err);
                _exit(2);
        }
        close(ends[1]);
        assert_int_equal(read(ends[0], pids, sizeof(pids)), sizeof(pids));
        close(ends[0]);
        kill(controller, SIGKILL);
        waitpid(controller, &status, 0);
        assert_true(WIFSIGNALED(status));
        assert_true(is_gone_within(pids[0], 5000));
        assert_true(is_gone_within(pids[1], 5000));
}

/* As under `ulimit -n 100`, or a service manager that gives little. */
static void limits_of_the_process_hold_for_its_jobs(void **state)
{
        pid_t controller;
        int status;

        (void)state;
        controller = fork();
        if (controller == 0) {
                const struct rlimit few = { 100, 100 };
                cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
                struct error err = ERROR_NULL;

                if (setrlimit(RLIMIT_NOFILE, &few) < 0 || job_server_start(NULL, &err) < 0)
                        _exit(1);
                if (run(upper, "x", NULL, NULL, &result, &err) != 0) {
                        fprintf(stderr, "%s\n", error_message(&err));
                        _exit(2);
                }
                _exit(0);
        }
        waitpid(controller, &status, 0);
        assert_int_equal(status, 0);
}

/* The lowest number that a process has free. */
static rlim_t first_free(pid_t pid)
{
        rlim_t n = 0;
        char path[64];

        do
                snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)n);
        while (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && ++n);
        return n;
}

/* It is short of them, and not dead: nobody needs to start the process again. */
static void a_server_without_descriptors_goes_on(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        struct rlimit none, before;
        pid_t pids[2];

        (void)state;
        for (int i = 0; i < 2; i++) {
                cleanup(error_release) struct error err = ERROR_NULL;

                job_result_release(&result);
                assert_int_equal(run(shows_processes, NULL, NULL, NULL, &result, &err), 0);
                memcpy(pids, result.output.data, sizeof(pids));
                assert_int_equal(prlimit(pids[1], RLIMIT_NOFILE, NULL, &before), 0);
                none = (struct rlimit){ first_free(pids[1]), before.rlim_max };
                assert_int_equal(prlimit(pids[1], RLIMIT_NOFILE, &none, NULL), 0);
                assert_int_equal(run(nothing, NULL, NULL, NULL, &result, &err), -1);
                assert_string_equal(err.message, "start a job: Too many open files");
                assert_true(job_server_alive());
                assert_int_equal(prlimit(pids[1], RLIMIT_NOFILE, &before, NULL), 0);
        }
}

static void *kill_soon(void *data)
{
        usleep(50000);
        kill(*(pid_t *)data, SIGKILL);
        return NULL;
}

static void test_server_killed_during_a_job(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        pid_t pids[2];
        pthread_t thread;

        (void)state;
        assert_int_equal(run(shows_processes, NULL, NULL, NULL, &result, &err), 0);
        assert_int_equal(result.output.length, sizeof(pids));
        memcpy(pids, result.output.data, sizeof(pids));
        assert_true(is_gone_within(pids[0], 0));
        assert_int_equal(pthread_create(&thread, NULL, kill_soon, &pids[1]), 0);
        assert_int_equal(run(sleeps, NULL, NULL, NULL, &result, &err), -1);
        pthread_join(thread, NULL);
        assert_int_equal(err.kind, ERROR_INTERNAL);
        assert_string_equal(err.message, "the job server is gone: the process must be restarted");
        assert_false(job_server_alive());
        assert_int_equal(run(nothing, NULL, NULL, NULL, &result, &err), -1);
        assert_string_equal(err.message, "the job server is gone: the process must be restarted");
        job_server_stop();
}

static void without_a_server_nothing_runs(void **state)
{
        struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(run(nothing, NULL, NULL, NULL, &result, &err), -1);
        assert_int_equal(err.kind, ERROR_INTERNAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_in_bytes_out),
                cmocka_unit_test(errors_come_back_whole),
                cmocka_unit_test(cancellation_kills_the_child),
                cmocka_unit_test(many_at_a_time),
                cmocka_unit_test(large_input_and_output),
                cmocka_unit_test(round_trip_time),
                cmocka_unit_test(the_sandbox_says_what_it_is),
                cmocka_unit_test(a_server_without_descriptors_goes_on),
                cmocka_unit_test(test_server_killed_during_a_job),
                cmocka_unit_test(without_a_server_nothing_runs),
                cmocka_unit_test(limits_of_the_process_hold_for_its_jobs),
                cmocka_unit_test(test_controller_killed_during_a_job),
        };
        cleanup(error_release) struct error err = ERROR_NULL;

        if (!kernel_has_filters())
                return 0;
        if (job_server_start(NULL, &err) < 0) {
                fprintf(stderr, "%s\n", error_message(&err));
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
