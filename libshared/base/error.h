/*
 * error: what went wrong, for the one who decides and for the one who reads.
 *
 * A function that can fail takes a `struct error *` last and returns 0, a positive outcome that its header names, or -1 with the error
 * filled. The kind decides what a controller does (retry, wait, stall), the reason is what a condition shows, the message is what a person
 * reads: what was being done, to which object, what went wrong, what to do. Each caller on the way up may add context in front.
 */
#pragma once

#include <stdint.h>

enum error_kind {
        ERROR_NONE,
        ERROR_INTERNAL,    /* the system or weir itself: no descriptors, no disk, a broken invariant; retried */
        ERROR_INVALID,     /* the input is wrong and stays wrong until somebody changes it */
        ERROR_NOT_FOUND,   /* what was named does not exist */
        ERROR_CONFLICT,    /* somebody else changed or owns it */
        ERROR_FORBIDDEN,   /* credentials are missing, wrong, or not enough */
        ERROR_UNAVAILABLE, /* a peer cannot be reached or answers that it cannot serve now; retried */
        ERROR_TIMEOUT,     /* a deadline passed */
        ERROR_CANCELLED,   /* the context was cancelled: nothing to report */
        ERROR_TOO_LARGE,   /* a limit on what a user or a server may send */
        ERROR_UNSUPPORTED, /* asked for by name, and not there */
};

struct error {
        enum error_kind kind;
        char reason[64];        /* a condition reason or the API server's Status reason; may be empty */
        int http_status;        /* of the answer that was the cause; 0: none */
        int64_t retry_after_ms; /* the peer's hint; 0: none */
        char *message;          /* owned; NULL if kind is ERROR_NONE */
};

#define ERROR_NULL ((struct error){ .kind = ERROR_NONE })

void error_release(struct error *error); /* for cleanup(error_release); leaves ERROR_NULL */

/* Fills the error (what was in it is released) and returns -1. */
int error_set(struct error *error, enum error_kind kind, const char *format, ...) __attribute__((__format__(__printf__, 3, 4)));
/* As error_set, with a reason. */
int error_set_reason(struct error *error, enum error_kind kind, const char *reason, const char *format, ...)
        __attribute__((__format__(__printf__, 4, 5)));
/* From errno: "<what>: <strerror>". ENOENT, EACCES, EPERM, ENOSPC and the like choose the kind. */
int error_set_errno(struct error *error, int number, const char *format, ...) __attribute__((__format__(__printf__, 3, 4)));
/* Puts "<context>: " in front of the message, keeps the rest, returns -1. */
int error_wrap(struct error *error, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));
/* Replaces the reason, returns -1. */
int error_reason(struct error *error, const char *reason);
/* Moves; the target's old content is released, the source is empty afterwards. Returns -1. */
int error_move(struct error *target, struct error *source);
/* The message, "" if there is none. */
const char *error_message(const struct error *error);

/* Leaves the function when a call fails or ends with an outcome: the caller of this one handles both. */
#define TRY(call)                                                                                                                  \
        do {                                                                                                                       \
                int try_result_ = (call);                                                                                          \
                if (try_result_ != 0)                                                                                              \
                        return try_result_;                                                                                        \
        } while (0)

/* The analyzer looks at one file at a time: it is told here what these return. */
#if defined(__clang_analyzer__) && !defined(ERROR_IMPLEMENTATION)
#define error_set(...)        (error_set(__VA_ARGS__), -1)
#define error_set_reason(...) (error_set_reason(__VA_ARGS__), -1)
#define error_set_errno(...)  (error_set_errno(__VA_ARGS__), -1)
#define error_wrap(...)       (error_wrap(__VA_ARGS__), -1)
#define error_reason(...)     (error_reason(__VA_ARGS__), -1)
#define error_move(...)       (error_move(__VA_ARGS__), -1)
#endif
