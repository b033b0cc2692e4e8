/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of safety: references, declared formats, names and permissions. */
#include "daemon/judge/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "helpers/clock.h"
#include "helpers/path.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define CANDIDATES_MAX 5
#define BACKUP_AGAIN (5 * 60 * USEC_PER_SEC)    /* is the backup still under way? */
#define BACKUP_SEEN (2 * 60 * USEC_PER_SEC)     /* by then libvirt has told of it */

static const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool has_extension(const char *path, const char *const *extensions, size_t n_extensions)
{
    const char *dot = strrchr(path_name(path), '.');

    for (size_t i = 0; dot && i < n_extensions; i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0)
            return true;
    return false;
}

/* Everything without a magic is raw, a text file too. What nothing else speaks for is no image,
 * and not judged. */
static bool is_image(const struct judging *judging)
{
    static const char *const media[] = { "iso" };
    const struct image *image = judging->image;

    return judging->layer->info.format != QCA_FORMAT_RAW ||
           (judging->relation && !judging->relation->leaf) || S_ISBLK(image->fingerprint.mode) ||
           (path_is_image_name(image->path) &&
            !has_extension(image->path, media, ELEMENTSOF(media)));
}

static const struct image *parent_of(const struct judging *judging)
{
    return judging->relation ? judging->relation->parent : NULL;
}

static bool name_is_bad(const char *name)
{
    return name && !text_is_safe(name, strlen(name));
}

/* ---- references ----------------------------------------------------------------------------- */

void evidence_reference(struct evidence *evidence, const struct reference *reference,
                        const char *what)
{
    evidence_text(evidence, TEXT_REFERENCE, what);
    evidence_text(evidence, TEXT_STORED, reference->stored);
    evidence_text(evidence, TEXT_FORMAT, reference->format);
    evidence_text(evidence, TEXT_PATH, reference->path);
    if (reference->error < 0) {
        evidence_number(evidence, NUMBER_ERRNO, (uint64_t)-reference->error);
        evidence_text(evidence, TEXT_ERROR, strerror(-reference->error));
    }
}

/* Was the parent put aside with the image, as the remedy of an orphaned chain does it? -ENOMEM,
 * else whether. */
static int is_aside_with_parent(const struct judging *judging)
{
    static const char suffix[] = ".orphan";
    const struct image *image = judging->image, *parent;
    size_t length = strlen(image->path), n = sizeof(suffix) - 1;
    _cleanup_free_ char *wanted = NULL, *aside = NULL;
    int r;

    if (length <= n || strcmp(image->path + length - n, suffix) != 0 || !image->parent.stored)
        return 0;
    r = reference_lexical(image->path, image->parent.stored, &wanted);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (asprintf(&aside, "%s%s", wanted, suffix) < 0) {
        aside = NULL;
        return -ENOMEM;
    }
    parent = graph_find(judging->graph, aside);
    return parent && parent->present;
}

/* Does the file lie again where the image says? The reference is being looked up then. */
static int parent_is_back(const struct judging *judging, const struct lost_parent *found)
{
    const struct image *image = judging->image;
    _cleanup_free_ char *wanted = NULL;
    int r;

    if (!image->parent.stored || image->parent.error != -ENOENT || !found->image->present)
        return 0;
    r = reference_lexical(image->path, image->parent.stored, &wanted);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    return strcmp(found->image->path, wanted) == 0;
}

/* reference, stored, format, path, errno, error, former {path, inode, ...}, candidates [path, by
 * ("identity", "content", "name"), changed] */
