#include "base/turns.h"

#include <stddef.h>

/* On the stack of a thread that waits; in the list while its turn has not come. Each is woken by itself: many may wait. */
struct turns_waiter {
        struct turns_waiter *next;
        pthread_cond_t come;
        bool turn;
};

void turns_init(struct turns *turns, unsigned limit)
{
        *turns = (struct turns){ .limit = limit };
        turns->last = &turns->first;
        pthread_mutex_init(&turns->lock, NULL);
}

void turns_destroy(struct turns *turns)
{
        pthread_mutex_destroy(&turns->lock);
}

static void wait_in_line(struct turns *turns)
{
        struct turns_waiter waiter = { .come = PTHREAD_COND_INITIALIZER };

        *turns->last = &waiter;
        turns->last = &waiter.next;
        while (!waiter.turn)
                pthread_cond_wait(&waiter.come, &turns->lock);
        pthread_cond_destroy(&waiter.come);
}

static void call_first(struct turns *turns)
{
        struct turns_waiter *waiter = turns->first;

        turns->first = waiter->next;
        if (!turns->first)
                turns->last = &turns->first;
        waiter->turn = true;
        pthread_cond_signal(&waiter->come);
}

void turns_take(struct turns *turns)
{
        uint64_t ticket;

        pthread_mutex_lock(&turns->lock);
        ticket = turns->asked++;
        if (!turns->open && ticket >= turns->over + turns->limit)
                wait_in_line(turns);
        pthread_mutex_unlock(&turns->lock);
}

void turns_leave(struct turns *turns)
{
        pthread_mutex_lock(&turns->lock);
        turns->over++;
        if (turns->first)
                call_first(turns);
        pthread_mutex_unlock(&turns->lock);
}

void turns_open(struct turns *turns)
{
        pthread_mutex_lock(&turns->lock);
        turns->open = true;
        while (turns->first)
                call_first(turns);
        pthread_mutex_unlock(&turns->lock);
}
