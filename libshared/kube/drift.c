#include "kube/drift.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "base/memory.h"
#include "data/digest.h"
#include "data/json.h"
#include "data/scan.h"
#include "kube/client.h"
#include "kube/managed_fields.h"
#include "kube/steer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_AT_START 256 /* a power of two */
#define REPORTED_FIELDS  5
#define LABEL_LIMIT      320
#define DAY_MS           ((int64_t)24 * 60 * 60 * 1000)

/* A kind, whatever the version, and how its watch is doing. */
struct place {
        struct place *next;
        char *group, *kind;
        bool synced;
        int64_t heard_ms;
        uint64_t epoch;
};

struct waiter {
        struct waiter *next;
        int handle;
};

struct owner {
        struct owner *next;
        char *namespace, *name;
        struct entry *entries;
        unsigned running; /* runs that have begun */
        uint64_t sequence;
        struct waiter *waiters;
        struct report *pending; /* the last suspicion while a run was under way */
};

struct entry {
        struct entry *next;              /* in the bucket */
        struct entry *following, **link; /* in the owner's list */
        struct owner *owner;
        struct place *place;
        uint8_t key[16], wanted[DRIFT_HASH];
        struct drift_digest at, live; /* when it was verified, and as the watch saw it last */
        uint64_t current;             /* resourceVersion at which it was Current */
        int64_t verified_ms;
        uint64_t epoch;
        char uid[40];
        bool verified, seen, gone, replaced; /* seen: `live` is set; replaced: another uid than the verified one */
};

struct drift_table {
        struct drift_settings settings;
        struct field_takeover takeovers[STEER_TAKEOVERS];
        size_t takeover_count;
        char **override;
        char *label_name, *label_namespace;
        pthread_mutex_t lock;
        struct entry **buckets;
        size_t bucket_count, count;
        struct owner *owners[BUCKETS_AT_START];
        struct place *places;
        uint64_t epoch;
        int64_t renewal_second;
        unsigned renewals;
};

/* A drift_report that owns its texts, for calling back without the lock. */
struct report {
        char *owner_namespace, *owner_name, *namespace, *name, *manager, *fields;
        const struct kube_resource *resource;
        bool deleted;
};

static void report_free(struct report **report)
{
        struct report *r = steal(report);

        if (!r)
                return;
        free(r->owner_namespace);
        free(r->owner_name);
        free(r->namespace);
        free(r->name);
        free(r->manager);
        free(r->fields);
        free(r);
}

/* Consumes it. */
static void report_send(struct drift_table *table, struct report *report)
{
        if (report && table->settings.wake) {
                struct drift_report told = {
                        .resource = report->resource,
                        .namespace = report->namespace,
                        .name = report->name,
                        .deleted = report->deleted,
                        .manager = report->manager,
                        .fields = report->fields,
                };

                table->settings.wake(table->settings.data, report->owner_namespace, report->owner_name, &told);
        }
        report_free(&report);
}

/* ---- digests ---- */

static uint64_t hash_of(struct view text)
{
        uint8_t bytes[DIGEST_SIZE_LIMIT];
        uint64_t hash;

        digest_bytes_of(DIGEST_SHA256, text, bytes);
        memcpy(&hash, bytes, sizeof(hash));
        return hash ? hash : 1;
}

static uint64_t version_of(struct view text)
{
        uint64_t version = 0;

        return view_to_uint64(text, &version) == 0 ? version : 0;
}

static const char *cut(struct view text, char *buffer, size_t size)
{
        snprintf(buffer, size, "%.*s", VIEW_ARGS(text));
        return buffer;
}

static void digest_entries(const struct drift_table *table, struct view entries, struct drift_digest *digest)
{
        struct scan scan = scan_begin(entries);

        while (scan_next(&scan)) {
                struct view manager = scan_string(scan_get(scan.value, "manager"));
                struct view operation = scan_string(scan_get(scan.value, "operation"));
                struct view subresource = scan_string(scan_get(scan.value, "subresource"));
                char manager_text[256], operation_text[16];
                struct field_owner owner = { cut(manager, manager_text, sizeof(manager_text)),
                                             cut(operation, operation_text, sizeof(operation_text)),
                                             subresource.length ? "status" : "" };

                if (view_is(manager, table->settings.field_manager) && view_is(operation, "Apply") && !subresource.length)
                        digest->applied = hash_of(scan_get(scan.value, "fieldsV1"));
                else if (field_owner_taken(&owner, table->takeovers, table->takeover_count))
                        digest->foreign = true;
        }
}

