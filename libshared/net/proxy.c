#include "net/proxy.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct target {
        char *scheme;
        char *host; /* lower case, without brackets and without a dot at the end */
        char *port;
        unsigned char address[16];
        size_t address_length; /* 0: a name */
};

static void target_release(struct target *target)
{
        curl_free(target->scheme);
        curl_free(target->host);
        curl_free(target->port);
        *target = (struct target){ NULL };
}

static void url_release(CURLU **url)
{
        curl_url_cleanup(*url);
}

/* 4 or 16 bytes; 0 if the text is no address. IPv4 in IPv6 counts as IPv4. */
static size_t address_parse(const char *text, unsigned char address[16])
{
        static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

        if (inet_pton(AF_INET, text, address) == 1)
                return 4;
        if (inet_pton(AF_INET6, text, address) != 1)
                return 0;
        if (memcmp(address, mapped, sizeof(mapped)) == 0) {
                memmove(address, address + 12, 4);
                return 4;
        }
        return 16;
}

static void lower(char *text)
{
        for (; *text; text++)
                if (*text >= 'A' && *text <= 'Z')
                        *text = (char)(*text - 'A' + 'a');
}

static int target_parse(const char *text, struct target *target, struct error *err)
{
        cleanup(url_release) CURLU *url = curl_url();
        size_t length;

        if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_SCHEME, &target->scheme, 0) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_HOST, &target->host, 0) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_PORT, &target->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
                return error_set(err, ERROR_INVALID, "not an http or https URL");
        length = strlen(target->host);
        if (length >= 2 && target->host[0] == '[') {
                memmove(target->host, target->host + 1, length - 2);
                target->host[length - 2] = '\0';
        } else if (length && target->host[length - 1] == '.') {
                target->host[length - 1] = '\0';
        }
        lower(target->host);
        target->address_length = address_parse(target->host, target->address);
        return 0;
}

static bool is_loopback(const struct target *target)
{
        static const unsigned char one[16] = { [15] = 1 };

        if (target->address_length == 4)
                return target->address[0] == 127;
        if (target->address_length == 16)
                return memcmp(target->address, one, 16) == 0;
        return strcmp(target->host, "localhost") == 0;
}

static bool in_network(const struct target *target, const char *network, unsigned bits)
{
        unsigned char address[16];
        size_t length = address_parse(network, address);

        if (length == 0 || length != target->address_length || bits > length * 8)
                return false;
        if (memcmp(address, target->address, bits / 8) != 0)
                return false;
        return bits % 8 == 0 || ((address[bits / 8] ^ target->address[bits / 8]) >> (8 - bits % 8)) == 0;
}

/* Cuts ":443" or "]:443" off a pattern; NULL if there is no port. An address of IPv6 without brackets has none. */
static const char *take_port(char *pattern)
{
        char *colon = strrchr(pattern, ':');
        char *bracket = strchr(pattern, ']');

        if (pattern[0] == '[' && bracket) {
                const char *port = bracket[1] == ':' ? bracket + 2 : NULL;

                *bracket = '\0';
                memmove(pattern, pattern + 1, strlen(pattern));
                return port;
        }
        if (!colon || strchr(pattern, ':') != colon)
                return NULL;
        *colon = '\0';
        return colon + 1;
}

static bool pattern_matches(char *pattern, const struct target *target)
{
        char *slash = strchr(pattern, '/');
        unsigned char address[16];
        const char *port;
        size_t host_length, length;

        if (strcmp(pattern, "*") == 0)
                return true;
        if (slash) {
                uint64_t bits;

                *slash = '\0';
                return view_to_uint64(view_of(slash + 1), &bits) == 0 && bits <= 128 && in_network(target, pattern, (unsigned)bits);
        }
        port = take_port(pattern);
        if (port && strcmp(port, target->port) != 0)
                return false;
        length = address_parse(pattern, address);
        if (length)
                return length == target->address_length && memcmp(address, target->address, length) == 0;
        if (pattern[0] == '*' && pattern[1] == '.')
                pattern++;
        host_length = strlen(target->host);
        length = strlen(pattern);
        if (pattern[0] == '.')
                return length > 1 && host_length > length && strcmp(target->host + host_length - length, pattern) == 0;
        if (strcmp(target->host, pattern) == 0)
                return length > 0;
        return length > 0 && host_length > length && target->host[host_length - length - 1] == '.' &&
               strcmp(target->host + host_length - length, pattern) == 0;
}

static bool goes_direct(const char *none, const struct target *target)
{
        struct view rest = view_of(none), piece;

        if (is_loopback(target))
                return true;
        while (view_split(&rest, ',', &piece)) {
                cleanup(free_string) char *pattern = NULL;

                piece = view_trim(piece);
                pattern = memory_string_n(piece.length ? piece.data : "", piece.length);
                lower(pattern);
                if (pattern_matches(pattern, target))
                        return true;
        }
        return false;
}

int proxy_check(const char *proxy, struct error *err)
{
        cleanup(url_release) CURLU *url = curl_url();
        char *scheme = NULL, *host = NULL;
        int r = 0;

        if (curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
                r = error_set(err, ERROR_INVALID, "the proxy is no URL");
        else if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0 && strcasecmp(scheme, "socks5") != 0)
                r = error_set(err, ERROR_INVALID, "unsupported scheme \"%s\", must be http, https, or socks5", scheme);
        curl_free(scheme);
        curl_free(host);
        return r;
}

long proxy_default_port(const char *proxy)
{
        return strncasecmp(proxy, "http://", 7) == 0 ? 80 : strncasecmp(proxy, "https://", 8) == 0 ? 443 : 1080;
}

int proxy_choose(const struct proxy_environment *environment, const char *url, char **ret_proxy, struct error *err)
{
        cleanup(target_release) struct target target = { NULL };
        cleanup(free_string) char *proxy = NULL;
        const char *chosen;

        if (target_parse(url, &target, err) < 0)
                return -1;
        chosen = strcmp(target.scheme, "https") == 0 ? environment->https : environment->http;
        if (!chosen || !*chosen || goes_direct(environment->none, &target)) {
                *ret_proxy = memory_string("");
                return 0;
        }
        proxy = strstr(chosen, "://") ? memory_string(chosen) : memory_printf("http://%s", chosen);
        if (proxy_check(proxy, err) < 0)
                return error_wrap(err, "proxy of the environment for %s", target.scheme);
        *ret_proxy = steal(&proxy);
        return 0;
}

static const char *variable(const char *upper_case, const char *lower_case)
{
        const char *value = getenv(upper_case);

        if (!value || !*value)
                value = getenv(lower_case);
        return value && *value ? value : NULL;
}

int proxy_for_url(const char *url, char **ret_proxy, struct error *err)
{
        const struct proxy_environment environment = {
                .http = variable("HTTP_PROXY", "http_proxy"),
                .https = variable("HTTPS_PROXY", "https_proxy"),
                .none = variable("NO_PROXY", "no_proxy"),
        };

        if (!environment.http && !environment.https) {
                *ret_proxy = memory_string("");
                return 0;
        }
        return proxy_choose(&environment, url, ret_proxy, err);
}

static bool is_plain(const char *proxy)
{
        return proxy && *proxy && (strncasecmp(proxy, "http://", 7) == 0 || !strstr(proxy, "://"));
}

bool proxy_environment_is_plain(void)
{
        return is_plain(variable("HTTP_PROXY", "http_proxy")) || is_plain(variable("HTTPS_PROXY", "https_proxy"));
}
