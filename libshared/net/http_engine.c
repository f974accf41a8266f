#include "base/clock.h"
#include "base/memory.h"
#include "net/curl_memory.h"
#include "net/http_private.h"
#include "net/io_private.h"

#include <errno.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Idle connections kept by a lane. */
#define IDLE_CONNECTIONS 8L

CURL *http_easy_get(struct http_engine *engine)
{
        CURL *easy = engine->pooled ? engine->pool[--engine->pooled] : curl_easy_init();

        if (!easy)
                memory_exhausted();
        return easy;
}

void http_easy_put(struct http_engine *engine, CURL *easy)
{
        if (engine->pooled == sizeof(engine->pool) / sizeof(engine->pool[0])) {
                curl_easy_cleanup(easy);
                return;
        }
        curl_easy_reset(easy);
        engine->pool[engine->pooled++] = easy;
}

/* What curl has finished. `end` may start and remove transfers: nothing of curl's is on the stack here. */
static void finish(struct http_lane_state *lane)
{
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(lane->multi, &left))) {
                struct http_transfer *transfer = NULL;
                CURLcode result = message->data.result;

                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
                http_transfer_finish(transfer, result);
        }
}

static void act(struct http_lane_state *lane, curl_socket_t fd, int events)
{
        int running;

        curl_multi_socket_action(lane->multi, fd, events, &running);
        finish(lane);
}

