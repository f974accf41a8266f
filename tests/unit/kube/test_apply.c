#include "apply_world.h"

static void new_object_costs_two_requests(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        assert_string_equal(run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), false),
                            "APPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a created");
}

/* A version in the manifest is what the dry run answers with, and Flux takes that for an object that is there. */
static void new_object_with_a_version_is_configured(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        assert_string_equal(run_one(&settings, MAP("a", ",\"resourceVersion\":\"5\"", "{\"a\":\"b\"}"), false),
                            "APPLY configmaps/ns/a dry\nGET configmaps/ns/a\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a configured");
}

static void known_object_that_is_the_same_is_not_written(void **state)
{
        struct apply_settings settings = settings_with_table();
        const char *before;

        (void)state;
        run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), false);
        before = arena_string(arena, json_string(JSON_PATH(stored("a"), "metadata", "resourceVersion"), ""));
        assert_string_equal(run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), true),
                            "LIST configmaps/ns\nGET configmaps/ns/a\nAPPLY configmaps/ns/a dry\n-> ConfigMap/ns/a unchanged");
        assert_string_equal(json_string(JSON_PATH(stored("a"), "metadata", "resourceVersion"), ""), before);
}

/* Nobody touched the object, but what the server makes of it may be something else now: it is asked, and nothing is written. */
static void what_the_server_may_see_otherwise_is_tried(void **state)
{
        struct apply_settings settings = settings_with_table();
        const char *const object = MAP("a", "", "{\"a\":\"b\"}");

        (void)state;
        run_one(&settings, object, false);
        watch_shows("a");
        drift_watch_synced(table, &fake_resources[0], true);
        assert_string_equal(run_one(&settings, object, true), "-> ConfigMap/ns/a unchanged");
        drift_epoch(table, NULL, 1);
        assert_string_equal(run_one(&settings, object, true),
                            "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\n-> ConfigMap/ns/a unchanged");
        assert_string_equal(run_one(&settings, object, true), "-> ConfigMap/ns/a unchanged");
}

static void watched_object_costs_what_changed(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), false);
        watch_shows("a");
        drift_watch_synced(table, &fake_resources[0], true);
        assert_string_equal(run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), true), "-> ConfigMap/ns/a unchanged");

        /* A new payload: applied, not read. */
        assert_string_equal(run_one(&settings, MAP("a", "", "{\"a\":\"c\"}"), true),
                            "APPLY configmaps/ns/a\n-> ConfigMap/ns/a configured");
        watch_shows("a");
        assert_string_equal(woken, "");

        /* A hand edit of what was accepted before: one apply. */
        store("a", MAP("a",
                       ",\"managedFields\":[{\"manager\":\"someone\",\"operation\":\"Update\",\"time\":\"2020-01-02T00:00:00Z\","
                       "\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}}]",
                       "{\"a\":\"edited\"}"));
        watch_shows("a");
        assert_string_equal(woken, "flux/app: a .data.a by 'someone'");
        assert_string_equal(run_one(&settings, MAP("a", "", "{\"a\":\"c\"}"), true),
                            "APPLY configmaps/ns/a\n-> ConfigMap/ns/a configured");

        /* Deleted: as new. */
        watch_shows("a");
        json_remove(cluster.objects, "configmaps/ns/a");
        watch_shows("a");
        assert_string_equal(woken, "flux/app: a deleted by ''");
        assert_string_equal(run_one(&settings, MAP("a", "", "{\"a\":\"c\"}"), true),
                            "APPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a created");
}

static void invalid_object_stops_its_stage_with_every_error(void **state)
{
        static const char *const objects[] = { MAP("good", "", "{}"), MAP("invalid-b", "", "{}"), NAMESPACE("first"),
                                               MAP("invalid-a", "", "{}") };
        struct apply_settings settings = settings_with_table();
        const char *found = run(&settings, objects, COUNT(objects), false);

        (void)state;
        assert_non_null(strstr(found, "-> ConfigMap/ns/invalid-a dry-run failed (Invalid): it is invalid: spec.x: Required value\n"
                                      "ConfigMap/ns/invalid-b dry-run failed (Invalid): it is invalid: spec.x: Required value\n"
                                      "Namespace/first created"));
        assert_null(stored("good"));
        assert_non_null(json_get(cluster.objects, "namespaces//first"));
}

