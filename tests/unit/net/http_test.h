/*
 * http_test: one request over a fresh connection, for the tests of servers.
 */
#pragma once

#include "../test.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int http_connect(uint16_t port)
{
        const struct sockaddr_in address = { .sin_family = AF_INET,
                                             .sin_port = htons(port),
                                             .sin_addr = { htonl(INADDR_LOOPBACK) } };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/* Sends the request line, the header lines ("A: b\r\n"...) and the body; everything that comes back goes to `answer`. Returns the status. */
static inline int http_call(uint16_t port, const char *line, const char *headers, const char *body, struct buffer *answer)
{
        struct buffer request = BUFFER_NULL;
        char chunk[4096];
        int fd = http_connect(port), status = 0;
        ssize_t n;

        buffer_printf(&request, "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", line, headers);
        if (*body)
                buffer_printf(&request, "Content-Length: %zu\r\n", strlen(body));
        buffer_printf(&request, "\r\n%s", body);
        assert_int_equal(write(fd, request.data, request.length), request.length);
        buffer_release(&request);
        buffer_clear(answer);
        while ((n = read(fd, chunk, sizeof(chunk))) > 0)
                buffer_add(answer, chunk, (size_t)n);
        close(fd);
        if (sscanf(buffer_string(answer), "HTTP/1.1 %d", &status) != 1)
                return 0;
        return status;
}

static inline struct view http_body(const struct buffer *answer)
{
        ptrdiff_t at = view_search(buffer_view(answer), VIEW("\r\n\r\n"), 0);

        return at < 0 ? VIEW_NULL : view_slice(buffer_view(answer), (size_t)at + 4, answer->length);
}

/* The value of a header; VIEW_NULL if it is not there. */
static inline struct view http_header(const struct buffer *answer, const char *name)
{
        struct view rest = buffer_view(answer), line;
        size_t length = strlen(name);

        while (view_split(&rest, '\n', &line) && view_trim(line).length)
                if (line.length > length && line.data[length] == ':' && strncasecmp(line.data, name, length) == 0)
                        return view_trim(view_slice(line, length + 1, line.length));
        return VIEW_NULL;
}
