#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEGMENTS_LIMIT 8

#define LINE(message) "{\"level\":\"error\",\"msg\":\"" message "\"}\n"

/* Nothing but what needs no memory. */
static void end(const char *line) __attribute__((__noreturn__));
static void end(const char *line)
{
        if (write(STDERR_FILENO, line, strlen(line)) < 0)
                _exit(71);
        _exit(70);
}

void memory_exhausted(void)
{
        end(LINE("out of memory"));
}

void descriptors_exhausted(void)
{
        end(LINE("out of file descriptors: raise ulimit -n"));
}

void threads_exhausted(void)
{
        end(LINE("no thread can be started: raise the limit of processes (the container's pids, ulimit -u)"));
}

void *memory_allocate(size_t size)
{
        void *p = malloc(size ? size : 1);

        if (!p)
                memory_exhausted();
        return p;
}

void *memory_zero(size_t count, size_t size)
{
        void *p = calloc(count ? count : 1, size ? size : 1);

        if (!p)
                memory_exhausted();
        return p;
}

void *memory_resize(void *old, size_t count, size_t size)
{
        size_t total;
        void *p;

        if (__builtin_mul_overflow(count, size, &total))
                memory_exhausted();
        p = realloc(old, total ? total : 1);
        if (!p)
                memory_exhausted();
        return p;
}

char *memory_string_n(const char *data, size_t length)
{
        char *p;

        if (length == SIZE_MAX)
                memory_exhausted();
        p = memory_allocate(length + 1);
        if (length)
                memcpy(p, data, length);
        p[length] = '\0';
        return p;
}

char *memory_string(const char *string)
{
        return memory_string_n(string, strlen(string));
}

char *memory_printf(const char *format, ...)
{
        va_list arguments;
        char *p = NULL;
        int r;

        va_start(arguments, format);
        r = vasprintf(&p, format, arguments);
        va_end(arguments);
        if (r < 0)
                memory_exhausted();
        return p;
}

void memory_tune(void)
{
        mallopt(M_ARENA_MAX, 1);
        mallopt(M_MMAP_THRESHOLD, 32 << 10);
        mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

void memory_trim(void)
{
        malloc_trim(0);
}

/*
 * Only what is never written: a relocation is part of a writable segment, also where it is read-only from then on. The table of segments lies in one of them,
 * and is not looked into after that.
 */
static int unmap_segments(struct dl_phdr_info *object, size_t size, void *data)
{
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        struct {
                uintptr_t start, end;
        } spans[SEGMENTS_LIMIT];
        unsigned count = 0;

        (void)size;
        (void)data;
        if (object->dlpi_addr == getauxval(AT_SYSINFO_EHDR)) /* of the kernel's, not of a file */
                return 0;
        for (unsigned i = 0; i < object->dlpi_phnum && count < SEGMENTS_LIMIT; i++) {
                const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
                uintptr_t start = (uintptr_t)object->dlpi_addr + segment->p_vaddr;

                if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
                        continue;
                spans[count].start = start & ~(page - 1);
                spans[count++].end = start + segment->p_memsz;
        }
        for (unsigned i = 0; i < count; i++)
                madvise((void *)spans[i].start, spans[i].end - spans[i].start, MADV_DONTNEED);
        return 0;
}

void memory_rest(void)
{
        memory_trim();
        dl_iterate_phdr(unmap_segments, NULL);
}
