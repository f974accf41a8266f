/*
 * normalize: a built object in the form in which it is applied.
 *
 * The Go controllers send built-in kinds through their typed structs, which is visible in what a field manager owns afterwards: structs that are always
 * written (`strategy: {}`), values that never are (nulls, empty lists, `hostNetwork: false`, `status`). The same is done here by rule, for the same kinds.
 */
#pragma once

#include "base/error.h"
#include "engine/kustomize/node.h"

/* What is applied carries these. */
#define LABEL_OWNER_NAME      "kustomize.toolkit.fluxcd.io/name"
#define LABEL_OWNER_NAMESPACE "kustomize.toolkit.fluxcd.io/namespace"

struct normalize_owner {
        struct view name; /* of the Kustomization */
        struct view namespace;
        const struct node *common_metadata; /* spec.commonMetadata or NULL; its labels win over the owner's too */
};

/* Of an object that is to be applied: it has kind and name and is no kustomization file. */
bool normalize_wanted(const struct node *object);

/*
 * In place: owner labels; Secret stringData into data; protocol TCP where a port of a container or Service has none; structs, divisors and targets of ports
 * that are always there; nulls (in a map of texts: "", of quantities: 0), empty lists and zeros of built-in kinds; status (kept for CustomResourceDefinitions);
 * a conversion caBundle that is no certificate; common metadata.
 * -1: labels or annotations that are no maps.
 */
int normalize_object(struct arena *arena, const struct normalize_owner *owner, struct node *object, struct error *error);
