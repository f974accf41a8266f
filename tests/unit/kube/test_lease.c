/*
 * Leader election against an API server that is a string and a clock that the test turns.
 */
#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/context.h"
#include "data/json.h"
#include "kube/lease.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct server {
        pthread_mutex_t lock;
        struct json *record;
        int64_t version, now;
        bool away;      /* no answer */
        bool swallowed; /* the server acts, but the answer is lost */
        unsigned writes;
};

static int unavailable(struct error *error)
{
        return error_set(error, ERROR_UNAVAILABLE, "connection refused");
}

static int serve_get(void *data, struct context *ctx, struct buffer *ret_body, struct error *error)
{
        struct server *server = data;
        int r = 0;

        (void)ctx;
        pthread_mutex_lock(&server->lock);
        if (server->away)
                r = unavailable(error);
        else if (!server->record)
                r = error_set_reason(error, ERROR_NOT_FOUND, "NotFound", "not found");
        else
                json_print(server->record, ret_body);
        pthread_mutex_unlock(&server->lock);
        return r;
}

static int store(struct server *server, struct view body, struct buffer *ret_body, struct error *error)
{
        struct json *record = NULL;
        char version[24];

        assert_int_equal(json_parse(body, &record, error), 0);
        snprintf(version, sizeof(version), "%lld", (long long)++server->version);
        json_set_string(json_object_at(record, "metadata"), "resourceVersion", version);
        json_free(&server->record);
        server->record = record;
        server->writes++;
        if (server->swallowed)
                return unavailable(error);
        json_print(record, ret_body);
        return 0;
}

static int serve_create(void *data, struct context *ctx, struct view body, struct buffer *ret_body, struct error *error)
{
        struct server *server = data;
        int r;

        (void)ctx;
        pthread_mutex_lock(&server->lock);
        r = server->away     ? unavailable(error)
            : server->record ? error_set_reason(error, ERROR_CONFLICT, "AlreadyExists", "already exists")
                             : store(server, body, ret_body, error);
        pthread_mutex_unlock(&server->lock);
        return r;
}

static int serve_update(void *data, struct context *ctx, struct view body, struct buffer *ret_body, struct error *error)
{
        struct server *server = data;
        struct json *sent = NULL;
        int r;

        (void)ctx;
        pthread_mutex_lock(&server->lock);
        assert_int_equal(json_parse(body, &sent, error), 0);
        if (server->away)
                r = unavailable(error);
        else if (strcmp(json_string(JSON_PATH(sent, "metadata", "resourceVersion"), ""),
                        json_string(JSON_PATH(server->record, "metadata", "resourceVersion"), "")) != 0)
                r = error_set_reason(error, ERROR_CONFLICT, "Conflict", "the object has been modified");
        else
                r = store(server, body, ret_body, error);
        json_free(&sent);
        pthread_mutex_unlock(&server->lock);
        return r;
}

static int64_t server_now(void *data)
{
        return ((struct server *)data)->now;
}

static struct lease *candidate(struct server *server, const char *identity)
{
        struct lease_api api = { serve_get, serve_create, serve_update, server };

        return lease_new(&(struct lease_options){ .api = &api,
                                                  .namespace = "flux-system",
                                                  .name = "x-leader-election",
                                                  .identity = identity,
                                                  .release = true,
                                                  .data = server,
                                                  .now = server_now });
}

static const char *field(const struct server *server, const char *name)
{
        return json_string(JSON_PATH(server->record, "spec", name), "");
}

static int64_t number(const struct server *server, const char *name)
{
        return json_integer(JSON_PATH(server->record, "spec", name), -1);
}

static int try_once(struct lease *lease)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        struct context context;
        int r;

        context_open(&context, NULL, CLOCK_NEVER);
        r = lease_try(lease, &context, &error);
        context_close(&context);
        return r;
}

#define SERVER                                                                                                                     \
        {                                                                                                                          \
                .lock = PTHREAD_MUTEX_INITIALIZER, .now = 1000000                                                                  \
        }

