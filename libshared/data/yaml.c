#include "data/yaml.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "data/yaml_scalar.h"

#include <string.h>
#include <yaml.h>

/* Names are looked for one by one. */
#define ANCHORS_LIMIT 1000

/* A finished node with an anchor: a copy, because the node itself may be replaced or merged away. */
struct anchor {
        char *name;
        struct json *json; /* NULL while the node is being read */
        size_t nodes, bytes;
};

/* A container that is being read. */
struct frame {
        struct json *container;
        struct json *merged; /* of a mapping: what "<<" brings; it is below every explicit member */
        char *key;           /* of the value that comes next; NULL: a key comes next */
        bool merging;        /* the value that comes next is that of a "<<" */
        char *anchor;        /* its own; NULL: none */
        size_t nodes, bytes; /* made before it */
};

struct yaml_reader {
        yaml_parser_t parser;
        unsigned flags;
        bool ended;
        size_t text_length;
        size_t nodes, bytes;           /* made so far */
        size_t kept_nodes, kept_bytes; /* of the copies that anchors hold */
        struct frame *frames;
        size_t depth;
        struct anchor *anchors;
        size_t anchor_count;
        size_t line; /* of the event being read */
};

struct event {
        yaml_event_t yaml;
        bool filled;
};

static void event_release(struct event *event)
{
        if (event->filled)
                yaml_event_delete(&event->yaml);
        event->filled = false;
}

static int refuse(const struct yaml_reader *r, enum error_kind kind, const char *problem, struct error *error)
{
        return error_set(error, kind, "yaml: line %zu: %s", r->line, problem);
}

static int next_event(struct yaml_reader *r, struct event *event, struct error *error)
{
        event_release(event);
        if (!yaml_parser_parse(&r->parser, &event->yaml)) {
                if (r->parser.error == YAML_MEMORY_ERROR)
                        memory_exhausted();
                return error_set(error, ERROR_INVALID, "yaml: line %zu: %s", r->parser.problem_mark.line + 1,
                                 r->parser.problem ? r->parser.problem : "not YAML");
        }
        event->filled = true;
        r->line = event->yaml.start_mark.line + 1;
        return 0;
}

static int check_limits(const struct yaml_reader *r, size_t nodes, size_t bytes, struct error *error)
{
        if (nodes > YAML_NODES_LIMIT)
                return refuse(r, ERROR_TOO_LARGE, "document contains excessive aliasing or too many nodes", error);
        if (bytes > JSON_BYTES_LIMIT)
                return refuse(r, ERROR_TOO_LARGE, "document is too large", error);
        return 0;
}

static int spend(struct yaml_reader *r, size_t nodes, size_t bytes, struct error *error)
{
        r->nodes += nodes;
        r->bytes += bytes;
        return check_limits(r, r->nodes, r->bytes, error);
}

static struct anchor *find_anchor(struct yaml_reader *r, const char *name)
{
        size_t i;

        for (i = 0; i < r->anchor_count; i++)
                if (strcmp(r->anchors[i].name, name) == 0)
                        return &r->anchors[i];
        return NULL;
}

/* From here on the name stands for a node that is not finished; an older one of that name is gone. */
static int open_anchor(struct yaml_reader *r, const char *name, struct error *error)
{
        struct anchor *anchor = find_anchor(r, name);

        if (!anchor && r->anchor_count == ANCHORS_LIMIT)
                return refuse(r, ERROR_TOO_LARGE, "too many anchors", error);
        if (!anchor) {
                r->anchors = memory_resize(r->anchors, r->anchor_count + 1, sizeof(*r->anchors));
                anchor = &r->anchors[r->anchor_count++];
                *anchor = (struct anchor){ .name = memory_string(name) };
        }
        json_free(&anchor->json);
        return 0;
}

/* The node is finished; what was made before it was `nodes` and `bytes`. */
static int close_anchor(struct yaml_reader *r, const char *name, const struct json *json, size_t nodes, size_t bytes,
                        struct error *error)
{
        struct anchor *anchor = find_anchor(r, name);

        anchor->nodes = r->nodes - nodes;
        anchor->bytes = r->bytes - bytes;
        r->kept_nodes += anchor->nodes;
        r->kept_bytes += anchor->bytes;
        TRY(check_limits(r, r->kept_nodes, r->kept_bytes, error));
        json_free(&anchor->json);
        anchor->json = json_copy(json);
        return 0;
}

static int read_alias(struct yaml_reader *r, const char *name, struct json **ret_json, struct error *error)
{
        const struct anchor *anchor = find_anchor(r, name);

        if (!anchor || !anchor->json)
                return error_set(error, ERROR_INVALID, "yaml: line %zu: %s '%s'%s", r->line, anchor ? "anchor" : "unknown anchor",
                                 name, anchor ? " value contains itself" : " referenced");
        TRY(spend(r, anchor->nodes, anchor->bytes, error));
        if (r->depth + json_depth(anchor->json) > JSON_DEPTH_LIMIT)
                return refuse(r, ERROR_TOO_LARGE, "exceeded max depth", error);
        *ret_json = json_copy(anchor->json);
        return 0;
}

