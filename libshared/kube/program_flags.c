/*
 * The flags that every program has, its own, and what their values may be.
 */
#include "kube/program_private.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "data/selector.h"
#include "net/proxy.h"

#include <string.h>

#define FLAG_COUNT_LIMIT 128
#define LEASE_JITTER     1.2 /* as in client-go, which refuses the same times */

static struct runtime_flags values;
static char concurrent_initial[16];

#define STRING(name_, member_, initial_, environment_, help_)                                                                      \
        {                                                                                                                          \
                .name = (name_), .type = FLAG_STRING, .target = &values.member_, .initial = (initial_),                            \
                .environment = (environment_), .help = (help_)                                                                     \
        }
#define BOOL(name_, member_, initial_, help_)                                                                                      \
        {                                                                                                                          \
                .name = (name_), .type = FLAG_BOOL, .target = &values.member_, .initial = (initial_), .help = (help_)              \
        }
#define INTEGER(name_, member_, initial_, help_)                                                                                   \
        {                                                                                                                          \
                .name = (name_), .type = FLAG_INTEGER, .target = &values.member_, .initial = (initial_), .help = (help_)           \
        }
#define NUMBER(name_, member_, initial_, help_)                                                                                    \
        {                                                                                                                          \
                .name = (name_), .type = FLAG_NUMBER, .target = &values.member_, .initial = (initial_), .help = (help_)            \
        }
#define LIST(name_, member_, help_)                                                                                                \
        {                                                                                                                          \
                .name = (name_), .type = FLAG_LIST, .target = &values.member_, .help = (help_)                                     \
        }
#define DURATION(name_, member_, initial_, help_)                                                                                  \
        {                                                                                                                          \
                .name = (name_), .type = FLAG_DURATION, .target = &values.member_, .initial = (initial_), .help = (help_)          \
        }

static const struct flag common[] = {
        STRING("metrics-addr", metrics_addr, ":8080", NULL, "The address the metric endpoint binds to."),
        STRING("health-addr", health_addr, ":9440", NULL, "The address the health endpoint binds to."),
        STRING("events-addr", events_addr, "", NULL, "The address of the events receiver."),
        INTEGER("concurrent", concurrent, concurrent_initial, "The number of concurrent reconciles per controller."),
        NUMBER("kube-api-qps", kube_api_qps, "50", "Requests per second to an API server without priority and fairness."),
        INTEGER("kube-api-burst", kube_api_burst, "300", "Requests at once to an API server without priority and fairness."),
        STRING("log-level", log_level, "info", NULL, "Log verbosity level: 'trace', 'debug', 'info' or 'error'."),
        STRING("log-encoding", log_encoding, "json", NULL, "Log encoding format: 'json' or 'console'."),
        BOOL("enable-leader-election", enable_leader_election, "false", "Only one of several replicas works at a time."),
        BOOL("leader-election-release-on-cancel", leader_election_release_on_cancel, "true", "Give the lease back at the end."),
        DURATION("leader-election-lease-duration", leader_election_lease_duration, "35s", "When others may take a lease over."),
        DURATION("leader-election-renew-deadline", leader_election_renew_deadline, "30s",
                 "When a leader that cannot renew gives up."),
        DURATION("leader-election-retry-period", leader_election_retry_period, "5s", "How often a lease is tried or renewed."),
        DURATION("min-retry-delay", min_retry_delay, "750ms", "The first delay of a failing object."),
        DURATION("max-retry-delay", max_retry_delay, "15m", "The longest delay of a failing object."),
        DURATION("requeue-dependency", requeue_dependency, "30s", "How long to wait for a dependency that is not ready."),
        DURATION("graceful-shutdown-timeout", graceful_shutdown_timeout, "30s", "How long runs may take to end at a shutdown."),
        BOOL("watch-all-namespaces", watch_all_namespaces, "true", "Watch all namespaces, or only RUNTIME_NAMESPACE."),
        STRING("watch-label-selector", watch_label_selector, "", NULL, "Watch only objects with matching labels, for sharding."),
        STRING("watch-configs-label-selector", watch_configs_label_selector, "reconcile.fluxcd.io/watch=Enabled", NULL,
               "Watch only ConfigMaps and Secrets with matching labels."),
        INTEGER("interval-jitter-percentage", interval_jitter_percentage, "5", "How much intervals vary, in per cent: 0 to 99."),
        BOOL("no-cross-namespace-refs", no_cross_namespace_refs, "false", "References reach only into the object's own namespace."),
        BOOL("insecure-kubeconfig-exec", insecure_kubeconfig_exec, "false", "Allow exec plugins in kubeconfigs of Secrets."),
        BOOL("insecure-kubeconfig-tls", insecure_kubeconfig_tls, "false", "Allow unverified TLS in kubeconfigs of Secrets."),
        BOOL("insecure-allow-http", insecure_allow_http, "true", "Allow connections without TLS."),
        INTEGER("token-cache-max-size", token_cache_max_size, "100", "How many access tokens are kept; 0: none."),
        DURATION("token-cache-max-duration", token_cache_max_duration, "1h", "How long an access token is kept at most."),
        STRING("default-service-account", default_service_account, "", NULL, "Of objects that name none."),
        STRING("default-kubeconfig-service-account", default_kubeconfig_service_account, "", NULL,
               "Of kubeconfigs that name none."),
        STRING("default-decryption-service-account", default_decryption_service_account, "", NULL,
               "Of decryption that names none."),
        LIST("feature-gates", feature_gates, "A list of Gate=true|false (may be repeated)."),
};
#define COMMON_COUNT (sizeof(common) / sizeof(common[0]))

