#include "normalize.h"

#include "base/cleanup.h"
#include "zeros.h"

/* ---- which kinds the Go controllers have types for ---- */

static bool is_builtin(struct view api_version)
{
        static const char *const groups[] = {
                "apps/",
                "batch/",
                "autoscaling/",
                "policy/",
                "networking.k8s.io/",
                "rbac.authorization.k8s.io/",
                "storage.k8s.io/",
                "scheduling.k8s.io/",
                "node.k8s.io/",
                "coordination.k8s.io/",
                "discovery.k8s.io/",
                "events.k8s.io/",
                "certificates.k8s.io/",
                "flowcontrol.apiserver.k8s.io/",
                "admissionregistration.k8s.io/",
                "resource.k8s.io/",
        };

        if (view_is(api_version, "v1"))
                return true;
        for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
                if (view_starts(api_version, view_of(groups[i])))
                        return true;
        return false;
}

/* ---- what typed structs always write ---- */

/* A selector that is a plain map of labels: as one of expressions it would select all. */
static void drop_empty_map(struct node *map, const char *key)
{
        const struct node *value = node_get_of(map, key);

        if (node_is_map(value) && value->count == 0)
                node_remove_of(map, key);
}

static void make_map(struct arena *arena, struct node *map, const char *key)
{
        if (node_is_map(map) && !node_get_of(map, key))
                node_set_of(arena, map, key, node_map(arena));
}

static void default_protocols(struct arena *arena, struct node *ports)
{
        if (!node_is_list(ports))
                return;
        for (uint32_t i = 0; i < ports->count; i++)
                if (node_is_map(ports->items[i]) && !node_get_text(ports->items[i], "protocol").length)
                        node_set_of(arena, ports->items[i], "protocol", node_string_of(arena, "TCP"));
}

/* Not among the zeros: the ports of an EndpointSlice keep an empty name. */
static void drop_empty_names(struct node *ports)
{
        for (uint32_t i = 0; node_is_list(ports) && i < ports->count; i++)
                if (node_is_map(ports->items[i]) && !node_get_text(ports->items[i], "name").length)
                        node_remove_of(ports->items[i], "name");
}

/* A port's target is a number or a name, and 0 is a number: the API server takes it for the port itself. */
static void complete_service_ports(struct arena *arena, struct node *ports)
{
        drop_empty_names(ports);
        default_protocols(arena, ports);
        for (uint32_t i = 0; node_is_list(ports) && i < ports->count; i++)
                if (node_is_map(ports->items[i]) && !node_get_of(ports->items[i], "targetPort"))
                        node_set_of(arena, ports->items[i], "targetPort", node_integer(arena, 0));
}

static void complete_claim(struct arena *arena, struct node *claim)
{
        make_map(arena, claim, "metadata");
        make_map(arena, claim, "spec");
        make_map(arena, node_get_of(claim, "spec"), "resources");
}

/* A reference to a resource has a divisor: the quantity 0 if it names none. */
static void complete_divisors(struct arena *arena, struct node *list, const char *source)
{
        for (uint32_t i = 0; node_is_list(list) && i < list->count; i++) {
                struct node *holder = source ? node_get_of(list->items[i], source) : list->items[i];
                struct node *reference = node_get_of(holder, "resourceFieldRef");

                if (node_is_map(reference) && !node_get_of(reference, "divisor"))
                        node_set_of(arena, reference, "divisor", node_string_of(arena, "0"));
        }
}

static void complete_volumes(struct arena *arena, struct node *volumes)
{
        for (uint32_t v = 0; node_is_list(volumes) && v < volumes->count; v++) {
                struct node *volume = volumes->items[v], *sources = node_path(volume, "projected", "sources", NULL);

                complete_claim(arena, node_path(volume, "ephemeral", "volumeClaimTemplate", NULL));
                complete_divisors(arena, node_path(volume, "downwardAPI", "items", NULL), NULL);
                for (uint32_t i = 0; node_is_list(sources) && i < sources->count; i++)
                        complete_divisors(arena, node_path(sources->items[i], "downwardAPI", "items", NULL), NULL);
        }
}

static void complete_pod_spec(struct arena *arena, struct node *spec, bool protocols)
{
        static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };

        complete_volumes(arena, node_get_of(spec, "volumes"));
        for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
                struct node *list = node_get_of(spec, lists[l]);

                if (!node_is_list(list))
                        continue;
                for (uint32_t i = 0; i < list->count; i++) {
                        make_map(arena, list->items[i], "resources");
                        complete_divisors(arena, node_get_of(list->items[i], "env"), "valueFrom");
                        drop_empty_names(node_get_of(list->items[i], "ports"));
                        if (protocols && l == 0)
                                default_protocols(arena, node_get_of(list->items[i], "ports"));
                }
        }
}

static void complete_template(struct arena *arena, struct node *owner, bool protocols)
{
        struct node *template;

        make_map(arena, owner, "template");
        template = node_get_of(owner, "template");
        make_map(arena, template, "metadata");
        make_map(arena, template, "spec");
        complete_pod_spec(arena, node_get_of(template, "spec"), protocols);
}

