#include "kube/drift_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "data/scan.h"

#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)

/* ---- judging ---- */

/* Verified, and nothing speaks against it being there. */
static bool proven(const struct drift_entry *entry)
{
        return entry->verified && !entry->doubted;
}

/* Objects come due at different times of the last half of the period. */
static bool due(const struct drift_entry *entry, int64_t recheck_ms, int64_t now_ms)
{
        int64_t share = recheck_ms / 2 + recheck_ms / 2 * entry->key[8] / 256;

        return now_ms - entry->verified_ms > share;
}

/* A new epoch verifies everything anew, so many a second. */
static bool renewal(struct drift_table *table, const struct drift_entry *entry, int64_t now_ms)
{
        if (entry->epoch == table->epoch + entry->place->epoch)
                return false;
        if (now_ms / 1000 != table->renewal_second) {
                table->renewal_second = now_ms / 1000;
                table->renewals = 0;
        }
        return table->renewals++ < DRIFT_RENEWALS_PER_SECOND;
}

/* ---- runs ---- */

void drift_run_begin(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        struct drift_owner *owner;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner(table, view_of(owner_namespace), view_of(owner_name));
        owner->running++;
        owner->run++;
        pthread_mutex_unlock(&table->lock);
}

void drift_run_end(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        struct drift_owned_report *reports = NULL, **last = &reports;
        struct drift_owner *owner;
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner_find(table, owner_namespace, owner_name);
        if (!owner || !owner->running) {
                pthread_mutex_unlock(&table->lock);
                return;
        }
        owner->running--;
        for (entry = owner->entries; entry; entry = entry->following)
                if (entry->pending && drift_touched(entry)) {
                        *last = steal(&entry->pending);
                        last = &(*last)->next;
                } else {
                        drift_report_free(&entry->pending);
                }
        drift_owner_drop_idle(table, owner);
        pthread_mutex_unlock(&table->lock);
        drift_report_send(table, reports);
}

void drift_run_complete(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        const struct drift_owner *owner;
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner_find(table, owner_namespace, owner_name);
        for (entry = owner && owner->running ? owner->entries : NULL; entry; entry = entry->following)
                entry->verified = entry->verified && entry->run == owner->run;
        pthread_mutex_unlock(&table->lock);
}

enum drift_verdict drift_check(struct drift_table *table, const struct drift_key *key, const uint8_t wanted[DRIFT_HASH],
                               int64_t recheck_ms, int64_t now_ms, struct drift_live *ret_live)
{
        struct drift_live live = { .known = false };
        enum drift_verdict verdict = DRIFT_VERIFY;
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        if (entry && entry->owner)
                entry->run = entry->owner->run;
        if (entry && entry->owner && drift_fresh(entry, now_ms) && (entry->seen || proven(entry))) {
                bool same = proven(entry) && !entry->replaced && !memcmp(entry->wanted, wanted, DRIFT_HASH);
                bool newer = drift_moved(entry);

                live.known = true;
                live.exists = !(entry->gone && newer);
                live.digest = newer || !proven(entry) ? entry->live : entry->at;
                drift_entry_uid(entry, live.uid);
                live.same = same;
                live.verified = same && !renewal(table, entry, now_ms) && !due(entry, recheck_ms, now_ms);
                if (live.verified && drift_as_verified(entry))
                        verdict = DRIFT_NONE;
        }
        pthread_mutex_unlock(&table->lock);
        *ret_live = live;
        return verdict;
}

bool drift_finishes(const char *group, const char *kind, struct view object)
{
        return !strcmp(kind, "Job") && !strcmp(group, "batch") && SCAN_PATH(object, "spec", "ttlSecondsAfterFinished").data;
}

void drift_verified(struct drift_table *table, const struct drift_key *key, const char *owner_namespace, const char *owner_name,
                    const uint8_t wanted[DRIFT_HASH], struct view answer, bool current, int64_t now_ms)
{
        struct drift_digest digest = drift_digest_of(table, answer);
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry(table, key, drift_owner(table, view_of(owner_namespace), view_of(owner_name)));
        if (!entry->verified || digest.resource_version >= entry->at.resource_version) {
                entry->at = digest;
                drift_entry_set_uid(entry, scan_string(SCAN_PATH(answer, "metadata", "uid")));
                entry->replaced = false;
        }
        entry->finishes = drift_finishes(key->resource->group, key->resource->kind, answer);
        memcpy(entry->wanted, wanted, DRIFT_HASH);
        entry->verified = true;
        entry->doubted = false;
        entry->run = entry->owner->run;
        entry->verified_ms = now_ms;
        entry->epoch = table->epoch + entry->place->epoch;
        if (current)
                entry->current = digest.resource_version;
        pthread_mutex_unlock(&table->lock);
}

void drift_current(struct drift_table *table, const struct drift_key *key, const char *resource_version)
{
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        if (entry)
                entry->current = drift_version_of(view_of(resource_version));
        pthread_mutex_unlock(&table->lock);
}

