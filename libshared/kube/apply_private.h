/*
 * apply_private: one object on its way through apply_objects; what the files of this room share.
 *
 * An item is tried (nothing is written) and, if its whole stage can be applied, written. Both happen on any thread, but on one at a time.
 */
#pragma once

#include "kube/apply.h"
#include "kube/client.h"
#include "kube/steer.h"

#define APPLY_CONCURRENCY 4

struct apply_rules;
struct staged;

struct apply_run {
        struct context *context;
        const struct apply_settings *settings;
        const struct apply_rules *rules; /* NULL: none */
        uint8_t seed[DRIFT_HASH];        /* of the settings that decide about every object */
        struct staged *staged;           /* apply.c's, all of them in order */
        size_t staged_count;
        struct field_takeover takeovers[STEER_TAKEOVERS];
        size_t takeover_count;
        bool recorded;                      /* settings->record was called */
        bool definitions;                   /* a CRD was written in this run: its kind may take a moment to be served */
        _Atomic int64_t forbidden_until_ms; /* rights are waited for until then; 0: nothing was forbidden yet */
};

enum apply_plan {
        PLAN_SKIP,
        PLAN_UNCHANGED,
        PLAN_WRITE,
        PLAN_RECREATE, /* delete, then write */
};

struct apply_item {
        struct apply_run *run;
        const struct apply_object *object;
        struct object_id id; /* in the run's arena */
        const struct kube_resource *resource;
        struct steering desired;
        uint8_t wanted[DRIFT_HASH];
        struct buffer payload;       /* what is sent in place of the object's text; empty: the text itself */
        struct buffer unknown;       /* paths that the payload has lost because the schema has no such field */
        struct buffer paths;         /* with settings->explain: what an apply changes */
        struct json *metadata_patch; /* JSON patch of the live object before it is applied; NULL: none */
        struct drift_digest live;    /* of the live object; resource_version 0: it is not there */
        char uid[40];                /* of the object that is there; "": not known */
        char version[32];            /* of the one that is to be deleted */
        enum apply_plan plan;
        bool undecided;           /* what is wanted is new, and was not tried yet: the stage says when */
        bool decide;              /* now */
        bool untried;             /* a dry run was not thought necessary */
        bool alone;               /* for that reason; then the write is the trial */
        bool asks;                /* what is remembered of it does not count any more */
        bool written, unanswered; /* unanswered: it may have been written */
        enum apply_action action;
        enum kstatus status;
        struct error error;
};

/* What is to be done about the object; fills plan, or error. The first time it may put off a request and say so (undecided). */
void apply_try(struct apply_item *item);
/* Does it; fills action, or error. */
void apply_write(struct apply_item *item);
void apply_item_release(struct apply_item *item);

/* ---- apply_compare.c ---- */

/*
 * Whether a dry run would change the live object, in more than its status. Both are changed on the way; give them up afterwards. JSON pointers to what it would
 * change are added to *paths, separated by ", "; NULL: nobody asks.
 */
bool apply_differs(struct json *live, struct json *tried, struct buffer *paths);
/*
 * The JSON patch that removes old metadata and takes fields over; NULL if there is nothing to do. With `api_version` the entries of managedFields move to it.
 */
int apply_metadata_patch(const struct apply_run *run, const struct json *live, bool merge, const char *api_version,
                         struct json **ret_patch, struct error *error);
/* Groups of the API server's own kinds. */
bool apply_built_in(const char *group);
/* Kinds that the Go controllers read into a struct, which loses what it does not know. They leave Roles as they are. */
bool apply_has_struct(const struct object_id *id);
/*
 * Removes what the API server's schema does not know from the payload, by the words of its error; their paths are added to *removed, separated by ", ". False
 * if the error is about something else.
 */
bool apply_prune_unknown(const char *message, struct json *payload, struct buffer *removed);

/* ---- apply_ignore.c ---- */

/* -1: "failed to create ignore rule selector: invalid kind regex: ...". *ret_rules is NULL if there are none. */
int apply_rules_new(const struct apply_settings *settings, struct apply_rules **ret_rules, struct error *error);
void apply_rules_free(struct apply_rules **rules);
/* True if a rule selects the object. */
bool apply_rules_match(const struct apply_rules *rules, const struct json *object);
/* Takes the ignored paths out of a tree. `selected` decides which rules count. */
void apply_rules_remove(const struct apply_rules *rules, const struct json *selected, struct json *tree);
/*
 * The payload that leaves the ignored paths as they are in the cluster: removed where another manager applies them, else with the live value. -1: a path is no
 * JSON pointer, or means the whole object: "replace operation does not apply: doc is missing path: ...".
 */
int apply_rules_keep(const struct apply_item *item, const struct json *live, const struct json *tried, struct json *payload,
                     struct error *error);

/* ---- apply_look.c ---- */

/* The label selector of what the owner of the settings applied. Owned. */
char *apply_owner_selector(const struct apply_settings *settings);
