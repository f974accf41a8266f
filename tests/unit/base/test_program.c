/*
 * What a program is told (flags), says (log) and counts (metrics); and the errors and arenas they use.
 */
#include "../test.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
        const char *address;
        bool election;
        int64_t concurrent, delay;
        double rate;
        struct flag_list managers;
} options;

static const struct flag table[] = {
        { "metrics-addr", FLAG_STRING, &options.address, ":8080", "WEIR_TEST_ADDR", "", 0, 0 },
        { "enable-leader-election", FLAG_BOOL, &options.election, NULL, NULL, "", 0, 0 },
        { "concurrent", FLAG_INTEGER, &options.concurrent, "4", NULL, "", 1, 1000 },
        { "min-retry-delay", FLAG_DURATION, &options.delay, "750ms", NULL, "", 0, 0 },
        { "kube-api-qps", FLAG_NUMBER, &options.rate, "50", NULL, "", 0, 0 },
        { "override-manager", FLAG_LIST, &options.managers, "a", NULL, "", 0, 0 },
};

static int parse(struct error *err, ...)
{
        char *argv[16] = { (char *)"program" };
        int argc = 1, rest = 0;
        va_list arguments;

        va_start(arguments, err);
        while (argc < 15 && (argv[argc] = va_arg(arguments, char *)))
                argc++;
        va_end(arguments);
        assert_int_equal(flags_defaults(table, COUNT(table), err), 0);
        return flags_parse(table, COUNT(table), argc, argv, &rest, err);
}

static void flags_take_both_forms(void **state)
{
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        setenv("WEIR_TEST_ADDR", ":9", 1);
        assert_int_equal(parse(&err, "--enable-leader-election", "--concurrent", "7", "--min-retry-delay=1s",
                               "--override-manager=x,y", "--override-manager", "z", NULL),
                         0);
        unsetenv("WEIR_TEST_ADDR");
        assert_string_equal(options.address, ":9");
        assert_true(options.election);
        assert_int_equal(options.concurrent, 7);
        assert_true(options.delay == 1000000000);
        assert_int_equal(options.managers.count, 3);
        assert_true(view_is(options.managers.items[2], "z"));
        assert_true(options.rate == 50);
        assert_int_equal(parse(&err, "--enable-leader-election=false", "--kube-api-qps=20.5", NULL), 0);
        assert_false(options.election);
        assert_true(options.rate == 20.5);
        assert_true(view_is(options.managers.items[0], "a"));
}

