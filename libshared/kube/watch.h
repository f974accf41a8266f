/*
 * watch: keep a cache equal to one resource of an API server.
 *
 * A small state machine on the io thread: streamed initial list where the server can do it, list and watch where not; resumes from the last
 * bookmark, starts over after 410 and lost connections, backs off, never gives up, and notices connections that are dead. A server that was away, or
 * answers with 429 or 5xx, is asked again within seconds, however long that lasted. What one watch does wrong or suffers (no such kind, forbidden)
 * concerns no other.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "kube/cache.h"

#include <stdbool.h>
#include <stdint.h>

struct io;
struct kube_client;
struct kube_resource;
struct watch;

struct watch_options {
        struct kube_client *client;
        const struct kube_resource *resource; /* outlives the watch */
        const char *namespace;                /* NULL or "": all; copied */
        const char *label_selector;           /* NULL or "": all; copied */
        bool metadata_only;                   /* PartialObjectMetadata */
        bool busy;                            /* much comes on it: on a connection that quiet ones do not share */
        bool optional; /* a help, no need: where it is forbidden it is told once and, if it always was, tried every half minute or so */
        struct cache *cache; /* stays the caller's; written by this watch alone while it runs */
        /*
         * On the io thread, may be NULL: the failure that keeps the watch from its list or stream (no such kind, forbidden), when
         * it appears and every 10 s, what is forbidden after pauses that double up to 10 minutes; but see optional.
         */
        void (*failed)(void *data, struct watch *watch, const struct error *error);
        /* On the io thread, may be NULL: it works again after a failure that was told. */
        void (*recovered)(void *data, struct watch *watch);
        /*
         * On the io thread, may be NULL: a list, which is in the cache already, is older than what was heard before, so the server's store is one from
         * a backup. What was concluded from versions and from what is not there any more has to be looked at anew.
         */
        void (*restored)(void *data, struct watch *watch);
        void *data;
};

/* Starts at once and returns. From any thread. */
struct watch *watch_start(struct io *io, const struct watch_options *options);
/* Ends it: when this returns no handler of its cache runs or will run. Not from the io thread. NULL is fine. */
void watch_stop(struct watch **watch);

/* The cache has held a complete list at least once. From any thread. */
bool watch_synced(const struct watch *watch);
/* Waits for that. -1: ERROR_TIMEOUT after timeout_ms or what ctx says. */
int watch_wait(struct context *ctx, struct watch *watch, int64_t timeout_ms, struct error *error);
/* Milliseconds since the last event or bookmark came in; CLOCK_NEVER while it is not synced. */
int64_t watch_age_ms(const struct watch *watch);
/*
 * The cache shows how things are, as far as a watch can tell: it is synced, has not failed since, and was heard of within WATCH_STALE_MS (a server sends
 * a bookmark each minute). If not, who acts on what it holds acts on what may be long gone. From any thread.
 */
#define WATCH_STALE_MS 150000
bool watch_current(const struct watch *watch);
/* The last failure as text, "" if there is none since the last success. */
void watch_last_error(const struct watch *watch, struct buffer *text);

/*
 * Metadata watches that come and go with their users, optional all of them: one per resource, started by its first user, ended some minutes after its
 * last one has gone. Caches of headers; `handle` hears of every event of every resource, with its frame.
 */
struct watch_pool;

struct watch_pool_options {
        struct io *io;
        struct kube_client *client;
        const char *label_selector;
        int64_t linger_ms; /* 0: 10 minutes */
        /* On the io thread; `resource` is that of the event. */
        void (*handle)(void *data, const struct kube_resource *resource, const struct cache_event *event);
        /* As those of watch_options; may be NULL. */
        void (*failed)(void *data, const struct kube_resource *resource, const struct error *error);
        void (*restored)(void *data, const struct kube_resource *resource);
        /* On the io thread, may be NULL: nobody watches it any more. What the next watch does not show may have gone meanwhile. */
        void (*ended)(void *data, const struct kube_resource *resource);
        void *data;
};

struct watch_pool *watch_pool_new(const struct watch_pool_options *options);
void watch_pool_free(struct watch_pool **pool); /* ends all watches; not from the io thread */

/* Counts a user of that resource and starts its watch if it is the first. From any thread but io; the watch is valid until the release. */
struct watch *watch_pool_use(struct watch_pool *pool, const struct kube_resource *resource);
/* From any thread. */
void watch_pool_release(struct watch_pool *pool, const struct kube_resource *resource);
/* The cache of headers of a resource that is in use; NULL if it is not. */
struct cache *watch_pool_cache(struct watch_pool *pool, const struct kube_resource *resource);
/* Calls fn with the lock held for the resource of each watch that runs. */
void watch_pool_each(struct watch_pool *pool, void (*fn)(void *data, const struct kube_resource *resource), void *data);
/* How many watches run. */
unsigned watch_pool_count(struct watch_pool *pool);
