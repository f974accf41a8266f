#include "net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <limits.h>
#include <time.h>

static BIO *bio_of(struct view pem)
{
        return pem.length && pem.length <= INT_MAX ? BIO_new_mem_buf(pem.data, (int)pem.length) : NULL;
}

/* No pass phrase is ever asked for on a terminal. */
static int no_password(char *space, int size, int writing, void *data)
{
        (void)space, (void)size, (void)writing, (void)data;
        return -1;
}

static const char *openssl_text(void)
{
        const char *text = ERR_reason_error_string(ERR_peek_last_error());

        return text ? text : "it is none";
}

int tls_check_certificates(struct view pem, const char *what, struct error *err)
{
        BIO *bio = bio_of(pem);
        unsigned count = 0;
        X509 *certificate;
        bool end;

        if (!bio)
                return error_set(err, ERROR_INVALID, "%s: no PEM certificate in it", what);
        ERR_clear_error();
        while ((certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
                X509_free(certificate);
                count++;
        }
        end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        BIO_free(bio);
        if (!end)
                error_set(err, ERROR_INVALID, "%s: certificate %u: %s", what, count + 1, openssl_text());
        else if (!count)
                error_set(err, ERROR_INVALID, "%s: no PEM certificate in it", what);
        ERR_clear_error();
        return end && count ? 0 : -1;
}

static bool has_pem(struct view text)
{
        return view_search(text, VIEW("-----BEGIN "), 0) >= 0;
}

int tls_check_pair(struct view certificate_pem, struct view key_pem, struct error *err)
{
        BIO *bio;
        X509 *certificate = NULL;
        EVP_PKEY *key = NULL;
        int r = 0;

        ERR_clear_error();
        if ((bio = bio_of(certificate_pem))) {
                certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
                BIO_free(bio);
        }
        if (!certificate) {
                r = error_set(err, ERROR_INVALID, "tls: failed to find %s PEM data in certificate input%s",
                              has_pem(certificate_pem) ? "certificate" : "any",
                              view_search(certificate_pem, VIEW("PRIVATE KEY-----"), 0) >= 0
                                      ? ", but did find a private key; PEM inputs may have been switched"
                                      : "");
        } else {
                if ((bio = bio_of(key_pem))) {
                        key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
                        BIO_free(bio);
                }
                if (!key && !has_pem(key_pem))
                        r = error_set(err, ERROR_INVALID, "tls: failed to find any PEM data in key input");
                else if (!key)
                        r = error_set(err, ERROR_INVALID,
                                      "tls: failed to find PEM block of an unencrypted private key in key input");
                else if (X509_check_private_key(certificate, key) != 1)
                        r = error_set(err, ERROR_INVALID, "tls: private key does not match public key");
        }
        X509_free(certificate);
        EVP_PKEY_free(key);
        ERR_clear_error();
        return r;
}
