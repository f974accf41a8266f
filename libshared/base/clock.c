#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int64_t clock_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * DURATION_SECOND + now.tv_nsec;
}

int64_t clock_now_ms(void)
{
        return clock_now_ns() / DURATION_MILLISECOND;
}

int64_t clock_wall_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct timespec clock_timespec(int64_t ms)
{
        return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * DURATION_MILLISECOND };
}

int64_t duration_wait_ms(int64_t ns)
{
        return ns / DURATION_MILLISECOND + (ns % DURATION_MILLISECOND > 0 ? 1 : 0);
}

static int unit_of(struct view text, size_t *at, int64_t *ret_ns)
{
        static const struct {
                const char *name;
                int64_t ns;
        } units[] = {
                { "ns", 1 },
                { "us", 1000 },
                { "\xc2\xb5s", 1000 },
                { "\xce\xbcs", 1000 },
                { "ms", DURATION_MILLISECOND },
                { "s", DURATION_SECOND },
                { "m", 60 * DURATION_SECOND },
                { "h", 3600 * DURATION_SECOND },
        };

        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                if (view_starts(view_slice(text, *at, SIZE_MAX), view_of(units[i].name))) {
                        *at += strlen(units[i].name);
                        *ret_ns = units[i].ns;
                        return 0;
                }
        }
        return -1;
}

int duration_parse(struct view text, int64_t *ret_ns)
{
        bool negative = false;
        int64_t total = 0;
        size_t at = 0;

        if (text.length && (text.data[0] == '-' || text.data[0] == '+'))
                negative = text.data[at++] == '-';
        if (view_is(view_slice(text, at, SIZE_MAX), "0")) {
                *ret_ns = 0;
                return 0;
        }
        if (at == text.length)
                return -1;
        while (at < text.length) {
                int64_t whole = 0, unit, part;
                double fraction = 0, scale = 1;
                size_t digits = 0;

                for (; at < text.length && text.data[at] >= '0' && text.data[at] <= '9'; at++, digits++)
                        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, text.data[at] - '0', &whole))
                                return -1;
                if (at < text.length && text.data[at] == '.')
                        for (at++; at < text.length && text.data[at] >= '0' && text.data[at] <= '9'; at++, digits++) {
                                scale /= 10;
                                fraction += scale * (text.data[at] - '0');
                        }
                if (!digits || unit_of(text, &at, &unit) < 0 || __builtin_mul_overflow(whole, unit, &part) ||
                    __builtin_add_overflow(total, part, &total) ||
                    __builtin_add_overflow(total, (int64_t)(fraction * (double)unit + 0.5), &total))
                        return -1;
        }
        *ret_ns = negative ? -total : total;
        return 0;
}

/* The fraction without trailing zeros; nothing at all for 0. */
static size_t print_fraction(char *text, uint64_t fraction, unsigned digits)
{
        char space[24];
        size_t length;

        if (!fraction)
                return 0;
        snprintf(space, sizeof(space), ".%0*llu", (int)digits, (unsigned long long)fraction);
        length = strlen(space);
        while (space[length - 1] == '0')
                length--;
        memcpy(text, space, length);
        return length;
}

char *duration_print(int64_t ns, char text[DURATION_TEXT])
{
        uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
        char *p = text;

        if (ns < 0)
                *p++ = '-';
        if (u == 0) {
                strcpy(p, "0s");
        } else if (u < 1000000000) {
                uint64_t unit = u < 1000 ? 1 : u < 1000000 ? 1000 : 1000000;
                unsigned digits = u < 1000 ? 0 : u < 1000000 ? 3 : 6;

                p += sprintf(p, "%llu", (unsigned long long)(u / unit));
                p += print_fraction(p, u % unit, digits);
                strcpy(p, unit == 1 ? "ns" : unit == 1000 ? "\xc2\xb5s" : "ms");
        } else {
                uint64_t seconds = u / 1000000000;

                if (seconds >= 3600)
                        p += sprintf(p, "%lluh", (unsigned long long)(seconds / 3600));
                if (seconds >= 60)
                        p += sprintf(p, "%llum", (unsigned long long)(seconds / 60 % 60));
                p += sprintf(p, "%llu", (unsigned long long)(seconds % 60));
                p += print_fraction(p, u % 1000000000, 9);
                strcpy(p, "s");
        }
        return text;
}

