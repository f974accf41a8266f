/*
 * folder: directories of our own making: temporary ones, and removing whole trees.
 *
 * Nothing is reached through a symbolic link: a link is removed, never followed.
 */
#pragma once

#include "base/error.h"

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
 * not exist is no error. However deep the tree is, a few descriptors are enough; what is nested deep may be moved up before it goes.
 */
int folder_remove(int parent, const char *name, struct error *error);
