#include "engine/kustomize/regex.h"

#include "base/memory.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>
#include <string.h>

struct regex {
        pcre2_code *code;
        pcre2_match_data *data;
        pcre2_match_context *context;
};

/* What PCRE2 has and RE2 has not. */
static const char *foreign(struct view pattern)
{
        bool class = false;

        for (size_t i = 0; i < pattern.length; i++) {
                char c = pattern.data[i], next = i + 1 < pattern.length ? pattern.data[i + 1] : '\0';

                if (c == '\\') {
                        if (!class && ((next >= '1' && next <= '9') || strchr("gkGKRXNEhHvVZ", next)) && next)
                                return "invalid escape sequence";
                        i++;
                } else if (class) {
                        class = c != ']';
                } else if (c == '[') {
                        class = true;
                        /* A `]` that comes first is a member. */
                        if (next == '^')
                                i++;
                        if (i + 1 < pattern.length && pattern.data[i + 1] == ']')
                                i++;
                } else if (c == '(' && next == '*') {
                        return "invalid or unsupported Perl syntax";
                } else if (c == '(' && next == '?') {
                        struct view rest = view_slice(pattern, i + 2, 2);

                        if (rest.length && !strchr("PimsU-:<", rest.data[0]))
                                return "invalid or unsupported Perl syntax";
                        if (view_starts(rest, VIEW("<=")) || view_starts(rest, VIEW("<!")) || view_starts(rest, VIEW("P=")) ||
                            view_starts(rest, VIEW("P>")))
                                return "invalid or unsupported Perl syntax";
                } else if ((c == '*' || c == '+' || c == '?' || c == '}') && next == '+') {
                        return "invalid nested repetition operator";
                }
        }
        return NULL;
}

int regex_compile(struct build *build, struct view pattern, bool anchored, struct regex **ret_regex)
{
        const char *reason = foreign(pattern);
        uint32_t flags = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
        struct regex *regex;
        PCRE2_UCHAR text[128];
        pcre2_code *code;
        size_t offset;
        int number;

        if (reason)
                return error_set(build->error, ERROR_INVALID, "error parsing regexp: %s: `%.*s`", reason, VIEW_ARGS(pattern));
        if (anchored)
                flags |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
        code = pcre2_compile((PCRE2_SPTR)(pattern.data ? pattern.data : ""), pattern.length, flags, &number, &offset, NULL);
        if (!code) {
                pcre2_get_error_message(number, text, sizeof(text));
                return error_set(build->error, ERROR_INVALID, "error parsing regexp: %s: `%.*s`", (const char *)text,
                                 VIEW_ARGS(pattern));
        }
        regex = memory_zero(1, sizeof(*regex));
        regex->code = code;
        regex->data = pcre2_match_data_create(1, NULL);
        regex->context = pcre2_match_context_create(NULL);
        if (!regex->data || !regex->context)
                memory_exhausted();
        pcre2_set_match_limit(regex->context, 1000000);
        pcre2_set_depth_limit(regex->context, 10000);
        pcre2_set_heap_limit(regex->context, 64 * 1024);
        *ret_regex = regex;
        return 0;
}

void regex_free(struct regex **regex)
{
        if (!*regex)
                return;
        pcre2_match_context_free((*regex)->context);
        pcre2_match_data_free((*regex)->data);
        pcre2_code_free((*regex)->code);
        free(*regex);
        *regex = NULL;
}

int regex_match(struct build *build, const struct regex *regex, struct view text)
{
        int r = pcre2_match(regex->code, (PCRE2_SPTR)(text.data ? text.data : ""), text.length, 0, 0, regex->data, regex->context);

        if (r >= 0)
                return 1;
        if (r == PCRE2_ERROR_MATCHLIMIT || r == PCRE2_ERROR_DEPTHLIMIT || r == PCRE2_ERROR_HEAPLIMIT)
                return error_set(build->error, ERROR_TOO_LARGE, "a regular expression takes too many steps");
        return 0;
}
