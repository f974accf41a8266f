/*
 * What a kubeconfig says. Several files are not merged into one: each question goes through them in order, and the first that has the entry
 * answers it whole, which is what merging comes to.
 */
#include "base/cleanup.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/yaml.h"
#include "kube/config_private.h"
#include "net/proxy.h"
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXEC_GROUP "client.authentication.k8s.io/"

struct resolve {
        const struct kube_config_files *files;
        const struct kube_config_secret_options *untrusted;
        struct kube_config *config;
        struct arena *arena;
        struct buffer dropped;
};

struct kube_config *kube_config_new(void)
{
        struct kube_config *config = memory_zero(1, sizeof(*config));

        config->arena = arena_new();
        config->namespace = "default";
        return config;
}

void kube_config_free(struct kube_config **config)
{
        if (!*config)
                return;
        secret_release(&(*config)->key);
        secret_release(&(*config)->token);
        secret_release(&(*config)->password);
        arena_free(&(*config)->arena);
        free(*config);
        *config = NULL;
}

int kube_file_read(const char *path, struct buffer *ret_content, struct error *err)
{
        cleanup(close_descriptor) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        cleanup(buffer_release) struct buffer content = BUFFER_SECRET;
        struct stat status;

        if (fd < 0 || fstat(fd, &status) < 0)
                return error_set_errno(err, errno, "open %s", path);
        if (S_ISDIR(status.st_mode))
                return error_set_errno(err, EISDIR, "read %s", path);
        for (;;) {
                char *space = buffer_reserve(&content, 4096);
                ssize_t n = read(fd, space, 4096);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set_errno(err, errno, "read %s", path);
                if (n == 0)
                        break;
                content.length += (size_t)n;
                if (content.length > KUBE_FILE_LIMIT)
                        return error_set(err, ERROR_TOO_LARGE, "read %s: larger than %zu bytes", path, KUBE_FILE_LIMIT);
        }
        buffer_add(&content, "", 0); /* terminated, also when it is empty */
        buffer_release(ret_content);
        *ret_content = content;
        content = BUFFER_NULL;
        return 0;
}

int kube_config_file_parse(struct view text, struct json **ret_tree, struct error *err)
{
        cleanup(json_wipe) struct json *tree = NULL;

        TRY(yaml_parse(text, 0, &tree, err));
        if (json_type(tree) != JSON_OBJECT && !json_is_null(tree))
                return error_set(err, ERROR_INVALID, "a kubeconfig is an object, not %s", json_type_name(json_type(tree)));
        *ret_tree = steal(&tree);
        return 0;
}

/* NULL for what is absent, empty or no string. */
static const char *text_of(const struct json *object, const char *key)
{
        const char *text = json_string(json_get(object, key), NULL);

        return text && *text ? text : NULL;
}

static const char *keep(struct resolve *r, const char *text)
{
        return text ? arena_string(r->arena, text) : NULL;
}

/* The content of the entry `name` of a list such as clusters; *ret_file is the file that has it. NULL if none has. */
static const struct json *entry(const struct resolve *r, const char *list, const char *name, const char *content,
                                const struct kube_config_file **ret_file)
{
        for (size_t i = 0; i < r->files->count; i++) {
                const struct json *items = json_get(r->files->items[i].tree, list);

                for (size_t k = 0; k < json_length(items); k++) {
                        const struct json *item = json_at(items, k);

                        if (strcmp(json_string(json_get(item, "name"), ""), name) == 0) {
                                *ret_file = &r->files->items[i];
                                return json_get(item, content);
                        }
                }
        }
        return NULL;
}

static const char *beside(struct resolve *r, const struct kube_config_file *file, const char *path)
{
        const char *slash = file->path ? strrchr(file->path, '/') : NULL;

        if (!path || *path == '/' || !slash)
                return keep(r, path);
        return arena_printf(r->arena, "%.*s/%s", (int)(slash - file->path), file->path, path);
}

static void drop(struct resolve *r, const char *what)
{
        buffer_printf(&r->dropped, "%s%s", r->dropped.length ? ", " : "", what);
}

