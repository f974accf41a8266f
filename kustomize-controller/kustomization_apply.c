/*
 * What a Kustomization does to the cluster: apply, prune, and wait for health.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kube/health.h"
#include "run.h"

#include <string.h>

#define LAST_LOOK_MS 1000 /* for which an interrupted wait lasts in any case */

static const char fighting[] =
        "Somebody changes again and again what is applied here. When that happens the next time it is undone after a pause, "
        "which gets longer until it has not happened for a minute:\n";

const char *run_account(const struct run *run)
{
        const char *account = run->spec.service_account_name;

        if (!account || !*account)
                account = run->reconcile->runtime->flags->default_service_account;
        return account && *account ? account : NULL;
}

void run_client(struct run *run)
{
        const struct runtime *runtime = run->reconcile->runtime;
        const char *account = run_account(run);

        if (run->client)
                return;
        if (!account)
                run->client = kube_client_ref(runtime->client);
        else
                run->client = kube_client_impersonate(
                        runtime->client, arena_printf(run->arena, "system:serviceaccount:%s:%s", run->namespace, account));
}

static const struct apply_ignore *ignore_rules(struct run *run)
{
        struct apply_ignore *rules = arena_array(run->arena, run->spec.ignore.count, sizeof(*rules));

        for (size_t i = 0; i < run->spec.ignore.count; i++) {
                const struct ignore_rule *rule = &run->spec.ignore.items[i];
                const char **paths = arena_array(run->arena, rule->paths.count + 1, sizeof(*paths));

                for (size_t p = 0; p < rule->paths.count; p++)
                        paths[p] = rule->paths.items[p];
                rules[i] = (struct apply_ignore){ paths, rule->target };
        }
        return rules;
}

struct apply_settings run_settings(struct run *run)
{
        return (struct apply_settings){ .client = run->client,
                                        .parallel = kustomize.parallel,
                                        .concurrency = (unsigned)kustomize.concurrent_ssa,
                                        .drift = kustomize.drift,
                                        .field_manager = FIELD_MANAGER,
                                        .annotation_group = KUSTOMIZATION_GROUP,
                                        .owner_name = run->name,
                                        .owner_namespace = run->namespace,
                                        .account = run_account(run),
                                        .force = run->spec.force,
                                        .verify_all = !kustomize.drift || object_force_requested(run->object) ||
                                                      owners_rights_suspect(kustomize.owners, run->namespace, run->name),
                                        .explain = log_enabled(LOG_DEBUG),
                                        .migrate_api_version = runtime_gate(run->reconcile->runtime, "MigrateAPIVersion"),
                                        .override_managers = kustomize.managers,
                                        .stage_kinds = kustomize.kinds,
                                        .stage_kind_count = kustomize.kind_count,
                                        .ignore = ignore_rules(run),
                                        .ignore_count = run->spec.ignore.count,
                                        .recreate_ms = run->timeout_ns / DURATION_MILLISECOND,
                                        .recheck_ms = run_recheck_ms(run) };
}

/* ---- apply ---- */

static struct apply_object *apply_list(struct run *run)
{
        struct apply_object *list = arena_array(run->arena, run->built.count, sizeof(*list));
        const struct inventory_index *index = inventory_index(&run->old_inventory, run->arena);

        for (size_t i = 0; i < run->built.count; i++) {
                const struct build_object *object = &run->built.objects[i];
                struct object_id id = object_id_of(object->api_version, object->kind, object->namespace, object->name, run->arena);

                list[i] = (struct apply_object){ .api_version = object->api_version,
                                                 .kind = object->kind,
                                                 .namespace = object->namespace,
                                                 .name = object->name,
                                                 .text = object->payload,
                                                 .known = inventory_has(index, &id) };
        }
        return list;
}

/* What of the old one could not be read stays: nobody knows what it meant. */
static void set_inventory(struct run *run, const struct inventory *inventory)
{
        struct inventory whole = *inventory;

        whole.unread = run->old_inventory.unread;
        whole.unread_count = run->old_inventory.unread_count;
        json_set(json_object_at(run->object, "status"), "inventory", inventory_encode(&whole));
}

static void report_unread(struct run *run)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (!run->old_inventory.unread_count)
                return;
        inventory_unread_print(&run->old_inventory, &text);
        buffer_add_string(&text, "\nSuch an entry names no object: it is kept and nothing is done about it. If its object is not "
                                 "wanted any more, delete "
                                 "that by hand; then correct or remove the entry with kubectl edit --subresource=status");
        log_line(LOG_ERROR, NULL, &run->reconcile->log, NULL, NULL, "%s", buffer_string(&text));
        run_event(run, EVENT_WARNING, run->revision, run->origin_revision, false, "%s", buffer_string(&text));
}

