/*
 * What a run says: progress, conditions, history, events.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "run.h"

#include <stdarg.h>
#include <string.h>

#define HISTORY_LIMIT 5
/* A run that is over by then shows its end only: nobody could have read what it was doing. */
#define PROGRESS_AFTER_NS DURATION_SECOND

const char *run_duration(struct run *run)
{
        char text[DURATION_TEXT];

        return arena_string(run->arena, duration_print(clock_now_ns() - run->started_ns, text));
}

static bool repeats(const struct run *run)
{
        return run->ready.length && run->revision && run->status.last_applied_revision &&
               strcmp(run->status.last_applied_revision, run->revision) == 0 &&
               strcmp(condition_reason(run->object, CONDITION_READY), REASON_PROGRESSING) == 0;
}

static void set_ready(struct run *run, const struct json *condition)
{
        struct json *ready = condition_get(run->object, CONDITION_READY);

        JSON_EACH(condition, member)
                json_set(ready, member.key, json_copy(member.value));
}

static int write_repeating(struct context *ctx, struct run *run, struct error *error)
{
        cleanup(json_free) struct json *was = NULL, *is = json_copy(condition_get(run->object, CONDITION_READY));
        int r;

        TRY(json_parse(run->ready, &was, error));
        set_ready(run, was);
        r = object_patch_write(ctx, &run->patch, run->object, error);
        set_ready(run, is);
        return r;
}

int run_write(struct context *ctx, struct run *run, struct error *error)
{
        if ((repeats(run) ? write_repeating(ctx, run, error) : object_patch_write(ctx, &run->patch, run->object, error)) < 0)
                return error_wrap(error, "failed to update status");
        owners_wrote(kustomize.owners, run->namespace, run->name,
                     json_string(json_path(run->object, "metadata", "resourceVersion", NULL), ""));
        return 0;
}

__attribute__((format(printf, 2, 0))) static const char *print(struct run *run, const char *format, va_list arguments)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        buffer_vprintf(&text, format, arguments);
        return arena_string(run->arena, buffer_string(&text));
}

/* Ready as others see it, before the run says that it is under way. */
static void remember_ready(struct run *run)
{
        int64_t generation = json_integer(json_path(run->object, "metadata", "generation", NULL), 0);
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (run->ready.length || !run->was_ready || run->status.observed_generation != generation)
                return;
        json_print(condition_get(run->object, CONDITION_READY), &text);
        run->ready = arena_view(run->arena, buffer_view(&text));
}

int run_progress(struct context *ctx, struct run *run, struct error *error, const char *format, ...)
{
        va_list arguments;
        const char *message;

        va_start(arguments, format);
        message = print(run, format, arguments);
        va_end(arguments);
        remember_ready(run);
        condition_set(run->object, CONDITION_READY, CONDITION_UNKNOWN, REASON_PROGRESSING, "Reconciliation in progress");
        condition_mark_reconciling(run->object, REASON_PROGRESSING, "%s", message);
        if (clock_now_ns() - run->started_ns < PROGRESS_AFTER_NS)
                return 0;
        return run_write(ctx, run, error);
}

void run_not_ready(struct run *run, const char *reason, const char *message)
{
        condition_set(run->object, CONDITION_READY, CONDITION_FALSE, reason, "%s", message);
}

void run_stalled(struct run *run, const char *reason, bool observed, const char *format, ...)
{
        va_list arguments;
        const char *message;

        va_start(arguments, format);
        message = print(run, format, arguments);
        va_end(arguments);
        run_not_ready(run, reason, message);
        condition_mark_stalled(run->object, reason, "%s", message);
        if (observed)
                condition_observed(run->object);
        if (!run->reconcile->terminal)
                log_line(LOG_ERROR, NULL, &run->reconcile->log, NULL, NULL, "%s", message);
        run_event(run, EVENT_WARNING, NULL, NULL, false, "%s", message);
}

static void record(struct run *run, enum event_type type, const char *reason, const char *revision, const char *origin_revision,
                   bool commit_status, const char *message)
{
        cleanup(json_free) struct json *metadata = json_new_object();

        if (commit_status)
                json_set_string(metadata, KUSTOMIZATION_GROUP "/commit_status", "update");
        if (revision && *revision)
                json_set_string(metadata, KUSTOMIZATION_GROUP "/revision", revision);
        if (origin_revision && *origin_revision)
                json_set_string(metadata, KUSTOMIZATION_GROUP "/originRevision", origin_revision);
        event_record(run->reconcile->runtime->recorder, run->object, type, reason, metadata, "%s", message);
}

void run_event(struct run *run, enum event_type type, const char *revision, const char *origin_revision, bool commit_status,
               const char *format, ...)
{
        const char *reason = condition_reason(run->object, CONDITION_READY);
        va_list arguments;

        if (!*reason)
                reason = type == EVENT_WARNING ? "error" : "info";
        va_start(arguments, format);
        record(run, type, reason, revision, origin_revision, commit_status, print(run, format, arguments));
        va_end(arguments);
}

void run_drift_event(struct run *run, const char *lines)
{
        record(run, EVENT_NORMAL, REASON_DRIFT_CORRECTED, run->revision, run->origin_revision, false,
               arena_printf(run->arena, "Drift corrected:\n%s", lines));
}

/* Takes the entry of this digest and status out of the list, or makes one. The caller owns it. */
static struct json *take_entry(struct json *history, const char *digest, const char *status)
{
        struct json *entry;

        for (size_t i = 0; i < json_length(history); i++) {
                struct json *old = json_at(history, i);

                if (strcmp(json_string(json_get(old, "digest"), ""), digest) == 0 &&
                    strcmp(json_string(json_get(old, "lastReconciledStatus"), ""), status) == 0) {
                        entry = json_copy(old);
                        json_remove_at(history, i);
                        return entry;
                }
        }
        entry = json_new_object();
        json_set_string(entry, "digest", digest);
        return entry;
}

void run_history(struct run *run, const char *digest, const char *status)
{
        struct json *history = json_array_at(json_object_at(run->object, "status"), "history");
        struct json *entry = take_entry(history, digest, status), *metadata = json_new_object();
        char now[TIME_TEXT];

        time_print(clock_wall_us(), now);
        if (!json_get(entry, "firstReconciled"))
                json_set_string(entry, "firstReconciled", now);
        json_set_string(entry, "lastReconciled", now);
        json_set_string(entry, "lastReconciledDuration", run_duration(run));
        json_set_string(entry, "lastReconciledStatus", status);
        json_set_integer(entry, "totalReconciliations", json_integer(json_get(entry, "totalReconciliations"), 0) + 1);
        json_set_string(metadata, "revision", run->revision);
        json_set_string(metadata, "originRevision", run->origin_revision);
        json_set(entry, "metadata", metadata);
        json_insert(history, 0, entry);
        while (json_length(history) > HISTORY_LIMIT)
                json_remove_at(history, json_length(history) - 1);
}
