#include "git_repository.h"

static const struct field git_reference_fields[] = {
        FIELD(git_reference, branch, STRING), FIELD(git_reference, tag, STRING),    FIELD(git_reference, semver, STRING),
        FIELD(git_reference, name, STRING),   FIELD(git_reference, commit, STRING),
};
static RECORD(git_reference);

static const struct field git_verification_fields[] = {
        FIELD(git_verification, mode, STRING, .initial = "HEAD", .values = TEXTS("head", "HEAD", "Tag", "TagAndHEAD")),
        FIELD(git_verification, secret_ref, OBJECT, .required = true, .record = &local_reference_record),
};
static RECORD(git_verification);

static const struct field git_include_fields[] = {
        FIELD(git_include, repository, OBJECT, .required = true, .record = &local_reference_record),
        FIELD(git_include, from_path, STRING),
        FIELD(git_include, to_path, STRING),
};
static RECORD(git_include);

static const struct field git_repository_spec_fields[] = {
        FIELD(git_repository_spec, url, STRING, .required = true, .pattern = PATTERN("^(http|https|ssh)://.*$")),
        FIELD(git_repository_spec, secret_ref, OBJECT, .record = &local_reference_record),
        FIELD(git_repository_spec, proxy_secret_ref, OBJECT, .record = &local_reference_record),
        FIELD(git_repository_spec, provider, STRING, .values = TEXTS("generic", "aws", "azure", "github")),
        FIELD(git_repository_spec, service_account_name, STRING),
        FIELD(git_repository_spec, interval, DURATION, .required = true, .pattern = PATTERN(DURATION_PATTERN)),
        FIELD(git_repository_spec, timeout, DURATION, .initial = "60s", .pattern = PATTERN(TIMEOUT_PATTERN)),
        FIELD(git_repository_spec, ref, OBJECT, .record = &git_reference_record),
        FIELD(git_repository_spec, verify, OBJECT, .record = &git_verification_record),
        FIELD(git_repository_spec, ignore, STRING),
        FIELD(git_repository_spec, suspend, BOOL),
        FIELD(git_repository_spec, recurse_submodules, BOOL),
        FIELD(git_repository_spec, include, OBJECTS, .record = &git_include_record),
        FIELD(git_repository_spec, sparse_checkout, STRINGS),
};
static RECORD(git_repository_spec);

static const struct field git_repository_status_fields[] = {
        FIELD(git_repository_status, observed_generation, INTEGER),
        FIELD(git_repository_status, conditions, OBJECTS, .record = &condition_status_record),
        FIELD(git_repository_status, artifact, OBJECT, .record = &artifact_status_record),
        FIELD(git_repository_status, included_artifacts, OBJECTS, .record = &artifact_status_record),
        FIELD(git_repository_status, observed_ignore, STRING),
        FIELD(git_repository_status, observed_recurse_submodules, BOOL),
        FIELD(git_repository_status, observed_include, OBJECTS, .record = &git_include_record),
        FIELD(git_repository_status, observed_sparse_checkout, STRINGS),
        FIELD(git_repository_status, source_verification_mode, STRING),
        FIELD(git_repository_status, last_handled_reconcile_at, STRING),
};
static RECORD(git_repository_status);

const struct kind git_repository_kind = {
        .group = "source.toolkit.fluxcd.io",
        .version = "v1",
        .kind = "GitRepository",
        .list_kind = "GitRepositoryList",
        .plural = "gitrepositories",
        .singular = "gitrepository",
        .short_names = TEXTS("gitrepo"),
        .categories = TEXTS("all", "fluxcd", "fluxcd-sources"),
        .spec = &git_repository_spec_record,
        .status = &git_repository_status_record,
        .status_initial = "{\"observedGeneration\":-1}",
};
