#include "base/metrics.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/pool.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTOR_LIMIT 16

/* The label values are kept as one text of NUL-terminated pieces: comparing it is comparing them all, in order. */
struct series {
        const char *values; /* behind the buckets */
        size_t values_length;
        double value; /* counter, gauge; the sum of a histogram */
        uint64_t count;
        uint64_t buckets[];
};

struct metric {
        struct metric *next;
        enum metric_type type;
        const char *name, *help;
        const char *const *labels;
        size_t label_count;
        const double *bounds;
        size_t bound_count;
        struct series **series; /* sorted by values */
        size_t series_count, series_capacity;
};

static struct {
        pthread_mutex_t lock;
        struct metric *first, **last;
        uint64_t dropped;
        size_t collector_count;
        struct {
                void (*function)(void *argument);
                void *argument;
        } collectors[COLLECTOR_LIMIT];
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER, .last = &registry.first };

struct metric *metric_new(enum metric_type type, const char *name, const char *help, const char *const *labels, size_t label_count,
                          const double *buckets, size_t bucket_count)
{
        struct metric *metric = memory_zero(1, sizeof(*metric));

        *metric = (struct metric){ .type = type,
                                   .name = name,
                                   .help = help,
                                   .labels = labels,
                                   .label_count = label_count > METRIC_LABELS ? METRIC_LABELS : label_count,
                                   .bounds = buckets,
                                   .bound_count = bucket_count };
        pthread_mutex_lock(&registry.lock);
        *registry.last = metric;
        registry.last = &metric->next;
        pthread_mutex_unlock(&registry.lock);
        return metric;
}

static struct buffer join_values(const struct metric *metric, const char *const *values)
{
        struct buffer joined = BUFFER_NULL;

        for (size_t i = 0; i < metric->label_count; i++) {
                buffer_add_string(&joined, values[i] ? values[i] : "");
                buffer_add_char(&joined, '\0');
        }
        return joined;
}

/* Index of the series, or where it belongs if *ret_found is false. */
static size_t locate(const struct metric *metric, struct view values, bool *ret_found)
{
        size_t low = 0, high = metric->series_count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = view_compare((struct view){ metric->series[middle]->values, metric->series[middle]->values_length },
                                         values);

                if (order == 0) {
                        *ret_found = true;
                        return middle;
                }
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        *ret_found = false;
        return low;
}

/* With the lock held; NULL if the metric is full. */
static struct series *series_of(struct metric *metric, const char *const *values)
{
        struct buffer joined = join_values(metric, values);
        bool found;
        size_t at = locate(metric, buffer_view(&joined), &found);
        struct series *series;

        if (found) {
                buffer_release(&joined);
                return metric->series[at];
        }
        if (metric->series_count == METRIC_SERIES_LIMIT) {
                buffer_release(&joined);
                registry.dropped++;
                return NULL;
        }
        if (metric->series_count == metric->series_capacity) {
                metric->series_capacity = metric->series_capacity ? metric->series_capacity * 2 : 4;
                metric->series = memory_resize(metric->series, metric->series_capacity, sizeof(*metric->series));
        }
        series = pool_allocate(sizeof(*series) + metric->bound_count * sizeof(series->buckets[0]) + joined.length);
        series->values_length = joined.length;
        series->values = (const char *)&series->buckets[metric->bound_count];
        if (joined.length)
                memcpy(&series->buckets[metric->bound_count], joined.data, joined.length);
        buffer_release(&joined);
        memmove(&metric->series[at + 1], &metric->series[at], (metric->series_count - at) * sizeof(*metric->series));
        metric->series[at] = series;
        metric->series_count++;
        return series;
}

void metric_add(struct metric *metric, double amount, const char *const *values)
{
        struct series *series;

        pthread_mutex_lock(&registry.lock);
        series = series_of(metric, values);
        if (series)
                series->value += amount;
        pthread_mutex_unlock(&registry.lock);
}

void metric_set(struct metric *metric, double value, const char *const *values)
{
        struct series *series;

        pthread_mutex_lock(&registry.lock);
        series = series_of(metric, values);
        if (series)
                series->value = value;
        pthread_mutex_unlock(&registry.lock);
}

void metric_observe(struct metric *metric, double value, const char *const *values)
{
        struct series *series;

        pthread_mutex_lock(&registry.lock);
        series = series_of(metric, values);
        if (series) {
                series->value += value;
                series->count++;
                for (size_t i = 0; i < metric->bound_count; i++) {
                        if (value <= metric->bounds[i]) {
                                series->buckets[i]++;
                                break;
                        }
                }
        }
        pthread_mutex_unlock(&registry.lock);
}

void metric_remove(struct metric *metric, const char *const *values)
{
        struct buffer joined = join_values(metric, values);
        bool found;
        size_t at;

        pthread_mutex_lock(&registry.lock);
        at = locate(metric, buffer_view(&joined), &found);
        if (found) {
                pool_free(metric->series[at]);
                metric->series_count--;
                memmove(&metric->series[at], &metric->series[at + 1], (metric->series_count - at) * sizeof(*metric->series));
        }
        pthread_mutex_unlock(&registry.lock);
        buffer_release(&joined);
}