struct drift_versions drift_versions(struct drift_table *table, const struct drift_key *key, int64_t now_ms)
{
        struct drift_versions versions = { 0 };
        const struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        if (entry && proven(entry))
                versions.verified = entry->at.resource_version;
        if (entry && drift_place_live(entry->place, now_ms)) {
                versions.seen = versions.verified;
                if (entry->seen && entry->live.resource_version > versions.seen)
                        versions.seen = entry->live.resource_version;
        }
        pthread_mutex_unlock(&table->lock);
        return versions;
}

static bool is_current(const struct drift_entry *entry, int64_t now_ms)
{
        uint64_t latest = entry->at.resource_version;

        if (drift_moved(entry))
                latest = entry->live.resource_version;
        return entry->current && !entry->gone && drift_fresh(entry, now_ms) && entry->current >= latest;
}

bool drift_is_current(struct drift_table *table, const struct drift_key *key, int64_t now_ms)
{
        const struct drift_entry *entry;
        bool current;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        current = entry && is_current(entry, now_ms);
        pthread_mutex_unlock(&table->lock);
        return current;
}

bool drift_owner_quiet(struct drift_table *table, const char *owner_namespace, const char *owner_name, int64_t recheck_ms,
                       int64_t now_ms, size_t *ret_count, bool *ret_current)
{
        const struct drift_owner *owner;
        struct drift_entry *entry;
        bool quiet = true, current = true;
        size_t count = 0;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner_find(table, owner_namespace, owner_name);
        for (entry = owner ? owner->entries : NULL; entry && quiet; entry = entry->following) {
                if (!proven(entry))
                        continue;
                count++;
                quiet = drift_fresh(entry, now_ms) && !entry->replaced && !due(entry, recheck_ms, now_ms) &&
                        drift_as_verified(entry) && !renewal(table, entry, now_ms);
                current = current && is_current(entry, now_ms);
        }
        pthread_mutex_unlock(&table->lock);
        *ret_count = count;
        *ret_current = current;
        return quiet;
}

void drift_release(struct drift_table *table, const struct drift_key *key)
{
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        if (entry)
                entry->verified = false;
        pthread_mutex_unlock(&table->lock);
}

void drift_forget(struct drift_table *table, const struct drift_key *key)
{
        struct drift_entry *entry;

        pthread_mutex_lock(&table->lock);
        entry = drift_entry_find(table, key);
        if (entry)
                drift_entry_remove(table, entry);
        pthread_mutex_unlock(&table->lock);
}

void drift_forget_owner(struct drift_table *table, const char *owner_namespace, const char *owner_name)
{
        struct drift_owner *owner;

        pthread_mutex_lock(&table->lock);
        /* The last entry may take the owner along. */
        while ((owner = drift_owner_find(table, owner_namespace, owner_name)) && owner->entries)
                drift_entry_remove(table, owner->entries);
        pthread_mutex_unlock(&table->lock);
}

void drift_epoch(struct drift_table *table, const struct kube_resource *resource, uint32_t epoch)
{
        pthread_mutex_lock(&table->lock);
        if (resource)
                drift_place(table, resource)->epoch = epoch;
        else
                table->epoch = epoch;
        pthread_mutex_unlock(&table->lock);
}

void drift_restart(struct drift_table *table, const struct kube_resource *resource)
{
        const struct drift_place *place;

        pthread_mutex_lock(&table->lock);
        place = resource ? drift_place(table, resource) : NULL;
        for (size_t i = 0; i < table->bucket_count; i++)
                for (struct drift_entry *entry = table->buckets[i]; entry; entry = entry->next) {
                        if (place && entry->place != place)
                                continue;
                        entry->verified = entry->doubted = entry->seen = entry->replaced = entry->gone = false;
                        entry->current = 0;
                        entry->listed_ms = 0;
                }
        pthread_mutex_unlock(&table->lock);
}

/* ---- waiting ---- */

static void unlink_waiter(struct drift_owner *owner, const struct drift_waiter *waiter)
{
        struct drift_waiter **at = &owner->waiters;

        while (*at != waiter)
                at = &(*at)->next;
        *at = waiter->next;
}

bool drift_wait(struct context *context, struct drift_table *table, const char *owner_namespace, const char *owner_name,
                uint64_t *sequence, int64_t timeout_ms)
{
        struct drift_waiter waiter = { .handle = context_wake_handle() };
        int64_t until = clock_now_ms() + (timeout_ms < DAY_MS ? timeout_ms : DAY_MS);
        cleanup(error_release) struct error ignored = ERROR_NULL;
        struct drift_owner *owner;
        bool changed;

        pthread_mutex_lock(&table->lock);
        owner = drift_owner(table, view_of(owner_namespace), view_of(owner_name));
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
        drift_owner_drop_idle(table, owner);
        pthread_mutex_unlock(&table->lock);
        return changed;
}
