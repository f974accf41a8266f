#include "net/curl_memory.h"
#include "net/git_private.h"
#include "net/tls.h"
#include "net/url.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/memory.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_BYTES       (512ull << 20)
#define PACK_BYTES         (1ull << 30)
#define OBJECT_LIMIT       4000000
#define REFERENCE_LIMIT    1000000
#define WINDOW_BYTES       (16ul << 20)
#define WINDOWS_BYTES      (128ul << 20)
#define GRACE_MS           1000 /* the job's own message is better than that of its end */
#define DEFAULT_TIMEOUT_MS 60000

static void release_remote(git_remote **remote)
{
        git_remote_free(*remote);
}

static void release_repository(git_repository **repository)
{
        git_repository_free(*repository);
}

static void release_commit(git_commit **commit)
{
        git_commit_free(*commit);
}

static void release_object(git_object **object)
{
        git_object_free(*object);
}

/* The transport and the server know better than libgit2 why it failed. `what` was being received. */
static int remote_failed(struct git_session *session, const char *what, struct error *err)
{
        const git_error *last = git_error_last();

        if (session->failure.kind != ERROR_NONE)
                return error_move(err, &session->failure);
        if (session->packets.said)
                return error_set(err, ERROR_UNAVAILABLE, "remote error: %s", session->packets.said);
        if (last && last->klass == GIT_ERROR_NOMEMORY)
                return error_set(err, ERROR_TOO_LARGE, "%s does not fit the memory of a fetch", what);
        /* A setting that it looked for before; about the failure it said nothing. */
        if (!last || last->klass == GIT_ERROR_CONFIG)
                return error_set(err, ERROR_INVALID, "the server's answer is not that of a Git server");
        return git_library_error(err);
}

/* Here Flux has words of its own. */
static int listing_failed(struct git_session *session, struct error *err)
{
        const git_error *last = git_error_last();

        if (session->failure.kind == ERROR_NONE && session->packets.said)
                return error_set(err, ERROR_UNAVAILABLE, "%s", session->packets.said);
        if (session->failure.kind == ERROR_NONE && last && last->message && strcmp(last->message, "bad packet length") == 0)
                return error_set(err, ERROR_INVALID, "invalid pkt-len found");
        return remote_failed(session, "the server's list of references", err);
}

static int make_transport(git_transport **out, git_remote *owner, void *data)
{
        struct git_session *session = data;
        bool ssh = strcmp(session->url.scheme, "ssh") == 0;
        git_smart_subtransport_definition definition = {
                .callback = ssh ? git_ssh_subtransport : git_http_subtransport,
                .rpc = !ssh,
                .param = session,
        };

        return git_transport_smart(out, owner, &definition);
}

static int on_progress(const git_indexer_progress *progress, void *data)
{
        struct git_session *session = data;
        int64_t left;

        if (git_remaining(session, &left, &session->failure) < 0)
                return -1;
        if (progress->received_bytes > PACK_BYTES)
                return error_set(&session->failure, ERROR_TOO_LARGE, "the server sends more than %llu bytes", PACK_BYTES);
        if (progress->total_objects > OBJECT_LIMIT)
                return error_set(&session->failure, ERROR_TOO_LARGE, "the server sends more than %d objects", OBJECT_LIMIT);
        return 0;
}

/* One fetch, with what it has so far. */
struct run {
        struct git_session *session;
        struct arena *arena;
        const struct git_request *request;
        git_repository *repository;
        git_remote *remote;
        const struct git_advertised *heads;
        size_t head_count;
        struct git_selection selection;
};

static int list(struct run *run, struct error *err)
{
        git_remote_connect_options options = GIT_REMOTE_CONNECT_OPTIONS_INIT;
        const git_remote_head **heads;
        struct git_advertised *copy;
        size_t count, kept = 0;

        options.callbacks.transport = make_transport;
        options.callbacks.payload = run->session;
        options.callbacks.transfer_progress = on_progress;
        if (git_remote_connect_ext(run->remote, GIT_DIRECTION_FETCH, &options) < 0 ||
            git_remote_ls(&heads, &count, run->remote) < 0)
                return listing_failed(run->session, err);
        if (count > REFERENCE_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "the server has more than %d references", REFERENCE_LIMIT);
        copy = arena_array(run->arena, count + 1, sizeof(*copy));
        for (size_t i = 0; i < count; i++) {
                /* A server without a commit shows its capabilities under a name of its own. */
                if (strcmp(heads[i]->name, "capabilities^{}") == 0)
                        continue;
                copy[kept].name = arena_string(run->arena, heads[i]->name);
                copy[kept++].oid = heads[i]->oid;
        }
        run->heads = copy;
        run->head_count = kept;
        return 0;
}

