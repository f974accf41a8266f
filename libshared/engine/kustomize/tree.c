#include "base/cleanup.h"
#include "engine/kustomize/build.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40

enum resolution {
        RESOLVED_DIRECTORY,
        RESOLVED_FILE,
        RESOLVED_OTHER,
        UNRESOLVED_ABSENT,
        UNRESOLVED_OUTSIDE,
        UNRESOLVED_ERROR, /* errno */
};

char *tree_display(struct build *build, const char *path)
{
        if (!*path)
                return arena_string(build->arena, *build->tree->root_path ? build->tree->root_path : "/");
        return arena_printf(build->arena, "%s/%s", build->tree->root_path, path);
}

/* An absolute path without the tree's root; NULL if it is not below it. */
static const char *strip_root(const struct build *build, const char *path)
{
        size_t length = strlen(build->tree->root_path);

        if (strncmp(path, build->tree->root_path, length) != 0 || (path[length] != '/' && path[length] != '\0'))
                return NULL;
        return path + length;
}

/* Appends the components of `path` to the clean path in `text`; false if `..` leads out of a tree that is not the whole file system. */
static bool append_clean(const struct build *build, char *text, const char *path)
{
        while (*path) {
                size_t length = strcspn(path, "/");

                if (length == 2 && memcmp(path, "..", 2) == 0) {
                        char *slash = strrchr(text, '/');

                        if (!*text && *build->tree->root_path)
                                return false;
                        *(slash ? slash : text) = '\0';
                } else if (length > 0 && !(length == 1 && *path == '.')) {
                        size_t end = strlen(text);

                        if (end)
                                text[end++] = '/';
                        memcpy(text + end, path, length);
                        text[end + length] = '\0';
                }
                path += length;
                path += *path == '/';
        }
        return true;
}

/* Lexically joined and cleaned; an absolute `path` stands for itself. NULL: it leaves the tree. */
static char *join(struct build *build, const char *directory, const char *path)
{
        char *text = arena_allocate(build->arena, strlen(directory) + strlen(path) + 2);

        if (*path == '/')
                path = strip_root(build, path);
        else
                strcpy(text, directory);
        return path && append_clean(build, text, path) ? text : NULL;
}

static const struct kustomize_file *overlay(const struct build *build, const char *path)
{
        for (size_t i = 0; i < build->tree->file_count; i++)
                if (strcmp(build->tree->files[i].path, path) == 0)
                        return &build->tree->files[i];
        return NULL;
}

