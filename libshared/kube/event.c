#include "kube/event.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "base/log.h"
#include "base/memory.h"
#include "kube/client.h"
#include "kube/event_correlate.h"
#include "net/http.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LANES           4
#define LANE_QUEUE      250
#define QUEUE_BYTES     ((size_t)4 << 20) /* of texts, in one queue */
#define CLUSTER_TRIES   12
#define CLUSTER_PAUSE   10000
#define POST_QUEUE      256
#define POST_TRIES      5
#define POST_PAUSE_MS   1000 /* doubled each time */
#define POST_PAUSE_LAST 30000
#define POST_TIMEOUT_MS 5000
#define STACK_BYTES     ((size_t)256 << 10)
#define YIELD_STEP_MS   100 /* each look costs as much as a tenth of what writing the event does */
#define HOST_LIMIT      256
#define NAME_LIMIT      253
#define MESSAGE_CUT     "..."

/* Everything that is told about one event, owned. */
struct event {
        struct event *next;
        char *api_version, *kind, *namespace, *name, *uid, *resource_version;
        char *reason, *message;
        char *metadata; /* JSON object of strings */
        enum event_type type;
        int64_t wall_us, recorded_ms;
        size_t bytes; /* of message and metadata: the rest is short */
};

struct queue {
        pthread_mutex_t lock;
        pthread_cond_t changed; /* something came, a stop was asked for, the thread ended */
        struct event *first, **last;
        size_t count, limit, bytes;
        bool stopping, abandoned, ended, started;
        pthread_t thread;
        struct context context;
};

/* One of the ways into the cluster: all events of an object take the same. */
struct lane {
        struct event_recorder *recorder;
        struct event_correlator *correlator; /* of the lane's thread */
        struct queue queue;
};

struct event_recorder {
        char *controller, *address, *host;
        struct kube_client *client;
        struct io *io;
        int64_t post_pause_ms;
        bool (*pressed)(void *data);
        void *data;
        struct lane lanes[LANES];
        struct queue posts;
};

static void event_free(struct event **pointer)
{
        struct event *event = steal(pointer);

        if (!event)
                return;
        free(event->api_version);
        free(event->kind);
        free(event->namespace);
        free(event->name);
        free(event->uid);
        free(event->resource_version);
        free(event->reason);
        free(event->message);
        free(event->metadata);
        free(event);
}

static void complain(const struct event *event, const struct error *error, const char *message)
{
        struct log_fields fields = LOG_FIELDS_NULL;

        log_field(&fields, "name", event->name);
        log_field(&fields, "namespace", event->namespace);
        log_field(&fields, "reconciler kind", event->kind);
        log_line(LOG_ERROR, NULL, &fields, NULL, error, "%s", message);
        log_fields_release(&fields);
}

/* ---- queues ---- */

