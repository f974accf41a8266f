/*
 * scalar: what a plain YAML text means, and how a number is written.
 *
 * Two readings (kustomize-engine, R11 and R12): resources are read by YAML 1.2 with octal, underscores and timestamps; kustomization files,
 * and the question whether a text must be quoted, also know yes, no, on, off, y and n as booleans.
 */
#pragma once

#include "base/error.h"
#include "engine/kustomize/node.h"

enum scalar_rules {
        SCALAR_RESOURCES,     /* R12 */
        SCALAR_CONFIGURATION, /* R11 */
};

/* The tag of a plain scalar with this text: string, integer, float, bool, null or timestamp. */
enum node_tag scalar_resolve(enum scalar_rules rules, struct view text);

enum value_kind {
        VALUE_NULL,
        VALUE_BOOL,
        VALUE_SIGNED,
        VALUE_UNSIGNED, /* above INT64_MAX */
        VALUE_FLOAT,
        VALUE_STRING,
};

/* A scalar with its final type. */
struct value {
        enum value_kind kind;
        bool boolean;
        int64_t integer;
        uint64_t large;
        double real;
        struct view string; /* borrowed from the node or the arena */
};

/*
 * The final value of a scalar node: tag, style and text put together (timestamps become RFC 3339 strings, binary its bytes).
 * `flow`: it stands inside a flow collection. There the reference, which writes resources out and reads them back, turns a null without text into
 * "", and leaves a timestamp with a colon as it is.
 * -1, ERROR_INVALID: the text cannot be what the tag says.
 */
int scalar_value(struct arena *arena, const struct node *node, bool flow, struct value *ret_value, struct error *error);

/* -1, ERROR_INVALID: infinite, or no number: JSON has none of these. */
int scalar_check_finite(double value, struct error *error);
/* Digits as Go's encoding/json writes them (shortest that reads back, exponent outside 1e-6..1e21). */
#define NUMBER_TEXT 32
char *scalar_print_json_float(double value, char text[NUMBER_TEXT]);
/* Go's strconv 'g' format with the shortest digits: exponent form below 1e-4 and from 1e6. */
char *scalar_print_general_float(double value, char text[NUMBER_TEXT]);
/* Digits as kustomize's YAML shows a float: an integer if it is one that fits 64 bits, else %g with the shortest digits. */
char *scalar_print_yaml_float(double value, char text[NUMBER_TEXT]);
/* The value of a text that resolves as a number. */
int scalar_parse_integer(struct view text, struct value *ret_value);
int scalar_parse_float(struct view text, double *ret_value);
/* `[-+]?digits(:[0-5]?digit)+...`: a YAML 1.1 base 60 number, which is written in quotes. */
bool scalar_is_base60(struct view text);
