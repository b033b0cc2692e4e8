/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks that what a LUKS header on a raw disk tells of lies in the file: LUKS1 On-Disk Format
 * 1.2.3, figure 1; LUKS2 On-Disk Format 1.0.2, 2.1 (binary header) and 3.3 (segments). A header
 * that is kept apart from its data says 0, and nothing is said of it. */
#include <errno.h>

#include "raw.h"

enum {
    AT_VERSION = 6,
    AT_PAYLOAD = 104,           /* version 1: sectors */
    AT_KEY_BYTES = 108,
    AT_SLOTS = 208,             /* figure 1; of each slot, figure 3 */
    SLOTS = 8,
    SLOT_SIZE = 48,
    AT_SLOT_OFFSET = 40,        /* sectors */
    AT_SLOT_STRIPES = 44,
    HEADER_1_SIZE = AT_SLOTS + SLOTS * SLOT_SIZE,
    BACKUP_ALIGNED = 4096,
    AT_HEADER_SIZE = 8,         /* version 2: bytes, of the binary header and its text */
    HEADER_SIZE = 4096,         /* version 2: the binary header; the text is behind it */
    AREA_MIN = 16 << 10,        /* 2.2, table 1: the sizes that there are */
    AREA_MAX = 4 << 20,
    DEPTH_MAX = 64,             /* of the text; it needs 5 */
    DEPTH_SEGMENT = 3,
    NAME_MAX_SIZE = 24,         /* bytes of a key or number that matters, with its NUL */
};

struct text {
    const char *at, *end;
};

/* A segment as the text has it so far. */
struct segment {
    char offset[NAME_MAX_SIZE], size[NAME_MAX_SIZE];
    bool flags;                 /* of a reencryption that is under way: a copy, kept for later */
};

struct luks2 {
    struct qca_image *image;
    struct check *check;
    char keys[DEPTH_SEGMENT + 1][NAME_MAX_SIZE];        /* the last key, by depth */
    unsigned depth;
    struct segment segment;
};

static int luks_issue(struct check *check, uint64_t field, uint64_t offset, uint64_t size)
{
    return raw_issue(check, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE, QCA_TABLE_CRYPT, 0, field, offset,
                     size);
}

/* Decimal digits alone, as the text writes 64 bits (3.3). */
static bool number_get(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9' ||
            __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            add_overflows(value, (uint64_t)(*text - '0'), &value))
            return false;
    *ret_value = value;
    return true;
}

static int segment_end(struct luks2 *luks)
{
    const struct segment *segment = &luks->segment;
    uint64_t offset, size = 0;

    if (segment->flags || !number_get(segment->offset, &offset) || offset == 0 ||
        (strcmp(segment->size, "dynamic") != 0 && !number_get(segment->size, &size)))
        return 0;
    if (!raw_is_outside(luks->image, offset, size))
        return 0;
    return luks_issue(luks->check, HEADER_SIZE, offset, size);
}