static int add_parent_missing(struct judging *judging, const char *stored)
{
    const struct reference *reference = &judging->image->parent;
    _cleanup_evidence_ struct evidence evidence = evidence_new(), candidates = evidence_new_list();
    struct lost_parent found[CANDIDATES_MAX];
    bool unreadable = reference->error == -EACCES || reference->error == -EPERM, sure,
         stayed;
    size_t n = graph_find_lost(judging->graph, judging->image, found, CANDIDATES_MAX);
    _cleanup_free_ char *there = n > 0 ? text_escape_string(found[0].image->path) : NULL;
    int r = n > 0 ? parent_is_back(judging, &found[0]) : 0;

    if (r < 0 || (n > 0 && !there))
        return -ENOMEM;
    if (r > 0) {
        judging->judgement->judged[FINDING_PARENT_MISSING] = false;
        return 0;
    }
    evidence_reference(&evidence, reference, "parent");
    evidence_former(&evidence, PART_FORMER, judging->image->former);
    for (size_t i = 0; i < n; i++) {
        struct evidence candidate = evidence_new();

        evidence_text(&candidate, TEXT_PATH, found[i].image->path);
        evidence_text(&candidate, TEXT_BY, found_by_name(found[i].by));
        if (found[i].changed)
            evidence_flag(&candidate, FLAG_CHANGED, true);
        evidence_append(&candidates, &candidate);
    }
    evidence_value(&evidence, PART_CANDIDATES, &candidates);
    sure = n > 0 && found[0].by != FOUND_BY_NAME && !found[0].changed;
    stayed = sure && lost_stayed(judging->image, &found[0]);
    if (judging_add(judging, FINDING_PARENT_MISSING, SEVERITY_CRITICAL, 1, &evidence,
                    "%s: %s%s%s%s",
                    unreadable ? "has a parent that cannot be read" : "has lost its parent", stored,
                    !sure                                 ? ""
                    : stayed                           ? "; its parent was "
                    : found[0].by == FOUND_BY_IDENTITY ? "; the file is "
                                                       : "; what it held is in ",
                    sure ? there : "",
                    stayed                                     ? ", which is where it was"
                    : sure && found[0].by == FOUND_BY_IDENTITY ? " now"
                                                               : "") < 0)
        return -ENOMEM;
    /* Layers that were merged are deleted one by one, and libvirt tells of the merge a moment
     * later. */
    if (usage_is_complete(graph_usage(judging->graph)))
        judging_hold(judging, FINDING_PARENT_MISSING, judging->thresholds->deleted_after);
    return 0;
}

/* The first of its extents whose look-up ended so; NULL none. */
static const struct reference *extent_in_state(const struct image *image,
                                               enum reference_state state)
{
    for (size_t i = 0; i < image->extents.n; i++)
        if (image->extents.items[i].state == state)
            return &image->extents.items[i];
    return NULL;
}

/* Escaping and remote references of all kinds make one finding each. */
static int judge_reference_kind(struct judging *judging, enum reference_state state,
                                enum finding_type type, enum severity severity, const char *words)
{
    const struct reference *parent = &judging->image->parent,
                           *data_file = &judging->image->data_file;
    bool by_parent = parent->state == state, by_data_file = data_file->state == state;
    const struct reference *extent = extent_in_state(judging->image, state);
    const struct reference *first = by_parent ? parent : by_data_file ? data_file : extent;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *stored = NULL;

    if (!first)
        return 0;
    stored = text_escape_string(first->stored);
    if (!stored)
        return -ENOMEM;
    if (state == REFERENCE_ESCAPES && first->error == -EMEDIUMTYPE)
        words = "that is neither a regular file nor a block device";
    evidence = evidence_new();
    evidence_reference(&evidence, first,
                       by_parent ? "parent" : by_data_file ? "data-file" : "extent");
    if (by_parent && by_data_file) {
        _cleanup_evidence_ struct evidence other = evidence_new();

        evidence_reference(&other, data_file, "data-file");
        evidence_value(&evidence, PART_AND, &other);
    }
    return judging_add(judging, type, severity, 1, &evidence, "%s %s: %s",
                       by_parent      ? "has a parent"
                       : by_data_file ? "has a data file"
                                      : "has an extent",
                       words, stored);
}

/* A plain parent where templates usually lie: most likely the folder was only not named. A guest,
 * or whoever uploads an image, may name such a file too, so that it stays an error. */
static bool escapes_to_template(const struct judging *judging)
{
    const struct image *image = judging->image;
    const char *path = image->parent.path ? image->parent.path : image->parent.stored;

    return image->parent.state == REFERENCE_ESCAPES && path && path[0] == '/' &&
           image->data_file.state != REFERENCE_ESCAPES &&
           !extent_in_state(image, REFERENCE_ESCAPES) && !strstr(path, "/../") &&
           strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/sys/", 5) != 0 &&
           strncmp(path, "/dev/", 5) != 0 && strncmp(path, "/etc/", 5) != 0 &&
           (place_is_of_templates(path) || name_is_of_template(path));
}

enum backup {
    BACKUP_NONE,
    BACKUP_MAYBE,               /* a domain runs, and libvirt was asked a while ago */
    BACKUP_RUNS,
};

