/* The caller's side: it makes the files, sends the request, waits, and judges what came back. */
#include "base/job.h"

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/job_private.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define MIB (1024u * 1024u)

#define DEADLINE_MS  60000
#define MEMORY_BYTES (256ull * MIB)
#define OUTPUT_BYTES (16ull * MIB)
#define FILE_BYTES   (256ull * MIB)
/* A child that does not die of SIGKILL within this time waits for a disk; the caller need not. */
#define KILL_WAIT_MS 2000
/* Of a server that dies one socket tells a moment before the other. */
#define GONE_WAIT_MS 200

/* Written before the first thread exists and by job_server_stop after the last. */
static struct {
        pid_t pid; /* 0: none */
        int socket;
        atomic_bool gone; /* seen by a caller; the socket tells a moment later */
} server;

int job_server_start(void (*prepare)(void), struct error *err)
{
        cleanup(close_descriptor) int null = open("/dev/null", O_RDWR | O_CLOEXEC); /* the child could not say why it has none */
        int ends[2];
        pid_t pid;

        if (server.pid)
                return error_set(err, ERROR_INTERNAL, "the job server runs already");
        if (null < 0)
                return error_set_errno(err, errno, "start the job server: open '/dev/null'");
        if (!job_filter_supported())
                return error_set(err, ERROR_UNSUPPORTED, "start the job server: this kernel has no seccomp filters");
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return error_set_errno(err, errno, "start the job server: socketpair");
        pid = fork();
        if (pid < 0) {
                int number = errno;

                close(ends[0]);
                close(ends[1]);
                return error_set_errno(err, number, "start the job server: fork");
        }
        if (pid == 0)
                job_server_loop(ends[1], prepare);
        close(ends[1]);
        server.socket = ends[0];
        atomic_store(&server.gone, false);
        server.pid = pid;
        return 0;
}

bool job_server_alive(void)
{
        struct pollfd socket = { .fd = server.socket };

        if (!server.pid || atomic_load(&server.gone))
                return false;
        return poll(&socket, 1, 0) >= 0 && !(socket.revents & (POLLHUP | POLLERR));
}

void job_server_stop(void)
{
        if (!server.pid)
                return;
        close(server.socket);
        while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
                ;
        server.pid = 0;
}

void job_result_release(struct job_result *result)
{
        if (result->mapped_bytes)
                munmap((void *)(uintptr_t)result->output.data, result->mapped_bytes);
        *result = JOB_RESULT_NULL;
}

/* Files of memory; the bytes are given back when the last descriptor and mapping are gone. */
static int memory_file(const char *name, struct error *err)
{
        int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

        if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
                fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        return fd < 0 ? error_set_errno(err, errno, "run a job: memory file") : fd;
}

static int input_file(struct view input, int *ret_fd, struct error *err)
{
        cleanup(close_descriptor) int fd = -1;
        size_t done = 0;

        if (!input.length)
                return 0;
        fd = memory_file("job-input", err);
        if (fd < 0)
                return -1;
        while (done < input.length) {
                ssize_t n = write(fd, input.data + done, input.length - done);

                if (n < 0 && errno != EINTR)
                        return error_set_errno(err, errno, "run a job: write its input");
                done += n > 0 ? (size_t)n : 0;
        }
        *ret_fd = steal_descriptor(&fd);
        return 0;
}

/* The size is final from the start, so that the child cannot make it grow; pages exist once they are written. */
static int output_file(uint64_t limit, int *ret_fd, struct error *err)
{
        cleanup(close_descriptor) int fd = memory_file("job-output", err);

        if (fd < 0)
                return -1;
        if (ftruncate(fd, (off_t)(JOB_OUTPUT_OFFSET + limit)) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0)
                return error_set_errno(err, errno, "run a job: output of %" PRIu64 " bytes", limit);
        *ret_fd = steal_descriptor(&fd);
        return 0;
}

static struct job_limits limits_of(const struct job_limits *limits)
{
        struct job_limits all = limits ? *limits : (struct job_limits){ .deadline_ms = 0 };

