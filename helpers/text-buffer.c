/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A text that grows piece by piece. */
#include "helpers/text-buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void text_buffer_add(struct text_buffer *buffer, const char *bytes, size_t n)
{
    if (buffer->failed)
        return;
    if (n >= buffer->room - buffer->n) {
        size_t room = 2 * (buffer->n + n) + 64;
        char *grown = realloc(buffer->bytes, room);

        if (!grown) {
            buffer->failed = true;
            return;
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    memcpy(buffer->bytes + buffer->n, bytes, n);
    buffer->n += n;
    buffer->bytes[buffer->n] = '\0';
}

void text_buffer_put(struct text_buffer *buffer, const char *string)
{
    text_buffer_add(buffer, string, strlen(string));
}

int text_buffer_end(struct text_buffer *buffer, char **ret_text)
{
    int r;

    text_buffer_put(buffer, "");        /* an empty one is one, too */
    r = buffer->failed ? -ENOMEM : 0;
    if (r < 0)
        free(buffer->bytes);
    else
        *ret_text = buffer->bytes;
    *buffer = (struct text_buffer){};
    return r;
}
