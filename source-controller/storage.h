/*
 * storage: the artifacts on disk, and their addresses.
 *
 * <root>/<kind>/<namespace>/<name>/<file>, directories 0700, files 0600. A file appears whole or not at all: it is written under a temporary
 * name beside its place and renamed under a lock file; what a kill leaves behind is a temporary file, which the next start removes. Nothing is
 * fsync'ed: the digest in status.artifact is checked before a file is served after a restart, so a torn file is found and rebuilt, and an
 * artifact can always be made again.
 *
 * Every path is taken apart and opened below the root's descriptor without following links, so no name can lead outside. Safe from any thread.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/str.h"
#include "data/digest.h"
#include "net/server.h"

#include <stdbool.h>
#include <stdint.h>

struct storage;

struct storage_options {
        const char *path;               /* --storage-path */
        const char *listen_address;     /* --storage-addr */
        const char *advertised_address; /* --storage-adv-addr; NULL or "": from the listen address */
        enum digest_algorithm algorithm;
        int64_t retention_ttl_ms;
        unsigned retention_records;
};

/* -1: "invalid dir path: /data" if it is no directory. */
int storage_open(const struct storage_options *options, struct storage **ret_storage, struct error *err);
void storage_close(struct storage **storage); /* for cleanup(storage_close) */
/* The root's descriptor; stays the storage's. */
int storage_root(const struct storage *storage);
enum digest_algorithm storage_algorithm(const struct storage *storage);

/* Lower-case kind, as in the path: "gitrepository". */
struct storage_object {
        const char *kind;
        const char *namespace;
        const char *name;
};

#define STORAGE_PATH 1024

/* "gitrepository/flux-system/app/<file>" into path, which is returned; `file` NULL: of the object's directory. */
char *storage_path(const struct storage_object *object, const char *file, char path[STORAGE_PATH]);
/* "http://<advertised address>/<path>", appended. An address with http:// or https:// keeps it. */
void storage_url(const struct storage *storage, const char *path, struct buffer *url);

/* One file being written. It holds the file's lock from begin to commit or abort. */
struct storage_write {
        int fd; /* write the bytes here, in this process or in a job; -1: none */
        int directory;
        int lock;
        char path[STORAGE_PATH];
        char temporary[300];
};

#define STORAGE_WRITE_NULL ((struct storage_write){ .fd = -1, .directory = -1, .lock = -1 })

/*
 * Makes the object's directory and opens a temporary file in it. Waits for the file's lock as long as ctx allows. `file` NULL: what the file
 * will be called is only known when it is written; storage_name says it then and takes the lock.
 */
int storage_begin(struct context *ctx, struct storage *storage, const struct storage_object *object, const char *file,
                  struct storage_write *ret_write, struct error *err);
int storage_name(struct context *ctx, struct storage_write *write, const struct storage_object *object, const char *file,
                 struct error *err);
/* The file takes its place. `digest` and `size` are those of what was written (as the writer counted): a file of another size is an error. */
int storage_commit(struct storage *storage, struct storage_write *write, const char *digest, uint64_t size, struct error *err);
/* For cleanup(storage_abort): removes the temporary file; nothing after a commit. */
void storage_abort(struct storage_write *write);

/* Outcomes of storage_verify. */
enum {
        STORAGE_MISSING = 1,
        STORAGE_CORRUPT = 2,
};

/*
 * Is the file of status.artifact there, and are its bytes what the digest says? The bytes are read only if size, mtime, ctime or inode
 * changed since they were last found good.
 *
 *   STORAGE_MISSING  no such regular file
 *   STORAGE_CORRUPT  the digest differs or cannot be checked; err: "failed to verify integrity of artifact: computed digest doesn't match
 *                    'sha256:...'". The file has been removed.
 *   -1               I/O, cancellation
 */
int storage_verify(struct context *ctx, struct storage *storage, const char *path, const char *digest, struct error *err);
/* There is certainly no such regular file. Its bytes are not looked at. */
bool storage_lacks(struct storage *storage, const char *path);
/* The digest under which the file was last found good or written; false if it is not known or the file changed since. */
bool storage_digest(struct storage *storage, const char *path, int fd, char digest[DIGEST_TEXT]);

/*
 * Removes files of the artifact's directory that retention does not keep: older than the TTL first, then the oldest beyond the number of records;
 * never `path` itself. Stops after 5 s. *ret_removed counts them. -1: what could not be removed; the rest was.
 */
int storage_collect(struct context *ctx, struct storage *storage, const char *path, unsigned *ret_removed, struct error *err);
/* Removes the object's directory with everything in it; no error if there is none (*ret_removed false). */
int storage_remove(struct storage *storage, const struct storage_object *object, bool *ret_removed, struct error *err);
/*
 * For the start, before the first reconcile: removes temporary files and locks that a kill left, and the directories of objects that `exists` does
 * not know (it says true for kinds that are not its own). Call it when the objects' list is complete and before anything is written.
 */
typedef bool storage_exists_fn(void *data, const struct storage_object *object);
int storage_sweep(struct context *ctx, struct storage *storage, storage_exists_fn *exists, void *data, unsigned *ret_removed,
                  struct error *err);

/* For struct server_files: lock and temporary files are not served, and the entity tag of an artifact is its digest. */
bool storage_hidden(const char *name);
bool storage_tag(void *storage, const char *path, int fd, char tag[SERVER_TAG]);
