#include "kube/apply.h"

#include "kube/parallel.h"

#include "fake_resources.h"
#include "fake_server.h"

#include <stdio.h>

/*
 * The server of these tests lists ConfigMaps and Deployments of two namespaces; what is in its lists is the test's own.
 */
static struct {
        const char *items; /* of ConfigMaps in "ns", JSON objects with commas */
        int code;          /* lists fail so; 0: they do not */
} server;

static struct arena *arena;
static struct context context;
static struct drift_table *table;
static const uint8_t wanted[DRIFT_HASH] = "what is wanted";

#define OBJECT(name, version)                                                                                                      \
        "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"u-" name "\",\"resourceVersion\":\"" version          \
        "\",\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/namespace\":\"flux\"}}}"

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        bool maps = !strcmp(request->resource->kind, "ConfigMap") && !strcmp(request->namespace, "ns");
        cleanup(free_string) char *text = memory_printf("{\"items\":[%s]}", maps ? server.items : "");

        (void)body;
        assert_int_equal(request->verb, KUBE_LIST);
        assert_true(request->metadata_only);
        assert_null(request->resource_version); /* of now, not of some cache */
        assert_string_equal(request->label_selector,
                            "kustomize.toolkit.fluxcd.io/name=app,kustomize.toolkit.fluxcd.io/namespace=flux");
        if (server.code)
                return fake_error(error, server.code, "Forbidden", "configmaps is forbidden");
        *ret_json = json_of(text);
        return 0;
}

static char told[512]; /* what was found, as it is said in the event */

static void tell(void *data, const char *owner_namespace, const char *owner_name, const struct drift_report *report)
{
        size_t length = strlen(told);

        (void)data;
        assert_true(report->by_run);
        snprintf(told + length, sizeof(told) - length, "%s/%s: %s %s %s\n", owner_namespace, owner_name, report->name,
                 report->deleted ? "deleted" : report->manager, report->fields);
}

static int setup(void **state)
{
        const struct drift_settings settings = { .field_manager = "kustomize-controller",
                                                 .label_group = "kustomize.toolkit.fluxcd.io",
                                                 .wake = tell };

        (void)state;
        fake_reset();
        fake.answer = serve;
        memset(&server, 0, sizeof(server));
        server.items = "";
        told[0] = '\0';
        arena = arena_new();
        table = drift_table_new(&settings);
        context_open(&context, NULL, CLOCK_NEVER);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_reset();
        arena_free(&arena);
        drift_table_free(&table);
        context_close(&context);
        return 0;
}

static const struct kube_resource *const maps = &fake_resources[0], *const deployments = &fake_resources[2];

static void verify(const struct kube_resource *resource, const char *namespace, const char *name, const char *version)
{
        const struct drift_key key = { resource, namespace, name };
        cleanup(free_string) char *text = memory_printf(
                "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"u-%s\",\"resourceVersion\":\"%s\",\"labels\":{"
                "\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/namespace\":\"flux\"}}}",
                name, namespace, name, version);

        drift_verified(table, &key, "flux", "app", wanted, view_of(text), false, clock_now_ms());
}

/* "none": nothing to ask; "verify"; "absent": to be asked about, and not there. */
static const char *verdict(const struct kube_resource *resource, const char *namespace, const char *name)
{
        const struct drift_key key = { resource, namespace, name };
        struct drift_live live;

        if (drift_check(table, &key, wanted, 3600000, clock_now_ms(), &live) == DRIFT_NONE)
                return "none";
        return live.known && !live.exists ? "absent" : live.known ? "changed" : "unknown";
}

static void look(void)
{
        static const struct object_id ids[] = {
                { "", "v1", "ConfigMap", "ns", "same" },        { "", "v1", "ConfigMap", "ns", "edited" },
                { "", "v1", "ConfigMap", "ns", "gone" },        { "", "v1", "ConfigMap", "ns", "replaced" },
                { "", "v1", "ConfigMap", "ns", "new" },         { "apps", "v1", "Deployment", "ns", "web" },
                { "apps", "v1", "Deployment", "other", "web" }, { "example.com", "v1", "Nope", "ns", "x" },
        };
        const struct inventory objects = { .items = (struct object_id *)(uintptr_t)ids, .count = COUNT(ids) };
        const struct apply_settings settings = {
                .annotation_group = "kustomize.toolkit.fluxcd.io", .owner_name = "app", .owner_namespace = "flux", .drift = table
        };
        cleanup(error_release) struct error error = ERROR_NULL;

        fake_reset();
        assert_int_equal(apply_look(&context, &settings, &objects, &error), 0);
}

static void verify_all(void)
{
        static const char *const names[] = { "same", "edited", "gone", "replaced" };
        size_t i;

        for (i = 0; i < COUNT(names); i++)
                verify(maps, "ns", names[i], "10");
        verify(deployments, "ns", "web", "10");
        verify(deployments, "other", "web", "10");
}

