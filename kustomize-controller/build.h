/*
 * build: a Kustomization's manifests, from the unpacked artifact to the objects that are applied.
 *
 * Generates the kustomization file, builds it, substitutes variables and normalises the objects, in one sandboxed child that sees the artifact's
 * directory read-only and nothing else. What comes back is one mapping; an object is a view into it.
 */
#pragma once

#include "base/arena.h"
#include "base/context.h"
#include "base/error.h"
#include "base/job.h"
#include "data/digest.h"
#include "data/json.h"
#include "substitute.h"

struct build_request {
        int root;              /* directory descriptor of the unpacked artifact */
        const char *root_path; /* what messages say for it */
        struct view name;      /* of the Kustomization */
        struct view namespace;
        const struct json *spec;
        bool substitute;            /* spec.postBuild is there */
        bool substitute_always;     /* also without variables */
        struct variables variables; /* sorted by name */
        const char *unreadable;     /* why the variables could not be read: fails the first object that needs them; NULL */
        int64_t deadline_ms;        /* how long it may take */
        unsigned jobs;              /* how many of them may run at the same time; 0: only this one */
};

struct build_object {
        struct view api_version;
        struct view kind;
        struct view name;
        struct view namespace; /* empty: none */
        struct view payload;   /* compact JSON, keys sorted */
};

struct build_output {
        struct job_result result;     /* owns the bytes */
        struct view digest;           /* "sha256:<hex>" of the manifests as one YAML text: the key of status.history */
        struct view refused;          /* why these objects must not be applied; empty: they may */
        struct build_object *objects; /* in the arena */
        size_t count;
};

#define BUILD_OUTPUT_NULL ((struct build_output){ .count = 0 })

void build_output_release(struct build_output *output); /* for cleanup(build_output_release) */

/*
 * -1: the reason is ArtifactFailed (spec.path is not there: `kustomization path not found: ...`) or BuildFailed (everything else, also a child that was
 * killed); empty if ctx ended.
 */
int build_run(struct context *ctx, struct arena *arena, const struct build_request *request, struct build_output *ret_output,
              struct error *error);
