/*
 * One kind: its queue, its workers, and what a run's end means to the queue.
 */
#include "kube/program_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "kube/client.h"
#include "kube/condition.h"
#include "kube/patch.h"
#include "kube/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES     ((size_t)512 << 10)
#define WEDGE_GRACE_MS  60000
#define WEDGE_MS        (10 * 60 * 1000) /* of a run that did not say how long it takes */
#define CRASH_LIMIT     2
#define STANDIN_LIMIT   252
#define STANDIN_IDLE_MS 1000
#define AGAIN_MS        1000 /* until a run is made again that the API server came back under */

bool controller_changed(const struct cache_object *old, const struct cache_object *new)
{
        if (old->generation != new->generation)
                return true;
        return new->requested_at && (!old->requested_at || strcmp(old->requested_at, new->requested_at) != 0);
}

struct cache *controller_cache(const struct controller *controller)
{
        return controller->state ? controller->state->source->cache : NULL;
}

/* --- into the queue --- */

static struct worker *running_worker(struct controller_state *state, const char *namespace, const char *name)
{
        for (unsigned i = 0; i < state->worker_count; i++) {
                struct worker *worker = &state->workers[i];

                if (worker->run && strcmp(worker->run->name, name) == 0 && strcmp(worker->run->namespace, namespace) == 0)
                        return worker;
        }
        return NULL;
}

static void supersede(struct controller_state *state, const char *namespace, const char *name, const char *kind,
                      const struct cache_object *trigger)
{
        struct worker *worker;

        pthread_mutex_lock(&state->lock);
        worker = running_worker(state, namespace, name);
        if (worker) {
                struct trigger *target = &worker->run->trigger;

                snprintf(target->kind, sizeof(target->kind), "%s", kind);
                snprintf(target->namespace, sizeof(target->namespace), "%s", trigger->namespace);
                snprintf(target->name, sizeof(target->name), "%s", trigger->name);
                snprintf(target->uid, sizeof(target->uid), "%s", trigger->uid);
                snprintf(target->resource_version, sizeof(target->resource_version), "%s", trigger->resource_version);
                context_cancel(worker->context, CONTEXT_SUPERSEDED);
        }
        pthread_mutex_unlock(&state->lock);
}

/* One of that name that is made next would wait for its end. The run that ends a deletion ends by itself. */
static void abandon(struct controller_state *state, const struct cache_object *gone)
{
        struct worker *worker;

        if (gone->deleting)
                return;
        pthread_mutex_lock(&state->lock);
        worker = running_worker(state, gone->namespace, gone->name);
        if (worker)
                context_cancel(worker->context, CONTEXT_GONE);
        pthread_mutex_unlock(&state->lock);
}

void controller_interrupt(struct controller *controller, const char *namespace, const char *name)
{
        struct controller_state *state = controller->state;
        struct worker *worker;

        pthread_mutex_lock(&state->lock);
        worker = running_worker(state, namespace, name);
        if (worker && worker->run->interruptible)
                context_cancel(worker->context, CONTEXT_SUPERSEDED);
        pthread_mutex_unlock(&state->lock);
}

void controller_enqueue_after(struct controller *controller, const char *namespace, const char *name, int priority,
                              int64_t delay_ms)
{
        queue_add_after(controller->state->queue, namespace, name, priority, delay_ms);
}

void controller_enqueue(struct controller *controller, const char *namespace, const char *name, int priority)
{
        queue_add(controller->state->queue, namespace, name, priority);
}

void controller_enqueue_all(struct controller *controller)
{
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;

        cache_list(controller_cache(controller), NULL, &list);
        for (size_t i = 0; i < list.count; i++) {
                controller_interrupt(controller, list.items[i]->namespace, list.items[i]->name);
                controller_enqueue(controller, list.items[i]->namespace, list.items[i]->name, QUEUE_PRIORITY_NORMAL);
        }
}

void controller_recovered(struct controller *controller)
{
        atomic_store(&controller->state->recovered_ms, clock_now_ms());
        queue_hurry(controller->state->queue);
}

void controller_enqueue_for(struct controller *controller, const char *namespace, const char *name, int priority, const char *kind,
                            const struct cache_object *trigger)
{
        /* In this order: the run that the event itself begins is not to be ended by it. */
        if (controller->state->supersede)
                supersede(controller->state, namespace, name, kind, trigger);
        queue_add(controller->state->queue, namespace, name, priority);
}

