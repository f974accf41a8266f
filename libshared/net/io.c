#include "net/io.h"

#include "base/clock.h"
#include "base/context.h"
#include "base/memory.h"
#include "net/io_private.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH        32
#define STACK_BYTES  ((size_t)512 << 10)
#define HEARTBEAT_MS 10000

struct letter {
        struct letter *next;
        io_fn *fn;
        void *argument;
        sem_t *done; /* of io_run_wait, where the letter is on the sender's stack; else NULL and it is malloc'd */
};

struct io {
        pthread_t thread;
        int epoll;
        int wake;
        _Atomic int64_t heartbeat_ms;
        pthread_mutex_t lock;
        struct letter *first, **last; /* under lock */
        /* The rest belongs to the io thread. */
        bool stopping;
        struct io_timer **heap; /* from index 1 */
        size_t heap_length, heap_capacity;
        struct epoll_event events[BATCH];
        int event_count, event_at;
        void *attached;
        void (*attached_stop)(void *data);
};

static bool before(const struct io *io, size_t a, size_t b)
{
        return io->heap[a]->at_ms < io->heap[b]->at_ms;
}

static void heap_swap(struct io *io, size_t a, size_t b)
{
        struct io_timer *timer = io->heap[a];

        io->heap[a] = io->heap[b];
        io->heap[b] = timer;
        io->heap[a]->place = a;
        io->heap[b]->place = b;
}

static void heap_settle(struct io *io, size_t at)
{
        while (at > 1 && before(io, at, at / 2)) {
                heap_swap(io, at, at / 2);
                at /= 2;
        }
        for (;;) {
                size_t least = at;

                if (2 * at <= io->heap_length && before(io, 2 * at, least))
                        least = 2 * at;
                if (2 * at + 1 <= io->heap_length && before(io, 2 * at + 1, least))
                        least = 2 * at + 1;
                if (least == at)
                        return;
                heap_swap(io, at, least);
                at = least;
        }
}

void io_timer_set(struct io *io, struct io_timer *timer, int64_t at_ms)
{
        timer->at_ms = at_ms;
        if (!timer->place) {
                if (io->heap_length + 1 >= io->heap_capacity) {
                        io->heap_capacity = io->heap_capacity ? io->heap_capacity * 2 : 64;
                        io->heap = memory_resize(io->heap, io->heap_capacity, sizeof(struct io_timer *));
                }
                timer->place = ++io->heap_length;
                io->heap[timer->place] = timer;
        }
        heap_settle(io, timer->place);
}

void io_timer_cancel(struct io *io, struct io_timer *timer)
{
        size_t at = timer->place;

        if (!at)
                return;
        timer->place = 0;
        if (at != io->heap_length) {
                io->heap[at] = io->heap[io->heap_length];
                io->heap[at]->place = at;
                io->heap_length--;
                heap_settle(io, at);
        } else {
                io->heap_length--;
        }
}

bool io_timer_pending(const struct io_timer *timer)
{
        return timer->place != 0;
}

int io_descriptor_set(struct io *io, struct io_descriptor *descriptor, uint32_t events, struct error *err)
{
        struct epoll_event event = { .events = events, .data.ptr = descriptor };

        if (epoll_ctl(io->epoll, descriptor->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor->fd, &event) < 0)
                return error_set_errno(err, errno, "wait for a descriptor");
        descriptor->added = true;
        return 0;
}

void io_descriptor_remove(struct io *io, struct io_descriptor *descriptor)
{
        if (descriptor->added)
                epoll_ctl(io->epoll, EPOLL_CTL_DEL, descriptor->fd, NULL);
        io_descriptor_closed(io, descriptor);
}

void io_descriptor_closed(struct io *io, struct io_descriptor *descriptor)
{
        descriptor->added = false;
        /* It may be gone before the rest of this batch is looked at. */
        for (int i = io->event_at; i < io->event_count; i++)
                if (io->events[i].data.ptr == descriptor)
                        io->events[i].data.ptr = NULL;
}

void io_attach(struct io *io, void *data, void (*stop)(void *data))
{
        io->attached = data;
        io->attached_stop = stop;
}

void *io_attached(const struct io *io)
{
        return io->attached;
}

static void post(struct io *io, struct letter *letter)
{
        bool empty;

        pthread_mutex_lock(&io->lock);
        empty = !io->first;
        *io->last = letter;
        io->last = &letter->next;
        pthread_mutex_unlock(&io->lock);
        if (empty)
                context_wake(io->wake);
}

void io_run(struct io *io, io_fn *fn, void *argument)
{
        struct letter *letter = memory_zero(1, sizeof(*letter));

        letter->fn = fn;
        letter->argument = argument;
        post(io, letter);
}

