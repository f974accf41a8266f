/*
 * An entry is in the list from the moment somebody wants it. While it is loading, one thread downloads and the others sleep on their wake handles;
 * when it ends, all are woken: they take the tree, or try themselves if the download failed. The list is short (one entry per source and
 * revision in use), so it is searched.
 *
 * Trees that nobody uses are removed when others come and go, and by a timer: it starts a thread, because removing files may take long and the io thread
 * must not wait.
 */
#include "artifact.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/folder.h"
#include "base/job.h"
#include "base/memory.h"
#include "base/pack.h"
#include "data/archive.h"
#include "data/digest.h"
#include "net/http.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PREFIX         "kustomization-"
#define IDLE_MS        5000
#define IDLE_LIMIT     16
#define WAITERS_LIMIT  1024
#define DOWNLOAD_LIMIT (4ull << 30)
#define UNPACK_LIMIT   (16ull << 30)
#define ENTRY_LIMIT    1000000
#define UNPACK_MS      300000
#define RETRY_FIRST_MS 5000
#define RETRY_LAST_MS  30000

enum state {
        LOADING,
        READY,
        FAILED,
};

struct artifact {
        struct artifact *next;
        struct artifact_cache *cache;
        enum state state;
        unsigned users; /* those who wait included */
        int64_t idle_since_ms;
        char *digest;
        char *path;
        int root;
        size_t waiter_count;
        int waiters[WAITERS_LIMIT];
};

struct artifact_cache {
        struct io *io;
        struct artifact_options options;
        pthread_mutex_t lock;
        struct artifact *entries;
        struct io_timer timer; /* the io thread's */
        pthread_cond_t swept;
        bool sweeping;
};

static void remove_tree(struct artifact *artifact)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;

        close_descriptor(&artifact->root);
        if (artifact->path)
                folder_remove(AT_FDCWD, artifact->path, &ignored); /* what cannot be removed now goes at the next start */
        free(artifact->path);
        free(artifact->digest);
        free(artifact);
}

static struct artifact *take_idle(struct artifact_cache *cache);
static void drop(struct artifact *list);

static void *sweep_main(void *argument)
{
        struct artifact_cache *cache = argument;
        struct artifact *idle;

        pthread_mutex_lock(&cache->lock);
        idle = take_idle(cache);
        pthread_mutex_unlock(&cache->lock);
        drop(idle);
        pthread_mutex_lock(&cache->lock);
        cache->sweeping = false;
        pthread_cond_broadcast(&cache->swept);
        pthread_mutex_unlock(&cache->lock);
        return NULL;
}

/* On the io thread. */
static void on_timer(void *argument)
{
        struct artifact_cache *cache = argument;
        pthread_t thread;
        bool start;

        pthread_mutex_lock(&cache->lock);
        start = !cache->sweeping;
        cache->sweeping = true;
        pthread_mutex_unlock(&cache->lock);
        if (!start)
                return;
        if (pthread_create(&thread, NULL, sweep_main, cache) == 0) {
                pthread_detach(thread);
                return;
        }
        pthread_mutex_lock(&cache->lock);
        cache->sweeping = false; /* the next release tries again */
        pthread_mutex_unlock(&cache->lock);
}

static void arm_timer(void *argument)
{
        struct artifact_cache *cache = argument;

        io_timer_set(cache->io, &cache->timer, clock_now_ms() + IDLE_MS + 100);
}

static void disarm_timer(void *argument)
{
        struct artifact_cache *cache = argument;

        io_timer_cancel(cache->io, &cache->timer);
}

struct artifact_cache *artifact_cache_new(struct io *io, const struct artifact_options *options)
{
        struct artifact_cache *cache = memory_zero(1, sizeof(*cache));

        cache->io = io;
        cache->options = *options;
        cache->timer = (struct io_timer){ .fn = on_timer, .argument = cache };
        pthread_mutex_init(&cache->lock, NULL);
        pthread_cond_init(&cache->swept, NULL);
        folder_sweep(PREFIX);
        return cache;
}

