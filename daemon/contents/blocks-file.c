/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of block digests: records as bytes, and bytes as records that were checked. */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "daemon/contents/blocks.h"
#include "lib/cleanup.h"

#define MAGIC "QCABLOCK"
#define VERSION 1

struct blocks_reader {
    FILE *file;
    struct blocks_header header;
    size_t digest_size;
    uint64_t next;              /* block */
    uint64_t end;               /* block behind the last one; UINT64_MAX while partial */
    uint64_t offset;            /* byte behind the last sound record */
    uint8_t digests[BLOCKS_RUN_MAX * BLOCKS_WHOLE];
};

static void put32(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

static void put64(uint8_t *bytes, uint64_t value)
{
    put32(bytes, (uint32_t)value);
    put32(bytes + 4, (uint32_t)(value >> 32));
}

static uint32_t get32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint64_t get64(const uint8_t *bytes)
{
    return get32(bytes) | (uint64_t)get32(bytes + 4) << 32;
}

static uint32_t crc(uint32_t before, const uint8_t *bytes, size_t n)
{
    return (uint32_t)crc32(before, bytes, (unsigned)n);
}

/* ---- writing -------------------------------------------------------------------------------- */

void blocks_header_encode(const struct blocks_header *header,
                          uint8_t ret_bytes[static BLOCKS_HEADER_SIZE])
{
    memset(ret_bytes, 0, BLOCKS_HEADER_SIZE);
    memcpy(ret_bytes, MAGIC, 8);
    put32(ret_bytes + 8, VERSION);
    put32(ret_bytes + 12, QCA_BLOCK_SIZE);
    put64(ret_bytes + 16, header->identity.fsid);
    put64(ret_bytes + 24, header->identity.inode);
    put64(ret_bytes + 32, (uint64_t)header->identity.btime);
    put64(ret_bytes + 40, header->size);
    put64(ret_bytes + 48, (uint64_t)header->mtime);
    put64(ret_bytes + 56, (uint64_t)header->ctime);
    put64(ret_bytes + 64, header->virtual_size);
    put32(ret_bytes + 72, header->complete ? BLOCKS_DIGEST : BLOCKS_WHOLE);
    put32(ret_bytes + 76, header->complete);
    memcpy(ret_bytes + 80, header->digest, sizeof(header->digest));
    put32(ret_bytes + 124, crc(0, ret_bytes, 124));
}

static uint32_t record_crc(const uint8_t *head, const uint8_t *digests, size_t n)
{
    uint32_t sum = crc(crc(0, head, 4), head + 8, BLOCKS_RECORD_SIZE - 8);

    return n > 0 ? crc(sum, digests, n) : sum;
}

size_t blocks_record_encode(enum blocks_kind kind, uint64_t first, uint64_t n,
                            const uint8_t *digests, size_t size, uint8_t *ret_bytes)
{
    size_t length = kind == BLOCKS_DATA ? (size_t)n * size : 0;

    put32(ret_bytes, kind);
    put64(ret_bytes + 8, first);
    put64(ret_bytes + 16, n);
    if (length > 0)
        memcpy(ret_bytes + BLOCKS_RECORD_SIZE, digests, length);
    put32(ret_bytes + 4, record_crc(ret_bytes, ret_bytes + BLOCKS_RECORD_SIZE, length));
    return BLOCKS_RECORD_SIZE + length;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* 1; 0 when the file ends before the first byte. */
static int read_exactly(FILE *file, void *buf, size_t n)
{
    size_t got = fread(buf, 1, n, file);

    if (got == n)
        return 1;
    if (ferror(file))
        return errno > 0 ? -errno : -EIO;
    return got == 0 ? 0 : -EBADMSG;
}

static int header_decode(const uint8_t *bytes, struct blocks_reader *reader)
{
    struct blocks_header *header = &reader->header;

    if (memcmp(bytes, MAGIC, 8) != 0 || get32(bytes + 124) != crc(0, bytes, 124) ||
        get32(bytes + 8) != VERSION || get32(bytes + 12) != QCA_BLOCK_SIZE || get32(bytes + 76) > 1)
        return -EBADMSG;
    header->identity.fsid = get64(bytes + 16);
    header->identity.inode = get64(bytes + 24);
    header->identity.btime = (int64_t)get64(bytes + 32);
    header->size = get64(bytes + 40);
    header->mtime = (int64_t)get64(bytes + 48);
    header->ctime = (int64_t)get64(bytes + 56);
    header->virtual_size = get64(bytes + 64);
    header->complete = get32(bytes + 76);
    memcpy(header->digest, bytes + 80, sizeof(header->digest));
    reader->digest_size = header->complete ? BLOCKS_DIGEST : BLOCKS_WHOLE;
    if (get32(bytes + 72) != reader->digest_size || header->virtual_size > INT64_MAX)
        return -EBADMSG;
    reader->end = header->complete ? (header->virtual_size + QCA_BLOCK_SIZE - 1) / QCA_BLOCK_SIZE
                                   : UINT64_MAX;
    return 0;
}

static void blocks_reader_freep(struct blocks_reader **reader)
{
    blocks_reader_free(*reader);
}

int blocks_reader_new(FILE *file, struct blocks_reader **ret_reader)
{
    _cleanup_(blocks_reader_freep) struct blocks_reader *reader = calloc(1, sizeof(*reader));
    uint8_t bytes[BLOCKS_HEADER_SIZE];
    int r;

    if (!reader)
        return -ENOMEM;
    reader->file = file;
    rewind(file);
    r = read_exactly(file, bytes, sizeof(bytes));
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    r = header_decode(bytes, reader);
    if (r < 0)
        return r;
    reader->offset = BLOCKS_HEADER_SIZE;
    *ret_reader = TAKE_PTR(reader);
    return 0;
}

struct blocks_reader *blocks_reader_free(struct blocks_reader *reader)
{
    free(reader);
    return NULL;
}

const struct blocks_header *blocks_reader_header(const struct blocks_reader *reader)
{
    return &reader->header;
}

size_t blocks_reader_digest_size(const struct blocks_reader *reader)
{
    return reader->digest_size;
}

int blocks_reader_next(struct blocks_reader *reader, struct blocks_run *ret_run)
{
    struct blocks_run run = { .digests = reader->digests };
    uint8_t head[BLOCKS_RECORD_SIZE];
    size_t length = 0;
    uint32_t kind;
    int r;

    if (reader->next == reader->end)        /* nothing may follow */
        return fgetc(reader->file) == EOF ? 0 : -EBADMSG;
    r = read_exactly(reader->file, head, sizeof(head));
    if (r <= 0)
        return r < 0 ? r : reader->header.complete ? -EBADMSG : 0;
    kind = get32(head);
    run.first = get64(head + 8);
    run.n = get64(head + 16);
    if (kind >= _BLOCKS_KIND_MAX || run.first != reader->next || run.n == 0 ||
        run.n > INT64_MAX / QCA_BLOCK_SIZE || run.n > reader->end - reader->next ||
        run.first > INT64_MAX / QCA_BLOCK_SIZE - run.n)
        return -EBADMSG;
    run.kind = (enum blocks_kind)kind;
    if (run.kind == BLOCKS_DATA) {
        if (run.n > BLOCKS_RUN_MAX)
            return -EBADMSG;
        length = (size_t)run.n * reader->digest_size;
        r = read_exactly(reader->file, reader->digests, length);
        if (r <= 0)
            return r < 0 ? r : -EBADMSG;
    }
    if (get32(head + 4) != record_crc(head, reader->digests, length))
        return -EBADMSG;
    reader->next += run.n;
    reader->offset += sizeof(head) + length;
    *ret_run = run;
    return 1;
}

int blocks_partial_end(FILE *file, struct blocks_header *ret_header, uint64_t *ret_next,
                       uint64_t *ret_offset)
{
    _cleanup_(blocks_reader_freep) struct blocks_reader *reader = NULL;
    struct blocks_run run;
    int r = blocks_reader_new(file, &reader);

    if (r < 0)
        return r;
    if (reader->header.complete)
        return -EBADMSG;
    while ((r = blocks_reader_next(reader, &run)) > 0)
        ;
    if (r < 0 && r != -EBADMSG)
        return r;
    *ret_header = reader->header;
    *ret_next = reader->next;
    *ret_offset = reader->offset;
    return 0;
}