        if (all.deadline_ms <= 0)
                all.deadline_ms = DEADLINE_MS;
        if (!all.memory_bytes)
                all.memory_bytes = MEMORY_BYTES;
        if (!all.output_bytes)
                all.output_bytes = OUTPUT_BYTES;
        if (!all.file_bytes)
                all.file_bytes = FILE_BYTES;
        return all;
}

static int request_fill(struct job_request *request, job_fn *fn, struct view input, const struct job_limits *limits,
                        const struct job_grant *grant, struct error *err)
{
        *request = (struct job_request){ .fn = fn, .input_length = input.length, .limits = limits_of(limits) };
        if (request->limits.output_bytes > INT64_MAX / 4)
                return error_set(err, ERROR_INVALID, "run a job: an output of %" PRIu64 " bytes", request->limits.output_bytes);
        if (!grant)
                return 0;
        if (grant->descriptor_count > JOB_DESCRIPTOR_LIMIT || grant->path_count > JOB_PATH_LIMIT)
                return error_set(err, ERROR_INVALID, "run a job: %u descriptors and %u paths are more than it can have",
                                 grant->descriptor_count, grant->path_count);
        request->network = grant->network;
        request->threads = grant->threads || grant->network;
        request->processes = grant->processes;
        request->descriptor_count = (uint8_t)grant->descriptor_count;
        for (unsigned i = 0; i < grant->descriptor_count; i++)
                request->access[i] = (uint8_t)grant->descriptors[i].access;
        request->path_count = (uint8_t)grant->path_count;
        for (unsigned i = 0; i < grant->path_count; i++) {
                size_t length = strlen(grant->paths[i].path) + 1;

                if (length + 1 > JOB_PATH_BYTES - (size_t)request->path_bytes)
                        return error_set(err, ERROR_INVALID, "run a job: the granted paths are too long");
                request->paths[request->path_bytes] = (char)grant->paths[i].access;
                memcpy(request->paths + request->path_bytes + 1, grant->paths[i].path, length);
                request->path_bytes = (uint16_t)(request->path_bytes + length + 1);
        }
        return 0;
}

static int server_gone(struct error *err)
{
        atomic_store(&server.gone, true);
        return error_set(err, ERROR_INTERNAL, "the job server is gone: the process must be restarted");
}

/* The server let go of the request. Without a free descriptor, of its own or of the system, it has none to answer on either. */
static int no_report(struct error *err)
{
        struct pollfd socket = { .fd = server.socket };

        while (poll(&socket, 1, GONE_WAIT_MS) < 0 && errno == EINTR)
                ;
        if (socket.revents & (POLLHUP | POLLERR))
                return server_gone(err);
        return error_set_errno(err, EMFILE, "start a job");
}

static int request_send(const struct job_request *request, const int *descriptors, unsigned count, struct error *err)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * (JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT))];
        } control = { 0 };
        struct iovec data = { (void *)(uintptr_t)request, offsetof(struct job_request, paths) + request->path_bytes };
        struct msghdr message = {
                .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(sizeof(int) * count)
        };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
        while (sendmsg(server.socket, &message, MSG_NOSIGNAL) < 0) {
                if (errno == EPIPE || errno == ECONNRESET)
                        return server_gone(err);
                if (errno != EINTR)
                        return error_set_errno(err, errno, "hand a job to the server");
        }
        return 0;
}

/* Waits for the report; a cancellation kills the child first, so that it is gone when the caller goes on. */
static int report_wait(struct context *ctx, int control, struct job_report *ret_report, struct error *err)
{
        struct pollfd descriptor = { .fd = control, .events = POLLIN };
        struct job_report report;
        bool cancelled = false;
        ssize_t n;

        while (!cancelled && (descriptor.revents & (POLLIN | POLLHUP)) == 0)
                cancelled = context_poll(ctx, &descriptor, 1, -1, err) < 0;
        if (cancelled) {
                shutdown(control, SHUT_WR);
                while (poll(&descriptor, 1, KILL_WAIT_MS) < 0 && errno == EINTR)
                        ;
                return -1;
        }
        do
                n = recv(control, &report, sizeof(report), MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t)sizeof(report))
                return no_report(err);
        *ret_report = report;
        return 0;
}

