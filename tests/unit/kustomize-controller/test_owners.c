#include "../test.h"

#include "../../../kustomize-controller/owners.h"
#include "base/cleanup.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const uint8_t one[OWNER_INPUTS] = { 1 }, two[OWNER_INPUTS] = { 2 };

static void inputs_are_those_of_the_last_success(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        size_t objects = 0;

        (void)state;
        assert_false(owners_recall(owners, "ns", "app", one, &objects));
        owners_remember(owners, "ns", "app", one, 4, 0);
        assert_true(owners_recall(owners, "ns", "app", one, &objects));
        assert_int_equal(objects, 4);
        assert_false(owners_recall(owners, "ns", "app", two, &objects));
        assert_false(owners_recall(owners, "ns", "other", one, &objects));
        owners_invalidate(owners, "ns", "app");
        assert_false(owners_recall(owners, "ns", "app", one, &objects));
        owners_remember(owners, "ns", "app", two, 0, 0);
        owners_forget(owners, "ns", "app");
        assert_false(owners_recall(owners, "ns", "app", two, &objects));
}

/* An object that is skipped today may have lost its annotation tomorrow, or be gone. */
static void a_run_that_skipped_is_not_recalled(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        size_t objects = 0;

        (void)state;
        owners_remember(owners, "ns", "app", one, 4, 0);
        owners_remember(owners, "ns", "app", one, 3, 1);
        assert_false(owners_recall(owners, "ns", "app", one, &objects));
        owners_remember(owners, "ns", "app", one, 4, 0);
        assert_true(owners_recall(owners, "ns", "app", one, &objects));
}

/* A cache that lags shows an inventory from before the last run. */
static void what_was_written_is_later_than_the_cache(void **state)
{
        static const struct {
                const char *written, *cached;
                bool later;
        } cases[] = {
                { "99", "100", false }, { "100", "99", true }, { "100", "100", false }, { "", "1", false }, { "7", "", true }
        };
        cleanup(owners_free) struct owners *owners = owners_new(NULL);

        (void)state;
        assert_false(owners_wrote_later(owners, "ns", "app", "1"));
        for (size_t i = 0; i < COUNT(cases); i++) {
                owners_wrote(owners, "ns", "app", cases[i].written);
                assert_int_equal(owners_wrote_later(owners, "ns", "app", cases[i].cached), cases[i].later);
        }
        owners_forget(owners, "ns", "app");
        assert_false(owners_wrote_later(owners, "ns", "app", "1"));
}

/* Rights that changed are suspect until a run has used them, also if they change back and if runs fail in between. */
static void rights_are_suspect_until_proven(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);

        (void)state;
        assert_false(owners_rights_suspect(owners, "ns", "app"));
        assert_true(owners_rights_due(owners, "ns", "app", 3600000));
        assert_false(owners_rights_due(owners, "ns", "app", 3600000));
        assert_true(owners_rights_due(owners, "ns", "app", 0));
        assert_false(owners_rights_seen(owners, "ns", "app", 7));
        assert_false(owners_rights_seen(owners, "ns", "app", 7));
        assert_true(owners_rights_seen(owners, "ns", "app", 8));
        assert_true(owners_rights_seen(owners, "ns", "app", 7));
        assert_true(owners_rights_suspect(owners, "ns", "app"));
        owners_rights_proven(owners, "ns", "app");
        assert_false(owners_rights_suspect(owners, "ns", "app"));
        assert_false(owners_rights_seen(owners, "ns", "app", 7));
}

static void drift_is_told_once(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;

        (void)state;
        assert_false(owners_take_drift(owners, "ns", "app", &drift));
        owners_drifted(owners, "ns", "app", "Deployment/ns/web", "Deployment/ns/web changed by kubectl-edit");
        owners_drifted(owners, "ns", "app", "Deployment/ns/web", "Deployment/ns/web changed by kubectl-edit");
        owners_drifted(owners, "ns", "app", "ConfigMap/ns/web", NULL);
        assert_true(owners_take_drift(owners, "ns", "app", &drift));
        assert_string_equal(buffer_string(&drift.lines), "Deployment/ns/web changed by kubectl-edit");
        assert_string_equal(buffer_string(&drift.gone), "ConfigMap/ns/web");
        assert_string_equal(buffer_string(&drift.fights), "");
        assert_false(owners_take_drift(owners, "ns", "app", &drift));
}

