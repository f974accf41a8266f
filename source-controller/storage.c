#include "storage.h"

#include "base/beneath.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/folder.h"
#include "base/memory.h"
#include "storage_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Another writer of the same file is rare and short: a second replica that still has the lease in its memory. */
#define LOCK_RETRY_MS 10
#define NAME_ATTEMPTS 100

/* As the host of the listen address; a pod's own name where it listens on every address. */
static char *address_of(const struct storage_options *options)
{
        const char *colon;
        char name[256];
        size_t length;

        if (options->advertised_address && *options->advertised_address)
                return memory_string(options->advertised_address);
        colon = strrchr(options->listen_address, ':');
        length = colon ? (size_t)(colon - options->listen_address) : strlen(options->listen_address);
        if (length == 0)
                return memory_printf("localhost%s", colon ? colon : "");
        if (view_is((struct view){ options->listen_address, length }, "0.0.0.0")) {
                const char *host = getenv("HOSTNAME");

                if (!host || !*host) {
                        if (gethostname(name, sizeof(name)) < 0)
                                snprintf(name, sizeof(name), "localhost");
                        name[sizeof(name) - 1] = '\0';
                        host = name;
                }
                return memory_printf("%s%s", host, colon ? colon : "");
        }
        return memory_string(options->listen_address);
}

int storage_open(const struct storage_options *options, struct storage **ret_storage, struct error *err)
{
        int root = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct storage *storage;

        if (root < 0)
                return error_set(err, ERROR_INVALID, "invalid dir path: %s", options->path);
        storage = memory_zero(1, sizeof(*storage));
        storage->root = root;
        storage->address = address_of(options);
        storage->algorithm = options->algorithm;
        storage->retention_ttl_ms = options->retention_ttl_ms;
        storage->retention_records = options->retention_records;
        pthread_mutex_init(&storage->lock, NULL);
        *ret_storage = storage;
        return 0;
}

void storage_close(struct storage **storage)
{
        struct storage *s = *storage;

        if (!s)
                return;
        for (size_t i = 0; i < s->seen_count; i++)
                free(s->seen[i].path);
        free(s->seen);
        pthread_mutex_destroy(&s->lock);
        free(s->address);
        close(s->root);
        free(s);
        *storage = NULL;
}

int storage_root(const struct storage *storage)
{
        return storage->root;
}

enum digest_algorithm storage_algorithm(const struct storage *storage)
{
        return storage->algorithm;
}

char *storage_path(const struct storage_object *object, const char *file, char path[STORAGE_PATH])
{
        snprintf(path, STORAGE_PATH, "%s/%s/%s%s%s", object->kind, object->namespace, object->name, file ? "/" : "",
                 file ? file : "");
        return path;
}

void storage_url(const struct storage *storage, const char *path, struct buffer *url)
{
        struct view address = view_of(storage->address);

        if (!view_starts(address, VIEW("http://")) && !view_starts(address, VIEW("https://")))
                buffer_add_string(url, "http://");
        buffer_add_view(url, address);
        buffer_add_char(url, '/');
        while (*path == '/')
                path++;
        buffer_add_string(url, path);
}

bool storage_path_valid(const char *path)
{
        struct view rest = view_of(path), piece;
        unsigned count = 0;

        for (; view_split(&rest, '/', &piece); count++)
                if (!piece.length || view_is(piece, ".") || view_is(piece, ".."))
                        return false;
        return count == 4;
}

static bool has_suffix(const char *name, const char *suffix)
{
        return view_ends(view_of(name), view_of(suffix));
}

bool storage_hidden(const char *name)
{
        return has_suffix(name, STORAGE_LOCK_SUFFIX) || has_suffix(name, STORAGE_TEMPORARY_SUFFIX);
}

/* What was seen of files. */

