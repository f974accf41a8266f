/*
 * walk: what is below a directory, depth first, in byte order, without following links and without recursion.
 *
 * A directory comes before what is in it. What vanishes while it is walked is passed over. Directories may be nested WALK_DEPTH deep: each
 * open level costs one descriptor.
 */
#pragma once

#include "base/error.h"

#include <sys/stat.h>

#define WALK_DEPTH 200

struct walk;

struct walk_entry {
        const char *path;   /* relative to the start: "a/b"; until the next call */
        const char *name;   /* its last component */
        int parent;         /* descriptor of the directory it is in; until the next call */
        struct stat status; /* of the entry itself, should it be a link */
};

/* `directory` stays the caller's; its offset is not used. */
int walk_begin(int directory, struct walk **ret_walk, struct error *err);

enum {
        WALK_END = 1,
};
/* 0 with the next entry, WALK_END, or -1: I/O, or ERROR_TOO_LARGE: "'a/b...': directories are nested more than 200 deep". */
int walk_next(struct walk *walk, struct walk_entry *ret_entry, struct error *err);
/* What is below the directory that came last is left out. */
void walk_skip(struct walk *walk);
void walk_free(struct walk **walk); /* for cleanup(walk_free) */
