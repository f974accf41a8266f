#include "net/known_hosts.h"

#include "base/cleanup.h"

#include <string.h>

#include "../test.h"

#define ALPHA "AAAAC3NzaC1lZDI1NTE5AAAAIEFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
#define BETA  "AAAAC3NzaC1lZDI1NTE5AAAAIEJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC"
#define RSA   "AAAAB3NzaC1yc2EAAAAEQ0NDQw=="

static enum known_host check(const char *text, const char *host, unsigned port, const char *key)
{
        cleanup(buffer_release) struct buffer blob = BUFFER_NULL;

        assert_int_equal(buffer_add_base64_decoded(&blob, view_of(key)), 0);
        return known_hosts_check(view_of(text), host, port, buffer_view(&blob));
}

static void lines_are_matched(void **state)
{
        static const struct {
                const char *text, *host;
                unsigned port;
                const char *key;
                enum known_host verdict;
        } cases[] = {
                { "example.com ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "example.com ssh-ed25519 " ALPHA " comment here\r\n", "example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "Example.COM ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "example.com ssh-ed25519 " ALPHA, "EXAMPLE.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "example.com ssh-ed25519 " ALPHA, "example.com", 22, BETA, KNOWN_HOST_MISMATCH },
                { "example.com ssh-ed25519 " ALPHA, "example.org", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "", "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                /* A port other than 22 is part of the name. */
                { "example.com ssh-ed25519 " ALPHA, "example.com", 2222, ALPHA, KNOWN_HOST_UNKNOWN },
                { "[example.com]:2222 ssh-ed25519 " ALPHA, "example.com", 2222, ALPHA, KNOWN_HOST_MATCH },
                { "[example.com]:2222 ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "[example.com]:22 ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "[::1]:2222 ssh-ed25519 " ALPHA, "::1", 2222, ALPHA, KNOWN_HOST_MATCH },
                { "::1 ssh-ed25519 " ALPHA, "::1", 22, ALPHA, KNOWN_HOST_MATCH },
                { "example.com:2222 ssh-ed25519 " ALPHA, "example.com", 2222, ALPHA, KNOWN_HOST_MATCH },
                { "example.com:2222 ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "example.com:22 ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "*.com:2222,!evil.com:2222 ssh-ed25519 " ALPHA, "evil.com", 2222, ALPHA, KNOWN_HOST_UNKNOWN },
                { "example.com: ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { ":22 ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "[*.example.com]:2222 ssh-ed25519 " ALPHA, "a.example.com", 2222, ALPHA, KNOWN_HOST_MATCH },
                /* Lists, wildcards, negation. */
                { "a,b,example.com ssh-ed25519 " ALPHA, "b", 22, ALPHA, KNOWN_HOST_MATCH },
                { "*.example.com ssh-ed25519 " ALPHA, "git.example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "*.example.com ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "git?.example.com ssh-ed25519 " ALPHA, "git1.example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "*a*b*c ssh-ed25519 " ALPHA, "xaxbxbxc", 22, ALPHA, KNOWN_HOST_MATCH },
                { "*.example.com,!evil.example.com ssh-ed25519 " ALPHA, "evil.example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "!evil.example.com,*.example.com ssh-ed25519 " ALPHA, "good.example.com", 22, ALPHA, KNOWN_HOST_MATCH },
                { "!evil.example.com ssh-ed25519 " ALPHA, "good.example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                /* Hashed names. */
                { "|1|MDEyMzQ1Njc4OWFiY2RlZmdoaWo=|jaHXoMQTU/+rEgquOJTQzPGCF4I= ssh-ed25519 " ALPHA, "example.com", 22, ALPHA,
                  KNOWN_HOST_MATCH },
                { "|1|MDEyMzQ1Njc4OWFiY2RlZmdoaWo=|B4JlprCduyj/8/3b1qnq1ugMSoY= ssh-ed25519 " ALPHA, "example.com", 2222, ALPHA,
                  KNOWN_HOST_MATCH },
                { "|1|MDEyMzQ1Njc4OWFiY2RlZmdoaWo=|jaHXoMQTU/+rEgquOJTQzPGCF4I= ssh-ed25519 " ALPHA, "example.com", 2222, ALPHA,
                  KNOWN_HOST_UNKNOWN },
                { "|1||jaHXoMQTU/+rEgquOJTQzPGCF4I= ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                { "|1|&|& ssh-ed25519 " ALPHA, "example.com", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                /* Several lines: any of them may hold the key. */
                { "h ssh-rsa " RSA "\nh ssh-ed25519 " BETA "\nh ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_MATCH },
                /* Markers. */
                { "@revoked h ssh-ed25519 " ALPHA "\nh ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_REVOKED },
                { "h ssh-ed25519 " ALPHA "\n@revoked * ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_REVOKED },
                { "h ssh-ed25519 " ALPHA "\n@revoked * ssh-ed25519 " BETA, "h", 22, ALPHA, KNOWN_HOST_MATCH },
                /* A key that leaked is trusted nowhere. */
                { "h ssh-ed25519 " ALPHA "\n@revoked other.example.com ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_REVOKED },
                { "h ssh-ed25519 " ALPHA "\n@revoked h ssh-ed25519 &&&", "h", 22, ALPHA, KNOWN_HOST_MATCH },
                { "@cert-authority * ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_AUTHORITY },
                { "@cert-authority * ssh-ed25519 " BETA "\nh ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_MATCH },
                /* ... whatever comes first, and of whatever type the authority's key is. */
                { "@cert-authority h ssh-ed25519 " BETA "\nh ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_MATCH },
                { "h ssh-ed25519 " ALPHA "\n@cert-authority h,*.example.com ssh-rsa " RSA, "h", 22, ALPHA, KNOWN_HOST_MATCH },
                { "@cert-authority h ssh-ed25519 " ALPHA "\nh ssh-ed25519 " BETA, "h", 22, ALPHA, KNOWN_HOST_MISMATCH },
                { "@revoked * ssh-ed25519 " BETA "\r\n@cert-authority * ssh-rsa " RSA "\r\n  h\tssh-ed25519\t" ALPHA "  \t\r\n",
                  "h", 22, ALPHA, KNOWN_HOST_MATCH },
                { "@future h ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_UNKNOWN },
                /* What says nothing. */
                { "# h ssh-ed25519 " ALPHA "\n\n   \nh\nh ssh-ed25519\nh ssh-ed25519 &&&", "h", 22, ALPHA, KNOWN_HOST_MISMATCH },
                { "# h ssh-ed25519 " ALPHA, "h", 22, ALPHA, KNOWN_HOST_UNKNOWN },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                if (check(cases[i].text, cases[i].host, cases[i].port, cases[i].key) != cases[i].verdict)
                        fail_msg("case %zu: %s", i, cases[i].text);
}

static void algorithms_are_those_of_the_host(void **state)
{
        static const struct {
                const char *text, *algorithms;
        } cases[] = {
                { "h ssh-ed25519 " ALPHA, "ssh-ed25519" },
                { "h ssh-rsa " RSA, "rsa-sha2-512,rsa-sha2-256" },
                { "h ssh-rsa " RSA "\nh ssh-ed25519 " ALPHA "\nh ssh-ed25519 " BETA, "rsa-sha2-512,rsa-sha2-256,ssh-ed25519" },
                { "other ssh-rsa " RSA "\nh ssh-ed25519 " ALPHA, "ssh-ed25519" },
                { "@cert-authority h ssh-rsa " RSA, "" },
                { "@cert-authority h ssh-rsa " RSA "\n@revoked h ssh-rsa " RSA "\nh ssh-ed25519 " ALPHA, "ssh-ed25519" },
                /* The key says what it is. */
                { "h rsa " RSA, "rsa-sha2-512,rsa-sha2-256" },
                { "h ssh-ed25519 &&&\nh ssh-ed25519 AAAA\nh ssh-rsa " ALPHA, "ssh-ed25519" },
                { "other ssh-rsa " RSA, "" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer algorithms = BUFFER_NULL;

                known_hosts_algorithms(view_of(cases[i].text), "h", 22, &algorithms);
                assert_string_equal(buffer_string(&algorithms), cases[i].algorithms);
        }
}

static void keys_have_a_fingerprint(void **state)
{
        cleanup(buffer_release) struct buffer blob = BUFFER_NULL;
        char text[KNOWN_HOSTS_FINGERPRINT];

        (void)state;
        assert_int_equal(buffer_add_base64_decoded(&blob, VIEW(ALPHA)), 0);
        assert_string_equal(known_hosts_fingerprint(buffer_view(&blob), text),
                            "SHA256:ycecTFElO4tMaWgqfHQDEUjUete0Tsl0wmvU/kkDXFc");
        assert_true(view_is(known_hosts_key_type(buffer_view(&blob)), "ssh-ed25519"));
        assert_int_equal(known_hosts_key_type(VIEW("\xff\xff\xff\xffssh")).length, 0);
        assert_int_equal(known_hosts_key_type(VIEW("abc")).length, 0);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_are_matched),
                cmocka_unit_test(algorithms_are_those_of_the_host),
                cmocka_unit_test(keys_have_a_fingerprint),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
