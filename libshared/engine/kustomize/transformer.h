/*
 * transformer: one step that changes the accumulated resources.
 *
 * All steps of a kustomization are configured first (files read, patches parsed), then run in order; so a broken patch file fails before
 * anything is changed, as in the reference.
 */
#pragma once

#include "engine/kustomize/accumulator.h"

struct transformer;
typedef int transformer_function(struct build *build, struct accumulator *accumulator, struct transformer *transformer);

enum subjects_mode {
        SUBJECTS_DEFAULT, /* those named "default" */
        SUBJECTS_SERVICE_ACCOUNTS,
        SUBJECTS_NONE,
};

struct transformer {
        const char *kind; /* "LabelTransformer" */
        transformer_function *run;
        struct spec_list specs;
        struct view text;          /* namespace, prefix or suffix */
        const struct node *config; /* labels, annotations, an image, a replica, replacements, the target of a patch */
        bool unset_only;
        enum subjects_mode subjects;
        struct node_array patches;     /* strategic merge */
        const struct node *operations; /* JSON patch */
        const char *source;            /* of a patch, for texts */
        bool push_history;             /* a JSON patch of `patches` */
        const char *origin;            /* YAML of the transformer's origin; NULL: not kept */
};

struct transformer_list {
        struct transformer **items;
        size_t count;
        size_t capacity;
};

struct transformer *transformer_add(struct build *build, struct transformer_list *list, const char *kind,
                                    transformer_function *run);

/* The simple ones (transform.c). */
transformer_function transform_namespace, transform_prefix, transform_suffix, transform_labels, transform_annotations,
        transform_replicas, transform_image, transform_hash;

/*
 * Patches (patch.c). `config` has the canonical form of an entry of `patches` and the like; files are read relative to `directory`.
 */
int transformer_add_patch(struct build *build, const char *directory, const struct node *config, struct transformer_list *list);
int transformer_add_merge(struct build *build, const char *directory, const struct node *paths, struct view patches,
                          struct transformer_list *list);
int transformer_add_json6902(struct build *build, const char *directory, const struct node *config, struct view patch,
                             struct transformer_list *list);
/* Replacements (replacement.c). */
int transformer_add_replacements(struct build *build, const char *directory, const struct node *replacements,
                                 struct transformer_list *list);

/* ValueAddTransformer (value_add.c). */
int transformer_add_value(struct build *build, const char *directory, const struct node *config, struct transformer_list *list);
