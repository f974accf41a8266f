/*
 * fake_server: an HTTP/1.1 server in this process whose every byte a test decides, plain or over TLS.
 *
 * One thread for each connection. The handler is called for each request on that connection's thread and writes what it wants; what it
 * returns decides how the connection goes on.
 */
#pragma once

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/str.h"

#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- certificates ---- */

struct fake_identity {
        EVP_PKEY *key;
        X509 *certificate;
        char *key_pem, *certificate_pem;
};

static char *fake_pem(int (*write)(BIO *, const struct fake_identity *), const struct fake_identity *identity)
{
        BIO *bio = BIO_new(BIO_s_mem());
        char *data;
        long length;
        char *text;

        write(bio, identity);
        length = BIO_get_mem_data(bio, &data);
        text = memory_string_n(data, (size_t)length);
        BIO_free(bio);
        return text;
}

static int fake_write_key(BIO *bio, const struct fake_identity *identity)
{
        return PEM_write_bio_PrivateKey(bio, identity->key, NULL, NULL, 0, NULL, NULL);
}

static int fake_write_certificate(BIO *bio, const struct fake_identity *identity)
{
        return PEM_write_bio_X509(bio, identity->certificate);
}

static void fake_extension(X509 *certificate, int nid, const char *value)
{
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
}

/* `issuer` NULL: a CA. `names` as OpenSSL writes them: "DNS:foo,IP:127.0.0.1". */
__attribute__((unused)) static struct fake_identity fake_identity(const char *common_name, const char *names,
                                                                  const struct fake_identity *issuer)
{
        static _Atomic long serial = 1;
        struct fake_identity identity = { .key = EVP_EC_gen("P-256"), .certificate = X509_new() };
        X509_NAME *name = X509_get_subject_name(identity.certificate);

        X509_set_version(identity.certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(identity.certificate), serial++);
        X509_gmtime_adj(X509_getm_notBefore(identity.certificate), -3600);
        X509_gmtime_adj(X509_getm_notAfter(identity.certificate), 3600);
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0);
        X509_set_issuer_name(identity.certificate, issuer ? X509_get_subject_name(issuer->certificate) : name);
        X509_set_pubkey(identity.certificate, identity.key);
        if (!issuer)
                fake_extension(identity.certificate, NID_basic_constraints, "critical,CA:TRUE");
        if (names)
                fake_extension(identity.certificate, NID_subject_alt_name, names);
        X509_sign(identity.certificate, issuer ? issuer->key : identity.key, EVP_sha256());
        identity.key_pem = fake_pem(fake_write_key, &identity);
        identity.certificate_pem = fake_pem(fake_write_certificate, &identity);
        return identity;
}

__attribute__((unused)) static void fake_identity_release(struct fake_identity *identity)
{
        EVP_PKEY_free(identity->key);
        X509_free(identity->certificate);
        free(identity->key_pem);
        free(identity->certificate_pem);
}

/* ---- the server ---- */

struct fake_connection {
        int fd;
        SSL *tls;
        int number; /* of the connection, from 1 */
        struct fake_server *server;
};

struct fake_request {
        const char *method;
        const char *target; /* path and query */
        const char *head;   /* all header lines */
        struct view body;
        const char *server_name; /* what TLS asked for; "" */
};

enum fake_next {
        FAKE_KEEP,
        FAKE_CLOSE,
        FAKE_RESET,
};

typedef enum fake_next fake_handler(void *data, struct fake_connection *connection, const struct fake_request *request);

struct fake_server {
        int listener;
        uint16_t port;
        pthread_t thread;
        fake_handler *handle;
        void *data;
        SSL_CTX *tls;
        _Atomic int accepted, open, requests;
        _Atomic bool stopping;
        pthread_mutex_t lock;
        int fds[256]; /* under lock: of open connections */
};

