/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mutations that know the formats of others: one field of a header, or an entry of a table that the
 * header leads to, set to a value that matters; checksums are mended most times.
 *
 * Layouts: those that the files of lib/ cite. */
#include "mutate.h"

#include <string.h>
#include <zlib.h>

enum {
    SECTOR = 512,
    TABLES_MAX = 3,
    SPARE = 16,                 /* mutations without a checksum that is right: one in so many */
};

/* Where a table lies: at a number of the header, in units, or at a fixed place. */
struct table {
    uint16_t at;                /* the field, 0: none */
    uint8_t at_size;            /* bytes of the field; 0: at itself is the place */
    uint8_t entry;              /* bytes of an entry */
    uint8_t below;              /* bytes of an entry of the table that an entry leads to; 0: none */
    uint32_t unit;              /* bytes that the field counts in */
    uint32_t entry_unit;        /* and an entry */
};

struct kind {
    const char *magic;
    uint8_t n_magic;
    uint16_t at;                /* the magic's place; FROM_END: of the last sector */
    bool big_endian;
    bool mode;                  /* the byte that says how an input is read is padding */
    const struct field *fields;
    uint8_t n_fields;
    struct table tables[TABLES_MAX];
    void (*mend)(struct mutation *m);
};

#define FROM_END UINT16_MAX
#define MAGIC(text) .magic = (text), .n_magic = sizeof(text) - 1
#define FIELDS(array) .fields = (array), .n_fields = sizeof(array) / sizeof(*(array))

/* ---- VMDK ---------------------------------------------------------------------------------- */

static const struct field sparse_fields[] = {
    { 4, 4 },  { 8, 4 },  { 12, 8 }, { 20, 8 }, { 28, 8 }, { 36, 8 }, { 44, 4 }, { 48, 8 },
    { 56, 8 }, { 64, 8 }, { 72, 1 }, { 73, 1 }, { 74, 1 }, { 75, 1 }, { 76, 1 }, { 77, 2 },
};

static void sparse_mend(struct mutation *m)
{
    static const uint8_t newlines[] = { '\n', ' ', '\r', '\n' };

    clamp(m, 4, 4, 1, 3);
    clamp(m, 12, 8, 1, 1 << 20);
    clamp(m, 44, 4, 1, 4096);
    if (m->size > 77)
        memcpy(m->data + 73, newlines, sizeof(newlines));
}

static const struct field cowd_fields[] = {
    { 4, 4 }, { 8, 4 }, { 12, 4 }, { 16, 4 }, { 20, 4 }, { 24, 4 }, { 28, 4 }, { 1132, 4 },
};

static void cowd_mend(struct mutation *m)
{
    clamp(m, 4, 4, 1, 1);
    clamp(m, 12, 4, 1, 1 << 22);
    clamp(m, 24, 4, 1, 1024);
}

static const struct field se_fields[] = {
    { 8, 8 },   { 16, 8 },  { 24, 8 },  { 32, 8 },  { 40, 8 },  { 80, 8 },  { 88, 8 },
    { 96, 8 },  { 104, 8 }, { 112, 8 }, { 120, 8 }, { 128, 8 }, { 136, 8 }, { 144, 8 },
    { 152, 8 }, { 160, 8 }, { 168, 8 }, { 176, 8 }, { 184, 8 }, { 192, 8 }, { 200, 8 },
    { 512, 8 }, { 520, 8 }, { 528, 8 }, { 536, 1 },
};

static void se_mend(struct mutation *m)
{
    put(m, (struct field){ 8, 8 }, 0x200000001);
    clamp(m, 16, 8, 1, 1 << 22);
    put(m, (struct field){ 24, 8 }, 8);
    put(m, (struct field){ 32, 8 }, 64);
    put(m, (struct field){ 512, 8 }, 0xcafecafe);
}

/* ---- VHD ----------------------------------------------------------------------------------- */

static const struct field vhd_fields[] = {
    { 8, 4 },   { 12, 4 },  { 16, 8 },  { 28, 4 },  { 36, 4 },  { 40, 8 },  { 48, 8 },
    { 56, 4 },  { 60, 4 },  { 64, 4 },  { 68, 8 },  { 84, 1 },  { 520, 8 }, { 528, 8 },
    { 536, 4 }, { 540, 4 }, { 544, 4 }, { 548, 4 }, { 552, 8 }, { 568, 4 }, { 576, 8 },
    { 1088, 4 }, { 1092, 4 }, { 1096, 4 }, { 1104, 8 }, { 1112, 8 }, { 1120, 8 },
};

