/*
 * Kustomization: make the cluster equal to what the source says (Flux kustomize API v1).
 *
 * The steps are in order and each may end the run. What they find is written into the object's status, which is sent once at the end, and on the
 * way only if the run takes long enough to be looked at. A run whose inputs are those of the last successful one, while the metadata watches say that nothing that
 * it applied has moved, does nothing else.
 *
 * The run's own context is cancelled when a newer trigger arrives. Only waiting for health ends then; what changes the cluster runs under `work`, which
 * ends with the process, its leadership or the timeout.
 */
#include "run.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>

#define MINIMUM_TIMEOUT (30 * DURATION_SECOND)
#define FINAL_WRITE_MS  5000

static const char *const owned_conditions[] = { CONDITION_READY, CONDITION_RECONCILING, CONDITION_STALLED, CONDITION_HEALTHY,
                                                NULL };

static int64_t timeout_of(const struct kustomization_spec *spec)
{
        int64_t timeout = spec->timeout ? *spec->timeout : spec->interval - 30 * DURATION_SECOND;

        return timeout < MINIMUM_TIMEOUT ? MINIMUM_TIMEOUT : timeout;
}

static void run_release(struct run *run)
{
        object_patch_release(&run->patch);
        build_output_release(&run->built);
        kube_client_release(&run->client);
}

/* A stored object that does not decode errs alone, and says which field it is. */
static int run_begin(struct run *run, struct reconcile *reconcile, struct error *error)
{
        *run = (struct run){ .reconcile = reconcile,
                             .arena = reconcile->arena,
                             .object = reconcile->object,
                             .namespace = reconcile->namespace,
                             .name = reconcile->name,
                             .patch = OBJECT_PATCH_NULL,
                             .built = BUILD_OUTPUT_NULL,
                             .changes = APPLY_CHANGES_NULL,
                             .started_ns = clock_now_ns() };
        run->resource = kube_resource_intern(KUSTOMIZATION_GROUP, "v1", "Kustomization", "kustomizations", true);
        object_patch_begin(&run->patch, reconcile->runtime->client, run->resource, STATUS_MANAGER, owned_conditions, run->object);
        TRY(kind_decode(&kustomization_kind, run->object, run->arena, &run->spec, &run->status, error));
        run->was_ready = condition_ready(run->object);
        run->wait = owners_take_interrupted(kustomize.owners, run->namespace, run->name);
        run->timeout_ns = timeout_of(&run->spec);
        run->retry_ns = run->spec.retry_interval ? *run->spec.retry_interval : run->spec.interval;
        return 0;
}

/* What a later version will do is refused by name: applied half, it would be wrong. */
static int refuse_unsupported(struct run *run)
{
        const char *field = NULL;

        if (run->spec.kube_config)
                field = "spec.kubeConfig";
        else if (run->spec.decryption)
                field = "spec.decryption";
        else if (run->spec.health_check_exprs.count)
                field = "spec.healthCheckExprs";
        for (size_t i = 0; !field && i < run->spec.depends_on.count; i++)
                if (run->spec.depends_on.items[i].ready_expr)
                        field = "spec.dependsOn[].readyExpr";
        if (!field)
                return 0;
        run_stalled(run, REASON_UNSUPPORTED, true,
                    "%s is not supported by this version of kustomize-controller: remove it, or let another controller reconcile "
                    "this object",
                    field);
        return RUN_ENDED;
}

struct fetching {
        struct context *work;
        struct run *run;
};

/* Attempts go on until the timeout; that they do, and why, is seen at once. */
static void tell_slow(void *data, const struct error *why)
{
        const struct fetching *fetching = data;
        struct run *run = fetching->run;
        cleanup(error_release) struct error ignored = ERROR_NULL;
        char timeout[DURATION_TEXT];

        run_progress(fetching->work, run, &ignored, "Fetching manifests for revision %s with a timeout of %s: %s", run->revision,
                     duration_print(run->timeout_ns, timeout), error_message(why));
        error_release(&ignored);
        run_write(fetching->work, run, &ignored);
}