void artifact_cache_free(struct artifact_cache **cache)
{
        if (!*cache)
                return;
        io_run_wait((*cache)->io, disarm_timer, *cache);
        pthread_mutex_lock(&(*cache)->lock);
        while ((*cache)->sweeping)
                pthread_cond_wait(&(*cache)->swept, &(*cache)->lock);
        pthread_mutex_unlock(&(*cache)->lock);
        while ((*cache)->entries) {
                struct artifact *artifact = (*cache)->entries;

                (*cache)->entries = artifact->next;
                remove_tree(artifact);
        }
        pthread_cond_destroy(&(*cache)->swept);
        pthread_mutex_destroy(&(*cache)->lock);
        free(*cache);
        *cache = NULL;
}

/* ---- download ---- */

/* "http://host:port/path" with the host replaced. */
static char *address_of(const struct artifact_cache *cache, const char *url)
{
        const char *host = strstr(url, "//source-watcher") ? cache->options.watcher_host : cache->options.source_host;
        const char *start = strstr(url, "://"), *end;

        if (!host || !*host || !start)
                return memory_string(url);
        end = strchr(start + 3, '/');
        return memory_printf("%.*s://%s%s", (int)(start - url), url, host, end ? end : "");
}

struct download {
        int fd;
        struct digest *digest;
        const char *wanted;
        uint64_t limit, taken;
};

static int unverified(const char *wanted, struct error *error)
{
        return error_set(error, ERROR_INVALID,
                         "failed to verify archive: computed digest doesn't match provided '%s' (check whether file size exceeds "
                         "max download size)",
                         wanted);
}

static int take_bytes(void *data, struct view bytes, struct error *err)
{
        struct download *download = data;

        /* More than there should be: whatever follows, it is not what was published. */
        download->taken += bytes.length;
        if (download->taken > download->limit)
                return unverified(download->wanted, err);
        digest_add(download->digest, bytes);
        while (bytes.length) {
                ssize_t written = write(download->fd, bytes.data, bytes.length);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0)
                        return error_set_errno(err, errno, "write the artifact");
                bytes = view_slice(bytes, (size_t)written, SIZE_MAX);
        }
        return 0;
}

static bool may_pass(int status)
{
        return status == 429 || (status >= 500 && status != 501);
}

/* One attempt. ARTIFACT_ABSENT for 404; *ret_again says whether another attempt may help. */
static int download_once(struct context *ctx, struct artifact_cache *cache, const char *address, struct download *download,
                         bool *ret_again, struct error *error)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        const struct http_request request = {
                .url = address, .timeout_ms = -1, .body_limit = UINT64_MAX, .sink = take_bytes, .sink_data = download
        };

        *ret_again = false;
        if (http_call(ctx, cache->io, &request, &response, error) < 0) {
                *ret_again =
                        error->kind == ERROR_UNAVAILABLE || (error->kind == ERROR_TIMEOUT && context_cause(ctx) == CONTEXT_RUNNING);
                if (download->taken > download->limit)
                        return -1;
                return error_wrap(error, "failed to download archive from %s", address);
        }
        if (response.status == 404)
                return ARTIFACT_ABSENT;
        if (response.status == 200)
                return 0;
        *ret_again = may_pass(response.status);
        return error_set(error, ERROR_UNAVAILABLE, "failed to download archive from %s (status: %s)", address,
                         response.status_text);
}

static int verify(const char *wanted, struct digest *digest, struct error *error)
{
        char text[DIGEST_TEXT];

        if (digest_equal(view_of(wanted), view_of(digest_end(digest, text))))
                return 0;
        return unverified(wanted, error);
}

/*
 * The pause before the next attempt, in which others go on. If it is cut short, the error says also why there was to be another; if there is something
 * newer to do, it stays what it was.
 */
static int pause_for(const struct artifact_patience *patience, int64_t pause, struct error *error)
{
        cleanup(error_release) struct error before = ERROR_NULL;
        int64_t left = context_deadline(patience->work) - clock_now_ms();

        error_move(&before, error);
        if (patience->slow)
                patience->slow(patience->data, &before);
        reconcile_wait_begin(patience->run);
        context_sleep(patience->ctx, pause < left ? pause : left, error);
        reconcile_wait_end(patience->run);
        error_release(error);
        if (context_check(patience->work, error) == 0) {
                if (context_cause(patience->ctx) == CONTEXT_RUNNING)
                        return 0;
                return error_move(error, &before);
        }
        return error_set_reason(error, error->kind, error->reason, "%s - error from a previous attempt: %s", error_message(error),
                                error_message(&before));
}

