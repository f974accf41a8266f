/*
 * job_test: what the test programs of the job room share.
 */
#pragma once

#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/memory.h"

#include <unistd.h>

#define MIB (1024ull * 1024)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* A limit that is hit must look as it does without the sanitizer: no memory, not a report. */
const char *__asan_default_options(void) __attribute__((__visibility__("default")));
const char *__asan_default_options(void)
{
        return "allocator_may_return_null=1:handle_segv=0:handle_abort=0:detect_stack_use_after_return=0";
}

const char *__tsan_default_options(void) __attribute__((__visibility__("default")));
const char *__tsan_default_options(void)
{
        return "allocator_may_return_null=1:handle_segv=0:handle_abort=0:die_after_fork=0";
}

static inline int run(job_fn *fn, const char *input, const struct job_limits *limits, const struct job_grant *grant,
                      struct job_result *result, struct error *err)
{
        struct context ctx;
        int r;

        context_open(&ctx, NULL, clock_now_ms() + 60000);
        r = job_run(&ctx, fn, view_of(input), limits, grant, result, err);
        context_close(&ctx);
        return r;
}

static inline int upper(struct job *job, struct error *err)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        for (size_t i = 0; i < job->input.length; i++) {
                char c = job->input.data[i];

                buffer_add_char(&text, c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
        }
        return job_write(job, buffer_view(&text), err);
}

__attribute__((__no_sanitize__("undefined"))) static inline int crash(struct job *job, struct error *err)
{
        (void)err;
        return *(volatile int *)job->input.data; /* there is no input */
}

static inline int loops(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        for (volatile unsigned i = 0;; i++)
                ;
        return 0;
}

static inline int sleeps(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        for (;;)
                pause();
        return 0;
}