/* "256 MiB", "1000 bytes" */
static const char *size_print(uint64_t bytes, char text[32])
{
        if (bytes % MIB == 0)
                snprintf(text, 32, "%" PRIu64 " MiB", bytes / MIB);
        else
                snprintf(text, 32, "%" PRIu64 " bytes", bytes);
        return text;
}

/* A child that did not come to its end: says of what it died. */
static int killed(const struct job_report *report, const struct job_limits *limits, struct error *err)
{
        char after[DURATION_TEXT], size[32];
        int signal = WIFSIGNALED(report->status) ? WTERMSIG(report->status) : 0;

        duration_print(report->wall_us / 1000 * DURATION_MILLISECOND, after);
        if (report->end == JOB_END_DEADLINE) {
                duration_print(limits->deadline_ms * DURATION_MILLISECOND, after);
                error_set(err, ERROR_TIMEOUT, "killed after %s: deadline", after);
        } else if (WIFEXITED(report->status) && WEXITSTATUS(report->status) == 70) { /* memory_exhausted */
                error_set(err, ERROR_TOO_LARGE, "killed after %s: memory limit of %s", after,
                          size_print(limits->memory_bytes, size));
        } else if (signal == SIGXCPU) {
                error_set(err, ERROR_TIMEOUT, "killed after %s: CPU limit of %" PRId64 "s", after, (limits->cpu_ms + 999) / 1000);
        } else if (signal == SIGXFSZ) {
                error_set(err, ERROR_TOO_LARGE, "killed after %s: wrote a file of more than %s", after,
                          size_print(limits->file_bytes, size));
        } else if (signal == SIGKILL) {
                error_set(err, ERROR_INTERNAL, "killed after %s: signal 9 from outside (is the container out of memory?)", after);
        } else if (signal) {
                error_set(err, ERROR_INTERNAL, "killed after %s: signal %d (%s)", after, signal, strsignal(signal));
        } else {
                error_set(err, ERROR_INTERNAL, "killed after %s: exited with status %d", after, WEXITSTATUS(report->status));
        }
        return JOB_KILLED;
}

