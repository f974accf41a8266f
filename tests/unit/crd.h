/*
 * crd: holds the field tables of a kind against its CRD in manifests/crds.yaml, both ways. Every keyword of the schema must be one that the
 * table can say, so nothing is checked by the API server that the codec does not know.
 */
#pragma once

#include "base/cleanup.h"
#include "data/yaml.h"
#include "kube/object.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *crd_read_file(const char *path)
{
        struct buffer text = BUFFER_NULL;
        FILE *file = fopen(path, "re");
        size_t n;

        if (!file)
                fail_msg("%s: not there; the tests run in the top folder", path);
        do {
                char *room = buffer_reserve(&text, 1 << 16);

                n = fread(room, 1, 1 << 16, file);
                text.length += n;
        } while (n > 0);
        fclose(file);
        text.data[text.length] = '\0';
        return buffer_steal(&text);
}

/* The CRD of the kind in manifests/crds.yaml. */
static struct json *crd_load(const char *kind)
{
        cleanup(free_string) char *text = crd_read_file("manifests/crds.yaml");
        cleanup(yaml_close) struct yaml_reader *reader = yaml_open(view_of(text), YAML_UNIQUE_KEYS);
        struct error error = ERROR_NULL;
        struct json *crd = NULL;

        while (yaml_next(reader, &crd, &error) == 0) {
                if (strcmp(json_string(JSON_PATH(crd, "spec", "names", "kind"), ""), kind) == 0)
                        return crd;
                json_free(&crd);
        }
        fail_msg("no CRD of %s: %s", kind, error_message(&error));
        return NULL;
}

static void crd_same_text(const char *where, const char *what, const char *in_crd, const char *in_table)
{
        if (strcmp(in_crd ? in_crd : "(none)", in_table ? in_table : "(none)") != 0)
                fail_msg("%s: %s is %s in the CRD and %s in the table", where, what, in_crd ? in_crd : "(none)",
                         in_table ? in_table : "(none)");
}

static void crd_same_number(const char *where, const char *what, int64_t in_crd, int64_t in_table)
{
        if (in_crd != in_table)
                fail_msg("%s: %s is %lld in the CRD and %lld in the table", where, what, (long long)in_crd, (long long)in_table);
}

/* The same texts; the order does not matter. */
static void crd_same_list(const char *where, const char *what, const struct json *in_crd, const char *const *in_table)
{
        size_t count = 0, i;

        for (; in_table && in_table[count]; count++) {
                for (i = 0; i < json_length(in_crd); i++)
                        if (strcmp(json_string(json_at(in_crd, i), ""), in_table[count]) == 0)
                                break;
                if (i == json_length(in_crd))
                        fail_msg("%s: %s has %s in the table only", where, what, in_table[count]);
        }
        crd_same_number(where, what, (int64_t)json_length(in_crd), (int64_t)count);
}

static void crd_check_keywords(const char *where, const struct json *schema)
{
        static const char *const known[] = {
                "description", "type", "format",    "properties", "items",   "additionalProperties",     "required", "default",
                "pattern",     "enum", "minLength", "maxLength",  "minimum", "x-kubernetes-validations",
        };
        size_t i;

        JSON_EACH(schema, member) {
                for (i = 0; i < COUNT(known) && strcmp(known[i], member.key) != 0; i++)
                        ;
                if (i == COUNT(known))
                        fail_msg("%s: the table cannot say %s", where, member.key);
        }
        if (!json_get(schema, "type"))
                fail_msg("%s: no type", where);
}

static bool crd_is_required(const struct json *schema, const char *name)
{
        const struct json *required = json_get(schema, "required");
        size_t i;

        for (i = 0; i < json_length(required); i++)
                if (strcmp(json_string(json_at(required, i), ""), name) == 0)
                        return true;
        return false;
}

static void crd_check_record(const char *where, const struct json *schema, const struct record *record);

static const char *crd_type(enum field_type type)
{
        switch (type) {
        case FIELD_STRING:
        case FIELD_TIME:
        case FIELD_DURATION:
        case FIELD_OPTIONAL_DURATION:
                return "string";
        case FIELD_BOOL:
        case FIELD_OPTIONAL_BOOL:
                return "boolean";
        case FIELD_INTEGER:
        case FIELD_OPTIONAL_INTEGER:
                return "integer";
        case FIELD_OBJECTS:
        case FIELD_STRINGS:
                return "array";
        case FIELD_OBJECT:
        case FIELD_MAP:
        case FIELD_JSON:
                return "object";
        }
        return NULL;
}

static const char *crd_format(enum field_type type)
{
        if (type == FIELD_TIME)
                return "date-time";
        return type == FIELD_INTEGER || type == FIELD_OPTIONAL_INTEGER ? "int64" : NULL;
}

/* What a default is as the text of the table. */
static char *crd_default(const struct json *schema)
{
        const struct json *value = json_get(schema, "default");

        if (!value)
                return NULL;
        return json_type(value) == JSON_STRING ? strdup(json_string(value, "")) : json_text(value);
}

static void crd_check_items(const char *where, const struct json *schema, const struct field *field)
{
        const struct json *items = json_get(schema, "items");

        crd_check_keywords(where, items);
        if (field->type == FIELD_OBJECTS) {
                crd_check_record(where, items, field->record);
                return;
        }
        crd_same_text(where, "type of the items", json_string(json_get(items, "type"), NULL), "string");
        crd_same_list(where, "enum of the items", json_get(items, "enum"), field->values);
}

