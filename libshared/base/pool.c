/*
 * The pool is one reserved range of addresses, cut into slabs; what is known of a slab lies outside of it, so a stray write into a piece breaks that piece
 * alone. A slab belongs to one size from its first piece to its last. Addresses become usable as slabs are first needed, and stay so: an empty slab's memory
 * goes back, its addresses do not.
 */
#include "base/pool.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define HIDE(piece, size) ASAN_POISON_MEMORY_REGION((piece), (size))
#define SHOW(piece, size) ASAN_UNPOISON_MEMORY_REGION((piece), (size))
/* A piece may hold the only pointer to something on the heap. */
#define LOOK_INTO(range, size) __lsan_register_root_region((range), (size))
#else
#define HIDE(piece, size)      ((void)0)
#define SHOW(piece, size)      ((void)0)
#define LOOK_INTO(range, size) ((void)0)
#endif

#define SLAB_BYTES ((size_t)16 << 10)
#define SLAB_COUNT ((size_t)16 << 10)
#define OPEN_SLABS ((size_t)64) /* made usable at a time */

/* Sizes: multiples of 32 up to 128, then four to each doubling, up to half a slab. */
#define STEP       ((size_t)32)
#define SIZE_LIMIT (SLAB_BYTES / 2)
#define SIZE_COUNT 28u

#define WORD_BITS 64u

struct slab {
        uint16_t size_class, pieces;
        uint64_t taken[SLAB_BYTES / STEP / WORD_BITS]; /* a bit for each place */
};

/* Numbers of slabs; none below the word `first`. */
struct slab_set {
        uint64_t words[SLAB_COUNT / WORD_BITS];
        size_t first;
};

static struct {
        pthread_mutex_t lock;
        bool reserved, unavailable;
        bool whole_pages; /* a slab is some: its memory can go back without its neighbours' */
        char *range;
        size_t open;                         /* slabs that are usable: the first ones */
        struct slab_set empty;               /* of these */
        struct slab_set partial[SIZE_COUNT]; /* with pieces and with room */
        struct slab slabs[SLAB_COUNT];
        struct pool_usage usage;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void set_add(struct slab_set *set, size_t slab)
{
        size_t word = slab / WORD_BITS;

