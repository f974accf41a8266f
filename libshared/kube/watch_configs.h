/*
 * watch_configs: objects that run again when a ConfigMap or Secret that they name changes.
 *
 * Only those with the label that --watch-configs-label-selector asks for are watched (reconcile.fluxcd.io/watch: Enabled): the API server selects them, and
 * only their metadata comes. A controller adds what each object of its own kind names to an index (config_watch_key), and has an entry for each of the
 * two kinds among its watches, whose map asks whom an event concerns (config_watch_find).
 */
#pragma once

#include "kube/cache.h"
#include "kube/controller.h"

#define CONFIG_WATCH_INDEX "config"

/* Of an entry of controller->watches. */
#define CONFIG_WATCH_OF(kind_, plural_)                                                                                            \
        .group = "", .version = "v1", .kind = (kind_), .plural = (plural_), .metadata_only = true, .configs = true,                \
        .unless_gate = "DisableConfigWatchers"
#define CONFIG_WATCH_MAPS    CONFIG_WATCH_OF("ConfigMap", "configmaps")
#define CONFIG_WATCH_SECRETS CONFIG_WATCH_OF("Secret", "secrets")

/* For the index: `object` names a ConfigMap or Secret of its own namespace. An empty name is none. */
void config_watch_key(const struct cache_object *object, struct view kind, struct view name, struct cache_keys *keys);

/* Those that name the ConfigMap or Secret of the event. None if it was there when the watch began: the runs of the start read it by themselves. io thread. */
void config_watch_find(struct controller *controller, const struct cache_event *event, const char *kind,
                       struct cache_list *ret_list);
