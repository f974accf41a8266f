/*
 * clock: instants and durations as the Kubernetes API writes them.
 *
 * Intervals and deadlines use the monotonic clock in milliseconds; only what is shown to people is wall time. Durations are Go's: text such
 * as "1h2m3.5s" on the outside, nanoseconds inside.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>
#include <time.h>

#define CLOCK_NEVER INT64_MAX

int64_t clock_now_ms(void);  /* monotonic, milliseconds */
int64_t clock_now_ns(void);  /* monotonic, nanoseconds */
int64_t clock_wall_us(void); /* since 1970, microseconds */
/* For the calls of libc: an instant of the monotonic clock, or a length of time. */
struct timespec clock_timespec(int64_t ms);

/* Durations are nanoseconds, waits milliseconds: what lies between. */
#define DURATION_MILLISECOND INT64_C(1000000)
#define DURATION_SECOND      INT64_C(1000000000)
/* As a wait: rounded up, so that what is not nothing stays so. */
int64_t duration_wait_ms(int64_t ns);

/* Go duration text to nanoseconds: "[-+]?(number unit)+" with ns us µs ms s m h, or "0". -1 if it is none or overflows. */
int duration_parse(struct view text, int64_t *ret_ns);
/* As Go prints it: "10m0s", "1.5s", "90ms", "0s". Into `text`, which is returned. */
#define DURATION_TEXT 32
char *duration_print(int64_t ns, char text[DURATION_TEXT]);

/* RFC 3339 in UTC: seconds "2006-01-02T15:04:05Z", milliseconds "....000Z", microseconds "....000000Z". */
#define TIME_TEXT 32
char *time_print(int64_t wall_us, char text[TIME_TEXT]);
char *time_print_ms(int64_t wall_us, char text[TIME_TEXT]);
char *time_print_us(int64_t wall_us, char text[TIME_TEXT]);
/* Any RFC 3339 text, with fraction and offset, to microseconds since 1970. -1 if it is none. */
int time_parse(struct view text, int64_t *ret_wall_us);

/* A uniformly random number in [0, 1), from the kernel's generator; for jitter, not for keys. */
double clock_random(void);
