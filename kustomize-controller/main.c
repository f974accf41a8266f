/*
 * kustomize-controller-manager: Kustomizations. Names the kind, its flags and its feature gates; the rest is kube/controller.h. It is started by
 * kustomize-controller (command.c).
 */
#include "base/cleanup.h"
#include "base/memory.h"
#include "kube/parallel.h"
#include "normalize.h"
#include "run.h"
#include "tunables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct flag flags[] = {
        { "concurrent-ssa", FLAG_INTEGER, &kustomize.concurrent_ssa, "4", NULL,
          "The number of concurrent server-side apply operations.", 1, 100 },
        { "http-retry", FLAG_INTEGER, &kustomize.http_retry, "9", NULL,
          "The maximum number of retries when failing to fetch artifacts over HTTP.", 0, 100 },
        { "no-remote-bases", FLAG_BOOL, &kustomize.no_remote_bases, "false", NULL,
          "Disallow remote bases usage in Kustomize overlays. They are never fetched; accepted for compatibility.", 0, 0 },
        { "drift-detection", FLAG_STRING, &kustomize.drift_detection, "watch", NULL,
          "How changes by others are found: watch (at once, by metadata watches) or dry-run (at each interval).", 0, 0 },
        { "override-manager", FLAG_LIST, &kustomize.override_managers, NULL, NULL,
          "Field manager whose changes are taken over (may be repeated).", 0, 0 },
        { "custom-apply-stage-kinds", FLAG_LIST, &kustomize.stage_kinds, NULL, NULL,
          "Kinds (group/Kind) that are applied in a stage of their own.", 0, 0 },
        { "sops-age-secret", FLAG_STRING, &kustomize.sops_age_secret, NULL, NULL,
          "Name of a Secret with age identities for decryption.", 0, 0 },
        { "sops-vault-configmap", FLAG_STRING, &kustomize.sops_vault_configmap, NULL, NULL,
          "Name of a ConfigMap with Vault logins for decryption.", 0, 0 },
};

static struct feature_gate gates[] = {
        { "DisableStatusPollerCache", true },
        { "StrictPostBuildSubstitutions", true },
        { "CancelHealthCheckOnNewRevision", true },
        { "CacheSecretsAndConfigMaps", false },
        { "DisableFailFastBehavior", false },
        { "GroupChangeLog", false },
        { "AdditiveCELDependencyCheck", false },
        { "ExternalArtifact", false },
        { "DisableConfigWatchers", false },
        { "DirectSourceFetch", false },
        { "MigrateAPIVersion", false },
        { "ObjectLevelWorkloadIdentity", false },
};

static int check(const struct runtime_flags *common, struct error *error)
{
        bool identity = feature_gate(gates, sizeof(gates) / sizeof(gates[0]), "ObjectLevelWorkloadIdentity");

        if (strcmp(kustomize.drift_detection, "watch") != 0 && strcmp(kustomize.drift_detection, "dry-run") != 0)
                return error_set(error, ERROR_INVALID, "--drift-detection must be watch or dry-run, not '%s'",
                                 kustomize.drift_detection);
        if (!identity && *common->default_decryption_service_account)
                return error_set(error, ERROR_INVALID,
                                 "--default-decryption-service-account needs the feature gate ObjectLevelWorkloadIdentity");
        if (!identity && *common->default_kubeconfig_service_account)
                return error_set(error, ERROR_INVALID,
                                 "--default-kubeconfig-service-account needs the feature gate ObjectLevelWorkloadIdentity");
        return 0;
}

static char *text_of(struct view view)
{
        return memory_string_n(view.data, view.length);
}

/* The flags' lists in the form in which apply takes them; for the life of the process. */
static void read_lists(void)
{
        kustomize.managers = memory_zero(kustomize.override_managers.count + 1, sizeof(*kustomize.managers));
        for (size_t i = 0; i < kustomize.override_managers.count; i++)
                kustomize.managers[i] = text_of(kustomize.override_managers.items[i]);
        kustomize.kinds = memory_zero(kustomize.stage_kinds.count, sizeof(*kustomize.kinds));
        kustomize.kind_count = kustomize.stage_kinds.count;
        for (size_t i = 0; i < kustomize.kind_count; i++) {
                struct view item = kustomize.stage_kinds.items[i];
                ptrdiff_t slash = view_find(item, '/', 0);

                kustomize.kinds[i].group = text_of(view_slice(item, 0, slash < 0 ? 0 : (size_t)slash));
                kustomize.kinds[i].kind = text_of(view_slice(item, (size_t)(slash + 1), SIZE_MAX));
        }
}

static int started(struct context *ctx, struct runtime *runtime, struct error *error)
{
        const struct artifact_options options = { .retries = (unsigned)kustomize.http_retry,
                                                  .source_host = getenv("SOURCE_CONTROLLER_LOCALHOST"),
                                                  .watcher_host = getenv("SOURCE_WATCHER_LOCALHOST") };

        (void)ctx;
        (void)error;
        if (!kustomize.managers)
                read_lists();
        kustomize.artifacts = artifact_cache_new(runtime->io, &options);
        kustomize.parallel = parallel_new((unsigned)kustomize.concurrent_ssa);
        if (strcmp(kustomize.drift_detection, "watch") == 0) {
                const struct drift_settings drift = { .field_manager = FIELD_MANAGER,
                                                      .label_group = KUSTOMIZATION_GROUP,
                                                      .override_managers = kustomize.managers,
                                                      .wake = wake_owner };
                const struct watch_pool_options pool = { .io = runtime->io,
                                                         .client = runtime->client,
                                                         .label_selector = LABEL_OWNER_NAME,
                                                         .handle = drift_seen,
                                                         .failed = drift_unwatched,
                                                         .restored = drift_restored,
                                                         .ended = drift_unused };

                kustomize.drift = drift_table_new(&drift);
                kustomize.watches = watch_pool_new(&pool);
        }
        kustomize.owners = owners_new(kustomize.watches);
        return 0;
}

static void stopped(struct runtime *runtime)
{
        (void)runtime;
        watch_pool_free(&kustomize.watches);
        owners_free(&kustomize.owners);
        drift_table_free(&kustomize.drift);
        parallel_free(&kustomize.parallel);
        artifact_cache_free(&kustomize.artifacts);
}

/* glibc has read what was for this process alone. */
static void keep_tunables(void)
{
        const char *tunables = getenv(TUNABLES_VARIABLE);

        if (tunables && strcmp(tunables, TUNABLES) == 0)
                unsetenv(TUNABLES_VARIABLE);
}

int main(int argc, char **argv)
{
        static struct controller *const controllers[] = { &kustomization_controller };
        static const struct program program = { .name = "kustomize-controller",
                                                .controllers = controllers,
                                                .controller_count = 1,
                                                .flags = flags,
                                                .flag_count = sizeof(flags) / sizeof(flags[0]),
                                                .concurrent = 4,
                                                .gates = gates,
                                                .gate_count = sizeof(gates) / sizeof(gates[0]),
                                                .prepare_jobs = substitute_prepare,
                                                .check = check,
                                                .started = started,
                                                .stopped = stopped };

        keep_tunables();
        return program_main(argc, argv, &program);
}
