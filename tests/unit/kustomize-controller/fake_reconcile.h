/*
 * fake_reconcile: what a run asks of the loop that calls it, in place of kube/program.c and kube/controller.c. No gate is on, and nobody waits or interrupts.
 */
#pragma once

#include "../../../kustomize-controller/run.h"
#include "kube/controller.h"

bool runtime_gate(const struct runtime *runtime, const char *name)
{
        (void)runtime, (void)name;
        return false;
}

bool object_force_requested(const struct json *object)
{
        (void)object;
        return false;
}

void reconcile_expect(struct reconcile *run, int64_t milliseconds)
{
        (void)run, (void)milliseconds;
}

void reconcile_wait_begin(struct reconcile *run)
{
        (void)run;
}

void reconcile_wait_end(struct reconcile *run)
{
        (void)run;
}

unsigned reconcile_most(const struct reconcile *run)
{
        (void)run;
        return 1;
}

void reconcile_interruptible(struct reconcile *run)
{
        (void)run;
}
