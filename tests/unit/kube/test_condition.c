#include "kube/condition.h"

#include "base/cleanup.h"
#include "data/json.h"

#include "../test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json *object_of(const char *text)
{
        struct json *json = NULL;
        struct error error = ERROR_NULL;

        if (json_parse(view_of(text), &json, &error) != 0)
                fail_msg("%s: %s", text, error_message(&error));
        return json;
}

static const char *member(const struct json *object, const char *type, const char *key)
{
        return json_string(json_get(condition_get(object, type), key), "");
}

static void same_state_keeps_the_time(void **state)
{
        cleanup(json_free) struct json *object =
                object_of("{\"metadata\":{\"generation\":3},\"status\":{\"conditions\":[{\"type\":\"Ready\","
                          "\"status\":\"True\",\"observedGeneration\":2,\"lastTransitionTime\":"
                          "\"2020-01-01T00:00:00Z\",\"reason\":\"Succeeded\",\"message\":\"m\"}]}}");

        (void)state;
        condition_set(object, "Ready", "True", "Succeeded", "%s", "m");
        assert_string_equal(member(object, "Ready", "lastTransitionTime"), "2020-01-01T00:00:00Z");
        assert_int_equal(json_integer(json_get(condition_get(object, "Ready"), "observedGeneration"), 0), 3);
        condition_set(object, "Ready", "True", "Succeeded", "%s", "n");
        assert_string_not_equal(member(object, "Ready", "lastTransitionTime"), "2020-01-01T00:00:00Z");
}

static void long_messages_are_cut_between_characters(void **state)
{
        static const struct {
                const char *repeated;
                size_t bytes, expected;
        } cases[] = {
                { "a", 32768, 32768 }, { "a", 40000, 32768 }, { "\xc3\xa9", 40000, 32767 }, /* 32765 is in the middle of an é */
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = json_new_object();
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                const char *message;

                while (text.length < cases[i].bytes)
                        buffer_add_string(&text, cases[i].repeated);
                condition_set(object, "Ready", "False", "Failed", "%s", buffer_string(&text));
                message = condition_message(object, "Ready");
                assert_int_equal(strlen(message), cases[i].expected);
                assert_true(utf8_valid(view_of(message)));
                if (cases[i].bytes > 32768)
                        assert_string_equal(message + strlen(message) - 3, "...");
        }
}

/* What no schema takes would lose the whole status. */
static void a_reason_is_a_word(void **state)
{
        static const struct {
                const char *reason, *expected;
        } cases[] = { { "Succeeded", "Succeeded" },
                      { "a", "a" },
                      { "A1_b,C:d_", "A1_b,C:d_" },
                      { "", "Failed" },
                      { "denied by policy", "Failed" },
                      { "1st", "Failed" },
                      { "_a", "Failed" },
                      { "Denied:", "Failed" },
                      { "A,", "Failed" },
                      { "caf\xc3\xa9", "Failed" } };
        char endless[1026];

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = json_new_object();

                condition_set(object, "Ready", "False", cases[i].reason, "m");
                assert_string_equal(condition_reason(object, "Ready"), cases[i].expected);
        }
        memset(endless, 'a', sizeof(endless));
        for (size_t length = 1024; length <= 1025; length++) {
                cleanup(json_free) struct json *object = json_new_object();

                endless[length] = '\0';
                condition_set(object, "Ready", "False", endless, "m");
                assert_string_equal(condition_reason(object, "Ready"), length == 1024 ? endless : "Failed");
                endless[length] = 'a';
        }
}

static void order_is_fixed(void **state)
{
        cleanup(json_free) struct json *object =
                object_of("{\"metadata\":{\"generation\":2},\"status\":{\"conditions\":[{\"type\":\"B\",\"observedGeneration\":1},"
                          "{\"type\":\"A\",\"observedGeneration\":1},{\"type\":\"C\",\"observedGeneration\":2}]}}");
        cleanup(buffer_release) struct buffer order = BUFFER_NULL;
        const struct json *conditions;
        size_t i;

        (void)state;
        condition_set(object, "Ready", "Unknown", "Progressing", "x");
        condition_set(object, "D", "True", "X", "x");
        condition_mark_reconciling(object, "Progressing", "x");
        conditions = JSON_PATH(object, "status", "conditions");
        for (i = 0; i < json_length(conditions); i++)
                buffer_printf(&order, "%s ", json_string(json_get(json_at(conditions, i), "type"), ""));
        assert_string_equal(buffer_string(&order), "Reconciling Ready C D A B ");
}

static void reconciling_and_stalled_exclude_each_other(void **state)
{
        cleanup(json_free) struct json *object = object_of("{\"metadata\":{\"generation\":1}}");

        (void)state;
        condition_mark_reconciling(object, "Progressing", "x");
        condition_mark_stalled(object, "AccessDenied", "no");
        assert_false(condition_has(object, "Reconciling"));
        assert_true(condition_is_true(object, "Stalled"));
        condition_mark_reconciling(object, "Progressing", "x");
        assert_false(condition_has(object, "Stalled"));
        assert_true(condition_is_unknown(object, "Ready"));
        assert_false(condition_ready(object));
}

