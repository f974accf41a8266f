/*
 * tls: certificates and keys as PEM text, looked at before they are used.
 *
 * The transfers themselves take PEM bytes from memory (net/http.h); nothing is written to files.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

/* At least one certificate and nothing broken before it. `what` names it in the message: "certificate authority". */
int tls_check_certificates(struct view pem, const char *what, struct error *err);
/* A certificate and the private key that belongs to it (unencrypted). */
int tls_check_pair(struct view certificate_pem, struct view key_pem, struct error *err);
