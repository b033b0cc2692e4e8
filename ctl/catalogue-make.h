/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of files that are here. */
#pragma once

#include "ctl/check.h"
#include "provenance/catalogue.h"

/* Reads the file: its name (borrowed of file), size, digests (QCA_DIGEST_*; SHA-256 in any case),
 * and with content that of what a guest sees, where all of it can be read, parents and pieces
 * included. 0; 1: the digest of the content was wanted, and is not there, which is said unless
 * quiet; -errno, which is said. */
int catalogue_record_of(struct checker *checker, const char *file, unsigned algorithms,
                        bool content, bool quiet, struct catalogue_record *ret_record);
/* catalogue make: a list of these images. */
int catalogue_make(struct ctl *ctl, int argc, char **argv);
