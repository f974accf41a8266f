/*
 * pack: a list of byte strings in one, for what goes into a job and comes out of it.
 *
 * Each string is its length (8 bytes, little endian) and its bytes. The reader trusts nothing: it was written by a child that read what
 * strangers wrote.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

void pack_view(struct buffer *buffer, struct view bytes);
void pack_string(struct buffer *buffer, const char *string); /* NULL as "" */
void pack_number(struct buffer *buffer, uint64_t number);

/* Take the next one off `*rest`; -1 if it is not there whole. Views point into the packed bytes. */
int unpack_view(struct view *rest, struct view *ret_bytes);
int unpack_number(struct view *rest, uint64_t *ret_number);
