/* What wakes Kustomizations, in which order, and what does not. */
#include "../test.h"

#include "../../../kustomize-controller/run.h"
#include "../../../kustomize-controller/start_order.h"
#include "base/cleanup.h"

#include "fake_reconcile.h"

#include <stdio.h>
#include <string.h>

/* In place of kube/controller.c: what is enqueued is written down. */
static struct cache *cache;
static struct buffer enqueued;
static int interrupts;
static int64_t delay;

static void note(const char *namespace, const char *name)
{
        buffer_printf(&enqueued, "%s%s/%s", enqueued.length ? " " : "", namespace, name);
}

struct cache *controller_cache(const struct controller *controller)
{
        (void)controller;
        return cache;
}

void controller_enqueue(struct controller *controller, const char *namespace, const char *name, int priority)
{
        (void)controller, (void)priority;
        note(namespace, name);
}

void controller_enqueue_for(struct controller *controller, const char *namespace, const char *name, int priority, const char *kind,
                            const struct cache_object *trigger)
{
        (void)controller, (void)priority, (void)kind, (void)trigger;
        note(namespace, name);
}

void controller_enqueue_after(struct controller *controller, const char *namespace, const char *name, int priority,
                              int64_t delay_ms)
{
        (void)controller, (void)priority;
        note(namespace, name);
        delay = delay_ms;
}

void controller_interrupt(struct controller *controller, const char *namespace, const char *name)
{
        (void)controller, (void)namespace, (void)name;
        interrupts++;
}

void controller_enqueue_all(struct controller *controller)
{
        (void)controller;
        note("*", "*");
}

/* In place of kustomization.c. */
int kustomization_reconcile(struct context *ctx, struct reconcile *reconcile, struct error *error)
{
        (void)ctx, (void)reconcile, (void)error;
        return 0;
}

static int setup(void **state)
{
        (void)state;
        cache = cache_new(CACHE_OBJECTS);
        for (size_t i = 0; i < kustomization_controller.index_count; i++)
                cache_add_index(cache, &kustomization_controller.indexes[i]);
        kustomize.owners = owners_new(NULL);
        enqueued = BUFFER_NULL;
        interrupts = 0;
        delay = -1;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        buffer_release(&enqueued);
        owners_free(&kustomize.owners);
        cache_free(&cache);
        return 0;
}

static void put(const char *name, const char *depends_on, const char *status)
{
        char text[2048];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\",\"resourceVersion\":\"1\"},\"spec\":{\"sourceRef\":{\"kind\":"
                 "\"GitRepository\",\"name\":\"git\"},\"dependsOn\":[%s]},\"status\":%s}",
                 name, depends_on, status);
        assert_true(cache_put(cache, view_of(text), false));
}

static const char *watched(const char *kind, const struct cache_event *event)
{
        buffer_clear(&enqueued);
        for (size_t i = 0; i < kustomization_controller.watch_count; i++)
                if (strcmp(kustomization_controller.watches[i].kind, kind) == 0)
                        kustomization_controller.watches[i].map(&kustomization_controller, event);
        return buffer_string(&enqueued);
}

/* The source of all was and is like this; NULL: it is not there. Returns whom that wakes. */
static const char *source_becomes(const char *old, const char *new)
{
        const struct cache_object before = { .namespace = "ns", .name = "git", .text = view_of(old) };
        const struct cache_object after = { .namespace = "ns", .name = "git", .text = view_of(new) };
        const struct cache_event event = { .old = old ? &before : NULL, .new = new ? &after : NULL };

        return watched("GitRepository", &event);
}

#define ARTIFACT(revision, digest) "{\"status\":{\"artifact\":{\"revision\":\"" revision "\",\"digest\":\"" digest "\"}}}"

/* It comes, or goes, with an artifact. */
static const char *source_event(bool comes)
{
        static const char text[] = ARTIFACT("main@sha1:2", "sha256:2");

        return source_becomes(comes ? NULL : text, comes ? text : NULL);
}

#define ON(name)               "{\"name\":\"" name "\"}"
#define ON_OF(namespace, name) "{\"namespace\":\"" namespace "\",\"name\":\"" name "\"}"

