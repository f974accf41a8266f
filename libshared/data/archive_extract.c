/* The reading half of archive: hash, gunzip, tar and files in one pass. */
#include "data/archive.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK 65536

struct extract {
        int directory;
        struct archive_limits limits;
        z_stream gzip;
        gz_header header;
        bool started;  /* the gzip header has been accepted */
        bool finished; /* a gzip member ended; another may follow */
        struct digest *digest;
        struct archive_summary summary;
        struct tar_reader tar;
        unsigned char *unpacked;
        int file;   /* being written; -1: none, as for a skipped entry */
        int parent; /* the directory that the last entry was in, and its path */
        struct buffer parent_path;
        struct buffer name;
        struct error failure; /* what every later call repeats */
};

/* Go's form of a mode's type, as the error shows it. */
static const char *type_print(const struct tar_entry *entry, char text[16])
{
        static const char bits[] = "rwxrwxrwx";
        const char *prefix = "?";
        char *end;

        if (entry->type == TAR_HARDLINK)
                return "hard link";
        if (entry->flag == '3')
                prefix = "Dc";
        else if (entry->flag == '4')
                prefix = "D";
        else if (entry->flag == '6')
                prefix = "p";
        end = stpcpy(text, prefix);
        for (int i = 0; i < 9; i++)
                *end++ = entry->mode & (0400u >> i) ? bits[i] : '-';
        *end = '\0';
        return text;
}

static int invalid_name(const char *name, struct error *err)
{
        cleanup(buffer_release) struct buffer quoted = BUFFER_NULL;

        buffer_add_json(&quoted, view_of(name));
        return error_set(err, ERROR_INVALID, "tar contained invalid name error \"%s\"", buffer_string(&quoted));
}

/* Takes the name apart into `name`: without empty and "." pieces. Empty is the directory itself. */
static int clean_name(struct extract *extract, const char *name, struct error *err)
{
        struct view rest = view_of(name), piece;

        if (!*name || *name == '/' || strchr(name, '\\'))
                return invalid_name(name, err);
        buffer_clear(&extract->name);
        while (view_split(&rest, '/', &piece)) {
                if (view_is(piece, ".."))
                        return invalid_name(name, err);
                if (!piece.length || view_is(piece, "."))
                        continue;
                if (extract->name.length)
                        buffer_add_char(&extract->name, '/');
                buffer_add_view(&extract->name, piece);
        }
        return 0;
}

