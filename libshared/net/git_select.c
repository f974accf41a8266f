#include "net/git_private.h"

#include "base/cleanup.h"
#include "data/semver.h"

#include <string.h>

#define HEADS         "refs/heads/"
#define TAGS          "refs/tags/"
#define PEELED        "^{}"
#define PEELED_LENGTH 3

static const struct git_advertised *find(const struct git_advertised *heads, size_t count, const char *name)
{
        for (size_t i = 0; i < count; i++)
                if (strcmp(heads[i].name, name) == 0)
                        return &heads[i];
        return NULL;
}

/* A tag's commit if the server peeled it, which it says right after the tag, else what the reference points at. */
static const git_oid *commit_of(const struct git_advertised *heads, size_t count, const struct git_advertised *head)
{
        const struct git_advertised *next = head + 1;
        size_t length = strlen(head->name);

        if (next < heads + count && strncmp(next->name, head->name, length) == 0 && strcmp(next->name + length, PEELED) == 0)
                return &next->oid;
        return &head->oid;
}

static void select_one(struct arena *arena, const char *name, const git_oid *oid, struct git_selection *selection)
{
        selection->candidates = arena_new_of(arena, struct git_candidate);
        selection->candidates[0] = (struct git_candidate){ .name = name, .oid = *oid };
        selection->count = 1;
}

static int missing(const char *name, struct error *err)
{
        return error_set(err, ERROR_NOT_FOUND, "couldn't find remote ref \"%s\"", name);
}

static int select_reference(struct arena *arena, const char *name, const struct git_advertised *heads, size_t count,
                            struct git_selection *selection, struct error *err)
{
        const struct git_advertised *head = find(heads, count, name);

        if (!head)
                return missing(name, err);
        selection->reference = name;
        select_one(arena, name, commit_of(heads, count, head), selection);
        return 0;
}

static int select_name(struct arena *arena, const struct git_request *request, const struct git_advertised *heads, size_t count,
                       struct git_selection *selection, struct error *err)
{
        const char *name = arena_view(arena, request->name).data;
        const struct git_advertised *head;
        size_t length = request->name.length;
        const char *wanted = name;

        if (name[0] == '/' || name[length - 1] == '/')
                return error_set(err, ERROR_INVALID, "ref %s is invalid; Git refs cannot begin or end with a slash '/'", name);
        head = find(heads, count, name);
        if (!head)
                return error_set(err, ERROR_NOT_FOUND, "unable to resolve ref '%s' to a specific commit", name);
        if (view_ends(request->name, VIEW(PEELED)))
                wanted = arena_string_n(arena, name, length - PEELED_LENGTH);
        selection->reference = name;
        selection->full_name = true;
        select_one(arena, wanted, commit_of(heads, count, head), selection);
        return 0;
}

/* The highest version that the range contains; several tags may say the same version. */
static int select_semver(struct arena *arena, const struct git_request *request, const struct git_advertised *heads, size_t count,
                         struct git_selection *selection, struct error *err)
{
        cleanup(semver_range_free) struct semver_range *range = NULL;
        struct semver best = { .major = 0 };

        if (semver_range_parse(request->semver, &range, err) < 0)
                return error_wrap(err, "semver parse error");
        selection->candidates = arena_array(arena, count + 1, sizeof(selection->candidates[0]));
        for (size_t i = 0; i < count; i++) {
                cleanup(error_release) struct error ignored = ERROR_NULL;
                struct view name = view_of(heads[i].name);
                struct semver version;
                int order;

                if (!view_starts(name, VIEW(TAGS)) || view_ends(name, VIEW(PEELED)))
                        continue;
                if (semver_parse_tag(view_slice(name, strlen(TAGS), name.length), &version, &ignored) < 0 ||
                    !semver_range_contains(range, &version))
                        continue;
                order = selection->count > 0 ? semver_compare(&version, &best) : 1;
                if (order < 0)
                        continue;
                /* Of tags for one commit any will do: nothing has to be fetched to choose. */
                if (order > 0 || git_oid_equal(&selection->candidates[0].oid, commit_of(heads, count, &heads[i])))
                        selection->count = 0;
                best = version;
                selection->candidates[selection->count++] = (struct git_candidate){
                        .name = heads[i].name,
                        .oid = *commit_of(heads, count, &heads[i]),
                };
        }
        if (selection->count == 0)
                return error_set(err, ERROR_NOT_FOUND, "no match found for semver: %.*s", VIEW_ARGS(request->semver));
        selection->reference = selection->candidates[0].name;
        return 0;
}

