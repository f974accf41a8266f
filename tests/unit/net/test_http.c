#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "net/http_private.h"
#include "net/io_private.h"

#include <fcntl.h>

static struct io *io;

static int start_io(void **state)
{
        struct error err = ERROR_NULL;

        (void)state;
        unsetenv("http_proxy"), unsetenv("https_proxy"), unsetenv("HTTP_PROXY"), unsetenv("HTTPS_PROXY");
        return io_start(&io, &err);
}

static int stop_io(void **state)
{
        (void)state;
        io_stop(&io);
        return 0;
}

static char *url_of(const struct fake_server *server, const char *path)
{
        return memory_printf("%s://127.0.0.1:%u%s", server->tls ? "https" : "http", server->port, path);
}

static enum fake_next echo(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");

        (void)data;
        buffer_printf(&text, "%s %s [%s] %.*s", request->method, request->target, authorization ? authorization : "",
                      VIEW_ARGS(request->body));
        return fake_answer(connection, "200 OK",
                           "Content-Type: text/plain\r\nETag: \"e\"\r\nRetry-After: 7\r\nWarning: 299 - \"old \\\"thing\\\"\"\r\n"
                           "Warning: 299 - \"second\"\r\nX-Kubernetes-PF-FlowSchema-UID: u\r\n",
                           text.data);
}

static void a_call_brings_status_headers_and_body(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, echo, NULL);
        cleanup(free_string) char *url = url_of(server, "/a?b=c");
        cleanup(context_close) struct context ctx;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        context_open(&ctx, NULL, CLOCK_NEVER);
        for (int i = 0; i < 3; i++) {
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                const struct http_header headers[] = { { "Authorization", "Bearer t" } };
                struct http_request request = {
                        .method = "PATCH", .url = url, .headers = headers, .header_count = 1, .body = VIEW("xyz")
                };

                assert_int_equal(http_call(&ctx, io, &request, &response, &err), 0);
                assert_int_equal(response.status, 200);
                assert_string_equal(response.status_text, "200 OK");
                assert_string_equal(buffer_string(&response.body), "PATCH /a?b=c [Bearer t] xyz");
                assert_string_equal(response.content_type, "text/plain");
                assert_string_equal(response.etag, "\"e\"");
                assert_string_equal(response.flow_schema, "u");
                assert_string_equal(response.warnings, "old \"thing\"\nsecond");
                assert_int_equal(response.retry_after_ms, 7000);
        }
        assert_int_equal(server->accepted, 1);
        fake_stop(&server);
}

static enum fake_next warn_often(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(buffer_release) struct buffer headers = BUFFER_NULL;

        (void)data;
        (void)request;
        for (int i = 0; i < 20; i++)
                buffer_printf(&headers, "Warning: 299 - \"%0999d\"\r\n", i);
        return fake_answer(connection, "200 OK", headers.data, "");
}

static void the_first_warnings_are_kept(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, warn_often, NULL);
        cleanup(free_string) char *url = url_of(server, "/");
        cleanup(free_string) char *expected = memory_printf("%0999d\n%0999d\n%0999d\n%0999d", 0, 1, 2, 3);
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        cleanup(context_close) struct context ctx;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct http_request request = { .url = url };

        (void)state;
        context_open(&ctx, NULL, CLOCK_NEVER);
        assert_int_equal(http_call(&ctx, io, &request, &response, &err), 0);
        assert_string_equal(response.warnings, expected);
        fake_stop(&server);
}

static enum fake_next drop(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data;
        if (strcmp(request->target, "/warm") == 0)
                return fake_answer(connection, "200 OK", "", "");
        return strcmp(request->target, "/close") == 0 ? FAKE_CLOSE : FAKE_RESET;
}

