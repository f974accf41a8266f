#include "base/memory.h"
#include "engine/kustomize/emitter.h"
#include "engine/kustomize/keys.h"
#include "engine/kustomize/scalar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void emit_json_string(struct buffer *buffer, struct view text, unsigned flags)
{
        size_t start = 0, width;
        uint32_t rune;

        buffer_add_char(buffer, '"');
        for (size_t i = 0; i < text.length; i += width) {
                unsigned char c = (unsigned char)text.data[i];
                const char *escape = NULL;
                char code[8];

                width = 1;
                if (c >= 0x80) {
                        width = utf8_next(text, i, &rune);
                        if (width == 0) {
                                width = 1;
                                escape = "\\ufffd";
                        } else if (rune == 0x2028 || rune == 0x2029) {
                                escape = rune == 0x2028 ? "\\u2028" : "\\u2029";
                        }
                } else if (c == '"' || c == '\\') {
                        escape = c == '"' ? "\\\"" : "\\\\";
                } else if (c < 0x20 || ((flags & EMIT_HTML_ESCAPE) && (c == '<' || c == '>' || c == '&'))) {
                        static const char letters[] = "btn_fr";

                        snprintf(code, sizeof(code), "\\u%04x", c);
                        if (c >= 8 && c <= 13 && c != 11)
                                snprintf(code, sizeof(code), "\\%c", letters[c - 8]);
                        escape = code;
                }
                if (!escape)
                        continue;
                buffer_add(buffer, text.data + start, i - start);
                buffer_add_string(buffer, escape);
                start = i + width;
        }
        buffer_add(buffer, text.data + start, text.length - start);
        buffer_add_char(buffer, '"');
}

struct json_writer {
        struct buffer *out;
        struct arena *arena;
        unsigned flags;
        bool flow; /* as in emitter.c */
        struct error *error;
};

static int write_scalar(struct json_writer *w, const struct node *node)
{
        char text[NUMBER_TEXT];
        struct value value;

        TRY(scalar_value(w->arena, node, w->flow, &value, w->error));
        switch (value.kind) {
        case VALUE_NULL:
                buffer_add_string(w->out, "null");
                break;
        case VALUE_BOOL:
                buffer_add_string(w->out, value.boolean ? "true" : "false");
                break;
        case VALUE_SIGNED:
                buffer_printf(w->out, "%" PRId64, value.integer);
                break;
        case VALUE_UNSIGNED:
                buffer_printf(w->out, "%" PRIu64, value.large);
                break;
        case VALUE_FLOAT:
                TRY(scalar_check_finite(value.real, w->error));
                buffer_add_string(w->out, scalar_print_json_float(value.real, text));
                break;
        case VALUE_STRING:
                emit_json_string(w->out, value.string, w->flags);
                break;
        }
        return 0;
}

static int write_value(struct json_writer *w, const struct node *node, bool top);

static int write_map(struct json_writer *w, const struct node *map, bool top)
{
        struct sorted_key small[SORTED_KEYS_SMALL], *keys = small;
        int r;

        if (map->count > SORTED_KEYS_SMALL)
                keys = memory_zero(map->count, sizeof(*keys));
        r = keys_sort(w->arena, map, KEYS_BYTEWISE, top, keys, w->error);
        buffer_add_char(w->out, '{');
        for (uint32_t i = 0; i < map->count && r == 0; i++) {
                if (i > 0)
                        buffer_add_char(w->out, ',');
                emit_json_string(w->out, keys[i].text, w->flags);
                buffer_add_char(w->out, ':');
                r = write_value(w, keys[i].value, false);
        }
        buffer_add_char(w->out, '}');
        if (keys != small)
                free(keys);
        return r;
}

static int write_list(struct json_writer *w, const struct node *list)
{
        buffer_add_char(w->out, '[');
        for (uint32_t i = 0; i < list->count; i++) {
                if (i > 0)
                        buffer_add_char(w->out, ',');
                TRY(write_value(w, list->items[i], false));
        }
        buffer_add_char(w->out, ']');
        return 0;
}

static int write_value(struct json_writer *w, const struct node *node, bool top)
{
        bool flow = w->flow;
        int r;

        if (node->kind == NODE_SCALAR)
                return write_scalar(w, node);
        w->flow = flow || node->style == STYLE_FLOW;
        r = node->kind == NODE_MAP ? write_map(w, node, top) : write_list(w, node);
        w->flow = flow;
        return r;
}

