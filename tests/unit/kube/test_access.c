/* Credentials: tokens, plugins and certificates that change while a client lives. */
#include "api_server.h"

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
        return fake_json(connection, "200 OK", "{}");
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

static int runs(void)
{
        cleanup(free_string) char *path = path_of("runs");
        FILE *file = fopen(path, "r");
        int count = -1;

        assert_int_equal(fscanf(file, "%d", &count), 1);
        fclose(file);
        return count;
}

static enum fake_next refuse_second(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        struct script *script = data;
        cleanup(free_string) char *authorization = fake_header(request, "Authorization");

        if (script->mode == 1 && strcmp(authorization, "Bearer t2") == 0)
                return fake_answer(connection, "401 Unauthorized", "", "");
        return fake_json(connection, "200 OK", "{}");
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
                { plugin, ", command: ./absent, installHint: get it", "not found\n\nget it" },
                { plugin, ", command: weir-no-such-program", "exec: executable weir-no-such-program not found" },
                { plugin, ", interactiveMode: Always", "standard input is not a terminal" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(tokens_rotate),
                cmocka_unit_test(a_refused_token_is_read_again),
                cmocka_unit_test(plugins_run_when_they_must),
                cmocka_unit_test(plugins_that_fail_are_named),
                cmocka_unit_test(a_new_ca_is_taken_when_the_old_one_fails),
        };

        return cmocka_run_group_tests(tests, api_prepare, api_clean);
}