/* depth 0: all history */
static int download(struct run *run, const char *const *specs, size_t count, int depth, struct error *err)
{
        git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
        git_strarray list = { .strings = (char **)(uintptr_t)specs, .count = count };

        options.depth = depth;
        options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
        options.callbacks.transport = make_transport;
        options.callbacks.payload = run->session;
        options.callbacks.transfer_progress = on_progress;
        if (git_remote_download(run->remote, &list, &options) < 0)
                return remote_failed(run->session, "an object of the repository", err);
        return 0;
}

/* A commit that is no tip: by its id where the server allows it, else with the history it must be in. */
static int download_commit(struct run *run, const struct git_candidate *candidate, struct error *err)
{
        cleanup(error_release) struct error refused = ERROR_NULL;
        char hex[GIT_OID_SHA1_HEXSIZE + 1];
        const char *spec = git_oid_tostr(hex, sizeof(hex), &candidate->oid);
        const char **all;
        size_t count = 0;

        if (download(run, &spec, 1, 1, &refused) == 0)
                return 0;
        if (refused.kind == ERROR_TIMEOUT || refused.kind == ERROR_TOO_LARGE)
                return error_move(err, &refused);

        git_remote_disconnect(run->remote);
        TRY(list(run, err));
        all = arena_array(run->arena, run->head_count + 1, sizeof(*all));
        if (run->selection.reference && run->request->branch.length > 0)
                all[count++] = run->selection.reference;
        else
                for (size_t i = 0; i < run->head_count; i++)
                        if (strncmp(run->heads[i].name, "refs/heads/", 11) == 0)
                                all[count++] = run->heads[i].name;
        return download(run, all, count, 0, err);
}

static int download_selection(struct run *run, struct error *err)
{
        const struct git_selection *selection = &run->selection;
        const char **names;

        if (!selection->candidates[0].name)
                return download_commit(run, &selection->candidates[0], err);
        names = arena_array(run->arena, selection->count, sizeof(*names));
        for (size_t i = 0; i < selection->count; i++)
                names[i] = selection->candidates[i].name;
        return download(run, names, selection->count, 1, err);
}

static int lookup(struct run *run, const git_oid *oid, git_commit **ret_commit, struct error *err)
{
        cleanup(release_object) git_object *object = NULL;
        char hex[GIT_OID_SHA1_HEXSIZE + 1];

        git_oid_tostr(hex, sizeof(hex), oid);
        if (git_object_lookup(&object, run->repository, oid, GIT_OBJECT_ANY) < 0) {
                if (git_error_last() && git_error_last()->klass == GIT_ERROR_ODB)
                        return error_set(err, ERROR_NOT_FOUND, "unable to resolve commit object for '%s': object not found", hex);
                return git_library_error(err);
        }
        if (git_object_peel((git_object **)ret_commit, object, GIT_OBJECT_COMMIT) < 0)
                return error_set(err, ERROR_INVALID, "unable to resolve commit object for '%s': it is no commit", hex);
        return 0;
}

/* Of several tags for one version, that of the newest commit. */
static int choose(struct run *run, git_commit **ret_commit, struct error *err)
{
        cleanup(release_commit) git_commit *best = NULL;

        for (size_t i = 0; i < run->selection.count; i++) {
                cleanup(release_commit) git_commit *commit = NULL;

                TRY(lookup(run, &run->selection.candidates[i].oid, &commit, err));
                if (best && git_commit_time(commit) < git_commit_time(best))
                        continue;
                git_commit_free(best);
                best = steal(&commit);
                if (run->selection.count > 1)
                        run->selection.reference = run->selection.candidates[i].name;
        }
        *ret_commit = steal(&best);
        return 0;
}

static bool unchanged(const struct git_request *request, const char *revision)
{
        return !request->always && git_revision_is(request->known_revision, revision);
}

