/*
 * GitRepository: keep an artifact of what a Git reference points at (Flux source API v1).
 *
 * The phases are in order and each may end the run. What they find is written into the run's tree of the object; source_end patches it once, records
 * the events and says when to look again.
 */
#include "git_repository.h"

#include "secrets.h"
#include "source.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/folder.h"
#include "data/scan.h"
#include "kube/client.h"
#include "kube/watch_configs.h"
#include "net/git.h"
#include "net/proxy.h"
#include "net/url.h"

#include <fcntl.h>
#include <string.h>

#define SUBJECT_RUNES 50

static const char *const owned[] = {
        CONDITION_SOURCE_VERIFIED,
        CONDITION_FETCH_FAILED,
        CONDITION_INCLUDE_UNAVAILABLE,
        CONDITION_ARTIFACT_OUTDATED,
        CONDITION_ARTIFACT_IN_STORAGE,
        CONDITION_STORAGE_OPERATION_FAILED,
        CONDITION_READY,
        CONDITION_RECONCILING,
        CONDITION_STALLED,
        NULL,
};
static const char *const failures[] = { CONDITION_FETCH_FAILED, CONDITION_INCLUDE_UNAVAILABLE, CONDITION_STORAGE_OPERATION_FAILED,
                                        NULL };
static const char *const summarized[] = {
        CONDITION_STORAGE_OPERATION_FAILED,
        CONDITION_FETCH_FAILED,
        CONDITION_INCLUDE_UNAVAILABLE,
        CONDITION_ARTIFACT_OUTDATED,
        CONDITION_ARTIFACT_IN_STORAGE,
        CONDITION_SOURCE_VERIFIED,
        CONDITION_STALLED,
        CONDITION_RECONCILING,
        NULL,
};
static const char *const negative[] = {
        CONDITION_STORAGE_OPERATION_FAILED,
        CONDITION_FETCH_FAILED,
        CONDITION_INCLUDE_UNAVAILABLE,
        CONDITION_ARTIFACT_OUTDATED,
        CONDITION_STALLED,
        CONDITION_RECONCILING,
        NULL,
};

static const struct source_kind git_repository_source = {
        .kind = &git_repository_kind,
        .folder = "gitrepository",
        .owned = owned,
        .failures = failures,
        .summary = { .target = CONDITION_READY, .types = summarized, .negative = negative },
};

struct git_run {
        struct source_run source;
        struct git_repository_spec spec;
        struct git_repository_status status; /* at the start */
        struct git_request request;
        struct git_result fetched;
        struct storage_write write;
        const char *message; /* of the event */
};

/* What is not there yet is refused as a whole: an artifact without it would be half of what was asked for. */
static const char *unsupported_field(const struct git_repository_spec *spec)
{
        if (spec->recurse_submodules)
                return "spec.recurseSubmodules";
        if (spec->include.count > 0)
                return "spec.include";
        if (spec->sparse_checkout.count > 0)
                return "spec.sparseCheckout";
        if (spec->verify)
                return "spec.verify";
        if (spec->provider && strcmp(spec->provider, "generic") != 0)
                return "spec.provider";
        if (spec->service_account_name)
                return "spec.serviceAccountName";
        return NULL;
}

static int refuse_unsupported(struct git_run *git, struct error *err)
{
        const char *field = unsupported_field(&git->spec);

        if (!field)
                return 0;
        error_set(err, ERROR_UNSUPPORTED, "%s is not supported yet: remove it, or use a controller that knows it", field);
        return source_stalled(&git->source, CONDITION_FETCH_FAILED, "Unsupported", err);
}

static int get_secret(struct context *ctx, struct git_run *git, const char *name, struct json **ret_secret, struct error *err)
{
        const struct reconcile *run = git->source.run;

        return kube_get(ctx, run->runtime->client, kube_resource_intern("", "v1", "Secret", "secrets", true), run->namespace, name,
                        ret_secret, err);
}

static int configure_proxy(struct context *ctx, struct git_run *git, struct error *err)
{
        struct arena *arena = git->source.run->arena;
        cleanup(json_wipe) struct json *secret = NULL;
        const char *name = arena_printf(arena, "%s/%s", git->source.run->namespace, git->spec.proxy_secret_ref->name);

        if (get_secret(ctx, git, git->spec.proxy_secret_ref->name, &secret, err) < 0) {
                if (kube_is_absent(err))
                        return error_set(err, ERROR_NOT_FOUND, "secret '%s' not found", name);
                return error_wrap(err, "failed to get secret '%s'", name);
        }
        return secrets_proxy(secret, name, arena, &git->request, err);
}

