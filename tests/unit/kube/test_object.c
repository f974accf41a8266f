#include "kube/object.h"

#include "base/cleanup.h"
#include "kube/meta.h"

#include "../json_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct wheel {
        const char *name;
        int64_t spokes;
};

static const struct field wheel_fields[] = {
        FIELD(wheel, name, STRING, .required = true),
        FIELD(wheel, spokes, INTEGER, .minimum = MINIMUM(3)),
};
static RECORD(wheel);

struct bicycle_spec {
        const char *owner_name, *colour, *frame_number, *built_at, *model;
        bool fast, electric;
        int64_t gears, service_interval;
        const bool *lights;
        const int64_t *bells, *warranty;
        struct wheel *front_wheel;
        struct {
                struct wheel *items;
                size_t count;
        } wheels;
        struct string_list bags;
        struct string_map stickers;
        struct json *extra;
};

static const struct field bicycle_spec_fields[] = {
        FIELD(bicycle_spec, owner_name, STRING, .required = true, .min_length = 2, .max_length = 4),
        FIELD(bicycle_spec, colour, STRING, .initial = "red", .values = TEXTS("red", "blue")),
        FIELD(bicycle_spec, frame_number, STRING, .pattern = PATTERN("^[0-9]+$")),
        FIELD(bicycle_spec, built_at, TIME),
        FIELD(bicycle_spec, model, STRING, .name = "modelURL"),
        FIELD(bicycle_spec, fast, BOOL, .initial = "true"),
        FIELD(bicycle_spec, electric, BOOL, .required = true),
        FIELD(bicycle_spec, gears, INTEGER, .initial = "7"),
        FIELD(bicycle_spec, service_interval, DURATION, .initial = "60s"),
        FIELD(bicycle_spec, lights, OPTIONAL_BOOL),
        FIELD(bicycle_spec, bells, OPTIONAL_INTEGER),
        FIELD(bicycle_spec, warranty, OPTIONAL_DURATION),
        FIELD(bicycle_spec, front_wheel, OBJECT, .record = &wheel_record),
        FIELD(bicycle_spec, wheels, OBJECTS, .record = &wheel_record),
        FIELD(bicycle_spec, bags, STRINGS, .values = TEXTS("left", "right")),
        FIELD(bicycle_spec, stickers, MAP),
        FIELD(bicycle_spec, extra, JSON),
};
static RECORD(bicycle_spec);

struct bicycle_status {
        int64_t observed_generation;
};

static const struct field bicycle_status_fields[] = {
        FIELD(bicycle_status, observed_generation, INTEGER),
};
static RECORD(bicycle_status);

static const struct kind bicycle_kind = {
        .group = "example.com",
        .version = "v1",
        .kind = "Bicycle",
        .spec = &bicycle_spec_record,
        .status = &bicycle_status_record,
        .status_initial = "{\"observedGeneration\":-1}",
};

static void names_are_camel_case(void **state)
{
        static const struct {
                struct field field;
                const char *name;
        } cases[] = {
                { { .member = "url" }, "url" },
                { { .member = "secret_ref" }, "secretRef" },
                { { .member = "last_handled_reconcile_at" }, "lastHandledReconcileAt" },
                { { .member = "api_version" }, "apiVersion" },
                { { .member = "model", .name = "modelURL" }, "modelURL" },
                { { .member = "x", .name = "issuer_url" }, "issuer_url" },
        };
        char name[FIELD_NAME];
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                assert_string_equal(field_name(&cases[i].field, name), cases[i].name);
}

