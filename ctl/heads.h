/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal's entries of the record's last events: the daemon's, which nobody changes who changes
 * the database alone. */
#pragma once

#include "ctl/ctl.h"

struct heads {
    char *text;                 /* "SEQ:DIGEST ...", of this record; for CheckRecord() */
    size_t n;
    bool more;                  /* older ones were left out */
    bool no_journal;            /* it cannot be read */
    uint64_t first, last;       /* usec, of the oldest and the newest of them */
    /* Of other records that this database was: how many entries, and the newest of them. */
    size_t n_other;
    uint64_t other_at, other_seq;
};

/* Of the system's journal, or that in ctl->journal; none older than ctl->since. -ENOMEM. */
int heads_read(const struct ctl *ctl, const char *database, const char *record,
               struct heads *ret_heads);
void heads_done(struct heads *heads);
