#include "base/turns.h"

void turns_init(struct turns *turns, unsigned limit)
{
        *turns = (struct turns){ .limit = limit };
        pthread_mutex_init(&turns->lock, NULL);
        pthread_cond_init(&turns->changed, NULL);
}

void turns_destroy(struct turns *turns)
{
        pthread_cond_destroy(&turns->changed);
        pthread_mutex_destroy(&turns->lock);
}

void turns_take(struct turns *turns)
{
        uint64_t ticket;

        pthread_mutex_lock(&turns->lock);
        ticket = turns->asked++;
        while (!turns->open && ticket >= turns->over + turns->limit)
                pthread_cond_wait(&turns->changed, &turns->lock);
        pthread_mutex_unlock(&turns->lock);
}

void turns_leave(struct turns *turns)
{
        pthread_mutex_lock(&turns->lock);
        turns->over++;
        pthread_cond_broadcast(&turns->changed); /* the one whose turn it is may be any of them */
        pthread_mutex_unlock(&turns->lock);
}

void turns_open(struct turns *turns)
{
        pthread_mutex_lock(&turns->lock);
        turns->open = true;
        pthread_cond_broadcast(&turns->changed);
        pthread_mutex_unlock(&turns->lock);
}
