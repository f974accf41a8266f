/*
 * What is told of a change by somebody else: whose object it is, and who changed which fields of it.
 */
#include "kube/drift_private.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/scan.h"

#include <stdlib.h>

#define REPORTED_FIELDS 5

void drift_report_free(struct drift_owned_report **report)
{
        struct drift_owned_report *r = steal(report);

        if (!r)
                return;
        free(r->owner_namespace);
        free(r->owner_name);
        free(r->namespace);
        free(r->name);
        free(r->manager);
        free(r->fields);
        free(r);
}

static void send(struct drift_table *table, struct drift_owned_report *report)
{
        struct drift_report told = {
                .resource = report->resource,
                .namespace = report->namespace,
                .name = report->name,
                .deleted = report->deleted,
                .by_run = report->by_run,
                .manager = report->manager,
                .fields = report->fields,
        };

        if (table->settings.wake)
                table->settings.wake(table->settings.data, report->owner_namespace, report->owner_name, &told);
}

void drift_report_send(struct drift_table *table, struct drift_owned_report *report)
{
        while (report) {
                struct drift_owned_report *next = report->next;

                send(table, report);
                drift_report_free(&report);
                report = next;
        }
}

/* The entry of managedFields that changed last and is not ours: who did it, probably. */
static struct view last_writer(const struct drift_table *table, struct view entries)
{
        struct scan scan = scan_begin(entries);
        struct view newest = VIEW_NULL, newest_time = VIEW_NULL;

        while (scan_next(&scan)) {
                struct view time = scan_string(scan_get(scan.value, "time"));

                if (view_is(scan_string(scan_get(scan.value, "manager")), table->settings.field_manager) ||
                    view_is(scan_string(scan_get(scan.value, "subresource")), "status"))
                        continue;
                if (!newest.data || view_compare(time, newest_time) >= 0) {
                        newest = scan.value;
                        newest_time = time;
                }
        }
        return newest;
}

static char *fields_of(struct view entry)
{
        cleanup(json_free) struct json *json = NULL;
        cleanup(arena_free) struct arena *arena = arena_new();
        cleanup(error_release) struct error ignored = ERROR_NULL;
        const struct field_set *set = NULL;
        struct buffer text = BUFFER_NULL;

        if (json_parse(scan_get(entry, "fieldsV1"), &json, &ignored) == 0 && field_set_parse(json, arena, &set, &ignored) == 0)
                field_set_describe(set, REPORTED_FIELDS, &text);
        return buffer_steal(&text);
}

struct drift_owned_report *drift_report_new(const struct drift_table *table, const struct drift_entry *entry,
                                            const struct drift_key *key, struct view object)
{
        struct drift_owned_report *report = memory_zero(1, sizeof(*report));
        struct view writer = entry->gone ? VIEW_NULL : last_writer(table, SCAN_PATH(object, "metadata", "managedFields"));
        struct view manager = scan_string(scan_get(writer, "manager"));

        report->owner_namespace = memory_string(entry->owner->namespace);
        report->owner_name = memory_string(entry->owner->name);
        report->namespace = memory_string(key->namespace);
        report->name = memory_string(key->name);
        report->resource = key->resource;
        report->deleted = entry->gone;
        report->manager = memory_string_n(manager.length ? manager.data : "", manager.length);
        report->fields = writer.data ? fields_of(writer) : memory_string("");
        return report;
}
