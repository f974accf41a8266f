/*
 * The states of a watch, and what ends each:
 *
 *   STREAMED  a watch that begins with the list; its end mark makes the cache complete and the stream goes on as WATCHING
 *   LISTING   pages of a list, for servers that cannot stream one; then a WATCHING from its resourceVersion
 *   WATCHING  events; an end of it resumes from the last resourceVersion
 *   PAUSED    a failure; the timer goes on with a new list, or resumes
 *
 * A list takes its place in the cache all at once, at its end (kube/cache.h); one that breaks off leaves no trace.
 */
#include "kube/watch_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/scan.h"
#include "kube/frame.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_LIMIT       500
#define LIST_BYTES_LIMIT ((size_t)64 << 20)
#define BACKOFF_MS       800
#define BACKOFF_LIMIT_MS 30000
#define BACKOFF_RESET_MS 120000
#define AWAY_LIMIT_MS    2000 /* a server that cannot be reached is back from one moment to the next, and a try costs it nothing */
#define UNWELL_LIMIT_MS                                                                                                            \
        4000 /* one that starts, is too busy or has lost its store answers so until it is well, and does not say when */
#define MISSING_RETRY_MS 10000 /* a CRD may be installed any moment */
#define REPORT_MS        10000
#define REPORT_LIMIT_MS  600000 /* of what stays forbidden, between two times that it is told */
#define SILENT_STREAM_MS 30000  /* a server that ignores sendInitialEvents never marks their end */
#define WATCH_SECONDS    300
#define WATCH_GRACE_MS   30000
#define SHORT_WATCH_MS   1000
#define RETRY_LIMIT_MS   60000 /* of what a server asks us to wait: a typo in its Retry-After must not blind us for a day */

enum watch_state {
        STOPPED,
        PAUSED,
        STREAMED,
        LISTING,
        WATCHING,
};

/* Why a watch waits. What comes of another cause begins with short waits again: the one before is over. */
enum cause {
        CAUSE_OTHER,
        CAUSE_AWAY,
        CAUSE_UNWELL,    /* 429, 5xx, no answer in time */
        CAUSE_VERSION,   /* too old or too new: the server lost its history, and is well */
        CAUSE_FORBIDDEN, /* also by a server that has not read its roles yet */
};

struct waiter {
        struct waiter *next;
        int handle;
};

struct watch {
        struct watch_options options;
        char *namespace, *label_selector, *server;
        const struct watch_ops *ops;
        void *ops_data;
        enum watch_state state;
        struct kube_stream *stream;
        struct frames frames;
        struct error error; /* why the frames were left */
        /* "" until there is one to resume from, and again after it expired. */
        char *resource_version;
        char *newest;    /* the last that was one, for good: those of a server only grow */
        bool unstreamed; /* the server has no streamed lists */
        bool resume;     /* what PAUSED goes on with */
        bool zero;       /* the watch began at "0": its first events are a list in any order */
        /* LISTING */
        const char *list_version; /* NULL: consistent */
        bool unpaged;
        char *continue_token, *listed_version;
        struct buffer page;
        /* of the stream */
        int64_t opened_ms, until_ms;
        size_t items;
        /* failures */
        unsigned failures;
        enum cause cause; /* of the last of them */
        int64_t failed_ms, reported_ms;
        bool resigned;           /* reported, since it worked last */
        unsigned told_forbidden; /* how often in a row: only people can help, who have read it the first time */
        _Atomic bool synced, failing;
        _Atomic int64_t heard_ms;
        pthread_mutex_t lock; /* of what follows */
        struct waiter *waiters;
        char *last_error;
};

static const struct kube_stream_events stream_events;

/* Servers that refused a streamed list once: not asked again. */
static struct {
        pthread_mutex_t lock;
        char *names[32];
        unsigned count;
} unstreamed = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool server_unstreamed(const char *server, bool add)
{
        bool found = false;

        pthread_mutex_lock(&unstreamed.lock);
        for (unsigned i = 0; i < unstreamed.count && !found; i++)
                found = strcmp(unstreamed.names[i], server) == 0;
        if (add && !found && unstreamed.count < sizeof(unstreamed.names) / sizeof(unstreamed.names[0]))
                unstreamed.names[unstreamed.count++] = memory_string(server);
        pthread_mutex_unlock(&unstreamed.lock);
        return found;
}

static int64_t now(const struct watch *watch)
{
        return watch->ops->now(watch->ops_data);
}

