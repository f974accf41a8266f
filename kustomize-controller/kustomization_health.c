/*
 * Waiting until what a Kustomization applied, or what it names, is healthy.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kube/health.h"
#include "run.h"

#include <string.h>

#define LAST_LOOK_MS 1000 /* for which an interrupted wait lasts in any case */

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
        reconcile_expect(run->reconcile,
                         (clock_now_ns() - run->started_ns) / DURATION_MILLISECOND + run->timeout_ns / DURATION_MILLISECOND);
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
