#include "kube/managed_fields.h"

#include "base/cleanup.h"

#include "../json_test.h"

#include <stdlib.h>
#include <string.h>

static struct arena *arena;

static const struct field_set *set_of(const char *text)
{
        cleanup(json_free) struct json *json = json_of(text);
        const struct field_set *set = NULL;
        struct error error = ERROR_NULL;

        if (field_set_parse(json, arena, &set, &error) != 0)
                fail_msg("%s: %s", text, error_message(&error));
        return set;
}

static const char *printed(const struct field_set *set)
{
        struct buffer text = BUFFER_NULL;
        const char *copy;

        field_set_print(set, &text);
        copy = arena_string(arena, buffer_string(&text));
        buffer_release(&text);
        return copy;
}

static void print_gives_back_what_was_parsed(void **state)
{
        static const char *const texts[] = {
                "{}",
                "{\"f:a\":{}}",
                "{\"f:a\":{\".\":{},\"f:b\":{}}}",
                "{\"f:metadata\":{\"f:labels\":{\"f:kustomize.toolkit.fluxcd.io/"
                "name\":{}}},\"f:spec\":{\"f:replicas\":{},\"f:template\":{"
                "\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"web\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{},\"f:ports\":"
                "{"
                "\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{}}}}}}}}}",
                "{\"f:metadata\":{\"f:finalizers\":{\".\":{},\"v:\\\"a\\\"\":{},\"v:\\\"b\\\"\":{}}}}",
                "{\"f:l\":{\"k:{\\\"port\\\":80}\":{},\"k:{\\\"port\\\":443}\":{},\"v:1\":{},\"v:2\":{},\"v:10\":{},\"v:"
                "\\\"1\\\"\":{},"
                "\"v:false\":{},\"v:true\":{},\"i:0\":{},\"i:2\":{},\"i:10\":{}}}",
                /* names and values are any text, and values any JSON */
                "{\"f:\":{},\"f: two words \":{},\"f:a\\\\n\":{},\"f:\xf0\x9f\x9a\x80\":{}}",
                "{\"k:{\\\"name\\\":\\\" two words \\\"}\":{},\"k:{\\\"name\\\":\\\"\xd0\xbc\xd0\xb8\xd1\x80\\\"}\":{}}",
                "{\"k:{\\\"a\\\":null}\":{\".\":{},\"f:a\":{}}}",
                "{\"k:{\\\"a\\\":{\\\"b\\\":[1,null,\\\"c\\\"]}}\":{},\"v:null\":{}}",
                "{\"v:{\\\"a\\\":{\\\"b\\\":1}}\":{}}",
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(texts); i++)
                assert_string_equal(printed(set_of(texts[i])), texts[i]);
}

static void order_is_that_of_the_server(void **state)
{
        (void)state;
        assert_string_equal(
                printed(set_of("{\"v:2\":{},\"k:{\\\"p\\\":443}\":{},\"k:{\\\"p\\\":80}\":{},\"f:b\":{},\".\":{},\"f:a\":{},\"x:"
                               "unknown\":{}}")),
                "{\".\":{},\"f:a\":{},\"f:b\":{},\"k:{\\\"p\\\":80}\":{},\"k:{\\\"p\\\":443}\":{},\"v:2\":{}}");
}

static void malformed_sets_are_refused(void **state)
{
        static const char *const texts[] = {
                "[]",
                "{\"f:a\":1}",
                "{\"f:a\":[]}",
                "{\"k:nope\":{}}",
                "{\"k:[]\":{}}",
                "{\"k:{\\\"a\\\":1\":{}}",
                "{\"k:{\\\"a\\\":1} {}\":{}}",
                "{\"v:\":{}}",
                "{\"v:one\":{}}",
                "{\"v:1 2\":{}}",
                "{\"v:\\\"\\\\x41\\\"\":{}}",
                "{\"i:\":{}}",
                "{\"i:x\":{}}",
                "{\"i:1.5\":{}}",
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(texts); i++) {
                cleanup(json_free) struct json *json = json_of(texts[i]);
                cleanup(error_release) struct error error = ERROR_NULL;
                const struct field_set *set = NULL;

                if (field_set_parse(json, arena, &set, &error) != -1 || error.kind != ERROR_INVALID)
                        fail_msg("%s is accepted", texts[i]);
        }
}

