/*
 * The life of a program. The main thread starts the parts, waits for signals, looks around every two seconds, and ends the parts again in
 * reverse. What a leader does, from the first watch to the last worker, is a thread of its own, so that it can end and begin again with the
 * leadership while health and metrics go on.
 */
#include "kube/program_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/memory.h"
#include "kube/event.h"
#include "kube/exec.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define HOUSEKEEPING_MS    2000
#define BUSY_TICKS         5
#define REST_TICKS         3
#define FREE_LIMIT         ((size_t)16 << 20) /* more than that goes back at once */
#define SYNC_MS            120000
#define LOST_GRACE_MS      10000
#define EXIT_USAGE         2
#define DESCRIPTORS        128 /* what a controller with little to do may have open at once, and as much again */
#define REPORT_MISSING_CRD "if kind is a CRD, it should be installed before calling Start"

static void setup_error(const struct error *error, const char *message)
{
        log_line(LOG_ERROR, "setup", NULL, NULL, error, "%s", message);
}

/* --- what runs may ask --- */

struct cache *runtime_cache(const struct runtime *runtime, const char *group, const char *kind)
{
        struct program_state *state = runtime->state;
        const struct source *source = NULL;

        for (unsigned i = 0; i < state->source_count && !source; i++)
                if (strcmp(state->sources[i].resource->group, group) == 0 && strcmp(state->sources[i].resource->kind, kind) == 0)
                        source = &state->sources[i];
        return source && watch_current(source->watch) ? source->cache : NULL;
}

int64_t runtime_jitter(const struct runtime *runtime, int64_t interval_ns)
{
        double share = (double)runtime->flags->interval_jitter_percentage / 100;
        double after = (double)interval_ns * (1 + share * (2 * clock_random() - 1));

        return after < (double)INT64_MAX ? (int64_t)after : INT64_MAX;
}

const char *object_requested_at(const struct json *object)
{
        return json_string(JSON_PATH(object, "metadata", "annotations", "reconcile.fluxcd.io/requestedAt"), NULL);
}

bool object_force_requested(const struct json *object)
{
        const char *requested = object_requested_at(object);
        const char *force = json_string(JSON_PATH(object, "metadata", "annotations", "reconcile.fluxcd.io/forceAt"), NULL);
        const struct json *status = json_get(object, "status");

        return requested && force && strcmp(requested, force) == 0 &&
               strcmp(json_string(json_get(status, "lastHandledReconcileAt"), ""), requested) != 0 &&
               strcmp(json_string(json_get(status, "lastHandledForceAt"), ""), force) != 0;
}

/* --- the leader: sources, controllers, workers --- */

static void source_event(void *data, const struct cache_event *event)
{
        struct listener *listener = data;

        if (listener->watch)
                listener->watch->map(listener->controller, event);
        else
                controller_event(listener->controller, event);
}

static void source_failed(void *data, struct watch *watch, const struct error *error)
{
        const struct source *source = data;
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;

        log_field(&fields, "kind", source->resource->kind);
        log_field(&fields, "apiVersion", source->resource->api_version);
        if (error->kind == ERROR_NOT_FOUND && !watch_synced(watch))
                /* Kinds of a later installation are no news every ten seconds. */
                log_line(source->optional ? LOG_DEBUG : LOG_ERROR, NULL, &fields, NULL, error, REPORT_MISSING_CRD);
        else if (error->http_status == 403 && source->optional)
                log_line(LOG_ERROR, NULL, &fields, NULL, error,
                         "Failed to watch, for want of rights: changes are not noticed at once. Trying again every %s",
                         watch_synced(watch) ? "few seconds" : "minute");
        else if (error->http_status == 403)
                log_line(LOG_ERROR, NULL, &fields, NULL, error,
                         "Failed to watch, for want of rights: allow this account to get, list and watch %s%s%s%s%s%s",
                         source->resource->plural, *source->resource->group ? " of the group " : "", source->resource->group,
                         source->unless_gate ? ", or do without by --feature-gates=" : "",
                         source->unless_gate ? source->unless_gate : "", source->unless_gate ? "=true" : "");
        else
                log_line(LOG_ERROR, NULL, &fields, NULL, error, "Failed to watch");
}

