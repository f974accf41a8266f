/*
 * build: what all parts of one build share. Private to this room.
 */
#pragma once

#include "engine/kustomize/kustomize.h"
#include "engine/kustomize/resource.h"
#include "engine/kustomize/schema.h"

struct configuration;

struct build {
        struct arena *arena;
        const struct kustomize_tree *tree;
        const struct kustomize_options *options;
        struct kustomize_limits limits; /* defaults filled in */
        struct reader_budget budget;
        struct reader reader;
        struct identity identity;
        struct configuration *defaults; /* of the transformers; NULL until used */
        bool schema_used;               /* the built-in schema has been looked at: openapi.path only adds to it from then on */
        bool schema_set;                /* an openapi field has been seen: the first one stays */
        bool metadata;                  /* buildMetadata of the top file: origins are kept */
        const struct node *merging;     /* the object that a strategic merge changes, for warnings */
        uint64_t compared;              /* pairs of elements in all strategic merges */
        struct error *error;            /* where every function of this build reports */
};

/* Whether to print what comes after 5.8.1. */
static inline bool build_next(const struct build *build)
{
        return build->options->compat == KUSTOMIZE_COMPAT_NEXT;
}

/* Looks at the memory limit; called between steps. */
int build_check(struct build *build);
/* Passes a line to the caller's warn function. */
void build_warn(struct build *build, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));
/* -1, ERROR_INVALID: a node of another kind was expected here. Shows the node, as kyaml does. */
int build_wrong_kind(struct build *build, enum node_kind expected, const struct node *node);
#if defined(__clang_analyzer__) && !defined(BUILD_IMPLEMENTATION)
#define build_wrong_kind(...) (build_wrong_kind(__VA_ARGS__), -1)
#endif

/* tree.c: paths are relative to the tree's root, canonical, without leading or trailing slash; "" is the root. */

/* The absolute path that texts show. */
char *tree_display(struct build *build, const char *path);
/* Reads a file named by the kustomization in `directory`, under the build's restriction. */
int tree_read(struct build *build, const char *directory, const char *path, struct view *ret_text);
/* Resolves the directory `path` as seen from `directory`. Texts call it `called`, or show where it is if that is NULL. */
int tree_directory(struct build *build, const char *directory, const char *path, const char *called, const char **ret_directory);
/* Reads directory/name if it is there: 0 read, 1 absent. Any other failure counts as absent, as in the reference. */
int tree_probe(struct build *build, const char *directory, const char *name, struct view *ret_text);
/* A URL or something that the reference would clone. */
bool tree_is_remote(const char *path);
