#include "net/server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS    256u
#define SPARE          64u /* those that were told to go, and have not yet gone */
#define IDLE_TIMEOUT_S 30u
/* Of a connection: what a request's line and headers may take, and the buffer an answer is sent from. */
#define CONNECTION_BYTES (32u * 1024)
#define STACK_BYTES      (256u * 1024)
#define BACKLOG          128

/* A connection. All are the daemon's thread's. */
struct peer {
        struct peer *older, *newer;
        int socket;
        bool busy; /* a request is under way */
        bool told; /* to go */
};

struct server {
        struct MHD_Daemon *daemon;
        struct peer *oldest, *newest;
        unsigned peers, peer_limit; /* those told to go do not count */
        int socket;
        uint16_t port;
        const struct server_route *routes;
        unsigned route_count;
        size_t body_limit;
        pthread_mutex_t lock;
        pthread_cond_t idle;
        unsigned active; /* requests between their headers and the end of their answer */
};

/* Of one request, while it comes in. */
struct exchange {
        struct buffer body;
        bool too_large;
};

/* An empty value is a value; the library gives NULL for it. */
static const char *lookup(const struct server_request *request, enum MHD_ValueKind kind, const char *name)
{
        const char *value = NULL;
        size_t length;

        if (MHD_lookup_connection_value_n(request->connection, kind, name, strlen(name), &value, &length) != MHD_YES)
                return NULL;
        return value ? value : "";
}

const char *server_header(const struct server_request *request, const char *name)
{
        return lookup(request, MHD_HEADER_KIND, name);
}

const char *server_query(const struct server_request *request, const char *name)
{
        return lookup(request, MHD_GET_ARGUMENT_KIND, name);
}

void server_response_header(struct server_response *response, const char *name, const char *format, ...)
{
        va_list arguments;

        if (response->header_count == SERVER_HEADER_LIMIT)
                return;
        snprintf(response->headers[response->header_count].name, sizeof(response->headers[0].name), "%s", name);
        va_start(arguments, format);
        vsnprintf(response->headers[response->header_count].value, sizeof(response->headers[0].value), format, arguments);
        va_end(arguments);
        response->header_count++;
}

void server_response_text(struct server_response *response, int status, const char *text)
{
        response->status = status;
        snprintf(response->content_type, sizeof(response->content_type), "text/plain; charset=utf-8");
        server_response_header(response, "X-Content-Type-Options", "nosniff");
        buffer_clear(&response->body);
        buffer_add_string(&response->body, text);
        buffer_add_char(&response->body, '\n');
}

static const struct server_route *route_of(const struct server *server, const char *path)
{
        const struct server_route *best = NULL;
        size_t best_length = 0;

        for (unsigned i = 0; i < server->route_count; i++) {
                const char *prefix = server->routes[i].path;
                size_t length = strlen(prefix);
                bool below = length && prefix[length - 1] == '/' && strncmp(path, prefix, length) == 0;

                if ((below || strcmp(path, prefix) == 0) && length > best_length) {
                        best = &server->routes[i];
                        best_length = length;
                }
        }
        return best;
}

static enum MHD_Result answer(struct MHD_Connection *connection, struct server_response *response)
{
        struct MHD_Response *queued;
        enum MHD_Result r;

        if (response->file >= 0) {
                queued = MHD_create_response_from_fd_at_offset64(response->file_length, response->file, response->file_offset);
                if (!queued)
                        close(response->file);
                buffer_release(&response->body);
        } else {
                size_t length = response->body.length;

                queued = MHD_create_response_from_buffer(length, buffer_steal(&response->body), MHD_RESPMEM_MUST_FREE);
        }
        if (!queued)
                return MHD_NO;
        if (response->content_type[0])
                MHD_add_response_header(queued, MHD_HTTP_HEADER_CONTENT_TYPE, response->content_type);
        for (unsigned i = 0; i < response->header_count; i++)
                MHD_add_response_header(queued, response->headers[i].name, response->headers[i].value);
        r = MHD_queue_response(connection, (unsigned)response->status, queued);
        MHD_destroy_response(queued);
        return r;
}

static const char *peer_of(struct MHD_Connection *connection, char text[INET6_ADDRSTRLEN])
{
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

        text[0] = '\0';
        if (info && info->client_addr &&
            getnameinfo(info->client_addr,
                        info->client_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6), text,
                        INET6_ADDRSTRLEN, NULL, 0, NI_NUMERICHOST) != 0)
                text[0] = '\0';
        return strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text;
}

