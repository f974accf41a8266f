#include "kube/object.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "data/regex.h"

#include <stdatomic.h>
#include <string.h>

/* Where the decoder is, for messages: "spec.include[2].repository". */
struct place {
        const struct place *parent;
        const char *name; /* NULL: an item of the parent */
        size_t index;
};

struct decode {
        const char *what;
        struct arena *arena;
        bool lenient; /* of a status, which tells and does not ask */
};

/* The C layout shared by every list of records. */
struct object_list {
        void *items;
        size_t count;
};

const char *string_map_get(const struct string_map *map, const char *key)
{
        size_t i;

        for (i = 0; i < map->count; i++)
                if (strcmp(map->items[i].key, key) == 0)
                        return map->items[i].value;
        return NULL;
}

char *field_name(const struct field *field, char name[FIELD_NAME])
{
        const char *from = field->name ? field->name : field->member;
        size_t length = 0;

        for (; *from && length < FIELD_NAME - 1; from++) {
                bool upper = !field->name && *from == '_' && from[1];

                if (upper)
                        from++;
                name[length++] = upper && *from >= 'a' && *from <= 'z' ? (char)(*from - 'a' + 'A') : *from;
        }
        name[length] = '\0';
        return name;
}

static void print_place(const struct place *place, struct buffer *buffer)
{
        if (place->parent)
                print_place(place->parent, buffer);
        if (!place->name)
                buffer_printf(buffer, "[%zu]", place->index);
        else if (place->name[0])
                buffer_printf(buffer, "%s%s", buffer->length ? "." : "", place->name);
}

static int refuse(const struct decode *d, const struct place *place, struct error *error, const char *format, ...)
        __attribute__((__format__(__printf__, 4, 5)));

static int refuse(const struct decode *d, const struct place *place, struct error *error, const char *format, ...)
{
        cleanup(buffer_release) struct buffer path = BUFFER_NULL, problem = BUFFER_NULL;
        va_list arguments;

        print_place(place, &path);
        va_start(arguments, format);
        buffer_vprintf(&problem, format, arguments);
        va_end(arguments);
        return error_set(error, ERROR_INVALID, "%s: %s: %s", d->what, buffer_string(&path), buffer_string(&problem));
}

static int refuse_type(const struct decode *d, const struct place *place, const char *wanted, const struct json *json,
                       struct error *error)
{
        return refuse(d, place, error, "must be %s, not %s", wanted, json_type_name(json_type(json)));
}

/* What a person is shown of a value that may be long. */
#define SHOWN 200

static int refuse_text(const struct decode *d, const struct place *place, struct view text, const char *problem,
                       struct error *error)
{
        cleanup(buffer_release) struct buffer shown = BUFFER_NULL;

        buffer_add_json(&shown, view_slice(text, 0, SHOWN));
        return refuse(d, place, error, "\"%s%s\" %s", buffer_string(&shown), text.length > SHOWN ? "..." : "", problem);
}

static const struct regex *compiled(struct pattern *pattern, struct error *error)
{
        struct regex *known = atomic_load(&pattern->compiled), *fresh = NULL;

        if (known)
                return known;
        if (regex_compile(view_of(pattern->text), 0, &fresh, error) < 0)
                return NULL;
        if (atomic_compare_exchange_strong(&pattern->compiled, &known, fresh))
                return fresh;
        regex_free(&fresh);
        return known;
}

static size_t count_characters(struct view text)
{
        size_t count = 0, i;

        for (i = 0; i < text.length; i++)
                count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
        return count;
}

static int check_values(const struct decode *d, const struct field *field, const struct place *place, struct view text,
                        struct error *error)
{
        cleanup(buffer_release) struct buffer problem = BUFFER_NULL;
        size_t i;

        for (i = 0; field->values[i]; i++)
                if (view_is(text, field->values[i]))
                        return 0;
        buffer_add_string(&problem, "is not one of ");
        for (i = 0; field->values[i]; i++)
                buffer_printf(&problem, "%s%s", i ? ", " : "", field->values[i]);
        return refuse_text(d, place, text, buffer_string(&problem), error);
}

static int check_text(const struct decode *d, const struct field *field, const struct place *place, struct view text,
                      struct error *error)
{
        cleanup(buffer_release) struct buffer problem = BUFFER_NULL;
        const struct regex *regex;
        int r;

