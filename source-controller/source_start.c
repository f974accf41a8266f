/*
 * What a source controller finds at its start: files without an object, and objects without their file. A pod that moved has an empty storage, and with slow
 * servers it takes long until the last artifact is made again; meanwhile nobody shall be sent to look for one.
 */
#include "source_private.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/scan.h"
#include "kube/client.h"
#include "kube/parallel.h"

#include <stdlib.h>
#include <string.h>

#define MARKERS 4 /* requests at a time */

/* An object that left; kept until somebody who may touch the disk comes by. */
struct source_departed {
        struct source_departed *next;
        char *namespace, *name;
};

/* An object that was marked at the start, until its first run: what that has made is news only if it differs from what there was. */
struct source_lost {
        struct source_lost *next;
        char *namespace, *name, *digest;
};

void source_removed(struct controller *controller, const struct cache_object *object)
{
        struct source_program *program = controller->data;
        struct source_departed *departed;

        if (object->deleting)
                return;
        departed = memory_allocate(sizeof(*departed));
        departed->namespace = memory_string(object->namespace);
        departed->name = memory_string(object->name);
        departed->next = atomic_load(&program->departed);
        while (!atomic_compare_exchange_weak(&program->departed, &departed->next, departed))
                ;
}

/* ---- files without an object ---- */

static bool object_exists(void *data, const struct storage_object *object)
{
        const struct source_run *source = data;
        const struct cache_object *cached;
        bool exists;

        /* Of other kinds nothing is known here. */
        if (strcmp(object->kind, source->kind->folder) != 0)
                return true;
        cached = cache_get(controller_cache(source->run->controller), object->namespace, object->name);
        exists = cached != NULL;
        cache_object_release(&cached);
        return exists;
}

static void remove_departed(struct source_run *source, struct source_departed *departed)
{
        while (departed) {
                cleanup(error_release) struct error problem = ERROR_NULL;
                struct storage_object place = { source->kind->folder, departed->namespace, departed->name };
                struct source_departed *next = departed->next;
                bool removed;

                if (!object_exists(source, &place) && storage_remove(source->program->storage, &place, &removed, &problem) < 0)
                        log_error(&source->run->log, &problem, "failed to remove what an object that left had in the storage");
                free(departed->namespace);
                free(departed->name);
                free(departed);
                departed = next;
        }
}

static void sweep(struct context *ctx, struct source_run *source)
{
        cleanup(error_release) struct error problem = ERROR_NULL;
        unsigned removed = 0;

        if (storage_sweep(ctx, source->program->storage, object_exists, source, &removed, &problem) < 0)
                log_error(&source->run->log, &problem, "failed to remove what vanished objects left in the storage");
}

/* ---- objects without their file ---- */

static void lost_free(struct source_lost *lost)
{
        free(lost->namespace);
        free(lost->name);
        free(lost->digest);
        free(lost);
}

/* Where nothing is going to be made the status stays as it is: of one that is suspended it says what there was. */
static bool is_lost(const struct source_run *source, const struct cache_object *object)
{
        struct view path = scan_string(SCAN_PATH(object->text, "status", "artifact", "path"));
        cleanup(free_string) char *text = NULL;

        if (!path.length || object->deleting || scan_is_true(SCAN_PATH(object->text, "spec", "suspend")))
                return false;
        text = memory_string_n(path.data, path.length);
        return storage_lacks(source->program->storage, text);
}

struct marking {
        struct context *ctx;
        const struct source_run *source;
        struct cache_list objects; /* those that lost their file */
        atomic_bool *marked;       /* one for each */
        atomic_bool given_up;      /* the API server is away, or does not want it */
};

