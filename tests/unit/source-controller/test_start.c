/* Objects whose artifact is not in the storage when the controller begins: they say so before anything is fetched. */
#include "../kube/fake_server.h"

#include "../../../source-controller/git_repository.h"
#include "../../../source-controller/source_private.h"
#include "fake_program.h"

#include <fcntl.h>
#include <sys/stat.h>

/* In place of kube/event.c. */
void event_record(struct event_recorder *recorder, const struct json *object, enum event_type type, const char *reason,
                  const struct json *metadata, const char *format, ...)
{
        (void)recorder, (void)object, (void)type, (void)reason, (void)metadata, (void)format;
}

/* In place of kube/discovery.c. */
const struct kube_resource *kube_resource_intern(const char *group, const char *version, const char *resource_kind,
                                                 const char *plural, bool namespaced)
{
        static const struct kube_resource resource = { "source.toolkit.fluxcd.io",    "v1", "GitRepository", "gitrepositories",
                                                       "source.toolkit.fluxcd.io/v1", true };

        (void)group, (void)version, (void)resource_kind, (void)plural, (void)namespaced;
        return &resource;
}

/* ---- what the program is made of ---- */

static const char *const owned[] = { CONDITION_ARTIFACT_IN_STORAGE, CONDITION_READY, CONDITION_RECONCILING, CONDITION_STALLED,
                                     NULL };
static const struct source_kind kind = { .kind = &git_repository_kind, .folder = "gitrepository", .owned = owned };
static const struct program program = { .name = "source-controller" };
static const struct runtime runtime = { .program = &program };

static struct source_program sources = { .start_lock = PTHREAD_MUTEX_INITIALIZER };
static struct context process;
static struct arena *arena;
static char folder[32];
static int answer_code; /* 0: it is written */

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        (void)request;
        if (answer_code)
                return fake_error(error, answer_code, "AsTheTestWants", "as the test wants it");
        *ret_json = json_of(body);
        json_set_string(json_object_at(*ret_json, "metadata"), "resourceVersion", "2");
        return 0;
}

static int setup(void **state)
{
        cleanup(error_release) struct error error = ERROR_NULL;

        (void)state;
        fake_reset();
        fake.answer = serve;
        answer_code = 0;
        strcpy(folder, "/tmp/weir-start-XXXXXX");
        assert_non_null(mkdtemp(folder));
        context_open(&process, NULL, CLOCK_NEVER);
        cache = cache_new(CACHE_OBJECTS);
        arena = arena_new();
        return storage_open(&(struct storage_options){ .path = folder, .listen_address = ":9090", .retention_records = 2 },
                            &sources.storage, &error);
}

static int teardown(void **state)
{
        cleanup(free_string) char *command = memory_printf("rm -rf %s", folder);

        (void)state;
        source_stopped(&sources);
        storage_close(&sources.storage);
        arena_free(&arena);
        cache_free(&cache);
        context_close(&process);
        fake_reset();
        return system(command);
}

/* The file of an artifact in the namespace ns. */
static void put_file(const char *name)
{
        cleanup(free_string) char *command = memory_printf(
                "mkdir -p %s/gitrepository/ns/%s && touch %s/gitrepository/ns/%s/1.tar.gz", folder, name, folder, name);

        assert_int_equal(system(command), 0);
}

/* `metadata` and `spec` are members and end with a comma, or are empty. */
static void put_object(const char *name, const char *metadata, const char *spec, bool artifact)
{
        cleanup(free_string) char *status =
                memory_printf("\"artifact\":{\"path\":\"gitrepository/ns/%s/1.tar.gz\",\"url\":\"u\",\"revision\":\"r\","
                              "\"digest\":\"sha256:%s\",\"lastUpdateTime\":\"2026-01-01T00:00:00Z\"},",
                              name, name);
        cleanup(free_string) char *text =
                memory_printf("{\"apiVersion\":\"source.toolkit.fluxcd.io/"
                              "v1\",\"kind\":\"GitRepository\",\"metadata\":{%s\"namespace\":\"ns\",\"name\":\"%s\",\"uid\":\"u\","
                              "\"generation\":3,\"resourceVersion\":\"1\"},\"spec\":{%s\"interval\":\"1h\",\"url\":\"https://"
                              "example.com/x\"},\"status\":{%s"
                              "\"observedGeneration\":3,\"conditions\":["
                              "{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"Succeeded\",\"message\":\"stored\","
                              "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"},"
                              "{\"type\":\"ArtifactInStorage\",\"status\":\"True\",\"reason\":\"Succeeded\",\"message\":\"stored\","
                              "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}"
                              "]}}",
                              metadata, name, spec, artifact ? status : "");

        assert_true(cache_put(cache, view_of(text), true));
}

