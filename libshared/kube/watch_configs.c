#include "kube/watch_configs.h"

#include <stdio.h>

void config_watch_key(const struct cache_object *object, struct view kind, struct view name, struct cache_keys *keys)
{
        if (name.length)
                cache_keys_printf(keys, "%.*s/%s/%.*s", VIEW_ARGS(kind), object->namespace, VIEW_ARGS(name));
}

void config_watch_find(struct controller *controller, const struct cache_event *event, const char *kind,
                       struct cache_list *ret_list)
{
        const struct cache_object *object = event->new ? event->new : event->old;
        char key[600];

        *ret_list = CACHE_LIST_NULL;
        if (event->initial)
                return;
        snprintf(key, sizeof(key), "%s/%s/%s", kind, object->namespace, object->name);
        cache_find(controller_cache(controller), CONFIG_WATCH_INDEX, key, ret_list);
}
