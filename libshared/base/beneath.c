#include "base/beneath.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int component(struct view piece, char name[256])
{
        if (piece.length >= 256) {
                errno = ENAMETOOLONG;
                return -1;
        }
        if (view_is(piece, "..")) {
                errno = EXDEV;
                return -1;
        }
        memcpy(name, piece.data, piece.length);
        name[piece.length] = '\0';
        return 0;
}

static int open_each(int root, struct view path, int flags)
{
        cleanup(close_descriptor) int directory = -1;
        struct view piece;

        if (view_starts(path, VIEW("/"))) {
                errno = EXDEV;
                return -1;
        }
        directory = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        while (directory >= 0 && view_split(&path, '/', &piece)) {
                char name[256];
                int next;

                if (component(piece, name) < 0)
                        return -1;
                next = openat(directory, *name ? name : ".", O_NOFOLLOW | O_CLOEXEC | (path.data ? O_PATH | O_DIRECTORY : flags));
                if (!path.data || next < 0)
                        return next;
                close(directory);
                directory = next;
        }
        return -1;
}

int beneath_open(int root, const char *path, int flags, bool links)
{
        struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
        int fd;

        if (!links)
                how.resolve |= RESOLVE_NO_SYMLINKS;
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd < 0 && (errno == ENOSYS || errno == EPERM))
                fd = open_each(root, view_of(path), flags);
        return fd;
}

int beneath_open_parent(int root, const char *path, const char **ret_name)
{
        const char *slash = strrchr(path, '/');
        char parent[4096];
        int fd;

        if (slash && (size_t)(slash - path) >= sizeof(parent)) {
                errno = ENAMETOOLONG;
                return -1;
        }
        memcpy(parent, slash ? path : ".", slash ? (size_t)(slash - path) : 1);
        parent[slash ? (size_t)(slash - path) : 1] = '\0';
        fd = beneath_open(root, parent, O_PATH | O_DIRECTORY, false);
        if (fd >= 0)
                *ret_name = slash ? slash + 1 : path;
        return fd;
}
