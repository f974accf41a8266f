#include "engine/kustomize/fieldspec.h"

#include <stdio.h>
#include <string.h>

/*
 * In paths, `W` stands for the pod spec of the kind, `T` for its pod template, `{a,b}` for each of these. Kinds are blank-separated
 * "[group/][version/]Kind" with "-" for a group or version that does not matter.
 */
struct row {
        const char *kinds; /* "" is any */
        const char *paths; /* blank-separated */
        bool create;
};

#define PODS_8 "-/v1/Pod PodTemplate Deployment ReplicaSet DaemonSet StatefulSet Job CronJob"
#define PODS_7 "Pod StatefulSet Deployment ReplicationController CronJob Job DaemonSet"
#define C      "{containers,initContainers}"

static const struct row name_rows[] = { { "", "metadata/name", false }, { NULL, NULL, false } };

static const struct row namespace_rows[] = {
        { "Namespace", "metadata/name", true },
        { "apiregistration.k8s.io/-/APIService", "spec/service/namespace", true },
        { "apiextensions.k8s.io/-/CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/namespace", false },
        { NULL, NULL, false },
};

static const struct row template_label_rows[] = {
        { "", "metadata/labels", true },
        { "-/v1/ReplicationController Deployment ReplicaSet DaemonSet apps/-/StatefulSet batch/-/Job batch/-/CronJob",
          "T/metadata/labels", true },
        { "batch/-/CronJob", "spec/jobTemplate/metadata/labels", true },
        { NULL, NULL, false },
};

