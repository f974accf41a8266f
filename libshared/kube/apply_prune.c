#include "kube/apply_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/scan.h"
#include "kube/parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELETE_TRIES   5 /* an object may change between the look and the deletion */
#define DELETE_PAUSE   20
#define GONE_PAUSE_MS  50
#define GONE_PAUSE_MAX 2000
#define LABEL_LIMIT    320

/* What stays, for the questions that are asked before anything is deleted. */
struct kept {
        const struct apply_changes *changes;
        const char **uids; /* the known ones, sorted */
        size_t uid_count;
        const char **nameless; /* names of those whose uid is not known, sorted */
        size_t nameless_count;
};

struct victim {
        struct context *context;
        const struct apply_settings *settings;
        const struct kept *kept;
        const struct object_id *id;
        struct object_id other;   /* the id's other reading, if that is what was found */
        char *other_name;         /* of it; owned */
        bool ours;                /* it was there, with the owner's labels */
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

/* ---- what stays ---- */

static int compare_texts(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct kept kept_of(const struct apply_changes *changes, struct arena *arena)
{
        size_t i, count = changes ? changes->count : 0;
        struct kept kept = { .changes = changes,
                             .uids = arena_array(arena, count, sizeof(*kept.uids)),
                             .nameless = arena_array(arena, count, sizeof(*kept.nameless)) };

        for (i = 0; i < count; i++)
                if (*changes->items[i].uid)
                        kept.uids[kept.uid_count++] = changes->items[i].uid;
                else
                        kept.nameless[kept.nameless_count++] = changes->items[i].object.name;
        if (kept.uid_count)
                qsort(kept.uids, kept.uid_count, sizeof(*kept.uids), compare_texts);
        if (kept.nameless_count)
                qsort(kept.nameless, kept.nameless_count, sizeof(*kept.nameless), compare_texts);
        return kept;
}

static bool is_one_of(const char *text, const char *const *sorted, size_t count)
{
        return count && bsearch(&text, sorted, count, sizeof(*sorted), compare_texts);
}

/* No kind that is served no more has objects; so that has to be certain. */
static int find_kind(const struct victim *victim, const struct object_id *id, const struct kube_resource **ret_resource,
                     struct error *error)
{
        struct kube_client *client = victim->settings->client;
        int r = kube_resource_find(victim->context, client, id->group, id->version, id->kind, ret_resource, error);

        /* The version it was applied in may be served no more; the object is still there. */
        if (r == KUBE_NO_MATCH && *id->version) {
                error_release(error);
                r = kube_resource_find(victim->context, client, id->group, NULL, id->kind, ret_resource, error);
        }
        if (r != KUBE_NO_MATCH)
                return r;
        error_release(error);
        TRY(kube_group_check(victim->context, client, id->group, error));
        return kube_resource_find(victim->context, client, id->group, NULL, id->kind, ret_resource, error);
}

static struct kube_request metadata_of(const struct kube_resource *resource, const struct object_id *id)
{
        return (struct kube_request){
                .verb = KUBE_GET,
                .resource = resource,
                .namespace = resource->namespaced ? id->namespace : "",
                .name = id->name,
                .metadata_only = true,
        };
}

/* The uid of a kept object that nobody has asked about yet: 1 if it is this one. What cannot be read might be. */
static int has_uid(const struct victim *victim, const struct object_id *id, const char *uid, struct error *error)
{
        cleanup(buffer_release) struct buffer live = BUFFER_NULL;
        const struct kube_resource *resource;
        struct kube_request request;
        int r = find_kind(victim, id, &resource, error);

        if (r == 0) {
                request = metadata_of(resource, id);
                r = kube_call(victim->context, victim->settings->client, &request, &live, error);
        }
        if (r != 0 && !kube_is_absent(error))
                return -1;
        error_release(error);
        return r == 0 && view_is(scan_string(SCAN_PATH(buffer_view(&live), "metadata", "uid")), uid);
}

/* 1: the object is kept, under another name of its kind. */
static int is_kept(const struct victim *victim, const char *uid, struct error *error)
{
        const struct kept *kept = victim->kept;
        size_t i;
        int r = 0;

        if (is_one_of(uid, kept->uids, kept->uid_count))
                return 1;
        if (!is_one_of(victim->id->name, kept->nameless, kept->nameless_count))
                return 0;
        for (i = 0; i < kept->changes->count && r == 0; i++) {
                const struct apply_change *change = &kept->changes->items[i];

                if (!*change->uid && !strcmp(change->object.name, victim->id->name))
                        r = has_uid(victim, &change->object, uid, error);
        }
        return r;
}

static bool is_definition_of(const struct victim *victim, const struct object_id *id)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        const struct kube_resource *resource;
        size_t length;

        if (!*id->group || find_kind(victim, id, &resource, &ignored) != 0)
                return false;
        length = strlen(resource->plural);
        return !strncmp(victim->id->name, resource->plural, length) && victim->id->name[length] == '.' &&
               !strcmp(victim->id->name + length + 1, resource->group);
}

static bool is_definition(const struct object_id *id)
{
        return !strcmp(id->kind, "CustomResourceDefinition") && !strcmp(id->group, "apiextensions.k8s.io");
}

static bool is_namespace(const struct object_id *id)
{
        return !strcmp(id->kind, "Namespace") && !*id->group;
}

/* Something kept that would go with the object. */
static const struct object_id *would_go_too(const struct victim *victim)
{
        bool definition = is_definition(victim->id), place = is_namespace(victim->id);
        const struct apply_changes *kept = victim->kept->changes;
        size_t i;

        for (i = 0; kept && (definition || place) && i < kept->count; i++) {
                const struct object_id *id = &kept->items[i].object;

                if ((place && !strcmp(id->namespace, victim->id->name)) || (definition && is_definition_of(victim, id)))
                        return id;
        }
        return NULL;
}

static bool is_lifeline(const struct object_id *lifeline, const struct object_id *id)
{
        return !strcmp(id->kind, lifeline->kind) && !strcmp(id->group, lifeline->group) && !strcmp(id->name, lifeline->name) &&
               !strcmp(id->namespace, lifeline->namespace);
}

/* Of "kustomize.toolkit.fluxcd.io": "toolkit.fluxcd.io". */
static const char *domain_of(const char *group)
{
        const char *dot = group ? strchr(group, '.') : NULL;

        return dot ? dot + 1 : "";
}

/* What the owner needs would go with it, so that it could not put that right, or the owner itself, which would delete all that it applied. Unless it goes anyway. */
static bool holds_owner(const struct victim *victim)
{
        const struct apply_settings *settings = victim->settings;
        const struct object_id *id = victim->id;
        bool definition = is_definition(id), place = is_namespace(id);

        if (!victim->kept->changes)
                return false;
        if ((place && !strcmp(id->name, settings->owner_namespace)) ||
            (definition && !strcmp(domain_of(domain_of(id->name)), domain_of(settings->annotation_group))))
                return true;
        for (size_t i = 0; i < settings->lifeline_count; i++)
                if (is_lifeline(&settings->lifelines[i], id) || (place && !strcmp(id->name, settings->lifelines[i].namespace)))
                        return true;
        return false;
}

static int refuse(const struct victim *victim, const struct object_id *needs, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        object_id_describe(needs, &text);
        error_set(error, ERROR_INVALID,
                  "%s would be deleted with it, and is still declared: declare both or neither, or keep it with the annotation "
                  "%s/prune: disabled",
                  buffer_string(&text), victim->settings->annotation_group);
        return describe_failure(victim, "delete", error);
}

static int refuse_own(const struct victim *victim, struct error *error)
{
        const struct apply_settings *settings = victim->settings;

        error_set(error, ERROR_INVALID,
                  "%s/%s needs it: without it nothing would be applied any more, or all that was applied be deleted. Declare it "
                  "again, or keep it with the annotation %s/prune: disabled",
                  settings->owner_namespace, settings->owner_name, settings->annotation_group);
        return describe_failure(victim, "delete", error);
}

/* ---- one object ---- */

/* What is to be done about the live object: ret_delete, or a reason not to. */
static int decide(struct victim *victim, struct view live, const char *uid, bool *ret_delete, struct error *error)
{
        struct steering steering = steering_of(live, victim->settings->annotation_group);
        const struct object_id *needs;
        int r;

        *ret_delete = false;
        victim->action = APPLY_SKIPPED;
        victim->ours = is_ours(victim->settings, live);
        if (!victim->ours || steering.keep || steering.skip)
                return 0;
        r = is_kept(victim, uid, error);
        if (r < 0)
                return describe_failure(victim, "query", error);
        if (r > 0)
                return 0;
        victim->action = APPLY_DELETED;
        if (SCAN_PATH(live, "metadata", "deletionTimestamp").data)
                return 0;
        needs = would_go_too(victim);
        if (needs)
                return refuse(victim, needs, error);
        if (holds_owner(victim))
                return refuse_own(victim, error);
        *ret_delete = true;
        return 0;
}

static int remove_once(struct victim *victim, const struct kube_resource *resource, struct error *error)
{
        struct kube_client *client = victim->settings->client;
        struct kube_request request = metadata_of(resource, victim->id);
        cleanup(buffer_release) struct buffer live = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        char uid[64], version[64];
        bool wanted;

        if (kube_call(victim->context, client, &request, &live, error) != 0)
                return describe_failure(victim, "query", error);
        snprintf(uid, sizeof(uid), "%.*s", VIEW_ARGS(scan_string(SCAN_PATH(buffer_view(&live), "metadata", "uid"))));
        snprintf(version, sizeof(version), "%.*s",
                 VIEW_ARGS(scan_string(SCAN_PATH(buffer_view(&live), "metadata", "resourceVersion"))));
        TRY(decide(victim, buffer_view(&live), uid, &wanted, error));
        if (!wanted)
                return 0;
        if (!*uid || !*version) {
                error_set(error, ERROR_INTERNAL, "the answer about it has no uid or no resourceVersion");
                return describe_failure(victim, "query", error);
        }
        request.verb = KUBE_DELETE;
        request.metadata_only = false;
        request.propagation = "Background";
        request.uid = uid;
        request.resource_version = version;
        if (kube_call(victim->context, client, &request, &answer, error) != 0)
                return describe_failure(victim, "delete", error);
        return 0;
}

/* A 404 says that the object is gone only if its kind is served: else it may be of a proxy, or of a server that is not up yet. */
static bool is_gone(const struct victim *victim, struct error *error)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        const struct kube_resource *resource;

