#include "base/folder.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define ATTEMPTS 100
#define LEVELS   16 /* open at a time while a tree is removed */

static const char *temporary_parent(void)
{
        const char *parent = getenv("TMPDIR");

        return parent && *parent ? parent : "/tmp";
}

int folder_temporary(const char *prefix, char **ret_path, int *ret_fd, struct error *error)
{
        const char *parent = temporary_parent();

        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                cleanup(free_string) char *path =
                        memory_printf("%s/%s%u", parent, prefix, (unsigned)(clock_random() * 4294967296.0));
                int fd;

                if (mkdir(path, 0700) < 0) {
                        if (errno == EEXIST)
                                continue;
                        return error_set_errno(error, errno, "mkdir %s", path);
                }
                fd = ret_fd ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
                if (ret_fd && fd < 0)
                        return error_set_errno(error, errno, "open %s", path);
                if (ret_fd) {
                        flock(fd, LOCK_SH | LOCK_NB); /* fails only where there are no locks, and nothing is swept there */
                        *ret_fd = fd;
                }
                *ret_path = steal(&path);
                return 0;
        }
        return error_set(error, ERROR_INTERNAL, "no free name for a directory %s/%s*", parent, prefix);
}

static void close_folder(DIR **folder)
{
        if (*folder)
                closedir(*folder);
}

/* The directory that a removal began with. */
struct removal {
        int top;
        bool lifted; /* something was moved into it meanwhile */
};

static int remove_entry(struct removal *removal, int parent, const char *name, int depth, struct error *error);

static int empty_directory(struct removal *removal, int parent, const char *name, int depth, struct error *error)
{
        cleanup(close_folder) DIR *folder = NULL;
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct dirent *entry;

        folder = fd < 0 ? NULL : fdopendir(fd);
        if (!folder) {
                int number = errno;

                close_descriptor(&fd);
                return number == ENOENT ? 0 : error_set_errno(error, number, "open %s", name);
        }
        if (depth == 0)
                removal->top = dirfd(folder);
        do {
                removal->lifted = removal->lifted && depth > 0;
                rewinddir(folder);
                while ((entry = readdir(folder))) {
                        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                                continue;
                        TRY(remove_entry(removal, dirfd(folder), entry->d_name, depth + 1, error));
                }
        } while (depth == 0 && removal->lifted);
        return 0;
}

/* What is nested deep is moved to the top, so that neither the stack nor the open descriptors grow with it. */
static int lift(struct removal *removal, int parent, const char *name, struct error *error)
{
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                char place[16];

                snprintf(place, sizeof(place), "%08x", (unsigned)(clock_random() * 4294967296.0));
                if (renameat(parent, name, removal->top, place) == 0) {
                        removal->lifted = true;
                        return 0;
                }
                if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) /* the place is taken */
                        break;
        }
        return error_set_errno(error, errno, "remove %s", name);
}

static int remove_entry(struct removal *removal, int parent, const char *name, int depth, struct error *error)
{
        if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return error_set_errno(error, errno, "remove %s", name);
        if (depth == LEVELS)
                return lift(removal, parent, name, error);
        TRY(empty_directory(removal, parent, name, depth, error));
        if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return error_set_errno(error, errno, "remove %s", name);
        return 0;
}

int folder_remove(int parent, const char *name, struct error *error)
{
        struct removal removal = { .top = -1 };

        return remove_entry(&removal, parent, name, 0, error);
}

/* Ours, and not in use: a lock ends with the process that held it. */
static bool is_abandoned(int parent, const char *name)
{
        cleanup(close_descriptor) int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat status;

        return fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

void folder_sweep(const char *prefix)
{
        cleanup(close_folder) DIR *folder = opendir(temporary_parent());
        struct dirent *entry;

        while (folder && (entry = readdir(folder))) {
                cleanup(error_release) struct error ignored = ERROR_NULL;

                if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && is_abandoned(dirfd(folder), entry->d_name))
                        folder_remove(dirfd(folder), entry->d_name, &ignored);
        }
}