/* Index of the first entry that is not before the path. */
static size_t seen_find(const struct storage *storage, const char *path)
{
        size_t low = 0, high = storage->seen_count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(storage->seen[middle].path, path) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static bool seen_is(const struct storage *storage, size_t at, const char *path)
{
        return at < storage->seen_count && strcmp(storage->seen[at].path, path) == 0;
}

static bool time_equal(struct timespec a, struct timespec b)
{
        return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

void storage_seen_put(struct storage *storage, const char *path, const char *digest, const struct stat *status)
{
        struct storage_seen *seen;
        size_t at;

        pthread_mutex_lock(&storage->lock);
        at = seen_find(storage, path);
        if (!seen_is(storage, at, path)) {
                if (storage->seen_count == storage->seen_capacity) {
                        storage->seen_capacity = storage->seen_capacity ? storage->seen_capacity * 2 : 32;
                        storage->seen = memory_resize(storage->seen, storage->seen_capacity, sizeof(*storage->seen));
                }
                memmove(storage->seen + at + 1, storage->seen + at, (storage->seen_count - at) * sizeof(*storage->seen));
                storage->seen_count++;
                storage->seen[at].path = memory_string(path);
        }
        seen = &storage->seen[at];
        snprintf(seen->digest, sizeof(seen->digest), "%s", digest);
        seen->size = status->st_size;
        seen->inode = status->st_ino;
        seen->modified = status->st_mtim;
        seen->changed = status->st_ctim;
        pthread_mutex_unlock(&storage->lock);
}

bool storage_seen_get(struct storage *storage, const char *path, const struct stat *status, char digest[DIGEST_TEXT])
{
        bool known = false;
        size_t at;

        pthread_mutex_lock(&storage->lock);
        at = seen_find(storage, path);
        if (seen_is(storage, at, path)) {
                const struct storage_seen *seen = &storage->seen[at];

                known = seen->size == status->st_size && seen->inode == status->st_ino &&
                        time_equal(seen->modified, status->st_mtim) && time_equal(seen->changed, status->st_ctim);
                if (known)
                        memcpy(digest, seen->digest, DIGEST_TEXT);
        }
        pthread_mutex_unlock(&storage->lock);
        return known;
}

void storage_seen_drop(struct storage *storage, const char *path)
{
        size_t first, last, length = strlen(path);

        pthread_mutex_lock(&storage->lock);
        first = last = seen_find(storage, path);
        while (last < storage->seen_count && strncmp(storage->seen[last].path, path, length) == 0 &&
               (storage->seen[last].path[length] == '/' || storage->seen[last].path[length] == '\0'))
                free(storage->seen[last++].path);
        if (last > first)
                memmove(storage->seen + first, storage->seen + last, (storage->seen_count - last) * sizeof(*storage->seen));
        storage->seen_count -= last - first;
        pthread_mutex_unlock(&storage->lock);
}

/* Writing. */

static int check_component(const char *what, const char *name, struct error *err)
{
        if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > NAME_MAX)
                return error_set(err, ERROR_INVALID, "store an artifact: '%s' cannot be the %s of its path", name, what);
        return 0;
}

static int make_directory(int parent, const char *name, int *ret_fd, struct error *err)
{
        int fd;

        if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
                return error_set_errno(err, errno, "store an artifact: mkdir '%s'", name);
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(err, errno, "store an artifact: open '%s'", name);
        *ret_fd = fd;
        return 0;
}

static int make_directories(int root, const struct storage_object *object, int *ret_fd, struct error *err)
{
        cleanup(close_descriptor) int kind = -1, namespace = -1;

        TRY(check_component("kind", object->kind, err));
        TRY(check_component("namespace", object->namespace, err));
        TRY(check_component("name", object->name, err));
        TRY(make_directory(root, object->kind, &kind, err));
        TRY(make_directory(kind, object->namespace, &namespace, err));
        return make_directory(namespace, object->name, ret_fd, err);
}

/* 1: the lock was of a file that has been collected meanwhile. */
static int lock_once(struct context *ctx, int directory, const char *name, int *ret_lock, struct error *err)
{
        cleanup(close_descriptor) int fd = openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat status;

        if (fd < 0)
                return error_set_errno(err, errno, "store an artifact: open '%s'", name);
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return error_set_errno(err, errno, "store an artifact: lock '%s'", name);
                if (context_sleep(ctx, LOCK_RETRY_MS, err) < 0)
                        return error_wrap(err, "store an artifact: wait for '%s'", name);
        }
        if (fstat(fd, &status) < 0 || status.st_nlink == 0)
                return 1;
        *ret_lock = steal_descriptor(&fd);
        return 0;
}

