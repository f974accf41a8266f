/*
 * What the process is and uses, from /proc, at scrape time.
 */
#include "base/metrics.h"

#include "base/clock.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
        struct metric *cpu, *resident, *virtual_size, *virtual_max, *open_fds, *max_fds, *start, *allocated;
} process;

static double open_descriptors(void)
{
        DIR *folder = opendir("/proc/self/fd");
        double count = -3; /* ".", ".." and the folder itself */

        if (!folder)
                return 0;
        while (readdir(folder))
                count++;
        closedir(folder);
        return count;
}

static double limit_of(rlim_t limit)
{
        return limit == RLIM_INFINITY ? -1 : (double)limit;
}

/* Fields 22 (start, in ticks since boot), 23 (bytes) and 24 (pages) of /proc/self/stat; the name in field 2 may hold anything, so count from its end. */
static void read_stat(double *ret_start_ticks, double *ret_virtual, double *ret_resident_pages)
{
        char text[1024];
        FILE *file = fopen("/proc/self/stat", "re");
        size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
        char *p;

        *ret_start_ticks = *ret_virtual = *ret_resident_pages = 0;
        if (file)
                fclose(file);
        text[length] = '\0';
        p = strrchr(text, ')');
        for (int field = 3; p && field <= 24; field++) {
                p = strchr(p + 1, ' ');
                if (!p)
                        return;
                if (field == 22)
                        *ret_start_ticks = strtod(p + 1, NULL);
                else if (field == 23)
                        *ret_virtual = strtod(p + 1, NULL);
                else if (field == 24)
                        *ret_resident_pages = strtod(p + 1, NULL);
        }
}

static void collect(void *argument)
{
        struct rusage self = { 0 };
        struct rlimit files = { 0 }, space = { 0 };
        struct mallinfo2 heap = mallinfo2();
        double start, size, pages, boot;

        (void)argument;
        getrusage(RUSAGE_SELF, &self);
        getrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_AS, &space);
        read_stat(&start, &size, &pages);
        boot = (double)clock_wall_us() / 1e6 - (double)clock_now_ns() / 1e9;
        metric_set(process.cpu,
                   (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) +
                           (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec) / 1e6,
                   METRIC_NO_VALUES);
        metric_set(process.resident, pages * (double)sysconf(_SC_PAGESIZE), METRIC_NO_VALUES);
        metric_set(process.virtual_size, size, METRIC_NO_VALUES);
        metric_set(process.virtual_max, limit_of(space.rlim_cur), METRIC_NO_VALUES);
        metric_set(process.open_fds, open_descriptors(), METRIC_NO_VALUES);
        metric_set(process.max_fds, limit_of(files.rlim_cur), METRIC_NO_VALUES);
        metric_set(process.start, boot + start / (double)sysconf(_SC_CLK_TCK), METRIC_NO_VALUES);
        metric_set(process.allocated, (double)(heap.uordblks + heap.hblkhd), METRIC_NO_VALUES);
}

static struct metric *plain(enum metric_type type, const char *name, const char *help)
{
        return metric_new(type, name, help, NULL, 0, NULL, 0);
}

void metrics_register_process(void)
{
        static const char *const version_label[] = { "version" };

        process.cpu = plain(METRIC_COUNTER, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
        process.resident = plain(METRIC_GAUGE, "process_resident_memory_bytes", "Resident memory size in bytes.");
        process.virtual_size = plain(METRIC_GAUGE, "process_virtual_memory_bytes", "Virtual memory size in bytes.");
        process.virtual_max =
                plain(METRIC_GAUGE, "process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.");
        process.open_fds = plain(METRIC_GAUGE, "process_open_fds", "Number of open file descriptors.");
        process.max_fds = plain(METRIC_GAUGE, "process_max_fds", "Maximum number of open file descriptors.");
        process.start = plain(METRIC_GAUGE, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
        process.allocated = plain(METRIC_GAUGE, "go_memstats_alloc_bytes", "Number of bytes allocated and still in use.");
        metric_set(metric_new(METRIC_GAUGE, "go_info", "Information about the environment, for dashboards that list controllers.",
                              version_label, 1, NULL, 0),
                   1, METRIC_VALUES("weir"));
        metrics_collect(collect, NULL);
}