static void every_type_is_decoded(void **state)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *json = json_of(
                "{\"ownerName\":\"Anna\",\"colour\":\"blue\",\"frameNumber\":\"42\",\"builtAt\":\"2026-01-02T03:04:05Z\","
                "\"modelURL\":\"x\","
                "\"fast\":false,\"electric\":true,\"gears\":3,\"serviceInterval\":\"1h0m1.5s\",\"lights\":false,\"bells\":0,"
                "\"warranty\":\"0s\",\"frontWheel\":{\"name\":\"a\"},\"wheels\":[{\"name\":\"b\",\"spokes\":3},{\"name\":\"c\"}],"
                "\"bags\":[\"left\",\"right\"],\"stickers\":{\"k\":\"v\",\"a.b/c\":\"\"},\"extra\":[1,{}],\"unknown\":7}");
        cleanup(error_release) struct error error = ERROR_NULL;
        struct bicycle_spec spec;

        (void)state;
        assert_int_equal(record_decode(&bicycle_spec_record, json, "B/n/b", "spec", arena, &spec, &error), 0);
        assert_string_equal(spec.owner_name, "Anna");
        assert_string_equal(spec.colour, "blue");
        assert_string_equal(spec.model, "x");
        assert_false(spec.fast);
        assert_true(spec.electric);
        assert_int_equal(spec.gears, 3);
        assert_true(spec.service_interval == INT64_C(3601500000000));
        assert_true(spec.lights && !*spec.lights);
        assert_true(spec.bells && *spec.bells == 0);
        assert_true(spec.warranty && *spec.warranty == 0);
        assert_string_equal(spec.front_wheel->name, "a");
        assert_int_equal(spec.wheels.count, 2);
        assert_int_equal(spec.wheels.items[0].spokes, 3);
        assert_string_equal(spec.wheels.items[1].name, "c");
        assert_int_equal(spec.bags.count, 2);
        assert_string_equal(spec.bags.items[1], "right");
        assert_string_equal(string_map_get(&spec.stickers, "k"), "v");
        assert_string_equal(string_map_get(&spec.stickers, "a.b/c"), "");
        assert_null(string_map_get(&spec.stickers, "none"));
        assert_int_equal(json_length(spec.extra), 2);
}

static void absence_is_visible(void **state)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *json =
                json_of("{\"ownerName\":\"Bo\",\"electric\":false,\"frameNumber\":null,\"gears\":null}");
        cleanup(error_release) struct error error = ERROR_NULL;
        struct bicycle_spec spec;

        (void)state;
        assert_int_equal(record_decode(&bicycle_spec_record, json, "B/n/b", "spec", arena, &spec, &error), 0);
        assert_string_equal(spec.colour, "red");
        assert_true(spec.fast);
        assert_int_equal(spec.gears, 7);
        assert_true(spec.service_interval == INT64_C(60000000000));
        assert_null(spec.frame_number);
        assert_null(spec.lights);
        assert_null(spec.bells);
        assert_null(spec.warranty);
        assert_null(spec.front_wheel);
        assert_null(spec.wheels.items);
        assert_null(spec.bags.items);
        assert_null(spec.stickers.items);
        assert_null(spec.extra);
}