struct drift_digest drift_digest_of(const struct drift_table *table, struct view object)
{
        struct view metadata = scan_get(object, "metadata");
        struct view labels = scan_get(metadata, "labels");
        struct steering steering = steering_of(object, table->settings.label_group);
        struct drift_digest digest = {
                .resource_version = version_of(scan_string(scan_get(metadata, "resourceVersion"))),
                .generation = scan_integer(scan_get(metadata, "generation"), 0),
                .skip = steering.skip,
                .merge = steering.merge,
                .force = steering.force,
                .keep = steering.keep,
                .foreign = steer_has_removed(object),
                .owned = scan_get(labels, table->label_name).data && scan_get(labels, table->label_namespace).data,
        };

        digest_entries(table, scan_get(metadata, "managedFields"), &digest);
        return digest;
}

/* Nobody touched what we applied. */
static bool same_applied(const struct drift_digest *a, const struct drift_digest *b)
{
        return a->applied && a->applied == b->applied && a->skip == b->skip && a->merge == b->merge && a->force == b->force &&
               a->keep == b->keep && a->owned == b->owned && (a->merge || (!a->foreign && !b->foreign));
}

bool drift_digest_same(const struct drift_digest *a, const struct drift_digest *b)
{
        if (a->resource_version && a->resource_version == b->resource_version)
                return true;
        return a->generation && a->generation == b->generation && same_applied(a, b);
}

/* ---- the table ---- */

struct drift_table *drift_table_new(const struct drift_settings *settings)
{
        struct drift_table *table = memory_zero(1, sizeof(*table));
        size_t i, count = 0;

        while (settings->override_managers && settings->override_managers[count])
                count++;
        table->override = memory_zero(count + 1, sizeof(*table->override));
        for (i = 0; i < count; i++)
                table->override[i] = memory_string(settings->override_managers[i]);
        table->settings = *settings;
        table->settings.field_manager = memory_string(settings->field_manager);
        table->settings.label_group = memory_string(settings->label_group);
        table->settings.override_managers = NULL;
        table->takeover_count =
                steer_takeovers(table->settings.field_manager, (const char *const *)table->override, table->takeovers);
        table->label_name = memory_printf("%s/name", settings->label_group);
        table->label_namespace = memory_printf("%s/namespace", settings->label_group);
        table->bucket_count = BUCKETS_AT_START;
        table->buckets = memory_zero(table->bucket_count, sizeof(struct entry *));
        pthread_mutex_init(&table->lock, NULL);
        return table;
}

static void owner_free(struct owner *owner)
{
        report_free(&owner->pending);
        free(owner->namespace);
        free(owner->name);
        free(owner);
}

void drift_table_free(struct drift_table **pointer)
{
        struct drift_table *table = steal(pointer);
        size_t i;

        if (!table)
                return;
        for (i = 0; i < table->bucket_count; i++)
                while (table->buckets[i]) {
                        struct entry *entry = table->buckets[i];

                        table->buckets[i] = entry->next;
                        free(entry);
                }
        for (i = 0; i < BUCKETS_AT_START; i++)
                while (table->owners[i]) {
                        struct owner *owner = table->owners[i];

                        table->owners[i] = owner->next;
                        owner_free(owner);
                }
        while (table->places) {
                struct place *place = table->places;

                table->places = place->next;
                free(place->group);
                free(place->kind);
                free(place);
        }
        for (i = 0; table->override[i]; i++)
                free(table->override[i]);
        free(table->override);
        free(table->label_name);
        free(table->label_namespace);
        free((char *)(uintptr_t)table->settings.field_manager);
        free((char *)(uintptr_t)table->settings.label_group);
        free(table->buckets);
        pthread_mutex_destroy(&table->lock);
        free(table);
}

static struct place *place_of(struct drift_table *table, const struct kube_resource *resource)
{
        struct place *place;

