/*
 * event_correlate: which events are written, and how, so that a loop does not fill the cluster.
 *
 * The rules of every Kubernetes client: the same event again counts up; from the tenth different message of one (object, type, reason) within ten minutes
 * on they are one combined event; an object has 25 events at once and one more every five minutes. What was seen is kept for the 4096 keys
 * of each rule that were used last, and as long as it matters: ten minutes for what is similar, two hours and five minutes for the rest. Belongs to
 * one thread.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct event_correlator;

#define EVENT_COMBINED_PREFIX "(combined from similar events): "

enum event_action {
        EVENT_CREATE,
        EVENT_COUNT, /* patch count, lastTimestamp and message of the event with that serial */
        EVENT_DROP,
};

struct event_decision {
        enum event_action action;
        bool combined; /* the message gets the prefix */
        uint32_t count;
        int64_t first_us; /* wall time of the first one */
        uint64_t serial;  /* of the name of the event: when it was created, in nanoseconds */
};

struct event_correlator *event_correlator_new(void);
void event_correlator_free(struct event_correlator **correlator); /* for cleanup; NULL is fine */

/* `object` identifies the object (kind, namespace, name, uid, version); the times are of now: monotonic and wall. */
struct event_decision event_correlate(struct event_correlator *correlator, struct view object, struct view type, struct view reason,
                                      struct view message, int64_t now_ms, int64_t wall_us);
