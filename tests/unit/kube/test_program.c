/* What a program does with its kinds, its signals and its server, seen from outside. */
#include "program_world.h"

static void health_says_what_it_always_said(void **state)
{
        static const struct {
                const char *path, *status, *body;
        } cases[] = {
                { "/healthz", "200", "ok" },
                { "/readyz", "200", "ok" },
                { "/healthz/ping", "200", "ok" },
                { "/readyz/ping", "200", "ok" },
                { "/healthz?verbose", "200", "[+]ping ok\nhealthz check passed\n" },
                { "/readyz?verbose", "200", "[+]ping ok\nhealthz check passed\n" },
                { "/healthz?exclude=ping", "200", "ok" },
                { "/healthz?verbose&exclude=ping", "200", "[+]ping excluded: ok\nhealthz check passed\n" },
                { "/healthz/pong", "404", "404 page not found\n" },
                { "/", "404", "404 page not found\n" },
        };
        struct process process;

        (void)state;
        set_thing(0, "", NULL);
        begin(&process, NULL);
        for (size_t i = 0; i < COUNT(cases); i++) {
                const char *answer = ask(process.health, cases[i].path);

                assert_memory_equal(answer + strlen("HTTP/1.1 "), cases[i].status, 3);
                assert_non_null(strcasestr(answer, "content-type: text/plain; charset=utf-8\r\n"));
                assert_non_null(strcasestr(answer, "x-content-type-options: nosniff\r\n"));
                assert_string_equal(body(answer), cases[i].body);
        }
        assert_true(reaches(&shared->started, 1));
        {
                const char *metrics = ask(process.metrics, "/metrics");

                assert_non_null(
                        strstr(metrics, "\ncontroller_runtime_reconcile_total{controller=\"thing\",result=\"requeue_after\"} 0\n"));
                assert_non_null(strstr(metrics, "\ncontroller_runtime_reconcile_panics_total{controller=\"thing\"} 0\n"));
                assert_non_null(strstr(metrics, "\ngo_info{version=\"weir\"} 1\n"));
        }
        assert_non_null(strstr(ask(process.metrics, "/debug/pprof/goroutine"), "watch test.dev/v1/Thing"));
        assert_memory_equal(ask(process.metrics, "/debug/pprof/block"), "HTTP/1.1 404", 12);
        assert_non_null(strstr(log_of(&process), "\"msg\":\"error loading config file")); /* and goes without */
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
        assert_int_equal(shared->stopped, 1);
}