/* Bytes of an item that is given as base64 (`key`-data) or as a file (`key`). */
static int data_or_file(struct resolve *r, const struct kube_config_file *file, const struct json *object, const char *key,
                        const char *owner, const char **ret_path, struct buffer *ret_bytes, struct error *err)
{
        cleanup(free_string) char *data_key = memory_printf("%s-data", key);
        const char *data = text_of(object, data_key), *path = text_of(object, key);

        if (path && r->untrusted) {
                drop(r, key);
                path = NULL;
        }
        if (data && path)
                return error_set(err, ERROR_INVALID, "%s-data and %s are both specified for %s. %s-data will override.", key, key,
                                 owner, key);
        if (data && buffer_add_base64_decoded(ret_bytes, view_of(data)) < 0)
                return error_set(err, ERROR_INVALID, "%s-data of %s is not base64", key, owner);
        if (path) {
                *ret_path = beside(r, file, path);
                if (kube_file_read(*ret_path, ret_bytes, err) < 0)
                        return error_wrap(err, "unable to read %s %s for %s", key, *ret_path, owner);
        }
        return 0;
}

static bool wants_tls(const struct json *cluster, const struct json *user)
{
        static const char *const of_cluster[] = { "certificate-authority", "certificate-authority-data", "tls-server-name" };
        static const char *const of_user[] = { "client-certificate", "client-certificate-data", "client-key", "client-key-data" };

        for (size_t i = 0; i < sizeof(of_cluster) / sizeof(of_cluster[0]); i++)
                if (text_of(cluster, of_cluster[i]))
                        return true;
        for (size_t i = 0; i < sizeof(of_user) / sizeof(of_user[0]); i++)
                if (text_of(user, of_user[i]))
                        return true;
        return json_bool(json_get(cluster, "insecure-skip-tls-verify"), false);
}

static const char *server_url(struct resolve *r, const char *server, bool tls)
{
        char *url = strstr(server, "://") ? arena_string(r->arena, server)
                                          : arena_printf(r->arena, "%s://%s", tls ? "https" : "http", server);
        size_t length = strcspn(url, "?#");

        while (length && url[length - 1] == '/')
                length--;
        url[length] = '\0';
        return url;
}

static int resolve_cluster(struct resolve *r, const struct kube_config_file *file, const struct json *cluster, const char *name,
                           bool tls, struct error *err)
{
        struct kube_config *config = r->config;
        cleanup(buffer_release) struct buffer ca = BUFFER_NULL;
        const char *server = text_of(cluster, "server");

        if (!server)
                return error_set(err, ERROR_INVALID,
                                 *name ? "no server found for cluster \"%s\"" : "default cluster has no server defined%s", name);
        config->server = server_url(r, server, tls);
        config->disable_compression = json_bool(json_get(cluster, "disable-compression"), false);
        config->proxy = keep(r, text_of(cluster, "proxy-url"));
        if (config->proxy && proxy_check(config->proxy, err) < 0)
                return error_wrap(err, "invalid 'proxy-url' for cluster \"%s\"", name);
        config->insecure = json_bool(json_get(cluster, "insecure-skip-tls-verify"), false);
        if (config->insecure && r->untrusted && !r->untrusted->allow_insecure) {
                drop(r, "insecure-skip-tls-verify");
                config->insecure = false;
        }
        config->server_name = keep(r, text_of(cluster, "tls-server-name"));
        TRY(data_or_file(r, file, cluster, "certificate-authority", name, &config->ca_file, &ca, err));
        if (ca.length && config->insecure)
                return error_set(err, ERROR_INVALID, "specifying a root certificates file with the insecure flag is not allowed");
        config->ca = arena_view(r->arena, buffer_view(&ca));
        if (ca.length && tls_check_certificates(config->ca, "unable to load root certificates", err) < 0)
                return -1;
        return 0;
}

