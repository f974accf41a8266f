#include "kube/cache_private.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_LIMIT   16
#define HANDLER_LIMIT 16

/* One key of one object in one index. */
struct link {
        struct link *next;    /* in the index's bucket, which may be long: of one key */
        struct link **at;     /* what points at it there */
        struct link *sibling; /* of the same object */
        struct entry *entry;
        uint32_t index, hash;
        char key[];
};

struct entry {
        struct entry *next;
        union {
                const struct cache_object *object;
                struct cache_packed *packed; /* in a cache of headers */
        };
        struct link *links;
        uint32_t hash;
        uint32_t snapshot; /* the last one it was in */
};

struct cache_index_table {
        const struct cache_index *index;
        struct link **buckets;
        size_t bucket_count, count;
};

/* What handlers are to be told: created, updated, deleted. Owns its references. */
struct change {
        const struct cache_object *old, *new;
        bool initial;
};

/* What a list brought that the cache does not have yet. */
struct stage {
        struct change *changes;
        size_t count, capacity;
};

/* The io thread writes under the lock and reads without it; the others read under it. */
struct cache {
        pthread_mutex_t lock;
        enum cache_content content;
        bool staging; /* the io thread's, as the stage */
        bool older;   /* the io thread's: the list that comes in shows an older version */
        struct stage stage;
        struct entry **buckets;
        size_t bucket_count, count, bytes;
        uint32_t snapshot;
        unsigned index_count, handler_count;
        struct cache_index_table indexes[INDEX_LIMIT];
        struct {
                cache_event_fn *handle;
                void *data;
        } handlers[HANDLER_LIMIT];
};

struct cache_keys {
        struct buffer text; /* each terminated */
};

static uint32_t hash_key(struct view namespace, struct view name)
{
        return (uint32_t)hash_add(hash_add(HASH_EMPTY, namespace), name);
}

/* --- what an entry holds --- */

static struct view entry_namespace(const struct cache *cache, const struct entry *entry)
{
        return view_of(cache->content == CACHE_HEADERS ? entry->packed->text : entry->object->namespace);
}

static struct view entry_name(const struct cache *cache, const struct entry *entry)
{
        return view_of(cache->content == CACHE_HEADERS ? cache_next_text(entry->packed->text) : entry->object->name);
}

static bool entry_is(const struct cache *cache, const struct entry *entry, struct view uid, struct view resource_version)
{
        char text[UUID_TEXT];
        struct cache_header header;

        if (cache->content != CACHE_HEADERS)
                return view_is(uid, entry->object->uid) && view_is(resource_version, entry->object->resource_version);
        header = cache_unpack(entry->packed, text);
        return view_equal(uid, header.uid) && view_equal(resource_version, header.resource_version);
}

/* A reference of the caller's. */
static const struct cache_object *entry_object(const struct cache *cache, const struct entry *entry)
{
        char text[UUID_TEXT];
        struct cache_header header;

        if (cache->content != CACHE_HEADERS)
                return cache_object_reference(entry->object);
        header = cache_unpack(entry->packed, text);
        return cache_object_new(&header, VIEW_NULL, CACHE_HEADERS);
}

/* Takes the caller's reference over. */
static void entry_set(struct cache *cache, struct entry *entry, const struct cache_object *object)
{
        if (cache->content == CACHE_HEADERS) {
                entry->packed = cache_pack(object);
                cache->bytes += cache_packed_size(entry->packed);
                cache_object_release(&object);
        } else {
                entry->object = object;
                cache->bytes += cache_object_size(object);
        }
}

/* Returns the reference. */
static const struct cache_object *entry_take(struct cache *cache, struct entry *entry)
{
        const struct cache_object *object = entry->object;

        if (cache->content == CACHE_HEADERS) {
                object = entry_object(cache, entry);
                cache->bytes -= cache_packed_size(entry->packed);
                pool_free(entry->packed);
        } else {
                cache->bytes -= cache_object_size(object);
        }
        return object;
}

/* --- the table --- */

struct cache *cache_new(enum cache_content content)
{
        struct cache *cache = memory_zero(1, sizeof(*cache));

        pthread_mutex_init(&cache->lock, NULL);
        cache->content = content;
        cache->bucket_count = 16;
        cache->buckets = pool_allocate(cache->bucket_count * sizeof(struct entry *));
        return cache;
}

void cache_add_index(struct cache *cache, const struct cache_index *index)
{
        for (unsigned i = 0; i < cache->index_count; i++)
                if (strcmp(cache->indexes[i].index->name, index->name) == 0)
                        return;
        if (cache->index_count == INDEX_LIMIT)
                abort();
        cache->indexes[cache->index_count++] = (struct cache_index_table){
                .index = index,
                .buckets = pool_allocate(16 * sizeof(struct link *)),
                .bucket_count = 16,
        };
}

