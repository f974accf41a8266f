#include "engine/kustomize/schema.h"

#include "engine/kustomize/schema_swagger.h"

#include <string.h>

#define END                                                                                                                        \
        {                                                                                                                          \
                NULL, NULL, false,                                                                                                 \
                {                                                                                                                  \
                        NULL                                                                                                       \
                }                                                                                                                  \
        }
#define NESTED(name, type)                                                                                                         \
        {                                                                                                                          \
                name, &(type), false,                                                                                              \
                {                                                                                                                  \
                        NULL                                                                                                       \
                }                                                                                                                  \
        }
#define MERGE(name, ...)                                                                                                           \
        {                                                                                                                          \
                name, NULL, true,                                                                                                  \
                {                                                                                                                  \
                        __VA_ARGS__                                                                                                \
                }                                                                                                                  \
        }
#define MERGE_OF(name, type, key)                                                                                                  \
        {                                                                                                                          \
                name, &(type), true,                                                                                               \
                {                                                                                                                  \
                        key                                                                                                        \
                }                                                                                                                  \
        }
#define TYPE(type, ...)                                                                                                            \
        static const struct schema_field type##_fields[] = { __VA_ARGS__, END };                                                   \
        static const struct schema_type type = { type##_fields }

TYPE(object_meta, MERGE("finalizers", NULL), MERGE("ownerReferences", "uid"));
TYPE(metadata_only, NESTED("metadata", object_meta));
TYPE(conditions, MERGE("conditions", "type"));
TYPE(with_conditions, NESTED("metadata", object_meta), NESTED("status", conditions));

TYPE(container, MERGE("env", "name"), MERGE("ports", "containerPort", "protocol"), MERGE("volumeDevices", "devicePath"),
     MERGE("volumeMounts", "mountPath"));
TYPE(ephemeral_container, MERGE("env", "name"), MERGE("volumeDevices", "devicePath"), MERGE("volumeMounts", "mountPath"));
TYPE(ephemeral_volume, NESTED("volumeClaimTemplate", metadata_only));
TYPE(volume, NESTED("ephemeral", ephemeral_volume));
TYPE(pod_spec, MERGE_OF("containers", container, "name"), MERGE_OF("ephemeralContainers", ephemeral_container, "name"),
     MERGE("hostAliases", "ip"), MERGE("imagePullSecrets", "name"), MERGE_OF("initContainers", container, "name"),
     MERGE("topologySpreadConstraints", "topologyKey", "whenUnsatisfiable"), MERGE_OF("volumes", volume, "name"));
TYPE(pod_template_spec, NESTED("metadata", object_meta), NESTED("spec", pod_spec));
TYPE(workload_spec, NESTED("template", pod_template_spec));
TYPE(workload, NESTED("metadata", object_meta), NESTED("spec", workload_spec), NESTED("status", conditions));
TYPE(stateful_set_spec, NESTED("template", pod_template_spec), NESTED("volumeClaimTemplates", with_conditions));
TYPE(stateful_set, NESTED("metadata", object_meta), NESTED("spec", stateful_set_spec), NESTED("status", conditions));
TYPE(job_template_spec, NESTED("metadata", object_meta), NESTED("spec", workload_spec));
TYPE(cron_job_spec, NESTED("jobTemplate", job_template_spec));
TYPE(cron_job, NESTED("metadata", object_meta), NESTED("spec", cron_job_spec));
TYPE(pod_status, MERGE("conditions", "type"), MERGE("podIPs", "ip"));
TYPE(pod, NESTED("metadata", object_meta), NESTED("spec", pod_spec), NESTED("status", pod_status));
TYPE(pod_template, NESTED("metadata", object_meta), NESTED("template", pod_template_spec));
TYPE(node_spec, MERGE("podCIDRs", NULL));
TYPE(node_status, MERGE("addresses", "type"), MERGE("conditions", "type"));
TYPE(node_type, NESTED("metadata", object_meta), NESTED("spec", node_spec), NESTED("status", node_status));
TYPE(service_spec, MERGE("ports", "port", "protocol"));
TYPE(service, NESTED("metadata", object_meta), NESTED("spec", service_spec), NESTED("status", conditions));
TYPE(service_account, NESTED("metadata", object_meta), MERGE("secrets", "name"));
TYPE(webhook_configuration, NESTED("metadata", object_meta), MERGE("webhooks", "name"));
TYPE(csi_node_spec, MERGE("drivers", "name"));
TYPE(csi_node, NESTED("metadata", object_meta), NESTED("spec", csi_node_spec));
TYPE(component_status, NESTED("metadata", object_meta), MERGE("conditions", "type"));

struct kinds {
        const char *api_versions; /* blank-separated */
        const char *kinds;
        const struct schema_type *type;
};

static const struct kinds builtin_kinds[] = {
        { "v1", "ConfigMap Secret Binding Endpoints Event LimitRange PersistentVolume ResourceQuota", &metadata_only },
        { "v1", "Namespace PersistentVolumeClaim", &with_conditions },
        { "v1", "Service", &service },
        { "v1", "ServiceAccount", &service_account },
        { "v1", "Pod", &pod },
        { "v1", "PodTemplate", &pod_template },
        { "v1", "ReplicationController", &workload },
        { "v1", "Node", &node_type },
        { "v1", "ComponentStatus", &component_status },
        { "apps/v1", "Deployment DaemonSet ReplicaSet", &workload },
        { "apps/v1", "StatefulSet", &stateful_set },
        { "apps/v1", "ControllerRevision", &metadata_only },
        { "batch/v1", "Job", &workload },
        { "batch/v1 batch/v1beta1", "CronJob", &cron_job },
        { "admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1beta1",
          "MutatingWebhookConfiguration ValidatingWebhookConfiguration", &webhook_configuration },
        { "apiextensions.k8s.io/v1 apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", &metadata_only },
        { "apiregistration.k8s.io/v1 apiregistration.k8s.io/v1beta1", "APIService", &with_conditions },
        { "authentication.k8s.io/v1", "TokenRequest", &metadata_only },
        { "authentication.k8s.io/v1 authentication.k8s.io/v1beta1", "TokenReview", &metadata_only },
        { "authorization.k8s.io/v1 authorization.k8s.io/v1beta1",
          "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview", &metadata_only },
        { "autoscaling/v1 autoscaling/v2beta1 autoscaling/v2beta2", "HorizontalPodAutoscaler", &metadata_only },
        { "autoscaling/v1", "Scale", &metadata_only },
        { "certificates.k8s.io/v1 certificates.k8s.io/v1beta1", "CertificateSigningRequest", &metadata_only },
        { "coordination.k8s.io/v1 coordination.k8s.io/v1beta1", "Lease", &metadata_only },
        { "discovery.k8s.io/v1 discovery.k8s.io/v1beta1", "EndpointSlice", &metadata_only },
        { "events.k8s.io/v1 events.k8s.io/v1beta1", "Event", &metadata_only },
        { "extensions/v1beta1", "Ingress", &metadata_only },
        { "flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration", &metadata_only },
        { "networking.k8s.io/v1 networking.k8s.io/v1beta1", "Ingress IngressClass", &metadata_only },
        { "networking.k8s.io/v1", "NetworkPolicy", &metadata_only },
        { "node.k8s.io/v1 node.k8s.io/v1beta1", "RuntimeClass", &metadata_only },
        { "policy/v1 policy/v1beta1", "PodDisruptionBudget", &with_conditions },
        { "policy/v1beta1", "Eviction PodSecurityPolicy", &metadata_only },
        { "rbac.authorization.k8s.io/v1 rbac.authorization.k8s.io/v1beta1", "ClusterRole ClusterRoleBinding Role RoleBinding",
          &metadata_only },
        { "scheduling.k8s.io/v1 scheduling.k8s.io/v1beta1", "PriorityClass", &metadata_only },
        { "storage.k8s.io/v1 storage.k8s.io/v1beta1", "CSIDriver StorageClass VolumeAttachment", &metadata_only },
        { "storage.k8s.io/v1 storage.k8s.io/v1beta1", "CSINode", &csi_node },
        { "storage.k8s.io/v1beta1", "CSIStorageCapacity", &metadata_only },
};

static const struct {
        const char *api_versions;
        const char *kinds;
        bool next;
} cluster_scoped[] = {
        { "v1", "ComponentStatus Namespace Node NodeProxyOptions PersistentVolume" },
        { "admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1beta1",
          "MutatingWebhookConfiguration ValidatingWebhookConfiguration" },
        { "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding", true },
        { "apiextensions.k8s.io/v1 apiextensions.k8s.io/v1beta1", "CustomResourceDefinition" },
        { "apiregistration.k8s.io/v1 apiregistration.k8s.io/v1beta1", "APIService" },
        { "certificates.k8s.io/v1 certificates.k8s.io/v1beta1", "CertificateSigningRequest" },
        { "flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration" },
        { "networking.k8s.io/v1 networking.k8s.io/v1beta1", "IngressClass" },
        { "node.k8s.io/v1 node.k8s.io/v1beta1", "RuntimeClass" },
        { "policy/v1beta1", "PodSecurityPolicy" },
        { "rbac.authorization.k8s.io/v1 rbac.authorization.k8s.io/v1beta1", "ClusterRole ClusterRoleBinding" },
        { "scheduling.k8s.io/v1 scheduling.k8s.io/v1beta1", "PriorityClass" },
        { "storage.k8s.io/v1 storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment" },
};

/* What a document that adds to the built-in schema may refer to. */
static const struct {
        const char *name;
        const struct schema_type *type;
} definitions[] = {
        { "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", &object_meta },
        { "io.k8s.api.core.v1.PodTemplateSpec", &pod_template_spec },
        { "io.k8s.api.core.v1.PodSpec", &pod_spec },
        { "io.k8s.api.core.v1.Container", &container },
        { "io.k8s.api.core.v1.EphemeralContainer", &ephemeral_container },
        { "io.k8s.api.core.v1.Volume", &volume },
        { "io.k8s.api.core.v1.ServiceSpec", &service_spec },
        { "io.k8s.api.core.v1.PersistentVolumeClaim", &with_conditions },
        { "io.k8s.api.apps.v1.DeploymentSpec", &workload_spec },
        { "io.k8s.api.apps.v1.StatefulSetSpec", &stateful_set_spec },
        { "io.k8s.api.apps.v1.DaemonSetSpec", &workload_spec },
        { "io.k8s.api.batch.v1.JobSpec", &workload_spec },
        { "io.k8s.api.batch.v1.JobTemplateSpec", &job_template_spec },
};

const struct schema_type *schema_builtin_definition(struct view name)
{
        for (size_t i = 0; i < sizeof(definitions) / sizeof(definitions[0]); i++)
                if (view_is(name, definitions[i].name))
                        return definitions[i].type;
        return NULL;
}

static const struct schema builtin = { .builtin = true };

const struct schema *schema_builtin(void)
{
        return &builtin;
}

static bool has_word(const char *words, struct view word)
{
        struct view rest = view_of(words), piece;

        while (view_split(&rest, ' ', &piece))
                if (view_equal(piece, word))
                        return true;
        return false;
}

const struct schema_type *schema_of(const struct schema *schema, struct view api_version, struct view kind)
{
        for (size_t i = 0; i < schema->kind_count; i++)
                if (view_equal(schema->kinds[i].api_version, api_version) && view_equal(schema->kinds[i].kind, kind))
                        return schema->kinds[i].type;
        if (!schema->builtin)
                return NULL;
        for (size_t i = 0; i < sizeof(builtin_kinds) / sizeof(builtin_kinds[0]); i++)
                if (has_word(builtin_kinds[i].kinds, kind) && has_word(builtin_kinds[i].api_versions, api_version))
                        return builtin_kinds[i].type;
        return NULL;
}

const struct schema_field *schema_field(const struct schema_type *type, struct view name)
{
        const struct schema_field *any = NULL;

        if (!type || !type->fields)
                return NULL;
        for (const struct schema_field *field = type->fields; field->name; field++) {
                if (view_is(name, field->name))
                        return field;
                if (strcmp(field->name, "*") == 0)
                        any = field;
        }
        return any;
}

bool schema_cluster_scoped(const struct schema *schema, struct view group, struct view version, struct view kind, bool next,
                           bool *ret_unknown)
{
        char text[256];
        struct view api_version;

        if (group.length + version.length + 2 > sizeof(text))
                return false;
        if (group.length) {
                memcpy(text, group.data, group.length);
                text[group.length] = '/';
        }
        if (version.length)
                memcpy(text + group.length + (group.length != 0), version.data, version.length);
        api_version = (struct view){ text, group.length + version.length + (group.length != 0) };
        for (size_t i = 0; i < schema->scope_count; i++)
                if (view_equal(schema->scopes[i].api_version, api_version) && view_equal(schema->scopes[i].kind, kind))
                        return schema->scopes[i].cluster;
        for (size_t i = 0; i < sizeof(cluster_scoped) / sizeof(cluster_scoped[0]); i++)
                if (cluster_scoped[i].next <= next && has_word(cluster_scoped[i].kinds, kind) &&
                    has_word(cluster_scoped[i].api_versions, api_version))
                        return true;
        if (!*ret_unknown && !schema_of(&builtin, api_version, kind))
                *ret_unknown = true;
        return false;
}