static int open_temporary(struct storage_write *write, const char *file, struct error *err)
{
        for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
                snprintf(write->temporary, sizeof(write->temporary), "%.200s.%08x" STORAGE_TEMPORARY_SUFFIX, file,
                         (unsigned)(clock_random() * 4294967296.0));
                write->fd = openat(write->directory, write->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
                if (write->fd >= 0)
                        return 0;
                if (errno != EEXIST)
                        break;
        }
        write->temporary[0] = '\0';
        return error_set_errno(err, errno, "store an artifact: create a temporary file for '%s'", write->path);
}

/* The file that the write is to become, and its lock. */
static int claim(struct context *ctx, struct storage_write *write, const struct storage_object *object, const char *file,
                 struct error *err)
{
        char name[NAME_MAX + sizeof(STORAGE_LOCK_SUFFIX)];
        int r;

        TRY(check_component("file", file, err));
        storage_path(object, file, write->path);
        snprintf(name, sizeof(name), "%s" STORAGE_LOCK_SUFFIX, file);
        do
                r = lock_once(ctx, write->directory, name, &write->lock, err);
        while (r == 1);
        return r;
}

int storage_begin(struct context *ctx, struct storage *storage, const struct storage_object *object, const char *file,
                  struct storage_write *ret_write, struct error *err)
{
        cleanup(storage_abort) struct storage_write write = STORAGE_WRITE_NULL;

        TRY(make_directories(storage->root, object, &write.directory, err));
        if (file)
                TRY(claim(ctx, &write, object, file, err));
        TRY(open_temporary(&write, file ? file : "artifact", err));
        *ret_write = write;
        write = STORAGE_WRITE_NULL;
        return 0;
}

int storage_name(struct context *ctx, struct storage_write *write, const struct storage_object *object, const char *file,
                 struct error *err)
{
        return claim(ctx, write, object, file, err);
}

