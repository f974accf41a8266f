#include "data/ignore.h"

#include "base/arena.h"
#include "base/beneath.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "data/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATTERN_LIMIT 10000
#define FILE_LIMIT    (1024u * 1024u)
/* As many as a path of the system's greatest length can have. */
#define COMPONENT_LIMIT 2048

struct pattern {
        struct view *scope; /* components of the directory it counts in */
        size_t scope_count;
        struct view *parts;
        size_t part_count;
        bool include;
        bool directory_only;
};

struct ignore {
        struct arena *arena;
        struct pattern *patterns;
        size_t count;
        size_t capacity;
};

struct ignore *ignore_new(void)
{
        struct ignore *ignore = memory_zero(1, sizeof(*ignore));

        ignore->arena = arena_new();
        return ignore;
}

void ignore_free(struct ignore **ignore)
{
        if (!*ignore)
                return;
        arena_free(&(*ignore)->arena);
        free((*ignore)->patterns);
        free(*ignore);
        *ignore = NULL;
}

size_t ignore_count(const struct ignore *ignore)
{
        return ignore->count;
}

static struct view *split(struct arena *arena, struct view text, size_t *ret_count)
{
        struct view rest = text, piece, *pieces;
        size_t count = 0;

        while (view_split(&rest, '/', &piece))
                count++;
        pieces = arena_array(arena, count, sizeof(*pieces));
        rest = text;
        for (size_t i = 0; i < count; i++)
                view_split(&rest, '/', &pieces[i]);
        *ret_count = count;
        return pieces;
}

static void add_pattern(struct ignore *ignore, struct view line, struct view *scope, size_t scope_count)
{
        struct pattern pattern = { .scope = scope, .scope_count = scope_count };

        if (view_starts(line, VIEW("!"))) {
                pattern.include = true;
                line = view_slice(line, 1, line.length);
        }
        if (!view_ends(line, VIEW("\\ ")))
                while (view_ends(line, VIEW(" ")))
                        line.length--;
        if (view_ends(line, VIEW("/"))) {
                pattern.directory_only = true;
                line.length--;
        }
        pattern.parts = split(ignore->arena, arena_view(ignore->arena, line), &pattern.part_count);
        if (ignore->count == ignore->capacity) {
                ignore->capacity = ignore->capacity ? ignore->capacity * 2 : 32;
                ignore->patterns = memory_resize(ignore->patterns, ignore->capacity, sizeof(*ignore->patterns));
        }
        ignore->patterns[ignore->count++] = pattern;
}

void ignore_add(struct ignore *ignore, struct view text, const char *scope)
{
        struct view line, *scope_parts = NULL;
        size_t scope_count = 0;

        if (*scope)
                scope_parts = split(ignore->arena, view_of(arena_string(ignore->arena, scope)), &scope_count);
        while (view_split(&text, '\n', &line)) {
                if (view_ends(line, VIEW("\r")))
                        line.length--;
                if (!view_starts(line, VIEW("#")) && view_trim(line).length)
                        add_pattern(ignore, line, scope_parts, scope_count);
        }
}

void ignore_add_vcs(struct ignore *ignore)
{
        ignore_add(ignore, VIEW(".git/\n.gitignore\n.gitmodules\n.gitattributes"), "");
}

void ignore_add_defaults(struct ignore *ignore)
{
        ignore_add(ignore,
                   VIEW("*.jpg\n*.jpeg\n*.gif\n*.png\n*.wmv\n*.flv\n*.tar.gz\n*.zip\n"
                        ".github/\n.circleci/"
                        "\n.travis.yml\n.gitlab-ci.yml\nappveyor.yml\n.drone.yml\ncloudbuild.yaml\ncodeship-services.yml\n"
                        "codeship-steps.yml\n"
                        "**/.goreleaser.yml\n**/.sops.yaml\n**/.flux.yaml"),
                   "");
}

/* One character; a byte that is not UTF-8 stands for itself. */
static uint32_t next_rune(struct view *text)
{
        uint32_t rune = (unsigned char)text->data[0];
        size_t length = utf8_next(*text, 0, &rune);

        if (length == 0) {
                rune = 0xfffd;
                length = 1;
        }
        *text = view_slice(*text, length, text->length);
        return rune;
}

