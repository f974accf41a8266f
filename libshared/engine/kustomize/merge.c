#include "engine/kustomize/merge.h"

#include "base/hash.h"
#include "engine/kustomize/element_index.h"
#include "engine/kustomize/keys.h"
#include "engine/kustomize/resource.h"

#include <stdlib.h>
#include <string.h>

#define KEYS SCHEMA_KEYS
/* Lists of so many elements are searched; longer ones get an index, if one key tells their elements apart. */
#define SEARCHED 16
/* Pairs of elements that all merges of a build may compare: seconds. What is served in any cluster takes less than a thousandth of it. */
#define PAIRS_LIMIT   UINT64_C(400000000)
#define FIELDS_A_PAIR 16 /* a look at the name of a field costs so much less */

/* The key fields of one element of an associative list; "" where it has none. */
struct tuple {
        struct view values[KEYS];
        size_t count;
};

struct key_set {
        struct view names[KEYS];
        size_t count;
};

enum directive {
        DIRECTIVE_MERGE,
        DIRECTIVE_REPLACE,
        DIRECTIVE_DELETE,
        DIRECTIVE_UNKNOWN,
};

/* A null that the object wrote itself and no patch names is kept; all others remove their field. */
struct merged {
        struct node *node; /* NULL: absent */
        bool keep_null;
};

static int merge(struct build *build, struct node *dest, struct node *patch, const struct schema_type *type,
                 const struct schema_field *field, struct merged *ret);

/* Lists whose elements several keys tell apart, and maps, are searched from one end: what somebody made long for that reason ends here. */
static int spend(struct build *build, uint64_t pairs, size_t count, const char *what)
{
        build->compared += pairs;
        if (build->compared <= PAIRS_LIMIT)
                return 0;
        return error_set(build->error, ERROR_TOO_LARGE, "merging %zu %s takes too long: make patches of fewer of them", count,
                         what);
}

static bool is_mapping_or_null(const struct node *node)
{
        return node_is_null(node) || node->kind == NODE_MAP;
}

static struct view text_of(const struct node *node)
{
        return node && node->kind == NODE_SCALAR ? node_text(node) : VIEW_NULL;
}

/* What kyaml's GetValue gives: nothing for null. */
static struct view value_of(const struct node *node)
{
        return node_is_null(node) ? VIEW_NULL : text_of(node);
}

/* The reference loses elements in some corners of its lists; we do the same, and say so. */
static void warn_list(struct build *build, const struct schema_field *field, const char *what)
{
        struct resource object = { .node = (struct node *)(uintptr_t)build->merging };
        struct resource_id id = resource_current(&build->identity, &object);

        build_warn(build, "# Warning: strategic merge into %s: list '%s': %s", resource_id_text(build->arena, &id), field->name,
                   what);
}

static enum directive directive_named(struct view text)
{
        if (view_is(text, "delete"))
                return DIRECTIVE_DELETE;
        if (view_is(text, "replace"))
                return DIRECTIVE_REPLACE;
        return view_is(text, "merge") ? DIRECTIVE_MERGE : DIRECTIVE_UNKNOWN;
}

static int unknown_directive(struct build *build, struct view text)
{
        return error_set(build->error, ERROR_INVALID, "unknown patch strategy '%.*s'", VIEW_ARGS(text));
}

/* Reads and removes a map's `$patch`. */
static int map_directive(struct build *build, struct node *patch, enum directive *ret)
{
        const struct node *value = node_is_map(patch) ? node_get_of(patch, "$patch") : NULL;

        *ret = DIRECTIVE_MERGE;
        if (!value)
                return 0;
        *ret = directive_named(text_of(value));
        if (*ret == DIRECTIVE_UNKNOWN)
                return unknown_directive(build, text_of(value));
        node_remove_of(patch, "$patch");
        return 0;
}

static int set_element(struct build *build, struct node *list, const struct key_set *keys, const struct tuple *tuple,
                       struct node *element);

