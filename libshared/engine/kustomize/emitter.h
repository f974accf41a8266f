/*
 * emitter: nodes into the YAML that kustomize writes (sigs.k8s.io/yaml), byte for byte, and into Go's JSON.
 *
 * Keys are sorted (in YAML by kustomize's natural order, in JSON bytewise), styles of the source are forgotten, strings are quoted where
 * their text asks for it.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "engine/kustomize/node.h"

enum emit_flags {
        EMIT_UNFOLDED = 1 << 0,    /* YAML: no line breaks inside plain and quoted strings */
        EMIT_IN_ORDER = 1 << 2,    /* YAML: keys as they stand, scalars in the style of their source; for texts inside texts */
        EMIT_HTML_ESCAPE = 1 << 1, /* JSON: <, >, & as \u003c, \u003e, \u0026 (as encoding/json does unless told) */
};

/*
 * Appends one document as block YAML, ended by a line break.
 * -1, ERROR_INVALID: a duplicate key, a key that is no string below the top, a control character, an infinite number. What was appended
 * until then stays in the buffer.
 */
int emit_yaml(struct buffer *buffer, struct arena *arena, const struct node *node, unsigned flags, struct error *error);

/* Appends compact JSON, keys sorted bytewise. Fails as emit_yaml. */
int emit_json(struct buffer *buffer, struct arena *arena, const struct node *node, unsigned flags, struct error *error);

/* Appends `text` with quotes as encoding/json writes it. U+2028 and U+2029 are always escaped. */
void emit_json_string(struct buffer *buffer, struct view text, unsigned flags);

/*
 * A copy as it reads after a trip through JSON: types fixed, styles and duplicate spellings of numbers gone, keys sorted. Fails as emit_yaml.
 * The two PATCH modes make every number a double, as a JSON patch does to the object (9007199254740993 becomes ...992). Only the top level of
 * an OBJECT may have keys that are no strings.
 */
enum normalize {
        NORMALIZE_OBJECT,
        NORMALIZE_NESTED,
        NORMALIZE_PATCHED_OBJECT,
        NORMALIZE_PATCH,
};
int node_normalize(struct arena *arena, const struct node *node, enum normalize mode, struct node **ret_node, struct error *error);
