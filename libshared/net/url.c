#include "net/url.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

/* What may stand in which part as it is. */
enum part {
        PART_HOST,
        PART_ZONE,
        PART_OTHER,
};

static struct view after(struct view text, size_t from)
{
        return view_slice(text, from, text.length);
}

/* The part between the slashes; empty if there is none. */
static struct view authority_of(struct view text)
{
        ptrdiff_t start = view_search(text, VIEW("://"), 0);
        struct view rest;

        if (start < 0)
                return VIEW_NULL;
        rest = after(text, (size_t)start + 3);
        for (size_t i = 0; i < rest.length; i++)
                if (strchr("/?#", rest.data[i]))
                        return view_slice(rest, 0, i);
        return rest;
}

/* Index of the last `c`; -1 if there is none. */
static ptrdiff_t find_last(struct view text, char c)
{
        ptrdiff_t at = (ptrdiff_t)text.length - 1;

        while (at >= 0 && text.data[at] != c)
                at--;
        return at;
}

void url_show(struct view text, struct buffer *shown)
{
        struct view authority = authority_of(text);
        ptrdiff_t at = find_last(authority, '@');
        size_t start = authority.data ? (size_t)(authority.data - text.data) : 0;

        if (at < 0 || view_find(view_slice(authority, 0, (size_t)at), ':', 0) < 0) {
                buffer_add_view(shown, text);
                return;
        }
        buffer_add_view(shown, view_slice(text, 0, start));
        buffer_add_view(shown, after(text, start + (size_t)at + 1));
}

static bool host_character(unsigned char c)
{
        return c >= 0x80 || isalnum(c) || (c && strchr("-_.~!$&'()*+,;=:[]<>\"", c));
}

static unsigned hex_value(unsigned char c)
{
        return isdigit(c) ? c - (unsigned)'0' : (unsigned)tolower(c) - 'a' + 10;
}

static int bad_escape(struct view text, size_t at, struct error *err)
{
        struct view escape = view_slice(text, at, 3);

        return error_set(err, ERROR_INVALID, "invalid URL escape \"%.*s\"", VIEW_ARGS(escape));
}

/* A byte may be written as "%41"; in a host only one that is not ASCII, in a zone only one that might stand there. */
static int check_escapes(struct view text, enum part part, struct error *err)
{
        for (size_t i = 0; i < text.length; i++) {
                const unsigned char *at = (const unsigned char *)text.data + i;
                bool percent;
                unsigned byte;

                if (*at != '%') {
                        if (part != PART_OTHER && !host_character(*at))
                                return error_set(err, ERROR_INVALID, "invalid character \"%s%c\" in host name",
                                                 *at == '\\' ? "\\" : "", *at);
                        continue;
                }
                if (i + 2 >= text.length || !isxdigit(at[1]) || !isxdigit(at[2]))
                        return bad_escape(text, i, err);
                byte = hex_value(at[1]) * 16 + hex_value(at[2]);
                percent = at[1] == '2' && at[2] == '5';
                if ((part == PART_HOST && byte < 0x80 && !percent) ||
                    (part == PART_ZONE && !percent && byte != ' ' && !host_character((unsigned char)byte)))
                        return bad_escape(text, i, err);
                i += 2;
        }
        return 0;
}

static int check_port(struct view port, struct error *err)
{
        bool good = port.length == 0 || port.data[0] == ':';

        for (size_t i = 1; i < port.length; i++)
                good = good && isdigit((unsigned char)port.data[i]);
        if (!good)
                return error_set(err, ERROR_INVALID, "invalid port \"%.*s\" after host", VIEW_ARGS(port));
        return 0;
}

/* Within brackets only an address of IPv6 may stand, with a zone or without. */
static int check_literal(struct view host, struct error *err)
{
        ptrdiff_t end = find_last(host, ']'), zone;
        unsigned char address[sizeof(struct in6_addr)];
        struct view name;
        char text[64];

        if (end < 0)
                return error_set(err, ERROR_INVALID, "missing ']' in host");
        TRY(check_port(after(host, (size_t)end + 1), err));
        name = view_slice(host, 1, (size_t)end - 1);
        zone = view_search(name, VIEW("%25"), 0);
        if (zone >= 0) {
                TRY(check_escapes(after(name, (size_t)zone), PART_ZONE, err));
                name = view_slice(name, 0, (size_t)zone);
        }
        TRY(check_escapes(name, PART_HOST, err));
        if (name.length < sizeof(text)) {
                memcpy(text, name.data, name.length);
                text[name.length] = '\0';
                if (inet_pton(AF_INET6, text, address) == 1)
                        return 0;
                if (inet_pton(AF_INET, text, address) == 1)
                        return error_set(err, ERROR_INVALID, "invalid IP-literal");
        }
        return error_set(err, ERROR_INVALID, "invalid host: ParseAddr(\"%.*s\"): unable to parse IP", VIEW_ARGS(name));
}

