/*
 * What a Kustomization is made from: its source's artifact, the Kustomizations before it, the values to substitute; and whether any of it changed
 * since the last successful run.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "data/digest.h"
#include "epoch.h"
#include "run.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLES_LIMIT   65536
#define VERSION_PERIOD_MS (10 * 60 * INT64_C(1000))

static const struct source_kind {
        const char *kind, *plural;
} source_kinds[] = {
        { "GitRepository", "gitrepositories" },
        { "OCIRepository", "ocirepositories" },
        { "Bucket", "buckets" },
        { "ExternalArtifact", "externalartifacts" },
};

/* ---- the source ---- */

static int source_denied(struct run *run, const char *namespace, const char *why, struct error *error)
{
        const struct source_reference *reference = run->spec.source_ref;

        run->reconcile->terminal = true;
        error_set_reason(error, ERROR_FORBIDDEN, REASON_ACCESS_DENIED, "can't access '%s/%s/%s', %s", reference->kind, namespace,
                         reference->name, why);
        run_stalled(run, REASON_ACCESS_DENIED, false, "%s", error_message(error));
        return -1;
}

static int source_missing(struct run *run, const char *kind, const char *namespace, const char *name)
{
        const char *prefix = run->spec.source_ref->namespace ? arena_printf(run->arena, "%s/", namespace) : "";

        run_not_ready(run, REASON_ARTIFACT_FAILED, arena_printf(run->arena, "%s.%s \"%s\" not found", kind, SOURCE_GROUP, name));
        log_info(&run->reconcile->log, "Source '%s/%s%s' not found", kind, prefix, name);
        run->reconcile->requeue_after_ms = duration_wait_ms(run->retry_ns);
        return RUN_ENDED;
}

static int source_waiting(struct run *run)
{
        char text[DURATION_TEXT];
        const char *message = arena_printf(run->arena, "Source artifact not found, retrying in %s",
                                           duration_print(run->reconcile->runtime->flags->requeue_dependency, text));

        run_not_ready(run, REASON_ARTIFACT_FAILED, message);
        log_info(&run->reconcile->log, "%s", message);
        run->reconcile->requeue_after_ms = duration_wait_ms(run->reconcile->runtime->flags->requeue_dependency);
        return RUN_ENDED;
}

/* From the cache; what is not there is asked for, because a cache lags, and all is if the watch is blind. *ret_source is NULL if it does not exist. */
static int read_source(struct context *ctx, struct run *run, const struct source_kind *kind, const char *namespace,
                       const char *name, struct json **ret_source, struct error *error)
{
        const struct runtime *runtime = run->reconcile->runtime;
        struct cache *cache = runtime_gate(runtime, "DirectSourceFetch") ? NULL : runtime_cache(runtime, SOURCE_GROUP, kind->kind);
        cleanup(cache_object_release) const struct cache_object *cached = cache ? cache_get(cache, namespace, name) : NULL;

        if (cached)
                return json_parse(cached->text, ret_source, error);
        if (kube_get(ctx, runtime->client, kube_resource_intern(SOURCE_GROUP, "v1", kind->kind, kind->plural, true), namespace,
                     name, ret_source, error) == 0)
                return 0;
        if (!kube_is_absent(error)) {
                run->reconcile->retry_limit_ms = RECONCILE_BLIND_MS;
                return error_wrap(error, "unable to get source '%s/%s'", namespace, name);
        }
        error_release(error);
        *ret_source = NULL;
        return 0;
}

static const char *copy_text(struct run *run, const struct json *json)
{
        const char *text = json_string(json, NULL);

        return text ? arena_string(run->arena, text) : NULL;
}

