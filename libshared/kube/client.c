#include "kube/client.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "data/json.h"
#include "kube/client_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WEIR_COMMIT
#define WEIR_COMMIT "0000000"
#endif

#define ATTEMPTS           10
#define AGAIN_MS           1000
#define RETRY_LIMIT_MS     60000 /* who is told to wait longer gives its worker back, and comes again with the object's back-off */
#define WARNING_MS         600000
#define COMPONENT_LIMIT    128
#define IMPERSONATED_LIMIT 32

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE "unknown"
#endif

char *kube_user_agent(const char *component)
{
        return memory_printf("%s/%s (linux/%s) kubernetes/%s", component, WEIR_VERSION, ARCHITECTURE, WEIR_COMMIT);
}

void kube_notice(struct kube_server *server, enum log_level level, const char *format, ...)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        va_list arguments;

        if (!server->options.notice)
                return;
        va_start(arguments, format);
        buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        server->options.notice(server->options.data, level, buffer_string(&text));
}

/* ---- metrics and warnings ---- */

static struct metric *requests_total;

static void metrics_make(void)
{
        static const char *const labels[] = { "code", "method", "host" };

        requests_total = metric_new(METRIC_COUNTER, "rest_client_requests_total",
                                    "Number of HTTP requests, partitioned by status code, method, and host.", labels, 3, NULL, 0);
}

void kube_count(struct kube_server *server, const char *method, int status)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        char code[16] = "<error>";

        pthread_once(&once, metrics_make);
        if (status)
                snprintf(code, sizeof(code), "%d", status);
        metric_add(requests_total, 1, METRIC_VALUES(code, method, server->host));
}

/* Under the lock. True if this one was passed on in the last ten minutes; the oldest makes room otherwise. */
static bool warned_lately(struct kube_server *server, struct view text)
{
        int64_t now = clock_now_ms();
        uint64_t hash = hash_add(HASH_EMPTY, text);
        size_t oldest = 0;

        for (size_t i = 0; i < WARNINGS_KEPT; i++) {
                if (server->warnings[i].at_ms && server->warnings[i].hash == hash && now - server->warnings[i].at_ms < WARNING_MS)
                        return true;
                if (server->warnings[i].at_ms < server->warnings[oldest].at_ms)
                        oldest = i;
        }
        server->warnings[oldest].hash = hash;
        server->warnings[oldest].at_ms = now;
        return false;
}

void kube_warn(struct kube_server *server, const char *warnings)
{
        struct view rest = view_of(warnings), text;

        if (!warnings)
                return;
        while (view_split(&rest, '\n', &text)) {
                bool known;

                pthread_mutex_lock(&server->lock);
                known = warned_lately(server, text);
                pthread_mutex_unlock(&server->lock);
                if (!known)
                        kube_notice(server, LOG_INFO, "%.*s", VIEW_ARGS(text));
        }
}

/* ---- clients ---- */

static void server_release(struct kube_server *server)
{
        if (atomic_fetch_sub(&server->references, 1) != 1)
                return;
        context_cancel(&server->life, CONTEXT_SHUTDOWN);
        kube_access_end(server);
        kube_discovery_end(server);
        kube_config_free(&server->config);
        free((char *)(uintptr_t)server->options.user_agent);
        free(server->component);
        free(server->host);
        free(server->ping_url);
        free(server->proxy);
        pthread_mutex_destroy(&server->lock);
        pthread_mutex_destroy(&server->discovery_lock);
        context_close(&server->life);
        free(server);
}

/* "Impersonate-Extra-" and the key with what no header's name may hold percent-encoded, and '%' itself. */
static char *extra_name(struct arena *arena, const char *key)
{
        cleanup(buffer_release) struct buffer name = BUFFER_NULL;

        buffer_add_string(&name, "Impersonate-Extra-");
        for (const char *c = key; *c; c++) {
                if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                    strchr("!#$&'*+-.^_`|~", *c))
                        buffer_add_char(&name, *c);
                else
                        buffer_printf(&name, "%%%02X", (unsigned char)*c);
        }
        return arena_string(arena, name.data);
}

static int impersonation_make(struct kube_server *server, struct error *err)
{
        struct kube_config *config = server->config;
        struct http_header *headers = arena_array(config->arena, IMPERSONATED_LIMIT, sizeof(*headers));
        size_t groups = 0;
        unsigned count = 0;

        server->impersonation = headers;
        if (!config->as_user)
                return 0;
        while (config->as_groups && config->as_groups[groups])
                groups++;
        if (groups + config->as_extra_count + 2 > IMPERSONATED_LIMIT)
                return error_set(err, ERROR_TOO_LARGE, "the kubeconfig impersonates with more than %d groups and extras",
                                 IMPERSONATED_LIMIT - 2);
        headers[count++] = (struct http_header){ "Impersonate-User", config->as_user };
        if (config->as_uid)
                headers[count++] = (struct http_header){ "Impersonate-Uid", config->as_uid };
        for (size_t i = 0; i < groups; i++)
                headers[count++] = (struct http_header){ "Impersonate-Group", config->as_groups[i] };
        for (size_t i = 0; i < config->as_extra_count; i++)
                headers[count++] =
                        (struct http_header){ extra_name(config->arena, config->as_extra[i].key), config->as_extra[i].value };
        server->impersonation_count = count;
        return 0;
}

static char *host_of(const char *url)
{
        const char *start = strstr(url, "://");

        start = start ? start + 3 : url;
        return memory_string_n(start, strcspn(start, "/"));
}

static struct kube_client *client_make(struct kube_server *server, const char *user)
{
        struct kube_client *client = memory_zero(1, sizeof(*client));

