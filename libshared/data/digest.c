#include "data/digest.h"

#include "base/context.h"
#include "base/memory.h"
#include "data/blake3.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536

struct digest {
        enum digest_algorithm algorithm;
        EVP_MD_CTX *openssl; /* NULL: blake3 */
        struct blake3 blake3;
};

static const struct {
        const char *name;
        size_t size;
        const EVP_MD *(*openssl)(void);
} algorithms[] = {
        [DIGEST_SHA256] = { "sha256", 32, EVP_sha256 },    [DIGEST_SHA1] = { "sha1", 20, EVP_sha1 },
        [DIGEST_SHA384] = { "sha384", 48, EVP_sha384 },    [DIGEST_SHA512] = { "sha512", 64, EVP_sha512 },
        [DIGEST_BLAKE3] = { "blake3", BLAKE3_SIZE, NULL },
};

#define ALGORITHM_COUNT (sizeof(algorithms) / sizeof(algorithms[0]))

size_t digest_size(enum digest_algorithm algorithm)
{
        return algorithms[algorithm].size;
}

int digest_algorithm_of(struct view name, enum digest_algorithm *ret_algorithm, struct error *err)
{
        for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
                if (view_is(name, algorithms[i].name)) {
                        *ret_algorithm = (enum digest_algorithm)i;
                        return 0;
                }
        }
        return error_set(err, ERROR_UNSUPPORTED, "unsupported digest algorithm: %.*s", VIEW_ARGS(name));
}

/* Kept for the life of the process: OpenSSL 3 would look it up by its name for each digest. */
static const EVP_MD *implementation(enum digest_algorithm algorithm)
{
        static _Atomic(EVP_MD *) kept[ALGORITHM_COUNT];
        EVP_MD *found = atomic_load(&kept[algorithm]), *none = NULL;

        if (found)
                return found;
        found = EVP_MD_fetch(NULL, EVP_MD_get0_name(algorithms[algorithm].openssl()), NULL);
        if (!found)
                memory_exhausted();
        if (atomic_compare_exchange_strong(&kept[algorithm], &none, found))
                return found;
        EVP_MD_free(found);
        return none;
}

struct digest *digest_begin(enum digest_algorithm algorithm)
{
        struct digest *digest = memory_zero(1, sizeof(*digest));

        digest->algorithm = algorithm;
        if (!algorithms[algorithm].openssl) {
                blake3_begin(&digest->blake3);
                return digest;
        }
        /* These fail for want of memory only. */
        digest->openssl = EVP_MD_CTX_new();
        if (!digest->openssl || EVP_DigestInit_ex(digest->openssl, implementation(algorithm), NULL) != 1)
                memory_exhausted();
        return digest;
}

void digest_add(struct digest *digest, struct view bytes)
{
        if (!bytes.length)
                return;
        if (!digest->openssl)
                blake3_add(&digest->blake3, bytes);
        else if (EVP_DigestUpdate(digest->openssl, bytes.data, bytes.length) != 1)
                memory_exhausted();
}

size_t digest_end_bytes(struct digest *digest, uint8_t bytes[DIGEST_SIZE_LIMIT])
{
        if (!digest->openssl)
                blake3_end(&digest->blake3, bytes);
        else if (EVP_DigestFinal_ex(digest->openssl, bytes, NULL) != 1)
                memory_exhausted();
        return digest_size(digest->algorithm);
}

char *digest_print(enum digest_algorithm algorithm, const uint8_t *hash, char text[DIGEST_TEXT])
{
        static const char digits[] = "0123456789abcdef";
        char *end = stpcpy(text, algorithms[algorithm].name);

        *end++ = ':';
        for (size_t i = 0; i < algorithms[algorithm].size; i++) {
                *end++ = digits[hash[i] >> 4];
                *end++ = digits[hash[i] & 15];
        }
        *end = '\0';
        return text;
}

char *digest_end(struct digest *digest, char text[DIGEST_TEXT])
{
        uint8_t bytes[DIGEST_SIZE_LIMIT];

        digest_end_bytes(digest, bytes);
        return digest_print(digest->algorithm, bytes, text);
}

void digest_free(struct digest **digest)
{
        if (*digest)
                EVP_MD_CTX_free((*digest)->openssl);
        free(*digest);
        *digest = NULL;
}

size_t digest_bytes_of(enum digest_algorithm algorithm, struct view bytes, uint8_t hash[DIGEST_SIZE_LIMIT])
{
        struct digest *digest = digest_begin(algorithm);
        size_t size;

        digest_add(digest, bytes);
        size = digest_end_bytes(digest, hash);
        digest_free(&digest);
        return size;
}

char *digest_of(enum digest_algorithm algorithm, struct view bytes, char text[DIGEST_TEXT])
{
        uint8_t hash[DIGEST_SIZE_LIMIT];

        digest_bytes_of(algorithm, bytes, hash);
        return digest_print(algorithm, hash, text);
}

int digest_of_file(struct context *ctx, enum digest_algorithm algorithm, int fd, char text[DIGEST_TEXT], uint64_t *ret_size,
                   struct error *err)
{
        char *chunk = memory_allocate(READ_SIZE);
        struct digest *digest = digest_begin(algorithm);
        uint64_t size = 0;
        ssize_t n;
        int r;

        while ((r = context_check(ctx, err)) == 0 && (n = read(fd, chunk, READ_SIZE)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        r = error_set_errno(err, errno, "read");
                        break;
                }
                digest_add(digest, (struct view){ chunk, (size_t)n });
                size += (uint64_t)n;
        }
        if (r == 0) {
                digest_end(digest, text);
                *ret_size = size;
        }
        digest_free(&digest);
        free(chunk);
        return r;
}

int digest_parse(struct view text, enum digest_algorithm *ret_algorithm, struct view *ret_hex, struct error *err)
{
        ptrdiff_t colon = view_find(text, ':', 0);
        enum digest_algorithm algorithm = DIGEST_SHA256;
        struct view hex = text;

        if (colon == 0 || (size_t)(colon + 1) == text.length)
                return error_set(err, ERROR_INVALID, "invalid checksum digest format");
        if (colon > 0) {
                struct error ignored = ERROR_NULL;
                int r = digest_algorithm_of(view_slice(text, 0, (size_t)colon), &algorithm, &ignored);

                error_release(&ignored);
                if (r < 0)
                        return error_set(err, ERROR_INVALID, "unsupported digest algorithm");
                hex = view_slice(text, (size_t)colon + 1, text.length);
        }
        if (hex.length != 2 * digest_size(algorithm))
                return error_set(err, ERROR_INVALID, "invalid checksum digest length");
        for (size_t i = 0; i < hex.length; i++)
                if (!(hex.data[i] >= '0' && hex.data[i] <= '9') && !(hex.data[i] >= 'a' && hex.data[i] <= 'f'))
                        return error_set(err, ERROR_INVALID, "invalid checksum digest format");
        *ret_algorithm = algorithm;
        *ret_hex = hex;
        return 0;
}

bool digest_equal(struct view a, struct view b)
{
        struct error ignored = ERROR_NULL;
        enum digest_algorithm algorithm_a, algorithm_b;
        struct view hex_a, hex_b;
        bool equal = digest_parse(a, &algorithm_a, &hex_a, &ignored) == 0 && digest_parse(b, &algorithm_b, &hex_b, &ignored) == 0 &&
                     algorithm_a == algorithm_b && view_equal(hex_a, hex_b);

        error_release(&ignored);
        return equal;
}