        for (place = table->places; place; place = place->next)
                if (!strcmp(place->kind, resource->kind) && !strcmp(place->group, resource->group))
                        return place;
        place = memory_zero(1, sizeof(*place));
        place->group = memory_string(resource->group);
        place->kind = memory_string(resource->kind);
        place->next = table->places;
        table->places = place;
        return place;
}

static bool place_live(const struct place *place, int64_t now_ms)
{
        return place->synced && now_ms - place->heard_ms < DRIFT_WATCH_STALE_MS;
}

static struct owner **owner_slot(struct drift_table *table, struct view namespace, struct view name)
{
        uint64_t hash = 1469598103934665603u;
        struct owner **slot;
        size_t i;

        for (i = 0; i < namespace.length; i++)
                hash = (hash ^ (unsigned char)namespace.data[i]) * 1099511628211u;
        hash = (hash ^ '/') * 1099511628211u;
        for (i = 0; i < name.length; i++)
                hash = (hash ^ (unsigned char)name.data[i]) * 1099511628211u;
        slot = &table->owners[(hash ^ hash >> 32) % BUCKETS_AT_START];
        while (*slot && !(view_is(name, (*slot)->name) && view_is(namespace, (*slot)->namespace)))
                slot = &(*slot)->next;
        return slot;
}

static struct owner *owner_find(struct drift_table *table, const char *namespace, const char *name)
{
        return *owner_slot(table, view_of(namespace), view_of(name));
}

static struct owner *owner_get(struct drift_table *table, struct view namespace, struct view name)
{
        struct owner **slot = owner_slot(table, namespace, name);

        if (!*slot) {
                *slot = memory_zero(1, sizeof(**slot));
                (*slot)->namespace = memory_string_n(namespace.data, namespace.length);
                (*slot)->name = memory_string_n(name.data, name.length);
        }
        return *slot;
}

/* Nothing points at an owner without entries, runs and waiters. */
static void owner_drop_idle(struct drift_table *table, struct owner *owner)
{
        struct owner **slot;

        if (owner->entries || owner->running || owner->waiters)
                return;
        slot = owner_slot(table, view_of(owner->namespace), view_of(owner->name));
        *slot = owner->next;
        owner_free(owner);
}

static void key_of(const struct drift_key *key, uint8_t hash[16])
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        uint8_t bytes[DIGEST_SIZE_LIMIT];

        buffer_printf(&text, "%s/%s/%s/%s", key->resource->group, key->resource->kind, key->namespace, key->name);
        digest_bytes_of(DIGEST_SHA256, buffer_view(&text), bytes);
        memcpy(hash, bytes, 16);
}

static size_t bucket_of(const struct drift_table *table, const uint8_t hash[16])
{
        uint64_t at;

        memcpy(&at, hash, sizeof(at));
        return at & (table->bucket_count - 1);
}

static struct entry **entry_slot(struct drift_table *table, const uint8_t hash[16])
{
        struct entry **slot = &table->buckets[bucket_of(table, hash)];

        while (*slot && memcmp((*slot)->key, hash, 16))
                slot = &(*slot)->next;
        return slot;
}

static struct entry *entry_find(struct drift_table *table, const struct drift_key *key)
{
        uint8_t hash[16];

        key_of(key, hash);
        return *entry_slot(table, hash);
}

static void grow(struct drift_table *table)
{
        size_t i, old_count = table->bucket_count;
        struct entry **old = table->buckets;

        table->bucket_count *= 2;
        table->buckets = memory_zero(table->bucket_count, sizeof(struct entry *));
        for (i = 0; i < old_count; i++)
                while (old[i]) {
                        struct entry *entry = old[i];
                        struct entry **bucket = &table->buckets[bucket_of(table, entry->key)];

                        old[i] = entry->next;
                        entry->next = *bucket;
                        *bucket = entry;
                }
        free(old);
}

static void entry_leave(struct entry *entry)
{
        if (!entry->owner)
                return;
        *entry->link = entry->following;
        if (entry->following)
                entry->following->link = entry->link;
        entry->owner = NULL;
}

