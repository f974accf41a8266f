/*
 * selector: Kubernetes label selectors: "app=web,tier in (a, b),!legacy,release!=old,size>3".
 *
 * Requirements are joined by commas and all must hold. "!=" and "notin" hold for a label that is absent; ">" and "<" compare integers. The empty
 * selector matches everything.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>

struct selector;

/* ERROR_INVALID "unable to parse requirement: ..." in the words of the API server. */
int selector_parse(struct view text, struct selector **ret_selector, struct error *error);
void selector_free(struct selector **selector); /* for cleanup(selector_free) */

/* `labels` is an object of strings: metadata.labels, or metadata.annotations. Absent is the empty one. */
bool selector_matches(const struct selector *selector, const struct json *labels);
