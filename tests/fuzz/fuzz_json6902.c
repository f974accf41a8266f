/* Resources and JSON patch operations on each of them, divided by a line of "%%". */
#include "kustomize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct kustomize_file files[3] = { { "a.yaml", VIEW_NULL }, { "p.yaml", VIEW_NULL }, { "kustomization.yaml", VIEW_NULL } };

        split(data, size, files, 2);
        files[2].text = VIEW("resources: [a.yaml]\npatchesJson6902: [{path: p.yaml, target: {name: .*}}]\n");
        check_build(files, 3);
        return 0;
}
