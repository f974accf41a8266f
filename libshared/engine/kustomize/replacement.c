#include "engine/kustomize/transformer.h"

int transformer_add_replacements(struct build *build, const char *directory, const struct node *replacements,
                                 struct transformer_list *list)
{
        (void)directory;
        (void)replacements;
        (void)list;
        return error_set(build->error, ERROR_UNSUPPORTED, "replacements are not implemented");
}
