/* The writing half of archive: tar, gzip, hash and file in one pass, entry by entry or from a directory. */
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

struct archive {
        struct archive_limits limits;
        int output;
        bool begun; /* the root's entry is written */
        z_stream gzip;
        gz_header gzip_header;
        struct digest *digest;
        struct archive_summary summary;
        struct buffer header;
        unsigned char packed[CHUNK];
};

/* A directory on its way into an archive. */
struct writer {
        struct context *ctx;
        archive_exclude_fn *exclude;
        void *data;
        struct archive *archive;
        char *chunk;
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

static int pack(struct archive *archive, struct view bytes, int flush, struct error *err)
{
        z_stream *gzip = &archive->gzip;

        gzip->next_in = (unsigned char *)(uintptr_t)bytes.data;
        gzip->avail_in = (unsigned)bytes.length; /* at most CHUNK, or one header */
        do {
                size_t length;

                gzip->next_out = archive->packed;
                gzip->avail_out = CHUNK;
                deflate(gzip, flush); /* fails for a broken state only */
                length = CHUNK - gzip->avail_out;
                digest_add(archive->digest, (struct view){ (const char *)archive->packed, length });
                archive->summary.size += length;
                TRY(write_all(archive->output, archive->packed, length, err));
        } while (gzip->avail_out == 0);
        return 0;
}

static int add_header(struct archive *archive, const struct tar_entry *entry, struct error *err)
{
        archive->summary.entries++;
        buffer_clear(&archive->header);
        tar_add_header(&archive->header, entry);
        return pack(archive, buffer_view(&archive->header), Z_NO_FLUSH, err);
}

static int add_root(struct archive *archive, struct error *err)
{
        static const struct tar_entry root = { .name = ".", .type = TAR_DIRECTORY, .mode = 0750 };

        if (archive->begun)
                return 0;
        archive->begun = true;
        return add_header(archive, &root, err);
}

static int add_entry(struct archive *archive, const char *path, enum tar_type type, uint32_t mode, uint64_t size, struct error *err)
{
        const struct tar_entry entry = { .name = path, .type = type, .mode = mode, .size = size };

        TRY(add_root(archive, err));
        if (archive->limits.entries && archive->summary.entries >= archive->limits.entries)
                return error_set(err, ERROR_TOO_LARGE, "more than %" PRIu64 " files and directories", archive->limits.entries);
        if (strlen(path) >= TAR_NAME_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "'%.100s...': the path is too long", path);
        return add_header(archive, &entry, err);
}

/* Its bytes follow, then end_file. */
static int begin_file(struct archive *archive, const char *path, bool executable, uint64_t size, struct error *err)
{
        if (archive->limits.file_bytes && size > archive->limits.file_bytes)
                return error_set(err, ERROR_TOO_LARGE, "'%s' has %" PRIu64 " bytes, more than %" PRIu64, path, size,
                                 archive->limits.file_bytes);
        if (archive->limits.bytes && size > archive->limits.bytes - archive->summary.unpacked)
                return error_set(err, ERROR_TOO_LARGE, "the files have more than %" PRIu64 " bytes", archive->limits.bytes);
        TRY(add_entry(archive, path, TAR_FILE, executable ? 0700 : 0600, size, err));
        archive->summary.unpacked += size;
        return 0;
}

static int end_file(struct archive *archive, uint64_t size, struct error *err)
{
        static const char zeros[TAR_BLOCK];

        return pack(archive, (struct view){ zeros, tar_padding(size) }, Z_NO_FLUSH, err);
}

struct archive *archive_begin(int output, enum digest_algorithm algorithm, const struct archive_limits *limits)
{
        struct archive *archive = memory_zero(1, sizeof(*archive));

