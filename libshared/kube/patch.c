#include "kube/patch.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/patch.h"
#include "data/scan.h"
#include "kube/client.h"
#include "kube/inventory.h"

#include <stdlib.h>
#include <string.h>

#define CONFLICT_TRIES    5
#define CONFLICT_PAUSE_MS 100

/* ---- finalizers ---- */

static ptrdiff_t position_of(const struct json *strings, const char *string)
{
        size_t i, count = json_length(strings);

        for (i = 0; i < count; i++)
                if (!strcmp(json_string(json_at(strings, i), ""), string))
                        return (ptrdiff_t)i;
        return -1;
}

bool finalizer_has(const struct json *object, const char *finalizer)
{
        return position_of(JSON_PATH(object, "metadata", "finalizers"), finalizer) >= 0;
}

bool finalizer_add(struct json *object, const char *finalizer)
{
        if (finalizer_has(object, finalizer))
                return false;
        json_append(json_array_at(json_object_at(object, "metadata"), "finalizers"), json_new_string(finalizer));
        return true;
}

bool finalizer_remove(struct json *object, const char *finalizer)
{
        struct json *metadata = json_get(object, "metadata");
        struct json *finalizers = json_get(metadata, "finalizers");
        ptrdiff_t at = position_of(finalizers, finalizer);

        if (at < 0)
                return false;
        json_remove_at(finalizers, (size_t)at);
        if (json_length(finalizers) == 0)
                json_remove(metadata, "finalizers");
        return true;
}

/* What the run did to the finalizers, done to those of the latest object. */
static void rebase_finalizers(const struct json *before, struct json *after, const struct json *latest)
{
        struct json *rebased = json_new_object();
        const struct json *old = JSON_PATH(before, "metadata", "finalizers"), *new = JSON_PATH(after, "metadata", "finalizers");
        struct json *list;
        size_t i;

        json_set(json_object_at(rebased, "metadata"), "finalizers", json_copy(JSON_PATH(latest, "metadata", "finalizers")));
        if (json_is_null(JSON_PATH(rebased, "metadata", "finalizers")))
                json_remove(json_get(rebased, "metadata"), "finalizers");
        for (i = 0; i < json_length(old); i++)
                if (position_of(new, json_string(json_at(old, i), "")) < 0)
                        finalizer_remove(rebased, json_string(json_at(old, i), ""));
        for (i = 0; i < json_length(new); i++)
                if (position_of(old, json_string(json_at(new, i), "")) < 0)
                        finalizer_add(rebased, json_string(json_at(new, i), ""));

        list = json_take(json_get(rebased, "metadata"), "finalizers");
        if (list)
                json_set(json_object_at(after, "metadata"), "finalizers", list);
        else
                json_remove(json_get(after, "metadata"), "finalizers");
        json_free(&rebased);
}

/* ---- conditions ---- */

static const char *type_of(const struct json *condition)
{
        return json_string(json_get(condition, "type"), "");
}

static ptrdiff_t condition_position(const struct json *conditions, const char *type)
{
        size_t i, count = json_length(conditions);

        for (i = 0; i < count; i++)
                if (!strcmp(type_of(json_at(conditions, i)), type))
                        return (ptrdiff_t)i;
        return -1;
}

static struct json *condition_in(const struct json *conditions, const char *type)
{
        ptrdiff_t at = condition_position(conditions, type);

        return at < 0 ? NULL : json_at(conditions, (size_t)at);
}

static bool same_state(const struct json *a, const struct json *b)
{
        static const char *const members[] = { "status", "reason", "message" };
        size_t i;

        if (!a || !b)
                return !a && !b;
        for (i = 0; i < sizeof(members) / sizeof(*members); i++)
                if (!json_equal(json_get(a, members[i]), json_get(b, members[i])))
                        return false;
        return true;
}

static bool owns(const struct object_patch *patch, const char *type)
{
        const char *const *owned = patch->owned;

        for (; owned && *owned; owned++)
                if (!strcmp(*owned, type))
                        return true;
        return false;
}

