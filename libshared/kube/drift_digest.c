#include "kube/drift_private.h"

#include "base/cleanup.h"
#include "data/digest.h"
#include "data/scan.h"

#include <stdio.h>
#include <string.h>

static uint64_t hash_from(const uint8_t bytes[DIGEST_SIZE_LIMIT])
{
        uint64_t hash;

        memcpy(&hash, bytes, sizeof(hash));
        return hash ? hash : 1;
}

static uint64_t hash_of(struct view text)
{
        uint8_t bytes[DIGEST_SIZE_LIMIT];

        digest_bytes_of(DIGEST_SHA256, text, bytes);
        return hash_from(bytes);
}

static uint64_t hash_of_texts(struct view metadata)
{
        static const char *const names[] = { "labels", "annotations", "finalizers", "ownerReferences" };
        cleanup(digest_free) struct digest *digest = digest_begin(DIGEST_SHA256);
        uint8_t bytes[DIGEST_SIZE_LIMIT];

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                digest_add(digest, scan_get(metadata, names[i]));
                digest_add(digest, VIEW("\n"));
        }
        digest_end_bytes(digest, bytes);
        return hash_from(bytes);
}

uint64_t drift_version_of(struct view text)
{
        uint64_t version = 0;

        return view_to_uint64(text, &version) == 0 ? version : 0;
}

const char *drift_cut(struct view text, char *buffer, size_t size)
{
        snprintf(buffer, size, "%.*s", VIEW_ARGS(text));
        return buffer;
}

static void digest_entries(const struct drift_table *table, struct view entries, struct drift_digest *digest)
{
        struct scan scan = scan_begin(entries);

        while (scan_next(&scan)) {
                struct view manager = scan_string(scan_get(scan.value, "manager"));
                struct view operation = scan_string(scan_get(scan.value, "operation"));
                struct view subresource = scan_string(scan_get(scan.value, "subresource"));
                char manager_text[256], operation_text[16];
                struct field_owner owner = { drift_cut(manager, manager_text, sizeof(manager_text)),
                                             drift_cut(operation, operation_text, sizeof(operation_text)),
                                             subresource.length ? "status" : "" };

                if (view_is(manager, table->settings.field_manager) && view_is(operation, "Apply") && !subresource.length)
                        digest->applied = hash_of(scan_get(scan.value, "fieldsV1"));
                else if (field_owner_taken(&owner, table->takeovers, table->takeover_count))
                        digest->foreign = true;
        }
}

struct drift_digest drift_digest_of(const struct drift_table *table, struct view object)
{
        struct view metadata = scan_get(object, "metadata");
        struct view labels = scan_get(metadata, "labels");
        struct steering steering = steering_of(object, table->settings.label_group);
        struct drift_digest digest = {
                .resource_version = drift_version_of(scan_string(scan_get(metadata, "resourceVersion"))),
                .generation = scan_integer(scan_get(metadata, "generation"), 0),
                .texts = (uint32_t)hash_of_texts(metadata),
                .skip = steering.skip,
                .merge = steering.merge,
                .force = steering.force,
                .keep = steering.keep,
                .foreign = steer_has_removed(object),
                .owned = scan_get(labels, table->label_name).data && scan_get(labels, table->label_namespace).data,
        };

        digest_entries(table, scan_get(metadata, "managedFields"), &digest);
        return digest;
}

/* Nobody touched what we applied. */
bool drift_same_applied(const struct drift_digest *a, const struct drift_digest *b)
{
        return a->applied && a->applied == b->applied && a->skip == b->skip && a->merge == b->merge && a->force == b->force &&
               a->keep == b->keep && a->owned == b->owned && (a->merge || (!a->foreign && !b->foreign));
}

bool drift_digest_same(const struct drift_digest *a, const struct drift_digest *b)
{
        if (a->resource_version && a->resource_version == b->resource_version)
                return true;
        return a->generation && a->generation == b->generation && drift_same_applied(a, b);
}