static void set_text(char **target, struct view text)
{
        char *old = *target;

        *target = memory_string_n(text.data ? text.data : "", text.length);
        free(old);
}

static void close_stream(struct watch *watch)
{
        struct kube_stream *stream = watch->stream;

        watch->stream = NULL;
        if (stream)
                watch->ops->close(watch->ops_data, stream);
}

static void note_error(struct watch *watch, const struct error *error)
{
        pthread_mutex_lock(&watch->lock);
        free(watch->last_error);
        watch->last_error = error ? memory_string(error_message(error)) : NULL;
        pthread_mutex_unlock(&watch->lock);
}

/* It goes without the right, and says so once. */
static bool is_resigned(const struct watch *watch, const struct error *error)
{
        return watch->options.optional && error && error->http_status == 403;
}

static bool told_lately(const struct watch *watch, bool forbidden, int64_t instant)
{
        int64_t pause = REPORT_MS;

        if (!watch->reported_ms || (watch->told_forbidden && !forbidden))
                return false;
        for (unsigned i = 1; i < watch->told_forbidden && pause < REPORT_LIMIT_MS; i++)
                pause *= 2;
        return instant - watch->reported_ms < (pause < REPORT_LIMIT_MS ? pause : REPORT_LIMIT_MS);
}

static void report(struct watch *watch, const struct error *error)
{
        int64_t instant = now(watch);
        bool resigned = is_resigned(watch, error), forbidden = error->http_status == 403;

        note_error(watch, error);
        if (resigned ? watch->resigned : told_lately(watch, forbidden, instant))
                return;
        watch->resigned |= resigned;
        watch->told_forbidden = forbidden ? watch->told_forbidden + 1 : 0;
        watch->reported_ms = instant;
        if (watch->options.failed)
                watch->options.failed(watch->options.data, watch, error);
}

static void succeeded(struct watch *watch)
{
        bool failing = watch->reported_ms;

        if (failing || watch->last_error)
                note_error(watch, NULL);
        atomic_store(&watch->failing, false);
        watch->reported_ms = 0;
        watch->resigned = false;
        watch->told_forbidden = 0;
        if (failing && watch->options.recovered)
                watch->options.recovered(watch->options.data, watch);
}

static void open_stream(struct watch *watch, enum watch_state state, struct kube_request *request)
{
        request->resource = watch->options.resource;
        request->namespace = watch->namespace;
        request->label_selector = watch->label_selector;
        request->metadata_only = watch->options.metadata_only;
        request->busy = watch->options.busy;
        watch->state = state;
        watch->opened_ms = now(watch);
        watch->items = 0;
        frames_reset(&watch->frames);
        watch->stream = watch->ops->open(watch->ops_data, request, &stream_events, watch);
}

static void open_streamed(struct watch *watch)
{
        unsigned seconds = WATCH_SECONDS + (unsigned)(watch->ops->random(watch->ops_data) * WATCH_SECONDS);

        watch->until_ms = now(watch) + (int64_t)seconds * 1000 + WATCH_GRACE_MS;
        watch->zero = false;
        cache_snapshot_begin(watch->options.cache);
        open_stream(watch, STREAMED,
                    &(struct kube_request){
                            .verb = KUBE_WATCH,
                            .resource_version = *watch->resource_version ? watch->resource_version : NULL,
                            .resource_version_match = "NotOlderThan",
                            .send_initial_events = true,
                            .watch_seconds = seconds,
                    });
        watch->ops->timer(watch->ops_data, watch, now(watch) + REPORT_MS);
}

static void open_watch(struct watch *watch)
{
        unsigned seconds = WATCH_SECONDS + (unsigned)(watch->ops->random(watch->ops_data) * WATCH_SECONDS);

        watch->until_ms = now(watch) + (int64_t)seconds * 1000 + WATCH_GRACE_MS;
        watch->zero = strcmp(watch->resource_version, "0") == 0 || !*watch->resource_version;
        open_stream(watch, WATCHING,
                    &(struct kube_request){
                            .verb = KUBE_WATCH,
                            .resource_version = *watch->resource_version ? watch->resource_version : NULL,
                            .watch_seconds = seconds,
                    });
        watch->ops->timer(watch->ops_data, watch, watch->until_ms);
}

