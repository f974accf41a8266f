#include "data/walk.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct level {
        int fd;
        char **names; /* sorted */
        size_t count;
        size_t next;
        size_t path_length; /* of the directory, with the '/' behind it */
};

struct walk {
        struct level levels[WALK_DEPTH];
        unsigned depth;
        bool descend; /* the entry that came last is a directory to go into */
        struct buffer path;
};

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static void level_close(struct level *level)
{
        for (size_t i = 0; i < level->count; i++)
                free(level->names[i]);
        free(level->names);
        close_descriptor(&level->fd);
}

/* The descriptor stays the level's, the stream needs one of its own. */
static int names_read(struct level *level, struct error *err)
{
        int duplicate = openat(level->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = duplicate < 0 ? NULL : fdopendir(duplicate);
        size_t capacity = 0;
        struct dirent *entry;

        if (!directory) {
                int number = errno;

                close_descriptor(&duplicate);
                return error_set_errno(err, number, "read directory");
        }
        while ((entry = readdir(directory))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                if (level->count == capacity) {
                        capacity = capacity ? capacity * 2 : 16;
                        level->names = memory_resize(level->names, capacity, sizeof(char *));
                }
                level->names[level->count++] = memory_string(entry->d_name);
        }
        closedir(directory);
        if (level->count)
                qsort(level->names, level->count, sizeof(char *), compare_names);
        return 0;
}

/* 1: it has vanished. */
static int level_open(struct walk *walk, int parent, const char *name, struct error *err)
{
        struct level *level = &walk->levels[walk->depth];
        int fd;

        if (walk->depth == WALK_DEPTH)
                return error_set(err, ERROR_TOO_LARGE, "'%.100s...': directories are nested more than %d deep",
                                 buffer_string(&walk->path), WALK_DEPTH);
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 1 : error_set_errno(err, errno, "open directory");
        *level = (struct level){ .fd = fd, .path_length = walk->path.length };
        walk->depth++;
        return names_read(level, err);
}

int walk_begin(int directory, struct walk **ret_walk, struct error *err)
{
        cleanup(walk_free) struct walk *walk = memory_zero(1, sizeof(*walk));

        if (level_open(walk, directory, ".", err) != 0)
                return -1;
        *ret_walk = steal(&walk);
        return 0;
}

void walk_free(struct walk **walk)
{
        struct walk *w = *walk;

        if (!w)
                return;
        while (w->depth)
                level_close(&w->levels[--w->depth]);
        buffer_release(&w->path);
        free(w);
        *walk = NULL;
}

void walk_skip(struct walk *walk)
{
        walk->descend = false;
}

static int descend(struct walk *walk, struct error *err)
{
        struct level *level = &walk->levels[walk->depth - 1];

        walk->descend = false;
        buffer_add_char(&walk->path, '/');
        if (level_open(walk, level->fd, level->names[level->next - 1], err) < 0)
                return error_wrap(err, "walk '%s'", buffer_string(&walk->path));
        return 0;
}

int walk_next(struct walk *walk, struct walk_entry *ret_entry, struct error *err)
{
        if (walk->descend && descend(walk, err) < 0)
                return -1;
        while (walk->depth) {
                struct level *level = &walk->levels[walk->depth - 1];
                struct walk_entry entry = { .parent = level->fd };

                if (level->next == level->count) {
                        level_close(level);
                        walk->depth--;
                        continue;
                }
                if (walk->path.length) {
                        walk->path.length = level->path_length;
                        walk->path.data[level->path_length] = '\0';
                }
                entry.name = level->names[level->next++];
                buffer_add_string(&walk->path, entry.name);
                entry.path = buffer_string(&walk->path);
                if (fstatat(level->fd, entry.name, &entry.status, AT_SYMLINK_NOFOLLOW) < 0) {
                        if (errno == ENOENT)
                                continue;
                        return error_set_errno(err, errno, "stat '%s'", entry.path);
                }
                walk->descend = S_ISDIR(entry.status.st_mode);
                *ret_entry = entry;
                return 0;
        }
        return WALK_END;
}
