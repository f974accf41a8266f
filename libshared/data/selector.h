/*
 * selector: Kubernetes label selectors: "app=web,tier in (a, b),!legacy,release!=old,size>3".
 *
 * Requirements are joined by commas and all must hold. "!=" and "notin" hold for a label that is absent; ">" and "<" compare integers. The empty
 * selector matches everything.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

struct selector;

/* ERROR_INVALID "unable to parse requirement: ..." in the words of the API server. */
int selector_parse(struct view text, struct selector **ret_selector, struct error *error);
void selector_free(struct selector **selector); /* for cleanup(selector_free) */

/* Where labels come from: the value of one, true if it is there. `labels` is what selector_matches was given. */
typedef bool selector_label(const void *labels, const char *key, struct view *ret_value);

bool selector_matches(const struct selector *selector, selector_label *label, const void *labels);
