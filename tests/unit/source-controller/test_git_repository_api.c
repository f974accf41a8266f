#include "../../../source-controller/git_repository.h"

#include "../crd.h"

static void table_and_crd_agree(void **state)
{
        (void)state;
        crd_check_kind(&git_repository_kind);
}

static void an_object_is_decoded(void **state)
{
        static const char text[] = "metadata: {namespace: flux-system, name: app}\n"
                                   "spec:\n"
                                   "  url: https://example.com/app.git\n"
                                   "  interval: 1m30s\n"
                                   "  ref: {semver: '>=1.0.0'}\n"
                                   "  verify: {secretRef: {name: keys}}\n"
                                   "  include:\n"
                                   "  - repository: {name: other}\n"
                                   "    toPath: vendor/other\n"
                                   "  sparseCheckout: [deploy]\n"
                                   "  ignore: ''\n";
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *object = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct git_repository_status status;
        struct git_repository_spec spec;

        (void)state;
        assert_int_equal(yaml_parse(view_of(text), 0, &object, &error), 0);
        assert_int_equal(kind_decode(&git_repository_kind, object, arena, &spec, &status, &error), 0);
        assert_string_equal(spec.url, "https://example.com/app.git");
        assert_true(spec.interval == INT64_C(90000000000));
        assert_true(spec.timeout == INT64_C(60000000000));
        assert_string_equal(spec.ref->semver, ">=1.0.0");
        assert_null(spec.ref->branch);
        assert_string_equal(spec.verify->mode, "HEAD");
        assert_string_equal(spec.include.items[0].to_path, "vendor/other");
        assert_string_equal(spec.sparse_checkout.items[0], "deploy");
        assert_string_equal(spec.ignore, "");
        assert_null(spec.provider);
        assert_false(spec.suspend);
        assert_int_equal(status.observed_generation, -1);
        assert_null(status.artifact);
}

static void a_bad_object_is_named(void **state)
{
        static const struct crd_refusal cases[] = {
                { "{url: 'https://x', interval: 1y}", "GitRepository/flux-system/app: spec.interval: \"1y\" is not a duration" },
                { "{url: 'git@x:y', interval: 1m}",
                  "GitRepository/flux-system/app: spec.url: \"git@x:y\" does not match '^(http|https|ssh)://.*$'" },
                { "{url: 'https://x'}", "GitRepository/flux-system/app: spec.interval: is required" },
                { "{url: 'https://x', interval: -1m}",
                  "GitRepository/flux-system/app: spec.interval: \"-1m\" does not match '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$'" },
                { "{url: 'https://x', interval: 1m, timeout: 1h}",
                  "GitRepository/flux-system/app: spec.timeout: \"1h\" does not match '^([0-9]+(\\.[0-9]+)?(ms|s|m))+$'" },
                { "{url: 'https://x', interval: 1m, provider: gcp}",
                  "GitRepository/flux-system/app: spec.provider: \"gcp\" is not one of generic, aws, azure, github" },
                { "{url: 'https://x', interval: 1m, include: [{fromPath: a}]}",
                  "GitRepository/flux-system/app: spec.include[0].repository: is required" },
                { "null", "GitRepository/flux-system/app: spec: must be an object, not null" },
        };

        (void)state;
        crd_check_refusals(&git_repository_kind, "flux-system", "app", cases, COUNT(cases));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(table_and_crd_agree),
                cmocka_unit_test(an_object_is_decoded),
                cmocka_unit_test(a_bad_object_is_named),
        };

        return cmocka_run_group_tests_name("git_repository_api", tests, NULL, NULL);
}
