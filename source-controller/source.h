/*
 * source: what all kinds of the source controller have in common.
 *
 * A run goes through the same steps for every kind; each may end it:
 *
 *   source_begin    deletion, finalizer, suspension; the object is marked as being worked on
 *   source_storage  retention, and whether the artifact that status.artifact names is still what it was
 *   (the kind)      fetch, store
 *   source_end      condition_finish, events, one write of the status
 *
 * What a run finds is written into its own tree of the object; source_end sends what changed, so a run that found nothing new sends nothing.
 */
#pragma once

#include "kube/condition.h"
#include "kube/controller.h"
#include "kube/event.h"
#include "kube/meta.h"
#include "kube/patch.h"
#include "storage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SOURCE_FINALIZER "finalizers.fluxcd.io"

#define CONDITION_ARTIFACT_IN_STORAGE      "ArtifactInStorage"
#define CONDITION_ARTIFACT_OUTDATED        "ArtifactOutdated"
#define CONDITION_FETCH_FAILED             "FetchFailed"
#define CONDITION_STORAGE_OPERATION_FAILED "StorageOperationFailed"
#define CONDITION_INCLUDE_UNAVAILABLE      "IncludeUnavailable"
#define CONDITION_SOURCE_VERIFIED          "SourceVerified"

/* The program's own state, as controller->data. */
struct source_program {
        struct storage *storage;
        struct view ssh_key_exchanges; /* --ssh-kex-algos, --ssh-hostkey-algos */
        struct view ssh_host_algorithms;
        pthread_mutex_t start_lock;                 /* of `begun` and `lost` */
        bool begun;                                 /* storage and objects were held against each other */
        struct source_lost *lost;                   /* objects without their artifact that have not run since */
        _Atomic(struct source_departed *) departed; /* added to by the io thread, which must not wait for that */
};

/* The kinds. */
extern struct controller git_repository_controller;

/*
 * The `removed` of each kind: an object that is gone without having been deleted (its labels no longer match the selector) belongs to another
 * replica; its files here go with the next run.
 */
void source_removed(struct controller *controller, const struct cache_object *object);
/* Of the program: all runs have ended, and the storage is about to be closed. */
void source_stopped(struct source_program *program);

/* What differs between kinds. */
struct source_kind {
        const struct kind *kind;
        const char *folder;               /* in the storage: "gitrepository" */
        const char *const *owned;         /* condition types; ends with NULL */
        const char *const *failures;      /* those whose end is worth an event; ends with NULL */
        struct condition_summary summary; /* of Ready */
};

struct source_run {
        const struct source_kind *kind;
        struct reconcile *run;
        struct source_program *program;
        struct json *object; /* the run's tree */
        struct object_meta meta;
        const struct artifact_status *artifact; /* of the status at the start, if it is still in storage; NULL: none */
        const char *previous_digest;            /* of the status at the start, in storage or not; NULL: none */
        bool lost;                              /* the artifact was gone when the program began, and the status says so already */
        struct storage_object place;
        struct object_patch patch;
        bool failing; /* one of kind->failures was there at the start */
        bool stalled; /* the error is one that only a change by somebody helps against */
        bool marked;  /* the object is to be shown as being worked on before anything takes time */
};

/* Outcome of source_begin: nothing is left to do for this run, and the outcome is in run. */
#define SOURCE_OVER 1

/*
 * `status_artifact` is what the status says (NULL: none); `suspended` is spec.suspend.
 *
 *  0, SOURCE_OVER, -1
 */
int source_begin(struct context *ctx, const struct source_kind *kind, struct reconcile *run,
                 const struct artifact_status *status_artifact, bool suspended, struct source_run *ret_source, struct error *err);
void source_release(struct source_run *source); /* for cleanup(source_release) */

/* The storage phase; afterwards the object is shown as being worked on, if it was not before. */
int source_storage(struct context *ctx, struct source_run *source, struct error *err);

/* Marks a failed step: the condition gets the error's message and the reason (NULL: the error's own). Returns -1. */
int source_failed(struct source_run *source, const char *condition, const char *reason, struct error *err);
/* The same for what only a change of the object can help against. */
int source_stalled(struct source_run *source, const char *condition, const char *reason, struct error *err);

/* A Normal event in the cluster that is not posted. */
#define source_trace(source, reason, ...)                                                                                          \
        event_record((source)->run->runtime->recorder, (source)->object, EVENT_TRACE, (reason), NULL, __VA_ARGS__)

/* status.artifact := artifact, in storage and under its address. */
void source_set_artifact(struct source_run *source, const struct artifact_status *artifact);

/*
 * The end of a run whose phases returned `result` (0 or -1, with `cause`). `interval_ns`: when to look again; `message`: of the event that says
 * that there is a new artifact, or that a failure is over. Returns what the reconcile function returns, with its error.
 */
int source_end(struct context *ctx, struct source_run *source, int result, struct error *cause, int64_t interval_ns,
               const char *message, struct error *err);
