/*
 * glob: the patterns of ${v#pattern} and its kin.
 *
 * `*` any run of characters, `?` one character, `[a-z]` and `[^a-z]` one of a set, `\c` the character c. A slash is a character like others.
 */
#pragma once

#include "base/str.h"

/* 1: the pattern matches the whole name. 0: it does not. -1: a part of the pattern that was reached is no glob. */
int glob_match(struct view pattern, struct view name);
