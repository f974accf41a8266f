#include "../test.h"

#include "../../../kustomize-controller/fights.h"
#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

#define SOON 100

static const char *correct(struct fights *fights, int64_t now, struct buffer *lines)
{
        buffer_clear(lines);
        fights_corrected(fights, lines, now);
        return buffer_string(lines);
}

/* Somebody who edits the moment he is corrected: ten at once, then further and further apart, and it is said how far. */
static void the_pause_grows_up_to_its_limit(void **state)
{
        static const int64_t pauses[] = { 5000, 10000, 20000, 40000, 80000, 160000, 300000, 300000, 300000 };
        static const char *const said[] = { "5s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s", "5m0s", "5m0s" };
        cleanup(buffer_release) struct buffer lines = BUFFER_NULL;
        cleanup(fights_free) struct fights *fights = NULL;
        int64_t now = 1000;
        char line[64];

        (void)state;
        for (int i = 0; i < FIGHT_PATIENCE; i++) {
                assert_string_equal(correct(fights, now, &lines), "");
                assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now), SOON);
                now += SOON;
        }
        for (size_t i = 0; i < COUNT(pauses); i++) {
                snprintf(line, sizeof(line), "ConfigMap/ns/a: %s", said[i]);
                assert_string_equal(correct(fights, now, &lines), line);
                assert_string_equal(correct(fights, now, &lines), "");
                assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now), pauses[i]);
                now += pauses[i];
        }
}

static void fight(struct fights **fights, const char *object, int64_t now, int times)
{
        cleanup(buffer_release) struct buffer lines = BUFFER_NULL;

        for (int i = 0; i < times; i++) {
                fights_drifted(fights, object, SOON, now);
                fights_corrected(*fights, &lines, now);
        }
}

static void who_is_left_alone_starts_anew(void **state)
{
        static const struct {
                const char *name;
                int64_t calm, pause;
        } cases[] = {
                { "at once", 0, 20000 },
                { "nearly a minute", FIGHT_CALM_MS, 20000 },
                { "more than a minute", FIGHT_CALM_MS + 1, SOON },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(fights_free) struct fights *fights = NULL;

                fight(&fights, "ConfigMap/ns/a", 1000, FIGHT_PATIENCE + 2);
                if (fights_drifted(&fights, "ConfigMap/ns/a", SOON, 1000 + cases[i].calm) != cases[i].pause)
                        fail_msg("%s", cases[i].name);
        }
}

/* What others do to one object slows no other one down. */
static void each_object_by_itself(void **state)
{
        cleanup(buffer_release) struct buffer lines = BUFFER_NULL;
        cleanup(fights_free) struct fights *fights = NULL;

        (void)state;
        fight(&fights, "ConfigMap/ns/a", 1000, FIGHT_PATIENCE + 1);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/b", SOON, 1000), SOON);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, 1000), 10000);
        /* The run for one puts both right, and only the one that is fought for is named. */
        assert_string_equal(correct(fights, 1100, &lines), "ConfigMap/ns/a: 20s");
}

/* An edit shows more than once before it is undone: the first says when. Runs that fail do not come as fast as they can either. */
static void one_turn_at_a_time(void **state)
{
        cleanup(fights_free) struct fights *fights = NULL;
        int64_t now = 1000;

        (void)state;
        fight(&fights, "ConfigMap/ns/a", now, FIGHT_PATIENCE);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now), 5000);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now + 2000), 3000);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now + 4999), 1);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now + 5000), 10000);
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a", SOON, now + 15000), 20000);
}

/* A Kustomization whose thousands of objects are all fought for is not corrected as fast as it can be either. */
static void more_than_can_be_counted_are_one(void **state)
{
        cleanup(fights_free) struct fights *fights = NULL;
        cleanup(buffer_release) struct buffer lines = BUFFER_NULL;
        char object[64];

        (void)state;
        for (int turn = 0; turn < FIGHT_PATIENCE; turn++) {
                for (int i = 0; i < FIGHTS_LIMIT + 500; i++) {
                        snprintf(object, sizeof(object), "ConfigMap/ns/a-%d", i);
                        assert_int_equal(fights_drifted(&fights, object, SOON, 1000), SOON);
                }
                fights_corrected(fights, &lines, 1000);
        }
        assert_int_equal(fights_drifted(&fights, "ConfigMap/ns/a-0", SOON, 1000), 5000);
        assert_int_equal(fights_drifted(&fights, object, SOON, 1000), 5000);
        buffer_clear(&lines);
        fights_corrected(fights, &lines, 1000);
        assert_non_null(strstr(buffer_string(&lines), "others: 10s"));
        /* A minute later there is room again. */
        assert_int_equal(fights_drifted(&fights, object, SOON, 1000 + FIGHT_CALM_MS + 1), SOON);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_pause_grows_up_to_its_limit),
                cmocka_unit_test(who_is_left_alone_starts_anew),
                cmocka_unit_test(each_object_by_itself),
                cmocka_unit_test(one_turn_at_a_time),
                cmocka_unit_test(more_than_can_be_counted_are_one),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
