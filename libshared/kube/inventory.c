#include "kube/inventory.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define RBAC_GROUP "rbac.authorization.k8s.io"
#define COLON      "__"

static bool may_have_colons(const char *group, const char *kind)
{
        static const char *const kinds[] = { "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding" };
        size_t i;

        if (strcmp(group, RBAC_GROUP))
                return false;
        for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
                if (!strcmp(kind, kinds[i]))
                        return true;
        return false;
}

void inventory_id_print(const struct object_id *object, struct buffer *id)
{
        bool colons = may_have_colons(object->group, object->kind);
        const char *c;

        buffer_printf(id, "%s_", object->namespace);
        for (c = object->name; *c; c++)
                if (*c == ':' && colons)
                        buffer_add_string(id, COLON);
                else
                        buffer_add_char(id, *c);
        buffer_printf(id, "_%s_%s", object->group, object->kind);
}

static ptrdiff_t last_underscore(struct view text)
{
        size_t i;

        for (i = text.length; i > 0; i--)
                if (text.data[i - 1] == '_')
                        return (ptrdiff_t)i - 1;
        return -1;
}

/* A name from an id: "__" stands for ':'. */
static const char *name_of(struct arena *arena, struct view text)
{
        char *name = arena_allocate(arena, text.length + 1);
        size_t i, length = 0;

        for (i = 0; i < text.length; i++)
                if (text.data[i] == '_' && i + 1 < text.length && text.data[i + 1] == '_') {
                        name[length++] = ':';
                        i++;
                } else {
                        name[length++] = text.data[i];
                }
        return name;
}

int inventory_id_parse(struct view id, const char *version, struct arena *arena, struct object_id *ret_object, struct error *error)
{
        ptrdiff_t first = view_find(id, '_', 0);
        ptrdiff_t kind = last_underscore(id);
        ptrdiff_t group = kind < 0 ? -1 : last_underscore(view_slice(id, 0, (size_t)kind));

        if (first < 0 || group <= first)
                return error_set(error, ERROR_INVALID, "unable to parse stored object metadata: %.*s", VIEW_ARGS(id));
        *ret_object = (struct object_id){
                .group = arena_string_n(arena, id.data + group + 1, (size_t)(kind - group - 1)),
                .version = arena_string(arena, version),
                .kind = arena_string_n(arena, id.data + kind + 1, id.length - (size_t)kind - 1),
                .namespace = arena_string_n(arena, id.data, (size_t)first),
                .name = name_of(arena, view_slice(id, (size_t)first + 1, (size_t)(group - first - 1))),
        };
        return 0;
}

int inventory_decode(const struct json *inventory, struct arena *arena, struct inventory *ret_inventory, struct error *error)
{
        const struct json *entries = json_get(inventory, "entries");
        struct inventory found = { .count = json_length(entries) };
        size_t i;

        found.items = arena_array(arena, found.count, sizeof(*found.items));
        for (i = 0; i < found.count; i++) {
                const struct json *entry = json_at(entries, i);

                TRY(inventory_id_parse(json_view(json_get(entry, "id")), json_string(json_get(entry, "v"), ""), arena,
                                       &found.items[i], error));
        }
        *ret_inventory = found;
        return 0;
}

struct json *inventory_encode(const struct inventory *inventory)
{
        struct json *encoded = json_new_object();
        struct json *entries = json_array_at(encoded, "entries");
        cleanup(buffer_release) struct buffer id = BUFFER_NULL;
        size_t i;

        for (i = 0; i < inventory->count; i++) {
                struct json *entry = json_append(entries, json_new_object());

                buffer_clear(&id);
                inventory_id_print(&inventory->items[i], &id);
                json_set_string(entry, "id", buffer_string(&id));
                json_set_string(entry, "v", inventory->items[i].version);
        }
        return encoded;
}

bool object_id_same(const struct object_id *a, const struct object_id *b)
{
        return !strcmp(a->name, b->name) && !strcmp(a->namespace, b->namespace) && !strcmp(a->kind, b->kind) &&
               !strcmp(a->group, b->group);
}

static int compare_names(const void *a, const void *b)
{
        const struct object_id *left = *(const struct object_id *const *)a, *right = *(const struct object_id *const *)b;
        int r = strcmp(left->name, right->name);

        if (r == 0)
                r = strcmp(left->kind, right->kind);
        return r ? r : strcmp(left->group, right->group);
}