static const char *refused_data; /* an apply with this in it is refused */

static int serve_strictly(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_APPLY && strstr(body, refused_data))
                return fake_error(error, 422, "Invalid", "it is refused");
        return serve(request, body, ret_json, error);
}

/* A dry run keeps a stage from being written in part. What is all that a stage writes needs none, and is refused in the same words. */
static void one_change_of_a_stage_is_not_tried_before(void **state)
{
        struct apply_settings settings = settings_with_table();
        const char *const before[] = { MAP("a", "", "{\"a\":\"1\"}"), MAP("b", "", "{\"a\":\"1\"}") };
        const char *const one[] = { MAP("a", "", "{\"a\":\"2\"}"), MAP("b", "", "{\"a\":\"1\"}") };
        const char *const two[] = { MAP("a", "", "{\"a\":\"3\"}"), MAP("b", "", "{\"a\":\"3\"}") };
        const char *const bad[] = { MAP("a", "", "{\"a\":\"no\"}"), MAP("b", "", "{\"a\":\"4\"}") };
        const char *const made[] = { MAP("a", "", "{\"a\":\"5\"}"), MAP("b", "", "{\"a\":\"3\"}"), MAP("c", "", "{}") };

        (void)state;
        refused_data = "\"no\"";
        fake.answer = serve_strictly;
        run(&settings, before, 2, false);
        watch_shows("a");
        watch_shows("b");
        drift_watch_synced(table, &fake_resources[0], true);
        assert_string_equal(run(&settings, one, 2, true), "APPLY configmaps/ns/a\n-> ConfigMap/ns/a configured\n"
                                                          "ConfigMap/ns/b unchanged");
        watch_shows("a");
        assert_string_equal(run(&settings, two, 2, true),
                            "APPLY configmaps/ns/a dry\nAPPLY configmaps/ns/b dry\nAPPLY configmaps/ns/a\n"
                            "APPLY configmaps/ns/b\n-> ConfigMap/ns/a configured\nConfigMap/ns/b configured");
        watch_shows("a");
        watch_shows("b");
        assert_string_equal(run(&settings, bad, 2, true), "APPLY configmaps/ns/a dry\nGET configmaps/ns/a\n"
                                                          "APPLY configmaps/ns/a dry\nAPPLY configmaps/ns/b dry\n"
                                                          "-> ConfigMap/ns/a dry-run failed (Invalid): it is refused\n");
        assert_string_equal(run_one(&settings, bad[0], true),
                            "APPLY configmaps/ns/a\nGET configmaps/ns/a\nAPPLY configmaps/ns/a dry\n"
                            "-> ConfigMap/ns/a dry-run failed (Invalid): it is refused\n");
        /* Nor does it keep from being recreated what has to be. */
        run_one(&settings, MAP("fixed", "", "{\"a\":\"1\"}"), false);
        watch_shows("fixed");
        settings.force = true;
        assert_non_null(strstr(run_one(&settings, MAP("fixed", "", "{\"a\":\"2\"}"), true), "-> ConfigMap/ns/fixed created"));
        settings.force = false;
        /* Beside one that is made it is not alone. */
        assert_non_null(strstr(run(&settings, made, 3, true), "APPLY configmaps/ns/a dry\n"));
}

static void unknown_kind_and_missing_namespace(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        assert_string_equal(
                run_one(&settings,
                        "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Nope\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"x\"}}",
                        false),
                "-> Nope/ns/x dry-run failed: no matches for kind \"Nope\" in version \"example.com/v1\"\n");
        assert_string_equal(
                run_one(&settings, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}", false),
                "-> ConfigMap/x namespace not specified: the server could not find the requested resource\n");
        assert_string_equal(
                run_one(&settings, "{\"apiVersion\":\"example.org/v2\",\"kind\":\"Tenant\",\"metadata\":{\"name\":\"x\"}}", false),
                "-> Tenant/x namespace not specified: the server could not find the requested resource "
                "(patch tenants.example.org x)\n");
}