void controller_event(struct controller *controller, const struct cache_event *event)
{
        const struct cache_object *object = event->new;
        bool (*changed)(const struct cache_object *, const struct cache_object *) =
                controller->changed ? controller->changed : controller_changed;

        if (!object) {
                abandon(controller->state, event->old);
                program_metrics_forget(controller, event->old->namespace, event->old->name);
                queue_forget(controller->state->queue, event->old->namespace, event->old->name);
                if (controller->removed)
                        controller->removed(controller, event->old);
                return;
        }
        if (!event->old)
                controller_enqueue(controller, object->namespace, object->name,
                                   event->initial ? QUEUE_PRIORITY_INITIAL : QUEUE_PRIORITY_NORMAL);
        else if (changed(event->old, object))
                controller_enqueue_for(controller, object->namespace, object->name, QUEUE_PRIORITY_NORMAL, controller->kind->kind,
                                       object);
}

/* --- a run --- */

void reconcile_expect(struct reconcile *run, int64_t milliseconds)
{
        struct controller_state *state = run->controller->state;
        struct worker *worker;

        pthread_mutex_lock(&state->lock);
        worker = running_worker(state, run->namespace, run->name);
        if (worker)
                worker->expected_ms = clock_now_ms() + milliseconds;
        pthread_mutex_unlock(&state->lock);
}

bool reconcile_trigger(struct reconcile *run, struct trigger *ret_trigger)
{
        pthread_mutex_lock(&run->controller->state->lock);
        *ret_trigger = run->trigger;
        pthread_mutex_unlock(&run->controller->state->lock);
        return *ret_trigger->name;
}

static void log_run(struct reconcile *run)
{
        const struct kind *kind = run->controller->kind;
        cleanup(buffer_release) struct buffer object = BUFFER_NULL;
        char name[CONTROLLER_NAME];

        log_field(&run->log, "controller", controller_name(run->controller, name));
        log_field(&run->log, "controllerGroup", kind->group);
        log_field(&run->log, "controllerKind", kind->kind);
        buffer_add_string(&object, "{\"name\":\"");
        buffer_add_json(&object, view_of(run->name));
        buffer_add_string(&object, "\",\"namespace\":\"");
        buffer_add_json(&object, view_of(run->namespace));
        buffer_add_string(&object, "\"}");
        log_field_json(&run->log, kind->kind, buffer_view(&object));
        log_field(&run->log, "namespace", run->namespace);
        log_field(&run->log, "name", run->name);
        log_field(&run->log, "reconcileID", run->id);
}

/* What the run's end means to the queue; returns the label `result`. */
static const char *settle(struct reconcile *run, int r, const struct error *error)
{
        struct queue *queue = run->controller->state->queue;

        if (r != 0) {
                /* Who was told to stop has nothing to report. */
                if (error->kind == ERROR_CANCELLED)
                        log_debug(&run->log, "run was cancelled: %s", error_message(error));
                else
                        log_error(&run->log, error, "Reconciler error");
                if (!run->terminal && run->retry_limit_ms > 0)
                        queue_add_after(queue, run->namespace, run->name, run->priority, run->retry_limit_ms);
                if (!run->terminal)
                        queue_add_limited(queue, run->namespace, run->name, run->priority);
                return "error";
        }
        if (run->requeue_after_ms > 0) {
                queue_forget(queue, run->namespace, run->name);
                if (run->failed)
                        queue_add_retry(queue, run->namespace, run->name, run->priority, run->requeue_after_ms);
                else
                        queue_add_after(queue, run->namespace, run->name, run->priority, run->requeue_after_ms);
                return "requeue_after";
        }
        if (run->requeue) {
                queue_add_limited(queue, run->namespace, run->name, run->priority);
                return "requeue";
        }
        queue_forget(queue, run->namespace, run->name);
        return "success";
}

/* An object that ended the process again and again: says so in its status, and is not run. */
static int refuse(struct context *context, struct reconcile *run, struct error *error)
{
        static const char *const owned[] = { CONDITION_READY, CONDITION_STALLED, CONDITION_RECONCILING, NULL };
        const struct kind *kind = run->controller->kind;
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error failure = ERROR_NULL;

        run->terminal = true;
        object_patch_begin(&patch, run->runtime->client,
                           kube_resource_intern(kind->group, kind->version, kind->kind, kind->plural, true),
                           run->runtime->program->name, owned, run->object);
        error_set_reason(error, ERROR_INTERNAL, "ControllerCrashed",
                         "the controller crashed %d times while it worked on this generation, which is left alone until it changes",
                         CRASH_LIMIT);
        condition_finish(run->object, CONDITION_GIVE_UP, error, NULL, 0, NULL);
        if (object_patch_write(context, &patch, run->object, &failure) < 0)
                log_error(&run->log, &failure, "unable to write the status");
        return -1;
}

