#include "kube/kstatus.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "data/json.h"

#include "../json_test.h"

#include <string.h>

#define CURRENT  KSTATUS_CURRENT
#define PROGRESS KSTATUS_IN_PROGRESS
#define FAILED   KSTATUS_FAILED
#define CONDITION(type, status, reason)                                                                                            \
        "{\"type\":\"" type "\",\"status\":\"" status "\",\"reason\":\"" reason "\",\"message\":\"m\"}"
#define CONDITIONS(list) "\"conditions\":[" list "]"
#define AVAILABLE        CONDITION("Available", "True", "x")
#define ROLLED_OUT       CONDITION("Progressing", "True", "NewReplicaSetAvailable")

/* Pods of these tests were created at 2020-01-01T00:00:00Z; it is so many seconds later. */
#define CREATED "\"creationTimestamp\":\"2020-01-01T00:00:00Z\""

static const struct {
        const char *name, *kind, *rest; /* kind: "apiVersion Kind" */
        enum kstatus status;
        const char *message; /* NULL: whatever */
        int age_s;
} cases[] = {
        { "nothing known about the kind", "example.com/v1 Thing", "", CURRENT, "Resource is current", 0 },
        { "being deleted", "example.com/v1 Thing", "\"metadata\":{\"deletionTimestamp\":\"x\"}", KSTATUS_TERMINATING, NULL, 0 },
        { "not observed yet", "example.com/v1 Thing", "\"metadata\":{\"generation\":2},\"status\":{\"observedGeneration\":1}",
          PROGRESS, "Thing generation is 2, but latest observed generation is 1", 0 },
        { "observed is no number", "example.com/v1 Thing", "\"status\":{\"observedGeneration\":\"x\"}", KSTATUS_UNKNOWN, NULL, 0 },
        { "conditions are no list", "example.com/v1 Thing", "\"status\":{\"conditions\":{\"a\":\"b\"}}", KSTATUS_UNKNOWN, NULL, 0 },
        { "reconciling", "example.com/v1 Thing", "\"status\":{" CONDITIONS(CONDITION("Reconciling", "True", "R")) "}", PROGRESS,
          "m", 0 },
        { "stalled", "example.com/v1 Thing", "\"status\":{" CONDITIONS(CONDITION("Stalled", "True", "R")) "}", FAILED, "m", 0 },
        { "the first of both", "example.com/v1 Thing",
          "\"status\":{" CONDITIONS(CONDITION("Stalled", "True", "R") "," CONDITION("Reconciling", "True", "R")) "}", FAILED, NULL,
          0 },
        { "ready", "example.com/v1 Thing", "\"status\":{" CONDITIONS(CONDITION("Ready", "True", "R")) "}", CURRENT,
          "Resource is Ready", 0 },
        { "not ready", "example.com/v1 Thing", "\"status\":{" CONDITIONS(CONDITION("Ready", "False", "R")) "}", PROGRESS, NULL, 0 },
        { "ready unknown", "example.com/v1 Thing", "\"status\":{" CONDITIONS(CONDITION("Ready", "Unknown", "R")) "}", PROGRESS,
          NULL, 0 },
        { "always", "v1 ConfigMap", "", CURRENT, NULL, 0 },
        { "always", "policy/v1 PodDisruptionBudget", "", CURRENT, NULL, 0 },
        { "a kind of another group has no rule", "example.com/v1 Deployment", "", CURRENT, NULL, 0 },

        { "cluster address", "v1 Service", "\"spec\":{\"type\":\"ClusterIP\"}", CURRENT, NULL, 0 },
        { "no address", "v1 Service", "\"spec\":{\"type\":\"LoadBalancer\"}", PROGRESS, NULL, 0 },
        { "address", "v1 Service", "\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.0.0.1\"}", CURRENT, NULL, 0 },
        { "bound", "v1 PersistentVolumeClaim", "\"status\":{\"phase\":\"Bound\"}", CURRENT, NULL, 0 },
        { "pending", "v1 PersistentVolumeClaim", "\"status\":{\"phase\":\"Pending\"}", PROGRESS, NULL, 0 },

        { "no phase", "v1 Pod", "", PROGRESS, NULL, 0 },
        { "other phase", "v1 Pod", "\"status\":{\"phase\":\"Weird\"}", KSTATUS_UNKNOWN, "unknown phase Weird", 0 },
        { "succeeded", "v1 Pod", "\"status\":{\"phase\":\"Succeeded\"}", CURRENT, NULL, 0 },
        { "failed is done", "v1 Pod", "\"status\":{\"phase\":\"Failed\"}", CURRENT, NULL, 0 },
        { "running, ready", "v1 Pod", "\"status\":{\"phase\":\"Running\"," CONDITIONS(CONDITION("Ready", "True", "R")) "}", CURRENT,
          NULL, 0 },
        { "running", "v1 Pod", "\"status\":{\"phase\":\"Running\"}", PROGRESS, NULL, 0 },
        { "crashing", "v1 Pod",
          "\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"waiting\":{\"reason\":"
          "\"CrashLoopBackOff\"}}}]}",
          FAILED, "Containers in CrashLoop state: c", 0 },
        { "unschedulable, young", "v1 Pod",
          "\"metadata\":{" CREATED
          "},\"status\":{\"phase\":\"Pending\"," CONDITIONS(CONDITION("PodScheduled", "False", "Unschedulable")) "}",
          PROGRESS, NULL, 14 },
        { "unschedulable, old", "v1 Pod",
          "\"metadata\":{" CREATED
          "},\"status\":{\"phase\":\"Pending\"," CONDITIONS(CONDITION("PodScheduled", "False", "Unschedulable")) "}",
          FAILED, NULL, 16 },

        { "deadline", "apps/v1 Deployment",
          "\"status\":{" CONDITIONS(CONDITION("Progressing", "False", "ProgressDeadlineExceeded")) "}", FAILED,
          "Progress deadline exceeded", 0 },
        { "no replicas yet", "apps/v1 Deployment", "", PROGRESS, "Replicas: 0/1", 0 },
        { "not updated", "apps/v1 Deployment", "\"spec\":{\"replicas\":2},\"status\":{\"replicas\":2,\"updatedReplicas\":1}",
          PROGRESS, "Updated: 1/2", 0 },
        { "too many", "apps/v1 Deployment", "\"spec\":{\"replicas\":1},\"status\":{\"replicas\":3,\"updatedReplicas\":1}", PROGRESS,
          "Pending termination: 2", 0 },
        { "not available", "apps/v1 Deployment", "\"status\":{\"replicas\":1,\"updatedReplicas\":1}", PROGRESS, "Available: 0/1",
          0 },
        { "not ready", "apps/v1 Deployment", "\"status\":{\"replicas\":1,\"updatedReplicas\":1,\"availableReplicas\":1}", PROGRESS,
          "Ready: 0/1", 0 },
        { "replica set not available", "apps/v1 Deployment",
          "\"spec\":{\"progressDeadlineSeconds\":60},\"status\":{\"replicas\":1,\"updatedReplicas\":1,\"availableReplicas\":1,"
          "\"readyReplicas\":"
          "1," CONDITIONS(AVAILABLE) "}",
          PROGRESS, "ReplicaSet not Available", 0 },
        { "without a deadline Available is enough", "apps/v1 Deployment",
          "\"status\":{\"replicas\":1,\"updatedReplicas\":1,\"availableReplicas\":1,\"readyReplicas\":1," CONDITIONS(AVAILABLE) "}",
          CURRENT, NULL, 0 },
        { "rolled out", "apps/v1 Deployment",
          "\"spec\":{\"progressDeadlineSeconds\":60},\"status\":{\"replicas\":1,\"updatedReplicas\":1,\"availableReplicas\":1,"
          "\"readyReplicas\":"
          "1," CONDITIONS(AVAILABLE "," ROLLED_OUT) "}",
          CURRENT, NULL, 0 },
        { "scaled to none", "apps/v1 Deployment", "\"spec\":{\"replicas\":0},\"status\":{" CONDITIONS(AVAILABLE) "}", CURRENT, NULL,
          0 },
        { "never Available", "apps/v1 Deployment", "\"spec\":{\"replicas\":0}", PROGRESS, "Deployment not Available", 0 },

        { "by hand", "apps/v1 StatefulSet", "\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\"}}", CURRENT, NULL, 0 },
        { "none yet", "apps/v1 StatefulSet", "", PROGRESS, "Replicas: 0/1", 0 },
        { "not ready", "apps/v1 StatefulSet", "\"status\":{\"replicas\":1}", PROGRESS, "Ready: 0/1", 0 },
        { "partition not reached", "apps/v1 StatefulSet",
          "\"spec\":{\"replicas\":3,\"updateStrategy\":{\"rollingUpdate\":{\"partition\":1}}},\"status\":{\"replicas\":3,"
          "\"readyReplicas\":3,"
          "\"updatedReplicas\":1}",
          PROGRESS, "updated: 1/2", 0 },
        { "partition reached", "apps/v1 StatefulSet",
          "\"spec\":{\"replicas\":3,\"updateStrategy\":{\"rollingUpdate\":{\"partition\":1}}},\"status\":{\"replicas\":3,"
          "\"readyReplicas\":3,"
          "\"updatedReplicas\":2}",
          CURRENT, NULL, 0 },
        { "another revision", "apps/v1 StatefulSet",
          "\"status\":{\"replicas\":1,\"readyReplicas\":1,\"currentReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":"
          "\"b\"}",
          PROGRESS, NULL, 0 },
        { "same revision", "apps/v1 StatefulSet",
          "\"status\":{\"replicas\":1,\"readyReplicas\":1,\"currentReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":"
          "\"a\"}",
          CURRENT, NULL, 0 },

        { "failing", "apps/v1 ReplicaSet", "\"status\":{" CONDITIONS(CONDITION("ReplicaFailure", "True", "R")) "}", PROGRESS, NULL,
          0 },
        { "unlabelled", "apps/v1 ReplicaSet", "\"status\":{\"replicas\":1}", PROGRESS, "Labelled: 0/1", 0 },
        { "there", "apps/v1 ReplicaSet",
          "\"status\":{\"replicas\":1,\"fullyLabeledReplicas\":1,\"availableReplicas\":1,\"readyReplicas\":1}", CURRENT, NULL, 0 },

        { "no generation", "apps/v1 DaemonSet", "", PROGRESS, "Generation missing", 0 },
        { "not observed", "apps/v1 DaemonSet", "\"metadata\":{\"generation\":1}", PROGRESS, "ObservedGeneration missing", 0 },
        { "no number", "apps/v1 DaemonSet", "\"metadata\":{\"generation\":1},\"status\":{\"observedGeneration\":1}", PROGRESS,
          "DesiredNumberScheduled missing", 0 },
        { "no nodes", "apps/v1 DaemonSet",
          "\"metadata\":{\"generation\":1},\"status\":{\"observedGeneration\":1,\"desiredNumberScheduled\":0}", CURRENT, NULL, 0 },
        { "not on every node", "apps/v1 DaemonSet",
          "\"metadata\":{\"generation\":1},\"status\":{\"observedGeneration\":1,\"desiredNumberScheduled\":2,"
          "\"currentNumberScheduled\":1}",
          PROGRESS, "Current: 1/2", 0 },

        { "started is not done", "batch/v1 Job", "\"status\":{\"startTime\":\"x\"}", PROGRESS, "Job in progress", 0 },
        { "suspended", "batch/v1 Job", "\"spec\":{\"suspend\":true}", CURRENT, NULL, 0 },
        { "complete", "batch/v1 Job", "\"status\":{" CONDITIONS(CONDITION("Complete", "True", "R")) "}", CURRENT, NULL, 0 },
        { "failed", "batch/v1 Job", "\"status\":{" CONDITIONS(CONDITION("Failed", "True", "R")) "}", FAILED, NULL, 0 },

        { "established", "apiextensions.k8s.io/v1 CustomResourceDefinition",
          "\"status\":{" CONDITIONS(CONDITION("Established", "True", "R")) "}", CURRENT, NULL, 0 },
        { "installing", "apiextensions.k8s.io/v1 CustomResourceDefinition",
          "\"status\":{" CONDITIONS(CONDITION("Established", "False", "Installing")) "}", PROGRESS, NULL, 0 },
        { "not established", "apiextensions.k8s.io/v1 CustomResourceDefinition",
          "\"status\":{" CONDITIONS(CONDITION("Established", "False", "R")) "}", FAILED, "m", 0 },
        { "names taken", "apiextensions.k8s.io/v1 CustomResourceDefinition",
          "\"status\":{" CONDITIONS(CONDITION("NamesAccepted", "False", "R")) "}", FAILED, NULL, 0 },
        { "new", "apiextensions.k8s.io/v1 CustomResourceDefinition", "", PROGRESS, NULL, 0 },
};

