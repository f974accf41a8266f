#include "kube/event.h"

#include "base/pool.h"
#include "kube/event_correlate.h"

#include "fake_server.h"

#include <stdatomic.h>
#include <stdio.h>

/* ---- the receiver ---- */

static struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        int statuses[8]; /* of the answers, in order; the last one stays */
        int posts;
        bool hang;
        int64_t at_ms[512];
        char *bodies[512];
} receiver = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

int http_call(struct context *context, struct io *io, const struct http_request *request, struct http_response *ret_response,
              struct error *error)
{
        bool hang;
        int at;

        (void)io;
        pthread_mutex_lock(&receiver.lock);
        at = receiver.posts < 7 ? receiver.posts : 7;
        while (at > 0 && !receiver.statuses[at])
                at--;
        if (receiver.posts < 512) {
                receiver.at_ms[receiver.posts] = clock_now_ms();
                receiver.bodies[receiver.posts] = memory_string_n(request->body.data, request->body.length);
        }
        receiver.posts++;
        hang = receiver.hang;
        pthread_cond_broadcast(&receiver.changed);
        pthread_mutex_unlock(&receiver.lock);
        while (hang)
                if (context_sleep(context, 60000, error) != 0)
                        return -1;
        ret_response->status = receiver.statuses[at];
        return 0;
}

void http_response_release(struct http_response *response)
{
        buffer_release(&response->body);
}

static int posts_now(void)
{
        int posts;

        pthread_mutex_lock(&receiver.lock);
        posts = receiver.posts;
        pthread_mutex_unlock(&receiver.lock);
        return posts;
}

/* ---- the cluster ---- */

const struct kube_resource *kube_resource_intern(const char *group, const char *version, const char *kind, const char *plural,
                                                 bool namespaced)
{
        static const struct kube_resource events = { "", "v1", "Event", "events", "v1", true };

        assert_string_equal(group, events.group);
        assert_string_equal(version, events.version);
        assert_string_equal(kind, events.kind);
        assert_string_equal(plural, events.plural);
        assert_true(namespaced);
        return &events;
}

static int accept_all(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        (void)request;
        (void)body;
        (void)error;
        *ret_json = json_new_object();
        return 0;
}

static int setup(void **state)
{
        (void)state;
        fake_reset();
        fake.answer = accept_all;
        for (int i = 0; i < receiver.posts && i < 512; i++)
                free(receiver.bodies[i]);
        receiver.posts = 0;
        receiver.hang = false;
        memset(receiver.statuses, 0, sizeof(receiver.statuses));
        receiver.statuses[0] = 202;
        return 0;
}

static struct json *some_object(void)
{
        return json_of(
                "{\"apiVersion\":\"v1\",\"kind\":\"Thing\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"app\",\"uid\":\"u\","
                "\"resourceVersion\":\"7\",\"annotations\":{\"event.toolkit.fluxcd.io/env\":\"prod\",\"other\":\"x\"}}}");
}

static _Atomic bool pressed;

static bool is_pressed(void *data)
{
        (void)data;
        return atomic_load(&pressed);
}

static struct event_recorder *started(const char *address)
{
        const struct event_settings settings = {
                .controller = "kustomize-controller", .events_address = address, .post_pause_ms = 20, .pressed = is_pressed
        };
        struct event_recorder *recorder = NULL;
        struct error error = ERROR_NULL;

        assert_int_equal(event_recorder_start(&settings, &recorder, &error), 0);
        return recorder;
}

/* ---- tests ---- */

static void same_event_is_counted(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        cleanup(free_string) char *lines = NULL;
        cleanup(json_free) struct json *body = NULL;
        struct event_recorder *recorder = started(NULL);
        int i;

        (void)state;
        for (i = 0; i < 3; i++)
                event_record(recorder, object, EVENT_NORMAL, "Progressing", NULL, "hello");
        event_recorder_stop(&recorder, 5000);
        lines = fake_lines();
        assert_memory_equal(lines, "CREATE events/ns\nMERGE events/ns/app.", strlen("CREATE events/ns\nMERGE events/ns/app."));
        assert_int_equal(fake_count(), 3);
        assert_non_null(strstr(fake.requests[1].body, "\"count\":2"));
        assert_non_null(strstr(fake.requests[2].body, "\"count\":3"));
        body = json_of(fake.requests[0].body);
        assert_string_equal(json_string(JSON_PATH(body, "involvedObject", "name"), ""), "app");
        assert_string_equal(json_string(JSON_PATH(body, "metadata", "annotations", "event.toolkit.fluxcd.io/env"), ""), "prod");
        assert_null(JSON_PATH(body, "metadata", "annotations", "other"));
        assert_string_equal(json_string(JSON_PATH(body, "source", "component"), ""), "kustomize-controller");
        assert_string_equal(json_string(json_get(body, "type"), ""), "Normal");
}

