#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "net/http.h"
#include "net/proxy.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static void choices(void **state)
{
        static const struct {
                const char *http, *https, *none, *url, *proxy;
        } cases[] = {
                { "http://p:1", NULL, NULL, "http://a.example/", "http://p:1" },
                { "http://p:1", NULL, NULL, "https://a.example/", "" },
                { NULL, "https://p:2", NULL, "https://a.example/x?y", "https://p:2" },
                { NULL, "socks5://u:p@p:2", NULL, "https://a.example/", "socks5://u:p@p:2" },
                { "p:1", NULL, NULL, "http://a.example/", "http://p:1" },
                { "", NULL, NULL, "http://a.example/", "" },
                { "http://p:1", NULL, NULL, "http://localhost:80/", "" },
                { "http://p:1", NULL, NULL, "http://127.3.2.1/", "" },
                { "http://p:1", NULL, NULL, "http://[::1]/", "" },
                { "http://p:1", NULL, "*", "http://a.example/", "" },
                { "http://p:1", NULL, "a.example", "http://a.example/", "" },
                { "http://p:1", NULL, "a.example", "http://sub.A.EXAMPLE/", "" },
                { "http://p:1", NULL, "a.example", "http://ba.example/", "http://p:1" },
                { "http://p:1", NULL, ".a.example", "http://a.example/", "http://p:1" },
                { "http://p:1", NULL, ".a.example", "http://sub.a.example/", "" },
                { "http://p:1", NULL, "*.a.example", "http://sub.a.example/", "" },
                { "http://p:1", NULL, "a.example:8080", "http://a.example/", "http://p:1" },
                { "http://p:1", NULL, "a.example:8080", "http://a.example:8080/", "" },
                { "http://p:1", NULL, "x , 10.0.0.0/8", "http://10.1.2.3/", "" },
                { "http://p:1", NULL, "10.0.0.0/9", "http://10.128.2.3/", "http://p:1" },
                { "http://p:1", NULL, "10.0.0.1", "http://10.0.0.1:99/", "" },
                { "http://p:1", NULL, "fd00::/8", "http://[fd12::1]/", "" },
                { "http://p:1", NULL, "[fd12::1]:80", "http://[fd12::1]/", "" },
                { "http://p:1", NULL, "0.0.0.0/0", "http://a.example/", "http://p:1" },
                { "http://p:1", NULL, ",,", "http://a.example/", "http://p:1" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                const struct proxy_environment environment = { cases[i].http, cases[i].https, cases[i].none };
                cleanup(free_string) char *proxy = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                if (proxy_choose(&environment, cases[i].url, &proxy, &err) < 0)
                        fail_msg("%zu: %s", i, error_message(&err));
                if (strcmp(proxy, cases[i].proxy) != 0)
                        fail_msg("%zu: '%s' for %s with NO_PROXY %s", i, proxy, cases[i].url, cases[i].none);
        }
}

static void explicit_proxies_are_checked(void **state)
{
        static const struct {
                const char *proxy;
                bool good;
        } cases[] = { { "http://p", true }, { "https://p:1", true }, { "socks5://u:secret@p:1", true },
                      { "ftp://p", false }, { "socks4://p", false }, { "p:1", false },
                      { "://", false } };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(proxy_check(cases[i].proxy, &err), cases[i].good ? 0 : -1);
                assert_null(strstr(error_message(&err), "secret"));
        }
}

static void ports_follow_the_scheme(void **state)
{
        static const struct {
                const char *proxy;
                long port;
        } cases[] = { { "http://p", 80 }, { "HTTP://p", 80 }, { "https://p", 443 }, { "socks5://p", 1080 } };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                assert_int_equal(proxy_default_port(cases[i].proxy), cases[i].port);
}

static bool somebody_listens(unsigned port)
{
        const struct sockaddr_in address = { .sin_family = AF_INET,
                                             .sin_port = htons((uint16_t)port),
                                             .sin_addr = { htonl(0x7f090807) } };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool there = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;

        close(fd);
        return there;
}