/* A character of a class, perhaps escaped; false if the pattern is malformed. */
static bool class_rune(struct view *pattern, uint32_t *ret_rune)
{
        if (!pattern->length || pattern->data[0] == '-' || pattern->data[0] == ']')
                return false;
        if (pattern->data[0] == '\\') {
                *pattern = view_slice(*pattern, 1, pattern->length);
                if (!pattern->length)
                        return false;
        }
        *ret_rune = next_rune(pattern);
        return pattern->length > 0; /* the class has to be closed */
}

/* Behind the '['. On true *pattern is behind the ']'; false: malformed, or the character is not of the class. */
static bool class_matches(struct view *pattern, uint32_t rune)
{
        bool negated = view_starts(*pattern, VIEW("^")), matched = false;

        if (negated)
                *pattern = view_slice(*pattern, 1, pattern->length);
        for (int ranges = 0;; ranges++) {
                uint32_t low, high;

                if (ranges && view_starts(*pattern, VIEW("]")))
                        break;
                if (!class_rune(pattern, &low))
                        return false;
                high = low;
                if (pattern->data[0] == '-') {
                        *pattern = view_slice(*pattern, 1, pattern->length);
                        if (!class_rune(pattern, &high))
                                return false;
                }
                matched = matched || (low <= rune && rune <= high);
        }
        *pattern = view_slice(*pattern, 1, pattern->length);
        return matched != negated;
}

/* Matches one character of *name with one element of *pattern, which is no '*'. */
static bool element_matches(struct view *pattern, struct view *name)
{
        char c = pattern->data[0];

        if (!name->length)
                return false;
        if (c == '?') {
                *pattern = view_slice(*pattern, 1, pattern->length);
                next_rune(name);
                return true;
        }
        if (c == '[') {
                *pattern = view_slice(*pattern, 1, pattern->length);
                return class_matches(pattern, next_rune(name));
        }
        if (c == '\\') {
                *pattern = view_slice(*pattern, 1, pattern->length);
                if (!pattern->length)
                        return false;
        }
        if (pattern->data[0] != name->data[0])
                return false;
        *pattern = view_slice(*pattern, 1, pattern->length);
        *name = view_slice(*name, 1, name->length);
        return true;
}

/* One component. Only the last '*' is ever tried again, as an earlier one could not reach further. */
static bool component_matches(struct view pattern, struct view name)
{
        struct view star_pattern = VIEW_NULL, star_name = VIEW_NULL;
        bool star = false;

        for (;;) {
                if (view_starts(pattern, VIEW("*"))) {
                        pattern = view_slice(pattern, 1, pattern.length);
                        star_pattern = pattern;
                        star_name = name;
                        star = true;
                        continue;
                }
                if (!pattern.length && !name.length)
                        return true;
                if (pattern.length && element_matches(&pattern, &name))
                        continue;
                if (!star || !star_name.length)
                        return false;
                next_rune(&star_name);
                pattern = star_pattern;
                name = star_name;
        }
}

static bool name_matches(const struct pattern *pattern, const struct view *path, size_t count, bool directory)
{
        for (size_t i = 0; i < count; i++)
                if (component_matches(pattern->parts[0], path[i]))
                        return !pattern->directory_only || directory || i < count - 1;
        return false;
}

static bool glob_matches(const struct pattern *pattern, const struct view *path, size_t count, bool directory)
{
        bool matched = false, traverse = false;
        size_t at = 0;

        for (size_t i = 0; i < pattern->part_count; i++) {
                struct view part = pattern->parts[i];

                if (!part.length) {
                        traverse = false;
                        continue;
                }
                if (view_is(part, "**")) {
                        if (i == pattern->part_count - 1)
                                break;
                        traverse = true;
                        continue;
                }
                if (view_search(part, VIEW("**"), 0) >= 0 || at == count)
                        return false;
                if (traverse) {
                        for (matched = false; at < count && !matched; at++)
                                matched = component_matches(part, path[at]);
                        traverse = false;
                } else {
                        if (!component_matches(part, path[at++]))
                                return false;
                        matched = true;
                }
        }
        return matched && !(pattern->directory_only && !directory && at == count);
}

