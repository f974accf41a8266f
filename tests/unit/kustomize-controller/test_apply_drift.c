/* What a run says about drift: what it has put right, no more and no less. */
#include "../test.h"

#include "../../../kustomize-controller/run.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "kube/health.h"

#include "fake_reconcile.h"
#include "fake_watch.h"

#include <stdio.h>
#include <string.h>

static const struct kube_resource maps = { "", "v1", "ConfigMap", "configmaps", "v1", true };
static const uint8_t wanted[DRIFT_HASH] = "what is wanted";

static struct buffer events;
static int result;              /* of apply_objects */
static const char *applied;     /* what it creates or configures, as lines; "": nothing */
static void (*meanwhile)(void); /* what happens while it runs */
static bool records;            /* it applies c, of which nobody knows, and another replica has written b into the inventory */
static size_t known;            /* how many objects the run knows of that were there before */

/* In place of kube/apply.c and its neighbours. */
int apply_objects(struct context *context, const struct apply_settings *settings, const struct apply_object *objects, size_t count,
                  struct arena *arena, struct apply_changes *changes, struct error *error)
{
        struct object_id c = { .group = "", .version = "v1", .kind = "ConfigMap", .namespace = "ns", .name = "c" };

        (void)objects, (void)count, (void)arena, (void)changes;
        if (meanwhile)
                meanwhile();
        if (records)
                assert_int_equal(settings->record(settings->data, context, &(struct inventory){ &c, 1 }, error), 0);
        return result == 0 ? 0 : error_set(error, ERROR_INVALID, "as the test wants");
}

void apply_changes_print(const struct apply_changes *changes, bool all, struct buffer *text)
{
        (void)changes, (void)all;
        buffer_add_string(text, applied);
}

const char *apply_action_name(enum apply_action action)
{
        (void)action;
        return "";
}

struct inventory apply_inventory(const struct apply_changes *changes, struct arena *arena)
{
        (void)changes, (void)arena;
        return INVENTORY_NULL;
}

int apply_prune(struct context *context, const struct apply_settings *settings, const struct inventory *stale,
                const struct apply_changes *kept, struct arena *arena, struct apply_changes *changes, struct inventory *ret_left,
                struct error *error)
{
        (void)context, (void)settings, (void)stale, (void)kept, (void)arena, (void)changes, (void)ret_left, (void)error;
        return 0;
}

int health_wait(struct context *context, const struct health_settings *settings, const struct health_object *objects, size_t count,
                struct error *error)
{
        (void)context, (void)settings, (void)objects, (void)count, (void)error;
        return 0;
}

/* In place of the other files of the controller. */
void run_event(struct run *run, enum event_type type, const char *revision, const char *origin_revision, bool commit_status,
               const char *format, ...)
{
        va_list arguments;

        (void)run, (void)revision, (void)origin_revision, (void)commit_status;
        buffer_printf(&events, "[%s] ", type == EVENT_WARNING ? "warning" : "normal");
        va_start(arguments, format);
        buffer_vprintf(&events, format, arguments);
        va_end(arguments);
        buffer_add_char(&events, '\n');
}

void run_drift_event(struct run *run, const char *lines)
{
        (void)run;
        buffer_printf(&events, "[normal] Drift corrected:\n%s\n", lines);
}

int run_write(struct context *ctx, struct run *run, struct error *error)
{
        struct json *inventory = json_path(run->object, "status", "inventory", NULL);

        (void)ctx, (void)error;
        if (records)
                json_set_string(json_append(json_array_at(inventory, "entries"), json_new_object()), "id", "ns_b__ConfigMap");
        return 0;
}

/* As wake_owner does, without the queue. */
static void wake(void *data, const char *owner_namespace, const char *owner_name, const struct drift_report *report)
{
        char object[64], line[128];

        (void)data;
        snprintf(object, sizeof(object), "ConfigMap/ns/%s", report->name);
        snprintf(line, sizeof(line), "%s was changed by %s", object, report->manager);
        owners_drifted(kustomize.owners, owner_namespace, owner_name, object, report->deleted ? NULL : line);
}

static int setup(void **state)
{
        (void)state;
        kustomize.drift = drift_table_new(
                &(struct drift_settings){ .field_manager = FIELD_MANAGER, .label_group = KUSTOMIZATION_GROUP, .wake = wake });
        kustomize.owners = owners_new(NULL);
        drift_watch_synced(kustomize.drift, &maps, true);
        events = BUFFER_NULL;
        applied = "";
        result = 0;
        meanwhile = NULL;
        records = false;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        buffer_release(&events);
        owners_free(&kustomize.owners);
        drift_table_free(&kustomize.drift);
        return 0;
}

