#include "data/regex.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_STEPS    1000000
#define MATCH_HEAP_KIB 20000
#define REPEAT_LIMIT   1000

struct regex {
        pcre2_code *code;
        pcre2_match_context *limits;
        uint32_t groups;
};

#define NOWHERE SIZE_MAX

/* Reads an RE2 pattern from left to right and writes the PCRE2 pattern that means the same. */
struct translation {
        struct view pattern;
        size_t at;
        struct buffer *output;
        unsigned open;    /* groups */
        bool repeatable;  /* something to repeat stands right before */
        size_t repeat_at; /* the operator right before, or NOWHERE */
};

static int refuse(const char *what, struct view piece, struct error *error)
{
        return error_set(error, ERROR_INVALID, "error parsing regexp: %s: `%.*s`", what, VIEW_ARGS(piece));
}

/* From `from` to where the reading is. */
static struct view read_since(const struct translation *t, size_t from)
{
        return view_slice(t->pattern, from, t->at - from);
}

static struct view rest_from(const struct translation *t, size_t from)
{
        return view_slice(t->pattern, from, t->pattern.length);
}

/* NUL at the end: a NUL inside means nothing special either. */
static char peek(const struct translation *t, size_t ahead)
{
        return t->at + ahead < t->pattern.length ? t->pattern.data[t->at + ahead] : '\0';
}