static int resolve_exec(struct resolve *r, const struct kube_config_file *file, const struct json *exec, const struct json *cluster,
                        const char *user, struct error *err)
{
        struct kube_exec_config *e = arena_new_of(r->arena, struct kube_exec_config);
        const struct json *arguments = json_get(exec, "args"), *variables = json_get(exec, "env");
        const struct json *extensions = json_get(cluster, "extensions");
        const char *command = text_of(exec, "command"), *version = text_of(exec, "apiVersion"),
                   *mode = text_of(exec, "interactiveMode");

        if (!command)
                return error_set(err, ERROR_INVALID, "command must be specified for %s to use exec authentication plugin", user);
        if (!version)
                return error_set(err, ERROR_INVALID, "apiVersion must be specified for %s to use exec authentication plugin", user);
        if (strcmp(version, EXEC_GROUP "v1") != 0 && strcmp(version, EXEC_GROUP "v1beta1") != 0)
                return error_set(err, ERROR_INVALID, "exec plugin: invalid apiVersion \"%s\"", version);
        if (!mode && strcmp(version, EXEC_GROUP "v1") == 0)
                return error_set(err, ERROR_INVALID, "interactiveMode must be specified for %s to use exec authentication plugin",
                                 user);
        if (!mode)
                mode = "IfAvailable";
        if (strcmp(mode, "Never") != 0 && strcmp(mode, "IfAvailable") != 0 && strcmp(mode, "Always") != 0)
                return error_set(
                        err, ERROR_INVALID,
                        "invalid interactiveMode for user %s: \"%s\": should be one of 'Never', 'IfAvailable', or 'Always'", user,
                        mode);
        e->api_version = keep(r, version);
        e->interactive_mode = keep(r, mode);
        e->command = strchr(command, '/') ? beside(r, file, command) : keep(r, command);
        e->install_hint = keep(r, text_of(exec, "installHint"));
        e->provide_cluster = json_bool(json_get(exec, "provideClusterInfo"), false);
        e->arguments = arena_array(r->arena, json_length(arguments) + 1, sizeof(char *));
        for (size_t i = 0; i < json_length(arguments); i++)
                e->arguments[i] = arena_string(r->arena, json_string(json_at(arguments, i), ""));
        e->environment = arena_array(r->arena, json_length(variables) + 1, sizeof(char *));
        for (size_t i = 0; i < json_length(variables); i++) {
                const char *name = text_of(json_at(variables, i), "name");

                if (!name)
                        return error_set(err, ERROR_INVALID,
                                         "env variable name must be specified for %s to use exec authentication plugin", user);
                e->environment[i] =
                        arena_printf(r->arena, "%s=%s", name, json_string(json_get(json_at(variables, i), "value"), ""));
        }
        for (size_t i = 0; i < json_length(extensions); i++) {
                if (strcmp(json_string(json_get(json_at(extensions, i), "name"), ""), EXEC_GROUP "exec") == 0) {
                        cleanup(free_string) char *text = json_text(json_get(json_at(extensions, i), "extension"));

                        e->cluster_config = arena_string(r->arena, text);
                }
        }
        r->config->exec = e;
        return 0;
}

static int resolve_impersonation(struct resolve *r, const struct json *user, struct error *err)
{
        struct kube_config *config = r->config;
        const struct json *groups = json_get(user, "as-groups"), *extra = json_get(user, "as-user-extra");
        struct kube_config_pair *pairs;
        size_t count = 0;

        if (r->untrusted) {
                if (text_of(user, "as") || text_of(user, "as-uid") || json_length(groups) || json_length(extra))
                        drop(r, "as");
                return 0;
        }
        config->as_user = keep(r, text_of(user, "as"));
        config->as_uid = keep(r, text_of(user, "as-uid"));
        if (!config->as_user && (config->as_uid || json_length(groups) || json_length(extra)))
                return error_set(err, ERROR_INVALID, "requesting uid, groups or user-extra without impersonating a user");
        config->as_groups = arena_array(r->arena, json_length(groups) + 1, sizeof(char *));
        for (size_t i = 0; i < json_length(groups); i++)
                config->as_groups[i] = arena_string(r->arena, json_string(json_at(groups, i), ""));
        JSON_EACH(extra, counted)
                count += json_length(counted.value);
        pairs = arena_array(r->arena, count + 1, sizeof(*pairs));
        JSON_EACH(extra, member)
                for (size_t i = 0; i < json_length(member.value); i++)
                        pairs[config->as_extra_count++] = (struct kube_config_pair){
                                arena_string(r->arena, member.key),
                                arena_string(r->arena, json_string(json_at(member.value, i), "")),
                        };
        config->as_extra = pairs;
        return 0;
}

static int resolve_certificate(struct resolve *r, const struct kube_config_file *file, const struct json *user, const char *name,
                               struct error *err)
{
        struct kube_config *config = r->config;
        cleanup(buffer_release) struct buffer certificate = BUFFER_NULL;
        cleanup(buffer_release) struct buffer key = BUFFER_SECRET;

        TRY(data_or_file(r, file, user, "client-certificate", name, &config->certificate_file, &certificate, err));
        TRY(data_or_file(r, file, user, "client-key", name, &config->key_file, &key, err));
        if (certificate.length && !key.length)
                return error_set(
                        err, ERROR_INVALID,
                        "client-key-data or client-key must be specified for %s to use the clientCert authentication method.",
                        name);
        if (!certificate.length)
                return 0;
        config->certificate = arena_view(r->arena, buffer_view(&certificate));
        secret_set(&config->key, buffer_view(&key));
        return tls_check_pair(config->certificate, secret_view(&config->key), err);
}

