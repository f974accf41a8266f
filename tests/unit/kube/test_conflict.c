/*
 * What a real API server says of a field that another manager owns, and what the client makes of that. Runs where WEIR_TEST_NAMESPACE names a namespace of the
 * server of KUBECONFIG, as tests/e2e/test_connection.py does it; else it is skipped.
 */
#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "kube/client.h"

#include <stdlib.h>

#define BODY(value)                                                                                                                \
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"conflict\"},\"data\":{\"a\":\"" value "\"}}"

struct fixture {
        struct io *io;
        struct kube_client *client;
        struct context context;
        const char *namespace;
};

static int setup(void **state)
{
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct fixture *fixture = calloc(1, sizeof(*fixture));

        *state = fixture;
        fixture->namespace = getenv("WEIR_TEST_NAMESPACE");
        context_open(&fixture->context, NULL, CLOCK_NEVER);
        if (!fixture->namespace)
                return 0;
        if (io_start(&fixture->io, &error) < 0 || kube_config_load_files(getenv("KUBECONFIG"), &config, &error) < 0 ||
            kube_client_new(fixture->io, &config, &(struct kube_client_options){ .user_agent = "test/1" }, &fixture->client,
                            &error) < 0)
                fail_msg("%s", error_message(&error));
        return 0;
}

static int teardown(void **state)
{
        struct fixture *fixture = *state;

        kube_client_release(&fixture->client);
        if (fixture->io)
                io_stop(&fixture->io);
        context_close(&fixture->context);
        free(fixture);
        return 0;
}

static int write_map(struct fixture *fixture, enum kube_verb verb, const char *manager, const char *body, bool force, bool dry_run,
                     struct error *error)
{
        const struct kube_request request = { .verb = verb,
                                              .resource = kube_resource_intern("", "v1", "ConfigMap", "configmaps", true),
                                              .namespace = fixture->namespace,
                                              .name = "conflict",
                                              .field_manager = manager,
                                              .force = force,
                                              .dry_run = dry_run,
                                              .body = view_of(body) };

        return kube_call(&fixture->context, fixture->client, &request, NULL, error);
}

static void the_owner_of_a_field_is_named(void **state)
{
        struct fixture *fixture = *state;

        if (!fixture->namespace)
                skip();
        for (int dry_run = 0; dry_run < 2; dry_run++) {
                cleanup(error_release) struct error error = ERROR_NULL;

                assert_int_equal(write_map(fixture, KUBE_APPLY, "kustomize-controller", BODY("1"), true, false, &error), 0);
                assert_int_equal(write_map(fixture, KUBE_PATCH_MERGE, "kubectl-edit", BODY("2"), false, false, &error), 0);
                assert_int_equal(write_map(fixture, KUBE_APPLY, "kustomize-controller", BODY("1"), false, dry_run, &error), -1);
                assert_int_equal(error.kind, ERROR_CONFLICT);
                assert_int_equal(error.http_status, 409);
                assert_string_equal(error.reason, "FieldManagerConflict");
                if (!strstr(error_message(&error), "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1") ||
                    !strstr(error_message(&error), ": .data.a"))
                        fail_msg("%s", error_message(&error));
                error_release(&error);
                assert_int_equal(write_map(fixture, KUBE_APPLY, "kustomize-controller", BODY("1"), true, dry_run, &error), 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(the_owner_of_a_field_is_named, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
