/*
 * profile: where a process spends its processor time.
 *
 * While a profile is taken, SIGPROF interrupts whatever thread runs, a hundred times in each second of processor time, and its stack is noted. A process
 * that does nothing is not interrupted at all. One profile at a time, from any thread; costs nothing while none is taken.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>

#define PROFILE_SECONDS_LIMIT 300

/* Begins one, or does nothing: 0, or a PROFILE_* of the one there is. */
int profile_start(unsigned seconds);

enum {
        PROFILE_RUNNING = 1,
        PROFILE_FINISHED, /* not taken yet */
        PROFILE_NONE,
};

int profile_state(void);

/*
 * Ends and forgets it. Appends "thread;outermost;...;innermost count", a line for each different stack, the most frequent first: what flame graph tools read.
 * Functions that have no dynamic symbol are "file+0x1234", which addr2line understands. Nothing is appended if there is none.
 */
void profile_take(struct buffer *text);
