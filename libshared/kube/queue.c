/*
 * Every known key is an item: waiting (in a heap by time), ready (in its namespace's line of its priority's level), running, or at rest with
 * failures to remember. What is added while an item runs is kept beside it and takes effect when it is done.
 */
#include "kube/queue.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum state {
        RESTING,
        WAITING,
        READY,
        RUNNING,
};

struct item {
        struct queue_item public; /* first: what queue_take hands out */
        struct item *hash_next;
        uint32_t hash;
        enum state state;
        unsigned failures;
        size_t place;                /* in the heap, from 1 */
        struct item *before, *after; /* in its line */
        struct line *line;
        bool again; /* added while it runs */
        int again_priority;
        bool again_retry;
        int64_t again_at;
        char text[];
};

/* The ready items of one namespace and priority, in the order they came. Lines of one level take turns. */
struct line {
        struct line *hash_next;
        struct line *before, *after; /* in the level's ring */
        struct level *level;
        struct item *first, *last;
        uint32_t hash;
        char namespace[];
};

struct level {
        struct level *below;
        int priority;
        size_t count, fresh;
        struct line *turn; /* whose turn it is; NULL: nothing is ready */
};

struct queue {
        pthread_mutex_t lock;
        pthread_cond_t any, fresh; /* what workers sleep on */
        unsigned any_sleeping, fresh_sleeping;
        bool down;
        struct queue_options options;
        struct item **items;
        size_t item_buckets, item_count;
        struct line **lines;
        size_t line_buckets, line_count;
        struct level *levels; /* highest first */
        struct item **heap;   /* from 1 */
        size_t heap_count, heap_capacity;
        struct queue_counts counts;
};

static int64_t now(const struct queue *queue)
{
        return queue->options.now ? queue->options.now(queue->options.data) : clock_now_ms();
}

static uint32_t hash_item(const char *namespace, const char *name)
{
        return (uint32_t)hash_add(hash_add(HASH_EMPTY, view_of(namespace)), view_of(name));
}

static bool is_fresh(const struct item *item)
{
        return item->public.priority >= QUEUE_PRIORITY_NORMAL && !item->public.retry;
}

struct queue *queue_new(const struct queue_options *options)
{
        struct queue *queue = memory_zero(1, sizeof(*queue));
        pthread_condattr_t attributes;

        queue->options = *options;
        if (!queue->options.base_delay_ms)
                queue->options.base_delay_ms = 750;
        if (!queue->options.maximum_delay_ms)
                queue->options.maximum_delay_ms = 15 * 60 * 1000;
        pthread_mutex_init(&queue->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&queue->any, &attributes);
        pthread_cond_init(&queue->fresh, &attributes);
        pthread_condattr_destroy(&attributes);
        queue->item_buckets = queue->line_buckets = 16;
        queue->items = memory_zero(queue->item_buckets, sizeof(struct item *));
        queue->lines = memory_zero(queue->line_buckets, sizeof(struct line *));
        return queue;
}

void queue_free(struct queue **queue)
{
        struct queue *old = *queue;

        *queue = NULL;
        if (!old)
                return;
        for (size_t i = 0; i < old->item_buckets; i++) {
                while (old->items[i]) {
                        struct item *item = old->items[i];

                        old->items[i] = item->hash_next;
                        pool_free(item);
                }
        }
        for (size_t i = 0; i < old->line_buckets; i++) {
                while (old->lines[i]) {
                        struct line *line = old->lines[i];

                        old->lines[i] = line->hash_next;
                        free(line);
                }
        }
        while (old->levels) {
                struct level *level = old->levels;

                old->levels = level->below;
                free(level);
        }
        free(old->items);
        free(old->lines);
        free(old->heap);
        pthread_cond_destroy(&old->any);
        pthread_cond_destroy(&old->fresh);
        pthread_mutex_destroy(&old->lock);
        free(old);
}

/* --- the heap of waiting items --- */

static void heap_place(struct queue *queue, size_t at, struct item *item)
{
        queue->heap[at] = item;
        item->place = at;
}

static void heap_up(struct queue *queue, size_t at, struct item *item)
{
        while (at > 1 && queue->heap[at / 2]->public.ready_at_ms > item->public.ready_at_ms) {
                heap_place(queue, at, queue->heap[at / 2]);
                at /= 2;
        }
        heap_place(queue, at, item);
}

