#include "data/semver.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_identifier(char c)
{
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* Digits from `at` on; where they end. */
static size_t skip_digits(struct view text, size_t at)
{
        while (at < text.length && is_digit(text.data[at]))
                at++;
        return at;
}

/* "id.id.id" from `at` on; where it ends, `at` if there is none. A dot counts only with an identifier after it. */
static size_t skip_identifiers(struct view text, size_t at)
{
        size_t end = at;

        for (;;) {
                size_t from = end > at ? end + 1 : at, i = from;

                if (end > at && (end >= text.length || text.data[end] != '.'))
                        return end;
                while (i < text.length && is_identifier(text.data[i]))
                        i++;
                if (i == from)
                        return end;
                end = i;
        }
}

/* Takes "<mark>identifiers" off the text at *at, if it is there. */
static struct view take_identifiers(struct view text, char mark, size_t *at)
{
        size_t from = *at + 1, end;

        if (*at >= text.length || text.data[*at] != mark)
                return VIEW_NULL;
        end = skip_identifiers(text, from);
        if (end == from)
                return VIEW_NULL;
        *at = end;
        return view_slice(text, from, end - from);
}

static bool all_digits(struct view text)
{
        return text.length && skip_digits(text, 0) == text.length;
}

static bool has_leading_zero(struct view pre)
{
        struct view part;

        while (view_split(&pre, '.', &part))
                if (part.length > 1 && part.data[0] == '0' && all_digits(part))
                        return true;
        return false;
}

static int parse_number(struct view text, uint64_t *ret_number, struct error *error)
{
        if (view_to_uint64(text, ret_number) < 0)
                return error_set(error, ERROR_INVALID, "error parsing version segment: \"%.*s\": value out of range",
                                 VIEW_ARGS(text));
        return 0;
}

int semver_parse(struct view text, struct semver *ret_version, struct error *error)
{
        struct semver version = { .original = text };
        uint64_t *const numbers[] = { &version.major, &version.minor, &version.patch };
        struct view parts[3] = { VIEW_NULL };
        size_t at = text.length && text.data[0] == 'v' ? 1 : 0, from = at, count, i;

        for (count = 0; count < 3; count++) {
                if (count > 0) {
                        if (at >= text.length || text.data[at] != '.')
                                break;
                        from = at + 1;
                }
                i = skip_digits(text, from);
                if (i == from)
                        return error_set(error, ERROR_INVALID, "invalid semantic version");
                parts[count] = view_slice(text, from, i - from);
                at = i;
        }
        version.pre = take_identifiers(text, '-', &at);
        version.metadata = take_identifiers(text, '+', &at);
        if (at != text.length)
                return error_set(error, ERROR_INVALID, "invalid semantic version");
        for (i = 0; i < count; i++)
                TRY(parse_number(parts[i], numbers[i], error));
        if (has_leading_zero(version.pre))
                return error_set(error, ERROR_INVALID, "version segment starts with 0");
        *ret_version = version;
        return 0;
}

int semver_parse_tag(struct view text, struct semver *ret_version, struct error *error)
{
        ptrdiff_t dot = view_find(text, '.', 0);

        if (dot < 0 || view_find(text, '.', (size_t)dot + 1) < 0)
                return error_set(error, ERROR_INVALID, "invalid semantic version");
        return semver_parse(text, ret_version, error);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

/* A missing part is lower than any, a number lower than a word. */
static int compare_part(struct view a, struct view b)
{
        uint64_t x = 0, y = 0;
        bool number_a, number_b;

        if (view_equal(a, b))
                return 0;
        if (a.length == 0 || b.length == 0)
                return a.length == 0 ? -1 : 1;
        number_a = is_digit(a.data[0]) && view_to_uint64(a, &x) == 0;
        number_b = is_digit(b.data[0]) && view_to_uint64(b, &y) == 0;
        if (number_a != number_b)
                return number_a ? -1 : 1;
        return number_a ? compare_numbers(x, y) : view_compare(a, b);
}

static int compare_pre(struct view a, struct view b)
{
        struct view part_a, part_b;
        bool more_a, more_b;
        int order;

        for (;;) {
                more_a = view_split(&a, '.', &part_a);
                more_b = view_split(&b, '.', &part_b);
                if (!more_a && !more_b)
                        return 0;
                order = compare_part(more_a ? part_a : VIEW_NULL, more_b ? part_b : VIEW_NULL);
                if (order)
                        return order;
        }
}

int semver_compare(const struct semver *a, const struct semver *b)
{
        int order = compare_numbers(a->major, b->major);

        if (!order)
                order = compare_numbers(a->minor, b->minor);
        if (!order)
                order = compare_numbers(a->patch, b->patch);
        if (order)
                return order;
        if (a->pre.length == 0 || b->pre.length == 0)
                return (a->pre.length == 0) - (b->pre.length == 0);
        return compare_pre(a->pre, b->pre);
}

enum relation { TILDE_OR_EQUAL, NOT_EQUAL, GREATER, LESS, GREATER_EQUAL, LESS_EQUAL, TILDE, CARET };

struct term {
        enum relation relation;
        struct semver version;
        bool group_start; /* "||" stood before it */
        bool dirty;       /* some part is missing or a wildcard: */
        bool minor_dirty; /* the minor and what follows; */
        bool patch_dirty; /* the patch alone; neither: the major */
};

struct semver_range {
        char *text;
        struct term *terms;
        size_t count;
};

void semver_range_free(struct semver_range **range)
{
        if (*range) {
                free((*range)->text);
                free((*range)->terms);
                free(*range);
        }
        *range = NULL;
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static size_t skip_blanks(struct view text, size_t at)
{
        while (at < text.length && is_blank(text.data[at]))
                at++;
        return at;
}

/* A single '|' is let through here as upstream does, and fails as a number. */
static size_t skip_part(struct view text, size_t at)
{
        while (at < text.length && (is_digit(text.data[at]) || memchr("xX*|", text.data[at], 4)))
                at++;
        return at;
}

/* A version with wildcards, in pieces. */
struct pattern {
        struct view text, parts[3], pre;
};

/* Reads one at `at`; where it ends, `at` if there is none. */
static size_t read_pattern(struct view text, size_t at, struct pattern *ret_pattern)
{
        struct pattern pattern = { .text = VIEW_NULL };
        size_t from = at + (at < text.length && text.data[at] == 'v'), end = skip_part(text, from), i;

        if (end == from)
                return at;
        pattern.parts[0] = view_slice(text, from, end - from);
        for (i = 1; i < 3 && end < text.length && text.data[end] == '.'; i++) {
                from = end + 1;
                if (skip_part(text, from) == from)
                        break;
                end = skip_part(text, from);
                pattern.parts[i] = view_slice(text, from, end - from);
        }
        pattern.pre = take_identifiers(text, '-', &end);
        take_identifiers(text, '+', &end);
        pattern.text = view_slice(text, at, end - at);
        *ret_pattern = pattern;
        return end;
}

/* "a - b" at `at`, with the blanks around it; where it ends, `at` if there is none. */
static size_t read_hyphen_range(struct view text, size_t at, struct pattern *ret_low, struct pattern *ret_high)
{
        size_t from = skip_blanks(text, at), end = read_pattern(text, from, ret_low), dash = skip_blanks(text, end), high;

        if (end == from || dash == end || dash >= text.length || text.data[dash] != '-')
                return at;
        high = skip_blanks(text, dash + 1);
        if (high == dash + 1)
                return at;
        end = read_pattern(text, high, ret_high);
        return end == high ? at : skip_blanks(text, end);
}

static char *rewrite_hyphen_ranges(struct view text)
{
        struct buffer rewritten = BUFFER_NULL;
        struct pattern low, high;
        size_t at = 0, end;

        while (at < text.length) {
                end = read_hyphen_range(text, at, &low, &high);
                if (end == at) {
                        buffer_add_char(&rewritten, text.data[at++]);
                        continue;
                }
                buffer_printf(&rewritten, ">= %.*s, <= %.*s ", VIEW_ARGS(low.text), VIEW_ARGS(high.text));
                at = end;
        }
        return buffer_steal(&rewritten);
}

static size_t read_operator(struct view text, size_t at, enum relation *ret_relation)
{
        static const struct {
                struct view text;
                enum relation relation;
        } operators[] = {
                { { "!=", 2 }, NOT_EQUAL },     { { ">=", 2 }, GREATER_EQUAL }, { { "=>", 2 }, GREATER_EQUAL },
                { { "<=", 2 }, LESS_EQUAL },    { { "=<", 2 }, LESS_EQUAL },    { { "~>", 2 }, TILDE },
                { { "=", 1 }, TILDE_OR_EQUAL }, { { ">", 1 }, GREATER },        { { "<", 1 }, LESS },
                { { "~", 1 }, TILDE },          { { "^", 1 }, CARET },
        };
        struct view rest = view_slice(text, at, 2);
        size_t i;

        *ret_relation = TILDE_OR_EQUAL;
        for (i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
                if (view_starts(rest, operators[i].text)) {
                        *ret_relation = operators[i].relation;
                        return at + operators[i].text.length;
                }
        }
        return at;
}

static bool is_wildcard(struct view part)
{
        return part.length == 0 || view_is(part, "x") || view_is(part, "X") || view_is(part, "*");
}

/* Wildcards are zeros; what follows the first of them is not looked at. */
static int resolve(const struct pattern *pattern, struct term *term, struct error *error)
{
        uint64_t *const numbers[] = { &term->version.major, &term->version.minor, &term->version.patch };
        size_t i;

        for (i = 0; i < 3 && !is_wildcard(pattern->parts[i]); i++)
                if (view_to_uint64(pattern->parts[i], numbers[i]) < 0)
                        return error_set(error, ERROR_INVALID, "constraint parser error");
        if (has_leading_zero(pattern->pre))
                return error_set(error, ERROR_INVALID, "constraint parser error");
        term->dirty = i < 3;
        term->minor_dirty = i == 1;
        term->patch_dirty = i == 2;
        term->version.pre = pattern->pre;
        return 0;
}

static void add_term(struct semver_range *range, const struct term *term)
{
        range->terms = memory_resize(range->terms, range->count + 1, sizeof(*range->terms));
        range->terms[range->count++] = *term;
}

static int improper(struct view group, struct error *error)
{
        cleanup(buffer_release) struct buffer quoted = BUFFER_NULL;

        buffer_add_json(&quoted, group);
        return error_set(error, ERROR_INVALID, "improper constraint: \"%s\"", buffer_string(&quoted));
}

/* What is not a list of terms is told before what is wrong inside one. */
static int parse_group(struct semver_range *range, struct view group, struct error *error)
{
        cleanup(error_release) struct error problem = ERROR_NULL;
        size_t at = skip_blanks(group, 0);
        bool first = true, more = true;

        for (; more; first = false) {
                struct term term = { .group_start = first };
                size_t from = skip_blanks(group, read_operator(group, at, &term.relation)), end;
                struct pattern pattern;
                bool comma;

                end = read_pattern(group, from, &pattern);
                if (end == from)
                        return improper(group, error);
                at = skip_blanks(group, end);
                comma = at < group.length && group.data[at] == ',';
                if (at == end && at < group.length && !comma)
                        return improper(group, error);
                more = at < group.length;
                at = comma ? skip_blanks(group, at + 1) : at;
                if (resolve(&pattern, &term, &problem) == 0)
                        add_term(range, &term);
        }
        return problem.kind ? error_move(error, &problem) : 0;
}

int semver_range_parse(struct view text, struct semver_range **ret_range, struct error *error)
{
        cleanup(semver_range_free) struct semver_range *range = memory_zero(1, sizeof(*range));
        struct view rest;
        ptrdiff_t bar;

        range->text = rewrite_hyphen_ranges(text);
        rest = view_of(range->text);
        while ((bar = view_search(rest, VIEW("||"), 0)) >= 0) {
                TRY(parse_group(range, view_slice(rest, 0, (size_t)bar), error));
                rest = view_slice(rest, (size_t)bar + 2, rest.length);
        }
        TRY(parse_group(range, rest, error));
        *ret_range = steal(&range);
        return 0;
}

static bool differs(const struct semver *v, const struct term *term)
{
        const struct semver *c = &term->version;

        if (!term->dirty)
                return semver_compare(v, c) != 0;
        if (v->major != c->major || (v->minor != c->minor && !term->minor_dirty))
                return true;
        if (term->minor_dirty)
                return false;
        if (v->patch != c->patch && !term->patch_dirty)
                return true;
        if (term->patch_dirty)
                return compare_pre(v->pre, c->pre) != 0;
        return semver_compare(v, c) != 0;
}

static bool greater(const struct semver *v, const struct term *term)
{
        if (term->dirty && v->major != term->version.major)
                return v->major > term->version.major;
        if (term->minor_dirty)
                return false;
        if (term->patch_dirty)
                return v->minor > term->version.minor;
        return semver_compare(v, &term->version) > 0;
}

static bool less_equal(const struct semver *v, const struct term *term)
{
        if (!term->dirty)
                return semver_compare(v, &term->version) <= 0;
        if (v->major != term->version.major)
                return v->major < term->version.major;
        return term->minor_dirty || v->minor <= term->version.minor;
}

static bool tilde(const struct semver *v, const struct term *term)
{
        const struct semver *c = &term->version;

        if (semver_compare(v, c) < 0)
                return false;
        if (c->major == 0 && c->minor == 0 && c->patch == 0 && !term->minor_dirty && !term->patch_dirty)
                return true;
        return v->major == c->major && (v->minor == c->minor || term->minor_dirty);
}

static bool caret(const struct semver *v, const struct term *term)
{
        const struct semver *c = &term->version;

        if (semver_compare(v, c) < 0)
                return false;
        if (c->major > 0 || term->minor_dirty)
                return v->major == c->major;
        if (v->major > 0)
                return false;
        if (c->minor > 0 || term->patch_dirty)
                return v->minor == c->minor;
        return v->minor == 0 && v->patch == c->patch;
}

static bool holds(const struct semver *version, const struct term *term)
{
        switch (term->relation) {
        case TILDE_OR_EQUAL:
                return term->dirty ? tilde(version, term) : semver_compare(version, &term->version) == 0;
        case NOT_EQUAL:
                return differs(version, term);
        case GREATER:
                return greater(version, term);
        case LESS:
                return semver_compare(version, &term->version) < 0;
        case GREATER_EQUAL:
                return semver_compare(version, &term->version) >= 0;
        case LESS_EQUAL:
                return less_equal(version, term);
        case TILDE:
                return tilde(version, term);
        case CARET:
                return caret(version, term);
        }
        return false;
}

bool semver_range_contains(const struct semver_range *range, const struct semver *version)
{
        size_t from, end;

        for (from = 0; from < range->count; from = end) {
                bool names_pre = false, all = true;
                size_t i;

                for (end = from + 1; end < range->count && !range->terms[end].group_start; end++)
                        ;
                for (i = from; i < end; i++) {
                        names_pre = names_pre || range->terms[i].version.pre.length > 0;
                        all = all && holds(version, &range->terms[i]);
                }
                if (all && (version->pre.length == 0 || names_pre))
                        return true;
        }
        return false;
}
