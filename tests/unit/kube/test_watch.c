/*
 * The state machine of a watch in a world of its own: the test answers its requests and turns its clock.
 */
#include "../test.h"

#include "base/clock.h"
#include "kube/watch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
        struct watch *watch;
        struct cache *cache;
        int64_t now, timer;
        struct buffer requests; /* "WATCH rv=5 initial; LIST rv=0 limit=500; " since the last look */
        struct buffer events;   /* "+a@1! -a@1 " since the last look */
        struct buffer failures;
        const struct kube_stream_events *stream_events;
        void *stream_data;
        bool open;
        int restored, recovered;
};

static struct kube_stream *world_open(void *data, const struct kube_request *request, const struct kube_stream_events *events,
                                      void *events_data)
{
        struct world *world = data;

        assert_false(world->open);
        buffer_add_string(&world->requests, request->verb == KUBE_LIST ? "LIST" : "WATCH");
        if (request->resource_version)
                buffer_printf(&world->requests, " rv=%s", request->resource_version);
        if (request->send_initial_events) {
                assert_string_equal(request->resource_version_match, "NotOlderThan");
                buffer_add_string(&world->requests, " initial");
        }
        if (request->limit)
                buffer_printf(&world->requests, " limit=%u", request->limit);
        if (request->continue_token)
                buffer_printf(&world->requests, " continue=%s", request->continue_token);
        if (request->label_selector)
                buffer_printf(&world->requests, " labels=%s", request->label_selector);
        if (request->metadata_only)
                buffer_add_string(&world->requests, " metadata");
        buffer_add_string(&world->requests, "; ");
        assert_true(request->verb == KUBE_LIST || (request->watch_seconds >= 300 && request->watch_seconds < 600));
        world->stream_events = events;
        world->stream_data = events_data;
        world->open = true;
        return (struct kube_stream *)world;
}

static void world_close(void *data, struct kube_stream *stream)
{
        struct world *world = data;

        assert_ptr_equal(stream, world);
        assert_true(world->open);
        world->open = false;
}

static void world_timer(void *data, struct watch *watch, int64_t at_ms)
{
        (void)watch;
        ((struct world *)data)->timer = at_ms;
}

static int64_t world_now(void *data)
{
        return ((struct world *)data)->now;
}

static double world_random(void *data)
{
        (void)data;
        return 0;
}

static const struct watch_ops world_ops = { world_open, world_close, world_timer, world_now, world_random };

static void note_event(void *data, const struct cache_event *event)
{
        struct world *world = data;
        const struct cache_object *any = event->new ? event->new : event->old;

        buffer_printf(&world->events, "%s%s@%s%s ",
                      !event->old   ? "+"
                      : !event->new ? "-"
                                    : "~",
                      any->name, any->resource_version, event->initial ? "!" : "");
}

static void note_failure(void *data, struct watch *watch, const struct error *error)
{
        struct world *world = data;

        (void)watch;
        buffer_printf(&world->failures, "%s; ", error_message(error));
}

static void note_restored(void *data, struct watch *watch)
{
        (void)watch;
        ((struct world *)data)->restored++;
}

static void note_recovered(void *data, struct watch *watch)
{
        (void)watch;
        ((struct world *)data)->recovered++;
}

static const struct kube_resource resource = { "g", "v1", "K", "ks", "g/v1", true };

/* A world of its own API server, which therefore has not been asked anything yet. */
static struct world *world_begin_with(const char *server, const char *labels, bool metadata_only, bool optional)
{
        struct world *world = calloc(1, sizeof(*world));

        world->now = 1000000;
        world->timer = CLOCK_NEVER;
        world->cache = cache_new(CACHE_OBJECTS);
        cache_add_handler(world->cache, note_event, world);
        world->watch = watch_new(&(struct watch_options){ .resource = &resource,
                                                          .label_selector = labels,
                                                          .metadata_only = metadata_only,
                                                          .optional = optional,
                                                          .cache = world->cache,
                                                          .failed = note_failure,
                                                          .restored = note_restored,
                                                          .recovered = note_recovered,
                                                          .data = world },
                                 server, &world_ops, world);
        watch_begin(world->watch);
        return world;
}

