#include "kube/watch_private.h"

#include "base/clock.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>

#define LINGER_MS (10 * 60 * 1000)

/* Of one resource; made by its first user, unmade on the io thread some time after its last. */
struct pooled {
        struct pooled *next;
        struct watch_pool *pool;
        const struct kube_resource *resource;
        struct cache *cache;
        struct watch *watch;
        unsigned users;
        int64_t unused_since_ms;
        struct io_timer timer;
};

struct watch_pool {
        struct watch_pool_options options;
        char *label_selector;
        pthread_mutex_t lock;
        struct pooled *first;
};

struct watch_pool *watch_pool_new(const struct watch_pool_options *options)
{
        struct watch_pool *pool = memory_zero(1, sizeof(*pool));

        pool->options = *options;
        if (!pool->options.linger_ms)
                pool->options.linger_ms = LINGER_MS;
        pool->label_selector = memory_string(options->label_selector ? options->label_selector : "");
        pthread_mutex_init(&pool->lock, NULL);
        return pool;
}

static void pooled_event(void *data, const struct cache_event *event)
{
        struct pooled *pooled = data;

        if (pooled->pool->options.handle)
                pooled->pool->options.handle(pooled->pool->options.data, pooled->resource, event);
}

static void pooled_failed(void *data, struct watch *watch, const struct error *error)
{
        struct pooled *pooled = data;

        (void)watch;
        if (pooled->pool->options.failed)
                pooled->pool->options.failed(pooled->pool->options.data, pooled->resource, error);
}

static void pooled_restored(void *data, struct watch *watch)
{
        struct pooled *pooled = data;

        (void)watch;
        if (pooled->pool->options.restored)
                pooled->pool->options.restored(pooled->pool->options.data, pooled->resource);
}

static void pooled_free(struct pooled *pooled)
{
        io_timer_cancel(pooled->pool->options.io, &pooled->timer);
        watch_stop_here(pooled->watch);
        cache_free(&pooled->cache);
        free(pooled);
}

static struct pooled **find(struct watch_pool *pool, const struct kube_resource *resource)
{
        struct pooled **at = &pool->first;

        while (*at && (*at)->resource != resource)
                at = &(*at)->next;
        return at;
}

/* On the io thread, when nobody has used it for long; or too early, because somebody does, or did meanwhile. */
static void expire(void *argument)
{
        struct pooled *pooled = argument;
        struct watch_pool *pool = pooled->pool;
        int64_t end_ms;
        bool unused;

        pthread_mutex_lock(&pool->lock);
        end_ms = pooled->unused_since_ms + pool->options.linger_ms;
        unused = pooled->users == 0 && clock_now_ms() >= end_ms;
        if (unused)
                *find(pool, pooled->resource) = pooled->next;
        else if (pooled->users == 0)
                io_timer_set(pool->options.io, &pooled->timer, end_ms);
        pthread_mutex_unlock(&pool->lock);
        if (unused && pool->options.ended)
                pool->options.ended(pool->options.data, pooled->resource);
        if (unused)
                pooled_free(pooled);
}

/* What a release asks of the io thread: the entry may be gone or in use again by then. */
struct linger {
        struct watch_pool *pool;
        const struct kube_resource *resource;
};

static void linger(void *argument)
{
        struct linger *request = argument;
        struct watch_pool *pool = request->pool;
        struct pooled *pooled;

        pthread_mutex_lock(&pool->lock);
        pooled = *find(pool, request->resource);
        if (pooled && pooled->users == 0)
                io_timer_set(pool->options.io, &pooled->timer, pooled->unused_since_ms + pool->options.linger_ms);
        pthread_mutex_unlock(&pool->lock);
        free(request);
}

struct watch *watch_pool_use(struct watch_pool *pool, const struct kube_resource *resource)
{
        struct pooled *pooled;

        pthread_mutex_lock(&pool->lock);
        pooled = *find(pool, resource);
        if (!pooled) {
                pooled = memory_zero(1, sizeof(*pooled));
                pooled->pool = pool;
                pooled->resource = resource;
                pooled->timer = (struct io_timer){ .fn = expire, .argument = pooled };
                pooled->cache = cache_new(CACHE_HEADERS);
                cache_add_handler(pooled->cache, pooled_event, pooled);
                pooled->watch = watch_start(pool->options.io, &(struct watch_options){
                                                                      .client = pool->options.client,
                                                                      .resource = resource,
                                                                      .label_selector = pool->label_selector,
                                                                      .metadata_only = true,
                                                                      .optional = true,
                                                                      .cache = pooled->cache,
                                                                      .failed = pooled_failed,
                                                                      .restored = pooled_restored,
                                                                      .data = pooled,
                                                              });
                pooled->next = pool->first;
                pool->first = pooled;
        }
        pooled->users++;
        pthread_mutex_unlock(&pool->lock);
        return pooled->watch;
}

void watch_pool_release(struct watch_pool *pool, const struct kube_resource *resource)
{
        struct pooled *pooled;
        bool last = false;

        pthread_mutex_lock(&pool->lock);
        pooled = *find(pool, resource);
        if (pooled && pooled->users)
                last = --pooled->users == 0;
        if (last)
                pooled->unused_since_ms = clock_now_ms();
        pthread_mutex_unlock(&pool->lock);
        if (last) {
                struct linger *request = memory_allocate(sizeof(*request));

                *request = (struct linger){ pool, resource };
                io_run(pool->options.io, linger, request);
        }
}

struct cache *watch_pool_cache(struct watch_pool *pool, const struct kube_resource *resource)
{
        struct pooled *pooled;

        pthread_mutex_lock(&pool->lock);
        pooled = *find(pool, resource);
        pthread_mutex_unlock(&pool->lock);
        return pooled ? pooled->cache : NULL;
}

void watch_pool_each(struct watch_pool *pool, void (*fn)(void *data, const struct kube_resource *resource), void *data)
{
        pthread_mutex_lock(&pool->lock);
        for (struct pooled *pooled = pool->first; pooled; pooled = pooled->next)
                fn(data, pooled->resource);
        pthread_mutex_unlock(&pool->lock);
}

unsigned watch_pool_count(struct watch_pool *pool)
{
        unsigned count = 0;

        pthread_mutex_lock(&pool->lock);
        for (struct pooled *pooled = pool->first; pooled; pooled = pooled->next)
                count++;
        pthread_mutex_unlock(&pool->lock);
        return count;
}

static void free_all(void *argument)
{
        struct watch_pool *pool = argument;

        while (pool->first) {
                struct pooled *pooled = pool->first;

                pool->first = pooled->next;
                pooled_free(pooled);
        }
}

void watch_pool_free(struct watch_pool **pool)
{
        struct watch_pool *old = *pool;

        *pool = NULL;
        if (!old)
                return;
        io_run_wait(old->options.io, free_all, old);
        free(old->label_selector);
        pthread_mutex_destroy(&old->lock);
        free(old);
}
