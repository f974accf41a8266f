/* Whole builds of small trees, without the reference beside them: what each field does, and the texts of the common failures. */
#include "kustomize_test.h"

#define DEPLOYMENT                                                                                                                 \
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: a, image: "      \
        "'nginx:1'}, "                                                                                                             \
        "{name: b, envFrom: [{configMapRef: {name: c}}]}]}}}\n"
#define THING "kind: A\nmetadata: {name: a}\n"

static void run_all(const struct build_case *cases, size_t count)
{
        for (size_t i = 0; i < count; i++)
                run_case(&cases[i]);
}

#define RUN(cases) run_all(cases, sizeof(cases) / sizeof(cases[0]))

static void kustomization_files(void **state)
{
        static const struct build_case cases[] = {
                { .name = "any case",
                  .files = { { "kustomization.yaml", "NAMEPREFIX: p-\nResources: [a.yaml]\n" }, { "a.yaml", THING } },
                  .expected = "kind: A\nmetadata:\n  name: p-a\n" },
                { .name = "last of two",
                  .files = { { "kustomization.yaml", "resources: [b]\nresources: [a.yaml]\n" }, { "a.yaml", THING } },
                  .expected = "kind: A\nmetadata:\n  name: a\n" },
                { .name = "unknown",
                  .files = { { "kustomization.yaml", "foo: bar\n" } },
                  .error = "invalid Kustomization: json: unknown field \"foo\"" },
                { .name = "wrong type",
                  .files = { { "kustomization.yaml", "namePrefix: 5\n" } },
                  .error = "invalid Kustomization: json: cannot unmarshal number into Go struct field Kustomization.namePrefix of "
                           "type string" },
                { .name = "bool", .files = { { "kustomization.yaml", "namespace: y\n" } }, .error = "cannot unmarshal bool into" },
                { .name = "empty", .files = { { "kustomization.yaml", "# nothing\n" } }, .error = "kustomization.yaml is empty" },
                { .name = "none",
                  .files = { { "a/b.yaml", "" } },
                  .error = "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory "
                           "'/tree'" },
                { .name = "two",
                  .files = { { "kustomization.yaml", "" }, { "Kustomization", "" } },
                  .error = "Found multiple kustomization files under: /tree" },
                { .name = "kind",
                  .files = { { "kustomization.yaml", "kind: Foo\nnamePrefix: a\n" } },
                  .error = "kind should be Kustomization or Component" },
                { .name = "kind and version",
                  .files = { { "kustomization.yaml", "kind: Foo\napiVersion: v1\nnamePrefix: a\n" } },
                  .error = "Failed to read kustomization file under /tree:\nkind should be Kustomization or Component\n"
                           "apiVersion for Foo should be kustomize.config.k8s.io/v1beta1" },
                { .name = "lenient",
                  .files = { { "kustomization.yaml", "foo: bar\nresources: [d.yaml]\nimages: [{name: nginx, newTag: 1.10}]\n" },
                             { "d.yaml", DEPLOYMENT } },
                  .options = { .lenient_root = true },
                  .expected =
                          "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  template:\n    spec:\n      "
                          "containers:\n      - image: nginx:1.1\n"
                          "        name: a\n      - envFrom:\n        - configMapRef:\n            name: c\n        name: b\n" },
        };

        (void)state;
        RUN(cases);
}

