/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The story of some images, step by step, as the tests of contents tell it. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "contents-kit.h"

static struct qca_image_info *info_of(struct image *image)
{
    return &image->audit->report->layers[0].info;
}

static void audited(struct kit *kit, struct image *image)
{
    image->audit->identity = image->identity;
    image->audit->fingerprint = image->fingerprint;
    image->audit->started = image->audit->finished = kit->now;
}

/* References lead to what lies at their paths. */
static void resolve(struct kit *kit)
{
    for (size_t i = 0; i < kit->n_images; i++) {
        struct image *image = kit->images[i];
        struct image *parent = image->parent.path ? kit_at(kit, image->parent.path) : NULL;

        if (!image->parent.path)
            continue;
        image->parent.state = parent ? REFERENCE_FOUND : REFERENCE_MISSING;
        image->parent.identity = parent ? parent->identity : (struct identity){ .fsid = 0 };
    }
}

static void add_image(struct kit *kit, const char *name, const char *parent)
{
    char path[64], below[64];
    struct image *image;

    snprintf(path, sizeof(path), "/vm/%s", name);
    snprintf(below, sizeof(below), "/vm/%s", parent ? parent : "");
    image = fixture_image(&kit->datastore, path, ++kit->last_inode, parent ? below : NULL);
    image->identity.btime = image->fingerprint.mtime = image->fingerprint.ctime =
        (int64_t)(kit->now * 1000);
    image->first_seen = kit->now;
    image->listed = true;
    image->audit->report->layers[0].check.allocated_clusters = 1;
    if (parent)
        image->parent.identity = kit_image(kit, parent)->identity;
    audited(kit, image);
    assert_true(kit->n_images < KIT_IMAGES_MAX);
    kit->due[kit->n_images] = UINT64_MAX;
    kit->images[kit->n_images++] = image;
    assert_int_equal(graph_add(kit->graph, image), 0);
    resolve(kit);
}

static void written(struct kit *kit, struct image *image)
{
    image->fingerprint.mtime = image->fingerprint.ctime = (int64_t)(kit->now * 1000);
    audited(kit, image);
}

static enum blocks_kind kind_of(char letter)
{
    return letter == '0' ? BLOCKS_ZERO : letter == '.' ? BLOCKS_UNALLOCATED : BLOCKS_DATA;
}

static void block_digest(char letter, uint8_t ret_digest[static 32])
{
    static uint8_t block[QCA_BLOCK_SIZE];

    memset(block, kind_of(letter) == BLOCKS_DATA ? letter : 0, sizeof(block));
    assert_int_equal(EVP_Digest(block, sizeof(block), ret_digest, NULL, EVP_sha256(), NULL), 1);
}

static void digest_of(const char *letters, uint8_t ret_digest[static 32])
{
    uint8_t all[64 * 32 + 8];
    size_t n = strlen(letters);
    uint64_t size = n * QCA_BLOCK_SIZE;

    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++)
        block_digest(letters[i], all + i * 32);
    memcpy(all + n * 32, &size, 8);
    assert_int_equal(EVP_Digest(all, n * 32 + 8, ret_digest, NULL, EVP_sha256(), NULL), 1);
}

static void note_content(struct kit *kit, const char *letters)
{
    struct kit_content *content = &kit->contents_read[kit->n_contents_read++];

    assert_true(kit->n_contents_read <= KIT_READINGS_MAX && strlen(letters) < 65);
    strcpy(content->letters, letters);
    digest_of(letters, content->digest);
}

