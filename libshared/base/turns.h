/*
 * turns: so many at a time, in the order in which they asked.
 *
 * For work that many threads come to at the same moment, each with memory of its own and requests to the same server: at most `limit` are at it. A thread
 * has one turn at a time. From any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct turns {
        pthread_mutex_t lock;
        struct turns_waiter *first, **last;
        uint64_t asked, over;
        unsigned limit;
        bool open; /* everybody goes on at once */
};

/* `limit` is at least 1. */
void turns_init(struct turns *turns, unsigned limit);
/* Nobody may be inside. */
void turns_destroy(struct turns *turns);
/* Waits for a turn. Each is given back by turns_leave. */
void turns_take(struct turns *turns);
void turns_leave(struct turns *turns);
/* The end is near: nobody waits any more, now and later. */
void turns_open(struct turns *turns);
