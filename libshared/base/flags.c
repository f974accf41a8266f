#include "base/flags.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int flag_bool_parse(const char *text, bool *ret_value)
{
        static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
        static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

        for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
                if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
                        *ret_value = strcmp(text, yes[i]) == 0;
                        return 0;
                }
        }
        return -1;
}

static int parse_number(const char *text, double *ret_value)
{
        char *end;
        double value = strtod(text, &end);

        if (end == text || *end || !isfinite(value))
                return -1;
        *ret_value = value;
        return 0;
}

static int add_items(struct flag_list *list, const char *text, struct error *error)
{
        struct view rest = view_of(text), item;

        while (view_split(&rest, ',', &item)) {
                if (!item.length)
                        continue;
                if (list->count == FLAG_LIST_LIMIT)
                        return error_set(error, ERROR_TOO_LARGE, "more than %d items", FLAG_LIST_LIMIT);
                list->items[list->count++] = item;
        }
        return 0;
}

static int set_value(const struct flag *flag, const char *text, struct error *error)
{
        int64_t number;

        switch (flag->type) {
        case FLAG_STRING:
                *(const char **)flag->target = text;
                return 0;
        case FLAG_BOOL:
                if (flag_bool_parse(text, flag->target) == 0)
                        return 0;
                return error_set(error, ERROR_INVALID, "\"%s\" is not true or false", text);
        case FLAG_INTEGER:
                if (view_to_int64(view_of(text), &number) < 0)
                        return error_set(error, ERROR_INVALID, "\"%s\" is not a number", text);
                if ((flag->minimum || flag->maximum) && (number < flag->minimum || number > flag->maximum))
                        return error_set(error, ERROR_INVALID, "%s is not between %lld and %lld", text, (long long)flag->minimum,
                                         (long long)flag->maximum);
                *(int64_t *)flag->target = number;
                return 0;
        case FLAG_NUMBER:
                if (parse_number(text, flag->target) == 0)
                        return 0;
                return error_set(error, ERROR_INVALID, "\"%s\" is not a number", text);
        case FLAG_DURATION:
                if (duration_parse(view_of(text), flag->target) == 0)
                        return 0;
                return error_set(error, ERROR_INVALID, "\"%s\" is not a duration", text);
        case FLAG_LIST:
                return add_items(flag->target, text, error);
        }
        return error_set(error, ERROR_INTERNAL, "unknown type of flag --%s", flag->name);
}

int flags_defaults(const struct flag *flags, size_t count, struct error *error)
{
        for (size_t i = 0; i < count; i++) {
                const char *text = flags[i].environment ? getenv(flags[i].environment) : NULL;

                if (!text || !*text)
                        text = flags[i].initial;
                if (!text)
                        text = flags[i].type == FLAG_BOOL                                   ? "false"
                               : flags[i].type == FLAG_STRING || flags[i].type == FLAG_LIST ? ""
                                                                                            : "0";
                if (flags[i].type == FLAG_LIST)
                        ((struct flag_list *)flags[i].target)->count = 0;
                if (set_value(&flags[i], text, error) < 0)
                        return error_wrap(error, "default of --%s", flags[i].name);
        }
        return 0;
}

static const struct flag *find(const struct flag *flags, size_t count, struct view name)
{
        for (size_t i = 0; i < count; i++)
                if (view_is(name, flags[i].name))
                        return &flags[i];
        return NULL;
}

int flags_parse(const struct flag *flags, size_t count, int argc, char **argv, int *ret_rest, struct error *error)
{
        bool replaced[256] = { false }; /* the first --list of the command line replaces its default */
        int at = 1;

        if (count > sizeof(replaced))
                return error_set(error, ERROR_INTERNAL, "more than %zu flags", sizeof(replaced));
        for (; at < argc; at++) {
                const char *argument = argv[at], *value;
                const struct flag *flag;
                struct view name;

                if (strcmp(argument, "--") == 0) {
                        at++;
                        break;
                }
                if (argument[0] != '-' || !argument[1])
                        break;
                if (strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0)
                        return FLAGS_HELP;
                if (argument[1] != '-')
                        return error_set(error, ERROR_INVALID, "unknown shorthand flag: '%c' in %s", argument[1], argument);
                value = strchr(argument, '=');
                name = value ? (struct view){ argument + 2, (size_t)(value - argument - 2) } : view_of(argument + 2);
                flag = find(flags, count, name);
                if (!flag)
                        return error_set(error, ERROR_INVALID, "unknown flag: --%.*s", VIEW_ARGS(name));
                if (value)
                        value++;
                else if (flag->type == FLAG_BOOL)
                        value = "true";
                else if (at + 1 < argc)
                        value = argv[++at];
                else
                        return error_set(error, ERROR_INVALID, "flag needs an argument: --%s", flag->name);
                if (flag->type == FLAG_LIST && !replaced[flag - flags]) {
                        replaced[flag - flags] = true;
                        ((struct flag_list *)flag->target)->count = 0;
                }
                if (set_value(flag, value, error) < 0)
                        return error_wrap(error, "invalid argument \"%s\" for \"--%s\" flag", value, flag->name);
        }
        *ret_rest = at;
        return 0;
}

void flags_usage(const struct flag *flags, size_t count, const char *program, FILE *out)
{
        static const char *const types[] = { " string", "", " int", " float", " duration", " strings" };

        fprintf(out, "Usage of %s:\n", program);
        for (size_t i = 0; i < count; i++) {
                fprintf(out, "      --%s%s\n            %s", flags[i].name, types[flags[i].type],
                        flags[i].help ? flags[i].help : "");
                if (flags[i].initial && *flags[i].initial)
                        fprintf(out, " (default %s)", flags[i].initial);
                fputc('\n', out);
        }
}

int feature_gates_parse(struct feature_gate *gates, size_t count, const struct flag_list *list, struct error *error)
{
        for (size_t at = 0; at < list->count; at++) {
                struct view item = list->items[at];
                ptrdiff_t equals = view_find(item, '=', 0);
                struct view name = view_trim(equals < 0 ? item : view_slice(item, 0, (size_t)equals));
                char value[8] = "";
                size_t i;

                if (equals >= 0)
                        snprintf(value, sizeof(value), "%.*s",
                                 VIEW_ARGS(view_trim(view_slice(item, (size_t)equals + 1, SIZE_MAX))));
                for (i = 0; i < count && !view_is(name, gates[i].name); i++)
                        ;
                if (i == count)
                        return error_set(error, ERROR_INVALID, "feature-gate '%.*s' not supported", VIEW_ARGS(name));
                if (flag_bool_parse(value, &gates[i].enabled) < 0)
                        return error_set(error, ERROR_INVALID, "feature-gate '%.*s': \"%s\" is not true or false", VIEW_ARGS(name),
                                         value);
        }
        return 0;
}

bool feature_gate(const struct feature_gate *gates, size_t count, const char *name)
{
        for (size_t i = 0; i < count; i++)
                if (strcmp(gates[i].name, name) == 0)
                        return gates[i].enabled;
        return false;
}