/* how: as the sign of the step. */
static void read_image(struct kit *kit, struct image *image, char how, const char *letters)
{
    struct qca_check_result *check = &image->audit->report->layers[0].check;
    struct qca_bad_range bad = { .guest_offset = QCA_BLOCK_SIZE, .length = QCA_BLOCK_SIZE,
                                 .error = image_has_data_file(image) ? -EOPNOTSUPP : -EIO };
    size_t n = strlen(letters);
    struct digest_result result = { .complete = how != '?', .encrypted = image_is_opaque(image),
                                    .size = n * QCA_BLOCK_SIZE, .started = kit->now,
                                    .finished = kit->now };
    struct audit audit;

    note_content(kit, letters);
    if (how == '!')
        written(kit, image);
    else
        audited(kit, image);
    info_of(image)->virtual_size = result.size;
    check->allocated_clusters = 0;
    for (size_t i = 0; i < n; i++)
        check->allocated_clusters += letters[i] != '.';
    audit = *image->audit;
    result.resumed_from = how == '%' ? 0 : contents_begin_blocks(kit->contents, image, &audit);
    kit->resumed = result.resumed_from;
    for (size_t i = result.resumed_from; how != '%' && i < n; i++) {
        uint8_t digest[1][32];

        if (how == '?' && i == 1)
            continue;
        block_digest(letters[i], digest[0]);
        contents_take_blocks(kit->contents, image, i, 1,
                             kind_of(letters[i]) == BLOCKS_DATA ? digest : NULL,
                             letters[i] == '.');
    }
    if (how == '|')
        return;
    if (result.complete && result.resumed_from == 0)
        digest_of(letters, result.digest);
    if (how == '?') {
        result.bad = &bad;
        result.n_bad = 1;
        result.bad_bytes = bad.length;
    }
    audit.digest = &result;
    contents_audited(kit->contents, image, &audit);
}

static void empty_image(struct kit *kit, struct image *image)
{
    if (!image->audit_before) {
        struct image *before = fixture_image(NULL, image->path, 1, NULL);

        image->audit_before = before->audit;
        before->audit = NULL;
        image_free(before);
        image->audit_before->report->layers[0].check.allocated_clusters = 1;
    }
    image->audit->report->layers[0].check.allocated_clusters = 0;
    written(kit, image);
    contents_audited(kit->contents, image, image->audit);
}

static void delete_image(struct kit *kit, struct image *image)
{
    image->present = false;
    contents_image_gone(kit->contents, image, kit->now - kit->history_lag);
    kit_remove(kit, image);
}

static void put_at(struct image *image, const struct image *file)
{
    image->identity = file->identity;
    image->fingerprint = file->fingerprint;
}

static void move_image(struct kit *kit, struct image *image, const char *to)
{
    struct image *other = to[0] == '/' || to[0] == '=' ? kit_image(kit, to + 1) : NULL, between;
    int64_t now = (int64_t)(kit->now * 1000);

    if (strcmp(to, "new") == 0 || strcmp(to, "old") == 0 || strcmp(to, "copy") == 0) {
        image->identity.inode = ++kit->last_inode;
        image->identity.btime = image->fingerprint.ctime = now;
        if (to[0] != 'c')
            image->fingerprint.mtime = to[0] == 'n' ? now : T0 - HOUR_NSEC;
        audited(kit, image);
    } else if (to[0] == '/') {
        put_at(other, image);
        other->fingerprint.ctime = now;
        audited(kit, other);
        image->present = false;
        contents_image_gone(kit->contents, image, kit->now - kit->history_lag);
        kit_remove(kit, image);
    } else if (to[0] == '=') {
        between = *other;
        put_at(other, image);
        put_at(image, &between);
        image->fingerprint.ctime = other->fingerprint.ctime = now;
        audited(kit, image);
        audited(kit, other);
    } else {
        free(image->path);
        assert_true(asprintf(&image->path, "/vm/%s", to) > 0);
        image->fingerprint.ctime = now;
        assert_int_equal(graph_rename(kit->graph, image), 0);
        audited(kit, image);
    }
    resolve(kit);
}

/* As after a commit that its overlays were told of. */
static void rebase(struct kit *kit, struct image *image, const char *parent)
{
    free(image->parent.path);
    assert_true(asprintf(&image->parent.path, "/vm/%s", parent) > 0);
    resolve(kit);
}

