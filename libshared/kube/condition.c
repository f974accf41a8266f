#include "kube/condition.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#define ANNOTATION_REQUESTED "reconcile.fluxcd.io/requestedAt"
#define MESSAGE_CUT          "..."
#define REASON_LIMIT         1024

static struct json *conditions_of(const struct json *object)
{
        return JSON_PATH(object, "status", "conditions");
}

static const char *member(const struct json *condition, const char *key)
{
        return json_string(json_get(condition, key), "");
}

static bool status_is(const struct json *condition, const char *status)
{
        return !strcmp(member(condition, "status"), status);
}

static bool is_unknown(const struct json *condition)
{
        return !status_is(condition, CONDITION_TRUE) && !status_is(condition, CONDITION_FALSE);
}

struct json *condition_get(const struct json *object, const char *type)
{
        const struct json *conditions = conditions_of(object);
        size_t i, count = json_length(conditions);

        for (i = 0; i < count; i++) {
                struct json *condition = json_at(conditions, i);

                if (!strcmp(member(condition, "type"), type))
                        return condition;
        }
        return NULL;
}

bool condition_has(const struct json *object, const char *type)
{
        return condition_get(object, type) != NULL;
}

bool condition_is_true(const struct json *object, const char *type)
{
        return status_is(condition_get(object, type), CONDITION_TRUE);
}

bool condition_is_false(const struct json *object, const char *type)
{
        return status_is(condition_get(object, type), CONDITION_FALSE);
}

bool condition_is_unknown(const struct json *object, const char *type)
{
        return is_unknown(condition_get(object, type));
}

const char *condition_reason(const struct json *object, const char *type)
{
        return member(condition_get(object, type), "reason");
}

const char *condition_message(const struct json *object, const char *type)
{
        return member(condition_get(object, type), "message");
}

bool condition_ready(const struct json *object)
{
        return condition_is_true(object, CONDITION_READY) && !condition_is_true(object, CONDITION_STALLED) &&
               !condition_is_true(object, CONDITION_RECONCILING);
}

/* The place of the types that come first. */
static int rank(const char *type)
{
        static const char *const first[] = { CONDITION_STALLED, CONDITION_RECONCILING, CONDITION_READY };
        int i;

        for (i = 0; i < 3; i++)
                if (!strcmp(type, first[i]))
                        break;
        return i;
}

static int compare(const struct json *a, const struct json *b)
{
        int rank_a = rank(member(a, "type")), rank_b = rank(member(b, "type"));
        int64_t generation_a = json_integer(json_get(a, "observedGeneration"), 0);
        int64_t generation_b = json_integer(json_get(b, "observedGeneration"), 0);

        if (rank_a != rank_b)
                return rank_a - rank_b;
        if (generation_a != generation_b)
                return generation_a > generation_b ? -1 : 1;
        return strcmp(member(a, "type"), member(b, "type"));
}

/* Takes the condition over and puts it where it belongs. */
static void place(struct json *conditions, struct json *condition)
{
        size_t i, count = json_length(conditions);

        for (i = 0; i < count; i++)
                if (compare(condition, json_at(conditions, i)) < 0)
                        break;
        json_insert(conditions, i, condition);
}

/* Somebody else may have left them in any order. */
static void sort(struct json *object)
{
        struct json *old = json_take(json_get(object, "status"), "conditions");
        struct json *sorted = json_new_array();

        while (json_length(old))
                place(sorted, json_take_at(old, 0));
        json_free(&old);
        json_set(json_object_at(object, "status"), "conditions", sorted);
}

static struct json *take(struct json *object, const char *type)
{
        struct json *conditions = conditions_of(object);
        size_t i, count = json_length(conditions);

        for (i = 0; i < count; i++)
                if (!strcmp(member(json_at(conditions, i), "type"), type))
                        return json_take_at(conditions, i);
        return NULL;
}

bool condition_remove(struct json *object, const char *type)
{
        struct json *condition = take(object, type);
        bool was_there = condition != NULL;

        json_free(&condition);
        return was_there;
}

