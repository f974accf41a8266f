/* What a child that read hostile data says, where a redirect leads, and what a revision holds. */
#include "net/git_private.h"

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct git_url base = {
                .scheme = "https", .host = "example.com", .port = 443, .default_port = true, .path = "/r.git"
        };
        struct view bytes = { size ? (const char *)data : "", size };
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct arena *arena = arena_new();
        struct git_result result;
        struct git_request request;
        struct git_url url;
        bool other;
        int outcome;

        git_result_decode(arena, bytes, &outcome, &result, &err);
        git_request_decode(bytes, &request, &err);
        git_revision_is(bytes, "main@sha1:0123456789abcdef0123456789abcdef01234567");
        if (git_url_redirect(arena, &base, bytes, &url, &other, &err) == 0) {
                git_url_print(&url, &text);
                /* Credentials never follow to another host, and TLS is never given up. */
                if (strcmp(url.scheme, "https") != 0 || url.user || url.password)
                        __builtin_trap();
                if (!other && strcasecmp(url.host, base.host) != 0)
                        __builtin_trap();
        }
        arena_free(&arena);
        return 0;
}
