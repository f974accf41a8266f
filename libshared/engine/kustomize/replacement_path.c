#include "engine/kustomize/replacement_path.h"

#include "base/cleanup.h"
#include "data/regex.h"
#include "engine/kustomize/fieldspec.h"
#include "engine/kustomize/resource.h"

#include <string.h>

static struct view join(struct build *build, struct view a, struct view b)
{
        return view_of(arena_printf(build->arena, "%.*s.%.*s", VIEW_ARGS(a), VIEW_ARGS(b)));
}

static struct view trim_brackets(struct view text)
{
        while (text.length && (text.data[0] == '[' || text.data[0] == ']'))
                text = view_slice(text, 1, SIZE_MAX);
        while (text.length && (text.data[text.length - 1] == '[' || text.data[text.length - 1] == ']'))
                text.length--;
        return text;
}

struct path_pieces replacement_path_split(struct build *build, struct view path)
{
        struct path_pieces result = { NULL, 0 };
        struct view *raw;
        size_t count = path_split(build->arena, path, '.', &raw);

        result.items = arena_array(build->arena, count + 1, sizeof(*result.items));
        for (size_t i = 0; i < count; i++) {
                struct view piece = raw[i];

                if (view_starts(piece, VIEW("[")) && !view_ends(piece, VIEW("]"))) {
                        while (i + 1 < count) {
                                piece = join(build, piece, raw[++i]);
                                if (view_ends(raw[i], VIEW("]")))
                                        break;
                        }
                        if (view_find(piece, '=', 0) < 0)
                                piece = trim_brackets(piece);
                }
                result.items[result.count++] = piece;
        }
        return result;
}

static bool is_index(struct view piece, uint64_t *ret)
{
        return view_to_uint64(piece, ret) == 0 && piece.length < 10;
}

static bool is_bracketed(struct view piece)
{
        return view_starts(piece, VIEW("[")) && view_ends(piece, VIEW("]")) && piece.length >= 2;
}

/* `[field=value]`; -1 if there is no `=`. */
static int split_bracketed(struct build *build, struct view piece, struct view *ret_field, struct view *ret_value)
{
        struct view inside = view_slice(piece, 1, piece.length - 2);
        ptrdiff_t equals = view_find(inside, '=', 0);

        if (equals < 0)
                return error_set(build->error, ERROR_INVALID,
                                 "list path element must contain fieldName=fieldValue for element to match");
        *ret_field = view_slice(inside, 0, (size_t)equals);
        *ret_value = view_slice(inside, (size_t)equals + 1, SIZE_MAX);
        return 0;
}

static struct node *find_exact(const struct node *list, struct view field, struct view value)
{
        for (uint32_t i = 0; i < list->count; i++) {
                const struct node *found = field.length ? node_get(list->items[i], field) : list->items[i];

                if (found && found->kind == NODE_SCALAR && view_equal(node_text(found), value))
                        return list->items[i];
        }
        return NULL;
}

static int lookup_step(struct build *build, struct node *node, struct view piece, struct node **ret)
{
        struct view field, value;
        uint64_t index = 0;

        if (view_is(piece, "*"))
                return error_set(build->error, ERROR_INVALID, "wildcard is not supported in PathGetter");
        if (view_is(piece, "-") || is_index(piece, &index) || is_bracketed(piece)) {
                if (!node_is_null(node) && !node_is_list(node))
                        return build_wrong_kind(build, NODE_LIST, node);
                if (node_is_null(node) || node->count == 0)
                        *ret = NULL;
                else if (view_is(piece, "-"))
                        *ret = node->items[node->count - 1];
                else if (!is_bracketed(piece))
                        *ret = index < node->count ? node->items[index] : NULL;
                else if (split_bracketed(build, piece, &field, &value) < 0)
                        return -1;
                else
                        *ret = find_exact(node, field, value);
                return 0;
        }
        if (!node_is_null(node) && !node_is_map(node))
                return build_wrong_kind(build, NODE_MAP, node);
        *ret = node_get(node, piece);
        return 0;
}

