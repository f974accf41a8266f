/*
 * The private key of an ssh Git request. Go's ssh reads PKCS#8 too, in which Terraform for one keeps keys; libssh takes the Ed25519 ones among them for
 * keys without a public half, and cannot use them. They are written anew as OpenSSH would have them.
 */
#include "net/git_private.h"

#include "base/cleanup.h"

#include <libssh/libssh.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#define ED25519_KEY 32
#define BLOCK       8

struct ed25519 {
        unsigned char private[ED25519_KEY];
        unsigned char public[ED25519_KEY];
};

static void forget(struct ed25519 *key)
{
        OPENSSL_cleanse(key, sizeof(*key));
}

static void release_private_key(EVP_PKEY **key)
{
        EVP_PKEY_free(*key);
}

static void release_memory(BIO **memory)
{
        BIO_free(*memory);
}

static int give_passphrase(char *text, int size, int writing, void *user)
{
        struct view passphrase = *(const struct view *)user;

        (void)writing;
        if (passphrase.length == 0 || passphrase.length > (size_t)size)
                return -1;
        memcpy(text, passphrase.data, passphrase.length);
        return (int)passphrase.length;
}

/* Is this an Ed25519 key in PKCS#8? */
static bool read_ed25519(struct view pem, struct view passphrase, struct ed25519 *ret_key)
{
        cleanup(release_memory) BIO *memory = NULL;
        cleanup(release_private_key) EVP_PKEY *key = NULL;
        size_t private_length = ED25519_KEY, public_length = ED25519_KEY;

        if (view_search(pem, VIEW("PRIVATE KEY-----"), 0) < 0 || view_search(pem, VIEW("-----BEGIN OPENSSH"), 0) >= 0)
                return false;
        memory = BIO_new_mem_buf(pem.data, (int)pem.length);
        key = memory ? PEM_read_bio_PrivateKey(memory, NULL, give_passphrase, &passphrase) : NULL;
        ERR_clear_error();
        return key && EVP_PKEY_id(key) == EVP_PKEY_ED25519 &&
               EVP_PKEY_get_raw_private_key(key, ret_key->private, &private_length) == 1 &&
               EVP_PKEY_get_raw_public_key(key, ret_key->public, &public_length) == 1;
}

static void add_number(struct buffer *blob, uint32_t number)
{
        for (int shift = 24; shift >= 0; shift -= 8)
                buffer_add_char(blob, (char)(number >> shift & 0xff));
}

static void add_field(struct buffer *blob, struct view bytes)
{
        add_number(blob, (uint32_t)bytes.length);
        buffer_add_view(blob, bytes);
}

/* OpenSSH's PROTOCOL.key, without a cipher. */
static void write_openssh(const struct ed25519 *key, struct buffer *pem)
{
        cleanup(buffer_release) struct buffer blob = BUFFER_SECRET, public = BUFFER_NULL, private = BUFFER_SECRET,
                                              both = BUFFER_SECRET;
        struct view type = VIEW("ssh-ed25519"), half = { (const char *)key->public, ED25519_KEY };

        add_field(&public, type);
        add_field(&public, half);

        buffer_add(&both, key->private, ED25519_KEY);
        buffer_add_view(&both, half);
        add_number(&private, 0); /* twice the same number: it was decrypted well */
        add_number(&private, 0);
        add_field(&private, type);
        add_field(&private, half);
        add_field(&private, buffer_view(&both));
        add_field(&private, VIEW_NULL);
        for (char pad = 1; private.length % BLOCK != 0; pad++)
                buffer_add_char(&private, pad);

        buffer_add(&blob, "openssh-key-v1", sizeof("openssh-key-v1"));
        add_field(&blob, VIEW("none"));
        add_field(&blob, VIEW("none"));
        add_field(&blob, VIEW_NULL);
        add_number(&blob, 1);
        add_field(&blob, buffer_view(&public));
        add_field(&blob, buffer_view(&private));
        buffer_add_string(pem, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
        buffer_add_base64(pem, buffer_view(&blob));
        buffer_add_string(pem, "\n-----END OPENSSH PRIVATE KEY-----\n");
}

int git_ssh_prepare(struct git_session *session, struct error *err)
{
        const struct git_request *request = session->request;
        cleanup(buffer_release) struct buffer rewritten = BUFFER_SECRET;
        cleanup(forget) struct ed25519 ed25519;
        const char *identity = arena_view(session->arena, request->identity).data;
        const char *passphrase = request->passphrase.length > 0 ? arena_view(session->arena, request->passphrase).data : NULL;
        ssh_key key = NULL;

        if (read_ed25519(request->identity, request->passphrase, &ed25519)) {
                write_openssh(&ed25519, &rewritten);
                identity = buffer_string(&rewritten);
                passphrase = NULL;
        }
        if (ssh_pki_import_privkey_base64(identity, passphrase, NULL, NULL, &key) != SSH_OK)
                return error_set(err, ERROR_FORBIDDEN, "ssh: the private key in 'identity' cannot be read: it is damaged, %s",
                                 passphrase ? "or 'password' is not its passphrase" : "or of a type that is not supported");
        session->identity = key;
        return 0;
}
