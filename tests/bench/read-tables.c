/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads the L2 tables and refcount blocks of a qcow2 image and nothing else, with 32 reads under
 * way at a time: what the disk itself needs for the bytes that a check has to read.
 *
 *   read-tables FILE
 *
 * For images of make-image alone: it trusts every offset. */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)

enum { QUEUE_DEPTH = 32 };

struct reading {
    int fd;
    size_t cluster_size;
    uint64_t *tables;
    size_t n_tables;
    atomic_size_t next;
};

static void read_at(int fd, uint64_t offset, void *buf, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, (uint8_t *)buf + done, size - done, (off_t)(offset + done));

        if (n < 0)
            err(1, "pread");
        if (n == 0)
            errx(1, "the file ends within a table");
        done += (size_t)n;
    }
}

static uint64_t number(const uint8_t *p, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | p[i];
    return value;
}

/* Adds the tables that a table of offsets names. */
static void add_tables(struct reading *reading, uint64_t offset, size_t n)
{
    uint8_t *entries = malloc(8 * n);

    reading->tables = reallocarray(reading->tables, reading->n_tables + n,
                                   sizeof(*reading->tables));
    if (!entries || !reading->tables)
        err(1, "malloc");
    read_at(reading->fd, offset, entries, 8 * n);
    for (size_t i = 0; i < n; i++) {
        uint64_t table = number(entries + 8 * i, 8) & OFFSET_MASK;

        if (table)
            reading->tables[reading->n_tables++] = table;
    }
    free(entries);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static void *read_tables(void *userdata)
{
    struct reading *reading = userdata;
    void *buf = malloc(reading->cluster_size);

    if (!buf)
        err(1, "malloc");
    for (;;) {
        size_t i = atomic_fetch_add(&reading->next, 1);

        if (i >= reading->n_tables)
            break;
        read_at(reading->fd, reading->tables[i], buf, reading->cluster_size);
    }
    free(buf);
    return NULL;
}

int main(int argc, char **argv)
{
    struct reading reading = {.fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1};
    pthread_t threads[QUEUE_DEPTH];
    uint8_t header[104];

    if (reading.fd < 0)
        err(1, "usage: read-tables FILE");
    read_at(reading.fd, 0, header, sizeof(header));
    reading.cluster_size = (size_t)1 << number(header + 20, 4);
    add_tables(&reading, number(header + 40, 8), number(header + 36, 4));
    add_tables(&reading, number(header + 48, 8), number(header + 56, 4) * reading.cluster_size / 8);
    qsort(reading.tables, reading.n_tables, sizeof(*reading.tables), compare);
    for (size_t i = 0; i < QUEUE_DEPTH; i++)
        if (pthread_create(&threads[i], NULL, read_tables, &reading) != 0)
            errx(1, "cannot start a thread");
    for (size_t i = 0; i < QUEUE_DEPTH; i++)
        pthread_join(threads[i], NULL);
    printf("%zu bytes\n", reading.n_tables * reading.cluster_size);
    free(reading.tables);
    return 0;
}
