/*
 * program_world: a whole program, in a process of its own, and the API server of a few lines that it works against: one object, lists of it, short watches.
 */
#pragma once

#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "kube/controller.h"
#include "kube/watch_configs.h"
#include "net/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 30000
#define WORKERS  2

/* What the program and the test both see. */
struct shared {
        _Atomic int runs, ended, superseded, gone, interruptible, started, stopped, removed, restored;
        _Atomic int recovered;            /* the API server, as the test sees it */
        _Atomic int priority, generation; /* of the last run */
        char trigger[64];
};

static struct shared *shared;

/* --- the program --- */

static const struct record empty_record = { NULL, 0, 0 };
static const struct kind thing_kind = { .group = "test.dev",
                                        .version = "v1",
                                        .kind = "Thing",
                                        .list_kind = "ThingList",
                                        .plural = "things",
                                        .singular = "thing",
                                        .spec = &empty_record,
                                        .status = &empty_record };

static struct controller things;

/* It waits, works, and then does not look any more. */
static void be_interrupted(struct context *ctx, struct reconcile *run)
{
        reconcile_wait_begin(run);
        reconcile_wait_end(run);
        controller_interrupt(&things, "n", "a");
        if (context_cause(ctx) != CONTEXT_RUNNING)
                return;
        reconcile_interruptible(run);
        controller_interrupt(&things, "n", "other");
        if (context_cause(ctx) == CONTEXT_RUNNING)
                controller_interrupt(&things, "n", "a");
}

static int reconcile(struct context *ctx, struct reconcile *run, struct error *error)
{
        const char *mode = json_string(JSON_PATH(run->object, "spec", "mode"), "");
        int r = 0;

        atomic_store(&shared->priority, run->priority);
        atomic_store(&shared->generation, (int)json_integer(JSON_PATH(run->object, "metadata", "generation"), 0));
        atomic_fetch_add(&shared->runs, 1);
        if (strcmp(mode, "wait") == 0) {
                r = context_sleep(ctx, 20000, error);
        } else if (strcmp(mode, "moment") == 0) {
                r = context_sleep(ctx, 10, error);
        } else if (strcmp(mode, "replaced") == 0) {
                reconcile_wait_begin(run);
                r = context_sleep(ctx, 100, error);
                reconcile_wait_end(run);
        } else if (strcmp(mode, "stubborn") == 0) {
                struct context deaf;

                context_open(&deaf, NULL, CLOCK_NEVER);
                r = context_sleep(&deaf, 20000, error);
                context_close(&deaf);
        } else if (strcmp(mode, "crash") == 0) {
                abort();
        } else if (strcmp(mode, "fail") == 0) {
                r = error_set(error, ERROR_UNAVAILABLE, "no luck");
        } else if (strcmp(mode, "terminal") == 0) {
                run->terminal = true;
                r = error_set(error, ERROR_INVALID, "never");
        } else if (strcmp(mode, "again") == 0) {
                run->requeue_after_ms = 50;
        } else if (strcmp(mode, "hourly") == 0) {
                run->failed = true;
                run->requeue_after_ms = 3600000;
        } else if (strcmp(mode, "slow") == 0) {
                while (!atomic_load(&shared->recovered) && r == 0)
                        r = context_sleep(ctx, 10, error);
                run->failed = true;
                run->requeue_after_ms = 3600000;
        } else if (strcmp(mode, "interrupted") == 0) {
                be_interrupted(ctx, run);
                atomic_store(&shared->interruptible, run->interruptible);
        }
        if (context_cause(ctx) == CONTEXT_GONE)
                atomic_fetch_add(&shared->gone, 1);
        if (context_cause(ctx) == CONTEXT_SUPERSEDED) {
                struct trigger trigger;

                if (reconcile_trigger(run, &trigger))
                        snprintf(shared->trigger, sizeof(shared->trigger), "%.20s %.20s@%.10s", trigger.kind, trigger.name,
                                 trigger.resource_version);
                atomic_fetch_add(&shared->superseded, 1);
        }
        atomic_fetch_add(&shared->ended, 1);
        return r;
}

static void removed(struct controller *controller, const struct cache_object *object)
{
        (void)controller;
        (void)object;
        atomic_fetch_add(&shared->removed, 1);
}

static void restored(struct controller *controller)
{
        (void)controller;
        atomic_fetch_add(&shared->restored, 1);
}

static int started(struct context *ctx, struct runtime *runtime, struct error *error)
{
        (void)ctx;
        (void)runtime;
        (void)error;
        atomic_fetch_add(&shared->started, 1);
        return 0;
}

