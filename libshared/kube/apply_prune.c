#include "kube/apply_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "data/scan.h"
#include "kube/parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELETE_TRIES   3 /* an object may be replaced between the look and the deletion */
#define GONE_PAUSE_MS  50
#define GONE_PAUSE_MAX 2000
#define LABEL_LIMIT    320

struct victim {
        struct context *context;
        const struct apply_settings *settings;
        const struct object_id *id;
        enum apply_action action; /* deleted or skipped, if there is no error */
        struct error error;
};

static int describe_failure(const struct victim *victim, const char *what, struct error *error)
{
        cleanup(buffer_release) struct buffer id = BUFFER_NULL;

        object_id_describe(victim->id, &id);
        return error_wrap(error, "%s %s failed", buffer_string(&id), what);
}

static bool is_ours(const struct apply_settings *settings, struct view object)
{
        struct view labels = SCAN_PATH(object, "metadata", "labels");
        char name[LABEL_LIMIT], namespace[LABEL_LIMIT];

        snprintf(name, sizeof(name), "%s/name", settings->annotation_group);
        snprintf(namespace, sizeof(namespace), "%s/namespace", settings->annotation_group);
        return view_is(scan_string(scan_get(labels, name)), settings->owner_name) &&
               view_is(scan_string(scan_get(labels, namespace)), settings->owner_namespace);
}

static int remove_once(const struct victim *victim, const struct kube_resource *resource, enum apply_action *ret_action,
                       struct error *error)
{
        const struct apply_settings *settings = victim->settings;
        cleanup(buffer_release) struct buffer live = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        char uid[64];
        struct steering steering;
        struct kube_request request = {
                .verb = KUBE_GET,
                .resource = resource,
                .name_space = resource->namespaced ? victim->id->namespace : "",
                .name = victim->id->name,
                .metadata_only = true,
        };

        if (kube_call(victim->context, settings->client, &request, &live, error) != 0)
                return describe_failure(victim, "query", error);
        steering = steering_of(buffer_view(&live), settings->annotation_group);
        *ret_action = APPLY_SKIPPED;
        if (!is_ours(settings, buffer_view(&live)) || steering.keep || steering.skip)
                return 0;
        snprintf(uid, sizeof(uid), "%.*s", VIEW_ARGS(scan_string(SCAN_PATH(buffer_view(&live), "metadata", "uid"))));
        request.verb = KUBE_DELETE;
        request.metadata_only = false;
        request.propagation = "Background";
        request.uid = uid;
        *ret_action = APPLY_DELETED;
        if (kube_call(victim->context, settings->client, &request, &answer, error) != 0)
                return describe_failure(victim, "delete", error);
        return 0;
}

static int remove_victim(struct victim *victim, struct error *error)
{
        const struct kube_resource *resource;
        int tries, r;

        r = kube_resource_find(victim->context, victim->settings->client, victim->id->group, victim->id->version, victim->id->kind,
                               &resource, error);
        if (r < 0)
                return describe_failure(victim, "query", error);
        victim->action = APPLY_DELETED;
        if (r == KUBE_NO_MATCH) {
                error_release(error);
                return 0;
        }
        /* Before the watch can tell of our own deletion. */
        if (victim->settings->drift)
                drift_forget(victim->settings->drift,
                             &(struct drift_key){ resource, resource->namespaced ? victim->id->namespace : "", victim->id->name });
        for (tries = 1;; tries++) {
                r = remove_once(victim, resource, &victim->action, error);
                if (r == 0 || error->kind != ERROR_CONFLICT || tries == DELETE_TRIES)
                        break;
                error_release(error);
        }
        if (r != 0 && error->kind == ERROR_NOT_FOUND) {
                error_release(error);
                victim->action = APPLY_DELETED;
                r = 0;
        }
        return r;
}

static void remove_one(void *argument, size_t index)
{
        struct victim *victim = (struct victim *)argument + index;

        remove_victim(victim, &victim->error);
}

static int last_first(const void *a, const void *b)
{
        return object_id_compare(((const struct victim *)b)->id, ((const struct victim *)a)->id);
}

static size_t rank_end(const struct victim *victims, size_t from, size_t count)
{
        size_t end = from;

        while (end < count && object_id_rank(victims[end].id) == object_id_rank(victims[from].id))
                end++;
        return end;
}