/* What a run found out may not hold any more, and what it waits for may not come. Each kind finds out for itself, when its watch is there again. */
static void source_restored(void *data, struct watch *watch)
{
        const struct source *source = data;
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        const struct program *program = source->state->program;

        (void)watch;
        log_field(&fields, "kind", source->resource->kind);
        log_field(&fields, "apiVersion", source->resource->api_version);
        log_line(LOG_ERROR, NULL, &fields, NULL, NULL,
                 "The API server shows an older state than before, as after a restore from a backup: everything is looked at anew");
        for (size_t i = 0; i < program->controller_count; i++) {
                if (program->controllers[i]->restored)
                        program->controllers[i]->restored(program->controllers[i]);
                controller_enqueue_all(program->controllers[i]);
        }
}

static void source_recovered(void *data, struct watch *watch)
{
        const struct source *source = data;
        const struct program *program = source->state->program;

        (void)watch;
        for (size_t i = 0; i < program->controller_count; i++)
                if (program->controllers[i]->state->source == source)
                        controller_recovered(program->controllers[i]);
}

static struct source *source_of(struct program_state *state, const struct kube_resource *resource, bool metadata_only,
                                const char *label_selector, bool optional)
{
        struct source *source;

        if (label_selector && !*label_selector)
                label_selector = NULL;
        for (unsigned i = 0; i < state->source_count; i++) {
                source = &state->sources[i];
                /* A kind of the program's own is watched once, with the program's selector. */
                if (source->resource == resource && source->metadata_only == metadata_only) {
                        source->optional &= optional;
                        return source;
                }
        }
        if (state->source_count == SOURCE_LIMIT)
                abort();
        source = &state->sources[state->source_count++];
        *source = (struct source){
                .state = state,
                .resource = resource,
                .label_selector = label_selector,
                .metadata_only = metadata_only,
                .optional = optional,
                .cache = cache_new(metadata_only ? CACHE_HEADERS : CACHE_OBJECTS),
        };
        return source;
}

static void listen_to(struct program_state *state, struct source *source, struct controller *controller,
                      const struct controller_watch *watch, const struct cache_index *indexes, size_t index_count)
{
        struct listener *listener;

        for (size_t i = 0; i < index_count; i++)
                cache_add_index(source->cache, &indexes[i]);
        if (watch && !watch->map)
                return;
        if (state->listener_count == sizeof(state->listeners) / sizeof(state->listeners[0]))
                abort();
        listener = &state->listeners[state->listener_count++];
        *listener = (struct listener){ .controller = controller, .watch = watch };
        cache_add_handler(source->cache, source_event, listener);
}

static bool watch_wanted(const struct program_state *state, const struct controller_watch *watch)
{
        return (!watch->gate || runtime_gate(&state->runtime, watch->gate)) &&
               !(watch->unless_gate && runtime_gate(&state->runtime, watch->unless_gate));
}

static void open_controllers(struct program_state *state)
{
        const struct program *program = state->program;

        pthread_mutex_lock(&state->lock);
        for (size_t i = 0; i < program->controller_count; i++) {
                struct controller *controller = program->controllers[i];
                const struct kind *kind = controller->kind;

                controller_open(controller, &state->runtime);
                controller->state->source =
                        source_of(state, kube_resource_intern(kind->group, kind->version, kind->kind, kind->plural, true), false,
                                  state->flags.watch_label_selector, false);
                controller->state->source->own = true; /* each run writes the status, and that comes back */
                listen_to(state, controller->state->source, controller, NULL, controller->indexes, controller->index_count);
        }
        for (size_t i = 0; i < program->controller_count; i++) {
                struct controller *controller = program->controllers[i];

                for (size_t w = 0; w < controller->watch_count; w++) {
                        const struct controller_watch *watch = &controller->watches[w];
                        struct source *source;

                        if (!watch_wanted(state, watch))
                                continue;
                        source = source_of(state,
                                           kube_resource_intern(watch->group, watch->version, watch->kind, watch->plural,
                                                                !watch->cluster_scoped),
                                           watch->metadata_only, watch->configs ? state->flags.watch_configs_label_selector : NULL,
                                           watch->optional);
                        source->unless_gate = watch->unless_gate;
                        listen_to(state, source, controller, watch, watch->indexes, watch->index_count);
                }
        }
        pthread_mutex_unlock(&state->lock);
}

