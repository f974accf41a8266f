#include "kube/apply_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/scan.h"
#include "kube/parallel.h"

#include <stdlib.h>
#include <string.h>

/* An object that nobody watches. */
struct unwatched {
        const struct kube_resource *resource;
        const char *namespace, *name;
        bool listed;
};

/* Those of one kind in one namespace: one request. */
struct place {
        struct unwatched *items;
        size_t count;
        bool ended; /* the context ended: there is nothing to go on with */
};

struct look {
        struct context *context;
        const struct apply_settings *settings;
        const char *selector;
        struct place *places;
};

static int by_place(const void *a, const void *b)
{
        const struct unwatched *left = a, *right = b;
        int r;

        if (left->resource != right->resource)
                return left->resource < right->resource ? -1 : 1;
        r = strcmp(left->namespace, right->namespace);
        return r ? r : strcmp(left->name, right->name);
}

static struct drift_key key_of(const struct unwatched *item)
{
        return (struct drift_key){ item->resource, item->namespace, item->name };
}

static int compare_name(const void *name, const void *item)
{
        const struct unwatched *unwatched = item;

        return view_compare(*(const struct view *)name, view_of(unwatched->name));
}

static void tell(const struct look *look, struct place *place, struct view list)
{
        int64_t now_ms = clock_now_ms();
        struct scan objects = scan_begin(scan_get(list, "items"));
        struct drift_key key;
        size_t i;

        while (scan_next(&objects)) {
                struct view name = scan_string(SCAN_PATH(objects.value, "metadata", "name"));
                struct unwatched *item = bsearch(&name, place->items, place->count, sizeof(*place->items), compare_name);

                if (!item)
                        continue;
                key = key_of(item);
                drift_listed(look->settings->drift, &key, objects.value, now_ms);
                item->listed = true;
        }
        /* A list that broke off says nothing about what it does not show. */
        if (!scan_complete(&objects))
                return;
        for (i = 0; i < place->count; i++) {
                key = key_of(&place->items[i]);
                if (!place->items[i].listed)
                        drift_listed(look->settings->drift, &key, VIEW_NULL, now_ms);
        }
}

static void list_one(void *argument, size_t index)
{
        const struct look *look = argument;
        struct place *place = &look->places[index];
        cleanup(buffer_release) struct buffer list = BUFFER_NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        const struct kube_request request = {
                .verb = KUBE_LIST,
                .resource = place->items->resource,
                .namespace = place->items->namespace,
                .label_selector = look->selector,
                .metadata_only = true,
        };

        if (kube_call(look->context, look->settings->client, &request, &list, &error) == 0)
                tell(look, place, buffer_view(&list));
        else
                place->ended = error.kind == ERROR_CANCELLED; /* else it may not be listed: one by one then */
}

static size_t collect(struct context *context, const struct apply_settings *settings, const struct inventory *objects,
                      struct unwatched *items)
{
        int64_t now_ms = clock_now_ms();
        size_t i, count = 0;

        for (i = 0; i < objects->count; i++) {
                cleanup(error_release) struct error ignored = ERROR_NULL; /* the object's own turn tells */
                const struct object_id *id = &objects->items[i];
                struct unwatched item = { .name = id->name };
                struct drift_key key;

                if (kube_resource_find(context, settings->client, id->group, id->version, id->kind, &item.resource, &ignored) != 0)
                        continue;
                item.namespace = item.resource->namespaced ? id->namespace : "";
                key = key_of(&item);
                if (drift_unseen(settings->drift, &key, now_ms))
                        items[count++] = item;
        }
        return count;
}

char *apply_owner_selector(const struct apply_settings *settings)
{
        return memory_printf("%s/name=%s,%s/namespace=%s", settings->annotation_group, settings->owner_name,
                             settings->annotation_group, settings->owner_namespace);
}

int apply_look(struct context *context, const struct apply_settings *settings, const struct inventory *objects, struct error *error)
{
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(free_string) char *selector = NULL;
        struct unwatched *items;
        unsigned limit = settings->concurrency ? settings->concurrency : APPLY_CONCURRENCY;
        struct look look = { .context = context, .settings = settings };
        size_t i, count, places = 0;

        if (!settings->drift || settings->verify_all ||
            !drift_owner_unseen(settings->drift, settings->owner_namespace, settings->owner_name, clock_now_ms()))
                return 0;
        items = arena_array(arena, objects->count, sizeof(*items));
        count = collect(context, settings, objects, items);
        if (!count)
                return context_check(context, error);
        qsort(items, count, sizeof(*items), by_place);
        look.places = arena_array(arena, count, sizeof(*look.places));
        selector = apply_owner_selector(settings);
        look.selector = selector;
        for (i = 0; i < count; i++)
                if (i && items[i].resource == items[i - 1].resource && !strcmp(items[i].namespace, items[i - 1].namespace))
                        look.places[places - 1].count++;
                else
                        look.places[places++] = (struct place){ .items = &items[i], .count = 1 };
        parallel_each(settings->parallel, limit, places, list_one, &look);
        for (i = 0; i < places; i++)
                if (look.places[i].ended)
                        return context_check(context, error) != 0 ? -1 : error_set(error, ERROR_CANCELLED, "cancelled");
        return 0;
}