static void open_page(struct watch *watch)
{
        bool first = !*watch->continue_token;
        bool paged = !watch->unpaged && (!watch->list_version || strcmp(watch->list_version, "0") == 0);

        buffer_clear(&watch->page);
        open_stream(watch, LISTING,
                    &(struct kube_request){
                            .verb = KUBE_LIST,
                            .resource_version = first ? watch->list_version : NULL,
                            .continue_token = first ? NULL : watch->continue_token,
                            .limit = paged || !first ? PAGE_LIMIT : 0,
                    });
        watch->ops->timer(watch->ops_data, watch, CLOCK_NEVER);
}

static void begin_list(struct watch *watch, const char *version, bool unpaged)
{
        watch->list_version = version;
        watch->unpaged = unpaged;
        set_text(&watch->continue_token, VIEW_NULL);
        set_text(&watch->listed_version, VIEW_NULL);
        cache_snapshot_begin(watch->options.cache);
        open_page(watch);
}

static void start_over(struct watch *watch)
{
        if (!watch->unstreamed)
                watch->unstreamed = server_unstreamed(watch->server, false);
        if (!watch->unstreamed)
                open_streamed(watch);
        else
                begin_list(watch,
                           *watch->resource_version      ? watch->resource_version
                           : atomic_load(&watch->synced) ? NULL
                                                         : "0",
                           false);
}

static bool is_expired(const struct error *error)
{
        return error->http_status == 410 || strcmp(error->reason, "Expired") == 0 || strcmp(error->reason, "Gone") == 0;
}

static bool is_too_new(const struct error *error)
{
        return strcmp(error->reason, "ResourceVersionTooLarge") == 0 ||
               strncmp(error_message(error), "Too large resource version", strlen("Too large resource version")) == 0;
}

static enum cause cause_of(const struct error *error)
{
        if (is_expired(error) || is_too_new(error))
                return CAUSE_VERSION;
        if (error->http_status == 403)
                return CAUSE_FORBIDDEN;
        if (error->kind == ERROR_UNAVAILABLE && error->http_status == 0)
                return CAUSE_AWAY;
        if (error->kind == ERROR_UNAVAILABLE || error->kind == ERROR_TIMEOUT || error->http_status >= 500)
                return CAUSE_UNWELL;
        return CAUSE_OTHER;
}

static int64_t limit_of(const struct watch *watch, enum cause cause)
{
        switch (cause) {
        case CAUSE_AWAY:
                return AWAY_LIMIT_MS;
        case CAUSE_UNWELL:
                return UNWELL_LIMIT_MS;
        case CAUSE_FORBIDDEN: /* a right that was there may be given back any moment, one that never was there hardly is */
                return watch->options.optional && !atomic_load(&watch->synced) ? BACKOFF_LIMIT_MS : UNWELL_LIMIT_MS;
        case CAUSE_VERSION:
        case CAUSE_OTHER:
                break;
        }
        return BACKOFF_LIMIT_MS;
}

/* A failure: waits, then resumes or starts over. */
static void pause_for(struct watch *watch, bool resume, const struct error *error)
{
        enum cause cause = cause_of(error);
        int64_t instant = now(watch), delay = BACKOFF_MS, limit = limit_of(watch, cause);

        close_stream(watch);
        frames_reset(&watch->frames);
        buffer_release(&watch->page);
        cache_snapshot_cancel(watch->options.cache);
        if (instant - watch->failed_ms > BACKOFF_RESET_MS || cause != watch->cause)
                watch->failures = 0;
        watch->cause = cause;
        for (unsigned i = 0; i < watch->failures && delay < limit; i++)
                delay *= 2;
        if (delay > limit)
                delay = limit;
        delay += (int64_t)((double)delay * watch->ops->random(watch->ops_data));
        if (error->kind == ERROR_NOT_FOUND && delay > MISSING_RETRY_MS)
                delay = MISSING_RETRY_MS;
        if (error->retry_after_ms > delay)
                delay = error->retry_after_ms < RETRY_LIMIT_MS ? error->retry_after_ms : RETRY_LIMIT_MS;
        watch->failures++;
        watch->failed_ms = instant + delay; /* what counts is how long the next try lasts */
        watch->resume = resume;
        watch->state = PAUSED;
        watch->ops->timer(watch->ops_data, watch, instant + delay);
        atomic_store(&watch->failing, true);
        report(watch, error);
}

/* --- the ends of a stream --- */

/* A version that the server does not take, because it is too old, too new or no version at all: asked without it. */
static bool is_refused(const struct watch *watch, const struct error *error)
{
        return *watch->resource_version && (is_expired(error) || is_too_new(error) || error->kind == ERROR_INVALID);
}

