#include "base/cleanup.h"
#include "base/clock.h"
#include "kube/client_private.h"

#include <stdio.h>
#include <string.h>

#define LIST_MS         300000
#define LIST_LIMIT      ((uint64_t)64 << 20)
#define WATCH_MARGIN_MS 30000

static const struct {
        const char *method;
        const char *content_type;
} verbs[] = {
        [KUBE_GET] = { "GET", NULL },
        [KUBE_LIST] = { "GET", NULL },
        [KUBE_WATCH] = { "GET", NULL },
        [KUBE_CREATE] = { "POST", "application/json" },
        [KUBE_UPDATE] = { "PUT", "application/json" },
        [KUBE_PATCH_MERGE] = { "PATCH", "application/merge-patch+json" },
        [KUBE_PATCH_JSON] = { "PATCH", "application/json-patch+json" },
        [KUBE_PATCH_STRATEGIC] = { "PATCH", "application/strategic-merge-patch+json" },
        [KUBE_APPLY] = { "PATCH", "application/apply-patch+yaml" },
        [KUBE_DELETE] = { "DELETE", "application/json" },
};

const char *kube_verb_method(enum kube_verb verb)
{
        return verbs[verb].method;
}

void kube_wire_release(struct kube_wire *wire)
{
        buffer_release(&wire->url);
        buffer_release(&wire->body);
}

static bool given(const char *text)
{
        return text && *text;
}

/* What the API server takes for a segment of a path (path.IsValidPathSegmentName). */
static int add_segment(struct buffer *url, const char *segment, struct error *err)
{
        if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
                return error_set(err, ERROR_INVALID, "invalid resource name \"%s\": may not be '%s'", segment, segment);
        if (strpbrk(segment, "/%"))
                return error_set(err, ERROR_INVALID, "invalid resource name \"%s\": may not contain '%c'", segment,
                                 *strpbrk(segment, "/%"));
        buffer_add_char(url, '/');
        url_add_path(url, view_of(segment));
        return 0;
}

static int add_path(struct buffer *url, const struct kube_request *request, struct error *err)
{
        const struct kube_resource *resource = request->resource;
        bool named =
                given(request->name) && request->verb != KUBE_WATCH && request->verb != KUBE_LIST && request->verb != KUBE_CREATE;

        buffer_printf(url, *resource->group ? "/apis/%s/%s" : "/api%s/%s", resource->group, resource->version);
        if (resource->namespaced && given(request->namespace)) {
                buffer_add_string(url, "/namespaces");
                TRY(add_segment(url, request->namespace, err));
        } else if (resource->namespaced && (named || given(request->subresource))) {
                return error_set(err, ERROR_INVALID, "an empty namespace may not be set when a resource name is provided");
        } else if (resource->namespaced && request->verb == KUBE_CREATE) {
                return error_set(err, ERROR_INVALID, "an empty namespace may not be set during creation");
        }
        TRY(add_segment(url, resource->plural, err));
        if (named)
                TRY(add_segment(url, request->name, err));
        else if (request->verb != KUBE_LIST && request->verb != KUBE_WATCH && request->verb != KUBE_CREATE)
                return error_set(err, ERROR_INVALID, "resource name may not be empty");
        /* A subresource of a created object ("token") is under its name. */
        if (given(request->subresource)) {
                if (request->verb == KUBE_CREATE && given(request->name))
                        TRY(add_segment(url, request->name, err));
                TRY(add_segment(url, request->subresource, err));
        }
        return 0;
}

struct query {
        struct buffer *url;
        bool begun;
};

static void add_query(struct query *query, const char *name, const char *value)
{
        if (!given(value))
                return;
        buffer_add_char(query->url, query->begun ? '&' : '?');
        query->begun = true;
        buffer_add_string(query->url, name);
        buffer_add_char(query->url, '=');
        url_add_query(query->url, view_of(value));
}

static void add_number(struct query *query, const char *name, unsigned value)
{
        char text[16];

        snprintf(text, sizeof(text), "%u", value);
        add_query(query, name, value ? text : NULL);
}

static void add_read_query(struct query *query, const struct kube_request *request)
{
        cleanup(buffer_release) struct buffer fields = BUFFER_NULL;

        if (given(request->field_selector))
                buffer_add_string(&fields, request->field_selector);
        if (request->verb == KUBE_WATCH && given(request->name))
                buffer_printf(&fields, "%smetadata.name=%s", fields.length ? "," : "", request->name);
        add_query(query, "labelSelector", request->label_selector);
        add_query(query, "fieldSelector", fields.data);
        /* The empty one means something, but it is what the server takes for none. */
        add_query(query, "resourceVersion", request->resource_version);
        add_query(query, "resourceVersionMatch", request->resource_version_match);
        add_query(query, "continue", request->continue_token);
        add_number(query, "limit", request->limit);
        if (request->verb != KUBE_WATCH)
                return;
        add_query(query, "watch", "true");
        add_query(query, "allowWatchBookmarks", "true");
        add_query(query, "sendInitialEvents", request->send_initial_events ? "true" : NULL);
        add_number(query, "timeoutSeconds", request->watch_seconds);
}

static void add_write_query(struct query *query, const struct kube_client *client, const struct kube_request *request)
{
        if (request->verb == KUBE_DELETE)
                return; /* it is all in the options, which come as the body */
        add_query(query, "fieldManager", given(request->field_manager) ? request->field_manager : client->server->component);
        add_query(query, "dryRun", request->dry_run ? "All" : NULL);
        add_query(query, "force", request->force ? "true" : NULL);
        add_query(query, "fieldValidation", given(request->field_validation) ? request->field_validation : "Ignore");
}

