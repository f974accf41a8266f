/*
 * accumulator: what a kustomization has gathered so far: resources, the transformers' configuration, vars.
 */
#pragma once

#include "engine/kustomize/build.h"
#include "engine/kustomize/fieldspec.h"

/* Resources by a hash of one of their ids; the finder compares. */
struct id_slot {
        uint64_t hash;
        struct resource *resource; /* NULL: free */
};

struct id_table {
        struct id_slot *slots;
        size_t capacity; /* a power of two */
        size_t count;
};

struct variable {
        const char *name;
        const struct node *reference; /* objref */
        const char *field_path;
};

struct variable_list {
        struct variable *items;
        size_t count;
        size_t capacity;
};

struct accumulator {
        struct resource_list list;
        struct configuration *configuration; /* NULL: none merged yet; the build's defaults are copied before they are changed */
        struct variable_list variables;
        struct id_table current; /* by current id; valid while `indexed` */
        bool indexed;
        struct id_table any; /* by previous and current ids; valid while `any_indexed` */
        bool any_indexed;
};

/* The ids have changed, or the list has. */
void accumulator_touch(struct accumulator *accumulator);
/* -1: "may not add resource with an already registered id". */
int accumulator_add(struct build *build, struct accumulator *accumulator, struct resource *resource);
/* A generator's resource: created, merged into or put in the place of what is there, by its behaviour. */
int accumulator_absorb(struct build *build, struct accumulator *accumulator, struct resource *resource);
/* The resources that have the id now or had it before, in the list's order. */
struct resource_list accumulator_by_any_id(struct build *build, struct accumulator *accumulator, const struct resource_id *id);
/* The resource has another id now. -1 with the list of those that share it; `what` begins the text. */
int accumulator_reindex(struct build *build, struct accumulator *accumulator, struct resource *resource, const char *what);
void accumulator_drop_empty(struct accumulator *accumulator);
int accumulator_configure(struct build *build, struct accumulator *accumulator, const struct configuration *configuration);
/* Appends the resources, configuration and vars of a base. */
int accumulator_merge(struct build *build, struct accumulator *accumulator, struct accumulator *base);
