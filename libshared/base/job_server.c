/* The fork server: takes requests, forks children, ends them at their deadline or when their caller is gone, reports how they ended. */
#include "base/job_private.h"

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REST_MS 5000

struct running {
        pid_t pid;
        int control;
        int64_t started_ns;
        int64_t deadline_ms;
        enum job_end end;
};

struct job_server {
        int socket;
        int signals;
        int null;
        pid_t pid;
        uint64_t mapped_bytes;
        struct running *jobs;
        struct pollfd *polls; /* socket, signals, then one for each job */
        unsigned count;
        unsigned capacity;
        bool resting; /* no job came for a while */
};

/* Names that libraries read in a child and that hold no secret. */
static const char *const kept_variables[] = { "PATH", "TMPDIR", "TZ", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR" };

/* The environment is emptied where it lies, so that its bytes are not in the children either. */
static void environment_scrub(void)
{
        char *kept[sizeof(kept_variables) / sizeof(kept_variables[0])] = { NULL };

        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
                const char *value = getenv(kept_variables[i]);

                if (value)
                        kept[i] = memory_string(value);
        }
        for (char **entry = environ; entry && *entry; entry++)
                explicit_bzero(*entry, strlen(*entry));
        clearenv();
        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
                if (kept[i])
                        setenv(kept_variables[i], kept[i], 1);
                free(kept[i]);
        }
}

static void capabilities_drop(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[2] = { 0 };

        for (int i = 0; i <= CAP_LAST_CAP; i++)
                prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        syscall(SYS_capset, &header, none);
}

uint64_t job_mapped_bytes(void)
{
        unsigned long pages = 0;
        FILE *file = fopen("/proc/self/statm", "re");

        if (file) {
                if (fscanf(file, "%lu", &pages) != 1)
                        pages = 0;
                fclose(file);
        }
        return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void job_privileges_drop(int null)
{
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        capabilities_drop();
        environment_scrub();
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        /* What a terminal or a supervisor sends is for the caller; the others end when the caller does. */
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
}

static void server_open(struct job_server *server, int socket, void (*prepare)(void))
{
        struct error err = ERROR_NULL;
        sigset_t set;
        int null;

        socket = fcntl(socket, F_DUPFD_CLOEXEC, 3);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        prctl(PR_SET_NAME, "job-server", 0, 0, 0);

        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (socket < 0 || null < 0)
                _exit(1);
        job_privileges_drop(null);
        if (socket > 3)
                job_descriptors_close(3, (unsigned)socket - 1);
        job_descriptors_close((unsigned)socket + 1, ~0u);

        signal(SIGCHLD, SIG_DFL);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_SETMASK, &set, NULL);

        *server = (struct job_server){ .socket = socket, .pid = getpid() };
        server->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        server->null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (server->signals < 0 || server->null < 0)
                _exit(1);
        if (prepare)
                prepare();
        /* After the preparations, which may need more than a job ever does. */
        if (job_filter_install_server(&err) < 0)
                _exit(1);
        server->mapped_bytes = job_mapped_bytes();
}

static void report_send(int control, const struct job_report *report)
{
        while (send(control, report, sizeof(*report), MSG_NOSIGNAL) < 0 && errno == EINTR)
                ;
}

static void job_kill(struct running *job, enum job_end end)
{
        job->end = end;
        kill(-job->pid, SIGKILL);
        kill(job->pid, SIGKILL); /* its group may not be there yet */
}

/* Only once, so that a child that dies slowly is not killed at every turn. */
static bool job_lives(const struct running *job)
{
        return job->end == JOB_END_EXIT;
}

static void job_add(struct job_server *server, const struct running *job)
{
        if (server->count == server->capacity) {
                server->capacity = server->capacity ? server->capacity * 2 : 16;
                server->jobs = memory_resize(server->jobs, server->capacity, sizeof(*server->jobs));
                server->polls = memory_resize(server->polls, server->capacity + 2, sizeof(*server->polls));
        }
        server->jobs[server->count++] = *job;
}

static void job_start(struct job_server *server, const struct job_request *request, const int *descriptors, unsigned count)
{
        struct running job = { .control = descriptors[0], .started_ns = clock_now_ns() };
        struct job_child child = { .request = request,
                                   .descriptors = descriptors + 1,
                                   .descriptor_count = count - 1,
                                   .server = server->pid,
                                   .null = server->null,
                                   .mapped_bytes = server->mapped_bytes };

        job.pid = fork();
        if (job.pid == 0)
                job_child_run(&child);
        if (job.pid < 0) {
                report_send(job.control, &(struct job_report){ .end = JOB_END_NOT_RUN, .number = errno });
                close(job.control);
                return;
        }
        setpgid(job.pid, job.pid); /* the child does the same; whoever is first */
        job.deadline_ms = clock_now_ms() + request->limits.deadline_ms;
        job_add(server, &job);
}

