#include "kube/parallel.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>

#define STACK_BYTES ((size_t)512 << 10)
#define IDLE_MS     2000

/* One parallel_each under way; lives on its caller's stack. Under the lock of the pool. */
struct batch {
        void (*fn)(void *argument, size_t index);
        void *argument;
        size_t count, next;
        unsigned workers, limit;
        struct batch *following; /* in the pool's list */
        pthread_cond_t done;
};

struct parallel {
        pthread_mutex_t lock;
        pthread_cond_t work, ended;
        struct batch *batches;
        unsigned limit, started, idle; /* started: and not ended */
        bool stopping;
};

struct parallel *parallel_new(unsigned threads)
{
        struct parallel *parallel = memory_zero(1, sizeof(*parallel));
        pthread_condattr_t monotonic;

        pthread_mutex_init(&parallel->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&parallel->work, &monotonic);
        pthread_condattr_destroy(&monotonic);
        pthread_cond_init(&parallel->ended, NULL);
        parallel->limit = threads;
        return parallel;
}

void parallel_free(struct parallel **parallel)
{
        struct parallel *pool = steal(parallel);

        if (!pool)
                return;
        pthread_mutex_lock(&pool->lock);
        pool->stopping = true;
        pthread_cond_broadcast(&pool->work);
        while (pool->started)
                pthread_cond_wait(&pool->ended, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
        pthread_cond_destroy(&pool->work);
        pthread_cond_destroy(&pool->ended);
        pthread_mutex_destroy(&pool->lock);
        free(pool);
}

/* Works on the batch until nothing is left to start. With the lock held, which is given up around each call. */
static void work_on(struct parallel *pool, struct batch *batch)
{
        batch->workers++;
        while (batch->next < batch->count) {
                size_t index = batch->next++;

                pthread_mutex_unlock(&pool->lock);
                batch->fn(batch->argument, index);
                pthread_mutex_lock(&pool->lock);
        }
        if (--batch->workers == 0)
                pthread_cond_signal(&batch->done);
}

static struct batch *batch_in_need(const struct parallel *pool)
{
        struct batch *batch;

        for (batch = pool->batches; batch; batch = batch->following)
                if (batch->next < batch->count && batch->workers < batch->limit)
                        return batch;
        return NULL;
}

/* With the lock held. False: for so long there was nothing to do that the thread had better end. */
static bool wait_for_work(struct parallel *pool)
{
        struct timespec until = clock_timespec(clock_now_ms() + IDLE_MS);
        int r;

        pool->idle++;
        do
                r = pthread_cond_timedwait(&pool->work, &pool->lock, &until);
        while (r == 0 && !batch_in_need(pool) && !pool->stopping);
        pool->idle--;
        return r == 0 || batch_in_need(pool);
}

static void *help(void *argument)
{
        struct parallel *pool = argument;

        pthread_mutex_lock(&pool->lock);
        do {
                struct batch *batch;

                while ((batch = batch_in_need(pool)))
                        work_on(pool, batch);
        } while (!pool->stopping && wait_for_work(pool));
        pool->started--;
        pthread_cond_signal(&pool->ended);
        pthread_mutex_unlock(&pool->lock);
        return NULL;
}

/* A thread that cannot be started is one helper less. */
static void start_helpers(struct parallel *pool, size_t wanted)
{
        while (pool->idle < wanted && pool->started < pool->limit) {
                pthread_attr_t attributes;
                pthread_t thread;
                int r;

                pthread_attr_init(&attributes);
                pthread_attr_setstacksize(&attributes, STACK_BYTES);
                pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
                r = pthread_create(&thread, &attributes, help, pool);
                pthread_attr_destroy(&attributes);
                if (r != 0)
                        return;
                pool->started++;
                wanted--;
        }
}

static void unlink_batch(struct parallel *pool, const struct batch *batch)
{
        struct batch **at = &pool->batches;

        while (*at != batch)
                at = &(*at)->following;
        *at = batch->following;
}

static void alone(size_t count, void (*fn)(void *argument, size_t index), void *argument)
{
        size_t i;

        for (i = 0; i < count; i++)
                fn(argument, i);
}

void parallel_each(struct parallel *parallel, unsigned limit, size_t count, void (*fn)(void *argument, size_t index),
                   void *argument)
{
        struct batch batch = { .fn = fn, .argument = argument, .count = count, .limit = limit };
        size_t helpers = count < limit ? count : limit;

        if (!parallel || limit < 2 || count < 2) {
                alone(count, fn, argument);
                return;
        }
        helpers--; /* the caller is one */
        pthread_cond_init(&batch.done, NULL);
        pthread_mutex_lock(&parallel->lock);
        batch.following = parallel->batches;
        parallel->batches = &batch;
        start_helpers(parallel, helpers);
        for (; helpers; helpers--)
                pthread_cond_signal(&parallel->work);
        work_on(parallel, &batch);
        while (batch.workers)
                pthread_cond_wait(&batch.done, &parallel->lock);
        unlink_batch(parallel, &batch);
        pthread_mutex_unlock(&parallel->lock);
        pthread_cond_destroy(&batch.done);
}
