#include "kube/apply_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/digest.h"
#include "data/json.h"
#include "data/scan.h"
#include "kube/parallel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VERIFY_TRIES       3 /* reads until the live object and the dry run are about the same version */
#define UNKNOWN_TRIES      8 /* rounds of leaving out fields that the schema does not know */
#define RIGHTS_WAIT_MS     600
#define RIGHTS_PAUSE_MS    150
#define SERVED_WAIT_MS     10000
#define SERVED_PAUSE_MS    100
#define RECREATE_WAIT_MS   60000
#define RECREATE_PAUSE_MS  50
#define RECREATE_PAUSE_MAX 2000
#define RECHECK_MS         ((int64_t)6 * 60 * 60 * 1000)
#define RECREATE_TRIES     5 /* an object may move between the look and the deletion */
#define TEMPORARY_NAME     40
#define PATHS_LIMIT        4096 /* bytes of text about one object */

/* What the server said about one object, and what it had before. */
struct trial {
        struct buffer live_text, answer;
        struct json *live, *tried;
};

static void trial_release(struct trial *trial)
{
        buffer_release(&trial->live_text);
        buffer_release(&trial->answer);
        json_free(&trial->live);
        json_free(&trial->tried);
}

void apply_item_release(struct apply_item *item)
{
        buffer_release(&item->payload);
        buffer_release(&item->unknown);
        buffer_release(&item->paths);
        json_free(&item->metadata_patch);
        error_release(&item->error);
}

static struct view payload_of(const struct apply_item *item)
{
        return item->payload.length ? buffer_view(&item->payload) : item->object->text;
}

static bool is_kind(const struct apply_item *item, const char *group, const char *kind)
{
        return !strcmp(item->id.group, group) && !strcmp(item->id.kind, kind);
}

/* `<id> <what> failed (<Reason>): <message>`, or `<id> not found: ...`, in place of the error's message. Returns -1. */
static int apply_error(const struct apply_item *item, const char *what, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        bool unserved = !strcmp(error->reason, "NoKindMatch");

        if (error->kind == ERROR_CANCELLED)
                return -1;
        object_id_describe(&item->id, &text);
        if (error->kind == ERROR_NOT_FOUND && !unserved)
                buffer_add_string(&text, " not found");
        else if (error->http_status && error->reason[0])
                buffer_printf(&text, " %s failed (%s)", what, error->reason);
        else
                buffer_printf(&text, " %s failed", what);
        return error_wrap(error, "%s", buffer_string(&text));
}

/* ---- requests ---- */

static struct kube_request request_of(const struct apply_item *item, enum kube_verb verb)
{
        return (struct kube_request){
                .verb = verb,
                .resource = item->resource,
                .namespace = item->id.namespace,
                .name = item->id.name,
                .field_manager = item->run->settings->field_manager,
        };
}

static int call(const struct apply_item *item, const struct kube_request *request, struct buffer *ret_answer, struct error *error)
{
        buffer_clear(ret_answer);
        return kube_call(item->run->context, item->run->settings->client, request, ret_answer, error);
}

static int read_live(const struct apply_item *item, struct trial *trial, struct error *error)
{
        struct kube_request request = request_of(item, KUBE_GET);

        json_free(&trial->live);
        if (call(item, &request, &trial->live_text, error) == 0)
                return json_parse(buffer_view(&trial->live_text), &trial->live, error);
        if (!kube_is_absent(error))
                return -1;
        error_release(error);
        return 0;
}

static int apply_once(const struct apply_item *item, bool dry_run, struct buffer *ret_answer, struct error *error)
{
        struct kube_request request = request_of(item, KUBE_APPLY);

        request.dry_run = dry_run;
        /* What a custom resource has too much vanishes with a warning; of a built-in kind it is an error anyway. */
        request.field_validation = (dry_run || item->alone) && !apply_built_in(item->id.group) ? "Warn" : NULL;
        request.force = true;
        request.body = payload_of(item);
        return call(item, &request, ret_answer, error);
}

