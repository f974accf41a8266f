/*
 * generator: configMapGenerator and secretGenerator, and the hash that their names get.
 */
#pragma once

#include "engine/kustomize/accumulator.h"

/* Makes the object of one entry; `options` are the kustomization's generatorOptions or NULL. */
int generate(struct build *build, const char *directory, bool secret, const struct node *config, const struct node *options,
             struct resource **ret_resource);

/* The ten characters behind the name: of data, binaryData, stringData and type of a ConfigMap or Secret. */
#define CONTENT_HASH 11
int content_hash(struct build *build, const struct node *object, char ret_hash[CONTENT_HASH]);