static bool is_below(const char *path, const char *directory)
{
        size_t length = strlen(directory);

        return length == 0 || (strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0'));
}

/* A directory that only files of the overlay are in. */
static bool overlay_directory(const struct build *build, const char *path)
{
        for (size_t i = 0; i < build->tree->file_count; i++)
                if (is_below(build->tree->files[i].path, path))
                        return true;
        return false;
}

/* Follows a link found at the end of `done`; what it points to goes in front of `rest`. */
static enum resolution follow(const struct build *build, char *done, char *rest, unsigned *links)
{
        char target[PATH_MAX], joined[PATH_MAX];
        ssize_t length = readlinkat(build->tree->root, done, target, sizeof(target) - 1);
        const char *from = target;
        char *slash;

        if (length < 0)
                return UNRESOLVED_ERROR;
        target[length] = '\0';
        if (++*links > LINKS_MAX) {
                errno = ELOOP;
                return UNRESOLVED_ERROR;
        }
        slash = strrchr(done, '/');
        *(slash ? slash : done) = '\0';
        if (*target == '/') {
                from = strip_root(build, target);
                if (!from)
                        return UNRESOLVED_OUTSIDE;
                *done = '\0';
        }
        if ((size_t)snprintf(joined, sizeof(joined), "%s/%s", from, rest) >= sizeof(joined)) {
                errno = ENAMETOOLONG;
                return UNRESOLVED_ERROR;
        }
        strcpy(rest, joined);
        return RESOLVED_DIRECTORY;
}

/* Resolves links component by component. `done` gets the canonical path, or how far it went. */
static enum resolution resolve(const struct build *build, const char *path, char done[PATH_MAX])
{
        enum resolution result = RESOLVED_DIRECTORY;
        char rest[PATH_MAX], component[PATH_MAX];
        unsigned links = 0;
        struct stat status;

        *done = '\0';
        if ((size_t)snprintf(rest, sizeof(rest), "%s", path) >= sizeof(rest)) {
                errno = ENAMETOOLONG;
                return UNRESOLVED_ERROR;
        }
        while (*rest) {
                size_t length = strcspn(rest, "/");

                memcpy(component, rest, length);
                component[length] = '\0';
                memmove(rest, rest + length + (rest[length] == '/'), strlen(rest + length + (rest[length] == '/')) + 1);
                if (strlen(done) + length + 2 > PATH_MAX)
                        return UNRESOLVED_OUTSIDE;
                if (!append_clean(build, done, component))
                        return UNRESOLVED_OUTSIDE;
                if (!*done)
                        continue;
                if (overlay(build, done)) {
                        result = RESOLVED_FILE;
                        continue;
                }
                if (fstatat(build->tree->root, done, &status, AT_SYMLINK_NOFOLLOW) < 0) {
                        int number = errno;

                        if ((number != ENOENT && number != ENOTDIR) || !overlay_directory(build, done)) {
                                errno = number;
                                return number == ENOENT ? UNRESOLVED_ABSENT : UNRESOLVED_ERROR;
                        }
                        result = RESOLVED_DIRECTORY;
                        continue;
                }
                result = S_ISDIR(status.st_mode) ? RESOLVED_DIRECTORY : S_ISREG(status.st_mode) ? RESOLVED_FILE : RESOLVED_OTHER;
                if (S_ISLNK(status.st_mode)) {
                        result = follow(build, done, rest, &links);
                        if (result != RESOLVED_DIRECTORY)
                                return result;
                }
        }
        return result;
}

/* Where a path that leaves the tree would end, lexically: what the reference shows. Nothing there is looked at. */
static char *outside_path(struct build *build, const char *directory, const char *path)
{
        char *absolute = *path == '/' ? arena_string(build->arena, path)
                                      : arena_printf(build->arena, "%s/%s", tree_display(build, directory), path);
        char *clean = arena_allocate(build->arena, strlen(absolute) + 2);
        size_t end = 0;

        while (*absolute) {
                size_t length = strcspn(absolute, "/");

                if (length == 2 && memcmp(absolute, "..", 2) == 0) {
                        while (end > 0 && clean[--end] != '/')
                                ;
                } else if (length > 0 && !(length == 1 && *absolute == '.')) {
                        clean[end++] = '/';
                        memcpy(clean + end, absolute, length);
                        end += length;
                }
                absolute += length;
                absolute += *absolute == '/';
        }
        if (!end)
                clean[end++] = '/';
        clean[end] = '\0';
        return clean;
}

/* The first of a path's directories that the tree is not in: as nothing there is looked at, it is taken to be missing. */
static const char *first_outside(struct build *build, const char *path)
{
        const char *root = build->tree->root_path;
        size_t end = 0, i;

        for (i = 1; path[i - 1]; i++) {
                if (path[i] != '/' && path[i])
                        continue;
                end = i;
                if (strncmp(root, path, i) != 0 || (root[i] != '/' && root[i]))
                        break;
        }
        return arena_printf(build->arena, "%.*s", (int)end, path);
}

static int outside(struct build *build, const char *operation, const char *path)
{
        const char *shown = *path == '/' ? path : tree_display(build, path);

        return error_set(build->error, ERROR_FORBIDDEN, "fs-security-constraint %s %s: path '%s' is not in or below '%s'",
                         operation, shown, shown, *build->tree->root_path ? build->tree->root_path : "/");
}

static int read_descriptor(struct build *build, int fd, const char *path, uint64_t size, struct view *ret)
{
        char *text;
        size_t length = 0;
        ssize_t got;

        if (size > build->limits.file_bytes || size > build->budget.bytes)
                return error_set(build->error, ERROR_TOO_LARGE, "read %s: %llu bytes are more than a build may read",
                                 tree_display(build, path), (unsigned long long)size);
        text = arena_allocate(build->arena, size + 1);
        while (length < size && (got = read(fd, text + length, size - length)) != 0) {
                if (got < 0)
                        return error_set_errno(build->error, errno, "read %s", tree_display(build, path));
                length += (size_t)got;
        }
        build->budget.bytes -= length;
        *ret = (struct view){ text, length };
        return 0;
}

static int read_canonical(struct build *build, const char *path, struct view *ret)
{
        const struct kustomize_file *file = overlay(build, path);
        cleanup(close_descriptor) int fd = -1;
        struct stat status;

        if (file) {
                *ret = file->text;
                return 0;
        }
        fd = openat(build->tree->root, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &status) < 0)
                return error_set_errno(build->error, errno, "open %s", tree_display(build, path));
        return read_descriptor(build, fd, path, (uint64_t)status.st_size, ret);
}

