/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May others change what the daemon relies upon: its configuration, its folders? Asked as ssh asks
 * it of its keys. */
#pragma once

#include <stdbool.h>

/* Goes from / to path, over each link, and looks at what is on the way:
 *
 *  - Everything belongs to root, to this process's user, or to somebody who may change the program
 *    itself, as one that was built in that user's own folder.
 *  - The last one, and the folder that holds a file, may be written by nobody else. The group root
 *    may, and a group that has this user as its only member: many systems give each user one.
 *  - The folders above may be written by others where those can rename and remove only what is
 *    theirs (the sticky bit, as of /tmp), and by a group to which root gave them.
 *
 * 0, also for what cannot be looked at: then it cannot be opened either. -EPERM when others may
 * change it: *ret_who is what it is, who may, and its mode, for a message; the caller's to free.
 * -ENOMEM. */
int config_trust(const char *path, bool folder, char **ret_who);