static void bad_fields_are_named(void **state)
{
        static const struct {
                const char *member, *message;
        } cases[] = {
                { "\"ownerName\":null", "spec.ownerName: is required" },
                { "\"ownerName\":7", "spec.ownerName: must be a string, not integer" },
                { "\"ownerName\":\"Ann\\u0000\"", "spec.ownerName: must not contain a NUL" },
                { "\"ownerName\":\"A\"", "spec.ownerName: must have at least 2 characters" },
                { "\"ownerName\":\"Ännää\"", "spec.ownerName: must have at most 4 characters" },
                { "\"colour\":\"green\"", "spec.colour: \"green\" is not one of red, blue" },
                { "\"frameNumber\":\"4\\\"2\"", "spec.frameNumber: \"4\\\"2\" does not match '^[0-9]+$'" },
                { "\"builtAt\":\"yesterday\"", "spec.builtAt: \"yesterday\" is not a time" },
                { "\"fast\":\"true\"", "spec.fast: must be true or false, not string" },
                { "\"gears\":1.5", "spec.gears: must be an integer, not number" },
                { "\"gears\":18446744073709551615", "spec.gears: is more than an integer of 64 bits" },
                { "\"serviceInterval\":\"1y\"", "spec.serviceInterval: \"1y\" is not a duration" },
                { "\"serviceInterval\":5", "spec.serviceInterval: must be a duration, not integer" },
                { "\"warranty\":\"\"", "spec.warranty: \"\" is not a duration" },
                { "\"lights\":0", "spec.lights: must be true or false, not integer" },
                { "\"frontWheel\":[]", "spec.frontWheel: must be an object, not array" },
                { "\"frontWheel\":{}", "spec.frontWheel.name: is required" },
                { "\"wheels\":{}", "spec.wheels: must be a list, not object" },
                { "\"wheels\":[{\"name\":\"a\"},{}]", "spec.wheels[1].name: is required" },
                { "\"wheels\":[{\"name\":\"a\",\"spokes\":2}]", "spec.wheels[0].spokes: 2 is less than 3" },
                { "\"wheels\":[null]", "spec.wheels[0]: must be an object, not null" },
                { "\"bags\":[\"left\",\"up\"]", "spec.bags[1]: \"up\" is not one of left, right" },
                { "\"bags\":\"left\"", "spec.bags: must be a list, not string" },
                { "\"bags\":[null]", "spec.bags[0]: must be a string, not null" },
                { "\"stickers\":{\"a\":1}", "spec.stickers.a: must be a string, not integer" },
                { "\"stickers\":[]", "spec.stickers: must be an object, not array" },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(arena_free) struct arena *arena = arena_new();
                cleanup(json_free) struct json *object = json_new_object();
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(buffer_release) struct buffer text = BUFFER_NULL, expected = BUFFER_NULL;
                struct bicycle_spec spec = { .gears = 12345 };

                buffer_printf(&text, "{\"ownerName\":\"Anna\",\"electric\":true,%s}", cases[i].member);
                buffer_printf(&expected, "Bicycle/garage/b1: %s", cases[i].message);
                json_set_string(json_object_at(object, "metadata"), "namespace", "garage");
                json_set_string(json_object_at(object, "metadata"), "name", "b1");
                json_set(object, "spec", json_of(buffer_string(&text)));

                assert_int_equal(kind_decode(&bicycle_kind, object, arena, &spec, NULL, &error), -1);
                assert_int_equal(error.kind, ERROR_INVALID);
                assert_string_equal(error_message(&error), buffer_string(&expected));
                assert_int_equal(spec.gears, 12345);
        }
}

static void encoding_leaves_out_what_is_absent(void **state)
{
        static const char *const texts[] = {
                "{\"ownerName\":\"Bo\",\"colour\":\"red\",\"fast\":true,\"electric\":false,\"gears\":7,\"serviceInterval\":"
                "\"1m0s\"}",
                "{\"ownerName\":\"Anna\",\"colour\":\"blue\",\"frameNumber\":\"42\",\"builtAt\":\"2026-01-02T03:04:05Z\","
                "\"modelURL\":\"x\","
                "\"fast\":true,\"electric\":true,\"gears\":3,\"serviceInterval\":\"1h0m1.5s\",\"lights\":false,\"bells\":0,"
                "\"warranty\":\"0s\","
                "\"frontWheel\":{\"name\":\"a\"},\"wheels\":[{\"name\":\"b\",\"spokes\":3},{\"name\":\"c\"}],\"bags\":[\"left\"],"
                "\"stickers\":{\"k\":\"v\"},\"extra\":[1,{}]}",
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
                cleanup(arena_free) struct arena *arena = arena_new();
                cleanup(json_free) struct json *json = json_of(texts[i]), *encoded = NULL;
                cleanup(error_release) struct error error = ERROR_NULL;
                cleanup(free_string) char *text = NULL;
                struct bicycle_spec spec;

                assert_int_equal(record_decode(&bicycle_spec_record, json, "B", "spec", arena, &spec, &error), 0);
                encoded = record_encode(&bicycle_spec_record, &spec);
                text = json_text(encoded);
                assert_string_equal(text, texts[i]);
        }
}