static void summary_takes_the_worst_class(void **state)
{
        static const char *const types[] = { "FetchFailed",    "ArtifactOutdated", "ArtifactInStorage",
                                             "SourceVerified", "Reconciling",      NULL };
        static const char *const negative[] = { "FetchFailed", "ArtifactOutdated", "Reconciling", NULL };
        static const struct condition_summary summary = { .target = "Ready", .types = types, .negative = negative };
        static const struct {
                const char *set; /* type=status, by blanks */
                const char *status, *from;
        } cases[] = {
                { "", NULL, NULL },
                { "ArtifactInStorage=True", "True", "ArtifactInStorage" },
                { "ArtifactInStorage=True SourceVerified=True", "True", "ArtifactInStorage" },
                { "ArtifactInStorage=True SourceVerified=False", "False", "SourceVerified" },
                { "ArtifactInStorage=True FetchFailed=True", "False", "FetchFailed" },
                { "ArtifactInStorage=False ArtifactOutdated=True", "False", "ArtifactOutdated" },
                { "FetchFailed=False", "True", "FetchFailed" },
                { "SourceVerified=Unknown FetchFailed=Unknown", "Unknown", "FetchFailed" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = object_of("{\"metadata\":{\"generation\":1}}");
                struct view rest = view_of(cases[i].set), piece;

                while (*cases[i].set && view_split(&rest, ' ', &piece)) {
                        char type[64], status[16];

                        assert_int_equal(sscanf(piece.data, "%63[^=]=%15[^ ]", type, status), 2);
                        condition_set(object, type, status, type, "of %s", type);
                }
                assert_int_equal(condition_summarize(object, &summary), cases[i].status != NULL);
                if (!cases[i].status)
                        continue;
                if (strcmp(member(object, "Ready", "status"), cases[i].status) ||
                    strcmp(condition_reason(object, "Ready"), cases[i].from))
                        fail_msg("%s: %s from %s", cases[i].set, member(object, "Ready", "status"),
                                 condition_reason(object, "Ready"));
        }
}

static void end_of_a_run(void **state)
{
        static const struct {
                const char *name;
                enum condition_end end;
                const char *ready; /* before; NULL: absent */
                const char *error;
                int result;
                const char *ready_after, *reason_after;
                bool reconciling, stalled, observed;
        } cases[] = {
                { "done", CONDITION_DONE, "True", NULL, 0, "True", "Was", false, false, true },
                { "done without Ready", CONDITION_DONE, NULL, NULL, 0, "True", "Succeeded", false, false, true },
                { "done, but not Ready", CONDITION_DONE, "False", NULL, -1, "False", "Was", false, false, false },
                { "failed", CONDITION_RETRY, "True", "bad", 0, "False", "Failed", true, false, false },
                { "failed again", CONDITION_RETRY, "False", "bad", 0, "False", "Was", true, false, false },
                { "to be continued", CONDITION_RETRY, "Unknown", NULL, 0, "Unknown", "Was", true, false, false },
                { "given up", CONDITION_GIVE_UP, "Unknown", "bad", 0, "False", "Failed", false, true, true },
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(json_free) struct json *object = object_of(
                        "{\"metadata\":{\"generation\":4,\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"now\"}}}");
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(error_release) struct error found = ERROR_NULL;

                if (cases[i].error)
                        error_set(&error, ERROR_INVALID, "%s", cases[i].error);
                condition_mark_reconciling(object, "Progressing", "working");
                if (cases[i].ready)
                        condition_set(object, "Ready", cases[i].ready, "Was", "was");
                if (condition_finish(object, cases[i].end, cases[i].error ? &error : NULL, NULL, 0, &found) != cases[i].result ||
                    strcmp(member(object, "Ready", "status"), cases[i].ready_after) ||
                    strcmp(condition_reason(object, "Ready"), cases[i].reason_after) ||
                    condition_has(object, "Reconciling") != cases[i].reconciling ||
                    condition_has(object, "Stalled") != cases[i].stalled ||
                    (json_get(json_get(object, "status"), "observedGeneration") != NULL) != cases[i].observed) {
                        cleanup(free_string) char *text = json_text(object);

                        fail_msg("%s: %s", cases[i].name, text);
                }
                if (cases[i].reconciling)
                        assert_string_equal(condition_reason(object, "Reconciling"), "ProgressingWithRetry");
                if (cases[i].result)
                        assert_string_equal(error_message(&found), "was");
                assert_string_equal(json_string(JSON_PATH(object, "status", "lastHandledReconcileAt"), ""), "now");
        }
}

/* An annotation that was emptied says that nothing was asked for, not that "" was. */
static void empty_request_is_none(void **state)
{
        cleanup(json_free) struct json *object =
                object_of("{\"metadata\":{\"annotations\":{\"reconcile.fluxcd.io/"
                          "requestedAt\":\"\"}},\"status\":{\"lastHandledReconcileAt\":\"before\"}}");

        (void)state;
        condition_handled(object);
        assert_null(JSON_PATH(object, "status", "lastHandledReconcileAt"));
        json_remove(json_get(object, "metadata"), "annotations");
        json_set_string(json_get(object, "status"), "lastHandledReconcileAt", "before");
        condition_handled(object);
        assert_string_equal(json_string(JSON_PATH(object, "status", "lastHandledReconcileAt"), ""), "before");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(same_state_keeps_the_time),
                cmocka_unit_test(long_messages_are_cut_between_characters),
                cmocka_unit_test(a_reason_is_a_word),
                cmocka_unit_test(order_is_fixed),
                cmocka_unit_test(reconciling_and_stalled_exclude_each_other),
                cmocka_unit_test(summary_takes_the_worst_class),
                cmocka_unit_test(end_of_a_run),
                cmocka_unit_test(empty_request_is_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
