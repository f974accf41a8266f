/* Credentials: tokens, plugins and certificates that change while a client lives. */
#include "api_server.h"
#include "kube/exec.h"

#include <sys/mman.h>

static void tokens_rotate(void **state)
{
        cleanup(free_string) char *path = path_of("token");
        cleanup(free_string) char *user = memory_printf("tokenFile: %s", path);
        cleanup(fixture_close) struct fixture f;

        (void)state;
        put_file("token", "one\n");
        fixture_open(&f, ok, user);
        assert_int_equal(call(&f, KUBE_GET), 0);
        put_file("token", "two\n");
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_string_equal(f.script.authorization, "Bearer one"); /* not read for every request */
        f.client->server->token_read_ms -= 50000;
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_string_equal(f.script.authorization, "Bearer two");
        put_file("token", "");
        for (int i = 0; i < 3; i++) {
                f.client->server->token_read_ms -= 50000;
                assert_int_equal(call(&f, KUBE_GET), 0);
        }
        assert_string_equal(f.script.authorization, "Bearer two");
        assert_int_equal(f.notices, 1);
}

static enum fake_next want_new(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");

        (void)data;
        if (strcmp(authorization, "Bearer new") != 0)
                return fake_answer(connection, "401 Unauthorized", "", "");
        return fake_json(connection, "200 OK", ANSWER);
}

static void a_refused_token_is_read_again(void **state)
{
        cleanup(free_string) char *path = path_of("token");
        cleanup(free_string) char *user = memory_printf("tokenFile: %s", path);
        cleanup(fixture_close) struct fixture f;

        (void)state;
        put_file("token", "old");
        fixture_open(&f, want_new, user);
        assert_int_equal(call(&f, KUBE_CREATE), -1);
        assert_int_equal(f.script.count, 1); /* the file is the same: nothing else to try */
        put_file("token", "new");
        assert_int_equal(call(&f, KUBE_CREATE), 0);
        assert_int_equal(f.script.count, 3);
}

/* Prints the next number as a token each time it runs; $1 is added to the status. */
static const char plugin[] = "#!/bin/sh\n"
                             "cd \"$(dirname \"$0\")\"\n"
                             "n=$(($(cat runs) + 1)); echo $n > runs; echo \"$KUBERNETES_EXEC_INFO $EXTRA\" > info\n"
                             "ls /proc/$$/fd | wc -l > fds\n"
                             "expires=$(date -u -d \"+$2 seconds\" +%Y-%m-%dT%H:%M:%S.%NZ)\n"
                             "echo "
                             "'{\"kind\":\"ExecCredential\",\"apiVersion\":\"'$1'\",\"status\":{\"token\":\"t'$n'\","
                             "\"expirationTimestamp\":\"'$expires'\"}}'\n";

static char *exec_user(const char *arguments, const char *rest)
{
        return memory_printf(
                "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./plugin, args: [%s], "
                "env: [{name: EXTRA, value: extra}]%s}",
                arguments, rest);
}

static int number_in(const char *name)
{
        cleanup(free_string) char *path = path_of(name);
        FILE *file = fopen(path, "r");
        int count = -1;

        assert_int_equal(fscanf(file, "%d", &count), 1);
        fclose(file);
        return count;
}

static int runs(void)
{
        return number_in("runs");
}

static enum fake_next refuse_second(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct script *script = data;
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");

        if (script->mode == 1 && strcmp(authorization, "Bearer t2") == 0)
                return fake_answer(connection, "401 Unauthorized", "", "");
        return fake_json(connection, "200 OK", ANSWER);
}

