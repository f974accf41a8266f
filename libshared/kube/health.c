#include "kube/health.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "kube/client.h"
#include "kube/parallel.h"

#include <stdlib.h>
#include <string.h>

#define CONCURRENCY      4
#define PAUSE_FIRST_MS   100
#define PAUSE_WATCHED_MS 1000 /* a watch tells sooner */
#define PAUSE_LAST_MS    5000
#define PAUSE_GROWTH     4 /* a server that is slow is not asked the more */
#define LASTING_MS       1000
#define SETTLE_MS        80 /* what moves once moves again soon */
#define SETTLE_LAST_MS   500
#define SETTLE_READS     4    /* and on a server that is busy later: so many times what the last look took */
#define MESSAGE_LIMIT    4096 /* bytes of what is said about one object */

struct pending {
        const struct health_object *wanted;
        const struct kube_resource *resource;
        enum kstatus status;
        uint64_t version; /* the resourceVersion of which that is the status; 0: not known */
        struct buffer message;
        bool found;     /* by the list of this round */
        unsigned round; /* in which its status was seen; 0: before the wait */
};

/* Objects that are read by one request. */
struct group {
        struct pending **items;
        size_t count;
        struct error error; /* only of the context: it ends the wait */
};

struct wait {
        struct context *context;
        const struct health_settings *settings;
        struct pending *items;
        size_t count;
        struct pending **order; /* those of this round */
        struct group *groups;
        size_t group_count;
        enum {
                LOOK_AT_NONE,
                LOOK_AT_MOVED, /* what the watch says has moved, and what it does not tell of */
                LOOK_AT_ALL,
        } look;
        int64_t read_ms;              /* what the last look took */
        int64_t all_ms;               /* when all were looked at last */
        int64_t until_ms, lasting_ms; /* lasting_ms: when to say that it lasts; CLOCK_NEVER: it is said */
        int64_t pause_ms;
        uint64_t sequence;
        unsigned round;
        unsigned before_pause; /* the round after which it paused last */
        bool paused;
};

static struct drift_key key_of(const struct pending *item)
{
        return (struct drift_key){ item->resource, item->wanted->object.namespace, item->wanted->object.name };
}

/* ---- one object ---- */

static void cut_message(struct pending *item)
{
        size_t length = utf8_cut(buffer_view(&item->message), MESSAGE_LIMIT).length;

        if (length == item->message.length)
                return;
        item->message.length = length;
        buffer_add_string(&item->message, "...");
}

static void set_message(struct pending *item, const char *message)
{
        buffer_clear(&item->message);
        buffer_add_string(&item->message, message);
        cut_message(item);
}

/* A failure to read is the object's status, unless it is the end of the wait itself. */
static int unreadable(struct pending *item, struct error *error)
{
        if (error->kind == ERROR_CANCELLED)
                return -1;
        item->status = KSTATUS_UNKNOWN;
        item->version = 0;
        set_message(item, error_message(error));
        if (kube_is_absent(error) && strcmp(error->reason, "NoKindMatch") != 0) {
                item->status = item->wanted->finishes ? KSTATUS_CURRENT : KSTATUS_NOT_FOUND;
                set_message(item, "");
        }
        error_release(error);
        return 0;
}

/* "k=v,k2=v2" of spec.selector.matchLabels. */
static void pod_selector(const struct json *object, struct buffer *selector)
{
        JSON_EACH(JSON_PATH(object, "spec", "selector", "matchLabels"), label)
                buffer_printf(selector, "%s%s=%s", selector->length ? "," : "", label.key, json_string(label.value, ""));
}

static int look_at_pods(const struct wait *wait, struct pending *item, const struct json *object, struct error *error)
{
        cleanup(buffer_release) struct buffer selector = BUFFER_NULL;
        cleanup(json_free) struct json *pods = NULL;
        struct kube_request request = {
                .verb = KUBE_LIST,
                .resource = kube_resource_intern("", "v1", "Pod", "pods", true),
                .namespace = item->wanted->object.namespace,
        };

        pod_selector(object, &selector);
        if (!selector.length)
                return 0;
        request.label_selector = buffer_string(&selector);
        if (kube_call_json(wait->context, wait->settings->client, &request, &pods, error) != 0) {
                if (error->kind == ERROR_CANCELLED)
                        return -1;
                error_release(error);
                return 0;
        }
        item->status = kstatus_with_pods(item->status, pods, &item->message);
        return 0;
}