static int modified_by_others(const char *type, const char *operation, const struct json *latest, struct error *error)
{
        if (!latest)
                return error_set(
                        error, ERROR_CONFLICT,
                        "error patching conditions: The condition \"%s\" was deleted by a different process and this caused a "
                        "merge/%s conflict",
                        type, operation);
        return error_set(error, ERROR_CONFLICT,
                         "error patching conditions: The condition \"%s\" was modified by a different process and this caused a "
                         "merge/%s conflict: it is now %s, reason %s",
                         type, operation, json_string(json_get(latest, "status"), "Unknown"),
                         json_string(json_get(latest, "reason"), ""));
}

/* What the run did to one type, done to `target`, which begins as the latest list. */
static int rebase_condition(const struct object_patch *patch, const char *type, const struct json *old, const struct json *new,
                            struct json *target, struct error *error)
{
        const struct json *latest = condition_in(target, type);
        ptrdiff_t at = condition_position(target, type);

        if (json_equal(old, new))
                return 0;
        if (!owns(patch, type)) {
                if (!old && latest && !same_state(latest, new))
                        return modified_by_others(type, "AddCondition", latest, error);
                if (old && new && !same_state(latest, old) && !same_state(latest, new))
                        return modified_by_others(type, "ChangeCondition", latest, error);
                if (old && latest && !new && !same_state(latest, old))
                        return modified_by_others(type, "RemoveCondition", latest, error);
        }
        if (at >= 0 && new)
                json_put(target, (size_t)at, json_copy(new));
        else if (new)
                json_append(target, json_copy(new));
        else if (at >= 0)
                json_remove_at(target, (size_t)at);
        return 0;
}

static int rebase_conditions(const struct object_patch *patch, const struct json *before, struct json *after,
                             const struct json *latest, struct error *error)
{
        const struct json *old = JSON_PATH(before, "status", "conditions"), *new = JSON_PATH(after, "status", "conditions");
        cleanup(json_free) struct json *target = json_copy(JSON_PATH(latest, "status", "conditions"));
        cleanup(json_free) struct json *merged = NULL;
        size_t i;

        if (json_type(target) != JSON_ARRAY) {
                json_free(&target);
                target = json_new_array();
        }
        for (i = 0; i < json_length(old); i++) {
                const char *type = type_of(json_at(old, i));

                if (!condition_in(new, type))
                        TRY(rebase_condition(patch, type, json_at(old, i), NULL, target, error));
        }
        for (i = 0; i < json_length(new); i++) {
                const char *type = type_of(json_at(new, i));

                TRY(rebase_condition(patch, type, condition_in(old, type), json_at(new, i), target, error));
        }

        /* In the order of ours; what only others have comes last. */
        merged = json_new_array();
        for (i = 0; i < json_length(new); i++) {
                ptrdiff_t at = condition_position(target, type_of(json_at(new, i)));

                if (at >= 0)
                        json_append(merged, json_take_at(target, (size_t)at));
        }
        while (json_length(target))
                json_append(merged, json_take_at(target, 0));
        json_set(json_object_at(after, "status"), "conditions", steal(&merged));
        return 0;
}

/* ---- the rest of the status ---- */

/* What is in the list of others and was not in the one that the run began with: it may be all that knows of an object, so it stays. */
static struct json *rebase_inventory(const struct json *old, const struct json *new, const struct json *latest)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        const struct inventory before = inventory_decode(old, arena), after = inventory_decode(new, arena),
                               theirs = inventory_decode(latest, arena);
        const struct inventory more = inventory_difference(&theirs, &before, arena), both = inventory_union(&after, &more, arena);

        return json_equal(old, new) ? json_copy(latest) : inventory_encode(&both);
}

/* The run says how it is, in all that it knows; what it does not know stays. */
static void rebase_status(struct json *before, struct json *after, const struct json *latest)
{
        const struct json *old = json_get(before, "status"), *theirs = json_get(latest, "status");
        struct json *new = json_object_at(after, "status");

        JSON_EACH(theirs, member) {
                if (strcmp(member.key, "conditions") == 0 || json_equal(member.value, json_get(old, member.key)))
                        continue;
                if (strcmp(member.key, "inventory") == 0)
                        json_set(new, member.key,
                                 rebase_inventory(json_get(old, member.key), json_get(new, member.key), member.value));
                else if (!json_get(old, member.key) && !json_get(new, member.key))
                        json_set(new, member.key, json_copy(member.value));
        }
        if (json_type(theirs) == JSON_OBJECT)
                json_set(before, "status", json_copy(theirs));
        else
                json_remove(before, "status");
}

