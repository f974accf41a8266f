/*
 * io: the one thread that waits for the network.
 *
 * An epoll loop with a heap of timers and a mailbox. All HTTP transfers of the process, watches included, run on it (net/http.h). What is called
 * back on this thread never blocks, reads no large inputs and builds no JSON trees: it copies, counts and hands over.
 *
 * io_run, io_run_wait, io_here and io_heartbeat may be called from any thread, start and stop from any other; timers and descriptors belong to the io thread.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io;

typedef void io_fn(void *argument);

int io_start(struct io **ret_io, struct error *err);
/*
 * Ends the loop, ends every transfer (their callers get ERROR_CANCELLED) and joins the thread; functions still in the mailbox are run first.
 * Nothing may be submitted meanwhile or afterwards. For cleanup(io_stop); NULL is fine.
 */
void io_stop(struct io **io);

/* Runs fn(argument) soon on the io thread, in the order of the calls. */
void io_run(struct io *io, io_fn *fn, void *argument);
/* As io_run, and returns once it has run; called on the io thread, it runs directly. */
void io_run_wait(struct io *io, io_fn *fn, void *argument);
/* True on the io thread itself. */
bool io_here(const struct io *io);
/* The monotonic millisecond at which the loop last turned; it turns at least every 10 s. For /healthz: older than 60 s is a wedge. */
int64_t io_heartbeat(const struct io *io);

/* Initialised with fn and argument, all else zero; must stay where it is while it is set. */
struct io_timer {
        io_fn *fn;
        void *argument;
        int64_t at_ms; /* private from here on */
        size_t place;  /* in the heap, from 1; 0: not set */
};

/* Fires once, at or after that instant of clock_now_ms(); moves a timer that is already set. */
void io_timer_set(struct io *io, struct io_timer *timer, int64_t at_ms);
void io_timer_cancel(struct io *io, struct io_timer *timer);
bool io_timer_pending(const struct io_timer *timer);

/* A descriptor in the loop (level-triggered). Initialised with fd, fn and argument; must stay where it is until it is removed. */
struct io_descriptor {
        int fd;
        void (*fn)(void *argument, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP */
        void *argument;
        bool added; /* private */
};

/* Adds it, or changes what it waits for. */
int io_descriptor_set(struct io *io, struct io_descriptor *descriptor, uint32_t events, struct error *err);
void io_descriptor_remove(struct io *io, struct io_descriptor *descriptor);
/* The same for one that is closed already, whose number may be another's by now. */
void io_descriptor_closed(struct io *io, struct io_descriptor *descriptor);