void cache_add_handler(struct cache *cache, cache_event_fn *handle, void *data)
{
        if (cache->handler_count == HANDLER_LIMIT)
                abort();
        cache->handlers[cache->handler_count].handle = handle;
        cache->handlers[cache->handler_count++].data = data;
}

static struct entry **find(struct cache *cache, uint32_t hash, struct view namespace, struct view name)
{
        struct entry **at = &cache->buckets[hash & (cache->bucket_count - 1)];

        while (*at && !((*at)->hash == hash && view_equal(name, entry_name(cache, *at)) &&
                        view_equal(namespace, entry_namespace(cache, *at))))
                at = &(*at)->next;
        return at;
}

static void grow(struct cache *cache)
{
        size_t count = cache->bucket_count * 2;
        struct entry **buckets = pool_allocate(count * sizeof(struct entry *));

        for (size_t i = 0; i < cache->bucket_count; i++) {
                while (cache->buckets[i]) {
                        struct entry *entry = cache->buckets[i];

                        cache->buckets[i] = entry->next;
                        entry->next = buckets[entry->hash & (count - 1)];
                        buckets[entry->hash & (count - 1)] = entry;
                }
        }
        pool_free(cache->buckets);
        cache->buckets = buckets;
        cache->bucket_count = count;
}

static void chain(struct link *link, struct link **bucket)
{
        link->at = bucket;
        link->next = *bucket;
        if (link->next)
                link->next->at = &link->next;
        *bucket = link;
}

static void grow_index(struct cache_index_table *table)
{
        size_t count = table->bucket_count * 2;
        struct link **buckets = pool_allocate(count * sizeof(struct link *));

        for (size_t i = 0; i < table->bucket_count; i++) {
                while (table->buckets[i]) {
                        struct link *link = table->buckets[i];

                        table->buckets[i] = link->next;
                        chain(link, &buckets[link->hash & (count - 1)]);
                }
        }
        pool_free(table->buckets);
        table->buckets = buckets;
        table->bucket_count = count;
}

void cache_keys_add(struct cache_keys *keys, struct view key)
{
        buffer_add_view(&keys->text, key);
        buffer_add_char(&keys->text, '\0');
}

void cache_keys_printf(struct cache_keys *keys, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        buffer_vprintf(&keys->text, format, arguments);
        va_end(arguments);
        buffer_add_char(&keys->text, '\0');
}

static void unlink_keys(struct cache *cache, struct entry *entry)
{
        while (entry->links) {
                struct link *link = entry->links;

                *link->at = link->next;
                if (link->next)
                        link->next->at = link->at;
                entry->links = link->sibling;
                cache->indexes[link->index].count--;
                pool_free(link);
        }
}

static void link_keys(struct cache *cache, struct entry *entry, const struct cache_object *object)
{
        for (unsigned i = 0; i < cache->index_count; i++) {
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;
                struct cache_index_table *table = &cache->indexes[i];
                struct cache_keys keys = { BUFFER_NULL };

                table->index->keys(object, &keys);
                text = keys.text;
                for (const char *key = text.data; key && key < text.data + text.length; key += strlen(key) + 1) {
                        size_t length = strlen(key);
                        struct link *link = pool_allocate(sizeof(*link) + length + 1);

                        if (++table->count > table->bucket_count)
                                grow_index(table);
                        link->index = i;
                        link->hash = (uint32_t)hash_add(HASH_EMPTY, (struct view){ key, length });
                        link->entry = entry;
                        memcpy(link->key, key, length + 1);
                        chain(link, &table->buckets[link->hash & (table->bucket_count - 1)]);
                        link->sibling = entry->links;
                        entry->links = link;
                }
        }
}

static bool is_number(struct view text)
{
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] < '0' || text.data[i] > '9')
                        return false;
        return text.length > 0;
}

bool resource_version_older(struct view version, struct view than)
{
        if (!is_number(version) || !is_number(than))
                return false;
        return version.length != than.length ? version.length < than.length : view_compare(version, than) < 0;
}

static void notify(struct cache *cache, struct cache_event *event)
{
        event->cache = cache;
        for (unsigned i = 0; i < cache->handler_count; i++)
                cache->handlers[i].handle(cache->handlers[i].data, event);
}

/* Tells of a change and releases its objects. */
static void tell(struct cache *cache, struct change *change, struct view frame)
{
        bool update = change->old && change->new;

        if (update && strcmp(change->old->uid, change->new->uid) != 0) {
                /* Deleted and made again while nobody looked. */
                notify(cache, &(struct cache_event){ .old = change->old });
                cache_object_release(&change->old);
        }
        notify(cache, &(struct cache_event){
                              .old = change->old, .new = change->new, .initial = change->initial && !change->old, .frame = frame });
        cache_object_release(&change->old);
        cache_object_release(&change->new);
}

