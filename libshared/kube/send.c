/*
 * One request, in as many attempts as it takes: each waits for its turn, goes out with the credentials of the moment, and is counted.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kube/client_private.h"

#include <stdlib.h>
#include <string.h>

#define ATTEMPTS       10
#define AGAIN_MS       1000
#define RETRY_LIMIT_MS 60000 /* who is told to wait longer gives its worker back, and comes again with the object's back-off */

/* Milliseconds for which a write may still be sent; CLOCK_NEVER without a fence. -1: none. */
static int64_t fence_left(struct kube_server *server, struct error *err)
{
        int64_t (*fence)(void *data);
        int64_t until;
        void *data;

        pthread_mutex_lock(&server->lock);
        fence = server->fence;
        data = server->fence_data;
        pthread_mutex_unlock(&server->lock);
        until = fence ? fence(data) : CLOCK_NEVER;
        if (until == CLOCK_NEVER)
                return CLOCK_NEVER;
        if (until <= clock_now_ms())
                return error_set_reason(err, ERROR_CANCELLED, KUBE_LEASE_LOST,
                                        "the leader election lease is lost: nothing is written any more");
        return until - clock_now_ms();
}

struct sending {
        struct kube_client *client;
        const struct kube_request *request; /* NULL: a plain GET */
        struct kube_wire *wire;
        char *before; /* what went wrong in the attempt before this one */
        bool renewed; /* other credentials were tried */
        bool silent;  /* a connection without a sign of life was given up */
};

static bool writes(const struct sending *s)
{
        return s->request && kube_verb_writes(s->request->verb);
}

/* One attempt: 0 an answer, -1 none. */
static int attempt(struct context *ctx, struct sending *s, struct http_response *response, unsigned *ret_generation,
                   struct error *err)
{
        struct kube_server *server = s->client->server;
        cleanup(kube_access_release) struct kube_access access = { NULL };
        int64_t timeout_ms = s->wire->request.timeout_ms;
        int r;

        TRY(kube_access_get(ctx, server, &access, err));
        *ret_generation = access.generation;
        kube_wire_access(s->wire, &access);
        if (writes(s) && !s->request->urgent) { /* the lease itself is what ends the fence */
                int64_t left = fence_left(server, err);

                if (left < 0)
                        return -1;
                if (left < timeout_ms)
                        s->wire->request.timeout_ms = left;
        }
        r = http_call(ctx, server->io, &s->wire->request, response, err);
        s->wire->request.timeout_ms = timeout_ms;
        kube_count(server, s->wire->request.method, r < 0 ? 0 : response->status);
        if (r == 0)
                kube_warn(server, response->warnings);
        return r;
}

static void remember(struct sending *s, const char *text)
{
        free(s->before);
        s->before = memory_string(text);
}

/* How long to wait before the next attempt; -1: there is none. */
static int64_t again_after_failure(struct sending *s, unsigned generation, const struct error *err)
{
        if (strcmp(err->reason, HTTP_UNVERIFIED) == 0 && !s->renewed && kube_access_unverified(s->client->server, generation)) {
                s->renewed = true;
                return 0;
        }
        if (strcmp(err->reason, HTTP_LOST) == 0 && !writes(s))
                return AGAIN_MS;
        /* Once: it is either that connection or the server, and a new one tells which. */
        if (strcmp(err->reason, HTTP_SILENT) == 0 && !writes(s) && !s->silent) {
                s->silent = true;
                return 0;
        }
        return -1;
}

static int64_t again_after_answer(struct sending *s, unsigned generation, const struct http_response *response)
{
        if (response->status == 401 && !s->renewed && kube_access_refused(s->client->server, generation)) {
                s->renewed = true;
                return 0;
        }
        if ((response->status == 429 || response->status >= 500) && response->retry_after_ms >= 0 &&
            response->retry_after_ms <= RETRY_LIMIT_MS)
                return response->retry_after_ms;
        return -1;
}

static bool succeeded(const struct http_response *response)
{
        return response->status >= 200 && response->status <= 206;
}

static int send_attempts(struct context *ctx, struct sending *s, struct http_response *ret_response, struct error *err)
{
        for (unsigned i = 1;; i++) {
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(error_release) struct error failure = ERROR_NULL;
                unsigned generation = 0;
                int64_t wait;

                TRY(context_check(ctx, err));
                if (!(s->request && s->request->urgent))
                        TRY(kube_throttle(ctx, s->client, err));
                if (attempt(ctx, s, &response, &generation, &failure) < 0) {
                        wait = again_after_failure(s, generation, &failure);
                        if ((wait < 0 || i == ATTEMPTS) && s->before)
                                error_set_reason(err, failure.kind, failure.reason, "%s - error from a previous attempt: %s",
                                                 error_message(&failure), s->before);
                        else if (wait < 0 || i == ATTEMPTS)
                                error_move(err, &failure);
                        if (wait < 0 || i == ATTEMPTS)
                                return -1;
                        remember(s, error_message(&failure));
                } else {
                        wait = succeeded(&response) ? -1 : again_after_answer(s, generation, &response);
                        if (wait < 0 || i == ATTEMPTS) {
                                *ret_response = response;
                                response = HTTP_RESPONSE_NULL;
                                return succeeded(ret_response) ? 0 : kube_failure(s->request, ret_response, err);
                        }
                        kube_failure(s->request, &response, &failure);
                        remember(s, error_message(&failure));
                }
                if (wait)
                        TRY(context_sleep(ctx, wait, err));
        }
}

int kube_send(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct kube_wire *wire,
              struct http_response *ret_response, struct error *err)
{
        struct sending sending = { .client = client, .request = request, .wire = wire };
        int r = send_attempts(ctx, &sending, ret_response, err);

        free(sending.before);
        /* A kubeconfig that lost a part on the way in: say which, where access fails. */
        if (r < 0 && err->kind == ERROR_FORBIDDEN && client->server->config->dropped &&
            (ret_response->status == 401 || strcmp(err->reason, HTTP_UNVERIFIED) == 0))
                error_set_reason(err, err->kind, err->reason, "%s (not taken from the kubeconfig: %s)", error_message(err),
                                 client->server->config->dropped);
        return r;
}