static void people_steer_by_annotations(void **state)
{
        static const struct {
                const char *name, *live, *wanted, *result;
        } cases[] = {
                { "ignored in the repository", NULL, MAP("a", NOTE("ssa", "ignore"), "{\"a\":\"b\"}"),
                  "-> ConfigMap/ns/a skipped" },
                { "disabled in the repository", NULL, MAP("a", NOTE("reconcile", "Disabled"), "{}"), "-> ConfigMap/ns/a skipped" },
                { "disabled in the cluster", MAP("a", NOTE("reconcile", "disabled"), "{\"a\":\"x\"}"),
                  MAP("a", "", "{\"a\":\"b\"}"), "GET configmaps/ns/a\n-> ConfigMap/ns/a skipped" },
                { "if not present, and it is", MAP("a", "", "{\"a\":\"x\"}"),
                  MAP("a", NOTE("ssa", "IfNotPresent"), "{\"a\":\"b\"}"), "GET configmaps/ns/a\n-> ConfigMap/ns/a skipped" },
                { "if not present, and it is not", NULL, MAP("a", NOTE("ssa", "IfNotPresent"), "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a created" },
                { "merged",
                  MAP("a", ",\"managedFields\":[{\"manager\":\"kubectl\",\"operation\":\"Update\",\"fieldsV1\":{}}]",
                      "{\"a\":\"x\"}"),
                  MAP("a", NOTE("ssa", "Merge"), "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a configured" },
                { "kubectl is taken over",
                  MAP("a", ",\"managedFields\":[{\"manager\":\"kubectl\",\"operation\":\"Update\",\"fieldsV1\":{}}]",
                      "{\"a\":\"b\"}"),
                  MAP("a", "", "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\nJSON configmaps/ns/a\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a "
                  "configured" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct apply_settings settings;
                const char *found;

                setup(state);
                settings = settings_with_table();
                if (cases[i].live)
                        store("a", cases[i].live);
                found = run_one(&settings, cases[i].wanted, true);
                if (cases[i].live ? strcmp(found, cases[i].result) : !strstr(found, cases[i].result))
                        fail_msg("%s: %s", cases[i].name, found);
                teardown(state);
        }
        setup(state);
}

/* Pruning asks whether an object is one that stays: by its uid, however its state became known. */
static void changes_name_the_uid(void **state)
{
        static const char *const text = MAP("a", "", "{\"a\":\"b\"}");
        static const char *const ways[] = { "created", "asked", "watched" };
        struct apply_settings settings = settings_with_table();
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(ways); i++) {
                struct apply_object object = object_of(text);
                struct apply_changes changes = APPLY_CHANGES_NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                assert_int_equal(apply_objects(&context, &settings, &object, 1, arena, &changes, &error), 0);
                if (strcmp(changes.items[0].uid, "00000000-0000-0000-0000-000000000001"))
                        fail_msg("%s: '%s'", ways[i], changes.items[0].uid);
                if (i == 1) {
                        watch_shows("a");
                        drift_watch_synced(table, &fake_resources[0], true);
                }
        }
}

/* Where, and never what; also of what a live watch would otherwise have applied unread. */
static void changes_are_explained_by_paths(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        settings.explain = true;
        run_one(&settings, MAP("a", "", "{\"a\":\"b\",\"~/x\":\"y\",\"same\":\"same\"}"), false);
        watch_shows("a");
        drift_watch_synced(table, &fake_resources[0], true);
        store("a", MAP("a", ",\"annotations\":{\"n\":\"1\"}", "{\"a\":\"secret\",\"same\":\"same\"}"));
        watch_shows("a");
        assert_string_equal(run_one(&settings,
                                    MAP("a", ",\"annotations\":{\"n\":\"2\"}", "{\"a\":\"b\",\"~/x\":\"y\",\"same\":\"same\"}"),
                                    true),
                            "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a configured, "
                            "changed: /metadata/annotations/n, /data/a, /data/~0~1x");
        assert_string_equal(run_one(&settings,
                                    MAP("a", ",\"annotations\":{\"n\":\"2\"}", "{\"a\":\"b\",\"~/x\":\"y\",\"same\":\"same\"}"),
                                    true),
                            "-> ConfigMap/ns/a unchanged");
}

static void unknown_fields_of_built_in_kinds_are_left_out(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        assert_string_equal(
                run_one(&settings,
                        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\"," LABELS
                        "},\"data\":{\"a\":\"b\"},\"unknown\":1}",
                        false),
                "APPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a created, left out: "
                ".unknown");
        assert_non_null(strstr(
                run_one(&settings,
                        "{\"apiVersion\":\"rbac.authorization.k8s.io/"
                        "v1\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"r\"," LABELS "},\"rules\":[],\"unknown\":1}",
                        false),
                "ClusterRole/r dry-run failed (InternalError): failed to create typed patch object (x): .unknown: field not"));
}

static void ignored_paths_keep_what_is_there(void **state)
{
        static const char *const paths[] = { "/data/a", NULL };
        static const struct object_selector maps = { .kind = "Config.*", .name = "a" };
        static const char *const others[] = { "/data/b", NULL };
        static const char *const document[] = { "", NULL }, *const no_pointer[] = { "data.a", NULL };
        const struct apply_ignore ignore[] = { { paths, &maps } }, both[] = { { paths, NULL }, { others, NULL } };
        static const struct object_selector unclosed = { .kind = "Con(" };
        const struct apply_ignore whole[] = { { document, NULL } }, wrong[] = { { paths, &unclosed } };
        const struct apply_ignore plain[] = { { no_pointer, NULL } };
        static const char *const half_pointer[] = { "data/nope", NULL };
        const struct apply_ignore half[] = { { half_pointer, NULL } };
        struct apply_settings settings = settings_with_table();

        (void)state;
        settings.ignore = ignore;
        settings.ignore_count = 1;
        store("a", MAP("a", "", "{\"a\":\"theirs\",\"b\":\"same\"}"));
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"same\"}"), true), "unchanged"));
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"new\"}"), true), "configured"));
        assert_string_equal(json_string(JSON_PATH(stored("a"), "data", "a"), ""), "theirs");
        assert_string_equal(json_string(JSON_PATH(stored("a"), "data", "b"), ""), "new");
        /* What the cluster has not is not sent, not even as null. */
        store("a", MAP("a", "", "{\"b\":\"same\"}"));
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"new\"}"), true), "configured"));
        assert_null(JSON_PATH(stored("a"), "data", "a"));
        assert_string_equal(json_string(JSON_PATH(stored("a"), "data", "b"), ""), "new");
        store("a", MAP("a", "", "{\"a\":\"theirs\",\"b\":\"new\"}"));
        settings.ignore = both;
        settings.ignore_count = COUNT(both);
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"ours\"}"), true), "unchanged"));
        settings.ignore = whole;
        settings.ignore_count = COUNT(whole);
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"ours\"}"), true),
                               "ConfigMap/ns/a apply failed: metadata.managedFields must be nil\n"));
        settings.ignore = plain;
        settings.ignore_count = COUNT(plain);
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"theirs\",\"b\":\"new\"}"), true), "unchanged"));
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"ours\"}"), true),
                               "replace operation does not apply: doc is missing path: data.a: missing value\n"));
        settings.ignore = half;
        settings.ignore_count = COUNT(half);
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"ours\",\"b\":\"ours\"}"), true),
                               "replace operation does not apply: doc is missing key: data/nope: missing value\n"));
        assert_string_equal(json_string(JSON_PATH(stored("a"), "data", "a"), ""), "theirs");
        settings.ignore = wrong;
        settings.ignore_count = COUNT(wrong);
        assert_non_null(
                strstr(run_one(&settings, MAP("a", "", "{}"), true),
                       "failed to create ignore rule selector: invalid kind regex: error parsing regexp: missing closing ): "
                       "`^(?:Con()$`\n"));
}

