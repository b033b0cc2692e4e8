/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A YAML file as a tree of nodes with their places, and the list of mistakes found in it. Bounded
 * in size and depth. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

#define CONFIG_FILE_MAX (1024 * 1024)   /* bytes */
#define CONFIG_DEPTH_MAX 16
#define CONFIG_NODES_MAX 65536          /* per file */
#define CONFIG_MISTAKES_MAX 200

/* ---- mistakes ---- */

struct mistake {
    unsigned file;              /* index of the file, in the order read */
    unsigned line, column;      /* from 1; 0: the whole file */
    unsigned sequence;
    char *message;
};

struct mistakes {
    struct mistake *items;
    size_t n_items;
    size_t n_more;              /* beyond CONFIG_MISTAKES_MAX: only counted */
    bool no_memory;
};

void mistakes_done(struct mistakes *mistakes);
/* The format's strings must be safe to print. Without memory, no_memory is set. */
void mistakes_add(struct mistakes *mistakes, unsigned file, unsigned line, unsigned column,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* In the order of the files and of the places in them. */
void mistakes_sort(struct mistakes *mistakes);

/* ---- nodes ---- */

enum config_node_kind { CONFIG_NODE_SCALAR, CONFIG_NODE_LIST, CONFIG_NODE_MAPPING };

struct config_node {
    enum config_node_kind kind;
    unsigned file, line, column;
    bool plain;                 /* a scalar without quotes */
    bool cut;                   /* the text ended, with an error, before the node did */
    char *text;                 /* of a scalar: UTF-8 without NUL */
    struct config_node **items; /* of a mapping: key, value, key, value, ... */
    size_t n_items;
};

struct config_node *config_node_free(struct config_node *node);
DEFINE_CLEANUP(struct config_node *, config_node_free)

/* "a list", "text", ... */
const char *config_node_text(const struct config_node *node);
/* Nothing at all is written where a value could be. */
bool config_node_is_empty(const struct config_node *node);
/* The text of a node as it may stand in a message: escaped, and not longer than a line. NULL
 * without memory. */
char *config_node_quote(const struct config_node *node);

/* Reads n bytes. *ret_root is NULL for an empty text, and holds what was read before a mistake in
 * the syntax. -ENOMEM; mistakes are no error. */
int config_tree_read(const char *bytes, size_t n, unsigned file, struct mistakes *mistakes,
                     struct config_node **ret_root);
