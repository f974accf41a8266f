/*
 * What wakes a Kustomization: its source's artifact, labelled ConfigMaps and Secrets that it refers to, a dependency that became ready, somebody who
 * changed what it applied.
 *
 * Predicates and maps run on the io thread: they read text and build no trees.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/scan.h"
#include "epoch.h"
#include "kube/watch_configs.h"
#include "run.h"
#include "start_order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- indexes of the cache of Kustomizations ---- */

/* That of the Kustomization itself where the reference names none. */
static struct view namespace_of(struct view reference, const struct cache_object *object)
{
        struct view named = scan_string(scan_get(reference, "namespace"));

        return named.length ? named : view_of(object->namespace);
}

static void add_source_key(const struct cache_object *object, struct cache_keys *keys)
{
        struct view reference = SCAN_PATH(object->text, "spec", "sourceRef"), namespace = namespace_of(reference, object);
        struct view kind = scan_string(scan_get(reference, "kind")), name = scan_string(scan_get(reference, "name"));

        cache_keys_printf(keys, "%.*s/%.*s/%.*s", VIEW_ARGS(kind), VIEW_ARGS(namespace), VIEW_ARGS(name));
}

static void add_config_keys(const struct cache_object *object, struct cache_keys *keys)
{
        struct scan references = scan_begin(SCAN_PATH(object->text, "spec", "postBuild", "substituteFrom"));

        while (scan_next(&references))
                config_watch_key(object, scan_string(scan_get(references.value, "kind")),
                                 scan_string(scan_get(references.value, "name")), keys);
}

static void add_dependency_keys(const struct cache_object *object, struct cache_keys *keys)
{
        struct scan references = scan_begin(SCAN_PATH(object->text, "spec", "dependsOn"));

        while (scan_next(&references)) {
                struct view namespace = namespace_of(references.value, object),
                            name = scan_string(scan_get(references.value, "name"));

                cache_keys_printf(keys, "%.*s/%.*s", VIEW_ARGS(namespace), VIEW_ARGS(name));
        }
}

static const struct cache_index indexes[] = {
        { "source", add_source_key },
        { CONFIG_WATCH_INDEX, add_config_keys },
        { "dependency", add_dependency_keys },
};

static bool is_true(const struct cache_object *object, const char *type)
{
        return view_is(scan_string(scan_get(condition_text(object, type), "status")), "True");
}

/* ---- sources ---- */

/* It is at that revision already, or on its way there. */
static bool has_revision(const struct cache_object *object, struct view revision)
{
        bool stalled = is_true(object, CONDITION_STALLED), reconciling = is_true(object, CONDITION_RECONCILING) && !stalled;
        bool ready = is_true(object, CONDITION_READY) && !stalled && !reconciling;

        return (ready || reconciling) &&
               view_equal(scan_string(SCAN_PATH(object->text, "status", "lastAttemptedRevision")), revision);
}

static struct view artifact_text(const struct cache_object *source, const char *field)
{
        return source ? scan_string(SCAN_PATH(source->text, "status", "artifact", field)) : VIEW_NULL;
}

/* Those that others depend on come first. */
static void enqueue_list(struct controller *controller, const struct cache_list *list, const char *kind,
                         const struct cache_event *event, struct view skip_revision)
{
        const struct cache_object **order = memory_zero(list->count, sizeof(*order));

        start_order(list, order);
        for (size_t i = 0; i < list->count; i++)
                if (!skip_revision.length || !has_revision(order[i], skip_revision))
                        controller_enqueue_for(controller, order[i]->namespace, order[i]->name, QUEUE_PRIORITY_NORMAL, kind,
                                               event->new ? event->new : event->old);
        free(order);
}

