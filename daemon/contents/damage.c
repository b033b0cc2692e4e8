/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Damage to the kept state of contents. */
#include <stdarg.h>
#include <stdio.h>

#include "daemon/contents/internal.h"
#include "lib/cleanup.h"

void damage_tell(struct contents *contents, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list arguments;
    int r;

    va_start(arguments, format);
    r = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (r < 0) {
        text = NULL;
        return;
    }
    if (!contents->damage)
        contents->damage = TAKE_PTR(text);
    contents->ops->damaged(contents->userdata);
}

const char *contents_damage(const struct contents *contents)
{
    return contents->damage;
}
