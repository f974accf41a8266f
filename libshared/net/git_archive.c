/*
 * The tree of a commit as an artifact, without a checkout: a walk over tree objects, the ignore rules, and the archive's writer.
 */
#include "net/git_private.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/archive.h"
#include "data/ignore.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_LIMIT   512
#define PATH_LIMIT    4096
#define ENTRY_LIMIT   1000000
#define FILE_LIMIT    (128ull << 20)
#define TOTAL_LIMIT   (4ull << 30)
#define IGNORE_LIMIT  (1u << 20)
#define PATTERN_LIMIT 10000

struct frame {
        git_tree *tree;
        const git_tree_entry **entries; /* by plain name: Git itself sorts directories as if they ended in a slash */
        size_t count;
        size_t next;
        size_t path_length; /* of the directory itself */
};

/* Depth first, parents before what is in them. */
struct walk {
        git_repository *repository;
        struct frame frames[DEPTH_LIMIT];
        size_t depth;
        size_t seen;
        char path[PATH_LIMIT];
};

static int by_name(const void *a, const void *b)
{
        return strcmp(git_tree_entry_name(*(const git_tree_entry *const *)a),
                      git_tree_entry_name(*(const git_tree_entry *const *)b));
}

static int enter(struct walk *walk, const git_oid *oid, size_t path_length, struct error *err)
{
        struct frame *frame;

        if (walk->depth == DEPTH_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "the repository's directories are nested deeper than %d", DEPTH_LIMIT);
        frame = &walk->frames[walk->depth];
        if (git_tree_lookup(&frame->tree, walk->repository, oid) < 0) {
                git_library_error(err);
                return error_wrap(err, "the directory './%.*s'", (int)path_length, walk->path);
        }
        walk->depth++;
        frame->count = git_tree_entrycount(frame->tree);
        frame->next = 0;
        frame->path_length = path_length;
        frame->entries = memory_zero(frame->count + 1, sizeof(*frame->entries));
        for (size_t i = 0; i < frame->count; i++)
                frame->entries[i] = git_tree_entry_byindex(frame->tree, i);
        qsort(frame->entries, frame->count, sizeof(*frame->entries), by_name);
        return 0;
}

static void leave(struct walk *walk)
{
        struct frame *frame = &walk->frames[--walk->depth];

        git_tree_free(frame->tree);
        free(frame->entries);
}

static void walk_free(struct walk **walk)
{
        while (*walk && (*walk)->depth > 0)
                leave(*walk);
        free(*walk);
}

static int refuse_name(const struct walk *walk, const char *what, const char *name, const char *why, struct error *err)
{
        size_t length = walk->frames[walk->depth - 1].path_length;

        return error_set(err, ERROR_INVALID, "the repository holds the %s '%.*s%s%s'%s", what, (int)length, walk->path,
                         length ? "/" : "", name, why);
}

/* What Git never writes but a hostile server sends. `before`: the entry before this one, NULL if it is the first. */
static int check_name(const struct walk *walk, const char *name, const git_tree_entry *before, struct error *err)
{
        if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/') ||
            strcasecmp(name, ".git") == 0)
                return refuse_name(walk, "invalid path", name, "", err);
        /* Which of the two a reader of the artifact would see is anybody's guess. */
        if (before && strcmp(git_tree_entry_name(before), name) == 0)
                return refuse_name(walk, "path", name, " twice", err);
        return 0;
}

/* 1 with the next entry, whose path is in walk->path; 0 at the end. A directory is entered before the next call. */
static int walk_next(struct walk *walk, const git_tree_entry **ret_entry, struct error *err)
{
        struct frame *frame;
        const git_tree_entry *entry = NULL;
        const char *name;
        size_t length, at;

        while (walk->depth > 0 && walk->frames[walk->depth - 1].next == walk->frames[walk->depth - 1].count)
                leave(walk);
        if (walk->depth == 0)
                return 0;
        frame = &walk->frames[walk->depth - 1];
        entry = frame->entries[frame->next];
        if (++walk->seen > ENTRY_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "the repository has more than %d files", ENTRY_LIMIT);
        name = git_tree_entry_name(entry);
        TRY(check_name(walk, name, frame->next > 0 ? frame->entries[frame->next - 1] : NULL, err));
        frame->next++;
        length = strlen(name);
        at = frame->path_length;
        if (at + length + 2 > PATH_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "the repository has a path of more than %d bytes", PATH_LIMIT);
        if (at > 0)
                walk->path[at++] = '/';
        memcpy(walk->path + at, name, length + 1);
        if (git_tree_entry_type(entry) == GIT_OBJECT_TREE)
                TRY(enter(walk, git_tree_entry_id(entry), at + length, err));
        *ret_entry = entry;
        return 1;
}

static int walk_begin(git_repository *repository, const git_oid *tree, struct walk **ret_walk, struct error *err)
{
        struct walk *walk = memory_zero(1, sizeof(*walk));

        walk->repository = repository;
        *ret_walk = walk;
        return enter(walk, tree, 0, err);
}

static void release_object(git_odb_object **object)
{
        git_odb_object_free(*object);
}

static bool is_file(const git_tree_entry *entry)
{
        git_filemode_t mode = git_tree_entry_filemode(entry);

        return mode == GIT_FILEMODE_BLOB || mode == GIT_FILEMODE_BLOB_EXECUTABLE;
}