/* Why links could not be followed, as Go says it. */
static const char *link_failure(struct build *build, enum resolution resolution, int number, const char *done)
{
        if (resolution == UNRESOLVED_ERROR && number == ELOOP)
                return "EvalSymlinks: too many links";
        if (resolution == UNRESOLVED_ERROR && number == ENOTDIR)
                return "not a directory";
        return arena_printf(build->arena, "lstat %s: %s", tree_display(build, done),
                            resolution == UNRESOLVED_ABSENT ? "no such file or directory" : strerror(number));
}

static int resolution_error(struct build *build, enum resolution resolution, const char *path, const char *done)
{
        int number = resolution == UNRESOLVED_ABSENT ? ENOENT : errno;
        const char *shown = tree_display(build, path);

        if (resolution == UNRESOLVED_OUTSIDE)
                return outside(build, "open", path);
        if (build->options->restriction == KUSTOMIZE_ROOT_ONLY)
                return error_set(build->error, ERROR_NOT_FOUND, "evalsymlink failure on '%s' : %s", shown,
                                 link_failure(build, resolution, number, done));
        error_set_errno(build->error, number, "open %s", shown);
        build->error->kind = ERROR_NOT_FOUND;
        return -1;
}

int tree_read(struct build *build, const char *directory, const char *path, struct view *ret_text)
{
        char *joined = join(build, directory, path);
        enum resolution resolution;
        char done[PATH_MAX];

        if (!joined)
                return outside(build, "read", outside_path(build, directory, path));
        resolution = resolve(build, joined, done);
        if (resolution >= UNRESOLVED_ABSENT)
                return resolution_error(build, resolution, joined, done);
        if (build->options->restriction == KUSTOMIZE_ROOT_ONLY) {
                if (resolution == RESOLVED_DIRECTORY)
                        return error_set(build->error, ERROR_INVALID, "'%s' must resolve to a file", tree_display(build, joined));
                if (!is_below(done, directory) || strcmp(done, directory) == 0)
                        return error_set(build->error, ERROR_FORBIDDEN, "security; file '%s' is not in or below '%s'",
                                         tree_display(build, joined), tree_display(build, directory));
        } else if (resolution == RESOLVED_DIRECTORY) {
                return error_set(build->error, ERROR_INVALID, "read %s: is a directory", tree_display(build, joined));
        }
        if (resolution == RESOLVED_OTHER)
                return error_set(build->error, ERROR_INVALID, "read %s: it is no regular file", tree_display(build, joined));
        return read_canonical(build, done, ret_text);
}

int tree_probe(struct build *build, const char *directory, const char *name, struct view *ret_text)
{
        char *joined = join(build, directory, name);
        char done[PATH_MAX];

        if (!joined || resolve(build, joined, done) != RESOLVED_FILE)
                return 1;
        if (build->options->restriction == KUSTOMIZE_ROOT_ONLY && !is_below(done, directory))
                return 1;
        return read_canonical(build, done, ret_text);
}

int tree_directory(struct build *build, const char *directory, const char *path, const char *called, const char **ret_directory)
{
        enum resolution resolution;
        char done[PATH_MAX];
        char *joined;
        int number;

        if (!*path)
                return error_set(build->error, ERROR_INVALID, "new root cannot be empty");
        if (*path == '/')
                return error_set(build->error, ERROR_INVALID, "new root '%s' cannot be absolute", path);
        joined = join(build, directory, path);
        if (!joined) {
                const char *shown = outside_path(build, directory, path);

                return error_set(build->error, ERROR_FORBIDDEN,
                                 "must build at directory: not a valid directory: evalsymlink failure on '%s' : lstat %s: no such "
                                 "file or directory",
                                 shown, first_outside(build, shown));
        }
        resolution = resolve(build, joined, done);
        number = errno;
        if (resolution == UNRESOLVED_OUTSIDE)
                return outside(build, "stat", joined);
        called = called ? called : tree_display(build, joined);
        if (resolution >= UNRESOLVED_ABSENT)
                return error_set(build->error, ERROR_NOT_FOUND,
                                 "must build at directory: not a valid directory: evalsymlink failure on '%s' : %s", called,
                                 link_failure(build, resolution, number, done));
        if (resolution != RESOLVED_DIRECTORY)
                return error_set(build->error, ERROR_INVALID, "must build at directory: '%s': file is not directory", called);
        *ret_directory = arena_string(build->arena, done);
        return 0;
}

bool tree_is_remote(const char *path)
{
        static const char *const prefixes[] = { "http://", "https://", "ssh://", "file://", "git::", "github.com/", "github.com:" };
        const char *at = strchr(path, '@'), *colon = at ? strchr(at, ':') : NULL, *slash = strchr(path, '/');

        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
                if (strncasecmp(path, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        /* user@host:path */
        return at && colon && at > path && colon > at + 1 && (!slash || slash > colon);
}
