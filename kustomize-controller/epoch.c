#include "epoch.h"

#include "data/scan.h"
#include "kube/client.h"

#include <stdio.h>
#include <string.h>

uint32_t epoch_next(void)
{
        static _Atomic uint32_t epochs;

        return ++epochs;
}

/* The API server counts the generation up with every change of the spec, and not with those of status and metadata. */
bool epoch_admission_changed(const struct cache_event *event)
{
        return !event->old || !event->new || event->old->generation != event->new->generation;
}

bool epoch_definition_changed(const struct cache_event *event)
{
        return event->old && event->new && event->old->generation != event->new->generation;
}

bool epoch_defines(const char *name, const struct kube_resource *resource)
{
        size_t length = strlen(resource->plural);

        return *resource->group && strncmp(name, resource->plural, length) == 0 && name[length] == '.' &&
               strcmp(name + length + 1, resource->group) == 0;
}

bool epoch_version_changed(struct epoch_version *version, struct view answer)
{
        struct view now = scan_string(scan_get(answer, "gitVersion"));
        bool changed;

        if (!now.length || now.length >= sizeof(version->text) || view_is(now, version->text))
                return false;
        changed = *version->text;
        snprintf(version->text, sizeof(version->text), "%.*s", VIEW_ARGS(now));
        return changed;
}
