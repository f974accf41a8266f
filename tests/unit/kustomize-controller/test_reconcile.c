/* What a run leaves behind that could not end as it should: nobody is told what is not so, and nobody who has to be told is forgotten. */
#include "../kube/fake_resources.h"
#include "../kube/fake_server.h"

#include "../../../kustomize-controller/run.h"

#include "fake_reconcile.h"
#include "fake_watch.h"

/* In place of kube/program.c and kube/controller.c. */
struct cache *runtime_cache(const struct runtime *runtime, const char *group, const char *kind)
{
        (void)runtime, (void)group, (void)kind;
        return NULL;
}

int64_t runtime_jitter(const struct runtime *runtime, int64_t interval_ns)
{
        (void)runtime;
        return interval_ns;
}

const char *object_requested_at(const struct json *object)
{
        (void)object;
        return NULL;
}

bool reconcile_trigger(struct reconcile *run, struct trigger *ret_trigger)
{
        (void)run, (void)ret_trigger;
        return false;
}

/* In place of the rest of kube/client.c: nobody asks for the version. */
int kube_get_path(struct context *ctx, struct kube_client *client, const char *path, struct buffer *ret_body, struct error *error)
{
        (void)ctx, (void)client, (void)path, (void)ret_body;
        return error_set(error, ERROR_UNAVAILABLE, "as the test wants");
}

/* In place of kube/event.c. */
static unsigned events;

void event_record(struct event_recorder *recorder, const struct json *object, enum event_type type, const char *reason,
                  const struct json *metadata, const char *format, ...)
{
        (void)recorder, (void)object, (void)type, (void)reason, (void)metadata, (void)format;
        events++;
}

/* ---- the server ---- */

#define OBJECT(interval)                                                                                                           \
        "{\"apiVersion\":\"kustomize.toolkit.fluxcd.io/"                                                                           \
        "v1\",\"kind\":\"Kustomization\",\"metadata\":{\"name\":\"app\",\"namespace\":"                                            \
        "\"flux\",\"uid\":\"u\",\"resourceVersion\":\"1\",\"generation\":1,\"finalizers\":[\"finalizers.fluxcd.io\"]},\"spec\":{"  \
        "\"interval\":\"" interval "\",\"prune\":true,\"sourceRef\":{\"kind\":\"GitRepository\",\"name\":\"git\"}},\"status\":{"   \
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"ReconciliationSucceeded\",\"message\":\"\","         \
        "\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"}]}}"

static struct context process; /* of the controller */
static int source_status;      /* what a read of the source is answered with; 0: the process ends while it is under way */
static bool refuse_status;     /* writes of the status fail */
static const char *stored;     /* what a read of the Kustomization is answered with; NULL: a 404 */
static const char *absent;     /* the reason of all 404s */
static bool refuse_finalizers; /* a write of the finalizers is answered with a 404 */

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (strcmp(request->name, "git") == 0) {
                if (source_status)
                        return fake_error(error, source_status, source_status == 403 ? "Forbidden" : "InternalError",
                                          "as the test wants");
                context_cancel(&process, CONTEXT_SHUTDOWN);
                return context_check(&process, error);
        }
        if (refuse_status)
                return fake_error(error, 503, "ServiceUnavailable", "the server is currently unable to handle the request");
        if (request->verb == KUBE_GET ? !stored : refuse_finalizers && !request->subresource)
                return fake_error(error, 404, absent, "the server could not find the requested resource");
        if (request->verb == KUBE_GET) {
                *ret_json = json_of(stored);
                return 0;
        }
        *ret_json = json_of(body);
        json_set_string(json_object_at(*ret_json, "metadata"), "resourceVersion", "2");
        return 0;
}

static int setup(void **state)
{
        (void)state;
        fake_reset();
        fake.answer = serve;
        source_status = 500;
        refuse_status = refuse_finalizers = false;
        stored = OBJECT("1h");
        absent = "NotFound";
        kustomize.owners = owners_new(NULL);
        context_open(&process, NULL, CLOCK_NEVER);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_reset();
        context_close(&process);
        owners_free(&kustomize.owners);
        return 0;
}

