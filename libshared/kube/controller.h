/*
 * controller: the main loop that every binary shares.
 *
 * A program is a name, its kinds and its flags; program_main does the rest: flags, log, feature gates, the fork server,
 * configuration, the io thread, health and metrics, caches, election, workers, signals, an orderly end. A controller is one kind:
 * one watch, one queue and its own workers, so that one kind's trouble (a flood, slow peers) leaves the others alone. A reconcile
 * is a plain blocking function of one object.
 *
 * Threads: reconcile functions run on workers; predicates, maps, indexes and `removed` run on the io thread and must neither block
 * nor build trees.
 */
#pragma once

#include "base/arena.h"
#include "base/context.h"
#include "base/error.h"
#include "base/flags.h"
#include "base/log.h"
#include "data/json.h"
#include "kube/cache.h"
#include "kube/object.h"
#include "kube/queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct controller;
struct event_recorder;
struct io;
struct kube_client;
struct program;
struct program_state;
struct controller_state;
struct watch;

/* The flags that every program has; durations in nanoseconds. */
struct runtime_flags {
        const char *metrics_addr, *health_addr, *events_addr;
        const char *log_level, *log_encoding;
        struct flag_list feature_gates;
        const char *watch_label_selector, *watch_configs_label_selector;
        const char *default_service_account, *default_kubeconfig_service_account, *default_decryption_service_account;
        int64_t concurrent, kube_api_burst, interval_jitter_percentage, token_cache_max_size;
        double kube_api_qps;
        int64_t min_retry_delay, max_retry_delay, requeue_dependency, token_cache_max_duration, graceful_shutdown_timeout;
        int64_t leader_election_lease_duration, leader_election_renew_deadline, leader_election_retry_period;
        bool enable_leader_election, leader_election_release_on_cancel;
        bool watch_all_namespaces, no_cross_namespace_refs;
        bool insecure_kubeconfig_exec, insecure_kubeconfig_tls, insecure_allow_http;
};

/* What every part of the process may use; one of it, valid from program->started until the last worker has ended. */
struct runtime {
        const struct program *program;
        const struct runtime_flags *flags;
        struct io *io;
        struct kube_client *client;
        struct event_recorder *recorder;
        struct context *context;     /* ends with the process's work or its leadership */
        const char *namespace;       /* RUNTIME_NAMESPACE, else the service account's, else "flux-system" */
        const char *watch_namespace; /* NULL: all */
        struct program_state *state;
};

/* Is that feature gate of the program on. */
bool runtime_gate(const struct runtime *runtime, const char *name);
/*
 * The cache that a controller of the program (its kind or its watches) keeps of that kind. NULL if none does, or if its watch cannot tell how things are now
 * (it has lost its rights, its kind or its server): then only asking helps.
 */
struct cache *runtime_cache(const struct runtime *runtime, const char *group, const char *kind);

/* Another kind whose events concern this controller's objects. */
struct controller_watch {
        const char *group, *version, *kind, *plural;
        bool cluster_scoped;
        bool metadata_only; /* ConfigMaps, Secrets: the cache holds headers, which have no keys for an index */
        bool configs; /* those that --watch-configs-label-selector selects. A kind of the program's own has --watch-label-selector */
        const char *gate, *unless_gate; /* only if that feature gate is on / off */
        bool optional; /* the program does not wait for its first list: the kind may be missing, or forbidden (told once) */
        const struct cache_index *indexes;
        size_t index_count;
        /* On the io thread: enqueue (controller_enqueue) what the event concerns. May be NULL: only the cache is wanted. */
        void (*map)(struct controller *controller, const struct cache_event *event);
};

struct reconcile;

struct controller {
        const struct kind *kind;
        int (*reconcile)(struct context *ctx, struct reconcile *run, struct error *error);
        /* Which updates are worth a run. NULL: generation, or a new requestedAt (controller_changed). */
        bool (*changed)(const struct cache_object *old, const struct cache_object *new);
        /*
         * An object left the cache: forget what is kept about it. io thread. May be NULL. Unless it was being deleted, its run is cancelled with
         * CONTEXT_GONE meanwhile: what that puts down until its end is for the run itself to forget.
         */
        void (*removed)(struct controller *controller, const struct cache_object *object);
        /*
         * The API server's store was restored from a backup: forget what was concluded from versions. All objects of the controller are enqueued
         * afterwards. io thread. May be NULL.
         */
        void (*restored)(struct controller *controller);
        const struct controller_watch *watches;
        size_t watch_count;
        const struct cache_index *indexes; /* of its own kind's cache */
        size_t index_count;
        unsigned concurrency; /* 0: --concurrent */
        /* With this gate on, an enqueue of a running object cancels the run with CONTEXT_SUPERSEDED; NULL: never. */
        const char *supersede_gate;
        void *data; /* the program's own */
        /* Filled by the program. */
        const struct runtime *runtime;
        struct controller_state *state;
};

/* Why an object was enqueued: the object whose event it was. */
struct trigger {
        char kind[64];
        char namespace[64];
        char name[254];
        char uid[64];
        char resource_version[24];
};