static void wrong_arguments_have_their_exit_status(void **state)
{
        static const struct {
                const char *argument;
                int status;
                const char *proxy; /* of the environment */
                const char *more;
        } cases[] = {
                { "--nope", 2 },
                { "--concurrent=many", 2 },
                { "--feature-gates=Nope=true", 1 },
                { "--interval-jitter-percentage=100", 1 },
                { "--watch-label-selector=a in (", 1 },
                { "--log-level=loud", 1 },
                { "--log-encoding=xml", 1 },
                { "--health-addr=nowhere", 1 },
                { "--enable-leader-election", 1, .more = "--leader-election-renew-deadline=35s" },
                { "--enable-leader-election", 1, .more = "--leader-election-retry-period=25s" },
                { "--enable-leader-election", 1, .more = "--leader-election-retry-period=0s" },
                { "--insecure-allow-http=false", 1, "http://proxy.example.com" },
                { "--insecure-allow-http=false", 1, "proxy.example.com:3128" },
                { "--help", 0 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct process process;

                if (cases[i].proxy)
                        setenv("HTTPS_PROXY", cases[i].proxy, 1);
                begin(&process, (const char *const[]){ cases[i].argument, cases[i].more, NULL });
                assert_int_equal(end(&process), cases[i].status);
                unsetenv("HTTPS_PROXY");
        }
}

static void an_object_runs_when_its_generation_or_request_changes(void **state)
{
        struct process process;
        int watches;

        (void)state;
        set_thing(1, "", "once");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->priority, QUEUE_PRIORITY_INITIAL);
        assert_int_equal(api.streamed, 1);

        /* Status only: seen, not run. */
        set_thing(1, "", "once");
        watches = api.watches;
        assert_true(reaches(&api.watches, watches + 3));
        assert_int_equal(shared->runs, 1);

        set_thing(1, REQUESTED, "once");
        assert_true(reaches(&shared->ended, 2));
        assert_int_equal(shared->priority, QUEUE_PRIORITY_NORMAL);
        set_thing(1, REQUESTED, "once");
        watches = api.watches;
        assert_true(reaches(&api.watches, watches + 3));
        assert_int_equal(shared->runs, 2);

        set_thing(2, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "once");
        assert_true(reaches(&shared->ended, 3));
        set_thing(0, "", NULL);
        assert_true(reaches(&shared->removed, 1));
        assert_int_equal(api.streamed, 1);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void results_go_to_the_queue_and_the_metrics(void **state)
{
        static const struct {
                const char *mode, *metric;
                int runs; /* at least */
        } cases[] = {
                { "fail", "controller_runtime_reconcile_total{controller=\"thing\",result=\"error\"} 3", 3 },
                { "terminal", "controller_runtime_terminal_reconcile_errors_total{controller=\"thing\"} 1", 1 },
                { "again", "controller_runtime_reconcile_total{controller=\"thing\",result=\"success\"} 0", 5 },
                { "once", "controller_runtime_reconcile_total{controller=\"thing\",result=\"success\"} 1", 1 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                int64_t limit = clock_now_ms() + LIMIT_MS;
                struct process process;

                set_thing(1, "", cases[i].mode);
                begin(&process, (const char *const[]){ "--min-retry-delay=20ms", "--max-retry-delay=100ms", NULL });
                assert_true(reaches(&shared->ended, cases[i].runs));
                if (strcmp(cases[i].mode, "fail") != 0)
                        while (!strstr(ask(process.metrics, "/metrics"), cases[i].metric) && clock_now_ms() < limit)
                                moment();
                assert_true(clock_now_ms() < limit);
                kill(process.pid, SIGTERM);
                assert_int_equal(end(&process), 0);
        }
}

/* What failed because of an outage is tried when that is over, also if the run itself ends later than the outage. */
static void retries_come_when_the_server_is_back(void **state)
{
        static const char *const modes[] = { "hourly", "slow" };

        (void)state;
        for (size_t i = 0; i < COUNT(modes); i++) {
                struct process process;
                int before;

                set_thing(1, "", modes[i]);
                begin(&process, NULL);
                assert_true(reaches(i ? &shared->runs : &shared->ended, 1));
                atomic_store(&api.away, true);
                assert_true(reaches(&api.turned_away, atomic_load(&api.turned_away) + 1));
                assert_int_equal(atomic_load(&shared->runs), 1);
                before = atomic_load(&api.watches);
                atomic_store(&api.away, false);
                assert_true(reaches(&api.watches, before + 2));
                atomic_store(&shared->recovered, 1);
                assert_true(reaches(&shared->runs, 2));
                kill(process.pid, SIGTERM);
                assert_int_equal(end(&process), 0);
        }
}

static void a_restored_server_is_looked_at_anew(void **state)
{
        struct process process;

        (void)state;
        api.version += 1000;
        set_thing(1, "", "once");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(atomic_load(&shared->restored), 0);
        pthread_mutex_lock(&api.lock);
        api.version -= 500;
        pthread_mutex_unlock(&api.lock);
        assert_true(reaches(&shared->restored, 1));
        assert_true(reaches(&shared->runs, 2));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void a_run_that_honours_its_token_ends_at_once(void **state)
{
        struct process process;
        int64_t asked;

        (void)state;
        set_thing(1, "", "wait");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        asked = clock_now_ms();
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
        assert_int_equal(shared->ended, 1);
        assert_int_equal(shared->stopped, 1);
        assert_true(clock_now_ms() - asked < 15000);
}

static void a_run_that_does_not_is_left_behind(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "stubborn");
        begin(&process, (const char *const[]){ "--graceful-shutdown-timeout=300ms", NULL });
        assert_true(reaches(&shared->runs, 1));
        kill(process.pid, SIGTERM);
        assert_int_equal(wait_for(&process), 1);
        assert_non_null(strstr(log_of(&process),
                               "failed waiting for all runnables to end within grace period of 300ms: context deadline "
                               "exceeded"));
        end(&process);
        assert_int_equal(shared->ended, 0);
}

/* Half a minute would be left for the run. */
static void a_second_signal_means_now(void **state)
{
        struct process process;
        int64_t begun;

        (void)state;
        set_thing(1, "", "stubborn");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        begun = clock_now_ms();
        kill(process.pid, SIGTERM);
        while (!strstr(log_of(&process), "Stopping and waiting for the runs to end") && clock_now_ms() < begun + LIMIT_MS)
                moment();
        begun = clock_now_ms();
        kill(process.pid, SIGINT);
        assert_int_equal(end(&process), 1);
        assert_true(clock_now_ms() - begun < 15000);
        assert_int_equal(shared->ended, 0);
}

#define MARK "Thing n/a 1\n"

/* A crash says whose run it was, in the log and for who comes after; of two the object is left alone until somebody changes it. */
static void an_object_that_crashes_twice_is_left_alone(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "crash");
        begin_after(&process, NULL, MARK);
        assert_int_equal(wait_for(&process), 2);
        assert_int_equal(shared->runs, 1);
        assert_non_null(strstr(log_of(&process), "\"msg\":\"crashed\",\"error\":\"signal ABRT\",\"object\":\"Thing n/a 1\"}\n"));
        assert_string_equal(content_of(&process, "test-controller.crashes"), MARK MARK);
        end(&process);

        set_thing(1, "", "once");
        begin_after(&process, NULL, MARK "Thing n/b 1\nThing n/a 2\n" MARK);
        for (int64_t limit = clock_now_ms() + LIMIT_MS;
             !strstr(log_of(&process), "the controller crashed 2 times") && clock_now_ms() < limit;)
                moment();
        pthread_mutex_lock(&api.lock);
        assert_non_null(strstr(api.patch, "ControllerCrashed"));
        pthread_mutex_unlock(&api.lock);
        assert_int_equal(shared->runs, 0);
        set_thing(2, "", "once");
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->generation, 2);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

/* Who may not watch any more reads what it is about to do; who may not read either does nothing, says so, and goes on when it may. */
static void a_blind_watch_makes_no_old_runs(void **state)
{
        struct process process;
        int runs;

        (void)state;
        set_thing(1, "", "again");
        begin(&process, NULL);
        assert_true(reaches(&shared->generation, 1));
        atomic_store(&api.forbidden, FORBIDDEN_WATCH);
        assert_true(reaches(&api.refused_watches, 1));
        set_thing(2, "", "again");
        assert_true(reaches(&shared->generation, 2));

        atomic_store(&api.forbidden, FORBIDDEN_ALL);
        assert_true(reaches(&api.refused_reads, 1));
        runs = atomic_load(&shared->runs);
        set_thing(3, "", "again");
        assert_true(reaches(&api.refused_reads, 2));
        assert_int_equal(atomic_load(&shared->runs), runs);
        assert_non_null(strstr(log_of(&process), "read Thing n/a, which cannot be watched: "));

        /* That there is no such thing was not said by the server: the run that ends so is made again, and not only when the object changes. */
        atomic_store(&api.forbidden, UNKNOWN_ALL);
        assert_true(reaches(&api.refused_reads, atomic_load(&api.refused_reads) + 1));
        assert_true(reaches(&api.refused_reads, atomic_load(&api.refused_reads) + 1));
        assert_int_equal(atomic_load(&shared->runs), runs);

        atomic_store(&api.forbidden, FORBIDDEN_NOTHING);
        assert_true(reaches(&shared->generation, 3));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void a_change_supersedes_the_run_if_the_gate_says_so(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "wait");
        /* The second one adds to the first. */
        begin(&process, (const char *const[]){ "--feature-gates=Supersede=true", "--feature-gates=Other=true", NULL });
        assert_true(reaches(&shared->runs, 1));
        set_thing(2, "", "once");
        assert_true(reaches(&shared->superseded, 1));
        assert_memory_equal(shared->trigger, "Thing a@", strlen("Thing a@"));
        assert_true(reaches(&shared->ended, 2));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

/* It would keep the next object of that name waiting. One that is being deleted ends as it likes: the object goes because of it. */
static void the_run_of_an_object_that_is_gone_ends(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "wait");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        set_thing(0, "", NULL);
        assert_true(reaches(&shared->gone, 1));
        set_thing(1, "", "once");
        assert_true(reaches(&shared->ended, 2));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);

        set_thing(1, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "slow");
        begin(&process, NULL);
        assert_true(reaches(&shared->runs, 1));
        set_thing(0, "", NULL);
        assert_true(reaches(&shared->removed, 1));
        atomic_store(&shared->recovered, 1);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->gone, 0);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void an_interruption_ends_only_a_run_that_says_so(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "interrupted");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        assert_int_equal(shared->superseded, 1);
        assert_int_equal(shared->interruptible, 1);
        assert_string_equal(shared->trigger, "");
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static unsigned workers_of(const struct process *process)
{
        const char *at = ask(process->metrics, "/debug/pprof/goroutine");
        unsigned count = 0;

        for (; (at = strstr(at, "thing worker tid=")); at++)
                count++;
        return count;
}

