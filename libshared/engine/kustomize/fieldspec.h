/*
 * fieldspec: where in which kinds a transformer works, and the walk there.
 */
#pragma once

#include "engine/kustomize/build.h"

struct field_spec {
        struct gvk gvk; /* empty parts match anything */
        struct view path;
        bool create;
        int rank;              /* of the kind, once it is sorted */
        struct view *segments; /* the path, split; filled on first use */
        size_t segment_count;
};

struct spec_list {
        struct field_spec *items;
        size_t count;
        size_t capacity;
};

struct name_reference {
        struct gvk referral;
        int rank; /* as that of a field spec */
        struct spec_list referrers;
};

struct reference_list {
        struct name_reference *items;
        size_t count;
        size_t capacity;
};

/* The transformers' configuration: built-in field specs and those of `configurations` and `crds`. */
struct configuration {
        struct spec_list name_prefix;
        struct spec_list name_suffix;
        struct spec_list namespace;
        struct spec_list common_labels;
        struct spec_list labels;
        struct spec_list template_labels;
        struct spec_list claim_labels; /* volumeClaimTemplateLabels: after 5.8.1 */
        struct spec_list common_annotations;
        struct spec_list images;
        struct spec_list replicas;
        struct spec_list var_reference;
        struct reference_list name_reference;
};

/* The built-in one; made once for a build. */
const struct configuration *configuration_default(struct build *build);
/* Adds `from`; -1 for "conflicting fieldspecs". */
int configuration_merge(struct build *build, struct configuration *into, const struct configuration *from);
/* What configuration_merge does at its end, once for many additions. */
void configuration_sort(struct configuration *configuration);
/* The rule for a referral, made if it is not there. */
struct name_reference *configuration_reference(struct build *build, struct configuration *configuration,
                                               const struct gvk *referral);
struct configuration *configuration_copy(struct build *build, const struct configuration *configuration);
/* Reads the files of `configurations` and `crds`. */
int configuration_load(struct build *build, const char *directory, const struct node *paths, struct configuration *into);
int configuration_load_crds(struct build *build, const char *directory, const struct node *paths, struct configuration *into);

void spec_list_add(struct build *build, struct spec_list *list, const struct field_spec *spec);
/* Adds it unless the list has it. -1 for "conflicting fieldspecs". */
int spec_list_merge_one(struct build *build, struct spec_list *list, const struct field_spec *spec);
int spec_list_merge(struct build *build, struct spec_list *list, const struct spec_list *from);
/* From nodes in the canonical form of kustomization.h. */
struct spec_list spec_list_decode(struct build *build, const struct node *list);

/* The legacy order: by the kind's rank, and for two of the same rank 1 if a comes after b, -1 if before. */
int kind_legacy_rank(struct view kind);
int gvk_legacy_compare(const struct gvk *a, const struct gvk *b);

/* Path pieces between slashes, `\/` unescaped, empty leading piece dropped. */
size_t path_split(struct arena *arena, struct view path, char separator, struct view **ret_segments);
/* -1, ERROR_TOO_LARGE: a path with so many pieces, made where it is missing, would be deeper than any document. */
int path_check_pieces(struct build *build, size_t piece_count);

/* What happens to a node at the end of the path. */
typedef int field_function(void *user, struct node *node);

struct field_walk {
        enum { CREATE_NOTHING, CREATE_SCALAR, CREATE_MAP } create; /* the leaf's kind, where the spec says create */
        enum node_tag tag;                                         /* of a created scalar */
        field_function *function;
        void *user;
};

/* Applies to the object if its current gvk matches. Errors: "considering field '<path>' of object <id>: ...". */
int field_walk(struct build *build, struct resource *resource, struct field_spec *spec, const struct field_walk *walk);
/* Whatever the gvk. */
int field_walk_any(struct build *build, struct resource *resource, struct field_spec *spec, const struct field_walk *walk);
