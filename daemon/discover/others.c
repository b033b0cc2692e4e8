/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that nothing calls an image: of each only a hash of what it was when it was looked at is
 * kept, so that who fills a datastore with a million of them fills no memory. */
#include <errno.h>
#include <endian.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/discover/internal.h"
#include "lib/cleanup.h"

#define SLOTS_MIN 64
/* As it is kept: key, state and size, little-endian. */
#define KEPT_SIZE 24

/* Of an identity: only says where to look, and need not be unique. 0 is an empty slot. */
static uint64_t other_key(const struct identity *identity)
{
    uint64_t key = identity->inode * UINT64_C(0x9e3779b97f4a7c15);

    key ^= (identity->fsid ^ (uint64_t)identity->btime) * UINT64_C(0xc2b2ae3d27d4eb4f);
    key ^= key >> 29;
    key *= UINT64_C(0xbf58476d1ce4e5b9);
    key ^= key >> 32;
    return key != 0 ? key : 1;
}

/* The first bytes of a SHA-256: whoever can set a file's times must not be able to make one that
 * was looked at of one that was not. */
static uint64_t other_state(const struct identity *identity, const struct fingerprint *fingerprint)
{
    const uint64_t words[] = {
        identity->fsid, identity->inode, (uint64_t)identity->btime,
        fingerprint->size, (uint64_t)fingerprint->mtime, (uint64_t)fingerprint->ctime,
    };
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint64_t state;

    SHA256((const uint8_t *)words, sizeof(words), digest);
    memcpy(&state, digest, sizeof(state));
    return state;
}

static size_t slot_of(const struct others *others, uint64_t key)
{
    size_t at = key & (others->n_slots - 1);

    while (others->slots[at].key != 0 && others->slots[at].key != key)
        at = (at + 1) & (others->n_slots - 1);
    return at;
}

/* Makes room for so many. It gets no smaller here: who comes and goes must not move all others. */
static int others_reserve(struct others *others, size_t n)
{
    struct others grown = { .n_slots = SLOTS_MIN };

    while (grown.n_slots / 4 * 3 < n)
        grown.n_slots *= 2;
    if (grown.n_slots <= others->n_slots)
        return 0;
    grown.slots = calloc(grown.n_slots, sizeof(*grown.slots));
    if (!grown.slots)
        return -ENOMEM;
    for (size_t i = 0; i < others->n_slots; i++)
        if (others->slots[i].key != 0)
            grown.slots[slot_of(&grown, others->slots[i].key)] = others->slots[i];
    free(others->slots);
    others->slots = grown.slots;
    others->n_slots = grown.n_slots;
    return 0;
}

static int others_set(struct others *others, const struct other *other)
{
    size_t at;
    int r = others_reserve(others, others->n + 1);

    if (r < 0 && others->n + 1 >= others->n_slots)
        return r;               /* a fuller table is slower, that is all */
    at = slot_of(others, other->key);
    others->n += others->slots[at].key == 0;
    others->slots[at] = *other;
    others->n_changed++;
    return 0;
}

int others_put(struct others *others, const struct identity *identity,
               const struct fingerprint *fingerprint, uint64_t raw_size, uint64_t walk)
{
    const struct other other = {
        .key = other_key(identity),
        .state = fingerprint ? other_state(identity, fingerprint) : 0,
        .raw_size = raw_size, .walk = (uint32_t)walk,
    };

    return others_set(others, &other);
}

struct other *others_find(struct others *others, const struct identity *identity)
{
    struct other *other;

    if (others->n == 0)
        return NULL;
    other = &others->slots[slot_of(others, other_key(identity))];
    return other->key != 0 ? other : NULL;
}

bool other_is(const struct other *other, const struct identity *identity,
              const struct fingerprint *fingerprint)
{
    return other->state == other_state(identity, fingerprint);
}

/* The entries behind it that its place parted from their own move up. */
void others_drop(struct others *others, struct other *other)
{
    size_t mask = others->n_slots - 1, hole = (size_t)(other - others->slots), at = hole;

    for (;;) {
        at = (at + 1) & mask;
        if (others->slots[at].key == 0)
            break;
        if (((at - (others->slots[at].key & mask)) & mask) < ((at - hole) & mask))
            continue;
        others->slots[hole] = others->slots[at];
        hole = at;
    }
    others->slots[hole] = (struct other){ .key = 0 };
    others->n--;
    others->n_changed++;
}

void others_sweep(struct others *others, uint64_t walk)
{
    struct others kept = { .n = 0 };
    bool fits = true;

    for (size_t i = 0; i < others->n_slots && fits; i++)
        if (others->slots[i].key != 0 && others->slots[i].walk == (uint32_t)walk)
            fits = others_set(&kept, &others->slots[i]) >= 0;
    if (!fits || kept.n == others->n) {
        others_done(&kept);     /* without memory the next walk does it */
        return;
    }
    kept.n_changed = others->n_changed + (others->n - kept.n);
    free(others->slots);
    *others = kept;
}

int others_save(const struct others *others, uint8_t **ret_bytes, size_t *ret_size)
{
    uint8_t *bytes = malloc(others->n > 0 ? others->n * KEPT_SIZE : 1), *at = bytes;

    if (!bytes)
        return -ENOMEM;
    for (size_t i = 0; i < others->n_slots; i++) {
        const struct other *other = &others->slots[i];
        const uint64_t words[] = { htole64(other->key), htole64(other->state),
                                   htole64(other->raw_size) };

        if (other->key == 0)
            continue;
        memcpy(at, words, KEPT_SIZE);
        at += KEPT_SIZE;
    }
    *ret_bytes = bytes;
    *ret_size = (size_t)(at - bytes);
    return 0;
}

int others_load(struct others *others, const uint8_t *bytes, size_t size, size_t max)
{
    if (size % KEPT_SIZE != 0)
        return -EBADMSG;
    for (size_t i = 0; i < size / KEPT_SIZE && others->n < max; i++) {
        uint64_t words[3];
        struct other other;
        int r;

        memcpy(words, bytes + i * KEPT_SIZE, KEPT_SIZE);
        other = (struct other){ .key = le64toh(words[0]), .state = le64toh(words[1]),
                                .raw_size = le64toh(words[2]) };
        r = other.key != 0 ? others_set(others, &other) : 0;
        if (r < 0)
            return r;
    }
    others->n_changed = 0;
    return 0;
}

void others_done(struct others *others)
{
    free(others->slots);
    *others = (struct others){ .n = 0 };
}