        archive->output = output;
        if (limits)
                archive->limits = *limits;
        archive->gzip_header.os = 255; /* unknown, as Go's: the bytes do not depend on where they were made */
        if (deflateInit2(&archive->gzip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
                memory_exhausted();
        deflateSetHeader(&archive->gzip, &archive->gzip_header);
        archive->digest = digest_begin(algorithm);
        return archive;
}

void archive_free(struct archive **archive)
{
        if (!*archive)
                return;
        deflateEnd(&(*archive)->gzip);
        digest_free(&(*archive)->digest);
        buffer_release(&(*archive)->header);
        free(steal(archive));
}

int archive_add_directory(struct archive *archive, const char *path, struct error *err)
{
        return add_entry(archive, path, TAR_DIRECTORY, 0750, 0, err);
}

int archive_add_file(struct archive *archive, const char *path, bool executable, struct view bytes, struct error *err)
{
        TRY(begin_file(archive, path, executable, bytes.length, err));
        for (size_t at = 0; at < bytes.length; at += CHUNK)
                TRY(pack(archive, view_slice(bytes, at, CHUNK), Z_NO_FLUSH, err));
        return end_file(archive, bytes.length, err);
}

void archive_drop_link(struct archive *archive)
{
        archive->summary.links_dropped++;
}

int archive_end(struct archive *archive, struct archive_summary *ret_summary, struct error *err)
{
        TRY(add_root(archive, err));
        buffer_clear(&archive->header);
        tar_add_end(&archive->header);
        TRY(pack(archive, buffer_view(&archive->header), Z_FINISH, err));
        digest_end(archive->digest, archive->summary.digest);
        *ret_summary = archive->summary;
        return 0;
}

static int add_file(struct writer *writer, const char *path, const struct stat *status, int fd, struct error *err)
{
        uint64_t size = (uint64_t)status->st_size, left = size;

        TRY(begin_file(writer->archive, path, (status->st_mode & 0111) != 0, size, err));
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
                TRY(pack(writer->archive, (struct view){ writer->chunk, (size_t)n }, Z_NO_FLUSH, err));
                left -= (uint64_t)n;
        }
        return end_file(writer->archive, size, err);
}

static int add(struct writer *writer, const struct walk_entry *entry, struct error *err)
{
        cleanup(close_descriptor) int fd = -1;
        bool directory = S_ISDIR(entry->status.st_mode);
        struct stat status;

        if (S_ISLNK(entry->status.st_mode))
                archive_drop_link(writer->archive);
        if (!S_ISREG(entry->status.st_mode) && !directory)
                return 0;
        if (writer->exclude && writer->exclude(writer->data, entry->path, directory))
                return 0;
        if (directory)
                return archive_add_directory(writer->archive, entry->path, err);
        fd = openat(entry->parent, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, errno, "open '%s'", entry->path);
        /* What was opened is what counts, should the name have changed hands. */
        if (fstat(fd, &status) < 0)
                return error_set_errno(err, errno, "stat '%s'", entry->path);
        if (!S_ISREG(status.st_mode))
                return 0;
        return add_file(writer, entry->path, &status, fd, err);
}

static int add_tree(struct writer *writer, int directory, struct error *err)
{
        cleanup(walk_free) struct walk *walk = NULL;
        struct walk_entry entry;
        int r;

        TRY(walk_begin(directory, &walk, err));
        while ((r = walk_next(walk, &entry, err)) == 0) {
                TRY(context_check(writer->ctx, err));
                TRY(add(writer, &entry, err));
        }
        return r < 0 ? -1 : 0;
}

int archive_write(struct context *ctx, int directory, archive_exclude_fn *exclude, void *data, enum digest_algorithm algorithm,
                  const struct archive_limits *limits, int output, struct archive_summary *ret_summary, struct error *err)
{
        cleanup(archive_free) struct archive *archive = archive_begin(output, algorithm, limits);
        cleanup(free_string) char *chunk = memory_allocate(CHUNK);
        struct writer writer = { .ctx = ctx, .exclude = exclude, .data = data, .archive = archive, .chunk = chunk };

        TRY(add_tree(&writer, directory, err));
        return archive_end(archive, ret_summary, err);
}
