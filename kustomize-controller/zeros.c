#include "zeros.h"

#include <string.h>

static bool is_string_map(struct view key)
{
        static const char *const names[] = {
                "labels",         "annotations",
                "data",           "binaryData",
                "stringData",     "matchLabels",
                "nodeSelector",   "limits",
                "requests",       "parameters",
                "hard",           "overhead",
                "options",        "volumeAttributes",
                "default",        "max",
                "defaultRequest", "min",
                "capacity",       "userAnnotations",
                "podFixed",       "maxLimitRequestRatio",
        };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (view_is(key, names[i]))
                        return true;
        return false;
}

/*
 * Fields whose type cannot tell false, 0 and "" from absence: typed structs leave these out, so nobody owns them. Pointers (automountServiceAccountToken)
 * and what is required (a key of a reference) can, and stay. An owner is the field that holds the map or the list of maps.
 */
static const struct zero_field {
        const char *key, *owner; /* NULL: wherever it is */
} zero_fields[] = {
        { "action", "restartPolicyRules" },
        { "apiGroup", "subjects" },
        { "apiVersion", "claimRef" },
        { "apiVersion", "describedObject" },
        { "apiVersion", "fieldRef" },
        { "apiVersion", "paramKind" },
        { "apiVersion", "scaleTargetRef" },
        { "apiVersion", "secretRef" },
        { "apiVersion", "secrets" },
        { "apiVersion", "targetRef" },
        { "audience", "serviceAccountToken" },
        { "caBundle", NULL },
        { "certificateChainPath", NULL },
        { "chapAuthDiscovery", NULL },
        { "chapAuthSession", NULL },
        { "clusterIP", NULL },
        { "concurrencyPolicy", NULL },
        { "containerName", "resourceFieldRef" },
        { "controller", "spec" },
        { "credentialBundlePath", NULL },
        { "datasetName", NULL },
        { "datasetUUID", NULL },
        { "description", NULL },
        { "directory", NULL },
        { "dnsPolicy", NULL },
        { "effect", "tolerations" },
        { "expression", "applyConfiguration" },
        { "expression", "jsonPatch" },
        { "externalName", NULL },
        { "externalTrafficPolicy", NULL },
        { "failureThreshold", NULL },
        { "fieldPath", "claimRef" },
        { "fieldPath", "secretRef" },
        { "fieldPath", "secrets" },
        { "fieldPath", "targetRef" },
        { "fsType", "awsElasticBlockStore" },
        { "fsType", "cinder" },
        { "fsType", "fc" },
        { "fsType", "flexVolume" },
        { "fsType", "gcePersistentDisk" },
        { "fsType", "iscsi" },
        { "fsType", "photonPersistentDisk" },
        { "fsType", "portworxVolume" },
        { "fsType", "rbd" },
        { "fsType", "scaleIO" },
        { "fsType", "storageos" },
        { "fsType", "vsphereVolume" },
        { "generateName", NULL },
        { "generation", "metadata" },
        { "globalDefault", NULL },
        { "group", "parentRef" },
        { "group", "quobyte" },
        { "healthCheckNodePort", NULL },
        { "host", NULL },
        { "hostIP", NULL },
        { "hostIPC", NULL },
        { "hostNetwork", NULL },
        { "hostPID", NULL },
        { "hostPort", NULL },
        { "hostname", "addresses" },
        { "hostname", "notReadyAddresses" },
        { "hostname", "spec" },
        { "image", "containers" },
        { "image", "ephemeralContainers" },
        { "image", "initContainers" },
        { "imagePullPolicy", NULL },
        { "initialDelaySeconds", NULL },
        { "iscsiInterface", NULL },
        { "key", "tolerations" },
        { "keyPath", NULL },
        { "keyType", NULL },
        { "keyring", NULL },
        { "kind", "claimRef" },
        { "kind", "paramKind" },
        { "kind", "secretRef" },
        { "kind", "secrets" },
        { "kind", "targetRef" },
        { "level", NULL },
        { "loadBalancerIP", NULL },
        { "medium", NULL },
        { "message", NULL },
        { "messageExpression", NULL },
        { "minReadySeconds", NULL },
        { "name", "claimRef" },
        { "name", "configMapKeyRef" },
        { "name", "configMapRef" },
        { "name", "controllerExpandSecretRef" },
        { "name", "controllerPublishSecretRef" },
        { "name", "imagePullSecrets" },
        { "name", "metadata" },
        { "name", "nodeExpandSecretRef" },
        { "name", "nodePublishSecretRef" },
        { "name", "nodeStageSecretRef" },
        { "name", "options" },
        { "name", "paramRef" },
        { "name", "parentRef" },
        { "name", "port" },
        { "name", "secret" },
        { "name", "secretKeyRef" },
        { "name", "secretRef" },
        { "name", "secrets" },
        { "name", "targetRef" },
        { "namespace", "claimRef" },
        { "namespace", "controllerExpandSecretRef" },
        { "namespace", "controllerPublishSecretRef" },
        { "namespace", "metadata" },
        { "namespace", "nodeExpandSecretRef" },
        { "namespace", "nodePublishSecretRef" },
        { "namespace", "nodeStageSecretRef" },
        { "namespace", "paramRef" },
        { "namespace", "parentRef" },
        { "namespace", "secretRef" },
        { "namespace", "secrets" },
        { "namespace", "subjects" },
        { "namespace", "targetRef" },
        { "nodeName", "spec" },
        { "nodePort", NULL },
        { "number", NULL },
        { "operator", "exitCodes" },
        { "operator", "tolerations" },
        { "partition", "awsElasticBlockStore" },
        { "partition", "gcePersistentDisk" },
        { "path", "cephfs" },
        { "path", "httpGet" },
        { "path", "paths" },
        { "paused", NULL },
        { "periodSeconds", "livenessProbe" },
        { "periodSeconds", "readinessProbe" },
        { "periodSeconds", "startupProbe" },
        { "persistentVolumeReclaimPolicy", NULL },
        { "podManagementPolicy", NULL },
        { "policyName", NULL },
        { "pool", "rbd" },
        { "prefix", NULL },
        { "priorityClassName", NULL },
        { "protectionDomain", NULL },
        { "publishNotReadyAddresses", NULL },
        { "pullPolicy", NULL },
        { "readOnly", "awsElasticBlockStore" },
        { "readOnly", "azureFile" },
        { "readOnly", "cephfs" },
        { "readOnly", "cinder" },
        { "readOnly", "fc" },
        { "readOnly", "flexVolume" },
        { "readOnly", "gcePersistentDisk" },
        { "readOnly", "glusterfs" },
        { "readOnly", "iscsi" },
        { "readOnly", "nfs" },
        { "readOnly", "persistentVolumeClaim" },
        { "readOnly", "portworxVolume" },
        { "readOnly", "quobyte" },
        { "readOnly", "rbd" },
        { "readOnly", "scaleIO" },
        { "readOnly", "storageos" },
        { "readOnly", "volumeMounts" },
        { "reference", NULL },
        { "reinvocationPolicy", "spec" },
        { "request", "claims" },
        { "resource", "parentRef" },
        { "resourceVersion", "claimRef" },
        { "resourceVersion", "metadata" },
        { "resourceVersion", "secretRef" },
        { "resourceVersion", "secrets" },
        { "resourceVersion", "targetRef" },
        { "restartPolicy", "spec" },
        { "revision", "gitRepo" },
        { "role", NULL },
        { "schedulerName", NULL },
        { "scheme", NULL },
        { "secretFile", NULL },
        { "secretName", "secret" },
        { "secretName", "tls" },
        { "selfLink", NULL },
        { "serviceAccount", NULL },
        { "serviceAccountName", "spec" },
        { "sessionAffinity", NULL },
        { "signerName", "podCertificate" },
        { "sslEnabled", NULL },
        { "stdin", NULL },
        { "stdinOnce", NULL },
        { "storageMode", NULL },
        { "storagePolicyID", NULL },
        { "storagePolicyName", NULL },
        { "storagePool", NULL },
        { "subPath", NULL },
        { "subPathExpr", NULL },
        { "subdomain", NULL },
        { "successThreshold", NULL },
        { "targetContainerName", NULL },
        { "tenant", NULL },
        { "terminationMessagePath", NULL },
        { "terminationMessagePolicy", NULL },
        { "timeoutSeconds", "livenessProbe" },
        { "timeoutSeconds", "readinessProbe" },
        { "timeoutSeconds", "startupProbe" },
        { "tty", NULL },
        { "type", "" },
        { "type", "seLinuxOptions" },
        { "type", "spec" },
        { "type", "strategy" },
        { "type", "updateStrategy" },
        { "uid", "claimRef" },
        { "uid", "metadata" },
        { "uid", "secretRef" },
        { "uid", "secrets" },
        { "uid", "targetRef" },
        { "unschedulable", "spec" },
        { "user", NULL },
        { "value", "env" },
        { "value", "tolerations" },
        { "volumeName", "scaleIO" },
        { "volumeName", "spec" },
        { "volumeName", "storageos" },
        { "volumeNamespace", NULL },
        { "whenDeleted", NULL },
        { "whenScaled", NULL },
        { "workingDir", NULL },
};

