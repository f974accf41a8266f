/*
 * Health on one port; metrics and what a person looks at when something is wrong on the other.
 */
#include "kube/program_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/pool.h"
#include "base/profile.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEARTBEAT_LIMIT_MS 60000
#define DRAIN_MS           1000
#define PROFILE_SECONDS    30
#define TEXT_PLAIN         "text/plain; charset=utf-8"

static bool healthy(const struct program_state *state)
{
        return clock_now_ms() - io_heartbeat(state->io) < HEARTBEAT_LIMIT_MS && job_server_alive();
}

static void plain(struct server_response *response, int status)
{
        response->status = status;
        snprintf(response->content_type, sizeof(response->content_type), TEXT_PLAIN);
        server_response_header(response, "X-Content-Type-Options", "nosniff");
}

static void check(const struct server_request *request, struct server_response *response, bool good)
{
        const char *exclude = server_query(request, "exclude");
        bool excluded = exclude && strcmp(exclude, "ping") == 0;

        plain(response, good || excluded ? 200 : 500);
        if (response->status == 200 && !server_query(request, "verbose")) {
                buffer_add_string(&response->body, "ok");
                return;
        }
        buffer_add_string(&response->body, excluded ? "[+]ping excluded: ok\n"
                                           : good   ? "[+]ping ok\n"
                                                    : "[-]ping failed: reason withheld\n");
        if (exclude && *exclude && !excluded) {
                buffer_add_string(&response->body, "warn: some health checks cannot be excluded: no matches for \"");
                buffer_add_json(&response->body, view_of(exclude));
                buffer_add_string(&response->body, "\"\n");
        }
        buffer_add_string(&response->body, response->status == 200 ? "healthz check passed\n" : "healthz check failed\n");
}

/* Alive: the io thread turns and jobs can run. */
static void serve_health(void *data, const struct server_request *request, struct server_response *response)
{
        check(request, response, healthy(data));
}

static void serve_ready(void *data, const struct server_request *request, struct server_response *response)
{
        (void)data;
        check(request, response, true);
}

static void serve_ping(void *data, const struct server_request *request, struct server_response *response)
{
        bool good = strncmp(request->path, "/readyz", strlen("/readyz")) == 0 || healthy(data);

        plain(response, good ? 200 : 500);
        buffer_add_string(&response->body, good ? "ok" : "internal server error: the io thread or the fork server is gone\n");
}

static void serve_metrics(void *data, const struct server_request *request, struct server_response *response)
{
        (void)data;
        (void)request;
        snprintf(response->content_type, sizeof(response->content_type),
                 "text/plain; version=0.0.4; charset=utf-8; escaping=values");
        metrics_render(&response->body);
}

static void serve_index(void *data, const struct server_request *request, struct server_response *response)
{
        (void)data;
        (void)request;
        plain(response, 200);
        buffer_add_string(
                &response->body,
                "/debug/pprof/cmdline\n/debug/pprof/goroutine  threads, runs, watches\n"
                "/debug/pprof/heap       memory\n"
                "/debug/pprof/profile    processor time: starts sampling for ?seconds=30, and shows the stacks afterwards\n");
}

static void serve_cmdline(void *data, const struct server_request *request, struct server_response *response)
{
        cleanup(close_descriptor) int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
        char chunk[4096];
        ssize_t length;

        (void)data;
        (void)request;
        plain(response, 200);
        while (fd >= 0 && (length = read(fd, chunk, sizeof(chunk))) > 0)
                buffer_add(&response->body, chunk, (size_t)length);
        /* Separated, not terminated. */
        if (response->body.length)
                response->body.data[--response->body.length] = '\0';
}

static void describe_source(const struct source *source, struct buffer *text)
{
        cleanup(buffer_release) struct buffer error = BUFFER_NULL;
        int64_t age = watch_age_ms(source->watch);

        watch_last_error(source->watch, &error);
        buffer_printf(text, "watch %s/%s%s%s%s: %zu objects, %zu bytes, ", source->resource->api_version, source->resource->kind,
                      source->metadata_only ? " (metadata)" : "", source->label_selector ? " " : "",
                      source->label_selector ? source->label_selector : "", cache_count(source->cache), cache_bytes(source->cache));
        if (age == CLOCK_NEVER)
                buffer_add_string(text, "not synced");
        else
                buffer_printf(text, "heard %lld ms ago", (long long)age);
        buffer_printf(text, "%s%s\n", error.length ? ", " : "", buffer_string(&error));
}

/* What Go shows as goroutines: who does what, since when. */
static void serve_threads(void *data, const struct server_request *request, struct server_response *response)
{
        struct program_state *state = data;

        (void)request;
        plain(response, 200);
        buffer_printf(&response->body, "%s %s\nio thread: turned %lld ms ago\nleader: %s\n", state->program->name, WEIR_VERSION,
                      (long long)(clock_now_ms() - io_heartbeat(state->io)),
                      !state->lease              ? "no election"
                      : lease_held(state->lease) ? "yes"
                                                 : "no");
        pthread_mutex_lock(&state->lock);
        for (unsigned i = 0; i < state->source_count; i++)
                if (state->sources[i].watch)
                        describe_source(&state->sources[i], &response->body);
        for (size_t i = 0; i < state->program->controller_count; i++) {
                const struct controller *controller = state->program->controllers[i];
                struct queue_counts counts;

                if (!controller->state)
                        continue;
                queue_counts(controller->state->queue, &counts);
                buffer_printf(&response->body, "queue %s: %zu ready, %zu waiting, %zu running\n", controller->kind->kind,
                              counts.ready, counts.waiting, counts.running);
                controller_describe_workers(controller, &response->body);
        }
        pthread_mutex_unlock(&state->lock);
}