static int download(const struct artifact_patience *patience, struct artifact_cache *cache, const char *url, const char *wanted,
                    uint64_t size, int fd, struct error *error)
{
        cleanup(free_string) char *address = address_of(cache, url);
        enum digest_algorithm algorithm = DIGEST_SHA256;
        int64_t pause = RETRY_FIRST_MS;
        struct view hex;

        if (!*wanted)
                return error_set(error, ERROR_INVALID, "failed to verify archive: empty digest");
        if (digest_parse(view_of(wanted), &algorithm, &hex, error) < 0)
                return error_wrap(error, "failed to verify archive");
        for (unsigned attempt = 0;; attempt++) {
                cleanup(digest_free) struct digest *digest = digest_begin(algorithm);
                struct download one = {
                        .fd = fd, .digest = digest, .wanted = wanted, .limit = size && size < DOWNLOAD_LIMIT ? size : DOWNLOAD_LIMIT
                };
                bool again;
                int r;

                if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                        return error_set_errno(error, errno, "rewind the artifact's file");
                r = download_once(patience->work, cache, address, &one, &again, error);
                if (r == 0)
                        return verify(wanted, digest, error);
                if (!again || attempt >= cache->options.retries)
                        return r;
                TRY(pause_for(patience, pause, error));
                pause = pause * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : pause * 2;
        }
}

/* ---- unpacking ---- */

static int unpack_job(struct job *job, struct error *err)
{
        const struct archive_limits limits = { .entries = ENTRY_LIMIT, .bytes = UNPACK_LIMIT };
        struct archive_summary summary;

        return archive_extract(NULL, job->descriptors[0], job->descriptors[1], DIGEST_SHA256, &limits, &summary, err);
}

static int unpack(struct context *ctx, int file, int root, struct error *error)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        const struct job_limits limits = { .deadline_ms = UNPACK_MS,
                                           .memory_bytes = ARTIFACT_UNPACK_MEMORY,
                                           .file_bytes = UNPACK_LIMIT };
        const struct job_descriptor descriptors[] = { { file, JOB_HANDLE }, { root, JOB_WRITE } };
        const struct job_grant grant = { .descriptors = descriptors, .descriptor_count = 2 };

        if (lseek(file, 0, SEEK_SET) < 0)
                return error_set_errno(error, errno, "rewind the artifact's file");
        if (job_run(ctx, unpack_job, VIEW(""), &limits, &grant, &result, error) != 0)
                return error_wrap(error, "failed to untar archive");
        return 0;
}

static int load(const struct artifact_patience *patience, struct artifact *artifact, const char *url, uint64_t size,
                struct error *error)
{
        cleanup(close_descriptor) int file = -1;
        int r;

        if (folder_temporary(PREFIX, &artifact->path, &artifact->root, error) < 0)
                return error_wrap(error, "tmp dir error");
        file = openat(artifact->root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (file < 0)
                file = memfd_create("artifact", MFD_CLOEXEC); /* a file system without nameless files */
        if (file < 0)
                return error_set_errno(error, errno, "open a temporary file in %s", artifact->path);
        r = download(patience, artifact->cache, url, artifact->digest, size, file, error);
        if (r != 0)
                return r;
        return unpack(patience->work, file, artifact->root, error);
}

/* ---- the cache ---- */

static struct artifact *find(struct artifact_cache *cache, const char *digest)
{
        for (struct artifact *artifact = cache->entries; artifact; artifact = artifact->next)
                if (artifact->state != FAILED && strcmp(artifact->digest, digest) == 0)
                        return artifact;
        return NULL;
}

/* Takes what is idle for too long, or too many, out of the list; the caller removes it without the lock. */
static struct artifact *take_idle(struct artifact_cache *cache)
{
        struct artifact *taken = NULL;
        int64_t now = clock_now_ms();
        size_t idle = 0;

