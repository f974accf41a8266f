#include "api_server.h"

#include "data/json.h"

#define STATUS "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\""

/* ---- the wire ---- */

static enum fake_next tell_script(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)request;
        return fake_answer(connection, "200 OK", "Content-Type: text/html\r\n", ((const struct script *)data)->answer);
}

static void requests_look_as_the_api_wants_them(void **state)
{
        const struct kube_resource *pods = config_maps();
        const struct kube_resource *deployments = kube_resource_intern("apps", "v1", "Deployment", "deployments", true);
        const struct kube_resource *nodes = kube_resource_intern("", "v1", "Node", "nodes", false);
        const struct {
                struct kube_request request;
                const char *line; /* NULL: refused */
        } cases[] = {
                { { .verb = KUBE_GET, .resource = pods, .namespace = "ns", .name = "a b" },
                  "GET /api/v1/namespaces/ns/configmaps/a%20b \n" },
                { { .verb = KUBE_GET, .resource = nodes, .namespace = "ignored", .name = "n" }, "GET /api/v1/nodes/n \n" },
                { { .verb = KUBE_GET, .resource = deployments, .namespace = "ns", .name = "d", .subresource = "status" },
                  "GET /apis/apps/v1/namespaces/ns/deployments/d/status \n" },
                { { .verb = KUBE_LIST, .resource = pods, .label_selector = "a=b,c in (d)", .limit = 500, .resource_version = "0" },
                  "GET /api/v1/configmaps?labelSelector=a%3Db%2Cc%20in%20%28d%29&resourceVersion=0&limit=500 \n" },
                { { .verb = KUBE_CREATE, .resource = pods, .namespace = "ns", .body = VIEW("{}") },
                  "POST /api/v1/namespaces/ns/configmaps?fieldManager=test-controller&fieldValidation=Ignore {}\n" },
                { { .verb = KUBE_APPLY,
                    .resource = pods,
                    .namespace = "ns",
                    .name = "n",
                    .body = VIEW("{}"),
                    .force = true,
                    .dry_run = true,
                    .field_manager = "m" },
                  "PATCH /api/v1/namespaces/ns/configmaps/n?fieldManager=m&dryRun=All&force=true&fieldValidation=Ignore {}\n" },
                { { .verb = KUBE_DELETE,
                    .resource = pods,
                    .namespace = "ns",
                    .name = "n",
                    .propagation = "Background",
                    .uid = "u",
                    .resource_version = "7" },
                  "DELETE /api/v1/namespaces/ns/configmaps/n "
                  "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"propagationPolicy\":"
                  "\"Background\",\"preconditions\":{\"uid\":\"u\",\"resourceVersion\":\"7\"}}\n" },
                { { .verb = KUBE_GET, .resource = pods, .namespace = "ns", .name = ".." }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .namespace = "ns", .name = "a/b" }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .namespace = "n%73", .name = "a" }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .name = "a" }, NULL },
                { { .verb = KUBE_GET, .resource = pods, .namespace = "ns" }, NULL },
                { { .verb = KUBE_DELETE, .resource = pods, .namespace = "ns", .name = "" }, NULL },
        };
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, tell_script, "token: t");
        f.script.answer = "{\"kind\":\"Any\",\"metadata\":{\"name\":\"\\u006e\"},\"items\":[]}"; /* of whatever name */
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

/* Minutes are for lists alone, and only what may be long is worth compressing. */
static void limits_follow_the_verb(void **state)
{
        static const struct {
                const char *name, *authority;
                enum kube_verb verb;
                unsigned watch_seconds;
                int64_t timeout_ms;
                bool compressed;
        } cases[] = {
                { "an object", "", KUBE_GET, 0, 60000, false },
                { "a list", "", KUBE_LIST, 0, 300000, true },
                { "a list where compression is off", ", disable-compression: true", KUBE_LIST, 0, 300000, false },
                { "a watch ends by itself, or is ended", "", KUBE_WATCH, 300, 330000, false },
                { "a write", "", KUBE_APPLY, 0, 60000, false },
                { "a deletion", "", KUBE_DELETE, 0, 60000, false },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                const struct kube_request request = { .verb = cases[i].verb,
                                                      .resource = config_maps(),
                                                      .namespace = "ns",
                                                      .name = cases[i].verb == KUBE_LIST || cases[i].verb == KUBE_WATCH ? NULL
                                                                                                                        : "n",
                                                      .watch_seconds = cases[i].watch_seconds };
                cleanup(kube_client_release) struct kube_client *client = NULL;
                cleanup(kube_wire_release) struct kube_wire wire;
                cleanup(fixture_close) struct fixture f;
                cleanup(free_string) char *authority = NULL;

                fixture_open(&f, ok, "token: t");
                authority = memory_printf("insecure-skip-tls-verify: true%s", cases[i].authority);
                fixture_client(&f, authority, "token: t", &client);
                assert_int_equal(kube_wire_make(client, &request, &wire, &f.err), 0);
                if (wire.request.timeout_ms != cases[i].timeout_ms || wire.request.compressed != cases[i].compressed)
                        fail_msg("%s: %lld ms, %d", cases[i].name, (long long)wire.request.timeout_ms, wire.request.compressed);
                assert_int_equal(wire.request.first_byte_ms, 0); /* the default of net/http.h */
        }
        assert_int_equal(HTTP_FIRST_BYTE_MS, 30000);
}

