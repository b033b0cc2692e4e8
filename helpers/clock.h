/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The time, in microseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

#define USEC_PER_SEC UINT64_C(1000000)
#define NSEC_PER_SEC UINT64_C(1000000000)

uint64_t usec_now(clockid_t clock);     /* of a clock that every kernel has */
