#include "kube/client.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/scan.h"
#include "kube/client_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WEIR_COMMIT
#define WEIR_COMMIT "0000000"
#endif

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

/* With an escape it is one that nobody looks into: only roles have names with characters that need it. */
static bool is_name(struct view text, const char *name)
{
        return view_find(text, '\\', 0) >= 0 || view_is(text, name);
}

/*
 * Whether an answer of 2xx can be the API server's. A proxy's page, or nothing at all, must not pass for an object that was applied, for one without our
 * labels, for a deletion, or for a list of none.
 */
static bool is_answer(const struct kube_request *request, struct view body)
{
        switch (request->verb) {
        case KUBE_LIST:
                return scan_get(body, "items").length > 0;
        case KUBE_CREATE:
        case KUBE_DELETE: /* a Status, or the object */
                return scan_string(scan_get(body, "kind")).length > 0;
        case KUBE_WATCH:
                return true;
        case KUBE_GET:
        case KUBE_UPDATE:
        case KUBE_PATCH_MERGE:
        case KUBE_PATCH_JSON:
        case KUBE_PATCH_STRATEGIC:
        case KUBE_APPLY:
                break;
        }
        return is_name(scan_string(SCAN_PATH(body, "metadata", "name")), request->name);
}

static int no_answer(const struct kube_request *request, const struct http_response *response, struct error *err)
{
        return error_set(err, ERROR_UNAVAILABLE,
                         "the answer about %s%s%s (%d, %s) is not an API server's: look at what is between it and this program",
                         request->resource->plural, request->name ? " " : "", request->name ? request->name : "", response->status,
                         response->content_type ? response->content_type : "no type");
}

int kube_call(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct buffer *ret_body,
              struct error *err)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;

        if (call_once(ctx, client, request, &response, err) < 0 &&
            (!kube_failure_is_of_path(&response) || call_moved(ctx, client, request, &response, err) < 0))
                return err->kind == ERROR_NOT_FOUND && kube_failure_is_of_path(&response) ? error_reason(err, KUBE_PATH_ABSENT)
                                                                                          : -1;
        if (!is_answer(request, buffer_view(&response.body)))
                return no_answer(request, &response, err);
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

int kube_get(struct context *ctx, struct kube_client *client, const struct kube_resource *resource, const char *namespace,
             const char *name, struct json **ret_json, struct error *err)
{
        struct kube_request request = { .verb = KUBE_GET, .resource = resource, .namespace = namespace, .name = name };

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
