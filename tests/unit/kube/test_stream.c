#include "api_server.h"

#define GONE                                                                                                                       \
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"too old resource version: 1 (9)\","       \
        "\"reason\":\"Expired\",\"code\":410}"

/* Of the last client's certificate. */
static struct {
        pthread_mutex_t lock;
        char subject[256];
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void note_subject(struct fake_connection *connection)
{
        X509 *certificate = SSL_get1_peer_certificate(connection->tls);

        pthread_mutex_lock(&seen.lock);
        seen.subject[0] = '\0';
        if (certificate)
                X509_NAME_oneline(X509_get_subject_name(certificate), seen.subject, sizeof(seen.subject));
        pthread_mutex_unlock(&seen.lock);
        X509_free(certificate);
}

static enum fake_next serve(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data;
        note_subject(connection);
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

static struct listener listener_of(struct fixture *f)
{
        return (struct listener){ .client = kube_client_ref(f->client),
                                  .request = { .verb = KUBE_WATCH,
                                               .resource = kube_resource_intern("", "v1", "Secret", "secrets", true),
                                               .watch_seconds = 300 } };
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
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, serve, "token: t");
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(listener_release) struct listener l = listener_of(&f);

                buffer_clear(&f.script.log);
                l.request.resource_version = cases[i].version;
                listen_once(&l);
                assert_int_equal(l.started, cases[i].started);
                assert_string_equal(buffer_string(&l.text), cases[i].text);
                assert_string_equal(error_message(&l.error), cases[i].message);
                assert_string_equal(l.error.reason, cases[i].reason);
                assert_int_equal(l.error.http_status, cases[i].code);
                assert_int_equal(l.error.retry_after_ms, cases[i].after_ms);
        }
        assert_string_equal(buffer_string(&f.script.log),
                            "GET /api/v1/secrets?resourceVersion=2&watch=true&allowWatchBookmarks=true&timeoutSeconds=300 \n");
}

static void a_request_that_cannot_be_is_told(void **state)
{
        cleanup(fixture_close) struct fixture f;
        cleanup(listener_release) struct listener l = { NULL };

        (void)state;
        fixture_open(&f, serve, "token: t");
        l = listener_of(&f);
        l.request.namespace = "..";
        listen_once(&l);
        assert_int_equal(l.error.kind, ERROR_INVALID);
}

static void a_plugin_runs_beside_the_io_thread(void **state)
{
        cleanup(fixture_close) struct fixture f;
        cleanup(listener_release) struct listener l = { NULL };

        (void)state;
        put_file("plugin",
                 "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"from-plugin\"}}'\n");
        fixture_open(&f, serve, "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./plugin}");
        l = listener_of(&f);
        listen_once(&l);
        assert_int_equal(l.error.kind, ERROR_UNAVAILABLE);
        assert_string_equal(error_message(&l.error), "the credentials are being renewed");
        for (int tries = 0; l.error.kind != ERROR_NONE && tries < 2000; tries++) {
                usleep(5000);
                listen_once(&l);
        }
        assert_int_equal(l.error.kind, ERROR_NONE);
        assert_string_equal(f.script.authorization, "Bearer from-plugin");
}

static void a_new_certificate_ends_the_old_connections(void **state)
{
        cleanup(fake_identity_release) struct fake_identity one = fake_identity("one", NULL, &ca),
                                                            two = fake_identity("two", NULL, &ca);
        cleanup(fixture_close) struct fixture f;
        cleanup(listener_release) struct listener l = { NULL };
        int before;

        (void)state;
        put_file("client.crt", one.certificate_pem);
        put_file("client.key", one.key_pem);
        fixture_open_for(&f, &ca, serve, "client-certificate: client.crt, client-key: client.key");
        l = listener_of(&f);
        listen_once(&l);
        assert_string_equal(seen.subject, "/CN=one");
        listen_once(&l);
        before = f.server->accepted;
        assert_int_equal(before, 1);
        put_file("client.crt", two.certificate_pem); /* half of it: not taken */
        l.client->server->files_read_ms -= 60000;
        listen_once(&l);
        assert_string_equal(seen.subject, "/CN=one");
        put_file("client.key", two.key_pem);
        l.client->server->files_read_ms -= 60000;
        listen_once(&l);
        assert_string_equal(seen.subject, "/CN=two");
        WAIT_UNTIL(f.server->open == 1); /* that of the old one is gone */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_ends_a_stream_is_told),
                cmocka_unit_test(a_request_that_cannot_be_is_told),
                cmocka_unit_test(a_plugin_runs_beside_the_io_thread),
                cmocka_unit_test(a_new_certificate_ends_the_old_connections),
        };

        return cmocka_run_group_tests(tests, api_prepare, api_clean);
}
