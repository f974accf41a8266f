#include "engine/kustomize/scalar.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_one_of(struct view text, const char *words)
{
        size_t length;

        for (const char *word = words; *word; word += length + (word[length] != '\0')) {
                length = strcspn(word, " ");
                if (length == text.length && memcmp(word, text.data, length) == 0)
                        return true;
        }
        return false;
}

/* Cuts digits off the front; -1 if there is not between `least` and `most` of them. */
static int take_number(struct view *text, size_t least, size_t most, int *ret_value)
{
        size_t length = 0;
        int value = 0;

        while (length < text->length && length < most && is_digit(text->data[length]))
                value = value * 10 + (text->data[length++] - '0');
        if (length < least)
                return -1;
        *ret_value = value;
        *text = view_slice(*text, length, SIZE_MAX);
        return 0;
}

static int take_char(struct view *text, char c)
{
        if (text->length == 0 || text->data[0] != c)
                return -1;
        *text = view_slice(*text, 1, SIZE_MAX);
        return 0;
}

struct timestamp {
        int year, month, day, hour, minute, second;
        struct view fraction; /* digits */
        bool zoned;
        int offset; /* minutes */
};

static int days_in_month(int year, int month)
{
        static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        return month == 2 && leap ? 29 : days[month - 1];
}

static int take_zone(struct view *text, struct timestamp *t)
{
        int hours, minutes, sign;

        if (take_char(text, 'Z') == 0)
                return 0;
        sign = take_char(text, '-') == 0 ? -1 : 1;
        if (sign > 0 && take_char(text, '+') < 0)
                return -1;
        if (take_number(text, 2, 2, &hours) < 0 || take_char(text, ':') < 0 || take_number(text, 2, 2, &minutes) < 0)
                return -1;
        if (hours > 24 || minutes > 60)
                return -1;
        t->offset = sign * (hours * 60 + minutes);
        return 0;
}

/* Y-M-DTh:m:s[.f]zone, Y-M-D h:m:s[.f] or Y-M-D, as Go's time.Parse takes the layouts of go-yaml. */
static int parse_timestamp(struct view text, struct timestamp *ret)
{
        struct timestamp t = { 0 };
        bool zone;

        if (take_number(&text, 4, 4, &t.year) < 0 || take_char(&text, '-') < 0 || take_number(&text, 1, 2, &t.month) < 0 ||
            take_char(&text, '-') < 0 || take_number(&text, 1, 2, &t.day) < 0)
                return -1;
        if (t.month < 1 || t.month > 12 || t.day < 1 || t.day > days_in_month(t.year, t.month))
                return -1;
        if (text.length == 0) {
                *ret = t;
                return 0;
        }
        zone = text.data[0] != ' ';
        if (zone && text.data[0] != 'T' && text.data[0] != 't')
                return -1;
        text = view_slice(text, 1, SIZE_MAX);
        if (take_number(&text, 1, 2, &t.hour) < 0 || take_char(&text, ':') < 0 || take_number(&text, 1, 2, &t.minute) < 0 ||
            take_char(&text, ':') < 0 || take_number(&text, 1, 2, &t.second) < 0)
                return -1;
        if (t.hour > 23 || t.minute > 59 || t.second > 59)
                return -1;
        if (text.length > 1 && (text.data[0] == '.' || text.data[0] == ',') && is_digit(text.data[1])) {
                size_t length = 1;

                while (length < text.length && is_digit(text.data[length]))
                        length++;
                t.fraction = view_slice(text, 1, length - 1);
                text = view_slice(text, length, SIZE_MAX);
        }
        t.zoned = zone;
        if (zone && take_zone(&text, &t) < 0)
                return -1;
        if (text.length)
                return -1;
        *ret = t;
        return 0;
}

static struct view print_timestamp(struct arena *arena, const struct timestamp *t)
{
        size_t fraction = t->fraction.length > 9 ? 9 : t->fraction.length;
        char zone[16] = "Z";
        char *text;

        while (fraction > 0 && t->fraction.data[fraction - 1] == '0')
                fraction--;
        if (t->offset != 0)
                snprintf(zone, sizeof(zone), "%c%02d:%02d", t->offset < 0 ? '-' : '+', abs(t->offset) / 60, abs(t->offset) % 60);
        text = arena_printf(arena, "%04d-%02d-%02dT%02d:%02d:%02d%s%.*s%s", t->year, t->month, t->day, t->hour, t->minute,
                            t->second, fraction ? "." : "", (int)fraction, fraction ? t->fraction.data : "", zone);
        return view_of(text);
}