static int select_commit(struct arena *arena, const struct git_request *request, const struct git_advertised *heads, size_t count,
                         struct git_selection *selection, struct error *err)
{
        const char *hex = arena_view(arena, request->commit).data;
        const char *name = NULL;
        git_oid oid;

        if (request->commit.length != GIT_OID_SHA1_HEXSIZE || git_oid_fromstr(&oid, hex) < 0)
                return error_set(err, ERROR_NOT_FOUND, "unable to resolve commit object for '%s': object not found", hex);
        if (request->name.length > 0) {
                selection->reference = arena_view(arena, request->name).data;
                selection->full_name = true;
        } else if (request->branch.length > 0) {
                selection->reference = arena_printf(arena, HEADS "%.*s", VIEW_ARGS(request->branch));
                if (!find(heads, count, selection->reference))
                        return missing(selection->reference, err);
        }
        /* The tip of something: every server gives that. */
        for (size_t i = 0; i < count && !name; i++)
                if (git_oid_equal(&heads[i].oid, &oid) && !view_ends(view_of(heads[i].name), VIEW(PEELED)))
                        name = heads[i].name;
        select_one(arena, name, &oid, selection);
        return 0;
}

int git_select(struct arena *arena, const struct git_request *request, const struct git_advertised *heads, size_t count,
               struct git_selection *ret_selection, struct error *err)
{
        struct git_selection selection = { .reference = NULL };
        bool branch = !request->commit.length && !request->name.length && !request->tag.length && !request->semver.length;
        int result;

        if (count == 0)
                return branch ? GIT_EMPTY : error_set(err, ERROR_NOT_FOUND, "remote repository is empty");
        if (request->commit.length > 0)
                result = select_commit(arena, request, heads, count, &selection, err);
        else if (request->name.length > 0)
                result = select_name(arena, request, heads, count, &selection, err);
        else if (request->tag.length > 0)
                result = select_reference(arena, arena_printf(arena, TAGS "%.*s", VIEW_ARGS(request->tag)), heads, count,
                                          &selection, err);
        else if (request->semver.length > 0)
                result = select_semver(arena, request, heads, count, &selection, err);
        else
                result = select_reference(
                        arena,
                        arena_printf(arena, HEADS "%.*s", VIEW_ARGS(request->branch.length ? request->branch : VIEW("master"))),
                        heads, count, &selection, err);
        if (result == 0)
                *ret_selection = selection;
        return result;
}

const char *git_revision(struct arena *arena, const struct git_selection *selection, const char *reference, const git_oid *commit)
{
        char hex[GIT_OID_SHA1_HEXSIZE + 1];

        git_oid_tostr(hex, sizeof(hex), commit);
        if (!reference)
                return arena_printf(arena, "sha1:%s", hex);
        if (!selection->full_name && strncmp(reference, HEADS, strlen(HEADS)) == 0)
                reference += strlen(HEADS);
        else if (!selection->full_name && strncmp(reference, TAGS, strlen(TAGS)) == 0)
                reference += strlen(TAGS);
        return arena_printf(arena, "%s@sha1:%s", reference, hex);
}

bool git_revision_is(struct view recorded, const char *revision)
{
        static const size_t tail = sizeof("@sha1:") - 1 + GIT_OID_SHA1_HEXSIZE;
        struct view present = view_of(revision), name, commit;

        if (view_equal(recorded, present))
                return true;
        if (present.length <= tail)
                return false;
        name = view_slice(present, 0, present.length - tail);
        commit = view_slice(present, present.length - GIT_OID_SHA1_HEXSIZE, GIT_OID_SHA1_HEXSIZE);
        return recorded.length == name.length + 1 + commit.length && view_starts(recorded, name) &&
               recorded.data[name.length] == '/' && view_ends(recorded, commit);
}
