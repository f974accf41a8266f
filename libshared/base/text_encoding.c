/*
 * The encodings of str.h: UTF-8, JSON strings, base64.
 */
#include "base/str.h"

#include <string.h>

size_t utf8_next(struct view text, size_t at, uint32_t *ret_rune)
{
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        const unsigned char *p = (const unsigned char *)text.data + at;
        size_t left = at < text.length ? text.length - at : 0;
        size_t length;
        uint32_t rune;

        if (!left)
                return 0;
        if (p[0] < 0x80) {
                length = 1;
                rune = p[0];
        } else if ((p[0] & 0xe0) == 0xc0) {
                length = 2;
                rune = p[0] & 0x1f;
        } else if ((p[0] & 0xf0) == 0xe0) {
                length = 3;
                rune = p[0] & 0x0f;
        } else if ((p[0] & 0xf8) == 0xf0) {
                length = 4;
                rune = p[0] & 0x07;
        } else {
                return 0;
        }
        if (left < length)
                return 0;
        for (size_t i = 1; i < length; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                rune = rune << 6 | (p[i] & 0x3f);
        }
        if (rune < smallest[length] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
                return 0;
        if (ret_rune)
                *ret_rune = rune;
        return length;
}

bool utf8_valid(struct view text)
{
        size_t at = 0;

        while (at < text.length) {
                size_t length = utf8_next(text, at, NULL);

                if (!length)
                        return false;
                at += length;
        }
        return true;
}

/* At most three bytes are looked back at: more belong to no character. */
struct view utf8_cut(struct view text, size_t limit)
{
        size_t end = limit;

        if (text.length <= limit)
                return text;
        while (end > 0 && limit - end < 3 && ((unsigned char)text.data[end] & 0xc0) == 0x80)
                end--;
        return view_slice(text, 0, end);
}

void buffer_add_utf8(struct buffer *buffer, uint32_t rune)
{
        char bytes[4];

        if (rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
                rune = 0xfffd;
        if (rune < 0x80) {
                buffer_add_char(buffer, (char)rune);
        } else if (rune < 0x800) {
                bytes[0] = (char)(0xc0 | rune >> 6);
                bytes[1] = (char)(0x80 | (rune & 0x3f));
                buffer_add(buffer, bytes, 2);
        } else if (rune < 0x10000) {
                bytes[0] = (char)(0xe0 | rune >> 12);
                bytes[1] = (char)(0x80 | (rune >> 6 & 0x3f));
                bytes[2] = (char)(0x80 | (rune & 0x3f));
                buffer_add(buffer, bytes, 3);
        } else {
                bytes[0] = (char)(0xf0 | rune >> 18);
                bytes[1] = (char)(0x80 | (rune >> 12 & 0x3f));
                bytes[2] = (char)(0x80 | (rune >> 6 & 0x3f));
                bytes[3] = (char)(0x80 | (rune & 0x3f));
                buffer_add(buffer, bytes, 4);
        }
}

static void add_escape(struct buffer *buffer, unsigned char c)
{
        switch (c) {
        case '"':
                buffer_add(buffer, "\\\"", 2);
                return;
        case '\\':
                buffer_add(buffer, "\\\\", 2);
                return;
        case '\n':
                buffer_add(buffer, "\\n", 2);
                return;
        case '\r':
                buffer_add(buffer, "\\r", 2);
                return;
        case '\t':
                buffer_add(buffer, "\\t", 2);
                return;
        default:
                buffer_printf(buffer, "\\u%04x", c);
        }
}

void buffer_add_json(struct buffer *buffer, struct view text)
{
        size_t start = 0, at = 0;

        while (at < text.length) {
                unsigned char c = (unsigned char)text.data[at];
                size_t length;

                if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
                        at++;
                        continue;
                }
                if (c >= 0x80) {
                        length = utf8_next(text, at, NULL);
                        if (length) {
                                at += length;
                                continue;
                        }
                }
                buffer_add(buffer, text.data + start, at - start);
                if (c >= 0x80)
                        buffer_add(buffer, "\xef\xbf\xbd", 3);
                else
                        add_escape(buffer, c);
                start = ++at;
        }
        buffer_add(buffer, text.data + start, text.length - start);
}

void buffer_add_base64(struct buffer *buffer, struct view bytes)
{
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const unsigned char *p = (const unsigned char *)bytes.data;

        for (size_t i = 0; i < bytes.length; i += 3) {
                size_t left = bytes.length - i;
                uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
                char text[4] = { digits[group >> 18], digits[group >> 12 & 63], left > 1 ? digits[group >> 6 & 63] : '=',
                                 left > 2 ? digits[group & 63] : '=' };

                buffer_add(buffer, text, 4);
        }
}

/* From '+' to 'z'. A table: a Secret or a bundle of certificates has hundreds of thousands of these. */
static const signed char base64_digits[] = {
        62, -1, -1, -1, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1, -1, -1, 0,  1,  2,  3,  4,
        5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1, -1,
        26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
};

static int base64_digit(char c)
{
        return c >= '+' && c <= 'z' ? base64_digits[c - '+'] : -1;
}

int buffer_add_base64_decoded(struct buffer *buffer, struct view text)
{
        char bytes[768]; /* collected, so that the buffer is asked now and then */
        uint32_t group = 0;
        unsigned digits = 0, padding = 0;
        size_t count = 0;

        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                int digit;

                if (c == '\n' || c == '\r')
                        continue;
                if (c == '=') {
                        if (++padding + digits > 4 || digits < 2)
                                return -1;
                        continue;
                }
                digit = base64_digit(c);
                if (digit < 0 || padding)
                        return -1;
                group = group << 6 | (uint32_t)digit;
                if (++digits == 4) {
                        bytes[count++] = (char)(group >> 16);
                        bytes[count++] = (char)(group >> 8);
                        bytes[count++] = (char)group;
                        if (count == sizeof(bytes)) {
                                buffer_add(buffer, bytes, count);
                                count = 0;
                        }
                        digits = 0;
                        group = 0;
                }
        }
        if ((digits || padding) && digits + padding != 4)
                return -1;
        if (count > 0)
                buffer_add(buffer, bytes, count);
        if (digits == 2) {
                buffer_add_char(buffer, (char)(group >> 4));
        } else if (digits == 3) {
                buffer_add_char(buffer, (char)(group >> 10));
                buffer_add_char(buffer, (char)(group >> 2));
        }
        return 0;
}