static struct flag table[FLAG_COUNT_LIMIT];
static size_t table_count;

static const struct flag *own_flag(const struct program *program, const char *name)
{
        for (size_t i = 0; i < program->flag_count; i++)
                if (strcmp(program->flags[i].name, name) == 0)
                        return &program->flags[i];
        return NULL;
}

static bool is_common(const char *name)
{
        for (size_t i = 0; i < COMMON_COUNT; i++)
                if (strcmp(common[i].name, name) == 0)
                        return true;
        return false;
}

/* A common flag that the program gives again has the program's default. */
static void build_table(const struct program *program)
{
        snprintf(concurrent_initial, sizeof(concurrent_initial), "%lld",
                 (long long)(program->concurrent ? program->concurrent : 4));
        table_count = 0;
        for (size_t i = 0; i < COMMON_COUNT; i++) {
                const struct flag *own = own_flag(program, common[i].name);

                table[table_count] = common[i];
                if (own) {
                        table[table_count].initial = own->initial;
                        table[table_count].environment = own->environment;
                }
                table_count++;
        }
        for (size_t i = 0; i < program->flag_count && table_count < FLAG_COUNT_LIMIT; i++)
                if (!is_common(program->flags[i].name))
                        table[table_count++] = program->flags[i];
}

static void copy_value(const struct flag *from, const struct flag *to)
{
        if (!to->target)
                return;
        switch (from->type) {
        case FLAG_STRING:
                *(const char **)to->target = *(const char **)from->target;
                break;
        case FLAG_BOOL:
                *(bool *)to->target = *(bool *)from->target;
                break;
        case FLAG_INTEGER:
        case FLAG_DURATION:
                *(int64_t *)to->target = *(int64_t *)from->target;
                break;
        case FLAG_NUMBER:
                *(double *)to->target = *(double *)from->target;
                break;
        case FLAG_LIST:
                *(struct flag_list *)to->target = *(struct flag_list *)from->target;
                break;
        }
}

