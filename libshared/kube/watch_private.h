/*
 * watch_private: the state machine behind kube/watch.h, driven by the io thread or by a test.
 */
#pragma once

#include "kube/client.h"
#include "kube/watch.h"

/* What the machine asks of the world. */
struct watch_ops {
        struct kube_stream *(*open)(void *data, const struct kube_request *request, const struct kube_stream_events *events,
                                    void *events_data);
        void (*close)(void *data, struct kube_stream *stream);
        /* One timer per watch: fires watch_tick at that instant of now(); CLOCK_NEVER cancels it. */
        void (*timer)(void *data, struct watch *watch, int64_t at_ms);
        int64_t (*now)(void *data);
        double (*random)(void *data); /* [0, 1) */
};

/* `server` names the API server: what it cannot do is remembered for the process. */
struct watch *watch_new(const struct watch_options *options, const char *server, const struct watch_ops *ops, void *ops_data);
void watch_begin(struct watch *watch);
void watch_tick(struct watch *watch);
/* Ends stream and timer; nothing is called back any more. */
void watch_end(struct watch *watch);
void watch_free(struct watch *watch);
void *watch_ops_data(const struct watch *watch);
/* Stops and frees a watch that watch_start made, from the io thread. */
void watch_stop_here(struct watch *watch);