        if (field->values)
                TRY(check_values(d, field, place, text, error));
        if (count_characters(text) < field->min_length)
                return refuse(d, place, error, "must have at least %zu characters", field->min_length);
        if (field->max_length && count_characters(text) > field->max_length)
                return refuse(d, place, error, "must have at most %zu characters", field->max_length);
        if (!field->pattern)
                return 0;
        regex = compiled(field->pattern, error);
        if (!regex)
                return -1;
        r = regex_match(regex, text, error);
        if (r == REGEX_NO_MATCH) {
                buffer_printf(&problem, "does not match '%s'", field->pattern->text);
                return refuse_text(d, place, text, buffer_string(&problem), error);
        }
        return r;
}

static int decode_string(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                         const char **ret_string, struct error *error)
{
        struct view text = json_view(json);

        if (json_type(json) != JSON_STRING)
                return refuse_type(d, place, "a string", json, error);
        if (!d->lenient && view_find(text, '\0', 0) >= 0) /* its beginning, which is all that we see, is not what others judged */
                return refuse(d, place, error, "must not contain a NUL");
        TRY(check_text(d, field, place, text, error));
        *ret_string = arena_string_n(d->arena, text.data, text.length);
        return 0;
}

static int decode_time(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                       const char **ret_time, struct error *error)
{
        int64_t unused;

        TRY(decode_string(d, field, place, json, ret_time, error));
        if (time_parse(view_of(*ret_time), &unused) < 0)
                return refuse_text(d, place, view_of(*ret_time), "is not a time", error);
        return 0;
}

static int decode_duration(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                           int64_t *ret_ns, struct error *error)
{
        struct view text = json_view(json);

        if (json_type(json) != JSON_STRING)
                return refuse_type(d, place, "a duration", json, error);
        if (duration_parse(text, ret_ns) < 0)
                return refuse_text(d, place, text, "is not a duration", error);
        return check_text(d, field, place, text, error);
}

static int decode_integer(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                          int64_t *ret_integer, struct error *error)
{
        int64_t value = json_integer(json, 0);

        if (json_type(json) != JSON_INTEGER)
                return refuse_type(d, place, "an integer", json, error);
        if (value != json_integer(json, 1))
                return refuse(d, place, error, "is more than an integer of 64 bits");
        if (field->minimum && value < *field->minimum)
                return refuse(d, place, error, "%lld is less than %lld", (long long)value, (long long)*field->minimum);
        *ret_integer = value;
        return 0;
}

static int decode_bool(const struct decode *d, const struct place *place, const struct json *json, bool *ret_bool,
                       struct error *error)
{
        if (json_type(json) != JSON_BOOL)
                return refuse_type(d, place, "true or false", json, error);
        *ret_bool = json_bool(json, false);
        return 0;
}

static int decode_strings(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                          struct string_list *ret_list, struct error *error)
{
        size_t count = json_length(json), i;
        const char **items;

        if (json_type(json) != JSON_ARRAY)
                return refuse_type(d, place, "a list", json, error);
        items = arena_array(d->arena, count ? count : 1, sizeof(*items));
        for (i = 0; i < count; i++) {
                struct place item = { .parent = place, .index = i };

                TRY(decode_string(d, field, &item, json_at(json, i), &items[i], error));
        }
        *ret_list = (struct string_list){ items, count };
        return 0;
}

static int decode_map(const struct decode *d, const struct place *place, const struct json *json, struct string_map *ret_map,
                      struct error *error)
{
        static const struct field any = { .type = FIELD_STRING };
        size_t count = json_length(json), i = 0;
        struct string_pair *items;

        if (json_type(json) != JSON_OBJECT)
                return refuse_type(d, place, "an object", json, error);
        items = arena_array(d->arena, count ? count : 1, sizeof(*items));
        JSON_EACH(json, member) {
                struct place value = { .parent = place, .name = member.key };

                items[i].key = arena_string(d->arena, member.key);
                TRY(decode_string(d, &any, &value, member.value, &items[i++].value, error));
        }
        *ret_map = (struct string_map){ items, count };
        return 0;
}

static int decode_record(const struct decode *d, const struct record *record, const struct place *place, const struct json *json,
                         void *target, struct error *error);

