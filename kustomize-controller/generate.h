/*
 * generate: the kustomization file that a Kustomization builds: the one of the directory, or one made from what lies there, with the fields of
 * spec merged in (targetNamespace, namePrefix, nameSuffix, patches, components, images, buildMetadata).
 *
 * Nothing is written to disk: the result replaces the file for one build.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "engine/kustomize/node.h"

struct generate_input {
        int root;                /* the tree's root directory */
        const char *root_path;   /* what messages say for it */
        const char *directory;   /* relative to the root, normalised; "." for the root */
        const struct node *spec; /* of the Kustomization */
};

/*
 * *ret_path is the file's path relative to the root, *ret_text its text; both live in the arena.
 * -1, ERROR_INVALID: `failed to decode Kubernetes YAML from <file>: <cause>`, `component path '<c>' must be local and relative`, or a file that does not parse.
 */
int generate_kustomization(struct arena *arena, const struct generate_input *input, const char **ret_path, struct view *ret_text,
                           struct error *error);