/* ---- requests ---- */

void object_patch_begin(struct object_patch *patch, struct kube_client *client, const struct kube_resource *resource,
                        const char *field_manager, const char *const *owned, const struct json *object)
{
        *patch = (struct object_patch){
                .client = client,
                .resource = resource,
                .field_manager = field_manager,
                .owned = owned,
        };
        json_print(object, &patch->before);
}

void object_patch_release(struct object_patch *patch)
{
        buffer_release(&patch->before);
}

/* What differs in these members, as a patch; an empty one if nothing does. */
static struct json *members_difference(const struct json *before, const struct json *after, const char *const *members,
                                       size_t count)
{
        struct json *patch = json_new_object();

        for (size_t i = 0; i < count; i++) {
                const struct json *old = json_get(before, members[i]), *new = json_get(after, members[i]);
                struct json *change;

                if (json_is_null(new)) {
                        if (!json_is_null(old))
                                json_set(patch, members[i], json_new_null());
                        continue;
                }
                change = patch_merge_create(json_is_null(old) ? NULL : old, new);
                if (change)
                        json_set(patch, members[i], change);
        }
        return patch;
}

/* The parts of an object that this room writes, beside its status. NULL: nothing differs. */
static struct json *body_difference(const struct json *before, const struct json *after)
{
        static const char *const metadata_members[] = { "labels", "annotations", "finalizers", "ownerReferences" };
        static const char *const members[] = { "spec" };
        struct json *metadata = members_difference(json_get(before, "metadata"), json_get(after, "metadata"), metadata_members, 4);
        struct json *patch = members_difference(before, after, members, 1);

        if (json_length(metadata))
                json_set(patch, "metadata", metadata);
        else
                json_free(&metadata);
        if (!json_length(patch))
                json_free(&patch);
        return patch;
}

/* A status that is absent is an empty one. */
static struct json *status_difference(const struct json *before, const struct json *after)
{
        cleanup(json_free) struct json *none = json_new_object();
        const struct json *old = json_get(before, "status"), *new = json_get(after, "status");
        struct json *change = patch_merge_create(json_is_null(old) ? none : old, json_is_null(new) ? none : new), *patch;

        if (!change)
                return NULL;
        patch = json_new_object();
        json_set(patch, "status", change);
        return patch;
}

static const char *meta(const struct json *object, const char *member)
{
        return json_string(JSON_PATH(object, "metadata", member), "");
}

/* What others write too, and what is deleted by: these must not reach another object that has the name by now. */
static bool locked(const struct json *body)
{
        return JSON_PATH(body, "status", "conditions") || JSON_PATH(body, "status", "inventory") ||
               JSON_PATH(body, "metadata", "finalizers") || JSON_PATH(body, "metadata", "ownerReferences");
}

/* What this room has to know of the answer, whose tree would be the largest of the run. */
static void adopt(struct json *object, struct view answer)
{
        struct json *metadata = json_object_at(object, "metadata");
        struct view known = scan_get(answer, "metadata"), version = scan_string(scan_get(known, "resourceVersion")),
                    generation = scan_get(known, "generation");

        if (version.length)
                json_set(metadata, "resourceVersion", json_new_view(version));
        if (generation.length)
                json_set_integer(metadata, "generation", scan_integer(generation, 0));
}

/* *answer is the object's text. */
static int send(struct context *context, const struct object_patch *patch, const struct json *object, const struct json *body,
                struct buffer *answer, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct kube_request request = {
                .verb = KUBE_PATCH_MERGE,
                .resource = patch->resource,
                .namespace = meta(object, "namespace"),
                .name = meta(object, "name"),
                .subresource = json_get(body, "status") ? "status" : NULL,
                .field_manager = patch->field_manager,
        };

        json_print(body, &text);
        request.body = buffer_view(&text);
        TRY(kube_call(context, patch->client, &request, answer, error));
        if (scan_value_end(buffer_view(answer), 0) == 0)
                return error_set(error, ERROR_INVALID, "the answer about %s is not JSON", patch->resource->plural);
        return 0;
}

