#include "kube/exec.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS  30000
#define OUTPUT_LIMIT ((size_t)1 << 20)
#define ERRORS_LIMIT ((size_t)16 << 10)

static uint64_t descriptors; /* 0: not said, they have what we have */

void exec_set_descriptors(uint64_t count)
{
        descriptors = count;
}

void exec_credential_release(struct exec_credential *credential)
{
        secret_release(&credential->token);
        secret_release(&credential->certificate);
        secret_release(&credential->key);
        credential->expires_us = 0;
}

/* KUBERNETES_EXEC_INFO=... as a new string. */
static char *exec_info(const struct kube_config *config)
{
        const struct kube_exec_config *exec = config->exec;
        cleanup(json_free) struct json *root = json_new_object();
        cleanup(free_string) char *text = NULL;
        struct json *spec;

        json_set_string(root, "kind", "ExecCredential");
        json_set_string(root, "apiVersion", exec->api_version);
        spec = json_set(root, "spec", json_new_object());
        if (exec->provide_cluster) {
                struct json *cluster = json_set(spec, "cluster", json_new_object());
                struct json *extension = NULL;
                struct error ignored = ERROR_NULL;

                json_set_string(cluster, "server", config->server);
                json_set_string(cluster, "tls-server-name", config->server_name);
                if (config->insecure)
                        json_set_bool(cluster, "insecure-skip-tls-verify", true);
                if (config->ca.length) {
                        cleanup(buffer_release) struct buffer encoded = BUFFER_NULL;

                        buffer_add_base64(&encoded, config->ca);
                        json_set_string(cluster, "certificate-authority-data", encoded.data);
                }
                json_set_string(cluster, "proxy-url", config->proxy);
                if (config->disable_compression)
                        json_set_bool(cluster, "disable-compression", true);
                if (exec->cluster_config && json_parse(view_of(exec->cluster_config), &extension, &ignored) == 0)
                        json_set(cluster, "config", extension);
                error_release(&ignored);
        }
        json_set_bool(spec, "interactive", false);
        text = json_text(root);
        return memory_printf("KUBERNETES_EXEC_INFO=%s", text);
}

/* The last one of a name counts for getenv only if the others are not there. */
static bool overridden(const char *entry, const struct kube_exec_config *exec)
{
        size_t length = strcspn(entry, "=") + 1;

        for (size_t i = 0; exec->environment[i]; i++)
                if (strncmp(entry, exec->environment[i], length) == 0)
                        return true;
        return strncmp(entry, "KUBERNETES_EXEC_INFO=", 21) == 0;
}

static char **environment_of(const struct kube_exec_config *exec, char *info)
{
        size_t own = 0, added = 0, count = 0;
        char **list;

        while (environ[own])
                own++;
        while (exec->environment[added])
                added++;
        list = memory_zero(own + added + 2, sizeof(char *));
        for (size_t i = 0; i < own; i++)
                if (!overridden(environ[i], exec))
                        list[count++] = environ[i];
        for (size_t i = 0; i < added; i++)
                list[count++] = (char *)(uintptr_t)exec->environment[i];
        list[count] = info;
        return list;
}

struct child {
        pid_t pid;
        int output, errors;
        size_t passed_on; /* of its errors */
        int handle;       /* pidfd */
};

