/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes large sparse qcow2 images directly: the same bytes every time, in seconds.
 *
 *   make-image preallocated FILE MIB          as QEMU lays out preallocation=metadata
 *   make-image permuted FILE MIB LEAKS        every guest cluster at a random place, LEAKS clusters leaked among them
 *
 * Clusters of 64 KiB, refcounts of 16 bits, data that is never written. */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER UINT64_C(65536)
#define COPIED (UINT64_C(1) << 63)

enum {
    L2_ENTRIES = 8192,
    BLOCK_ENTRIES = 32768,
    HEADER_LENGTH = 112,
};

struct maker {
    int fd;
    uint64_t guest_clusters;
    uint64_t n_l2, l1_clusters;
    uint64_t refcount_table, l1;    /* clusters */
    uint64_t refcount_block_0;
    uint64_t next;                  /* the first cluster that is free */
};

static void put32(uint8_t *p, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(p, &value, sizeof(value));
}

static void put64(uint8_t *p, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(p, &value, sizeof(value));
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);

    if (!p)
        err(1, "calloc");
    return p;
}

static void write_at(const struct maker *maker, uint64_t cluster, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(maker->fd, (const uint8_t *)data + done, size - done, (off_t)(cluster * CLUSTER + done));

        if (n < 0)
            err(1, "pwrite");
        done += (size_t)n;
    }
}

/* Each refcount block but the first is the first cluster of those that it covers. */
static uint64_t take(struct maker *maker)
{
    if (maker->next % BLOCK_ENTRIES == 0)
        maker->next++;
    return maker->next++;
}

static void begin(struct maker *maker, const char *path, uint64_t mib)
{
    *maker = (struct maker){.guest_clusters = (mib << 20) / CLUSTER};
    maker->n_l2 = (maker->guest_clusters + L2_ENTRIES - 1) / L2_ENTRIES;
    maker->l1_clusters = (maker->n_l2 * 8 + CLUSTER - 1) / CLUSTER;
    maker->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (maker->fd < 0)
        err(1, "%s", path);
    maker->refcount_table = 1;
    maker->refcount_block_0 = 2;
    maker->l1 = 3;
    maker->next = 3 + maker->l1_clusters;
}

static void write_header(const struct maker *maker)
{
    uint8_t header[HEADER_LENGTH + 8] = {0};

    put32(header, 0x514649fb);
    put32(header + 4, 3);
    put32(header + 20, 16);                         /* cluster_bits */
    put64(header + 24, maker->guest_clusters * CLUSTER);
    put32(header + 36, (uint32_t)maker->n_l2);
    put64(header + 40, maker->l1 * CLUSTER);
    put64(header + 48, maker->refcount_table * CLUSTER);
    put32(header + 56, 1);                          /* refcount_table_clusters */
    put32(header + 96, 4);                          /* refcount_order */
    put32(header + 100, HEADER_LENGTH);
    write_at(maker, 0, header, sizeof(header));
}

/* Refcounts of 1 for all clusters that were taken, and the header. */
static void finish(struct maker *maker)
{
    uint64_t n_blocks = (maker->next + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES;
    uint8_t *table = allocate(1, CLUSTER), *block = allocate(1, CLUSTER);

    if (n_blocks > CLUSTER / 8)
        errx(1, "larger than one cluster of refcount table covers");
    for (uint64_t i = 0; i < n_blocks; i++) {
        uint64_t place = i == 0 ? maker->refcount_block_0 : i * BLOCK_ENTRIES;

        for (uint64_t k = 0; k < BLOCK_ENTRIES; k++)
            block[2 * k + 1] = i * BLOCK_ENTRIES + k < maker->next;
        put64(table + 8 * i, place * CLUSTER);
        write_at(maker, place, block, CLUSTER);
    }
    write_at(maker, maker->refcount_table, table, CLUSTER);
    write_header(maker);
    if (ftruncate(maker->fd, (off_t)(maker->next * CLUSTER)) < 0 || fsync(maker->fd) < 0 || close(maker->fd) < 0)
        err(1, "finish");
    free(table);
    free(block);
}

static void make_preallocated(struct maker *maker)
{
    uint8_t *l1 = allocate(maker->l1_clusters, CLUSTER), *l2 = allocate(1, CLUSTER);
    uint64_t left = maker->guest_clusters;

    for (uint64_t t = 0; t < maker->n_l2; t++) {
        uint64_t table = take(maker);

        memset(l2, 0, CLUSTER);
        for (uint64_t i = 0; i < L2_ENTRIES && left > 0; i++, left--)
            put64(l2 + 8 * i, take(maker) * CLUSTER | COPIED);
        put64(l1 + 8 * t, table * CLUSTER | COPIED);
        write_at(maker, table, l2, CLUSTER);
    }
    write_at(maker, maker->l1, l1, maker->l1_clusters * CLUSTER);
    free(l1);
    free(l2);
}

/* splitmix64 */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void make_permuted(struct maker *maker, uint64_t leaks)
{
    uint8_t *l1 = allocate(maker->l1_clusters, CLUSTER), *l2 = allocate(1, CLUSTER);
    uint64_t n = maker->guest_clusters + leaks, state = 1, left = maker->guest_clusters;
    uint64_t *tables = allocate(maker->n_l2, sizeof(*tables)), *places = allocate(n, sizeof(*places));

    for (uint64_t t = 0; t < maker->n_l2; t++)
        tables[t] = take(maker);
    for (uint64_t i = 0; i < n; i++)
        places[i] = take(maker);
    for (uint64_t i = n - 1; i > 0; i--) {
        uint64_t k = random_next(&state) % (i + 1), place = places[i];

        places[i] = places[k];
        places[k] = place;
    }
    /* What stands last after the shuffle is mapped by nothing. */
    for (uint64_t t = 0; t < maker->n_l2; t++) {
        memset(l2, 0, CLUSTER);
        for (uint64_t i = 0; i < L2_ENTRIES && left > 0; i++, left--)
            put64(l2 + 8 * i, places[left - 1] * CLUSTER | COPIED);
        put64(l1 + 8 * t, tables[t] * CLUSTER | COPIED);
        write_at(maker, tables[t], l2, CLUSTER);
    }
    write_at(maker, maker->l1, l1, maker->l1_clusters * CLUSTER);
    free(tables);
    free(places);
    free(l1);
    free(l2);
}

int main(int argc, char **argv)
{
    struct maker maker;

    if (argc == 4 && strcmp(argv[1], "preallocated") == 0) {
        begin(&maker, argv[2], strtoull(argv[3], NULL, 10));
        make_preallocated(&maker);
    } else if (argc == 5 && strcmp(argv[1], "permuted") == 0) {
        begin(&maker, argv[2], strtoull(argv[3], NULL, 10));
        make_permuted(&maker, strtoull(argv[4], NULL, 10));
    } else
        errx(2, "usage: make-image preallocated FILE MIB | permuted FILE MIB LEAKS");
    finish(&maker);
    return 0;
}
