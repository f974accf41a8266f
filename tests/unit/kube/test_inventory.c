#include "kube/inventory.h"

#include "base/cleanup.h"

#include "../test.h"

#include <stdlib.h>
#include <string.h>

static void ids_go_both_ways(void **state)
{
        static const struct {
                const char *id;
                struct object_id object;
        } cases[] = {
                { "default_podinfo__Service", { "", "v1", "Service", "default", "podinfo" } },
                { "_aws-efs_storage.k8s.io_StorageClass", { "storage.k8s.io", "v1", "StorageClass", "", "aws-efs" } },
                { "_system__foo_rbac.authorization.k8s.io_ClusterRole",
                  { "rbac.authorization.k8s.io", "v1", "ClusterRole", "", "system:foo" } },
                { "ns_a__b__c_rbac.authorization.k8s.io_RoleBinding",
                  { "rbac.authorization.k8s.io", "v1", "RoleBinding", "ns", "a:b:c" } },
                { "ns_a__b_image.example.org_Tag", { "image.example.org", "v1", "Tag", "ns", "a__b" } }, /* no colon was written */
        };
        cleanup(arena_free) struct arena *arena = arena_new();
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer id = BUFFER_NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                struct object_id object;

                inventory_id_print(&cases[i].object, &id);
                assert_string_equal(buffer_string(&id), cases[i].id);
                assert_int_equal(inventory_id_parse(view_of(cases[i].id), "v1", arena, &object, &error), 0);
                assert_string_equal(object.namespace, cases[i].object.namespace);
                assert_string_equal(object.name, cases[i].object.name);
                assert_string_equal(object.group, cases[i].object.group);
                assert_string_equal(object.kind, cases[i].object.kind);
                assert_string_equal(object.version, "v1");
        }
}

static void what_is_no_id_is_refused(void **state)
{
        static const char *const texts[] = {
                "",          "a",          "a_b",         "a_b_C",     "ns___ConfigMap", "ns_a__", "ns_a/b__Map", "ns_a%2f__Map",
                "ns_.__Map", "ns_..__Map", "n\ns_a__Map", "n/s_a__Map"
        };
        cleanup(arena_free) struct arena *arena = arena_new();
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(texts); i++) {
                cleanup(error_release) struct error error = ERROR_NULL;
                struct object_id object;

                if (inventory_id_parse(view_of(texts[i]), "v1", arena, &object, &error) != -1)
                        fail_msg("'%s' is accepted", texts[i]);
        }
}

/* One bad entry is no reason to lose the others, and none to lose itself. */
static void what_cannot_be_read_is_kept_as_it_is(void **state)
{
        static const char text[] =
                "{\"entries\":[{\"id\":\"ns_a__ConfigMap\",\"v\":\"v1\"},{\"id\":\"ns_a\\u0000b__ConfigMap\",\"v\":\"v1\"},"
                "{\"v\":\"v1\"},7,{\"id\":\"ns_b__ConfigMap\",\"v\":\"v1\",\"more\":true}]}";
        static const char kept[] =
                "{\"entries\":[{\"id\":\"ns_a__ConfigMap\",\"v\":\"v1\"},{\"id\":\"ns_b__ConfigMap\",\"v\":\"v1\"},"
                "{\"id\":\"ns_a\\u0000b__ConfigMap\",\"v\":\"v1\"},{\"v\":\"v1\"},7]}";
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *json = NULL, *encoded = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer said = BUFFER_NULL;
        cleanup(free_string) char *found = NULL;
        struct inventory inventory, none = INVENTORY_NULL, both;

        (void)state;
        assert_int_equal(json_parse(view_of(text), &json, &error), 0);
        inventory = inventory_decode(json, arena);
        assert_int_equal(inventory.count, 2);
        assert_int_equal(inventory.unread_count, 3);
        inventory_unread_print(&inventory, &said);
        assert_string_equal(
                buffer_string(&said),
                "status.inventory.entries[1] {\"id\":\"ns_a\\u0000b__ConfigMap\",\"v\":\"v1\"}: unable to parse stored object "
                "metadata: it holds a character that no name has\n"
                "status.inventory.entries[2] {\"v\":\"v1\"}: unable to parse stored object metadata: it is not "
                "<namespace>_<name>_<group>_<kind>\n"
                "status.inventory.entries[3] 7: unable to parse stored object metadata: it is not "
                "<namespace>_<name>_<group>_<kind>");
        both = inventory_union(&none, &inventory, arena);
        encoded = inventory_encode(&both);
        found = json_text(encoded);
        assert_string_equal(found, kept);
        assert_int_equal(inventory_difference(&inventory, &none, arena).count, 2);
        assert_int_equal(inventory_difference(&inventory, &none, arena).unread_count, 0);
}

