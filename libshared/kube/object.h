/*
 * object: API kinds as tables, and the one codec that reads and writes them.
 *
 * A record is a C struct and the table of its fields; a kind is a group, a version, names, and the records of its spec and status. The tables
 * are held against the CRD schemas in manifests/ by a test, so a field is one line here and one in the CRD.
 *
 * How a field looks in C, and how one sees that it is absent (null counts as absent):
 *
 *   STRING, TIME      const char *            NULL
 *   BOOL              bool                    false        (or its `initial` value; what must be told apart from absent is OPTIONAL_)
 *   INTEGER           int64_t                 0
 *   DURATION          int64_t, nanoseconds    0
 *   OPTIONAL_BOOL     const bool *            NULL
 *   OPTIONAL_INTEGER  const int64_t *         NULL
 *   OPTIONAL_DURATION const int64_t *         NULL
 *   OBJECT            struct <record> *       NULL
 *   OBJECTS           { struct <record> *items; size_t count; }   items is NULL
 *   STRINGS           struct string_list      items is NULL
 *   MAP               struct string_map       items is NULL
 *   JSON              struct json *           NULL; borrowed from the decoded tree
 *
 * Everything decoded but JSON lives in the arena. Members that the table does not know are skipped: the API server has pruned or kept them.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "data/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string_list {
        const char **items;
        size_t count;
};

struct string_pair {
        const char *key, *value;
};

struct string_map {
        struct string_pair *items;
        size_t count;
};

/* The value of a key; NULL if it is not there. */
const char *string_map_get(const struct string_map *map, const char *key);

enum field_type {
        FIELD_STRING,
        FIELD_TIME,
        FIELD_BOOL,
        FIELD_INTEGER,
        FIELD_DURATION,
        FIELD_OPTIONAL_BOOL,
        FIELD_OPTIONAL_INTEGER,
        FIELD_OPTIONAL_DURATION,
        FIELD_OBJECT,
        FIELD_OBJECTS,
        FIELD_STRINGS,
        FIELD_MAP,
        FIELD_JSON,
};

/* Compiled at its first use, by whichever thread comes first. */
struct pattern {
        const char *text;
        _Atomic(struct regex *) compiled;
};

struct record;

struct field {
        const char *member; /* in C: "secret_ref" */
        const char *name;   /* in JSON, where it is not the camel case of the member */
        size_t offset;
        enum field_type type;
        bool required;
        const char *initial;         /* what an absent one is, as text */
        const char *const *values;   /* the only ones allowed (of each item of STRINGS); ends with NULL */
        struct pattern *pattern;     /* of a STRING or a DURATION */
        size_t min_length;           /* of a STRING, in characters */
        size_t max_length;           /* 0: none */
        const int64_t *minimum;      /* of an INTEGER */
        const struct record *record; /* of an OBJECT or OBJECTS */
};

struct record {
        const struct field *fields;
        size_t count;
        size_t size; /* of the C struct */
};

struct kind {
        const char *group, *version, *kind, *list_kind, *plural, *singular;
        const char *const *short_names; /* both end with NULL */
        const char *const *categories;
        const struct record *spec, *status;
        const char *status_initial; /* what an absent status is, as JSON; NULL: empty */
};

/* FIELD(git_repository_spec, secret_ref, OBJECT, .record = &local_reference_record): the member must have the C type of the table above. */
#define FIELD(record_, member_, type_, ...)                                                                                        \
        {                                                                                                                          \
                .member = #member_,                                                                                                \
                .offset = offsetof(struct record_, member_) *                                                                      \
                          sizeof(char[FIELD_FITS_##type_(((struct record_ *)0)->member_) ? 1 : -1]),                               \
                .type = FIELD_##type_, ##__VA_ARGS__                                                                               \
        }
/* The table of struct git_repository_spec is git_repository_spec_fields[]. */
#define RECORD(name_)                                                                                                              \
        const struct record name_##_record = { name_##_fields, sizeof(name_##_fields) / sizeof(*name_##_fields),                   \
                                               sizeof(struct name_) }
#define PATTERN(text_)  (&(struct pattern){ .text = (text_) })
#define TEXTS(...)      ((const char *const[]){ __VA_ARGS__, NULL })
#define MINIMUM(value_) (&(const int64_t){ value_ })

#define FIELD_FITS(member_, type_)       __builtin_types_compatible_p(__typeof__(member_), type_)
#define FIELD_FITS_STRING(m_)            FIELD_FITS(m_, const char *)
#define FIELD_FITS_TIME(m_)              FIELD_FITS(m_, const char *)
#define FIELD_FITS_BOOL(m_)              FIELD_FITS(m_, bool)
#define FIELD_FITS_INTEGER(m_)           FIELD_FITS(m_, int64_t)
#define FIELD_FITS_DURATION(m_)          FIELD_FITS(m_, int64_t)
#define FIELD_FITS_OPTIONAL_BOOL(m_)     FIELD_FITS(m_, const bool *)
#define FIELD_FITS_OPTIONAL_INTEGER(m_)  FIELD_FITS(m_, const int64_t *)
#define FIELD_FITS_OPTIONAL_DURATION(m_) FIELD_FITS(m_, const int64_t *)
#define FIELD_FITS_OBJECT(m_)            (sizeof(m_) == sizeof(void *))
#define FIELD_FITS_OBJECTS(m_)           (sizeof(m_) == sizeof(struct string_list))
#define FIELD_FITS_STRINGS(m_)           FIELD_FITS(m_, struct string_list)
#define FIELD_FITS_MAP(m_)               FIELD_FITS(m_, struct string_map)
#define FIELD_FITS_JSON(m_)              FIELD_FITS(m_, struct json *)

/* The name in JSON, into `name`, which is returned. */
#define FIELD_NAME 64
char *field_name(const struct field *field, char name[FIELD_NAME]);

/*
 * Decodes an object into a C struct of record->size bytes, which is all set or untouched. `what` and `path` are for the message only:
 *
 *   GitRepository/flux-system/app: spec.interval: "1y" is not a duration
 *
 * -1 with ERROR_INVALID for a missing or wrong field. `json` may be absent: then what is required is missing.
 */
int record_decode(const struct record *record, const struct json *json, const char *what, const char *path, struct arena *arena,
                  void *ret_struct, struct error *error);

/* The other way: absent members are left out, and so are false, 0 and empty lists unless they are required. The caller owns the tree. */
struct json *record_encode(const struct record *record, const void *source);

/* The spec and the status of an object of that kind; either target may be NULL. The message names the object by its metadata. */
int kind_decode(const struct kind *kind, const struct json *object, struct arena *arena, void *ret_spec, void *ret_status,
                struct error *error);
