#include "kube/lease.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "data/digest.h"
#include "data/json.h"
#include "kube/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DURATION_MS       35000
#define RENEW_DEADLINE_MS 30000
#define RETRY_MS          5000
#define RELEASE_MS        5000

struct lease {
        struct lease_options options;
        char *namespace, *name, *identity;
        struct lease_api api;
        pthread_t thread;
        bool threaded;
        struct context context;
        /* The last record that was seen, and since when (local time) it is as it is. The lease's thread alone. */
        struct json *record;
        char *record_text;
        int64_t seen_ms;
        bool asked; /* our name was sent: it may be in the record, whatever came back */
        _Atomic bool held;
        _Atomic int64_t until_ms;
};

static int64_t now(const struct lease *lease)
{
        return lease->options.now ? lease->options.now(lease->options.data) : clock_now_ms();
}

char *lease_name(const char *controller, const char *label_selector)
{
        char digest[DIGEST_TEXT];

        if (!label_selector || !*label_selector)
                return memory_printf("%s-leader-election", controller);
        digest_of(DIGEST_SHA256, view_of(label_selector), digest);
        return memory_printf("%s-leader-election-%.8s", controller, strchr(digest, ':') + 1);
}

/* --- the API server --- */

static int client_request(struct lease *lease, struct context *ctx, enum kube_verb verb, struct view body, struct buffer *ret_body,
                          struct error *error)
{
        struct kube_request request = {
                .verb = verb,
                .resource = kube_resource_intern("coordination.k8s.io", "v1", "Lease", "leases", true),
                .namespace = lease->namespace,
                .name = verb == KUBE_CREATE ? NULL : lease->name,
                .body = body,
                .urgent = true,
                .timeout_ms = lease->options.renew_deadline_ms / 2,
        };

        return kube_call(ctx, lease->options.client, &request, ret_body, error);
}

static int client_get(void *data, struct context *ctx, struct buffer *ret_body, struct error *error)
{
        return client_request(data, ctx, KUBE_GET, VIEW_NULL, ret_body, error);
}

static int client_create(void *data, struct context *ctx, struct view body, struct buffer *ret_body, struct error *error)
{
        return client_request(data, ctx, KUBE_CREATE, body, ret_body, error);
}

static int client_update(void *data, struct context *ctx, struct view body, struct buffer *ret_body, struct error *error)
{
        return client_request(data, ctx, KUBE_UPDATE, body, ret_body, error);
}

/* --- one step --- */

struct lease *lease_new(const struct lease_options *options)
{
        struct lease *lease = memory_zero(1, sizeof(*lease));
        char host[256] = "localhost", uuid[UUID_TEXT];

        lease->options = *options;
        if (!lease->options.duration_ms)
                lease->options.duration_ms = DURATION_MS;
        if (!lease->options.renew_deadline_ms)
                lease->options.renew_deadline_ms = RENEW_DEADLINE_MS;
        if (!lease->options.retry_ms)
                lease->options.retry_ms = RETRY_MS;
        lease->namespace = memory_string(options->namespace);
        lease->name = memory_string(options->name);
        gethostname(host, sizeof(host) - 1);
        lease->identity = options->identity ? memory_string(options->identity) : memory_printf("%s_%s", host, uuid_print(uuid));
        lease->api = options->api ? *options->api : (struct lease_api){ client_get, client_create, client_update, lease };
        context_open(&lease->context, NULL, CLOCK_NEVER);
        return lease;
}

static const char *holder_of(const struct lease *lease)
{
        return json_string(JSON_PATH(lease->record, "spec", "holderIdentity"), "");
}

/* Notes a record, and the time if it is another one than before. */
static int observe(struct lease *lease, struct view text, struct error *error)
{
        cleanup(json_free) struct json *record = NULL;
        cleanup(free_string) char *spec = NULL;
        cleanup(free_string) char *before = memory_string(holder_of(lease));

        if (json_parse(text, &record, error) < 0)
                return error_wrap(error, "read the lease %s/%s", lease->namespace, lease->name);
        spec = json_text(json_get(record, "spec"));
        if (!lease->record_text || strcmp(lease->record_text, spec) != 0) {
                free(lease->record_text);
                lease->record_text = steal(&spec);
                lease->seen_ms = now(lease);
        }
        json_free(&lease->record);
        lease->record = steal(&record);
        if (strcmp(before, holder_of(lease)) != 0 && lease->options.holder)
                lease->options.holder(lease->options.data, holder_of(lease));
        return 0;
}

