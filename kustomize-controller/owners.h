/*
 * owners: what the process remembers of each Kustomization between its runs.
 *
 * The inputs of its last successful build, how many objects came of it, the kinds it applied (each holds a user of the watch pool), and what
 * was seen to drift since. Lost at a restart, which costs one full run. Safe from any thread.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kube_resource;
struct owners;
struct watch_pool;

#define OWNER_INPUTS         32
#define OWNER_DRIFT_LIMIT    4096 /* bytes of text kept about drift */
#define OWNER_DRIFT_PAUSE_MS 100
#define OWNER_KINDS_LIMIT    256

/* `pool` may be NULL: no watches. */
struct owners *owners_new(struct watch_pool *pool);
void owners_free(struct owners **owners);

/*
 * The last successful run had these inputs, applied so many objects and left `skipped` of what it wanted alone. Nobody watches those: when they are to be
 * applied again, or are gone, only asking tells. So a run that skipped any counts as none.
 */
void owners_remember(struct owners *owners, const char *namespace, const char *name, const uint8_t inputs[OWNER_INPUTS],
                     size_t objects, size_t skipped);
/* True if the last run was successful with these inputs. */
bool owners_recall(struct owners *owners, const char *namespace, const char *name, const uint8_t inputs[OWNER_INPUTS],
                   size_t *ret_objects);
/* The resourceVersion of the Kustomization after our last write, and whether that is later than what a cache shows. */
void owners_wrote(struct owners *owners, const char *namespace, const char *name, const char *resource_version);
bool owners_wrote_later(struct owners *owners, const char *namespace, const char *name, const char *resource_version);
/*
 * What the account may do in whose name the Kustomization applies, as a digest. Due: nobody has looked for that long; the look is counted as taken. Seen:
 * true if they are others than those that a run has proven, from then until a run proves them; the first that are seen count as proven.
 */
bool owners_rights_due(struct owners *owners, const char *namespace, const char *name, int64_t period_ms);
bool owners_rights_seen(struct owners *owners, const char *namespace, const char *name, uint64_t rights);
bool owners_rights_suspect(struct owners *owners, const char *namespace, const char *name);
void owners_rights_proven(struct owners *owners, const char *namespace, const char *name);
/* The next run does everything. */
void owners_invalidate(struct owners *owners, const char *namespace, const char *name);
/* The object is gone: gives its watches up. */
void owners_forget(struct owners *owners, const char *namespace, const char *name);

/* The kinds it has applied; replaces the former ones. Starts and ends watches as needed. */
void owners_watch(struct owners *owners, const char *namespace, const char *name, const struct kube_resource *const *resources,
                  size_t count);
/* Calls fn for each of them. */
void owners_each_kind(struct owners *owners, const char *namespace, const char *name,
                      void (*fn)(void *data, const struct kube_resource *resource), void *data);

/*
 * Notes that an object drifted, and returns how long to wait before the owner runs (milliseconds): OWNER_DRIFT_PAUSE_MS, in which further edits of
 * the same hand are collected, and longer when somebody keeps fighting over this object (fights.h). `line` says who did what; NULL: the object left
 * the watch, and whether it was deleted or only lost the owner's labels is seen by the run.
 */
int64_t owners_drifted(struct owners *owners, const char *namespace, const char *name, const char *object, const char *line);
/*
 * A wait for health of what these inputs made. Drift interrupts it; the next run goes on with it, in the time that is left: who edits again and again does not
 * keep it from failing. The run that comes next takes it, whatever comes of that run.
 */
struct owner_wait {
        int64_t since_ms; /* 0: there is none */
        uint8_t inputs[OWNER_INPUTS];
};
void owners_interrupted(struct owners *owners, const char *namespace, const char *name, const struct owner_wait *wait);
struct owner_wait owners_take_interrupted(struct owners *owners, const char *namespace, const char *name);
/*
 * Takes what was noted since the last call, because the owner has put it right; false if there was nothing. What is noted from then on is for a later run.
 * Lines are separated by line breaks.
 */
struct owner_drift {
        struct buffer lines;  /* who changed what */
        struct buffer gone;   /* objects that left the watch */
        struct buffer fights; /* "object: 5s", if the next time waits for so long */
};
#define OWNER_DRIFT_NULL                                                                                                           \
        ((struct owner_drift){ BUFFER_LIMIT(OWNER_DRIFT_LIMIT), BUFFER_LIMIT(OWNER_DRIFT_LIMIT), BUFFER_LIMIT(OWNER_DRIFT_LIMIT) })
bool owners_take_drift(struct owners *owners, const char *namespace, const char *name, struct owner_drift *ret_drift);
void owner_drift_release(struct owner_drift *drift); /* for cleanup */