/* Is a backup under way, of which an overlay over its NBD server is a part? */
static enum backup reference_backup(const struct judging *judging)
{
    const struct reference *parent = &judging->image->parent;
    const struct usage_index *index = graph_usage(judging->graph);
    const struct virt_status *status = index ? usage_status(index) : NULL;
    enum backup backup = BACKUP_NONE;

    if (parent->state != REFERENCE_IS_REMOTE || !parent->stored ||
        (strncmp(parent->stored, "nbd:", 4) != 0 && strncmp(parent->stored, "nbd+", 4) != 0))
        return BACKUP_NONE;
    for (size_t i = 0; status && i < status->n_domains; i++)
        if (virt_domain_is_active(&status->domains[i])) {
            if (status->domains[i].backup)
                return BACKUP_RUNS;
            backup = BACKUP_MAYBE;
        }
    return backup;
}

uint64_t judge_safety_again(const struct judging *judging)
{
    return reference_backup(judging) == BACKUP_RUNS ? judging->now + BACKUP_AGAIN : UINT64_MAX;
}

/* reference, stored, path, errno, error, state: of the first that is missing; missing */
static int judge_missing_extents(struct judging *judging)
{
    const struct image *image = judging->image;
    const struct qca_image_info *info = &judging->layer->info;
    const struct reference *first = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *stored = NULL;
    size_t n = 0, at = 0;

    /* In the order of those that name a file. The file of a device of an ESXi host holds no data,
     * and is not to be had elsewhere. */
    for (size_t i = 0; i < info->n_extents && at < image->extents.n; i++) {
        const struct reference *extent = image->extents.items + at;

        at += info->extents[i].name != NULL;
        if (!info->extents[i].name || extent->state != REFERENCE_MISSING ||
            qca_extent_file_is_device(&info->extents[i]))
            continue;
        first = first ? first : extent;
        n++;
    }
    if (!first)
        return 0;
    stored = text_escape_string(first->stored);
    if (!stored)
        return -ENOMEM;
    evidence = evidence_new();
    evidence_reference(&evidence, first, "extent");
    evidence_text(&evidence, TEXT_STATE, reference_state_name(first->state));
    evidence_number(&evidence, NUMBER_MISSING, n);
    return judging_add(judging, FINDING_DATA_FILE, SEVERITY_ERROR, n, &evidence,
                       "has pieces of its disk in files of which %zu of %zu %s missing: %s", n,
                       image->extents.n, n == 1 ? "is" : "are", stored);
}

/* Bytes that its file has too few for the piece, where its bytes are those of the disk; 0: enough,
 * or it is not known. */
static uint64_t extent_lacks(const struct judging *judging, const struct qca_extent_file *extent,
                             const struct reference *reference)
{
    const struct image *file = reference->state == REFERENCE_FOUND
                                   ? graph_find_identity(judging->graph, &reference->identity)
                                   : NULL;
    uint64_t end = extent->offset + extent->size;

    if (!qca_extent_file_is_flat(extent) || !file || !file->present ||
        !S_ISREG(file->fingerprint.mode) || file->fingerprint.size >= end)
        return 0;
    return end - file->fingerprint.size;
}

/* reference, stored, path, errno, error: of the first that is too short; needed-size, data-size */
static int judge_short_extents(struct judging *judging)
{
    const struct qca_image_info *info = &judging->layer->info;
    const struct reference *reference = judging->image->extents.items;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *stored = NULL;
    char sizes[2][TEXT_SIZE_MAX];

    for (size_t i = 0; i < info->n_extents; i++) {
        const struct qca_extent_file *extent = &info->extents[i];
        uint64_t lacks = extent->name ? extent_lacks(judging, extent, reference++) : 0,
                 end = extent->offset + extent->size;

        if (lacks == 0)
            continue;
        stored = text_escape_string(extent->name);
        if (!stored)
            return -ENOMEM;
        evidence = evidence_new();
        evidence_reference(&evidence, reference - 1, "extent");
        evidence_number(&evidence, NUMBER_NEEDED_SIZE, end);
        evidence_number(&evidence, NUMBER_DATA_SIZE, end - lacks);
        return judging_add(judging, FINDING_DATA_FILE, SEVERITY_CRITICAL, 1, &evidence,
                           "has a piece of its disk in a file that was cut off: %s has %s of %s",
                           stored, text_size(end - lacks, sizes[0]), text_size(end, sizes[1]));
    }
    return 0;
}

