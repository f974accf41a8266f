#include "../test.h"

#include "../fake_server.h"

#include "base/clock.h"
#include "data/json.h"
#include "kube/config.h"

#include <sys/stat.h>

static char directory[] = "/tmp/weir-config-XXXXXX";
static struct fake_identity ca, client;

static char *path_of(const char *name)
{
        return memory_printf("%s/%s", directory, name);
}

static void put_file(const char *name, const char *content)
{
        cleanup(free_string) char *path = path_of(name);
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        fputs(content, file);
        fclose(file);
}

static char *base64(const char *text)
{
        struct buffer encoded = BUFFER_NULL;

        buffer_add_base64(&encoded, view_of(text));
        return buffer_steal(&encoded);
}

static int prepare(void **state)
{
        cleanup(free_string) char *sub = NULL;

        (void)state;
        if (!mkdtemp(directory))
                return -1;
        sub = path_of("sub");
        mkdir(sub, 0700);
        ca = fake_identity("ca", NULL, NULL);
        client = fake_identity("client", NULL, &ca);
        put_file("sub/ca.crt", ca.certificate_pem);
        put_file("sub/client.crt", client.certificate_pem);
        put_file("sub/client.key", client.key_pem);
        put_file("sub/token", "  from-file\n");
        unsetenv("KUBERNETES_SERVICE_HOST");
        return 0;
}

static int clean(void **state)
{
        cleanup(free_string) char *command = memory_printf("rm -rf %s", directory);

        (void)state;
        fake_identity_release(&ca);
        fake_identity_release(&client);
        return system(command);
}

static void the_first_file_wins_for_each_entry(void **state)
{
        cleanup(free_string) char *first = path_of("sub/a"), *second = path_of("sub/b"), *absent = path_of("absent");
        cleanup(free_string) char *paths = memory_printf(":%s:%s:%s:%s", absent, first, second, first);
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        put_file("sub/a", "users: [{name: u, user: {token: secret}}]\n");
        put_file("sub/b", "current-context: c\n"
                          "contexts: [{name: c, context: {cluster: k, user: u, namespace: ns}}]\n"
                          "clusters: [{name: k, cluster: {server: 'https://s:1/prefix/?x=1', certificate-authority: ca.crt}}]\n"
                          "users: [{name: u, user: {client-certificate: client.crt, client-key: client.key}}]\n");
        if (kube_config_load_files(paths, &config, &err) < 0)
                fail_msg("%s", error_message(&err));
        assert_string_equal(config->token.bytes, "secret");
        assert_int_equal(config->certificate.length, 0);
        assert_string_equal(config->server, "https://s:1/prefix");
        assert_string_equal(config->namespace, "ns");
        assert_true(view_is(config->ca, ca.certificate_pem));
}

static void paths_are_relative_to_their_file(void **state)
{
        cleanup(free_string) char *file = path_of("sub/c"), *expected = path_of("sub/./bin/p");
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        put_file("sub/c", "current-context: c\n"
                          "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
                          "clusters: [{name: k, cluster: {server: 'https://s', certificate-authority: ca.crt}}]\n"
                          "users: [{name: u, user: {client-certificate: client.crt, client-key: client.key, tokenFile: token,\n"
                          "  as: boss, as-groups: [g], as-user-extra: {k: [v, w]},\n"
                          "  exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: ./bin/p, args: [x],\n"
                          "         env: [{name: A, value: B}]}}}]\n");
        if (kube_config_load_files(file, &config, &err) < 0)
                fail_msg("%s", error_message(&err));
        assert_true(view_is(config->ca, ca.certificate_pem));
        assert_true(view_is(config->certificate, client.certificate_pem));
        assert_string_equal(config->key.bytes, client.key_pem);
        assert_string_equal(config->token.bytes, "from-file");
        assert_string_equal(config->exec->command, expected);
        assert_string_equal(config->exec->arguments[0], "x");
        assert_string_equal(config->exec->environment[0], "A=B");
        assert_string_equal(config->as_user, "boss");
        assert_string_equal(config->as_groups[0], "g");
        assert_int_equal(config->as_extra_count, 2);
}