static int read_all(int fd, void *data, size_t length, off_t offset)
{
        size_t done = 0;

        while (done < length) {
                ssize_t n = pread(fd, (char *)data + done, length - done, offset + (off_t)done);

                if (n == 0 || (n < 0 && errno != EINTR))
                        return -1;
                done += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

/* The error that the job wrote; every field of it is checked, the child may have written anything. */
static int job_error(int output, const struct job_header *header, struct error *err)
{
        cleanup(free_string) char *message = NULL;
        size_t length = header->message_length < JOB_MESSAGE_LIMIT ? header->message_length : JOB_MESSAGE_LIMIT;
        enum error_kind kind = header->kind <= ERROR_UNSUPPORTED ? (enum error_kind)header->kind : ERROR_INTERNAL;

        message = memory_zero(length + 1, 1);
        if (read_all(output, message, length, sizeof(*header)) < 0)
                return error_set(err, ERROR_INTERNAL, "read a job's error: its file is too short");
        error_set(err, kind, "%s", message);
        memcpy(err->reason, header->reason, sizeof(err->reason));
        err->reason[sizeof(err->reason) - 1] = '\0';
        err->http_status = header->http_status;
        err->retry_after_ms = header->retry_after_ms > 0 ? header->retry_after_ms : 0;
        return -1;
}

static int output_map(int output, uint64_t length, struct job_result *result, struct error *err)
{
        void *data;

        if (!length)
                return 0;
        if (ftruncate(output, (off_t)(JOB_OUTPUT_OFFSET + length)) < 0 ||
            fcntl(output, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return error_set_errno(err, errno, "seal a job's output");
        data = mmap(NULL, length, PROT_READ, MAP_PRIVATE, output, JOB_OUTPUT_OFFSET);
        if (data == MAP_FAILED)
                return error_set_errno(err, errno, "map a job's output");
        result->output = (struct view){ data, length };
        result->mapped_bytes = length;
        return 0;
}

static int judge(const struct job_report *report, const struct job_request *request, int output, struct job_result *ret_result,
                 struct error *err)
{
        struct job_header header;
        struct job_result result = JOB_RESULT_NULL;
        char size[32];

        if (report->end == JOB_END_NOT_RUN)
                return error_set_errno(err, report->number, "start a job");
        if (report->end != JOB_END_EXIT || !WIFEXITED(report->status) || WEXITSTATUS(report->status) != 0)
                return killed(report, &request->limits, err);
        if (read_all(output, &header, sizeof(header), 0) < 0 || header.magic != JOB_HEADER_MAGIC) {
                error_set(err, ERROR_INTERNAL, "killed: the job ended without a result");
                return JOB_KILLED;
        }
        if (header.too_large || header.output_length > request->limits.output_bytes) {
                error_set(err, ERROR_TOO_LARGE, "the output is larger than %s", size_print(request->limits.output_bytes, size));
                return JOB_TOO_LARGE;
        }
        if (header.kind != ERROR_NONE)
                return job_error(output, &header, err);
        if (output_map(output, header.output_length, &result, err) < 0)
                return -1;
        result.peak_bytes = report->peak_bytes;
        result.cpu_us = report->cpu_us;
        result.wall_us = report->wall_us;
        *ret_result = result;
        return 0;
}

int job_run(struct context *ctx, job_fn *fn, struct view input, const struct job_limits *limits, const struct job_grant *grant,
            struct job_result *ret_result, struct error *err)
{
        struct job_request request;
        struct job_report report = { .end = JOB_END_NOT_RUN };
        cleanup(close_descriptor) int control = -1, peer = -1, input_fd = -1, output_fd = -1;
        int descriptors[JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT], ends[2];
        unsigned count = 0;

        if (!server.pid)
                return error_set(err, ERROR_INTERNAL, "the job server was not started");
        TRY(context_check(ctx, err));
        TRY(request_fill(&request, fn, input, limits, grant, err));
        TRY(input_file(input, &input_fd, err));
        TRY(output_file(request.limits.output_bytes, &output_fd, err));
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return error_set_errno(err, errno, "run a job: socketpair");
        control = ends[0];
        peer = ends[1];
        descriptors[count++] = peer;
        descriptors[count++] = output_fd;
        if (input_fd >= 0)
                descriptors[count++] = input_fd;
        for (unsigned i = 0; i < request.descriptor_count; i++)
                descriptors[count++] = grant->descriptors[i].fd;
        TRY(request_send(&request, descriptors, count, err));
        close_descriptor(&peer);
        close_descriptor(&input_fd);
        TRY(report_wait(ctx, control, &report, err));
        return judge(&report, &request, output_fd, ret_result, err);
}

int job_run_once(job_fn *fn, struct view input, const struct job_limits *limits, const struct job_grant *grant,
                 struct job_result *ret_result, struct error *err)
{
        struct job_request request;
        struct job_report report;
        cleanup(close_descriptor) int input_fd = -1, output_fd = -1;
        int descriptors[JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT];
        unsigned count = 0;

        TRY(request_fill(&request, fn, input, limits, grant, err));
        TRY(input_file(input, &input_fd, err));
        TRY(output_file(request.limits.output_bytes, &output_fd, err));
        descriptors[count++] = output_fd;
        if (input_fd >= 0)
                descriptors[count++] = input_fd;
        for (unsigned i = 0; i < request.descriptor_count; i++)
                descriptors[count++] = grant->descriptors[i].fd;
        TRY(job_once(&request, descriptors, count, &report, err));
        return judge(&report, &request, output_fd, ret_result, err);
}

/* Why there is no Landlock, and who could change that. */
static const char *landlock_lack(int code)
{
        switch (code) {
        case EPERM:
                return "for this process: a seccomp profile forbids it, as those of old container runtimes do";
        case EOPNOTSUPP:
                return "in this kernel: it was started without (lsm=)";
        default:
                return "in this kernel";
        }
}

bool job_sandbox_describe(struct buffer *text)
{
        int version = job_landlock_version();

        if (version == 0) {
                buffer_printf(text,
                              "no Landlock %s; jobs are confined by seccomp and resource limits, and can read what this user can",
                              landlock_lack(errno));
                return false;
        }
        buffer_printf(text, "Landlock ABI %d (files%s%s), seccomp", version, version >= 4 ? ", TCP" : "",
                      version >= 6 ? ", signals" : "");
        return true;
}
