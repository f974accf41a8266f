#include "http_test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "net/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

static void hello(void *data, const struct server_request *request, struct server_response *response)
{
        const char *name = server_query(request, "name"), *flag = server_query(request, "flag");

        snprintf(response->content_type, sizeof(response->content_type), "text/plain");
        server_response_header(response, "X-Method", "%s", request->method);
        buffer_printf(&response->body, "%s %s name=%s flag=%s agent=%s peer=%s body=%.*s", (const char *)data, request->path,
                      name ? name : "-", flag ? flag : "-", server_header(request, "USER-AGENT") ? "yes" : "no", request->peer,
                      VIEW_ARGS(request->body));
}

static void fails(void *data, const struct server_request *request, struct server_response *response)
{
        (void)data;
        (void)request;
        server_response_text(response, 500, "no");
}

static void hello_large(void *data, const struct server_request *request, struct server_response *response)
{
        hello(data, request, response);
        for (int i = 0; i < 20000; i++)
                buffer_add_string(&response->body, "0123456789012345678901234567890123456789012345678901234567890123456789");
}

static char exact[] = "exact", below[] = "below", deep[] = "deep";

static const struct server_route routes[] = {
        { "/hello", hello, exact },
        { "/tree/", hello, below },
        { "/tree/deep/", hello, deep },
        { "/fails", fails, NULL },
};

static struct server *start(const struct server_options *options)
{
        struct server *server = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        if (server_start(options, &server, &err) != 0)
                fail_msg("%s", error_message(&err));
        return server;
}

static void routes_are_found(void **state)
{
        static const struct {
                const char *line;
                const char *headers;
                const char *body;
                int status;
                const char *answer;
        } cases[] = {
                { "GET /hello", "", "", 200, "exact /hello name=- flag=- agent=no peer=127.0.0.1 body=" },
                { "GET /hello?name=a%20b&flag", "User-Agent: x\r\n", "", 200,
                  "exact /hello name=a b flag= agent=yes peer=127.0.0.1 body=" },
                { "GET /hello/x", "", "", 404, "404 page not found\n" },
                { "GET /tree/x/y", "", "", 200, "below /tree/x/y name=- flag=- agent=no peer=127.0.0.1 body=" },
                { "GET /tree/deep/y", "", "", 200, "deep /tree/deep/y name=- flag=- agent=no peer=127.0.0.1 body=" },
                { "POST /hello", "", "abc", 200, "exact /hello name=- flag=- agent=no peer=127.0.0.1 body=abc" },
                { "POST /hello", "", "0123456789x", 413, "request body too large\n" },
                { "HEAD /hello", "", "", 200, "" },
                { "GET /fails", "", "", 500, "no\n" },
                { "GET /", "", "", 404, "404 page not found\n" },
        };
        cleanup(server_free) struct server *server = start(
                &(struct server_options){ .address = ":0", .routes = routes, .route_count = COUNT(routes), .body_limit = 10 });
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                int status = http_call(server_port(server), cases[i].line, cases[i].headers, cases[i].body, &answer);

                if (status != cases[i].status || !view_is(http_body(&answer), cases[i].answer))
                        fail_msg("%s: %d\n%s", cases[i].line, status, buffer_string(&answer));
        }
        http_call(server_port(server), "GET /fails", "", "", &answer);
        assert_true(view_is(http_header(&answer, "Content-Type"), "text/plain; charset=utf-8"));
        assert_true(view_is(http_header(&answer, "X-Content-Type-Options"), "nosniff"));
        http_call(server_port(server), "HEAD /hello", "", "", &answer);
        assert_true(view_is(http_header(&answer, "X-Method"), "HEAD"));
}

static void addresses_are_judged(void **state)
{
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(server_free) struct server *server = NULL, *second = NULL;
        char address[32];

        (void)state;
        assert_int_equal(server_start(&(struct server_options){ .address = "nonsense" }, &second, &err), -1);
        assert_int_equal(err.kind, ERROR_INVALID);
        assert_int_equal(server_start(&(struct server_options){ .address = "127.0.0.1:nope" }, &second, &err), -1);
        assert_int_equal(err.kind, ERROR_INVALID);
        server = start(&(struct server_options){ .address = "127.0.0.1:0" });
        snprintf(address, sizeof(address), "127.0.0.1:%u", server_port(server));
        assert_int_equal(server_start(&(struct server_options){ .address = address }, &second, &err), -1);
        assert_true(view_search(view_of(err.message), view_of(address), 0) >= 0);
        assert_true(view_search(view_of(err.message), VIEW("ddress already in use"), 0) >= 0);
        assert_null(second);
}

