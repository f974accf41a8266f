#include "kube/event_correlate.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/pool.h"
#include "data/digest.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES        4096
#define BUCKETS        1024
#define SIMILAR        10
#define SIMILAR_FOR_MS ((int64_t)600 * 1000)
#define BURST          25
#define REFILL_MS      ((int64_t)300 * 1000)
#define KEPT_MS        (BURST * REFILL_MS) /* an object may have all its events again; servers keep an event for an hour */
#define KEY            16

/* What is known under one key; which part is used depends on the cache. */
struct memory {
        struct memory *chained, *newer, *older;
        uint8_t key[KEY];
        int64_t last_ms; /* all of a cache are in this order */
        /* the same event */
        int64_t first_us;
        uint64_t serial;
        uint32_t count;
        /* similar events */
        unsigned message_count;
        /* all events of an object */
        double tokens;
        uint64_t messages[SIMILAR]; /* there is room for these in `similar` alone */
};

/* A bounded map; the least recently used one goes, and what was not used for so long that it says nothing any more. */
struct cache {
        struct memory *buckets[BUCKETS], *newest, *oldest;
        size_t count, size; /* of memories; of one, in bytes */
        int64_t kept_ms;
};

struct event_correlator {
        struct cache similar, same, spam;
        uint64_t last_serial;
};

struct event_correlator *event_correlator_new(void)
{
        struct event_correlator *correlator = memory_zero(1, sizeof(*correlator));

        correlator->similar.size = sizeof(struct memory);
        correlator->same.size = correlator->spam.size = offsetof(struct memory, messages);
        correlator->similar.kept_ms = SIMILAR_FOR_MS;
        correlator->same.kept_ms = correlator->spam.kept_ms = KEPT_MS;
        return correlator;
}

static void cache_empty(struct cache *cache)
{
        while (cache->newest) {
                struct memory *memory = cache->newest;

                cache->newest = memory->older;
                pool_free(memory);
        }
}

void event_correlator_free(struct event_correlator **pointer)
{
        struct event_correlator *correlator = steal(pointer);

        if (!correlator)
                return;
        cache_empty(&correlator->similar);
        cache_empty(&correlator->same);
        cache_empty(&correlator->spam);
        free(correlator);
}

static struct memory **bucket_of(struct cache *cache, const uint8_t key[KEY])
{
        uint32_t hash;

        memcpy(&hash, key, sizeof(hash));
        return &cache->buckets[hash % BUCKETS];
}

static void unlink_memory(struct cache *cache, struct memory *memory)
{
        if (memory->newer)
                memory->newer->older = memory->older;
        else
                cache->newest = memory->older;
        if (memory->older)
                memory->older->newer = memory->newer;
        else
                cache->oldest = memory->newer;
        memory->newer = memory->older = NULL;
}

static void make_newest(struct cache *cache, struct memory *memory)
{
        memory->older = cache->newest;
        if (cache->newest)
                cache->newest->newer = memory;
        cache->newest = memory;
        if (!cache->oldest)
                cache->oldest = memory;
}

static void drop_oldest(struct cache *cache)
{
        struct memory *oldest = cache->oldest;
        struct memory **at = bucket_of(cache, oldest->key);

        while (*at != oldest)
                at = &(*at)->chained;
        *at = oldest->chained;
        unlink_memory(cache, oldest);
        pool_free(oldest);
        cache->count--;
}

/* What is known under the key; zeroed if nothing was. Its last_ms is the caller's to set, to now. */
static struct memory *recall(struct cache *cache, const uint8_t key[KEY], int64_t now_ms, bool *ret_new)
{
        struct memory **bucket = bucket_of(cache, key), *memory;

        while (cache->oldest && now_ms - cache->oldest->last_ms > cache->kept_ms)
                drop_oldest(cache);
        memory = *bucket;
        while (memory && memcmp(memory->key, key, KEY) != 0)
                memory = memory->chained;
        *ret_new = memory == NULL;
        if (memory) {
                unlink_memory(cache, memory);
        } else {
                if (cache->oldest && cache->count == ENTRIES)
                        drop_oldest(cache);
                memory = pool_allocate(cache->size);
                memcpy(memory->key, key, KEY);
                memory->chained = *bucket;
                *bucket = memory;
                cache->count++;
        }
        make_newest(cache, memory);
        return memory;
}

static void key_of(const struct view *parts, size_t count, uint8_t key[KEY])
{
        cleanup(digest_free) struct digest *digest = digest_begin(DIGEST_SHA256);
        uint8_t bytes[DIGEST_SIZE_LIMIT];
        size_t i;

        for (i = 0; i < count; i++) {
                digest_add(digest, parts[i]);
                digest_add(digest, VIEW("\0"));
        }
        digest_end_bytes(digest, bytes);
        memcpy(key, bytes, KEY);
}

/* True from the tenth different message on. */
static bool is_similar(struct memory *memory, uint64_t message, int64_t now_ms)
{
        unsigned i;

        memory->last_ms = now_ms;
        for (i = 0; i < memory->message_count; i++)
                if (memory->messages[i] == message)
                        return false;
        memory->messages[memory->message_count++] = message;
        if (memory->message_count < SIMILAR)
                return false;
        memory->message_count--;
        return true;
}

static bool is_spam(struct memory *memory, bool fresh, int64_t now_ms)
{
        if (fresh) {
                memory->tokens = BURST;
                memory->last_ms = now_ms;
        }
        memory->tokens += (double)(now_ms - memory->last_ms) / (double)REFILL_MS;
        if (memory->tokens > BURST)
                memory->tokens = BURST;
        memory->last_ms = now_ms;
        if (memory->tokens < 1)
                return true;
        memory->tokens -= 1;
        return false;
}

struct event_decision event_correlate(struct event_correlator *correlator, struct view object, struct view type, struct view reason,
                                      struct view message, int64_t now_ms, int64_t wall_us)
{
        const struct view parts[] = { object, type, reason, message };
        struct event_decision decision = { .action = EVENT_COUNT };
        struct memory *memory;
        uint8_t key[KEY];
        uint64_t text;
        bool fresh;

        key_of(&parts[3], 1, key);
        memcpy(&text, key, sizeof(text));
        key_of(parts, 3, key);
        memory = recall(&correlator->similar, key, now_ms, &fresh);
        decision.combined = is_similar(memory, text, now_ms);

        key_of(parts, decision.combined ? 3 : 4, key);
        memory = recall(&correlator->same, key, now_ms, &fresh);
        if (fresh) {
                decision.action = EVENT_CREATE;
                memory->first_us = wall_us;
                memory->serial = (uint64_t)wall_us * 1000;
                if (memory->serial <= correlator->last_serial)
                        memory->serial = correlator->last_serial + 1;
                correlator->last_serial = memory->serial;
        }
        memory->last_ms = now_ms;
        decision.count = ++memory->count;
        decision.first_us = memory->first_us;
        decision.serial = memory->serial;

        key_of(parts, 2, key);
        memory = recall(&correlator->spam, key, now_ms, &fresh);
        if (is_spam(memory, fresh, now_ms))
                decision.action = EVENT_DROP;
        return decision;
}