static void a_lost_write_is_not_sent_again(void **state)
{
        static const struct {
                const char *method, *path;
                bool warm; /* on a connection that was used before: there curl likes to try again */
        } cases[] = {
                { "POST", "/close", false }, { "POST", "/reset", false },  { "POST", "/close", true }, { "POST", "/reset", true },
                { "PATCH", "/reset", true }, { "DELETE", "/close", true }, { "GET", "/reset", false },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct fake_server *server = fake_start(NULL, NULL, drop, NULL);
                cleanup(free_string) char *warm = url_of(server, "/warm");
                cleanup(free_string) char *url = url_of(server, cases[i].path);
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                cleanup(error_release) struct error err = ERROR_NULL;
                struct http_request first = { .url = warm };
                struct http_request request = { .method = cases[i].method, .url = url };
                int before;

                context_open(&ctx, NULL, CLOCK_NEVER);
                if (strcmp(cases[i].method, "GET") != 0)
                        request.body = VIEW("{}");
                if (cases[i].warm)
                        assert_int_equal(http_call(&ctx, io, &first, &response, &err), 0);
                http_response_release(&response);
                before = server->requests;
                assert_int_equal(http_call(&ctx, io, &request, &response, &err), -1);
                assert_int_equal(err.kind, ERROR_UNAVAILABLE);
                assert_string_equal(err.reason, HTTP_LOST);
                assert_int_equal(server->requests - before, 1);
                fake_stop(&server);
        }
}

