/*
 * health: wait until objects are Current.
 *
 * What was seen Current while it was applied is not read again. What is pending is read when the drift table's watch shows a version of it
 * that was not looked at, and otherwise after pauses that grow up to five seconds; many objects of one kind are read by one list.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "data/json.h"
#include "kube/drift.h"
#include "kube/inventory.h"
#include "kube/kstatus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kube_client;
struct parallel;

struct health_object {
        struct object_id object; /* its version does not count: the preferred one is read */
        enum kstatus status;     /* as seen a moment ago; KSTATUS_UNKNOWN: not seen */
        bool finishes;           /* a Job that goes when it has finished: NotFound is Current */
};

struct health_settings {
        struct kube_client *client;
        struct parallel *parallel;
        unsigned concurrency;      /* 0: 4 */
        struct drift_table *drift; /* may be NULL */
        const char *owner_name, *owner_namespace;
        const char *label_selector; /* that all objects carry; NULL: none is known, each is read by itself */
        int64_t timeout_ms;
        bool fail_fast;
        bool made; /* all objects were there a moment ago: with fail_fast one that is not is Failed, for nobody makes it anew meanwhile */
        /*
         * The caller's own rule for a kind, before the built-in ones: true if it knows one. May be NULL.
         */
        bool (*evaluate)(void *data, const struct json *object, enum kstatus *ret_status, struct buffer *message);
        /* Called once, when the wait has lasted for a second: time to say that there is one. -1 ends the wait. May be NULL. */
        int (*lasting)(void *data, struct error *error);
        /* Called before and after each pause, in which others may work instead. May be NULL. */
        void (*pausing)(void *data, bool begins);
        void *data;
};

/*
 * Returns 0 when all are Current, at once: what was seen so before others were waited for is asked about again, unless a watch says that it did not move.
 *
 * -1  ERROR_TIMEOUT   "timeout waiting for: [<Kind>/<ns>/<name> status: 'InProgress': Replicas: 0/1, ...]"; of a cluster scoped kind none is found in a namespace
 *     ERROR_CONFLICT  "failed early due to stalled resources: [...]", with fail_fast, as soon as one is Failed
 *     ERROR_INVALID   "resource <Kind>[.group] <name> is namespace scoped, but namespace is not set"
 *     ERROR_CANCELLED the context ended
 */
int health_wait(struct context *context, const struct health_settings *settings, const struct health_object *objects, size_t count,
                struct error *error);
