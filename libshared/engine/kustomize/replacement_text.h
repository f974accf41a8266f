/*
 * replacement_text: replacements inside a scalar whose text is JSON or YAML itself.
 */
#pragma once

#include "engine/kustomize/replacement_path.h"

/*
 * If a prefix of the path leads to a scalar that parses, and the rest of it to something inside, sets the value there and writes the text anew.
 * 1: done. 0: the path is no such one. -1: a limit.
 */
int replacement_text_set(struct build *build, struct node *object, struct path_pieces path, const struct node *value,
                         enum path_create create);
