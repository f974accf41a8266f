/*
 * What a Kustomization does to the cluster: apply and prune.
 */
#include "base/cleanup.h"
#include "run.h"

#include <string.h>

static const char fighting[] =
        "Somebody changes again and again what is applied here. When that happens the next time it is undone after a pause, "
        "which gets longer until it has not happened for a minute:\n";

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
                run_drift_event(run, buffer_string(&drift->lines));
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

/* What the write has found in the list beside what the run knew is of another replica: it is pruned like what was there before. */
static void learn_inventory(struct run *run, const struct inventory *known)
{
        const struct inventory written = inventory_decode(json_path(run->object, "status", "inventory", NULL), run->arena);
        const struct inventory more = inventory_difference(&written, known, run->arena);

        run->old_inventory = inventory_union(&run->old_inventory, &more, run->arena);
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
        if (run_write(ctx, run, error) == 0) {
                learn_inventory(run, &both);
                return 0;
        }
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
