/*
 * What a run means for others: who waited for it, who shares an object with it, and what the process remembers of a Kustomization that is gone.
 */
#include "base/cleanup.h"
#include "data/scan.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>

struct view condition_text(const struct cache_object *object, const char *type)
{
        struct scan conditions = scan_begin(SCAN_PATH(object->text, "status", "conditions"));

        while (scan_next(&conditions))
                if (view_is(scan_string(scan_get(conditions.value, "type")), type))
                        return conditions.value;
        return VIEW_NULL;
}

/* ---- dependents ---- */

/*
 * The cache lags: one that has just found this Kustomization unfinished may not show it yet. So whenever something changed here all dependents
 * are woken (one that runs now runs once more), and otherwise those that are known to wait.
 */
void wake_dependents(struct run *run)
{
        struct controller *controller = run->reconcile->controller;
        const char *applied = run->status.last_applied_revision;
        bool news = !run->was_ready || !applied || !run->revision || strcmp(applied, run->revision) != 0;
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;

        cache_find(controller_cache(controller), "dependency", arena_printf(run->arena, "%s/%s", run->namespace, run->name), &list);
        for (size_t i = 0; i < list.count; i++)
                if (news || view_is(scan_string(scan_get(condition_text(list.items[i], CONDITION_READY), "reason")),
                                    REASON_DEPENDENCY_NOT_READY))
                        controller_enqueue(controller, list.items[i]->namespace, list.items[i]->name, QUEUE_PRIORITY_NORMAL);
}

/* ---- what others declare too ---- */

static int compare_views(const void *a, const void *b)
{
        return view_compare(*(const struct view *)a, *(const struct view *)b);
}

/* In its inventory is one of these ids, which are sorted. */
static bool declares(const struct cache_object *object, const struct view *ids, size_t count)
{
        struct scan entries = scan_begin(SCAN_PATH(object->text, "status", "inventory", "entries"));

        while (scan_next(&entries)) {
                struct view id = scan_string(scan_get(entries.value, "id"));

                if (bsearch(&id, ids, count, sizeof(*ids), compare_views))
                        return true;
        }
        return false;
}

void wake_sharers(struct run *run, const struct apply_changes *pruned)
{
        struct controller *controller = run->reconcile->controller;
        cleanup(cache_list_release) struct cache_list list = CACHE_LIST_NULL;
        struct view *ids = arena_array(run->arena, pruned->count, sizeof(*ids));
        size_t count = 0;

        for (size_t i = 0; i < pruned->count; i++) {
                cleanup(buffer_release) struct buffer id = BUFFER_NULL;

                if (pruned->items[i].action != APPLY_DELETED)
                        continue;
                inventory_id_print(&pruned->items[i].object, &id);
                ids[count++] = view_of(arena_string(run->arena, buffer_string(&id)));
        }
        if (!count)
                return;
        qsort(ids, count, sizeof(*ids), compare_views);
        cache_list(controller_cache(controller), NULL, &list);
        for (size_t i = 0; i < list.count; i++) {
                const struct cache_object *other = list.items[i];

                if ((strcmp(other->name, run->name) != 0 || strcmp(other->namespace, run->namespace) != 0) &&
                    declares(other, ids, count))
                        controller_enqueue(controller, other->namespace, other->name, QUEUE_PRIORITY_NORMAL);
        }
}

/* ---- who is gone ---- */

void forget_owner(const char *namespace, const char *name)
{
        owners_forget(kustomize.owners, namespace, name);
        if (kustomize.drift)
                drift_forget_owner(kustomize.drift, namespace, name);
}