static enum fake_next never(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        char byte;

        (void)data, (void)request;
        if (strcmp(request->target, "/head") == 0)
                fake_write(connection, VIEW("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
        fake_read(connection, &byte, 1);
        return FAKE_CLOSE;
}

static void *cancel_soon(void *argument)
{
        usleep(30000);
        context_cancel(argument, CONTEXT_SHUTDOWN);
        return NULL;
}

static void waits_end(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, never, NULL);
        cleanup(free_string) char *url = url_of(server, "/");
        cleanup(free_string) char *head_url = url_of(server, "/head");
        const struct {
                const char *url;
                int64_t deadline_ms, timeout_ms, first_byte_ms;
                bool cancel;
                enum error_kind kind;
                const char *reason, *part;
        } cases[] = {
                { url, 50, 0, 0, false, ERROR_TIMEOUT, "", "context deadline exceeded" },
                { url, 0, 100, 0, false, ERROR_TIMEOUT, "", "no answer after 100ms" },
                { url, 0, 0, 100, false, ERROR_TIMEOUT, HTTP_SILENT, "no answer after 100ms" },
                { head_url, 0, 200, 100, false, ERROR_TIMEOUT, "", "the answer was not complete after 200ms" },
                { url, 0, 0, 0, true, ERROR_CANCELLED, "", "context canceled" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                cleanup(error_release) struct error err = ERROR_NULL;
                struct http_request request = { .url = cases[i].url,
                                                .timeout_ms = cases[i].timeout_ms,
                                                .first_byte_ms = cases[i].first_byte_ms };
                int64_t start = clock_now_ms();
                pthread_t thread;

                context_open(&ctx, NULL, cases[i].deadline_ms ? start + cases[i].deadline_ms : CLOCK_NEVER);
                if (cases[i].cancel)
                        pthread_create(&thread, NULL, cancel_soon, &ctx);
                assert_int_equal(http_call(&ctx, io, &request, &response, &err), -1);
                if (cases[i].cancel)
                        pthread_join(thread, NULL);
                assert_int_equal(err.kind, cases[i].kind);
                assert_string_equal(err.reason, cases[i].reason);
                assert_non_null(strstr(error_message(&err), cases[i].part));
                assert_true(clock_now_ms() - start < 10000);
        }
        WAIT_UNTIL(server->open <= 1); /* what was given up is off the wire */
        fake_stop(&server);
}

static enum fake_next large(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        size_t size = (size_t)atol(request->target + 1);

        (void)data;
        for (size_t i = 0; i < size; i++)
                buffer_add_char(&body, (char)('a' + i % 26));
        return fake_answer(connection, "200 OK", "", buffer_string(&body));
}

struct taken {
        size_t length, fail_at;
        bool wrong;
};

static int take(void *data, struct view bytes, struct error *err)
{
        struct taken *taken = data;

        for (size_t i = 0; i < bytes.length; i++)
                if (bytes.data[i] != (char)('a' + (taken->length + i) % 26))
                        taken->wrong = true;
        taken->length += bytes.length;
        if (taken->length < (1u << 20))
                usleep(2000); /* slower than the wire: the transfer must pause */
        return taken->fail_at && taken->length >= taken->fail_at ? error_set(err, ERROR_INTERNAL, "disk full") : 0;
}

static void bodies_have_a_limit(void **state)
{
        static const struct {
                const char *path;
                uint64_t limit;
                bool fits;
        } cases[] = {
                { "/100", 100, true }, { "/101", 100, false }, { "/3000000", 3000000, true }, { "/3000000", 2999999, false }
        };
        struct fake_server *server = fake_start(NULL, NULL, large, NULL);

        (void)state;
        for (size_t i = 0; i < 2 * COUNT(cases); i++) {
                cleanup(free_string) char *url = url_of(server, cases[i / 2].path);
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                cleanup(error_release) struct error err = ERROR_NULL;
                struct taken taken = { 0 };
                struct http_request request = {
                        .url = url, .body_limit = cases[i / 2].limit, .sink = i % 2 ? take : NULL, .sink_data = &taken
                };
                int r;

                context_open(&ctx, NULL, CLOCK_NEVER);
                r = http_call(&ctx, io, &request, &response, &err);
                assert_int_equal(r, cases[i / 2].fits ? 0 : -1);
                assert_int_equal(err.kind, cases[i / 2].fits ? ERROR_NONE : ERROR_TOO_LARGE);
                assert_false(taken.wrong);
                if (r == 0)
                        assert_int_equal(i % 2 ? taken.length : response.body.length, (size_t)atol(cases[i / 2].path + 1));
        }
        fake_stop(&server);
}

static void what_the_sink_says_ends_the_call(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, large, NULL);
        cleanup(free_string) char *url = url_of(server, "/9000000");
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        cleanup(context_close) struct context ctx;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct taken taken = { .fail_at = 100000 };
        struct http_request request = { .url = url, .sink = take, .sink_data = &taken };

        (void)state;
        context_open(&ctx, NULL, CLOCK_NEVER);
        assert_int_equal(http_call(&ctx, io, &request, &response, &err), -1);
        assert_string_equal(error_message(&err), "disk full");
        fake_stop(&server);
}

static enum fake_next tell_name(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *host = fake_header(request, "Host");
        cleanup(free_string) char *text =
                memory_printf("%s %s", request->server_name, strncmp(host, "127.0.0.1:", 10) == 0 ? "ip" : host);

        (void)data;
        return fake_answer(connection, "200 OK", "", text);
}

static void servers_are_verified(void **state)
{
        cleanup(fake_identity_release) struct fake_identity ca = fake_identity("ca", NULL, NULL);
        cleanup(fake_identity_release) struct fake_identity other = fake_identity("other", NULL, NULL);
        cleanup(fake_identity_release) struct fake_identity foo = fake_identity("foo", "DNS:foo", &ca);
        cleanup(fake_identity_release) struct fake_identity client = fake_identity("client", NULL, &ca);
        struct fake_server *server = fake_start(&foo, &ca, tell_name, NULL);
        const struct {
                const char *name, *server_name;
                const struct fake_identity *ca, *client;
                bool insecure;
                const char *body;   /* NULL: fails */
                const char *reason; /* of the failure */
        } cases[] = {
                { "name", "foo", &ca, &client, false, "foo ip", NULL },
                { "address", NULL, &ca, &client, false, NULL, HTTP_UNVERIFIED },
                { "name of the root's", "foo.", &ca, &client, false, "foo ip", NULL },
                { "in capitals", "FOO", &ca, &client, false, "foo ip", NULL },
                { "no name", "foo bar", &ca, &client, false, NULL, "" },
                { "a name and a port", "foo:443", &ca, &client, false, NULL, "" },
                { "a name and a path", "foo/x", &ca, &client, false, NULL, "" },
                { "another's address", "::2", &ca, &client, false, NULL, HTTP_UNVERIFIED },
                { "other name", "bar", &ca, &client, false, NULL, HTTP_UNVERIFIED },
                { "other ca", "foo", &other, &client, false, NULL, HTTP_UNVERIFIED },
                { "system roots", "foo", NULL, &client, false, NULL, HTTP_UNVERIFIED },
                { "insecure", NULL, NULL, &client, true, " ip", NULL },
                { "no certificate", "foo", &ca, NULL, false, NULL, NULL },
        };
        cleanup(free_string) char *url = url_of(server, "/");

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct http_settings_options options = { .server_name = cases[i].server_name, .insecure = cases[i].insecure };
                cleanup(http_settings_release) struct http_settings *settings = NULL;
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                cleanup(error_release) struct error err = ERROR_NULL;
                struct http_request request = { .url = url };

                if (cases[i].ca)
                        options.ca = view_of(cases[i].ca->certificate_pem);
                if (cases[i].client) {
                        options.certificate = view_of(cases[i].client->certificate_pem);
                        options.key = view_of(cases[i].client->key_pem);
                }
                request.settings = settings = http_settings_new(&options);
                context_open(&ctx, NULL, CLOCK_NEVER);
                if (http_call(&ctx, io, &request, &response, &err) == 0)
                        assert_string_equal(buffer_string(&response.body), cases[i].body ? cases[i].body : "nothing");
                else if (cases[i].body)
                        fail_msg("%s: %s", cases[i].name, error_message(&err));
                else if (cases[i].reason)
                        assert_string_equal(err.reason, cases[i].reason);
        }
        fake_stop(&server);
}

