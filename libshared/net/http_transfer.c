#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "net/http_private.h"
#include "net/proxy.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADER_VALUE_LIMIT 1024
#define WARNINGS_LIMIT     4096
#define RESERVE_LIMIT      ((curl_off_t)1 << 20)
#define ERROR_BODY_MS      30000
#define CONNECTION_AGE_S   90L
/*
 * Curl's own default, and no other: a handle that is reset for its next transfer keeps the buffer that it has and takes it for one of the default size (libcurl
 * 7.88), so a smaller one would be written beyond its end.
 */
#define WIRE_BUFFER ((long)CURL_MAX_WRITE_SIZE)

static void url_release(CURLU **url)
{
        curl_url_cleanup(*url);
}

static void part_release(char **part)
{
        curl_free(*part);
}

/* The length of "https://host:port" at the start of most URLs; 0: there is something else in it, and curl is to look at it. */
static size_t plain_origin(const char *url)
{
        size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
        size_t host = strspn(url + scheme, "abcdefghijklmnopqrstuvwxyz0123456789.-");
        const char *end = url + scheme + host;

        if (!scheme || !host)
                return 0;
        if (*end == ':' && end[1] >= '0' && end[1] <= '9')
                end += 1 + strspn(end + 1, "0123456789");
        return *end == '/' || *end == '\0' ? (size_t)(end - url) : 0;
}