        if (kube_is_absent(error))
                return true;
        return error->kind == ERROR_NOT_FOUND && find_kind(victim, victim->id, &resource, &ignored) == KUBE_NO_MATCH;
}

/* Until what was looked at is what would be deleted. */
static int remove_as_seen(struct victim *victim, const struct kube_resource *resource, struct error *error)
{
        int tries, r;

        for (tries = 1;; tries++) {
                r = remove_once(victim, resource, error);
                if (r == 0 || error->kind != ERROR_CONFLICT || tries == DELETE_TRIES)
                        break;
                error_release(error);
                TRY(context_sleep(victim->context, DELETE_PAUSE, error));
        }
        if (r != 0 && is_gone(victim, error)) {
                error_release(error);
                victim->action = APPLY_DELETED;
                r = 0;
        }
        return r;
}

static bool same_id(const struct object_id *a, const struct object_id *b)
{
        cleanup(buffer_release) struct buffer first = BUFFER_NULL, second = BUFFER_NULL;

        inventory_id_print(a, &first);
        inventory_id_print(b, &second);
        return view_equal(buffer_view(&first), buffer_view(&second));
}

/*
 * A name with "__" of its own is read as one with ':', and that is not there, or not ours. What is ours tells its name itself, to those who may list.
 * 1: it is now the victim.
 */