static void many_objects_are_found_by_an_index(void **state)
{
        enum { OBJECTS = 20000 };
        cleanup(arena_free) struct arena *arena = arena_new();
        struct object_id *ids = arena_array(arena, OBJECTS, sizeof(*ids));
        const struct inventory inventory = { .items = ids, .count = OBJECTS };
        const struct inventory_index *index;
        struct object_id other;
        size_t i;

        (void)state;
        for (i = 0; i < OBJECTS; i++)
                ids[i] = (struct object_id){ "", "v1", "ConfigMap", "ns", arena_printf(arena, "n%zu", i * 7919 % OBJECTS) };
        index = inventory_index(&inventory, arena);
        for (i = 0; i < OBJECTS; i++) {
                other = object_id_of(VIEW("v2"), VIEW("ConfigMap"), VIEW("ns"), view_of(ids[i].name), arena);
                assert_true(inventory_has(index, &other));
        }
        other.namespace = "elsewhere";
        assert_false(inventory_has(index, &other));
        other = object_id_of(VIEW("example.org/v1"), VIEW("ConfigMap"), VIEW("ns"), VIEW("n1"), arena);
        assert_string_equal(other.group, "example.org");
        assert_false(inventory_has(index, &other));
}

/* An id that was written for one and is read as the other is still its own: neither stale nor news. */
static void names_are_equal_if_their_ids_are(void **state)
{
        static const struct {
                const char *kind, *old, *now;
                bool same;
        } cases[] = {
                { "ClusterRole", "a:b", "a__b", true },  { "ClusterRole", "a:b", "a:b", true },
                { "ClusterRole", "a:b", "a_b", false },  { "ClusterRole", "a:b_", "a__b_", true },
                { "ClusterRole", "a:b", "a:b:", false }, { "ConfigMap", "a:b", "a__b", false },
        };
        cleanup(arena_free) struct arena *arena = arena_new();
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                struct object_id old[] = { { "rbac.authorization.k8s.io", "v1", cases[i].kind, "", cases[i].old } };
                struct object_id now[] = { { "rbac.authorization.k8s.io", "v1", cases[i].kind, "", "another" },
                                           { "rbac.authorization.k8s.io", "v1", cases[i].kind, "", cases[i].now } };
                struct inventory left = { .items = old, .count = 1 }, right = { .items = now, .count = 2 };

                if (!inventory_difference(&left, &right, arena).count != cases[i].same ||
                    (inventory_union(&right, &left, arena).count == 2) != cases[i].same)
                        fail_msg("%s and %s", cases[i].old, cases[i].now);
        }
}

static void versions_do_not_count(void **state)
{
        struct object_id old[] = { { "apps", "v1beta1", "Deployment", "ns", "a" }, { "", "v1", "Secret", "ns", "gone" } };
        struct object_id now[] = { { "apps", "v1", "Deployment", "ns", "a" }, { "", "v1", "Secret", "ns", "new" } };
        struct inventory left = { .items = old, .count = 2 }, right = { .items = now, .count = 2 }, result;
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *encoded = NULL;
        cleanup(free_string) char *text = NULL;

        (void)state;
        result = inventory_difference(&left, &right, arena);
        assert_int_equal(result.count, 1);
        assert_string_equal(result.items[0].name, "gone");
        result = inventory_union(&right, &left, arena);
        encoded = inventory_encode(&result);
        text = json_text(encoded);
        assert_string_equal(text, "{\"entries\":[{\"id\":\"ns_a_apps_Deployment\",\"v\":\"v1\"},{\"id\":\"ns_new__Secret\",\"v\":"
                                  "\"v1\"},{\"id\":\"ns_"
                                  "gone__Secret\",\"v\":\"v1\"}]}");
        assert_int_equal(inventory_decode(encoded, arena).count, 3);
        assert_int_equal(inventory_decode(NULL, arena).count, 0);
}

