#include "engine/kustomize/element_index.h"

#include "base/hash.h"

struct element_index element_index_new(struct arena *arena, size_t most)
{
        struct element_index index = { .capacity = 16 };

        while (index.capacity < 2 * most)
                index.capacity *= 2;
        index.slots = arena_array(arena, index.capacity, sizeof(*index.slots));
        return index;
}

struct element_index element_index_of(struct arena *arena, const struct node *list, struct view field)
{
        struct element_index index = element_index_new(arena, node_is_list(list) ? list->count : 0);

        for (uint32_t i = 0; node_is_list(list) && i < list->count; i++) {
                const struct node *value = node_get(list->items[i], field);
                struct element_slot *slot;

                if (!value)
                        continue;
                slot = element_index_at(&index, node_text(value));
                if (!slot->element)
                        *slot = (struct element_slot){ node_text(value), list->items[i], i };
        }
        return index;
}

struct element_slot *element_index_at(const struct element_index *index, struct view text)
{
        size_t at = hash_add(HASH_EMPTY, text) & (index->capacity - 1);

        while (index->slots[at].element && !view_equal(index->slots[at].text, text))
                at = (at + 1) & (index->capacity - 1);
        return &index->slots[at];
}