/* The size is asked for before the bytes: a small pack can hold a file that fills the memory. */
static int read_file(const struct walk *walk, git_odb *odb, const git_tree_entry *entry, uint64_t limit,
                     git_odb_object **ret_object, struct error *err)
{
        git_object_t type;
        size_t size;

        if (git_odb_read_header(&size, &type, odb, git_tree_entry_id(entry)) < 0) {
                git_library_error(err);
                return error_wrap(err, "the file '%s'", walk->path);
        }
        if (type != GIT_OBJECT_BLOB)
                return error_set(err, ERROR_INVALID, "the file '%s' is a %s", walk->path, git_object_type2string(type));
        if (size > limit)
                return error_set(err, ERROR_TOO_LARGE, "the file '%s' has %zu bytes, the limit is %llu", walk->path, size,
                                 (unsigned long long)limit);
        if (git_odb_read(ret_object, odb, git_tree_entry_id(entry)) < 0) {
                git_library_error(err);
                return error_wrap(err, "the file '%s'", walk->path);
        }
        return 0;
}

static int collect_ignore(git_repository *repository, git_odb *odb, const git_oid *tree, struct view spec,
                          struct ignore **ret_ignore, struct error *err)
{
        cleanup(ignore_free) struct ignore *ignore = ignore_new();
        cleanup(walk_free) struct walk *walk = NULL;
        const git_tree_entry *entry = NULL;
        size_t vcs;
        int result;

        ignore_add_vcs(ignore);
        vcs = ignore_count(ignore);
        TRY(walk_begin(repository, tree, &walk, err));
        while ((result = walk_next(walk, &entry, err)) > 0) {
                cleanup(release_object) git_odb_object *object = NULL;
                size_t scope = walk->frames[walk->depth - 1].path_length;

                if (!is_file(entry) || strcmp(git_tree_entry_name(entry), ".sourceignore") != 0)
                        continue;
                TRY(read_file(walk, odb, entry, IGNORE_LIMIT, &object, err));
                walk->path[scope] = '\0';
                ignore_add(ignore, (struct view){ git_odb_object_data(object), git_odb_object_size(object) }, walk->path);
                if (ignore_count(ignore) > PATTERN_LIMIT)
                        return error_set(err, ERROR_TOO_LARGE, "the repository's .sourceignore files hold more than %d patterns",
                                         PATTERN_LIMIT);
        }
        if (result < 0)
                return result;
        if (spec.data)
                ignore_add(ignore, spec, "");
        if (ignore_count(ignore) == vcs)
                ignore_add_defaults(ignore);
        *ret_ignore = steal(&ignore);
        return 0;
}

static int output_failed(struct error *err)
{
        return err->kind == ERROR_TOO_LARGE ? -1 : error_reason(err, GIT_OUTPUT_FAILED);
}

static int add_entry(const struct walk *walk, git_odb *odb, const git_tree_entry *entry, const struct ignore *ignore,
                     struct archive *archive, struct error *err)
{
        cleanup(release_object) git_odb_object *object = NULL;
        git_filemode_t mode = git_tree_entry_filemode(entry);
        bool directory = mode == GIT_FILEMODE_TREE || mode == GIT_FILEMODE_COMMIT; /* a submodule is an empty directory */

        if (!directory && !is_file(entry)) {
                archive_drop_link(archive);
                return 0;
        }
        if (ignore_match(ignore, walk->path, directory))
                return 0;
        if (directory)
                return archive_add_directory(archive, walk->path, err) < 0 ? output_failed(err) : 0;
        TRY(read_file(walk, odb, entry, FILE_LIMIT, &object, err));
        if (archive_add_file(archive, walk->path, mode == GIT_FILEMODE_BLOB_EXECUTABLE,
                             (struct view){ git_odb_object_data(object), git_odb_object_size(object) }, err) < 0)
                return output_failed(err);
        return 0;
}

static void release_odb(git_odb **odb)
{
        git_odb_free(*odb);
}

int git_archive(git_repository *repository, const git_oid *tree, const struct git_request *request, int output,
                struct git_result *result, struct error *err)
{
        static const struct archive_limits limits = { .entries = ENTRY_LIMIT, .bytes = TOTAL_LIMIT, .file_bytes = FILE_LIMIT };
        cleanup(release_odb) git_odb *odb = NULL;
        cleanup(ignore_free) struct ignore *ignore = NULL;
        cleanup(walk_free) struct walk *walk = NULL;
        cleanup(archive_free) struct archive *archive = NULL;
        struct archive_summary summary;
        const git_tree_entry *entry = NULL;
        int more;

        if (git_repository_odb(&odb, repository) < 0)
                return git_library_error(err);
        TRY(collect_ignore(repository, odb, tree, request->ignore, &ignore, err));
        archive = archive_begin(output, request->algorithm, &limits);
        TRY(walk_begin(repository, tree, &walk, err));
        while ((more = walk_next(walk, &entry, err)) > 0)
                TRY(add_entry(walk, odb, entry, ignore, archive, err));
        if (more < 0)
                return more;
        if (archive_end(archive, &summary, err) < 0)
                return output_failed(err);
        memcpy(result->digest, summary.digest, sizeof(result->digest));
        result->size = summary.size;
        result->links_dropped = summary.links_dropped;
        return 0;
}
