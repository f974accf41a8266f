#include "kube/drift.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "base/memory.h"
#include "kube/client.h"

#include "../test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kube_resource deployments = { "apps", "v1", "Deployment", "deployments", "apps/v1", true };
static const struct kube_resource maps = { "", "v1", "ConfigMap", "configmaps", "v1", true };
static const struct drift_key web = { &deployments, "ns", "web" };
static const struct drift_key data = { &maps, "ns", "data" };
static const uint8_t wanted[DRIFT_HASH] = "what is wanted", other[DRIFT_HASH] = "something else";

#define NOW     1000000
#define RECHECK ((int64_t)3600 * 1000)

static struct drift_table *table;
static char woken[512];
static int wakes;

static void wake(void *argument, const char *owner_namespace, const char *owner_name, const struct drift_report *report)
{
        (void)argument;
        wakes++;
        snprintf(woken, sizeof(woken), "%s/%s: %s/%s %s by '%s'", owner_namespace, owner_name, report->resource->kind, report->name,
                 report->deleted ? "deleted" : report->fields, report->manager);
}

static const char *uid; /* of the objects that are shown */

static int setup(void **state)
{
        const struct drift_settings settings = { .field_manager = "kustomize-controller",
                                                 .label_group = "kustomize.toolkit.fluxcd.io",
                                                 .wake = wake };

        (void)state;
        table = drift_table_new(&settings);
        uid = "u-1";
        wakes = 0;
        woken[0] = '\0';
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        drift_table_free(&table);
        return 0;
}

/* An object as the server shows it: version, generation (0: none), what we own, and other entries of managedFields. */
static const char *object(char *text, int version, int generation, const char *applied, const char *others, const char *metadata)
{
        int length = sprintf(text, "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"uid\":\"%s\",\"resourceVersion\":\"%d\",",
                             uid, version);

        if (generation)
                length += sprintf(text + length, "\"generation\":%d,", generation);
        sprintf(text + length,
                "\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/namespace\":\"flux\"},%s"
                "\"managedFields\":[{\"manager\":\"kustomize-controller\",\"operation\":\"Apply\",\"time\":\"2020-01-01T00:00:"
                "00Z\",\"fieldsV1\":%s}%s]}}",
                metadata, applied, others);
        return text;
}

#define OWN  "{\"f:spec\":{\"f:replicas\":{},\"f:image\":{}}}"
#define LESS "{\"f:spec\":{\"f:image\":{}}}"
#define UPDATE(manager, rest, fields)                                                                                              \
        ",{\"manager\":\"" manager "\",\"operation\":\"Update\",\"time\":\"2020-01-02T00:00:00Z\"" rest ",\"fieldsV1\":" fields "}"

static void verify(const struct drift_key *key, int version, int generation)
{
        char text[2048];

        drift_verified(table, key, "flux", "app", wanted, view_of(object(text, version, generation, OWN, "", "")), true, NOW);
}

static void show(const struct drift_key *key, int version, int generation, const char *applied, const char *others,
                 const char *metadata)
{
        char text[2048];

        drift_update(table, key, DRIFT_SEEN, view_of(object(text, version, generation, applied, others, metadata)));
}

static enum drift_verdict check(const struct drift_key *key, const uint8_t hash[DRIFT_HASH], struct drift_live *live)
{
        return drift_check(table, key, hash, RECHECK, NOW + 1000, live);
}

static void watch(const struct drift_key *key, int version, int generation)
{
        show(key, version, generation, OWN, "", "");
        drift_watch_synced(table, key->resource, true);
        drift_watch_heard(table, key->resource, NOW);
}

