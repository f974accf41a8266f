/*
 * What the account may do in whose name a Kustomization applies.
 *
 * A run that finds nothing to do sends no request in that name, and would never notice that the account has lost its rights: until the next push, which
 * then fails. So once an interval the API server is asked what the account may do, in one request for each namespace; if that is something else than when
 * everything was applied in its name, the run asks about every object so. Kustomizations that share an account share the answer for a while.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/digest.h"
#include "run.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAMESPACES_LIMIT 8
#define ANSWERS_LIMIT    256
#define SHARED_MS        30000
#define FORBIDDEN        UINT64_C(1)

/* The order of the rules is that of a map in the server: each counts for itself. */
static uint64_t sum_of(const struct json *rules)
{
        uint64_t sum = FORBIDDEN + 1;

        for (size_t i = 0; i < json_length(rules); i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                uint8_t bytes[DIGEST_SIZE_LIMIT];
                uint64_t one;

                json_print(json_at(rules, i), &text);
                digest_bytes_of(DIGEST_SHA256, buffer_view(&text), bytes);
                memcpy(&one, bytes, sizeof(one));
                sum += one;
        }
        return sum;
}

/* The last answers; the oldest goes when there are too many. */
static struct {
        pthread_mutex_t lock;
        struct answer {
                char *account, *namespace; /* "<namespace>/<name>"; where it acts */
                uint64_t sum;
                int64_t at_ms;
        } answers[ANSWERS_LIMIT];
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool is_about(const struct answer *answer, const char *account, const char *namespace)
{
        return answer->account && strcmp(answer->account, account) == 0 && strcmp(answer->namespace, namespace) == 0;
}

/* With the lock held: the answer about the account there, or the place for one. */
static struct answer *answer_of(const char *account, const char *namespace)
{
        struct answer *oldest = shared.answers;

        for (size_t i = 0; i < ANSWERS_LIMIT; i++) {
                struct answer *answer = &shared.answers[i];

                if (!answer->account || is_about(answer, account, namespace))
                        return answer;
                if (answer->at_ms < oldest->at_ms)
                        oldest = answer;
        }
        return oldest;
}

static bool recall(const char *account, const char *namespace, int64_t period_ms, uint64_t *ret_sum)
{
        const struct answer *answer;
        bool found;

        pthread_mutex_lock(&shared.lock);
        answer = answer_of(account, namespace);
        found = is_about(answer, account, namespace) && clock_now_ms() - answer->at_ms < period_ms;
        if (found)
                *ret_sum = answer->sum;
        pthread_mutex_unlock(&shared.lock);
        return found;
}

static void keep(const char *account, const char *namespace, uint64_t sum)
{
        struct answer *answer;

        pthread_mutex_lock(&shared.lock);
        answer = answer_of(account, namespace);
        free(answer->account);
        free(answer->namespace);
        *answer = (struct answer){ memory_string(account), memory_string(namespace), sum, clock_now_ms() };
        pthread_mutex_unlock(&shared.lock);
}

/* 0; -1: it cannot be known now. */
static int review(struct context *ctx, struct run *run, const char *namespace, uint64_t *ret_sum)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(json_free) struct json *question = json_new_object(), *answer = NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct kube_request request = { .verb = KUBE_CREATE,
                                        .resource = kube_resource_intern("authorization.k8s.io", "v1", "SelfSubjectRulesReview",
                                                                         "selfsubjectrulesreviews", false) };

        json_set_string(question, "apiVersion", request.resource->api_version);
        json_set_string(question, "kind", request.resource->kind);
        json_set_string(json_object_at(question, "spec"), "namespace", namespace);
        json_print(question, &text);
        request.body = buffer_view(&text);
        if (kube_call_json(ctx, run->client, &request, &answer, &error) == 0) {
                *ret_sum = sum_of(json_path(answer, "status", "resourceRules", NULL));
                return 0;
        }
        *ret_sum = FORBIDDEN; /* not even that: nobody may act in its name any more */
        return error.kind == ERROR_FORBIDDEN ? 0 : -1;
}

/* The namespaces in which it has something. */
static size_t namespaces_of(struct run *run, const char *namespaces[NAMESPACES_LIMIT])
{
        struct inventory inventory = inventory_decode(json_path(run->object, "status", "inventory", NULL), run->arena);
        size_t count = 0;

        for (size_t i = 0; i < inventory.count && count < NAMESPACES_LIMIT; i++) {
                const char *namespace = inventory.items[i].namespace;
                bool known = !*namespace;

                for (size_t k = 0; k < count && !known; k++)
                        known = strcmp(namespaces[k], namespace) == 0;
                if (!known)
                        namespaces[count++] = namespace;
        }
        if (!count)
                namespaces[count++] = run->namespace;
        return count;
}

bool run_rights_changed(struct context *ctx, struct run *run)
{
        int64_t period_ms = run->spec.interval / DURATION_MILLISECOND / 2;
        const char *namespaces[NAMESPACES_LIMIT], *account;
        uint64_t rights = 0;

        if (!run_account(run) || !owners_rights_due(kustomize.owners, run->namespace, run->name, period_ms))
                return owners_rights_suspect(kustomize.owners, run->namespace, run->name);
        run_client(run);
        account = arena_printf(run->arena, "%s/%s", run->namespace, run_account(run));
        for (size_t i = 0, count = namespaces_of(run, namespaces); i < count; i++) {
                uint64_t sum;

                if (!recall(account, namespaces[i], period_ms < SHARED_MS ? period_ms : SHARED_MS, &sum)) {
                        if (review(ctx, run, namespaces[i], &sum) < 0)
                                return false;
                        keep(account, namespaces[i], sum);
                }
                rights = rights * 31 + sum;
        }
        return owners_rights_seen(kustomize.owners, run->namespace, run->name, rights);
}

void run_rights_proven(struct context *ctx, struct run *run)
{
        owners_rights_proven(kustomize.owners, run->namespace, run->name);
        if (kustomize.drift)
                run_rights_changed(ctx, run);
}