static const char *object(char *text, size_t size, int version, const char *edit)
{
        snprintf(text, size,
                 "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"%d\",\"labels\":{\"" KUSTOMIZATION_GROUP
                 "/name\":\"app\",\"" KUSTOMIZATION_GROUP "/namespace\":\"flux\"},\"managedFields\":[{\"manager\":\"" FIELD_MANAGER
                 "\",\"operation\":\"Apply\",\"time\":\"2020-01-01T00:00:00Z\",\"fieldsV1\":{\"f:data\":{%s}}}%s]}}",
                 version, *edit ? "" : "\"f:k\":{}", edit);
        return text;
}

static void verified(const char *name, int version)
{
        const struct drift_key key = { &maps, "ns", name };
        char text[1024];

        drift_verified(kustomize.drift, &key, "flux", "app", wanted, view_of(object(text, sizeof(text), version, "")), true,
                       clock_now_ms());
}

static void edited(const char *name, int version)
{
        static const char edit[] =
                ",{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"time\":\"2020-01-02T00:00:00Z\",\"fieldsV1\":"
                "{\"f:data\":{\"f:k\":{}}}}";
        const struct drift_key key = { &maps, "ns", name };
        char text[1024];

        drift_update(kustomize.drift, &key, DRIFT_SEEN, view_of(object(text, sizeof(text), version, edit)));
}

/* Its events, a line each. */
static const char *run_once(void)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *tree = json_new_object();
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(context_close) struct context context;
        const struct runtime_flags flags = { .concurrent = 1 };
        const struct runtime runtime = { .flags = &flags };
        struct reconcile reconcile = { .runtime = &runtime, .arena = arena, .object = tree, .log = LOG_FIELDS_NULL };
        struct run run = { .reconcile = &reconcile, .arena = arena, .object = tree, .namespace = "flux", .name = "app" };

        context_open(&context, NULL, CLOCK_NEVER);
        buffer_clear(&events);
        assert_int_equal(run_apply(&context, &run, &error), result);
        known = run.old_inventory.count;
        return buffer_string(&events);
}

static void what_was_put_right_is_told(void **state)
{
        (void)state;
        verified("a", 10);
        edited("a", 11);
        applied = "ConfigMap/ns/a configured";
        assert_string_equal(run_once(), "[normal] ConfigMap/ns/a configured\n"
                                        "[normal] Drift corrected:\nConfigMap/ns/a was changed by kubectl-edit\n");
        assert_string_equal(run_once(), "[normal] ConfigMap/ns/a configured\n");
}

static void edit_both(void)
{
        verified("a", 12); /* the run is past it */
        edited("a", 13);
        edited("b", 14);
}

/* An edit that came after the run had looked is undone by the next one, which tells of it, of each object. */
static void what_came_too_late_is_told_by_the_next(void **state)
{
        (void)state;
        verified("a", 10);
        verified("b", 10);
        applied = "ConfigMap/ns/c created";
        meanwhile = edit_both;
        assert_string_equal(run_once(), "[normal] ConfigMap/ns/c created\n");
        meanwhile = NULL;
        applied = "ConfigMap/ns/a configured";
        assert_non_null(strstr(run_once(), "Drift corrected:\n"));
        assert_non_null(strstr(buffer_string(&events), "ConfigMap/ns/a was changed by kubectl-edit\n"));
        assert_non_null(strstr(buffer_string(&events), "ConfigMap/ns/b was changed by kubectl-edit\n"));
}

/* A run that fails has put nothing right. */
static void a_failed_run_tells_nothing(void **state)
{
        (void)state;
        verified("a", 10);
        edited("a", 11);
        result = -1;
        assert_string_equal(run_once(), "");
        result = 0;
        applied = "ConfigMap/ns/a configured";
        assert_non_null(strstr(run_once(), "Drift corrected:\nConfigMap/ns/a was changed by kubectl-edit\n"));
}

static void who_is_fought_with_says_so(void **state)
{
        int warnings = 0;

        (void)state;
        applied = "ConfigMap/ns/a configured";
        for (int i = 0; i < 12; i++) {
                verified("a", 10 + 2 * i);
                edited("a", 11 + 2 * i);
                if (strstr(run_once(), "[warning] Somebody changes again and again what is applied here."))
                        warnings++;
        }
        assert_int_equal(warnings, 3); /* from the tenth correction on */
        assert_non_null(strstr(buffer_string(&events), ":\nConfigMap/ns/a: 20s\n"));
}

/* A write that found more in the list than the run knew of: what another replica applied last is neither forgotten nor kept for ever. */
static void what_another_replica_applied_is_known(void **state)
{
        (void)state;
        run_once();
        assert_int_equal(known, 0);
        records = true;
        run_once();
        assert_int_equal(known, 1); /* b, and not c, which is of this run */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_was_put_right_is_told, setup, teardown),
                cmocka_unit_test_setup_teardown(what_came_too_late_is_told_by_the_next, setup, teardown),
                cmocka_unit_test_setup_teardown(a_failed_run_tells_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(who_is_fought_with_says_so, setup, teardown),
                cmocka_unit_test_setup_teardown(what_another_replica_applied_is_known, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
