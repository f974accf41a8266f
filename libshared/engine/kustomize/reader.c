#include "engine/kustomize/reader.h"

#include "base/cleanup.h"

#include <yaml.h>

#include <string.h>

#define TAG_PREFIX "tag:yaml.org,2002:"

struct anchor {
        const char *name;
        struct node *node;
        uint64_t size; /* nodes below and with it; 0: still open, an alias inside it is a cycle */
};

struct parse {
        yaml_parser_t parser;
        struct arena *arena;
        struct reader_budget *budget;
        enum scalar_rules rules;
        uint32_t lines_before;
        struct anchor *anchors;
        size_t anchor_count;
        size_t anchor_capacity;
        uint64_t count; /* nodes made so far, expanded aliases included */
};

static void release_parser(yaml_parser_t *parser)
{
        yaml_parser_delete(parser);
}

static void release_event(yaml_event_t *event)
{
        yaml_event_delete(event);
}

/*
 * go-yaml counts lines from 0 but for what the scanner finds. Version 3, for resources, names that of the context if there is one; version 2
 * that of the problem.
 */
static int parser_error(const struct parse *p, struct error *error)
{
        const yaml_parser_t *parser = &p->parser;
        size_t context = parser->context_mark.line, found = parser->problem_mark.line;
        bool by_problem = p->rules == SCALAR_CONFIGURATION ? found != 0 : context == 0;
        size_t line = by_problem ? found : context;
        const char *problem = parser->problem ? parser->problem : "unknown problem parsing YAML content";

        if (parser->error == YAML_MEMORY_ERROR)
                return error_set(error, ERROR_TOO_LARGE, "out of memory");
        if (parser->error == YAML_READER_ERROR || line == 0)
                return error_set(error, ERROR_INVALID, "yaml: %s", problem);
        if (parser->error == YAML_SCANNER_ERROR && (by_problem || p->rules != SCALAR_CONFIGURATION))
                line++;
        return error_set(error, ERROR_INVALID, "yaml: line %zu: %s", line, problem);
}

static int next_event(struct parse *p, yaml_event_t *event, struct error *error)
{
        if (!yaml_parser_parse(&p->parser, event))
                return parser_error(p, error);
        return 0;
}

static int spend(struct parse *p, uint64_t nodes, struct error *error)
{
        p->count += nodes;
        if (p->budget->nodes < nodes)
                return error_set(error, ERROR_TOO_LARGE, "yaml: document contains excessive aliasing or too many nodes");
        p->budget->nodes -= nodes;
        return 0;
}

static struct anchor *add_anchor(struct parse *p, const yaml_char_t *name, struct node *node)
{
        struct anchor *anchor;

        if (!name)
                return NULL;
        if (p->anchor_count == p->anchor_capacity) {
                size_t capacity = p->anchor_capacity ? p->anchor_capacity * 2 : 8;

                p->anchors = arena_grow(p->arena, p->anchors, p->anchor_capacity * sizeof(*anchor), capacity * sizeof(*anchor));
                p->anchor_capacity = capacity;
        }
        anchor = &p->anchors[p->anchor_count++];
        *anchor = (struct anchor){ arena_string(p->arena, (const char *)name), node, 0 };
        return anchor;
}

static struct anchor *find_anchor(struct parse *p, const char *name)
{
        for (size_t i = p->anchor_count; i > 0; i--)
                if (strcmp(p->anchors[i - 1].name, name) == 0)
                        return &p->anchors[i - 1];
        return NULL;
}

static enum node_tag tag_of(const char *tag)
{
        static const struct {
                const char *name;
                enum node_tag tag;
        } tags[] = {
                { "str", TAG_STRING }, { "int", TAG_INTEGER },   { "float", TAG_FLOAT }, { "bool", TAG_BOOL },
                { "null", TAG_NULL },  { "binary", TAG_BINARY }, { "merge", TAG_MERGE }, { "timestamp", TAG_TIMESTAMP },
        };

        if (strncmp(tag, TAG_PREFIX, strlen(TAG_PREFIX)) == 0)
                for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
                        if (strcmp(tag + strlen(TAG_PREFIX), tags[i].name) == 0)
                                return tags[i].tag;
        return TAG_OTHER;
}

static enum node_style style_of(yaml_scalar_style_t style)
{
        switch (style) {
        case YAML_SINGLE_QUOTED_SCALAR_STYLE:
                return STYLE_SINGLE;
        case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
                return STYLE_DOUBLE;
        case YAML_LITERAL_SCALAR_STYLE:
                return STYLE_LITERAL;
        case YAML_FOLDED_SCALAR_STYLE:
                return STYLE_FOLDED;
        default:
                return STYLE_PLAIN;
        }
}

