/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changes an input of fuzz-image in a structure that its own header leads to: fields, numbers,
 * and the file for each kind of format. */
#pragma once

#include <stdbool.h>

#include "fuzz-image.h"
#include "lib/bytes.h"

struct field {
    uint64_t offset;            /* in the input, bytes */
    unsigned size;              /* bytes, at most 8 */
};

struct mutation {
    uint8_t *data;
    size_t size;
    uint64_t random;
    bool big_endian;
    unsigned cluster_bits;      /* of qcow2 */
};

static inline uint64_t pick(struct mutation *m, uint64_t below)
{
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (m->random >> 24) % below;
}

static inline bool inside(const struct mutation *m, struct field field)
{
    return field.offset < m->size && field.size <= m->size - field.offset;
}

/* The field's number, 0 when it lies outside. */
static inline uint64_t get(const struct mutation *m, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; inside(m, (struct field){ offset, size }) && i < size; i++)
        value = value << 8 | m->data[offset + (m->big_endian ? i : size - 1 - i)];
    return value;
}

static inline void put(struct mutation *m, struct field field, uint64_t value)
{
    for (unsigned i = 0; inside(m, field) && i < field.size; i++, value >>= 8)
        m->data[field.offset + (m->big_endian ? field.size - 1 - i : i)] = (uint8_t)value;
}

/* The field's number becomes the nearest that is not below low or above high. */
static inline void clamp(struct mutation *m, uint64_t offset, unsigned size, uint64_t low,
                         uint64_t high)
{
    uint64_t value = get(m, offset, size);

    if (value < low || value > high)
        put(m, (struct field){ offset, size }, value < low ? low : high);
}

/* The byte that says how the input is read (fuzz-image.h) gets a new value. */
void mutation_choose_mode(struct mutation *m);

/* Does the input have qcow2's magic? */
bool qcow2_is(const struct mutation *m);
/* Changes one to three fields of a qcow2 image; false: it is too small for one. */
bool qcow2_mutate(struct mutation *m);
/* Most images become such that their header is not refused. */
void qcow2_mend(struct mutation *m);

/* Which of the other formats the input has the magic of; -1: none. */
int foreign_kind(const struct mutation *m);
/* Changes one to three fields of it. */
void foreign_mutate(struct mutation *m, int kind);
/* The magic, most checksums, and most headers such that they are not refused. */
void foreign_mend(struct mutation *m, int kind);
