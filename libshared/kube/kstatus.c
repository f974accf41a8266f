#include "kube/kstatus.h"

#include "base/clock.h"
#include "kube/condition.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A Pod that cannot be scheduled has failed after this; younger ones may wait for a new node. */
#define SCHEDULE_WINDOW_US ((int64_t)15 * 1000000)

struct reader {
        const struct json *object;
        const struct json *spec, *status;
        int64_t wall_us;
        struct buffer *message;
};

const char *kstatus_name(enum kstatus status)
{
        static const char *const names[] = {
                [KSTATUS_UNKNOWN] = "Unknown", [KSTATUS_CURRENT] = "Current",         [KSTATUS_IN_PROGRESS] = "InProgress",
                [KSTATUS_FAILED] = "Failed",   [KSTATUS_TERMINATING] = "Terminating", [KSTATUS_NOT_FOUND] = "NotFound",
        };

        return names[status];
}

static enum kstatus found(const struct reader *reader, enum kstatus status, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));

static enum kstatus found(const struct reader *reader, enum kstatus status, const char *format, ...)
{
        va_list arguments;

        if (!reader->message)
                return status;
        buffer_clear(reader->message);
        va_start(arguments, format);
        buffer_vprintf(reader->message, format, arguments);
        va_end(arguments);
        return status;
}

#define IN_PROGRESS(reader, ...) found((reader), KSTATUS_IN_PROGRESS, __VA_ARGS__)
#define CURRENT(reader, ...)     found((reader), KSTATUS_CURRENT, __VA_ARGS__)
#define FAILED(reader, ...)      found((reader), KSTATUS_FAILED, __VA_ARGS__)

static int64_t number(const struct json *from, const char *member, int64_t fallback)
{
        return json_integer(json_get(from, member), fallback);
}

static const char *text(const struct json *from, const char *member)
{
        return json_string(json_get(from, member), "");
}

static bool condition_is(const struct json *condition, const char *status)
{
        return !strcmp(text(condition, "status"), status);
}

/* One count of a workload that has to reach another: "Available: 0/1". */
struct gauge {
        const char *name;
        int64_t is, wanted;
};

static bool short_of(const struct gauge *gauge)
{
        return gauge->is < gauge->wanted;
}

static const struct gauge *first_short(const struct gauge *gauges, size_t count)
{
        size_t i;

        for (i = 0; i < count; i++)
                if (short_of(&gauges[i]))
                        return &gauges[i];
        return NULL;
}

#define GAUGE_TEXT(gauge) "%s: %lld/%lld", (gauge)->name, (long long)(gauge)->is, (long long)(gauge)->wanted

static enum kstatus always_current(const struct reader *reader)
{
        return CURRENT(reader, "Resource is always ready");
}

static enum kstatus service(const struct reader *reader)
{
        if (!strcmp(text(reader->spec, "type"), "LoadBalancer") && !*text(reader->spec, "clusterIP"))
                return IN_PROGRESS(reader, "ClusterIP not set. Service type: LoadBalancer");
        return CURRENT(reader, "Service is ready");
}

static enum kstatus claim(const struct reader *reader)
{
        const char *phase = text(reader->status, "phase");

        if (strcmp(phase, "Bound") != 0)
                return IN_PROGRESS(reader, "PVC is not Bound. phase: %s", *phase ? phase : "unknown");
        return CURRENT(reader, "PVC is Bound");
}

static const char *crash_looping(const struct reader *reader)
{
        const struct json *containers = json_get(reader->status, "containerStatuses");
        size_t i, count = json_length(containers);

        for (i = 0; i < count; i++) {
                const struct json *container = json_at(containers, i);

                if (!strcmp(json_string(JSON_PATH(container, "state", "waiting", "reason"), ""), "CrashLoopBackOff"))
                        return text(container, "name");
        }
        return NULL;
}

static bool unschedulable(const struct json *pod)
{
        const struct json *scheduled = condition_get(pod, "PodScheduled");

        return condition_is(scheduled, CONDITION_FALSE) && !strcmp(text(scheduled, "reason"), "Unschedulable");
}

static enum kstatus pod(const struct reader *reader)
{
        const char *phase = text(reader->status, "phase");
        const char *looping = crash_looping(reader);
        int64_t created_us = 0;

