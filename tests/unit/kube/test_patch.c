#include "kube/patch.h"

#include "kube/condition.h"

#include "fake_server.h"

static const struct kube_resource kustomizations = { .group = "kustomize.toolkit.fluxcd.io",
                                                     .version = "v1",
                                                     .kind = "Kustomization",
                                                     .plural = "kustomizations",
                                                     .api_version = "kustomize.toolkit.fluxcd.io/v1",
                                                     .namespaced = true };
static const char *const owned[] = { "Ready", "Reconciling", "Stalled", NULL };

#define OBJECT(version, rest)                                                                                                      \
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"app\",\"generation\":1,\"resourceVersion\":\"" version "\"" rest "}"

/* The object as the server has it: patches are merged into it, and a resourceVersion that is not its own is a conflict. */
static struct {
        struct json *object;
        int version;
        bool gone;
} server;

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        cleanup(json_free) struct json *patch = NULL;
        const char *lock;
        struct json *metadata;

        if (server.gone)
                return fake_error(error, 404, "NotFound", "kustomizations.kustomize.toolkit.fluxcd.io \"app\" not found");
        if (request->verb == KUBE_GET) {
                *ret_json = json_copy(server.object);
                return 0;
        }
        assert_int_equal(request->verb, KUBE_PATCH_MERGE);
        assert_string_equal(request->field_manager, "gotk-kustomize-controller");
        patch = json_of(body);
        lock = json_string(JSON_PATH(patch, "metadata", "resourceVersion"), NULL);
        metadata = json_get(server.object, "metadata");
        if (lock && strcmp(lock, json_string(json_get(metadata, "resourceVersion"), "")))
                return fake_error(error, 409, "Conflict", "the object has been modified");
        if (request->subresource)
                json_set(server.object, "status", json_copy(json_get(patch, "status"))); /* enough for what these tests look at */
        else if (JSON_PATH(patch, "metadata", "finalizers"))
                json_set(metadata, "finalizers", json_copy(JSON_PATH(patch, "metadata", "finalizers")));
        json_set(metadata, "resourceVersion", json_new_printf("%d", ++server.version));
        *ret_json = json_copy(server.object);
        return 0;
}

static int setup(void **state)
{
        (void)state;
        fake_reset();
        fake.answer = serve;
        server.gone = false;
        server.version = 10;
        json_free(&server.object);
        server.object = json_of(OBJECT("10", "}"));
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_reset();
        json_free(&server.object);
        return 0;
}

static void begin(struct object_patch *patch, const struct json *object)
{
        object_patch_begin(patch, NULL, &kustomizations, "gotk-kustomize-controller", owned, object);
}

static void nothing_to_write_is_no_request(void **state)
{
        cleanup(json_free) struct json *object = json_copy(server.object);
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        begin(&patch, object);
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), 0);
        assert_int_equal(fake_count(), 0);
}

static void one_patch_each_and_the_next_uses_the_answer(void **state)
{
        cleanup(json_free) struct json *object = json_copy(server.object);
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(free_string) char *lines = NULL;

        (void)state;
        begin(&patch, object);
        finalizer_add(object, "finalizers.fluxcd.io");
        condition_set(object, "Ready", "Unknown", "Progressing", "x");
        json_set_string(json_object_at(object, "status"), "lastAttemptedRevision", "main@sha1:1");
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), 0);
        assert_string_equal(json_string(JSON_PATH(object, "metadata", "resourceVersion"), ""), "12");
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), 0);
        condition_set(object, "Ready", "True", "Succeeded", "x");
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), 0);
        lines = fake_lines();
        assert_string_equal(
                lines, "MERGE kustomizations/ns/app/status\nMERGE kustomizations/ns/app\nMERGE kustomizations/ns/app/status\n");
        assert_non_null(strstr(fake.requests[0].body, "\"resourceVersion\":\"10\""));
        assert_non_null(strstr(fake.requests[1].body, "\"resourceVersion\":\"11\""));
        assert_non_null(strstr(fake.requests[2].body, "\"resourceVersion\":\"12\""));
}

static void no_lock_without_conditions(void **state)
{
        cleanup(json_free) struct json *object = json_copy(server.object);
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        begin(&patch, object);
        json_set_string(json_object_at(object, "status"), "lastHandledReconcileAt", "r1");
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), 0);
        assert_string_equal(fake.requests[0].body, "{\"status\":{\"lastHandledReconcileAt\":\"r1\"}}");
}

#define CONDITION(type, status) "{\"type\":\"" type "\",\"status\":\"" status "\",\"reason\":\"R\",\"message\":\"m\"}"