static int find_other_reading(struct victim *victim, const struct kube_resource *resource, struct error *error)
{
        const struct apply_settings *settings = victim->settings;
        cleanup(free_string) char *selector = apply_owner_selector(settings);
        cleanup(buffer_release) struct buffer list = BUFFER_NULL;
        struct kube_request request = metadata_of(resource, victim->id);
        struct scan objects;

        request.verb = KUBE_LIST;
        request.name = NULL;
        request.label_selector = selector;
        if (kube_call(victim->context, settings->client, &request, &list, error) != 0) {
                if (error->kind != ERROR_FORBIDDEN)
                        return describe_failure(victim, "query", error);
                error_release(error);
                return 0;
        }
        objects = scan_begin(scan_get(buffer_view(&list), "items"));
        while (scan_next(&objects)) {
                struct view name = scan_string(SCAN_PATH(objects.value, "metadata", "name"));
                struct object_id found = *victim->id;

                if (!name.length || view_is(name, victim->id->name))
                        continue;
                victim->other_name = memory_string_n(name.data, name.length);
                found.name = victim->other_name;
                if (same_id(&found, victim->id)) {
                        victim->other = found;
                        victim->id = &victim->other;
                        return 1;
                }
                free_string(&victim->other_name);
        }
        return 0;
}