static void source_changed(struct controller *controller, const struct cache_event *event, const char *kind)
{
        struct view old_revision = artifact_text(event->old, "revision"), new_revision = artifact_text(event->new, "revision");
        const struct cache_object *source = event->new ? event->new : event->old;
        bool update = event->old && event->new, same_revision = update &&view_equal(old_revision, new_revision);
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;
        char key[600];

        if (update) {
                if (!new_revision.length)
                        return;
                if (same_revision && view_equal(artifact_text(event->old, "digest"), artifact_text(event->new, "digest")))
                        return;
        }
        snprintf(key, sizeof(key), "%s/%s/%s", kind, source->namespace, source->name);
        cache_find(controller_cache(controller), "source", key, &list);
        /*
         * The same revision with other content (an ignore rule changed) is news to everybody. Whoever applied what a source had that is deleted
         * now stays as it is until its interval, as in Flux.
         */
        enqueue_list(controller, &list, kind, event, same_revision ? VIEW_NULL : event->new ? new_revision : old_revision);
}

static void git_repository_changed(struct controller *controller, const struct cache_event *event)
{
        source_changed(controller, event, "GitRepository");
}

static void oci_repository_changed(struct controller *controller, const struct cache_event *event)
{
        source_changed(controller, event, "OCIRepository");
}

static void bucket_changed(struct controller *controller, const struct cache_event *event)
{
        source_changed(controller, event, "Bucket");
}

static void external_artifact_changed(struct controller *controller, const struct cache_event *event)
{
        source_changed(controller, event, "ExternalArtifact");
}

/* ---- ConfigMaps and Secrets ---- */

static void config_changed(struct controller *controller, const struct cache_event *event, const char *kind)
{
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;

        config_watch_find(controller, event, kind, &list);
        enqueue_list(controller, &list, kind, event, VIEW_NULL);
}

static void config_map_changed(struct controller *controller, const struct cache_event *event)
{
        config_changed(controller, event, "ConfigMap");
}

static void secret_changed(struct controller *controller, const struct cache_event *event)
{
        config_changed(controller, event, "Secret");
}

/* ---- the server itself ---- */

static void admission_changed(struct controller *controller, const struct cache_event *event)
{
        (void)controller;
        if (kustomize.drift && epoch_admission_changed(event))
                drift_epoch(kustomize.drift, NULL, epoch_next());
}

static void renew_defined(void *data, const struct kube_resource *resource)
{
        if (epoch_defines(data, resource))
                drift_epoch(kustomize.drift, resource, epoch_next());
}

/* Only kinds that are watched are ever taken as verified. */
static void definition_changed(struct controller *controller, const struct cache_event *event)
{
        (void)controller;
        if (kustomize.drift && epoch_definition_changed(event))
                watch_pool_each(kustomize.watches, renew_defined, (void *)(uintptr_t)event->new->name);
}

/* What decides about every write: a change of one has everything verified anew. */
#define ADMISSION(kind_, plural_)                                                                                                  \
        {                                                                                                                          \
                .group = "admissionregistration.k8s.io", .version = "v1", .kind = (kind_), .plural = (plural_),                    \
                .cluster_scoped = true, .metadata_only = true, .optional = true, .map = admission_changed                          \
        }

