/*
 * scan: find members in JSON text without building a tree.
 *
 * For threads that must not parse (the io thread looks at every event of every watch) and for the few members that a predicate needs. A
 * value is the view of its own text inside the object's; what is not there is the empty view. Text that is no JSON finds nothing
 * and is never read past its end; it is not validated. Keys are compared as they are written, so a key that needs escapes is not
 * found.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The text of the value behind `key` in the text of an object. */
struct view scan_get(struct view object, const char *key);
/* scan_path(text, "status", "artifact", "revision", NULL) */
struct view scan_path(struct view object, ...) __attribute__((__sentinel__));
#define SCAN_PATH(object, ...) scan_path((object), __VA_ARGS__, NULL)

/* The inside of a string's text, escapes as they stand; empty if it is no string. Names, labels, revisions have no escapes. */
struct view scan_string(struct view value);
int64_t scan_integer(struct view value, int64_t fallback);
bool scan_is_true(struct view value);

/*
 * Walks the members of an object or the items of an array (whose key is empty):
 *
 *   struct scan scan = scan_begin(text);
 *   while (scan_next(&scan)) ... scan.key, scan.value, scan.start and scan.end of the whole member
 */
struct scan {
        struct view text;
        size_t at;
        size_t start, end; /* of the member in text, without the comma */
        struct view key;   /* inside of the quotes */
        struct view value;
        char close; /* private from here on */
        bool begun, complete;
};

struct scan scan_begin(struct view value);
/* False at the end, and where the text is no JSON. */
bool scan_next(struct scan *scan);
/* After scan_next said false: the container was closed as it must be, and `at` is behind it. */
bool scan_complete(const struct scan *scan);

/* The end of the value that starts at `at` (blanks before it are skipped); 0 if there is no complete one. */
size_t scan_value_end(struct view text, size_t at);