/* Still under the lock: where no artifact came to be, not even the lock stays. */
static void leave_no_lock(const struct storage_write *write)
{
        const char *file = strrchr(write->path, '/') + 1;
        char name[NAME_MAX + sizeof(STORAGE_LOCK_SUFFIX)];

        if (faccessat(write->directory, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
                return;
        snprintf(name, sizeof(name), "%s" STORAGE_LOCK_SUFFIX, file);
        unlinkat(write->directory, name, 0);
}

void storage_abort(struct storage_write *write)
{
        if (write->temporary[0])
                unlinkat(write->directory, write->temporary, 0);
        if (write->lock >= 0)
                leave_no_lock(write);
        close_descriptor(&write->fd);
        close_descriptor(&write->lock);
        close_descriptor(&write->directory);
        *write = STORAGE_WRITE_NULL;
}

int storage_commit(struct storage *storage, struct storage_write *write, const char *digest, uint64_t size, struct error *err)
{
        const char *file = strrchr(write->path, '/') + 1;
        enum digest_algorithm algorithm;
        struct stat status;
        struct view hex;
        int fd;

        if (digest_parse(view_of(digest), &algorithm, &hex, err) < 0)
                return error_wrap(err, "store '%s'", write->path);
        if (fstat(write->fd, &status) < 0)
                return error_set_errno(err, errno, "store '%s'", write->path);
        if ((uint64_t)status.st_size != size)
                return error_set(err, ERROR_INTERNAL, "store '%s': it has %" PRIu64 " bytes and not %" PRIu64, write->path,
                                 (uint64_t)status.st_size, size);
        fd = steal_descriptor(&write->fd);
        if (close(fd) < 0)
                return error_set_errno(err, errno, "store '%s'", write->path);
        if (renameat(write->directory, write->temporary, write->directory, file) < 0)
                return error_set_errno(err, errno, "store '%s'", write->path);
        write->temporary[0] = '\0';
        /* The renaming has changed the file's times: they are read again. */
        if (fstatat(write->directory, file, &status, AT_SYMLINK_NOFOLLOW) == 0)
                storage_seen_put(storage, write->path, digest, &status);
        storage_abort(write);
        return 0;
}

/* Reading. */

static int open_artifact(struct storage *storage, const char *path, int *ret_fd, struct stat *ret_status, struct error *err)
{
        cleanup(close_descriptor) int fd = -1;

        if (!storage_path_valid(path))
                return STORAGE_MISSING;
        fd = beneath_open(storage->root, path, O_RDONLY | O_NONBLOCK, false);
        if (fd < 0) {
                switch (errno) {
                case ENOENT:
                case ENOTDIR:
                case ELOOP:
                        return STORAGE_MISSING;
                default:
                        return error_set_errno(err, errno, "open '%s'", path);
                }
        }
        if (fstat(fd, ret_status) < 0)
                return error_set_errno(err, errno, "stat '%s'", path);
        if (!S_ISREG(ret_status->st_mode))
                return STORAGE_MISSING;
        *ret_fd = steal_descriptor(&fd);
        return 0;
}

bool storage_lacks(struct storage *storage, const char *path)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        cleanup(close_descriptor) int fd = -1;
        struct stat status;

        return open_artifact(storage, path, &fd, &status, &ignored) == STORAGE_MISSING;
}

static int corrupt(struct storage *storage, const char *path, struct error *err)
{
        const char *name;
        cleanup(close_descriptor) int parent = beneath_open_parent(storage->root, path, &name);

        storage_seen_drop(storage, path);
        if (parent < 0 || (unlinkat(parent, name, 0) < 0 && errno != ENOENT))
                return error_set_errno(err, errno, "remove '%s'", path);
        error_wrap(err, "failed to verify integrity of artifact");
        return STORAGE_CORRUPT;
}

int storage_verify(struct context *ctx, struct storage *storage, const char *path, const char *digest, struct error *err)
{
        cleanup(close_descriptor) int fd = -1;
        char found[DIGEST_TEXT];
        enum digest_algorithm algorithm;
        struct stat status;
        struct view hex;
        uint64_t size;

        TRY(open_artifact(storage, path, &fd, &status, err));
        if (!*digest) {
                error_set(err, ERROR_INVALID, "artifact has no digest");
                return corrupt(storage, path, err);
        }
        if (digest_parse(view_of(digest), &algorithm, &hex, err) < 0) {
                error_wrap(err, "failed to parse artifact digest '%s'", digest);
                return corrupt(storage, path, err);
        }
        if (storage_seen_get(storage, path, &status, found) && digest_equal(view_of(found), view_of(digest)))
                return 0;
        if (digest_of_file(ctx, algorithm, fd, found, &size, err) < 0)
                return error_wrap(err, "verify '%s'", path);
        if (!digest_equal(view_of(found), view_of(digest))) {
                error_set(err, ERROR_INVALID, "computed digest doesn't match '%s'", digest);
                return corrupt(storage, path, err);
        }
        storage_seen_put(storage, path, found, &status);
        return 0;
}

bool storage_digest(struct storage *storage, const char *path, int fd, char digest[DIGEST_TEXT])
{
        struct stat status;

        return fstat(fd, &status) == 0 && storage_seen_get(storage, path, &status, digest);
}

bool storage_tag(void *storage, const char *path, int fd, char tag[SERVER_TAG])
{
        char digest[DIGEST_TEXT];

        static_assert(DIGEST_TEXT <= SERVER_TAG, "a digest is an entity tag");

        if (!storage_digest(storage, path, fd, digest))
                return false;
        memcpy(tag, digest, DIGEST_TEXT);
        return true;
}

int storage_remove(struct storage *storage, const struct storage_object *object, bool *ret_removed, struct error *err)
{
        char path[STORAGE_PATH];
        const char *name;
        cleanup(close_descriptor) int parent = -1;
        struct stat status;

        TRY(check_component("kind", object->kind, err));
        TRY(check_component("namespace", object->namespace, err));
        TRY(check_component("name", object->name, err));
        storage_path(object, NULL, path);
        parent = beneath_open_parent(storage->root, path, &name);
        if (parent < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove '%s'", path);
        if (parent < 0 || fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
                *ret_removed = false;
                return 0;
        }
        if (folder_remove(parent, name, err) < 0)
                return error_wrap(err, "remove '%s'", path);
        storage_seen_drop(storage, path);
        *ret_removed = true;
        return 0;
}