        if (!strcmp(phase, "Succeeded"))
                return CURRENT(reader, "Pod has completed successfully");
        if (!strcmp(phase, "Failed"))
                return CURRENT(reader, "Pod has completed, but not successfully");
        if (!strcmp(phase, "Running")) {
                if (condition_is_true(reader->object, "Ready"))
                        return CURRENT(reader, "Pod is Ready");
                if (looping)
                        return FAILED(reader, "Containers in CrashLoop state: %s", looping);
                return IN_PROGRESS(reader, "Pod is running but is not Ready");
        }
        if (!strcmp(phase, "Pending")) {
                if (!unschedulable(reader->object))
                        return IN_PROGRESS(reader, "Pod is in the Pending phase");
                if (time_parse(json_view(JSON_PATH(reader->object, "metadata", "creationTimestamp")), &created_us) == 0 &&
                    reader->wall_us - created_us < SCHEDULE_WINDOW_US)
                        return IN_PROGRESS(reader, "Pod has not been scheduled");
                return FAILED(reader, "Pod could not be scheduled");
        }
        if (!*phase)
                return IN_PROGRESS(reader, "Pod phase not available");
        return found(reader, KSTATUS_UNKNOWN, "unknown phase %s", phase);
}

static bool never_too_late(const struct reader *reader)
{
        return number(reader->spec, "progressDeadlineSeconds", INT32_MAX) == INT32_MAX;
}

static enum kstatus deployment(const struct reader *reader)
{
        const struct json *progressing = condition_get(reader->object, "Progressing");
        int64_t wanted = number(reader->spec, "replicas", 1);
        int64_t replicas = number(reader->status, "replicas", 0), updated = number(reader->status, "updatedReplicas", 0);
        int64_t available = number(reader->status, "availableReplicas", 0), ready = number(reader->status, "readyReplicas", 0);
        const struct gauge first[] = { { "Replicas", replicas, wanted }, { "Updated", updated, wanted } };
        const struct gauge then[] = { { "Available", available, updated }, { "Ready", ready, wanted } };
        const struct gauge *gauge;

        if (!strcmp(text(progressing, "reason"), "ProgressDeadlineExceeded"))
                return FAILED(reader, "Progress deadline exceeded");
        gauge = first_short(first, 2);
        if (gauge)
                return IN_PROGRESS(reader, GAUGE_TEXT(gauge));
        if (replicas > wanted)
                return IN_PROGRESS(reader, "Pending termination: %lld", (long long)(replicas - wanted));
        gauge = first_short(then, 2);
        if (gauge)
                return IN_PROGRESS(reader, GAUGE_TEXT(gauge));
        if (!never_too_late(reader) &&
            !(condition_is(progressing, CONDITION_TRUE) && !strcmp(text(progressing, "reason"), "NewReplicaSetAvailable")))
                return IN_PROGRESS(reader, "ReplicaSet not Available");
        if (!condition_is_true(reader->object, "Available"))
                return IN_PROGRESS(reader, "Deployment not Available");
        return CURRENT(reader, "Deployment is available. Replicas: %lld", (long long)replicas);
}

static enum kstatus stateful_set(const struct reader *reader)
{
        const struct json *strategy = json_get(reader->spec, "updateStrategy");
        const struct json *partition = JSON_PATH(strategy, "rollingUpdate", "partition");
        int64_t wanted = number(reader->spec, "replicas", 1);
        int64_t replicas = number(reader->status, "replicas", 0), updated = number(reader->status, "updatedReplicas", 0);
        const struct gauge gauges[] = { { "Replicas", replicas, wanted },
                                        { "Ready", number(reader->status, "readyReplicas", 0), wanted } };
        const struct gauge *gauge = first_short(gauges, 2);

        if (!strcmp(text(strategy, "type"), "OnDelete"))
                return CURRENT(reader, "StatefulSet is using the ondelete update strategy");
        if (gauge)
                return IN_PROGRESS(reader, GAUGE_TEXT(gauge));
        if (replicas > wanted)
                return IN_PROGRESS(reader, "Pending termination: %lld", (long long)(replicas - wanted));
        if (json_type(partition) == JSON_INTEGER && json_integer(partition, 0) != -1) {
                int64_t rolled = wanted - json_integer(partition, 0);

                if (updated < rolled)
                        return IN_PROGRESS(reader, "updated: %lld/%lld", (long long)updated, (long long)rolled);
                return CURRENT(reader, "Partition rollout complete. updated: %lld", (long long)updated);
        }
        if (number(reader->status, "currentReplicas", 0) < wanted)
                return IN_PROGRESS(reader, "current: %lld/%lld", (long long)number(reader->status, "currentReplicas", 0),
                                   (long long)wanted);
        if (strcmp(text(reader->status, "currentRevision"), text(reader->status, "updateRevision")) != 0)
                return IN_PROGRESS(reader, "Waiting for updated revision to match current");
        return CURRENT(reader, "All replicas scheduled as expected. Replicas: %lld", (long long)replicas);
}

