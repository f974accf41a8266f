/*
 * regex: RE2's language on PCRE2, for the patterns that kustomization files hold.
 *
 * What RE2 does not have (look-around, back-references, atomic groups, recursion) is refused; matching is bounded.
 */
#pragma once

#include "engine/kustomize/build.h"

struct regex;

/* `anchored`: the whole text must match. Errors: "error parsing regexp: ...". */
int regex_compile(struct build *build, struct view pattern, bool anchored, struct regex **ret_regex);
void regex_free(struct regex **regex); /* for cleanup(regex_free) */
/* 1 it matches, 0 it does not, -1 the match limit. */
int regex_match(struct build *build, const struct regex *regex, struct view text);