static void who_is_depended_on_begins_first(void **state)
{
        static const struct {
                const char *name;
                struct {
                        const char *name, *depends_on;
                } objects[6];
                const char *order;
        } cases[] = {
                { "nobody depends", { { "b", "" }, { "a", "" } }, "ns/a ns/b" },
                { "a chain, against the alphabet",
                  { { "a", ON("b") }, { "b", ON("c") }, { "c", ON("d") }, { "d", "" } },
                  "ns/d ns/c ns/b ns/a" },
                { "a diamond",
                  { { "a", ON("b") "," ON("c") }, { "b", ON("d") }, { "c", ON("d") }, { "d", "" } },
                  "ns/d ns/c ns/b ns/a" },
                { "of those that are not woken nothing is waited for",
                  { { "a", ON("gone") "," ON_OF("other", "b") }, { "b", ON_OF("ns", "c") }, { "c", "" } },
                  "ns/a ns/c ns/b" },
                { "a circle comes last, and who is behind it",
                  { { "a", ON("b") }, { "b", ON("a") }, { "c", ON("a") }, { "d", ON("d") }, { "x", ON("y") }, { "y", "" } },
                  "ns/y ns/x ns/a ns/b ns/c ns/d" },
                { "the same twice", { { "a", ON("b") "," ON("b") }, { "b", "" } }, "ns/b ns/a" },
        };

        for (size_t i = 0; i < COUNT(cases); i++) {
                setup(state);
                for (size_t n = 0; n < COUNT(cases[i].objects) && cases[i].objects[n].name; n++)
                        put(cases[i].objects[n].name, cases[i].objects[n].depends_on, "{}");
                if (strcmp(source_event(true), cases[i].order) != 0)
                        fail_msg("%s: %s", cases[i].name, buffer_string(&enqueued));
                teardown(state);
        }
        setup(state);
}

/* Who has the revision already is not woken, and still stands between those that are. */
static void who_has_the_revision_sleeps(void **state)
{
        (void)state;
        put("a", ON("b"), "{}");
        put("b", ON("c"), "{\"lastAttemptedRevision\":\"main@sha1:2\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}");
        put("c", "", "{}");
        assert_string_equal(source_event(true), "ns/c ns/a");
        assert_string_equal(source_event(false), "ns/c ns/a");
}

/* What a source says of itself changes all the time: its artifact is what counts. */
static void what_counts_of_a_source(void **state)
{
        static const char first[] = ARTIFACT("main@sha1:1", "sha256:1"), second[] = ARTIFACT("main@sha1:2", "sha256:2");
        static const char other_content[] = ARTIFACT("main@sha1:2", "sha256:3");
        static const char failing[] = "{\"status\":{\"artifact\":{\"revision\":\"main@sha1:2\",\"digest\":\"sha256:2\"},"
                                      "\"conditions\":[{\"type\":\"Ready\","
                                      "\"status\":\"False\"}]}}";
        static const struct {
                const char *name, *old, *new, *woken;
        } cases[] = {
                { "it is there without an artifact", NULL, "{}", "ns/at-2 ns/done ns/failed ns/new ns/under-way" },
                { "the first artifact", "{}", second, "ns/failed ns/new" },
                { "the next one", first, second, "ns/failed ns/new" },
                { "other content at the same revision", second, other_content, "ns/at-2 ns/done ns/failed ns/new ns/under-way" },
                { "its conditions", second, failing, "" },
                { "its artifact is gone", second, "{}", "" },
                { "it is gone", second, NULL, "ns/failed ns/new" },
        };
#define AT_2(ready, more)                                                                                                          \
        "{\"lastAttemptedRevision\":\"main@sha1:2\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"" ready "\"}" more "]}"

        (void)state;
        put("new", "", "{}");
        put("done", "", AT_2("True", ""));
        put("at-2", "", AT_2("True", ""));
        put("under-way", "", AT_2("Unknown", ",{\"type\":\"Reconciling\",\"status\":\"True\"}"));
        put("failed", "", AT_2("False", ",{\"type\":\"Stalled\",\"status\":\"True\"}"));
        for (size_t i = 0; i < COUNT(cases); i++)
                if (strcmp(source_becomes(cases[i].old, cases[i].new), cases[i].woken) != 0)
                        fail_msg("%s: %s", cases[i].name, buffer_string(&enqueued));
}

