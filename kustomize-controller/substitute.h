/*
 * substitute: bash-like variable substitution in the text of a built resource (spec.postBuild, Flux's envsubst).
 *
 *   ${v}                        the value
 *   ${#v}                       its length in bytes
 *   ${v^} ${v^^} ${v,} ${v,,}   upper or lower case, of the first character or of all
 *   ${v:position[:length]}      bytes of it
 *   ${v:-d} ${v:=d} ${v=d} ${v:?d} ${v:+d}   d if the value is empty, else the value
 *   ${v/p/r} ${v//p/r} ${v/#p/r} ${v/%p/r}   p replaced by r: the first, all, as prefix, as suffix
 *   ${v#p} ${v##p} ${v%p} ${v%%p}            without the shortest or longest prefix or suffix that matches the glob p
 *
 * `$$` is a dollar. `$v`, `$(v)` and backslashes mean nothing. Arguments may hold substitutions; a `}` always ends an argument.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct variable {
        struct view name;
        struct view value;
};

struct variables {
        const struct variable *items; /* sorted by name (view_compare), names are unique */
        size_t count;
        bool strict; /* a variable that is not there is an error, except with a default operator */
};

/* Loads what the system knows about letters, which a sandboxed child cannot: once, in the process that children are forked from. */
void substitute_prepare(void);

/* Names are letters, digits and underscores, not beginning with a digit. */
bool substitute_name_valid(struct view name);

/*
 * Appends `text` with everything substituted. On failure what was appended is undefined; the message is Flux's: "missing closing brace",
 * "bad substitution", "variable not set (strict mode): "v"", ...
 */
int substitute(const struct variables *variables, struct view text, struct buffer *output, struct error *error);