static enum fake_next redirect(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");
        cleanup(free_string) char *location = NULL;

        if (strcmp(request->target, "/end") == 0)
                return fake_answer(connection, "200 OK", "", authorization ? authorization : "none");
        location = memory_printf("Location: %s\r\n", (const char *)data);
        return fake_answer(connection, "302 Found", location, "see there");
}

static void redirects_carry_no_credentials_away(void **state)
{
        struct fake_server *there = fake_start(NULL, NULL, redirect, NULL);
        /* curl takes another port for another host. */
        cleanup(free_string) char *away = memory_printf("http://localhost:%u/end", there->port);
        const struct {
                const char *location, *body;
                unsigned redirects;
                int status;
        } cases[] = { { away, "none", 3, 200 }, { "/end", "Bearer t", 3, 200 }, { "/end", "see there", 0, 302 } };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct fake_server *here = fake_start(NULL, NULL, redirect, (void *)(uintptr_t)cases[i].location);
                cleanup(free_string) char *url = url_of(here, "/");
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                cleanup(error_release) struct error err = ERROR_NULL;
                const struct http_header headers[] = { { "Authorization", "Bearer t" } };
                struct http_request request = {
                        .url = url, .headers = headers, .header_count = 1, .redirects = cases[i].redirects
                };

                context_open(&ctx, NULL, CLOCK_NEVER);
                assert_int_equal(http_call(&ctx, io, &request, &response, &err), 0);
                assert_int_equal(response.status, cases[i].status);
                assert_string_equal(buffer_string(&response.body), cases[i].body);
                fake_stop(&here);
        }
        fake_stop(&there);
}

static void bad_requests_are_refused(void **state)
{
        static const struct {
                const char *url, *value;
        } cases[] = {
                { "ftp://x/", "v" }, { "nothing", "v" }, { "file:///etc/passwd", "v" }, { "http://127.0.0.1:1/", "a\r\nb: c" }
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                cleanup(error_release) struct error err = ERROR_NULL;
                const struct http_header headers[] = { { "X", cases[i].value } };
                struct http_request request = { .url = cases[i].url, .headers = headers, .header_count = 1 };

                context_open(&ctx, NULL, CLOCK_NEVER);
                assert_int_equal(http_call(&ctx, io, &request, &response, &err), -1);
                if (i != 1) /* "nothing" is a host name for curl, one that does not resolve */
                        assert_int_equal(err.kind, ERROR_INVALID);
        }
}

