#include "../test.h"

#include "base/clock.h"
#include "kube/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a model of the queue: slow and plain --- */

#define SPACES 4
#define NAMES  6
#define KEYS   (SPACES * NAMES)
#define LEVELS 3

static const int priorities[LEVELS] = { 10, 0, -100 };

enum model_state { RESTING, WAITING, READY, RUNNING };

struct model {
        int64_t now;
        struct {
                enum model_state state;
                int priority;
                bool retry;
                int64_t at, sequence;
                unsigned failures;
                bool again;
                int again_priority;
                bool again_retry;
                int64_t again_at;
        } keys[KEYS];
        /* Per level: namespaces that have ready items, in turn; and in what order items came. */
        int turns[LEVELS][SPACES];
        int turn_count[LEVELS];
        int64_t sequence;
};

static int64_t model_now(void *data)
{
        return ((struct model *)data)->now;
}

static int level_of(int priority)
{
        return priority >= 10 ? 0 : priority >= 0 ? 1 : 2;
}

static bool space_has_ready(const struct model *model, int level, int space)
{
        for (int k = space * NAMES; k < (space + 1) * NAMES; k++)
                if (model->keys[k].state == READY && level_of(model->keys[k].priority) == level)
                        return true;
        return false;
}

static void drop_turn(struct model *model, int level, int space)
{
        int *turns = model->turns[level], count = 0;

        for (int i = 0; i < model->turn_count[level]; i++)
                if (turns[i] != space)
                        turns[count++] = turns[i];
        model->turn_count[level] = count;
}

static void model_ready(struct model *model, int key)
{
        int level = level_of(model->keys[key].priority), space = key / NAMES;

        if (!space_has_ready(model, level, space))
                model->turns[level][model->turn_count[level]++] = space;
        model->keys[key].state = READY;
        model->keys[key].sequence = model->sequence++;
}

static void model_unready(struct model *model, int key, bool served)
{
        int level = level_of(model->keys[key].priority), space = key / NAMES;

        model->keys[key].state = RESTING;
        if (served || !space_has_ready(model, level, space))
                drop_turn(model, level, space);
        if (served && space_has_ready(model, level, space))
                model->turns[level][model->turn_count[level]++] = space;
}

static void model_start(struct model *model, int key, int priority, bool retry, int64_t at)
{
        model->keys[key].priority = priority;
        model->keys[key].retry = retry;
        model->keys[key].at = at;
        if (at <= model->now)
                model_ready(model, key);
        else
                model->keys[key].state = WAITING;
}

static void model_add(struct model *model, int key, int priority, bool retry, int64_t at)
{
        switch (model->keys[key].state) {
        case RESTING:
                model_start(model, key, priority, retry, at);
                break;
        case WAITING:
                model->keys[key].state = RESTING;
                model_start(model, key, priority > model->keys[key].priority ? priority : model->keys[key].priority,
                            retry && model->keys[key].retry, at < model->keys[key].at ? at : model->keys[key].at);
                break;
        case READY:
                if (priority > model->keys[key].priority) {
                        model_unready(model, key, false);
                        model->keys[key].priority = priority;
                        model_ready(model, key);
                }
                model->keys[key].retry &= retry;
                break;
        case RUNNING:
                if (!model->keys[key].again || at < model->keys[key].again_at)
                        model->keys[key].again_at = at;
                if (!model->keys[key].again || priority > model->keys[key].again_priority)
                        model->keys[key].again_priority = priority;
                model->keys[key].again_retry = retry && (!model->keys[key].again || model->keys[key].again_retry);
                model->keys[key].again = true;
                break;
        }
}

/* In the order of their times; equal times may come in any order, so the test keeps them different. */
static void model_promote(struct model *model)
{
        for (;;) {
                int first = -1;

                for (int k = 0; k < KEYS; k++)
                        if (model->keys[k].state == WAITING && model->keys[k].at <= model->now &&
                            (first < 0 || model->keys[k].at < model->keys[first].at))
                                first = k;
                if (first < 0)
                        return;
                model_ready(model, first);
        }
}