/* One context, cluster and user; the test fills in what the cluster and the user hold. */
static char *simple(const char *cluster, const char *user)
{
        return memory_printf("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                             "clusters: [{name: k, cluster: {%s}}]\nusers: [{name: u, user: {%s}}]\n",
                             cluster, user);
}

static void mistakes_are_named(void **state)
{
        cleanup(free_string) char *ca_data = base64(ca.certificate_pem);
        cleanup(free_string) char *both =
                memory_printf("server: 'https://s', certificate-authority: ca.crt, certificate-authority-data: %s", ca_data);
        cleanup(free_string) char *loose =
                memory_printf("server: 'https://s', insecure-skip-tls-verify: true, certificate-authority-data: %s", ca_data);
        const struct {
                const char *cluster, *user, *part;
        } cases[] = {
                { both, "token: t", "certificate-authority-data and certificate-authority are both specified for k" },
                { loose, "token: t", "specifying a root certificates file with the insecure flag is not allowed" },
                { "insecure-skip-tls-verify: false", "token: t", "no server found for cluster \"k\"" },
                { "server: 'https://s', certificate-authority: none.crt", "token: t", "unable to read certificate-authority" },
                { "server: 'https://s', certificate-authority: token", "token: t", "no PEM certificate in it" },
                { "server: 'https://s', proxy-url: 'ftp://p'", "token: t", "unsupported scheme \"ftp\"" },
                { "server: 'https://s'", "client-certificate: client.crt",
                  "client-key-data or client-key must be specified for u" },
                { "server: 'https://s'", "client-certificate: ca.crt, client-key: client.key",
                  "private key does not match public key" },
                { "server: 'https://s'", "token: t, username: n, password: p",
                  "more than one authentication method found for u; found [token basicAuth], only one is allowed" },
                { "server: 'https://s'", "tokenFile: none", "no such file" },
                { "server: 'https://s'", "as-groups: [g]", "without impersonating a user" },
                { "server: 'https://s'", "auth-provider: {name: gcp}", "no Auth Provider found for name \"gcp\"" },
                { "server: 'https://s'", "exec: {command: p}", "apiVersion must be specified for u" },
                { "server: 'https://s'", "exec: {apiVersion: client.authentication.k8s.io/v1}", "command must be specified for u" },
                { "server: 'https://s'", "exec: {apiVersion: client.authentication.k8s.io/v2, command: p}",
                  "exec plugin: invalid apiVersion \"client.authentication.k8s.io/v2\"" },
                { "server: 'https://s'", "exec: {apiVersion: client.authentication.k8s.io/v1, command: p}",
                  "interactiveMode must be specified for u" },
                { "server: 'https://s'", "exec: {apiVersion: client.authentication.k8s.io/v1, command: p, interactiveMode: Maybe}",
                  "should be one of 'Never', 'IfAvailable', or 'Always'" },
        };
        cleanup(free_string) char *file = path_of("sub/mistake");

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *text = simple(cases[i].cluster, cases[i].user);
                cleanup(kube_config_free) struct kube_config *config = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                put_file("sub/mistake", text);
                assert_int_equal(kube_config_load_files(file, &config, &err), -1);
                if (!strstr(error_message(&err), cases[i].part))
                        fail_msg("%zu: %s", i, error_message(&err));
        }
}

static void a_missing_context_is_named(void **state)
{
        cleanup(free_string) char *file = path_of("sub/context");
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        put_file("sub/context", "current-context: nope\n");
        assert_int_equal(kube_config_load_files(file, &config, &err), -1);
        assert_non_null(strstr(error_message(&err), "context was not found for specified context: nope"));
}