static void complete_claims(struct arena *arena, struct node *claims)
{
        if (!node_is_list(claims))
                return;
        for (uint32_t i = 0; i < claims->count; i++) {
                complete_claim(arena, claims->items[i]);
                make_map(arena, claims->items[i], "status");
        }
}

/* Not among the zeros: a claim and a Pod's volume can tell them from absence. */
static void drop_volume_zeros(struct node *spec)
{
        struct node *csi = node_get_of(spec, "csi");

        if (zeros_is_zero(node_get_of(spec, "storageClassName")))
                node_remove_of(spec, "storageClassName");
        if (node_is_map(csi) && zeros_is_zero(node_get_of(csi, "readOnly")))
                node_remove_of(csi, "readOnly");
}

static void complete_endpoints(struct arena *arena, struct node *slice)
{
        struct node *endpoints = node_get_of(slice, "endpoints");

        for (uint32_t i = 0; node_is_list(endpoints) && i < endpoints->count; i++)
                make_map(arena, endpoints->items[i], "conditions");
}

/* A number or a bool in a map of texts is the API server's to refuse: no text is made of it here. */
static bool holds_texts(const struct node *map)
{
        for (uint32_t i = 0; node_is_map(map) && i < map->count; i++) {
                const struct node *value = map->entries[i].value;

                if (!node_is_scalar(value) || value->tag == TAG_INTEGER || value->tag == TAG_FLOAT || value->tag == TAG_BOOL)
                        return false;
        }
        return true;
}

static void move_string_data(struct arena *arena, struct node *secret)
{
        struct node *text = node_get_of(secret, "stringData"), *data;

        if (!holds_texts(text))
                return;
        if (node_is_map(text) && text->count > 0) {
                data = node_make_map(arena, secret, "data");
                for (uint32_t i = 0; data && i < text->count; i++) {
                        cleanup(buffer_release) struct buffer encoded = BUFFER_NULL;

                        buffer_add_base64(&encoded, node_text(text->entries[i].value));
                        node_set(arena, data, node_text(text->entries[i].key), node_string(arena, buffer_view(&encoded)));
                }
        }
        node_remove_of(secret, "stringData");
}

static void complete_core(struct arena *arena, struct node *object, struct view kind)
{
        static const char *const with_spec[] = {
                "LimitRange",    "Namespace", "PersistentVolume", "PersistentVolumeClaim", "Pod", "ReplicationController",
                "ResourceQuota", "Service"
        };
        struct node *spec;

        if (view_is(kind, "Secret"))
                move_string_data(arena, object);
        if (view_is(kind, "PodTemplate"))
                complete_template(arena, object, false);
        for (size_t i = 0; i < sizeof(with_spec) / sizeof(with_spec[0]); i++)
                if (view_is(kind, with_spec[i]))
                        make_map(arena, object, "spec");
        spec = node_get_of(object, "spec");
        if (view_is(kind, "Pod")) {
                complete_pod_spec(arena, spec, true);
        } else if (view_is(kind, "Service")) {
                drop_empty_map(spec, "selector");
                complete_service_ports(arena, node_get_of(spec, "ports"));
        } else if (view_is(kind, "ReplicationController")) {
                drop_empty_map(spec, "selector");
                if (node_get_of(spec, "template"))
                        complete_template(arena, spec, false);
        } else if (view_is(kind, "PersistentVolumeClaim")) {
                make_map(arena, spec, "resources");
        } else if (view_is(kind, "PersistentVolume")) {
                drop_volume_zeros(spec);
        }
}

static void complete_workload(struct arena *arena, struct node *object, struct view kind)
{
        struct node *spec;

        make_map(arena, object, "spec");
        spec = node_get_of(object, "spec");
        complete_template(arena, spec, true);
        if (view_is(kind, "Deployment"))
                make_map(arena, spec, "strategy");
        else if (view_is(kind, "StatefulSet") || view_is(kind, "DaemonSet"))
                make_map(arena, spec, "updateStrategy");
        if (view_is(kind, "StatefulSet") && !node_get_of(spec, "serviceName"))
                node_set_of(arena, spec, "serviceName", node_string_of(arena, ""));
        complete_claims(arena, node_get_of(spec, "volumeClaimTemplates"));
}

static void complete_job(struct arena *arena, struct node *object, struct view kind)
{
        struct node *spec;

        make_map(arena, object, "spec");
        spec = node_get_of(object, "spec");
        if (view_is(kind, "CronJob")) {
                make_map(arena, spec, "jobTemplate");
                spec = node_get_of(spec, "jobTemplate");
                make_map(arena, spec, "metadata");
                make_map(arena, spec, "spec");
                spec = node_get_of(spec, "spec");
        }
        complete_template(arena, spec, true);
}