int program_flags_parse(const struct program *program, int argc, char **argv, struct runtime_flags *ret_flags, struct error *error)
{
        int rest;

        build_table(program);
        if (flags_defaults(table, table_count, error) < 0)
                return -1;
        TRY(flags_parse(table, table_count, argc, argv, &rest, error));
        if (rest < argc)
                return error_set(error, ERROR_INVALID, "unexpected argument: %s", argv[rest]);
        for (size_t i = 0; i < COMMON_COUNT; i++) {
                const struct flag *own = own_flag(program, common[i].name);

                if (own && own->type == common[i].type)
                        copy_value(&common[i], own);
        }
        *ret_flags = values;
        return 0;
}

void program_usage(const struct program *program, FILE *out)
{
        flags_usage(table, table_count, program->name, out);
}

static int check_selector(const char *name, const char *text, struct error *error)
{
        cleanup(selector_free) struct selector *selector = NULL;

        if (selector_parse(view_of(text), &selector, error) < 0)
                return error_wrap(error, "--%s", name);
        return 0;
}

/* Of times that do not fit each other a leader would lose its lease again and again, or two would lead. */
static int check_election(const struct runtime_flags *flags, struct error *error)
{
        int64_t lease = flags->leader_election_lease_duration, renew = flags->leader_election_renew_deadline,
                retry = flags->leader_election_retry_period;

        if (!flags->enable_leader_election)
                return 0;
        if (lease < DURATION_SECOND || renew < DURATION_MILLISECOND || retry < DURATION_MILLISECOND)
                return error_set(error, ERROR_INVALID,
                                 "the lease duration must be at least a second, renew deadline and retry period a millisecond");
        if (renew >= lease)
                return error_set(error, ERROR_INVALID, "the lease duration must be longer than the renew deadline");
        if ((double)renew <= (double)retry * LEASE_JITTER)
                return error_set(error, ERROR_INVALID, "the renew deadline must be longer than %.1f retry periods", LEASE_JITTER);
        return 0;
}

/* Where plain connections are forbidden, one through a proxy that is reached in plain is too. */
static int check_proxy(const struct runtime_flags *flags, struct error *error)
{
        if (flags->insecure_allow_http || !proxy_environment_is_plain())
                return 0;
        return error_set(error, ERROR_INVALID,
                         "use of insecure plain HTTP connections is blocked: found HTTP proxy set in environment");
}

static int check_log(const struct runtime_flags *flags, struct error *error)
{
        enum log_level level;

        if (log_level_parse(flags->log_level, &level) < 0)
                return error_set(error, ERROR_INVALID, "--log-level must be trace, debug, info or error, not '%s'",
                                 flags->log_level);
        if (strcmp(flags->log_encoding, "json") != 0 && strcmp(flags->log_encoding, "console") != 0)
                return error_set(error, ERROR_INVALID, "--log-encoding must be json or console, not '%s'", flags->log_encoding);
        return 0;
}

int program_flags_check(const struct program *program, const struct runtime_flags *flags, struct error *error)
{
        TRY(check_log(flags, error));
        if (flags->interval_jitter_percentage < 0 || flags->interval_jitter_percentage >= 100)
                return error_set(error, ERROR_INVALID,
                                 "the interval jitter percentage must be a non-negative value and less than 100");
        if (flags->concurrent < 1 || flags->concurrent > 1024)
                return error_set(error, ERROR_INVALID, "--concurrent must be between 1 and 1024");
        TRY(check_election(flags, error));
        TRY(feature_gates_parse(program->gates, program->gate_count, &flags->feature_gates, error));
        TRY(check_selector("watch-label-selector", flags->watch_label_selector, error));
        TRY(check_selector("watch-configs-label-selector", flags->watch_configs_label_selector, error));
        TRY(check_proxy(flags, error));
        return program->check ? program->check(flags, error) : 0;
}

bool runtime_gate(const struct runtime *runtime, const char *name)
{
        return feature_gate(runtime->program->gates, runtime->program->gate_count, name);
}
