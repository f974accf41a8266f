#include "kube/apply_private.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/path.h"
#include "data/regex.h"
#include "data/selector.h"
#include "kube/meta.h"

#include <stdlib.h>
#include <string.h>

#define PATTERNS 5

struct rule {
        const char *const *paths;
        struct regex *patterns[PATTERNS]; /* group, version, kind, namespace, name; NULL: any */
        struct selector *labels, *annotations;
};

struct apply_rules {
        size_t count;
        struct rule rules[];
};

static int bad_selector(const char *what, struct error *error)
{
        return error_wrap(error, "failed to create ignore rule selector: invalid %s", what);
}

static int compile(const struct object_selector *target, struct rule *rule, struct error *error)
{
        static const char *const names[PATTERNS] = { "group regex", "version regex", "kind regex", "namespace regex",
                                                     "name regex" };
        const char *texts[PATTERNS];
        size_t i;

        if (!target)
                return 0;
        texts[0] = target->group;
        texts[1] = target->version;
        texts[2] = target->kind;
        texts[3] = target->namespace;
        texts[4] = target->name;
        for (i = 0; i < PATTERNS; i++)
                if (texts[i] && *texts[i] && regex_compile(view_of(texts[i]), REGEX_ANCHORED, &rule->patterns[i], error) != 0)
                        return bad_selector(names[i], error);
        if (target->label_selector && selector_parse(view_of(target->label_selector), &rule->labels, error) != 0)
                return bad_selector("label selector", error);
        if (target->annotation_selector && selector_parse(view_of(target->annotation_selector), &rule->annotations, error) != 0)
                return bad_selector("annotation selector", error);
        return 0;
}

void apply_rules_free(struct apply_rules **pointer)
{
        struct apply_rules *rules = steal(pointer);
        size_t i, k;

        if (!rules)
                return;
        for (i = 0; i < rules->count; i++) {
                for (k = 0; k < PATTERNS; k++)
                        regex_free(&rules->rules[i].patterns[k]);
                selector_free(&rules->rules[i].labels);
                selector_free(&rules->rules[i].annotations);
        }
        free(rules);
}

int apply_rules_new(const struct apply_settings *settings, struct apply_rules **ret_rules, struct error *error)
{
        cleanup(apply_rules_free) struct apply_rules *rules = NULL;
        size_t i;

        if (settings->ignore_count) {
                rules = memory_zero(1, sizeof(*rules) + settings->ignore_count * sizeof(*rules->rules));
                rules->count = settings->ignore_count;
        }
        for (i = 0; i < settings->ignore_count; i++) {
                rules->rules[i].paths = settings->ignore[i].paths;
                TRY(compile(settings->ignore[i].target, &rules->rules[i], error));
        }
        *ret_rules = steal(&rules);
        return 0;
}

static bool label_of(const void *labels, const char *key, struct view *ret_value)
{
        const struct json *label = json_get(labels, key);

        *ret_value = json_view(label);
        return label;
}

static bool selects(const struct rule *rule, const struct json *object)
{
        struct view api_version = json_view(json_get(object, "apiVersion"));
        ptrdiff_t slash = view_find(api_version, '/', 0);
        const struct json *metadata = json_get(object, "metadata");
        struct view texts[PATTERNS];
        size_t i;

        texts[0] = view_slice(api_version, 0, slash < 0 ? 0 : (size_t)slash);
        texts[1] = slash < 0 ? api_version : view_slice(api_version, (size_t)slash + 1, api_version.length);
        texts[2] = json_view(json_get(object, "kind"));
        texts[3] = json_view(json_get(metadata, "namespace"));
        texts[4] = json_view(json_get(metadata, "name"));
        for (i = 0; i < PATTERNS; i++) {
                cleanup(error_release) struct error ignored = ERROR_NULL;

                if (rule->patterns[i] && regex_match(rule->patterns[i], texts[i], &ignored) != 0)
                        return false;
        }
        return (!rule->labels || selector_matches(rule->labels, label_of, json_get(metadata, "labels"))) &&
               (!rule->annotations || selector_matches(rule->annotations, label_of, json_get(metadata, "annotations")));
}