static bool is_octal(char c)
{
        return c >= '0' && c <= '7';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_letter_or_digit(char c)
{
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void is_operand(struct translation *t)
{
        t->repeatable = true;
        t->repeat_at = NOWHERE;
}

static void is_no_operand(struct translation *t)
{
        t->repeatable = false;
        t->repeat_at = NOWHERE;
}

/* "\12", "\012": octal in RE2, perhaps a back-reference in PCRE2. */
static void translate_octal(struct translation *t)
{
        unsigned value = 0, digits;

        for (digits = 0; digits < 3 && is_octal(peek(t, 0)); digits++)
                value = value * 8 + (unsigned)(t->pattern.data[t->at++] - '0');
        buffer_printf(t->output, "\\x{%x}", value);
}

static bool is_hexadecimal(char c)
{
        return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* "\x41", "\x{41}", "\pL", "\p{Greek}": the same in both. */
static int copy_escape_with_argument(struct translation *t, size_t from, struct error *error)
{
        bool hexadecimal = peek(t, 0) == 'x', braces = peek(t, 1) == '{';
        size_t length = hexadecimal && !braces ? 2 : 1, i;
        ptrdiff_t end = view_find(t->pattern, '}', t->at);

        t->at += 1 + braces;
        if (braces)
                length = end < 0 ? t->pattern.length : (size_t)end - t->at;
        for (i = 0; hexadecimal && i < length; i++)
                if (!is_hexadecimal(peek(t, i)))
                        return refuse("invalid escape sequence", view_slice(t->pattern, from, t->at + i + 1 - from), error);
        if (t->at + length + braces > t->pattern.length)
                return refuse("invalid escape sequence", rest_from(t, from), error);
        t->at += length + braces;
        buffer_add_view(t->output, read_since(t, from));
        return 0;
}

/* "\Q...\E", or up to the end: each character for itself. */
static void translate_quoted(struct translation *t)
{
        ptrdiff_t found = view_search(t->pattern, VIEW("\\E"), t->at + 1);
        size_t end = found < 0 ? t->pattern.length : (size_t)found;

        for (t->at++; t->at < end; t->at++) {
                char c = t->pattern.data[t->at];

                if (!is_letter_or_digit(c) && !((unsigned char)c & 0x80))
                        buffer_add_char(t->output, '\\');
                buffer_add_char(t->output, c);
                is_operand(t);
        }
        if (found >= 0)
                t->at += 2;
}

/* RE2's blanks have no vertical tab. In a class, what follows must not make a range with the last of them. */
static void translate_blanks(struct translation *t, bool in_class)
{
        t->at++;
        buffer_add_string(t->output, in_class ? "\\t\\n\\f\\r\\x20" : "[\\t\\n\\f\\r ]");
        if (in_class && peek(t, 0) == '-') {
                t->at++;
                buffer_add_string(t->output, "\\-");
        }
}

/* "^" or "\b", as something that PCRE2 too lets be repeated. */
static void add_assertion(struct translation *t, struct view assertion)
{
        bool repeated = peek(t, 0) && strchr("*+?{", peek(t, 0));

        buffer_add_string(t->output, repeated ? "(?:" : "");
        buffer_add_view(t->output, assertion);
        buffer_add_string(t->output, repeated ? ")" : "");
}

static int translate_escape(struct translation *t, bool in_class, struct error *error)
{
        const char *known = in_class ? "dDwWSaftnr" : "dDwWaftnrAzbB";
        size_t from = t->at++;
        char c = peek(t, 0);

        if (t->at >= t->pattern.length)
                return refuse("trailing backslash at end of expression", VIEW(""), error);
        if (c == 'Q' && !in_class) {
                translate_quoted(t);
                return 0;
        }
        is_operand(t);
        if (c == '0' || (is_octal(c) && is_octal(peek(t, 1)))) {
                translate_octal(t);
        } else if (c == 'x' || c == 'p' || c == 'P') {
                return copy_escape_with_argument(t, from, error);
        } else if (c == 's') {
                translate_blanks(t, in_class);
        } else if (c == 'S' && !in_class) {
                t->at++;
                buffer_add_string(t->output, "[^\\t\\n\\f\\r ]");
        } else if (c == 'v') {
                t->at++;
                buffer_add_string(t->output, "\\x0b");
        } else {
                t->at += (unsigned char)c & 0x80 ? utf8_next(t->pattern, t->at, NULL) : 1;
                if (((unsigned char)c & 0x80) || (is_letter_or_digit(c) && !strchr(known, c)))
                        return refuse("invalid escape sequence", read_since(t, from), error);
                if (strchr("AzbB", c))
                        add_assertion(t, read_since(t, from));
                else
                        buffer_add_view(t->output, read_since(t, from));
        }
        return 0;
}

/* "[:alpha:]" inside a class; true if it was one. PCRE2 knows names that RE2 does not. */
static int copy_posix_class(struct translation *t, bool *ret_copied, struct error *error)
{
        static const char *const names[] = { "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
                                             "lower", "print", "punct", "space", "upper", "word",  "xdigit" };
        ptrdiff_t end = view_search(t->pattern, VIEW(":]"), t->at + 2);
        size_t from = t->at, i;
        struct view name;

        *ret_copied = false;
        if (peek(t, 0) != '[' || peek(t, 1) != ':' || end < 0)
                return 0;
        t->at = (size_t)end + 2;
        name = view_slice(t->pattern, from + 2, (size_t)end - from - 2);
        if (view_starts(name, VIEW("^")))
                name = view_slice(name, 1, name.length);
        for (i = 0; i < sizeof(names) / sizeof(*names) && !view_is(name, names[i]); i++)
                ;
        if (i == sizeof(names) / sizeof(*names))
                return refuse("invalid character class range", read_since(t, from), error);
        buffer_add_view(t->output, read_since(t, from));
        *ret_copied = true;
        return 0;
}

static int translate_class(struct translation *t, struct error *error)
{
        size_t from = t->at++;
        bool first = true;

        buffer_add_char(t->output, '[');
        if (peek(t, 0) == '^') {
                buffer_add_char(t->output, '^');
                t->at++;
        }
        for (; peek(t, 0) != ']' || first; first = false) {
                bool copied = false;

                if (t->at >= t->pattern.length)
                        return refuse("missing closing ]", rest_from(t, from), error);
                if (peek(t, 0) == '\\') {
                        TRY(translate_escape(t, true, error));
                        continue;
                }
                TRY(copy_posix_class(t, &copied, error));
                if (!copied) {
                        if (peek(t, 0) == '[' || peek(t, 0) == ']')
                                buffer_add_char(t->output, '\\');
                        buffer_add_char(t->output, t->pattern.data[t->at++]);
                }
        }
        buffer_add_char(t->output, ']');
        t->at++;
        is_operand(t);
        return 0;
}

/* "(?P<name>" or "(?<name>", read up to the '<'. */
static int translate_name(struct translation *t, size_t from, struct error *error)
{
        ptrdiff_t end = view_find(t->pattern, '>', t->at);
        struct view name;
        size_t i;

        if (end < 0)
                return refuse("invalid named capture", rest_from(t, from), error);
        name = view_slice(t->pattern, t->at, (size_t)end - t->at);
        t->at = (size_t)end + 1;
        for (i = 0; i < name.length && (is_letter_or_digit(name.data[i]) || name.data[i] == '_'); i++)
                ;
        if (name.length == 0 || i < name.length || name.length > 31)
                return refuse("invalid named capture", read_since(t, from), error);
        /* PCRE2's names do not begin with a digit. */
        buffer_printf(t->output, "(?<_%.*s>", VIEW_ARGS(name));
        t->open++;
        return 0;
}

/* "(?flags)" or "(?flags:", read up to the flags. */
static int translate_flags(struct translation *t, size_t from, struct error *error)
{
        bool negative = false, any = false;

        for (;;) {
                char c = peek(t, 0);

                t->at += t->at < t->pattern.length;
                if (c && strchr("imsU", c)) {
                        any = true;
                } else if (c == '-' && !negative) {
                        negative = true;
                        any = false;
                } else if ((c == ':' || c == ')') && (any || !negative)) {
                        t->open += c == ':';
                        buffer_add_view(t->output, read_since(t, from));
                        return 0;
                } else {
                        return refuse(c || t->at == from + 2 ? "invalid or unsupported Perl syntax" : "missing closing )",
                                      read_since(t, from), error);
                }
        }
}

static int translate_group(struct translation *t, struct error *error)
{
        size_t from = t->at++;

        is_no_operand(t);
        if (peek(t, 0) != '?') {
                buffer_add_char(t->output, '(');
                t->open++;
                return 0;
        }
        t->at++;
        if (peek(t, 0) == 'P' && peek(t, 1) == '<') {
                t->at += 2;
                return translate_name(t, from, error);
        }
        if (peek(t, 0) == '<' && peek(t, 1) != '=' && peek(t, 1) != '!') {
                t->at += 1;
                return translate_name(t, from, error);
        }
        return translate_flags(t, from, error);
}

/* The digits at `at`; 0 if there are none or a zero leads them. */
static size_t digits_at(struct view text, size_t at)
{
        size_t end = at;

        while (end < text.length && is_digit(text.data[end]))
                end++;
        return end - at > 1 && text.data[at] == '0' ? 0 : end - at;
}

static uint64_t number_at(struct view text, size_t at, size_t digits)
{
        uint64_t number;

        return view_to_uint64(view_slice(text, at, digits), &number) == 0 ? number : UINT64_MAX;
}

/* "{n}", "{n,}", "{n,m}" at the reading place: its length, 0 if it is none of them. */
static size_t repeat_length(const struct translation *t, bool *ret_too_large)
{
        size_t from = t->at + 1, digits = digits_at(t->pattern, from), at = from + digits;
        uint64_t low = number_at(t->pattern, from, digits), high = low;

        if (!digits)
                return 0;
        if (at < t->pattern.length && t->pattern.data[at] == ',') {
                from = at + 1;
                digits = digits_at(t->pattern, from);
                if (digits)
                        high = number_at(t->pattern, from, digits);
                at = from + digits;
        }
        if (at >= t->pattern.length || t->pattern.data[at] != '}')
                return 0;
        *ret_too_large = low > REPEAT_LIMIT || high > REPEAT_LIMIT || low > high;
        return at + 1 - t->at;
}

static int translate_repeat(struct translation *t, size_t length, struct error *error)
{
        size_t from = t->at;

        t->at += length;
        if (peek(t, 0) == '?')
                t->at++;
        if (!t->repeatable && t->repeat_at == NOWHERE)
                return refuse("missing argument to repetition operator", read_since(t, from), error);
        if (t->repeat_at != NOWHERE)
                return refuse("invalid nested repetition operator", read_since(t, t->repeat_at), error);
        buffer_add_view(t->output, read_since(t, from));
        t->repeatable = false;
        t->repeat_at = from;
        return 0;
}

static int translate_brace(struct translation *t, struct error *error)
{
        bool too_large = false;
        size_t length = repeat_length(t, &too_large);

        if (length && too_large)
                return refuse("invalid repeat count", view_slice(t->pattern, t->at, length), error);
        if (length)
                return translate_repeat(t, length, error);
        buffer_add_string(t->output, "\\{");
        t->at++;
        is_operand(t);
        return 0;
}

static void copy_character(struct translation *t)
{
        buffer_add_char(t->output, t->pattern.data[t->at++]);
        is_operand(t);
}

static int translate(struct translation *t, struct error *error)
{
        while (t->at < t->pattern.length) {
                char c = t->pattern.data[t->at];

                switch (c) {
                case '\\':
                        TRY(translate_escape(t, false, error));
                        break;
                case '[':
                        TRY(translate_class(t, error));
                        break;
                case '(':
                        TRY(translate_group(t, error));
                        break;
                case '{':
                        TRY(translate_brace(t, error));
                        break;
                case '*':
                case '+':
                case '?':
                        TRY(translate_repeat(t, 1, error));
                        break;
                case '^':
                case '$':
                        t->at++;
                        add_assertion(t, view_slice(t->pattern, t->at - 1, 1));
                        is_operand(t);
                        break;
                case ')':
                        if (t->open == 0)
                                return refuse("unexpected )", t->pattern, error);
                        t->open--;
                        copy_character(t);
                        break;
                default:
                        copy_character(t);
                        if (c == '|')
                                is_no_operand(t);
                }
        }
        return t->open ? refuse("missing closing )", t->pattern, error) : 0;
}

void regex_free(struct regex **regex)
{
        if (*regex) {
                pcre2_code_free((*regex)->code);
                pcre2_match_context_free((*regex)->limits);
                free(*regex);
        }
        *regex = NULL;
}

static int compile(struct regex *regex, const struct buffer *translated, struct view pattern, struct error *error)
{
        const uint32_t options =
                PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UCP | PCRE2_MATCH_INVALID_UTF;
        pcre2_compile_context *context = pcre2_compile_context_create(NULL);
        unsigned char text[128];
        size_t offset;
        int problem;

        if (!context)
                memory_exhausted();
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        regex->code = pcre2_compile((PCRE2_SPTR)buffer_string(translated), translated->length, options, &problem, &offset, context);
        pcre2_compile_context_free(context);
        if (!regex->code) {
                pcre2_get_error_message(problem, text, sizeof(text));
                return refuse((const char *)text, pattern, error);
        }
        pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
        regex->limits = pcre2_match_context_create(NULL);
        if (!regex->limits)
                memory_exhausted();
        pcre2_set_match_limit(regex->limits, MATCH_STEPS);
        pcre2_set_heap_limit(regex->limits, MATCH_HEAP_KIB);
        return 0;
}

int regex_compile(struct view pattern, unsigned flags, struct regex **ret_regex, struct error *error)
{
        cleanup(regex_free) struct regex *regex = memory_zero(1, sizeof(*regex));
        cleanup(buffer_release) struct buffer translated = BUFFER_NULL;
        cleanup(buffer_release) struct buffer whole = BUFFER_NULL;
        struct translation t = { .pattern = pattern, .output = &translated, .repeat_at = NOWHERE };

        if (pattern.length > REGEX_PATTERN_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "error parsing regexp: %zu bytes are more than %zu", pattern.length,
                                 REGEX_PATTERN_LIMIT);
        if (!utf8_valid(pattern))
                return error_set(error, ERROR_INVALID, "error parsing regexp: invalid UTF-8");
        if (flags & REGEX_ANCHORED) { /* a part of the text, as in Go: also what an error shows */
                buffer_printf(&whole, "^(?:%.*s)$", VIEW_ARGS(pattern));
                t.pattern = buffer_view(&whole);
        }
        TRY(translate(&t, error));
        TRY(compile(regex, &translated, t.pattern, error));
        *ret_regex = steal(&regex);
        return 0;
}

static void free_match(pcre2_match_data **match)
{
        pcre2_match_data_free(*match);
}

int regex_find(const struct regex *regex, struct view text, size_t from, struct view *ret_groups, size_t count, struct error *error)
{
        cleanup(free_match) pcre2_match_data *match = pcre2_match_data_create_from_pattern(regex->code, NULL);
        const size_t *offsets;
        unsigned char message[128];
        size_t i;
        int r;

        if (!match)
                memory_exhausted();
        r = pcre2_match(regex->code, (PCRE2_SPTR)(text.data ? text.data : ""), text.length, from, 0, match, regex->limits);
        if (r == PCRE2_ERROR_NOMATCH)
                return REGEX_NO_MATCH;
        if (r == PCRE2_ERROR_MATCHLIMIT || r == PCRE2_ERROR_HEAPLIMIT || r == PCRE2_ERROR_DEPTHLIMIT)
                return error_set(error, ERROR_TOO_LARGE, "the regular expression takes too many steps on a text of %zu bytes",
                                 text.length);
        if (r < 0) {
                pcre2_get_error_message(r, message, sizeof(message));
                return error_set(error, ERROR_INVALID, "match a regular expression: %s", (const char *)message);
        }
        offsets = pcre2_get_ovector_pointer(match);
        for (i = 0; i < count; i++) {
                bool there = i <= regex->groups && offsets[2 * i] != PCRE2_UNSET;

                ret_groups[i] = there ? view_slice(text, offsets[2 * i], offsets[2 * i + 1] - offsets[2 * i]) : VIEW_NULL;
        }
        return 0;
}

int regex_match(const struct regex *regex, struct view text, struct error *error)
{
        return regex_find(regex, text, 0, NULL, 0, error);
}

int regex_group_index(const struct regex *regex, const char *name)
{
        cleanup(free_string) char *prefixed = memory_printf("_%s", name);
        int index = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)prefixed);

        return index > 0 ? index : -1;
}
