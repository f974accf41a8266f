/* The child: puts the walls up around itself, runs the function, writes the header of the output file. */
#include "base/job_private.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

#define DESCRIPTORS 256
/* Beside the input: page tables' rounding, a thread-local block, what the C library maps for itself. */
#define SLACK_BYTES (4u * MIB)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* What resolving a name and TLS read. Missing ones are passed over. */
static const char *const network_paths[] = {
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/host.conf",
        "/etc/nsswitch.conf",
        "/etc/gai.conf",
        "/etc/services",
        "/etc/protocols",
        "/etc/ssl",
        "/etc/pki",
        "/etc/ca-certificates",
        "/usr/share/ca-certificates",
        "/usr/lib/ssl",
        "/etc/ld.so.cache",
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/local/share/ca-certificates",
        "/etc/localtime",
        "/usr/share/zoneinfo",
};
static const char *const process_paths[] = { "/usr", "/bin", "/lib", "/lib64", "/etc" };

static int write_all(int fd, const void *data, size_t length, off_t offset, struct error *err)
{
        size_t done = 0;

        while (done < length) {
                ssize_t n = pwrite(fd, (const char *)data + done, length - done, offset + (off_t)done);

                if (n < 0 && errno != EINTR)
                        return error_set_errno(err, errno, "write a job's output");
                done += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

int job_write(struct job *job, struct view bytes, struct error *err)
{
        if (bytes.length > job->output_limit - job->output_length) {
                job->output_length = UINT64_MAX; /* noted for the header; nothing fits any more */
                job->output_limit = UINT64_MAX;
        }
        if (job->output_length == UINT64_MAX)
                return error_set(err, ERROR_TOO_LARGE, "the output of the job is over its limit");
        TRY(write_all(job->output, bytes.data, bytes.length, (off_t)(JOB_OUTPUT_OFFSET + job->output_length), err));
        job->output_length += bytes.length;
        return 0;
}

static void finish(const struct job *job, const struct error *err) __attribute__((__noreturn__));
static void finish(const struct job *job, const struct error *err)
{
        struct job_header header = { .magic = JOB_HEADER_MAGIC,
                                     .kind = (uint32_t)err->kind,
                                     .http_status = err->http_status,
                                     .retry_after_ms = err->retry_after_ms };
        const char *message = error_message(err);
        size_t length = strlen(message);

        if (job->output_length == UINT64_MAX)
                header.too_large = 1;
        else
                header.output_length = job->output_length;
        if (length > JOB_MESSAGE_LIMIT)
                length = JOB_MESSAGE_LIMIT;
        header.message_length = (uint32_t)length;
        memcpy(header.reason, err->reason, sizeof(header.reason));
        if (write_all(job->output, message, length, sizeof(header), NULL) < 0 ||
            write_all(job->output, &header, sizeof(header), 0, NULL) < 0)
                _exit(1);
        _exit(0);
}

/* Where the process itself was given less, by ulimit or a service manager, that holds. */
static int limit(int resource, uint64_t soft, uint64_t hard, struct error *err)
{
        struct rlimit value = { soft, hard }, given;

        if (getrlimit((__rlimit_resource_t)resource, &given) == 0 && given.rlim_max < hard) {
                value.rlim_max = given.rlim_max;
                value.rlim_cur = soft < given.rlim_max ? soft : given.rlim_max;
        }
        if (setrlimit((__rlimit_resource_t)resource, &value) < 0)
                return error_set_errno(err, errno, "limit resource %d of a job to %" PRIu64, resource, soft);
        return 0;
}

static int limits_set(const struct job_child *child, struct error *err)
{
        const struct job_limits *limits = &child->request->limits;
        uint64_t output = JOB_OUTPUT_OFFSET + limits->output_bytes;
        uint64_t cpu = (uint64_t)(limits->cpu_ms + 999) / 1000;
        uint64_t file = limits->file_bytes > output ? limits->file_bytes : output;

        TRY(limit(RLIMIT_AS, child->mapped_bytes + SLACK_BYTES + child->request->input_length + limits->memory_bytes,
                  child->mapped_bytes + SLACK_BYTES + child->request->input_length + limits->memory_bytes, err));
        TRY(limit(RLIMIT_FSIZE, file, file, err));
        TRY(limit(RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS, err));
        TRY(limit(RLIMIT_CORE, 0, 0, err));
        if (cpu)
                TRY(limit(RLIMIT_CPU, cpu, cpu + 1, err));
        return 0;
}

struct rules {
        struct job_rule list[JOB_DESCRIPTOR_LIMIT + JOB_PATH_LIMIT + 32];
        unsigned count;
};

static void rule_add(struct rules *rules, int fd, enum job_access access)
{
        if (rules->count < sizeof(rules->list) / sizeof(rules->list[0]))
                rules->list[rules->count++] = (struct job_rule){ fd, access };
}

static void rules_optional(struct rules *rules, const char *const *paths, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                int fd = open(paths[i], O_PATH | O_CLOEXEC);

                if (fd >= 0)
                        rule_add(rules, fd, JOB_READ);
        }
}

/* Where certificates are instead of in the places above. */
static void rules_certificates(struct rules *rules)
{
        const char *file = getenv("SSL_CERT_FILE"), *directories = getenv("SSL_CERT_DIR");
        struct view rest = view_of(directories), path;

        if (file)
                rules_optional(rules, &file, 1);
        while (view_split(&rest, ':', &path)) {
                char *name = memory_string_n(path.data, path.length);

                rules_optional(rules, (const char *const *)&name, 1);
                free(name);
        }
}

static int rules_granted(struct rules *rules, const struct job_request *request, const int *granted, struct error *err)
{
        const char *entry = request->paths;

        for (unsigned i = 0; i < request->descriptor_count; i++)
                if (request->access[i] != JOB_HANDLE)
                        rule_add(rules, granted[i], (enum job_access)request->access[i]);
        for (unsigned i = 0; i < request->path_count; i++) {
                enum job_access access = (enum job_access) * entry++;
                int fd = open(entry, O_PATH | O_CLOEXEC);

                if (fd < 0)
                        return error_set_errno(err, errno, "grant a job %s", entry);
                rule_add(rules, fd, access);
                entry += strlen(entry) + 1;
        }
        return 0;
}

void job_descriptors_close(unsigned first, unsigned last)
{
        if (close_range(first, last, 0) == 0)
                return;
        /* Linux before 5.9 */
        for (unsigned fd = first; fd <= last && fd < (unsigned)sysconf(_SC_OPEN_MAX); fd++)
                close((int)fd);
}

/* Descriptors of the child from 3 on: the output and the granted ones; all others are closed. */
static int compare_descriptors(const void *a, const void *b)
{
        return *(const int *)a - *(const int *)b;
}

static void close_others(const int *kept, unsigned count)
{
        int sorted[JOB_OWN_DESCRIPTORS + JOB_DESCRIPTOR_LIMIT];
        unsigned next = STDERR_FILENO + 1;

        memcpy(sorted, kept, count * sizeof(int));
        qsort(sorted, count, sizeof(int), compare_descriptors);
        for (unsigned i = 0; i < count; i++) {
                if ((unsigned)sorted[i] > next)
                        job_descriptors_close(next, (unsigned)sorted[i] - 1);
                next = (unsigned)sorted[i] + 1;
        }
        job_descriptors_close(next, ~0u);
}

/* A child, not the controller, is what the kernel ends first when the container is out of memory. */
static void first_to_go(void)
{
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return;
        if (write(fd, "1000", 4) < 0)
                errno = 0; /* it is as it was, and the limits still hold */
        close(fd);
}

static int sandbox(const struct job_child *child, const int *granted, struct error *err)
{
        const struct job_request *request = child->request;
        struct job_filter filter = { .network = request->network, .threads = request->threads, .processes = request->processes };
        struct rules rules = { .count = 0 };
        int kept[1 + JOB_DESCRIPTOR_LIMIT];

        TRY(rules_granted(&rules, request, granted, err));
        if (request->network) {
                rules_optional(&rules, network_paths, sizeof(network_paths) / sizeof(network_paths[0]));
                rules_certificates(&rules);
        }
        if (request->processes)
                rules_optional(&rules, process_paths, sizeof(process_paths) / sizeof(process_paths[0]));
        filter.files = rules.count > 0;
        first_to_go();
        TRY(limits_set(child, err));
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        TRY(job_landlock_restrict(rules.list, rules.count, request->network, request->processes, err));
        kept[0] = child->descriptors[0];
        memcpy(kept + 1, granted, request->descriptor_count * sizeof(int));
        close_others(kept, 1u + request->descriptor_count);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        return job_filter_install(&filter, err);
}

static int input_map(const struct job_child *child, struct view *ret_input, struct error *err)
{
        uint64_t length = child->request->input_length;
        void *data;

        if (!length)
                return 0;
        data = mmap(NULL, length, PROT_READ, MAP_PRIVATE, child->descriptors[1], 0);
        if (data == MAP_FAILED)
                return error_set_errno(err, errno, "map a job's input");
        *ret_input = (struct view){ data, length };
        return 0;
}

void job_child_run(const struct job_child *child)
{
        const struct job_request *request = child->request;
        const int *granted = child->descriptors + (request->input_length ? 2 : 1);
        struct job job = { .output = child->descriptors[0],
                           .output_limit = request->limits.output_bytes,
                           .descriptors = granted,
                           .descriptor_count = request->descriptor_count };
        struct error err = ERROR_NULL;
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (getppid() != child->server)
                _exit(1);
        setpgid(0, 0);
        prctl(PR_SET_NAME, "job", 0, 0, 0);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (!SANITIZED) /* a sanitizer's report is worth reading */
                dup2(child->null, STDERR_FILENO);

        if (input_map(child, &job.input, &err) < 0 || sandbox(child, granted, &err) < 0)
                finish(&job, &err);
        switch (request->fn(&job, &err)) {
        case 0:
                error_release(&err);
                break;
        case -1:
                if (err.kind == ERROR_NONE)
                        error_set(&err, ERROR_INTERNAL, "a job failed without saying why");
                break;
        default:
                error_set(&err, ERROR_INTERNAL, "a job ended with an outcome that job_run cannot pass on");
        }
        finish(&job, &err);
}
