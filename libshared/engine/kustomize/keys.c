#include "engine/kustomize/keys.h"

#include "base/memory.h"
#include "engine/kustomize/scalar.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(uint32_t rune)
{
        return rune >= '0' && rune <= '9';
}

/* Letters beyond ASCII: all but the blocks of punctuation, symbols and emoji. */
static bool is_letter(uint32_t rune)
{
        if (rune < 0x80)
                return (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z');
        if (rune < 0xc0)
                return rune == 0xaa || rune == 0xb5 || rune == 0xba;
        if (rune == 0xd7 || rune == 0xf7)
                return false;
        return !((rune >= 0x2000 && rune <= 0x206f) || (rune >= 0x20a0 && rune <= 0x20cf) || (rune >= 0x2190 && rune <= 0x2bff) ||
                 (rune >= 0x3000 && rune <= 0x3004) || (rune >= 0x3008 && rune <= 0x3030) || (rune >= 0xe000 && rune <= 0xf8ff) ||
                 (rune >= 0xfe00 && rune <= 0xfe6f) || (rune >= 0xff00 && rune <= 0xff20) || (rune >= 0xfff0 && rune <= 0xffff) ||
                 (rune >= 0x1f000 && rune <= 0x1faff));
}

static uint32_t rune_at(struct view text, size_t at, size_t *ret_width)
{
        uint32_t rune = 0xfffd;
        size_t width = utf8_next(text, at, &rune);

        *ret_width = width ? width : 1;
        return rune;
}

struct run {
        uint64_t number; /* wraps as the reference's does */
        size_t length;
};

static struct run digit_run(struct view text, size_t at, uint64_t start)
{
        struct run run = { start, 0 };

        while (at + run.length < text.length && is_digit((unsigned char)text.data[at + run.length]))
                run.number = run.number * 10 + (uint64_t)(text.data[at + run.length++] - '0');
        return run;
}

static int compare_difference(struct view a, struct view b, size_t at, uint32_t rune_a, uint32_t rune_b)
{
        bool letter_a = is_letter(rune_a), letter_b = is_letter(rune_b);
        struct run run_a, run_b;
        uint64_t start = 0;

        if (letter_a && letter_b)
                return rune_a < rune_b ? -1 : 1;
        if (letter_a || letter_b)
                return letter_b ? -1 : 1;
        if (rune_a == '0' || rune_b == '0')
                for (size_t i = at; i > 0 && is_digit((unsigned char)a.data[i - 1]) && !start; i--)
                        start = a.data[i - 1] != '0';
        run_a = digit_run(a, at, start);
        run_b = digit_run(b, at, start);
        if (run_a.number != run_b.number)
                return (int64_t)run_a.number < (int64_t)run_b.number ? -1 : 1;
        if (run_a.length != run_b.length)
                return run_a.length < run_b.length ? -1 : 1;
        return rune_a < rune_b ? -1 : 1;
}

/* -1, 0, 1 in the natural order. */
static int compare_natural(struct view a, struct view b)
{
        size_t width_a, width_b, common = 0;

        while (common < a.length && common < b.length && a.data[common] == b.data[common])
                common++;
        /* Back to the start of the code point in which they differ. */
        while (common > 0 && ((common < a.length && ((unsigned char)a.data[common] & 0xc0) == 0x80) ||
                              (common < b.length && ((unsigned char)b.data[common] & 0xc0) == 0x80)))
                common--;
        if (common < a.length && common < b.length) {
                uint32_t rune_a = rune_at(a, common, &width_a), rune_b = rune_at(b, common, &width_b);

                if (rune_a != rune_b)
                        return compare_difference(a, b, common, rune_a, rune_b);
        }
        if (a.length == b.length)
                return 0;
        return a.length < b.length ? -1 : 1;
}

static int order_compare(enum key_order order, struct view a, struct view b)
{
        return order == KEYS_NATURAL ? compare_natural(a, b) : view_compare(a, b);
}

static void insertion_sort(struct sorted_key *keys, size_t count, enum key_order order)
{
        for (size_t i = 1; i < count; i++) {
                struct sorted_key key = keys[i];
                size_t at = i;

                while (at > 0 && order_compare(order, key.text, keys[at - 1].text) < 0) {
                        keys[at] = keys[at - 1];
                        at--;
                }
                keys[at] = key;
        }
}

static void merge_sort(struct sorted_key *keys, struct sorted_key *scratch, size_t count, enum key_order order)
{
        size_t middle = count / 2, left = 0, right = middle;

        if (count <= SORTED_KEYS_SMALL) {
                insertion_sort(keys, count, order);
                return;
        }
        merge_sort(keys, scratch, middle, order);
        merge_sort(keys + middle, scratch, count - middle, order);
        memcpy(scratch, keys, count * sizeof(*keys));
        for (size_t i = 0; i < count; i++) {
                bool take_right =
                        left >= middle || (right < count && order_compare(order, scratch[right].text, scratch[left].text) < 0);

                keys[i] = take_right ? scratch[right++] : scratch[left++];
        }
}

static void sort(struct sorted_key *keys, size_t count, enum key_order order)
{
        struct sorted_key *scratch;

        if (count <= SORTED_KEYS_SMALL) {
                insertion_sort(keys, count, order);
                return;
        }
        scratch = memory_zero(count, sizeof(*scratch));
        merge_sort(keys, scratch, count, order);
        free(scratch);
}

static int key_text(struct arena *arena, const struct node *key, bool top, struct view *ret, struct error *error)
{
        struct value value;

        if (top || key->tag == TAG_STRING) {
                *ret = node_text(key);
                return 0;
        }
        TRY(scalar_value(arena, key, false, &value, error));
        if (value.kind != VALUE_STRING || (key->tag == TAG_TIMESTAMP && key->style == STYLE_PLAIN))
                return error_set(
                        error, ERROR_INVALID,
                        "json: unsupported type: map[interface {}]interface {}: the key '%.*s' is not a string, put it in quotes",
                        VIEW_ARGS(node_text(key)));
        *ret = value.string;
        return 0;
}

static int duplicate(const struct node *map, struct view key, struct error *error)
{
        uint32_t lines[2] = { 0, 0 };
        unsigned found = 0;

        for (uint32_t i = 0; i < map->count && found < 2; i++)
                if (view_equal(node_text(map->entries[i].key), key))
                        lines[found++] = map->entries[i].key->line;
        return error_set(error, ERROR_INVALID,
                         "yaml: unmarshal errors:\n  line %u: mapping key \"%.*s\" already defined at line %u", lines[1],
                         VIEW_ARGS(key), lines[0]);
}

int keys_sort(struct arena *arena, const struct node *map, enum key_order order, bool top, struct sorted_key *keys,
              struct error *error)
{
        for (uint32_t i = 0; i < map->count; i++) {
                TRY(key_text(arena, map->entries[i].key, top, &keys[i].text, error));
                keys[i].value = map->entries[i].value;
        }
        if (order == KEYS_UNSORTED)
                return 0;
        /* Bytewise first: the natural order is not transitive, and the result must not depend on the order in the source. */
        sort(keys, map->count, KEYS_BYTEWISE);
        for (uint32_t i = 1; i < map->count; i++)
                if (view_equal(keys[i - 1].text, keys[i].text))
                        return duplicate(map, keys[i].text, error);
        if (order == KEYS_NATURAL)
                sort(keys, map->count, KEYS_NATURAL);
        return 0;
}
