#include "engine/kustomize/reader.h"

#include <ctype.h>
#include <string.h>

struct json {
        struct view text;
        size_t at;
        struct arena *arena;
        struct reader_budget *budget;
        struct error *error;
};

static int fail(struct json *j)
{
        if (j->at >= j->text.length)
                return error_set(j->error, ERROR_INVALID, "unexpected end of JSON input");
        return error_set(j->error, ERROR_INVALID, "invalid character '%c' at offset %zu", j->text.data[j->at], j->at);
}

static void skip_blanks(struct json *j)
{
        while (j->at < j->text.length && memchr(" \t\r\n", j->text.data[j->at], 4))
                j->at++;
}

static bool take(struct json *j, char c)
{
        skip_blanks(j);
        if (j->at >= j->text.length || j->text.data[j->at] != c)
                return false;
        j->at++;
        return true;
}

static int hex4(struct json *j, uint32_t *ret)
{
        uint32_t rune = 0;

        if (j->text.length - j->at < 4)
                return -1;
        for (int i = 0; i < 4; i++) {
                unsigned char c = (unsigned char)j->text.data[j->at++];

                if (!isxdigit(c))
                        return -1;
                rune = rune * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        }
        *ret = rune;
        return 0;
}

static int read_escape(struct json *j, struct buffer *out)
{
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        char c = j->at < j->text.length ? j->text.data[j->at++] : '\0';
        const char *found = c ? strchr(from, c) : NULL;
        uint32_t rune, low;

        if (found) {
                buffer_add_char(out, to[found - from]);
                return 0;
        }
        if (c != 'u' || hex4(j, &rune) < 0)
                return -1;
        if (rune >= 0xd800 && rune < 0xdc00 && j->text.length - j->at >= 6 && memcmp(j->text.data + j->at, "\\u", 2) == 0) {
                size_t back = j->at;

                j->at += 2;
                if (hex4(j, &low) == 0 && low >= 0xdc00 && low < 0xe000)
                        rune = 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00);
                else
                        j->at = back;
        }
        buffer_add_utf8(out, rune);
        return 0;
}

static int read_string(struct json *j, struct view *ret)
{
        struct buffer text = BUFFER_NULL;
        int r = 0;

        if (!take(j, '"'))
                return fail(j);
        while (j->at < j->text.length && j->text.data[j->at] != '"' && r == 0) {
                unsigned char c = (unsigned char)j->text.data[j->at];

                if (c < 0x20) {
                        r = -1;
                } else if (c == '\\') {
                        j->at++;
                        r = read_escape(j, &text);
                } else {
                        buffer_add_char(&text, (char)c);
                        j->at++;
                }
        }
        if (r == 0 && j->at < j->text.length) {
                j->at++;
                *ret = arena_view(j->arena, buffer_view(&text));
        } else {
                r = fail(j);
        }
        buffer_release(&text);
        return r;
}

static int read_number(struct json *j, struct node **ret)
{
        size_t start = j->at, digits;
        const char *data = j->text.data;
        struct view text;

        if (data[j->at] == '-')
                j->at++;
        digits = j->at;
        while (j->at < j->text.length && isdigit((unsigned char)data[j->at]))
                j->at++;
        if (j->at == digits || (data[digits] == '0' && j->at - digits > 1))
                return fail(j);
        if (j->at < j->text.length && data[j->at] == '.') {
                digits = ++j->at;
                while (j->at < j->text.length && isdigit((unsigned char)data[j->at]))
                        j->at++;
                if (j->at == digits)
                        return fail(j);
        }
        if (j->at < j->text.length && (data[j->at] | 0x20) == 'e') {
                j->at++;
                if (j->at < j->text.length && (data[j->at] == '-' || data[j->at] == '+'))
                        j->at++;
                digits = j->at;
                while (j->at < j->text.length && isdigit((unsigned char)data[j->at]))
                        j->at++;
                if (j->at == digits)
                        return fail(j);
        }
        text = view_slice(j->text, start, j->at - start);
        *ret = node_scalar(j->arena, scalar_resolve(SCALAR_RESOURCES, text), STYLE_PLAIN, text);
        return 0;
}

static int read_word(struct json *j, struct node **ret)
{
        static const struct {
                struct view text;
                enum node_tag tag;
        } words[] = { { VIEW("true"), TAG_BOOL }, { VIEW("false"), TAG_BOOL }, { VIEW("null"), TAG_NULL } };

        for (size_t i = 0; i < 3; i++) {
                if (view_starts(view_slice(j->text, j->at, SIZE_MAX), words[i].text)) {
                        j->at += words[i].text.length;
                        *ret = node_scalar(j->arena, words[i].tag, STYLE_PLAIN, words[i].text);
                        return 0;
                }
        }
        return fail(j);
}

static int read_value(struct json *j, unsigned depth, struct node **ret);

static int read_object(struct json *j, unsigned depth, struct node *map)
{
        if (take(j, '}'))
                return 0;
        do {
                struct node *value = NULL;
                struct view key = VIEW_NULL;

                TRY(read_string(j, &key));
                if (!take(j, ':'))
                        return fail(j);
                TRY(read_value(j, depth + 1, &value));
                node_set(j->arena, map, key, value);
        } while (take(j, ','));
        return take(j, '}') ? 0 : fail(j);
}

static int read_array(struct json *j, unsigned depth, struct node *list)
{
        if (take(j, ']'))
                return 0;
        do {
                struct node *item = NULL;

                TRY(read_value(j, depth + 1, &item));
                node_append(j->arena, list, item);
        } while (take(j, ','));
        return take(j, ']') ? 0 : fail(j);
}

static int read_value(struct json *j, unsigned depth, struct node **ret)
{
        struct view text = VIEW_NULL;
        char c;

        skip_blanks(j);
        if (depth > READER_DEPTH || j->budget->nodes == 0)
                return error_set(j->error, ERROR_TOO_LARGE, "json: exceeded max depth of %d, or too many nodes", READER_DEPTH);
        j->budget->nodes--;
        if (j->at >= j->text.length)
                return fail(j);
        c = j->text.data[j->at];
        if (c == '{') {
                j->at++;
                *ret = node_map(j->arena);
                return read_object(j, depth, *ret);
        }
        if (c == '[') {
                j->at++;
                *ret = node_list(j->arena);
                return read_array(j, depth, *ret);
        }
        if (c == '"') {
                TRY(read_string(j, &text));
                *ret = node_scalar(j->arena, TAG_STRING, STYLE_DOUBLE, text);
                return 0;
        }
        return c == '-' || isdigit((unsigned char)c) ? read_number(j, ret) : read_word(j, ret);
}

int reader_json(const struct reader *reader, struct view text, struct node **ret_node, struct error *error)
{
        struct reader_budget own = { READER_NODES, UINT64_MAX };
        struct json j = { .text = text, .arena = reader->arena, .budget = reader->budget ? reader->budget : &own, .error = error };
        struct node *node;

        if (text.length >= UINT32_MAX / 2)
                return error_set(error, ERROR_TOO_LARGE, "json: the text is too large");
        TRY(read_value(&j, 0, &node));
        skip_blanks(&j);
        if (j.at < text.length)
                return fail(&j);
        *ret_node = node;
        return 0;
}