/* Where the object has no proxy of its own. */
static int use_environment_proxy(struct git_run *git, struct error *err)
{
        cleanup(free_string) char *proxy = NULL;

        TRY(proxy_for_url(git->spec.url, &proxy, err));
        return secrets_proxy_address(proxy, git->source.run->arena, &git->request, err);
}

static int proxy_failed(struct git_run *git, struct error *err)
{
        error_wrap(err, "failed to configure proxy options");
        return source_failed(&git->source, CONDITION_FETCH_FAILED, "AuthenticationFailed", err);
}

static int configure_authentication(struct context *ctx, struct git_run *git, struct error *err)
{
        struct arena *arena = git->source.run->arena;
        cleanup(json_wipe) struct json *secret = NULL;
        const char *name = NULL;

        if (git->spec.secret_ref) {
                name = arena_printf(arena, "%s/%s", git->source.run->namespace, git->spec.secret_ref->name);
                if (get_secret(ctx, git, git->spec.secret_ref->name, &secret, err) < 0) {
                        error_wrap(err, "failed to get secret '%s': failed to get secret '%s'", name, name);
                        return error_reason(err, "AuthenticationFailed");
                }
        }
        return secrets_git(secret, name, arena, &git->request, err);
}

static int configure(struct context *ctx, struct git_run *git, struct error *err)
{
        const struct git_repository_spec *spec = &git->spec;
        struct source_program *program = git->source.program;
        cleanup(buffer_release) struct buffer shown = BUFFER_NULL;
        bool has_user, ssh;

        git->request = (struct git_request){
                .url = view_of(spec->url),
                .key_exchanges = program->ssh_key_exchanges,
                .host_algorithms = program->ssh_host_algorithms,
                .ignore = view_of(spec->ignore),
                .algorithm = storage_algorithm(program->storage),
                .timeout_ms = spec->timeout / DURATION_MILLISECOND,
                .jobs = (unsigned)git->source.run->runtime->flags->concurrent,
        };
        if (spec->ref) {
                git->request.branch = view_of(spec->ref->branch);
                git->request.tag = view_of(spec->ref->tag);
                git->request.semver = view_of(spec->ref->semver);
                git->request.name = view_of(spec->ref->name);
                git->request.commit = view_of(spec->ref->commit);
        }
        if (spec->proxy_secret_ref && configure_proxy(ctx, git, err) < 0)
                return proxy_failed(git, err);
        if (git_url_check(git->request.url, &has_user, &ssh, err) < 0) {
                url_show(git->request.url, &shown);
                error_wrap(err, "failed to parse url '%s'", buffer_string(&shown));
                return source_stalled(&git->source, CONDITION_FETCH_FAILED, "URLInvalid", err);
        }
        if (!spec->proxy_secret_ref && !ssh && use_environment_proxy(git, err) < 0)
                return proxy_failed(git, err);
        if (configure_authentication(ctx, git, err) < 0)
                return source_failed(&git->source, CONDITION_FETCH_FAILED, NULL, err);
        return 0;
}

/* Would the artifact of the same commit be another one? */
static bool content_changed(const struct git_run *git)
{
        const struct git_repository_status *status = &git->status;
        const char *ignore = git->spec.ignore, *observed = status->observed_ignore;

        if ((ignore == NULL) != (observed == NULL) || (ignore && strcmp(ignore, observed) != 0))
                return true;
        return status->observed_recurse_submodules || status->observed_include.count > 0 || status->included_artifacts.count > 0 ||
               status->observed_sparse_checkout.count > 0;
}

