/*
 * merge: kustomize's strategic merge of a patch into an object (kustomize-engine section 13.2), with its quirks.
 */
#pragma once

#include "engine/kustomize/build.h"

/*
 * Merges into *object; nodes of the patch become part of it, and the patch is changed. *ret_deleted: the patch asked for the object's end.
 */
int merge_patch(struct build *build, struct node *object, struct node *patch, bool *ret_deleted);