static void vhd_sum(struct mutation *m, uint64_t place, size_t size, size_t at)
{
    uint32_t sum = 0;

    if (!inside(m, (struct field){ place + size - 1, 1 }))
        return;
    put(m, (struct field){ place + at, 4 }, 0);
    for (size_t i = 0; i < size; i++)
        sum += m->data[place + i];
    put(m, (struct field){ place + at, 4 }, ~sum);
}

static void vhd_mend(struct mutation *m)
{
    uint64_t header = get(m, 16, 8);

    clamp(m, 48, 8, 1, 1 << 26);
    clamp(m, 60, 4, 2, 4);
    if (header <= m->size && get(m, header, 8) == get(m, SECTOR, 8)) {
        clamp(m, header + 28, 4, 1, 1 << 16);
        vhd_sum(m, header, 1024, 36);
    }
    vhd_sum(m, 0, SECTOR, 64);
    if (m->size >= SECTOR)
        vhd_sum(m, m->size - SECTOR, SECTOR, 64);
}

/* ---- VDI, QED, Parallels, qcow version 1 --------------------------------------------------- */

static const struct field vdi_fields[] = {
    { 0x44, 4 },  { 0x48, 4 },  { 0x4c, 4 },  { 0x50, 4 },  { 0x154, 4 }, { 0x158, 4 },
    { 0x164, 4 }, { 0x168, 4 }, { 0x170, 8 }, { 0x178, 4 }, { 0x17c, 4 }, { 0x180, 4 },
    { 0x184, 4 }, { 0x188, 8 }, { 0x198, 8 }, { 0x1a8, 8 }, { 0x1b8, 8 },
};

static void vdi_mend(struct mutation *m)
{
    put(m, (struct field){ 0x44, 4 }, 0x00010001);
    clamp(m, 0x4c, 4, 1, 4);
    clamp(m, 0x180, 4, 0, 1 << 16);
    clamp(m, 0x170, 8, 0, get(m, 0x180, 4) * get(m, 0x178, 4));
}

static const struct field qed_fields[] = {
    { 4, 4 },  { 8, 4 },  { 12, 4 }, { 16, 8 }, { 24, 8 },
    { 32, 8 }, { 40, 8 }, { 48, 8 }, { 56, 4 }, { 60, 4 },
};

static void qed_mend(struct mutation *m)
{
    if (get(m, 4, 4) != 4096 && pick(m, 64) != 0)
        put(m, (struct field){ 4, 4 }, 4096);           /* the least */
    clamp(m, 8, 4, 1, 16);
    clamp(m, 12, 4, 1, 16);
    put(m, (struct field){ 16, 8 }, get(m, 16, 8) & 7);
    clamp(m, 48, 8, 0, UINT64_C(1) << 27);
}

static const struct field parallels_fields[] = {
    { 16, 4 }, { 20, 4 }, { 24, 4 }, { 28, 4 }, { 32, 4 },
    { 36, 8 }, { 44, 4 }, { 48, 4 }, { 52, 4 }, { 56, 8 },
};

static void parallels_mend(struct mutation *m)
{
    put(m, (struct field){ 16, 4 }, 2);
    clamp(m, 28, 4, 1, 4096);
    clamp(m, 32, 4, 0, 1 << 16);
    clamp(m, 36, 8, 0, get(m, 28, 4) * get(m, 32, 4));
}

static const struct field qcow1_fields[] = {
    { 8, 8 }, { 16, 4 }, { 20, 4 }, { 24, 8 }, { 32, 1 }, { 33, 1 }, { 36, 4 }, { 40, 8 },
};

static void qcow1_mend(struct mutation *m)
{
    clamp(m, 16, 4, 0, 64);
    clamp(m, 24, 8, 2, UINT64_C(1) << 26);
    clamp(m, 32, 1, 9, 16);
    clamp(m, 33, 1, 6, 13);
    clamp(m, 36, 4, 0, pick(m, 16) ? 0 : 1);
}

/* ---- raw disks and archives ---------------------------------------------------------------- */

static const struct field gpt_fields[] = {
    { 8, 4 },  { 12, 4 }, { 24, 8 }, { 32, 8 }, { 40, 8 },
    { 48, 8 }, { 72, 8 }, { 80, 4 }, { 84, 4 }, { 88, 4 },
};

