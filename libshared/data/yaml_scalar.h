/*
 * yaml_scalar: what a YAML scalar is as JSON. For yaml.c.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>

/*
 * `tag` is the explicit one ("tag:yaml.org,2002:int"), NULL if there is none; a scalar without one is text unless it is plain. -1 with ERROR_INVALID
 * (without a line) if the text is not what the tag says, or if JSON has no such value.
 */
int yaml_scalar(struct view text, const char *tag, bool plain, struct json **ret_json, struct error *error);
