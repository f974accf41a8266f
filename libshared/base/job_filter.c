/*
 * seccomp: the child has the system calls that reading, computing and writing need.
 *
 * What is listed is allowed, checked by its arguments, or refused with EPERM by name; what is not listed is ENOSYS, as on an older kernel, and
 * libraries have a way around that.
 *
 * Attaching a filter is the dearest part of starting a job, so there are two: what holds for every job is attached to the fork server once, and
 * its children inherit it; a child attaches what depends on the job. The kernel applies both, the stricter verdict counts. Each
 * is a binary search over the numbers: the kernel runs a new program once for every call that the older one allows, so its depth, not its
 * length, is what a job pays.
 */
#include "base/job_private.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the seccomp filter of jobs knows x86-64 and arm64"
#endif

/* Newer than the headers of the oldest system this is built on; the same numbers everywhere. */
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_faccessat2
#define __NR_faccessat2 439
#endif
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule       445
#define __NR_landlock_restrict_self  446
#endif

enum action {
        MISSING, /* ENOSYS */
        ALLOWED,
        REFUSED,      /* EPERM */
        FOR_SERVER,   /* EPERM too, but not for the server, nor for a child that is still putting up its walls */
        WITH_FILES,   /* allowed if the job may open by name, else EACCES */
        WITH_NETWORK, /* else EPERM, as the next two */
        WITH_THREADS,
        WITH_PROCESSES,
        /* By argument. */
        CHECK_SELF,  /* the first is this process: signals */
        CHECK_LIMIT, /* the first is this process or 0: prlimit */
        CHECK_CLONE,
        CHECK_SOCKET,
        CHECK_PRCTL,
        CHECK_IOCTL,
        CHECK_FCNTL,
        CHECK_TIMES, /* of a descriptor, not of a path, which Landlock does not guard */
};

struct call {
        int number;
        enum action action;
};

#define C(name, action)                                                                                                            \
        {                                                                                                                          \
                __NR_##name, action                                                                                                \
        }
