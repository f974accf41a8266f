#include "kube/inventory.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define RBAC_GROUP "rbac.authorization.k8s.io"
#define COLON      "__"

#define UNREAD_SHOWN 200 /* bytes of an entry in a message */

static bool may_have_colons(const char *group, const char *kind)
{
        static const char *const kinds[] = { "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding" };
        size_t i;

        if (strcmp(group, RBAC_GROUP) != 0)
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

/* A name from an id: where a name may have colons, "__" stands for one. */
static const char *name_of(struct arena *arena, struct view text, bool colons)
{
        char *name = arena_allocate(arena, text.length + 1);
        size_t i, length = 0;

        for (i = 0; i < text.length; i++)
                if (colons && text.data[i] == '_' && i + 1 < text.length && text.data[i + 1] == '_') {
                        name[length++] = ':';
                        i++;
                } else {
                        name[length++] = text.data[i];
                }
        return name;
}

struct object_id object_id_of(struct view api_version, struct view kind, struct view namespace, struct view name,
                              struct arena *arena)
{
        ptrdiff_t slash = view_find(api_version, '/', 0);
        size_t version = slash < 0 ? 0 : (size_t)slash + 1;

        return (struct object_id){
                .group = arena_string_n(arena, api_version.data, slash < 0 ? 0 : (size_t)slash),
                .version = arena_string_n(arena, api_version.data + version, api_version.length - version),
                .kind = arena_string_n(arena, kind.data, kind.length),
                .namespace = arena_string_n(arena, namespace.length ? namespace.data : "", namespace.length),
                .name = arena_string_n(arena, name.data, name.length),
        };
}

/* Why nothing can be called so; NULL if something can. */
static const char *unnameable(struct view id, struct view kind, struct view name)
{
        size_t i;

        for (i = 0; i < id.length; i++)
                if ((unsigned char)id.data[i] < ' ' || strchr("/%\x7f", id.data[i]))
                        return "it holds a character that no name has";
        if (!kind.length || !name.length)
                return "it has no kind or no name";
        return view_is(name, ".") || view_is(name, "..") ? "no object has that name" : NULL;
}

int inventory_id_parse(struct view id, const char *version, struct arena *arena, struct object_id *ret_object, struct error *error)
{
        ptrdiff_t first = view_find(id, '_', 0);
        ptrdiff_t last = last_underscore(id);
        ptrdiff_t middle = last < 0 ? -1 : last_underscore(view_slice(id, 0, (size_t)last));
        const char *why = "it is not <namespace>_<name>_<group>_<kind>", *group, *kind_text;
        struct view kind, name;

        if (first >= 0 && middle > first) {
                kind = view_slice(id, (size_t)last + 1, SIZE_MAX);
                name = view_slice(id, (size_t)first + 1, (size_t)(middle - first - 1));
                why = unnameable(id, kind, name);
        }
        if (why)
                return error_set(error, ERROR_INVALID, "unable to parse stored object metadata: %s", why);
        group = arena_string_n(arena, id.data + middle + 1, (size_t)(last - middle - 1));
        kind_text = arena_string_n(arena, kind.data, kind.length);
        *ret_object = (struct object_id){
                .group = group,
                .version = arena_string(arena, version),
                .kind = kind_text,
                .namespace = arena_string_n(arena, id.data, (size_t)first),
                .name = name_of(arena, name, may_have_colons(group, kind_text)),
        };
        return 0;
}

struct inventory inventory_decode(const struct json *inventory, struct arena *arena)
{
        const struct json *entries = json_get(inventory, "entries");
        size_t i, count = json_type(entries) == JSON_ARRAY ? json_length(entries) : 0;
        struct inventory found = { .items = arena_array(arena, count, sizeof(*found.items)) };
        struct inventory_unread *unread = arena_array(arena, count, sizeof(*unread));

        for (i = 0; i < count; i++) {
                const struct json *entry = json_at(entries, i);
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                if (inventory_id_parse(json_view(json_get(entry, "id")), json_string(json_get(entry, "v"), ""), arena,
                                       &found.items[found.count], &error) == 0) {
                        found.count++;
                        continue;
                }
                json_print(entry, &text);
                unread[found.unread_count++] = (struct inventory_unread){ i, arena_view(arena, buffer_view(&text)),
                                                                          arena_string(arena, error_message(&error)) };
        }
        found.unread = unread;
        return found;
}

void inventory_unread_print(const struct inventory *inventory, struct buffer *text)
{
        size_t i;

        for (i = 0; i < inventory->unread_count; i++) {
                const struct inventory_unread *unread = &inventory->unread[i];
                int shown = (int)(unread->text.length < UNREAD_SHOWN ? unread->text.length : UNREAD_SHOWN);

                buffer_printf(text, "%sstatus.inventory.entries[%zu] %.*s: %s", i ? "\n" : "", unread->position, shown,
                              unread->text.data, unread->why);
        }
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
        for (i = 0; i < inventory->unread_count; i++) {
                cleanup(error_release) struct error ignored = ERROR_NULL;
                struct json *entry = NULL;

                if (json_parse(inventory->unread[i].text, &entry, &ignored) == 0)
                        json_append(entries, entry);
        }
        return encoded;
}

/* A name as its id spells it, character by character. */
struct spelling {
        const char *at;
        bool colons, half; /* half of a COLON is still to come */
};

static struct spelling spell(const struct object_id *object)
{
        return (struct spelling){ object->name, may_have_colons(object->group, object->kind), false };
}

static unsigned char spell_next(struct spelling *spelling)
{
        if (spelling->half) {
                spelling->half = false;
                return COLON[1];
        }
        if (!*spelling->at)
                return '\0';
        if (*spelling->at != ':' || !spelling->colons)
                return (unsigned char)*spelling->at++;
        spelling->at++;
        spelling->half = true;
        return COLON[0];
}

static int compare_spelled(const struct object_id *a, const struct object_id *b)
{
        struct spelling left = spell(a), right = spell(b);
        unsigned char from_left, from_right;

        do {
                from_left = spell_next(&left);
                from_right = spell_next(&right);
        } while (from_left && from_left == from_right);
        return from_left - from_right;
}

bool object_id_ambiguous(const struct object_id *object)
{
        return strchr(object->name, ':') && may_have_colons(object->group, object->kind);
}

static int compare_names(const void *a, const void *b)
{
        const struct object_id *left = *(const struct object_id *const *)a, *right = *(const struct object_id *const *)b;
        int r = compare_spelled(left, right);

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
struct inventory_index {
        size_t count;
        const struct object_id **items;
};

const struct inventory_index *inventory_index(const struct inventory *inventory, struct arena *arena)
{
        struct inventory_index *index = arena_allocate(arena, sizeof(*index));
        size_t i;

        index->count = inventory->count;
        index->items = arena_array(arena, inventory->count, sizeof(const struct object_id *));
        for (i = 0; i < inventory->count; i++)
                index->items[i] = &inventory->items[i];
        if (inventory->count)
                qsort(index->items, inventory->count, sizeof(const struct object_id *), compare_identity);
        return index;
}

static bool has(const struct inventory_index *index, const struct object_id *item)
{
        return index->count && bsearch(&item, index->items, index->count, sizeof(const struct object_id *), compare_identity);
}

/* The same object, or the same but for a namespace that only one of them has. */
bool inventory_has(const struct inventory_index *index, const struct object_id *item)
{
        struct object_id unscoped = *item;

        unscoped.namespace = "";
        if (!*item->namespace)
                return index->count && bsearch(&item, index->items, index->count, sizeof(const struct object_id *), compare_names);
        return has(index, item) || has(index, &unscoped);
}

static struct inventory difference(const struct inventory *old, const struct inventory *now, struct arena *arena,
                                   bool (*is_in)(const struct inventory_index *index, const struct object_id *item))
{
        const struct inventory_index *index = inventory_index(now, arena);
        struct inventory missing = { .items = arena_array(arena, old->count, sizeof(*missing.items)) };
        size_t i;

        for (i = 0; i < old->count; i++)
                if (!is_in(index, &old->items[i]))
                        missing.items[missing.count++] = old->items[i];
        return missing;
}

struct inventory inventory_difference(const struct inventory *old, const struct inventory *now, struct arena *arena)
{
        return difference(old, now, arena, inventory_has);
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
        both.unread = a->unread_count ? a->unread : b->unread;
        both.unread_count = a->unread_count ? a->unread_count : b->unread_count;
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