static int read_scalar(struct yaml_reader *r, const yaml_event_t *event, struct json **ret_json, struct error *error)
{
        struct view text = { (const char *)event->data.scalar.value, event->data.scalar.length };
        const char *anchor = (const char *)event->data.scalar.anchor;
        bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        cleanup(error_release) struct error problem = ERROR_NULL;
        cleanup(json_free) struct json *json = NULL;

        TRY(spend(r, 1, text.length, error));
        if (yaml_scalar(text, (const char *)event->data.scalar.tag, plain, &json, &problem) < 0)
                return refuse(r, ERROR_INVALID, error_message(&problem), error);
        if (anchor) {
                TRY(open_anchor(r, anchor, error));
                TRY(close_anchor(r, anchor, json, r->nodes - 1, r->bytes - text.length, error));
        }
        *ret_json = steal(&json);
        return 0;
}

/* The text of a key. */
static int key_text(struct yaml_reader *r, const struct json *key, char **ret_text, struct error *error)
{
        struct view text = json_view(key);

        switch (json_type(key)) {
        case JSON_STRING:
                if (text.length && memchr(text.data, '\0', text.length))
                        return refuse(r, ERROR_INVALID, "a key holds a NUL", error);
                *ret_text = memory_string_n(text.data, text.length);
                return 0;
        case JSON_BOOL:
        case JSON_INTEGER:
        case JSON_FLOAT:
                *ret_text = json_text(key);
                return 0;
        default:
                return refuse(r, ERROR_INVALID, "a key must be text, a number or a boolean", error);
        }
}

/* Members of `from` that `into` does not have. */
static void merge_members(struct json *into, const struct json *from)
{
        JSON_EACH(from, member)
                if (!json_get(into, member.key))
                        json_set(into, member.key, json_copy(member.value));
}

static int merge(struct yaml_reader *r, struct json *into, const struct json *value, struct error *error)
{
        size_t i;

        if (json_type(value) == JSON_OBJECT) {
                merge_members(into, value);
                return 0;
        }
        if (json_type(value) != JSON_ARRAY)
                return refuse(r, ERROR_INVALID, "map merge requires map or sequence of maps as the value", error);
        for (i = 0; i < json_length(value); i++) {
                if (json_type(json_at(value, i)) != JSON_OBJECT)
                        return refuse(r, ERROR_INVALID, "map merge requires map or sequence of maps as the value", error);
                merge_members(into, json_at(value, i));
        }
        return 0;
}

