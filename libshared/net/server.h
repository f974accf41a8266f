/*
 * server: a small HTTP/1.1 server (libmicrohttpd): one listener, one thread, a table of routes.
 *
 * Handlers run on the server's thread, one at a time: they answer from what they have at hand and never wait. Bodies that come with a request are
 * collected up to a limit before the handler is called. Who comes is served: where there are too many connections, the oldest that asks nothing is closed, so
 * that those who connect and say nothing cannot keep others out. For health, metrics, debug pages, artifacts and webhook receivers.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

struct server_request {
        const char *method; /* "GET" */
        const char *path;   /* unescaped, without the query; starts with '/' */
        struct view body;
        const char *peer; /* "10.0.0.1", for the log */
        void *connection; /* private */
};

/* A header or a query argument of the request, "" if it was given without a value, NULL if it is not there. Names of headers in any case. */
const char *server_header(const struct server_request *request, const char *name);
const char *server_query(const struct server_request *request, const char *name);

#define SERVER_HEADER_LIMIT 8

/* What the handler fills; it starts as 200 with an empty body. Everything in it is taken over. */
struct server_response {
        int status;
        char content_type[96]; /* "": none */
        struct buffer body;
        int file; /* a descriptor whose bytes from file_offset on are the body instead; -1: none */
        uint64_t file_offset;
        uint64_t file_length;
        struct {
                char name[32];
                char value[256];
        } headers[SERVER_HEADER_LIMIT];
        unsigned header_count;
};

void server_response_header(struct server_response *response, const char *name, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));
/* Status and body as text/plain; charset=utf-8 with nosniff, as Go's http.Error: the text and a newline. */
void server_response_text(struct server_response *response, int status, const char *text);

typedef void server_fn(void *data, const struct server_request *request, struct server_response *response);

struct server_route {
        const char *path; /* exact, or everything below if it ends with '/' */
        server_fn *handle;
        void *data;
};

struct server_options {
        const char *address; /* as Go: ":9440", "127.0.0.1:0", "[::1]:80" */
        /* The longest path that fits answers; none: 404 "404 page not found". Must outlive the server. */
        const struct server_route *routes;
        unsigned route_count;
        unsigned connection_limit; /* more close the oldest one; 0: 256 */
        size_t body_limit;         /* of a request; 0: no bodies are taken (413) */
        unsigned idle_timeout_s;   /* of a connection; 0: 30 */
};

/* Listens and serves from its own thread. -1: the address is bad (ERROR_INVALID) or taken ("listen on :8080: Address already in use"). */
int server_start(const struct server_options *options, struct server **ret_server, struct error *err);
/* The port that was bound, for ":0". */
uint16_t server_port(const struct server *server);
/* Stops accepting, lets open answers finish for up to drain_ms, then closes. For cleanup use server_free. */
void server_stop(struct server **server, int64_t drain_ms);
void server_free(struct server **server); /* server_stop without a drain; NULL is fine */

#define SERVER_TAG 160 /* an entity tag without its quotes, with the terminator */

/*
 * Static files below one directory, as a route "/": GET and HEAD, Range, If-Range, If-None-Match, If-Modified-Since, Last-Modified, ETag, a
 * content type by extension; symbolic links are followed inside the root and nowhere else; paths that are not clean are redirected
 * (301); "/" and directories are 200 with an empty page (no listings); what is missing, hidden or not a file is 404.
 */
struct server_files {
        int root; /* descriptor of the directory; stays the caller's */
        /* True hides a name (its last component), for lock and temporary files; NULL: none are hidden. */
        bool (*hidden)(const char *name);
        /* Puts the entity tag of an open file (without quotes) into tag, or returns false for size and time. NULL: always those. */
        bool (*tag)(void *data, const char *path, int fd, char tag[SERVER_TAG]);
        void *data;
};

/* A server_fn; data is a struct server_files. */
void server_files_handle(void *data, const struct server_request *request, struct server_response *response);
