#include "unpacked.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRY_LIMIT 1000000

const char *unpacked_normalize(struct arena *arena, const char *path)
{
        char *clean = arena_allocate(arena, strlen(path) + 2);
        struct view rest = view_of(path), part;
        size_t length = 0;

        while (view_split(&rest, '/', &part)) {
                if (!part.length || view_is(part, "."))
                        continue;
                if (view_is(part, "..")) {
                        while (length > 0 && clean[--length] != '/')
                                ;
                        continue;
                }
                if (length)
                        clean[length++] = '/';
                memcpy(clean + length, part.data, part.length);
                length += part.length;
        }
        clean[length] = '\0';
        return length ? clean : ".";
}

const char *unpacked_join(struct arena *arena, const char *directory, const char *name)
{
        return strcmp(directory, ".") == 0 ? arena_string(arena, name) : arena_printf(arena, "%s/%s", directory, name);
}

enum unpacked_type unpacked_type(int root, const char *path)
{
        struct stat status;

        if (fstatat(root, path, &status, 0) < 0)
                return UNPACKED_ABSENT;
        return S_ISDIR(status.st_mode) ? UNPACKED_DIRECTORY : UNPACKED_FILE;
}

int unpacked_read(struct arena *arena, int root, const char *path, struct view *ret_text, struct error *error)
{
        cleanup(close_descriptor) int fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat status;
        size_t length = 0;
        char *text;

        if (fd < 0 || fstat(fd, &status) < 0)
                return error_set_errno(error, errno, "open %s", path);
        if (!S_ISREG(status.st_mode))
                return error_set(error, ERROR_INVALID, "read %s: is not a regular file", path);
        if (status.st_size > (off_t)UNPACKED_FILE_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "read %s: larger than %u bytes", path, UNPACKED_FILE_LIMIT);
        text = arena_allocate(arena, (size_t)status.st_size + 1);
        while (length < (size_t)status.st_size) {
                ssize_t got = read(fd, text + length, (size_t)status.st_size - length);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return error_set_errno(error, errno, "read %s", path);
                if (got == 0)
                        break;
                length += (size_t)got;
        }
        *ret_text = (struct view){ text, length };
        return 0;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void close_folder(DIR **folder)
{
        if (*folder)
                closedir(*folder);
}

int unpacked_list(struct arena *arena, int root, const char *path, const char ***ret_names, size_t *ret_count, struct error *error)
{
        cleanup(close_folder) DIR *folder = NULL;
        int fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
        size_t count = 0, capacity = 16;
        const char **names;
        struct dirent *entry;

        folder = fd < 0 ? NULL : fdopendir(fd);
        if (!folder) {
                int number = errno;

                close_descriptor(&fd);
                return error_set_errno(error, number, "open %s", path);
        }
        names = arena_array(arena, capacity, sizeof(*names));
        while ((entry = readdir(folder))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                if (count == ENTRY_LIMIT)
                        return error_set(error, ERROR_TOO_LARGE, "directory %s has more than %d entries", path, ENTRY_LIMIT);
                if (count == capacity) {
                        names = arena_grow(arena, names, capacity * sizeof(*names), 2 * capacity * sizeof(*names));
                        capacity *= 2;
                }
                names[count++] = arena_string(arena, entry->d_name);
        }
        qsort(names, count, sizeof(*names), compare_names);
        *ret_names = names;
        *ret_count = count;
        return 0;
}