static int compare_identity(const void *a, const void *b)
{
        const struct object_id *left = *(const struct object_id *const *)a, *right = *(const struct object_id *const *)b;
        int r = compare_names(a, b);

        return r ? r : strcmp(left->namespace, right->namespace);
}

/* Pointers to the items, sorted for compare_identity. */
static const struct object_id **sorted(const struct inventory *inventory, struct arena *arena)
{
        const struct object_id **index = arena_array(arena, inventory->count, sizeof(*index));
        size_t i;

        for (i = 0; i < inventory->count; i++)
                index[i] = &inventory->items[i];
        if (inventory->count)
                qsort(index, inventory->count, sizeof(*index), compare_identity);
        return index;
}

static bool has(const struct object_id **index, size_t count, const struct object_id *item)
{
        return count && bsearch(&item, index, count, sizeof(*index), compare_identity);
}

/* The same object, or the same but for a namespace that only one of them has. */
static bool has_unscoped(const struct object_id **index, size_t count, const struct object_id *item)
{
        struct object_id unscoped = *item;

        unscoped.namespace = "";
        if (!*item->namespace)
                return count && bsearch(&item, index, count, sizeof(*index), compare_names);
        return has(index, count, item) || has(index, count, &unscoped);
}

static struct inventory difference(const struct inventory *old, const struct inventory *now, struct arena *arena,
                                   bool (*is_in)(const struct object_id **index, size_t count, const struct object_id *item))
{
        const struct object_id **index = sorted(now, arena);
        struct inventory missing = { .items = arena_array(arena, old->count, sizeof(*missing.items)) };
        size_t i;

        for (i = 0; i < old->count; i++)
                if (!is_in(index, now->count, &old->items[i]))
                        missing.items[missing.count++] = old->items[i];
        return missing;
}

struct inventory inventory_difference(const struct inventory *old, const struct inventory *now, struct arena *arena)
{
        return difference(old, now, arena, has_unscoped);
}

struct inventory inventory_union(const struct inventory *a, const struct inventory *b, struct arena *arena)
{
        struct inventory more = difference(b, a, arena, has);
        struct inventory both = { .items = arena_array(arena, a->count + more.count, sizeof(*both.items)) };

        if (a->count)
                memcpy(both.items, a->items, a->count * sizeof(*a->items));
        if (more.count)
                memcpy(both.items + a->count, more.items, more.count * sizeof(*more.items));
        both.count = a->count + more.count;
        return both;
}

void object_id_describe(const struct object_id *object, struct buffer *text)
{
        buffer_printf(text, "%s/", object->kind);
        if (*object->namespace)
                buffer_printf(text, "%s/", object->namespace);
        buffer_add_string(text, object->name);
}

unsigned object_id_rank(const struct object_id *object)
{
        /* What others need comes first. */
        static const char *const first[] = {
                "CustomResourceDefinition",
                "Namespace",
                "ClusterRole",
                "ClusterClass",
                "RuntimeClass",
                "PriorityClass",
                "StorageClass",
                "VolumeSnapshotClass",
                "IngressClass",
                "GatewayClass",
                "ClusterRoleBinding",
                "ResourceQuota",
                "ServiceAccount",
                "Role",
                "RoleBinding",
                "ConfigMap",
                "Secret",
                "Service",
                "LimitRange",
                "Deployment",
                "StatefulSet",
                "CronJob",
                "PodDisruptionBudget",
        };
        static const char *const last[] = { "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration" };
        const unsigned others = sizeof(first) / sizeof(*first);
        unsigned i;

        for (i = 0; i < others; i++)
                if (!strcmp(object->kind, first[i]))
                        return i;
        for (i = 0; i < sizeof(last) / sizeof(*last); i++)
                if (!strcmp(object->kind, last[i]))
                        return others + 1 + i;
        return others;
}

int object_id_compare(const struct object_id *a, const struct object_id *b)
{
        unsigned rank_a = object_id_rank(a), rank_b = object_id_rank(b);
        int r;

        if (rank_a != rank_b)
                return rank_a < rank_b ? -1 : 1;
        r = strcmp(a->group, b->group);
        if (r == 0)
                r = strcmp(a->kind, b->kind);
        if (r == 0)
                r = strcmp(a->namespace, b->namespace);
        return r ? r : strcmp(a->name, b->name);
}
