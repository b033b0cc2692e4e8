/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mutations that know qcow2: one field of a table that the input's own header leads to, set to a
 * value that matters.
 *
 * libFuzzer's mutations of bytes do the rest; they alone would hardly ever hit a table. Layout:
 * QEMU's docs/interop/qcow2.txt. */
#include "mutate.h"

#include <string.h>

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define SNAPSHOT_FIXED 40
#define MAGIC 0x514649fb
#define LEAST 112
#define KNOWN_FEATURES UINT64_C(0x1f)
#define EXTENDED_L2 UINT64_C(0x10)
#define BITMAPS_EXTENSION 0x23852875

static struct field field_of_header(struct mutation *m)
{
    static const struct field fields[] = {
        { 4, 4 }, { 8, 8 }, { 16, 4 }, { 20, 4 }, { 24, 8 }, { 32, 4 }, { 36, 4 }, { 40, 8 },
        { 48, 8 }, { 56, 4 },
        { 60, 4 }, { 64, 8 }, { 72, 8 }, { 80, 8 }, { 88, 8 }, { 96, 4 }, { 100, 4 }, { 104, 1 },
    };

    return fields[pick(m, sizeof(fields) / sizeof(*fields))];
}

/* An entry of the table at this offset; most tables of an input hold little behind their
 * beginning. */
static struct field entry_of(struct mutation *m, uint64_t table, unsigned size, uint64_t entries)
{
    uint64_t index = pick(m, min_u64(entries ? entries : 1, pick(m, 2) ? 8 : 512));

    return (struct field){ table + index * size, size };
}

static struct field entry_of_l1(struct mutation *m)
{
    return entry_of(m, get(m, 40, 8), 8, get(m, 36, 4));
}

static struct field entry_of_reftable(struct mutation *m)
{
    return entry_of(m, get(m, 48, 8), 8, UINT64_C(1) << m->cluster_bits >> 3);
}

/* An entry of what an entry of another table points to. */
static struct field entry_below(struct mutation *m, struct field pointer, unsigned size)
{
    return entry_of(m, get(m, pointer.offset, 8) & OFFSET_MASK, size,
                    (UINT64_C(1) << m->cluster_bits) / size);
}

static struct field field_of_snapshot(struct mutation *m)
{
    static const struct field fields[] = { { 0, 8 },  { 8, 4 },  { 12, 2 }, { 14, 2 },
                                           { 36, 4 }, { 40, 8 }, { 48, 8 } };
    struct field field = fields[pick(m, sizeof(fields) / sizeof(*fields))];
    uint64_t at = get(m, 64, 8);

    for (uint64_t i = pick(m, 3); i > 0; i--)
        at = round_up(at + SNAPSHOT_FIXED + get(m, at + 36, 4) + get(m, at + 12, 2) +
                          get(m, at + 14, 2),
                      8);
    if (pick(m, 3) == 0)        /* one of its L1 table */
        return entry_of(m, get(m, at, 8), 8, get(m, at + 8, 4));
    field.offset += at;
    return field;
}

static struct field field_of_bitmap(struct mutation *m, uint64_t extension)
{
    static const struct field fields[] = { { 0, 8 },  { 8, 4 },  { 12, 4 }, { 16, 1 },
                                           { 17, 1 }, { 18, 2 }, { 20, 4 } };
    struct field field = fields[pick(m, sizeof(fields) / sizeof(*fields))];
    uint64_t at = get(m, extension + 16, 8);

    for (uint64_t i = pick(m, 3); i > 0; i--)
        at = round_up(at + 24 + get(m, at + 20, 4) + get(m, at + 18, 2), 8);
    if (pick(m, 3) == 0)        /* one of its table */
        return entry_of(m, get(m, at, 8), 8, get(m, at + 8, 4));
    field.offset += at;
    return field;
}

/* Of a header extension: type, length, or one of its first numbers. */
static struct field field_of_extension(struct mutation *m)
{
    uint64_t at = get(m, 4, 4) >= 3 ? get(m, 100, 4) : 72;

    for (uint64_t i = pick(m, 5); i > 0 && get(m, at, 4) != 0; i--) {
        if (get(m, at, 4) == BITMAPS_EXTENSION)
            return pick(m, 4) ? field_of_bitmap(m, at + 8)
                              : (struct field){ at + 8 + 8 * pick(m, 3), 8 };
        at = round_up(at + 8 + get(m, at + 4, 4), 8);
    }
    return pick(m, 2) ? (struct field){ at + 4 * pick(m, 2), 4 }
                      : (struct field){ at + 8 + 8 * pick(m, 3), 8 };
}

static struct field field_of_any(struct mutation *m)
{
    unsigned refcount_size = 1U << (get(m, 4, 4) < 3 ? 1 : (max_u64(get(m, 96, 4), 3) - 3) & 3);

    switch (pick(m, 10)) {
    case 0:
        return pick(m, 20) ? field_of_header(m) : (struct field){ FUZZ_MODE_PLACE, 1 };
    case 1:
        return entry_of_l1(m);
    case 2:
        return entry_of_reftable(m);
    case 3:
    case 4:
        return entry_below(m, entry_of_reftable(m), refcount_size);
    case 5:
        return field_of_snapshot(m);
    case 6:
        return field_of_extension(m);
    default:
        return entry_below(m, entry_of_l1(m), 8);
    }
}

