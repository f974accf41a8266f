/* What a watch makes of what comes in: lists, events, versions. */

#include "watch_world.h"

#include "base/cleanup.h"

#include <malloc.h>

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

static const char *const page_tokens[] = { "two", "three", "" };

/* So many objects from `first` on; `more` is the token of the next page. */
static void feed_page(struct world *world, int first, int count, const char *more)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        buffer_printf(&text, "{\"metadata\":{\"resourceVersion\":\"%d\",\"continue\":\"%s\"},\"items\":[", 5000 + first, more);
        for (int i = first; i < first + count; i++)
                buffer_printf(&text, "%s{\"metadata\":{\"name\":\"o%d\",\"resourceVersion\":\"%d\"}}", i > first ? "," : "", i,
                              i + 1);
        buffer_add_string(&text, "]}");
        feed(world, buffer_string(&text));
}

static void expect_objects(const struct world *world, int count)
{
        assert_int_equal(cache_count(world->cache), count);
        for (int i = 0; i < count; i++) {
                char name[16], version[16];
                const struct cache_object *object;

                snprintf(name, sizeof(name), "o%d", i);
                snprintf(version, sizeof(version), "%d", i + 1);
                object = cache_get(world->cache, "", name);
                assert_non_null(object);
                assert_string_equal(object->resource_version, version);
                cache_object_release(&object);
        }
}

/* In three pages, or, where the second is too old to be had any more, in one list of all: the same is known afterwards. */
static void many_objects_come_in_pages_or_at_once(void **state)
{
        (void)state;
        for (int expires = 0; expires < 2; expires++) {
                struct world *world = world_begin_as("https://old", NULL, false);

                feed_page(world, 0, 500, page_tokens[0]);
                end(world, 0, "");
                if (expires) {
                        end(world, 410, "Expired");
                        feed_page(world, 0, 1200, "");
                } else {
                        feed_page(world, 500, 500, page_tokens[1]);
                        end(world, 0, "");
                        feed_page(world, 1000, 200, page_tokens[2]);
                }
                end(world, 0, "");
                expect(&world->requests,
                       expires ? "LIST rv=0 limit=500; LIST limit=500 continue=two; LIST rv=0; WATCH rv=5000; "
                               : "LIST rv=0 limit=500; LIST limit=500 continue=two; LIST limit=500 continue=three; "
                                 "WATCH rv=5000; ");
                expect(&world->failures, "");
                assert_true(watch_synced(world->watch));
                expect_objects(world, 1200);
                world_end(world);
        }
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

/* Bytes that this process has from malloc; sanitizers, which have an own one, say 0. */
static size_t allocated(void)
{
        struct mallinfo2 info = mallinfo2();

        return info.uordblks + info.hblkhd;
}

static void a_frame_that_is_too_long_restarts(void **state)
{
        struct world *world = world_begin();
        char *chunk = malloc(1 << 20);
        size_t before;

        (void)state;
        synced(world);
        before = allocated();
        memset(chunk, 'x', 1 << 20);
        feed(world, "{\"type\":\"ADDED\",\"object\":{\"a\":\"");
        for (int i = 0; i < 17 && world->open; i++)
                world->stream_events->bytes(world->stream_data, (struct view){ chunk, 1 << 20 });
        free(chunk);
        assert_false(world->open);
        expect(&world->failures, "object to decode was longer than maximum allowed size; ");
        assert_true(allocated() < before + (1 << 20)); /* not what it had of the frame */
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

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_streamed_list_then_events),
                cmocka_unit_test(the_end_of_a_watch_resumes_from_the_last_bookmark),
                cmocka_unit_test(an_expired_version_starts_over),
                cmocka_unit_test(a_server_without_streamed_lists_is_asked_once),
                cmocka_unit_test(lists_come_in_pages),
                cmocka_unit_test(many_objects_come_in_pages_or_at_once),
                cmocka_unit_test(a_list_that_breaks_off_deletes_nothing),
                cmocka_unit_test(a_page_that_expired_makes_one_full_list),
                cmocka_unit_test(a_list_of_a_lost_version_is_consistent),
                cmocka_unit_test(events_before_the_first_change_are_no_place_to_resume),
                cmocka_unit_test(a_frame_that_is_too_long_restarts),
                cmocka_unit_test(a_server_that_ignores_the_question_is_listed),
                cmocka_unit_test(a_watch_that_outlives_its_time_is_ended),
                cmocka_unit_test(a_list_that_breaks_off_leaves_what_was_there),
                cmocka_unit_test(a_version_that_is_none_is_forgotten),
        };

        return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
