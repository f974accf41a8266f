/*
 * digest: names for bytes, as "<algorithm>:<hex>".
 *
 * The same five algorithms everywhere: what --artifact-digest-algo accepts, what status.artifact.digest shows, what a consumer verifies.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum digest_algorithm {
        DIGEST_SHA256, /* the default */
        DIGEST_SHA1,
        DIGEST_SHA384,
        DIGEST_SHA512,
        DIGEST_BLAKE3,
};

#define DIGEST_SIZE_LIMIT 64                                          /* bytes of the longest hash */
#define DIGEST_TEXT       (sizeof("sha512:") + 2 * DIGEST_SIZE_LIMIT) /* with the terminator */

/* Bytes of its hash. */
size_t digest_size(enum digest_algorithm algorithm);
/* -1, ERROR_UNSUPPORTED: "unsupported digest algorithm: md5". */
int digest_algorithm_of(struct view name, enum digest_algorithm *ret_algorithm, struct error *err);

/* A running hash; belongs to one thread. */
struct digest;
struct digest *digest_begin(enum digest_algorithm algorithm);
void digest_add(struct digest *digest, struct view bytes);
/* "<algorithm>:<hex>" into text, which is returned. Ends the hash: only digest_free is left. */
char *digest_end(struct digest *digest, char text[DIGEST_TEXT]);
/* The raw bytes instead of text; returns their number. */
size_t digest_end_bytes(struct digest *digest, uint8_t bytes[DIGEST_SIZE_LIMIT]);
void digest_free(struct digest **digest); /* for cleanup(digest_free); NULL is fine */

/* Of bytes in memory, in one call. */
char *digest_of(enum digest_algorithm algorithm, struct view bytes, char text[DIGEST_TEXT]);
size_t digest_bytes_of(enum digest_algorithm algorithm, struct view bytes, uint8_t hash[DIGEST_SIZE_LIMIT]);
/* The text of a hash that is there. */
char *digest_print(enum digest_algorithm algorithm, const uint8_t *hash, char text[DIGEST_TEXT]);
/* Of a file from its current offset to its end. `ctx` may be NULL. -1: read errors, cancellation. */
struct context;
int digest_of_file(struct context *ctx, enum digest_algorithm algorithm, int fd, char text[DIGEST_TEXT], uint64_t *ret_size,
                   struct error *err);

/*
 * Takes "<algorithm>:<hex>" apart; text without ':' is sha256. *ret_hex is a slice of text, lower-case and of the right length.
 * -1, ERROR_INVALID: "invalid checksum digest format", "unsupported digest algorithm", "invalid checksum digest length".
 */
int digest_parse(struct view text, enum digest_algorithm *ret_algorithm, struct view *ret_hex, struct error *err);
/* True if both are well formed and name the same hash; "sha256:x" equals "x". */
bool digest_equal(struct view a, struct view b);
