/*
 * program_private: what the files of kube/program*.c and kube/controller.c share.
 */
#pragma once

#include "base/metrics.h"
#include "base/turns.h"
#include "kube/client.h"
#include "kube/controller.h"
#include "kube/lease.h"
#include "kube/watch.h"
#include "net/server.h"

#include <pthread.h>
#include <stdatomic.h>

#define SOURCE_LIMIT 32

/* One watched kind with its cache, shared by all controllers that look at it. Lives as long as a leadership. */
struct source {
        struct program_state *state;
        const struct kube_resource *resource;
        const char *label_selector;
        bool metadata_only, optional;
        bool own;                /* of a controller, whose runs write to it */
        const char *unless_gate; /* that ends the watch; NULL: none does */
        struct cache *cache;
        struct watch *watch;
};

/* How one controller hears of one source. */
struct listener {
        struct controller *controller;
        const struct controller_watch *watch; /* NULL: its own kind */
};

struct program_state {
        const struct program *program;
        struct runtime runtime;
        struct runtime_flags flags;
        struct context process;    /* ends with the process's work */
        struct context leadership; /* the runs' */
        struct kube_client *client, *lease_client;
        struct io *io;
        struct event_recorder *recorder;
        struct lease *lease;
        char *lease_object; /* name of the Lease */
        char *namespace;
        struct server *health, *metrics;
        _Atomic int exit_status;
        _Atomic bool working; /* a run has ended since the last look */
        unsigned busy_ticks;  /* looks in a row at which runs had ended */
        unsigned quiet_ticks; /* and at which none had, until the process is at rest */
        pthread_mutex_t lock; /* of sources and controllers' states: they come and go with the leadership */
        struct source sources[SOURCE_LIMIT];
        unsigned source_count;
        struct listener listeners[SOURCE_LIMIT * 2];
        unsigned listener_count;
        pthread_t leader;
        bool leading;              /* the leader thread is to be joined */
        bool led;                  /* it has ended */
        pthread_cond_t leader_end; /* of led */
        int signals;               /* signalfd of those that end the process */
};

/* --- program_flags.c --- */

/* Reads everything; 0, FLAGS_HELP, or -1: usage. The table stays for program_usage. */
int program_flags_parse(const struct program *program, int argc, char **argv, struct runtime_flags *ret_flags, struct error *error);
void program_usage(const struct program *program, FILE *out);
/* What a parsed value may be: logs, gates, jitter, selectors. -1: exit 1. */
int program_flags_check(const struct program *program, const struct runtime_flags *flags, struct error *error);

/* --- program_http.c --- */

int program_http_start(struct program_state *state, struct error *error);
void program_http_stop(struct program_state *state);

/* --- program_metrics.c --- */

void program_metrics_register(struct program_state *state);
/* A run ended; `result` is success, error, requeue or requeue_after. */
void program_metrics_run(const struct controller *controller, const char *namespace, const char *name, const char *result,
                         bool terminal, double seconds, double waited_seconds);
void program_metrics_forget(const struct controller *controller, const char *namespace, const char *name);
/* "kustomization": the label `controller`, into text. */
#define CONTROLLER_NAME 64
const char *controller_name(const struct controller *controller, char text[CONTROLLER_NAME]);

/* --- program_crash.c --- */

/* Handlers for signals that end the process: one line that says what ran, then exit 2. `path` keeps what ran (may be NULL). */
void crash_setup(const char *program);
/* What this thread runs, as "Kind ns/name generation"; NULL: nothing. The text stays the caller's until the next call. */
void crash_running(const char *text);
/* This thread's signal stack; for threads that run reconciles. */
void crash_thread_begin(void);
void crash_thread_end(void);
/* How often the process was ended by a run of that text since its file was made. */
unsigned crash_count(const char *text);

/* --- controller.c --- */

/* What a worker does, for metrics, debug pages and the wedge report. */
struct worker {
        struct controller *controller;
        pthread_t thread;
        int tid;
        bool fresh_only, standin;
        bool alive; /* under the controller's lock: there is a thread */
        struct arena *arena;
        /* under the controller's lock; run NULL: idle */
        struct reconcile *run;
        struct context *context;
        int64_t started_ms, expected_ms;
        bool reported;
};

struct controller_state {
        struct queue *queue;
        struct source *source;
        pthread_mutex_t lock;
        /*
         * The first `concurrency` workers are always there. A run that only waits (reconcile_wait_begin) gives its place to a stand-in, a
         * thread that is started when it is needed and ends when it was not for a while. `places` is how many more runs may begin. Those that go
         * on after a wait take turns, `concurrency` at a time, in the order in which they asked: so they neither hold up those that begin, nor
         * build their trees all at once when what they waited for comes for all. `placeless` counts those of the
         * applicants that are always there and not for fresh work alone: a stand-in makes room for them.
         */
        struct worker *workers;
        unsigned worker_count, concurrency;
        unsigned places, placeless, standins;
        struct applicant *applicants; /* those that wait for a place, the last one first */
        pthread_cond_t standins_gone;
        struct turns turns;
        bool stopping, fresh_placed;
        bool supersede;
        _Atomic int64_t recovered_ms; /* when the watch of its kind worked again after a failure; 0: it never failed */
};

void controller_open(struct controller *controller, const struct runtime *runtime);
void controller_close(struct controller *controller);
void controller_start_workers(struct controller *controller);
void controller_stop_workers(struct controller *controller); /* joins: the runs have to end by themselves */
/* The watch of its kind works again after a failure: so does what the runs ask for, probably. io thread. */
void controller_recovered(struct controller *controller);
/* An event of its own kind. */
void controller_event(struct controller *controller, const struct cache_event *event);
/* Logs runs that are far past the time they were to take, once each. */
void controller_check_wedged(struct controller *controller);
/* One line per worker. */
void controller_describe_workers(const struct controller *controller, struct buffer *text);
