#include "base/pack.h"

#include <string.h>

#define LENGTH_SIZE 8

void pack_number(struct buffer *buffer, uint64_t number)
{
        char bytes[LENGTH_SIZE];

        for (int i = 0; i < LENGTH_SIZE; i++)
                bytes[i] = (char)(number >> 8 * i);
        buffer_add(buffer, bytes, sizeof(bytes));
}

void pack_view(struct buffer *buffer, struct view bytes)
{
        pack_number(buffer, bytes.length);
        buffer_add_view(buffer, bytes);
}

void pack_string(struct buffer *buffer, const char *string)
{
        pack_view(buffer, view_of(string));
}

int unpack_number(struct view *rest, uint64_t *ret_number)
{
        uint64_t number = 0;

        if (rest->length < LENGTH_SIZE)
                return -1;
        for (int i = 0; i < LENGTH_SIZE; i++)
                number |= (uint64_t)(unsigned char)rest->data[i] << 8 * i;
        *rest = view_slice(*rest, LENGTH_SIZE, SIZE_MAX);
        *ret_number = number;
        return 0;
}

int unpack_view(struct view *rest, struct view *ret_bytes)
{
        struct view after = *rest;
        uint64_t length;

        if (unpack_number(&after, &length) < 0 || length > after.length)
                return -1;
        *ret_bytes = view_slice(after, 0, length);
        *rest = view_slice(after, length, SIZE_MAX);
        return 0;
}