static void entry_join(struct drift_table *table, struct entry *entry, struct owner *owner)
{
        struct owner *old = entry->owner;

        if (old == owner)
                return;
        entry_leave(entry);
        entry->owner = owner;
        entry->following = owner->entries;
        entry->link = &owner->entries;
        if (owner->entries)
                owner->entries->link = &entry->following;
        owner->entries = entry;
        if (old)
                owner_drop_idle(table, old);
}

static struct entry *entry_get(struct drift_table *table, const struct drift_key *key, struct owner *owner)
{
        uint8_t hash[16];
        struct entry **slot;
        struct entry *entry;

        key_of(key, hash);
        entry = *entry_slot(table, hash);
        if (!entry) {
                if (table->count >= table->bucket_count)
                        grow(table);
                slot = entry_slot(table, hash);
                entry = memory_zero(1, sizeof(*entry));
                memcpy(entry->key, hash, 16);
                entry->place = place_of(table, key->resource);
                *slot = entry;
                table->count++;
        }
        entry_join(table, entry, owner);
        return entry;
}

static void entry_remove(struct drift_table *table, struct entry *entry)
{
        struct entry **slot = entry_slot(table, entry->key);
        struct owner *owner = entry->owner;

        *slot = entry->next;
        entry_leave(entry);
        free(entry);
        table->count--;
        if (owner)
                owner_drop_idle(table, owner);
}

size_t drift_table_count(struct drift_table *table)
{
        size_t count;

        pthread_mutex_lock(&table->lock);
        count = table->count;
        pthread_mutex_unlock(&table->lock);
        return count;
}

size_t drift_table_bytes(struct drift_table *table)
{
        size_t bytes;

        pthread_mutex_lock(&table->lock);
        bytes = sizeof(*table) + table->count * sizeof(struct entry) + table->bucket_count * sizeof(struct entry *);
        pthread_mutex_unlock(&table->lock);
        return bytes;
}

/* ---- judging ---- */

static bool moved(const struct entry *entry)
{
        return entry->seen && entry->live.resource_version > entry->at.resource_version;
}

/* Somebody has touched what the owner applied: worth waking it for. What merely may have changed waits for its next run. */
static bool drifted(const struct entry *entry)
{
        if (!entry->verified || !moved(entry))
                return false;
        return entry->gone || entry->replaced || !same_applied(&entry->at, &entry->live);
}

static bool as_verified(struct entry *entry)
{
        if (!moved(entry))
                return true;
        if (entry->gone || entry->replaced || !drift_digest_same(&entry->at, &entry->live))
                return false;
        entry->at = entry->live;
        return true;
}

/* Objects come due at different times of the last half of the period. */
static bool due(const struct entry *entry, int64_t recheck_ms, int64_t now_ms)
{
        int64_t share = recheck_ms / 2 + recheck_ms / 2 * entry->key[8] / 256;

        return now_ms - entry->verified_ms > share;
}

/* A new epoch verifies everything anew, so many a second. */
static bool renewal(struct drift_table *table, const struct entry *entry, int64_t now_ms)
{
        if (entry->epoch == table->epoch + entry->place->epoch)
                return false;
        if (now_ms / 1000 != table->renewal_second) {
                table->renewal_second = now_ms / 1000;
                table->renewals = 0;
        }
        return table->renewals++ < DRIFT_RENEWALS_PER_SECOND;
}

/* ---- fed by a watch ---- */

static void wake_waiters(struct owner *owner)
{
        const struct waiter *waiter;

        owner->sequence++;
        for (waiter = owner->waiters; waiter; waiter = waiter->next)
                context_wake(waiter->handle);
}

/* The entry of managedFields that changed last and is not ours: who did it, probably. */
static struct view last_writer(const struct drift_table *table, struct view entries)
{
        struct scan scan = scan_begin(entries);
        struct view newest = VIEW_NULL, newest_time = VIEW_NULL;

        while (scan_next(&scan)) {
                struct view time = scan_string(scan_get(scan.value, "time"));

                if (view_is(scan_string(scan_get(scan.value, "manager")), table->settings.field_manager) ||
                    scan_get(scan.value, "subresource").data)
                        continue;
                if (!newest.data || view_compare(time, newest_time) >= 0) {
                        newest = scan.value;
                        newest_time = time;
                }
        }
        return newest;
}