#define OBJECT_GONE 1

/* As cached; but a watch that is blind does not end the work, and nothing is done that was asked for long ago. OBJECT_GONE: it is not there any more. */
static int read_object(struct context *context, struct reconcile *run, struct error *error)
{
        const struct kind *kind = run->controller->kind;

        if (watch_current(run->controller->state->source->watch)) {
                if (json_parse(run->cached->text, &run->object, error) == 0)
                        return 0;
                run->terminal = true;
                return error_wrap(error, "read %s %s/%s", kind->kind, run->namespace, run->name);
        }
        if (kube_get(context, run->runtime->client,
                     kube_resource_intern(kind->group, kind->version, kind->kind, kind->plural, true), run->namespace, run->name,
                     &run->object, error) == 0)
                return 0;
        if (!kube_is_absent(error)) {
                run->retry_limit_ms = RECONCILE_BLIND_MS;
                return error_wrap(error, "read %s %s/%s, which cannot be watched", kind->kind, run->namespace, run->name);
        }
        error_release(error);
        return OBJECT_GONE;
}

static int call_reconcile(struct worker *worker, struct context *context, struct reconcile *run, struct error *error)
{
        cleanup(free_string) char *what = memory_printf("%s %s/%s %lld", run->controller->kind->kind, run->namespace, run->name,
                                                        (long long)run->cached->generation);
        int r = read_object(context, run, error);

        if (r != 0)
                return r == OBJECT_GONE ? 0 : -1;
        if (crash_count(what) >= CRASH_LIMIT)
                return refuse(context, run, error);
        pthread_mutex_lock(&worker->controller->state->lock);
        worker->run = run;
        worker->context = context;
        worker->started_ms = clock_now_ms();
        worker->expected_ms = worker->started_ms + WEDGE_MS;
        worker->reported = false;
        pthread_mutex_unlock(&worker->controller->state->lock);
        crash_running(what);

        r = run->controller->reconcile(context, run, error);

        crash_running(NULL);
        pthread_mutex_lock(&worker->controller->state->lock);
        worker->run = NULL;
        worker->context = NULL;
        pthread_mutex_unlock(&worker->controller->state->lock);
        return r;
}

/* True if it ended in a turn, not in the place in which it began. */
static bool run_item(struct worker *worker, const struct queue_item *item)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(context_close) struct context context;
        cleanup(cache_object_release) const struct cache_object *cached = NULL, *now = NULL;
        struct controller *controller = worker->controller;
        int64_t started = clock_now_ns(), started_ms = clock_now_ms();
        double waited = (double)(clock_now_ms() - item->ready_at_ms) / 1e3;
        struct reconcile run = {
                .runtime = controller->runtime,
                .controller = controller,
                .namespace = item->namespace,
                .name = item->name,
                .arena = worker->arena,
                .priority = item->priority,
                .retry = item->retry,
        };
        const char *result;
        int r;

        context_open(&context, controller->runtime->context, CLOCK_NEVER);
        cached = cache_get(controller_cache(controller), item->namespace, item->name);
        if (!cached) {
                /* Gone; what was kept about it went with its last event. */
                queue_forget(controller->state->queue, item->namespace, item->name);
                return false;
        }
        run.cached = cached;
        uuid_print(run.id);
        log_run(&run);
        r = call_reconcile(worker, &context, &run, &error);
        if (context_cause(&context) == CONTEXT_GONE) {
                run.requeue_after_ms = 0;
                run.requeue = false;
        }
        result = settle(&run, r, &error);
        /* It failed while the API server was away, and nobody will hurry it any more. */
        if ((r != 0 ? !run.terminal : run.failed) && atomic_load(&controller->state->recovered_ms) >= started_ms)
                queue_add_after(controller->state->queue, run.namespace, run.name, run.priority, AGAIN_MS);
        program_metrics_run(controller, item->namespace, item->name, result, r != 0 && run.terminal,
                            (double)(clock_now_ns() - started) / 1e9, waited);
        /* The event that an object is gone may come while its last run still goes on, before that run is counted. */
        now = cache_get(controller_cache(controller), item->namespace, item->name);
        if (!now)
                program_metrics_forget(controller, item->namespace, item->name);
        json_free(&run.object);
        log_fields_release(&run.log);
        arena_reset(worker->arena);
        atomic_store(&controller->runtime->state->working, true);
        return run.returned;
}

