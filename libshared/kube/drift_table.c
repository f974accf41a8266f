#include "kube/drift_private.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/pool.h"
#include "data/digest.h"

#include <stdlib.h>
#include <string.h>

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
        table->bucket_count = DRIFT_BUCKETS;
        table->buckets = pool_allocate(table->bucket_count * sizeof(struct drift_entry *));
        pthread_mutex_init(&table->lock, NULL);
        return table;
}

void drift_entry_set_uid(struct drift_entry *entry, struct view uid)
{
        if (entry->uid_is_text)
                pool_free(entry->uid_text);
        entry->uid_is_text = !uuid_pack(uid, entry->uid);
        if (entry->uid_is_text)
                entry->uid_text = uid.length ? pool_string_n(uid.data, uid.length) : NULL;
}

bool drift_entry_has_uid(const struct drift_entry *entry, struct view uid)
{
        uint8_t bytes[UUID_BYTES];

        if (entry->uid_is_text)
                return view_is(uid, entry->uid_text ? entry->uid_text : "");
        return uuid_pack(uid, bytes) && memcmp(entry->uid, bytes, sizeof(bytes)) == 0;
}

void drift_entry_uid(const struct drift_entry *entry, char text[DRIFT_UID])
{
        if (entry->uid_is_text)
                drift_cut(view_of(entry->uid_text ? entry->uid_text : ""), text, DRIFT_UID);
        else
                uuid_unpack(entry->uid, text);
}

static void entry_free(struct drift_entry *entry)
{
        if (entry->uid_is_text)
                pool_free(entry->uid_text);
        pool_free(entry);
}

static void owner_free(struct drift_owner *owner)
{
        pool_free(owner->namespace);
        pool_free(owner->name);
        pool_free(owner);
}

void drift_table_free(struct drift_table **pointer)
{
        struct drift_table *table = steal(pointer);
        size_t i;

        if (!table)
                return;
        for (i = 0; i < table->bucket_count; i++)
                while (table->buckets[i]) {
                        struct drift_entry *entry = table->buckets[i];

                        table->buckets[i] = entry->next;
                        drift_report_free(&entry->pending);
                        entry_free(entry);
                }
        for (i = 0; i < DRIFT_BUCKETS; i++)
                while (table->owners[i]) {
                        struct drift_owner *owner = table->owners[i];

                        table->owners[i] = owner->next;
                        owner_free(owner);
                }
        while (table->places) {
                struct drift_place *place = table->places;

                table->places = place->next;
                pool_free(place->group);
                pool_free(place->kind);
                pool_free(place);
        }
        for (i = 0; table->override[i]; i++)
                free(table->override[i]);
        free(table->override);
        free(table->label_name);
        free(table->label_namespace);
        free((char *)(uintptr_t)table->settings.field_manager);
        free((char *)(uintptr_t)table->settings.label_group);
        pool_free(table->buckets);
        pthread_mutex_destroy(&table->lock);
        free(table);
}

struct drift_place *drift_place(struct drift_table *table, const struct kube_resource *resource)
{
        struct drift_place *place;

        for (place = table->places; place; place = place->next)
                if (!strcmp(place->kind, resource->kind) && !strcmp(place->group, resource->group))
                        return place;
        place = pool_allocate(sizeof(*place));
        place->group = pool_string(resource->group);
        place->kind = pool_string(resource->kind);
        place->next = table->places;
        table->places = place;
        return place;
}

bool drift_place_live(const struct drift_place *place, int64_t now_ms)
{
        return place->synced && now_ms - place->heard_ms < DRIFT_WATCH_STALE_MS;
}

static struct drift_owner **owner_slot(struct drift_table *table, struct view namespace, struct view name)
{
        struct drift_owner **slot = &table->owners[hash_add(hash_add(HASH_EMPTY, namespace), name) % DRIFT_BUCKETS];

        while (*slot && !(view_is(name, (*slot)->name) && view_is(namespace, (*slot)->namespace)))
                slot = &(*slot)->next;
        return slot;
}

struct drift_owner *drift_owner_find(struct drift_table *table, const char *namespace, const char *name)
{
        return *owner_slot(table, view_of(namespace), view_of(name));
}

struct drift_owner *drift_owner(struct drift_table *table, struct view namespace, struct view name)
{
        struct drift_owner **slot = owner_slot(table, namespace, name);

        if (!*slot) {
                *slot = pool_allocate(sizeof(**slot));
                (*slot)->namespace = pool_string_n(namespace.data, namespace.length);
                (*slot)->name = pool_string_n(name.data, name.length);
        }
        return *slot;
}

/* Nothing points at an owner without entries, runs and waiters. */
void drift_owner_drop_idle(struct drift_table *table, struct drift_owner *owner)
{
        struct drift_owner **slot;

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

static struct drift_entry **entry_slot(struct drift_table *table, const uint8_t hash[16])
{
        struct drift_entry **slot = &table->buckets[bucket_of(table, hash)];

        while (*slot && memcmp((*slot)->key, hash, 16) != 0)
                slot = &(*slot)->next;
        return slot;
}

struct drift_entry *drift_entry_find(struct drift_table *table, const struct drift_key *key)
{
        uint8_t hash[16];

        key_of(key, hash);
        return *entry_slot(table, hash);
}

static void grow(struct drift_table *table)
{
        size_t i, old_count = table->bucket_count;
        struct drift_entry **old = table->buckets;

        table->bucket_count *= 2;
        table->buckets = pool_allocate(table->bucket_count * sizeof(struct drift_entry *));
        for (i = 0; i < old_count; i++)
                while (old[i]) {
                        struct drift_entry *entry = old[i];
                        struct drift_entry **bucket = &table->buckets[bucket_of(table, entry->key)];

                        old[i] = entry->next;
                        entry->next = *bucket;
                        *bucket = entry;
                }
        pool_free(old);
}

static void entry_leave(struct drift_entry *entry)
{
        if (!entry->owner)
                return;
        drift_report_free(&entry->pending);
        *entry->link = entry->following;
        if (entry->following)
                entry->following->link = entry->link;
        entry->owner = NULL;
}

static void entry_join(struct drift_table *table, struct drift_entry *entry, struct drift_owner *owner)
{
        struct drift_owner *old = entry->owner;

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
                drift_owner_drop_idle(table, old);
}

struct drift_entry *drift_entry(struct drift_table *table, const struct drift_key *key, struct drift_owner *owner)
{
        uint8_t hash[16];
        struct drift_entry **slot;
        struct drift_entry *entry;

        key_of(key, hash);
        entry = *entry_slot(table, hash);
        if (!entry) {
                if (table->count >= table->bucket_count)
                        grow(table);
                slot = entry_slot(table, hash);
                entry = pool_allocate(sizeof(*entry));
                entry->uid_is_text = true;
                memcpy(entry->key, hash, 16);
                entry->place = drift_place(table, key->resource);
                *slot = entry;
                table->count++;
        }
        entry_join(table, entry, owner);
        return entry;
}

void drift_entry_remove(struct drift_table *table, struct drift_entry *entry)
{
        struct drift_entry **slot = entry_slot(table, entry->key);
        struct drift_owner *owner = entry->owner;

        *slot = entry->next;
        entry_leave(entry);
        entry_free(entry);
        table->count--;
        if (owner)
                drift_owner_drop_idle(table, owner);
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
        bytes = sizeof(*table) + table->count * sizeof(struct drift_entry) + table->bucket_count * sizeof(struct drift_entry *);
        pthread_mutex_unlock(&table->lock);
        return bytes;
}