/* Leaves out of the payload what the error says that the schema does not know. */
static bool forget_unknown_fields(struct apply_item *item, const struct error *error)
{
        cleanup(json_free) struct json *payload = NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (!apply_has_struct(&item->id) || json_parse(payload_of(item), &payload, &ignored) != 0 ||
            !apply_prune_unknown(error_message(error), payload, &item->unknown))
                return false;
        json_print(payload, &text);
        buffer_clear(&item->payload);
        buffer_add_view(&item->payload, buffer_view(&text));
        return true;
}

/* What the server would make of it. Of what would be new no tree is built: there is nothing to compare it with. */
static int read_trial(struct trial *trial, struct error *error)
{
        struct view answer = buffer_view(&trial->answer), metadata = scan_get(answer, "metadata");

        if (metadata.length && !scan_get(metadata, "resourceVersion").length)
                return 0;
        return json_parse(answer, &trial->tried, error);
}

static int dry_run(struct apply_item *item, struct trial *trial, struct error *error)
{
        int tries;

        json_free(&trial->tried);
        for (tries = 0;; tries++) {
                if (apply_once(item, true, &trial->answer, error) == 0)
                        return read_trial(trial, error);
                if (tries == UNKNOWN_TRIES || !forget_unknown_fields(item, error))
                        return -1;
                error_release(error);
        }
}

static const char *version_of(const struct json *object)
{
        return json_string(JSON_PATH(object, "metadata", "resourceVersion"), "");
}

/* Flux takes what a dry run answers with a version for something that is there. */
static bool names_version(const struct apply_item *item)
{
        cleanup(json_free) struct json *payload = NULL;
        cleanup(error_release) struct error ignored = ERROR_NULL;

        return json_parse(payload_of(item), &payload, &ignored) == 0 && *version_of(payload);
}

/* ---- what kind it is ---- */

static int find_resource(struct apply_item *item, struct error *error)
{
        const struct apply_run *run = item->run;
        int64_t until = run->definitions ? clock_now_ms() + SERVED_WAIT_MS : 0;
        int r;

        for (;;) {
                r = kube_resource_find(run->context, run->settings->client, item->id.group, item->id.version, item->id.kind,
                                       &item->resource, error);
                if (r != KUBE_NO_MATCH || clock_now_ms() >= until)
                        break;
                error_release(error);
                r = context_sleep(run->context, SERVED_PAUSE_MS, error);
                if (r != 0)
                        break;
        }
        if (r != 0)
                return apply_error(item, "dry-run", error);
        if (!item->resource->namespaced)
                item->id.namespace = "";
        if (item->resource->namespaced && !*item->id.namespace) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                object_id_describe(&item->id, &text);
                buffer_add_string(&text, " namespace not specified: the server could not find the requested resource");
                /* The server of custom resources answers without an object, and a client says then what it asked for. */
                if (!apply_built_in(item->id.group))
                        buffer_printf(&text, " (patch %s.%s %s)", item->resource->plural, item->id.group, item->id.name);
                return error_set(error, ERROR_INVALID, "%s", buffer_string(&text));
        }
        return 0;
}

static void digest_wanted(struct apply_item *item)
{
        cleanup(digest_free) struct digest *digest = digest_begin(DIGEST_SHA256);
        uint8_t bytes[DIGEST_SIZE_LIMIT];

        digest_add(digest, (struct view){ (const char *)item->run->seed, sizeof(item->run->seed) });
        digest_add(digest, item->object->text);
        digest_end_bytes(digest, bytes);
        memcpy(item->wanted, bytes, sizeof(item->wanted));
}

static struct drift_key key_of(const struct apply_item *item)
{
        return (struct drift_key){ item->resource, item->id.namespace, item->id.name };
}

/* The text is what the server has now and what we want. */
static void remember(const struct apply_item *item, struct view text)
{
        const struct apply_settings *settings = item->run->settings;
        struct drift_key key = key_of(item);

        if (settings->drift)
                drift_verified(settings->drift, &key, settings->owner_namespace, settings->owner_name, item->wanted, text,
                               item->status == KSTATUS_CURRENT, clock_now_ms());
}

/* ---- trying ---- */

static bool forced(const struct apply_item *item, const struct trial *trial)
{
        return item->run->settings->force || item->desired.force ||
               steering_of(buffer_view(&trial->live_text), item->run->settings->annotation_group).force;
}

