/*
 * Smart HTTP over libcurl: GET info/refs, then POST git-upload-pack for each round of the negotiation.
 *
 * libgit2 pulls: its read() drives the transfer until there are bytes. What came and was not asked for yet waits in a bounded buffer, then the
 * transfer is paused, so a fast server cannot fill the memory.
 */
#include "net/git_private.h"
#include "net/proxy.h"
#include "net/roots.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <strings.h>

#define RECEIVE_AHEAD  (256u << 10)
#define REQUEST_LIMIT  (16u << 20)
#define REASON_LIMIT   1024
#define REDIRECT_LIMIT 10
#define CONNECT_MS     30000

struct http {
        git_smart_subtransport parent;
        struct git_session *session;
        CURLM *multi;
        CURL *easy; /* one for all requests: the connection stays */
        struct curl_slist *headers;
        char problem[CURL_ERROR_SIZE];
        struct buffer received;
        size_t consumed;
        bool paused;
        bool running; /* the handle is in the multi */
        bool ended;
        CURLcode result;
        curl_socket_t socket;
};

struct http_stream {
        git_smart_subtransport_stream parent;
        git_smart_service_t service;
        struct buffer request;
        bool sent;
};

static struct http *http_of(git_smart_subtransport_stream *stream)
{
        return (struct http *)stream->subtransport;
}

int git_deadline_exceeded(struct error *err)
{
        return error_set(err, ERROR_TIMEOUT, "context deadline exceeded");
}

int git_remaining(const struct git_session *session, int64_t *ret_ms, struct error *err)
{
        int64_t left = session->deadline_ms - clock_now_ms();

        if (left <= 0)
                return git_deadline_exceeded(err);
        *ret_ms = left;
        return 0;
}

/* The private CA counts besides the system's, so curl's own option (which replaces them) does not do. */
static CURLcode add_authorities(CURL *easy, void *tls, void *data)
{
        struct git_session *session = data;
        struct view pem = session->request->authorities;
        X509_STORE *store = SSL_CTX_get_cert_store(tls);
        BIO *memory;
        X509 *certificate;
        int count = 0;

        (void)easy;
        git_trouble_listen(tls, session);
        roots_trust(store);
        if (pem.length == 0)
                return CURLE_OK;
        memory = BIO_new_mem_buf(pem.data, (int)pem.length);
        while (memory && (certificate = PEM_read_bio_X509(memory, NULL, NULL, NULL))) {
                count += X509_STORE_add_cert(store, certificate) == 1;
                X509_free(certificate);
        }
        BIO_free(memory);
        ERR_clear_error();
        return count > 0 ? CURLE_OK : CURLE_SSL_CACERT_BADFILE;
}

static void set_blob(CURL *easy, CURLoption option, struct view bytes)
{
        struct curl_blob blob = { .data = (void *)(uintptr_t)bytes.data, .len = bytes.length, .flags = CURL_BLOB_NOCOPY };

        if (bytes.length > 0)
                curl_easy_setopt(easy, option, &blob);
}

static int set_proxy(CURL *easy, struct git_session *session, struct error *err)
{
        const struct git_request *request = session->request;
        const char *proxy = arena_view(session->arena, request->proxy).data;

        curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
        curl_easy_setopt(easy, CURLOPT_PROXYPORT, proxy_default_port(proxy));
        /* The proxy resolves the name, as in Go. */
        if (strncasecmp(proxy, "socks5://", 9) == 0)
                proxy = arena_printf(session->arena, "socks5h://%s", proxy + 9);
        if (curl_easy_setopt(easy, CURLOPT_PROXY, proxy) != CURLE_OK)
                return error_set(err, ERROR_INVALID, "the proxy URL cannot be used");
        if (request->proxy_username.length > 0 || request->proxy_password.length > 0) {
                curl_easy_setopt(easy, CURLOPT_PROXYUSERNAME, arena_view(session->arena, request->proxy_username).data);
                curl_easy_setopt(easy, CURLOPT_PROXYPASSWORD, arena_view(session->arena, request->proxy_password).data);
        }
        return 0;
}

int git_curl_connection(CURL *easy, struct git_session *session, struct error *err)
{
        int64_t left = 0;

        TRY(git_remaining(session, &left, err));
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(left < CONNECT_MS ? left : CONNECT_MS));
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left);
        curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        /* libcurl would make objects of every authority of the system. */
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL);
        curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, add_authorities);
        curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, session);
        return set_proxy(easy, session, err);
}

static int on_socket(void *user, curl_socket_t socket, curlsocktype purpose)
{
        struct http *http = user;

        (void)purpose;
        http->socket = socket;
        return CURL_SOCKOPT_OK;
}