static void a_closed_port_is_refused(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, echo, NULL);
        cleanup(free_string) char *url = url_of(server, "/");
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        cleanup(context_close) struct context ctx;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct http_request request = { .url = url };

        (void)state;
        fake_stop(&server);
        context_open(&ctx, NULL, CLOCK_NEVER);
        assert_int_equal(http_call(&ctx, io, &request, &response, &err), -1);
        assert_int_equal(err.kind, ERROR_UNAVAILABLE);
        assert_string_equal(err.reason, HTTP_REFUSED);
}

static void count_sockets(void *argument)
{
        const struct http_engine *engine = io_attached(io);
        size_t *count = argument;

        *count = 0;
        for (const struct http_socket *socket = engine->sockets; socket; socket = socket->next)
                ++*count;
}

/* curl closes the socket of a connection that was given up without a word: its number is another's soon. */
static void a_socket_that_was_given_up_is_forgotten(void **state)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), first[4], held[20];
        cleanup(free_string) char *url = NULL;
        struct http_request request = { 0 };
        size_t before = 0, after = 0;

        (void)state;
        assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
        assert_int_equal(listen(listener, 0), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
        /* Nobody accepts: who comes after the first few gets no answer. */
        for (size_t i = 0; i < COUNT(first); i++) {
                first[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                connect(first[i], (struct sockaddr *)&address, length);
        }
        url = memory_printf("http://127.0.0.1:%u/", ntohs(address.sin_port));
        request.url = url;
        for (size_t i = 0; i < COUNT(held); i++) {
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(context_close) struct context ctx;

                context_open(&ctx, NULL, clock_now_ms() + 20);
                assert_int_equal(http_call(&ctx, io, &request, &response, &err), -1);
                io_run_wait(io, count_sockets, i < 2 ? &before : &after);
                held[i] = dup(listener); /* the number of the socket that was given up */
        }
        assert_true(after <= before);
        for (size_t i = 0; i < COUNT(held); i++)
                close(held[i]);
        for (size_t i = 0; i < COUNT(first); i++)
                close(first[i]);
        close(listener);
}

/* ---- many at once ---- */

static void *many_calls(void *argument)
{
        cleanup(context_close) struct context ctx;

        context_open(&ctx, NULL, CLOCK_NEVER);
        for (int i = 0; i < 100; i++) {
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(context_close) struct context step;
                struct http_request request = { .method = "POST", .url = argument, .body = VIEW("body") };

                /* Some are given up on at a random moment. */
                context_open(&step, &ctx, i % 5 == 4 ? clock_now_ms() + (int64_t)(clock_random() * 3) : CLOCK_NEVER);
                if (http_call(&step, io, &request, &response, &err) < 0 && i % 5 != 4)
                        return argument;
        }
        return NULL;
}

static void threads_share_the_io_thread(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, echo, NULL);
        cleanup(free_string) char *url = url_of(server, "/");
        pthread_t threads[8];

        (void)state;
        for (size_t i = 0; i < COUNT(threads); i++)
                pthread_create(&threads[i], NULL, many_calls, url);
        for (size_t i = 0; i < COUNT(threads); i++) {
                void *result;

                pthread_join(threads[i], &result);
                assert_null(result);
        }
        fake_stop(&server);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_call_brings_status_headers_and_body),
                cmocka_unit_test(the_first_warnings_are_kept),
                cmocka_unit_test(a_lost_write_is_not_sent_again),
                cmocka_unit_test(waits_end),
                cmocka_unit_test(bodies_have_a_limit),
                cmocka_unit_test(what_the_sink_says_ends_the_call),
                cmocka_unit_test(servers_are_verified),
                cmocka_unit_test(redirects_carry_no_credentials_away),
                cmocka_unit_test(bad_requests_are_refused),
                cmocka_unit_test(a_closed_port_is_refused),
                cmocka_unit_test(a_socket_that_was_given_up_is_forgotten),
                cmocka_unit_test(threads_share_the_io_thread),
        };

        return cmocka_run_group_tests(tests, start_io, stop_io);
}
