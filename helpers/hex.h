/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes as hexadecimal digits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* ret_text: 2 * size lower-case digits, and the NUL. */
void hex_encode(const uint8_t *bytes, size_t size, char *ret_text);
/* -EBADMSG when text (may be NULL) is not 2 * size digits, lower-case as hex_encode() has them. */
int hex_decode(const char *text, uint8_t *ret_bytes, size_t size);
/* Of either case; -1 when it is none. */
int hex_digit(char c);