/* "GET https://host:port": no path, no user info. */
static int origin_of(const struct http_request *request, char **ret_origin, struct error *err)
{
        const char *method = request->method ? request->method : "GET";
        size_t plain = plain_origin(request->url);
        cleanup(url_release) CURLU *url = NULL;
        cleanup(part_release) char *scheme = NULL;
        cleanup(part_release) char *host = NULL;
        cleanup(part_release) char *port = NULL;

        if (plain) {
                *ret_origin = memory_printf("%s %.*s", method, (int)plain, request->url);
                return 0;
        }
        url = curl_url();
        if (curl_url_set(url, CURLUPART_URL, request->url, 0) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
            curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
            (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
                return error_set(err, ERROR_INVALID, "not an http or https URL");
        curl_url_get(url, CURLUPART_PORT, &port, 0);
        *ret_origin = memory_printf("%s %s://%s%s%s", method, scheme, host, port ? ":" : "", port ? port : "");
        return 0;
}

/*
 * With a server name of its own the URL names that server, which is then what SNI says and what is verified; the connection goes to the
 * host of the original URL, whose name stays in the Host header. What is no name of a server is refused: without it another one would be verified.
 */
static int rename_server(struct http_transfer *transfer, const char *given, const char *original, char **ret_url, struct error *err)
{
        cleanup(url_release) CURLU *url = curl_url();
        cleanup(part_release) char *host = NULL;
        cleanup(part_release) char *port = NULL;
        cleanup(part_release) char *shown_port = NULL;
        cleanup(part_release) char *renamed = NULL;
        cleanup(free_string) char *name = NULL;
        cleanup(free_string) char *route = NULL;
        cleanup(free_string) char *header = NULL;

        /* An address of IPv6 comes bare, a name of the root's with its dot. */
        name = strchr(given, ':') && *given != '[' ? memory_printf("[%s]", given)
                                                   : memory_string_n(given, strlen(given) - view_ends(view_of(given), VIEW(".")));
        curl_url_set(url, CURLUPART_URL, original, 0);
        curl_url_get(url, CURLUPART_HOST, &host, 0);
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
        curl_url_get(url, CURLUPART_PORT, &shown_port, 0);
        route = memory_printf("%s:%s:%s:%s", name, port, host, port);
        header = memory_printf("Host: %s%s%s", host, shown_port ? ":" : "", shown_port ? shown_port : "");
        transfer->connect_to = curl_slist_append(transfer->connect_to, route);
        transfer->headers = curl_slist_append(transfer->headers, header);
        if (curl_url_set(url, CURLUPART_HOST, name, 0) != CURLUE_OK || curl_url_get(url, CURLUPART_URL, &renamed, 0) != CURLUE_OK)
                return error_set(err, ERROR_INVALID, "%s: \"%s\" is not the name of a server", transfer->origin, given);
        *ret_url = memory_string(renamed);
        return 0;
}

static int add_headers(struct http_transfer *transfer, const struct http_request *request, struct error *err)
{
        cleanup(buffer_release) struct buffer line = BUFFER_SECRET;

        for (unsigned i = 0; i < request->header_count; i++) {
                const struct http_header *header = &request->headers[i];

                if (strpbrk(header->value, "\r\n") || strpbrk(header->name, "\r\n: "))
                        return error_set(err, ERROR_INVALID, "the value of the header %s has a line break", header->name);
                buffer_clear(&line);
                /* "Name;" is how curl sends a header without a value. */
                buffer_printf(&line, *header->value ? "%s: %s" : "%s;%s", header->name, header->value);
                transfer->headers = curl_slist_append(transfer->headers, line.data);
        }
        if (request->body.data)
                transfer->headers = curl_slist_append(transfer->headers, "Expect:");
        return 0;
}

/* CURL_WRITEFUNC_* and the like want plain functions. */
static size_t take_body(char *data, size_t size, size_t count, void *argument)
{
        struct http_transfer *transfer = argument;
        struct view bytes = { data, size * count };
        bool good = transfer->response.status >= 200 && transfer->response.status < 300;

        if (transfer->closed)
                return 0;
        http_socket_heard(transfer);
        transfer->received += bytes.length;
        if (!good && !transfer->collects) {
                struct view rest = view_slice(bytes, 0, HTTP_ERROR_BODY_LIMIT - transfer->response.body.length);

                buffer_add_view(&transfer->response.body, rest);
                return bytes.length;
        }
        if (transfer->received > transfer->body_limit) {
                transfer->too_large = true;
                return 0;
        }
        if (transfer->collects) {
                buffer_add_view(&transfer->response.body, bytes);
                return bytes.length;
        }
        size_t taken = transfer->bytes(transfer, bytes);
        if (taken == CURL_WRITEFUNC_PAUSE)
                transfer->received -= bytes.length; /* they come again */
        return taken;
}

static size_t give_body(char *space, size_t size, size_t count, void *argument)
{
        struct http_transfer *transfer = argument;
        size_t length = size * count < transfer->body.length ? size * count : transfer->body.length;

        memcpy(space, transfer->body.data, length);
        transfer->body.data += length;
        transfer->body.length -= length;
        return length;
}

static void keep(char **place, struct view value)
{
        if (*place)
                return; /* the first one */
        if (value.length > HEADER_VALUE_LIMIT)
                value.length = HEADER_VALUE_LIMIT;
        *place = memory_string_n(value.data, value.length);
}

/* `299 - "text"`, the text with \" and \\. What does not fit any more stays out: those that came first are kept. */
static void keep_warning(struct http_response *response, struct view value)
{
        cleanup(buffer_release) struct buffer text = BUFFER_LIMIT(WARNINGS_LIMIT);
        ptrdiff_t open = view_find(value, '"', 0);

        if (!view_starts(value, VIEW("299 ")) || open < 0)
                return;
        if (response->warnings)
                buffer_printf(&text, "%s\n", response->warnings);
        for (size_t i = (size_t)open + 1; i < value.length && value.data[i] != '"'; i++) {
                if (value.data[i] == '\\' && i + 1 < value.length)
                        i++;
                buffer_add_char(&text, value.data[i]);
        }
        if (response->warnings && text.full)
                return;
        free(response->warnings);
        response->warnings = buffer_steal(&text);
}

static void keep_header(struct http_response *response, struct view name, struct view value)
{
        const struct {
                const char *name;
                char **place;
        } kept[] = {
                { "content-type", &response->content_type },
                { "etag", &response->etag },
                { "location", &response->location },
                { "last-modified", &response->last_modified },
                { "www-authenticate", &response->authenticate },
                { "x-kubernetes-pf-flowschema-uid", &response->flow_schema },
        };
        uint64_t seconds;

        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
                if (name.length == strlen(kept[i].name) && strncasecmp(name.data, kept[i].name, name.length) == 0)
                        keep(kept[i].place, value);
        if (name.length == 11 && strncasecmp(name.data, "retry-after", 11) == 0 && view_to_uint64(value, &seconds) == 0 &&
            seconds <= 86400)
                response->retry_after_ms = (int64_t)seconds * 1000;
        if (name.length == 7 && strncasecmp(name.data, "warning", 7) == 0)
                keep_warning(response, value);
}

/* A status line: also of a 100 or of a redirect that is followed, whose headers are none of ours. */
static void begin_answer(struct http_transfer *transfer, struct view line)
{
        ptrdiff_t blank = view_find(line, ' ', 0);
        struct view text = blank > 0 ? view_slice(line, (size_t)blank + 1, SIZE_MAX) : VIEW("");
        uint64_t status = 0;

        http_socket_heard(transfer);
        http_response_release(&transfer->response);
        transfer->answered = true;
        transfer->received = 0;
        if (view_to_uint64(view_slice(text, 0, 3), &status) == 0)
                transfer->response.status = (int)status;
        keep(&transfer->response.status_text, text);
}

static void head_complete(struct http_transfer *transfer)
{
        int status = transfer->response.status;
        curl_off_t length = -1;

        if (status < 200 || (transfer->follows && status >= 300 && status < 400 && transfer->response.location))
                return;
        transfer->head_done = true;
        if (transfer->collects && curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK &&
            length > 0 && length <= RESERVE_LIMIT && (uint64_t)length <= transfer->body_limit)
                buffer_reserve(&transfer->response.body, (size_t)length + 1);
        if (!transfer->collects && status >= 300)
                transfer->end_ms = clock_now_ms() + ERROR_BODY_MS;
        if (transfer->end_ms == CLOCK_NEVER)
                io_timer_cancel(transfer->engine->io, &transfer->timer);
        else
                io_timer_set(transfer->engine->io, &transfer->timer, transfer->end_ms);
        if (transfer->start)
                transfer->start(transfer);
}

static size_t take_header(char *data, size_t size, size_t count, void *argument)
{
        struct http_transfer *transfer = argument;
        struct view line = view_trim((struct view){ data, size * count });
        ptrdiff_t colon;

        if (transfer->closed)
                return 0;
        if (view_starts(line, VIEW("HTTP/")))
                begin_answer(transfer, line);
        else if (line.length == 0 && !transfer->head_done)
                head_complete(transfer);
        else if ((colon = view_find(line, ':', 0)) > 0)
                keep_header(&transfer->response, view_slice(line, 0, (size_t)colon),
                            view_trim(view_slice(line, (size_t)colon + 1, SIZE_MAX)));
        return size * count;
}

static void set_trust(CURL *easy, const struct http_settings *settings)
{
        const char *bundle = getenv("SSL_CERT_FILE");

        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
        if (settings && settings->ca.data) {
                /* A CA of one's own replaces the system's, which curl would go on to look for in its directory. */
                curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &settings->ca);
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
                curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO_BLOB, &settings->ca);
                curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
        } else if (bundle && *bundle) {
                curl_easy_setopt(easy, CURLOPT_CAINFO, bundle);
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        }
        if (!settings)
                return;
        if (settings->insecure) {
                curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
                curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
                curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, 0L);
                curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, 0L);
        }
        if (settings->certificate.data) {
                curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &settings->certificate);
                curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, &settings->key);
        }
}