static void unions(void **state)
{
        static const struct {
                const char *a, *b, *both;
        } cases[] = {
                { "{}", "{}", "{}" },
                { "{\"f:a\":{}}", "{\"f:b\":{}}", "{\"f:a\":{},\"f:b\":{}}" },
                { "{\"f:a\":{}}", "{\"f:a\":{}}", "{\"f:a\":{}}" },
                /* a member and its children */
                { "{\"f:a\":{}}", "{\"f:a\":{\"f:b\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}" },
                { "{\"f:a\":{\".\":{},\"f:b\":{},\"f:c\":{}}}", "{\"f:a\":{\"f:b\":{}}}",
                  "{\"f:a\":{\".\":{},\"f:b\":{},\"f:c\":{}}}" },
                { "{\"f:a\":{\"f:b\":{},\"f:c\":{}}}", "{\"f:a\":{}}", "{\"f:a\":{\".\":{},\"f:b\":{},\"f:c\":{}}}" },
                { "{\"f:a\":{\"f:b\":{}},\"f:b\":{\"f:b\":{}}}", "{\"f:a\":{\"f:b\":{}}}",
                  "{\"f:a\":{\"f:b\":{}},\"f:b\":{\"f:b\":{}}}" },
                { "{\"f:l\":{\"k:{\\\"n\\\":\\\"x\\\"}\":{\".\":{},\"f:i\":{}}}}",
                  "{\"f:l\":{\"k:{\\\"n\\\":\\\"y\\\"}\":{\".\":{}}}}",
                  "{\"f:l\":{\"k:{\\\"n\\\":\\\"x\\\"}\":{\".\":{},\"f:i\":{}},\"k:{\\\"n\\\":\\\"y\\\"}\":{}}}" },
                /* of an element that is not known nothing is left, and what holds nothing else is not owned */
                { "{\"f:a\":{\"x:b\":{}}}", "{\"f:c\":{}}", "{\"f:c\":{}}" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                const struct field_set *a = set_of(cases[i].a), *b = set_of(cases[i].b);

                assert_string_equal(printed(field_set_union(a, b, arena)), cases[i].both);
                assert_true(field_set_equal(field_set_union(a, b, arena), field_set_union(b, a, arena)));
        }
}

/*
 * A model to hold the tries against: a set is a sorted list of paths, and a path a string of letters, each of which is one of these elements, which are
 * in the order of the server. As in the reference's own random tests every kind of element may follow every other.
 */
static const char *const elements[] = {
        "f:a",
        "f:a/b:c.d",
        "f:b",
        "k:{\\\"name\\\":\\\"first\\\"}",
        "k:{\\\"name\\\":\\\"second\\\"}",
        "k:{\\\"port\\\":443,\\\"protocol\\\":\\\"TCP\\\"}",
        "k:{\\\"port\\\":443,\\\"protocol\\\":\\\"UDP\\\"}",
        "v:1",
        "v:2",
        "v:10",
        "v:\\\"aa\\\"",
        "v:\\\"ab\\\"",
        "v:true",
        "i:1",
        "i:2",
        "i:10",
};

struct paths {
        char items[128][8];
        size_t count;
};

static int path_order(const void *a, const void *b)
{
        return strcmp(a, b);
}

static bool paths_have(const struct paths *paths, const char *path)
{
        return bsearch(path, paths->items, paths->count, sizeof(paths->items[0]), path_order) != NULL;
}

static struct paths paths_random(unsigned *seed)
{
        struct paths all = { .count = 0 }, sorted = { .count = 0 };

        for (size_t i = 0; i < 50; i++) {
                /* Short ones are often the same in two sets. */
                size_t length = 1 + (size_t)rand_r(seed) % (i % 2 ? 2 : 5);

                for (size_t at = 0; at < length; at++)
                        all.items[all.count][at] = (char)('a' + (size_t)rand_r(seed) % COUNT(elements));
                all.count++;
        }
        qsort(all.items, all.count, sizeof(all.items[0]), path_order);
        for (size_t i = 0; i < all.count; i++)
                if (i == 0 || strcmp(all.items[i], all.items[i - 1]) != 0)
                        memcpy(sorted.items[sorted.count++], all.items[i], sizeof(all.items[i]));
        return sorted;
}

static struct paths paths_union(const struct paths *a, const struct paths *b)
{
        struct paths result = *a;

        for (size_t i = 0; i < b->count; i++)
                if (!paths_have(a, b->items[i]))
                        memcpy(result.items[result.count++], b->items[i], sizeof(b->items[i]));
        qsort(result.items, result.count, sizeof(result.items[0]), path_order);
        return result;
}

/* The paths that begin with so many letters of the one at `at`, as the server writes them; returns the place behind them. */
static size_t paths_write(const struct paths *paths, size_t at, size_t depth, struct buffer *text)
{
        char prefix[8] = "";
        bool any = false;

        if (at < paths->count)
                memcpy(prefix, paths->items[at], depth);
        buffer_add_char(text, '{');
        if (depth && at < paths->count && !paths->items[at][depth]) {
                at++;
                if (at < paths->count && strncmp(paths->items[at], prefix, depth) == 0) {
                        buffer_add_string(text, "\".\":{}");
                        any = true;
                }
        }
        while (at < paths->count && strncmp(paths->items[at], prefix, depth) == 0) {
                buffer_printf(text, "%s\"%s\":", any ? "," : "", elements[paths->items[at][depth] - 'a']);
                at = paths_write(paths, at, depth + 1, text);
                any = true;
        }
        buffer_add_char(text, '}');
        return at;
}

static const char *written(const struct paths *paths)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        paths_write(paths, 0, 0, &text);
        return arena_string(arena, buffer_string(&text));
}