static struct json *new_message(const char *message)
{
        struct view text = view_of(message);

        if (text.length <= CONDITION_MESSAGE_LIMIT)
                return json_new_view(text);
        text = utf8_cut(text, CONDITION_MESSAGE_LIMIT - strlen(MESSAGE_CUT));
        return json_new_printf("%.*s%s", VIEW_ARGS(text), MESSAGE_CUT);
}

/* A word, as the schema of a condition has it. Of an error that somebody's webhook made up it may be any text, for which the whole status would be refused. */
static bool is_reason(const char *text)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_,:";
        size_t length = strlen(text);

        return length > 0 && length <= REASON_LIMIT && strspn(text, letters) > 0 && strspn(text, others) == length &&
               !strchr(",:", text[length - 1]);
}

static void set(struct json *object, const char *type, const char *status, const char *reason, const char *message)
{
        struct json *conditions = json_array_at(json_object_at(object, "status"), "conditions");
        struct json *old = take(object, type);
        struct json *condition = json_new_object();
        struct json *text = new_message(message);
        char time[TIME_TEXT];
        bool same;

        if (!is_reason(reason))
                reason = REASON_FAILED;
        same = old && status_is(old, status) && !strcmp(member(old, "reason"), reason) &&
               json_equal(json_get(old, "message"), text);
        json_set_string(condition, "type", type);
        json_set_string(condition, "status", status);
        json_set_integer(condition, "observedGeneration", json_integer(JSON_PATH(object, "metadata", "generation"), 0));
        json_set_string(condition, "lastTransitionTime",
                        same ? member(old, "lastTransitionTime") : time_print(clock_wall_us(), time));
        json_set_string(condition, "reason", reason);
        json_set(condition, "message", text);
        json_append(conditions, condition);
        sort(object);
        json_free(&old);
}

__attribute__((__format__(__printf__, 1, 0))) static char *formatted(const char *format, va_list arguments)
{
        struct buffer text = BUFFER_NULL;

        buffer_vprintf(&text, format, arguments);
        return buffer_steal(&text);
}

void condition_set(struct json *object, const char *type, const char *status, const char *reason, const char *format, ...)
{
        cleanup(free_string) char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        message = formatted(format, arguments);
        va_end(arguments);
        set(object, type, status, reason, message);
}

void condition_mark_reconciling(struct json *object, const char *reason, const char *format, ...)
{
        cleanup(free_string) char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        message = formatted(format, arguments);
        va_end(arguments);
        condition_remove(object, CONDITION_STALLED);
        set(object, CONDITION_RECONCILING, CONDITION_TRUE, reason, message);
}

void condition_mark_stalled(struct json *object, const char *reason, const char *format, ...)
{
        cleanup(free_string) char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        message = formatted(format, arguments);
        va_end(arguments);
        condition_remove(object, CONDITION_RECONCILING);
        set(object, CONDITION_STALLED, CONDITION_TRUE, reason, message);
}

/* ---- summaries ---- */

enum category {
        NEGATIVE_TRUE,
        POSITIVE_FALSE,
        POSITIVE_TRUE,
        NEGATIVE_FALSE,
        NEITHER,
        CATEGORIES,
};

static bool listed(const char *const *types, const char *type)
{
        for (; types && *types; types++)
                if (!strcmp(*types, type))
                        return true;
        return false;
}

static enum category category_of(const struct json *condition, bool negative)
{
        if (status_is(condition, CONDITION_TRUE))
                return negative ? NEGATIVE_TRUE : POSITIVE_TRUE;
        if (status_is(condition, CONDITION_FALSE))
                return negative ? NEGATIVE_FALSE : POSITIVE_FALSE;
        return NEITHER;
}

static int64_t newest_generation(const struct json *object, const char *const *types)
{
        int64_t newest = INT64_MIN;

        for (; *types; types++) {
                const struct json *condition = condition_get(object, *types);
                int64_t generation = json_integer(json_get(condition, "observedGeneration"), 0);

                if (condition && generation > newest)
                        newest = generation;
        }
        return newest;
}