static void count_goes_on(void **state)
{
        struct event_decision decision;
        cleanup(event_correlator_free) struct event_correlator *correlator = event_correlator_new();

        (void)state;
        decision = event_correlate(correlator, VIEW("o"), VIEW("Normal"), VIEW("R"), VIEW("m"), 0, 1000);
        assert_int_equal(decision.action, EVENT_CREATE);
        assert_int_equal(decision.count, 1);
        decision = event_correlate(correlator, VIEW("o"), VIEW("Normal"), VIEW("R"), VIEW("m"), 1, 2000);
        assert_int_equal(decision.action, EVENT_COUNT);
        assert_int_equal(decision.count, 2);
        assert_int_equal(decision.first_us, 1000);
}

static void similar_events_are_combined(void **state)
{
        cleanup(event_correlator_free) struct event_correlator *correlator = event_correlator_new();
        int i;

        (void)state;
        for (i = 0; i < 12; i++) {
                char message[16];
                struct event_decision decision;

                snprintf(message, sizeof(message), "m%d", i);
                decision = event_correlate(correlator, VIEW("o"), VIEW("Normal"), VIEW("R"), view_of(message), i, 1000 * i);
                assert_int_equal(decision.combined, i >= 9);
                assert_int_equal(decision.action, i <= 9 ? EVENT_CREATE : EVENT_COUNT);
        }
        /* Ten minutes later each is one of its own again. */
        assert_false(event_correlate(correlator, VIEW("o"), VIEW("Normal"), VIEW("R"), VIEW("new"), 700000, 1).combined);
}

/* Of twelve different messages for one reason the tenth is a new event that says so, and the last two are counted there. */
static void a_combined_event_says_that_it_is_one(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        struct event_recorder *recorder = started(NULL);

        (void)state;
        for (int i = 0; i < 12; i++)
                event_record(recorder, object, EVENT_NORMAL, "Progressing", NULL, "m%d", i);
        event_recorder_stop(&recorder, 5000);
        assert_int_equal(fake_count(), 12);
        for (int i = 0; i < 12; i++) {
                cleanup(json_free) struct json *body = json_of(fake.requests[i].body);
                cleanup(free_string) char *message = memory_printf("%sm%d", i < 9 ? "" : "(combined from similar events): ", i);

                assert_int_equal(fake.requests[i].request.verb, i < 10 ? KUBE_CREATE : KUBE_PATCH_MERGE);
                assert_string_equal(json_string(json_get(body, "message"), ""), message);
                assert_int_equal(json_integer(json_get(body, "count"), 0), i < 10 ? 1 : i - 8);
                assert_true((JSON_PATH(body, "metadata", "annotations") != NULL) == (i < 9)); /* each had its own */
        }
        /* Counted where the tenth was made: by its name. */
        assert_string_equal(fake.requests[10].line, fake.requests[11].line);
}

static void spam_is_dropped_and_refilled(void **state)
{
        cleanup(event_correlator_free) struct event_correlator *correlator = event_correlator_new();
        int i, written = 0;

        (void)state;
        for (i = 0; i < 60; i++)
                written += event_correlate(correlator, VIEW("o"), VIEW("Normal"), VIEW("R"), VIEW("m"), i * 1000, i).action !=
                           EVENT_DROP;
        assert_int_equal(written, 25);
        assert_int_equal(event_correlate(correlator, VIEW("other"), VIEW("Normal"), VIEW("R"), VIEW("m"), 60000, 0).action,
                         EVENT_CREATE);
        assert_int_not_equal(event_correlate(correlator, VIEW("o"), VIEW("Normal"), VIEW("R"), VIEW("m"), 400000, 0).action,
                             EVENT_DROP);
}

static void memory_of_events_is_bounded(void **state)
{
        cleanup(event_correlator_free) struct event_correlator *correlator = event_correlator_new();
        int i;

        (void)state;
        for (i = 0; i < 10000; i++) {
                char object[16];

                snprintf(object, sizeof(object), "o%d", i);
                event_correlate(correlator, view_of(object), VIEW("Normal"), VIEW("R"), VIEW("m"), i, i);
        }
        /* The last is remembered, the first is not. */
        assert_int_equal(event_correlate(correlator, VIEW("o9999"), VIEW("Normal"), VIEW("R"), VIEW("m"), 10000, 0).action,
                         EVENT_COUNT);
        assert_int_equal(event_correlate(correlator, VIEW("o0"), VIEW("Normal"), VIEW("R"), VIEW("m"), 10000, 0).action,
                         EVENT_CREATE);
}

