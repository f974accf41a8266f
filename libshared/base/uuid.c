#include "base/uuid.h"

#include "base/memory.h"

#include <string.h>
#include <sys/random.h>

static const char digits[] = "0123456789abcdef";

/* Where a byte's two digits are in the text. */
static size_t place_of(size_t byte)
{
        return 2 * byte + (byte >= 4) + (byte >= 6) + (byte >= 8) + (byte >= 10);
}

static int value_of(char digit)
{
        const char *at = digit ? strchr(digits, digit) : NULL;

        return at ? (int)(at - digits) : -1;
}

bool uuid_pack(struct view text, uint8_t ret_bytes[UUID_BYTES])
{
        uint8_t bytes[UUID_BYTES];

        if (text.length != UUID_TEXT - 1 || text.data[8] != '-' || text.data[13] != '-' || text.data[18] != '-' ||
            text.data[23] != '-')
                return false;
        for (size_t i = 0; i < UUID_BYTES; i++) {
                int high = value_of(text.data[place_of(i)]), low = value_of(text.data[place_of(i) + 1]);

                if (high < 0 || low < 0)
                        return false;
                bytes[i] = (uint8_t)(high << 4 | low);
        }
        memcpy(ret_bytes, bytes, UUID_BYTES);
        return true;
}

char *uuid_unpack(const uint8_t bytes[UUID_BYTES], char text[UUID_TEXT])
{
        memset(text, '-', UUID_TEXT - 1);
        for (size_t i = 0; i < UUID_BYTES; i++) {
                text[place_of(i)] = digits[bytes[i] >> 4];
                text[place_of(i) + 1] = digits[bytes[i] & 15];
        }
        text[UUID_TEXT - 1] = '\0';
        return text;
}

char *uuid_print(char text[UUID_TEXT])
{
        uint8_t bytes[UUID_BYTES];

        /* Up to 256 bytes come whole; only a kernel without the call fails. */
        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
                memory_exhausted();
        bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
        bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
        return uuid_unpack(bytes, text);
}