static int build(struct context *ctx, struct context *work, struct run *run, struct error *error)
{
        struct fetching fetching = { work, run };
        const struct artifact_patience patience = { ctx, work, run->reconcile, tell_slow, &fetching };
        cleanup(artifact_release) struct artifact *artifact = NULL;
        struct build_request request = { .name = view_of(run->name),
                                         .namespace = view_of(run->namespace),
                                         .spec = json_get(run->object, "spec"),
                                         .substitute = run->spec.post_build != NULL,
                                         .variables = run->variables,
                                         .unreadable = run->variables_error,
                                         .deadline_ms = run->timeout_ns / DURATION_MILLISECOND,
                                         .jobs = reconcile_most(run->reconcile) };
        const char *strategy = run->spec.post_build ? run->spec.post_build->substitute_strategy : NULL;
        int r;

        r = artifact_acquire(&patience, kustomize.artifacts, run->artifact_url, run->artifact_digest, run->artifact_size, &artifact,
                             error);
        if (r == ARTIFACT_ABSENT) {
                char text[DURATION_TEXT];

                run_not_ready(run, REASON_ARTIFACT_FAILED,
                              arena_printf(run->arena, "Source is not ready, artifact not found, retrying in %s",
                                           duration_print(run->reconcile->runtime->flags->requeue_dependency, text)));
                log_info(&run->reconcile->log, "%s", condition_message(run->object, CONDITION_READY));
                run->reconcile->requeue_after_ms = duration_wait_ms(run->reconcile->runtime->flags->requeue_dependency);
                return RUN_ENDED;
        }
        if (r < 0)
                return error_reason(error, REASON_ARTIFACT_FAILED);
        request.root = artifact_root(artifact);
        request.root_path = artifact_path(artifact);
        request.substitute_always = strategy && strcmp(strategy, "Always") == 0;
        r = build_run(work, run->arena, &request, &run->built, error);
        if (r == 0 || strcmp(error->reason, REASON_ARTIFACT_FAILED) != 0) { /* the path was there: this revision is attempted */
                char timeout[DURATION_TEXT];

                json_set_string(json_object_at(run->object, "status"), "lastAttemptedRevision", run->revision);
                run_progress(work, run, error, "Building manifests for revision %s with a timeout of %s", run->revision,
                             duration_print(run->timeout_ns, timeout));
        }
        return r;
}

/* All was built, but must not be applied. */
static int check_built(struct run *run, struct error *error)
{
        if (!run->built.refused.length)
                return 0;
        return error_set(error, ERROR_INVALID, "%.*s", VIEW_ARGS(run->built.refused));
}

/* The steps that change the cluster and wait for it. */
static int reconcile_revision(struct context *ctx, struct context *work, struct run *run, struct error *error)
{
        char timeout[DURATION_TEXT];
        const char *digest;

        duration_print(run->timeout_ns, timeout);
        if (run_progress(work, run, error, "Fetching manifests for revision %s with a timeout of %s", run->revision, timeout) < 0)
                return error_reason(error, REASON_RECONCILIATION_FAILED);
        TRY(build(ctx, work, run, error));
        digest = arena_string_n(run->arena, run->built.digest.data, run->built.digest.length);
        run_client(run);
        if (run_progress(work, run, error, "Detecting drift for revision %s with a timeout of %s", run->revision, timeout) < 0 ||
            check_built(run, error) < 0 || run_apply(work, run, error) < 0) {
                run_history(run, digest, REASON_RECONCILIATION_FAILED);
                return error_reason(error, REASON_RECONCILIATION_FAILED);
        }
        run_rights_proven(work, run);
        if (run_prune(work, run, error) < 0) {
                run_history(run, digest, REASON_PRUNE_FAILED);
                return -1;
        }
        run_watch(work, run);
        if (run_health(ctx, run, error) < 0) {
                if (error->kind != ERROR_CANCELLED)
                        run_history(run, digest, REASON_HEALTH_CHECK_FAILED);
                return -1;
        }
        run_history(run, digest, REASON_RECONCILIATION_SUCCEEDED);
        owners_remember(kustomize.owners, run->namespace, run->name, run->inputs, run_applied(run),
                        run->changes.count - run_applied(run));
        return 0;
}

static void succeed(struct run *run)
{
        struct json *status = json_object_at(run->object, "status");

        json_set_string(status, "lastAppliedRevision", run->revision);
        json_set_string(status, "lastAppliedOriginRevision", run->origin_revision);
        condition_set(run->object, CONDITION_READY, CONDITION_TRUE, REASON_RECONCILIATION_SUCCEEDED, "Applied revision: %s",
                      run->revision);
        run->reconcile->requeue_after_ms = duration_wait_ms(runtime_jitter(run->reconcile->runtime, run->spec.interval));
}

/* Nothing to do: the same is said again, with a new time. */
static void succeed_unchanged(struct run *run)
{
        const char *digest = run->status.history.count ? run->status.history.items[0].digest : NULL;

        if (digest)
                run_history(run, digest, REASON_RECONCILIATION_SUCCEEDED);
        succeed(run);
}