/* Opens a directory of the tree, making what is missing; never through a link. */
static int open_directory(struct extract *extract, struct view path, mode_t mode, int *ret_fd, struct error *err)
{
        cleanup(close_descriptor) int fd = openat(extract->directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct view rest = path, piece;

        if (fd < 0)
                return error_set_errno(err, errno, "unpack");
        while (path.length && view_split(&rest, '/', &piece)) {
                char name[256];
                int next;

                if (piece.length >= sizeof(name))
                        return error_set_errno(err, ENAMETOOLONG, "unpack '%.*s'", VIEW_ARGS(path));
                memcpy(name, piece.data, piece.length);
                name[piece.length] = '\0';
                if (mkdirat(fd, name, rest.data ? 0755 : mode) < 0 && errno != EEXIST)
                        return error_set_errno(err, errno, "unpack '%.*s'", VIEW_ARGS(path));
                next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (next < 0)
                        return error_set_errno(err, errno, "unpack '%.*s'", VIEW_ARGS(path));
                close(fd);
                fd = next;
        }
        *ret_fd = steal_descriptor(&fd);
        return 0;
}

static int make_directory(struct extract *extract, const struct tar_entry *entry, struct error *err)
{
        cleanup(close_descriptor) int fd = -1;

        return open_directory(extract, buffer_view(&extract->name), (mode_t)(0700 | (entry->mode & 0777)), &fd, err);
}

static int make_file(struct extract *extract, const struct tar_entry *entry, struct error *err)
{
        const char *name = buffer_string(&extract->name), *slash = strrchr(name, '/');
        struct view parent = { name, slash ? (size_t)(slash - name) : 0 };

        /* Most entries are in the directory of the one before. */
        if (extract->parent < 0 || !view_equal(parent, buffer_view(&extract->parent_path))) {
                close_descriptor(&extract->parent);
                TRY(open_directory(extract, parent, 0755, &extract->parent, err));
                buffer_clear(&extract->parent_path);
                buffer_add_view(&extract->parent_path, parent);
        }
        extract->file =
                openat(extract->parent, slash ? slash + 1 : name,
                       O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, (mode_t)(0600 | (entry->mode & 0777)));
        if (extract->file < 0)
                return error_set_errno(err, errno, "unpack '%s'", name);
        return 0;
}

static int limits_check(struct extract *extract, const struct tar_entry *entry, struct error *err)
{
        const struct archive_limits *limits = &extract->limits;

        if (limits->entries && extract->summary.entries >= limits->entries)
                return error_set(err, ERROR_TOO_LARGE, "tar contains more than %" PRIu64 " entries", limits->entries);
        if (limits->file_bytes && entry->size > limits->file_bytes)
                return error_set(err, ERROR_TOO_LARGE, "tar \"%s\" is bigger than max file size of %" PRIu64 " bytes", entry->name,
                                 limits->file_bytes);
        if (limits->bytes && entry->size > limits->bytes - extract->summary.unpacked)
                return error_set(err, ERROR_TOO_LARGE, "tar \"%s\" is bigger than max archive size of %" PRIu64 " bytes",
                                 entry->name, limits->bytes);
        extract->summary.entries++;
        extract->summary.unpacked += entry->size;
        return 0;
}

static int on_entry(void *data, const struct tar_entry *entry, struct error *err)
{
        struct extract *extract = data;
        char type[16];

        TRY(limits_check(extract, entry, err));
        TRY(clean_name(extract, entry->name, err));
        switch (entry->type) {
        case TAR_DIRECTORY:
                return make_directory(extract, entry, err);
        case TAR_FILE:
                return make_file(extract, entry, err);
        case TAR_SYMLINK:
                extract->summary.links_dropped++;
                return 0;
        case TAR_HARDLINK:
        case TAR_OTHER:
                break;
        }
        return error_set(err, ERROR_INVALID, "tar file entry %s contained unsupported file type %s", entry->name,
                         type_print(entry, type));
}

static int on_bytes(void *data, struct view bytes, struct error *err)
{
        struct extract *extract = data;
        size_t done = 0;

        while (extract->file >= 0 && done < bytes.length) {
                ssize_t n = write(extract->file, bytes.data + done, bytes.length - done);

                if (n < 0 && errno != EINTR)
                        return error_set_errno(err, errno, "error writing to %s", buffer_string(&extract->name));
                done += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

static int on_end(void *data, struct error *err)
{
        struct extract *extract = data;
        int fd = extract->file;

        extract->file = -1;
        if (fd >= 0 && close(fd) < 0)
                return error_set_errno(err, errno, "error writing to %s", buffer_string(&extract->name));
        return 0;
}

struct extract *extract_begin(int directory, enum digest_algorithm algorithm, const struct archive_limits *limits)
{
        struct extract *extract = memory_zero(1, sizeof(*extract));
        const struct tar_sink sink = { on_entry, on_bytes, on_end, extract };

        extract->directory = directory;
        if (limits)
                extract->limits = *limits;
        extract->digest = digest_begin(algorithm);
        extract->unpacked = memory_allocate(CHUNK);
        extract->file = -1;
        extract->parent = -1;
        tar_reader_begin(&extract->tar, &sink);
        if (inflateInit2(&extract->gzip, 15 + 16) != Z_OK || inflateGetHeader(&extract->gzip, &extract->header) != Z_OK)
                memory_exhausted();
        return extract;
}

void extract_free(struct extract **extract)
{
        struct extract *e = *extract;

        if (!e)
                return;
        inflateEnd(&e->gzip);
        digest_free(&e->digest);
        tar_reader_release(&e->tar);
        close_descriptor(&e->file);
        close_descriptor(&e->parent);
        buffer_release(&e->parent_path);
        buffer_release(&e->name);
        error_release(&e->failure);
        free(e->unpacked);
        free(e);
        *extract = NULL;
}

static int gzip_failed(const struct extract *extract, int result, struct error *err)
{
        if (!extract->started)
                return error_set(err, ERROR_INVALID, "requires gzip-compressed body: gzip: invalid header");
        return error_set(err, ERROR_INVALID, "tar error: gzip: %s",
                         result == Z_DATA_ERROR && extract->gzip.msg ? extract->gzip.msg : "corrupt data");
}

static int unpack(struct extract *extract, struct view bytes, struct error *err)
{
        z_stream *gzip = &extract->gzip;

        gzip->next_in = (unsigned char *)(uintptr_t)bytes.data;
        gzip->avail_in = (unsigned)bytes.length;
        do {
                size_t length;
                int r;

                if (extract->finished && gzip->avail_in) {
                        inflateReset(gzip);
                        extract->finished = false;
                }
                gzip->next_out = extract->unpacked;
                gzip->avail_out = CHUNK;
                r = inflate(gzip, Z_NO_FLUSH);
                extract->started = extract->started || extract->header.done == 1;
                if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
                        return gzip_failed(extract, r, err);
                length = CHUNK - gzip->avail_out;
                extract->finished = r == Z_STREAM_END;
                if (length && tar_reader_add(&extract->tar, (struct view){ (const char *)extract->unpacked, length }, err) < 0)
                        return view_starts(view_of(error_message(err)), VIEW("archive/tar: ")) ? error_wrap(err, "tar error") : -1;
                if (tar_reader_ended(&extract->tar))
                        return 0; /* the end of the archive; the rest counts for the digest only */
        } while (gzip->avail_in || gzip->avail_out == 0);
        return 0;
}

static int fail_again(const struct extract *extract, struct error *err)
{
        return error_set_reason(err, extract->failure.kind, extract->failure.reason, "%s", error_message(&extract->failure));
}

int extract_add(struct extract *extract, struct view bytes, struct error *err)
{
        if (extract->failure.kind != ERROR_NONE)
                return fail_again(extract, err);
        while (bytes.length) {
                struct view piece = view_slice(bytes, 0, CHUNK);

                digest_add(extract->digest, piece);
                extract->summary.size += piece.length;
                bytes = view_slice(bytes, piece.length, bytes.length);
                if (tar_reader_ended(&extract->tar))
                        continue;
                if (unpack(extract, piece, &extract->failure) < 0)
                        return fail_again(extract, err);
        }
        return 0;
}

int extract_end(struct extract *extract, struct archive_summary *ret_summary, struct error *err)
{
        if (extract->failure.kind != ERROR_NONE)
                return fail_again(extract, err);
        if (!extract->started)
                return error_set(err, ERROR_INVALID, "requires gzip-compressed body: %s",
                                 extract->summary.size ? "unexpected EOF" : "EOF");
        if (!tar_reader_complete(&extract->tar) || (!tar_reader_ended(&extract->tar) && !extract->finished))
                return error_set(err, ERROR_INVALID, "tar error: unexpected EOF");
        digest_end(extract->digest, extract->summary.digest);
        *ret_summary = extract->summary;
        return 0;
}

int archive_extract(struct context *ctx, int input, int directory, enum digest_algorithm algorithm,
                    const struct archive_limits *limits, struct archive_summary *ret_summary, struct error *err)
{
        cleanup(extract_free) struct extract *extract = extract_begin(directory, algorithm, limits);
        cleanup(free_string) char *chunk = memory_allocate(CHUNK);

        for (;;) {
                ssize_t n;

                TRY(context_check(ctx, err));
                n = read(input, chunk, CHUNK);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set_errno(err, errno, "read archive");
                if (n == 0)
                        return extract_end(extract, ret_summary, err);
                TRY(extract_add(extract, (struct view){ chunk, (size_t)n }, err));
        }
}
