/*
 * secrets: what the Secrets of a source say about getting at its server.
 *
 * Reading a Secret and understanding it are two steps: the functions here take the Secret's JSON as the API server gave it. Values are used as
 * they are, blanks included. What a value holds never becomes part of a message.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "data/json.h"
#include "net/git.h"

/*
 * spec.secretRef of a GitRepository: fills the credentials of a request whose URL is set. `secret` NULL: there is none.
 *
 *   http(s)  `bearerToken`, else `username` and `password` (what lacks comes from the URL); `ca.crt` (or `caFile`), `tls.crt`, `tls.key`
 *   ssh      `identity` and `known_hosts`, both required; `password` is the passphrase of the identity
 *
 * -1, ERROR_INVALID with the reason of the condition: AuthenticationFailed, InvalidProviderConfiguration (data of a GitHub App). `name` is the
 * Secret's "namespace/name" for the message.
 */
int secrets_git(const struct json *secret, const char *name, struct arena *arena, struct git_request *request, struct error *err);

/* spec.proxySecretRef: `address` (http, https or socks5), optional `username`, `password`, which replace those of the address. */
int secrets_proxy(const struct json *secret, const char *name, struct arena *arena, struct git_request *request, struct error *err);

/* A proxy URL that holds its own user and password; "": none. */
int secrets_proxy_address(const char *address, struct arena *arena, struct git_request *request, struct error *err);

/* True if a private key in PEM cannot be read without a passphrase. */
bool secrets_identity_encrypted(struct view pem);
