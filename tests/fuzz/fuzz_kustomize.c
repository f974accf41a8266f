/* A tree of three files, divided by lines of "%%": kustomization.yaml, a.yaml, p.yaml. */
#include "kustomize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct kustomize_file files[3] = { { "kustomization.yaml", VIEW_NULL }, { "a.yaml", VIEW_NULL }, { "p.yaml", VIEW_NULL } };

        split(data, size, files, 3);
        check_build(files, 3);
        return 0;
}
