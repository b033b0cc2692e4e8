/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes large sparse qcow2 images directly: the same bytes every time, in seconds.
 *
 *   make-image preallocated FILE MIB          as QEMU lays out preallocation=metadata
 *   make-image permuted FILE MIB LEAKS        every guest cluster at a random place,
 *                                            LEAKS clusters leaked among them
 *   make-image data FILE MIB DATA_MIB         runs of 64 MiB of data with as much nothing
 *                                            between them
 *   make-image fragments FILE MIB DATA_MIB    random clusters of the disk hold data, each at
 *                                            a random place
 *   make-image text FILE MIB                  a raw file of data that compresses to about a half
 *
 * Clusters of 64 KiB, refcounts of 16 bits. The data of the first two is never written. */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
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
        ssize_t n = pwrite(maker->fd, (const uint8_t *)data + done, size - done,
                           (off_t)(cluster * CLUSTER + done));

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
    if (ftruncate(maker->fd, (off_t)(maker->next * CLUSTER)) < 0 || fsync(maker->fd) < 0 ||
        close(maker->fd) < 0)
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

static void shuffle(uint64_t *numbers, uint64_t n, uint64_t state)
{
    for (uint64_t i = n - 1; i > 0; i--) {
        uint64_t k = random_next(&state) % (i + 1), number = numbers[i];

        numbers[i] = numbers[k];
        numbers[k] = number;
    }
}

static void make_permuted(struct maker *maker, uint64_t leaks)
{
    uint8_t *l1 = allocate(maker->l1_clusters, CLUSTER), *l2 = allocate(1, CLUSTER);
    uint64_t n = maker->guest_clusters + leaks, left = maker->guest_clusters;
    uint64_t *tables = allocate(maker->n_l2, sizeof(*tables)),
             *places = allocate(n, sizeof(*places));

    for (uint64_t t = 0; t < maker->n_l2; t++)
        tables[t] = take(maker);
    for (uint64_t i = 0; i < n; i++)
        places[i] = take(maker);
    shuffle(places, n, 1);
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

/* Data that no two clusters have in common. */
static void fill(uint8_t *data, uint64_t number, bool text)
{
    uint64_t state = number << 32, value;

    for (size_t i = 0; i < CLUSTER; i += sizeof(value)) {
        value = random_next(&state);
        if (text)
            value &= UINT64_C(0x0f0f0f0f0f0f0f0f);
        memcpy(data + i, &value, sizeof(value));
    }
}

/* Writes n clusters of data: guest cluster guests[i] at host cluster places[i]. */
static void write_data(struct maker *maker, const uint64_t *guests, uint64_t *places, uint64_t n,
                       bool random)
{
    uint64_t *l2 = allocate(maker->n_l2 * L2_ENTRIES, sizeof(*l2)),
             *tables = allocate(maker->n_l2, sizeof(*tables));
    uint8_t *l1 = allocate(maker->l1_clusters, CLUSTER), *data = allocate(1, CLUSTER);

    for (uint64_t t = 0; t < maker->n_l2; t++) {
        tables[t] = take(maker);
        put64(l1 + 8 * t, tables[t] * CLUSTER | COPIED);
    }
    for (uint64_t i = 0; i < n; i++)
        places[i] = take(maker);
    if (random)
        shuffle(places, n, 2);
    for (uint64_t i = 0; i < n; i++) {
        fill(data, guests[i], false);
        write_at(maker, places[i], data, CLUSTER);
        put64((uint8_t *)&l2[guests[i]], places[i] * CLUSTER | COPIED);
    }
    for (uint64_t t = 0; t < maker->n_l2; t++) {
        write_at(maker, tables[t], &l2[t * L2_ENTRIES], CLUSTER);
    }
    write_at(maker, maker->l1, l1, maker->l1_clusters * CLUSTER);
    free(l2);
    free(tables);
    free(l1);
    free(data);
}

static void make_data(struct maker *maker, uint64_t mib, bool random)
{
    uint64_t n = (mib << 20) / CLUSTER, guest = 0, *guests, *places;

    if (n * 2 > maker->guest_clusters)
        errx(2, "at most half of the disk can be data");
    guests = allocate(random ? maker->guest_clusters : n, sizeof(*guests));
    places = allocate(n, sizeof(*places));
    if (random) {
        for (uint64_t i = 0; i < maker->guest_clusters; i++)
            guests[i] = i;
        shuffle(guests, maker->guest_clusters, 1);
    } else
        for (uint64_t i = 0; i < n; i++, guest++) {
            if (guest % 2048 == 1024)
                guest += 1024;
            guests[i] = guest;
        }
    write_data(maker, guests, places, n, random);
    free(guests);
    free(places);
}

static void make_text(const char *path, uint64_t mib)
{
    struct maker maker = {.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    uint8_t *data = allocate(1, CLUSTER);

    if (maker.fd < 0)
        err(1, "%s", path);
    for (uint64_t i = 0; i < (mib << 20) / CLUSTER; i++) {
        fill(data, i, true);
        write_at(&maker, i, data, CLUSTER);
    }
    if (fsync(maker.fd) < 0 || close(maker.fd) < 0)
        err(1, "%s", path);
    free(data);
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
    } else if (argc == 5 && (strcmp(argv[1], "data") == 0 || strcmp(argv[1], "fragments") == 0)) {
        begin(&maker, argv[2], strtoull(argv[3], NULL, 10));
        make_data(&maker, strtoull(argv[4], NULL, 10), argv[1][0] == 'f');
    } else if (argc == 4 && strcmp(argv[1], "text") == 0) {
        make_text(argv[2], strtoull(argv[3], NULL, 10));
        return 0;
    } else
        errx(
            2,
            "usage: make-image preallocated FILE MIB | permuted FILE MIB LEAKS | data FILE MIB "
            "DATA_MIB | fragments FILE MIB DATA_MIB | text FILE MIB");
    finish(&maker);
    return 0;
}