/* Names are resolved by the proxy, as Go does; what the environment of curl says is not asked. */
static int set_proxy(CURL *easy, const struct http_settings *settings, const char *url, struct error *err)
{
        cleanup(free_string) char *proxy = NULL;
        cleanup(free_string) char *resolving = NULL;

        if (settings && settings->proxy)
                proxy = memory_string(settings->proxy);
        else if (proxy_for_url(url, &proxy, err) < 0)
                return -1;
        if (strncasecmp(proxy, "socks5://", 9) == 0)
                resolving = memory_printf("socks5h://%s", proxy + 9);
        curl_easy_setopt(easy, CURLOPT_PROXYPORT, proxy_default_port(proxy));
        curl_easy_setopt(easy, CURLOPT_PROXY, resolving ? resolving : proxy);
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
        curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        return 0;
}

static void set_method(CURL *easy, const struct http_transfer *transfer, const struct http_request *request)
{
        const char *method = request->method ? request->method : "GET";

        if (strcmp(method, "HEAD") == 0) {
                curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
                return;
        }
        if (request->body.data) {
                /* By a function that cannot rewind: else curl would send a write again when a reused connection ends without an answer. */
                curl_easy_setopt(easy, CURLOPT_POST, 1L);
                curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
                curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.length);
        }
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_redirects(CURL *easy, const struct http_request *request)
{
        if (request->redirects) {
                curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
                curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)request->redirects);
        }
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, strncasecmp(request->url, "https:", 6) == 0 ? "https" : "http,https");
}