static void timer_fired(void *argument)
{
        act(argument, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_wanted(CURLM *multi, long timeout_ms, void *argument)
{
        struct http_lane_state *lane = argument;

        (void)multi;
        if (timeout_ms < 0)
                io_timer_cancel(lane->engine->io, &lane->timer);
        else
                io_timer_set(lane->engine->io, &lane->timer, clock_now_ms() + timeout_ms);
        return 0;
}

/* The kernel's own name of a socket, which no other one ever has; 0: it is none. */
static uint64_t cookie_of(int fd)
{
        uint64_t cookie = 0;
        socklen_t length = sizeof(cookie);

        return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

/* curl says that it closes a connection; the socket of one that did not come about it closes without a word. */
static bool is_closed(const struct http_socket *socket)
{
        return socket->connection && cookie_of(socket->descriptor.fd) != socket->cookie;
}

static void leave_loop(struct http_socket *socket)
{
        struct io *io = socket->lane->engine->io;

        if (is_closed(socket))
                io_descriptor_closed(io, &socket->descriptor);
        else
                io_descriptor_remove(io, &socket->descriptor);
        socket->waits_for = 0;
}

static void socket_ready(void *argument, uint32_t events)
{
        struct http_socket *socket = argument;
        int mask = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0);

        if (events & (EPOLLERR | EPOLLHUP))
                mask |= CURL_CSELECT_IN | CURL_CSELECT_ERR;
        if (events & EPOLLIN)
                socket->read_ms = clock_now_ms();
        if (!socket->wanted) {
                /* An idle connection says something, most often that it ends: curl looks when it wants to use it. */
                leave_loop(socket);
                return;
        }
        act(socket->lane, socket->descriptor.fd, mask);
}

static struct http_socket *socket_find(struct http_engine *engine, curl_socket_t fd)
{
        struct http_socket *socket = engine->sockets;

        while (socket && socket->descriptor.fd != fd)
                socket = socket->next;
        return socket;
}

static uint16_t port_of(int fd)
{
        struct sockaddr_storage address = { 0 };
        socklen_t length = sizeof(address);

        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return 0;
        if (address.ss_family == AF_INET)
                return ntohs(((struct sockaddr_in *)&address)->sin_port);
        return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port) : 0;
}

/* curl also reads when one of its timers fires: what came in then no event has told of. The local port says which connection it was. */
void http_socket_heard(struct http_transfer *transfer)
{
        long port = 0;

        curl_easy_getinfo(transfer->easy, CURLINFO_LOCAL_PORT, &port);
        for (struct http_socket *socket = transfer->engine->sockets; socket; socket = socket->next) {
                if (!socket->connection || socket->lane != transfer->lane)
                        continue;
                if (!socket->port)
                        socket->port = port_of(socket->descriptor.fd);
                if (socket->port == port)
                        socket->read_ms = clock_now_ms();
        }
}

static struct http_socket *socket_add(struct http_lane_state *lane, curl_socket_t fd)
{
        struct http_engine *engine = lane->engine;
        struct http_socket *socket = memory_zero(1, sizeof(*socket));

        socket->lane = lane;
        socket->descriptor = (struct io_descriptor){ .fd = fd, .fn = socket_ready, .argument = socket };
        socket->read_ms = clock_now_ms();
        socket->link = &engine->sockets;
        socket->next = engine->sockets;
        if (socket->next)
                socket->next->link = &socket->next;
        engine->sockets = socket;
        return socket;
}

/* The one that `link` points at. */
static void socket_forget(struct http_socket **link)
{
        struct http_socket *socket = *link;

        leave_loop(socket);
        http_settings_release(&socket->settings);
        *link = socket->next;
        if (*link)
                (*link)->link = link;
        free(socket);
}

/* What curl closed without a word, and has no use for any more. */
static void forget_closed(struct http_engine *engine)
{
        struct http_socket **link = &engine->sockets;

        while (*link)
                if (!(*link)->wanted && is_closed(*link))
                        socket_forget(link);
                else
                        link = &(*link)->next;
}

static int wait_for(struct http_socket *socket, uint32_t events)
{
        struct io *io = socket->lane->engine->io;
        struct error err = ERROR_NULL;

        if (socket->waits_for == events)
                return 0;
        if (io_descriptor_set(io, &socket->descriptor, events, &err) < 0) {
                error_release(&err);
                return -1;
        }
        socket->waits_for = events;
        return 0;
}

/* A new socket has the number of one that was closed without a word. curl may still know that number, and not ask again for what it has asked for. */
static void socket_reopened(struct http_socket *socket, struct http_lane_state *lane)
{
        uint32_t events = socket->wanted && socket->lane == lane ? socket->waits_for : 0;

        io_descriptor_closed(lane->engine->io, &socket->descriptor);
        http_settings_release(&socket->settings);
        socket->lane = lane;
        socket->wanted = events != 0;
        socket->waits_for = 0;
        socket->port = 0;
        socket->read_ms = clock_now_ms();
        socket->pinged_ms = 0;
        wait_for(socket, events);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *argument, void *assigned)
{
        struct http_lane_state *lane = argument;
        struct http_socket *socket = assigned ? assigned : socket_find(lane->engine, fd);
        uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

        (void)easy;
        if (socket && socket->lane != lane) /* another lane has the number now */
                socket = NULL;
        if (what == CURL_POLL_REMOVE) {
                /* Between two requests a connection stays in the loop: most often the next one wants the same of it. */
                if (socket && socket->connection)
                        socket->wanted = false;
                else if (socket)
                        socket_forget(socket->link);
                return 0;
        }
        if (!socket)
                socket = socket_add(lane, fd);
        if (assigned != socket)
                curl_multi_assign(lane->multi, fd, socket);
        socket->wanted = true;
        return wait_for(socket, events);
}

static void option(int fd, int level, int name, int value)
{
        setsockopt(fd, level, name, &value, sizeof(value)); /* where the system has it not, the pings find out */
}

curl_socket_t http_socket_open(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
        struct http_transfer *transfer = argument;
        struct http_socket *record;
        int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

        (void)purpose;
        if (fd < 0)
                return CURL_SOCKET_BAD;
        if (address->family == AF_INET || address->family == AF_INET6) {
                option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
                option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
                option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
                option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
                option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 45000);
        }
        forget_closed(transfer->engine);
        record = socket_find(transfer->engine, fd);
        if (record)
                socket_reopened(record, transfer->lane);
        else
                record = socket_add(transfer->lane, fd);
        record->connection = true;
        record->cookie = cookie_of(fd);
        record->settings = http_settings_ref(transfer->settings);
        return fd;
}

int http_socket_close(void *argument, curl_socket_t fd)
{
        struct http_engine *engine = argument;
        struct http_socket *socket = socket_find(engine, fd);

        if (socket)
                socket_forget(socket->link);
        return close(fd);
}

