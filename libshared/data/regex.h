/*
 * regex: regular expressions as Go's regexp (RE2) reads them, matched by PCRE2.
 *
 * What RE2 does not have is refused by name: look-around, back-references, atomic groups, possessive quantifiers, recursion, conditionals. What
 * both have but read differently is rewritten. The text is UTF-8; a match never takes longer than a fixed number of steps, because
 * PCRE2, unlike RE2, can be made to run for ever.
 *
 * A compiled expression does not change and may be used by many threads at once.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct regex;

/* Longer patterns are ERROR_TOO_LARGE. */
#define REGEX_PATTERN_LIMIT ((size_t)64 << 10)

enum regex_flags {
        REGEX_ANCHORED = 1, /* the whole text must match, as ^(?:pattern)$ */
};

/* ERROR_INVALID "error parsing regexp: ..." in Go's words. */
int regex_compile(struct view pattern, unsigned flags, struct regex **ret_regex, struct error *error);
void regex_free(struct regex **regex); /* for cleanup(regex_free) */

#define REGEX_NO_MATCH 1

/* 0: matches somewhere (anchored: as a whole); REGEX_NO_MATCH; -1 with ERROR_TOO_LARGE if it takes too many steps. */
int regex_match(const struct regex *regex, struct view text, struct error *error);

/*
 * As regex_match, from `from` on, and tells where: group 0 is the match, a group without part in it has no data. Groups that the pattern does
 * not have are empty. The views borrow from `text`.
 */
int regex_find(const struct regex *regex, struct view text, size_t from, struct view *ret_groups, size_t count,
               struct error *error);

/* The index of the group of that name; -1 if there is none. */
int regex_group_index(const struct regex *regex, const char *name);
