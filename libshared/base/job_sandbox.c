/*
 * Landlock: the child sees the files that it was granted and no others.
 *
 * The numbers are the kernel's (include/uapi/linux/landlock.h); the headers of the machine that builds may be older than the kernel that
 * runs, so they are written out. Each version of the interface knows more; what the running one does not know is left out.
 */
#include "base/job_private.h"

#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same on every architecture. */
#define CALL_CREATE_RULESET 444
#define CALL_ADD_RULE       445
#define CALL_RESTRICT_SELF  446

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

#define FS_EXECUTE      (1ull << 0)
#define FS_WRITE_FILE   (1ull << 1)
#define FS_READ_FILE    (1ull << 2)
#define FS_READ_DIR     (1ull << 3)
#define FS_REMOVE_DIR   (1ull << 4)
#define FS_REMOVE_FILE  (1ull << 5)
#define FS_MAKE_DIR     (1ull << 7)
#define FS_MAKE_REG     (1ull << 8)
#define FS_MAKE_SYM     (1ull << 12)
#define FS_REFER        (1ull << 13) /* version 2 */
#define FS_TRUNCATE     (1ull << 14) /* version 3 */
#define FS_IOCTL_DEV    (1ull << 15) /* version 5 */
#define FS_VERSION_1    ((1ull << 13) - 1)
#define NET_BIND_TCP    (1ull << 0) /* version 4 */
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ALL       3ull /* version 6: abstract sockets, signals */

#define FS_READ  (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE (FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_MAKE_SYM | FS_REFER | FS_TRUNCATE)
/* What may be said about a rule whose descriptor is a file. */
#define FS_OF_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset {
        uint64_t fs;
        uint64_t net;
        uint64_t scoped;
};

struct path_beneath {
        uint64_t access;
        int32_t parent;
} __attribute__((__packed__));

int job_landlock_version(void)
{
        long version = syscall(CALL_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);

        return version > 0 ? (int)version : 0;
}

static size_t ruleset_size(int version)
{
        return version >= 6   ? sizeof(struct ruleset)
               : version >= 4 ? offsetof(struct ruleset, scoped)
                              : offsetof(struct ruleset, net);
}

/* What is forbidden unless a rule allows it. */
static struct ruleset ruleset_of(int version, bool network)
{
        struct ruleset set = { .fs = FS_VERSION_1 };

        if (version >= 2)
                set.fs |= FS_REFER;
        if (version >= 3)
                set.fs |= FS_TRUNCATE;
        if (version >= 5)
                set.fs |= FS_IOCTL_DEV;
        if (version >= 4)
                set.net = network ? NET_BIND_TCP : NET_BIND_TCP | NET_CONNECT_TCP;
        if (version >= 6)
                set.scoped = SCOPE_ALL;
        return set;
}

static int rule_apply(int ruleset, const struct job_rule *rule, uint64_t known, bool processes, struct error *err)
{
        struct path_beneath beneath = { .access = FS_READ, .parent = rule->fd };
        struct stat status;

        if (rule->access == JOB_WRITE)
                beneath.access |= FS_WRITE;
        if (processes)
                beneath.access |= FS_EXECUTE;
        if (fstat(rule->fd, &status) < 0)
                return error_set_errno(err, errno, "confine a job: fstat");
        if (!S_ISDIR(status.st_mode))
                beneath.access &= FS_OF_FILE;
        beneath.access &= known;
        if (syscall(CALL_ADD_RULE, ruleset, RULE_PATH_BENEATH, &beneath, 0) < 0)
                return error_set_errno(err, errno, "confine a job: Landlock rule");
        return 0;
}

int job_landlock_restrict(const struct job_rule *rules, unsigned count, bool network, bool processes, struct error *err)
{
        int version = job_landlock_version(), ruleset, r = 0;
        struct ruleset set;

        if (version == 0)
                return 0;
        set = ruleset_of(version, network);
        ruleset = (int)syscall(CALL_CREATE_RULESET, &set, ruleset_size(version), 0);
        if (ruleset < 0)
                return error_set_errno(err, errno, "confine a job: Landlock");
        for (unsigned i = 0; i < count && r == 0; i++)
                r = rule_apply(ruleset, &rules[i], set.fs, processes, err);
        if (r == 0 && syscall(CALL_RESTRICT_SELF, ruleset, 0) < 0)
                r = error_set_errno(err, errno, "confine a job: Landlock");
        close(ruleset);
        return r;
}