/* Reads and removes the element that holds nothing but `$patch`. */
static int list_directive(struct build *build, struct node *patch, enum directive *ret)
{
        struct key_set keys = { { VIEW("$patch") }, 1 };
        const struct node *found = NULL;
        struct tuple tuple = { .count = 1 };

        *ret = DIRECTIVE_MERGE;
        for (uint32_t i = 0; node_is_list(patch) && i < patch->count && !found; i++)
                if (node_get_of(patch->items[i], "$patch"))
                        found = patch->items[i];
        if (!found || found->count > 1)
                return 0;
        tuple.values[0] = text_of(node_get_of(found, "$patch"));
        *ret = directive_named(tuple.values[0]);
        if (*ret == DIRECTIVE_UNKNOWN)
                return unknown_directive(build, tuple.values[0]);
        return set_element(build, patch, &keys, &tuple, NULL);
}

/*
 * REMOVE (element NULL) and PUT of the specification: every match is taken out or replaced, what is put and matches nothing is appended. Nulls and
 * empty maps go on the way.
 */
static int set_element(struct build *build, struct node *list, const struct key_set *keys, const struct tuple *tuple,
                       struct node *element)
{
        bool mapping = keys->count && keys->names[0].length && tuple->count && tuple->values[0].length, matched = false;
        uint32_t kept = 0;

        for (uint32_t i = 0; i < list->count; i++) {
                struct node *item = list->items[i];
                bool found = true, any = false;

                if (node_is_null(item) || (item->kind == NODE_MAP && item->count == 0))
                        continue;
                if (!is_mapping_or_null(item) && mapping) {
                        list->items[kept++] = item;
                        continue;
                }
                for (size_t k = 0; k < keys->count && found; k++) {
                        /* Positions beyond the tuple repeat the last test. */
                        if (k < tuple->count && keys->names[k].length == 0) {
                                if (item->kind != NODE_SCALAR)
                                        return build_wrong_kind(build, NODE_SCALAR, item);
                                any = view_equal(value_of(item), tuple->values[k]);
                        } else if (k < tuple->count) {
                                const struct node *value = node_get(item, keys->names[k]);

                                if (item->kind != NODE_MAP)
                                        return build_wrong_kind(build, NODE_MAP, item);
                                any = value && (tuple->values[k].length == 0 || view_equal(text_of(value), tuple->values[k]));
                        }
                        found = any;
                }
                if (!found) {
                        if (tuple->count)
                                list->items[kept++] = item;
                        continue;
                }
                matched = true;
                if (element)
                        list->items[kept++] = element;
        }
        list->count = kept;
        if (!node_is_null(element) && !matched)
                node_append(build->arena, list, element);
        return 0;
}

/* The first element whose fields equal the tuple as text. */
static struct node *find_element(const struct node *list, const struct key_set *keys, const struct tuple *tuple)
{
        for (uint32_t i = 0; node_is_list(list) && i < list->count; i++) {
                struct node *item = list->items[i];
                bool found = true;

                if (keys->count == 0 || keys->names[0].length == 0) {
                        if (view_equal(text_of(item), tuple->count ? tuple->values[0] : VIEW_NULL))
                                return item;
                        continue;
                }
                if (item->kind != NODE_MAP)
                        continue;
                for (size_t k = 0; k < keys->count && found; k++) {
                        const struct node *value = node_get(item, keys->names[k]);

                        found = value && view_equal(text_of(value), k < tuple->count ? tuple->values[k] : VIEW_NULL);
                }
                if (found)
                        return item;
        }
        return NULL;
}

static bool tuple_equal(const struct tuple *a, const struct tuple *b)
{
        for (size_t i = 0; i < a->count; i++)
                if (!view_equal(a->values[i], b->values[i]))
                        return false;
        return true;
}

/* Tuples in the order in which they came, each once. */
struct tuple_list {
        struct tuple *items;
        uint32_t *slots; /* by hash: a place in items, from 1; 0: free */
        size_t count;
        size_t capacity; /* of slots, a power of two */
};

static struct tuple_list tuple_list_new(struct arena *arena, size_t most)
{
        struct tuple_list list = { .items = arena_array(arena, most, sizeof(*list.items)), .capacity = 16 };

        while (list.capacity < 2 * most)
                list.capacity *= 2;
        list.slots = arena_array(arena, list.capacity, sizeof(*list.slots));
        return list;
}