static int model_take(struct model *model, bool fresh_only)
{
        model_promote(model);
        for (int level = 0; level < (fresh_only ? 2 : LEVELS); level++) {
                for (int t = 0; t < model->turn_count[level]; t++) {
                        int space = model->turns[level][t], best = -1;

                        for (int k = space * NAMES; k < (space + 1) * NAMES; k++)
                                if (model->keys[k].state == READY && level_of(model->keys[k].priority) == level &&
                                    !(fresh_only && model->keys[k].retry) &&
                                    (best < 0 || model->keys[k].sequence < model->keys[best].sequence))
                                        best = k;
                        if (best < 0)
                                continue;
                        model_unready(model, best, true);
                        model->keys[best].state = RUNNING;
                        return best;
                }
        }
        return -1;
}

static void key_names(int key, char space[16], char name[16])
{
        snprintf(space, 16, "ns%d", key / NAMES);
        snprintf(name, 16, "o%d", key % NAMES);
}

static int key_of(const struct queue_item *item)
{
        return item ? (item->namespace[2] - '0') * NAMES + item->name[1] - '0' : -1;
}

static void random_operations_equal_the_model(void **state)
{
        static struct model model;
        struct queue *queue = queue_new(
                &(struct queue_options){ .base_delay_ms = 750, .maximum_delay_ms = 900000, .now = model_now, .data = &model });
        const struct queue_item *running[KEYS] = { NULL };
        unsigned seed = 42;
        uint64_t taken = 0;

        (void)state;
        model.now = 1;
        for (int i = 0; i < 1000000; i++) {
                int key = rand_r(&seed) % KEYS, priority = priorities[rand_r(&seed) % LEVELS];
                char space[16], name[16];

                /* Odd instants for now, even ones for what comes later, and no two alike. */
                model.now += 2 * (rand_r(&seed) % 50);
                key_names(key, space, name);
                switch (rand_r(&seed) % 8) {
                case 0:
                case 1:
                        queue_add(queue, space, name, priority);
                        model_add(&model, key, priority, false, model.now);
                        break;
                case 2: {
                        int64_t delay = 2 * (int64_t)(rand_r(&seed) % 100) * 1000 * KEYS + 2 * key + 1;

                        /* One pending time per key and no two keys the same: the order of ties is nobody's business. */
                        delay += (KEYS * 2 - (model.now + delay) % (KEYS * 2)) + 2 * key;
                        queue_add_after(queue, space, name, priority, delay);
                        model_add(&model, key, priority, false, model.now + delay);
                        break;
                }
                case 3: {
                        int64_t expected = 750;

                        for (unsigned n = 0; n < model.keys[key].failures && expected < 900000; n++)
                                expected *= 2;
                        if (expected > 900000)
                                expected = 900000;
                        if (model.keys[key].state != RUNNING)
                                break;
                        assert_int_equal(queue_add_limited(queue, space, name, priority), expected);
                        model.keys[key].failures++;
                        model_add(&model, key, priority, true, model.now + expected);
                        break;
                }
                case 4:
                        queue_forget(queue, space, name);
                        model.keys[key].failures = 0;
                        break;
                case 5:
                        if (running[key]) {
                                queue_done(queue, running[key]);
                                running[key] = NULL;
                                model.keys[key].state = RESTING;
                                if (model.keys[key].again) {
                                        model.keys[key].again = false;
                                        model_start(&model, key, model.keys[key].again_priority, model.keys[key].again_retry,
                                                    model.keys[key].again_at);
                                }
                        }
                        break;
                default: {
                        bool fresh_only = rand_r(&seed) % 4 == 0;
                        const struct queue_item *item = queue_try(queue, fresh_only);
                        int expected = model_take(&model, fresh_only), got = key_of(item);

                        assert_int_equal(got, expected);
                        if (got >= 0) {
                                assert_null(running[got]);
                                assert_int_equal(item->priority, model.keys[got].priority);
                                assert_int_equal(item->retry, model.keys[got].retry);
                                running[got] = item;
                                taken++;
                        }
                        break;
                }
                }
                key_names(key, space, name);
                assert_int_equal(queue_failures(queue, space, name), model.keys[key].failures);
        }
        assert_true(taken > 10000);
        queue_free(&queue);
}

