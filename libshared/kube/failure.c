#include "base/cleanup.h"
#include "base/memory.h"
#include "data/json.h"
#include "kube/client_private.h"

#include <string.h>
#include <strings.h>

#define TEXT_LIMIT 2048

static const struct {
        const char *reason;
        int code;
        enum error_kind kind;
} reasons[] = {
        { "Unauthorized", 401, ERROR_FORBIDDEN },
        { "Forbidden", 403, ERROR_FORBIDDEN },
        { "NotFound", 404, ERROR_NOT_FOUND },
        { "Conflict", 409, ERROR_CONFLICT },
        { "AlreadyExists", 409, ERROR_CONFLICT },
        { "Gone", 410, ERROR_UNAVAILABLE },
        { "Expired", 410, ERROR_UNAVAILABLE },
        { "Invalid", 422, ERROR_INVALID },
        { "BadRequest", 400, ERROR_INVALID },
        { "MethodNotAllowed", 405, ERROR_UNSUPPORTED },
        { "NotAcceptable", 406, ERROR_UNSUPPORTED },
        { "UnsupportedMediaType", 415, ERROR_UNSUPPORTED },
        { "RequestEntityTooLarge", 413, ERROR_TOO_LARGE },
        { "TooManyRequests", 429, ERROR_UNAVAILABLE },
        { "InternalError", 500, ERROR_UNAVAILABLE },
        { "ServerTimeout", 500, ERROR_UNAVAILABLE },
        { "StorageReadError", 500, ERROR_UNAVAILABLE },
        { "ServiceUnavailable", 503, ERROR_UNAVAILABLE },
        { "Timeout", 504, ERROR_TIMEOUT },
};

/* A known reason decides, otherwise the code, of which the first row counts. */
static enum error_kind kind_of(int code, const char **reason)
{
        for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
                if (strcmp(reasons[i].reason, *reason) == 0)
                        return reasons[i].kind;
        for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
                if (reasons[i].code == code) {
                        if (!**reason)
                                *reason = reasons[i].reason;
                        return reasons[i].kind;
                }
        if (!**reason && code >= 500)
                *reason = "InternalError";
        return code >= 500 ? ERROR_UNAVAILABLE : ERROR_INVALID;
}

/* Causes that say more than the reason of the whole, in words or about what will help. */
static const char *telling_cause(const struct json *status)
{
        static const char *const telling[] = { "FieldManagerConflict", "ResourceVersionTooLarge", "NamespaceTerminating" };
        const struct json *causes = JSON_PATH(status, "details", "causes");

        for (size_t i = 0; i < json_length(causes); i++)
                for (size_t k = 0; k < sizeof(telling) / sizeof(telling[0]); k++)
                        if (strcmp(json_string(json_get(json_at(causes, i), "reason"), ""), telling[k]) == 0)
                                return telling[k];
        return NULL;
}

static int status_failure(const struct json *status, int http_status, int64_t retry_after_ms, struct error *err)
{
        int64_t code = json_integer(json_get(status, "code"), http_status);
        int64_t after = json_integer(JSON_PATH(status, "details", "retryAfterSeconds"), 0);
        const char *reason = json_string(json_get(status, "reason"), ""), *cause = telling_cause(status);
        const char *message = json_string(json_get(status, "message"), "");
        const char *implied = reason; /* by the code; what the server did not say is not put into its mouth */
        enum error_kind kind = kind_of((int)code, &implied);

        if (cause && strcmp(cause, "NamespaceTerminating") == 0) {
                kind = ERROR_UNAVAILABLE; /* no want of rights: it is gone soon, and may be made anew */
                cause = NULL;
        }
        if (!*message)
                error_set_reason(err, kind, cause ? cause : reason,
                                 "the server responded with the status code %d but did not return more information", (int)code);
        else
                error_set_reason(err, kind, cause ? cause : reason, "%s", message);
        err->http_status = (int)code;
        err->retry_after_ms = retry_after_ms > 0 ? retry_after_ms : after > 0 && after <= 86400 ? after * 1000 : 0;
        return -1;
}

/* A body that is no Status, as a text for people: "unknown" if it is none. */
static const char *plain_text(const struct http_response *response, struct buffer *space)
{
        const char *type = response->content_type;

        if (type && *type && strncasecmp(type, "text/", 5) != 0)
                return "unknown";
        buffer_add_view(space, view_trim(utf8_cut(buffer_view(&response->body), TEXT_LIMIT)));
        return space->length && utf8_valid(buffer_view(space)) ? space->data : "unknown";
}