static void add_tuple(struct tuple_list *list, const struct tuple *tuple)
{
        uint64_t at = HASH_EMPTY;

        for (size_t k = 0; k < tuple->count; k++)
                at = hash_add(at, tuple->values[k]);
        for (at &= list->capacity - 1; list->slots[at]; at = (at + 1) & (list->capacity - 1))
                if (tuple_equal(&list->items[list->slots[at] - 1], tuple))
                        return;
        list->items[list->count++] = *tuple;
        list->slots[at] = (uint32_t)list->count;
}

static void add_tuples(struct tuple_list *list, const struct node *source, const struct key_set *keys)
{
        for (uint32_t i = 0; node_is_list(source) && i < source->count; i++) {
                struct tuple tuple = { .count = keys->count };

                for (size_t k = 0; k < keys->count; k++) {
                        const struct node *value =
                                keys->names[k].length ? node_get(source->items[i], keys->names[k]) : source->items[i];

                        if (keys->names[k].length == 0 || !node_is_empty(value))
                                tuple.values[k] = text_of(value);
                }
                add_tuple(list, &tuple);
        }
}

static bool has_repeats(struct build *build, const struct node *source, const struct key_set *keys)
{
        struct tuple_list own;

        if (!node_is_list(source) || source->count < 2)
                return false;
        own = tuple_list_new(build->arena, source->count);
        add_tuples(&own, source, keys);
        return own.count < source->count;
}

/* Tuples that agree somewhere and differ only where one has nothing become one. */
static void unite_tuples(struct tuple_list *list)
{
        for (size_t i = 0; i < list->count; i++) {
                struct tuple turn = list->items[i];

                for (size_t j = 0; j < list->count; j++) {
                        const struct tuple *other = &list->items[j];
                        struct tuple both = turn;
                        bool common = false, differ = false;

                        for (size_t k = 0; k < turn.count; k++) {
                                if (view_equal(turn.values[k], other->values[k]))
                                        common = true;
                                else if (turn.values[k].length && other->values[k].length)
                                        differ = true;
                                else if (!turn.values[k].length)
                                        both.values[k] = other->values[k];
                        }
                        if (common && !differ)
                                list->items[i] = list->items[j] = both;
                }
        }
}

/* Which keys some of the tuples have a value for: a bit each; all if there is none. */
static unsigned keys_with_values(const struct tuple *tuples, size_t count, const struct key_set *keys)
{
        unsigned valid = 0;

        for (size_t i = 0; i < count; i++)
                for (size_t k = 0; k < keys->count; k++)
                        if (tuples[i].values[k].length)
                                valid |= 1u << k;
        return valid ? valid : ~0u;
}

static void restrict_keys(unsigned valid, const struct tuple *tuple, const struct key_set *keys, struct key_set *ret_keys,
                          struct tuple *ret_tuple)
{
        ret_keys->count = ret_tuple->count = 0;
        for (size_t k = 0; k < keys->count; k++) {
                if (!(valid & 1u << k))
                        continue;
                ret_keys->names[ret_keys->count++] = keys->names[k];
                ret_tuple->values[ret_tuple->count++] = tuple->values[k];
        }
}

/* Sets the key fields that the merged element lacks. */
static void complete_element(struct build *build, struct node *element, const struct key_set *keys, const struct tuple *tuple)
{
        for (size_t k = 0; k < keys->count && k < tuple->count; k++) {
                if (tuple->values[k].length == 0)
                        continue;
                if (keys->names[k].length == 0) {
                        if (element->kind == NODE_SCALAR)
                                field_set_text(build->arena, element, tuple->values[k], TAG_NONE);
                } else if (element->kind == NODE_MAP && !node_get(element, keys->names[k])) {
                        field_set(build->arena, element, keys->names[k],
                                  node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, tuple->values[k]));
                }
        }
}

/* What is merged of two lists so far, and where to find what in it and in the two. */
struct merge_lists {
        struct node *dest, *patch, *target;
        struct element_index dest_index, patch_index;
        struct element_index target_index; /* as long as each element was put under its own text, and no other has that */
};

static void index_lists(struct build *build, struct merge_lists *lists, const struct key_set *keys, size_t most)
{
        lists->dest_index = lists->patch_index = lists->target_index = ELEMENT_INDEX_NULL;
        if (most <= SEARCHED || keys->count != 1 || keys->names[0].length == 0)
                return;
        lists->dest_index = element_index_of(build->arena, lists->dest, keys->names[0]);
        lists->patch_index = element_index_of(build->arena, lists->patch, keys->names[0]);
        lists->target_index = element_index_new(build->arena, most);
}

