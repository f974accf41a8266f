/*
 * run: what the parts of a Kustomization's reconcile share: the process's own things, and those of one run.
 *
 * The steps of a run are functions of `struct run` in the order of kustomization.c. What they find out goes into run->object, the run's own tree;
 * run_write sends what differs.
 */
#pragma once

#include "artifact.h"
#include "base/arena.h"
#include "base/context.h"
#include "base/error.h"
#include "build.h"
#include "kube/apply.h"
#include "kube/client.h"
#include "kube/condition.h"
#include "kube/controller.h"
#include "kube/drift.h"
#include "kube/event.h"
#include "kube/patch.h"
#include "kube/watch.h"
#include "kustomization.h"
#include "owners.h"

#include <stdbool.h>
#include <stdint.h>

#define KUSTOMIZATION_FINALIZER "finalizers.fluxcd.io"
#define KUSTOMIZATION_GROUP     "kustomize.toolkit.fluxcd.io"
#define SOURCE_GROUP            "source.toolkit.fluxcd.io"
#define FIELD_MANAGER           "kustomize-controller"      /* of what is applied */
#define STATUS_MANAGER          "gotk-kustomize-controller" /* of the Kustomization itself */

/* Reasons of a Kustomization's conditions, beside those of kube/condition.h. */
#define REASON_ARTIFACT_FAILED          "ArtifactFailed"
#define REASON_BUILD_FAILED             "BuildFailed"
#define REASON_RECONCILIATION_FAILED    "ReconciliationFailed"
#define REASON_RECONCILIATION_SUCCEEDED "ReconciliationSucceeded"
#define REASON_PRUNE_FAILED             "PruneFailed"
#define REASON_HEALTH_CHECK_FAILED      "HealthCheckFailed"
#define REASON_HEALTH_CHECK_CANCELED    "HealthCheckCanceled"
#define REASON_DRIFT_CORRECTED          "DriftCorrected"
#define REASON_UNSUPPORTED              "UnsupportedField"
#define REASON_INVALID_SPEC             "InvalidSpec"

/* The process's own (run.c); set up by main.c before the first run. */
struct kustomize {
        /* flags */
        int64_t concurrent_ssa, http_retry;
        bool no_remote_bases;
        const char *drift_detection; /* "watch" or "dry-run" */
        const char *sops_age_secret, *sops_vault_configmap;
        struct flag_list override_managers, stage_kinds;

        struct artifact_cache *artifacts;
        struct parallel *parallel;
        struct drift_table *drift; /* NULL with --drift-detection=dry-run */
        struct watch_pool *watches;
        struct owners *owners;
        const char **managers; /* override_managers as NULL-terminated strings */
        struct apply_kind *kinds;
        size_t kind_count;
};

extern struct kustomize kustomize;

/* The kind, as main.c names it, with what wakes it (kustomization_watch.c) and what it does then (kustomization.c). */
extern struct controller kustomization_controller;
int kustomization_reconcile(struct context *ctx, struct reconcile *reconcile, struct error *error);

/* One run. Strings live in the arena or the object. */
struct run {
        struct reconcile *reconcile;
        struct arena *arena;
        struct json *object; /* reconcile->object */
        const char *namespace, *name;
        struct kustomization_spec spec;
        struct kustomization_status status; /* as it was at the beginning */
        bool was_ready;
        struct view ready; /* the condition before the first progress, if it was Ready in this generation: JSON; else empty */
        struct object_patch patch;
        struct kube_client *client;           /* of what is applied: impersonating if need be; owned */
        const struct kube_resource *resource; /* of Kustomizations */
        int64_t started_ns, timeout_ns, retry_ns;

        /* the source */
        const char *artifact_url, *artifact_digest, *revision, *origin_revision;
        uint64_t artifact_size; /* 0: not said */

        /* the build */
        struct build_output built;
        uint8_t inputs[OWNER_INPUTS];
        struct owner_wait wait; /* of the run before, if it was interrupted; then of this one */
        struct variables variables;
        const char *variables_error; /* why they could not be read; NULL */

        /* the apply */
        struct apply_changes changes;
        struct inventory old_inventory;
        bool recorded; /* what is wanted was added to the inventory of the cluster, in advance */
        bool changed;  /* something was created or configured */
};

/* How a step ended the run before its end, with everything said in the object. */
#define RUN_ENDED 1

/* ---- run.c: who applies, and how ---- */

/* The ServiceAccount in whose name is applied; NULL: the controller's own. */
const char *run_account(const struct run *run);
/* Sets run->client, once: who applies. */
void run_client(struct run *run);
/* What apply, prune and look are told; after run_client. Borrows from the run. */
struct apply_settings run_settings(struct run *run);
/* The age at which a verified object is asked about again although nothing was seen. */
int64_t run_recheck_ms(const struct run *run);
/* Tells the drift table how its watches on this Kustomization's kinds are doing; before it is asked. */
void run_report_watches(struct run *run);

