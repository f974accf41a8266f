/*
 * reader: YAML and JSON text into nodes.
 *
 * Aliases are expanded in place and merge keys (`<<`) resolved, so what comes out is a tree. Every limit is checked while reading: nesting,
 * number of nodes (after expansion), size of the text. Errors read as go-yaml's: "yaml: line N: <problem>".
 */
#pragma once

#include "base/error.h"
#include "engine/kustomize/scalar.h"

#define READER_DEPTH 512 /* the deepest nesting of any document */

/* What one build may still read; shared by all its files. */
struct reader_budget {
        uint64_t nodes;
        uint64_t bytes;
};

struct reader {
        struct arena *arena;
        struct reader_budget *budget; /* NULL: READER_NODES nodes for this text alone */
        uint32_t lines_before;        /* what the lines of nodes count from: lines in front of a text that is part of a file */
};

#define READER_NODES 20000000

struct node_array {
        struct node **items;
        size_t count;
};

/* The first document of the text; *ret_node is NULL if there is none or it is empty. Duplicate keys are kept (SCALAR_RESOURCES) or the last wins. */
int reader_document(const struct reader *reader, enum scalar_rules rules, struct view text, struct node **ret_node,
                    struct error *error);

/*
 * The objects of a file of resources: CRLF, document separators, List and ResourceList, kinds that end in List, null and empty documents,
 * and what every object must have, as kustomize-engine section 2 says.
 */
int reader_resources(const struct reader *reader, struct view text, struct node_array *ret_objects, struct error *error);

/* What each object must have: kind, and metadata.name unless the kind ends in List. -1, ERROR_INVALID: "missing kind in object ..." */
int reader_validate(const struct node *object, struct error *error);

/* Strict JSON, one value with nothing behind it. Numbers keep their text; duplicate keys: the last wins. */
int reader_json(const struct reader *reader, struct view text, struct node **ret_node, struct error *error);
