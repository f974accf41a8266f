/*
 * apply_world: a cluster of a few lines to apply to, and runs that do.
 */
#pragma once

#include "fake_resources.h"
#include "fake_store.h"

#include "kube/apply.h"
#include "kube/managed_fields.h"
#include "kube/meta.h"
#include "kube/parallel.h"

#include <stdio.h>

/* For MAP: an annotation of ours. */
#define NOTE(key, value) ",\"annotations\":{\"kustomize.toolkit.fluxcd.io/" key "\":\"" value "\"}"

/*
 * The cluster: objects by "<plural>/<namespace>/<name>". An apply replaces spec and data, adds labels and annotations, and moves the
 * resourceVersion if that changed anything. Names say what the server does: "invalid..." is refused, "fixed..." is refused if it is there and different.
 */
static struct {
        struct json *objects;
        int version;
        const char *refuse_create; /* the temporary object as well */
} cluster;

static char *path_of(const struct kube_request *request)
{
        return memory_printf("%s/%s/%s", request->resource->plural, request->namespace ? request->namespace : "", request->name);
}

static int not_found(const struct kube_request *request, struct error *error)
{
        cleanup(free_string) char *message = memory_printf("%s \"%s\" not found", request->resource->plural, request->name);

        return fake_error(error, 404, "NotFound", message);
}

static void merge_map(struct json *object, const struct json *body, const char *member)
{
        JSON_EACH(JSON_PATH(body, "metadata", member), entry)
                json_set(json_object_at(json_object_at(object, "metadata"), member), entry.key, json_copy(entry.value));
}

#define OWN_ENTRY                                                                                                                  \
        "[{\"manager\":\"kustomize-controller\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"time\":\"2020-01-01T00:00:00Z\","  \
        "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}}]"

static struct json *applied(const struct json *old, const struct json *body)
{
        static const char *const replaced[] = { "apiVersion", "kind", "spec", "data" };
        struct json *object = old ? json_copy(old) : json_new_object();
        struct json *metadata = json_object_at(object, "metadata");
        size_t i;

        for (i = 0; i < COUNT(replaced); i++)
                if (json_get(body, replaced[i]))
                        json_set(object, replaced[i], json_copy(json_get(body, replaced[i])));
        merge_map(object, body, "labels");
        merge_map(object, body, "annotations");
        if (!old) {
                json_set(metadata, "namespace", json_copy(JSON_PATH(body, "metadata", "namespace")));
                json_set(metadata, "name", json_copy(JSON_PATH(body, "metadata", "name")));
                json_set_string(metadata, "uid", "00000000-0000-0000-0000-000000000001");
                if (JSON_PATH(body, "metadata", "resourceVersion"))
                        json_set(metadata, "resourceVersion", json_copy(JSON_PATH(body, "metadata", "resourceVersion")));
        }
        if (!JSON_PATH(object, "metadata", "managedFields"))
                json_set(metadata, "managedFields", json_of(OWN_ENTRY));
        return object;
}

static bool is_foreign(const struct json *object)
{
        cleanup(free_string) char *text = json_text(JSON_PATH(object, "metadata", "managedFields"));

        return strstr(text, "kubectl-edit");
}

static int serve_apply(const struct kube_request *request, const char *text, const char *path, struct json **ret_json,
                       struct error *error)
{
        const struct json *old = json_get(cluster.objects, path);
        cleanup(json_free) struct json *body = json_of(text);
        cleanup(json_free) struct json *object = applied(old, body);

        assert_true(request->force);
        assert_string_equal(request->field_manager, "kustomize-controller");
        if (!strncmp(request->name, "invalid", 7))
                return fake_error(error, 422, "Invalid", "it is invalid: spec.x: Required value");
        if (cluster.refuse_create && strcmp(request->name, json_string(JSON_PATH(body, "metadata", "name"), "")) == 0 &&
            !strncmp(request->name, "fixed-", 6))
                return fake_error(error, 422, "Invalid", cluster.refuse_create);
        if (!strncmp(request->name, "crowded", 7) && old && is_foreign(old))
                return fake_error(error, 422, "Invalid", "spec.ports[0].name: Required value");
        if (json_get(body, "unknown"))
                return fake_error(error, 500, "InternalError",
                                  "failed to create typed patch object (x): .unknown: field not declared in schema");
        if (!strncmp(request->name, "fixed", 5) && old && !json_equal(json_get(old, "data"), json_get(object, "data")))
                return fake_error(error, 422, "Invalid", "data: field is immutable");
        if (!old || !json_equal(old, object)) {
                if (!request->dry_run)
                        json_set(json_get(object, "metadata"), "resourceVersion", json_new_printf("%d", ++cluster.version));
        }
        if (!request->dry_run)
                json_set(cluster.objects, path, json_copy(object));
        *ret_json = steal(&object);
        return 0;
}

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        cleanup(free_string) char *path = request->name ? path_of(request) : NULL;
        const struct json *old = path ? json_get(cluster.objects, path) : NULL;

        switch (request->verb) {
        case KUBE_APPLY:
                return serve_apply(request, body, path, ret_json, error);
        case KUBE_LIST:
                return fake_error(error, 403, "Forbidden", "nothing may be listed");
        case KUBE_PATCH_JSON:
                json_set(json_get(json_get(cluster.objects, path), "metadata"), "managedFields", json_of(OWN_ENTRY));
                *ret_json = json_new_object();
                return 0;
        default:
                break;
        }
        if (!old)
                return not_found(request, error);
        *ret_json = json_copy(old);
        if (request->verb == KUBE_DELETE) {
                assert_string_equal(request->propagation, "Background");
                assert_string_equal(request->uid, json_string(JSON_PATH(old, "metadata", "uid"), ""));
                if (strcmp(request->resource_version, json_string(JSON_PATH(old, "metadata", "resourceVersion"), ""))) {
                        json_free(ret_json);
                        return fake_error(error, 409, "Conflict", "the ResourceVersion in the precondition does not match");
                }
                json_remove(cluster.objects, path);
        }
        return 0;
}

