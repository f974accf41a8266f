/*
 * target: one kustomization being accumulated: its file, its directory, those above it.
 */
#pragma once

#include "engine/kustomize/accumulator.h"
#include "engine/kustomize/kustomization.h"
#include "engine/kustomize/transformer.h"

struct target {
        struct kustomization kustomization;
        const char *directory;       /* canonical, from the tree's root */
        const struct target *parent; /* whose resources or components name this one */
        unsigned depth;
        const char *origin; /* the directory as seen from the top one: "", "../base" */
};

/* Reads the kustomization file of target->directory and takes its openapi field. */
int target_load(struct build *build, struct target *target);
/* Runs the kustomization's steps on the accumulator. */
int target_accumulate(struct build *build, struct target *target, struct accumulator *accumulator);
/* Accumulates a list of paths, as `resources` does. */
int target_resources(struct build *build, struct target *target, struct accumulator *accumulator, const struct node *paths);
/* Configures and runs the transformers (target_transform.c), and the validators. */
int target_transform(struct build *build, struct target *target, struct accumulator *accumulator);
int target_validate(struct build *build, struct target *target, struct accumulator *accumulator);
/* Runs the generators, built-in fields and files. */
int target_generate(struct build *build, struct target *target, struct accumulator *accumulator);

/* The YAML of an origin: a path, or what a field of the kustomization makes. NULL if the build does not keep origins. */
const char *target_origin_path(struct build *build, const struct target *target, const char *path);
const char *target_origin_builtin(struct build *build, const struct target *target, const char *kind);
