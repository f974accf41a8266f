#include "net/known_hosts.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES (64u << 10)

enum marker { MARKER_NONE, MARKER_AUTHORITY, MARKER_REVOKED, MARKER_OTHER };

struct line {
        enum marker marker;
        struct view patterns;
        struct view key; /* base64; its type is inside too */
};

static struct view next_word(struct view *rest)
{
        size_t start = 0, end;
        struct view word;

        while (start < rest->length && (rest->data[start] == ' ' || rest->data[start] == '\t'))
                start++;
        end = start;
        while (end < rest->length && rest->data[end] != ' ' && rest->data[end] != '\t')
                end++;
        word = view_slice(*rest, start, end - start);
        *rest = view_slice(*rest, end, rest->length);
        return word;
}

/* Takes the next line that says something off `*rest`. */
static bool next_line(struct view *rest, struct line *ret_line)
{
        struct view text;

        while (view_split(rest, '\n', &text)) {
                struct line line = { .marker = MARKER_NONE };

                text = view_trim(text);
                if (text.length == 0 || text.data[0] == '#')
                        continue;
                if (text.data[0] == '@') {
                        struct view marker = next_word(&text);

                        line.marker = view_is(marker, "@cert-authority") ? MARKER_AUTHORITY
                                      : view_is(marker, "@revoked")      ? MARKER_REVOKED
                                                                         : MARKER_OTHER;
                }
                line.patterns = next_word(&text);
                next_word(&text); /* the type: what the key says counts */
                line.key = next_word(&text);
                if (line.key.length == 0 || line.marker == MARKER_OTHER)
                        continue;
                *ret_line = line;
                return true;
        }
        return false;
}

static bool matches_hashed(struct view pattern, const char *name)
{
        cleanup(buffer_release) struct buffer salt = BUFFER_LIMIT(256), hash = BUFFER_LIMIT(256);
        unsigned char computed[EVP_MAX_MD_SIZE];
        unsigned length = 0;
        struct view rest = view_slice(pattern, 3, pattern.length), part;

        if (!view_split(&rest, '|', &part) || buffer_add_base64_decoded(&salt, part) < 0)
                return false;
        if (buffer_add_base64_decoded(&hash, rest) < 0 || salt.length == 0)
                return false;
        if (!HMAC(EVP_sha1(), salt.data, (int)salt.length, (const unsigned char *)name, strlen(name), computed, &length))
                return false;
        return view_equal(buffer_view(&hash), (struct view){ (const char *)computed, length });
}

/* `*` any run, `?` one character; without backtracking over more than the last star. */
static bool matches_glob(struct view pattern, const char *name)
{
        size_t length = strlen(name), p = 0, n = 0, star = SIZE_MAX, mark = 0;

        while (n < length) {
                if (p < pattern.length && pattern.data[p] == '*') {
                        star = p++;
                        mark = n;
                } else if (p < pattern.length &&
                           (pattern.data[p] == '?' || tolower((unsigned char)pattern.data[p]) == (unsigned char)name[n])) {
                        p++;
                        n++;
                } else if (star != SIZE_MAX) {
                        p = star + 1;
                        n = ++mark;
                } else {
                        return false;
                }
        }
        while (p < pattern.length && pattern.data[p] == '*')
                p++;
        return p == pattern.length;
}

/* "[host]:22" and "[host]" are ways to write the plain name. */
static struct view without_default_port(struct view pattern)
{
        if (pattern.length > 5 && pattern.data[0] == '[' && view_ends(pattern, VIEW("]:22")))
                return view_slice(pattern, 1, pattern.length - 5);
        if (pattern.length > 2 && pattern.data[0] == '[' && pattern.data[pattern.length - 1] == ']')
                return view_slice(pattern, 1, pattern.length - 2);
        return pattern;
}

/* "host:port" is what the Go libraries read besides "[host]:port"; an IPv6 address has more colons than one. */
static void with_brackets(struct view pattern, struct buffer *name)
{
        ptrdiff_t colon = view_find(pattern, ':', 0);
        size_t port = (size_t)colon + 1;

        if (colon <= 0 || pattern.data[0] == '[' || port == pattern.length || view_find(pattern, ':', port) >= 0)
                return;
        if (view_is(view_slice(pattern, port, pattern.length), "22")) {
                buffer_add_view(name, view_slice(pattern, 0, (size_t)colon));
        } else {
                buffer_add_char(name, '[');
                buffer_add_view(name, view_slice(pattern, 0, (size_t)colon));
                buffer_add_string(name, "]:");
                buffer_add_view(name, view_slice(pattern, port, pattern.length));
        }
}

static bool matches_pattern(struct view pattern, const char *name)
{
        cleanup(buffer_release) struct buffer bracketed = BUFFER_LIMIT(1024);

        if (matches_glob(without_default_port(pattern), name))
                return true;
        with_brackets(pattern, &bracketed);
        return bracketed.length > 0 && !bracketed.full && matches_glob(buffer_view(&bracketed), name);
}