/* Who cannot be reached now, or serve, will soon; the interval may be a day. */
static int64_t time_to_retry(const struct run *run, const struct error *error)
{
        int64_t soon = run->reconcile->runtime->flags->requeue_dependency;

        return error->kind == ERROR_UNAVAILABLE && soon < run->retry_ns ? soon : run->retry_ns;
}

static void fail(struct run *run, struct error *error)
{
        char retry[DURATION_TEXT];
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        int64_t pause = time_to_retry(run, error);

        owners_invalidate(kustomize.owners, run->namespace, run->name);
        run_not_ready(run, error->reason, error_message(error));
        log_field(&fields, "revision", run->revision ? run->revision : "");
        log_line(LOG_ERROR, NULL, &run->reconcile->log, &fields, error, "Reconciliation failed after %s, next try in %s",
                 run_duration(run), duration_print(pause, retry));
        run_event(run, EVENT_WARNING, run->revision, run->origin_revision, false, "%s", error_message(error));
        run->reconcile->failed = true;
        run->reconcile->requeue_after_ms = duration_wait_ms(pause);
}

/* A newer trigger while it waited for health: begin again at once. Without one something drifted, and who saw it has enqueued the object. */
static void superseded(struct run *run)
{
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        struct trigger trigger;
        const char *by;

        owners_invalidate(kustomize.owners, run->namespace, run->name);
        if (!reconcile_trigger(run->reconcile, &trigger)) {
                owners_interrupted(kustomize.owners, run->namespace, run->name, &run->wait);
                return;
        }
        by = arena_printf(run->arena, "%s/%s/%s", trigger.kind, trigger.namespace, trigger.name);
        condition_set(run->object, CONDITION_READY, CONDITION_FALSE, REASON_HEALTH_CHECK_CANCELED,
                      "New reconciliation triggered by %s", by);
        log_field(&fields, "trigger", by);
        log_line(LOG_INFO, NULL, &run->reconcile->log, &fields, NULL, "New reconciliation triggered, canceling health checks");
        run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, false,
                  "Health checks canceled due to new reconciliation triggered by %s", by);
        run->reconcile->requeue = true;
}

static int run_steps(struct context *ctx, struct context *work, struct run *run, struct error *error)
{
        if (!finalizer_has(run->object, KUSTOMIZATION_FINALIZER)) {
                finalizer_add(run->object, KUSTOMIZATION_FINALIZER);
                TRY(run_write(work, run, error)); /* before anything that it has to undo */
                wake_dependents(run);             /* they were told that it does not exist */
                run->reconcile->requeue = true;   /* by then what was applied together with it is there too */
                return RUN_ENDED;
        }
        if (run->spec.suspend) {
                log_info(&run->reconcile->log, "Reconciliation is suspended for this object");
                return RUN_ENDED;
        }
        TRY(refuse_unsupported(run));
        condition_remove(run->object, CONDITION_STALLED);
        TRY(run_source(work, run, error));
        TRY(run_dependencies(work, run, error));
        if (run_inputs(work, run, error) < 0)
                return error_reason(error, REASON_BUILD_FAILED);
        run_server_version(work, run);
        if (run_unchanged(work, run)) {
                succeed_unchanged(run);
                return 0;
        }
        TRY(reconcile_revision(ctx, work, run, error));
        succeed(run);
        return 0;
}

/* The last write has a time of its own: also when the run was cut short, what it did is said. */
static int run_end(struct run *run, struct error *error)
{
        cleanup(context_close) struct context last;

        condition_handled(run->object);
        if (condition_is_true(run->object, CONDITION_READY)) {
                condition_remove(run->object, CONDITION_RECONCILING);
                condition_observed(run->object);
        } else if (condition_is_false(run->object, CONDITION_READY) && condition_has(run->object, CONDITION_RECONCILING)) {
                const char *message = arena_string(run->arena, condition_message(run->object, CONDITION_RECONCILING));

                condition_set(run->object, CONDITION_RECONCILING, CONDITION_TRUE, REASON_PROGRESSING_WITH_RETRY, "%s", message);
        }
        context_open(&last, NULL, clock_now_ms() + FINAL_WRITE_MS);
        return run_write(&last, run, error);
}

/* A terminal error whose status could not be written is none: nobody was told. Returns -1. */
static int end_with(struct run *run, struct error *failure, struct error *error)
{
        if (run_end(run, error) == 0)
                return error_move(error, failure);
        run->reconcile->terminal = false;
        return -1;
}

