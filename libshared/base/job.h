/*
 * job: run one function in a sandboxed child and bring its bytes back.
 *
 * For work that reads what strangers wrote: a Git server's packs, a chart's templates, a repository's YAML. The child has no credentials, no
 * descriptors but those handed over, a deadline, a memory limit, and a view of the file system that ends at what it was given. What it does
 * wrong ends as an error of this call; nothing it does reaches the caller's memory.
 *
 * The fork server is started once, before any thread (job_server_start), and is single-threaded, so a child never inherits a held lock. Caller,
 * server and children are the same image: a job is a plain function pointer, and everything that is not in its input is as it was when
 * the server was started. A command that wants one job done and ends forks it itself (job_run_once).
 *
 * The sandbox: no new privileges, no capabilities, an emptied environment, Landlock (file system; TCP; signals, as far as the kernel knows
 * them), a seccomp filter (unknown calls are not there), a process group of its own that ends with it, no core dumps, first in line
 * for the OOM killer. It needs no privilege and works as uid 65534 with every capability dropped and a read-only root. What it does not hide:
 * whether a file exists, and its size (Landlock does not guard stat). What it takes away also from friends: modes, owners and times can be
 * changed by descriptor only (fchmod, futimens), memory is limited by address space, and nothing can be executed or forked unless granted.
 */
#pragma once

#include "base/context.h"
#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Outcomes of job_run. */
enum {
        JOB_KILLED = 1,
        JOB_TOO_LARGE = 2,
};

struct job_limits {
        int64_t deadline_ms;   /* wall clock, from the fork; 0: 60 s */
        int64_t cpu_ms;        /* of all its threads, rounded up to seconds; 0: the deadline bounds it */
        uint64_t memory_bytes; /* address space on top of what the fork server maps (RLIMIT_AS); 0: 256 MiB */
        uint64_t output_bytes; /* more than this is JOB_TOO_LARGE; 0: 16 MiB */
        uint64_t file_bytes;   /* the largest single file it may write; 0: 256 MiB */
};

enum job_access {
        JOB_HANDLE, /* what the descriptor itself can do, and nothing by name */
        JOB_READ,   /* a file, or a directory and everything below it: open, list, read */
        JOB_WRITE,  /* as JOB_READ, and create, write, rename, remove; no sockets, devices, pipes */
};

struct job_descriptor {
        int fd; /* stays the caller's */
        enum job_access access;
};

struct job_path {
        const char *path;
        enum job_access access; /* JOB_READ or JOB_WRITE; a path that does not exist is an error */
};

/* What a job gets besides its input; a zeroed one is nothing. */
struct job_grant {
        const struct job_descriptor *descriptors; /* arrive in the job in this order */
        unsigned descriptor_count;                /* at most JOB_DESCRIPTOR_LIMIT */
        const struct job_path *paths;
        unsigned path_count; /* at most JOB_PATH_LIMIT, of 4 KiB together */
        bool network; /* IP sockets (no listening), threads, and what resolving and TLS read: certificates, resolv.conf and the like */
        bool threads;
        bool processes; /* fork and execute; for trusted programs only: the memory limit then counts for each process alone */
};

#define JOB_DESCRIPTOR_LIMIT 16
#define JOB_PATH_LIMIT       64

/* The job's side. */
struct job {
        struct view input;      /* read-only, ends with the job */
        const int *descriptors; /* numbers in the child, in the order they were granted */
        unsigned descriptor_count;
        /* private to job_write */
        int output;
        uint64_t output_limit;
        uint64_t output_length;
};

/*
 * Runs in the child. Returns 0, or -1 with the error, which job_run then returns as its own. Memory need not be released. A positive
 * result is reported as ERROR_INTERNAL: outcomes go into the output.
 */
typedef int job_fn(struct job *job, struct error *err);

/*
 * Appends to the job's output. Large outputs should come in few calls: each is one system call.
 * -1: over the limit (ERROR_TOO_LARGE; job_run ends with JOB_TOO_LARGE whatever the job does then).
 */
int job_write(struct job *job, struct view bytes, struct error *err);

struct job_result {
        struct view output;    /* a read-only mapping */
        uint64_t peak_bytes;   /* largest resident set of the child (ru_maxrss: what it shares with the server included) */
        int64_t cpu_us;        /* user and system */
        int64_t wall_us;       /* from the fork to the end */
        uint64_t mapped_bytes; /* private */
};

#define JOB_RESULT_NULL ((struct job_result){ .mapped_bytes = 0 })

void job_result_release(struct job_result *result); /* for cleanup(job_result_release) */

/*
 * Forks the server. Call it first in main, before any thread, before a secret was read and before files are opened (it closes its
 * copies of all descriptors but the standard error). `prepare`, if not NULL, runs once in the server: initialisation that every child
 * would otherwise repeat (libraries, tables). -1: no process, no descriptors, or a kernel without seccomp.
 */
int job_server_start(void (*prepare)(void), struct error *err);
/* False once the server has died (or was never started): no job can run, and /healthz should fail so that the container restarts. */
bool job_server_alive(void);
/* Ends the server and all its children, and waits for it. For the end of main and for tests. */
void job_server_stop(void);

/*
 * Bytes of memory that jobs may take together. Where this process and its jobs are under a limit (a container's), it is that limit less what the process itself
 * needs: past the limit the kernel may end not the job alone but all that is in the container, as kubelets ask it to (memory.oom.group). Who starts jobs
 * divides it among those that may run at a time. UINT64_MAX: there is no limit.
 */
uint64_t job_memory_budget(void);

/*
 * What the sandbox consists of on this kernel, in one line for the log: "Landlock ABI 4 (files, TCP), seccomp". False if a part is missing
 * ("no Landlock in this kernel; ..."): the jobs run, confined by what is left; log the line once, as an error.
 */
bool job_sandbox_describe(struct buffer *text);

/*
 * Runs fn in a child and waits until the child is gone.
 *
 *   limits  NULL: the defaults
 *   grant   NULL: input and output only
 *
 *   0              done; *ret_result is filled, the output mapping is owned by the caller
 *   JOB_KILLED     deadline, memory, CPU or a signal; err says which and after how long: "killed after 30s: deadline". The kind is
 *                  ERROR_TIMEOUT (deadline, CPU), ERROR_TOO_LARGE (memory, file size) or ERROR_INTERNAL (a crash)
 *   JOB_TOO_LARGE  the output limit; err says so (ERROR_TOO_LARGE)
 *   -1             what fn returned; ERROR_TIMEOUT or ERROR_CANCELLED from ctx (the child is dead by then); ERROR_NOT_FOUND for a granted
 *                  path; ERROR_INTERNAL if the server is gone or the system is out of resources: nothing was run then
 *
 * Blocks; a cancellation of ctx kills the child within 10 ms. Safe from any thread, any number at a time.
 */
int job_run(struct context *ctx, job_fn *fn, struct view input, const struct job_limits *limits, const struct job_grant *grant,
            struct job_result *ret_result, struct error *err);

/*
 * job_run for a command: a process of one thread that wants one job done and ends. Without a server, which costs more than a small job: the child
 * is a fork of the caller, behind the same walls. The outcomes are those of job_run; a signal that ends the caller ends the job.
 */
int job_run_once(job_fn *fn, struct view input, const struct job_limits *limits, const struct job_grant *grant,
                 struct job_result *ret_result, struct error *err);
