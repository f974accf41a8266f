#include "kube/apply.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/digest.h"
#include "data/json.h"
#include "data/scan.h"
#include "kube/apply_private.h"
#include "kube/health.h"
#include "kube/meta.h"
#include "kube/parallel.h"

#include <stdlib.h>
#include <string.h>

#define STAGES          4
#define STAGE_WAIT_MS   60000
#define LONG_LIST_BYTES ((size_t)1 << 20) /* a store takes objects of one and a half times that */
#define LISTED_BYTES    24                /* of an object in a list, beside its words */

const char *apply_action_name(enum apply_action action)
{
        static const char *const names[] = { [APPLY_CREATED] = "created",
                                             [APPLY_CONFIGURED] = "configured",
                                             [APPLY_UNCHANGED] = "unchanged",
                                             [APPLY_DELETED] = "deleted",
                                             [APPLY_SKIPPED] = "skipped" };

        return names[action];
}

void apply_changes_print(const struct apply_changes *changes, bool all, struct buffer *text)
{
        size_t i, start = text->length;

        for (i = 0; i < changes->count; i++) {
                const struct apply_change *change = &changes->items[i];

                if (!all && (change->action == APPLY_UNCHANGED || change->action == APPLY_SKIPPED))
                        continue;
                if (text->length > start)
                        buffer_add_char(text, '\n');
                object_id_describe(&change->object, text);
                buffer_printf(text, " %s", apply_action_name(change->action));
        }
}

struct inventory apply_inventory(const struct apply_changes *changes, struct arena *arena)
{
        struct inventory inventory = { .items = arena_array(arena, changes->count, sizeof(*inventory.items)) };
        size_t i;

        for (i = 0; i < changes->count; i++)
                if (changes->items[i].action != APPLY_DELETED)
                        inventory.items[inventory.count++] = changes->items[i].object;
        return inventory;
}

/* ---- the run ---- */

static void add_text(struct digest *digest, const char *text)
{
        digest_add(digest, (struct view){ text ? text : "", text ? strlen(text) + 1 : 1 });
}

/* Of what decides about an object beside its own text. */
static void digest_settings(const struct apply_settings *settings, uint8_t seed[DRIFT_HASH])
{
        cleanup(digest_free) struct digest *digest = digest_begin(DIGEST_SHA256);
        const char *const *override = settings->override_managers;
        uint8_t bytes[DIGEST_SIZE_LIMIT];
        size_t i;

        add_text(digest, settings->field_manager);
        add_text(digest, settings->owner_namespace);
        add_text(digest, settings->owner_name);
        add_text(digest, settings->account);
        add_text(digest, settings->force ? "force" : "");
        add_text(digest, settings->migrate_api_version ? "migrate" : "");
        for (; override && *override; override++)
                add_text(digest, *override);
        for (i = 0; i < settings->ignore_count; i++) {
                const struct object_selector *target = settings->ignore[i].target;
                const char *const *path;

                for (path = settings->ignore[i].paths; *path; path++)
                        add_text(digest, *path);
                if (!target)
                        continue;
                add_text(digest, target->group);
                add_text(digest, target->version);
                add_text(digest, target->kind);
                add_text(digest, target->namespace);
                add_text(digest, target->name);
                add_text(digest, target->label_selector);
                add_text(digest, target->annotation_selector);
        }
        digest_end_bytes(digest, bytes);
        memcpy(seed, bytes, DRIFT_HASH);
}

static int stage_of(const struct apply_settings *settings, const struct object_id *id)
{
        size_t i;

        if (!strcmp(id->kind, "CustomResourceDefinition") || !strcmp(id->kind, "Namespace") || !strcmp(id->kind, "ClusterRole"))
                return 0;
        if (view_ends(view_of(id->kind), VIEW("Class")))
                return 1;
        for (i = 0; i < settings->stage_kind_count; i++)
                if (!strcmp(settings->stage_kinds[i].kind, id->kind) && !strcmp(settings->stage_kinds[i].group, id->group))
                        return 2;
        return 3;
}

