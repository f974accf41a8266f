/*
 * reference: after all names have changed, the fields that name other resources follow (kustomize-engine section 11).
 */
#pragma once

#include "engine/kustomize/accumulator.h"

int reference_fix(struct build *build, struct accumulator *accumulator);