static ssize_t fake_read(struct fake_connection *connection, char *space, size_t size)
{
        return connection->tls ? SSL_read(connection->tls, space, (int)size) : recv(connection->fd, space, size, 0);
}

static void fake_write(struct fake_connection *connection, struct view bytes)
{
        while (bytes.length) {
                ssize_t n = connection->tls ? SSL_write(connection->tls, bytes.data, (int)bytes.length)
                                            : send(connection->fd, bytes.data, bytes.length, MSG_NOSIGNAL);

                if (n <= 0)
                        return;
                bytes.data += n;
                bytes.length -= (size_t)n;
        }
}

/* "200 OK", headers (each with \r\n) or "", and a body. */
__attribute__((unused)) static enum fake_next fake_answer(struct fake_connection *connection, const char *status,
                                                          const char *headers, const char *body)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        buffer_printf(&text, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), body);
        fake_write(connection, buffer_view(&text));
        return FAKE_KEEP;
}

__attribute__((unused)) static enum fake_next fake_json(struct fake_connection *connection, const char *status, const char *body)
{
        return fake_answer(connection, status, "Content-Type: application/json\r\n", body);
}

/* The value of a request header into a new string; NULL. */
__attribute__((unused)) static char *fake_header(const struct fake_request *request, const char *name)
{
        size_t length = strlen(name);

        for (const char *line = request->head; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
                        struct view value = view_trim((struct view){ line + length + 1, strcspn(line + length + 1, "\r\n") });

                        return memory_string_n(value.data, value.length);
                }
        return NULL;
}

/* One request out of the buffer, which keeps what came behind it. False at the end of the connection. */
static bool fake_request_read(struct fake_connection *connection, struct buffer *input, size_t *ret_length,
                              struct fake_request *request)
{
        char space[16384];

        for (;;) {
                char *end = input->data ? strstr(input->data, "\r\n\r\n") : NULL;

                if (end) {
                        char *length = strcasestr(input->data, "content-length:");
                        size_t body = length && length < end ? (size_t)atol(length + 15) : 0;
                        size_t head = (size_t)(end - input->data) + 4;

                        if (input->length >= head + body) {
                                request->body = (struct view){ input->data + head, body };
                                end[2] = '\0';
                                *ret_length = head + body;
                                return true;
                        }
                }
                ssize_t n = fake_read(connection, space, sizeof(space));

                if (n <= 0)
                        return false;
                buffer_add(input, space, (size_t)n);
        }
}

static enum fake_next fake_serve(struct fake_connection *connection)
{
        cleanup(buffer_release) struct buffer input = BUFFER_NULL;
        enum fake_next next = FAKE_KEEP;

        while (next == FAKE_KEEP) {
                struct fake_request request = { .server_name = "" };
                char *method, *target, *rest = NULL;
                size_t length;

                if (!fake_request_read(connection, &input, &length, &request))
                        return FAKE_CLOSE;
                method = strtok_r(input.data, " ", &rest);
                target = strtok_r(NULL, " ", &rest);
                request.method = method;
                request.target = target;
                request.head = strchr(rest, '\n') + 1;
                if (connection->tls && SSL_get_servername(connection->tls, TLSEXT_NAMETYPE_host_name))
                        request.server_name = SSL_get_servername(connection->tls, TLSEXT_NAMETYPE_host_name);
                atomic_fetch_add(&connection->server->requests, 1);
                next = connection->server->handle(connection->server->data, connection, &request);
                memmove(input.data, input.data + length, input.length - length + 1);
                input.length -= length;
        }
        return next;
}

static void fake_fd_set(struct fake_server *server, int from, int to)
{
        pthread_mutex_lock(&server->lock);
        for (size_t i = 0; i < sizeof(server->fds) / sizeof(server->fds[0]); i++)
                if (server->fds[i] == from) {
                        server->fds[i] = to;
                        break;
                }
        pthread_mutex_unlock(&server->lock);
}