static int judge(const struct wait *wait, struct pending *item, const struct json *object, struct error *error)
{
        const struct health_settings *settings = wait->settings;
        const char *version = json_string(JSON_PATH(object, "metadata", "resourceVersion"), "");
        const struct drift_key key = key_of(item);

        buffer_clear(&item->message);
        item->found = true;
        item->round = wait->round;
        if (view_to_uint64(view_of(version), &item->version) < 0)
                item->version = 0;
        if (!settings->evaluate || !settings->evaluate(settings->data, object, &item->status, &item->message)) {
                item->status = kstatus_compute(object, clock_wall_us(), &item->message);
                if (kstatus_needs_pods(object, item->status))
                        TRY(look_at_pods(wait, item, object, error));
        }
        cut_message(item);
        if (item->status == KSTATUS_CURRENT && settings->drift)
                drift_current(settings->drift, &key, version);
        return 0;
}

static int read_one(const struct wait *wait, struct pending *item, struct error *error)
{
        cleanup(json_free) struct json *object = NULL;

        item->round = wait->round;
        if (kube_get(wait->context, wait->settings->client, item->resource, item->wanted->object.namespace,
                     item->wanted->object.name, &object, error) != 0)
                return unreadable(item, error);
        return judge(wait, item, object, error);
}

/* ---- a group ---- */

static int match_list(const struct wait *wait, struct group *group, struct json *list, struct error *error)
{
        struct json *items = json_get(list, "items");
        size_t i, k;

        for (i = 0; i < json_length(items); i++) {
                struct json *object = json_at(items, i);
                const char *name = json_string(JSON_PATH(object, "metadata", "name"), "");

                for (k = 0; k < group->count; k++) {
                        struct pending *item = group->items[k];

                        if (item->found || strcmp(item->wanted->object.name, name) != 0)
                                continue;
                        json_set_string(object, "apiVersion", item->resource->api_version);
                        json_set_string(object, "kind", item->resource->kind);
                        TRY(judge(wait, item, object, error));
                        break;
                }
        }
        return 0;
}

static int read_group(const struct wait *wait, struct group *group, struct error *error)
{
        const struct pending *first = group->items[0];
        size_t i;

        for (i = 0; i < group->count; i++)
                group->items[i]->found = false;
        if (group->count > 1) {
                cleanup(json_free) struct json *list = NULL;
                struct kube_request request = {
                        .verb = KUBE_LIST,
                        .resource = first->resource,
                        .namespace = first->wanted->object.namespace,
                        .label_selector = wait->settings->label_selector,
                };

                if (kube_call_json(wait->context, wait->settings->client, &request, &list, error) == 0)
                        TRY(match_list(wait, group, list, error));
                else if (error->kind == ERROR_CANCELLED)
                        return -1;
                else
                        error_release(error); /* perhaps listing is not allowed: one by one then */
        }
        for (i = 0; i < group->count; i++)
                if (!group->items[i]->found)
                        TRY(read_one(wait, group->items[i], error));
        return 0;
}

static void read_one_group(void *argument, size_t index)
{
        const struct wait *wait = argument;

        read_group(wait, &wait->groups[index], &wait->groups[index].error);
}

/* ---- what a watch says ---- */

static bool is_pending(const struct pending *item)
{
        return item->status != KSTATUS_CURRENT && item->resource;
}

/* The newest of it that a live watch has shown; 0: no watch tells. */
static uint64_t seen_version(const struct wait *wait, const struct pending *item)
{
        const struct drift_key key = key_of(item);

        return wait->settings->drift ? drift_versions(wait->settings->drift, &key, clock_now_ms()).seen : 0;
}

/* Whether there is anything to read of it, when something of the owner moved. What no watch tells of may have. */
static bool may_have_moved(const struct wait *wait, const struct pending *item)
{
        uint64_t seen = seen_version(wait, item);

        return !seen || !item->version || seen > item->version;
}

static bool any_watched_moved(const struct wait *wait)
{
        size_t i;

        for (i = 0; i < wait->count; i++)
                if (is_pending(&wait->items[i]) && wait->items[i].version &&
                    seen_version(wait, &wait->items[i]) > wait->items[i].version)
                        return true;
        return false;
}