static void flags_say_what_is_wrong(void **state)
{
        static const struct {
                const char *argument, *message;
        } cases[] = {
                { "--nope", "unknown flag: --nope" },
                { "--concurrent=x", "invalid argument \"x\" for \"--concurrent\" flag: \"x\" is not a number" },
                { "--concurrent=0", "invalid argument \"0\" for \"--concurrent\" flag: 0 is not between 1 and 1000" },
                { "--kube-api-qps=5x", "invalid argument \"5x\" for \"--kube-api-qps\" flag: \"5x\" is not a number" },
                { "--kube-api-qps=inf", "invalid argument \"inf\" for \"--kube-api-qps\" flag: \"inf\" is not a number" },
                { "--metrics-addr", "flag needs an argument: --metrics-addr" },
                { "-x", "unknown shorthand flag: 'x' in -x" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(parse(&err, cases[i].argument, NULL), -1);
                assert_string_equal(error_message(&err), cases[i].message);
        }
}

static void gates(void **state)
{
        struct feature_gate list[] = { { "A", false }, { "B", true }, { "C", false } };
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(feature_gates_parse(list, COUNT(list),
                                             &(struct flag_list){ 3, { VIEW("A=true"), VIEW("B = false"), VIEW("C=1") } }, &err),
                         0);
        assert_true(feature_gate(list, COUNT(list), "A"));
        assert_false(feature_gate(list, COUNT(list), "B"));
        assert_true(feature_gate(list, COUNT(list), "C"));
        assert_int_equal(feature_gates_parse(list, COUNT(list), &(struct flag_list){ 1, { VIEW("Nope=true") } }, &err), -1);
        assert_string_equal(error_message(&err), "feature-gate 'Nope' not supported");
        assert_int_equal(feature_gates_parse(list, COUNT(list), &(struct flag_list){ 1, { VIEW("A") } }, &err), -1);
        assert_string_equal(error_message(&err), "feature-gate 'A': \"\" is not true or false");
}

static void errors_gain_context(void **state)
{
        cleanup(error_release) struct error err = ERROR_NULL, other = ERROR_NULL;

        (void)state;
        assert_int_equal(error_set_errno(&err, ENOENT, "open %s", "a.yaml"), -1);
        assert_int_equal(err.kind, ERROR_NOT_FOUND);
        assert_int_equal(error_wrap(&err, "read '%s'", "x"), -1);
        assert_string_equal(error_message(&err), "read 'x': open a.yaml: no such file or directory");
        error_reason(&err, "BuildFailed");
        error_move(&other, &err);
        assert_int_equal(err.kind, ERROR_NONE);
        assert_string_equal(error_message(&err), "");
        assert_string_equal(other.reason, "BuildFailed");
        error_set(&other, ERROR_INVALID, "again: %s", error_message(&other)); /* an argument may be the old message */
        assert_string_equal(error_message(&other), "again: read 'x': open a.yaml: no such file or directory");
}

static void arenas(void **state)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        char *list;

        (void)state;
        for (int round = 0; round < 3; round++) {
                for (size_t size = 1; size < 300000; size = size * 3 + 1) {
                        char *piece = arena_allocate(arena, size);

                        assert_int_equal((uintptr_t)piece % 16, 0);
                        for (size_t i = 0; i < size; i++)
                                assert_int_equal(piece[i], 0);
                        memset(piece, 0xee, size);
                }
                arena_reset(arena);
                assert_int_equal(arena_used(arena), 0);
        }
        list = arena_string(arena, "abc");
        assert_ptr_equal(arena_grow(arena, list, 4, 100), list);
        arena_string(arena, "in the way");
        list = arena_grow(arena, list, 100, 200);
        assert_string_equal(list, "abc");
        assert_string_equal(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
}

static void floats_as_go_prints_them(void **state)
{
        static const struct {
                double value;
                const char *text;
        } cases[] = {
                { 0, "0" },
                { 1, "1" },
                { 0.005, "0.005" },
                { 0.1, "0.1" },
                { 1e-8, "1e-08" },
                { 9.999999999999999e-06, "9.999999999999999e-06" },
                { 0.0001, "0.0001" },
                { 1799.9999999999982, "1799.9999999999982" },
                { 1e20, "100000000000000000000" },
                { 1e21, "1e+21" },
                { -2.5, "-2.5" },
                { 120, "120" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                buffer_add_float(&text, cases[i].value);
                assert_string_equal(buffer_string(&text), cases[i].text);
        }
}

static void metrics_render_as_text(void **state)
{
        static const char *const labels[] = { "controller", "result" };
        static const double bounds[] = { 0.1, 1 };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct metric *counter = metric_new(METRIC_COUNTER, "c_total", "Counts.", labels, 2, NULL, 0);
        struct metric *histogram = metric_new(METRIC_HISTOGRAM, "h", "Spans.", NULL, 0, bounds, 2);

        (void)state;
        metric_add(counter, 1, METRIC_VALUES("k", "success"));
        metric_add(counter, 2, METRIC_VALUES("k", "error \"x\"\n"));
        metric_add(counter, 1, METRIC_VALUES("k", "success"));
        metric_add(counter, 1, METRIC_VALUES("gone", ""));
        metric_remove(counter, METRIC_VALUES("gone", ""));
        metric_observe(histogram, 0.05, METRIC_NO_VALUES);
        metric_observe(histogram, 1, METRIC_NO_VALUES);
        metric_observe(histogram, 7, METRIC_NO_VALUES);
        metrics_render(&text);
        assert_string_equal(buffer_string(&text),
                            "# HELP c_total Counts.\n# TYPE c_total counter\n"
                            "c_total{controller=\"k\",result=\"error \\\"x\\\"\\n\"} 2\n"
                            "c_total{controller=\"k\",result=\"success\"} 2\n"
                            "# HELP h Spans.\n# TYPE h histogram\n"
                            "h_bucket{le=\"0.1\"} 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 8.05\nh_count 3\n");
}

/* Runs `say` with standard error in a file and returns what came. */
static char *logged(void (*say)(void))
{
        static char text[128 * 1024];
        char path[] = "/tmp/weir-log-XXXXXX";
        int file = mkstemp(path), saved = dup(STDERR_FILENO);
        ssize_t length;

        assert_true(file >= 0 && saved >= 0);
        unlink(path);
        dup2(file, STDERR_FILENO);
        say();
        dup2(saved, STDERR_FILENO);
        close(saved);
        length = pread(file, text, sizeof(text) - 1, 0);
        close(file);
        text[length < 0 ? 0 : length] = '\0';
        return text;
}

static void say_line(void)
{
        cleanup(log_fields_release) struct log_fields context = LOG_FIELDS_NULL, own = LOG_FIELDS_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        log_field(&context, "controller", "kustomization");
        log_field_json(&context, "Kustomization", VIEW("{\"name\":\"a\"}"));
        log_field_integer(&own, "n", 3);
        error_set(&err, ERROR_INVALID, "bad \"thing\"");
        log_line(LOG_ERROR, "setup", &context, &own, &err, "failed %d", 1);
        log_debug(&context, "not at this level");
}

static void lines_have_the_keys_in_order(void **state)
{
        const char *text = logged(say_line);

        (void)state;
        assert_memory_equal(text, "{\"level\":\"error\",\"ts\":\"20", 24);
        assert_string_equal(strstr(text, ",\"logger\""),
                            ",\"logger\":\"setup\",\"msg\":\"failed "
                            "1\",\"controller\":\"kustomization\",\"Kustomization\":{\"name\":\"a\"},\"n\":3,"
                            "\"error\":\"bad \\\"thing\\\"\"}\n");
}

/* Who debugs sees where it was said; nobody else is bothered. */
static void errors_show_their_stack_to_who_debugs(void **state)
{
        static const struct {
                enum log_level level;
                bool console;
                const char *before; /* the stack */
        } cases[] = {
                { LOG_INFO, false, NULL },
                { LOG_DEBUG, false, "\"error\":\"bad \\\"thing\\\"\",\"stacktrace\":\"" },
                { LOG_TRACE, false, "\"error\":\"bad \\\"thing\\\"\",\"stacktrace\":\"" },
                { LOG_DEBUG, true, "\"error\":\"bad \\\"thing\\\"\"}\n" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                const char *text, *stack;

                log_setup(cases[i].level, cases[i].console);
                text = logged(say_line);
                log_setup(LOG_INFO, false);
                stack = cases[i].before ? strstr(text, cases[i].before) : NULL;
                if (!cases[i].before)
                        assert_null(strstr(text, "stacktrace"));
                else if (!stack || !strstr(stack, "test_program+0x"))
                        fail_msg("%s", text);
                if (cases[i].before && !cases[i].console)
                        assert_memory_equal(strchr(stack, '\n') - 2, "\"}", 2);
        }
}

static void say_often(void)
{
        for (int i = 0; i < 1000; i++)
                log_info(NULL, "the same");
}

static void equal_lines_are_sampled(void **state)
{
        const char *text = logged(say_often);
        int lines = 0;

        (void)state;
        for (const char *p = text; (p = strchr(p, '\n')); p++)
                lines++;
        /* 100 and every 100th of the other 900; a second may end in between. */
        assert_in_range(lines, 109, 218);
}

/* A message that is too long is cut, not lost, and between characters. */
static void say_much(void)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        buffer_add_char(&text, '.');
        while (text.length < 100000)
                buffer_add_string(&text, "\xc3\xa9");
        log_info(NULL, "%s", buffer_string(&text));
}

static void long_messages_are_cut(void **state)
{
        struct view line = view_of(logged(say_much));

        (void)state;
        assert_true(view_search(line, VIEW("\"msg\":\".\xc3\xa9\xc3\xa9"), 0) > 0);
        assert_true(view_ends(line, VIEW("\xc3\xa9\"}\n")));
        assert_in_range(line.length, 65000, 65700);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(flags_take_both_forms),
                cmocka_unit_test(flags_say_what_is_wrong),
                cmocka_unit_test(gates),
                cmocka_unit_test(errors_gain_context),
                cmocka_unit_test(arenas),
                cmocka_unit_test(floats_as_go_prints_them),
                cmocka_unit_test(metrics_render_as_text),
                cmocka_unit_test(lines_have_the_keys_in_order),
                cmocka_unit_test(errors_show_their_stack_to_who_debugs),
                cmocka_unit_test(equal_lines_are_sampled),
                cmocka_unit_test(long_messages_are_cut),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
