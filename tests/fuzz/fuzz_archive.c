/*
 * A tar, whose checksums are made right and which is packed, is unpacked into a directory: it succeeds or fails, and nothing appears beside that
 * directory. The first byte says in how large pieces it comes.
 */
#include "base/cleanup.h"
#include "base/folder.h"
#include "base/memory.h"
#include "data/archive.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BLOCK 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend_checksums(uint8_t *tar, size_t size)
{
        for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
                uint8_t *header = tar + at;
                unsigned sum = 0;

                if (memcmp(header + 257, "ustar", 5) != 0)
                        continue;
                memset(header + 148, ' ', 8);
                for (int i = 0; i < BLOCK; i++)
                        sum += header[i];
                snprintf((char *)header + 148, 8, "%06o", sum & 0777777);
        }
}

static void pack(const uint8_t *tar, size_t size, struct buffer *out)
{
        z_stream gzip = { .next_in = (uint8_t *)(uintptr_t)tar, .avail_in = (unsigned)size };

        if (deflateInit2(&gzip, 0, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
                abort();
        gzip.next_out = (uint8_t *)buffer_reserve(out, deflateBound(&gzip, size));
        gzip.avail_out = (unsigned)deflateBound(&gzip, size);
        if (deflate(&gzip, Z_FINISH) != Z_STREAM_END)
                abort();
        out->length += gzip.total_out;
        deflateEnd(&gzip);
}

static unsigned count_names(int fd)
{
        DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        unsigned count = 0;

        while (readdir(directory))
                count++;
        closedir(directory);
        return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct archive_limits limits = { .entries = 50, .bytes = 65536, .file_bytes = 32768 };
        static int parent = -1;
        cleanup(buffer_release) struct buffer packed = BUFFER_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int directory = -1;
        struct archive_summary summary;
        uint8_t *tar;
        size_t step;

        if (size < 1)
                return 0;
        if (parent < 0) {
                char *path;

                if (folder_temporary("weir-fuzz-", &path, &parent, &err) < 0)
                        abort();
                free(path);
        }
        if (mkdirat(parent, "in", 0700) < 0)
                abort();
        directory = openat(parent, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        step = (size_t)data[0] * 8 + 1;
        tar = memory_allocate(size);
        memcpy(tar, data + 1, size - 1);
        mend_checksums(tar, size - 1);
        pack(tar, size - 1, &packed);
        free(tar);
        {
                cleanup(extract_free) struct extract *extract = extract_begin(directory, DIGEST_SHA256, &limits);
                int r = 0;

                for (size_t at = 0; r == 0 && at < packed.length; at += step)
                        r = extract_add(extract, view_slice(buffer_view(&packed), at, step), &err);
                if (r == 0)
                        extract_end(extract, &summary, &err);
        }
        if (count_names(parent) != 3) /* ".", ".." and "in" */
                abort();
        if (folder_remove(parent, "in", &err) < 0)
                abort();
        return 0;
}
