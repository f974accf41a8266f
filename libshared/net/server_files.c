/* Static files as Go's http.FileServer gives them behind a ServeMux, without listings. */
#include "net/server.h"

#include "base/beneath.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DATE_TEXT 32

/* "/a//b/../c" is "/a/c"; a slash at the end stays. */
static void clean_path(const char *path, struct buffer *clean)
{
        struct view rest = view_of(path), piece;

        while (view_split(&rest, '/', &piece)) {
                if (!piece.length || view_is(piece, "."))
                        continue;
                if (view_is(piece, "..")) {
                        while (clean->length && clean->data[clean->length - 1] != '/')
                                clean->data[--clean->length] = '\0';
                        if (clean->length)
                                clean->data[--clean->length] = '\0';
                        continue;
                }
                buffer_add_char(clean, '/');
                buffer_add_view(clean, piece);
        }
        if (!clean->length || path[strlen(path) - 1] == '/')
                buffer_add_char(clean, '/');
}

/* A path as the address of a redirect; what Go leaves alone is left alone. */
static void escape_path(struct buffer *out, const char *path)
{
        static const char plain[] = "-_.~/$&+,:;=@!'()*";

        for (; *path; path++) {
                unsigned char c = (unsigned char)*path;

                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(plain, c))
                        buffer_add_char(out, (char)c);
                else
                        buffer_printf(out, "%%%02X", c);
        }
}

static void redirect(struct server_response *response, const char *path)
{
        cleanup(buffer_release) struct buffer location = BUFFER_LIMIT(sizeof(response->headers[0].value) - 1);

        escape_path(&location, path);
        if (location.full) {
                server_response_text(response, MHD_HTTP_NOT_FOUND, "404 page not found");
                return;
        }
        response->status = MHD_HTTP_MOVED_PERMANENTLY;
        snprintf(response->content_type, sizeof(response->content_type), "text/html; charset=utf-8");
        server_response_header(response, MHD_HTTP_HEADER_LOCATION, "%s", buffer_string(&location));
        buffer_printf(&response->body, "<a href=\"%s\">Moved Permanently</a>.\n\n", buffer_string(&location));
}

static void not_found(struct server_response *response)
{
        server_response_text(response, MHD_HTTP_NOT_FOUND, "404 page not found");
}

/* The gzip magic, else text or not: what Go's sniffing tells of what is stored here. */
static void content_type(int fd, const char *path, char type[96])
{
        const char *dot = strrchr(path, '.'), *found = "text/plain; charset=utf-8";
        unsigned char start[512];
        ssize_t n = pread(fd, start, sizeof(start), 0);

        if (n >= 3 && start[0] == 0x1f && start[1] == 0x8b && start[2] == 0x08)
                found = "application/x-gzip";
        else if (dot && strcmp(dot, ".json") == 0)
                found = "application/json";
        else
                for (ssize_t i = 0; i < n; i++)
                        if (start[i] < 0x20 && !memchr("\t\n\f\r\x1b", start[i], 5))
                                found = "application/octet-stream";
        snprintf(type, 96, "%s", found);
}

