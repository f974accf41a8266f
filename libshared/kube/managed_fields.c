#include "kube/managed_fields.h"

#include "base/cleanup.h"
#include "data/path.h"

#include <stdlib.h>
#include <string.h>

#define SELF             "."
#define DEFAULT_PROTOCOL "TCP"

/* A node: owned itself or not, with children sorted by compare_keys and no key twice. */
struct field_set {
        bool owned;
        size_t count;
        const struct field_child *children;
};

struct field_child {
        const char *key; /* "f:spec" */
        const struct field_set *set;
};

static const struct field_set empty_set;

/* ---- order ---- */

enum element { ELEMENT_FIELD, ELEMENT_KEY, ELEMENT_VALUE, ELEMENT_INDEX, ELEMENT_UNKNOWN };

static enum element element_of(const char *key)
{
        static const char prefixes[] = "fkvi";
        const char *at = *key ? strchr(prefixes, *key) : NULL;

        return at && key[1] == ':' ? (enum element)(at - prefixes) : ELEMENT_UNKNOWN;
}

static struct json *element_value(const char *key)
{
        struct json *value = NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;

        return json_parse(view_of(key + 2), &value, &ignored) == 0 ? value : NULL;
}

static int type_rank(const struct json *value)
{
        switch (json_type(value)) {
        case JSON_INTEGER:
        case JSON_FLOAT:
                return 0;
        case JSON_STRING:
                return 1;
        case JSON_BOOL:
                return 2;
        default:
                return 3;
        }
}

static int compare_values(const struct json *a, const struct json *b)
{
        int rank = type_rank(a);

        if (rank != type_rank(b))
                return rank - type_rank(b);
        if (rank == 0 && json_number(a, 0) != json_number(b, 0))
                return json_number(a, 0) < json_number(b, 0) ? -1 : 1;
        if (rank == 1)
                return view_compare(json_view(a), json_view(b));
        if (rank == 2)
                return (int)json_bool(a, false) - (int)json_bool(b, false);
        return 0;
}

/* Keys of a list item are sorted by name: the first difference decides. */
static int compare_items(const struct json *a, const struct json *b)
{
        struct json_member left = json_first(a), right = json_first(b);

        for (; left.key && right.key; left = json_next(left), right = json_next(right)) {
                int r = strcmp(left.key, right.key);

                if (r == 0)
                        r = compare_values(left.value, right.value);
                if (r != 0)
                        return r;
        }
        return (left.key != NULL) - (right.key != NULL);
}

static int compare_keys(const char *a, const char *b)
{
        enum element element = element_of(a);
        cleanup(json_free) struct json *left = NULL;
        cleanup(json_free) struct json *right = NULL;
        int r = strcmp(a, b);

        if (r == 0)
                return 0;
        if (element != element_of(b))
                return (int)element - (int)element_of(b);
        if (element == ELEMENT_FIELD)
                return r;
        left = element_value(a);
        right = element_value(b);
        if (element == ELEMENT_KEY && compare_items(left, right))
                return compare_items(left, right);
        if (element != ELEMENT_KEY && compare_values(left, right))
                return compare_values(left, right);
        return r; /* equal values in other words, or lists and objects: any order will do */
}

static int compare_children(const void *a, const void *b)
{
        return compare_keys(((const struct field_child *)a)->key, ((const struct field_child *)b)->key);
}

/* ---- parse, print ---- */

static int check_key(const char *key, struct error *error)
{
        cleanup(json_free) struct json *value = NULL;
        enum element element = element_of(key);

        if (element == ELEMENT_FIELD)
                return 0;
        value = element_value(key);
        if (!value || (element == ELEMENT_KEY && json_type(value) != JSON_OBJECT) ||
            (element == ELEMENT_INDEX && json_type(value) != JSON_INTEGER))
                return error_set(error, ERROR_INVALID, "managed fields: \"%s\" is no path element", key);
        return 0;
}

static int parse_node(const struct json *node, bool root, struct arena *arena, const struct field_set **ret_set,
                      struct error *error)
{
        struct field_set *set = arena_new_of(arena, struct field_set);
        struct field_child *children = arena_array(arena, json_length(node), sizeof(*children));
        bool in_order = true;

        if (json_type(node) != JSON_OBJECT)
                return error_set(error, ERROR_INVALID, "managed fields: a %s where an object belongs",
                                 json_type_name(json_type(node)));
        set->owned = !root && json_length(node) == 0;
        JSON_EACH(node, member) {
                struct field_child *child = &children[set->count];

                if (!strcmp(member.key, SELF)) {
                        set->owned = true;
                        continue;
                }
                if (element_of(member.key) == ELEMENT_UNKNOWN)
                        continue;
                TRY(check_key(member.key, error));
                TRY(parse_node(member.value, false, arena, &child->set, error));
                child->key = arena_string(arena, member.key);
                in_order = in_order && (set->count == 0 || compare_children(child - 1, child) < 0);
                set->count++;
        }
        if (!in_order)
                qsort(children, set->count, sizeof(*children), compare_children);
        set->children = children;
        *ret_set = set;
        return 0;
}

