/*
 * Waiters are the eventfds of sleeping threads. A sleeping thread is in the list of every context of its chain, so that cancelling any of them
 * is one walk over that list. A context's lock guards its list; chains are short and locks are taken one at a time, from the leaf up.
 */
#include "base/context.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEPTH_LIMIT 8 /* process > leadership > run > step, and room for as many again */
#define POLL_LIMIT  16

struct context_waiter {
        struct context_waiter *next;
        int handle;
};

void context_open(struct context *context, struct context *parent, int64_t deadline_ms)
{
        *context = (struct context){ .parent = parent, .deadline_ms = deadline_ms };
        pthread_mutex_init(&context->lock, NULL);
}

void context_close(struct context *context)
{
        pthread_mutex_destroy(&context->lock);
}

void context_cancel(struct context *context, enum context_cause cause)
{
        int seen = atomic_load(&context->cause);

        while (seen < (int)cause && !atomic_compare_exchange_weak(&context->cause, &seen, (int)cause))
                ;
        pthread_mutex_lock(&context->lock);
        for (struct context_waiter *waiter = context->waiters; waiter; waiter = waiter->next)
                context_wake(waiter->handle);
        pthread_mutex_unlock(&context->lock);
}

int64_t context_deadline(const struct context *context)
{
        int64_t deadline = CLOCK_NEVER;

        for (; context; context = context->parent)
                if (context->deadline_ms < deadline)
                        deadline = context->deadline_ms;
        return deadline;
}

enum context_cause context_cause(const struct context *context)
{
        enum context_cause highest = CONTEXT_RUNNING;

        for (const struct context *c = context; c; c = c->parent) {
                enum context_cause cause = (enum context_cause)atomic_load(&c->cause);

                if (cause > highest)
                        highest = cause;
        }
        if (highest < CONTEXT_TIMEOUT && clock_now_ms() >= context_deadline(context))
                highest = CONTEXT_TIMEOUT;
        return highest;
}

int context_check(struct context *context, struct error *error)
{
        switch (context_cause(context)) {
        case CONTEXT_RUNNING:
                return 0;
        case CONTEXT_TIMEOUT:
                return error_set(error, ERROR_TIMEOUT, "context deadline exceeded");
        case CONTEXT_SUPERSEDED:
        case CONTEXT_GONE:
        case CONTEXT_LEASE_LOST:
        case CONTEXT_SHUTDOWN:
                break;
        }
        return error_set(error, ERROR_CANCELLED, "context canceled");
}

static pthread_once_t handle_once = PTHREAD_ONCE_INIT;
static pthread_key_t handle_key;

static void handle_close(void *value)
{
        close((int)(intptr_t)value - 1);
}

static void handle_key_make(void)
{
        if (pthread_key_create(&handle_key, handle_close) != 0)
                memory_exhausted();
}

int context_wake_handle(void)
{
        intptr_t value;

        pthread_once(&handle_once, handle_key_make);
        value = (intptr_t)pthread_getspecific(handle_key);
        if (!value) {
                int handle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

                if (handle < 0 && (errno == EMFILE || errno == ENFILE))
                        descriptors_exhausted();
                if (handle < 0)
                        memory_exhausted();
                value = handle + 1; /* NULL means none */
                pthread_setspecific(handle_key, (void *)value);
        }
        return (int)value - 1;
}

void context_wake(int handle)
{
        while (eventfd_write(handle, 1) < 0 && errno == EINTR)
                ;
}

static void waiter_add(struct context *context, struct context_waiter *waiter)
{
        pthread_mutex_lock(&context->lock);
        waiter->next = context->waiters;
        context->waiters = waiter;
        pthread_mutex_unlock(&context->lock);
}

static void waiter_remove(struct context *context, struct context_waiter *waiter)
{
        pthread_mutex_lock(&context->lock);
        for (struct context_waiter **link = &context->waiters; *link; link = &(*link)->next) {
                if (*link == waiter) {
                        *link = waiter->next;
                        break;
                }
        }
        pthread_mutex_unlock(&context->lock);
}

static int wait_time(const struct context *context, int64_t timeout_ms)
{
        int64_t deadline = context_deadline(context);
        int64_t left = deadline == CLOCK_NEVER ? -1 : deadline - clock_now_ms();

        if (deadline != CLOCK_NEVER && left < 0)
                left = 0;
        if (left < 0 || (timeout_ms >= 0 && timeout_ms < left))
                left = timeout_ms;
        return left > INT32_MAX ? INT32_MAX : (int)left;
}

int context_poll(struct context *context, struct pollfd *descriptors, unsigned count, int64_t timeout_ms, struct error *error)
{
        struct context_waiter waiters[DEPTH_LIMIT];
        struct pollfd all[POLL_LIMIT + 1];
        unsigned depth = 0;
        eventfd_t drained;
        int handle = context_wake_handle();
        int r;

        if (count > POLL_LIMIT)
                return error_set(error, ERROR_INTERNAL, "a wait on %u descriptors, more than %d", count, POLL_LIMIT);
        for (struct context *c = context; c && depth < DEPTH_LIMIT; c = c->parent, depth++) {
                waiters[depth] = (struct context_waiter){ .handle = handle };
                waiter_add(c, &waiters[depth]);
        }
        /* The check comes after the enlisting: a cancellation is either seen here or wakes the poll. */
        r = context_check(context, error);
        if (r == 0) {
                for (unsigned i = 0; i < count; i++)
                        all[i] = descriptors[i];
                all[count] = (struct pollfd){ .fd = handle, .events = POLLIN };
                r = poll(all, count + 1, wait_time(context, timeout_ms));
                if (r < 0 && errno != EINTR) {
                        r = error_set_errno(error, errno, "poll");
                } else {
                        r = 0;
                        for (unsigned i = 0; i < count; i++) {
                                descriptors[i].revents = all[i].revents;
                                r += all[i].revents != 0;
                        }
                        if (all[count].revents & POLLIN)
                                eventfd_read(handle, &drained);
                        if (r == 0)
                                r = context_check(context, error);
                }
        }
        depth = 0;
        for (struct context *c = context; c && depth < DEPTH_LIMIT; c = c->parent, depth++)
                waiter_remove(c, &waiters[depth]);
        return r;
}

int context_sleep(struct context *context, int64_t milliseconds, struct error *error)
{
        int64_t end = clock_now_ms() + milliseconds;

        for (;;) {
                int64_t left = end - clock_now_ms();

                if (left <= 0)
                        return context_check(context, error);
                if (context_poll(context, NULL, 0, left, error) < 0)
                        return -1;
        }
}