static enum MHD_Result handle(struct server *server, struct MHD_Connection *connection, const char *url, const char *method,
                              const struct exchange *exchange)
{
        const struct server_route *route = route_of(server, url);
        struct server_response response = { .status = MHD_HTTP_OK, .body = BUFFER_NULL, .file = -1 };
        char peer[INET6_ADDRSTRLEN];
        struct server_request request = { .method = method,
                                          .path = url,
                                          .body = buffer_view(&exchange->body),
                                          .peer = peer_of(connection, peer),
                                          .connection = connection };

        if (exchange->too_large)
                server_response_text(&response, MHD_HTTP_CONTENT_TOO_LARGE, "request body too large");
        else if (!route)
                server_response_text(&response, MHD_HTTP_NOT_FOUND, "404 page not found");
        else
                route->handle(route->data, &request, &response);
        return answer(connection, &response);
}

/* ---- connections ---- */

/* Who has no request under way goes first, the oldest of them; if all have, the oldest. */
static void make_room(struct server *server)
{
        struct peer *victim = NULL;

        for (struct peer *peer = server->oldest; peer; peer = peer->newer) {
                if (peer->told || (victim && peer->busy))
                        continue;
                victim = peer;
                if (!peer->busy)
                        break;
        }
        if (!victim)
                return;
        victim->told = true;
        server->peers--;
        shutdown(victim->socket, SHUT_RDWR); /* its end is what the library sees next */
}

static void add_peer(struct server *server, struct MHD_Connection *connection, void **context)
{
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct peer *peer = memory_zero(1, sizeof(*peer));

        if (server->peers >= server->peer_limit)
                make_room(server);
        peer->socket = info ? info->connect_fd : -1;
        peer->older = server->newest;
        *(server->newest ? &server->newest->newer : &server->oldest) = peer;
        server->newest = peer;
        server->peers++;
        *context = peer;
}

static void remove_peer(struct server *server, struct peer *peer)
{
        *(peer->older ? &peer->older->newer : &server->oldest) = peer->newer;
        *(peer->newer ? &peer->newer->older : &server->newest) = peer->older;
        server->peers -= !peer->told;
        free(peer);
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
        if (code == MHD_CONNECTION_NOTIFY_STARTED)
                add_peer(data, connection, context);
        else if (*context)
                remove_peer(data, *context);
}

static void set_busy(struct MHD_Connection *connection, bool busy)
{
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct peer *peer = info ? info->socket_context : NULL;

        if (peer)
                peer->busy = busy;
}

/* ---- requests ---- */

/* Called for the headers, for each piece of the body, and at the end. */
static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_length, void **state)
{
        struct server *server = data;
        struct exchange *exchange = *state;
        struct view piece = { upload, *upload_length };

        (void)version;
        if (!exchange) {
                *state = memory_zero(1, sizeof(*exchange));
                set_busy(connection, true);
                pthread_mutex_lock(&server->lock);
                server->active++;
                pthread_mutex_unlock(&server->lock);
                return MHD_YES;
        }
        if (!piece.length)
                return handle(server, connection, url, method, exchange);
        /* What is over the limit is read and dropped, so that the client gets to read its answer. */
        if (piece.length > server->body_limit - exchange->body.length)
                exchange->too_large = true;
        else if (!exchange->too_large)
                buffer_add_view(&exchange->body, piece);
        *upload_length = 0;
        return MHD_YES;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
        struct server *server = data;
        struct exchange *exchange = *state;

        (void)code;
        if (!exchange)
                return;
        set_busy(connection, false);
        buffer_release(&exchange->body);
        free(exchange);
        *state = NULL;
        pthread_mutex_lock(&server->lock);
        if (--server->active == 0)
                pthread_cond_signal(&server->idle);
        pthread_mutex_unlock(&server->lock);
}