static void describe(struct run *run, const git_oid *commit, struct git_result *result)
{
        char hex[GIT_OID_SHA1_HEXSIZE + 1];

        result->revision = git_revision(run->arena, &run->selection, run->selection.reference, commit);
        result->commit = arena_string(run->arena, git_oid_tostr(hex, sizeof(hex), commit));
}

/* The URL in messages: as it was given, unless it holds a password. */
static const char *shown_url(struct arena *arena, struct view text)
{
        cleanup(buffer_release) struct buffer shown = BUFFER_NULL;

        url_show(text, &shown);
        return arena_view(arena, buffer_view(&shown)).data;
}

/* Flux lists where it hopes to find nothing new, and clones where it knows better. */
static bool would_list(const struct git_request *request)
{
        return !request->commit.length &&
               (request->name.length > 0 || (request->known_revision.length > 0 && !request->semver.length));
}

static int failed_at(const struct git_request *request, const char *url, struct error *err)
{
        return error_wrap(err, would_list(request) ? "unable to list remote for '%s'" : "unable to clone '%s'", url);
}

static int list_failed(struct run *run, const char *url, struct error *err)
{
        cleanup(error_release) struct error cause = ERROR_NULL;

        if (would_list(run->request) || err->kind != ERROR_NOT_FOUND || strcmp(run->session->url.scheme, "ssh") != 0)
                return failed_at(run->request, url, err);
        /* Over ssh there is no answer that Flux could quote; what the server's program said comes after its words. */
        error_move(&cause, err);
        return error_set(err, ERROR_NOT_FOUND, "unable to clone: repository not found: git repository: '%s'%s", url,
                         error_message(&cause) + strlen("repository not found"));
}

/* What the server said is there decides; texts are those of the reference. */
static int select_failed(struct run *run, const char *url, struct error *err)
{
        if (run->head_count == 0 && would_list(run->request))
                return failed_at(run->request, url, err);
        if (run->head_count == 0) {
                cleanup(error_release) struct error cause = ERROR_NULL;

                error_move(&cause, err);
                return error_set(err, ERROR_NOT_FOUND, "unable to clone: %s: git repository: '%s'", error_message(&cause), url);
        }
        if (view_starts(view_of(error_message(err)), VIEW("couldn't find remote ref")))
                return error_wrap(err, "unable to clone '%s'", url);
        return -1;
}

static int run_fetch(struct run *run, int output, struct git_result *result, struct error *err)
{
        cleanup(release_commit) git_commit *commit = NULL;
        const char *url = shown_url(run->arena, run->request->url);
        const char *subject;
        int outcome;

        if (list(run, err) < 0)
                return list_failed(run, url, err);
        outcome = git_select(run->arena, run->request, run->heads, run->head_count, &run->selection, err);
        if (outcome < 0)
                return select_failed(run, url, err);
        if (outcome > 0)
                return outcome;
        if (run->selection.count == 1) {
                describe(run, &run->selection.candidates[0].oid, result);
                if (unchanged(run->request, result->revision))
                        return GIT_UNCHANGED;
        }
        if (download_selection(run, err) < 0)
                return error_wrap(err, "unable to clone '%s'", url);
        TRY(choose(run, &commit, err));
        describe(run, git_commit_id(commit), result);
        if (unchanged(run->request, result->revision))
                return GIT_UNCHANGED;
        subject = git_commit_message(commit);
        result->subject = arena_string_n(run->arena, subject ? subject : "", subject ? strcspn(subject, "\n") : 0);
        return git_archive(run->repository, git_commit_tree_id(commit), run->request, output, result, err);
}

static int open_repository(struct run *run, const char *directory, struct error *err)
{
        git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;

        options.flags = GIT_REPOSITORY_INIT_BARE;
        if (git_repository_init_ext(&run->repository, directory, &options) < 0 ||
            git_remote_create_anonymous(&run->remote, run->repository, arena_view(run->arena, run->request->url).data) < 0)
                return git_library_error(err);
        return 0;
}