/* Sums the victims up, and gives their errors up. */
static int sum_up(struct victim *victims, size_t count, struct apply_changes *changes, struct inventory *left, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        enum error_kind kind = ERROR_NONE;
        size_t i;

        for (i = 0; i < count; i++) {
                struct victim *victim = &victims[i];

                if (victim->error.kind == ERROR_NONE) {
                        changes->items[changes->count++] =
                                (struct apply_change){ .object = *victim->id, .action = victim->action, .status = KSTATUS_UNKNOWN };
                        continue;
                }
                left->items[left->count++] = *victim->id;
                buffer_printf(&text, "%s;", error_message(&victim->error));
                kind = kind == ERROR_NONE ? victim->error.kind : kind;
                error_release(&victim->error);
        }
        if (kind == ERROR_NONE)
                return 0;
        return error_set(error, kind, "delete failed, errors: %s", buffer_string(&text));
}

int apply_prune(struct context *context, const struct apply_settings *settings, const struct inventory *stale, struct arena *arena,
                struct apply_changes *changes, struct inventory *ret_left, struct error *error)
{
        struct victim *victims = arena_array(arena, stale->count, sizeof(*victims));
        unsigned limit = settings->concurrency ? settings->concurrency : APPLY_CONCURRENCY;
        size_t i, from, end;

        for (i = 0; i < stale->count; i++)
                victims[i] = (struct victim){ .context = context, .settings = settings, .id = &stale->items[i] };
        if (stale->count)
                qsort(victims, stale->count, sizeof(*victims), last_first);
        for (from = 0; from < stale->count; from = end) {
                end = rank_end(victims, from, stale->count);
                parallel_each(settings->parallel, limit, end - from, remove_one, victims + from);
        }
        *changes = (struct apply_changes){ .items = arena_array(arena, stale->count, sizeof(*changes->items)) };
        *ret_left = (struct inventory){ .items = arena_array(arena, stale->count, sizeof(*ret_left->items)) };
        return sum_up(victims, stale->count, changes, ret_left, error);
}

/* ---- until it is gone ---- */

/* 0 gone, 1 still there. What cannot be read counts as there. */
static int is_there(struct context *context, const struct apply_settings *settings, const struct object_id *id, struct error *error)
{
        const struct kube_resource *resource;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        struct kube_request request = { .verb = KUBE_GET, .name = id->name, .metadata_only = true };
        int r = kube_resource_find(context, settings->client, id->group, id->version, id->kind, &resource, error);

        if (r == 0) {
                request.resource = resource;
                request.name_space = resource->namespaced ? id->namespace : "";
                r = kube_call(context, settings->client, &request, &answer, error);
                if (r == 0)
                        return 1;
        }
        if (r == KUBE_NO_MATCH || error->kind == ERROR_NOT_FOUND) {
                error_release(error);
                return 0;
        }
        if (error->kind == ERROR_CANCELLED)
                return -1;
        error_release(error);
        return 1;
}

static int not_gone(const struct apply_changes *changes, const bool *gone, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        size_t i;

        for (i = 0; i < changes->count; i++)
                if (!gone[i]) {
                        buffer_add_string(&text, text.length ? ", " : "");
                        object_id_describe(&changes->items[i].object, &text);
                        buffer_add_string(&text, " status: 'Terminating'");
                }
        return error_set(error, ERROR_TIMEOUT, "timeout waiting for: [%s]", buffer_string(&text));
}

int apply_wait_gone(struct context *context, const struct apply_settings *settings, const struct apply_changes *changes,
                    int64_t timeout_ms, struct error *error)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        bool *gone = arena_array(arena, changes->count, sizeof(*gone));
        int64_t until = clock_now_ms() + timeout_ms, pause_ms = GONE_PAUSE_MS;
        size_t i;

        for (;;) {
                bool all = true;

                for (i = 0; i < changes->count; i++) {
                        int r = 0;

                        if (!gone[i] && changes->items[i].action == APPLY_DELETED)
                                r = is_there(context, settings, &changes->items[i].object, error);
                        if (r < 0)
                                return -1;
                        gone[i] = r == 0;
                        all = all && gone[i];
                }
                if (all)
                        return 0;
                if (clock_now_ms() >= until)
                        return not_gone(changes, gone, error);
                TRY(context_sleep(context, pause_ms, error));
                pause_ms = pause_ms * 2 < GONE_PAUSE_MAX ? pause_ms * 2 : GONE_PAUSE_MAX;
        }
}
