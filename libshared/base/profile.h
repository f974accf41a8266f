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

/*
 * Begins one, if there is none.
 *
 *  0                 begun
 *  PROFILE_RUNNING   there is one, whose time is not over
 *  PROFILE_FINISHED  there is one that was not taken yet
 */
int profile_start(unsigned seconds);

#define PROFILE_RUNNING  1
#define PROFILE_FINISHED 2

/*
 * Ends and forgets it. Appends "thread;outermost;...;innermost count", a line for each different stack (base/stack.h), the most frequent first: what flame graph tools
 * read. Nothing is appended if there is none.
 */
void profile_take(struct buffer *text);
