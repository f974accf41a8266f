#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "data/json.h"
#include "kube/client_private.h"

#include <sys/stat.h>

#define FLOW   "X-Kubernetes-PF-FlowSchema-UID: u\r\n"
#define STATUS "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\""

static struct io *io;
static struct fake_identity ca, identity;
static char directory[] = "/tmp/weir-client-XXXXXX";

/* What the scripted API server saw and does. */
struct script {
        const char *headers; /* of every answer */
        fake_handler *handle;
        pthread_mutex_t lock;
        struct buffer log; /* "METHOD target body\n" of everything but pings; under lock */
        _Atomic int count, pings, failures;
        char *authorization; /* of the last request; under lock */
        _Atomic int mode;
};

static enum fake_next serve(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct script *script = data;

        if (strcmp(request->target, "/livez/ping") == 0) {
                script->pings++;
                fake_write(connection, VIEW("HTTP/1.1 200 OK\r\n"));
                fake_write(connection, view_of(script->headers));
                fake_write(connection, VIEW("Content-Length: 2\r\n\r\n"));
                return FAKE_KEEP;
        }
        pthread_mutex_lock(&script->lock);
        buffer_printf(&script->log, "%s %s %.*s\n", request->method, request->target, VIEW_ARGS(request->body));
        free(script->authorization);
        script->authorization = fake_header(request, "Authorization");
        pthread_mutex_unlock(&script->lock);
        script->count++;
        return script->handle(script, connection, request);
}

struct fixture {
        struct script script;
        struct fake_server *server;
        struct kube_client *client;
        struct context ctx;
        struct error err;
        _Atomic int notices;
};

static void count_notice(void *data, enum log_level level, const char *message)
{
        struct fixture *f = data;

        (void)level, (void)message;
        f->notices++;
}

static char *path_of(const char *name)
{
        return memory_printf("%s/%s", directory, name);
}

static void put_file(const char *name, const char *content)
{
        cleanup(free_string) char *path = path_of(name);
        FILE *file = fopen(path, "w");

        fputs(content, file);
        fclose(file);
        chmod(path, 0755);
}

/* A client of a scripted server; `user` is the inside of the kubeconfig's user. */
static void fixture_open(struct fixture *f, fake_handler *handle, const char *user)
{
        struct kube_client_options options = { .user_agent = "test-controller/1 (linux)", .notice = count_notice, .data = f };
        cleanup(buffer_release) struct buffer encoded = BUFFER_NULL;
        cleanup(free_string) char *text = NULL;
        cleanup(free_string) char *file = path_of("kubeconfig");
        cleanup(kube_config_free) struct kube_config *config = NULL;

        *f = (struct fixture){ .script = { .headers = FLOW, .handle = handle } };
        pthread_mutex_init(&f->script.lock, NULL);
        context_open(&f->ctx, NULL, clock_now_ms() + 60000);
        f->server = fake_start(&identity, NULL, serve, &f->script);
        buffer_add_base64(&encoded, view_of(ca.certificate_pem));
        text = memory_printf("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                             "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:%u', certificate-authority-data: %s}}]\n"
                             "users: [{name: u, user: {%s}}]\n",
                             f->server->port, encoded.data, user);
        put_file("kubeconfig", text);
        if (kube_config_load_files(file, &config, &f->err) < 0 || kube_client_new(io, &config, &options, &f->client, &f->err) < 0)
                fail_msg("%s", error_message(&f->err));
}

static void fixture_close(struct fixture *f)
{
        kube_client_release(&f->client);
        context_close(&f->ctx);
        error_release(&f->err);
        fake_stop(&f->server);
        buffer_release(&f->script.log);
        free(f->script.authorization);
        pthread_mutex_destroy(&f->script.lock);
}

static const struct kube_resource *config_maps(void)
{
        return kube_resource_intern("", "v1", "ConfigMap", "configmaps", true);
}

static int call(struct fixture *f, enum kube_verb verb)
{
        struct kube_request request = { .verb = verb, .resource = config_maps(), .name_space = "ns", .name = "n" };

        if (kube_verb_writes(verb) && verb != KUBE_DELETE)
                request.body = VIEW("{\"a\":1}");
        return kube_call(&f->ctx, f->client, &request, NULL, &f->err);
}

static enum fake_next ok(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data, (void)request;
        return fake_json(connection, "200 OK", "{}");
}

/* ---- the wire ---- */

