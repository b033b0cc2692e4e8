/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two headers of a VHDX: [MS-VHDX] 2.2.2. */
#include "vhdx.h"

#include "bytes.h"

enum {
    HEADER_1 = 64 << 10,
    HEADER_2 = 128 << 10,
    HEADER_SIZE = 4096,
    AT_SEQUENCE = 8,
    AT_DATA_GUID = 32,
    AT_LOG_GUID = 48,
    AT_LOG_VERSION = 64,
    AT_VERSION = 66,
    AT_LOG_LENGTH = 68,
    AT_LOG_OFFSET = 72,
    VERSION = 1,
};

static int read_header(struct vhdx_scan *scan, uint64_t offset, uint8_t header[HEADER_SIZE],
                       bool *ret_valid)
{
    int r = vhdx_read(scan, offset, header, HEADER_SIZE, "the VHDX header");

    if (r < 0)
        return r;
    *ret_valid = false;
    if (memcmp(header, "head", 4) != 0 || !vhdx_checksum_fits(header, HEADER_SIZE))
        return vhdx_issue(scan, QCA_ISSUE_CHECKSUM_WRONG, QCA_TABLE_HEADER, offset, HEADER_SIZE);
    if (le16_get(header + AT_VERSION) != VERSION)
        return vhdx_issue(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER, offset + AT_VERSION, 2);
    *ret_valid = true;
    return 0;
}

/* QEMU (block/vhdx-log.c) demands the same of a log that is empty, but for its length. */
static int take_log(struct vhdx_scan *scan, const uint8_t *header, uint64_t offset)
{
    struct vhdx_region log = { le64_get(header + AT_LOG_OFFSET),
                               le32_get(header + AT_LOG_LENGTH) };

    memcpy(scan->fields.data_guid, header + AT_DATA_GUID, VHDX_GUID_SIZE);
    memcpy(scan->fields.log_guid, header + AT_LOG_GUID, VHDX_GUID_SIZE);
    if (le16_get(header + AT_LOG_VERSION) != 0)
        return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER,
                           offset + AT_LOG_VERSION, 2);
    if (log.size % VHDX_MIB != 0)
        return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER,
                           offset + AT_LOG_LENGTH, 4);
    if (log.offset < VHDX_MIB || log.offset % VHDX_MIB != 0)
        return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER,
                           offset + AT_LOG_OFFSET, 8);
    if (!vhdx_is_inside(scan->image, log))
        return vhdx_refuse(scan, QCA_ISSUE_TABLE_OUT_OF_FILE, QCA_TABLE_LOG, log.offset, log.size);
    scan->fields.log = log;
    return 0;
}

/* The valid one with the higher sequence number is current; when they are equal, that is an error
 * unless the headers are, as Disk2vhd writes them (QEMU, block/vhdx.c). */
int vhdx_scan_headers(struct vhdx_scan *scan)
{
    uint8_t first[HEADER_SIZE], second[HEADER_SIZE];
    bool first_valid, second_valid, by_second;
    uint64_t sequences[2];
    int r = read_header(scan, HEADER_1, first, &first_valid);

    if (r == 0)
        r = read_header(scan, HEADER_2, second, &second_valid);
    if (r < 0)
        return r;
    if (!first_valid && !second_valid) {
        scan->refused = true;   /* the issues are told */
        return 0;
    }
    sequences[0] = le64_get(first + AT_SEQUENCE);
    sequences[1] = le64_get(second + AT_SEQUENCE);
    if (first_valid && second_valid && sequences[0] == sequences[1] &&
        memcmp(first, second, HEADER_SIZE) != 0)
        return vhdx_refuse(scan, QCA_ISSUE_COPY_DIFFERS, QCA_TABLE_HEADER, HEADER_2, HEADER_SIZE);
    by_second = second_valid && (!first_valid || sequences[1] > sequences[0]);
    return take_log(scan, by_second ? second : first, by_second ? HEADER_2 : HEADER_1);
}
