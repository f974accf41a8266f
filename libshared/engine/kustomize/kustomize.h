/*
 * kustomize: build an overlay into the list of resources that `kustomize build` 5.8.1 prints.
 *
 * A pure function of files: no network, no processes, no state between builds. It is meant for a sandboxed child: what a repository can make
 * large is limited by struct kustomize_limits, and what is left (memory) by the child's own limit.
 *
 * Remote resources, helm charts, external plugins and functions are refused with an error (ERROR_UNSUPPORTED) that names the field.
 * Messages of other failures are those of the reference, so that a search for them finds its answers.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "engine/kustomize/emitter.h"
#include "engine/kustomize/node.h"
#include "engine/kustomize/reader.h"

/* A file that exists only for this build, in place of what the disk has at that path. */
struct kustomize_file {
        const char *path; /* relative to the tree's root, normalised: "clusters/production/kustomization.yaml" */
        struct view text;
};

/*
 * The files that a build may see. Every path, with symbolic links resolved, must end in or below `root`; what leaves it fails with
 * `fs-security-constraint ...`.
 */
struct kustomize_tree {
        int root;              /* directory descriptor, borrowed */
        const char *root_path; /* what error texts say for the root: an absolute path; "" if the root is "/" itself */
        const struct kustomize_file *files;
        size_t file_count;
};

enum kustomize_order {
        KUSTOMIZE_ORDER_LEGACY, /* by kind, as the command line sorts unless told */
        KUSTOMIZE_ORDER_FIFO,   /* as accumulated: what the controller applies, and `--reorder none` */
};

enum kustomize_restriction {
        KUSTOMIZE_ROOT_ONLY, /* a file must be in or below the directory of the kustomization that names it */
        KUSTOMIZE_NONE,      /* anywhere in the tree */
};

/* Whose output a build prints. */
enum kustomize_compat {
        KUSTOMIZE_COMPAT_5_8_1,
        /*
         * What the reference is to print after 5.8.1 (its main branch of August 2026): labels have includeVolumeClaimTemplates and
         * includeTemplates leaves these alone, images match digests of any algorithm and nothing by an invalid expression, directories
         * with `..` inside a name are refused, replacements inside JSON or YAML texts honour the delimiter, and
         * ValidatingAdmissionPolicy and its binding have no namespace.
         */
        KUSTOMIZE_COMPAT_NEXT,
};

/* 0 in a field: the default in brackets. */
struct kustomize_limits {
        uint64_t nodes;        /* YAML nodes read, aliases expanded [10 million] */
        uint64_t bytes;        /* bytes of all files read [512 MiB] */
        uint64_t file_bytes;   /* bytes of one file [128 MiB] */
        uint64_t memory_bytes; /* of the arena, looked at between steps [2 GiB] */
        unsigned depth;        /* kustomizations above each other [256] */
};

struct kustomize_options {
        enum kustomize_order order; /* sortOptions of the top file has the last word */
        bool order_given;           /* by a person, who is told that it has */
        enum kustomize_restriction restriction;
        enum kustomize_compat compat;
        bool managed_by_label;
        bool lenient_root; /* the directory's own kustomization: unknown fields dropped, numbers and bools read as strings */
        bool openapi_adds; /* openapi.path adds to the built-in schema; else it replaces it */
        struct kustomize_limits limits;
        const char *called; /* what a person called the directory, for texts about it; NULL: its absolute path */
        /* A line for people ("# Warning: ..."); may be NULL. */
        void (*warn)(void *user, const char *line);
        void *user;
};

struct kustomize_resource {
        struct view api_version;
        struct view kind;
        struct view name;
        struct view namespace;           /* empty if it has none */
        struct view effective_namespace; /* "default" for none; empty if the kind is known to be cluster-scoped */
        struct node *node;               /* finished: internal annotations removed, annotation values are strings */
};

struct kustomize_output {
        struct kustomize_resource *resources; /* in order */
        size_t count;
};

/*
 * Builds `directory` (relative to the tree's root, "." for the root itself). Resources live in `arena`.
 *
 *  0   done; no resources is no error
 *  -1  ERROR_INVALID what the repository says is wrong; ERROR_UNSUPPORTED a field that is refused by name; ERROR_TOO_LARGE a limit;
 *      ERROR_FORBIDDEN a path leaves the tree; ERROR_INTERNAL the system
 */
int kustomize_build(struct arena *arena, const struct kustomize_tree *tree, const char *directory,
                    const struct kustomize_options *options, struct kustomize_output *ret_output, struct error *error);

/* One object as YAML. -1: it cannot be printed; the text names it. */
int kustomize_emit_object(struct buffer *buffer, struct arena *arena, const struct node *object, struct error *error);
/* All resources as one YAML text, joined by "---\n": what `kustomize build` prints. */
int kustomize_emit(struct buffer *buffer, struct arena *arena, const struct kustomize_output *output, struct error *error);

/*
 * The subcommand `build DIR [-o FILE|DIR] [--reorder legacy|none] [--load-restrictor LoadRestrictionsRootOnly|LoadRestrictionsNone]
 * [--enable-managedby-label] [--compat 5.8.1|next]` and `--help`: arguments without the word build, read and refused as the reference does. Prints to
 * standard output; failures and warnings to standard error.
 * Returns the exit status. Where the fork server runs (base/job.h) the build is a sandboxed job, as in the controller.
 */
int kustomize_command(int argument_count, char **arguments);
