#include "engine/kustomize/generator.h"

#include "base/cleanup.h"
#include "data/sha256.h"

#include <string.h>

#define BASE64_LINE  70
#define ENV_LINE_MAX 65535

struct generated {
        struct build *build;
        const char *directory;
        const char *name;
        struct node *pairs;   /* key to raw bytes, as strings */
        struct view repeated; /* the first key that came twice */
};

static int add_pair(struct generated *g, struct view key, struct view value)
{
        if (node_get(g->pairs, key) && !g->repeated.data)
                g->repeated = key;
        node_add_entry(g->build->arena, g->pairs, node_scalar(g->build->arena, TAG_STRING, STYLE_PLAIN, key),
                       node_scalar(g->build->arena, TAG_STRING, STYLE_PLAIN, value));
        return 0;
}

static int add_literal(struct generated *g, struct view source)
{
        ptrdiff_t equals = view_find(source, '=', 0);
        struct view value;

        if (equals <= 0)
                return error_set(g->build->error, ERROR_INVALID, "invalid literal source %.*s, expected key=value",
                                 VIEW_ARGS(source));
        value = view_slice(source, (size_t)equals + 1, SIZE_MAX);
        if (value.length >= 2 && value.data[0] == value.data[value.length - 1] && (value.data[0] == '"' || value.data[0] == '\''))
                value = view_slice(value, 1, value.length - 2);
        return add_pair(g, view_slice(source, 0, (size_t)equals), value);
}

static int add_file(struct generated *g, struct view source)
{
        ptrdiff_t equals = view_find(source, '=', 0);
        struct view key, path, text;

        if (equals < 0) {
                const char *slash;

                path = key = source;
                while (key.length > 1 && key.data[key.length - 1] == '/')
                        key.length--;
                slash = key.length ? memrchr(key.data, '/', key.length) : NULL;
                key = slash ? view_slice(key, (size_t)(slash - key.data) + 1, SIZE_MAX) : key;
        } else {
                key = view_slice(source, 0, (size_t)equals);
                path = view_slice(source, (size_t)equals + 1, SIZE_MAX);
                if (view_find(path, '=', 0) >= 0)
                        return error_set(g->build->error, ERROR_INVALID, "source \"%.*s\" key name or file path contains '='",
                                         VIEW_ARGS(source));
                if (key.length == 0)
                        return error_set(g->build->error, ERROR_INVALID,
                                         "missing key name for file path \"%.*s\" in source \"%.*s\"", VIEW_ARGS(path),
                                         VIEW_ARGS(source));
                if (path.length == 0)
                        return error_set(g->build->error, ERROR_INVALID,
                                         "missing file path for key name \"%.*s\" in source \"%.*s\"", VIEW_ARGS(key),
                                         VIEW_ARGS(source));
        }
        TRY(tree_read(g->build, g->directory, arena_string_n(g->build->arena, path.data, path.length), &text));
        return add_pair(g, key, text);
}

/* Go's unicode.IsSpace at the start. */
static struct view trim_left(struct view line)
{
        uint32_t rune;
        size_t width;

        while ((width = utf8_next(line, 0, &rune)) > 0 &&
               ((rune >= 9 && rune <= 13) || rune == ' ' || rune == 0x85 || rune == 0xa0 || rune == 0x1680 ||
                (rune >= 0x2000 && rune <= 0x200a) || rune == 0x2028 || rune == 0x2029 || rune == 0x202f || rune == 0x205f ||
                rune == 0x3000))
                line = view_slice(line, width, SIZE_MAX);
        return line;
}

static int invalid_line(struct generated *g, struct view line)
{
        cleanup(buffer_release) struct buffer bytes = BUFFER_NULL;

        for (size_t i = 0; i < line.length; i++)
                buffer_printf(&bytes, "%s%u", i ? " " : "", (unsigned char)line.data[i]);
        return error_set(g->build->error, ERROR_INVALID, "line [%s] has invalid utf8 bytes : %.*s", buffer_string(&bytes),
                         VIEW_ARGS(line));
}

static int add_env_line(struct generated *g, struct view line, bool first)
{
        ptrdiff_t equals;

        if (!utf8_valid(line))
                return invalid_line(g, line);
        if (first && view_starts(line, VIEW("\xef\xbb\xbf")))
                line = view_slice(line, 3, SIZE_MAX);
        line = trim_left(line);
        if (line.length == 0 || line.data[0] == '#')
                return 0;
        equals = view_find(line, '=', 0);
        if (equals == 0)
                return 0;
        if (equals < 0)
                return add_pair(g, line, VIEW(""));
        return add_pair(g, view_slice(line, 0, (size_t)equals), view_slice(line, (size_t)equals + 1, SIZE_MAX));
}

