/* memory: texts, and what goes back to the kernel. */
#include "base/memory.h"

#include "../test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECES 200000

static void texts(void **state)
{
        char *whole = memory_string("apps/v1"), *part = memory_string_n("apps/v1", 4), *none = memory_string_n(NULL, 0),
             *printed = memory_printf("%s/%d", "apps", 1);

        (void)state;
        assert_string_equal(whole, "apps/v1");
        assert_string_equal(part, "apps");
        assert_string_equal(none, "");
        assert_string_equal(printed, "apps/1");
        free(whole);
        free(part);
        free(none);
        free(printed);
}

/* What a process says that cannot go on: whoever reads it must not look for the wrong thing. */
static void the_end_says_why(void **state)
{
        static const struct {
                void (*end)(void);
                const char *line;
        } cases[] = {
                { memory_exhausted, "{\"level\":\"error\",\"msg\":\"out of memory\"}\n" },
                { descriptors_exhausted, "{\"level\":\"error\",\"msg\":\"out of file descriptors: raise ulimit -n\"}\n" },
                { threads_exhausted, "{\"level\":\"error\",\"msg\":\"no thread can be started: raise the limit of processes (the "
                                     "container's pids, ulimit -u)\"}\n" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                char text[256] = "";
                int ends[2], status;
                pid_t child;

                assert_int_equal(pipe(ends), 0);
                child = fork();
                if (child == 0) {
                        dup2(ends[1], STDERR_FILENO);
                        cases[i].end();
                }
                close(ends[1]);
                assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
                close(ends[0]);
                assert_string_equal(text, cases[i].line);
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
        }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which have heaps of their own */

static size_t resident_bytes(void)
{
        unsigned long size, resident;
        FILE *file = fopen("/proc/self/statm", "r");

        assert_non_null(file);
        assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
        fclose(file);
        return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void *take_and_free(void *argument)
{
        void **pieces = memory_zero(PIECES, sizeof(*pieces));

        (void)argument;
        for (size_t i = 0; i < PIECES; i++)
                pieces[i] = memset(memory_allocate(40 + i % 60), 1, 40);
        for (size_t i = 0; i < PIECES; i++)
                free(pieces[i]);
        free(pieces);
        return NULL;
}

/* Whichever thread it was, and though nobody asks for memory after it. */
static void freed_by_a_thread_goes_back(void **state)
{
        size_t before = resident_bytes();
        pthread_t thread;

        (void)state;
        assert_int_equal(pthread_create(&thread, NULL, take_and_free, NULL), 0);
        pthread_join(thread, NULL);
        memory_trim();
        assert_true(resident_bytes() < before + ((size_t)4 << 20));
}

/* Pages of files: of the program and of its libraries. */
static size_t mapped_bytes(void)
{
        unsigned long size, resident, shared;
        FILE *file = fopen("/proc/self/statm", "r");

        assert_non_null(file);
        assert_int_equal(fscanf(file, "%lu %lu %lu", &size, &resident, &shared), 3);
        fclose(file);
        return shared * (size_t)sysconf(_SC_PAGESIZE);
}

static int in_order(const void *a, const void *b)
{
        return *(const int *)a - *(const int *)b;
}

/* Twice, as a program comes to rest again and again: what is constant and what was relocated is as it was, and the code runs. */
static void at_rest_programs_go_back(void **state)
{
        int (*volatile compare)(const void *, const void *) = in_order;
        size_t before = mapped_bytes();

        (void)state;
        for (int i = 0; i < 2; i++) {
                int numbers[] = { 3, 1, 2 };
                char text[32];

                memory_rest();
                assert_true(mapped_bytes() < before * 3 / 4);
                qsort(numbers, 3, sizeof(*numbers), compare);
                snprintf(text, sizeof(text), "%d %d %d %.2f", numbers[0], numbers[1], numbers[2], 0.5);
                assert_string_equal(text, "1 2 3 0.50");
        }
}

#endif

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(texts),
                cmocka_unit_test(the_end_says_why),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
                cmocka_unit_test(freed_by_a_thread_goes_back),
                cmocka_unit_test(at_rest_programs_go_back),
#endif
        };

        memory_tune();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
