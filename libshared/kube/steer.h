/*
 * steer: the labels and annotations by which people steer how an object is applied.
 *
 * `<group>/ssa: Override|Merge|IfNotPresent|Ignore`, `<group>/reconcile: disabled`, `<group>/force: enabled`, `<group>/prune: disabled`, as a label or as an
 * annotation, in any case of letters. Read from text (data/scan.h): also by the io thread.
 */
#pragma once

#include "base/str.h"
#include "kube/managed_fields.h"

#include <stdbool.h>
#include <stddef.h>

struct steering {
        bool skip;           /* reconcile: disabled, ssa: Ignore */
        bool merge;          /* ssa: Merge */
        bool if_not_present; /* ssa: IfNotPresent */
        bool force;
        bool keep; /* prune: disabled */
};

/* `object` is the text of a whole object. */
struct steering steering_of(struct view object, const char *group);

/* Annotations and labels that earlier tools left and that are removed. Both end with NULL. */
extern const char *const steer_removed_annotations[];
extern const char *const steer_removed_labels[];
bool steer_has_removed(struct view object);

/* The managers that are taken over: kubectl, what was there before the first apply, our own updates, and `override` (ends with NULL, may be NULL). */
#define STEER_TAKEOVERS 64
size_t steer_takeovers(const char *field_manager, const char *const *override, struct field_takeover takeovers[STEER_TAKEOVERS]);
