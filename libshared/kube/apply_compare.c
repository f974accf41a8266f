#include "kube/apply_private.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/path.h"

#include <stdlib.h>
#include <string.h>

#define UNKNOWN_FIELD ": field not declared in schema"
#define UNKNOWN_LIMIT 256  /* fields that are left out at a time: each is looked for */
#define METRICS_LIMIT 1000 /* longer lists stay as they are */

/* ---- drift ---- */

static bool is_empty(const struct json *json)
{
        enum json_type type = json_type(json);

        return type == JSON_NULL || ((type == JSON_ARRAY || type == JSON_OBJECT) && json_length(json) == 0);
}

static bool same(const struct json *a, const struct json *b);

/* Each member of `a` is in `b`; what is null may be missing. */
static bool covered(const struct json *a, const struct json *b)
{
        JSON_EACH(a, member) {
                const struct json *other = json_get(b, member.key);

                if (!other ? json_type(member.value) != JSON_NULL : !same(member.value, other))
                        return false;
        }
        return true;
}

/* Null, an empty list and an empty object are the same. */
static bool same(const struct json *a, const struct json *b)
{
        size_t i;

        if (is_empty(a) && is_empty(b))
                return true;
        if (json_type(a) == JSON_OBJECT && json_type(b) == JSON_OBJECT)
                return covered(a, b) && covered(b, a);
        if (json_type(a) != JSON_ARRAY || json_type(b) != JSON_ARRAY)
                return json_equal(a, b);
        if (json_length(a) != json_length(b))
                return false;
        for (i = 0; i < json_length(a); i++)
                if (!same(json_at(a, i), json_at(b, i)))
                        return false;
        return true;
}

static bool same_or_absent(const struct json *a, const struct json *b)
{
        if (!a || !b)
                return (!a || is_empty(a)) && (!b || is_empty(b));
        return same(a, b);
}

/* A dry run of a HorizontalPodAutoscaler answers with metrics that are there twice, or empty. */
static void clean_metrics(struct json *object)
{
        struct json *metrics = JSON_PATH(object, "spec", "metrics");
        size_t i, k;

        for (i = 0; i < json_length(metrics) && json_length(metrics) <= METRICS_LIMIT;) {
                bool drop = is_empty(json_at(metrics, i));

                for (k = 0; k < i && !drop; k++)
                        drop = json_equal(json_at(metrics, k), json_at(metrics, i));
                if (drop)
                        json_remove_at(metrics, i);
                else
                        i++;
        }
}

/* The pointers below `at` to what differs. */
static void add_paths(const struct json *a, const struct json *b, struct buffer *at, struct buffer *paths)
{
        bool objects = json_type(a) == JSON_OBJECT && json_type(b) == JSON_OBJECT;
        bool arrays = json_type(a) == JSON_ARRAY && json_type(b) == JSON_ARRAY && json_length(a) == json_length(b);
        size_t length = at->length, i;

        if (paths->full || (a && b ? same(a, b) : json_is_null(a ? a : b)))
                return;
        if (!objects && !arrays)
                buffer_printf(paths, "%s%.*s", paths->length ? ", " : "", VIEW_ARGS(buffer_view(at)));
        for (i = 0; arrays && i < json_length(a); i++) {
                buffer_printf(at, "/%zu", i);
                add_paths(json_at(a, i), json_at(b, i), at, paths);
                at->length = length;
        }
        for (i = 0; objects && i < 2; i++) {
                JSON_EACH(i ? b : a, member) {
                        if (i && json_get(a, member.key))
                                continue;
                        path_append(at, view_of(member.key));
                        add_paths(json_get(a, member.key), json_get(b, member.key), at, paths);
                        at->length = length;
                }
        }
}

bool apply_differs(struct json *live, struct json *tried, struct buffer *paths)
{
        static const char *const compared[] = { "labels", "annotations", "finalizers", "ownerReferences" };
        cleanup(buffer_release) struct buffer at = BUFFER_NULL;
        bool differs = false;
        size_t i;

        for (i = 0; i < sizeof(compared) / sizeof(*compared); i++) {
                const struct json *a = JSON_PATH(live, "metadata", compared[i]), *b = JSON_PATH(tried, "metadata", compared[i]);

                if (same_or_absent(a, b))
                        continue;
                differs = true;
                buffer_clear(&at);
                buffer_printf(&at, "/metadata/%s", compared[i]);
                if (paths)
                        add_paths(a, b, &at, paths);
        }
        if (!strcmp(json_string(json_get(tried, "kind"), ""), "HorizontalPodAutoscaler"))
                clean_metrics(tried);
        json_remove(live, "metadata");
        json_remove(tried, "metadata");
        json_remove(live, "status");
        json_remove(tried, "status");
        buffer_clear(&at);
        if (paths)
                add_paths(live, tried, &at, paths);
        return differs || !same(live, tried);
}

/* ---- metadata ---- */

static void add_operation(struct json *patch, const char *operation, const char *path, struct json *value)
{
        struct json *added = json_append(patch, json_new_object());

        json_set_string(added, "op", operation);
        json_set_string(added, "path", path);
        if (value)
                json_set(added, "value", value);
}

static void add_removals(struct json *patch, const struct json *map, const char *where, const char *const *keys)
{
        for (; *keys; keys++) {
                cleanup(buffer_release) struct buffer path = BUFFER_NULL;

                if (!json_get(map, *keys))
                        continue;
                buffer_printf(&path, "/metadata/%s", where);
                path_append(&path, view_of(*keys));
                add_operation(patch, "remove", buffer_string(&path), NULL);
        }
}

