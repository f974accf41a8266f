/*
 * What an entry of the table says: its object as it was verified, held against what was seen since.
 */
#include "kube/drift_private.h"

bool drift_moved(const struct drift_entry *entry)
{
        return entry->seen && entry->live.resource_version > entry->at.resource_version;
}

bool drift_fresh(const struct drift_entry *entry, int64_t now_ms)
{
        return drift_place_live(entry->place, now_ms) || (entry->listed_ms && now_ms - entry->listed_ms < DRIFT_LISTED_MS);
}

bool drift_done(const struct drift_entry *entry)
{
        return entry->gone && entry->finishes;
}

bool drift_touched(const struct drift_entry *entry)
{
        if (!entry->verified || !drift_moved(entry) || drift_done(entry))
                return false;
        return entry->gone || entry->replaced || !drift_same_applied(&entry->at, &entry->live);
}

bool drift_as_verified(struct drift_entry *entry)
{
        if (!drift_moved(entry))
                return true;
        if (entry->gone || entry->replaced || !drift_digest_same(&entry->at, &entry->live))
                return false;
        entry->at = entry->live;
        return true;
}
