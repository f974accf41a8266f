#include "kube/apply.h"

#include "kube/parallel.h"

#include "fake_resources.h"
#include "fake_store.h"

#include <stdio.h>

/*
 * The cluster of these tests: objects by "<group>/<plural>/<namespace>/<name>". Deletions must say what they delete: with another uid or resourceVersion than
 * the object has they are refused.
 */
static struct {
        struct json *objects;
        int version;
        void (*before_delete)(void); /* what happens between the look and the deletion; NULL: nothing */
        unsigned left;               /* how often */
        const char *failing;         /* requests about this name fail so: */
        int code;
        const char *reason;
} cluster;

static struct json *live(const char *path)
{
        return json_get(cluster.objects, path);
}

/* Whatever the owner: who asks says by the labels whose they want, and looks at what comes. */
static struct json *list_of(const struct kube_request *request)
{
        cleanup(free_string) char *place =
                memory_printf("%s/%s/%s/", request->resource->group, request->resource->plural, request->namespace);
        struct json *list = json_new_object(), *items = json_array_at(list, "items");

        assert_true(request->metadata_only);
        assert_string_equal(request->label_selector,
                            "kustomize.toolkit.fluxcd.io/name=app,kustomize.toolkit.fluxcd.io/namespace=flux");
        JSON_EACH(cluster.objects, object) {
                struct json *item;

                if (strncmp(object.key, place, strlen(place)) != 0)
                        continue;
                item = json_append(items, json_copy(object.value));
                json_set_string(json_get(item, "metadata"), "name", object.key + strlen(place));
        }
        return list;
}

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        cleanup(free_string) char *path = memory_printf("%s/%s/%s/%s", request->resource->group, request->resource->plural,
                                                        request->namespace ? request->namespace : "", request->name);
        const struct json *object;

        (void)body;
        if (request->verb == KUBE_LIST && cluster.code == 403)
                return fake_error(error, 403, "Forbidden", "nothing may be listed");
        if (request->verb == KUBE_LIST) {
                *ret_json = list_of(request);
                return 0;
        }
        if (cluster.failing && !strcmp(request->name, cluster.failing))
                return fake_error(error, cluster.code, cluster.reason, "as the test wants");
        if (request->verb == KUBE_DELETE && cluster.left) {
                cluster.left--;
                cluster.before_delete();
        }
        object = live(path);
        if (!object)
                return fake_error(error, 404, "NotFound", "not found");
        *ret_json = json_copy(object);
        if (request->verb == KUBE_GET) {
                assert_true(request->metadata_only);
                return 0;
        }
        assert_int_equal(request->verb, KUBE_DELETE);
        assert_string_equal(request->propagation, "Background");
        if (strcmp(request->uid, json_string(JSON_PATH(object, "metadata", "uid"), "none")) ||
            strcmp(request->resource_version, json_string(JSON_PATH(object, "metadata", "resourceVersion"), "none"))) {
                json_free(ret_json);
                return fake_error(error, 409, "Conflict", "the precondition does not match");
        }
        json_remove(cluster.objects, path);
        return 0;
}

#define NOTE(key, value) ",\"annotations\":{\"kustomize.toolkit.fluxcd.io/" key "\":\"" value "\"}"

/* uid NULL: that of the path. */
static void put(const char *path, const char *owner, const char *uid, const char *more)
{
        cleanup(free_string) char *text =
                memory_printf("{\"metadata\":{\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"%s\","
                              "\"kustomize.toolkit.fluxcd.io/namespace\":\"flux\"},\"uid\":\"%s\",\"resourceVersion\":\"%d\"%s}}",
                              owner, uid ? uid : path, ++cluster.version, more);

        json_set(cluster.objects, path, json_of(text));
}

static struct inventory left;

static int setup(void **state)
{
        (void)state;
        memset(&cluster, 0, sizeof(cluster));
        fake_store_begin(serve, &cluster.objects);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_store_end(&cluster.objects);
        return 0;
}