static void requests_look_as_the_api_wants_them(void **state)
{
        const struct kube_resource *pods = config_maps();
        const struct kube_resource *deployments = kube_resource_intern("apps", "v1", "Deployment", "deployments", true);
        const struct kube_resource *nodes = kube_resource_intern("", "v1", "Node", "nodes", false);
        const struct {
                struct kube_request request;
                const char *line; /* NULL: refused */
        } cases[] = {
                { { .verb = KUBE_GET, .resource = pods, .name_space = "ns", .name = "a b" },
                  "GET /api/v1/namespaces/ns/configmaps/a%20b \n" },
                { { .verb = KUBE_GET, .resource = nodes, .name_space = "ignored", .name = "n" }, "GET /api/v1/nodes/n \n" },
                { { .verb = KUBE_GET, .resource = deployments, .name_space = "ns", .name = "d", .subresource = "status" },
                  "GET /apis/apps/v1/namespaces/ns/deployments/d/status \n" },
                { { .verb = KUBE_LIST, .resource = pods, .label_selector = "a=b,c in (d)", .limit = 500, .resource_version = "0" },
                  "GET /api/v1/configmaps?labelSelector=a%3Db%2Cc%20in%20%28d%29&resourceVersion=0&limit=500 \n" },
                { { .verb = KUBE_CREATE, .resource = pods, .name_space = "ns", .body = VIEW("{}") },
                  "POST /api/v1/namespaces/ns/configmaps?fieldManager=test-controller {}\n" },
                { { .verb = KUBE_APPLY,
                    .resource = pods,
                    .name_space = "ns",
                    .name = "n",
                    .body = VIEW("{}"),
                    .force = true,
                    .dry_run = true,
                    .field_manager = "m" },
                  "PATCH /api/v1/namespaces/ns/configmaps/n?fieldManager=m&dryRun=All&force=true {}\n" },
                { { .verb = KUBE_DELETE,
                    .resource = pods,
                    .name_space = "ns",
                    .name = "n",
                    .propagation = "Background",
                    .uid = "u",
                    .resource_version = "7" },
                  "DELETE /api/v1/namespaces/ns/configmaps/n "
                  "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"propagationPolicy\":"
                  "\"Background\",\"preconditions\":{\"uid\":\"u\",\"resourceVersion\":\"7\"}}\n" },
                { { .verb = KUBE_GET, .resource = pods, .name_space = "ns", .name = ".." }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .name_space = "ns", .name = "a/b" }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .name_space = "n%73", .name = "a" }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .name = "a" }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .name_space = "ns" }, NULL },
                { { .verb = KUBE_DELETE, .resource = pods, .name_space = "ns", .name = "" }, NULL },
        };
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, ok, "token: t");
        for (size_t i = 0; i < COUNT(cases); i++) {
                int r;

                buffer_clear(&f.script.log);
                r = kube_call(&f.ctx, f.client, &cases[i].request, NULL, &f.err);
                assert_int_equal(r, cases[i].line ? 0 : -1);
                if (r < 0)
                        assert_int_equal(f.err.kind, ERROR_INVALID);
                assert_string_equal(buffer_string(&f.script.log), cases[i].line ? cases[i].line : "");
        }
        assert_string_equal(f.script.authorization, "Bearer t");
        assert_int_equal(f.server->accepted, 1);
}

static enum fake_next tell_user(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        static const char *const names[] = { "Impersonate-User", "Impersonate-Uid", "Impersonate-Group",
                                             "Impersonate-Extra-a%2Fb%25" };
        cleanup(json_free) struct json *answer = json_new_object();
        cleanup(free_string) char *text = NULL;

        (void)data;
        for (size_t i = 0; i < COUNT(names); i++) {
                cleanup(free_string) char *value = fake_header(request, names[i]);

                json_set_string(answer, names[i], value);
        }
        text = json_text(answer);
        return fake_json(connection, "200 OK", text);
}

