#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "net/http_private.h"

#define IDLE "HTTP2_READ_IDLE_TIMEOUT_SECONDS"
#define PING "HTTP2_PING_TIMEOUT_SECONDS"

static struct io *io;

static int start_io(void **state)
{
        struct error err = ERROR_NULL;

        (void)state;
        unsetenv("http_proxy"), unsetenv("HTTP_PROXY");
        setenv(IDLE, "1", 1);
        setenv(PING, "1", 1);
        return io_start(&io, &err);
}

static int stop_io(void **state)
{
        (void)state;
        io_stop(&io);
        return 0;
}

enum deed {
        LISTEN,
        CLOSE_AT_ONCE,
        CLOSE_IN_START,
        CLOSE_IN_BYTES,
        REOPEN_IN_END,
};

/* What a stream's owner hears; written on the io thread, read by the test once `ended` or the count it waits for is there. */
struct listener {
        enum deed deed;
        const char *url, *ping_url;
        struct http_stream *stream;
        struct buffer text;
        struct error error;
        _Atomic int started, pieces, ended, status;
};

static const struct http_stream_events events;

static void open_stream(void *argument)
{
        struct listener *l = argument;
        struct http_request request = { .url = l->url, .ping_url = l->ping_url };

        l->stream = http_stream_open(io, &request, &events, l);
        if (l->deed == CLOSE_AT_ONCE)
                http_stream_close(l->stream);
}

static void on_start(void *data, const struct http_response *head)
{
        struct listener *l = data;

        l->status = head->status;
        l->started++;
        if (l->deed == CLOSE_IN_START)
                http_stream_close(l->stream);
}

static void on_bytes(void *data, struct view bytes)
{
        struct listener *l = data;

        buffer_add_view(&l->text, bytes);
        l->pieces++;
        if (l->deed == CLOSE_IN_BYTES)
                http_stream_close(l->stream);
}

static void on_end(void *data, const struct http_response *response, const struct error *err)
{
        struct listener *l = data;

        if (response->status >= 300)
                buffer_add_view(&l->text, buffer_view(&response->body));
        if (err)
                error_set_reason(&l->error, err->kind, err->reason, "%s", err->message);
        if (l->deed == REOPEN_IN_END && l->ended == 0)
                open_stream(l);
        l->ended++;
}

static const struct http_stream_events events = { .start = on_start, .bytes = on_bytes, .end = on_end };

static void nothing(void *argument)
{
        (void)argument;
}

/* What the io thread did to a listener before this is seen after it. */
static void listener_settle(void)
{
        io_run_wait(io, nothing, NULL);
}

static void listener_release(struct listener *l)
{
        buffer_release(&l->text);
        error_release(&l->error);
}

static enum fake_next serve(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        char byte;

        (void)data;
        if (strcmp(request->target, "/ping") == 0)
                return fake_answer(connection, "200 OK", "", "");
        if (strcmp(request->target, "/refused") == 0)
                return fake_answer(connection, "410 Gone", "", "too old");
        if (strcmp(request->target, "/reset") == 0)
                return FAKE_RESET;
        fake_write(connection, VIEW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"));
        if (strcmp(request->target, "/whole") == 0) {
                fake_write(connection, VIEW("3\r\ntwo\r\n0\r\n\r\n"));
                return FAKE_KEEP;
        }
        if (strcmp(request->target, "/cut") == 0)
                return FAKE_CLOSE;
        fake_read(connection, &byte, 1); /* silence */
        return FAKE_CLOSE;
}

static void streams_end_as_they_must(void **state)
{
        static const struct {
                const char *path;
                enum deed deed;
                int started, ended, status;
                const char *text;
                enum error_kind kind;
                const char *reason;
        } cases[] = {
                { "/whole", LISTEN, 1, 1, 200, "onetwo", ERROR_NONE, "" },
                { "/cut", LISTEN, 1, 1, 200, "one", ERROR_UNAVAILABLE, "" },
                { "/refused", LISTEN, 1, 1, 410, "too old", ERROR_NONE, "" },
                { "/reset", LISTEN, 0, 1, 0, "", ERROR_UNAVAILABLE, HTTP_LOST },
                { "/whole", CLOSE_AT_ONCE, 0, 0, 0, "", ERROR_NONE, "" },
                { "/silent", CLOSE_IN_START, 1, 0, 200, "", ERROR_NONE, "" },
                { "/silent", CLOSE_IN_BYTES, 1, 0, 200, "one", ERROR_NONE, "" },
                { "/whole", REOPEN_IN_END, 2, 2, 200, "onetwoonetwo", ERROR_NONE, "" },
        };
        struct fake_server *server = fake_start(NULL, NULL, serve, NULL);

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *url = memory_printf("http://127.0.0.1:%u%s", server->port, cases[i].path);
                cleanup(listener_release) struct listener l = { .deed = cases[i].deed, .url = url };
                int open = server->open;

                io_run_wait(io, open_stream, &l);
                WAIT_UNTIL(l.ended == cases[i].ended && l.started == cases[i].started);
                if (cases[i].deed == CLOSE_IN_BYTES)
                        WAIT_UNTIL(l.pieces == 1);
                if (cases[i].deed == CLOSE_IN_START || cases[i].deed == CLOSE_IN_BYTES)
                        WAIT_UNTIL(server->open <= open); /* it is off the wire */
                listener_settle();
                assert_int_equal(l.status, cases[i].status);
                assert_string_equal(buffer_string(&l.text), cases[i].text);
                assert_int_equal(l.error.kind, cases[i].kind);
                assert_string_equal(l.error.reason, cases[i].reason);
        }
        fake_stop(&server);
}