static void required_ones_are_encoded_even_if_empty(void **state)
{
        struct bicycle_spec spec = { 0 };
        cleanup(json_free) struct json *encoded = record_encode(&bicycle_spec_record, &spec);
        cleanup(free_string) char *text = json_text(encoded);

        (void)state;
        assert_string_equal(text, "{\"ownerName\":\"\",\"electric\":false}");
}

static void absent_status_is_the_initial_one(void **state)
{
        static const struct {
                const char *object;
                int64_t generation;
        } cases[] = {
                { "{}", -1 },
                { "{\"status\":null}", -1 },
                { "{\"status\":{}}", 0 },
                { "{\"status\":{\"observedGeneration\":4}}", 4 },
        };
        size_t i;

        (void)state;
        for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cleanup(arena_free) struct arena *arena = arena_new();
                cleanup(json_free) struct json *json = json_of(cases[i].object);
                cleanup(error_release) struct error error = ERROR_NULL;
                struct bicycle_status status;

                assert_int_equal(kind_decode(&bicycle_kind, json, arena, NULL, &status, &error), 0);
                assert_int_equal(status.observed_generation, cases[i].generation);
        }
}

struct plate_spec {
        const char *number;
};

static const struct field plate_spec_fields[] = {
        FIELD(plate_spec, number, STRING, .pattern = PATTERN("^[A-Z]{1,3}-[0-9]+$")),
};
static RECORD(plate_spec);

static void *decode_plates(void *passed)
{
        cleanup(json_free) struct json *good = json_new_object(), *bad = json_new_object();
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(error_release) struct error error = ERROR_NULL;
        struct plate_spec spec;

        json_set_string(good, "number", "ABC-7");
        json_set_string(bad, "number", "7-ABC");
        *(bool *)passed = record_decode(&plate_spec_record, good, "P", "spec", arena, &spec, &error) == 0 &&
                          record_decode(&plate_spec_record, bad, "P", "spec", arena, &spec, &error) < 0;
        return NULL;
}

/* The first use of a pattern compiles it, in whichever thread that is. */
static void patterns_are_compiled_by_many_threads(void **state)
{
        pthread_t threads[8];
        bool passed[8] = { false };
        size_t i;

        (void)state;
        for (i = 0; i < 8; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, decode_plates, &passed[i]), 0);
        for (i = 0; i < 8; i++)
                pthread_join(threads[i], NULL);
        for (i = 0; i < 8; i++)
                assert_true(passed[i]);
}

static void metadata_is_decoded(void **state)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(json_free) struct json *json =
                json_of("{\"name\":\"a\",\"namespace\":\"b\",\"generation\":3,\"resourceVersion\":\"77\",\"finalizers\":[\"x\"],"
                        "\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"now\"},\"managedFields\":[{}]}");
        cleanup(error_release) struct error error = ERROR_NULL;
        struct object_meta meta;

        (void)state;
        assert_int_equal(record_decode(&object_meta_record, json, "X/b/a", "metadata", arena, &meta, &error), 0);
        assert_string_equal(meta.resource_version, "77");
        assert_int_equal(meta.generation, 3);
        assert_null(meta.deletion_timestamp);
        assert_string_equal(meta.finalizers.items[0], "x");
        assert_string_equal(string_map_get(&meta.annotations, "reconcile.fluxcd.io/requestedAt"), "now");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_camel_case),
                cmocka_unit_test(every_type_is_decoded),
                cmocka_unit_test(absence_is_visible),
                cmocka_unit_test(bad_fields_are_named),
                cmocka_unit_test(encoding_leaves_out_what_is_absent),
                cmocka_unit_test(required_ones_are_encoded_even_if_empty),
                cmocka_unit_test(absent_status_is_the_initial_one),
                cmocka_unit_test(patterns_are_compiled_by_many_threads),
                cmocka_unit_test(metadata_is_decoded),
        };

        return cmocka_run_group_tests_name("object", tests, NULL, NULL);
}
