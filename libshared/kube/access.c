#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "kube/client_private.h"
#include "kube/config_private.h"
#include "net/proxy.h"
#include "net/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MS         50000
#define FILES_MS         60000
#define PLUGIN_MARGIN_US 30000000
#define PLUGIN_WAIT_MS   20
#define PLUGIN_AGAIN_MS  5000 /* after a run that failed while the old credential is good */
#define PLUGIN_FRESH_MS  500  /* what was just printed is tried, whatever it says of its end */
#define STACK_BYTES      ((size_t)256 << 10)

void kube_access_release(struct kube_access *access)
{
        http_settings_release(&access->settings);
        buffer_release(&access->authorization);
}

static bool uses_plugin(const struct kube_config *config)
{
        return config->exec && !config->token.length && !config->token_file && !config->username && !config->certificate.length;
}

/* Under the lock. A new client certificate must not share connections that were made with the old one; a new CA may. */
static void settings_make(struct kube_server *server, bool close_old)
{
        const struct kube_config *config = server->config;
        const char *http1 = getenv("DISABLE_HTTP2");
        bool plugin = server->plugin.certificate.length > 0;
        struct http_settings_options options = {
                .ca = buffer_view(&server->ca),
                .certificate = plugin ? secret_view(&server->plugin.certificate) : buffer_view(&server->certificate),
                .key = plugin ? secret_view(&server->plugin.key) : secret_view(&server->key),
                .server_name = config->server_name,
                .insecure = config->insecure,
                .http1 = http1 && *http1,
                .proxy = server->proxy,
        };

        if (server->settings && close_old)
                http_settings_close_connections(server->io, server->settings);
        http_settings_release(&server->settings);
        server->settings = http_settings_new(&options);
        server->generation++;
}

static void replace(struct buffer *place, struct view text)
{
        buffer_clear(place);
        buffer_add_view(place, text);
}

int kube_access_init(struct kube_server *server, struct error *err)
{
        const struct kube_config *config = server->config;

        if (config->proxy)
                server->proxy = memory_string(config->proxy);
        else
                TRY(proxy_for_url(config->server, &server->proxy, err));
        if (config->ca.length)
                TRY(tls_check_certificates(config->ca, "certificate authority", err));
        if (config->certificate.length)
                TRY(tls_check_pair(config->certificate, secret_view(&config->key), err));
        replace(&server->ca, config->ca);
        replace(&server->certificate, config->certificate);
        secret_set(&server->key, secret_view(&config->key));
        secret_set(&server->token, secret_view(&config->token));
        /* A token beside its file: the token first, the file once it is due. */
        server->token_read_ms = clock_now_ms();
        server->files_read_ms = clock_now_ms();
        settings_make(server, false);
        return 0;
}

void kube_access_end(struct kube_server *server)
{
        if (server->renewing)
                pthread_join(server->renewer, NULL);
        if (server->settings)
                http_settings_close_connections(server->io, server->settings);
        http_settings_release(&server->settings);
        buffer_release(&server->ca);
        buffer_release(&server->certificate);
        secret_release(&server->key);
        secret_release(&server->token);
        exec_credential_release(&server->plugin);
        error_release(&server->plugin_error);
}

/* Under the lock. True if there is another token now. */
static bool token_read(struct kube_server *server)
{
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_SECRET;
        struct view token;
        bool changed = false;

        server->token_read_ms = clock_now_ms();
        if (kube_file_read(server->config->token_file, &text, &err) == 0 && !view_trim(buffer_view(&text)).length)
                error_set(&err, ERROR_INVALID, "read empty token from file \"%s\"", server->config->token_file);
        token = view_trim(buffer_view(&text));
        if (err.kind != ERROR_NONE) {
                if (!server->token_bad)
                        kube_notice(server, LOG_ERROR, "Unable to rotate token: %s", error_message(&err));
                server->token_bad = true;
        } else {
                server->token_bad = false;
                changed = !view_equal(token, secret_view(&server->token));
                if (changed) {
                        secret_set(&server->token, token);
                        server->generation++;
                }
        }
        return changed;
}

