/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive with a manifest of its members. */
#include "helpers/bundle.h"

#include <errno.h>
#include <string.h>

#include "helpers/hex.h"
#include "lib/cleanup.h"

#define FOLDER BUNDLE_FOLDER "/"
#define FOLDER_LENGTH (sizeof(FOLDER) - 1)
#define DIGEST_DIGITS 64

/* ---- making one ----------------------------------------------------------------------------- */

int bundle_begin(int fd, uint64_t seconds, bundle_digest_fn digest,
                 struct bundle_writer *ret_writer)
{
    *ret_writer = (struct bundle_writer){ .fd = fd, .seconds = seconds, .digest = digest };
    ret_writer->manifest = open_memstream(&ret_writer->text, &ret_writer->size);
    return ret_writer->manifest ? 0 : -ENOMEM;
}

static int write_member(struct bundle_writer *writer, const char *name, const void *data,
                        size_t size)
{
    char path[TAR_NAME_MAX + 1];

    if (snprintf(path, sizeof(path), FOLDER "%s", name) >= (int)sizeof(path))
        return -EINVAL;
    return tar_write(writer->fd, path, writer->seconds, data, size);
}

int bundle_add(struct bundle_writer *writer, const char *name, const void *data, size_t size)
{
    char digits[DIGEST_DIGITS + 1];
    uint8_t digest[32];
    int r = writer->n < BUNDLE_MEMBERS_MAX ? writer->digest(data, size, digest) : -E2BIG;

    if (r >= 0)
        r = write_member(writer, name, data, size);
    if (r < 0)
        return r;
    hex_encode(digest, sizeof(digest), digits);
    writer->n++;
    return fprintf(writer->manifest, "%s  %s\n", digits, name) < 0 ? -ENOMEM : 0;
}

int bundle_end(struct bundle_writer *writer, uint8_t ret_manifest[32])
{
    uint8_t digest[32];
    int r;

    if (fflush(writer->manifest) != 0)
        return -ENOMEM;
    r = writer->digest(writer->text, writer->size, digest);
    if (r >= 0)
        r = write_member(writer, BUNDLE_MANIFEST, writer->text, writer->size);
    if (r >= 0)
        r = tar_write_end(writer->fd);
    if (r >= 0)
        memcpy(ret_manifest, digest, sizeof(digest));
    return r;
}

void bundle_writer_done(struct bundle_writer *writer)
{
    if (writer->manifest)
        (void)fclose(writer->manifest);
    free(writer->text);
    *writer = (struct bundle_writer){ .fd = -1 };
}

/* ---- reading one ---------------------------------------------------------------------------- */

static int read_member(struct qca_io *io, const struct tar_member *place, char **ret_data)
{
    _cleanup_free_ char *data = malloc((size_t)place->size + 1);
    int r = data ? qca_io_read(io, place->offset, data, (size_t)place->size) : -ENOMEM;

    if (r < 0)
        return r;
    data[place->size] = '\0';
    *ret_data = TAKE_PTR(data);
    return 0;
}

int bundle_data(struct qca_io *io, const struct bundle_member *member, char **ret_data)
{
    return read_member(io, &member->place, ret_data);
}

static int have_room(struct bundle *bundle)
{
    size_t n = bundle->allocated ? 2 * bundle->allocated : 64;
    struct bundle_member *members;

    if (bundle->n >= BUNDLE_MEMBERS_MAX)
        return -EBADMSG;
    if (bundle->n < bundle->allocated)
        return 0;
    members = reallocarray(bundle->members, n, sizeof(*members));
    if (!members)
        return -ENOMEM;
    bundle->members = members;
    bundle->allocated = n;
    return 0;
}