static void heap_down(struct queue *queue, size_t at, struct item *item)
{
        for (;;) {
                size_t child = at * 2;

                if (child > queue->heap_count)
                        break;
                if (child < queue->heap_count &&
                    queue->heap[child + 1]->public.ready_at_ms < queue->heap[child]->public.ready_at_ms)
                        child++;
                if (queue->heap[child]->public.ready_at_ms >= item->public.ready_at_ms)
                        break;
                heap_place(queue, at, queue->heap[child]);
                at = child;
        }
        heap_place(queue, at, item);
}

static void heap_add(struct queue *queue, struct item *item)
{
        if (queue->heap_count + 1 >= queue->heap_capacity) {
                queue->heap_capacity = queue->heap_capacity ? queue->heap_capacity * 2 : 16;
                queue->heap = memory_resize(queue->heap, queue->heap_capacity, sizeof(struct item *));
        }
        heap_up(queue, ++queue->heap_count, item);
}

static void heap_remove(struct queue *queue, struct item *item)
{
        size_t at = item->place;
        struct item *last = queue->heap[queue->heap_count--];

        item->place = 0;
        if (last == item)
                return;
        if (at > 1 && queue->heap[at / 2]->public.ready_at_ms > last->public.ready_at_ms)
                heap_up(queue, at, last);
        else
                heap_down(queue, at, last);
}

/* --- levels and lines of ready items --- */

static struct level *level_of(struct queue *queue, int priority)
{
        struct level **at = &queue->levels, *level;

        while (*at && (*at)->priority > priority)
                at = &(*at)->below;
        if (*at && (*at)->priority == priority)
                return *at;
        level = memory_zero(1, sizeof(*level));
        level->priority = priority;
        level->below = *at;
        *at = level;
        return level;
}

static void grow_lines(struct queue *queue)
{
        size_t count = queue->line_buckets * 2;
        struct line **buckets = memory_zero(count, sizeof(struct line *));

        for (size_t i = 0; i < queue->line_buckets; i++) {
                while (queue->lines[i]) {
                        struct line *line = queue->lines[i];

                        queue->lines[i] = line->hash_next;
                        line->hash_next = buckets[line->hash & (count - 1)];
                        buckets[line->hash & (count - 1)] = line;
                }
        }
        free(queue->lines);
        queue->lines = buckets;
        queue->line_buckets = count;
}

static struct line **find_line(struct queue *queue, const struct level *level, const char *namespace, uint32_t hash)
{
        struct line **at = &queue->lines[hash & (queue->line_buckets - 1)];

        while (*at && !((*at)->level == level && strcmp((*at)->namespace, namespace) == 0))
                at = &(*at)->hash_next;
        return at;
}

/* A line that gets its first item goes to the end of the ring: behind all whose turn comes before. */
static struct line *line_of(struct queue *queue, struct level *level, const char *namespace)
{
        uint32_t hash = (uint32_t)hash_add(HASH_EMPTY + (uint32_t)level->priority, view_of(namespace));
        struct line **at = find_line(queue, level, namespace, hash), *line = *at;
        size_t length;

        if (line)
                return line;
        length = strlen(namespace);
        line = memory_zero(1, sizeof(*line) + length + 1);
        memcpy(line->namespace, namespace, length + 1);
        line->hash = hash;
        line->level = level;
        *at = line;
        if (++queue->line_count > queue->line_buckets)
                grow_lines(queue);
        if (level->turn) {
                line->after = level->turn;
                line->before = level->turn->before;
                line->before->after = line;
                line->after->before = line;
        } else {
                line->before = line->after = line;
                level->turn = line;
        }
        return line;
}

static void line_remove(struct queue *queue, struct line *line)
{
        struct level *level = line->level;

        *find_line(queue, level, line->namespace, line->hash) = line->hash_next;
        queue->line_count--;
        if (line->after == line) {
                level->turn = NULL;
        } else {
                line->before->after = line->after;
                line->after->before = line->before;
                if (level->turn == line)
                        level->turn = line->after;
        }
        free(line);
}