static void child_end(struct child *child)
{
        if (child->pid > 0) {
                kill(-child->pid, SIGKILL);
                while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        close_descriptor(&child->output);
        close_descriptor(&child->errors);
        close_descriptor(&child->handle);
}

/* What is read does not block. */
static int open_pipe(int *ret_read, int *ret_write)
{
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -1;
        *ret_read = ends[0];
        *ret_write = ends[1];
        return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

/* posix_spawn knows no limits; this comes before the program is through its loader, and whoever looks at it at all looks at it later. */
static void limit_descriptors(pid_t pid)
{
        struct rlimit limit;

        if (!descriptors || prlimit(pid, RLIMIT_NOFILE, NULL, &limit) < 0 || limit.rlim_cur <= descriptors)
                return;
        limit.rlim_cur = descriptors;
        prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
}

static int spawn(const struct kube_config *config, struct child *child)
{
        const struct kube_exec_config *exec = config->exec;
        cleanup(free_string) char *info = exec_info(config);
        cleanup(close_descriptor) int output = -1;
        cleanup(close_descriptor) int errors = -1;
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        size_t count = 0;
        char **arguments, **environment;
        sigset_t none, all;
        int r;

        if (open_pipe(&child->output, &output) < 0 || open_pipe(&child->errors, &errors) < 0)
                return errno;
        while (exec->arguments[count])
                count++;
        arguments = memory_zero(count + 2, sizeof(char *));
        arguments[0] = (char *)(uintptr_t)exec->command;
        for (size_t i = 0; i < count; i++)
                arguments[i + 1] = (char *)(uintptr_t)exec->arguments[i];
        environment = environment_of(exec, info);

        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, output, 1);
        posix_spawn_file_actions_adddup2(&actions, errors, 2);
        posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        posix_spawnattr_init(&attributes);
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        r = posix_spawnp(&child->pid, exec->command, &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        free(arguments);
        free(environment);
        if (r != 0) {
                child->pid = 0;
                return r;
        }
        limit_descriptors(child->pid);
        child->handle = (int)syscall(SYS_pidfd_open, child->pid, 0);
        return 0;
}

/* All that is there now. The descriptor is closed at its end. */
static int take_output(struct child *child, struct buffer *output, struct error *err)
{
        while (child->output >= 0) {
                char *space = buffer_reserve(output, 4096);
                ssize_t n = read(child->output, space, 4096);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n < 0)
                        return error_set_errno(err, errno, "read its output");
                if (n == 0)
                        close_descriptor(&child->output);
                output->length += (size_t)n;
                if (output->length > OUTPUT_LIMIT)
                        return error_set(err, ERROR_TOO_LARGE, "its output is larger than %zu bytes", OUTPUT_LIMIT);
        }
        return 0;
}

/* Passed through, as it is, up to a limit: who never stops complaining does not fill our log. The rest is read and forgotten. */
static void pass_errors_on(struct child *child)
{
        char text[ERRORS_LIMIT];
        ssize_t n = child->errors < 0 ? 0 : read(child->errors, text, sizeof(text));
        size_t rest = ERRORS_LIMIT - child->passed_on, length = n > 0 && (size_t)n < rest ? (size_t)n : rest;

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                close_descriptor(&child->errors);
        if (n > 0 && length && write(STDERR_FILENO, text, length) > 0)
                child->passed_on += length;
}

/* Until it has ended. What it started and left behind may hold the pipes open: nobody waits for that. */
static int follow(struct context *ctx, struct child *child, struct buffer *output, int *ret_status, struct error *err)
{
        for (;;) {
                struct pollfd ready[] = { { .fd = child->output, .events = POLLIN },
                                          { .fd = child->errors, .events = POLLIN },
                                          { .fd = child->handle, .events = POLLIN } };
                pid_t ended = waitpid(child->pid, ret_status, WNOHANG);

                if (ended == child->pid)
                        child->pid = 0;
                pass_errors_on(child);
                TRY(take_output(child, output, err));
                if (!child->pid)
                        return 0;
                /* Without a pidfd, look again from time to time. */
                if (context_poll(ctx, ready, 3, child->handle < 0 ? 20 : -1, err) < 0)
                        return -1;
        }
}

static int run(struct context *ctx, const struct kube_config *config, struct buffer *output, struct error *err)
{
        const struct kube_exec_config *exec = config->exec;
        cleanup(child_end) struct child child = { .output = -1, .errors = -1, .handle = -1 };
        int r = spawn(config, &child), status = 0;

        if (r == ENOENT)
                return error_set(err, ERROR_INVALID, "exec: executable %s not found%s%s", exec->command,
                                 exec->install_hint ? "\n\n" : "", exec->install_hint ? exec->install_hint : "");
        if (r != 0)
                return error_set_errno(err, r, "exec: executable %s", exec->command);
        if (follow(ctx, &child, output, &status, err) < 0)
                return error_wrap(err, "exec: executable %s", exec->command);
        if (WIFSIGNALED(status))
                return error_set(err, ERROR_UNAVAILABLE, "exec: executable %s ended by signal %d", exec->command, WTERMSIG(status));
        if (WEXITSTATUS(status) != 0)
                return error_set(err, ERROR_UNAVAILABLE, "exec: executable %s failed with exit code %d", exec->command,
                                 WEXITSTATUS(status));
        return 0;
}

static int decode(const struct kube_exec_config *exec, struct view output, struct exec_credential *credential, struct error *err)
{
        cleanup(json_wipe) struct json *root = NULL;
        const struct json *status;
        const char *version, *expires, *token, *certificate, *key;

        if (json_parse(output, &root, err) < 0) /* the message has an offset, nothing of the text */
                return error_wrap(err, "decoding stdout");
        version = json_string(json_get(root, "apiVersion"), "");
        if (strcmp(version, exec->api_version) != 0)
                return error_set(err, ERROR_INVALID, "exec plugin is configured to use API version %s, plugin returned version %s",
                                 exec->api_version, version);
        status = json_get(root, "status");
        if (json_type(status) != JSON_OBJECT)
                return error_set(err, ERROR_INVALID, "exec plugin didn't return a status field");
        token = json_string(json_get(status, "token"), "");
        certificate = json_string(json_get(status, "clientCertificateData"), "");
        key = json_string(json_get(status, "clientKeyData"), "");
        if (!*token && !*certificate && !*key)
                return error_set(err, ERROR_INVALID, "exec plugin didn't return a token or cert/key pair");
        if (!*certificate != !*key)
                return error_set(err, ERROR_INVALID, "exec plugin returned only certificate or key, not both");
        credential->expires_us = CLOCK_NEVER;
        expires = json_string(json_get(status, "expirationTimestamp"), "");
        if (*expires && time_parse(view_of(expires), &credential->expires_us) < 0)
                return error_set(err, ERROR_INVALID, "exec plugin returned an expirationTimestamp that is no time");
        secret_set(&credential->token, view_of(token));
        secret_set(&credential->certificate, view_of(certificate));
        secret_set(&credential->key, view_of(key));
        return 0;
}

int exec_credential_get(struct context *ctx, const struct kube_config *config, struct exec_credential *ret_credential,
                        struct error *err)
{
        cleanup(exec_credential_release) struct exec_credential credential = EXEC_CREDENTIAL_NULL;
        cleanup(buffer_release) struct buffer output = BUFFER_SECRET;
        cleanup(context_close) struct context step;
        int r;

        if (strcmp(config->exec->interactive_mode, "Always") == 0)
                return error_set(
                        err, ERROR_INVALID,
                        "getting credentials: exec plugin cannot support interactive mode: standard input is not a terminal");
        context_open(&step, ctx, clock_now_ms() + DEADLINE_MS);
        r = run(&step, config, &output, err);
        if (r == 0)
                r = decode(config->exec, buffer_view(&output), &credential, err);
        if (r < 0)
                return error_wrap(err, "getting credentials");
        *ret_credential = credential;
        credential = EXEC_CREDENTIAL_NULL;
        return 0;
}
