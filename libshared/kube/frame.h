/*
 * frame: cut a stream of JSON values at their ends.
 *
 * A watch answers with one value after the other, with any blanks between them, and the network cuts that anywhere. A value that came in one
 * piece is handed over where it lies; only what is split is collected.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

#define FRAME_LIMIT ((size_t)16 << 20)

struct frames {
        struct buffer rest; /* the start of a value */
        size_t limit;
        size_t depth;
        bool inside, string, escape; /* of a value, of a string in it, behind a backslash */
};

/* limit 0: FRAME_LIMIT */
void frames_init(struct frames *frames, size_t limit);
void frames_release(struct frames *frames);
/* Forgets what was begun, and its memory. */
void frames_reset(struct frames *frames);

/* Outcomes of frames_feed, and of the function it calls. */
enum {
        FRAME_STOP = 1, /* the function said so */
        FRAME_TOO_LONG, /* a value is longer than the limit */
        FRAME_BROKEN,   /* something that is no object or array between the values */
};

/* Calls each(data, value) for every value that ends in `bytes`; 0, or an outcome, after which only a reset helps. */
int frames_feed(struct frames *frames, struct view bytes, int (*each)(void *data, struct view value), void *data);
