/*
 * cache: the objects of one watch, packed, for all threads to read.
 *
 * An object is one immutable blob with a reference count: its header, and its compact JSON text. Nobody shares trees; who needs one
 * parses the text for itself. The io thread alone writes (kube/watch.h); readers take references under a short lock and keep them
 * as long as they like. Objects are held whole, without managedFields, or as a header only where nothing else is looked at.
 *
 * Handlers hear of every change on the io thread: they must not block and build no trees (data/scan.h reads text), and usually end in
 * controller_enqueue.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct cache;

struct cache_object {
        _Atomic uint32_t references;
        bool deleting; /* has a deletionTimestamp */
        int64_t generation;
        /* Terminated, never NULL; namespace is "" for cluster-scoped objects. */
        const char *namespace, *name, *uid, *resource_version;
        const char *requested_at; /* annotation reconcile.fluxcd.io/requestedAt as it stands in JSON; NULL: absent */
        struct view text;         /* empty in a cache of headers */
};

const struct cache_object *cache_object_reference(const struct cache_object *object);
void cache_object_release(const struct cache_object **object); /* for cleanup(cache_object_release); NULL is fine */

/* Strings under which an object is to be found, besides its name: "GitRepository/flux-system/app". */
struct cache_keys;
void cache_keys_add(struct cache_keys *keys, struct view key);
void cache_keys_printf(struct cache_keys *keys, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));

struct cache_index {
        const char *name;
        /* On the io thread; adds the keys of one object, which must follow from its text alone. */
        void (*keys)(const struct cache_object *object, struct cache_keys *keys);
};

struct cache_event {
        struct cache *cache;
        /* NULL: created, deleted; both: updated. Valid during the call; reference what is to be kept. */
        const struct cache_object *old, *new;
        bool initial; /* was there when the watch started */
        /*
         * The object's text as the server sent it, with managedFields (of a deletion: its last state). Empty if the deletion was only noticed by
         * a new list, and for all that a new list changes in a cache of objects.
         */
        struct view frame;
};

typedef void cache_event_fn(void *data, const struct cache_event *event);

enum cache_content {
        CACHE_OBJECTS, /* the text without managedFields */
        CACHE_HEADERS, /* no text: for drift watches, whose handler keeps what it needs of the frame */
};

struct cache *cache_new(enum cache_content content);
void cache_free(struct cache **cache); /* objects that are still referenced stay until they are released */

/* Both before the watch starts; what they point at outlives the cache. At most 16 of each; indexes of one name are one. */
void cache_add_index(struct cache *cache, const struct cache_index *index);
void cache_add_handler(struct cache *cache, cache_event_fn *handle, void *data);

/* A reference that the caller releases, or NULL. */
const struct cache_object *cache_get(struct cache *cache, const char *namespace, const char *name);
size_t cache_count(struct cache *cache);
/* Bytes that objects take, for the debug page. */
size_t cache_bytes(struct cache *cache);

/* References to many objects, in no order. */
struct cache_list {
        const struct cache_object **items;
        size_t count;
};
#define CACHE_LIST_NULL ((struct cache_list){ NULL, 0 })
void cache_list_release(struct cache_list *list); /* for cleanup(cache_list_release) */
/* namespace NULL: all. */
void cache_list(struct cache *cache, const char *namespace, struct cache_list *ret_list);
/* Those that gave `key` to that index. */
void cache_find(struct cache *cache, const char *index, const char *key, struct cache_list *ret_list);

/*
 * The writing side, for kube/watch.c and tests; one thread. `text` is the text of an object. False: it has no name or
 * resourceVersion, or is no JSON; nothing was changed. Handlers have run when these return. An object of the resourceVersion that is
 * there already is no event.
 */
bool cache_put(struct cache *cache, struct view text, bool initial);
bool cache_delete(struct cache *cache, struct view text);
/*
 * A new list: what is put between begin and end takes its place all at once at the end, and what was not put is deleted then; so a reader never sees half a
 * list. What did not change is not held twice. A list that breaks off is cancelled, and leaves everything as it was.
 *
 * A cache of headers takes each object as it comes, because its handlers are there for the frames.
 *
 * The end is true if the list showed an object in an older version than it was in before: the server's store was restored from a backup.
 */
void cache_snapshot_begin(struct cache *cache);
bool cache_snapshot_end(struct cache *cache);
void cache_snapshot_cancel(struct cache *cache); /* harmless if none was begun */

/* Of two decimal numbers of any length; false if one is none. */
bool resource_version_older(struct view version, struct view than);