/* `name` is "host" or "[host]:port", in lower case. */
static bool matches(struct view patterns, const char *name)
{
        struct view pattern;
        bool found = false;

        if (view_starts(patterns, VIEW("|1|")))
                return matches_hashed(patterns, name);
        while (view_split(&patterns, ',', &pattern)) {
                bool negated = pattern.length > 0 && pattern.data[0] == '!';

                if (negated)
                        pattern = view_slice(pattern, 1, pattern.length);
                if (pattern.length == 0 || !matches_pattern(pattern, name))
                        continue;
                if (negated)
                        return false;
                found = true;
        }
        return found;
}

static void lookup_name(const char *host, unsigned port, struct buffer *name)
{
        if (port == 22)
                buffer_add_string(name, host);
        else
                buffer_printf(name, "[%s]:%u", host, port);
        for (size_t i = 0; i < name->length; i++)
                name->data[i] = (char)tolower((unsigned char)name->data[i]);
}

static bool same_key(const struct line *line, struct view key)
{
        cleanup(buffer_release) struct buffer decoded = BUFFER_LIMIT(KEY_BYTES);

        if (buffer_add_base64_decoded(&decoded, line->key) < 0)
                return false;
        return view_equal(buffer_view(&decoded), key);
}

enum known_host known_hosts_check(struct view text, const char *host, unsigned port, struct view key)
{
        cleanup(buffer_release) struct buffer name = BUFFER_LIMIT(1024);
        bool match = false, listed = false, authority = false;
        struct line line;

        lookup_name(host, port, &name);
        while (next_line(&text, &line)) {
                if (line.marker == MARKER_REVOKED && same_key(&line, key))
                        return KNOWN_HOST_REVOKED;
                if (line.marker == MARKER_REVOKED || !matches(line.patterns, buffer_string(&name)))
                        continue;
                if (line.marker == MARKER_AUTHORITY) {
                        authority = true;
                } else {
                        listed = true;
                        match = match || same_key(&line, key);
                }
        }
        if (match)
                return KNOWN_HOST_MATCH;
        if (listed)
                return KNOWN_HOST_MISMATCH;
        return authority ? KNOWN_HOST_AUTHORITY : KNOWN_HOST_UNKNOWN;
}

static void add_algorithm(struct buffer *algorithms, size_t start, struct view algorithm)
{
        struct view have = view_slice(buffer_view(algorithms), start, algorithms->length), one;

        while (algorithms->length > start && view_split(&have, ',', &one))
                if (view_equal(one, algorithm))
                        return;
        if (algorithms->length > start)
                buffer_add_char(algorithms, ',');
        buffer_add_view(algorithms, algorithm);
}

void known_hosts_algorithms(struct view text, const char *host, unsigned port, struct buffer *algorithms)
{
        cleanup(buffer_release) struct buffer name = BUFFER_LIMIT(1024);
        size_t start = algorithms->length;
        struct line line;

        lookup_name(host, port, &name);
        while (next_line(&text, &line)) {
                cleanup(buffer_release) struct buffer key = BUFFER_LIMIT(KEY_BYTES);
                struct view type;

                if (line.marker != MARKER_NONE || !matches(line.patterns, buffer_string(&name)) ||
                    buffer_add_base64_decoded(&key, line.key) < 0)
                        continue;
                type = known_hosts_key_type(buffer_view(&key));
                if (view_is(type, "ssh-rsa")) {
                        add_algorithm(algorithms, start, VIEW("rsa-sha2-512"));
                        add_algorithm(algorithms, start, VIEW("rsa-sha2-256"));
                } else if (type.length > 0) {
                        add_algorithm(algorithms, start, type);
                }
        }
}

char *known_hosts_fingerprint(struct view key, char text[KNOWN_HOSTS_FINGERPRINT])
{
        cleanup(buffer_release) struct buffer encoded = BUFFER_NULL;
        unsigned char hash[EVP_MAX_MD_SIZE];
        unsigned length = 0;

        EVP_Digest(key.data, key.length, hash, &length, EVP_sha256(), NULL);
        buffer_add_base64(&encoded, (struct view){ (const char *)hash, length });
        while (encoded.length > 0 && encoded.data[encoded.length - 1] == '=')
                encoded.data[--encoded.length] = '\0';
        snprintf(text, KNOWN_HOSTS_FINGERPRINT, "SHA256:%s", buffer_string(&encoded));
        return text;
}

struct view known_hosts_key_type(struct view key)
{
        const unsigned char *b = (const unsigned char *)key.data;
        size_t length;

        if (key.length < 4)
                return VIEW_NULL;
        length = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
        if (length > key.length - 4)
                return VIEW_NULL;
        return view_slice(key, 4, length);
}