static const struct call calls[] = {
        C(read, ALLOWED),
        C(write, ALLOWED),
        C(readv, ALLOWED),
        C(writev, ALLOWED),
        C(pread64, ALLOWED),
        C(pwrite64, ALLOWED),
        C(preadv, ALLOWED),
        C(pwritev, ALLOWED),
        C(close, ALLOWED),
        C(close_range, ALLOWED),
        C(fstat, ALLOWED),
        C(newfstatat, ALLOWED),
        C(statx, ALLOWED),
        C(lseek, ALLOWED),
        C(mmap, ALLOWED),
        C(munmap, ALLOWED),
        C(mprotect, ALLOWED),
        C(mremap, ALLOWED),
        C(madvise, ALLOWED),
        C(msync, ALLOWED),
        C(mincore, ALLOWED),
        C(brk, ALLOWED),
        C(rt_sigaction, ALLOWED),
        C(rt_sigprocmask, ALLOWED),
        C(rt_sigreturn, ALLOWED),
        C(rt_sigtimedwait, ALLOWED),
        C(sigaltstack, ALLOWED),
        C(ioctl, CHECK_IOCTL),
        C(fcntl, CHECK_FCNTL),
        C(flock, ALLOWED),
        C(fsync, ALLOWED),
        C(fdatasync, ALLOWED),
        C(ftruncate, ALLOWED),
        C(fallocate, ALLOWED),
        C(fadvise64, ALLOWED),
        C(getdents64, ALLOWED),
        C(getcwd, ALLOWED),
        C(chdir, WITH_FILES),
        C(fchdir, ALLOWED),
        C(umask, ALLOWED),
        C(openat, WITH_FILES),
        C(openat2, WITH_FILES),
        C(faccessat, ALLOWED),
        C(faccessat2, ALLOWED),
        C(readlinkat, ALLOWED),
        C(renameat, WITH_FILES),
        C(renameat2, WITH_FILES),
        C(mkdirat, WITH_FILES),
        C(unlinkat, WITH_FILES),
        C(linkat, WITH_FILES),
        C(symlinkat, WITH_FILES),
        C(fchmod, ALLOWED),
        C(utimensat, CHECK_TIMES),
        C(statfs, ALLOWED),
        C(fstatfs, ALLOWED),
        C(copy_file_range, ALLOWED),
        C(sendfile, ALLOWED),
        C(dup, ALLOWED),
        C(dup3, ALLOWED),
        C(pipe2, ALLOWED),
        C(ppoll, ALLOWED),
        C(pselect6, ALLOWED),
        C(epoll_create1, ALLOWED),
        C(epoll_ctl, ALLOWED),
        C(epoll_pwait, ALLOWED),
        C(eventfd2, ALLOWED),
        C(timerfd_create, ALLOWED),
        C(timerfd_settime, ALLOWED),
        C(timerfd_gettime, ALLOWED),
        C(clock_gettime, ALLOWED),
        C(clock_getres, ALLOWED),
        C(clock_nanosleep, ALLOWED),
        C(nanosleep, ALLOWED),
        C(gettimeofday, ALLOWED),
        C(setitimer, ALLOWED),
        C(getpid, ALLOWED),
        C(getppid, ALLOWED),
        C(gettid, ALLOWED),
        C(getuid, ALLOWED),
        C(geteuid, ALLOWED),
        C(getgid, ALLOWED),
        C(getegid, ALLOWED),
        C(getgroups, ALLOWED),
        C(getresuid, ALLOWED),
        C(getresgid, ALLOWED),
        C(getrusage, ALLOWED),
        C(times, ALLOWED),
        C(uname, ALLOWED),
        C(sysinfo, ALLOWED),
        C(sched_yield, ALLOWED),
        C(sched_getaffinity, ALLOWED),
        C(getcpu, ALLOWED),
        C(futex, ALLOWED),
        C(set_robust_list, ALLOWED),
        C(get_robust_list, ALLOWED),
        C(rseq, ALLOWED),
        C(membarrier, ALLOWED),
        C(set_tid_address, ALLOWED),
        C(exit, ALLOWED),
        C(exit_group, ALLOWED),
        C(restart_syscall, ALLOWED),
        C(getrandom, ALLOWED),
        C(getrlimit, ALLOWED),
        C(setrlimit, ALLOWED),
        C(prlimit64, CHECK_LIMIT),
        C(prctl, CHECK_PRCTL),
        C(kill, CHECK_SELF),
        C(tgkill, CHECK_SELF),
        C(clone, CHECK_CLONE),
        C(socket, CHECK_SOCKET),
        C(socketpair, WITH_THREADS),
        C(connect, WITH_NETWORK),
        C(bind, WITH_NETWORK),
        C(getsockname, WITH_NETWORK),
        C(getpeername, WITH_NETWORK),
        C(sendto, WITH_THREADS),
        C(recvfrom, WITH_THREADS),
        C(sendmsg, WITH_NETWORK),
        C(recvmsg, WITH_NETWORK),
        C(sendmmsg, WITH_NETWORK),
        C(recvmmsg, WITH_NETWORK),
        C(setsockopt, WITH_NETWORK),
        C(getsockopt, WITH_NETWORK),
        C(shutdown, WITH_THREADS),
        C(execve, WITH_PROCESSES),
        C(execveat, REFUSED),
        C(wait4, WITH_PROCESSES),
        C(waitid, WITH_PROCESSES),
        C(landlock_create_ruleset, FOR_SERVER),
        C(landlock_add_rule, FOR_SERVER),
        C(landlock_restrict_self, FOR_SERVER),
        /* Named so that they fail as forbidden, not as unknown. */
        C(listen, REFUSED),
        C(accept, REFUSED),
        C(accept4, REFUSED),
        C(ptrace, REFUSED),
        C(process_vm_readv, REFUSED),
        C(process_vm_writev, REFUSED),
        C(mount, REFUSED),
        C(umount2, REFUSED),
        C(pivot_root, REFUSED),
        C(chroot, REFUSED),
        C(unshare, REFUSED),
        C(setns, REFUSED),
        C(bpf, REFUSED),
        C(perf_event_open, REFUSED),
        C(keyctl, REFUSED),
        C(add_key, REFUSED),
        C(request_key, REFUSED),
        C(userfaultfd, REFUSED),
        C(io_uring_setup, REFUSED),
        C(memfd_create, REFUSED),
        C(shmget, REFUSED),
        C(shmat, REFUSED),
        C(msgget, REFUSED),
        C(semget, REFUSED),
        C(mq_open, REFUSED),
        C(setuid, REFUSED),
        C(setgid, REFUSED),
        C(setresuid, REFUSED),
        C(setresgid, REFUSED),
        C(setgroups, REFUSED),
        C(capset, REFUSED),
        C(setsid, REFUSED),
        C(setpgid, FOR_SERVER),
        C(personality, REFUSED),
        C(fchmodat, REFUSED),
        C(fchownat, REFUSED),
        C(fchown, REFUSED),
        C(truncate, REFUSED),
        C(mknodat, REFUSED),
        C(name_to_handle_at, REFUSED),
        C(open_by_handle_at, REFUSED),
        C(seccomp, FOR_SERVER),
        C(tkill, REFUSED),
        C(rt_sigqueueinfo, REFUSED),
        C(kexec_load, REFUSED),
        C(init_module, REFUSED),
        C(finit_module, REFUSED),
        C(reboot, REFUSED),
        C(swapon, REFUSED),
#ifdef __x86_64__
        C(open, WITH_FILES),
        C(creat, WITH_FILES),
        C(stat, ALLOWED),
        C(lstat, ALLOWED),
        C(access, ALLOWED),
        C(readlink, ALLOWED),
        C(rename, WITH_FILES),
        C(mkdir, WITH_FILES),
        C(rmdir, WITH_FILES),
        C(unlink, WITH_FILES),
        C(link, WITH_FILES),
        C(symlink, WITH_FILES),
        C(getdents, ALLOWED),
        C(dup2, ALLOWED),
        C(pipe, ALLOWED),
        C(poll, ALLOWED),
        C(select, ALLOWED),
        C(epoll_create, ALLOWED),
        C(epoll_wait, ALLOWED),
        C(eventfd, ALLOWED),
        C(time, ALLOWED),
        C(alarm, ALLOWED),
        C(getpgrp, ALLOWED),
        C(arch_prctl, WITH_PROCESSES),
        C(fork, WITH_PROCESSES),
        C(vfork, WITH_PROCESSES),
        C(chmod, REFUSED),
        C(chown, REFUSED),
        C(lchown, REFUSED),
        C(mknod, REFUSED),
#endif
};
#undef C

