/*
 * path: JSON pointers (RFC 6901) on JSON trees.
 *
 * A pointer is the text itself: "" is the whole document, "/spec/containers/0/image" a place in it, "~1" a '/' and "~0" a '~' inside a part.
 * An index is decimal without leading zeros; "-" is the place after the last item, where only path_add can put something.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

/* 0, or -1 with ERROR_INVALID if the text is no pointer. */
int path_check(struct view pointer, struct error *error);
/* The number of parts. */
size_t path_parts(struct view pointer);
/* Appends "/" and the part, escaped. */
void path_append(struct buffer *pointer, struct view part);

/* What is there; NULL if nothing is, or if the text is no pointer. Borrowed from the tree. */
struct json *path_get(const struct json *document, struct view pointer);

/*
 * Put `value` at the place; it is taken over, also on failure. The parent must be there: ERROR_NOT_FOUND. What would be deeper than
 * JSON_DEPTH_LIMIT is ERROR_TOO_LARGE.
 *
 *   path_add      a new member, a member in place of the old one, or an item inserted in front of the index ("-": appended)
 *   path_replace  in place of what is there, else ERROR_NOT_FOUND
 *   path_set      as path_replace, but missing members and objects on the way are made
 */
int path_add(struct json **document, struct view pointer, struct json *value, struct error *error);
int path_replace(struct json **document, struct view pointer, struct json *value, struct error *error);
int path_set(struct json **document, struct view pointer, struct json *value, struct error *error);
/* Takes out what is there, for the caller to own; ERROR_NOT_FOUND if nothing is. The whole document cannot be taken out. */
int path_take(struct json **document, struct view pointer, struct json **ret_json, struct error *error);
/* Removes what is there; true if something was. */
bool path_remove(struct json *document, struct view pointer);