/* {"<Kind>/<ns>/<name>":"created",...}, or with the gate {"created":["..."],...}. */
static void log_changes(struct run *run)
{
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        cleanup(json_free) struct json *output = json_new_object();
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        bool grouped = runtime_gate(run->reconcile->runtime, "GroupChangeLog");

        if (!run->changes.count || !log_enabled(LOG_INFO))
                return;
        for (size_t i = 0; i < run->changes.count; i++) {
                cleanup(buffer_release) struct buffer id = BUFFER_NULL;
                const char *action = apply_action_name(run->changes.items[i].action);

                object_id_describe(&run->changes.items[i].object, &id);
                if (grouped)
                        json_append(json_array_at(output, action), json_new_string(buffer_string(&id)));
                else
                        json_set_string(output, buffer_string(&id), action);
        }
        json_print(output, &text);
        log_field_json(&fields, "output", buffer_view(&text));
        log_field(&fields, "revision", run->revision);
        log_line(LOG_INFO, NULL, &run->reconcile->log, &fields, NULL, "server-side apply completed");
}

/* Who looks closely learns what was not as wanted: where, not what it was. */
static void log_paths(const struct run *run)
{
        for (size_t i = 0; i < run->changes.count; i++) {
                const struct apply_change *change = &run->changes.items[i];
                cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
                cleanup(buffer_release) struct buffer id = BUFFER_NULL;

                if (!change->paths)
                        continue;
                object_id_describe(&change->object, &id);
                log_field(&fields, "paths", change->paths);
                log_line(LOG_DEBUG, NULL, &run->reconcile->log, &fields, NULL, "%s differs from what is wanted",
                         buffer_string(&id));
        }
}

/* Flux's typed structs lose such fields in silence; here it is said which. */
static void report_unknown(struct run *run)
{
        cleanup(buffer_release) struct buffer lines = BUFFER_NULL;

        for (size_t i = 0; i < run->changes.count; i++) {
                if (!run->changes.items[i].unknown)
                        continue;
                buffer_add_string(&lines, lines.length ? "\n" : "");
                object_id_describe(&run->changes.items[i].object, &lines);
                buffer_printf(&lines, " fields left out, not declared in schema: %s", run->changes.items[i].unknown);
        }
        if (!lines.length)
                return;
        log_info(&run->reconcile->log, "%s", buffer_string(&lines));
        run_event(run, EVENT_WARNING, run->revision, run->origin_revision, false, "%s", buffer_string(&lines));
}

/* What left the watch was deleted if it had to be made anew; else it only lost the labels that say whose it is. */
static const char *what_became_of(const struct run *run, struct view id)
{
        for (size_t i = 0; i < run->changes.count; i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                object_id_describe(&run->changes.items[i].object, &text);
                if (view_equal(buffer_view(&text), id) && run->changes.items[i].action != APPLY_CREATED)
                        return "lost the labels of its owner (.metadata.labels)";
        }
        return "was deleted";
}

/* Who changed what before this run; said once, together with its being undone. */
static void report_drift(struct run *run, struct owner_drift *drift)
{
        struct view rest = buffer_view(&drift->gone), id;

        while (rest.length && view_split(&rest, '\n', &id))
                buffer_printf(&drift->lines, "%s%.*s %s", drift->lines.length ? "\n" : "", VIEW_ARGS(id), what_became_of(run, id));
        if (drift->lines.length && run->changed)
                run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, false, "Drift corrected:\n%s",
                          buffer_string(&drift->lines));
        if (!drift->fights.length)
                return;
        log_info(&run->reconcile->log, "%s%s", fighting, buffer_string(&drift->fights));
        run_event(run, EVENT_WARNING, run->revision, run->origin_revision, false, "%s%s", fighting, buffer_string(&drift->fights));
}

/* etcd's limit, and the API server's own; neither says which object it is about. */
static bool is_too_large(const struct error *error)
{
        return error->http_status == 413 || strstr(error_message(error), "request is too large");
}