static void plugins_run_when_they_must(void **state)
{
        cleanup(free_string) char *user = exec_user("client.authentication.k8s.io/v1, '2'", ", provideClusterInfo: true");
        cleanup(free_string) char *info_path = path_of("info");
        cleanup(fixture_close) struct fixture f;
        char info[4096] = "";
        FILE *file;

        (void)state;
        put_file("plugin", plugin);
        put_file("runs", "0");
        fixture_open(&f, refuse_second, user);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(runs(), 1);
        assert_int_equal(context_sleep(&f.ctx, 2100, &f.err), 0);
        assert_int_equal(call(&f, KUBE_GET), 0);
        assert_int_equal(runs(), 2);
        f.script.mode = 1;
        assert_int_equal(call(&f, KUBE_CREATE), 0);
        assert_int_equal(runs(), 3);
        assert_string_equal(f.script.authorization, "Bearer t3");

        file = fopen(info_path, "r");
        assert_non_null(fgets(info, sizeof(info), file));
        fclose(file);
        assert_non_null(strstr(info, "\"server\":\"https://127.0.0.1:"));
        assert_non_null(strstr(info, "\"interactive\":false"));
        assert_non_null(strstr(info, "} extra"));
        /* The three of every program, the script itself, and the shell's pipe: nothing of ours. */
        assert_in_range(number_in("fds"), 3, 5);
}

/* Half a minute before the end, or a tenth of what is left if that is less. */
static void a_credential_is_renewed_before_it_ends(void **state)
{
        static const struct {
                int seconds;
                int64_t least_ms, most_ms; /* before its end */
        } cases[] = { { 3600, 30000, 30000 }, { 100, 8000, 10000 } };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *version = memory_printf("client.authentication.k8s.io/v1, '%d'", cases[i].seconds);
                cleanup(free_string) char *user = exec_user(version, "");
                cleanup(fixture_close) struct fixture f;
                const struct kube_server *server;

                put_file("plugin", plugin);
                put_file("runs", "0");
                fixture_open(&f, ok, user);
                assert_int_equal(call(&f, KUBE_GET), 0);
                server = f.client->server;
                assert_in_range((server->plugin_until_us - server->plugin_renew_us) / 1000, cases[i].least_ms, cases[i].most_ms);
        }
}

/* A name without a slash is looked for in PATH, and not beside the file that names it. */
static void a_plugin_is_found_in_the_path(void **state)
{
        static const char user[] = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: weir-test-plugin}";
        static const char text[] =
                "#!/bin/sh\n"
                "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":\"t\"}}'\n";
        cleanup(free_string) char *before = memory_string(getenv("PATH")), *path = memory_printf("%s:%s/bin", before, directory);
        cleanup(free_string) char *bin = path_of("bin");

        (void)state;
        for (int found = 0; found < 2; found++) {
                cleanup(fixture_close) struct fixture f;

                if (found) {
                        mkdir(bin, 0700);
                        put_file("bin/weir-test-plugin", text);
                        setenv("PATH", path, 1);
                } else {
                        put_file("weir-test-plugin", text);
                }
                fixture_open(&f, ok, user);
                assert_int_equal(call(&f, KUBE_GET), found ? 0 : -1);
                if (found)
                        assert_string_equal(f.script.authorization, "Bearer t");
        }
        setenv("PATH", before, 1);
}

/* It has as many descriptors as we were given, not as many as we took. */
static void a_plugin_has_its_own_limit(void **state)
{
        cleanup(free_string) char *user = exec_user("client.authentication.k8s.io/v1", "");
        cleanup(fixture_close) struct fixture f;

        (void)state;
        put_file("plugin", "#!/bin/sh\nuntil [ $(ulimit -Sn) = 77 ]; do sleep 0.01; done\n"
                           "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t\"}}'\n");
        exec_set_descriptors(77);
        fixture_open(&f, refuse_second, user);
        assert_int_equal(call(&f, KUBE_GET), 0);
        exec_set_descriptors(0);
}