static void add_secret(const struct cache_object *object, struct cache_keys *keys)
{
        config_watch_key(object, VIEW("Secret"), VIEW("s"), keys);
}

static void secret_changed(struct controller *controller, const struct cache_event *event)
{
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;

        config_watch_find(controller, event, "Secret", &list);
        for (size_t i = 0; i < list.count; i++)
                controller_enqueue(controller, list.items[i]->namespace, list.items[i]->name, QUEUE_PRIORITY_NORMAL);
}

static const struct cache_index thing_indexes[] = { { CONFIG_WATCH_INDEX, add_secret } };
static const struct controller_watch thing_watches[] = { { CONFIG_WATCH_SECRETS, .gate = "Configs", .optional = true,
                                                           .map = secret_changed } };

static struct controller things = { .kind = &thing_kind,
                                    .reconcile = reconcile,
                                    .removed = removed,
                                    .restored = restored,
                                    .watches = thing_watches,
                                    .watch_count = COUNT(thing_watches),
                                    .indexes = thing_indexes,
                                    .index_count = COUNT(thing_indexes),
                                    .supersede_gate = "Supersede" };

/* What is closed here may see something just now, and call as ever. */
static void stopped(struct runtime *runtime)
{
        (void)runtime;
        controller_interrupt(&things, "n", "a");
        controller_enqueue_after(&things, "n", "a", QUEUE_PRIORITY_NORMAL, 0);
        atomic_fetch_add(&shared->stopped, 1);
}

static struct controller *const controllers[] = { &things };
static struct feature_gate gates[] = {
        { "Supersede", false }, { "Other", false }, { "Configs", false }, { "DisableConfigWatchers", false }
};
static const struct program program = { .name = "test-controller",
                                        .controllers = controllers,
                                        .controller_count = 1,
                                        .gates = gates,
                                        .gate_count = COUNT(gates),
                                        .concurrent = WORKERS,
                                        .started = started,
                                        .stopped = stopped };

/* --- the API server --- */

static void moment(void)
{
        struct timespec time = { .tv_nsec = 2000000 };

        nanosleep(&time, NULL);
}

static struct {
        pthread_mutex_t lock;
        struct buffer item;  /* "": there is none */
        struct buffer event; /* of the last change */
        int version;
        _Atomic int streamed, watches, turned_away;
        _Atomic bool away;
        _Atomic int forbidden; /* FORBIDDEN_...; written by the test */
        _Atomic int refused_watches, refused_reads;
        _Atomic int secret;                             /* its version; 0: Secrets are forbidden */
        _Atomic int secrets_asked, secrets_asked_oddly; /* oddly: for more than the metadata of those with the label */
        char patch[4096];                               /* the last one of the status */
} api = { .lock = PTHREAD_MUTEX_INITIALIZER };

enum {
        FORBIDDEN_NOTHING,
        FORBIDDEN_WATCH, /* and lists */
        FORBIDDEN_ALL,
        UNKNOWN_ALL, /* not of the API server: a 404 of what stands before it */
};

/* What happened since that version, or after a moment that nothing did. */
static void serve_watch(const struct server_request *request, struct server_response *response)
{
        const char *version = server_query(request, "resourceVersion");

        atomic_fetch_add(&api.watches, 1);
        if (version && atoi(version) > api.version) {
                response->status = 504;
                buffer_add_string(&response->body,
                                  "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Timeout\",\"code\":504,"
                                  "\"message\":\"Too large resource version\"}");
                return;
        }
        if (version && atoi(version) < api.version)
                buffer_add_view(&response->body, buffer_view(&api.event));
        else
                moment();
        buffer_printf(&response->body, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"%d\"}}}\n",
                      api.version);
}

static void refuse(struct server_response *response)
{
        response->status = 403;
        buffer_add_string(&response->body, "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Forbidden\","
                                           "\"code\":403,\"message\":\"it is forbidden\"}");
}

/* There is one, "s" beside the object, which changes with its version. */
static void serve_secrets(const struct server_request *request, struct server_response *response)
{
        const char *selector = server_query(request, "labelSelector"), *accept = server_header(request, "Accept");
        const char *since = server_query(request, "resourceVersion");
        int version = atomic_load(&api.secret);
        char item[128];

        snprintf(item, sizeof(item), "{\"metadata\":{\"name\":\"s\",\"namespace\":\"n\",\"resourceVersion\":\"%d\"}}", version);
        if (!selector || strcmp(selector, "reconcile.fluxcd.io/watch=Enabled") != 0 || !accept ||
            !strstr(accept, "as=PartialObjectMetadata"))
                atomic_fetch_add(&api.secrets_asked_oddly, 1);
        if (!version) {
                refuse(response);
        } else if (!server_query(request, "watch")) {
                buffer_printf(&response->body,
                              "{\"kind\":\"PartialObjectMetadataList\",\"metadata\":{\"resourceVersion\":\"%d\"},\"items\":[%s]}",
                              version, item);
        } else if (since && atoi(since) < version) {
                buffer_printf(&response->body, "{\"type\":\"MODIFIED\",\"object\":%s}\n", item);
        } else {
                moment();
                buffer_printf(&response->body, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"%d\"}}}\n",
                              version);
        }
        atomic_fetch_add(&api.secrets_asked, 1);
}

