#include "../../../kustomize-controller/kustomization.h"

#include "../crd.h"

static void table_and_crd_agree(void **state)
{
        (void)state;
        crd_check_kind(&kustomization_kind);
}

static void an_object_is_decoded(void **state)
{
        static const char text[] =
                "metadata: {namespace: apps, name: web}\n"
                "spec:\n"
                "  interval: 10m\n"
                "  timeout: 0s\n"
                "  prune: true\n"
                "  sourceRef: {kind: GitRepository, name: app}\n"
                "  postBuild:\n"
                "    substitute: {region: eu}\n"
                "    substituteFrom: [{kind: ConfigMap, name: vars}]\n"
                "  patches: [{patch: '- op: remove', target: {kind: Deployment}}]\n"
                "  ignore: [{paths: [/spec/replicas]}]\n"
                "  kubeConfig: {secretRef: {name: kc, key: k}}\n"
                "status:\n"
                "  observedGeneration: 3\n"
                "  inventory: {entries: [{id: apps_web_apps_Deployment, v: v1}]}\n"
                "  history:\n"
                "  - {digest: 'sha256:00', firstReconciled: '2026-01-02T03:04:05Z', lastReconciled: '2026-01-02T03:04:05Z',\n"
                "     lastReconciledDuration: 5ms, lastReconciledStatus: ReconciliationSucceeded, totalReconciliations: 2,\n"
                "     metadata: {revision: main@sha1:00}}\n";
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *object = NULL, *encoded = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct kustomization_status status;
        struct kustomization_spec spec;

        (void)state;
        assert_int_equal(yaml_parse(view_of(text), 0, &object, &error), 0);
        assert_int_equal(kind_decode(&kustomization_kind, object, arena, &spec, &status, &error), 0);
        assert_true(spec.interval == INT64_C(600000000000));
        assert_true(spec.timeout && *spec.timeout == 0);
        assert_null(spec.retry_interval);
        assert_string_equal(spec.source_ref->name, "app");
        assert_null(spec.source_ref->namespace);
        assert_false(spec.force);
        assert_string_equal(string_map_get(&spec.post_build->substitute, "region"), "eu");
        assert_false(spec.post_build->substitute_from.items[0].optional);
        assert_string_equal(spec.patches.items[0].target->kind, "Deployment");
        assert_string_equal(spec.ignore.items[0].paths.items[0], "/spec/replicas");
        assert_string_equal(spec.kube_config->secret_ref->key, "k");
        assert_null(spec.kube_config->config_map_ref);
        assert_string_equal(status.inventory->entries.items[0].id, "apps_web_apps_Deployment");
        assert_int_equal(status.history.items[0].total_reconciliations, 2);

        /* What was read is what is written. */
        encoded = record_encode(kustomization_kind.status, &status);
        assert_true(json_equal(encoded, json_get(object, "status")));
}

static void a_bad_object_is_named(void **state)
{
        static const struct crd_refusal cases[] = {
                { "{interval: 1m, sourceRef: {kind: GitRepository, name: app}}",
                  "Kustomization/apps/web: spec.prune: is required" },
                { "{interval: 1m, prune: true, sourceRef: {kind: Pod, name: app}}",
                  "Kustomization/apps/web: spec.sourceRef.kind: \"Pod\" is not one of OCIRepository, GitRepository, Bucket, "
                  "ExternalArtifact" },
                { "{interval: 1m, prune: true, sourceRef: {kind: Bucket, name: app}, targetNamespace: ''}",
                  "Kustomization/apps/web: spec.targetNamespace: must have at least 1 characters" },
                { "{interval: 1m, prune: true, sourceRef: {kind: Bucket, name: app}, postBuild: {substitute: {a: 1}}}",
                  "Kustomization/apps/web: spec.postBuild.substitute.a: must be a string, not integer" },
                { "{interval: 1m, prune: true, sourceRef: {kind: Bucket, name: app}, decryption: {provider: gpg}}",
                  "Kustomization/apps/web: spec.decryption.provider: \"gpg\" is not one of sops" },
        };

        (void)state;
        crd_check_refusals(&kustomization_kind, "apps", "web", cases, COUNT(cases));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(table_and_crd_agree),
                cmocka_unit_test(an_object_is_decoded),
                cmocka_unit_test(a_bad_object_is_named),
        };

        return cmocka_run_group_tests_name("kustomization_api", tests, NULL, NULL);
}