void http_sockets_close_silent(struct http_lane_state *lane, const struct http_settings *settings, int64_t since_ms)
{
        forget_closed(lane->engine);
        for (struct http_socket *socket = lane->engine->sockets; socket; socket = socket->next)
                if (socket->connection && socket->lane == lane && socket->settings == settings && socket->read_ms < since_ms)
                        shutdown(socket->descriptor.fd, SHUT_RDWR);
}

/* What is idle and silent since then, in all lanes: a peer that does not answer on one connection is not there for the others. */
static void close_idle(struct http_engine *engine, const struct http_settings *settings, int64_t since_ms)
{
        for (struct http_socket *socket = engine->sockets; socket; socket = socket->next)
                if (socket->connection && !socket->wanted && socket->settings == settings && socket->read_ms < since_ms)
                        shutdown(socket->descriptor.fd, SHUT_RDWR);
}

static void ping_end(struct http_transfer *ping, struct error *err)
{
        (void)err; /* what counts is that something came in */
        http_transfer_release(ping);
        free(ping);
}

/*
 * A HEAD beside the streams: over HTTP/2 it goes on their connection. It carries what the stream carries: an API server ends a connection on
 * which it was asked something without credentials.
 */
static void ping(struct http_engine *engine, const struct http_transfer *stream)
{
        struct http_transfer *ping = memory_zero(1, sizeof(*ping));
        struct http_request request = {
                .method = "HEAD",
                .url = stream->ping_url,
                .settings = stream->settings,
                .timeout_ms = engine->ping_ms,
                .first_byte_ms = engine->ping_ms,
        };
        struct error err = ERROR_NULL;

        if (http_transfer_prepare(engine, ping, &request, &err) < 0) {
                error_release(&err);
                free(ping);
                return;
        }
        for (const struct curl_slist *header = stream->headers; header; header = header->next)
                ping->headers = curl_slist_append(ping->headers, header->data);
        ping->collects = true;
        ping->end = ping_end;
        http_transfer_start(ping, (unsigned)(stream->lane - engine->lanes));
}

static bool has_streams(const struct http_lane_state *lane)
{
        return lane >= &lane->engine->lanes[LANE_STREAMS];
}

/* One of those that share the connection. */
static const struct http_transfer *stream_on(const struct http_socket *socket)
{
        for (const struct http_transfer *transfer = socket->lane->engine->transfers; transfer; transfer = transfer->next)
                if (transfer->lane == socket->lane && transfer->settings == socket->settings && transfer->ping_url)
                        return transfer;
        return NULL;
}

/*
 * Nothing may have come in for a while because there is nothing to say, because the way is cut, or because the server hangs. A ping tells: if it
 * brings no byte on that very connection, the connection is shut down, curl ends its streams, and whoever needs them opens them anew.
 * Over HTTP/1.1 no ping can reach the connection of a watch; there the silence alone decides.
 */
static void liveness_check(void *argument)
{
        struct http_engine *engine = argument;
        int64_t now = clock_now_ms(), next = CLOCK_NEVER;

        forget_closed(engine);
        for (struct http_socket *socket = engine->sockets; socket; socket = socket->next) {
                const struct http_transfer *stream;
                int64_t due;

                if (!socket->connection || !has_streams(socket->lane))
                        continue;
                stream = stream_on(socket);
                if (!stream)
                        continue;
                if (socket->pinged_ms && socket->read_ms >= socket->pinged_ms)
                        socket->pinged_ms = 0;
                if (!socket->pinged_ms && now - socket->read_ms >= engine->idle_ms) {
                        socket->pinged_ms = now;
                        ping(engine, stream);
                }
                due = socket->pinged_ms ? socket->pinged_ms + engine->ping_ms : socket->read_ms + engine->idle_ms;
                if (socket->pinged_ms && now >= due) {
                        shutdown(socket->descriptor.fd, SHUT_RDWR);
                        close_idle(engine, socket->settings, socket->pinged_ms);
                        socket->read_ms = now; /* curl closes it soon */
                        socket->pinged_ms = 0;
                        due = now + engine->idle_ms;
                }
                if (due < next)
                        next = due;
        }
        if (next != CLOCK_NEVER)
                io_timer_set(engine->io, &engine->liveness, next);
}