static void ended_early(struct watch *watch, const char *what)
{
        cleanup(error_release) struct error error = ERROR_NULL;

        error_set(&error, ERROR_UNAVAILABLE, "the server ended %s", what);
        error.http_status = 200; /* it is there */
        pause_for(watch, false, &error);
}

static void streamed_failed(struct watch *watch, const struct error *error)
{
        if (!error) {
                ended_early(watch, "a streamed list before it was complete");
        } else if (is_refused(watch, error)) {
                set_text(&watch->resource_version, VIEW_NULL);
                pause_for(watch, false, error);
        } else if (error->kind == ERROR_INVALID && !is_too_new(error)) {
                server_unstreamed(watch->server, true);
                watch->unstreamed = true;
                close_stream(watch);
                start_over(watch);
        } else {
                pause_for(watch, false, error);
        }
}

static void list_failed(struct watch *watch, const struct error *error)
{
        bool first = !*watch->continue_token;

        if (!first && is_expired(error)) {
                begin_list(watch, watch->list_version, true);
        } else if (first && watch->list_version && (is_expired(error) || is_too_new(error) || is_refused(watch, error))) {
                set_text(&watch->resource_version, VIEW_NULL);
                begin_list(watch, NULL, false);
        } else {
                pause_for(watch, false, error);
        }
}

static void watch_failed(struct watch *watch, const struct error *error)
{
        if (!error) {
                if (watch->items)
                        open_watch(watch);
                else if (now(watch) - watch->opened_ms < SHORT_WATCH_MS)
                        ended_early(watch, "a watch at once");
                else
                        start_over(watch); /* not even a bookmark: it may wait for a version that is yet to come */
        } else if (is_expired(error) || is_refused(watch, error)) {
                set_text(&watch->resource_version, VIEW_NULL);
                pause_for(watch, false, error);
        } else {
                /*
                 * Who has too much to do has not forgotten where we were. But who was away may be another one, restored from a backup, who would
                 * say nothing at all until its versions have come as far as ours.
                 */
                pause_for(watch, cause_of(error) == CAUSE_UNWELL && (watch->items || error->kind != ERROR_TIMEOUT), error);
        }
}

static void failed(struct watch *watch, const struct error *error)
{
        if (watch->state == STREAMED)
                streamed_failed(watch, error);
        else if (watch->state == LISTING)
                list_failed(watch, error);
        else if (watch->state == WATCHING)
                watch_failed(watch, error);
}

/* --- what comes in --- */

static void move_on(struct watch *watch, struct view version)
{
        set_text(&watch->resource_version, version);
        set_text(&watch->newest, version);
}

/* `version` is that of the list. */
static void complete(struct watch *watch, struct view version)
{
        bool older = cache_snapshot_end(watch->options.cache);

        older = older || resource_version_older(version, view_of(watch->newest));
        atomic_store(&watch->heard_ms, now(watch));
        pthread_mutex_lock(&watch->lock);
        atomic_store(&watch->synced, true);
        for (struct waiter *waiter = watch->waiters; waiter; waiter = waiter->next)
                context_wake(waiter->handle);
        pthread_mutex_unlock(&watch->lock);
        succeeded(watch);
        if (older && watch->options.restored)
                watch->options.restored(watch->options.data, watch);
}

static void bookmark(struct watch *watch, struct view object, struct view version)
{
        struct view mark = scan_string(SCAN_PATH(object, "metadata", "annotations", "k8s.io/initial-events-end"));

        if (watch->state == STREAMED) {
                if (!view_is(mark, "true"))
                        return;
                watch->state = WATCHING;
                watch->ops->timer(watch->ops_data, watch, watch->until_ms);
                complete(watch, version);
        }
        watch->zero = false;
        if (version.length)
                move_on(watch, version);
}