static void users_are_impersonated(void **state)
{
        cleanup(fixture_close) struct fixture f;
        struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .name_space = "ns", .name = "n" };
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        cleanup(kube_client_release) struct kube_client *other = NULL;

        (void)state;
        fixture_open(&f, tell_user, "token: t, as: boss, as-uid: '7', as-groups: [g], as-user-extra: {a/b%: [v]}");
        assert_int_equal(kube_call(&f.ctx, f.client, &request, &body, &f.err), 0);
        assert_string_equal(body.data, "{\"Impersonate-User\":\"boss\",\"Impersonate-Uid\":\"7\",\"Impersonate-Group\":\"g\","
                                       "\"Impersonate-Extra-a%2Fb%25\":\"v\"}");
        other = kube_client_impersonate(f.client, "system:serviceaccount:ns:sa");
        assert_int_equal(kube_call(&f.ctx, other, &request, &body, &f.err), 0);
        assert_string_equal(body.data, "{\"Impersonate-User\":\"system:serviceaccount:ns:sa\"}");
        assert_int_equal(f.server->accepted, 1);
}

/* ---- retries ---- */

static enum fake_next fail_some(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct script *script = data;

        (void)request;
        if (script->failures-- > 0) {
                switch (atomic_load(&script->mode)) {
                case 0:
                        return fake_answer(connection, "429 Too Many Requests", "Retry-After: 1\r\n", "busy");
                case 1:
                        return fake_answer(connection, "500 Internal Server Error", "", "oops");
                case 2:
                        return FAKE_RESET;
                case 3:
                        return fake_answer(connection, "503 Service Unavailable", "Retry-After: 0\r\n", "");
                default:
                        return fake_answer(connection, "503 Service Unavailable", "Retry-After: Sat, 01 Jan 2028 00:00:00 GMT\r\n",
                                           "");
                }
        }
        return fake_json(connection, "200 OK", "{}");
}

static void only_what_is_safe_is_sent_again(void **state)
{
        static const struct {
                const char *name;
                int mode, failures;
                enum kube_verb verb;
                int requests, result;
                int64_t at_least_ms;
        } cases[] = {
                { "429 with Retry-After", 0, 3, KUBE_PATCH_MERGE, 4, 0, 3000 },
                { "500 without", 1, 1, KUBE_PATCH_MERGE, 1, -1, 0 },
                { "reset GET", 2, 1, KUBE_GET, 2, 0, 0 },
                { "reset POST", 2, 1, KUBE_CREATE, 1, -1, 0 },
                { "reset DELETE", 2, 1, KUBE_DELETE, 1, -1, 0 },
                { "503 for ever", 3, 100, KUBE_UPDATE, 10, -1, 0 },
                { "a date", 4, 1, KUBE_GET, 1, -1, 0 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(fixture_close) struct fixture f;
                struct view rest, line, first;
                int64_t start;

                fixture_open(&f, fail_some, "token: t");
                f.script.mode = cases[i].mode;
                f.script.failures = cases[i].failures;
                start = clock_now_ms();
                if (call(&f, cases[i].verb) != cases[i].result)
                        fail_msg("%s: %s", cases[i].name, error_message(&f.err));
                assert_int_equal(f.script.count, cases[i].requests);
                assert_true(clock_now_ms() - start >= cases[i].at_least_ms);
                rest = buffer_view(&f.script.log);
                view_split(&rest, '\n', &first);
                while (view_split(&rest, '\n', &line) && line.length)
                        assert_true(view_equal(line, first)); /* the same bodies */
        }
}

static void a_cancelled_retry_does_not_wait(void **state)
{
        cleanup(fixture_close) struct fixture f;
        cleanup(context_close) struct context step;
        struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .name_space = "ns", .name = "n" };
        int64_t start = clock_now_ms();

        (void)state;
        fixture_open(&f, fail_some, "token: t");
        f.script.failures = 100;
        context_open(&step, &f.ctx, start + 300);
        assert_int_equal(kube_call(&step, f.client, &request, NULL, &f.err), -1);
        assert_int_equal(f.err.kind, ERROR_TIMEOUT);
        assert_true(clock_now_ms() - start < 900);
}

/* ---- failures ---- */

struct answer {
        const char *status, *type, *body;
};

static const struct answer *answer_now;

static enum fake_next answer(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *type = memory_printf("Content-Type: %s\r\n", answer_now->type);

        (void)data, (void)request;
        return fake_answer(connection, answer_now->status, type, answer_now->body);
}