static size_t memories(void)
{
        struct pool_usage usage;

        pool_usage(&usage);
        return usage.pieces;
}

/* Three are kept of each: by what is similar, by what is the same, and by object. */
static void memory_of_events_ends_with_their_use(void **state)
{
        cleanup(event_correlator_free) struct event_correlator *correlator = event_correlator_new();
        size_t before = memories();
        int i;

        (void)state;
        for (i = 0; i < 100; i++) {
                char object[16];

                snprintf(object, sizeof(object), "o%d", i);
                event_correlate(correlator, view_of(object), VIEW("Normal"), VIEW("R"), VIEW("m"), 0, 0);
        }
        assert_int_equal(memories() - before, 300);
        event_correlate(correlator, VIEW("later"), VIEW("Normal"), VIEW("R"), VIEW("m"), 600001, 0);
        assert_int_equal(memories() - before, 203);
        assert_int_equal(event_correlate(correlator, VIEW("o7"), VIEW("Normal"), VIEW("R"), VIEW("m"), 7500000, 0).count, 2);
        event_correlate(correlator, VIEW("later"), VIEW("Normal"), VIEW("R"), VIEW("m"), 7500001, 0);
        assert_int_equal(memories() - before, 6);
        assert_int_equal(event_correlate(correlator, VIEW("o8"), VIEW("Normal"), VIEW("R"), VIEW("m"), 7500001, 0).count, 1);
}

static void receiver_gets_the_keys_of_flux(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        cleanup(json_free) struct json *metadata = json_of("{\"kustomize.toolkit.fluxcd.io/revision\":\"main@sha1:1\"}");
        cleanup(json_free) struct json *body = NULL;
        cleanup(buffer_release) struct buffer keys = BUFFER_NULL;
        struct event_recorder *recorder = started("http://receiver");

        (void)state;
        event_record(recorder, object, EVENT_WARNING, "BuildFailed", metadata, "no %s", "way");
        event_record(recorder, object, EVENT_TRACE, "Quiet", NULL, "not posted");
        event_recorder_stop(&recorder, 5000);
        assert_int_equal(receiver.posts, 1);
        body = json_of(receiver.bodies[0]);
        JSON_EACH(body, member)
                buffer_printf(&keys, "%s ", member.key);
        assert_string_equal(buffer_string(&keys),
                            "involvedObject severity timestamp message reason metadata reportingController reportingInstance ");
        assert_string_equal(json_string(json_get(body, "severity"), ""), "error");
        assert_string_equal(json_string(json_get(body, "message"), ""), "no way");
        assert_int_equal(json_length(json_get(body, "metadata")), 2);
        assert_int_equal(fake_count(), 2);
}

static void answers_decide_about_another_try(void **state)
{
        static const struct {
                int first, then, posts;
        } cases[] = { { 202, 202, 1 }, { 429, 202, 1 }, { 501, 202, 1 }, { 404, 202, 1 }, { 500, 202, 2 }, { 500, 500, 5 } };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = some_object();
                struct event_recorder *recorder;

                setup(NULL);
                receiver.statuses[0] = cases[i].first;
                receiver.statuses[1] = cases[i].then;
                recorder = started("http://receiver");
                event_record(recorder, object, EVENT_NORMAL, "R", NULL, "m");
                event_recorder_stop(&recorder, 5000);
                assert_int_equal(receiver.posts, cases[i].posts);
                for (int post = 1; post < receiver.posts; post++)
                        assert_true(receiver.at_ms[post] - receiver.at_ms[post - 1] >= 20 << (post - 1));
        }
}

static int refuse_app(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        if (strstr(body, "\"name\":\"app\""))
                return error_set(error, ERROR_UNAVAILABLE, "the connection was refused");
        return accept_all(request, body, ret_json, error);
}

/* The first try again comes after up to ten seconds. */
static void who_is_tried_again_holds_up_few(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        struct event_recorder *recorder = started(NULL);
        int64_t end = clock_now_ms() + 1000;

        (void)state;
        fake.answer = refuse_app;
        event_record(recorder, object, EVENT_NORMAL, "R", NULL, "m");
        for (int i = 0; i < 8; i++) {
                json_set_string(json_get(object, "metadata"), "name", (char[]){ 'x', (char)('0' + i), 0 });
                event_record(recorder, object, EVENT_NORMAL, "R", NULL, "m");
        }
        while (fake_count() < 1 + 6 && clock_now_ms() < end)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        assert_in_range(fake_count(), 1 + 6, 1 + 8);
        event_recorder_stop(&recorder, 0);
}