static void the_first_one_makes_the_lease_and_renews_it(void **state)
{
        struct server server = SERVER;
        struct lease *lease = candidate(&server, "one");
        char acquired[64];

        (void)state;
        assert_int_equal(try_once(lease), 0);
        assert_string_equal(field(&server, "holderIdentity"), "one");
        assert_int_equal(number(&server, "leaseDurationSeconds"), 35);
        assert_int_equal(number(&server, "leaseTransitions"), 0);
        assert_string_equal(json_string(JSON_PATH(server.record, "metadata", "name"), ""), "x-leader-election");
        assert_int_equal(strlen(field(&server, "renewTime")), strlen("2026-01-01T00:00:00.000000Z"));
        snprintf(acquired, sizeof(acquired), "%s", field(&server, "acquireTime"));
        server.now += 5000;
        assert_int_equal(try_once(lease), 0);
        assert_string_equal(field(&server, "acquireTime"), acquired);
        assert_int_equal(number(&server, "leaseTransitions"), 0);
        assert_int_equal(server.writes, 2);
        lease_stop(&lease);
        json_free(&server.record);
}

static void a_foreign_lease_is_taken_when_it_stood_still_for_its_duration(void **state)
{
        struct server server = SERVER;
        struct lease *one = candidate(&server, "one"), *two = candidate(&server, "two");

        (void)state;
        assert_int_equal(try_once(one), 0);
        server.now += 3600 * 1000;
        /* However old it is by its own times: it counts from when it was first seen. */
        assert_int_equal(try_once(two), LEASE_FOREIGN);
        server.now += 34999;
        assert_int_equal(try_once(two), LEASE_FOREIGN);
        server.now += 1;
        assert_int_equal(try_once(two), 0);
        assert_string_equal(field(&server, "holderIdentity"), "two");
        assert_int_equal(number(&server, "leaseTransitions"), 1);
        assert_int_equal(try_once(one), LEASE_FOREIGN);
        lease_stop(&one);
        lease_stop(&two);
        json_free(&server.record);
}

static void a_renewed_lease_stays_foreign(void **state)
{
        struct server server = SERVER;
        struct lease *one = candidate(&server, "one"), *two = candidate(&server, "two");

        (void)state;
        assert_int_equal(try_once(one), 0);
        for (int i = 0; i < 20; i++) {
                struct timespec moment = { .tv_nsec = 2000 };

                server.now += 5000;
                nanosleep(&moment, NULL); /* another renewTime */
                assert_int_equal(try_once(one), 0);
                assert_int_equal(try_once(two), LEASE_FOREIGN);
        }
        lease_stop(&one);
        lease_stop(&two);
        json_free(&server.record);
}

static void a_renewal_without_an_answer_extends_nothing(void **state)
{
        struct server server = SERVER;
        struct lease *lease = candidate(&server, "one");

        (void)state;
        assert_int_equal(lease_until(lease), INT64_MIN);
        assert_int_equal(try_once(lease), 0);
        server.now += 10000;
        server.swallowed = true;
        assert_int_equal(try_once(lease), -1);
        server.swallowed = false;
        server.away = true;
        assert_int_equal(try_once(lease), -1);
        server.away = false;
        /* What was written without our knowing is ours: found again by reading. */
        assert_int_equal(try_once(lease), 0);
        assert_int_equal(number(&server, "leaseTransitions"), 0);
        lease_stop(&lease);
        json_free(&server.record);
}

static void a_lease_that_was_asked_for_is_given_back(void **state)
{
        struct server server = SERVER;
        struct lease *one = candidate(&server, "one"), *two = candidate(&server, "two");

        (void)state;
        server.swallowed = true;
        assert_int_equal(try_once(one), -1);
        assert_string_equal(field(&server, "holderIdentity"), "one");
        server.swallowed = false;
        assert_int_equal(try_once(two), LEASE_FOREIGN);
        lease_stop(&two); /* it is not that one's to give */
        assert_string_equal(field(&server, "holderIdentity"), "one");
        lease_stop(&one);
        assert_string_equal(field(&server, "holderIdentity"), "");
        json_free(&server.record);
}

static void a_lost_race_is_an_error_and_no_leadership(void **state)
{
        struct server server = SERVER;
        struct lease *one = candidate(&server, "one"), *two = candidate(&server, "two"), *three = candidate(&server, "three");

        (void)state;
        assert_int_equal(try_once(one), 0);
        assert_int_equal(try_once(two), LEASE_FOREIGN);
        assert_int_equal(try_once(three), LEASE_FOREIGN);
        server.now += 35000;
        assert_int_equal(try_once(two), 0);
        assert_int_equal(try_once(three), LEASE_FOREIGN);
        assert_int_equal(try_once(one), LEASE_FOREIGN);
        lease_stop(&one);
        lease_stop(&two);
        lease_stop(&three);
        json_free(&server.record);
}