static void what_moved_and_what_it_means(void **state)
{
        static const struct {
                const char *name;
                const struct drift_key *key;
                int version, generation;
                const char *applied, *others, *metadata;
                enum drift_verdict verdict;
                const char *woken; /* "": nobody */
        } cases[] = {
                { "nothing", &web, 10, 1, OWN, "", "", DRIFT_NONE, "" },
                { "an older event", &web, 9, 1, LESS, "", "", DRIFT_NONE, "" },
                { "the status", &web, 11, 1, OWN,
                  UPDATE("kube-controller-manager", ",\"subresource\":\"status\"", "{\"f:status\":{}}"), "", DRIFT_NONE, "" },
                { "an annotation of others", &web, 11, 1, OWN, UPDATE("deployment-controller", "", "{\"f:metadata\":{}}"),
                  "\"annotations\":{\"deployment.kubernetes.io/revision\":\"1\"},", DRIFT_NONE, "" },
                { "our field", &web, 11, 2, LESS,
                  UPDATE("kubectl-scale", ",\"subresource\":\"scale\"", "{\"f:spec\":{\"f:replicas\":{}}}"), "", DRIFT_VERIFY,
                  "flux/app: Deployment/web .spec.replicas by 'kubectl-scale'" },
                { "our field, by a named manager", &web, 11, 2, LESS, UPDATE("someone", "", "{\"f:spec\":{\"f:replicas\":{}}}"), "",
                  DRIFT_VERIFY, "flux/app: Deployment/web .spec.replicas by 'someone'" },
                { "another field", &web, 11, 2, OWN, UPDATE("someone", "", "{\"f:spec\":{\"f:paused\":{}}}"), "", DRIFT_VERIFY,
                  "" },
                { "a field by kubectl", &web, 11, 2, OWN, UPDATE("kubectl-edit", "", "{\"f:spec\":{\"f:paused\":{}}}"), "",
                  DRIFT_VERIFY, "flux/app: Deployment/web .spec.paused by 'kubectl-edit'" },
                { "switched off", &web, 11, 1, OWN, "", "\"annotations\":{\"kustomize.toolkit.fluxcd.io/reconcile\":\"disabled\"},",
                  DRIFT_VERIFY, "flux/app: Deployment/web  by ''" },
                { "a kind without a generation", &data, 11, 0, OWN, "", "", DRIFT_VERIFY, "" },
                { "a kind without a generation, untouched", &data, 10, 0, OWN, "", "", DRIFT_NONE, "" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                int generation = cases[i].key == &web;
                struct drift_live live;

                setup(state);
                verify(cases[i].key, 10, generation);
                watch(cases[i].key, 10, generation);
                show(cases[i].key, cases[i].version, cases[i].generation, cases[i].applied, cases[i].others, cases[i].metadata);
                if (check(cases[i].key, wanted, &live) != cases[i].verdict || strcmp(woken, cases[i].woken))
                        fail_msg("%s: %s", cases[i].name, woken);
                assert_true(live.known && live.exists && live.verified);
                assert_int_equal(check(cases[i].key, other, &live), DRIFT_VERIFY);
                assert_false(live.verified);
                teardown(state);
        }
        setup(state);
}

static void without_a_live_watch_everything_is_asked_about(void **state)
{
        struct drift_live live;

        (void)state;
        verify(&web, 10, 1);
        assert_int_equal(check(&web, wanted, &live), DRIFT_VERIFY);
        assert_false(live.known);
        watch(&web, 10, 1);
        assert_int_equal(check(&web, wanted, &live), DRIFT_NONE);
        assert_int_equal(drift_check(table, &web, wanted, RECHECK, NOW + DRIFT_WATCH_STALE_MS, &live), DRIFT_VERIFY);
        drift_watch_synced(table, &deployments, false);
        assert_int_equal(check(&web, wanted, &live), DRIFT_VERIFY);
        assert_false(live.known);
}

static void object_that_a_new_watch_does_not_show_is_asked_about(void **state)
{
        struct drift_live live;

        (void)state;
        verify(&web, 10, 1);
        drift_watch_synced(table, &deployments, true);
        drift_watch_heard(table, &deployments, NOW);
        assert_int_equal(check(&web, wanted, &live), DRIFT_VERIFY);
        assert_false(live.known);
}

/* It was applied after the watch had its list, and its event is still under way. */
static void object_that_a_new_watch_shows_late_wakes_its_owner(void **state)
{
        struct drift_live live;

        (void)state;
        verify(&web, 10, 1);
        drift_watch_synced(table, &deployments, true);
        drift_watch_heard(table, &deployments, NOW);
        show(&web, 10, 1, OWN, "", "");
        assert_int_equal(check(&web, wanted, &live), DRIFT_NONE);
        drift_update(table, &web, DRIFT_DELETED, view_of("{\"metadata\":{\"resourceVersion\":\"11\"}}"));
        assert_string_equal(woken, "flux/app: Deployment/web deleted by ''");
}

static void deletions_wake_the_owner(void **state)
{
        struct drift_live live;

        (void)state;
        verify(&web, 10, 1);
        watch(&web, 10, 1);
        drift_update(table, &web, DRIFT_DELETED, VIEW_NULL);
        assert_string_equal(woken, "flux/app: Deployment/web deleted by ''");
        assert_int_equal(check(&web, wanted, &live), DRIFT_VERIFY);
        assert_true(live.known && !live.exists);
        verify(&web, 20, 1);
        assert_int_equal(check(&web, wanted, &live), DRIFT_NONE);
        drift_forget(table, &web);
        drift_update(table, &web, DRIFT_DELETED, VIEW_NULL);
        assert_int_equal(wakes, 1);
        assert_int_equal(drift_table_count(table), 0);
}

/* A Job that the cluster removes when it has finished would run for ever, if each removal had it made again. */
static void finished_jobs_wake_nobody(void **state)
{
        static const struct kube_resource jobs = { "batch", "v1", "Job", "jobs", "batch/v1", true };
        static const struct {
                const char *spec;
                bool during_run;
                int wakes;
        } cases[] = {
                { "{\"ttlSecondsAfterFinished\":0}", false, 0 },
                { "{\"ttlSecondsAfterFinished\":0}", true, 0 },
                { "{\"suspend\":false}", false, 1 },
                { "{\"suspend\":false}", true, 1 },
        };
        const struct drift_key once = { &jobs, "ns", "once" };

        for (size_t i = 0; i < COUNT(cases); i++) {
                struct drift_live live;
                char text[2048];
                bool current;
                size_t count;

                setup(state);
                object(text, 10, 1, OWN, "", "");
                sprintf(text + strlen(text) - 1, ",\"spec\":%s}", cases[i].spec);
                drift_verified(table, &once, "flux", "app", wanted, view_of(text), false, NOW);
                watch(&once, 10, 1);
                if (cases[i].during_run)
                        drift_run_begin(table, "flux", "app");
                drift_update(table, &once, DRIFT_DELETED, VIEW_NULL);
                if (cases[i].during_run)
                        drift_run_end(table, "flux", "app");
                assert_int_equal(wakes, cases[i].wakes);
                /* The next run makes it again, as Flux does. */
                assert_false(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + 1, &count, &current));
                assert_int_equal(check(&once, wanted, &live), DRIFT_VERIFY);
                assert_true(live.known && !live.exists);
                teardown(state);
        }
        setup(state);
}

