#include "net/git_private.h"

#include <string.h>

#include "../test.h"

/* A literal with the bytes of side bands in it. */
#define BYTES(text)                                                                                                                \
        {                                                                                                                          \
                (text), sizeof(text) - 1                                                                                           \
        }

static void reasons_are_heard(void **state)
{
        static const struct {
                struct view answer;
                const char *said;
        } cases[] = {
                { BYTES(""), NULL },
                { BYTES("0000"), NULL },
                { BYTES("0010ERR go away\n"), "go away" },
                { BYTES("000eversion 1\n00000010ERR go away\n"), "go away" },
                { BYTES("0008NAK\n000d\003no more\n"), "no more" },
                { BYTES("0008NAK\n000d\001no more\n000d\002no more\n"), NULL },
                { BYTES("0004000d\003no more\n"), "no more" },
                { BYTES("0010ERR go aw"), NULL },                  /* cut off */
                { BYTES("0008NAK\nPACK0010ERR go away\n"), NULL }, /* no side bands */
                { BYTES("-0010ERR go away\n"), NULL },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                /* However it was cut on its way. */
                for (size_t step = 1; step <= cases[i].answer.length + 1; step++) {
                        struct git_packets packets = { .said = NULL };
                        struct arena *arena = arena_new();

                        for (size_t at = 0; at < cases[i].answer.length; at += step)
                                git_packets_hear(&packets, arena, view_slice(cases[i].answer, at, step));
                        if (cases[i].said)
                                assert_string_equal(packets.said, cases[i].said);
                        else
                                assert_null(packets.said);
                        arena_free(&arena);
                }
        }
}

static void long_reasons_are_cut(void **state)
{
        static char answer[65000];
        struct git_packets packets = { .said = NULL };
        struct arena *arena = arena_new();

        (void)state;
        memset(answer, 'z', sizeof(answer));
        memcpy(answer, "fde8\003", 5); /* 65000 */
        git_packets_hear(&packets, arena, (struct view){ answer, sizeof(answer) });
        assert_int_equal(strlen(packets.said), sizeof(packets.text) - 1);
        git_packets_restart(&packets);
        git_packets_hear(&packets, arena, (struct view)BYTES("0009ERR x"));
        assert_string_equal(packets.said, "x");
        arena_free(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reasons_are_heard),
                cmocka_unit_test(long_reasons_are_cut),
        };

        return cmocka_run_group_tests_name("git_packet", tests, NULL, NULL);
}
