#include "../test.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/archive.h"
#include "data/tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char scratch[] = "/tmp/weir-archive-XXXXXX";

/* A fresh empty directory. */
static int directory_new(void)
{
        static int number;
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "%s/%d", scratch, number++);
        assert_int_equal(mkdir(path, 0700), 0);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static void put(int directory, const char *path, const char *content, size_t length, mode_t mode)
{
        char parent[512];
        int fd;

        for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
                snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
                assert_true(mkdirat(directory, parent, 0755) == 0 || errno == EEXIST);
        }
        fd = openat(directory, path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, content, length), length);
        assert_int_equal(fchmod(fd, mode), 0);
        close(fd);
}

static void put_text(int directory, const char *path, const char *content)
{
        put(directory, path, content, strlen(content), 0644);
}

static char *repeat(char c, size_t count, char *text)
{
        memset(text, c, count);
        text[count] = '\0';
        return text;
}

/* Names at every border: of the name field, the prefix, ASCII; an executable, a link, an empty directory. */
static void fill(int directory)
{
        char a[200], b[200], path[512], large[1001];

        put(directory, "run.sh", "#!/bin/sh\n", 10, 0755);
        put_text(directory, "a.txt", "a\n");
        put(directory, "a/b.txt", repeat('b', 1000, large), 1000, 0644);
        put(directory, "a-b/c", repeat('c', 512, large), 512, 0644);
        assert_int_equal(mkdirat(directory, "empty", 0755), 0);
        assert_int_equal(symlinkat("a.txt", directory, "link"), 0);
        snprintf(path, sizeof(path), "%s/%s/file", repeat('d', 60, a), repeat('e', 60, b));
        put_text(directory, path, "long\n");
        put_text(directory, repeat('f', 120, a), "name\n");
        put_text(directory, repeat('g', 100, a), "hundred\n");
        snprintf(path, sizeof(path), "%s/%s", repeat('h', 60, a), repeat('i', 101, b));
        put_text(directory, path, "x\n");
        put_text(directory, "\xc3\xbcml\xc3\xa4ut/\xe4\xb8\xad\xe6\x96\x87.yaml", "u: 1\n");
        snprintf(path, sizeof(path), "%s/q", repeat('p', 160, a));
        put_text(directory, path, "prefix\n");
        snprintf(path, sizeof(path), "%s/t", repeat('s', 99, a));
        put_text(directory, path, "slash\n");
        snprintf(path, sizeof(path), "%s\xc3\xbc/w", repeat('v', 98, a));
        put_text(directory, path, "slash\n");
}

static void gunzip(int fd, struct buffer *out)
{
        z_stream gzip = { 0 };
        unsigned char in[4096], chunk[4096];
        ssize_t n;

        assert_int_equal(inflateInit2(&gzip, 15 + 16), Z_OK);
        lseek(fd, 0, SEEK_SET);
        while ((n = read(fd, in, sizeof(in))) > 0) {
                gzip.next_in = in;
                gzip.avail_in = (unsigned)n;
                do {
                        gzip.next_out = chunk;
                        gzip.avail_out = sizeof(chunk);
                        assert_true(inflate(&gzip, Z_NO_FLUSH) >= Z_BUF_ERROR);
                        buffer_add(out, chunk, sizeof(chunk) - gzip.avail_out);
                } while (gzip.avail_out == 0);
        }
        inflateEnd(&gzip);
}

static void gzip(struct view tar, struct buffer *out)
{
        z_stream stream = { .next_in = (unsigned char *)(uintptr_t)tar.data, .avail_in = (unsigned)tar.length };

        assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        stream.next_out = (unsigned char *)buffer_reserve(out, deflateBound(&stream, tar.length));
        stream.avail_out = (unsigned)deflateBound(&stream, tar.length);
        assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
        out->length += stream.total_out;
        deflateEnd(&stream);
}