/* A server that sends head and body apart waits for our acknowledgement of the head, which the kernel would keep back for 40 ms. */
static void acknowledge_quickly(const struct http *http)
{
        int yes = 1;

        if (http->socket >= 0)
                setsockopt(http->socket, IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof(yes));
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
        struct http *http = user;

        if (http->received.length - http->consumed >= RECEIVE_AHEAD) {
                http->paused = true;
                return CURL_WRITEFUNC_PAUSE;
        }
        if (http->consumed == http->received.length) {
                buffer_clear(&http->received);
                http->consumed = 0;
        }
        buffer_add(&http->received, data, size * count);
        return size * count;
}

static const char *request_url(struct http *http, const char *tail)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        const struct git_url *url = &http->session->url;
        size_t length;

        git_url_print(url, &text);
        length = text.length;
        while (length > 0 && text.data[length - 1] == '/')
                length--;
        return arena_printf(http->session->arena, "%.*s%s", (int)length, buffer_string(&text), tail);
}

static void add_header(struct http *http, const char *text)
{
        http->headers = curl_slist_append(http->headers, text);
}

/* User and password of the URL fill what the Secret lacks; the bearer token wins. */
static void add_authorization(struct http *http)
{
        const struct git_session *session = http->session;
        const struct git_request *request = session->request;
        cleanup(buffer_release) struct buffer plain = BUFFER_NULL, header = BUFFER_NULL;
        struct view user = request->username.length ? request->username : view_of(session->url.user);
        struct view password = request->password.length ? request->password : view_of(session->url.password);

        if (session->without_credentials)
                return;
        if (request->bearer_token.length > 0) {
                buffer_add_string(&header, "Authorization: Bearer ");
                buffer_add_view(&header, request->bearer_token);
        } else if (user.length > 0 || password.length > 0) {
                buffer_add_view(&plain, user);
                buffer_add_char(&plain, ':');
                buffer_add_view(&plain, password);
                buffer_add_string(&header, "Authorization: Basic ");
                buffer_add_base64(&header, buffer_view(&plain));
        } else {
                return;
        }
        add_header(http, buffer_string(&header));
}

