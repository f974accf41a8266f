#include "net/git_internal.h"

#include <stddef.h>
#include <string.h>

/* Every text of a request, in the order in which it travels. */
static const size_t request_texts[] = {
        offsetof(struct git_request, url),
        offsetof(struct git_request, commit),
        offsetof(struct git_request, name),
        offsetof(struct git_request, tag),
        offsetof(struct git_request, semver),
        offsetof(struct git_request, branch),
        offsetof(struct git_request, username),
        offsetof(struct git_request, password),
        offsetof(struct git_request, bearer_token),
        offsetof(struct git_request, authorities),
        offsetof(struct git_request, certificate),
        offsetof(struct git_request, key),
        offsetof(struct git_request, identity),
        offsetof(struct git_request, passphrase),
        offsetof(struct git_request, known_hosts),
        offsetof(struct git_request, key_exchanges),
        offsetof(struct git_request, host_algorithms),
        offsetof(struct git_request, proxy),
        offsetof(struct git_request, proxy_username),
        offsetof(struct git_request, proxy_password),
        offsetof(struct git_request, known_revision),
        offsetof(struct git_request, ignore),
};

struct request_numbers {
        int64_t timeout_ms;
        int32_t algorithm;
        int32_t always;
};

static void add_text(struct buffer *bytes, struct view text)
{
        uint64_t length = text.data ? text.length + 1 : 0; /* 0: not set */

        buffer_add(bytes, &length, sizeof(length));
        buffer_add_view(bytes, text);
}

static int take(struct view *bytes, void *data, size_t size, struct error *err)
{
        if (bytes->length < size)
                return error_set(err, ERROR_INTERNAL, "a message of the git job is cut short");
        memcpy(data, bytes->data, size);
        *bytes = view_slice(*bytes, size, bytes->length);
        return 0;
}

static int take_text(struct view *bytes, struct view *text, struct error *err)
{
        uint64_t length;

        TRY(take(bytes, &length, sizeof(length), err));
        *text = VIEW_NULL;
        if (length == 0)
                return 0;
        if (length - 1 > bytes->length)
                return error_set(err, ERROR_INTERNAL, "a message of the git job is cut short");
        *text = view_slice(*bytes, 0, (size_t)length - 1);
        *bytes = view_slice(*bytes, (size_t)length - 1, bytes->length);
        return 0;
}

void git_request_encode(const struct git_request *request, struct buffer *bytes)
{
        struct request_numbers numbers = { request->timeout_ms, request->algorithm, request->always };

        buffer_add(bytes, &numbers, sizeof(numbers));
        for (size_t i = 0; i < sizeof(request_texts) / sizeof(request_texts[0]); i++) {
                struct view text;

                memcpy(&text, (const char *)request + request_texts[i], sizeof(text));
                add_text(bytes, text);
        }
}

int git_request_decode(struct view bytes, struct git_request *ret_request, struct error *err)
{
        struct git_request request = { .always = false };
        struct request_numbers numbers;

        TRY(take(&bytes, &numbers, sizeof(numbers), err));
        request.timeout_ms = numbers.timeout_ms;
        request.algorithm = (enum digest_algorithm)numbers.algorithm;
        request.always = numbers.always != 0;
        for (size_t i = 0; i < sizeof(request_texts) / sizeof(request_texts[0]); i++) {
                struct view text;

                TRY(take_text(&bytes, &text, err));
                memcpy((char *)&request + request_texts[i], &text, sizeof(text));
        }
        *ret_request = request;
        return 0;
}

struct result_numbers {
        int32_t outcome;
        int32_t reserved;
        uint64_t size;
        uint64_t links_dropped;
        char digest[DIGEST_TEXT];
};

void git_result_encode(int outcome, const struct git_result *result, struct buffer *bytes)
{
        struct result_numbers numbers = { .outcome = outcome, .size = result->size, .links_dropped = result->links_dropped };

        memcpy(numbers.digest, result->digest, sizeof(numbers.digest));
        buffer_add(bytes, &numbers, sizeof(numbers));
        add_text(bytes, view_of(result->revision));
        add_text(bytes, view_of(result->commit));
        add_text(bytes, view_of(result->subject));
}

int git_result_decode(struct arena *arena, struct view bytes, int *ret_outcome, struct git_result *ret_result, struct error *err)
{
        struct result_numbers numbers;
        struct view revision, commit, subject;

        TRY(take(&bytes, &numbers, sizeof(numbers), err));
        TRY(take_text(&bytes, &revision, err));
        TRY(take_text(&bytes, &commit, err));
        TRY(take_text(&bytes, &subject, err));
        *ret_result = (struct git_result){
                .revision = arena_string_n(arena, revision.data, revision.length),
                .commit = arena_string_n(arena, commit.data, commit.length),
                .subject = arena_string_n(arena, subject.data, subject.length),
                .size = numbers.size,
                .links_dropped = numbers.links_dropped,
        };
        memcpy(ret_result->digest, numbers.digest, sizeof(numbers.digest));
        ret_result->digest[sizeof(numbers.digest) - 1] = '\0';
        *ret_outcome = numbers.outcome;
        return 0;
}
