/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer's mutations of bytes, and those of a structure that the input has, in turns. Bytes
 * alone would hardly ever hit a table. */
#include "mutate.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* The sparse file, digests and passes cost a hundred times as much as the rest, and stay rare. */
void mutation_choose_mode(struct mutation *m)
{
    static const struct { uint8_t mode; uint16_t one_in; } modes[] = {
        { FUZZ_MODE_SCALAR, 4 },  { FUZZ_MODE_TIGHT, 128 }, { FUZZ_MODE_SPARSE, 1024 },
        { FUZZ_MODE_DIGEST, 256 }, { FUZZ_MODE_AGAIN, 8 },
    };

    m->data[FUZZ_MODE_PLACE] = 0;
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
        m->data[FUZZ_MODE_PLACE] |= pick(m, modes[i].one_in) == 0 ? modes[i].mode : 0;
    /* Little memory is little only for a large file. */
    if ((m->data[FUZZ_MODE_PLACE] & FUZZ_MODE_SPARSE) && pick(m, 4) != 0)
        m->data[FUZZ_MODE_PLACE] |= FUZZ_MODE_TIGHT;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    struct mutation m = { .data = data, .size = size, .random = seed };
    int kind = foreign_kind(&m);
    /* Of no format that is known here, or too small for its magic: bytes alone are changed. */
    bool qcow2 = kind < 0 && qcow2_is(&m);
    bool structured = pick(&m, 4) != 0;

    if (structured && kind >= 0)
        foreign_mutate(&m, kind);
    else if (!structured || !qcow2 || !qcow2_mutate(&m))
        m.size = LLVMFuzzerMutate(data, size, max_size);
    if (kind >= 0)
        foreign_mend(&m, kind);
    else if (qcow2)
        qcow2_mend(&m);
    return m.size;
}
