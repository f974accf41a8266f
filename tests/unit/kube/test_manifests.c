/*
 * The shipped manifests: assembled from their sources, and true to the contract that users patch by position.
 */
#include "../crd.h"

#include "data/path.h"

static void assembled_files_are_up_to_date(void **state)
{
        static const char *const names[] = { "install", "crds" };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(names); i++) {
                char command[128], path[64];
                cleanup(free_string) char *there = NULL, *made = NULL;
                struct buffer output = BUFFER_NULL;
                FILE *pipe;
                size_t n;

                snprintf(path, sizeof(path), "manifests/%s.yaml", names[i]);
                snprintf(command, sizeof(command), "manifests/assemble %s v" WEIR_VERSION, names[i]);
                pipe = popen(command, "re");
                assert_non_null(pipe);
                do {
                        n = fread(buffer_reserve(&output, 1 << 16), 1, 1 << 16, pipe);
                        output.length += n;
                } while (n > 0);
                assert_int_equal(pclose(pipe), 0);
                output.data[output.length] = '\0';
                made = buffer_steal(&output);
                there = crd_read_file(path);
                if (strcmp(made, there) != 0)
                        fail_msg("%s is not what its sources say: run 'make manifests'", path);
        }
}

/* The object of that kind and name in manifests/install.yaml. */
static struct json *load(const char *kind, const char *name)
{
        cleanup(free_string) char *text = crd_read_file("manifests/install.yaml");
        cleanup(yaml_close) struct yaml_reader *reader = yaml_open(view_of(text), YAML_UNIQUE_KEYS);
        struct error error = ERROR_NULL;
        struct json *object = NULL;

        while (yaml_next(reader, &object, &error) == 0) {
                if (strcmp(json_string(json_get(object, "kind"), ""), kind) == 0 &&
                    strcmp(json_string(JSON_PATH(object, "metadata", "name"), ""), name) == 0)
                        return object;
                json_free(&object);
        }
        fail_msg("no %s %s: %s", kind, name, error_message(&error));
        return NULL;
}

static void expect(const struct json *object, const char *pointer, const char *expected)
{
        cleanup(free_string) char *found = json_text(path_get(object, view_of(pointer)));

        if (strcmp(found, expected) != 0)
                fail_msg("%s is %s, not %s", pointer, found, expected);
}

