/* What an account may do is asked once for all that share it, and that it changed is noticed by each of them. */
#include "../kube/fake_resources.h"
#include "../kube/fake_server.h"

#include "../../../kustomize-controller/run.h"

#include "fake_reconcile.h"
#include "fake_watch.h"

#include <pthread.h>

#define HOUR_MS INT64_C(3600000)

static const char *rules; /* status of the server's answers */
static int code;          /* of a failure; 0: none */

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        assert_int_equal(request->verb, KUBE_CREATE);
        assert_non_null(strstr(body, "\"SelfSubjectRulesReview\""));
        if (code)
                return fake_error(error, code, "Failure", "as the test wants");
        *ret_json = json_of(rules);
        return 0;
}

#define RULES(verbs) "{\"status\":{\"resourceRules\":[" verbs "],\"incomplete\":false}}"
#define READ         "{\"verbs\":[\"get\"],\"resources\":[\"*\"]}"
#define WRITE        "{\"verbs\":[\"patch\"],\"resources\":[\"*\"]}"

/* Whether a Kustomization of the account, with objects in these namespaces, is told that its rights changed. */
static bool changed(const char *name, const char *account, const char *inventory, int64_t interval_ms, bool proven)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *object = json_of(inventory);
        cleanup(context_close) struct context context;
        const struct runtime_flags flags = { 0 };
        const struct runtime runtime = { .flags = &flags };
        struct reconcile reconcile = { .runtime = &runtime };
        struct run run = { .reconcile = &reconcile, .arena = arena, .object = object, .namespace = "flux", .name = name };

        context_open(&context, NULL, CLOCK_NEVER);
        run.spec.service_account_name = account;
        run.spec.interval = interval_ms * DURATION_MILLISECOND;
        if (!proven)
                return run_rights_changed(&context, &run);
        run_rights_proven(&context, &run);
        return false;
}

#define ENTRY(namespace)   "{\"id\":\"" namespace "_a__ConfigMap\",\"v\":\"v1\"}"
#define INVENTORY(entries) "{\"status\":{\"inventory\":{\"entries\":[" entries "]}}}"
#define IN_ONE             INVENTORY(ENTRY("one"))

static int setup(void **state)
{
        (void)state;
        fake_reset();
        fake.answer = serve;
        rules = RULES(READ "," WRITE);
        code = 0;
        kustomize.owners = owners_new(NULL);
        kustomize.drift = (struct drift_table *)&kustomize; /* there is one; nobody looks into it */
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_reset();
        owners_free(&kustomize.owners);
        return 0;
}

static void who_shares_an_account_shares_the_answer(void **state)
{
        static const struct {
                const char *name, *account, *inventory;
                size_t requests;
        } cases[] = {
                { "a", "shared", IN_ONE, 1 },
                { "b", "shared", IN_ONE, 0 },
                { "b", "shared", IN_ONE, 0 },
                { "c", "own", IN_ONE, 1 },
                { "d", "shared", INVENTORY(ENTRY("one") "," ENTRY("two") "," ENTRY("one")), 1 },
                { "e", "shared", INVENTORY(ENTRY("two")), 0 },
                { "f", "shared", "{}", 1 }, /* nothing yet: its own namespace */
                { "g", NULL, IN_ONE, 0 },   /* the controller's own account */
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                fake_reset();
                assert_false(changed(cases[i].name, cases[i].account, cases[i].inventory, HOUR_MS, false));
                if (fake_count() != cases[i].requests)
                        fail_msg("%s: %zu requests", cases[i].name, fake_count());
        }
}

/* A shared answer ends with half an interval. */
static bool is_noticed(const char *name)
{
        int64_t until = clock_now_ms() + 10000;

        while (clock_now_ms() < until)
                if (changed(name, "rights", IN_ONE, 20, false))
                        return true;
        return false;
}

static void what_changed_is_noticed_until_it_is_proven(void **state)
{
        static const struct {
                const char *name, *rules;
                int code;
        } cases[] = {
                { "less", RULES(READ), 0 },
                { "more", RULES(READ "," WRITE "," READ), 0 },
                { "nothing, not even to ask", RULES(""), 403 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                setup(state);
                changed("a", "rights", IN_ONE, 20, true); /* the first run, which applied everything */
                rules = cases[i].rules;
                code = cases[i].code;
                if (!is_noticed("a"))
                        fail_msg("%s: not noticed", cases[i].name);
                assert_true(changed("a", "rights", IN_ONE, HOUR_MS, false)); /* it stays so, without another question */
                changed("a", "rights", IN_ONE, HOUR_MS, true);
                assert_false(changed("a", "rights", IN_ONE, HOUR_MS, false));
                teardown(state);
        }
        setup(state);
}

static void what_is_no_change(void **state)
{
        static const struct {
                const char *name, *rules;
                int code;
        } cases[] = {
                { "another order", RULES(WRITE "," READ), 0 },
                { "a server that is away", RULES(""), 503 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                size_t before;
                int64_t until = clock_now_ms() + 10000;

                setup(state);
                changed("a", "order", IN_ONE, 20, true);
                rules = cases[i].rules;
                code = cases[i].code;
                before = fake_count();
                while (fake_count() == before && clock_now_ms() < until)
                        assert_false(changed("a", "order", IN_ONE, 20, false));
                assert_true(fake_count() > before);
                teardown(state);
        }
        setup(state);
}

static void *ask_for_many(void *argument)
{
        for (int i = 0; i < 200; i++) {
                char name[32], account[32];

                snprintf(name, sizeof(name), "%s-%d", (const char *)argument, i);
                snprintf(account, sizeof(account), "account-%d", i); /* in the end more than are kept */
                changed(name, account, INVENTORY(ENTRY("one") "," ENTRY("two")), HOUR_MS, false);
        }
        return NULL;
}

/* Many at once: none is asked about more often than there are threads, and the memory is bounded. */
static void any_thread_may_ask(void **state)
{
        static const char *const names[] = { "w", "x", "y", "z" };
        pthread_t threads[COUNT(names)];

        (void)state;
        for (size_t i = 0; i < COUNT(names); i++)
                pthread_create(&threads[i], NULL, ask_for_many, (void *)(uintptr_t)names[i]);
        for (size_t i = 0; i < COUNT(names); i++)
                pthread_join(threads[i], NULL);
        assert_in_range(fake_count(), 400, 400 * COUNT(names));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(who_shares_an_account_shares_the_answer, setup, teardown),
                cmocka_unit_test_teardown(what_changed_is_noticed_until_it_is_proven, teardown),
                cmocka_unit_test_teardown(what_is_no_change, teardown),
                cmocka_unit_test_setup_teardown(any_thread_may_ask, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
