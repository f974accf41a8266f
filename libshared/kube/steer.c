#include "kube/steer.h"

#include "data/scan.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEY_LIMIT 320

const char *const steer_removed_annotations[] = {
        "kubectl.kubernetes.io/last-applied-configuration",
        "kustomize.toolkit.fluxcd.io/checksum",
        "fluxcd.io/sync-checksum",
        NULL,
};

const char *const steer_removed_labels[] = { "fluxcd.io/sync-gc-mark", NULL };

struct metadata {
        struct view labels, annotations;
};

static bool value_is(struct view map, const char *key, const char *expected)
{
        struct view value = scan_string(scan_get(map, key));

        return value.data && value.length == strlen(expected) && !strncasecmp(value.data, expected, value.length);
}

static bool steers(const struct metadata *metadata, const char *group, const char *key, const char *value)
{
        char full[KEY_LIMIT];

        snprintf(full, sizeof(full), "%s/%s", group, key);
        return value_is(metadata->labels, full, value) || value_is(metadata->annotations, full, value);
}

static struct metadata metadata_of(struct view object)
{
        struct view metadata = scan_get(object, "metadata");

        return (struct metadata){ scan_get(metadata, "labels"), scan_get(metadata, "annotations") };
}

struct steering steering_of(struct view object, const char *group)
{
        struct metadata metadata = metadata_of(object);

        return (struct steering){
                .skip = steers(&metadata, group, "reconcile", "disabled") || steers(&metadata, group, "ssa", "Ignore"),
                .merge = steers(&metadata, group, "ssa", "Merge"),
                .if_not_present = steers(&metadata, group, "ssa", "IfNotPresent"),
                .force = steers(&metadata, group, "force", "enabled"),
                .keep = steers(&metadata, group, "prune", "disabled"),
        };
}

static bool has_one(struct view map, const char *const *keys)
{
        for (; *keys; keys++)
                if (scan_get(map, *keys).data)
                        return true;
        return false;
}

bool steer_has_removed(struct view object)
{
        struct metadata metadata = metadata_of(object);

        return has_one(metadata.annotations, steer_removed_annotations) || has_one(metadata.labels, steer_removed_labels);
}

size_t steer_takeovers(const char *field_manager, const char *const *override, struct field_takeover takeovers[STEER_TAKEOVERS])
{
        size_t count = 0;

        takeovers[count++] = (struct field_takeover){ "kubectl", NULL, true };
        takeovers[count++] = (struct field_takeover){ "before-first-apply", "Update", false };
        takeovers[count++] = (struct field_takeover){ field_manager, "Update", false };
        for (; override && *override && count < STEER_TAKEOVERS; override++)
                takeovers[count++] = (struct field_takeover){ *override, NULL, false };
        return count;
}