static void start_watches(struct program_state *state)
{
        pthread_mutex_lock(&state->lock);
        for (unsigned i = 0; i < state->source_count; i++) {
                struct source *source = &state->sources[i];

                source->watch = watch_start(state->io, &(struct watch_options){
                                                               .client = state->client,
                                                               .resource = source->resource,
                                                               .namespace = state->runtime.watch_namespace,
                                                               .label_selector = source->label_selector,
                                                               .metadata_only = source->metadata_only,
                                                               .busy = source->own,
                                                               .optional = source->optional,
                                                               .cache = source->cache,
                                                               .failed = source_failed,
                                                               .recovered = source_recovered,
                                                               .restored = source_restored,
                                                               .data = source,
                                                       });
        }
        pthread_mutex_unlock(&state->lock);
}

static void stop_watches(struct program_state *state)
{
        for (unsigned i = 0; i < state->source_count; i++) {
                struct watch *watch;

                pthread_mutex_lock(&state->lock);
                watch = state->sources[i].watch;
                state->sources[i].watch = NULL;
                pthread_mutex_unlock(&state->lock);
                watch_stop(&watch);
        }
}

/* After everything that reaches them. */
static void close_controllers(struct program_state *state)
{
        const struct program *program = state->program;

        pthread_mutex_lock(&state->lock);
        for (size_t i = 0; i < program->controller_count; i++)
                if (program->controllers[i]->state)
                        controller_close(program->controllers[i]);
        for (unsigned i = 0; i < state->source_count; i++)
                cache_free(&state->sources[i].cache);
        state->source_count = state->listener_count = 0;
        pthread_mutex_unlock(&state->lock);
}

/* The process ends, with that status, in an orderly way. */
static void end_process(struct program_state *state, int status)
{
        int running = 0;

        atomic_compare_exchange_strong(&state->exit_status, &running, status);
        context_cancel(&state->process, CONTEXT_SHUTDOWN);
}

static int wait_for_caches(struct program_state *state, struct error *error)
{
        int64_t until = clock_now_ms() + SYNC_MS;
        char name[CONTROLLER_NAME];

        for (unsigned i = 0; i < state->source_count; i++) {
                if (state->sources[i].optional)
                        continue;
                if (watch_wait(&state->leadership, state->sources[i].watch, until - clock_now_ms(), error) < 0)
                        return error_wrap(error, "failed to wait for %s caches to sync kind source: %s",
                                          controller_name(state->program->controllers[0], name), state->sources[i].resource->kind);
        }
        return 0;
}

static int lead(struct program_state *state, struct error *error)
{
        const struct program *program = state->program;

        if (program->started)
                TRY(program->started(&state->leadership, &state->runtime, error));
        start_watches(state);
        TRY(wait_for_caches(state, error));
        for (size_t i = 0; i < program->controller_count; i++)
                controller_start_workers(program->controllers[i]);
        for (;;) {
                cleanup(error_release) struct error ended = ERROR_NULL;

                if (context_sleep(&state->leadership, CLOCK_NEVER / 2, &ended) < 0)
                        break;
        }
        for (size_t i = 0; i < program->controller_count; i++)
                queue_shut_down(program->controllers[i]->state->queue);
        return 0;
}

static void *leader_main(void *argument)
{
        struct program_state *state = argument;
        cleanup(error_release) struct error error = ERROR_NULL;

        open_controllers(state);
        if (lead(state, &error) < 0 && context_cause(&state->leadership) == CONTEXT_RUNNING) {
                setup_error(&error, "problem running manager");
                end_process(state, 1);
        }
        for (size_t i = 0; i < state->program->controller_count; i++)
                controller_stop_workers(state->program->controllers[i]);
        stop_watches(state);
        if (state->program->stopped)
                state->program->stopped(&state->runtime);
        close_controllers(state);
        pthread_mutex_lock(&state->lock);
        state->led = true;
        pthread_cond_broadcast(&state->leader_end);
        pthread_mutex_unlock(&state->lock);
        return NULL;
}

static void start_leading(struct program_state *state)
{
        pthread_mutex_lock(&state->lock);
        if (!state->leading && context_cause(&state->process) == CONTEXT_RUNNING) {
                context_open(&state->leadership, &state->process, CLOCK_NEVER);
                state->led = false;
                if (pthread_create(&state->leader, NULL, leader_main, state) != 0)
                        threads_exhausted();
                state->leading = true;
        }
        pthread_mutex_unlock(&state->lock);
}

