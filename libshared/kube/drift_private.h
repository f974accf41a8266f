/*
 * drift_private: the table behind kube/drift.h, for the files of this room. Everything here is called with the table's lock held, unless it says otherwise.
 */
#pragma once

#include "base/uuid.h"
#include "kube/client.h"
#include "kube/drift.h"
#include "kube/managed_fields.h"
#include "kube/steer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRIFT_BUCKETS  256 /* at the start; a power of two */
#define DRIFT_RUN_BITS 24

struct drift_entry;
struct drift_owned_report;

/* A kind, whatever the version, and how its watch is doing. */
struct drift_place {
        struct drift_place *next;
        char *group, *kind;
        bool synced;
        int64_t heard_ms;
        uint32_t epoch;
};

struct drift_waiter {
        struct drift_waiter *next;
        int handle;
};

struct drift_owner {
        struct drift_owner *next;
        char *namespace, *name;
        struct drift_entry *entries;
        unsigned running;              /* runs that have begun */
        uint32_t run : DRIFT_RUN_BITS; /* the number of the last one, which wraps */
        uint64_t sequence;
        struct drift_waiter *waiters;
};

struct drift_entry {
        struct drift_entry *next;              /* in the bucket */
        struct drift_entry *following, **link; /* in the owner's list */
        struct drift_owner *owner;
        struct drift_place *place;
        uint8_t key[16], wanted[DRIFT_HASH];
        struct drift_digest at, live; /* when it was verified, and as the watch saw it last */
        uint64_t current;             /* resourceVersion at which it was Current */
        int64_t verified_ms;
        int64_t listed_ms;                  /* when a list, and no watch, told of it last; 0: never */
        struct drift_owned_report *pending; /* the last suspicion while a run of the owner was under way */
        union {
                uint8_t uid[UUID_BYTES];
                char *uid_text; /* one that is no UUID; NULL: not known */
        };
        uint32_t epoch;
        uint32_t run : DRIFT_RUN_BITS; /* of the owner, that last asked about it or verified it */
        bool uid_is_text : 1;
        bool verified : 1, seen : 1, gone : 1, replaced : 1; /* seen: `live` is set; replaced: another uid than the verified one */
        bool by_list : 1;                                    /* seen by a list only: a watch that begins has not shown it yet */
        bool doubted : 1;  /* verified, and not shown by the list of a watch: it may be gone, or be shown later */
        bool finishes : 1; /* a Job that the cluster deletes when it has finished */
};
_Static_assert(sizeof(struct drift_entry) <= 192, "there are ten thousand of them");

struct drift_table {
        struct drift_settings settings;
        struct field_takeover takeovers[STEER_TAKEOVERS];
        size_t takeover_count;
        char **override;
        char *label_name, *label_namespace;
        pthread_mutex_t lock;
        struct drift_entry **buckets;
        size_t bucket_count, count;
        struct drift_owner *owners[DRIFT_BUCKETS];
        struct drift_place *places;
        uint32_t epoch;
        int64_t renewal_second;
        unsigned renewals;
};

/* A drift_report that owns its texts, for calling back without the lock. */
struct drift_owned_report {
        struct drift_owned_report *next; /* of several that are to be sent */
        char *owner_namespace, *owner_name, *namespace, *name, *manager, *fields;
        const struct kube_resource *resource;
        bool deleted, by_run;
};

/* ---- drift_table.c ---- */

/* The kind of a resource, whatever the version; made if it is not known. */
struct drift_place *drift_place(struct drift_table *table, const struct kube_resource *resource);
bool drift_place_live(const struct drift_place *place, int64_t now_ms);

struct drift_owner *drift_owner_find(struct drift_table *table, const char *namespace, const char *name);
struct drift_owner *drift_owner(struct drift_table *table, struct view namespace, struct view name);
/* Nothing points at an owner without entries, runs and waiters: it goes. */
void drift_owner_drop_idle(struct drift_table *table, struct drift_owner *owner);

struct drift_entry *drift_entry_find(struct drift_table *table, const struct drift_key *key);
/* That of the object as it was verified, or else as the watch saw it. */
void drift_entry_set_uid(struct drift_entry *entry, struct view uid);
bool drift_entry_has_uid(const struct drift_entry *entry, struct view uid);
/* "" if it is not known. */
void drift_entry_uid(const struct drift_entry *entry, char text[DRIFT_UID]);
/* Made if it is not known; belongs to the owner from then on. */
struct drift_entry *drift_entry(struct drift_table *table, const struct drift_key *key, struct drift_owner *owner);
void drift_entry_remove(struct drift_table *table, struct drift_entry *entry);

/* ---- drift_report.c ---- */

/* What the entry's owner is told of its object as just seen. */
struct drift_owned_report *drift_report_new(const struct drift_table *table, const struct drift_entry *entry,
                                            const struct drift_key *key, struct view object);
/* Without the lock; takes the report and those that follow it over. NULL is fine. */
void drift_report_send(struct drift_table *table, struct drift_owned_report *report);
void drift_report_free(struct drift_owned_report **report);

/* ---- drift_entry.c ---- */

/* The watch knows something newer than the verification. */
bool drift_moved(const struct drift_entry *entry);
/* It has finished and is gone, as it was to: nobody has touched it. The owner's next run makes it anew, and to wake it for that would run it for ever. */
bool drift_done(const struct drift_entry *entry);
/* Somebody has touched what the owner applied: worth waking it for. What merely may have changed waits for its next run. */
bool drift_touched(const struct drift_entry *entry);
/* What is known of it is of now: by a live watch, or by a list of this moment. */
bool drift_fresh(const struct drift_entry *entry, int64_t now_ms);
/* As verified; what moved without touching anything of ours becomes the verified state. */
bool drift_as_verified(struct drift_entry *entry);

/* ---- drift_digest.c ---- */

/* Nobody touched what we applied. Needs no lock. */
bool drift_same_applied(const struct drift_digest *a, const struct drift_digest *b);
uint64_t drift_version_of(struct view text); /* of a resourceVersion; 0 if it is none */
/* The text as a C string, cut to the buffer, which is returned. */
const char *drift_cut(struct view text, char *buffer, size_t size);