/* The versions of one object only grow, but for a store that is restored from a backup. */
static bool went_back(const struct cache_object *old, const struct cache_object *new)
{
        return old && strcmp(old->uid, new->uid) == 0 &&
               resource_version_older(view_of(new->resource_version), view_of(old->resource_version));
}

/* Takes the object's reference over and returns that of the one in its place, or NULL. With the lock held. */
static const struct cache_object *enter(struct cache *cache, const struct cache_object *object)
{
        struct view namespace = view_of(object->namespace), name = view_of(object->name);
        uint32_t hash = hash_key(namespace, name);
        struct entry **at = find(cache, hash, namespace, name), *entry = *at;
        const struct cache_object *old = NULL;

        if (entry) {
                old = entry_take(cache, entry);
                unlink_keys(cache, entry);
        } else {
                entry = pool_allocate(sizeof(*entry));
                entry->hash = hash;
                *at = entry;
                if (++cache->count > cache->bucket_count)
                        grow(cache);
        }
        entry->snapshot = cache->snapshot;
        link_keys(cache, entry, object);
        entry_set(cache, entry, object);
        return old;
}

/* Returns the reference of what was there. With the lock held. */
static const struct cache_object *leave(struct cache *cache, struct entry **at)
{
        struct entry *entry = *at;
        const struct cache_object *old = entry_take(cache, entry);

        cache->count--;
        unlink_keys(cache, entry);
        *at = entry->next;
        pool_free(entry);
        return old;
}

/* --- a list that is not complete yet --- */

static struct change *stage_add(struct stage *stage)
{
        if (stage->count == stage->capacity) {
                stage->capacity = stage->capacity ? stage->capacity * 2 : 64;
                stage->changes = memory_resize(stage->changes, stage->capacity, sizeof(*stage->changes));
        }
        stage->changes[stage->count] = (struct change){ .old = NULL };
        return &stage->changes[stage->count++];
}

/* Forgets what the list said about an object. Deletions during a list are rare enough to look through it. */
static void stage_remove(struct stage *stage, const struct cache_header *header)
{
        for (size_t i = 0; i < stage->count; i++) {
                const struct cache_object *listed = stage->changes[i].new;

                if (listed && view_is(header->name, listed->name) && view_is(header->namespace, listed->namespace))
                        cache_object_release(&stage->changes[i].new);
        }
}

static void stage_release(struct stage *stage)
{
        for (size_t i = 0; i < stage->count; i++) {
                cache_object_release(&stage->changes[i].old);
                cache_object_release(&stage->changes[i].new);
        }
        free(stage->changes);
        *stage = (struct stage){ .changes = NULL };
}

/* The objects of the list take their places, and what was not in it goes; *stage is then what changed. With the lock held. */
static void stage_swap(struct cache *cache, struct stage *stage)
{
        for (size_t i = 0; i < stage->count; i++) {
                struct change *change = &stage->changes[i];

                if (!change->new)
                        continue;
                change->old = enter(cache, cache_object_reference(change->new));
                cache->older |= went_back(change->old, change->new);
        }
        for (size_t i = 0; i < cache->bucket_count; i++) {
                struct entry **at = &cache->buckets[i];

                while (*at) {
                        if ((*at)->snapshot == cache->snapshot)
                                at = &(*at)->next;
                        else
                                stage_add(stage)->old = leave(cache, at);
                }
        }
}

void cache_snapshot_begin(struct cache *cache)
{
        cache_snapshot_cancel(cache);
        cache->snapshot++;
        cache->staging = cache->content == CACHE_OBJECTS;
        cache->older = false;
}

void cache_snapshot_cancel(struct cache *cache)
{
        stage_release(&cache->stage);
        cache->staging = false;
}

bool cache_snapshot_end(struct cache *cache)
{
        struct stage stage = cache->stage;

        cache->stage = (struct stage){ .changes = NULL };
        cache->staging = false;
        pthread_mutex_lock(&cache->lock);
        stage_swap(cache, &stage);
        pthread_mutex_unlock(&cache->lock);
        for (size_t i = 0; i < stage.count; i++)
                if (stage.changes[i].old || stage.changes[i].new)
                        tell(cache, &stage.changes[i], VIEW_NULL);
        stage_release(&stage);
        return cache->older;
}

/* --- writing --- */