/* All members up to the manifest, which is the last one. */
static int read_members(struct qca_io *io, bundle_digest_fn digest, struct bundle *bundle,
                        char **ret_manifest)
{
    _cleanup_free_ char *manifest = NULL;
    uint64_t offset = 0;
    int r;

    for (;;) {
        struct bundle_member member = { .listed = false };
        _cleanup_free_ char *data = NULL;

        r = tar_next(io, &offset, &member.place);
        if (r == 0)
            break;
        if (r > 0 && (manifest || strncmp(member.place.name, FOLDER, FOLDER_LENGTH) != 0))
            r = -EBADMSG;
        if (r >= 0)
            r = read_member(io, &member.place, &data);
        if (r >= 0)
            r = digest(data, (size_t)member.place.size, member.digest);
        if (r < 0)
            return r;
        if (strcmp(member.place.name + FOLDER_LENGTH, BUNDLE_MANIFEST) == 0) {
            if (strlen(data) != member.place.size)
                return -EBADMSG;
            memcpy(bundle->manifest, member.digest, sizeof(member.digest));
            manifest = TAKE_PTR(data);
            continue;
        }
        r = have_room(bundle);
        if (r < 0)
            return r;
        bundle->members[bundle->n++] = member;
    }
    if (!manifest)
        return -EBADMSG;
    *ret_manifest = TAKE_PTR(manifest);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct bundle_member *left = a, *right = b;

    return strcmp(left->place.name, right->place.name);
}

static int by_key(const void *key, const void *member)
{
    return strcmp(key, ((const struct bundle_member *)member)->name);
}

static struct bundle_member *find(const struct bundle *bundle, const char *name)
{
    return bundle->n > 0 ? bsearch(name, bundle->members, bundle->n, sizeof(*bundle->members),
                                   by_key)
                         : NULL;
}

const struct bundle_member *bundle_find(const struct bundle *bundle, const char *name)
{
    return find(bundle, name);
}

/* "DIGITS  NAME", in place. */
static int take_line(char *line, uint8_t ret_digest[32], const char **ret_name)
{
    if (strlen(line) <= DIGEST_DIGITS + 2 || strncmp(line + DIGEST_DIGITS, "  ", 2) != 0)
        return -EBADMSG;
    line[DIGEST_DIGITS] = '\0';
    *ret_name = line + DIGEST_DIGITS + 2;
    return hex_decode(line, ret_digest, 32);
}

int bundle_read(struct qca_io *io, bundle_digest_fn digest,
                void (*problem)(void *userdata, const char *name, enum bundle_problem problem),
                void *userdata, struct bundle *ret_bundle)
{
    struct bundle *bundle = ret_bundle;
    _cleanup_free_ char *manifest = NULL;
    int r;

    *bundle = (struct bundle){ .n = 0 };
    r = read_members(io, digest, bundle, &manifest);
    if (r < 0)
        return r;
    if (bundle->n > 0)
        qsort(bundle->members, bundle->n, sizeof(*bundle->members), by_name);
    for (size_t i = 0; i < bundle->n; i++)
        bundle->members[i].name = bundle->members[i].place.name + FOLDER_LENGTH;
    for (char *line = manifest, *next; *line; line = next) {
        struct bundle_member *member;
        uint8_t listed[32];
        const char *name;

        next = strchr(line, '\n');
        if (!next)
            return -EBADMSG;
        *next++ = '\0';
        r = take_line(line, listed, &name);
        if (r < 0)
            return r;
        member = find(bundle, name);
        if (!member)
            problem(userdata, name, BUNDLE_MISSING);
        else if (memcmp(member->digest, listed, sizeof(listed)) != 0)
            problem(userdata, name, BUNDLE_DIFFERS);
        if (member)
            member->listed = true;
    }
    for (size_t i = 0; i < bundle->n; i++) {
        const char *name = bundle->members[i].name;

        if (i > 0 && strcmp(bundle->members[i - 1].name, name) == 0)
            problem(userdata, name, BUNDLE_TWICE);
        else if (!bundle->members[i].listed &&
                 (i + 1 == bundle->n || strcmp(bundle->members[i + 1].name, name) != 0))
            problem(userdata, name, BUNDLE_UNLISTED);
    }
    return 0;
}

void bundle_done(struct bundle *bundle)
{
    free(bundle->members);
    *bundle = (struct bundle){ .n = 0 };
}