static void own_writes_wake_nobody(void **state)
{
        (void)state;
        verify(&web, 10, 1);
        watch(&web, 10, 1);
        drift_run_begin(table, "flux", "app");
        show(&web, 12, 2, LESS, "", ""); /* our apply, seen before its answer */
        {
                char text[2048];

                drift_verified(table, &web, "flux", "app", other, view_of(object(text, 12, 2, LESS, "", "")), false, NOW);
        }
        drift_run_end(table, "flux", "app");
        assert_int_equal(wakes, 0);
}

static void edit_during_a_run_wakes_at_its_end(void **state)
{
        (void)state;
        verify(&web, 10, 1);
        watch(&web, 10, 1);
        drift_run_begin(table, "flux", "app");
        show(&web, 13, 2, LESS, UPDATE("someone", "", "{\"f:spec\":{\"f:replicas\":{}}}"), "");
        assert_int_equal(wakes, 0);
        drift_run_end(table, "flux", "app");
        assert_string_equal(woken, "flux/app: Deployment/web .spec.replicas by 'someone'");
}

/* Each is told of, and only what is still drift at the end: not what the run put right after it was edited. */
static void each_edit_during_a_run_is_told_of(void **state)
{
        (void)state;
        verify(&web, 10, 1);
        verify(&data, 11, 0);
        watch(&web, 10, 1);
        watch(&data, 11, 0);
        drift_run_begin(table, "flux", "app");
        show(&web, 13, 2, LESS, UPDATE("someone", "", "{\"f:spec\":{\"f:replicas\":{}}}"), "");
        show(&data, 14, 0, LESS, UPDATE("another", "", "{\"f:data\":{}}"), "");
        drift_run_end(table, "flux", "app");
        assert_int_equal(wakes, 2);
        wakes = 0;
        drift_run_begin(table, "flux", "app");
        show(&web, 15, 3, LESS, UPDATE("someone", "", "{\"f:spec\":{\"f:replicas\":{}}}"), "");
        show(&data, 16, 0, LESS, UPDATE("another", "", "{\"f:data\":{}}"), "");
        verify(&data, 17, 0);
        drift_run_end(table, "flux", "app");
        assert_int_equal(wakes, 1);
        assert_string_equal(woken, "flux/app: Deployment/web .spec.replicas by 'someone'");
}

static void quiet_owner_needs_no_run(void **state)
{
        bool current;
        size_t count;

        (void)state;
        verify(&web, 10, 1);
        verify(&data, 11, 0);
        watch(&web, 10, 1);
        assert_false(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + 1, &count, &current));
        watch(&data, 11, 0);
        verify(&data, 11, 0);
        assert_true(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + 1, &count, &current));
        assert_int_equal(count, 2);
        assert_true(current);
        show(&web, 12, 1, OWN, UPDATE("kcm", ",\"subresource\":\"status\"", "{}"), "");
        assert_true(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + 1, &count, &current));
        assert_false(current);
        drift_current(table, &web, "12");
        assert_true(drift_is_current(table, &web, NOW + 1));
        assert_false(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + RECHECK + 1, &count, &current));
        show(&data, 12, 0, LESS, "", "");
        assert_false(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + 1, &count, &current));
        assert_true(drift_owner_quiet(table, "flux", "nobody", RECHECK, NOW + 1, &count, &current));
        assert_int_equal(count, 0);
}