/* Waits for the leader's end; false if it does not come in time. */
static bool stop_leading(struct program_state *state, enum context_cause cause, int64_t grace_ms)
{
        struct timespec until = clock_timespec(clock_now_ms() + grace_ms);
        bool ended, ours;

        pthread_mutex_lock(&state->lock);
        if (state->leading)
                context_cancel(&state->leadership, cause);
        while (state->leading && !state->led && pthread_cond_timedwait(&state->leader_end, &state->lock, &until) == 0)
                ;
        ended = !state->leading || state->led;
        /* A lost lease and the end of the process may both wait: one of them joins. */
        ours = state->leading && state->led;
        if (ours)
                state->leading = false;
        pthread_mutex_unlock(&state->lock);
        if (ours) {
                pthread_join(state->leader, NULL);
                context_close(&state->leadership);
        }
        return ended;
}

/* --- election --- */

static void log_lease(const struct program_state *state, enum log_level level, const struct error *error, const char *message)
{
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        cleanup(free_string) char *lock = memory_printf("%s/%s", state->namespace, state->lease_object);

        log_field(&fields, "lock", lock);
        log_line(level, "runtime", NULL, &fields, error, "%s", message);
}

static void lease_event(struct program_state *state, const char *what)
{
        cleanup(json_free) struct json *object = json_new_object();
        struct json *metadata;

        json_set_string(object, "apiVersion", "coordination.k8s.io/v1");
        json_set_string(object, "kind", "Lease");
        metadata = json_object_at(object, "metadata");
        json_set_string(metadata, "namespace", state->namespace);
        json_set_string(metadata, "name", state->lease_object);
        event_record(state->recorder, object, EVENT_TRACE, "LeaderElection", NULL, "%s %s", lease_identity(state->lease), what);
}

static void lease_acquired(void *data)
{
        struct program_state *state = data;

        log_lease(state, LOG_INFO, NULL, "Successfully acquired lease");
        lease_event(state, "became leader");
        start_leading(state);
}

/* The fence is down already: what the runs still send stays here. They end at once, or the process does. */
static void lease_lost(void *data)
{
        struct program_state *state = data;

        log_lease(state, LOG_ERROR, NULL, "Failed to renew lease");
        lease_event(state, "stopped leading");
        if (!stop_leading(state, CONTEXT_LEASE_LOST, LOST_GRACE_MS)) {
                setup_error(NULL, "leader election lost, and not all runs ended in time");
                _exit(1);
        }
        log_lease(state, LOG_INFO, NULL, "Attempting to acquire leader lease...");
}

static void lease_failed(void *data, const struct error *error)
{
        log_lease(data, LOG_ERROR, error, "Failed to update lease");
}

static void start_election(struct program_state *state)
{
        state->lease_object = lease_name(state->program->name, state->flags.watch_label_selector);
        log_lease(state, LOG_INFO, NULL, "Attempting to acquire leader lease...");
        state->lease = lease_new(&(struct lease_options){
                .client = state->lease_client,
                .namespace = state->namespace,
                .name = state->lease_object,
                .duration_ms = state->flags.leader_election_lease_duration / DURATION_MILLISECOND,
                .renew_deadline_ms = state->flags.leader_election_renew_deadline / DURATION_MILLISECOND,
                .retry_ms = state->flags.leader_election_retry_period / DURATION_MILLISECOND,
                .release = state->flags.leader_election_release_on_cancel,
                .acquired = lease_acquired,
                .lost = lease_lost,
                .failed = lease_failed,
                .data = state,
        });
        kube_client_fence(state->client, lease_until, state->lease);
        lease_run(state->lease);
}

/* --- start --- */

static void notice(void *data, enum log_level level, const char *message)
{
        (void)data;
        log_line(level, NULL, NULL, NULL, NULL, "%s", message);
}

/* What was wrong with the configuration and is gone without: a file that cannot be read, the authority that pods are given. */
static void log_notes(const struct kube_config *config)
{
        struct view rest = view_of(config->notes ? config->notes : ""), line;

        while (view_split(&rest, '\n', &line))
                if (line.length)
                        log_line(LOG_ERROR, "setup", NULL, NULL, NULL, "%.*s", VIEW_ARGS(line));
}