static int take_frame(void *data, struct view frame)
{
        struct watch *watch = data;
        struct view type = scan_string(scan_get(frame, "type")), object = scan_get(frame, "object");
        struct view version = scan_string(SCAN_PATH(object, "metadata", "resourceVersion"));
        bool added = view_is(type, "ADDED"), taken = true;

        if (view_is(type, "ERROR")) {
                kube_status_error(object, &watch->error);
                return 1;
        }
        watch->items++;
        atomic_store(&watch->heard_ms, now(watch));
        if (view_is(type, "BOOKMARK")) {
                if (watch->state == WATCHING && resource_version_older(version, view_of(watch->newest))) {
                        error_set(&watch->error, ERROR_UNAVAILABLE, "the version of a bookmark is older than those before it");
                        watch->error.http_status = 410;
                        return 1;
                }
                bookmark(watch, object, version);
                return 0;
        }
        if (added || view_is(type, "MODIFIED"))
                taken = cache_put(watch->options.cache, object, watch->state == STREAMED);
        else if (view_is(type, "DELETED"))
                taken = cache_delete(watch->options.cache, object);
        if (!taken || !type.length) {
                error_set(&watch->error, ERROR_INTERNAL, "an event of the watch is no object: %.*s",
                          (int)(frame.length < 200 ? frame.length : 200), frame.data);
                return 1;
        }
        if (watch->state == WATCHING) {
                if (!added)
                        watch->zero = false;
                if (!watch->zero)
                        move_on(watch, version);
                succeeded(watch);
        }
        return 0;
}

/* Puts the items of a page. False if it is not a whole list of objects: what a list does not show is taken for deleted. */
static bool put_items(struct watch *watch, struct view page)
{
        cleanup(buffer_release) struct buffer object = BUFFER_NULL;
        struct view list = scan_get(page, "items");
        struct scan items = scan_begin(list);

        while (scan_next(&items)) {
                struct view item = items.value;

                if (!scan_get(item, "kind").length && item.length > 2) {
                        /* Items do not say what they are: the list does. */
                        buffer_clear(&object);
                        buffer_printf(&object, "{\"apiVersion\":\"%s\",\"kind\":\"%s\",", watch->options.resource->api_version,
                                      watch->options.resource->kind);
                        buffer_add_view(&object, view_slice(item, 1, item.length));
                        item = buffer_view(&object);
                }
                if (!cache_put(watch->options.cache, item, true))
                        return false;
        }
        return scan_complete(&items) || view_is(list, "null");
}

static void take_page(struct watch *watch)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        struct view page = buffer_view(&watch->page), metadata = scan_get(page, "metadata");
        struct view version = scan_string(scan_get(metadata, "resourceVersion")),
                    more = scan_string(scan_get(metadata, "continue"));

        if (!version.length || !scan_value_end(page, 0) || !put_items(watch, page)) {
                error_set(&error, ERROR_INTERNAL, "the answer to a list is no list, or a part of one");
                pause_for(watch, false, &error);
                return;
        }
        if (!*watch->listed_version)
                set_text(&watch->listed_version, version);
        if (more.length) {
                set_text(&watch->continue_token, more);
                open_page(watch);
                return;
        }
        buffer_release(&watch->page);
        complete(watch, view_of(watch->listed_version));
        move_on(watch, view_of(watch->listed_version));
        open_watch(watch);
}

static void on_bytes(void *data, struct view bytes)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        struct watch *watch = data;
        int r;

        if (watch->state == LISTING) {
                if (watch->page.length + bytes.length <= LIST_BYTES_LIMIT) {
                        buffer_add_view(&watch->page, bytes);
                        return;
                }
                error_set(&error, ERROR_TOO_LARGE, "a page of a list is longer than %zu bytes", LIST_BYTES_LIMIT);
                pause_for(watch, false, &error);
                return;
        }
        r = frames_feed(&watch->frames, bytes, take_frame, watch);
        if (r == 0)
                return;
        if (r == FRAME_STOP)
                error_move(&error, &watch->error);
        else if (r == FRAME_TOO_LONG)
                error_set(&error, ERROR_TOO_LARGE, "object to decode was longer than maximum allowed size");
        else
                error_set(&error, ERROR_INTERNAL, "the answer to a watch is no JSON");
        close_stream(watch);
        failed(watch, &error);
}

static void on_end(void *data, const struct error *error)
{
        struct watch *watch = data;

        watch->stream = NULL;
        if (watch->state == LISTING && !error)
                take_page(watch);
        else
                failed(watch, error);
}

/* Answered: what kept a resumed watch from its stream is over. */
static void on_start(void *data)
{
        struct watch *watch = data;

        if (watch->state == WATCHING)
                succeeded(watch);
}

static const struct kube_stream_events stream_events = { .start = on_start, .bytes = on_bytes, .end = on_end };