static bool any_may_have_moved(const struct wait *wait)
{
        size_t i;

        for (i = 0; i < wait->count; i++)
                if (is_pending(&wait->items[i]) && may_have_moved(wait, &wait->items[i]))
                        return true;
        return false;
}

static bool all_watched(const struct wait *wait)
{
        size_t i;

        for (i = 0; i < wait->count; i++)
                if (wait->items[i].status != KSTATUS_CURRENT && (!wait->items[i].resource || !seen_version(wait, &wait->items[i])))
                        return false;
        return true;
}

/* A status that was handed in is that of the object as it was verified. */
static void note_versions(struct wait *wait)
{
        size_t i;

        for (i = 0; i < wait->count; i++) {
                struct pending *item = &wait->items[i];
                const struct drift_key key = key_of(item);

                if (is_pending(item) && item->status != KSTATUS_UNKNOWN && wait->settings->drift)
                        item->version = drift_versions(wait->settings->drift, &key, clock_now_ms()).verified;
        }
}

/* ---- a round ---- */

static int by_place(const void *a, const void *b)
{
        const struct pending *left = *(struct pending *const *)a, *right = *(struct pending *const *)b;

        if (left->resource != right->resource)
                return left->resource < right->resource ? -1 : 1;
        return strcmp(left->wanted->object.namespace, right->wanted->object.namespace);
}

static bool same_group(const struct wait *wait, const struct pending *a, const struct pending *b)
{
        return wait->settings->label_selector && a->resource == b->resource &&
               !strcmp(a->wanted->object.namespace, b->wanted->object.namespace);
}

static int read_pending(struct wait *wait, struct error *error)
{
        unsigned limit = wait->settings->concurrency ? wait->settings->concurrency : CONCURRENCY;
        int64_t started = clock_now_ms();
        size_t i, count = 0;
        int r = 0;

        for (i = 0; i < wait->count; i++)
                if (is_pending(&wait->items[i]) && (wait->look == LOOK_AT_ALL || may_have_moved(wait, &wait->items[i])))
                        wait->order[count++] = &wait->items[i];
        wait->round++;
        if (!count)
                return 0;
        qsort(wait->order, count, sizeof(struct pending *), by_place);
        wait->group_count = 0;
        for (i = 0; i < count; i++)
                if (i && same_group(wait, wait->order[i - 1], wait->order[i]))
                        wait->groups[wait->group_count - 1].count++;
                else
                        wait->groups[wait->group_count++] = (struct group){ &wait->order[i], 1, ERROR_NULL };
        parallel_each(wait->settings->parallel, limit, wait->group_count, read_one_group, wait);
        for (i = 0; i < wait->group_count; i++) {
                if (wait->groups[i].error.kind != ERROR_NONE && r == 0)
                        r = error_move(error, &wait->groups[i].error);
                error_release(&wait->groups[i].error);
        }
        wait->read_ms = clock_now_ms() - started;
        return r;
}

/* Kinds that are not served yet may be later. */
static int find_resources(struct wait *wait, struct error *error)
{
        size_t i;

        for (i = 0; i < wait->count; i++) {
                struct pending *item = &wait->items[i];
                const struct object_id *id = &item->wanted->object;
                int r;

                if (item->status == KSTATUS_CURRENT || item->resource)
                        continue;
                /* Whatever the version it was applied in, the preferred one is read. */
                r = kube_resource_find(wait->context, wait->settings->client, id->group, NULL, id->kind, &item->resource, error);
                if (r == KUBE_NO_MATCH)
                        error_set_reason(error, ERROR_NOT_FOUND, "NoKindMatch", "no matches for kind \"%s\" in group \"%s\"",
                                         id->kind, id->group);
                if (r != 0) {
                        item->resource = NULL;
                        TRY(unreadable(item, error));
                        continue;
                }
                if (!item->resource->namespaced && *id->namespace) {
                        item->resource = NULL;
                        item->status = KSTATUS_UNKNOWN;
                        set_message(item, "it is cluster scoped, but namespace is set");
                        continue;
                }
                if (item->resource->namespaced && !*id->namespace)
                        return error_set(error, ERROR_INVALID, "resource %s%s%s %s is namespace scoped, but namespace is not set",
                                         id->kind, *id->group ? "." : "", id->group, id->name);
        }
        return 0;
}

