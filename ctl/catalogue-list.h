/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A list of known content, read as the options say by whom it is to be signed. */
#pragma once

#include "ctl/ctl.h"
#include "provenance/catalogue.h"
#include "provenance/signature.h"

/* A list, what its signature says, and what is read of it. */
struct catalogue_list {
    char *shown;                /* its name, safe to print */
    char *text;
    size_t size;
    bool is_signed;
    struct signature_result signature;
    struct catalogue catalogue;
    size_t n_weak;
};

/* By --keyring, --key, --root and what goes with them; without these, it need not be signed. Says
 * itself why it is refused: then nothing is returned. */
int catalogue_list_read(const struct ctl *ctl, const char *path, struct catalogue_list *ret_list);
void catalogue_list_done(struct catalogue_list *list);
DEFINE_CLEANUP(struct catalogue_list *, catalogue_list_done)
