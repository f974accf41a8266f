/*
 * meta: the API types that several kinds share, as structs and their records (kube/object.h).
 */
#pragma once

#include "kube/object.h"

/* What of metadata a reconcile looks at. */
struct object_meta {
        const char *name, *namespace, *uid, *resource_version;
        int64_t generation;
        const char *creation_timestamp, *deletion_timestamp; /* deletion_timestamp: it is being deleted */
        struct string_list finalizers;
        struct string_map labels, annotations;
};
extern const struct record object_meta_record;

struct condition_status {
        const char *type, *status, *reason, *message, *last_transition_time;
        int64_t observed_generation;
};
extern const struct record condition_status_record;

/* status.artifact of a source. */
struct artifact_status {
        const char *path, *url, *revision, *digest, *last_update_time;
        const int64_t *size;
        struct string_map metadata;
};
extern const struct record artifact_status_record;

struct local_reference {
        const char *name;
};
extern const struct record local_reference_record;

struct secret_key_reference {
        const char *name, *key;
};
extern const struct record secret_key_reference_record;

/* A remote cluster; exactly one of the two. */
struct kube_config_reference {
        struct local_reference *config_map_ref;
        struct secret_key_reference *secret_ref;
};
extern const struct record kube_config_reference_record;

/* Which objects a patch or a rule is about; group to name are anchored regular expressions. */
struct object_selector {
        const char *group, *version, *kind, *namespace, *name, *label_selector, *annotation_selector;
};
extern const struct record object_selector_record;

struct inline_patch {
        const char *patch;
        struct object_selector *target;
};
extern const struct record inline_patch_record;

struct image_override {
        const char *name, *new_name, *new_tag, *digest;
};
extern const struct record image_override_record;

/* What several fields are checked with. */
#define DURATION_PATTERN "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
#define TIMEOUT_PATTERN  "^([0-9]+(\\.[0-9]+)?(ms|s|m))+$"