struct staged {
        struct apply_item *item;
        int stage;
};

static int compare_staged(const void *a, const void *b)
{
        const struct staged *left = a, *right = b;

        if (left->stage != right->stage)
                return left->stage - right->stage;
        return object_id_compare(&left->item->id, &right->item->id);
}

static unsigned concurrency_of(const struct apply_settings *settings)
{
        return settings->concurrency ? settings->concurrency : APPLY_CONCURRENCY;
}

static void try_one(void *argument, size_t index)
{
        const struct staged *stage = argument;

        apply_try(stage[index].item);
}

static void write_one(void *argument, size_t index)
{
        const struct staged *stage = argument;

        if (stage[index].item->plan == PLAN_WRITE || stage[index].item->plan == PLAN_RECREATE)
                apply_write(stage[index].item);
}

static void try_undecided(void *argument, size_t index)
{
        const struct staged *stage = argument;

        if (!stage[index].item->undecided)
                return;
        stage[index].item->decide = true;
        apply_try(stage[index].item);
}

static bool failed(const struct apply_item *item)
{
        return item->error.kind != ERROR_NONE;
}

/*
 * A dry run is for the sake of the others, that none of a stage is written while one of them would be refused: where only one is to be written at all, it is
 * written at once.
 */
static void try_stage(const struct apply_settings *settings, struct staged *stage, size_t count)
{
        struct apply_item *alone = NULL;
        bool others = false;

        parallel_each(settings->parallel, concurrency_of(settings), count, try_one, stage);
        for (size_t i = 0; i < count; i++) {
                struct apply_item *item = stage[i].item;

                if (item->undecided && !alone)
                        alone = item;
                else
                        others = others || failed(item) || item->plan == PLAN_WRITE || item->plan == PLAN_RECREATE;
        }
        if (!alone)
                return;
        if (others)
                parallel_each(settings->parallel, concurrency_of(settings), count, try_undecided, stage);
        else
                alone->untried = alone->alone = true;
}

static void add_change(struct apply_changes *changes, const struct apply_item *item, struct arena *arena)
{
        changes->items[changes->count++] = (struct apply_change){
                .object = item->id,
                .action = failed(item) && !item->written ? APPLY_UNCHANGED : item->action,
                .uid = arena_string(arena, item->uid),
                .status = item->status,
                .unknown = item->unknown.length ? arena_string_n(arena, item->unknown.data, item->unknown.length) : NULL,
                .paths = item->paths.length
                                 ? arena_printf(arena, "%s%s", buffer_string(&item->paths), item->paths.full ? ", ..." : "")
                                 : NULL,
                .finishes = drift_finishes(item->id.group, item->id.kind, item->object->text),
        };
}

/* Under the message comes what was done before; each line ends with a break. Returns -1. */
static int append_changes(const struct apply_changes *changes, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        size_t before;

        buffer_printf(&text, "%s\n", error_message(error));
        before = text.length;
        apply_changes_print(changes, false, &text);
        if (text.length > before)
                buffer_add_char(&text, '\n');
        free(error->message);
        error->message = buffer_steal(&text);
        return -1;
}

/* What two versions of one object suffer from is said once. */
static bool said_before(const struct staged *stage, size_t index)
{
        size_t i;

        for (i = 0; i < index; i++)
                if (failed(stage[i].item) &&
                    !strcmp(error_message(&stage[i].item->error), error_message(&stage[index].item->error)))
                        return true;
        return false;
}