static void schemes_decide_who_gets_credentials(void **state)
{
        static const struct {
                const char *cluster, *server;
                bool token;
        } cases[] = {
                { "server: s", "http://s", false },
                { "server: 's:80/'", "http://s:80", false },
                { "server: s, insecure-skip-tls-verify: true", "https://s", true },
                { "server: 'http://s', tls-server-name: x", "http://s", false },
                { "server: 'https://s'", "https://s", true },
        };
        cleanup(free_string) char *file = path_of("sub/scheme");

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *text = simple(cases[i].cluster, "token: t");
                cleanup(kube_config_free) struct kube_config *config = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                put_file("sub/scheme", text);
                assert_int_equal(kube_config_load_files(file, &config, &err), 0);
                assert_string_equal(config->server, cases[i].server);
                assert_int_equal(config->token.length > 0, cases[i].token);
        }
}

static void a_broken_file_is_noted_and_the_rest_loads(void **state)
{
        cleanup(free_string) char *broken = path_of("sub/broken"), *good = path_of("sub/good");
        cleanup(free_string) char *paths = memory_printf("%s:%s", broken, good);
        cleanup(free_string) char *text = simple("server: 'https://s'", "token: t");
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        put_file("sub/broken", "a: [\n");
        put_file("sub/good", text);
        assert_int_equal(kube_config_load_files(paths, &config, &err), 0);
        assert_non_null(strstr(config->notes, "error loading config file"));
        assert_string_equal(config->token.bytes, "t");
        assert_int_equal(kube_config_load_files(broken, &config, &err), -1);
}

static void a_pod_is_recognised(void **state)
{
        static const struct {
                const char *host, *server;
        } cases[] = { { "10.0.0.1", "https://10.0.0.1:443" }, { "fd00::1", "https://[fd00::1]:443" } };
        cleanup(free_string) char *root = path_of("sub");

        (void)state;
        put_file("sub/namespace", "flux-system");
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(kube_config_free) struct kube_config *config = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                setenv("KUBERNETES_SERVICE_HOST", cases[i].host, 1);
                setenv("KUBERNETES_SERVICE_PORT", "443", 1);
                assert_int_equal(kube_config_load_in_cluster(root, &config, &err), 0);
                assert_string_equal(config->server, cases[i].server);
                assert_string_equal(config->token.bytes, "from-file");
                assert_string_equal(config->namespace, "flux-system");
                assert_true(view_is(config->ca, ca.certificate_pem));
        }
        unsetenv("KUBERNETES_SERVICE_HOST");
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        assert_int_equal(kube_config_load_in_cluster(root, &config, &err), -1);
        assert_string_equal(error_message(&err), "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
                                                 "KUBERNETES_SERVICE_PORT must be defined");
}

static void the_environment_is_asked_in_order(void **state)
{
        cleanup(free_string) char *home = path_of("home"), *dot = path_of("home/.kube"), *empty = path_of("sub/empty");
        cleanup(free_string) char *text = simple("server: 'https://home'", "token: t");
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        mkdir(home, 0700), mkdir(dot, 0700);
        put_file("home/.kube/config", text);
        put_file("sub/empty", "");
        setenv("HOME", home, 1);
        unsetenv("KUBECONFIG");
        assert_int_equal(kube_config_load(&config, &err), 0);
        assert_string_equal(config->server, "https://home");
        kube_config_free(&config);
        setenv("KUBECONFIG", empty, 1);
        assert_int_equal(kube_config_load(&config, &err), -1);
        assert_string_equal(error_message(&err), "invalid configuration: no configuration has been provided, try setting "
                                                 "KUBERNETES_MASTER environment variable");
        /* In a pod that is not what is wrong. (These tests may run in one.) */
        if (access("/var/run/secrets/kubernetes.io/serviceaccount/token", F_OK) == 0)
                return;
        error_release(&err);
        setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
        setenv("KUBERNETES_SERVICE_PORT", "443", 1);
        assert_int_equal(kube_config_load(&config, &err), -1);
        assert_string_equal(error_message(&err), "unable to load in-cluster config: open "
                                                 "/var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory: "
                                                 "invalid configuration: no configuration has been provided, try setting "
                                                 "KUBERNETES_MASTER environment variable");
        unsetenv("KUBERNETES_SERVICE_HOST");
        unsetenv("KUBERNETES_SERVICE_PORT");
}