static void status_of_every_kind(void **state)
{
        int64_t created = 0;
        size_t i;

        (void)state;
        assert_int_equal(time_parse(VIEW("2020-01-01T00:00:00Z"), &created), 0);
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                cleanup(buffer_release) struct buffer message = BUFFER_NULL;
                cleanup(json_free) struct json *object = NULL;
                const char *blank = strchr(cases[i].kind, ' ');
                enum kstatus status;

                buffer_printf(&text, "{\"apiVersion\":\"%.*s\",\"kind\":\"%s\"%s%s}", (int)(blank - cases[i].kind), cases[i].kind,
                              blank + 1, *cases[i].rest ? "," : "", cases[i].rest);
                object = json_of(buffer_string(&text));
                status = kstatus_compute(object, created + (int64_t)cases[i].age_s * 1000000, &message);
                if (status != cases[i].status || (cases[i].message && strcmp(buffer_string(&message), cases[i].message)))
                        fail_msg("%s, %s: %s: %s", cases[i].kind, cases[i].name, kstatus_name(status), buffer_string(&message));
                assert_true(message.length > 0);
        }
}

static void failed_pods_fail_their_set(void **state)
{
        static const struct {
                const char *pod;
                enum kstatus status;
        } pods[] = {
                { "\"status\":{\"phase\":\"Running\"}", PROGRESS },
                { "\"metadata\":{\"name\":\"p\"},\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\","
                  "\"state\":{\"waiting\":{"
                  "\"reason\":\"CrashLoopBackOff\"}}}]}",
                  FAILED },
                { "\"metadata\":{\"deletionTimestamp\":\"x\"},\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":"
                  "\"c\",\"state\":{"
                  "\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}",
                  PROGRESS },
                { "\"metadata\":{" CREATED
                  "},\"status\":{\"phase\":\"Pending\"," CONDITIONS(CONDITION("PodScheduled", "False", "Unschedulable")) "}",
                  PROGRESS },
        };
        cleanup(json_free) struct json *set = json_of("{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\"}");
        size_t i;

        (void)state;
        assert_true(kstatus_needs_pods(set, PROGRESS));
        assert_false(kstatus_needs_pods(set, CURRENT));
        for (i = 0; i < COUNT(pods); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                cleanup(buffer_release) struct buffer message = BUFFER_NULL;
                cleanup(json_free) struct json *list = NULL;

                buffer_printf(&text, "{\"items\":[{%s}]}", pods[i].pod);
                list = json_of(buffer_string(&text));
                assert_int_equal(kstatus_with_pods(PROGRESS, list, &message), pods[i].status);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(status_of_every_kind),
                cmocka_unit_test(failed_pods_fail_their_set),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
