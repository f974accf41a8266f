#include "owners.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "fights.h"
#include "kube/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct owner {
        char *key; /* namespace/name */
        bool successful;
        uint8_t inputs[OWNER_INPUTS];
        size_t objects;
        uint64_t written;        /* resourceVersion of its status as we wrote it last; 0: not yet */
        uint64_t rights, proven; /* 0: not seen yet */
        int64_t looked_ms;
        bool suspect;
        const struct kube_resource **kinds;
        size_t kind_count;
        struct owner_drift drift;
        struct fights *fights;
        int64_t waits_since_ms; /* of a wait that was interrupted; 0: of none */
        uint8_t waits_for[OWNER_INPUTS];
};

/* Sorted by key. */
struct owners {
        pthread_mutex_t lock;
        struct watch_pool *pool;
        struct owner **items;
        size_t count, capacity;
};

struct owners *owners_new(struct watch_pool *pool)
{
        struct owners *owners = memory_zero(1, sizeof(*owners));

        owners->pool = pool;
        pthread_mutex_init(&owners->lock, NULL);
        return owners;
}

void owner_drift_release(struct owner_drift *drift)
{
        buffer_release(&drift->lines);
        buffer_release(&drift->gone);
        buffer_release(&drift->fights);
}

static void owner_free(struct owner *owner)
{
        owner_drift_release(&owner->drift);
        fights_free(&owner->fights);
        pool_free(owner->kinds);
        pool_free(owner->key);
        pool_free(owner);
}

void owners_free(struct owners **owners)
{
        if (!*owners)
                return;
        for (size_t i = 0; i < (*owners)->count; i++)
                owner_free((*owners)->items[i]);
        free((*owners)->items);
        pthread_mutex_destroy(&(*owners)->lock);
        free(*owners);
        *owners = NULL;
}

static size_t locate(const struct owners *owners, const char *key, bool *ret_found)
{
        size_t low = 0, high = owners->count;

        *ret_found = false;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(owners->items[middle]->key, key);

                if (order == 0) {
                        *ret_found = true;
                        return middle;
                }
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* With the lock held; NULL if it is not known and not to be made. */
static struct owner *get(struct owners *owners, const char *namespace, const char *name, bool make)
{
        cleanup(free_string) char *key = memory_printf("%s/%s", namespace, name);
        bool found;
        size_t at = locate(owners, key, &found);
        struct owner *owner;

        if (found)
                return owners->items[at];
        if (!make)
                return NULL;
        if (owners->count == owners->capacity) {
                owners->capacity = owners->capacity ? owners->capacity * 2 : 16;
                owners->items = memory_resize(owners->items, owners->capacity, sizeof(*owners->items));
        }
        owner = pool_allocate(sizeof(*owner));
        owner->key = pool_string(key);
        owner->drift = OWNER_DRIFT_NULL;
        memmove(&owners->items[at + 1], &owners->items[at], (owners->count - at) * sizeof(*owners->items));
        owners->items[at] = owner;
        owners->count++;
        return owner;
}

void owners_remember(struct owners *owners, const char *namespace, const char *name, const uint8_t inputs[OWNER_INPUTS],
                     size_t objects, size_t skipped)
{
        struct owner *owner;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, true);
        owner->successful = skipped == 0;
        memcpy(owner->inputs, inputs, OWNER_INPUTS);
        owner->objects = objects;
        pthread_mutex_unlock(&owners->lock);
}

bool owners_recall(struct owners *owners, const char *namespace, const char *name, const uint8_t inputs[OWNER_INPUTS],
                   size_t *ret_objects)
{
        struct owner *owner;
        bool same;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        same = owner && owner->successful && memcmp(owner->inputs, inputs, OWNER_INPUTS) == 0;
        if (same)
                *ret_objects = owner->objects;
        pthread_mutex_unlock(&owners->lock);
        return same;
}

static uint64_t version_of(const char *resource_version)
{
        uint64_t version = 0;

        return view_to_uint64(view_of(resource_version), &version) == 0 ? version : 0;
}

void owners_wrote(struct owners *owners, const char *namespace, const char *name, const char *resource_version)
{
        pthread_mutex_lock(&owners->lock);
        get(owners, namespace, name, true)->written = version_of(resource_version);
        pthread_mutex_unlock(&owners->lock);
}

bool owners_wrote_later(struct owners *owners, const char *namespace, const char *name, const char *resource_version)
{
        const struct owner *owner;
        bool later;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        later = owner && owner->written > version_of(resource_version);
        pthread_mutex_unlock(&owners->lock);
        return later;
}

bool owners_rights_due(struct owners *owners, const char *namespace, const char *name, int64_t period_ms)
{
        int64_t now = clock_now_ms();
        struct owner *owner;
        bool due;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, true);
        due = !owner->looked_ms || now - owner->looked_ms >= period_ms;
        if (due)
                owner->looked_ms = now;
        pthread_mutex_unlock(&owners->lock);
        return due;
}

bool owners_rights_seen(struct owners *owners, const char *namespace, const char *name, uint64_t rights)
{
        struct owner *owner;
        bool suspect;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, true);
        owner->rights = rights;
        if (!owner->proven)
                owner->proven = rights;
        suspect = owner->suspect = owner->suspect || owner->proven != rights;
        pthread_mutex_unlock(&owners->lock);
        return suspect;
}

bool owners_rights_suspect(struct owners *owners, const char *namespace, const char *name)
{
        const struct owner *owner;
        bool suspect;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        suspect = owner && owner->suspect;
        pthread_mutex_unlock(&owners->lock);
        return suspect;
}

