#include "net/git_private.h"
#include "net/url.h"

#include "base/cleanup.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

static void release_url(CURLU **url)
{
        curl_url_cleanup(*url);
}

static const char *part(struct arena *arena, CURLU *url, CURLUPart what, unsigned flags)
{
        char *text = NULL;
        const char *copy;

        if (curl_url_get(url, what, &text, flags) != CURLUE_OK)
                return NULL;
        copy = arena_string(arena, text);
        curl_free(text);
        return copy;
}

static unsigned default_port(const char *scheme)
{
        return strcmp(scheme, "https") == 0 ? 443 : strcmp(scheme, "http") == 0 ? 80 : 22;
}

static const char *without_brackets(struct arena *arena, const char *host)
{
        size_t length = strlen(host);

        if (length > 2 && host[0] == '[' && host[length - 1] == ']')
                return arena_string_n(arena, host + 1, length - 2);
        return host;
}

int git_url_parse(struct arena *arena, struct view text, struct git_url *ret_url, struct error *err)
{
        cleanup(release_url) CURLU *parsed = curl_url();
        struct git_url url = { .query = NULL };
        ptrdiff_t colon = view_find(text, ':', 0);
        const char *port;
        uint64_t number;
        CURLUcode code;

        if (memchr(text.data, '\0', text.length))
                return error_set(err, ERROR_INVALID, "it holds a NUL byte");
        /* libcurl would take the first piece of the path for the host. */
        if (colon >= 0 && view_starts(view_slice(text, (size_t)colon, text.length), VIEW(":///")))
                return error_set(err, ERROR_INVALID, "no host");
        code = curl_url_set(parsed, CURLUPART_URL, arena_view(arena, text).data, CURLU_NON_SUPPORT_SCHEME);
        if (code != CURLUE_OK)
                return error_set(err, ERROR_INVALID, "%s", curl_url_strerror(code));
        url.scheme = part(arena, parsed, CURLUPART_SCHEME, 0);
        url.host = part(arena, parsed, CURLUPART_HOST, 0);
        if (!url.scheme || (strcmp(url.scheme, "http") != 0 && strcmp(url.scheme, "https") != 0 && strcmp(url.scheme, "ssh") != 0))
                return error_set(err, ERROR_INVALID, "the scheme is none of http, https, ssh");
        if (!url.host || !url.host[0])
                return error_set(err, ERROR_INVALID, "no host");
        url.host = without_brackets(arena, url.host);
        port = part(arena, parsed, CURLUPART_PORT, 0);
        url.default_port = port == NULL;
        url.port = default_port(url.scheme);
        if (port && view_to_uint64(view_of(port), &number) == 0 && number <= 65535)
                url.port = (unsigned)number;
        url.path = part(arena, parsed, CURLUPART_PATH, strcmp(url.scheme, "ssh") == 0 ? CURLU_URLDECODE : 0);
        url.query = part(arena, parsed, CURLUPART_QUERY, 0);
        url.user = part(arena, parsed, CURLUPART_USER, CURLU_URLDECODE);
        url.password = part(arena, parsed, CURLUPART_PASSWORD, CURLU_URLDECODE);
        if (!url.path)
                url.path = "/";
        *ret_url = url;
        return 0;
}

void git_url_print(const struct git_url *url, struct buffer *text)
{
        buffer_printf(text, strchr(url->host, ':') ? "%s://[%s]" : "%s://%s", url->scheme, url->host);
        if (!url->default_port)
                buffer_printf(text, ":%u", url->port);
        buffer_add_string(text, url->path);
}

int git_url_redirect(struct arena *arena, const struct git_url *base, struct view location, struct git_url *ret_url,
                     bool *ret_other, struct error *err)
{
        static const char suffix[] = "/info/refs";
        struct git_url url;
        size_t length;

        if (git_url_parse(arena, location, &url, err) < 0)
                return error_wrap(err, "http redirect");
        if (strcmp(url.scheme, "ssh") == 0)
                return error_set(err, ERROR_INVALID, "http redirect: unsupported scheme \"%s\"", url.scheme);
        if (strcmp(base->scheme, "https") == 0 && strcmp(url.scheme, "http") == 0)
                return error_set(err, ERROR_INVALID, "http redirect: changes scheme from \"https\" to \"http\"");
        length = strlen(url.path);
        if (length < sizeof(suffix) - 1 || strcmp(url.path + length - (sizeof(suffix) - 1), suffix) != 0)
                return error_set(err, ERROR_INVALID, "http redirect: target \"%s\" does not end with %s", url.path, suffix);
        url.path = arena_string_n(arena, url.path, length - (sizeof(suffix) - 1));
        url.query = NULL;
        url.user = url.password = NULL;
        *ret_other = strcasecmp(url.host, base->host) != 0 ||
                     (url.port != base->port && !(url.default_port && base->default_port)) /* http to https on the usual ports */;
        *ret_url = url;
        return 0;
}

int git_url_check(struct view text, bool *ret_has_user, bool *ret_ssh, struct error *err)
{
        struct arena *arena = arena_new();
        struct git_url url;
        int result = url_check(text, err);

        if (result == 0)
                result = git_url_parse(arena, text, &url, err);

        if (result == 0) {
                *ret_has_user = url.user != NULL;
                *ret_ssh = strcmp(url.scheme, "ssh") == 0;
        }
        arena_free(&arena);
        return result;
}