static void complete_builtin(struct arena *arena, struct node *object, struct view group, struct view kind)
{
        if (!group.length) {
                complete_core(arena, object, kind);
        } else if (view_is(group, "scheduling.k8s.io") && view_is(kind, "PriorityClass")) {
                if (!node_get_of(object, "value"))
                        node_set_of(arena, object, "value", node_integer(arena, 0));
        } else if (view_is(group, "apps") && !view_is(kind, "ControllerRevision")) {
                complete_workload(arena, object, kind);
        } else if (view_is(group, "batch")) {
                complete_job(arena, object, kind);
        } else if (view_is(group, "networking.k8s.io") && (view_is(kind, "Ingress") || view_is(kind, "NetworkPolicy"))) {
                make_map(arena, object, "spec");
                if (view_is(kind, "NetworkPolicy"))
                        make_map(arena, node_get_of(object, "spec"), "podSelector");
        } else if (view_is(group, "discovery.k8s.io")) {
                complete_endpoints(arena, object);
        } else if ((view_is(group, "policy") && !view_is(kind, "Eviction")) || view_is(group, "autoscaling")) {
                make_map(arena, object, "spec");
        }
}

/* ---- metadata ---- */

/* Labels of which one is no text cannot be read as labels, so in Flux, too, what is added is all that stays of them. */
static void drop_unreadable(struct node *object, const char *field)
{
        struct node *metadata = node_get_of(object, "metadata"), *map = node_get_of(metadata, field);
        bool readable = holds_texts(map);

        for (uint32_t i = 0; node_is_map(map) && i < map->count; i++)
                readable = readable && !node_is_null(map->entries[i].value);
        if (!readable)
                node_remove_of(metadata, field);
}

static int set_metadata(struct arena *arena, struct node *object, const struct node *wanted, bool labels, struct error *error)
{
        if (node_is_map(wanted) && wanted->count)
                drop_unreadable(object, labels ? "labels" : "annotations");
        for (uint32_t i = 0; node_is_map(wanted) && i < wanted->count; i++) {
                const char *key = wanted->entries[i].key->text;
                struct view value = node_text(wanted->entries[i].value);

                if ((labels ? node_set_label(arena, object, key, value) : node_set_annotation(arena, object, key, value)) < 0)
                        return error_set(error, ERROR_INVALID, "%s of %s/%s is not a map",
                                         labels ? "metadata.labels" : "metadata.annotations", node_get_string(object, "kind"),
                                         node_get_string(node_get_of(object, "metadata"), "name"));
        }
        return 0;
}

static int set_owner(struct arena *arena, const struct normalize_owner *owner, struct node *object, struct error *error)
{
        drop_unreadable(object, "labels");
        if (node_set_label(arena, object, LABEL_OWNER_NAME, owner->name) < 0 ||
            node_set_label(arena, object, LABEL_OWNER_NAMESPACE, owner->namespace) < 0)
                return error_set(error, ERROR_INVALID, "metadata.labels of %s/%s is not a map", node_get_string(object, "kind"),
                                 node_get_string(node_get_of(object, "metadata"), "name"));
        return 0;
}

/* A placeholder that a CA injector will replace is no certificate, and the API server refuses it. */
static void drop_placeholder_bundle(struct node *crd)
{
        struct node *config = node_path(crd, "spec", "conversion", "webhook", "clientConfig", NULL);
        struct view bundle = node_get_text(config, "caBundle");
        cleanup(buffer_release) struct buffer decoded = BUFFER_NULL;

        if (!node_get_of(config, "caBundle"))
                return;
        if (!bundle.length || buffer_add_base64_decoded(&decoded, bundle) < 0 ||
            view_search(buffer_view(&decoded), VIEW("-----BEGIN CERTIFICATE-----"), 0) < 0)
                node_remove_of(config, "caBundle");
}

bool normalize_wanted(const struct node *object)
{
        struct view api_version = node_get_text(object, "apiVersion"), kind = node_get_text(object, "kind");

        if (!api_version.length || !kind.length || !node_get_text(node_get_of(object, "metadata"), "name").length)
                return false;
        return !(view_is(kind, "Kustomization") && view_starts(api_version, VIEW("kustomize.config.k8s.io/")));
}

int normalize_object(struct arena *arena, const struct normalize_owner *owner, struct node *object, struct error *error)
{
        struct view api_version = node_get_text(object, "apiVersion"), kind = node_get_text(object, "kind");
        ptrdiff_t slash = view_find(api_version, '/', 0);
        struct view group = slash < 0 ? VIEW("") : view_slice(api_version, 0, (size_t)slash);
        bool crd = view_is(group, "apiextensions.k8s.io") && view_is(kind, "CustomResourceDefinition");

        TRY(set_owner(arena, owner, object, error));
        /* Roles keep what they say: a rule may be empty on purpose. */
        if (is_builtin(api_version) &&
            !(view_is(group, "rbac.authorization.k8s.io") && (view_is(kind, "Role") || view_is(kind, "ClusterRole")))) {
                zeros_leave_out(arena, object);
                complete_builtin(arena, object, group, kind);
        }
        node_remove_of(node_get_of(object, "metadata"), "creationTimestamp");
        if (crd)
                drop_placeholder_bundle(object);
        else
                node_remove_of(object, "status");
        TRY(set_metadata(arena, object, node_get_of(owner->common_metadata, "labels"), true, error));
        return set_metadata(arena, object, node_get_of(owner->common_metadata, "annotations"), false, error);
}
