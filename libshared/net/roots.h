/*
 * roots: the certificate authorities that the system trusts, for a process that makes a connection or two.
 *
 * Making OpenSSL's objects of a whole bundle takes 30 ms; a chain needs one of them. So the files are only taken apart, once for a process and when
 * a chain ends somewhere, and a certificate becomes an object when a chain names its subject (the same bytes, as in Go).
 *
 * Where they are: SSL_CERT_FILE, else the first bundle that is there of those that Linux distributions have; besides it every file of the
 * directories in SSL_CERT_DIR (a list with colons), else of those that distributions have. What is no certificate is passed over.
 */
#pragma once

#include <openssl/x509_vfy.h>

/* Chains of this store may end at the system's authorities, besides what is in it. Belongs to one thread. */
void roots_trust(X509_STORE *store);