/* "field is immutable" and "immutable field", as whole words. */
static bool says_immutable(const char *message)
{
        return strcasestr(message, " is immutable") || strcasestr(message, "immutable field");
}

/* It lost a race against another writer: no fault of the object. */
static bool is_race(const struct error *error)
{
        return error->http_status == 409 && strcasestr(error_message(error), "the object has been modified");
}

static bool is_immutable(const struct error *error)
{
        if (is_race(error))
                return false;
        return error->http_status == 409 || error->http_status == 422 || says_immutable(error_message(error));
}

/*
 * Deleting is only for what can be created again: the payload under another name must be accepted, in the very request that would be sent. What only the
 * first one can have (an address, a port) does not count.
 */
static bool can_be_created(const struct apply_item *item)
{
        cleanup(json_free) struct json *payload = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        cleanup(free_string) char *name =
                memory_printf("%.*s-%05x", TEMPORARY_NAME, item->id.name, (unsigned)(clock_random() * 0xfffff));
        struct kube_request request = request_of(item, KUBE_APPLY);

        if (json_parse(payload_of(item), &payload, &error) != 0)
                return false;
        json_set_string(json_object_at(payload, "metadata"), "name", name);
        json_print(payload, &text);
        request.name = name;
        request.dry_run = true;
        request.force = true;
        request.body = buffer_view(&text);
        return call(item, &request, &answer, &error) == 0 || strstr(error_message(&error), "already allocated");
}

static void note_uid(struct apply_item *item, const struct json *live)
{
        snprintf(item->uid, sizeof(item->uid), "%s", json_string(JSON_PATH(live, "metadata", "uid"), ""));
}

/*
 * What others put into the object may be what the server refuses: a second port beside ours. A dry run cannot show what will be once that is taken over, but
 * that the payload by itself is accepted.
 */
static bool taking_over_helps(struct apply_item *item, const struct trial *trial, const struct error *error)
{
        cleanup(error_release) struct error ignored = ERROR_NULL;
        bool merge =
                item->desired.merge || steering_of(buffer_view(&trial->live_text), item->run->settings->annotation_group).merge;

        if (error->http_status != 422 || says_immutable(error_message(error)) || item->run->rules || merge)
                return false;
        if (apply_metadata_patch(item->run, trial->live, false, NULL, &item->metadata_patch, &ignored) == 0 &&
            item->metadata_patch && can_be_created(item))
                return true;
        json_free(&item->metadata_patch);
        return false;
}

/* The dry run failed: take over what others hold, or recreate it, if that helps and is allowed. */
static int try_otherwise(struct apply_item *item, const struct trial *trial, struct error *error)
{
        if (trial->live && taking_over_helps(item, trial, error)) {
                error_release(error);
                note_uid(item, trial->live);
                item->plan = PLAN_WRITE;
                item->action = APPLY_CONFIGURED;
                return 0;
        }
        if (!trial->live || !is_immutable(error) || !forced(item, trial) || !can_be_created(item))
                return apply_error(item, "dry-run", error);
        error_release(error);
        item->plan = PLAN_RECREATE;
        note_uid(item, trial->live);
        snprintf(item->version, sizeof(item->version), "%s", version_of(trial->live));
        return 0;
}

/* Reads the object and tries the payload until both are about one version. */
static int try_against_live(struct apply_item *item, struct trial *trial, struct error *error)
{
        int tries;

        for (tries = 1; tries < VERIFY_TRIES; tries++) {
                if (!trial->live)
                        TRY(read_live(item, trial, error));
                if (!trial->tried)
                        TRY(dry_run(item, trial, error));
                if (!trial->live || !strcmp(version_of(trial->live), version_of(trial->tried)))
                        return 0;
                json_free(&trial->live);
                if (tries + 1 < VERIFY_TRIES)
                        json_free(&trial->tried);
        }
        return trial->live ? 0 : read_live(item, trial, error);
}