static void resources(void **state)
{
        static const struct build_case cases[] = {
                { .name = "separator",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" }, { "a.yaml", THING "--- foo\n" THING } },
                  .error = "invalid document separator: --- foo" },
                { .name = "list",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" },
                             { "a.yaml", "kind: FooList\nitems: [{kind: B, metadata: {name: b}}]\n---\n" THING } },
                  .expected = "kind: A\nmetadata:\n  name: a\n---\nkind: B\nmetadata:\n  name: b\n" },
                { .name = "list of nothing",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\nnamespace: ns\nnamePrefix: p-\n" },
                             { "a.yaml", "apiVersion: v1\nkind: List\n" } },
                  .expected = "apiVersion: v1\nkind: List\nmetadata:\n  namespace: ns\n" },
                { .name = "no kind",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" },
                             { "a.yaml", "apiVersion: v1\nmetadata: {name: x}\n" } },
                  .error = "missing kind in object {{v1 } {{x } map[] map[]}}" },
                { .name = "no name",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" }, { "a.yaml", "apiVersion: v1\nkind: Pod\n" } },
                  .error = "missing metadata.name in object {{v1 Pod} {{ } map[] map[]}}" },
                { .name = "malformed",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" }, { "a.yaml", "a: 1\nb: @\n" } },
                  .error = "accumulating resources: accumulating resources from 'a.yaml': MalformedYAMLError: yaml: line 2: found "
                           "character that cannot start any token in File: a.yaml" },
                { .name = "missing",
                  .files = { { "kustomization.yaml", "resources: [x.yaml]\n" } },
                  .options = { .restriction = KUSTOMIZE_NONE },
                  .error = "accumulating resources: accumulation err='accumulating resources from 'x.yaml': open /tree/x.yaml: no "
                           "such file or directory': must build at directory: not a "
                           "valid directory: evalsymlink failure on '/tree/x.yaml' : lstat /tree/x.yaml: no such file or "
                           "directory" },
                { .name = "duplicate key",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\n" },
                             { "a.yaml", THING "---\nkind: B\nmetadata: {name: b}\nd:\n  x: 1\n  x: 2\n" } },
                  .error = "map[string]interface {}(nil): yaml: unmarshal errors:\n  line 8: mapping key \"x\" already defined at "
                           "line 7 (B/b)" },
                { .name = "twice",
                  .files = { { "kustomization.yaml", "resources: [a.yaml, b.yaml]\n" }, { "a.yaml", THING }, { "b.yaml", THING } },
                  .error = "may not add resource with an already registered id: A.[noVer].[noGrp]/a.[noNs]" },
                { .name = "twice in a file",
                  .files = { { "kustomization.yaml", "resources: [b.yaml, a.yaml]\n" },
                             { "a.yaml", THING "---\n" THING },
                             { "b.yaml", THING } },
                  .error = "accumulating resources from 'a.yaml': may not add resource with an already registered id: "
                           "A.[noVer].[noGrp]/a.[noNs]" },
                { .name = "twice in two files",
                  .files = { { "kustomization.yaml", "resources: [a.yaml, b.yaml]\n" }, { "a.yaml", THING }, { "b.yaml", THING } },
                  .error = "merging resources from 'b.yaml': may not add resource with an already registered id: " },
                { .name = "outside",
                  .files = { { "kustomization.yaml", "resources: [../../else/where.yaml]\n" } },
                  .error = "evalsymlink failure on '/else/where.yaml' : lstat /else: no such file or directory" },
                { .name = "cycle",
                  .files = { { "a/kustomization.yaml", "resources: [../b]\n" }, { "b/kustomization.yaml", "resources: [../a]\n" } },
                  .directory = "a",
                  .error = "cycle detected: candidate root '/tree/a' contains visited root '/tree/a'" },
                { .name = "component",
                  .files = { { "kustomization.yaml", "components: [c]\n" }, { "c/kustomization.yaml", "namePrefix: x\n" } },
                  .error = "accumulating components: accumulateDirectory: \"expected kind 'Component' for path '/tree/c' but got "
                           "'Kustomization'\"" },
        };

        (void)state;
        RUN(cases);
}