int field_set_parse(const struct json *fields_v1, struct arena *arena, const struct field_set **ret_set, struct error *error)
{
        return parse_node(fields_v1, true, arena, ret_set, error);
}

void field_set_print(const struct field_set *set, struct buffer *buffer)
{
        size_t i;

        buffer_add_char(buffer, '{');
        if (set && set->owned && set->count)
                buffer_add_string(buffer, "\".\":{}");
        for (i = 0; set && i < set->count; i++) {
                if (i || set->owned)
                        buffer_add_char(buffer, ',');
                buffer_add_char(buffer, '"');
                buffer_add_json(buffer, view_of(set->children[i].key));
                buffer_add_string(buffer, "\":");
                field_set_print(set->children[i].set, buffer);
        }
        buffer_add_char(buffer, '}');
}

/* ---- algebra ---- */

bool field_set_empty(const struct field_set *set)
{
        return !set || (!set->owned && set->count == 0);
}

const struct field_set *field_set_union(const struct field_set *a, const struct field_set *b, struct arena *arena)
{
        struct field_set *set = arena_new_of(arena, struct field_set);
        struct field_child *children;
        size_t i = 0, k = 0;

        a = a ? a : &empty_set;
        b = b ? b : &empty_set;
        children = arena_array(arena, a->count + b->count, sizeof(*children));
        set->owned = a->owned || b->owned;
        while (i < a->count || k < b->count) {
                int r = i == a->count ? 1 : k == b->count ? -1 : compare_keys(a->children[i].key, b->children[k].key);
                struct field_child *child = &children[set->count];
                const struct field_set *left = r <= 0 ? a->children[i].set : NULL, *right = r >= 0 ? b->children[k].set : NULL;

                child->key = r <= 0 ? a->children[i].key : b->children[k].key;
                i += r <= 0;
                k += r >= 0;
                child->set = left && right ? field_set_union(left, right, arena) : left ? left : right;
                if (!field_set_empty(child->set)) /* of elements that are not known nothing is left */
                        set->count++;
        }
        set->children = children;
        return set;
}

bool field_set_equal(const struct field_set *a, const struct field_set *b)
{
        size_t i;

        a = a ? a : &empty_set;
        b = b ? b : &empty_set;
        if (a->owned != b->owned || a->count != b->count)
                return false;
        for (i = 0; i < a->count; i++)
                if (compare_keys(a->children[i].key, b->children[i].key) ||
                    !field_set_equal(a->children[i].set, b->children[i].set))
                        return false;
        return true;
}

/* ---- on an object ---- */

static bool key_matches(const struct json *item, const char *name, const struct json *value)
{
        const struct json *found = json_get(item, name);

        if (found)
                return json_equal(found, value);
        return !strcmp(name, "protocol") && view_is(json_view(value), DEFAULT_PROTOCOL);
}

static bool item_matches(const struct json *item, const struct json *keys)
{
        if (json_type(item) != JSON_OBJECT)
                return false;
        JSON_EACH(keys, key)
                if (!key_matches(item, key.key, key.value))
                        return false;
        return true;
}

/* The child of `node` that the element means, with its part of a pointer appended; NULL if it is not there. */
static const struct json *resolve_element(const struct json *node, const char *key, struct buffer *pointer)
{
        cleanup(json_free) struct json *value = NULL;
        enum element element = element_of(key);
        size_t i, count = json_length(node);

        if (element == ELEMENT_FIELD) {
                path_append(pointer, view_of(key + 2));
                return json_get(node, key + 2);
        }
        if (json_type(node) != JSON_ARRAY)
                return NULL;
        value = element_value(key);
        for (i = 0; i < count; i++) {
                const struct json *item = json_at(node, i);

                if ((element == ELEMENT_KEY && item_matches(item, value)) ||
                    (element == ELEMENT_VALUE && json_equal(item, value)) ||
                    (element == ELEMENT_INDEX && json_integer(value, -1) == (int64_t)i)) {
                        buffer_printf(pointer, "/%zu", i);
                        return item;
                }
        }
        return NULL;
}

static bool resolve(const struct field_set *set, const struct json *node, struct buffer *pointer,
                    bool (*seen)(void *argument, struct view pointer), void *argument)
{
        size_t i, length = pointer->length;

        if (set->owned && length && !seen(argument, buffer_view(pointer)))
                return false;
        for (i = 0; i < set->count; i++) {
                const struct json *child = resolve_element(node, set->children[i].key, pointer);

                if (child && !resolve(set->children[i].set, child, pointer, seen, argument))
                        return false;
                pointer->length = length;
                if (pointer->data)
                        pointer->data[length] = '\0';
        }
        return true;
}

void field_set_resolve(const struct field_set *set, const struct json *object, bool (*seen)(void *argument, struct view pointer),
                       void *argument)
{
        cleanup(buffer_release) struct buffer pointer = BUFFER_NULL;

        if (set)
                resolve(set, object, &pointer, seen, argument);
}

