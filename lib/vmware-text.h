/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What VMware's products write about virtual machines beside their disks: text of lines key =
 * "value" (open-vm-tools' lib/dict; "Virtual Disk Format 5.0" uses the same for descriptors). */
#pragma once

#include "error.h"
#include "format.h"

enum {
    VMWARE_TEXT_MAX = 1 << 20,  /* bytes: a longer file is none; real ones have some 10 KiB */
    VMWARE_VALUE_MAX = 1023,    /* bytes of a name, as of a path in a descriptor */
};

/* One line. The key is not terminated. */
struct vmware_line {
    const char *key;
    size_t n_key;
    char value[VMWARE_VALUE_MAX + 1];   /* as it is meant, UTF-8 by the text's own word */
    bool bad;                   /* the value is longer, or cannot be had as UTF-8, or holds a NUL */
};

/* Is that a text of such lines, one of which has a key that pleases? */
bool vmware_text_probe(struct probe *probe, bool (*pleases)(const char *key, size_t n_key));
/* Of an image that is opened as such a text, called what: is it one? */
int vmware_text_begin(struct qca_image *image, struct qca_error *error,
                      bool (*pleases)(const char *key, size_t n_key), const char *what);
/* Calls back for each line, until that fails. */
int vmware_text_each(struct qca_image *image, struct qca_error *error,
                     int (*each)(void *userdata, const struct vmware_line *line), void *userdata);

/* Keys are compared without regard to case. Each takes a part off the key's beginning, and is false
 * when it is not there, or a number is larger than max. */
bool vmware_key_word(struct vmware_line *key, const char *word);
bool vmware_key_number(struct vmware_line *key, unsigned max, unsigned *ret_number);
bool vmware_key_is(const char *key, size_t n_key, const char *word);

/* Does the value name a VMDK? */
bool vmware_names_disk(const struct vmware_line *line);
/* The record names a file as what type says. -ENOMEM, or an error of that line. */
int vmware_add_file(struct qca_image *image, struct qca_error *error,
                    const struct vmware_line *line, const char *type);
