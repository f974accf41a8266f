#include "../../../source-controller/secrets.h"

#include "base/cleanup.h"

#include <string.h>

#include "../test.h"

/* Made for this test by ssh-keygen; the second has a passphrase. */
static const char plain_identity[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                                     "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
                                     "QyNTUxOQAAACAnndI4nOxYnFUtGt+1jO9ZVqXz89fQD/tt9lVUMMPlBAAAAIiTxmbFk8Zm\n"
                                     "xQAAAAtzc2gtZWQyNTUxOQAAACAnndI4nOxYnFUtGt+1jO9ZVqXz89fQD/tt9lVUMMPlBA\n"
                                     "AAAECbA932X3BeAMEguDJ8zP62ryUNkzC0yg05zRwk172INSed0jic7FicVS0a37WM71lW\n"
                                     "pfPz19AP+232VVQww+UEAAAAAXcBAgME\n"
                                     "-----END OPENSSH PRIVATE KEY-----\n";
static const char encrypted_identity[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                                         "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDDzo7Nzz\n"
                                         "es0e1Rsp+pvnytAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIN+CEd/E5KW7jLx/\n"
                                         "lKfV3RbugoihAyGZNuJEGXByJWjMAAAAkASgNRMhRz/gl9WOd7l5gkkqhkNz1SsITVI8Kj\n"
                                         "cPlY4YxTFdglzuYn3hJldZQiu6tUO5q1W4Z65sPcqRt4TZOg3iMl4EMPoLsoUUHOc/pvQ3\n"
                                         "QO2EehFhCUhcSwWoG00QPO/dE9C5xMptpu/ObYRHs1nDN1ejDNSiZEQclj4bULYDTj9fgT\n"
                                         "XHoc59R7ZVGSrjJw==\n"
                                         "-----END OPENSSH PRIVATE KEY-----\n";

/* A Secret of keys and plain values. */
static struct json *secret_of(const char *const *pairs)
{
        struct json *secret = json_new_object();
        struct json *data = json_set(secret, "data", json_new_object());

        for (size_t i = 0; pairs && pairs[i]; i += 2) {
                cleanup(buffer_release) struct buffer encoded = BUFFER_NULL;

                buffer_add_base64(&encoded, view_of(pairs[i + 1]));
                json_set_string(data, pairs[i], buffer_string(&encoded));
        }
        return secret;
}

#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void credentials_of_git_are_read(void **state)
{
        const struct {
                const char *url;
                const char *const *secret;
                const char *username, *password, *token, *authorities, *certificate, *key;
                const char *reason, *message;
        } cases[] = {
                { .url = "https://h/r" },
                { .url = "https://h/r",
                  .secret = PAIRS("username", "ada", "password", "x\n"),
                  .username = "ada",
                  .password = "x\n" },
                { .url = "https://h/r", .secret = PAIRS("username", "ada"), .username = "ada" },
                { .url = "https://u@h/r", .secret = PAIRS("password", "x"), .password = "x" },
                { .url = "https://h/r",
                  .secret = PAIRS("password", "x"),
                  .reason = "AuthenticationFailed",
                  .message = "failed to configure authentication options: invalid 'https' auth option: 'password' requires "
                             "'username' to be set" },
                { .url = "http://h/r",
                  .secret = PAIRS("password", "x"),
                  .reason = "AuthenticationFailed",
                  .message = "failed to configure authentication options: invalid 'http' auth option: 'password' requires "
                             "'username' to be set" },
                { .url = "https://h/r", .secret = PAIRS("bearerToken", "t", "username", "ada", "password", "x"), .token = "t" },
                { .url = "https://h/r",
                  .secret = PAIRS("ca.crt", "A", "caFile", "B", "tls.crt", "C", "tls.key", "D"),
                  .authorities = "A",
                  .certificate = "C",
                  .key = "D" },
                { .url = "https://h/r", .secret = PAIRS("caFile", "B"), .authorities = "B" },
                { .url = "https://h/r", .secret = PAIRS("caFile", "B", "ca.crt", ""), .authorities = "B" },
                { .url = "https://h/r", .secret = PAIRS("tls.crt", "C") },
                { .url = "https://h/r", .secret = PAIRS("tls.crt", "", "tls.key", "D") },
                { .url = "https://h/r", .secret = PAIRS("bearerToken", "", "username", "ada", "password", "x") },
                { .url = "https://h/r", .secret = PAIRS("identity", "i", "known_hosts", "k") },
                { .url = "https://h/r",
                  .secret = PAIRS("githubAppID", "1"),
                  .reason = "InvalidProviderConfiguration",
                  .message = "secretRef 'ns/s' has github app data but provider is not set to github" },
                { .url = "ftp://h/r", .reason = "URLInvalid", .message = "the scheme is none of http, https, ssh" },
                { .url = "ssh://h/r",
                  .reason = "AuthenticationFailed",
                  .message = "failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required" },
                { .url = "ssh://h/r",
                  .secret = PAIRS("identity", plain_identity),
                  .reason = "AuthenticationFailed",
                  .message = "failed to configure authentication options: invalid 'ssh' auth option: 'known_hosts' is required" },
                { .url = "ssh://h/r",
                  .secret = PAIRS("identity", encrypted_identity, "known_hosts", "k"),
                  .reason = "AuthenticationFailed",
                  .message = "SSH identity key is encrypted but no 'password' field was provided in the secret 'ns/s'" },
                { .url = "ssh://h/r", .secret = PAIRS("identity", encrypted_identity, "known_hosts", "k", "password", "x") },
                { .url = "ssh://h/r", .secret = PAIRS("identity", plain_identity, "known_hosts", "k") },
        };
        struct arena *arena = arena_new();

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(json_free) struct json *secret = cases[i].secret ? secret_of(cases[i].secret) : NULL;
                struct git_request request = { .url = view_of(cases[i].url) };

                print_message("case %zu\n", i);
                assert_int_equal(secrets_git(secret, "ns/s", arena, &request, &err), cases[i].message ? -1 : 0);
                assert_string_equal(error_message(&err), cases[i].message ? cases[i].message : "");
                assert_string_equal(err.reason, cases[i].reason ? cases[i].reason : "");
                if (cases[i].message)
                        continue;
                assert_true(view_equal(request.username, view_of(cases[i].username)));
                assert_true(view_equal(request.password, view_of(cases[i].password)));
                assert_true(view_equal(request.bearer_token, view_of(cases[i].token)));
                assert_true(view_equal(request.authorities, view_of(cases[i].authorities)));
                assert_true(view_equal(request.certificate, view_of(cases[i].certificate)));
                assert_true(view_equal(request.key, view_of(cases[i].key)));
        }
        arena_free(&arena);
}

static void proxies_are_read(void **state)
{
        const struct {
                const char *const *secret;
                const char *proxy, *username, *password, *message;
        } cases[] = {
                { PAIRS("address", "http://p:3128"), "http://p:3128/", NULL, NULL, NULL },
                { PAIRS("address", "socks5://u:a%40b@p:1080"), "socks5://p:1080/", "u", "a@b", NULL },
                { PAIRS("address", "https://u:x@p", "username", "ada", "password", "s"), "https://p/", "ada", "s", NULL },
                { PAIRS("address", "https://u:x@p", "username", "ada"), "https://p/", "ada", NULL, NULL },
                { PAIRS("username", "ada"), NULL, NULL, NULL, "secret 'ns/p': key 'address' not found" },
                { PAIRS("address", ""), NULL, NULL, NULL, "secret 'ns/p': proxy address is empty" },
                { PAIRS("address", "ftp://p"), NULL, NULL, NULL,
                  "secret 'ns/p': proxy URL must use one of the supported schemes (http, https, socks5), got 'ftp'" },
                { PAIRS("address", "p:3128"), NULL, NULL, NULL,
                  "secret 'ns/p': proxy URL must use one of the supported schemes (http, https, socks5), got 'p'" },
                { PAIRS("address", "HTTP://p:3128"), "http://p:3128/", NULL, NULL, NULL },
                { PAIRS("address", "127.0.0.1:3128"), NULL, NULL, NULL,
                  "secret 'ns/p': failed to parse proxy address '127.0.0.1:3128': parse \"127.0.0.1:3128\": first path segment in "
                  "URL "
                  "cannot contain colon" },
                { PAIRS("address", "http://u:se/cret@p"), NULL, NULL, NULL, "secret 'ns/p': failed to parse proxy address" },
        };
        struct arena *arena = arena_new();

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(json_free) struct json *secret = secret_of(cases[i].secret);
                struct git_request request = { .always = false };

                print_message("case %zu\n", i);
                assert_int_equal(secrets_proxy(secret, "ns/p", arena, &request, &err), cases[i].message ? -1 : 0);
                assert_string_equal(error_message(&err), cases[i].message ? cases[i].message : "");
                if (cases[i].message)
                        continue;
                assert_true(view_is(request.proxy, cases[i].proxy));
                assert_true(view_equal(request.proxy_username, view_of(cases[i].username)));
                assert_true(view_equal(request.proxy_password, view_of(cases[i].password)));
        }
        arena_free(&arena);
}

static void encrypted_identities_are_recognised(void **state)
{
        (void)state;
        assert_false(secrets_identity_encrypted(view_of(plain_identity)));
        assert_true(secrets_identity_encrypted(view_of(encrypted_identity)));
        assert_true(secrets_identity_encrypted(
                VIEW("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")));
        assert_true(secrets_identity_encrypted(
                VIEW("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n")));
        assert_false(secrets_identity_encrypted(VIEW("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")));
        assert_false(
                secrets_identity_encrypted(VIEW("-----BEGIN OPENSSH PRIVATE KEY-----\n&&&\n-----END OPENSSH PRIVATE KEY-----\n")));
        assert_false(secrets_identity_encrypted(VIEW("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA")));
        assert_false(secrets_identity_encrypted(VIEW_NULL));
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(credentials_of_git_are_read),
                cmocka_unit_test(proxies_are_read),
                cmocka_unit_test(encrypted_identities_are_recognised),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
