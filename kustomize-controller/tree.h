/*
 * tree: an unpacked artifact, by paths relative to its root.
 *
 * An artifact has no symbolic links (they are not unpacked), so a path that was normalised here stays below the root.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

enum tree_type {
        TREE_ABSENT,
        TREE_FILE,
        TREE_DIRECTORY,
};

/* Largest manifest that is read. */
#define TREE_FILE_LIMIT (128u * 1024 * 1024)

/* "a/./b//../c" and "/a" as a path below the root: "a/c", "a"; ".." ends at the root, which is ".". In the arena. */
const char *tree_normalize(struct arena *arena, const char *path);
/* "a" and "b" as "a/b"; "." and "b" as "b". */
const char *tree_join(struct arena *arena, const char *directory, const char *name);

enum tree_type tree_type(int root, const char *path);
/* The whole file. -1: not there, no file, larger than TREE_FILE_LIMIT. */
int tree_read(struct arena *arena, int root, const char *path, struct view *ret_text, struct error *error);
/* Names in the directory in byte order, without "." and "..". */
int tree_list(struct arena *arena, int root, const char *path, const char ***ret_names, size_t *ret_count, struct error *error);
