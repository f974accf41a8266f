/*
 * sha256: one hash of a few bytes, without a library.
 *
 * For programs that must be up in a millisecond, which loading OpenSSL alone takes longer than. Everything else uses data/digest.h, which is faster
 * on what is large.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define SHA256_SIZE 32

void sha256_of(struct view bytes, uint8_t ret_hash[SHA256_SIZE]);