static void failures_say_what_the_server_said(void **state)
{
#define JSON "application/json"
        static const struct {
                struct answer answer;
                enum kube_verb verb;
                enum error_kind kind;
                const char *reason;
                int code;
                const char *message;
        } cases[] = {
                { { "404 Not Found", JSON,
                    STATUS ",\"reason\":\"NotFound\",\"code\":404,\"details\":{\"name\":\"n\"},\"message\":\"configmaps \\\"n\\\" "
                           "not found\"}" },
                  KUBE_GET,
                  ERROR_NOT_FOUND,
                  "NotFound",
                  404,
                  "configmaps \"n\" not found" },
                { { "409 Conflict", JSON,
                    STATUS ",\"reason\":\"Conflict\",\"code\":409,\"message\":\"Apply failed with 1 conflict: conflict with "
                           "\\\"kubectl-edit\\\" using v1: "
                           ".data.a\",\"details\":{\"causes\":[{\"reason\":\"FieldManagerConflict\",\"field\":\".data.a\"}]}}" },
                  KUBE_APPLY,
                  ERROR_CONFLICT,
                  "FieldManagerConflict",
                  409,
                  "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .data.a" },
                { { "403 Forbidden", JSON,
                    STATUS ",\"reason\":\"Forbidden\",\"code\":403,\"message\":\"no\",\"details\":{\"causes\":[{\"reason\":"
                           "\"NamespaceTerminating\"}]}}" },
                  KUBE_CREATE,
                  ERROR_FORBIDDEN,
                  "NamespaceTerminating",
                  403,
                  "no" },
                { { "410 Gone", JSON, STATUS ",\"reason\":\"Expired\",\"code\":410,\"message\":\"too old\"}" },
                  KUBE_LIST,
                  ERROR_UNAVAILABLE,
                  "Expired",
                  410,
                  "too old" },
                { { "422 Unprocessable Entity", JSON, STATUS ",\"reason\":\"Invalid\",\"code\":422,\"message\":\"bad\"}" },
                  KUBE_UPDATE,
                  ERROR_INVALID,
                  "Invalid",
                  422,
                  "bad" },
                { { "504 Gateway Timeout", JSON, STATUS ",\"reason\":\"Timeout\",\"code\":504,\"message\":\"slow\"}" },
                  KUBE_GET,
                  ERROR_TIMEOUT,
                  "Timeout",
                  504,
                  "slow" },
                { { "500 Internal Server Error", JSON, STATUS ",\"reason\":\"Odd\",\"code\":500,\"message\":\"odd\"}" },
                  KUBE_GET,
                  ERROR_UNAVAILABLE,
                  "Odd",
                  500,
                  "odd" },
                { { "404 Not Found", "text/plain", "404 page not found\n" },
                  KUBE_PATCH_MERGE,
                  ERROR_NOT_FOUND,
                  "NotFound",
                  404,
                  "the server could not find the requested resource (patch configmaps n)" },
                { { "401 Unauthorized", "text/plain", "x" },
                  KUBE_GET,
                  ERROR_FORBIDDEN,
                  "Unauthorized",
                  401,
                  "the server has asked for the client to provide credentials (get configmaps n)" },
                { { "403 Forbidden", "text/html", "go away" },
                  KUBE_GET,
                  ERROR_FORBIDDEN,
                  "Forbidden",
                  403,
                  "go away (get configmaps n)" },
                { { "409 Conflict", "text/plain", "" },
                  KUBE_CREATE,
                  ERROR_CONFLICT,
                  "AlreadyExists",
                  409,
                  "the server reported a conflict (post configmaps n)" },
                { { "429 Too Many Requests", "text/plain", "" },
                  KUBE_GET,
                  ERROR_UNAVAILABLE,
                  "TooManyRequests",
                  429,
                  "the server has received too many requests and has asked us to try again later (get configmaps n)" },
                { { "503 Service Unavailable", "text/plain", "" },
                  KUBE_GET,
                  ERROR_UNAVAILABLE,
                  "ServiceUnavailable",
                  503,
                  "the server is currently unable to handle the request (get configmaps n)" },
                { { "502 Bad Gateway", "text/plain", "proxy down" },
                  KUBE_DELETE,
                  ERROR_UNAVAILABLE,
                  "InternalError",
                  502,
                  "an error on the server (\"proxy down\") has prevented the request from succeeding (delete configmaps n)" },
                { { "502 Bad Gateway", "image/png", "proxy down" },
                  KUBE_GET,
                  ERROR_UNAVAILABLE,
                  "InternalError",
                  502,
                  "an error on the server (\"unknown\") has prevented the request from succeeding (get configmaps n)" },
                { { "302 Found", "text/plain", "" },
                  KUBE_GET,
                  ERROR_INVALID,
                  "",
                  302,
                  "the server responded with the status code 302 but did not return more information (get configmaps n)" },
        };
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, answer, "token: t");
        for (size_t i = 0; i < COUNT(cases); i++) {
                answer_now = &cases[i].answer;
                assert_int_equal(call(&f, cases[i].verb), -1);
                if (strcmp(error_message(&f.err), cases[i].message) != 0)
                        fail_msg("%zu: %s", i, error_message(&f.err));
                assert_int_equal(f.err.kind, cases[i].kind);
                assert_string_equal(f.err.reason, cases[i].reason);
                assert_int_equal(f.err.http_status, cases[i].code);
        }
}