/* The hash is that of what Go's archive/tar writes for the same tree by the rules of the specification. */
static void tar_bytes_equal_those_of_go(void **state)
{
        cleanup(close_descriptor) int tree = directory_new(), output = memfd_create("tar.gz", MFD_CLOEXEC);
        cleanup(buffer_release) struct buffer tar = BUFFER_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct archive_summary summary;
        char text[DIGEST_TEXT];
        uint64_t size;
        unsigned char start[10];

        (void)state;
        fill(tree);
        assert_int_equal(archive_write(NULL, tree, NULL, NULL, DIGEST_SHA256, NULL, output, &summary, &err), 0);
        assert_int_equal(summary.links_dropped, 1);
        assert_int_equal(summary.entries, 23);
        gunzip(output, &tar);
        digest_of(DIGEST_SHA256, buffer_view(&tar), text);
        assert_string_equal(text, "sha256:c1447e539a859de222166289b0dbcc6ed2e32afded5118d251ac4542313e424b");

        lseek(output, 0, SEEK_SET);
        assert_int_equal(digest_of_file(NULL, DIGEST_SHA256, output, text, &size, &err), 0);
        assert_string_equal(text, summary.digest);
        assert_int_equal(size, summary.size);
        assert_int_equal(pread(output, start, sizeof(start), 0), 10);
        assert_memory_equal(start, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
}

static void same_tree_same_bytes(void **state)
{
        char digests[2][DIGEST_TEXT];

        (void)state;
        for (int i = 0; i < 2; i++) {
                cleanup(close_descriptor) int tree = directory_new(), output = memfd_create("tar.gz", MFD_CLOEXEC);
                cleanup(error_release) struct error err = ERROR_NULL;
                struct archive_summary summary;

                fill(tree);
                if (i == 1) { /* neither order of creation nor other bits of the mode nor times matter */
                        assert_int_equal(unlinkat(tree, "a.txt", 0), 0);
                        put(tree, "a.txt", "a\n", 2, 0666);
                }
                assert_int_equal(archive_write(NULL, tree, NULL, NULL, DIGEST_BLAKE3, NULL, output, &summary, &err), 0);
                strcpy(digests[i], summary.digest);
        }
        assert_string_equal(digests[0], digests[1]);
}

static bool leave_out(void *data, const char *path, bool directory)
{
        buffer_printf(data, "%s%s ", path, directory ? "/" : "");
        return strcmp(path, "a") == 0 || strcmp(path, "c.txt") == 0;
}

static int note_entry(void *data, const struct tar_entry *entry, struct error *err)
{
        (void)err;
        buffer_printf(data, "%s ", entry->name);
        return 0;
}

static int ignore_bytes(void *data, struct view bytes, struct error *err)
{
        (void)data;
        (void)bytes;
        (void)err;
        return 0;
}

static int ignore_end(void *data, struct error *err)
{
        (void)data;
        (void)err;
        return 0;
}

static void excluded_directories_are_walked(void **state)
{
        cleanup(close_descriptor) int tree = directory_new(), output = memfd_create("tar.gz", MFD_CLOEXEC);
        cleanup(buffer_release) struct buffer asked = BUFFER_NULL, tar = BUFFER_NULL, names = BUFFER_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        const struct tar_sink sink = { note_entry, ignore_bytes, ignore_end, &names };
        cleanup(tar_reader_release) struct tar_reader reader;
        struct archive_summary summary;

        (void)state;
        put_text(tree, "a/b/kept.yaml", "x");
        put_text(tree, "c.txt", "x");
        put_text(tree, "d.txt", "x");
        assert_int_equal(archive_write(NULL, tree, leave_out, &asked, DIGEST_SHA256, NULL, output, &summary, &err), 0);
        assert_string_equal(buffer_string(&asked), "a/ a/b/ a/b/kept.yaml c.txt d.txt ");
        gunzip(output, &tar);
        tar_reader_begin(&reader, &sink);
        assert_int_equal(tar_reader_add(&reader, buffer_view(&tar), &err), 0);
        assert_true(tar_reader_ended(&reader));
        assert_string_equal(buffer_string(&names), ". a/b a/b/kept.yaml d.txt ");
}

static void writing_has_limits(void **state)
{
        static const struct {
                struct archive_limits limits;
                const char *message;
        } cases[] = {
                { { .entries = 3 }, "more than 3 files and directories" },
                { { .file_bytes = 99 }, "'b' has 100 bytes, more than 99" },
                { { .bytes = 199 }, "the files have more than 199 bytes" },
        };
        cleanup(close_descriptor) int tree = directory_new();
        char text[128], deep[1024] = "";

        (void)state;
        put_text(tree, "a", "");
        put_text(tree, "b", repeat('b', 100, text));
        put_text(tree, "c", repeat('c', 100, text));
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(close_descriptor) int output = memfd_create("tar.gz", MFD_CLOEXEC);
                cleanup(error_release) struct error err = ERROR_NULL;
                struct archive_summary summary;

                assert_int_equal(archive_write(NULL, tree, NULL, NULL, DIGEST_SHA256, &cases[i].limits, output, &summary, &err),
                                 -1);
                assert_int_equal(err.kind, ERROR_TOO_LARGE);
                assert_string_equal(err.message, cases[i].message);
        }
        for (int i = 0; i < 210; i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                struct archive_summary summary;
                cleanup(close_descriptor) int output = memfd_create("tar.gz", MFD_CLOEXEC);

                strcat(deep, i ? "/d" : "d");
                assert_int_equal(mkdirat(tree, deep, 0700), 0);
                if (i == 209) {
                        assert_int_equal(archive_write(NULL, tree, NULL, NULL, DIGEST_SHA256, NULL, output, &summary, &err), -1);
                        assert_int_equal(err.kind, ERROR_TOO_LARGE);
                }
        }
}

