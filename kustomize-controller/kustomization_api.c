#include "kustomization.h"

static const struct field source_reference_fields[] = {
        FIELD(source_reference, api_version, STRING),
        FIELD(source_reference, kind, STRING, .required = true,
              .values = TEXTS("OCIRepository", "GitRepository", "Bucket", "ExternalArtifact")),
        FIELD(source_reference, name, STRING, .required = true),
        FIELD(source_reference, namespace, STRING),
};
static RECORD(source_reference);

static const struct field common_metadata_fields[] = {
        FIELD(common_metadata, labels, MAP),
        FIELD(common_metadata, annotations, MAP),
};
static RECORD(common_metadata);

static const struct field substitute_reference_fields[] = {
        FIELD(substitute_reference, kind, STRING, .required = true, .values = TEXTS("Secret", "ConfigMap")),
        FIELD(substitute_reference, name, STRING, .required = true, .min_length = 1, .max_length = 253),
        FIELD(substitute_reference, optional, BOOL, .initial = "false"),
};
static RECORD(substitute_reference);

static const struct field post_build_fields[] = {
        FIELD(post_build, substitute_strategy, STRING, .values = TEXTS("WithVariables", "Always")),
        FIELD(post_build, substitute, MAP),
        FIELD(post_build, substitute_from, OBJECTS, .record = &substitute_reference_record),
};
static RECORD(post_build);

static const struct field decryption_fields[] = {
        FIELD(decryption, provider, STRING, .required = true, .values = TEXTS("sops")),
        FIELD(decryption, service_account_name, STRING),
        FIELD(decryption, secret_ref, OBJECT, .record = &local_reference_record),
};
static RECORD(decryption);

static const struct field dependency_reference_fields[] = {
        FIELD(dependency_reference, name, STRING, .required = true),
        FIELD(dependency_reference, namespace, STRING),
        FIELD(dependency_reference, ready_expr, STRING),
};
static RECORD(dependency_reference);

static const struct field health_check_fields[] = {
        FIELD(health_check, api_version, STRING),
        FIELD(health_check, kind, STRING, .required = true),
        FIELD(health_check, name, STRING, .required = true),
        FIELD(health_check, namespace, STRING),
};
static RECORD(health_check);

static const struct field health_check_expression_fields[] = {
        FIELD(health_check_expression, api_version, STRING, .required = true),
        FIELD(health_check_expression, kind, STRING),
        FIELD(health_check_expression, current, STRING, .required = true),
        FIELD(health_check_expression, in_progress, STRING),
        FIELD(health_check_expression, failed, STRING),
};
static RECORD(health_check_expression);

static const struct field ignore_rule_fields[] = {
        FIELD(ignore_rule, paths, STRINGS, .required = true),
        FIELD(ignore_rule, target, OBJECT, .record = &object_selector_record),
};
static RECORD(ignore_rule);

static const struct field kustomization_spec_fields[] = {
        FIELD(kustomization_spec, interval, DURATION, .required = true, .pattern = PATTERN(DURATION_PATTERN)),
        FIELD(kustomization_spec, prune, BOOL, .required = true),
        FIELD(kustomization_spec, source_ref, OBJECT, .required = true, .record = &source_reference_record),
        FIELD(kustomization_spec, retry_interval, OPTIONAL_DURATION, .pattern = PATTERN(DURATION_PATTERN)),
        FIELD(kustomization_spec, timeout, OPTIONAL_DURATION, .pattern = PATTERN(DURATION_PATTERN)),
        FIELD(kustomization_spec, path, STRING),
        FIELD(kustomization_spec, target_namespace, STRING, .min_length = 1, .max_length = 63),
        FIELD(kustomization_spec, name_prefix, STRING, .min_length = 1, .max_length = 200),
        FIELD(kustomization_spec, name_suffix, STRING, .min_length = 1, .max_length = 200),
        FIELD(kustomization_spec, common_metadata, OBJECT, .record = &common_metadata_record),
        FIELD(kustomization_spec, patches, OBJECTS, .record = &inline_patch_record),
        FIELD(kustomization_spec, images, OBJECTS, .record = &image_override_record),
        FIELD(kustomization_spec, components, STRINGS),
        FIELD(kustomization_spec, ignore_missing_components, BOOL),
        FIELD(kustomization_spec, build_metadata, STRINGS, .values = TEXTS("originAnnotations", "transformerAnnotations")),
        FIELD(kustomization_spec, post_build, OBJECT, .record = &post_build_record),
        FIELD(kustomization_spec, decryption, OBJECT, .record = &decryption_record),
        FIELD(kustomization_spec, depends_on, OBJECTS, .record = &dependency_reference_record),
        FIELD(kustomization_spec, health_checks, OBJECTS, .record = &health_check_record),
        FIELD(kustomization_spec, health_check_exprs, OBJECTS, .record = &health_check_expression_record),
        FIELD(kustomization_spec, wait, BOOL),
        FIELD(kustomization_spec, force, BOOL, .initial = "false"),
        FIELD(kustomization_spec, ignore, OBJECTS, .record = &ignore_rule_record),
        FIELD(kustomization_spec, deletion_policy, STRING,
              .values = TEXTS("MirrorPrune", "Delete", "WaitForTermination", "Orphan")),
        FIELD(kustomization_spec, service_account_name, STRING),
        FIELD(kustomization_spec, kube_config, OBJECT, .record = &kube_config_reference_record),
        FIELD(kustomization_spec, suspend, BOOL),
};
static RECORD(kustomization_spec);

static const struct field inventory_entry_fields[] = {
        FIELD(inventory_entry, id, STRING, .required = true),
        FIELD(inventory_entry, v, STRING, .required = true),
};
static RECORD(inventory_entry);

static const struct field inventory_status_fields[] = {
        FIELD(inventory_status, entries, OBJECTS, .required = true, .record = &inventory_entry_record),
};
static RECORD(inventory_status);

static const struct field history_entry_fields[] = {
        FIELD(history_entry, digest, STRING, .required = true),
        FIELD(history_entry, first_reconciled, TIME, .required = true),
        FIELD(history_entry, last_reconciled, TIME, .required = true),
        FIELD(history_entry, last_reconciled_duration, STRING, .required = true),
        FIELD(history_entry, last_reconciled_status, STRING, .required = true),
        FIELD(history_entry, total_reconciliations, INTEGER, .required = true),
        FIELD(history_entry, metadata, MAP),
};
static RECORD(history_entry);

static const struct field kustomization_status_fields[] = {
        FIELD(kustomization_status, observed_generation, INTEGER),
        FIELD(kustomization_status, conditions, OBJECTS, .record = &condition_status_record),
        FIELD(kustomization_status, last_handled_reconcile_at, STRING),
        FIELD(kustomization_status, last_applied_revision, STRING),
        FIELD(kustomization_status, last_applied_origin_revision, STRING),
        FIELD(kustomization_status, last_attempted_revision, STRING),
        FIELD(kustomization_status, inventory, OBJECT, .record = &inventory_status_record),
        FIELD(kustomization_status, history, OBJECTS, .record = &history_entry_record),
};
static RECORD(kustomization_status);

const struct kind kustomization_kind = {
        .group = "kustomize.toolkit.fluxcd.io",
        .version = "v1",
        .kind = "Kustomization",
        .list_kind = "KustomizationList",
        .plural = "kustomizations",
        .singular = "kustomization",
        .short_names = TEXTS("ks"),
        .categories = TEXTS("all", "fluxcd", "fluxcd-appliers"),
        .spec = &kustomization_spec_record,
        .status = &kustomization_status_record,
        .status_initial = "{\"observedGeneration\":-1}",
};