/* `[-+]?(\.d+|d+(\.d*)?)([eE][-+]?d+)?` */
static bool is_float(struct view text)
{
        size_t i = 0, digits = 0;

        if (i < text.length && (text.data[i] == '-' || text.data[i] == '+'))
                i++;
        while (i < text.length && is_digit(text.data[i]))
                i++, digits++;
        if (i < text.length && text.data[i] == '.') {
                size_t before = digits, after = 0;

                i++;
                while (i < text.length && is_digit(text.data[i]))
                        i++, after++;
                if (before == 0 && after == 0)
                        return false;
                digits += after;
        }
        if (digits == 0)
                return false;
        if (i < text.length && (text.data[i] == 'e' || text.data[i] == 'E')) {
                size_t exponent = 0;

                i++;
                if (i < text.length && (text.data[i] == '-' || text.data[i] == '+'))
                        i++;
                while (i < text.length && is_digit(text.data[i]))
                        i++, exponent++;
                if (exponent == 0)
                        return false;
        }
        return i == text.length;
}

/* Digits of `base` into *ret; -1 if there are others, none, or too many. */
static int parse_digits(struct view text, unsigned base, uint64_t *ret)
{
        uint64_t value = 0;

        if (text.length == 0)
                return -1;
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                unsigned digit;

                if (is_digit(c))
                        digit = (unsigned)(c - '0');
                else if (c >= 'a' && c <= 'f')
                        digit = (unsigned)(c - 'a') + 10;
                else if (c >= 'A' && c <= 'F')
                        digit = (unsigned)(c - 'A') + 10;
                else
                        return -1;
                if (digit >= base || __builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
                        return -1;
        }
        *ret = value;
        return 0;
}

/* Go's ParseInt(text, 0, 64) for text without underscores, then ParseUint. */
static int parse_integer_plain(struct view text, struct value *ret)
{
        bool negative = false, sign = false;
        unsigned base = 10;
        uint64_t magnitude;

        if (text.length && (text.data[0] == '-' || text.data[0] == '+')) {
                negative = text.data[0] == '-';
                sign = true;
                text = view_slice(text, 1, SIZE_MAX);
        }
        if (text.length > 1 && text.data[0] == '0') {
                char c = text.data[1];
                size_t skip = 2;

                if (c == 'x' || c == 'X')
                        base = 16;
                else if (c == 'b' || c == 'B')
                        base = 2;
                else if (c == 'o' || c == 'O')
                        base = 8;
                else
                        base = 8, skip = 1;
                text = view_slice(text, skip, SIZE_MAX);
        }
        if (parse_digits(text, base, &magnitude) < 0)
                return -1;
        if (negative ? magnitude > (uint64_t)INT64_MAX + 1 : magnitude > INT64_MAX) {
                if (negative || sign)
                        return -1;
                *ret = (struct value){ .kind = VALUE_UNSIGNED, .large = magnitude };
                return 0;
        }
        *ret = (struct value){ .kind = VALUE_SIGNED, .integer = (int64_t)(negative ? 0 - magnitude : magnitude) };
        return 0;
}

#define DIGITS 512

/* Without underscores, into `text`; -1 if it does not fit: no number is that long. */
static int strip_underscores(struct view text, char digits[DIGITS], struct view *ret)
{
        size_t length = 0;

        if (text.length >= DIGITS)
                return -1;
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] != '_')
                        digits[length++] = text.data[i];
        digits[length] = '\0';
        *ret = (struct view){ digits, length };
        return 0;
}

int scalar_parse_integer(struct view text, struct value *ret_value)
{
        char digits[DIGITS];
        struct view plain;

        if (strip_underscores(text, digits, &plain) < 0)
                return -1;
        return parse_integer_plain(plain, ret_value);
}

int scalar_parse_float(struct view text, double *ret_value)
{
        char digits[DIGITS];
        struct view plain;
        double value;

        if (is_one_of(text, ".inf .Inf .INF +.inf +.Inf +.INF")) {
                *ret_value = (double)INFINITY;
                return 0;
        }
        if (is_one_of(text, "-.inf -.Inf -.INF")) {
                *ret_value = -(double)INFINITY;
                return 0;
        }
        if (is_one_of(text, ".nan .NaN .NAN")) {
                *ret_value = (double)NAN;
                return 0;
        }
        if (strip_underscores(text, digits, &plain) < 0 || !is_float(plain))
                return -1;
        errno = 0;
        value = strtod(digits, NULL);
        if (isinf(value))
                return -1;
        *ret_value = value;
        return 0;
}

/* Go's ParseFloat: underscores only between digits. */
static enum node_tag resolve_dotted(struct view text)
{
        double real;

