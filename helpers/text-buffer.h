/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A text that grows piece by piece, and says at its end whether all of it is there. A stream in
 * memory need not: glibc's forgets a write for which there was no memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Begins as {}. */
struct text_buffer {
    char *bytes;
    size_t n, room;
    bool failed;
};

void text_buffer_add(struct text_buffer *buffer, const char *bytes, size_t n);
void text_buffer_put(struct text_buffer *buffer, const char *string);
/* The text, malloc'd; the buffer is empty then, also with -ENOMEM: something of it is missing. */
int text_buffer_end(struct text_buffer *buffer, char **ret_text);
