#include "source_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kube/client.h"

#include <string.h>

#define REVISION_ANNOTATION "source.toolkit.fluxcd.io/revision"
#define DIGEST_ANNOTATION   "source.toolkit.fluxcd.io/digest"

static struct event_recorder *recorder(const struct source_run *source)
{
        return source->run->runtime->recorder;
}

static struct json *status_of(struct source_run *source)
{
        return json_object_at(source->object, "status");
}

static bool any_true(const struct json *object, const char *const *types)
{
        for (; *types; types++)
                if (condition_is_true(object, *types))
                        return true;
        return false;
}

/* Ready stays what it is while nothing better is known, unless `drifted`. */
static void mark_progress(struct json *object, bool drifted, const char *message)
{
        condition_mark_reconciling(object, REASON_PROGRESSING, "%s", message);
        if (drifted || condition_is_unknown(object, CONDITION_READY))
                condition_set(object, CONDITION_READY, CONDITION_UNKNOWN, REASON_PROGRESSING, "%s", message);
}

void source_mark_missing(struct json *object, bool was_there)
{
        json_remove(json_object_at(object, "status"), "artifact");
        mark_progress(object, true, was_there ? "building artifact: disappeared from storage" : "building artifact");
        condition_remove(object, CONDITION_ARTIFACT_IN_STORAGE);
}

/* The object was seen, and nothing is done for it. */
static void mark_seen(struct source_run *source)
{
        condition_finish(source->object, CONDITION_RETRY, NULL, &source->kind->summary, 1, NULL);
        if (json_length(json_path(source->object, "status", "conditions", NULL)) > 0)
                condition_observed(source->object);
}

/* Where somebody else's finalizer keeps the object, nobody shall look for its artifact. */
static int leave_deleted(struct context *ctx, struct source_run *source, struct error *err)
{
        if (json_length(json_path(source->object, "metadata", "finalizers", NULL)) > 0) {
                json_remove(status_of(source), "artifact");
                mark_seen(source);
        }
        TRY(object_patch_write(ctx, &source->patch, source->object, err));
        return SOURCE_OVER;
}

/* The files go, then the finalizer. */
static int finalize(struct context *ctx, struct source_run *source, struct error *err)
{
        bool removed = false;

        if (!finalizer_has(source->object, SOURCE_FINALIZER))
                return leave_deleted(ctx, source, err);
        if (storage_remove(source->program->storage, &source->place, &removed, err) < 0) {
                error_wrap(err, "garbage collection for deleted resource failed");
                error_reason(err, "GarbageCollectionFailed");
                event_record(recorder(source), source->object, EVENT_WARNING, err->reason, NULL, "%s", error_message(err));
                return -1;
        }
        if (removed)
                source_trace(source, "GarbageCollectionSucceeded", "garbage collected artifacts for deleted resource");
        finalizer_remove(source->object, SOURCE_FINALIZER);
        return leave_deleted(ctx, source, err);
}

/* Nothing is fetched, but the object says that it was seen. */
static int leave_suspended(struct context *ctx, struct source_run *source, struct error *err)
{
        log_info(&source->run->log, "reconciliation is suspended for this object");
        mark_seen(source);
        TRY(object_patch_write(ctx, &source->patch, source->object, err));
        return SOURCE_OVER;
}

static void mark_begin(struct source_run *source)
{
        int64_t observed = json_integer(json_path(source->object, "status", "observedGeneration", NULL), 0);
        const char *requested = object_requested_at(source->object);
        const char *handled = json_string(json_path(source->object, "status", "lastHandledReconcileAt", NULL), "");

        condition_remove(source->object, CONDITION_STALLED);
        mark_progress(source->object, false, "reconciliation in progress");
        if (observed != source->meta.generation) {
                mark_progress(source->object, false,
                              arena_printf(source->run->arena, "processing object: new generation %lld -> %lld",
                                           (long long)observed, (long long)source->meta.generation));
                source->marked = true;
        } else if (requested && strcmp(requested, handled) != 0) {
                source->marked = true;
        }
        condition_remove(source->object, CONDITION_STORAGE_OPERATION_FAILED);
}

int source_begin(struct context *ctx, const struct source_kind *kind, struct reconcile *run,
                 const struct artifact_status *status_artifact, bool suspended, struct source_run *ret_source, struct error *err)
{
        struct source_run *source = ret_source;
        const struct kube_resource *resource =
                kube_resource_intern(kind->kind->group, kind->kind->version, kind->kind->kind, kind->kind->plural, true);

        *source = (struct source_run){
                .kind = kind,
                .run = run,
                .program = run->controller->data,
                .object = run->object,
                .artifact = status_artifact,
                .previous_digest = status_artifact ? status_artifact->digest : NULL,
                .place = { .kind = kind->folder, .namespace = run->namespace, .name = run->name },
                .patch = OBJECT_PATCH_NULL,
        };
        source_start(ctx, source);
        TRY(record_decode(&object_meta_record, json_get(run->object, "metadata"), run->name, "metadata", run->arena, &source->meta,
                          err));
        object_patch_begin(&source->patch, run->runtime->client, resource, run->runtime->program->name, kind->owned, run->object);
        if (source->meta.deletion_timestamp)
                return finalize(ctx, source, err);
        if (finalizer_add(source->object, SOURCE_FINALIZER))
                TRY(object_patch_write(ctx, &source->patch, source->object, err));
        if (suspended)
                return leave_suspended(ctx, source, err);
        source->failing = any_true(source->object, kind->failures);
        mark_begin(source);
        return 0;
}