static int keep_ignored(struct apply_item *item, const struct trial *trial, struct error *error)
{
        cleanup(json_free) struct json *payload = NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (!apply_rules_match(item->run->rules, trial->tried))
                return 0;
        if (json_parse(payload_of(item), &payload, error) != 0)
                return apply_error(item, "apply", error);
        TRY(apply_rules_keep(item, trial->live, trial->tried, payload, error));
        json_print(payload, &text);
        buffer_clear(&item->payload);
        buffer_add_view(&item->payload, buffer_view(&text));
        return 0;
}

static bool differs(const struct apply_item *item, const struct trial *trial, struct buffer *paths)
{
        cleanup(json_free) struct json *live = json_copy(trial->live);
        cleanup(json_free) struct json *tried = json_copy(trial->tried);

        apply_rules_remove(item->run->rules, trial->tried, live);
        apply_rules_remove(item->run->rules, trial->tried, tried);
        return apply_differs(live, tried, paths);
}

/* What a dry run does not show: that another's fields become ours, and those of them go that nobody wants. */
static void explain(struct apply_item *item, const struct trial *trial)
{
        buffer_release(&item->paths);
        item->paths = BUFFER_LIMIT(PATHS_LIMIT);
        differs(item, trial, &item->paths);
        if (item->metadata_patch)
                buffer_printf(&item->paths, "%s/metadata/managedFields", item->paths.length ? ", " : "");
}

/* It is there: change what must be changed. */
static int plan_for_live(struct apply_item *item, const struct trial *trial, struct error *error)
{
        const struct apply_settings *settings = item->run->settings;
        struct steering live = steering_of(buffer_view(&trial->live_text), settings->annotation_group);
        const char *migrated = settings->migrate_api_version ? item->resource->api_version : NULL;

        if (settings->drift)
                item->live = drift_digest_of(settings->drift, buffer_view(&trial->live_text));
        if (apply_metadata_patch(item->run, trial->live, item->desired.merge || live.merge, migrated, &item->metadata_patch,
                                 error) != 0)
                return apply_error(item, "metadata.managedFields cleanup", error);
        note_uid(item, trial->live);
        if (item->metadata_patch || differs(item, trial, NULL)) {
                if (settings->explain)
                        explain(item, trial);
                TRY(keep_ignored(item, trial, error));
                item->plan = PLAN_WRITE;
                item->action = APPLY_CONFIGURED;
                return 0;
        }
        item->plan = PLAN_UNCHANGED;
        item->action = APPLY_UNCHANGED;
        item->status = kstatus_compute(trial->live, clock_wall_us(), NULL);
        if (!strcmp(version_of(trial->live), version_of(trial->tried)))
                remember(item, buffer_view(&trial->answer));
        return 0;
}

static int skip(struct apply_item *item)
{
        struct drift_key key = key_of(item);

        item->plan = PLAN_SKIP;
        item->action = APPLY_SKIPPED;
        if (item->run->settings->drift)
                drift_release(item->run->settings->drift, &key);
        return 0;
}

static int deleted_meanwhile(const struct apply_item *item, struct error *error)
{
        cleanup(buffer_release) struct buffer id = BUFFER_NULL;

        object_id_describe(&item->id, &id);
        return error_set(error, ERROR_CONFLICT, "%s was deleted meanwhile", buffer_string(&id));
}

/*
 * By asking the server: what is probably new is tried first, what is probably there is read first. Who may not read it mostly may not change it either, and
 * the error of the dry run is the one that says so; but what is there is changed only once it was read, for it may say that it is not ours to change.
 */