/* All that is wanted is in the inventory before the first of it is in the cluster: who is killed in between has nothing to look for afterwards. */
static int record_wanted(void *data, struct context *ctx, const struct inventory *wanted, struct error *error)
{
        struct run *run = data;
        struct inventory both = inventory_union(&run->old_inventory, wanted, run->arena);
        struct json *status = json_object_at(run->object, "status");
        cleanup(json_free) struct json *before = json_copy(json_get(status, "inventory"));

        run->recorded = true;
        set_inventory(run, &both);
        if (run_write(ctx, run, error) == 0)
                return 0;
        run->recorded = false; /* nothing was applied; and what could not be written must not keep the failure from being told */
        if (before)
                json_set(status, "inventory", steal(&before));
        else
                json_remove(status, "inventory");
        if (!is_too_large(error))
                return -1;
        error_wrap(error,
                   "status.inventory of %zu objects is more than one object can hold: spread them over several Kustomizations",
                   both.count);
        error->kind = ERROR_INVALID;
        return -1;
}

int run_apply(struct context *ctx, struct run *run, struct error *error)
{
        struct apply_settings settings = run_settings(run);
        cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct inventory now;
        int r;

        run->old_inventory = inventory_decode(json_path(run->object, "status", "inventory", NULL), run->arena);
        settings.record = record_wanted;
        settings.data = run;
        report_unread(run);
        run_report_watches(run);
        if (kustomize.drift)
                drift_run_begin(kustomize.drift, run->namespace, run->name);
        r = apply_objects(ctx, &settings, apply_list(run), run->built.count, run->arena, &run->changes, error);
        if (r == 0) {
                owners_take_drift(kustomize.owners, run->namespace, run->name, &drift);
                reconcile_interruptible(run->reconcile); /* also by an edit that came meanwhile: the next run tells of it */
        }
        if (kustomize.drift)
                drift_run_end(kustomize.drift, run->namespace, run->name);
        now = apply_inventory(&run->changes, run->arena);
        if (r < 0) { /* what was applied before the failure must not be forgotten, nor what was there */
                if (now.count || run->recorded) {
                        now = inventory_union(&run->old_inventory, &now, run->arena);
                        set_inventory(run, &now);
                }
                return -1;
        }
        log_changes(run);
        log_paths(run);
        apply_changes_print(&run->changes, false, &text);
        run->changed = text.length > 0;
        if (run->changed)
                run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, false, "%s", buffer_string(&text));
        report_unknown(run);
        report_drift(run, &drift);
        set_inventory(run, &now);
        return 0;
}

size_t run_applied(const struct run *run)
{
        size_t count = 0;

        for (size_t i = 0; i < run->changes.count; i++)
                count += run->changes.items[i].action != APPLY_SKIPPED;
        return count;
}

/* ---- prune ---- */

int run_prune(struct context *ctx, struct run *run, struct error *error)
{
        const struct apply_settings settings = run_settings(run);
        struct inventory now = apply_inventory(&run->changes, run->arena), left = INVENTORY_NULL;
        struct inventory stale = inventory_difference(&run->old_inventory, &now, run->arena);
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct apply_changes pruned = APPLY_CHANGES_NULL;
        int r;

        if (!run->spec.prune || !stale.count)
                return 0;
        r = apply_prune(ctx, &settings, &stale, &run->changes, run->arena, &pruned, &left, error);
        wake_sharers(run, &pruned);
        if (r < 0) {
                now = inventory_union(&now, &left, run->arena);
                set_inventory(run, &now);
                return error_reason(error, REASON_PRUNE_FAILED);
        }
        apply_changes_print(&pruned, true, &text);
        if (text.length) {
                log_info(&run->reconcile->log, "garbage collection completed: %s", buffer_string(&text));
                run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, false, "%s", buffer_string(&text));
        }
        return 0;
}

/* ---- watches on what was applied ---- */

void run_watch(struct context *ctx, struct run *run)
{
        const struct kube_resource **resources = arena_array(run->arena, run->changes.count, sizeof(*resources));
        size_t count = 0;

        if (!kustomize.drift)
                return;
        for (size_t i = 0; i < run->changes.count; i++) {
                cleanup(error_release) struct error ignored = ERROR_NULL;
                const struct object_id *id = &run->changes.items[i].object;
                const struct kube_resource *resource;

                if (run->changes.items[i].action == APPLY_SKIPPED)
                        continue;
                /* What cannot be found cannot be watched: the next run asks about it. */
                if (kube_resource_find(ctx, run->reconcile->runtime->client, id->group, id->version, id->kind, &resource,
                                       &ignored) == 0)
                        resources[count++] = resource;
        }
        owners_watch(kustomize.owners, run->namespace, run->name, resources, count);
        run_report_watches(run); /* those of other Kustomizations may tell of these kinds already */
}