#define CALL_COUNT (sizeof(calls) / sizeof(calls[0]))

#define PROGRAM_LIMIT 1024

struct program {
        struct sock_filter list[PROGRAM_LIMIT];
        unsigned short count;
        const struct job_filter *filter; /* of the child; NULL: for the server */
        uint32_t pid;
};

static void emit(struct program *program, struct sock_filter instruction)
{
        if (program->count < PROGRAM_LIMIT)
                program->list[program->count] = instruction;
        program->count++;
}

static void load(struct program *program, size_t offset)
{
        emit(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* The low half of an argument; both architectures are little-endian. */
static void load_argument(struct program *program, unsigned index)
{
        load(program, offsetof(struct seccomp_data, args) + 8 * (size_t)index);
}

static void end(struct program *program, uint32_t verdict)
{
        emit(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

static void allow(struct program *program)
{
        end(program, SECCOMP_RET_ALLOW);
}

static void refuse(struct program *program, int number)
{
        end(program, SECCOMP_RET_ERRNO | (uint32_t)number);
}

static void allow_if_equal(struct program *program, uint32_t value)
{
        emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
        allow(program);
}

static void allow_if_below(struct program *program, uint32_t value)
{
        emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, 1, 0));
        allow(program);
}

static void refuse_if_set(struct program *program, uint32_t bits, int number)
{
        emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
        refuse(program, number);
}

static void check_clone(struct program *program)
{
        const uint32_t namespaces =
                CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

        load_argument(program, 0);
        refuse_if_set(program, namespaces, EPERM);
        if (program->filter->processes) {
                allow(program);
                return;
        }
        if (program->filter->threads) {
                emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1));
                allow(program);
        }
        refuse(program, EPERM);
}