/* The rest of a string, up to its quote; one that is too long to matter becomes "". */
static void string_get(struct text *text, char ret_string[NAME_MAX_SIZE])
{
    size_t n = 0;

    for (; text->at < text->end && *text->at != '"'; text->at++) {
        if (*text->at == '\\' && text->at + 1 < text->end)
            text->at++;
        if (n < NAME_MAX_SIZE)
            ret_string[n++] = *text->at;
    }
    if (text->at < text->end)
        text->at++;
    ret_string[n < NAME_MAX_SIZE ? n : 0] = '\0';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A string of the text: a key, or the value of the key before it. */
static void string_take(struct luks2 *luks, struct text *text)
{
    char string[NAME_MAX_SIZE];
    const char *key;

    string_get(text, string);
    while (text->at < text->end && is_space(*text->at))
        text->at++;
    if (luks->depth == 0 || luks->depth > DEPTH_SEGMENT)
        return;
    key = luks->keys[luks->depth];
    if (text->at < text->end && *text->at == ':') {
        memcpy(luks->keys[luks->depth], string, sizeof(string));
        if (luks->depth == DEPTH_SEGMENT && strcmp(string, "flags") == 0)
            luks->segment.flags = true;
    } else if (luks->depth == DEPTH_SEGMENT && strcmp(key, "offset") == 0)
        memcpy(luks->segment.offset, string, sizeof(string));
    else if (luks->depth == DEPTH_SEGMENT && strcmp(key, "size") == 0)
        memcpy(luks->segment.size, string, sizeof(string));
}

/* { "segments": { "0": { "offset": "16777216", "size": "dynamic", ... }, ... }, ... } */
static int segments_check(struct luks2 *luks, struct text text)
{
    int r = 0;

    while (r == 0 && text.at < text.end && *text.at != '\0') {
        char c = *text.at++;

        if (c == '"')
            string_take(luks, &text);
        else if (c == '{' || c == '[') {
            if (++luks->depth > DEPTH_MAX)
                return 0;
            if (luks->depth == DEPTH_SEGMENT)
                luks->segment = (struct segment) { .flags = false };
        } else if (c == '}' || c == ']') {
            if (luks->depth == DEPTH_SEGMENT && strcmp(luks->keys[1], "segments") == 0)
                r = segment_end(luks);
            if (luks->depth-- <= 1)
                return r;
        }
    }
    return r;
}

static int check_version_2(struct qca_image *image, struct check *check, const uint8_t *header)
{
    uint64_t area = be64_get(header + AT_HEADER_SIZE);
    struct luks2 luks = { .image = image, .check = check };
    _cleanup_free_ char *text = NULL;
    int r;

    if (area < AREA_MIN || area > AREA_MAX || (area & (area - 1)) != 0)
        return 0;
    /* the second copy follows the first one */
    if (raw_is_outside(image, area, area))
        return luks_issue(check, AT_HEADER_SIZE, area, area);
    text = malloc(area - HEADER_SIZE);
    if (!text)
        return -ENOMEM;
    r = raw_read(image, check, HEADER_SIZE, text, area - HEADER_SIZE, "the LUKS header");
    if (r < 0)
        return r;
    return segments_check(&luks, (struct text) { text, text + (area - HEADER_SIZE) });
}

/* A header that cryptsetup's luksHeaderBackup wrote ends with the keys' material, in whole pages
 * (cryptsetup, lib/luks1/keymanage.c, LUKS_hdr_backup()): its data were never there. */
static bool is_header_backup(const struct qca_image *image, const uint8_t *header)
{
    uint64_t size, end = 0;

    for (unsigned i = 0; i < SLOTS; i++) {
        const uint8_t *slot = header + AT_SLOTS + i * SLOT_SIZE;

        size = (uint64_t)be32_get(header + AT_KEY_BYTES) * be32_get(slot + AT_SLOT_STRIPES);
        if (size > AREA_MAX)
            return false;
        size += (uint64_t)be32_get(slot + AT_SLOT_OFFSET) * RAW_SECTOR;
        if (size > end)
            end = size;
    }
    return end > HEADER_1_SIZE && image->info.file_size == round_up(end, BACKUP_ALIGNED);
}

int luks_check_raw(struct qca_image *image, struct check *check)
{
    uint8_t header[HEADER_1_SIZE];
    uint64_t payload;
    int r = raw_read(image, check, 0, header, sizeof(header), "the LUKS header");

    if (r < 0)
        return r;
    if (be16_get(header + AT_VERSION) == 2)
        return check_version_2(image, check, header);
    payload = (uint64_t)be32_get(header + AT_PAYLOAD) * RAW_SECTOR;
    return payload > 0 && raw_is_outside(image, payload, 0) && !is_header_backup(image, header)
               ? luks_issue(check, AT_PAYLOAD, payload, 0) : 0;
}
