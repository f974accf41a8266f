/*
 * apply: make a set of objects exist as they were declared, by server-side apply, and remove those that are not declared any more.
 *
 * Objects go in stages, and a stage is refused as a whole: everything in it is tried (dry run) before anything is written. A change that is all that is to be
 * written of a stage is written at once.
 *
 *   1  CustomResourceDefinition, Namespace, ClusterRole; then wait until they are Current
 *   2  kinds that end in Class; then wait
 *   3  the kinds that the settings name
 *   4  the rest
 *
 * Within a stage the order is that of object_id_compare; equal ranks are written side by side. What the drift table knows to be as it was costs no
 * request; what a live watch knows is not read again; an object that is new costs a dry run and an apply. What may not be read is tried all the same, for the
 * sake of the error, and created if the dry run says that it is new; if it is there, or `IfNotPresent`, it stays as it is.
 *
 * Labels or annotations of an object, in the repository or in the cluster, steer it: `<annotation_group>/ssa: Override|Merge|IfNotPresent|Ignore`,
 * `reconcile: disabled`, `force: enabled`, `prune: disabled`, in any case of letters.
 */
#pragma once

#include "base/arena.h"
#include "base/context.h"
#include "base/error.h"
#include "base/str.h"
#include "kube/drift.h"
#include "kube/inventory.h"
#include "kube/kstatus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kube_client;
struct object_selector;
struct parallel;

/* Paths (JSON pointers) that are not ours to keep, on the objects that the target selects; NULL selects all. */
struct apply_ignore {
        const char *const *paths; /* ends with NULL */
        const struct object_selector *target;
};

/* A kind of stage 3. */
struct apply_kind {
        const char *group, *kind;
};

struct apply_settings {
        struct kube_client *client;   /* impersonating if need be */
        struct parallel *parallel;    /* helpers, may be NULL */
        unsigned concurrency;         /* requests at once of one call; 0: 4 */
        struct drift_table *drift;    /* of this cluster; NULL: every object is asked about */
        const char *field_manager;    /* "kustomize-controller" */
        const char *annotation_group; /* "kustomize.toolkit.fluxcd.io": of labels and annotations */
        const char *owner_name, *owner_namespace;
        /* What the owner lives by, itself first: its own object, and what it is made from. NULL: nothing that pruning could meet. */
        const struct object_id *lifelines;
        size_t lifeline_count;
        const char
                *account; /* that the client impersonates: what was verified in one name says nothing about another; NULL: none */
        bool force;       /* recreate what cannot be changed */
        bool verify_all;  /* ask about each object, whatever the table says */
        bool migrate_api_version;
        bool explain; /* find out which paths an apply changes (apply_change.paths), which costs a read and a dry run of each object */
        const char *const *override_managers; /* ends with NULL; may be NULL */
        const struct apply_kind *stage_kinds; /* of stage 3 */
        size_t stage_kind_count;
        const struct apply_ignore *ignore;
        size_t ignore_count;
        int64_t stage_wait_ms; /* for stages 1 and 2; 0: 60 s */
        int64_t recreate_ms;   /* until a deleted object is gone; 0: 60 s */
        int64_t recheck_ms;    /* see drift_check; 0: 6 h */
        /*
         * Before the first write to an object that is not known (apply_object.known), once in a call: whoever keeps the list of what is ours adds `wanted`, all
         * objects of the call, to it. What is applied by a program that is killed in that moment is in the list then. -1: nothing of this stage is written, and
         * the error is that of the call. Of more than a MiB of objects it is called before anything is tried. NULL: nobody keeps one.
         */
        int (*record)(void *data, struct context *context, const struct inventory *wanted, struct error *error);
        void *data;
};

/* Borrowed until the call returns. The text is what is sent: compact JSON with the owner's labels in it. */
struct apply_object {
        struct view api_version, kind, namespace, name; /* namespace empty: none given */
        struct view text;
        bool known; /* in the inventory: it is probably there, and whatever happens it is not forgotten */
};

enum apply_action {
        APPLY_CREATED,
        APPLY_CONFIGURED,
        APPLY_UNCHANGED,
        APPLY_DELETED,
        APPLY_SKIPPED,
};
const char *apply_action_name(enum apply_action action); /* "created", ... */

