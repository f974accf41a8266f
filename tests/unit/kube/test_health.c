#include "kube/health.h"

#include "kube/parallel.h"

#include "fake_resources.h"
#include "fake_server.h"

#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

/*
 * Deployments are available from the request on that their name says: "after-3"; or but for some: "breaks-2-5" is not from the second to the fourth. Names with "missing", "stuck" speak for themselves.
 */
static struct json *deployment(const char *name, size_t requests)
{
        static const char ready[] = "{\"replicas\":1,\"updatedReplicas\":1,\"availableReplicas\":1,\"readyReplicas\":1,"
                                    "\"conditions\":[{\"type\":\"Available\","
                                    "\"status\":\"True\"}]}";
        static const char stuck[] =
                "{\"conditions\":[{\"type\":\"Progressing\",\"status\":\"False\",\"reason\":\"ProgressDeadlineExceeded\"}]}";
        unsigned after = 0, from = UINT_MAX, to = 0;
        struct json *object = json_new_object();

        sscanf(name, "after-%u", &after);
        sscanf(name, "breaks-%u-%u", &from, &to);
        json_set_string(object, "apiVersion", "apps/v1");
        json_set_string(object, "kind", "Deployment");
        json_set_string(json_object_at(object, "metadata"), "name", name);
        json_set_string(json_object_at(object, "metadata"), "resourceVersion", "7");
        if (strstr(name, "stuck"))
                json_set(object, "status", json_of(stuck));
        else if (requests >= after && (requests < from || requests >= to))
                json_set(object, "status", json_of(ready));
        return object;
}

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        (void)body;
        if (request->verb == KUBE_LIST) {
                struct json *items;

                *ret_json = json_new_object();
                items = json_array_at(*ret_json, "items");
                json_append(items, deployment("a", fake.count));
                json_append(items, deployment("b", fake.count));
                return 0;
        }
        if (strstr(request->name, "missing"))
                return fake_error(error, 404, "NotFound", "not found");
        *ret_json = deployment(request->name, fake.count);
        return 0;
}

static int serve_progress(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        (void)body;
        (void)error;
        *ret_json = deployment(request->name, 0);
        return 0;
}

/* Something of a kind that is not built in, with much to say of why it is not ready: as many bytes as its name says. */
static int serve_talkative(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        cleanup(buffer_release) struct buffer message = BUFFER_NULL;
        struct json *object = json_of("{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"status\":{\"conditions\":[]}}"),
                    *ready;
        unsigned length = 0;

        (void)body;
        (void)error;
        sscanf(request->name, "says-%u", &length);
        while (message.length < length)
                buffer_add_char(&message, 'w');
        ready = json_append(json_get(json_get(object, "status"), "conditions"), json_new_object());
        json_set_string(ready, "type", "Ready");
        json_set_string(ready, "status", "False");
        json_set_string(ready, "message", buffer_string(&message));
        *ret_json = object;
        return 0;
}

static struct context context;

static int setup(void **state)
{
        (void)state;
        fake_reset();
        fake.answer = serve;
        context_open(&context, NULL, CLOCK_NEVER);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_reset();
        context_close(&context);
        return 0;
}

#define DEPLOYMENT(name)                                                                                                           \
        {                                                                                                                          \
                { "apps", "v1", "Deployment", "ns", name }, KSTATUS_UNKNOWN, false                                                 \
        }