void owners_rights_proven(struct owners *owners, const char *namespace, const char *name)
{
        struct owner *owner;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        if (owner) {
                owner->proven = owner->rights;
                owner->suspect = false;
        }
        pthread_mutex_unlock(&owners->lock);
}

void owners_invalidate(struct owners *owners, const char *namespace, const char *name)
{
        struct owner *owner;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        if (owner)
                owner->successful = false;
        pthread_mutex_unlock(&owners->lock);
}

static bool holds(const struct kube_resource *const *list, size_t count, const struct kube_resource *resource)
{
        for (size_t i = 0; i < count; i++)
                if (list[i] == resource)
                        return true;
        return false;
}

/* The pool is asked outside of the lock: it may start a connection, and the io thread takes the lock when something drifts. */
static void change_watches(struct owners *owners, const struct kube_resource *const *now, size_t now_count,
                           const struct kube_resource *const *before, size_t before_count)
{
        if (!owners->pool)
                return;
        for (size_t i = 0; i < now_count; i++)
                if (!holds(before, before_count, now[i]))
                        watch_pool_use(owners->pool, now[i]);
        for (size_t i = 0; i < before_count; i++)
                if (!holds(now, now_count, before[i]))
                        watch_pool_release(owners->pool, before[i]);
}

void owners_watch(struct owners *owners, const char *namespace, const char *name, const struct kube_resource *const *resources,
                  size_t count)
{
        const struct kube_resource **now, **before;
        size_t before_count, now_count = 0;
        struct owner *owner;

        now = memory_zero(count, sizeof(*now));
        for (size_t i = 0; i < count && now_count < OWNER_KINDS_LIMIT; i++)
                if (!holds(now, now_count, resources[i]))
                        now[now_count++] = resources[i];
        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, true);
        before = owner->kinds;
        before_count = owner->kind_count;
        owner->kinds = pool_allocate(now_count * sizeof(*now));
        memcpy(owner->kinds, now, now_count * sizeof(*now));
        owner->kind_count = now_count;
        pthread_mutex_unlock(&owners->lock);
        change_watches(owners, now, now_count, before, before_count);
        pool_free(before);
        free(now);
}

void owners_each_kind(struct owners *owners, const char *namespace, const char *name,
                      void (*fn)(void *data, const struct kube_resource *resource), void *data)
{
        const struct kube_resource *kinds[OWNER_KINDS_LIMIT];
        size_t count = 0;
        struct owner *owner;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        for (; owner && count < owner->kind_count; count++)
                kinds[count] = owner->kinds[count];
        pthread_mutex_unlock(&owners->lock);
        for (size_t i = 0; i < count; i++)
                fn(data, kinds[i]);
}

void owners_forget(struct owners *owners, const char *namespace, const char *name)
{
        struct owner *owner = NULL;
        cleanup(free_string) char *key = memory_printf("%s/%s", namespace, name);
        bool found;
        size_t at;

        pthread_mutex_lock(&owners->lock);
        at = locate(owners, key, &found);
        if (found) {
                owner = owners->items[at];
                owners->count--;
                memmove(&owners->items[at], &owners->items[at + 1], (owners->count - at) * sizeof(*owners->items));
        }
        pthread_mutex_unlock(&owners->lock);
        if (!owner)
                return;
        change_watches(owners, NULL, 0, owner->kinds, owner->kind_count);
        owner_free(owner);
}

static bool has_line(struct view lines, struct view line)
{
        struct view piece;

        while (lines.length && view_split(&lines, '\n', &piece))
                if (view_equal(piece, line))
                        return true;
        return false;
}

int64_t owners_drifted(struct owners *owners, const char *namespace, const char *name, const char *object, const char *line)
{
        struct owner *owner;
        struct buffer *lines;
        int64_t pause;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, true);
        lines = line ? &owner->drift.lines : &owner->drift.gone;
        /* Each further write to an edited object, by whomever, shows the same edit again. */
        if (!has_line(buffer_view(lines), view_of(line ? line : object)))
                buffer_printf(lines, "%s%s", lines->length ? "\n" : "", line ? line : object);
        pause = fights_drifted(&owner->fights, object, OWNER_DRIFT_PAUSE_MS, clock_now_ms());
        pthread_mutex_unlock(&owners->lock);
        return pause;
}

void owners_interrupted(struct owners *owners, const char *namespace, const char *name, const struct owner_wait *wait)
{
        struct owner *owner;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, true);
        owner->waits_since_ms = wait->since_ms;
        memcpy(owner->waits_for, wait->inputs, OWNER_INPUTS);
        pthread_mutex_unlock(&owners->lock);
}

struct owner_wait owners_take_interrupted(struct owners *owners, const char *namespace, const char *name)
{
        struct owner_wait wait = { 0 };
        struct owner *owner;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        if (owner) {
                wait.since_ms = owner->waits_since_ms;
                memcpy(wait.inputs, owner->waits_for, OWNER_INPUTS);
                owner->waits_since_ms = 0;
        }
        pthread_mutex_unlock(&owners->lock);
        return wait;
}

bool owners_take_drift(struct owners *owners, const char *namespace, const char *name, struct owner_drift *ret_drift)
{
        struct owner *owner;
        bool any;

        pthread_mutex_lock(&owners->lock);
        owner = get(owners, namespace, name, false);
        any = owner && (owner->drift.lines.length || owner->drift.gone.length);
        if (any) {
                fights_corrected(owner->fights, &owner->drift.fights, clock_now_ms());
                owner_drift_release(ret_drift);
                *ret_drift = owner->drift;
                owner->drift = OWNER_DRIFT_NULL;
        }
        pthread_mutex_unlock(&owners->lock);
        return any;
}