static enum kstatus replica_set(const struct reader *reader)
{
        int64_t wanted = number(reader->spec, "replicas", 1), replicas = number(reader->status, "replicas", 0);
        const struct gauge gauges[] = { { "Labelled", number(reader->status, "fullyLabeledReplicas", 0), wanted },
                                        { "Available", number(reader->status, "availableReplicas", 0), wanted },
                                        { "Ready", number(reader->status, "readyReplicas", 0), wanted } };
        const struct gauge *gauge = first_short(gauges, 3);

        if (condition_is_true(reader->object, "ReplicaFailure"))
                return IN_PROGRESS(reader, "Replica Failure condition. Check Pods");
        if (gauge)
                return IN_PROGRESS(reader, GAUGE_TEXT(gauge));
        if (replicas > wanted)
                return IN_PROGRESS(reader, "Pending termination: %lld", (long long)(replicas - wanted));
        return CURRENT(reader, "ReplicaSet is available. Replicas: %lld", (long long)replicas);
}

static enum kstatus daemon_set(const struct reader *reader)
{
        int64_t wanted = number(reader->status, "desiredNumberScheduled", -1);
        const struct gauge gauges[] = { { "Current", number(reader->status, "currentNumberScheduled", 0), wanted },
                                        { "Updated", number(reader->status, "updatedNumberScheduled", 0), wanted },
                                        { "Available", number(reader->status, "numberAvailable", 0), wanted },
                                        { "Ready", number(reader->status, "numberReady", 0), wanted } };
        const struct gauge *gauge = first_short(gauges, 4);

        if (!JSON_PATH(reader->object, "metadata", "generation"))
                return IN_PROGRESS(reader, "Generation missing");
        if (!json_get(reader->status, "observedGeneration"))
                return IN_PROGRESS(reader, "ObservedGeneration missing");
        if (wanted == -1)
                return IN_PROGRESS(reader, "DesiredNumberScheduled missing");
        if (gauge)
                return IN_PROGRESS(reader, GAUGE_TEXT(gauge));
        return CURRENT(reader, "All replicas scheduled as expected. Replicas: %lld", (long long)wanted);
}

static enum kstatus job(const struct reader *reader)
{
        if (json_bool(json_get(reader->spec, "suspend"), false))
                return CURRENT(reader, "Job is suspended");
        if (condition_is_true(reader->object, "Complete"))
                return CURRENT(reader, "Job Completed. succeeded: %lld/%lld", (long long)number(reader->status, "succeeded", 0),
                               (long long)number(reader->spec, "completions", 1));
        if (condition_is_true(reader->object, "Failed"))
                return FAILED(reader, "Job Failed. failed: %lld/%lld", (long long)number(reader->status, "failed", 0),
                              (long long)number(reader->spec, "completions", 1));
        return IN_PROGRESS(reader, "Job in progress");
}

static enum kstatus definition(const struct reader *reader)
{
        const struct json *established = condition_get(reader->object, "Established");

        if (condition_is_false(reader->object, "NamesAccepted"))
                return FAILED(reader, "%s", condition_message(reader->object, "NamesAccepted"));
        if (condition_is(established, CONDITION_FALSE) && strcmp(text(established, "reason"), "Installing") != 0)
                return FAILED(reader, "%s", text(established, "message"));
        if (condition_is(established, CONDITION_TRUE))
                return CURRENT(reader, "CRD is established");
        return IN_PROGRESS(reader, "Install in progress");
}

static const struct rule {
        const char *group, *kind;
        enum kstatus (*compute)(const struct reader *reader);
} rules[] = {
        { "", "ConfigMap", always_current },
        { "", "Secret", always_current },
        { "batch", "CronJob", always_current },
        { "policy", "PodDisruptionBudget", always_current },
        { "", "Service", service },
        { "", "PersistentVolumeClaim", claim },
        { "", "Pod", pod },
        { "apps", "Deployment", deployment },
        { "extensions", "Deployment", deployment },
        { "apps", "StatefulSet", stateful_set },
        { "apps", "ReplicaSet", replica_set },
        { "extensions", "ReplicaSet", replica_set },
        { "apps", "DaemonSet", daemon_set },
        { "extensions", "DaemonSet", daemon_set },
        { "batch", "Job", job },
        { "apiextensions.k8s.io", "CustomResourceDefinition", definition },
};

static const struct rule *rule_of(const struct json *object)
{
        struct view group = json_view(json_get(object, "apiVersion"));
        ptrdiff_t slash = view_find(group, '/', 0);
        size_t i;

        group.length = slash < 0 ? 0 : (size_t)slash;
        for (i = 0; i < sizeof(rules) / sizeof(*rules); i++)
                if (view_is(group, rules[i].group) && !strcmp(text(object, "kind"), rules[i].kind))
                        return &rules[i];
        return NULL;
}

