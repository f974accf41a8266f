/*
 * The end of a Kustomization: what it applied goes or stays, as its deletion policy says, and then the finalizer.
 *
 * When in doubt the finalizer stays: an object that cannot be deleted now is tried again. Only an account that does not exist any more ends the trying,
 * because nobody could ever do it in its name.
 *
 * A specification that does not decode as a whole (it was stored before a rule of the CRD was made) is read by what decides about a deletion. If that is
 * clear its owner gets what was asked for; if not nothing is deleted, the finalizer stays, and the message names the way out.
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

static bool deletes(const struct run *run)
{
        if (run->spec.suspend || policy_is(run, "Orphan"))
                return false;
        if (policy_is(run, "Delete") || policy_is(run, "WaitForTermination"))
                return true;
        return run->spec.prune;
}

static bool is_flag(const struct json *json, bool absent)
{
        return json_is_null(json) ? absent : json_type(json) == JSON_BOOL;
}

static bool is_text(const struct json *json)
{
        return json_is_null(json) || json_type(json) == JSON_STRING;
}

/* Takes what decides about a deletion. Returns the field that does not say what it means; NULL: all do, or it does not matter. */
static const char *read_deletion(struct run *run)
{
        static const char *const policies[] = { "", "MirrorPrune", "Delete", "WaitForTermination" };
        const struct json *spec = json_get(run->object, "spec");
        const char *policy = json_string(json_get(spec, "deletionPolicy"), "");
        static struct kube_config_reference elsewhere;
        bool known = false;

        run->spec.suspend = json_bool(json_get(spec, "suspend"), false);
        run->spec.deletion_policy = policy;
        if (run->spec.suspend || policy_is(run, "Orphan"))
                return NULL;
        for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
                known = known || policy_is(run, policies[i]);
        if (!is_flag(json_get(spec, "suspend"), true))
                return "suspend";
        if (!known || !is_text(json_get(spec, "deletionPolicy")))
                return "deletionPolicy";
        if (!policy_is(run, "Delete") && !policy_is(run, "WaitForTermination") && !is_flag(json_get(spec, "prune"), false))
                return "prune";
        if (!is_text(json_get(spec, "serviceAccountName")))
                return "serviceAccountName";
        run->spec.prune = json_bool(json_get(spec, "prune"), false);
        run->spec.service_account_name = json_string(json_get(spec, "serviceAccountName"), NULL);
        run->spec.kube_config = json_is_null(json_get(spec, "kubeConfig")) ? NULL : &elsewhere;
        return NULL;
}

bool run_decode_deletion(struct run *run, struct error *error)
{
        const char *unclear;

        run->spec = (struct kustomization_spec){ 0 };
        run->status = (struct kustomization_status){ 0 };
        unclear = read_deletion(run);
        if (unclear) {
                error_set(error, ERROR_INVALID,
                          "%s: so nothing is deleted. Correct spec.%s, or let this object go without its resources by setting "
                          "spec.suspend to true or "
                          "spec.deletionPolicy to Orphan",
                          arena_string(run->arena, error_message(error)), unclear);
                return false;
        }
        log_line(LOG_INFO, NULL, &run->reconcile->log, NULL, error, "deletion goes by what can be read of the specification");
        error_release(error);
        return true;
}

static void event(struct run *run, enum event_type type, const char *message)
{
        run_event(run, type, run->status.last_applied_revision, run->status.last_applied_origin_revision, false, "%s", message);
}

/* 0: it can be used; RUN_ENDED: it is gone. */
static int check_account(struct context *ctx, struct run *run, struct error *error)
{
        const char *account = run_account(run);
        cleanup(json_free) struct json *found = NULL;

        if (!account)
                return 0;
        if (kube_get(ctx, run->reconcile->runtime->client,
                     kube_resource_intern("", "v1", "ServiceAccount", "serviceaccounts", true), run->namespace, account, &found,
                     error) == 0)
                return 0;
        if (!kube_is_absent(error))
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

/* What the inventory does not name cannot be deleted, and waiting would not make it readable. */
static void report_unread(struct run *run, const struct inventory *inventory)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (!inventory->unread_count)
                return;
        inventory_unread_print(inventory, &text);
        buffer_printf(&text,
                      "\nSuch an entry names no object: nothing was deleted for it. What is left carries the labels "
                      "%s/name=%s,%s/namespace=%s",
                      KUSTOMIZATION_GROUP, run->name, KUSTOMIZATION_GROUP, run->namespace);
        log_line(LOG_ERROR, NULL, &run->reconcile->log, NULL, NULL, "%s", buffer_string(&text));
        event(run, EVENT_WARNING, buffer_string(&text));
}

static int delete_all(struct context *ctx, struct run *run, const struct inventory *inventory, struct error *error)
{
        struct apply_changes changes = APPLY_CHANGES_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct inventory left = INVENTORY_NULL;
        struct apply_settings settings;
        int r;

        run_client(run);
        settings = run_settings(run);
        r = apply_prune(ctx, &settings, inventory, NULL, run->arena, &changes, &left, error);
        wake_sharers(run, &changes);
        if (r < 0) {
                event(run, EVENT_WARNING, "pruning for deleted resource failed");
                return -1;
        }
        apply_changes_print(&changes, true, &text);
        if (text.length)
                event(run, EVENT_NORMAL, buffer_string(&text));
        if (policy_is(run, "WaitForTermination")) {
                cleanup(error_release) struct error late = ERROR_NULL;

                if (apply_wait_gone(ctx, &settings, &changes, run->timeout_ns / DURATION_MILLISECOND, &late) < 0) {
                        if (late.kind == ERROR_CANCELLED)
                                return error_move(error, &late);
                        log_error(&run->reconcile->log, &late, "failed to wait for resources termination");
                        event(run, EVENT_WARNING, "failed to wait for resources termination");
                }
        }
        return 0;
}

/* 0: what was to be deleted is. */
static int delete_what_is_left(struct context *ctx, struct run *run, const struct inventory *inventory, struct error *error)
{
        int r;

        if (run->spec.kube_config) { /* what is elsewhere must not be looked for here */
                event(run, EVENT_WARNING,
                      "spec.kubeConfig is not supported by this version of kustomize-controller: to delete this object "
                      "without its resources, suspend it or set spec.deletionPolicy to Orphan");
                return error_set(error, ERROR_UNSUPPORTED, "the resources of this object are in another cluster (spec.kubeConfig)");
        }
        r = check_account(ctx, run, error);
        if (r < 0)
                return -1;
        if (r == RUN_ENDED)
                report_left(run, inventory);
        else
                TRY(delete_all(ctx, run, inventory, error));
        return 0;
}

/* Others hold the object still: what it shows is of what it is now. */
static void observe_deletion(struct run *run)
{
        if (json_length(json_path(run->object, "metadata", "finalizers", NULL)) && condition_is_true(run->object, CONDITION_READY))
                condition_observed(run->object);
}

int run_finalize(struct context *ctx, struct run *run, struct error *error)
{
        struct inventory inventory;

        if (!finalizer_has(run->object, KUSTOMIZATION_FINALIZER))
                return 0;
        inventory = inventory_decode(json_path(run->object, "status", "inventory", NULL), run->arena);
        if (deletes(run)) {
                if (inventory.count)
                        TRY(delete_what_is_left(ctx, run, &inventory, error));
                report_unread(run, &inventory);
        }
        finalizer_remove(run->object, KUSTOMIZATION_FINALIZER);
        observe_deletion(run);
        condition_handled(run->object);
        TRY(run_write(ctx, run, error));
        forget_owner(run->namespace, run->name);
        return 0;
}
