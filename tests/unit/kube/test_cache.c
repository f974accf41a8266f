#include "../test.h"

#include "base/cleanup.h"
#include "kube/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct view object(const char *namespace, const char *name, const char *version, const char *extra)
{
        static char text[1024];

        snprintf(text, sizeof(text),
                 "{\"apiVersion\":\"g/"
                 "v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"%s\",%s%s%s\"uid\":\"u-%s\",\"managedFields\":[{\"manager\":"
                 "\"m\",\"fieldsV1\":{\"f:a\":{}}}],\"resourceVersion\":\"%s\",\"generation\":3}%s}",
                 name, *namespace ? "\"namespace\":\"" : "", namespace, *namespace ? "\"," : "", name, version, extra);
        return view_of(text);
}

struct record {
        struct buffer text;
        size_t frames;
};

static void note(void *data, const struct cache_event *event)
{
        struct record *record = data;
        const struct cache_object *any = event->new ? event->new : event->old;

        buffer_printf(&record->text, "%s%s/%s@%s%s ",
                      !event->old   ? "+"
                      : !event->new ? "-"
                                    : "~",
                      any->namespace, any->name, any->resource_version, event->initial ? "!" : "");
        record->frames += event->frame.length;
}

static const char *taken(struct record *record)
{
        static char text[1024];

        snprintf(text, sizeof(text), "%s", buffer_string(&record->text));
        buffer_clear(&record->text);
        return text;
}

static void put(struct cache *cache, const char *namespace, const char *name, const char *version, bool initial)
{
        assert_true(cache_put(cache, object(namespace, name, version, ""), initial));
}

static void objects_are_packed_without_managed_fields(void **state)
{
        struct cache *cache = cache_new(CACHE_OBJECTS);
        cleanup(cache_object_release) const struct cache_object *held = NULL;

        (void)state;
        assert_true(cache_put(
                cache,
                VIEW("{\"kind\":\"K\",\"metadata\":{\"managedFields\":[1],\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\","
                     "\"resourceVersion\":\"7\",\"generation\":2,\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"labels\":{"
                     "\"l\":\"v\"},\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"now\",\"b\":\"c\"}},\"spec\":{}}"),
                false));
        held = cache_get(cache, "n", "a");
        assert_non_null(held);
        assert_string_equal(held->uid, "u");
        assert_string_equal(held->resource_version, "7");
        assert_int_equal(held->generation, 2);
        assert_true(held->deleting);
        assert_string_equal(held->requested_at, "now");
        assert_true(
                view_is(held->text,
                        "{\"kind\":\"K\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"resourceVersion\":\"7\","
                        "\"generation\":2,\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"labels\":{\"l\":\"v\"},\"annotations\":{"
                        "\"reconcile.fluxcd.io/requestedAt\":\"now\",\"b\":\"c\"}},\"spec\":{}}"));
        /* managedFields as the last member takes the comma in front of it. */
        assert_true(
                cache_put(cache, VIEW("{\"metadata\":{\"name\":\"z\",\"resourceVersion\":\"1\",\"managedFields\":[]}}"), false));
        {
                cleanup(cache_object_release) const struct cache_object *last = cache_get(cache, "", "z");

                assert_true(view_is(last->text, "{\"metadata\":{\"name\":\"z\",\"resourceVersion\":\"1\"}}"));
        }
        cache_free(&cache);
        assert_string_equal(held->name, "a"); /* references outlive the cache */
}

static void what_is_no_object_changes_nothing(void **state)
{
        static const char *const texts[] = { "",
                                             "{}",
                                             "[]",
                                             "{\"metadata\":{\"name\":\"a\"}}",
                                             "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"",
                                             "{\"metadata\":{\"resourceVersion\":\"1\"}}",
                                             "{\"metadata\":\"name\"}" };
        struct cache *cache = cache_new(CACHE_OBJECTS);

        (void)state;
        for (size_t i = 0; i < COUNT(texts); i++) {
                assert_false(cache_put(cache, view_of(texts[i]), false));
                assert_false(cache_delete(cache, view_of(texts[i])));
        }
        assert_int_equal(cache_count(cache), 0);
        assert_int_equal(cache_bytes(cache), 0);
        cache_free(&cache);
}