static struct world *world_begin_as(const char *server, const char *labels, bool metadata_only)
{
        return world_begin_with(server, labels, metadata_only, false);
}

static struct world *world_begin(void)
{
        static int servers;
        char server[32];

        snprintf(server, sizeof(server), "https://%d", servers++);
        return world_begin_as(server, NULL, false);
}

static void world_end(struct world *world)
{
        watch_end(world->watch);
        assert_false(world->open);
        watch_free(world->watch);
        cache_free(&world->cache);
        buffer_release(&world->requests);
        buffer_release(&world->events);
        buffer_release(&world->failures);
        free(world);
}

static void feed(struct world *world, const char *text)
{
        assert_true(world->open);
        world->stream_events->bytes(world->stream_data, view_of(text));
}

/* The server ends its answer; status 0: properly. */
static void end(struct world *world, int status, const char *reason)
{
        struct error error = ERROR_NULL;

        assert_true(world->open);
        world->open = false;
        if (status)
                error_set_reason(&error,
                                 status == 404                      ? ERROR_NOT_FOUND
                                 : status == 403                    ? ERROR_FORBIDDEN
                                 : status == 422                    ? ERROR_INVALID
                                 : status == 504                    ? ERROR_TIMEOUT
                                 : status >= 429                    ? ERROR_UNAVAILABLE
                                 : status == 1 /* the connection */ ? ERROR_UNAVAILABLE
                                                                    : ERROR_INTERNAL,
                                 reason, "status %d", status);
        error.http_status = status > 1 ? status : 0;
        world->stream_events->end(world->stream_data, status ? &error : NULL);
        error_release(&error);
}

/* Until the timer fires; how long that took. */
static int64_t turn(struct world *world)
{
        int64_t waited = world->timer - world->now;

        assert_true(world->timer != CLOCK_NEVER);
        world->now = world->timer;
        world->timer = CLOCK_NEVER;
        watch_tick(world->watch);
        return waited;
}

static void expect(struct buffer *seen, const char *text)
{
        assert_string_equal(buffer_string(seen), text);
        buffer_clear(seen);
}

#define OBJECT(name, version)      "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT(name, version) "}\n"
#define BOOKMARK(version)          "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"
#define LISTED(version)                                                                                                            \
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version                                          \
        "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define GONE                                                                                                                       \
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Expired\",\"code\":410,"          \
        "\"message\":\"too old\"}}\n"
#define LIST(version, more, items)                                                                                                 \
        "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" more "\"},\"items\":[" items "]}"

static bool has_error(const struct world *world)
{
        struct buffer text = BUFFER_NULL;
        bool any;

        watch_last_error(world->watch, &text);
        any = text.length > 0;
        buffer_release(&text);
        return any;
}

static void synced(struct world *world)
{
        feed(world, EVENT("ADDED", "a", "11") EVENT("ADDED", "b", "7") LISTED("20"));
        assert_true(watch_synced(world->watch));
        buffer_clear(&world->requests);
        buffer_clear(&world->events);
}

static void a_streamed_list_then_events(void **state)
{
        struct world *world = world_begin_as("https://streams", "x=y", true);

        (void)state;
        expect(&world->requests, "WATCH initial labels=x=y metadata; ");
        feed(world, EVENT("ADDED", "a", "11") EVENT("ADDED", "b", "7"));
        assert_false(watch_synced(world->watch));
        feed(world, LISTED("20"));
        assert_true(watch_synced(world->watch));
        expect(&world->events, "+a@11! +b@7! ");
        feed(world, EVENT("MODIFIED", "a", "21") EVENT("ADDED", "c", "22") EVENT("DELETED", "b", "23"));
        expect(&world->events, "~a@21 +c@22 -b@7 ");
        expect(&world->requests, "");
        expect(&world->failures, "");
        world_end(world);
}

static void the_end_of_a_watch_resumes_from_the_last_bookmark(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        feed(world, EVENT("MODIFIED", "a", "30") BOOKMARK("55"));
        world->now += 5000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=55; ");
        expect(&world->failures, "");
        world_end(world);
}