static void what_is_waited_for_and_what_is_said(void **state)
{
        static const struct {
                const char *name;
                struct health_object objects[3];
                size_t count;
                bool fail_fast;
                int64_t timeout_ms;
                const char *result; /* the error; "": all current */
                enum error_kind kind;
        } cases[] = {
                { "nothing", { { .finishes = false } }, 0, true, 1000, "", ERROR_NONE },
                { "current at once", { DEPLOYMENT("after-1") }, 1, true, 1000, "", ERROR_NONE },
                { "current later", { DEPLOYMENT("after-3") }, 1, true, 10000, "", ERROR_NONE },
                { "in time or not, sorted",
                  { DEPLOYMENT("after-999"), DEPLOYMENT("a-missing"), DEPLOYMENT("after-0") },
                  3,
                  true,
                  150,
                  "timeout waiting for: [Deployment/ns/a-missing status: 'NotFound', Deployment/ns/after-999 status: 'InProgress': "
                  "Replicas: 0/1]",
                  ERROR_TIMEOUT },
                { "one has failed",
                  { DEPLOYMENT("after-999"), DEPLOYMENT("stuck") },
                  2,
                  true,
                  5000,
                  "failed early due to stalled resources: [Deployment/ns/stuck status: 'Failed': Progress deadline exceeded]",
                  ERROR_CONFLICT },
                { "one had failed when it was applied",
                  { { { "apps", "v1", "Deployment", "ns", "stuck" }, KSTATUS_FAILED, false } },
                  1,
                  true,
                  5000,
                  "failed early due to stalled resources: [Deployment/ns/stuck status: 'Failed': Progress deadline exceeded]",
                  ERROR_CONFLICT },
                { "one that had failed when it was applied works",
                  { { { "apps", "v1", "Deployment", "ns", "after-0" }, KSTATUS_FAILED, false } },
                  1,
                  true,
                  5000,
                  "",
                  ERROR_NONE },
                { "only failed ones are left",
                  { DEPLOYMENT("after-0"), DEPLOYMENT("stuck") },
                  2,
                  false,
                  5000,
                  "failed early due to stalled resources: [Deployment/ns/stuck status: 'Failed': Progress deadline exceeded]",
                  ERROR_CONFLICT },
                { "others are given their time",
                  { DEPLOYMENT("after-999"), DEPLOYMENT("stuck") },
                  2,
                  false,
                  100,
                  "timeout waiting for: [Deployment/ns/after-999 status: 'InProgress': Replicas: 0/1, Deployment/ns/stuck status: "
                  "'Failed': "
                  "Progress deadline exceeded]",
                  ERROR_TIMEOUT },
                { "a namespace is missing",
                  { { { "", "v1", "ConfigMap", "", "x" }, KSTATUS_UNKNOWN, false } },
                  1,
                  true,
                  5000,
                  "resource ConfigMap x is namespace scoped, but namespace is not set",
                  ERROR_INVALID },
                { "a kind without namespaces is looked for in one",
                  { { { "", "v1", "Namespace", "ns", "x" }, KSTATUS_UNKNOWN, false } },
                  1,
                  true,
                  100,
                  "timeout waiting for: [Namespace/ns/x status: 'Unknown': it is cluster scoped, but namespace is set]",
                  ERROR_TIMEOUT },
                { "the kind is not there",
                  { { { "example.com", "v1", "Nope", "ns", "x" }, KSTATUS_UNKNOWN, false } },
                  1,
                  true,
                  100,
                  "timeout waiting for: [Nope/ns/x status: 'Unknown': no matches for kind \"Nope\" in group \"example.com\"]",
                  ERROR_TIMEOUT },
                { "a Job that goes when it is done",
                  { { { "batch", "v1", "Job", "ns", "missing" }, KSTATUS_UNKNOWN, true } },
                  1,
                  true,
                  1000,
                  "",
                  ERROR_NONE },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error error = ERROR_NULL;
                const struct health_settings settings = { .timeout_ms = cases[i].timeout_ms, .fail_fast = cases[i].fail_fast };
                int r;

                setup(state);
                r = health_wait(&context, &settings, cases[i].objects, cases[i].count, &error);
                if (r != (*cases[i].result ? -1 : 0) || strcmp(error_message(&error), cases[i].result) ||
                    error.kind != cases[i].kind)
                        fail_msg("%s: %d %s", cases[i].name, r, error_message(&error));
                teardown(state);
        }
        setup(state);
}

/* A long reason is cut, not lost. */
static void long_messages_are_cut(void **state)
{
        static const struct {
                const char *name;
                size_t shown;
                bool cut;
        } cases[] = { { "says-600", 600, false }, { "says-4096", 4096, false }, { "says-5000", 4096, true } };
        const struct health_settings settings = { .timeout_ms = 50 };

        (void)state;
        fake.answer = serve_talkative;
        for (size_t i = 0; i < COUNT(cases); i++) {
                const struct health_object object = { { "apps", "v1", "Deployment", "ns", cases[i].name }, KSTATUS_UNKNOWN, false };
                cleanup(error_release) struct error error = ERROR_NULL;
                struct view said;

                assert_int_equal(health_wait(&context, &settings, &object, 1, &error), -1);
                said = view_of(strstr(error_message(&error), ": w") + 2);
                if (said.length != cases[i].shown + strlen(cases[i].cut ? "...]" : "]") ||
                    view_ends(said, VIEW("w...]")) != cases[i].cut)
                        fail_msg("%s: %zu bytes", cases[i].name, said.length);
        }
}