static void events_say_what_changed(void **state)
{
        struct cache *cache = cache_new(CACHE_HEADERS);
        struct record record = { .frames = 0 };

        (void)state;
        cache_add_handler(cache, note, &record);
        cache_snapshot_begin(cache);
        put(cache, "n", "a", "1", true);
        put(cache, "n", "b", "2", true);
        put(cache, "", "c", "3", true);
        cache_snapshot_end(cache);
        assert_string_equal(taken(&record), "+n/a@1! +n/b@2! +/c@3! ");
        assert_true(record.frames > 0);
        put(cache, "n", "a", "1", false);
        assert_string_equal(taken(&record), "");
        put(cache, "n", "a", "4", false);
        put(cache, "n", "d", "5", false);
        cache_delete(cache, object("n", "b", "6", ""));
        cache_delete(cache, object("n", "never", "6", ""));
        assert_string_equal(taken(&record), "~n/a@4 +n/d@5 -n/b@2 ");

        /* A new list: same version nothing, new version an update, unknown initial, vanished deleted. */
        cache_snapshot_begin(cache);
        put(cache, "n", "a", "4", true);
        put(cache, "", "c", "9", true);
        put(cache, "n", "e", "8", true);
        record.frames = 0;
        cache_snapshot_end(cache);
        assert_string_equal(taken(&record), "~/c@9 +n/e@8! -n/d@5 ");
        assert_int_equal(record.frames, 0);
        assert_int_equal(cache_count(cache), 3);

        /* Deleted and made again between two lists. */
        assert_true(cache_put(
                cache, VIEW("{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"other\",\"resourceVersion\":\"10\"}}"),
                false));
        assert_string_equal(taken(&record), "-n/a@4 +n/a@10 ");
        buffer_release(&record.text);
        cache_free(&cache);
}

/* They are packed meanwhile, to the same things. */
static void headers_come_back_as_they_were(void **state)
{
        static const struct {
                const char *text, *namespace, *name, *uid, *requested_at;
                bool deleting;
        } cases[] = {
                { "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"01234567-89ab-cdef-0123-456789abcdef\","
                  "\"resourceVersion\":\"7\","
                  "\"generation\":3}}",
                  "n", "a", "01234567-89ab-cdef-0123-456789abcdef", NULL, false },
                { "{\"metadata\":{\"name\":\"b\",\"uid\":\"not one of those\",\"resourceVersion\":\"7\",\"generation\":3,"
                  "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"now\"}}}",
                  "", "b", "not one of those", "now", true },
                { "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"7\",\"generation\":3,"
                  "\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"\"}}}",
                  "", "c", "", "", false },
        };
        struct cache *cache = cache_new(CACHE_HEADERS);

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(cache_object_release) const struct cache_object *held = NULL;

                assert_true(cache_put(cache, view_of(cases[i].text), false));
                held = cache_get(cache, cases[i].namespace, cases[i].name);
                assert_non_null(held);
                assert_string_equal(held->namespace, cases[i].namespace);
                assert_string_equal(held->name, cases[i].name);
                assert_string_equal(held->uid, cases[i].uid);
                assert_string_equal(held->resource_version, "7");
                assert_int_equal(held->generation, 3);
                assert_int_equal(held->deleting, cases[i].deleting);
                assert_int_equal(held->requested_at != NULL, cases[i].requested_at != NULL);
                if (held->requested_at)
                        assert_string_equal(held->requested_at, cases[i].requested_at);
                assert_int_equal(held->text.length, 0);
        }
        assert_int_equal(cache_count(cache), COUNT(cases));
        assert_true(cache_bytes(cache) < COUNT(cases) * 64);
        cache_free(&cache);
}

static void by_source(const struct cache_object *object_, struct cache_keys *keys)
{
        cache_keys_printf(keys, "source/%c", object_->name[0]);
        cache_keys_add(keys, view_of(object_->namespace));
}

