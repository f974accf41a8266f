/*
 * fake_program: in place of kube/controller.c and kube/program.c, as far as a run of a source asks them.
 */
#pragma once

#include "../../../source-controller/source.h"

static struct cache *cache; /* of the kind */

struct cache *controller_cache(const struct controller *controller)
{
        (void)controller;
        return cache;
}

const char *object_requested_at(const struct json *object)
{
        (void)object;
        return NULL;
}

int64_t runtime_jitter(const struct runtime *runtime, int64_t interval_ns)
{
        (void)runtime;
        return interval_ns;
}