static void plugins_that_fail_are_named(void **state)
{
        static const struct {
                const char *script, *rest, *message;
        } cases[] = {
                { plugin, "",
                  "exec plugin is configured to use API version client.authentication.k8s.io/v1, plugin returned version wrong" },
                { "#!/bin/sh\nexit 3\n", "", "failed with exit code 3" },
                { "#!/bin/sh\nkill -9 $$\n", "", "ended by signal 9" },
                { "#!/bin/sh\necho secret-text\n", "", "decoding stdout" },
                { "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\"}'\n", "",
                  "exec plugin didn't return a status field" },
                { "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{}}'\n", "",
                  "exec plugin didn't return a token or cert/key pair" },
                { "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"clientKeyData\":\"k\"}}'\n",
                  "", "exec plugin returned only certificate or key, not both" },
                { "#!/bin/sh\nhead -c 2000000 /dev/zero\n", "", "its output is larger than 1048576 bytes" },
                { plugin, ", interactiveMode: Always", "standard input is not a terminal" },
                { plugin, ", command: ./absent, installHint: get it", "not found\n\nget it" },
                { plugin, ", command: weir-no-such-program", "exec: executable weir-no-such-program not found" },
        };
        size_t count = kernel_has_vfork() ? COUNT(cases) : COUNT(cases) - 2;

        (void)state;
        for (size_t i = 0; i < count; i++) {
                cleanup(free_string) char *user = exec_user("wrong, '60'", cases[i].rest);
                cleanup(fixture_close) struct fixture f;

                put_file("plugin", cases[i].script);
                put_file("runs", "0");
                fixture_open(&f, ok, user);
                assert_int_equal(call(&f, KUBE_GET), -1);
                if (!strstr(error_message(&f.err), cases[i].message) ||
                    strncmp(error_message(&f.err), "getting credentials: ", 21) != 0)
                        fail_msg("%zu: %s", i, error_message(&f.err));
                assert_null(strstr(error_message(&f.err), "secret-text"));
                assert_int_equal(f.script.count, 0);
        }
}

/* What the process says on its standard error while `run` goes on, of at most 1 MiB. */
static size_t said_meanwhile(void (*run)(struct fixture *f), struct fixture *f)
{
        cleanup(close_descriptor) int file = memfd_create("stderr", MFD_CLOEXEC);
        cleanup(close_descriptor) int saved = dup(STDERR_FILENO);

        dup2(file, STDERR_FILENO);
        run(f);
        dup2(saved, STDERR_FILENO);
        return (size_t)lseek(file, 0, SEEK_END);
}

static void call_once(struct fixture *f)
{
        assert_int_equal(call(f, KUBE_GET), 0);
}