        atomic_init(&client->references, 1);
        client->server = server;
        if (user && *user)
                client->user = memory_string(user);
        return client;
}

int kube_client_new(struct io *io, struct kube_config **config, const struct kube_client_options *options,
                    struct kube_client **ret_client, struct error *err)
{
        struct kube_server *server = memory_zero(1, sizeof(*server));
        const char *agent = options->user_agent;
        size_t component = strcspn(agent, "/");

        atomic_init(&server->references, 1);
        server->io = io;
        server->config = steal(config);
        server->options = *options;
        server->options.user_agent = memory_string(agent);
        if (server->options.requests_per_second <= 0)
                server->options.requests_per_second = 50;
        if (!server->options.burst)
                server->options.burst = 300;
        server->component = memory_string_n(agent, component < COMPONENT_LIMIT ? component : COMPONENT_LIMIT);
        server->host = host_of(server->config->server);
        server->ping_url = memory_printf("%s/livez/ping", server->config->server);
        context_open(&server->life, NULL, CLOCK_NEVER);
        pthread_mutex_init(&server->lock, NULL);
        pthread_mutex_init(&server->discovery_lock, NULL);
        if (kube_access_init(server, err) < 0 || impersonation_make(server, err) < 0) {
                server_release(server);
                return -1;
        }
        *ret_client = client_make(server, NULL);
        return 0;
}

struct kube_client *kube_client_ref(struct kube_client *client)
{
        atomic_fetch_add(&client->references, 1);
        return client;
}

void kube_client_release(struct kube_client **client)
{
        struct kube_client *gone = *client;

        *client = NULL;
        if (!gone || atomic_fetch_sub(&gone->references, 1) != 1)
                return;
        server_release(gone->server);
        free(gone->user);
        free(gone);
}

struct kube_client *kube_client_impersonate(struct kube_client *client, const char *user)
{
        atomic_fetch_add(&client->server->references, 1);
        return client_make(client->server, user);
}

const struct kube_config *kube_client_config(const struct kube_client *client)
{
        return client->server->config;
}

void kube_client_fence(struct kube_client *client, int64_t (*until)(void *data), void *data)
{
        pthread_mutex_lock(&client->server->lock);
        client->server->fence = until;
        client->server->fence_data = data;
        pthread_mutex_unlock(&client->server->lock);
}

/* ---- calls ---- */

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

/* In the words of the server. */
static int too_large(struct error *err)
{
        error_set_reason(err, ERROR_TOO_LARGE, "RequestEntityTooLarge", "Request entity too large: limit is %zu", KUBE_BODY_LIMIT);
        err->http_status = 413;
        return -1;
}

static int call_once(struct context *ctx, struct kube_client *client, const struct kube_request *request,
                     struct http_response *ret_response, struct error *err)
{
        cleanup(kube_wire_release) struct kube_wire wire;

        wire = (struct kube_wire){ .url = BUFFER_NULL };
        if (request->body.length > KUBE_BODY_LIMIT)
                return too_large(err);
        TRY(kube_wire_make(client, request, &wire, err));
        return kube_send(ctx, client, request, &wire, ret_response, err);
}

/* After a CRD was changed the kind may be served under another plural. 0: asked there; -1: the first answer stands. */
static int call_moved(struct context *ctx, struct kube_client *client, const struct kube_request *request,
                      struct http_response *ret_response, struct error *err)
{
        const struct kube_resource *old = request->resource, *found = NULL;
        struct kube_request moved = *request;
        cleanup(error_release) struct error ignored = ERROR_NULL;

        kube_discovery_forget_version(client->server, old->group, old->version);
        if (kube_resource_find(ctx, client, old->group, old->version, old->kind, &found, &ignored) != 0 || found == old)
                return -1;
        http_response_release(ret_response);
        error_release(err);
        moved.resource = found;
        return call_once(ctx, client, &moved, ret_response, err);
}

int kube_call(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct buffer *ret_body,
              struct error *err)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;

        if (call_once(ctx, client, request, &response, err) < 0 &&
            (!kube_failure_is_of_path(&response) || call_moved(ctx, client, request, &response, err) < 0))
                return err->kind == ERROR_NOT_FOUND && kube_failure_is_of_path(&response) ? error_reason(err, KUBE_PATH_ABSENT)
                                                                                          : -1;
        if (ret_body) {
                buffer_release(ret_body);
                *ret_body = response.body;
                response.body = BUFFER_NULL;
        }
        return 0;
}

int kube_call_json(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct json **ret_json,
                   struct error *err)
{
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;

        TRY(kube_call(ctx, client, request, &body, err));
        if (json_parse(buffer_view(&body), ret_json, err) < 0)
                return error_wrap(err, "the answer about %s", request->resource->plural);
        return 0;
}

int kube_get(struct context *ctx, struct kube_client *client, const struct kube_resource *resource, const char *name_space,
             const char *name, struct json **ret_json, struct error *err)
{
        struct kube_request request = { .verb = KUBE_GET, .resource = resource, .name_space = name_space, .name = name };

        return kube_call_json(ctx, client, &request, ret_json, err);
}

int kube_get_path(struct context *ctx, struct kube_client *client, const char *path, struct buffer *ret_body, struct error *err)
{
        cleanup(kube_wire_release) struct kube_wire wire;
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;

        kube_wire_make_path(client, path, "application/json", &wire);
        TRY(kube_send(ctx, client, NULL, &wire, &response, err));
        buffer_release(ret_body);
        *ret_body = response.body;
        response.body = BUFFER_NULL;
        return 0;
}