/* All that went wrong, a line each, then what was done before. */
static int report(const struct staged *stage, size_t count, const struct apply_changes *changes, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct apply_item *first = NULL;
        size_t i;

        for (i = 0; i < count; i++) {
                struct apply_item *item = stage[i].item;

                if (!failed(item))
                        continue;
                if (!first)
                        first = item;
                else if (item->error.kind == ERROR_CANCELLED || said_before(stage, i))
                        continue;
                buffer_printf(&text, "%s%s", text.length ? "\n" : "", error_message(&item->error));
        }
        if (!first)
                return 0;
        if (first->error.kind == ERROR_CANCELLED)
                return error_move(error, &first->error);
        error_set_reason(error, first->error.kind, first->error.reason, "%s", buffer_string(&text));
        error->http_status = first->error.http_status;
        error->retry_after_ms = first->error.retry_after_ms;
        return append_changes(changes, error);
}

/* As many as share a rank, from `from` on. */
static size_t rank_end(const struct staged *stage, size_t from, size_t count)
{
        unsigned rank = object_id_rank(&stage[from].item->id);
        size_t end = from;

        while (end < count && object_id_rank(&stage[end].item->id) == rank)
                end++;
        return end;
}

static int record(struct apply_run *run, struct arena *arena, struct error *error)
{
        struct inventory wanted = { .items = arena_array(arena, run->staged_count, sizeof(*wanted.items)) };

        run->recorded = true;
        for (size_t i = 0; i < run->staged_count; i++)
                wanted.items[wanted.count++] = run->staged[i].item->id;
        return run->settings->record(run->settings->data, run->context, &wanted, error);
}

/* A list that may be longer than an object can be is written before anything is tried: that would be for nothing. */
static int record_long(struct apply_run *run, struct arena *arena, struct error *error)
{
        bool unknown = false;
        size_t length = 0;

        for (size_t i = 0; i < run->staged_count; i++) {
                const struct object_id *id = &run->staged[i].item->id;

                length += strlen(id->namespace) + strlen(id->name) + strlen(id->group) + strlen(id->kind) + LISTED_BYTES;
                unknown = unknown || !run->staged[i].item->object->known;
        }
        return unknown && run->settings->record && length > LONG_LIST_BYTES ? record(run, arena, error) : 0;
}

/* A program that is killed after the first write must find in its list what it has written. */
static int record_wanted(struct apply_run *run, const struct staged *stage, size_t count, struct arena *arena, struct error *error)
{
        bool unknown = false;
        size_t i;

        if (run->recorded || !run->settings->record)
                return 0;
        for (i = 0; i < count; i++)
                unknown = unknown || (!stage[i].item->object->known &&
                                      (stage[i].item->plan == PLAN_WRITE || stage[i].item->plan == PLAN_RECREATE));
        if (!unknown)
                return 0;
        return record(run, arena, error);
}

static int write_stage(struct apply_run *run, struct staged *stage, size_t count, struct arena *arena,
                       struct apply_changes *changes, struct error *error)
{
        const struct apply_settings *settings = run->settings;
        size_t from, end, i;

        TRY(record_wanted(run, stage, count, arena, error));
        for (from = 0; from < count; from = end) {
                bool bad = false;

                end = rank_end(stage, from, count);
                parallel_each(settings->parallel, concurrency_of(settings), end - from, write_one, stage + from);
                for (i = from; i < end; i++)
                        bad = bad || failed(stage[i].item);
                for (i = from; i < end; i++)
                        if (stage[i].item->written || stage[i].item->unanswered || !failed(stage[i].item))
                                add_change(changes, stage[i].item, arena);
                if (bad)
                        return report(stage + from, end - from, changes, error);
        }
        return 0;
}