        if (is_one_of(text, ".nan .NaN .NAN .inf .Inf .INF"))
                return TAG_FLOAT;
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] == '_' && !(i + 1 < text.length && is_digit(text.data[i - 1]) && is_digit(text.data[i + 1])))
                        return TAG_STRING;
        return scalar_parse_float(text, &real) == 0 ? TAG_FLOAT : TAG_STRING;
}

static enum node_tag resolve_number(struct view text)
{
        struct timestamp timestamp;
        struct value value;
        double real;

        if (is_one_of(text, "+.inf +.Inf +.INF -.inf -.Inf -.INF"))
                return TAG_FLOAT;
        if (is_digit(text.data[0]) && parse_timestamp(text, &timestamp) == 0)
                return TAG_TIMESTAMP;
        if (scalar_parse_integer(text, &value) == 0)
                return TAG_INTEGER;
        if (scalar_parse_float(text, &real) == 0)
                return TAG_FLOAT;
        return TAG_STRING;
}

enum node_tag scalar_resolve(enum scalar_rules rules, struct view text)
{
        if (text.length == 0)
                return TAG_NULL;
        switch (text.data[0]) {
        case '~':
        case 'n':
        case 'N':
                if (is_one_of(text, "~ null Null NULL"))
                        return TAG_NULL;
                if (rules == SCALAR_CONFIGURATION && is_one_of(text, "n N no No NO"))
                        return TAG_BOOL;
                return TAG_STRING;
        case 't':
        case 'T':
                return is_one_of(text, "true True TRUE") ? TAG_BOOL : TAG_STRING;
        case 'f':
        case 'F':
                return is_one_of(text, "false False FALSE") ? TAG_BOOL : TAG_STRING;
        case 'y':
        case 'Y':
                return rules == SCALAR_CONFIGURATION && is_one_of(text, "y Y yes Yes YES") ? TAG_BOOL : TAG_STRING;
        case 'o':
        case 'O':
                return rules == SCALAR_CONFIGURATION && is_one_of(text, "on On ON off Off OFF") ? TAG_BOOL : TAG_STRING;
        case '.':
                return resolve_dotted(text);
        case '+':
        case '-':
        case '0' ... '9':
                return resolve_number(text);
        default:
                return TAG_STRING;
        }
}

bool scalar_is_base60(struct view text)
{
        size_t i = 0;
        unsigned parts = 0;

        if (i < text.length && (text.data[i] == '-' || text.data[i] == '+'))
                i++;
        if (i >= text.length || !is_digit(text.data[i]))
                return false;
        while (i < text.length && (is_digit(text.data[i]) || text.data[i] == '_'))
                i++;
        while (i < text.length && text.data[i] == ':') {
                size_t digits = 0;

                i++;
                while (i + digits < text.length && is_digit(text.data[i + digits]))
                        digits++;
                if (digits == 0 || digits > 2 || (digits == 2 && text.data[i] > '5'))
                        return false;
                i += digits;
                parts++;
        }
        if (parts == 0)
                return false;
        if (i < text.length && text.data[i] == '.') {
                i++;
                while (i < text.length && (is_digit(text.data[i]) || text.data[i] == '_'))
                        i++;
        }
        return i == text.length;
}

