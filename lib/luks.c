/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Validates a LUKS version 1 header: "LUKS1 On-Disk Format Specification" 1.2.3, figures 1 to 4,
 * and the bounds that QEMU's crypto/block-luks.c demands beyond it. */
#include "luks.h"

#include <string.h>

#include "bytes.h"
#include "qcow2.h"

enum {
    HEADER_SIZE = 592,
    SECTOR = 512,
    SLOTS = 8,
    SLOT_SIZE = 48,
    STRIPES = 4000,
    KEY_MATERIAL_MIN = 4096,    /* bytes: QEMU keeps the first page for the header */
    KEY_BYTES_MAX = 512,        /* no cipher has more than 64; a generous bound */
};

#define SLOT_ENABLED UINT32_C(0x00ac71f3)
#define SLOT_DISABLED UINT32_C(0x0000dead)

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

/* Offsets of the fields in the header. */
enum {
    AT_VERSION = 6,
    AT_CIPHER_NAME = 8,
    AT_CIPHER_MODE = 40,
    AT_HASH_SPEC = 72,
    AT_PAYLOAD = 104,           /* sectors */
    AT_KEY_BYTES = 108,
    AT_ITERATIONS = 164,
    AT_SLOTS = 208,
    NAME_SIZE = 32,
};

struct slot {
    uint32_t state;
    uint32_t iterations;
    uint64_t start, end;        /* bytes, of the key material */
    uint32_t stripes;
};

struct luks {
    struct qca_image *image;
    struct check *check;
    uint64_t payload;           /* bytes */
    uint32_t key_bytes;
    uint8_t header[HEADER_SIZE];
};

static int luks_issue(const struct luks *luks, enum qca_issue_kind kind, uint64_t field,
                      uint64_t host_offset, uint64_t host_length)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_CRYPT);

    issue.table_offset = luks->image->info.crypt_header_offset;
    issue.index = field;
    issue.host_offset = host_offset;
    issue.host_length = host_length;
    return check_issue(luks->check, &issue);
}

static bool name_is_valid(const struct luks *luks, unsigned at)
{
    return luks->header[at] != 0 && memchr(luks->header + at, 0, NAME_SIZE) != NULL;
}

static int check_fields(struct luks *luks)
{
    const uint8_t *header = luks->header;
    const struct qca_image_info *info = &luks->image->info;
    const struct { bool wrong; unsigned field; } fields[] = {
        { memcmp(header, magic, sizeof(magic)) != 0, 0 },
        { be16_get(header + AT_VERSION) != 1, AT_VERSION },
        { !name_is_valid(luks, AT_CIPHER_NAME), AT_CIPHER_NAME },
        { !name_is_valid(luks, AT_CIPHER_MODE), AT_CIPHER_MODE },
        { !name_is_valid(luks, AT_HASH_SPEC), AT_HASH_SPEC },
        { luks->payload < KEY_MATERIAL_MIN || luks->payload > info->crypt_header_length,
          AT_PAYLOAD },
        { luks->key_bytes == 0 || luks->key_bytes > KEY_BYTES_MAX, AT_KEY_BYTES },
        { be32_get(header + AT_ITERATIONS) == 0, AT_ITERATIONS },
    };

    for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
        int r = fields[i].wrong ? luks_issue(luks, QCA_ISSUE_LUKS_HEADER_INVALID, fields[i].field,
                                             QCA_NO_OFFSET, 0)
                                : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

static struct slot slot_get(const struct luks *luks, unsigned number)
{
    const uint8_t *at = luks->header + AT_SLOTS + number * SLOT_SIZE;
    struct slot slot = {
        .state = be32_get(at),
        .iterations = be32_get(at + 4),
        .start = (uint64_t)be32_get(at + 40) * SECTOR,
        .stripes = be32_get(at + 44),
    };

    slot.end = slot.start + round_up((uint64_t)luks->key_bytes * slot.stripes, SECTOR);
    return slot;
}

static bool slots_overlap(const struct slot *a, const struct slot *b)
{
    return a->start < b->end && b->start < a->end;
}

/* QEMU judges slots that are not in use, too: it refuses to open what has a bad one. */
static bool slot_is_valid(const struct luks *luks, unsigned number)
{
    struct slot slot = slot_get(luks, number);

    if (slot.state != SLOT_ENABLED && slot.state != SLOT_DISABLED)
        return false;
    if (slot.stripes != STRIPES || slot.start < KEY_MATERIAL_MIN || slot.end > luks->payload)
        return false;
    if (slot.state == SLOT_ENABLED && slot.iterations == 0)
        return false;
    for (unsigned i = 0; i < number; i++) {
        struct slot other = slot_get(luks, i);

        if (slots_overlap(&slot, &other))
            return false;
    }
    return true;
}

static int check_slots(struct luks *luks)
{
    bool any = false;

    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot slot = slot_get(luks, i);
        int r = 0;

        any |= slot.state == SLOT_ENABLED;
        if (!slot_is_valid(luks, i))
            r = luks_issue(luks, QCA_ISSUE_LUKS_SLOT_INVALID, AT_SLOTS + i * SLOT_SIZE,
                           luks->image->info.crypt_header_offset + slot.start,
                           slot.end - slot.start);
        if (r < 0)
            return r;
    }
    return any ? 0 : luks_issue(luks, QCA_ISSUE_LUKS_SLOTS_EMPTY, AT_SLOTS, QCA_NO_OFFSET, 0);
}

int luks_check(struct qca_image *image, struct check *check)
{
    struct luks luks = { .image = image, .check = check };
    const struct qca_image_info *info = &image->info;
    int r = 0;

    if (info->crypt_header_length >= HEADER_SIZE)
        r = qcow2_read(image, info->crypt_header_offset, luks.header, HEADER_SIZE);
    /* A header that is too short or cannot be had stays zeros here: then its magic is wrong. */
    if (r < 0)
        memset(luks.header, 0, HEADER_SIZE);
    luks.payload = (uint64_t)be32_get(luks.header + AT_PAYLOAD) * SECTOR;
    luks.key_bytes = be32_get(luks.header + AT_KEY_BYTES);
    if (memcmp(luks.header, magic, sizeof(magic)) != 0)
        return luks_issue(&luks, QCA_ISSUE_LUKS_HEADER_INVALID, 0, info->crypt_header_offset,
                          HEADER_SIZE);
    r = check_fields(&luks);
    return r < 0 ? r : check_slots(&luks);
}