static void mark(void *argument, size_t index)
{
        struct marking *marking = argument;
        const struct source_run *source = marking->source;
        const struct cache_object *cached = marking->objects.items[index];
        const struct kind *kind = source->kind->kind;
        cleanup(object_patch_release) struct object_patch patch = OBJECT_PATCH_NULL;
        cleanup(error_release) struct error problem = ERROR_NULL;
        cleanup(json_free) struct json *object = NULL;

        if (atomic_load(&marking->given_up) || json_parse(cached->text, &object, &problem) < 0)
                return;
        object_patch_begin(&patch, source->run->runtime->client,
                           kube_resource_intern(kind->group, kind->version, kind->kind, kind->plural, true),
                           source->run->runtime->program->name, source->kind->owned, object);
        source_mark_missing(object, true);
        if (object_patch_write(marking->ctx, &patch, object, &problem) == 0) {
                atomic_store(&marking->marked[index], true);
                return;
        }
        /* This one was changed or deleted just now. */
        if (kube_is_absent(&problem) || problem.kind == ERROR_CONFLICT)
                return;
        if (!atomic_exchange(&marking->given_up, true))
                log_error(&source->run->log, &problem, "failed to mark the objects whose artifacts are not in the storage");
}

static void remember(struct source_program *program, const struct cache_object *object)
{
        struct view digest = scan_string(SCAN_PATH(object->text, "status", "artifact", "digest"));
        struct source_lost *lost = memory_allocate(sizeof(*lost));

        *lost = (struct source_lost){
                .next = program->lost,
                .namespace = memory_string(object->namespace),
                .name = memory_string(object->name),
                .digest = memory_string_n(digest.data, digest.length),
        };
        program->lost = lost;
}

/* Moves the references to those that lost their file from one list to the other. */
static void keep_lost(const struct source_run *source, struct cache_list *all, struct cache_list *ret_lost)
{
        size_t count = 0;

        for (size_t i = 0; i < all->count; i++)
                if (is_lost(source, all->items[i])) {
                        const struct cache_object *lost = all->items[i];

                        all->items[i] = all->items[count];
                        all->items[count++] = lost;
                }
        for (size_t i = count; i < all->count; i++)
                cache_object_release(&all->items[i]);
        all->count = count;
        *ret_lost = *all;
        *all = CACHE_LIST_NULL;
}

static void mark_lost(struct context *ctx, struct source_run *source)
{
        cleanup(cache_list_release) struct cache_list all = CACHE_LIST_NULL;
        cleanup(parallel_free) struct parallel *parallel = NULL;
        struct marking marking = { .ctx = ctx, .source = source };

        cache_list(controller_cache(source->run->controller), NULL, &all);
        keep_lost(source, &all, &marking.objects);
        if (marking.objects.count > 0) {
                marking.marked = memory_zero(marking.objects.count, sizeof(*marking.marked));
                parallel = parallel_new(MARKERS - 1);
                parallel_each(parallel, MARKERS, marking.objects.count, mark, &marking);
                for (size_t i = 0; i < marking.objects.count; i++)
                        if (marking.marked[i])
                                remember(source->program, marking.objects.items[i]);
                free(marking.marked);
        }
        cache_list_release(&marking.objects);
}

/* What there was of the run's object, if it was marked and has not run since. */
static void take_lost(struct source_run *source)
{
        for (struct source_lost **at = &source->program->lost; *at; at = &(*at)->next) {
                struct source_lost *lost = *at;

                if (strcmp(lost->name, source->run->name) != 0 || strcmp(lost->namespace, source->run->namespace) != 0)
                        continue;
                source->lost = true;
                source->previous_digest = arena_string(source->run->arena, lost->digest);
                *at = lost->next;
                lost_free(lost);
                return;
        }
}

void source_start(struct context *ctx, struct source_run *source)
{
        struct source_program *program = source->program;

        pthread_mutex_lock(&program->start_lock);
        if (!program->begun) {
                sweep(ctx, source);
                mark_lost(ctx, source);
                program->begun = true;
        }
        take_lost(source);
        pthread_mutex_unlock(&program->start_lock);
        remove_departed(source, atomic_exchange(&program->departed, NULL));
}

void source_stopped(struct source_program *program)
{
        while (program->lost) {
                struct source_lost *next = program->lost->next;

                lost_free(program->lost);
                program->lost = next;
        }
        program->begun = false;
}