static const struct controller_watch watches[] = {
        { .group = SOURCE_GROUP,
          .version = "v1",
          .kind = "GitRepository",
          .plural = "gitrepositories",
          .optional = true,
          .map = git_repository_changed },
        { .group = SOURCE_GROUP,
          .version = "v1",
          .kind = "OCIRepository",
          .plural = "ocirepositories",
          .optional = true,
          .map = oci_repository_changed },
        { .group = SOURCE_GROUP, .version = "v1", .kind = "Bucket", .plural = "buckets", .optional = true, .map = bucket_changed },
        { .group = SOURCE_GROUP,
          .version = "v1",
          .kind = "ExternalArtifact",
          .plural = "externalartifacts",
          .gate = "ExternalArtifact",
          .optional = true,
          .map = external_artifact_changed },
        { CONFIG_WATCH_MAPS, .map = config_map_changed },
        { CONFIG_WATCH_SECRETS, .map = secret_changed },
        ADMISSION("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
        ADMISSION("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        ADMISSION("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ADMISSION("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
        { .group = "apiextensions.k8s.io",
          .version = "v1",
          .kind = "CustomResourceDefinition",
          .plural = "customresourcedefinitions",
          .cluster_scoped = true,
          .metadata_only = true,
          .optional = true,
          .map = definition_changed },
};

/* Also one that lost its finalizer, or belongs to another replica now. */
static void removed(struct controller *controller, const struct cache_object *object)
{
        (void)controller;
        forget_owner(object->namespace, object->name);
}

static void restored(struct controller *controller)
{
        (void)controller;
        if (kustomize.drift)
                drift_restart(kustomize.drift, NULL);
}

struct controller kustomization_controller = { .kind = &kustomization_kind,
                                               .reconcile = kustomization_reconcile,
                                               .removed = removed,
                                               .restored = restored,
                                               .watches = watches,
                                               .watch_count = sizeof(watches) / sizeof(watches[0]),
                                               .indexes = indexes,
                                               .index_count = sizeof(indexes) / sizeof(indexes[0]),
                                               .supersede_gate = "CancelHealthCheckOnNewRevision" };

/* ---- drift ---- */

void drift_seen(void *data, const struct kube_resource *resource, const struct cache_event *event)
{
        const struct cache_object *object = event->new ? event->new : event->old;
        const struct drift_key key = { resource, object->namespace, object->name };

        (void)data;
        drift_watch_heard(kustomize.drift, resource, clock_now_ms());
        drift_update(kustomize.drift, &key, event->new ? DRIFT_SEEN : DRIFT_DELETED, event->frame);
}

void drift_unwatched(void *data, const struct kube_resource *resource, const struct error *error)
{
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;

        (void)data;
        log_field(&fields, "kind", resource->kind);
        log_field(&fields, "apiVersion", resource->api_version);
        /* Of a server that is away the program's own watches tell. */
        log_line(error->http_status == 403 ? LOG_ERROR : LOG_DEBUG, NULL, &fields, NULL, error,
                 "Failed to watch what is applied: drift is found at the intervals only");
}

/* A later watch of the same kind begins anew: what it does not show by its end is gone, and its first events do not speak for the rest. */
void drift_unused(void *data, const struct kube_resource *resource)
{
        (void)data;
        drift_watch_synced(kustomize.drift, resource, false);
}

void drift_restored(void *data, const struct kube_resource *resource)
{
        (void)data;
        drift_restart(kustomize.drift, resource);
        controller_enqueue_all(&kustomization_controller);
}

void wake_owner(void *data, const char *owner_namespace, const char *owner_name, const struct drift_report *report)
{
        cleanup(log_fields_release) struct log_fields fields = LOG_FIELDS_NULL;
        const char *by = *report->manager ? report->manager : "somebody";
        char id[640], line[1024];
        int64_t pause;

        (void)data;
        snprintf(id, sizeof(id), "%s/%s%s%s", report->resource->kind, report->namespace, *report->namespace ? "/" : "",
                 report->name);
        snprintf(line, sizeof(line), "%s was changed by %s%s%s", id, by, *report->fields ? ": " : "", report->fields);
        pause = owners_drifted(kustomize.owners, owner_namespace, owner_name, id, report->deleted ? NULL : line);
        log_field(&fields, "name", owner_name);
        log_field(&fields, "namespace", owner_namespace);
        log_field(&fields, "reconciler kind", "Kustomization");
        log_field(&fields, "manager", report->manager);
        log_field(&fields, "fields", report->fields);
        log_line(LOG_INFO, NULL, NULL, &fields, NULL, "drift detected: %s", report->deleted ? id : line);
        if (report->by_run)
                return;
        /* What waits for health would wait until its timeout for what the edit broke; but who is fought with is left some peace. */
        if (pause <= OWNER_DRIFT_PAUSE_MS)
                controller_interrupt(&kustomization_controller, owner_namespace, owner_name);
        controller_enqueue_after(&kustomization_controller, owner_namespace, owner_name, QUEUE_PRIORITY_NORMAL, pause);
}
