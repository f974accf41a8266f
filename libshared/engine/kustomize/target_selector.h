/*
 * target_selector: the `target` of a patch and the `select` of a replacement.
 */
#pragma once

#include "data/regex.h"
#include "data/selector.h"
#include "engine/kustomize/accumulator.h"

struct target_selector {
        struct build *build;
        struct regex *group; /* an absent pattern matches anything */
        struct regex *version;
        struct regex *kind;
        struct regex *name;
        struct regex *namespace;
        struct selector *labels; /* NULL: all */
        struct selector *annotations;
};

/* `config` has group, version, kind, name, namespace, labelSelector, annotationSelector, each maybe absent. */
int target_selector_open(struct build *build, const struct node *config, struct target_selector *ret);
/* The configuration as texts show it: "Kind.version.group/name.namespace:a=annotations:l=labels". */
const char *target_selector_text(struct build *build, const struct node *config);
void target_selector_close(struct target_selector *selector); /* for cleanup(target_selector_close) */

/* Each 1: it matches, 0: it does not, -1: an expression takes too many steps. */

/* As `target` means it: name and effective namespace of the original or current id, current gvk, labels, annotations. */
int target_selector_matches(const struct target_selector *selector, const struct resource *resource);
/* As a replacement's `select` means it: gvk, name and written namespace of one id. */
int target_selector_matches_id(const struct target_selector *selector, const struct resource_id *id);
int target_selector_matches_metadata(const struct target_selector *selector, const struct resource *resource);
/* It says something about the id; about labels or annotations. */
bool target_selector_has_id(const struct target_selector *selector);
bool target_selector_has_metadata(const struct target_selector *selector);