static enum fake_next tell_user(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        static const char *const names[] = { "Impersonate-User", "Impersonate-Uid", "Impersonate-Group",
                                             "Impersonate-Extra-a%2Fb%25" };
        cleanup(json_free) struct json *answer = json_new_object();
        cleanup(free_string) char *text = NULL;

        (void)data;
        json_set_string(json_object_at(answer, "metadata"), "name", "n");
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
        struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .namespace = "ns", .name = "n" };
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        cleanup(kube_client_release) struct kube_client *other = NULL;

        (void)state;
        fixture_open(&f, tell_user, "token: t, as: boss, as-uid: '7', as-groups: [g], as-user-extra: {a/b%: [v]}");
        assert_int_equal(kube_call(&f.ctx, f.client, &request, &body, &f.err), 0);
        assert_string_equal(body.data, "{\"metadata\":{\"name\":\"n\"},\"Impersonate-User\":\"boss\",\"Impersonate-Uid\":\"7\","
                                       "\"Impersonate-Group\":\"g\","
                                       "\"Impersonate-Extra-a%2Fb%25\":\"v\"}");
        other = kube_client_impersonate(f.client, "system:serviceaccount:ns:sa");
        assert_int_equal(kube_call(&f.ctx, other, &request, &body, &f.err), 0);
        assert_string_equal(body.data, "{\"metadata\":{\"name\":\"n\"},\"Impersonate-User\":\"system:serviceaccount:ns:sa\"}");
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
                case 5:
                        return fake_answer(connection, "429 Too Many Requests", "Retry-After: 86400\r\n", "busy");
                default:
                        return fake_answer(connection, "503 Service Unavailable", "Retry-After: Sat, 01 Jan 2028 00:00:00 GMT\r\n",
                                           "");
                }
        }
        return fake_json(connection, "200 OK", ANSWER);
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
                { "a day", 5, 1, KUBE_GET, 1, -1, 0 },
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

static enum fake_next take_all(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data, (void)request;
        return fake_json(connection, "200 OK", ANSWER);
}

/* What no server reads is not sent: the connection would end in the middle of it, and with it whatever else is on its way there. */
static void what_is_too_large_is_not_sent(void **state)
{
        cleanup(fixture_close) struct fixture f;
        cleanup(free_string) char *body = memory_zero(1, KUBE_BODY_LIMIT + 1);
        struct kube_request request = { .verb = KUBE_APPLY, .resource = config_maps(), .namespace = "ns", .name = "n" };

        (void)state;
        memset(body, ' ', KUBE_BODY_LIMIT + 1);
        fixture_open(&f, take_all, "token: t");
        request.body = (struct view){ body, KUBE_BODY_LIMIT + 1 };
        assert_int_equal(kube_call(&f.ctx, f.client, &request, NULL, &f.err), -1);
        assert_int_equal(f.err.kind, ERROR_TOO_LARGE);
        assert_string_equal(f.err.reason, "RequestEntityTooLarge");
        assert_string_equal(error_message(&f.err), "Request entity too large: limit is 3145728");
        assert_int_equal(f.script.count, 0);
        request.body.length--;
        assert_int_equal(kube_call(&f.ctx, f.client, &request, NULL, &f.err), 0);
        assert_int_equal(f.script.count, 1);
}

