#include "engine/kustomize/reference.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

/* What the search needs of each resource, read once: names do not change while references are fixed. */
struct candidate {
        struct resource *resource;
        struct resource_id current;
        struct resource_id original;
        struct id_list previous;
        struct view prefixes;
        struct view suffixes;
        bool has_prefixes;
        bool has_suffixes;
};

/* Candidates by a name that they had before. */
struct name_slot {
        struct view name;
        struct candidate **items;
        size_t count;
        size_t capacity;
};

struct fixer {
        struct build *build;
        struct candidate *candidates;
        size_t count;
        struct name_slot *slots;
        size_t slot_count; /* a power of two */
        /* the referrer and rule at hand */
        const struct candidate *referrer;
        const struct name_reference *rule;
        const struct field_spec *spec;
        struct view *binding_namespaces; /* of a RoleBinding's ServiceAccounts */
        size_t binding_count;
};

static struct name_slot *slot_of(struct fixer *f, struct view name)
{
        size_t at = hash_add(HASH_EMPTY, name) & (f->slot_count - 1);

        while (f->slots[at].count && !view_equal(f->slots[at].name, name))
                at = (at + 1) & (f->slot_count - 1);
        return &f->slots[at];
}

static void index_name(struct fixer *f, struct view name, struct candidate *candidate)
{
        struct name_slot *slot = slot_of(f, name);

        if (slot->count && slot->items[slot->count - 1] == candidate)
                return;
        if (slot->count == slot->capacity) {
                size_t capacity = slot->capacity ? slot->capacity * 2 : 2;

                slot->items =
                        arena_grow(f->build->arena, slot->items, slot->capacity * sizeof(candidate), capacity * sizeof(candidate));
                slot->capacity = capacity;
        }
        slot->name = name;
        slot->items[slot->count++] = candidate;
}

static void prepare(struct fixer *f, const struct resource_list *list)
{
        const struct identity *identity = &f->build->identity;
        size_t names = 0;

        f->count = list->count;
        f->candidates = arena_array(f->build->arena, list->count, sizeof(*f->candidates));
        for (size_t i = 0; i < list->count; i++) {
                struct candidate *c = &f->candidates[i];

                c->resource = list->items[i];
                c->previous = resource_all_ids(identity, c->resource);
                c->original = c->previous.items[0];
                c->current = c->previous.items[--c->previous.count];
                c->prefixes = resource_annotation(c->resource, ANNOTATION_PREFIXES, &c->has_prefixes);
                c->suffixes = resource_annotation(c->resource, ANNOTATION_SUFFIXES, &c->has_suffixes);
                names += c->previous.count;
        }
        f->slot_count = 16;
        while (f->slot_count < names * 2)
                f->slot_count *= 2;
        f->slots = arena_array(f->build->arena, f->slot_count, sizeof(*f->slots));
        for (size_t i = 0; i < f->count; i++)
                for (size_t k = 0; k < f->candidates[i].previous.count; k++)
                        index_name(f, f->candidates[i].previous.items[k].name, &f->candidates[i]);
}

static bool is_cluster(const struct candidate *c)
{
        return resource_id_cluster_scoped(&c->current);
}

/* Step 1: what the referrer can see at all. */
static bool is_visible(const struct fixer *f, const struct candidate *c)
{
        struct view namespace;

        if (is_cluster(f->referrer) || is_cluster(c) || view_equal(c->current.effective, f->referrer->current.effective))
                return true;
        namespace = resource_namespace(c->resource);
        for (size_t i = 0; i < f->binding_count; i++)
                if (view_equal(f->binding_namespaces[i], namespace))
                        return true;
        return false;
}

static bool had_gvk(const struct candidate *c, const struct gvk *gvk)
{
        for (size_t i = 0; i < c->previous.count; i++)
                if (gvk_selected(&c->previous.items[i].gvk, gvk))
                        return true;
        return false;
}