/* ---- throttling ---- */

static void the_server_limits_or_we_do(void **state)
{
        static const struct {
                const char *headers;
                int least, most;
        } cases[] = { { FLOW, 500, 500 }, { "", 300, 350 } };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(fixture_close) struct fixture f;
                cleanup(context_close) struct context second;
                struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .name_space = "ns", .name = "n" };
                bool limited = !*cases[i].headers;

                fixture_open(&f, ok, "token: t");
                f.script.headers = cases[i].headers;
                context_open(&second, &f.ctx, limited ? clock_now_ms() + 1000 : CLOCK_NEVER);
                for (int k = 0; k < 500 && kube_call(&second, f.client, &request, NULL, &f.err) == 0; k++)
                        ;
                if (limited && f.script.count < 200)
                        skip(); /* a machine too slow for the question */
                assert_in_range(f.script.count, limited ? 200 : cases[i].least, cases[i].most);
                assert_int_equal(f.script.pings, 1);
        }
}

/* ---- credentials ---- */

static void tokens_rotate(void **state)
{
        cleanup(free_string) char *path = path_of("token");
        cleanup(free_string) char *user = memory_printf("tokenFile: %s", path);
        cleanup(fixture_close) struct fixture f;

        (void)state;
        put_file("token", "one\n");
        fixture_open(&f, ok, user);
        assert_int_equal(call(&f, KUBE_GET), 0);
        put_file("token", "two\n");
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_string_equal(f.script.authorization, "Bearer one"); /* not read for every request */
        f.client->server->token_read_ms -= 50000;
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_string_equal(f.script.authorization, "Bearer two");
        put_file("token", "");
        for (int i = 0; i < 3; i++) {
                f.client->server->token_read_ms -= 50000;
                assert_int_equal(call(&f, KUBE_GET), 0);
        }
        assert_string_equal(f.script.authorization, "Bearer two");
        assert_int_equal(f.notices, 1);
}

static enum fake_next want_new(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");

        (void)data;
        if (strcmp(authorization, "Bearer new") != 0)
                return fake_answer(connection, "401 Unauthorized", "", "");
        return fake_json(connection, "200 OK", "{}");
}

static void a_refused_token_is_read_again(void **state)
{
        cleanup(free_string) char *path = path_of("token");
        cleanup(free_string) char *user = memory_printf("tokenFile: %s", path);
        cleanup(fixture_close) struct fixture f;

        (void)state;
        put_file("token", "old");
        fixture_open(&f, want_new, user);
        assert_int_equal(call(&f, KUBE_CREATE), -1);
        assert_int_equal(f.script.count, 1); /* the file is the same: nothing else to try */
        put_file("token", "new");
        assert_int_equal(call(&f, KUBE_CREATE), 0);
        assert_int_equal(f.script.count, 3);
}

/* Prints the next number as a token each time it runs; $1 is added to the status. */
static const char plugin[] = "#!/bin/sh\n"
                             "cd \"$(dirname \"$0\")\"\n"
                             "n=$(($(cat runs) + 1)); echo $n > runs; echo \"$KUBERNETES_EXEC_INFO $EXTRA\" > info\n"
                             "ls /proc/$$/fd | wc -l > fds\n"
                             "expires=$(date -u -d \"+$2 seconds\" +%Y-%m-%dT%H:%M:%S.%NZ)\n"
                             "echo "
                             "'{\"kind\":\"ExecCredential\",\"apiVersion\":\"'$1'\",\"status\":{\"token\":\"t'$n'\","
                             "\"expirationTimestamp\":\"'$expires'\"}}'\n";

static char *exec_user(const char *arguments, const char *rest)
{
        return memory_printf(
                "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./plugin, args: [%s], "
                "env: [{name: EXTRA, value: extra}]%s}",
                arguments, rest);
}

