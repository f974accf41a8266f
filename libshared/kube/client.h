/*
 * client: requests to one Kubernetes API server.
 *
 * A client is shared by all threads. Those made from it by impersonation differ in one header and share its connections, its credentials and its
 * table of resources (discovery). Credentials are renewed on the way: token and certificate files are read again, exec plugins run again.
 *
 * A failed request is an error with the kind mapped from the Status (404 ERROR_NOT_FOUND, 409 ERROR_CONFLICT, 401 and 403 ERROR_FORBIDDEN, 400 and 422
 * ERROR_INVALID, 5xx and 429 ERROR_UNAVAILABLE, 504 ERROR_TIMEOUT ..., ERROR_UNAVAILABLE too where the namespace is terminating), the Status's reason
 * ("FieldManagerConflict" and "ResourceVersionTooLarge" where a cause says so), its message word for word, http_status and retry_after_ms.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/log.h"
#include "base/str.h"
#include "kube/config.h"
#include "net/http.h"
#include "net/io.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct json;
struct kube_client;

/* One served resource. Interned for the life of the process: pointers are stable and equal for equal content. */
struct kube_resource {
        const char *group; /* "" for the core group */
        const char *version;
        const char *kind;
        const char *plural;
        const char *api_version; /* "apps/v1", "v1": as in apiVersion */
        bool namespaced;
};

struct kube_client_options {
        const char *user_agent;     /* "source-controller/0.1.0 (linux/amd64) kubernetes/0000000"; see kube_user_agent */
        double requests_per_second; /* of a server without priority and fairness; 0: 50 */
        unsigned burst;             /* 0: 300 */
        int64_t first_byte_ms;      /* until an answer begins; 0: HTTP_FIRST_BYTE_MS */
        /* What has no caller to be returned to (a rotation that failed, a server's warning, long waits); any thread; may be NULL. */
        void (*notice)(void *data, enum log_level level, const char *message);
        void *data;
};

/* A new string: "<component>/<version> (linux/<arch>) kubernetes/<commit>". */
char *kube_user_agent(const char *component);

/* Takes the config over. Connects to nothing yet. -1: certificates or keys that are none. */
int kube_client_new(struct io *io, struct kube_config **config, const struct kube_client_options *options,
                    struct kube_client **ret_client, struct error *err);
struct kube_client *kube_client_ref(struct kube_client *client);
/* Gives a reference up; the last one closes the connections. For cleanup; NULL is fine. Requests under way keep what they need. */
void kube_client_release(struct kube_client **client);
/* The same server as another user ("system:serviceaccount:ns:name"); `user` NULL or "": the client's own. Release it like any other. */
struct kube_client *kube_client_impersonate(struct kube_client *client, const char *user);

const struct kube_config *kube_client_config(const struct kube_client *client);

/*
 * Fencing: requests that change something fail locally, ERROR_CANCELLED with reason KUBE_LEASE_LOST, at and after the monotonic millisecond that
 * until(data) returns (CLOCK_NEVER: always allowed). For this client and those made from it afterwards or before.
 */
#define KUBE_LEASE_LOST "LeaseLost"
void kube_client_fence(struct kube_client *client, int64_t (*until)(void *data), void *data);

enum kube_verb {
        KUBE_GET,
        KUBE_LIST,
        KUBE_WATCH,
        KUBE_CREATE,          /* POST */
        KUBE_UPDATE,          /* PUT */
        KUBE_PATCH_MERGE,     /* application/merge-patch+json */
        KUBE_PATCH_JSON,      /* application/json-patch+json */
        KUBE_PATCH_STRATEGIC, /* application/strategic-merge-patch+json: built-in kinds only */
        KUBE_APPLY,           /* application/apply-patch+yaml, JSON in it */
        KUBE_DELETE,
};

/* What an API server reads of a request. More is not sent: it hangs up in the middle of it, with what else is on its way over the connection. */
#define KUBE_BODY_LIMIT ((size_t)3 << 20)

/* Borrowed until the call returns. Strings: NULL is not given. */
struct kube_request {
        enum kube_verb verb;
        const struct kube_resource *resource;
        const char *namespace; /* NULL or "": cluster scope, or all namespaces for LIST and WATCH */
        const char *name;      /* of everything but LIST and CREATE; WATCH watches one object if given */
        const char *subresource;
        struct view body;          /* JSON; no more than KUBE_BODY_LIMIT */
        const char *field_manager; /* of writes; NULL: the component */
        bool dry_run;
        bool force; /* APPLY only */
        /* Ignore, Warn or Strict. NULL is Ignore: to read strictly what was made here is a fifth of what a write costs the server. */
        const char *field_validation;
        /* LIST and WATCH */
        const char *label_selector;
        const char *field_selector;
        const char *resource_version; /* NULL: not sent; LIST, WATCH and GET */
        const char *resource_version_match;
        const char *continue_token;
        unsigned limit;
        bool send_initial_events; /* WATCH */
        unsigned watch_seconds;   /* timeoutSeconds of a WATCH */
        bool metadata_only;       /* PartialObjectMetadata(List); GET, LIST, WATCH, APPLY and patches */
        /* DELETE */
        const char *propagation; /* Background, Foreground, Orphan; NULL: the server's default */
        const char *uid;         /* preconditions; resource_version is the other one */
        bool urgent;             /* on a connection of its own and never throttled: leases */
        bool busy;               /* a watch on a connection of its own, for much comes on it */
        int64_t timeout_ms;      /* 0: 60 s, lists 5 min; the context's deadline counts as well */
};

