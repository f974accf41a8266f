/*
 * patch: write what a run changed in its own tree of an object back to the API server.
 *
 * At the beginning a run hands over the object as it knows it; each write sends what differs since then (or since the last write): one
 * merge patch of the status, and one of metadata and spec. Nothing differs: no request.
 *
 * A list is replaced whole by a merge patch, so conditions and finalizers are sent with the resourceVersion that they were read with, and so is an
 * inventory. If the server answers that somebody else was faster, the object is read again and the change is made to what is there now: conditions
 * of the types that the run owns are overwritten, those of others stay; only the finalizers that the run itself added or removed are. Of the rest of the
 * status the run's word counts, be it that nothing changed since the old object that it knew; members that it knows nothing of stay, and so does what others
 * added to an inventory. If what is there now is another object of that name, nothing is written: it must not delete what its predecessor applied.
 * Everything else is sent without a lock. The resourceVersion of each answer is the one the next write uses.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>

struct kube_client;
struct kube_resource;

struct object_patch {
        struct kube_client *client;
        const struct kube_resource *resource;
        const char *field_manager;
        const char *const *owned; /* condition types that are the run's; ends with NULL */
        struct buffer before;     /* the object's text: a tree is twenty times as large, and a run may wait for minutes */
};

#define OBJECT_PATCH_NULL ((struct object_patch){ .before = BUFFER_NULL })

/* `object` is read; the rest is borrowed until object_patch_release. */
void object_patch_begin(struct object_patch *patch, struct kube_client *client, const struct kube_resource *resource,
                        const char *field_manager, const char *const *owned, const struct json *object);
void object_patch_release(struct object_patch *patch); /* for cleanup(object_patch_release); OBJECT_PATCH_NULL is fine */

/*
 * Status first, then metadata and spec: a finalizer that goes takes the object with it. `object` gets the resourceVersion of the answer.
 * An object that is gone while it was being deleted counts as written.
 *
 *  0  written, or there was nothing to write
 * -1  as the API server says; ERROR_NOT_FOUND also when the name is another object's by now; ERROR_CONFLICT also when a condition of somebody else's was changed here and there: `error patching conditions:
 *     The condition "T" was modified by a different process and this caused a merge/ChangeCondition conflict: ...`
 */
int object_patch_write(struct context *context, struct object_patch *patch, struct json *object, struct error *error);

/* Finalizers of a tree. True if that changed it. */
bool finalizer_add(struct json *object, const char *finalizer);
bool finalizer_remove(struct json *object, const char *finalizer);
bool finalizer_has(const struct json *object, const char *finalizer);