static void ready_add(struct queue *queue, struct item *item)
{
        struct level *level = level_of(queue, item->public.priority);
        struct line *line = line_of(queue, level, item->public.namespace);

        item->state = READY;
        item->line = line;
        item->after = NULL;
        item->before = line->last;
        if (line->last)
                line->last->after = item;
        else
                line->first = item;
        line->last = item;
        level->count++;
        level->fresh += is_fresh(item);
        queue->counts.ready++;
}

/* Takes an item out of its line. `served`: the line has had its turn. */
static void ready_remove(struct queue *queue, struct item *item, bool served)
{
        struct line *line = item->line;
        struct level *level = line->level;

        if (item->before)
                item->before->after = item->after;
        else
                line->first = item->after;
        if (item->after)
                item->after->before = item->before;
        else
                line->last = item->before;
        item->line = NULL;
        item->before = item->after = NULL;
        level->count--;
        level->fresh -= is_fresh(item);
        queue->counts.ready--;
        if (!line->first) {
                line_remove(queue, line);
        } else if (served) {
                /* To the end of the ring: what comes before it now has waited longer. */
                if (level->turn == line) {
                        level->turn = line->after;
                } else {
                        line->before->after = line->after;
                        line->after->before = line->before;
                        line->after = level->turn;
                        line->before = level->turn->before;
                        line->before->after = line;
                        line->after->before = line;
                }
        }
}

/* --- items --- */

static void grow_items(struct queue *queue)
{
        size_t count = queue->item_buckets * 2;
        struct item **buckets = memory_zero(count, sizeof(struct item *));

        for (size_t i = 0; i < queue->item_buckets; i++) {
                while (queue->items[i]) {
                        struct item *item = queue->items[i];

                        queue->items[i] = item->hash_next;
                        item->hash_next = buckets[item->hash & (count - 1)];
                        buckets[item->hash & (count - 1)] = item;
                }
        }
        free(queue->items);
        queue->items = buckets;
        queue->item_buckets = count;
}

static struct item **find_item(struct queue *queue, const char *namespace, const char *name, uint32_t hash)
{
        struct item **at = &queue->items[hash & (queue->item_buckets - 1)];

        while (*at &&
               !((*at)->hash == hash && strcmp((*at)->public.name, name) == 0 && strcmp((*at)->public.namespace, namespace) == 0))
                at = &(*at)->hash_next;
        return at;
}

static struct item *item_of(struct queue *queue, const char *namespace, const char *name)
{
        uint32_t hash = hash_item(namespace, name);
        struct item **at = find_item(queue, namespace, name, hash), *item = *at;
        size_t first, second;

        if (item)
                return item;
        first = strlen(namespace) + 1;
        second = strlen(name) + 1;
        item = pool_allocate(sizeof(*item) + first + second);
        memcpy(item->text, namespace, first);
        memcpy(item->text + first, name, second);
        item->public.namespace = item->text;
        item->public.name = item->text + first;
        item->hash = hash;
        *at = item;
        if (++queue->item_count > queue->item_buckets)
                grow_items(queue);
        return item;
}

static void item_rest(struct queue *queue, struct item *item)
{
        item->state = RESTING;
        if (item->failures)
                return;
        *find_item(queue, item->public.namespace, item->public.name, item->hash) = item->hash_next;
        queue->item_count--;
        pool_free(item);
}

/* From rest, or after its run: ready or waiting. */
static void item_start(struct queue *queue, struct item *item, int priority, bool retry, int64_t at, int64_t instant)
{
        item->public.priority = priority;
        item->public.retry = retry;
        item->public.ready_at_ms = at > instant ? at : instant;
        if (at <= instant) {
                ready_add(queue, item);
                return;
        }
        item->state = WAITING;
        heap_add(queue, item);
}

static void promote(struct queue *queue, int64_t instant)
{
        while (queue->heap_count && queue->heap[1]->public.ready_at_ms <= instant) {
                struct item *item = queue->heap[1];

                heap_remove(queue, item);
                ready_add(queue, item);
        }
}

/* Wakes a worker that has something to do: one that takes anything if there is one, else the one for fresh work. */
static void wake(struct queue *queue)
{
        if (queue->any_sleeping)
                pthread_cond_signal(&queue->any);
        else if (queue->fresh_sleeping)
                pthread_cond_signal(&queue->fresh);
}