static int try_by_asking(struct apply_item *item, bool probably_there, struct error *error)
{
        cleanup(trial_release) struct trial trial = { .live = NULL };

        if ((probably_there || item->desired.if_not_present) && read_live(item, &trial, error) != 0) {
                if (error->http_status != 403 || item->desired.if_not_present)
                        return apply_error(item, "dry-run", error);
                error_release(error);
        }
        if (!trial.live && dry_run(item, &trial, error) == 0) {
                if (!*version_of(trial.tried)) {
                        item->plan = PLAN_WRITE;
                        item->action = APPLY_CREATED;
                        return 0;
                }
                if (read_live(item, &trial, error) != 0)
                        return apply_error(item, "dry-run", error);
                if (!trial.live) { /* deleted meanwhile; or the version is the manifest's own */
                        item->plan = PLAN_WRITE;
                        item->action = names_version(item) ? APPLY_CONFIGURED : APPLY_CREATED;
                        return 0;
                }
        } else if (!trial.live) {
                cleanup(error_release) struct error failed = ERROR_NULL;

                /* It may be there after all, and not for us to change. */
                error_move(&failed, error);
                if (probably_there || (failed.http_status != 409 && failed.http_status != 422) ||
                    read_live(item, &trial, error) != 0 || !trial.live) {
                        error_move(error, &failed);
                        return apply_error(item, "dry-run", error);
                }
        }
        if (trial.live && (item->desired.if_not_present ||
                           steering_of(buffer_view(&trial.live_text), item->run->settings->annotation_group).skip)) {
                note_uid(item, trial.live);
                return skip(item);
        }
        if (!trial.live || try_against_live(item, &trial, error) != 0)
                return try_otherwise(item, &trial, error);
        if (!trial.live)
                return deleted_meanwhile(item, error);
        return plan_for_live(item, &trial, error);
}

/* A live watch says what is there: nothing has to be read. */
static int try_as_watched(struct apply_item *item, const struct drift_live *live, struct error *error)
{
        bool autoscaler = is_kind(item, "autoscaling", "HorizontalPodAutoscaler");
        cleanup(trial_release) struct trial trial = { .live = NULL };

        if (live->digest.skip || item->desired.if_not_present)
                return skip(item);
        if (item->run->rules || item->run->settings->migrate_api_version || item->run->settings->explain)
                return try_by_asking(item, true, error);
        /*
         * What others hold of something that was accepted before is taken over after it is put right: the sooner that is, the better. And where only the
         * server changed, or it is long ago, there is probably nothing to write.
         */
        if (!live->verified && (live->same || (live->digest.foreign && !live->digest.merge)))
                return try_by_asking(item, true, error);
        item->undecided = !live->verified && !item->decide && !autoscaler;
        /* What was accepted before need not be tried again; a HorizontalPodAutoscaler's own defaults change with every apply. */
        if ((!live->verified && !item->undecided) || autoscaler) {
                if (dry_run(item, &trial, error) != 0) {
                        error_release(error);
                        return try_by_asking(item, true, error);
                }
                if (!*version_of(trial.tried)) {
                        item->plan = PLAN_WRITE;
                        item->action = APPLY_CREATED;
                        return 0;
                }
        }
        item->live = live->digest;
        item->untried = live->verified;
        item->plan = PLAN_WRITE;
        item->action = APPLY_CONFIGURED;
        return 0;
}

static int try_item(struct apply_item *item, struct error *error)
{
        const struct apply_settings *settings = item->run->settings;
        struct drift_live live = { .known = false };
        struct drift_key key;

        item->desired = steering_of(item->object->text, settings->annotation_group);
        TRY(find_resource(item, error));
        if (item->desired.skip)
                return skip(item);
        digest_wanted(item);
        if (item->asks)
                return try_by_asking(item, true, error);
        if (settings->drift && !settings->verify_all) {
                int64_t now_ms = clock_now_ms();

                enum drift_verdict verdict;

                key = key_of(item);
                verdict = drift_check(settings->drift, &key, item->wanted, settings->recheck_ms ? settings->recheck_ms : RECHECK_MS,
                                      now_ms, &live);
                if (live.known && live.exists)
                        memcpy(item->uid, live.uid, sizeof(item->uid));
                if (verdict == DRIFT_NONE) {
                        item->plan = PLAN_UNCHANGED;
                        item->action = APPLY_UNCHANGED;
                        item->status = drift_is_current(settings->drift, &key, now_ms) ? KSTATUS_CURRENT : KSTATUS_UNKNOWN;
                        return 0;
                }
        }
        if (live.known && live.exists)
                return try_as_watched(item, &live, error);
        return try_by_asking(item, item->object->known && !live.known, error);
}

/*
 * The API server learns of a new RoleBinding a moment after it is there, and a Kustomization often comes with the rights that it needs: the first to be
 * forbidden something makes its run wait for a moment.
 */