static unsigned descriptors_of(struct msghdr *message, int *descriptors, unsigned limit)
{
        unsigned count = 0;

        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                unsigned n = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));

                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS || n > limit - count)
                        continue;
                memcpy(descriptors + count, CMSG_DATA(header), n * sizeof(int));
                count += n;
        }
        return count;
}

/* One request; false when the caller's process has gone. */
static bool request_take(struct job_server *server)
{
        struct job_request request;
        int descriptors[JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT];
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(descriptors))];
        } control;
        struct iovec data = { &request, sizeof(request) };
        struct msghdr message = {
                .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
        };
        ssize_t n = recvmsg(server->socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        unsigned count, own;

        if (n < 0)
                return errno == EAGAIN || errno == EINTR;
        if (n == 0)
                return false;
        count = descriptors_of(&message, descriptors, JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT);
        own = (unsigned)n >= offsetof(struct job_request, paths) && request.input_length ? 3 : 2;
        if (count == own + request.descriptor_count) {
                job_start(server, &request, descriptors, count);
        } else if (count) { /* no free descriptors */
                report_send(descriptors[0], &(struct job_report){ .end = JOB_END_NOT_RUN, .number = EMFILE });
                close(descriptors[0]);
        }
        for (unsigned i = 1; i < count; i++)
                close(descriptors[i]);
        return true;
}

static int64_t time_us(struct timeval time)
{
        return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

void job_report_usage(struct job_report *report, const struct rusage *usage)
{
        report->cpu_us = time_us(usage->ru_utime) + time_us(usage->ru_stime);
        report->peak_bytes = (uint64_t)usage->ru_maxrss * 1024;
}

static void job_end(struct job_server *server, unsigned index, int status, const struct rusage *usage)
{
        struct running *job = &server->jobs[index];
        struct job_report report = { .end = job->end, .status = status, .wall_us = (clock_now_ns() - job->started_ns) / 1000 };

        job_report_usage(&report, usage);
        report_send(job->control, &report);
        close(job->control);
        *job = server->jobs[--server->count];
}

/* Before a child is collected, while its number cannot have been given away, the rest of its group is killed. */
static void children_collect(struct job_server *server)
{
        struct signalfd_siginfo drained;
        siginfo_t info;

        while (read(server->signals, &drained, sizeof(drained)) > 0)
                ;
        for (;;) {
                struct rusage usage;
                int status;

                info.si_pid = 0;
                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
                        return;
                kill(-info.si_pid, SIGKILL);
                if (wait4(info.si_pid, &status, 0, &usage) < 0)
                        return;
                for (unsigned i = 0; i < server->count; i++) {
                        if (server->jobs[i].pid == info.si_pid) {
                                job_end(server, i, status, &usage);
                                break;
                        }
                }
        }
}

/* Milliseconds to the next deadline, or until the server comes to rest; kills what is past it. */
static int deadlines(struct job_server *server)
{
        int64_t now = clock_now_ms(), next = INT32_MAX;

        if (server->count == 0 && !server->resting)
                return REST_MS;
        for (unsigned i = 0; i < server->count; i++) {
                struct running *job = &server->jobs[i];

                if (!job_lives(job))
                        continue;
                if (job->deadline_ms <= now)
                        job_kill(job, JOB_END_DEADLINE);
                else if (job->deadline_ms - now < next)
                        next = job->deadline_ms - now;
        }
        return next == INT32_MAX ? -1 : (int)next;
}

void job_server_loop(int socket, void (*prepare)(void))
{
        struct job_server server;

        server_open(&server, socket, prepare);
        server.polls = memory_resize(NULL, 2, sizeof(*server.polls));
        for (;;) {
                unsigned count = server.count;
                int ready;

                server.polls[0] = (struct pollfd){ .fd = server.socket, .events = POLLIN };
                server.polls[1] = (struct pollfd){ .fd = server.signals, .events = POLLIN };
                for (unsigned i = 0; i < count; i++)
                        server.polls[2 + i] = (struct pollfd){ .fd = job_lives(&server.jobs[i]) ? server.jobs[i].control : -1,
                                                               .events = POLLRDHUP };
                ready = poll(server.polls, count + 2, deadlines(&server));
                if (ready < 0 && errno != EINTR)
                        _exit(1);
                if (ready == 0 && count == 0)
                        memory_rest();
                server.resting = ready == 0 && count == 0;
                for (unsigned i = 0; i < count; i++)
                        if (server.polls[2 + i].revents)
                                job_kill(&server.jobs[i], JOB_END_CANCELLED);
                if (server.polls[1].revents)
                        children_collect(&server);
                if (server.polls[0].revents && !request_take(&server))
                        break;
        }
        for (unsigned i = 0; i < server.count; i++)
                job_kill(&server.jobs[i], JOB_END_CANCELLED);
        _exit(0);
}