static void merge(struct queue *queue, struct item *item, int priority, bool retry, int64_t at, int64_t instant)
{
        switch (item->state) {
        case RESTING:
                item_start(queue, item, priority, retry, at, instant);
                break;
        case WAITING:
                heap_remove(queue, item);
                item_start(queue, item, priority > item->public.priority ? priority : item->public.priority,
                           retry && item->public.retry, at < item->public.ready_at_ms ? at : item->public.ready_at_ms, instant);
                break;
        case READY:
                if (priority > item->public.priority) {
                        ready_remove(queue, item, false);
                        item->public.priority = priority;
                        item->public.retry &= retry;
                        ready_add(queue, item);
                } else if (item->public.retry && !retry) {
                        item->public.retry = false;
                        item->line->level->fresh += is_fresh(item);
                }
                break;
        case RUNNING:
                if (!item->again) {
                        item->again = true;
                        item->again_priority = priority;
                        item->again_retry = retry;
                        item->again_at = at;
                } else {
                        if (priority > item->again_priority)
                                item->again_priority = priority;
                        if (at < item->again_at)
                                item->again_at = at;
                        item->again_retry &= retry;
                }
                return;
        }
        wake(queue);
}

static void add_after(struct queue *queue, const char *namespace, const char *name, int priority, bool retry, int64_t delay_ms)
{
        int64_t instant = now(queue), at;

        pthread_mutex_lock(&queue->lock);
        queue->counts.adds++;
        queue->counts.retries += retry;
        if (delay_ms < 0)
                delay_ms = 0;
        at = delay_ms > CLOCK_NEVER - instant ? CLOCK_NEVER : instant + delay_ms;
        merge(queue, item_of(queue, namespace, name), priority, retry, at, instant);
        pthread_mutex_unlock(&queue->lock);
}

void queue_add_after(struct queue *queue, const char *namespace, const char *name, int priority, int64_t delay_ms)
{
        add_after(queue, namespace, name, priority, false, delay_ms);
}

void queue_add_retry(struct queue *queue, const char *namespace, const char *name, int priority, int64_t delay_ms)
{
        add_after(queue, namespace, name, priority, true, delay_ms);
}

void queue_add(struct queue *queue, const char *namespace, const char *name, int priority)
{
        queue_add_after(queue, namespace, name, priority, 0);
}

int64_t queue_add_limited(struct queue *queue, const char *namespace, const char *name, int priority)
{
        int64_t instant = now(queue), delay;
        struct item *item;

        pthread_mutex_lock(&queue->lock);
        queue->counts.adds++;
        queue->counts.retries++;
        item = item_of(queue, namespace, name);
        delay = queue->options.base_delay_ms;
        for (unsigned i = 0; i < item->failures && delay < queue->options.maximum_delay_ms; i++)
                delay *= 2;
        if (delay > queue->options.maximum_delay_ms)
                delay = queue->options.maximum_delay_ms;
        item->failures++;
        merge(queue, item, priority, true, instant + delay, instant);
        pthread_mutex_unlock(&queue->lock);
        return delay;
}

void queue_hurry(struct queue *queue)
{
        int64_t instant = now(queue);

        pthread_mutex_lock(&queue->lock);
        for (size_t i = 0; i < queue->item_buckets; i++) {
                for (struct item *item = queue->items[i]; item; item = item->hash_next) {
                        if (item->state == WAITING && item->public.retry) {
                                heap_remove(queue, item);
                                item_start(queue, item, item->public.priority, true, instant, instant);
                                item->failures = 0;
                        } else if (item->state == RUNNING && item->again && item->again_retry) {
                                item->again_at = instant;
                                item->failures = 0;
                        }
                }
        }
        wake(queue);
        pthread_mutex_unlock(&queue->lock);
}

void queue_forget(struct queue *queue, const char *namespace, const char *name)
{
        struct item *item;

        pthread_mutex_lock(&queue->lock);
        item = *find_item(queue, namespace, name, hash_item(namespace, name));
        if (item) {
                item->failures = 0;
                if (item->state == RESTING)
                        item_rest(queue, item);
        }
        pthread_mutex_unlock(&queue->lock);
}

unsigned queue_failures(struct queue *queue, const char *namespace, const char *name)
{
        const struct item *item;
        unsigned failures = 0;

        pthread_mutex_lock(&queue->lock);
        item = *find_item(queue, namespace, name, hash_item(namespace, name));
        if (item)
                failures = item->failures;
        pthread_mutex_unlock(&queue->lock);
        return failures;
}

