/* The writing half of archive: walk, tar, gzip, hash and file in one pass. */
#include "data/archive.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/tar.h"
#include "data/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK 65536

struct writer {
        struct context *ctx;
        archive_exclude_fn *exclude;
        void *data;
        struct archive_limits limits;
        int output;
        z_stream gzip;
        struct digest *digest;
        struct archive_summary summary;
        struct buffer header;
        char *chunk;
        unsigned char *packed;
};

static int write_all(int fd, const void *data, size_t length, struct error *err)
{
        size_t done = 0;

        while (done < length) {
                ssize_t n = write(fd, (const char *)data + done, length - done);

                if (n < 0 && errno != EINTR)
                        return error_set_errno(err, errno, "write archive");
                done += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

static int pack(struct writer *writer, struct view bytes, int flush, struct error *err)
{
        z_stream *gzip = &writer->gzip;

        gzip->next_in = (unsigned char *)(uintptr_t)bytes.data;
        gzip->avail_in = (unsigned)bytes.length; /* at most CHUNK, or one header */
        do {
                size_t length;

                gzip->next_out = writer->packed;
                gzip->avail_out = CHUNK;
                deflate(gzip, flush); /* fails for a broken state only */
                length = CHUNK - gzip->avail_out;
                digest_add(writer->digest, (struct view){ (const char *)writer->packed, length });
                writer->summary.size += length;
                TRY(write_all(writer->output, writer->packed, length, err));
        } while (gzip->avail_out == 0);
        return 0;
}

static int add_entry(struct writer *writer, const char *path, enum tar_type type, uint32_t mode, uint64_t size, struct error *err)
{
        const struct tar_entry entry = { .name = path, .type = type, .mode = mode, .size = size };

        if (writer->limits.entries && writer->summary.entries >= writer->limits.entries)
                return error_set(err, ERROR_TOO_LARGE, "more than %" PRIu64 " files and directories", writer->limits.entries);
        if (strlen(path) >= TAR_NAME_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "'%.100s...': the path is too long", path);
        writer->summary.entries++;
        buffer_clear(&writer->header);
        tar_add_header(&writer->header, &entry);
        return pack(writer, buffer_view(&writer->header), Z_NO_FLUSH, err);
}

static int add_file(struct writer *writer, const char *path, int fd, uint64_t size, struct error *err)
{
        static const char zeros[TAR_BLOCK];
        uint64_t left = size;

        if (writer->limits.file_bytes && size > writer->limits.file_bytes)
                return error_set(err, ERROR_TOO_LARGE, "'%s' has %" PRIu64 " bytes, more than %" PRIu64, path, size,
                                 writer->limits.file_bytes);
        if (writer->limits.bytes && size > writer->limits.bytes - writer->summary.unpacked)
                return error_set(err, ERROR_TOO_LARGE, "the files have more than %" PRIu64 " bytes", writer->limits.bytes);
        writer->summary.unpacked += size;
        while (left) {
                ssize_t n;

                TRY(context_check(writer->ctx, err));
                n = read(fd, writer->chunk, left < CHUNK ? (size_t)left : CHUNK);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set_errno(err, errno, "read '%s'", path);
                if (n == 0)
                        return error_set(err, ERROR_INTERNAL, "'%s' became shorter while it was read", path);
                TRY(pack(writer, (struct view){ writer->chunk, (size_t)n }, Z_NO_FLUSH, err));
                left -= (uint64_t)n;
        }
        return pack(writer, (struct view){ zeros, tar_padding(size) }, Z_NO_FLUSH, err);
}

static int add(struct writer *writer, const struct walk_entry *entry, struct error *err)
{
        cleanup(close_descriptor) int fd = -1;
        bool directory = S_ISDIR(entry->status.st_mode);
        struct stat status;

        if (S_ISLNK(entry->status.st_mode))
                writer->summary.links_dropped++;
        if (!S_ISREG(entry->status.st_mode) && !directory)
                return 0;
        if (writer->exclude && writer->exclude(writer->data, entry->path, directory))
                return 0;
        if (directory)
                return add_entry(writer, entry->path, TAR_DIRECTORY, 0750, 0, err);
        fd = openat(entry->parent, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, errno, "open '%s'", entry->path);
        /* What was opened is what counts, should the name have changed hands. */
        if (fstat(fd, &status) < 0)
                return error_set_errno(err, errno, "stat '%s'", entry->path);
        if (!S_ISREG(status.st_mode))
                return 0;
        TRY(add_entry(writer, entry->path, TAR_FILE, status.st_mode & 0111 ? 0700 : 0600, (uint64_t)status.st_size, err));
        return add_file(writer, entry->path, fd, (uint64_t)status.st_size, err);
}

static int add_tree(struct writer *writer, int directory, struct error *err)
{
        cleanup(walk_free) struct walk *walk = NULL;
        struct walk_entry entry;
        int r;

        TRY(add_entry(writer, ".", TAR_DIRECTORY, 0750, 0, err));
        TRY(walk_begin(directory, &walk, err));
        while ((r = walk_next(walk, &entry, err)) == 0) {
                TRY(context_check(writer->ctx, err));
                TRY(add(writer, &entry, err));
        }
        if (r < 0)
                return -1;
        buffer_clear(&writer->header);
        tar_add_end(&writer->header);
        return pack(writer, buffer_view(&writer->header), Z_FINISH, err);
}

int archive_write(struct context *ctx, int directory, archive_exclude_fn *exclude, void *data, enum digest_algorithm algorithm,
                  const struct archive_limits *limits, int output, struct archive_summary *ret_summary, struct error *err)
{
        struct writer *writer = memory_zero(1, sizeof(*writer));
        gz_header header = { .os = 255 }; /* unknown, as Go's: the bytes do not depend on where they were made */
        int r;

        writer->ctx = ctx;
        writer->exclude = exclude;
        writer->data = data;
        writer->output = output;
        if (limits)
                writer->limits = *limits;
        if (deflateInit2(&writer->gzip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
                memory_exhausted();
        deflateSetHeader(&writer->gzip, &header);
        writer->digest = digest_begin(algorithm);
        writer->chunk = memory_allocate(CHUNK);
        writer->packed = memory_allocate(CHUNK);
        r = add_tree(writer, directory, err);
        if (r == 0) {
                digest_end(writer->digest, writer->summary.digest);
                *ret_summary = writer->summary;
        }
        deflateEnd(&writer->gzip);
        digest_free(&writer->digest);
        buffer_release(&writer->header);
        free(writer->chunk);
        free(writer->packed);
        free(writer);
        return r;
}