static int check_credentials(const struct git_session *session, struct error *err)
{
        const struct git_request *request = session->request;
        bool basic = request->username.length > 0 || request->password.length > 0 || session->url.user || session->url.password;

        if (request->bearer_token.length > 0 && basic)
                return error_set(err, ERROR_INVALID, "basic auth and bearer token cannot be set at the same time");
        for (size_t i = 0; i < request->bearer_token.length; i++)
                if ((unsigned char)request->bearer_token.data[i] < ' ')
                        return error_set(err, ERROR_INVALID, "the bearer token holds a line break or another control character");
        return 0;
}

/* In the child: the directory's name, a NUL, the request. */
static int fetch_job(struct job *job, struct error *err)
{
        struct git_request request;
        struct git_result result = { .size = 0 };
        struct arena *arena = arena_new();
        struct git_session session = { .arena = arena, .request = &request };
        struct run run = { .session = &session, .arena = arena, .request = &request };
        cleanup(buffer_release) struct buffer bytes = BUFFER_NULL;
        size_t name_length = strnlen(job->input.data, job->input.length);
        int outcome;

        git_prepare();
        TRY(git_request_decode(view_slice(job->input, name_length + 1, job->input.length), &request, err));
        session.deadline_ms = clock_now_ms() + request.timeout_ms;
        if (git_url_parse(arena, request.url, &session.url, err) < 0)
                return error_wrap(err, "failed to parse url");
        TRY(check_credentials(&session, err));
        if (request.certificate.length > 0 && tls_check_pair(request.certificate, request.key, err) < 0)
                return failed_at(&request, shown_url(arena, request.url), err);
        if (strcmp(session.url.scheme, "ssh") == 0 && git_ssh_prepare(&session, err) < 0)
                return error_wrap(err, "unable to construct auth method with options");
        outcome = open_repository(&run, job->input.data, err);
        if (outcome == 0)
                outcome = run_fetch(&run, job->descriptors[0], &result, err);
        release_remote(&run.remote);
        release_repository(&run.repository);
        if (outcome < 0)
                return -1;
        git_result_encode(outcome, &result, &bytes);
        return job_write(job, buffer_view(&bytes), err);
}

void git_prepare(void)
{
        static bool done;

        if (done)
                return;
        done = true;
        curl_memory_init();
        git_libgit2_init();
        /* OpenSSL looks up its algorithms for the first of them: 2 ms that no child has to spend again. */
        SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
        for (int level = GIT_CONFIG_LEVEL_PROGRAMDATA; level <= GIT_CONFIG_LEVEL_GLOBAL; level++)
                git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
        git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
        git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, (size_t)WINDOW_BYTES);
        git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)WINDOWS_BYTES);
        git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECTS, (size_t)OBJECT_LIMIT);
        git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)(16 << 20));
}

int git_fetch(struct context *ctx, const struct git_request *given, const char *directory, int output, struct arena *arena,
              struct git_result *ret_result, struct error *err)
{
        struct git_request request = *given;
        struct job_path path = { .path = directory, .access = JOB_WRITE };
        struct job_descriptor descriptor = { .fd = output, .access = JOB_HANDLE };
        struct job_grant grant = {
                .descriptors = &descriptor, .descriptor_count = 1, .paths = &path, .path_count = 1, .network = true
        };
        struct job_limits limits = { .file_bytes = PACK_BYTES };
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(buffer_release) struct buffer input = BUFFER_SECRET;
        uint64_t room;
        int outcome;

        if (request.timeout_ms <= 0)
                request.timeout_ms = DEFAULT_TIMEOUT_MS;
        room = job_memory_budget() / (request.jobs ? request.jobs : 1);
        limits.memory_bytes = room < MEMORY_BYTES ? room : MEMORY_BYTES;
        limits.deadline_ms = request.timeout_ms + GRACE_MS;
        buffer_add(&input, directory, strlen(directory) + 1);
        git_request_encode(&request, &input);
        outcome = job_run(ctx, fetch_job, buffer_view(&input), &limits, &grant, &result, err);
        if (outcome == JOB_KILLED && err->kind == ERROR_TIMEOUT)
                git_deadline_exceeded(err);
        if (outcome > 0)
                return error_wrap(err, "unable to clone '%s'", shown_url(arena, request.url));
        if (outcome < 0)
                return -1;
        TRY(git_result_decode(arena, result.output, &outcome, ret_result, err));
        return outcome;
}
