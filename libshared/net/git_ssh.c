/*
 * SSH over libssh: one channel that runs git-upload-pack, used for the listing and for the fetch.
 *
 * libcurl opens the TCP connection (names, proxies, deadline) and hands the socket over. The server's key is checked against the known_hosts of the
 * request before anything is said to it. libssh and not libssh2: the one of Debian 12 cannot sign with RSA and SHA-2, which
 * servers have asked for since OpenSSH 8.8.
 */
#include "net/git_private.h"
#include "net/known_hosts.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <curl/curl.h>
#include <libssh/libssh.h>
#include <string.h>

/*
 * libssh's own lists, and at their end what Go's ssh offers last: there are servers of ten years ago that have nothing else. What this libssh does
 * not know it leaves out.
 */
static const char key_exchanges[] =
        "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,"
        "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
        "diffie-hellman-group18-sha512,diffie-hellman-group16-sha512,diffie-hellman-group-exchange-sha256,"
        "diffie-hellman-group14-sha256,diffie-hellman-group14-sha1";
static const char authentication_codes[] =
        "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1";

struct ssh {
        git_smart_subtransport parent;
        struct git_session *session;
        CURL *socket; /* keeps the connection open */
        ssh_session connection;
        ssh_channel channel;
        struct ssh_stream *stream;
};

struct ssh_stream {
        git_smart_subtransport_stream parent;
        struct buffer wants; /* the first thing that was said */
};

static int connect_socket(struct ssh *ssh, struct error *err)
{
        struct git_session *session = ssh->session;
        char problem[CURL_ERROR_SIZE] = "";
        bool ipv6 = strchr(session->url.host, ':') != NULL;
        const char *text;
        CURLcode code;
        int64_t left;

        if (view_starts(session->request->proxy, VIEW("https://")))
                return error_set(err, ERROR_UNSUPPORTED, "an https proxy cannot carry ssh: use an http or socks5 proxy");
        TRY(git_curl_connection(ssh->socket, session, err));
        curl_easy_setopt(ssh->socket, CURLOPT_URL,
                         arena_printf(session->arena, "http://%s%s%s:%u/", ipv6 ? "[" : "", session->url.host, ipv6 ? "]" : "",
                                      session->url.port));
        curl_easy_setopt(ssh->socket, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(ssh->socket, CURLOPT_HTTPPROXYTUNNEL, 1L);
        curl_easy_setopt(ssh->socket, CURLOPT_ERRORBUFFER, problem);
        code = curl_easy_perform(ssh->socket);
        curl_easy_setopt(ssh->socket, CURLOPT_ERRORBUFFER, NULL);
        if (code == CURLE_OK)
                return 0;
        if (code == CURLE_OPERATION_TIMEDOUT && (git_remaining(session, &left, err) < 0 || left < 100))
                return git_deadline_exceeded(err);
        text = git_curl_problem(ssh->socket, (int)code, problem, session);
        if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
            code == CURLE_PROXY)
                return error_set(err, ERROR_UNAVAILABLE, "%s", text);
        return error_set(err, ERROR_UNAVAILABLE, "dial tcp %s:%u: %s", session->url.host, session->url.port, text);
}

static int handshake_failed(struct ssh *ssh, struct error *err)
{
        int64_t left;

        TRY(git_remaining(ssh->session, &left, err));
        return error_set(err, ERROR_UNAVAILABLE, "ssh: handshake failed: %s:%u: %s", ssh->session->url.host, ssh->session->url.port,
                         ssh_get_error(ssh->connection));
}

static int set_algorithms(struct ssh *ssh, enum ssh_options_e option, const char *what, struct view list, struct error *err)
{
        if (list.length == 0)
                return 0;
        if (ssh_options_set(ssh->connection, option, arena_view(ssh->session->arena, list).data) < 0)
                return error_set(err, ERROR_INVALID, "ssh: handshake failed: no supported %s in '%.*s'", what, VIEW_ARGS(list));
        return 0;
}

