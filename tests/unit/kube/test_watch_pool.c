/*
 * Watches that come and go with their users, over the real io thread; nobody answers them.
 */
#include "../test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "kube/client.h"
#include "kube/watch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS  20000
#define LINGER_MS 50

struct fixture {
        struct io *io;
        struct kube_client *client;
        const struct kube_resource *config_maps, *services;
};

static int setup(void **state)
{
        cleanup(kube_config_free) struct kube_config *config = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        char path[] = "/tmp/test-watch-pool-XXXXXX";
        int fd = mkstemp(path);

        /* Port 1 refuses. */
        if (dprintf(fd, "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\"}}],\"clusters\":[{"
                        "\"name\":"
                        "\"k\",\"cluster\":{\"server\":\"http://127.0.0.1:1\"}}]}") < 0)
                return -1;
        close(fd);
        if (io_start(&fixture->io, &error) < 0 || kube_config_load_files(path, &config, &error) < 0 ||
            kube_client_new(fixture->io, &config, &(struct kube_client_options){ .user_agent = "test/1" }, &fixture->client,
                            &error) < 0)
                return -1;
        unlink(path);
        fixture->config_maps = kube_resource_intern("", "v1", "ConfigMap", "configmaps", true);
        fixture->services = kube_resource_intern("", "v1", "Service", "services", true);
        *state = fixture;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *fixture = *state;

        kube_client_release(&fixture->client);
        io_stop(&fixture->io);
        free(fixture);
        return 0;
}

static const struct kube_resource *_Atomic ended; /* the last whose watch ended for want of users */

static void note_end(void *data, const struct kube_resource *resource)
{
        (void)data;
        atomic_store(&ended, resource);
}

static struct watch_pool *pool_of(struct fixture *fixture, int64_t linger_ms)
{
        return watch_pool_new(&(struct watch_pool_options){
                .io = fixture->io, .client = fixture->client, .linger_ms = linger_ms, .ended = note_end });
}

static void users_of_one_resource_share_a_watch(void **state)
{
        struct fixture *fixture = *state;
        struct watch_pool *pool = pool_of(fixture, 0);
        struct watch *first = watch_pool_use(pool, fixture->config_maps);

        assert_ptr_equal(watch_pool_use(pool, fixture->config_maps), first);
        assert_ptr_not_equal(watch_pool_use(pool, fixture->services), first);
        assert_int_equal(watch_pool_count(pool), 2);
        assert_non_null(watch_pool_cache(pool, fixture->config_maps));
        assert_false(watch_synced(first));
        assert_int_equal(watch_age_ms(first), CLOCK_NEVER);
        watch_pool_free(&pool);
        assert_null(pool);
}

static void a_watch_ends_some_time_after_its_last_user(void **state)
{
        struct fixture *fixture = *state;
        struct watch_pool *pool = pool_of(fixture, 30);
        int64_t limit = clock_now_ms() + LIMIT_MS;

        watch_pool_use(pool, fixture->services);
        watch_pool_use(pool, fixture->config_maps);
        watch_pool_use(pool, fixture->config_maps);
        watch_pool_release(pool, fixture->config_maps);
        watch_pool_release(pool, fixture->config_maps);
        assert_int_equal(watch_pool_count(pool), 2);
        while (watch_pool_count(pool) > 1 && clock_now_ms() < limit)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        assert_int_equal(watch_pool_count(pool), 1);
        /* Who concludes something from a live watch is told that this one is none any more. */
        while (!atomic_load(&ended) && clock_now_ms() < limit)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        assert_ptr_equal(atomic_load(&ended), fixture->config_maps);
        assert_null(watch_pool_cache(pool, fixture->config_maps));
        assert_non_null(watch_pool_cache(pool, fixture->services));
        watch_pool_free(&pool);
}

static void a_new_user_keeps_it(void **state)
{
        struct fixture *fixture = *state;
        struct watch_pool *pool = pool_of(fixture, LINGER_MS);
        struct watch *first = watch_pool_use(pool, fixture->config_maps);
        int64_t begun = clock_now_ms();

        while (clock_now_ms() < begun + 4 * LINGER_MS) {
                int64_t released = clock_now_ms();
                struct watch *watch;

                watch_pool_release(pool, fixture->config_maps);
                watch = watch_pool_use(pool, fixture->config_maps);
                /* On a machine that stood still in between, it may have ended. */
                if (clock_now_ms() - released < LINGER_MS)
                        assert_ptr_equal(watch, first);
                first = watch;
        }
        assert_int_equal(watch_pool_count(pool), 1);
        watch_pool_free(&pool);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(users_of_one_resource_share_a_watch, setup, teardown),
                cmocka_unit_test_setup_teardown(a_watch_ends_some_time_after_its_last_user, setup, teardown),
                cmocka_unit_test_setup_teardown(a_new_user_keeps_it, setup, teardown),
        };

        return cmocka_run_group_tests_name("watch_pool", tests, NULL, NULL);
}