int emit_json(struct buffer *buffer, struct arena *arena, const struct node *node, unsigned flags, struct error *error)
{
        struct json_writer w = { .out = buffer, .arena = arena, .flags = flags, .error = error };

        return write_value(&w, node, true);
}

/* A number as it reads after a trip through JSON text. */
static struct node *normal_number(struct arena *arena, const struct value *value, bool doubles)
{
        char text[NUMBER_TEXT];
        double real = value->real;

        if (value->kind == VALUE_SIGNED && !doubles)
                return node_integer(arena, value->integer);
        if (value->kind == VALUE_UNSIGNED && !doubles) {
                snprintf(text, sizeof(text), "%" PRIu64, value->large);
                return node_scalar(arena, TAG_INTEGER, STYLE_PLAIN, view_of(text));
        }
        if (value->kind == VALUE_SIGNED)
                real = (double)value->integer;
        if (value->kind == VALUE_UNSIGNED)
                real = (double)value->large;
        if (doubles)
                scalar_print_general_float(real, text);
        else
                scalar_print_json_float(real, text);
        return node_scalar(arena, scalar_resolve(SCALAR_RESOURCES, view_of(text)), STYLE_PLAIN, view_of(text));
}

struct normalizer {
        struct arena *arena;
        bool doubles;
        bool flow; /* as in emitter.c */
        struct error *error;
};

static int normal_scalar(struct normalizer *n, const struct node *node, struct node **ret)
{
        struct value value;

        TRY(scalar_value(n->arena, node, n->flow, &value, n->error));
        switch (value.kind) {
        case VALUE_NULL:
                *ret = node_null(n->arena);
                return 0;
        case VALUE_BOOL:
                *ret = node_bool(n->arena, value.boolean);
                return 0;
        case VALUE_STRING:
                *ret = n->doubles ? node_string(n->arena, value.string)
                                  : node_scalar(n->arena, TAG_STRING, STYLE_DOUBLE, value.string);
                return 0;
        case VALUE_FLOAT:
                TRY(scalar_check_finite(value.real, n->error));
                break;
        default:
                break;
        }
        *ret = normal_number(n->arena, &value, n->doubles);
        return 0;
}

static int normal_value(struct normalizer *n, const struct node *node, bool top, struct node **ret);

static int normal_map(struct normalizer *n, const struct node *map, bool top, struct node **ret)
{
        struct sorted_key *keys = arena_array(n->arena, map->count, sizeof(*keys));
        struct node *copy = node_map(n->arena);

        TRY(keys_sort(n->arena, map, KEYS_BYTEWISE, top, keys, n->error));
        for (uint32_t i = 0; i < map->count; i++) {
                struct node *value;

                TRY(normal_value(n, keys[i].value, false, &value));
                node_add_entry(n->arena, copy, node_scalar(n->arena, TAG_STRING, STYLE_PLAIN, keys[i].text), value);
        }
        *ret = copy;
        return 0;
}

static int normal_list(struct normalizer *n, const struct node *list, struct node **ret)
{
        struct node *copy = node_list(n->arena);

        for (uint32_t i = 0; i < list->count; i++) {
                struct node *item;

                TRY(normal_value(n, list->items[i], false, &item));
                node_append(n->arena, copy, item);
        }
        *ret = copy;
        return 0;
}

static int normal_value(struct normalizer *n, const struct node *node, bool top, struct node **ret)
{
        bool flow = n->flow;
        int r;

        if (node->kind == NODE_SCALAR)
                return normal_scalar(n, node, ret);
        n->flow = flow || node->style == STYLE_FLOW;
        r = node->kind == NODE_MAP ? normal_map(n, node, top, ret) : normal_list(n, node, ret);
        n->flow = flow;
        return r;
}

int node_normalize(struct arena *arena, const struct node *node, enum normalize mode, struct node **ret_node, struct error *error)
{
        struct normalizer n = { .arena = arena,
                                .doubles = mode == NORMALIZE_PATCH || mode == NORMALIZE_PATCHED_OBJECT,
                                .error = error };

        return normal_value(&n, node, mode == NORMALIZE_OBJECT || mode == NORMALIZE_PATCHED_OBJECT, ret_node);
}