/* What the run returned, and in *ret_run what it wants of the queue. The writes are in `fake`. */
static int reconcile(const char *object, struct reconcile *ret_run)
{
        static const struct runtime_flags flags = { .default_service_account = "" };
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(context_close) struct context context;
        struct runtime runtime = { .flags = &flags, .context = &process };
        struct reconcile run = { .runtime = &runtime,
                                 .namespace = "flux",
                                 .name = "app",
                                 .arena = arena,
                                 .object = json_of(object),
                                 .log = LOG_FIELDS_NULL };
        int r;

        context_open(&context, &process, CLOCK_NEVER);
        r = kustomization_reconcile(&context, &run, &error);
        json_free(&run.object);
        *ret_run = run;
        return r;
}

/* The bodies of all writes. */
static const char *written(void)
{
        static char text[8192];
        size_t length = 0;

        text[0] = '\0';
        for (size_t i = 0; i < fake.count && length < sizeof(text); i++)
                if (fake.requests[i].request.verb == KUBE_PATCH_MERGE)
                        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s\n", fake.requests[i].body);
        return text;
}

/* Nothing but a change of the object helps, and it says so. If it could not say so it is tried again until it can. */
static void a_terminal_error_that_nobody_heard_of_is_none(void **state)
{
        struct reconcile run;

        (void)state;
        assert_int_equal(reconcile(OBJECT("1 fortnight"), &run), -1);
        assert_true(run.terminal);
        assert_non_null(strstr(written(), "\"Stalled\""));

        fake_reset();
        refuse_status = true;
        assert_int_equal(reconcile(OBJECT("1 fortnight"), &run), -1);
        assert_false(run.terminal);
}

/* A source that cannot be read is said to be the reason, and is asked for again soon; but not if it is the process that ends. */
static void a_shutdown_is_no_failure_of_the_source(void **state)
{
        static const struct {
                const char *name;
                int status;
                bool said;
        } cases[] = {
                { "the server has a problem", 500, true },
                { "the right is lost", 403, true },
                { "the process ends", 0, false },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct reconcile run;

                setup(state);
                source_status = cases[i].status;
                assert_int_equal(reconcile(OBJECT("1h"), &run), -1);
                if ((strstr(written(), "ArtifactFailed") != NULL) != cases[i].said ||
                    (strstr(written(), "unable to get source 'flux/git'") != NULL) != cases[i].said)
                        fail_msg("%s: %s", cases[i].name, written());
                assert_false(run.terminal);
                if (cases[i].said)
                        assert_int_equal(run.retry_limit_ms, RECONCILE_BLIND_MS);
                teardown(state);
        }
}

#define DELETED(finalizers)                                                                                                        \
        "{\"apiVersion\":\"kustomize.toolkit.fluxcd.io/"                                                                           \
        "v1\",\"kind\":\"Kustomization\",\"metadata\":{\"name\":\"app\",\"namespace\":"                                            \
        "\"flux\",\"uid\":\"u\",\"resourceVersion\":\"1\",\"generation\":2,\"deletionTimestamp\":\"2020-01-01T00:00:00Z\","        \
        "\"finalizers\":[" finalizers "\"finalizers.fluxcd.io\"]},\"spec\":{\"interval\":\"1h\",\"prune\":true,"                   \
        "\"sourceRef\":{\"kind\":\"GitRepository\",\"name\":\"git\"}},\"status\":{\"observedGeneration\":1,\"conditions\":[{"      \
        "\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"ReconciliationSucceeded\",\"message\":\"\","                          \
        "\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"}]}}"

/* The status of what is gone with the finalizer need not be written. */
static void a_deletion_that_others_hold_up_is_observed(void **state)
{
        struct reconcile run;

        (void)state;
        events = 0;
        stored = DELETED("\"example.com/hold\",");
        assert_int_equal(reconcile(stored, &run), 0);
        assert_non_null(strstr(written(), "\"finalizers\":[\"example.com/hold\"]"));
        assert_non_null(strstr(written(), "\"observedGeneration\":2"));

        fake_reset();
        stored = DELETED("");
        assert_int_equal(reconcile(stored, &run), 0);
        assert_non_null(strstr(written(), "\"finalizers\":"));
        assert_null(strstr(written(), "observedGeneration"));
        assert_int_equal(events, 0); /* nothing was deleted, and that a deletion has finished is no reconciliation */
}

