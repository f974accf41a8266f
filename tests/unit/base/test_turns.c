/*
 * Turns: so many at a time, in the order in which they asked.
 */
#include "base/turns.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#define THREADS 24
#define LIMIT   3

static struct turns turns;
static _Atomic int inside, most, entered, came[THREADS], left;
static _Atomic long slept;
static _Atomic bool hold;

static void moment(void)
{
        const struct timespec time = { .tv_nsec = 1000000 };

        nanosleep(&time, NULL);
}

/* So that a failure is one, not a test that hangs. */
static bool becomes(_Atomic int *value, int wanted)
{
        int64_t end = clock_now_ms() + 20000;

        while (atomic_load(value) != wanted && clock_now_ms() < end)
                moment();
        return atomic_load(value) == wanted;
}

/* How often this thread went to sleep until now. */
static long sleeps(void)
{
        struct rusage usage;

        assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
        return usage.ru_nvcsw;
}

static void *take_and_leave(void *argument)
{
        int now, before = atomic_load(&most);
        long asleep = sleeps();

        turns_take(&turns);
        atomic_fetch_add(&slept, sleeps() - asleep);
        now = atomic_fetch_add(&inside, 1) + 1;
        while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
                ;
        atomic_store(&came[atomic_fetch_add(&entered, 1)], *(const int *)argument);
        while (atomic_load(&hold))
                moment();
        atomic_fetch_sub(&inside, 1);
        turns_leave(&turns);
        atomic_fetch_add(&left, 1);
        return NULL;
}

static uint64_t asked(void)
{
        uint64_t count;

        pthread_mutex_lock(&turns.lock);
        count = turns.asked;
        pthread_mutex_unlock(&turns.lock);
        return count;
}

/* Each asks after the one before it has. */
static void start(pthread_t threads[THREADS], int numbers[THREADS])
{
        atomic_store(&inside, 0), atomic_store(&most, 0), atomic_store(&entered, 0), atomic_store(&left, 0);
        atomic_store(&slept, 0);
        atomic_store(&hold, true);
        turns_init(&turns, LIMIT);
        for (int i = 0; i < THREADS; i++) {
                int64_t end = clock_now_ms() + 20000;

                numbers[i] = i;
                assert_int_equal(pthread_create(&threads[i], NULL, take_and_leave, &numbers[i]), 0);
                while (asked() <= (uint64_t)i && clock_now_ms() < end)
                        moment();
        }
        assert_int_equal(asked(), THREADS);
}

static void finish(pthread_t threads[THREADS])
{
        for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        turns_destroy(&turns);
}

static void no_more_than_the_limit_are_inside(void **state)
{
        pthread_t threads[THREADS];
        int numbers[THREADS];

        (void)state;
        start(threads, numbers);
        assert_true(becomes(&entered, LIMIT));
        atomic_store(&hold, false);
        assert_true(becomes(&left, THREADS));
        finish(threads);
        assert_int_equal(atomic_load(&most), LIMIT);
        /* Whose turn has come may be overtaken on the way by those that have theirs too, not by others. */
        for (int i = 0; i < THREADS; i++)
                if (atomic_load(&came[i]) >= i + LIMIT)
                        fail_msg("number %d was the %d. to come", atomic_load(&came[i]), i);
}

/* Hundreds may wait. Once when it begins to wait, once for the lock on the way out, and as often again for a machine that is busy. */
static void one_turn_wakes_one(void **state)
{
        pthread_t threads[THREADS];
        int numbers[THREADS];

        (void)state;
        start(threads, numbers);
        for (int i = LIMIT; i < THREADS; i++) {
                assert_true(becomes(&entered, i));
                turns_leave(&turns);
        }
        assert_true(becomes(&entered, THREADS));
        for (int i = LIMIT; i < THREADS; i++) { /* those were given back already */
                pthread_mutex_lock(&turns.lock);
                turns.over--;
                pthread_mutex_unlock(&turns.lock);
        }
        atomic_store(&hold, false);
        finish(threads);
        if (atomic_load(&slept) > 4 * THREADS)
                fail_msg("%d threads slept %ld times until it was their turn", THREADS, atomic_load(&slept));
}

static void at_the_end_nobody_waits(void **state)
{
        pthread_t threads[THREADS];
        int numbers[THREADS];

        (void)state;
        start(threads, numbers);
        assert_true(becomes(&entered, LIMIT));
        turns_open(&turns);
        assert_true(becomes(&entered, THREADS));
        atomic_store(&hold, false);
        finish(threads);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_more_than_the_limit_are_inside),
                cmocka_unit_test(one_turn_wakes_one),
                cmocka_unit_test(at_the_end_nobody_waits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