/* A reader that looks while a list comes in: it finds the old one, whole, until the new one is. */
static void a_list_takes_its_place_at_once(void **state)
{
        struct cache *cache = cache_new(CACHE_OBJECTS);
        struct record record = { .frames = 0 };

        (void)state;
        cache_add_handler(cache, note, &record);
        cache_snapshot_begin(cache);
        put(cache, "n", "a", "1", true);
        put(cache, "n", "b", "2", true);
        put(cache, "n", "c", "3", true);
        assert_int_equal(cache_count(cache), 0);
        assert_string_equal(taken(&record), "");
        cache_snapshot_end(cache);
        assert_int_equal(cache_count(cache), 3);
        assert_string_equal(taken(&record), "+n/a@1! +n/b@2! +n/c@3! ");

        cache_snapshot_begin(cache);
        put(cache, "n", "a", "1", true);                                 /* as it was */
        put(cache, "n", "b", "9", true);                                 /* newer */
        put(cache, "n", "d", "10", true);                                /* made, */
        put(cache, "n", "e", "11", true);                                /* and made */
        assert_true(cache_delete(cache, object("n", "e", "12", "")));    /* and deleted meanwhile */
        assert_true(cache_delete(cache, object("n", "none", "13", ""))); /* never seen */
        assert_int_equal(cache_count(cache), 3);
        assert_string_equal(taken(&record), "");
        cache_snapshot_cancel(cache); /* it broke off */
        assert_int_equal(cache_count(cache), 3);

        cache_snapshot_begin(cache);
        put(cache, "n", "a", "1", true);
        assert_true(cache_delete(cache, object("n", "a", "14", ""))); /* listed, then deleted */
        put(cache, "n", "b", "9", true);
        assert_true(cache_put(cache,
                              VIEW("{\"metadata\":{\"namespace\":\"n\",\"name\":\"c\",\"uid\":\"other\",\"resourceVersion\":"
                                   "\"15\"}}"),
                              true));
        cache_snapshot_end(cache);
        assert_string_equal(taken(&record), "~n/b@9 -n/c@3 +n/c@15! -n/a@1 ");
        assert_int_equal(cache_count(cache), 2);
        put(cache, "n", "f", "16", false);
        assert_string_equal(taken(&record), "+n/f@16 ");
        buffer_release(&record.text);
        cache_free(&cache);
}

static void indexes_follow_the_objects(void **state)
{
        static const struct cache_index index = { "source", by_source };
        struct cache *cache = cache_new(CACHE_OBJECTS);
        struct cache_list list = CACHE_LIST_NULL;
        char name[16];

        (void)state;
        cache_add_index(cache, &index);
        for (int i = 0; i < 3000; i++) {
                snprintf(name, sizeof(name), "%c%d", 'a' + i % 10, i);
                put(cache, i % 2 ? "odd" : "even", name, "1", false);
        }
        cache_find(cache, "source", "source/b", &list);
        assert_int_equal(list.count, 300);
        cache_list_release(&list);
        cache_find(cache, "source", "odd", &list);
        assert_int_equal(list.count, 1500);
        cache_list_release(&list);
        for (int i = 1; i < 3000; i += 10) {
                snprintf(name, sizeof(name), "b%d", i);
                cache_delete(cache, object("odd", name, "2", ""));
        }
        put(cache, "odd", "b1", "3", false);
        put(cache, "odd", "b1", "4", false);
        cache_find(cache, "source", "source/b", &list);
        assert_int_equal(list.count, 1);
        assert_string_equal(list.items[0]->resource_version, "4");
        cache_list_release(&list);
        cache_find(cache, "none", "source/b", &list);
        assert_int_equal(list.count, 0);
        cache_list(cache, "even", &list);
        assert_int_equal(list.count, 1500);
        cache_list_release(&list);
        cache_free(&cache);
}