static void finished(struct run *run)
{
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        const char *duration = run_duration(run);
        char interval[DURATION_TEXT];

        duration_print(run->spec.interval, interval);
        log_field(&fields, "revision", run->revision);
        log_line(LOG_INFO, NULL, &run->reconcile->log, &fields, NULL, "Reconciliation finished in %s, next run in %s", duration,
                 interval);
        run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, true, "Reconciliation finished in %s, next run in %s",
                  duration, interval);
        wake_dependents(run);
}

/*
 * The cache may not show yet what the last run wrote, and without its inventory what it applied would be forgotten. And nothing is deleted on the word of a
 * cache: the object may be gone, made anew, or suspended by now. RUN_ENDED: it is gone.
 */
static int refresh(struct context *ctx, struct reconcile *reconcile, struct error *error)
{
        const char *version = json_string(json_path(reconcile->object, "metadata", "resourceVersion", NULL), "");
        struct json *latest = NULL;

        if (!json_path(reconcile->object, "metadata", "deletionTimestamp", NULL) &&
            !owners_wrote_later(kustomize.owners, reconcile->namespace, reconcile->name, version))
                return 0;
        if (kube_get(ctx, reconcile->runtime->client,
                     kube_resource_intern(KUSTOMIZATION_GROUP, "v1", "Kustomization", "kustomizations", true), reconcile->namespace,
                     reconcile->name, &latest, error) < 0) {
                if (!kube_is_absent(error))
                        return error_wrap(error, "unable to read the object as it is now");
                error_release(error);
                return RUN_ENDED;
        }
        json_free(&reconcile->object);
        reconcile->object = latest;
        return 0;
}

/* The object is as it is now. */
static int reconcile_refreshed(struct context *ctx, struct reconcile *reconcile, struct error *error)
{
        cleanup(run_release) struct run run;
        cleanup(context_close) struct context work;
        cleanup(error_release) struct error failure = ERROR_NULL;
        int r = run_begin(&run, reconcile, error);
        bool deleting = json_path(run.object, "metadata", "deletionTimestamp", NULL) != NULL;

        if (r < 0 && deleting && run_decode_deletion(&run, error)) {
                run.timeout_ns = timeout_of(&run.spec);
                r = 0;
        }
        context_open(&work, reconcile->runtime->context,
                     r < 0 ? CLOCK_NEVER : clock_now_ms() + run.timeout_ns / DURATION_MILLISECOND);
        if (r < 0) { /* nothing is applied and nothing deleted by a specification that cannot be read */
                reconcile->terminal = true;
                run_stalled(&run, REASON_INVALID_SPEC, true, "%s", error_message(error));
                error_move(&failure, error);
                return end_with(&run, &failure, error);
        }
        if (deleting) {
                if (run_finalize(reconcile->runtime->context, &run, error) == 0)
                        return 0;
                if (error->kind == ERROR_CANCELLED || !finalizer_has(run.object, KUSTOMIZATION_FINALIZER))
                        return -1;
                error_move(&failure, error);
                return end_with(&run, &failure, error); /* what it shows is of what it is now */
        }

        r = run_steps(ctx, &work, &run, &failure);
        if (r < 0 && failure.kind == ERROR_CANCELLED && context_cause(&work) == CONTEXT_RUNNING &&
            context_cause(ctx) == CONTEXT_SUPERSEDED)
                superseded(&run);
        else if (r < 0 && failure.kind == ERROR_CANCELLED)
                /* The process ends or is no leader any more: nothing failed, but what was applied until now must be in the inventory. */
                return end_with(&run, &failure, error);
        else if (r < 0 && !run.revision)
                return end_with(&run, &failure, error); /* of the API: retried with back-off; or terminal */
        else if (r < 0)
                fail(&run, &failure);
        TRY(run_end(&run, error));
        if (r == 0)
                finished(&run);
        return 0;
}

int kustomization_reconcile(struct context *ctx, struct reconcile *reconcile, struct error *error)
{
        int r = refresh(reconcile->runtime->context, reconcile, error);

        if (r != 0)
                return r == RUN_ENDED ? 0 : -1;
        r = reconcile_refreshed(ctx, reconcile, error);
        if (context_cause(ctx) != CONTEXT_GONE)
                return r;
        forget_owner(reconcile->namespace, reconcile->name); /* what was put down about it since it went */
        error_release(error);
        return error_set(error, ERROR_CANCELLED, "the object is not there any more");
}
