/*
 * cleanup: release what a variable owns when it goes out of scope.
 *
 * A type that owns something has a function `void name(type *)` that accepts an empty value. `cleanup(name) type v = EMPTY;` at the
 * declaration is then the only place that says so. `steal(&pointer)` hands ownership on.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(function) __attribute__((__cleanup__(function)))

/* Takes a pointer out of a variable that would release it. */
#define steal(variable)                                                                                                            \
        __extension__({                                                                                                            \
                __typeof__(*(variable)) stolen_ = *(variable);                                                                     \
                *(variable) = NULL;                                                                                                \
                stolen_;                                                                                                           \
        })

/* For `cleanup(free_string) char *s = NULL;` and other malloc'd memory. */
static inline void free_string(char **string)
{
        free(*string);
        *string = NULL;
}

/* For `cleanup(close_descriptor) int fd = -1;`. */
static inline void close_descriptor(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

/* Hands a descriptor on, out of a variable that would close it. */
static inline int steal_descriptor(int *fd)
{
        int stolen = *fd;

        *fd = -1;
        return stolen;
}
