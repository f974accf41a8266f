/*
 * log: one JSON object a line on standard error, with the keys `flux logs` reads.
 *
 * Order of keys: level, ts, logger, msg, the context's fields, the line's own fields, error, and of an error at debug level and below stacktrace. A
 * context (a controller, a run) holds its fields as rendered text, so a line costs one formatting and one write. A message ends after 64 KiB. Of
 * equal lines (level and message) in one second the first hundred are written and then every hundredth; at trace level all are.
 *
 * Libraries return errors; programs log them, once. Safe from any thread.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

enum log_level {
        LOG_TRACE,
        LOG_DEBUG,
        LOG_INFO,
        LOG_ERROR,
};

/* Fields in the order they are added. Zero-initialised it is empty; release with log_fields_release. */
struct log_fields {
        struct buffer text; /* ,"key":value... */
};

#define LOG_FIELDS_NULL ((struct log_fields){ BUFFER_NULL })

void log_fields_release(struct log_fields *fields);
void log_field(struct log_fields *fields, const char *key, const char *value);
void log_field_view(struct log_fields *fields, const char *key, struct view value);
void log_field_integer(struct log_fields *fields, const char *key, int64_t value);
/* `json` is a rendered JSON value and is taken as it is. */
void log_field_json(struct log_fields *fields, const char *key, struct view json);

/* "trace", "debug", "info" or "error". -1 if the text is none of them. */
int log_level_parse(const char *text, enum log_level *ret_level);
/* Before the first line; the default is info, JSON. */
void log_setup(enum log_level level, bool console);
bool log_enabled(enum log_level level);

/*
 * One line. `logger` (may be NULL) is the component's name, `context` and `fields` (may be NULL) are added in this order, `error` (may be NULL)
 * becomes the key "error".
 */
void log_line(enum log_level level, const char *logger, const struct log_fields *context, const struct log_fields *fields,
              const struct error *error, const char *format, ...) __attribute__((__format__(__printf__, 6, 7)));

#define log_debug(context, ...)        log_line(LOG_DEBUG, NULL, (context), NULL, NULL, __VA_ARGS__)
#define log_info(context, ...)         log_line(LOG_INFO, NULL, (context), NULL, NULL, __VA_ARGS__)
#define log_error(context, error, ...) log_line(LOG_ERROR, NULL, (context), NULL, (error), __VA_ARGS__)
