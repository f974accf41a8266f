/*
 * replacement_text: replacements inside a scalar whose text is JSON or YAML itself.
 */
#pragma once

#include "engine/kustomize/fieldspec.h"
#include "engine/kustomize/replacement_path.h"

/*
 * If a prefix of the path leads to a scalar that parses, and the rest of it to something inside, calls `set` for what is there and writes the
 * text anew. 1: done. 0: the path is no such one, or cannot be set. -1: a limit.
 */
int replacement_text_set(struct build *build, struct node *object, struct path_pieces path, enum path_create create,
                         field_function *set, void *user);
