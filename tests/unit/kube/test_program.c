/*
 * A whole program, in a process of its own, against an API server of a few lines: one object, lists of it, short watches.
 */
#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "kube/controller.h"
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

static struct controller things = {
        .kind = &thing_kind, .reconcile = reconcile, .removed = removed, .restored = restored, .supersede_gate = "Supersede"
};

/* What is closed here may see something just now, and call as ever. */
static void stopped(struct runtime *runtime)
{
        (void)runtime;
        controller_interrupt(&things, "n", "a");
        controller_enqueue_after(&things, "n", "a", QUEUE_PRIORITY_NORMAL, 0);
        atomic_fetch_add(&shared->stopped, 1);
}

static struct controller *const controllers[] = { &things };
static struct feature_gate gates[] = { { "Supersede", false }, { "Other", false } };
static const struct program program = { .name = "test-controller",
                                        .controllers = controllers,
                                        .controller_count = 1,
                                        .gates = gates,
                                        .gate_count = COUNT(gates),
                                        .concurrent = 2,
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
        char patch[4096]; /* the last one of the status */
} api = { .lock = PTHREAD_MUTEX_INITIALIZER };

enum {
        FORBIDDEN_NOTHING,
        FORBIDDEN_WATCH, /* and lists */
        FORBIDDEN_ALL,
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
                response->status = 403;
                buffer_add_string(&response->body, "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Forbidden\","
                                                   "\"code\":403,\"message\":\"it is forbidden\"}");
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

/* --- the tests --- */

static void health_says_what_it_always_said(void **state)
{
        static const struct {
                const char *path, *status, *body;
        } cases[] = {
                { "/healthz", "200", "ok" },
                { "/readyz", "200", "ok" },
                { "/healthz/ping", "200", "ok" },
                { "/readyz/ping", "200", "ok" },
                { "/healthz?verbose", "200", "[+]ping ok\nhealthz check passed\n" },
                { "/readyz?verbose", "200", "[+]ping ok\nhealthz check passed\n" },
                { "/healthz?exclude=ping", "200", "ok" },
                { "/healthz?verbose&exclude=ping", "200", "[+]ping excluded: ok\nhealthz check passed\n" },
                { "/healthz/pong", "404", "404 page not found\n" },
                { "/", "404", "404 page not found\n" },
        };
        struct process process;

        (void)state;
        set_thing(0, "", NULL);
        begin(&process, NULL);
        for (size_t i = 0; i < COUNT(cases); i++) {
                const char *answer = ask(process.health, cases[i].path);

                assert_memory_equal(answer + strlen("HTTP/1.1 "), cases[i].status, 3);
                assert_non_null(strcasestr(answer, "content-type: text/plain; charset=utf-8\r\n"));
                assert_non_null(strcasestr(answer, "x-content-type-options: nosniff\r\n"));
                assert_string_equal(body(answer), cases[i].body);
        }
        assert_true(reaches(&shared->started, 1));
        {
                const char *metrics = ask(process.metrics, "/metrics");

                assert_non_null(
                        strstr(metrics, "\ncontroller_runtime_reconcile_total{controller=\"thing\",result=\"requeue_after\"} 0\n"));
                assert_non_null(strstr(metrics, "\ncontroller_runtime_reconcile_panics_total{controller=\"thing\"} 0\n"));
                assert_non_null(strstr(metrics, "\ngo_info{version=\"weir\"} 1\n"));
        }
        assert_non_null(strstr(ask(process.metrics, "/debug/pprof/goroutine"), "watch test.dev/v1/Thing"));
        assert_memory_equal(ask(process.metrics, "/debug/pprof/block"), "HTTP/1.1 404", 12);
        assert_non_null(strstr(log_of(&process), "\"msg\":\"error loading config file")); /* and goes without */
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
        assert_int_equal(shared->stopped, 1);
}

static void wrong_arguments_have_their_exit_status(void **state)
{
        static const struct {
                const char *argument;
                int status;
                const char *proxy; /* of the environment */
                const char *more;
        } cases[] = {
                { "--nope", 2 },
                { "--concurrent=many", 2 },
                { "--feature-gates=Nope=true", 1 },
                { "--interval-jitter-percentage=100", 1 },
                { "--watch-label-selector=a in (", 1 },
                { "--log-level=loud", 1 },
                { "--log-encoding=xml", 1 },
                { "--health-addr=nowhere", 1 },
                { "--enable-leader-election", 1, .more = "--leader-election-renew-deadline=35s" },
                { "--enable-leader-election", 1, .more = "--leader-election-retry-period=25s" },
                { "--enable-leader-election", 1, .more = "--leader-election-retry-period=0s" },
                { "--insecure-allow-http=false", 1, "http://proxy.example.com" },
                { "--insecure-allow-http=false", 1, "proxy.example.com:3128" },
                { "--help", 0 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct process process;

                if (cases[i].proxy)
                        setenv("HTTPS_PROXY", cases[i].proxy, 1);
                begin(&process, (const char *const[]){ cases[i].argument, cases[i].more, NULL });
                assert_int_equal(end(&process), cases[i].status);
                unsetenv("HTTPS_PROXY");
        }
}

static void an_object_runs_when_its_generation_or_request_changes(void **state)
{
        struct process process;
        int watches;

        (void)state;
        set_thing(1, "", "once");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->priority, QUEUE_PRIORITY_INITIAL);
        assert_int_equal(api.streamed, 1);

        /* Status only: seen, not run. */
        set_thing(1, "", "once");
        watches = api.watches;
        assert_true(reaches(&api.watches, watches + 3));
        assert_int_equal(shared->runs, 1);

        set_thing(1, REQUESTED, "once");
        assert_true(reaches(&shared->ended, 2));
        assert_int_equal(shared->priority, QUEUE_PRIORITY_NORMAL);
        set_thing(1, REQUESTED, "once");
        watches = api.watches;
        assert_true(reaches(&api.watches, watches + 3));
        assert_int_equal(shared->runs, 2);

        set_thing(2, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "once");
        assert_true(reaches(&shared->ended, 3));
        set_thing(0, "", NULL);
        assert_true(reaches(&shared->removed, 1));
        assert_int_equal(api.streamed, 1);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void results_go_to_the_queue_and_the_metrics(void **state)
{
        static const struct {
                const char *mode, *metric;
                int runs; /* at least */
        } cases[] = {
                { "fail", "controller_runtime_reconcile_total{controller=\"thing\",result=\"error\"} 3", 3 },
                { "terminal", "controller_runtime_terminal_reconcile_errors_total{controller=\"thing\"} 1", 1 },
                { "again", "controller_runtime_reconcile_total{controller=\"thing\",result=\"success\"} 0", 5 },
                { "once", "controller_runtime_reconcile_total{controller=\"thing\",result=\"success\"} 1", 1 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                int64_t limit = clock_now_ms() + LIMIT_MS;
                struct process process;

                set_thing(1, "", cases[i].mode);
                begin(&process, (const char *const[]){ "--min-retry-delay=20ms", "--max-retry-delay=100ms", NULL });
                assert_true(reaches(&shared->ended, cases[i].runs));
                if (strcmp(cases[i].mode, "fail") != 0)
                        while (!strstr(ask(process.metrics, "/metrics"), cases[i].metric) && clock_now_ms() < limit)
                                moment();
                assert_true(clock_now_ms() < limit);
                kill(process.pid, SIGTERM);
                assert_int_equal(end(&process), 0);
        }
}

/* What failed because of an outage is tried when that is over, also if the run itself ends later than the outage. */
static void retries_come_when_the_server_is_back(void **state)
{
        static const char *const modes[] = { "hourly", "slow" };

        (void)state;
        for (size_t i = 0; i < COUNT(modes); i++) {
                struct process process;
                int before;

                set_thing(1, "", modes[i]);
                begin(&process, NULL);
                assert_true(reaches(i ? &shared->runs : &shared->ended, 1));
                atomic_store(&api.away, true);
                assert_true(reaches(&api.turned_away, atomic_load(&api.turned_away) + 1));
                assert_int_equal(atomic_load(&shared->runs), 1);
                before = atomic_load(&api.watches);
                atomic_store(&api.away, false);
                assert_true(reaches(&api.watches, before + 2));
                atomic_store(&shared->recovered, 1);
                assert_true(reaches(&shared->runs, 2));
                kill(process.pid, SIGTERM);
                assert_int_equal(end(&process), 0);
        }
}

static void a_restored_server_is_looked_at_anew(void **state)
{
        struct process process;

        (void)state;
        api.version += 1000;
        set_thing(1, "", "once");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(atomic_load(&shared->restored), 0);
        pthread_mutex_lock(&api.lock);
        api.version -= 500;
        pthread_mutex_unlock(&api.lock);
        assert_true(reaches(&shared->restored, 1));
        assert_true(reaches(&shared->runs, 2));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void a_run_that_honours_its_token_ends_at_once(void **state)
{
        struct process process;
        int64_t asked;

        (void)state;
        set_thing(1, "", "wait");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        asked = clock_now_ms();
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
        assert_int_equal(shared->ended, 1);
        assert_int_equal(shared->stopped, 1);
        assert_true(clock_now_ms() - asked < 15000);
}

static void a_run_that_does_not_is_left_behind(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "stubborn");
        begin(&process, (const char *const[]){ "--graceful-shutdown-timeout=300ms", NULL });
        assert_true(reaches(&shared->runs, 1));
        kill(process.pid, SIGTERM);
        assert_int_equal(wait_for(&process), 1);
        assert_non_null(strstr(log_of(&process),
                               "failed waiting for all runnables to end within grace period of 300ms: context deadline "
                               "exceeded"));
        end(&process);
        assert_int_equal(shared->ended, 0);
}

#define MARK "Thing n/a 1\n"

/* A crash says whose run it was, in the log and for who comes after; of two the object is left alone until somebody changes it. */
static void an_object_that_crashes_twice_is_left_alone(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "crash");
        begin_after(&process, NULL, MARK);
        assert_int_equal(wait_for(&process), 2);
        assert_int_equal(shared->runs, 1);
        assert_non_null(strstr(log_of(&process), "\"msg\":\"crashed\",\"error\":\"signal ABRT\",\"object\":\"Thing n/a 1\"}\n"));
        assert_string_equal(content_of(&process, "test-controller.crashes"), MARK MARK);
        end(&process);

        set_thing(1, "", "once");
        begin_after(&process, NULL, MARK "Thing n/b 1\nThing n/a 2\n" MARK);
        for (int64_t limit = clock_now_ms() + LIMIT_MS;
             !strstr(log_of(&process), "the controller crashed 2 times") && clock_now_ms() < limit;)
                moment();
        pthread_mutex_lock(&api.lock);
        assert_non_null(strstr(api.patch, "ControllerCrashed"));
        pthread_mutex_unlock(&api.lock);
        assert_int_equal(shared->runs, 0);
        set_thing(2, "", "once");
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->generation, 2);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

/* Who may not watch any more reads what it is about to do; who may not read either does nothing, says so, and goes on when it may. */
static void a_blind_watch_makes_no_old_runs(void **state)
{
        struct process process;
        int runs;

        (void)state;
        set_thing(1, "", "again");
        begin(&process, NULL);
        assert_true(reaches(&shared->generation, 1));
        atomic_store(&api.forbidden, FORBIDDEN_WATCH);
        assert_true(reaches(&api.refused_watches, 1));
        set_thing(2, "", "again");
        assert_true(reaches(&shared->generation, 2));

        atomic_store(&api.forbidden, FORBIDDEN_ALL);
        assert_true(reaches(&api.refused_reads, 1));
        runs = atomic_load(&shared->runs);
        set_thing(3, "", "again");
        assert_true(reaches(&api.refused_reads, 2));
        assert_int_equal(atomic_load(&shared->runs), runs);
        assert_non_null(strstr(log_of(&process), "read Thing n/a, which cannot be watched: "));

        atomic_store(&api.forbidden, FORBIDDEN_NOTHING);
        assert_true(reaches(&shared->generation, 3));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void a_change_supersedes_the_run_if_the_gate_says_so(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "wait");
        /* The second one adds to the first. */
        begin(&process, (const char *const[]){ "--feature-gates=Supersede=true", "--feature-gates=Other=true", NULL });
        assert_true(reaches(&shared->runs, 1));
        set_thing(2, "", "once");
        assert_true(reaches(&shared->superseded, 1));
        assert_memory_equal(shared->trigger, "Thing a@", strlen("Thing a@"));
        assert_true(reaches(&shared->ended, 2));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

/* It would keep the next object of that name waiting. One that is being deleted ends as it likes: the object goes because of it. */
static void the_run_of_an_object_that_is_gone_ends(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "wait");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        set_thing(0, "", NULL);
        assert_true(reaches(&shared->gone, 1));
        set_thing(1, "", "once");
        assert_true(reaches(&shared->ended, 2));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);

        set_thing(1, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "slow");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        set_thing(0, "", NULL);
        assert_true(reaches(&shared->removed, 1));
        atomic_store(&shared->recovered, 1);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->gone, 0);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void an_interruption_ends_only_a_run_that_says_so(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "interrupted");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->superseded, 1);
        assert_int_equal(shared->interruptible, 1);
        assert_string_equal(shared->trigger, "");
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

