/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CRC-32C, the checksum of VHDX structures. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of size bytes; crc is that of the bytes before them, 0 when there are none. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);