static void an_expired_version_starts_over(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        feed(world, GONE);
        assert_false(world->open);
        assert_int_equal(turn(world), 800);
        expect(&world->requests, "WATCH initial; ");
        feed(world, EVENT("ADDED", "a", "11") EVENT("ADDED", "c", "60"));
        assert_true(watch_synced(world->watch));
        expect(&world->events, "");
        feed(world, LISTED("70"));
        expect(&world->events, "+c@60! -b@7 ");
        world_end(world);
}

static void a_server_without_streamed_lists_is_asked_once(void **state)
{
        struct world *world = world_begin_as("https://old", NULL, false), *other;

        (void)state;
        end(world, 422, "Invalid");
        expect(&world->requests, "WATCH initial; LIST rv=0 limit=500; ");
        feed(world, LIST("40", "", OBJECT("a", "1") "," OBJECT("b", "2")));
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=40; ");
        expect(&world->events, "+a@1! +b@2! ");
        assert_true(watch_synced(world->watch));
        {
                const struct cache_object *object = cache_get(world->cache, "", "a");

                assert_true(view_starts(object->text, VIEW("{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\"")));
                cache_object_release(&object);
        }
        other = world_begin_as("https://old", NULL, false);
        expect(&other->requests, "LIST rv=0 limit=500; ");
        world_end(other);
        world_end(world);
}

static void lists_come_in_pages(void **state)
{
        struct world *world = world_begin_as("https://old", NULL, false);

        (void)state;
        feed(world, LIST("40", "two", OBJECT("a", "1")));
        end(world, 0, "");
        expect(&world->requests, "LIST rv=0 limit=500; LIST limit=500 continue=two; ");
        feed(world, LIST("41", "three", OBJECT("b", "2")));
        end(world, 0, "");
        expect(&world->requests, "LIST limit=500 continue=three; ");
        assert_false(watch_synced(world->watch));
        feed(world, LIST("42", "", OBJECT("c", "3")));
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=40; ");
        expect(&world->events, "+a@1! +b@2! +c@3! ");
        world_end(world);
}

/* What a list does not show is taken for deleted, and the version that it shows comes first: half an answer must not count. */
static void a_list_that_breaks_off_deletes_nothing(void **state)
{
        static const char *const pages[] = {
                "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"50\"},\"items\":[" OBJECT("a", "1"),
                "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"50\"},\"items\":[" OBJECT("a", "1") ",{\"metadata\":",
                "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"50\"},\"items\":[" OBJECT("a", "1") "]",
                "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"50\"}}",
                "{\"kind\":\"KList\",\"metadata\":{\"resourceVersion\":\"50\"},",
                LIST("50", "", OBJECT("a", "1") ",{\"metadata\":{\"name\":\"b\"}}"),
        };

        (void)state;
        for (size_t i = 0; i < COUNT(pages); i++) {
                struct world *world = world_begin_as("https://old", NULL, false);

                feed(world, LIST("40", "", OBJECT("a", "1") "," OBJECT("b", "2")));
                end(world, 0, "");
                feed(world, GONE);
                turn(world);
                buffer_clear(&world->events);
                buffer_clear(&world->failures);
                feed(world, pages[i]);
                end(world, 0, "");
                expect(&world->events, "");
                assert_int_equal(cache_count(world->cache), 2);
                assert_true(has_error(world));
                turn(world);
                feed(world, "{\"metadata\":{\"resourceVersion\":\"51\"},\"items\":null}");
                end(world, 0, "");
                assert_int_equal(cache_count(world->cache), 0);
                world_end(world);
        }
}

static void a_page_that_expired_makes_one_full_list(void **state)
{
        struct world *world = world_begin_as("https://old", NULL, false);

        (void)state;
        feed(world, LIST("40", "two", OBJECT("a", "1")));
        end(world, 0, "");
        buffer_clear(&world->requests);
        end(world, 410, "Expired");
        expect(&world->requests, "LIST rv=0; ");
        feed(world, LIST("50", "", OBJECT("a", "1") "," OBJECT("b", "2")));
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=50; ");
        expect(&world->events, "+a@1! +b@2! ");
        world_end(world);
}