static bool rights_may_come(struct apply_item *item)
{
        int64_t now_ms = clock_now_ms(), unset = 0;

        if (item->error.kind != ERROR_FORBIDDEN || !strstr(error_message(&item->error), "is forbidden: User "))
                return false;
        atomic_compare_exchange_strong(&item->run->forbidden_until_ms, &unset, now_ms + RIGHTS_WAIT_MS);
        return now_ms < atomic_load(&item->run->forbidden_until_ms);
}

void apply_try(struct apply_item *item)
{
        while (try_item(item, &item->error) != 0 && rights_may_come(item)) {
                error_release(&item->error);
                json_free(&item->metadata_patch);
                if (context_sleep(item->run->context, RIGHTS_PAUSE_MS, &item->error) != 0) {
                        apply_error(item, "dry-run", &item->error);
                        return;
                }
        }
}

/* ---- writing ---- */

static int patch_metadata(const struct apply_item *item, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        struct kube_request request = request_of(item, KUBE_PATCH_JSON);

        json_print(item->metadata_patch, &text);
        request.body = buffer_view(&text);
        if (call(item, &request, &answer, error) != 0)
                return apply_error(item, "metadata.managedFields cleanup", error);
        return 0;
}

/* `finalizers` as text; NULL: it has none. */
static int still_there(const struct apply_item *item, const char *finalizers, struct error *error)
{
        cleanup(buffer_release) struct buffer id = BUFFER_NULL;

        object_id_describe(&item->id, &id);
        return error_set(
                error, ERROR_TIMEOUT, "%s immutable field detected, it was deleted to be created again but is still there%s%s%s",
                buffer_string(&id), finalizers ? ": finalizers " : "", finalizers ? finalizers : "", finalizers ? " hold it" : "");
}

/* Deletes the object that was tried, as it was tried, and waits until it is gone. */
static int delete_first(struct apply_item *item, struct error *error)
{
        const struct apply_settings *settings = item->run->settings;
        int64_t until = clock_now_ms() + (settings->recreate_ms ? settings->recreate_ms : RECREATE_WAIT_MS);
        int64_t pause_ms = RECREATE_PAUSE_MS;
        struct kube_request request = request_of(item, KUBE_DELETE);
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        cleanup(buffer_release) struct buffer id = BUFFER_NULL;
        cleanup(trial_release) struct trial trial = { .live = NULL };
        cleanup(free_string) char *finalizers = NULL;
        bool seen = false;

        object_id_describe(&item->id, &id);
        if (!*item->uid || !*item->version)
                return error_set(error, ERROR_INTERNAL, "%s immutable field detected, not deleted: the server named no uid of it",
                                 buffer_string(&id));
        request.propagation = "Background";
        request.uid = item->uid;
        request.resource_version = item->version;
        if (call(item, &request, &answer, error) != 0) {
                if (!kube_is_absent(error))
                        return error_wrap(error, "%s immutable field detected, failed to delete object", buffer_string(&id));
                error_release(error);
        }
        for (;;) {
                if (read_live(item, &trial, error) != 0)
                        break;
                if (!trial.live || strcmp(json_string(JSON_PATH(trial.live, "metadata", "uid"), ""), item->uid) != 0)
                        return 0;
                seen = true;
                free_string(&finalizers);
                if (json_length(JSON_PATH(trial.live, "metadata", "finalizers")) > 0)
                        finalizers = json_text(JSON_PATH(trial.live, "metadata", "finalizers"));
                if (clock_now_ms() >= until)
                        return still_there(item, finalizers, error);
                if (context_sleep(item->run->context, pause_ms, error) != 0)
                        break;
                pause_ms = pause_ms * 2 < RECREATE_PAUSE_MAX ? pause_ms * 2 : RECREATE_PAUSE_MAX;
        }
        /* The time of the run, which began before, is over first. */
        if (seen && error->kind == ERROR_TIMEOUT)
                return still_there(item, finalizers, error);
        return error_wrap(error, "%s immutable field detected, failed to wait for object to be deleted", buffer_string(&id));
}

static bool same_as_live(const struct apply_item *item, const struct drift_digest *answer)
{
        return item->live.resource_version && !item->metadata_patch && item->live.texts == answer->texts &&
               drift_digest_same(&item->live, answer);
}

