/*
 * cache_private: how a cache holds an object, for the files of this room.
 */
#pragma once

#include "base/uuid.h"
#include "kube/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What of an object's text makes its header, as views into it. */
struct cache_header {
        struct view namespace, name, uid, resource_version, requested_at, managed_fields;
        int64_t generation;
        bool deleting;
};

/* What a cache of headers holds of an object: half of one, which is made of it again for whom it concerns. */
struct cache_packed {
        int64_t generation;
        uint8_t uid[UUID_BYTES];
        bool deleting, requested, uuid; /* requested: at the end is requestedAt; uuid: `uid` is it, and before that is none */
        char text[];                    /* each terminated: namespace, name, resourceVersion, uid, requestedAt */
};

/* Views into the text. False: it has no name or resourceVersion, or is no JSON. */
bool cache_header_read(struct view text, struct cache_header *ret_header);
/* Of one reference. `text` is not looked at for a cache of headers. */
const struct cache_object *cache_object_new(const struct cache_header *header, struct view text, enum cache_content content);
/* In bytes. */
size_t cache_object_size(const struct cache_object *object);

/* Of the pool; the caller frees it with pool_free. */
struct cache_packed *cache_pack(const struct cache_object *object);
/* Views into what is packed and into `uid`. */
struct cache_header cache_unpack(const struct cache_packed *packed, char uid[UUID_TEXT]);
/* In bytes. */
size_t cache_packed_size(const struct cache_packed *packed);
/* The one behind a text of it; the namespace is the first, the name the second. */
const char *cache_next_text(const char *text);
