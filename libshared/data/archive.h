/*
 * archive: a directory as a tar.gz with the same bytes every time, and such a file back into a directory.
 *
 * Written: gzip without name and time around USTAR, PAX records only for what USTAR cannot say; the root "." first, then depth first
 * in byte order; directories 0750, files 0600, executable ones 0700; no owners, no times; symbolic links and special files are left out.
 *
 * Read: what strangers made. Names that leave the directory are errors, links are skipped, everything is created below one directory
 * descriptor without following links. A push parser: feed it from a download or a file, hash and unpack are one pass.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/str.h"
#include "data/digest.h"

#include <stdbool.h>
#include <stdint.h>

/* 0 in a field: no limit. */
struct archive_limits {
        uint64_t entries;
        uint64_t bytes;      /* of all files, unpacked */
        uint64_t file_bytes; /* of one file */
};

/*
 * True leaves the entry out. `path` is relative to the root: "a/b", no slash at the end; the root itself is not asked about. A directory that is
 * left out is walked all the same: what is below it is asked about on its own.
 */
typedef bool archive_exclude_fn(void *data, const char *path, bool directory);

struct archive_summary {
        uint64_t size;            /* of the file that was written or read (compressed) */
        uint64_t unpacked;        /* bytes of the files in it */
        uint64_t entries;         /* directories and files in it */
        uint64_t links_dropped;   /* symbolic links left out */
        char digest[DIGEST_TEXT]; /* of the compressed bytes */
};

/*
 * Writes what is below `directory` (a descriptor; its offset is not used) to `output` (a file, a pipe; from its offset on).
 * `exclude` may be NULL, `ctx` too. A name that vanishes while it is walked is left out; nothing below is reached through a link.
 *
 * -1: the limits (ERROR_TOO_LARGE), ENOSPC and other I/O errors, cancellation. What is in `output` then is not an archive.
 */
int archive_write(struct context *ctx, int directory, archive_exclude_fn *exclude, void *data, enum digest_algorithm algorithm,
                  const struct archive_limits *limits, int output, struct archive_summary *ret_summary, struct error *err);

/*
 * The same, entry by entry, for what is no directory on disk (a Git tree): the caller walks in the order above and asks its own filter.
 * archive_write is made of this. Belongs to one thread.
 */
struct archive;

/* The root's entry "." is written by itself. `output` stays the caller's. */
struct archive *archive_begin(int output, enum digest_algorithm algorithm, const struct archive_limits *limits);
/* `path` as for archive_exclude_fn. -1 as archive_write; after that there is only archive_free. */
int archive_add_directory(struct archive *archive, const char *path, struct error *err);
int archive_add_file(struct archive *archive, const char *path, bool executable, struct view bytes, struct error *err);
/* Counts a symbolic link that was left out. */
void archive_drop_link(struct archive *archive);
int archive_end(struct archive *archive, struct archive_summary *ret_summary, struct error *err);
void archive_free(struct archive **archive); /* for cleanup(archive_free) */

/* Unpacking of one tar.gz into one directory; belongs to one thread. */
struct extract;

/* `directory` stays the caller's and must outlive it. */
struct extract *extract_begin(int directory, enum digest_algorithm algorithm, const struct archive_limits *limits);
/*
 * The next bytes of the compressed file. -1, and every later call the same:
 *   ERROR_INVALID    `requires gzip-compressed body: ...`, `tar error: ...`, `tar contained invalid name error "../x"`,
 *                    `tar file entry x contained unsupported file type ...`
 *   ERROR_TOO_LARGE  a limit
 *   others           the file system
 * What was unpacked before the error is left: the caller removes the directory.
 */
int extract_add(struct extract *extract, struct view bytes, struct error *err);
/* After the last byte. -1: the archive is not complete, or as extract_add. The digest is that of all bytes that were added. */
int extract_end(struct extract *extract, struct archive_summary *ret_summary, struct error *err);
void extract_free(struct extract **extract); /* for cleanup(extract_free) */

/* All of the above for a file, from its offset to its end. `ctx` may be NULL. */
int archive_extract(struct context *ctx, int input, int directory, enum digest_algorithm algorithm,
                    const struct archive_limits *limits, struct archive_summary *ret_summary, struct error *err);