/* ---- the end ---- */

static int compare_texts(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *describe(const struct pending *item, struct arena *arena)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        object_id_describe(&item->wanted->object, &text);
        buffer_printf(&text, " status: '%s'", kstatus_name(item->status));
        if (item->message.length)
                buffer_printf(&text, ": %s", buffer_string(&item->message));
        return arena_string(arena, buffer_string(&text));
}

/* No time helps it. */
static bool is_lost(const struct wait *wait, const struct pending *item)
{
        return item->status == KSTATUS_FAILED || (wait->settings->made && item->status == KSTATUS_NOT_FOUND);
}

static int give_up(const struct wait *wait, bool early, struct error *error)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        char **lines = arena_array(arena, wait->count, sizeof(*lines));
        size_t i, count = 0;

        for (i = 0; i < wait->count; i++)
                if (early ? is_lost(wait, &wait->items[i]) : wait->items[i].status != KSTATUS_CURRENT)
                        lines[count++] = describe(&wait->items[i], arena);
        qsort(lines, count, sizeof(*lines), compare_texts);
        for (i = 0; i < count; i++)
                buffer_printf(&text, "%s%s", i ? ", " : "", lines[i]);
        if (early)
                return error_set(error, ERROR_CONFLICT, "failed early due to stalled resources: [%s]", buffer_string(&text));
        return error_set(error, ERROR_TIMEOUT, "timeout waiting for: [%s]", buffer_string(&text));
}

struct tally {
        size_t current, failed, unseen;
};

static struct tally count_up(const struct wait *wait)
{
        struct tally tally = { 0 };
        size_t i;

        for (i = 0; i < wait->count; i++) {
                tally.current += wait->items[i].status == KSTATUS_CURRENT;
                tally.failed += is_lost(wait, &wait->items[i]);
                tally.unseen += wait->items[i].status == KSTATUS_UNKNOWN;
        }
        return tally;
}

/* What moves several times at once is looked at once. While one moves and moves, the others are not forgotten: of time and of its pods a watch tells nothing. */
static int settle(struct wait *wait, struct error *error)
{
        const struct health_settings *settings = wait->settings;
        int64_t left = wait->until_ms - clock_now_ms(), length = wait->read_ms * SETTLE_READS;

        length = length < SETTLE_MS ? SETTLE_MS : length > SETTLE_LAST_MS ? SETTLE_LAST_MS : length;
        TRY(context_sleep(wait->context, left < length ? left : length, error));
        drift_wait(wait->context, settings->drift, settings->owner_namespace, settings->owner_name, &wait->sequence, 0);
        wait->look = clock_now_ms() - wait->all_ms < PAUSE_LAST_MS ? LOOK_AT_MOVED : LOOK_AT_ALL;
        return context_check(wait->context, error);
}

/* Until the watch tells of something newer than was looked at; for a while that grows where it tells nothing. */
static int pause_for(struct wait *wait, struct error *error)
{
        const struct health_settings *settings = wait->settings;
        int64_t now = clock_now_ms(), end = wait->until_ms < wait->lasting_ms ? wait->until_ms : wait->lasting_ms;
        int64_t length = wait->pause_ms < PAUSE_WATCHED_MS && all_watched(wait) ? PAUSE_WATCHED_MS : wait->pause_ms;

        wait->look = LOOK_AT_ALL;
        if (now + length <= end)
                end = now + length;
        else if (end == wait->lasting_ms)
                wait->look = LOOK_AT_NONE;
        if (!settings->drift)
                return end > now ? context_sleep(wait->context, end - now, error) : context_check(wait->context, error);
        /* From here on nothing is missed; before, what it tells says enough. */
        drift_wait(wait->context, settings->drift, settings->owner_namespace, settings->owner_name, &wait->sequence, 0);
        if (any_watched_moved(wait))
                return settle(wait, error);
        while (now < end) {
                bool changed = drift_wait(wait->context, settings->drift, settings->owner_namespace, settings->owner_name,
                                          &wait->sequence, end - now);

                if (changed && any_may_have_moved(wait))
                        return settle(wait, error);
                TRY(context_check(wait->context, error));
                now = clock_now_ms();
        }
        if (wait->look == LOOK_AT_ALL)
                wait->pause_ms = length * PAUSE_GROWTH < PAUSE_LAST_MS ? length * PAUSE_GROWTH : PAUSE_LAST_MS;
        return context_check(wait->context, error);
}

