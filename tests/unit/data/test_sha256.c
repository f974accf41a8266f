#include "../test.h"

#include "data/digest.h"
#include "data/sha256.h"

#include <string.h>

/* Every length around the ends of blocks and of the length's own eight bytes, beside OpenSSL. */
static void hashes_are_those_of_openssl(void **state)
{
        char input[300];

        (void)state;
        for (size_t i = 0; i < sizeof(input); i++)
                input[i] = (char)(i * 37 + 200);
        for (size_t length = 0; length <= sizeof(input); length++) {
                uint8_t ours[SHA256_SIZE], theirs[DIGEST_SIZE_LIMIT];

                sha256_of((struct view){ input, length }, ours);
                assert_int_equal(digest_bytes_of(DIGEST_SHA256, (struct view){ input, length }, theirs), SHA256_SIZE);
                assert_memory_equal(ours, theirs, SHA256_SIZE);
        }
}

static void a_million_letters_have_their_hash(void **state)
{
        static char letters[1000000];
        static const uint8_t expected[4] = { 0xcd, 0xc7, 0x6e, 0x5c };
        uint8_t hash[SHA256_SIZE];

        (void)state;
        memset(letters, 'a', sizeof(letters));
        sha256_of((struct view){ letters, sizeof(letters) }, hash);
        assert_memory_equal(hash, expected, sizeof(expected));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(hashes_are_those_of_openssl),
                cmocka_unit_test(a_million_letters_have_their_hash),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
