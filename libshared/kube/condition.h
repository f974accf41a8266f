/*
 * condition: the status conditions of an object, on its JSON tree.
 *
 * `object` is the whole object. Every write stamps the condition with metadata.generation, moves lastTransitionTime only if status, reason or
 * message changed, cuts a message that is too long, and keeps the list in the order that people and clients know: Stalled, Reconciling,
 * Ready, then the newest generation first, then by type. A reason that the API would refuse, and the whole status with it, becomes
 * REASON_FAILED. A condition that is not there counts as Unknown.
 *
 * Reconciling and Stalled exist only while they are true, and never both.
 */
#pragma once

#include "base/error.h"
#include "data/json.h"

#include <stdbool.h>
#include <stddef.h>

#define CONDITION_READY       "Ready"
#define CONDITION_RECONCILING "Reconciling"
#define CONDITION_STALLED     "Stalled"
#define CONDITION_HEALTHY     "Healthy"

#define CONDITION_TRUE    "True"
#define CONDITION_FALSE   "False"
#define CONDITION_UNKNOWN "Unknown"

/* Reasons that several kinds share. */
#define REASON_SUCCEEDED              "Succeeded"
#define REASON_FAILED                 "Failed"
#define REASON_PROGRESSING            "Progressing"
#define REASON_PROGRESSING_WITH_RETRY "ProgressingWithRetry"
#define REASON_DEPENDENCY_NOT_READY   "DependencyNotReady"
#define REASON_ACCESS_DENIED          "AccessDenied"

/* More bytes than this end in "..."; the cut is between characters. */
#define CONDITION_MESSAGE_LIMIT 32768

void condition_set(struct json *object, const char *type, const char *status, const char *reason, const char *format, ...)
        __attribute__((__format__(__printf__, 5, 6)));
/* True, with the other of the two removed. */
void condition_mark_reconciling(struct json *object, const char *reason, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));
void condition_mark_stalled(struct json *object, const char *reason, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));
/* True if there was one. */
bool condition_remove(struct json *object, const char *type);

/* NULL if there is none. Borrowed from the tree. */
struct json *condition_get(const struct json *object, const char *type);
bool condition_has(const struct json *object, const char *type);
bool condition_is_true(const struct json *object, const char *type);
bool condition_is_false(const struct json *object, const char *type);
bool condition_is_unknown(const struct json *object, const char *type); /* also if absent */
/* "" if there is none. Borrowed from the tree. */
const char *condition_reason(const struct json *object, const char *type);
const char *condition_message(const struct json *object, const char *type);
/* Ready is True and neither Stalled nor Reconciling is. */
bool condition_ready(const struct json *object);

/*
 * One condition from others: of those of `types` that are there, the first non-empty category of
 *
 *   negative and True, positive and False, positive and True, negative and False, Unknown
 *
 * decides the status of `target` (which is a positive one), and the first in the order of `types` within that category gives reason and message.
 * Returns false, and nothing changes, if none of them is there.
 */
struct condition_summary {
        const char *target;
        const char *const *types;    /* ends with NULL */
        const char *const *negative; /* those of `types` that are bad when they are true; ends with NULL */
        bool latest_generation;      /* only those of the newest observedGeneration count */
};
bool condition_summarize(struct json *object, const struct condition_summary *summary);

/*
 * The end of a run.
 *
 *   CONDITION_DONE     it is as it should be: Reconciling and Stalled go
 *   CONDITION_RETRY    there is more to do, `error` may say why: Stalled goes, Reconciling stays with the reason ProgressingWithRetry
 *   CONDITION_GIVE_UP  only a change by somebody helps; `error` is required: Stalled with its reason and message, Reconciling goes
 *
 * With an error, Ready becomes False unless it is already, with the error's reason (REASON_FAILED if it has none) and message. Then the
 * summaries are made, in order. status.lastHandledReconcileAt takes the value of the annotation reconcile.fluxcd.io/requestedAt;
 * status.observedGeneration moves when the run is done or given up.
 *
 *  0
 * -1  CONDITION_DONE, but Ready is False: `ret_error` (may be NULL) is its reason and message, and the observed generation stays
 */
enum condition_end {
        CONDITION_DONE,
        CONDITION_RETRY,
        CONDITION_GIVE_UP,
};
int condition_finish(struct json *object, enum condition_end end, const struct error *error,
                     const struct condition_summary *summaries, size_t summary_count, struct error *ret_error);

/* The parts of condition_finish that an object that is left alone (suspended) needs as well. */
void condition_handled(struct json *object);  /* status.lastHandledReconcileAt; none if "" was asked for */
void condition_observed(struct json *object); /* status.observedGeneration */
