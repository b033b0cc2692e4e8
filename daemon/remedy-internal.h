/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What remedies share: the steps being written, and what many ask of an image first. */
#pragma once

#include "daemon/remedy.h"

#define REMEDY_LEAKS_ARE_BURST 256      /* the default of leak-burst: with so many in one place nothing is freed */

/* A remedy being written; once something failed, the end says so. */
struct remedy {
    json_object *steps;
    int error;
};

void remedy_precondition(struct remedy *remedy, const char *format, ...) __attribute__((format(printf, 2, 3)));
void remedy_command(struct remedy *remedy, const char *format, ...) __attribute__((format(printf, 2, 3)));
void remedy_text(struct remedy *remedy, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A name as one shell word; NULL when the remedy has failed. Names that only some shells could
 * quote are told to be renamed first: see remedy_name_is_plain(). */
char *remedy_quote(struct remedy *remedy, const char *name);
bool remedy_name_is_plain(const char *name);

/* The image itself as audited; NULL when it was not opened. */
const struct layer_report *remedy_layer(const struct image *image);
/* Nothing is known to be wrong with its tables. */
bool remedy_image_is_sound(const struct image *image);
bool remedy_image_is_golden(const struct graph *graph, const struct image *image);

void remedy_step_stop(struct remedy *remedy, const struct image *image, const char *quoted);
void remedy_step_copy(struct remedy *remedy, const char *path);
void remedy_step_rename_first(struct remedy *remedy);

/* Merges the leaf's layers down into its own layer, which is named as the base, and puts the
 * leaf on that. The second half loses nothing: after the commit the own layer holds all that the
 * layers between held. */
void remedy_consolidate(struct remedy *remedy, const struct graph *graph, const struct image *leaf);
