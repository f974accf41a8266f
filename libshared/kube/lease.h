/*
 * lease: one leader among replicas, by a coordination.k8s.io/v1 Lease.
 *
 * One thread tries, renews and releases. Only this process's monotonic clock counts: a foreign record is stale when it has not
 * changed for its duration as seen from here; our own leadership ends renew_deadline after the last renewal that was answered,
 * whatever happens on the wire. That instant fences writes (lease_until with kube_client_fence): no request that changes anything
 * leaves the process after it.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct context;
struct kube_client;
struct lease;

/*
 * What the lease does with the API server; kube_client behind it, or a test. Bodies are the JSON of a Lease. Failures are struct error as
 * kube_call makes them (ERROR_NOT_FOUND, ERROR_CONFLICT with AlreadyExists or Conflict).
 */
struct lease_api {
        int (*get)(void *data, struct context *ctx, struct buffer *ret_body, struct error *error);
        int (*create)(void *data, struct context *ctx, struct view body, struct buffer *ret_body, struct error *error);
        int (*update)(void *data, struct context *ctx, struct view body, struct buffer *ret_body, struct error *error);
        void *data;
};

struct lease_options {
        struct kube_client *client;                       /* its own connection if it can have one; NULL with `api` */
        const struct lease_api *api;                      /* NULL: client */
        const char *namespace, *name;                     /* of the Lease */
        const char *identity;                             /* NULL: "<hostname>_<uuid>" */
        int64_t duration_ms, renew_deadline_ms, retry_ms; /* 35 s, 30 s, 5 s */
        bool release;                                     /* give the lease back at lease_stop */
        /* On the lease's thread. `lost` returns when nothing that the leader did is under way any more; then it is a candidate again. */
        void (*acquired)(void *data);
        void (*lost)(void *data);
        /* Another holder was seen, or nobody ("" ); for the log. May be NULL. */
        void (*holder)(void *data, const char *identity);
        /* A renewal failed; for the log. May be NULL. */
        void (*failed)(void *data, const struct error *error);
        void *data;
        int64_t (*now)(void *data); /* for tests; NULL: clock_now_ms */
};

/* Names are copied. */
struct lease *lease_new(const struct lease_options *options);
/* Starts trying, on a thread of its own. */
void lease_run(struct lease *lease);
/*
 * Stops renewing and, with `release`, gives back what is ours (5 s at most), also if the answer to taking it never came; then frees it. `lost` is not called.
 * NULL is fine.
 */
void lease_stop(struct lease **lease);

bool lease_held(const struct lease *lease);
/* Until when (clock_now_ms) this process may change anything; in the past if it is not the leader. Fits kube_client_fence. */
int64_t lease_until(void *lease);
const char *lease_identity(const struct lease *lease);

/* "source-controller-leader-election", with "-" and 8 hexadecimal digits of the selector's SHA-256 where there is one. The caller frees. */
char *lease_name(const char *controller, const char *label_selector);

/*
 * One step of a candidate or a leader, for tests of a lease that does not run.
 *   0  held: renewed or just acquired     LEASE_FOREIGN  somebody else holds it     -1  no answer, a conflict, ...
 */
#define LEASE_FOREIGN 1
int lease_try(struct lease *lease, struct context *ctx, struct error *error);
