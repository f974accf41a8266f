/*
 * A recursive-descent reader that goes over the text twice: first without evaluating, so that a mistake anywhere is reported before a
 * variable that is missing, then with. Nesting is bounded.
 */
#include "substitute.h"

#include "base/cleanup.h"
#include "data/glob.h"

#include <locale.h>
#include <wctype.h>

#define NESTING_LIMIT  64
#define ARGUMENT_LIMIT 2

/* Knows upper and lower case of all scripts; plain C, which knows ASCII, where the system has no locales at all. */
static locale_t unicode;

void substitute_prepare(void)
{
        if (!unicode)
                unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        if (!unicode)
                unicode = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
}

struct reader {
        const struct variables *variables;
        struct view text;
        size_t at;
        bool evaluate;
        int depth;
        locale_t locale;
        struct error *error;
};

static int fail(struct reader *r, const char *message)
{
        return error_set(r->error, ERROR_INVALID, "%s", message);
}

static int bad_substitution(struct reader *r)
{
        return fail(r, "bad substitution");
}

static int bad_argument(struct reader *r)
{
        return fail(r, "unable to parse substitution within function");
}

/* The byte at `offset` from here, or -1 behind the end. */
static int peek(const struct reader *r, size_t offset)
{
        return r->at + offset < r->text.length ? (unsigned char)r->text.data[r->at + offset] : -1;
}

static bool opens(const struct reader *r)
{
        return peek(r, 0) == '$' && peek(r, 1) == '{';
}

static void emit(struct reader *r, struct buffer *output, struct view text)
{
        if (r->evaluate)
                buffer_add_view(output, text);
}

bool substitute_name_valid(struct view name)
{
        for (size_t i = 0; i < name.length; i++) {
                char c = name.data[i];
                bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

                if (!letter && (i == 0 || c < '0' || c > '9'))
                        return false;
        }
        return name.length > 0;
}

/* Letters and digits of any script, and underscores. */
static struct view read_name(struct reader *r)
{
        size_t start = r->at;

        while (r->at < r->text.length) {
                uint32_t rune;
                size_t length = utf8_next(r->text, r->at, &rune);

                if (!length || !(rune == '_' || iswalnum_l((wint_t)rune, r->locale)))
                        break;
                r->at += length;
        }
        return view_slice(r->text, start, r->at - start);
}