static void what_a_complete_run_left_out_is_nobodys(void **state)
{
        struct drift_live live;
        bool current;
        size_t count;

        (void)state;
        verify(&web, 10, 1);
        verify(&data, 11, 0);
        watch(&web, 10, 1);
        watch(&data, 11, 0);
        drift_run_begin(table, "flux", "app");
        check(&web, wanted, &live);
        drift_run_complete(table, "flux", "app");
        drift_run_end(table, "flux", "app");
        assert_true(drift_owner_quiet(table, "flux", "app", RECHECK, NOW + 1, &count, &current));
        assert_int_equal(count, 1);
        show(&data, 12, 0, LESS, "", "");
        assert_int_equal(wakes, 0);
}

/* What it applied may stay, with its labels, and is edited by others then. */
static void an_owner_that_is_gone_is_not_woken(void **state)
{
        (void)state;
        verify(&web, 10, 1);
        verify(&data, 11, 0);
        watch(&web, 10, 1);
        watch(&data, 11, 0);
        drift_update(table, &data, DRIFT_DELETED, VIEW_NULL);
        assert_int_equal(wakes, 1);
        drift_forget_owner(table, "flux", "nobody");
        assert_int_equal(drift_table_count(table), 2);
        drift_forget_owner(table, "flux", "app");
        assert_int_equal(drift_table_count(table), 0);
        show(&web, 12, 2, LESS, UPDATE("kubectl-edit", "", "{\"f:spec\":{\"f:replicas\":{}}}"), "");
        drift_update(table, &web, DRIFT_DELETED, VIEW_NULL);
        assert_int_equal(wakes, 1);
        assert_int_equal(drift_table_count(table), 0);
}

static void new_epoch_renews_so_many_a_second(void **state)
{
        int i, renewed = 0;

        (void)state;
        for (i = 0; i < 300; i++) {
                char name[16], text[2048];
                const struct drift_key key = { &deployments, "ns", name };

                snprintf(name, sizeof(name), "d%d", i);
                drift_verified(table, &key, "flux", "app", wanted, view_of(object(text, 10, 1, OWN, "", "")), true, NOW);
                show(&key, 10, 1, OWN, "", "");
        }
        drift_watch_synced(table, &deployments, true);
        drift_watch_heard(table, &deployments, NOW);
        drift_epoch(table, NULL, 7);
        for (i = 0; i < 300; i++) {
                char name[16];
                const struct drift_key key = { &deployments, "ns", name };
                struct drift_live live;

                snprintf(name, sizeof(name), "d%d", i);
                renewed += check(&key, wanted, &live) == DRIFT_VERIFY;
        }
        assert_int_equal(renewed, DRIFT_RENEWALS_PER_SECOND);
        assert_true(drift_table_bytes(table) / 300 < 240);
}

/* What is seen of a restored store is older than what was verified: it counts all the same, and so does the next edit. */
static void restored_store_begins_anew(void **state)
{
        static const struct kube_resource *const restarted[] = { NULL, &deployments };
        struct drift_live live;
        size_t i, count;
        bool current;

        (void)state;
        for (i = 0; i < COUNT(restarted); i++) {
                setup(NULL);
                verify(&web, 500, 1);
                watch(&web, 500, 1);
                verify(&data, 500, 0);
                watch(&data, 500, 0);
                show(&web, 300, 1, LESS, "", "");
                drift_restart(table, restarted[i]);
                assert_int_equal(wakes, 0);
                assert_int_equal(check(&web, wanted, &live), DRIFT_VERIFY);
                assert_false(live.known);
                assert_false(drift_is_current(table, &web, NOW));
                assert_int_equal(check(&data, wanted, &live), restarted[i] ? DRIFT_NONE : DRIFT_VERIFY);
                drift_owner_quiet(table, "flux", "app", RECHECK, NOW, &count, &current);
                assert_int_equal(count, restarted[i] ? 1 : 0);
                verify(&web, 301, 1);
                assert_int_equal(check(&web, wanted, &live), DRIFT_NONE);
                show(&web, 302, 2, LESS, UPDATE("someone", "", "{\"f:spec\":{\"f:replicas\":{}}}"), "");
                assert_string_equal(woken, "flux/app: Deployment/web .spec.replicas by 'someone'");
                teardown(NULL);
        }
}