static bool is_one(const struct server_request *request)
{
        static const char end[] = "/things/a";
        size_t length = strlen(request->path);

        return length > strlen(end) && strcmp(request->path + length - strlen(end), end) == 0;
}

static void serve(void *data, const struct server_request *request, struct server_response *response)
{
        (void)data;
        snprintf(response->content_type, sizeof(response->content_type), "application/json");
        server_response_header(response, "X-Kubernetes-PF-FlowSchema-UID", "test");
        if (atomic_load(&api.forbidden) > (is_one(request) ? FORBIDDEN_WATCH : FORBIDDEN_NOTHING)) {
                if (atomic_load(&api.forbidden) == UNKNOWN_ALL)
                        response->status = 404;
                else
                        refuse(response);
                atomic_fetch_add(is_one(request) ? &api.refused_reads : &api.refused_watches, 1);
                return;
        }
        if (server_query(request, "sendInitialEvents")) {
                atomic_fetch_add(&api.streamed, 1);
                response->status = 422;
                buffer_add_string(&response->body,
                                  "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Invalid\",\"code\":422,"
                                  "\"message\":\"sendInitialEvents is forbidden\"}");
                return;
        }
        if (atomic_load(&api.away)) {
                atomic_fetch_add(&api.turned_away, 1);
                response->status = 503;
                return;
        }
        if (strcmp(request->path, "/api/v1/secrets") == 0) {
                serve_secrets(request, response);
                return;
        }
        pthread_mutex_lock(&api.lock);
        if (strcmp(request->method, "PATCH") == 0) {
                snprintf(api.patch, sizeof(api.patch), "%.*s", VIEW_ARGS(request->body));
                buffer_add_view(&response->body, buffer_view(&api.item));
        } else if (server_query(request, "watch"))
                serve_watch(request, response);
        else if (is_one(request))
                buffer_add_view(&response->body, buffer_view(&api.item));
        else
                buffer_printf(&response->body, "{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"%d\"},\"items\":[%s]}",
                              api.version, buffer_string(&api.item));
        pthread_mutex_unlock(&api.lock);
}

/* The object as it is now; mode NULL: it is gone. */
static void set_thing(int generation, const char *metadata, const char *mode)
{
        pthread_mutex_lock(&api.lock);
        api.version++;
        buffer_clear(&api.event);
        if (mode) {
                buffer_clear(&api.item);
                buffer_printf(&api.item,
                              "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"resourceVersion\":\"%d\","
                              "\"generation\":%d%s},"
                              "\"spec\":{\"mode\":\"%s\"},\"status\":{\"x\":%d}}",
                              api.version, generation, metadata, mode, api.version);
        }
        if (api.item.length)
                buffer_printf(&api.event, "{\"type\":\"%s\",\"object\":%s}\n", mode ? "MODIFIED" : "DELETED",
                              buffer_string(&api.item));
        if (!mode)
                buffer_clear(&api.item);
        pthread_mutex_unlock(&api.lock);
}

#define REQUESTED ",\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"x\"}"

/* --- the process --- */

struct process {
        pid_t pid;
        int go; /* the child waits for what is written here: the API server has a thread, and no thread may be there at a fork */
        struct server *server;
        char folder[64];
        uint16_t health, metrics;
        int output;
};

static uint16_t free_port(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
        close(fd);
        return ntohs(address.sin_port);
}

/* The kubeconfig, behind one that is none. */
static int child(const struct process *process, int go, const char *const *extra)
{
        char health[64], metrics[64], config[256], byte;
        char *arguments[16] = { (char *)(uintptr_t)program.name, health, metrics };
        int count = 3;

        snprintf(health, sizeof(health), "--health-addr=127.0.0.1:%u", process->health);
        snprintf(metrics, sizeof(metrics), "--metrics-addr=127.0.0.1:%u", process->metrics);
        snprintf(config, sizeof(config), "%s/broken:%s/config", process->folder, process->folder);
        while (extra && *extra)
                arguments[count++] = (char *)(uintptr_t)*extra++;
        if (read(go, &byte, 1) != 1)
                return 99;
        setenv("KUBECONFIG", config, 1);
        setenv("TMPDIR", process->folder, 1);
        return program_main(count, arguments, &program);
}

