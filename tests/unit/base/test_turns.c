/*
 * Turns: so many at a time, in the order in which they asked.
 */
#include "base/turns.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define THREADS 24
#define LIMIT   3

static struct turns turns;
static _Atomic int inside, most, entered, came[THREADS], left;
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

static void *take_and_leave(void *argument)
{
        int now, before = atomic_load(&most);

        turns_take(&turns);
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
                cmocka_unit_test(at_the_end_nobody_waits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
