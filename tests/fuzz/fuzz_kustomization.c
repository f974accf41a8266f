/* A kustomization file over a tree that stays: a resource, a base, a component, patches, sources of generators. */
#include "kustomize.h"

#define HEAD "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"

static const struct kustomize_file tree[] = {
        { "kustomization.yaml", VIEW_NULL },
        { "a.yaml",
          VIEW(HEAD "spec: {replicas: 1, template: {spec: {containers: [{name: c, image: 'nginx:1', args: [$(V)]}]}}}\n") },
        { "p.yaml", VIEW(HEAD "spec: {template: {spec: {containers: [{name: c, env: [{name: A, value: b}]}]}}}\n") },
        { "j.yaml", VIEW("- {op: add, path: /metadata/annotations/a, value: b}\n") },
        { "r.yaml",
          VIEW("- source: {kind: Deployment}\n  targets: [{select: {kind: Deployment}, fieldPaths: [metadata.name]}]\n") },
        { "t.yaml", VIEW("apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: t}\nlabels: {a: b}\nfieldSpecs: [{path: "
                         "metadata/labels, create: true}]\n") },
        { "s.env", VIEW("A=b\nC\n") },
        { "b/kustomization.yaml", VIEW("configMapGenerator: [{name: c, literals: [a=b]}]\n") },
        { "c/kustomization.yaml", VIEW("kind: Component\nnamePrefix: c-\n") },
};
#define COUNT (sizeof(tree) / sizeof(tree[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct kustomize_file files[COUNT];

        for (size_t i = 0; i < COUNT; i++)
                files[i] = tree[i];
        files[0].text = (struct view){ (const char *)data, size };
        check_build(files, COUNT);
        return 0;
}
