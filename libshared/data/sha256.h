/*
 * sha256: one hash of a few bytes, without a library.
 *
 * For programs and jobs that must be done in a millisecond or two: loading OpenSSL, or its beginnings in a new child, would take half of that. Everything else
 * uses data/digest.h, which is faster on what is large.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define SHA256_SIZE 32

void sha256_of(struct view bytes, uint8_t ret_hash[SHA256_SIZE]);
