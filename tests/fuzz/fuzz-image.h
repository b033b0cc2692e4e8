/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fuzz-image reads an input, said in a byte of it: for the harness and for what changes
 * inputs. */
#pragma once

#include "fuzz.h"

enum {
    FUZZ_MODE_PLACE = 111,      /* padding that no reader of qcow2 looks at */
    FUZZ_MODE_SCALAR = 1 << 0,  /* checked without vector instructions, too */
    FUZZ_MODE_TIGHT = 1 << 1,   /* checked with little memory, too */
    FUZZ_MODE_SPARSE = 1 << 2,  /* as the beginning of a large sparse file */
    FUZZ_MODE_DIGEST = 1 << 3,  /* with digests */
    FUZZ_MODE_AGAIN = 1 << 4,   /* the map asked in no order, too */
    FUZZ_MODES = 1 << 5,
};
