#include "../test.h"

#include "base/uuid.h"

#include <string.h>

static void what_is_packed_comes_back(void **state)
{
        static const struct {
                const char *text;
                bool packs;
        } cases[] = {
                { "01234567-89ab-cdef-0123-456789abcdef", true },
                { "ffffffff-ffff-ffff-ffff-ffffffffffff", true },
                { "01234567-89AB-cdef-0123-456789abcdef", false }, /* would come back otherwise */
                { "01234567-89ab-cdef-0123-456789abcde", false },
                { "01234567-89ab-cdef-0123-456789abcdef0", false },
                { "0123456789-ab-cdef-0123-456789abcdef", false },
                { "g1234567-89ab-cdef-0123-456789abcdef", false },
                { "", false },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                uint8_t bytes[UUID_BYTES] = { 0 };
                char text[UUID_TEXT];

                assert_int_equal(uuid_pack(view_of(cases[i].text), bytes), cases[i].packs);
                if (cases[i].packs)
                        assert_string_equal(uuid_unpack(bytes, text), cases[i].text);
        }
        assert_false(uuid_pack((struct view){ "01234567-89ab-cdef-0123-456789ab\0def", 36 }, (uint8_t[UUID_BYTES]){ 0 }));
}

static void new_ones_are_random_and_of_version_4(void **state)
{
        uint8_t bytes[UUID_BYTES];
        char one[UUID_TEXT], other[UUID_TEXT], again[UUID_TEXT];

        (void)state;
        uuid_print(one);
        uuid_print(other);
        assert_string_not_equal(one, other);
        assert_int_equal(one[14], '4');
        assert_non_null(strchr("89ab", one[19]));
        assert_true(uuid_pack(view_of(one), bytes));
        assert_string_equal(uuid_unpack(bytes, again), one);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_packed_comes_back),
                cmocka_unit_test(new_ones_are_random_and_of_version_4),
        };

        return cmocka_run_group_tests_name("uuid", tests, NULL, NULL);
}
