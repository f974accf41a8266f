/*
 * selector: the `target` of a patch and the `select` of a replacement.
 */
#pragma once

#include "engine/kustomize/accumulator.h"
#include "engine/kustomize/regex.h"

struct selector {
        struct build *build;
        struct regex *group;
        struct regex *version;
        struct regex *kind;
        struct regex *name;
        struct regex *namespace;
        const struct node *labels; /* requirements, parsed */
        const struct node *annotations;
};

/* `config` has group, version, kind, name, namespace, labelSelector, annotationSelector, each maybe absent. */
int selector_open(struct build *build, const struct node *config, struct selector *ret);
void selector_close(struct selector *selector); /* for cleanup(selector_close) */

/* Outcome 1: it matches, 0: it does not. An absent pattern matches anything. */
int selector_matches_text(const struct selector *selector, const struct regex *pattern, struct view text);
int selector_matches_gvk(const struct selector *selector, const struct gvk *gvk);
int selector_matches_metadata(const struct selector *selector, const struct resource *resource);
/* As `target` means it: name and effective namespace of the original or current id, current gvk. */
int selector_matches(const struct selector *selector, const struct resource *resource);