/* Reconciling and Stalled, in the order in which the object lists them. */
static bool abnormal(const struct reader *reader, enum kstatus *ret_status)
{
        const struct json *conditions = json_get(reader->status, "conditions");
        size_t i, count = json_length(conditions);

        if (!json_is_null(conditions) && json_type(conditions) != JSON_ARRAY) {
                *ret_status = found(reader, KSTATUS_UNKNOWN, "status.conditions is no array but a %s",
                                    json_type_name(json_type(conditions)));
                return true;
        }
        for (i = 0; i < count; i++) {
                const struct json *condition = json_at(conditions, i);

                if (!condition_is(condition, CONDITION_TRUE))
                        continue;
                if (!strcmp(text(condition, "type"), CONDITION_RECONCILING)) {
                        *ret_status = IN_PROGRESS(reader, "%s", text(condition, "message"));
                        return true;
                }
                if (!strcmp(text(condition, "type"), CONDITION_STALLED)) {
                        *ret_status = FAILED(reader, "%s", text(condition, "message"));
                        return true;
                }
        }
        return false;
}

/* What holds for every kind before its own rule. */
static bool generic(const struct reader *reader, enum kstatus *ret_status)
{
        const struct json *generation = JSON_PATH(reader->object, "metadata", "generation");
        const struct json *observed = json_get(reader->status, "observedGeneration");

        if (!json_is_null(observed) && json_type(observed) != JSON_INTEGER) {
                *ret_status = found(reader, KSTATUS_UNKNOWN, "status.observedGeneration is no integer but a %s",
                                    json_type_name(json_type(observed)));
                return true;
        }
        if (!json_is_null(generation) && !json_is_null(observed) && json_integer(generation, 0) != json_integer(observed, 0)) {
                *ret_status = IN_PROGRESS(reader, "%s generation is %lld, but latest observed generation is %lld",
                                          text(reader->object, "kind"), (long long)json_integer(generation, 0),
                                          (long long)json_integer(observed, 0));
                return true;
        }
        return abnormal(reader, ret_status);
}

enum kstatus kstatus_compute(const struct json *object, int64_t wall_us, struct buffer *message)
{
        const struct reader reader = {
                .object = object,
                .spec = json_get(object, "spec"),
                .status = json_get(object, "status"),
                .wall_us = wall_us,
                .message = message,
        };
        const struct rule *rule = rule_of(object);
        const struct json *ready = condition_get(object, CONDITION_READY);
        enum kstatus status;

        if (rule && rule->compute == job)
                return job(&reader);
        if (!json_is_null(JSON_PATH(object, "metadata", "deletionTimestamp")))
                return found(&reader, KSTATUS_TERMINATING, "Resource scheduled for deletion");
        if (generic(&reader, &status))
                return status;
        if (rule)
                return rule->compute(&reader);
        if (condition_is(ready, CONDITION_TRUE))
                return CURRENT(&reader, "Resource is Ready");
        if (ready)
                return IN_PROGRESS(&reader, "%s", text(ready, "message"));
        return CURRENT(&reader, "Resource is current");
}

bool kstatus_needs_pods(const struct json *object, enum kstatus status)
{
        const struct rule *rule = rule_of(object);

        return status == KSTATUS_IN_PROGRESS && rule && (rule->compute == stateful_set || rule->compute == replica_set);
}

enum kstatus kstatus_with_pods(enum kstatus status, const struct json *pods, struct buffer *message)
{
        const struct json *items = json_get(pods, "items");
        size_t i, count = json_length(items);

        for (i = 0; i < count; i++) {
                const struct json *item = json_at(items, i);
                struct reader reader = {
                        .object = item,
                        .spec = json_get(item, "spec"),
                        .status = json_get(item, "status"),
                        .wall_us = clock_wall_us(),
                };
                struct buffer why = BUFFER_NULL;

                reader.message = message ? &why : NULL;
                if (json_is_null(JSON_PATH(item, "metadata", "deletionTimestamp")) && !unschedulable(item) &&
                    pod(&reader) == KSTATUS_FAILED) {
                        if (message) {
                                buffer_clear(message);
                                buffer_printf(message, "Pod %s: %s", json_string(JSON_PATH(item, "metadata", "name"), ""),
                                              buffer_string(&why));
                        }
                        buffer_release(&why);
                        return KSTATUS_FAILED;
                }
                buffer_release(&why);
        }
        return status;
}