static bool writes(size_t count, int64_t end)
{
        while (fake_count() < count && clock_now_ms() < end)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        return fake_count() >= count;
}

/* Who has more to do than it comes to writes later, but not never; and posts at once. */
static void what_is_told_gives_way_for_a_while(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        struct event_recorder *recorder = started("http://receiver");
        int64_t start = clock_now_ms();

        (void)state;
        atomic_store(&pressed, true);
        event_record(recorder, object, EVENT_NORMAL, "R", NULL, "first");
        while (!posts_now() && clock_now_ms() < start + 20000)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        assert_int_equal(posts_now(), 1);
        assert_true(writes(1, start + 20000));
        assert_true(clock_now_ms() - start >= EVENT_YIELD_MS);

        start = clock_now_ms();
        event_record(recorder, object, EVENT_NORMAL, "R", NULL, "second");
        assert_true(!writes(2, start + 100) || clock_now_ms() - start >= EVENT_YIELD_MS);
        atomic_store(&pressed, false);
        assert_true(writes(2, start + 20000));
        event_recorder_stop(&recorder, 20000);
}

static void hanging_receiver_delays_nobody(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        struct event_recorder *recorder = started("http://receiver");
        int64_t start = clock_now_ms();
        int i;

        (void)state;
        receiver.hang = true;
        for (i = 0; i < 300; i++)
                event_record(recorder, object, EVENT_NORMAL, "R", NULL, "m%d", i);
        assert_true(clock_now_ms() - start < 2000);
        event_recorder_stop(&recorder, 300);
        assert_true(clock_now_ms() - start < 4000);
        assert_int_equal(posts_now(), 1);
}

static void long_messages_are_cut_and_few_are_queued(void **state)
{
        cleanup(json_free) struct json *object = some_object();
        cleanup(json_free) struct json *body = NULL;
        cleanup(free_string) char *text = memory_zero(1, EVENT_MESSAGE_LIMIT + 2);
        struct event_recorder *recorder = started("http://receiver");
        const char *message;

        (void)state;
        memset(text, 'x', EVENT_MESSAGE_LIMIT + 1);
        pthread_mutex_lock(&receiver.lock); /* holds the first one up; of the others those are queued that fit into 4 MiB */
        for (int i = 0; i < 40; i++)
                event_record(recorder, object, EVENT_NORMAL, "R", NULL, "%d %s", i, text);
        pthread_mutex_unlock(&receiver.lock);
        event_recorder_stop(&recorder, 5000);
        body = json_of(receiver.bodies[0]);
        message = json_string(json_get(body, "message"), "");
        assert_int_equal(strlen(message), EVENT_MESSAGE_LIMIT);
        assert_string_equal(message + EVENT_MESSAGE_LIMIT - 6, "xxx...");
        assert_in_range(receiver.posts, 15, 16);
}

static void object_without_a_namespace_is_refused(void **state)
{
        cleanup(json_free) struct json *object = json_of("{\"kind\":\"Thing\",\"metadata\":{\"name\":\"x\"}}");
        struct event_recorder *recorder = started(NULL);

        (void)state;
        event_record(recorder, object, EVENT_NORMAL, "R", NULL, "m");
        event_record(NULL, object, EVENT_NORMAL, "R", NULL, "m");
        event_recorder_stop(&recorder, 1000);
        assert_int_equal(fake_count(), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(same_event_is_counted, setup),
                cmocka_unit_test_setup(count_goes_on, setup),
                cmocka_unit_test_setup(similar_events_are_combined, setup),
                cmocka_unit_test_setup(a_combined_event_says_that_it_is_one, setup),
                cmocka_unit_test_setup(spam_is_dropped_and_refilled, setup),
                cmocka_unit_test_setup(memory_of_events_ends_with_their_use, setup),
                cmocka_unit_test_setup(memory_of_events_is_bounded, setup),
                cmocka_unit_test_setup(receiver_gets_the_keys_of_flux, setup),
                cmocka_unit_test_setup(answers_decide_about_another_try, setup),
                cmocka_unit_test_setup(who_is_tried_again_holds_up_few, setup),
                cmocka_unit_test_setup(what_is_told_gives_way_for_a_while, setup),
                cmocka_unit_test_setup(hanging_receiver_delays_nobody, setup),
                cmocka_unit_test_setup(long_messages_are_cut_and_few_are_queued, setup),
                cmocka_unit_test_setup(object_without_a_namespace_is_refused, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