static int64_t record_duration(const struct lease *lease)
{
        int64_t seconds = json_integer(JSON_PATH(lease->record, "spec", "leaseDurationSeconds"), 0);

        return seconds > 0 && seconds < INT32_MAX ? seconds * 1000 : lease->options.duration_ms;
}

/* The record as it is to be: the last one with our name on it. */
static void write_record(const struct lease *lease, const char *holder, int64_t duration_ms, struct buffer *text)
{
        cleanup(json_free) struct json *record = lease->record ? json_copy(lease->record) : json_new_object();
        bool own = lease->record && strcmp(holder_of(lease), lease->identity) == 0;
        struct json *metadata, *spec;
        char time[TIME_TEXT];

        json_set_string(record, "apiVersion", "coordination.k8s.io/v1");
        json_set_string(record, "kind", "Lease");
        metadata = json_object_at(record, "metadata");
        json_set_string(metadata, "name", lease->name);
        json_set_string(metadata, "namespace", lease->namespace);
        json_remove(metadata, "managedFields");
        spec = json_object_at(record, "spec");
        time_print_us(clock_wall_us(), time);
        if (!own) {
                int64_t transitions = json_integer(json_get(spec, "leaseTransitions"), 0);

                json_set_integer(spec, "leaseTransitions", lease->record ? transitions + 1 : 0);
                json_set_string(spec, "acquireTime", time);
        } else if (!*holder) {
                json_set_string(spec, "acquireTime", time);
        }
        json_set_string(spec, "holderIdentity", holder);
        json_set_integer(spec, "leaseDurationSeconds", (duration_ms + 999) / 1000);
        json_set_string(spec, "renewTime", time);
        json_print(record, text);
}

/* What we wrote was answered: leader until so long after we asked. */
static int taken(struct lease *lease, struct view answer, int64_t asked_ms, struct error *error)
{
        TRY(observe(lease, answer, error));
        atomic_store(&lease->until_ms, asked_ms + lease->options.renew_deadline_ms);
        return 0;
}

static int update(struct lease *lease, struct context *ctx, struct error *error)
{
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        int64_t asked = now(lease);

        write_record(lease, lease->identity, lease->options.duration_ms, &body);
        lease->asked = true;
        TRY(lease->api.update(lease->api.data, ctx, buffer_view(&body), &answer, error));
        return taken(lease, buffer_view(&answer), asked, error);
}

static int create(struct lease *lease, struct context *ctx, struct error *error)
{
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        int64_t asked = now(lease);

        json_free(&lease->record);
        write_record(lease, lease->identity, lease->options.duration_ms, &body);
        lease->asked = true;
        TRY(lease->api.create(lease->api.data, ctx, buffer_view(&body), &answer, error));
        return taken(lease, buffer_view(&answer), asked, error);
}

int lease_try(struct lease *lease, struct context *ctx, struct error *error)
{
        cleanup(error_release) struct error first = ERROR_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        const char *holder;

        if (lease->record && strcmp(holder_of(lease), lease->identity) == 0 &&
            now(lease) < lease->seen_ms + record_duration(lease)) {
                if (update(lease, ctx, &first) == 0)
                        return 0;
                if (first.kind != ERROR_CONFLICT && first.kind != ERROR_NOT_FOUND)
                        return error_move(error, &first);
        }
        if (lease->api.get(lease->api.data, ctx, &answer, &first) < 0) {
                if (first.kind == ERROR_NOT_FOUND)
                        return create(lease, ctx, error);
                return error_move(error, &first);
        }
        TRY(observe(lease, buffer_view(&answer), error));
        holder = holder_of(lease);
        if (*holder && strcmp(holder, lease->identity) != 0 && now(lease) < lease->seen_ms + record_duration(lease))
                return LEASE_FOREIGN;
        return update(lease, ctx, error);
}