static void versions_compare_as_numbers(void **state)
{
        (void)state;
        assert_true(resource_version_older(VIEW("9"), VIEW("10")));
        assert_false(resource_version_older(VIEW("10"), VIEW("9")));
        assert_true(resource_version_older(VIEW("123456789012345678900"), VIEW("123456789012345678901")));
        assert_false(resource_version_older(VIEW("7"), VIEW("7")));
        assert_false(resource_version_older(VIEW("7"), VIEW("")));
        assert_false(resource_version_older(VIEW("7"), VIEW("8x")));
}

struct readers {
        struct cache *cache;
        _Atomic bool done;
        pthread_t threads[4];
};

static void readers_start(struct readers *readers, void *(*read)(void *argument))
{
        for (size_t i = 0; i < COUNT(readers->threads); i++)
                pthread_create(&readers->threads[i], NULL, read, readers);
}

static void readers_end(struct readers *readers)
{
        atomic_store(&readers->done, true);
        for (size_t i = 0; i < COUNT(readers->threads); i++) {
                void *result;

                pthread_join(readers->threads[i], &result);
                assert_null(result);
        }
        cache_free(&readers->cache);
}

static void *read_all(void *argument)
{
        struct readers *readers = argument;

        while (!atomic_load(&readers->done)) {
                cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;
                cleanup(cache_object_release) const struct cache_object *one = cache_get(readers->cache, "n", "k7");

                cache_list(readers->cache, NULL, &list);
                for (size_t i = 0; i < list.count; i++)
                        if (list.items[i]->text.data[list.items[i]->text.length - 1] != '}')
                                return (void *)1;
                if (one && one->text.data[one->text.length - 1] != '}')
                        return (void *)1;
        }
        return NULL;
}

static void readers_see_whole_objects_while_it_changes(void **state)
{
        struct readers readers = { .cache = cache_new(CACHE_OBJECTS) };
        char name[16], version[16];

        (void)state;
        readers_start(&readers, read_all);
        for (int i = 0; i < 20000; i++) {
                snprintf(name, sizeof(name), "k%d", i % 50);
                snprintf(version, sizeof(version), "%d", i);
                if (i % 7 == 0)
                        cache_delete(readers.cache, object("n", name, version, ""));
                else
                        put(readers.cache, "n", name, version, false);
        }
        readers_end(&readers);
}

/* Lists of 100 objects of one generation, each: a reader that sees two generations saw half a list. */
static void *read_lists(void *argument)
{
        struct readers *readers = argument;

        while (!atomic_load(&readers->done)) {
                cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;

                cache_list(readers->cache, NULL, &list);
                if (list.count != 0 && list.count != 100)
                        return (void *)1;
                for (size_t i = 1; i < list.count; i++)
                        if (strcmp(list.items[i]->resource_version, list.items[0]->resource_version) != 0)
                                return (void *)1;
        }
        return NULL;
}

static void readers_never_see_half_a_list(void **state)
{
        struct readers readers = { .cache = cache_new(CACHE_OBJECTS) };
        char name[16], version[16];

        (void)state;
        readers_start(&readers, read_lists);
        for (int round = 1; round <= 100; round++) {
                snprintf(version, sizeof(version), "%d", round);
                cache_snapshot_begin(readers.cache);
                for (int i = 0; i < 100; i++) {
                        snprintf(name, sizeof(name), "k%d", round * 50 + i);
                        put(readers.cache, "n", name, version, true);
                }
                if (round % 5)
                        cache_snapshot_end(readers.cache);
                else
                        cache_snapshot_cancel(readers.cache);
        }
        readers_end(&readers);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(objects_are_packed_without_managed_fields),
                cmocka_unit_test(what_is_no_object_changes_nothing),
                cmocka_unit_test(events_say_what_changed),
                cmocka_unit_test(headers_come_back_as_they_were),
                cmocka_unit_test(a_list_takes_its_place_at_once),
                cmocka_unit_test(indexes_follow_the_objects),
                cmocka_unit_test(versions_compare_as_numbers),
                cmocka_unit_test(readers_see_whole_objects_while_it_changes),
                cmocka_unit_test(readers_never_see_half_a_list),
        };

        return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
