/*
 * beneath: open by a name that came from outside, without leaving a directory.
 *
 * Neither "..", nor an absolute name, nor a symbolic link leads out. What the kernel can check itself (openat2, Linux 5.6) it checks; elsewhere each
 * component is opened on its own, and links are then not followed at all.
 */
#pragma once

#include <stdbool.h>

/*
 * As open(2), with `path` relative to `root`; O_CLOEXEC is added. `links`: symbolic links are followed as long as they stay below; else one
 * anywhere in the path is ELOOP. Does not create. -1 with errno; a path that would leave is EXDEV.
 */
int beneath_open(int root, const char *path, int flags, bool links);
/* The directory that holds the last component of `path`, for the calls that take one and a name; *ret_name points into path. */
int beneath_open_parent(int root, const char *path, const char **ret_name);
