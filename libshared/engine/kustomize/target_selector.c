#include "engine/kustomize/target_selector.h"

#include "base/cleanup.h"

static int compile(struct build *build, const struct node *config, const char *field, struct regex **ret)
{
        struct view pattern = node_get_text(config, field);

        return pattern.length ? regex_compile(pattern, REGEX_ANCHORED, ret, build->error) : 0;
}

static int parse(struct build *build, const struct node *config, const char *field, struct selector **ret)
{
        struct view text = node_get_text(config, field);

        return text.length ? selector_parse(text, ret, build->error) : 0;
}

int target_selector_open(struct build *build, const struct node *config, struct target_selector *ret)
{
        struct target_selector selector = { .build = build };

        if (compile(build, config, "group", &selector.group) == 0 && compile(build, config, "version", &selector.version) == 0 &&
            compile(build, config, "kind", &selector.kind) == 0 && compile(build, config, "name", &selector.name) == 0 &&
            compile(build, config, "namespace", &selector.namespace) == 0 &&
            parse(build, config, "labelSelector", &selector.labels) == 0 &&
            parse(build, config, "annotationSelector", &selector.annotations) == 0) {
                *ret = selector;
                return 0;
        }
        target_selector_close(&selector);
        return -1;
}

const char *target_selector_text(struct build *build, const struct node *config)
{
        struct resource_id id = { .gvk = { node_get_text(config, "group"), node_get_text(config, "version"),
                                           node_get_text(config, "kind") },
                                  .name = node_get_text(config, "name"),
                                  .namespace = node_get_text(config, "namespace") };

        return arena_printf(build->arena, "%s:a=%s:l=%s", resource_id_text(build->arena, &id),
                            node_get_string(config, "annotationSelector"), node_get_string(config, "labelSelector"));
}

void target_selector_close(struct target_selector *selector)
{
        regex_free(&selector->group);
        regex_free(&selector->version);
        regex_free(&selector->kind);
        regex_free(&selector->name);
        regex_free(&selector->namespace);
        selector_free(&selector->labels);
        selector_free(&selector->annotations);
}

static int matches(const struct target_selector *selector, const struct regex *pattern, struct view text)
{
        int r = pattern ? regex_match(pattern, text, selector->build->error) : 0;

        return r < 0 ? -1 : r != REGEX_NO_MATCH;
}

static int matches_gvk(const struct target_selector *selector, const struct gvk *gvk)
{
        int r = matches(selector, selector->group, gvk->group);

        if (r > 0)
                r = matches(selector, selector->version, gvk->version);
        return r > 0 ? matches(selector, selector->kind, gvk->kind) : r;
}

/* Of a key that is written twice the last one counts. */
static bool label_of(const void *labels, const char *key, struct view *ret_value)
{
        const struct node *map = labels;

        for (uint32_t i = node_is_map(map) ? map->count : 0; i-- > 0;) {
                if (map->entries[i].value->kind == NODE_SCALAR && node_text_is(map->entries[i].key, key)) {
                        *ret_value = node_text(map->entries[i].value);
                        return true;
                }
        }
        return false;
}

static bool meets(const struct selector *selector, const struct node *labels)
{
        return !selector || selector_matches(selector, label_of, labels);
}

int target_selector_matches_metadata(const struct target_selector *selector, const struct resource *resource)
{
        const struct node *metadata = node_get_of(resource->node, "metadata");

        return meets(selector->labels, node_get_of(metadata, "labels")) &&
               meets(selector->annotations, node_get_of(metadata, "annotations"));
}

int target_selector_matches_id(const struct target_selector *selector, const struct resource_id *id)
{
        int r = matches_gvk(selector, &id->gvk);

        if (r > 0)
                r = matches(selector, selector->name, id->name);
        return r > 0 ? matches(selector, selector->namespace, id->namespace) : r;
}

int target_selector_matches(const struct target_selector *selector, const struct resource *resource)
{
        const struct identity *identity = &selector->build->identity;
        struct resource_id original = resource_original(identity, resource), current = resource_current(identity, resource);
        int r = matches(selector, selector->namespace, original.effective);

        if (r == 0)
                r = matches(selector, selector->namespace, current.effective);
        if (r <= 0)
                return r;
        r = matches(selector, selector->name, original.name);
        if (r == 0)
                r = matches(selector, selector->name, current.name);
        if (r > 0)
                r = matches_gvk(selector, &current.gvk);
        return r > 0 ? target_selector_matches_metadata(selector, resource) : r;
}

bool target_selector_has_id(const struct target_selector *selector)
{
        return selector->group || selector->version || selector->kind || selector->name || selector->namespace;
}

bool target_selector_has_metadata(const struct target_selector *selector)
{
        return selector->labels || selector->annotations;
}
