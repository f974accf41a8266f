/*
 * source_private: what the files of the source room share. For no one else.
 */
#pragma once

#include "source.h"

/*
 * At the beginning of every run. The first one of the program finds the list of objects complete and nothing written yet: what vanished objects left in
 * the storage goes, and every object whose artifact is not there says so, before anything takes time. Tells whether that happened to the run's own object
 * (source->lost, source->previous_digest). Nothing here fails a run: each finds out about its own object anyway.
 */
void source_start(struct context *ctx, struct source_run *source);

/* There is no artifact (any more), and one is being made. */
void source_mark_missing(struct json *object, bool was_there);
