#include "data/yaml_scalar.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TAG_PREFIX "tag:yaml.org,2002:"

enum scalar { SCALAR_STRING, SCALAR_NULL, SCALAR_BOOL, SCALAR_INTEGER, SCALAR_FLOAT };

static bool is_one_of(struct view text, const char *const *words)
{
        for (; *words; words++)
                if (view_is(text, *words))
                        return true;
        return false;
}

static bool is_null(struct view text)
{
        static const char *const words[] = { "", "~", "null", "Null", "NULL", NULL };

        return is_one_of(text, words);
}

static bool is_true(struct view text)
{
        static const char *const words[] = { "true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", NULL };

        return is_one_of(text, words);
}

static bool is_false(struct view text)
{
        static const char *const words[] = { "false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF", NULL };

        return is_one_of(text, words);
}

static bool is_not_finite(struct view text)
{
        static const char *const words[] = { ".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF", "+.inf",
                                             "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL };

        return is_one_of(text, words);
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static int digit_value(char c)
{
        if (is_digit(c))
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

/* After the sign: "0x1f", "0b1", "0o7", "017", "17". */
static bool parse_magnitude(struct view digits, uint64_t *ret_magnitude)
{
        uint64_t base = 10, value = 0;
        size_t i = 0;

        if (digits.length > 1 && digits.data[0] == '0') {
                switch (digits.data[1] | 0x20) {
                case 'x':
                        base = 16;
                        break;
                case 'b':
                        base = 2;
                        break;
                case 'o':
                        base = 8;
                        break;
                default:
                        base = 8;
                        i = 1;
                }
                digits = view_slice(digits, i ? 1 : 2, digits.length);
        }
        if (digits.length == 0)
                return false;
        for (i = 0; i < digits.length; i++) {
                int digit = digit_value(digits.data[i]);

                if ((uint64_t)digit >= base || __builtin_mul_overflow(value, base, &value) ||
                    __builtin_add_overflow(value, (uint64_t)digit, &value))
                        return false;
        }
        *ret_magnitude = value;
        return true;
}

/* int64, or uint64 without a sign. NULL if it is none. */
static struct json *parse_integer(struct view text)
{
        bool negative = text.length && text.data[0] == '-', sign = negative || (text.length && text.data[0] == '+');
        uint64_t magnitude;

        if (!parse_magnitude(view_slice(text, sign, text.length), &magnitude))
                return NULL;
        if (negative)
                return magnitude > (uint64_t)INT64_MAX + 1 ? NULL : json_new_integer((int64_t)(0 - magnitude));
        return sign && magnitude > INT64_MAX ? NULL : json_new_unsigned(magnitude);
}

static size_t skip_digits(struct view text, size_t at)
{
        while (at < text.length && is_digit(text.data[at]))
                at++;
        return at;
}

/* [-+]?(\.d+|d+(\.d*)?)([eE][-+]?d+)? */
static bool is_float(struct view text)
{
        size_t at = text.length && (text.data[0] == '-' || text.data[0] == '+'), from, end = skip_digits(text, at);
        bool whole = end > at;

        at = end;
        if (at < text.length && text.data[at] == '.') {
                from = at + 1;
                at = skip_digits(text, from);
                if (!whole && at == from)
                        return false;
        } else if (!whole) {
                return false;
        }
        if (at < text.length && (text.data[at] == 'e' || text.data[at] == 'E')) {
                from = at + 1;
                from += from < text.length && (text.data[from] == '-' || text.data[from] == '+');
                at = skip_digits(text, from);
                if (at == from)
                        return false;
        }
        return at == text.length;
}

/* "15" and 0: 1.5; with `scientific` as 1.5e+0. */
static void print_digits(const char *digits, int exponent, bool scientific, struct buffer *text)
{
        int count = (int)strlen(digits), i;

        if (scientific) {
                buffer_printf(text, "%c%s%se%+d", digits[0], count > 1 ? "." : "", digits + 1, exponent);
                return;
        }
        if (exponent < 0)
                buffer_add_string(text, "0.");
        for (i = -1; i > exponent; i--)
                buffer_add_char(text, '0');
        for (i = 0; i < count || i <= exponent; i++)
                buffer_printf(text, "%s%c", i && i == exponent + 1 ? "." : "", i < count ? digits[i] : '0');
}

/* The shortest digits that read back as the same value, in the form that Go's JSON gives them: 1.5, 1000, 1e+21, 1e-7. */
static struct json *float_node(double value)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        char digits[40], *mark;
        int precision = 0, exponent;
        struct json *json;

        do
                snprintf(digits, sizeof(digits), "%.*e", precision, fabs(value));
        while (strtod(digits, NULL) != fabs(value) && ++precision < 17);
        mark = strchr(digits, 'e');
        exponent = (int)strtol(mark + 1, NULL, 10);
        *mark = '\0';
        if (precision)
                memmove(digits + 1, digits + 2, strlen(digits + 1));

        buffer_add_string(&text, signbit(value) ? "-" : "");
        print_digits(digits, exponent, value != 0 && (exponent < -6 || exponent >= 21), &text);
        json = json_new_number(buffer_view(&text));
        if (json)
                return json;
        /* Without a fraction and beyond uint64: it takes an exponent to be a float. */
        buffer_clear(&text);
        buffer_add_string(&text, signbit(value) ? "-" : "");
        print_digits(digits, exponent, true, &text);
        return json_new_number(buffer_view(&text));
}

/* SCALAR_STRING if it is no number. */
static enum scalar parse_number(struct view text, struct json **ret_json)
{
        cleanup(buffer_release) struct buffer plain = BUFFER_NULL;
        double value;
        size_t i;

        if (text.length == 0 || !(is_digit(text.data[0]) || memchr("+-.", text.data[0], 3)))
                return SCALAR_STRING;
        for (i = 0; i < text.length; i++)
                if (text.data[i] != '_' || text.data[0] == '.')
                        buffer_add_char(&plain, text.data[i]);
        if (text.data[0] != '.' && (*ret_json = parse_integer(buffer_view(&plain))))
                return SCALAR_INTEGER;
        if (!is_float(buffer_view(&plain)))
                return SCALAR_STRING;
        value = strtod(buffer_string(&plain), NULL);
        if (!isfinite(value))
                return SCALAR_STRING;
        *ret_json = float_node(value);
        return SCALAR_FLOAT;
}

/* What a plain scalar is; *ret_json is set but for text and for what is not finite. */
static enum scalar resolve(struct view text, struct json **ret_json)
{
        if (is_null(text)) {
                *ret_json = json_new_null();
                return SCALAR_NULL;
        }
        if (is_true(text) || is_false(text)) {
                *ret_json = json_new_bool(is_true(text));
                return SCALAR_BOOL;
        }
        if (is_not_finite(text))
                return SCALAR_FLOAT;
        return parse_number(text, ret_json);
}

static int new_string(struct view text, struct json **ret_json, struct error *error)
{
        if (!utf8_valid(text))
                return error_set(error, ERROR_INVALID, "the text is not UTF-8");
        *ret_json = json_new_view(text);
        return 0;
}

static int binary(struct view text, struct json **ret_json, struct error *error)
{
        cleanup(buffer_release) struct buffer compact = BUFFER_NULL, bytes = BUFFER_NULL;
        size_t i;

        for (i = 0; i < text.length; i++)
                if (text.data[i] != ' ' && text.data[i] != '\t')
                        buffer_add_char(&compact, text.data[i]);
        if (buffer_add_base64_decoded(&bytes, buffer_view(&compact)) < 0)
                return error_set(error, ERROR_INVALID, "!!binary value contains invalid base64 data");
        return new_string(buffer_view(&bytes), ret_json, error);
}

/* A scalar with a tag of the core schema that is not text. */
static int tagged(struct view text, const char *tag, struct json **ret_json, struct error *error)
{
        static const char *const names[] = { "str", "null", "bool", "int", "float" };
        cleanup(json_free) struct json *json = NULL;
        enum scalar found = resolve(text, &json);

        if (strcmp(tag, names[found]) != 0 && !(strcmp(tag, "float") == 0 && found == SCALAR_INTEGER))
                return error_set(error, ERROR_INVALID, "cannot decode !!%s `%.*s` as a !!%s", names[found], VIEW_ARGS(text), tag);
        if (!json)
                return error_set(error, ERROR_INVALID, "JSON has no value for `%.*s`", VIEW_ARGS(text));
        *ret_json = steal(&json);
        return 0;
}

int yaml_scalar(struct view text, const char *tag, bool plain, struct json **ret_json, struct error *error)
{
        static const char *const typed[] = { "null", "bool", "int", "float", NULL };
        const char *name = tag && strncmp(tag, TAG_PREFIX, strlen(TAG_PREFIX)) == 0 ? tag + strlen(TAG_PREFIX) : NULL;
        struct json *json = NULL;

        if (name && strcmp(name, "binary") == 0)
                return binary(text, ret_json, error);
        if (name && is_one_of(view_of(name), typed))
                return tagged(text, name, ret_json, error);
        if (tag || !plain)
                return new_string(text, ret_json, error);
        if (resolve(text, &json) == SCALAR_STRING)
                return new_string(text, ret_json, error);
        if (!json)
                return error_set(error, ERROR_INVALID, "JSON has no value for `%.*s`", VIEW_ARGS(text));
        *ret_json = json;
        return 0;
}