/* A proxy without a port is where Go would look for it, and not where libcurl would: the refusal names the port. */
static void the_default_port_is_asked(void **state)
{
        static const struct {
                const char *proxy;
                unsigned port;
        } cases[] = { { "http://127.9.8.7", 80 }, { "https://127.9.8.7", 443 }, { "socks5://127.9.8.7", 1080 } };
        struct io *io = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(io_start(&io, &err), 0);
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct http_settings_options options = { .proxy = cases[i].proxy };
                cleanup(http_settings_release) struct http_settings *settings = http_settings_new(&options);
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(error_release) struct error refused = ERROR_NULL;
                cleanup(context_close) struct context ctx;
                struct http_request request = { .url = "http://weir.invalid/a", .settings = settings };
                char port[32];

                if (somebody_listens(cases[i].port))
                        continue;
                snprintf(port, sizeof(port), "port %u ", cases[i].port);
                context_open(&ctx, NULL, clock_now_ms() + 10000);
                assert_int_equal(http_call(&ctx, io, &request, &response, &refused), -1);
                if (!strstr(error_message(&refused), port))
                        fail_msg("%s: %s", cases[i].proxy, error_message(&refused));
        }
        io_stop(&io);
}

/* ---- on the wire ---- */

struct seen {
        _Atomic int plain, tunnels, authorized;
};

/* Answers proxy requests itself, refuses tunnels after having counted them. */
static enum fake_next proxy(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct seen *seen = data;
        cleanup(free_string) char *secret = fake_header(request, "Authorization");

        seen->authorized += secret != NULL;
        if (strcmp(request->method, "CONNECT") == 0) {
                seen->tunnels++;
                return fake_answer(connection, "403 Forbidden", "", "");
        }
        seen->plain++;
        return fake_answer(connection, "200 OK", "", request->target);
}

static void requests_go_where_they_must(void **state)
{
        struct seen seen = { 0 };
        struct fake_server *server = fake_start(NULL, NULL, proxy, &seen);
        cleanup(free_string) char *address = memory_printf("http://127.0.0.1:%u", server->port);
        cleanup(free_string) char *socks = memory_printf("socks5://127.0.0.1:%u", server->port);
        const struct {
                const char *url, *explicit, *environment;
                int plain, tunnels;
        } cases[] = {
                { "http://weir.invalid/a", NULL, address, 1, 0 }, { "https://weir.invalid/a", NULL, address, 0, 1 },
                { "http://weir.invalid/a", address, NULL, 1, 0 }, { "https://weir.invalid/a", address, NULL, 0, 1 },
                { "http://weir.invalid/a", "", address, 0, 0 },   { "http://weir.invalid/a", socks, NULL, 0, 0 },
        };
        struct io *io = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(io_start(&io, &err), 0);
        setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct http_settings_options options = { .proxy = cases[i].explicit };
                cleanup(http_settings_release) struct http_settings *settings = http_settings_new(&options);
                cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
                cleanup(context_close) struct context ctx;
                const struct http_header headers[] = { { "Authorization", "Bearer t" } };
                struct http_request request = { .url = cases[i].url, .settings = settings, .headers = headers, .header_count = 1 };

                seen.plain = seen.tunnels = seen.authorized = 0;
                unsetenv("http_proxy"), unsetenv("https_proxy");
                if (cases[i].environment)
                        setenv("HTTP_PROXY", cases[i].environment, 1), setenv("HTTPS_PROXY", cases[i].environment, 1);
                else
                        unsetenv("HTTP_PROXY"), unsetenv("HTTPS_PROXY");
                context_open(&ctx, NULL, clock_now_ms() + 10000);
                if (http_call(&ctx, io, &request, &response, &err) == 0)
                        assert_string_equal(buffer_string(&response.body), cases[i].url);
                assert_int_equal(seen.plain, cases[i].plain);
                assert_int_equal(seen.tunnels, cases[i].tunnels);
                assert_int_equal(seen.authorized, cases[i].plain); /* credentials are not for whoever opens the tunnel */
        }
        io_stop(&io);
        fake_stop(&server);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(choices),
                cmocka_unit_test(explicit_proxies_are_checked),
                cmocka_unit_test(ports_follow_the_scheme),
                cmocka_unit_test(the_default_port_is_asked),
                cmocka_unit_test(requests_go_where_they_must),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
