/*
 * Why a transfer or libgit2 failed. Users of Flux know the words of Go's net and crypto/tls, and alerts look for them; libcurl's own hold how many
 * milliseconds it took, so a condition would never stay as it is, and for TLS they are the code lines of a library.
 */
#include "net/git_private.h"
#include "net/proxy.h"

#include "base/error.h"

#include <ctype.h>
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <string.h>
#include <strings.h>

/* host:port of the request's proxy. */
static const char *proxy_address(const struct git_session *session)
{
        struct view proxy = session->request->proxy, host = proxy;
        ptrdiff_t scheme = view_search(proxy, VIEW("://"), 0), slash, bracket;

        if (scheme >= 0)
                host = view_slice(proxy, (size_t)scheme + 3, proxy.length);
        slash = view_find(host, '/', 0);
        if (slash >= 0)
                host = view_slice(host, 0, (size_t)slash);
        bracket = view_find(host, ']', 0);
        if (view_find(host, ':', bracket < 0 ? 0 : (size_t)bracket) >= 0)
                return arena_view(session->arena, host).data;
        return arena_printf(session->arena, "%.*s:%ld", VIEW_ARGS(host),
                            proxy_default_port(arena_view(session->arena, proxy).data));
}

static bool proxy_is(const struct git_session *session, const char *scheme)
{
        ptrdiff_t end = view_search(session->request->proxy, VIEW("://"), 0);

        return end > 0 && (size_t)end == strlen(scheme) && strncasecmp(session->request->proxy.data, scheme, (size_t)end) == 0;
}

/* What a SOCKS proxy has against us, in the words of Go's client. */
static const char *socks_text(CURL *easy)
{
        long reply = CURLPX_OK;

        curl_easy_getinfo(easy, CURLINFO_PROXY_ERROR, &reply);
        switch (reply) {
        case CURLPX_USER_REJECTED:
                return "username/password authentication failed";
        case CURLPX_NO_AUTH:
                return "no acceptable authentication methods";
        case CURLPX_CLOSED:
                return "EOF";
        case CURLPX_REPLY_GENERAL_SERVER_FAILURE:
                return "unknown error general SOCKS server failure";
        case CURLPX_REPLY_NOT_ALLOWED:
                return "unknown error connection not allowed by ruleset";
        case CURLPX_REPLY_NETWORK_UNREACHABLE:
                return "unknown error network unreachable";
        case CURLPX_REPLY_HOST_UNREACHABLE:
                return "unknown error host unreachable";
        case CURLPX_REPLY_CONNECTION_REFUSED:
                return "unknown error connection refused";
        case CURLPX_REPLY_TTL_EXPIRED:
                return "unknown error TTL expired";
        default:
                return NULL;
        }
}

static const char *through_socks(const struct git_session *session, const char *reason)
{
        const struct git_url *url = &session->url;

        return arena_printf(session->arena,
                            strchr(url->host, ':') ? "socks connect tcp %s->[%s]:%u: %s" : "socks connect tcp %s->%s:%u: %s",
                            proxy_address(session), url->host, url->port, reason);
}

static const char *nobody_answers(const struct git_session *session, long number)
{
        const struct git_url *url = &session->url;
        char *reason = arena_string(session->arena, strerror((int)number));

        reason[0] = (char)tolower((unsigned char)reason[0]);
        if (session->request->proxy.length > 0 && strcmp(url->scheme, "ssh") == 0 && proxy_is(session, "socks5"))
                return through_socks(session,
                                     arena_printf(session->arena, "dial tcp %s: connect: %s", proxy_address(session), reason));
        if (session->request->proxy.length > 0)
                return arena_printf(session->arena, "proxyconnect tcp: dial tcp %s: connect: %s", proxy_address(session), reason);
        return arena_printf(session->arena,
                            strchr(url->host, ':') ? "dial tcp [%s]:%u: connect: %s" : "dial tcp %s:%u: connect: %s", url->host,
                            url->port, reason);
}

/* What a proxy says instead of letting us through; NULL if it said nothing of the kind. */
static const char *refused_by_proxy(CURL *easy)
{
        static const struct {
                long status;
                const char *text;
        } answers[] = {
                { 400, "Bad Request" },         { 401, "Unauthorized" },          { 403, "Forbidden" },
                { 404, "Not Found" },           { 405, "Method Not Allowed" },    { 407, "Proxy Authentication Required" },
                { 429, "Too Many Requests" },   { 500, "Internal Server Error" }, { 502, "Bad Gateway" },
                { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
        };
        long status = 0;

        if (curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status) != CURLE_OK)
                return NULL;
        for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
                if (answers[i].status == status)
                        return answers[i].text;
        return NULL;
}

/* Was it TLS with the proxy, not through it? */
static bool talks_to_proxy(CURL *easy, const struct git_session *session)
{
        long status = 0;

        curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
        return status == 0 && proxy_is(session, "https");
}

static const char *distrusted(CURL *easy, const struct git_session *session)
{
        bool proxy = talks_to_proxy(easy, session);
        const char *introduction =
                proxy ? "proxyconnect tcp: tls: failed to verify certificate: x509:" : "tls: failed to verify certificate: x509:";
        long verdict = X509_V_OK;

        curl_easy_getinfo(easy, proxy ? CURLINFO_PROXY_SSL_VERIFYRESULT : CURLINFO_SSL_VERIFYRESULT, &verdict);
        switch (verdict) {
        case X509_V_OK:
        case X509_V_ERR_UNSPECIFIED: /* libcurl's, before it looked at anything but the name */
                return arena_printf(session->arena, "%s certificate is not valid for %s", introduction,
                                    proxy ? "the proxy" : session->url.host);
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
                return arena_printf(session->arena, "%s certificate signed by unknown authority", introduction);
        case X509_V_ERR_CERT_NOT_YET_VALID:
        case X509_V_ERR_CERT_HAS_EXPIRED:
                return arena_printf(session->arena, "%s certificate has expired or is not yet valid", introduction);
        case X509_V_ERR_INVALID_PURPOSE:
                return arena_printf(session->arena, "%s certificate specifies an incompatible key usage", introduction);
        default:
                return arena_printf(session->arena, "%s %s", introduction, X509_verify_cert_error_string(verdict));
        }
}