        for (struct artifact **link = &cache->entries; *link;) {
                struct artifact *artifact = *link;

                if (artifact->users == 0 &&
                    (artifact->state == FAILED || now - artifact->idle_since_ms > IDLE_MS || ++idle > IDLE_LIMIT)) {
                        *link = artifact->next;
                        artifact->next = taken;
                        taken = artifact;
                        continue;
                }
                link = &artifact->next;
        }
        return taken;
}

static void drop(struct artifact *list)
{
        while (list) {
                struct artifact *next = list->next;

                remove_tree(list);
                list = next;
        }
}

static void wake_all(struct artifact *artifact)
{
        for (size_t i = 0; i < artifact->waiter_count; i++)
                context_wake(artifact->waiters[i]);
        artifact->waiter_count = 0;
}

/* With the lock held and given up meanwhile. 0: it is READY or FAILED. */
static int wait_loaded(const struct artifact_patience *patience, struct artifact *artifact, struct error *error)
{
        struct artifact_cache *cache = artifact->cache;

        while (artifact->state == LOADING) {
                int r;

                if (artifact->waiter_count == WAITERS_LIMIT)
                        return error_set(error, ERROR_INTERNAL, "more than %d reconciles wait for one artifact", WAITERS_LIMIT);
                artifact->waiters[artifact->waiter_count++] = context_wake_handle();
                pthread_mutex_unlock(&cache->lock);
                reconcile_wait_begin(patience->run);
                r = context_poll(patience->work, NULL, 0, -1, error);
                reconcile_wait_end(patience->run);
                pthread_mutex_lock(&cache->lock);
                for (size_t i = 0; i < artifact->waiter_count; i++) {
                        if (artifact->waiters[i] == context_wake_handle()) {
                                artifact->waiters[i] = artifact->waiters[--artifact->waiter_count];
                                break;
                        }
                }
                if (r < 0)
                        return -1;
        }
        return 0;
}

/* A new entry that the caller loads. */
static struct artifact *add(struct artifact_cache *cache, const char *digest)
{
        struct artifact *artifact = memory_zero(1, sizeof(*artifact));

        artifact->cache = cache;
        artifact->digest = memory_string(digest);
        artifact->root = -1;
        artifact->users = 1;
        artifact->next = cache->entries;
        cache->entries = artifact;
        return artifact;
}

int artifact_acquire(const struct artifact_patience *patience, struct artifact_cache *cache, const char *url, const char *digest,
                     uint64_t size, struct artifact **ret_artifact, struct error *error)
{
        struct artifact *artifact, *idle;
        int r = 0;

        pthread_mutex_lock(&cache->lock);
        idle = take_idle(cache);
        while ((artifact = find(cache, digest))) {
                artifact->users++;
                r = wait_loaded(patience, artifact, error);
                if (r == 0 && artifact->state == READY)
                        break;
                artifact->users--;
                if (r < 0)
                        break;
        }
        if (artifact || r < 0) {
                pthread_mutex_unlock(&cache->lock);
                drop(idle);
                if (r == 0)
                        *ret_artifact = artifact;
                return r;
        }
        artifact = add(cache, digest);
        pthread_mutex_unlock(&cache->lock);
        drop(idle);

        r = load(patience, artifact, url, size, error);

        pthread_mutex_lock(&cache->lock);
        artifact->state = r == 0 ? READY : FAILED;
        if (r != 0) {
                artifact->users--;
                io_run(cache->io, arm_timer, cache);
        }
        wake_all(artifact);
        pthread_mutex_unlock(&cache->lock);
        if (r == 0)
                *ret_artifact = artifact;
        return r;
}

void artifact_release(struct artifact **artifact)
{
        struct artifact_cache *cache;
        struct artifact *idle;

        if (!*artifact)
                return;
        cache = (*artifact)->cache;
        pthread_mutex_lock(&cache->lock);
        if (--(*artifact)->users == 0) {
                (*artifact)->idle_since_ms = clock_now_ms();
                io_run(cache->io, arm_timer, cache);
        }
        idle = take_idle(cache);
        pthread_mutex_unlock(&cache->lock);
        drop(idle);
        *artifact = NULL;
}

int artifact_root(const struct artifact *artifact)
{
        return artifact->root;
}

const char *artifact_path(const struct artifact *artifact)
{
        return artifact->path;
}