/* Step 4: a roleRef names the kind too. */
static bool fits_role(const struct fixer *f, const struct candidate *c)
{
        const struct node *role = node_get_of(f->referrer->resource->node, "roleRef");
        const struct node *group = node_get_of(role, "apiGroup"), *kind = node_get_of(role, "kind");
        struct gvk gvk;

        if (!view_ends(f->spec->path, VIEW("roleRef/name")) || !group || !kind)
                return true;
        gvk = (struct gvk){ node_text(group), VIEW_NULL, node_text(kind) };
        return had_gvk(c, &gvk);
}

static bool same_namespace(const struct fixer *f, const struct candidate *c)
{
        return is_cluster(f->referrer) || is_cluster(c) || view_is(resource_kind(c->resource), "ServiceAccount") ||
               view_equal(c->current.effective, f->referrer->current.effective);
}

/* One comma list is the tail of the other. */
static bool same_tail(struct view a, bool has_a, struct view b, bool has_b, bool allow_empty)
{
        struct view longer = a.length >= b.length ? a : b, shorter = a.length >= b.length ? b : a;

        if (!has_a || !has_b)
                return allow_empty || has_a == has_b;
        if (!view_ends(longer, shorter))
                return false;
        return longer.length == shorter.length || longer.data[longer.length - shorter.length - 1] == ',';
}

static bool same_affixes(const struct fixer *f, const struct candidate *c, bool allow_empty)
{
        const struct candidate *r = f->referrer;

        return same_tail(c->prefixes, c->has_prefixes, r->prefixes, r->has_prefixes, allow_empty) &&
               same_tail(c->suffixes, c->has_suffixes, r->suffixes, r->has_suffixes, allow_empty);
}

static size_t sieve_affixes(const struct fixer *f, struct candidate **found, size_t count, bool allow_empty)
{
        size_t kept = 0;

        for (size_t i = 0; i < count; i++)
                if (same_affixes(f, found[i], allow_empty))
                        found[kept++] = found[i];
        return kept;
}

static void add_yaml(struct fixer *f, struct buffer *text, const struct node *node)
{
        struct error ignored = ERROR_NULL;

        (void)emit_yaml(text, f->build->arena, node, 0, &ignored);
        error_release(&ignored);
        buffer_add_char(text, '\n');
}

static int ambiguous(struct fixer *f, struct candidate **found, size_t count)
{
        struct buffer text = BUFFER_NULL;

        for (size_t i = 0; i < count; i++)
                buffer_printf(&text, "%s%s", i ? ", " : "", resource_id_text(f->build->arena, &found[i]->current));
        buffer_add_string(&text, "\n\n**** Too many possible referral targets to referrer:\n");
        add_yaml(f, &text, f->referrer->resource->node);
        for (size_t i = 0; i < count; i++) {
                buffer_printf(&text, "--- possible referral %zu:\n", i);
                add_yaml(f, &text, found[i]->resource->node);
        }
        error_set(f->build->error, ERROR_INVALID, "found multiple possible referrals: %s", buffer_string(&text));
        buffer_release(&text);
        return -1;
}

/* How a map's `namespace` restricts the candidates: by their original namespace if one has it, else by the current one. */
enum restriction { ANY_NAMESPACE, ORIGINAL_NAMESPACE, CURRENT_NAMESPACE };

static enum restriction restriction_of(const struct fixer *f, const struct node *namespace)
{
        if (!namespace)
                return ANY_NAMESPACE;
        for (size_t i = 0; i < f->count; i++) {
                const struct candidate *c = &f->candidates[i];

                if (!resource_id_cluster_scoped(&c->original) && view_equal(c->original.effective, node_text(namespace)) &&
                    is_visible(f, c))
                        return ORIGINAL_NAMESPACE;
        }
        return CURRENT_NAMESPACE;
}

static bool in_namespace(const struct candidate *c, enum restriction restriction, const struct node *namespace)
{
        const struct resource_id *id = restriction == ORIGINAL_NAMESPACE ? &c->original : &c->current;

        return restriction == ANY_NAMESPACE || (!resource_id_cluster_scoped(id) && view_equal(id->effective, node_text(namespace)));
}

