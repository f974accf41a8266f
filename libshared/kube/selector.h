/*
 * selector: label selectors, as kubectl -l reads them.
 *
 * `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, `k`, `!k`, joined by commas; an absent key satisfies != and notin. The same words select
 * by annotations.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#include <stdbool.h>

struct selector;

/* "" selects everything. -1, ERROR_INVALID: `unable to parse requirement: ...`. */
int selector_parse(struct view text, struct selector **ret_selector, struct error *error);
void selector_free(struct selector **selector); /* for cleanup; NULL is fine */
/* `labels` is an object of strings; absent has none. A NULL selector selects everything. */
bool selector_matches(const struct selector *selector, const struct json *labels);