static void crd_check_field(const char *where, const struct json *schema, const struct field *field)
{
        cleanup(free_string) char *initial = crd_default(schema);
        bool duration = field->type == FIELD_DURATION || field->type == FIELD_OPTIONAL_DURATION;

        crd_check_keywords(where, schema);
        crd_same_text(where, "type", json_string(json_get(schema, "type"), NULL), crd_type(field->type));
        crd_same_text(where, "format", json_string(json_get(schema, "format"), NULL), crd_format(field->type));
        crd_same_text(where, "default", initial, field->initial);
        crd_same_text(where, "pattern", json_string(json_get(schema, "pattern"), NULL),
                      field->pattern ? field->pattern->text : NULL);
        crd_same_number(where, "minLength", json_integer(json_get(schema, "minLength"), 0), (int64_t)field->min_length);
        crd_same_number(where, "maxLength", json_integer(json_get(schema, "maxLength"), 0), (int64_t)field->max_length);
        crd_same_number(where, "minimum", json_integer(json_get(schema, "minimum"), INT64_MIN),
                        field->minimum ? *field->minimum : INT64_MIN);
        if (duration && !field->pattern)
                fail_msg("%s: a duration without a pattern", where);
        if (field->type == FIELD_OBJECT)
                crd_check_record(where, schema, field->record);
        else if (field->type == FIELD_MAP)
                crd_same_text(where, "values", json_string(JSON_PATH(schema, "additionalProperties", "type"), NULL), "string");
        else if (field->type == FIELD_OBJECTS || field->type == FIELD_STRINGS)
                crd_check_items(where, schema, field);
        if (field->type != FIELD_STRINGS)
                crd_same_list(where, "enum", json_get(schema, "enum"), field->values);
}

static void crd_check_record(const char *where, const struct json *schema, const struct record *record)
{
        const struct json *properties = json_get(schema, "properties");
        char name[FIELD_NAME], path[512];
        size_t i;

        crd_check_keywords(where, schema);
        for (i = 0; i < record->count; i++) {
                const struct field *field = &record->fields[i];

                snprintf(path, sizeof(path), "%s.%s", where, field_name(field, name));
                if (!json_get(properties, name))
                        fail_msg("%s: in the table only", path);
                crd_check_field(path, json_get(properties, name), field);
                crd_same_number(path, "required", crd_is_required(schema, name), field->required);
        }
        JSON_EACH(properties, member) {
                for (i = 0; i < record->count && strcmp(field_name(&record->fields[i], name), member.key) != 0; i++)
                        ;
                if (i == record->count)
                        fail_msg("%s.%s: in the CRD only", where, member.key);
        }
}

static void crd_check_names(const struct json *crd, const struct kind *kind)
{
        const struct json *names = JSON_PATH(crd, "spec", "names");

        crd_same_text(kind->kind, "group", json_string(JSON_PATH(crd, "spec", "group"), NULL), kind->group);
        crd_same_text(kind->kind, "listKind", json_string(json_get(names, "listKind"), NULL), kind->list_kind);
        crd_same_text(kind->kind, "plural", json_string(json_get(names, "plural"), NULL), kind->plural);
        crd_same_text(kind->kind, "singular", json_string(json_get(names, "singular"), NULL), kind->singular);
        crd_same_list(kind->kind, "shortNames", json_get(names, "shortNames"), kind->short_names);
        crd_same_list(kind->kind, "categories", json_get(names, "categories"), kind->categories);
}

static inline void crd_check_kind(const struct kind *kind)
{
        cleanup(json_free) struct json *crd = crd_load(kind->kind);
        const struct json *version = json_at(JSON_PATH(crd, "spec", "versions"), 0);
        const struct json *properties = JSON_PATH(version, "schema", "openAPIV3Schema", "properties");
        cleanup(free_string) char *status = crd_default(json_get(properties, "status"));

        crd_check_names(crd, kind);
        crd_same_number(kind->kind, "number of versions", (int64_t)json_length(JSON_PATH(crd, "spec", "versions")), 1);
        crd_same_text(kind->kind, "version", json_string(json_get(version, "name"), NULL), kind->version);
        crd_same_text(kind->kind, "default of status", status, kind->status_initial);
        crd_same_text(kind->kind, "substitute",
                      json_string(JSON_PATH(crd, "metadata", "annotations", "kustomize.toolkit.fluxcd.io/substitute"), NULL),
                      "disabled");
        crd_check_record("spec", json_get(properties, "spec"), kind->spec);
        crd_check_record("status", json_get(properties, "status"), kind->status);
}

/* A spec (YAML) that the codec refuses, and what it says of it. */
struct crd_refusal {
        const char *spec, *message;
};

/* Each case, as the spec of an object of that namespace and name. */
static inline void crd_check_refusals(const struct kind *kind, const char *namespace, const char *name,
                                      const struct crd_refusal *cases, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                cleanup(arena_free) struct arena *arena = arena_new();
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                cleanup(json_free) struct json *object = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;

                buffer_printf(&text, "metadata: {namespace: %s, name: %s}\nspec: %s\n", namespace, name, cases[i].spec);
                assert_int_equal(yaml_parse(buffer_view(&text), 0, &object, &error), 0);
                assert_int_equal(kind_decode(kind, object, arena, arena_allocate(arena, kind->spec->size), NULL, &error), -1);
                assert_string_equal(error_message(&error), cases[i].message);
        }
}
