/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Present names of images that had another name at some place of the record, which is read from its
 * end: each rename on the way is passed in turn. */
#pragma once

struct record_names { void *tree; };

void record_names_done(struct record_names *names);
/* `then` itself, when no rename since then is of it. Borrowed. */
const char *record_name_now(const struct record_names *names, const char *then);
/* Notes that the image named `before` until here has the name `after` from here on. -ENOMEM. */
int record_names_rename(struct record_names *names, const char *before, const char *after);
