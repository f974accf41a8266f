/*
 * unpacked: an unpacked artifact, by paths relative to its root.
 *
 * An artifact has no symbolic links (they are not unpacked), so a path that was normalised here stays below the root.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

enum unpacked_type {
        UNPACKED_ABSENT,
        UNPACKED_FILE,
        UNPACKED_DIRECTORY,
};

/* Largest manifest that is read. */
#define UNPACKED_FILE_LIMIT (128u * 1024 * 1024)

/* "a/./b//../c" and "/a" as a path below the root: "a/c", "a"; ".." ends at the root, which is ".". In the arena. */
const char *unpacked_normalize(struct arena *arena, const char *path);
/* "a" and "b" as "a/b"; "." and "b" as "b". */
const char *unpacked_join(struct arena *arena, const char *directory, const char *name);

enum unpacked_type unpacked_type(int root, const char *path);
/* The whole file. -1: not there, no file, larger than UNPACKED_FILE_LIMIT. */
int unpacked_read(struct arena *arena, int root, const char *path, struct view *ret_text, struct error *error);
/* Names in the directory in byte order, without "." and "..". */
int unpacked_list(struct arena *arena, int root, const char *path, const char ***ret_names, size_t *ret_count, struct error *error);
