#include "secrets.h"

#include "base/cleanup.h"
#include "net/url.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#define AUTHENTICATION_FAILED "AuthenticationFailed"
#define INVALID_PROVIDER      "InvalidProviderConfiguration"
#define PROXY_ADDRESS_LIMIT   2048

/* The bytes of one key. False if the Secret has no such key; what is no base64 counts as empty. */
static bool secret_value(const struct json *secret, const char *key, struct arena *arena, struct view *ret_value)
{
        cleanup(buffer_release) struct buffer bytes = BUFFER_SECRET;
        const struct json *value = json_path(secret, "data", key, NULL);

        if (json_type(value) != JSON_STRING)
                return false;
        if (buffer_add_base64_decoded(&bytes, json_view(value)) < 0)
                buffer_clear(&bytes);
        arena_keep_secret(arena);
        *ret_value = arena_view(arena, buffer_view(&bytes));
        return true;
}

static struct view value_or(const struct json *secret, const char *key, struct arena *arena, struct view fallback)
{
        struct view value;

        return secret_value(secret, key, arena, &value) && value.length > 0 ? value : fallback;
}

bool secrets_identity_encrypted(struct view pem)
{
        static const char magic[] = "openssh-key-v1"; /* its NUL is part of it */
        static const struct view header = VIEW("-----BEGIN OPENSSH PRIVATE KEY-----");
        cleanup(buffer_release) struct buffer body = { .limit = 64 << 10, .secret = true };
        ptrdiff_t start = view_search(pem, header, 0), end;
        const unsigned char *cipher;

        if (start < 0)
                return view_search(pem, VIEW("ENCRYPTED"), 0) >= 0;
        end = view_search(pem, VIEW("-----END"), (size_t)start);
        if (end < 0)
                return false;
        start += (ptrdiff_t)header.length;
        if (buffer_add_base64_decoded(&body, view_trim(view_slice(pem, (size_t)start, (size_t)(end - start)))) < 0 ||
            body.length < sizeof(magic) + 8 || memcmp(body.data, magic, sizeof(magic)) != 0)
                return false;
        cipher = (const unsigned char *)body.data + sizeof(magic); /* a length of 4 bytes and the name */
        return memcmp(cipher, "\0\0\0\4none", 8) != 0;
}

static int check_ssh(const struct git_request *request, const char *name, struct error *err)
{
        if (request->identity.length == 0)
                return error_set_reason(
                        err, ERROR_INVALID, AUTHENTICATION_FAILED,
                        "failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required");
        if (request->known_hosts.length == 0)
                return error_set_reason(
                        err, ERROR_INVALID, AUTHENTICATION_FAILED,
                        "failed to configure authentication options: invalid 'ssh' auth option: 'known_hosts' is required");
        if (request->passphrase.length == 0 && secrets_identity_encrypted(request->identity))
                return error_set_reason(err, ERROR_INVALID, AUTHENTICATION_FAILED,
                                        "SSH identity key is encrypted but no 'password' field was provided in the secret '%s'",
                                        name);
        return 0;
}

static int fill_ssh(const struct json *secret, const char *name, struct arena *arena, struct git_request *request,
                    struct error *err)
{
        request->identity = value_or(secret, "identity", arena, VIEW_NULL);
        request->known_hosts = value_or(secret, "known_hosts", arena, VIEW_NULL);
        request->passphrase = value_or(secret, "password", arena, VIEW_NULL);
        return check_ssh(request, name, err);
}

static int fill_http(const struct json *secret, struct arena *arena, bool url_has_user, struct git_request *request,
                     struct error *err)
{
        struct view token;

        request->authorities = value_or(secret, "ca.crt", arena, value_or(secret, "caFile", arena, VIEW_NULL));
        request->certificate = value_or(secret, "tls.crt", arena, VIEW_NULL);
        request->key = value_or(secret, "tls.key", arena, VIEW_NULL);
        /* As in Flux, one without the other is none: the server may not ask for it. */
        if (request->certificate.length == 0 || request->key.length == 0)
                request->certificate = request->key = VIEW_NULL;
        if (secret_value(secret, "bearerToken", arena, &token)) {
                request->bearer_token = token;
                return 0;
        }
        request->username = value_or(secret, "username", arena, VIEW_NULL);
        request->password = value_or(secret, "password", arena, VIEW_NULL);
        if (request->password.length > 0 && request->username.length == 0 && !url_has_user)
                return error_set_reason(err, ERROR_INVALID, AUTHENTICATION_FAILED,
                                        "failed to configure authentication options: invalid '%s' auth option: 'password' requires "
                                        "'username' to be set",
                                        view_starts(request->url, VIEW("https:")) ? "https" : "http");
        return 0;
}