static char *fields_of(struct view entry)
{
        cleanup(json_free) struct json *json = NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(error_release) struct error ignored = ERROR_NULL;
        const struct field_set *set = NULL;
        struct buffer text = BUFFER_NULL;

        if (json_parse(scan_get(entry, "fieldsV1"), &json, &ignored) == 0 && field_set_parse(json, arena, &set, &ignored) == 0)
                field_set_describe(set, REPORTED_FIELDS, &text);
        return buffer_steal(&text);
}

static struct report *report_new(const struct drift_table *table, const struct entry *entry, const struct drift_key *key,
                                 struct view object)
{
        struct report *report = memory_zero(1, sizeof(*report));
        struct view writer = entry->gone ? VIEW_NULL : last_writer(table, SCAN_PATH(object, "metadata", "managedFields"));
        struct view manager = scan_string(scan_get(writer, "manager"));

        report->owner_namespace = memory_string(entry->owner->namespace);
        report->owner_name = memory_string(entry->owner->name);
        report->namespace = memory_string(key->namespace);
        report->name = memory_string(key->name);
        report->resource = key->resource;
        report->deleted = entry->gone;
        report->manager = memory_string_n(manager.length ? manager.data : "", manager.length);
        report->fields = writer.data ? fields_of(writer) : memory_string("");
        return report;
}

/* The entry of a seen object; NULL if it has no owner and never had one. With the lock held. */
static struct entry *entry_of_seen(struct drift_table *table, const struct drift_key *key, struct view object)
{
        struct view labels = SCAN_PATH(object, "metadata", "labels");
        struct view name = scan_string(scan_get(labels, table->label_name));
        struct view namespace = scan_string(scan_get(labels, table->label_namespace));
        struct entry *entry = entry_find(table, key);

        if (!name.data || !namespace.data)
                return entry;
        if (entry && entry->owner && view_is(name, entry->owner->name) && view_is(namespace, entry->owner->namespace))
                return entry;
        if (entry)
                entry->verified = false; /* another has taken it over */
        return entry_get(table, key, owner_get(table, namespace, name));
}

static void see(const struct drift_table *table, struct entry *entry, struct view object)
{
        struct view uid = scan_string(SCAN_PATH(object, "metadata", "uid"));

        entry->live = drift_digest_of(table, object);
        entry->replaced = entry->verified && !view_is(uid, entry->uid);
        if (!entry->verified || entry->replaced)
                cut(uid, entry->uid, sizeof(entry->uid));
        entry->seen = true;
        entry->gone = false;
}

static void see_gone(struct entry *entry, struct view object)
{
        uint64_t version = version_of(scan_string(SCAN_PATH(object, "metadata", "resourceVersion")));

        /* A deletion that only a new list showed has no version of its own. */
        entry->live.resource_version = version ? version : entry->live.resource_version + 1;
        if (entry->live.resource_version <= entry->at.resource_version && !version)
                entry->live.resource_version = entry->at.resource_version + 1;
        entry->seen = true;
        entry->gone = true;
}

void drift_update(struct drift_table *table, const struct drift_key *key, enum drift_event event, struct view object)
{
        struct report *report = NULL;
        struct entry *entry;
        struct owner *owner;

        pthread_mutex_lock(&table->lock);
        entry = event == DRIFT_DELETED ? entry_find(table, key) : entry_of_seen(table, key, object);
        if (!entry || !entry->owner) {
                pthread_mutex_unlock(&table->lock);
                return;
        }
        owner = entry->owner;
        if (event == DRIFT_DELETED)
                see_gone(entry, object);
        else
                see(table, entry, object);
        wake_waiters(owner);
        if (drifted(entry) || (owner->running && entry->verified && moved(entry) && !as_verified(entry)))
                report = report_new(table, entry, key, object);
        if (report && owner->running) {
                report_free(&owner->pending);
                owner->pending = steal(&report);
        }
        if (entry->gone && !entry->verified)
                entry_remove(table, entry);
        pthread_mutex_unlock(&table->lock);
        report_send(table, report);
}

/*
 * A watch that begins tells what is there, not what is gone: what it did not show by the time it is synced has to be asked about. With the lock held.
 */