        set->words[word] |= UINT64_C(1) << slab % WORD_BITS;
        if (word < set->first)
                set->first = word;
}

static void set_remove(struct slab_set *set, size_t slab)
{
        set->words[slab / WORD_BITS] &= ~(UINT64_C(1) << slab % WORD_BITS);
}

/* The lowest number, or SLAB_COUNT. */
static size_t set_first(struct slab_set *set)
{
        for (; set->first < SLAB_COUNT / WORD_BITS; set->first++)
                if (set->words[set->first])
                        return set->first * WORD_BITS + (size_t)__builtin_ctzll(set->words[set->first]);
        return SLAB_COUNT;
}

static unsigned class_of(size_t size)
{
        size_t steps = (size + STEP - 1) / STEP;
        unsigned shift;

        if (steps <= 4)
                return steps ? (unsigned)steps - 1 : 0;
        /* The highest bit says which doubling, the two below it which quarter of it. */
        steps = (size - 1) / STEP;
        shift = 61u - (unsigned)__builtin_clzll(steps);
        return 4 * shift + (unsigned)(steps >> shift);
}

static size_t size_of(unsigned size_class)
{
        unsigned shift = size_class < 4 ? 0 : size_class / 4 - 1;

        return ((size_t)size_class - 4 * shift + 1) * STEP << shift;
}

static bool reserve(void)
{
        void *range;

        if (pool.reserved || pool.unavailable)
                return pool.reserved;
        range = mmap(NULL, SLAB_COUNT * SLAB_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        pool.unavailable = range == MAP_FAILED;
        pool.reserved = !pool.unavailable;
        if (pool.reserved) {
                madvise(range, SLAB_COUNT * SLAB_BYTES, MADV_NOHUGEPAGE); /* a slab is to go back alone */
                pool.whole_pages = SLAB_BYTES % (size_t)sysconf(_SC_PAGESIZE) == 0;
                pool.range = range;
        }
        return pool.reserved;
}

static char *slab_start(size_t slab)
{
        return pool.range + slab * SLAB_BYTES;
}

static bool open_more(void)
{
        char *start = slab_start(pool.open);

        if (pool.open == SLAB_COUNT || mprotect(start, OPEN_SLABS * SLAB_BYTES, PROT_READ | PROT_WRITE) < 0)
                return false;
        HIDE(start, OPEN_SLABS * SLAB_BYTES);
        LOOK_INTO(start, OPEN_SLABS * SLAB_BYTES);
        for (size_t end = pool.open + OPEN_SLABS; pool.open < end; pool.open++)
                set_add(&pool.empty, pool.open);
        return true;
}

/* One with room for that size, or SLAB_COUNT: there is none to be had. */
static size_t slab_for(unsigned size_class)
{
        size_t slab = set_first(&pool.partial[size_class]);

        if (slab < SLAB_COUNT)
                return slab;
        if (!reserve())
                return SLAB_COUNT;
        slab = set_first(&pool.empty);
        if (slab == SLAB_COUNT && open_more())
                slab = set_first(&pool.empty);
        if (slab < SLAB_COUNT) {
                set_remove(&pool.empty, slab);
                set_add(&pool.partial[size_class], slab);
                pool.slabs[slab].size_class = (uint16_t)size_class;
                pool.usage.slab_bytes += SLAB_BYTES;
        }
        return slab;
}

/* The first free place of a slab that has one. */
static void *take_place(size_t slab, size_t size)
{
        struct slab *s = &pool.slabs[slab];
        unsigned word = 0, bit;

        while (!~s->taken[word])
                word++;
        bit = (unsigned)__builtin_ctzll(~s->taken[word]);
        s->taken[word] |= UINT64_C(1) << bit;
        if (++s->pieces == SLAB_BYTES / size)
                set_remove(&pool.partial[s->size_class], slab);
        pool.usage.pieces++;
        pool.usage.used_bytes += size;
        return slab_start(slab) + (word * WORD_BITS + bit) * size;
}

void *pool_allocate(size_t size)
{
        unsigned size_class;
        size_t slab, rounded;
        void *piece = NULL;

        if (size > SIZE_LIMIT)
                return memory_zero(1, size);
        size_class = class_of(size);
        rounded = size_of(size_class);
        pthread_mutex_lock(&pool.lock);
        slab = slab_for(size_class);
        if (slab < SLAB_COUNT) {
                piece = take_place(slab, rounded);
                SHOW(piece, size);
        }
        pthread_mutex_unlock(&pool.lock);
        return piece ? memset(piece, 0, size) : memory_zero(1, size);
}

char *pool_string_n(const char *data, size_t length)
{
        char *piece;

        if (length == SIZE_MAX)
                memory_exhausted();
        piece = pool_allocate(length + 1);
        if (length)
                memcpy(piece, data, length);
        return piece;
}

char *pool_string(const char *string)
{
        return pool_string_n(string, strlen(string));
}

static void give_place(size_t slab, size_t offset)
{
        struct slab *s = &pool.slabs[slab];
        size_t size = size_of(s->size_class), place = offset / size;
        uint64_t bit = UINT64_C(1) << place % WORD_BITS, *word = &s->taken[place / WORD_BITS];

        if (offset % size || !(*word & bit))
                abort();
        HIDE(slab_start(slab) + offset, size);
        *word &= ~bit;
        pool.usage.pieces--;
        pool.usage.used_bytes -= size;
        set_add(&pool.partial[s->size_class], slab);
        if (--s->pieces)
                return;
        set_remove(&pool.partial[s->size_class], slab);
        set_add(&pool.empty, slab);
        pool.usage.slab_bytes -= SLAB_BYTES;
        if (pool.whole_pages)
                madvise(slab_start(slab), SLAB_BYTES, MADV_DONTNEED);
}

void pool_free(void *piece)
{
        uintptr_t at = (uintptr_t)piece;
        bool ours;

        pthread_mutex_lock(&pool.lock);
        ours = pool.reserved && at - (uintptr_t)pool.range < SLAB_COUNT * SLAB_BYTES;
        if (ours)
                give_place((at - (uintptr_t)pool.range) / SLAB_BYTES, (at - (uintptr_t)pool.range) % SLAB_BYTES);
        pthread_mutex_unlock(&pool.lock);
        if (!ours)
                free(piece);
}

void pool_usage(struct pool_usage *ret_usage)
{
        pthread_mutex_lock(&pool.lock);
        *ret_usage = pool.usage;
        pthread_mutex_unlock(&pool.lock);
}