static void generators(void **state)
{
        static const struct build_case cases[] = {
                { .name = "hashes",
                  .files = { { "kustomization.yaml",
                               "configMapGenerator: [{name: e}, {name: a, literals: [a=1]}, {name: b, literals: [A=1]}]\n"
                               "secretGenerator: [{name: s, literals: [a=1]}, {name: t}]\n" } },
                  .expected = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: e-6ct58987ht\n---\n"
                              "apiVersion: v1\ndata:\n  a: \"1\"\nkind: ConfigMap\nmetadata:\n  name: a-h29d89cmmt\n---\n"
                              "apiVersion: v1\ndata:\n  A: \"1\"\nkind: ConfigMap\nmetadata:\n  name: b-89g4tffbfk\n---\n"
                              "apiVersion: v1\ndata:\n  a: MQ==\nkind: Secret\nmetadata:\n  name: s-25khgmg44c\ntype: Opaque\n---\n"
                              "apiVersion: v1\ndata: {}\nkind: Secret\nmetadata:\n  name: t-46f8b28mk5\ntype: Opaque\n" },
                { .name = "hash of everything that is escaped, and of bytes",
                  .files = { { "kustomization.yaml", "configMapGenerator: [{name: c, files: [s.txt, k]}]\n" },
                             { "s.txt", "x<y>&\"\\\t\b\f \xe2\x80\xa8 \xf0\x9f\x98\x80\n" },
                             { "k", "\xff\xfe"
                                    "bin" } },
                  .expected = "apiVersion: v1\nbinaryData:\n  k: //5iaW4=\ndata:\n  s.txt: \"x<y>&\\\"\\\\\\t\\b\\f \\L "
                              "\\U0001F600\\n\"\nkind: ConfigMap\nmetadata:\n  name: c-6dfkktb569\n" },
                { .name = "environment",
                  .files = { { "kustomization.yaml", "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator: [{name: "
                                                     "c, envs: [e.env]}]\n" },
                             { "e.env", "\xef\xbb\xbf"
                                        "A=1\r\n  B = 2 \r\n#c\r\nNOVAL\n =x\nQ=\"q\"\nD=a=b\n" } },
                  .expected = "apiVersion: v1\ndata:\n  A: \"1\"\n  'B ': ' 2 '\n  D: a=b\n  NOVAL: \"\"\n  Q: '\"q\"'\nkind: "
                              "ConfigMap\nmetadata:\n  name: c\n" },
                { .name = "merge",
                  .files = { { "kustomization.yaml",
                               "resources: [base, d.yaml]\nconfigMapGenerator: [{name: c, behavior: merge, literals: [b=2]}]\n" },
                             { "base/kustomization.yaml", "configMapGenerator: [{name: c, literals: [a=1, b=1]}]\n" },
                             { "d.yaml", DEPLOYMENT } },
                  .expected =
                          "apiVersion: v1\ndata:\n  a: \"1\"\n  b: \"2\"\nkind: ConfigMap\nmetadata:\n  name: c-7gdc49gk6d\n---\n"
                          "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  template:\n    spec:\n      "
                          "containers:\n      - image: nginx:1\n"
                          "        name: a\n      - envFrom:\n        - configMapRef:\n            name: c-7gdc49gk6d\n        "
                          "name: b\n" },
                { .name = "no name",
                  .files = { { "kustomization.yaml", "secretGenerator: [{literals: [a=b]}]\n" } },
                  .error = "a configmap must have a name" },
                { .name = "repeated",
                  .files = { { "kustomization.yaml", "configMapGenerator: [{name: c, literals: [k=1, k=2]}]\n" } },
                  .error = "configmap c illegally repeats the key `k`" },
                { .name = "nothing to merge",
                  .files = { { "kustomization.yaml", "configMapGenerator: [{name: c, behavior: merge}]\n" } },
                  .error = "does not exist; cannot merge or replace" },
        };

        (void)state;
        RUN(cases);
}

static void patches(void **state)
{
        static const struct build_case cases[] = {
                { .name = "patch elements come first",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                             { "a.yaml",
                               "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}, {name: b}]}\n" },
                             { "p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}, {name: b, "
                                         "image: x}]}\n" } },
                  .expected = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n  - image: x\n  "
                              "  name: b\n  - name: a\n" },
                { .name = "a list of no schema is replaced",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                             { "a.yaml", "kind: A\nmetadata: {name: a}\nl: [{name: x}]\nm: {a: b, c: d}\n" },
                             { "p.yaml", "kind: A\nmetadata: {name: a}\nl: [{name: y}]\nm: {c: null}\n" } },
                  .expected = "kind: A\nl:\n- name: \"y\"\nm:\n  a: b\nmetadata:\n  name: a\n" },
                { .name = "the place keeps its quotes",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                             { "a.yaml", "kind: A\nmetadata: {name: a}\nx: \"1\"\ny: 1\n" },
                             { "p.yaml", "kind: A\nmetadata: {name: a}\nx: 2\ny: \"2\"\n" } },
                  .expected = "kind: A\nmetadata:\n  name: a\nx: \"2\"\n\"y\": \"2\"\n" },
                { .name = "no such resource",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                             { "a.yaml", THING },
                             { "p.yaml", "kind: B\nmetadata: {name: a}\n" } },
                  .error = "no resource matches strategic merge patch \"B.[noVer].[noGrp]/a.[noNs]\": no matches for Id "
                           "B.[noVer].[noGrp]/a.[noNs]; failed to find unique target for patch" },
                { .name = "json patch",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: A}}]\n" },
                             { "a.yaml", "kind: A\nmetadata: {name: a}\nl: [1, 2, 3]\nn: 9007199254740993\n" },
                             { "p.yaml", "- {op: add, path: /l/-1, value: 4}\n- {op: remove, path: /l/0}\n- {op: add, path: "
                                         "/metadata/annotations/x, value: \"1\"}\n" } },
                  .expected = "kind: A\nl:\n- 2\n- 3\n- 4\nmetadata:\n  annotations:\n    x: \"1\"\n  name: a\n\"n\": "
                              "9007199254740992\n" },
                { .name = "missing parent",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: A}}]\n" },
                             { "a.yaml", THING },
                             { "p.yaml", "- {op: add, path: /n/o, value: 1}\n" } },
                  .error = "add operation does not apply: doc is missing path: \"/n/o\": missing value" },
                { .name = "neither",
                  .files = { { "kustomization.yaml",
                               "resources: [a.yaml]\npatches: [{patch: \"[{op: add}]\", target: {kind: A}}]\n" },
                             { "a.yaml", THING } },
                  .error = "unable to parse SM or JSON patch from [patch: \"[{op: add}]\"]" },
        };

        (void)state;
        RUN(cases);
}