static void drift_text_is_bounded(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;
        char line[64];

        (void)state;
        for (int i = 0; i < 10000; i++) {
                snprintf(line, sizeof(line), "Deployment/ns/web changed by kubectl-edit-%d", i);
                owners_drifted(owners, "ns", "app", "Deployment/ns/web", line);
        }
        assert_true(owners_take_drift(owners, "ns", "app", &drift));
        assert_true(drift.lines.length > OWNER_DRIFT_LIMIT / 2 && drift.lines.length <= OWNER_DRIFT_LIMIT);
}

/* Two controllers that undo each other must not do so as fast as they can, and nobody else pays for it. */
static void a_fight_slows_down(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;
        int64_t first = owners_drifted(owners, "ns", "app", "x", NULL), later = first;

        (void)state;
        for (int i = 0; i < 50; i++) {
                owners_take_drift(owners, "ns", "app", &drift);
                later = owners_drifted(owners, "ns", "app", "x", i % 2 ? "x was changed" : NULL);
        }
        assert_true(first <= 100);
        assert_true(later > 60000);
        assert_true(owners_drifted(owners, "ns", "app", "y", NULL) <= 100);
        assert_true(owners_drifted(owners, "ns", "other", "x", NULL) <= 100);
        owners_take_drift(owners, "ns", "app", &drift);
        assert_string_equal(buffer_string(&drift.fights), "x: 5m0s");
}

static void the_next_run_goes_on_with_a_wait(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        struct owner_wait wait = { .since_ms = 7 };

        (void)state;
        memcpy(wait.inputs, one, OWNER_INPUTS);
        assert_int_equal(owners_take_interrupted(owners, "ns", "app").since_ms, 0);
        owners_interrupted(owners, "ns", "app", &wait);
        assert_int_equal(owners_take_interrupted(owners, "ns", "other").since_ms, 0);
        wait = owners_take_interrupted(owners, "ns", "app");
        assert_int_equal(wait.since_ms, 7);
        assert_memory_equal(wait.inputs, one, OWNER_INPUTS);
        assert_int_equal(owners_take_interrupted(owners, "ns", "app").since_ms, 0);
}

static void *work(void *argument)
{
        struct owners *owners = argument;
        char name[16];

        for (int i = 0; i < 2000; i++) {
                cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;
                size_t objects;

                snprintf(name, sizeof(name), "app-%d", i % 37);
                owners_remember(owners, "ns", name, one, 1, 0);
                owners_drifted(owners, "ns", name, "x", NULL);
                owners_recall(owners, "ns", name, one, &objects);
                owners_take_drift(owners, "ns", name, &drift);
                if (i % 5 == 0)
                        owners_forget(owners, "ns", name);
        }
        return NULL;
}

static void any_thread_may_ask(void **state)
{
        cleanup(owners_free) struct owners *owners = owners_new(NULL);
        pthread_t threads[4];

        (void)state;
        for (size_t i = 0; i < COUNT(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, work, owners), 0);
        for (size_t i = 0; i < COUNT(threads); i++)
                pthread_join(threads[i], NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(inputs_are_those_of_the_last_success),
                cmocka_unit_test(what_was_written_is_later_than_the_cache),
                cmocka_unit_test(rights_are_suspect_until_proven),
                cmocka_unit_test(a_run_that_skipped_is_not_recalled),
                cmocka_unit_test(drift_is_told_once),
                cmocka_unit_test(drift_text_is_bounded),
                cmocka_unit_test(a_fight_slows_down),
                cmocka_unit_test(the_next_run_goes_on_with_a_wait),
                cmocka_unit_test(any_thread_may_ask),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
