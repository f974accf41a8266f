#include "base/memory.h"
#include "net/http_private.h"

#include <stdlib.h>
#include <string.h>

static struct curl_blob blob_copy(struct view bytes)
{
        struct curl_blob blob = { .flags = CURL_BLOB_NOCOPY };

        if (bytes.length) {
                blob.data = memory_string_n(bytes.data, bytes.length);
                blob.len = bytes.length;
        }
        return blob;
}

struct http_settings *http_settings_new(const struct http_settings_options *options)
{
        struct http_settings *settings = memory_zero(1, sizeof(*settings));

        atomic_init(&settings->references, 1);
        settings->ca = blob_copy(options->ca);
        settings->certificate = blob_copy(options->certificate);
        settings->key = blob_copy(options->key);
        if (options->server_name && *options->server_name)
                settings->server_name = memory_string(options->server_name);
        if (options->proxy)
                settings->proxy = memory_string(options->proxy);
        settings->insecure = options->insecure;
        settings->http1 = options->http1;
        return settings;
}

struct http_settings *http_settings_ref(struct http_settings *settings)
{
        if (settings)
                atomic_fetch_add(&settings->references, 1);
        return settings;
}

void http_settings_release(struct http_settings **settings)
{
        struct http_settings *gone = *settings;

        *settings = NULL;
        if (!gone || atomic_fetch_sub(&gone->references, 1) != 1)
                return;
        if (gone->key.data)
                explicit_bzero(gone->key.data, gone->key.len);
        free(gone->key.data);
        free(gone->ca.data);
        free(gone->certificate.data);
        free(gone->server_name);
        free(gone->proxy);
        free(gone);
}

void http_response_release(struct http_response *response)
{
        buffer_release(&response->body);
        free(response->content_type);
        free(response->etag);
        free(response->location);
        free(response->last_modified);
        free(response->authenticate);
        free(response->flow_schema);
        free(response->status_text);
        free(response->warnings);
        *response = HTTP_RESPONSE_NULL;
}

static void add_encoded(struct buffer *url, struct view text, const char *plain)
{
        static const char digits[] = "0123456789ABCDEF";

        for (size_t i = 0; i < text.length; i++) {
                unsigned char c = (unsigned char)text.data[i];

                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(plain, c))) {
                        buffer_add_char(url, (char)c);
                } else {
                        buffer_add_char(url, '%');
                        buffer_add_char(url, digits[c >> 4]);
                        buffer_add_char(url, digits[c & 15]);
                }
        }
}

void url_add_path(struct buffer *url, struct view segment)
{
        add_encoded(url, segment, "-_.~$&+=:@");
}

/* As url.QueryEscape, but for the blank, which every server reads as %20 too. */
void url_add_query(struct buffer *url, struct view value)
{
        add_encoded(url, value, "-_.~");
}
