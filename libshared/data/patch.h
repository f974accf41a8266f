/*
 * patch: what changed between two JSON trees, and changing one: JSON merge patch (RFC 7386) and JSON patch (RFC 6902).
 */
#pragma once

#include "base/error.h"
#include "data/json.h"

/* More operations than this, as the API server, and copies of more bytes than that, are ERROR_TOO_LARGE. */
#define PATCH_OPERATIONS_LIMIT 10000
#define PATCH_COPY_LIMIT       ((size_t)64 << 20)

/*
 * The merge patch that makes `after` of `before`; NULL if there is nothing to send. A null member of `after` counts as absent, because a merge
 * patch has no other way to say it; a list is replaced whole. The caller owns the patch; the inputs stay as they are.
 */
struct json *patch_merge_create(const struct json *before, const struct json *after);

/* Applies a merge patch. `target` is taken over and the result is the caller's; `patch` stays as it is. NULL as target is the empty one. */
struct json *patch_merge_apply(struct json *target, const struct json *patch);

/*
 * Applies a JSON patch (a list of operations) in order; all of it or nothing: on failure the document is as it was.
 *
 *  0
 * -1  ERROR_INVALID for what is no patch and for a `test` that does not hold, ERROR_NOT_FOUND for a path with nothing there, ERROR_TOO_LARGE
 *     for the limits above. The message begins "operation N (op path): ".
 */
int patch_json_apply(struct json **document, const struct json *operations, struct error *error);
