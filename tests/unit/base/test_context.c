#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_MS 20000

static void *cancel_soon(void *argument)
{
        usleep(20000);
        context_cancel(argument, CONTEXT_SHUTDOWN);
        return NULL;
}

static void cancelling_an_ancestor_ends_a_sleep(void **state)
{
        cleanup(context_close) struct context process, run, step;
        cleanup(error_release) struct error err = ERROR_NULL;
        int64_t start = clock_now_ms();
        pthread_t thread;

        (void)state;
        context_open(&process, NULL, CLOCK_NEVER);
        context_open(&run, &process, CLOCK_NEVER);
        context_open(&step, &run, start + LONG_MS);
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &process), 0);
        assert_int_equal(context_sleep(&step, LONG_MS, &err), -1);
        assert_int_equal(err.kind, ERROR_CANCELLED);
        assert_true(clock_now_ms() - start < LONG_MS / 2);
        assert_int_equal(context_cause(&step), CONTEXT_SHUTDOWN);
        pthread_join(thread, NULL);
}

static void the_earliest_deadline_of_the_chain_counts(void **state)
{
        cleanup(context_close) struct context outer, inner;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        context_open(&outer, NULL, clock_now_ms() + 20);
        context_open(&inner, &outer, clock_now_ms() + LONG_MS);
        assert_int_equal(context_sleep(&inner, LONG_MS, &err), -1);
        assert_int_equal(err.kind, ERROR_TIMEOUT);
        assert_string_equal(error_message(&err), "context deadline exceeded");
        assert_true(clock_now_ms() >= context_deadline(&inner));
}

static void a_higher_cause_stays(void **state)
{
        cleanup(context_close) struct context context;

        (void)state;
        context_open(&context, NULL, CLOCK_NEVER);
        context_cancel(&context, CONTEXT_LEASE_LOST);
        context_cancel(&context, CONTEXT_SUPERSEDED);
        assert_int_equal(context_cause(&context), CONTEXT_LEASE_LOST);
        context_cancel(&context, CONTEXT_SHUTDOWN);
        assert_int_equal(context_cause(&context), CONTEXT_SHUTDOWN);
}

static void *wake_soon(void *argument)
{
        usleep(20000);
        context_wake(*(int *)argument);
        return NULL;
}

static void wakes_and_descriptors_end_a_poll(void **state)
{
        cleanup(context_close) struct context context;
        cleanup(error_release) struct error err = ERROR_NULL;
        int handle = context_wake_handle(), ends[2];
        int64_t start = clock_now_ms();
        struct pollfd descriptor;
        pthread_t thread;

        (void)state;
        context_open(&context, NULL, CLOCK_NEVER);
        assert_int_equal(pthread_create(&thread, NULL, wake_soon, &handle), 0);
        assert_int_equal(context_poll(&context, NULL, 0, LONG_MS, &err), 0);
        pthread_join(thread, NULL);
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], "x", 1), 1);
        descriptor = (struct pollfd){ .fd = ends[0], .events = POLLIN };
        assert_int_equal(context_poll(&context, &descriptor, 1, LONG_MS, &err), 1);
        assert_true(descriptor.revents & POLLIN);
        assert_true(clock_now_ms() - start < LONG_MS / 2);
        close(ends[0]);
        close(ends[1]);
}

/* In a thread of its own, which has no handle yet. */
static void *wait_for_nothing(void *argument)
{
        context_wake_handle();
        return argument;
}

/* A thread that cannot wait is the end; whoever reads why is not sent to look for memory. */
static void the_end_for_want_of_descriptors_says_so(void **state)
{
        int ends[2], status;
        char said[200] = "";
        pid_t pid;

        (void)state;
        assert_int_equal(pipe(ends), 0);
        pid = fork();
        if (pid == 0) {
                const struct rlimit none = { 0, 0 };
                pthread_t thread;

                dup2(ends[1], STDERR_FILENO);
                setrlimit(RLIMIT_NOFILE, &none);
                if (pthread_create(&thread, NULL, wait_for_nothing, NULL) == 0)
                        pthread_join(thread, NULL);
                _exit(0);
        }
        close(ends[1]);
        assert_true(read(ends[0], said, sizeof(said) - 1) > 0);
        close(ends[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
        assert_string_equal(said, "{\"level\":\"error\",\"msg\":\"out of file descriptors: raise ulimit -n\"}\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(cancelling_an_ancestor_ends_a_sleep),
                cmocka_unit_test(the_earliest_deadline_of_the_chain_counts),
                cmocka_unit_test(a_higher_cause_stays),
                cmocka_unit_test(wakes_and_descriptors_end_a_poll),
                cmocka_unit_test(the_end_for_want_of_descriptors_says_so),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
