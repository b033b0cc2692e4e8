/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of digests as sha256sum and its like write and read them. */
#pragma once

#include "ctl/check.h"

struct sum_kind {
    const char *name;           /* in tagged lines: "SHA256" */
    const char *option;         /* for --algorithm; NULL: what guests see, not the file */
    unsigned algorithm;         /* QCA_DIGEST_*; 0: what guests see */
    size_t size;                /* bytes */
};

#define SUM_SIZE_MAX 64

/* The kinds in the order in which they are printed; NULL behind the last, which is that of
 * content. */
const struct sum_kind *sum_kind_at(size_t index);
/* The digest that the report holds, NULL when it has none. */
const uint8_t *sum_of_report(const struct audit_report *report, const struct sum_kind *kind);

/* One line; GNU's with tag, BSD's. Content is always tagged. For a terminal, the name is made
 * harmless. */
int sum_print(const struct ctl *ctl, const char *file, const struct sum_kind *kind,
              const uint8_t *digest);

struct sum_line {
    const struct sum_kind *kind;
    uint8_t digest[SUM_SIZE_MAX];
    const char *name;           /* within the line, without its escapes */
};

/* Parses a line (without its newline; it is changed) of size bytes. 1; 0 for an empty line or a
 * comment; -EINVAL and why, a sentence without a final dot. Lines of 64 digits without a tag are of
 * content when asked for so. */
int sum_parse(char *line, size_t size, bool content, struct sum_line *ret_line,
              const char **ret_why);
