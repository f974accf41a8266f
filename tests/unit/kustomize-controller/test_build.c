/*
 * From an unpacked artifact to the objects that are applied, through the sandboxed child.
 */
#include "../test.h"

#include "../../../kustomize-controller/build.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* In place of the machine's. */
static uint64_t budget = UINT64_MAX;

uint64_t job_memory_budget(void)
{
        return budget;
}

struct file {
        const char *path, *text;
};

struct tree {
        char *path;
        int root;
};

static void tree_make(struct tree *tree, const struct file *files)
{
        cleanup(error_release) struct error err = ERROR_NULL;

        assert_int_equal(folder_temporary("kustomization-", &tree->path, &tree->root, &err), 0);
        for (; files->path; files++) {
                char part[256];
                int fd;

                for (const char *slash = strchr(files->path, '/'); slash; slash = strchr(slash + 1, '/')) {
                        snprintf(part, sizeof(part), "%.*s", (int)(slash - files->path), files->path);
                        mkdirat(tree->root, part, 0700);
                }
                fd = openat(tree->root, files->path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
                assert_true(fd >= 0);
                assert_int_equal(write(fd, files->text, strlen(files->text)), strlen(files->text));
                close(fd);
        }
}

static void tree_release(struct tree *tree)
{
        cleanup(error_release) struct error err = ERROR_NULL;

        close(tree->root);
        folder_remove(AT_FDCWD, tree->path, &err);
        free(tree->path);
}

/* The payloads, a line each; or "<reason>: <message>" with the tree's own path taken out. */
static void build_with(const struct file *files, const char *spec_text, const struct variables *variables, const char *unreadable,
                       struct buffer *text)
{
        cleanup(tree_release) struct tree tree;
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *spec = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(build_output_release) struct build_output output = BUILD_OUTPUT_NULL;
        cleanup(context_close) struct context ctx;
        struct build_request request = { .name = VIEW("app"), .namespace = VIEW("ns"), .deadline_ms = 20000, .jobs = 8 };

        context_open(&ctx, NULL, CLOCK_NEVER);
        tree_make(&tree, files);
        assert_int_equal(json_parse(view_of(spec_text), &spec, &err), 0);
        request.spec = spec;
        request.root = tree.root;
        request.root_path = tree.path;
        if (variables) {
                request.substitute = true;
                request.variables = *variables;
                request.unreadable = unreadable;
        }
        if (build_run(&ctx, arena, &request, &output, &err) < 0) {
                const char *message = error_message(&err), *at;

                buffer_printf(text, "%s: ", err.reason);
                while ((at = strstr(message, tree.path))) {
                        buffer_add(text, message, (size_t)(at - message));
                        buffer_add_string(text, "TREE");
                        message = at + strlen(tree.path);
                }
                buffer_add_string(text, message);
                return;
        }
        if (output.refused.length) {
                buffer_printf(text, "refused: %.*s", VIEW_ARGS(output.refused));
                return;
        }
        for (size_t i = 0; i < output.count; i++) {
                buffer_add_view(text, output.objects[i].payload);
                buffer_add_char(text, '\n');
        }
}

static void build_text(const struct file *files, const char *spec_text, const struct variables *variables, struct buffer *text)
{
        build_with(files, spec_text, variables, NULL, text);
}

#define LABELS "\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\",\"kustomize.toolkit.fluxcd.io/namespace\":\"ns\"}"
#define CM(name, data)                                                                                                             \
        "{\"apiVersion\":\"v1\",\"data\":{" data "},\"kind\":\"ConfigMap\",\"metadata\":{" LABELS ",\"name\":\"" name "\"}}\n"

static const struct {
        const char *name;
        struct file files[8];
        const char *spec, *expected;
} cases[] = {
        { "manifests without a kustomization file, in the order of a walk",
          { { "deploy/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {x: y}\n" },
            { "deploy/a/z.yml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: z}\ndata: {x: y}\n" },
            { "deploy/notes.txt", "not yaml" },
            { "deploy/k/kustomization.yaml", "namePrefix: p-\nresources: [c.yaml]\n" },
            { "deploy/k/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: y}\n" } },
          "{\"path\":\"./deploy\"}",
          CM("z", "\"x\":\"y\"") CM("b", "\"x\":\"y\"") CM("p-c", "\"x\":\"y\"") },
        { "a directory that holds a component is left to whoever names it",
          { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n" },
            { "c/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: no-\n" } },
          "{}",
          CM("a", "\"x\":\"y\"") },
        { "nothing at all is nothing", { { "README", "x" } }, "{}", "" },
        { "the fields of spec",
          { { "kustomization.yaml", "resources: [d.yaml]\nimages: [{name: nginx, newTag: '1'}]\n" },
            { "d.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx, ports: "
                        "[{containerPort: 80}]}]}\n" } },
          "{\"targetNamespace\":\"t\",\"namePrefix\":\"p-\",\"nameSuffix\":\"-s\",\"images\":[{\"name\":\"nginx\",\"newName\":\"r/"
          "nginx\"}],"
          "\"patches\":[{\"patch\":\"- op: add\\n  path: /spec/hostNetwork\\n  value: true\\n\",\"target\":{\"kind\":\"Pod\"}}],"
          "\"commonMetadata\":{\"labels\":{\"team\":\"a\"},\"annotations\":{\"n\":\"1\"}}}",
          "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"n\":\"1\"},\"labels\":{\"kustomize.toolkit."
          "fluxcd.io/name\":\"app\","
          "\"kustomize.toolkit.fluxcd.io/"
          "namespace\":\"ns\",\"team\":\"a\"},\"name\":\"p-web-s\",\"namespace\":\"t\"},\"spec\":{\"containers\":[{\"image\":"
          "\"r/"
          "nginx:1\",\"name\":\"c\",\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}],\"resources\":{}}],\"hostNetwork\":"
          "true}}\n" },
        { "tag and digest of an image are one: who sets either takes the other away, a new name alone leaves both",
          { { "kustomization.yaml",
              "resources: [p.yaml]\nimages: [{name: a, newTag: '1'}, {name: b, digest: 'sha256:00'}, {name: c, "
              "newName: n, newTag: '1'}]\n" },
            { "p.yaml", "apiVersion: example.com/v1\nkind: X\nmetadata: {name: p}\nspec: {containers: [{name: a, image: a}, "
                        "{name: b, image: b}, {name: c, image: c}, {name: d, image: 'd:0'}]}\n" } },
          "{\"images\":[{\"name\":\"a\",\"digest\":\"sha256:11\"},{\"name\":\"b\",\"newTag\":\"2\"},{\"name\":\"c\",\"newName\":"
          "\"r/c\"},{\"name\":\"d\",\"newTag\":\"3\"}]}",
          "{\"apiVersion\":\"example.com/v1\",\"kind\":\"X\",\"metadata\":{" LABELS
          ",\"name\":\"p\"},\"spec\":{\"containers\":[{\"image\":\"a@sha256:11\",\"name\":\"a\"},{\"image\":\"b:2\",\"name\":\"b\"}"
          ",{\"image\":\"r/c:1\",\"name\":\"c\"},{\"image\":\"d:3\",\"name\":\"d\"}]}}\n" },
        { "a list stands for its items, and a kustomization among manifests for nothing",
          { { "a.yaml",
              "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: y}}\n"
              "- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {x: y}}\n" },
            { "k.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: k}\n" } },
          "{}",
          CM("a", "\"x\":\"y\"") CM("b", "\"x\":\"y\"") },
        { "a CRD keeps its status, and the certificate of its webhook if that is one",
          { { "a.yaml",
              "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a, creationTimestamp: null}\n"
              "spec: {conversion: {webhook: {clientConfig: {caBundle: Cg==, url: u}}}}\nstatus: {storedVersions: [v1]}\n" },
            { "b.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: b}\n"
                        "spec: {conversion: {webhook: {clientConfig: {caBundle: not base64}}}}\n" },
            { "c.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: c}\n"
                        "spec: {conversion: {webhook: {clientConfig: {caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==}}}}\n" } },
          "{}",
          "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{" LABELS
          ",\"name\":\"a\"},\"spec\":{\"conversion\":{\"webhook\":{\"clientConfig\":{\"url\":\"u\"}}}},\"status\":{"
          "\"storedVersions\":[\"v1\"]}}\n"
          "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{" LABELS
          ",\"name\":\"b\"},\"spec\":{\"conversion\":{\"webhook\":{\"clientConfig\":{}}}}}\n"
          "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{" LABELS
          ",\"name\":\"c\"},\"spec\":{\"conversion\":{\"webhook\":{\"clientConfig\":{\"caBundle\":"
          "\"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==\"}}}}}\n" },
        { "the ports of init containers and the rules of roles stay as they are",
          { { "p.yaml",
              "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c, ports: [{containerPort: 1, "
              "protocol: UDP}]}]\n  initContainers: [{name: i, ports: [{containerPort: 2}]}]\n" },
            { "r.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\nrules: [{apiGroups: [''], "
                        "resourceNames: [], verbs: []}]\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{" LABELS
          ",\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,\"protocol\":\"UDP\"}],"
          "\"resources\":{}}],"
          "\"initContainers\":[{\"name\":\"i\",\"ports\":[{\"containerPort\":2}],\"resources\":{}}]}}\n"
          "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"Role\",\"metadata\":{" LABELS
          ",\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resourceNames\":[],\"verbs\":[]}]}\n" },
        { "what comes from a kustomization without resources says where it comes from",
          { { "kustomization.yaml",
              "configMapGenerator:\n- {name: g, literals: [x=y], options: {disableNameSuffixHash: true}}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"y\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{\"config.kubernetes."
          "io/"
          "origin\":\"configuredIn: kustomization.yaml\\nconfiguredBy:\\n  apiVersion: builtin\\n  kind: "
          "ConfigMapGenerator\\n\"}," LABELS ",\"name\":\"g\"}}\n" },
        { "a missing component may be ignored",
          { { "kustomization.yaml", "resources: [a.yaml]\n" },
            { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n" } },
          "{\"components\":[\"../gone\"],\"ignoreMissingComponents\":true}",
          CM("a", "\"x\":\"y\"") },
        { "a remote component is refused",
          { { "kustomization.yaml", "resources: [a.yaml]\n" } },
          "{\"components\":[\"https://example.com/c\"]}",
          "BuildFailed: component path 'https://example.com/c' must be local and relative" },
        { "a Secret's text is encoded, a status goes, nulls and empty lists of built-in kinds go",
          { { "s.yaml",
              "apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {}}\nstringData: {a: b}\ndata: {c: ZA==}\n" },
            { "d.yaml",
              "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: null\n  template:\n    spec:\n      "
              "containers: [{name: c, image: i, env: []}]\nstatus: {x: 1}\n" } },
          "{}",
          "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{" LABELS
          ",\"name\":\"d\"},\"spec\":{\"strategy\":{},\"template\":{\"metadata\":{},"
          "\"spec\":{\"containers\":[{\"image\":\"i\",\"name\":\"c\",\"resources\":{}}]}}}}\n"
          "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"Yg==\",\"c\":\"ZA==\"},\"kind\":\"Secret\",\"metadata\":{" LABELS
          ",\"name\":\"s\"}}\n" },
        { "zeros that a typed struct cannot tell from absence go, others stay, and so do those in maps of strings",
          { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: '', annotations: {host: ''}}\n"
                        "data: {path: '', stdin: '', host: ''}\nimmutable: false\n" },
            { "b.yaml", "apiVersion: example.com/v1\nkind: X\nmetadata: {name: b}\nspec: {hostNetwork: false, type: ''}\n" },
            { "c.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: c}\nspec:\n  hostNetwork: false\n  restartPolicy: ''\n"
                        "  automountServiceAccountToken: false\n  tolerations: [{key: '', operator: Exists}]\n"
                        "  containers:\n  - {name: c, image: i, tty: false, env: [{name: A, value: ''}], "
                        "livenessProbe: {initialDelaySeconds: 0, periodSeconds: 5}, volumeMounts: [{name: v, mountPath: /v, "
                        "readOnly: false}], securityContext: {privileged: false, runAsUser: 0}}\n" },
            { "d.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: d}\nspec: {type: '', ports: [{port: 80, nodePort: 0}, "
                        "{port: 81, targetPort: web}]}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"data\":{\"host\":\"\",\"path\":\"\",\"stdin\":\"\"},\"immutable\":false,\"kind\":"
          "\"ConfigMap\",\"metadata\":{\"annotations\":{\"host\":\"\"}," LABELS ",\"name\":\"a\"}}\n"
          "{\"apiVersion\":\"example.com/v1\",\"kind\":\"X\",\"metadata\":{" LABELS
          ",\"name\":\"b\"},\"spec\":{\"hostNetwork\":false,\"type\":\"\"}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{" LABELS
          ",\"name\":\"c\"},\"spec\":{\"automountServiceAccountToken\":false,\"containers\":[{\"env\":[{\"name\":\"A\"}],"
          "\"image\":\"i\",\"livenessProbe\":{\"periodSeconds\":5},\"name\":\"c\",\"resources\":{},\"securityContext\":"
          "{\"privileged\":false,\"runAsUser\":0},\"volumeMounts\":[{\"mountPath\":\"/v\",\"name\":\"v\"}]}],"
          "\"tolerations\":[{\"operator\":\"Exists\"}]}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{" LABELS
          ",\"name\":\"d\"},\"spec\":{\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"targetPort\":0},{\"port\":81,"
          "\"protocol\":\"TCP\",\"targetPort\":\"web\"}]}}\n" },
        { "a null in a map of texts or quantities is an empty text or 0, its key stays",
          { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: , y: ~}\n" },
            { "b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {x: }\ndata: {y: }\n" },
            { "c.yaml", "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: c}\nspec: {hard: {pods: }, scopes: }\n" },
            { "d.yaml", "apiVersion: example.com/v1\nkind: X\nmetadata: {name: d}\nspec: {limits: {x: ~}}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"\",\"y\":\"\"},\"kind\":\"ConfigMap\",\"metadata\":{" LABELS
          ",\"name\":\"a\"}}\n"
          "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"\",\"y\":\"\"},\"kind\":\"Secret\",\"metadata\":{" LABELS ",\"name\":\"b\"}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"ResourceQuota\",\"metadata\":{" LABELS
          ",\"name\":\"c\"},\"spec\":{\"hard\":{\"pods\":\"0\"}}}\n"
          "{\"apiVersion\":\"example.com/v1\",\"kind\":\"X\",\"metadata\":{" LABELS
          ",\"name\":\"d\"},\"spec\":{\"limits\":{\"x\":null}}}\n" },
        { "numbers and bools among a Secret's texts are left to the API server, which refuses them",
          { { "a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {x: 1, y: b}\n" },
            { "b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {x: true}\n" },
            { "c.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\nstringData: {x: '1', y: 2020-01-01}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" LABELS
          ",\"name\":\"a\"},\"stringData\":{\"x\":1,\"y\":\"b\"}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" LABELS ",\"name\":\"b\"},\"stringData\":{\"x\":true}}\n"
          "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"MQ==\",\"y\":\"MjAyMC0wMS0wMQ==\"},\"kind\":\"Secret\",\"metadata\":{" LABELS
          ",\"name\":\"c\"}}\n" },
        { "labels of which one is no text are not kept",
          { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {version: 1.0, x: y}}\n" },
            { "b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, labels: {version: '1.0'}}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{" LABELS ",\"name\":\"a\"}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\","
          "\"kustomize.toolkit.fluxcd.io/namespace\":\"ns\",\"version\":\"1.0\"},\"name\":\"b\"}}\n" },
        { "a kustomization file that is no YAML",
          { { "kustomization.yaml", "resources: [\n" } },
          "{}",
          "BuildFailed: error converting YAML to JSON: yaml: line 1: did not find expected node content" },
        { "a field of the wrong type in the file that is built",
          { { "kustomization.yaml", "resources: a.yaml\n" } },
          "{}",
          "BuildFailed: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go struct field "
          "Kustomization.resources of type []string" },
        { "a bool where the file that is built wants a text",
          { { "kustomization.yaml", "namespace: y\nresources: []\nimages: [{name: n}]\n" } },
          "{}",
          "" },
        { "a bool where a struct inside a struct wants a text",
          { { "kustomization.yaml", "configMapGenerator:\n- {name: n, literals: [a=b]}\n" } },
          "{}",
          "BuildFailed: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal bool into Go struct field "
          "ConfigMapArgs.configMapGenerator.GeneratorArgs.name of type string" },
        { "a number in a list of a struct inside a struct",
          { { "kustomization.yaml", "configMapGenerator:\n- {name: a, literals: [1]}\n" } },
          "{}",
          "BuildFailed: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal number into Go struct field "
          "ConfigMapArgs.configMapGenerator.GeneratorArgs.KvPairSources.literals of type string" },
        { "what the structs of built-in kinds always write, and what they cannot",
          { { "a.yaml",
              "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: c, ports: "
              "[{containerPort: 80, name: ''}], env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]}\n"
              "  volumes:\n  - {name: e, ephemeral: {volumeClaimTemplate: {spec: {}}}}\n"
              "  - {name: n, nfs: {server: s, path: /p, readOnly: false}}\n"
              "  - {name: i, csi: {driver: d, readOnly: false}}\n"
              "  - {name: w, downwardAPI: {items: [{path: p, resourceFieldRef: {resource: limits.cpu, divisor: 1m}}]}}\n" },
            { "b.yaml",
              "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {selector: {}, ports: [{name: '', port: 1}]}\n" },
            { "c.yaml", "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: c}\nrevision: 0\n" },
            { "d.yaml", "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: d}\nendpoints: [{addresses: [a]}]\n"
                        "ports: [{name: ''}]\n" },
            { "e.yaml", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: e}\nspec: {selector: {}}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{" LABELS
          ",\"name\":\"a\"},\"spec\":{\"containers\":[{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"resourceF"
          "ieldRef\":{\"divisor\":\"0\",\"resource\":\"limits.cpu\"}}}],\"name\":\"c\",\"ports\":[{\"conta"
          "inerPort\":80,\"protocol\":\"TCP\"}],\"resources\":{}}],\"volumes\":[{\"ephemeral\":{\"volumeCl"
          "aimTemplate\":{\"metadata\":{},\"spec\":{\"resources\":{}}}},\"name\":\"e\"},{\"name\":\"n\",\""
          "nfs\":{\"path\":\"/p\",\"server\":\"s\"}},{\"csi\":{\"driver\":\"d\",\"readOnly\":false},\"name"
          "\":\"i\"},{\"downwardAPI\":{\"items\":[{\"path\":\"p\",\"resourceFieldRef\":{\"divisor\":\"1m\""
          ",\"resource\":\"limits.cpu\"}}]},\"name\":\"w\"}]}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{" LABELS
          ",\"name\":\"b\"},\"spec\":{\"ports\":[{\"port\":1,\"protocol\":\"TCP\",\"targetPort\":0}]}}\n"
          "{\"apiVersion\":\"apps/v1\",\"kind\":\"ControllerRevision\",\"metadata\":{" LABELS ",\"name\":\"c\"},\"revision\":0}\n"
          "{\"apiVersion\":\"discovery.k8s.io/"
          "v1\",\"endpoints\":[{\"addresses\":[\"a\"],\"conditions\":{}}],\"kind\":\"EndpointSlice\",\"metadata\":{" LABELS
          ",\"name\":\"d\"},\"ports\":[{\"name\":\"\"}]}\n"
          "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{" LABELS
          ",\"name\":\"e\"},\"spec\":{\"selector\":{},\"serviceName\":\"\",\"template\":{\"metadata\":{},"
          "\"spec\":{}},\"updateStrategy\":{}}}\n" },
        { "zeros of a volume and of a class of priority",
          { { "v.yaml", "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: v}\n"
                        "spec: {storageClassName: '', csi: {driver: d, readOnly: false, volumeHandle: h}}\n" },
            { "w.yaml", "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: w}\n"
                        "spec: {storageClassName: s, csi: {driver: d, readOnly: true, volumeHandle: h}}\n" },
            { "x.yaml", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: x}\nspec: {storageClassName: ''}\n" },
            { "y.yaml", "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: y}\n" },
            { "z.yaml", "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: z}\nvalue: 7\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{" LABELS
          ",\"name\":\"v\"},\"spec\":{\"csi\":{\"driver\":\"d\",\"volumeHandle\":\"h\"}}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{" LABELS
          ",\"name\":\"w\"},\"spec\":{\"csi\":{\"driver\":\"d\",\"readOnly\":true,\"volumeHandle\":\"h\"},\"storageClassName\":"
          "\"s\"}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{" LABELS
          ",\"name\":\"x\"},\"spec\":{\"resources\":{},\"storageClassName\":\"\"}}\n"
          "{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{" LABELS
          ",\"name\":\"y\"},\"value\":0}\n"
          "{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{" LABELS
          ",\"name\":\"z\"},\"value\":7}\n" },
        { "what nobody wrote, of one kind for each group",
          { { "a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n" },
            { "b.yaml", "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: b}\nspec: {selector: {}}\n" },
            { "c.yaml", "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: c}\n" },
            { "d.yaml", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: d}\n" },
            { "e.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: e}\n" },
            { "f.yaml", "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: f}\n" } },
          "{}",
          "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{" LABELS ",\"name\":\"a\"},\"spec\":{}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"ReplicationController\",\"metadata\":{" LABELS ",\"name\":\"b\"},\"spec\":{}}\n"
          "{\"apiVersion\":\"v1\",\"kind\":\"PodTemplate\",\"metadata\":{" LABELS
          ",\"name\":\"c\"},\"template\":{\"metadata\":{},\"spec\":{}}}\n"
          "{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"metadata\":{" LABELS
          ",\"name\":\"d\"},\"spec\":{\"jobTemplate\":{\"metadata\":{},\"spec\":{\"template\":{\"metadata\":{},"
          "\"spec\":{}}}}}}\n"
          "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{" LABELS
          ",\"name\":\"e\"},\"spec\":{\"podSelector\":{}}}\n"
          "{\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\",\"metadata\":{" LABELS
          ",\"name\":\"f\"},\"spec\":{}}\n" },
        { "a path below the root, whatever it says",
          { { "etc/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n" } },
          "{\"path\":\"../../etc\"}",
          CM("a", "\"x\":\"y\"") },
        { "a path that is not there",
          { { "a.yaml", "" } },
          "{\"path\":\"./nope\"}",
          "ArtifactFailed: kustomization path not found: stat TREE/nope: no such file or directory" },
        { "a manifest that is none",
          { { "a.yaml", "kind: ConfigMap\nmetadata: {name: a}\n" }, { "x/.sops.yaml", "creation_rules: []\n" } },
          "{}",
          "BuildFailed: failed to decode Kubernetes YAML from TREE/x/.sops.yaml: missing Resource metadata" },
        { "a key twice",
          { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: y\n  x: z\n" } },
          "{}",
          "BuildFailed: kustomize build failed: map[string]interface {}(nil): yaml: unmarshal errors:\n  line 6: mapping key \"x\" "
          "already defined at line 5 (ConfigMap/a)" },
        { "a key that is no text",
          { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {1: y}\n" } },
          "{}",
          "BuildFailed: kustomize build failed: ConfigMap/a: json: unsupported type: map[interface {}]interface {}: the key '1' is "
          "not "
          "a string, put it in quotes" },
        { "an encrypted Secret is not applied",
          { { "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n}\ndata: {a: ZA==}\nsops: {mac: x}\n" } },
          "{}",
          "refused: Secret/n/s is SOPS encrypted, configuring decryption is required for this secret to be "
          "reconciled" },
        { "an encrypted Secret is applied if commonMetadata says so",
          { { "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n}\ndata: {a: ZA==}\nsops: {mac: x}\n" } },
          "{\"commonMetadata\":{\"annotations\":{\"kustomize.toolkit.fluxcd.io/decrypt\":\"Disabled\"}}}",
          "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"ZA==\"},\"kind\":\"Secret\",\"metadata\":{\"annotations\":{"
          "\"kustomize.toolkit.fluxcd.io/decrypt\":\"Disabled\"},\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"app\","
          "\"kustomize.toolkit.fluxcd.io/namespace\":\"ns\"},\"name\":\"s\",\"namespace\":\"n\"},\"sops\":{\"mac\":\"x\"}}\n" },
        { "an encrypted Secret is not applied if commonMetadata overrides what it says",
          { { "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n, annotations: "
                        "{kustomize.toolkit.fluxcd.io/decrypt: disabled}}\ndata: {a: ZA==}\nsops: {mac: x}\n" } },
          "{\"commonMetadata\":{\"annotations\":{\"kustomize.toolkit.fluxcd.io/decrypt\":\"enabled\"}}}",
          "refused: Secret/n/s is SOPS encrypted, configuring decryption is required for this secret to be "
          "reconciled" },
        { "a label says nothing about decryption",
          { { "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n}\ndata: {a: ZA==}\nsops: {mac: x}\n" } },
          "{\"commonMetadata\":{\"labels\":{\"kustomize.toolkit.fluxcd.io/decrypt\":\"disabled\"}}}",
          "refused: Secret/n/s is SOPS encrypted, configuring decryption is required for this secret to be "
          "reconciled" },
};

static void trees(void **state)
{
        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                build_text(cases[i].files, cases[i].spec, NULL, &text);
                if (strcmp(buffer_string(&text), cases[i].expected) != 0)
                        fail_msg("%s:\n got %s\nwant %s", cases[i].name, buffer_string(&text), cases[i].expected);
        }
}

static const struct file substituted[] = {
        { "a.yaml",
          "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '${name:=a}'}\ndata: {n: '${q}${id}${q}', literal: '$${x}'}\n" },
        { "b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, annotations: {kustomize.toolkit.fluxcd.io/substitute: "
                    "disabled}}\ndata: {n: '${id}'}\n" },
        { NULL, NULL },
};

static void variables_are_substituted(void **state)
{
        static const struct variable items[] = { { { "id", 2 }, { "123", 3 } }, { { "q", 1 }, { "\"", 1 } } };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        (void)state;
        build_text(substituted, "{}", &(struct variables){ items, COUNT(items), true }, &text);
        assert_string_equal(
                buffer_string(&text),
                CM("a", "\"literal\":\"${x}\",\"n\":\"123\"") "{\"apiVersion\":\"v1\",\"data\":{\"n\":\"${id}\"},\"kind\":"
                                                              "\"ConfigMap\",\"metadata\":{\"annotations\":"
                                                              "{\"kustomize.toolkit.fluxcd.io/substitute\":\"disabled\"}," LABELS
                                                              ",\"name\":\"b\"}}\n");
}

static void missing_variables_are_named(void **state)
{
        static const struct variable items[] = { { { "q", 1 }, { "\"", 1 } } };
        static const struct variable bad[] = { { { "a-b", 3 }, { "x", 1 } } };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        (void)state;
        build_text(substituted, "{}", &(struct variables){ items, COUNT(items), true }, &text);
        assert_string_equal(
                buffer_string(&text),
                "BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/${name:=a}': envsubst error: variable substitution "
                "failed: variable not set (strict mode): \"id\"");
        buffer_clear(&text);
        build_text(substituted, "{}", &(struct variables){ bad, COUNT(bad), true }, &text);
        assert_string_equal(
                buffer_string(&text),
                "BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/${name:=a}': envsubst error: 'a-b' var name is "
                "invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'");
}

static void what_json_cannot_say_is_an_error_of_the_substitution(void **state)
{
        static const struct file files[] = {
                { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: '${id}'}\n" },
                { NULL, NULL },
        };
        static const struct variable items[] = { { { "id", 2 }, { ".inf", 4 } } };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        (void)state;
        build_text(files, "{}", &(struct variables){ items, COUNT(items), true }, &text);
        assert_string_equal(buffer_string(&text), "BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: "
                                                  "YAMLToJSON: json: unsupported value: +Inf");
}

/* What substituteFrom could not read fails the first object that needs it, and only that; names are looked at where nothing is to be substituted too. */
static void unreadable_variables(void **state)
{
        static const struct {
                const char *name;
                struct file files[3];
                const char *unreadable, *expected;
        } rows[] = {
                { "the object is named",
                  { { "a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n" } },
                  "substitute from 'Secret/x' error: secrets \"x\" not found",
                  "BuildFailed: post build failed for 'Deployment.v1.apps/d': substitute from 'Secret/x' error: secrets \"x\" not "
                  "found" },
                { "an object that wants no substitution needs none",
                  { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: "
                                "{kustomize.toolkit.fluxcd.io/substitute: disabled}}\ndata: {}\n" },
                    { "kustomization.yaml", "resources: []\n" } },
                  "substitute from 'Secret/x' error: secrets \"x\" not found",
                  "" },
                { "a build that fails says so first",
                  { { "kustomization.yaml", "resources: [nope.yaml]\n" } },
                  "substitute from 'Secret/x' error: secrets \"x\" not found",
                  "BuildFailed: kustomize build failed: accumulating resources: accumulation err='accumulating resources from "
                  "'nope.yaml': open TREE/nope.yaml: no such file or directory': must build at directory: not a valid directory: "
                  "evalsymlink failure on 'TREE/nope.yaml' : lstat TREE/nope.yaml: no such file or directory" },
                { "an object that cannot be printed",
                  { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: y\n  x: z\n" } },
                  "substitute from 'Secret/x' error: secrets \"x\" not found",
                  "BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/a': yaml: unmarshal errors:\n  line 6: mapping key "
                  "\"x\" already defined at line 5" },
                { "an object that cannot be printed and wants no substitution",
                  { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: "
                                "{kustomize.toolkit.fluxcd.io/substitute: disabled}}\ndata:\n  x: y\n  x: z\n" } },
                  NULL,
                  "BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/a': yaml: unmarshal errors:\n  line 6: mapping key "
                  "\"x\" already defined at line 5" },
                { "a bad name",
                  { { "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n" } },
                  NULL,
                  "BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: 'a-b' var name is invalid, must "
                  "match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'" },
        };
        static const struct variable bad[] = { { { "a-b", 3 }, { "x", 1 } } };

        (void)state;
        for (size_t i = 0; i < COUNT(rows); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                build_with(rows[i].files, "{}", &(struct variables){ bad, COUNT(bad), true }, rows[i].unreadable, &text);
                if (strcmp(buffer_string(&text), rows[i].expected) != 0)
                        fail_msg("%s:\n got %s\nwant %s", rows[i].name, buffer_string(&text), rows[i].expected);
        }
}

/* "x" so many times, as the only value of a ConfigMap. */
static void build_map_of(size_t length, struct buffer *text)
{
        cleanup(buffer_release) struct buffer map = BUFFER_NULL;
        struct file files[] = { { "map.yaml", NULL }, { NULL, NULL } };

        buffer_add_string(&map, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: ");
        for (size_t i = 0; i < length; i++)
                buffer_add_char(&map, 'x');
        buffer_add_char(&map, '\n');
        files[0].text = buffer_string(&map);
        build_text(files, "{}", NULL, text);
}

/*
 * Eight share a half of 64 MiB, and one has the other: 1 MiB of output, and 8. A sanitizer takes more than that for itself, and says so in its own way.
 */
static void who_needs_more_is_built_alone(void **state)
{
        static const struct {
                const char *name;
                uint64_t budget;
                size_t length;
                const char *beginning;
        } rows[] = {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
                { "little", 64 << 20, 1000, "{\"apiVersion\"" },
                { "more than its share", 64 << 20, 2 << 20, "{\"apiVersion\"" },
                { "more than there is", 16 << 20, 4 << 20, "BuildFailed: " },
#endif
                { "much, without a limit", UINT64_MAX, 12 << 20, "{\"apiVersion\"" },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(rows); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                budget = rows[i].budget;
                build_map_of(rows[i].length, &text);
                if (strncmp(buffer_string(&text), rows[i].beginning, strlen(rows[i].beginning)) != 0)
                        fail_msg("%s: %.200s", rows[i].name, buffer_string(&text));
        }
        budget = UINT64_MAX;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(trees),
                cmocka_unit_test(variables_are_substituted),
                cmocka_unit_test(missing_variables_are_named),
                cmocka_unit_test(what_json_cannot_say_is_an_error_of_the_substitution),
                cmocka_unit_test(unreadable_variables),
                cmocka_unit_test(who_needs_more_is_built_alone),
        };
        struct error err = ERROR_NULL;

        if (!kernel_has_filters())
                return 0;
        if (job_server_start(substitute_prepare, &err) < 0) {
                fprintf(stderr, "%s\n", error_message(&err));
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
