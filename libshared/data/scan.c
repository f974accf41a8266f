#include "data/scan.h"

#include <stdarg.h>
#include <string.h>

static size_t skip_blanks(struct view text, size_t at)
{
        while (at < text.length &&
               (text.data[at] == ' ' || text.data[at] == '\n' || text.data[at] == '\r' || text.data[at] == '\t'))
                at++;
        return at;
}

/* Behind the closing quote of the string that opens at `at`; 0 if it does not close. */
static size_t string_end(struct view text, size_t at)
{
        for (at++; at < text.length; at++) {
                const char *quote = memchr(text.data + at, '"', text.length - at);
                size_t end, escapes = 0;

                if (!quote)
                        return 0;
                end = (size_t)(quote - text.data);
                while (end - escapes > at && text.data[end - escapes - 1] == '\\')
                        escapes++;
                if (escapes % 2 == 0)
                        return end + 1;
                at = end;
        }
        return 0;
}

static size_t container_end(struct view text, size_t at)
{
        size_t depth = 0;

        while (at < text.length) {
                switch (text.data[at]) {
                case '"':
                        at = string_end(text, at);
                        if (!at)
                                return 0;
                        continue;
                case '{':
                case '[':
                        depth++;
                        break;
                case '}':
                case ']':
                        if (--depth == 0)
                                return at + 1;
                        break;
                default:
                        break;
                }
                at++;
        }
        return 0;
}

size_t scan_value_end(struct view text, size_t at)
{
        size_t start = at = skip_blanks(text, at);

        if (at >= text.length)
                return 0;
        if (text.data[at] == '"')
                return string_end(text, at);
        if (text.data[at] == '{' || text.data[at] == '[')
                return container_end(text, at);
        while (at < text.length && !memchr(",}] \n\r\t\":{[", text.data[at], 11))
                at++;
        return at > start ? at : 0;
}

struct scan scan_begin(struct view value)
{
        size_t at = skip_blanks(value, 0);
        char open = at < value.length ? value.data[at] : '\0';

        return (struct scan){ .text = value, .at = at + 1, .close = open == '{' ? '}' : open == '[' ? ']' : '\0' };
}

bool scan_next(struct scan *scan)
{
        struct view text = scan->text;
        size_t at;

        if (!scan->close)
                return false;
        at = skip_blanks(text, scan->at);
        if (at < text.length && text.data[at] == scan->close) {
                scan->complete = true;
                scan->at = at + 1;
                goto end;
        }
        if (scan->begun) {
                if (at >= text.length || text.data[at] != ',')
                        goto end;
                at = skip_blanks(text, at + 1);
        }
        scan->begun = true;
        scan->start = at;
        scan->key = VIEW_NULL;
        if (scan->close == '}') {
                size_t end = at < text.length && text.data[at] == '"' ? string_end(text, at) : 0;

                if (!end)
                        goto end;
                scan->key = view_slice(text, at + 1, end - at - 2);
                at = skip_blanks(text, end);
                if (at >= text.length || text.data[at] != ':')
                        goto end;
                at = skip_blanks(text, at + 1);
        }
        scan->end = scan_value_end(text, at);
        if (!scan->end)
                goto end;
        scan->value = view_slice(text, at, scan->end - at);
        scan->at = scan->end;
        return true;
end:
        scan->close = '\0';
        return false;
}

bool scan_complete(const struct scan *scan)
{
        return scan->complete;
}

struct view scan_get(struct view object, const char *key)
{
        struct scan scan = scan_begin(object);

        if (scan.close != '}')
                return VIEW_NULL;
        while (scan_next(&scan))
                if (view_is(scan.key, key))
                        return scan.value;
        return VIEW_NULL;
}

struct view scan_path(struct view object, ...)
{
        va_list arguments;
        const char *key;

        va_start(arguments, object);
        while (object.length && (key = va_arg(arguments, const char *)))
                object = scan_get(object, key);
        va_end(arguments);
        return object;
}

struct view scan_string(struct view value)
{
        if (value.length < 2 || value.data[0] != '"')
                return VIEW_NULL;
        return view_slice(value, 1, value.length - 2);
}

int64_t scan_integer(struct view value, int64_t fallback)
{
        int64_t number;

        return view_to_int64(value, &number) == 0 ? number : fallback;
}

bool scan_is_true(struct view value)
{
        return view_is(value, "true");
}