static void forget_unseen(struct drift_table *table, const struct place *place, bool synced)
{
        struct entry *entry;
        size_t i;

        for (i = 0; i < table->bucket_count; i++)
                for (entry = table->buckets[i]; entry; entry = entry->next) {
                        if (entry->place != place)
                                continue;
                        if (synced)
                                entry->verified = entry->verified && entry->seen;
                        else
                                entry->seen = false;
                }
}

void drift_watch_synced(struct drift_table *table, const struct kube_resource *resource, bool synced)
{
        struct place *place;

        pthread_mutex_lock(&table->lock);
        place = place_of(table, resource);
        if (place->synced != synced)
                forget_unseen(table, place, synced);
        place->synced = synced;
        if (synced)
                place->heard_ms = clock_now_ms();
        pthread_mutex_unlock(&table->lock);
}

void drift_watch_heard(struct drift_table *table, const struct kube_resource *resource, int64_t now_ms)
{
        pthread_mutex_lock(&table->lock);
        place_of(table, resource)->heard_ms = now_ms;
        pthread_mutex_unlock(&table->lock);
}

bool drift_watch_live(struct drift_table *table, const struct kube_resource *resource, int64_t now_ms)
{
        bool live;

        pthread_mutex_lock(&table->lock);
        live = place_live(place_of(table, resource), now_ms);
        pthread_mutex_unlock(&table->lock);
        return live;
}

/* ---- runs ---- */

void drift_run_begin(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        pthread_mutex_lock(&table->lock);
        owner_get(table, view_of(owner_namespace), view_of(owner_name))->running++;
        pthread_mutex_unlock(&table->lock);
}

void drift_run_end(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        struct report *report = NULL;
        struct owner *owner;
        struct entry *entry;

        pthread_mutex_lock(&table->lock);
        owner = owner_find(table, owner_namespace, owner_name);
        if (!owner || !owner->running) {
                pthread_mutex_unlock(&table->lock);
                return;
        }
        owner->running--;
        for (entry = owner->entries; entry && !drifted(entry); entry = entry->following)
                ;
        if (entry)
                report = steal(&owner->pending);
        report_free(&owner->pending);
        owner_drop_idle(table, owner);
        pthread_mutex_unlock(&table->lock);
        report_send(table, report);
}

enum drift_verdict drift_check(struct drift_table *table, const struct drift_key *key, const uint8_t wanted[DRIFT_HASH],
                               int64_t recheck_ms, int64_t now_ms, struct drift_live *ret_live)
{
        struct drift_live live = { .known = false };
        enum drift_verdict verdict = DRIFT_VERIFY;
        struct entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = entry_find(table, key);
        if (entry && entry->owner && place_live(entry->place, now_ms) && (entry->seen || entry->verified)) {
                bool same = entry->verified && !entry->replaced && !memcmp(entry->wanted, wanted, DRIFT_HASH);
                bool newer = moved(entry);

                live.known = true;
                live.exists = !(entry->gone && newer);
                live.digest = newer || !entry->verified ? entry->live : entry->at;
                memcpy(live.uid, entry->uid, sizeof(live.uid));
                live.verified = same && !renewal(table, entry, now_ms) && !due(entry, recheck_ms, now_ms);
                if (live.verified && as_verified(entry))
                        verdict = DRIFT_NONE;
        }
        pthread_mutex_unlock(&table->lock);
        *ret_live = live;
        return verdict;
}

void drift_verified(struct drift_table *table, const struct drift_key *key, const char *owner_namespace, const char *owner_name,
                    const uint8_t wanted[DRIFT_HASH], struct view answer, bool current, int64_t now_ms)
{
        struct drift_digest digest = drift_digest_of(table, answer);
        struct entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = entry_get(table, key, owner_get(table, view_of(owner_namespace), view_of(owner_name)));
        if (!entry->verified || digest.resource_version >= entry->at.resource_version) {
                entry->at = digest;
                cut(scan_string(SCAN_PATH(answer, "metadata", "uid")), entry->uid, sizeof(entry->uid));
                entry->replaced = false;
        }
        memcpy(entry->wanted, wanted, DRIFT_HASH);
        entry->verified = true;
        entry->verified_ms = now_ms;
        entry->epoch = table->epoch + entry->place->epoch;
        if (current)
                entry->current = digest.resource_version;
        pthread_mutex_unlock(&table->lock);
}

