/*
 * metrics: counters, gauges and histograms, in the Prometheus text format 0.0.4.
 *
 * A metric is registered once, at start, and lives as long as the process; its series come into being with their label values. What is cheap to
 * ask for and costly to keep current (memory, queue length) is filled in by a collector at the scrape. Safe from any thread.
 *
 * A metric has at most METRIC_SERIES_LIMIT series; further ones are dropped and counted in `weir_metrics_dropped_series_total`.
 */
#pragma once

#include "base/str.h"

#include <stddef.h>

#define METRIC_LABELS       5
#define METRIC_SERIES_LIMIT 65536

struct metric;

enum metric_type {
        METRIC_COUNTER,
        METRIC_GAUGE,
        METRIC_HISTOGRAM,
};

/*
 * `labels` are the label names (at most METRIC_LABELS), `buckets` the upper bounds of a histogram in rising order without +Inf. Both must outlive
 * the process, as must name and help.
 */
struct metric *metric_new(enum metric_type type, const char *name, const char *help, const char *const *labels, size_t label_count,
                          const double *buckets, size_t bucket_count);

/* One value per label, in the order of the names; copied. NULL stands for "". Adding 0 makes the series appear, also that of a histogram. */
void metric_add(struct metric *metric, double amount, const char *const *values); /* counter, gauge */
void metric_set(struct metric *metric, double value, const char *const *values);  /* gauge, or a counter that is kept elsewhere */
void metric_observe(struct metric *metric, double value, const char *const *values); /* histogram */
/* Drops one series. */
void metric_remove(struct metric *metric, const char *const *values);

/* For literal label values: metric_add(m, 1, METRIC_VALUES("kustomization", "success")). */
#define METRIC_VALUES(...) ((const char *const[]){ __VA_ARGS__ })
#define METRIC_NO_VALUES   ((const char *const[]){ NULL })

/* Called at every scrape, before rendering, without any lock held: sets gauges. At most 16. */
void metrics_collect(void (*collector)(void *argument), void *argument);

/* process_*, go_info and go_memstats_alloc_bytes (dashboards expect them). */
void metrics_register_process(void);

/* All metrics in the order of their registration, series in the order of their label values. */
void metrics_render(struct buffer *buffer);

/* As Go prints a float with the fewest digits that read back the same: "1e-08", "0.005", "1800", "+Inf". */
void buffer_add_float(struct buffer *buffer, double value);