static int add_env(struct generated *g, const char *path)
{
        bool first = true;
        struct view text;

        TRY(tree_read(g->build, g->directory, path, &text));
        while (text.length) {
                ptrdiff_t end = view_find(text, '\n', 0);
                struct view line = view_slice(text, 0, end < 0 ? text.length : (size_t)end);

                text = view_slice(text, line.length + 1, SIZE_MAX);
                if (line.length > ENV_LINE_MAX) {
                        build_warn(g->build, "# Warning: %s: a line is longer than %d bytes; it and what follows is left out", path,
                                   ENV_LINE_MAX);
                        return 0;
                }
                if (view_ends(line, VIEW("\r")))
                        line.length--;
                TRY(add_env_line(g, line, first));
                first = false;
        }
        return 0;
}

/* "literal sources [a b]: ...", "file sources: [a b]: ..." */
static int sources_error(struct generated *g, const char *what, const struct node *sources)
{
        cleanup(buffer_release) struct buffer list = BUFFER_NULL;

        for (uint32_t i = 0; i < sources->count; i++)
                buffer_printf(&list, "%s%.*s", i ? " " : "", VIEW_ARGS(node_text(sources->items[i])));
        return error_wrap(g->build->error, "%s [%s]", what, buffer_string(&list));
}

static int add_sources(struct generated *g, const struct node *config)
{
        const struct node *envs = node_get_of(config, "envs"), *literals = node_get_of(config, "literals"),
                          *files = node_get_of(config, "files");

        for (uint32_t i = 0; envs && i < envs->count; i++)
                if (add_env(g, envs->items[i]->text) < 0)
                        return sources_error(g, "env source files:", envs);
        for (uint32_t i = 0; literals && i < literals->count; i++)
                if (add_literal(g, node_text(literals->items[i])) < 0)
                        return sources_error(g, "literal sources", literals);
        for (uint32_t i = 0; files && i < files->count; i++)
                if (add_file(g, node_text(files->items[i])) < 0)
                        return sources_error(g, "file sources:", files);
        return 0;
}

/* Base64; what is longer than a line is broken into lines, the last one ended too. */
static struct node *base64_node(struct arena *arena, struct view bytes)
{
        struct buffer text = BUFFER_NULL, lines = BUFFER_NULL;
        struct node *node;

        buffer_add_base64(&text, bytes);
        if (text.length <= BASE64_LINE) {
                node = node_scalar(arena, TAG_STRING, STYLE_PLAIN, buffer_view(&text));
        } else {
                for (size_t at = 0; at < text.length; at += BASE64_LINE) {
                        buffer_add_view(&lines, view_slice(buffer_view(&text), at, BASE64_LINE));
                        buffer_add_char(&lines, '\n');
                }
                node = node_scalar(arena, TAG_STRING, STYLE_LITERAL, buffer_view(&lines));
        }
        buffer_release(&text);
        buffer_release(&lines);
        return node;
}

static void add_data(struct generated *g, struct node *object, bool secret)
{
        struct arena *arena = g->build->arena;
        struct node *data = node_map(arena), *binary = node_map(arena);

        for (uint32_t i = 0; i < g->pairs->count; i++) {
                struct view key = node_text(g->pairs->entries[i].key), value = node_text(g->pairs->entries[i].value);

                if (secret)
                        field_set(arena, data, key, base64_node(arena, value));
                else if (utf8_valid(value))
                        field_set(arena, data, key, node_string(arena, value));
                else
                        field_set(arena, binary, key, base64_node(arena, value));
        }
        if (data->count || secret)
                node_set_of(arena, object, "data", data);
        if (binary->count)
                node_set_of(arena, object, "binaryData", binary);
}

/* The entry's labels or annotations over those of generatorOptions. */
static void add_metadata(struct build *build, struct node *object, const struct node *local, const struct node *global,
                         const char *field)
{
        const struct node *maps[] = { node_get_of(global, field), node_get_of(local, field) };

        for (size_t m = 0; m < 2; m++)
                for (uint32_t i = 0; maps[m] && i < maps[m]->count; i++) {
                        struct node *map = node_make_map(build->arena, node_get_of(object, "metadata"), field);
                        const struct node *value = maps[m]->entries[i].value;

                        field_set(build->arena, map, node_text(maps[m]->entries[i].key),
                                  node_scalar(build->arena, TAG_STRING, STYLE_SINGLE, node_text(value)));
                }
}

static bool either(const struct node *local, const struct node *global, const char *field)
{
        return node_text_is(node_get_of(local, field), "true") || node_text_is(node_get_of(global, field), "true");
}