/* A proxy's page is no object that was applied or deleted, and no list of nothing. */
static void what_is_no_answer_is_an_error(void **state)
{
        static const struct {
                const char *name, *answer;
                enum kube_verb verb;
                int result;
        } cases[] = {
                { "an object", ANSWER, KUBE_GET, 0 },
                { "a name with an escape", "{\"metadata\":{\"name\":\"\\u006e\"}}", KUBE_APPLY, 0 },
                { "another object", "{\"metadata\":{\"name\":\"m\"}}", KUBE_APPLY, -1 },
                { "an empty object", "{}", KUBE_APPLY, -1 },
                { "an empty object", "{}", KUBE_GET, -1 },
                { "an empty object", "{}", KUBE_PATCH_MERGE, -1 },
                { "nothing", "", KUBE_UPDATE, -1 },
                { "a page", "<html>log in</html>", KUBE_PATCH_JSON, -1 },
                { "a page", "<html>log in</html>", KUBE_DELETE, -1 },
                { "a status", "{\"kind\":\"Status\",\"status\":\"Success\"}", KUBE_DELETE, 0 },
                { "nothing", "", KUBE_CREATE, -1 },
                { "a list", "{\"items\":[]}", KUBE_LIST, 0 },
                { "a list of Go", "{\"items\":null}", KUBE_LIST, 0 },
                { "an empty object", "{}", KUBE_LIST, -1 },
                { "a status", "{\"kind\":\"Status\"}", KUBE_LIST, -1 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(fixture_close) struct fixture f;

                fixture_open(&f, tell_script, "token: t");
                f.script.answer = cases[i].answer;
                if (call(&f, cases[i].verb) != cases[i].result)
                        fail_msg("%s, verb %d: %s", cases[i].name, cases[i].verb, error_message(&f.err));
                if (cases[i].result == 0)
                        continue;
                assert_int_equal(f.err.kind, ERROR_UNAVAILABLE);
                assert_string_equal(error_message(&f.err), "the answer about configmaps n (200, text/html) is not an API server's: "
                                                           "look at what is between it and this program");
        }
}

static enum fake_next silent_at_first(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct script *script = data;
        char byte;

        if (script->failures-- > 0) {
                fake_read(connection, &byte, 1); /* until the client hangs up */
                return FAKE_CLOSE;
        }
        return ok(data, connection, request);
}

static void a_silent_connection_is_left_for_another_once(void **state)
{
        static const struct {
                int silent;
                enum kube_verb verb;
                int requests, result;
        } cases[] = { { 1, KUBE_GET, 2, 0 }, { 2, KUBE_GET, 2, -1 }, { 1, KUBE_APPLY, 1, -1 } };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                bool done = false;

                /* A machine that needs that long for a handshake makes everybody silent: it gets more time. */
                for (int64_t patience = 300; !done; patience *= 3) {
                        cleanup(fixture_close) struct fixture f;
                        int r;

                        fixture_open(&f, silent_at_first, "token: t");
                        f.client->server->options.first_byte_ms = patience;
                        f.script.failures = cases[i].silent;
                        r = call(&f, cases[i].verb);
                        if (patience < 8000 && (r != cases[i].result || f.script.count != cases[i].requests))
                                continue;
                        assert_int_equal(r, cases[i].result);
                        assert_int_equal(f.script.count, cases[i].requests);
                        if (r < 0)
                                assert_string_equal(f.err.reason, HTTP_SILENT);
                        done = true;
                }
        }
}

static void a_cancelled_retry_does_not_wait(void **state)
{
        cleanup(fixture_close) struct fixture f;
        cleanup(context_close) struct context step;
        struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .namespace = "ns", .name = "n" };
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
                  ERROR_UNAVAILABLE,
                  "Forbidden",
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
                  KUBE_PATH_ABSENT,
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

static void a_long_answer_is_cut_between_characters(void **state)
{
        char body[4096] = "x";
        const struct answer long_answer = { "403 Forbidden", "text/plain", body };
        cleanup(fixture_close) struct fixture f;

        (void)state;
        for (size_t i = 1; i + 2 < sizeof(body); i += 2)
                strcpy(body + i, "\xc3\xbc");
        fixture_open(&f, answer, "token: t");
        answer_now = &long_answer;
        assert_int_equal(call(&f, KUBE_GET), -1);
        assert_int_equal(strlen(error_message(&f.err)), 2047 + strlen(" (get configmaps n)"));
}

/* ---- throttling ---- */

