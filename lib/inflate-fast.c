/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inflates sound clusters of zlib's in less time than zlib takes. */
#include <errno.h>
#include <stdlib.h>

#include "build-config.h"
#include "inflate.h"

#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>

struct fast {
    struct inflate_state state;
    uint32_t wrapping;          /* ISAL_DEFLATE, ISAL_ZLIB */
};

static bool run(void *context, const uint8_t *data, uint64_t size, uint8_t *out, uint64_t out_size,
                uint64_t *ret_used)
{
    struct fast *fast = context;
    struct inflate_state *state = &fast->state;

    isal_inflate_init(state);
    state->crc_flag = fast->wrapping;
    state->next_in = (uint8_t *)(uintptr_t)data;    /* only read */
    state->avail_in = (uint32_t)size;
    state->next_out = out;
    state->avail_out = (uint32_t)out_size;
    if (isal_inflate_stateless(state) != ISAL_DECOMP_OK || state->avail_out != 0)
        return false;
    *ret_used = size - state->avail_in;
    return true;
}

int inflater_be_fast(struct inflater *inflater)
{
    struct fast *fast = malloc(sizeof(*fast));

    if (!fast)
        return -ENOMEM;
    fast->wrapping = inflater_type(inflater) == INFLATE_ZLIB ? ISAL_ZLIB : ISAL_DEFLATE;
    inflater_set_fast(inflater, run, fast);
    return 0;
}

#else

int inflater_be_fast(struct inflater *inflater)
{
    (void)inflater;
    return 0;
}

#endif