static bool pattern_matches(const struct pattern *pattern, const struct view *path, size_t count, bool directory)
{
        if (count <= pattern->scope_count)
                return false;
        for (size_t i = 0; i < pattern->scope_count; i++)
                if (!view_equal(path[i], pattern->scope[i]))
                        return false;
        path += pattern->scope_count;
        count -= pattern->scope_count;
        return pattern->part_count == 1 ? name_matches(pattern, path, count, directory)
                                        : glob_matches(pattern, path, count, directory);
}

bool ignore_match(const struct ignore *ignore, const char *path, bool directory)
{
        struct view components[COMPONENT_LIMIT], rest = view_of(path);
        size_t count = 0;

        while (count < COMPONENT_LIMIT && view_split(&rest, '/', &components[count])) {
                /* A repository's own data is never part of an artifact, whatever the patterns say. */
                if (view_is(components[count], ".git") && (directory || rest.data))
                        return true;
                count++;
        }
        for (size_t i = ignore->count; i > 0; i--)
                if (pattern_matches(&ignore->patterns[i - 1], components, count, directory))
                        return !ignore->patterns[i - 1].include;
        return false;
}

/* The file may be a link as long as it stays in the tree. */
static int add_file(struct ignore *ignore, int root, const char *path, struct error *err)
{
        cleanup(close_descriptor) int fd = beneath_open(root, path, O_RDONLY | O_NONBLOCK, true);
        cleanup(buffer_release) struct buffer text = BUFFER_NULL, scope = BUFFER_NULL;
        struct stat status;
        const char *slash = strrchr(path, '/');

        /* What cannot be opened, or is no file, holds no patterns. */
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
                return 0;
        if (status.st_size > FILE_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "'%s' has more than %u bytes", path, FILE_LIMIT);
        while (text.length < (size_t)status.st_size) {
                ssize_t n = read(fd, buffer_reserve(&text, 4096), 4096);

                if (n < 0 && errno != EINTR)
                        return error_set_errno(err, errno, "read '%s'", path);
                if (n == 0)
                        break;
                text.length += n > 0 ? (size_t)n : 0;
        }
        buffer_add(&scope, path, slash ? (size_t)(slash - path) : 0);
        ignore_add(ignore, buffer_view(&text), buffer_string(&scope));
        if (ignore->count > PATTERN_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "'%s': more than %d ignore patterns", path, PATTERN_LIMIT);
        return 0;
}

/* A directory's own file comes before those below it, whatever its siblings are called. */
static int add_tree(struct ignore *ignore, int directory, struct error *err)
{
        cleanup(walk_free) struct walk *walk = NULL;
        struct walk_entry entry;
        int r;

        TRY(add_file(ignore, directory, ".sourceignore", err));
        TRY(walk_begin(directory, &walk, err));
        while ((r = walk_next(walk, &entry, err)) == 0) {
                cleanup(free_string) char *path = NULL;

                if (!S_ISDIR(entry.status.st_mode))
                        continue;
                if (strcmp(entry.name, ".git") == 0) {
                        walk_skip(walk);
                        continue;
                }
                path = memory_printf("%s/.sourceignore", entry.path);
                TRY(add_file(ignore, directory, path, err));
        }
        return r < 0 ? -1 : 0;
}

/* The patterns from `from` on come first: they yield to all others. */
static void put_first(struct ignore *ignore, size_t from)
{
        size_t count = ignore->count - from;
        struct pattern *moved = arena_array(ignore->arena, count, sizeof(*moved));

        memcpy(moved, ignore->patterns + from, count * sizeof(*moved));
        memmove(ignore->patterns + count, ignore->patterns, from * sizeof(*moved));
        memcpy(ignore->patterns, moved, count * sizeof(*moved));
}

int ignore_of_tree(int directory, struct view spec_ignore, struct ignore **ret_ignore, struct error *err)
{
        cleanup(ignore_free) struct ignore *ignore = ignore_new();
        size_t own;

        TRY(add_tree(ignore, directory, err));
        ignore_add(ignore, spec_ignore, "");
        if (ignore->count > PATTERN_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "more than %d ignore patterns", PATTERN_LIMIT);
        own = ignore->count;
        ignore_add_vcs(ignore);
        if (own == 0)
                ignore_add_defaults(ignore);
        put_first(ignore, own);
        *ret_ignore = steal(&ignore);
        return 0;
}
