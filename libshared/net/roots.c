#include "net/roots.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (8u << 20)

static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
};
static const char directories[] = "/etc/ssl/certs:/etc/pki/tls/certs";

struct root {
        struct view subject; /* DER, part of the whole */
        struct view whole;
};

static struct {
        bool read;
        struct root *list;
        size_t count;
        size_t capacity;
} roots;

/* Takes the next element of a DER sequence off `*rest`; *ret_content is what is in it. */
static bool next_element(struct view *rest, int *ret_tag, struct view *ret_content, struct view *ret_whole)
{
        const unsigned char *start = (const unsigned char *)rest->data, *at = start;
        long length;
        int class;
        int form = rest->length > 0 ? ASN1_get_object(&at, &length, ret_tag, &class, (long)rest->length) : 0x80;

        /* Bit 0: without a length. */
        if (form & 0x81)
                return false;
        *ret_content = (struct view){ (const char *)at, (size_t)length };
        *ret_whole = view_slice(*rest, 0, (size_t)(at - start) + (size_t)length);
        *rest = view_slice(*rest, ret_whole->length, rest->length);
        return true;
}

/* Certificate { tbsCertificate { [0] version, serial, algorithm, issuer, validity, subject, ... */
static bool find_subject(struct view certificate, struct view *ret_subject)
{
        struct view outer = certificate, body, rest, content, whole;
        int tag, place = 0;

        if (!next_element(&outer, &tag, &body, &whole) || !next_element(&body, &tag, &rest, &whole))
                return false;
        while (place < 5) {
                if (!next_element(&rest, &tag, &content, &whole))
                        return false;
                place += place > 0 || tag != 0;
        }
        *ret_subject = whole;
        return true;
}

static void add_certificate(struct view text)
{
        cleanup(buffer_release) struct buffer der = BUFFER_LIMIT(1u << 20);
        struct root root;

        if (buffer_add_base64_decoded(&der, text) < 0 || !find_subject(buffer_view(&der), &root.subject))
                return;
        if (roots.count == roots.capacity) {
                roots.capacity = roots.capacity ? roots.capacity * 2 : 256;
                roots.list = memory_resize(roots.list, roots.capacity, sizeof(*roots.list));
        }
        root.whole = buffer_view(&der);
        der = BUFFER_NULL;
        roots.list[roots.count++] = root;
}

static void add_certificates(struct view pem)
{
        static const struct view begin = VIEW("-----BEGIN CERTIFICATE-----"), end = VIEW("-----END CERTIFICATE-----");
        ptrdiff_t from, to = 0;

        while ((from = view_search(pem, begin, (size_t)to)) >= 0) {
                from += (ptrdiff_t)begin.length;
                to = view_search(pem, end, (size_t)from);
                if (to < 0)
                        return;
                add_certificate(view_slice(pem, (size_t)from, (size_t)(to - from)));
        }
}

static bool add_file(int directory, const char *name)
{
        cleanup(close_descriptor) int fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        cleanup(free_string) char *text = NULL;
        struct stat status;
        size_t length = 0;
        ssize_t n;

        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > FILE_LIMIT)
                return false;
        text = memory_allocate((size_t)status.st_size + 1);
        while (length < (size_t)status.st_size && (n = read(fd, text + length, (size_t)status.st_size - length)) > 0)
                length += (size_t)n;
        add_certificates((struct view){ text, length });
        return true;
}

/* Links to a file of the same directory (the hashes of OpenSSL) would only say everything twice. */
static bool stays_inside(int directory, const char *name)
{
        char target[512];
        ssize_t length = readlinkat(directory, name, target, sizeof(target));

        return length > 0 && !memchr(target, '/', (size_t)length);
}

static void add_directory(const char *path)
{
        DIR *directory = opendir(path);
        struct dirent *entry;

        while (directory && (entry = readdir(directory)))
                if (entry->d_name[0] != '.' && !(entry->d_type == DT_LNK && stays_inside(dirfd(directory), entry->d_name)))
                        add_file(dirfd(directory), entry->d_name);
        if (directory)
                closedir(directory);
}

static void read_all(void)
{
        const char *file = getenv("SSL_CERT_FILE"), *paths = getenv("SSL_CERT_DIR");
        struct view rest = view_of(paths && *paths ? paths : directories), path;

        if (roots.read)
                return;
        roots.read = true;
        if (file && *file)
                add_file(AT_FDCWD, file);
        else
                for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]) && !add_file(AT_FDCWD, bundles[i]); i++)
                        ;
        while (view_split(&rest, ':', &path)) {
                cleanup(free_string) char *name = memory_string_n(path.data, path.length);

                add_directory(name);
        }
}

/* All of this subject go into the store, which looks further among them; the first is lent to the caller, as OpenSSL's own lookups do. */
static int by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name, X509_OBJECT *ret)
{
        const unsigned char *wanted = NULL;
        size_t length;
        int found = 0;

        if (type != X509_LU_X509 || X509_NAME_get0_der(name, &wanted, &length) != 1)
                return 0;
        read_all();
        for (size_t i = 0; i < roots.count; i++) {
                const struct root *root = &roots.list[i];
                const unsigned char *der = (const unsigned char *)root->whole.data;
                X509 *certificate;

                if (!view_equal(root->subject, (struct view){ (const char *)wanted, length }))
                        continue;
                certificate = d2i_X509(NULL, &der, (long)root->whole.length);
                if (certificate && X509_STORE_add_cert(X509_LOOKUP_get_store(lookup), certificate) == 1 && !found) {
                        found = X509_OBJECT_set1_X509(ret, certificate);
                        X509_free(certificate);
                }
                X509_free(certificate);
        }
        ERR_clear_error();
        return found;
}

void roots_trust(X509_STORE *store)
{
        static X509_LOOKUP_METHOD *method;

        if (!method) {
                method = X509_LOOKUP_meth_new("system roots");
                X509_LOOKUP_meth_set_get_by_subject(method, by_subject);
        }
        X509_STORE_add_lookup(store, method);
}