static char *print_time(int64_t wall_us, int digits, char text[TIME_TEXT])
{
        int64_t seconds = wall_us / 1000000, fraction = wall_us % 1000000;
        struct tm parts;
        time_t when;
        size_t length;

        if (fraction < 0) {
                fraction += 1000000;
                seconds--;
        }
        when = (time_t)seconds;
        gmtime_r(&when, &parts);
        length = strftime(text, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &parts);
        if (digits == 0)
                snprintf(text + length, TIME_TEXT - length, "Z");
        else
                snprintf(text + length, TIME_TEXT - length, ".%0*dZ", digits, (int)(digits == 3 ? fraction / 1000 : fraction));
        return text;
}

char *time_print(int64_t wall_us, char text[TIME_TEXT])
{
        return print_time(wall_us, 0, text);
}

char *time_print_ms(int64_t wall_us, char text[TIME_TEXT])
{
        return print_time(wall_us, 3, text);
}

char *time_print_us(int64_t wall_us, char text[TIME_TEXT])
{
        return print_time(wall_us, 6, text);
}

static int digits_at(struct view text, size_t at, size_t count, int64_t *ret_value)
{
        uint64_t value;

        if (at + count > text.length || view_to_uint64(view_slice(text, at, count), &value) < 0)
                return -1;
        *ret_value = (int64_t)value;
        return 0;
}

int time_parse(struct view text, int64_t *ret_wall_us)
{
        int64_t year, month, day, hour, minute, second, offset = 0, micros = 0, scale = 100000;
        size_t at = 19;
        struct tm parts;

        if (text.length < 20 || text.data[4] != '-' || text.data[7] != '-' || (text.data[10] != 'T' && text.data[10] != 't') ||
            text.data[13] != ':' || text.data[16] != ':' || digits_at(text, 0, 4, &year) < 0 || digits_at(text, 5, 2, &month) < 0 ||
            digits_at(text, 8, 2, &day) < 0 || digits_at(text, 11, 2, &hour) < 0 || digits_at(text, 14, 2, &minute) < 0 ||
            digits_at(text, 17, 2, &second) < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
            second > 60)
                return -1;
        if (text.data[at] == '.') {
                size_t first = ++at;

                for (; at < text.length && text.data[at] >= '0' && text.data[at] <= '9'; at++, scale /= 10)
                        micros += (text.data[at] - '0') * scale;
                if (at == first)
                        return -1;
        }
        if (at + 6 == text.length && (text.data[at] == '+' || text.data[at] == '-') && text.data[at + 3] == ':') {
                int64_t hours, minutes;

                if (digits_at(text, at + 1, 2, &hours) < 0 || digits_at(text, at + 4, 2, &minutes) < 0 || hours > 23 ||
                    minutes > 59)
                        return -1;
                offset = (hours * 60 + minutes) * (text.data[at] == '-' ? -60 : 60);
        } else if (at + 1 != text.length || (text.data[at] != 'Z' && text.data[at] != 'z')) {
                return -1;
        }
        parts = (struct tm){ .tm_year = (int)year - 1900,
                             .tm_mon = (int)month - 1,
                             .tm_mday = (int)day,
                             .tm_hour = (int)hour,
                             .tm_min = (int)minute,
                             .tm_sec = (int)second };
        *ret_wall_us = ((int64_t)timegm(&parts) - offset) * 1000000 + micros;
        return 0;
}

double clock_random(void)
{
        uint64_t bits;

        if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
                bits = (uint64_t)clock_now_ns() * 0x9e3779b97f4a7c15u;
        return (double)(bits >> 11) * 0x1.0p-53;
}
