#include "engine/kustomize/selector.h"

#include <stdlib.h>
#include <string.h>

static int compile(struct build *build, const struct node *config, const char *field, struct regex **ret)
{
        struct view pattern = node_get_text(config, field);

        return pattern.length ? regex_compile(build, pattern, true, ret) : 0;
}

/*
 * The Kubernetes selector grammar, into a list of maps {key, operator, values}. Operators: "=" (in one of values), "!=" (not in), "exists",
 * "!exists", ">", "<".
 */
struct grammar {
        struct build *build;
        struct view text;
        size_t at;
};

static void skip_blanks(struct grammar *g)
{
        while (g->at < g->text.length && strchr(" \t\r\n", g->text.data[g->at]))
                g->at++;
}

static struct view take_word(struct grammar *g)
{
        size_t start;

        skip_blanks(g);
        start = g->at;
        while (g->at < g->text.length && !strchr(" \t\r\n=!(),<>", g->text.data[g->at]))
                g->at++;
        return view_slice(g->text, start, g->at - start);
}

static bool take(struct grammar *g, const char *token)
{
        skip_blanks(g);
        if (!view_starts(view_slice(g->text, g->at, SIZE_MAX), view_of(token)))
                return false;
        g->at += strlen(token);
        return true;
}

static int bad(struct grammar *g, const char *expected)
{
        return error_set(g->build->error, ERROR_INVALID, "unable to parse requirement: found '%.*s', expected: %s",
                         VIEW_ARGS(view_slice(g->text, g->at, 32)), expected);
}

static int take_values(struct grammar *g, struct node *values)
{
        if (!take(g, "("))
                return bad(g, "'('");
        do {
                node_append(g->build->arena, values, node_string(g->build->arena, take_word(g)));
        } while (take(g, ","));
        return take(g, ")") ? 0 : bad(g, "',', or ')'");
}

static int take_requirement(struct grammar *g, struct node *requirement)
{
        struct arena *arena = g->build->arena;
        struct node *values = node_list(arena);
        const char *operator= "exists";
        bool negated = take(g, "!");
        struct view key = take_word(g), word;
        size_t back;

        if (key.length == 0)
                return bad(g, "identifier");
        if (!negated) {
                if (take(g, "!="))
                        operator= "!=";
                else if (take(g, "==") || take(g, "="))
                        operator= "=";
                else if (take(g, ">"))
                        operator= ">";
                else if (take(g, "<"))
                        operator= "<";
                if (strcmp(operator, "exists") != 0) {
                        node_append(arena, values, node_string(arena, take_word(g)));
                } else {
                        back = g->at;
                        word = take_word(g);
                        if (view_is(word, "in") || view_is(word, "notin")) {
                                operator= view_is(word, "in") ? "=" : "!=";
                                TRY(take_values(g, values));
                        } else {
                                g->at = back;
                        }
                }
        } else {
                operator= "!exists";
        }
        node_set_of(arena, requirement, "key", node_string(arena, key));
        node_set_of(arena, requirement, "operator", node_string_of(arena, operator));
        node_set_of(arena, requirement, "values", values);
        return 0;
}

static int parse_requirements(struct build *build, struct view text, const struct node **ret)
{
        struct grammar g = { build, text, 0 };
        struct node *list = node_list(build->arena);

        skip_blanks(&g);
        while (g.at < text.length) {
                struct node *requirement = node_map(build->arena);

                TRY(take_requirement(&g, requirement));
                node_append(build->arena, list, requirement);
                skip_blanks(&g);
                if (g.at == text.length)
                        break;
                if (!take(&g, ","))
                        return bad(&g, "',' or 'end of string'");
                skip_blanks(&g);
                if (g.at == text.length)
                        return bad(&g, "identifier after ','");
        }
        *ret = list;
        return 0;
}

int selector_open(struct build *build, const struct node *config, struct selector *ret)
{
        struct selector selector = { .build = build };

        if (compile(build, config, "group", &selector.group) == 0 && compile(build, config, "version", &selector.version) == 0 &&
            compile(build, config, "kind", &selector.kind) == 0 && compile(build, config, "name", &selector.name) == 0 &&
            compile(build, config, "namespace", &selector.namespace) == 0 &&
            parse_requirements(build, node_get_text(config, "labelSelector"), &selector.labels) == 0 &&
            parse_requirements(build, node_get_text(config, "annotationSelector"), &selector.annotations) == 0) {
                *ret = selector;
                return 0;
        }
        selector_close(&selector);
        return -1;
}

void selector_close(struct selector *selector)
{
        regex_free(&selector->group);
        regex_free(&selector->version);
        regex_free(&selector->kind);
        regex_free(&selector->name);
        regex_free(&selector->namespace);
}

int selector_matches_text(const struct selector *selector, const struct regex *pattern, struct view text)
{
        return pattern ? regex_match(selector->build, pattern, text) : 1;
}

int selector_matches_gvk(const struct selector *selector, const struct gvk *gvk)
{
        int r = selector_matches_text(selector, selector->group, gvk->group);

        if (r > 0)
                r = selector_matches_text(selector, selector->version, gvk->version);
        return r > 0 ? selector_matches_text(selector, selector->kind, gvk->kind) : r;
}

static bool meets(const struct node *requirement, const struct node *map)
{
        const char *operator= node_get_string(requirement, "operator");
        const struct node *values = node_get_of(requirement, "values");
        const struct node *value = node_get(map, node_get_text(requirement, "key"));
        struct view text = value && value->kind == NODE_SCALAR ? node_text(value) : VIEW_NULL;
        int64_t left, right;
        bool in = false;

        if (strcmp(operator, "exists") == 0)
                return value;
        if (strcmp(operator, "!exists") == 0)
                return !value;
        if (*operator== '>' || * operator== '<') {
                if (!value || view_to_int64(text, &left) < 0 || view_to_int64(node_text(values->items[0]), &right) < 0)
                        return false;
                return *operator== '>' ? left > right : left<right;
        }
        for (uint32_t i = 0; i < values->count && value; i++)
                in |= view_equal(node_text(values->items[i]), text);
        return (*operator== '!') != in;
}

int selector_matches_metadata(const struct selector *selector, const struct resource *resource)
{
        const struct node *metadata = node_get_of(resource->node, "metadata");

        for (uint32_t i = 0; i < selector->labels->count; i++)
                if (!meets(selector->labels->items[i], node_get_of(metadata, "labels")))
                        return 0;
        for (uint32_t i = 0; i < selector->annotations->count; i++)
                if (!meets(selector->annotations->items[i], node_get_of(metadata, "annotations")))
                        return 0;
        return 1;
}

int selector_matches(const struct selector *selector, const struct resource *resource)
{
        const struct identity *identity = &selector->build->identity;
        struct resource_id original = resource_original(identity, resource), current = resource_current(identity, resource);
        int r = selector_matches_text(selector, selector->namespace, original.effective);

        if (r == 0)
                r = selector_matches_text(selector, selector->namespace, current.effective);
        if (r <= 0)
                return r;
        r = selector_matches_text(selector, selector->name, original.name);
        if (r == 0)
                r = selector_matches_text(selector, selector->name, current.name);
        if (r > 0)
                r = selector_matches_gvk(selector, &current.gvk);
        return r > 0 ? selector_matches_metadata(selector, resource) : r;
}
