#include "data/ignore.h"

#include "base/arena.h"
#include "base/memory.h"
#include "data/glob.h"

#include <stdlib.h>

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

static bool component_matches(struct view pattern, struct view name)
{
        return glob_match(pattern, name) == 1;
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