static void what_was_seen_current_is_not_read(void **state)
{
        const struct health_object objects[] = { { { "apps", "v1", "Deployment", "ns", "after-999" }, KSTATUS_CURRENT, false } };
        const struct health_settings settings = { .timeout_ms = 1000, .fail_fast = true };
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        assert_int_equal(health_wait(&context, &settings, objects, 1, &error), 0);
        assert_int_equal(fake_count(), 0);
}

/* What was applied and has been deleted since is not waited for. */
static void what_is_gone_does_not_come_back(void **state)
{
        const struct health_object objects[] = { DEPLOYMENT("after-999"), DEPLOYMENT("missing") };
        const struct health_settings settings = { .timeout_ms = 600000, .fail_fast = true, .made = true };
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        assert_int_equal(health_wait(&context, &settings, objects, 2, &error), -1);
        assert_int_equal(error.kind, ERROR_CONFLICT);
        assert_string_equal(error_message(&error),
                            "failed early due to stalled resources: [Deployment/ns/missing status: 'NotFound']");
}

/* The first breaks while the second is waited for: they are healthy when both are. */
static void what_breaks_meanwhile_is_waited_for(void **state)
{
        const struct health_object objects[] = { DEPLOYMENT("breaks-2-5"), DEPLOYMENT("after-3") };
        const struct health_settings settings = { .timeout_ms = 60000, .fail_fast = true };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(free_string) char *lines = NULL;

        (void)state;
        assert_int_equal(health_wait(&context, &settings, objects, 2, &error), 0);
        lines = fake_lines();
        assert_string_equal(lines, "GET deployments/ns/breaks-2-5\nGET deployments/ns/after-3\nGET deployments/ns/after-3\n"
                                   "GET deployments/ns/breaks-2-5\nGET deployments/ns/breaks-2-5\nGET deployments/ns/after-3\n");
}

static void many_of_one_kind_are_one_list(void **state)
{
        const struct health_object objects[] = { DEPLOYMENT("a"), DEPLOYMENT("b") };
        cleanup(parallel_free) struct parallel *parallel = parallel_new(2);
        const struct health_settings settings = {
                .parallel = parallel, .timeout_ms = 1000, .fail_fast = true, .label_selector = "x=y"
        };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(free_string) char *lines = NULL;

        (void)state;
        assert_int_equal(health_wait(&context, &settings, objects, 2, &error), 0);
        lines = fake_lines();
        assert_string_equal(lines, "LIST deployments/ns\n");
}

static bool own_rule(void *data, const struct json *object, enum kstatus *ret_status, struct buffer *message)
{
        (void)data;
        (void)object;
        *ret_status = KSTATUS_FAILED;
        buffer_add_string(message, "by rule");
        return true;
}

static void rules_of_the_caller_come_first(void **state)
{
        const struct health_object objects[] = { DEPLOYMENT("after-0") };
        const struct health_settings settings = { .timeout_ms = 1000, .fail_fast = true, .evaluate = own_rule };
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        assert_int_equal(health_wait(&context, &settings, objects, 1, &error), -1);
        assert_string_equal(error_message(&error),
                            "failed early due to stalled resources: [Deployment/ns/after-0 status: 'Failed': by rule]");
}

static int count_calls(void *data, struct error *error)
{
        (void)error;
        ++*(int *)data;
        return 0;
}

