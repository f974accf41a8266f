/* What wakes a GitRepository besides its own changes: the Secrets that it names. */
#include "../test.h"

#include "fake_program.h"
#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

/* In place of the rest of kube/controller.c: what is enqueued is written down. */
static struct buffer enqueued;

void controller_enqueue_for(struct controller *controller, const char *namespace, const char *name, int priority, const char *kind,
                            const struct cache_object *trigger)
{
        (void)controller, (void)priority;
        buffer_printf(&enqueued, "%s%s/%s for %s %s", enqueued.length ? ", " : "", namespace, name, kind, trigger->name);
}

void reconcile_expect(struct reconcile *run, int64_t milliseconds)
{
        (void)run, (void)milliseconds;
}

static int setup(void **state)
{
        (void)state;
        cache = cache_new(CACHE_OBJECTS);
        for (size_t i = 0; i < git_repository_controller.index_count; i++)
                cache_add_index(cache, &git_repository_controller.indexes[i]);
        enqueued = BUFFER_NULL;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        buffer_release(&enqueued);
        cache_free(&cache);
        return 0;
}

static void put(const char *namespace, const char *name, const char *spec)
{
        static int version;
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",\"resourceVersion\":\"%d\"},\"spec\":{%s}}", namespace, name,
                 ++version, spec);
        assert_true(cache_put(cache, view_of(text), false));
}

static const char *secret_becomes(const struct cache_object *old, const struct cache_object *new, bool initial)
{
        const struct cache_event event = { .old = old, .new = new, .initial = initial };

        buffer_clear(&enqueued);
        git_repository_controller.watches[0].map(&git_repository_controller, &event);
        return buffer_string(&enqueued);
}

static void a_secret_wakes_those_that_name_it(void **state)
{
        const struct cache_object a = { .namespace = "ns", .name = "a" }, b = { .namespace = "ns", .name = "b" },
                                  foreign = { .namespace = "elsewhere", .name = "a" }, other = { .namespace = "ns", .name = "c" };

        (void)state;
        put("ns", "none", "\"url\":\"https://example.com/a\"");
        put("ns", "one", "\"secretRef\":{\"name\":\"a\"}");
        put("ns", "two", "\"secretRef\":{\"name\":\"b\"},\"proxySecretRef\":{\"name\":\"a\"}");
        put("elsewhere", "one", "\"proxySecretRef\":{\"name\":\"a\"}");
        /* Made, changed, deleted. */
        assert_string_equal(secret_becomes(NULL, &b, false), "ns/two for Secret b");
        assert_string_equal(secret_becomes(&b, &b, false), "ns/two for Secret b");
        assert_string_equal(secret_becomes(&b, NULL, false), "ns/two for Secret b");
        assert_string_equal(secret_becomes(&foreign, &foreign, false), "elsewhere/one for Secret a");
        assert_string_equal(secret_becomes(&other, &other, false), "");
        /* What was there at the start is read by the runs of the start. */
        assert_string_equal(secret_becomes(NULL, &b, true), "");
        secret_becomes(&a, &a, false);
        assert_non_null(strstr(buffer_string(&enqueued), "ns/one for Secret a"));
        assert_non_null(strstr(buffer_string(&enqueued), "ns/two for Secret a"));
        assert_null(strstr(buffer_string(&enqueued), "elsewhere"));
        /* One that names another Secret from now on. */
        put("ns", "two", "\"secretRef\":{\"name\":\"c\"}");
        assert_string_equal(secret_becomes(&b, &b, false), "");
}

/* A program that may not watch Secrets works without, and holds nothing of those that it may. */
static void secrets_are_watched_without_need_and_without_content(void **state)
{
        (void)state;
        assert_int_equal(git_repository_controller.watch_count, 1);
        assert_string_equal(git_repository_controller.watches[0].kind, "Secret");
        assert_true(git_repository_controller.watches[0].optional);
        assert_true(git_repository_controller.watches[0].metadata_only);
        assert_true(git_repository_controller.watches[0].configs);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_secret_wakes_those_that_name_it, setup, teardown),
                cmocka_unit_test_setup_teardown(secrets_are_watched_without_need_and_without_content, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