static void a_silent_connection_is_given_up(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, serve, NULL);
        cleanup(free_string) char *url = memory_printf("http://127.0.0.1:%u/silent", server->port);
        cleanup(free_string) char *ping = memory_printf("http://127.0.0.1:%u/ping", server->port);
        cleanup(listener_release) struct listener l = { .url = url, .ping_url = ping };
        int64_t start = clock_now_ms();

        (void)state;
        io_run_wait(io, open_stream, &l);
        WAIT_UNTIL(l.ended == 1);
        listener_settle();
        assert_int_equal(l.error.kind, ERROR_UNAVAILABLE);
        assert_true(clock_now_ms() - start >= 1900); /* a second of silence, a second for the ping */
        assert_true(clock_now_ms() - start < 15000);
        fake_stop(&server);
}

struct patience {
        struct io *io;
        int64_t idle_ms, ping_ms;
};

static void ask_patience(void *argument)
{
        struct patience *patience = argument;
        const struct http_engine *engine = http_engine_of(patience->io);

        patience->idle_ms = engine->idle_ms;
        patience->ping_ms = engine->ping_ms;
}

/* The API server's bookmarks come every minute: less than 90 seconds would ask for nothing, and more would be blind for longer. */
static void patience_is_a_minute_and_a_half(void **state)
{
        static const struct {
                const char *idle, *ping;
                int64_t idle_ms, ping_ms;
        } cases[] = {
                { NULL, NULL, 90000, 15000 }, { "", "soon", 90000, 15000 }, { "0", "0", 90000, 15000 }, { "30", "5", 30000, 5000 }
        };
        cleanup(free_string) char *idle = memory_string(getenv(IDLE)), *ping = memory_string(getenv(PING));

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                struct patience patience = { NULL };

                cases[i].idle ? setenv(IDLE, cases[i].idle, 1) : unsetenv(IDLE);
                cases[i].ping ? setenv(PING, cases[i].ping, 1) : unsetenv(PING);
                assert_int_equal(io_start(&patience.io, &err), 0);
                io_run_wait(patience.io, ask_patience, &patience);
                io_stop(&patience.io);
                assert_int_equal(patience.idle_ms, cases[i].idle_ms);
                assert_int_equal(patience.ping_ms, cases[i].ping_ms);
        }
        setenv(IDLE, idle, 1);
        setenv(PING, ping, 1);
}

static void what_runs_when_the_io_thread_stops_is_told(void **state)
{
        struct fake_server *server = fake_start(NULL, NULL, serve, NULL);
        cleanup(free_string) char *url = memory_printf("http://127.0.0.1:%u/silent", server->port);
        cleanup(listener_release) struct listener l = { .url = url };
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        io_run_wait(io, open_stream, &l);
        WAIT_UNTIL(l.started == 1);
        io_stop(&io);
        assert_int_equal(l.ended, 1);
        assert_int_equal(l.error.kind, ERROR_CANCELLED);
        assert_int_equal(io_start(&io, &err), 0);
        fake_stop(&server);
}

/* ---- the loop itself ---- */

static void note(void *argument)
{
        buffer_add_char(argument, 'x');
}

struct timed {
        struct io_timer timer;
        struct buffer *text;
        char name;
};

static void fire(void *argument)
{
        struct timed *timed = argument;

        buffer_add_char(timed->text, timed->name);
}

static struct timed timers[5];

static void set_timers(void *argument)
{
        static const int64_t after[5] = { 40, 10, 30, 20, 25 };
        int64_t now = clock_now_ms();

        for (size_t i = 0; i < COUNT(timers); i++) {
                timers[i] = (struct timed){ .timer = { .fn = fire, .argument = &timers[i] },
                                            .text = argument,
                                            .name = (char)('a' + i) };
                io_timer_set(io, &timers[i].timer, now + after[i]);
        }
        io_timer_cancel(io, &timers[2].timer);
        io_timer_set(io, &timers[1].timer, now + 35); /* moved */
        assert_false(io_timer_pending(&timers[2].timer));
        assert_true(io_timer_pending(&timers[1].timer));
}

static bool timers_done(void)
{
        return !io_timer_pending(&timers[0].timer) && !io_timer_pending(&timers[1].timer);
}

static void ask_timers(void *argument)
{
        *(bool *)argument = timers_done();
}

static void timers_fire_in_order(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        bool done = false;

        (void)state;
        io_run_wait(io, note, &text);
        io_run(io, note, &text);
        io_run_wait(io, set_timers, &text);
        for (int turns = 0; !done && turns < 10000; turns++) {
                usleep(1000);
                io_run_wait(io, ask_timers, &done);
        }
        assert_string_equal(buffer_string(&text), "xxdeba");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(timers_fire_in_order),
                cmocka_unit_test(streams_end_as_they_must),
                cmocka_unit_test(a_silent_connection_is_given_up),
                cmocka_unit_test(patience_is_a_minute_and_a_half),
                cmocka_unit_test(what_runs_when_the_io_thread_stops_is_told),
        };

        return cmocka_run_group_tests(tests, start_io, stop_io);
}
