/*
 * client_private: how the files of the client room share a server. For no one else.
 *
 *   client.c       making and sharing clients, calls
 *   send.c         the attempts of a request
 *   access.c       who we are: tokens, certificates, exec plugins, and their rotation
 *   throttle.c     how fast we may ask
 *   request.c      from kube_request to a URL, headers and a body
 *   failure.c      from an answer to an error
 *   discovery.c    which resources there are
 *   stream.c       requests whose answers feed the io thread
 *   notice.c       what is told of them: warnings, metrics
 */
#pragma once

#include "kube/client.h"
#include "kube/exec.h"

#include <pthread.h>
#include <stdatomic.h>

#define WARNINGS_KEPT 32

struct kube_group;

/* What all clients of one API server share. */
struct kube_server {
        _Atomic unsigned references;
        struct io *io;
        struct kube_config *config;
        struct kube_client_options options; /* user_agent is our own */
        char *component;
        char *host;                              /* "10.0.0.1:443", for metrics */
        char *ping_url;                          /* <server>/livez/ping */
        char *proxy;                             /* explicit; "" for none */
        const struct http_header *impersonation; /* of the config; in its arena */
        unsigned impersonation_count;
        struct context life; /* cancelled when the last client goes */

        pthread_mutex_t lock; /* of everything below but `discovery` */
        int64_t (*fence)(void *data);
        void *fence_data;

        /* access.c */
        struct http_settings *settings;
        struct buffer ca, certificate;
        struct secret key, token;
        int64_t token_read_ms, files_read_ms;
        bool token_bad, files_bad; /* said so already */
        unsigned generation;       /* of the credentials; changes with them */
        struct exec_credential plugin;
        int64_t plugin_until_us;   /* wall clock; 0: no valid credential */
        int64_t plugin_renew_us;   /* from then on another one is asked for */
        int64_t plugin_ended_ms;   /* the last run */
        unsigned plugin_runs;      /* ended ones */
        unsigned plugin_waiters;   /* who will tell of a failure */
        struct error plugin_error; /* of the last run; ERROR_NULL: it went well */
        bool plugin_running;
        bool renewing; /* a thread was started, and not joined yet */
        pthread_t renewer;

        /* throttle.c */
        int probe; /* 0 not yet, 1 under way, 2 the server limits by itself, 3 we do */
        int64_t probed_ms;
        double tokens;
        int64_t filled_ms, said_ms;

        /* notice.c: texts of warnings that were passed on lately */
        struct {
                uint64_t hash;
                int64_t at_ms;
        } warnings[WARNINGS_KEPT];

        /* discovery.c */
        pthread_mutex_t discovery_lock;
        bool discovering, discovered;
        unsigned forgotten; /* how often a group was */
        struct kube_group *groups;
};

struct kube_client {
        _Atomic unsigned references;
        struct kube_server *server;
        char *user; /* impersonated; NULL: none */
};

/* ---- access.c ---- */

/* What one attempt of a request goes out with. */
struct kube_access {
        struct http_settings *settings;
        struct buffer authorization; /* value of the header; empty: none */
        unsigned generation;
};

void kube_access_release(struct kube_access *access);
/* Checks what the config holds. */
int kube_access_init(struct kube_server *server, struct error *err);
void kube_access_end(struct kube_server *server);
/*
 * Reads again what is due. A program for credentials runs on a thread of its own, once for all who wait for it; those of them whose context
 * ends wait no longer. ctx NULL: on the io thread, which does not wait: this fails with ERROR_UNAVAILABLE.
 */
int kube_access_get(struct context *ctx, struct kube_server *server, struct kube_access *ret_access, struct error *err);
/* The server said 401 to credentials of this generation. True if there are others to try. */
bool kube_access_refused(struct kube_server *server, unsigned generation);
/* The server's certificate was not accepted. True if there is another CA to try. */
bool kube_access_unverified(struct kube_server *server, unsigned generation);

/* ---- throttle.c ---- */

/* Waits until a request may go. The first call asks the server whether it limits by itself. */
int kube_throttle(struct context *ctx, struct kube_client *client, struct error *err);

/* ---- request.c ---- */

#define KUBE_HEADER_LIMIT 48

struct kube_wire {
        struct buffer url;
        struct buffer body; /* one that was made here; else the request's */
        struct http_header headers[KUBE_HEADER_LIMIT];
        unsigned header_count;
        struct http_request request; /* borrows from all of this and from kube_request */
};

void kube_wire_release(struct kube_wire *wire);
/* Everything but access. -1: ERROR_INVALID for names that no path may hold. */
int kube_wire_make(struct kube_client *client, const struct kube_request *request, struct kube_wire *ret_wire, struct error *err);
/* A GET of a path with this Accept header. */
void kube_wire_make_path(struct kube_client *client, const char *path, const char *accept, struct kube_wire *ret_wire);
/* Puts the credentials of this attempt in. `access` must outlive the attempt. */
void kube_wire_access(struct kube_wire *wire, const struct kube_access *access);
const char *kube_verb_method(enum kube_verb verb);
static inline bool kube_verb_writes(enum kube_verb verb)
{
        return verb >= KUBE_CREATE;
}

/* ---- failure.c ---- */

/* The error of an answer that is no 2xx. `request` may be NULL (a plain path). Returns -1. */
int kube_failure(const struct kube_request *request, const struct http_response *response, struct error *err);
/* A 404 that is about the path, not about an object behind it, or a 405. */
bool kube_failure_is_of_path(const struct http_response *response);

/* ---- notice.c ---- */

void kube_notice(struct kube_server *server, enum log_level level, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));
/* Passes warnings of an answer on, each once in ten minutes. */
void kube_warn(struct kube_server *server, const char *warnings);
/* Counts an attempt; status 0: no answer. */
void kube_count(struct kube_server *server, const char *method, int status);

/* ---- send.c ---- */

/*
 * Sends it with its retries. `request` NULL: a plain GET. 0: a 2xx. -1: the error; *ret_response has the answer even so, if there
 * was one (status 0: none).
 */
int kube_send(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct kube_wire *wire,
              struct http_response *ret_response, struct error *err);

/* ---- discovery.c ---- */

void kube_discovery_end(struct kube_server *server);
void kube_discovery_forget_version(struct kube_server *server, const char *group, const char *version);