static void make_delete_options(const struct kube_request *request, struct buffer *body)
{
        bool precondition = given(request->uid) || given(request->resource_version);

        buffer_add_string(body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\"");
        if (given(request->propagation))
                buffer_printf(body, ",\"propagationPolicy\":\"%s\"", request->propagation);
        if (precondition)
                buffer_add_string(body, ",\"preconditions\":{");
        if (given(request->uid))
                buffer_printf(body, "\"uid\":\"%s\"%s", request->uid, given(request->resource_version) ? "," : "");
        if (given(request->resource_version))
                buffer_printf(body, "\"resourceVersion\":\"%s\"", request->resource_version);
        if (precondition)
                buffer_add_char(body, '}');
        if (request->dry_run)
                buffer_add_string(body, ",\"dryRun\":[\"All\"]");
        buffer_add_char(body, '}');
}

static void add_header(struct kube_wire *wire, const char *name, const char *value)
{
        wire->headers[wire->header_count++] = (struct http_header){ name, value };
}

/* Everything but the credentials, which come last and change with the attempts. */
static void add_headers(struct kube_wire *wire, const struct kube_client *client, const char *accept, const char *content_type)
{
        const struct kube_server *server = client->server;

        add_header(wire, "Accept", accept);
        add_header(wire, "User-Agent", server->options.user_agent);
        if (content_type)
                add_header(wire, "Content-Type", content_type);
        if (client->user)
                add_header(wire, "Impersonate-User", client->user);
        for (unsigned i = 0; !client->user && i < server->impersonation_count; i++)
                wire->headers[wire->header_count++] = server->impersonation[i];
        wire->request.headers = wire->headers;
        wire->request.header_count = wire->header_count;
}

static const char *accept_of(const struct kube_request *request)
{
        if (!request->metadata_only)
                return "application/json";
        if (request->verb == KUBE_LIST)
                return "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        return "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
}

/* In its answers: Secrets, and the tokens of service accounts. */
static bool holds_secrets(const struct kube_request *request)
{
        return !*request->resource->group && (strcmp(request->resource->kind, "Secret") == 0 ||
                                              (given(request->subresource) && strcmp(request->subresource, "token") == 0));
}

static void set_limits(const struct kube_client *client, const struct kube_request *request, struct http_request *http)
{
        const struct kube_config *config = client->server->config;
        bool list = request->verb == KUBE_LIST;

        http->timeout_ms = request->timeout_ms          ? request->timeout_ms
                           : config->request_timeout_ms ? config->request_timeout_ms
                           : list                       ? LIST_MS
                                                        : HTTP_TIMEOUT_MS;
        if (request->verb == KUBE_WATCH)
                http->timeout_ms = (int64_t)request->watch_seconds * 1000 + (request->watch_seconds ? WATCH_MARGIN_MS : 0);
        /* A watch has no end; its reader limits each event. */
        http->body_limit = list ? LIST_LIMIT : request->verb == KUBE_WATCH ? 0 : HTTP_BODY_LIMIT;
        http->first_byte_ms = client->server->options.first_byte_ms;
        http->compressed = list && !config->disable_compression;
        http->secret = !request->metadata_only && holds_secrets(request);
        http->lane = request->urgent ? HTTP_URGENT : request->busy ? HTTP_BUSY : HTTP_REQUESTS;
}

int kube_wire_make(struct kube_client *client, const struct kube_request *request, struct kube_wire *ret_wire, struct error *err)
{
        const struct kube_config *config = client->server->config;
        struct kube_wire *wire = ret_wire;
        struct query query = { .url = &wire->url };
        char duration[DURATION_TEXT];

        *wire = (struct kube_wire){ .url = BUFFER_NULL };
        buffer_add_string(&wire->url, config->server);
        TRY(add_path(&wire->url, request, err));
        if (kube_verb_writes(request->verb))
                add_write_query(&query, client, request);
        else
                add_read_query(&query, request);
        if (config->request_timeout_ms && request->verb != KUBE_WATCH)
                add_query(&query, "timeout", duration_print(config->request_timeout_ms * DURATION_MILLISECOND, duration));

        wire->request =
                (struct http_request){ .method = verbs[request->verb].method, .url = wire->url.data, .body = request->body };
        if (request->verb == KUBE_DELETE && !request->body.data) {
                make_delete_options(request, &wire->body);
                wire->request.body = buffer_view(&wire->body);
        }
        set_limits(client, request, &wire->request);
        add_headers(wire, client, accept_of(request), verbs[request->verb].content_type);
        return 0;
}

void kube_wire_make_path(struct kube_client *client, const char *path, const char *accept, struct kube_wire *ret_wire)
{
        struct kube_wire *wire = ret_wire;

        *wire = (struct kube_wire){ .url = BUFFER_NULL };
        buffer_printf(&wire->url, "%s%s", client->server->config->server, path);
        wire->request = (struct http_request){ .method = "GET", .url = wire->url.data, .body_limit = LIST_LIMIT };
        wire->request.timeout_ms = client->server->config->request_timeout_ms;
        add_headers(wire, client, accept, NULL);
}

void kube_wire_access(struct kube_wire *wire, const struct kube_access *access)
{
        wire->request.settings = access->settings;
        wire->request.header_count = wire->header_count;
        if (access->authorization.length) {
                wire->headers[wire->header_count] = (struct http_header){ "Authorization", access->authorization.data };
                wire->request.header_count++;
        }
}