/* ---- kustomization_status.c: what a run says ---- */

/* Ready Unknown, Reconciling with this message; written at once only if the run has lasted for long enough to be looked at. */
int run_progress(struct context *ctx, struct run *run, struct error *error, const char *format, ...)
        __attribute__((__format__(__printf__, 4, 5)));
/*
 * Sends what differs. As long as a run does again what is Ready at this generation and revision, and has not failed, Ready stays as it was for others: those
 * who depend on it need not wait.
 */
int run_write(struct context *ctx, struct run *run, struct error *error);
/* Ready False with the error's message. */
void run_not_ready(struct run *run, const char *reason, const char *message);
/*
 * Ready False and Stalled: nothing but a change helps. Records an error event, and logs it, but for the error of a run that is terminal: that is logged when
 * the run ends.
 */
void run_stalled(struct run *run, const char *reason, bool observed, const char *format, ...)
        __attribute__((__format__(__printf__, 4, 5)));
/* An event with the revisions as metadata; the reason is that of Ready. */
void run_event(struct run *run, enum event_type type, const char *revision, const char *origin_revision, bool commit_status,
               const char *format, ...) __attribute__((__format__(__printf__, 6, 7)));
/*
 * What was undone, a line each. The reason is its own: events of one object and reason are combined from the tenth different one on, and many edits must not
 * make one of what was applied.
 */
void run_drift_event(struct run *run, const char *lines);
/* status.history: the newest first, five at most, one for each digest and status. */
void run_history(struct run *run, const char *digest, const char *status);
/* "1.5s" since the beginning. */
const char *run_duration(struct run *run);

/* ---- kustomization_source.c: what it is made from ---- */

/* Sets artifact and revisions. RUN_ENDED: there is none (yet). -1: it may not be used (a terminal error), or cannot be read. */
int run_source(struct context *ctx, struct run *run, struct error *error);
/* spec.dependsOn. RUN_ENDED: one is not ready. */
int run_dependencies(struct context *ctx, struct run *run, struct error *error);
/* The values of spec.postBuild and the digest of all inputs of the build. What cannot be read fails the build, if an object needs it. */
int run_inputs(struct context *ctx, struct run *run, struct error *error);
/* The same inputs as at the last successful run, and the watches (or lists, where there are none) say that nothing moved since. */
bool run_unchanged(struct context *ctx, struct run *run);
/* Asks for the server's version every ten minutes: with another one everything is verified anew. */
void run_server_version(struct context *ctx, struct run *run);

/* ---- kustomization_apply.c: what is done to the cluster ---- */

int run_apply(struct context *ctx, struct run *run, struct error *error);
/* How many objects the apply left in the cluster as ours. */
size_t run_applied(const struct run *run);
int run_prune(struct context *ctx, struct run *run, struct error *error);
/* Watches on the kinds that this Kustomization applied, from now on. */
void run_watch(struct context *ctx, struct run *run);

/* ---- kustomization_health.c ---- */

/* Waits; ctx is the run's own, which a newer trigger cancels. */
int run_health(struct context *ctx, struct run *run, struct error *error);

/* ---- kustomization_rights.c ---- */

/* The account may do other things than when it was used last: every object has to be asked about in its name. Looks once an interval. */
bool run_rights_changed(struct context *ctx, struct run *run);
/* Everything was just applied in its name: what it may do now is what later looks are compared with. */
void run_rights_proven(struct context *ctx, struct run *run);

/* ---- kustomization_finalize.c ---- */

int run_finalize(struct context *ctx, struct run *run, struct error *error);
/*
 * For a deleted object that does not decode, with the error about that: takes what run_finalize needs. False if that is not clear either; the error says
 * then what to do.
 */
bool run_decode_deletion(struct run *run, struct error *error);

/* ---- kustomization_wake.c: what a run means for others ---- */

/* Those whose dependencies were waiting for this one. */
void wake_dependents(struct run *run);
/*
 * Those in whose inventory something is that was deleted here. An object that two declare is of the one that applied it last, and the drift table knows that
 * one alone: the other would miss it until its interval.
 */
void wake_sharers(struct run *run, const struct apply_changes *pruned);
/* The Kustomization is gone: what the process remembers of it is, too. From any thread. */
void forget_owner(const char *namespace, const char *name);
/* A condition of a cached object, as JSON text; empty if it has none. */
struct view condition_text(const struct cache_object *object, const char *type);

/* ---- kustomization_watch.c: what wakes a Kustomization ---- */

/* The drift table's wake. */
void wake_owner(void *data, const char *owner_namespace, const char *owner_name, const struct drift_report *report);
/* The watch pool's handlers. */
void drift_seen(void *data, const struct kube_resource *resource, const struct cache_event *event);
void drift_unwatched(void *data, const struct kube_resource *resource, const struct error *error);
void drift_restored(void *data, const struct kube_resource *resource);
void drift_unused(void *data, const struct kube_resource *resource);
