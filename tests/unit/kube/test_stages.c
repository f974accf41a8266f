/* The stages of an apply: what is tried and written when, and that it is in the list of whoever keeps one before it is in the cluster. */
#include "kube/apply.h"

#include "fake_resources.h"
#include "fake_store.h"

#include "kube/managed_fields.h"
#include "kube/meta.h"
#include "kube/parallel.h"

#include <stdio.h>

/* The objects of the cluster, by their names; all are new unless a test puts them there. */
static struct {
        struct json *objects;
        int version;
} cluster;

/* The list, as a program that was killed in this moment would find it. */
static struct {
        char wanted[512];
        unsigned calls;
        bool fails;
} list;

static int keep_list(void *data, struct context *ctx, const struct inventory *wanted, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        size_t i;

        assert_ptr_equal(data, &list);
        assert_ptr_equal(ctx, &context);
        list.calls++;
        if (list.fails)
                return error_set(error, ERROR_UNAVAILABLE, "failed to update status: the server is away");
        for (i = 0; i < wanted->count; i++) {
                buffer_add_string(&text, i ? " " : "");
                inventory_id_print(&wanted->items[i], &text);
        }
        snprintf(list.wanted, sizeof(list.wanted), "%s", buffer_string(&text));
        return 0;
}

static int serve(const struct kube_request *request, const char *body, struct json **ret_json, struct error *error)
{
        const struct json *old = json_get(cluster.objects, request->name ? request->name : "");
        cleanup(json_free) struct json *object = NULL;

        if (request->verb == KUBE_GET && old) {
                *ret_json = json_copy(old);
                return 0;
        }
        if (request->verb != KUBE_APPLY)
                return fake_error(error, 404, "NotFound", "not found");
        if (!strncmp(request->name, "invalid", 7))
                return fake_error(error, 422, "Invalid", "it is invalid");
        object = json_of(body);
        if (old)
                json_set_string(json_get(object, "metadata"), "resourceVersion",
                                json_string(JSON_PATH(old, "metadata", "resourceVersion"), ""));
        if (!request->dry_run && !old) {
                if (list.calls && !list.fails && !strstr(list.wanted, request->name))
                        fail_msg("%s is made and is not in the list: %s", request->name, list.wanted);
                json_set(json_get(object, "metadata"), "resourceVersion", json_new_printf("%d", ++cluster.version));
                json_set(cluster.objects, request->name, json_copy(object));
        }
        *ret_json = steal(&object);
        return 0;
}

static int setup(void **state)
{
        (void)state;
        memset(&list, 0, sizeof(list));
        fake_store_begin(serve, &cluster.objects);
        cluster.version = 0;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fake_store_end(&cluster.objects);
        return 0;
}

/* "Namespace/n" and "ConfigMap/a!" (known), separated by blanks; the changes, or the error. */
static const char *apply(const char *words)
{
        const struct apply_settings settings = { .field_manager = "kustomize-controller",
                                                 .annotation_group = "kustomize.toolkit.fluxcd.io",
                                                 .owner_name = "app",
                                                 .owner_namespace = "flux",
                                                 .stage_kinds = &(const struct apply_kind){ "events.k8s.io", "Event" },
                                                 .stage_kind_count = 1,
                                                 .record = keep_list,
                                                 .data = &list };
        struct apply_object objects[8];
        struct apply_changes changes = APPLY_CHANGES_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct view rest = view_of(words), word;
        size_t count = 0;

        while (view_split(&rest, ' ', &word)) {
                bool known = view_ends(word, VIEW("!"));
                ptrdiff_t slash = view_find(word, '/', 0);
                struct view kind = view_slice(word, 0, (size_t)slash);
                struct view name = view_slice(word, (size_t)slash + 1, word.length - (size_t)slash - 1 - (known ? 1 : 0));
                bool class = view_is(kind, "StorageClass"), place = class || view_is(kind, "Namespace");
                const char *version = class ? "storage.k8s.io/v1" : view_is(kind, "Event") ? "events.k8s.io/v1" : "v1";

                objects[count++] = (struct apply_object){
                        .api_version = view_of(version),
                        .kind = kind,
                        .namespace = view_of(place ? "bogus" : "ns"),
                        .name = name,
                        .text = view_of(
                                arena_printf(arena, "{\"apiVersion\":\"%s\",\"kind\":\"%.*s\",\"metadata\":{\"name\":\"%.*s\"%s}}",
                                             version, VIEW_ARGS(kind), VIEW_ARGS(name), place ? "" : ",\"namespace\":\"ns\"")),
                        .known = known,
                };
        }
        if (apply_objects(&context, &settings, objects, count, arena, &changes, &error) != 0)
                return arena_string(arena, error_message(&error));
        apply_changes_print(&changes, true, &text);
        return arena_string(arena, buffer_string(&text));
}