/* That an object is gone says the server that would know, and not what stands before it for a moment: else nobody would ever look again. */
static void who_does_not_know_is_asked_again(void **state)
{
        static const struct {
                const char *name, *reason;
                bool at_end; /* when the finalizer is taken away */
                int result;
        } cases[] = {
                { "it is gone", "NotFound", false, 0 },
                { "a proxy's 404", KUBE_PATH_ABSENT, false, -1 },
                { "it went meanwhile", "NotFound", true, 0 },
                { "a proxy's 404 at the end", KUBE_PATH_ABSENT, true, -1 },
        };

        for (size_t i = 0; i < COUNT(cases); i++) {
                struct reconcile run;

                setup(state);
                absent = cases[i].reason;
                refuse_finalizers = cases[i].at_end;
                stored = cases[i].at_end ? DELETED("") : NULL;
                if (reconcile(DELETED(""), &run) != cases[i].result || run.terminal)
                        fail_msg("%s", cases[i].name);
                teardown(state);
        }
}

/* Nobody could read what a run shows that is over at once. */
static void only_a_run_that_lasts_shows_its_progress(void **state)
{
        static const char *const owned[] = { CONDITION_READY, CONDITION_RECONCILING, CONDITION_STALLED, NULL };
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(json_free) struct json *object = json_of(OBJECT("1h"));
        struct reconcile reconcile = { .object = object };
        struct run run = { .reconcile = &reconcile,
                           .arena = arena,
                           .object = object,
                           .namespace = "flux",
                           .name = "app",
                           .patch = OBJECT_PATCH_NULL,
                           .started_ns = clock_now_ns() + 60 * DURATION_SECOND };

        (void)state;
        object_patch_begin(&run.patch, NULL,
                           kube_resource_intern("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations", true),
                           "kustomize-controller", owned, object);
        assert_int_equal(run_progress(&process, &run, &error, "step %d", 1), 0);
        assert_int_equal(fake.count, 0);
        run.started_ns -= 62 * DURATION_SECOND;
        assert_int_equal(run_progress(&process, &run, &error, "step %d", 2), 0);
        assert_int_equal(fake.count, 1);
        assert_non_null(strstr(written(), "step 2"));
        object_patch_release(&run.patch);
}

/* Ready is of the last run, Reconciling of what is going on. */
static void a_deletion_that_fails_is_shown(void **state)
{
        struct reconcile run;

        (void)state;
        stored = "{\"apiVersion\":\"kustomize.toolkit.fluxcd.io/v1\",\"kind\":\"Kustomization\",\"metadata\":{\"name\":\"app\","
                 "\"namespace\":\"flux\",\"uid\":\"u\",\"resourceVersion\":\"1\",\"generation\":2,\"deletionTimestamp\":"
                 "\"2020-01-01T00:00:00Z\",\"finalizers\":[\"finalizers.fluxcd.io\"]},\"spec\":{\"interval\":\"1h\",\"prune\":true,"
                 "\"kubeConfig\":{\"secretRef\":{\"name\":\"k\"}},\"sourceRef\":{\"kind\":\"GitRepository\",\"name\":\"git\"}},"
                 "\"status\":{\"observedGeneration\":1,\"inventory\":{\"entries\":[{\"id\":\"ns_a__ConfigMap\",\"v\":\"v1\"}]},"
                 "\"conditions\":[{\"type\":\"Reconciling\",\"status\":\"True\",\"reason\":\"ProgressingWithRetry\",\"message\":"
                 "\"x\","
                 "\"observedGeneration\":1,\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"},{\"type\":\"Ready\",\"status\":"
                 "\"False\","
                 "\"reason\":\"PruneFailed\",\"message\":\"y\",\"observedGeneration\":1,\"lastTransitionTime\":"
                 "\"2020-01-01T00:00:00Z\"}]}}";
        assert_int_equal(reconcile(stored, &run), -1);
        assert_non_null(strstr(written(), "\"observedGeneration\":2"));
        assert_non_null(strstr(written(), "\"observedGeneration\":1"));
        assert_null(strstr(written(), "\"finalizers\""));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(only_a_run_that_lasts_shows_its_progress, setup, teardown),
                cmocka_unit_test_setup_teardown(a_terminal_error_that_nobody_heard_of_is_none, setup, teardown),
                cmocka_unit_test(a_shutdown_is_no_failure_of_the_source),
                cmocka_unit_test_setup_teardown(a_deletion_that_others_hold_up_is_observed, setup, teardown),
                cmocka_unit_test(who_does_not_know_is_asked_again),
                cmocka_unit_test_setup_teardown(a_deletion_that_fails_is_shown, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