int replacement_path_lookup(struct build *build, struct node *node, struct path_pieces path, struct node **ret)
{
        for (size_t i = 0; i < path.count && node; i++) {
                struct view piece = view_trim(path.items[i]);

                if (piece.length)
                        TRY(lookup_step(build, node, piece, &node));
        }
        *ret = node;
        return 0;
}

struct matcher {
        struct build *build;
        enum path_create create;
        struct node_array *found;
        size_t capacity;
};

static int match(struct matcher *m, struct node *node, struct path_pieces path);

static void add_found(struct matcher *m, struct node *node)
{
        if (m->found->count == m->capacity) {
                size_t capacity = m->capacity ? m->capacity * 2 : 8;

                m->found->items = arena_grow(m->build->arena, m->found->items, m->capacity * sizeof(node), capacity * sizeof(node));
                m->capacity = capacity;
        }
        m->found->items[m->found->count++] = node;
}

static struct path_pieces rest_of(struct path_pieces path)
{
        return (struct path_pieces){ path.items + 1, path.count - 1 };
}

/* A missing node is of the kind that the next piece needs. */
static struct node *make(struct matcher *m, struct path_pieces rest)
{
        struct arena *arena = m->build->arena;
        uint64_t index;

        if (rest.count == 0) {
                if (m->create == PATH_CREATE_SCALAR)
                        return node_scalar(arena, TAG_NONE, STYLE_PLAIN, VIEW(""));
                return m->create == PATH_CREATE_MAP ? node_map(arena) : node_list(arena);
        }
        return is_bracketed(rest.items[0]) || is_index(rest.items[0], &index) ? node_list(arena) : node_map(arena);
}

static int match_index(struct matcher *m, struct node *node, struct path_pieces path, uint64_t index)
{
        if (!node_is_null(node) && node->kind != NODE_LIST)
                return build_wrong_kind(m->build, NODE_LIST, node);
        if (node_is_list(node) && node->count == index && m->create)
                node_append(m->build->arena, node, make(m, rest_of(path)));
        if (!node_is_list(node) || index >= node->count)
                return error_set(m->build->error, ERROR_INVALID, "index %llu specified but only %u elements found",
                                 (unsigned long long)index, node_is_list(node) ? node->count : 0);
        return match(m, node->items[index], rest_of(path));
}

/* The text of a node as YAML, quotes included: what the expression in brackets is held against. */
static struct view yaml_text(struct build *build, const struct node *node)
{
        struct error ignored = ERROR_NULL;
        struct buffer text = BUFFER_NULL;
        struct view result;

        if (node->kind != NODE_SCALAR) {
                (void)emit_yaml(&text, build->arena, node, 0, &ignored);
        } else if (node->style == STYLE_SINGLE) {
                buffer_add_char(&text, '\'');
                for (uint32_t i = 0; i < node->count; i++)
                        buffer_printf(&text, node->text[i] == '\'' ? "''" : "%c", node->text[i]);
                buffer_add_char(&text, '\'');
        } else if (node->style == STYLE_DOUBLE || (node->style == STYLE_PLAIN && node->tag == TAG_STRING &&
                                                   scalar_resolve(SCALAR_RESOURCES, node_text(node)) != TAG_STRING)) {
                emit_json_string(&text, node_text(node), 0);
        } else {
                buffer_add_view(&text, node_text(node));
        }
        result = arena_view(build->arena, view_trim(buffer_view(&text)));
        buffer_release(&text);
        error_release(&ignored);
        return result;
}

