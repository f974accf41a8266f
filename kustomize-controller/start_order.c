#include "start_order.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/scan.h"

#include <stdlib.h>

struct node {
        const struct cache_object *object;
        size_t waits;      /* for so many of the list that have no place yet */
        size_t dependents; /* the first edge from here, counted from one; 0: none */
        bool placed;
};

struct edge {
        size_t to, next; /* as in struct node */
};

struct graph {
        struct node *nodes; /* sorted by namespace and name */
        size_t count;
        struct edge *edges;
        size_t edge_count, edge_capacity;
};

static void graph_release(struct graph *graph)
{
        free(graph->nodes);
        free(graph->edges);
}

static int compare_names(struct view namespace, struct view name, const struct cache_object *object)
{
        int order = view_compare(namespace, view_of(object->namespace));

        return order ? order : view_compare(name, view_of(object->name));
}

static int compare_nodes(const void *a, const void *b)
{
        const struct cache_object *first = ((const struct node *)a)->object, *second = ((const struct node *)b)->object;

        return compare_names(view_of(first->namespace), view_of(first->name), second);
}

static struct node *find(const struct graph *graph, struct view namespace, struct view name)
{
        size_t low = 0, high = graph->count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = compare_names(namespace, name, graph->nodes[middle].object);

                if (order == 0)
                        return &graph->nodes[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

static void add_edge(struct graph *graph, struct node *from, struct node *to)
{
        if (graph->edge_count == graph->edge_capacity) {
                graph->edge_capacity = graph->edge_capacity ? graph->edge_capacity * 2 : 64;
                graph->edges = memory_resize(graph->edges, graph->edge_capacity, sizeof(*graph->edges));
        }
        graph->edges[graph->edge_count++] = (struct edge){ (size_t)(to - graph->nodes), from->dependents };
        from->dependents = graph->edge_count;
        to->waits++;
}

static void add_dependencies(struct graph *graph, struct node *node)
{
        struct scan references = scan_begin(SCAN_PATH(node->object->text, "spec", "dependsOn"));

        while (scan_next(&references)) {
                struct view namespace = scan_string(scan_get(references.value, "namespace")),
                            name = scan_string(scan_get(references.value, "name"));
                struct node *dependency = find(graph, namespace.length ? namespace : view_of(node->object->namespace), name);

                if (dependency)
                        add_edge(graph, dependency, node);
        }
}

static void place(struct node *node, const struct cache_object **order, size_t *count)
{
        node->placed = true;
        order[(*count)++] = node->object;
}

void start_order(const struct cache_list *list, const struct cache_object **order)
{
        cleanup(graph_release) struct graph graph = { .nodes = memory_zero(list->count, sizeof(struct node)),
                                                      .count = list->count };
        size_t placed = 0;

        for (size_t i = 0; i < list->count; i++)
                graph.nodes[i].object = list->items[i];
        qsort(graph.nodes, graph.count, sizeof(*graph.nodes), compare_nodes);
        for (size_t i = 0; i < graph.count; i++)
                add_dependencies(&graph, &graph.nodes[i]);
        for (size_t i = 0; i < graph.count; i++)
                if (graph.nodes[i].waits == 0)
                        place(&graph.nodes[i], order, &placed);
        for (size_t i = 0; i < placed; i++) {
                const struct node *node = find(&graph, view_of(order[i]->namespace), view_of(order[i]->name));

                for (size_t at = graph.edges ? node->dependents : 0; at; at = graph.edges[at - 1].next) {
                        struct node *dependent = &graph.nodes[graph.edges[at - 1].to];

                        if (--dependent->waits == 0)
                                place(dependent, order, &placed);
                }
        }
        for (size_t i = 0; i < graph.count; i++)
                if (!graph.nodes[i].placed)
                        place(&graph.nodes[i], order, &placed);
}