int scalar_check_finite(double value, struct error *error)
{
        if (isfinite(value))
                return 0;
        return error_set(error, ERROR_INVALID, "json: unsupported value: %s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
}

/* Shortest digits that read back, as mantissa digits and a decimal exponent: value = 0.d1d2.. * 10^exponent. */
static int shortest_digits(double value, char digits[32], int *ret_exponent)
{
        char text[64];
        int length = 0;

        for (int precision = 0; precision < 18; precision++) {
                snprintf(text, sizeof(text), "%.*e", precision, value);
                if (strtod(text, NULL) == value)
                        break;
        }
        for (const char *c = text; *c && *c != 'e'; c++)
                if (is_digit(*c))
                        digits[length++] = *c;
        while (length > 1 && digits[length - 1] == '0')
                length--;
        digits[length] = '\0';
        *ret_exponent = atoi(strchr(text, 'e') + 1) + 1;
        return length;
}

static void print_fixed(char *text, bool negative, const char *digits, int length, int exponent)
{
        char *out = text;

        if (negative)
                *out++ = '-';
        if (exponent <= 0) {
                *out++ = '0';
                *out++ = '.';
                for (int i = exponent; i < 0; i++)
                        *out++ = '0';
                memcpy(out, digits, (size_t)length);
                out += length;
        } else {
                for (int i = 0; i < length || i < exponent; i++) {
                        if (i == exponent)
                                *out++ = '.';
                        *out++ = i < length ? digits[i] : '0';
                }
        }
        *out = '\0';
}

static void print_exponent(char *text, bool negative, const char *digits, int length, int exponent, int least)
{
        int e = exponent - 1;

        snprintf(text, NUMBER_TEXT, "%s%c%s%.*se%c%0*d", negative ? "-" : "", digits[0], length > 1 ? "." : "", length - 1,
                 digits + 1, e < 0 ? '-' : '+', least, abs(e));
}

char *scalar_print_json_float(double value, char text[NUMBER_TEXT])
{
        char digits[32];
        bool negative = signbit(value) != 0;
        double size = fabs(value);
        int exponent, length;

        if (size == 0) {
                strcpy(text, negative ? "-0" : "0");
                return text;
        }
        length = shortest_digits(size, digits, &exponent);
        if (size < 1e-6 || size >= 1e21)
                print_exponent(text, negative, digits, length, exponent, size < 1e-6 ? 1 : 2);
        else
                print_fixed(text, negative, digits, length, exponent);
        return text;
}

char *scalar_print_general_float(double value, char text[NUMBER_TEXT])
{
        char digits[32];
        bool negative = signbit(value) != 0;
        int exponent, length;

        if (value == 0) {
                strcpy(text, negative ? "-0" : "0");
                return text;
        }
        length = shortest_digits(fabs(value), digits, &exponent);
        if (exponent - 1 < -4 || exponent - 1 >= 6)
                print_exponent(text, negative, digits, length, exponent, 2);
        else
                print_fixed(text, negative, digits, length, exponent);
        return text;
}

char *scalar_print_yaml_float(double value, char text[NUMBER_TEXT])
{
        struct value integer;

        if (value == 0) {
                strcpy(text, "0");
                return text;
        }
        /* Integral values went through JSON as plain digits, and come back as integers where they fit. */
        if (fabs(value) < 1e21 && value == trunc(value)) {
                scalar_print_json_float(value, text);
                if (scalar_parse_integer(view_of(text), &integer) == 0)
                        return text;
        }
        return scalar_print_general_float(value, text);
}

static int decode_binary(struct arena *arena, struct view text, struct value *ret, struct error *error)
{
        struct buffer bytes = BUFFER_NULL;
        int r = buffer_add_base64_decoded(&bytes, text);

        if (r == 0)
                *ret = (struct value){ .kind = VALUE_STRING, .string = arena_view(arena, buffer_view(&bytes)) };
        buffer_release(&bytes);
        return r == 0 ? 0 : error_set(error, ERROR_INVALID, "yaml: !!binary value contains invalid base64 data");
}

static int convert(struct arena *arena, enum node_tag tag, struct view text, struct value *ret)
{
        struct timestamp timestamp;
        double real;

        switch (tag) {
        case TAG_NULL:
                *ret = (struct value){ .kind = VALUE_NULL };
                return 0;
        case TAG_BOOL:
                *ret = (struct value){ .kind = VALUE_BOOL, .boolean = is_one_of(text, "true True TRUE y Y yes Yes YES on On ON") };
                return 0;
        case TAG_INTEGER:
                return scalar_parse_integer(text, ret);
        case TAG_FLOAT:
                if (scalar_parse_float(text, &real) < 0)
                        return -1;
                *ret = (struct value){ .kind = VALUE_FLOAT, .real = real };
                return 0;
        case TAG_TIMESTAMP:
                if (parse_timestamp(text, &timestamp) < 0)
                        return -1;
                *ret = (struct value){ .kind = VALUE_STRING, .string = print_timestamp(arena, &timestamp) };
                return 0;
        default:
                *ret = (struct value){ .kind = VALUE_STRING, .string = text };
                return 0;
        }
}

static const char *tag_name(enum node_tag tag)
{
        switch (tag) {
        case TAG_INTEGER:
                return "!!int";
        case TAG_FLOAT:
                return "!!float";
        case TAG_BOOL:
                return "!!bool";
        case TAG_NULL:
                return "!!null";
        case TAG_TIMESTAMP:
                return "!!timestamp";
        default:
                return "!!str";
        }
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

/* A text that the reference's emitter can write as a block scalar. */
static bool is_block_text(struct view text)
{
        if (text.length == 0 || text.data[text.length - 1] == ' ')
                return false;
        for (size_t i = 0; i < text.length; i++) {
                unsigned char c = (unsigned char)text.data[i];

                if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || (c == '\n' && i > 0 && text.data[i - 1] == ' '))
                        return false;
        }
        return true;
}

/* What go-yaml writes for a folded text: its rule for doubled line breaks looks at the start of the text instead of the next line. */
static void write_folded(struct buffer *out, struct view text)
{
        bool breaks = true, leading = true, blank;
        size_t first = 0;

        while (first < text.length && text.data[first] == '\n')
                first++;
        blank = first == text.length || is_blank(text.data[first]);
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];

                if (c == '\n') {
                        if (!breaks && !leading && !blank)
                                buffer_add_char(out, '\n');
                } else if (breaks) {
                        leading = is_blank(c);
                }
                buffer_add_char(out, c);
                breaks = c == '\n';
        }
}

