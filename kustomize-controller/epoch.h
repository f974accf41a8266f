/*
 * epoch: has the server changed in what it makes of an object that is applied: its version, a webhook, an admission policy, a CRD.
 *
 * What was verified before such a change has to be verified anew (drift_epoch), though nobody touched the object itself.
 */
#pragma once

#include "kube/cache.h"

#include <stdbool.h>
#include <stdint.h>

struct kube_resource;

/* The number of one more such change, for drift_epoch: what is verified remembers the one it was verified in. From any thread. */
uint32_t epoch_next(void);
/*
 * Whether that event of a webhook configuration or policy may change what the server answers: made, deleted, or its spec changed. What is there
 * when the watch starts counts too: something may have been verified before.
 */
bool epoch_admission_changed(const struct cache_event *event);
/* Whether that event of a CRD changes its schema. One that is made or deleted has no objects. */
bool epoch_definition_changed(const struct cache_event *event);
/* Whether `name` ("<plural>.<group>") is the CRD of that resource. */
bool epoch_defines(const char *name, const struct kube_resource *resource);

/*
 * The server's gitVersion as last seen; begins as { "" }. Notes that of an answer of /version; true if there was another one before. One thread at
 * a time.
 */
struct epoch_version {
        char text[64];
};
bool epoch_version_changed(struct epoch_version *version, struct view answer);
