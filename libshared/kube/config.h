/*
 * config: where the API server is and who we are: kubeconfig files, the service account of a pod, kubeconfigs from Secrets.
 *
 * A config is plain data, read once, and does not change after that; files it names are read again by the client that takes it over (kube/client.h): token,
 * client certificate, CA.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct json;

/* A program that prints credentials (client.authentication.k8s.io). */
struct kube_exec_config {
        const char *api_version;      /* client.authentication.k8s.io/v1 or v1beta1 */
        const char *command;          /* with a '/' it is a path, else looked up in PATH */
        const char **arguments;       /* NULL-terminated, without the command */
        const char **environment;     /* NULL-terminated NAME=value, on top of our own */
        const char *interactive_mode; /* Never, IfAvailable, Always */
        const char *install_hint;
        bool provide_cluster;
        const char *cluster_config; /* JSON of the cluster's extension, for spec.cluster.config; may be NULL */
};

struct kube_config_pair {
        const char *key;
        const char *value;
};

/* Strings are NULL where nothing was given. */
struct kube_config {
        struct arena *arena;     /* owns everything but the secrets */
        const char *server;      /* "https://10.0.0.1:6443/prefix": scheme, host, port, path without a '/' at the end */
        const char *namespace;   /* "default" if nothing says otherwise */
        const char *server_name; /* tls-server-name */
        const char *proxy;       /* proxy-url; NULL: by the environment */
        bool insecure;
        bool disable_compression;
        const char *ca_file;
        struct view ca; /* PEM; also what ca_file held when it was loaded */
        const char *certificate_file, *key_file;
        struct view certificate;
        struct secret key;
        const char *token_file;
        struct secret token; /* also what token_file held when it was loaded */
        const char *username;
        struct secret password;
        const char *as_user, *as_uid;
        const char **as_groups; /* NULL-terminated, or NULL */
        const struct kube_config_pair *as_extra;
        size_t as_extra_count;
        struct kube_exec_config *exec; /* NULL: none */
        int64_t request_timeout_ms;    /* 0: the default; sent as ?timeout= otherwise */
        const char *notes;             /* what a program logs of the loading, one a line; may be NULL */
        /* Left out of a kubeconfig from a Secret, "exec, tokenFile": for the error when access fails; may be NULL. */
        const char *dropped;
};

void kube_config_free(struct kube_config **config); /* for cleanup; NULL is fine */

/*
 * By the environment: KUBECONFIG (a list), else the service account of the pod, else ~/.kube/config.
 *
 * -1: "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable", or what is wrong with the files.
 */
int kube_config_load(struct kube_config **ret_config, struct error *err);
/* Files in the order of precedence, separated by ':'; missing ones are skipped. */
int kube_config_load_files(const char *paths, struct kube_config **ret_config, struct error *err);
/* The service account of the pod. ERROR_NOT_FOUND if this is no pod. `root` is NULL, or stands for /var/run/secrets/kubernetes.io/serviceaccount in tests. */
int kube_config_load_in_cluster(const char *root, struct kube_config **ret_config, struct error *err);
/* The namespace of the pod, from its service account; "" outside of one. A new string. */
char *kube_config_pod_namespace(void);

struct kube_config_secret_options {
        bool allow_exec;     /* --insecure-kubeconfig-exec */
        bool allow_insecure; /* --insecure-kubeconfig-tls */
};

/* A kubeconfig somebody else wrote: file references, kubeconfig impersonation and, unless allowed, exec and insecure-skip-tls-verify are left out. */
int kube_config_parse_untrusted(struct view text, const struct kube_config_secret_options *options, struct kube_config **ret_config,
                                struct error *err);
/*
 * The kubeconfig in a Secret (its tree): under `key`, else "value", else "value.yaml" when key is NULL or "". The messages are those of Flux:
 * "KubeConfig secret '<ns>/<n>' does not contain a '<k>' key with a kubeconfig".
 */
int kube_config_from_secret(const struct json *secret, const char *key, const struct kube_config_secret_options *options,
                            struct kube_config **ret_config, struct error *err);