static void serve_heap(void *data, const struct server_request *request, struct server_response *response)
{
        struct program_state *state = data;
        struct mallinfo2 heap = mallinfo2();
        struct pool_usage pool;
        char *text = NULL;
        size_t length = 0, cached = 0;
        FILE *stream;

        (void)request;
        plain(response, 200);
        pthread_mutex_lock(&state->lock);
        for (unsigned i = 0; i < state->source_count; i++)
                cached += cache_bytes(state->sources[i].cache);
        pthread_mutex_unlock(&state->lock);
        buffer_printf(&response->body, "in use %zu bytes, mapped %zu, free %zu, releasable %zu; objects in caches %zu\n",
                      heap.uordblks, heap.hblkhd, heap.fordblks, heap.keepcost, cached);
        pool_usage(&pool);
        buffer_printf(&response->body, "pool: %zu pieces of %zu bytes in %zu bytes of slabs\n", pool.pieces, pool.used_bytes,
                      pool.slab_bytes);
        stream = open_memstream(&text, &length);
        if (stream) {
                malloc_info(0, stream);
                fclose(stream);
                buffer_add(&response->body, text, length);
                free(text);
        }
}

/* Asked once to begin, and again for the result: nobody else's scrape waits meanwhile. */
static void serve_profile(void *data, const struct server_request *request, struct server_response *response)
{
        const char *given = server_query(request, "seconds");
        uint64_t seconds = PROFILE_SECONDS;

        (void)data;
        if (given && (view_to_uint64(view_of(given), &seconds) < 0 || seconds < 1 || seconds > PROFILE_SECONDS_LIMIT)) {
                server_response_text(response, 400, "seconds is a number from 1 to 300");
                return;
        }
        switch (profile_start((unsigned)seconds)) {
        case PROFILE_FINISHED:
                plain(response, 200);
                profile_take(&response->body);
                return;
        case PROFILE_RUNNING:
                server_response_text(response, 202, "a profile is being taken: ask again when its time is over");
                return;
        default:
                plain(response, 202);
                buffer_printf(&response->body, "a profile of %llu s is being taken: ask again then, and you get the stacks\n",
                              (unsigned long long)seconds);
        }
}

static struct server_route health_routes[] = {
        { .path = "/healthz", .handle = serve_health },    { .path = "/readyz", .handle = serve_ready },
        { .path = "/healthz/ping", .handle = serve_ping }, { .path = "/readyz/ping", .handle = serve_ping },
        { .path = "/healthz/", .handle = NULL },           { .path = "/readyz/", .handle = NULL },
};

static struct server_route metrics_routes[] = {
        { .path = "/metrics", .handle = serve_metrics },
        { .path = "/debug/pprof/", .handle = NULL },
        { .path = "/debug/pprof", .handle = serve_index },
        { .path = "/debug/pprof/cmdline", .handle = serve_cmdline },
        { .path = "/debug/pprof/goroutine", .handle = serve_threads },
        { .path = "/debug/pprof/heap", .handle = serve_heap },
        { .path = "/debug/pprof/profile", .handle = serve_profile },
};

/* Only the bare folder answers; below it what has no route of its own is not there. */
static void serve_folder(void *data, const struct server_request *request, struct server_response *response)
{
        if (strcmp(request->path, "/debug/pprof/") == 0)
                serve_index(data, request, response);
        else if (strcmp(request->path, "/healthz/") == 0)
                serve_health(data, request, response);
        else if (strcmp(request->path, "/readyz/") == 0)
                serve_ready(data, request, response);
        else if (strncmp(request->path, "/debug/", strlen("/debug/")) == 0)
                server_response_text(response, 404,
                                     "404 page not found: of Go's profiles a C program has those that /debug/pprof/ lists");
        else
                server_response_text(response, 404, "404 page not found");
}

static int start(struct program_state *state, const char *address, struct server_route *routes, unsigned count,
                 struct server **ret_server, struct error *error)
{
        struct server_options options = { .address = address, .routes = routes, .route_count = count };

        *ret_server = NULL;
        if (strcmp(address, "0") == 0 || !*address)
                return 0;
        for (unsigned i = 0; i < count; i++) {
                routes[i].data = state;
                if (!routes[i].handle)
                        routes[i].handle = serve_folder;
        }
        return server_start(&options, ret_server, error);
}

int program_http_start(struct program_state *state, struct error *error)
{
        TRY(start(state, state->flags.health_addr, health_routes, sizeof(health_routes) / sizeof(health_routes[0]), &state->health,
                  error));
        return start(state, state->flags.metrics_addr, metrics_routes, sizeof(metrics_routes) / sizeof(metrics_routes[0]),
                     &state->metrics, error);
}

void program_http_stop(struct program_state *state)
{
        if (state->metrics)
                server_stop(&state->metrics, DRAIN_MS);
        if (state->health)
                server_stop(&state->health, DRAIN_MS);
}