static void transformers(void **state)
{
        static const struct build_case cases[] = {
                { .name = "prefix, namespace, image, reference",
                  .files = { { "kustomization.yaml",
                               "resources: [d.yaml]\nnamePrefix: p-\nnamespace: ns\nimages: [{name: nginx, newTag: v2}]\n"
                               "configMapGenerator: [{name: c, literals: [a=1], options: {disableNameSuffixHash: true}}]\n" },
                             { "d.yaml", DEPLOYMENT } },
                  .expected = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: p-d\n  namespace: ns\nspec:\n  "
                              "template:\n    spec:\n      containers:\n"
                              "      - image: nginx:v2\n        name: a\n      - envFrom:\n        - configMapRef:\n            "
                              "name: p-c\n        name: b\n---\n"
                              "apiVersion: v1\ndata:\n  a: \"1\"\nkind: ConfigMap\nmetadata:\n  name: p-c\n  namespace: ns\n" },
                { .name = "namespace conflict",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\nnamespace: c\n" },
                             { "a.yaml", "kind: A\nmetadata: {name: a, namespace: x}\n---\n" THING } },
                  .error = "namespace transformation produces ID conflict: [" },
                { .name = "labels",
                  .files = { { "kustomization.yaml",
                               "resources: [a.yaml]\nlabels: [{pairs: {b: \"1\", a: x}}]\ncommonAnnotations: {m: \"2\"}\n" },
                             { "a.yaml", THING } },
                  .expected = "kind: A\nmetadata:\n  annotations:\n    m: \"2\"\n  labels:\n    a: x\n    b: \"1\"\n  name: a\n" },
                { .name = "replicas of nothing",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\nreplicas: [{name: a, count: 2}]\n" },
                             { "a.yaml", THING } },
                  .error = "resource with name a does not match a config with the following GVK [Deployment.[noVer].[noGrp] "
                           "StatefulSet.[noVer].[noGrp] ReplicaSet.[noVer].[noGrp] "
                           "ReplicationController.[noVer].[noGrp]]" },
                { .name = "replacement",
                  .files = { { "kustomization.yaml",
                               "resources: [a.yaml]\nreplacements:\n- source: {kind: A, fieldPath: x}\n  targets:\n  - select: "
                               "{kind: A}\n    fieldPaths: [v, z.w]\n    options: {create: true}\n" },
                             { "a.yaml", THING "x: \"8080\"\nv: \"1\"\n" } },
                  .expected = "kind: A\nmetadata:\n  name: a\nv: \"8080\"\nx: \"8080\"\nz:\n  w: 8080\n" },
                { .name = "replacement inside a text",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\nreplacements:\n- source: {kind: A, fieldPath: x}\n  "
                                                     "targets: [{select: {kind: A}, fieldPaths: [j.a.b]}]\n" },
                             { "a.yaml", THING "x: 8080\nj: '{\"a\":{\"b\":1},\"z\":\"<\"}'\n" } },
                  .expected = "j: '{\"a\":{\"b\":8080},\"z\":\"\\u003c\"}'\nkind: A\nmetadata:\n  name: a\nx: 8080\n" },
                { .name = "vars",
                  .files = { { "kustomization.yaml", "resources: [a.yaml]\nnamePrefix: p-\nvars: [{name: V, objref: {apiVersion: "
                                                     "v1, kind: Pod, name: d}}]\n" },
                             { "a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: d}\nspec: {containers: [{name: a, args: "
                                         "[\"$(V)-$$(V)-$(V\"]}]}\n" } },
                  .expected = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p-d\nspec:\n  containers:\n  - args:\n    - "
                              "p-d-$(V)-$(V\n    name: a\n" },
        };

        (void)state;
        RUN(cases);
}

