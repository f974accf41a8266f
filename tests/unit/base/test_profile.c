#include "base/profile.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include "../test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic bool done;
static _Atomic unsigned long turns;

static void *burn(void *argument)
{
        (void)argument;
        pthread_setname_np(pthread_self(), "burner");
        while (!atomic_load(&done))
                atomic_fetch_add(&turns, 1);
        return NULL;
}

/* The sum of the counts of lines that begin so. */
static long counted(const struct buffer *text, const char *thread)
{
        struct view rest = buffer_view(text), line;
        long sum = 0;

        while (view_split(&rest, '\n', &line)) {
                cleanup(free_string) char *copy = memory_string_n(line.data, line.length);

                if (line.length && view_starts(line, view_of(thread)))
                        sum += atol(strrchr(copy, ' '));
        }
        return sum;
}

static void a_busy_thread_is_found(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        pthread_t thread;

        (void)state;
        profile_take(&text);
        assert_int_equal(text.length, 0);
        pthread_create(&thread, NULL, burn, NULL);
        assert_int_equal(profile_start(1), 0);
        assert_int_equal(profile_start(1), PROFILE_RUNNING);
        for (int i = 0; profile_start(1) == PROFILE_RUNNING && i < 10000; i++)
                usleep(2000);
        assert_int_equal(profile_start(1), PROFILE_FINISHED);
        atomic_store(&done, true);
        pthread_join(thread, NULL);
        profile_take(&text);
        assert_true(counted(&text, "burner;") > 0);
        /* The thread that slept was seldom seen. */
        assert_true(counted(&text, "burner;") > counted(&text, "") / 2);
}

static void one_that_is_cut_short_is_forgotten(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        (void)state;
        assert_int_equal(profile_start(100), 0); /* the one before was taken */
        assert_int_equal(profile_start(1), PROFILE_RUNNING);
        profile_take(&text);
        assert_int_equal(profile_start(100), 0);
        profile_take(&text);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_busy_thread_is_found),
                cmocka_unit_test(one_that_is_cut_short_is_forgotten),
        };

        return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
