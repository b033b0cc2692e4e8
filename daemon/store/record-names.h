/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What images are called now that were called otherwise at some place of the record, which is read
 * from its end: each rename on the way is told in turn. */
#pragma once

struct record_names { void *tree; };

void record_names_done(struct record_names *names);
/* `then` itself, when no rename since then is of it. Borrowed. */
const char *record_name_now(const struct record_names *names, const char *then);
/* What was called `before` until here is called as what is called `after` from here on. -ENOMEM. */
int record_names_rename(struct record_names *names, const char *before, const char *after);
