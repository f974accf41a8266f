/*
 * No fetch outlives its deadline: a peer for each phase of http and ssh that brings the conversation up to there and then says nothing more.
 */
#include "../base/job_test.h"

#include "net/git.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* libssh calls its plainest way to be a server old; which parts of it differs by version. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define TIMEOUT_MS 2000
/* Between the deadline and the end lies the job's grace of a second; the rest is for a machine that is busy. */
#define LIMIT_MS 20000
#define HEX      "0123456789012345678901234567890123456789"

/* A name server that does not answer, as libcurl sees it: the executable's function comes before the C library's. */
#define SILENT_NAME "silent.invalid"
__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                                                       struct addrinfo **result)
{
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

        while (name && strcmp(name, SILENT_NAME) == 0)
                pause();
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(name, service, hints, result);
}

/* Where an ssh server falls silent. */
enum phase { PHASE_NONE, PHASE_AUTHENTICATION, PHASE_CHANNEL, PHASE_EXEC, PHASE_LISTING, PHASE_PACK };

#define STEPS 3

struct talk {
        const char *name;
        const char *scheme;      /* of the URL */
        const char *proxy;       /* scheme of the proxy; NULL: none. It is the peer then */
        const char *host;        /* NULL: the peer */
        const char *says[STEPS]; /* one after each request; NULL: the end. "" waits for a request and says nothing */
        const char *says_client; /* NULL: context deadline exceeded */
        const char *endless;     /* said again and again after that, a byte at a time */
        bool not_accepted;
        bool ssh;
        enum phase phase;
};

#define LISTING                                                                                                                    \
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 178\r\n\r\n"              \
        "001e# service=git-upload-pack\n0000"                                                                                      \
        "0052" HEX " HEAD%shallow side-band-64k ofs-delta\n"                                                                       \
        "003a" HEX " refs/heads/m\n"                                                                                               \
        "0000"
#define ANSWER                                                                                                                     \
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\nContent-Length: 100000\r\n\r\n"                  \
        "0034shallow " HEX "0000"

static const struct talk talks[] = {
        { .name = "name server", .scheme = "http", .host = SILENT_NAME },
        { .name = "name server, ssh", .scheme = "ssh", .host = SILENT_NAME },
        { .name = "TCP connect", .scheme = "http", .not_accepted = true },
        { .name = "TCP connect, ssh", .scheme = "ssh", .not_accepted = true },
        { .name = "TLS handshake", .scheme = "https" },
        { .name = "TLS record", .scheme = "https", .says = { "\x16\x03\x03\x40" } },
        { .name = "status line", .scheme = "http", .says = { "" } },
        { .name = "half a status line", .scheme = "http", .says = { "HTTP/1.1 20" } },
        { .name = "100 Continue", .scheme = "http", .says = { "HTTP/1.1 100 Continue\r\n\r\n" } },
        { .name = "headers", .scheme = "http", .says = { "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-up" } },
        { .name = "headers without end", .scheme = "http", .says = { "HTTP/1.1 200 OK\r\n" }, .endless = "A: b\r\n" },
        { .name = "body",
          .scheme = "http",
          .says = { "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n001e# serv" } },
        { .name = "chunk",
          .scheme = "http",
          .says = { "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n5" } },
        { .name = "refusal",
          .scheme = "http",
          .says = { "HTTP/1.1 404 no\r\nContent-Length: 1000\r\n\r\nbecause" },
          .says_client = "repository not found: because" },
        { .name = "answer to the wants", .scheme = "http", .says = { LISTING, "" } },
        { .name = "pack", .scheme = "http", .says = { LISTING, ANSWER } },
        { .name = "CONNECT", .scheme = "https", .proxy = "http", .says = { "" } },
        { .name = "CONNECT's headers", .scheme = "https", .proxy = "http", .says = { "HTTP/1.1 200 OK\r\nVia: " } },
        { .name = "TLS after CONNECT", .scheme = "https", .proxy = "http", .says = { "HTTP/1.1 200 OK\r\n\r\n", "" } },
        { .name = "CONNECT's refusal",
          .scheme = "https",
          .proxy = "http",
          .says = { "HTTP/1.1 407 no\r\nContent-Length: 9\r\n\r\nbe" } },
        { .name = "plain proxy", .scheme = "http", .proxy = "http", .says = { "" } },
        { .name = "TLS of the proxy", .scheme = "https", .proxy = "https" },
        { .name = "socks5 greeting", .scheme = "http", .proxy = "socks5", .says = { "" } },
        { .name = "socks5 connect", .scheme = "http", .proxy = "socks5", .says = { "\x05%", "\x05" } },
        { .name = "CONNECT, ssh", .scheme = "ssh", .proxy = "http", .says = { "" } },
        { .name = "socks5 connect, ssh", .scheme = "ssh", .proxy = "socks5", .says = { "\x05%", "\x05" } },
        { .name = "ssh banner", .scheme = "ssh" },
        { .name = "half an ssh banner", .scheme = "ssh", .says = { "SSH-2.0-half" } },
        { .name = "ssh key exchange", .scheme = "ssh", .says = { "SSH-2.0-silent\r\n", "" } },
        { .name = "ssh authentication", .scheme = "ssh", .ssh = true, .phase = PHASE_AUTHENTICATION },
        { .name = "ssh channel", .scheme = "ssh", .ssh = true, .phase = PHASE_CHANNEL },
        { .name = "ssh exec", .scheme = "ssh", .ssh = true, .phase = PHASE_EXEC },
        { .name = "ssh listing", .scheme = "ssh", .ssh = true, .phase = PHASE_LISTING },
        { .name = "ssh pack", .scheme = "ssh", .ssh = true, .phase = PHASE_PACK },
};

