#include "base/hash.h"
#include "base/log.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/stack.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_LIMIT (64 * 1024)
#define SAMPLE_SLOTS  1024
#define SAMPLE_FIRST  100
#define SAMPLE_EVERY  100

static const char *const level_names[] = { "trace", "debug", "info", "error" };
static const char *const level_console[] = { "TRACE", "DEBUG", "INFO", "ERROR" };

static enum log_level threshold = LOG_INFO;
static bool as_console;

static struct {
        pthread_mutex_t lock;
        struct {
                int64_t second;
                unsigned count;
        } slots[SAMPLE_SLOTS];
} sampler = { .lock = PTHREAD_MUTEX_INITIALIZER };

void log_fields_release(struct log_fields *fields)
{
        buffer_release(&fields->text);
}

static void add_key(struct buffer *text, const char *key)
{
        buffer_add_string(text, ",\"");
        buffer_add_json(text, view_of(key));
        buffer_add_string(text, "\":");
}

void log_field_view(struct log_fields *fields, const char *key, struct view value)
{
        add_key(&fields->text, key);
        buffer_add_char(&fields->text, '"');
        buffer_add_json(&fields->text, value);
        buffer_add_char(&fields->text, '"');
}

void log_field(struct log_fields *fields, const char *key, const char *value)
{
        log_field_view(fields, key, view_of(value));
}

void log_field_integer(struct log_fields *fields, const char *key, int64_t value)
{
        add_key(&fields->text, key);
        buffer_printf(&fields->text, "%lld", (long long)value);
}

void log_field_json(struct log_fields *fields, const char *key, struct view json)
{
        add_key(&fields->text, key);
        buffer_add_view(&fields->text, json);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
        for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
                if (strcmp(text, level_names[i]) == 0) {
                        *ret_level = (enum log_level)i;
                        return 0;
                }
        }
        return -1;
}

static bool shows_stacks(void)
{
        return threshold <= LOG_DEBUG;
}

void log_setup(enum log_level level, bool console)
{
        cleanup(buffer_release) struct buffer ignored = BUFFER_NULL;

        threshold = level;
        as_console = console;
        if (shows_stacks())
                stack_print(&ignored); /* loads what it needs now: a job could not */
}

bool log_enabled(enum log_level level)
{
        return level >= threshold;
}

/* Two messages that share a slot share a budget: the table stays small, and a flood of one line still cannot drown the rest. */
static bool sampled_out(enum log_level level, struct view message)
{
        uint64_t slot = hash_add(HASH_EMPTY + level, message) % SAMPLE_SLOTS;
        int64_t second = clock_now_ms() / 1000;
        unsigned count;

        if (threshold == LOG_TRACE)
                return false;
        pthread_mutex_lock(&sampler.lock);
        if (sampler.slots[slot].second != second) {
                sampler.slots[slot].second = second;
                sampler.slots[slot].count = 0;
        }
        count = ++sampler.slots[slot].count;
        pthread_mutex_unlock(&sampler.lock);
        return count > SAMPLE_FIRST && (count - SAMPLE_FIRST) % SAMPLE_EVERY != 0;
}

/* In one write where the kernel allows it, so that lines of several threads (and of jobs) do not mix. */
static void write_line(struct view line)
{
        while (line.length) {
                ssize_t written = write(STDERR_FILENO, line.data, line.length);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written <= 0)
                        return; /* nobody reads: there is no better place to say so */
                line = view_slice(line, (size_t)written, SIZE_MAX);
        }
}

static void render_json(struct buffer *line, enum log_level level, const char *logger, struct view message)
{
        char time[TIME_TEXT];

        buffer_printf(line, "{\"level\":\"%s\",\"ts\":\"%s\"", level_names[level], time_print_ms(clock_wall_us(), time));
        if (logger) {
                buffer_add_string(line, ",\"logger\":\"");
                buffer_add_json(line, view_of(logger));
                buffer_add_char(line, '"');
        }
        buffer_add_string(line, ",\"msg\":\"");
        buffer_add_json(line, message);
        buffer_add_char(line, '"');
}

static void render_console(struct buffer *line, enum log_level level, const char *logger, struct view message)
{
        char time[TIME_TEXT];

        buffer_printf(line, "%s\t%s\t", time_print_ms(clock_wall_us(), time), level_console[level]);
        if (logger)
                buffer_printf(line, "%s\t", logger);
        buffer_add_view(line, message);
}

void log_line(enum log_level level, const char *logger, const struct log_fields *context, const struct log_fields *fields,
              const struct error *error, const char *format, ...)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL, line = BUFFER_NULL, extra = BUFFER_NULL;
        cleanup(buffer_release) struct buffer stack = BUFFER_NULL;
        struct view message;
        va_list arguments;

        if (!log_enabled(level))
                return;
        va_start(arguments, format);
        buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        message = utf8_cut(buffer_view(&text), MESSAGE_LIMIT);
        if (sampled_out(level, message))
                return;
        if (context)
                buffer_add_view(&extra, buffer_view(&context->text));
        if (fields)
                buffer_add_view(&extra, buffer_view(&fields->text));
        if (error && error->kind != ERROR_NONE) {
                buffer_add_string(&extra, ",\"error\":\"");
                buffer_add_json(&extra, view_of(error_message(error)));
                buffer_add_char(&extra, '"');
        }
        if (level == LOG_ERROR && shows_stacks())
                stack_print(&stack);
        if (as_console) {
                render_console(&line, level, logger, message);
                if (extra.length)
                        buffer_printf(&line, "\t{%s}", buffer_string(&extra) + 1);
                buffer_printf(&line, "%s%s", stack.length ? "\n" : "", buffer_string(&stack));
        } else {
                render_json(&line, level, logger, message);
                buffer_add_view(&line, buffer_view(&extra));
                if (stack.length) {
                        buffer_add_string(&line, ",\"stacktrace\":\"");
                        buffer_add_json(&line, buffer_view(&stack));
                        buffer_add_char(&line, '"');
                }
                buffer_add_char(&line, '}');
        }
        buffer_add_char(&line, '\n');
        write_line(buffer_view(&line));
}
