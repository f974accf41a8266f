/*
 * io_private: what the http room keeps with the loop. For no one else.
 */
#pragma once

#include "net/io.h"

/* Set once, from the io thread; `stop` is called on the io thread before the loop ends. */
void io_attach(struct io *io, void *data, void (*stop)(void *data));
void *io_attached(const struct io *io);