#define CRD(spec, more)                                                                                                            \
        "{\"apiVersion\":\"apiextensions.k8s.io/"                                                                                  \
        "v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{\"name\":\"w.example.org\"," LABELS                              \
        "%s},\"spec\":{\"group\":\"example.org\"" spec "}" more "}"

/* What it defines is discovered anew: its plural may be another one now. */
static void a_written_definition_renews_its_group(void **state)
{
        static const char established[] = ",\"status\":{\"conditions\":[{\"type\":\"Established\",\"status\":\"True\"}]}";
        cleanup(free_string) char *there = memory_printf(CRD("", "%s"), ",\"uid\":\"u\",\"resourceVersion\":\"0\"", established);
        cleanup(free_string) char *wanted = memory_printf(CRD(",\"scope\":\"Cluster\"", ""), "");
        struct apply_settings settings = settings_with_table();

        (void)state;
        json_set(cluster.objects, "customresourcedefinitions//w.example.org", json_of(there));
        fake_forgotten[0] = '\0';
        assert_non_null(strstr(run_one(&settings, wanted, true), "CustomResourceDefinition/w.example.org configured"));
        assert_string_equal(fake_forgotten, "example.org");
}

/* A generation does not tell of labels, and our fields are the same: what they are now does. */
static void new_value_of_a_label_is_a_change(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        run_one(&settings, MAP("a", ",\"annotations\":{\"n\":\"1\"}", "{}"), false);
        json_set_integer(json_get(json_get(cluster.objects, "configmaps/ns/a"), "metadata"), "generation", 1);
        watch_shows("a");
        drift_watch_synced(table, &fake_resources[0], true);
        assert_non_null(strstr(run_one(&settings, MAP("a", ",\"annotations\":{\"n\":\"2\"}", "{}"), true), "configured"));
        watch_shows("a");
        assert_non_null(strstr(run_one(&settings, MAP("a", ",\"annotations\":{\"n\":\"2\"}", "{ }"), true), "unchanged"));
}