static void failures_back_off_and_success_resets(void **state)
{
        static const int64_t delays[] = {
                750, 1500, 3000, 6000, 12000, 24000, 48000, 96000, 192000, 384000, 768000, 900000, 900000
        };
        struct queue *queue = queue_new(&(struct queue_options){ .base_delay_ms = 0 });

        (void)state;
        for (size_t i = 0; i < COUNT(delays); i++)
                assert_int_equal(queue_add_limited(queue, "a", "b", 0), delays[i]);
        queue_forget(queue, "a", "b");
        assert_int_equal(queue_add_limited(queue, "a", "b", 0), 750);
        queue_free(&queue);
}

/* What waits for its turn goes on waiting: only failures may have come of what is over. */
static void retries_can_be_hurried(void **state)
{
        struct queue *queue = queue_new(&(struct queue_options){ .base_delay_ms = 0 });
        const struct queue_item *item, *running;
        struct queue_counts counts;

        (void)state;
        for (int i = 0; i < 10; i++)
                queue_add_limited(queue, "ns", "failing", 0);
        queue_add_retry(queue, "ns", "hourly", 0, 3600000);
        queue_add_after(queue, "ns", "well", 0, 3600000);
        queue_add_retry(queue, "ns", "changed", 0, 3600000);
        queue_add_after(queue, "ns", "changed", 0, 1800000);
        queue_add(queue, "ns", "runs", 0);
        running = queue_try(queue, false);
        assert_string_equal(running->name, "runs");
        assert_true(queue_add_limited(queue, "ns", "runs", 0) > 0);
        assert_null(queue_try(queue, false));

        queue_hurry(queue);
        queue_done(queue, running);
        queue_counts(queue, &counts);
        assert_int_equal(counts.ready, 3);
        assert_int_equal(counts.waiting, 2);
        assert_int_equal(queue_failures(queue, "ns", "failing"), 0);
        assert_int_equal(queue_failures(queue, "ns", "runs"), 0);
        assert_null(queue_try(queue, true)); /* retries they are */
        for (int i = 0; i < 3; i++) {
                item = queue_try(queue, false);
                assert_true(item->retry);
                assert_string_not_equal(item->name, "well");
                queue_done(queue, item);
        }
        assert_null(queue_try(queue, false));
        queue_free(&queue);
}

static void a_change_goes_before_the_initial_list(void **state)
{
        struct queue *queue = queue_new(&(struct queue_options){ .base_delay_ms = 0 });
        const struct queue_item *item;
        char name[16];

        (void)state;
        for (int i = 0; i < 500; i++) {
                snprintf(name, sizeof(name), "o%d", i);
                queue_add(queue, "ns", name, QUEUE_PRIORITY_INITIAL);
        }
        queue_add(queue, "ns", "o321", QUEUE_PRIORITY_NORMAL);
        item = queue_try(queue, false);
        assert_string_equal(item->name, "o321");
        queue_done(queue, item);
        item = queue_try(queue, false);
        assert_string_equal(item->name, "o0");
        queue_done(queue, item);
        /* Nothing of the initial list is for the worker that is kept free. */
        assert_null(queue_try(queue, true));
        queue_free(&queue);
}

static void adds_while_it_runs_are_one_more_run(void **state)
{
        struct queue *queue = queue_new(&(struct queue_options){ .base_delay_ms = 0 });
        const struct queue_item *item;

        (void)state;
        queue_add(queue, "ns", "a", 0);
        item = queue_try(queue, false);
        for (int i = 0; i < 1000; i++)
                queue_add(queue, "ns", "a", 0);
        assert_null(queue_try(queue, false));
        queue_done(queue, item);
        item = queue_try(queue, false);
        assert_non_null(item);
        queue_done(queue, item);
        assert_null(queue_try(queue, false));
        queue_free(&queue);
}