/* ---- health ---- */

static bool is_self(const struct run *run, const struct object_id *id)
{
        return strcmp(id->kind, "Kustomization") == 0 && strcmp(id->name, run->name) == 0 &&
               strcmp(id->namespace, run->namespace) == 0;
}

/* The version does not matter: the preferred one is read. */
static int check_id(struct run *run, const struct health_check *check, struct object_id *ret_id, struct error *error)
{
        struct view api_version = view_of(check->api_version && *check->api_version ? check->api_version : "apps/v1");
        ptrdiff_t slash = view_find(api_version, '/', 0);

        if (slash >= 0 && view_find(api_version, '/', (size_t)slash + 1) >= 0)
                return error_set(error, ERROR_INVALID, "unexpected GroupVersion string: %.*s", VIEW_ARGS(api_version));
        *ret_id = (struct object_id){ .group = slash < 0 ? "" : arena_string_n(run->arena, api_version.data, (size_t)slash),
                                      .version = "",
                                      .kind = check->kind,
                                      .name = check->name,
                                      .namespace = check->namespace ? check->namespace : "" };
        return 0;
}

/* A Job that was applied and goes when it has finished. */
static bool finishes(const struct run *run, const struct object_id *id)
{
        for (size_t i = 0; i < run->changes.count; i++) {
                const struct apply_change *change = &run->changes.items[i];

                if (change->finishes && strcmp(change->object.name, id->name) == 0 && strcmp(change->object.kind, id->kind) == 0 &&
                    strcmp(change->object.namespace, id->namespace) == 0)
                        return true;
        }
        return false;
}

/*
 * What was applied, or the objects that spec.healthChecks names; it never waits for itself. *ret_any: there is something to wait for, be it itself.
 */
static int health_list(struct run *run, struct health_object **ret_list, size_t *ret_count, bool *ret_any, struct error *error)
{
        size_t limit = run->spec.wait ? run->changes.count : run->spec.health_checks.count, count = 0;
        struct health_object *list = arena_array(run->arena, limit, sizeof(*list));
        bool any = false;

        for (size_t i = 0; i < limit; i++) {
                struct health_object object = { .status = KSTATUS_UNKNOWN };

                if (run->spec.wait) {
                        const struct apply_change *change = &run->changes.items[i];

                        if (change->action == APPLY_SKIPPED)
                                continue;
                        object = (struct health_object){ change->object, change->status, change->finishes };
                } else {
                        TRY(check_id(run, &run->spec.health_checks.items[i], &object.object, error));
                        object.finishes = finishes(run, &object.object);
                }
                any = true;
                if (!is_self(run, &object.object))
                        list[count++] = object;
        }
        *ret_list = list;
        *ret_count = count;
        *ret_any = any;
        return 0;
}

static bool all_current(const struct health_object *list, size_t count)
{
        for (size_t i = 0; i < count; i++)
                if (list[i].status != KSTATUS_CURRENT)
                        return false;
        return true;
}

static const char *elapsed(struct run *run, int64_t since_ns)
{
        char text[DURATION_TEXT];

        return arena_string(run->arena, duration_print(clock_now_ns() - since_ns, text));
}

/*
 * A wait may last for minutes, in many runs at once, and a tree takes twelve times the memory of its text: meanwhile the object is kept as text. What was
 * decoded from it lives in the arena.
 */
struct waiting {
        struct context *ctx;
        struct run *run;
        struct buffer object;
};

static void waiting_begin(struct waiting *waiting)
{
        struct run *run = waiting->run;

        buffer_clear(&waiting->object);
        json_print(run->object, &waiting->object);
        json_free(&run->reconcile->object);
        run->object = NULL;
}

static void waiting_end(struct waiting *waiting)
{
        cleanup(error_release) struct error impossible = ERROR_NULL;
        struct run *run = waiting->run;

        if (json_parse(buffer_view(&waiting->object), &run->reconcile->object, &impossible) < 0)
                memory_exhausted();
        run->object = run->reconcile->object;
}

static void pausing(void *data, bool begins)
{
        const struct waiting *waiting = data;

        if (begins)
                reconcile_wait_begin(waiting->run->reconcile);
        else
                reconcile_wait_end(waiting->run->reconcile);
}