/* The resource that `name` means; *ret is NULL if there is none. */
static int find_referral(struct fixer *f, struct view name, const struct node *namespace, bool map, struct candidate **ret)
{
        const struct name_slot *slot = slot_of(f, name);
        enum restriction restriction;
        struct candidate **found;
        size_t count = 0;
        bool same = true;

        *ret = NULL;
        if (slot->count == 0)
                return 0;
        restriction = restriction_of(f, namespace);
        found = arena_array(f->build->arena, slot->count, sizeof(struct candidate *));
        for (size_t i = 0; i < slot->count; i++) {
                struct candidate *c = slot->items[i];

                if (had_gvk(c, &f->rule->referral) && is_visible(f, c) && in_namespace(c, restriction, namespace) &&
                    fits_role(f, c) && same_namespace(f, c))
                        found[count++] = c;
        }
        if (count != 1) {
                count = sieve_affixes(f, found, count, true);
                if (count > 1)
                        count = sieve_affixes(f, found, count, false);
        }
        for (size_t i = 1; i < count; i++)
                same = same && view_equal(found[i]->current.name, found[0]->current.name) &&
                       (!map || view_equal(found[i]->current.namespace, found[0]->current.namespace));
        if (!same)
                return ambiguous(f, found, count);
        if (count)
                *ret = found[0];
        return 0;
}

static int fix_scalar(struct fixer *f, struct node *node)
{
        struct candidate *referral;

        TRY(find_referral(f, node_text(node), NULL, false, &referral));
        if (referral && !view_equal(referral->current.name, node_text(node)))
                field_set_text(f->build->arena, node, referral->current.name, TAG_NONE);
        return 0;
}

static int fix_map(struct fixer *f, struct node *map)
{
        struct node *name = node_get_of(map, "name");
        struct arena *arena = f->build->arena;
        struct candidate *referral;
        struct view namespace;

        if (!name)
                return error_set(f->build->error, ERROR_INVALID, "path config error; no 'name' field in node");
        TRY(find_referral(f, name->kind == NODE_SCALAR ? node_text(name) : VIEW_NULL, node_get_of(map, "namespace"), true,
                          &referral));
        if (!referral)
                return 0;
        namespace = referral->current.namespace;
        if (view_equal(referral->current.name, node_text(name)) && namespace.length == 0)
                return 0;
        field_set(arena, map, VIEW("name"), node_scalar(arena, TAG_NONE, STYLE_PLAIN, referral->current.name));
        if (namespace.length)
                field_set(arena, map, VIEW("namespace"), node_scalar(arena, TAG_NONE, STYLE_PLAIN, namespace));
        return 0;
}

static int fix_field(void *user, struct node *node)
{
        struct fixer *f = user;

        if (node_is_null(node))
                return 0;
        if (node->kind == NODE_SCALAR)
                return fix_scalar(f, node);
        if (node->kind == NODE_MAP)
                return fix_map(f, node);
        for (uint32_t i = 0; i < node->count; i++) {
                struct node *item = node->items[i];

                if (node_is_null(item))
                        continue;
                if (item->kind == NODE_LIST)
                        return error_set(f->build->error, ERROR_INVALID,
                                         "a list is expected to be either a string or a map of string");
                TRY(item->kind == NODE_MAP ? fix_map(f, item) : fix_scalar(f, item));
        }
        return 0;
}

static int collect_binding_namespaces(struct fixer *f)
{
        const struct node *subjects = node_get_of(f->referrer->resource->node, "subjects");

        f->binding_count = 0;
        if (!view_is(resource_kind(f->referrer->resource), "RoleBinding") || !node_is_list(subjects) || is_cluster(f->referrer))
                return 0;
        f->binding_namespaces = arena_array(f->build->arena, subjects->count, sizeof(*f->binding_namespaces));
        for (uint32_t i = 0; i < subjects->count; i++) {
                const struct node *namespace = node_get_of(subjects->items[i], "namespace");

                if (!namespace || !node_text_is(node_get_of(subjects->items[i], "kind"), "ServiceAccount"))
                        continue;
                if (!node_is_scalar(namespace))
                        return error_set(f->build->error, ERROR_INVALID, "Invalid Input: namespace is blank for resource \"%s\"\n",
                                         resource_id_text(f->build->arena, &f->referrer->current));
                f->binding_namespaces[f->binding_count++] = node_text(namespace);
        }
        return 0;
}