static int check_host(struct view host, bool http, struct error *err)
{
        ptrdiff_t bracket = find_last(host, '['), colon = http ? view_find(host, ':', 0) : find_last(host, ':');

        if (bracket > 0)
                return error_set(err, ERROR_INVALID, "invalid IP-literal");
        if (bracket == 0)
                return check_literal(host, err);
        if (colon >= 0)
                TRY(check_port(after(host, (size_t)colon), err));
        return check_escapes(host, PART_HOST, err);
}

static int check_user(struct view user, struct error *err)
{
        cleanup(error_release) struct error secret = ERROR_NULL; /* it would quote the password */
        bool good = check_escapes(user, PART_OTHER, &secret) == 0;

        for (size_t i = 0; i < user.length; i++)
                good = good && user.data[i] && (isalnum((unsigned char)user.data[i]) || strchr("-._:~!$&'()*+,;=%@", user.data[i]));
        return good ? 0 : error_set(err, ERROR_INVALID, "net/url: invalid userinfo");
}

static int check_authority(struct view authority, bool http, struct error *err)
{
        ptrdiff_t at = find_last(authority, '@');

        TRY(check_host(after(authority, (size_t)(at + 1)), http, err));
        return at < 0 ? 0 : check_user(view_slice(authority, 0, (size_t)at), err);
}

/* Length of the scheme, 0 if there is none. */
static int scheme_length(struct view text, size_t *ret_length, struct error *err)
{
        size_t length = 0;

        *ret_length = 0;
        while (length < text.length &&
               (isalpha((unsigned char)text.data[length]) ||
                (length > 0 && (isdigit((unsigned char)text.data[length]) || strchr("+-.", text.data[length])))))
                length++;
        if (length == text.length || text.data[length] != ':')
                return 0;
        if (length == 0)
                return error_set(err, ERROR_INVALID, "missing protocol scheme");
        *ret_length = length;
        return 0;
}

/* Without its fragment. */
static int check(struct view text, struct error *err)
{
        struct view rest = text, scheme;
        ptrdiff_t query, slash;
        size_t length;

        for (size_t i = 0; i < text.length; i++)
                if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
                        return error_set(err, ERROR_INVALID, "net/url: invalid control character in URL");
        TRY(scheme_length(text, &length, err));
        scheme = view_slice(text, 0, length);
        if (length > 0)
                rest = after(text, length + 1);
        query = view_find(rest, '?', 0);
        if (query >= 0)
                rest = view_slice(rest, 0, (size_t)query);
        if (!view_starts(rest, VIEW("/"))) {
                slash = view_find(rest, '/', 0);
                if (length == 0 && view_find(view_slice(rest, 0, slash < 0 ? rest.length : (size_t)slash), ':', 0) >= 0)
                        return error_set(err, ERROR_INVALID, "first path segment in URL cannot contain colon");
                return length > 0 ? 0 : check_escapes(rest, PART_OTHER, err);
        }
        if (view_starts(rest, VIEW("//")) && (length > 0 || !view_starts(rest, VIEW("///")))) {
                rest = after(rest, 2);
                slash = view_find(rest, '/', 0);
                TRY(check_authority(view_slice(rest, 0, slash < 0 ? rest.length : (size_t)slash),
                                    view_is(scheme, "http") || view_is(scheme, "https"), err));
                rest = slash < 0 ? VIEW_NULL : after(rest, (size_t)slash);
        }
        return check_escapes(rest, PART_OTHER, err);
}

int url_check(struct view text, struct error *err)
{
        cleanup(buffer_release) struct buffer shown = BUFFER_NULL, quoted = BUFFER_NULL;
        ptrdiff_t hash = view_find(text, '#', 0);
        struct view whole = text;

        if (hash >= 0)
                text = view_slice(text, 0, (size_t)hash);
        if (check(text, err) == 0) {
                if (hash < 0 || check_escapes(after(whole, (size_t)hash + 1), PART_OTHER, err) == 0)
                        return 0;
                text = whole;
        }
        url_show(text, &shown);
        buffer_add_json(&quoted, buffer_view(&shown));
        return error_wrap(err, "parse \"%s\"", buffer_string(&quoted));
}
