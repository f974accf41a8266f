/*
 * image: one entry of `images`, applied to image references.
 */
#pragma once

#include "data/regex.h"
#include "engine/kustomize/build.h"

struct image_change {
        struct build *build;
        const struct node *config; /* name, newName, newTag, tagSuffix, digest */
        struct regex *pattern;     /* NULL: the name is an invalid expression, and matches nothing */
};

int image_open(struct build *build, const struct node *config, struct image_change *ret);
void image_close(struct image_change *change);
/* Changes the scalar if its text is a reference to the entry's name. */
int image_apply(struct image_change *change, struct node *node);