/* A ConfigMap or a Secret wakes those that name it, in its namespace, by its kind. */
static void variables_wake_who_names_them(void **state)
{
#define FROM(kind, name) "{\"kind\":\"" kind "\",\"name\":\"" name "\"}"
        static const struct {
                const char *name, *references;
        } objects[] = { { "both", FROM("ConfigMap", "a") "," FROM("Secret", "a") },
                        { "map", FROM("ConfigMap", "a") },
                        { "none", "" },
                        { "secret", FROM("Secret", "a") },
                        { "other", FROM("ConfigMap", "b") } };
        const struct cache_object here = { .namespace = "ns", .name = "a", .text = VIEW("{}") },
                                  elsewhere = { .namespace = "else", .name = "a", .text = VIEW("{}") };

        (void)state;
        for (size_t i = 0; i < COUNT(objects); i++) {
                char text[1024];

                snprintf(text, sizeof(text),
                         "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\",\"resourceVersion\":\"1\"},\"spec\":{\"postBuild\":{"
                         "\"substituteFrom\":[%s]}}}",
                         objects[i].name, objects[i].references);
                assert_true(cache_put(cache, view_of(text), false));
        }
        assert_string_equal(watched("ConfigMap", &(struct cache_event){ .old = &here, .new = &here }), "ns/both ns/map");
        assert_string_equal(watched("Secret", &(struct cache_event){ .new = &here }), "ns/both ns/secret");
        assert_string_equal(watched("Secret", &(struct cache_event){ .old = &here }), "ns/both ns/secret");
        assert_string_equal(watched("Secret", &(struct cache_event){ .new = &elsewhere }), "");
        assert_string_equal(watched("ConfigMap", &(struct cache_event){ .new = &here, .initial = true }), "");
}

/* As long as a chain may be: neither recursion nor time that grows with its square (this runs under sanitizers too). */
static void a_long_chain(void **state)
{
        enum { LENGTH = 5000 };
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;
        const struct cache_object **order;
        char name[16], on[64];

        (void)state;
        for (int i = 0; i < LENGTH; i++) {
                snprintf(name, sizeof(name), "k-%05d", i);
                snprintf(on, sizeof(on), "{\"name\":\"k-%05d\"}", i + 1);
                put(name, on, "{}");
        }
        cache_list(cache, NULL, &list);
        assert_int_equal(list.count, LENGTH);
        order = test_calloc(list.count, sizeof(*order));
        start_order(&list, order);
        for (int i = 0; i < LENGTH; i++) {
                snprintf(name, sizeof(name), "k-%05d", LENGTH - 1 - i);
                assert_string_equal(order[i]->name, name);
        }
        test_free(order);
}

/* ---- drift ---- */

static const struct kube_resource maps = { "", "v1", "ConfigMap", "configmaps", "v1", true };

static void edit(const char *name, bool by_run)
{
        const struct drift_report report = { &maps, "ns", name, .by_run = by_run, .manager = "kubectl-edit", .fields = ".data.k" };

        buffer_clear(&enqueued);
        delay = -1;
        interrupts = 0;
        wake_owner(NULL, "flux", "app", &report);
}

static void an_edit_wakes_its_owner(void **state)
{
        cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;

        (void)state;
        edit("a", false);
        assert_string_equal(buffer_string(&enqueued), "flux/app");
        assert_true(delay >= 0 && delay <= OWNER_DRIFT_PAUSE_MS);
        assert_int_equal(interrupts, 1);
        assert_true(owners_take_drift(kustomize.owners, "flux", "app", &drift));
        assert_string_equal(buffer_string(&drift.lines), "ConfigMap/ns/a was changed by kubectl-edit: .data.k");
}

/* It is running, and puts right what it found; but it is told of. */
static void what_a_run_found_wakes_nobody(void **state)
{
        cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;

        (void)state;
        edit("a", true);
        assert_string_equal(buffer_string(&enqueued), "");
        assert_int_equal(interrupts, 0);
        assert_true(owners_take_drift(kustomize.owners, "flux", "app", &drift));
        assert_string_equal(buffer_string(&drift.lines), "ConfigMap/ns/a was changed by kubectl-edit: .data.k");
}

/* Who fights for one object waits for it, without holding up a wait for health; an edit of another object is undone at once. */
static void a_fight_is_left_some_peace(void **state)
{
        (void)state;
        for (int i = 0; i < 30; i++) {
                cleanup(owner_drift_release) struct owner_drift drift = OWNER_DRIFT_NULL;

                edit("a", false);
                owners_take_drift(kustomize.owners, "flux", "app", &drift);
        }
        edit("a", false);
        assert_string_equal(buffer_string(&enqueued), "flux/app");
        assert_true(delay > 60000);
        assert_int_equal(interrupts, 0);
        edit("b", false);
        assert_string_equal(buffer_string(&enqueued), "flux/app");
        assert_true(delay <= OWNER_DRIFT_PAUSE_MS);
        assert_int_equal(interrupts, 1);
}