/* A value that a field of this size may well be judged by. */
static uint64_t value_for(struct mutation *m, uint64_t old, unsigned size)
{
    uint64_t cluster = UINT64_C(1) << m->cluster_bits, clusters = m->size / cluster + 2;

    switch (pick(m, 10)) {
    case 0:
        return old ^ UINT64_C(1) << pick(m, 8 * size);
    case 1:
        return old + 1;
    case 2:
        return old - 1;
    case 3:
        return pick(m, 4);
    case 4:
        return UINT64_MAX >> pick(m, 8 * size);
    case 5:
        return old + cluster;
    case 6:
        return size == 8 ? pick(m, clusters) * cluster | UINT64_C(1) << 62 | pick(m, 8) << 61
                         : pick(m, 1024);
    case 7:
        return field_of_any(m).offset;
    case 8: {
        struct field other = field_of_any(m);

        return get(m, other.offset, size);
    }
    default:
        return size == 8 ? pick(m, clusters) * cluster | pick(m, 2) << 63 : pick(m, clusters);
    }
}

/* What costs a hundred times as much as all the rest stays rare, so that a second sees thousands of
 * inputs: clusters larger than extended L2 entries need, tables of many entries beyond the file. */
static void restrain(struct mutation *m)
{
    static const struct { uint8_t offset; uint32_t most; } counts[] = {
        { 36, 1024 }, { 56, 16 }, { 60, 8 },   /* L1 entries, clusters of the refcount table,
                                                * snapshots */
    };
    uint64_t bits = get(m, 20, 4);

    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        if (get(m, counts[i].offset, 4) > counts[i].most && pick(m, 32) != 0)
            put(m, (struct field){ counts[i].offset, 4 }, 1 + pick(m, counts[i].most));
    if (bits > 14 && bits <= 21 && pick(m, 256) != 0)
        put(m, (struct field){ 20, 4 }, get(m, 72, 8) & EXTENDED_L2 ? 14 : 9 + pick(m, 6));
}

/* A header that is refused hides all that lies behind it: most are made such that it is not. */
static void mend_header(struct mutation *m)
{
    static const uint8_t tables[] = { 40, 48, 64 };
    unsigned l2_bits;

    put(m, (struct field){ 0, 4 }, MAGIC);
    clamp(m, 4, 4, 2, 3);
    if (get(m, 20, 4) < 9 || get(m, 20, 4) > 21)
        put(m, (struct field){ 20, 4 }, 9 + pick(m, 6));
    clamp(m, 32, 4, 0, pick(m, 16) ? 0 : 2);            /* encryption */
    m->cluster_bits = (unsigned)get(m, 20, 4);
    if (get(m, 16, 4) > 64 || get(m, 8, 8) > 400)       /* the parent's name */
        put(m, (struct field){ 8, 8 }, 0);
    for (size_t i = 0; i < sizeof(tables); i++)
        put(m, (struct field){ tables[i], 8 },
            get(m, tables[i], 8) & (INT64_MAX >> m->cluster_bits) << m->cluster_bits);
    clamp(m, 56, 4, 0, (8 << 20) >> m->cluster_bits);   /* clusters of the refcount table */
    clamp(m, 36, 4, 0, 4 << 20);                        /* L1 entries */
    l2_bits = m->cluster_bits - 3;
    if (get(m, 4, 4) == 3) {
        put(m, (struct field){ 72, 8 },
            get(m, 72, 8) & KNOWN_FEATURES & ~(m->cluster_bits < 14 ? EXTENDED_L2 : 0));
        clamp(m, 96, 4, 0, 6);                          /* refcount order */
        clamp(m, 100, 4, pick(m, 16) ? FUZZ_MODE_PLACE + 1 : 104, 512);
        put(m, (struct field){ 104, 1 }, get(m, 72, 8) >> 3 & 1);   /* compression type */
        l2_bits -= get(m, 72, 8) & EXTENDED_L2 ? 1 : 0;
    }
    clamp(m, 24, 8, 0, get(m, 36, 4) << (m->cluster_bits + l2_bits));
}

bool qcow2_is(const struct mutation *m)
{
    static const uint8_t magic[] = { 'Q', 'F', 'I', 0xfb };

    return m->size >= sizeof(magic) && memcmp(m->data, magic, sizeof(magic)) == 0;
}

bool qcow2_mutate(struct mutation *m)
{
    m->big_endian = true;
    if (m->size < LEAST)
        return false;
    m->cluster_bits = (unsigned)min_u64(max_u64(get(m, 20, 4), 9), 21);
    for (uint64_t i = pick(m, 3) + 1; i > 0; i--) {
        struct field field = field_of_any(m);

        if (inside(m, field))
            put(m, field, value_for(m, get(m, field.offset, field.size), field.size));
    }
    return true;
}

void qcow2_mend(struct mutation *m)
{
    m->big_endian = true;
    if (m->size <= FUZZ_MODE_PLACE)
        return;
    restrain(m);
    if (pick(m, 8) != 0)
        mend_header(m);
    /* The byte is padding there, and may be anything elsewhere. */
    if (get(m, 4, 4) == 3 && get(m, 100, 4) > FUZZ_MODE_PLACE)
        mutation_choose_mode(m);
}
