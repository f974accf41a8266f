#include "data/selector.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

enum relation { EXISTS, NOT_EXISTS, IN, NOT_IN, GREATER, LESS };

struct requirement {
        char *key;
        enum relation relation;
        char **values;
        size_t count;
};

struct selector {
        struct requirement *requirements;
        size_t count;
};

enum token {
        TOKEN_END,
        TOKEN_WORD,
        TOKEN_EQUALS,
        TOKEN_NOT_EQUALS,
        TOKEN_NOT,
        TOKEN_GREATER,
        TOKEN_LESS,
        TOKEN_COMMA,
        TOKEN_OPEN,
        TOKEN_CLOSE
};

struct parser {
        struct view text;
        size_t at;
        enum token token; /* the one ahead */
        struct view word; /* its text */
};

void selector_free(struct selector **selector)
{
        size_t i, j;

        if (!*selector)
                return;
        for (i = 0; i < (*selector)->count; i++) {
                struct requirement *requirement = &(*selector)->requirements[i];

                for (j = 0; j < requirement->count; j++)
                        free(requirement->values[j]);
                free(requirement->values);
                free(requirement->key);
        }
        free((*selector)->requirements);
        free(*selector);
        *selector = NULL;
}

static bool is_special(char c)
{
        return strchr("=!(),><", c) && c;
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void advance(struct parser *p)
{
        static const struct {
                struct view text;
                enum token token;
        } symbols[] = {
                { { "==", 2 }, TOKEN_EQUALS }, { { "!=", 2 }, TOKEN_NOT_EQUALS }, { { "=", 1 }, TOKEN_EQUALS },
                { { "!", 1 }, TOKEN_NOT },     { { ">", 1 }, TOKEN_GREATER },     { { "<", 1 }, TOKEN_LESS },
                { { ",", 1 }, TOKEN_COMMA },   { { "(", 1 }, TOKEN_OPEN },        { { ")", 1 }, TOKEN_CLOSE },
        };
        size_t from, i;

        while (p->at < p->text.length && is_blank(p->text.data[p->at]))
                p->at++;
        from = p->at;
        p->token = TOKEN_END;
        for (i = 0; i < sizeof(symbols) / sizeof(*symbols) && p->at == from; i++) {
                if (view_starts(view_slice(p->text, from, 2), symbols[i].text)) {
                        p->token = symbols[i].token;
                        p->at += symbols[i].text.length;
                }
        }
        while (p->token <= TOKEN_WORD && p->at < p->text.length && !is_special(p->text.data[p->at]) &&
               !is_blank(p->text.data[p->at])) {
                p->token = TOKEN_WORD;
                p->at++;
        }
        p->word = view_slice(p->text, from, p->at - from);
}

static int unexpected(const struct parser *p, const char *expected, struct error *error)
{
        cleanup(buffer_release) struct buffer word = BUFFER_NULL;

        buffer_add_json(&word, p->word);
        return error_set(error, ERROR_INVALID, "found '%s', expected: %s", buffer_string(&word), expected);
}

static bool is_letter_or_digit(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9], at most 63 bytes */
static bool is_name(struct view text)
{
        size_t i;

        if (text.length == 0 || text.length > 63 || !is_letter_or_digit(text.data[0]) ||
            !is_letter_or_digit(text.data[text.length - 1]))
                return false;
        for (i = 0; i < text.length; i++)
                if (!is_letter_or_digit(text.data[i]) && !memchr("-_.", text.data[i], 3))
                        return false;
        return true;
}

/* Lower-case DNS labels joined by dots, at most 253 bytes. */
static bool is_subdomain(struct view text)
{
        struct view rest = text, label;
        size_t labels = 1, found = 0, i;

        if (text.length == 0 || text.length > 253)
                return false;
        for (i = 0; i < text.length; i++) {
                char c = text.data[i];

                labels += c == '.';
                if (c >= 'A' && c <= 'Z')
                        return false;
                if (!is_letter_or_digit(c) && c != '-' && c != '.')
                        return false;
        }
        while (view_split(&rest, '.', &label)) {
                if (label.length == 0 || label.data[0] == '-' || label.data[label.length - 1] == '-')
                        return false;
                found++;
        }
        return found == labels;
}

static int check_key(struct view key, struct error *error)
{
        ptrdiff_t slash = view_find(key, '/', 0);
        struct view name = slash < 0 ? key : view_slice(key, (size_t)slash + 1, key.length);

        if (!is_name(name) || (slash >= 0 && !is_subdomain(view_slice(key, 0, (size_t)slash))))
                return error_set(error, ERROR_INVALID,
                                 "key: Invalid value: \"%.*s\": not a qualified name (as in 'MyName' or 'example.com/MyName')",
                                 VIEW_ARGS(key));
        return 0;
}

static int add_value(struct requirement *requirement, struct view value, struct error *error)
{
        if (value.length && !is_name(value))
                return error_set(error, ERROR_INVALID,
                                 "values[%zu][%s]: Invalid value: \"%.*s\": not a label value (as in 'MyValue' or '12345')",
                                 requirement->count, requirement->key, VIEW_ARGS(value));
        requirement->values = memory_resize(requirement->values, requirement->count + 1, sizeof(*requirement->values));
        requirement->values[requirement->count++] = memory_string_n(value.data, value.length);
        return 0;
}

/* "(a, b,)": between commas there may be nothing, which is the empty value. */
static int parse_values(struct parser *p, struct requirement *requirement, struct error *error)
{
        bool first = true;

        if (p->token != TOKEN_OPEN)
                return error_set(error, ERROR_INVALID, "found '%.*s' expected: '('", VIEW_ARGS(p->word));
        do {
                struct view value = VIEW("");

                advance(p);
                if (p->token == TOKEN_WORD) {
                        value = p->word;
                        advance(p);
                        if (p->token != TOKEN_COMMA && p->token != TOKEN_CLOSE)
                                return unexpected(p, "',' or ')'", error);
                } else if (p->token != TOKEN_COMMA && p->token != TOKEN_CLOSE) {
                        return unexpected(p, first ? "',', ')' or identifier" : "',', or identifier", error);
                }
                TRY(add_value(requirement, value, error));
                first = false;
        } while (p->token == TOKEN_COMMA);
        advance(p);
        return 0;
}

static int parse_exact_value(struct parser *p, struct requirement *requirement, struct error *error)
{
        struct view value = VIEW("");

        if (p->token == TOKEN_WORD) {
                value = p->word;
                advance(p);
        } else if (p->token != TOKEN_END && p->token != TOKEN_COMMA) {
                return unexpected(p, "identifier", error);
        }
        return add_value(requirement, value, error);
}

static int parse_integer_value(struct parser *p, struct requirement *requirement, struct error *error)
{
        int64_t unused;

        TRY(parse_exact_value(p, requirement, error));
        if (view_to_int64(view_of(requirement->values[0]), &unused) < 0)
                return error_set(error, ERROR_INVALID,
                                 "values[0][%s]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the value must be an integer",
                                 requirement->key, requirement->values[0]);
        return 0;
}

static int parse_operator(struct parser *p, struct requirement *requirement, struct error *error)
{
        enum token token = p->token;
        bool in = token == TOKEN_WORD && view_is(p->word, "in"), notin = token == TOKEN_WORD && view_is(p->word, "notin");

        if (token == TOKEN_END || token == TOKEN_COMMA) {
                requirement->relation = EXISTS;
                return 0;
        }
        if (token != TOKEN_EQUALS && token != TOKEN_NOT_EQUALS && token != TOKEN_GREATER && token != TOKEN_LESS && !in && !notin)
                return unexpected(p, "in, notin, =, ==, !=, gt, lt", error);
        requirement->relation = token == TOKEN_GREATER        ? GREATER
                                : token == TOKEN_LESS         ? LESS
                                : token == TOKEN_EQUALS || in ? IN
                                                              : NOT_IN;
        advance(p);
        if (in || notin)
                return parse_values(p, requirement, error);
        if (token == TOKEN_GREATER || token == TOKEN_LESS)
                return parse_integer_value(p, requirement, error);
        return parse_exact_value(p, requirement, error);
}

static int parse_requirement(struct parser *p, struct requirement *requirement, struct error *error)
{
        bool negated = p->token == TOKEN_NOT;

        if (negated)
                advance(p);
        if (p->token != TOKEN_WORD)
                return unexpected(p, "identifier", error);
        TRY(check_key(p->word, error));
        requirement->key = memory_string_n(p->word.data, p->word.length);
        advance(p);
        if (!negated)
                return parse_operator(p, requirement, error);
        requirement->relation = NOT_EXISTS;
        return 0;
}

static int parse_requirements(struct parser *p, struct selector *selector, struct error *error)
{
        for (;;) {
                if (p->token == TOKEN_END && selector->count == 0)
                        return 0;
                if (p->token != TOKEN_WORD && p->token != TOKEN_NOT)
                        return unexpected(p, selector->count ? "identifier after ','" : "!, identifier, or 'end of string'", error);
                selector->requirements =
                        memory_resize(selector->requirements, selector->count + 1, sizeof(*selector->requirements));
                selector->requirements[selector->count++] = (struct requirement){ .key = NULL };
                if (parse_requirement(p, &selector->requirements[selector->count - 1], error) < 0)
                        return error_wrap(error, "unable to parse requirement");
                if (p->token == TOKEN_END)
                        return 0;
                if (p->token != TOKEN_COMMA)
                        return unexpected(p, "',' or 'end of string'", error);
                advance(p);
        }
}

int selector_parse(struct view text, struct selector **ret_selector, struct error *error)
{
        cleanup(selector_free) struct selector *selector = memory_zero(1, sizeof(*selector));
        struct parser parser = { .text = text };

        advance(&parser);
        TRY(parse_requirements(&parser, selector, error));
        *ret_selector = steal(&selector);
        return 0;
}

static bool has_value(const struct requirement *requirement, struct view value)
{
        size_t i;

        for (i = 0; i < requirement->count; i++)
                if (view_is(value, requirement->values[i]))
                        return true;
        return false;
}

static bool compares(const struct requirement *requirement, struct view value)
{
        int64_t ours, theirs;

        if (view_to_int64(value, &theirs) < 0 || view_to_int64(view_of(requirement->values[0]), &ours) < 0)
                return false;
        return requirement->relation == GREATER ? theirs > ours : theirs < ours;
}

static bool holds(const struct requirement *requirement, selector_label *label, const void *labels)
{
        struct view value = VIEW_NULL;
        bool found = label(labels, requirement->key, &value);

        switch (requirement->relation) {
        case EXISTS:
                return found;
        case NOT_EXISTS:
                return !found;
        case IN:
                return found && has_value(requirement, value);
        case NOT_IN:
                return !found || !has_value(requirement, value);
        case GREATER:
        case LESS:
                return found && compares(requirement, value);
        }
        return false;
}

bool selector_matches(const struct selector *selector, selector_label *label, const void *labels)
{
        size_t i;

        for (i = 0; i < selector->count; i++)
                if (!holds(&selector->requirements[i], label, labels))
                        return false;
        return true;
}
