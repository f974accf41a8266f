#include "base/uuid.h"

#include "base/memory.h"

#include <stdint.h>
#include <sys/random.h>

char *uuid_print(char text[UUID_TEXT])
{
        static const char digits[] = "0123456789abcdef";
        uint8_t bytes[16];
        char *at = text;

        /* Up to 256 bytes come whole; only a kernel without the call fails. */
        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
                memory_exhausted();
        bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
        bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
        for (int i = 0; i < 16; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *at++ = '-';
                *at++ = digits[bytes[i] >> 4];
                *at++ = digits[bytes[i] & 15];
        }
        *at = '\0';
        return text;
}
