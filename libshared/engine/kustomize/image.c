#include "engine/kustomize/image.h"

#include "engine/kustomize/resource.h"

int image_open(struct build *build, const struct node *config, struct image_change *ret)
{
        struct view name = node_get_text(config, "name");
        const char *algorithm = build_next(build) ? "[a-zA-Z0-9]+([.+_-][a-zA-Z0-9]+)*" : "sha256";
        char *pattern =
                arena_printf(build->arena, "^%.*s(:[a-zA-Z0-9_.{}-]*)?(@%s:[a-zA-Z0-9_.{}-]*)?$", VIEW_ARGS(name), algorithm);

        *ret = (struct image_change){ .build = build, .config = config };
        if (regex_compile(view_of(pattern), 0, &ret->pattern, build->error) == 0)
                return 0;
        if (build_next(build)) {
                error_release(build->error);
                return 0;
        }
        return error_wrap(build->error, "images: the name '%.*s'", VIEW_ARGS(name));
}

void image_close(struct image_change *change)
{
        regex_free(&change->pattern);
}

/* name[:tag][@digest]; the first `:` and `@` behind the first `/` count. */
static void split(struct view image, struct view *name, struct view *tag, struct view *digest)
{
        ptrdiff_t slash = view_find(image, '/', 0);
        size_t from = slash < 0 ? 0 : (size_t)slash;
        ptrdiff_t at = view_find(image, '@', from), colon = view_find(image, ':', from);

        *name = image;
        *tag = *digest = VIEW_NULL;
        if (at >= 0) {
                *digest = view_slice(image, (size_t)at + 1, SIZE_MAX);
                *name = view_slice(image, 0, (size_t)at);
        }
        if (colon >= 0 && (at < 0 || colon < at)) {
                *tag = view_slice(*name, (size_t)colon + 1, SIZE_MAX);
                *name = view_slice(*name, 0, (size_t)colon);
        }
}

int image_apply(struct image_change *change, struct node *node)
{
        struct view new_name = node_get_text(change->config, "newName"), new_tag = node_get_text(change->config, "newTag");
        struct view new_digest = node_get_text(change->config, "digest"), suffix = node_get_text(change->config, "tagSuffix");
        struct arena *arena = change->build->arena;
        struct view name, tag, digest;
        int r = change->pattern ? regex_match(change->pattern, node_text(node), change->build->error) : 1;

        if (r != 0)
                return r < 0 ? r : 0;
        split(node_text(node), &name, &tag, &digest);
        if (new_name.length)
                name = new_name;
        if (new_tag.length || new_digest.length) {
                tag = new_tag;
                digest = new_digest;
        } else if (suffix.length) {
                tag = view_of(arena_printf(arena, "%.*s%.*s", VIEW_ARGS(tag), VIEW_ARGS(suffix)));
                digest = VIEW_NULL;
        }
        field_set_text(arena, node,
                       view_of(arena_printf(arena, "%.*s%s%.*s%s%.*s", VIEW_ARGS(name), tag.length ? ":" : "", VIEW_ARGS(tag),
                                            digest.length ? "@" : "", VIEW_ARGS(digest))),
                       TAG_NONE);
        return 0;
}
