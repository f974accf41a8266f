/* pool: what is handed out, what goes back to the kernel, and many threads at once. */
#include "base/pool.h"

#include "../test.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLAB ((size_t)16 << 10)

static bool all_are(const unsigned char *piece, size_t size, unsigned char value)
{
        for (size_t i = 0; i < size; i++)
                if (piece[i] != value)
                        return false;
        return true;
}

static size_t slab_bytes(void)
{
        struct pool_usage usage;

        pool_usage(&usage);
        return usage.slab_bytes;
}

static size_t pieces(void)
{
        struct pool_usage usage;

        pool_usage(&usage);
        return usage.pieces;
}

/* Of the pages that pieces lie on, how many are in memory. */
static size_t resident_pages(unsigned char *const *list, size_t count)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE), resident = 0;

        for (size_t i = 0; i < count; i++) {
                unsigned char here = 0;

                assert_int_equal(mincore((void *)((uintptr_t)list[i] / page * page), page, &here), 0);
                resident += here & 1;
        }
        return resident;
}

/* Every size up to what has no slab any more: zeroed, aligned, wasting no more than a quarter, and nobody else's. */
static void sizes(void **state)
{
        enum { LAST = 9000 };
        static unsigned char *held[LAST + 1][2];
        struct pool_usage before, after;

        (void)state;
        for (size_t size = 0; size <= LAST; size++) {
                for (int i = 0; i < 2; i++) {
                        pool_usage(&before);
                        held[size][i] = pool_allocate(size);
                        pool_usage(&after);
                        assert_int_equal((uintptr_t)held[size][i] % alignof(max_align_t), 0);
                        assert_true(all_are(held[size][i], size, 0));
                        memset(held[size][i], (int)(size % 251 + 1), size);
                        assert_int_equal(after.pieces - before.pieces, size <= SLAB / 2);
                        if (size <= SLAB / 2) {
                                assert_true(after.used_bytes - before.used_bytes >= size);
                                assert_true(after.used_bytes - before.used_bytes <= (size <= 128 ? size + 32 : size + size / 4));
                        }
                }
        }
        for (size_t size = 0; size <= LAST; size++) {
                for (int i = 0; i < 2; i++) {
                        assert_true(all_are(held[size][i], size, (unsigned char)(size % 251 + 1)));
                        pool_free(held[size][i]);
                }
        }
        assert_int_equal(slab_bytes(), 0);
        assert_int_equal(pieces(), 0);
}

static void strings(void **state)
{
        char *whole = pool_string("apps"), *part = pool_string_n("apps/v1", 4), *none = pool_string_n(NULL, 0);

        (void)state;
        assert_string_equal(whole, "apps");
        assert_string_equal(part, "apps");
        assert_string_equal(none, "");
        pool_free(whole);
        pool_free(part);
        pool_free(none);
        pool_free(NULL);
        assert_int_equal(pieces(), 0);
}

/* A place that is free is taken before a new one, the first before a later one; what was in it is not seen again. */
static void places_are_taken_again(void **state)
{
        unsigned char *list[300];

        (void)state;
        for (size_t i = 0; i < 300; i++)
                list[i] = memset(pool_allocate(200), 7, 200);
        for (size_t i = 0; i < 300; i += 3) {
                pool_free(list[i]);
                list[i] = NULL;
        }
        for (size_t i = 0, last = 0; i < 300; i += 3) {
                unsigned char *piece = pool_allocate(200);

                assert_true(all_are(piece, 200, 0));
                assert_true((uintptr_t)piece > last);
                last = (uintptr_t)piece;
                list[i] = piece;
        }
        for (size_t i = 0; i < 300; i++)
                pool_free(list[i]);
        assert_int_equal(slab_bytes(), 0);
}