static void gpt_header_mend(struct mutation *m, uint64_t at)
{
    uint64_t entries = get(m, at + 72, 8), size = get(m, at + 80, 4) * get(m, at + 84, 4);
    uint64_t length = get(m, at + 12, 4);

    if (entries < m->size / SECTOR && size > 0 && size <= m->size - entries * SECTOR)
        put(m, (struct field){ at + 88, 4 }, crc32(0, m->data + entries * SECTOR, (uInt)size));
    if (length < 92 || length > SECTOR || !inside(m, (struct field){ at + length - 1, 1 }))
        return;
    put(m, (struct field){ at + 16, 4 }, 0);
    put(m, (struct field){ at + 16, 4 }, crc32(0, m->data + at, (uInt)length));
}

static void gpt_mend(struct mutation *m)
{
    uint64_t other = get(m, SECTOR + 32, 8);

    clamp(m, SECTOR + 12, 4, 92, SECTOR);
    clamp(m, SECTOR + 80, 4, 0, 512);
    gpt_header_mend(m, SECTOR);
    if (other < m->size / SECTOR && other > 1 && get(m, other * SECTOR, 8) == get(m, SECTOR, 8))
        gpt_header_mend(m, other * SECTOR);
}

static const struct field mbr_fields[] = {
    { 450, 1 }, { 454, 4 }, { 458, 4 }, { 466, 1 }, { 470, 4 }, { 474, 4 }, { 486, 4 }, { 502, 4 },
};

/* The sums of all members that lie one after the other. */
static void tar_mend(struct mutation *m)
{
    uint64_t at = 0;

    for (unsigned n = 0; n < 64 && at + SECTOR <= m->size && m->data[at] != 0; n++) {
        uint64_t size = 0;
        unsigned sum = 0;

        memset(m->data + at + 148, ' ', 8);
        for (unsigned i = 0; i < SECTOR; i++)
            sum += m->data[at + i];
        for (unsigned i = 0; i < 6; i++)
            m->data[at + 148 + i] = (uint8_t)('0' + (sum >> 3 * (5 - i) & 7));
        m->data[at + 154] = 0;
        for (unsigned i = 0; i < 11; i++)
            size = size << 3 | (m->data[at + 124 + i] & 7);
        at += SECTOR + round_up(min_u64(size, m->size), SECTOR);
    }
}

static const struct field tar_fields[] = {
    { 0, 1 }, { 124, 8 }, { 132, 4 }, { 156, 1 }, { 257, 4 }, { 345, 4 }, { 636, 8 }, { 668, 1 },
};

static const struct field luks_fields[] = {
    { 6, 2 }, { 8, 8 }, { 104, 4 }, { 108, 4 }, { 208, 4 }, { 248, 4 }, { 252, 4 }, { 256, 8 },
};

/* ---- all of them --------------------------------------------------------------------------- */

static const struct kind kinds[] = {
    { MAGIC("KDMV"), .mode = true, FIELDS(sparse_fields), .mend = sparse_mend,
      .tables = { { 56, 8, 4, 4, SECTOR, SECTOR }, { 48, 8, 4, 4, SECTOR, SECTOR } } },
    { MAGIC("COWD"), .mode = true, FIELDS(cowd_fields), .mend = cowd_mend,
      .tables = { { 20, 4, 4, 4, SECTOR, SECTOR } } },
    { MAGIC("\xbe\xba\xfe\xca\0\0\0\0"), FIELDS(se_fields), .mend = se_mend,
      .tables = { { 128, 8, 8, 0, SECTOR, 1 }, { 144, 8, 8, 0, SECTOR, 1 } } },
    { MAGIC("conectix"), .big_endian = true, .mode = true, FIELDS(vhd_fields), .mend = vhd_mend,
      .tables = { { SECTOR + 16, 8, 4, 1, 1, SECTOR } } },
    { MAGIC("conectix"), .at = FROM_END, .big_endian = true, .mend = vhd_mend },
    { MAGIC("\x7f\x10\xda\xbe"), .at = 0x40, .mode = true, FIELDS(vdi_fields), .mend = vdi_mend,
      .tables = { { 0x154, 4, 4, 0, 1, 1 } } },
    { MAGIC("QED\0"), .mode = true, FIELDS(qed_fields), .mend = qed_mend,
      .tables = { { 40, 8, 8, 8, 1, 1 } } },
    { MAGIC("WithoutFreeSpace"), FIELDS(parallels_fields), .mend = parallels_mend,
      .tables = { { 64, 0, 4, 0, 1, 1 }, { 56, 8, 8, 0, SECTOR, SECTOR } } },
    { MAGIC("WithouFreSpacExt"), FIELDS(parallels_fields), .mend = parallels_mend,
      .tables = { { 64, 0, 4, 0, 1, 1 }, { 56, 8, 8, 0, SECTOR, SECTOR } } },
    { MAGIC("QFI\xfb\0\0\0\1"), .big_endian = true, FIELDS(qcow1_fields), .mend = qcow1_mend,
      .tables = { { 40, 8, 8, 8, 1, 1 } } },
    { MAGIC("LUKS\xba\xbe"), .big_endian = true, FIELDS(luks_fields) },
    { MAGIC("ustar"), .at = 257, FIELDS(tar_fields), .mode = true, .mend = tar_mend },
    { MAGIC("EFI PART"), .at = SECTOR, FIELDS(gpt_fields), .mode = true, .mend = gpt_mend,
      .tables = { { SECTOR + 72, 8, 8, 0, SECTOR, 1 } } },
    { MAGIC("\x55\xaa"), .at = 510, FIELDS(mbr_fields), .mode = true },
};