static void deployments_keep_the_contract(void **state)
{
        static const struct {
                const char *name, *pointer, *value;
        } cases[] = {
                { "source-controller", "/spec/template/spec/volumes/0", "{\"emptyDir\":{},\"name\":\"data\"}" },
                { "source-controller", "/spec/template/spec/volumes/1", "{\"emptyDir\":{},\"name\":\"tmp\"}" },
                { "source-controller", "/spec/strategy/type", "\"Recreate\"" },
                { "source-controller", "/spec/template/spec/containers/0/args",
                  "[\"--events-addr=http://notification-controller.flux-system.svc.cluster.local./"
                  "\",\"--watch-all-namespaces=true\","
                  "\"--log-level=info\",\"--log-encoding=json\",\"--enable-leader-election\",\"--storage-path=/data\","
                  "\"--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.cluster.local.\"]" },
                { "source-controller", "/spec/template/spec/containers/0/ports",
                  "[{\"containerPort\":9090,\"name\":\"http\",\"protocol\":\"TCP\"},{\"containerPort\":8080,\"name\":\"http-prom\","
                  "\"protocol\":"
                  "\"TCP\"},{\"containerPort\":9440,\"name\":\"healthz\",\"protocol\":\"TCP\"}]" },
                { "source-controller", "/spec/template/spec/containers/0/readinessProbe/httpGet",
                  "{\"path\":\"/\",\"port\":\"http\"}" },
                { "kustomize-controller", "/spec/template/spec/volumes/0", "{\"emptyDir\":{},\"name\":\"temp\"}" },
                { "kustomize-controller", "/spec/template/spec/containers/0/args",
                  "[\"--events-addr=http://notification-controller.flux-system.svc.cluster.local./"
                  "\",\"--watch-all-namespaces=true\","
                  "\"--log-level=info\",\"--log-encoding=json\",\"--enable-leader-election\"]" },
                { "kustomize-controller", "/spec/template/spec/containers/0/ports",
                  "[{\"containerPort\":8080,\"name\":\"http-prom\",\"protocol\":\"TCP\"},{\"containerPort\":9440,\"name\":"
                  "\"healthz\","
                  "\"protocol\":\"TCP\"}]" },
                { "kustomize-controller", "/spec/template/spec/containers/0/readinessProbe/httpGet",
                  "{\"path\":\"/readyz\",\"port\":\"healthz\"}" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *deployment = load("Deployment", cases[i].name);

                expect(deployment, cases[i].pointer, cases[i].value);
        }
}

/* What the "restricted" pod security standard asks for, and what the sandbox must work in. */
static void pods_are_confined(void **state)
{
        static const char *const names[] = { "source-controller", "kustomize-controller" };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(names); i++) {
                cleanup(json_free) struct json *deployment = load("Deployment", names[i]);

                expect(deployment, "/spec/replicas", "1");
                expect(deployment, "/spec/template/spec/containers/0/name", "\"manager\"");
                expect(deployment, "/spec/template/spec/containers/0/securityContext",
                       "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\"readOnlyRootFilesystem\":true,"
                       "\"runAsGroup\":65534,\"runAsNonRoot\":true,\"runAsUser\":65534,\"seccompProfile\":{\"type\":"
                       "\"RuntimeDefault\"}}");
                expect(deployment, "/spec/template/spec/securityContext", "{\"fsGroup\":1337}");
                expect(deployment, "/spec/template/spec/containers/1", "");
                expect(deployment, "/spec/template/spec/containers/0/env",
                       "[{\"name\":\"RUNTIME_NAMESPACE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}}]");
                crd_same_text(names[i], "service account",
                              json_string(JSON_PATH(deployment, "spec", "template", "spec", "serviceAccountName"), NULL), names[i]);
        }
}

static void service_leads_to_the_artifacts(void **state)
{
        cleanup(json_free) struct json *service = load("Service", "source-controller");

        (void)state;
        expect(service, "/spec/ports", "[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\",\"targetPort\":\"http\"}]");
        expect(service, "/spec/selector", "{\"app\":\"source-controller\"}");
}

static void check_labels(const struct json *object, const char *component)
{
        const struct json *labels = JSON_PATH(object, "metadata", "labels");
        const char *where = json_string(JSON_PATH(object, "metadata", "name"), "?");

        crd_same_text(where, "part-of", json_string(json_get(labels, "app.kubernetes.io/part-of"), NULL), "flux");
        crd_same_text(where, "instance", json_string(json_get(labels, "app.kubernetes.io/instance"), NULL), "flux-system");
        crd_same_text(where, "version", json_string(json_get(labels, "app.kubernetes.io/version"), NULL), "v" WEIR_VERSION);
        if (component)
                crd_same_text(where, "component", json_string(json_get(labels, "app.kubernetes.io/component"), NULL), component);
}

/* What has a namespace is in flux-system, and the rest has none. */
static void check_namespace(const struct json *object)
{
        static const char *const global[] = { "Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding" };
        const char *kind = json_string(json_get(object, "kind"), ""), *expected = "\"flux-system\"";
        size_t i;

        for (i = 0; i < COUNT(global); i++)
                if (strcmp(kind, global[i]) == 0)
                        expected = "";
        expect(object, "/metadata/namespace", expected);
        if (strcmp(kind, "Namespace") == 0)
                expect(object, "/metadata/name", "\"flux-system\"");
}

