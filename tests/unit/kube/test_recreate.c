/* Objects that cannot be changed and are made anew, and what moves under the hands of a run. */
#include "apply_world.h"

static void immutable_objects(void **state)
{
        static const struct {
                const char *name, *annotation, *refuse_create;
                bool force, survives;
                const char *result;
        } cases[] = {
                { "not without force", "", NULL, false, true,
                  "ConfigMap/ns/fixed dry-run failed (Invalid): data: field is immutable\n" },
                { "with force", "", NULL, true, false, "ConfigMap/ns/fixed created" },
                { "by annotation", NOTE("force", "Enabled"), NULL, false, false, "ConfigMap/ns/fixed created" },
                { "not if it could not be created again", "", "a typo", true, true,
                  "ConfigMap/ns/fixed dry-run failed (Invalid): data: field is immutable\n" },
                { "an address that only one can have", "", "provided IP is already allocated", true, false,
                  "ConfigMap/ns/fixed created" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *wanted = NULL;
                struct apply_settings settings;
                const char *found;

                setup(state);
                settings = settings_with_table();
                settings.force = cases[i].force;
                cluster.refuse_create = cases[i].refuse_create;
                store("fixed", MAP("fixed", "", "{\"a\":\"old\"}"));
                wanted = memory_printf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"ns\",\"name\":"
                                       "\"fixed\"," LABELS "%s},\"data\":{\"a\":\"new\"}}",
                                       cases[i].annotation);
                found = strstr(run_one(&settings, wanted, true), "-> ");
                if (strcmp(found + 3, cases[i].result) ||
                    !strcmp(json_string(JSON_PATH(stored("fixed"), "data", "a"), ""), "old") != cases[i].survives)
                        fail_msg("%s: %s", cases[i].name, found);
                teardown(state);
        }
        setup(state);
}

/* A deletion only marks what somebody holds. */
static int serve_held(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb != KUBE_DELETE)
                return serve(request, body, ret_json, error);
        *ret_json = json_new_object();
        return 0;
}

/* The wait for the end of what is made anew is bounded, by its own time or by the run's, and says what it waited for. */
static void what_is_held_is_named(void **state)
{
        static const struct {
                const char *name, *finalizers, *result;
                int64_t recreate_ms, run_ms;
        } cases[] = {
                { "its own time", "[\"a/b\",\"c/d\"]", ": finalizers [\"a/b\",\"c/d\"] hold it\n", 300, 60000 },
                { "the time of the run", "[\"a/b\"]", ": finalizers [\"a/b\"] hold it\n", 60000, 1000 },
                { "something that takes its time to end", "[]", "\n", 300, 60000 },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *expected = memory_printf(
                        "ConfigMap/ns/fixed immutable field detected, it was deleted to be created again but is still there%s",
                        cases[i].result);
                struct apply_settings settings;
                const char *found;

                setup(state);
                settings = settings_with_table();
                settings.force = true;
                settings.recreate_ms = cases[i].recreate_ms;
                fake.answer = serve_held;
                context_close(&context);
                context_open(&context, NULL, clock_now_ms() + cases[i].run_ms);
                store("fixed", MAP("fixed", "", "{\"a\":\"old\"}"));
                json_set(json_get(json_get(cluster.objects, "configmaps/ns/fixed"), "metadata"), "finalizers",
                         json_of(cases[i].finalizers));
                found = strstr(run_one(&settings, MAP("fixed", "", "{\"a\":\"new\"}"), true), "-> ");
                if (strcmp(found + 3, expected) != 0)
                        fail_msg("%s: %s", cases[i].name, found);
                teardown(state);
        }
        setup(state);
}

static struct {
        unsigned deletions;      /* so many find the object moved */
        const char *becomes;     /* and like this */
        const char *lost_answer; /* to an apply of this name */
} meanwhile;

static int serve_moving(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_DELETE && meanwhile.deletions) {
                meanwhile.deletions--;
                store("fixed", meanwhile.becomes);
        }
        if (meanwhile.lost_answer && request->verb == KUBE_APPLY && !request->dry_run &&
            !strcmp(request->name, meanwhile.lost_answer)) {
                struct json *lost = NULL;

                assert_int_equal(serve(request, body, &lost, error), 0);
                json_free(&lost);
                return error_set(error, ERROR_UNAVAILABLE, "the connection was lost");
        }
        return serve(request, body, ret_json, error);
}

#define EDITED                                                                                                                     \
        ",\"managedFields\":[{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time\":\"2020-01-"     \
        "01T00:00:00Z\","                                                                                                          \
        "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}}]"