static void one_list_for_each_kind_and_namespace(void **state)
{
        cleanup(free_string) char *lines = NULL;

        (void)state;
        look(); /* nothing was verified: there is nothing to compare with */
        assert_int_equal(fake_count(), 0);
        verify_all();
        drift_watch_synced(table, deployments, true); /* these are watched */
        server.items = OBJECT("same", "10") "," OBJECT("stranger", "12") "," OBJECT(
                "edited",
                "11") ","
                      "{\"metadata\":{\"name\":\"replaced\",\"namespace\":\"ns\",\"uid\":\"another\",\"resourceVersion\":\"13\"}}";
        assert_string_equal(verdict(maps, "ns", "same"), "unknown");
        look();
        lines = fake_lines();
        assert_string_equal(lines, "LIST configmaps/ns\n");
        assert_string_equal(verdict(maps, "ns", "same"), "none");
        assert_string_equal(verdict(maps, "ns", "edited"), "changed");
        assert_string_equal(verdict(maps, "ns", "gone"), "absent");
        assert_string_equal(verdict(maps, "ns", "replaced"), "changed");
        look(); /* of this moment already */
        assert_int_equal(fake_count(), 0);
        drift_unlist(table, "flux", "app"); /* the next run */
        assert_string_equal(verdict(maps, "ns", "same"), "unknown");
        look();
        assert_int_equal(fake_count(), 1);
}

static void namespaces_are_listed_apart(void **state)
{
        cleanup(free_string) char *lines = NULL;

        (void)state;
        verify(deployments, "ns", "web", "10");
        verify(deployments, "other", "web", "10");
        look();
        lines = fake_lines();
        assert_string_equal(lines, "LIST deployments/ns\nLIST deployments/other\n");
        assert_string_equal(verdict(deployments, "other", "web"), "absent");
}

static void what_cannot_be_listed_is_not_known(void **state)
{
        (void)state;
        verify_all();
        server.code = 403;
        look();
        assert_string_equal(verdict(maps, "ns", "same"), "unknown");
        assert_string_equal(verdict(maps, "ns", "gone"), "unknown");
}

/* A list is of its moment. A watch that begins afterwards does not tell of what went in between. */
static void a_list_is_no_watch(void **state)
{
        const struct drift_key key = { maps, "ns", "same" };
        struct drift_live live;

        (void)state;
        verify_all();
        server.items = OBJECT("same", "10");
        look();
        assert_int_equal(drift_check(table, &key, wanted, 3600000, clock_now_ms() + DRIFT_LISTED_MS, &live), DRIFT_VERIFY);
        assert_false(live.known);
        assert_string_equal(verdict(maps, "ns", "same"), "none");
        drift_watch_synced(table, maps, true);
        assert_string_not_equal(verdict(maps, "ns", "same"), "none");
}

/* Who did what is said as if there were a watch. */
static void a_list_names_who_did_it(void **state)
{
#define EDITED                                                                                                                     \
        "{\"metadata\":{\"name\":\"edited\",\"namespace\":\"ns\",\"uid\":\"u-edited\",\"resourceVersion\":\"12\","                 \
        "\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/"                                  \
        "namespace\":\"flux\",\"mine\":\"1\"},"                                                                                    \
        "\"managedFields\":[{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"time\":\"2026-01-01T00:00:00Z\","             \
        "\"fieldsV1\":{\"f:data\":{\"f:k\":{}}}}]}}"
        (void)state;
        verify(maps, "ns", "same", "10");
        verify(maps, "ns", "edited", "10");
        verify(maps, "ns", "gone", "10");
        server.items = OBJECT("same", "10") "," EDITED;
        look();
        assert_string_equal(told, "flux/app: edited kubectl-edit .data.k\nflux/app: gone deleted \n");
#undef EDITED
}

static void an_owner_is_quiet_by_lists_alone(void **state)
{
        size_t count = 0;
        bool current;

        (void)state;
        verify(maps, "ns", "same", "10");
        verify(maps, "ns", "edited", "10");
        assert_false(drift_owner_quiet(table, "flux", "app", 3600000, clock_now_ms(), &count, &current));
        server.items = OBJECT("same", "10") "," OBJECT("edited", "10");
        look();
        assert_true(drift_owner_quiet(table, "flux", "app", 3600000, clock_now_ms(), &count, &current));
        assert_int_equal(count, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(one_list_for_each_kind_and_namespace, setup, teardown),
                cmocka_unit_test_setup_teardown(namespaces_are_listed_apart, setup, teardown),
                cmocka_unit_test_setup_teardown(what_cannot_be_listed_is_not_known, setup, teardown),
                cmocka_unit_test_setup_teardown(a_list_is_no_watch, setup, teardown),
                cmocka_unit_test_setup_teardown(a_list_names_who_did_it, setup, teardown),
                cmocka_unit_test_setup_teardown(an_owner_is_quiet_by_lists_alone, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
