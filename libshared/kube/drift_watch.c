#include "kube/drift_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "data/scan.h"

static void wake_waiters(struct drift_owner *owner)
{
        const struct drift_waiter *waiter;

        owner->sequence++;
        for (waiter = owner->waiters; waiter; waiter = waiter->next)
                context_wake(waiter->handle);
}

/* The entry of a seen object; NULL if it has no owner and never had one. With the lock held. */
static struct drift_entry *entry_of_seen(struct drift_table *table, const struct drift_key *key, struct view object)
{
        struct view labels = SCAN_PATH(object, "metadata", "labels");
        struct view name = scan_string(scan_get(labels, table->label_name));
        struct view namespace = scan_string(scan_get(labels, table->label_namespace));
        struct drift_entry *entry = drift_entry_find(table, key);

        if (!name.data || !namespace.data)
                return entry;
        if (entry && entry->owner && view_is(name, entry->owner->name) && view_is(namespace, entry->owner->namespace))
                return entry;
        if (entry)
                entry->verified = false; /* another has taken it over */
        return drift_entry(table, key, drift_owner(table, namespace, name));
}

static void see(const struct drift_table *table, struct drift_entry *entry, struct view object)
{
        struct view uid = scan_string(SCAN_PATH(object, "metadata", "uid"));

        entry->live = drift_digest_of(table, object);
        entry->replaced = entry->verified && !drift_entry_has_uid(entry, uid);
        if (!entry->verified || entry->replaced)
                drift_entry_set_uid(entry, uid);
        entry->seen = true;
        entry->gone = entry->by_list = entry->doubted = false;
}

static void see_gone(struct drift_entry *entry, struct view object)
{
        uint64_t version = drift_version_of(scan_string(SCAN_PATH(object, "metadata", "resourceVersion")));

        /* A deletion that only a new list showed has no version of its own. */
        entry->live.resource_version = version ? version : entry->live.resource_version + 1;
        if (entry->live.resource_version <= entry->at.resource_version && !version)
                entry->live.resource_version = entry->at.resource_version + 1;
        entry->seen = true;
        entry->gone = true;
        entry->by_list = entry->doubted = false;
}

void drift_update(struct drift_table *table, const struct drift_key *key, enum drift_event event, struct view object)
{
        struct drift_owned_report *report = NULL;
        struct drift_entry *entry;
        struct drift_owner *owner;

        pthread_mutex_lock(&table->lock);
        entry = event == DRIFT_DELETED ? drift_entry_find(table, key) : entry_of_seen(table, key, object);
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
        if (drift_touched(entry) ||
            (owner->running && entry->verified && drift_moved(entry) && !drift_done(entry) && !drift_as_verified(entry)))
                report = drift_report_new(table, entry, key, object);
        if (report && owner->running) {
                drift_report_free(&entry->pending);
                entry->pending = steal(&report);
        }
        if (entry->gone && !entry->verified)
                drift_entry_remove(table, entry);
        pthread_mutex_unlock(&table->lock);
        drift_report_send(table, report);
}

void drift_listed(struct drift_table *table, const struct drift_key *key, struct view object, int64_t now_ms)
{
        struct drift_owned_report *report = NULL;
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        if (entry && entry->owner && entry->verified && !drift_place_live(entry->place, now_ms)) {
                if (object.length)
                        see(table, entry, object);
                else
                        see_gone(entry, object);
                entry->by_list = true;
                entry->listed_ms = now_ms;
                if (drift_touched(entry))
                        report = drift_report_new(table, entry, key, object);
                if (report)
                        report->by_run = true;
        }
        pthread_mutex_unlock(&table->lock);
        drift_report_send(table, report);
}

void drift_unlist(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        const struct drift_owner *owner;
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner_find(table, owner_namespace, owner_name);
        for (entry = owner ? owner->entries : NULL; entry; entry = entry->following)
                entry->listed_ms = 0;
        pthread_mutex_unlock(&table->lock);
}

bool drift_unseen(struct drift_table *table, const struct drift_key *key, int64_t now_ms)
{
        const struct drift_entry *entry;
        bool unseen;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        unseen = entry && entry->verified && !drift_fresh(entry, now_ms);
        pthread_mutex_unlock(&table->lock);
        return unseen;
}

bool drift_owner_unseen(struct drift_table *table, const char *owner_namespace, const char *owner_name, int64_t now_ms)
{
        const struct drift_entry *entry;
        const struct drift_owner *owner;
        bool unseen = false;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner_find(table, owner_namespace, owner_name);
        for (entry = owner ? owner->entries : NULL; entry && !unseen; entry = entry->following)
                unseen = entry->verified && !drift_fresh(entry, now_ms);
        pthread_mutex_unlock(&table->lock);
        return unseen;
}

/*
 * A watch that begins tells what is there, not what is gone: what it did not show by the time it is synced has to be asked about. It may as well have been
 * applied since, and its event be under way: whoever touches it after that still wakes the owner. With the lock held.
 */
static void forget_unseen(struct drift_table *table, const struct drift_place *place, bool synced)
{
        struct drift_entry *entry;
        size_t i;

        for (i = 0; i < table->bucket_count; i++)
                for (entry = table->buckets[i]; entry; entry = entry->next) {
                        if (entry->place != place)
                                continue;
                        if (synced)
                                entry->doubted = entry->verified && (!entry->seen || entry->by_list);
                        else
                                entry->seen = false;
                }
}

void drift_watch_synced(struct drift_table *table, const struct kube_resource *resource, bool synced)
{
        struct drift_place *place;

        pthread_mutex_lock(&table->lock);
        place = drift_place(table, resource);
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
        drift_place(table, resource)->heard_ms = now_ms;
        pthread_mutex_unlock(&table->lock);
}
