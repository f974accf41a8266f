/*
 * parallel: the same blocking step for many things, a few at a time.
 *
 * Threads start when they are needed, and end when they were not for some seconds: what a thread keeps (its stack, its part of the heap) is
 * memory. A caller always works itself, so it makes progress when all helpers are busy with others.
 */
#pragma once

#include <stddef.h>

struct parallel;

/* At most so many helpers; 0 is fine: everything happens on the callers' threads. */
struct parallel *parallel_new(unsigned threads);
/* Nothing may be running. For cleanup; NULL is fine. */
void parallel_free(struct parallel **parallel);

/*
 * Calls fn(argument, i) once for each i below count, at most `limit` (at least 1) at the same time, and returns when all are done. They start in
 * order. `parallel` may be NULL.
 */
void parallel_each(struct parallel *parallel, unsigned limit, size_t count, void (*fn)(void *argument, size_t index),
                   void *argument);