static int write_payload(struct apply_item *item, struct buffer *ret_answer, struct error *error)
{
        while (apply_once(item, false, ret_answer, error) != 0) {
                item->unanswered = error->http_status == 0 || error->http_status >= 500;
                if (!forget_unknown_fields(item, error))
                        return apply_error(item, "apply", error);
                error_release(error);
        }
        item->written = true;
        return 0;
}

/* Who is taken over still holds something after the apply: that becomes ours, and what of it is not wanted goes with another apply. */
static int take_over_rest(struct apply_item *item, struct buffer *answer, struct error *error)
{
        cleanup(json_free) struct json *object = NULL;

        if (json_parse(buffer_view(answer), &object, error) != 0 ||
            apply_metadata_patch(item->run, object, false, NULL, &item->metadata_patch, error) != 0)
                return apply_error(item, "metadata.managedFields cleanup", error);
        if (!item->metadata_patch)
                return 0;
        TRY(patch_metadata(item, error));
        return write_payload(item, answer, error);
}

/* What moved since it was tried is tried again: perhaps it need not be deleted any more. */
static int make_room(struct apply_item *item, struct error *error)
{
        int tries;

        for (tries = 1; item->plan == PLAN_RECREATE; tries++) {
                if (delete_first(item, error) == 0) {
                        item->action = APPLY_CREATED;
                        return 0;
                }
                if (error->kind != ERROR_CONFLICT || tries == RECREATE_TRIES)
                        return -1;
                error_release(error);
                if (context_sleep(item->run->context, RECREATE_PAUSE_MS, error) != 0)
                        return apply_error(item, "apply", error);
                json_free(&item->metadata_patch);
                TRY(try_item(item, error));
        }
        return 0;
}

static int write_as_planned(struct apply_item *item, struct buffer *ret_answer, struct error *error)
{
        TRY(make_room(item, error));
        if (item->plan == PLAN_SKIP || item->plan == PLAN_UNCHANGED)
                return 0;
        if (item->metadata_patch)
                TRY(patch_metadata(item, error));
        return write_payload(item, ret_answer, error);
}

/* It was accepted before, and somebody's edit stands in its way; or it is refused as a dry run would have been, which is what people are told of. */
static bool ask_after_all(const struct apply_item *item, const struct error *error)
{
        int status = error->http_status;

        if (!item->untried)
                return false;
        return item->alone ? status >= 400 && status <= 500 && status != 429 : status == 422;
}

static int write_after_asking(struct apply_item *item, struct buffer *answer, struct error *error)
{
        error_release(error);
        item->untried = item->alone = false;
        item->asks = true;
        apply_try(item);
        return item->error.kind != ERROR_NONE ? -1 : write_as_planned(item, answer, error);
}

static int write_item(struct apply_item *item, struct error *error)
{
        const struct apply_settings *settings = item->run->settings;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;
        cleanup(json_free) struct json *object = NULL;
        int r = write_as_planned(item, &answer, error);

        if (r != 0 && ask_after_all(item, error))
                r = write_after_asking(item, &answer, error);
        if (r != 0 || item->plan == PLAN_SKIP || item->plan == PLAN_UNCHANGED)
                return r;
        if (settings->drift) {
                struct drift_digest digest = drift_digest_of(settings->drift, buffer_view(&answer));

                if (digest.foreign && !digest.merge && !item->metadata_patch) {
                        TRY(take_over_rest(item, &answer, error));
                        digest = drift_digest_of(settings->drift, buffer_view(&answer));
                }
                if (item->action == APPLY_CONFIGURED && same_as_live(item, &digest))
                        item->action = APPLY_UNCHANGED;
        }
        if (json_parse(buffer_view(&answer), &object, error) != 0)
                return apply_error(item, "apply", error);
        note_uid(item, object);
        item->status = kstatus_compute(object, clock_wall_us(), NULL);
        remember(item, buffer_view(&answer));
        if (is_kind(item, "apiextensions.k8s.io", "CustomResourceDefinition"))
                kube_resource_forget(settings->client, json_string(JSON_PATH(object, "spec", "group"), ""));
        return 0;
}

void apply_write(struct apply_item *item)
{
        write_item(item, &item->error);
}