/* Stages 1 and 2 end when what they made is there. */
static int await_stage(struct context *context, const struct apply_settings *settings, const struct apply_changes *changes,
                       size_t from, struct arena *arena, struct error *error)
{
        struct health_object *pending = arena_array(arena, changes->count, sizeof(*pending));
        struct health_settings health = {
                .client = settings->client,
                .parallel = settings->parallel,
                .concurrency = settings->concurrency,
                .drift = settings->drift,
                .owner_name = settings->owner_name,
                .owner_namespace = settings->owner_namespace,
                .timeout_ms = settings->stage_wait_ms ? settings->stage_wait_ms : STAGE_WAIT_MS,
                .fail_fast = true,
                .made = true,
        };
        size_t i, count = 0;

        for (i = from; i < changes->count; i++)
                if (changes->items[i].action != APPLY_SKIPPED)
                        pending[count++] = (struct health_object){ changes->items[i].object, changes->items[i].status, false };
        if (health_wait(context, &health, pending, count, error) == 0)
                return 0;
        return error->kind == ERROR_CANCELLED ? -1 : append_changes(changes, error);
}

static int apply_stage(struct apply_run *run, struct staged *stage, size_t count, struct arena *arena,
                       struct apply_changes *changes, struct error *error)
{
        const struct apply_settings *settings = run->settings;
        size_t i, before = changes->count;

        try_stage(settings, stage, count);
        TRY(report(stage, count, changes, error));
        TRY(write_stage(run, stage, count, arena, changes, error));
        for (i = 0; i < count; i++)
                run->definitions = run->definitions || !strcmp(stage[i].item->id.kind, "CustomResourceDefinition");
        return stage[0].stage < 2 ? await_stage(run->context, settings, changes, before, arena, error) : 0;
}

static int look(struct apply_run *run, const struct apply_item *items, size_t count, struct arena *arena, struct error *error)
{
        struct inventory ids = { .items = arena_array(arena, count, sizeof(*ids.items)) };

        while (ids.count < count) {
                ids.items[ids.count] = items[ids.count].id;
                ids.count++;
        }
        return apply_look(run->context, run->settings, &ids, error);
}

static int apply_staged(struct apply_run *run, struct arena *arena, struct apply_changes *changes, struct error *error)
{
        struct staged *staged = run->staged;
        size_t from, end, count = run->staged_count;

        for (from = 0; from < count; from = end) {
                for (end = from; end < count && staged[end].stage == staged[from].stage; end++)
                        ;
                TRY(apply_stage(run, staged + from, end - from, arena, changes, error));
        }
        return 0;
}

int apply_objects(struct context *context, const struct apply_settings *settings, const struct apply_object *objects, size_t count,
                  struct arena *arena, struct apply_changes *changes, struct error *error)
{
        struct apply_run run = { .context = context, .settings = settings };
        struct apply_item *items = arena_array(arena, count, sizeof(*items));
        struct staged *staged = arena_array(arena, count, sizeof(*staged));
        struct apply_rules *rules = NULL;
        size_t i;
        int r;

        changes->items = arena_array(arena, count, sizeof(*changes->items));
        changes->count = 0;
        if (apply_rules_new(settings, &rules, error) < 0)
                return append_changes(changes, error);
        run.rules = rules;
        run.takeover_count = steer_takeovers(settings->field_manager, settings->override_managers, run.takeovers);
        digest_settings(settings, run.seed);
        for (i = 0; i < count; i++) {
                items[i] = (struct apply_item){ .run = &run,
                                                .object = &objects[i],
                                                .id = object_id_of(objects[i].api_version, objects[i].kind, objects[i].namespace,
                                                                   objects[i].name, arena) };
                staged[i] = (struct staged){ &items[i], stage_of(settings, &items[i].id) };
        }
        if (count)
                qsort(staged, count, sizeof(*staged), compare_staged);
        run.staged = staged;
        run.staged_count = count;
        r = record_long(&run, arena, error);
        if (r == 0)
                r = look(&run, items, count, arena, error);
        if (r == 0)
                r = apply_staged(&run, arena, changes, error);
        for (i = 0; i < count; i++)
                apply_item_release(&items[i]);
        apply_rules_free(&rules);
        if (r == 0 && settings->drift)
                drift_run_complete(settings->drift, settings->owner_namespace, settings->owner_name);
        return r;
}
