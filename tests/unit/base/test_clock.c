#include "../test.h"

#include "base/clock.h"

static void durations_parse(void **state)
{
        static const struct {
                const char *text;
                int result;
                int64_t ns;
        } cases[] = {
                { "0", 0, 0 },
                { "1h2m3.5s", 0, 3723500000000 },
                { "1.5h", 0, 5400000000000 },
                { "100ms", 0, 100000000 },
                { "-2s", 0, -2000000000 },
                { "1us", 0, 1000 },
                { "1\xc2\xb5s", 0, 1000 },
                { ".5s", 0, 500000000 },
                { "10", -1, 0 },
                { "", -1, 0 },
                { "1y", -1, 0 },
                { ".s", -1, 0 },
                { "1s ", -1, 0 },
                { "9999999999h", -1, 0 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                int64_t ns = 0;

                assert_int_equal(duration_parse(view_of(cases[i].text), &ns), cases[i].result);
                assert_true(ns == cases[i].ns);
        }
}

static void durations_print(void **state)
{
        static const struct {
                int64_t ns;
                const char *text;
        } cases[] = {
                { 0, "0s" },
                { 600000000000, "10m0s" },
                { 3600000000000, "1h0m0s" },
                { 1500000000, "1.5s" },
                { 90000000, "90ms" },
                { 75190237, "75.190237ms" },
                { 1500, "1.5\xc2\xb5s" },
                { 7, "7ns" },
                { -2000000000, "-2s" },
                { INT64_MIN, "-2562047h47m16.854775808s" },
        };
        char text[DURATION_TEXT];

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                assert_string_equal(duration_print(cases[i].ns, text), cases[i].text);
}

static void times(void **state)
{
        static const struct {
                const char *text;
                int result;
                const char *printed;
        } cases[] = {
                { "2026-01-02T15:04:05Z", 0, "2026-01-02T15:04:05.000000Z" },
                { "2026-01-02T15:04:05.25+02:00", 0, "2026-01-02T13:04:05.250000Z" },
                { "1969-12-31T23:59:59.5Z", 0, "1969-12-31T23:59:59.500000Z" },
                { "2026-01-02 15:04:05Z", -1, NULL },
                { "2026-13-02T15:04:05Z", -1, NULL },
                { "2026-01-02T15:04:05", -1, NULL },
                { "2026-01-02T15:04:05.Z", -1, NULL },
        };
        char text[TIME_TEXT];

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                int64_t us = 0;

                assert_int_equal(time_parse(view_of(cases[i].text), &us), cases[i].result);
                if (cases[i].printed)
                        assert_string_equal(time_print_us(us, text), cases[i].printed);
        }
        assert_string_equal(time_print(0, text), "1970-01-01T00:00:00Z");
        assert_string_equal(time_print_ms(1500, text), "1970-01-01T00:00:00.001Z");
}

/* A wait of nothing is none; one that is shorter than what can be waited is not. */
static void waits_round_up(void **state)
{
        (void)state;
        assert_int_equal(duration_wait_ms(0), 0);
        assert_int_equal(duration_wait_ms(1), 1);
        assert_int_equal(duration_wait_ms(DURATION_MILLISECOND), 1);
        assert_int_equal(duration_wait_ms(DURATION_MILLISECOND + 1), 2);
        assert_int_equal(duration_wait_ms(INT64_MAX), INT64_MAX / DURATION_MILLISECOND + 1);
        assert_int_equal(duration_wait_ms(-1), 0);
}

static void randoms(void **state)
{
        (void)state;
        for (int i = 0; i < 1000; i++) {
                double value = clock_random();

                assert_true(value >= 0 && value < 1);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(durations_parse), cmocka_unit_test(durations_print), cmocka_unit_test(times),
                cmocka_unit_test(waits_round_up),  cmocka_unit_test(randoms),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