static struct node *look_up(const struct element_index *index, const struct node *list, const struct key_set *keys,
                            const struct tuple *tuple)
{
        return index->slots ? element_index_at(index, tuple->values[0])->element : find_element(list, keys, tuple);
}

/* REMOVE from the destination. Without a value it takes others away as well. */
static int remove_from_dest(struct build *build, struct merge_lists *lists, const struct key_set *keys, const struct tuple *tuple)
{
        TRY(spend(build, lists->dest->count, lists->dest->count, "elements of a list"));
        TRY(set_element(build, lists->dest, keys, tuple, NULL));
        if (lists->dest_index.slots && tuple->values[0].length == 0) {
                lists->dest_index = element_index_of(build->arena, lists->dest, keys->names[0]);
                lists->patch_index = element_index_of(build->arena, lists->patch, keys->names[0]); /* which may be the same list */
        }
        return 0;
}

/* PUT into the target: with the index where that comes to the same. */
static int put(struct build *build, struct merge_lists *lists, const struct key_set *keys, const struct tuple *tuple,
               struct node *element)
{
        struct element_index *index = &lists->target_index;
        struct element_slot *slot;

        if (!index->slots || tuple->count != 1 || tuple->values[0].length == 0 || !node_is_map(element) ||
            !view_equal(text_of(node_get(element, keys->names[0])), tuple->values[0])) {
                *index = ELEMENT_INDEX_NULL;
                return set_element(build, lists->target, keys, tuple, element);
        }
        slot = element_index_at(index, tuple->values[0]);
        if (slot->element) {
                lists->target->items[slot->place] = element;
        } else {
                *slot = (struct element_slot){ tuple->values[0], element, lists->target->count };
                node_append(build->arena, lists->target, element);
        }
        return 0;
}

/* Step 4: the rest of the destination behind what the patch names. */
static int append_rest(struct build *build, const struct schema_field *field, struct merge_lists *lists, const struct key_set *keys)
{
        const struct node *rest = lists->dest;
        struct node *target = lists->target;

        for (uint32_t i = 0; i < rest->count; i++) {
                struct node *item = rest->items[i];
                struct tuple tuple = { .count = 0 };
                uint32_t before = target->count, own;

                if (keys->count == 0 || keys->names[0].length == 0) {
                        static const struct key_set primitive = { { { "", 0 } }, 1 };

                        tuple = (struct tuple){ { text_of(item) }, 1 };
                        TRY(set_element(build, target, &primitive, &tuple, item));
                        continue;
                }
                for (size_t k = 0; k < keys->count; k++) {
                        const struct node *value = node_get(item, keys->names[k]);

                        if (!is_mapping_or_null(item))
                                return build_wrong_kind(build, NODE_MAP, item);
                        if (value)
                                tuple.values[tuple.count++] = text_of(value);
                        else
                                node_append(build->arena, target, item);
                }
                own = target->count - before;
                if (keys->count > 1)
                        TRY(set_element(build, target, keys, &tuple, NULL));
                if (own > 0 && keys->count > 1 && target->count < before)
                        warn_list(build, field, "an element of the patch is lost beside one that has not all the keys");
                TRY(put(build, lists, keys, &tuple, item));
                if (tuple.count == 0 && target->count < before + own)
                        warn_list(build, field, "an element without key takes those before it away");
        }
        return 0;
}

