/*
 * http_private: how the files of the http room share the work. For no one else. Everything is the io thread's.
 *
 *   http_engine.c    per io thread: a curl multi for each lane, its sockets in the loop, connections that fell silent
 *   http_transfer.c  one request on the wire: from http_request to an easy handle, from its callbacks to a response or an error
 *   http_call.c      a worker waits for a transfer
 *   http_stream.c    a transfer that feeds callbacks
 */
#pragma once

#include "net/http.h"

#include <curl/curl.h>
#include <stdatomic.h>

struct http_settings {
        _Atomic unsigned references;
        struct curl_blob ca, certificate, key; /* data NULL: none */
        char *server_name;
        char *proxy;
        bool insecure;
        bool http1;
};

enum {
        LANE_REQUESTS,
        LANE_URGENT,
        LANE_STREAMS, /* from here on */
        LANE_BUSY_STREAMS,
        LANE_COUNT,
};

struct http_engine;

struct http_lane_state {
        struct http_engine *engine;
        CURLM *multi; /* NULL until it is needed */
        struct io_timer timer;
};

/* A descriptor that curl opened, or one of its own that it wants to have watched (the resolver's). */
struct http_socket {
        struct http_socket *next, **link;
        struct http_lane_state *lane;
        struct io_descriptor descriptor;
        struct http_settings *settings; /* of a connection; NULL: not a connection */
        bool connection;
        uint64_t cookie;    /* of a connection: a number of a descriptor may be another's meanwhile */
        uint16_t port;      /* local, once it is known */
        bool wanted;        /* curl wants to hear of it */
        uint32_t waits_for; /* what it is in the loop for; 0: not in the loop */
        int64_t read_ms;    /* when something last came in */
        int64_t pinged_ms;  /* 0: no ping is under way */
};

struct http_transfer {
        struct http_transfer *next, **link; /* all of the engine */
        struct http_engine *engine;
        struct http_lane_state *lane;
        CURL *easy;
        struct curl_slist *headers;
        struct curl_slist *connect_to;
        struct http_settings *settings; /* may be NULL */
        char *origin;                   /* "GET https://host:port", for messages */
        char *ping_url;
        struct view body; /* not yet sent */
        struct http_response response;
        uint64_t received, body_limit;
        struct io_timer timer;
        int64_t started_ms, first_byte_ms, end_ms; /* durations before the start, instants from then on; CLOCK_NEVER: none */
        bool collects;                             /* a 2xx body goes into the response */
        bool follows;                              /* redirects */
        bool answered, head_done, too_large;
        bool closed; /* nobody wants to hear of it any more */
        char curl_message[CURL_ERROR_SIZE];
        /* The headers are there. May be NULL. */
        void (*start)(struct http_transfer *transfer);
        /* Body of a 2xx that is not collected. Returns what the write callback returns: length, less to fail, CURL_WRITEFUNC_PAUSE. */
        size_t (*bytes)(struct http_transfer *transfer, struct view bytes);
        /* Off the wire, and err tells why unless it is NULL; then the owner frees it. */
        void (*end)(struct http_transfer *transfer, struct error *err);
};

struct http_engine {
        struct io *io;
        struct http_lane_state lanes[LANE_COUNT];
        struct http_transfer *transfers;
        struct http_socket *sockets;
        CURL *pool[8];
        unsigned pooled;
        struct io_timer kick;
        struct http_stream *waiting; /* for the kick, to be started or freed: while curl calls us nothing may be added or removed */
        struct io_timer liveness;
        int64_t idle_ms, ping_ms;
};

/* The engine of this io thread, made on first use. */
struct http_engine *http_engine_of(struct io *io);

/* Fills a zeroed transfer. Everything of the request is copied but the body. -1: ERROR_INVALID. */
int http_transfer_prepare(struct http_engine *engine, struct http_transfer *transfer, const struct http_request *request,
                          struct error *err);
/* Puts it on the wire; failures come through `end`. */
void http_transfer_start(struct http_transfer *transfer, unsigned lane);
/* Takes it off the wire, without `end`; harmless if it is not on it. Not while curl is calling us. */
void http_transfer_remove(struct http_transfer *transfer);
/* What prepare made; it must be off the wire. */
void http_transfer_release(struct http_transfer *transfer);
/* curl has finished it: makes the error and calls `end`. */
void http_transfer_finish(struct http_transfer *transfer, CURLcode result);

/* http_transfer.c asks the engine. */
CURL *http_easy_get(struct http_engine *engine);
void http_easy_put(struct http_engine *engine, CURL *easy);
/* Something came in on the connection of this transfer. */
void http_socket_heard(struct http_transfer *transfer);
/* Hands the easy handle to the lane. */
CURLMcode http_lane_add(struct http_transfer *transfer);
/* What curl wants to do at once, done now. Not while curl is calling us. */
void http_lane_run(struct http_lane_state *lane);
/* Closes connections of this lane and these settings on which nothing came in since that instant. */
void http_sockets_close_silent(struct http_lane_state *lane, const struct http_settings *settings, int64_t since_ms);
curl_socket_t http_socket_open(void *transfer, curlsocktype purpose, struct curl_sockaddr *address);
int http_socket_close(void *engine, curl_socket_t fd);

/* http_stream.c: what waited for the kick. */
void http_streams_kick(struct http_engine *engine);
