/*
 * fake_store: what each test of a room needs that reads and writes objects through fake_server: the objects, an arena and a context, from its setup to its
 * teardown.
 */
#pragma once

#include "fake_server.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/context.h"

static struct arena *arena;
static struct context context;

typedef int fake_answer(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error);

static inline void fake_store_begin(fake_answer *answer, struct json **ret_objects)
{
        fake_reset();
        fake.answer = answer;
        *ret_objects = json_new_object();
        arena = arena_new();
        context_open(&context, NULL, CLOCK_NEVER);
}

static inline void fake_store_end(struct json **objects)
{
        fake_reset();
        json_free(objects);
        arena_free(&arena);
        context_close(&context);
}
