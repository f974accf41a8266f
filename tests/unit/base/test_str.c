#include "../test.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

static void views(void **state)
{
        struct view rest = VIEW("a,,b,"), piece;
        struct view none = VIEW_NULL, empty = VIEW("");
        char joined[32] = "";

        (void)state;
        while (view_split(&rest, ',', &piece)) {
                strncat(joined, piece.data, piece.length);
                strcat(joined, "|");
        }
        assert_string_equal(joined, "a||b||");
        assert_false(view_split(&none, ',', &piece));
        assert_true(view_split(&empty, ',', &piece));
        assert_false(view_split(&empty, ',', &piece));
        assert_true(view_starts(VIEW("abc"), VIEW("ab")));
        assert_false(view_starts(VIEW("a"), VIEW("ab")));
        assert_true(view_ends(VIEW("abc"), VIEW("bc")));
        assert_false(view_ends(VIEW("c"), VIEW("bc")));
        assert_int_equal(view_search(VIEW("abcabc"), VIEW("bc"), 2), 4);
        assert_int_equal(view_search(VIEW("abc"), VIEW("x"), 0), -1);
        assert_int_equal(view_find(VIEW("abc"), 'c', 3), -1);
        assert_true(view_is(view_trim(VIEW(" \t x y\r\n")), "x y"));
        assert_int_equal(view_slice(VIEW("abc"), 5, 1).length, 0);
        assert_true(view_compare(VIEW("a"), VIEW("ab")) < 0);
}

static void numbers(void **state)
{
        static const struct {
                const char *text;
                int result;
                int64_t value;
        } cases[] = {
                { "0", 0, 0 },
                { "-9223372036854775808", 0, INT64_MIN },
                { "9223372036854775807", 0, INT64_MAX },
                { "9223372036854775808", -1, 0 },
                { "-9223372036854775809", -1, 0 },
                { "", -1, 0 },
                { "-", -1, 0 },
                { "+1", -1, 0 },
                { "1a", -1, 0 },
        };
        uint64_t large;

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                int64_t value = 0;

                assert_int_equal(view_to_int64(view_of(cases[i].text), &value), cases[i].result);
                assert_true(value == cases[i].value);
        }
        assert_int_equal(view_to_uint64(VIEW("18446744073709551615"), &large), 0);
        assert_true(large == UINT64_MAX);
        assert_int_equal(view_to_uint64(VIEW("18446744073709551616"), &large), -1);
}

static void limits(void **state)
{
        cleanup(buffer_release) struct buffer buffer = BUFFER_LIMIT(5);

        (void)state;
        buffer_add_string(&buffer, "abc");
        buffer_add_string(&buffer, "def");
        assert_true(buffer.full);
        assert_string_equal(buffer_string(&buffer), "abc");
        buffer_add_string(&buffer, "de");
        assert_string_equal(buffer_string(&buffer), "abcde");
        buffer_clear(&buffer);
        assert_false(buffer.full);
        assert_string_equal(buffer_string(&buffer), "");
}

