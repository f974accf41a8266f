/*
 * tar: the format of one entry, both ways. What is done with entries is archive's.
 *
 * Written: USTAR as Go's archive/tar writes it, with a PAX record where USTAR cannot hold a name or a size. Read: USTAR, PAX, GNU long names and
 * sizes, and what came before them. A push parser without memory of its own beyond one header and the records before it.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define TAR_BLOCK      512
#define TAR_NAME_LIMIT 4096

enum tar_type {
        TAR_FILE,
        TAR_DIRECTORY,
        TAR_SYMLINK,
        TAR_HARDLINK,
        TAR_OTHER, /* devices, pipes, sparse files */
};

struct tar_entry {
        const char *name;
        enum tar_type type;
        char flag; /* as it stands in the header */
        uint32_t mode;
        uint64_t size;
};

/* Appends the header of a file or a directory: all times, owners and devices zero. */
void tar_add_header(struct buffer *out, const struct tar_entry *entry);
/* Bytes between the end of a file of that size and the next header. */
size_t tar_padding(uint64_t size);
/* Appends the end of the archive. */
void tar_add_end(struct buffer *out);

/* What a reader tells: each entry, its bytes in pieces, its end. Anything but 0 ends the reading with that result. */
struct tar_sink {
        int (*entry)(void *data, const struct tar_entry *entry, struct error *err);
        int (*bytes)(void *data, struct view bytes, struct error *err);
        int (*end)(void *data, struct error *err);
        void *data;
};

struct tar_reader {
        struct tar_sink sink;
        int state; /* private from here */
        char block[TAR_BLOCK];
        size_t filled;
        unsigned zero_blocks;
        uint64_t left;
        size_t padding;
        struct buffer record; /* a PAX or GNU record being collected */
        char record_flag;
        char name[TAR_NAME_LIMIT]; /* from a record, for the next entry */
        bool has_name;
        bool has_size;
        bool sparse;
        uint64_t size;
};

void tar_reader_begin(struct tar_reader *reader, const struct tar_sink *sink);
/* -1: `archive/tar: invalid tar header`, or what the sink returned. Bytes after the end of the archive are passed over. */
int tar_reader_add(struct tar_reader *reader, struct view bytes, struct error *err);
/* True once the end of the archive was seen: nothing after it is looked at. */
bool tar_reader_ended(const struct tar_reader *reader);
/* True then, and between two entries: an archive may end without saying so. */
bool tar_reader_complete(const struct tar_reader *reader);
void tar_reader_release(struct tar_reader *reader); /* for cleanup(tar_reader_release) */
