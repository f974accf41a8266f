/*
 * git: fetch one commit of a Git repository and make an artifact of its tree.
 *
 * libgit2 keeps the objects; the bytes come over transports of our own: smart HTTP on libcurl (deadline, proxies, private CAs, client
 * certificates, a redirect policy) and SSH on libssh (known_hosts, algorithm preferences). All of it runs in a job: a server that hangs, a pack
 * that explodes, a tree that lies ends as an error of that one fetch, and its memory goes back to the kernel with the child.
 *
 * A fetch asks the server what it has (ls-remote), chooses the commit, and ends there if that is the revision the caller has already. Otherwise
 * it fetches the one commit without history and writes its tree, filtered by the ignore rules, as a tar.gz, straight from the
 * object database. Names that could leave a directory (`..`, `.git`) end the fetch; symbolic links are left out.
 */
#pragma once

#include "base/arena.h"
#include "base/context.h"
#include "base/error.h"
#include "base/str.h"
#include "data/digest.h"

#include <stdbool.h>
#include <stdint.h>

/* All text is borrowed; an empty view is "not set". What a Secret holds is wiped from the request's encoded copy after the run. */
struct git_request {
        struct view url; /* http, https or ssh; user information in it fills what the credentials lack */

        /* Which commit: the first that is set, in the order commit, name, tag, semver, branch (with commit: where it is); none: branch master. */
        struct view commit;
        struct view name; /* a full reference name, "refs/pull/7/merge" */
        struct view tag;
        struct view semver; /* a range over the tags */
        struct view branch;

        struct view username;
        struct view password;
        struct view bearer_token;
        struct view authorities; /* PEM; added to the system's */
        struct view certificate; /* PEM, for TLS with a client certificate */
        struct view key;
        struct view identity;   /* private key for ssh, PEM or OpenSSH */
        struct view passphrase; /* of the identity */
        struct view known_hosts;
        struct view key_exchanges;   /* comma list by preference; empty: the library's */
        struct view host_algorithms; /* comma list by preference; empty: those of known_hosts */

        struct view proxy; /* http, https or socks5 URL without user information */
        struct view proxy_username;
        struct view proxy_password;

        struct view known_revision; /* what the caller has: the same one ends with GIT_UNCHANGED... */
        bool always;                /* ...unless this asks for the artifact all the same */

        struct view ignore; /* patterns on top of the tree's .sourceignore files; data NULL: none */
        enum digest_algorithm algorithm;
        int64_t timeout_ms;
        unsigned jobs; /* how many fetches may run at the same time; 0: only this one */
};

struct git_result {
        const char *revision;     /* "main@sha1:<hex>", "refs/pull/7/merge@sha1:<hex>", "sha1:<hex>" */
        const char *commit;       /* hex */
        const char *subject;      /* first line of the commit's message */
        char digest[DIGEST_TEXT]; /* of the artifact */
        uint64_t size;            /* of the artifact */
        uint64_t links_dropped;
};

/* Outcomes of git_fetch. */
enum {
        GIT_UNCHANGED = 1, /* only revision and commit are filled; nothing was written */
        GIT_EMPTY = 2,     /* the repository has no commit (asked for by branch) */
};

/* Reason of an error that is about `output`, not about the repository. */
#define GIT_OUTPUT_FAILED "OutputFailed"

/*
 * Blocks; runs in a job, which needs the job server. `directory` is an empty directory for the objects, which the caller removes afterwards;
 * `output` is where the artifact goes, from its offset on; strings of the result live in `arena`.
 *
 *   0              done
 *   GIT_UNCHANGED, GIT_EMPTY
 *   -1             the server, the reference, the limits, the context; the message is what a GitRepository's condition shows after
 *                  "failed to checkout and determine revision: ". ERROR_TIMEOUT: "... context deadline exceeded".
 */
int git_fetch(struct context *ctx, const struct git_request *request, const char *directory, int output, struct arena *arena,
              struct git_result *ret_result, struct error *err);

/* For job_server_start: what every job would otherwise initialise itself. */
void git_prepare(void);

/* Is what a status holds this revision? "main/<hex>", as Flux once wrote it, is "main@sha1:<hex>". */
bool git_revision_is(struct view recorded, const char *revision);
/* True if the URL's user information holds a user name. -1: it is no http, https or ssh URL; the message is the parser's reason alone. */
int git_url_check(struct view url, bool *ret_has_user, bool *ret_ssh, struct error *err);