static int rebase(struct context *context, const struct object_patch *patch, struct json *before, struct json *object,
                  struct error *error)
{
        cleanup(json_free) struct json *latest = NULL;
        int64_t pause_ms = CONFLICT_PAUSE_MS + (int64_t)(clock_random() * CONFLICT_PAUSE_MS);

        TRY(context_sleep(context, pause_ms, error));
        TRY(kube_get(context, patch->client, patch->resource, meta(object, "namespace"), meta(object, "name"), &latest, error));
        if (strcmp(meta(latest, "uid"), meta(before, "uid")) != 0)
                return error_set(error, ERROR_NOT_FOUND, "%s \"%s\" was deleted, and another one made by that name",
                                 patch->resource->plural, meta(object, "name"));
        TRY(rebase_conditions(patch, before, object, latest, error));
        rebase_finalizers(before, object, latest);
        rebase_status(before, object, latest);

        /* From here on the difference is to what is there now. */
        json_set(json_object_at(before, "metadata"), "resourceVersion", json_new_string(meta(latest, "resourceVersion")));
        json_set_string(json_object_at(object, "metadata"), "resourceVersion", meta(latest, "resourceVersion"));
        if (JSON_PATH(latest, "metadata", "finalizers"))
                json_set(json_object_at(before, "metadata"), "finalizers", json_copy(JSON_PATH(latest, "metadata", "finalizers")));
        else
                json_remove(json_get(before, "metadata"), "finalizers");
        return 0;
}

static int write_part(struct context *context, const struct object_patch *patch, struct json *before, struct json *object,
                      struct json *(*difference)(const struct json *before, const struct json *after), struct error *error)
{
        int tries;

        for (tries = 1;; tries++) {
                cleanup(json_free) struct json *body = difference(before, object);
                cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
                bool lock = locked(body);

                if (!body)
                        return 0;
                if (lock && meta(before, "resourceVersion")[0])
                        json_set_string(json_object_at(body, "metadata"), "resourceVersion", meta(before, "resourceVersion"));
                if (send(context, patch, object, body, &answer, error) == 0) {
                        adopt(object, buffer_view(&answer));
                        adopt(before, buffer_view(&answer));
                        return 0;
                }
                if (error->kind != ERROR_CONFLICT || !lock || tries == CONFLICT_TRIES)
                        return -1;
                error_release(error);
                TRY(rebase(context, patch, before, object, error));
        }
}

/* As written. */
static void settle_status(struct json *before, const struct json *object)
{
        const struct json *status = json_get(object, "status");

        if (json_is_null(status))
                json_remove(before, "status");
        else
                json_set(before, "status", json_copy(status));
}

static int write_parts(struct context *context, const struct object_patch *patch, struct json *before, struct json *object,
                       struct error *error)
{
        cleanup(json_free) struct json *body = NULL;

        TRY(write_part(context, patch, before, object, status_difference, error));
        body = body_difference(before, object);
        if (!body)
                return 0;
        settle_status(before, object); /* what was written before a failure is not to be sent again */
        return write_part(context, patch, before, object, body_difference, error);
}

int object_patch_write(struct context *context, struct object_patch *patch, struct json *object, struct error *error)
{
        bool deleting = !json_is_null(JSON_PATH(object, "metadata", "deletionTimestamp"));
        cleanup(json_free) struct json *before = NULL;
        int r;

        TRY(json_parse(buffer_view(&patch->before), &before, error));
        r = write_parts(context, patch, before, object, error);
        buffer_clear(&patch->before);
        json_print(r == 0 ? object : before, &patch->before);
        if (r == 0)
                return 0;
        if (!kube_is_absent(error) || !deleting)
                return -1;
        error_release(error);
        return 0;
}
