/*
 * resource: an object of a build with its identity, and the ordered sets of them.
 *
 * The identity's history (names, kinds and namespaces it had before transformers changed them) and flags live in annotations of the object
 * itself, as the reference keeps them: patches see them, and can wipe them. Ids are therefore read from the nodes whenever they are needed.
 */
#pragma once

#include "engine/kustomize/node.h"
#include "engine/kustomize/schema.h"

#define CLUSTER_NAMESPACE "_non_namespaceable_"
#define INTERNAL_PREFIX   "internal.config.kubernetes.io/"

#define ANNOTATION_PREVIOUS_KINDS      INTERNAL_PREFIX "previousKinds"
#define ANNOTATION_PREVIOUS_NAMES      INTERNAL_PREFIX "previousNames"
#define ANNOTATION_PREVIOUS_NAMESPACES INTERNAL_PREFIX "previousNamespaces"
#define ANNOTATION_PREFIXES            INTERNAL_PREFIX "prefixes"
#define ANNOTATION_SUFFIXES            INTERNAL_PREFIX "suffixes"
#define ANNOTATION_REFERENCED_BY       INTERNAL_PREFIX "refBy"
#define ANNOTATION_BEHAVIOR            INTERNAL_PREFIX "generatorBehavior"
#define ANNOTATION_NEEDS_HASH          INTERNAL_PREFIX "needsHashSuffix"
#define ANNOTATION_ALLOW_NAME_CHANGE   INTERNAL_PREFIX "allowNameChange"
#define ANNOTATION_ALLOW_KIND_CHANGE   INTERNAL_PREFIX "allowKindChange"
#define ANNOTATION_HELM_GENERATED      INTERNAL_PREFIX "helm-generated"
#define ANNOTATION_ORIGIN              "config.kubernetes.io/origin"
#define ANNOTATION_TRANSFORMATIONS     "alpha.config.kubernetes.io/transformations"
#define ANNOTATION_LOCAL_CONFIG        "config.kubernetes.io/local-config"

struct gvk {
        struct view group;
        struct view version;
        struct view kind;
};

struct resource_id {
        struct gvk gvk;
        struct view name;
        struct view namespace; /* as written */
        struct view effective; /* CLUSTER_NAMESPACE, "default" for none, or as written */
};

struct resource {
        struct node *node;      /* NULL: a patch deleted it */
        const char **variables; /* names of the vars that point to it */
        size_t variable_count;
};

struct resource_list {
        struct resource **items;
        size_t count;
        size_t capacity;
};

struct id_list {
        struct resource_id *items;
        size_t count;
};

/* Answers of schema_cluster_scoped, for there are few kinds and many questions. */
#define SCOPES_CACHED 64
struct scope_cache {
        struct {
                struct gvk gvk; /* kind is empty in a free slot */
                bool cluster;
        } slots[SCOPES_CACHED];
};

/* What ids depend on, and where they are allocated. */
struct identity {
        struct arena *arena;
        const struct schema *schema;
        bool *schema_used;          /* set when a kind that Kubernetes does not have is looked up */
        struct scope_cache *scopes; /* of this schema */
        bool next;                  /* as kustomize_compat says */
};

struct gvk gvk_parse(struct view api_version, struct view kind);
/* Every part of the selector that is not empty is equal. */
bool gvk_selected(const struct gvk *gvk, const struct gvk *selector);
bool gvk_equal(const struct gvk *a, const struct gvk *b);
/* "Kind.version.group" with [noKind], [noVer], [noGrp]. */
char *gvk_text(struct arena *arena, const struct gvk *gvk);

struct resource_id resource_id_make(const struct identity *identity, struct gvk gvk, struct view name, struct view namespace);
struct gvk resource_gvk(const struct resource *resource);
struct view resource_kind(const struct resource *resource);
struct view resource_name(const struct resource *resource);
struct view resource_namespace(const struct resource *resource);
struct resource_id resource_current(const struct identity *identity, const struct resource *resource);
/* The first of the history, or the current one. */
struct resource_id resource_original(const struct identity *identity, const struct resource *resource);
/* The history, then the current one. */
struct id_list resource_all_ids(const struct identity *identity, const struct resource *resource);

bool resource_id_equal(const struct resource_id *a, const struct resource_id *b);
uint64_t resource_id_hash(const struct resource_id *id);
bool resource_id_cluster_scoped(const struct resource_id *id);
/* "Kind.version.group/name.namespace" with [noName] and [noNs]. */
char *resource_id_text(struct arena *arena, const struct resource_id *id);

/* False if a patch or an empty name left lists of different lengths: the reference gives up there. What never had a name has no history. */
bool resource_history_complete(const struct resource *resource);

/* Pushes the current id on the history. */
void resource_push_id(const struct identity *identity, struct resource *resource);
/* Appends to a comma list in an annotation; an empty value is not. */
void resource_append_list(struct arena *arena, struct resource *resource, const char *annotation, struct view value);
bool resource_enabled(const struct resource *resource, const char *annotation);
void resource_enable(struct arena *arena, struct resource *resource, const char *annotation);

/* metadata.annotations (or labels) written anew: each value a string of the raw text, later duplicates win, gone if empty. */
void resource_rebuild_map(struct arena *arena, struct node *object, const char *field);
/* The raw text of an annotation; *ret_found: whether it is there at all. */
struct view resource_annotation(const struct resource *resource, const char *annotation, bool *ret_found);

void resource_list_add(struct arena *arena, struct resource_list *list, struct resource *resource);
struct resource *resource_new(struct arena *arena, struct node *node);

/*
 * kyaml's SetField, the way every transformer of the reference writes: the value takes the style of the place it replaces; a null removes the
 * field; a plain text that YAML 1.1 would type is quoted where it is new. False if `map` is no map.
 */
bool field_set(struct arena *arena, struct node *map, struct view name, struct node *value);
/* The same for a scalar in place: the text and tag are new, the style stays. */
void field_set_text(struct arena *arena, struct node *place, struct view text, enum node_tag tag);
/* Sets metadata.name / kind / metadata.namespace; an empty namespace removes it. */
void resource_set_name(struct arena *arena, struct node *object, struct view name);
void resource_set_kind(struct arena *arena, struct node *object, struct view kind);
void resource_set_namespace(struct arena *arena, struct node *object, struct view namespace);