/* Two threads are in it: the one that brings the event, and the idle worker that the event wakes. */
static void a_change_does_not_supersede_the_run_that_it_begins(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "once");
        begin(&process, (const char *const[]){ "--feature-gates=Supersede=true", NULL });
        for (int i = 1; i <= 50; i++) {
                assert_true(reaches(&shared->ended, i));
                set_thing(i + 1, "", "moment");
        }
        assert_true(reaches(&shared->ended, 51));
        assert_int_equal(shared->superseded, 0);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(health_says_what_it_always_said),
                cmocka_unit_test(wrong_arguments_have_their_exit_status),
                cmocka_unit_test(an_object_runs_when_its_generation_or_request_changes),
                cmocka_unit_test(results_go_to_the_queue_and_the_metrics),
                cmocka_unit_test(retries_come_when_the_server_is_back),
                cmocka_unit_test(a_restored_server_is_looked_at_anew),
                cmocka_unit_test(a_run_that_honours_its_token_ends_at_once),
                cmocka_unit_test(a_run_that_does_not_is_left_behind),
                cmocka_unit_test(an_object_that_crashes_twice_is_left_alone),
                cmocka_unit_test(a_blind_watch_makes_no_old_runs),
                cmocka_unit_test(a_change_supersedes_the_run_if_the_gate_says_so),
                cmocka_unit_test(the_run_of_an_object_that_is_gone_ends),
                cmocka_unit_test(an_interruption_ends_only_a_run_that_says_so),
                cmocka_unit_test(a_change_does_not_supersede_the_run_that_it_begins),
        };

        if (!kernel_has_filters())
                return 0;
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
                return 1;
        return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
