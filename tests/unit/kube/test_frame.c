#include "../test.h"

#include "data/scan.h"
#include "kube/frame.h"

#include <stdlib.h>
#include <string.h>

static const char stream[] = "{\"type\":\"ADDED\",\"object\":{\"a\":\"}{][\\\\\\\"\",\"b\":[{},{\"c\":\"\\\\\"}]}}\n"
                             " \r\n{\"type\":\"BOOKMARK\"}{\"x\":\"\xc3\xa9\\\"\"}\n[1,2]";

struct seen {
        struct buffer text;
        int stop_after;
};

static int collect(void *data, struct view value)
{
        struct seen *seen = data;

        buffer_add_view(&seen->text, value);
        buffer_add_char(&seen->text, '|');
        return seen->stop_after && --seen->stop_after == 0;
}

static void frames_split_anywhere_are_the_same(void **state)
{
        struct seen whole = { .stop_after = 0 };
        struct frames frames;

        (void)state;
        frames_init(&frames, 0);
        assert_int_equal(frames_feed(&frames, VIEW(stream), collect, &whole), 0);
        assert_string_equal(buffer_string(&whole.text),
                            "{\"type\":\"ADDED\",\"object\":{\"a\":\"}{][\\\\\\\"\",\"b\":[{},{\"c\":\"\\\\\"}]}}|"
                            "{\"type\":\"BOOKMARK\"}|{\"x\":\"\xc3\xa9\\\"\"}|[1,2]|");
        for (size_t first = 0; first < sizeof(stream) - 1; first++) {
                for (size_t second = first; second < sizeof(stream) - 1; second++) {
                        struct seen seen = { .stop_after = 0 };

                        frames_reset(&frames);
                        assert_int_equal(frames_feed(&frames, view_slice(VIEW(stream), 0, first), collect, &seen), 0);
                        assert_int_equal(frames_feed(&frames, view_slice(VIEW(stream), first, second - first), collect, &seen), 0);
                        assert_int_equal(frames_feed(&frames, view_slice(VIEW(stream), second, SIZE_MAX), collect, &seen), 0);
                        assert_string_equal(buffer_string(&seen.text), buffer_string(&whole.text));
                        buffer_release(&seen.text);
                }
        }
        buffer_release(&whole.text);
        frames_release(&frames);
}

static void a_long_frame_ends_the_stream_and_its_memory(void **state)
{
        struct seen seen = { .stop_after = 0 };
        struct frames frames;
        char chunk[1024];
        int r = 0;

        (void)state;
        memset(chunk, 'x', sizeof(chunk));
        frames_init(&frames, 100000);
        assert_int_equal(frames_feed(&frames, VIEW("{\"a\":\""), collect, &seen), 0);
        for (int i = 0; i < 200 && r == 0; i++)
                r = frames_feed(&frames, (struct view){ chunk, sizeof(chunk) }, collect, &seen);
        assert_int_equal(r, FRAME_TOO_LONG);
        assert_true(frames.rest.length <= 100000);
        frames_reset(&frames);
        assert_int_equal(frames.rest.capacity, 0);
        assert_int_equal(frames_feed(&frames, VIEW("{}"), collect, &seen), 0);
        assert_string_equal(buffer_string(&seen.text), "{}|");
        buffer_release(&seen.text);
        frames_release(&frames);
}

static void what_is_no_json_is_told(void **state)
{
        static const char *const broken[] = { "<html>", "}", "null", "{}x" };
        struct seen seen = { .stop_after = 0 };
        struct frames frames;

        (void)state;
        for (size_t i = 0; i < COUNT(broken); i++) {
                frames_init(&frames, 0);
                assert_int_equal(frames_feed(&frames, view_of(broken[i]), collect, &seen), FRAME_BROKEN);
                frames_release(&frames);
        }
        seen.stop_after = 1;
        frames_init(&frames, 0);
        assert_int_equal(frames_feed(&frames, VIEW("{}{}"), collect, &seen), FRAME_STOP);
        frames_release(&frames);
        buffer_release(&seen.text);
}

static void members_are_found_in_text(void **state)
{
        static const char text[] = " { \"a\" : 1 , \"b\":{\"c\":\"x\\\"y\",\"d\":[1, {\"e\":null} ,\"]\"]}, \"f\":true,\"g\":-12 }";
        static const struct {
                const char *first, *second, *value;
        } cases[] = {
                { "a", NULL, "1" },      { "b", "c", "\"x\\\"y\"" }, { "b", "d", "[1, {\"e\":null} ,\"]\"]" },
                { "f", NULL, "true" },   { "g", NULL, "-12" },       { "b", "x", "" },
                { "nothing", NULL, "" }, { "a", "b", "" },           { "c", NULL, "" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct view value = scan_path(VIEW(text), cases[i].first, cases[i].second, NULL);

                assert_int_equal(value.length, strlen(cases[i].value));
                assert_memory_equal(value.data ? value.data : "", cases[i].value, value.length);
        }
        assert_int_equal(scan_integer(SCAN_PATH(VIEW(text), "g"), 0), -12);
        assert_true(scan_is_true(SCAN_PATH(VIEW(text), "f")));
        assert_true(view_is(scan_string(SCAN_PATH(VIEW("{\"s\":\"t\"}"), "s")), "t"));
        assert_null(scan_string(SCAN_PATH(VIEW(text), "a")).data);
}

/* Every prefix, each in memory of its own size: the sanitizer sees a read past the end. */
static void cut_text_is_never_read_past_its_end(void **state)
{
        static const char text[] =
                "{\"metadata\":{\"name\":\"a\\\\\",\"labels\":{\"x\":\"y\"},\"list\":[1,{\"k\":\"v\"}]},\"z\":12}";

        (void)state;
        for (size_t length = 0; length < sizeof(text); length++) {
                char *copy = malloc(length ? length : 1);
                struct view cut = { copy, length };
                struct scan scan;

                memcpy(copy, text, length);
                assert_int_equal(SCAN_PATH(cut, "z").length, length >= sizeof(text) - 1 ? 2 : SCAN_PATH(cut, "z").length);
                SCAN_PATH(cut, "metadata", "labels", "x");
                scan = scan_begin(cut);
                while (scan_next(&scan))
                        assert_true(scan.end <= length);
                assert_int_equal(scan_complete(&scan), length >= sizeof(text) - 1);
                free(copy);
        }
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_split_anywhere_are_the_same),
                cmocka_unit_test(a_long_frame_ends_the_stream_and_its_memory),
                cmocka_unit_test(what_is_no_json_is_told),
                cmocka_unit_test(members_are_found_in_text),
                cmocka_unit_test(cut_text_is_never_read_past_its_end),
        };

        return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
