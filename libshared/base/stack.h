/*
 * stack: which calls led to a place in the program.
 *
 * A function that has a dynamic symbol is shown by its name, others are "file+0x1234", which addr2line understands.
 */
#pragma once

#include "base/str.h"

/* The name of the call behind a return address, as backtrace(3) gives it. Appended. */
void stack_print_frame(const void *frame, struct buffer *text);
/* Who called the caller, and so on, innermost first, a line each. Appended, without a line break at the end. From any thread, not from a signal handler. */
void stack_print(struct buffer *text);
