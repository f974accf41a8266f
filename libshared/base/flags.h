/*
 * flags: command lines as the Go controllers take them (`--name=value`, `--name value`, `--switch`, `--switch=false`).
 *
 * A program describes its flags as a table; each row points at the variable that takes the value. A default may come from the environment.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum flag_type {
        FLAG_STRING,   /* const char *  */
        FLAG_BOOL,     /* bool          */
        FLAG_INTEGER,  /* int64_t       */
        FLAG_NUMBER,   /* double        */
        FLAG_DURATION, /* int64_t, ns   */
        FLAG_LIST,     /* struct flag_list: comma separated, may be repeated */
};

#define FLAG_LIST_LIMIT 64

struct flag_list {
        size_t count;
        struct view items[FLAG_LIST_LIMIT];
};

struct flag {
        const char *name;
        enum flag_type type;
        void *target;
        const char *initial;     /* as text; NULL: empty, false, 0 */
        const char *environment; /* a variable that replaces `initial` when it is set and not empty; may be NULL */
        const char *help;
        int64_t minimum, maximum; /* of an integer; both 0: any */
};

/* Sets every target to its default. -1 if a default (from the environment) is not of its type. */
int flags_defaults(const struct flag *flags, size_t count, struct error *error);

/* The words that Go's strconv takes for a bool: "1", "t", "True", ... -1: it is none. */
int flag_bool_parse(const char *text, bool *ret_value);

/*
 * Reads the arguments behind argv[0]. Values point into argv or the environment.
 *
 *  0           done; *ret_rest is the index of the first argument that is no flag (argc if there is none)
 *  FLAGS_HELP  --help or -h
 * -1           unknown flag, missing or bad value: print the message and the usage, exit 2
 */
#define FLAGS_HELP 1
int flags_parse(const struct flag *flags, size_t count, int argc, char **argv, int *ret_rest, struct error *error);

/* The table as text, one flag a line, sorted as given. */
void flags_usage(const struct flag *flags, size_t count, const char *program, FILE *out);

/* The items of "a=true,b=false" onto a table of gates. -1: "feature-gate '<k>' not supported", or a value that is no bool. */
struct feature_gate {
        const char *name;
        bool enabled;
};
int feature_gates_parse(struct feature_gate *gates, size_t count, const struct flag_list *list, struct error *error);
bool feature_gate(const struct feature_gate *gates, size_t count, const char *name);