/* A backup was restored: what was verified before is not verified any more, and who applied it looks again. */
static void a_restored_store_is_looked_at_anew(void **state)
{
        static const struct drift_key key = { &maps, "ns", "data" };
        static const uint8_t wanted[DRIFT_HASH] = "what is wanted";
        static const struct drift_settings settings = { .field_manager = "m", .label_group = KUSTOMIZATION_GROUP };

        (void)state;
        for (int whole = 0; whole < 2; whole++) {
                kustomize.drift = drift_table_new(&settings);
                drift_verified(kustomize.drift, &key, "flux", "app", wanted,
                               VIEW("{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"9\"}}"), false, 1000);
                assert_int_equal(drift_versions(kustomize.drift, &key, 1000).verified, 9);
                buffer_clear(&enqueued);
                if (whole)
                        kustomization_controller.restored(&kustomization_controller);
                else
                        drift_restored(NULL, &maps);
                assert_int_equal(drift_versions(kustomize.drift, &key, 1000).verified, 0);
                /* The loop itself enqueues all after the first. */
                assert_string_equal(buffer_string(&enqueued), whole ? "" : "*/*");
                drift_table_free(&kustomize.drift);
        }
        kustomization_controller.restored(&kustomization_controller); /* without drift detection there is nothing to forget */
}

#define WAITS  "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"DependencyNotReady\"}]}"
#define WORKED "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"ReconciliationSucceeded\"}]}"

/* At once, not when it looks again: those that wait; and all of them if they may not know yet what there is to know. */
static void who_has_become_ready_wakes_its_dependents(void **state)
{
        static const struct {
                const char *name, *applied, *revision;
                bool was_ready, all;
        } cases[] = {
                { "the first success", NULL, "r1", false, true },
                { "a new revision", "r1", "r2", true, true },
                { "the end of a failure", "r1", "r1", false, true },
                { "the same again", "r1", "r1", true, false },
        };
        cleanup(arena_free) struct arena *arena = arena_new();

        setup(state);
        put("app", "", WORKED);
        put("waiting", ON("app"), WAITS);
        put("working", ON_OF("ns", "app"), WORKED);
        put("of-another", ON_OF("elsewhere", "app"), WAITS);
        put("of-none", "", WAITS);
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct reconcile reconcile = { .controller = &kustomization_controller };
                struct run run = { .reconcile = &reconcile,
                                   .arena = arena,
                                   .namespace = "ns",
                                   .name = "app",
                                   .was_ready = cases[i].was_ready,
                                   .status = { .last_applied_revision = cases[i].applied },
                                   .revision = cases[i].revision };

                buffer_clear(&enqueued);
                wake_dependents(&run);
                if (!strstr(buffer_string(&enqueued), "ns/waiting") ||
                    (strstr(buffer_string(&enqueued), "ns/working") != NULL) != cases[i].all ||
                    strstr(buffer_string(&enqueued), "of-") || strstr(buffer_string(&enqueued), "app"))
                        fail_msg("%s: %s", cases[i].name, buffer_string(&enqueued));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(who_is_depended_on_begins_first, teardown),
                cmocka_unit_test_setup_teardown(who_has_the_revision_sleeps, setup, teardown),
                cmocka_unit_test_setup_teardown(what_counts_of_a_source, setup, teardown),
                cmocka_unit_test_setup_teardown(variables_wake_who_names_them, setup, teardown),
                cmocka_unit_test_setup_teardown(a_long_chain, setup, teardown),
                cmocka_unit_test_setup_teardown(an_edit_wakes_its_owner, setup, teardown),
                cmocka_unit_test_setup_teardown(what_a_run_found_wakes_nobody, setup, teardown),
                cmocka_unit_test_setup_teardown(a_fight_is_left_some_peace, setup, teardown),
                cmocka_unit_test_setup_teardown(a_restored_store_is_looked_at_anew, setup, teardown),
                cmocka_unit_test_teardown(who_has_become_ready_wakes_its_dependents, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