static int merge_elements(struct build *build, struct node *dest, struct node *patch, const struct schema_field *field,
                          const struct key_set *keys, struct merged *ret)
{
        size_t most = dest->count + (node_is_list(patch) ? patch->count : 0);
        struct tuple_list tuples = tuple_list_new(build->arena, most);
        struct merge_lists lists = { .dest = dest, .patch = patch, .target = node_list(build->arena) };
        struct key_set valid_keys = { .count = 0 };
        unsigned valid_bits;

        if (most > SEARCHED && (keys->count != 1 || keys->names[0].length == 0))
                TRY(spend(build, (uint64_t)most * most, most, "elements of a list"));
        index_lists(build, &lists, keys, most);
        add_tuples(&tuples, patch, keys);
        add_tuples(&tuples, dest, keys);
        if (has_repeats(build, dest, keys))
                warn_list(build, field, "elements of the same key become one");
        if (keys->count > 1)
                unite_tuples(&tuples);
        valid_bits = keys_with_values(tuples.items, tuples.count, keys);
        for (size_t i = 0; i < tuples.count; i++) {
                struct tuple valid = { .count = 0 }, used = { .count = 0 };
                struct key_set used_keys;
                struct merged value;
                struct node *other;
                uint32_t before;

                restrict_keys(valid_bits, &tuples.items[i], keys, &valid_keys, &valid);
                restrict_keys(keys_with_values(&valid, 1, &valid_keys), &valid, &valid_keys, &used_keys, &used);
                other = look_up(&lists.patch_index, patch, &used_keys, &used);
                if (node_text_is(node_get_of(other, "$patch"), "replace"))
                        warn_list(build, field, "$patch: replace on an element changes nothing");
                TRY(merge(build, look_up(&lists.dest_index, dest, &used_keys, &used), other, field->type, NULL, &value));
                if (node_is_null(value.node) || (value.node->kind == NODE_MAP && value.node->count == 0)) {
                        before = dest->count;
                        TRY(remove_from_dest(build, &lists, &valid_keys, &valid));
                        if (!other && !value.node && dest->count < before)
                                warn_list(build, field, "an element without key takes others away");
                        continue;
                }
                complete_element(build, value.node, &valid_keys, &valid);
                TRY(put(build, &lists, &valid_keys, &valid, value.node));
        }
        if (tuples.count > 0)
                TRY(append_rest(build, field, &lists, &valid_keys));
        *ret = (struct merged){ tuples.count > 0 ? lists.target : dest, false };
        return 0;
}

static int merge_associative(struct build *build, struct node *dest, struct node *patch, const struct schema_field *field,
                             struct merged *ret)
{
        enum directive directive = DIRECTIVE_MERGE;
        struct key_set keys = { .count = 0 };

        *ret = (struct merged){ NULL, false };
        if (node_is_null(dest)) {
                dest = patch;
        } else if (patch && node_is_null(patch)) {
                return 0;
        } else {
                TRY(list_directive(build, patch, &directive));
                if (directive == DIRECTIVE_DELETE)
                        return 0;
                if (directive == DIRECTIVE_REPLACE)
                        dest = patch;
        }
        for (; keys.count < KEYS && field->keys[keys.count]; keys.count++)
                keys.names[keys.count] = view_of(field->keys[keys.count]);
        if (keys.count == 0)
                keys = (struct key_set){ { { "", 0 } }, 1 };
        return merge_elements(build, dest, patch, field, &keys, ret);
}

/* The keys of both maps, sorted; with duplicates in one map once. */
static struct sorted_key *union_of_keys(struct build *build, const struct node *dest, const struct node *patch, uint32_t *ret_count)
{
        const struct node *sources[] = { dest, patch == dest ? NULL : patch };
        struct node all = { .kind = NODE_MAP };
        struct sorted_key *keys;
        struct error ignored = ERROR_NULL;

        for (size_t s = 0; s < 2; s++)
                for (uint32_t i = 0; node_is_map(sources[s]) && i < sources[s]->count; i++)
                        if (!node_get(&all, node_text(sources[s]->entries[i].key)))
                                node_add_entry(build->arena, &all, sources[s]->entries[i].key, sources[s]->entries[i].value);
        keys = arena_array(build->arena, all.count, sizeof(*keys));
        (void)keys_sort(build->arena, &all, KEYS_BYTEWISE, true, keys, &ignored);
        error_release(&ignored);
        *ret_count = all.count;
        return keys;
}

static enum node_style key_style(const struct node *map, struct view key)
{
        for (uint32_t i = 0; node_is_map(map) && i < map->count; i++)
                if (view_equal(node_text(map->entries[i].key), key))
                        return map->entries[i].key->style;
        return STYLE_PLAIN;
}

/* SetField with what became of a child. */
static void set_child(struct build *build, struct node *dest, const struct node *patch, struct view key, const struct merged *child)
{
        struct node *old = node_get(dest, key);

        if (node_is_null(child->node) && !child->keep_null) {
                node_remove(dest, key);
                return;
        }
        if (child->node == old)
                return;
        if (old) {
                node_assign(old, child->node);
                return;
        }
        if (child->keep_null)
                node_add_entry(build->arena, dest, node_scalar(build->arena, TAG_NONE, key_style(patch, key), key), child->node);
        else if (field_set(build->arena, dest, key, child->node))
                dest->entries[dest->count - 1].key->style = (uint8_t)key_style(patch, key);
}