static int pause_and_let_others(struct wait *wait, struct error *error)
{
        const struct health_settings *settings = wait->settings;
        int r;

        if (settings->pausing)
                settings->pausing(settings->data, true);
        r = pause_for(wait, error);
        if (settings->pausing)
                settings->pausing(settings->data, false);
        return r;
}

/* Nothing was heard of it since it was Current. */
static bool still_current(const struct wait *wait, const struct pending *item)
{
        const struct health_settings *settings = wait->settings;
        const struct object_id *id = &item->wanted->object;
        const struct kube_resource *resource = item->resource;
        cleanup(error_release) struct error ignored = ERROR_NULL;
        struct drift_key key;

        if (!settings->drift ||
            (!resource && kube_resource_find(wait->context, settings->client, id->group, NULL, id->kind, &resource, &ignored) != 0))
                return false;
        key = (struct drift_key){ resource, id->namespace, id->name };
        return drift_is_current(settings->drift, &key, clock_now_ms());
}

/* While the last of them became Current the first may have broken: what was seen before the last pause is looked at again. True if there is any. */
static bool doubt_the_first(struct wait *wait)
{
        bool any = false;
        size_t i;

        for (i = 0; wait->paused && i < wait->count; i++) {
                struct pending *item = &wait->items[i];

                if (item->round > wait->before_pause || still_current(wait, item))
                        continue;
                item->status = KSTATUS_UNKNOWN;
                any = true;
        }
        if (any)
                wait->look = LOOK_AT_ALL;
        return any;
}

static int wait_for(struct wait *wait, struct error *error)
{
        const struct health_settings *settings = wait->settings;
        struct tally before;

        TRY(find_resources(wait, error));
        note_versions(wait);
        /* What was seen in progress a moment ago is given a moment. What had failed by then may have failed for what was there before, and has to say why. */
        before = count_up(wait);
        wait->look = before.unseen || before.failed ? LOOK_AT_ALL : LOOK_AT_NONE;
        for (;;) {
                struct tally tally;

                TRY(find_resources(wait, error));
                if (wait->look == LOOK_AT_ALL)
                        wait->all_ms = clock_now_ms();
                if (wait->look != LOOK_AT_NONE)
                        TRY(read_pending(wait, error));
                tally = count_up(wait);
                if (tally.current == wait->count) {
                        if (!doubt_the_first(wait))
                                return 0;
                        continue;
                }
                if (tally.failed && (settings->fail_fast || tally.current + tally.failed == wait->count))
                        return give_up(wait, true, error);
                if (clock_now_ms() >= wait->until_ms)
                        return give_up(wait, false, error);
                if (clock_now_ms() >= wait->lasting_ms) {
                        wait->lasting_ms = CLOCK_NEVER;
                        TRY(settings->lasting(settings->data, error));
                }
                TRY(pause_and_let_others(wait, error));
                wait->before_pause = wait->round;
                wait->paused = true;
        }
}

int health_wait(struct context *context, const struct health_settings *settings, const struct health_object *objects, size_t count,
                struct error *error)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        int64_t now_ms = clock_now_ms();
        struct wait wait = {
                .context = context,
                .settings = settings,
                .items = arena_array(arena, count, sizeof(*wait.items)),
                .count = count,
                .order = arena_array(arena, count, sizeof(*wait.order)),
                .groups = arena_array(arena, count, sizeof(*wait.groups)),
                .all_ms = now_ms,
                .until_ms = now_ms + settings->timeout_ms,
                .lasting_ms = settings->lasting ? now_ms + LASTING_MS : CLOCK_NEVER,
                .pause_ms = PAUSE_FIRST_MS,
        };
        size_t i;
        int r;

        for (i = 0; i < count; i++)
                wait.items[i] = (struct pending){
                        .wanted = &objects[i],
                        .status = objects[i].status,
                };
        r = wait_for(&wait, error);
        for (i = 0; i < count; i++)
                buffer_release(&wait.items[i].message);
        return r;
}