int run_source(struct context *ctx, struct run *run, struct error *error)
{
        const struct source_reference *reference = run->spec.source_ref;
        const char *namespace = reference->namespace && *reference->namespace ? reference->namespace : run->namespace;
        cleanup(json_free) struct json *source = NULL;
        const struct source_kind *kind = NULL;
        const struct json *artifact;
        int64_t size;

        for (size_t i = 0; i < sizeof(source_kinds) / sizeof(source_kinds[0]); i++)
                if (strcmp(reference->kind, source_kinds[i].kind) == 0)
                        kind = &source_kinds[i];
        if (run->reconcile->runtime->flags->no_cross_namespace_refs && strcmp(namespace, run->namespace) != 0)
                return source_denied(run, namespace, "cross-namespace references have been blocked", error);
        if (strcmp(reference->kind, "ExternalArtifact") == 0 && !runtime_gate(run->reconcile->runtime, "ExternalArtifact"))
                return source_denied(run, namespace, "ExternalArtifact feature gate is disabled", error);
        if (!kind)
                return error_set_reason(error, ERROR_INVALID, REASON_ARTIFACT_FAILED, "source `%s` kind '%s' not supported",
                                        reference->name, reference->kind);

        if (read_source(ctx, run, kind, namespace, reference->name, &source, error) < 0) {
                if (error->kind != ERROR_CANCELLED) /* it is the process that ends, not the source */
                        run_not_ready(run, REASON_ARTIFACT_FAILED, error_message(error));
                return -1;
        }
        if (!source)
                return source_missing(run, reference->kind, namespace, reference->name);
        artifact = json_path(source, "status", "artifact", NULL);
        if (json_is_null(artifact))
                return source_waiting(run);
        run->artifact_url = copy_text(run, json_get(artifact, "url"));
        run->artifact_digest = copy_text(run, json_get(artifact, "digest"));
        run->revision = copy_text(run, json_get(artifact, "revision"));
        size = json_integer(json_get(artifact, "size"), 0);
        run->origin_revision = copy_text(run, json_path(artifact, "metadata", "org.opencontainers.image.revision", NULL));
        if (!run->artifact_url || !run->revision)
                return source_waiting(run);
        run->artifact_size = size > 0 ? (uint64_t)size : 0;
        if (!run->artifact_digest)
                run->artifact_digest = "";
        return 0;
}

/* ---- dependencies ---- */

static bool same_text(const char *a, const char *b)
{
        return strcmp(a ? a : "", b ? b : "") == 0;
}

/* *ret_why is NULL if it is ready. */
static int check_dependency(struct context *ctx, struct run *run, const struct dependency_reference *reference,
                            const char **ret_why, struct error *error)
{
        const char *namespace = reference->namespace && *reference->namespace ? reference->namespace : run->namespace;
        cleanup(json_free) struct json *dependency = NULL;
        const struct json *source;
        const char *source_namespace, *own_namespace;

        *ret_why = NULL;
        if (kube_get(ctx, run->reconcile->runtime->client, run->resource, namespace, reference->name, &dependency, error) < 0) {
                if (error->kind == ERROR_CANCELLED)
                        return -1;
                *ret_why = arena_printf(run->arena, "dependency '%s/%s' not found: %s", namespace, reference->name,
                                        error_message(error));
                error_release(error);
                return 0;
        }
        if (!json_length(json_path(dependency, "status", "conditions", NULL)) ||
            json_integer(json_path(dependency, "metadata", "generation", NULL), 0) !=
                    json_integer(json_path(dependency, "status", "observedGeneration", NULL), 0) ||
            !condition_is_true(dependency, CONDITION_READY)) {
                *ret_why = arena_printf(run->arena, "dependency '%s/%s' is not ready", namespace, reference->name);
                return 0;
        }
        source = json_path(dependency, "spec", "sourceRef", NULL);
        source_namespace = json_string(json_get(source, "namespace"), "");
        if (!*source_namespace)
                source_namespace = namespace;
        own_namespace = run->spec.source_ref->namespace ? run->spec.source_ref->namespace : "";
        if (!*own_namespace)
                own_namespace = run->namespace;
        if (same_text(json_string(json_get(source, "name"), ""), run->spec.source_ref->name) &&
            same_text(json_string(json_get(source, "kind"), ""), run->spec.source_ref->kind) &&
            same_text(source_namespace, own_namespace) &&
            !same_text(json_string(json_path(dependency, "status", "lastAppliedRevision", NULL), ""), run->revision))
                *ret_why = arena_printf(run->arena, "dependency '%s/%s' revision is not up to date", namespace, reference->name);
        return 0;
}