void drift_current(struct drift_table *table, const struct drift_key *key, const char *resource_version)
{
        struct entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = entry_find(table, key);
        if (entry)
                entry->current = version_of(view_of(resource_version));
        pthread_mutex_unlock(&table->lock);
}

static bool is_current(const struct entry *entry, int64_t now_ms)
{
        uint64_t latest = entry->at.resource_version;

        if (moved(entry))
                latest = entry->live.resource_version;
        return entry->current && !entry->gone && place_live(entry->place, now_ms) && entry->current >= latest;
}

bool drift_is_current(struct drift_table *table, const struct drift_key *key, int64_t now_ms)
{
        const struct entry *entry;
        bool current;

        pthread_mutex_lock(&table->lock);
        entry = entry_find(table, key);
        current = entry && is_current(entry, now_ms);
        pthread_mutex_unlock(&table->lock);
        return current;
}

bool drift_owner_quiet(struct drift_table *table, const char *owner_namespace, const char *owner_name, int64_t recheck_ms,
                       int64_t now_ms, size_t *ret_count, bool *ret_current)
{
        const struct owner *owner;
        struct entry *entry;
        bool quiet = true, current = true;
        size_t count = 0;

        pthread_mutex_lock(&table->lock);
        owner = owner_find(table, owner_namespace, owner_name);
        for (entry = owner ? owner->entries : NULL; entry && quiet; entry = entry->following) {
                if (!entry->verified)
                        continue;
                count++;
                quiet = place_live(entry->place, now_ms) && !entry->replaced && !due(entry, recheck_ms, now_ms) &&
                        as_verified(entry) && !renewal(table, entry, now_ms);
                current = current && is_current(entry, now_ms);
        }
        pthread_mutex_unlock(&table->lock);
        *ret_count = count;
        *ret_current = current;
        return quiet;
}

void drift_forget(struct drift_table *table, const struct drift_key *key)
{
        struct entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = entry_find(table, key);
        if (entry)
                entry_remove(table, entry);
        pthread_mutex_unlock(&table->lock);
}

void drift_epoch(struct drift_table *table, const struct kube_resource *resource, uint64_t epoch)
{
        pthread_mutex_lock(&table->lock);
        if (resource)
                place_of(table, resource)->epoch = epoch;
        else
                table->epoch = epoch;
        pthread_mutex_unlock(&table->lock);
}

/* ---- waiting ---- */

static void unlink_waiter(struct owner *owner, const struct waiter *waiter)
{
        struct waiter **at = &owner->waiters;

        while (*at != waiter)
                at = &(*at)->next;
        *at = waiter->next;
}

bool drift_wait(struct context *context, struct drift_table *table, const char *owner_namespace, const char *owner_name,
                uint64_t *sequence, int64_t timeout_ms)
{
        struct waiter waiter = { .handle = context_wake_handle() };
        int64_t until = clock_now_ms() + (timeout_ms < DAY_MS ? timeout_ms : DAY_MS);
        cleanup(error_release) struct error ignored = ERROR_NULL;
        struct owner *owner;
        bool changed;

        pthread_mutex_lock(&table->lock);
        owner = owner_get(table, view_of(owner_namespace), view_of(owner_name));
        waiter.next = owner->waiters;
        owner->waiters = &waiter;
        if (*sequence == 0)
                *sequence = owner->sequence + 1; /* counted from one: zero is "from now on" */
        for (;;) {
                int64_t left = until - clock_now_ms();
                int r;

                changed = owner->sequence + 1 > *sequence;
                if (changed || left <= 0)
                        break;
                pthread_mutex_unlock(&table->lock);
                r = context_poll(context, NULL, 0, left, &ignored);
                pthread_mutex_lock(&table->lock);
                if (r < 0)
                        break;
        }
        *sequence = owner->sequence + 1;
        unlink_waiter(owner, &waiter);
        owner_drop_idle(table, owner);
        pthread_mutex_unlock(&table->lock);
        return changed;
}
