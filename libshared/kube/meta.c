#include "kube/meta.h"

static const struct field object_meta_fields[] = {
        FIELD(object_meta, name, STRING),
        FIELD(object_meta, namespace, STRING),
        FIELD(object_meta, uid, STRING),
        FIELD(object_meta, resource_version, STRING),
        FIELD(object_meta, generation, INTEGER),
        FIELD(object_meta, creation_timestamp, TIME),
        FIELD(object_meta, deletion_timestamp, TIME),
        FIELD(object_meta, finalizers, STRINGS),
        FIELD(object_meta, labels, MAP),
        FIELD(object_meta, annotations, MAP),
};
RECORD(object_meta);

static const struct field condition_status_fields[] = {
        FIELD(condition_status, type, STRING, .required = true, .max_length = 316,
              .pattern = PATTERN("^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                                 "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$")),
        FIELD(condition_status, status, STRING, .required = true, .values = TEXTS("True", "False", "Unknown")),
        FIELD(condition_status, observed_generation, INTEGER, .minimum = MINIMUM(0)),
        FIELD(condition_status, last_transition_time, TIME, .required = true),
        FIELD(condition_status, reason, STRING, .required = true, .min_length = 1, .max_length = 1024,
              .pattern = PATTERN("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")),
        FIELD(condition_status, message, STRING, .required = true, .max_length = 32768),
};
RECORD(condition_status);

static const struct field artifact_status_fields[] = {
        FIELD(artifact_status, path, STRING, .required = true),
        FIELD(artifact_status, url, STRING, .required = true),
        FIELD(artifact_status, revision, STRING, .required = true),
        FIELD(artifact_status, digest, STRING, .required = true,
              .pattern = PATTERN("^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$")),
        FIELD(artifact_status, last_update_time, TIME, .required = true),
        FIELD(artifact_status, size, OPTIONAL_INTEGER),
        FIELD(artifact_status, metadata, MAP),
};
RECORD(artifact_status);

static const struct field local_reference_fields[] = {
        FIELD(local_reference, name, STRING, .required = true),
};
RECORD(local_reference);

static const struct field secret_key_reference_fields[] = {
        FIELD(secret_key_reference, name, STRING, .required = true),
        FIELD(secret_key_reference, key, STRING),
};
RECORD(secret_key_reference);

static const struct field kube_config_reference_fields[] = {
        FIELD(kube_config_reference, config_map_ref, OBJECT, .record = &local_reference_record),
        FIELD(kube_config_reference, secret_ref, OBJECT, .record = &secret_key_reference_record),
};
RECORD(kube_config_reference);

static const struct field object_selector_fields[] = {
        FIELD(object_selector, group, STRING),
        FIELD(object_selector, version, STRING),
        FIELD(object_selector, kind, STRING),
        FIELD(object_selector, namespace, STRING),
        FIELD(object_selector, name, STRING),
        FIELD(object_selector, label_selector, STRING),
        FIELD(object_selector, annotation_selector, STRING),
};
RECORD(object_selector);

static const struct field inline_patch_fields[] = {
        FIELD(inline_patch, patch, STRING, .required = true),
        FIELD(inline_patch, target, OBJECT, .record = &object_selector_record),
};
RECORD(inline_patch);

static const struct field image_override_fields[] = {
        FIELD(image_override, name, STRING, .required = true),
        FIELD(image_override, new_name, STRING),
        FIELD(image_override, new_tag, STRING),
        FIELD(image_override, digest, STRING),
};
RECORD(image_override);
