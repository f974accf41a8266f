#include "engine/kustomize/emitter.h"

#include "base/memory.h"
#include "engine/kustomize/keys.h"
#include "engine/kustomize/scalar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEST_WIDTH     80
#define SIMPLE_KEY_MAX 128

/* The state of libyaml's emitter that decides where lines break; its block style is the only one here. */
struct emitter {
        struct buffer *out;
        struct arena *arena;
        struct error *error;
        size_t column; /* code points on this line */
        int indent;
        bool whitespace; /* the last thing written was a blank, or an indicator that counts as one */
        bool indention;  /* nothing but indentation and indicators on this line */
        bool fold;
        bool simple_key;
        bool flow;     /* inside a flow collection of the source */
        bool in_order; /* keys and scalar styles as in the source */
};

/* What a text allows, after libyaml's yaml_emitter_analyze_scalar. */
struct analysis {
        bool multiline;
        bool plain;
        bool single;
        bool literal;
};

static bool is_break(uint32_t rune)
{
        return rune == '\n' || rune == '\r' || rune == 0x85 || rune == 0x2028 || rune == 0x2029;
}

static bool is_printable(uint32_t rune)
{
        return rune == '\n' || (rune >= 0x20 && rune <= 0x7e) || (rune >= 0xa0 && rune <= 0xd7ff) ||
               (rune >= 0xe000 && rune <= 0xfffd && rune != 0xfeff);
}

static bool is_blank_or_end(struct view text, size_t at)
{
        uint32_t rune;

        if (at >= text.length)
                return true;
        return utf8_next(text, at, &rune) && (rune == ' ' || rune == '\t' || is_break(rune));
}

/* Letters, digits and a few marks between them: what most texts are. */
static bool is_word(struct view text)
{
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

                if (!letter && (i == 0 || (c != '-' && c != '.' && c != '/' && c != '_')))
                        return false;
        }
        return true;
}

static struct analysis analyze(struct view text)
{
        bool block_indicators = false, breaks = false, special = false, leading = false, trailing_space = false,
             trailing_break = false, break_space = false, space_break = false, previous_space = false, previous_break = false,
             preceded = true;
        uint32_t rune;
        size_t width;

        if (text.length == 0)
                return (struct analysis){ .plain = true, .single = true };
        if (is_word(text))
                return (struct analysis){ .plain = true, .single = true, .literal = true };
        if (text.length >= 3 && (memcmp(text.data, "---", 3) == 0 || memcmp(text.data, "...", 3) == 0))
                block_indicators = true;
        for (size_t i = 0; i < text.length; i += width) {
                bool first = i == 0, followed;

                width = utf8_next(text, i, &rune);
                if (width == 0)
                        width = 1, rune = 0xfffd;
                followed = is_blank_or_end(text, i + width);
                if (first) {
                        if (rune < 0x80 && strchr("#,[]{}&*!|>'\"%@`", (int)rune) && rune)
                                block_indicators = true;
                        if ((rune == '-' || rune == '?' || rune == ':') && followed)
                                block_indicators = true;
                } else if ((rune == ':' && followed) || (rune == '#' && preceded)) {
                        block_indicators = true;
                }
                if (!is_printable(rune))
                        special = true;
                if (is_break(rune))
                        breaks = true;
                if (rune == ' ') {
                        leading |= first;
                        trailing_space |= i + width == text.length;
                        break_space |= previous_break;
                        previous_space = true;
                        previous_break = false;
                } else if (is_break(rune)) {
                        leading |= first;
                        trailing_break |= i + width == text.length;
                        space_break |= previous_space;
                        previous_space = false;
                        previous_break = true;
                } else {
                        previous_space = previous_break = false;
                }
                preceded = rune == ' ' || rune == '\t' || is_break(rune);
        }
        return (struct analysis){
                .multiline = breaks,
                .plain = !(leading || trailing_space || trailing_break || break_space || space_break || special || breaks ||
                           block_indicators),
                .single = !(break_space || space_break || special),
                .literal = !(trailing_space || space_break || special),
        };
}

static void put(struct emitter *e, char c)
{
        buffer_add_char(e->out, c);
        e->column++;
}

static void put_break(struct emitter *e)
{
        buffer_add_char(e->out, '\n');
        e->column = 0;
}

static void put_run(struct emitter *e, const char *data, size_t length)
{
        size_t runes = 0;

        for (size_t i = 0; i < length; i++)
                runes += ((unsigned char)data[i] & 0xc0) != 0x80;
        buffer_add(e->out, data, length);
        e->column += runes;
}