static int remove_victim(struct victim *victim, struct error *error)
{
        const struct kube_resource *resource;
        int r;

        r = find_kind(victim, victim->id, &resource, error);
        if (r < 0)
                return describe_failure(victim, "query", error);
        victim->action = APPLY_DELETED;
        /* Neither can there be an object of a kind that is served no more, nor one without the namespace that its kind has. */
        if (r == KUBE_NO_MATCH || (resource->namespaced && !*victim->id->namespace)) {
                error_release(error);
                return 0;
        }
        /* Before the watch can tell of our own deletion. */
        if (victim->settings->drift)
                drift_forget(victim->settings->drift,
                             &(struct drift_key){ resource, resource->namespaced ? victim->id->namespace : "", victim->id->name });
        TRY(remove_as_seen(victim, resource, error));
        if (victim->ours || !object_id_ambiguous(victim->id))
                return 0;
        r = find_other_reading(victim, resource, error);
        return r <= 0 ? r : remove_as_seen(victim, resource, error);
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

/* The victim's id, for as long as the arena lives. */
static struct object_id id_of(struct victim *victim, struct arena *arena)
{
        struct object_id id = *victim->id;

        if (victim->other_name)
                id.name = arena_string(arena, victim->other_name);
        free_string(&victim->other_name);
        return id;
}

/* Sums the victims up, and gives their errors and texts up. */
static int sum_up(struct victim *victims, size_t count, struct arena *arena, struct apply_changes *changes, struct inventory *left,
                  struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        enum error_kind kind = ERROR_NONE;
        size_t i;

        for (i = 0; i < count; i++) {
                struct victim *victim = &victims[i];
                const struct object_id id = id_of(victim, arena);

                if (victim->error.kind == ERROR_NONE) {
                        changes->items[changes->count++] = (struct apply_change){
                                .object = id, .action = victim->action, .uid = "", .status = KSTATUS_UNKNOWN
                        };
                        continue;
                }
                left->items[left->count++] = id;
                buffer_printf(&text, "%s;", error_message(&victim->error));
                kind = kind == ERROR_NONE ? victim->error.kind : kind;
                error_release(&victim->error);
        }
        if (kind == ERROR_NONE)
                return 0;
        return error_set(error, kind, "delete failed, errors: %s", buffer_string(&text));
}

int apply_prune(struct context *context, const struct apply_settings *settings, const struct inventory *stale,
                const struct apply_changes *kept, struct arena *arena, struct apply_changes *changes, struct inventory *ret_left,
                struct error *error)
{
        const struct kept stays = kept_of(kept, arena);
        struct victim *victims = arena_array(arena, stale->count, sizeof(*victims));
        unsigned limit = settings->concurrency ? settings->concurrency : APPLY_CONCURRENCY;
        size_t i, from, end;

        for (i = 0; i < stale->count; i++)
                victims[i] = (struct victim){ .context = context, .settings = settings, .kept = &stays, .id = &stale->items[i] };
        if (stale->count)
                qsort(victims, stale->count, sizeof(*victims), last_first);
        for (from = 0; from < stale->count; from = end) {
                end = rank_end(victims, from, stale->count);
                parallel_each(settings->parallel, limit, end - from, remove_one, victims + from);
        }
        *changes = (struct apply_changes){ .items = arena_array(arena, stale->count, sizeof(*changes->items)) };
        *ret_left = (struct inventory){ .items = arena_array(arena, stale->count, sizeof(*ret_left->items)) };
        return sum_up(victims, stale->count, arena, changes, ret_left, error);
}

/* ---- until it is gone ---- */

/* 0 gone, 1 still there. What cannot be read counts as there. */
static int is_there(struct context *context, const struct apply_settings *settings, const struct object_id *id, struct error *error)
{
        const struct victim victim = { .context = context, .settings = settings, .id = id };
        const struct kube_resource *resource;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        struct kube_request request;
        int r = find_kind(&victim, id, &resource, error);

        if (r == 0) {
                request = metadata_of(resource, id);
                r = resource->namespaced && !*id->namespace ? KUBE_NO_MATCH
                                                            : kube_call(context, settings->client, &request, &answer, error);
                if (r == 0)
                        return 1;
        }
        if (r == KUBE_NO_MATCH || is_gone(&victim, error)) {
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