static void describe_element(const char *key, struct buffer *path)
{
        cleanup(json_free) struct json *value = NULL;
        bool first = true;

        switch (element_of(key)) {
        case ELEMENT_FIELD:
                buffer_printf(path, ".%s", key + 2);
                return;
        case ELEMENT_VALUE:
                buffer_printf(path, "[=%s]", key + 2);
                return;
        case ELEMENT_INDEX:
                buffer_printf(path, "[%s]", key + 2);
                return;
        default:
                break;
        }
        value = element_value(key);
        buffer_add_char(path, '[');
        JSON_EACH(value, member) {
                buffer_printf(path, "%s%s=", first ? "" : ",", member.key);
                json_print(member.value, path);
                first = false;
        }
        buffer_add_char(path, ']');
}

struct description {
        struct buffer *text;
        struct buffer path;
        unsigned limit, count;
};

/* Places without owned places below them; false once the limit is passed. */
static bool describe(const struct field_set *set, struct description *description)
{
        size_t i, length = description->path.length;

        if (set->count == 0 && set->owned && length) {
                if (description->count == description->limit) {
                        buffer_add_string(description->text, ", ...");
                        return false;
                }
                buffer_add_string(description->text, description->count++ ? ", " : "");
                buffer_add_view(description->text, buffer_view(&description->path));
        }
        for (i = 0; i < set->count; i++) {
                describe_element(set->children[i].key, &description->path);
                if (!describe(set->children[i].set, description))
                        return false;
                description->path.length = length;
                description->path.data[length] = '\0';
        }
        return true;
}

void field_set_describe(const struct field_set *set, unsigned limit, struct buffer *buffer)
{
        struct description description = { .text = buffer, .path = BUFFER_NULL, .limit = limit };

        if (set)
                describe(set, &description);
        buffer_release(&description.path);
}

/* ---- entries ---- */

struct field_owner field_owner_of(const struct json *entry)
{
        return (struct field_owner){
                .manager = json_string(json_get(entry, "manager"), ""),
                .operation = json_string(json_get(entry, "operation"), ""),
                .subresource = json_string(json_get(entry, "subresource"), ""),
        };
}

static bool is_applied(const struct json *entry, const char *manager)
{
        struct field_owner owner = field_owner_of(entry);

        return !strcmp(owner.manager, manager) && !strcmp(owner.operation, "Apply") && !*owner.subresource;
}

/* The Apply entry of that manager without a subresource; NULL if there is none. */
static const struct json *applied_entry(const struct json *object, const char *manager)
{
        const struct json *entries = JSON_PATH(object, "metadata", "managedFields");
        size_t i, count = json_length(entries);

        for (i = 0; i < count; i++)
                if (is_applied(json_at(entries, i), manager))
                        return json_at(entries, i);
        return NULL;
}

bool field_owner_taken(const struct field_owner *owner, const struct field_takeover *owners, size_t count)
{
        size_t i;

        if (*owner->subresource)
                return false;
        for (i = 0; i < count; i++) {
                size_t length = strlen(owners[i].manager);

                if (owners[i].prefix ? strncmp(owner->manager, owners[i].manager, length) != 0
                                     : strcmp(owner->manager, owners[i].manager) != 0)
                        continue;
                if (!owners[i].operation || !strcmp(owner->operation, owners[i].operation))
                        return true;
        }
        return false;
}

/* Adds what the entry owns to `set`. */
static int gather(const struct json *entry, struct arena *arena, const struct field_set **set, struct error *error)
{
        const struct field_set *fields;

        TRY(field_set_parse(json_get(entry, "fieldsV1"), arena, &fields, error));
        *set = field_set_union(*set, fields, arena);
        return 0;
}

static struct json *renamed(const struct json *entry, const char *manager)
{
        struct json *copy = json_copy(entry);

        json_set_string(copy, "manager", manager);
        json_set_string(copy, "operation", "Apply");
        return copy;
}

int managed_fields_take_over(const struct json *object, const char *manager, const struct field_takeover *owners, size_t count,
                             struct json **ret_entries, struct error *error)
{
        const struct json *entries = JSON_PATH(object, "metadata", "managedFields");
        const struct json *own = applied_entry(object, manager);
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *kept = json_new_array();
        cleanup(json_free) struct json *merged = own ? json_copy(own) : NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        const struct field_set *set = NULL;
        struct json *fields = NULL;
        bool taken = false;
        size_t i;

        for (i = 0; i < json_length(entries); i++) {
                const struct json *entry = json_at(entries, i);
                struct field_owner owner = field_owner_of(entry);
                bool match = entry != own && field_owner_taken(&owner, owners, count);

                if (!match && entry != own) {
                        json_append(kept, json_copy(entry));
                        continue;
                }
                taken = taken || match;
                if (!merged)
                        merged = renamed(entry, manager);
                TRY(gather(entry, arena, &set, error));
        }
        if (!taken)
                return MANAGED_FIELDS_UNCHANGED;
        field_set_print(set, &text);
        TRY(json_parse(buffer_view(&text), &fields, error));
        json_set(merged, "fieldsV1", fields);
        json_append(kept, steal(&merged));
        *ret_entries = steal(&kept);
        return 0;
}
