/*
 * A watch in the world: its streams, its timer and its clock are those of an io thread.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "kube/watch_private.h"

#include <stdlib.h>

struct world {
        struct io *io;
        struct kube_client *client;
        struct io_timer timer;
};

static struct kube_stream *world_open(void *data, const struct kube_request *request, const struct kube_stream_events *events,
                                      void *events_data)
{
        struct world *world = data;

        return kube_stream_open(world->client, request, events, events_data);
}

static void world_close(void *data, struct kube_stream *stream)
{
        (void)data;
        kube_stream_close(stream);
}

static void world_timer(void *data, struct watch *watch, int64_t at_ms)
{
        struct world *world = data;

        (void)watch;
        if (at_ms == CLOCK_NEVER)
                io_timer_cancel(world->io, &world->timer);
        else
                io_timer_set(world->io, &world->timer, at_ms);
}

static int64_t world_now(void *data)
{
        (void)data;
        return clock_now_ms();
}

static double world_random(void *data)
{
        (void)data;
        return clock_random();
}

static void run_tick(void *argument)
{
        watch_tick(argument);
}

static void run_begin(void *argument)
{
        watch_begin(argument);
}

static void run_end(void *argument)
{
        watch_end(argument);
}

struct watch *watch_start(struct io *io, const struct watch_options *options)
{
        static const struct watch_ops ops = { world_open, world_close, world_timer, world_now, world_random };
        struct world *world = memory_zero(1, sizeof(*world));
        struct watch *watch = watch_new(options, kube_client_config(options->client)->server, &ops, world);

        *world = (struct world){ io, kube_client_ref(options->client), { .fn = run_tick, .argument = watch } };
        io_run(io, run_begin, watch);
        return watch;
}

/* Of a watch that has ended. */
static void release(struct watch *watch)
{
        struct world *world = watch_ops_data(watch);

        watch_free(watch);
        kube_client_release(&world->client);
        free(world);
}

void watch_stop_here(struct watch *watch)
{
        watch_end(watch);
        release(watch);
}

void watch_stop(struct watch **watch)
{
        struct watch *old = *watch;

        *watch = NULL;
        if (!old)
                return;
        io_run_wait(((struct world *)watch_ops_data(old))->io, run_end, old);
        release(old);
}