static void a_full_disk_is_an_error(void **state)
{
        cleanup(close_descriptor) int tree = directory_new(), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        cleanup(error_release) struct error err = ERROR_NULL;
        struct archive_summary summary;

        (void)state;
        put_text(tree, "a", "x");
        assert_int_equal(archive_write(NULL, tree, NULL, NULL, DIGEST_SHA256, NULL, full, &summary, &err), -1);
        assert_string_equal(err.message, "write archive: no space left on device");
}

static void written_trees_come_back(void **state)
{
        cleanup(close_descriptor) int tree = directory_new(), copy = directory_new();
        cleanup(close_descriptor) int first = memfd_create("1", MFD_CLOEXEC), second = memfd_create("2", MFD_CLOEXEC);
        cleanup(error_release) struct error err = ERROR_NULL;
        struct archive_summary written, read, again;
        struct stat status;

        (void)state;
        fill(tree);
        assert_int_equal(archive_write(NULL, tree, NULL, NULL, DIGEST_SHA256, NULL, first, &written, &err), 0);
        lseek(first, 0, SEEK_SET);
        assert_int_equal(archive_extract(NULL, first, copy, DIGEST_SHA256, NULL, &read, &err), 0);
        assert_string_equal(read.digest, written.digest);
        assert_int_equal(read.size, written.size);
        assert_int_equal(read.unpacked, written.unpacked);
        assert_int_equal(read.entries, written.entries);
        assert_int_equal(fstatat(copy, "run.sh", &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0700);
        assert_int_equal(fstatat(copy, "empty", &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0750);
        assert_int_equal(archive_write(NULL, copy, NULL, NULL, DIGEST_SHA256, NULL, second, &again, &err), 0);
        assert_string_equal(again.digest, written.digest);
}

/* One header made by hand: what tar_add_header would not write. */
static void add_raw(struct buffer *tar, const char *name, char flag, const char *link, const char *content)
{
        unsigned char block[TAR_BLOCK] = { 0 };
        size_t length = strlen(content), at = tar->length;
        unsigned sum = 0;

        strncpy((char *)block, name, 100);
        snprintf((char *)block + 100, 8, "%07o", 0644);
        snprintf((char *)block + 124, 12, "%011o", (unsigned)length & 0777777);
        block[156] = (unsigned char)flag;
        strncpy((char *)block + 157, link, 100);
        memcpy(block + 257, "ustar\00000", 8);
        memset(block + 148, ' ', 8);
        for (int i = 0; i < TAR_BLOCK; i++)
                sum += block[i];
        snprintf((char *)block + 148, 8, "%06o", sum);
        buffer_add(tar, block, sizeof(block));
        buffer_add_string(tar, content);
        while ((tar->length - at) % TAR_BLOCK)
                buffer_add_char(tar, '\0');
}

static int unpack(struct view tar, int directory, const struct archive_limits *limits, size_t step, struct archive_summary *summary,
                  struct error *err)
{
        cleanup(buffer_release) struct buffer packed = BUFFER_NULL;
        cleanup(extract_free) struct extract *extract = extract_begin(directory, DIGEST_SHA256, limits);
        int r = 0;

        gzip(tar, &packed);
        for (size_t at = 0; r == 0 && at < packed.length; at += step)
                r = extract_add(extract, view_slice(buffer_view(&packed), at, step), err);
        return r == 0 ? extract_end(extract, summary, err) : r;
}

static void hostile_names_are_refused(void **state)
{
        static const struct {
                const char *name;
                char flag;
                const char *message;
        } cases[] = {
                { "../x", '0', "tar contained invalid name error \"../x\"" },
                { "a/../../x", '0', "tar contained invalid name error \"a/../../x\"" },
                { "..", '5', "tar contained invalid name error \"..\"" },
                { "a/..", '5', "tar contained invalid name error \"a/..\"" },
                { "/etc/passwd", '0', "tar contained invalid name error \"/etc/passwd\"" },
                { "a\\b", '0', "tar contained invalid name error \"a\\\\b\"" },
                { "", '0', "tar contained invalid name error \"\"" },
                { "pipe", '6', "tar file entry pipe contained unsupported file type prw-r--r--" },
                { "null", '3', "tar file entry null contained unsupported file type Dcrw-r--r--" },
                { "disk", '4', "tar file entry disk contained unsupported file type Drw-r--r--" },
                { "hard", '1', "tar file entry hard contained unsupported file type hard link" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(close_descriptor) int directory = directory_new();
                cleanup(buffer_release) struct buffer tar = BUFFER_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;
                struct archive_summary summary;

                add_raw(&tar, cases[i].name, cases[i].flag, "a", "");
                tar_add_end(&tar);
                assert_int_equal(unpack(buffer_view(&tar), directory, NULL, 64, &summary, &err), -1);
                assert_int_equal(err.kind, ERROR_INVALID);
                assert_string_equal(err.message, cases[i].message);
        }
}

static void links_are_skipped_and_not_followed(void **state)
{
        cleanup(close_descriptor) int directory = directory_new(), outside = directory_new();
        cleanup(buffer_release) struct buffer tar = BUFFER_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct archive_summary summary;
        struct stat status;
        char target[64];

        (void)state;
        snprintf(target, sizeof(target), "/proc/self/fd/%d", outside);
        add_raw(&tar, "link", '2', target, "");
        add_raw(&tar, "link/inside", '0', "", "x");
        tar_add_end(&tar);
        assert_int_equal(unpack(buffer_view(&tar), directory, NULL, 4096, &summary, &err), 0);
        assert_int_equal(summary.links_dropped, 1);
        assert_int_equal(fstatat(directory, "link/inside", &status, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(fstatat(outside, "inside", &status, AT_SYMLINK_NOFOLLOW), -1);

        /* A link that was there before leads nowhere either. */
        assert_int_equal(symlinkat(target, directory, "old"), 0);
        buffer_clear(&tar);
        add_raw(&tar, "old/inside", '0', "", "x");
        tar_add_end(&tar);
        assert_int_equal(unpack(buffer_view(&tar), directory, NULL, 4096, &summary, &err), -1);
        assert_int_equal(fstatat(outside, "inside", &status, AT_SYMLINK_NOFOLLOW), -1);
}

static void long_names_of_all_kinds(void **state)
{
        cleanup(close_descriptor) int directory = directory_new();
        cleanup(buffer_release) struct buffer tar = BUFFER_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct archive_summary summary;
        struct stat status;
        char a[256], record[300];

        (void)state;
        add_raw(&tar, "pax_global_header", 'g', "", "19 comment=abcdefg\n");
        add_raw(&tar, "././@LongLink", 'L', "", repeat('g', 150, a));
        add_raw(&tar, repeat('g', 99, a), '0', "", "gnu");
        snprintf(record, sizeof(record), "160 path=%s\n", repeat('x', 150, a));
        add_raw(&tar, "PaxHeaders.0/x", 'x', "", record);
        add_raw(&tar, "short", '0', "", "pax");
        add_raw(&tar, "./dot//clean/", '5', "", "");
        add_raw(&tar, "old/", '\0', "", "");
        tar_add_end(&tar);
        for (size_t step = 1; step < 4096; step *= 7) {
                assert_int_equal(unpack(buffer_view(&tar), directory, NULL, step, &summary, &err), 0);
                assert_int_equal(summary.entries, 4);
        }
        assert_int_equal(fstatat(directory, repeat('g', 150, a), &status, 0), 0);
        assert_int_equal(status.st_size, 3);
        assert_int_equal(fstatat(directory, repeat('x', 150, a), &status, 0), 0);
        assert_int_equal(fstatat(directory, "dot/clean", &status, 0), 0);
        assert_int_equal(fstatat(directory, "old", &status, 0), 0);
        assert_true(S_ISDIR(status.st_mode));
}

static void reading_has_limits(void **state)
{
        static const struct {
                struct archive_limits limits;
                const char *message;
        } cases[] = {
                { { .entries = 1 }, "tar contains more than 1 entries" },
                { { .file_bytes = 4 }, "tar \"b\" is bigger than max file size of 4 bytes" },
                { { .bytes = 9 }, "tar \"c\" is bigger than max archive size of 9 bytes" },
        };
        cleanup(buffer_release) struct buffer tar = BUFFER_NULL;

        (void)state;
        add_raw(&tar, "a", '5', "", "");
        add_raw(&tar, "b", '0', "", "12345");
        add_raw(&tar, "c", '0', "", "12345");
        tar_add_end(&tar);
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(close_descriptor) int directory = directory_new();
                cleanup(error_release) struct error err = ERROR_NULL;
                struct archive_summary summary;

                assert_int_equal(unpack(buffer_view(&tar), directory, &cases[i].limits, 100, &summary, &err), -1);
                assert_int_equal(err.kind, ERROR_TOO_LARGE);
                assert_string_equal(err.message, cases[i].message);
        }
}

static void broken_archives_are_refused(void **state)
{
        cleanup(buffer_release) struct buffer tar = BUFFER_NULL, packed = BUFFER_NULL;
        cleanup(close_descriptor) int directory = directory_new();
        struct archive_summary summary;
        char damaged[2048];

        (void)state;
        add_raw(&tar, "a", '0', "", "12345");
        tar_add_end(&tar);
        gzip(buffer_view(&tar), &packed);
        assert_true(packed.length < sizeof(damaged));
        memcpy(damaged, packed.data, packed.length);
        damaged[packed.length / 2] ^= 0x55;
        {
                const struct {
                        struct view bytes;
                        const char *message;
                } cases[] = {
                        { VIEW(""), "requires gzip-compressed body: EOF" },
                        { VIEW("not a gzip file at all"), "requires gzip-compressed body: gzip: invalid header" },
                        { view_slice(buffer_view(&packed), 0, 5), "requires gzip-compressed body: unexpected EOF" },
                        { view_slice(buffer_view(&packed), 0, packed.length - 30), "tar error: unexpected EOF" },
                        { (struct view){ damaged, packed.length }, "tar error: " },
                };

                for (size_t i = 0; i < COUNT(cases); i++) {
                        cleanup(extract_free) struct extract *extract = extract_begin(directory, DIGEST_SHA256, NULL);
                        cleanup(error_release) struct error err = ERROR_NULL;
                        int r = extract_add(extract, cases[i].bytes, &err);

                        if (r == 0)
                                r = extract_end(extract, &summary, &err);
                        assert_int_equal(r, -1);
                        assert_true(view_starts(view_of(err.message), view_of(cases[i].message)));
                        /* It stays so. */
                        assert_int_equal(extract_end(extract, &summary, &err), -1);
                }
        }
        tar.data[0] = 'b'; /* the checksum does not hold */
        {
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(unpack(buffer_view(&tar), directory, NULL, 100, &summary, &err), -1);
                assert_string_equal(err.message, "tar error: archive/tar: invalid tar header");
        }
}

static int setup(void **state)
{
        (void)state;
        return mkdtemp(scratch) ? 0 : -1;
}

static int teardown(void **state)
{
        char command[64];

        (void)state;
        snprintf(command, sizeof(command), "rm -rf %s", scratch);
        return system(command);
}

static void entries_make_the_same_bytes_as_a_directory(void **state)
{
        static const struct archive_limits limits = { .entries = 4, .bytes = 200000, .file_bytes = 150000 };
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int directory = directory_new(), output = memfd_create("archive", MFD_CLOEXEC);
        cleanup(archive_free) struct archive *archive = NULL;
        cleanup(free_string) char *large = memory_allocate(140001);
        struct archive_summary whole, pieces;

        (void)state;
        repeat('x', 140000, large);
        put(directory, "d/run", large, 140000, 0755);
        put_text(directory, "e", "");
        assert_int_equal(symlinkat("e", directory, "link"), 0);
        assert_int_equal(archive_write(NULL, directory, NULL, NULL, DIGEST_SHA256, &limits, output, &whole, &err), 0);

        archive = archive_begin(output, DIGEST_SHA256, &limits);
        assert_int_equal(archive_add_directory(archive, "d", &err), 0);
        assert_int_equal(archive_add_file(archive, "d/run", true, (struct view){ large, 140000 }, &err), 0);
        assert_int_equal(archive_add_file(archive, "e", false, VIEW(""), &err), 0);
        archive_drop_link(archive);
        assert_int_equal(archive_end(archive, &pieces, &err), 0);
        assert_string_equal(pieces.digest, whole.digest);
        assert_int_equal(pieces.size, whole.size);
        assert_int_equal(pieces.links_dropped, 1);
        archive_free(&archive);

        archive = archive_begin(output, DIGEST_SHA256, &limits);
        assert_int_equal(archive_add_file(archive, "a", false, (struct view){ large, 100000 }, &err), 0);
        assert_int_equal(archive_add_file(archive, "b", false, (struct view){ large, 100001 }, &err), -1);
        assert_int_equal(err.kind, ERROR_TOO_LARGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(tar_bytes_equal_those_of_go),     cmocka_unit_test(same_tree_same_bytes),
                cmocka_unit_test(excluded_directories_are_walked), cmocka_unit_test(writing_has_limits),
                cmocka_unit_test(a_full_disk_is_an_error),         cmocka_unit_test(written_trees_come_back),
                cmocka_unit_test(hostile_names_are_refused),       cmocka_unit_test(links_are_skipped_and_not_followed),
                cmocka_unit_test(long_names_of_all_kinds),         cmocka_unit_test(reading_has_limits),
                cmocka_unit_test(broken_archives_are_refused),     cmocka_unit_test(entries_make_the_same_bytes_as_a_directory),
        };

        umask(022);
        return cmocka_run_group_tests(tests, setup, teardown);
}
