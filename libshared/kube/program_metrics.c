/*
 * What controller-runtime's dashboards and Flux's own look at, by the same names.
 */
#include "kube/program_private.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdio.h>

static const char *const controller_labels[] = { "controller" };
static const char *const result_labels[] = { "controller", "result" };
static const char *const queue_labels[] = { "name", "controller" };
static const char *const depth_labels[] = { "name", "controller", "priority" };
static const char *const object_labels[] = { "kind", "name", "namespace" };
static const char *const name_labels[] = { "name" };

static const double reconcile_buckets[] = { .005, .01, .025, .05, .1,   .15, .2,   .25, .3,  .35, .4,  .45, .5,  .6,
                                            .7,   .8,  .9,   1,   1.25, 1.5, 1.75, 2,   2.5, 3,   3.5, 4,   4.5, 5,
                                            6,    7,   8,    9,   10,   15,  20,   25,  30,  40,  50,  60 };
static const double queue_buckets[] = { 1e-08, 1e-07, 1e-06, 9.999999999999999e-06, 9.999999999999999e-05, .001, .01, .1, 1,
                                        10,    100,   1000 };
/* 0.01 * 180000^(i/9) */
static const double duration_buckets[] = { 0.01,
                                           0.038363583488692544,
                                           0.1471764538093883,
                                           0.5646216173286169,
                                           2.1660908555907006,
                                           8.309900738254731,
                                           31.87975707547831,
                                           122.3021722164349,
                                           469.1949594673653,
                                           1799.9999999999982 };

static struct {
        struct metric *total, *errors, *terminal, *panics, *timeouts, *seconds, *concurrency, *active;
        struct metric *depth, *adds, *retries, *waited, *worked, *unfinished, *longest;
        struct metric *duration, *leader;
} metrics;

#define LENGTH(array)                        (sizeof(array) / sizeof((array)[0]))
#define METRIC(type_, name_, help_, labels_) metric_new(type_, name_, help_, labels_, LENGTH(labels_), NULL, 0)
#define HISTOGRAM(name_, help_, labels_, buckets_)                                                                                 \
        metric_new(METRIC_HISTOGRAM, name_, help_, labels_, LENGTH(labels_), buckets_, LENGTH(buckets_))

const char *controller_name(const struct controller *controller, char text[CONTROLLER_NAME])
{
        size_t i = 0;

        for (; controller->kind->kind[i] && i < CONTROLLER_NAME - 1; i++)
                text[i] = (char)tolower((unsigned char)controller->kind->kind[i]);
        text[i] = '\0';
        return text;
}

struct depth_of {
        const char *name;
};

static void set_depth(void *data, int priority, size_t count)
{
        const struct depth_of *of = data;
        char text[16];

        snprintf(text, sizeof(text), "%d", priority);
        metric_set(metrics.depth, (double)count, METRIC_VALUES(of->name, of->name, text));
}

static void collect_controller(struct controller *controller)
{
        struct controller_state *state = controller->state;
        double unfinished = 0, longest = 0, active = 0;
        struct queue_counts counts;
        char name[CONTROLLER_NAME];
        int64_t now = clock_now_ms();

        controller_name(controller, name);
        queue_counts(state->queue, &counts);
        queue_depths(state->queue, set_depth, &(struct depth_of){ name });
        metric_set(metrics.adds, (double)counts.adds, METRIC_VALUES(name, name));
        metric_set(metrics.retries, (double)counts.retries, METRIC_VALUES(name, name));
        pthread_mutex_lock(&state->lock);
        for (unsigned i = 0; i < state->worker_count; i++) {
                double seconds = (double)(now - state->workers[i].started_ms) / 1e3;

                if (!state->workers[i].run)
                        continue;
                active++;
                unfinished += seconds;
                if (seconds > longest)
                        longest = seconds;
        }
        metric_set(metrics.concurrency, state->concurrency, METRIC_VALUES(name));
        pthread_mutex_unlock(&state->lock);
        metric_set(metrics.active, active, METRIC_VALUES(name));
        metric_set(metrics.unfinished, unfinished, METRIC_VALUES(name, name));
        metric_set(metrics.longest, longest, METRIC_VALUES(name, name));
}

static void collect(void *argument)
{
        struct program_state *state = argument;

        pthread_mutex_lock(&state->lock);
        for (size_t i = 0; i < state->program->controller_count; i++)
                if (state->program->controllers[i]->state)
                        collect_controller(state->program->controllers[i]);
        pthread_mutex_unlock(&state->lock);
        if (state->lease)
                metric_set(metrics.leader, lease_held(state->lease), METRIC_VALUES(state->lease_object));
}