/* The pages of an empty slab leave memory; those of a slab with one piece left stay. */
static void empty_slabs_go_back(void **state)
{
        enum { COUNT = 512, SIZE = 1024, EACH = SLAB / SIZE };
        static unsigned char *list[COUNT];

        (void)state;
        for (size_t i = 0; i < COUNT; i++)
                list[i] = memset(pool_allocate(SIZE), 1, SIZE);
        assert_int_equal(slab_bytes(), COUNT * SIZE);
        assert_int_equal(resident_pages(list, COUNT), COUNT);
        for (size_t i = 0; i < COUNT; i++)
                if (i % EACH || i >= COUNT / 2)
                        pool_free(list[i]);
        assert_int_equal(slab_bytes(), COUNT * SIZE / 2);
        assert_int_equal(resident_pages(list + COUNT / 2, COUNT / 2), 0);
        for (size_t i = 0; i < COUNT / 2; i += EACH) {
                assert_true(all_are(list[i], SIZE, 1));
                pool_free(list[i]);
        }
        assert_int_equal(slab_bytes(), 0);
        assert_int_equal(resident_pages(list, COUNT), 0);
}

struct worker {
        pthread_t thread;
        unsigned seed;
        unsigned char mark;
        bool wrong;
};

static void *churn(void *argument)
{
        struct worker *worker = argument;
        struct {
                unsigned char *piece;
                size_t size;
        } held[64] = { 0 };

        for (unsigned i = 0; i < 20000; i++) {
                unsigned at = (unsigned)rand_r(&worker->seed) % 64;

                if (held[at].piece) {
                        worker->wrong |= !all_are(held[at].piece, held[at].size, worker->mark);
                        pool_free(held[at].piece);
                }
                held[at].size = (size_t)rand_r(&worker->seed) % 700;
                held[at].piece = pool_allocate(held[at].size);
                worker->wrong |= !all_are(held[at].piece, held[at].size, 0);
                for (unsigned other = 0; other < 64; other++)
                        if (held[other].piece)
                                memset(held[other].piece, worker->mark, held[other].size);
        }
        for (unsigned at = 0; at < 64; at++)
                pool_free(held[at].piece);
        return NULL;
}

/* Each thread writes into its own pieces all the time: a piece that two of them got would show. */
static void threads(void **state)
{
        struct worker workers[4];

        (void)state;
        for (unsigned i = 0; i < 4; i++) {
                workers[i] = (struct worker){ .seed = i + 1, .mark = (unsigned char)(i + 1) };
                assert_int_equal(pthread_create(&workers[i].thread, NULL, churn, &workers[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++)
                pthread_join(workers[i].thread, NULL);
        for (unsigned i = 0; i < 4; i++)
                assert_false(workers[i].wrong);
        assert_int_equal(pieces(), 0);
        assert_int_equal(slab_bytes(), 0);
}

static int end_of(void (*fn)(void))
{
        int status;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
                signal(SIGABRT, SIG_DFL);
                fn();
                _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void free_twice(void)
{
        char *other = pool_allocate(40), *piece = pool_allocate(40);

        pool_free(piece);
        pool_free(piece);
        pool_free(other);
}

static void free_inside(void)
{
        pool_free((char *)pool_allocate(200) + 32);
}

#define NO_LIMIT 77 /* as under qemu-user */

/* No addresses to be had: all the same, from the heap. */
static void without_addresses(void)
{
        struct rlimit limit = { 0, 0 };
        char *piece;

        setrlimit(RLIMIT_AS, &limit);
        if (mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
                _exit(NO_LIMIT);
        piece = pool_allocate(100);
        if (!all_are((unsigned char *)piece, 100, 0) || pieces() != 0)
                _exit(1);
        pool_free(piece);
}

static void misuse_ends_the_process(void **state)
{
        (void)state;
        assert_int_equal(end_of(free_twice), SIGABRT);
        assert_int_equal(end_of(free_inside), SIGABRT);
}

static void no_addresses(void **state)
{
        int end;

        (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        skip(); /* they need addresses themselves */
#endif
        end = end_of(without_addresses);
        if (end == -NO_LIMIT)
                skip();
        assert_int_equal(end, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_addresses), /* first: the pool has none yet */
                cmocka_unit_test(sizes),
                cmocka_unit_test(strings),
                cmocka_unit_test(places_are_taken_again),
                cmocka_unit_test(empty_slabs_go_back),
                cmocka_unit_test(threads),
                cmocka_unit_test(misuse_ends_the_process),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