static void large_headers_are_refused(void **state)
{
        cleanup(server_free) struct server *server =
                start(&(struct server_options){ .address = ":0", .routes = routes, .route_count = 1 });
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL, headers = BUFFER_NULL;
        int status;

        (void)state;
        for (int i = 0; i < 2000; i++)
                buffer_printf(&headers, "X-Header-%d: 0123456789012345678901234567890\r\n", i);
        signal(SIGPIPE, SIG_IGN);
        status = http_call(server_port(server), "GET /hello", buffer_string(&headers), "", &answer);
        assert_true(status == 431 || status == 413 || status == 0);
        assert_int_equal(http_call(server_port(server), "GET /hello", "", "", &answer), 200);
}

/* More connections than there may be, that say nothing, half a line, or do not read their answers: the next one is served at once. */
static void who_says_nothing_makes_room(void **state)
{
        static const char *const texts[] = { "", "GET /hello HTTP/1.1\r\nHo", "GET /large HTTP/1.1\r\nHost: x\r\n\r\n" };
        static char large[] = "large";
        const struct server_route own[] = { routes[0], { "/large", hello_large, large } };

        (void)state;
        for (size_t i = 0; i < COUNT(texts); i++) {
                cleanup(server_free) struct server *server =
                        start(&(struct server_options){ .address = ":0", .routes = own, .route_count = 2, .connection_limit = 4 });
                cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
                int open[200];
                int64_t begun;

                signal(SIGPIPE, SIG_IGN);
                for (size_t k = 0; k < COUNT(open); k++) {
                        open[k] = http_connect(server_port(server));
                        assert_true(write(open[k], texts[i], strlen(texts[i])) == (ssize_t)strlen(texts[i]));
                }
                begun = clock_now_ms();
                assert_int_equal(http_call(server_port(server), "GET /hello", "", "", &answer), 200);
                assert_true(clock_now_ms() - begun < 10000); /* idle connections are closed after 30 s */
                for (size_t k = 0; k < COUNT(open); k++)
                        close(open[k]);
        }
}

/* Files. */

static char scratch[] = "/tmp/weir-server-XXXXXX";
static int root;

static void put(const char *path, const char *content, size_t length)
{
        char parent[256];
        int fd;

        for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
                snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
                assert_true(mkdirat(root, parent, 0700) == 0 || errno == EEXIST);
        }
        fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, content, length), length);
        assert_int_equal(futimens(fd, (struct timespec[]){ { .tv_sec = 1700000000 }, { .tv_sec = 1700000000 } }), 0);
        close(fd);
}

static bool hidden(const char *name)
{
        const char *dot = strrchr(name, '.');

        return dot && strcmp(dot, ".lock") == 0;
}

static bool tag(void *data, const char *path, int fd, char text[SERVER_TAG])
{
        (void)data;
        if (fd < 0 || strcmp(path, "k/ns/n/a.tar.gz") != 0)
                return false;
        snprintf(text, SERVER_TAG, "sha256:abc");
        return true;
}