static void write_indent(struct emitter *e)
{
        static const char blanks[] = "                                                                ";
        size_t indent = e->indent > 0 ? (size_t)e->indent : 0;

        if (!e->indention || e->column > indent || (e->column == indent && !e->whitespace))
                put_break(e);
        while (e->column < indent) {
                size_t length = indent - e->column < sizeof(blanks) - 1 ? indent - e->column : sizeof(blanks) - 1;

                buffer_add(e->out, blanks, length);
                e->column += length;
        }
        e->whitespace = true;
        e->indention = true;
}

static void write_indicator(struct emitter *e, const char *indicator, bool need_whitespace, bool is_whitespace, bool is_indention)
{
        if (need_whitespace && !e->whitespace)
                put(e, ' ');
        put_run(e, indicator, strlen(indicator));
        e->whitespace = is_whitespace;
        e->indention = e->indention && is_indention;
}

/* The next place where a line may be broken: a space. Text up to it is written in one piece. */
static size_t next_space(struct view text, size_t from)
{
        const char *found = memchr(text.data + from, ' ', text.length - from);

        return found ? (size_t)(found - text.data) : text.length;
}

static bool space_at(struct view text, size_t at)
{
        return at < text.length && text.data[at] == ' ';
}

static void write_plain(struct emitter *e, struct view text)
{
        bool breaks = e->fold && !e->simple_key, spaces = false;

        if (!e->whitespace)
                put(e, ' ');
        for (size_t i = 0; i < text.length;) {
                size_t end = next_space(text, i);

                if (end > i) {
                        put_run(e, text.data + i, end - i);
                        e->indention = false;
                        spaces = false;
                        i = end;
                        continue;
                }
                if (breaks && !spaces && e->column > BEST_WIDTH && !space_at(text, i + 1))
                        write_indent(e);
                else
                        put(e, ' ');
                spaces = true;
                i++;
        }
        e->whitespace = false;
        e->indention = false;
}

/* One of U+2028 and U+2029, or a line feed: the line ends here. */
static void write_break(struct emitter *e, struct view text, size_t at, size_t width)
{
        if (text.data[at] == '\n') {
                put_break(e);
                return;
        }
        buffer_add(e->out, text.data + at, width);
        e->column = 0;
}

static void write_single(struct emitter *e, struct view text)
{
        bool fold = e->fold && !e->simple_key, spaces = false, breaks = false;
        uint32_t rune;
        size_t width;

        write_indicator(e, "'", true, false, false);
        for (size_t i = 0; i < text.length; i += width) {
                width = utf8_next(text, i, &rune);
                if (rune == ' ') {
                        if (fold && !spaces && e->column > BEST_WIDTH && i > 0 && i < text.length - 1 && !space_at(text, i + 1))
                                write_indent(e);
                        else
                                put(e, ' ');
                        spaces = true;
                } else if (is_break(rune)) {
                        if (!breaks && rune == '\n')
                                put_break(e);
                        write_break(e, text, i, width);
                        e->indention = true;
                        breaks = true;
                } else {
                        if (breaks)
                                write_indent(e);
                        if (rune == '\'')
                                put(e, '\'');
                        put_run(e, text.data + i, width);
                        e->indention = false;
                        spaces = breaks = false;
                }
        }
        write_indicator(e, "'", false, false, false);
        e->whitespace = false;
        e->indention = false;
}

static void write_escape(struct emitter *e, uint32_t rune)
{
        static const struct {
                uint32_t rune;
                char letter;
        } letters[] = {
                { 0x00, '0' },  { 0x07, 'a' }, { 0x08, 'b' }, { 0x09, 't' },   { 0x0a, 'n' },
                { 0x0b, 'v' },  { 0x0c, 'f' }, { 0x0d, 'r' }, { 0x1b, 'e' },   { '"', '"' },
                { '\\', '\\' }, { 0x85, 'N' }, { 0xa0, '_' }, { 0x2028, 'L' }, { 0x2029, 'P' },
        };
        char text[12];

        put(e, '\\');
        for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
                if (letters[i].rune == rune) {
                        put(e, letters[i].letter);
                        return;
                }
        }
        if (rune <= 0xff)
                snprintf(text, sizeof(text), "x%02X", rune);
        else if (rune <= 0xffff)
                snprintf(text, sizeof(text), "u%04X", rune);
        else
                snprintf(text, sizeof(text), "U%08X", rune);
        put_run(e, text, strlen(text));
}