void io_run_wait(struct io *io, io_fn *fn, void *argument)
{
        sem_t done;
        struct letter letter = { .fn = fn, .argument = argument, .done = &done };

        if (io_here(io)) {
                fn(argument);
                return;
        }
        sem_init(&done, 0, 0);
        post(io, &letter);
        while (sem_wait(&done) < 0 && errno == EINTR)
                ;
        sem_destroy(&done);
}

bool io_here(const struct io *io)
{
        return pthread_equal(pthread_self(), io->thread);
}

int64_t io_heartbeat(const struct io *io)
{
        return atomic_load(&io->heartbeat_ms);
}

static void mailbox_run(struct io *io)
{
        struct letter *letter;

        pthread_mutex_lock(&io->lock);
        letter = io->first;
        io->first = NULL;
        io->last = &io->first;
        pthread_mutex_unlock(&io->lock);

        while (letter) {
                struct letter *next = letter->next;
                sem_t *done = letter->done;

                letter->fn(letter->argument);
                if (done)
                        sem_post(done);
                else
                        free(letter);
                letter = next;
        }
}

/* Those that are due now, not those that they set: a timer at "now" waits for the next turn, behind the descriptors. */
static void timers_run(struct io *io)
{
        int64_t now = clock_now_ms();

        for (size_t due = io->heap_length; due > 0 && io->heap_length > 0 && io->heap[1]->at_ms <= now; due--) {
                struct io_timer *timer = io->heap[1];

                io_timer_cancel(io, timer);
                timer->fn(timer->argument);
        }
}

static int wait_ms(const struct io *io)
{
        int64_t left;

        if (!io->heap_length)
                return HEARTBEAT_MS;
        left = io->heap[1]->at_ms - clock_now_ms();
        if (left <= 0)
                return 0;
        return left < HEARTBEAT_MS ? (int)left : HEARTBEAT_MS;
}

static void turn(struct io *io)
{
        io->event_count = epoll_wait(io->epoll, io->events, BATCH, wait_ms(io));
        atomic_store(&io->heartbeat_ms, clock_now_ms());
        for (io->event_at = 0; io->event_at < io->event_count;) {
                struct epoll_event event = io->events[io->event_at++];
                struct io_descriptor *descriptor = event.data.ptr;

                if (descriptor)
                        descriptor->fn(descriptor->argument, event.events);
        }
        io->event_count = 0;
        timers_run(io);
}

static void wake_read(void *argument, uint32_t events)
{
        struct io *io = argument;
        eventfd_t count;

        (void)events;
        eventfd_read(io->wake, &count);
        mailbox_run(io);
}

static void *loop(void *argument)
{
        struct io *io = argument;
        struct io_descriptor wake = { .fd = io->wake, .fn = wake_read, .argument = io };
        struct error err = ERROR_NULL;

        /* io_start holds the lock until the thread's id is written. */
        pthread_mutex_lock(&io->lock);
        pthread_mutex_unlock(&io->lock);
        if (io_descriptor_set(io, &wake, EPOLLIN, &err) < 0)
                memory_exhausted();
        while (!io->stopping)
                turn(io);
        if (io->attached_stop)
                io->attached_stop(io->attached);
        mailbox_run(io); /* what the ends of the transfers asked for */
        io_descriptor_remove(io, &wake);
        return NULL;
}

static void io_free(struct io *io)
{
        if (io->epoll >= 0)
                close(io->epoll);
        if (io->wake >= 0)
                close(io->wake);
        pthread_mutex_destroy(&io->lock);
        free(io->heap);
        free(io);
}

/* Signals are for the main thread, but for the one by which a profile asks each thread what it does. */
static int thread_start(struct io *io)
{
        pthread_attr_t attributes;
        sigset_t all, old;
        int r;

        sigfillset(&all);
        sigdelset(&all, SIGPROF);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        pthread_mutex_lock(&io->lock);
        r = pthread_create(&io->thread, &attributes, loop, io);
        pthread_mutex_unlock(&io->lock);
        pthread_attr_destroy(&attributes);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (r == 0)
                pthread_setname_np(io->thread, "io");
        return r;
}

int io_start(struct io **ret_io, struct error *err)
{
        struct io *io = memory_zero(1, sizeof(*io));
        int r;

        io->last = &io->first;
        pthread_mutex_init(&io->lock, NULL);
        atomic_store(&io->heartbeat_ms, clock_now_ms());
        io->epoll = epoll_create1(EPOLL_CLOEXEC);
        io->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (io->epoll < 0 || io->wake < 0)
                r = errno;
        else
                r = thread_start(io);
        if (r != 0) {
                io_free(io);
                return error_set_errno(err, r, "start the io thread");
        }
        *ret_io = io;
        return 0;
}

static void stop(void *argument)
{
        struct io *io = argument;

        io->stopping = true;
}

void io_stop(struct io **io)
{
        if (!*io)
                return;
        io_run(*io, stop, *io);
        pthread_join((*io)->thread, NULL);
        io_free(*io);
        *io = NULL;
}
