/*
 * str: text with a length.
 *
 * A view borrows bytes (not terminated, may hold NUL); a buffer owns bytes that grow, up to a limit if it was given one. A buffer's data is
 * always terminated, so buffer.data is also a C string.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view {
        const char *data;
        size_t length;
};

#define VIEW_NULL     ((struct view){ NULL, 0 })
#define VIEW(literal) ((struct view){ (literal), sizeof(literal) - 1 })
/* For printf: "%.*s", VIEW_ARGS(v). */
#define VIEW_ARGS(view) (int)(view).length, (view).data

/* The view of a C string; NULL gives the empty view. */
struct view view_of(const char *string);
bool view_equal(struct view a, struct view b);
bool view_is(struct view a, const char *string);
int view_compare(struct view a, struct view b); /* bytewise, as memcmp, shorter first */
bool view_starts(struct view text, struct view prefix);
bool view_ends(struct view text, struct view suffix);
/* Index of the first `c` / first `needle` at or after `from`; -1 if there is none. */
ptrdiff_t view_find(struct view text, char c, size_t from);
ptrdiff_t view_search(struct view text, struct view needle, size_t from);
/* From `from` (clamped) for at most `length` bytes. */
struct view view_slice(struct view text, size_t from, size_t length);
/* Without blanks (space, tab, CR, LF) at both ends. */
struct view view_trim(struct view text);
/* Cuts the next piece up to `separator` off `*rest`; false when nothing is left. "a,,b" gives "a", "", "b"; "" gives one empty piece; VIEW_NULL none. */
bool view_split(struct view *rest, char separator, struct view *ret_piece);

struct buffer {
        char *data; /* NULL until something was written, else terminated */
        size_t length;
        size_t capacity;
        size_t limit; /* bytes; 0: none. What does not fit is dropped and `full` set. */
        bool full;
        bool secret; /* what it held is overwritten wherever it grows out of and when it goes */
};

#define BUFFER_NULL        ((struct buffer){ .data = NULL })
#define BUFFER_LIMIT(size) ((struct buffer){ .limit = (size) })
/* For what nobody may find in memory afterwards. */
#define BUFFER_SECRET ((struct buffer){ .secret = true })

void buffer_release(struct buffer *buffer); /* for cleanup(buffer_release) */
void buffer_clear(struct buffer *buffer);   /* empty, memory kept */
void buffer_add(struct buffer *buffer, const void *data, size_t length);
void buffer_add_view(struct buffer *buffer, struct view text);
void buffer_add_string(struct buffer *buffer, const char *string);
void buffer_add_char(struct buffer *buffer, char c);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));
void buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments) __attribute__((__format__(__printf__, 2, 0)));
/* Room for `length` more bytes; returns where to write them (then add to buffer->length). NULL if the limit forbids it. */
char *buffer_reserve(struct buffer *buffer, size_t length);
struct view buffer_view(const struct buffer *buffer);
/* The text as a C string; "" if nothing was written. */
const char *buffer_string(const struct buffer *buffer);
/* Hands the terminated memory to the caller (never NULL) and leaves the buffer empty. */
char *buffer_steal(struct buffer *buffer);

/* Appends `text` as the inside of a JSON string (no quotes): `"`, `\` and controls escaped, invalid UTF-8 replaced by U+FFFD. */
void buffer_add_json(struct buffer *buffer, struct view text);

/* Length of the UTF-8 sequence that starts at text.data[at] (1..4), 0 if it is not valid there. The code point goes to *ret_rune if not NULL. */
size_t utf8_next(struct view text, size_t at, uint32_t *ret_rune);
bool utf8_valid(struct view text);
/* The beginning of `text`: at most `limit` bytes, cut between characters. */
struct view utf8_cut(struct view text, size_t limit);
/* Appends one code point; what is none is written as U+FFFD. */
void buffer_add_utf8(struct buffer *buffer, uint32_t rune);

/* Standard base64 with padding. Decoding skips CR and LF, -1 on anything else that is not base64. */
void buffer_add_base64(struct buffer *buffer, struct view bytes);
int buffer_add_base64_decoded(struct buffer *buffer, struct view text);

/* A decimal integer that takes up the whole view, with an optional '-' for the signed one; -1 if it is none or does not fit. */
int view_to_uint64(struct view text, uint64_t *ret_value);
int view_to_int64(struct view text, int64_t *ret_value);