/* What became of the objects, or the error; what stays in the inventory is in `left`. */
static const char *prune(const struct object_id *ids, size_t count, const struct apply_changes *kept)
{
        static const struct object_id lifelines[] = { { "kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "flux", "app" },
                                                      { "source.toolkit.fluxcd.io", "v1", "GitRepository", "git", "app" } };
        static const struct apply_settings settings = { .annotation_group = "kustomize.toolkit.fluxcd.io",
                                                        .owner_name = "app",
                                                        .owner_namespace = "flux",
                                                        .lifelines = lifelines,
                                                        .lifeline_count = COUNT(lifelines) };
        const struct inventory stale = { .items = (struct object_id *)(uintptr_t)ids, .count = count };
        struct apply_changes changes = APPLY_CHANGES_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;

        if (apply_prune(&context, &settings, &stale, kept, arena, &changes, &left, &error) != 0)
                return arena_string(arena, error_message(&error));
        assert_int_equal(left.count, 0);
        apply_changes_print(&changes, true, &text);
        return arena_string(arena, buffer_string(&text));
}

static void each_object_gets_what_it_deserves(void **state)
{
        static const struct object_id stale[] = {
                { "", "v1", "ConfigMap", "ns", "gone" },       { "", "v1", "ConfigMap", "ns", "kept" },
                { "", "v1", "ConfigMap", "ns", "old" },        { "", "v1", "ConfigMap", "ns", "taken" },
                { "", "v1", "ConfigMap", "ns", "ending" },     { "", "v1", "ConfigMap", "ns", "left-alone" },
                { "", "v1", "ConfigMap", "", "nowhere" },      { "", "v1", "Namespace", "ns", "with-one" },
                { "example.com", "v1", "Nope", "ns", "kind" }, { "example.org", "v1", "Tenant", "ns", "of-old" },
        };

        (void)state;
        put("/configmaps/ns/kept", "app", NULL, NOTE("prune", "Disabled"));
        put("/configmaps/ns/left-alone", "app", NULL, NOTE("reconcile", "disabled"));
        put("/configmaps/ns/old", "app", NULL, "");
        put("/configmaps/ns/taken", "other", NULL, "");
        put("/configmaps/ns/ending", "app", NULL, ",\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"");
        put("/namespaces//with-one", "app", NULL, "");
        put("example.org/tenants/ns/of-old", "app", NULL, ""); /* served in v2 only */
        assert_string_equal(prune(stale, COUNT(stale), NULL),
                            "Tenant/ns/of-old deleted\nNope/ns/kind deleted\nConfigMap/ns/taken skipped\nConfigMap/ns/old deleted\n"
                            "ConfigMap/ns/left-alone skipped\nConfigMap/ns/kept skipped\nConfigMap/ns/gone deleted\n"
                            "ConfigMap/ns/ending deleted\nConfigMap/nowhere deleted\nNamespace/ns/with-one deleted");
        assert_null(live("/configmaps/ns/old"));
        assert_null(live("/namespaces//with-one"));
        assert_null(live("example.org/tenants/ns/of-old"));
        assert_non_null(live("/configmaps/ns/taken"));
        assert_non_null(live("/configmaps/ns/kept"));
        assert_non_null(live("/configmaps/ns/ending"));
}

static void touched(void)
{
        put("/configmaps/ns/a", "app", NULL, "");
}

static void taken_over(void)
{
        put("/configmaps/ns/a", "other", NULL, "");
}

static void protected(void)
{
        put("/configmaps/ns/a", "app", NULL, NOTE("prune", "disabled"));
}

static void replaced(void)
{
        put("/configmaps/ns/a", "other", "another", "");
}

static void removed(void)
{
        json_remove(cluster.objects, "/configmaps/ns/a");
}

/* Between the look and the deletion anything may happen: what was not looked at is not deleted. */
static void what_moves_meanwhile_is_looked_at_again(void **state)
{
        static const struct {
                const char *name;
                void (*what)(void);
                unsigned times;
                const char *result;
                bool survives;
        } cases[] = {
                { "a status was written", touched, 2, "ConfigMap/ns/a deleted", false },
                { "another owner took it", taken_over, 1, "ConfigMap/ns/a skipped", true },
                { "somebody protected it", protected, 1, "ConfigMap/ns/a skipped", true },
                { "another owner made it anew", replaced, 1, "ConfigMap/ns/a skipped", true },
                { "it went by itself", removed, 1, "ConfigMap/ns/a deleted", false },
                { "it is never at rest", touched, 100,
                  "delete failed, errors: ConfigMap/ns/a delete failed: the precondition does not match;", true },
        };
        static const struct object_id stale[] = { { "", "v1", "ConfigMap", "ns", "a" } };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                const char *found;

                setup(state);
                put("/configmaps/ns/a", "app", NULL, "");
                cluster.before_delete = cases[i].what;
                cluster.left = cases[i].times;
                found = prune(stale, 1, NULL);
                if (strcmp(found, cases[i].result) || !live("/configmaps/ns/a") == cases[i].survives)
                        fail_msg("%s: %s", cases[i].name, found);
                assert_true(fake_count() < 20);
                teardown(state);
        }
        setup(state);
}

/* What cannot be known is not deleted, and not forgotten. */
static void what_cannot_be_asked_stays_in_the_inventory(void **state)
{
        static const struct {
                const char *name, *group, *kind;
                int code;
                const char *reason, *uid, *result;
        } cases[] = {
                { "forbidden", "", "ConfigMap", 403, "Forbidden", NULL, "ConfigMap/ns/a query failed: as the test wants" },
                { "broken", "", "ConfigMap", 500, "InternalError", NULL, "ConfigMap/ns/a query failed: as the test wants" },
                { "too many", "", "ConfigMap", 429, "TooManyRequests", NULL, "ConfigMap/ns/a query failed: as the test wants" },
                { "a proxy's 404", "", "ConfigMap", 404, KUBE_PATH_ABSENT, NULL, "ConfigMap/ns/a query failed: as the test wants" },
                { "no uid", "", "ConfigMap", 0, NULL, "",
                  "ConfigMap/ns/a query failed: the answer about it has no uid or no resourceVersion" },
                { "discovery", "broken.example.org", "Thing", 0, NULL, NULL,
                  "Thing/ns/a query failed: the server is currently unable to handle the request" },
                { "nobody answers for the group", "silent.example.org", "Thing", 0, NULL, NULL,
                  "Thing/ns/a query failed: the server lists silent.example.org/v1, but does not say what is in it" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct object_id stale[] = { { "", "v1", "ConfigMap", "ns", "z" },
                                             { cases[i].group, "v1", cases[i].kind, "ns", "a" } };
                cleanup(free_string) char *expected = memory_printf("delete failed, errors: %s;", cases[i].result);
                const char *found;

                setup(state);
                put("/configmaps/ns/a", "app", cases[i].uid, "");
                put("/configmaps/ns/z", "app", NULL, "");
                cluster.failing = cases[i].code ? "a" : NULL;
                cluster.code = cases[i].code;
                cluster.reason = cases[i].reason;
                found = prune(stale, 2, NULL);
                if (strcmp(found, expected) || left.count != 1 || strcmp(left.items[0].name, "a") || !live("/configmaps/ns/a"))
                        fail_msg("%s: %s", cases[i].name, found);
                assert_null(live("/configmaps/ns/z")); /* the others do not wait for it */
                teardown(state);
        }
        setup(state);
}

static int deny_delete(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (request->verb == KUBE_DELETE)
                return fake_error(error, 403, "Forbidden", "denied by a webhook");
        return serve(request, body, ret_json, error);
}

static void denied_deletion_stays_in_the_inventory(void **state)
{
        static const struct object_id stale[] = { { "", "v1", "ConfigMap", "ns", "old" } };

        (void)state;
        fake.answer = deny_delete;
        put("/configmaps/ns/old", "app", NULL, "");
        assert_string_equal(prune(stale, 1, NULL), "delete failed, errors: ConfigMap/ns/old delete failed: denied by a webhook;");
        assert_int_equal(left.count, 1);
}

/* One object, two groups: the repository writes it in the other one now. */
static void what_stays_under_another_name_is_not_deleted(void **state)
{
        static const struct object_id stale[] = { { "", "v1", "Event", "ns", "a" } };
        static const struct {
                const char *name, *live_uid, *known_uid;
                int code;
                const char *result;
                bool survives;
        } cases[] = {
                { "the same", "u", "u", 0, "Event/ns/a skipped", true },
                { "the same, of which nobody has asked", "u", "", 0, "Event/ns/a skipped", true },
                { "two objects", "u", "v", 0, "Event/ns/a deleted", false },
                { "two objects, of which nobody has asked", "v", "", 0, "Event/ns/a deleted", false },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct apply_change change = { .object = { "events.k8s.io", "v1", "Event", "ns", "a" }, .uid = cases[i].known_uid };
                const struct apply_changes kept = { &change, 1 };
                const char *found;

                setup(state);
                put("/events/ns/a", "app", "u", "");
                put("events.k8s.io/events/ns/a", "app", cases[i].live_uid, "");
                found = prune(stale, 1, &kept);
                if (strcmp(found, cases[i].result) || !live("/events/ns/a") == cases[i].survives)
                        fail_msg("%s: %s", cases[i].name, found);
                teardown(state);
        }
        setup(state);
}

/* Whoever removes a Namespace from the repository and leaves what lives in it did not mean that to go. */
static void nothing_that_stays_goes_with_what_is_deleted(void **state)
{
        static const struct {
                struct object_id stale, kept;
                const char *result;
        } cases[] = {
                { { "", "v1", "Namespace", "", "ns" },
                  { "", "v1", "ConfigMap", "ns", "a" },
                  "delete failed, errors: Namespace/ns delete failed: ConfigMap/ns/a would be deleted with it, and is still "
                  "declared: declare "
                  "both or neither, or keep it with the annotation kustomize.toolkit.fluxcd.io/prune: disabled;" },
                { { "", "v1", "Namespace", "", "ns" }, { "", "v1", "ConfigMap", "other", "a" }, "Namespace/ns deleted" },
                { { "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "", "tenants.example.org" },
                  { "example.org", "v2", "Tenant", "ns", "a" },
                  "delete failed, errors: CustomResourceDefinition/tenants.example.org delete failed: Tenant/ns/a would be deleted "
                  "with it, and "
                  "is still declared: declare both or neither, or keep it with the annotation kustomize.toolkit.fluxcd.io/prune: "
                  "disabled;" },
                { { "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "", "others.example.org" },
                  { "example.org", "v2", "Tenant", "ns", "a" },
                  "CustomResourceDefinition/others.example.org deleted" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                struct apply_change change = { .object = cases[i].kept, .uid = "kept" };
                const struct apply_changes kept = { &change, 1 };
                const char *found;

                setup(state);
                put("/namespaces//ns", "app", NULL, "");
                put("apiextensions.k8s.io/customresourcedefinitions//tenants.example.org", "app", "u", "");
                put("apiextensions.k8s.io/customresourcedefinitions//others.example.org", "app", "v", "");
                found = prune(&cases[i].stale, 1, &kept);
                if (strcmp(found, cases[i].result))
                        fail_msg("%zu: %s", i, found);
                teardown(state);
        }
        setup(state);
}

/* A push that loses the Namespace or the CRD of the Kustomization itself is no wish to delete everything; a deletion of the Kustomization is. */
static void the_owner_does_not_go_with_what_is_deleted(void **state)
{
        static const struct {
                struct object_id stale;
                const char *path;
                bool refused;
        } cases[] = {
#define DEFINITION(name)                                                                                                           \
        { "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "", name },                                                    \
                "apiextensions.k8s.io/customresourcedefinitions//" name
#define OURS(group, kind, plural, namespace, name) { group, "v1", kind, namespace, name }, group "/" plural "/" namespace "/" name
                { OURS("", "Namespace", "namespaces", "", "flux"), true },
                { OURS("", "Namespace", "namespaces", "", "git"), true },
                { OURS("", "Namespace", "namespaces", "", "ns"), false },
                { DEFINITION("things.kustomize.toolkit.fluxcd.io"), true },
                { DEFINITION("gitrepositories.source.toolkit.fluxcd.io"), true },
                { DEFINITION("others.example.org"), false },
                { DEFINITION("things.toolkit.example.org"), false },
                { OURS("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", "flux", "app"), true },
                { OURS("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", "flux", "other"), false },
                { OURS("source.toolkit.fluxcd.io", "GitRepository", "gitrepositories", "git", "app"), true },
                { OURS("source.toolkit.fluxcd.io", "GitRepository", "gitrepositories", "flux", "app"), false },
        };
        static const char refusal[] =
                " delete failed: flux/app needs it: without it nothing would be applied any more, or all that was applied be "
                "deleted. Declare it again, or keep it with the annotation kustomize.toolkit.fluxcd.io/prune: disabled;";
        const struct apply_changes nothing = APPLY_CHANGES_NULL;

        for (size_t i = 0; i < COUNT(cases) * 2; i++) {
                bool deleted = i % 2; /* the owner is */
                const char *found;

                setup(state);
                put(cases[i / 2].path, "app", "u", "");
                found = prune(&cases[i / 2].stale, 1, deleted ? NULL : &nothing);
                if ((strstr(found, refusal) != NULL) != (cases[i / 2].refused && !deleted))
                        fail_msg("%zu: %s", i, found);
                teardown(state);
        }
        setup(state);
}

/* An id with "__" may mean two names: what is ours and has that id goes, by whatever name, and nothing else does. */
static void a_name_with_underscores_is_found(void **state)
{
#define ROLE(name) "rbac.authorization.k8s.io/clusterroles//" name
        static const struct {
                const char *name, *first, *first_owner, *second, *second_owner;
                int code;
                const char *result;
                bool first_stays, second_stays;
        } cases[] = {
                { "a colon", "a:b:c", "app", "a__b:d", "app", 0, "ClusterRole/a:b:c deleted", false, true },
                { "underscores", "a__b:c", "app", "other", "app", 0, "ClusterRole/a__b:c deleted", false, true },
                { "underscores, and a colon of somebody else", "a__b__c", "app", "a:b:c", "other", 0, "ClusterRole/a__b__c deleted",
                  false, true },
                { "both of somebody else", "a__b:c", "other", "a:b:c", "other", 0, "ClusterRole/a__b:c skipped", true, true },
                { "neither", "x", "app", "a_b:c", "app", 0, "ClusterRole/a:b:c deleted", true, true },
                { "nothing may be listed", "a__b:c", "app", "x", "app", 403, "ClusterRole/a:b:c deleted", true, true },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(free_string) char *first = memory_printf(ROLE("%s"), cases[i].first);
                cleanup(free_string) char *second = memory_printf(ROLE("%s"), cases[i].second);
                struct object_id stale;
                const char *found;

                setup(state);
                cluster.code = cases[i].code;
                put(first, cases[i].first_owner, NULL, "");
                put(second, cases[i].second_owner, NULL, "");
                assert_int_equal(
                        inventory_id_parse(VIEW("_a__b__c_rbac.authorization.k8s.io_ClusterRole"), "v1", arena, &stale, &error), 0);
                found = prune(&stale, 1, NULL);
                if (strcmp(found, cases[i].result) || !live(first) == cases[i].first_stays ||
                    !live(second) == cases[i].second_stays)
                        fail_msg("%s: %s", cases[i].name, found);
                teardown(state);
        }
        setup(state);
#undef ROLE
}

static void what_is_gone_is_waited_for(void **state)
{
        static const struct apply_settings settings = { .annotation_group = "kustomize.toolkit.fluxcd.io" };
        struct apply_change items[] = { { .object = { "", "v1", "ConfigMap", "ns", "a" }, .action = APPLY_DELETED },
                                        { .object = { "", "v1", "ConfigMap", "ns", "b" }, .action = APPLY_SKIPPED } };
        const struct apply_changes changes = { items, 2 };
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        put("/configmaps/ns/b", "app", NULL, "");
        assert_int_equal(apply_wait_gone(&context, &settings, &changes, 1000, &error), 0);
        put("/configmaps/ns/a", "app", NULL, "");
        assert_int_equal(apply_wait_gone(&context, &settings, &changes, 1, &error), -1);
        assert_string_equal(error_message(&error), "timeout waiting for: [ConfigMap/ns/a status: 'Terminating']");
        error_release(&error);
        cluster.failing = "a";
        cluster.code = 404;
        cluster.reason = KUBE_PATH_ABSENT; /* says nothing about the object */
        assert_int_equal(apply_wait_gone(&context, &settings, &changes, 1, &error), -1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(each_object_gets_what_it_deserves, setup, teardown),
                cmocka_unit_test_teardown(what_moves_meanwhile_is_looked_at_again, teardown),
                cmocka_unit_test_teardown(what_cannot_be_asked_stays_in_the_inventory, teardown),
                cmocka_unit_test_setup_teardown(denied_deletion_stays_in_the_inventory, setup, teardown),
                cmocka_unit_test_teardown(what_stays_under_another_name_is_not_deleted, teardown),
                cmocka_unit_test_teardown(nothing_that_stays_goes_with_what_is_deleted, teardown),
                cmocka_unit_test_teardown(the_owner_does_not_go_with_what_is_deleted, teardown),
                cmocka_unit_test_teardown(a_name_with_underscores_is_found, teardown),
                cmocka_unit_test_setup_teardown(what_is_gone_is_waited_for, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