static void json_strings(void **state)
{
        static const struct {
                struct view text;
                const char *escaped;
        } cases[] = {
                { { "a\"b\\c", 5 }, "a\\\"b\\\\c" },
                { { "\n\t\r\x01", 4 }, "\\n\\t\\r\\u0001" },
                { { "\xc3\xa9<>&", 5 }, "\xc3\xa9<>&" },
                { { "\xff"
                    "a\xc3",
                    3 },
                  "\xef\xbf\xbd"
                  "a\xef\xbf\xbd" },
                { { "\xed\xa0\x80", 3 }, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* a surrogate is no character */
                { { "\xc0\x80", 2 }, "\xef\xbf\xbd\xef\xbf\xbd" },                 /* neither is a longer form */
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer buffer = BUFFER_NULL;

                buffer_add_json(&buffer, cases[i].text);
                assert_string_equal(buffer_string(&buffer), cases[i].escaped);
        }
}

static void base64(void **state)
{
        static const struct {
                const char *bytes, *text;
        } cases[] = {
                { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe", "//4=" },
        };
        static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Z===", "Zg==Zg==", "Zm9*", "=", "Zm 9v" };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL, bytes = BUFFER_NULL;

                buffer_add_base64(&text, view_of(cases[i].bytes));
                assert_string_equal(buffer_string(&text), cases[i].text);
                assert_int_equal(buffer_add_base64_decoded(&bytes, view_of(cases[i].text)), 0);
                assert_string_equal(buffer_string(&bytes), cases[i].bytes);
        }
        for (size_t i = 0; i < COUNT(bad); i++) {
                cleanup(buffer_release) struct buffer bytes = BUFFER_NULL;

                assert_int_equal(buffer_add_base64_decoded(&bytes, view_of(bad[i])), -1);
        }
}

static void runes(void **state)
{
        static const uint32_t cases[] = { 0x24, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                uint32_t rune = 0;

                buffer_add_utf8(&text, cases[i]);
                assert_int_equal(utf8_next(buffer_view(&text), 0, &rune), text.length);
                assert_int_equal(rune, cases[i]);
        }
}

/* The chunk is kept for the next run: what was in it must not be. */
static void secrets_do_not_outlive_a_reset(void **state)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        const char *kept;

        (void)state;
        kept = arena_string(arena, "of no interest");
        arena_reset(arena);
        assert_string_equal(kept, "of no interest");
        arena_keep_secret(arena);
        kept = arena_string(arena, "the password");
        arena_reset(arena);
        for (size_t i = 0; i < sizeof("the password"); i++)
                assert_int_equal(kept[i], 0);
        kept = arena_string(arena, "of the next run");
        arena_reset(arena);
        assert_string_equal(kept, "of the next run");
}

/* Also what was printed for a try where it did not fit. */
static void secret_arenas_leave_nothing(void **state)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        const char *first = arena_string(arena, "secret");
        char long_one[5000];

        (void)state;
        arena_keep_secret(arena);
        memset(long_one, 's', sizeof(long_one) - 1);
        long_one[sizeof(long_one) - 1] = '\0';
        arena_printf(arena, "%s", long_one);
        arena_reset(arena); /* the first chunk is kept */
        for (size_t i = 0; i < 4000; i++)
                assert_int_equal(first[i], 0);
}

static void secret_buffers_stay_secret(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_SECRET;

        (void)state;
        for (int i = 0; i < 5000; i++)
                buffer_add_char(&text, (char)('a' + i % 26));
        assert_int_equal(text.length, 5000);
        for (int i = 0; i < 5000; i++)
                assert_int_equal(text.data[i], 'a' + i % 26);
        buffer_release(&text);
        assert_null(text.data);
        assert_true(text.secret); /* it may be filled again */
}

static void texts_are_cut_between_characters(void **state)
{
        static const struct {
                const char *text;
                size_t limit;
                const char *cut;
        } cases[] = {
                { "abc", 3, "abc" }, { "abcd", 3, "abc" },          { "a\xc3\xa9", 2, "a" },
                { "", 0, "" },       { "\xf0\x9f\x98\x80", 3, "" }, { "\x80\x80\x80\x80\x80", 4, "\x80" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                if (!view_is(utf8_cut(view_of(cases[i].text), cases[i].limit), cases[i].cut))
                        fail_msg("%zu: %zu bytes", i, utf8_cut(view_of(cases[i].text), cases[i].limit).length);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(views),
                cmocka_unit_test(numbers),
                cmocka_unit_test(limits),
                cmocka_unit_test(json_strings),
                cmocka_unit_test(base64),
                cmocka_unit_test(runes),
                cmocka_unit_test(texts_are_cut_between_characters),
                cmocka_unit_test(secrets_do_not_outlive_a_reset),
                cmocka_unit_test(secret_arenas_leave_nothing),
                cmocka_unit_test(secret_buffers_stay_secret),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
