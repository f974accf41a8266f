/*
 * The end of a Kustomization: what it applied goes or stays, as its deletion policy says, and then the finalizer.
 *
 * When in doubt the finalizer stays: an object that cannot be deleted now is tried again. Only an account that does not exist any more ends the trying,
 * because nobody could ever do it in its name.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "run.h"

#include <string.h>

static bool policy_is(const struct run *run, const char *policy)
{
        return run->spec.deletion_policy && strcmp(run->spec.deletion_policy, policy) == 0;
}

static bool deletes(const struct run *run, const struct inventory *inventory)
{
        if (run->spec.suspend || !inventory->count || policy_is(run, "Orphan"))
                return false;
        if (policy_is(run, "Delete") || policy_is(run, "WaitForTermination"))
                return true;
        return run->spec.prune;
}

static void event(struct run *run, enum event_type type, const char *message)
{
        run_event(run, type, run->status.last_applied_revision, run->status.last_applied_origin_revision, false, "%s", message);
}

/* 0: it can be used; RUN_ENDED: it is gone. */
static int check_account(struct context *ctx, struct run *run, struct error *error)
{
        const char *account = run->spec.service_account_name;
        cleanup(json_free) struct json *found = NULL;

        if (!account || !*account)
                account = run->reconcile->runtime->flags->default_service_account;
        if (!account || !*account)
                return 0;
        if (kube_get(ctx, run->reconcile->runtime->client,
                     kube_resource_intern("", "v1", "ServiceAccount", "serviceaccounts", true), run->namespace, account, &found,
                     error) == 0)
                return 0;
        if (error->kind != ERROR_NOT_FOUND)
                return -1;
        error_release(error);
        return RUN_ENDED;
}

static void report_left(struct run *run, const struct inventory *inventory)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error why = ERROR_NULL;

        buffer_add_string(&text, "unable to prune objects: \n");
        for (size_t i = 0; i < inventory->count; i++) {
                if (i)
                        buffer_add_char(&text, '\n');
                object_id_describe(&inventory->items[i], &text);
        }
        error_set(&why, ERROR_NOT_FOUND, "skiping pruning, failed to find account to impersonate");
        log_error(&run->reconcile->log, &why, "%s", buffer_string(&text));
        event(run, EVENT_WARNING, buffer_string(&text));
}

static int delete_all(struct context *ctx, struct run *run, const struct inventory *inventory, struct error *error)
{
        struct apply_changes changes = APPLY_CHANGES_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct inventory left = { NULL, 0 };
        struct apply_settings settings;

        run_client(run);
        settings = run_settings(run);
        if (apply_prune(ctx, &settings, inventory, run->arena, &changes, &left, error) < 0) {
                event(run, EVENT_WARNING, "pruning for deleted resource failed");
                return -1;
        }
        apply_changes_print(&changes, true, &text);
        if (text.length)
                event(run, EVENT_NORMAL, buffer_string(&text));
        if (policy_is(run, "WaitForTermination")) {
                cleanup(error_release) struct error late = ERROR_NULL;

                if (apply_wait_gone(ctx, &settings, &changes, run->timeout_ns / NANOSECONDS_MS, &late) < 0) {
                        if (late.kind == ERROR_CANCELLED)
                                return error_move(error, &late);
                        log_error(&run->reconcile->log, &late, "failed to wait for resources termination");
                        event(run, EVENT_WARNING, "failed to wait for resources termination");
                }
        }
        return 0;
}

int run_finalize(struct context *ctx, struct run *run, struct error *error)
{
        struct inventory inventory;

        if (!finalizer_has(run->object, KUSTOMIZATION_FINALIZER))
                return 0;
        TRY(inventory_decode(json_path(run->object, "status", "inventory", NULL), run->arena, &inventory, error));
        if (deletes(run, &inventory)) {
                int r;

                if (run->spec.kube_config) { /* what is elsewhere must not be looked for here */
                        event(run, EVENT_WARNING,
                              "spec.kubeConfig is not supported by this version of kustomize-controller: to delete this object "
                              "without its resources, suspend it or set spec.deletionPolicy to Orphan");
                        return error_set(error, ERROR_UNSUPPORTED,
                                         "the resources of this object are in another cluster (spec.kubeConfig)");
                }
                r = check_account(ctx, run, error);
                if (r < 0)
                        return -1;
                if (r == RUN_ENDED)
                        report_left(run, &inventory);
                else
                        TRY(delete_all(ctx, run, &inventory, error));
        }
        owners_forget(kustomize.owners, run->namespace, run->name);
        finalizer_remove(run->object, KUSTOMIZATION_FINALIZER);
        condition_handled(run->object);
        return run_write(ctx, run, error);
}
