/*
 * job_private: what caller, fork server and child of the job room tell each other. For no one else.
 *
 *   caller -> server   one packet: struct job_request, descriptors: control, output, [input], granted ones
 *   child  -> caller   the output file: struct job_header, the message, then from JOB_OUTPUT_OFFSET on the output. Not to be trusted.
 *   server -> caller   struct job_report on control, once the child and its process group are gone
 *   caller -> server   the end of control: kill the child
 *
 * job_once.c is caller and server in one.
 */
#pragma once

#include "base/job.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define JOB_PATH_BYTES    4096
#define JOB_MESSAGE_LIMIT 32768
#define JOB_OUTPUT_OFFSET 65536 /* a multiple of every page size that Linux has on x86-64 and arm64 */
#define JOB_HEADER_MAGIC  0x6a6f6221u
/* What one packet carries besides the granted descriptors. */
#define JOB_OWN_DESCRIPTORS 3

struct job_request {
        job_fn *fn;
        uint64_t input_length;    /* 0: there is no input descriptor */
        struct job_limits limits; /* defaults filled in */
        bool network;
        bool threads;
        bool processes;
        uint8_t descriptor_count;
        uint8_t path_count;
        uint8_t access[JOB_DESCRIPTOR_LIMIT];
        uint16_t path_bytes;
        char paths[JOB_PATH_BYTES]; /* path_count times: the access as one byte, the path, NUL; only path_bytes of it are sent */
};

struct job_header {
        uint32_t magic;
        uint32_t kind; /* enum error_kind; ERROR_NONE: done */
        uint32_t too_large;
        int32_t http_status;
        int64_t retry_after_ms;
        uint64_t output_length;
        uint32_t message_length;
        char reason[64];
};

enum job_end {
        JOB_END_EXIT,     /* by itself: status is that of wait */
        JOB_END_DEADLINE, /* killed by the server */
        JOB_END_CANCELLED,
        JOB_END_NOT_RUN, /* number is the errno of what failed */
};

struct job_report {
        enum job_end end;
        int status;
        int number;
        int64_t wall_us;
        int64_t cpu_us;
        uint64_t peak_bytes;
};

/* job_server.c: the server's loop on its end of the socket; does not return. */
void job_server_loop(int socket, void (*prepare)(void)) __attribute__((__noreturn__));
/* The server gives up what no job may have: privileges, the environment, standard input and output (for `null`), signals of others. */
void job_privileges_drop(int null);
/* What wait4 said, into a report. */
void job_report_usage(struct job_report *report, const struct rusage *usage);
/* Of this process: address space. */
uint64_t job_mapped_bytes(void);

/* job_child.c: everything after the fork; does not return. `descriptors` are those of the packet without control. */
struct job_child {
        const struct job_request *request;
        const int *descriptors;
        unsigned descriptor_count;
        pid_t server;
        int null;              /* /dev/null */
        uint64_t mapped_bytes; /* address space of the server */
};
void job_child_run(const struct job_child *child) __attribute__((__noreturn__));
/* Closes the descriptors of a range, ends included. */
void job_descriptors_close(unsigned first, unsigned last);

/* job_once.c: forks the child, waits for its end and tells it. Descriptors as in job_child. -1: there was no child. */
int job_once(const struct job_request *request, const int *descriptors, unsigned count, struct job_report *ret_report,
             struct error *err);

/* job_sandbox.c: Landlock. */
struct job_rule {
        int fd; /* O_PATH will do */
        enum job_access access;
};
/* 0: not in this kernel (or switched off, or kept from us by an outer filter); errno says which. */
int job_landlock_version(void);
/* Confines this process to the rules. 0 as well when there is no Landlock. */
int job_landlock_restrict(const struct job_rule *rules, unsigned count, bool network, bool processes, struct error *err);

/* job_filter.c: seccomp. */
struct job_filter {
        bool files; /* may open by name */
        bool network;
        bool threads;
        bool processes;
};
bool job_filter_supported(void);
/* What holds for every job, for the server and all that it forks. no_new_privs must be set, as for the next. */
int job_filter_install_server(struct error *err);
/* The rest, for this child. */
int job_filter_install(const struct job_filter *filter, struct error *err);

/* ---- job_budget.c ---- */

/* The least memory limit of the groups of a /proc/<pid>/cgroup, of which `root` is the mount point; UINT64_MAX: none. */
uint64_t job_group_limit(struct view groups, const char *root);
/* What jobs may take of a limit. */
uint64_t job_budget_of(uint64_t limit);
