/*
 * context: one token for deadline and cancellation, honoured by every wait.
 *
 * Contexts nest: process > leadership > run > step. Cancelling one cancels all below it; a deadline is the earliest of the chain. A context is a
 * plain struct on the stack of the one who opens it; it must be closed before its parent.
 *
 * All blocking in weir ends in context_poll: a worker that waits for an answer, a child or a timer sleeps in poll(2) on its own eventfd and
 * what it waits for, so a cancellation from any thread ends the wait at once.
 */
#pragma once

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pollfd;

/* By rank: a higher cause replaces a lower one. */
enum context_cause {
        CONTEXT_RUNNING,
        CONTEXT_SUPERSEDED, /* a newer trigger for the same object */
        CONTEXT_GONE,       /* the object is not there any more */
        CONTEXT_TIMEOUT,
        CONTEXT_LEASE_LOST,
        CONTEXT_SHUTDOWN,
};

struct context_waiter;

struct context {
        struct context *parent;
        int64_t deadline_ms; /* monotonic; CLOCK_NEVER: none of its own */
        _Atomic int cause;
        pthread_mutex_t lock;
        struct context_waiter *waiters;
};

/* parent may be NULL for the process's own; deadline_ms is an instant of clock_now_ms(), or CLOCK_NEVER. */
void context_open(struct context *context, struct context *parent, int64_t deadline_ms);
void context_close(struct context *context); /* for cleanup(context_close) */

/* From any thread, also a signal-handling one (not from a signal handler). */
void context_cancel(struct context *context, enum context_cause cause);
/* The highest cause of the chain; a passed deadline counts as CONTEXT_TIMEOUT. */
enum context_cause context_cause(const struct context *context);
/* The earliest deadline of the chain. */
int64_t context_deadline(const struct context *context);
/* 0 while it may go on, else -1 with ERROR_TIMEOUT or ERROR_CANCELLED. Long computations call it at least every millisecond. */
int context_check(struct context *context, struct error *error);

/*
 * poll(2) that ends early: at the deadline, on cancellation, or when this thread's wake descriptor is signalled.
 *
 *   timeout_ms  at most this long; -1: as long as the context allows
 *   >= 0        as poll: the number of descriptors with events; 0 is the timeout or a wake
 *   -1          cancelled or past the deadline
 */
int context_poll(struct context *context, struct pollfd *descriptors, unsigned count, int64_t timeout_ms, struct error *error);
/* Sleeps for that long. -1 as context_poll. */
int context_sleep(struct context *context, int64_t milliseconds, struct error *error);

/*
 * The calling thread's wake handle: what completes a wait (the io thread, a peer worker) calls context_wake with it, and a context_poll of
 * the thread that asked for the handle returns 0. Wakes may come early or late: the waiter checks its own condition in a loop.
 */
int context_wake_handle(void);
void context_wake(int handle);