/* A text with a NUL would end there for us, and mean something else to who sent it: it stays as it came, and names nothing. */
static size_t unescape(void *data, struct MHD_Connection *connection, char *text)
{
        (void)data;
        (void)connection;
        return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static int listen_on(const struct addrinfo *address, struct error *err)
{
        cleanup(close_descriptor) int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int on = 1, off = 0;

        if (fd < 0)
                return error_set_errno(err, errno, "socket");
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address->ai_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (bind(fd, address->ai_addr, address->ai_addrlen) < 0)
                return error_set_errno(err, errno, "bind");
        if (listen(fd, BACKLOG) < 0)
                return error_set_errno(err, errno, "listen");
        return steal_descriptor(&fd);
}

/* ":80" is every address, of both kinds where the machine has both. */
static int open_socket(const char *address, int *ret_socket, struct error *err)
{
        const char *colon = strrchr(address, ':');
        const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
        struct addrinfo *found = NULL;
        char host[256];
        size_t length = colon ? (size_t)(colon - address) : 0;
        const char *start = address;
        int fd = -1, r;

        if (!colon || length >= sizeof(host))
                return error_set(err, ERROR_INVALID, "listen on '%s': not an address like ':8080' or '127.0.0.1:8080'", address);
        if (length >= 2 && start[0] == '[' && start[length - 1] == ']') {
                start++;
                length -= 2;
        }
        memcpy(host, start, length);
        host[length] = '\0';
        r = getaddrinfo(length ? host : NULL, colon + 1, &hints, &found);
        if (r != 0)
                return error_set(err, ERROR_INVALID, "listen on '%s': %s", address, gai_strerror(r));
        for (int family = 0; family < 2 && fd < 0; family++)
                for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
                        if (a->ai_family == (family == 0 ? AF_INET6 : AF_INET))
                                fd = listen_on(a, err);
        freeaddrinfo(found);
        if (fd < 0)
                return error_wrap(err, "listen on %s", address);
        error_release(err); /* of an address that was tried before */
        *ret_socket = fd;
        return 0;
}

static uint16_t port_of(int socket)
{
        struct sockaddr_in6 address = { 0 }; /* one of IPv4 has its port in the same place */
        socklen_t length = sizeof(address);

        return getsockname(socket, (struct sockaddr *)&address, &length) < 0 ? 0 : ntohs(address.sin6_port);
}

int server_start(const struct server_options *options, struct server **ret_server, struct error *err)
{
        struct server *server;
        pthread_condattr_t monotonic;
        int socket;

        TRY(open_socket(options->address, &socket, err));
        server = memory_zero(1, sizeof(*server));
        server->socket = socket;
        server->port = port_of(socket);
        server->routes = options->routes;
        server->route_count = options->route_count;
        server->body_limit = options->body_limit;
        server->peer_limit = options->connection_limit ? options->connection_limit : CONNECTIONS;
        pthread_mutex_init(&server->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&server->idle, &monotonic);
        pthread_condattr_destroy(&monotonic);
        errno = 0;
        server->daemon = MHD_start_daemon(
                MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, socket,
                MHD_OPTION_CONNECTION_LIMIT, server->peer_limit + SPARE, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
                MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_s ? options->idle_timeout_s : IDLE_TIMEOUT_S,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
                MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
        if (!server->daemon) {
                int cause = errno ? errno : EAGAIN;

                close(socket);
                server_free(&server);
                return error_set_errno(err, cause, "listen on %s: start the server's thread", options->address);
        }
        *ret_server = server;
        return 0;
}

uint16_t server_port(const struct server *server)
{
        return server->port;
}

static void wait_idle(struct server *server, int64_t drain_ms)
{
        const struct timespec until = clock_timespec(clock_now_ms() + drain_ms);

        pthread_mutex_lock(&server->lock);
        while (server->active && pthread_cond_timedwait(&server->idle, &server->lock, &until) == 0)
                ;
        pthread_mutex_unlock(&server->lock);
}

void server_stop(struct server **server, int64_t drain_ms)
{
        struct server *s = *server;

        if (!s)
                return;
        if (s->daemon) {
                int socket = MHD_quiesce_daemon(s->daemon);

                /* Refuses from now on; closed only when the daemon's thread, which may still look at it, has ended. */
                if (socket >= 0)
                        shutdown(socket, SHUT_RDWR);
                wait_idle(s, drain_ms);
                MHD_stop_daemon(s->daemon);
                if (socket >= 0)
                        close(socket);
        }
        pthread_cond_destroy(&s->idle);
        pthread_mutex_destroy(&s->lock);
        free(s);
        *server = NULL;
}

void server_free(struct server **server)
{
        server_stop(server, 0);
}
