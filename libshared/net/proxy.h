/*
 * proxy: which proxy a request goes through, by the rules of Go's net/http.
 *
 * HTTPS_PROXY or https_proxy for https, HTTP_PROXY or http_proxy for http; NO_PROXY or no_proxy lists hosts that go direct: a name (also
 * all below it), ".suffix" (only below), an address, a CIDR, each with an optional port, or "*". Loopback never goes through a proxy. ALL_PROXY
 * is ignored. libcurl's own rules differ, so what is found here is set explicitly.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

/*
 * The proxy of the environment for `url`: a new string for the caller to free, "" for a direct connection. A variable that is no URL is -1,
 * ERROR_INVALID.
 */
int proxy_for_url(const char *url, char **ret_proxy, struct error *err);
/* The same with the variables given (NULL: not set); for tests and for settings that carry their own. */
struct proxy_environment {
        const char *http;
        const char *https;
        const char *none;
};
int proxy_choose(const struct proxy_environment *environment, const char *url, char **ret_proxy, struct error *err);
/* An explicit proxy: http, https and socks5 URLs; else -1, ERROR_INVALID, without the URL's user and password. */
int proxy_check(const char *proxy, struct error *err);
/* The port of a proxy whose URL names none: 80, 443 or 1080 by its scheme. libcurl would take 1080 for http too. */
long proxy_default_port(const char *proxy);
/* True if the environment names a proxy with the http scheme (or none) for plain or for TLS requests: --insecure-allow-http=false forbids it. */
bool proxy_environment_is_plain(void);