/* Also one that has a place and nothing to do: the worker it stands in for has none meanwhile. */
static void a_stand_in_ends_when_its_worker_is_back(void **state)
{
        int64_t limit = clock_now_ms() + LIMIT_MS;
        struct process process;

        (void)state;
        set_thing(1, "", "replaced");
        begin(&process, NULL);
        assert_true(reaches(&shared->ended, 1));
        while (workers_of(&process) != WORKERS && clock_now_ms() < limit)
                moment();
        assert_int_equal(workers_of(&process), WORKERS);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

/* Two threads are in it: the one that brings the event, and the idle worker that the event wakes. */
/* By its metadata alone, and only those with the label are asked for. */
static void a_labelled_secret_wakes_those_that_name_it(void **state)
{
        static const char *const gate[] = { "--feature-gates=Configs=true", NULL };
        struct process process;

        (void)state;
        set_thing(1, "", "once");
        atomic_store(&api.secret, 10);
        atomic_store(&api.secrets_asked, 0);
        begin(&process, gate);
        assert_true(reaches(&shared->ended, 1));
        /* Listed and watched: that it was there is no news. */
        assert_true(reaches(&api.secrets_asked, 6));
        assert_int_equal(shared->runs, 1);
        atomic_store(&api.secret, 11);
        assert_true(reaches(&shared->ended, 2));
        assert_int_equal(api.secrets_asked_oddly, 0);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void secrets_that_may_not_be_watched_are_done_without(void **state)
{
        static const char *const gate[] = { "--feature-gates=Configs=true", NULL };
        struct process process;
        const char *told;

        (void)state;
        set_thing(1, "", "once");
        atomic_store(&api.secret, 0);
        atomic_store(&api.secrets_asked, 0);
        begin(&process, gate);
        assert_true(reaches(&shared->ended, 1));
        assert_true(reaches(&api.secrets_asked, 2));
        set_thing(2, "", "once");
        assert_true(reaches(&shared->ended, 2));
        told = strstr(log_of(&process), "for want of rights");
        assert_non_null(told);
        assert_null(strstr(told + 1, "for want of rights"));
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void secrets_are_not_watched_if_the_gate_says_so(void **state)
{
        static const char *const gate[] = { "--feature-gates=Configs=true,DisableConfigWatchers=true", NULL };
        struct process process;

        (void)state;
        set_thing(1, "", "once");
        atomic_store(&api.secrets_asked, 0);
        begin(&process, gate);
        assert_true(reaches(&shared->ended, 1));
        set_thing(2, "", "once");
        assert_true(reaches(&shared->ended, 2));
        assert_int_equal(api.secrets_asked, 0);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

static void a_change_does_not_supersede_the_run_that_it_begins(void **state)
{
        struct process process;

        (void)state;
        set_thing(1, "", "once");
        begin(&process, (const char *const[]){ "--feature-gates=Supersede=true", NULL });
        for (int i = 1; i <= 50; i++) {
                assert_true(reaches(&shared->ended, i));
                set_thing(i + 1, "", "moment");
        }
        assert_true(reaches(&shared->ended, 51));
        assert_int_equal(shared->superseded, 0);
        kill(process.pid, SIGTERM);
        assert_int_equal(end(&process), 0);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(health_says_what_it_always_said),
                cmocka_unit_test(wrong_arguments_have_their_exit_status),
                cmocka_unit_test(an_object_runs_when_its_generation_or_request_changes),
                cmocka_unit_test(results_go_to_the_queue_and_the_metrics),
                cmocka_unit_test(retries_come_when_the_server_is_back),
                cmocka_unit_test(a_restored_server_is_looked_at_anew),
                cmocka_unit_test(a_run_that_honours_its_token_ends_at_once),
                cmocka_unit_test(a_run_that_does_not_is_left_behind),
                cmocka_unit_test(a_second_signal_means_now),
                cmocka_unit_test(an_object_that_crashes_twice_is_left_alone),
                cmocka_unit_test(a_blind_watch_makes_no_old_runs),
                cmocka_unit_test(a_change_supersedes_the_run_if_the_gate_says_so),
                cmocka_unit_test(the_run_of_an_object_that_is_gone_ends),
                cmocka_unit_test(an_interruption_ends_only_a_run_that_says_so),
                cmocka_unit_test(a_stand_in_ends_when_its_worker_is_back),
                cmocka_unit_test(a_change_does_not_supersede_the_run_that_it_begins),
                cmocka_unit_test(a_labelled_secret_wakes_those_that_name_it),
                cmocka_unit_test(secrets_that_may_not_be_watched_are_done_without),
                cmocka_unit_test(secrets_are_not_watched_if_the_gate_says_so),
        };

        if (!kernel_has_filters())
                return 0;
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
                return 1;
        return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