static int runs(void)
{
        cleanup(free_string) char *path = path_of("runs");
        FILE *file = fopen(path, "r");
        int count = -1;

        assert_int_equal(fscanf(file, "%d", &count), 1);
        fclose(file);
        return count;
}

static enum fake_next refuse_second(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct script *script = data;
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");

        if (script->mode == 1 && strcmp(authorization, "Bearer t2") == 0)
                return fake_answer(connection, "401 Unauthorized", "", "");
        return fake_json(connection, "200 OK", "{}");
}

static void plugins_run_when_they_must(void **state)
{
        cleanup(free_string) char *user = exec_user("client.authentication.k8s.io/v1, '2'", ", provideClusterInfo: true");
        cleanup(free_string) char *info_path = path_of("info");
        cleanup(fixture_close) struct fixture f;
        char info[4096] = "";
        FILE *file;

        (void)state;
        put_file("plugin", plugin);
        put_file("runs", "0");
        fixture_open(&f, refuse_second, user);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(runs(), 1);
        assert_int_equal(context_sleep(&f.ctx, 2100, &f.err), 0);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(runs(), 2);
        f.script.mode = 1;
        assert_int_equal(call(&f, KUBE_CREATE), 0);
        assert_int_equal(runs(), 3);
        assert_string_equal(f.script.authorization, "Bearer t3");

        file = fopen(info_path, "r");
        assert_non_null(fgets(info, sizeof(info), file));
        fclose(file);
        assert_non_null(strstr(info, "\"server\":\"https://127.0.0.1:"));
        assert_non_null(strstr(info, "\"interactive\":false"));
        assert_non_null(strstr(info, "} extra"));
}

static void plugins_that_fail_are_named(void **state)
{
        static const struct {
                const char *script, *rest, *message;
        } cases[] = {
                { plugin, "",
                  "exec plugin is configured to use API version client.authentication.k8s.io/v1, plugin returned version wrong" },
                { "#!/bin/sh\nexit 3\n", "", "failed with exit code 3" },
                { "#!/bin/sh\nkill -9 $$\n", "", "ended by signal 9" },
                { "#!/bin/sh\necho secret-text\n", "", "decoding stdout" },
                { "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\"}'\n", "",
                  "exec plugin didn't return a status field" },
                { "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{}}'\n", "",
                  "exec plugin didn't return a token or cert/key pair" },
                { "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"clientKeyData\":\"k\"}}'\n",
                  "", "exec plugin returned only certificate or key, not both" },
                { "#!/bin/sh\nhead -c 2000000 /dev/zero\n", "", "its output is larger than 1048576 bytes" },
                { plugin, ", command: ./absent, installHint: get it", "not found\n\nget it" },
                { plugin, ", command: weir-no-such-program", "exec: executable weir-no-such-program not found" },
                { plugin, ", interactiveMode: Always", "standard input is not a terminal" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *user = exec_user("wrong, '60'", cases[i].rest);
                cleanup(fixture_close) struct fixture f;

                put_file("plugin", cases[i].script);
                put_file("runs", "0");
                fixture_open(&f, ok, user);
                assert_int_equal(call(&f, KUBE_GET), -1);
                if (!strstr(error_message(&f.err), cases[i].message) ||
                    strncmp(error_message(&f.err), "getting credentials: ", 21) != 0)
                        fail_msg("%zu: %s", i, error_message(&f.err));
                assert_null(strstr(error_message(&f.err), "secret-text"));
                assert_int_equal(f.script.count, 0);
        }
}

/* ---- certificates ---- */

static void a_new_ca_is_taken_when_the_old_one_fails(void **state)
{
        cleanup(fake_identity_release) struct fake_identity other = fake_identity("other", NULL, NULL);
        cleanup(free_string) char *path = path_of("ca.crt");
        struct kube_client_options options = { .user_agent = "test-controller/1" };
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(kube_client_release) struct kube_client *client = NULL;
        cleanup(fixture_close) struct fixture f;
        cleanup(free_string) char *file = path_of("kubeconfig");
        cleanup(free_string) char *text = NULL;

        (void)state;
        fixture_open(&f, ok, "token: t");
        put_file("ca.crt", other.certificate_pem);
        text = memory_printf("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                             "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:%u', certificate-authority: %s}}]\n"
                             "users: [{name: u, user: {token: t}}]\n",
                             f.server->port, path);
        put_file("kubeconfig", text);
        assert_int_equal(kube_config_load_files(file, &config, &f.err), 0);
        assert_int_equal(kube_client_new(io, &config, &options, &client, &f.err), 0);
        struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .name_space = "ns", .name = "n" };
        assert_int_equal(kube_call(&f.ctx, client, &request, NULL, &f.err), -1);
        assert_string_equal(f.err.reason, HTTP_UNVERIFIED);
        put_file("ca.crt", ca.certificate_pem);
        assert_int_equal(kube_call(&f.ctx, client, &request, NULL, &f.err), 0);
}