/* One of the two is there to be read; the other stays as it is. 1: changed, 0: not, -1: broken. */
static int certificate_read(struct kube_server *server, struct error *err)
{
        const struct kube_config *config = server->config;
        cleanup(buffer_release) struct buffer certificate = BUFFER_NULL;
        cleanup(buffer_release) struct buffer key = BUFFER_SECRET;
        struct view new_key = secret_view(&server->key);

        if (!config->certificate_file && !config->key_file)
                return 0;
        if (config->certificate_file)
                TRY(kube_file_read(config->certificate_file, &certificate, err));
        else
                buffer_add_view(&certificate, buffer_view(&server->certificate));
        if (config->key_file) {
                TRY(kube_file_read(config->key_file, &key, err));
                new_key = buffer_view(&key);
        }
        if (view_equal(buffer_view(&certificate), buffer_view(&server->certificate)) &&
            view_equal(new_key, secret_view(&server->key)))
                return 0;
        TRY(tls_check_pair(buffer_view(&certificate), new_key, err)); /* half written: the next time */
        replace(&server->certificate, buffer_view(&certificate));
        secret_set(&server->key, new_key);
        return 1;
}

static int ca_read(struct kube_server *server, struct error *err)
{
        cleanup(buffer_release) struct buffer ca = BUFFER_NULL;

        if (!server->config->ca_file)
                return 0;
        TRY(kube_file_read(server->config->ca_file, &ca, err));
        if (view_equal(buffer_view(&ca), buffer_view(&server->ca)))
                return 0;
        TRY(tls_check_certificates(buffer_view(&ca), server->config->ca_file, err));
        replace(&server->ca, buffer_view(&ca));
        return 1;
}

/* Under the lock. True if something changed. */
static bool files_read(struct kube_server *server)
{
        cleanup(error_release) struct error err = ERROR_NULL;
        int certificate, ca;

        server->files_read_ms = clock_now_ms();
        certificate = certificate_read(server, &err);
        ca = ca_read(server, &err);
        if (certificate < 0 || ca < 0) {
                if (!server->files_bad)
                        kube_notice(server, LOG_ERROR, "Unable to rotate certificates: %s", error_message(&err));
        }
        server->files_bad = certificate < 0 || ca < 0;
        if (certificate > 0 || ca > 0)
                settings_make(server, certificate > 0);
        return certificate > 0 || ca > 0;
}

/* Under the lock. */
static void plugin_take(struct kube_server *server, struct exec_credential *credential)
{
        bool certificate_changed = !view_equal(secret_view(&credential->certificate), secret_view(&server->plugin.certificate));
        /* Early, but not so early that what lives for seconds is never used. */
        int64_t margin = (credential->expires_us - clock_wall_us()) / 10;

        server->plugin_until_us = credential->expires_us;
        server->plugin_renew_us = credential->expires_us == CLOCK_NEVER ? CLOCK_NEVER
                                  : margin < PLUGIN_MARGIN_US           ? credential->expires_us - margin
                                                                        : credential->expires_us - PLUGIN_MARGIN_US;
        exec_credential_release(&server->plugin);
        server->plugin = *credential;
        *credential = EXEC_CREDENTIAL_NULL;
        server->generation++;
        if (certificate_changed)
                settings_make(server, true);
}

/* A thread of its own: a program that is slow keeps no worker from being cancelled, and never the io thread. */
static void *renew(void *argument)
{
        struct kube_server *server = argument;
        cleanup(exec_credential_release) struct exec_credential credential = EXEC_CREDENTIAL_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        bool unheard;
        int r = exec_credential_get(&server->life, server->config, &credential, &err);

        if (r == 0 && credential.certificate.length)
                r = tls_check_pair(secret_view(&credential.certificate), secret_view(&credential.key), &err);
        pthread_mutex_lock(&server->lock);
        if (r == 0)
                plugin_take(server, &credential);
        unheard = r < 0 && !server->plugin_waiters && err.kind != ERROR_CANCELLED;
        if (unheard)
                kube_notice(server, LOG_ERROR, "%s", error_message(&err));
        error_move(&server->plugin_error, &err);
        server->plugin_ended_ms = clock_now_ms();
        server->plugin_runs++;
        server->plugin_running = false;
        pthread_mutex_unlock(&server->lock);
        return NULL;
}