/* --- places --- */

static unsigned concurrency_of(const struct controller *controller)
{
        return controller->concurrency ? controller->concurrency : (unsigned)controller->runtime->flags->concurrent;
}

/*
 * On the stack of a worker that waits for a place. Each is woken by itself, and the one that came last first: of many stand-ins those that are not needed
 * any more idle, and end.
 */
struct applicant {
        struct applicant *next;
        struct worker *worker;
        pthread_cond_t come;
        bool placed;
};

/* One that is always there, and takes whatever comes. */
static bool is_regular(const struct worker *worker)
{
        return !worker->standin && !worker->fresh_only;
}

/*
 * One place is kept for the worker that does fresh work only, while it has none. A stand-in leaves what is free to a worker that is always there and has
 * none at the moment.
 */
static bool place_free(const struct controller_state *state, const struct worker *worker)
{
        if (worker->standin && state->placeless)
                return false;
        return state->places > (state->concurrency > 1 && !worker->fresh_only && !state->fresh_placed ? 1U : 0U);
}

static void place(struct controller_state *state, const struct worker *worker)
{
        state->places--;
        state->fresh_placed |= worker->fresh_only;
}

static void leave_line(struct controller_state *state, struct applicant **link)
{
        state->placeless -= is_regular((*link)->worker);
        *link = (*link)->next;
}

static struct applicant **next_to_place(struct controller_state *state)
{
        struct applicant **link = &state->applicants;

        while (*link && !place_free(state, (*link)->worker))
                link = &(*link)->next;
        return link;
}

/* With the lock held, after a place became free. */
static void fill_places(struct controller_state *state)
{
        struct applicant **link;

        while (state->places && *(link = next_to_place(state))) {
                struct applicant *applicant = *link;

                leave_line(state, link);
                place(state, applicant->worker);
                applicant->placed = true;
                pthread_cond_signal(&applicant->come);
        }
}

/* With the lock held. */
static bool wait_for_place(struct controller_state *state, struct worker *worker)
{
        struct applicant applicant = { .next = state->applicants, .worker = worker }, **link;
        const struct timespec until = clock_timespec(clock_now_ms() + STANDIN_IDLE_MS);
        pthread_condattr_t monotonic;
        int r = 0;

        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&applicant.come, &monotonic);
        pthread_condattr_destroy(&monotonic);
        state->placeless += is_regular(worker);
        state->applicants = &applicant;
        while (!applicant.placed && !state->stopping && r == 0)
                r = worker->standin ? pthread_cond_timedwait(&applicant.come, &state->lock, &until)
                                    : pthread_cond_wait(&applicant.come, &state->lock);
        if (!applicant.placed) {
                for (link = &state->applicants; *link != &applicant; link = &(*link)->next)
                        ;
                leave_line(state, link);
        }
        pthread_cond_destroy(&applicant.come);
        return applicant.placed;
}

/* False when the workers are to end, or a stand-in has idled for long. */
static bool take_place(struct worker *worker)
{
        struct controller_state *state = worker->controller->state;
        bool taken;

        pthread_mutex_lock(&state->lock);
        taken = !state->stopping && place_free(state, worker);
        if (taken)
                place(state, worker);
        else if (!state->stopping)
                taken = wait_for_place(state, worker);
        pthread_mutex_unlock(&state->lock);
        return taken;
}

static void give_place(struct worker *worker, bool returned)
{
        struct controller_state *state = worker->controller->state;

        if (returned)
                turns_leave(&state->turns);
        pthread_mutex_lock(&state->lock);
        state->places += !returned;
        if (worker->fresh_only)
                state->fresh_placed = false;
        fill_places(state);
        pthread_mutex_unlock(&state->lock);
}

/* What there is to do. NULL: the workers are to end, or a stand-in has idled for long in a place that a worker wants. */
static const struct queue_item *next_item(struct worker *worker)
{
        struct controller_state *state = worker->controller->state;
        const struct queue_item *item;
        bool stay;

        if (!worker->standin)
                return queue_take(state->queue, worker->fresh_only, CLOCK_NEVER);
        do {
                item = queue_take(state->queue, false, clock_now_ms() + STANDIN_IDLE_MS);
                pthread_mutex_lock(&state->lock);
                stay = !state->placeless && !state->stopping;
                pthread_mutex_unlock(&state->lock);
        } while (!item && stay);
        return item;
}

