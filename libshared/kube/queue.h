/*
 * queue: what is to be reconciled next.
 *
 * An item is an object's key. It waits for its time, is ready, or runs; it never runs twice at once: added while it runs, it runs once more
 * afterwards. Of several adds the earliest time and the highest priority hold. Ready items go by priority, then namespaces take
 * turns, and within a namespace the first comes first; so one tenant's thousand objects do not stand before another's one.
 *
 * Failures wait min(base * 2^n, maximum), n counting the failures since the last queue_forget. One worker may be kept for fresh
 * work: items of priority 0 and above that are not retries, so that objects that fail slowly never occupy all.
 *
 * Safe from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

#define QUEUE_PRIORITY_NORMAL  0
#define QUEUE_PRIORITY_INITIAL (-100) /* what was there at start */

struct queue_options {
        int64_t base_delay_ms, maximum_delay_ms; /* 0: 750 ms, 15 min */
        int64_t (*now)(void *data);              /* for tests; NULL: clock_now_ms */
        void *data;
};

struct queue *queue_new(const struct queue_options *options);
void queue_free(struct queue **queue); /* nobody may still be inside */

void queue_add(struct queue *queue, const char *namespace, const char *name, int priority);
/* Ready in `delay_ms`; 0 and less is now. */
void queue_add_after(struct queue *queue, const char *namespace, const char *name, int priority, int64_t delay_ms);
/* Ready after the item's next back-off delay, which is returned; counts as a failure and as a retry. */
int64_t queue_add_limited(struct queue *queue, const char *namespace, const char *name, int priority);
/* Ready in `delay_ms`, as a retry: the caller knows better than the back-off when to try again. */
void queue_add_retry(struct queue *queue, const char *namespace, const char *name, int priority, int64_t delay_ms);
/* What failures may have come of is over: retries that wait are ready now, and their failures are forgotten. */
void queue_hurry(struct queue *queue);
/* The item did well: its failures are forgotten. */
void queue_forget(struct queue *queue, const char *namespace, const char *name);
unsigned queue_failures(struct queue *queue, const char *namespace, const char *name);

/* A running item; valid until queue_done. */
struct queue_item {
        const char *namespace, *name;
        int priority;
        bool retry;          /* was added by queue_add_limited or queue_add_retry and by nothing since */
        int64_t ready_at_ms; /* since when it could have run */
};

/*
 * Waits for an item and marks it running. `fresh_only`: this worker takes nothing below priority 0 and no retries.
 * NULL after queue_shut_down (what is ready then stays where it is), or when there was nothing to take until `until_ms`, an instant of clock_now_ms
 * or CLOCK_NEVER.
 */
const struct queue_item *queue_take(struct queue *queue, bool fresh_only, int64_t until_ms);
/* The same without waiting: NULL if nothing is ready. */
const struct queue_item *queue_try(struct queue *queue, bool fresh_only);
/* The run is over: if the item was added meanwhile it is ready (or waits) again. */
void queue_done(struct queue *queue, const struct queue_item *item);

void queue_shut_down(struct queue *queue);

/* For metrics. Depth counts ready items. `each` is called once per priority that there ever was, also with 0. */
struct queue_counts {
        uint64_t adds, retries;
        size_t ready, waiting, running;
};
void queue_counts(struct queue *queue, struct queue_counts *ret_counts);
void queue_depths(struct queue *queue, void (*each)(void *data, int priority, size_t count), void *data);
