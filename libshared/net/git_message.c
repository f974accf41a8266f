#include "net/git_private.h"

#include "base/pack.h"

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
#define TEXT_COUNT (sizeof(request_texts) / sizeof(request_texts[0]))

static int cut_short(struct error *err)
{
        return error_set(err, ERROR_INTERNAL, "a message of the git job is cut short");
}

void git_request_encode(const struct git_request *request, struct buffer *bytes)
{
        pack_number(bytes, (uint64_t)request->timeout_ms);
        pack_number(bytes, request->algorithm);
        pack_number(bytes, request->always);
        pack_number(bytes, request->ignore.data != NULL);
        for (size_t i = 0; i < TEXT_COUNT; i++) {
                struct view text;

                memcpy(&text, (const char *)request + request_texts[i], sizeof(text));
                pack_view(bytes, text);
        }
}

int git_request_decode(struct view bytes, struct git_request *ret_request, struct error *err)
{
        struct git_request request = { .always = false };
        uint64_t timeout_ms, algorithm, always, ignore;

        if (unpack_number(&bytes, &timeout_ms) < 0 || unpack_number(&bytes, &algorithm) < 0 || unpack_number(&bytes, &always) < 0 ||
            unpack_number(&bytes, &ignore) < 0)
                return cut_short(err);
        request.timeout_ms = (int64_t)timeout_ms;
        request.algorithm = (enum digest_algorithm)algorithm;
        request.always = always != 0;
        for (size_t i = 0; i < TEXT_COUNT; i++) {
                struct view text;

                if (unpack_view(&bytes, &text) < 0)
                        return cut_short(err);
                memcpy((char *)&request + request_texts[i], &text, sizeof(text));
        }
        if (!ignore)
                request.ignore = VIEW_NULL;
        *ret_request = request;
        return 0;
}

void git_result_encode(int outcome, const struct git_result *result, struct buffer *bytes)
{
        pack_number(bytes, (uint64_t)outcome);
        pack_number(bytes, result->size);
        pack_number(bytes, result->links_dropped);
        pack_string(bytes, result->digest);
        pack_string(bytes, result->revision);
        pack_string(bytes, result->commit);
        pack_string(bytes, result->subject);
}

int git_result_decode(struct arena *arena, struct view bytes, int *ret_outcome, struct git_result *ret_result, struct error *err)
{
        uint64_t outcome, size, links_dropped;
        struct view digest, revision, commit, subject;

        if (unpack_number(&bytes, &outcome) < 0 || unpack_number(&bytes, &size) < 0 || unpack_number(&bytes, &links_dropped) < 0 ||
            unpack_view(&bytes, &digest) < 0 || unpack_view(&bytes, &revision) < 0 || unpack_view(&bytes, &commit) < 0 ||
            unpack_view(&bytes, &subject) < 0 || digest.length >= DIGEST_TEXT || outcome > GIT_EMPTY)
                return cut_short(err);
        *ret_result = (struct git_result){
                .revision = arena_view(arena, revision).data,
                .commit = arena_view(arena, commit).data,
                .subject = arena_view(arena, subject).data,
                .size = size,
                .links_dropped = links_dropped,
        };
        memcpy(ret_result->digest, digest.data, digest.length);
        *ret_outcome = (int)outcome;
        return 0;
}