static void on_tls(const SSL *tls, int where, int value)
{
        struct git_session *session = SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls));

        if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
                session->alert = value & 0xff;
}

static int on_certificate_request(SSL *tls, X509 **certificate, EVP_PKEY **key)
{
        struct git_session *session = SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls));

        (void)certificate, (void)key;
        session->asked = true;
        return 0;
}

void git_trouble_listen(void *tls, struct git_session *session)
{
        session->alert = 0;
        session->asked = false;
        SSL_CTX_set_client_cert_cb(tls, on_certificate_request);
        SSL_CTX_set_app_data((SSL_CTX *)tls, session);
        SSL_CTX_set_info_callback(tls, on_tls);
}

static const char *alert_text(int alert)
{
        switch (alert) {
        case SSL_AD_HANDSHAKE_FAILURE:
                return "handshake failure";
        case SSL_AD_BAD_CERTIFICATE:
                return "bad certificate";
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
                return "unsupported certificate";
        case SSL_AD_CERTIFICATE_REVOKED:
                return "revoked certificate";
        case SSL_AD_CERTIFICATE_EXPIRED:
                return "expired certificate";
        case SSL_AD_CERTIFICATE_UNKNOWN:
                return "unknown certificate";
        case SSL_AD_UNKNOWN_CA:
                return "unknown certificate authority";
        case SSL_AD_ACCESS_DENIED:
                return "access denied";
        case SSL_AD_PROTOCOL_VERSION:
                return "protocol version not supported";
        case SSL_AD_INTERNAL_ERROR:
                return "internal error";
        case SSL_AD_UNRECOGNIZED_NAME:
                return "unrecognized name";
        case SSL_AD_CERTIFICATE_REQUIRED:
                return "certificate required";
        default:
                return SSL_alert_desc_string_long(alert);
        }
}

/* How a connection ended; NULL if libcurl says something else. */
static const char *broken_off(int code, const char *problem, const struct git_session *session)
{
        static const struct {
                const char *libcurl, *go;
        } ends[] = { { "Recv failure: ", "read: " }, { "Send failure: ", "write: " } };

        if (code == CURLE_GOT_NOTHING)
                return "EOF";
        if (code == CURLE_PARTIAL_FILE || strstr(problem, "Proxy CONNECT aborted"))
                return "unexpected EOF";
        if (strstr(problem, "HTTP/0.9"))
                return "net/http: HTTP/1.x transport connection broken: malformed HTTP response";
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
                size_t length = strlen(ends[i].libcurl);

                if (strncmp(problem, ends[i].libcurl, length) == 0)
                        return arena_printf(session->arena, "%s%c%s", ends[i].go, tolower((unsigned char)problem[length]),
                                            problem[length] ? problem + length + 1 : "");
        }
        return NULL;
}

const char *git_curl_problem(CURL *easy, int code, const char *problem, const struct git_session *session)
{
        const char *refusal = refused_by_proxy(easy);
        const char *socks = code == CURLE_PROXY ? socks_text(easy) : NULL, *end = broken_off(code, problem, session);
        struct arena *arena = session->arena;
        long number = 0;

        if (code == CURLE_OPERATION_TIMEDOUT)
                return "connect: connection timed out";
        if (code == CURLE_COULDNT_CONNECT && curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number) == CURLE_OK && number != 0)
                return nobody_answers(session, number);
        /* Through socks5 libcurl looks up no name but the proxy's, whatever it says. */
        if (code == CURLE_COULDNT_RESOLVE_PROXY || (code == CURLE_COULDNT_RESOLVE_HOST && proxy_is(session, "socks5"))) {
                const char *address = proxy_address(session);

                return arena_printf(arena, "proxyconnect tcp: dial tcp: lookup %.*s: no such host",
                                    (int)(strrchr(address, ':') - address), address);
        }
        if (code == CURLE_COULDNT_RESOLVE_HOST)
                return arena_printf(arena, "dial tcp: lookup %s: no such host", session->url.host);
        if (socks)
                return through_socks(session, socks);
        if (refusal)
                return refusal;
        if (session->alert)
                return arena_printf(arena, "remote error: tls: %s", alert_text(session->alert));
        /* The server's alert is lost where it closed the connection before we had sent all. */
        if (session->asked && (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR))
                return "remote error: tls: certificate required";
        if (code == CURLE_PEER_FAILED_VERIFICATION)
                return distrusted(easy, session);
        if (code == CURLE_SSL_CONNECT_ERROR && strstr(problem, "wrong version number"))
                return talks_to_proxy(easy, session) ? "proxyconnect tcp: tls: first record does not look like a TLS handshake"
                                                     : "tls: first record does not look like a TLS handshake";
        if (end)
                return end;
        return problem[0] ? problem : curl_easy_strerror((CURLcode)code);
}

int git_library_error(struct error *err)
{
        const git_error *last = git_error_last();

        if (last && last->klass == GIT_ERROR_NOMEMORY)
                return error_set(err, ERROR_TOO_LARGE, "an object of the repository does not fit the memory of a fetch");
        return error_set(err, ERROR_INVALID, "%s", last && last->message ? last->message : "unknown error of libgit2");
}