/*
 * One request with its retries (429 and 5xx with Retry-After; a GET whose connection was lost), throttled. ret_body (may be NULL) is filled from
 * empty. Where the server does not know the path (404 without a name, 405), what discovery knew of the group version is read anew, and if
 * the kind is served under another path now, the request goes there, once. If it still does not know it, the reason of the 404 is KUBE_PATH_ABSENT: it says
 * nothing about an object. An answer of 2xx that is not about what was asked for (a proxy's page) is ERROR_UNAVAILABLE.
 */
#define KUBE_PATH_ABSENT "PathNotFound"
/* The server says that what was asked about is not there. A proxy's 404, or that of a kind which is not served now, does not say so. */
static inline bool kube_is_absent(const struct error *error)
{
        return error->kind == ERROR_NOT_FOUND && strcmp(error->reason, KUBE_PATH_ABSENT) != 0;
}
int kube_call(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct buffer *ret_body,
              struct error *err);
/* As kube_call, parsed: *ret_json is the caller's. */
int kube_call_json(struct context *ctx, struct kube_client *client, const struct kube_request *request, struct json **ret_json,
                   struct error *err);
int kube_get(struct context *ctx, struct kube_client *client, const struct kube_resource *resource, const char *namespace,
             const char *name, struct json **ret_json, struct error *err);
/* GET of a path such as "/version" or "/livez/ping". */
int kube_get_path(struct context *ctx, struct kube_client *client, const char *path, struct buffer *ret_body, struct error *err);

/*
 * A request whose answer is fed to the io thread: LIST (its bytes as they come) and WATCH. From the io thread; not throttled, not retried.
 * `end` gets an error for everything but a 2xx that ended properly: also for Status answers, mapped as above. The file of a token is read here;
 * where an exec plugin must run first it does so on a thread of its own, and `end` says so (ERROR_UNAVAILABLE): try again soon. The stream is
 * gone when `end` returns and must not be closed in it.
 */
struct kube_stream;

struct kube_stream_events {
        void (*start)(void *data); /* a 2xx answer began; may be NULL */
        void (*bytes)(void *data, struct view bytes);
        void (*end)(void *data, const struct error *err); /* NULL: the server ended it */
};

struct kube_stream *kube_stream_open(struct kube_client *client, const struct kube_request *request,
                                     const struct kube_stream_events *events, void *data);
void kube_stream_close(struct kube_stream *stream); /* no callback follows */

/*
 * The status error of a Status object's text, as an ERROR event of a watch carries one (verb, resource: see kube_call). Returns -1.
 */
int kube_status_error(struct view status, struct error *err);

/* A resource that is known without asking the server (our own kinds, Leases, Events). Any thread. */
const struct kube_resource *kube_resource_intern(const char *group, const char *version, const char *kind, const char *plural,
                                                 bool namespaced);

/*
 * The resource that serves (group, kind) in `version`; NULL or "": in the preferred one. The first question reads all of discovery, a later
 * miss only the group version.
 *
 *  0              done
 *  KUBE_NO_MATCH  the server has no such kind; err: no matches for kind "K" in version "g/v" (ERROR_NOT_FOUND, reason NoKindMatch)
 * -1              discovery failed; of a broken aggregated API only its own groups fail
 */
#define KUBE_NO_MATCH 1
int kube_resource_find(struct context *ctx, struct kube_client *client, const char *group, const char *version, const char *kind,
                       const struct kube_resource **ret_resource, struct error *err);
/*
 * After a KUBE_NO_MATCH, before it is taken for the word that a kind is served no more: reads what the server lists of the group and was not read. -1
 * (ERROR_UNAVAILABLE) while a version is listed of which nothing is to be learned (who answers for it may be another server than who lists it), or while nothing is
 * listed at all (a proxy's 404 is nobody's word). 0: ask again, that counts.
 */
int kube_group_check(struct context *ctx, struct kube_client *client, const char *group, struct error *err);
/* Forgets a group (a CRD of it was applied or deleted). */
void kube_resource_forget(struct kube_client *client, const char *group);