void program_metrics_register(struct program_state *state)
{
        static const char *const results[] = { "error", "requeue", "requeue_after", "success" };

        metrics_register_process();
        metrics.active = METRIC(METRIC_GAUGE, "controller_runtime_active_workers",
                                "Number of currently used workers per controller.", controller_labels);
        metrics.concurrency = METRIC(METRIC_GAUGE, "controller_runtime_max_concurrent_reconciles",
                                     "Maximum number of concurrent reconciles per controller.", controller_labels);
        metrics.errors = METRIC(METRIC_COUNTER, "controller_runtime_reconcile_errors_total",
                                "Total number of reconciliation errors per controller.", controller_labels);
        metrics.panics = METRIC(METRIC_COUNTER, "controller_runtime_reconcile_panics_total",
                                "Total number of reconciliation panics per controller.", controller_labels);
        metrics.timeouts = METRIC(METRIC_COUNTER, "controller_runtime_reconcile_timeouts_total",
                                  "Total number of reconciliation timeouts per controller.", controller_labels);
        metrics.terminal = METRIC(METRIC_COUNTER, "controller_runtime_terminal_reconcile_errors_total",
                                  "Total number of terminal reconciliation errors per controller.", controller_labels);
        metrics.total = METRIC(METRIC_COUNTER, "controller_runtime_reconcile_total",
                               "Total number of reconciliations per controller.", result_labels);
        metrics.seconds = HISTOGRAM("controller_runtime_reconcile_time_seconds",
                                    "Length of time per reconciliation per controller.", controller_labels, reconcile_buckets);
        metrics.duration =
                HISTOGRAM("gotk_reconcile_duration_seconds", "The duration in seconds of a GitOps Toolkit resource reconciliation.",
                          object_labels, duration_buckets);
        metrics.leader = METRIC(METRIC_GAUGE, "leader_election_master_status", "1 if this process is the leader, 0 if it is not.",
                                name_labels);
        metrics.depth =
                METRIC(METRIC_GAUGE, "workqueue_depth", "Current depth of workqueue by workqueue and priority.", depth_labels);
        metrics.adds = METRIC(METRIC_COUNTER, "workqueue_adds_total", "Total number of adds handled by workqueue.", queue_labels);
        metrics.retries =
                METRIC(METRIC_COUNTER, "workqueue_retries_total", "Total number of retries handled by workqueue.", queue_labels);
        metrics.waited =
                HISTOGRAM("workqueue_queue_duration_seconds",
                          "How long in seconds an item stays in workqueue before being requested.", queue_labels, queue_buckets);
        metrics.worked = HISTOGRAM("workqueue_work_duration_seconds",
                                   "How long in seconds processing an item from workqueue takes.", queue_labels, queue_buckets);
        metrics.unfinished =
                METRIC(METRIC_GAUGE, "workqueue_unfinished_work_seconds",
                       "How many seconds of work is in progress and has not been observed by work_duration.", queue_labels);
        metrics.longest = METRIC(METRIC_GAUGE, "workqueue_longest_running_processor_seconds",
                                 "How many seconds the longest running processor has been running.", queue_labels);
        for (size_t i = 0; i < state->program->controller_count; i++) {
                char name[CONTROLLER_NAME];

                controller_name(state->program->controllers[i], name);
                for (size_t r = 0; r < LENGTH(results); r++)
                        metric_add(metrics.total, 0, METRIC_VALUES(name, results[r]));
                metric_add(metrics.errors, 0, METRIC_VALUES(name));
                metric_add(metrics.terminal, 0, METRIC_VALUES(name));
                metric_add(metrics.panics, 0, METRIC_VALUES(name));
                metric_add(metrics.timeouts, 0, METRIC_VALUES(name));
                metric_add(metrics.waited, 0, METRIC_VALUES(name, name));
                metric_add(metrics.worked, 0, METRIC_VALUES(name, name));
        }
        metrics_collect(collect, state);
}

void program_metrics_run(const struct controller *controller, const char *namespace, const char *name, const char *result,
                         bool terminal, double seconds, double waited_seconds)
{
        char label[CONTROLLER_NAME];

        controller_name(controller, label);
        metric_add(metrics.total, 1, METRIC_VALUES(label, result));
        if (result[0] == 'e')
                metric_add(metrics.errors, 1, METRIC_VALUES(label));
        if (terminal)
                metric_add(metrics.terminal, 1, METRIC_VALUES(label));
        metric_observe(metrics.seconds, seconds, METRIC_VALUES(label));
        metric_observe(metrics.worked, seconds, METRIC_VALUES(label, label));
        metric_observe(metrics.waited, waited_seconds, METRIC_VALUES(label, label));
        metric_observe(metrics.duration, seconds, METRIC_VALUES(controller->kind->kind, name, namespace));
}

void program_metrics_forget(const struct controller *controller, const char *namespace, const char *name)
{
        metric_remove(metrics.duration, METRIC_VALUES(controller->kind->kind, name, namespace));
}
