/*
 * folder: directories of our own making: temporary ones, and removing whole trees.
 *
 * Nothing is reached through a symbolic link: a link is removed, never followed. Depth is bounded; a deeper tree is an error.
 */
#pragma once

#include "base/error.h"

#define FOLDER_DEPTH 512

/*
 * A new directory "<TMPDIR or /tmp>/<prefix><digits>" with mode 0700. *ret_path is a new string, *ret_fd its descriptor (ret_fd may be NULL); as long
 * as that is open, folder_sweep of any process leaves the directory alone.
 */
int folder_temporary(const char *prefix, char **ret_path, int *ret_fd, struct error *error);
/*
 * For the start of a program: removes the directories that folder_temporary made with a prefix that starts like this and that nobody holds any
 * more: what a kill left. What cannot be removed stays.
 */
void folder_sweep(const char *prefix);

/*
 * Removes `name` (a file, a link, or a directory with everything in it) from the directory `parent` (a descriptor, or AT_FDCWD for a path). What does
 * not exist is no error.
 */
int folder_remove(int parent, const char *name, struct error *error);
