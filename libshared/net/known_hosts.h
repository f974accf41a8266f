/*
 * known_hosts: which host keys a person said to trust, in OpenSSH's known_hosts format.
 *
 * A line is `[@marker] patterns type base64 [comment]`. Patterns are a comma list with `*`, `?` and `!`, a port other than 22 is written
 * `[host]:port` or `host:port`; `|1|salt|hash` is a name that was hashed. Comments, blank and malformed lines are skipped: they trust nobody.
 * A key on an `@revoked` line is trusted nowhere, whatever hosts that line names.
 *
 * Host certificates are not verified: a host that only an `@cert-authority` line names is reported as such, and refused by the caller. Beside
 * lines that name the host's keys, such a line changes nothing.
 */
#pragma once

#include "base/str.h"

enum known_host {
        KNOWN_HOST_MATCH,     /* a line for this host has this key */
        KNOWN_HOST_UNKNOWN,   /* no line is for this host */
        KNOWN_HOST_MISMATCH,  /* lines are for this host, none has this key */
        KNOWN_HOST_REVOKED,   /* an @revoked line has this key */
        KNOWN_HOST_AUTHORITY, /* only @cert-authority lines are for this host */
};

/* `key` is the public key as it goes over the wire (type and numbers, not base64). Names are compared without regard to case. */
enum known_host known_hosts_check(struct view text, const char *host, unsigned port, struct view key);

/*
 * The host key algorithms to offer to this host, by preference, as a comma list appended to `algorithms`: the types of its keys, ssh-rsa as
 * rsa-sha2-512,rsa-sha2-256. Nothing is appended if no line is for the host.
 */
void known_hosts_algorithms(struct view text, const char *host, unsigned port, struct buffer *algorithms);

/* "SHA256:" and the base64 of the key's hash without padding, as ssh-keygen -l prints it. */
#define KNOWN_HOSTS_FINGERPRINT 64
char *known_hosts_fingerprint(struct view key, char text[KNOWN_HOSTS_FINGERPRINT]);
/* The type inside a key blob ("ssh-ed25519"); empty if it is none. */
struct view known_hosts_key_type(struct view key);
