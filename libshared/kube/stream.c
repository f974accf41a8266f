#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kube/client_private.h"

#include <stdlib.h>

struct kube_stream {
        struct kube_client *client;
        struct http_stream *http;
        struct kube_request about; /* for the text of a failure: verb, resource and name only */
        char *name;
        unsigned generation;
        const struct kube_stream_events *events;
        void *data;
        /* What kept it from going out at all; told from a timer, because no callback comes before open returns. */
        struct error refused;
        struct io_timer tell;
};

static void stream_free(struct kube_stream *stream)
{
        io_timer_cancel(stream->client->server->io, &stream->tell);
        kube_client_release(&stream->client);
        error_release(&stream->refused);
        free(stream->name);
        free(stream);
}

static bool succeeded(const struct http_response *response)
{
        return response->status >= 200 && response->status <= 206;
}

static void on_start(void *data, const struct http_response *head)
{
        struct kube_stream *stream = data;

        kube_count(stream->client->server, "GET", head->status);
        kube_warn(stream->client->server, head->warnings);
        if (succeeded(head) && stream->events->start)
                stream->events->start(stream->data);
}

static void on_bytes(void *data, struct view bytes)
{
        struct kube_stream *stream = data;

        stream->events->bytes(stream->data, bytes);
}

static void on_end(void *data, const struct http_response *response, const struct error *err)
{
        struct kube_stream *stream = data;
        struct kube_server *server = stream->client->server;
        cleanup(error_release) struct error failure = ERROR_NULL;

        if (!response->status)
                kube_count(server, "GET", 0);
        if (err && err->http_status == 0 && view_is(view_of(err->reason), HTTP_UNVERIFIED))
                kube_access_unverified(server, stream->generation);
        if (!err && !succeeded(response)) {
                if (response->status == 401)
                        kube_access_refused(server, stream->generation);
                kube_failure(&stream->about, response, &failure);
                err = &failure;
        }
        stream->events->end(stream->data, err);
        stream_free(stream);
}

static void tell_refused(void *argument)
{
        struct kube_stream *stream = argument;

        stream->events->end(stream->data, &stream->refused);
        stream_free(stream);
}

static const struct http_stream_events http_events = { .start = on_start, .bytes = on_bytes, .end = on_end };

static int open_stream(struct kube_stream *stream, const struct kube_request *request)
{
        struct kube_server *server = stream->client->server;
        cleanup(kube_wire_release) struct kube_wire wire;
        cleanup(kube_access_release) struct kube_access access = { NULL };

        wire = (struct kube_wire){ .url = BUFFER_NULL };
        TRY(kube_wire_make(stream->client, request, &wire, &stream->refused));
        TRY(kube_access_get(NULL, server, &access, &stream->refused));
        stream->generation = access.generation;
        kube_wire_access(&wire, &access);
        wire.request.ping_url = server->ping_url;
        stream->http = http_stream_open(server->io, &wire.request, &http_events, stream);
        return 0;
}

struct kube_stream *kube_stream_open(struct kube_client *client, const struct kube_request *request,
                                     const struct kube_stream_events *events, void *data)
{
        struct kube_stream *stream = memory_zero(1, sizeof(*stream));

        stream->client = kube_client_ref(client);
        stream->events = events;
        stream->data = data;
        stream->name = request->name ? memory_string(request->name) : NULL;
        stream->about = (struct kube_request){ .verb = request->verb, .resource = request->resource, .name = stream->name };
        stream->tell = (struct io_timer){ .fn = tell_refused, .argument = stream };
        if (open_stream(stream, request) < 0)
                io_timer_set(client->server->io, &stream->tell, clock_now_ms());
        return stream;
}

void kube_stream_close(struct kube_stream *stream)
{
        if (stream->http)
                http_stream_close(stream->http);
        stream_free(stream);
}
