/*
 * ignore: which files of a source stay out of its artifact (.sourceignore, spec.ignore).
 *
 * The patterns look like those of .gitignore and are matched as Flux does it, which is not always as Git does: a pattern matches a path if it matches
 * a prefix of it, `**` does not backtrack, and what is below an excluded directory can be included again. The last pattern that matches decides.
 *
 * Fill a set from the lowest priority to the highest, then ask; a filled set is read-only and may be shared by threads.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

struct ignore;

struct ignore *ignore_new(void);
void ignore_free(struct ignore **ignore); /* for cleanup(ignore_free) */

/* The lines of one file. `scope` is the directory they count for, relative to the root ("" is the root). */
void ignore_add(struct ignore *ignore, struct view text, const char *scope);
/* Number of patterns so far. */
size_t ignore_count(const struct ignore *ignore);
/* .git/, .gitignore, .gitmodules, .gitattributes. */
void ignore_add_vcs(struct ignore *ignore);
/* Pictures, archives, CI files and the like: what is left out when nobody said anything. */
void ignore_add_defaults(struct ignore *ignore);

/* True if `path` ("a/b", relative to the root) stays out. `.git` always does. */
bool ignore_match(const struct ignore *ignore, const char *path, bool directory);