static void *fake_connection_run(void *argument)
{
        struct fake_connection *connection = argument;
        struct fake_server *server = connection->server;
        enum fake_next next = FAKE_CLOSE;

        if (server->tls) {
                connection->tls = SSL_new(server->tls);
                SSL_set_fd(connection->tls, connection->fd);
        }
        if (!connection->tls || SSL_accept(connection->tls) == 1)
                next = fake_serve(connection);
        if (next == FAKE_RESET)
                setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        else if (connection->tls)
                SSL_shutdown(connection->tls);
        SSL_free(connection->tls);
        fake_fd_set(server, connection->fd, -1);
        close(connection->fd);
        free(connection);
        atomic_fetch_sub(&server->open, 1);
        return NULL;
}

static void *fake_accept(void *argument)
{
        struct fake_server *server = argument;
        int fd;

        while ((fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 && !atomic_load(&server->stopping)) {
                struct fake_connection *connection = memory_zero(1, sizeof(*connection));
                pthread_t thread;

                connection->fd = fd;
                connection->server = server;
                connection->number = atomic_fetch_add(&server->accepted, 1) + 1;
                atomic_fetch_add(&server->open, 1);
                fake_fd_set(server, -1, fd);
                pthread_create(&thread, NULL, fake_connection_run, connection);
                pthread_detach(thread);
        }
        if (fd >= 0)
                close(fd);
        return NULL;
}

/* `identity` NULL: plain. `client_ca` not NULL: clients must have a certificate of it. */
__attribute__((unused)) static struct fake_server *
fake_start(const struct fake_identity *identity, const struct fake_identity *client_ca, fake_handler *handle, void *data)
{
        struct fake_server *server = memory_zero(1, sizeof(*server));
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof(address);

        signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
        server->handle = handle;
        server->data = data;
        pthread_mutex_init(&server->lock, NULL);
        memset(server->fds, 0xff, sizeof(server->fds));
        if (identity) {
                server->tls = SSL_CTX_new(TLS_server_method());
                SSL_CTX_use_certificate(server->tls, identity->certificate);
                SSL_CTX_use_PrivateKey(server->tls, identity->key);
                if (client_ca) {
                        X509_STORE_add_cert(SSL_CTX_get_cert_store(server->tls), client_ca->certificate);
                        SSL_CTX_set_verify(server->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
                }
        }
        server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(server->listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(server->listener, 64) < 0)
                abort();
        getsockname(server->listener, (struct sockaddr *)&address, &length);
        server->port = ntohs(address.sin_port);
        pthread_create(&server->thread, NULL, fake_accept, server);
        return server;
}

/* Ends all connections. */
__attribute__((unused)) static void fake_hang_up(struct fake_server *server)
{
        pthread_mutex_lock(&server->lock);
        for (size_t i = 0; i < sizeof(server->fds) / sizeof(server->fds[0]); i++)
                if (server->fds[i] >= 0)
                        shutdown(server->fds[i], SHUT_RDWR);
        pthread_mutex_unlock(&server->lock);
}

__attribute__((unused)) static void fake_stop(struct fake_server **server)
{
        if (!*server)
                return;
        atomic_store(&(*server)->stopping, true);
        shutdown((*server)->listener, SHUT_RDWR);
        pthread_join((*server)->thread, NULL);
        close((*server)->listener);
        fake_hang_up(*server);
        while (atomic_load(&(*server)->open) > 0)
                usleep(1000);
        SSL_CTX_free((*server)->tls);
        pthread_mutex_destroy(&(*server)->lock);
        free(*server);
        *server = NULL;
}

/* Waits until `condition` holds, for at most 20 s. */
#define WAIT_UNTIL(condition)                                                                                                      \
        do {                                                                                                                       \
                for (int turns_ = 0; !(condition) && turns_ < 20000; turns_++)                                                     \
                        usleep(1000);                                                                                              \
                assert_true(condition);                                                                                            \
        } while (0)