struct peer {
        const struct talk *talk;
        int listener;
        uint16_t port;
        int full[8];  /* connections that nobody accepts */
        bool reached; /* the phase at which it is silent */
        pthread_t server, client;
        /* what came of the fetch */
        int result;
        int64_t elapsed_ms;
        struct error err;
};

static char directory[] = "/tmp/weir-deadline-XXXXXX";
static ssh_key host_key;
static char *host_public, identity[4096];

/* "%" is a NUL. */
static size_t unfold(const char *text, char bytes[1024])
{
        size_t length = strlen(text);

        for (size_t i = 0; i <= length; i++)
                bytes[i] = (char)(text[i] == '%' ? '\0' : text[i]);
        return length;
}

/* Until the other side is gone. */
static void be_silent(struct peer *peer, int fd)
{
        char bytes[4096];

        __atomic_store_n(&peer->reached, true, __ATOMIC_SEQ_CST);
        while (read(fd, bytes, sizeof(bytes)) > 0)
                ;
}

static void talk_bytes(struct peer *peer, int fd)
{
        const struct talk *talk = peer->talk;
        char bytes[4096];

        for (size_t i = 0; i < STEPS && talk->says[i]; i++) {
                size_t length;

                if (read(fd, bytes, sizeof(bytes)) <= 0)
                        return;
                length = unfold(talk->says[i], bytes);
                if (write(fd, bytes, length) != (ssize_t)length)
                        return;
        }
        for (size_t i = 0; talk->endless; i++) {
                __atomic_store_n(&peer->reached, true, __ATOMIC_SEQ_CST);
                usleep(20000);
                if (write(fd, &talk->endless[i % strlen(talk->endless)], 1) != 1)
                        return;
        }
        be_silent(peer, fd);
}