static int resolve_token(struct resolve *r, const struct kube_config_file *file, const struct json *user, const char *name,
                         struct error *err)
{
        struct kube_config *config = r->config;
        const char *token = text_of(user, "token"), *path = text_of(user, "tokenFile");
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (path && r->untrusted) {
                drop(r, "tokenFile");
                path = NULL;
        }
        config->token_file = beside(r, file, path);
        if (token) {
                secret_set(&config->token, view_of(token));
        } else if (path) {
                if (kube_file_read(config->token_file, &text, err) < 0)
                        return error_wrap(err, "tokenFile of %s", name);
                secret_set(&config->token, view_trim(buffer_view(&text)));
        }
        return 0;
}

static int resolve_user(struct resolve *r, const struct kube_config_file *file, const struct json *user, const struct json *cluster,
                        const char *name, struct error *err)
{
        struct kube_config *config = r->config;
        const struct json *exec = json_get(user, "exec"), *provider = json_get(user, "auth-provider");
        const char *username = text_of(user, "username"), *password = text_of(user, "password");

        TRY(resolve_impersonation(r, user, err));
        if (strncmp(config->server, "https://", 8) != 0)
                return 0; /* credentials go to nobody who was not verified */
        if (json_length(provider) && json_length(exec))
                return error_set(err, ERROR_INVALID, "authProvider cannot be provided in combination with an exec plugin for %s",
                                 name);
        if (json_length(provider))
                return error_set(err, ERROR_INVALID, "no Auth Provider found for name \"%s\"",
                                 json_string(json_get(provider, "name"), ""));
        TRY(resolve_certificate(r, file, user, name, err));
        TRY(resolve_token(r, file, user, name, err));
        if (config->token.length && (username || password))
                return error_set(err, ERROR_INVALID,
                                 "more than one authentication method found for %s; found [token basicAuth], only one is allowed",
                                 name);
        config->username = keep(r, username);
        if (password)
                secret_set(&config->password, view_of(password));
        if (!json_length(exec))
                return 0;
        if (r->untrusted && !r->untrusted->allow_exec) {
                drop(r, "exec");
                return 0;
        }
        return resolve_exec(r, file, exec, cluster, name, err);
}

static const char *current_context(const struct kube_config_files *files)
{
        for (size_t i = 0; i < files->count; i++) {
                const char *name = text_of(files->items[i].tree, "current-context");

                if (name)
                        return name;
        }
        return "";
}

/* Nothing but what a config without any file holds. */
static bool is_empty(const struct kube_config_files *files)
{
        static const char *const lists[] = { "clusters", "users", "contexts" };

        for (size_t i = 0; i < files->count; i++)
                for (size_t k = 0; k < sizeof(lists) / sizeof(lists[0]); k++)
                        if (json_length(json_get(files->items[i].tree, lists[k])))
                                return false;
        return !*current_context(files);
}

static int resolve_all(struct resolve *r, struct error *err)
{
        const char *name = current_context(r->files), *cluster_name = "", *user_name = "", *namespace;
        const struct kube_config_file *file = NULL, *cluster_file = NULL, *user_file = NULL;
        const struct json *context, *cluster, *user;

        context = entry(r, "contexts", name, "context", &file);
        if (!context && *name)
                return error_set(err, ERROR_INVALID, "context was not found for specified context: %s", name);
        if (context) {
                cluster_name = json_string(json_get(context, "cluster"), "");
                user_name = json_string(json_get(context, "user"), "");
                namespace = text_of(context, "namespace");
                if (namespace)
                        r->config->namespace = keep(r, namespace);
        }
        cluster = entry(r, "clusters", cluster_name, "cluster", &cluster_file);
        if (!cluster && *cluster_name)
                return error_set(err, ERROR_INVALID, "cluster \"%s\" does not exist", cluster_name);
        if (!cluster)
                return 0;
        user = entry(r, "users", user_name, "user", &user_file);
        if (!user && *user_name)
                return error_set(err, ERROR_INVALID, "auth info \"%s\" does not exist", user_name);
        TRY(resolve_cluster(r, cluster_file, cluster, cluster_name, wants_tls(cluster, user), err));
        return user ? resolve_user(r, user_file, user, cluster, user_name, err) : 0;
}

int kube_config_resolve(const struct kube_config_files *files, const struct kube_config_secret_options *untrusted,
                        struct kube_config **ret_config, struct error *err)
{
        cleanup(kube_config_free) struct kube_config *config = kube_config_new();
        struct resolve r = { .files = files, .untrusted = untrusted, .config = config, .arena = config->arena };
        int result = is_empty(files) ? 0 : resolve_all(&r, err);

        if (r.dropped.length)
                config->dropped = arena_string(config->arena, r.dropped.data);
        buffer_release(&r.dropped);
        if (result < 0)
                return error_wrap(err, "invalid configuration");
        *ret_config = steal(&config);
        return 0;
}