int secrets_git(const struct json *secret, const char *name, struct arena *arena, struct git_request *request, struct error *err)
{
        bool has_user = false, ssh = false;
        struct view application;

        if (git_url_check(request->url, &has_user, &ssh, err) < 0)
                return error_reason(err, "URLInvalid");
        TRY(ssh ? fill_ssh(secret, name, arena, request, err) : fill_http(secret, arena, has_user, request, err));
        if (secret_value(secret, "githubAppID", arena, &application) && application.length > 0)
                return error_set_reason(err, ERROR_INVALID, INVALID_PROVIDER,
                                        "secretRef '%s' has github app data but provider is not set to github", name);
        return 0;
}

static void release_url(CURLU **url)
{
        curl_url_cleanup(*url);
}

/* Takes the user information out of an address: it travels beside it. */
static int split_address(const char *address, struct arena *arena, struct git_request *request)
{
        cleanup(release_url) CURLU *url = curl_url();
        char *part = NULL;

        if (curl_url_set(url, CURLUPART_URL, address, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
                return -1;
        if (curl_url_get(url, CURLUPART_USER, &part, CURLU_URLDECODE) == CURLUE_OK) {
                request->proxy_username = arena_view(arena, view_of(part));
                curl_free(part);
        }
        if (curl_url_get(url, CURLUPART_PASSWORD, &part, CURLU_URLDECODE) == CURLUE_OK) {
                request->proxy_password = arena_view(arena, view_of(part));
                curl_free(part);
        }
        curl_url_set(url, CURLUPART_USER, NULL, 0);
        curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
        if (curl_url_get(url, CURLUPART_URL, &part, 0) != CURLUE_OK)
                return -1;
        request->proxy = arena_view(arena, view_of(part));
        curl_free(part);
        return 0;
}

int secrets_proxy_address(const char *address, struct arena *arena, struct git_request *request, struct error *err)
{
        if (address[0] && split_address(address, arena, request) < 0)
                return error_set(err, ERROR_INVALID, "failed to parse proxy address");
        return 0;
}

static bool scheme_is(struct view scheme, struct view wanted)
{
        return scheme.length == wanted.length && strncasecmp(scheme.data, wanted.data, wanted.length) == 0;
}

/* What may hold a password is not shown. */
static int check_proxy_address(struct view address, struct error *err)
{
        if (url_check(address, err) == 0)
                return 0;
        if (view_find(address, '@', 0) >= 0)
                return error_set(err, ERROR_INVALID, "failed to parse proxy address");
        return error_wrap(err, "failed to parse proxy address '%.*s'", VIEW_ARGS(address));
}

static bool scheme_supported(struct view address, struct view *ret_scheme)
{
        ptrdiff_t colon = view_find(address, ':', 0);

        *ret_scheme = view_slice(address, 0, colon < 0 ? 0 : (size_t)colon);
        return scheme_is(*ret_scheme, VIEW("http")) || scheme_is(*ret_scheme, VIEW("https")) ||
               scheme_is(*ret_scheme, VIEW("socks5"));
}

int secrets_proxy(const struct json *secret, const char *name, struct arena *arena, struct git_request *request, struct error *err)
{
        struct view address, scheme, username, password;

        if (!secret_value(secret, "address", arena, &address))
                return error_set(err, ERROR_INVALID, "secret '%s': key 'address' not found", name);
        if (address.length == 0)
                return error_set(err, ERROR_INVALID, "secret '%s': proxy address is empty", name);
        if (address.length > PROXY_ADDRESS_LIMIT)
                return error_set(err, ERROR_INVALID, "secret '%s': proxy URL exceeds maximum length of %d characters", name,
                                 PROXY_ADDRESS_LIMIT);
        if (check_proxy_address(address, err) < 0)
                return error_wrap(err, "secret '%s'", name);
        if (!scheme_supported(address, &scheme))
                return error_set(err, ERROR_INVALID,
                                 "secret '%s': proxy URL must use one of the supported schemes (http, https, socks5), got '%.*s'",
                                 name, VIEW_ARGS(scheme));
        if (secrets_proxy_address(address.data, arena, request, err) < 0)
                return error_wrap(err, "secret '%s'", name);
        if (secret_value(secret, "username", arena, &username)) {
                request->proxy_username = username;
                request->proxy_password = secret_value(secret, "password", arena, &password) ? password : VIEW_NULL;
        }
        return 0;
}
