#include "engine/kustomize/variable.h"

#include "base/cleanup.h"
#include "engine/kustomize/scalar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct gvk gvk_of(const struct variable *variable)
{
        struct view api_version = node_get_text(variable->reference, "apiVersion"),
                    kind = node_get_text(variable->reference, "kind");
        struct gvk gvk;

        if (api_version.length)
                return gvk_parse(api_version, kind);
        gvk = (struct gvk){ node_get_text(variable->reference, "group"), node_get_text(variable->reference, "version"), kind };
        return gvk;
}

static char *variable_text(struct build *build, const struct variable *variable)
{
        struct gvk gvk = gvk_of(variable);

        return arena_printf(build->arena, "{%s %s {%s}}", variable->name, gvk_text(build->arena, &gvk), variable->field_path);
}

static int add(struct build *build, struct accumulator *accumulator, const struct variable *variable)
{
        struct variable_list *list = &accumulator->variables;

        for (size_t i = 0; i < list->count; i++)
                if (strcmp(list->items[i].name, variable->name) == 0)
                        return error_set(build->error, ERROR_INVALID, "var '%s' already encountered", variable->name);
        if (list->count == list->capacity) {
                size_t capacity = list->capacity ? list->capacity * 2 : 8;

                list->items =
                        arena_grow(build->arena, list->items, list->capacity * sizeof(*variable), capacity * sizeof(*variable));
                list->capacity = capacity;
        }
        list->items[list->count++] = *variable;
        return 0;
}

int variable_add_all(struct build *build, struct accumulator *accumulator, const struct variable_list *variables)
{
        for (size_t i = 0; i < variables->count; i++)
                TRY(add(build, accumulator, &variables->items[i]));
        return 0;
}

static bool names(struct build *build, const struct resource *resource, const struct resource_id *wanted, bool namespace)
{
        struct id_list ids = resource_all_ids(&build->identity, resource);

        for (size_t i = 0; i < ids.count; i++)
                if (gvk_equal(&ids.items[i].gvk, &wanted->gvk) && view_equal(ids.items[i].name, wanted->name) &&
                    (!namespace || view_equal(ids.items[i].effective, wanted->effective)))
                        return true;
        return false;
}

/* Notes at the resource that the var points to it: its name may change later. */
static int tie(struct build *build, struct accumulator *accumulator, const struct variable *variable)
{
        struct view namespace = node_get_text(variable->reference, "namespace");
        struct resource_id wanted =
                resource_id_make(&build->identity, gvk_of(variable), node_get_text(variable->reference, "name"), namespace);
        struct resource *found = NULL;
        size_t matches = 0;

        for (size_t i = 0; i < accumulator->list.count; i++) {
                if (!names(build, accumulator->list.items[i], &wanted, namespace.length || resource_id_cluster_scoped(&wanted)))
                        continue;
                found = accumulator->list.items[i];
                matches++;
        }
        if (matches > 1)
                return error_set(build->error, ERROR_INVALID, "found %zu resId matches for var %s (unable to disambiguate)",
                                 matches, variable_text(build, variable));
        if (found) {
                const char **grown = arena_array(build->arena, found->variable_count + 1, sizeof(*grown));

                if (found->variable_count)
                        memcpy(grown, found->variables, found->variable_count * sizeof(*grown));
                grown[found->variable_count++] = variable->name;
                found->variables = grown;
        }
        return 0;
}

static struct variable variable_of(const struct node *entry)
{
        return (struct variable){ node_get_string(entry, "name"), node_get_of(entry, "objref"),
                                  node_get_string(node_get_of(entry, "fieldref"), "fieldPath") };
}

static int register_all(struct build *build, struct accumulator *accumulator, const struct node *variables)
{
        for (uint32_t i = 0; i < variables->count; i++) {
                struct variable variable = variable_of(variables->items[i]);

                TRY(tie(build, accumulator, &variable));
        }
        for (uint32_t i = 0; i < variables->count; i++) {
                struct variable variable = variable_of(variables->items[i]);

                if (!*variable.field_path)
                        variable.field_path = "metadata.name";
                TRY(add(build, accumulator, &variable));
        }
        return 0;
}