static void everything_is_labelled_and_in_its_namespace(void **state)
{
        static const char *const names[] = { "source-controller", "kustomize-controller" };
        cleanup(free_string) char *text = crd_read_file("manifests/install.yaml");
        cleanup(yaml_close) struct yaml_reader *reader = yaml_open(view_of(text), YAML_UNIQUE_KEYS);
        cleanup(error_release) struct error error = ERROR_NULL;
        struct json *object = NULL;
        size_t count = 0, i;

        (void)state;
        for (; yaml_next(reader, &object, &error) == 0; count++) {
                check_labels(object, NULL);
                check_namespace(object);
                json_free(&object);
        }
        assert_string_equal(error_message(&error), "");
        assert_true(count > 10);
        for (i = 0; i < COUNT(names); i++) {
                cleanup(json_free) struct json *deployment = load("Deployment", names[i]);

                check_labels(deployment, names[i]);
                check_labels(JSON_PATH(deployment, "spec", "template"), names[i]);
                crd_same_text(names[i], "app",
                              json_string(JSON_PATH(deployment, "spec", "template", "metadata", "labels", "app"), NULL), names[i]);
                /* A selector cannot be changed: with another one these could not be applied over Flux's. */
                crd_same_text(names[i], "selector",
                              json_string(JSON_PATH(deployment, "spec", "selector", "matchLabels", "app"), NULL), names[i]);
        }
}

static void only_the_kustomize_controller_is_admin(void **state)
{
        cleanup(json_free) struct json *admin = load("ClusterRoleBinding", "cluster-reconciler-flux-system");
        cleanup(json_free) struct json *common = load("ClusterRoleBinding", "crd-controller-flux-system");

        (void)state;
        expect(admin, "/roleRef/name", "\"cluster-admin\"");
        expect(admin, "/subjects",
               "[{\"kind\":\"ServiceAccount\",\"name\":\"kustomize-controller\",\"namespace\":\"flux-system\"}]");
        expect(common, "/roleRef/name", "\"crd-controller-flux-system\"");
        expect(common, "/subjects",
               "[{\"kind\":\"ServiceAccount\",\"name\":\"source-controller\",\"namespace\":\"flux-system\"},"
               "{\"kind\":\"ServiceAccount\",\"name\":\"kustomize-controller\",\"namespace\":\"flux-system\"}]");
}

/* Where the permissions of Flux 2.9 are: who takes one away does it by its number. */
static void permissions_keep_their_places(void **state)
{
        static const struct {
                const char *pointer, *value;
        } cases[] = {
                { "/rules/0/apiGroups", "[\"source.toolkit.fluxcd.io\"]" },
                { "/rules/1/apiGroups", "[\"kustomize.toolkit.fluxcd.io\"]" },
                { "/rules/2/apiGroups", "[\"helm.toolkit.fluxcd.io\"]" },
                { "/rules/3/apiGroups", "[\"notification.toolkit.fluxcd.io\"]" },
                { "/rules/4/apiGroups", "[\"image.toolkit.fluxcd.io\"]" },
                { "/rules/5/apiGroups", "[\"source.extensions.fluxcd.io\"]" },
                { "/rules/6/resources", "[\"namespaces\",\"secrets\",\"configmaps\",\"serviceaccounts\"]" },
                { "/rules/7/resources", "[\"events\"]" },
                { "/rules/8/resources", "[\"configmaps\"]" },
                { "/rules/9/resources", "[\"configmaps/status\"]" },
                { "/rules/10/resources", "[\"leases\"]" },
                { "/rules/11/resources", "[\"serviceaccounts/token\"]" },
                { "/rules/12/nonResourceURLs", "[\"/livez/ping\"]" },
                { "/rules/13", "" },
        };
        cleanup(json_free) struct json *role = load("ClusterRole", "crd-controller-flux-system");
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++)
                expect(role, cases[i].pointer, cases[i].value);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(assembled_files_are_up_to_date),
                cmocka_unit_test(deployments_keep_the_contract),
                cmocka_unit_test(pods_are_confined),
                cmocka_unit_test(service_leads_to_the_artifacts),
                cmocka_unit_test(everything_is_labelled_and_in_its_namespace),
                cmocka_unit_test(only_the_kustomize_controller_is_admin),
                cmocka_unit_test(permissions_keep_their_places),
        };

        return cmocka_run_group_tests_name("manifests", tests, NULL, NULL);
}