/* An absolute name that leads into a datastore is only odd; so is one with steps upwards. */
static bool name_is_odd(const char *name)
{
    return name[0] == '/' || path_has_step_up(name);
}

/* unknown-lines, extent: the first whose name is unsafe, or odd */
static int judge_descriptor(struct judging *judging)
{
    const struct image *image = judging->image;
    uint32_t unknown = judging->layer->info.unknown_lines;
    const char *bad = NULL, *odd = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *stored = NULL;

    for (size_t i = 0; i < image->extents.n; i++) {
        const struct reference *extent = &image->extents.items[i];

        if (!bad && (name_is_bad(extent->stored) || extent->state == REFERENCE_ESCAPES))
            bad = extent->stored;
        if (!odd && name_is_odd(extent->stored))
            odd = extent->stored;
    }
    if (unknown == 0 && !bad && !odd)
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_UNKNOWN_LINES, unknown);
    if (bad || odd) {
        evidence_text(&evidence, TEXT_EXTENT, bad ?: odd);
        stored = text_escape_string(bad ?: odd);
        if (!stored)
            return -ENOMEM;
    }
    if (bad)
        return judging_add(judging, FINDING_DESCRIPTOR_UNSAFE, SEVERITY_ERROR, 2, &evidence,
                           "names an extent that must not be followed: %s", stored);
    if (unknown > 0)
        return judging_add(judging, FINDING_DESCRIPTOR_UNSAFE, SEVERITY_ERROR, 1, &evidence,
                           "has %u line%s in its descriptor that no VMDK has", unknown,
                           unknown == 1 ? "" : "s");
    return judging_add(judging, FINDING_DESCRIPTOR_UNSAFE, SEVERITY_INFO, 1, &evidence,
                       "names an extent that does not lie beside it: %s", stored);
}

static int judge_references(struct judging *judging)
{
    const struct image *image = judging->image;
    bool *judged = judging->judgement->judged, template;
    enum backup backup;
    int r;

    /* Not resolved, or its datastore is offline: says nothing about it. */
    if (image->parent.state == REFERENCE_PENDING || image->parent.state == REFERENCE_UNREACHABLE)
        judged[FINDING_PARENT_MISSING] = judged[FINDING_REFERENCE_ESCAPES] =
            judged[FINDING_REFERENCE_REMOTE] = false;
    if (image->data_file.state == REFERENCE_PENDING ||
        image->data_file.state == REFERENCE_UNREACHABLE)
        judged[FINDING_DATA_FILE] = judged[FINDING_REFERENCE_ESCAPES] =
            judged[FINDING_REFERENCE_REMOTE] = false;

    if (image->extents.n != image_count_extents(image) ||
        extent_in_state(image, REFERENCE_PENDING) || extent_in_state(image, REFERENCE_UNREACHABLE))
        judged[FINDING_DATA_FILE] = judged[FINDING_REFERENCE_ESCAPES] =
            judged[FINDING_REFERENCE_REMOTE] = judged[FINDING_DESCRIPTOR_UNSAFE] = false;

    if (image->parent.state == REFERENCE_MISSING) {
        _cleanup_free_ char *stored = text_escape_string(image->parent.stored);

        r = stored ? is_aside_with_parent(judging) : -ENOMEM;
        if (r == 0)
            r = add_parent_missing(judging, stored);
        if (r < 0)
            return r;
    }
    template = escapes_to_template(judging);
    r = judge_reference_kind(judging, REFERENCE_ESCAPES, FINDING_REFERENCE_ESCAPES,
                             template ? SEVERITY_ERROR : SEVERITY_CRITICAL,
                             template ? "in a folder of templates that is no datastore"
                                      : "outside the datastores");
    backup = reference_backup(judging);
    if (r >= 0)
        r = judge_reference_kind(judging, REFERENCE_IS_REMOTE, FINDING_REFERENCE_REMOTE,
                                 backup == BACKUP_RUNS ? SEVERITY_INFO : SEVERITY_ERROR,
                                 backup == BACKUP_RUNS
                                     ? "that the server of a backup under way provides"
                                     : "that is not a plain file");
    if (r >= 0 && backup == BACKUP_MAYBE)
        judging_hold(judging, FINDING_REFERENCE_REMOTE, BACKUP_SEEN);
    if (r >= 0)
        r = judge_descriptor(judging);
    if (r >= 0)
        r = judge_missing_extents(judging);
    if (r >= 0 && image->extents.n == image_count_extents(image) &&
        !extent_in_state(image, REFERENCE_MISSING))
        r = judge_short_extents(judging);
    return r >= 0 ? judge_data_file(judging) : r;
}