/* ---- fencing, warnings ---- */

static int64_t until;

static int64_t fence(void *data)
{
        (void)data;
        return until;
}

static void nothing_is_written_without_the_lease(void **state)
{
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, ok, "token: t");
        kube_client_fence(f.client, fence, NULL);
        until = clock_now_ms() + 60000;
        assert_int_equal(call(&f, KUBE_PATCH_MERGE), 0);
        until = clock_now_ms() - 1;
        assert_int_equal(call(&f, KUBE_PATCH_MERGE), -1);
        assert_string_equal(f.err.reason, KUBE_LEASE_LOST);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(f.script.count, 2);
}

static enum fake_next warn(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data, (void)request;
        return fake_answer(connection, "200 OK", "Warning: 299 - \"v1beta1 is old\"\r\nWarning: 199 - \"not this\"\r\n", "{}");
}

static void warnings_are_passed_on_once(void **state)
{
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, warn, "token: t");
        for (int i = 0; i < 3; i++)
                assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(f.notices, 1);
}

/* ---- workers ---- */

static void *work(void *argument)
{
        struct fixture *f = argument;

        for (int i = 0; i < 50; i++) {
                struct kube_request request = {
                        .verb = i % 2 ? KUBE_GET : KUBE_PATCH_MERGE, .resource = config_maps(), .name_space = "ns", .name = "n"
                };
                cleanup(error_release) struct error err = ERROR_NULL;

                if (i % 2 == 0)
                        request.body = VIEW("{\"a\":1}");
                if (kube_call(&f->ctx, f->client, &request, NULL, &err) < 0)
                        return f;
        }
        return NULL;
}

static void workers_share_a_client(void **state)
{
        cleanup(fixture_close) struct fixture f;
        pthread_t threads[8];

        (void)state;
        fixture_open(&f, ok, "token: t");
        for (size_t i = 0; i < COUNT(threads); i++)
                pthread_create(&threads[i], NULL, work, &f);
        for (size_t i = 0; i < COUNT(threads); i++) {
                void *result;

                pthread_join(threads[i], &result);
                assert_null(result);
        }
        assert_int_equal(f.script.count, 400);
        assert_int_equal(f.script.pings, 1);
}

static int prepare(void **state)
{
        struct error err = ERROR_NULL;

        (void)state;
        unsetenv("https_proxy"), unsetenv("HTTPS_PROXY");
        if (!mkdtemp(directory))
                return -1;
        ca = fake_identity("ca", NULL, NULL);
        identity = fake_identity("server", "IP:127.0.0.1", &ca);
        return io_start(&io, &err);
}

static int clean(void **state)
{
        cleanup(free_string) char *command = memory_printf("rm -rf %s", directory);

        (void)state;
        io_stop(&io);
        fake_identity_release(&ca);
        fake_identity_release(&identity);
        return system(command);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_look_as_the_api_wants_them),
                cmocka_unit_test(users_are_impersonated),
                cmocka_unit_test(only_what_is_safe_is_sent_again),
                cmocka_unit_test(a_cancelled_retry_does_not_wait),
                cmocka_unit_test(failures_say_what_the_server_said),
                cmocka_unit_test(the_server_limits_or_we_do),
                cmocka_unit_test(tokens_rotate),
                cmocka_unit_test(a_refused_token_is_read_again),
                cmocka_unit_test(plugins_run_when_they_must),
                cmocka_unit_test(plugins_that_fail_are_named),
                cmocka_unit_test(a_new_ca_is_taken_when_the_old_one_fails),
                cmocka_unit_test(nothing_is_written_without_the_lease),
                cmocka_unit_test(warnings_are_passed_on_once),
                cmocka_unit_test(workers_share_a_client),
        };

        return cmocka_run_group_tests(tests, prepare, clean);
}