static void set_callbacks(CURL *easy, struct http_transfer *transfer)
{
        curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_message);
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer->connect_to);
}

static bool only_http1(const struct http_transfer *transfer, const struct http_request *request)
{
        /* A stream that is held back holds back its HTTP/2 connection, and a sink may block. */
        return request->sink || (transfer->settings && transfer->settings->http1);
}

int http_transfer_prepare(struct http_engine *engine, struct http_transfer *transfer, const struct http_request *request,
                          struct error *err)
{
        cleanup(free_string) char *renamed = NULL;
        CURL *easy;

        transfer->response = HTTP_RESPONSE_NULL;
        transfer->response.body.secret = request->secret;
        TRY(origin_of(request, &transfer->origin, err));
        transfer->engine = engine;
        transfer->easy = easy = http_easy_get(engine);
        transfer->follows = request->redirects > 0;
        transfer->settings = http_settings_ref(request->settings);
        transfer->body = request->body;
        transfer->body_limit = request->body_limit ? request->body_limit : HTTP_BODY_LIMIT;
        transfer->end_ms = request->timeout_ms;
        transfer->first_byte_ms = request->first_byte_ms;
        if (request->ping_url)
                transfer->ping_url = memory_string(request->ping_url);

        if (add_headers(transfer, request, err) < 0 || set_proxy(easy, request->settings, request->url, err) < 0 ||
            (request->settings && request->settings->server_name &&
             rename_server(transfer, request->settings->server_name, request->url, &renamed, err) < 0)) {
                http_transfer_release(transfer);
                return -1;
        }
        curl_easy_setopt(easy, CURLOPT_URL, renamed ? renamed : request->url);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, WIRE_BUFFER);
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, WIRE_BUFFER);
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_AGE_S);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                         only_http1(transfer, request) ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
        if (request->compressed)
                curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
        set_trust(easy, request->settings);
        set_method(easy, transfer, request);
        set_redirects(easy, request);
        set_callbacks(easy, transfer);
        return 0;
}

static void timed_out(void *argument)
{
        struct http_transfer *transfer = argument;
        struct http_lane_state *lane = transfer->lane;
        int64_t now = clock_now_ms();
        struct error err = ERROR_NULL;
        char after[DURATION_TEXT];

        duration_print((now - transfer->started_ms) / 100 * 100000000, after);
        error_set_reason(&err, ERROR_TIMEOUT, !transfer->head_done && now < transfer->end_ms ? HTTP_SILENT : "",
                         transfer->head_done ? "%s: the answer was not complete after %s" : "%s: no answer after %s",
                         transfer->origin, after);
        http_transfer_remove(transfer);
        /* What waits on a connection without life would wait there again. */
        if (!transfer->head_done)
                http_sockets_close_silent(lane, transfer->settings, transfer->started_ms);
        transfer->end(transfer, &err);
        error_release(&err);
}

