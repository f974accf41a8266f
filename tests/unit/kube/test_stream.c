#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "kube/client_private.h"

#include <sys/stat.h>

#define GONE                                                                                                                       \
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"too old resource version: 1 (9)\","       \
        "\"reason\":\"Expired\",\"code\":410}"

static struct io *io;
static struct fake_identity ca, identity;
static char directory[] = "/tmp/weir-stream-XXXXXX";

/* Of the last request but pings. */
static struct {
        pthread_mutex_t lock;
        char *target, *authorization, *subject;
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static char *subject_of(struct fake_connection *connection)
{
        X509 *certificate = SSL_get1_peer_certificate(connection->tls);
        char text[256] = "";

        if (certificate)
                X509_NAME_oneline(X509_get_subject_name(certificate), text, sizeof(text));
        X509_free(certificate);
        return memory_string(text);
}

static enum fake_next serve(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data;
        if (strcmp(request->method, "HEAD") == 0) {
                fake_write(connection, VIEW("HTTP/1.1 200 OK\r\nX-Kubernetes-PF-FlowSchema-UID: u\r\nContent-Length: 2\r\n\r\n"));
                return FAKE_KEEP;
        }
        pthread_mutex_lock(&seen.lock);
        free(seen.target), free(seen.authorization), free(seen.subject);
        seen.target = memory_string(request->target);
        seen.authorization = fake_header(request, "Authorization");
        seen.subject = subject_of(connection);
        pthread_mutex_unlock(&seen.lock);
        if (strstr(request->target, "resourceVersion=1"))
                return fake_json(connection, "410 Gone", GONE);
        if (strstr(request->target, "resourceVersion=2"))
                return fake_answer(connection, "503 Service Unavailable", "Retry-After: 4\r\n", "");
        return fake_json(connection, "200 OK", "{\"type\":\"ADDED\"}\n");
}

struct listener {
        struct kube_client *client;
        struct kube_request request;
        struct buffer text;
        struct error error;
        _Atomic int started, ended;
};

static void on_start(void *data)
{
        ((struct listener *)data)->started++;
}

static void on_bytes(void *data, struct view bytes)
{
        buffer_add_view(&((struct listener *)data)->text, bytes);
}

static void on_end(void *data, const struct error *err)
{
        struct listener *l = data;

        error_release(&l->error);
        if (err) {
                error_set_reason(&l->error, err->kind, err->reason, "%s", err->message);
                l->error.http_status = err->http_status;
                l->error.retry_after_ms = err->retry_after_ms;
        }
        l->ended++;
}

static const struct kube_stream_events events = { .start = on_start, .bytes = on_bytes, .end = on_end };

static void open_stream(void *argument)
{
        struct listener *l = argument;

        kube_stream_open(l->client, &l->request, &events, l);
}

static void nothing(void *argument)
{
        (void)argument;
}

static void listen_once(struct listener *l)
{
        int ended = l->ended;

        io_run_wait(io, open_stream, l);
        WAIT_UNTIL(l->ended == ended + 1);
        io_run_wait(io, nothing, NULL);
}

static void listener_release(struct listener *l)
{
        buffer_release(&l->text);
        error_release(&l->error);
        kube_client_release(&l->client);
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

static void client_open(const struct fake_server *server, const char *user, struct listener *l)
{
        struct kube_client_options options = { .user_agent = "test/1" };
        cleanup(free_string) char *file = path_of("kubeconfig");
        cleanup(free_string) char *text =
                memory_printf("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                              "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:%u', certificate-authority: ca.crt}}]\n"
                              "users: [{name: u, user: {%s}}]\n",
                              server->port, user);
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        put_file("kubeconfig", text);
        put_file("ca.crt", ca.certificate_pem);
        if (kube_config_load_files(file, &config, &err) < 0 || kube_client_new(io, &config, &options, &l->client, &err) < 0)
                fail_msg("%s", error_message(&err));
        l->request = (struct kube_request){ .verb = KUBE_WATCH,
                                            .resource = kube_resource_intern("", "v1", "Secret", "secrets", true),
                                            .watch_seconds = 300 };
}

static void what_ends_a_stream_is_told(void **state)
{
        static const struct {
                const char *version;
                int started, code;
                const char *text, *reason, *message;
                int64_t after_ms;
        } cases[] = {
                { "0", 1, 0, "{\"type\":\"ADDED\"}\n", "", "", 0 },
                { "1", 0, 410, "", "Expired", "too old resource version: 1 (9)", 0 },
                { "2", 0, 503, "", "ServiceUnavailable", "the server is currently unable to handle the request (get secrets)",
                  4000 },
        };
        struct fake_server *server = fake_start(&identity, NULL, serve, NULL);

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(listener_release) struct listener l = { NULL };

                client_open(server, "token: t", &l);
                l.request.resource_version = cases[i].version;
                listen_once(&l);
                assert_int_equal(l.started, cases[i].started);
                assert_string_equal(buffer_string(&l.text), cases[i].text);
                assert_string_equal(error_message(&l.error), cases[i].message);
                assert_string_equal(l.error.reason, cases[i].reason);
                assert_int_equal(l.error.http_status, cases[i].code);
                assert_int_equal(l.error.retry_after_ms, cases[i].after_ms);
        }
        pthread_mutex_lock(&seen.lock);
        assert_string_equal(seen.target,
                            "/api/v1/secrets?resourceVersion=2&watch=true&allowWatchBookmarks=true&timeoutSeconds=300");
        pthread_mutex_unlock(&seen.lock);
        fake_stop(&server);
}

static void a_request_that_cannot_be_is_told(void **state)
{
        struct fake_server *server = fake_start(&identity, NULL, serve, NULL);
        cleanup(listener_release) struct listener l = { NULL };

        (void)state;
        client_open(server, "token: t", &l);
        l.request.name_space = "..";
        listen_once(&l);
        assert_int_equal(l.error.kind, ERROR_INVALID);
        fake_stop(&server);
}

static void a_plugin_runs_beside_the_io_thread(void **state)
{
        struct fake_server *server = fake_start(&identity, NULL, serve, NULL);
        cleanup(listener_release) struct listener l = { NULL };

        (void)state;
        put_file("plugin",
                 "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"from-plugin\"}}'\n");
        client_open(server, "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./plugin}", &l);
        listen_once(&l);
        assert_int_equal(l.error.kind, ERROR_UNAVAILABLE);
        assert_string_equal(error_message(&l.error), "the credentials are being renewed");
        for (int tries = 0; l.error.kind != ERROR_NONE && tries < 2000; tries++) {
                usleep(5000);
                listen_once(&l);
        }
        assert_int_equal(l.error.kind, ERROR_NONE);
        pthread_mutex_lock(&seen.lock);
        assert_string_equal(seen.authorization, "Bearer from-plugin");
        pthread_mutex_unlock(&seen.lock);
        fake_stop(&server);
}

static void a_new_certificate_ends_the_old_connections(void **state)
{
        cleanup(fake_identity_release) struct fake_identity one = fake_identity("one", NULL, &ca),
                                                            two = fake_identity("two", NULL, &ca);
        struct fake_server *server = fake_start(&identity, &ca, serve, NULL);
        cleanup(listener_release) struct listener l = { NULL };
        int before;

        (void)state;
        put_file("client.crt", one.certificate_pem);
        put_file("client.key", one.key_pem);
        client_open(server, "client-certificate: client.crt, client-key: client.key", &l);
        listen_once(&l);
        assert_string_equal(seen.subject, "/CN=one");
        listen_once(&l);
        before = server->accepted;
        assert_int_equal(before, 1);
        put_file("client.crt", two.certificate_pem); /* half of it: not taken */
        l.client->server->files_read_ms -= 60000;
        listen_once(&l);
        assert_string_equal(seen.subject, "/CN=one");
        put_file("client.key", two.key_pem);
        l.client->server->files_read_ms -= 60000;
        listen_once(&l);
        assert_string_equal(seen.subject, "/CN=two");
        WAIT_UNTIL(server->open == 1); /* that of the old one is gone */
        fake_stop(&server);
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
        free(seen.target), free(seen.authorization), free(seen.subject);
        return system(command);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_ends_a_stream_is_told),
                cmocka_unit_test(a_request_that_cannot_be_is_told),
                cmocka_unit_test(a_plugin_runs_beside_the_io_thread),
                cmocka_unit_test(a_new_certificate_ends_the_old_connections),
        };

        return cmocka_run_group_tests(tests, prepare, clean);
}