static int set_options(struct ssh *ssh, struct error *err)
{
        struct git_session *session = ssh->session;
        const struct git_request *request = session->request;
        cleanup(buffer_release) struct buffer known = BUFFER_NULL;
        bool no = false;
        curl_socket_t fd = -1;
        unsigned port = session->url.port;
        int64_t left;
        long seconds;

        TRY(git_remaining(session, &left, err));
        seconds = (long)(left / 1000) + 1;
        curl_easy_getinfo(ssh->socket, CURLINFO_ACTIVESOCKET, &fd);
        /* libssh closes what it is given; the original stays libcurl's. */
        fd = dup(fd);
        if (fd < 0)
                return error_set(err, ERROR_INTERNAL, "the ssh connection was lost");
        ssh_options_set(ssh->connection, SSH_OPTIONS_PROCESS_CONFIG, &no);
        ssh_options_set(ssh->connection, SSH_OPTIONS_HOST, session->url.host);
        ssh_options_set(ssh->connection, SSH_OPTIONS_PORT, &port);
        ssh_options_set(ssh->connection, SSH_OPTIONS_USER, session->url.user && session->url.user[0] ? session->url.user : "git");
        ssh_options_set(ssh->connection, SSH_OPTIONS_SSH_DIR, "/nonexistent");
        ssh_options_set(ssh->connection, SSH_OPTIONS_KNOWNHOSTS, "/dev/null");
        ssh_options_set(ssh->connection, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
        ssh_options_set(ssh->connection, SSH_OPTIONS_TIMEOUT, &seconds);
        ssh_options_set(ssh->connection, SSH_OPTIONS_FD, &fd);
        ssh_options_set(ssh->connection, SSH_OPTIONS_KEY_EXCHANGE, key_exchanges);
        ssh_options_set(ssh->connection, SSH_OPTIONS_HMAC_C_S, authentication_codes);
        ssh_options_set(ssh->connection, SSH_OPTIONS_HMAC_S_C, authentication_codes);
        TRY(set_algorithms(ssh, SSH_OPTIONS_KEY_EXCHANGE, "key exchange algorithm", request->key_exchanges, err));
        if (request->host_algorithms.length > 0)
                return set_algorithms(ssh, SSH_OPTIONS_HOSTKEYS, "host key algorithm", request->host_algorithms, err);
        known_hosts_algorithms(request->known_hosts, session->url.host, port, &known);
        return set_algorithms(ssh, SSH_OPTIONS_HOSTKEYS, "host key algorithm of known_hosts", buffer_view(&known), err);
}

static void release_key(ssh_key *key)
{
        ssh_key_free(*key);
}

static int check_host(struct ssh *ssh, struct error *err)
{
        struct git_session *session = ssh->session;
        cleanup(release_key) ssh_key key = NULL;
        cleanup(buffer_release) struct buffer blob = BUFFER_NULL, name = BUFFER_NULL;
        cleanup(free_string) char *encoded = NULL;
        char fingerprint[KNOWN_HOSTS_FINGERPRINT];
        const char *verdict;
        struct view type;

        if (ssh_get_server_publickey(ssh->connection, &key) != SSH_OK || ssh_pki_export_pubkey_base64(key, &encoded) != SSH_OK ||
            buffer_add_base64_decoded(&blob, view_of(encoded)) < 0)
                return error_set(err, ERROR_UNAVAILABLE, "ssh: handshake failed: the server's host key cannot be read");

        switch (known_hosts_check(session->request->known_hosts, session->url.host, session->url.port, buffer_view(&blob))) {
        case KNOWN_HOST_MATCH:
                return 0;
        case KNOWN_HOST_UNKNOWN:
                verdict = "knownhosts: key is unknown";
                break;
        case KNOWN_HOST_MISMATCH:
                verdict = "knownhosts: key mismatch";
                break;
        case KNOWN_HOST_REVOKED:
                verdict = "knownhosts: key is revoked";
                break;
        case KNOWN_HOST_AUTHORITY:
        default:
                verdict = "knownhosts: only an @cert-authority line is for this host, and host certificates are not supported";
                break;
        }
        type = known_hosts_key_type(buffer_view(&blob));
        if (session->url.port == 22)
                buffer_add_string(&name, session->url.host);
        else
                buffer_printf(&name, "[%s]:%u", session->url.host, session->url.port);
        return error_set(err, ERROR_FORBIDDEN,
                         "ssh: handshake failed: %s: the server at %s:%u offered %.*s %s (known_hosts names this server '%s')",
                         verdict, session->url.host, session->url.port, VIEW_ARGS(type),
                         known_hosts_fingerprint(buffer_view(&blob), fingerprint), buffer_string(&name));
}

static int authenticate(struct ssh *ssh, struct error *err)
{
        int verdict = ssh_userauth_publickey(ssh->connection, NULL, ssh->session->identity);

        if (verdict == SSH_AUTH_SUCCESS)
                return 0;
        /* A server that went away, or says nothing, did not refuse the key. */
        if ((verdict != SSH_AUTH_DENIED && verdict != SSH_AUTH_PARTIAL) || !ssh_is_connected(ssh->connection))
                return handshake_failed(ssh, err);
        return error_set(err, ERROR_FORBIDDEN,
                         "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported "
                         "methods remain");
}

/* 'path' for the server's shell, as Git writes it: "/~user" loses its slash. */
static const char *command(struct ssh *ssh)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        const char *path = ssh->session->url.path;

        if (path[0] == '/' && path[1] == '~')
                path++;
        buffer_add_string(&text, "git-upload-pack '");
        for (; *path; path++) {
                if (*path == '\'' || *path == '!')
                        buffer_printf(&text, "'\\%c'", *path);
                else
                        buffer_add_char(&text, *path);
        }
        buffer_add_char(&text, '\'');
        return arena_view(ssh->session->arena, buffer_view(&text)).data;
}

