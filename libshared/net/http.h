/*
 * http: requests and streams over the io thread (libcurl; HTTP/2 where the server offers it, else HTTP/1.1).
 *
 * A worker calls http_call and sleeps until the answer is there; the transfer itself runs on the io thread, many at a time over shared
 * connections. A cancelled or expired call is taken off the connection before http_call returns. A stream (a watch) lives on the io thread and is fed
 * back there, piece by piece.
 *
 * Requests, streams, busy streams and urgent requests have connections of their own, so that none of them queues behind another. Over HTTP/2 requests to one
 * server share one connection; over HTTP/1.1 each transfer under way has its own. Nothing is retried here and credentials are the
 * caller's headers.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/str.h"
#include "net/io.h"

#include <stdbool.h>
#include <stdint.h>

/* How to reach and trust a server: immutable, shared by counting, from any thread. Connections are shared by transfers with equal settings. */
struct http_settings;

struct http_settings_options {
        struct view ca;          /* PEM; replaces the system's roots; empty: the system's */
        struct view certificate; /* PEM of the client, with its chain; empty: none */
        struct view key;         /* PEM, unencrypted; overwritten when the settings go */
        const char *server_name; /* SNI and the name to verify, the Host header stays; NULL: the URL's host */
        bool insecure;           /* do not verify the server */
        bool http1;              /* never HTTP/2 */
        const char *proxy;       /* http, https or socks5 URL; "": none; NULL: by the environment (net/proxy.h) */
};

/* Copies everything. */
struct http_settings *http_settings_new(const struct http_settings_options *options);
struct http_settings *http_settings_ref(struct http_settings *settings);
void http_settings_release(struct http_settings **settings); /* for cleanup */
/* Closes all connections made with these settings, with what runs on them: a certificate changed, a peer is known to be gone. Any thread. */
void http_settings_close_connections(struct io *io, struct http_settings *settings);

struct http_header {
        const char *name;
        const char *value; /* without CR and LF: refused */
};

enum http_lane {
        HTTP_REQUESTS,
        HTTP_URGENT, /* lease renewals: never behind anything else */
        HTTP_BUSY, /* streams on which much comes: for each piece curl looks at every stream of the connection, so quiet ones have another */
};

/* Body bytes as they come, on the caller's thread; may block (the transfer is held back meanwhile). -1 ends the call with that error. */
typedef int http_sink_fn(void *data, struct view bytes, struct error *err);

#define HTTP_BODY_LIMIT       ((uint64_t)16 << 20)
#define HTTP_TIMEOUT_MS       60000
#define HTTP_FIRST_BYTE_MS    30000
#define HTTP_CONNECT_MS       30000
#define HTTP_ERROR_BODY_LIMIT ((size_t)64 << 10)

/* Everything is borrowed until the call returns; for a stream, until http_stream_open returns. */
struct http_request {
        const char *method; /* NULL: GET */
        const char *url;    /* http or https */
        const struct http_header *headers;
        unsigned header_count;
        struct view body;               /* data NULL: none */
        struct http_settings *settings; /* NULL: system roots, proxy by the environment */
        enum http_lane lane;
        int64_t timeout_ms;    /* of the whole, 0: HTTP_TIMEOUT_MS, -1: none; the context's deadline counts as well */
        int64_t first_byte_ms; /* until the headers of the answer are there; 0: HTTP_FIRST_BYTE_MS */
        uint64_t body_limit;   /* decoded bytes of the answer; 0: HTTP_BODY_LIMIT */
        bool compressed;       /* accept gzip and decode it */
        bool secret;           /* the collected body is overwritten when it goes */
        unsigned redirects; /* follow so many, https never to http, credentials only to the same host; 0: the 3xx is the answer */
        http_sink_fn *sink; /* takes the body of a 2xx answer; NULL: it is collected in the response */
        void *sink_data;
        /* Of a stream: answers quickly to a HEAD; asked when the connection was silent for long. NULL: never. */
        const char *ping_url;
};

struct http_response {
        int status;
        char *status_text; /* "403 Forbidden", as the server says it; HTTP/2 has no words for it. NULL: no answer */
        struct buffer body;
        /* Header values, NULL where there was none; cut at 1 KiB. */
        char *content_type;
        char *etag;
        char *location;
        char *last_modified;
        char *authenticate;     /* WWW-Authenticate, the first one */
        char *flow_schema;      /* X-Kubernetes-PF-FlowSchema-UID */
        char *warnings;         /* the texts of `Warning: 299` headers, one a line; the first 4 KiB of them */
        int64_t retry_after_ms; /* from whole seconds; -1: none */
};

#define HTTP_RESPONSE_NULL ((struct http_response){ .retry_after_ms = -1 })

void http_response_release(struct http_response *response); /* for cleanup */

/* Reasons that http_call leaves in the error, beside its kind. */
#define HTTP_LOST       "ConnectionLost"     /* ended before a byte of the answer: nobody knows whether the server acted */
#define HTTP_SILENT     "ConnectionSilent"   /* no answer within first_byte_ms: that connection is given up */
#define HTTP_REFUSED    "ConnectionRefused"  /* never connected */
#define HTTP_UNVERIFIED "CertificateInvalid" /* the server's certificate was not accepted */

/*
 * One request. Any status is 0. -1: no complete answer: ERROR_UNAVAILABLE, ERROR_TIMEOUT, ERROR_CANCELLED, ERROR_TOO_LARGE (body_limit), ERROR_FORBIDDEN
 * (HTTP_UNVERIFIED), ERROR_INVALID (the URL, a header), or what the sink said. Messages name scheme and host, never path arguments or user info.
 *
 * From any thread but the io thread.
 */
int http_call(struct context *ctx, struct io *io, const struct http_request *request, struct http_response *ret_response,
              struct error *err);

struct http_stream;

/* All on the io thread; http_stream_close may be called from within. */
struct http_stream_events {
        /* The headers of the answer are there. May be NULL. */
        void (*start)(void *data, const struct http_response *head);
        /* Body bytes of a 2xx answer, as they come (decoded). */
        void (*bytes)(void *data, struct view bytes);
        /*
         * The last call; the stream is gone when it returns. `err` is NULL if the server ended the answer properly. The body of an answer that
         * was no 2xx is in response->body (HTTP_ERROR_BODY_LIMIT). status is 0 if there was no answer.
         */
        void (*end)(void *data, const struct http_response *response, const struct error *err);
};

/*
 * Starts a stream on connections for streams. sink, lane and redirects are not used. timeout_ms 0: none. A connection that is silent for 90 s
 * (HTTP2_READ_IDLE_TIMEOUT_SECONDS) and then does not answer a ping within 15 s (HTTP2_PING_TIMEOUT_SECONDS) is closed, and its streams end.
 * Never NULL, and no callback comes before it returns: what is wrong with the request is reported by `end`.
 */
struct http_stream *http_stream_open(struct io *io, const struct http_request *request, const struct http_stream_events *events,
                                     void *data);
/* No callback follows. */
void http_stream_close(struct http_stream *stream);

/* Appends it percent-encoded, as Go's url.PathEscape and url.QueryEscape do. */
void url_add_path(struct buffer *url, struct view segment);
void url_add_query(struct buffer *url, struct view value);