void http_transfer_start(struct http_transfer *transfer, unsigned lane)
{
        struct http_engine *engine = transfer->engine;
        int64_t now = clock_now_ms();
        int64_t first_byte = now + (transfer->first_byte_ms > 0 ? transfer->first_byte_ms : HTTP_FIRST_BYTE_MS);

        transfer->started_ms = now;
        transfer->lane = &engine->lanes[lane];
        transfer->timer = (struct io_timer){ .fn = timed_out, .argument = transfer };
        transfer->end_ms = transfer->end_ms > 0 ? now + transfer->end_ms : CLOCK_NEVER;
        io_timer_set(engine->io, &transfer->timer, first_byte < transfer->end_ms ? first_byte : transfer->end_ms);
        curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
        curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETFUNCTION, http_socket_open);
        curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, transfer);
        curl_easy_setopt(transfer->easy, CURLOPT_CLOSESOCKETFUNCTION, http_socket_close);
        curl_easy_setopt(transfer->easy, CURLOPT_CLOSESOCKETDATA, engine);

        transfer->link = &engine->transfers;
        transfer->next = engine->transfers;
        if (transfer->next)
                transfer->next->link = &transfer->next;
        engine->transfers = transfer;
        if (http_lane_add(transfer) != CURLM_OK)
                memory_exhausted(); /* what else it can say is that we use it wrongly */
}

void http_transfer_remove(struct http_transfer *transfer)
{
        if (!transfer->link)
                return;
        io_timer_cancel(transfer->engine->io, &transfer->timer);
        curl_multi_remove_handle(transfer->lane->multi, transfer->easy);
        *transfer->link = transfer->next;
        if (transfer->next)
                transfer->next->link = transfer->link;
        transfer->link = NULL;
}

static void forget_headers(struct curl_slist *headers)
{
        for (struct curl_slist *header = headers; header; header = header->next)
                explicit_bzero(header->data, strlen(header->data)); /* credentials are among them */
        curl_slist_free_all(headers);
}

void http_transfer_release(struct http_transfer *transfer)
{
        if (transfer->easy)
                http_easy_put(transfer->engine, transfer->easy);
        forget_headers(transfer->headers);
        curl_slist_free_all(transfer->connect_to);
        http_settings_release(&transfer->settings);
        http_response_release(&transfer->response);
        free(transfer->origin);
        free(transfer->ping_url);
        *transfer = (struct http_transfer){ .response = HTTP_RESPONSE_NULL };
}

static int fail(const struct http_transfer *transfer, enum error_kind kind, const char *reason, CURLcode code, struct error *err)
{
        const char *text = *transfer->curl_message ? transfer->curl_message : curl_easy_strerror(code);

        return error_set_reason(err, kind, reason, "%s: %s", transfer->origin, text);
}

static int explain(const struct http_transfer *transfer, CURLcode code, struct error *err)
{
        switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
                return fail(transfer, ERROR_UNAVAILABLE, HTTP_REFUSED, code, err);
        case CURLE_OPERATION_TIMEDOUT:
                return fail(transfer, ERROR_TIMEOUT, "", code, err);
        case CURLE_PEER_FAILED_VERIFICATION:
                return fail(transfer, ERROR_FORBIDDEN, HTTP_UNVERIFIED, code, err);
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CACERT_BADFILE:
                return fail(transfer, ERROR_INVALID, "", code, err);
        case CURLE_WRITE_ERROR:
                if (transfer->too_large)
                        return error_set(err, ERROR_TOO_LARGE, "%s: the answer is larger than %llu bytes", transfer->origin,
                                         (unsigned long long)transfer->body_limit);
                break;
        case CURLE_GOT_NOTHING:
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
        case CURLE_PARTIAL_FILE:
        case CURLE_SEND_FAIL_REWIND: /* the connection was lost, and curl would have sent the body again */
                if (!transfer->answered)
                        return error_set_reason(err, ERROR_UNAVAILABLE, HTTP_LOST, "%s: the connection ended without an answer: %s",
                                                transfer->origin,
                                                code == CURLE_SEND_FAIL_REWIND ? "connection reset by peer"
                                                                               : curl_easy_strerror(code));
                return error_set(err, ERROR_UNAVAILABLE, "%s: the connection ended in the middle of the answer", transfer->origin);
        default:
                break;
        }
        return fail(transfer, ERROR_UNAVAILABLE, "", code, err);
}

void http_transfer_finish(struct http_transfer *transfer, CURLcode result)
{
        struct error err = ERROR_NULL;

        http_transfer_remove(transfer);
        if (result != CURLE_OK)
                explain(transfer, result, &err);
        transfer->end(transfer, result == CURLE_OK ? NULL : &err);
        error_release(&err);
}