static int open_channel(struct ssh *ssh, struct error *err)
{
        TRY(connect_socket(ssh, err));
        ssh->connection = ssh_new();
        if (!ssh->connection)
                return error_set(err, ERROR_INTERNAL, "libssh cannot be initialised");
        TRY(set_options(ssh, err));
        if (ssh_connect(ssh->connection) != SSH_OK)
                return handshake_failed(ssh, err);
        TRY(check_host(ssh, err));
        TRY(authenticate(ssh, err));
        ssh->channel = ssh_channel_new(ssh->connection);
        if (!ssh->channel || ssh_channel_open_session(ssh->channel) != SSH_OK ||
            ssh_channel_request_exec(ssh->channel, command(ssh)) != SSH_OK)
                return handshake_failed(ssh, err);
        return 0;
}

/* The server's program ended without a word of Git: what it wrote to its standard error says why. */
static int ended(struct ssh *ssh, struct error *err)
{
        char text[512];
        int length = ssh_channel_read_nonblocking(ssh->channel, text, sizeof(text), 1);
        struct view said = view_trim((struct view){ text, length > 0 ? (size_t)length : 0 });

        if (view_search(said, VIEW("not found"), 0) >= 0 ||
            view_search(said, VIEW("does not appear to be a git repository"), 0) >= 0 ||
            view_search(said, VIEW("does not exist"), 0) >= 0)
                return error_set(err, ERROR_NOT_FOUND, "repository not found: %.*s", VIEW_ARGS(said));
        return error_set(err, ERROR_UNAVAILABLE, "the Git server ended the connection%s%.*s", said.length > 0 ? ": " : "",
                         VIEW_ARGS(said));
}