static int begin(struct http *http, const char *url, struct view post, struct error *err)
{
        const struct git_session *session = http->session;

        if (http->running) {
                curl_multi_remove_handle(http->multi, http->easy);
                http->running = false;
        }
        curl_easy_reset(http->easy);
        curl_slist_free_all(http->headers);
        http->headers = NULL;
        buffer_clear(&http->received);
        http->consumed = 0;
        http->paused = http->ended = false;
        http->problem[0] = '\0';

        TRY(git_curl_connection(http->easy, http->session, err));
        curl_easy_setopt(http->easy, CURLOPT_URL, url);
        curl_easy_setopt(http->easy, CURLOPT_USERAGENT, "git/2.0 (weir)");
        curl_easy_setopt(http->easy, CURLOPT_ERRORBUFFER, http->problem);
        curl_easy_setopt(http->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(http->easy, CURLOPT_WRITEDATA, http);
        curl_easy_setopt(http->easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
        curl_easy_setopt(http->easy, CURLOPT_SOCKOPTDATA, http);
        curl_easy_setopt(http->easy, CURLOPT_ACCEPT_ENCODING, "gzip");
        curl_easy_setopt(http->easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(http->easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
        if (!session->without_credentials) {
                set_blob(http->easy, CURLOPT_SSLCERT_BLOB, session->request->certificate);
                set_blob(http->easy, CURLOPT_SSLKEY_BLOB, session->request->key);
        }
        add_authorization(http);
        if (post.data) {
                add_header(http, "Content-Type: application/x-git-upload-pack-request");
                add_header(http, "Accept: application/x-git-upload-pack-result");
                add_header(http, "Expect:");
                curl_easy_setopt(http->easy, CURLOPT_POST, 1L);
                curl_easy_setopt(http->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post.length);
                curl_easy_setopt(http->easy, CURLOPT_POSTFIELDS, post.data);
        }
        curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, http->headers);
        curl_multi_add_handle(http->multi, http->easy);
        http->running = true;
        return 0;
}

/* Drives the transfer until bytes are there or it ended. */
static int pump(struct http *http, struct error *err)
{
        while (http->consumed == http->received.length && !http->ended) {
                int active = 0, left_in_queue;
                CURLMsg *message;
                int64_t left = 0;

                TRY(git_remaining(http->session, &left, err));
                if (http->paused) {
                        http->paused = false;
                        curl_easy_pause(http->easy, CURLPAUSE_CONT);
                }
                curl_multi_perform(http->multi, &active);
                while ((message = curl_multi_info_read(http->multi, &left_in_queue))) {
                        if (message->msg != CURLMSG_DONE)
                                continue;
                        http->ended = true;
                        http->result = message->data.result;
                }
                if (http->ended || http->consumed < http->received.length)
                        break;
                acknowledge_quickly(http);
                curl_multi_poll(http->multi, NULL, 0, (int)(left < 1000 ? left : 1000), NULL);
        }
        return 0;
}

static int transfer_failed(struct http *http, const char *method, const char *url, struct error *err)
{
        const char *problem = git_curl_problem(http->easy, http->result, http->problem, http->session);

        switch (http->result) {
        case CURLE_OPERATION_TIMEDOUT: {
                int64_t left = 0;

                if (git_remaining(http->session, &left, err) < 0 || left < 100) {
                        git_deadline_exceeded(err);
                        return error_wrap(err, "%s \"%s\"", method, url);
                }
                return error_set(err, ERROR_TIMEOUT, "%s \"%s\": %s", method, url, problem);
        }
        case CURLE_SSL_CACERT_BADFILE:
                return error_set(err, ERROR_INVALID, "%s \"%s\": the CA of the secret holds no PEM certificate", method, url);
        case CURLE_OUT_OF_MEMORY:
                return error_set(err, ERROR_TOO_LARGE, "%s \"%s\": out of memory", method, url);
        default:
                return error_set(err, ERROR_UNAVAILABLE, "%s \"%s\": %s", method, url, problem);
        }
}

/* The usual reason why the right password is refused. */
static bool ends_in_line_break(const struct git_request *request)
{
        return view_ends(request->username, VIEW("\n")) || view_ends(request->password, VIEW("\n"));
}

/* What was said with a refusal, as far as it comes in time. */
static void read_reason(struct http *http, struct buffer *reason)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;

        do {
                struct view more = view_slice(buffer_view(&http->received), http->consumed, http->received.length);

                if (more.length > REASON_LIMIT - reason->length)
                        more.length = REASON_LIMIT - reason->length;
                buffer_add_view(reason, more);
                http->consumed = http->received.length;
                if (reason->length >= REASON_LIMIT - 1 || pump(http, &ignored) < 0)
                        break;
        } while (http->consumed < http->received.length);
}

/* The body is part of the message where go-git has it there. */
static int refused(struct http *http, long status, const char *url, struct error *err)
{
        cleanup(buffer_release) struct buffer reason = BUFFER_LIMIT(REASON_LIMIT);

        if (status == 401 || status == 403 || status == 404)
                read_reason(http, &reason);
        if (status == 401)
                error_set(err, ERROR_FORBIDDEN, "authentication required: %s%s", buffer_string(&reason),
                          ends_in_line_break(http->session->request) ? "(what the secret holds ends in a line break)" : "");
        else if (status == 403)
                error_set(err, ERROR_FORBIDDEN, "authorization failed: %s", buffer_string(&reason));
        else if (status == 404)
                error_set(err, ERROR_NOT_FOUND, "repository not found: %s", buffer_string(&reason));
        else
                error_set(err, ERROR_UNAVAILABLE, "unexpected client error: unexpected requesting \"%s\" status code: %ld", url,
                          status);
        err->http_status = (int)status;
        return -1;
}

/* Sends and waits for the first bytes of the answer. 0, or 1 for a redirect whose target is in *ret_location. */
static int answer(struct http *http, const char *method, const char *url, struct view post, struct view *ret_location,
                  struct error *err)
{
        char *location = NULL, *type = NULL;
        const char *wanted = post.data ? "application/x-git-upload-pack-result" : "application/x-git-upload-pack-advertisement";
        long status = 0;

        if (begin(http, url, post, err) < 0 || pump(http, err) < 0)
                return error_wrap(err, "%s \"%s\"", method, url);
        if (http->ended && http->result != CURLE_OK)
                return transfer_failed(http, method, url, err);
        curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(http->easy, CURLINFO_REDIRECT_URL, &location);
        if (location && status >= 300 && status < 400) {
                if (!ret_location)
                        return error_set(err, ERROR_INVALID, "%s \"%s\": http redirect: redirect on non-initial request to %s",
                                         method, url, location);
                *ret_location = arena_view(http->session->arena, view_of(location));
                return 1;
        }
        if (status != 200)
                return refused(http, status, url, err);
        curl_easy_getinfo(http->easy, CURLINFO_CONTENT_TYPE, &type);
        if (!type || strncmp(type, wanted, strlen(wanted)) != 0)
                return error_set(err, ERROR_INVALID, "%s \"%s\": the answer is \"%s\", not that of a smart Git server", method, url,
                                 type ? type : "");
        return 0;
}

/* What a service is asked by, and where. */
static const char *method_of(git_smart_service_t service)
{
        return service == GIT_SERVICE_UPLOADPACK_LS ? "Get" : "Post";
}

static const char *url_of(struct http *http, git_smart_service_t service)
{
        return request_url(http, service == GIT_SERVICE_UPLOADPACK_LS ? "/info/refs?service=git-upload-pack" : "/git-upload-pack");
}

static int list(struct http *http, struct error *err)
{
        struct git_session *session = http->session;

        for (int redirects = 0; redirects <= REDIRECT_LIMIT; redirects++) {
                const char *url = url_of(http, GIT_SERVICE_UPLOADPACK_LS);
                struct view location = VIEW_NULL;
                bool other = false;
                int result = answer(http, method_of(GIT_SERVICE_UPLOADPACK_LS), url, VIEW_NULL, &location, err);

                if (result <= 0)
                        return result;
                TRY(git_url_redirect(session->arena, &session->url, location, &session->url, &other, err));
                /* What belongs to one server is not shown to another, and not to the first one again on the way back. */
                session->without_credentials = session->without_credentials || other;
        }
        return error_set(err, ERROR_INVALID, "Get \"%s\": http redirect: too many redirects",
                         url_of(http, GIT_SERVICE_UPLOADPACK_LS));
}

static int start(struct http_stream *stream, struct error *err)
{
        struct http *http = http_of(&stream->parent);

        stream->sent = true;
        git_packets_restart(&http->session->packets);
        if (stream->service == GIT_SERVICE_UPLOADPACK_LS)
                return list(http, err);
        return answer(http, method_of(stream->service), url_of(http, stream->service), buffer_view(&stream->request), NULL, err);
}

static int on_read(git_smart_subtransport_stream *parent, char *data, size_t size, size_t *ret_length)
{
        struct http_stream *stream = (struct http_stream *)parent;
        struct http *http = http_of(parent);
        struct error *err = &http->session->failure;
        struct view have;

        if (!stream->sent && start(stream, err) < 0)
                return -1;
        if (pump(http, err) < 0)
                return -1;
        have = view_slice(buffer_view(&http->received), http->consumed, size);
        git_packets_hear(&http->session->packets, http->session->arena, have);
        if (have.length == 0 && http->result != CURLE_OK) {
                transfer_failed(http, method_of(stream->service), url_of(http, stream->service), err);
                return -1;
        }
        if (have.length > 0)
                memcpy(data, have.data, have.length);
        http->consumed += have.length;
        *ret_length = have.length;
        return 0;
}

static int on_write(git_smart_subtransport_stream *parent, const char *data, size_t length)
{
        struct http_stream *stream = (struct http_stream *)parent;

        buffer_add(&stream->request, data, length);
        if (stream->request.full) {
                error_set(&http_of(parent)->session->failure, ERROR_TOO_LARGE, "the request to the Git server is too large");
                return -1;
        }
        return 0;
}

static void on_free_stream(git_smart_subtransport_stream *parent)
{
        struct http_stream *stream = (struct http_stream *)parent;

        buffer_release(&stream->request);
        free(stream);
}

static int on_action(git_smart_subtransport_stream **out, git_smart_subtransport *parent, const char *url,
                     git_smart_service_t service)
{
        struct http *http = (struct http *)parent;
        struct http_stream *stream;

        (void)url; /* the session's: a redirect may have moved it */
        if (service != GIT_SERVICE_UPLOADPACK_LS && service != GIT_SERVICE_UPLOADPACK) {
                error_set(&http->session->failure, ERROR_INTERNAL, "only fetching is supported");
                return -1;
        }
        stream = memory_zero(1, sizeof(*stream));
        stream->parent.subtransport = parent;
        stream->parent.read = on_read;
        stream->parent.write = on_write;
        stream->parent.free = on_free_stream;
        stream->service = service;
        stream->request = BUFFER_LIMIT(REQUEST_LIMIT);
        *out = &stream->parent;
        return 0;
}

static int on_close(git_smart_subtransport *parent)
{
        struct http *http = (struct http *)parent;

        if (http->running)
                curl_multi_remove_handle(http->multi, http->easy);
        http->running = false;
        return 0;
}

static void on_free(git_smart_subtransport *parent)
{
        struct http *http = (struct http *)parent;

        on_close(parent);
        curl_easy_cleanup(http->easy);
        curl_multi_cleanup(http->multi);
        curl_slist_free_all(http->headers);
        buffer_release(&http->received);
        free(http);
}

int git_http_subtransport(git_smart_subtransport **out, git_transport *owner, void *session)
{
        struct http *http = memory_zero(1, sizeof(*http));

        (void)owner;
        http->parent.action = on_action;
        http->parent.close = on_close;
        http->parent.free = on_free;
        http->session = session;
        http->socket = -1;
        http->multi = curl_multi_init();
        http->easy = curl_easy_init();
        if (!http->multi || !http->easy) {
                error_set(&http->session->failure, ERROR_INTERNAL, "libcurl cannot be initialised");
                on_free(&http->parent);
                return -1;
        }
        *out = &http->parent;
        return 0;
}
