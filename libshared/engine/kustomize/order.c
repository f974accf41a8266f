#include "engine/kustomize/order.h"

#include "engine/kustomize/fieldspec.h"

#include <stdlib.h>
#include <string.h>

static const struct view first[] = {
        VIEW("Namespace"),
        VIEW("ResourceQuota"),
        VIEW("StorageClass"),
        VIEW("CustomResourceDefinition"),
        VIEW("ServiceAccount"),
        VIEW("PodSecurityPolicy"),
        VIEW("Role"),
        VIEW("ClusterRole"),
        VIEW("RoleBinding"),
        VIEW("ClusterRoleBinding"),
        VIEW("ConfigMap"),
        VIEW("Secret"),
        VIEW("Endpoints"),
        VIEW("Service"),
        VIEW("LimitRange"),
        VIEW("PriorityClass"),
        VIEW("PersistentVolume"),
        VIEW("PersistentVolumeClaim"),
        VIEW("Deployment"),
        VIEW("StatefulSet"),
        VIEW("CronJob"),
        VIEW("PodDisruptionBudget"),
};
static const struct view last[] = { VIEW("MutatingWebhookConfiguration"), VIEW("ValidatingWebhookConfiguration") };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int kind_legacy_rank(struct view kind)
{
        for (size_t i = 0; i < COUNT(first); i++)
                if (view_equal(kind, first[i]))
                        return (int)i - (int)COUNT(first);
        for (size_t i = 0; i < COUNT(last); i++)
                if (view_equal(kind, last[i]))
                        return (int)i + 1;
        return 0;
}

/* `group_version_kind`, with marks for what is empty. */
static struct view gvk_key(const struct gvk *gvk, char *text, size_t room)
{
        const struct view pieces[] = {
                gvk->group.length ? gvk->group : VIEW("~G"), VIEW("_"), gvk->version.length ? gvk->version : VIEW("~V"), VIEW("_"),
                gvk->kind.length ? gvk->kind : VIEW("~K"),
        };
        size_t length = 0;

        for (size_t i = 0; i < COUNT(pieces); i++) {
                size_t part = pieces[i].length < room - length ? pieces[i].length : room - length;

                memcpy(text + length, pieces[i].data, part);
                length += part;
        }
        return (struct view){ text, length };
}

int gvk_legacy_compare(const struct gvk *a, const struct gvk *b)
{
        char text_a[512], text_b[512];
        int r;

        if (view_equal(a->group, b->group) && view_equal(a->version, b->version) && a->kind.length && b->kind.length)
                r = view_compare(a->kind, b->kind);
        else
                r = view_compare(gvk_key(a, text_a, sizeof(text_a)), gvk_key(b, text_b, sizeof(text_b)));
        return r < 0 ? -1 : r > 0;
}

struct sortable {
        struct resource *resource;
        int rank;
        struct view gvk;
        struct view id;
        bool bare_namespace; /* a Namespace without group: two kinds of Namespace are compared the other way round */
};

static int compare(const void *pa, const void *pb)
{
        const struct sortable *a = pa, *b = pb;
        int r;

        if (a->rank != b->rank)
                return a->rank < b->rank ? -1 : 1;
        r = view_compare(a->gvk, b->gvk);
        if (r != 0)
                return a->bare_namespace || b->bare_namespace ? -r : r;
        return view_compare(a->id, b->id);
}

static int list_rank(const struct node *order_first, const struct node *order_last, struct view kind)
{
        /* Of a kind that is there twice the last place counts. */
        for (uint32_t i = order_last ? order_last->count : 0; i > 0; i--)
                if (view_equal(node_text(order_last->items[i - 1]), kind))
                        return (int)i;
        for (uint32_t i = order_first ? order_first->count : 0; i > 0; i--)
                if (view_equal(node_text(order_first->items[i - 1]), kind))
                        return (int)i - 1 - (int)order_first->count;
        return 0;
}

static struct view sort_id(struct build *build, const struct resource_id *id)
{
        struct view namespace = id->namespace.length ? id->namespace : VIEW("~X");
        struct view name = id->name.length ? id->name : VIEW("~N");

        return view_of(arena_printf(build->arena, "%s|%.*s|%.*s", gvk_text(build->arena, &id->gvk), VIEW_ARGS(namespace),
                                    VIEW_ARGS(name)));
}

static void merge_sort(struct sortable *items, struct sortable *scratch, size_t count)
{
        size_t middle = count / 2, left = 0, right = middle;

        if (count < 2)
                return;
        merge_sort(items, scratch, middle);
        merge_sort(items + middle, scratch, count - middle);
        memcpy(scratch, items, count * sizeof(*items));
        for (size_t i = 0; i < count; i++) {
                bool take_right = left >= middle || (right < count && compare(&scratch[right], &scratch[left]) < 0);

                items[i] = take_right ? scratch[right++] : scratch[left++];
        }
}

static void sort_legacy(struct build *build, const struct node *legacy, struct resource_list *list)
{
        struct sortable *items = arena_array(build->arena, list->count, sizeof(*items));
        struct sortable *scratch = arena_array(build->arena, list->count, sizeof(*items));

        for (size_t i = 0; i < list->count; i++) {
                struct resource_id id = resource_current(&build->identity, list->items[i]);
                char key[512];

                items[i].resource = list->items[i];
                items[i].rank = legacy ? list_rank(node_get_of(legacy, "orderFirst"), node_get_of(legacy, "orderLast"), id.gvk.kind)
                                       : kind_legacy_rank(id.gvk.kind);
                items[i].gvk = arena_view(build->arena, gvk_key(&id.gvk, key, sizeof(key)));
                items[i].id = sort_id(build, &id);
                items[i].bare_namespace = view_is(id.gvk.kind, "Namespace") && id.gvk.group.length == 0;
        }
        merge_sort(items, scratch, list->count);
        for (size_t i = 0; i < list->count; i++)
                list->items[i] = items[i].resource;
}

int order_resources(struct build *build, const struct node *sort_options, struct resource_list *list)
{
        const struct node *legacy = node_get_of(sort_options, "legacySortOptions");
        const char *order = node_get_string(sort_options, "order");

        if (!sort_options) {
                if (build->options->order == KUSTOMIZE_ORDER_LEGACY)
                        sort_legacy(build, NULL, list);
                return 0;
        }
        if (build->options->order_given)
                build_warn(build, "Warning: Sorting order is set both in 'kustomization.yaml' ('sortOptions') and in a CLI flag "
                                  "('--reorder'). Using the kustomization file over the CLI flag.");
        if (strcmp(order, "fifo") == 0) {
                if (legacy)
                        return error_set(build->error, ERROR_INVALID,
                                         "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', "
                                         "not 'legacy'");
                return 0;
        }
        if (strcmp(order, "legacy") != 0)
                return error_set(build->error, ERROR_INVALID, "the field 'sortOptions.order' must be one of [fifo, legacy]");
        sort_legacy(build, legacy, list);
        return 0;
}
