/*
 * pool: pieces that live long, apart from those that come and go.
 *
 * A heap gives a page back when nothing on it is in use. What a watch keeps for hours lies, on the heap, between the trees of the runs that were under way
 * when it came, and each such piece keeps a page of theirs. Here pieces of one size lie together, in slabs of 16 KiB that go back to the kernel when they are
 * empty (not where a page is 64 KiB, as on some arm64 machines); a new piece takes the first place that is free, so that the last slabs empty. What is too large
 * to share a slab, and what comes when the pool's 256 MiB are taken, is on the heap.
 *
 * One pool for the process, from any thread. A piece that is given back twice, or that is none, ends the process.
 */
#pragma once

#include <stddef.h>

/* Zeroed, aligned for any type; never NULL. Given back with pool_free, not with free(). */
void *pool_allocate(size_t size) __attribute__((__malloc__, __returns_nonnull__));
/* A copy, terminated. */
char *pool_string_n(const char *data, size_t length) __attribute__((__malloc__, __returns_nonnull__));
char *pool_string(const char *string) __attribute__((__malloc__, __returns_nonnull__));
/* NULL is fine. */
void pool_free(void *piece);

struct pool_usage {
        size_t pieces;     /* not counting those on the heap */
        size_t used_bytes; /* what they were rounded up to */
        size_t slab_bytes; /* what their slabs take, at most */
};

void pool_usage(struct pool_usage *ret_usage);