bool zeros_is_zero(const struct node *value)
{
        struct view text = node_text(value);

        if (!node_is_scalar(value))
                return false;
        return value->tag == TAG_STRING ? !text.length
               : value->tag == TAG_BOOL ? view_is(text, "false")
                                        : value->tag == TAG_INTEGER && view_is(text, "0");
}

static bool is_zero_left_out(struct view owner, struct view key)
{
        for (size_t i = 0; i < sizeof(zero_fields) / sizeof(zero_fields[0]); i++)
                if (view_is(key, zero_fields[i].key) && (!zero_fields[i].owner || view_is(owner, zero_fields[i].owner)))
                        return true;
        return false;
}

static bool is_left_out(struct view owner, struct view key, const struct node *value)
{
        if (node_is_null(value) || (node_is_list(value) && value->count == 0))
                return true;
        if (node_is_map(value))
                return value->count == 0 && is_string_map(key);
        return zeros_is_zero(value) && !is_string_map(owner) && !view_is(owner, "selector") && is_zero_left_out(owner, key);
}

/* In a map of texts or quantities a null is the zero of its type: the key stays. */
static void fill_nulls(struct arena *arena, struct view owner, struct node *map)
{
        static const char *const texts[] = { "labels",      "annotations",  "data",    "binaryData",      "stringData",
                                             "matchLabels", "nodeSelector", "options", "volumeAttributes" };
        static const char *const quantities[] = { "limits", "requests", "hard", "default", "defaultRequest", "max", "min" };
        const char *zero = NULL;

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                if (view_is(owner, texts[i]))
                        zero = "";
        for (size_t i = 0; i < sizeof(quantities) / sizeof(quantities[0]); i++)
                if (view_is(owner, quantities[i]))
                        zero = "0";
        for (uint32_t i = 0; zero && i < map->count; i++)
                if (node_is_null(map->entries[i].value))
                        map->entries[i].value = node_string_of(arena, zero);
}

/* Recursion: a tree is at most READER_DEPTH deep. */
static void leave_out(struct arena *arena, struct view owner, struct node *node)
{
        if (node_is_list(node)) {
                for (uint32_t i = 0; i < node->count; i++)
                        leave_out(arena, owner, node->items[i]);
                return;
        }
        if (!node_is_map(node))
                return;
        for (uint32_t i = node->count; i-- > 0;) {
                struct node_entry *entry = &node->entries[i];

                if (node_is_map(entry->value))
                        fill_nulls(arena, node_text(entry->key), entry->value);
                leave_out(arena, node_text(entry->key), entry->value);
                if (is_left_out(owner, node_text(entry->key), entry->value)) {
                        memmove(entry, entry + 1, (node->count - i - 1) * sizeof(*entry));
                        node->count--;
                }
        }
}

void zeros_leave_out(struct arena *arena, struct node *object)
{
        leave_out(arena, VIEW(""), object);
}
