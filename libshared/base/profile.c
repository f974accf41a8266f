#include "base/profile.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/stack.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>

#define PERIOD_US    10000
#define DEPTH        32
#define SAMPLE_LIMIT 8192
/* The handler and what calls it. */
#define OWN_FRAMES 2

struct sample {
        char thread[16];
        int depth;
        void *frames[DEPTH]; /* innermost first */
};

static struct {
        pthread_mutex_t lock; /* of all but what the handler touches */
        _Atomic(struct sample *) samples;
        _Atomic size_t count;
        _Atomic int inside; /* handlers that may be writing */
        int64_t end_ms;
} profile = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void take_sample(int number)
{
        int saved = errno;
        struct sample *samples;

        (void)number;
        atomic_fetch_add(&profile.inside, 1);
        samples = atomic_load(&profile.samples);
        if (samples) {
                size_t at = atomic_fetch_add(&profile.count, 1);

                if (at < SAMPLE_LIMIT) {
                        prctl(PR_GET_NAME, samples[at].thread);
                        samples[at].depth = backtrace(samples[at].frames, DEPTH);
                }
        }
        atomic_fetch_sub(&profile.inside, 1);
        errno = saved;
}

static void set_timer(long period_us)
{
        const struct itimerval timer = { .it_interval.tv_usec = period_us, .it_value.tv_usec = period_us };

        setitimer(ITIMER_PROF, &timer, NULL);
}

/* With the lock held; 0: there is none. Late is fine: what a sample costs, it costs only while the process works. */
static int state(void)
{
        if (!atomic_load(&profile.samples))
                return 0;
        if (clock_now_ms() < profile.end_ms)
                return PROFILE_RUNNING;
        set_timer(0);
        return PROFILE_FINISHED;
}

int profile_start(unsigned seconds)
{
        struct sigaction action = { .sa_handler = take_sample, .sa_flags = SA_RESTART };
        void *frames[1];
        int now;

        if (seconds > PROFILE_SECONDS_LIMIT)
                seconds = PROFILE_SECONDS_LIMIT;
        pthread_mutex_lock(&profile.lock);
        now = state();
        if (now == 0) {
                backtrace(frames, 1); /* loads what it needs now: in a handler it could not */
                sigemptyset(&action.sa_mask);
                sigaction(SIGPROF, &action, NULL);
                profile.end_ms = clock_now_ms() + (int64_t)seconds * 1000;
                atomic_store(&profile.count, 0);
                atomic_store(&profile.samples, memory_zero(SAMPLE_LIMIT, sizeof(struct sample)));
                set_timer(PERIOD_US);
        }
        pthread_mutex_unlock(&profile.lock);
        return now;
}

static int by_stack(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct sample));
}

static void print_sample(const struct sample *sample, size_t count, struct buffer *text)
{
        buffer_add_string(text, sample->thread);
        for (int i = sample->depth - 1; i >= OWN_FRAMES; i--) {
                buffer_add_char(text, ';');
                stack_print_frame(sample->frames[i], text);
        }
        buffer_printf(text, " %zu\n", count);
}

struct stack {
        const struct sample *sample;
        size_t count;
};

static int by_count(const void *a, const void *b)
{
        const struct stack *one = a, *other = b;

        return one->count != other->count ? (one->count < other->count ? 1 : -1)
                                          : (one->sample > other->sample) - (one->sample < other->sample);
}

static void print(struct sample *samples, size_t count, struct buffer *text)
{
        struct stack *stacks = memory_zero(count + 1, sizeof(*stacks));
        size_t different = 0;

        qsort(samples, count, sizeof(*samples), by_stack);
        for (size_t i = 0; i < count; i++) {
                if (i == 0 || by_stack(&samples[i], &samples[i - 1]) != 0)
                        stacks[different++].sample = &samples[i];
                stacks[different - 1].count++;
        }
        qsort(stacks, different, sizeof(*stacks), by_count);
        for (size_t i = 0; i < different; i++)
                print_sample(stacks[i].sample, stacks[i].count, text);
        free(stacks);
}

void profile_take(struct buffer *text)
{
        struct sample *samples;
        size_t count;

        pthread_mutex_lock(&profile.lock);
        set_timer(0);
        samples = atomic_exchange(&profile.samples, NULL);
        while (atomic_load(&profile.inside))
                sched_yield(); /* for the microseconds that a stack takes */
        count = atomic_load(&profile.count);
        if (samples)
                print(samples, count < SAMPLE_LIMIT ? count : SAMPLE_LIMIT, text);
        free(samples);
        pthread_mutex_unlock(&profile.lock);
}