/* Reads the lines of a folded block scalar; what follows the last line is kept as the header's chomping says. */
static void read_folded(struct buffer *out, struct view lines, bool strip, bool keep)
{
        size_t breaks = 0, pending = 0; /* line breaks behind the last line, and more of them by empty lines */
        bool blank_before = false, any = false;
        struct view line;

        while (lines.length && view_split(&lines, '\n', &line)) {
                bool blank = line.length && is_blank(line.data[0]);

                if (line.length == 0) {
                        pending++;
                        continue;
                }
                if (any && !blank_before && !blank && pending == 0)
                        buffer_add_char(out, ' ');
                if (any && (blank_before || blank))
                        buffer_add_char(out, '\n');
                for (; pending > 0; pending--)
                        buffer_add_char(out, '\n');
                buffer_add_view(out, line);
                blank_before = blank;
                any = true;
                breaks = 1;
        }
        if (!strip && breaks)
                buffer_add_char(out, '\n');
        for (; keep && pending > 0; pending--)
                buffer_add_char(out, '\n');
}

/* A folded text after it was written out and read back, which the reference does with every resource. */
static struct view refold(struct arena *arena, struct view text)
{
        bool ends = view_ends(text, VIEW("\n")), twice = view_ends(text, VIEW("\n\n")) || view_is(text, "\n");
        struct buffer written = BUFFER_NULL, read = BUFFER_NULL;
        struct view result;

        if (!is_block_text(text) || view_find(text, '\n', 0) < 0)
                return text;
        write_folded(&written, text);
        read_folded(&read, buffer_view(&written), !ends, twice);
        result = arena_view(arena, buffer_view(&read));
        buffer_release(&written);
        buffer_release(&read);
        return result;
}

static bool flow_makes_string(const struct node *node)
{
        enum node_tag tag = node->tag;

        if (node->style != STYLE_PLAIN || node->explicit_tag)
                return false;
        if (tag == TAG_NONE)
                tag = scalar_resolve(SCALAR_RESOURCES, node_text(node));
        return (tag == TAG_NULL && node->count == 0) || (tag == TAG_TIMESTAMP && view_find(node_text(node), ':', 0) >= 0);
}

int scalar_value(struct arena *arena, const struct node *node, bool flow, struct value *ret_value, struct error *error)
{
        struct view text = node_text(node);
        enum node_tag tag = node->tag, resolved;

        if (node->style == STYLE_FOLDED && !flow)
                text = refold(arena, text);
        if (tag == TAG_STRING || tag == TAG_OTHER || tag == TAG_MERGE || (flow && flow_makes_string(node))) {
                *ret_value = (struct value){ .kind = VALUE_STRING, .string = text };
                return 0;
        }
        if (tag == TAG_BINARY)
                return decode_binary(arena, text, ret_value, error);
        if (tag == TAG_NONE) {
                if (node->style != STYLE_PLAIN || view_find(text, '\n', 0) >= 0)
                        resolved = TAG_STRING;
                else
                        resolved = scalar_resolve(SCALAR_RESOURCES, text);
                if (convert(arena, resolved, text, ret_value) < 0)
                        *ret_value = (struct value){ .kind = VALUE_STRING, .string = text };
                return 0;
        }
        resolved = scalar_resolve(SCALAR_RESOURCES, text);
        if (resolved != tag && !(resolved == TAG_INTEGER && tag == TAG_FLOAT))
                return error_set(error, ERROR_INVALID, "yaml: cannot decode %s `%.*s` as a %s", tag_name(resolved), VIEW_ARGS(text),
                                 tag_name(tag));
        if (resolved == tag && node->style != STYLE_PLAIN && !node->explicit_tag) {
                *ret_value = (struct value){ .kind = VALUE_STRING, .string = text };
                return 0;
        }
        if (convert(arena, tag, text, ret_value) < 0)
                return error_set(error, ERROR_INVALID, "yaml: cannot decode %s `%.*s` as a %s", tag_name(resolved), VIEW_ARGS(text),
                                 tag_name(tag));
        return 0;
}