/* One run. */
struct reconcile {
        const struct runtime *runtime;
        struct controller *controller;
        const char *namespace, *name;
        struct arena *arena; /* ends with the run */
        /*
         * This run's own tree of the object, with apiVersion and kind: as cached, or read just now if the watch cannot tell how it is. The loop frees what is
         * here at the end, so a newer one may be put in its place.
         */
        struct json *object;
        const struct cache_object *cached;
        struct log_fields log; /* context of its lines: log_info(&run->log, ...) */
        char id[37];           /* reconcileID */
        int priority;
        bool retry;             /* the last run failed and nothing has happened since */
        bool interruptible;     /* since reconcile_interruptible */
        bool returned;          /* since reconcile_wait_end: has a turn in place of its place */
        struct trigger trigger; /* once context_cause is CONTEXT_SUPERSEDED: by what. Read it with reconcile_trigger */
        /* The outcome of a run that returns 0; none set = done until something happens. */
        int64_t requeue_after_ms; /* > 0 */
        bool requeue;             /* limited */
        bool failed;              /* requeue_after_ms is a retry, which comes at once when an API server that was away is back */
        /* With -1: nothing but a change can help; no retry. */
        bool terminal;
        int64_t retry_limit_ms; /* With -1: the back-off is no longer than that, because no event will tell when it can go on. 0: --max-retry-delay */
};

/* For retry_limit_ms: something cannot be read that is usually watched, which may be over any moment. */
#define RECONCILE_BLIND_MS 30000

/* Enqueues an object of that controller. From any thread. */
void controller_enqueue(struct controller *controller, const char *namespace, const char *name, int priority);
void controller_enqueue_after(struct controller *controller, const char *namespace, const char *name, int priority,
                              int64_t delay_ms);
/* The same, saying which object's event it was: reaches a run that this supersedes. `kind` is of the object. */
void controller_enqueue_for(struct controller *controller, const char *namespace, const char *name, int priority, const char *kind,
                            const struct cache_object *trigger);
/*
 * Cancels the run of that object with CONTEXT_SUPERSEDED if it is past reconcile_interruptible and so does not see what has just happened. There is no
 * trigger; enqueue the object afterwards.
 */
void controller_interrupt(struct controller *controller, const char *namespace, const char *name);
/* Enqueues all objects of its own kind, and interrupts their runs as controller_interrupt does. */
void controller_enqueue_all(struct controller *controller);
/* The default predicate: generation differs, or requestedAt is there and differs. */
bool controller_changed(const struct cache_object *old, const struct cache_object *new);
/* The cache of its own kind. */
struct cache *controller_cache(const struct controller *controller);

/*
 * The run is to be over in so many milliseconds (it sees to that itself, by a context): past that plus a minute it is reported as
 * wedged.
 */
void reconcile_expect(struct reconcile *run, int64_t milliseconds);
/*
 * Around a long wait for something outside (health checks): meanwhile another run takes this one's place, so --concurrent counts runs that
 * work, and objects that wait do not hold up those that could go on. The end may last: of the runs that go on after a wait, too, no more than --concurrent
 * work at the same time.
 */
void reconcile_wait_begin(struct reconcile *run);
void reconcile_wait_end(struct reconcile *run);
/* How many runs of its controller may work at a time: --concurrent that began, and as many that go on after a wait. */
unsigned reconcile_most(const struct reconcile *run);
/* From here on the run does not see what happens to what it applied, and may be interrupted (controller_interrupt). */
void reconcile_interruptible(struct reconcile *run);
/* What superseded this run; false if nothing did. */
bool reconcile_trigger(struct reconcile *run, struct trigger *ret_trigger);
/* interval * (1 + p * (2r - 1)), p = --interval-jitter-percentage / 100, r random: in nanoseconds, as the interval. */
int64_t runtime_jitter(const struct runtime *runtime, int64_t interval_ns);
/* Annotation reconcile.fluxcd.io/requestedAt; NULL if it is not there. */
const char *object_requested_at(const struct json *object);
/*
 * Annotation reconcile.fluxcd.io/forceAt equals requestedAt, and neither status.lastHandledReconcileAt nor lastHandledForceAt has
 * seen it.
 */
bool object_force_requested(const struct json *object);

struct program {
        const char *name; /* "source-controller": user agent, lease, event source */
        struct controller *const *controllers;
        size_t controller_count;
        /* Its own flags, beside the common ones; a common one may be given again for another default. */
        const struct flag *flags;
        size_t flag_count;
        int64_t concurrent; /* default of --concurrent */
        struct feature_gate *gates;
        size_t gate_count;
        void (*prepare_jobs)(void); /* see job_server_start; may be NULL */
        /* Flags are read: -1 ends the program (exit 1). May be NULL. */
        int (*check)(const struct runtime_flags *flags, struct error *error);
        /*
         * Leader, before watches and workers: open storage, start servers. -1 ends the program (exit 1). Again after a lost and
         * regained lease.
         */
        int (*started)(struct context *ctx, struct runtime *runtime, struct error *error);
        /* All workers and watches have ended: close what `started` opened. Until it is closed it may call the controllers. */
        void (*stopped)(struct runtime *runtime);
};

/* 0; 1: could not start, lost, or did not end in time; 2: usage. */
int program_main(int argc, char **argv, const struct program *program);