/* After a second, once: who is done before that has nothing to say. */
static void a_wait_that_lasts_is_said_once(void **state)
{
        static const struct {
                const char *name;
                int64_t timeout_ms;
                int calls;
        } cases[] = { { "short", 300, 0 }, { "long", 2500, 1 } };
        const struct health_object objects[] = { DEPLOYMENT("after-999") };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                int calls = 0;
                const struct health_settings settings = { .timeout_ms = cases[i].timeout_ms,
                                                          .lasting = count_calls,
                                                          .data = &calls };
                cleanup(error_release) struct error error = ERROR_NULL;

                assert_int_equal(health_wait(&context, &settings, objects, 1, &error), -1);
                assert_int_equal(error.kind, ERROR_TIMEOUT);
                if (calls != cases[i].calls)
                        fail_msg("%s: said %d times", cases[i].name, calls);
        }
}

struct pauses {
        int begun, ended;
};

static void count_pauses(void *data, bool begins)
{
        struct pauses *pauses = data;

        assert_int_equal(pauses->begun - pauses->ended, begins ? 0 : 1);
        if (begins)
                pauses->begun++;
        else
                pauses->ended++;
}

/* What is Current at the first look lets nobody else work; what is not does, until it is looked at again, and also when the wait is cut short. */
static void others_work_in_the_pauses(void **state)
{
        static const struct {
                const char *object;
                int r;
                bool pauses;
        } cases[] = { { "after-0", 0, false }, { "after-2", 0, true }, { "after-999", -1, true } };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                const struct health_object objects[] = { DEPLOYMENT(cases[i].object) };
                struct pauses pauses = { 0, 0 };
                const struct health_settings settings = { .timeout_ms = 1500, .pausing = count_pauses, .data = &pauses };
                cleanup(error_release) struct error error = ERROR_NULL;

                fake_reset();
                fake.answer = serve;
                assert_int_equal(health_wait(&context, &settings, objects, 1, &error), cases[i].r);
                assert_int_equal(pauses.begun, pauses.ended);
                if ((pauses.begun > 0) != cases[i].pauses)
                        fail_msg("%s: %d pauses", cases[i].object, pauses.begun);
        }
}

static void show_of(struct drift_table *table, const char *name, int version)
{
        static const struct kube_resource resource = { "apps", "v1", "Deployment", "deployments", "apps/v1", true };
        const struct drift_key key = { &resource, "ns", name };
        const uint8_t wanted[DRIFT_HASH] = "what is wanted";
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":\"%d\",\"labels\":{"
                 "\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/namespace\":\"flux\"}}}",
                 name, version);
        if (version == 7)
                drift_verified(table, &key, "flux", "app", wanted, view_of(text), false, clock_now_ms());
        drift_watch_synced(table, &resource, true);
        drift_update(table, &key, DRIFT_SEEN, view_of(text));
}

static void show(struct drift_table *table, int version)
{
        show_of(table, "after-1", version);
}

static void *show_later(void *argument)
{
        show(argument, 8);
        return NULL;
}

/* The event of our own apply tells nothing new; the next one does, be it there before the wait or come in it. */
static void a_watched_object_is_read_when_it_moved(void **state)
{
        static const struct {
                const char *name;
                bool before, during;
                int64_t timeout_ms;
                int result;
        } cases[] = {
                { "only what was applied", false, false, 300, -1 },
                { "moved before", true, false, 600000, 0 },
                { "moves meanwhile", false, true, 600000, 0 },
        };
        /* A wait that ends looks once more. */
        const struct health_object objects[] = {
                { { "apps", "v1", "Deployment", "ns", "after-1" }, KSTATUS_IN_PROGRESS, false },
        };

        for (size_t i = 0; i < COUNT(cases); i++) {
                const struct drift_settings settings = { .field_manager = "kustomize-controller",
                                                         .label_group = "kustomize.toolkit.fluxcd.io" };
                cleanup(drift_table_free) struct drift_table *table = drift_table_new(&settings);
                const struct health_settings health = { .drift = table,
                                                        .owner_name = "app",
                                                        .owner_namespace = "flux",
                                                        .timeout_ms = cases[i].timeout_ms,
                                                        .fail_fast = true };
                cleanup(error_release) struct error error = ERROR_NULL;
                pthread_t thread;

                setup(state);
                fake.answer = cases[i].result == 0 ? serve : serve_progress;
                show(table, 7);
                if (cases[i].before)
                        show(table, 8);
                if (cases[i].during)
                        pthread_create(&thread, NULL, show_later, table);
                if (health_wait(&context, &health, objects, 1, &error) != cases[i].result || fake_count() != 1)
                        fail_msg("%s: %zu reads, %s", cases[i].name, fake_count(), error_message(&error));
                if (cases[i].during)
                        pthread_join(thread, NULL);
                teardown(state);
        }
        setup(state);
}