#define FLEET                                                                                                                      \
        "{\"definitions\": {\"v1.Fleet\": {\"type\": \"object\", \"properties\": {\"ships\": {\"type\": \"array\", \"items\": "    \
        "{\"type\": \"object\"}, \"x-kubernetes-patch-merge-key\": \"name\", \"x-kubernetes-patch-strategy\": \"merge\"}}, "       \
        "\"x-kubernetes-group-version-kind\": [{\"group\": \"example.com\", \"kind\": \"Fleet\", \"version\": \"v1\"}]}}}"
#define FLEET_HEAD "apiVersion: example.com/v1\nkind: Fleet\nmetadata:\n  name: f\nships:\n"
#define POD_HEAD   "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n"
#define WITH_FLEET                                                                                                                 \
        {                                                                                                                          \
                { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\nopenapi: {path: s.json}\n" },             \
                        { "a.yaml", FLEET_HEAD "- name: a\n- name: b\n---\n" POD_HEAD "  - name: a\n  - name: b\n" },              \
                        { "p.yaml", FLEET_HEAD "- {name: b, x: z}\n---\n" POD_HEAD "  - {name: b, image: i}\n" },                  \
                {                                                                                                                  \
                        "s.json", FLEET                                                                                            \
                }                                                                                                                  \
        }

/* What the controller does with openapi.path, and what the command line. */
static void schemas(void **state)
{
        static const struct build_case cases[] = {
                { .name = "added",
                  .files = WITH_FLEET,
                  .options = { .openapi_adds = true },
                  .expected =
                          FLEET_HEAD "- name: b\n  x: z\n- name: a\n---\n" POD_HEAD "  - image: i\n    name: b\n  - name: a\n" },
                { .name = "in place of the built-in one",
                  .files = WITH_FLEET,
                  .expected = FLEET_HEAD "- name: b\n  x: z\n- name: a\n---\n" POD_HEAD "  - image: i\n    name: b\n" },
        };

        (void)state;
        RUN(cases);
}

static void keep_line(void *user, const char *line)
{
        struct buffer *lines = user;

        buffer_printf(lines, "%s\n", line);
}

/* Where the reference loses elements without a word, so do we, but with one. */
static void warnings(void **state)
{
        static const struct {
                const char *patch;
                const char *warning;
        } cases[] = {
                { "[{image: x}]", "list 'containers': an element without key takes others away" },
                { "[{name: a, $patch: replace, image: z}]", "list 'containers': $patch: replace on an element changes nothing" },
                { "[{name: a, ports: [{containerPort: 80, protocol: UDP}]}]",
                  "list 'ports': an element of the patch is lost beside one that has not all the keys" },
                { "[{name: a, env: [{name: X, value: z}]}]", "list 'env': elements of the same key become one" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                cleanup(buffer_release) struct buffer lines = BUFFER_NULL;
                cleanup(buffer_release) struct buffer patch = BUFFER_NULL;
                struct build_case c = {
                        .name = cases[i].patch,
                        .files = { { "kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n" },
                                   { "a.yaml",
                                     "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, ports: "
                                     "[{containerPort: 80, name: http}], env: [{name: X, value: x}, {name: X, value: y}]}, {name: "
                                     "b}]}\n" },
                                   { "p.yaml", NULL } },
                        .options = { .warn = keep_line, .user = &lines },
                };

                buffer_printf(&patch, "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: %s}\n", cases[i].patch);
                c.files[2].text = buffer_string(&patch);
                run_case(&c);
                if (!strstr(buffer_string(&lines), cases[i].warning) ||
                    !strstr(buffer_string(&lines), "# Warning: strategic merge into Pod.v1.[noGrp]/p.[noNs]: "))
                        fail_msg("%s: wanted '%s', got '%s'", cases[i].patch, cases[i].warning, buffer_string(&lines));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kustomization_files),
                cmocka_unit_test(resources),
                cmocka_unit_test(generators),
                cmocka_unit_test(patches),
                cmocka_unit_test(transformers),
                cmocka_unit_test(schemas),
                cmocka_unit_test(warnings),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
