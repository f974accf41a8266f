/*
 * exec: credentials that a program prints (client.authentication.k8s.io).
 *
 * The program is started without a shell, with our environment and what the kubeconfig adds, no descriptors of ours, and as many of its own as we
 * were given. It has 30 seconds and 1 MiB of output; of what it says on its standard error the first 16 KiB are passed on to ours.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/secret.h"
#include "kube/config.h"

#include <stdint.h>

struct exec_credential {
        struct secret token;       /* none: length 0 */
        struct secret certificate; /* PEM; both or neither */
        struct secret key;
        int64_t expires_us; /* wall clock; CLOCK_NEVER: never */
};

#define EXEC_CREDENTIAL_NULL ((struct exec_credential){ SECRET_NULL, SECRET_NULL, SECRET_NULL, 0 })

void exec_credential_release(struct exec_credential *credential); /* for cleanup */

/* So many descriptors (RLIMIT_NOFILE, soft) we may have open before we raise that for ourselves: the programs' limit. Before the first of them. */
void exec_set_descriptors(uint64_t count);

/* Runs the program of config->exec and waits for it. -1: "getting credentials: exec: ...". */
int exec_credential_get(struct context *ctx, const struct kube_config *config, struct exec_credential *ret_credential,
                        struct error *err);