static void set(struct kit *kit, const char *what, struct image *image)
{
    size_t n = 0;

    if (strcmp(what, "golden") == 0) {
        while (kit->golden[n])
            n++;
        assert_true(n < KIT_NAMES_MAX);
        kit->golden[n] = strdup(image->path);
        graph_set_policy(kit->graph, &kit->policy);
    } else if (strcmp(what, "luks") == 0) {
        info_of(image)->crypt_method = QCA_CRYPT_LUKS;
    } else if (strcmp(what, "vmdk") == 0) {
        info_of(image)->format = QCA_FORMAT_VMDK;
    } else if (strcmp(what, "data") == 0) {
        info_of(image)->incompatible_features |= QCA_INCOMPAT_DATA_FILE;
    } else if (strcmp(what, "parts") == 0) {
        info_of(image)->incompatible_features |= QCA_INCOMPAT_EXTENDED_L2;
    } else if (strcmp(what, "device") == 0) {
        image->fingerprint.mode = S_IFBLK | 0600;
    } else if (strcmp(what, "tables") == 0) {
        image->audit->report->layers[0].has_metadata_digest = true;
        image->audit->report->layers[0].metadata_digest[0]++;
    } else if (strcmp(what, "writer") == 0) {
        image->use = image->audit->use = FILES_WRITER;
    } else if (strcmp(what, "free") == 0) {
        image->use = image->audit->use = FILES_UNUSED;
    } else if (strcmp(what, "pending") == 0) {
        image->parent.state = REFERENCE_PENDING;
    } else if (strcmp(what, "unlisted") == 0) {
        image->listed = false;
    } else if (strcmp(what, "away") == 0) {
        image->present = false;
    } else {
        fail_msg("no such property: %s", what);
    }
}

static void judge_once(struct kit *kit)
{
    for (size_t i = 0; i < kit->n_images; i++)
        assert_int_equal(graph_update(kit->graph, kit->images[i]), 0);
    assert_int_equal(graph_refresh(kit->graph, NULL, NULL), 0);
    for (size_t i = 0; i < kit->n_images; i++)
        contents_plan(kit->contents, &kit->policy, kit->images[i]);
    contents_flush(kit->contents);
    kit_run(kit);
    contents_acknowledge(kit->contents);
}

static void judge_all(struct kit *kit)
{
    unsigned rounds = 0, before;

    if (!kit->contents)         /* it is stopped */
        return;
    do {
        before = kit->judged;
        judge_once(kit);
        assert_true(++rounds < 10);
    } while (kit->judged != before);
}

static void act(struct kit *kit, struct image *image, char sign, const char *rest)
{
    switch (sign) {
    case '=': case '!': case '?': case '|': case '%':
        read_image(kit, image, sign, rest);
        break;
    case '^':
        written(kit, image);
        contents_audited(kit->contents, image, image->audit);
        break;
    case '~':
        empty_image(kit, image);
        break;
    case '@':
        image->fingerprint.uid++;
        image->fingerprint.ctime = (int64_t)(kit->now * 1000);
        contents_attributes(kit->contents, image);
        audited(kit, image);
        break;
    case '>':
        rebase(kit, image, rest);
        break;
    case ':':
        move_image(kit, image, rest);
        break;
    default:
        fail_msg("no such step: %c", sign);
    }
}

static void step(struct kit *kit, char *text)
{
    char *slash, *sign;

    if (strcmp(text, "hold") == 0) {
        kit->held = true;
    } else if (strcmp(text, "go") == 0) {
        kit->held = false;
    } else if (strcmp(text, "taken") == 0) {
        kit_run_until_taken(kit);
    } else if (strcmp(text, "infer") == 0 || strcmp(text, "declare") == 0) {
        kit->policy.infer_golden = text[0] == 'i';
        graph_set_policy(kit->graph, &kit->policy);
    } else if (strcmp(text, "stop") == 0) {
        kit_stop(kit);
    } else if (strcmp(text, "start") == 0) {
        kit_start(kit);
    } else if (strcmp(text, "restart") == 0) {
        kit_restart(kit);
    } else if (strcmp(text, "later") == 0) {
        kit->now += 31 * DAY;
    } else if (text[0] == '+') {
        char *parent = strchr(text, '>');

        if (parent)
            *parent++ = '\0';
        add_image(kit, text + 1, parent);
    } else if (text[0] == '-') {
        delete_image(kit, kit_image(kit, text + 1));
        resolve(kit);
    } else {
        sign = strpbrk(text, "=!?|%^~@:>");
        slash = sign ? NULL : strchr(text, '/');
        if (slash)
            *slash++ = '\0';
        if (slash) {
            set(kit, text, kit_image(kit, slash));
        } else {
            char what = sign ? *sign : ' ';

            assert_non_null(sign);
            *sign = '\0';
            act(kit, kit_image(kit, text), what, sign + 1);
        }
    }
}

void kit_tell(struct kit *kit, const char *story)
{
    char *steps = strdup(story), *at = steps, *text;

    assert_non_null(steps);
    while ((text = strsep(&at, " "))) {
        if (!text[0])
            continue;
        kit->now += HOUR;
        step(kit, text);
        judge_all(kit);
    }
    free(steps);
}