void metrics_collect(void (*collector)(void *argument), void *argument)
{
        pthread_mutex_lock(&registry.lock);
        if (registry.collector_count < COLLECTOR_LIMIT) {
                registry.collectors[registry.collector_count].function = collector;
                registry.collectors[registry.collector_count++].argument = argument;
        }
        pthread_mutex_unlock(&registry.lock);
}

/* The shortest digits by trial: at most 17 tries, at scrape time only. */
void buffer_add_float(struct buffer *buffer, double value)
{
        char text[40], digits[24] = "";
        int exponent, precision;
        size_t count = 0;

        if (isnan(value) || isinf(value)) {
                buffer_add_string(buffer, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
                return;
        }
        for (precision = 0; precision < 17; precision++) {
                snprintf(text, sizeof(text), "%.*e", precision, value);
                if (strtod(text, NULL) == value)
                        break;
        }
        exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
        for (const char *p = text; *p != 'e'; p++)
                if (*p >= '0' && *p <= '9')
                        digits[count++] = *p;
        if (text[0] == '-')
                buffer_add_char(buffer, '-');
        if (exponent < -4 || exponent >= 21) {
                buffer_add_char(buffer, digits[0]);
                if (count > 1)
                        buffer_printf(buffer, ".%s", digits + 1);
                buffer_printf(buffer, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        } else if (exponent < 0) {
                buffer_add_string(buffer, "0.");
                for (int i = exponent + 1; i < 0; i++)
                        buffer_add_char(buffer, '0');
                buffer_add_string(buffer, digits);
        } else {
                for (int i = 0; i <= exponent || (size_t)i < count; i++) {
                        if (i == exponent + 1)
                                buffer_add_char(buffer, '.');
                        buffer_add_char(buffer, (size_t)i < count ? digits[i] : '0');
                }
        }
}

static void add_label_value(struct buffer *buffer, const char *value)
{
        for (; *value; value++) {
                if (*value == '\\' || *value == '"')
                        buffer_add_char(buffer, '\\');
                if (*value == '\n')
                        buffer_add_string(buffer, "\\n");
                else
                        buffer_add_char(buffer, *value);
        }
}

static void add_sample(struct buffer *buffer, const struct metric *metric, const char *suffix, const struct series *series,
                       const double *bound, double value)
{
        const char *label_value = series->values;
        bool first = true;

        buffer_printf(buffer, "%s%s", metric->name, suffix);
        for (size_t i = 0; i < metric->label_count; i++, label_value += strlen(label_value) + 1) {
                buffer_printf(buffer, "%c%s=\"", first ? '{' : ',', metric->labels[i]);
                add_label_value(buffer, label_value);
                buffer_add_char(buffer, '"');
                first = false;
        }
        if (bound) {
                buffer_printf(buffer, "%cle=\"", first ? '{' : ',');
                buffer_add_float(buffer, *bound);
                buffer_add_char(buffer, '"');
                first = false;
        }
        buffer_add_string(buffer, first ? " " : "} ");
        buffer_add_float(buffer, value);
        buffer_add_char(buffer, '\n');
}

static void render_metric(struct buffer *buffer, const struct metric *metric)
{
        static const char *const types[] = { "counter", "gauge", "histogram" };
        static const double infinity = INFINITY;

        if (!metric->series_count)
                return;
        buffer_printf(buffer, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, types[metric->type]);
        for (size_t i = 0; i < metric->series_count; i++) {
                const struct series *series = metric->series[i];
                uint64_t total = 0;

                if (metric->type != METRIC_HISTOGRAM) {
                        add_sample(buffer, metric, "", series, NULL, series->value);
                        continue;
                }
                for (size_t b = 0; b < metric->bound_count; b++) {
                        total += series->buckets[b];
                        add_sample(buffer, metric, "_bucket", series, &metric->bounds[b], (double)total);
                }
                add_sample(buffer, metric, "_bucket", series, &infinity, (double)series->count);
                add_sample(buffer, metric, "_sum", series, NULL, series->value);
                add_sample(buffer, metric, "_count", series, NULL, (double)series->count);
        }
}

void metrics_render(struct buffer *buffer)
{
        for (size_t i = 0; i < registry.collector_count; i++)
                registry.collectors[i].function(registry.collectors[i].argument);
        pthread_mutex_lock(&registry.lock);
        for (const struct metric *metric = registry.first; metric; metric = metric->next)
                render_metric(buffer, metric);
        if (registry.dropped)
                buffer_printf(
                        buffer,
                        "# HELP weir_metrics_dropped_series_total Series that were not kept because their metric has too many.\n"
                        "# TYPE weir_metrics_dropped_series_total counter\nweir_metrics_dropped_series_total %" PRIu64 "\n",
                        registry.dropped);
        pthread_mutex_unlock(&registry.lock);
}
