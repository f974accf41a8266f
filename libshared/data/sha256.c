#include "data/sha256.h"

#include <string.h>

#define BLOCK 64

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
        0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
        0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
        0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
        0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
        0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, int bits)
{
        return (word >> bits) | (word << (32 - bits));
}

static void expand(const uint8_t block[BLOCK], uint32_t words[64])
{
        for (size_t i = 0; i < 16; i++)
                words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                           block[4 * i + 3];
        for (size_t i = 16; i < 64; i++) {
                uint32_t far = words[i - 15], near = words[i - 2];

                words[i] = words[i - 16] + words[i - 7] + (rotate(far, 7) ^ rotate(far, 18) ^ (far >> 3)) +
                           (rotate(near, 17) ^ rotate(near, 19) ^ (near >> 10));
        }
}

static void compress(uint32_t state[8], const uint8_t block[BLOCK])
{
        uint32_t words[64], s[8];

        expand(block, words);
        memcpy(s, state, sizeof(s));
        for (size_t i = 0; i < 64; i++) {
                uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
                uint32_t one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choice + constants[i] + words[i];
                uint32_t two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;

                memmove(s + 1, s, 7 * sizeof(*s));
                s[4] += one;
                s[0] = one + two;
        }
        for (size_t i = 0; i < 8; i++)
                state[i] += s[i];
}

void sha256_of(struct view bytes, uint8_t ret_hash[SHA256_SIZE])
{
        uint32_t state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
        size_t rest = bytes.length % BLOCK, whole = bytes.length - rest, end = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
        uint64_t bits = (uint64_t)bytes.length * 8;
        uint8_t tail[2 * BLOCK] = { 0 };

        for (size_t at = 0; at < whole; at += BLOCK)
                compress(state, (const uint8_t *)bytes.data + at);
        if (rest)
                memcpy(tail, bytes.data + whole, rest);
        tail[rest] = 0x80;
        for (size_t i = 0; i < 8; i++)
                tail[end - 1 - i] = (uint8_t)(bits >> (8 * i));
        for (size_t at = 0; at < end; at += BLOCK)
                compress(state, tail + at);
        for (size_t i = 0; i < SHA256_SIZE; i++)
                ret_hash[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
