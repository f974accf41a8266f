#include "base/clock.h"
#include "base/memory.h"
#include "net/http_private.h"

#include <stdlib.h>

struct http_stream {
        struct http_transfer transfer; /* first: what the callbacks get is the stream too */
        struct http_stream *waiting_next;
        bool waiting, started;
        unsigned lane;
        struct error refused; /* what was wrong with the request */
        const struct http_stream_events *events;
        void *data;
};

/* Starts and frees when curl is not calling. */
static void wait_for_kick(struct http_stream *stream)
{
        struct http_engine *engine = stream->transfer.engine;

        if (stream->waiting)
                return;
        stream->waiting = true;
        stream->waiting_next = engine->waiting;
        engine->waiting = stream;
        io_timer_set(engine->io, &engine->kick, clock_now_ms());
}

static void stream_free(struct http_stream *stream)
{
        http_transfer_remove(&stream->transfer);
        http_transfer_release(&stream->transfer);
        error_release(&stream->refused);
        free(stream);
}

static void stream_start(struct http_transfer *transfer)
{
        struct http_stream *stream = (struct http_stream *)transfer;

        if (stream->events->start)
                stream->events->start(stream->data, &transfer->response);
}

static size_t stream_bytes(struct http_transfer *transfer, struct view bytes)
{
        struct http_stream *stream = (struct http_stream *)transfer;

        stream->events->bytes(stream->data, bytes);
        return transfer->closed ? 0 : bytes.length;
}

static void stream_end(struct http_transfer *transfer, struct error *err)
{
        struct http_stream *stream = (struct http_stream *)transfer;

        if (!transfer->closed) {
                transfer->closed = true;
                stream->events->end(stream->data, &transfer->response, err);
        }
        wait_for_kick(stream);
}

struct http_stream *http_stream_open(struct io *io, const struct http_request *request, const struct http_stream_events *events,
                                     void *data)
{
        struct http_stream *stream = memory_zero(1, sizeof(*stream));
        struct http_engine *engine = http_engine_of(io);

        stream->events = events;
        stream->data = data;
        stream->lane = request->lane == HTTP_BUSY ? LANE_BUSY_STREAMS : LANE_STREAMS;
        if (http_transfer_prepare(engine, &stream->transfer, request, &stream->refused) == 0) {
                if (!request->body_limit)
                        stream->transfer.body_limit = UINT64_MAX;
                stream->transfer.start = stream_start;
                stream->transfer.bytes = stream_bytes;
                stream->transfer.end = stream_end;
        }
        stream->transfer.engine = engine;
        wait_for_kick(stream);
        return stream;
}

void http_stream_close(struct http_stream *stream)
{
        stream->transfer.closed = true;
        wait_for_kick(stream);
}

void http_streams_kick(struct http_engine *engine)
{
        struct http_stream *stream = engine->waiting;

        engine->waiting = NULL;
        while (stream) {
                struct http_stream *next = stream->waiting_next;

                stream->waiting = false;
                if (stream->transfer.closed) {
                        stream_free(stream);
                } else if (stream->refused.kind != ERROR_NONE) {
                        stream_end(&stream->transfer, &stream->refused);
                } else if (!stream->started) {
                        stream->started = true;
                        http_transfer_start(&stream->transfer, stream->lane);
                }
                stream = next;
        }
}