/* ---- formats and sizes ---------------------------------------------------------------------- */

/* stored, parent, content */
static int judge_parent_format(struct judging *judging)
{
    const struct reference *reference = &judging->image->parent;
    const struct layer_report *parent = image_layer(parent_of(judging));
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (reference->state == REFERENCE_NONE || reference->state == REFERENCE_IS_REMOTE ||
        reference->format || !reference->stored ||
        !qca_format_has(judging->layer->info.format, QCA_TRAIT_DECLARES_PARENT))
        return 0;
    evidence = evidence_new();
    evidence_text(&evidence, TEXT_STORED, reference->stored);
    evidence_text(&evidence, TEXT_PARENT, reference->path);
    if (parent)
        evidence_text(&evidence, TEXT_CONTENT, qca_format_name(parent->probed_format));
    return judging_add(judging, FINDING_PARENT_FORMAT_MISSING, SEVERITY_WARNING, 1, &evidence,
                       "does not say what format its parent has%s%s", parent ? ", which is " : "",
                       parent ? qca_format_name(parent->probed_format) : "");
}

/* parent, declared, content (of the parent); extension, own-content (of the image itself) */
static int judge_format(struct judging *judging)
{
    static const char *const qcow2[] = { "qcow2" }, *const raw[] = { "raw" };
    const struct reference *reference = &judging->image->parent;
    const struct layer_report *parent = image_layer(parent_of(judging));
    enum qca_format declared = reference->format ? qca_format_from_name(reference->format)
                                                 : QCA_FORMAT_UNKNOWN;
    enum qca_format content = judging->layer->info.format;
    const char *extension = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    bool mismatch = parent && qca_format_contradicts(declared, parent->probed_format,
                                                     parent->info.variant);

    /* The parent's content was not seen: it may still be as bad as it was. */
    if (!parent && reference->state != REFERENCE_NONE)
        judging->judgement->judged[FINDING_FORMAT_MISMATCH] = false;
    if (judging_has(judging, FINDING_HEADER_INVALID))
        extension = NULL;       /* the name is right, and the content was so, too */
    else if (content == QCA_FORMAT_RAW &&
             has_extension(judging->image->path, qcow2, ELEMENTSOF(qcow2)))
        extension = "qcow2";
    else if (qca_format_contradicts(QCA_FORMAT_RAW, content, judging->layer->info.variant) &&
             has_extension(judging->image->path, raw, ELEMENTSOF(raw)))
        extension = "raw";
    if (!mismatch && !extension)
        return 0;
    evidence = evidence_new();
    if (extension) {
        evidence_text(&evidence, TEXT_EXTENSION, extension);
        evidence_text(&evidence, TEXT_OWN_CONTENT, qca_format_name(content));
    }
    if (!mismatch)
        return judging_add(judging, FINDING_FORMAT_MISMATCH, SEVERITY_INFO, 1, &evidence,
                           "is called .%s, but its content is %s", extension,
                           qca_format_name(content));
    evidence_text(&evidence, TEXT_PARENT, reference->path);
    evidence_text(&evidence, TEXT_DECLARED, qca_format_name(declared));
    evidence_text(&evidence, TEXT_CONTENT, qca_format_name(parent->probed_format));
    if (image_lost_header(judging->graph, judging->relation->parent)) {
        _cleanup_free_ char *past = past_words(&judging->relation->parent->past);

        return past ? judging_add(judging, FINDING_FORMAT_MISMATCH, SEVERITY_CRITICAL, 2, &evidence,
                                  "declares its parent as %s, whose header was overwritten: it was "
                                  "%s", qca_format_name(declared), past)
                    : -ENOMEM;
    }
    return judging_add(judging, FINDING_FORMAT_MISMATCH, SEVERITY_CRITICAL, 2, &evidence,
                       "declares its parent as %s, whose content is %s", qca_format_name(declared),
                       qca_format_name(parent->probed_format));
}

/* virtual-size, parent-virtual-size, parent. Sectors are compared: a raw parent may end within
 * one. */
