/*
 * uuid: random identifiers (version 4), as text; and the text of any as bytes, for who keeps many.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT  37
#define UUID_BYTES 16

/* A new one. Into `text`, which is returned. */
char *uuid_print(char text[UUID_TEXT]);

/* False if uuid_unpack would not give back just that text; `ret_bytes` is untouched then. */
bool uuid_pack(struct view text, uint8_t ret_bytes[UUID_BYTES]);
/* Into `text`, which is returned. */
char *uuid_unpack(const uint8_t bytes[UUID_BYTES], char text[UUID_TEXT]);