/* ---- runs ---- */

static struct drift_table *table;
static char woken[256];

static void wake(void *data, const char *owner_namespace, const char *owner_name, const struct drift_report *report)
{
        (void)data;
        snprintf(woken, sizeof(woken), "%s/%s: %s %s by '%s'", owner_namespace, owner_name, report->name,
                 report->deleted ? "deleted" : report->fields, report->manager);
}

static int setup(void **state)
{
        const struct drift_settings settings = {
                .field_manager = "kustomize-controller",
                .label_group = "kustomize.toolkit.fluxcd.io",
                .wake = wake,
        };

        (void)state;
        fake_store_begin(serve, &cluster.objects);
        cluster.version = 0;
        cluster.refuse_create = NULL;
        table = drift_table_new(&settings);
        woken[0] = '\0';
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_store_end(&cluster.objects);
        drift_table_free(&table);
        return 0;
}

static struct apply_settings settings_with_table(void)
{
        return (struct apply_settings){
                .field_manager = "kustomize-controller",
                .annotation_group = "kustomize.toolkit.fluxcd.io",
                .owner_name = "app",
                .owner_namespace = "flux",
                .drift = table,
        };
}

#define LABELS "\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/namespace\":\"flux\"}"
#define MAP(name, rest, data)                                                                                                      \
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"" name "\"," LABELS rest      \
        "},\"data\":" data "}"
#define NAMESPACE(name) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\"," LABELS "}}"

static struct apply_object object_of(const char *text)
{
        cleanup(json_free) struct json *json = json_of(text);

        return (struct apply_object){
                .api_version = arena_view(arena, json_view(json_get(json, "apiVersion"))),
                .kind = arena_view(arena, json_view(json_get(json, "kind"))),
                .namespace = arena_view(arena, json_view(JSON_PATH(json, "metadata", "namespace"))),
                .name = arena_view(arena, json_view(JSON_PATH(json, "metadata", "name"))),
                .text = view_of(text),
        };
}

/* What happened: the requests, then the changes or the error. The arena owns it. */
static const char *run(const struct apply_settings *settings, const char *const *texts, size_t count, bool known)
{
        struct apply_object *objects = arena_array(arena, count, sizeof(*objects));
        struct apply_changes changes = APPLY_CHANGES_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(free_string) char *lines = NULL;
        size_t i;
        int r;

        fake_reset();
        for (i = 0; i < count; i++) {
                objects[i] = object_of(texts[i]);
                objects[i].known = known;
        }
        drift_run_begin(table, "flux", "app");
        r = apply_objects(&context, settings, objects, count, arena, &changes, &error);
        drift_run_end(table, "flux", "app");
        lines = fake_lines();
        buffer_add_string(&text, lines);
        buffer_add_string(&text, "-> ");
        if (r == 0)
                apply_changes_print(&changes, true, &text);
        else
                buffer_add_string(&text, error_message(&error));
        for (i = 0; i < changes.count; i++) {
                if (changes.items[i].unknown)
                        buffer_printf(&text, ", left out: %s", changes.items[i].unknown);
                if (changes.items[i].paths)
                        buffer_printf(&text, ", changed: %s", changes.items[i].paths);
        }
        return arena_string(arena, buffer_string(&text));
}

static const char *run_one(const struct apply_settings *settings, const char *object, bool known)
{
        return run(settings, &object, 1, known);
}

static const struct json *stored(const char *name)
{
        cleanup(free_string) char *path = memory_printf("configmaps/ns/%s", name);

        return json_get(cluster.objects, path);
}

static void store(const char *name, const char *text)
{
        cleanup(free_string) char *path = memory_printf("configmaps/ns/%s", name);
        cleanup(json_free) struct json *body = json_of(text);
        struct json *object = applied(NULL, body);

        if (JSON_PATH(body, "metadata", "managedFields"))
                json_set(json_get(object, "metadata"), "managedFields", json_copy(JSON_PATH(body, "metadata", "managedFields")));
        json_set(json_get(object, "metadata"), "resourceVersion", json_new_printf("%d", ++cluster.version));
        json_set(cluster.objects, path, object);
}

static void watch_shows(const char *name)
{
        cleanup(free_string) char *text = json_text(stored(name));

        drift_update(table, &(struct drift_key){ &fake_resources[0], "ns", name }, stored(name) ? DRIFT_SEEN : DRIFT_DELETED,
                     stored(name) ? view_of(text) : VIEW_NULL);
}