static void namespaces_take_turns(void **state)
{
        static const char *const expected[] = { "big/o0", "small/x", "big/o1", "big/o2" };
        struct queue *queue = queue_new(&(struct queue_options){ .base_delay_ms = 0 });
        char name[16], got[64];

        (void)state;
        for (int i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "o%d", i);
                queue_add(queue, "big", name, 0);
        }
        queue_add(queue, "small", "x", 0);
        for (size_t i = 0; i < COUNT(expected); i++) {
                const struct queue_item *item = queue_try(queue, false);

                snprintf(got, sizeof(got), "%s/%s", item->namespace, item->name);
                assert_string_equal(got, expected[i]);
                queue_done(queue, item);
        }
        queue_free(&queue);
}

/* --- threads --- */

#define WORKERS      8
#define OBJECTS      50
#define ADDS         20000
#define RACE_LIMIT_S 60

struct race {
        struct queue *queue;
        _Atomic int running[OBJECTS];
        _Atomic int pending[OBJECTS]; /* adds that no run began after */
        _Atomic int runs, overlaps;
};

struct racer {
        struct race *race;
        bool fresh_only;
};

static void *race_worker(void *argument)
{
        struct racer *racer = argument;
        struct race *race = racer->race;
        const struct queue_item *item;

        while ((item = queue_take(race->queue, racer->fresh_only, CLOCK_NEVER))) {
                int object = atoi(item->name);

                if (atomic_fetch_add(&race->running[object], 1) != 0)
                        atomic_fetch_add(&race->overlaps, 1);
                atomic_store(&race->pending[object], 0);
                atomic_fetch_add(&race->runs, 1);
                atomic_fetch_sub(&race->running[object], 1);
                if (atomic_load(&race->runs) % 7 == 0)
                        queue_add_after(race->queue, item->namespace, item->name, item->priority, 1);
                queue_done(race->queue, item);
        }
        return NULL;
}

static void every_add_is_followed_by_a_run_and_none_overlap(void **state)
{
        static struct race race;
        struct racer racers[WORKERS];
        pthread_t threads[WORKERS];
        unsigned seed = 7;
        int64_t limit = clock_now_ms() + RACE_LIMIT_S * 1000;
        bool left = true;

        (void)state;
        race.queue = queue_new(&(struct queue_options){ .base_delay_ms = 1 });
        for (int i = 0; i < WORKERS; i++) {
                racers[i] = (struct racer){ &race, i == WORKERS - 1 };
                pthread_create(&threads[i], NULL, race_worker, &racers[i]);
        }
        for (int i = 0; i < ADDS; i++) {
                int object = rand_r(&seed) % OBJECTS;
                char name[16];

                snprintf(name, sizeof(name), "%d", object);
                atomic_store(&race.pending[object], 1);
                queue_add_after(race.queue, object % 2 ? "a" : "b", name, i % 3 ? 0 : -100, i % 5 ? 0 : i % 3);
        }
        while (left && clock_now_ms() < limit) {
                left = false;
                for (int i = 0; i < OBJECTS; i++)
                        left |= atomic_load(&race.pending[i]) != 0;
        }
        queue_shut_down(race.queue);
        for (int i = 0; i < WORKERS; i++)
                pthread_join(threads[i], NULL);
        assert_false(left);
        assert_int_equal(race.overlaps, 0);
        queue_free(&race.queue);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(random_operations_equal_the_model),
                cmocka_unit_test(failures_back_off_and_success_resets),
                cmocka_unit_test(retries_can_be_hurried),
                cmocka_unit_test(a_change_goes_before_the_initial_list),
                cmocka_unit_test(adds_while_it_runs_are_one_more_run),
                cmocka_unit_test(namespaces_take_turns),
                cmocka_unit_test(every_add_is_followed_by_a_run_and_none_overlap),
        };

        return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