/* Under the lock. */
static int renew_begin(struct kube_server *server, struct error *err)
{
        pthread_attr_t attributes;
        int r;

        if (server->plugin_running)
                return 0;
        if (server->renewing)
                pthread_join(server->renewer, NULL); /* it has ended but for its return */
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        r = pthread_create(&server->renewer, &attributes, renew, server);
        server->plugin_running = server->renewing = r == 0;
        pthread_attr_destroy(&attributes);
        return r != 0 ? error_set_errno(err, r, "start a thread for credentials") : 0;
}

/* Under the lock, which is given up meanwhile: waits for the run that is under way, and fails as it does. */
static int renew_await(struct context *ctx, struct kube_server *server, struct error *err)
{
        unsigned runs = server->plugin_runs;
        int r = 0;

        server->plugin_waiters++;
        while (r == 0 && server->plugin_runs == runs) {
                pthread_mutex_unlock(&server->lock);
                r = context_sleep(ctx, PLUGIN_WAIT_MS, err);
                pthread_mutex_lock(&server->lock);
        }
        server->plugin_waiters--;
        if (r == 0 && server->plugin_error.kind != ERROR_NONE)
                r = error_set(err, server->plugin_error.kind, "%s", error_message(&server->plugin_error));
        return r;
}

/* Under the lock. 0: there is a valid credential of the plugin. One that ends soon is used while the next is made. */
static int plugin_ready(struct context *ctx, struct kube_server *server, struct error *err)
{
        for (;;) {
                int64_t now = clock_wall_us(), age_ms = clock_now_ms() - server->plugin_ended_ms;
                bool fresh = server->plugin_until_us && server->plugin_error.kind == ERROR_NONE && age_ms < PLUGIN_FRESH_MS;
                cleanup(error_release) struct error ignored = ERROR_NULL;

                if (fresh)
                        return 0;
                if (server->plugin_until_us > now) {
                        if (now >= server->plugin_renew_us && age_ms >= PLUGIN_AGAIN_MS)
                                renew_begin(server, &ignored);
                        return 0;
                }
                TRY(renew_begin(server, err));
                if (!ctx)
                        return error_set(err, ERROR_UNAVAILABLE, "the credentials are being renewed");
                TRY(renew_await(ctx, server, err));
        }
}

static void authorize(struct kube_server *server, struct buffer *header)
{
        const struct kube_config *config = server->config;
        const struct secret *token = server->plugin.token.length ? &server->plugin.token : &server->token;

        if (token->length) {
                buffer_add_string(header, "Bearer ");
                buffer_add_view(header, secret_view(token));
        } else if (config->username) {
                cleanup(buffer_release) struct buffer pair = BUFFER_SECRET;

                buffer_printf(&pair, "%s:%s", config->username, config->password.bytes ? config->password.bytes : "");
                buffer_add_string(header, "Basic ");
                buffer_add_base64(header, buffer_view(&pair));
        }
}

int kube_access_get(struct context *ctx, struct kube_server *server, struct kube_access *ret_access, struct error *err)
{
        const struct kube_config *config = server->config;
        struct kube_access access = { .authorization = BUFFER_SECRET };
        int64_t now = clock_now_ms();

        pthread_mutex_lock(&server->lock);
        if (config->token_file && now - server->token_read_ms >= TOKEN_MS)
                token_read(server);
        if ((config->ca_file || config->certificate_file || config->key_file) && now - server->files_read_ms >= FILES_MS)
                files_read(server);
        if (uses_plugin(config) && plugin_ready(ctx, server, err) < 0) {
                pthread_mutex_unlock(&server->lock);
                return -1;
        }
        access.settings = http_settings_ref(server->settings);
        access.generation = server->generation;
        authorize(server, &access.authorization);
        pthread_mutex_unlock(&server->lock);
        *ret_access = access;
        return 0;
}

bool kube_access_refused(struct kube_server *server, unsigned generation)
{
        bool other;

        pthread_mutex_lock(&server->lock);
        other = server->generation != generation;
        if (!other && uses_plugin(server->config)) {
                server->plugin_until_us = 0;
                other = true;
        } else if (!other && server->config->token_file) {
                other = token_read(server);
        }
        pthread_mutex_unlock(&server->lock);
        return other;
}

bool kube_access_unverified(struct kube_server *server, unsigned generation)
{
        bool other;

        pthread_mutex_lock(&server->lock);
        other = server->generation != generation || (server->config->ca_file && files_read(server));
        pthread_mutex_unlock(&server->lock);
        return other;
}