static void the_server_limits_or_we_do(void **state)
{
        static const char *const headers[] = { FLOW, "" };

        (void)state;
        for (size_t i = 0; i < COUNT(headers); i++) {
                bool limited = !*headers[i];
                cleanup(fixture_close) struct fixture f;
                cleanup(context_close) struct context second;
                struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .namespace = "ns", .name = "n" };
                struct kube_server *server;
                int64_t begun;

                fixture_open(&f, ok, "token: t");
                f.script.headers = headers[i];
                server = f.client->server;
                assert_true(server->options.burst == 300 && server->options.requests_per_second == 50);
                assert_int_equal(call(&f, KUBE_GET), 0);
                begun = server->filled_ms;
                /* However slow this machine is: a token was taken for each, or for none. */
                assert_int_equal(begun != 0, limited);
                context_open(&second, &f.ctx, limited ? clock_now_ms() + 1000 : CLOCK_NEVER);
                for (int k = 1; k < 500 && kube_call(&second, f.client, &request, NULL, &f.err) == 0; k++)
                        ;
                if (limited)
                        assert_true(f.script.count <= 300 + (clock_now_ms() - begun) * 50 / 1000 + 1);
                else
                        assert_int_equal(f.script.count, 500);
                assert_int_equal(server->filled_ms != 0, limited);
                assert_int_equal(f.script.pings, 1);
        }
}

static enum fake_next tell_accept(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *accept = fake_header(request, "Accept"), *agent = fake_header(request, "User-Agent"),
                                  *text = memory_printf("%s|%s", accept, agent);

        (void)data;
        return fake_json(connection, "200 OK", text);
}

/* Of Secrets and of what was applied only the metadata travels. */
static void metadata_is_asked_for_alone(void **state)
{
        static const struct {
                enum kube_verb verb;
                bool metadata_only;
                const char *accept;
        } cases[] = {
                { KUBE_GET, false, "application/json" },
                { KUBE_LIST, false, "application/json" },
                { KUBE_GET, true, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json" },
                { KUBE_LIST, true, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json" },
                { KUBE_WATCH, true, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json" },
        };
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, tell_accept, "token: t");
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct kube_request request = {
                        .verb = cases[i].verb, .resource = config_maps(), .namespace = "ns", .metadata_only = cases[i].metadata_only
                };
                cleanup(free_string) char *expected = memory_printf("%s|test-controller/1 (linux)", cases[i].accept);
                cleanup(kube_wire_release) struct kube_wire wire = { .url = BUFFER_NULL };
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;

                if (cases[i].verb == KUBE_GET)
                        request.name = "n";
                assert_int_equal(kube_wire_make(f.client, &request, &wire, &f.err), 0);
                if (kube_send(&f.ctx, f.client, &request, &wire, &response, &f.err) < 0)
                        fail_msg("%s", error_message(&f.err));
                assert_string_equal(buffer_string(&response.body), expected);
        }
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
        return fake_answer(connection, "200 OK", "Warning: 299 - \"v1beta1 is old\"\r\nWarning: 199 - \"not this\"\r\n", ANSWER);
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
                        .verb = i % 2 ? KUBE_GET : KUBE_PATCH_MERGE, .resource = config_maps(), .namespace = "ns", .name = "n"
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

        (void)state;
        fixture_open(&f, ok, "token: t");
        on_threads(work, &f);
        assert_int_equal(f.script.count, 400);
        assert_int_equal(f.script.pings, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_look_as_the_api_wants_them),
                cmocka_unit_test(limits_follow_the_verb),
                cmocka_unit_test(users_are_impersonated),
                cmocka_unit_test(only_what_is_safe_is_sent_again),
                cmocka_unit_test(what_is_too_large_is_not_sent),
                cmocka_unit_test(what_is_no_answer_is_an_error),
                cmocka_unit_test(a_silent_connection_is_left_for_another_once),
                cmocka_unit_test(a_cancelled_retry_does_not_wait),
                cmocka_unit_test(failures_say_what_the_server_said),
                cmocka_unit_test(a_long_answer_is_cut_between_characters),
                cmocka_unit_test(the_server_limits_or_we_do),
                cmocka_unit_test(metadata_is_asked_for_alone),
                cmocka_unit_test(nothing_is_written_without_the_lease),
                cmocka_unit_test(warnings_are_passed_on_once),
                cmocka_unit_test(workers_share_a_client),
        };

        return cmocka_run_group_tests(tests, api_prepare, api_clean);
}