/* "merging vars [{V Kind.version.group {path}}]: ...": the fields as they are written, apiVersion not among them. */
static int merging_error(struct build *build, const struct node *variables)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        for (uint32_t i = 0; i < variables->count; i++) {
                struct variable variable = variable_of(variables->items[i]);
                struct gvk gvk = { node_get_text(variable.reference, "group"), node_get_text(variable.reference, "version"),
                                   node_get_text(variable.reference, "kind") };

                buffer_printf(&text, "%s{%s %s {%s}}", i ? " " : "", variable.name, gvk_text(build->arena, &gvk),
                              variable.field_path);
        }
        return error_wrap(build->error, "merging vars [%s]", buffer_string(&text));
}

int variable_register(struct build *build, struct accumulator *accumulator, const struct node *variables)
{
        if (!variables || register_all(build, accumulator, variables) == 0)
                return 0;
        return merging_error(build, variables);
}

struct resolved {
        const char *name;
        const struct node *node;
        bool used;
};

struct resolver {
        struct build *build;
        struct resolved *items;
        size_t count;
};

/* `a.b[0].c`: `\.` is a dot inside a name, `[...]` around a piece that holds dots. */
static const struct node *follow(struct build *build, const struct node *node, const char *path)
{
        struct view *pieces;
        size_t count = path_split(build->arena, view_of(path), '.', &pieces);

        for (size_t i = 0; i < count && node; i++) {
                struct view piece = pieces[i];
                ptrdiff_t bracket = view_find(piece, '[', 0);
                uint64_t index;

                if (bracket >= 0 && view_ends(piece, VIEW("]")) &&
                    view_to_uint64(view_slice(piece, (size_t)bracket + 1, piece.length - (size_t)bracket - 2), &index) == 0) {
                        if (bracket > 0)
                                node = node_get(node, view_slice(piece, 0, (size_t)bracket));
                } else if (!node_is_list(node) || view_to_uint64(piece, &index) != 0) {
                        node = node_get(node, piece);
                        continue;
                }
                node = node_is_list(node) && index < node->count ? node->items[index] : NULL;
        }
        return node;
}

static int find_value(struct build *build, struct accumulator *accumulator, const struct variable *variable,
                      const struct node **ret)
{
        for (size_t i = 0; i < accumulator->list.count; i++) {
                const struct resource *resource = accumulator->list.items[i];

                for (size_t k = 0; k < resource->variable_count; k++) {
                        if (strcmp(resource->variables[k], variable->name) != 0)
                                continue;
                        *ret = follow(build, resource->node, variable->field_path);
                        if (*ret)
                                return 0;
                        return error_set(build->error, ERROR_INVALID,
                                         "field specified in var '%s' not found in corresponding resource",
                                         variable_text(build, variable));
                }
        }
        return error_set(build->error, ERROR_INVALID, "var '%s' cannot be mapped to a field in the set of known resources",
                         variable_text(build, variable));
}

static struct resolved *find_resolved(struct resolver *r, struct view name)
{
        for (size_t i = 0; i < r->count; i++)
                if (view_is(name, r->items[i].name))
                        return &r->items[i];
        return NULL;
}

/* A value inside a longer text. */
static void add_value(struct buffer *out, const struct node *node)
{
        char text[NUMBER_TEXT];
        struct value value;
        double real;

        if (node->tag == TAG_FLOAT && scalar_parse_float(node_text(node), &real) == 0)
                buffer_printf(out, "%s", scalar_print_json_float(real, text));
        else if (node->tag == TAG_INTEGER && scalar_parse_integer(node_text(node), &value) == 0 && value.kind == VALUE_SIGNED)
                buffer_printf(out, "%" PRId64, value.integer);
        else
                buffer_add_view(out, node_text(node));
}

/* Maps and lists are no values of vars. */
static void warn_no_value(struct resolver *r, const struct resolved *resolved)
{
        struct error ignored = ERROR_NULL;
        struct buffer text = BUFFER_NULL;

        (void)emit_json(&text, r->build->arena, resolved->node, 0, &ignored);
        build_warn(r->build, "MakePrimitiveReplacer: bad replacement type=%s val=%s",
                   node_is_map(resolved->node) ? "map[string]interface {}" : "[]interface {}", buffer_string(&text));
        error_release(&ignored);
        buffer_release(&text);
}