bool condition_summarize(struct json *object, const struct condition_summary *summary)
{
        static const char *const status_of[CATEGORIES] = {
                [NEGATIVE_TRUE] = CONDITION_FALSE, [POSITIVE_FALSE] = CONDITION_FALSE, [POSITIVE_TRUE] = CONDITION_TRUE,
                [NEGATIVE_FALSE] = CONDITION_TRUE, [NEITHER] = CONDITION_UNKNOWN,
        };
        int64_t newest = summary->latest_generation ? newest_generation(object, summary->types) : INT64_MIN;
        const struct json *first[CATEGORIES] = { NULL };
        const char *const *type;
        int i;

        for (type = summary->types; *type; type++) {
                const struct json *condition = condition_get(object, *type);
                enum category category;

                if (!condition || json_integer(json_get(condition, "observedGeneration"), 0) < newest)
                        continue;
                category = category_of(condition, listed(summary->negative, *type));
                if (!first[category])
                        first[category] = condition;
        }
        for (i = 0; i < CATEGORIES; i++)
                if (first[i]) {
                        cleanup(free_string) char *reason = memory_string(member(first[i], "reason"));
                        cleanup(free_string) char *message = memory_string(member(first[i], "message"));

                        set(object, summary->target, status_of[i], reason, message);
                        return true;
                }
        return false;
}

/* ---- the end of a run ---- */

void condition_handled(struct json *object)
{
        const char *requested = json_string(JSON_PATH(object, "metadata", "annotations", ANNOTATION_REQUESTED), NULL);

        /* An empty one is none, as where the status has it omitted. */
        if (requested)
                json_set_string(json_object_at(object, "status"), "lastHandledReconcileAt", requested[0] ? requested : NULL);
}

void condition_observed(struct json *object)
{
        json_set_integer(json_object_at(object, "status"), "observedGeneration",
                         json_integer(JSON_PATH(object, "metadata", "generation"), 0));
}

static const char *reason_of(const struct error *error)
{
        return error->reason[0] ? error->reason : REASON_FAILED;
}

static void mark_retry(struct json *object)
{
        cleanup(free_string) char *message = NULL;

        condition_remove(object, CONDITION_STALLED);
        if (!condition_is_true(object, CONDITION_RECONCILING))
                return;
        message = memory_string(condition_message(object, CONDITION_RECONCILING));
        set(object, CONDITION_RECONCILING, CONDITION_TRUE, REASON_PROGRESSING_WITH_RETRY, message);
}

int condition_finish(struct json *object, enum condition_end end, const struct error *error,
                     const struct condition_summary *summaries, size_t summary_count, struct error *ret_error)
{
        size_t i;

        switch (end) {
        case CONDITION_DONE:
                condition_remove(object, CONDITION_STALLED);
                condition_remove(object, CONDITION_RECONCILING);
                break;
        case CONDITION_RETRY:
                mark_retry(object);
                break;
        case CONDITION_GIVE_UP:
                condition_mark_stalled(object, reason_of(error), "%s", error_message(error));
                break;
        }
        if (error && error->kind != ERROR_NONE && !condition_is_false(object, CONDITION_READY))
                set(object, CONDITION_READY, CONDITION_FALSE, reason_of(error), error_message(error));
        for (i = 0; i < summary_count; i++)
                condition_summarize(object, &summaries[i]);
        condition_handled(object);

        if (end == CONDITION_DONE && condition_is_false(object, CONDITION_READY)) {
                if (ret_error)
                        error_set_reason(ret_error, ERROR_INTERNAL, condition_reason(object, CONDITION_READY), "%s",
                                         condition_message(object, CONDITION_READY));
                return -1;
        }
        if (end == CONDITION_DONE && !condition_has(object, CONDITION_READY))
                set(object, CONDITION_READY, CONDITION_TRUE, REASON_SUCCEEDED, "");
        if (end != CONDITION_RETRY)
                condition_observed(object);
        return 0;
}