enum { N_KINDS = sizeof(kinds) / sizeof(*kinds) };

static uint64_t magic_place(const struct mutation *m, const struct kind *kind)
{
    return kind->at == FROM_END ? max_u64(m->size, SECTOR) - SECTOR : kind->at;
}

static bool has_magic(const struct mutation *m, const struct kind *kind)
{
    uint64_t at = magic_place(m, kind);

    return at < m->size && kind->n_magic <= m->size - at &&
           memcmp(m->data + at, kind->magic, kind->n_magic) == 0;
}

int foreign_kind(const struct mutation *m)
{
    for (int i = 0; i < N_KINDS; i++)
        if (has_magic(m, &kinds[i]))
            return i;
    return -1;
}

/* An entry of the table, or of one that an entry leads to; most tables of an input hold little
 * behind their beginning. */
static struct field entry_of(struct mutation *m, const struct table *table)
{
    uint64_t entries = pick(m, 2) ? 8 : 128;
    uint64_t place = table->at_size ? get(m, table->at, table->at_size) * table->unit : table->at;
    struct field field = { place + pick(m, entries) * table->entry, table->entry };

    if (table->below == 0 || pick(m, 3) == 0)
        return field;
    place = get(m, field.offset, field.size) * table->entry_unit;
    return (struct field){ place + pick(m, entries) * table->below, table->below };
}

static struct field field_of_any(struct mutation *m, const struct kind *kind)
{
    unsigned tables = 0;
    uint64_t which;

    while (tables < TABLES_MAX && kind->tables[tables].entry > 0)
        tables++;
    which = pick(m, tables > 0 ? 4 : 1);
    if (which > 0)
        return entry_of(m, &kind->tables[pick(m, tables)]);
    if (kind->n_fields > 0 && pick(m, 8) != 0) {
        struct field field = kind->fields[pick(m, kind->n_fields)];

        return field;
    }
    return (struct field){ pick(m, m->size) & ~UINT64_C(3), 4 };
}

/* A value that a field of this size may well be judged by. */
static uint64_t value_for(struct mutation *m, const struct kind *kind, struct field field)
{
    uint64_t old = get(m, field.offset, field.size);

    switch (pick(m, 10)) {
    case 0:
        return old ^ UINT64_C(1) << pick(m, 8 * field.size);
    case 1:
        return old + 1;
    case 2:
        return old - 1;
    case 3:
        return pick(m, 4);
    case 4:
        return UINT64_MAX >> pick(m, 8 * field.size);
    case 5:
        return pick(m, m->size / SECTOR + 2);
    case 6:
        return (pick(m, m->size / SECTOR + 2) * SECTOR) | pick(m, 16) << 60;
    case 7: {
        struct field other = field_of_any(m, kind);

        return other.offset >> (pick(m, 2) ? 9 : 0);
    }
    case 8: {
        struct field other = field_of_any(m, kind);

        return get(m, other.offset, other.size);
    }
    default:
        return old + (pick(m, 2) ? 4096 : m->size);
    }
}

void foreign_mutate(struct mutation *m, int number)
{
    const struct kind *kind = &kinds[number];

    m->big_endian = kind->big_endian;
    for (uint64_t i = pick(m, 3) + 1; i > 0; i--) {
        struct field field = field_of_any(m, kind);

        put(m, field, value_for(m, kind, field));
    }
}

void foreign_mend(struct mutation *m, int number)
{
    const struct kind *kind = &kinds[number];
    uint64_t at = magic_place(m, kind);

    m->big_endian = kind->big_endian;
    for (unsigned i = 0; i < kind->n_magic; i++)
        put(m, (struct field){ at + i, 1 }, (uint8_t)kind->magic[i]);
    if (kind->mode && m->size > FUZZ_MODE_PLACE)
        mutation_choose_mode(m);
    if (kind->mend && pick(m, SPARE) != 0)
        kind->mend(m);
}
