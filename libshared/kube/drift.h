/*
 * drift: what we know about the objects that we applied, so that a run asks the server only about those that may have changed.
 *
 * One table for a cluster. For each object it keeps, in some 200 bytes, what was there when it was last verified (resourceVersion, generation, digests
 * of labels and annotations and of our own entry in managedFields, the digest of what was wanted) and what a metadata watch says is there
 * now. Equal: nothing has to be asked. Different in what may be drift: the owner is woken at once. (Not for a Job with ttlSecondsAfterFinished
 * that is gone: the cluster deletes it when it is done, and each wake would run it once more.)
 *
 * Owners are found by their labels (`<label_group>/name`, `<label_group>/namespace`). A watch counts only while it is synced and has been heard
 * of within DRIFT_WATCH_STALE_MS; without it every object has to be asked about. From any thread.
 */
#pragma once

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct kube_resource;
struct drift_table;

#define DRIFT_HASH           16 /* bytes of a digest of what is wanted */
#define DRIFT_UID            40
#define DRIFT_WATCH_STALE_MS 150000

struct drift_key {
        const struct kube_resource *resource; /* any version of it */
        const char *namespace, *name;         /* namespace "" if it has none */
};

/* Who did it and what it touched, for the log and the event: `kubectl-edit` changed ".spec.replicas". */
struct drift_report {
        const struct kube_resource *resource;
        const char *namespace, *name; /* of the object */
        bool deleted;
        bool by_run;         /* a run of the owner found it: nobody has to be woken */
        const char *manager; /* "" if nobody can be named */
        const char *fields;  /* as field_set_describe; "" if unknown */
};

struct drift_settings {
        const char *field_manager;            /* ours */
        const char *label_group;              /* "kustomize.toolkit.fluxcd.io" */
        const char *const *override_managers; /* taken over beside the built-in ones; ends with NULL; may be NULL */
        /*
         * Something that the owner applied is not as it was: the owner is to be woken, unless a run of its own found it. On the thread that
         * fed the table, without locks held. The report is borrowed.
         */
        void (*wake)(void *data, const char *owner_namespace, const char *owner_name, const struct drift_report *report);
        void *data;
};

/* The texts are copied. */
struct drift_table *drift_table_new(const struct drift_settings *settings);
void drift_table_free(struct drift_table **table); /* for cleanup; NULL is fine */
size_t drift_table_count(struct drift_table *table);
/* Bytes in use, for metrics and tests. */
size_t drift_table_bytes(struct drift_table *table);

/* ---- fed by the watch of a resource (any version of it) ---- */

enum drift_event {
        DRIFT_SEEN,    /* added, modified, or part of a list */
        DRIFT_DELETED, /* also: does not match the watch's selector any more */
};
/*
 * `object` is the text of a PartialObjectMetadata or of the whole object, with managedFields; it may be empty for a deletion. What cannot be read
 * is ignored.
 */
void drift_update(struct drift_table *table, const struct drift_key *key, enum drift_event event, struct view object);
/* The watch has delivered everything that was there / has ended and will list anew. */
void drift_watch_synced(struct drift_table *table, const struct kube_resource *resource, bool synced);
/* An event or a bookmark came. */
void drift_watch_heard(struct drift_table *table, const struct kube_resource *resource, int64_t now_ms);

/* ---- fed by a run, where there is no watch ---- */

/*
 * What a list of the owner's objects shows of one of them counts for this run, for DRIFT_LISTED_MS, as what a live watch would show: `object` as for drift_update, empty:
 * it was not in the list. Only of what is verified; what drifted is reported as found by a run.
 */
#define DRIFT_LISTED_MS 10000
void drift_listed(struct drift_table *table, const struct drift_key *key, struct view object, int64_t now_ms);
/* A new run of the owner: former lists count no more. */
void drift_unlist(struct drift_table *table, const char *owner_namespace, const char *owner_name);
/* It was verified, and neither a watch nor a list tells how it is now. The same of any object of an owner. */
bool drift_unseen(struct drift_table *table, const struct drift_key *key, int64_t now_ms);
bool drift_owner_unseen(struct drift_table *table, const char *owner_namespace, const char *owner_name, int64_t now_ms);

/* ---- asked by a run ---- */

/*
 * A run of this owner begins and ends: events in between are judged at the end, when the table knows what the run itself wrote. Runs of one owner
 * do not overlap.
 */
void drift_run_begin(struct drift_table *table, const char *owner_namespace, const char *owner_name);
void drift_run_end(struct drift_table *table, const char *owner_namespace, const char *owner_name);

/*
 * A run went through all that its owner wants: what it did not ask about since its beginning is not the owner's any more, and counts as
 * never verified.
 */
void drift_run_complete(struct drift_table *table, const char *owner_namespace, const char *owner_name);