static int decode_objects(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                          struct object_list *ret_list, struct error *error)
{
        size_t count = json_length(json), i;
        char *items;

        if (json_type(json) != JSON_ARRAY)
                return refuse_type(d, place, "a list", json, error);
        items = arena_array(d->arena, count ? count : 1, field->record->size);
        for (i = 0; i < count; i++) {
                struct place item = { .parent = place, .index = i };

                TRY(decode_record(d, field->record, &item, json_at(json, i), items + i * field->record->size, error));
        }
        *ret_list = (struct object_list){ items, count };
        return 0;
}

/* For OPTIONAL_ fields: the value's own place, which the member points to. */
static void *optional(const struct decode *d, void *member, size_t size)
{
        void *value = arena_allocate(d->arena, size);

        memcpy(member, &value, sizeof(value));
        return value;
}

static int decode_value(const struct decode *d, const struct field *field, const struct place *place, const struct json *json,
                        void *member, struct error *error)
{
        switch (field->type) {
        case FIELD_STRING:
                return decode_string(d, field, place, json, member, error);
        case FIELD_TIME:
                return decode_time(d, field, place, json, member, error);
        case FIELD_BOOL:
                return decode_bool(d, place, json, member, error);
        case FIELD_INTEGER:
                return decode_integer(d, field, place, json, member, error);
        case FIELD_DURATION:
                return decode_duration(d, field, place, json, member, error);
        case FIELD_OPTIONAL_BOOL:
                return decode_bool(d, place, json, optional(d, member, sizeof(bool)), error);
        case FIELD_OPTIONAL_INTEGER:
                return decode_integer(d, field, place, json, optional(d, member, sizeof(int64_t)), error);
        case FIELD_OPTIONAL_DURATION:
                return decode_duration(d, field, place, json, optional(d, member, sizeof(int64_t)), error);
        case FIELD_OBJECT:
                return decode_record(d, field->record, place, json, optional(d, member, field->record->size), error);
        case FIELD_OBJECTS:
                return decode_objects(d, field, place, json, member, error);
        case FIELD_STRINGS:
                return decode_strings(d, field, place, json, member, error);
        case FIELD_MAP:
                return decode_map(d, place, json, member, error);
        case FIELD_JSON:
                *(struct json **)member = (struct json *)(uintptr_t)json;
                return 0;
        }
        return 0;
}

/* An initial value is text in the table and goes the same way as one that was sent. */
static struct json *initial_value(const struct field *field)
{
        switch (field->type) {
        case FIELD_BOOL:
        case FIELD_OPTIONAL_BOOL:
                return json_new_bool(strcmp(field->initial, "true") == 0);
        case FIELD_INTEGER:
        case FIELD_OPTIONAL_INTEGER:
                return json_new_number(view_of(field->initial));
        default:
                return json_new_string(field->initial);
        }
}

static int decode_field(const struct decode *d, const struct field *field, const struct place *parent, const struct json *object,
                        void *target, struct error *error)
{
        cleanup(json_free) struct json *initial = NULL;
        char name[FIELD_NAME];
        struct place place = { .parent = parent, .name = field_name(field, name) };
        const struct json *json = json_get(object, name);

        if (json_is_null(json) && field->initial) {
                initial = initial_value(field);
                json = initial;
        }
        if (!json_is_null(json))
                return decode_value(d, field, &place, json, (char *)target + field->offset, error);
        return field->required ? refuse(d, &place, error, "is required") : 0;
}

static int decode_record(const struct decode *d, const struct record *record, const struct place *place, const struct json *json,
                         void *target, struct error *error)
{
        size_t i;

        if (json && json_type(json) != JSON_OBJECT)
                return refuse_type(d, place, "an object", json, error);
        for (i = 0; i < record->count; i++)
                TRY(decode_field(d, &record->fields[i], place, json, target, error));
        return 0;
}

int record_decode(const struct record *record, const struct json *json, const char *what, const char *path, struct arena *arena,
                  void *ret_struct, struct error *error)
{
        struct decode d = { .what = what, .arena = arena, .lenient = strcmp(path, "status") == 0 };
        struct place place = { .name = path };
        void *target = arena_allocate(arena, record->size);

        TRY(decode_record(&d, record, &place, json, target, error));
        memcpy(ret_struct, target, record->size);
        return 0;
}

