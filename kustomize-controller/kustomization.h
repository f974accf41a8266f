/*
 * kustomization: the Kustomization kind (kustomize.toolkit.fluxcd.io/v1) in C. The table is in kustomization_api.c.
 */
#pragma once

#include "kube/meta.h"

struct source_reference {
        const char *api_version; /* not looked at */
        const char *kind, *name;
        const char *namespace; /* NULL: that of the Kustomization */
};

struct common_metadata {
        struct string_map labels, annotations;
};

struct substitute_reference {
        const char *kind, *name;
        bool optional;
};

struct post_build {
        const char *substitute_strategy; /* NULL: WithVariables */
        struct string_map substitute;
        struct {
                struct substitute_reference *items;
                size_t count;
        } substitute_from;
};

struct decryption {
        const char *provider, *service_account_name;
        struct local_reference *secret_ref;
};

struct dependency_reference {
        const char *name;
        const char *namespace; /* NULL: that of the Kustomization */
        const char *ready_expr;
};

struct health_check {
        const char *api_version, *kind, *name, *namespace;
};

struct health_check_expression {
        const char *api_version, *kind, *current, *in_progress, *failed;
};

struct ignore_rule {
        struct string_list paths;
        struct object_selector *target; /* NULL: every object */
};

struct kustomization_spec {
        int64_t interval;
        bool prune;
        struct source_reference *source_ref;
        const int64_t *retry_interval; /* NULL: the interval */
        const int64_t *timeout;        /* NULL: the interval less 30 s; never below 30 s */
        const char *path;
        const char *target_namespace, *name_prefix, *name_suffix;
        struct common_metadata *common_metadata;
        struct {
                struct inline_patch *items;
                size_t count;
        } patches;
        struct {
                struct image_override *items;
                size_t count;
        } images;
        struct string_list components;
        bool ignore_missing_components;
        struct string_list build_metadata;
        struct post_build *post_build;
        struct decryption *decryption;
        struct {
                struct dependency_reference *items;
                size_t count;
        } depends_on;
        struct {
                struct health_check *items;
                size_t count;
        } health_checks;
        struct {
                struct health_check_expression *items;
                size_t count;
        } health_check_exprs;
        bool wait;
        bool force;
        struct {
                struct ignore_rule *items;
                size_t count;
        } ignore;
        const char *deletion_policy; /* NULL: MirrorPrune */
        const char *service_account_name;
        struct kube_config_reference *kube_config;
        bool suspend;
};

struct inventory_entry {
        const char *id; /* <namespace>_<name>_<group>_<kind> */
        const char *v;  /* the version */
};

struct inventory_entry_list {
        struct inventory_entry *items;
        size_t count;
};

struct inventory_status {
        struct inventory_entry_list entries;
};

struct history_entry {
        const char *digest, *first_reconciled, *last_reconciled, *last_reconciled_duration, *last_reconciled_status;
        int64_t total_reconciliations;
        struct string_map metadata;
};

struct kustomization_status {
        int64_t observed_generation; /* -1 until there is a status */
        struct {
                struct condition_status *items;
                size_t count;
        } conditions;
        const char *last_handled_reconcile_at;
        const char *last_applied_revision, *last_applied_origin_revision, *last_attempted_revision;
        struct inventory_status *inventory;
        struct {
                struct history_entry *items;
                size_t count;
        } history; /* the newest first */
};

extern const struct kind kustomization_kind;
