/*
 * json-c reads the grammar. What it is lax about is lexical, and is checked here in one pass before: control characters, NaN and Infinity,
 * quotes, commas before an end, leading zeros, numbers that it would saturate, names with a NUL that it would cut, overlong UTF-8, and the
 * depth. Its strict mode, which knows some of these, is not for use: that of 0.18 takes every byte above 0x7f for a control character.
 */
#include "data/json_backend.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scan {
        struct view text;
        size_t at;
        unsigned depth, deepest;
        char last; /* the first byte of the last token */
};

static int invalid(size_t at, const char *what, struct error *error)
{
        return error_set(error, ERROR_INVALID, "invalid JSON at offset %zu: %s", at, what);
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_digits(struct view text, size_t at)
{
        while (at < text.length && is_digit(text.data[at]))
                at++;
        return at;
}

/* Where the fraction and the exponent end; 0 if they are not well-formed. */
static size_t skip_fraction(struct view text, size_t at)
{
        size_t from;

        if (at < text.length && text.data[at] == '.') {
                from = at + 1;
                at = skip_digits(text, from);
                if (at == from)
                        return 0;
        }
        if (at < text.length && (text.data[at] == 'e' || text.data[at] == 'E')) {
                from = at + 1;
                if (from < text.length && (text.data[from] == '+' || text.data[from] == '-'))
                        from++;
                at = skip_digits(text, from);
                if (at == from)
                        return 0;
        }
        return at;
}

static bool float_fits(struct view text)
{
        char *copy = memory_string_n(text.data, text.length);
        bool fits = isfinite(strtod(copy, NULL));

        free(copy);
        return fits;
}

enum json_type json_number_check(struct view text)
{
        size_t first = text.length && text.data[0] == '-' ? 1 : 0;
        size_t end = skip_digits(text, first);
        uint64_t natural;
        int64_t integer;

        if (end == first || (text.data[first] == '0' && end > first + 1))
                return JSON_ABSENT;
        if (end == text.length)
                return view_to_int64(text, &integer) == 0 || view_to_uint64(text, &natural) == 0 ? JSON_INTEGER : JSON_ABSENT;
        return skip_fraction(text, end) == text.length && float_fits(text) ? JSON_FLOAT : JSON_ABSENT;
}

static int scan_number(struct scan *s, struct error *error)
{
        size_t from = s->at;

        while (s->at < s->text.length && (is_digit(s->text.data[s->at]) || memchr("+-.eE", s->text.data[s->at], 5)))
                s->at++;
        if (json_number_check(view_slice(s->text, from, s->at - from)) == JSON_ABSENT)
                return invalid(from, "not a number, or one that is out of range", error);
        return 0;
}

/* One character of a string; *ret_nul is set if it is an escaped NUL. */
static int scan_character(struct scan *s, bool *ret_nul, struct error *error)
{
        unsigned char c = (unsigned char)s->text.data[s->at];
        size_t length = 1;

        if (c < 0x20)
                return invalid(s->at, "a control character in a string", error);
        if (c >= 0x80) {
                length = utf8_next(s->text, s->at, NULL);
                if (length == 0)
                        return invalid(s->at, "a string that is not UTF-8", error);
        } else if (c == '\\') {
                length = 2;
                if (view_starts(view_slice(s->text, s->at + 1, 5), VIEW("u0000")))
                        *ret_nul = true;
        }
        s->at += length;
        return 0;
}

static int scan_string(struct scan *s, struct error *error)
{
        size_t from = s->at++, after;
        bool nul = false;

        while (s->at < s->text.length && s->text.data[s->at] != '"')
                TRY(scan_character(s, &nul, error));
        if (s->at >= s->text.length)
                return invalid(from, "a string without an end", error);
        s->at++;
        if (!nul)
                return 0;
        for (after = s->at; after < s->text.length && is_blank(s->text.data[after]); after++)
                ;
        if (after < s->text.length && s->text.data[after] == ':')
                return invalid(from, "a name with a NUL", error);
        return 0;
}

static int scan_word(struct scan *s, struct error *error)
{
        static const struct view words[] = { { "true", 4 }, { "false", 5 }, { "null", 4 } };
        struct view rest = view_slice(s->text, s->at, 5);
        size_t i;

        for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
                if (view_starts(rest, words[i])) {
                        s->at += words[i].length;
                        return 0;
                }
        }
        return invalid(s->at, "an unexpected character", error);
}

static int scan_all(struct scan *s, struct error *error)
{
        while (s->at < s->text.length) {
                char c = s->text.data[s->at], before = s->last;

                if (!is_blank(c))
                        s->last = c;
                if (c == '"') {
                        TRY(scan_string(s, error));
                } else if (c == '-' || is_digit(c)) {
                        TRY(scan_number(s, error));
                } else if (c == '[' || c == '{') {
                        if (++s->depth > JSON_DEPTH_LIMIT)
                                return error_set(error, ERROR_TOO_LARGE, "invalid JSON at offset %zu: more than %d levels", s->at,
                                                 JSON_DEPTH_LIMIT);
                        if (s->depth > s->deepest)
                                s->deepest = s->depth;
                        s->at++;
                } else if (c == ']' || c == '}') {
                        if (before == ',')
                                return invalid(s->at, "nothing after a comma", error);
                        s->depth -= s->depth > 0;
                        s->at++;
                } else if (is_blank(c) || c == ',' || c == ':') {
                        s->at++;
                } else {
                        TRY(scan_word(s, error));
                }
        }
        return 0;
}

static void free_tokener(struct json_tokener **tokener)
{
        json_tokener_free(*tokener);
}

static size_t end_of_tokens(struct view text)
{
        size_t end = text.length;

        while (end && is_blank(text.data[end - 1]))
                end--;
        return end;
}

/* The depth is that which the scan found: json-c clears memory for each level that there might be. */
static int parse_tree(struct view text, unsigned depth, struct json **ret_json, struct error *error)
{
        cleanup(free_tokener) struct json_tokener *tokener = json_tokener_new_ex((int)depth + 2);
        struct json_object *object;
        enum json_tokener_error problem;
        size_t end;

        if (!tokener)
                memory_exhausted();
        object = json_tokener_parse_ex(tokener, text.data, (int)text.length);
        problem = json_tokener_get_error(tokener);
        end = json_tokener_get_parse_end(tokener);
        if (problem == json_tokener_continue) {
                /* A number or word at the very end waits for what may follow it: a terminator. */
                object = json_tokener_parse_ex(tokener, "", 1);
                problem = json_tokener_get_error(tokener);
        }
        if (problem != json_tokener_success)
                return error_set(error, ERROR_INVALID, "invalid JSON at offset %zu: %s", end,
                                 problem == json_tokener_continue ? "unexpected end" : json_tokener_error_desc(problem));
        if (end < text.length) {
                json_object_put(object);
                return error_set(error, ERROR_INVALID, "invalid JSON at offset %zu: more after the value", end);
        }
        *ret_json = json_frontend(object);
        return 0;
}

int json_parse(struct view text, struct json **ret_json, struct error *error)
{
        struct scan scan = { .text = text };

        if (text.length > JSON_BYTES_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "invalid JSON: %zu bytes are more than %zu", text.length,
                                 JSON_BYTES_LIMIT);
        text.length = end_of_tokens(text);
        if (text.length == 0)
                return error_set(error, ERROR_INVALID, "invalid JSON at offset 0: nothing there");
        TRY(scan_all(&scan, error));
        return parse_tree(text, scan.deepest, ret_json, error);
}
