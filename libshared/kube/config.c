/*
 * Where a configuration comes from: the environment, the pod, a Secret. What a kubeconfig says is read in config_file.c.
 */
#include "kube/config.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/json.h"
#include "kube/config_private.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define FILES_LIMIT     32

static void __attribute__((__format__(__printf__, 2, 3))) add_note(struct kube_config *config, const char *format, ...)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        va_list arguments;

        if (config->notes)
                buffer_printf(&text, "%s\n", config->notes);
        va_start(arguments, format);
        buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        config->notes = arena_string(config->arena, buffer_string(&text));
}

static bool files_have(const struct kube_config_files *files, struct view path)
{
        for (size_t i = 0; i < files->count; i++)
                if (files->items[i].path && view_is(path, files->items[i].path))
                        return true;
        return false;
}

static void files_release(struct kube_config_files *files)
{
        for (size_t i = 0; i < files->count; i++) {
                json_wipe(&files->items[i].tree);
                free(files->items[i].path);
        }
        free(files->items);
        *files = (struct kube_config_files){ NULL, 0 };
}

int kube_config_load_files(const char *paths, struct kube_config **ret_config, struct error *err)
{
        cleanup(files_release) struct kube_config_files files = { NULL, 0 };
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error broken = ERROR_NULL;
        struct view rest = view_of(paths), path;

        files.items = memory_zero(FILES_LIMIT, sizeof(*files.items));
        while (view_split(&rest, ':', &path)) {
                struct kube_config_file *file = &files.items[files.count];
                cleanup(error_release) struct error failure = ERROR_NULL;
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                if (!path.length || files_have(&files, path))
                        continue;
                if (files.count == FILES_LIMIT)
                        return error_set(err, ERROR_TOO_LARGE, "KUBECONFIG names more than %d files", FILES_LIMIT);
                file->path = memory_string_n(path.data, path.length);
                files.count++;
                if (kube_file_read(file->path, &text, &failure) < 0) {
                        if (failure.kind == ERROR_NOT_FOUND)
                                continue;
                } else if (kube_config_file_parse(buffer_view(&text), &file->tree, &failure) < 0) {
                        error_wrap(&failure, "error loading config file \"%s\"", file->path);
                }
                if (failure.kind != ERROR_NONE && broken.kind == ERROR_NONE)
                        error_move(&broken, &failure);
        }
        if (kube_config_resolve(&files, NULL, &config, err) < 0)
                /* What could not be read explains best why the rest is not enough. */
                return broken.kind == ERROR_NONE ? -1 : error_move(err, &broken);
        if (broken.kind != ERROR_NONE && !config->server)
                return error_move(err, &broken);
        if (broken.kind != ERROR_NONE)
                add_note(config, "%s", error_message(&broken));
        *ret_config = steal(&config);
        return 0;
}

int kube_config_load_in_cluster(const char *root, struct kube_config **ret_config, struct error *err)
{
        cleanup(kube_config_free) struct kube_config *config = kube_config_new();
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error failure = ERROR_NULL;
        const char *host = getenv("KUBERNETES_SERVICE_HOST");
        const char *port = getenv("KUBERNETES_SERVICE_PORT");
        struct arena *arena = config->arena;

        if (!host || !*host || !port || !*port)
                return error_set(err, ERROR_NOT_FOUND,
                                 "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT "
                                 "must be defined");
        if (!root)
                root = SERVICE_ACCOUNT;
        config->server = arena_printf(arena, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
        config->token_file = arena_printf(arena, "%s/token", root);
        if (kube_file_read(config->token_file, &text, err) < 0)
                return -1;
        secret_set(&config->token, view_trim(buffer_view(&text)));

        config->ca_file = arena_printf(arena, "%s/ca.crt", root);
        if (kube_file_read(config->ca_file, &text, &failure) == 0) {
                config->ca = arena_view(arena, buffer_view(&text));
        } else {
                config->ca_file = NULL;
                add_note(config, "expected to load root CA config from %s/ca.crt, but got err: %s", root, error_message(&failure));
        }
        if (kube_file_read(arena_printf(arena, "%s/namespace", root), &text, &failure) == 0 && text.length)
                config->namespace = arena_view(arena, view_trim(buffer_view(&text))).data;
        *ret_config = steal(&config);
        return 0;
}

char *kube_config_pod_namespace(void)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(error_release) struct error failure = ERROR_NULL;
        struct view name;

        if (kube_file_read(SERVICE_ACCOUNT "/namespace", &text, &failure) < 0)
                return memory_string("");
        name = view_trim(buffer_view(&text));
        return memory_string_n(name.data, name.length);
}