static void queue_open(struct queue *queue, size_t limit)
{
        pthread_condattr_t attributes;

        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_mutex_init(&queue->lock, NULL);
        pthread_cond_init(&queue->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        queue->last = &queue->first;
        queue->limit = limit;
        context_open(&queue->context, NULL, CLOCK_NEVER);
}

static void queue_add(struct queue *queue, struct event *event)
{
        bool dropped;

        pthread_mutex_lock(&queue->lock);
        dropped = queue->stopping || queue->count == queue->limit || queue->bytes + event->bytes > QUEUE_BYTES;
        if (!dropped) {
                *queue->last = event;
                queue->last = &event->next;
                queue->count++;
                queue->bytes += event->bytes;
                pthread_cond_signal(&queue->changed);
        }
        pthread_mutex_unlock(&queue->lock);
        if (dropped) {
                complain(event, NULL, "unable to record event: the queue is full");
                event_free(&event);
        }
}

/* The next one; NULL: the queue is empty and nothing more will come. */
static struct event *queue_take(struct queue *queue)
{
        struct event *event;

        pthread_mutex_lock(&queue->lock);
        while (!queue->first && !queue->stopping)
                pthread_cond_wait(&queue->changed, &queue->lock);
        event = queue->abandoned ? NULL : queue->first;
        if (event) {
                queue->first = event->next;
                queue->count--;
                queue->bytes -= event->bytes;
                if (!queue->first)
                        queue->last = &queue->first;
        }
        pthread_mutex_unlock(&queue->lock);
        return event;
}

static void queue_ended(struct queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        queue->ended = true;
        pthread_cond_broadcast(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
}

static int queue_start(struct queue *queue, void *(*run)(void *argument), void *argument, struct error *error)
{
        pthread_attr_t attributes;
        int r;

        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        r = pthread_create(&queue->thread, &attributes, run, argument);
        pthread_attr_destroy(&attributes);
        if (r != 0)
                return error_set_errno(error, r, "start the thread of the events");
        queue->started = true;
        return 0;
}

static void queue_ask_to_stop(struct queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        queue->stopping = true;
        pthread_cond_broadcast(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
}

static void queue_close(struct queue *queue, int64_t until_ms)
{
        struct timespec until = clock_timespec(until_ms);

        pthread_mutex_lock(&queue->lock);
        while (queue->started && !queue->ended)
                if (pthread_cond_timedwait(&queue->changed, &queue->lock, &until) != 0)
                        break;
        queue->abandoned = true;
        pthread_mutex_unlock(&queue->lock);
        context_cancel(&queue->context, CONTEXT_SHUTDOWN);
        if (queue->started)
                pthread_join(queue->thread, NULL);
        while (queue->first) {
                struct event *event = queue->first;

                queue->first = event->next;
                event_free(&event);
        }
        context_close(&queue->context);
        pthread_cond_destroy(&queue->changed);
        pthread_mutex_destroy(&queue->lock);
}

/* ---- in the cluster ---- */

static const char *type_name(const struct event *event)
{
        return event->type == EVENT_WARNING ? "Warning" : "Normal";
}

static bool is_dns_name(const char *name)
{
        return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(name);
}

/* "<object>.<hex>", or a random one where the object's name cannot be part of it. */
static void event_name(const struct event *event, uint64_t serial, char name[NAME_LIMIT + 1])
{
        uint8_t bytes[16];

        if (is_dns_name(event->name) &&
            snprintf(name, NAME_LIMIT + 1, "%s.%llx", event->name, (unsigned long long)serial) <= NAME_LIMIT)
                return;
        /* The same for the same serial: a count must find it again. */
        memset(bytes, 0, sizeof(bytes));
        memcpy(bytes, &serial, sizeof(serial));
        snprintf(name, NAME_LIMIT + 1, "%02x%02x%02x%02x-%02x%02x-40%02x-80%02x-%02x%02x%02x%02x%02x%02x", bytes[7], bytes[6],
                 bytes[5], bytes[4], bytes[3], bytes[2], bytes[1], bytes[0], bytes[3], bytes[2], bytes[1], bytes[0], bytes[1],
                 bytes[0]);
}

static struct json *involved_object(const struct event *event)
{
        struct json *involved = json_new_object();

        json_set_string(involved, "kind", event->kind);
        json_set_string(involved, "namespace", event->namespace);
        json_set_string(involved, "name", event->name);
        json_set_string(involved, "uid", event->uid);
        json_set_string(involved, "apiVersion", event->api_version);
        json_set_string(involved, "resourceVersion", event->resource_version);
        return involved;
}

static struct json *metadata_of(const struct event *event)
{
        struct json *metadata = NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;

        return json_parse(view_of(event->metadata), &metadata, &ignored) == 0 ? metadata : json_new_object();
}

static const char *namespace_of(const struct event *event)
{
        return *event->namespace ? event->namespace : "default";
}

static struct json *cluster_body(const struct event_recorder *recorder, const struct event *event,
                                 const struct event_decision *decision, const char *name, const char *message, bool whole)
{
        struct json *body = json_new_object();
        struct json *metadata;
        char time[TIME_TEXT];

        json_set_integer(body, "count", decision->count);
        json_set_string(body, "lastTimestamp", time_print(event->wall_us, time));
        json_set_string(body, "message", message);
        if (!whole)
                return body;
        json_set_string(body, "apiVersion", "v1");
        json_set_string(body, "kind", "Event");
        metadata = json_object_at(body, "metadata");
        json_set_string(metadata, "name", name);
        json_set_string(metadata, "namespace", namespace_of(event));
        if (!decision->combined) /* each of those had its own */
                json_set(metadata, "annotations", metadata_of(event));
        json_set(body, "involvedObject", involved_object(event));
        json_set_string(body, "reason", event->reason);
        json_set_string(body, "type", type_name(event));
        json_set_string(body, "firstTimestamp", time_print(decision->first_us, time));
        json_set_string(json_object_at(body, "source"), "component", recorder->controller);
        json_set_string(body, "reportingComponent", recorder->controller);
        json_set_string(body, "reportingInstance", "");
        return body;
}

static int write_once(struct lane *lane, const struct event *event, const struct event_decision *decision, const char *name,
                      const char *message, bool whole, struct error *error)
{
        cleanup(json_free) struct json *body = cluster_body(lane->recorder, event, decision, name, message, whole);
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        struct kube_request request = {
                .verb = whole ? KUBE_CREATE : KUBE_PATCH_MERGE,
                .resource = kube_resource_intern("", "v1", "Event", "events", true),
                .namespace = namespace_of(event),
                .name = whole ? NULL : name,
        };

        json_print(body, &text);
        request.body = buffer_view(&text);
        return kube_call(&lane->queue.context, lane->recorder->client, &request, &answer, error);
}

static int write_with_retries(struct lane *lane, const struct event *event, const struct event_decision *decision,
                              const char *message, struct error *error)
{
        bool whole = decision->action == EVENT_CREATE;
        char name[NAME_LIMIT + 1];
        int tries;

        event_name(event, decision->serial, name);
        for (tries = 1;; tries++) {
                int64_t pause_ms = tries == 1 ? (int64_t)(clock_random() * CLUSTER_PAUSE) : CLUSTER_PAUSE;

                if (write_once(lane, event, decision, name, message, whole, error) == 0)
                        return 0;
                if (!whole && error->kind == ERROR_NOT_FOUND) {
                        whole = true;
                        error_release(error);
                        continue;
                }
                if (error->http_status || error->kind == ERROR_CANCELLED || tries >= CLUSTER_TRIES)
                        return -1;
                error_release(error);
                TRY(context_sleep(&lane->queue.context, pause_ms, error));
        }
}

static void write_event(struct lane *lane, const struct event *event)
{
        cleanup(free_string) char *object =
                memory_printf("%s/%s/%s/%s/%s", event->api_version, event->kind, event->namespace, event->name, event->uid);
        cleanup(free_string) char *message = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct event_decision decision =
                event_correlate(lane->correlator, view_of(object), view_of(type_name(event)), view_of(event->reason),
                                view_of(event->message), clock_now_ms(), event->wall_us);

        if (decision.action == EVENT_DROP)
                return;
        message = memory_printf("%s%s", decision.combined ? EVENT_COMBINED_PREFIX : "", event->message);
        if (write_with_retries(lane, event, &decision, message, &error) != 0 && error.kind != ERROR_CANCELLED)
                complain(event, &error, "unable to write event");
}

static bool may_wait(struct queue *queue)
{
        bool may;

        pthread_mutex_lock(&queue->lock);
        may = !queue->stopping && queue->count < queue->limit / 2;
        pthread_mutex_unlock(&queue->lock);
        return may;
}

static void give_way(struct lane *lane, const struct event *event)
{
        const struct event_recorder *recorder = lane->recorder;
        cleanup(error_release) struct error ended = ERROR_NULL;

        while (recorder->pressed && clock_now_ms() - event->recorded_ms < EVENT_YIELD_MS && may_wait(&lane->queue) &&
               recorder->pressed(recorder->data))
                if (context_sleep(&lane->queue.context, YIELD_STEP_MS, &ended) != 0)
                        return;
}

static void *run_lane(void *argument)
{
        struct lane *lane = argument;
        struct event *event;

        while ((event = queue_take(&lane->queue))) {
                give_way(lane, event);
                write_event(lane, event);
                event_free(&event);
        }
        queue_ended(&lane->queue);
        return NULL;
}

/* By what the names of events begin with: two of one lane never get the same. */
static struct lane *lane_of(struct event_recorder *recorder, const struct event *event)
{
        unsigned sum = 0;

        for (const char *c = event->namespace; *c; c++)
                sum += (unsigned char)*c;
        for (const char *c = event->name; *c; c++)
                sum += (unsigned char)*c;
        return &recorder->lanes[sum % LANES];
}

/* ---- to --events-addr ---- */

static struct json *post_body(const struct event_recorder *recorder, const struct event *event)
{
        struct json *body = json_new_object();
        struct json *metadata = metadata_of(event);
        char time[TIME_TEXT];

        json_set(body, "involvedObject", involved_object(event));
        json_set_string(body, "severity", event->type == EVENT_WARNING ? "error" : "info");
        json_set_string(body, "timestamp", time_print(event->wall_us, time));
        json_set_string(body, "message", event->message);
        json_set_string(body, "reason", event->reason);
        if (json_length(metadata))
                json_set(body, "metadata", metadata);
        else
                json_free(&metadata);
        json_set_string(body, "reportingController", recorder->controller);
        json_set_string(body, "reportingInstance", recorder->host);
        return body;
}

#define POST_AGAIN 1

/* 0: taken, or known already; POST_AGAIN: another try may help (the error says why); -1: it will not. */
static int post_once(struct event_recorder *recorder, struct view body, struct error *error)
{
        static const struct http_header headers[] = { { "Content-Type", "application/json" } };
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        const struct http_request request = {
                .method = "POST",
                .url = recorder->address,
                .headers = headers,
                .header_count = 1,
                .body = body,
                .timeout_ms = POST_TIMEOUT_MS,
        };

        if (http_call(&recorder->posts.context, recorder->io, &request, &response, error) != 0)
                return error->kind == ERROR_UNAVAILABLE || error->kind == ERROR_TIMEOUT ? POST_AGAIN : -1;
        if (response.status == 429 || (response.status >= 200 && response.status < 300))
                return 0;
        error_set(error, ERROR_UNAVAILABLE, "the receiver of events answered with status %d", response.status);
        return response.status >= 500 && response.status != 501 ? POST_AGAIN : -1;
}

static void post_event(struct event_recorder *recorder, const struct event *event)
{
        cleanup(json_free) struct json *body = post_body(recorder, event);
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        int64_t pause_ms = recorder->post_pause_ms;
        int tries, r;

        json_print(body, &text);
        for (tries = 1;; tries++) {
                r = post_once(recorder, buffer_view(&text), &error);
                if (r != POST_AGAIN || tries == POST_TRIES)
                        break;
                error_release(&error);
                if (context_sleep(&recorder->posts.context, pause_ms, &error) != 0)
                        break;
                pause_ms = pause_ms * 2 < POST_PAUSE_LAST ? pause_ms * 2 : POST_PAUSE_LAST;
        }
        if (r != 0 && error.kind != ERROR_CANCELLED)
                complain(event, &error, "unable to send event");
}

static void *run_posts(void *argument)
{
        struct event_recorder *recorder = argument;
        struct event *event;

        while ((event = queue_take(&recorder->posts))) {
                post_event(recorder, event);
                event_free(&event);
        }
        queue_ended(&recorder->posts);
        return NULL;
}

/* ---- recording ---- */

static struct json *collect_metadata(const struct json *object, const struct json *metadata)
{
        struct json *all = json_new_object();

        JSON_EACH(metadata, member)
                json_set(all, member.key, json_copy(member.value));
        JSON_EACH(JSON_PATH(object, "metadata", "annotations"), annotation)
                if (!strncmp(annotation.key, EVENT_ANNOTATION_PREFIX, strlen(EVENT_ANNOTATION_PREFIX)))
                        json_set(all, annotation.key, json_copy(annotation.value));
        return all;
}

static char *meta(const struct json *object, const char *member)
{
        return memory_string(json_string(JSON_PATH(object, "metadata", member), ""));
}

static struct event *event_new(const struct json *object, enum event_type type, const char *reason, const char *metadata,
                               const char *message, int64_t wall_us)
{
        struct event *event = memory_zero(1, sizeof(*event));

        event->api_version = memory_string(json_string(json_get(object, "apiVersion"), ""));
        event->kind = memory_string(json_string(json_get(object, "kind"), ""));
        event->namespace = meta(object, "namespace");
        event->name = meta(object, "name");
        event->uid = meta(object, "uid");
        event->resource_version = meta(object, "resourceVersion");
        event->reason = memory_string(reason);
        event->message = memory_string(message);
        event->metadata = memory_string(metadata);
        event->type = type;
        event->wall_us = wall_us;
        event->recorded_ms = clock_now_ms();
        event->bytes = strlen(message) + strlen(metadata);
        return event;
}

__attribute__((__format__(__printf__, 1, 0))) static char *new_message(const char *format, va_list arguments)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        buffer_vprintf(&text, format, arguments);
        if (text.length > EVENT_MESSAGE_LIMIT) {
                text.length = utf8_cut(buffer_view(&text), EVENT_MESSAGE_LIMIT - strlen(MESSAGE_CUT)).length;
                buffer_add_string(&text, MESSAGE_CUT);
        }
        return buffer_steal(&text);
}

void event_record(struct event_recorder *recorder, const struct json *object, enum event_type type, const char *reason,
                  const struct json *metadata, const char *format, ...)
{
        cleanup(json_free) struct json *all = NULL;
        cleanup(free_string) char *message = NULL;
        cleanup(free_string) char *text = NULL;
        int64_t wall_us = clock_wall_us();
        struct event *event;
        va_list arguments;

        if (!recorder)
                return;
        va_start(arguments, format);
        message = new_message(format, arguments);
        va_end(arguments);
        all = collect_metadata(object, metadata);
        text = json_text(all);
        event = event_new(object, type, reason, text, message, wall_us);
        if (!*event->kind || !*event->name || !*event->namespace) {
                complain(event, NULL, "unable to record event");
                event_free(&event);
                return;
        }
        queue_add(&lane_of(recorder, event)->queue, event);
        if (recorder->posts.started && type != EVENT_TRACE)
                queue_add(&recorder->posts, event_new(object, type, reason, text, message, wall_us));
}

static char *host_name(void)
{
        char name[HOST_LIMIT + 1] = "";

        gethostname(name, HOST_LIMIT);
        return memory_string(name);
}

int event_recorder_start(const struct event_settings *settings, struct event_recorder **ret_recorder, struct error *error)
{
        struct event_recorder *recorder = memory_zero(1, sizeof(*recorder));
        const char *address = settings->events_address ? settings->events_address : "";
        int r = 0;

        recorder->controller = memory_string(settings->controller);
        recorder->address = memory_string(address);
        recorder->host = host_name();
        recorder->client = settings->client;
        recorder->io = settings->io;
        recorder->post_pause_ms = settings->post_pause_ms ? settings->post_pause_ms : POST_PAUSE_MS;
        recorder->pressed = settings->pressed;
        recorder->data = settings->data;
        for (size_t i = 0; i < LANES; i++) {
                recorder->lanes[i].recorder = recorder;
                recorder->lanes[i].correlator = event_correlator_new();
                queue_open(&recorder->lanes[i].queue, LANE_QUEUE);
        }
        queue_open(&recorder->posts, POST_QUEUE);
        for (size_t i = 0; r == 0 && i < LANES; i++)
                r = queue_start(&recorder->lanes[i].queue, run_lane, &recorder->lanes[i], error);
        if (r == 0 && *address)
                r = queue_start(&recorder->posts, run_posts, recorder, error);
        if (r != 0) {
                event_recorder_stop(&recorder, 0);
                return -1;
        }
        *ret_recorder = recorder;
        return 0;
}

void event_recorder_stop(struct event_recorder **pointer, int64_t flush_ms)
{
        struct event_recorder *recorder = steal(pointer);
        int64_t until_ms = clock_now_ms() + flush_ms;

        if (!recorder)
                return;
        for (size_t i = 0; i < LANES; i++)
                queue_ask_to_stop(&recorder->lanes[i].queue);
        queue_ask_to_stop(&recorder->posts);
        for (size_t i = 0; i < LANES; i++) {
                queue_close(&recorder->lanes[i].queue, until_ms);
                event_correlator_free(&recorder->lanes[i].correlator);
        }
        queue_close(&recorder->posts, until_ms);
        free(recorder->controller);
        free(recorder->address);
        free(recorder->host);
        free(recorder);
}