static struct node *make_scalar(struct parse *p, const yaml_event_t *event)
{
        struct view text = { (const char *)event->data.scalar.value, event->data.scalar.length };
        const char *tag = (const char *)event->data.scalar.tag;
        enum node_style style = style_of(event->data.scalar.style);
        bool explicit_tag = tag && *tag && strcmp(tag, "!") != 0;
        enum node_tag kind;
        struct node *node;

        if (explicit_tag)
                kind = tag_of(tag);
        else if (style != STYLE_PLAIN || (tag && strcmp(tag, "!") == 0))
                kind = TAG_STRING;
        else
                kind = view_is(text, "<<") ? TAG_MERGE : scalar_resolve(p->rules, text);
        if (p->rules == SCALAR_CONFIGURATION && kind == TAG_BOOL)
                text = strchr("tTyY", text.data[0]) || text.data[1] == 'n' || text.data[1] == 'N' ? VIEW("true") : VIEW("false");
        /* Only resources have timestamps. */
        if (p->rules == SCALAR_CONFIGURATION && kind == TAG_TIMESTAMP)
                kind = TAG_STRING;
        node = node_scalar(p->arena, kind, style, text);
        node->explicit_tag = explicit_tag;
        node->capacity = (uint32_t)event->start_mark.index;
        node->line = p->lines_before + (uint32_t)event->start_mark.line + 1;
        return node;
}

/* `<<`: the map's own entries win over those of the maps it names, and an earlier map of a list over a later one. */
static int merge_value(struct parse *p, struct node *target, const struct node *value, struct error *error)
{
        if (node_is_map(value)) {
                for (uint32_t i = 0; i < value->count; i++) {
                        const struct node_entry *entry = &value->entries[i];

                        TRY(spend(p, 1, error));
                        if (!node_get(target, node_text(entry->key)))
                                node_add_entry(p->arena, target, entry->key, node_copy(p->arena, entry->value));
                }
                return 0;
        }
        if (!node_is_list(value))
                return error_set(error, ERROR_INVALID, "map merge requires map or sequence of maps as the value");
        for (uint32_t i = 0; i < value->count; i++) {
                if (node_is_list(value->items[i]))
                        return error_set(error, ERROR_INVALID, "invalid map merge: received a nested sequence");
                TRY(merge_value(p, target, value->items[i], error));
        }
        return 0;
}

/* A quoted "<<" is no merge key, but the reference takes it out of resources all the same. */
static int resolve_merge(struct parse *p, struct node *map, struct error *error)
{
        const struct node *merge = NULL;
        uint32_t kept = 0;

        for (uint32_t i = 0; i < map->count; i++) {
                const struct node *key = map->entries[i].key;

                if (key->tag == TAG_MERGE) {
                        if (merge && p->rules == SCALAR_RESOURCES)
                                return error_set(error, ERROR_INVALID, "duplicate merge key");
                        merge = map->entries[i].value;
                } else if (!node_text_is(key, "<<") || p->rules != SCALAR_RESOURCES) {
                        map->entries[kept++] = map->entries[i];
                }
        }
        map->count = kept;
        return merge ? merge_value(p, map, merge, error) : 0;
}

static int read_node(struct parse *p, const yaml_event_t *event, unsigned depth, struct node **ret, struct error *error);

static int read_child(struct parse *p, unsigned depth, yaml_event_type_t end, bool *ret_end, struct node **ret, struct error *error)
{
        cleanup(release_event) yaml_event_t event = { 0 };

        TRY(next_event(p, &event, error));
        *ret_end = event.type == end;
        return *ret_end ? 0 : read_node(p, &event, depth, ret, error);
}

static int read_list(struct parse *p, struct node *list, unsigned depth, struct error *error)
{
        for (;;) {
                struct node *item = NULL;
                bool end;

                TRY(read_child(p, depth, YAML_SEQUENCE_END_EVENT, &end, &item, error));
                if (end)
                        return 0;
                node_append(p->arena, list, item);
        }
}

/* A map or list as a key: no Kubernetes object has one, and neither JSON nor the reference can show it. */
static int check_key(const struct parse *p, const struct node *key, struct error *error)
{
        if (key->kind == NODE_SCALAR)
                return 0;
        return error_set(error, ERROR_INVALID, "yaml: line %u: invalid map key: a %s", key->line ? key->line : (unsigned)p->count,
                         key->kind == NODE_MAP ? "mapping" : "sequence");
}

/* A key of a kustomization file is the text of its value: 010 is "8". */
static struct view key_text(struct parse *p, const struct node *key)
{
        struct value value;

        if (key->tag == TAG_INTEGER && scalar_parse_integer(node_text(key), &value) == 0 && value.kind == VALUE_SIGNED)
                return node_text(node_integer(p->arena, value.integer));
        return node_text(key);
}