static void an_object_of_the_cluster_has_no_namespace(void **state)
{
        static const struct {
                const char *old, *now;
                size_t stale, both;
        } cases[] = {
                { "ns", "", 0, 2 }, { "", "ns", 0, 2 }, { "ns", "ns", 0, 1 }, { "", "", 0, 1 }, { "other", "ns", 1, 2 },
        };
        cleanup(arena_free) struct arena *arena = arena_new();
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                struct object_id old[] = { { "example.org", "v1", "Tenant", cases[i].old, "a" } };
                struct object_id now[] = { { "example.org", "v1", "Other", "z", "a" },
                                           { "example.org", "v1", "Tenant", "zz", "a" },
                                           { "example.org", "v1", "Tenant", cases[i].now, "a" },
                                           { "example.org", "v1", "Tenant", "", "b" } };
                struct inventory left = { .items = old, .count = 1 }, right = { .items = now, .count = 4 };
                struct inventory one = { .items = now + 2, .count = 1 };

                assert_int_equal(inventory_difference(&left, &right, arena).count, cases[i].stale);
                assert_int_equal(inventory_union(&left, &one, arena).count, cases[i].both);
        }
}

static void order_of_kinds(void **state)
{
        static const struct object_id ordered[] = {
                { "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "", "z" },
                { "", "v1", "Namespace", "", "a" },
                { "rbac.authorization.k8s.io", "v1", "ClusterRole", "", "a" },
                { "cluster.x-k8s.io", "v1", "ClusterClass", "ns", "a" },
                { "node.k8s.io", "v1", "RuntimeClass", "", "a" },
                { "scheduling.k8s.io", "v1", "PriorityClass", "", "a" },
                { "storage.k8s.io", "v1", "StorageClass", "", "a" },
                { "snapshot.storage.k8s.io", "v1", "VolumeSnapshotClass", "", "a" },
                { "networking.k8s.io", "v1", "IngressClass", "", "a" },
                { "gateway.networking.k8s.io", "v1", "GatewayClass", "", "a" },
                { "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "", "a" },
                { "", "v1", "ResourceQuota", "ns", "a" },
                { "", "v1", "ServiceAccount", "ns", "a" },
                { "rbac.authorization.k8s.io", "v1", "Role", "ns", "a" },
                { "rbac.authorization.k8s.io", "v1", "RoleBinding", "ns", "a" },
                { "", "v1", "ConfigMap", "a", "z" },
                { "", "v1", "ConfigMap", "b", "a" },
                { "", "v1", "ConfigMap", "b", "b" },
                { "", "v1", "Secret", "ns", "a" },
                { "", "v1", "Service", "ns", "a" },
                { "", "v1", "LimitRange", "ns", "a" },
                { "apps", "v1", "Deployment", "ns", "a" },
                { "apps", "v1", "StatefulSet", "ns", "a" },
                { "batch", "v1", "CronJob", "ns", "a" },
                { "policy", "v1", "PodDisruptionBudget", "ns", "a" },
                { "apps", "v1", "DaemonSet", "ns", "a" },
                { "batch", "v1", "Job", "ns", "a" },
                { "networking.k8s.io", "v1", "Ingress", "ns", "a" },
                { "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "", "a" },
                { "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "", "a" },
        };
        size_t i, k;

        (void)state;
        for (i = 0; i < COUNT(ordered); i++)
                for (k = 0; k < COUNT(ordered); k++) {
                        int r = object_id_compare(&ordered[i], &ordered[k]);

                        assert_int_equal((r > 0) - (r < 0), (i > k) - (i < k));
                }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_cannot_be_read_is_kept_as_it_is),
                cmocka_unit_test(many_objects_are_found_by_an_index),
                cmocka_unit_test(ids_go_both_ways),
                cmocka_unit_test(what_is_no_id_is_refused),
                cmocka_unit_test(names_are_equal_if_their_ids_are),
                cmocka_unit_test(versions_do_not_count),
                cmocka_unit_test(an_object_of_the_cluster_has_no_namespace),
                cmocka_unit_test(order_of_kinds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
