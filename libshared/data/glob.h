/*
 * glob: shell patterns, as Go's path.Match reads them.
 *
 * `*` any run of characters, `?` one character, `[a-z]` and `[^a-z]` one of a set, `\c` the character c. A slash is a character like others: who
 * matches paths takes them apart first. A byte that is no UTF-8 is one character, and by itself matches that byte alone.
 */
#pragma once

#include "base/str.h"

/* 1: the pattern matches the whole name. 0: it does not. -1: a part of the pattern that was reached is no glob. */
int glob_match(struct view pattern, struct view name);