bool cache_put(struct cache *cache, struct view text, bool initial)
{
        struct change change = { .initial = initial };
        struct cache_header header;
        struct entry *entry;

        if (!cache_header_read(text, &header))
                return false;
        entry = *find(cache, hash_key(header.namespace, header.name), header.namespace, header.name);
        if (entry && entry_is(cache, entry, header.uid, header.resource_version)) {
                entry->snapshot = cache->snapshot;
                return true;
        }
        change.new = cache_object_new(&header, text, cache->content);
        if (cache->staging) {
                *stage_add(&cache->stage) = change;
                return true;
        }
        pthread_mutex_lock(&cache->lock);
        change.old = enter(cache, cache_object_reference(change.new));
        pthread_mutex_unlock(&cache->lock);
        cache->older |= went_back(change.old, change.new);
        tell(cache, &change, text);
        return true;
}

bool cache_delete(struct cache *cache, struct view text)
{
        struct change change = { .old = NULL };
        struct cache_header header;
        struct entry **at;

        if (!cache_header_read(text, &header))
                return false;
        at = find(cache, hash_key(header.namespace, header.name), header.namespace, header.name);
        if (cache->staging) {
                stage_remove(&cache->stage, &header);
                if (*at)
                        (*at)->snapshot = cache->snapshot - 1;
                return true;
        }
        if (!*at)
                return true;
        pthread_mutex_lock(&cache->lock);
        change.old = leave(cache, at);
        pthread_mutex_unlock(&cache->lock);
        tell(cache, &change, text);
        return true;
}

void cache_free(struct cache **cache)
{
        struct cache *old = *cache;

        *cache = NULL;
        if (!old)
                return;
        cache_snapshot_cancel(old);
        for (size_t i = 0; i < old->bucket_count; i++) {
                while (old->buckets[i]) {
                        const struct cache_object *object = leave(old, &old->buckets[i]);

                        cache_object_release(&object);
                }
        }
        for (unsigned i = 0; i < old->index_count; i++)
                pool_free(old->indexes[i].buckets);
        pool_free(old->buckets);
        pthread_mutex_destroy(&old->lock);
        free(old);
}

/* --- reading --- */

const struct cache_object *cache_get(struct cache *cache, const char *namespace, const char *name)
{
        struct view space = view_of(namespace), own = view_of(name);
        const struct cache_object *object = NULL;
        struct entry *entry;

        pthread_mutex_lock(&cache->lock);
        entry = *find(cache, hash_key(space, own), space, own);
        if (entry)
                object = entry_object(cache, entry);
        pthread_mutex_unlock(&cache->lock);
        return object;
}

size_t cache_count(struct cache *cache)
{
        size_t count;

        pthread_mutex_lock(&cache->lock);
        count = cache->count;
        pthread_mutex_unlock(&cache->lock);
        return count;
}

size_t cache_bytes(struct cache *cache)
{
        size_t bytes;

        pthread_mutex_lock(&cache->lock);
        bytes = cache->bytes;
        pthread_mutex_unlock(&cache->lock);
        return bytes;
}

void cache_list_release(struct cache_list *list)
{
        for (size_t i = 0; i < list->count; i++)
                cache_object_release(&list->items[i]);
        free(list->items);
        *list = CACHE_LIST_NULL;
}

void cache_list(struct cache *cache, const char *namespace, struct cache_list *ret_list)
{
        struct cache_list list = CACHE_LIST_NULL;

        pthread_mutex_lock(&cache->lock);
        list.items = memory_zero(cache->count ? cache->count : 1, sizeof(*list.items));
        for (size_t i = 0; i < cache->bucket_count; i++)
                for (struct entry *entry = cache->buckets[i]; entry; entry = entry->next)
                        if (!namespace || view_is(entry_namespace(cache, entry), namespace))
                                list.items[list.count++] = entry_object(cache, entry);
        pthread_mutex_unlock(&cache->lock);
        *ret_list = list;
}

void cache_find(struct cache *cache, const char *index, const char *key, struct cache_list *ret_list)
{
        struct cache_list list = CACHE_LIST_NULL;
        uint32_t hash = (uint32_t)hash_add(HASH_EMPTY, view_of(key));
        size_t capacity = 0;

        pthread_mutex_lock(&cache->lock);
        for (unsigned i = 0; i < cache->index_count; i++) {
                struct cache_index_table *table = &cache->indexes[i];

                if (strcmp(table->index->name, index) != 0)
                        continue;
                for (struct link *link = table->buckets[hash & (table->bucket_count - 1)]; link; link = link->next) {
                        if (link->hash != hash || strcmp(link->key, key) != 0)
                                continue;
                        if (list.count == capacity) {
                                capacity = capacity ? capacity * 2 : 8;
                                list.items = memory_resize(list.items, capacity, sizeof(*list.items));
                        }
                        list.items[list.count++] = entry_object(cache, link->entry);
                }
        }
        pthread_mutex_unlock(&cache->lock);
        *ret_list = list;
}