/* The rules that apply to one kind of referrer. */
struct applicable_item {
        const struct name_reference *rule;
        struct field_spec *spec;
};

struct applicable {
        struct gvk gvk;
        struct applicable_item *items;
        size_t count;
};

static struct applicable find_applicable(struct fixer *f, const struct reference_list *rules, const struct gvk *gvk)
{
        struct applicable result = { .gvk = *gvk };
        size_t most = 0;

        for (size_t i = 0; i < rules->count; i++)
                most += rules->items[i].referrers.count;
        result.items = arena_array(f->build->arena, most, sizeof(*result.items));
        for (size_t i = 0; i < rules->count; i++) {
                for (size_t k = 0; k < rules->items[i].referrers.count; k++) {
                        struct field_spec *spec = &rules->items[i].referrers.items[k];

                        if (!gvk_selected(gvk, &spec->gvk))
                                continue;
                        result.items[result.count].rule = &rules->items[i];
                        result.items[result.count++].spec = spec;
                }
        }
        return result;
}

#define KINDS_CACHED 256

static int confirm(struct fixer *f, const char *field, struct view read, struct view taken_apart)
{
        if (view_equal(read, taken_apart))
                return 0;
        return error_set(f->build->error, ERROR_INVALID, "node-referrerOriginal '%s' mismatch '%.*s' != '%.*s'", field,
                         VIEW_ARGS(read), VIEW_ARGS(taken_apart));
}

/* What the reference asserts, and where it ends for what is written but null and for a version with an empty group (`/v1`). */
static int confirm_referrer(struct fixer *f)
{
        const struct node *object = f->referrer->resource->node;
        const struct gvk *gvk = &f->referrer->current.gvk;
        struct view version = gvk->version;

        if (gvk->group.length)
                version = view_of(arena_printf(f->build->arena, "%.*s/%.*s", VIEW_ARGS(gvk->group), VIEW_ARGS(gvk->version)));
        TRY(confirm(f, "APIVersion", node_get_text(object, "apiVersion"), version));
        return confirm(f, "Kind", node_get_text(object, "kind"), gvk->kind);
}

static int fix_referrer(struct fixer *f, const struct applicable *applicable)
{
        struct field_walk walk = { CREATE_NOTHING, TAG_NONE, fix_field, f };

        if (applicable->count == 0)
                return 0;
        TRY(collect_binding_namespaces(f));
        TRY(confirm_referrer(f));
        for (size_t i = 0; i < applicable->count; i++) {
                f->rule = applicable->items[i].rule;
                f->spec = applicable->items[i].spec;
                if (field_walk_any(f->build, f->referrer->resource, applicable->items[i].spec, &walk) < 0)
                        return error_wrap(f->build->error, "updating name reference in '%.*s' field of '%s'",
                                          VIEW_ARGS(f->spec->path), resource_id_text(f->build->arena, &f->referrer->current));
        }
        return 0;
}

int reference_fix(struct build *build, struct accumulator *accumulator)
{
        struct applicable *cache = arena_array(build->arena, KINDS_CACHED, sizeof(*cache));
        struct fixer f = { .build = build };
        size_t cached = 0;

        if (!accumulator->configuration)
                return 0;
        prepare(&f, &accumulator->list);
        for (size_t i = 0; i < f.count; i++) {
                const struct gvk *gvk = &f.candidates[i].original.gvk;
                struct applicable fresh;
                size_t k = 0;

                while (k < cached && !gvk_equal(&cache[k].gvk, gvk))
                        k++;
                if (k == cached) {
                        fresh = find_applicable(&f, &accumulator->configuration->name_reference, gvk);
                        if (cached < KINDS_CACHED)
                                cache[cached++] = fresh;
                }
                f.referrer = &f.candidates[i];
                TRY(fix_referrer(&f, k < KINDS_CACHED ? &cache[k] : &fresh));
                TRY(build_check(build));
        }
        return 0;
}
