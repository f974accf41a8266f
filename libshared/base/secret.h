/*
 * secret: bytes that nothing prints.
 *
 * Tokens, passwords and private keys live in this type, so that no log line, error, event or status can take one by accident: there is no
 * function that renders it, and what it held is overwritten when it goes. Who sends it over the wire reads `bytes` and says so by that.
 */
#pragma once

#include "base/memory.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

struct secret {
        char *bytes; /* owned, terminated; NULL: none */
        size_t length;
};

#define SECRET_NULL ((struct secret){ NULL, 0 })

/* For cleanup(secret_release). */
static inline void secret_release(struct secret *secret)
{
        if (secret->bytes)
                explicit_bzero(secret->bytes, secret->length);
        free(secret->bytes);
        *secret = SECRET_NULL;
}

/* Replaces what it held by a copy. */
static inline void secret_set(struct secret *secret, struct view bytes)
{
        secret_release(secret);
        secret->bytes = memory_string_n(bytes.data ? bytes.data : "", bytes.length);
        secret->length = bytes.length;
}

static inline struct view secret_view(const struct secret *secret)
{
        return (struct view){ secret->bytes, secret->length };
}