static int on_read(git_smart_subtransport_stream *stream, char *data, size_t size, size_t *ret_length)
{
        struct ssh *ssh = (struct ssh *)stream->subtransport;
        struct error *err = &ssh->session->failure;
        int64_t left;
        int length;

        do {
                if (git_remaining(ssh->session, &left, err) < 0)
                        return -1;
                length = ssh_channel_read_timeout(ssh->channel, data, size > INT32_MAX ? INT32_MAX : (uint32_t)size, 0,
                                                  left > INT32_MAX ? INT32_MAX : (int)left);
        } while (length == SSH_AGAIN);
        /* A time that is over is SSH_AGAIN for libssh 0.11, and for 0.10 what the end is too. */
        if (length == 0 && git_remaining(ssh->session, &left, err) < 0)
                return -1;
        if (length == SSH_ERROR)
                return handshake_failed(ssh, err);
        if (length <= 0)
                return ended(ssh, err);
        git_packets_hear(&ssh->session->packets, ssh->session->arena, (struct view){ data, (size_t)length });
        *ret_length = (size_t)length;
        return 0;
}

/*
 * libgit2 1.8 repeats its wants after a depth was agreed on, as it must over HTTP. Over SSH the server has them and takes the second
 * list for a broken first one: what was said already is left out.
 */
static size_t already_said(struct ssh_stream *stream, struct view data)
{
        if (stream->wants.length == 0) {
                buffer_add_view(&stream->wants, data);
                return 0;
        }
        return view_starts(data, buffer_view(&stream->wants)) ? stream->wants.length : 0;
}

static int on_write(git_smart_subtransport_stream *stream, const char *data, size_t length)
{
        struct ssh *ssh = (struct ssh *)stream->subtransport;
        size_t said = already_said(ssh->stream, (struct view){ data, length });

        data += said;
        length -= said;
        while (length > 0) {
                int written = ssh_channel_write(ssh->channel, data, length > INT32_MAX ? INT32_MAX : (uint32_t)length);

                if (written <= 0)
                        return handshake_failed(ssh, &ssh->session->failure);
                data += written;
                length -= (size_t)written;
        }
        return 0;
}

static void on_free_stream(git_smart_subtransport_stream *stream)
{
        struct ssh *ssh = (struct ssh *)stream->subtransport;

        buffer_release(&ssh->stream->wants);
        free(steal(&ssh->stream));
}

static int on_action(git_smart_subtransport_stream **out, git_smart_subtransport *parent, const char *url,
                     git_smart_service_t service)
{
        struct ssh *ssh = (struct ssh *)parent;

        (void)url;
        if (service != GIT_SERVICE_UPLOADPACK_LS && service != GIT_SERVICE_UPLOADPACK)
                return error_set(&ssh->session->failure, ERROR_INTERNAL, "only fetching is supported");
        if (!ssh->channel && open_channel(ssh, &ssh->session->failure) < 0)
                return -1;
        if (!ssh->stream) {
                ssh->stream = memory_zero(1, sizeof(*ssh->stream));
                ssh->stream->parent.subtransport = parent;
                ssh->stream->parent.read = on_read;
                ssh->stream->parent.write = on_write;
                ssh->stream->parent.free = on_free_stream;
        }
        *out = &ssh->stream->parent;
        return 0;
}

static int on_close(git_smart_subtransport *parent)
{
        struct ssh *ssh = (struct ssh *)parent;

        if (ssh->channel)
                ssh_channel_free(ssh->channel);
        ssh->channel = NULL;
        if (ssh->connection) {
                ssh_disconnect(ssh->connection);
                ssh_free(ssh->connection);
        }
        ssh->connection = NULL;
        return 0;
}

static void on_free(git_smart_subtransport *parent)
{
        struct ssh *ssh = (struct ssh *)parent;

        on_close(parent);
        curl_easy_cleanup(ssh->socket);
        free(ssh);
}

int git_ssh_subtransport(git_smart_subtransport **out, git_transport *owner, void *session)
{
        struct ssh *ssh = memory_zero(1, sizeof(*ssh));

        (void)owner;
        ssh->parent.action = on_action;
        ssh->parent.close = on_close;
        ssh->parent.free = on_free;
        ssh->session = session;
        ssh->socket = curl_easy_init();
        if (!ssh->socket) {
                free(ssh);
                return error_set(&((struct git_session *)session)->failure, ERROR_INTERNAL, "libcurl cannot be initialised");
        }
        *out = &ssh->parent;
        return 0;
}
