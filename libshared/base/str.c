#include "base/str.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct view view_of(const char *string)
{
        return string ? (struct view){ string, strlen(string) } : VIEW_NULL;
}

bool view_equal(struct view a, struct view b)
{
        return a.length == b.length && (!a.length || memcmp(a.data, b.data, a.length) == 0);
}

bool view_is(struct view a, const char *string)
{
        return view_equal(a, view_of(string));
}

int view_compare(struct view a, struct view b)
{
        size_t common = a.length < b.length ? a.length : b.length;
        int r = common ? memcmp(a.data, b.data, common) : 0;

        return r ? r : (a.length > b.length) - (a.length < b.length);
}

bool view_starts(struct view text, struct view prefix)
{
        return text.length >= prefix.length && view_equal((struct view){ text.data, prefix.length }, prefix);
}

bool view_ends(struct view text, struct view suffix)
{
        return text.length >= suffix.length && view_equal(view_slice(text, text.length - suffix.length, suffix.length), suffix);
}

ptrdiff_t view_find(struct view text, char c, size_t from)
{
        const char *found;

        if (from >= text.length)
                return -1;
        found = memchr(text.data + from, c, text.length - from);
        return found ? found - text.data : -1;
}

ptrdiff_t view_search(struct view text, struct view needle, size_t from)
{
        const char *found;

        if (from > text.length)
                return -1;
        if (!needle.length)
                return (ptrdiff_t)from;
        if (from == text.length)
                return -1;
        if (needle.length == 1) /* a thread sanitizer's memmem looks at the whole text, however near the first one is */
                return view_find(text, needle.data[0], from);
        found = memmem(text.data + from, text.length - from, needle.data, needle.length);
        return found ? found - text.data : -1;
}

struct view view_slice(struct view text, size_t from, size_t length)
{
        if (from >= text.length)
                return (struct view){ text.data ? text.data + text.length : NULL, 0 };
        if (length > text.length - from)
                length = text.length - from;
        return (struct view){ text.data + from, length };
}

static bool blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct view view_trim(struct view text)
{
        while (text.length && blank(text.data[0])) {
                text.data++;
                text.length--;
        }
        while (text.length && blank(text.data[text.length - 1]))
                text.length--;
        return text;
}

/* A rest of length 0 with data is one more empty piece ("a," has two); behind the last piece data becomes NULL. */
bool view_split(struct view *rest, char separator, struct view *ret_piece)
{
        ptrdiff_t at;

        if (!rest->data)
                return false;
        at = view_find(*rest, separator, 0);
        if (at < 0) {
                *ret_piece = *rest;
                *rest = VIEW_NULL;
                return true;
        }
        *ret_piece = view_slice(*rest, 0, (size_t)at);
        *rest = view_slice(*rest, (size_t)at + 1, SIZE_MAX);
        return true;
}

void buffer_release(struct buffer *buffer)
{
        if (buffer->secret && buffer->data)
                explicit_bzero(buffer->data, buffer->capacity);
        free(buffer->data);
        *buffer = (struct buffer){ .secret = buffer->secret };
}

void buffer_clear(struct buffer *buffer)
{
        buffer->length = 0;
        buffer->full = false;
        if (buffer->data)
                buffer->data[0] = '\0';
}

static void resize(struct buffer *buffer, size_t capacity)
{
        char *old = buffer->data;

        if (!buffer->secret) {
                buffer->data = memory_resize(old, capacity, 1);
                return;
        }
        buffer->data = memory_allocate(capacity);
        if (buffer->length)
                memcpy(buffer->data, old, buffer->length);
        if (old)
                explicit_bzero(old, buffer->capacity);
        free(old);
}

char *buffer_reserve(struct buffer *buffer, size_t length)
{
        size_t needed;

        if (__builtin_add_overflow(buffer->length, length, &needed) || needed == SIZE_MAX ||
            (buffer->limit && needed > buffer->limit)) {
                buffer->full = true;
                return NULL;
        }
        if (needed + 1 > buffer->capacity) {
                size_t capacity = buffer->capacity < 32 ? 64 : buffer->capacity;

                while (capacity < needed + 1) {
                        if (capacity > SIZE_MAX / 2)
                                memory_exhausted();
                        capacity += capacity < 1024 * 1024 ? capacity : capacity / 2;
                }
                resize(buffer, capacity);
                buffer->capacity = capacity;
                buffer->data[buffer->length] = '\0';
        }
        return buffer->data + buffer->length;
}

void buffer_add(struct buffer *buffer, const void *data, size_t length)
{
        char *room = buffer_reserve(buffer, length);

        if (!room)
                return;
        if (length)
                memcpy(room, data, length);
        buffer->length += length;
        buffer->data[buffer->length] = '\0';
}

void buffer_add_view(struct buffer *buffer, struct view text)
{
        buffer_add(buffer, text.data, text.length);
}

void buffer_add_string(struct buffer *buffer, const char *string)
{
        buffer_add(buffer, string, strlen(string));
}

void buffer_add_char(struct buffer *buffer, char c)
{
        buffer_add(buffer, &c, 1);
}

void buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments)
{
        va_list again;
        char *room;
        int length;

        va_copy(again, arguments);
        length = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (length < 0)
                memory_exhausted();
        room = buffer_reserve(buffer, (size_t)length);
        if (!room)
                return;
        vsnprintf(room, (size_t)length + 1, format, arguments);
        buffer->length += (size_t)length;
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        buffer_vprintf(buffer, format, arguments);
        va_end(arguments);
}

struct view buffer_view(const struct buffer *buffer)
{
        return (struct view){ buffer->data, buffer->length };
}

const char *buffer_string(const struct buffer *buffer)
{
        return buffer->data ? buffer->data : "";
}

char *buffer_steal(struct buffer *buffer)
{
        char *data = buffer->data ? buffer->data : memory_string("");

        *buffer = BUFFER_NULL;
        return data;
}

int view_to_uint64(struct view text, uint64_t *ret_value)
{
        uint64_t value = 0;

        if (!text.length)
                return -1;
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];

                if (c < '0' || c > '9' || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
                        return -1;
        }
        *ret_value = value;
        return 0;
}

int view_to_int64(struct view text, int64_t *ret_value)
{
        bool negative = text.length && text.data[0] == '-';
        uint64_t value;

        if (view_to_uint64(negative ? view_slice(text, 1, SIZE_MAX) : text, &value) < 0 || value > (uint64_t)INT64_MAX + negative)
                return -1;
        *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
        return 0;
}
