#include "net/roots.h"

#include "base/cleanup.h"
#include "base/folder.h"
#include "base/memory.h"
#include "base/str.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../test.h"

/* What this process has for a system: one bundle, one directory. The names are those of the authorities' subjects. */
static struct {
        char *folder;
        EVP_PKEY *key, *other;
} system_;

static void extend(X509 *certificate, X509 *issuer, int extension_id, const char *value)
{
        X509V3_CTX context;
        X509_EXTENSION *extension;

        X509V3_set_ctx_nodb(&context);
        X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, extension_id, value);
        assert_non_null(extension);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
}

static void set_name(X509_NAME *name, const char *text)
{
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0);
}

static X509 *start_certificate(const char *subject, EVP_PKEY *own, const char *issuer)
{
        static long serial;
        X509 *certificate = X509_new();

        X509_set_version(certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
        set_name(X509_get_subject_name(certificate), subject);
        set_name(X509_get_issuer_name(certificate), issuer);
        X509_set_pubkey(certificate, own);
        return certificate;
}

static X509 *authority_of(const char *subject, EVP_PKEY *key)
{
        X509 *certificate = start_certificate(subject, key, subject);

        extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
        extend(certificate, certificate, NID_subject_key_identifier, "hash");
        assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
        return certificate;
}

/* Says whose key has signed it, as certificates do. */
static X509 *leaf_of(const char *issuer, EVP_PKEY *issuer_key, EVP_PKEY *signer)
{
        X509 *certificate = start_certificate("leaf", system_.other, issuer), *authority = authority_of(issuer, issuer_key);

        extend(certificate, authority, NID_authority_key_identifier, "keyid");
        assert_true(X509_sign(certificate, signer, EVP_sha256()) > 0);
        X509_free(authority);
        return certificate;
}

static void write_authority(const char *subject, EVP_PKEY *key, const char *name, const char *mode)
{
        char *path = memory_printf("%s/%s", system_.folder, name);
        FILE *file = fopen(path, mode);
        X509 *certificate = authority_of(subject, key);

        assert_non_null(file);
        assert_int_equal(PEM_write_X509(file, certificate), 1);
        fclose(file);
        X509_free(certificate);
        free(path);
}

static void write_text(const char *text, const char *name, const char *mode)
{
        char *path = memory_printf("%s/%s", system_.folder, name);
        FILE *file = fopen(path, mode);

        assert_non_null(file);
        fputs(text, file);
        fclose(file);
        free(path);
}

static void make_folder(const char *name)
{
        char *path = memory_printf("%s/%s", system_.folder, name);

        assert_int_equal(mkdir(path, 0700), 0);
        free(path);
}

static void make_link(const char *target, const char *name)
{
        char *path = memory_printf("%s/%s", system_.folder, name);

        assert_int_equal(symlink(target, path), 0);
        free(path);
}

static void set_path(const char *variable, const char *name)
{
        char *path = memory_printf("%s/%s", system_.folder, name);

        setenv(variable, path, 1);
        free(path);
}

static int system_make(void **state)
{
        struct error err = ERROR_NULL;

        (void)state;
        system_.key = EVP_EC_gen("P-256");
        system_.other = EVP_EC_gen("P-256");
        assert_int_equal(folder_temporary("test-roots-", &system_.folder, NULL, &err), 0);

        write_text("# a comment\n", "bundle.pem", "w");
        write_authority("first", system_.key, "bundle.pem", "a");
        write_text("-----BEGIN CERTIFICATE-----\n?!\n-----END CERTIFICATE-----\n", "bundle.pem", "a");
        write_text("-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n", "bundle.pem", "a");
        write_authority("twice", system_.other, "bundle.pem", "a");
        write_authority("twice", system_.key, "bundle.pem", "a");
        write_text("-----BEGIN CERTIFICATE-----\nMIIB", "bundle.pem", "a"); /* cut short */

        make_folder("certs");
        make_folder("elsewhere");
        write_authority("file", system_.key, "certs/file.pem", "w");
        write_authority("linked", system_.key, "elsewhere/linked.crt", "w");
        make_link("../elsewhere/linked.crt", "certs/linked.pem");
        make_link("file.pem", "certs/0123abcd.0");
        make_link("nowhere/at-all", "certs/dangling");
        make_folder("certs/folder");
        set_path("SSL_CERT_FILE", "bundle.pem");
        set_path("SSL_CERT_DIR", "certs");
        return 0;
}

static int system_remove(void **state)
{
        struct error err = ERROR_NULL;

        (void)state;
        assert_int_equal(folder_remove(AT_FDCWD, system_.folder, &err), 0);
        free(system_.folder);
        EVP_PKEY_free(system_.key);
        EVP_PKEY_free(system_.other);
        return 0;
}

static void chains_end_at_the_system(void **state)
{
        static const struct {
                const char *issuer;
                bool trusted;
                int read; /* objects that were made of the system's files */
        } cases[] = {
                { "first", true, 1 }, { "twice", true, 2 }, /* of the two that are called so one has signed */
                { "file", true, 1 },  { "linked", true, 1 }, { "unknown", false, 0 }, { "FIRST", false, 0 },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                X509 *leaf = leaf_of(cases[i].issuer, system_.key, system_.key);
                X509_STORE *store = X509_STORE_new();
                X509_STORE_CTX *context = X509_STORE_CTX_new();

                roots_trust(store);
                X509_STORE_CTX_init(context, store, leaf, NULL);
                assert_int_equal(X509_verify_cert(context), cases[i].trusted);
                assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), cases[i].read);
                X509_STORE_CTX_free(context);
                X509_STORE_free(store);
                X509_free(leaf);
        }
}

/* The name alone is no signature. */
static void forged_signature_is_refused(void **state)
{
        X509 *leaf = leaf_of("first", system_.key, system_.other);
        X509_STORE *store = X509_STORE_new();
        X509_STORE_CTX *context = X509_STORE_CTX_new();

        (void)state;
        roots_trust(store);
        X509_STORE_CTX_init(context, store, leaf, NULL);
        assert_int_equal(X509_verify_cert(context), 0);
        X509_STORE_CTX_free(context);
        X509_STORE_free(store);
        X509_free(leaf);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(chains_end_at_the_system),
                cmocka_unit_test(forged_signature_is_refused),
        };

        return cmocka_run_group_tests_name("roots", tests, system_make, system_remove);
}
