#include "kube/parallel.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include "../test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <dirent.h>
#include <string.h>
#include <unistd.h>

struct counts {
        _Atomic unsigned char calls[1000];
        _Atomic unsigned running, most;
};

static void count(void *argument, size_t index)
{
        struct counts *counts = argument;
        unsigned running = atomic_fetch_add(&counts->running, 1) + 1, most = atomic_load(&counts->most);

        while (running > most && !atomic_compare_exchange_weak(&counts->most, &most, running))
                ;
        atomic_fetch_add(&counts->calls[index], 1);
        atomic_fetch_sub(&counts->running, 1);
}

static void each_once_and_not_too_many_at_a_time(void **state)
{
        static const struct {
                unsigned threads, limit;
                size_t count;
        } cases[] = { { 0, 4, 100 }, { 8, 1, 100 }, { 8, 4, 1000 }, { 2, 100, 1000 }, { 8, 4, 0 }, { 8, 4, 1 }, { 8, 4, 2 } };
        size_t i, k;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(parallel_free) struct parallel *parallel = parallel_new(cases[i].threads);
                struct counts counts;

                memset(&counts, 0, sizeof(counts));
                parallel_each(parallel, cases[i].limit, cases[i].count, count, &counts);
                for (k = 0; k < COUNT(counts.calls); k++)
                        assert_int_equal(counts.calls[k], k < cases[i].count);
                assert_true(counts.most <= cases[i].limit);
                assert_int_equal(counts.running, 0);
        }
}

struct caller {
        struct parallel *parallel;
        struct counts counts;
};

static void *call(void *argument)
{
        struct caller *caller = argument;

        parallel_each(caller->parallel, 3, 500, count, &caller->counts);
        return NULL;
}

static void callers_share_the_helpers(void **state)
{
        cleanup(parallel_free) struct parallel *parallel = parallel_new(4);
        static struct caller callers[6];
        pthread_t threads[COUNT(callers)];
        size_t i, k;

        (void)state;
        for (i = 0; i < COUNT(callers); i++) {
                callers[i].parallel = parallel;
                pthread_create(&threads[i], NULL, call, &callers[i]);
        }
        for (i = 0; i < COUNT(callers); i++)
                pthread_join(threads[i], NULL);
        for (i = 0; i < COUNT(callers); i++) {
                for (k = 0; k < 500; k++)
                        assert_int_equal(callers[i].counts.calls[k], 1);
                assert_true(callers[i].counts.most <= 3);
        }
}

static size_t threads_now(void)
{
        DIR *tasks = opendir("/proc/self/task");
        size_t count = 0;

        assert_non_null(tasks);
        while (readdir(tasks))
                count++;
        closedir(tasks);
        return count;
}

static void *nothing(void *argument)
{
        return argument;
}

/* With what a sanitizer starts beside the first thread, and once those that have ended are gone. */
static size_t threads_at_rest(void)
{
        size_t least = SIZE_MAX;
        pthread_t first;

        pthread_create(&first, NULL, nothing, NULL);
        pthread_join(first, NULL);
        for (unsigned i = 0; i < 20; i++, usleep(10000))
                if (threads_now() < least)
                        least = threads_now();
        return least;
}

/* Helpers that had nothing to do for some seconds end, and others start when there is work again. */
static void idle_helpers_end(void **state)
{
        cleanup(parallel_free) struct parallel *parallel = parallel_new(4);
        size_t before = threads_at_rest();
        int64_t end = clock_now_ms() + 30000;

        (void)state;
        for (unsigned round = 0; round < 2; round++) {
                struct counts counts;

                memset(&counts, 0, sizeof(counts));
                parallel_each(parallel, 5, COUNT(counts.calls), count, &counts);
                assert_true(threads_now() > before);
                for (size_t i = 0; i < COUNT(counts.calls); i++)
                        assert_int_equal(counts.calls[i], 1);
                while (threads_now() > before && clock_now_ms() < end)
                        usleep(20000);
                assert_int_equal(threads_now(), before);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_once_and_not_too_many_at_a_time),
                cmocka_unit_test(callers_share_the_helpers),
                cmocka_unit_test(idle_helpers_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
