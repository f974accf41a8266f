/*
 * blake3: the BLAKE3 hash with its default output of 32 bytes (no key, no derivation), which no library of the oldest supported system has.
 */
#pragma once

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

#define BLAKE3_SIZE 32

struct blake3_chunk {
        uint32_t value[8];
        uint64_t counter;
        uint8_t block[64];
        size_t block_length;
        unsigned blocks; /* compressed so far */
};

struct blake3 {
        struct blake3_chunk chunk;
        uint32_t stack[54][8]; /* chaining values of complete subtrees, the largest first */
        unsigned depth;
};

void blake3_begin(struct blake3 *hash);
void blake3_add(struct blake3 *hash, struct view bytes);
void blake3_end(struct blake3 *hash, uint8_t bytes[BLAKE3_SIZE]);