/* An edit that makes every apply fail is undone all the same, and the object is not deleted for it. */
static void an_edit_that_stands_in_the_way_is_taken_over(void **state)
{
        const char *const wanted = MAP("crowded", "", "{\"a\":\"b\"}");
        struct apply_settings settings = settings_with_table();

        (void)state;
        settings.force = true;
        run_one(&settings, wanted, false);
        watch_shows("crowded");
        drift_watch_synced(table, &fake_resources[0], true);
        store("crowded", MAP("crowded", EDITED, "{\"a\":\"edited\"}"));
        watch_shows("crowded");
        assert_non_null(strstr(run_one(&settings, wanted, true), "-> ConfigMap/ns/crowded configured"));
        assert_string_equal(json_string(JSON_PATH(stored("crowded"), "data", "a"), ""), "b");

        /* Without a watch; and what is wrong by itself is taken over by nobody. */
        store("crowded", MAP("crowded", EDITED, "{\"a\":\"edited\"}"));
        drift_watch_synced(table, &fake_resources[0], false);
        assert_non_null(strstr(run_one(&settings, wanted, true), "JSON configmaps/ns/crowded\nAPPLY configmaps/ns/crowded\n-> "
                                                                 "ConfigMap/ns/crowded configured"));
        store("invalid", MAP("invalid", EDITED, "{\"a\":\"edited\"}"));
        assert_non_null(strstr(run_one(&settings, MAP("invalid", "", "{\"a\":\"b\"}"), true), "dry-run failed (Invalid)"));
        assert_true(is_foreign(stored("invalid")));
}

static int serve_vanishing(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_GET)
                json_remove(cluster.objects, "configmaps/ns/a");
        return serve(request, body, ret_json, error);
}

/* Deleted between the dry run, which found it there, and the look at it. */
static void what_vanishes_while_it_is_tried_is_made(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        fake.answer = serve_vanishing;
        store("a", MAP("a", "", "{\"a\":\"old\"}"));
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), false), "-> ConfigMap/ns/a created"));
        assert_string_equal(json_string(JSON_PATH(stored("a"), "data", "a"), ""), "b");
}

/* What is deleted to be created again is what was tried, or it is tried again. */
static void recreation_of_what_moved_meanwhile(void **state)
{
        static const struct {
                const char *name, *becomes;
                unsigned deletions;
                const char *result, *data;
        } cases[] = {
                { "still to be recreated", MAP("fixed", "", "{\"a\":\"older\"}"), 2, "ConfigMap/ns/fixed created", "new" },
                { "made right by another", MAP("fixed", "", "{\"a\":\"new\"}"), 1, "ConfigMap/ns/fixed unchanged", "new" },
                { "not ours to change now", MAP("fixed", NOTE("reconcile", "disabled"), "{\"a\":\"older\"}"), 1,
                  "ConfigMap/ns/fixed skipped", "older" },
                { "never at rest", MAP("fixed", "", "{\"a\":\"older\"}"), 100,
                  "ConfigMap/ns/fixed immutable field detected, failed to delete object: the ResourceVersion in the precondition "
                  "does "
                  "not match\n",
                  "older" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct apply_settings settings;
                const char *found;

                setup(state);
                settings = settings_with_table();
                settings.force = true;
                fake.answer = serve_moving;
                meanwhile.deletions = cases[i].deletions;
                meanwhile.becomes = cases[i].becomes;
                store("fixed", MAP("fixed", "", "{\"a\":\"old\"}"));
                found = strstr(run_one(&settings, MAP("fixed", "", "{\"a\":\"new\"}"), true), "-> ");
                if (strcmp(found + 3, cases[i].result) ||
                    strcmp(json_string(JSON_PATH(stored("fixed"), "data", "a"), ""), cases[i].data))
                        fail_msg("%s: %s", cases[i].name, found);
                meanwhile.deletions = 0;
                teardown(state);
        }
        setup(state);
}

static int serve_race(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_APPLY && request->dry_run)
                return fake_error(
                        error, 409, "Conflict",
                        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your "
                        "changes to the latest version and try again");
        return serve(request, body, ret_json, error);
}

/* A lost race is a 409 as well, and says nothing about fields that cannot change. */
static void a_lost_race_deletes_nothing(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        settings.force = true;
        fake.answer = serve_race;
        store("a", MAP("a", "", "{\"a\":\"old\"}"));
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"new\"}"), true), "dry-run failed (Conflict)"));
        assert_non_null(stored("a"));
}

/* Whether an object was made by a write whose answer was lost is not known: it must stay in the inventory. */
static void what_may_have_been_written_is_not_forgotten(void **state)
{
        struct apply_settings settings = settings_with_table();
        const char *const text = MAP("a", "", "{\"a\":\"b\"}");
        struct apply_object object = object_of(text);
        struct apply_changes changes = APPLY_CHANGES_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct inventory inventory;

        (void)state;
        fake.answer = serve_moving;
        meanwhile.lost_answer = "a";
        assert_int_equal(apply_objects(&context, &settings, &object, 1, arena, &changes, &error), -1);
        meanwhile.lost_answer = NULL;
        assert_string_equal(error_message(&error), "ConfigMap/ns/a apply failed: the connection was lost\n");
        inventory = apply_inventory(&changes, arena);
        assert_int_equal(inventory.count, 1);
        assert_string_equal(inventory.items[0].name, "a");
        assert_non_null(stored("a"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(immutable_objects, teardown),
                cmocka_unit_test_teardown(what_is_held_is_named, teardown),
                cmocka_unit_test_teardown(recreation_of_what_moved_meanwhile, teardown),
                cmocka_unit_test_setup_teardown(an_edit_that_stands_in_the_way_is_taken_over, setup, teardown),
                cmocka_unit_test_setup_teardown(what_vanishes_while_it_is_tried_is_made, setup, teardown),
                cmocka_unit_test_setup_teardown(a_lost_race_deletes_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(what_may_have_been_written_is_not_forgotten, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
