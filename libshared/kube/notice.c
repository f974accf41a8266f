/*
 * What the owner of a client is told beside the answers: warnings of the server, how many requests there were.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "kube/client_private.h"

#include <stdio.h>

#define WARNING_MS 600000

void kube_notice(struct kube_server *server, enum log_level level, const char *format, ...)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        va_list arguments;

        if (!server->options.notice)
                return;
        va_start(arguments, format);
        buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        server->options.notice(server->options.data, level, buffer_string(&text));
}

/* ---- metrics and warnings ---- */

static struct metric *requests_total;

static void metrics_make(void)
{
        static const char *const labels[] = { "code", "method", "host" };

        requests_total = metric_new(METRIC_COUNTER, "rest_client_requests_total",
                                    "Number of HTTP requests, partitioned by status code, method, and host.", labels, 3, NULL, 0);
}

void kube_count(struct kube_server *server, const char *method, int status)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        char code[16] = "<error>";

        pthread_once(&once, metrics_make);
        if (status)
                snprintf(code, sizeof(code), "%d", status);
        metric_add(requests_total, 1, METRIC_VALUES(code, method, server->host));
}

/* Under the lock. True if this one was passed on in the last ten minutes; the oldest makes room otherwise. */
static bool warned_lately(struct kube_server *server, struct view text)
{
        int64_t now = clock_now_ms();
        uint64_t hash = hash_add(HASH_EMPTY, text);
        size_t oldest = 0;

        for (size_t i = 0; i < WARNINGS_KEPT; i++) {
                if (server->warnings[i].at_ms && server->warnings[i].hash == hash && now - server->warnings[i].at_ms < WARNING_MS)
                        return true;
                if (server->warnings[i].at_ms < server->warnings[oldest].at_ms)
                        oldest = i;
        }
        server->warnings[oldest].hash = hash;
        server->warnings[oldest].at_ms = now;
        return false;
}

void kube_warn(struct kube_server *server, const char *warnings)
{
        struct view rest = view_of(warnings), text;

        if (!warnings)
                return;
        while (view_split(&rest, '\n', &text)) {
                bool known;

                pthread_mutex_lock(&server->lock);
                known = warned_lately(server, text);
                pthread_mutex_unlock(&server->lock);
                if (!known)
                        kube_notice(server, LOG_INFO, "%.*s", VIEW_ARGS(text));
        }
}