static void write_double(struct emitter *e, struct view text)
{
        bool fold = e->fold && !e->simple_key, spaces = false;
        bool bom = view_starts(text, VIEW("\xef\xbb\xbf"));
        uint32_t rune;
        size_t width;

        write_indicator(e, "\"", true, false, false);
        for (size_t i = 0; i < text.length; i += width) {
                width = utf8_next(text, i, &rune);
                if (width == 0)
                        width = 1, rune = 0xfffd;
                if (!is_printable(rune) || bom || is_break(rune) || rune == '"' || rune == '\\') {
                        write_escape(e, rune);
                        spaces = false;
                } else if (rune == ' ') {
                        if (fold && !spaces && e->column > BEST_WIDTH && i > 0 && i < text.length - 1) {
                                write_indent(e);
                                if (space_at(text, i + 1))
                                        put(e, '\\');
                        } else {
                                put(e, ' ');
                        }
                        spaces = true;
                } else {
                        put_run(e, text.data + i, width);
                        spaces = false;
                }
        }
        write_indicator(e, "\"", false, false, false);
        e->whitespace = false;
        e->indention = false;
}

/* Start of the code point before `at`. */
static size_t rune_before(struct view text, size_t at)
{
        do {
                at--;
        } while (at > 0 && ((unsigned char)text.data[at] & 0xc0) == 0x80);
        return at;
}

static bool break_at(struct view text, size_t at)
{
        uint32_t rune;

        return utf8_next(text, at, &rune) && is_break(rune);
}

static void write_literal(struct emitter *e, struct view text)
{
        size_t last = rune_before(text, text.length), width;
        bool breaks = true;
        uint32_t rune;

        write_indicator(e, "|", true, false, false);
        if (view_starts(text, VIEW(" ")) || break_at(text, 0))
                write_indicator(e, "2", false, false, false);
        if (!break_at(text, last))
                write_indicator(e, "-", false, false, false);
        else if (last == 0 || break_at(text, rune_before(text, last)))
                write_indicator(e, "+", false, false, false);
        put_break(e);
        e->indention = true;
        e->whitespace = true;
        for (size_t i = 0; i < text.length; i += width) {
                width = utf8_next(text, i, &rune);
                if (is_break(rune)) {
                        write_break(e, text, i, width);
                        e->indention = true;
                        breaks = true;
                        continue;
                }
                if (breaks)
                        write_indent(e);
                put_run(e, text.data + i, width);
                e->indention = false;
                breaks = false;
        }
}

static void write_string(struct emitter *e, struct view text)
{
        struct analysis analysis = analyze(text);

        if (memchr(text.data ? text.data : "", '\n', text.length)) {
                if (analysis.literal && !e->simple_key)
                        write_literal(e, text);
                else
                        write_double(e, text);
        } else if (scalar_resolve(SCALAR_CONFIGURATION, text) != TAG_STRING || scalar_is_base60(text)) {
                write_double(e, text);
        } else if (analysis.plain) {
                write_plain(e, text);
        } else if (analysis.single) {
                write_single(e, text);
        } else {
                write_double(e, text);
        }
}

/*
 * The string as it comes out of JSON: U+0085 was a line break there, which folds into a space. Control characters that JSON does not
 * escape end the emission.
 */
static int clean_string(struct emitter *e, struct view *text)
{
        bool plain = true;
        char *clean;
        size_t length = 0, width;
        uint32_t rune;

        for (size_t i = 0; i < text->length && plain; i++)
                plain = (unsigned char)text->data[i] < 0x7f;
        if (plain)
                return 0;
        clean = arena_allocate(e->arena, text->length * 3 + 1);
        for (size_t i = 0; i < text->length; i += width) {
                width = utf8_next(*text, i, &rune);
                if (width == 0) {
                        memcpy(clean + length, "\xef\xbf\xbd", 3);
                        length += 3;
                        width = 1;
                } else if (rune == 0x85) {
                        size_t count = 0, next = i;

                        while (length > 0 && clean[length - 1] == ' ')
                                length--;
                        while (next < text->length && utf8_next(*text, next, &rune) && (rune == 0x85 || rune == ' ')) {
                                count += rune == 0x85;
                                next += rune == 0x85 ? 2 : 1;
                        }
                        if (count == 1)
                                clean[length++] = ' ';
                        while (--count > 0)
                                clean[length++] = '\n';
                        width = next - i;
                } else if (rune == 0x7f || (rune >= 0x80 && rune <= 0x9f) || rune == 0xfffe || rune == 0xffff) {
                        return error_set(e->error, ERROR_INVALID, "yaml: control characters are not allowed");
                } else {
                        memcpy(clean + length, text->data + i, width);
                        length += width;
                }
        }
        *text = (struct view){ clean, length };
        return 0;
}

