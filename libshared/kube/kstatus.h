/*
 * kstatus: how far along a Kubernetes object is, from the object alone.
 *
 * The rules are those of cli-utils' kstatus with the Job reader of Flux: a Job counts when it has finished, not when it has started.
 * Kinds that are not built in are read by their generation and by the conditions Reconciling, Stalled and Ready.
 */
#pragma once

#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>

enum kstatus {
        KSTATUS_UNKNOWN, /* the object cannot be read; the message says why */
        KSTATUS_CURRENT,
        KSTATUS_IN_PROGRESS,
        KSTATUS_FAILED,
        KSTATUS_TERMINATING,
        KSTATUS_NOT_FOUND, /* never computed: what a reader says when there is no object */
};

/* "Current", "InProgress", ... */
const char *kstatus_name(enum kstatus status);

/*
 * The status of a whole object. `message` (may be NULL) is replaced by what is being waited for, at most a line. `wall_us` is the time that
 * young Pods are compared with.
 */
enum kstatus kstatus_compute(const struct json *object, int64_t wall_us, struct buffer *message);

/* StatefulSet and ReplicaSet: while they are in progress, a Failed one of their Pods (a PodList) makes them Failed. */
bool kstatus_needs_pods(const struct json *object, enum kstatus status);
enum kstatus kstatus_with_pods(enum kstatus status, const struct json *pods, struct buffer *message);
