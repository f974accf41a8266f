/*
 * source-controller: artifacts of Git repositories, for other controllers to build from.
 */
#include "source.h"

#include "base/clock.h"
#include "base/folder.h"
#include "net/git.h"
#include "net/server.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DRAIN_MS 5000

static struct {
        const char *storage_path, *storage_addr, *storage_adv_addr, *digest_algorithm;
        int64_t retention_ttl, retention_records;
        struct flag_list key_exchanges, host_algorithms;
        /* Accepted for the kinds that are not there yet, so that a Deployment needs no other arguments. */
        int64_t helm_index_max_size, helm_chart_max_size, helm_chart_file_max_size, helm_cache_max_size;
        const char *helm_cache_ttl, *helm_cache_purge_interval;
} options;

static const struct flag flags[] = {
        { .name = "storage-path",
          .type = FLAG_STRING,
          .target = &options.storage_path,
          .initial = "/data",
          .environment = "STORAGE_PATH",
          .help = "where artifacts are kept" },
        { .name = "storage-addr",
          .type = FLAG_STRING,
          .target = &options.storage_addr,
          .initial = ":9090",
          .environment = "STORAGE_ADDRESS",
          .help = "where artifacts are served" },
        { .name = "storage-adv-addr",
          .type = FLAG_STRING,
          .target = &options.storage_adv_addr,
          .environment = "STORAGE_ADV_ADDR",
          .help = "host[:port] in the addresses of artifacts" },
        { .name = "artifact-retention-ttl",
          .type = FLAG_DURATION,
          .target = &options.retention_ttl,
          .initial = "60s",
          .help = "how long artifacts that were replaced are kept" },
        { .name = "artifact-retention-records",
          .type = FLAG_INTEGER,
          .target = &options.retention_records,
          .initial = "2",
          .minimum = 1,
          .maximum = 1000,
          .help = "how many artifacts of an object are kept" },
        { .name = "artifact-digest-algo",
          .type = FLAG_STRING,
          .target = &options.digest_algorithm,
          .initial = "sha256",
          .help = "sha256, sha1, sha384, sha512 or blake3" },
        { .name = "ssh-kex-algos",
          .type = FLAG_LIST,
          .target = &options.key_exchanges,
          .help = "key exchange algorithms of ssh, by preference" },
        { .name = "ssh-hostkey-algos",
          .type = FLAG_LIST,
          .target = &options.host_algorithms,
          .help = "host key algorithms of ssh, by preference" },
        /* Common ones, with defaults from the environment. */
        { .name = "metrics-addr", .type = FLAG_STRING, .initial = ":8080", .environment = "METRICS_ADDR" },
        { .name = "events-addr", .type = FLAG_STRING, .environment = "EVENTS_ADDR" },
        { .name = "helm-index-max-size",
          .type = FLAG_INTEGER,
          .target = &options.helm_index_max_size,
          .initial = "52428800",
          .help = "for kinds that are not there yet" },
        { .name = "helm-chart-max-size",
          .type = FLAG_INTEGER,
          .target = &options.helm_chart_max_size,
          .initial = "10485760",
          .help = "for kinds that are not there yet" },
        { .name = "helm-chart-file-max-size",
          .type = FLAG_INTEGER,
          .target = &options.helm_chart_file_max_size,
          .initial = "5242880",
          .help = "for kinds that are not there yet" },
        { .name = "helm-cache-max-size",
          .type = FLAG_INTEGER,
          .target = &options.helm_cache_max_size,
          .initial = "0",
          .help = "for kinds that are not there yet" },
        { .name = "helm-cache-ttl",
          .type = FLAG_STRING,
          .target = &options.helm_cache_ttl,
          .initial = "15m",
          .help = "for kinds that are not there yet" },
        { .name = "helm-cache-purge-interval",
          .type = FLAG_STRING,
          .target = &options.helm_cache_purge_interval,
          .initial = "1m",
          .help = "for kinds that are not there yet" },
};

static struct feature_gate gates[] = {
        { "CacheSecretsAndConfigMaps", false },
        { "DisableConfigWatchers", false },
        { "ObjectLevelWorkloadIdentity", false },
};

static struct source_program program_state = { .start_lock = PTHREAD_MUTEX_INITIALIZER };
static struct server *server;
static struct server_files files;
static const struct server_route routes[] = { { "/", server_files_handle, &files } };

static int check(const struct runtime_flags *common, struct error *err)
{
        enum digest_algorithm algorithm;
        struct stat status;

        if (common->default_service_account && common->default_service_account[0] &&
            !feature_gate(gates, sizeof(gates) / sizeof(gates[0]), "ObjectLevelWorkloadIdentity"))
                return error_set(err, ERROR_INVALID,
                                 "--default-service-account needs the feature gate ObjectLevelWorkloadIdentity to be on");
        if (stat(options.storage_path, &status) < 0 || !S_ISDIR(status.st_mode))
                return error_set(err, ERROR_INVALID, "invalid dir path: %s", options.storage_path);
        return digest_algorithm_of(view_of(options.digest_algorithm), &algorithm, err);
}

/* "a,b" from the flag's items, for as long as the process lives. */
static struct view joined(const struct flag_list *list)
{
        struct buffer text = BUFFER_NULL;
        size_t length;

        for (size_t i = 0; i < list->count; i++) {
                if (i > 0)
                        buffer_add_char(&text, ',');
                buffer_add_view(&text, list->items[i]);
        }
        length = text.length;
        return (struct view){ buffer_steal(&text), length };
}

static int started(struct context *ctx, struct runtime *runtime, struct error *err)
{
        struct storage_options storage = {
                .path = options.storage_path,
                .listen_address = options.storage_addr,
                .advertised_address = options.storage_adv_addr,
                .retention_ttl_ms = options.retention_ttl / DURATION_MILLISECOND,
                .retention_records = (unsigned)options.retention_records,
        };
        struct server_options serving = { .address = options.storage_addr, .routes = routes, .route_count = 1 };

        (void)ctx;
        (void)runtime;
        TRY(digest_algorithm_of(view_of(options.digest_algorithm), &storage.algorithm, err));
        TRY(storage_open(&storage, &program_state.storage, err));
        folder_sweep("gitrepository-");
        files = (struct server_files){
                .root = storage_root(program_state.storage),
                .hidden = storage_hidden,
                .tag = storage_tag,
                .data = program_state.storage,
        };
        return server_start(&serving, &server, err);
}

static void stopped(struct runtime *runtime)
{
        (void)runtime;
        if (server)
                server_stop(&server, DRAIN_MS);
        source_stopped(&program_state);
        storage_close(&program_state.storage);
}

/* After the flags are read. */
static int check_and_prepare(const struct runtime_flags *common, struct error *err)
{
        TRY(check(common, err));
        program_state.ssh_key_exchanges = joined(&options.key_exchanges);
        program_state.ssh_host_algorithms = joined(&options.host_algorithms);
        return 0;
}

int main(int argc, char **argv)
{
        static struct controller *const controllers[] = { &git_repository_controller };
        static const struct program program = {
                .name = "source-controller",
                .controllers = controllers,
                .controller_count = sizeof(controllers) / sizeof(controllers[0]),
                .flags = flags,
                .flag_count = sizeof(flags) / sizeof(flags[0]),
                .concurrent = 2,
                .gates = gates,
                .gate_count = sizeof(gates) / sizeof(gates[0]),
                .prepare_jobs = git_prepare,
                .check = check_and_prepare,
                .started = started,
                .stopped = stopped,
        };

        git_repository_controller.data = &program_state;
        return program_main(argc, argv, &program);
}
