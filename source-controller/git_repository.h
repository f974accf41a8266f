/*
 * git_repository: the GitRepository kind (source.toolkit.fluxcd.io/v1) in C. The table is in git_repository_api.c.
 */
#pragma once

#include "kube/meta.h"

/* The first one that is set counts, in this order: commit, name, tag, semver, branch. */
struct git_reference {
        const char *branch, *tag, *semver, *name, *commit;
};

struct git_verification {
        const char *mode;
        struct local_reference *secret_ref;
};

struct git_include {
        struct local_reference *repository;
        const char *from_path, *to_path;
};

struct git_include_list {
        struct git_include *items;
        size_t count;
};

struct git_repository_spec {
        const char *url;
        struct local_reference *secret_ref, *proxy_secret_ref;
        const char *provider; /* NULL: generic */
        const char *service_account_name;
        int64_t interval; /* 0: only when asked */
        int64_t timeout;
        struct git_reference *ref;
        struct git_verification *verify;
        const char *ignore; /* NULL: the defaults; "" is none */
        bool suspend;
        bool recurse_submodules;
        struct git_include_list include;
        struct string_list sparse_checkout;
};

struct git_repository_status {
        int64_t observed_generation; /* -1 until there is a status */
        struct {
                struct condition_status *items;
                size_t count;
        } conditions;
        struct artifact_status *artifact;
        struct {
                struct artifact_status *items;
                size_t count;
        } included_artifacts;
        const char *observed_ignore;
        bool observed_recurse_submodules;
        struct git_include_list observed_include;
        struct string_list observed_sparse_checkout;
        const char *source_verification_mode;
        const char *last_handled_reconcile_at;
};

extern const struct kind git_repository_kind;