/* Fetches into a file of the storage that has no name yet. Outcomes as git_fetch. */
static int fetch(struct context *ctx, struct git_run *git, const char *directory, struct error *err)
{
        struct source_run *source = &git->source;
        int result;

        if (source->artifact && condition_is_true(source->object, CONDITION_ARTIFACT_IN_STORAGE)) {
                git->request.known_revision = view_of(source->artifact->revision);
                git->request.always = content_changed(git);
        }
        if (storage_begin(ctx, source->program->storage, &source->place, NULL, &git->write, err) < 0) {
                error_wrap(err, "failed to create artifact directory");
                return source_failed(source, CONDITION_STORAGE_OPERATION_FAILED, "DirectoryCreationFailed", err);
        }
        reconcile_expect(source->run, git->request.timeout_ms);
        result = git_fetch(ctx, &git->request, directory, git->write.fd, source->run->arena, &git->fetched, err);
        if (result == GIT_EMPTY) {
                error_set(err, ERROR_NOT_FOUND, "git repository is empty");
                return source_failed(source, CONDITION_FETCH_FAILED, "EmptyGitRepository", err);
        }
        if (result < 0 && strcmp(err->reason, GIT_OUTPUT_FAILED) == 0) {
                error_wrap(err, "unable to archive artifact to storage");
                return source_failed(source, CONDITION_STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", err);
        }
        if (result < 0) {
                error_wrap(err, "failed to checkout and determine revision");
                return source_failed(source, CONDITION_FETCH_FAILED, "GitOperationFailed", err);
        }
        return result;
}

/* With a directory for the objects, which goes when the run does. */
static int fetch_in_folder(struct context *ctx, struct git_run *git, struct error *err)
{
        const struct reconcile *run = git->source.run;
        const char *prefix = arena_printf(run->arena, "gitrepository-%s-%s-", run->namespace, run->name);
        cleanup(error_release) struct error problem = ERROR_NULL;
        cleanup(free_string) char *directory = NULL;
        cleanup(close_descriptor) int held = -1; /* so that no other process takes it for abandoned */
        int result;

        if (folder_temporary(prefix, &directory, &held, err) < 0) {
                error_wrap(err, "failed to create temporary working directory");
                return source_failed(&git->source, CONDITION_STORAGE_OPERATION_FAILED, "DirectoryCreationFailed", err);
        }
        result = fetch(ctx, git, directory, err);
        if (folder_remove(AT_FDCWD, directory, &problem) < 0)
                log_error(&run->log, &problem, "failed to remove temporary working directory");
        return result;
}

static void mark_stored(struct git_run *git, const char *revision)
{
        struct source_run *source = &git->source;

        condition_remove(source->object, CONDITION_FETCH_FAILED);
        condition_remove(source->object, CONDITION_ARTIFACT_OUTDATED);
        condition_set(source->object, CONDITION_ARTIFACT_IN_STORAGE, CONDITION_TRUE, REASON_SUCCEEDED,
                      "stored artifact for revision '%s'", revision);
}

/* The first characters of the commit's subject. */
static const char *short_subject(struct arena *arena, const char *subject)
{
        struct view text = view_of(subject);
        size_t at = 0;

        for (int runes = 0; at < text.length; runes++) {
                size_t length = utf8_next(text, at, NULL);

                if (runes == SUBJECT_RUNES)
                        return arena_printf(arena, "%.*s...", (int)at, subject);
                at += length > 0 ? length : 1;
        }
        return subject;
}

static const char *now_text(struct arena *arena)
{
        char text[TIME_TEXT];

        return arena_string(arena, time_print(clock_wall_us(), text));
}

/* The file takes its place, and the status says so. */
static int store(struct context *ctx, struct git_run *git, struct error *err)
{
        struct source_run *source = &git->source;
        struct arena *arena = source->run->arena;
        struct storage *storage = source->program->storage;
        const char *file = arena_printf(arena, "%s.tar.gz", git->fetched.commit);
        cleanup(buffer_release) struct buffer url = BUFFER_NULL;
        struct artifact_status artifact;
        char path[STORAGE_PATH];
        int64_t size = (int64_t)git->fetched.size;

        if (storage_name(ctx, &git->write, &source->place, file, err) < 0) {
                error_wrap(err, "failed to acquire lock for artifact");
                return error_reason(err, REASON_FAILED);
        }
        if (storage_commit(storage, &git->write, git->fetched.digest, git->fetched.size, err) < 0) {
                error_wrap(err, "unable to archive artifact to storage");
                return source_failed(source, CONDITION_STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", err);
        }
        storage_path(&source->place, file, path);
        storage_url(storage, path, &url);
        artifact = (struct artifact_status){
                .path = path,
                .url = buffer_string(&url),
                .revision = git->fetched.revision,
                .digest = git->fetched.digest,
                .last_update_time = now_text(arena),
                .size = &size,
        };
        source_set_artifact(source, &artifact);
        return 0;
}

static void observe(struct git_run *git)
{
        struct json *status = json_object_at(git->source.object, "status");

        json_set_string(status, "observedIgnore", git->spec.ignore);
        json_remove(status, "observedRecurseSubmodules");
        json_remove(status, "observedInclude");
        json_remove(status, "includedArtifacts");
        json_remove(status, "observedSparseCheckout");
}

/* While the artifact of another revision is being replaced, a failure must show that what is served is old. */
static void mark_outdated(struct git_run *git)
{
        struct source_run *source = &git->source;
        const char *revision = git->fetched.revision;

        condition_remove(source->object, CONDITION_FETCH_FAILED);
        if (source->artifact && git_revision_is(view_of(source->artifact->revision), revision))
                return;
        if (source->artifact)
                condition_set(source->object, CONDITION_ARTIFACT_OUTDATED, CONDITION_TRUE, "NewRevision",
                              "new upstream revision '%s'", revision);
        condition_mark_reconciling(source->object, REASON_PROGRESSING, "building artifact: new upstream revision '%s'", revision);
        condition_set(source->object, CONDITION_READY, CONDITION_UNKNOWN, REASON_PROGRESSING,
                      "building artifact: new upstream revision '%s'", revision);
}

static void trace_oddities(struct git_run *git)
{
        const struct git_reference *ref = git->spec.ref;

        if (ref && ref->tag && ref->semver && !ref->name && !ref->commit)
                source_trace(&git->source, "SemverIgnored", "spec.ref.semver is ignored because spec.ref.tag is set");
        if (git->fetched.links_dropped > 0)
                source_trace(&git->source, "SymlinksDropped", "%llu symbolic links are not part of the artifact",
                             (unsigned long long)git->fetched.links_dropped);
}

static int run_phases(struct context *ctx, struct git_run *git, struct error *err)
{
        struct source_run *source = &git->source;
        int result;

        TRY(source_storage(ctx, source, err));
        condition_remove(source->object, CONDITION_SOURCE_VERIFIED);
        json_remove(json_object_at(source->object, "status"), "sourceVerificationMode");
        TRY(refuse_unsupported(git, err));
        /* Of a Flux that was here before, and an include that is gone. */
        condition_remove(source->object, CONDITION_INCLUDE_UNAVAILABLE);
        TRY(configure(ctx, git, err));
        condition_remove(source->object, CONDITION_ARTIFACT_OUTDATED); /* of a run that failed: found out again below */

        result = fetch_in_folder(ctx, git, err);
        if (result < 0)
                return -1;
        if (result == GIT_UNCHANGED) {
                mark_stored(git, git->fetched.revision);
                git->message = arena_printf(source->run->arena, "stored artifact for commit '%s'", git->fetched.revision);
                source_trace(source, "GitOperationSucceeded", "no changes since last reconciliation: observed revision '%s'",
                             git->fetched.revision);
                return 0;
        }
        mark_outdated(git);
        TRY(store(ctx, git, err));
        observe(git);
        mark_stored(git, git->fetched.revision);
        trace_oddities(git);
        git->message = arena_printf(source->run->arena, "stored artifact for commit '%s'",
                                    short_subject(source->run->arena, git->fetched.subject));
        return 0;
}

static void release(struct git_run *git)
{
        storage_abort(&git->write);
        source_release(&git->source);
}

/* What the API server would refuse today: shown, and left until somebody changes it. */
static int refuse_undecodable(struct git_run *git, struct error *cause)
{
        return source_stalled(&git->source, CONDITION_FETCH_FAILED, "InvalidSpec", cause);
}

static int git_repository_reconcile(struct context *ctx, struct reconcile *run, struct error *err)
{
        cleanup(release) struct git_run git = { .write = STORAGE_WRITE_NULL, .message = "" };
        cleanup(error_release) struct error cause = ERROR_NULL, ignored = ERROR_NULL;
        bool readable = kind_decode(&git_repository_kind, run->object, run->arena, &git.spec, NULL, &cause) == 0;
        int result;

        /* A status that cannot be read is one that is not there. */
        kind_decode(&git_repository_kind, run->object, run->arena, NULL, &git.status, &ignored);
        result = source_begin(ctx, &git_repository_source, run, git.status.artifact, git.spec.suspend, &git.source, err);
        if (result != 0)
                return result == SOURCE_OVER ? 0 : -1;
        result = readable ? run_phases(ctx, &git, &cause) : refuse_undecodable(&git, &cause);
        return source_end(ctx, &git.source, result, &cause, git.spec.interval, git.message, err);
}

/* ---- what wakes it besides its own changes: io thread ---- */

static void add_secret_keys(const struct cache_object *object, struct cache_keys *keys)
{
        static const char *const references[] = { "secretRef", "proxySecretRef" };

        for (size_t i = 0; i < sizeof(references) / sizeof(references[0]); i++)
                config_watch_key(object, VIEW("Secret"), scan_string(SCAN_PATH(object->text, "spec", references[i], "name")), keys);
}

static void secret_changed(struct controller *controller, const struct cache_event *event)
{
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;

        config_watch_find(controller, event, "Secret", &list);
        for (size_t i = 0; i < list.count; i++)
                controller_enqueue_for(controller, list.items[i]->namespace, list.items[i]->name, QUEUE_PRIORITY_NORMAL, "Secret",
                                       event->new ? event->new : event->old);
}

static const struct cache_index indexes[] = { { CONFIG_WATCH_INDEX, add_secret_keys } };
static const struct controller_watch watches[] = { { CONFIG_WATCH_SECRETS, .optional = true, .map = secret_changed } };

struct controller git_repository_controller = {
        .kind = &git_repository_kind,
        .reconcile = git_repository_reconcile,
        .removed = source_removed,
        .watches = watches,
        .watch_count = sizeof(watches) / sizeof(watches[0]),
        .indexes = indexes,
        .index_count = sizeof(indexes) / sizeof(indexes[0]),
};