static void a_list_of_a_lost_version_is_consistent(void **state)
{
        struct world *world = world_begin_as("https://old", NULL, false);

        (void)state;
        end(world, 410, "Expired");
        expect(&world->requests, "LIST rv=0 limit=500; LIST limit=500; ");
        end(world, 504, "ResourceVersionTooLarge");
        assert_int_equal(turn(world), 800);
        expect(&world->requests, "LIST rv=0 limit=500; ");
        world_end(world);
}

/* From "0" the first events are a list in any order: none of their versions is one to resume from. */
static void events_before_the_first_change_are_no_place_to_resume(void **state)
{
        struct world *world = world_begin_as("https://old", NULL, false);

        (void)state;
        feed(world, LIST("0", "", ""));
        end(world, 0, "");
        expect(&world->requests, "LIST rv=0 limit=500; WATCH rv=0; ");
        feed(world, EVENT("ADDED", "a", "90") EVENT("ADDED", "b", "3") EVENT("ADDED", "c", "50"));
        world->now += 5000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=0; ");
        feed(world, EVENT("ADDED", "a", "90") EVENT("MODIFIED", "b", "91") EVENT("ADDED", "d", "92"));
        world->now += 5000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=92; ");
        world_end(world);
}

static void failures_back_off_and_are_forgotten(void **state)
{
        static const int64_t delays[] = { 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000 };
        struct world *world = world_begin();

        (void)state;
        for (size_t i = 0; i < COUNT(delays); i++) {
                end(world, 400, "BadRequest");
                assert_int_equal(turn(world), delays[i]);
        }
        synced(world);
        world->now += 121000;
        end(world, 400, "BadRequest");
        assert_int_equal(turn(world), 800);
        world_end(world);
}

static void who_is_busy_is_asked_for_the_same_version(void **state)
{
        static const int statuses[] = { 429, 503 };

        (void)state;
        for (size_t i = 0; i < COUNT(statuses); i++) {
                struct world *world = world_begin();

                synced(world);
                world->now += 5000;
                end(world, statuses[i], "");
                expect(&world->requests, "");
                assert_true(has_error(world));
                turn(world);
                expect(&world->requests, "WATCH rv=20; ");
                assert_int_equal(world->recovered, 0);
                world->stream_events->start(world->stream_data);
                assert_false(has_error(world));
                assert_int_equal(world->recovered, 1);
                feed(world, BOOKMARK("21"));
                assert_int_equal(world->recovered, 1);
                world_end(world);
        }
}