static int new_client(struct program_state *state, struct kube_client **ret_client, struct error *error)
{
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(free_string) char *agent = kube_user_agent(state->program->name);

        TRY(kube_config_load(&config, error));
        if (!state->client) /* the first one: the lease has its own, of the same configuration */
                log_notes(config);
        return kube_client_new(state->io, &config,
                               &(struct kube_client_options){
                                       .user_agent = agent,
                                       .requests_per_second = state->flags.kube_api_qps,
                                       .burst = (unsigned)state->flags.kube_api_burst,
                                       .notice = notice,
                               },
                               ret_client, error);
}

static void set_namespace(struct program_state *state)
{
        const char *namespace = getenv("RUNTIME_NAMESPACE");

        if (namespace && *namespace)
                state->namespace = memory_string(namespace);
        else
                state->namespace = kube_config_pod_namespace();
        if (!*state->namespace) {
                free(state->namespace);
                state->namespace = memory_string("flux-system");
        }
}

/* Objects are ready to be reconciled, and wait for a worker. */
static bool pressed(void *data)
{
        struct program_state *state = data;
        bool any = false;

        pthread_mutex_lock(&state->lock);
        for (size_t i = 0; i < state->program->controller_count && !any; i++) {
                const struct controller_state *controller = state->program->controllers[i]->state;
                struct queue_counts counts;

                if (!controller)
                        continue;
                queue_counts(controller->queue, &counts);
                any = counts.ready > 0;
        }
        pthread_mutex_unlock(&state->lock);
        return any;
}

static int start(struct program_state *state, struct error *error)
{
        cleanup(buffer_release) struct buffer sandbox = BUFFER_NULL;

        if (!job_sandbox_describe(&sandbox))
                log_line(LOG_ERROR, "setup", NULL, NULL, NULL, "jobs run with a part of the sandbox missing: %s",
                         buffer_string(&sandbox));
        TRY(io_start(&state->io, error));
        set_namespace(state);
        if (new_client(state, &state->client, error) < 0)
                return error_wrap(error, "unable to get kubeconfig");
        if (state->flags.enable_leader_election)
                TRY(new_client(state, &state->lease_client, error));
        TRY(event_recorder_start(&(struct event_settings){ .controller = state->program->name,
                                                           .events_address = state->flags.events_addr,
                                                           .client = state->client,
                                                           .io = state->io,
                                                           .pressed = pressed,
                                                           .data = state },
                                 &state->recorder, error));
        state->runtime = (struct runtime){
                .program = state->program,
                .flags = &state->flags,
                .io = state->io,
                .client = state->client,
                .recorder = state->recorder,
                .context = &state->leadership,
                .namespace = state->namespace,
                .watch_namespace = state->flags.watch_all_namespaces ? NULL : state->namespace,
                .state = state,
        };
        program_metrics_register(state);
        return program_http_start(state, error);
}

/* --- run and end --- */

/*
 * What runs took goes back to the kernel soon after they have ended, and now and then while they go on; the rest of it when none comes for a while. Where many
 * objects come due all the time there is no such while: what was mapped for something rare (a start, a new connection, a build) goes now and then, too.
 */
static void tidy(struct program_state *state)
{
        if (atomic_exchange(&state->working, false)) {
                state->quiet_ticks = 0;
                if (++state->busy_ticks % BUSY_TICKS == 0)
                        memory_rest();
                else if (mallinfo2().fordblks >= FREE_LIMIT)
                        memory_trim();
                return;
        }
        if (state->busy_ticks)
                memory_trim();
        state->busy_ticks = 0;
        if (state->quiet_ticks < REST_TICKS && ++state->quiet_ticks == REST_TICKS)
                memory_rest();
}

static void look_around(struct program_state *state)
{
        tidy(state);
        pthread_mutex_lock(&state->lock);
        for (size_t i = 0; i < state->program->controller_count; i++)
                if (state->program->controllers[i]->state)
                        controller_check_wedged(state->program->controllers[i]);
        pthread_mutex_unlock(&state->lock);
}

/* Until a signal, or until a part ends the process. */
static void wait_for_end(struct program_state *state)
{
        for (;;) {
                cleanup(error_release) struct error error = ERROR_NULL;
                struct pollfd descriptor = { .fd = state->signals, .events = POLLIN };
                int r = context_poll(&state->process, &descriptor, 1, HOUSEKEEPING_MS, &error);

                if (r < 0)
                        return;
                if (r > 0) {
                        end_process(state, 0);
                        return;
                }
                look_around(state);
        }
}