static struct json *secret_with(const char *key, const char *kubeconfig)
{
        cleanup(free_string) char *encoded = base64(kubeconfig);
        struct json *secret = json_new_object(), *metadata = json_set(secret, "metadata", json_new_object());

        json_set_string(metadata, "name", "kc");
        json_set_string(metadata, "namespace", "ns");
        json_set_string(json_set(secret, "data", json_new_object()), key, encoded);
        return secret;
}

static void kubeconfigs_of_strangers_are_cut_down(void **state)
{
        static const struct kube_config_secret_options nothing = { false }, exec = { .allow_exec = true },
                                                       insecure = { .allow_insecure = true };
        static const struct {
                const struct kube_config_secret_options *options;
                bool exec, insecure;
                const char *dropped;
        } cases[] = {
                { &nothing, false, false,
                  "insecure-skip-tls-verify, certificate-authority, as, client-certificate, client-key, tokenFile, exec" },
                { &exec, true, false,
                  "insecure-skip-tls-verify, certificate-authority, as, client-certificate, client-key, tokenFile" },
                { &insecure, false, true, "certificate-authority, as, client-certificate, client-key, tokenFile, exec" },
        };
        cleanup(free_string) char *text = simple(
                "server: 'https://s', insecure-skip-tls-verify: true, certificate-authority: /etc/passwd, tls-server-name: foo",
                "client-certificate: /etc/passwd, client-key: /etc/passwd, tokenFile: /etc/passwd, as: root,"
                "exec: {apiVersion: client.authentication.k8s.io/v1, command: p, interactiveMode: Never}");

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *secret = secret_with("value", text);
                cleanup(kube_config_free) struct kube_config *config = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                if (kube_config_from_secret(secret, NULL, cases[i].options, &config, &err) < 0)
                        fail_msg("%s", error_message(&err));
                assert_int_equal(config->exec != NULL, cases[i].exec);
                assert_int_equal(config->insecure, cases[i].insecure);
                assert_int_equal(config->ca.length + config->certificate.length + config->token.length, 0);
                assert_null(config->as_user);
                assert_string_equal(config->server_name, "foo");
                assert_int_equal(config->request_timeout_ms, 30000);
                assert_string_equal(config->dropped, cases[i].dropped);
        }
}

static void keys_of_the_secret(void **state)
{
        static const struct kube_config_secret_options nothing = { false };
        static const struct {
                const char *in_secret, *asked, *error;
        } cases[] = {
                { "value", NULL, NULL },
                { "value.yaml", "", NULL },
                { "mine", "mine", NULL },
                { "other", NULL, "KubeConfig secret 'ns/kc' does not contain a 'value' key with a kubeconfig" },
                { "value", "mine", "KubeConfig secret 'ns/kc' does not contain a 'mine' key with a kubeconfig" },
        };
        cleanup(free_string) char *text = simple("server: 'https://s'", "token: t");

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *secret = secret_with(cases[i].in_secret, text);
                cleanup(kube_config_free) struct kube_config *config = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(kube_config_from_secret(secret, cases[i].asked, &nothing, &config, &err), cases[i].error ? -1 : 0);
                assert_string_equal(error_message(&err), cases[i].error ? cases[i].error : "");
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_file_wins_for_each_entry),
                cmocka_unit_test(paths_are_relative_to_their_file),
                cmocka_unit_test(mistakes_are_named),
                cmocka_unit_test(a_missing_context_is_named),
                cmocka_unit_test(schemes_decide_who_gets_credentials),
                cmocka_unit_test(a_broken_file_is_noted_and_the_rest_loads),
                cmocka_unit_test(a_pod_is_recognised),
                cmocka_unit_test(the_environment_is_asked_in_order),
                cmocka_unit_test(kubeconfigs_of_strangers_are_cut_down),
                cmocka_unit_test(keys_of_the_secret),
        };

        return cmocka_run_group_tests(tests, prepare, clean);
}