static const struct row claim_label_rows[] = {
        { "apps/-/StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true },
        { NULL, NULL, false },
};

#define POD_TERM "spec/template/spec/affinity/{podAffinity,podAntiAffinity}/"

static const struct row common_label_rows[] = {
        { "-/v1/Service -/v1/ReplicationController", "spec/selector", true },
        { "Deployment ReplicaSet DaemonSet apps/-/StatefulSet", "spec/selector/matchLabels", true },
        { "apps/-/Deployment apps/-/StatefulSet",
          POD_TERM "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels " POD_TERM
                   "requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels "
                   "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
          false },
        { "batch/-/Job policy/-/PodDisruptionBudget", "spec/selector/matchLabels", false },
        { "batch/-/CronJob", "spec/jobTemplate/spec/selector/matchLabels", false },
        { "networking.k8s.io/-/NetworkPolicy",
          "spec/podSelector/matchLabels spec/ingress/from/podSelector/matchLabels spec/egress/to/podSelector/matchLabels", false },
        { NULL, NULL, false },
};

static const struct row common_annotation_rows[] = {
        { "", "metadata/annotations", true },
        { "-/v1/ReplicationController Deployment ReplicaSet DaemonSet StatefulSet batch/-/Job batch/-/CronJob",
          "T/metadata/annotations", true },
        { "batch/-/CronJob", "spec/jobTemplate/metadata/annotations", true },
        { NULL, NULL, false },
};

static const struct row image_rows[] = {
        { "",
          "spec/containers[]/image spec/initContainers[]/image spec/volumes[]/image/reference "
          "spec/template/spec/containers[]/image "
          "spec/template/spec/initContainers[]/image spec/template/spec/volumes[]/image/reference",
          true },
        { NULL, NULL, false },
};

static const struct row replica_rows[] = {
        { "Deployment StatefulSet ReplicaSet ReplicationController", "spec/replicas", true },
        { NULL, NULL, false },
};

static const struct row variable_rows[] = {
        { "CronJob DaemonSet Deployment Job Pod ReplicaSet StatefulSet", "W/" C "/{args,command,env/value,volumeMounts/mountPath}",
          false },
        { "DaemonSet Deployment Job Pod ReplicaSet", "W/volumes/nfs/server", false },
        { "CronJob", "spec/jobTemplate/spec/template/volumes/nfs/server", false },
        { "Deployment", "spec/template/metadata/annotations", false },
        { "Ingress", "spec/rules/host spec/tls/hosts spec/tls/secretName", false },
        { "Service", "spec/ports/port spec/ports/targetPort", false },
        { "StatefulSet", "spec/volumeClaimTemplates/spec/nfs/server", false },
        { "PersistentVolume", "spec/nfs/server", false },
        { "", "metadata/labels metadata/annotations", false },
        { NULL, NULL, false },
};

struct reference_row {
        const char *referral;
        const char *kinds;
        const char *paths;
};

#define AUTOSCALED(kind)                                                                                                           \
        {                                                                                                                          \
                kind, "HorizontalPodAutoscaler", "spec/scaleTargetRef/name"                                                        \
        }

static const struct reference_row reference_rows[] = {
        AUTOSCALED("Deployment"),
        AUTOSCALED("ReplicationController"),
        AUTOSCALED("ReplicaSet"),
        AUTOSCALED("StatefulSet"),
        { "-/v1/ConfigMap", PODS_8,
          "W/volumes/configMap/name W/" C "/env/valueFrom/configMapKeyRef/name W/" C
          "/envFrom/configMapRef/name W/volumes/projected/sources/configMap/name" },
        { "-/v1/ConfigMap", "Node", "spec/configSource/configMap" },
        { "-/v1/ConfigMap", "Role ClusterRole", "rules/resourceNames" },
        { "-/v1/ConfigMap", "Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap" },
        { "-/v1/Secret", PODS_8,
          "W/volumes/secret/secretName W/" C "/env/valueFrom/secretKeyRef/name W/" C
          "/envFrom/secretRef/name W/imagePullSecrets/name W/volumes/projected/sources/secret/name" },
        { "-/v1/Secret", "Ingress",
          "spec/tls/secretName metadata/annotations/ingress.kubernetes.io\\/auth-secret "
          "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret "
          "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret" },
        { "-/v1/Secret", "ServiceAccount", "imagePullSecrets/name" },
        { "-/v1/Secret", "StorageClass",
          "parameters/secretName parameters/adminSecretName parameters/userSecretName parameters/secretRef" },
        { "-/v1/Secret", "Role ClusterRole", "rules/resourceNames" },
        { "-/v1/Secret", "serving.knative.dev/v1/Service", "spec/template/spec/containers/env/valueFrom/secretKeyRef/name" },
        { "-/v1/Secret", "PersistentVolume", "spec/azureFile/secretName" },
        { "-/v1/Service", "apps/-/StatefulSet", "spec/serviceName" },
        { "-/v1/Service", "Ingress",
          "spec/rules/http/paths/backend/serviceName spec/backend/serviceName spec/rules/http/paths/backend/service/name "
          "spec/defaultBackend/service/name" },
        { "-/v1/Service", "apiregistration.k8s.io/-/APIService", "spec/service/name" },
        { "-/v1/Service",
          "admissionregistration.k8s.io/-/ValidatingWebhookConfiguration "
          "admissionregistration.k8s.io/-/MutatingWebhookConfiguration",
          "webhooks/clientConfig/service" },
        { "rbac.authorization.k8s.io/-/Role", "rbac.authorization.k8s.io/-/RoleBinding", "roleRef/name" },
        { "rbac.authorization.k8s.io/-/ClusterRole",
          "rbac.authorization.k8s.io/-/RoleBinding rbac.authorization.k8s.io/-/ClusterRoleBinding", "roleRef/name" },
        { "-/v1/ServiceAccount", "rbac.authorization.k8s.io/-/RoleBinding rbac.authorization.k8s.io/-/ClusterRoleBinding",
          "subjects" },
        { "-/v1/ServiceAccount", PODS_7, "W/serviceAccountName" },
        { "-/v1/PersistentVolumeClaim", PODS_7, "W/volumes/persistentVolumeClaim/claimName" },
        { "-/v1/PersistentVolume", "PersistentVolumeClaim", "spec/volumeName" },
        { "-/v1/PersistentVolume", "ClusterRole", "rules/resourceNames" },
        { "storage.k8s.io/v1/StorageClass", "PersistentVolume PersistentVolumeClaim", "spec/storageClassName" },
        { "storage.k8s.io/v1/StorageClass", "StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName" },
        { "scheduling.k8s.io/v1/PriorityClass", PODS_7, "W/priorityClassName" },
        { "networking.k8s.io\\v1/v1/IngressClass", "Ingress", "spec/ingressClassName" },
        { "admissionregistration.k8s.io/-/ValidatingAdmissionPolicy",
          "admissionregistration.k8s.io/-/ValidatingAdmissionPolicyBinding", "spec/policyName" },
};

static struct view part(struct view text)
{
        return view_is(text, "-") ? VIEW_NULL : text;
}

/* A backslash stands for a slash inside a group: one rule of the reference names a group that does not exist. */
static struct view unescape(struct build *build, struct view text)
{
        struct view copy = arena_view(build->arena, text);

        for (size_t i = 0; i < copy.length; i++)
                if (copy.data[i] == '\\')
                        ((char *)(uintptr_t)copy.data)[i] = '/';
        return copy;
}

static struct gvk parse_kind(struct build *build, struct view text)
{
        struct view pieces[3] = { VIEW_NULL, VIEW_NULL, VIEW_NULL };
        size_t count = 0;

        while (count < 3 && view_split(&text, '/', &pieces[count]))
                count++;
        if (count == 1)
                return (struct gvk){ VIEW_NULL, VIEW_NULL, pieces[0] };
        return (struct gvk){ unescape(build, part(pieces[0])), part(pieces[1]), pieces[2] };
}

static const char *template_path(struct view kind)
{
        if (view_is(kind, "Pod"))
                return "";
        if (view_is(kind, "PodTemplate"))
                return "template";
        return view_is(kind, "CronJob") ? "spec/jobTemplate/spec/template" : "spec/template";
}

static const char *join(struct build *build, struct view start, struct view middle, struct view end)
{
        char *text = arena_allocate(build->arena, start.length + middle.length + end.length + 1);

        memcpy(text, start.data, start.length);
        memcpy(text + start.length, middle.data, middle.length);
        memcpy(text + start.length + middle.length, end.data, end.length);
        return text;
}

static void add_path(struct build *build, struct spec_list *list, const struct gvk *gvk, const char *path, bool create)
{
        struct field_spec spec = { .gvk = *gvk, .create = create };
        const char *brace = strchr(path, '{'), *end;
        struct view choices, choice;

        if (brace) {
                end = strchr(brace, '}');
                choices = (struct view){ brace + 1, (size_t)(end - brace) - 1 };
                while (view_split(&choices, ',', &choice))
                        add_path(build, list, gvk,
                                 join(build, (struct view){ path, (size_t)(brace - path) }, choice, view_of(end + 1)), create);
                return;
        }
        spec.path = view_of(path);
        spec_list_add(build, list, &spec);
}

static void add_rows(struct build *build, struct spec_list *list, const char *kinds, const char *paths, bool create)
{
        struct view kind_rest = view_of(kinds), kind;

        while (view_split(&kind_rest, ' ', &kind)) {
                struct gvk gvk = parse_kind(build, kind);
                struct view path_rest = view_of(paths), path;

                while (view_split(&path_rest, ' ', &path)) {
                        struct view base = view_of(template_path(gvk.kind)), rest = view_slice(path, 2, SIZE_MAX);
                        const char *text;

                        if (view_starts(path, VIEW("W/")))
                                text = join(build, base, base.length ? VIEW("/spec/") : VIEW("spec/"), rest);
                        else if (view_starts(path, VIEW("T/")))
                                text = join(build, base, VIEW("/"), rest);
                        else
                                text = arena_string_n(build->arena, path.data, path.length);
                        add_path(build, list, &gvk, text, create);
                }
        }
}

static void add_table(struct build *build, struct spec_list *list, const struct row *rows)
{
        for (; rows->kinds; rows++)
                add_rows(build, list, rows->kinds, rows->paths, rows->create);
}

const struct configuration *configuration_default(struct build *build)
{
        struct configuration *configuration = build->defaults;

        if (configuration)
                return configuration;
        configuration = build->defaults = arena_new_of(build->arena, struct configuration);
        add_table(build, &configuration->name_prefix, name_rows);
        add_table(build, &configuration->name_suffix, name_rows);
        add_table(build, &configuration->namespace, namespace_rows);
        add_table(build, &configuration->template_labels, template_label_rows);
        add_table(build, build_next(build) ? &configuration->claim_labels : &configuration->template_labels, claim_label_rows);
        add_table(build, &configuration->common_labels, template_label_rows);
        add_table(build, &configuration->common_labels, claim_label_rows);
        add_table(build, &configuration->common_labels, common_label_rows);
        add_table(build, &configuration->common_annotations, common_annotation_rows);
        add_table(build, &configuration->images, image_rows);
        add_table(build, &configuration->replicas, replica_rows);
        add_table(build, &configuration->var_reference, variable_rows);
        for (size_t i = 0; i < sizeof(reference_rows) / sizeof(reference_rows[0]); i++) {
                struct gvk referral = parse_kind(build, view_of(reference_rows[i].referral));

                add_rows(build, &configuration_reference(build, configuration, &referral)->referrers, reference_rows[i].kinds,
                         reference_rows[i].paths, false);
        }
        configuration_sort(configuration);
        return configuration;
}