static bool is_merge_key(const yaml_event_t *event)
{
        const char *tag = event->type == YAML_SCALAR_EVENT ? (const char *)event->data.scalar.tag : NULL;

        if (event->type != YAML_SCALAR_EVENT || strcmp((const char *)event->data.scalar.value, "<<") != 0)
                return false;
        return tag ? strcmp(tag, "tag:yaml.org,2002:merge") == 0 : event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static int open_container(struct yaml_reader *r, const yaml_event_t *event, struct error *error)
{
        bool mapping = event->type == YAML_MAPPING_START_EVENT;
        const void *anchor = mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
        struct frame *frame;

        if (r->depth == JSON_DEPTH_LIMIT)
                return refuse(r, ERROR_TOO_LARGE, "exceeded max depth", error);
        r->frames = memory_resize(r->frames, r->depth + 1, sizeof(*r->frames));
        frame = &r->frames[r->depth++];
        *frame =
                (struct frame){ .container = mapping ? json_new_object() : json_new_array(), .nodes = r->nodes, .bytes = r->bytes };
        if (mapping)
                frame->merged = json_new_object();
        if (anchor) {
                frame->anchor = memory_string(anchor);
                TRY(open_anchor(r, anchor, error));
        }
        return spend(r, 1, 0, error);
}

static void frame_release(struct frame *frame)
{
        json_free(&frame->container);
        json_free(&frame->merged);
        free(frame->key);
        free(frame->anchor);
}

static int close_container(struct yaml_reader *r, struct json **ret_json, struct error *error)
{
        struct frame *frame = &r->frames[r->depth - 1];

        merge_members(frame->container, frame->merged);
        if (frame->anchor)
                TRY(close_anchor(r, frame->anchor, frame->container, frame->nodes, frame->bytes, error));
        *ret_json = steal(&frame->container);
        frame_release(frame);
        r->depth--;
        return 0;
}

static int deliver_key(struct yaml_reader *r, struct frame *frame, const struct json *key, struct error *error)
{
        cleanup(free_string) char *text = NULL;

        TRY(key_text(r, key, &text, error));
        if ((r->flags & YAML_UNIQUE_KEYS) && json_get(frame->container, text))
                return error_set(error, ERROR_INVALID, "yaml: line %zu: key \"%s\" already set in map", r->line, text);
        frame->key = steal(&text);
        return 0;
}

/* Puts a finished node, which is taken over, where it belongs: into the innermost open container. */
static int deliver(struct yaml_reader *r, struct json *node, struct error *error)
{
        cleanup(json_free) struct json *json = node;
        struct frame *frame = &r->frames[r->depth - 1];

        if (json_type(frame->container) == JSON_ARRAY) {
                json_append(frame->container, steal(&json));
        } else if (frame->merging) {
                frame->merging = false;
                return merge(r, frame->merged, json, error);
        } else if (!frame->key) {
                return deliver_key(r, frame, json, error);
        } else {
                json_set(frame->container, frame->key, steal(&json));
                free(steal(&frame->key));
        }
        return 0;
}

/* One event. *ret_json is set if it ends a node. */
static int read_event(struct yaml_reader *r, const yaml_event_t *event, struct json **ret_json, struct error *error)
{
        struct frame *frame = r->depth ? &r->frames[r->depth - 1] : NULL;

        if (frame && frame->merged && !frame->key && !frame->merging && is_merge_key(event)) {
                frame->merging = true;
                return 0;
        }
        switch (event->type) {
        case YAML_ALIAS_EVENT:
                return read_alias(r, (const char *)event->data.alias.anchor, ret_json, error);
        case YAML_SCALAR_EVENT:
                return read_scalar(r, event, ret_json, error);
        case YAML_SEQUENCE_START_EVENT:
        case YAML_MAPPING_START_EVENT:
                return open_container(r, event, error);
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                return close_container(r, ret_json, error);
        default:
                return refuse(r, ERROR_INVALID, "unexpected event", error);
        }
}

/* The node that comes next and all below it. */
static int read_tree(struct yaml_reader *r, struct json **ret_json, struct error *error)
{
        cleanup(event_release) struct event event = { .filled = false };

        for (;;) {
                struct json *json = NULL;

                TRY(next_event(r, &event, error));
                TRY(read_event(r, &event.yaml, &json, error));
                if (json && r->depth == 0) {
                        *ret_json = json;
                        return 0;
                }
                if (json)
                        TRY(deliver(r, json, error));
        }
}

/* Anchors end with their document, and so does what a failure left open. */
static void forget_document(struct yaml_reader *r)
{
        size_t i;

        while (r->depth)
                frame_release(&r->frames[--r->depth]);
        for (i = 0; i < r->anchor_count; i++) {
                free(r->anchors[i].name);
                json_free(&r->anchors[i].json);
        }
        r->anchor_count = 0;
}

struct yaml_reader *yaml_open(struct view text, unsigned flags)
{
        struct yaml_reader *reader = memory_zero(1, sizeof(*reader));

        if (!yaml_parser_initialize(&reader->parser))
                memory_exhausted();
        reader->flags = flags;
        reader->text_length = text.length;
        yaml_parser_set_input_string(&reader->parser, (const unsigned char *)(text.data ? text.data : ""), text.length);
        return reader;
}

void yaml_close(struct yaml_reader **reader)
{
        if (*reader) {
                forget_document(*reader);
                free((*reader)->frames);
                free((*reader)->anchors);
                yaml_parser_delete(&(*reader)->parser);
                free(*reader);
        }
        *reader = NULL;
}

static int read_document(struct yaml_reader *r, struct json **ret_json, struct error *error)
{
        cleanup(event_release) struct event event = { .filled = false };
        cleanup(json_free) struct json *json = NULL;

        if (r->text_length > JSON_BYTES_LIMIT)
                return error_set(error, ERROR_TOO_LARGE, "yaml: %zu bytes are more than %zu", r->text_length, JSON_BYTES_LIMIT);
        do {
                TRY(next_event(r, &event, error));
                if (event.yaml.type == YAML_STREAM_END_EVENT)
                        return YAML_END;
        } while (event.yaml.type != YAML_DOCUMENT_START_EVENT);
        TRY(read_tree(r, &json, error));
        TRY(next_event(r, &event, error)); /* the document's end */
        *ret_json = steal(&json);
        return 0;
}

int yaml_next(struct yaml_reader *reader, struct json **ret_json, struct error *error)
{
        int result;

        if (reader->ended)
                return YAML_END;
        result = read_document(reader, ret_json, error);
        forget_document(reader);
        reader->ended = result != 0;
        return result;
}

int yaml_parse(struct view text, unsigned flags, struct json **ret_json, struct error *error)
{
        cleanup(yaml_close) struct yaml_reader *reader = yaml_open(text, flags);
        int result = yaml_next(reader, ret_json, error);

        if (result == YAML_END) {
                *ret_json = json_new_null();
                return 0;
        }
        return result;
}
