#include "net/curl_memory.h"

#include <curl/curl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static void wipe_and_free(void *memory)
{
        if (memory)
                explicit_bzero(memory, malloc_usable_size(memory));
        free(memory);
}

/* realloc() may leave the old place as it was. */
static void *move(void *memory, size_t size)
{
        size_t held = memory ? malloc_usable_size(memory) : 0;
        void *larger;

        if (memory && size <= held)
                return memory;
        larger = malloc(size);
        if (!larger)
                return NULL;
        if (memory)
                memcpy(larger, memory, held);
        wipe_and_free(memory);
        return larger;
}

void curl_memory_init(void)
{
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, move, strdup, calloc);
}
