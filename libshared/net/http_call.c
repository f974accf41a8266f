/*
 * A worker's request lives on the worker's stack and is the io thread's from http_call's io_run until `left` is set: the worker does not return
 * before. The body for a sink is handed over in a buffer between the two, and the transfer pauses while that buffer is full.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "net/http_private.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#define HANDOVER_BYTES ((size_t)256 << 10)

struct call {
        struct http_transfer transfer; /* first: what the callbacks get is the call too */
        struct io *io;
        const struct http_request *request;
        int64_t timeout_ms;
        int handle;
        bool failed;
        struct error error;
        struct http_response response;
        _Atomic bool done; /* response or error are there */
        _Atomic bool left; /* the io thread touches nothing of this any more */
        /* For a sink. */
        pthread_mutex_t lock;
        struct buffer handover; /* under lock */
        bool paused;            /* under lock */
};

static void complete(struct call *call, struct error *err)
{
        if (err) {
                call->failed = true;
                error_move(&call->error, err);
        } else {
                call->response = call->transfer.response;
                call->transfer.response = HTTP_RESPONSE_NULL;
        }
        http_transfer_release(&call->transfer);
        atomic_store(&call->done, true);
        context_wake(call->handle);
        atomic_store(&call->left, true);
}

static void call_end(struct http_transfer *transfer, struct error *err)
{
        complete((struct call *)transfer, err);
}

static size_t call_bytes(struct http_transfer *transfer, struct view bytes)
{
        struct call *call = (struct call *)transfer;
        bool full;

        pthread_mutex_lock(&call->lock);
        full = call->handover.length + bytes.length > HANDOVER_BYTES;
        if (!full)
                buffer_add_view(&call->handover, bytes);
        call->paused = full;
        pthread_mutex_unlock(&call->lock);
        context_wake(call->handle);
        return full ? CURL_WRITEFUNC_PAUSE : bytes.length;
}

static void call_start(void *argument)
{
        struct call *call = argument;
        struct http_engine *engine = http_engine_of(call->io);
        struct http_lane_state *lane = &engine->lanes[call->request->lane == HTTP_URGENT ? LANE_URGENT : LANE_REQUESTS];
        struct error err = ERROR_NULL;

        if (http_transfer_prepare(engine, &call->transfer, call->request, &err) < 0) {
                complete(call, &err);
                return;
        }
        call->transfer.end_ms = call->timeout_ms;
        call->transfer.collects = !call->request->sink;
        call->transfer.bytes = call_bytes;
        call->transfer.end = call_end;
        http_transfer_start(&call->transfer, (unsigned)(lane - engine->lanes));
        http_lane_run(lane); /* the call may be over and gone after this */
}

static void call_cancel(void *argument)
{
        struct call *call = argument;

        if (atomic_load(&call->done))
                return;
        http_transfer_remove(&call->transfer);
        complete(call, NULL);
}

static void call_resume(void *argument)
{
        struct call *call = argument;

        if (!atomic_load(&call->done))
                curl_easy_pause(call->transfer.easy, CURLPAUSE_CONT);
}

/* What came so far goes to the sink, on this thread. */
static int drain(struct call *call, struct buffer *spare, struct error *err)
{
        struct buffer full;
        bool paused;

        pthread_mutex_lock(&call->lock);
        full = call->handover;
        call->handover = *spare;
        paused = call->paused;
        call->paused = false;
        pthread_mutex_unlock(&call->lock);
        if (paused)
                io_run_wait(call->io, call_resume, call);
        *spare = BUFFER_NULL;
        if (full.length && call->request->sink(call->request->sink_data, buffer_view(&full), err) < 0) {
                buffer_release(&full);
                return -1;
        }
        *spare = full;
        buffer_clear(spare);
        return 0;
}

static int wait(struct context *ctx, struct call *call, struct error *err)
{
        cleanup(buffer_release) struct buffer spare = BUFFER_NULL;
        bool done;

        do {
                done = atomic_load(&call->done);
                if (call->request->sink && drain(call, &spare, err) < 0)
                        return -1;
                if (!done && !atomic_load(&call->done) && context_poll(ctx, NULL, 0, -1, err) < 0)
                        return -1;
        } while (!done);
        return 0;
}

static int64_t time_left(struct context *ctx, const struct http_request *request)
{
        int64_t timeout_ms = request->timeout_ms ? request->timeout_ms : HTTP_TIMEOUT_MS;
        int64_t deadline = context_deadline(ctx);

        /* The context's own deadline has a text of its own: it ends the wait here, not the transfer there. */
        if (timeout_ms < 0 || (deadline != CLOCK_NEVER && deadline - clock_now_ms() < timeout_ms))
                return 0;
        return timeout_ms;
}

int http_call(struct context *ctx, struct io *io, const struct http_request *request, struct http_response *ret_response,
              struct error *err)
{
        struct call call = { .io = io, .request = request, .handle = context_wake_handle() };
        int r;

        TRY(context_check(ctx, err));
        call.timeout_ms = time_left(ctx, request);
        call.response = HTTP_RESPONSE_NULL;
        pthread_mutex_init(&call.lock, NULL);
        io_run(io, call_start, &call);
        r = wait(ctx, &call, err);
        if (r < 0)
                io_run_wait(io, call_cancel, &call);
        while (!atomic_load(&call.left))
                sched_yield();
        pthread_mutex_destroy(&call.lock);
        buffer_release(&call.handover);

        if (r == 0 && call.failed)
                r = error_move(err, &call.error);
        if (r < 0) {
                error_release(&call.error);
                http_response_release(&call.response);
                return -1;
        }
        *ret_response = call.response;
        return 0;
}
