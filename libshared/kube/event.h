/*
 * event: tell people what happened to an object: core/v1 events in the cluster, and posts to --events-addr.
 *
 * Recording never waits: what is needed is copied into bounded queues, each emptied by a thread of its own, so an API server that is away or
 * a receiver that hangs costs a run nothing. Events of one object stay in order; those of many objects go to the cluster side by side, so that one that is
 * tried again holds up few others. When a queue is full (of events or of bytes) the newest event is dropped and that is logged.
 *
 * In the cluster, events are correlated as every Kubernetes client does it: the same event again raises a count; from the tenth different message
 * of one (object, type, reason) in ten minutes on they become one "(combined from similar events): ..."; and beyond 25 at
 * once, and one in five minutes after that, an object's events are dropped.
 */
#pragma once

#include "base/error.h"
#include "data/json.h"

#include <stdbool.h>
#include <stdint.h>

struct io;
struct kube_client;
struct event_recorder;

enum event_type {
        EVENT_NORMAL,  /* info */
        EVENT_WARNING, /* error */
        EVENT_TRACE,   /* a Normal event in the cluster, not posted */
};

struct event_settings {
        const char *controller;     /* "kustomize-controller": source.component, reportingController */
        const char *events_address; /* where to POST; NULL or "": nowhere */
        struct kube_client *client;
        struct io *io;
        int64_t post_pause_ms; /* before a post is tried again, doubled each time; 0: 1 s */
        /*
         * Is there more to do than the process comes to? What is told in the cluster gives way to what is done then: an event waits, for EVENT_YIELD_MS at
         * most and not in a queue that is half full. Posts do not wait. From the threads of the queues; may be NULL.
         */
        bool (*pressed)(void *data);
        void *data;
};

#define EVENT_YIELD_MS 200

/* Annotations of the object with this prefix are part of every event's metadata. */
#define EVENT_ANNOTATION_PREFIX "event.toolkit.fluxcd.io/"
/* Bytes of a message: room for what a run says of thousands of objects, and a sixth of what the API server takes. */
#define EVENT_MESSAGE_LIMIT (256 << 10)
/* How long a stop waits for what is queued. */
#define EVENT_FLUSH_MS 5000

/* The settings' texts are copied, client and io borrowed until the stop. */
int event_recorder_start(const struct event_settings *settings, struct event_recorder **ret_recorder, struct error *error);
/* Sends what is queued for at most `flush_ms`, then gives up the rest. NULL is fine. */
void event_recorder_stop(struct event_recorder **recorder, int64_t flush_ms);

/*
 * `object` needs apiVersion, kind and metadata; it and `metadata` (an object of strings, or NULL) are read before this returns. The message is
 * UTF-8, and cut at EVENT_MESSAGE_LIMIT. From any thread. A NULL recorder records nothing (a command on a laptop has none).
 */
void event_record(struct event_recorder *recorder, const struct json *object, enum event_type type, const char *reason,
                  const struct json *metadata, const char *format, ...) __attribute__((__format__(__printf__, 6, 7)));