static struct json *encode_duration(int64_t ns)
{
        char text[DURATION_TEXT];

        return json_new_string(duration_print(ns, text));
}

static struct json *encode_strings(const struct string_list *list)
{
        struct json *json = json_new_array();
        size_t i;

        for (i = 0; i < list->count; i++)
                json_append(json, json_new_string(list->items[i]));
        return json;
}

static struct json *encode_map(const struct string_map *map)
{
        struct json *json = json_new_object();
        size_t i;

        for (i = 0; i < map->count; i++)
                json_set_string(json, map->items[i].key, map->items[i].value);
        return json;
}

static struct json *encode_objects(const struct record *record, const struct object_list *list)
{
        struct json *json = json_new_array();
        size_t i;

        for (i = 0; i < list->count; i++)
                json_append(json, record_encode(record, (const char *)list->items + i * record->size));
        return json;
}

/* Of a pointer member what it points to; NULL if it is absent. */
static const void *pointed(const void *member)
{
        const void *value;

        memcpy(&value, member, sizeof(value));
        return value;
}

/* NULL: leave it out. */
static struct json *encode_field(const struct field *field, const void *source)
{
        const void *member = (const char *)source + field->offset, *value = member;
        const bool required = field->required;

        switch (field->type) {
        case FIELD_STRING:
        case FIELD_TIME:
                value = pointed(member);
                return value ? json_new_string(value) : required ? json_new_string("") : NULL;
        case FIELD_OPTIONAL_BOOL:
                value = pointed(member);
                return value ? json_new_bool(*(const bool *)value) : NULL;
        case FIELD_OPTIONAL_INTEGER:
                value = pointed(member);
                return value ? json_new_integer(*(const int64_t *)value) : NULL;
        case FIELD_OPTIONAL_DURATION:
                value = pointed(member);
                return value ? encode_duration(*(const int64_t *)value) : NULL;
        case FIELD_OBJECT:
                value = pointed(member);
                return value ? record_encode(field->record, value) : NULL;
        case FIELD_JSON:
                value = pointed(member);
                return json_copy(value);
        case FIELD_BOOL:
                return required || *(const bool *)value ? json_new_bool(*(const bool *)value) : NULL;
        case FIELD_INTEGER:
                return required || *(const int64_t *)value ? json_new_integer(*(const int64_t *)value) : NULL;
        case FIELD_DURATION:
                return required || *(const int64_t *)value ? encode_duration(*(const int64_t *)value) : NULL;
        case FIELD_STRINGS:
                return required || ((const struct string_list *)value)->count ? encode_strings(value) : NULL;
        case FIELD_MAP:
                return required || ((const struct string_map *)value)->count ? encode_map(value) : NULL;
        case FIELD_OBJECTS:
                return required || ((const struct object_list *)value)->count ? encode_objects(field->record, value) : NULL;
        }
        return NULL;
}

struct json *record_encode(const struct record *record, const void *source)
{
        struct json *object = json_new_object();
        char name[FIELD_NAME];
        size_t i;

        for (i = 0; i < record->count; i++) {
                struct json *value = encode_field(&record->fields[i], source);

                if (value)
                        json_set(object, field_name(&record->fields[i], name), value);
        }
        return object;
}

static int decode_status(const struct kind *kind, const struct json *status, const char *what, struct arena *arena,
                         void *ret_status, struct error *error)
{
        cleanup(json_free) struct json *initial = NULL;

        if (json_is_null(status)) {
                TRY(json_parse(view_of(kind->status_initial ? kind->status_initial : "{}"), &initial, error));
                status = initial;
        }
        return record_decode(kind->status, status, what, "status", arena, ret_status, error);
}

int kind_decode(const struct kind *kind, const struct json *object, struct arena *arena, void *ret_spec, void *ret_status,
                struct error *error)
{
        const char *what = arena_printf(arena, "%s/%s/%s", kind->kind, json_string(JSON_PATH(object, "metadata", "namespace"), ""),
                                        json_string(JSON_PATH(object, "metadata", "name"), ""));

        if (ret_spec)
                TRY(record_decode(kind->spec, json_get(object, "spec"), what, "spec", arena, ret_spec, error));
        if (ret_status)
                TRY(decode_status(kind, json_get(object, "status"), what, arena, ret_status, error));
        return 0;
}
