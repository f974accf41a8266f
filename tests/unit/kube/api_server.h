/*
 * api_server: a scripted API server over TLS, a client of it with credentials from a kubeconfig, and a folder for the files that such a one names.
 *
 * A program's group setup and teardown are api_prepare and api_clean.
 */
#pragma once

#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "kube/client_private.h"

#include <sys/stat.h>

/* The header by which a server says that it limits requests by itself. */
#define FLOW "X-Kubernetes-PF-FlowSchema-UID: u\r\n"

static struct io *io;
static struct fake_identity ca, identity;
static char directory[] = "/tmp/weir-api-XXXXXX";

static inline char *path_of(const char *name)
{
        return memory_printf("%s/%s", directory, name);
}

static inline void put_file(const char *name, const char *content)
{
        cleanup(free_string) char *path = path_of(name);
        FILE *file = fopen(path, "w");

        fputs(content, file);
        fclose(file);
        chmod(path, 0755);
}

static inline int api_prepare(void **state)
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

static inline int api_clean(void **state)
{
        cleanup(free_string) char *command = memory_printf("rm -rf %s", directory);

        (void)state;
        io_stop(&io);
        fake_identity_release(&ca);
        fake_identity_release(&identity);
        return system(command);
}

/* What the server saw, and how it answers what is no ping. */
struct script {
        const char *headers;  /* of the answer to a ping */
        fake_handler *handle; /* its data is the script */
        pthread_mutex_t lock;
        struct buffer log; /* "METHOD target body\n" of everything but pings; under lock */
        _Atomic int count, pings, failures;
        char *authorization; /* of the last request; under lock */
        _Atomic int mode;
        const char *answer; /* for handlers that want one */
};

struct fixture {
        struct script script;
        struct fake_server *server;
        struct kube_client *client;
        struct context ctx;
        struct error err;
        _Atomic int notices;
};

static inline enum fake_next script_serve(void *data, struct fake_connection *connection, const struct fake_request *request)
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

static inline void fixture_notice(void *data, enum log_level level, const char *message)
{
        struct fixture *f = data;

        (void)level, (void)message;
        f->notices++;
}

/* `user` is the inside of the kubeconfig's user; `authority` is a line of its cluster. */
static inline void fixture_client(struct fixture *f, const char *authority, const char *user, struct kube_client **ret_client)
{
        struct kube_client_options options = { .user_agent = "test-controller/1 (linux)", .notice = fixture_notice, .data = f };
        cleanup(free_string) char *file = path_of("kubeconfig");
        cleanup(free_string) char *text =
                memory_printf("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                              "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:%u', %s}}]\n"
                              "users: [{name: u, user: {%s}}]\n",
                              f->server->port, authority, user);
        cleanup(kube_config_free) struct kube_config *config = NULL;

        put_file("kubeconfig", text);
        if (kube_config_load_files(file, &config, &f->err) < 0 || kube_client_new(io, &config, &options, ret_client, &f->err) < 0)
                fail_msg("%s", error_message(&f->err));
}

/* `client_ca` not NULL: the server wants a certificate of it. */
static inline void fixture_open_for(struct fixture *f, const struct fake_identity *client_ca, fake_handler *handle,
                                    const char *user)
{
        cleanup(buffer_release) struct buffer encoded = BUFFER_NULL;
        cleanup(free_string) char *authority = NULL;

        *f = (struct fixture){ .script = { .headers = FLOW, .handle = handle } };
        pthread_mutex_init(&f->script.lock, NULL);
        context_open(&f->ctx, NULL, clock_now_ms() + 60000);
        f->server = fake_start(&identity, client_ca, script_serve, &f->script);
        buffer_add_base64(&encoded, view_of(ca.certificate_pem));
        authority = memory_printf("certificate-authority-data: %s", encoded.data);
        fixture_client(f, authority, user, &f->client);
}

static inline void fixture_open(struct fixture *f, fake_handler *handle, const char *user)
{
        fixture_open_for(f, NULL, handle, user);
}

static inline void fixture_close(struct fixture *f)
{
        kube_client_release(&f->client);
        context_close(&f->ctx);
        error_release(&f->err);
        fake_stop(&f->server);
        buffer_release(&f->script.log);
        free(f->script.authorization);
        pthread_mutex_destroy(&f->script.lock);
}

static inline const struct kube_resource *config_maps(void)
{
        return kube_resource_intern("", "v1", "ConfigMap", "configmaps", true);
}

static inline int call_of(struct fixture *f, struct kube_client *client, enum kube_verb verb)
{
        struct kube_request request = { .verb = verb, .resource = config_maps(), .namespace = "ns", .name = "n" };

        if (kube_verb_writes(verb) && verb != KUBE_DELETE)
                request.body = VIEW("{\"a\":1}");
        return kube_call(&f->ctx, client, &request, NULL, &f->err);
}

static inline int call(struct fixture *f, enum kube_verb verb)
{
        return call_of(f, f->client, verb);
}

/* Good as an answer to every verb about "n". */
#define ANSWER "{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"n\"},\"items\":[]}"

static inline enum fake_next ok(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data, (void)request;
        return fake_json(connection, "200 OK", ANSWER);
}

/* Runs `work` on eight threads at once; it returns NULL if all is well. */
static inline void on_threads(void *(*work)(void *argument), void *argument)
{
        pthread_t threads[8];

        for (size_t i = 0; i < COUNT(threads); i++)
                pthread_create(&threads[i], NULL, work, argument);
        for (size_t i = 0; i < COUNT(threads); i++) {
                void *result;

                pthread_join(threads[i], &result);
                assert_null(result);
        }
}