/* Minutes of an outage are no reason to wait for minutes: who is away, starts, or has not read its roles yet is well from one moment to the next. */
static void an_outage_is_over_within_seconds(void **state)
{
        static const struct {
                int status;
                const char *reason;
                int64_t limit;
        } cases[] = {
                { 1, "", 2000 },
                { 429, "TooManyRequests", 4000 },
                { 500, "InternalError", 4000 },
                { 503, "ServiceUnavailable", 4000 },
                { 504, "Timeout", 4000 },
                { 403, "Forbidden", 4000 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct world *world = world_begin();
                int64_t last = 0;

                for (int tries = 0; tries < 60; tries++) {
                        end(world, cases[i].status, cases[i].reason);
                        last = turn(world);
                }
                assert_int_equal(last, cases[i].limit);
                world_end(world);
        }
}

/* A server comes back by stages: away, without its store, without its roles. The wait for one stage does not grow with those before. */
static void another_cause_begins_with_short_waits(void **state)
{
        struct world *world = world_begin_with("https://stages", NULL, false, true);

        (void)state;
        for (int i = 0; i < 60; i++) {
                end(world, 1, "");
                turn(world);
        }
        end(world, 503, "ServiceUnavailable");
        assert_int_equal(turn(world), 800);
        end(world, 403, "Forbidden");
        assert_int_equal(turn(world), 800);
        end(world, 410, "Expired");
        assert_int_equal(turn(world), 800);
        world_end(world);
}

/*
 * A watch from a version that is yet to come is answered, and says nothing until it came: not an event, not a bookmark. So a server that was away, and may
 * be back from a backup, is asked for the list.
 */
static void who_was_away_is_asked_for_the_list(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        world->now += 5000;
        end(world, 1, "");
        turn(world);
        expect(&world->requests, "WATCH rv=20 initial; ");
        end(world, 504, "ResourceVersionTooLarge");
        assert_int_equal(turn(world), 800);
        expect(&world->requests, "WATCH initial; ");
        assert_int_equal(world->restored, 0);
        feed(world, EVENT("ADDED", "a", "11") LISTED("15"));
        expect(&world->events, "-b@7 ");
        assert_int_equal(world->restored, 1);
        assert_int_equal(world->recovered, 1);
        /* It goes on from there. */
        feed(world, EVENT("MODIFIED", "a", "16"));
        world->now += 5000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=16; ");
        world_end(world);
}

static void a_bookmark_that_goes_back_starts_over(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        feed(world, BOOKMARK("30") BOOKMARK("30"));
        assert_true(world->open);
        feed(world, BOOKMARK("15"));
        assert_int_equal(turn(world), 800);
        expect(&world->requests, "WATCH initial; ");
        feed(world, EVENT("ADDED", "a", "11") EVENT("ADDED", "b", "7") LISTED("15"));
        assert_int_equal(world->restored, 1);
        world_end(world);
}

/* The versions may have come as far as ours meanwhile: the objects have not. */
static void an_object_that_went_back_is_a_restored_store(void **state)
{
        static const bool metadata_only[] = { false, true };

        (void)state;
        for (size_t i = 0; i < COUNT(metadata_only); i++) {
                struct world *world = world_begin_as("https://caught-up", NULL, metadata_only[i]);

                synced(world);
                feed(world, EVENT("MODIFIED", "a", "30"));
                feed(world, GONE);
                turn(world);
                feed(world, EVENT("ADDED", "b", "7") LISTED("50"));
                assert_int_equal(world->restored, 0);
                feed(world, EVENT("ADDED", "a", "51"));
                feed(world, GONE);
                turn(world);
                feed(world, EVENT("ADDED", "a", "11") LISTED("60"));
                assert_int_equal(world->restored, 1);
                world_end(world);
        }
}

static void a_watch_that_says_nothing_is_not_resumed(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        world->now += 5000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=20; ");
        world->now += 400000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=20 initial; ");
        world_end(world);
}

/* One event of a server out of its mind must not be asked for over and over. */
static void a_version_that_is_none_is_forgotten(void **state)
{
        static const char *const servers[] = { "https://new", "https://old" }; /* with streamed lists and without */

        (void)state;
        for (size_t i = 0; i < COUNT(servers); i++) {
                struct world *world = world_begin_as(servers[i], NULL, false);

                if (i == 0)
                        feed(world, EVENT("ADDED", "a", "5") LISTED("20"));
                else
                        feed(world, LIST("20", "", OBJECT("a", "5")));
                if (i == 1)
                        end(world, 0, "");
                world->now += 5000;
                feed(world, EVENT("MODIFIED", "a", "none"));
                end(world, 0, "");
                buffer_clear(&world->requests);
                end(world, 422, "Invalid");
                turn(world);
                expect(&world->requests, i == 0 ? "WATCH initial; " : "LIST limit=500; ");
                world_end(world);
        }
}

/* A server that was away for a while comes back without its history: what it then has is not waited for as long as it was. */
static void a_version_too_old_is_not_one_failure_more(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        for (int i = 0; i < 10; i++) {
                end(world, 1, "");
                assert_in_range(turn(world), 800, 2000);
        }
        end(world, 410, "Expired");
        assert_int_equal(turn(world), 800);
        /* Only who calls every version too old is left alone for longer and longer. */
        for (int i = 0; i < 10; i++) {
                end(world, 410, "Expired");
                turn(world);
        }
        end(world, 410, "Expired");
        assert_int_equal(turn(world), 30000);
        world_end(world);
}

static void a_day_of_waiting_is_a_minute(void **state)
{
        struct error error = ERROR_NULL;
        struct world *world = world_begin();

        (void)state;
        synced(world);
        error_set(&error, ERROR_UNAVAILABLE, "busy");
        error.http_status = 429;
        error.retry_after_ms = INT64_C(86400000);
        world->open = false;
        world->stream_events->end(world->stream_data, &error);
        error_release(&error);
        assert_int_equal(turn(world), 60000);
        world_end(world);
}

static void a_watch_that_ends_at_once_lists_again(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        world->now += 5000;
        end(world, 0, "");
        expect(&world->requests, "WATCH rv=20; ");
        end(world, 0, "");
        expect(&world->requests, "");
        expect(&world->failures, "the server ended a watch at once; ");
        turn(world);
        expect(&world->requests, "WATCH rv=20 initial; ");
        end(world, 0, "");
        assert_true(has_error(world));
        world_end(world);
}

static void a_missing_kind_is_asked_for_every_ten_seconds(void **state)
{
        struct world *world = world_begin();
        int64_t last = 0;

        (void)state;
        for (int i = 0; i < 10; i++) {
                end(world, 404, "NotFound");
                last = turn(world);
        }
        assert_int_equal(last, 10000);
        /* Told every ten seconds, not at every try. */
        assert_true(buffer_view(&world->failures).length < 9 * strlen("status 404; "));
        feed(world, LISTED("5"));
        assert_true(watch_synced(world->watch));
        world_end(world);
}

/* What is forbidden and not needed fills no log and troubles no server; what is needed is asked for, and missed, again and again. */
static void what_is_forbidden_is_told_once_if_it_is_optional(void **state)
{
        (void)state;
        for (int optional = 0; optional < 2; optional++) {
                struct world *world = world_begin_with(optional ? "https://optional" : "https://needed", NULL, false, optional);
                int64_t last = 0;

                for (int i = 0; i < 20; i++) {
                        end(world, 403, "Forbidden");
                        last = turn(world);
                }
                assert_int_equal(last, optional ? 30000 : 4000);
                if (optional)
                        expect(&world->failures, "status 403; ");
                else
                        assert_true(buffer_view(&world->failures).length > 5 * strlen("status 403; "));
                /* Another trouble is told, and after a success the next one. */
                buffer_clear(&world->failures);
                end(world, 500, "InternalError");
                assert_true(turn(world) <= 30000);
                expect(&world->failures, "status 500; ");
                synced(world);
                buffer_clear(&world->failures);
                end(world, 403, "Forbidden");
                expect(&world->failures, "status 403; ");
                world_end(world);
        }
}

/*
 * What was listed once says nothing about now when the watch has lost its rights, its kind or its server. It comes back in seconds, also where a right that
 * never was there is hardly asked for.
 */
static void a_watch_that_fails_tells_nothing_of_now(void **state)
{
        static const int statuses[] = { 403, 404, 410, 500 };

        (void)state;
        for (size_t i = 0; i < COUNT(statuses); i++) {
                struct world *world = world_begin_with("https://lost", NULL, false, true);
                int64_t waited = 0;

                assert_false(watch_current(world->watch));
                synced(world);
                assert_true(watch_current(world->watch));
                for (int n = 0; n < 10; n++) {
                        end(world, statuses[i], "Lost");
                        assert_true(watch_synced(world->watch));
                        assert_false(watch_current(world->watch));
                        waited = turn(world);
                        assert_false(watch_current(world->watch));
                }
                assert_true(waited <= (statuses[i] < 410 ? 10000 : 30000));
                feed(world, EVENT("ADDED", "b", "30") LISTED("30"));
                assert_true(watch_current(world->watch));
                world_end(world);
        }
}

static void a_silent_watch_tells_nothing_of_now(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        world->now += WATCH_STALE_MS - 1;
        assert_true(watch_current(world->watch));
        world->now++;
        assert_false(watch_current(world->watch));
        feed(world, BOOKMARK("21"));
        assert_true(watch_current(world->watch));
        end(world, 0, NULL); /* properly: it is resumed at once */
        assert_true(watch_current(world->watch));
        world_end(world);
}

static void a_frame_that_is_too_long_restarts(void **state)
{
        struct world *world = world_begin();
        char *chunk = malloc(1 << 20);

        (void)state;
        synced(world);
        memset(chunk, 'x', 1 << 20);
        feed(world, "{\"type\":\"ADDED\",\"object\":{\"a\":\"");
        for (int i = 0; i < 17 && world->open; i++)
                world->stream_events->bytes(world->stream_data, (struct view){ chunk, 1 << 20 });
        free(chunk);
        assert_false(world->open);
        expect(&world->failures, "object to decode was longer than maximum allowed size; ");
        turn(world);
        expect(&world->requests, "WATCH rv=20 initial; ");
        world_end(world);
}

static void a_server_that_ignores_the_question_is_listed(void **state)
{
        struct world *world = world_begin();

        (void)state;
        expect(&world->requests, "WATCH initial; ");
        while (world->open && world->requests.length == 0)
                turn(world);
        expect(&world->requests, "LIST rv=0 limit=500; ");
        world_end(world);
}

static void a_watch_that_outlives_its_time_is_ended(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        assert_int_equal(turn(world), 330000);
        turn(world);
        expect(&world->requests, "WATCH rv=20; ");
        world_end(world);
}

static void a_list_that_breaks_off_leaves_what_was_there(void **state)
{
        struct world *world = world_begin();

        (void)state;
        synced(world);
        feed(world, GONE);
        turn(world);
        feed(world, EVENT("ADDED", "a", "80"));
        end(world, 1, "");
        expect(&world->events, "");
        assert_int_equal(cache_count(world->cache), 2);
        turn(world);
        feed(world, EVENT("ADDED", "c", "85") EVENT("ADDED", "a", "80"));
        expect(&world->events, "");
        feed(world, LISTED("90"));
        expect(&world->events, "+c@85! ~a@80 -b@7 ");
        world_end(world);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_streamed_list_then_events),
                cmocka_unit_test(the_end_of_a_watch_resumes_from_the_last_bookmark),
                cmocka_unit_test(an_expired_version_starts_over),
                cmocka_unit_test(a_server_without_streamed_lists_is_asked_once),
                cmocka_unit_test(lists_come_in_pages),
                cmocka_unit_test(a_list_that_breaks_off_deletes_nothing),
                cmocka_unit_test(a_page_that_expired_makes_one_full_list),
                cmocka_unit_test(a_list_of_a_lost_version_is_consistent),
                cmocka_unit_test(events_before_the_first_change_are_no_place_to_resume),
                cmocka_unit_test(failures_back_off_and_are_forgotten),
                cmocka_unit_test(who_is_busy_is_asked_for_the_same_version),
                cmocka_unit_test(an_outage_is_over_within_seconds),
                cmocka_unit_test(another_cause_begins_with_short_waits),
                cmocka_unit_test(who_was_away_is_asked_for_the_list),
                cmocka_unit_test(an_object_that_went_back_is_a_restored_store),
                cmocka_unit_test(a_bookmark_that_goes_back_starts_over),
                cmocka_unit_test(a_watch_that_says_nothing_is_not_resumed),
                cmocka_unit_test(a_version_that_is_none_is_forgotten),
                cmocka_unit_test(a_version_too_old_is_not_one_failure_more),
                cmocka_unit_test(a_day_of_waiting_is_a_minute),
                cmocka_unit_test(a_watch_that_ends_at_once_lists_again),
                cmocka_unit_test(a_missing_kind_is_asked_for_every_ten_seconds),
                cmocka_unit_test(what_is_forbidden_is_told_once_if_it_is_optional),
                cmocka_unit_test(a_watch_that_fails_tells_nothing_of_now),
                cmocka_unit_test(a_silent_watch_tells_nothing_of_now),
                cmocka_unit_test(a_frame_that_is_too_long_restarts),
                cmocka_unit_test(a_server_that_ignores_the_question_is_listed),
                cmocka_unit_test(a_watch_that_outlives_its_time_is_ended),
                cmocka_unit_test(a_list_that_breaks_off_leaves_what_was_there),
        };

        return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