int run_dependencies(struct context *ctx, struct run *run, struct error *error)
{
        int64_t pause = run->reconcile->runtime->flags->requeue_dependency;
        char text[DURATION_TEXT];

        for (size_t i = 0; i < run->spec.depends_on.count; i++) {
                const char *why;

                TRY(check_dependency(ctx, run, &run->spec.depends_on.items[i], &why, error));
                if (!why)
                        continue;
                run_not_ready(run, REASON_DEPENDENCY_NOT_READY, why);
                log_info(&run->reconcile->log, "Dependencies do not meet ready condition, retrying in %s",
                         duration_print(pause, text));
                run_event(run, EVENT_NORMAL, run->revision, run->origin_revision, false,
                          "Dependencies do not meet ready condition, retrying in %s", text);
                run->reconcile->requeue_after_ms = duration_wait_ms(pause);
                return RUN_ENDED;
        }
        if (run->spec.depends_on.count)
                log_info(&run->reconcile->log, "All dependencies are ready, proceeding with reconciliation");
        return 0;
}

/* ---- variables ---- */

struct collected {
        struct variable *items;
        size_t count, capacity;
};

/* Line breaks are taken out of values. */
static void add_variable(struct run *run, struct collected *collected, struct view name, struct view value)
{
        char *clean = arena_allocate(run->arena, value.length + 1);
        size_t length = 0;

        for (size_t i = 0; i < value.length; i++)
                if (value.data[i] != '\n')
                        clean[length++] = value.data[i];
        if (collected->count == collected->capacity) {
                size_t capacity = collected->capacity ? collected->capacity * 2 : 16;

                collected->items = arena_grow(run->arena, collected->items, collected->capacity * sizeof(*collected->items),
                                              capacity * sizeof(*collected->items));
                collected->capacity = capacity;
        }
        collected->items[collected->count++] = (struct variable){ arena_view(run->arena, name), { clean, length } };
}

static int add_reference(struct context *ctx, struct run *run, const struct substitute_reference *reference,
                         struct collected *collected, struct digest *inputs, struct error *error)
{
        bool secret = strcmp(reference->kind, "Secret") == 0;
        const struct kube_resource *resource =
                kube_resource_intern("", "v1", secret ? "Secret" : "ConfigMap", secret ? "secrets" : "configmaps", true);
        cleanup(json_wipe) struct json *object = NULL;

        if (kube_get(ctx, run->reconcile->runtime->client, resource, run->namespace, reference->name, &object, error) < 0) {
                if (reference->optional && kube_is_absent(error)) {
                        error_release(error);
                        return 0;
                }
                return error_wrap(error, "substitute from '%s/%s' error", reference->kind, reference->name);
        }
        if (secret)
                arena_keep_secret(run->arena);
        digest_add(inputs, json_view(json_path(object, "metadata", "uid", NULL)));
        digest_add(inputs, json_view(json_path(object, "metadata", "resourceVersion", NULL)));
        JSON_EACH(json_get(object, "data"), member) {
                cleanup(buffer_release) struct buffer decoded = BUFFER_SECRET;
                struct view value = json_view(member.value);

                if (secret && buffer_add_base64_decoded(&decoded, value) < 0)
                        return error_set(error, ERROR_INVALID, "substitute from 'Secret/%s' error: the value of '%s' is not base64",
                                         reference->name, member.key);
                if (collected->count == VARIABLES_LIMIT)
                        return error_set(error, ERROR_TOO_LARGE, "postBuild has more than %d variables", VARIABLES_LIMIT);
                add_variable(run, collected, view_of(member.key), secret ? buffer_view(&decoded) : value);
        }
        return 0;
}

static int compare_variables(const void *a, const void *b)
{
        const struct variable *first = *(const struct variable *const *)a, *second = *(const struct variable *const *)b;
        int order = view_compare(first->name, second->name);

        return order ? order : (first > second) - (first < second);
}

/* Sorted; of several with one name the last added stays. */
static struct variables finish_variables(struct run *run, const struct collected *collected, bool strict)
{
        const struct variable **order = arena_array(run->arena, collected->count, sizeof(*order));
        struct variable *items = arena_array(run->arena, collected->count, sizeof(*items));
        size_t count = 0;

        for (size_t i = 0; i < collected->count; i++)
                order[i] = &collected->items[i];
        qsort(order, collected->count, sizeof(*order), compare_variables);
        for (size_t i = 0; i < collected->count; i++) {
                if (count && view_equal(items[count - 1].name, order[i]->name))
                        count--;
                items[count++] = *order[i];
        }
        return (struct variables){ items, count, strict };
}

static void add_number(struct digest *digest, int64_t number)
{
        digest_add(digest, (struct view){ (const char *)&number, sizeof(number) });
}

