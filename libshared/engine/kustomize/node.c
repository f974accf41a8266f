#include "engine/kustomize/node.h"

#include "engine/kustomize/scalar.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct node *node_new(struct arena *arena, enum node_kind kind)
{
        struct node *node = arena_new_of(arena, struct node);

        node->kind = (uint8_t)kind;
        return node;
}

struct node *node_scalar(struct arena *arena, enum node_tag tag, enum node_style style, struct view text)
{
        struct node *node = node_new(arena, NODE_SCALAR);

        node->tag = (uint8_t)tag;
        node->style = (uint8_t)style;
        node->text = arena_string_n(arena, text.data ? text.data : "", text.length);
        node->count = (uint32_t)text.length;
        return node;
}

struct node *node_string(struct arena *arena, struct view text)
{
        enum node_style style =
                scalar_resolve(SCALAR_CONFIGURATION, text) == TAG_STRING || text.length == 0 ? STYLE_PLAIN : STYLE_DOUBLE;

        return node_scalar(arena, TAG_STRING, style, text);
}

struct node *node_string_of(struct arena *arena, const char *text)
{
        return node_string(arena, view_of(text));
}

struct node *node_integer(struct arena *arena, int64_t value)
{
        char text[32];
        int length = snprintf(text, sizeof(text), "%" PRId64, value);

        return node_scalar(arena, TAG_INTEGER, STYLE_PLAIN, (struct view){ text, (size_t)length });
}

struct node *node_bool(struct arena *arena, bool value)
{
        return node_scalar(arena, TAG_BOOL, STYLE_PLAIN, value ? VIEW("true") : VIEW("false"));
}

struct node *node_null(struct arena *arena)
{
        return node_scalar(arena, TAG_NULL, STYLE_PLAIN, VIEW("null"));
}

struct node *node_map(struct arena *arena)
{
        return node_new(arena, NODE_MAP);
}

struct node *node_list(struct arena *arena)
{
        return node_new(arena, NODE_LIST);
}

struct node *node_copy(struct arena *arena, const struct node *node)
{
        struct node *copy = arena_new_of(arena, struct node);

        *copy = *node;
        if (node->kind == NODE_MAP) {
                copy->entries = arena_array(arena, node->count, sizeof(*copy->entries));
                copy->capacity = node->count;
                /* Keys are never changed in place, so copies share them. */
                for (uint32_t i = 0; i < node->count; i++) {
                        copy->entries[i].key = node->entries[i].key;
                        copy->entries[i].value = node_copy(arena, node->entries[i].value);
                }
        } else if (node->kind == NODE_LIST) {
                copy->items = arena_array(arena, node->count, sizeof(*copy->items));
                copy->capacity = node->count;
                for (uint32_t i = 0; i < node->count; i++)
                        copy->items[i] = node_copy(arena, node->items[i]);
        }
        return copy;
}

bool node_is_scalar(const struct node *node)
{
        return node && node->kind == NODE_SCALAR && node->tag != TAG_NULL;
}

bool node_is_empty(const struct node *node)
{
        return node_is_null(node) || (node->kind != NODE_SCALAR && node->count == 0);
}

bool node_text_is(const struct node *node, const char *text)
{
        return node && node->kind == NODE_SCALAR && view_is(node_text(node), text);
}

static struct node_entry *find_entry(const struct node *map, struct view key)
{
        if (!node_is_map(map))
                return NULL;
        for (uint32_t i = 0; i < map->count; i++) {
                const struct node *k = map->entries[i].key;

                if (k->count == key.length && memcmp(k->text, key.data, key.length) == 0)
                        return &map->entries[i];
        }
        return NULL;
}

struct node *node_get(const struct node *map, struct view key)
{
        struct node_entry *entry = find_entry(map, key);

        return entry ? entry->value : NULL;
}

struct node *node_get_of(const struct node *map, const char *key)
{
        return node_get(map, view_of(key));
}

struct node *node_path(const struct node *node, ...)
{
        const struct node *place = node;
        const char *key;
        va_list keys;

        va_start(keys, node);
        while (place && (key = va_arg(keys, const char *)))
                place = node_get_of(place, key);
        va_end(keys);
        return (struct node *)(uintptr_t)place;
}

struct view node_get_text(const struct node *map, const char *key)
{
        const struct node *value = node_get_of(map, key);