static void random_sets_equal_the_model(void **state)
{
        unsigned seed = 7;

        (void)state;
        for (int round = 0; round < 500; round++) {
                struct paths a = paths_random(&seed), b = paths_random(&seed);
                struct paths both = paths_union(&a, &b);
                const struct field_set *set_a = set_of(written(&a)), *set_b = set_of(written(&b));

                assert_in_range(both.count, a.count + 1, a.count + b.count - 1); /* some of them are in both */
                assert_string_equal(printed(set_a), written(&a));
                assert_string_equal(printed(field_set_union(set_a, set_b, arena)), written(&both));
                assert_true(field_set_equal(set_a, set_of(written(&a))));
                assert_false(field_set_equal(set_a, set_b));
        }
}

static bool collect(void *argument, struct view pointer)
{
        buffer_printf(argument, "%.*s ", VIEW_ARGS(pointer));
        return true;
}

static void places_are_found_on_an_object(void **state)
{
        cleanup(json_free) struct json *object =
                json_of("{\"metadata\":{\"labels\":{\"a/"
                        "b\":\"x\"},\"finalizers\":[\"p\",\"q\"]},\"spec\":{\"ports\":[{\"port\":443},{\"port\":80,"
                        "\"protocol\":\"UDP\"},{\"port\":80.0}],\"list\":[1,2]}}");
        const struct field_set *set =
                set_of("{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"q\\\"\":{},\"v:\\\"z\\\"\":{}},\"f:labels\":{\"f:a/"
                       "b\":{},\"f:gone\":{}}},\"f:spec\":{\"f:list\":{\"i:1\":{}},\"f:ports\":{\"k:{\\\"port\\\":80,"
                       "\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{}}}}}");
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        (void)state;
        field_set_resolve(set, object, collect, &text);
        assert_string_equal(buffer_string(&text),
                            "/metadata/finalizers/1 /metadata/labels/a~1b /spec/list/1 /spec/ports/2 /spec/ports/2/port ");
}