/* Which map is built upon; NULL: the field goes. */
static int choose_map(struct build *build, struct node *dest, struct node *patch, struct merged *ret)
{
        enum directive directive = DIRECTIVE_MERGE;
        struct error ignored = ERROR_NULL;

        *ret = (struct merged){ NULL, false };
        if (node_is_null(dest)) {
                if (node_is_map(patch) && map_directive(build, patch, &directive) < 0)
                        error_move(&ignored, build->error);
                error_release(&ignored);
                if (directive == DIRECTIVE_DELETE)
                        return 0;
                if (!patch && dest && dest->count > 0)
                        *ret = (struct merged){ dest, true };
                else
                        ret->node = patch;
                return 0;
        }
        if (patch && node_is_null(patch))
                return 0;
        TRY(map_directive(build, patch, &directive));
        if (directive != DIRECTIVE_DELETE)
                ret->node = directive == DIRECTIVE_REPLACE ? patch : dest;
        return 0;
}

static int merge_maps(struct build *build, struct node *dest, struct node *patch, const struct schema_type *type,
                      struct merged *ret)
{
        struct sorted_key *keys;
        struct merged result;
        uint32_t count;

        TRY(choose_map(build, dest, patch, &result));
        *ret = result;
        if (!node_is_map(result.node))
                return 0;
        count = result.node->count + (node_is_map(patch) ? patch->count : 0);
        TRY(spend(build, (uint64_t)count * count / FIELDS_A_PAIR, count, "fields of a map"));
        keys = union_of_keys(build, result.node, patch, &count);
        for (uint32_t i = 0; i < count; i++) {
                const struct schema_field *field = schema_field(type, keys[i].text);
                struct merged child;

                TRY(merge(build, node_get(result.node, keys[i].text), node_is_map(patch) ? node_get(patch, keys[i].text) : NULL,
                          field ? field->type : NULL, field, &child));
                set_child(build, result.node, patch, keys[i].text, &child);
        }
        return 0;
}

/* An object with apiVersion and kind below something without a schema has its kind's. */
static const struct schema_type *type_of(struct build *build, const struct node *dest, const struct node *patch)
{
        const struct node *sources[] = { dest, patch };

        for (size_t i = 0; i < 2; i++) {
                struct view api_version = node_get_text(sources[i], "apiVersion"), kind = node_get_text(sources[i], "kind");
                const struct schema_type *type = NULL;

                if (api_version.length && kind.length)
                        type = schema_of(build->identity.schema, api_version, kind);
                if (type)
                        return type;
        }
        return NULL;
}

/* An empty collection takes the patch's style. */
static void take_style(struct node *dest, const struct node *patch)
{
        if (dest && patch && dest->kind != NODE_SCALAR && dest->count == 0)
                dest->style = patch->style;
}

static int merge(struct build *build, struct node *dest, struct node *patch, const struct schema_type *type,
                 const struct schema_field *field, struct merged *ret)
{
        const struct node *first = !node_is_null(dest) ? dest : !node_is_null(patch) ? patch : NULL;

        if (!first)
                return merge_maps(build, dest, patch, type, ret);
        if (!node_is_null(dest) && !node_is_null(patch) && dest->kind != patch->kind)
                return build_wrong_kind(build, first->kind, patch);
        take_style(dest, patch);
        if (first->kind == NODE_MAP)
                return merge_maps(build, dest, patch, type ? type : type_of(build, dest, patch), ret);
        if (first->kind == NODE_LIST && field && field->merge)
                return merge_associative(build, dest, patch, field, ret);
        *ret = (struct merged){ patch ? patch : dest, false };
        return 0;
}

int merge_patch(struct build *build, struct node *object, struct node *patch, bool *ret_deleted)
{
        struct merged result = { NULL, false };

        build->schema_used = true;
        build->merging = object;
        TRY(merge(build, object, patch, NULL, NULL, &result));
        *ret_deleted = !result.node;
        return 0;
}