static int read_map(struct parse *p, struct node *map, unsigned depth, struct error *error)
{
        bool merge = false;

        for (;;) {
                struct node *key = NULL, *value = NULL;
                bool end;

                TRY(read_child(p, depth, YAML_MAPPING_END_EVENT, &end, &key, error));
                if (end)
                        break;
                TRY(check_key(p, key, error));
                TRY(read_child(p, depth, YAML_MAPPING_END_EVENT, &end, &value, error));
                merge |= key->count == 2 && memcmp(key->text, "<<", 2) == 0;
                if (p->rules == SCALAR_CONFIGURATION && key->tag != TAG_MERGE)
                        node_set(p->arena, map, key_text(p, key), value);
                else
                        node_add_entry(p->arena, map, key, value);
        }
        return merge ? resolve_merge(p, map, error) : 0;
}

static int read_alias(struct parse *p, const yaml_event_t *event, unsigned depth, struct node **ret, struct error *error)
{
        const char *name = (const char *)event->data.alias.anchor;
        const struct anchor *anchor = find_anchor(p, name);

        if (!anchor)
                return error_set(error, ERROR_INVALID, "yaml: unknown anchor '%s' referenced", name);
        if (anchor->size == 0)
                return error_set(error, ERROR_INVALID, "yaml: anchor '%s' value contains itself", name);
        TRY(spend(p, anchor->size, error));
        if (depth + node_depth(anchor->node, READER_DEPTH) > READER_DEPTH)
                return error_set(error, ERROR_TOO_LARGE, "yaml: exceeded max depth of %d", READER_DEPTH);
        *ret = node_copy(p->arena, anchor->node);
        return 0;
}

static int read_node(struct parse *p, const yaml_event_t *event, unsigned depth, struct node **ret, struct error *error)
{
        uint64_t before = p->count;
        const yaml_char_t *name = NULL;
        struct node *node;
        size_t anchor;

        if (depth >= READER_DEPTH)
                return error_set(error, ERROR_TOO_LARGE, "yaml: exceeded max depth of %d", READER_DEPTH);
        if (event->type == YAML_ALIAS_EVENT)
                return read_alias(p, event, depth, ret, error);
        TRY(spend(p, 1, error));
        if (event->type == YAML_SCALAR_EVENT) {
                node = make_scalar(p, event);
                name = event->data.scalar.anchor;
        } else if (event->type == YAML_SEQUENCE_START_EVENT) {
                node = node_list(p->arena);
                node->style = event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE ? STYLE_FLOW : STYLE_PLAIN;
                name = event->data.sequence_start.anchor;
        } else {
                node = node_map(p->arena);
                node->style = event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE ? STYLE_FLOW : STYLE_PLAIN;
                name = event->data.mapping_start.anchor;
        }
        node->line = p->lines_before + (uint32_t)event->start_mark.line + 1;
        add_anchor(p, name, node);
        anchor = p->anchor_count;
        if (node->kind == NODE_LIST)
                TRY(read_list(p, node, depth + 1, error));
        if (node->kind == NODE_MAP)
                TRY(read_map(p, node, depth + 1, error));
        if (name)
                p->anchors[anchor - 1].size = p->count - before;
        *ret = node;
        return 0;
}

static int read_document(struct parse *p, struct node **ret, struct error *error)
{
        for (;;) {
                cleanup(release_event) yaml_event_t event = { 0 };

                TRY(next_event(p, &event, error));
                if (event.type == YAML_STREAM_END_EVENT)
                        return 0;
                if (event.type == YAML_DOCUMENT_START_EVENT) {
                        cleanup(release_event) yaml_event_t first = { 0 };
                        cleanup(release_event) yaml_event_t last = { 0 };
                        struct node *node = NULL;

                        TRY(next_event(p, &first, error));
                        TRY(read_node(p, &first, 0, &node, error));
                        TRY(next_event(p, &last, error));
                        *ret = node;
                        return 0;
                }
        }
}

int reader_document(const struct reader *reader, enum scalar_rules rules, struct view text, struct node **ret_node,
                    struct error *error)
{
        struct reader_budget own = { READER_NODES, UINT64_MAX };
        struct parse p = { .arena = reader->arena,
                           .budget = reader->budget ? reader->budget : &own,
                           .rules = rules,
                           .lines_before = reader->lines_before };
        struct node *node = NULL;
        int r;

        if (text.length >= UINT32_MAX / 2)
                return error_set(error, ERROR_TOO_LARGE, "yaml: the text is too large");
        if (view_starts(text, VIEW("\xef\xbb\xbf")))
                text = view_slice(text, 3, SIZE_MAX);
        if (!yaml_parser_initialize(&p.parser))
                return error_set(error, ERROR_TOO_LARGE, "out of memory");
        yaml_parser_set_input_string(&p.parser, (const unsigned char *)(text.data ? text.data : ""), text.length);
        yaml_parser_set_encoding(&p.parser, YAML_UTF8_ENCODING);
        r = read_document(&p, &node, error);
        release_parser(&p.parser);
        if (r < 0)
                return r;
        *ret_node = node;
        return 0;
}