/* With its length, so that two texts beside each other cannot be taken for two others. */
static void add_text(struct digest *digest, const char *text)
{
        struct view view = view_of(text);

        add_number(digest, (int64_t)view.length);
        digest_add(digest, view);
}

int run_inputs(struct context *ctx, struct run *run, struct error *error)
{
        cleanup(digest_free) struct digest *digest = digest_begin(DIGEST_SHA256);
        const struct post_build *post_build = run->spec.post_build;
        struct collected collected = { 0 };
        uint8_t bytes[DIGEST_SIZE_LIMIT];

        add_text(digest, json_string(json_path(run->object, "metadata", "uid", NULL), ""));
        add_number(digest, json_integer(json_path(run->object, "metadata", "generation", NULL), 0));
        add_text(digest, run->artifact_digest);
        add_text(digest, run->revision);
        for (size_t i = 0; post_build && i < post_build->substitute_from.count && !run->variables_error; i++) {
                if (add_reference(ctx, run, &post_build->substitute_from.items[i], &collected, digest, error) == 0)
                        continue;
                if (error->kind == ERROR_CANCELLED)
                        return -1;
                run->variables_error = arena_string(run->arena, error_message(error));
                add_text(digest, run->variables_error);
                error_release(error);
        }
        for (size_t i = 0; post_build && i < post_build->substitute.count; i++)
                add_variable(run, &collected, view_of(post_build->substitute.items[i].key),
                             view_of(post_build->substitute.items[i].value));
        run->variables = finish_variables(run, &collected, runtime_gate(run->reconcile->runtime, "StrictPostBuildSubstitutions"));
        digest_end_bytes(digest, bytes);
        memcpy(run->inputs, bytes, OWNER_INPUTS);
        return 0;
}

/* ---- did anything change ---- */

void run_server_version(struct context *ctx, struct run *run)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        static struct epoch_version version;
        static _Atomic int64_t next_ms;
        cleanup(error_release) struct error ignored = ERROR_NULL; /* the next one asks again */
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        int64_t now = clock_now_ms(), due = next_ms;
        bool changed;

        if (!kustomize.drift || now < due || !atomic_compare_exchange_strong(&next_ms, &due, now + VERSION_PERIOD_MS) ||
            kube_get_path(ctx, run->reconcile->runtime->client, "/version", &answer, &ignored) < 0)
                return;
        pthread_mutex_lock(&lock);
        changed = epoch_version_changed(&version, buffer_view(&answer));
        pthread_mutex_unlock(&lock);
        if (changed)
                drift_epoch(kustomize.drift, NULL, epoch_next());
}

/* Asks about what no watch tells of, in as few requests as it takes. */
static bool look(struct context *ctx, struct run *run)
{
        cleanup(error_release) struct error ignored = ERROR_NULL; /* what is not known now is asked about by the run */
        struct apply_settings settings;
        struct inventory inventory;

        if (!drift_owner_unseen(kustomize.drift, run->namespace, run->name, clock_now_ms()))
                return true;
        inventory = inventory_decode(json_path(run->object, "status", "inventory", NULL), run->arena);
        run_client(run);
        settings = run_settings(run);
        return apply_look(ctx, &settings, &inventory, &ignored) == 0;
}

bool run_unchanged(struct context *ctx, struct run *run)
{
        size_t objects, seen;
        bool current;

        if (kustomize.drift)
                drift_unlist(kustomize.drift, run->namespace, run->name);
        if (!kustomize.drift || !condition_ready(run->object) || !same_text(run->status.last_applied_revision, run->revision) ||
            run->status.observed_generation != json_integer(json_path(run->object, "metadata", "generation", NULL), 0) ||
            object_force_requested(run->object))
                return false;
        if (run->spec.health_checks.count && !run->spec.wait)
                return false; /* these objects are not ours to watch */
        if (!owners_recall(kustomize.owners, run->namespace, run->name, run->inputs, &objects))
                return false;
        if ((run->status.inventory ? run->status.inventory->entries.count : 0) != objects)
                return false; /* somebody changed the list of what is ours: it is written anew */
        run_report_watches(run);
        if (!look(ctx, run) || run_rights_changed(ctx, run))
                return false;
        if (!drift_owner_quiet(kustomize.drift, run->namespace, run->name, run_recheck_ms(run), clock_now_ms(), &seen, &current))
                return false;
        return seen == objects && (current || !run->spec.wait);
}