/* IP over streams and datagrams; and the netlink socket with which the resolver asks for the machine's addresses. */
static void check_socket(struct program *program)
{
        if (program->filter->network) {
                load_argument(program, 0);
                allow_if_equal(program, AF_INET);
                allow_if_equal(program, AF_INET6);
                emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3));
                load_argument(program, 2);
                allow_if_equal(program, 0); /* NETLINK_ROUTE */
        }
        refuse(program, EPERM);
}

static void check_values(struct program *program, unsigned argument, const uint32_t *values, size_t count, int otherwise)
{
        load_argument(program, argument);
        for (size_t i = 0; i < count; i++)
                allow_if_equal(program, values[i]);
        refuse(program, otherwise);
}

static void check_fcntl(struct program *program)
{
        /* Duplicating, flags, locks; not F_SETOWN and F_SETSIG, which send signals, and not seals. */
        load_argument(program, 1);
        allow_if_below(program, 8);
        allow_if_equal(program, 36); /* F_OFD_GETLK, SETLK, SETLKW */
        allow_if_equal(program, 37);
        allow_if_equal(program, 38);
        allow_if_equal(program, 1030); /* F_DUPFD_CLOEXEC */
        refuse(program, EINVAL);
}

static void check(struct program *program, enum action action)
{
        static const uint32_t prctls[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, 0x53564d41 /* PR_SET_VMA */ };
        static const uint32_t ioctls[] = { 0x541b /* FIONREAD */, 0x5421 /* FIONBIO */, 0x5450, 0x5451 /* FIONCLEX, FIOCLEX */ };

        switch (action) {
        case CHECK_SELF:
                check_values(program, 0, &program->pid, 1, EPERM);
                break;
        case CHECK_LIMIT:
                check_values(program, 0, (uint32_t[]){ 0, program->pid }, 2, EPERM);
                break;
        case CHECK_CLONE:
                check_clone(program);
                break;
        case CHECK_SOCKET:
                check_socket(program);
                break;
        case CHECK_PRCTL:
                check_values(program, 0, prctls, sizeof(prctls) / sizeof(prctls[0]), EPERM);
                break;
        case CHECK_IOCTL:
                check_values(program, 1, ioctls, sizeof(ioctls) / sizeof(ioctls[0]), ENOTTY);
                break;
        case CHECK_FCNTL:
                check_fcntl(program);
                break;
        case CHECK_TIMES:
                /* A null path in both halves. */
                load(program, offsetof(struct seccomp_data, args) + 8 + 4);
                emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2));
                load_argument(program, 1);
                allow_if_equal(program, 0);
                refuse(program, EPERM);
                break;
        default:
                refuse(program, ENOSYS);
        }
}

static void leaf(struct program *program, enum action action)
{
        const struct job_filter *filter = program->filter;

        switch (action) {
        case ALLOWED:
                allow(program);
                break;
        case REFUSED:
        case FOR_SERVER:
                refuse(program, EPERM);
                break;
        case WITH_FILES:
                filter->files ? allow(program) : refuse(program, EACCES);
                break;
        case WITH_NETWORK:
                filter->network ? allow(program) : refuse(program, EPERM);
                break;
        case WITH_THREADS:
                filter->threads ? allow(program) : refuse(program, EPERM);
                break;
        case WITH_PROCESSES:
                filter->processes ? allow(program) : refuse(program, EPERM);
                break;
        default:
                check(program, action);
        }
}