static int match_elements(struct matcher *m, struct node *list, struct path_pieces path, struct view field,
                          const struct regex *regex, bool *ret_any)
{
        size_t before = m->found->count;

        for (uint32_t i = 0; i < list->count; i++) {
                struct node *item = list->items[i];
                const struct node *value = field.length ? node_get(item, field) : item;
                int r = value ? regex_match(regex, yaml_text(m->build, value), m->build->error) : REGEX_NO_MATCH;

                if (r < 0)
                        return r;
                if (r == REGEX_NO_MATCH)
                        continue;
                if (field.length)
                        TRY(match(m, item, rest_of(path)));
                else
                        add_found(m, item);
        }
        *ret_any = m->found->count > before;
        return 0;
}

static struct node *make_element(struct build *build, struct view field, struct view value)
{
        struct node *scalar = node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, value), *map;

        if (field.length == 0)
                return scalar;
        map = node_map(build->arena);
        node_add_entry(build->arena, map, node_scalar(build->arena, TAG_NONE, STYLE_PLAIN, field), scalar);
        return map;
}

static int match_bracketed(struct matcher *m, struct node *node, struct path_pieces path)
{
        cleanup(regex_free) struct regex *regex = NULL;
        struct view field, value;
        bool any = false;

        TRY(split_bracketed(m->build, path.items[0], &field, &value));
        TRY(regex_compile(value, 0, &regex, m->build->error));
        if (!node_is_null(node) && node->kind != NODE_LIST)
                return build_wrong_kind(m->build, NODE_LIST, node);
        if (node_is_null(node))
                return 0;
        TRY(match_elements(m, node, path, field, regex, &any));
        if (any || !m->create)
                return 0;
        node_append(m->build->arena, node, make_element(m->build, field, value));
        TRY(match_elements(m, node, path, field, regex, &any));
        if (any)
                return 0;
        return error_set(m->build->error, ERROR_INVALID, "failed to create element for \"%.*s\"", VIEW_ARGS(path.items[0]));
}

static int match_field(struct matcher *m, struct node *node, struct path_pieces path)
{
        struct node *field;

        if (path.items[0].length == 0) {
                if (!node_is_null(node) && node->kind != NODE_SCALAR)
                        return build_wrong_kind(m->build, NODE_SCALAR, node);
                return 0;
        }
        if (!node_is_null(node) && node->kind != NODE_MAP)
                return build_wrong_kind(m->build, NODE_MAP, node);
        field = node_get(node, path.items[0]);
        if (!field) {
                if (!m->create || !node_is_map(node))
                        return 0;
                field = make(m, rest_of(path));
                node_add_entry(m->build->arena, node, node_scalar(m->build->arena, TAG_NONE, STYLE_PLAIN, path.items[0]), field);
        }
        if (field->kind == NODE_SCALAR && path.count > 1) {
                /* The reference goes on inside the text, in a copy that it then forgets. */
                TRY(reader_document(&m->build->reader, SCALAR_RESOURCES, node_text(field), &field, m->build->error));
                if (!field)
                        return 0;
        }
        return match(m, field, rest_of(path));
}

static int match(struct matcher *m, struct node *node, struct path_pieces path)
{
        uint64_t index;

        if (path.count == 0) {
                add_found(m, node);
                return 0;
        }
        if (is_index(path.items[0], &index))
                return match_index(m, node, path, index);
        if (is_bracketed(path.items[0]))
                return match_bracketed(m, node, path);
        if (!view_is(path.items[0], "*"))
                return match_field(m, node, path);
        if (!node_is_null(node) && node->kind != NODE_LIST)
                return build_wrong_kind(m->build, NODE_LIST, node);
        for (uint32_t i = 0; node_is_list(node) && i < node->count; i++)
                TRY(match(m, node->items[i], rest_of(path)));
        return 0;
}

int replacement_path_match(struct build *build, struct node *node, struct path_pieces path, enum path_create create,
                           struct node_array *ret_nodes)
{
        struct node_array found = { NULL, 0 };
        struct matcher m = { build, create, &found, 0 };

        TRY(match(&m, node, path));
        *ret_nodes = found;
        return 0;
}
