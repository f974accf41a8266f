/*
 * arena: memory that ends with the run that needed it.
 *
 * Pieces are handed out from chunks and never released one by one. Everything a reconcile makes and that nothing outlives lives here.
 * An arena belongs to one thread.
 */
#pragma once

#include "base/str.h"

#include <stdarg.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena **arena); /* for cleanup(arena_free); NULL is fine */
/* Empties the arena for the next run; one chunk is kept. */
void arena_reset(struct arena *arena);
/* There are secrets in it: what it handed out is overwritten at the next reset, or when it is freed. */
void arena_keep_secret(struct arena *arena);
/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *arena);

/* Zeroed, aligned for any type; never NULL. */
void *arena_allocate(struct arena *arena, size_t size) __attribute__((__returns_nonnull__));
/* Zeroed array; count * size is checked. */
void *arena_array(struct arena *arena, size_t count, size_t size) __attribute__((__returns_nonnull__));
/* A larger copy of an array that the arena handed out (the old one stays where it is); grown in place where it was the last piece. */
void *arena_grow(struct arena *arena, void *old, size_t old_size, size_t new_size) __attribute__((__returns_nonnull__));
char *arena_string(struct arena *arena, const char *string) __attribute__((__returns_nonnull__));
char *arena_string_n(struct arena *arena, const char *data, size_t length) __attribute__((__returns_nonnull__));
struct view arena_view(struct arena *arena, struct view text);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((__format__(__printf__, 2, 3), __returns_nonnull__));

#define arena_new_of(arena, type) ((type *)arena_allocate((arena), sizeof(type)))
