/* How a watch outlives failures, silence and servers that forgot: how long it waits, where it goes on, what it says. */

#include "watch_world.h"

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
                        expect(&world->failures, "status 403; status 403; status 403; "); /* at once, 10 and 30 s later */
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

/* The cut of its connection, which was told just before, is not why it stays away. */
static void a_right_that_was_lost_while_the_server_was_away_is_told(void **state)
{
        struct world *world = world_begin_with("https://restarted", NULL, false, true);

        (void)state;
        synced(world);
        end(world, 1, "");
        turn(world);
        for (int i = 0; i < 5; i++) {
                end(world, 403, "Forbidden");
                turn(world);
        }
        expect(&world->failures, "status 1; status 403; ");
        world_end(world);
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

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(failures_back_off_and_are_forgotten),
                cmocka_unit_test(who_is_busy_is_asked_for_the_same_version),
                cmocka_unit_test(an_outage_is_over_within_seconds),
                cmocka_unit_test(another_cause_begins_with_short_waits),
                cmocka_unit_test(who_was_away_is_asked_for_the_list),
                cmocka_unit_test(a_bookmark_that_goes_back_starts_over),
                cmocka_unit_test(an_object_that_went_back_is_a_restored_store),
                cmocka_unit_test(a_watch_that_says_nothing_is_not_resumed),
                cmocka_unit_test(a_version_too_old_is_not_one_failure_more),
                cmocka_unit_test(a_day_of_waiting_is_a_minute),
                cmocka_unit_test(a_watch_that_ends_at_once_lists_again),
                cmocka_unit_test(a_missing_kind_is_asked_for_every_ten_seconds),
                cmocka_unit_test(what_is_forbidden_is_told_once_if_it_is_optional),
                cmocka_unit_test(a_right_that_was_lost_while_the_server_was_away_is_told),
                cmocka_unit_test(a_watch_that_fails_tells_nothing_of_now),
                cmocka_unit_test(a_silent_watch_tells_nothing_of_now),
        };

        return cmocka_run_group_tests_name("watch failures", tests, NULL, NULL);
}