static _Atomic bool still_seen, moving;

static int serve_moving(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        (void)body;
        (void)error;
        if (!strcmp(request->name, "still"))
                atomic_store(&still_seen, true);
        *ret_json = deployment(atomic_load(&still_seen) ? "ready" : "after-1", 0);
        return 0;
}

static void *move_on(void *argument)
{
        const struct timespec moment = { .tv_nsec = 20000000 };

        for (int version = 8; atomic_load(&moving); version++) {
                show_of(argument, "restless", version);
                nanosleep(&moment, NULL);
        }
        return NULL;
}

/* What a watch does not tell of, such as the pods of an object, is seen also while another one moves all the time. */
static void who_moves_all_the_time_hides_nobody(void **state)
{
        const struct drift_settings settings = { .field_manager = "kustomize-controller",
                                                 .label_group = "kustomize.toolkit.fluxcd.io" };
        cleanup(drift_table_free) struct drift_table *table = drift_table_new(&settings);
        const struct health_settings health = {
                .drift = table, .owner_name = "app", .owner_namespace = "flux", .timeout_ms = 60000, .fail_fast = true
        };
        const struct health_object objects[] = {
                { { "apps", "v1", "Deployment", "ns", "still" }, KSTATUS_IN_PROGRESS, false },
                { { "apps", "v1", "Deployment", "ns", "restless" }, KSTATUS_IN_PROGRESS, false },
        };
        cleanup(error_release) struct error error = ERROR_NULL;
        pthread_t thread;

        (void)state;
        fake.answer = serve_moving;
        show_of(table, "still", 7);
        show_of(table, "restless", 7);
        atomic_store(&moving, true);
        pthread_create(&thread, NULL, move_on, table);
        if (health_wait(&context, &health, objects, COUNT(objects), &error) < 0)
                print_error("%s\n", error_message(&error));
        atomic_store(&moving, false);
        pthread_join(thread, NULL);
        assert_true(atomic_load(&still_seen));
        assert_int_equal(error.kind, ERROR_NONE);
}

static void *cancel(void *argument)
{
        while (fake_count() == 0)
                sched_yield();
        context_cancel(argument, CONTEXT_SUPERSEDED);
        return NULL;
}

static void cancellation_ends_the_wait(void **state)
{
        const struct health_object objects[] = { DEPLOYMENT("after-999") };
        const struct health_settings settings = { .timeout_ms = 600000, .fail_fast = true };
        cleanup(error_release) struct error error = ERROR_NULL;
        int64_t start = clock_now_ms();
        pthread_t thread;

        (void)state;
        pthread_create(&thread, NULL, cancel, &context);
        assert_int_equal(health_wait(&context, &settings, objects, 1, &error), -1);
        pthread_join(thread, NULL);
        assert_int_equal(error.kind, ERROR_CANCELLED);
        assert_true(clock_now_ms() - start < 60000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(what_is_waited_for_and_what_is_said, teardown),
                cmocka_unit_test_setup_teardown(long_messages_are_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(what_was_seen_current_is_not_read, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_gone_does_not_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(what_breaks_meanwhile_is_waited_for, setup, teardown),
                cmocka_unit_test_setup_teardown(many_of_one_kind_are_one_list, setup, teardown),
                cmocka_unit_test_setup_teardown(rules_of_the_caller_come_first, setup, teardown),
                cmocka_unit_test_setup_teardown(a_wait_that_lasts_is_said_once, setup, teardown),
                cmocka_unit_test_setup_teardown(others_work_in_the_pauses, setup, teardown),
                cmocka_unit_test_setup_teardown(a_watched_object_is_read_when_it_moved, setup, teardown),
                cmocka_unit_test_setup_teardown(who_moves_all_the_time_hides_nobody, setup, teardown),
                cmocka_unit_test_setup_teardown(cancellation_ends_the_wait, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