/* From this number up to that of the next span. */
struct span {
        uint32_t start;
        enum action action;
};

static int compare_calls(const void *a, const void *b)
{
        return ((const struct call *)a)->number - ((const struct call *)b)->number;
}

/* Neighbours with the same action are one span. */
static size_t span_add(struct span *spans, size_t count, uint32_t start, enum action action)
{
        if (count == 0 || spans[count - 1].action != action)
                spans[count++] = (struct span){ start, action };
        return count;
}

/* What this program has to say about a call, where the other one does not have the last word. */
static enum action action_of(bool child, enum action action)
{
        bool for_all = action == MISSING || action == REFUSED || action == ALLOWED;

        if (child)
                return for_all ? ALLOWED : action;
        return for_all ? action : ALLOWED;
}

static size_t spans_of(bool child, struct span *spans)
{
        struct call sorted[CALL_COUNT];
        size_t count = 0;
        uint32_t next = 0;

        for (size_t i = 0; i < CALL_COUNT; i++)
                sorted[i] = calls[i];
        qsort(sorted, CALL_COUNT, sizeof(sorted[0]), compare_calls);
        for (size_t i = 0; i < CALL_COUNT; i++) {
                uint32_t number = (uint32_t)sorted[i].number;

                if (number > next)
                        count = span_add(spans, count, next, action_of(child, MISSING));
                count = span_add(spans, count, number, action_of(child, sorted[i].action));
                next = number + 1;
        }
        return span_add(spans, count, next, action_of(child, MISSING));
}

static void search(struct program *program, const struct span *spans, size_t count)
{
        size_t half = count / 2;
        unsigned short jump;

        if (count == 1) {
                leaf(program, spans[0].action);
                return;
        }
        /* At or above the middle: over the lower half. The jump is written once its length is known. */
        emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, spans[half].start, 0, 1));
        jump = program->count;
        emit(program, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
        search(program, spans, half);
        if (jump < PROGRAM_LIMIT)
                program->list[jump].k = (uint32_t)(program->count - jump - 1);
        search(program, spans + half, count - half);
}

bool job_filter_supported(void)
{
        uint32_t verdict = SECCOMP_RET_ERRNO;

        return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &verdict) == 0;
}

/* Those of the children's programs, sorted before the first fork. */
static struct span child_spans[2 * CALL_COUNT + 1];
static size_t child_span_count;

static int attach(struct program *program, const struct span *spans, size_t count, struct error *err)
{
        struct sock_fprog attached = { .filter = program->list };

        load(program, offsetof(struct seccomp_data, nr));
        search(program, spans, count);
        if (program->count > PROGRAM_LIMIT)
                return error_set(err, ERROR_INTERNAL, "confine a job: a seccomp program of %u instructions", program->count);
        attached.len = program->count;
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &attached) < 0)
                return error_set_errno(err, errno, "confine a job: seccomp");
        return 0;
}

int job_filter_install_server(struct error *err)
{
        struct span spans[2 * CALL_COUNT + 1];
        struct program program;

        program.count = 0;
        program.filter = NULL;
        program.pid = 0;
        child_span_count = spans_of(true, child_spans);
        load(&program, offsetof(struct seccomp_data, arch));
        emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
        end(&program, SECCOMP_RET_KILL_PROCESS);
        return attach(&program, spans, spans_of(false, spans), err);
}

int job_filter_install(const struct job_filter *filter, struct error *err)
{
        struct program program; /* large, and written before it is read */

        program.count = 0;
        program.filter = filter;
        program.pid = (uint32_t)getpid();
        return attach(&program, child_spans, child_span_count, err);
}