/* --- taking --- */

static struct item *first_of(const struct level *level, bool fresh_only)
{
        const struct line *line = level->turn;

        if (!line || (fresh_only && !level->fresh))
                return NULL;
        if (!fresh_only)
                return line->first;
        do {
                for (struct item *item = line->first; item; item = item->after)
                        if (is_fresh(item))
                                return item;
                line = line->after;
        } while (line != level->turn);
        return NULL;
}

static struct item *take(struct queue *queue, bool fresh_only)
{
        promote(queue, now(queue));
        for (struct level *level = queue->levels; level; level = level->below) {
                struct item *item;

                if (fresh_only && level->priority < QUEUE_PRIORITY_NORMAL)
                        break;
                item = first_of(level, fresh_only);
                if (!item)
                        continue;
                ready_remove(queue, item, true);
                item->state = RUNNING;
                queue->counts.running++;
                return item;
        }
        return NULL;
}

const struct queue_item *queue_try(struct queue *queue, bool fresh_only)
{
        struct item *item;

        pthread_mutex_lock(&queue->lock);
        item = queue->down ? NULL : take(queue, fresh_only);
        pthread_mutex_unlock(&queue->lock);
        return item ? &item->public : NULL;
}

static void sleep_on(struct queue *queue, bool fresh_only, int64_t until_ms)
{
        pthread_cond_t *condition = fresh_only ? &queue->fresh : &queue->any;
        unsigned *sleeping = fresh_only ? &queue->fresh_sleeping : &queue->any_sleeping;

        if (queue->heap_count && queue->heap[1]->public.ready_at_ms < until_ms)
                until_ms = queue->heap[1]->public.ready_at_ms;
        ++*sleeping;
        if (until_ms != CLOCK_NEVER) {
                struct timespec until = clock_timespec(until_ms);

                pthread_cond_timedwait(condition, &queue->lock, &until);
        } else {
                pthread_cond_wait(condition, &queue->lock);
        }
        --*sleeping;
}

const struct queue_item *queue_take(struct queue *queue, bool fresh_only, int64_t until_ms)
{
        struct item *item = NULL;

        pthread_mutex_lock(&queue->lock);
        while (!queue->down && !(item = take(queue, fresh_only))) {
                /* What came due here is not for this worker. */
                if (fresh_only && queue->counts.ready && queue->any_sleeping)
                        pthread_cond_signal(&queue->any);
                if (until_ms != CLOCK_NEVER && clock_now_ms() >= until_ms)
                        break;
                sleep_on(queue, fresh_only, until_ms);
        }
        /* What else is ready, or became so with this one, is another worker's. */
        if (item && (queue->counts.ready || queue->heap_count))
                wake(queue);
        pthread_mutex_unlock(&queue->lock);
        return item ? &item->public : NULL;
}

void queue_done(struct queue *queue, const struct queue_item *done)
{
        struct item *item = (struct item *)(uintptr_t)done;

        pthread_mutex_lock(&queue->lock);
        queue->counts.running--;
        if (item->again) {
                item->again = false;
                item_start(queue, item, item->again_priority, item->again_retry, item->again_at, now(queue));
                wake(queue);
        } else {
                item_rest(queue, item);
        }
        pthread_mutex_unlock(&queue->lock);
}

void queue_shut_down(struct queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        queue->down = true;
        pthread_cond_broadcast(&queue->any);
        pthread_cond_broadcast(&queue->fresh);
        pthread_mutex_unlock(&queue->lock);
}

void queue_counts(struct queue *queue, struct queue_counts *ret_counts)
{
        pthread_mutex_lock(&queue->lock);
        promote(queue, now(queue));
        *ret_counts = queue->counts;
        ret_counts->waiting = queue->heap_count;
        pthread_mutex_unlock(&queue->lock);
}

void queue_depths(struct queue *queue, void (*each)(void *data, int priority, size_t count), void *data)
{
        pthread_mutex_lock(&queue->lock);
        for (const struct level *level = queue->levels; level; level = level->below)
                each(data, level->priority, level->count);
        pthread_mutex_unlock(&queue->lock);
}