static void names_carry_the_shard(void **state)
{
        char *plain = lease_name("source-controller", ""),
             *shard = lease_name("source-controller", "sharding.fluxcd.io/key=shard1");

        (void)state;
        assert_string_equal(plain, "source-controller-leader-election");
        assert_int_equal(strlen(shard), strlen(plain) + 9);
        assert_memory_equal(shard, "source-controller-leader-election-", strlen(plain) + 1);
        free(plain);
        free(shard);
}

/* --- with its thread, in real time, which runs faster here --- */

struct replica {
        struct server *server;
        struct lease *lease;
        _Atomic int acquired, lost;
};

static void on_acquired(void *data)
{
        atomic_fetch_add(&((struct replica *)data)->acquired, 1);
}

static void on_lost(void *data)
{
        struct replica *replica = data;

        assert_true(lease_until(replica->lease) < clock_now_ms());
        atomic_fetch_add(&replica->lost, 1);
}

static int64_t real_now(void *data)
{
        (void)data;
        return clock_now_ms();
}

static void start(struct replica *replica, const char *identity)
{
        struct lease_api api = { serve_get, serve_create, serve_update, replica->server };

        replica->lease = lease_new(&(struct lease_options){ .api = &api,
                                                            .namespace = "n",
                                                            .name = "l",
                                                            .identity = identity,
                                                            .duration_ms = 1000,
                                                            .renew_deadline_ms = 500,
                                                            .retry_ms = 50,
                                                            .release = true,
                                                            .acquired = on_acquired,
                                                            .lost = on_lost,
                                                            .data = replica,
                                                            .now = real_now });
        lease_run(replica->lease);
}

static bool reaches(_Atomic int *counter, int value)
{
        int64_t limit = clock_now_ms() + 20000;

        while (atomic_load(counter) < value && clock_now_ms() < limit) {
                struct timespec moment = { .tv_nsec = 1000000 };

                nanosleep(&moment, NULL);
        }
        return atomic_load(counter) >= value;
}

static void set_away(struct server *server, bool away)
{
        pthread_mutex_lock(&server->lock);
        server->away = away;
        pthread_mutex_unlock(&server->lock);
}

static void leadership_ends_before_another_can_begin(void **state)
{
        struct server server = SERVER;
        struct replica one = { .server = &server }, two = { .server = &server };
        int64_t cut;

        (void)state;
        start(&one, "one");
        assert_true(reaches(&one.acquired, 1));
        assert_true(lease_held(one.lease));
        start(&two, "two");
        set_away(&server, true);
        cut = clock_now_ms();
        assert_true(lease_until(one.lease) <= cut + 500);
        assert_true(reaches(&one.lost, 1));
        assert_false(lease_held(one.lease));
        assert_int_equal(two.acquired, 0);
        set_away(&server, false);
        /* One of the two leads again, and gives it back at its end: the other one follows at once. */
        {
                int64_t limit = clock_now_ms() + 20000;
                struct replica *leader, *other;

                while (!lease_held(one.lease) && !lease_held(two.lease) && clock_now_ms() < limit) {
                        struct timespec moment = { .tv_nsec = 1000000 };

                        nanosleep(&moment, NULL);
                }
                assert_true(clock_now_ms() < limit);
                leader = lease_held(two.lease) ? &two : &one;
                other = leader == &one ? &two : &one;
                limit = atomic_load(&other->acquired) + 1;
                lease_stop(&leader->lease);
                assert_true(reaches(&other->acquired, (int)limit));
                lease_stop(&other->lease);
        }
        assert_string_equal(field(&server, "holderIdentity"), "");
        assert_int_equal(number(&server, "leaseDurationSeconds"), 1);
        json_free(&server.record);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_one_makes_the_lease_and_renews_it),
                cmocka_unit_test(a_foreign_lease_is_taken_when_it_stood_still_for_its_duration),
                cmocka_unit_test(a_renewed_lease_stays_foreign),
                cmocka_unit_test(a_renewal_without_an_answer_extends_nothing),
                cmocka_unit_test(a_lease_that_was_asked_for_is_given_back),
                cmocka_unit_test(a_lost_race_is_an_error_and_no_leadership),
                cmocka_unit_test(names_carry_the_shard),
                cmocka_unit_test(leadership_ends_before_another_can_begin),
        };

        return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