/* What client-go says of an answer that says nothing itself. */
static const struct {
        int code;
        const char *message;
} generic_messages[] = {
        { 400, "the server rejected our request for an unknown reason" },
        { 401, "the server has asked for the client to provide credentials" },
        { 404, "the server could not find the requested resource" },
        { 405, "the server does not allow this method on the requested resource" },
        { 409, "the server reported a conflict" },
        { 413, "the request is larger than the server takes" },
        { 422, "the server rejected our request due to an error in our request" },
        { 429, "the server has received too many requests and has asked us to try again later" },
        { 503, "the server is currently unable to handle the request" },
        { 504, "the server was unable to return a response in the time allotted, but may still be processing the request" },
};

static char *generic_message(int code, const char *text)
{
        for (size_t i = 0; i < sizeof(generic_messages) / sizeof(generic_messages[0]); i++)
                if (generic_messages[i].code == code)
                        return memory_string(generic_messages[i].message);
        if (code == 406 && strcmp(text, "unknown") == 0)
                return memory_string("the server was unable to respond with a content type that the client supports");
        if (code == 403 || code == 406 || code == 415)
                return memory_string(text);
        if (code >= 500)
                return memory_printf("an error on the server (\"%s\") has prevented the request from succeeding", text);
        return memory_printf("the server responded with the status code %d but did not return more information", code);
}

/* " (get secrets name)", as client-go puts it behind its message. */
static void add_request(struct buffer *message, const struct kube_request *request)
{
        const struct kube_resource *resource = request->resource;

        buffer_add_string(message, " (");
        for (const char *c = kube_verb_method(request->verb); *c; c++)
                buffer_add_char(message, (char)(*c - 'A' + 'a'));
        buffer_printf(message, " %s%s%s", resource->plural, *resource->group ? "." : "", resource->group);
        if (request->name && *request->name)
                buffer_printf(message, " %s", request->name);
        buffer_add_char(message, ')');
}

static int generic_failure(const struct kube_request *request, const struct http_response *response, struct error *err)
{
        cleanup(buffer_release) struct buffer space = BUFFER_NULL, about = BUFFER_NULL;
        cleanup(free_string) char *message = generic_message(response->status, plain_text(response, &space));
        const char *reason = "";
        enum error_kind kind = kind_of(response->status, &reason);

        if (response->status == 409 && request && request->verb == KUBE_CREATE)
                reason = "AlreadyExists";
        if (request)
                add_request(&about, request);
        error_set_reason(err, kind, reason, "%s%s", message, buffer_string(&about));
        err->http_status = response->status;
        err->retry_after_ms = response->retry_after_ms > 0 ? response->retry_after_ms : 0;
        return -1;
}

static bool is_failure_status(const struct json *status)
{
        return strcmp(json_string(json_get(status, "kind"), ""), "Status") == 0 &&
               strcmp(json_string(json_get(status, "status"), ""), "Success") != 0;
}

static struct json *status_of(struct view body)
{
        struct error ignored = ERROR_NULL;
        struct json *status = NULL;

        if (body.length == 0 || body.data[0] != '{' || json_parse(body, &status, &ignored) < 0)
                error_release(&ignored);
        if (status && !is_failure_status(status))
                json_free(&status);
        return status;
}

int kube_failure(const struct kube_request *request, const struct http_response *response, struct error *err)
{
        cleanup(json_free) struct json *status = status_of(buffer_view(&response->body));

        return status ? status_failure(status, response->status, response->retry_after_ms, err)
                      : generic_failure(request, response, err);
}

bool kube_failure_is_of_path(const struct http_response *response)
{
        cleanup(json_free) struct json *status = NULL;

        if (response->status == 405)
                return true;
        if (response->status != 404)
                return false;
        status = status_of(buffer_view(&response->body));
        return !status || !*json_string(JSON_PATH(status, "details", "name"), "");
}

int kube_status_error(struct view text, struct error *err)
{
        cleanup(json_free) struct json *status = status_of(text);

        if (!status)
                return error_set(err, ERROR_INTERNAL, "unexpected object in place of a Status");
        return status_failure(status, 500, 0, err);
}
