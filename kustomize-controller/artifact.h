/*
 * artifact: what a source published, downloaded, verified and unpacked, once for all Kustomizations that build from it.
 *
 * The cache holds one read-only directory tree per digest. A tree that nobody uses is kept for some seconds, in case another Kustomization of the same source
 * comes along, and then removed.
 *
 * Safe from any thread. While one thread downloads an artifact, others that want the same one wait for it.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "kube/controller.h"
#include "net/io.h"

/*
 * Bytes of memory of a job that unpacks. It streams, and takes 2 MiB at most, for a record of 1 MiB; a run is not building yet when it unpacks, and a build has
 * no less than this where memory is limited.
 */
#define ARTIFACT_UNPACK_MEMORY (4ull << 20)

struct artifact_cache;
struct artifact;

struct artifact_options {
        unsigned retries;         /* of a download, on errors that may pass */
        const char *source_host;  /* SOURCE_CONTROLLER_LOCALHOST: replaces host and port of the address; NULL or "": as it is */
        const char *watcher_host; /* SOURCE_WATCHER_LOCALHOST: the same for addresses with //source-watcher */
};

/* Removes what an earlier process left below TMPDIR. The options' strings are borrowed. */
struct artifact_cache *artifact_cache_new(struct io *io, const struct artifact_options *options);
/* Removes all trees. Nobody may use one any more. For cleanup; NULL is fine. */
void artifact_cache_free(struct artifact_cache **cache);

/*
 * The tree of the artifact at `url`, whose bytes must have `digest`, and of which no more than `size` are taken (0: nobody said how many there
 * are). It is worked on under `work`; between two attempts `run` gives its place to another one, and when `ctx`, which a newer trigger
 * cancels, has ended, there is no further attempt: the artifact may be another one by then.
 *
 *   0                done; give it back with artifact_release
 *   ARTIFACT_ABSENT  the server has no such file (404): it was replaced, or is not there yet
 *  -1                `failed to download archive from <url> (status: <s>)`, `failed to verify archive: ...`, an archive that cannot be unpacked
 */
#define ARTIFACT_ABSENT 1
struct artifact_patience {
        struct context *ctx, *work;
        struct reconcile *run;
        /* It takes longer: somebody may want to know. `why` is what the last attempt came to. May be NULL. */
        void (*slow)(void *data, const struct error *why);
        void *data;
};
int artifact_acquire(const struct artifact_patience *patience, struct artifact_cache *cache, const char *url, const char *digest,
                     uint64_t size, struct artifact **ret_artifact, struct error *error);
void artifact_release(struct artifact **artifact); /* for cleanup; NULL is fine */

/* Borrowed: the descriptor of the tree's root, and its path ("/tmp/kustomization-123"). */
int artifact_root(const struct artifact *artifact);
const char *artifact_path(const struct artifact *artifact);
