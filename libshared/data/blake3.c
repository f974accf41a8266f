#include "data/blake3.h"

#include <string.h>

#define CHUNK_LENGTH 1024

enum {
        CHUNK_START = 1,
        CHUNK_END = 2,
        PARENT = 4,
        ROOT = 8,
};

static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};

/* The word that each of the 16 positions takes in each of the 7 rounds: the same permutation applied again and again. */
static const uint8_t schedule[7][16] = {
        { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8 },
        { 3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1 }, { 10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6 },
        { 12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4 }, { 9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7 },
        { 11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13 },
};

static uint32_t rotate(uint32_t word, int bits)
{
        return (word >> bits) | (word << (32 - bits));
}

static void mix(uint32_t *state, int a, int b, int c, int d, uint32_t x, uint32_t y)
{
        state[a] = state[a] + state[b] + x;
        state[d] = rotate(state[d] ^ state[a], 16);
        state[c] = state[c] + state[d];
        state[b] = rotate(state[b] ^ state[c], 12);
        state[a] = state[a] + state[b] + y;
        state[d] = rotate(state[d] ^ state[a], 8);
        state[c] = state[c] + state[d];
        state[b] = rotate(state[b] ^ state[c], 7);
}

static void compress(const uint32_t value[8], const uint32_t words[16], uint64_t counter, uint32_t length, uint32_t flags,
                     uint32_t result[8])
{
        uint32_t state[16];

        memcpy(state, value, 32);
        memcpy(state + 8, initial, 16);
        state[12] = (uint32_t)counter;
        state[13] = (uint32_t)(counter >> 32);
        state[14] = length;
        state[15] = flags;
        for (int round = 0; round < 7; round++) {
                const uint8_t *at = schedule[round];

                mix(state, 0, 4, 8, 12, words[at[0]], words[at[1]]);
                mix(state, 1, 5, 9, 13, words[at[2]], words[at[3]]);
                mix(state, 2, 6, 10, 14, words[at[4]], words[at[5]]);
                mix(state, 3, 7, 11, 15, words[at[6]], words[at[7]]);
                mix(state, 0, 5, 10, 15, words[at[8]], words[at[9]]);
                mix(state, 1, 6, 11, 12, words[at[10]], words[at[11]]);
                mix(state, 2, 7, 8, 13, words[at[12]], words[at[13]]);
                mix(state, 3, 4, 9, 14, words[at[14]], words[at[15]]);
        }
        for (int i = 0; i < 8; i++)
                result[i] = state[i] ^ state[i + 8];
}

/* x86-64 and arm64 are little-endian, as the hash is. */
static void words_of(const uint8_t block[64], uint32_t words[16])
{
        memcpy(words, block, 64);
}

static void chunk_begin(struct blake3_chunk *chunk, uint64_t counter)
{
        *chunk = (struct blake3_chunk){ .counter = counter };
        memcpy(chunk->value, initial, sizeof(initial));
}

static size_t chunk_length(const struct blake3_chunk *chunk)
{
        return chunk->blocks * 64 + chunk->block_length;
}

static void chunk_add(struct blake3_chunk *chunk, const uint8_t *data, size_t length)
{
        uint32_t words[16];

        while (length) {
                size_t take = 64 - chunk->block_length;

                /* A full block waits until it is known not to be the last. */
                if (take == 0) {
                        words_of(chunk->block, words);
                        compress(chunk->value, words, chunk->counter, 64, chunk->blocks == 0 ? CHUNK_START : 0, chunk->value);
                        chunk->blocks++;
                        chunk->block_length = 0;
                        take = 64;
                }
                if (take > length)
                        take = length;
                memcpy(chunk->block + chunk->block_length, data, take);
                chunk->block_length += take;
                data += take;
                length -= take;
        }
}

static void chunk_end(const struct blake3_chunk *chunk, uint32_t flags, uint32_t result[8])
{
        uint8_t block[64] = { 0 };
        uint32_t words[16];

        memcpy(block, chunk->block, chunk->block_length);
        words_of(block, words);
        flags |= CHUNK_END | (chunk->blocks == 0 ? (uint32_t)CHUNK_START : 0);
        compress(chunk->value, words, chunk->counter, (uint32_t)chunk->block_length, flags, result);
}

static void parent(const uint32_t left[8], const uint32_t right[8], uint32_t flags, uint32_t result[8])
{
        uint32_t words[16];

        memcpy(words, left, 32);
        memcpy(words + 8, right, 32);
        compress(initial, words, 0, 64, PARENT | flags, result);
}

void blake3_begin(struct blake3 *hash)
{
        chunk_begin(&hash->chunk, 0);
        hash->depth = 0;
}

/* A chunk is complete: subtrees of equal size are joined, one for each trailing zero of the number of chunks. */
static void stack_push(struct blake3 *hash, uint32_t value[8], uint64_t chunks)
{
        for (; (chunks & 1) == 0; chunks >>= 1)
                parent(hash->stack[--hash->depth], value, 0, value);
        memcpy(hash->stack[hash->depth++], value, 32);
}

void blake3_add(struct blake3 *hash, struct view bytes)
{
        const uint8_t *data = (const uint8_t *)bytes.data;
        size_t length = bytes.length;

        while (length) {
                size_t take;

                if (chunk_length(&hash->chunk) == CHUNK_LENGTH) {
                        uint32_t value[8];
                        uint64_t chunks = hash->chunk.counter + 1;

                        chunk_end(&hash->chunk, 0, value);
                        stack_push(hash, value, chunks);
                        chunk_begin(&hash->chunk, chunks);
                }
                take = CHUNK_LENGTH - chunk_length(&hash->chunk);
                if (take > length)
                        take = length;
                chunk_add(&hash->chunk, data, take);
                data += take;
                length -= take;
        }
}

void blake3_end(struct blake3 *hash, uint8_t bytes[BLAKE3_SIZE])
{
        uint32_t value[8];

        chunk_end(&hash->chunk, hash->depth == 0 ? ROOT : 0, value);
        while (hash->depth > 0) {
                hash->depth--;
                parent(hash->stack[hash->depth], value, hash->depth == 0 ? ROOT : 0, value);
        }
        memcpy(bytes, value, BLAKE3_SIZE);
}