void http_lane_run(struct http_lane_state *lane)
{
        if (io_timer_pending(&lane->timer) && lane->timer.at_ms <= clock_now_ms()) {
                io_timer_cancel(lane->engine->io, &lane->timer);
                act(lane, CURL_SOCKET_TIMEOUT, 0);
        }
}

CURLMcode http_lane_add(struct http_transfer *transfer)
{
        struct http_lane_state *lane = transfer->lane;
        struct http_engine *engine = lane->engine;

        if (!lane->multi) {
                lane->multi = curl_multi_init();
                if (!lane->multi)
                        memory_exhausted();
                curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
                curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
                curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
                curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
                curl_multi_setopt(lane->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
                curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
        }
        /* In time for the connection that it may open. */
        if (has_streams(lane) && !io_timer_pending(&engine->liveness))
                io_timer_set(engine->io, &engine->liveness, clock_now_ms() + engine->idle_ms);
        return curl_multi_add_handle(lane->multi, transfer->easy);
}

struct closing {
        struct io *io;
        struct http_settings *settings;
};

static void connections_close(void *argument)
{
        struct closing *closing = argument;
        struct http_engine *engine = io_attached(closing->io);

        for (unsigned i = 0; engine && i < LANE_COUNT; i++)
                http_sockets_close_silent(&engine->lanes[i], closing->settings, CLOCK_NEVER);
        http_settings_release(&closing->settings);
        free(closing);
}

void http_settings_close_connections(struct io *io, struct http_settings *settings)
{
        struct closing *closing = memory_zero(1, sizeof(*closing));

        closing->io = io;
        closing->settings = http_settings_ref(settings);
        io_run(io, connections_close, closing);
}

static void kicked(void *argument)
{
        http_streams_kick(argument);
}

static void engine_stop(void *argument)
{
        struct http_engine *engine = argument;

        http_streams_kick(engine);
        while (engine->transfers) {
                struct http_transfer *transfer = engine->transfers;
                struct error err = ERROR_NULL;

                http_transfer_remove(transfer);
                error_set(&err, ERROR_CANCELLED, "%s: context canceled", transfer->origin);
                transfer->end(transfer, &err);
                error_release(&err);
                http_streams_kick(engine);
        }
        for (unsigned i = 0; i < LANE_COUNT; i++)
                if (engine->lanes[i].multi)
                        curl_multi_cleanup(engine->lanes[i].multi);
        while (engine->pooled)
                curl_easy_cleanup(engine->pool[--engine->pooled]);
        while (engine->sockets)
                socket_forget(&engine->sockets);
        io_timer_cancel(engine->io, &engine->liveness);
        io_timer_cancel(engine->io, &engine->kick);
        for (unsigned i = 0; i < LANE_COUNT; i++)
                io_timer_cancel(engine->io, &engine->lanes[i].timer);
        io_attach(engine->io, NULL, NULL);
        free(engine);
}

static int64_t seconds_of(const char *variable, int64_t initial)
{
        uint64_t seconds;

        if (view_to_uint64(view_of(getenv(variable)), &seconds) < 0 || seconds == 0 || seconds > 86400)
                return initial * 1000;
        return (int64_t)seconds * 1000;
}

struct http_engine *http_engine_of(struct io *io)
{
        struct http_engine *engine = io_attached(io);

        if (engine)
                return engine;
        engine = memory_zero(1, sizeof(*engine));
        engine->io = io;
        engine->kick = (struct io_timer){ .fn = kicked, .argument = engine };
        engine->liveness = (struct io_timer){ .fn = liveness_check, .argument = engine };
        engine->idle_ms = seconds_of("HTTP2_READ_IDLE_TIMEOUT_SECONDS", 90);
        engine->ping_ms = seconds_of("HTTP2_PING_TIMEOUT_SECONDS", 15);
        for (unsigned i = 0; i < LANE_COUNT; i++) {
                engine->lanes[i].engine = engine;
                engine->lanes[i].timer = (struct io_timer){ .fn = timer_fired, .argument = &engine->lanes[i] };
        }
        curl_memory_init();
        io_attach(io, engine, engine_stop);
        return engine;
}