static void date_print(time_t seconds, char text[DATE_TEXT])
{
        static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        struct tm tm;

        gmtime_r(&seconds, &tm);
        snprintf(text, DATE_TEXT, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100,
                 months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

/* Seconds since 1970, or -1. Only the form that every client sends. */
static time_t date_parse(const char *text)
{
        struct tm tm = { 0 };
        const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

        return end && !*end ? timegm(&tm) : -1;
}

/* True if one of the tags of an If-None-Match list is this one. Weak tags compare as strong ones. */
static bool tag_listed(const char *list, const char *tag)
{
        struct view rest = view_of(list), piece;

        while (view_split(&rest, ',', &piece)) {
                piece = view_trim(piece);
                if (view_is(piece, "*"))
                        return true;
                if (view_starts(piece, VIEW("W/")))
                        piece = view_slice(piece, 2, piece.length);
                if (view_is(piece, tag))
                        return true;
        }
        return false;
}

static bool not_modified(const struct server_request *request, const char *tag, time_t modified)
{
        const char *tags = server_header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);
        const char *since = server_header(request, MHD_HTTP_HEADER_IF_MODIFIED_SINCE);
        time_t seconds;

        if (tags)
                return tag_listed(tags, tag);
        seconds = since ? date_parse(since) : -1;
        return seconds >= 0 && modified <= seconds;
}

enum range {
        RANGE_NONE, /* the whole file */
        RANGE_PART,
        RANGE_BAD,
};

/* One range; of several the whole file is a correct answer. */
static enum range range_parse(const char *text, uint64_t size, uint64_t *ret_start, uint64_t *ret_length)
{
        struct view range = view_of(text), first;
        uint64_t start, end;

        if (!view_starts(range, VIEW("bytes=")))
                return RANGE_BAD;
        range = view_trim(view_slice(range, 6, range.length));
        if (view_find(range, ',', 0) >= 0)
                return RANGE_NONE;
        if (view_find(range, '-', 0) < 0)
                return RANGE_BAD;
        view_split(&range, '-', &first);
        first = view_trim(first);
        range = view_trim(range);
        if (!first.length) { /* the last bytes */
                if (view_to_uint64(range, &end) < 0)
                        return RANGE_BAD;
                if (size == 0)
                        return RANGE_NONE;
                *ret_length = end < size ? end : size;
                *ret_start = size - *ret_length;
                return end ? RANGE_PART : RANGE_BAD;
        }
        end = size ? size - 1 : 0;
        if (view_to_uint64(first, &start) < 0 || (range.length && view_to_uint64(range, &end) < 0) || end < start)
                return RANGE_BAD;
        if (size == 0)
                return RANGE_NONE;
        if (start >= size)
                return RANGE_BAD;
        if (end >= size)
                end = size - 1;
        *ret_start = start;
        *ret_length = end - start + 1;
        return RANGE_PART;
}

/* A range for another version of the file is none. */
static bool range_holds(const struct server_request *request, const char *tag, time_t modified)
{
        const char *condition = server_header(request, MHD_HTTP_HEADER_IF_RANGE);

        return !condition || strcmp(condition, tag) == 0 || date_parse(condition) == modified;
}

static void send_file(const struct server_files *files, const struct server_request *request, const char *path, int fd,
                      const struct stat *status, struct server_response *response)
{
        const char *range = server_header(request, MHD_HTTP_HEADER_RANGE);
        uint64_t size = (uint64_t)status->st_size, start = 0, length = size;
        char raw[SERVER_TAG], tag[SERVER_TAG + 2], date[DATE_TEXT];
        enum range kind = RANGE_NONE;

        if (!files->tag || !files->tag(files->data, path, fd, raw))
                snprintf(raw, sizeof(raw), "%" PRIx64 "-%" PRIx64, size,
                         (uint64_t)(status->st_mtim.tv_sec * DURATION_SECOND + status->st_mtim.tv_nsec));
        snprintf(tag, sizeof(tag), "\"%s\"", raw);
        date_print(status->st_mtim.tv_sec, date);
        server_response_header(response, MHD_HTTP_HEADER_ETAG, "%s", tag);
        server_response_header(response, MHD_HTTP_HEADER_LAST_MODIFIED, "%s", date);
        if (not_modified(request, tag, status->st_mtim.tv_sec)) {
                response->status = MHD_HTTP_NOT_MODIFIED;
                close(fd);
                return;
        }
        server_response_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
        if (range && range_holds(request, tag, status->st_mtim.tv_sec))
                kind = range_parse(range, size, &start, &length);
        if (kind == RANGE_BAD) {
                server_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */%" PRIu64, size);
                server_response_text(response, MHD_HTTP_RANGE_NOT_SATISFIABLE, "invalid range: failed to overlap");
                close(fd);
                return;
        }
        if (kind == RANGE_PART) {
                response->status = MHD_HTTP_PARTIAL_CONTENT;
                server_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, start,
                                       start + length - 1, size);
        }
        content_type(fd, path, response->content_type);
        response->file = fd;
        response->file_offset = start;
        response->file_length = length;
}

/* Readiness probes ask for "/"; what is in a directory is nobody's business. */
static void send_directory(struct server_response *response)
{
        snprintf(response->content_type, sizeof(response->content_type), "text/html; charset=utf-8");
        buffer_add_string(&response->body,
                          "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n</pre>\n");
}

static void send_found(const struct server_files *files, const struct server_request *request, const char *path, int fd,
                       struct server_response *response)
{
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        size_t length = strlen(path);
        bool as_directory = length == 0 || path[length - 1] == '/';
        char target[512];
        struct stat status;

        if (fstat(fd, &status) < 0 || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
                close(fd);
                not_found(response);
        } else if (S_ISREG(status.st_mode) && !as_directory) {
                send_file(files, request, path, fd, &status, response);
        } else {
                close(fd);
                if (S_ISDIR(status.st_mode) && as_directory) {
                        send_directory(response);
                } else if (S_ISDIR(status.st_mode)) {
                        snprintf(target, sizeof(target), "%s/", name);
                        redirect(response, target);
                } else {
                        not_found(response);
                }
        }
}

static bool is_hidden(const struct server_files *files, const char *path)
{
        struct view rest = view_of(path), piece;

        while (files->hidden && view_split(&rest, '/', &piece)) {
                char name[256];

                if (piece.length >= sizeof(name))
                        return true;
                memcpy(name, piece.data, piece.length);
                name[piece.length] = '\0';
                if (piece.length && files->hidden(name))
                        return true;
        }
        return false;
}

void server_files_handle(void *data, const struct server_request *request, struct server_response *response)
{
        const struct server_files *files = data;
        cleanup(buffer_release) struct buffer clean = BUFFER_NULL;
        const char *path;
        int fd;

        if (strcmp(request->method, MHD_HTTP_METHOD_GET) != 0 && strcmp(request->method, MHD_HTTP_METHOD_HEAD) != 0) {
                server_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
                server_response_text(response, MHD_HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
                return;
        }
        clean_path(request->path, &clean);
        if (strcmp(buffer_string(&clean), request->path) != 0) {
                redirect(response, buffer_string(&clean));
                return;
        }
        path = buffer_string(&clean) + 1;
        fd = is_hidden(files, path) ? -1 : beneath_open(files->root, *path ? path : ".", O_RDONLY | O_NONBLOCK, true);
        if (fd < 0)
                not_found(response);
        else
                send_found(files, request, path, fd, response);
}