static void conditions_of_others(void **state)
{
        static const struct {
                const char *name;
                const char *before, *after, *latest; /* lists */
                const char *result;                  /* types and statuses, or the error */
        } cases[] = {
                { "a foreign one that came meanwhile stays", "[]", "[" CONDITION("Ready", "True") "]",
                  "[" CONDITION("Foreign", "True") "]", "Ready=True Foreign=True " },
                { "a foreign one that changed meanwhile stays", "[" CONDITION("Foreign", "False") "]",
                  "[" CONDITION("Ready", "True") "," CONDITION("Foreign", "False") "]", "[" CONDITION("Foreign", "True") "]",
                  "Ready=True Foreign=True " },
                { "our type is overwritten", "[" CONDITION("Ready", "Unknown") "]", "[" CONDITION("Ready", "True") "]",
                  "[" CONDITION("Ready", "False") "]", "Ready=True " },
                { "our type is removed", "[" CONDITION("Stalled", "True") "]", "[]",
                  "[" CONDITION("Stalled", "True") "," CONDITION("X", "True") "]", "X=True " },
                { "a type that is not ours was changed by both", "[" CONDITION("Foreign", "Unknown") "]",
                  "[" CONDITION("Foreign", "True") "]", "[" CONDITION("Foreign", "False") "]",
                  "error patching conditions: The condition \"Foreign\" was modified by a different process and this caused a "
                  "merge/ChangeCondition conflict: it is now False, reason R" },
                { "changed to the same by both", "[" CONDITION("Foreign", "Unknown") "]", "[" CONDITION("Foreign", "True") "]",
                  "[" CONDITION("Foreign", "True") "]", "Foreign=True " },
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = json_of(OBJECT("9", "}"));
                cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(buffer_release) struct buffer found = BUFFER_NULL;
                struct context context;
                const struct json *list;
                size_t k;

                setup(NULL);
                context_open(&context, NULL, CLOCK_NEVER);
                json_set(json_object_at(object, "status"), "conditions", json_of(cases[i].before));
                begin(&patch, object);
                json_set(json_object_at(object, "status"), "conditions", json_of(cases[i].after));
                json_set(json_object_at(server.object, "status"), "conditions", json_of(cases[i].latest));
                if (object_patch_write(&context, &patch, object, &error) != 0)
                        buffer_add_string(&found, error_message(&error));
                else
                        for (list = JSON_PATH(server.object, "status", "conditions"), k = 0; k < json_length(list); k++)
                                buffer_printf(&found, "%s=%s ", json_string(json_get(json_at(list, k), "type"), ""),
                                              json_string(json_get(json_at(list, k), "status"), ""));
                if (strcmp(buffer_string(&found), cases[i].result))
                        fail_msg("%s: %s", cases[i].name, buffer_string(&found));
                context_close(&context);
        }
}

static void foreign_finalizer_survives_ours_being_removed(void **state)
{
        cleanup(json_free) struct json *object = json_of(OBJECT("9", ",\"finalizers\":[\"finalizers.fluxcd.io\"]}"));
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(free_string) char *finalizers = NULL;
        struct context context;

        (void)state;
        context_open(&context, NULL, CLOCK_NEVER);
        json_set(json_object_at(server.object, "metadata"), "finalizers",
                 json_of("[\"finalizers.fluxcd.io\",\"example.com/other\"]"));
        begin(&patch, object);
        assert_true(finalizer_remove(object, "finalizers.fluxcd.io"));
        assert_int_equal(object_patch_write(&context, &patch, object, &error), 0);
        finalizers = json_text(JSON_PATH(server.object, "metadata", "finalizers"));
        assert_string_equal(finalizers, "[\"example.com/other\"]");
        context_close(&context);
}

/* What a run wants to say of an object is nothing about the one that was made by its name meanwhile, and what that one deletes is not what this one applied. */
static void another_object_of_that_name_gets_nothing(void **state)
{
        static const char *const changes[] = {
                "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"R\",\"message\":\"m\"}]}",
                "{\"inventory\":{\"entries\":[{\"id\":\"ns_a__ConfigMap\",\"v\":\"v1\"}]}}"
        };
        struct context context;

        (void)state;
        context_open(&context, NULL, CLOCK_NEVER);
        for (size_t i = 0; i < COUNT(changes); i++) {
                cleanup(json_free) struct json *object = json_of(OBJECT("9", ",\"uid\":\"first\"}"));
                cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                json_free(&server.object);
                server.object = json_of(OBJECT("12", ",\"uid\":\"second\"}"));
                begin(&patch, object);
                json_set(object, "status", json_of(changes[i]));
                assert_int_equal(object_patch_write(&context, &patch, object, &error), -1);
                assert_int_equal(error.kind, ERROR_NOT_FOUND);
                assert_string_equal(error_message(&error), "kustomizations \"app\" was deleted, and another one made by that name");
                assert_null(json_get(server.object, "status"));
        }
        context_close(&context);
}

