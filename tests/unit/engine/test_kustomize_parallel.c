/* Builds in many threads do not see each other: each has the merge keys of its own openapi.path. */
#include "kustomize_test.h"

#include <pthread.h>

#define THREADS 4
#define BUILDS  50

#define SCHEMA(key)                                                                                                                \
        "{\"definitions\": {\"v1.Fleet\": {\"type\": \"object\", \"properties\": {\"ships\": {\"type\": \"array\", "               \
        "\"items\": {\"type\": \"object\"}, \"x-kubernetes-patch-merge-key\": \"" key "\", "                                       \
        "\"x-kubernetes-patch-strategy\": \"merge\"}}, \"x-kubernetes-group-version-kind\": [{\"group\": \"example.com\", "        \
        "\"kind\": \"Fleet\", \"version\": \"v1\"}]}}}"

#define HEAD "apiVersion: example.com/v1\nkind: Fleet\nmetadata:\n  name: f\nships:\n"

/* The patch has the name of one ship and the port of another: which one it changes is for the schema to say. */
static const struct build_case cases[THREADS] = {
        { .name = "by name",
          .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\nopenapi: {path: s.json}\n" },
                     { "a.yaml", HEAD "- {name: a, port: 1, crew: x}\n- {name: b, port: 2, crew: x}\n" },
                     { "p.yaml", HEAD "- {name: a, port: 2, crew: z}\n" },
                     { "s.json", SCHEMA("name") } },
          .expected = HEAD "- crew: z\n  name: a\n  port: 2\n- crew: x\n  name: b\n  port: 2\n" },
        { .name = "by port",
          .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\nopenapi: {path: s.json}\n" },
                     { "a.yaml", HEAD "- {name: a, port: 1, crew: x}\n- {name: b, port: 2, crew: x}\n" },
                     { "p.yaml", HEAD "- {name: a, port: 2, crew: z}\n" },
                     { "s.json", SCHEMA("port") } },
          .expected = HEAD "- crew: z\n  name: a\n  port: 2\n- crew: x\n  name: a\n  port: 1\n" },
        { .name = "without a schema",
          .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                     { "a.yaml", HEAD "- {name: a, port: 1, crew: x}\n- {name: b, port: 2, crew: x}\n" },
                     { "p.yaml", HEAD "- {name: a, port: 2, crew: z}\n" } },
          .expected = HEAD "- crew: z\n  name: a\n  port: 2\n" },
        { .name = "built-in",
          .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                     { "a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}, {name: b}]}\n" },
                     { "p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: b, image: i}]}\n" } },
          .expected = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - image: i\n    name: b\n  - name: "
                      "a\n" },
};

static void *build_again(void *data)
{
        for (size_t i = 0; i < BUILDS; i++)
                run_case(data);
        return NULL;
}

static void builds_do_not_see_each_other(void **state)
{
        pthread_t threads[THREADS];

        (void)state;
        for (size_t i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, build_again, (void *)(uintptr_t)&cases[i]), 0);
        for (size_t i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(builds_do_not_see_each_other),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
