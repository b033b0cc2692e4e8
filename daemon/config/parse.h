/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From trees of nodes to struct config: by the table of keys, noting every mistake. */
#pragma once

#include "daemon/config/keys.h"
#include "daemon/core/policy.h"
#include "helpers/config-tree.h"

#define CONFIG_DATASTORES_MAX 256
#define CONFIG_CLASSES_MAX 256
#define CONFIG_VERSIONS_MAX 1024
#define CONFIG_PATTERNS_MAX 4096        /* in one list */
#define CONFIG_NAME_MAX 64              /* characters */

/* The place where a value was written; file counts from 0; line 0: nowhere, it is the default. */
struct text_place { unsigned file, line, column; };

/* One configuration that is being read from several trees, which must live as long as it does. */
struct config_builder {
    struct config *config;
    struct mistakes *mistakes;
    struct text_place *places;  /* of the general thresholds' keys, by index in config_keys */
    struct text_place *datastore_places;        /* two per datastore: path and name */
    const struct config_node **class_nodes;     /* thresholds of each class, or NULL */
    struct text_place *class_places;
    struct text_place *version_places;
};

int config_builder_init(struct config_builder *builder, struct config *config,
                        struct mistakes *mistakes);
void config_builder_done(struct config_builder *builder);
/* Sets every key of the structure at base to its default. */
int config_set_defaults(enum config_structure structure, void *base);
/* One file: later ones win key by key, lists are appended. */
int config_build_file(struct config_builder *builder, const struct config_node *root);
/* The checks that need all files to be read: names, overlaps, the classes' thresholds. */
int config_build_finish(struct config_builder *builder);

/* ---- shared by the parts of the parser ---- */

/* The structures that the keys of the current section are written to. */
struct config_target {
    struct config *config;
    struct config_datastore *datastore;
    struct policy_class *class;
    struct policy_version *version;
    struct thresholds *thresholds;
    struct text_place *places;  /* where each threshold was written, by index in config_keys */
    struct text_place *path_place, *name_place; /* of the datastore, class or family at hand */
    const struct config_node *thresholds_node;  /* of the class at hand */
    int finding;                /* whose thresholds are at hand */
    size_t class_number;        /* of the class, or entry of versions, at hand, from 1 on; 0: none
                                 * is */
};

/* Takes note that the node says a key's value, or an entry of its list; not of datastores. */
int config_note_origin(struct config_builder *builder, const struct config_key *key,
                       const struct config_node *node, const struct config_target *target);

/* Notes a mistake as "section.name: text". */
void config_mistake_at(struct config_builder *builder, const struct config_node *node,
                       const char *section, const char *name, const char *text);
/* 1: yes, on, true; 0: no, off, false; else -EINVAL. */
int config_parse_bool(const char *text);
/* Writes a key's value to its field in target. */
int config_apply_key(struct config_builder *builder, const char *section, const char *name,
                     const struct config_key *key, const struct config_node *node,
                     struct config_target *target);
/* Applies all keys of a mapping that is the section ("" is the file). */
int config_apply_mapping(struct config_builder *builder, const char *section,
                         const struct config_node *node, struct config_target *target);
