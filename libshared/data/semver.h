/*
 * semver: versions and ranges of them, as Flux and Helm read them (the rules of Masterminds/semver 3).
 *
 * A version is read loosely: "v?N[.N[.N]][-pre][+meta]", leading zeros allowed in N. Its parts borrow from the text that was parsed. Order
 * is that of Semantic Versioning 2.0; metadata has no part in it.
 *
 * A range is groups joined by "||"; a group is terms joined by blanks or commas, all of which must hold. A term is an operator (= != > < >= => <=
 * =< ~ ~> ^ or none) and a version that may lack parts or have x, X, * in their place; "a - b" is ">=a <=b". A pre-release is only
 * ever in a group that names one.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct semver {
        uint64_t major, minor, patch;
        struct view pre;      /* without '-' */
        struct view metadata; /* without '+' */
        struct view original;
};

/* ERROR_INVALID "invalid semantic version", "version segment starts with 0", or that a number is out of range. */
int semver_parse(struct view text, struct semver *ret_version, struct error *error);
/* As sources do: the text must have at least two dots. */
int semver_parse_tag(struct view text, struct semver *ret_version, struct error *error);
/* <0, 0, >0 */
int semver_compare(const struct semver *a, const struct semver *b);

struct semver_range;

/* ERROR_INVALID "improper constraint: ..." or "constraint parser error". The range keeps its own copy of the text. */
int semver_range_parse(struct view text, struct semver_range **ret_range, struct error *error);
void semver_range_free(struct semver_range **range); /* for cleanup(semver_range_free) */
bool semver_range_contains(const struct semver_range *range, const struct semver *version);