bool apply_rules_match(const struct apply_rules *rules, const struct json *object)
{
        size_t i;

        for (i = 0; rules && i < rules->count; i++)
                if (selects(&rules->rules[i], object))
                        return true;
        return false;
}

void apply_rules_remove(const struct apply_rules *rules, const struct json *selected, struct json *tree)
{
        const char *const *path;
        size_t i;

        for (i = 0; rules && i < rules->count; i++)
                if (selects(&rules->rules[i], selected))
                        for (path = rules->rules[i].paths; *path; path++)
                                path_remove(tree, view_of(*path));
}

struct search {
        struct view pointer;
        bool found;
};

static bool is_pointer(void *argument, struct view pointer)
{
        struct search *search = argument;

        search->found = view_equal(pointer, search->pointer);
        return !search->found;
}

/* Another manager applies that place of the live object. */
static bool applied_by_another(const struct apply_run *run, const struct json *live, struct view pointer, struct arena *arena)
{
        const struct json *entries = JSON_PATH(live, "metadata", "managedFields");
        size_t i;

        for (i = 0; i < json_length(entries); i++) {
                struct field_owner owner = field_owner_of(json_at(entries, i));
                cleanup(error_release) struct error ignored = ERROR_NULL;
                struct search search = { .pointer = pointer };
                const struct field_set *set;

                if (strcmp(owner.operation, "Apply") != 0 || *owner.subresource ||
                    !strcmp(owner.manager, run->settings->field_manager) ||
                    field_set_parse(json_get(json_at(entries, i), "fieldsV1"), arena, &set, &ignored) != 0)
                        continue;
                field_set_resolve(set, live, is_pointer, &search);
                if (search.found)
                        return true;
        }
        return false;
}

/* What comes of patching it: the whole object has parts that are the server's. */
static int not_kept(const struct apply_item *item, const struct json *tried, struct view pointer, struct error *error)
{
        ptrdiff_t begin = view_find(pointer, '/', 0), end = begin;
        bool inside;

        if (!pointer.length) {
                cleanup(buffer_release) struct buffer id = BUFFER_NULL;

                object_id_describe(&item->id, &id);
                return error_set(error, ERROR_INVALID, "%s apply failed: metadata.managedFields must be nil", buffer_string(&id));
        }
        /* What precedes the first slash does not count there. */
        for (ptrdiff_t at = begin; at >= 0; at = view_find(pointer, '/', (size_t)at + 1))
                end = at;
        inside = begin >= 0 && path_get(tried, view_slice(pointer, (size_t)begin, (size_t)(end - begin)));
        return error_set(error, ERROR_INVALID, "replace operation does not apply: doc is missing %s: %.*s: missing value",
                         inside ? "key" : "path", (int)pointer.length, pointer.data);
}

static int keep_path(const struct apply_item *item, const struct json *live, const struct json *tried, struct json *payload,
                     struct view pointer, struct arena *arena, struct error *error)
{
        const struct json *is = path_get(live, pointer), *would_be = path_get(tried, pointer);
        cleanup(error_release) struct error ignored = ERROR_NULL;
        struct json *document = payload;

        if (!pointer.length || pointer.data[0] != '/')
                return not_kept(item, tried, pointer, error);
        if ((!is && !would_be) || (is && would_be && json_equal(is, would_be)))
                return 0;
        if (!is || applied_by_another(item->run, live, pointer, arena))
                path_remove(payload, pointer);
        else
                path_set(&document, pointer, json_copy(is), &ignored);
        return 0;
}

int apply_rules_keep(const struct apply_item *item, const struct json *live, const struct json *tried, struct json *payload,
                     struct error *error)
{
        const struct apply_rules *rules = item->run->rules;
        cleanup(arena_free) struct arena *arena = arena_new();
        const char *const *path;
        size_t i;

        for (i = 0; rules && i < rules->count; i++)
                if (selects(&rules->rules[i], tried))
                        for (path = rules->rules[i].paths; *path; path++)
                                TRY(keep_path(item, live, tried, payload, view_of(*path), arena, error));
        return 0;
}