/* What the cache showed was old: what is there is not what the run began with. Its word is sent whole, and what only the others know stays. */
static void what_others_wrote_meanwhile(void **state)
{
        static const struct {
                const char *name, *before, *after, *latest, *sent;
        } cases[] = {
                { "what the run found is what it knew, and not what is there", "{\"artifact\":\"a\"}", "{\"artifact\":\"a\"}",
                  "{\"artifact\":\"b\"}", "{\"artifact\":\"a\"}" },
                { "it is gone by the run's word", "{\"artifact\":\"a\"}", "{}", "{\"artifact\":\"b\"}", "{\"artifact\":null}" },
                { "gone there", "{\"artifact\":\"a\"}", "{\"artifact\":\"a\"}", "{}", "{\"artifact\":\"a\"}" },
                { "of others", "{}", "{\"own\":1}", "{\"theirs\":1}", "{\"own\":1}" },
                { "an inventory that has grown", "{\"inventory\":{\"entries\":[{\"id\":\"n_a__S\",\"v\":\"v1\"}]}}",
                  "{\"inventory\":{\"entries\":[{\"id\":\"n_b__S\",\"v\":\"v1\"}]}}",
                  "{\"inventory\":{\"entries\":[{\"id\":\"n_a__S\",\"v\":\"v1\"},{\"id\":\"n_c__S\",\"v\":\"v1\"}]}}",
                  "{\"inventory\":{\"entries\":[{\"id\":\"n_b__S\",\"v\":\"v1\"},{\"id\":\"n_c__S\",\"v\":\"v1\"}]}}" },
                { "an inventory that the run did not touch", "{\"inventory\":{\"entries\":[{\"id\":\"n_a__S\",\"v\":\"v1\"}]}}",
                  "{\"inventory\":{\"entries\":[{\"id\":\"n_a__S\",\"v\":\"v1\"}]},\"own\":1}", "{\"inventory\":{\"entries\":[]}}",
                  "{\"own\":1}" },
        };
        struct context context;

        (void)state;
        context_open(&context, NULL, CLOCK_NEVER);
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = json_of(OBJECT("9", "}"));
                cleanup(json_free) struct json *sent = NULL, *wanted = json_of(cases[i].sent);
                cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                setup(NULL);
                json_set(object, "status", json_of(cases[i].before));
                begin(&patch, object);
                json_set(object, "status", json_of(cases[i].after));
                condition_set(object, "Ready", "True", "Succeeded", "x");
                json_set(server.object, "status", json_of(cases[i].latest));
                assert_int_equal(object_patch_write(&context, &patch, object, &error), 0);
                sent = json_of(fake.requests[fake.count - 1].body);
                json_remove(json_get(sent, "status"), "conditions");
                if (!json_equal(json_get(sent, "status"), wanted))
                        fail_msg("%s: %s", cases[i].name, fake.requests[fake.count - 1].body);
        }
        context_close(&context);
}

static void gone_while_deleting_is_written(void **state)
{
        cleanup(json_free) struct json *object = json_of(OBJECT("9", ",\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"}"));
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        server.gone = true;
        begin(&patch, object);
        condition_set(object, "Ready", "True", "Succeeded", "x");
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), 0);
        json_remove(json_get(object, "metadata"), "deletionTimestamp");
        condition_set(object, "Ready", "False", "Failed", "x");
        assert_int_equal(object_patch_write(NULL, &patch, object, &error), -1);
        assert_int_equal(error.kind, ERROR_NOT_FOUND);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(nothing_to_write_is_no_request, setup, teardown),
                cmocka_unit_test_setup_teardown(one_patch_each_and_the_next_uses_the_answer, setup, teardown),
                cmocka_unit_test_setup_teardown(no_lock_without_conditions, setup, teardown),
                cmocka_unit_test_setup_teardown(conditions_of_others, setup, teardown),
                cmocka_unit_test_setup_teardown(foreign_finalizer_survives_ours_being_removed, setup, teardown),
                cmocka_unit_test_setup_teardown(another_object_of_that_name_gets_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(what_others_wrote_meanwhile, setup, teardown),
                cmocka_unit_test_setup_teardown(gone_while_deleting_is_written, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