/* What a server does up to its phase. False at the end of the conversation. */
static bool ssh_step(ssh_session session, ssh_channel *channel, enum phase phase, bool *ret_there)
{
        static const char listing[] = "0052" HEX " HEAD\0shallow side-band-64k ofs-delta\n003a" HEX " refs/heads/m\n0000";
        ssh_message message = ssh_message_get(session);
        int type;

        if (!message)
                return false;
        type = ssh_message_type(message);
        *ret_there = (type == SSH_REQUEST_AUTH && phase == PHASE_AUTHENTICATION) ||
                     (type == SSH_REQUEST_CHANNEL_OPEN && phase == PHASE_CHANNEL) ||
                     (type == SSH_REQUEST_CHANNEL && phase == PHASE_EXEC);
        if (*ret_there)
                ;
        else if (type == SSH_REQUEST_AUTH)
                ssh_message_auth_reply_success(message, 0);
        else if (type == SSH_REQUEST_CHANNEL_OPEN)
                *channel = ssh_message_channel_request_open_reply_accept(message);
        else if (type == SSH_REQUEST_CHANNEL)
                ssh_message_channel_request_reply_success(message);
        else
                ssh_message_reply_default(message);
        if (!*ret_there && type == SSH_REQUEST_CHANNEL) {
                char bytes[512];

                *ret_there = true;
                if (phase == PHASE_PACK) {
                        ssh_channel_write(*channel, listing, sizeof(listing) - 1);
                        *ret_there = ssh_channel_read(*channel, bytes, sizeof(bytes), 0) > 0;
                        ssh_channel_write(*channel, "0034shallow " HEX, 52);
                }
        }
        ssh_message_free(message);
        return true;
}

static void talk_ssh(struct peer *peer, int fd)
{
        ssh_bind bind = ssh_bind_new();
        ssh_session session = ssh_new();
        ssh_channel channel = NULL;
        ssh_key key = ssh_key_dup(host_key);
        bool there = false, no = false;
        int own = dup(fd);

        ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
        ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, key);
        if (ssh_bind_accept_fd(bind, session, own) == SSH_OK && ssh_handle_key_exchange(session) == SSH_OK)
                while (!there && ssh_step(session, &channel, peer->talk->phase, &there))
                        ;
        if (there)
                be_silent(peer, fd);
        ssh_disconnect(session);
        ssh_free(session);
        ssh_bind_free(bind);
}

static void *serve(void *data)
{
        struct peer *peer = data;
        int fd = peer->talk->not_accepted || peer->talk->host ? -1 : accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
                return NULL;
        if (peer->talk->ssh)
                talk_ssh(peer, fd);
        else
                talk_bytes(peer, fd);
        close(fd);
        return NULL;
}