static void *shake(void *argument)
{
        int i;

        (void)argument;
        for (i = 11; i < 200; i++)
                show(&web, i, 1, OWN, "", "");
        return NULL;
}

static void waiting_ends_with_an_event(void **state)
{
        struct context context;
        uint64_t sequence = 0;
        pthread_t thread;

        (void)state;
        context_open(&context, NULL, CLOCK_NEVER);
        verify(&web, 10, 1);
        assert_false(drift_wait(&context, table, "flux", "app", &sequence, 1));
        pthread_create(&thread, NULL, shake, NULL);
        assert_true(drift_wait(&context, table, "flux", "app", &sequence, 60000));
        pthread_join(thread, NULL);
        context_cancel(&context, CONTEXT_SHUTDOWN);
        while (drift_wait(&context, table, "flux", "app", &sequence, 60000))
                ;
        context_close(&context);
}

static void text_that_is_no_object_is_ignored(void **state)
{
        static const char *const texts[] = { "", "[]", "{", "{\"metadata\":", "{\"metadata\":{\"labels\":7}}", "null" };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(texts); i++)
                drift_update(table, &web, DRIFT_SEEN, view_of(texts[i]));
        assert_int_equal(drift_table_count(table), 0);
}

/* Deleted and made again while nobody looked: it is another, even if all else is the same. */
static void another_uid_is_another_object(void **state)
{
        static const struct {
                const char *first, *second;
        } cases[] = {
                { "01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdee" },
                { "01234567-89ab-cdef-0123-456789abcdef", "short" },
                { "of no known form", "01234567-89ab-cdef-0123-456789abcdef" },
                { "one", "two" },
        };
        char text[2048];

        for (size_t i = 0; i < COUNT(cases); i++) {
                struct drift_live live;

                assert_int_equal(setup(state), 0);
                uid = cases[i].first;
                drift_verified(table, &web, "flux", "app", wanted, view_of(object(text, 10, 1, OWN, "", "")), true, NOW);
                watch(&web, 11, 1);
                assert_int_equal(check(&web, wanted, &live), DRIFT_NONE);
                assert_string_equal(live.uid, cases[i].first);
                assert_int_equal(wakes, 0);
                uid = cases[i].second;
                show(&web, 12, 1, OWN, "", "");
                assert_int_equal(wakes, 1);
                assert_int_equal(check(&web, wanted, &live), DRIFT_VERIFY);
                assert_string_equal(live.uid, cases[i].second);
                assert_false(live.same);
                drift_verified(table, &web, "flux", "app", wanted, view_of(object(text, 12, 1, OWN, "", "")), true, NOW);
                assert_int_equal(check(&web, wanted, &live), DRIFT_NONE);
                assert_string_equal(live.uid, cases[i].second);
                teardown(state);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(what_moved_and_what_it_means, teardown),
                cmocka_unit_test_setup_teardown(without_a_live_watch_everything_is_asked_about, setup, teardown),
                cmocka_unit_test_setup_teardown(object_that_a_new_watch_does_not_show_is_asked_about, setup, teardown),
                cmocka_unit_test_setup_teardown(object_that_a_new_watch_shows_late_wakes_its_owner, setup, teardown),
                cmocka_unit_test_setup_teardown(deletions_wake_the_owner, setup, teardown),
                cmocka_unit_test_teardown(finished_jobs_wake_nobody, teardown),
                cmocka_unit_test_setup_teardown(own_writes_wake_nobody, setup, teardown),
                cmocka_unit_test_setup_teardown(edit_during_a_run_wakes_at_its_end, setup, teardown),
                cmocka_unit_test_setup_teardown(each_edit_during_a_run_is_told_of, setup, teardown),
                cmocka_unit_test_setup_teardown(quiet_owner_needs_no_run, setup, teardown),
                cmocka_unit_test_setup_teardown(what_a_complete_run_left_out_is_nobodys, setup, teardown),
                cmocka_unit_test_setup_teardown(an_owner_that_is_gone_is_not_woken, setup, teardown),
                cmocka_unit_test_setup_teardown(new_epoch_renews_so_many_a_second, setup, teardown),
                cmocka_unit_test_teardown(restored_store_begins_anew, teardown),
                cmocka_unit_test(another_uid_is_another_object),
                cmocka_unit_test_setup_teardown(waiting_ends_with_an_event, setup, teardown),
                cmocka_unit_test_setup_teardown(text_that_is_no_object_is_ignored, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