static void put(const char *name)
{
        cleanup(free_string) char *text =
                memory_printf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\","
                              "\"resourceVersion\":\"1\",\"uid\":\"u\"}}",
                              name);

        json_set(cluster.objects, name, json_of(text));
}

static void what_is_made_is_in_the_list_before(void **state)
{
        static const struct {
                const char *name, *there, *objects, *wanted;
                bool fails;
                unsigned calls;
                const char *result;
        } cases[] = {
                { "all new, in two stages", NULL, "ConfigMap/b Namespace/n ConfigMap/a",
                  "_n__Namespace ns_a__ConfigMap ns_b__ConfigMap", false, 1,
                  "Namespace/n created\nConfigMap/ns/a created\nConfigMap/ns/b created" },
                { "one is new", "a", "ConfigMap/a! ConfigMap/b", "ns_a__ConfigMap ns_b__ConfigMap", false, 1,
                  "ConfigMap/ns/a unchanged\nConfigMap/ns/b created" },
                { "what was lost is made again", NULL, "ConfigMap/a!", "", false, 0, "ConfigMap/ns/a created" },
                { "nothing is written", "a", "ConfigMap/a", "", false, 0, "ConfigMap/ns/a unchanged" },
                { "nothing can be written", NULL, "ConfigMap/a ConfigMap/invalid", "", false, 0,
                  "ConfigMap/ns/invalid dry-run failed (Invalid): it is invalid\n" },
                { "what went before is said", NULL, "Namespace/n ConfigMap/invalid", "_n__Namespace ns_invalid__ConfigMap", false,
                  1, "ConfigMap/ns/invalid dry-run failed (Invalid): it is invalid\nNamespace/n created\n" },
                { "the list cannot be written", NULL, "ConfigMap/a", "", true, 1, "failed to update status: the server is away" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                const char *found;

                setup(state);
                list.fails = cases[i].fails;
                if (cases[i].there)
                        put(cases[i].there);
                found = apply(cases[i].objects);
                if (strcmp(found, cases[i].result) || strcmp(list.wanted, cases[i].wanted) || list.calls != cases[i].calls)
                        fail_msg("%s: %s (%u calls: %s)", cases[i].name, found, list.calls, list.wanted);
                if (cases[i].fails)
                        assert_int_equal(json_length(cluster.objects), 0);
                teardown(state);
        }
        setup(state);
}

/* A stage is tried as a whole before anything of it is written, and written before the next one is tried. */
static void each_stage_after_the_other(void **state)
{
        static const struct {
                const char *name, *objects, *requests;
        } cases[] = {
                { "all", "ConfigMap/a Event/e StorageClass/c Namespace/n",
                  "APPLY namespaces/n dry\nAPPLY namespaces/n\nAPPLY storageclasses/c dry\nAPPLY storageclasses/c\n"
                  "APPLY events/ns/e dry\nAPPLY events/ns/e\nAPPLY configmaps/ns/a dry\nAPPLY configmaps/ns/a\n" },
                { "one that is refused", "ConfigMap/a Event/invalid Event/e StorageClass/c",
                  "APPLY storageclasses/c dry\nAPPLY storageclasses/c\nAPPLY events/ns/e dry\nAPPLY events/ns/invalid dry\n"
                  "GET events/ns/invalid\n" },
        };
        size_t i;

        for (i = 0; i < COUNT(cases); i++) {
                cleanup(free_string) char *lines = NULL;

                setup(state);
                apply(cases[i].objects);
                lines = fake_lines();
                if (strcmp(lines, cases[i].requests))
                        fail_msg("%s: %s", cases[i].name, lines);
                teardown(state);
        }
        setup(state);
}

/* Thousands of dry runs would be for nothing, if the list of what they are about does not fit into its object. */
static void a_list_that_may_be_too_long_is_written_first(void **state)
{
        enum { NAME = 200000 };

        for (int known = 0; known < 2; known++) {
                cleanup(buffer_release) struct buffer words = BUFFER_NULL;

                setup(state);
                list.fails = true;
                for (int i = 0; i < 6; i++)
                        buffer_printf(&words, "%sConfigMap/%0*d%s", i ? " " : "", NAME, i, known ? "!" : "");
                if (known) {
                        apply(buffer_string(&words)); /* all of it is in the list already */
                        assert_int_equal(list.calls, 0);
                } else {
                        assert_string_equal(apply(buffer_string(&words)), "failed to update status: the server is away");
                        assert_int_equal(list.calls, 1);
                }
                assert_int_equal(fake_count() > 0, known);
                teardown(state);
        }
        setup(state);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(each_stage_after_the_other, teardown),
                cmocka_unit_test_teardown(what_is_made_is_in_the_list_before, teardown),
                cmocka_unit_test_teardown(a_list_that_may_be_too_long_is_written_first, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