static const struct variable *find(const struct variables *variables, struct view name)
{
        size_t low = 0, high = variables->count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = view_compare(variables->items[middle].name, name);

                if (order == 0)
                        return &variables->items[middle];
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

/* ---- what the operators do ---- */

static void add_cased(struct reader *r, struct buffer *output, struct view value, bool upper, bool all)
{
        size_t at = 0;

        while (at < value.length) {
                uint32_t rune;
                size_t length = utf8_next(value, at, &rune);

                if (!length || (at > 0 && !all)) {
                        buffer_add_view(output, view_slice(value, at, all ? 1 : SIZE_MAX));
                        if (!all)
                                return;
                        at++;
                        continue;
                }
                buffer_add_utf8(output,
                                (uint32_t)(upper ? towupper_l((wint_t)rune, r->locale) : towlower_l((wint_t)rune, r->locale)));
                at += length;
        }
}

/* A decimal number with an optional sign, as Go's Atoi takes it. */
static bool to_number(struct view text, int64_t *ret_value)
{
        if (text.length > 1 && text.data[0] == '+' && text.data[1] != '-')
                text = view_slice(text, 1, SIZE_MAX);
        return view_to_int64(text, ret_value) == 0;
}

static int add_part(struct reader *r, struct buffer *output, struct view value, const struct view *arguments, size_t count)
{
        int64_t size = (int64_t)value.length, position, length = 0, end;

        if (!to_number(arguments[0], &position)) {
                buffer_add_view(output, value);
                return 0;
        }
        if (position < 0)
                position = position + size < 0 ? 0 : position + size;
        if (count > 1 && !to_number(arguments[1], &length)) {
                buffer_add_view(output, value);
                return 0;
        }
        if (count == 1 || __builtin_add_overflow(position, length, &end) || end >= size)
                end = size;
        else if (length < 0)
                return error_set(r->error, ERROR_INVALID, "the length of a substring is negative: %lld", (long long)length);
        if (position < end)
                buffer_add_view(output, view_slice(value, (size_t)position, (size_t)(end - position)));
        return 0;
}

static void add_replaced(struct buffer *output, struct view value, struct view pattern, struct view replacement, bool all)
{
        size_t at = 0;

        for (;;) {
                ptrdiff_t found = view_search(value, pattern, at);

                if (found < 0 || (!pattern.length && (size_t)found >= value.length && at > 0 && !all))
                        break;
                buffer_add_view(output, view_slice(value, at, (size_t)found - at));
                buffer_add_view(output, replacement);
                at = (size_t)found + pattern.length;
                if (!all)
                        break;
                if (!pattern.length) { /* an empty pattern is found before every character and at the end */
                        size_t length = at < value.length ? utf8_next(value, at, NULL) : 0;

                        if (at >= value.length)
                                return;
                        buffer_add_view(output, view_slice(value, at, length ? length : 1));
                        at += length ? length : 1;
                }
        }
        buffer_add_view(output, view_slice(value, at, SIZE_MAX));
}

static void add_reversed(struct buffer *output, struct view text)
{
        size_t at = text.length;

        while (at > 0) {
                size_t start = at - 1;
                uint32_t rune = 0xfffd;

                while (start > 0 && at - start < 4 && ((unsigned char)text.data[start] & 0xc0) == 0x80)
                        start--;
                if (utf8_next(view_slice(text, 0, at), start, &rune) != at - start) {
                        start = at - 1;
                        rune = 0xfffd;
                }
                buffer_add_utf8(output, rune);
                at = start;
        }
}

/* Bytes at the start of `value` that the pattern matches; 0 for none, and for a pattern that is no glob. */
static size_t matching_prefix(struct view value, struct view pattern, bool longest)
{
        size_t shortest = 0;

        for (size_t length = value.length; length > 0; length--) {
                int match = glob_match(pattern, view_slice(value, 0, length));

                if (match < 0)
                        return 0;
                if (match && longest)
                        return length;
                if (match)
                        shortest = length;
        }
        return shortest;
}

static void add_stripped(struct buffer *output, struct view value, struct view pattern, bool suffix, bool longest)
{
        cleanup(buffer_release) struct buffer value_reversed = BUFFER_NULL, pattern_reversed = BUFFER_NULL;

        if (!suffix) {
                buffer_add_view(output, view_slice(value, matching_prefix(value, pattern, longest), SIZE_MAX));
                return;
        }
        add_reversed(&value_reversed, value);
        add_reversed(&pattern_reversed, pattern);
        value = buffer_view(&value_reversed);
        add_reversed(output, view_slice(value, matching_prefix(value, buffer_view(&pattern_reversed), longest), SIZE_MAX));
}

enum operation {
        VALUE,
        LENGTH,
        UPPER_FIRST,
        UPPER,
        LOWER_FIRST,
        LOWER,
        PART,
        DEFAULT,
        REPLACE,
        REPLACE_ALL,
        REPLACE_PREFIX,
        REPLACE_SUFFIX,
        STRIP_PREFIX,
        STRIP_PREFIX_LONGEST,
        STRIP_SUFFIX,
        STRIP_SUFFIX_LONGEST,
};

static int apply(struct reader *r, enum operation operation, struct view value, const struct view *arguments, size_t count,
                 struct buffer *output)
{
        struct view replacement = count > 1 ? arguments[1] : VIEW("");

        switch (operation) {
        case VALUE:
                buffer_add_view(output, value);
                return 0;
        case LENGTH:
                buffer_printf(output, "%zu", value.length);
                return 0;
        case UPPER_FIRST:
        case UPPER:
        case LOWER_FIRST:
        case LOWER:
                add_cased(r, output, value, operation == UPPER || operation == UPPER_FIRST,
                          operation == UPPER || operation == LOWER);
                return 0;
        case PART:
                return add_part(r, output, value, arguments, count);
        case DEFAULT:
                buffer_add_view(output, value.length ? value : count ? arguments[0] : value);
                return 0;
        case REPLACE:
        case REPLACE_ALL:
                add_replaced(output, value, arguments[0], replacement, operation == REPLACE_ALL);
                return 0;
        case REPLACE_PREFIX:
                if (count == 2 && view_starts(value, arguments[0])) {
                        buffer_add_view(output, replacement);
                        value = view_slice(value, arguments[0].length, SIZE_MAX);
                }
                buffer_add_view(output, value);
                return 0;
        case REPLACE_SUFFIX:
                if (count == 2 && view_ends(value, arguments[0])) {
                        buffer_add_view(output, view_slice(value, 0, value.length - arguments[0].length));
                        value = replacement;
                }
                buffer_add_view(output, value);
                return 0;
        case STRIP_PREFIX:
        case STRIP_PREFIX_LONGEST:
        case STRIP_SUFFIX:
        case STRIP_SUFFIX_LONGEST:
                add_stripped(output, value, arguments[0], operation >= STRIP_SUFFIX,
                             operation == STRIP_PREFIX_LONGEST || operation == STRIP_SUFFIX_LONGEST);
                return 0;
        }
        return 0;
}

/* ---- reading ---- */

static int read_function(struct reader *r, struct buffer *output);

enum argument_kind {
        UNTIL_BRACE,
        UNTIL_COLON_OR_BRACE,
        UNTIL_SLASH,
};

static bool ends(int c, enum argument_kind kind)
{
        return c == '}' ? kind != UNTIL_SLASH : c == ':' ? kind == UNTIL_COLON_OR_BRACE : c == '/' ? kind == UNTIL_SLASH : false;
}

/* One piece of an argument: a substitution, or text up to where one begins or the argument ends. */
static int read_piece(struct reader *r, enum argument_kind kind, bool escapes, struct buffer *output)
{
        size_t start = r->at;

        if (opens(r)) {
                r->at += 2;
                return read_function(r, output);
        }
        while (peek(r, 0) >= 0 && !opens(r)) {
                int c = peek(r, 0), next = peek(r, 1);

                if (escapes && ((c == '$' && next == '$') || (c == '\\' && (next == '/' || next == '\\')))) {
                        emit(r, output, view_slice(r->text, start, r->at - start));
                        emit(r, output, view_slice(r->text, r->at + 1, 1));
                        r->at += 2;
                        start = r->at;
                        continue;
                }
                if (ends(c, kind))
                        break;
                r->at++;
        }
        emit(r, output, view_slice(r->text, start, r->at - start));
        return 0;
}

/* An argument that must be there. */
static int read_argument(struct reader *r, enum argument_kind kind, bool escapes, struct buffer *output)
{
        if (peek(r, 0) < 0 || ends(peek(r, 0), kind))
                return bad_argument(r);
        return read_piece(r, kind, escapes, output);
}

static int read_close(struct reader *r)
{
        if (peek(r, 0) != '}')
                return bad_substitution(r);
        r->at++;
        return 0;
}

static int read_default(struct reader *r, struct buffer *arguments, size_t *ret_count)
{
        while (peek(r, 0) != '}') {
                if (peek(r, 0) < 0)
                        return bad_argument(r);
                TRY(read_piece(r, UNTIL_BRACE, false, &arguments[0]));
                *ret_count = 1;
        }
        return read_close(r);
}

static int read_part(struct reader *r, struct buffer *arguments, size_t *ret_count)
{
        TRY(read_argument(r, UNTIL_COLON_OR_BRACE, false, &arguments[0]));
        *ret_count = 1;
        if (peek(r, 0) == '}')
                return read_close(r);
        if (peek(r, 0) != ':')
                return bad_substitution(r);
        while (peek(r, 0) == ':')
                r->at++;
        TRY(read_argument(r, UNTIL_BRACE, false, &arguments[1]));
        *ret_count = 2;
        return read_close(r);
}

static int read_replacement(struct reader *r, struct buffer *arguments, size_t *ret_count)
{
        TRY(read_argument(r, UNTIL_SLASH, true, &arguments[0]));
        *ret_count = 1;
        if (peek(r, 0) != '/')
                return bad_substitution(r);
        while (peek(r, 0) == '/')
                r->at++;
        if (peek(r, 0) == '}')
                return read_close(r);
        TRY(read_argument(r, UNTIL_BRACE, true, &arguments[1]));
        *ret_count = 2;
        return read_close(r);
}

/* The operator behind a name, with its arguments and the closing brace. */
static int read_operator(struct reader *r, enum operation *ret_operation, struct buffer *arguments, size_t *ret_count)
{
        int c = peek(r, 0), next = peek(r, 1);

        switch (c) {
        case '}':
                r->at++;
                *ret_operation = VALUE;
                return 0;
        case ':':
                if (next == '-' || next == '=' || next == '?' || next == '+') {
                        r->at += 2;
                        *ret_operation = DEFAULT;
                        return read_default(r, arguments, ret_count);
                }
                if (next < 0)
                        return bad_substitution(r);
                r->at++;
                *ret_operation = PART;
                return read_part(r, arguments, ret_count);
        case '=':
                r->at++;
                *ret_operation = DEFAULT;
                return read_default(r, arguments, ret_count);
        case ',':
        case '^':
                r->at++;
                if (next != ',' && next != '^') {
                        *ret_operation = c == ',' ? LOWER_FIRST : UPPER_FIRST;
                } else {
                        r->at++;
                        *ret_operation = c != next ? VALUE : c == ',' ? LOWER : UPPER;
                }
                return read_close(r);
        case '/':
                r->at += next == '/' || next == '#' || next == '%' ? 2 : 1;
                *ret_operation = next == '/' ? REPLACE_ALL : next == '#' ? REPLACE_PREFIX : next == '%' ? REPLACE_SUFFIX : REPLACE;
                return read_replacement(r, arguments, ret_count);
        case '#':
        case '%':
                r->at += next == c ? 2 : 1;
                *ret_operation = (c == '#' ? STRIP_PREFIX : STRIP_SUFFIX) + (next == c);
                TRY(read_argument(r, UNTIL_BRACE, false, &arguments[0]));
                *ret_count = 1;
                return read_close(r);
        default:
                return fail(r, "missing closing brace");
        }
}

static int evaluate(struct reader *r, struct view name, enum operation operation, const struct buffer *arguments, size_t count,
                    struct buffer *output)
{
        const struct variable *variable = find(r->variables, name);
        struct view views[ARGUMENT_LIMIT];

        if (!variable && r->variables->strict && operation != DEFAULT)
                return error_set(r->error, ERROR_INVALID, "variable not set (strict mode): \"%.*s\"", VIEW_ARGS(name));
        for (size_t i = 0; i < count; i++)
                views[i] = arguments[i].data ? buffer_view(&arguments[i]) : VIEW("");
        return apply(r, operation, variable ? variable->value : VIEW(""), views, count, output);
}

static void arguments_release(struct buffer (*arguments)[ARGUMENT_LIMIT])
{
        for (size_t i = 0; i < ARGUMENT_LIMIT; i++)
                buffer_release(&(*arguments)[i]);
}

/* Behind "${". */
static int read_function(struct reader *r, struct buffer *output)
{
        cleanup(arguments_release) struct buffer arguments[ARGUMENT_LIMIT] = { BUFFER_NULL, BUFFER_NULL };
        enum operation operation = VALUE;
        size_t count = 0;
        struct view name;
        int result;

        if (r->depth == NESTING_LIMIT)
                return error_set(r->error, ERROR_TOO_LARGE, "substitutions are nested deeper than %d", NESTING_LIMIT);
        r->depth++;
        if (peek(r, 0) == '#') {
                r->at++;
                name = read_name(r);
                operation = LENGTH;
                result = name.length ? read_close(r) : bad_substitution(r);
        } else {
                name = read_name(r);
                result = name.length ? read_operator(r, &operation, arguments, &count) : fail(r, "unable to parse variable name");
        }
        r->depth--;
        if (result == 0 && r->evaluate)
                result = evaluate(r, name, operation, arguments, count, output);
        return result;
}

static int read_all(struct reader *r, struct buffer *output)
{
        size_t start;

        r->at = 0;
        start = 0;
        while (r->at < r->text.length) {
                if (peek(r, 0) != '$' || (peek(r, 1) != '$' && peek(r, 1) != '{')) {
                        r->at++;
                        continue;
                }
                emit(r, output, view_slice(r->text, start, r->at - start));
                if (opens(r)) {
                        r->at += 2;
                        TRY(read_function(r, output));
                } else {
                        emit(r, output, VIEW("$"));
                        r->at += 2;
                }
                start = r->at;
        }
        emit(r, output, view_slice(r->text, start, r->at - start));
        return 0;
}

int substitute(const struct variables *variables, struct view text, struct buffer *output, struct error *error)
{
        struct reader r = { .variables = variables, .text = text, .error = error };
        int result;

        if (view_find(text, '$', 0) < 0) {
                buffer_add_view(output, text);
                return 0;
        }
        substitute_prepare();
        r.locale = unicode;
        result = read_all(&r, output);
        if (result == 0) {
                r.evaluate = true;
                result = read_all(&r, output);
        }
        return result;
}
