/*
 * The end of a process that has a fault: one line that says what ran, and a mark that outlives it, so that an object which ends the controller
 * twice is left alone. Everything a handler needs is there before it is needed.
 */
#include "kube/program_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAME_COUNT 48
#define STACK_SIZE  ((size_t)32 << 10)
#define MARKS_LIMIT ((size_t)64 << 10)

static struct {
        char path[256];
        struct buffer marks; /* what the file held at start: one line a crash */
} crash;

static __thread const char *volatile running;
static __thread void *signal_stack;

static void put(int fd, const char *text)
{
        ssize_t ignored = write(fd, text, strlen(text));

        (void)ignored;
}

static void on_fault(int number)
{
        const char *what = running;
        void *frames[FRAME_COUNT];
        char time[TIME_TEXT];

        put(STDERR_FILENO, "{\"level\":\"error\",\"ts\":\"");
        put(STDERR_FILENO, time_print_ms(clock_wall_us(), time));
        put(STDERR_FILENO, "\",\"msg\":\"crashed\",\"error\":\"signal ");
        put(STDERR_FILENO, sigabbrev_np(number));
        put(STDERR_FILENO, "\",\"object\":\"");
        put(STDERR_FILENO, what ? what : "");
        put(STDERR_FILENO, "\"}\n");
        backtrace_symbols_fd(frames, backtrace(frames, FRAME_COUNT), STDERR_FILENO);
        if (what) {
                int fd = open(crash.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

                if (fd >= 0) {
                        put(fd, what);
                        put(fd, "\n");
                }
        }
        _exit(2);
}

static void read_marks(void)
{
        cleanup(close_descriptor) int fd = open(crash.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        char chunk[4096];
        ssize_t length;

        crash.marks = BUFFER_LIMIT(MARKS_LIMIT);
        while (fd >= 0 && (length = read(fd, chunk, sizeof(chunk))) > 0)
                buffer_add(&crash.marks, chunk, (size_t)length);
}

void crash_setup(const char *program)
{
        static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
        struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_RESETHAND };
        const char *folder = getenv("TMPDIR");
        void *frames[1];

        snprintf(crash.path, sizeof(crash.path), "%s/%s.crashes", folder && *folder ? folder : "/tmp", program);
        read_marks();
        backtrace(frames, 1); /* loads what it needs now: in a handler it could not */
        sigemptyset(&action.sa_mask);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
                sigaction(numbers[i], &action, NULL);
}

void crash_running(const char *text)
{
        running = text;
}

void crash_thread_begin(void)
{
        stack_t stack = { .ss_size = STACK_SIZE };

        /* Pages of its own, which take no memory until there is a fault. */
        signal_stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (signal_stack == MAP_FAILED)
                memory_exhausted();
        stack.ss_sp = signal_stack;
        sigaltstack(&stack, NULL);
}

void crash_thread_end(void)
{
        stack_t none = { .ss_flags = SS_DISABLE };

        sigaltstack(&none, NULL);
        munmap(signal_stack, STACK_SIZE);
        signal_stack = NULL;
}

unsigned crash_count(const char *text)
{
        struct view rest = buffer_view(&crash.marks), line;
        unsigned count = 0;

        while (view_split(&rest, '\n', &line))
                count += view_is(line, text);
        return count;
}