/* Kubernetes' expansion: $(NAME), $$ for a dollar; what is unknown or not closed stays. *ret_whole: the text is one var and nothing else. */
static void expand(struct resolver *r, struct view text, struct buffer *out, const struct node **ret_whole)
{
        *ret_whole = NULL;
        for (size_t i = 0; i < text.length; i++) {
                struct resolved *resolved;
                ptrdiff_t end;

                if (text.data[i] != '$' || i + 1 >= text.length) {
                        buffer_add_char(out, text.data[i]);
                        continue;
                }
                if (text.data[i + 1] == '$') {
                        buffer_add_char(out, '$');
                        i++;
                        continue;
                }
                end = text.data[i + 1] == '(' ? view_find(text, ')', i + 2) : -1;
                if (end < 0) {
                        buffer_add_char(out, '$');
                        buffer_add_char(out, text.data[++i]);
                        continue;
                }
                resolved = find_resolved(r, view_slice(text, i + 2, (size_t)end - i - 2));
                if (resolved && resolved->node->kind != NODE_SCALAR) {
                        warn_no_value(r, resolved);
                        resolved = NULL;
                }
                if (resolved) {
                        resolved->used = true;
                        if (i == 0 && (size_t)end + 1 == text.length)
                                *ret_whole = resolved->node;
                        add_value(out, resolved->node);
                } else {
                        buffer_add_view(out, view_slice(text, i, (size_t)end + 1 - i));
                }
                i = (size_t)end;
        }
}

static void replace_scalar(struct resolver *r, struct node *node)
{
        struct buffer text = BUFFER_NULL;
        const struct node *whole;

        if (node->tag != TAG_STRING && node->tag != TAG_NONE)
                return;
        if (view_find(node_text(node), '$', 0) < 0)
                return;
        expand(r, node_text(node), &text, &whole);
        if (whole && (whole->tag == TAG_INTEGER || whole->tag == TAG_FLOAT || whole->tag == TAG_BOOL)) {
                field_set_text(r->build->arena, node, buffer_view(&text), whole->tag);
                node->style = STYLE_PLAIN;
        } else {
                field_set_text(r->build->arena, node, buffer_view(&text), TAG_STRING);
        }
        buffer_release(&text);
}

static int replace_field(void *user, struct node *node)
{
        struct resolver *r = user;

        if (node_is_null(node))
                return 0;
        if (node->kind == NODE_SCALAR) {
                replace_scalar(r, node);
        } else if (node->kind == NODE_MAP) {
                for (uint32_t i = 0; i < node->count; i++)
                        if (node_is_scalar(node->entries[i].value))
                                replace_scalar(r, node->entries[i].value);
        } else {
                for (uint32_t i = 0; i < node->count; i++) {
                        if (!node_is_scalar(node->items[i]) ||
                            (node->items[i]->tag != TAG_STRING && node->items[i]->tag != TAG_NONE))
                                return error_set(r->build->error, ERROR_INVALID, "invalid value type expect a string");
                        replace_scalar(r, node->items[i]);
                }
        }
        return 0;
}

static void warn_unused(struct resolver *r)
{
        struct buffer text = BUFFER_NULL;
        size_t unused = 0;

        for (size_t i = 0; i < r->count; i++)
                if (!r->items[i].used)
                        buffer_printf(&text, "%s%s", unused++ ? "," : "", r->items[i].name);
        if (unused)
                build_warn(r->build, "well-defined vars that were never replaced: %s", buffer_string(&text));
        buffer_release(&text);
}

int variable_resolve(struct build *build, struct accumulator *accumulator)
{
        struct resolver r = { build, arena_array(build->arena, accumulator->variables.count, sizeof(*r.items)), 0 };
        struct field_walk walk = { CREATE_NOTHING, TAG_NONE, replace_field, &r };

        for (; r.count < accumulator->variables.count; r.count++) {
                const struct node *node;

                TRY(find_value(build, accumulator, &accumulator->variables.items[r.count], &node));
                r.items[r.count].name = accumulator->variables.items[r.count].name;
                r.items[r.count].node = node_copy(build->arena, node);
        }
        for (size_t i = 0; r.count && i < accumulator->list.count; i++)
                for (size_t k = 0; k < accumulator->configuration->var_reference.count; k++)
                        TRY(field_walk(build, accumulator->list.items[i], &accumulator->configuration->var_reference.items[k],
                                       &walk));
        warn_unused(&r);
        return 0;
}