static int write_scalar(struct emitter *e, const struct node *node)
{
        char text[NUMBER_TEXT];
        struct value value;

        TRY(scalar_value(e->arena, node, e->flow, &value, e->error));
        switch (value.kind) {
        case VALUE_NULL:
                write_plain(e, VIEW("null"));
                return 0;
        case VALUE_BOOL:
                write_plain(e, value.boolean ? VIEW("true") : VIEW("false"));
                return 0;
        case VALUE_SIGNED:
                snprintf(text, sizeof(text), "%" PRId64, value.integer);
                break;
        case VALUE_UNSIGNED:
                snprintf(text, sizeof(text), "%" PRIu64, value.large);
                break;
        case VALUE_FLOAT:
                TRY(scalar_check_finite(value.real, e->error));
                scalar_print_yaml_float(value.real, text);
                break;
        case VALUE_STRING:
                TRY(clean_string(e, &value.string));
                write_string(e, value.string);
                return 0;
        }
        write_plain(e, view_of(text));
        return 0;
}

/* As it stands in its source, where its text allows that. */
static int write_source_scalar(struct emitter *e, const struct node *node)
{
        struct view text = node_text(node);
        struct analysis analysis = analyze(text);
        bool literal = node->style == STYLE_LITERAL || node->style == STYLE_FOLDED || view_find(text, '\n', 0) >= 0;

        if (literal && analysis.literal && text.length)
                write_literal(e, text);
        else if (node->style == STYLE_DOUBLE || literal ||
                 (node->tag == TAG_STRING && node->style == STYLE_PLAIN && scalar_resolve(SCALAR_RESOURCES, text) != TAG_STRING))
                write_double(e, text);
        else if (node->style == STYLE_SINGLE || !analysis.plain)
                write_single(e, text);
        else
                write_plain(e, text);
        return 0;
}

static int write_node(struct emitter *e, const struct node *node, bool in_map);

static int write_list(struct emitter *e, const struct node *list, bool in_map)
{
        int outer = e->indent;

        if (list->count == 0) {
                write_indicator(e, "[", true, true, false);
                write_indicator(e, "]", false, false, false);
                return 0;
        }
        if (e->indent < 0)
                e->indent = 0;
        else if (!in_map || e->indention)
                e->indent += 2;
        for (uint32_t i = 0; i < list->count; i++) {
                write_indent(e);
                write_indicator(e, "-", true, false, true);
                TRY(write_node(e, list->items[i], false));
        }
        e->indent = outer;
        return 0;
}

static int write_entry(struct emitter *e, struct view key, const struct node *value)
{
        int outer = e->indent;
        bool simple;

        TRY(clean_string(e, &key));
        simple = key.length <= SIMPLE_KEY_MAX && !analyze(key).multiline;
        write_indent(e);
        if (!simple)
                write_indicator(e, "?", true, false, true);
        e->simple_key = simple;
        e->indent += 2;
        write_string(e, key);
        e->indent = outer;
        e->simple_key = false;
        if (!simple)
                write_indent(e);
        write_indicator(e, ":", !simple, false, !simple);
        return write_node(e, value, true);
}

static int write_map(struct emitter *e, const struct node *map)
{
        struct sorted_key small[SORTED_KEYS_SMALL], *keys = NULL;
        int outer = e->indent, r = 0;

        if (map->count == 0) {
                write_indicator(e, "{", true, true, false);
                write_indicator(e, "}", false, false, false);
                return 0;
        }
        keys = map->count <= SORTED_KEYS_SMALL ? small : memory_zero(map->count, sizeof(*keys));
        r = keys_sort(e->arena, map, e->in_order ? KEYS_UNSORTED : KEYS_NATURAL, e->indent < 0 || e->in_order, keys, e->error);
        e->indent = e->indent < 0 ? 0 : e->indent + 2;
        for (uint32_t i = 0; i < map->count && r == 0; i++)
                r = write_entry(e, keys[i].text, keys[i].value);
        e->indent = outer;
        if (keys != small)
                free(keys);
        return r;
}

static int write_node(struct emitter *e, const struct node *node, bool in_map)
{
        bool flow = e->flow;
        int outer = e->indent, r;

        if (node->kind == NODE_SCALAR) {
                e->indent = e->indent < 0 ? 2 : e->indent + 2;
                r = e->in_order ? write_source_scalar(e, node) : write_scalar(e, node);
                e->indent = outer;
                return r;
        }
        e->flow = flow || node->style == STYLE_FLOW;
        r = node->kind == NODE_MAP ? write_map(e, node) : write_list(e, node, in_map);
        e->flow = flow;
        return r;
}

int emit_yaml(struct buffer *buffer, struct arena *arena, const struct node *node, unsigned flags, struct error *error)
{
        struct emitter e = {
                .out = buffer,
                .arena = arena,
                .error = error,
                .indent = -1,
                .whitespace = true,
                .indention = true,
                .fold = !(flags & (EMIT_UNFOLDED | EMIT_IN_ORDER)),
                .in_order = flags & EMIT_IN_ORDER,
        };

        TRY(write_node(&e, node, false));
        if (buffer->length && buffer->data[buffer->length - 1] != '\n')
                put_break(&e);
        return 0;
}
