/*
 * An API server with priority and fairness (every one since 1.29) limits by itself and better than a client can; it says so by a header on every
 * answer. For one without there is a token bucket.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "kube/client_private.h"

#define PROBE_AGAIN_MS 30000
#define PROBE_WAIT_MS  2
#define SAY_MS         10000

enum {
        PROBE_NONE,
        PROBE_RUNNING,
        PROBE_SERVER_LIMITS,
        PROBE_WE_LIMIT,
};

static int probe(struct context *ctx, struct kube_client *client, struct error *err)
{
        struct kube_server *server = client->server;
        cleanup(kube_wire_release) struct kube_wire wire = { .url = BUFFER_NULL };
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        cleanup(kube_access_release) struct kube_access access = { NULL };
        int r;

        kube_wire_make_path(client, "/livez/ping", "application/json", &wire);
        wire.request.method = "HEAD";
        r = kube_access_get(ctx, server, &access, err);
        if (r == 0) {
                kube_wire_access(&wire, &access);
                r = http_call(ctx, server->io, &wire.request, &response, err);
        }
        pthread_mutex_lock(&server->lock);
        server->probed_ms = clock_now_ms();
        server->probe = r < 0 ? PROBE_NONE : response.flow_schema ? PROBE_SERVER_LIMITS : PROBE_WE_LIMIT;
        pthread_mutex_unlock(&server->lock);
        return r;
}

/* Milliseconds until a token is there, which is taken then; 0: taken. */
static int64_t take(struct kube_server *server)
{
        int64_t now = clock_now_ms();
        double wait;

        if (!server->filled_ms)
                server->tokens = server->options.burst;
        else
                server->tokens += (double)(now - server->filled_ms) * server->options.requests_per_second / 1000;
        if (server->tokens > server->options.burst)
                server->tokens = server->options.burst;
        server->filled_ms = now;
        server->tokens -= 1;
        if (server->tokens >= 0)
                return 0;
        wait = -server->tokens * 1000 / server->options.requests_per_second;
        return (int64_t)wait + 1;
}

int kube_throttle(struct context *ctx, struct kube_client *client, struct error *err)
{
        struct kube_server *server = client->server;
        int64_t wait;
        bool say;

        for (;;) {
                struct error failure = ERROR_NULL;
                bool mine, running;

                pthread_mutex_lock(&server->lock);
                if (server->probe == PROBE_SERVER_LIMITS) {
                        pthread_mutex_unlock(&server->lock);
                        return 0;
                }
                running = server->probe == PROBE_RUNNING;
                mine = server->probe == PROBE_NONE && (!server->probed_ms || clock_now_ms() - server->probed_ms >= PROBE_AGAIN_MS);
                if (!running && !mine)
                        break;
                server->probe = PROBE_RUNNING;
                pthread_mutex_unlock(&server->lock);
                if (running)
                        TRY(context_sleep(ctx, PROBE_WAIT_MS, err));
                else if (probe(ctx, client, &failure) < 0)
                        error_release(&failure); /* the request itself will say it */
                TRY(context_check(ctx, err));
        }
        wait = take(server);
        say = wait > 1000 && clock_now_ms() - server->said_ms >= SAY_MS;
        if (say)
                server->said_ms = clock_now_ms();
        pthread_mutex_unlock(&server->lock);
        if (say)
                kube_notice(server, LOG_INFO, "Waited before sending request: %lld ms, client-side throttling", (long long)wait);
        return wait ? context_sleep(ctx, wait, err) : 0;
}