/* Who waits for long says so; of a short wait the end says enough. */
static int say_waiting(void *data, struct error *error)
{
        struct waiting *waiting = data;
        int r;

        waiting_end(waiting);
        r = run_write(waiting->ctx, waiting->run, error);
        waiting_begin(waiting);
        return r;
}

/* Of the timeout: what an interrupted wait for the same has left of it. */
static int64_t time_to_wait(struct run *run)
{
        int64_t now = clock_now_ms(), timeout = run->timeout_ns / DURATION_MILLISECOND, left;

        if (!run->wait.since_ms || memcmp(run->wait.inputs, run->inputs, OWNER_INPUTS) != 0) {
                run->wait.since_ms = now;
                memcpy(run->wait.inputs, run->inputs, OWNER_INPUTS);
        }
        left = timeout - (now - run->wait.since_ms);
        return left < LAST_LOOK_MS ? LAST_LOOK_MS : left;
}

static int wait_for(struct context *ctx, struct run *run, const struct health_object *list, size_t count, struct error *error)
{
        struct waiting waiting = { ctx, run, BUFFER_NULL };
        struct health_settings settings = { .client = run->client,
                                            .parallel = kustomize.parallel,
                                            .concurrency = (unsigned)kustomize.concurrent_ssa,
                                            .drift = kustomize.drift,
                                            .owner_name = run->name,
                                            .owner_namespace = run->namespace,
                                            .timeout_ms = time_to_wait(run),
                                            .fail_fast = !runtime_gate(run->reconcile->runtime, "DisableFailFastBehavior"),
                                            .lasting = say_waiting,
                                            .pausing = pausing,
                                            .data = &waiting };
        char timeout[DURATION_TEXT];
        const char *message;
        int r;

        if (all_current(list, count))
                return 0;
        if (run->spec.wait)
                settings.label_selector = arena_printf(run->arena, "%s/name=%s,%s/namespace=%s", KUSTOMIZATION_GROUP, run->name,
                                                       KUSTOMIZATION_GROUP, run->namespace);
        message = arena_printf(run->arena, "Running health checks for revision %s with a timeout of %s", run->revision,
                               duration_print(run->timeout_ns, timeout));
        condition_mark_reconciling(run->object, REASON_PROGRESSING, "%s", message);
        condition_set(run->object, CONDITION_HEALTHY, CONDITION_UNKNOWN, REASON_PROGRESSING, "%s", message);
        waiting_begin(&waiting);
        r = health_wait(ctx, &settings, list, count, error);
        waiting_end(&waiting);
        buffer_release(&waiting.object);
        return r;
}

int run_health(struct context *ctx, struct run *run, struct error *error)
{
        bool was_healthy = condition_is_true(run->object, CONDITION_HEALTHY);
        bool new_revision = !run->status.last_applied_revision || strcmp(run->status.last_applied_revision, run->revision) != 0;
        int64_t started = clock_now_ns();
        struct health_object *list = NULL;
        char timeout[DURATION_TEXT];
        const char *message;
        size_t count = 0;
        bool any = false;

        if (health_list(run, &list, &count, &any, error) < 0)
                return error_reason(error, REASON_HEALTH_CHECK_FAILED);
        if (!any) {
                condition_remove(run->object, CONDITION_HEALTHY);
                return 0;
        }
        reconcile_expect(run->reconcile, (clock_now_ns() - run->started_ns + run->timeout_ns) / DURATION_MILLISECOND);
        condition_mark_reconciling(run->object, REASON_PROGRESSING, "Running health checks for revision %s with a timeout of %s",
                                   run->revision, duration_print(run->timeout_ns, timeout));
        if (wait_for(ctx, run, list, count, error) < 0) {
                error_reason(error, REASON_HEALTH_CHECK_FAILED);
                if (error->kind == ERROR_CANCELLED)
                        return -1;
                condition_set(run->object, CONDITION_HEALTHY, CONDITION_FALSE, REASON_HEALTH_CHECK_FAILED, "%s",
                              error_message(error));
                return error_wrap(error, "health check failed after %s", elapsed(run, run->wait.since_ms * DURATION_MILLISECOND));
        }
        message = arena_printf(run->arena, "Health check passed in %s", elapsed(run, started));
        if (!was_healthy || (new_revision && run->changed))
                run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, false, "%s", message);
        condition_set(run->object, CONDITION_HEALTHY, CONDITION_TRUE, REASON_SUCCEEDED, "%s", message);
        return 0;
}