static void complaints_are_passed_on_up_to_a_limit(void **state)
{
        cleanup(free_string) char *command = NULL;
        static const struct {
                const char *complaint;
                size_t said;
        } cases[] = {
                { "echo warning >&2\n", 8 },
                { "head -c 3000000 /dev/zero | tr '\\0' x >&2\n", 16384 },
                /* Somebody it started keeps the pipes: nobody waits for that. */
                { "sleep 50 &\necho $! > left\n", 0 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *user = exec_user("client.authentication.k8s.io/v1, '60'", "");
                cleanup(free_string) char *script =
                        memory_printf("#!/bin/sh\ncd \"$(dirname \"$0\")\"\n%secho "
                                      "'{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t\"}}'\n",
                                      cases[i].complaint);
                cleanup(fixture_close) struct fixture f;

                put_file("plugin", script);
                fixture_open(&f, ok, user);
                assert_int_equal(said_meanwhile(call_once, &f), cases[i].said);
        }
        command = memory_printf("kill $(cat %s/left)", directory);
        assert_int_equal(system(command), 0);
}

/* The second run does not end by itself. */
static const char hanging_plugin[] = "#!/bin/sh\n"
                                     "cd \"$(dirname \"$0\")\"\n"
                                     "n=$(($(cat runs) + 1)); echo $n > new; mv new runs\n"
                                     "[ $n = 1 ] || exec sleep 50\n"
                                     "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t1\","
                                     "\"expirationTimestamp\":\"2999-01-01T00:00:00Z\"}}'\n";

static void a_slow_plugin_holds_nobody_up_while_its_credential_is_good(void **state)
{
        cleanup(free_string) char *user = exec_user("client.authentication.k8s.io/v1", "");
        cleanup(fixture_close) struct fixture f;
        struct kube_server *server;
        int64_t begun;

        (void)state;
        put_file("plugin", hanging_plugin);
        put_file("runs", "0");
        fixture_open(&f, ok, user);
        server = f.client->server;
        assert_int_equal(call(&f, KUBE_GET), 0);
        pthread_mutex_lock(&server->lock);
        server->plugin_renew_us = 0;
        server->plugin_ended_ms -= 5000;
        pthread_mutex_unlock(&server->lock);
        for (int i = 0; i < 5; i++)
                assert_int_equal(call(&f, KUBE_GET), 0);
        assert_string_equal(f.script.authorization, "Bearer t1");
        WAIT_UNTIL(runs() == 2);

        /* Whoever needs another credential waits no longer than he wants to, and the run goes on for the others. */
        pthread_mutex_lock(&server->lock);
        server->plugin_until_us = 0;
        pthread_mutex_unlock(&server->lock);
        context_close(&f.ctx);
        begun = clock_now_ms();
        context_open(&f.ctx, NULL, begun + 200);
        assert_int_equal(call(&f, KUBE_GET), -1);
        assert_int_equal(f.err.kind, ERROR_TIMEOUT);
        assert_true(clock_now_ms() - begun < 15000);
        assert_true(server->plugin_running);
        assert_int_equal(runs(), 2);
}

static void *fail_once(void *argument)
{
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(context_close) struct context ctx;
        struct kube_access access = { NULL };
        struct fixture *f = argument;

        context_open(&ctx, NULL, CLOCK_NEVER);
        return kube_access_get(&ctx, f->client->server, &access, &err) < 0 && strstr(error_message(&err), "exit code 3") ? NULL : f;
}

static unsigned waiters(struct kube_server *server)
{
        unsigned count;

        pthread_mutex_lock(&server->lock);
        count = server->plugin_waiters;
        pthread_mutex_unlock(&server->lock);
        return count;
}

static void those_who_wait_share_a_failure(void **state)
{
        cleanup(free_string) char *user = exec_user("client.authentication.k8s.io/v1", "");
        cleanup(fixture_close) struct fixture f;
        pthread_t threads[8];

        (void)state;
        put_file("plugin", "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho $(($(cat runs) + 1)) > runs\n"
                           "while [ ! -e go ]; do sleep 0.01; done; exit 3\n");
        put_file("runs", "0");
        fixture_open(&f, ok, user);
        for (size_t i = 0; i < COUNT(threads); i++)
                pthread_create(&threads[i], NULL, fail_once, &f);
        WAIT_UNTIL(waiters(f.client->server) == COUNT(threads));
        put_file("go", "");
        for (size_t i = 0; i < COUNT(threads); i++) {
                void *result;

                pthread_join(threads[i], &result);
                assert_null(result);
        }
        assert_int_equal(runs(), 1);
        assert_int_equal(f.notices, 0); /* they tell of it */
}

/* ---- certificates ---- */

static void a_new_ca_is_taken_when_the_old_one_fails(void **state)
{
        cleanup(fake_identity_release) struct fake_identity other = fake_identity("other", NULL, NULL);
        cleanup(kube_client_release) struct kube_client *client = NULL;
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, ok, "token: t");
        put_file("ca.crt", other.certificate_pem);
        fixture_client(&f, "certificate-authority: ca.crt", "token: t", &client);
        assert_int_equal(call_of(&f, client, KUBE_GET), -1);
        assert_string_equal(f.err.reason, HTTP_UNVERIFIED);
        put_file("ca.crt", ca.certificate_pem);
        assert_int_equal(call_of(&f, client, KUBE_GET), 0);
}

#define CALLER(authorization, certificate, name)                                                                                   \
        "{\"metadata\":{\"name\":\"n\"},\"caller\":[\"" authorization "\",\"" certificate "\",\"" name "\",\"127.0.0.1\"]}"

/* What a server sees of who calls it, and by which name. */
static enum fake_next tell_caller(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *authorization = fake_header(request, "Authorization"), *host = fake_header(request, "Host");
        X509 *certificate = SSL_get1_peer_certificate(connection->tls);
        cleanup(free_string) char *text =
                memory_printf("{\"metadata\":{\"name\":\"n\"},\"caller\":[\"%s\",\"%s\",\"%s\",\"%.9s\"]}",
                              authorization ? authorization : "", certificate ? "certificate" : "", request->server_name, host);

        (void)data;
        X509_free(certificate);
        return fake_json(connection, "200 OK", text);
}

/* Asks for a certificate, and takes who has none. */
static int any_certificate(int verified, X509_STORE_CTX *store)
{
        (void)verified, (void)store;
        return 1;
}