static void files_are_served(void **state)
{
        static const struct {
                const char *line;
                const char *headers;
                int status;
                const char *header; /* that must be there, with this value */
                const char *value;
                const char *body;
        } cases[] = {
                { "GET /k/ns/n/a.tar.gz", "", 200, "Content-Type", "application/x-gzip", NULL },
                { "GET /k/ns/n/a.tar.gz", "", 200, "Content-Length", "10", NULL },
                { "GET /k/ns/n/a.tar.gz", "", 200, "ETag", "\"sha256:abc\"", NULL },
                { "GET /k/ns/n/a.tar.gz", "", 200, "Accept-Ranges", "bytes", NULL },
                { "GET /k/ns/n/a.tar.gz", "", 200, "Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT", NULL },
                { "HEAD /k/ns/n/a.tar.gz", "", 200, "Content-Length", "10", "" },
                { "GET /k/ns/n/index.yaml", "", 200, "Content-Type", "text/plain; charset=utf-8", "{\"a\":1}" },
                { "GET /k/ns/n/index.yaml", "", 200, "ETag", "\"7-17979cfe362a0000\"", "{\"a\":1}" },
                { "GET /k/ns/n/a.json", "", 200, "Content-Type", "application/json", "[]" },
                { "GET /k/ns/n/binary", "", 200, "Content-Type", "application/octet-stream", NULL },
                { "GET /k/ns/n/sha256:ab+c.tar.gz", "", 200, "Content-Length", "1", "x" },
                { "GET /k/ns/n/latest.tar.gz", "", 200, "Content-Length", "1", "x" },
                /* Ranges. */
                { "GET /k/ns/n/index.yaml", "Range: bytes=0-2\r\n", 206, "Content-Range", "bytes 0-2/7", "{\"a" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=5-\r\n", 206, "Content-Range", "bytes 5-6/7", "1}" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=-3\r\n", 206, "Content-Range", "bytes 4-6/7", ":1}" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=5-100\r\n", 206, "Content-Range", "bytes 5-6/7", "1}" },
                { "HEAD /k/ns/n/index.yaml", "Range: bytes=5-\r\n", 206, "Content-Length", "2", "" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=7-\r\n", 416, "Content-Range", "bytes */7",
                  "invalid range: failed to overlap\n" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=3-1\r\n", 416, "Content-Range", "bytes */7",
                  "invalid range: failed to overlap\n" },
                { "GET /k/ns/n/index.yaml", "Range: x\r\n", 416, "Content-Range", "bytes */7",
                  "invalid range: failed to overlap\n" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=-100\r\n", 206, "Content-Range", "bytes 0-6/7", "{\"a\":1}" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=6-18446744073709551615\r\n", 206, "Content-Range", "bytes 6-6/7", "}" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=18446744073709551616-\r\n", 416, "Content-Range", "bytes */7", NULL },
                { "GET /k/ns/n/index.yaml", "Range: bytes=-0\r\n", 416, "Content-Range", "bytes */7", NULL },
                { "GET /k/ns/n/index.yaml", "Range: bytes=-\r\n", 416, "Content-Range", "bytes */7", NULL },
                { "GET /k/ns/n/index.yaml", "Range: bytes=--1\r\n", 416, "Content-Range", "bytes */7", NULL },
                { "GET /k/ns/n/index.yaml", "Range: bytes=\r\n", 416, "Content-Range", "bytes */7", NULL },
                { "GET /k/ns/n/index.yaml", "Range: bytes= 0 - 2 \r\n", 206, "Content-Range", "bytes 0-2/7", "{\"a" },
                { "GET /k/ns/n/empty", "Range: bytes=0-\r\n", 200, "Content-Length", "0", "" },
                { "GET /k/ns/n/empty", "Range: bytes=-5\r\n", 200, "Content-Length", "0", "" },
                { "HEAD /k/ns/n/index.yaml", "Range: bytes=7-\r\n", 416, "Content-Range", "bytes */7", "" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=0-0,2-3\r\n", 200, "Content-Length", "7", "{\"a\":1}" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=0-2\r\nIf-Range: \"other\"\r\n", 200, "Content-Length", "7",
                  "{\"a\":1}" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=0-2\r\nIf-Range: \"7-17979cfe362a0000\"\r\n", 206, "Content-Length", "3",
                  "{\"a" },
                { "GET /k/ns/n/index.yaml", "Range: bytes=0-2\r\nIf-Range: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 206,
                  "Content-Length", "3", "{\"a" },
                /* Conditions. */
                { "GET /k/ns/n/a.tar.gz", "If-None-Match: \"sha256:abc\"\r\n", 304, "ETag", "\"sha256:abc\"", "" },
                { "GET /k/ns/n/a.tar.gz", "If-None-Match: \"x\", W/\"sha256:abc\"\r\n", 304, "ETag", "\"sha256:abc\"", "" },
                { "HEAD /k/ns/n/a.tar.gz", "If-None-Match: \"sha256:abc\"\r\n", 304, "ETag", "\"sha256:abc\"", "" },
                { "GET /k/ns/n/a.tar.gz", "Range: bytes=0-2\r\nIf-None-Match: \"sha256:abc\"\r\n", 304, "ETag", "\"sha256:abc\"",
                  "" },
                { "GET /k/ns/n/a.tar.gz", "If-None-Match: sha256:abc\r\n", 200, "Content-Length", "10", NULL },
                { "GET /k/ns/n/a.tar.gz", "If-None-Match: *\r\n", 304, "ETag", "\"sha256:abc\"", "" },
                { "GET /k/ns/n/a.tar.gz", "If-None-Match: \"x\"\r\nIf-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 200,
                  "Content-Length", "10", NULL },
                { "GET /k/ns/n/a.tar.gz", "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 304, "ETag", "\"sha256:abc\"",
                  "" },
                { "GET /k/ns/n/a.tar.gz", "If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT\r\n", 200, "Content-Length", "10",
                  NULL },
                { "GET /k/ns/n/a.tar.gz", "If-Modified-Since: yesterday\r\n", 200, "Content-Length", "10", NULL },
                /* Directories. */
                { "GET /", "", 200, "Content-Type", "text/html; charset=utf-8", NULL },
                { "GET /k/ns/", "", 200, "Content-Type", "text/html; charset=utf-8",
                  "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n</pre>\n" },
                { "GET /k/ns", "", 301, "Location", "ns/", NULL },
                /* Paths. */
                { "GET //k/ns/n/index.yaml", "", 301, "Location", "/k/ns/n/index.yaml", NULL },
                { "GET /k/ns/../ns/n/index.yaml", "", 301, "Location", "/k/ns/n/index.yaml", NULL },
                { "GET /../../etc/passwd", "", 301, "Location", "/etc/passwd", NULL },
                { "GET /%2e%2e/etc/passwd", "", 301, "Location", "/etc/passwd", NULL },
                { "GET /k/./a%20b", "", 301, "Location", "/k/a%20b", NULL },
                { "GET /%2e%2e%2f%2e%2e%2fetc%2fpasswd", "", 301, "Location", "/etc/passwd", NULL },
                { "GET /k/..%2f..%2f..%2fetc/passwd", "", 301, "Location", "/etc/passwd", NULL },
                { "GET /k/ns/n/%2f%2fetc/passwd", "", 301, "Location", "/k/ns/n/etc/passwd", NULL },
                { "GET /%252e%252e/etc/passwd", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/..%5c..%5cetc%5cpasswd", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/index.yaml%00", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/index.yaml%00.lock", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/a.tar.gz.lock%00.gz", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/%00/../ns/n/index.yaml", "", 301, "Location", "/k/ns/n/index.yaml", NULL },
                { "GET /k/ns/n/%ff%fe%80", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/index.yaml/", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/index.yaml/a.json", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/folder/passwd", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/circle", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET k/ns/n/index.yaml", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "HEAD /", "", 200, "Content-Type", "text/html; charset=utf-8", "" },
                { "HEAD /k/ns/n/missing.tar.gz", "", 404, "Content-Length", "19", "" },
                { "GET /etc/passwd", "", 404, "X-Content-Type-Options", "nosniff", "404 page not found\n" },
                { "GET /k/ns/n/missing.tar.gz", "", 404, "Content-Type", "text/plain; charset=utf-8", "404 page not found\n" },
                { "GET /k/ns/n/a.tar.gz.lock", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/outside", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/upwards", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "GET /k/ns/n/pipe", "", 404, "Content-Length", "19", "404 page not found\n" },
                { "POST /k/ns/n/a.tar.gz", "", 405, "Allow", "GET, HEAD", NULL },
        };
        struct server_files files = { .root = root, .hidden = hidden, .tag = tag };
        const struct server_route route = { "/", server_files_handle, &files };
        cleanup(server_free) struct server *server =
                start(&(struct server_options){ .address = ":0", .routes = &route, .route_count = 1 });
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;

        (void)state;
        put("k/ns/n/a.tar.gz", "\x1f\x8b\x08 345678x", 10);
        put("k/ns/n/index.yaml", "{\"a\":1}", 7);
        put("k/ns/n/a.json", "[]", 2);
        put("k/ns/n/binary", "a\0b", 3);
        put("k/ns/n/sha256:ab+c.tar.gz", "x", 1);
        put("k/ns/n/a.tar.gz.lock", "", 0);
        assert_int_equal(symlinkat("sha256:ab+c.tar.gz", root, "k/ns/n/latest.tar.gz"), 0);
        assert_int_equal(symlinkat("/etc/passwd", root, "k/ns/n/outside"), 0);
        assert_int_equal(symlinkat("../../../../../../etc/passwd", root, "k/ns/n/upwards"), 0);
        assert_int_equal(symlinkat("/etc", root, "k/ns/n/folder"), 0);
        assert_int_equal(symlinkat("circle", root, "k/ns/n/circle"), 0);
        put("k/ns/n/empty", "", 0);
        assert_int_equal(mkfifoat(root, "k/ns/n/pipe", 0600), 0);
        for (size_t i = 0; i < COUNT(cases); i++) {
                int status = http_call(server_port(server), cases[i].line, cases[i].headers, "", &answer);

                if (strstr(cases[i].line, "/latest.tar.gz") && !kernel_has_openat2())
                        continue;
                if (status != cases[i].status || !view_is(http_header(&answer, cases[i].header), cases[i].value) ||
                    (cases[i].body && !view_is(http_body(&answer), cases[i].body)))
                        fail_msg("%s %s: %d\n%s", cases[i].line, cases[i].headers, status, buffer_string(&answer));
        }
}

static void large_files_come_whole(void **state)
{
        struct server_files files = { .root = root };
        const struct server_route route = { "/", server_files_handle, &files };
        cleanup(server_free) struct server *server =
                start(&(struct server_options){ .address = ":0", .routes = &route, .route_count = 1 });
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL, content = BUFFER_NULL;

        (void)state;
        for (int i = 0; i < 400000; i++)
                buffer_printf(&content, "%08d", i);
        put("large", content.data, content.length);
        assert_int_equal(http_call(server_port(server), "GET /large", "", "", &answer), 200);
        assert_true(view_equal(http_body(&answer), buffer_view(&content)));
}

/* Stopping lets a download that has begun come to its end, and takes no new ones. */
static void *stop(void *server)
{
        server_stop(server, 10000);
        return NULL;
}

static void stopping_drains(void **state)
{
        struct server_files files = { .root = root };
        const struct server_route route = { "/", server_files_handle, &files };
        struct server *server = start(&(struct server_options){ .address = ":0", .routes = &route, .route_count = 1 });
        uint16_t port = server_port(server);
        const struct sockaddr_in address = { .sin_family = AF_INET,
                                             .sin_port = htons(port),
                                             .sin_addr = { htonl(INADDR_LOOPBACK) } };
        int fd, probe, refused = 0;
        size_t total = 0;
        char chunk[65536];
        pthread_t thread;
        ssize_t n;

        (void)state;
        memset(chunk, 'x', sizeof(chunk));
        unlinkat(root, "big", 0);
        for (int i = 0; i < 256; i++) {
                fd = openat(root, "big", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
                assert_int_equal(write(fd, chunk, sizeof(chunk)), sizeof(chunk));
                close(fd);
        }
        fd = http_connect(port);
        assert_true(write(fd, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 50) == 50);
        n = read(fd, chunk, 100); /* it has begun */
        assert_true(n > 0);
        total += (size_t)n;
        assert_int_equal(pthread_create(&thread, NULL, stop, &server), 0);
        for (int64_t end = clock_now_ms() + 5000; !refused && clock_now_ms() < end;) {
                probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                refused = connect(probe, (const struct sockaddr *)&address, sizeof(address)) < 0;
                close(probe);
        }
        assert_true(refused);
        while ((n = read(fd, chunk, sizeof(chunk))) > 0)
                total += (size_t)n;
        close(fd);
        pthread_join(thread, NULL);
        assert_true(total > 256 * sizeof(chunk));
        assert_null(server);
}

static int setup(void **state)
{
        (void)state;
        if (!mkdtemp(scratch))
                return -1;
        root = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return root < 0 ? -1 : 0;
}

static int teardown(void **state)
{
        char command[64];

        (void)state;
        close(root);
        snprintf(command, sizeof(command), "rm -rf %s", scratch);
        return system(command);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(routes_are_found),          cmocka_unit_test(addresses_are_judged),
                cmocka_unit_test(large_headers_are_refused), cmocka_unit_test(who_says_nothing_makes_room),
                cmocka_unit_test(files_are_served),          cmocka_unit_test(large_files_come_whole),
                cmocka_unit_test(stopping_drains),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
