/*
 * fake_watch: in place of kustomization_wake.c and kube/watch_pool.c: nothing is watched, and nobody else woken.
 */
#pragma once

#include "../../../kustomize-controller/run.h"
#include "base/clock.h"

void wake_dependents(struct run *run)
{
        (void)run;
}

void forget_owner(const char *namespace, const char *name)
{
        (void)namespace, (void)name;
}

void wake_sharers(struct run *run, const struct apply_changes *pruned)
{
        (void)run, (void)pruned;
}

struct watch *watch_pool_use(struct watch_pool *pool, const struct kube_resource *resource)
{
        (void)pool, (void)resource;
        return NULL;
}

void watch_pool_release(struct watch_pool *pool, const struct kube_resource *resource)
{
        (void)pool, (void)resource;
}

bool watch_synced(const struct watch *watch)
{
        (void)watch;
        return false;
}

bool watch_current(const struct watch *watch)
{
        (void)watch;
        return false;
}

int64_t watch_age_ms(const struct watch *watch)
{
        (void)watch;
        return CLOCK_NEVER;
}
