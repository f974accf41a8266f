/*
 * kustomization: a kustomization file, decoded.
 *
 * Decoding is strict as encoding/json with DisallowUnknownFields: an unknown field or a wrong type anywhere is an error; key names match in any
 * case. What comes out is the node tree itself in canonical form (names as in the table, nulls gone, types as the table says), so a field is
 * read with node_get_of. Deprecated spellings (bases, imageTags, env) are merged into their successors.
 */
#pragma once

#include "engine/kustomize/build.h"

enum kustomization_shape {
        SHAPE_KUSTOMIZATION,
        SHAPE_REPLACEMENT,
        SHAPE_CONFIGURATION, /* a file of field specs */
        SHAPE_VALUE_ADD,     /* a file of ValueAddTransformer's targets */
};

struct kustomization {
        struct node *fields;
        const char *file; /* its name in the directory */
        bool component;
};

/* Finds and decodes the kustomization file of a directory. */
int kustomization_load(struct build *build, const char *directory, bool top, struct kustomization *ret);

/* Checks a node against a shape and makes it canonical. `what` begins the error text: "invalid Kustomization". */
int kustomization_check(struct build *build, enum kustomization_shape shape, struct node *node, bool lenient, const char *what);

/* The fields of a plugin configuration of that kind ("LabelTransformer"); -1 too if there is no such plugin. */
int kustomization_check_plugin(struct build *build, const char *kind, struct node *node);

/* What encoding/json calls the node in its errors: "object", "array", "string", "number", "bool". */
const char *kustomization_json_type(const struct node *node);
