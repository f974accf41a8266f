/*
 * What the steps of a run share: who applies, how, and how the watches on what was applied are doing.
 */
#include "run.h"

#include "base/clock.h"

/* Without any event at all, everything is asked about again after so long. */
#define RECHECK_MS        (6 * 60 * 60 * INT64_C(1000))
#define RECHECK_INTERVALS 10

struct kustomize kustomize;

const char *run_account(const struct run *run)
{
        const char *account = run->spec.service_account_name;

        if (!account || !*account)
                account = run->reconcile->runtime->flags->default_service_account;
        return account && *account ? account : NULL;
}

void run_client(struct run *run)
{
        const struct runtime *runtime = run->reconcile->runtime;
        const char *account = run_account(run);

        if (run->client)
                return;
        if (!account)
                run->client = kube_client_ref(runtime->client);
        else
                run->client = kube_client_impersonate(
                        runtime->client, arena_printf(run->arena, "system:serviceaccount:%s:%s", run->namespace, account));
}

int64_t run_recheck_ms(const struct run *run)
{
        int64_t intervals = run->spec.interval / DURATION_MILLISECOND * RECHECK_INTERVALS;

        return intervals > RECHECK_MS ? intervals : RECHECK_MS;
}

static const struct apply_ignore *ignore_rules(struct run *run)
{
        struct apply_ignore *rules = arena_array(run->arena, run->spec.ignore.count, sizeof(*rules));

        for (size_t i = 0; i < run->spec.ignore.count; i++) {
                const struct ignore_rule *rule = &run->spec.ignore.items[i];
                const char **paths = arena_array(run->arena, rule->paths.count + 1, sizeof(*paths));

                for (size_t p = 0; p < rule->paths.count; p++)
                        paths[p] = rule->paths.items[p];
                rules[i] = (struct apply_ignore){ paths, rule->target };
        }
        return rules;
}

/* Itself and its source: without them nobody would apply what is declared. */
static const struct object_id *lifelines(struct run *run, size_t *ret_count)
{
        const struct source_reference *source = run->spec.source_ref;
        struct object_id *ids = arena_array(run->arena, 2, sizeof(*ids));

        ids[0] = (struct object_id){ KUSTOMIZATION_GROUP, "v1", "Kustomization", run->namespace, run->name };
        *ret_count = 1;
        if (source)
                ids[(*ret_count)++] =
                        (struct object_id){ SOURCE_GROUP, "v1", source->kind,
                                            source->namespace && *source->namespace ? source->namespace : run->namespace,
                                            source->name };
        return ids;
}

struct apply_settings run_settings(struct run *run)
{
        size_t count;
        const struct object_id *needed = lifelines(run, &count);

        return (struct apply_settings){ .client = run->client,
                                        .parallel = kustomize.parallel,
                                        .concurrency = (unsigned)kustomize.concurrent_ssa,
                                        .drift = kustomize.drift,
                                        .field_manager = FIELD_MANAGER,
                                        .annotation_group = KUSTOMIZATION_GROUP,
                                        .owner_name = run->name,
                                        .owner_namespace = run->namespace,
                                        .lifelines = needed,
                                        .lifeline_count = count,
                                        .account = run_account(run),
                                        .force = run->spec.force,
                                        .verify_all = !kustomize.drift || object_force_requested(run->object) ||
                                                      owners_rights_suspect(kustomize.owners, run->namespace, run->name),
                                        .explain = log_enabled(LOG_DEBUG),
                                        .migrate_api_version = runtime_gate(run->reconcile->runtime, "MigrateAPIVersion"),
                                        .override_managers = kustomize.managers,
                                        .stage_kinds = kustomize.kinds,
                                        .stage_kind_count = kustomize.kind_count,
                                        .ignore = ignore_rules(run),
                                        .ignore_count = run->spec.ignore.count,
                                        .recreate_ms = run->timeout_ns / DURATION_MILLISECOND,
                                        .recheck_ms = run_recheck_ms(run) };
}

/* What the pool's watches know about their own health, passed on to the table before it is asked. */
static void report_watch(void *data, const struct kube_resource *resource)
{
        int64_t now = clock_now_ms();
        struct watch *watch;

        (void)data;
        watch = watch_pool_use(kustomize.watches, resource);
        drift_watch_synced(kustomize.drift, resource, watch_synced(watch));
        if (watch_synced(watch))
                drift_watch_heard(kustomize.drift, resource,
                                  now - (watch_current(watch) ? watch_age_ms(watch) : DRIFT_WATCH_STALE_MS));
        watch_pool_release(kustomize.watches, resource);
}

void run_report_watches(struct run *run)
{
        if (kustomize.drift)
                owners_each_kind(kustomize.owners, run->namespace, run->name, report_watch, NULL);
}