static int judge_size(struct judging *judging)
{
    const struct layer_report *parent = image_layer(parent_of(judging));
    uint64_t size = judging->layer->info.virtual_size, below;
    char words[TEXT_SIZE_MAX], parents_words[TEXT_SIZE_MAX];
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    /* a header need not say it */
    if (!parent || parent->info.virtual_size == 0 || size == 0)
        return 0;
    below = parent->info.virtual_size;
    /* A larger overlay is what a clone of a template mostly is. */
    if (size / 512 + (size % 512 > 0) >= below / 512 + (below % 512 > 0))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_VIRTUAL_SIZE, size);
    evidence_number(&evidence, NUMBER_PARENT_VIRTUAL_SIZE, below);
    evidence_text(&evidence, TEXT_PARENT, judging->relation->parent->path);
    return judging_add(judging, FINDING_SIZE_MISMATCH, SEVERITY_INFO, 1, &evidence,
                       "is a disk of %s, smaller than its parent's of %s", text_size(size, words),
                       text_size(below, parents_words));
}

/* ---- names and permissions ------------------------------------------------------------------ */

/* path, parent, data-file: those that are unsafe, escaped. A parent "../golden/x.qcow2" is
 * common and checked against the datastores anyhow, so steps upwards count only in data files. */
static int judge_names(struct judging *judging)
{
    const struct image *image = judging->image;
    const char *data_file = image->data_file.stored;
    bool path = name_is_bad(image->path), parent = name_is_bad(image->parent.stored);
    bool data = data_file && (name_is_bad(data_file) || path_has_step_up(data_file));
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (!path && !parent && !data)
        return 0;
    evidence = evidence_new();
    if (path)
        evidence_text(&evidence, TEXT_PATH, image->path);
    if (parent)
        evidence_text(&evidence, TEXT_PARENT, image->parent.stored);
    if (data)
        evidence_text(&evidence, TEXT_DATA_FILE, data_file);
    return judging_add(judging, FINDING_NAME_UNSAFE, SEVERITY_WARNING, 1, &evidence,
                       path ? "has a name that deceives people or scripts"
                            : "refers to a name that deceives people or scripts");
}

/* mode, uid, gid, golden, group-writable, others-writable, owner-writable */
static int judge_permissions(struct judging *judging)
{
    const struct fingerprint *f = &judging->image->fingerprint;
    /* An administrator who declared it golden wants it unchanged; of an image that only looks
     * golden, nobody said so. */
    bool declared = judging->relation && judging->relation->golden &&
                    !judging->relation->golden_inferred;
    /* The owner's own group (root's, vdsm's, a user's whose umask is 002) lets nobody else in. */
    bool private_group = f->uid == f->gid;
    unsigned wrong = declared        ? S_IWUSR | S_IWGRP | S_IWOTH
                     : private_group ? S_IWOTH
                                     : S_IWGRP | S_IWOTH;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    const char *who;

    if (((f->mode & S_IFMT) != 0 && !S_ISREG(f->mode)) || !(f->mode & wrong))
        return 0;
    who = f->mode & S_IWOTH   ? "everybody"
          : f->mode & S_IWGRP ? "its group"
                              : "its owner, although it is golden";
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_MODE, f->mode & 07777);
    evidence_number(&evidence, NUMBER_UID, f->uid);
    evidence_number(&evidence, NUMBER_GID, f->gid);
    evidence_flag(&evidence, FLAG_GOLDEN, declared);
    evidence_flag(&evidence, FLAG_OWNER_WRITABLE, f->mode & S_IWUSR);
    evidence_flag(&evidence, FLAG_GROUP_WRITABLE, f->mode & S_IWGRP);
    evidence_flag(&evidence, FLAG_OTHERS_WRITABLE, f->mode & S_IWOTH);
    return judging_add(judging, FINDING_PERMISSIONS, SEVERITY_WARNING, 1, &evidence,
                       "can be written by %s (mode %04o)", who, f->mode & 07777);
}

int judge_safety(struct judging *judging)
{
    int r = judge_references(judging);

    if (r >= 0)
        r = judge_parent_format(judging);
    if (r >= 0)
        r = judge_format(judging);
    if (r >= 0)
        r = judge_size(judging);
    if (r >= 0 && is_image(judging)) {
        r = judge_names(judging);
        if (r >= 0)
            r = judge_permissions(judging);
    }
    return r;
}
