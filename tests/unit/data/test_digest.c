#include "../test.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/digest.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void algorithms_give_their_vectors(void **state)
{
        static const struct {
                enum digest_algorithm algorithm;
                const char *input;
                const char *text;
        } cases[] = {
                { DIGEST_SHA1, "abc", "sha1:a9993e364706816aba3e25717850c26c9cd0d89d" },
                { DIGEST_SHA256, "", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
                { DIGEST_SHA256, "abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
                { DIGEST_SHA384, "abc",
                  "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7" },
                { DIGEST_SHA512, "abc",
                  "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
                { DIGEST_BLAKE3, "", "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" },
                { DIGEST_BLAKE3, "abc", "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85" },
        };
        char text[DIGEST_TEXT];

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                assert_string_equal(digest_of(cases[i].algorithm, view_of(cases[i].input), text), cases[i].text);
}

/* The published vectors: byte i of the input is i mod 251. Lengths on both sides of blocks, chunks and subtrees. */
static void blake3_gives_its_vectors(void **state)
{
        static const struct {
                size_t length;
                const char *text;
        } cases[] = {
                { 1, "blake3:2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213" },
                { 1023, "blake3:10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11" },
                { 1024, "blake3:42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7" },
                { 1025, "blake3:d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444" },
                { 2048, "blake3:e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a" },
                { 2049, "blake3:5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030" },
                { 102400, "blake3:bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085" },
        };
        cleanup(free_string) char *input = memory_allocate(102400);
        char text[DIGEST_TEXT];

        (void)state;
        for (size_t i = 0; i < 102400; i++)
                input[i] = (char)(i % 251);
        for (size_t i = 0; i < COUNT(cases); i++)
                assert_string_equal(digest_of(DIGEST_BLAKE3, (struct view){ input, cases[i].length }, text), cases[i].text);
}

static void pieces_add_up(void **state)
{
        char input[5000], whole[DIGEST_TEXT], pieces[DIGEST_TEXT];

        (void)state;
        for (size_t i = 0; i < sizeof(input); i++)
                input[i] = (char)(i * 7);
        for (int algorithm = DIGEST_SHA256; algorithm <= DIGEST_BLAKE3; algorithm++) {
                digest_of((enum digest_algorithm)algorithm, (struct view){ input, sizeof(input) }, whole);
                for (size_t step = 1; step < sizeof(input); step = step * 3 + 1) {
                        cleanup(digest_free) struct digest *digest = digest_begin((enum digest_algorithm)algorithm);

                        for (size_t at = 0; at < sizeof(input); at += step)
                                digest_add(digest, view_slice((struct view){ input, sizeof(input) }, at, step));
                        assert_string_equal(digest_end(digest, pieces), whole);
                }
        }
}

static void files_are_read_to_their_end(void **state)
{
        cleanup(close_descriptor) int fd = memfd_create("file", MFD_CLOEXEC);
        cleanup(error_release) struct error err = ERROR_NULL;
        char text[DIGEST_TEXT];
        uint64_t size;

        (void)state;
        assert_int_equal(write(fd, "xabc", 4), 4);
        lseek(fd, 1, SEEK_SET);
        assert_int_equal(digest_of_file(NULL, DIGEST_SHA1, fd, text, &size, &err), 0);
        assert_string_equal(text, "sha1:a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_int_equal(size, 3);
        assert_int_equal(digest_of_file(NULL, DIGEST_SHA1, -1, text, &size, &err), -1);
}

static void text_is_taken_apart(void **state)
{
        static const struct {
                const char *text;
                int result;
                const char *message;
        } cases[] = {
                { "sha1:a9993e364706816aba3e25717850c26c9cd0d89d", 0, "" },
                { "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0, "" },
                { "", -1, "invalid checksum digest format" },
                { "sha256:", -1, "invalid checksum digest format" },
                { ":aa", -1, "invalid checksum digest format" },
                { "md5:900150983cd24fb0d6963f7d28e17f72", -1, "unsupported digest algorithm" },
                { "sha256:e3b0", -1, "invalid checksum digest length" },
                { "sha1:A9993E364706816ABA3E25717850C26C9CD0D89D", -1, "invalid checksum digest format" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                enum digest_algorithm algorithm;
                struct view hex;

                assert_int_equal(digest_parse(view_of(cases[i].text), &algorithm, &hex, &err), cases[i].result);
                assert_string_equal(error_message(&err), cases[i].message);
        }
        assert_true(digest_equal(VIEW("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
                                 VIEW("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")));
        assert_false(digest_equal(VIEW("sha1:a9993e364706816aba3e25717850c26c9cd0d89d"),
                                  VIEW("sha1:a9993e364706816aba3e25717850c26c9cd0d89e")));
        assert_false(digest_equal(VIEW(""), VIEW("")));
}

static void algorithms_have_names(void **state)
{
        static const char *const names[] = { "sha256", "sha1", "sha384", "sha512", "blake3" };
        cleanup(error_release) struct error err = ERROR_NULL;
        enum digest_algorithm algorithm = DIGEST_SHA1;

        (void)state;
        for (int i = DIGEST_SHA256; i <= DIGEST_BLAKE3; i++) {
                assert_int_equal(digest_algorithm_of(view_of(names[i]), &algorithm, &err), 0);
                assert_int_equal(algorithm, i);
        }
        assert_int_equal(digest_algorithm_of(VIEW("md5"), &algorithm, &err), -1);
        assert_string_equal(err.message, "unsupported digest algorithm: md5");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(algorithms_give_their_vectors),
                cmocka_unit_test(blake3_gives_its_vectors),
                cmocka_unit_test(pieces_add_up),
                cmocka_unit_test(files_are_read_to_their_end),
                cmocka_unit_test(text_is_taken_apart),
                cmocka_unit_test(algorithms_have_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
