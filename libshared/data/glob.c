#include "data/glob.h"

/* One character of the text, one byte where it is no UTF-8. */
static size_t next_rune(struct view text, size_t at, uint32_t *ret_rune)
{
        size_t length = utf8_next(text, at, ret_rune);

        if (!length) {
                *ret_rune = 0xfffd;
                length = 1;
        }
        return length;
}

/* One possibly escaped character of a set. -1 if there is none. */
static int set_rune(struct view pattern, size_t *at, uint32_t *ret_rune)
{
        if (*at >= pattern.length || pattern.data[*at] == '-' || pattern.data[*at] == ']')
                return -1;
        if (pattern.data[*at] == '\\' && ++*at >= pattern.length)
                return -1;
        *at += next_rune(pattern, *at, ret_rune);
        return *at < pattern.length ? 0 : -1; /* the set must still be closed */
}

/* Behind '['; *at ends behind ']'. */
static int match_set(struct view pattern, size_t *at, uint32_t rune)
{
        bool negated = *at < pattern.length && pattern.data[*at] == '^', found = false;
        size_t ranges = 0;

        if (negated)
                ++*at;
        for (; !(*at < pattern.length && pattern.data[*at] == ']' && ranges > 0); ranges++) {
                uint32_t low, high;

                if (set_rune(pattern, at, &low) < 0)
                        return -1;
                high = low;
                if (pattern.data[*at] == '-') {
                        ++*at;
                        if (set_rune(pattern, at, &high) < 0)
                                return -1;
                }
                found |= low <= rune && rune <= high;
        }
        ++*at;
        return found != negated;
}

/* The pattern element at *p (no star) against what is next in the name: a character, or for itself one byte of it. */
static int match_one(struct view pattern, size_t *p, struct view name, size_t *n)
{
        uint32_t rune;

        switch (pattern.data[*p]) {
        case '[':
                ++*p;
                *n += next_rune(name, *n, &rune);
                return match_set(pattern, p, rune);
        case '?':
                ++*p;
                *n += next_rune(name, *n, &rune);
                return 1;
        case '\\':
                if (++*p >= pattern.length)
                        return -1;
                break;
        default:
                break;
        }
        return pattern.data[(*p)++] == name.data[(*n)++];
}

/* With several stars only the last one has to be given more: what comes before it has matched in the leftmost way. */
int glob_match(struct view pattern, struct view name)
{
        size_t p = 0, n = 0, star = SIZE_MAX, resume = 0;

        for (;;) {
                int match = 0;
                uint32_t rune;

                if (p < pattern.length && pattern.data[p] == '*') {
                        star = ++p;
                        resume = n;
                        continue;
                }
                if (p == pattern.length && n == name.length)
                        return 1;
                if (p < pattern.length && n < name.length) {
                        match = match_one(pattern, &p, name, &n);
                        if (match < 0)
                                return -1;
                }
                if (match)
                        continue;
                if (star == SIZE_MAX || resume >= name.length)
                        return 0;
                resume += next_rune(name, resume, &rune);
                n = resume;
                p = star;
        }
}