/* True if an entry was of another version. */
static bool migrate(struct json *entries, const char *api_version)
{
        bool changed = false;
        size_t i;

        for (i = 0; i < json_length(entries); i++)
                if (strcmp(json_string(json_get(json_at(entries, i), "apiVersion"), ""), api_version) != 0) {
                        json_set_string(json_at(entries, i), "apiVersion", api_version);
                        changed = true;
                }
        return changed;
}

int apply_metadata_patch(const struct apply_run *run, const struct json *live, bool merge, const char *api_version,
                         struct json **ret_patch, struct error *error)
{
        const struct json *metadata = json_get(live, "metadata");
        cleanup(json_free) struct json *patch = json_new_array();
        cleanup(json_free) struct json *entries = NULL;
        bool changed = false;
        int r;

        if (!merge) {
                add_removals(patch, json_get(metadata, "annotations"), "annotations", steer_removed_annotations);
                add_removals(patch, json_get(metadata, "labels"), "labels", steer_removed_labels);
                r = managed_fields_take_over(live, run->settings->field_manager, run->takeovers, run->takeover_count, &entries,
                                             error);
                if (r < 0)
                        return -1;
                changed = r == 0;
        }
        if (!entries)
                entries = json_copy(json_get(metadata, "managedFields"));
        if (api_version)
                changed = migrate(entries, api_version) || changed;
        if (changed)
                add_operation(patch, "replace", "/metadata/managedFields", steal(&entries));
        if (json_length(patch))
                *ret_patch = steal(&patch);
        return 0;
}

/* ---- fields that the schema does not know ---- */

/* The item that "[name="x",port=80]" or "[3]" means. */
static struct json *item_of(struct json *list, struct view keys)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(json_free) struct json *wanted = NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;
        struct view rest = keys, pair;
        uint64_t index;
        size_t i;

        if (view_to_uint64(keys, &index) == 0)
                return json_at(list, index);
        buffer_add_char(&text, '{');
        while (view_split(&rest, ',', &pair)) {
                ptrdiff_t equals = view_find(pair, '=', 0);

                if (equals < 0)
                        return NULL;
                buffer_printf(&text, "%s\"%.*s\":%.*s", text.length > 1 ? "," : "", (int)equals, pair.data,
                              (int)(pair.length - (size_t)equals - 1), pair.data + equals + 1);
        }
        buffer_add_char(&text, '}');
        if (json_parse(buffer_view(&text), &wanted, &ignored) != 0)
                return NULL;
        for (i = 0; i < json_length(list); i++) {
                bool matches = true;

                JSON_EACH(wanted, key)
                        matches = matches && json_equal(json_get(json_at(list, i), key.key), key.value);
                if (matches)
                        return json_at(list, i);
        }
        return NULL;
}

/* Removes ".spec.containers[name="x"].foo"; false if it is not there. */
static bool remove_path(struct json *object, struct view path)
{
        size_t at = 0;

        while (at < path.length) {
                size_t end = at + 1;
                cleanup(free_string) char *name = NULL;

                if (path.data[at] == '[') {
                        ptrdiff_t close = view_find(path, ']', at);

                        if (close < 0)
                                return false;
                        object = item_of(object, view_slice(path, at + 1, (size_t)close - at - 1));
                        at = (size_t)close + 1;
                        continue;
                }
                if (path.data[at] != '.')
                        return false;
                while (end < path.length && path.data[end] != '.' && path.data[end] != '[')
                        end++;
                name = memory_string_n(path.data + at + 1, end - at - 1);
                if (end == path.length)
                        return json_remove(object, name);
                object = json_get(object, name);
                at = end;
        }
        return false;
}

bool apply_built_in(const char *group)
{
        static const char *const groups[] = {
                "",
                "admissionregistration.k8s.io",
                "apiextensions.k8s.io",
                "apiregistration.k8s.io",
                "apps",
                "autoscaling",
                "batch",
                "certificates.k8s.io",
                "coordination.k8s.io",
                "discovery.k8s.io",
                "events.k8s.io",
                "flowcontrol.apiserver.k8s.io",
                "networking.k8s.io",
                "node.k8s.io",
                "policy",
                "rbac.authorization.k8s.io",
                "resource.k8s.io",
                "scheduling.k8s.io",
                "storage.k8s.io",
        };
        size_t i;

        for (i = 0; i < sizeof(groups) / sizeof(*groups); i++)
                if (!strcmp(group, groups[i]))
                        return true;
        return false;
}

bool apply_has_struct(const struct object_id *id)
{
        if (!strcmp(id->group, "rbac.authorization.k8s.io"))
                return strcmp(id->kind, "Role") != 0 && strcmp(id->kind, "ClusterRole") != 0;
        return apply_built_in(id->group) && strcmp(id->group, "apiextensions.k8s.io") != 0 &&
               strcmp(id->group, "apiregistration.k8s.io") != 0;
}

bool apply_prune_unknown(const char *message, struct json *payload, struct buffer *removed_paths)
{
        const char *at = message;
        bool removed = false;

        for (unsigned tries = 0; tries < UNKNOWN_LIMIT && (at = strstr(at, UNKNOWN_FIELD)); tries++) {
                const char *start = at;

                while (start > message && start[-1] != ' ' && start[-1] != '\n' && start[-1] != '\t')
                        start--;
                if (remove_path(payload, (struct view){ start, (size_t)(at - start) })) {
                        buffer_printf(removed_paths, "%s%.*s", removed_paths->length ? ", " : "", (int)(at - start), start);
                        removed = true;
                }
                at += strlen(UNKNOWN_FIELD);
        }
        return removed;
}