/* A run of that object begins. */
static struct source_run begin(const char *name)
{
        static struct controller controller;
        static struct reconcile run;
        struct source_run source;

        controller.data = &sources;
        run = (struct reconcile){ .runtime = &runtime, .controller = &controller, .namespace = "ns", .name = name, .arena = arena };
        source = (struct source_run){ .kind = &kind, .run = &run, .program = &sources };
        source_start(&process, &source);
        return source;
}

static void assert_requests(const char *expected)
{
        cleanup(free_string) char *lines = fake_lines();

        assert_string_equal(lines, expected);
}

static void those_without_a_file_are_marked(void **state)
{
        cleanup(json_free) struct json *body = NULL;

        (void)state;
        put_object("whole", "", "", true);
        put_file("whole");
        put_object("lost", "", "", true);
        put_object("suspended", "", "\"suspend\":true,", true);
        put_object("deleted", "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",", "", true);
        put_object("new", "", "", false);
        begin("whole");
        assert_requests("MERGE gitrepositories/ns/lost/status\n");
        body = json_of(fake.requests[0].body);
        assert_non_null(strstr(fake.requests[0].body, "\"artifact\":null"));
        assert_true(condition_is_unknown(body, CONDITION_READY));
        assert_string_equal(condition_message(body, CONDITION_READY), "building artifact: disappeared from storage");
        assert_string_equal(condition_reason(body, CONDITION_RECONCILING), REASON_PROGRESSING);
        assert_false(condition_has(body, CONDITION_ARTIFACT_IN_STORAGE));
}

/* What was lost is known to the next run of its object alone: the same content again is no news. */
static void the_digest_is_remembered_until_the_first_run(void **state)
{
        struct source_run source;

        (void)state;
        put_object("a", "", "", true);
        put_object("b", "", "", true);
        source = begin("a");
        assert_int_equal(fake_count(), 2);
        assert_true(source.lost);
        assert_string_equal(source.previous_digest, "sha256:a");
        source = begin("a");
        assert_false(source.lost);
        assert_null(source.previous_digest);
        source = begin("b");
        assert_string_equal(source.previous_digest, "sha256:b");
        assert_int_equal(fake_count(), 2);
}

static void it_is_done_once_for_each_leadership(void **state)
{
        (void)state;
        put_object("a", "", "", true);
        begin("b");
        begin("b");
        assert_int_equal(fake_count(), 1);
        source_stopped(&sources);
        begin("b");
        assert_int_equal(fake_count(), 2);
}

/* Each run finds out for itself; nobody waits for a server that is away. */
static void a_server_that_is_away_is_not_asked_for_all(void **state)
{
        struct source_run source;

        (void)state;
        answer_code = 503;
        for (int i = 0; i < 100; i++) {
                char name[16];

                snprintf(name, sizeof(name), "a%d", i);
                put_object(name, "", "", true);
        }
        source = begin("a0");
        assert_true(fake_count() >= 1 && fake_count() <= 4);
        assert_false(source.lost);
        assert_null(source.previous_digest);
}

static void one_that_is_gone_keeps_no_other_from_being_marked(void **state)
{
        (void)state;
        answer_code = 404;
        put_object("a", "", "", true);
        put_object("b", "", "", true);
        put_object("c", "", "", true);
        begin("a");
        assert_int_equal(fake_count(), 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(those_without_a_file_are_marked, setup, teardown),
                cmocka_unit_test_setup_teardown(the_digest_is_remembered_until_the_first_run, setup, teardown),
                cmocka_unit_test_setup_teardown(it_is_done_once_for_each_leadership, setup, teardown),
                cmocka_unit_test_setup_teardown(a_server_that_is_away_is_not_asked_for_all, setup, teardown),
                cmocka_unit_test_setup_teardown(one_that_is_gone_keeps_no_other_from_being_marked, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
