/*
 * Chunks form a list, newest first, each twice as large as the one before it, up to a limit: what waits for long with little in it takes little. A
 * piece that is large beside them gets a chunk of its own behind the newest, so that the room left in that is still used.
 */
#include "base/arena.h"

#include "base/memory.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_FIRST ((size_t)4 << 10)
#define CHUNK_LAST  ((size_t)64 << 10)

struct chunk {
        struct chunk *next;
        size_t size;
        size_t used;
        alignas(max_align_t) char data[];
};

struct arena {
        struct chunk *chunks;
        size_t used;
        size_t last; /* size of the newest chunk that is not one piece's own; 0: there was none */
        bool secret;
};

static struct chunk *chunk_new(size_t size)
{
        struct chunk *chunk;

        if (size > SIZE_MAX - sizeof(*chunk))
                memory_exhausted();
        chunk = memory_allocate(sizeof(*chunk) + size);
        chunk->next = NULL;
        chunk->size = size;
        chunk->used = 0;
        return chunk;
}

struct arena *arena_new(void)
{
        return memory_zero(1, sizeof(struct arena));
}

static void chunks_free(struct chunk *chunk)
{
        while (chunk) {
                struct chunk *next = chunk->next;

                free(chunk);
                chunk = next;
        }
}

static void overwrite(struct arena *arena)
{
        for (struct chunk *chunk = arena->chunks; chunk && arena->secret; chunk = chunk->next)
                explicit_bzero(chunk->data, chunk->size); /* also what was printed where it did not fit */
        arena->secret = false;
}

void arena_keep_secret(struct arena *arena)
{
        arena->secret = true;
}

void arena_free(struct arena **arena)
{
        if (!*arena)
                return;
        overwrite(*arena);
        chunks_free((*arena)->chunks);
        free(*arena);
        *arena = NULL;
}

void arena_reset(struct arena *arena)
{
        struct chunk *keep = NULL;

        overwrite(arena);
        for (struct chunk **link = &arena->chunks; *link; link = &(*link)->next) {
                if ((*link)->size == arena->last) {
                        keep = *link;
                        *link = keep->next;
                        break;
                }
        }
        chunks_free(arena->chunks);
        if (keep) {
                keep->next = NULL;
                keep->used = 0;
        }
        arena->chunks = keep;
        arena->used = 0;
}

size_t arena_used(const struct arena *arena)
{
        return arena->used;
}

static size_t rounded(size_t size)
{
        size_t up;

        if (__builtin_add_overflow(size, alignof(max_align_t) - 1, &up))
                memory_exhausted();
        return up & ~(alignof(max_align_t) - 1);
}

static void *take(struct arena *arena, size_t size)
{
        struct chunk *chunk = arena->chunks;
        void *piece;

        size = rounded(size);
        if (!chunk || chunk->size - chunk->used < size) {
                size_t next = !arena->last ? CHUNK_FIRST : arena->last < CHUNK_LAST ? arena->last * 2 : CHUNK_LAST;
                bool own = size > next / 4;
                struct chunk *fresh = chunk_new(own ? size : next);

                if (!own)
                        arena->last = next;
                if (own && chunk) {
                        fresh->next = chunk->next;
                        chunk->next = fresh;
                } else {
                        fresh->next = chunk;
                        arena->chunks = fresh;
                }
                chunk = fresh;
        }
        piece = chunk->data + chunk->used;
        chunk->used += size;
        arena->used += size;
        return piece;
}

void *arena_allocate(struct arena *arena, size_t size)
{
        void *piece = take(arena, size);

        memset(piece, 0, size);
        return piece;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
        size_t total;

        if (__builtin_mul_overflow(count, size, &total))
                memory_exhausted();
        return arena_allocate(arena, total);
}

void *arena_grow(struct arena *arena, void *old, size_t old_size, size_t new_size)
{
        struct chunk *chunk = arena->chunks;
        void *piece;

        if (old && chunk && (char *)old + rounded(old_size) == chunk->data + chunk->used) {
                size_t start = (size_t)((char *)old - chunk->data);

                if (chunk->size - start >= rounded(new_size)) {
                        memset((char *)old + old_size, 0, new_size - old_size);
                        arena->used += rounded(new_size) - rounded(old_size);
                        chunk->used = start + rounded(new_size);
                        return old;
                }
        }
        piece = arena_allocate(arena, new_size);
        if (old)
                memcpy(piece, old, old_size);
        return piece;
}

char *arena_string_n(struct arena *arena, const char *data, size_t length)
{
        char *copy;

        if (length == SIZE_MAX)
                memory_exhausted();
        copy = take(arena, length + 1);
        if (length)
                memcpy(copy, data, length);
        copy[length] = '\0';
        return copy;
}

char *arena_string(struct arena *arena, const char *string)
{
        return arena_string_n(arena, string, strlen(string));
}

struct view arena_view(struct arena *arena, struct view text)
{
        return (struct view){ arena_string_n(arena, text.data, text.length), text.length };
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
        /* Mostly there is room where the piece will lie: then it is printed once. */
        struct chunk *chunk = arena->chunks;
        size_t room = chunk ? chunk->size - chunk->used : 0;
        char *place = chunk ? chunk->data + chunk->used : NULL, *text;
        va_list arguments;
        int length;

        va_start(arguments, format);
        length = vsnprintf(place, room, format, arguments);
        va_end(arguments);
        if (length < 0)
                memory_exhausted();
        text = take(arena, (size_t)length + 1);
        if (text == place && (size_t)length < room)
                return text;
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
        return text;
}