        return node_is_scalar(value) ? node_text(value) : VIEW_NULL;
}

const char *node_get_string(const struct node *map, const char *key)
{
        const struct node *value = node_get_of(map, key);

        return node_is_scalar(value) ? value->text : "";
}

static void make_room(struct arena *arena, struct node *node, size_t element)
{
        uint32_t capacity;

        if (node->count < node->capacity)
                return;
        capacity = node->capacity ? node->capacity * 2 : 4;
        node->entries = arena_grow(arena, node->entries, node->capacity * element, capacity * element);
        node->capacity = capacity;
}

void node_add_entry(struct arena *arena, struct node *map, struct node *key, struct node *value)
{
        make_room(arena, map, sizeof(*map->entries));
        map->entries[map->count++] = (struct node_entry){ key, value };
}

void node_set(struct arena *arena, struct node *map, struct view key, struct node *value)
{
        struct node_entry *entry = find_entry(map, key);

        if (entry)
                entry->value = value;
        else
                node_add_entry(arena, map, node_scalar(arena, TAG_STRING, STYLE_PLAIN, key), value);
}

void node_set_of(struct arena *arena, struct node *map, const char *key, struct node *value)
{
        node_set(arena, map, view_of(key), value);
}

struct node *node_make_map(struct arena *arena, struct node *map, const char *key)
{
        struct node *value = node_get_of(map, key);

        if (!node_is_null(value))
                return node_is_map(value) ? value : NULL;
        if (!node_is_map(map))
                return NULL;
        value = node_map(arena);
        node_set_of(arena, map, key, value);
        return value;
}

bool node_remove(struct node *map, struct view key)
{
        struct node_entry *entry = find_entry(map, key);

        if (!entry)
                return false;
        map->count--;
        memmove(entry, entry + 1, (size_t)(map->entries + map->count - entry) * sizeof(*entry));
        return true;
}

bool node_remove_of(struct node *map, const char *key)
{
        return node_remove(map, view_of(key));
}

void node_append(struct arena *arena, struct node *list, struct node *item)
{
        make_room(arena, list, sizeof(struct node *));
        list->items[list->count++] = item;
}

void node_insert(struct arena *arena, struct node *list, size_t at, struct node *item)
{
        make_room(arena, list, sizeof(struct node *));
        memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof(struct node *));
        list->items[at] = item;
        list->count++;
}

void node_remove_at(struct node *list, size_t at)
{
        list->count--;
        memmove(list->items + at, list->items + at + 1, (list->count - at) * sizeof(struct node *));
}

void node_assign(struct node *place, const struct node *value)
{
        uint8_t style = place->style;
        bool explicit_tag = place->explicit_tag;
        uint32_t line = place->line;

        *place = *value;
        place->style = style;
        place->explicit_tag = explicit_tag;
        place->line = line;
}

unsigned node_depth(const struct node *node, unsigned limit)
{
        unsigned deepest = 0;

        if (!node || node->kind == NODE_SCALAR || limit == 0)
                return 1;
        for (uint32_t i = 0; i < node->count && deepest < limit; i++) {
                const struct node *child = node->kind == NODE_MAP ? node->entries[i].value : node->items[i];
                unsigned depth = node_depth(child, limit - 1);

                if (depth > deepest)
                        deepest = depth;
        }
        return deepest + 1;
}

struct view node_label(const struct node *object, const char *key)
{
        return node_get_text(node_path(object, "metadata", "labels", NULL), key);
}

struct view node_annotation(const struct node *object, const char *key)
{
        return node_get_text(node_path(object, "metadata", "annotations", NULL), key);
}

static int set_metadata(struct arena *arena, struct node *object, const char *field, const char *key, struct view value)
{
        struct node *metadata = node_make_map(arena, object, "metadata");
        struct node *map = metadata ? node_make_map(arena, metadata, field) : NULL;

        if (!map)
                return -1;
        node_set_of(arena, map, key, node_string(arena, value));
        return 0;
}

int node_set_label(struct arena *arena, struct node *object, const char *key, struct view value)
{
        return set_metadata(arena, object, "labels", key, value);
}

int node_set_annotation(struct arena *arena, struct node *object, const char *key, struct view value)
{
        return set_metadata(arena, object, "annotations", key, value);
}