/* A second signal during the end means now. */
static void *second_signal(void *argument)
{
        const struct program_state *state = argument;
        struct signalfd_siginfo info;

        while (read(state->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
                if (errno != EINTR)
                        return NULL;
        _exit(1);
}

static void finish(struct program_state *state)
{
        struct signalfd_siginfo info;
        pthread_t impatient;
        struct pollfd descriptor = { .fd = state->signals, .events = POLLIN };

        /* The first one is still to be read, if it was a signal. */
        if (poll(&descriptor, 1, 0) > 0 && read(state->signals, &info, sizeof(info)) < 0)
                setup_error(NULL, "cannot read a signal");
        if (pthread_create(&impatient, NULL, second_signal, state) == 0)
                pthread_detach(impatient);
        log_line(LOG_INFO, NULL, NULL, NULL, NULL, "Stopping and waiting for the runs to end");
        if (!stop_leading(state, CONTEXT_SHUTDOWN, state->flags.graceful_shutdown_timeout / DURATION_MILLISECOND)) {
                char grace[DURATION_TEXT];
                cleanup(error_release) struct error error = ERROR_NULL;

                error_set(&error, ERROR_TIMEOUT,
                          "failed waiting for all runnables to end within grace period of %s: context deadline exceeded",
                          duration_print(state->flags.graceful_shutdown_timeout, grace));
                setup_error(&error, "problem running manager");
                _exit(1);
        }
        program_http_stop(state);
        if (state->lease) {
                struct lease *lease = state->lease;

                event_recorder_stop(&state->recorder, EVENT_FLUSH_MS);
                lease_stop(&lease);
        }
}

static void stop(struct program_state *state)
{
        event_recorder_stop(&state->recorder, EVENT_FLUSH_MS);
        kube_client_release(&state->client);
        kube_client_release(&state->lease_client);
        io_stop(&state->io);
        free(state->namespace);
        free(state->lease_object);
        job_server_stop();
}

static int block_signals(void)
{
        sigset_t signals;

        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        pthread_sigmask(SIG_BLOCK, &signals, NULL);
        return signalfd(-1, &signals, SFD_CLOEXEC);
}

static int run(struct program_state *state)
{
        cleanup(error_release) struct error error = ERROR_NULL;

        state->signals = block_signals();
        crash_setup(state->program->name);
        if (start(state, &error) < 0) {
                setup_error(&error, "unable to start manager");
                stop(state);
                return 1;
        }
        log_line(LOG_INFO, "setup", NULL, NULL, NULL, "starting manager");
        if (state->flags.enable_leader_election)
                start_election(state);
        else
                start_leading(state);
        wait_for_end(state);
        finish(state);
        stop(state);
        return atomic_load(&state->exit_status);
}

/* As many as we may have, as Go takes them: connections and jobs are limited by themselves. With too few nothing works and nothing says why. */
static int take_descriptors(struct error *error)
{
        struct rlimit limit = { 0 };

        getrlimit(RLIMIT_NOFILE, &limit);
        exec_set_descriptors(limit.rlim_cur);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_max >= DESCRIPTORS)
                return 0;
        return error_set(error, ERROR_INVALID, "at most %llu files may be open at once (ulimit -n), and %d are needed",
                         (unsigned long long)limit.rlim_max, DESCRIPTORS);
}

int program_main(int argc, char **argv, const struct program *program)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        static struct program_state state; /* threads outlive a hasty end of this function */
        pthread_condattr_t monotonic;
        enum log_level level;
        int r;

        memory_tune();
        state.program = program;
        r = program_flags_parse(program, argc, argv, &state.flags, &error);
        if (r != 0) {
                if (r < 0)
                        fprintf(stderr, "%s\n", error_message(&error));
                program_usage(program, stderr);
                return r < 0 ? EXIT_USAGE : 0;
        }
        if (log_level_parse(state.flags.log_level, &level) < 0)
                level = LOG_INFO; /* to say so: the check below ends it */
        log_setup(level, strcmp(state.flags.log_encoding, "console") == 0);
        if (program_flags_check(program, &state.flags, &error) < 0 || take_descriptors(&error) < 0 ||
            job_server_start(program->prepare_jobs, &error) < 0) {
                setup_error(&error, "unable to start manager");
                return 1;
        }
        pthread_mutex_init(&state.lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&state.leader_end, &monotonic);
        pthread_condattr_destroy(&monotonic);
        context_open(&state.process, NULL, CLOCK_NEVER);
        return run(&state);
}