/* What of an object tells whether somebody touched what is ours. */
struct drift_digest {
        uint64_t resource_version;
        int64_t generation; /* 0: the kind has none */
        uint64_t applied;   /* of our own entry in managedFields; 0: there is none */
        uint32_t texts;     /* a digest of labels, annotations, finalizers and owners */
        bool skip : 1;      /* carries reconcile: disabled or ssa: Ignore */
        bool merge : 1;     /* ssa: Merge */
        bool force : 1;     /* force: enabled */
        bool keep : 1;      /* prune: disabled */
        bool foreign : 1;   /* has a manager that is taken over, or metadata that is removed */
        bool owned : 1;     /* carries an owner's labels */
};

/* What a live watch knows about an object. */
struct drift_live {
        bool known; /* the rest counts */
        bool exists;
        bool same;     /* the same was wanted when it was last verified */
        bool verified; /* and that counts still */
        struct drift_digest digest;
        char uid[DRIFT_UID];
};

/* The digest of an object's text, as the table makes it. */
struct drift_digest drift_digest_of(const struct drift_table *table, struct view object);
/* True if one is the other but for its status and what others keep in its metadata. */
bool drift_digest_same(const struct drift_digest *a, const struct drift_digest *b);

/*
 *  DRIFT_NONE    as verified: nothing to ask
 *  DRIFT_VERIFY  ask the server; ret_live says what is known without asking
 *
 * `wanted` is the digest of all that decides about the object; `recheck_ms` the age at which a verification is renewed even if nothing is seen
 * (each object has its own share of it).
 */
enum drift_verdict {
        DRIFT_NONE,
        DRIFT_VERIFY,
};
enum drift_verdict drift_check(struct drift_table *table, const struct drift_key *key, const uint8_t wanted[DRIFT_HASH],
                               int64_t recheck_ms, int64_t now_ms, struct drift_live *ret_live);

/* Verified, by the text that a dry run which changed nothing or an apply answered; `current`: its status was Current. */
void drift_verified(struct drift_table *table, const struct drift_key *key, const char *owner_namespace, const char *owner_name,
                    const uint8_t wanted[DRIFT_HASH], struct view answer, bool current, int64_t now_ms);
/* A Job that the cluster deletes when it has finished: `object` is its text. Gone, it is done. */
bool drift_finishes(const char *group, const char *kind, struct view object);
/* Was seen Current with that resourceVersion. */
void drift_current(struct drift_table *table, const struct drift_key *key, const char *resource_version);
/* Versions of an object: as it was verified, 0: it is not; the newest that a live watch has shown or that was verified under one, 0: none tells of it. */
struct drift_versions {
        uint64_t verified, seen;
};
struct drift_versions drift_versions(struct drift_table *table, const struct drift_key *key, int64_t now_ms);
/* A live watch or a list says that nothing moved since it was seen Current. */
bool drift_is_current(struct drift_table *table, const struct drift_key *key, int64_t now_ms);
/*
 * Is everything that this owner had verified as it was: under a live watch or just listed, unmoved, and verified less than recheck_ms ago? *ret_count is the number of
 * its objects; *ret_current: all of them are drift_is_current. A run whose inputs did not change has nothing to do then.
 */
bool drift_owner_quiet(struct drift_table *table, const char *owner_namespace, const char *owner_name, int64_t recheck_ms,
                       int64_t now_ms, size_t *ret_count, bool *ret_current);
/* Left alone from now on: not verified, though the watch still knows it. */
void drift_release(struct drift_table *table, const struct drift_key *key);
/* Pruned, or nobody's any more. */
void drift_forget(struct drift_table *table, const struct drift_key *key);
/* The owner is gone: so is all that was known of what it applied, which may be there still, and wakes nobody. */
void drift_forget_owner(struct drift_table *table, const char *owner_namespace, const char *owner_name);

/*
 * Everything (resource NULL) or one kind has to be verified anew, because the server itself changed: its version, a webhook, a policy, a CRD. At
 * most DRIFT_RENEWALS_PER_SECOND objects are, then; the others keep their turn for a later run.
 */
#define DRIFT_RENEWALS_PER_SECOND 100
void drift_epoch(struct drift_table *table, const struct kube_resource *resource, uint32_t epoch);

/*
 * The server's store was restored from a backup, and its versions begin again below those that are remembered: of everything (resource NULL) or one kind
 * nothing counts as verified any more, nor as seen by a watch before this. Wakes nobody.
 */
void drift_restart(struct drift_table *table, const struct kube_resource *resource);

/*
 * Waits until the watch reports a change of any object of the owner that came after `*sequence` (0: from now on), the time is over or the context ends;
 * moves *sequence on. True if there was one. For health checks: look again when something moved instead of every few seconds.
 */
struct context;
bool drift_wait(struct context *context, struct drift_table *table, const char *owner_namespace, const char *owner_name,
                uint64_t *sequence, int64_t timeout_ms);
