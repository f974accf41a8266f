/*
 * storage_private: what the files of the storage room share. For no one else.
 */
#pragma once

#include "storage.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/stat.h>

/* A file as it was when its digest was last seen to hold. Any write to it changes one of these. */
struct storage_seen {
        char *path;
        char digest[DIGEST_TEXT];
        off_t size;
        ino_t inode;
        struct timespec modified;
        struct timespec changed;
};

struct storage {
        int root;
        char *address;
        enum digest_algorithm algorithm;
        int64_t retention_ttl_ms;
        unsigned retention_records;
        pthread_mutex_t lock;      /* of what follows */
        struct storage_seen *seen; /* sorted by path */
        size_t seen_count;
        size_t seen_capacity;
};

/* True for "<kind>/<namespace>/<name>/<file>": what comes from a status may be anything. */
bool storage_path_valid(const char *path);

void storage_seen_put(struct storage *storage, const char *path, const char *digest, const struct stat *status);
/* False if the path is not known or the file is another than was seen. */
bool storage_seen_get(struct storage *storage, const char *path, const struct stat *status, char digest[DIGEST_TEXT]);
/* Forgets the path and everything below it. */
void storage_seen_drop(struct storage *storage, const char *path);

#define STORAGE_LOCK_SUFFIX      ".lock"
#define STORAGE_TEMPORARY_SUFFIX ".tmp"
