/*
 * config_private: between the files of the config room. For no one else.
 */
#pragma once

#include "kube/config.h"

#define KUBE_FILE_LIMIT ((size_t)1 << 20)

/* The path of a file is NULL for a kubeconfig from memory; the tree of one that could not be read is. */
struct kube_config_file {
        char *path;
        struct json *tree;
};

struct kube_config_files {
        struct kube_config_file *items;
        size_t count;
};

struct kube_config *kube_config_new(void);
/* A file of at most KUBE_FILE_LIMIT; terminated, and a secret buffer: most of these files are. ERROR_NOT_FOUND if it is not there. */
int kube_file_read(const char *path, struct buffer *ret_content, struct error *err);

int kube_config_file_parse(struct view text, struct json **ret_tree, struct error *err);
/*
 * The current context of the merged files. `untrusted` not NULL: only what is allowed from a Secret. A config without a server if they say
 * nothing at all.
 */
int kube_config_resolve(const struct kube_config_files *files, const struct kube_config_secret_options *untrusted,
                        struct kube_config **ret_config, struct error *err);