static void description_is_for_people(void **state)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        const struct field_set *set =
                set_of("{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"web\\\"}\":{\".\":{},\"f:image\":{}}},"
                       "\"f:replicas\":{},\"f:x\":{}}}");

        (void)state;
        field_set_describe(set, 2, &text);
        assert_string_equal(buffer_string(&text), ".spec.containers[name=\"web\"].image, .spec.replicas, ...");
}

#define ENTRY(manager, operation, rest, fields)                                                                                    \
        "{\"manager\":\"" manager "\",\"operation\":\"" operation "\",\"apiVersion\":\"v1\"" rest ",\"fieldsV1\":" fields "}"

static void managers_are_taken_over(void **state)
{
        static const struct field_takeover owners[] = { { "kubectl", NULL, true }, { "before-first-apply", "Update", false } };
        static const struct {
                const char *name, *entries, *result; /* NULL: unchanged */
        } cases[] = {
                { "nobody to take over",
                  ENTRY("kustomize-controller", "Apply", "", "{\"f:a\":{}}") "," ENTRY("other", "Update", "", "{}"), NULL },
                { "another resource of it is not ours",
                  ENTRY("kubectl-scale", "Update", ",\"subresource\":\"scale\"", "{\"f:a\":{}}"), NULL },
                { "the first is renamed", ENTRY("kubectl-edit", "Update", "", "{\"f:a\":{}}"),
                  "[" ENTRY("kustomize-controller", "Apply", "", "{\"f:a\":{}}") "]" },
                { "others join our own, which comes last",
                  ENTRY("kustomize-controller", "Apply", "", "{\"f:a\":{}}") "," ENTRY(
                          "kubectl", "Apply", "",
                          "{\"f:b\":{}}") "," ENTRY("hpa", "Update", "", "{\"f:c\":{}}") "," ENTRY("before-first-apply", "Update",
                                                                                                   "", "{\"f:a\":{\"f:d\":{}}}"),
                  "[" ENTRY("hpa", "Update", "", "{\"f:c\":{}}") "," ENTRY("kustomize-controller", "Apply", "",
                                                                           "{\"f:a\":{\".\":{},\"f:d\":{}},\"f:b\":{}}") "]" },
                { "only the operation that is meant", ENTRY("before-first-apply", "Apply", "", "{\"f:a\":{}}"), NULL },
        };
        size_t i;

        (void)state;
        for (i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *found = NULL;
                cleanup(json_free) struct json *object = json_new_object();
                cleanup(json_free) struct json *entries = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(buffer_release) struct buffer list = BUFFER_NULL;
                int r;

                buffer_printf(&list, "[%s]", cases[i].entries);
                json_set(json_object_at(object, "metadata"), "managedFields", json_of(buffer_string(&list)));
                r = managed_fields_take_over(object, "kustomize-controller", owners, COUNT(owners), &entries, &error);
                found = json_text(entries);
                if (r != (cases[i].result ? 0 : MANAGED_FIELDS_UNCHANGED) || (cases[i].result && strcmp(found, cases[i].result)))
                        fail_msg("%s: %d %s", cases[i].name, r, found);
        }
}

static int setup(void **state)
{
        (void)state;
        arena = arena_new();
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        arena_free(&arena);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(print_gives_back_what_was_parsed), cmocka_unit_test(order_is_that_of_the_server),
                cmocka_unit_test(malformed_sets_are_refused),       cmocka_unit_test(unions),
                cmocka_unit_test(random_sets_equal_the_model),      cmocka_unit_test(places_are_found_on_an_object),
                cmocka_unit_test(description_is_for_people),        cmocka_unit_test(managers_are_taken_over),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