static void another_account_has_to_show_what_it_may(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        settings.account = "one";
        run_one(&settings, MAP("a", "", "{}"), false);
        watch_shows("a");
        drift_watch_synced(table, &fake_resources[0], true);
        assert_string_equal(run_one(&settings, MAP("a", "", "{}"), true), "-> ConfigMap/ns/a unchanged");
        settings.account = "two";
        assert_string_equal(run_one(&settings, MAP("a", "", "{}"), true), "APPLY configmaps/ns/a\n-> ConfigMap/ns/a unchanged");
        assert_string_equal(run_one(&settings, MAP("a", "", "{}"), true), "-> ConfigMap/ns/a unchanged");
}

static const char *refused_patch; /* the words in which every apply is refused; NULL: none is */

/* Whose account may not read. */
static int serve_unreadable(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_GET)
                return fake_error(error, 403, "Forbidden", "configmaps is forbidden: who are you to get it");
        if (request->verb == KUBE_APPLY && refused_patch)
                return fake_error(error, strstr(refused_patch, "immutable") ? 422 : 403,
                                  strstr(refused_patch, "immutable") ? "Invalid" : "Forbidden", refused_patch);
        return serve(request, body, ret_json, error);
}

/* The dry run says what people have to know; nothing is changed or deleted because something could not be read. */
static void what_cannot_be_read_is_tried_and_kept(void **state)
{
        static const struct {
                const char *name, *refused, *live, *wanted, *result;
                bool known;
        } cases[] = {
                { "neither read nor changed", "who are you to patch it", MAP("a", "", "{\"a\":\"old\"}"),
                  MAP("a", "", "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\n"
                  "-> ConfigMap/ns/a dry-run failed (Forbidden): who are you to patch it\n",
                  true },
                { "immutable, with force", "data: field is immutable", MAP("a", "", "{\"a\":\"old\"}"),
                  MAP("a", "", "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\n"
                  "-> ConfigMap/ns/a dry-run failed (Invalid): data: field is immutable\n",
                  true },
                { "there, and might not be ours to change", NULL, MAP("a", NOTE("reconcile", "disabled"), "{\"a\":\"old\"}"),
                  MAP("a", "", "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\nGET configmaps/ns/a\n"
                  "-> ConfigMap/ns/a dry-run failed (Forbidden): configmaps is forbidden: who are you to get it\n",
                  true },
                { "thought to be new", NULL, MAP("a", "", "{\"a\":\"old\"}"), MAP("a", "", "{\"a\":\"b\"}"),
                  "APPLY configmaps/ns/a dry\nGET configmaps/ns/a\n"
                  "-> ConfigMap/ns/a dry-run failed (Forbidden): configmaps is forbidden: who are you to get it\n",
                  false },
                { "if not present, and it is", NULL, MAP("a", "", "{\"a\":\"old\"}"),
                  MAP("a", NOTE("ssa", "IfNotPresent"), "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\n"
                  "-> ConfigMap/ns/a dry-run failed (Forbidden): configmaps is forbidden: who are you to get it\n",
                  true },
                { "if not present, and who knows", NULL, NULL, MAP("a", NOTE("ssa", "IfNotPresent"), "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\n"
                  "-> ConfigMap/ns/a dry-run failed (Forbidden): configmaps is forbidden: who are you to get it\n",
                  false },
                { "gone, as the dry run shows", NULL, NULL, MAP("a", "", "{\"a\":\"b\"}"),
                  "GET configmaps/ns/a\nAPPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n-> ConfigMap/ns/a created", true },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct apply_settings settings;
                const char *found, *data;

                setup(state);
                settings = settings_with_table();
                settings.force = true;
                fake.answer = serve_unreadable;
                refused_patch = cases[i].refused;
                if (cases[i].live)
                        store("a", cases[i].live);
                found = run_one(&settings, cases[i].wanted, cases[i].known);
                data = json_string(JSON_PATH(stored("a"), "data", "a"), "");
                if (strcmp(found, cases[i].result) || (cases[i].live && strcmp(data, "old")))
                        fail_msg("%s: '%s' %s", cases[i].name, data, found);
                teardown(state);
        }
        refused_patch = NULL;
        setup(state);
}

static int serve_unreachable(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_GET)
                return error_set(error, ERROR_UNAVAILABLE, "the connection was lost");
        return serve(request, body, ret_json, error);
}

/* It moves with every dry run, and is gone when it is read again. */
static int serve_fleeting(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        int r;

        if (request->verb != KUBE_APPLY || !request->dry_run)
                return serve(request, body, ret_json, error);
        store("a", MAP("a", "", "{\"a\":\"older\"}"));
        r = serve(request, body, ret_json, error);
        json_remove(cluster.objects, "configmaps/ns/a");
        return r;
}

/* After its deletion nothing can be read. */
static int serve_blind_after_deletion(const struct kube_request *request, const char *body, struct json **ret_json,
                                      struct error *error)
{
        if (request->verb == KUBE_GET && !stored("fixed"))
                return error_set(error, ERROR_UNAVAILABLE, "the connection was lost");
        return serve(request, body, ret_json, error);
}

static void every_error_names_its_object(void **state)
{
        static const struct {
                const char *name;
                int (*answer)(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error);
                const char *live, *wanted;
                bool known;
                const char *result;
        } cases[] = {
                { "read first", serve_unreachable, MAP("a", "", "{\"a\":\"old\"}"), MAP("a", "", "{\"a\":\"b\"}"), true,
                  "ConfigMap/ns/a dry-run failed: the connection was lost\n" },
                { "tried first", serve_unreachable, MAP("a", "", "{\"a\":\"old\"}"), MAP("a", "", "{\"a\":\"b\"}"), false,
                  "ConfigMap/ns/a dry-run failed: the connection was lost\n" },
                { "gone between", serve_fleeting, MAP("a", "", "{\"a\":\"old\"}"), MAP("a", "", "{\"a\":\"b\"}"), true,
                  "ConfigMap/ns/a was deleted meanwhile\n" },
                { "deleted to be created again", serve_blind_after_deletion, MAP("fixed", "", "{\"a\":\"old\"}"),
                  MAP("fixed", "", "{\"a\":\"new\"}"), true,
                  "ConfigMap/ns/fixed immutable field detected, failed to wait for object to be deleted: the connection was "
                  "lost\n" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct apply_settings settings;
                const char *found;

                setup(state);
                settings = settings_with_table();
                settings.force = true;
                fake.answer = cases[i].answer;
                store(strstr(cases[i].wanted, "fixed") ? "fixed" : "a", cases[i].live);
                found = strstr(run_one(&settings, cases[i].wanted, cases[i].known), "-> ");
                if (strcmp(found + 3, cases[i].result))
                        fail_msg("%s: %s", cases[i].name, found);
                teardown(state);
        }
        setup(state);
}

static int rights_come_later(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (fake.count == 1)
                return fake_error(error, 403, "Forbidden",
                                  "configmaps \"a\" is forbidden: User \"x\" cannot patch resource \"configmaps\"");
        return serve(request, body, ret_json, error);
}

static int rights_never_come(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        (void)request;
        (void)body;
        (void)ret_json;
        return fake_error(error, 403, "Forbidden",
                          "configmaps \"a\" is forbidden: User \"x\" cannot patch resource \"configmaps\"");
}

static void rights_are_given_a_moment_to_arrive(void **state)
{
        struct apply_settings settings = settings_with_table();

        (void)state;
        fake.answer = rights_come_later;
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"b\"}"), false), "-> ConfigMap/ns/a created"));
        /* Those of a change that is written without a trial, too. */
        watch_shows("a");
        drift_watch_synced(table, &fake_resources[0], true);
        assert_non_null(strstr(run_one(&settings, MAP("a", "", "{\"a\":\"c\"}"), true), "-> ConfigMap/ns/a configured"));
        fake.answer = rights_never_come;
        assert_non_null(strstr(run_one(&settings, MAP("b", "", "{\"a\":\"b\"}"), false),
                               "-> ConfigMap/ns/b dry-run failed (Forbidden): configmaps \"a\" is forbidden"));
}

static void many_objects_side_by_side(void **state)
{
        cleanup(parallel_free) struct parallel *parallel = parallel_new(8);
        struct apply_settings settings = settings_with_table();
        const char *texts[200];
        const char *found;
        size_t i;

        (void)state;
        settings.parallel = parallel;
        settings.concurrency = 8;
        for (i = 0; i < COUNT(texts); i++)
                texts[i] = arena_printf(arena,
                                        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"ns\",\"name\":"
                                        "\"n%03zu\"," LABELS "},\"data\":{\"a\":\"b\"}}",
                                        i);
        found = run(&settings, texts, COUNT(texts), false);
        assert_int_equal(fake_count(), 400);
        assert_non_null(strstr(found, "ConfigMap/ns/n000 created\nConfigMap/ns/n001 created"));
        assert_int_equal(drift_table_count(table), 200);
        assert_true(drift_table_bytes(table) / 200 < 400);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(new_object_costs_two_requests, setup, teardown),
                cmocka_unit_test_setup_teardown(new_object_with_a_version_is_configured, setup, teardown),
                cmocka_unit_test_setup_teardown(known_object_that_is_the_same_is_not_written, setup, teardown),
                cmocka_unit_test_setup_teardown(watched_object_costs_what_changed, setup, teardown),
                cmocka_unit_test_setup_teardown(what_the_server_may_see_otherwise_is_tried, setup, teardown),
                cmocka_unit_test_setup_teardown(invalid_object_stops_its_stage_with_every_error, setup, teardown),
                cmocka_unit_test_setup_teardown(one_change_of_a_stage_is_not_tried_before, setup, teardown),
                cmocka_unit_test_setup_teardown(unknown_kind_and_missing_namespace, setup, teardown),
                cmocka_unit_test_teardown(people_steer_by_annotations, teardown),
                cmocka_unit_test_setup_teardown(changes_name_the_uid, setup, teardown),
                cmocka_unit_test_setup_teardown(changes_are_explained_by_paths, setup, teardown),
                cmocka_unit_test_setup_teardown(unknown_fields_of_built_in_kinds_are_left_out, setup, teardown),
                cmocka_unit_test_setup_teardown(ignored_paths_keep_what_is_there, setup, teardown),
                cmocka_unit_test_setup_teardown(a_written_definition_renews_its_group, setup, teardown),
                cmocka_unit_test_setup_teardown(new_value_of_a_label_is_a_change, setup, teardown),
                cmocka_unit_test_setup_teardown(another_account_has_to_show_what_it_may, setup, teardown),
                cmocka_unit_test_teardown(what_cannot_be_read_is_tried_and_kept, teardown),
                cmocka_unit_test_teardown(every_error_names_its_object, teardown),
                cmocka_unit_test_setup_teardown(rights_are_given_a_moment_to_arrive, setup, teardown),
                cmocka_unit_test_setup_teardown(many_objects_side_by_side, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
