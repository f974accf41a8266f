/*
 * Hostile work stays in its child: each row does something that must not reach this process, and says what the one who asked reads.
 */
#include "job_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/weir-job-XXXXXX"; /* holds mine/ and other/secret */
static char mine[64], secret[64];

static uint64_t resident_bytes(void)
{
        unsigned long size, resident = 0;
        FILE *file = fopen("/proc/self/statm", "re");

        assert_non_null(file);
        assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
        fclose(file);
        return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Each reports what it got away with. */

static int nothing(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        return 0;
}

static int aborts(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        abort();
}

static int exits(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        _exit(3);
}

static int exits_well(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        _exit(0);
}

static int eats_memory(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        for (uint64_t total = 0; total < 10 * 1024 * MIB; total += 16 * MIB)
                memset(memory_allocate(16 * MIB), 1, 16 * MIB);
        return 0;
}

static int maps_memory(struct job *job, struct error *err)
{
        void *p = mmap(NULL, 10 * 1024 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        (void)job;
        if (p == MAP_FAILED)
                return error_set_errno(err, errno, "mmap");
        return 0;
}

static int recurses(struct job *job, struct error *err)
{
        volatile char frame[4096] = { 1 };
        job_fn *volatile again = recurses;
        int r = again(job, err);

        return r + frame[0];
}

static int talks(struct job *job, struct error *err)
{
        static char chunk[65536];

        for (;;)
                if (job_write(job, (struct view){ chunk, sizeof(chunk) }, err) < 0)
                        return 0; /* as if nothing had happened */
}

static int writes_large_file(struct job *job, struct error *err)
{
        static char chunk[65536];
        int fd = openat(job->descriptors[0], "large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                return error_set_errno(err, errno, "open");
        for (int i = 0; i < 1024; i++)
                if (write(fd, chunk, sizeof(chunk)) < 0)
                        return error_set_errno(err, errno, "write");
        return 0;
}

static int says_errno(struct error *err, long result, const char *what)
{
        if (result >= 0)
                return error_set(err, ERROR_INVALID, "%s went through", what);
        return error_set_errno(err, errno, "%s", what);
}

/* A call that must fail, and with what. */
#define ATTEMPT(name, what, call)                                                                                                  \
        static int name(struct job *job, struct error *err)                                                                        \
        {                                                                                                                          \
                (void)job;                                                                                                         \
                return says_errno(err, call, what);                                                                                \
        }

ATTEMPT(forks, "fork", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
ATTEMPT(forks_new_style, "clone3", syscall(435 /* clone3 */, NULL, 0))
ATTEMPT(new_namespace, "unshare", unshare(CLONE_NEWUSER))
ATTEMPT(reads_other, "open", open(secret, O_RDONLY | O_CLOEXEC))
ATTEMPT(removes_other, "unlink", unlink(secret))
ATTEMPT(chmods_other, "chmod", chmod(secret, 0))
ATTEMPT(connects, "socket", socket(AF_INET, SOCK_STREAM, 0))
ATTEMPT(connects_local, "socket", socket(AF_UNIX, SOCK_STREAM, 0))
ATTEMPT(kills_parent, "kill", kill(getppid(), SIGKILL))
ATTEMPT(traces, "ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL))
ATTEMPT(leaves_group, "setsid", setsid())
ATTEMPT(dumps, "prctl", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ATTEMPT(hides_memory, "memfd_create", memfd_create("x", 0))
ATTEMPT(kills_all, "kill", kill(-1, SIGKILL))
ATTEMPT(kills_thread, "tgkill", syscall(SYS_tgkill, getppid(), getppid(), SIGKILL))
ATTEMPT(queues_signal, "rt_sigqueueinfo", syscall(SYS_rt_sigqueueinfo, getppid(), SIGKILL, NULL))
ATTEMPT(holds_parent, "pidfd_open", syscall(434 /* pidfd_open */, getppid(), 0))
ATTEMPT(takes_descriptor, "pidfd_getfd", syscall(438 /* pidfd_getfd */, 0, 0, 0))
ATTEMPT(reads_parent, "process_vm_readv", syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0))
ATTEMPT(writes_parent, "process_vm_writev", syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0))
ATTEMPT(limits_parent, "prlimit", prlimit(getppid(), RLIMIT_NOFILE, &(struct rlimit){ 0, 0 }, NULL))
ATTEMPT(slows_parent, "setpriority", setpriority(PRIO_PROCESS, (id_t)getppid(), 19))
ATTEMPT(becomes_other, "setuid", setuid(1))
ATTEMPT(mounts, "mount", mount("none", "/", "tmpfs", 0, NULL))
ATTEMPT(changes_root, "chroot", chroot("/"))
ATTEMPT(enters, "setns", setns(0, 0))
ATTEMPT(loads_program, "bpf", syscall(SYS_bpf, 0, NULL, 0))
ATTEMPT(uses_ring, "io_uring_setup", syscall(425 /* io_uring_setup */, 1, NULL))
ATTEMPT(handles_faults, "userfaultfd", syscall(SYS_userfaultfd, 0))
ATTEMPT(counts, "perf_event_open", syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0))
ATTEMPT(reads_keys, "keyctl", syscall(SYS_keyctl, 0, 0, 0))
ATTEMPT(shares_memory, "shmget", syscall(SYS_shmget, 0, 4096, 0600))
ATTEMPT(sends_message, "mq_open", syscall(SYS_mq_open, "x", O_RDWR | O_CREAT, 0600, NULL))
ATTEMPT(lists_processes, "open", open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
ATTEMPT(reads_own_environment, "open", open("/proc/self/environ", O_RDONLY | O_CLOEXEC))
ATTEMPT(writes_shared_memory, "open", open("/dev/shm/weir", O_WRONLY | O_CREAT | O_CLOEXEC, 0600))
ATTEMPT(writes_temporary, "open", open("/tmp/weir-job-outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600))
ATTEMPT(makes_folder, "mkdir", mkdir("/tmp/weir-job-outside", 0700))
ATTEMPT(renames_other, "rename", rename(secret, "/tmp/weir-job-outside"))
ATTEMPT(truncates_other, "truncate", truncate(secret, 0))
ATTEMPT(packet, "socket", socket(AF_PACKET, SOCK_RAW, 0))
ATTEMPT(netlink, "socket", socket(AF_NETLINK, SOCK_RAW, 0))
ATTEMPT(reads_world, "open", open("/etc/passwd", O_RDONLY | O_CLOEXEC))

static int links_other(struct job *job, struct error *err)
{
        return says_errno(err, linkat(AT_FDCWD, secret, job->descriptors[0], "hard", 0), "linkat");
}

static int makes_device(struct job *job, struct error *err)
{
        return says_errno(err, mknodat(job->descriptors[0], "device", S_IFCHR | 0600, makedev(1, 3)), "mknodat");
}

static int eats_descriptors(struct job *job, struct error *err)
{
        (void)job;
        for (;;)
                if (dup(0) < 0)
                        return error_set_errno(err, errno, "dup");
}

static int eats_kernel_objects(struct job *job, struct error *err)
{
        (void)job;
        for (;;)
                if (epoll_create1(EPOLL_CLOEXEC) < 0)
                        return error_set_errno(err, errno, "epoll_create1");
}

static int bombs(struct job *job, struct error *err)
{
        (void)job;
        (void)err;
        for (;;)
                fork();
        return 0;
}

static int reads_upwards(struct job *job, struct error *err)
{
        return says_errno(err, openat(job->descriptors[0], "../other/secret", O_RDONLY | O_CLOEXEC), "openat");
}

static int reads_linked(struct job *job, struct error *err)
{
        unlinkat(job->descriptors[0], "link", 0);
        if (symlinkat(secret, job->descriptors[0], "link") < 0)
                return error_set_errno(err, errno, "symlinkat");
        return says_errno(err, openat(job->descriptors[0], "link", O_RDONLY | O_CLOEXEC), "openat");
}

static int reads_maps(struct job *job, struct error *err)
{
        char path[64];

        (void)job;
        snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
        return says_errno(err, open(path, O_RDONLY | O_CLOEXEC), "open");
}

static int executes(struct job *job, struct error *err)
{
        (void)job;
        execl("/bin/true", "true", NULL);
        return says_errno(err, -1, "execve");
}

static int shows_environment(struct job *job, struct error *err)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        for (char **entry = environ; entry && *entry; entry++)
                buffer_printf(&text, "%s\n", *entry);
        return job_write(job, buffer_view(&text), err);
}

static int shows_descriptors(struct job *job, struct error *err)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        for (int fd = 0; fd < 256; fd++)
                if (fcntl(fd, F_GETFD) >= 0 && fd > 2 && fd != job->output)
                        buffer_printf(&text, "%d ", fd == job->descriptors[0] ? 0 : fd);
        return job_write(job, buffer_view(&text), err);
}

/* "%" in the expected text stands for a duration. */
static bool text_matches(const char *text, const char *expected)
{
        const char *gap = strchr(expected, '%');
        size_t before = gap ? (size_t)(gap - expected) : strlen(expected), length = strlen(text), after;

        if (!gap)
                return strcmp(text, expected) == 0;
        after = strlen(gap + 1);
        return length > before + after && memcmp(text, expected, before) == 0 && strcmp(text + length - after, gap + 1) == 0;
}

static void ends_as_an_error_of_the_call(void **state)
{
        const struct job_limits small = {
                .deadline_ms = 10000, .memory_bytes = 64 * MIB, .output_bytes = MIB, .file_bytes = 2 * MIB
        };
        const struct job_limits quick = { .deadline_ms = 200 };
        const struct job_limits cpu = { .deadline_ms = 20000, .cpu_ms = 1000 };
        const int other = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), own = open(mine, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct job_descriptor descriptors[] = { { own, JOB_WRITE } };
        const struct job_grant grant = { .descriptors = descriptors, .descriptor_count = 1 };
        const struct {
                const char *name;
                job_fn *fn;
                const struct job_limits *limits;
                int result;
                enum error_kind kind;
                const char *message;
        } cases[] = {
                { "crash", crash, &small, JOB_KILLED, ERROR_INTERNAL, "killed after %: signal 11 (Segmentation fault)" },
                { "abort", aborts, &small, JOB_KILLED, ERROR_INTERNAL, "killed after %: signal 6 (Aborted)" },
                { "stack", recurses, &small, JOB_KILLED, ERROR_INTERNAL, "killed after %: signal 11 (Segmentation fault)" },
                { "endless loop", loops, &quick, JOB_KILLED, ERROR_TIMEOUT, "killed after 200ms: deadline" },
                { "endless sleep", sleeps, &quick, JOB_KILLED, ERROR_TIMEOUT, "killed after 200ms: deadline" },
                { "CPU", loops, &cpu, JOB_KILLED, ERROR_TIMEOUT, "killed after %: CPU limit of 1s" },
                { "exit", exits, &small, JOB_KILLED, ERROR_INTERNAL, "killed after %: exited with status 3" },
                { "exit without result", exits_well, &small, JOB_KILLED, ERROR_INTERNAL, "killed: the job ended without a result" },
                { "10 GB", eats_memory, &small, JOB_KILLED, ERROR_TOO_LARGE, "killed after %: memory limit of 64 MiB" },
                { "10 GB mapped", maps_memory, &small, -1, ERROR_INTERNAL, "mmap: Cannot allocate memory" },
                { "output", talks, &small, JOB_TOO_LARGE, ERROR_TOO_LARGE, "the output is larger than 1 MiB" },
                { "large file", writes_large_file, &small, JOB_KILLED, ERROR_TOO_LARGE,
                  "killed after %: wrote a file of more than 2 MiB" },
                { "fork", forks, &small, -1, ERROR_FORBIDDEN, "fork: operation not permitted" },
                { "clone3", forks_new_style, &small, -1, ERROR_INTERNAL, "clone3: Function not implemented" },
                { "namespace", new_namespace, &small, -1, ERROR_FORBIDDEN, "unshare: operation not permitted" },
                { "fork bomb", bombs, &quick, JOB_KILLED, ERROR_TIMEOUT, "killed after 200ms: deadline" },
                { "other file", reads_other, &small, -1, ERROR_FORBIDDEN, "open: permission denied" },
                { "upwards", reads_upwards, &small, -1, ERROR_FORBIDDEN, "openat: permission denied" },
                { "link", reads_linked, &small, -1, ERROR_FORBIDDEN, "openat: permission denied" },
                { "parent's memory", reads_maps, &small, -1, ERROR_FORBIDDEN, "open: permission denied" },
                { "unlink", removes_other, &small, -1, ERROR_FORBIDDEN, "unlink: permission denied" },
                { "chmod", chmods_other, &small, -1, ERROR_FORBIDDEN, "chmod: operation not permitted" },
                { "socket", connects, &small, -1, ERROR_FORBIDDEN, "socket: operation not permitted" },
                { "local socket", connects_local, &small, -1, ERROR_FORBIDDEN, "socket: operation not permitted" },
                { "kill", kills_parent, &small, -1, ERROR_FORBIDDEN, "kill: operation not permitted" },
                { "ptrace", traces, &small, -1, ERROR_FORBIDDEN, "ptrace: operation not permitted" },
                { "execve", executes, &small, -1, ERROR_FORBIDDEN, "execve: operation not permitted" },
                { "setsid", leaves_group, &small, -1, ERROR_FORBIDDEN, "setsid: operation not permitted" },
                { "dumpable", dumps, &small, -1, ERROR_FORBIDDEN, "prctl: operation not permitted" },
                { "kill everybody", kills_all, &small, -1, ERROR_FORBIDDEN, "kill: operation not permitted" },
                { "kill a thread", kills_thread, &small, -1, ERROR_FORBIDDEN, "tgkill: operation not permitted" },
                { "queue a signal", queues_signal, &small, -1, ERROR_FORBIDDEN, "rt_sigqueueinfo: operation not permitted" },
                { "pidfd_open", holds_parent, &small, -1, ERROR_INTERNAL, "pidfd_open: Function not implemented" },
                { "pidfd_getfd", takes_descriptor, &small, -1, ERROR_INTERNAL, "pidfd_getfd: Function not implemented" },
                { "read memory", reads_parent, &small, -1, ERROR_FORBIDDEN, "process_vm_readv: operation not permitted" },
                { "write memory", writes_parent, &small, -1, ERROR_FORBIDDEN, "process_vm_writev: operation not permitted" },
                { "limits of others", limits_parent, &small, -1, ERROR_FORBIDDEN, "prlimit: operation not permitted" },
                { "priority", slows_parent, &small, -1, ERROR_INTERNAL, "setpriority: Function not implemented" },
                { "another user", becomes_other, &small, -1, ERROR_FORBIDDEN, "setuid: operation not permitted" },
                { "mount", mounts, &small, -1, ERROR_FORBIDDEN, "mount: operation not permitted" },
                { "chroot", changes_root, &small, -1, ERROR_FORBIDDEN, "chroot: operation not permitted" },
                { "setns", enters, &small, -1, ERROR_FORBIDDEN, "setns: operation not permitted" },
                { "bpf", loads_program, &small, -1, ERROR_FORBIDDEN, "bpf: operation not permitted" },
                { "io_uring", uses_ring, &small, -1, ERROR_FORBIDDEN, "io_uring_setup: operation not permitted" },
                { "userfaultfd", handles_faults, &small, -1, ERROR_FORBIDDEN, "userfaultfd: operation not permitted" },
                { "perf", counts, &small, -1, ERROR_FORBIDDEN, "perf_event_open: operation not permitted" },
                { "keys", reads_keys, &small, -1, ERROR_FORBIDDEN, "keyctl: operation not permitted" },
                { "shared memory", shares_memory, &small, -1, ERROR_FORBIDDEN, "shmget: operation not permitted" },
                { "message queue", sends_message, &small, -1, ERROR_FORBIDDEN, "mq_open: operation not permitted" },
                { "/proc", lists_processes, &small, -1, ERROR_FORBIDDEN, "open: permission denied" },
                { "own environment", reads_own_environment, &small, -1, ERROR_FORBIDDEN, "open: permission denied" },
                { "/dev/shm", writes_shared_memory, &small, -1, ERROR_FORBIDDEN, "open: permission denied" },
                { "/tmp", writes_temporary, &small, -1, ERROR_FORBIDDEN, "open: permission denied" },
                { "a folder in /tmp", makes_folder, &small, -1, ERROR_FORBIDDEN, "mkdir: permission denied" },
                { "rename", renames_other, &small, -1, ERROR_FORBIDDEN, "rename: permission denied" },
                { "truncate", truncates_other, &small, -1, ERROR_FORBIDDEN, "truncate: operation not permitted" },
                { "hard link", links_other, &small, -1, ERROR_INTERNAL, "linkat: Invalid cross-device link" },
                { "device", makes_device, &small, -1, ERROR_FORBIDDEN, "mknodat: operation not permitted" },
                { "packets", packet, &small, -1, ERROR_FORBIDDEN, "socket: operation not permitted" },
                { "netlink", netlink, &small, -1, ERROR_FORBIDDEN, "socket: operation not permitted" },
                { "descriptors", eats_descriptors, &small, -1, ERROR_INTERNAL, "dup: Too many open files" },
                { "kernel objects", eats_kernel_objects, &small, -1, ERROR_INTERNAL, "epoll_create1: Too many open files" },
                { "memfd", hides_memory, &small, -1, ERROR_FORBIDDEN, "memfd_create: operation not permitted" },
        };
        uint64_t before = 0;

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct job_result result = JOB_RESULT_NULL;
                cleanup(error_release) struct error err = ERROR_NULL;
                int r;

                if (i == 1)
                        before = resident_bytes();
                r = run(cases[i].fn, NULL, cases[i].limits, &grant, &result, &err);
                if (r != cases[i].result || err.kind != cases[i].kind || !text_matches(error_message(&err), cases[i].message))
                        fail_msg("%s: %d, kind %d: %s", cases[i].name, r, err.kind, error_message(&err));
                assert_null(result.output.data);
                assert_true(job_server_alive());
        }
        /* None of that became memory of ours. */
        assert_true(resident_bytes() < before + MIB);
        close(own);
        close(other);
}

static int reads_granted(struct job *job, struct error *err)
{
        char text[16] = "";
        int fd = open(secret, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
                return error_set_errno(err, errno, "open");
        if (openat(AT_FDCWD, secret, O_WRONLY | O_CLOEXEC) >= 0)
                return error_set(err, ERROR_INTERNAL, "writing was not granted");
        return job_write(job, view_of(text), err);
}

static int writes_granted(struct job *job, struct error *err)
{
        int fd;

        if (mkdirat(job->descriptors[0], "d", 0700) < 0)
                return error_set_errno(err, errno, "mkdir");
        fd = openat(job->descriptors[0], "d/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, "x", 1) != 1 || fchmod(fd, 0640) < 0)
                return error_set_errno(err, errno, "write");
        if (renameat(job->descriptors[0], "d/new", job->descriptors[0], "renamed") < 0)
                return error_set_errno(err, errno, "rename");
        if (unlinkat(job->descriptors[0], "d", AT_REMOVEDIR) < 0)
                return error_set_errno(err, errno, "rmdir");
        return 0;
}

static int looks_up(struct job *job, struct error *err)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
        int fd, r = getaddrinfo("localhost", "80", &hints, &found);

        (void)job;
        if (r != 0)
                return error_set(err, ERROR_INTERNAL, "getaddrinfo: %s", gai_strerror(r));
        freeaddrinfo(found);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_set_errno(err, errno, "socket");
        if (bind(fd, (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET }, sizeof(struct sockaddr_in)) == 0 &&
            listen(fd, 1) == 0)
                return error_set(err, ERROR_INTERNAL, "it listens");
        if (connect(fd,
                    (struct sockaddr *)&(struct sockaddr_in){
                            .sin_family = AF_INET, .sin_port = htons(1), .sin_addr = { htonl(INADDR_LOOPBACK) } },
                    sizeof(struct sockaddr_in)) == 0 ||
            errno != ECONNREFUSED)
                return error_set_errno(err, errno, "connect");
        return 0;
}

static void *thread_main(void *data)
{
        *(int *)data = 1;
        return NULL;
}

static int starts_thread(struct job *job, struct error *err)
{
        pthread_t thread;
        int done = 0, r = pthread_create(&thread, NULL, thread_main, &done);

        (void)job;
        if (r != 0)
                return error_set_errno(err, r, "thread");
        pthread_join(thread, NULL);
        return done ? 0 : -1;
}

static int runs_program(struct job *job, struct error *err)
{
        int status;
        pid_t pid = vfork();

        (void)job;
        if (pid == 0) {
                execl("/bin/true", "true", NULL);
                _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return error_set_errno(err, errno, "run");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return error_set(err, ERROR_INTERNAL, "/bin/true: %d", status);
        return 0;
}

static void what_is_granted_works(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int own = open(mine, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat status;

        (void)state;
        if (run(reads_granted, NULL, NULL, &(struct job_grant){ .paths = &(struct job_path){ secret, JOB_READ }, .path_count = 1 },
                &result, &err) != 0)
                fail_msg("%s", error_message(&err));
        assert_true(view_is(result.output, "secret"));
        job_result_release(&result);
        if (run(writes_granted, NULL, NULL,
                &(struct job_grant){ .descriptors = &(struct job_descriptor){ own, JOB_WRITE }, .descriptor_count = 1 }, &result,
                &err) != 0)
                fail_msg("%s", error_message(&err));
        assert_int_equal(fstatat(own, "renamed", &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0640);
        if (run(looks_up, NULL, NULL, &(struct job_grant){ .network = true }, &result, &err) != 0)
                fail_msg("%s", error_message(&err));
        assert_int_equal(run(starts_thread, NULL, NULL, NULL, &result, &err), -1);
        if (run(starts_thread, NULL, NULL, &(struct job_grant){ .threads = true }, &result, &err) != 0)
                fail_msg("%s", error_message(&err));
        if (!SANITIZED && run(runs_program, NULL, NULL, &(struct job_grant){ .processes = true }, &result, &err) != 0)
                fail_msg("%s", error_message(&err));
        assert_int_equal(run(nothing, NULL, NULL,
                             &(struct job_grant){ .paths = &(struct job_path){ "/no/such", JOB_READ }, .path_count = 1 }, &result,
                             &err),
                         -1);
        assert_int_equal(err.kind, ERROR_NOT_FOUND);
}

static void a_handle_grants_no_names(void **state)
{
        struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int own = open(mine, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct job_descriptor handle = { own, JOB_HANDLE }, read_only = { own, JOB_READ };

        (void)state;
        assert_int_equal(run(writes_granted, NULL, NULL, &(struct job_grant){ .descriptors = &handle, .descriptor_count = 1 },
                             &result, &err),
                         -1);
        assert_int_equal(err.kind, ERROR_FORBIDDEN);
        assert_int_equal(run(writes_granted, NULL, NULL, &(struct job_grant){ .descriptors = &read_only, .descriptor_count = 1 },
                             &result, &err),
                         -1);
        assert_int_equal(err.kind, ERROR_FORBIDDEN);
}

static void nothing_comes_along(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int own = open(mine, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        (void)state;
        assert_int_equal(run(shows_environment, NULL, NULL, NULL, &result, &err), 0);
        assert_int_equal(view_search(result.output, VIEW("hunter2"), 0), -1);
        assert_true(view_search(result.output, VIEW("PATH="), 0) >= 0);
        job_result_release(&result);
        assert_int_equal(
                run(shows_descriptors, "input", NULL,
                    &(struct job_grant){ .descriptors = &(struct job_descriptor){ own, JOB_HANDLE }, .descriptor_count = 1 },
                    &result, &err),
                0);
        assert_true(view_is(result.output, "0 "));
}

/* As in a pod of the manifests: no privileges at all. */
static int unprivileged(void)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int own = -1;
        char path[] = "/tmp/weir-job-XXXXXX";
        struct job_descriptor descriptor;
        struct job_grant grant = { .descriptors = &descriptor, .descriptor_count = 1 };
        int failures = 0;

        if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                return 1;
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (!mkdtemp(path) || job_server_start(NULL, &err) < 0)
                return 2;
        own = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        descriptor = (struct job_descriptor){ own, JOB_WRITE };
        failures += run(upper, "x", NULL, NULL, &result, &err) != 0;
        failures += run(writes_granted, NULL, NULL, &grant, &result, &err) != 0;
        failures += run(reads_world, NULL, NULL, &grant, &result, &err) != -1 || err.kind != ERROR_FORBIDDEN;
        failures += run(connects, NULL, NULL, &grant, &result, &err) != -1 || err.kind != ERROR_FORBIDDEN;
        failures += run(eats_memory, NULL, &(struct job_limits){ .memory_bytes = 64 * MIB }, NULL, &result, &err) != JOB_KILLED;
        unlinkat(own, "renamed", 0);
        rmdir(path);
        job_server_stop();
        return failures ? 10 + failures : 0;
}

/* As on a kernel, or below a seccomp profile, that answers Landlock's first call like that. */
static int landlock_answers(unsigned code, const char *lack)
{
        struct sock_filter list[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 444, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = COUNT(list), .filter = list };
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        int failures = 0;

        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 || job_server_start(NULL, &err) < 0)
                return 1;
        failures += job_sandbox_describe(&text) || strncmp(buffer_string(&text), lack, strlen(lack)) != 0;
        failures += run(upper, "x", NULL, NULL, &result, &err) != 0;
        /* A job that was granted no files cannot open any, Landlock or not. */
        failures += run(reads_world, NULL, NULL, NULL, &result, &err) != -1 || err.kind != ERROR_FORBIDDEN;
        failures += run(connects, NULL, NULL, NULL, &result, &err) != -1 || err.kind != ERROR_FORBIDDEN;
        job_server_stop();
        return failures ? 10 + failures : 0;
}

static int without_landlock(void)
{
        return landlock_answers(ENOSYS, "no Landlock in this kernel;");
}

static int landlock_is_off(void)
{
        return landlock_answers(EOPNOTSUPP, "no Landlock in this kernel: it was started without");
}

static int landlock_is_forbidden(void)
{
        return landlock_answers(EPERM, "no Landlock for this process: a seccomp profile forbids it");
}

static void server_ends(void **state)
{
        (void)state;
        assert_true(job_server_alive());
        job_server_stop();
        assert_false(job_server_alive());
}

static void runs_in_every_confinement(void **state)
{
        static int (*const bodies[])(void) = { unprivileged, without_landlock, landlock_is_off, landlock_is_forbidden };

        (void)state;
        for (size_t i = 0; i < COUNT(bodies); i++) {
                int status;
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0)
                        _exit(bodies[i]());
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(status, 0);
        }
}

static int setup(void)
{
        char other[64];
        int fd;

        if (!mkdtemp(directory))
                return -1;
        snprintf(mine, sizeof(mine), "%s/mine", directory);
        snprintf(other, sizeof(other), "%s/other", directory);
        snprintf(secret, sizeof(secret), "%s/other/secret", directory);
        if (mkdir(mine, 0700) < 0 || mkdir(other, 0700) < 0)
                return -1;
        fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, "secret", 6) != 6)
                return -1;
        close(fd);
        return 0;
}

static int teardown(void **state)
{
        char command[128];

        (void)state;
        snprintf(command, sizeof(command), "rm -rf %s", directory);
        return system(command);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ends_as_an_error_of_the_call),
                cmocka_unit_test(what_is_granted_works),
                cmocka_unit_test(a_handle_grants_no_names),
                cmocka_unit_test(nothing_comes_along),
                cmocka_unit_test(server_ends),
                cmocka_unit_test(runs_in_every_confinement),
        };
        cleanup(error_release) struct error err = ERROR_NULL;

        setenv("GIT_PASSWORD", "hunter2", 1);
        if (!kernel_has_filters())
                return 0;
        /* Before the server, so that the jobs know the names. */
        if (setup() < 0)
                return 1;
        if (job_server_start(NULL, &err) < 0) {
                fprintf(stderr, "%s\n", error_message(&err));
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, teardown);
}
