/*
 * yaml: YAML text to JSON trees, typed as Kubernetes tools do (sigs.k8s.io/yaml).
 *
 * Plain scalars follow YAML 1.1 as go-yaml 2 reads it: yes, no, on, off are booleans, 010 is 8, 1_000 is 1000; a date stays text, and so does a
 * number that fits no type. Keys that are numbers or booleans become their text. Anchors and "<<" merges are expanded; an explicit
 * member wins over a merged one, and an earlier merged map over a later one. What JSON cannot say (.nan, .inf, a null or a container as key) is an error.
 *
 * A text makes at most YAML_NODES_LIMIT nodes and JSON_BYTES_LIMIT bytes after expansion, JSON_DEPTH_LIMIT levels deep.
 *
 * For kubeconfigs, CLI input and the like. The kustomize engine has a node model of its own, which keeps what is lost here.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "data/json.h"

#define YAML_NODES_LIMIT 1000000

enum yaml_flags {
        YAML_UNIQUE_KEYS = 1, /* a member that comes twice is an error; else the last one counts */
};

/* The first document; null for a text without one. ERROR_INVALID "yaml: line N: ...", ERROR_TOO_LARGE for the limits. The caller owns the tree. */
int yaml_parse(struct view text, unsigned flags, struct json **ret_json, struct error *error);

/* All documents, one after the other. The text must outlive the reader. */
struct yaml_reader;
struct yaml_reader *yaml_open(struct view text, unsigned flags);
void yaml_close(struct yaml_reader **reader); /* for cleanup(yaml_close) */

#define YAML_END 1

/* 0: the next document is the caller's; YAML_END: there is no more; -1: as yaml_parse, and the reader is at its end. */
int yaml_next(struct yaml_reader *reader, struct json **ret_json, struct error *error);