/* In the order in which it was done. Lives in the arena. */
struct apply_change {
        struct object_id object; /* as the server names it: a cluster-scoped object has no namespace */
        enum apply_action action;
        const char *uid;     /* of the object that is there; "" if that is not known */
        enum kstatus status; /* as last seen; KSTATUS_UNKNOWN: not seen */
        /* Fields that were left out because the schema has none of that name: ".spec.a, .spec.b"; NULL: none. */
        const char *unknown;
        /*
         * With settings->explain, of an object that was there: JSON pointers to what was not as wanted, never values: "/spec/replicas, /data/a".
         * NULL: not known.
         */
        const char *paths;
        bool finishes; /* a Job with ttlSecondsAfterFinished: gone is done */
};

struct apply_changes {
        struct apply_change *items;
        size_t count;
};

#define APPLY_CHANGES_NULL ((struct apply_changes){ NULL, 0 })

/*
 * Of what was verified before and is not watched now, asks how it is: one list of metadata by the owner's labels for each kind and namespace, in place of a
 * request or two for each object. What cannot be listed is asked about one by one later. apply_objects does this itself; a run that would rather know
 * whether it has anything to do asks first.
 *
 *  0, or -1 if the context ended.
 */
int apply_look(struct context *context, const struct apply_settings *settings, const struct inventory *objects,
               struct error *error);

/*
 * The changes made so far are in *changes also on failure (it begins empty), and so is what has to be in the inventory then: old and applied. A write that
 * was sent and not answered counts as APPLY_UNCHANGED: nobody knows, and what may be there must not be forgotten.
 *
 *  0
 * -1  the message is Flux's: "<Kind>/<ns>/<name> dry-run failed (Invalid): ...", one line for each object of the stage that failed, then the change lines
 *     so far, each with its break
 */
int apply_objects(struct context *context, const struct apply_settings *settings, const struct apply_object *objects, size_t count,
                  struct arena *arena, struct apply_changes *changes, struct error *error);

/*
 * Deletes what the owner does not declare any more, in the reverse order, in the background. `kept` is what it does declare, as apply_objects left it; NULL:
 * nothing, the owner itself goes.
 *
 * Nothing is deleted but what was read and decided about: a deletion carries the uid and the resourceVersion of what was read, and if the object moved
 * meanwhile it is read and decided about again. Skipped: what does not carry the owner's labels (another has taken it over), `prune: disabled`,
 * `reconcile: disabled`, `ssa: Ignore` in the cluster, and what is kept under another name of its kind (one object may be served in two groups). What is gone
 * or on its way, or whose kind is gone, counts as deleted. A namespace in which something kept lives, and the definition of a kept kind, are an error:
 * deleting them would delete that. So are, unless the owner itself goes, what it lives by (settings->lifelines), the namespaces of that and of the owner, and
 * the definitions of the annotations' group and of its sisters (what follows the first dot is the same): no push could bring them back.
 *
 *  0
 * -1  "delete failed, errors: <id> delete failed: ...;"; *ret_left is what is neither deleted nor skipped and stays in the inventory
 */
int apply_prune(struct context *context, const struct apply_settings *settings, const struct inventory *stale,
                const struct apply_changes *kept, struct arena *arena, struct apply_changes *changes, struct inventory *ret_left,
                struct error *error);

/*
 * Waits until what was deleted is gone. -1, ERROR_TIMEOUT: "timeout waiting for: [<Kind>/<ns>/<name> status: 'Terminating', ...]".
 */
int apply_wait_gone(struct context *context, const struct apply_settings *settings, const struct apply_changes *changes,
                    int64_t timeout_ms, struct error *error);

/* The objects of the changes, those that were deleted left out. */
struct inventory apply_inventory(const struct apply_changes *changes, struct arena *arena);
/* "<Kind>/<ns>/<name> created", a line each without a break at the end; only what was created, configured or deleted unless `all`. Appended. */
void apply_changes_print(const struct apply_changes *changes, bool all, struct buffer *text);