static void listen_on(struct peer *peer)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t length = sizeof(address);

        peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(peer->listener, peer->talk->not_accepted ? 0 : 8), 0);
        assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &length), 0);
        peer->port = ntohs(address.sin_port);
        /* A queue that is full: the kernel drops who comes next. */
        for (size_t i = 0; i < COUNT(peer->full); i++) {
                peer->full[i] = -1;
                if (!peer->talk->not_accepted)
                        continue;
                peer->full[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                assert_true(connect(peer->full[i], (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
                peer->reached = true;
        }
        peer->reached = peer->reached || peer->talk->host;
}

static void *fetch(void *data)
{
        struct peer *peer = data;
        const struct talk *talk = peer->talk;
        cleanup(buffer_release) struct buffer url = BUFFER_NULL, proxy = BUFFER_NULL, known = BUFFER_NULL, folder = BUFFER_NULL;
        struct arena *arena = arena_new();
        struct git_request request = { .timeout_ms = TIMEOUT_MS, .identity = view_of(identity) };
        struct git_result result;
        struct context ctx;
        int output = memfd_create("artifact", MFD_CLOEXEC);
        int64_t begun;

        buffer_printf(&url, "%s://%s:%u/x.git", talk->scheme, talk->host ? talk->host : "127.0.0.1", peer->port);
        buffer_printf(&known, "[127.0.0.1]:%u %s\n", peer->port, host_public);
        buffer_printf(&folder, "%s/%u", directory, peer->port);
        assert_int_equal(mkdir(buffer_string(&folder), 0700), 0);
        request.url = buffer_view(&url);
        request.known_hosts = buffer_view(&known);
        request.branch = VIEW("m");
        if (talk->proxy) {
                buffer_printf(&proxy, "%s://127.0.0.1:%u", talk->proxy, peer->port);
                request.proxy = buffer_view(&proxy);
        }
        context_open(&ctx, NULL, clock_now_ms() + 60000);
        begun = clock_now_ms();
        peer->result = git_fetch(&ctx, &request, buffer_string(&folder), output, arena, &result, &peer->err);
        peer->elapsed_ms = clock_now_ms() - begun;
        context_close(&ctx);
        arena_free(&arena);
        close(output);
        return NULL;
}

static void silence_ends_with_the_deadline(void **state)
{
        static struct peer peers[COUNT(talks)];
        int failed = 0;

        (void)state;
        for (size_t i = 0; i < COUNT(talks); i++) {
                peers[i].talk = &talks[i];
                listen_on(&peers[i]);
        }
        for (size_t i = 0; i < COUNT(talks); i++) {
                assert_int_equal(pthread_create(&peers[i].server, NULL, serve, &peers[i]), 0);
                assert_int_equal(pthread_create(&peers[i].client, NULL, fetch, &peers[i]), 0);
        }
        for (size_t i = 0; i < COUNT(talks); i++) {
                struct peer *peer = &peers[i];
                const char *expected = peer->talk->says_client;

                pthread_join(peer->client, NULL);
                shutdown(peer->listener, SHUT_RDWR);
                pthread_join(peer->server, NULL);
                if (peer->result != -1 || peer->err.kind != (expected ? ERROR_NOT_FOUND : ERROR_TIMEOUT) ||
                    peer->elapsed_ms < TIMEOUT_MS || peer->elapsed_ms > LIMIT_MS || !peer->reached ||
                    view_search(view_of(error_message(&peer->err)), view_of(expected ? expected : "context deadline exceeded"), 0) <
                            0) {
                        print_message("%s: %d, kind %d, %s, after %lld ms: %s\n", peer->talk->name, peer->result, peer->err.kind,
                                      peer->reached ? "reached" : "not reached", (long long)peer->elapsed_ms,
                                      error_message(&peer->err));
                        failed++;
                }
                error_release(&peer->err);
                close(peer->listener);
                for (size_t k = 0; k < COUNT(peer->full); k++)
                        if (peer->full[k] >= 0)
                                close(peer->full[k]);
        }
        assert_int_equal(failed, 0);
}

static int setup(void **state)
{
        char path[64];
        FILE *file;
        char *encoded = NULL;
        static char public[1024];

        (void)state;
        signal(SIGPIPE, SIG_IGN);
        snprintf(path, sizeof(path), "%s/identity", directory);
        ssh_init();
        if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &host_key) != SSH_OK ||
            ssh_pki_export_pubkey_base64(host_key, &encoded) != SSH_OK ||
            ssh_pki_export_privkey_file(host_key, NULL, NULL, NULL, path) != SSH_OK)
                return -1;
        snprintf(public, sizeof(public), "ssh-ed25519 %s", encoded);
        free(encoded);
        host_public = public;
        file = fopen(path, "re");
        if (!file || fread(identity, 1, sizeof(identity) - 1, file) == 0)
                return -1;
        fclose(file);
        return 0;
}

static int teardown(void **state)
{
        char command[64];

        (void)state;
        ssh_key_free(host_key);
        job_server_stop();
        snprintf(command, sizeof(command), "rm -rf %s", directory);
        return system(command);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(silence_ends_with_the_deadline) };
        cleanup(error_release) struct error err = ERROR_NULL;

        if (!kernel_has_filters())
                return 0;
        /* Before the server, so that the jobs know the name. */
        if (!mkdtemp(directory))
                return 1;
        if (job_server_start(git_prepare, &err) < 0) {
                fprintf(stderr, "%s\n", error_message(&err));
                return 1;
        }
        return cmocka_run_group_tests(tests, setup, teardown);
}