int generate(struct build *build, const char *directory, bool secret, const struct node *config, const struct node *options,
             struct resource **ret_resource)
{
        struct arena *arena = build->arena;
        const struct node *local = node_get_of(config, "options");
        struct view namespace = node_get_text(config, "namespace"), type = node_get_text(config, "type");
        struct generated g = { build, directory, node_get_string(config, "name"), node_map(arena), VIEW_NULL };
        struct node *object = node_map(arena), *metadata = node_map(arena);
        struct resource *resource;
        const char *behavior = node_get_string(config, "behavior");

        if (!*g.name)
                return error_set(build->error, ERROR_INVALID, "a configmap must have a name");
        node_set_of(arena, object, "apiVersion", node_string_of(arena, "v1"));
        node_set_of(arena, object, "kind", node_string_of(arena, secret ? "Secret" : "ConfigMap"));
        node_set_of(arena, object, "metadata", metadata);
        field_set(arena, metadata, VIEW("name"), node_scalar(arena, TAG_STRING, STYLE_PLAIN, view_of(g.name)));
        if (namespace.length)
                field_set(arena, metadata, VIEW("namespace"), node_scalar(arena, TAG_STRING, STYLE_PLAIN, namespace));
        if (secret)
                node_set_of(arena, object, "type", node_string(arena, type.length ? type : VIEW("Opaque")));
        if (add_sources(&g, config) < 0)
                return error_wrap(build->error, "loading KV pairs");
        if (g.repeated.data)
                return error_set(build->error, ERROR_INVALID, "configmap %s illegally repeats the key `%.*s`", g.name,
                                 VIEW_ARGS(g.repeated));
        add_data(&g, object, secret);
        add_metadata(build, object, local, options, "labels");
        add_metadata(build, object, local, options, "annotations");
        if (either(local, options, "immutable"))
                node_set_of(arena, object, "immutable", node_bool(arena, true));
        resource = resource_new(arena, object);
        if (!either(local, options, "disableNameSuffixHash"))
                resource_enable(arena, resource, ANNOTATION_NEEDS_HASH);
        if (strcmp(behavior, "merge") != 0 && strcmp(behavior, "replace") != 0 && strcmp(behavior, "create") != 0)
                behavior = "unspecified";
        node_set_annotation(arena, object, ANNOTATION_BEHAVIOR, view_of(behavior));
        *ret_resource = resource;
        return 0;
}

/* A field as it goes into the hashed JSON: a map as JSON, a scalar as its text, "" if it is not there. */
static int add_hashed(struct build *build, struct buffer *text, const struct node *object, const char *field, bool optional)
{
        const struct node *value = node_get_of(object, field);

        if (optional && !node_is_map(value))
                return 0;
        buffer_printf(text, "%s\"%s\":", text->length > 1 ? "," : "", field);
        if (value && value->kind != NODE_SCALAR)
                return emit_json(text, build->arena, value, EMIT_HTML_ESCAPE, build->error);
        emit_json_string(text, value ? node_text(value) : VIEW_NULL, EMIT_HTML_ESCAPE);
        return 0;
}

static int hashed_json(struct build *build, const struct node *object, struct buffer *text)
{
        struct view kind = node_get_text(object, "kind");
        bool secret = view_is(kind, "Secret");

        if (!secret && !view_is(kind, "ConfigMap"))
                return emit_json(text, build->arena, object, EMIT_HTML_ESCAPE, build->error);
        buffer_add_char(text, '{');
        if (!secret)
                TRY(add_hashed(build, text, object, "binaryData", true));
        TRY(add_hashed(build, text, object, "data", false));
        buffer_printf(text, ",\"kind\":\"%s\",\"name\":\"\"", secret ? "Secret" : "ConfigMap");
        if (secret) {
                TRY(add_hashed(build, text, object, "stringData", true));
                TRY(add_hashed(build, text, object, "type", false));
        }
        buffer_add_char(text, '}');
        return 0;
}

int content_hash(struct build *build, const struct node *object, char ret_hash[CONTENT_HASH])
{
        static const char from[] = "013ae", to[] = "ghkmt";
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        uint8_t hash[SHA256_SIZE];

        TRY(hashed_json(build, object, &text));
        sha256_of(buffer_view(&text), hash);
        for (size_t i = 0; i < CONTENT_HASH - 1; i++) {
                char digit = "0123456789abcdef"[hash[i / 2] >> (i % 2 ? 0 : 4) & 15];
                const char *odd = strchr(from, digit);

                ret_hash[i] = odd ? to[odd - from] : digit;
        }
        ret_hash[CONTENT_HASH - 1] = '\0';
        return 0;
}