/* Into a file of its folder. */
static void put(const struct process *process, const char *name, const char *text)
{
        char path[128];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", process->folder, name);
        file = fopen(path, "w");
        assert_non_null(file);
        fputs(text, file);
        fclose(file);
}

/* `crashes`: what processes before it left about theirs; NULL: nothing. */
static void begin_after(struct process *process, const char *const *extra, const char *crashes)
{
        static const struct server_route route = { .path = "/", .handle = serve };
        cleanup(error_release) struct error error = ERROR_NULL;
        char text[512];
        int pipes[2];

        memset(shared, 0, sizeof(*shared));
        atomic_store(&api.streamed, 0);
        *process = (struct process){ .folder = "/tmp/test-program-XXXXXX" };
        assert_non_null(mkdtemp(process->folder));
        process->health = free_port();
        process->metrics = free_port();
        assert_int_equal(pipe(pipes), 0);
        put(process, "log", "");
        snprintf(text, sizeof(text), "%s/log", process->folder);
        process->pid = fork();
        if (process->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed assertion leaves nobody behind */
                close(pipes[1]);
                if (!freopen(text, "w", stderr))
                        _exit(98);
                _exit(child(process, pipes[0], extra));
        }
        close(pipes[0]);
        assert_int_equal(server_start(
                                 &(struct server_options){
                                         .address = "127.0.0.1:0", .routes = &route, .route_count = 1, .body_limit = 1 << 20 },
                                 &process->server, &error),
                         0);
        snprintf(text, sizeof(text),
                 "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\"}}],\"clusters\":[{"
                 "\"name\":\"k\",\"cluster\":{\"server\":\"http://127.0.0.1:%u\"}}]}",
                 server_port(process->server));
        put(process, "config", text);
        put(process, "broken", "clusters: [");
        if (crashes)
                put(process, "test-controller.crashes", crashes);
        assert_int_equal(write(pipes[1], "x", 1), 1);
        close(pipes[1]);
}

static void begin(struct process *process, const char *const *extra)
{
        begin_after(process, extra, NULL);
}

/* The exit status; -1 if it does not come. */
static int wait_for(struct process *process)
{
        int64_t limit = clock_now_ms() + LIMIT_MS;
        int status = 0;
        pid_t pid;

        while ((pid = waitpid(process->pid, &status, WNOHANG)) == 0 && clock_now_ms() < limit)
                moment();
        if (pid == 0) {
                kill(process->pid, SIGKILL);
                waitpid(process->pid, &status, 0);
        }
        return pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* And takes away what it left. */
static int end(struct process *process)
{
        int status = wait_for(process);
        char command[128];

        server_free(&process->server);
        snprintf(command, sizeof(command), "rm -rf '%s'", process->folder);
        assert_int_equal(system(command), 0);
        return status;
}

static bool reaches(_Atomic int *counter, int value)
{
        int64_t limit = clock_now_ms() + LIMIT_MS;

        while (atomic_load(counter) < value && clock_now_ms() < limit)
                moment();
        return atomic_load(counter) >= value;
}

/* The whole answer, headers included; until the port is there. */
static const char *ask(uint16_t port, const char *path)
{
        static char text[65536];
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int64_t limit = clock_now_ms() + LIMIT_MS;
        char request[256];
        size_t length = 0;
        ssize_t piece;
        int fd;

        for (;;) {
                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
                        break;
                close(fd);
                assert_true(clock_now_ms() < limit);
                moment();
        }
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
        assert_int_equal(write(fd, request, strlen(request)), strlen(request));
        while (length < sizeof(text) - 1 && (piece = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
                length += (size_t)piece;
        text[length] = '\0';
        close(fd);
        return text;
}

/* The end of a file of its folder. */
static const char *content_of(const struct process *process, const char *name)
{
        static char text[65536];
        char path[128];
        size_t length;
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", process->folder, name);
        file = fopen(path, "r");
        assert_non_null(file);
        if (fseek(file, -(long)sizeof(text) + 1, SEEK_END) < 0)
                rewind(file);
        length = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
        text[length] = '\0';
        return text;
}

static const char *log_of(const struct process *process)
{
        return content_of(process, "log");
}

static const char *body(const char *answer)
{
        const char *start = strstr(answer, "\r\n\r\n");

        return start ? start + 4 : "";
}
