/*
 * hash: FNV-1a of short texts, for tables and for telling texts apart. Who could gain from a collision gets a digest (data/digest.h).
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

/* Where a hash begins. */
#define HASH_EMPTY UINT64_C(14695981039346656037)

/* Of one more text. Where each ends counts: "ab" and "c" give another hash than "a" and "bc". The low bits are as good as the high ones. */
static inline uint64_t hash_add(uint64_t hash, struct view text)
{
        const uint64_t prime = UINT64_C(1099511628211);

        for (size_t i = 0; i < text.length; i++)
                hash = (hash ^ (unsigned char)text.data[i]) * prime;
        return (hash ^ 0xff) * prime; /* a byte that no UTF-8 text has */
}