static char *home_kubeconfig(void)
{
        const char *home = getenv("HOME");
        struct passwd entry, *found = NULL;
        char space[4096];

        if ((!home || !*home) && getpwuid_r(getuid(), &entry, space, sizeof(space), &found) == 0 && found)
                home = found->pw_dir;
        return memory_printf("%s/.kube/config", home ? home : "");
}

int kube_config_load(struct kube_config **ret_config, struct error *err)
{
        cleanup(free_string) char *home = NULL;
        cleanup(error_release) struct error outside = ERROR_NULL;
        const char *paths = getenv("KUBECONFIG");
        cleanup(kube_config_free) struct kube_config *config = NULL;

        if (!paths || !*paths) {
                if (kube_config_load_in_cluster(NULL, ret_config, &outside) == 0)
                        return 0;
                home = home_kubeconfig();
                paths = home;
        }
        TRY(kube_config_load_files(paths, &config, err));
        if (!config->server) {
                error_release(&outside);
                if (kube_config_load_in_cluster(NULL, ret_config, &outside) == 0)
                        return 0;
                error_set(err, ERROR_INVALID,
                          "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment "
                          "variable");
                if (getenv("KUBERNETES_SERVICE_HOST")) /* in a pod, this is what is wrong */
                        error_wrap(err, "unable to load in-cluster config: %s", error_message(&outside));
                return -1;
        }
        *ret_config = steal(&config);
        return 0;
}

int kube_config_parse_untrusted(struct view text, const struct kube_config_secret_options *options, struct kube_config **ret_config,
                                struct error *err)
{
        cleanup(files_release) struct kube_config_files files = { NULL, 0 };
        cleanup(kube_config_free) struct kube_config *config = NULL;

        files.items = memory_zero(1, sizeof(*files.items));
        files.count = 1;
        if (kube_config_file_parse(text, &files.items[0].tree, err) < 0)
                return -1;
        TRY(kube_config_resolve(&files, options, &config, err));
        if (!config->server)
                return error_set(err, ERROR_INVALID, "invalid configuration: no configuration has been provided");
        config->request_timeout_ms = 30000;
        *ret_config = steal(&config);
        return 0;
}

int kube_config_from_secret(const struct json *secret, const char *key, const struct kube_config_secret_options *options,
                            struct kube_config **ret_config, struct error *err)
{
        const char *name = json_string(JSON_PATH(secret, "metadata", "name"), "");
        const char *namespace = json_string(JSON_PATH(secret, "metadata", "namespace"), "");
        cleanup(buffer_release) struct buffer text = BUFFER_SECRET;
        const struct json *data = json_get(secret, "data"), *value;

        if (key && *key) {
                value = json_get(data, key);
        } else {
                key = "value";
                value = json_get(data, "value");
                if (!json_view(value).length && json_get(data, "value.yaml"))
                        value = json_get(data, "value.yaml");
        }
        if (!json_view(value).length)
                return error_set(err, ERROR_INVALID, "KubeConfig secret '%s/%s' does not contain a '%s' key with a kubeconfig",
                                 namespace, name, key);
        if (buffer_add_base64_decoded(&text, json_view(value)) < 0)
                return error_set(err, ERROR_INVALID, "KubeConfig secret '%s/%s': '%s' is not base64", namespace, name, key);
        if (kube_config_parse_untrusted(buffer_view(&text), options, ret_config, err) < 0)
                return error_wrap(err, "KubeConfig secret '%s/%s'", namespace, name);
        return 0;
}