/* --- the thread --- */

static void wait_ms(struct lease *lease, int64_t milliseconds)
{
        cleanup(error_release) struct error error = ERROR_NULL;

        context_sleep(&lease->context, milliseconds, &error);
}

static bool stopping(const struct lease *lease)
{
        return context_cause(&lease->context) != CONTEXT_RUNNING;
}

/* True once it is held. */
static bool campaign(struct lease *lease)
{
        while (!stopping(lease)) {
                cleanup(error_release) struct error error = ERROR_NULL;
                int r = lease_try(lease, &lease->context, &error);

                if (r == 0)
                        return true;
                if (r < 0 && lease->options.failed && !stopping(lease))
                        lease->options.failed(lease->options.data, &error);
                wait_ms(lease, (int64_t)((double)lease->options.retry_ms * (1 + 1.2 * clock_random())));
        }
        return false;
}

/* One renewal, which ends with the leadership at the latest. */
static int renew(struct lease *lease, int64_t left_ms, struct error *error)
{
        cleanup(context_close) struct context bounded;

        context_open(&bounded, &lease->context, clock_now_ms() + left_ms);
        return lease_try(lease, &bounded, error);
}

/* Renews until it is lost (true) or the lease is stopped. */
static bool lead(struct lease *lease)
{
        while (!stopping(lease)) {
                cleanup(error_release) struct error error = ERROR_NULL;
                int64_t left = atomic_load(&lease->until_ms) - now(lease);
                int r;

                wait_ms(lease, left < lease->options.retry_ms ? left : lease->options.retry_ms);
                if (stopping(lease))
                        break;
                left = atomic_load(&lease->until_ms) - now(lease);
                if (left <= 0)
                        return true;
                r = renew(lease, left, &error);
                if (r == LEASE_FOREIGN)
                        return true;
                if (r < 0 && !stopping(lease) && lease->options.failed)
                        lease->options.failed(lease->options.data, &error);
        }
        return false;
}

static void *lease_main(void *argument)
{
        struct lease *lease = argument;

        pthread_setname_np(pthread_self(), "lease");
        while (campaign(lease)) {
                atomic_store(&lease->held, true);
                lease->options.acquired(lease->options.data);
                if (!lead(lease))
                        break;
                atomic_store(&lease->held, false);
                atomic_store(&lease->until_ms, INT64_MIN);
                lease->options.lost(lease->options.data);
        }
        return NULL;
}

void lease_run(struct lease *lease)
{
        if (pthread_create(&lease->thread, NULL, lease_main, lease) != 0)
                threads_exhausted();
        lease->threaded = true;
}

static void give_back(struct lease *lease)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        cleanup(context_close) struct context context;

        context_open(&context, NULL, clock_now_ms() + RELEASE_MS);
        if (lease->api.get(lease->api.data, &context, &answer, &error) < 0 || observe(lease, buffer_view(&answer), &error) < 0)
                return;
        if (strcmp(holder_of(lease), lease->identity) != 0)
                return;
        write_record(lease, "", 1000, &body);
        buffer_clear(&answer);
        lease->api.update(lease->api.data, &context, buffer_view(&body), &answer, &error);
}

void lease_stop(struct lease **lease)
{
        struct lease *old = *lease;

        *lease = NULL;
        if (!old)
                return;
        context_cancel(&old->context, CONTEXT_SHUTDOWN);
        if (old->threaded)
                pthread_join(old->thread, NULL);
        old->options.holder = NULL;
        if (old->asked && old->options.release)
                give_back(old);
        json_free(&old->record);
        free(old->record_text);
        free(old->namespace);
        free(old->name);
        free(old->identity);
        context_close(&old->context);
        free(old);
}

bool lease_held(const struct lease *lease)
{
        return atomic_load(&lease->held);
}

int64_t lease_until(void *data)
{
        struct lease *lease = data;

        return atomic_load(&lease->held) ? atomic_load(&lease->until_ms) : INT64_MIN;
}

const char *lease_identity(const struct lease *lease)
{
        return lease->identity;
}
