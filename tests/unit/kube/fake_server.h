/*
 * fake_server: the requests that a room makes, answered by the test.
 *
 * It stands in for kube/client.c at link time: a program that includes this has its own kube_call and its own kube_client_ref. Each request is recorded as text and given to the
 * test's `answer`; what may be called from several threads is locked.
 */
#pragma once

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/client.h"

#include "../json_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_REQUESTS 4096

struct fake_request {
        struct kube_request request; /* its strings do not outlive the call: use the copies */
        char *line;                  /* "PATCH_MERGE /configmaps/ns/name/status dryRun force" */
        char *body;
};

static struct {
        pthread_mutex_t lock;
        /* 0 with *ret_json set (owned by the caller), or -1 with the error. Called with the lock held. */
        int (*answer)(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error);
        struct fake_request requests[FAKE_REQUESTS];
        size_t count;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void fake_reset(void)
{
        pthread_mutex_lock(&fake.lock);
        while (fake.count) {
                fake.count--;
                free(fake.requests[fake.count].line);
                free(fake.requests[fake.count].body);
        }
        pthread_mutex_unlock(&fake.lock);
}

static inline size_t fake_count(void)
{
        size_t count;

        pthread_mutex_lock(&fake.lock);
        count = fake.count;
        pthread_mutex_unlock(&fake.lock);
        return count;
}

/* The requests so far, one a line. The caller frees. */
static inline char *fake_lines(void)
{
        struct buffer text = BUFFER_NULL;
        size_t i;

        pthread_mutex_lock(&fake.lock);
        for (i = 0; i < fake.count; i++)
                buffer_printf(&text, "%s\n", fake.requests[i].line);
        pthread_mutex_unlock(&fake.lock);
        return buffer_steal(&text);
}

static inline char *fake_line(const struct kube_request *request)
{
        static const char *const verbs[] = {
                [KUBE_GET] = "GET",         [KUBE_LIST] = "LIST",   [KUBE_CREATE] = "CREATE", [KUBE_PATCH_MERGE] = "MERGE",
                [KUBE_PATCH_JSON] = "JSON", [KUBE_APPLY] = "APPLY", [KUBE_DELETE] = "DELETE",
        };

        return memory_printf("%s %s%s%s%s%s%s%s%s", verbs[request->verb], request->resource->plural,
                             request->namespace && *request->namespace ? "/" : "", request->namespace ? request->namespace : "",
                             request->name ? "/" : "", request->name ? request->name : "", request->subresource ? "/" : "",
                             request->subresource ? request->subresource : "", request->dry_run ? " dry" : "");
}

int kube_call_json(struct context *context, struct kube_client *client, const struct kube_request *request, struct json **ret_json,
                   struct error *error)
{
        struct fake_request *record;
        int r;

        (void)client;
        if (context && context_check(context, error) != 0)
                return -1;
        pthread_mutex_lock(&fake.lock);
        if (fake.count == FAKE_REQUESTS)
                abort();
        record = &fake.requests[fake.count++];
        record->request = *request;
        record->line = fake_line(request);
        record->body = memory_string_n(request->body.data ? request->body.data : "", request->body.length);
        r = fake.answer(request, record->body, ret_json, error);
        pthread_mutex_unlock(&fake.lock);
        return r;
}

int kube_call(struct context *context, struct kube_client *client, const struct kube_request *request, struct buffer *ret_body,
              struct error *error)
{
        struct json *json = NULL;
        int r = kube_call_json(context, client, request, &json, error);

        if (r == 0 && ret_body)
                json_print(json, ret_body);
        json_free(&json);
        return r;
}

int kube_get(struct context *context, struct kube_client *client, const struct kube_resource *resource, const char *namespace,
             const char *name, struct json **ret_json, struct error *error)
{
        struct kube_request request = { .verb = KUBE_GET, .resource = resource, .namespace = namespace, .name = name };

        return kube_call_json(context, client, &request, ret_json, error);
}

/* All accounts are served by the same. */
struct kube_client *kube_client_ref(struct kube_client *client)
{
        return client;
}

struct kube_client *kube_client_impersonate(struct kube_client *client, const char *user)
{
        (void)user;
        return client;
}

void kube_client_release(struct kube_client **client)
{
        (void)client;
}

/* Of a status error, as the client maps it. */
static inline int fake_error(struct error *error, int code, const char *reason, const char *message)
{
        enum error_kind kind = code == 404   ? ERROR_NOT_FOUND
                               : code == 409 ? ERROR_CONFLICT
                               : code == 403 ? ERROR_FORBIDDEN
                               : code == 422 ? ERROR_INVALID
                                             : ERROR_UNAVAILABLE;

        error_set_reason(error, kind, reason, "%s", message);
        error->http_status = code;
        return -1;
}