static void the_name_that_is_given_is_asked_for_and_verified(void **state)
{
        static const struct {
                const char *line, *answer; /* NULL: it fails */
        } cases[] = { { "", NULL },
                      { ", tls-server-name: foo", CALLER("Bearer t", "", "foo") },
                      { ", tls-server-name: bar", NULL } };
        cleanup(fake_identity_release) struct fake_identity foo = fake_identity("foo", "DNS:foo", &ca);
        cleanup(fixture_close) struct fixture f;

        (void)state;
        fixture_open(&f, tell_caller, "token: t");
        fake_stop(&f.server);
        f.server = fake_start(&foo, NULL, script_serve, &f.script);
        put_file("ca.crt", ca.certificate_pem);
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *cluster = memory_printf("certificate-authority: ca.crt%s", cases[i].line);
                cleanup(kube_client_release) struct kube_client *client = NULL;
                cleanup(buffer_release) struct buffer body = BUFFER_NULL;
                struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .namespace = "ns", .name = "n" };

                fixture_client(&f, cluster, "token: t", &client);
                assert_int_equal(kube_call(&f.ctx, client, &request, &body, &f.err), cases[i].answer ? 0 : -1);
                if (cases[i].answer)
                        assert_string_equal(buffer_string(&body), cases[i].answer);
                else
                        assert_string_equal(f.err.reason, HTTP_UNVERIFIED);
                error_release(&f.err);
        }
}

/* Of two files that say who we are the first one counts, on the wire too: with a token, and without the other one's certificate. */
static void the_first_file_says_who_we_are(void **state)
{
        cleanup(fake_identity_release) struct fake_identity own = fake_identity("own", NULL, &ca);
        cleanup(free_string) char *first = path_of("first"), *second = path_of("kubeconfig");
        cleanup(fixture_close) struct fixture f;
        struct kube_client_options options = { .user_agent = "test-controller/1 (linux)" };
        struct kube_request request = { .verb = KUBE_GET, .resource = config_maps(), .namespace = "ns", .name = "n" };

        (void)state;
        put_file("own.crt", own.certificate_pem);
        put_file("own.key", own.key_pem);
        fixture_open(&f, tell_caller, "client-certificate: own.crt, client-key: own.key");
        SSL_CTX_set_verify(f.server->tls, SSL_VERIFY_PEER, any_certificate);
        put_file("first", "users: [{name: u, user: {token: first}}]\n");
        for (int both = 0; both < 2; both++) {
                cleanup(free_string) char *files = both ? memory_printf("%s:%s", first, second) : memory_string(second);
                cleanup(kube_config_free) struct kube_config *config = NULL;
                cleanup(kube_client_release) struct kube_client *client = NULL;
                cleanup(buffer_release) struct buffer body = BUFFER_NULL;

                if (kube_config_load_files(files, &config, &f.err) < 0 ||
                    kube_client_new(io, &config, &options, &client, &f.err) < 0 ||
                    kube_call(&f.ctx, client, &request, &body, &f.err) < 0)
                        fail_msg("%s", error_message(&f.err));
                assert_string_equal(buffer_string(&body), both ? CALLER("Bearer first", "", "") : CALLER("", "certificate", ""));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(tokens_rotate),
                cmocka_unit_test(a_refused_token_is_read_again),
                cmocka_unit_test(plugins_run_when_they_must),
                cmocka_unit_test(a_credential_is_renewed_before_it_ends),
                cmocka_unit_test(a_plugin_is_found_in_the_path),
                cmocka_unit_test(a_plugin_has_its_own_limit),
                cmocka_unit_test(plugins_that_fail_are_named),
                cmocka_unit_test(complaints_are_passed_on_up_to_a_limit),
                cmocka_unit_test(a_slow_plugin_holds_nobody_up_while_its_credential_is_good),
                cmocka_unit_test(those_who_wait_share_a_failure),
                cmocka_unit_test(a_new_ca_is_taken_when_the_old_one_fails),
                cmocka_unit_test(the_name_that_is_given_is_asked_for_and_verified),
                cmocka_unit_test(the_first_file_says_who_we_are),
        };

        return cmocka_run_group_tests(tests, api_prepare, api_clean);
}
