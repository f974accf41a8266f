/* What changes with KUSTOMIZE_COMPAT_NEXT, and that nothing of it is there without. The texts are those of the reference, before and after. */
#include "kustomize_test.h"

struct pair {
        const char *name;
        struct test_file files[FILES_MAX];
        const char *now, *next; /* the whole output, or a part of the error if it begins with "!" */
};

#define SET                                                                                                                        \
        {                                                                                                                          \
                "a.yaml", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec: {volumeClaimTemplates: [{metadata: " \
                          "{name: v}}], template: {}}\n"                                                                           \
        }
#define SET_HEAD     "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  labels:\n    a: b\n  name: s\nspec:\n"
#define SET_SELECTOR "  selector:\n    matchLabels:\n      a: b\n"
#define SET_PLAIN    "  template: {}\n"
#define SET_TEMPLATE "  template:\n    metadata:\n      labels:\n        a: b\n"
#define CLAIM        "  volumeClaimTemplates:\n  - metadata:\n      name: v\n"
#define CLAIM_LABELS "  volumeClaimTemplates:\n  - metadata:\n      labels:\n        a: b\n      name: v\n"
#define LABELS(more)                                                                                                               \
        {                                                                                                                          \
                "kustomization.yaml", "resources: [a.yaml]\nlabels: [{pairs: {a: b}" more "}]\n"                                   \
        }

#define IMAGE(entry, text)                                                                                                         \
        {                                                                                                                          \
                { "kustomization.yaml", "resources: [a.yaml]\nimages: [" entry "]\n" },                                            \
                {                                                                                                                  \
                        "a.yaml", "kind: A\nmetadata: {name: a}\ncontainers: [{image: '" text "'}]\n"                              \
                }                                                                                                                  \
        }
#define IMAGE_IS(text) "containers:\n- image: " text "\nkind: A\nmetadata:\n  name: a\n"

#define REPLACE(path, options)                                                                                                     \
        {                                                                                                                          \
                { "kustomization.yaml", "resources: [a.yaml]\nreplacements:\n- sourceValue: m\n  targets: [{select: {kind: A}, "   \
                                        "fieldPaths: [" path "], options: " options "}]\n" },                                      \
                {                                                                                                                  \
                        "a.yaml", "kind: A\nmetadata: {name: a}\nj: '{\"a\": \"x:y\"}'\nt: |-\n  # why\n  a: x:y\n"                \
                }                                                                                                                  \
        }
#define JSON_IS(text) "j: '{\"a\":\"" text "\"}'\nkind: A\nmetadata:\n  name: a\n" TEXT_IS("x:y")
#define TEXT_IS(text) "t: |-\n  # why\n  a: " text "\n"

#define POLICY(version, kind)      "apiVersion: admissionregistration.k8s.io/" version "\nkind: " kind "\nmetadata: {name: p}\n"
#define POLICY_IS(version, kind)   "apiVersion: admissionregistration.k8s.io/" version "\nkind: " kind "\nmetadata:\n  name: p\n"
#define POLICY_IN_N(version, kind) POLICY_IS(version, kind) "  namespace: ns\n"

static const struct pair pairs[] = {
        { "labels alone", { LABELS(""), SET }, SET_HEAD SET_PLAIN CLAIM, SET_HEAD SET_PLAIN CLAIM },
        { "labels in templates",
          { LABELS(", includeTemplates: true"), SET },
          SET_HEAD SET_TEMPLATE CLAIM_LABELS,
          SET_HEAD SET_TEMPLATE CLAIM },
        { "labels in claims",
          { LABELS(", includeVolumeClaimTemplates: true"), SET },
          "!json: unknown field \"includeVolumeClaimTemplates\"",
          SET_HEAD SET_PLAIN CLAIM_LABELS },
        { "labels in templates and claims",
          { LABELS(", includeVolumeClaimTemplates: true, includeTemplates: true"), SET },
          "!json: unknown field \"includeVolumeClaimTemplates\"",
          SET_HEAD SET_TEMPLATE CLAIM_LABELS },
        { "labels in selectors",
          { LABELS(", includeSelectors: true"), SET },
          SET_HEAD SET_SELECTOR SET_TEMPLATE CLAIM_LABELS,
          SET_HEAD SET_SELECTOR SET_TEMPLATE CLAIM_LABELS },
        { "common labels",
          { { "kustomization.yaml", "resources: [a.yaml]\ncommonLabels: {a: b}\n" }, SET },
          SET_HEAD SET_SELECTOR SET_TEMPLATE CLAIM_LABELS,
          SET_HEAD SET_SELECTOR SET_TEMPLATE CLAIM_LABELS },
        { "claims of another kind",
          { { "kustomization.yaml",
              "resources: [b.yaml]\nconfigurations: [c.yaml]\nlabels: [{pairs: {a: b}, includeVolumeClaimTemplates: true}]\n" },
            { "b.yaml", "kind: A\nmetadata: {name: a}\n" },
            { "c.yaml", "volumeClaimTemplateLabels: [{kind: A, path: claim/labels, create: true}]\n" } },
          "!json: unknown field \"includeVolumeClaimTemplates\"",
          "claim:\n  labels:\n    a: b\nkind: A\nmetadata:\n  labels:\n    a: b\n  name: a\n" },
        { "configuration of claims",
          { { "kustomization.yaml", "configurations: [c.yaml]\n" }, { "c.yaml", "volumeClaimTemplateLabels: []\n" } },
          "!json: unknown field \"volumeClaimTemplateLabels\"",
          "" },
        { "digest of another algorithm", IMAGE("{name: nginx, newTag: v2}", "nginx@sha512:abc"), IMAGE_IS("nginx@sha512:abc"),
          IMAGE_IS("nginx:v2") },
        { "digest of parts", IMAGE("{name: nginx, newTag: v2}", "nginx:1@multihash+base58:x"),
          IMAGE_IS("nginx:1@multihash+base58:x"), IMAGE_IS("nginx:v2") },
        { "digest of sha256", IMAGE("{name: nginx, newTag: v2}", "nginx:1@sha256:abc"), IMAGE_IS("nginx:v2"),
          IMAGE_IS("nginx:v2") },
        { "invalid name", IMAGE("{name: '[', newTag: v2}", "nginx:1"), "!images: the name '['", IMAGE_IS("nginx:1") },
        { "dots inside a directory",
          { { "kustomization.yaml", "resources:\n- base\n - ../../other\n" },
            { "other/kustomization.yaml", "resources: [a.yaml]\n" },
            { "other/a.yaml", "kind: A\nmetadata: {name: a}\n" } },
          "kind: A\nmetadata:\n  name: a\n",
          "!: path \"base - ../../other\" is ambiguous: resolves to \"other\" after normalization, which is likely not the "
          "intended "
          "target; check for YAML indentation errors in your kustomization file" },
        { "dots inside the way to a component",
          { { "kustomization.yaml", "components: [x/a..b/..]\n" },
            { "x/kustomization.yaml", "kind: Component\nconfigMapGenerator: [{name: c}]\n" } },
          "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c-6ct58987ht\n",
          "!path \\\"x/a..b/..\\\" is ambiguous: resolves to \\\"x\\\" after" },
        { "dots inside a file's name",
          { { "kustomization.yaml", "resources: [..a.yaml]\n" }, { "..a.yaml", "kind: A\nmetadata: {name: a}\n" } },
          "kind: A\nmetadata:\n  name: a\n",
          "kind: A\nmetadata:\n  name: a\n" },
        { "piece inside JSON", REPLACE("j.a", "{delimiter: ':', index: 0}"), JSON_IS("m"), JSON_IS("m:y") },
        { "piece before", REPLACE("j.a", "{delimiter: ':', index: -1}"), JSON_IS("m"), JSON_IS("m:x:y") },
        { "piece behind", REPLACE("j.a", "{delimiter: ':', index: 9}"), JSON_IS("m"), JSON_IS("x:y:m") },
        { "piece inside YAML", REPLACE("t.a", "{delimiter: ':', index: 1}"),
          "j: '{\"a\": \"x:y\"}'\nkind: A\nmetadata:\n  name: a\n" TEXT_IS("m"),
          "j: '{\"a\": \"x:y\"}'\nkind: A\nmetadata:\n  name: a\n" TEXT_IS("x:m") },
        { "policies in a namespace",
          { { "kustomization.yaml", "resources: [a.yaml, b.yaml, c.yaml]\nnamespace: ns\n" },
            { "a.yaml", POLICY("v1", "ValidatingAdmissionPolicy") },
            { "b.yaml", POLICY("v1", "ValidatingAdmissionPolicyBinding") },
            { "c.yaml", POLICY("v1beta1", "ValidatingAdmissionPolicy") } },
          POLICY_IN_N("v1", "ValidatingAdmissionPolicy") "---\n" POLICY_IN_N(
                  "v1", "ValidatingAdmissionPolicyBinding") "---\n" POLICY_IN_N("v1beta1", "ValidatingAdmissionPolicy"),
          POLICY_IS("v1", "ValidatingAdmissionPolicy") "---\n" POLICY_IS(
                  "v1", "ValidatingAdmissionPolicyBinding") "---\n" POLICY_IN_N("v1beta1", "ValidatingAdmissionPolicy") },
};

static void run_pairs(enum kustomize_compat compat)
{
        for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
                const char *wanted = compat == KUSTOMIZE_COMPAT_NEXT ? pairs[i].next : pairs[i].now;
                struct build_case c = { .name = pairs[i].name, .options = { .compat = compat } };

                memcpy(c.files, pairs[i].files, sizeof(c.files));
                if (*wanted == '!')
                        c.error = wanted + 1;
                else
                        c.expected = wanted;
                run_case(&c);
        }
}

static void as_5_8_1(void **state)
{
        (void)state;
        run_pairs((struct kustomize_options){ 0 }.compat); /* the default */
}

static void as_what_follows(void **state)
{
        (void)state;
        run_pairs(KUSTOMIZE_COMPAT_NEXT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(as_5_8_1),
                cmocka_unit_test(as_what_follows),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
