#define ERROR_IMPLEMENTATION
#include "base/error.h"

#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void error_release(struct error *error)
{
        free(error->message);
        *error = ERROR_NULL;
}

__attribute__((format(printf, 4, 0))) static void fill(struct error *error, enum error_kind kind, const char *reason,
                                                       const char *format, va_list arguments)
{
        char *message = NULL;

        if (vasprintf(&message, format, arguments) < 0)
                memory_exhausted();
        error_release(error); /* after the printing: an argument may be the old message */
        error->kind = kind;
        error->message = message;
        if (reason)
                snprintf(error->reason, sizeof(error->reason), "%s", reason);
}

int error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        fill(error, kind, NULL, format, arguments);
        va_end(arguments);
        return -1;
}

int error_set_reason(struct error *error, enum error_kind kind, const char *reason, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        fill(error, kind, reason, format, arguments);
        va_end(arguments);
        return -1;
}

static enum error_kind kind_of_errno(int number)
{
        switch (number) {
        case ENOENT:
                return ERROR_NOT_FOUND;
        case EACCES:
        case EPERM:
                return ERROR_FORBIDDEN;
        case EFBIG:
        case E2BIG:
        case EMSGSIZE:
                return ERROR_TOO_LARGE;
        case ETIMEDOUT:
                return ERROR_TIMEOUT;
        case ECONNREFUSED:
        case ECONNRESET:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EPIPE:
                return ERROR_UNAVAILABLE;
        default:
                return ERROR_INTERNAL;
        }
}

/* In lower case, as Go prints the common ones: users search for these texts. */
static const char *errno_text(int number, char *space, size_t size)
{
        const char *text;

        switch (number) {
        case ENOENT:
                return "no such file or directory";
        case ENOTDIR:
                return "not a directory";
        case EISDIR:
                return "is a directory";
        case EACCES:
                return "permission denied";
        case EPERM:
                return "operation not permitted";
        case ENOSPC:
                return "no space left on device";
        case EEXIST:
                return "file exists";
        case ELOOP:
                return "too many levels of symbolic links";
        case ECONNREFUSED:
                return "connection refused";
        case ECONNRESET:
                return "connection reset by peer";
        default:
                text = strerror_r(number, space, size);
                return text;
        }
}

int error_set_errno(struct error *error, int number, const char *format, ...)
{
        char space[128];
        va_list arguments;

        va_start(arguments, format);
        fill(error, kind_of_errno(number), NULL, format, arguments);
        va_end(arguments);
        {
                char *message = memory_printf("%s: %s", error->message, errno_text(number, space, sizeof(space)));

                free(error->message);
                error->message = message;
        }
        return -1;
}

int error_wrap(struct error *error, const char *format, ...)
{
        va_list arguments;
        char *context = NULL;
        char *message;

        va_start(arguments, format);
        if (vasprintf(&context, format, arguments) < 0)
                memory_exhausted();
        va_end(arguments);
        message = memory_printf("%s: %s", context, error_message(error));
        free(context);
        free(error->message);
        error->message = message;
        return -1;
}

int error_reason(struct error *error, const char *reason)
{
        snprintf(error->reason, sizeof(error->reason), "%s", reason);
        return -1;
}

int error_move(struct error *target, struct error *source)
{
        if (target != source) {
                error_release(target);
                *target = *source;
                *source = ERROR_NULL;
        }
        return -1;
}

const char *error_message(const struct error *error)
{
        return error->message ? error->message : "";
}