void source_release(struct source_run *source)
{
        object_patch_release(&source->patch);
}

static void collect_garbage(struct context *ctx, struct source_run *source)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        unsigned removed = 0;

        storage_collect(ctx, source->program->storage, source->artifact->path, &removed, &ignored);
        if (removed > 0)
                source_trace(source, "GarbageCollectionSucceeded", "garbage collected %u artifacts", removed);
}

/* *ret_there is false if the file is gone or was removed because its bytes are not what they should be. */
static int verify(struct context *ctx, struct source_run *source, bool *ret_there, struct error *err)
{
        cleanup(error_release) struct error problem = ERROR_NULL;
        int result = storage_verify(ctx, source->program->storage, source->artifact->path, source->artifact->digest, &problem);

        if (result < 0)
                return error_move(err, &problem);
        if (result == STORAGE_CORRUPT)
                event_record(recorder(source), source->object, EVENT_WARNING, "ArtifactVerificationFailed", NULL, "%s",
                             error_message(&problem));
        *ret_there = result == 0;
        return 0;
}

/* The address may have changed with the flags. */
static void refresh_address(struct source_run *source)
{
        cleanup(buffer_release) struct buffer url = BUFFER_NULL;

        storage_url(source->program->storage, source->artifact->path, &url);
        json_set_string(json_object_at(status_of(source), "artifact"), "url", buffer_string(&url));
}

int source_storage(struct context *ctx, struct source_run *source, struct error *err)
{
        bool there = false, was_there = source->artifact || source->lost;

        if (source->artifact) {
                collect_garbage(ctx, source);
                TRY(verify(ctx, source, &there, err));
        }
        if (there) {
                refresh_address(source);
        } else {
                source->artifact = NULL;
                source_mark_missing(source->object, was_there);
                source->marked = true;
        }
        if (!source->marked)
                return 0;
        if (object_patch_write(ctx, &source->patch, source->object, err) < 0)
                return error_reason(err, "PatchOperationFailed");
        return 0;
}

int source_failed(struct source_run *source, const char *condition, const char *reason, struct error *err)
{
        if (reason)
                error_reason(err, reason);
        condition_set(source->object, condition, CONDITION_TRUE, err->reason, "%s", error_message(err));
        return -1;
}

int source_stalled(struct source_run *source, const char *condition, const char *reason, struct error *err)
{
        source->stalled = true;
        return source_failed(source, condition, reason, err);
}

void source_set_artifact(struct source_run *source, const struct artifact_status *artifact)
{
        json_set(status_of(source), "artifact", record_encode(&artifact_status_record, artifact));
}

/* A new artifact, or the end of a failure. */
static void announce(struct source_run *source, const char *message)
{
        cleanup(json_free) struct json *metadata = NULL;
        const struct json *artifact = json_path(source->object, "status", "artifact", NULL);
        const char *digest = json_string(json_get(artifact, "digest"), "");
        const char *reason;

        if (!artifact)
                return;
        if (!source->previous_digest || strcmp(source->previous_digest, digest) != 0)
                reason = "NewArtifact";
        else if (source->failing && !any_true(source->object, source->kind->failures))
                reason = REASON_SUCCEEDED;
        else
                return;
        metadata = json_new_object();
        json_set_string(metadata, REVISION_ANNOTATION, json_string(json_get(artifact, "revision"), ""));
        json_set_string(metadata, DIGEST_ANNOTATION, digest);
        event_record(recorder(source), source->object, EVENT_NORMAL, reason, metadata, "%s", message);
        log_info(&source->run->log, "%s", message);
}

static void tell_failure(struct source_run *source, const struct error *cause)
{
        event_record(recorder(source), source->object, EVENT_WARNING, cause->reason[0] ? cause->reason : REASON_FAILED, NULL, "%s",
                     error_message(cause));
        if (source->stalled)
                log_error(&source->run->log, cause, "reconciliation stalled");
}

int source_end(struct context *ctx, struct source_run *source, int result, struct error *cause, int64_t interval_ns,
               const char *message, struct error *err)
{
        struct reconcile *run = source->run;

        /* Shutdown or a lost lease: whoever comes next finds out for itself. */
        if (result < 0 && cause->kind == ERROR_CANCELLED)
                return error_move(err, cause);
        if (result == 0) {
                announce(source, message);
                result = condition_finish(source->object, CONDITION_DONE, NULL, &source->kind->summary, 1, cause);
        } else {
                tell_failure(source, cause);
                condition_finish(source->object, source->stalled ? CONDITION_GIVE_UP : CONDITION_RETRY, cause,
                                 &source->kind->summary, 1, NULL);
        }
        TRY(object_patch_write(ctx, &source->patch, source->object, err));
        if (result < 0)
                return source->stalled ? 0 : error_move(err, cause);
        if (interval_ns > 0)
                run->requeue_after_ms = duration_wait_ms(runtime_jitter(run->runtime, interval_ns));
        return 0;
}
