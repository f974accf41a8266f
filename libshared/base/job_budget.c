/*
 * The memory limit of the control groups that this process is in, of either version. In a container they begin at the root of what is mounted; a path that
 * is the host's is shortened until there is something.
 */
#include "base/job_private.h"

#include "base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT          "/sys/fs/cgroup"
#define GROUPS        "/proc/self/cgroup"
#define NO_LIMIT      (1ull << 50)  /* what the kernel shows where there is none is near 2^63 */
#define RESERVE_SHARE 8             /* of the limit an eighth is the process's own, */
#define RESERVE_LEAST (64ull << 20) /* and no less than that */
#define BUDGET_LEAST  (64ull << 20) /* with less no job does its work */

/* UINT64_MAX: no file, or no limit. */
static uint64_t read_limit(const char *folder, const char *name)
{
        char path[PATH_MAX], text[64] = "", *end;
        unsigned long long limit;
        FILE *file;

        if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
                return UINT64_MAX;
        file = fopen(path, "re");
        if (!file)
                return UINT64_MAX;
        if (!fgets(text, sizeof(text), file))
                text[0] = '\0';
        fclose(file);
        errno = 0;
        limit = strtoull(text, &end, 10);
        return end == text || errno || limit >= NO_LIMIT ? UINT64_MAX : limit;
}

/* The least of the group's and those above it. */
static uint64_t limit_above(const char *root, const char *group, const char *name)
{
        char folder[PATH_MAX];
        size_t length = strlen(root);
        uint64_t least = UINT64_MAX;
        char *slash;

        if (snprintf(folder, sizeof(folder), "%s%s", root, group) >= (int)sizeof(folder))
                return UINT64_MAX;
        for (;;) {
                uint64_t limit = read_limit(folder, name);

                least = limit < least ? limit : least;
                slash = strrchr(folder + length, '/');
                if (!slash)
                        return least;
                *slash = '\0';
        }
}

static bool lists_memory(struct view controllers)
{
        struct view name;

        while (view_split(&controllers, ',', &name))
                if (view_is(name, "memory"))
                        return true;
        return false;
}

uint64_t job_group_limit(struct view groups, const char *root)
{
        uint64_t least = UINT64_MAX, limit;
        char memory[PATH_MAX];
        struct view line;

        snprintf(memory, sizeof(memory), "%s/memory", root);
        while (view_split(&groups, '\n', &line)) { /* "4:cpu,memory:/path", "0::/path" */
                struct view number, controllers;
                char group[PATH_MAX];

                if (!view_split(&line, ':', &number) || !view_split(&line, ':', &controllers) || !number.length)
                        continue;
                snprintf(group, sizeof(group), "%.*s", VIEW_ARGS(line));
                if (!controllers.length)
                        limit = limit_above(root, group, "memory.max");
                else if (lists_memory(controllers))
                        limit = limit_above(memory, group, "memory.limit_in_bytes");
                else
                        continue;
                least = limit < least ? limit : least;
        }
        return least;
}

uint64_t job_budget_of(uint64_t limit)
{
        uint64_t reserve = limit / RESERVE_SHARE < RESERVE_LEAST ? RESERVE_LEAST : limit / RESERVE_SHARE;

        if (limit == UINT64_MAX)
                return UINT64_MAX;
        return limit < reserve + BUDGET_LEAST ? BUDGET_LEAST : limit - reserve;
}

static uint64_t budget;

static void find_budget(void)
{
        cleanup(buffer_release) struct buffer groups = BUFFER_LIMIT(1 << 16);
        char chunk[4096];
        size_t length;
        FILE *file = fopen(GROUPS, "re");

        while (file && (length = fread(chunk, 1, sizeof(chunk), file)) > 0)
                buffer_add(&groups, chunk, length);
        if (file)
                fclose(file);
        budget = job_budget_of(job_group_limit(buffer_view(&groups), ROOT));
}

uint64_t job_memory_budget(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, find_budget);
        return budget;
}
