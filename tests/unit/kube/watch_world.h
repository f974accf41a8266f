/*
 * watch_world: one watch and all that it sees of the world, played by the test: the server's streams, the timer, the clock and chance. What the watch asks for,
 * what its cache tells and what it reports are texts to compare.
 */
#pragma once

#include "../test.h"

#include "base/clock.h"
#include "kube/watch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
        struct watch *watch;
        struct cache *cache;
        int64_t now, timer;
        struct buffer requests; /* "WATCH rv=5 initial; LIST rv=0 limit=500; " since the last look */
        struct buffer events;   /* "+a@1! -a@1 " since the last look */
        struct buffer failures;
        const struct kube_stream_events *stream_events;
        void *stream_data;
        bool open;
        int restored, recovered;
};

static struct kube_stream *world_open(void *data, const struct kube_request *request, const struct kube_stream_events *events,
                                      void *events_data)
{
        struct world *world = data;

        assert_false(world->open);
        buffer_add_string(&world->requests, request->verb == KUBE_LIST ? "LIST" : "WATCH");
        if (request->resource_version)
                buffer_printf(&world->requests, " rv=%s", request->resource_version);
        if (request->send_initial_events) {
                assert_string_equal(request->resource_version_match, "NotOlderThan");
                buffer_add_string(&world->requests, " initial");
        }
        if (request->limit)
                buffer_printf(&world->requests, " limit=%u", request->limit);
        if (request->continue_token)
                buffer_printf(&world->requests, " continue=%s", request->continue_token);
        if (request->label_selector)
                buffer_printf(&world->requests, " labels=%s", request->label_selector);
        if (request->metadata_only)
                buffer_add_string(&world->requests, " metadata");
        buffer_add_string(&world->requests, "; ");
        assert_true(request->verb == KUBE_LIST || (request->watch_seconds >= 300 && request->watch_seconds < 600));
        world->stream_events = events;
        world->stream_data = events_data;
        world->open = true;
        return (struct kube_stream *)world;
}

static inline void world_close(void *data, struct kube_stream *stream)
{
        struct world *world = data;

        assert_ptr_equal(stream, world);
        assert_true(world->open);
        world->open = false;
}

static inline void world_timer(void *data, struct watch *watch, int64_t at_ms)
{
        (void)watch;
        ((struct world *)data)->timer = at_ms;
}

static inline int64_t world_now(void *data)
{
        return ((struct world *)data)->now;
}

static inline double world_random(void *data)
{
        (void)data;
        return 0;
}

static const struct watch_ops world_ops = { world_open, world_close, world_timer, world_now, world_random };

static inline void note_event(void *data, const struct cache_event *event)
{
        struct world *world = data;
        const struct cache_object *any = event->new ? event->new : event->old;

        buffer_printf(&world->events, "%s%s@%s%s ",
                      !event->old   ? "+"
                      : !event->new ? "-"
                                    : "~",
                      any->name, any->resource_version, event->initial ? "!" : "");
}

static inline void note_failure(void *data, struct watch *watch, const struct error *error)
{
        struct world *world = data;

        (void)watch;
        buffer_printf(&world->failures, "%s; ", error_message(error));
}

static inline void note_restored(void *data, struct watch *watch)
{
        (void)watch;
        ((struct world *)data)->restored++;
}

static inline void note_recovered(void *data, struct watch *watch)
{
        (void)watch;
        ((struct world *)data)->recovered++;
}

static const struct kube_resource resource = { "g", "v1", "K", "ks", "g/v1", true };

/* A world of its own API server, which therefore has not been asked anything yet. */
static inline struct world *world_begin_with(const char *server, const char *labels, bool metadata_only, bool optional)
{
        struct world *world = calloc(1, sizeof(*world));

        world->now = 1000000;
        world->timer = CLOCK_NEVER;
        world->cache = cache_new(CACHE_OBJECTS);
        cache_add_handler(world->cache, note_event, world);
        world->watch = watch_new(&(struct watch_options){ .resource = &resource,
                                                          .label_selector = labels,
                                                          .metadata_only = metadata_only,
                                                          .optional = optional,
                                                          .cache = world->cache,
                                                          .failed = note_failure,
                                                          .restored = note_restored,
                                                          .recovered = note_recovered,
                                                          .data = world },
                                 server, &world_ops, world);
        watch_begin(world->watch);
        return world;
}

static inline struct world *world_begin_as(const char *server, const char *labels, bool metadata_only)
{
        return world_begin_with(server, labels, metadata_only, false);
}

static inline struct world *world_begin(void)
{
        static int servers;
        char server[32];

        snprintf(server, sizeof(server), "https://%d", servers++);
        return world_begin_as(server, NULL, false);
}

static inline void world_end(struct world *world)
{
        watch_end(world->watch);
        assert_false(world->open);
        watch_free(world->watch);
        cache_free(&world->cache);
        buffer_release(&world->requests);
        buffer_release(&world->events);
        buffer_release(&world->failures);
        free(world);
}

static inline void feed(struct world *world, const char *text)
{
        assert_true(world->open);
        world->stream_events->bytes(world->stream_data, view_of(text));
}

/* The server ends its answer; status 0: properly. */
static inline void end(struct world *world, int status, const char *reason)
{
        struct error error = ERROR_NULL;

        assert_true(world->open);
        world->open = false;
        if (status)
                error_set_reason(&error,
                                 status == 404                      ? ERROR_NOT_FOUND
                                 : status == 403                    ? ERROR_FORBIDDEN
                                 : status == 422                    ? ERROR_INVALID
                                 : status == 504                    ? ERROR_TIMEOUT
                                 : status >= 429                    ? ERROR_UNAVAILABLE
                                 : status == 1 /* the connection */ ? ERROR_UNAVAILABLE
                                                                    : ERROR_INTERNAL,
                                 reason, "status %d", status);
        error.http_status = status > 1 ? status : 0;
        world->stream_events->end(world->stream_data, status ? &error : NULL);
        error_release(&error);
}

/* Until the timer fires; how long that took. */
static inline int64_t turn(struct world *world)
{
        int64_t waited = world->timer - world->now;

        assert_true(world->timer != CLOCK_NEVER);
        world->now = world->timer;
        world->timer = CLOCK_NEVER;
        watch_tick(world->watch);
        return waited;
}

static inline void expect(struct buffer *seen, const char *text)
{
        assert_string_equal(buffer_string(seen), text);
        buffer_clear(seen);
}

#define OBJECT(name, version)      "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT(name, version) "}\n"
#define BOOKMARK(version)          "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"
#define LISTED(version)                                                                                                            \
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version                                          \
        "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define GONE                                                                                                                       \
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Expired\",\"code\":410,"          \
        "\"message\":\"too old\"}}\n"
#define LIST(version, more, items)                                                                                                 \
        "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" more "\"},\"items\":[" items "]}"

static inline bool has_error(const struct world *world)
{
        struct buffer text = BUFFER_NULL;
        bool any;

        watch_last_error(world->watch, &text);
        any = text.length > 0;
        buffer_release(&text);
        return any;
}

static inline void synced(struct world *world)
{
        feed(world, EVENT("ADDED", "a", "11") EVENT("ADDED", "b", "7") LISTED("20"));
        assert_true(watch_synced(world->watch));
        buffer_clear(&world->requests);
        buffer_clear(&world->events);
}
