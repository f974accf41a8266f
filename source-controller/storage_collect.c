/* What the storage throws away: files that retention does not keep, and what a kill or a deletion during downtime left. */
#include "storage.h"

#include "base/beneath.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/walk.h"
#include "storage_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIME_LIMIT_MS 5000
#define FILE_LIMIT    1000

struct file {
        char *path; /* relative to the artifact's directory */
        struct timespec modified;
        bool garbage;
};

struct files {
        struct file *list;
        unsigned count;
};

static void files_release(struct files *files)
{
        for (unsigned i = 0; i < files->count; i++)
                free(files->list[i].path);
        free(files->list);
}

/* Artifacts below the directory: no links, locks or temporary files. */
static int files_list(struct context *ctx, int directory, struct files *files, struct error *err)
{
        cleanup(walk_free) struct walk *walk = NULL;
        struct walk_entry entry;
        int r = 0;

        files->list = memory_zero(FILE_LIMIT, sizeof(*files->list));
        TRY(walk_begin(directory, &walk, err));
        while (files->count < FILE_LIMIT && (r = walk_next(walk, &entry, err)) == 0) {
                TRY(context_check(ctx, err));
                if (S_ISREG(entry.status.st_mode) && !storage_hidden(entry.name))
                        files->list[files->count++] =
                                (struct file){ .path = memory_string(entry.path), .modified = entry.status.st_mtim };
        }
        return r < 0 ? -1 : 0;
}

static int compare_age(const void *a, const void *b)
{
        const struct file *left = a, *right = b;

        if (left->modified.tv_sec != right->modified.tv_sec)
                return left->modified.tv_sec < right->modified.tv_sec ? -1 : 1;
        if (left->modified.tv_nsec != right->modified.tv_nsec)
                return left->modified.tv_nsec < right->modified.tv_nsec ? -1 : 1;
        return strcmp(left->path, right->path);
}

/* Marks what goes: first by age, then, if that leaves as many as the records or more, the oldest beyond them. */
static void files_choose(const struct storage *storage, struct files *files, const char *current)
{
        int64_t oldest_us = clock_wall_us() - storage->retention_ttl_ms * 1000;
        unsigned left = files->count;

        qsort(files->list, files->count, sizeof(*files->list), compare_age);
        for (unsigned i = 0; i < files->count; i++) {
                struct file *file = &files->list[i];
                int64_t modified_us = (int64_t)file->modified.tv_sec * 1000000 + file->modified.tv_nsec / 1000;

                if (strcmp(file->path, current) != 0 && modified_us < oldest_us) {
                        file->garbage = true;
                        left--;
                }
        }
        for (unsigned i = 0; i < files->count && left > storage->retention_records; i++) {
                struct file *file = &files->list[i];

                if (!file->garbage && strcmp(file->path, current) != 0) {
                        file->garbage = true;
                        left--;
                }
        }
}

static int remove_file(struct storage *storage, int directory, const char *base, const char *path, struct error *err)
{
        cleanup(free_string) char *lock = memory_printf("%s" STORAGE_LOCK_SUFFIX, path),
                                  *whole = memory_printf("%s/%s", base, path);

        if (unlinkat(directory, path, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove '%s'", whole);
        storage_seen_drop(storage, whole);
        if (unlinkat(directory, lock, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove '%s" STORAGE_LOCK_SUFFIX "'", whole);
        return 0;
}

int storage_collect(struct context *ctx, struct storage *storage, const char *path, unsigned *ret_removed, struct error *err)
{
        const char *current;
        cleanup(close_descriptor) int parent = -1, directory = -1;
        cleanup(files_release) struct files files = { .count = 0 };
        cleanup(free_string) char *base = NULL;
        cleanup(context_close) struct context limited;
        unsigned removed = 0;
        int r = 0;

        context_open(&limited, ctx, clock_now_ms() + TIME_LIMIT_MS);
        if (!storage_path_valid(path))
                return error_set(err, ERROR_INVALID, "collect '%s': not the path of an artifact", path);
        parent = beneath_open_parent(storage->root, path, &current);
        if (parent >= 0)
                directory = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) {
                if (errno != ENOENT)
                        return error_set_errno(err, errno, "collect '%s'", path);
                *ret_removed = 0;
                return 0;
        }
        base = memory_printf("%.*s", (int)(strlen(path) - strlen(current) - 1), path);
        TRY(files_list(&limited, directory, &files, err));
        files_choose(storage, &files, current);
        for (unsigned i = 0; i < files.count && context_check(&limited, err) == 0; i++) {
                if (!files.list[i].garbage)
                        continue;
                if (remove_file(storage, directory, base, files.list[i].path, err) < 0)
                        r = -1;
                else
                        removed++;
        }
        *ret_removed = removed;
        return r < 0 ? -1 : context_check(&limited, err);
}

/* "kind/namespace/name" taken apart in place; false if the path has another depth. */
static bool object_of(char *path, struct storage_object *ret_object)
{
        char *first = strchr(path, '/'), *second = first ? strchr(first + 1, '/') : NULL;

        if (!second || strchr(second + 1, '/'))
                return false;
        *first = *second = '\0';
        *ret_object = (struct storage_object){ .kind = path, .namespace = first + 1, .name = second + 1 };
        return true;
}

/* Temporary files, and locks of files that are not there. */
static bool is_left_over(const struct walk_entry *entry)
{
        cleanup(free_string) char *file = NULL;
        struct view name = view_of(entry->name);

        if (view_ends(name, VIEW(STORAGE_TEMPORARY_SUFFIX)))
                return true;
        if (!view_ends(name, VIEW(STORAGE_LOCK_SUFFIX)))
                return false;
        file = memory_string_n(name.data, name.length - strlen(STORAGE_LOCK_SUFFIX));
        return faccessat(entry->parent, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static int sweep_entry(struct storage *storage, const struct walk_entry *entry, struct walk *walk, storage_exists_fn *exists,
                       void *data, unsigned *removed, struct error *err)
{
        cleanup(free_string) char *path = memory_string(entry->path);
        struct storage_object object;
        bool was_there;

        if (!S_ISDIR(entry->status.st_mode)) {
                if (!is_left_over(entry))
                        return 0;
                if (unlinkat(entry->parent, entry->name, 0) < 0 && errno != ENOENT)
                        return error_set_errno(err, errno, "remove '%s'", entry->path);
                ++*removed;
                return 0;
        }
        if (!object_of(path, &object) || exists(data, &object))
                return 0;
        walk_skip(walk);
        TRY(storage_remove(storage, &object, &was_there, err));
        ++*removed;
        return 0;
}

int storage_sweep(struct context *ctx, struct storage *storage, storage_exists_fn *exists, void *data, unsigned *ret_removed,
                  struct error *err)
{
        cleanup(walk_free) struct walk *walk = NULL;
        struct walk_entry entry;
        unsigned removed = 0;
        int r;

        TRY(walk_begin(storage->root, &walk, err));
        while ((r = walk_next(walk, &entry, err)) == 0) {
                TRY(context_check(ctx, err));
                TRY(sweep_entry(storage, &entry, walk, exists, data, &removed, err));
        }
        if (r < 0)
                return -1;
        *ret_removed = removed;
        return 0;
}
