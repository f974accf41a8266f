#include "kube/cache_private.h"

#include "base/pool.h"
#include "data/scan.h"

#include <stdatomic.h>
#include <string.h>

#define REQUESTED_AT "reconcile.fluxcd.io/requestedAt"

const struct cache_object *cache_object_reference(const struct cache_object *object)
{
        atomic_fetch_add(&((struct cache_object *)(uintptr_t)object)->references, 1);
        return object;
}

void cache_object_release(const struct cache_object **object)
{
        struct cache_object *old = (struct cache_object *)(uintptr_t)*object;

        *object = NULL;
        if (old && atomic_fetch_sub(&old->references, 1) == 1)
                pool_free(old);
}

/* With the comma that goes with it. */
static struct view member_with_comma(const struct scan *scan)
{
        size_t start = scan->start, end = scan->end;

        if (end < scan->text.length && scan->text.data[end] == ',')
                end++;
        else if (start > 0 && scan->text.data[start - 1] == ',')
                start--;
        return view_slice(scan->text, start, end - start);
}

bool cache_header_read(struct view text, struct cache_header *ret_header)
{
        struct scan scan = scan_begin(scan_get(text, "metadata"));
        struct cache_header header = { .generation = 0 };

        while (scan_next(&scan)) {
                if (view_is(scan.key, "name"))
                        header.name = scan_string(scan.value);
                else if (view_is(scan.key, "namespace"))
                        header.namespace = scan_string(scan.value);
                else if (view_is(scan.key, "uid"))
                        header.uid = scan_string(scan.value);
                else if (view_is(scan.key, "resourceVersion"))
                        header.resource_version = scan_string(scan.value);
                else if (view_is(scan.key, "generation"))
                        header.generation = scan_integer(scan.value, 0);
                else if (view_is(scan.key, "deletionTimestamp"))
                        header.deleting = scan.value.data[0] == '"';
                else if (view_is(scan.key, "annotations"))
                        header.requested_at = scan_string(scan_get(scan.value, REQUESTED_AT));
                else if (view_is(scan.key, "managedFields"))
                        header.managed_fields = member_with_comma(&scan);
        }
        if (!scan_complete(&scan) || !header.name.length || !header.resource_version.length)
                return false;
        *ret_header = header;
        return true;
}

static const char *store(char **at, struct view text)
{
        char *start = *at;

        memcpy(start, text.data ? text.data : "", text.length);
        start[text.length] = '\0';
        *at += text.length + 1;
        return start;
}

size_t cache_object_size(const struct cache_object *object)
{
        return object->text.data ? (size_t)(object->text.data + object->text.length + 1 - (const char *)object)
                                 : (size_t)(object->resource_version + strlen(object->resource_version) + 1 - (const char *)object);
}

const struct cache_object *cache_object_new(const struct cache_header *header, struct view text, enum cache_content content)
{
        size_t kept = content == CACHE_OBJECTS ? text.length - header->managed_fields.length : 0;
        size_t size = sizeof(struct cache_object) + header->namespace.length + header->name.length + header->uid.length +
                      header->resource_version.length + header->requested_at.length + kept + 6;
        struct cache_object *object = pool_allocate(size);
        char *at = (char *)(object + 1);

        *object = (struct cache_object){ .references = 1, .deleting = header->deleting, .generation = header->generation };
        object->namespace = store(&at, header->namespace);
        object->name = store(&at, header->name);
        object->uid = store(&at, header->uid);
        if (header->requested_at.data)
                object->requested_at = store(&at, header->requested_at);
        object->resource_version = store(&at, header->resource_version);
        if (content == CACHE_OBJECTS) {
                size_t before = header->managed_fields.data ? (size_t)(header->managed_fields.data - text.data) : text.length;

                object->text = (struct view){ at, kept };
                memcpy(at, text.data, before);
                memcpy(at + before, text.data + before + header->managed_fields.length, kept - before);
                at[kept] = '\0';
        }
        return object;
}

/* --- headers, packed --- */

const char *cache_next_text(const char *text)
{
        return text + strlen(text) + 1;
}

struct cache_packed *cache_pack(const struct cache_object *object)
{
        struct view texts[] = { view_of(object->namespace), view_of(object->name), view_of(object->resource_version),
                                view_of(object->uid), VIEW_NULL };
        uint8_t uid[UUID_BYTES] = { 0 };
        bool uuid = uuid_pack(texts[3], uid);
        unsigned count = sizeof(texts) / sizeof(texts[0]) - (object->requested_at ? 0 : 1);
        size_t size = offsetof(struct cache_packed, text);
        struct cache_packed *packed;
        char *at;

        if (uuid)
                texts[3].length = 0;
        if (object->requested_at)
                texts[4] = view_of(object->requested_at);
        for (unsigned i = 0; i < count; i++)
                size += texts[i].length + 1;
        packed = pool_allocate(size);
        packed->generation = object->generation;
        memcpy(packed->uid, uid, sizeof(uid));
        packed->deleting = object->deleting;
        packed->requested = object->requested_at != NULL;
        packed->uuid = uuid;
        at = packed->text;
        for (unsigned i = 0; i < count; i++)
                store(&at, texts[i]);
        return packed;
}

struct cache_header cache_unpack(const struct cache_packed *packed, char uid[UUID_TEXT])
{
        const char *name = cache_next_text(packed->text), *version = cache_next_text(name), *plain = cache_next_text(version);

        return (struct cache_header){
                .namespace = view_of(packed->text),
                .name = view_of(name),
                .resource_version = view_of(version),
                .uid = view_of(packed->uuid ? uuid_unpack(packed->uid, uid) : plain),
                .requested_at = packed->requested ? view_of(cache_next_text(plain)) : VIEW_NULL,
                .generation = packed->generation,
                .deleting = packed->deleting,
        };
}

size_t cache_packed_size(const struct cache_packed *packed)
{
        const char *end = packed->text;

        for (int i = 0; i < (packed->requested ? 5 : 4); i++)
                end = cache_next_text(end);
        return (size_t)(end - (const char *)packed);
}