void watch_tick(struct watch *watch)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        int64_t instant = now(watch);

        switch (watch->state) {
        case STOPPED:
        case LISTING:
                return;
        case PAUSED:
                if (watch->resume)
                        open_watch(watch);
                else
                        start_over(watch);
                return;
        case STREAMED:
                if (instant - watch->opened_ms >= SILENT_STREAM_MS && !watch->items) {
                        watch->unstreamed = true;
                        close_stream(watch);
                        start_over(watch);
                        return;
                }
                if (instant < watch->until_ms) {
                        error_set(&error, ERROR_TIMEOUT, "the initial list has not arrived yet");
                        report(watch, &error);
                        watch->ops->timer(watch->ops_data, watch, instant + REPORT_MS);
                        return;
                }
                break;
        case WATCHING:
                break;
        }
        close_stream(watch);
        error_set(&error, ERROR_TIMEOUT, "the server did not end a watch at its time");
        failed(watch, &error);
}

/* --- life --- */

struct watch *watch_new(const struct watch_options *options, const char *server, const struct watch_ops *ops, void *ops_data)
{
        struct watch *watch = memory_zero(1, sizeof(*watch));

        watch->options = *options;
        watch->namespace = memory_string(options->namespace ? options->namespace : "");
        watch->label_selector = options->label_selector && *options->label_selector ? memory_string(options->label_selector) : NULL;
        watch->server = memory_string(server);
        watch->resource_version = memory_string("");
        watch->newest = memory_string("");
        watch->continue_token = memory_string("");
        watch->listed_version = memory_string("");
        watch->ops = ops;
        watch->ops_data = ops_data;
        frames_init(&watch->frames, 0);
        pthread_mutex_init(&watch->lock, NULL);
        return watch;
}

void watch_begin(struct watch *watch)
{
        watch->failed_ms = now(watch);
        start_over(watch);
}

void watch_end(struct watch *watch)
{
        watch->state = STOPPED;
        watch->ops->timer(watch->ops_data, watch, CLOCK_NEVER);
        close_stream(watch);
}

void watch_free(struct watch *watch)
{
        frames_release(&watch->frames);
        buffer_release(&watch->page);
        error_release(&watch->error);
        free(watch->namespace);
        free(watch->label_selector);
        free(watch->server);
        free(watch->resource_version);
        free(watch->newest);
        free(watch->continue_token);
        free(watch->listed_version);
        free(watch->last_error);
        pthread_mutex_destroy(&watch->lock);
        free(watch);
}

void *watch_ops_data(const struct watch *watch)
{
        return watch->ops_data;
}

bool watch_synced(const struct watch *watch)
{
        return atomic_load(&watch->synced);
}

int64_t watch_age_ms(const struct watch *watch)
{
        return atomic_load(&watch->synced) ? clock_now_ms() - atomic_load(&watch->heard_ms) : CLOCK_NEVER;
}

bool watch_current(const struct watch *watch)
{
        return atomic_load(&watch->synced) && !atomic_load(&watch->failing) &&
               now(watch) - atomic_load(&watch->heard_ms) < WATCH_STALE_MS;
}

void watch_last_error(const struct watch *watch, struct buffer *text)
{
        struct watch *own = (struct watch *)(uintptr_t)watch;

        pthread_mutex_lock(&own->lock);
        if (own->last_error)
                buffer_add_string(text, own->last_error);
        pthread_mutex_unlock(&own->lock);
}

int watch_wait(struct context *ctx, struct watch *watch, int64_t timeout_ms, struct error *error)
{
        struct waiter waiter = { .handle = context_wake_handle() };
        int64_t until = clock_now_ms() + timeout_ms;
        int r = 0;

        pthread_mutex_lock(&watch->lock);
        waiter.next = watch->waiters;
        watch->waiters = &waiter;
        pthread_mutex_unlock(&watch->lock);
        while (r >= 0 && !watch_synced(watch)) {
                int64_t left = until - clock_now_ms();

                if (left <= 0)
                        r = error_set(error, ERROR_TIMEOUT, "timed out waiting for the list of %s",
                                      watch->options.resource->plural);
                else
                        r = context_poll(ctx, NULL, 0, left, error);
        }
        pthread_mutex_lock(&watch->lock);
        for (struct waiter **at = &watch->waiters; *at; at = &(*at)->next) {
                if (*at == &waiter) {
                        *at = waiter.next;
                        break;
                }
        }
        pthread_mutex_unlock(&watch->lock);
        return r < 0 ? -1 : 0;
}