static void work(struct worker *worker)
{
        struct controller_state *state = worker->controller->state;
        const struct queue_item *item;

        while (take_place(worker)) {
                bool returned = false;

                item = next_item(worker);
                if (item) {
                        returned = run_item(worker, item);
                        queue_done(state->queue, item);
                }
                give_place(worker, returned);
                if (!item)
                        break;
        }
}

static void *worker_main(void *argument)
{
        struct worker *worker = argument;

        pthread_mutex_lock(&worker->controller->state->lock);
        worker->tid = (int)syscall(SYS_gettid);
        pthread_mutex_unlock(&worker->controller->state->lock);
        worker->arena = arena_new();
        crash_thread_begin();
        work(worker);
        crash_thread_end();
        arena_free(&worker->arena);
        return NULL;
}

static void *standin_main(void *argument)
{
        struct worker *worker = argument;
        struct controller_state *state = worker->controller->state;

        worker->arena = arena_new();
        crash_thread_begin();
        work(worker);
        crash_thread_end();
        arena_free(&worker->arena);
        pthread_mutex_lock(&state->lock);
        worker->alive = false;
        state->standins--;
        pthread_cond_signal(&state->standins_gone);
        pthread_mutex_unlock(&state->lock);
        return NULL;
}

static int start_thread(struct worker *worker, void *(*main_function)(void *argument), bool detached)
{
        char name[CONTROLLER_NAME], thread_name[16];
        pthread_attr_t attributes;
        int r;

        snprintf(thread_name, sizeof(thread_name), "%.15s", controller_name(worker->controller, name));
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        pthread_attr_setdetachstate(&attributes, detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
        r = pthread_create(&worker->thread, &attributes, main_function, worker);
        if (r == 0)
                pthread_setname_np(worker->thread, thread_name);
        pthread_attr_destroy(&attributes);
        return r;
}

/* With the lock held. Without a thread to spare the run keeps its place in effect: nothing breaks, it is only slower. */
static void start_standin(struct controller *controller)
{
        struct controller_state *state = controller->state;

        for (unsigned i = state->concurrency; i < state->concurrency + STANDIN_LIMIT; i++) {
                struct worker *worker = &state->workers[i];

                if (worker->alive)
                        continue;
                *worker = (struct worker){ .controller = controller, .alive = true, .standin = true };
                if (start_thread(worker, standin_main, true) != 0) {
                        worker->alive = false;
                        return;
                }
                state->standins++;
                if (state->worker_count < i + 1)
                        state->worker_count = i + 1;
                return;
        }
}

unsigned reconcile_most(const struct reconcile *run)
{
        return 2 * concurrency_of(run->controller);
}

void reconcile_interruptible(struct reconcile *run)
{
        struct controller_state *state = run->controller->state;

        pthread_mutex_lock(&state->lock);
        run->interruptible = true;
        pthread_mutex_unlock(&state->lock);
}

void reconcile_wait_begin(struct reconcile *run)
{
        struct controller_state *state = run->controller->state;

        if (run->returned) {
                run->returned = false;
                turns_leave(&state->turns);
                return;
        }
        pthread_mutex_lock(&state->lock);
        state->places++;
        if (!state->applicants && !state->stopping)
                start_standin(run->controller);
        fill_places(state);
        pthread_mutex_unlock(&state->lock);
}

void reconcile_wait_end(struct reconcile *run)
{
        turns_take(&run->controller->state->turns);
        run->returned = true;
}

/* --- life --- */

void controller_open(struct controller *controller, const struct runtime *runtime)
{
        struct controller_state *state = memory_zero(1, sizeof(*state));

        pthread_mutex_init(&state->lock, NULL);
        pthread_cond_init(&state->standins_gone, NULL);
        state->queue = queue_new(&(struct queue_options){
                .base_delay_ms = runtime->flags->min_retry_delay / DURATION_MILLISECOND,
                .maximum_delay_ms = runtime->flags->max_retry_delay / DURATION_MILLISECOND,
        });
        state->supersede = controller->supersede_gate && runtime_gate(runtime, controller->supersede_gate);
        controller->runtime = runtime;
        turns_init(&state->turns, concurrency_of(controller));
        controller->state = state;
}

void controller_close(struct controller *controller)
{
        struct controller_state *state = controller->state;

        controller->state = NULL;
        queue_free(&state->queue);
        turns_destroy(&state->turns);
        pthread_cond_destroy(&state->standins_gone);
        pthread_mutex_destroy(&state->lock);
        free(state->workers);
        free(state);
}

void controller_start_workers(struct controller *controller)
{
        struct controller_state *state = controller->state;
        unsigned count = concurrency_of(controller);
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        char name[CONTROLLER_NAME];

        log_field(&fields, "controller", controller_name(controller, name));
        log_field(&fields, "controllerGroup", controller->kind->group);
        log_field(&fields, "controllerKind", controller->kind->kind);
        log_field_integer(&fields, "worker count", count);
        log_info(&fields, "Starting workers");
        pthread_mutex_lock(&state->lock);
        free(state->workers);
        state->workers = memory_zero(count + STANDIN_LIMIT, sizeof(*state->workers));
        state->worker_count = state->concurrency = count;
        state->places = count;
        state->stopping = state->fresh_placed = false;
        for (unsigned i = 0; i < count; i++) {
                /* The last of several is for fresh work alone. */
                state->workers[i] =
                        (struct worker){ .controller = controller, .alive = true, .fresh_only = count > 1 && i == count - 1 };
                if (start_thread(&state->workers[i], worker_main, false) != 0)
                        threads_exhausted();
        }
        pthread_mutex_unlock(&state->lock);
}

void controller_stop_workers(struct controller *controller)
{
        struct controller_state *state = controller->state;

        pthread_mutex_lock(&state->lock);
        state->stopping = true;
        for (struct applicant *applicant = state->applicants; applicant; applicant = applicant->next)
                pthread_cond_signal(&applicant->come);
        pthread_mutex_unlock(&state->lock);
        turns_open(&state->turns);
        queue_shut_down(state->queue);
        for (unsigned i = 0; i < state->concurrency; i++)
                pthread_join(state->workers[i].thread, NULL);
        pthread_mutex_lock(&state->lock);
        while (state->standins)
                pthread_cond_wait(&state->standins_gone, &state->lock);
        state->worker_count = state->concurrency = 0;
        pthread_mutex_unlock(&state->lock);
}

/* --- what it is doing --- */

/* One line of /proc/self/task/<tid>/<file>: where the thread waits. */
static void add_task_file(struct buffer *text, int tid, const char *name)
{
        char path[64], line[128] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
        file = fopen(path, "re");
        if (!file)
                return;
        if (fgets(line, sizeof(line), file))
                line[strcspn(line, "\n")] = '\0';
        fclose(file);
        if (*line)
                buffer_printf(text, " %s=%s", name, line);
}

static void describe(const struct worker *worker, struct buffer *text)
{
        char name[CONTROLLER_NAME];

        buffer_printf(text, "%s worker tid=%d%s", controller_name(worker->controller, name), worker->tid,
                      worker->fresh_only ? " (fresh work only)" : "");
        if (!worker->run) {
                buffer_add_string(text, " idle\n");
                return;
        }
        buffer_printf(text, " runs %s/%s reconcileID=%s for %lld ms, cause=%d", worker->run->namespace, worker->run->name,
                      worker->run->id, (long long)(clock_now_ms() - worker->started_ms), (int)context_cause(worker->context));
        add_task_file(text, worker->tid, "wchan");
        add_task_file(text, worker->tid, "syscall");
        buffer_add_char(text, '\n');
}

void controller_describe_workers(const struct controller *controller, struct buffer *text)
{
        struct controller_state *state = controller->state;

        pthread_mutex_lock(&state->lock);
        for (unsigned i = 0; i < state->worker_count; i++)
                if (state->workers[i].alive)
                        describe(&state->workers[i], text);
        pthread_mutex_unlock(&state->lock);
}

void controller_check_wedged(struct controller *controller)
{
        struct controller_state *state = controller->state;
        int64_t now = clock_now_ms();

        pthread_mutex_lock(&state->lock);
        for (unsigned i = 0; i < state->worker_count; i++) {
                struct worker *worker = &state->workers[i];
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                if (!worker->run || worker->reported || now < worker->expected_ms + WEDGE_GRACE_MS)
                        continue;
                worker->reported = true;
                describe(worker, &text);
                text.data[text.length - 1] = '\0';
                log_line(LOG_ERROR, NULL, &worker->run->log, NULL, NULL, "a run is far past its deadline: %s",
                         buffer_string(&text));
        }
        pthread_mutex_unlock(&state->lock);
}
