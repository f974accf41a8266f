/*
 * memory: allocation that does not fail.
 *
 * Limits are checked where sizes come from (a server, a repository), before memory is asked for; what is left is a machine that has none,
 * and there a controller can do nothing but say so in one line and end. Sandboxed work runs under a limit of its own: there the same line
 * ends the child, and the parent reports it.
 */
#pragma once

#include <stddef.h>

/* As malloc, calloc, realloc, strdup, strndup; never NULL. `count * size` is checked. The caller frees with free(). */
void *memory_allocate(size_t size) __attribute__((__malloc__, __returns_nonnull__));
void *memory_zero(size_t count, size_t size) __attribute__((__malloc__, __returns_nonnull__));
void *memory_resize(void *old, size_t count, size_t size) __attribute__((__returns_nonnull__));
char *memory_string(const char *string) __attribute__((__malloc__, __returns_nonnull__));
char *memory_string_n(const char *data, size_t length) __attribute__((__malloc__, __returns_nonnull__));

/* printf into a new string. */
char *memory_printf(const char *format, ...) __attribute__((__format__(__printf__, 1, 2), __malloc__, __returns_nonnull__));

/*
 * For a program of many threads; once, before the first of them. They share one arena: of any other arena glibc does not trim the end, so what a run took
 * stays there for good. Larger pieces go back when they are freed.
 */
void memory_tune(void);
/* What is free goes back to the kernel. */
void memory_trim(void);
/*
 * For a process that will do nothing for a while: as memory_trim, and the pages of the program and of its libraries that were read from files are not mapped any
 * more. They stay in the kernel's cache; what is needed again comes back by itself, sixteen pages for each fault, less than a millisecond for a whole run.
 */
void memory_rest(void);

/* Says `message` on standard error, in one line, and ends the process with status 70. */
void memory_exhausted(void) __attribute__((__noreturn__));
/* The same for what no thread can do without, and for threads that the program cannot do without: it is no lack of memory. */
void descriptors_exhausted(void) __attribute__((__noreturn__));
void threads_exhausted(void) __attribute__((__noreturn__));
