#include "engine/kustomize/replacement_text.h"

#include "engine/kustomize/resource.h"

#include <string.h>

/* The scalar on the way that holds a document; NULL if there is none. *ret_depth: how many pieces lead to it. */
static struct node *find_text(struct build *build, struct node *object, struct path_pieces path, size_t *ret_depth,
                              struct node **ret_document)
{
        for (size_t i = 1; i < path.count; i++) {
                struct node *found = NULL, *document = NULL;
                int r = replacement_path_lookup(build, object, (struct path_pieces){ path.items, i }, &found);

                if (r < 0 || !found || found->kind != NODE_SCALAR)
                        continue;
                if (reader_document(&build->reader, SCALAR_RESOURCES, node_text(found), &document, build->error) < 0 || !document)
                        continue;
                *ret_depth = i;
                *ret_document = document;
                return found;
        }
        return NULL;
}

/* json.MarshalIndent of compact JSON: two blanks a level, empty collections stay closed. */
static void indent_json(struct view compact, struct buffer *out)
{
        bool string = false;
        int level = 0;

        for (size_t i = 0; i < compact.length; i++) {
                char c = compact.data[i], next = i + 1 < compact.length ? compact.data[i + 1] : '\0';

                if (string) {
                        buffer_add_char(out, c);
                        if (c == '\\')
                                buffer_add_char(out, compact.data[++i]);
                        string = c != '"';
                        continue;
                }
                string = c == '"';
                if ((c == '{' && next == '}') || (c == '[' && next == ']')) {
                        buffer_add_char(out, c);
                        buffer_add_char(out, compact.data[++i]);
                        continue;
                }
                if (c == '}' || c == ']')
                        buffer_printf(out, "\n%*s", --level * 2, "");
                buffer_add_char(out, c);
                if (c == ':')
                        buffer_add_char(out, ' ');
                if (c == '{' || c == '[')
                        level++;
                if (c == '{' || c == '[' || c == ',')
                        buffer_printf(out, "\n%*s", level * 2, "");
        }
}

static int print_json(struct build *build, const struct node *document, struct view original, struct buffer *out)
{
        struct buffer compact = BUFFER_NULL;
        int r = emit_json(&compact, build->arena, document, EMIT_HTML_ESCAPE, build->error);

        if (r == 0 && view_find(original, '\n', 0) >= 0 && view_search(original, VIEW("  "), 0) >= 0)
                indent_json(buffer_view(&compact), out);
        else if (r == 0)
                buffer_add_view(out, buffer_view(&compact));
        buffer_release(&compact);
        return r;
}

static bool is_json(struct view text)
{
        text = view_trim(text);
        return text.length && (text.data[0] == '{' || text.data[0] == '[');
}

static size_t byte_of(struct view text, size_t code_points)
{
        size_t at = 0;

        while (code_points-- > 0 && at < text.length) {
                size_t width = utf8_next(text, at, NULL);

                at += width ? width : 1;
        }
        return at;
}

/* Where a scalar's source ends; 0 if it is none that stands on one line. */
static size_t end_of(struct view text, size_t start, const struct node *old)
{
        char quote = old->style == STYLE_SINGLE ? '\'' : '"';

        if (old->explicit_tag || old->style == STYLE_LITERAL || old->style == STYLE_FOLDED)
                return 0;
        if (old->style == STYLE_PLAIN)
                return view_starts(view_slice(text, start, SIZE_MAX), node_text(old)) ? start + old->count : 0;
        for (size_t i = start + 1; i < text.length && text.data[i] != '\n'; i++) {
                if (quote == '"' && text.data[i] == '\\')
                        i++;
                else if (quote == '\'' && view_starts(view_slice(text, i, 2), VIEW("''")))
                        i++;
                else if (text.data[i] == quote)
                        return i + 1;
        }
        return 0;
}

/*
 * Puts scalars in the place of what they were, and leaves the rest of the text, its comments above all, as it is. `old` are the nodes as
 * they were read, in the order of the text. False if one of them was not there, or takes up more than one line.
 */
static bool splice(struct build *build, struct view text, const struct node *old, struct node *const *now, size_t count,
                   struct buffer *out)
{
        struct error ignored = ERROR_NULL;
        size_t done = 0;

        for (size_t i = 0; i < count; i++) {
                size_t start = byte_of(text, old[i].capacity), end = end_of(text, start, &old[i]);
                struct buffer scalar = BUFFER_NULL;

                if (now[i]->kind != NODE_SCALAR || old[i].line == 0 || end == 0 || start < done ||
                    emit_yaml(&scalar, build->arena, now[i], EMIT_IN_ORDER, &ignored) < 0 ||
                    view_find(view_trim(buffer_view(&scalar)), '\n', 0) >= 0) {
                        buffer_release(&scalar);
                        error_release(&ignored);
                        return false;
                }
                buffer_add_view(out, view_slice(text, done, start - done));
                buffer_add_view(out, view_trim(buffer_view(&scalar)));
                buffer_release(&scalar);
                done = end;
        }
        buffer_add_view(out, view_slice(text, done, SIZE_MAX));
        return true;
}

static int print_text(struct build *build, const struct node *document, struct view original, struct buffer *out)
{
        if (is_json(original))
                return print_json(build, document, original, out);
        return emit_yaml(out, build->arena, document, EMIT_IN_ORDER, build->error);
}

/* Sets what was found in the document and prints that again. */
static int set_all(struct build *build, const struct node *document, struct view original, const struct node_array *found,
                   field_function *set, void *user, struct buffer *text)
{
        struct node *old = arena_array(build->arena, found->count, sizeof(*old));

        for (size_t i = 0; i < found->count; i++) {
                old[i] = *found->items[i];
                TRY(set(user, found->items[i]));
        }
        /* Only a text with comments is worth the care: the others come out in the reference's own layout. */
        if (!is_json(original) && view_find(original, '#', 0) >= 0 &&
            splice(build, original, old, found->items, found->count, text))
                return 0;
        buffer_clear(text);
        return print_text(build, document, original, text);
}

int replacement_text_set(struct build *build, struct node *object, struct path_pieces path, enum path_create create,
                         field_function *set, void *user)
{
        struct error *error = build->error, ignored = ERROR_NULL;
        struct node_array found = { NULL, 0 };
        struct buffer text = BUFFER_NULL;
        struct node *document, *scalar;
        size_t depth = 0;
        int r = 0;

        if (path.count < 2)
                return 0;
        build->error = &ignored;
        scalar = find_text(build, object, path, &depth, &document);
        if (scalar &&
            replacement_path_match(build, document, (struct path_pieces){ path.items + depth, path.count - depth }, create,
                                   &found) == 0 &&
            found.count > 0 && set_all(build, document, node_text(scalar), &found, set, user, &text) == 0) {
                field_set_text(build->arena, scalar, view_trim(buffer_view(&text)), scalar->tag);
                r = 1;
        }
        build->error = error;
        buffer_release(&text);
        if (r == 0 && ignored.kind == ERROR_TOO_LARGE)
                return error_move(error, &ignored);
        error_release(&ignored);
        return r;
}
