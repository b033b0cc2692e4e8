/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where an image's parent, data file and extents are: hostile text, judged by its form, then by the
 * helper in whose datastore it lies. */
#include <errno.h>
#include <string.h>

#include "daemon/audit/internal.h"
#include "lib/cleanup.h"

/* The reference asked for; from TAG_EXTENT on, the extents. */
enum reference_tag { TAG_PARENT, TAG_DATA_FILE, TAG_EXTENT };

#define TAG_ELSEWHERE (UINT64_C(1) << 32)   /* with one of them: asked again, of another helper */

static struct reference *reference_of(struct job *job, uint64_t tag)
{
    if (tag >= TAG_EXTENT)
        return &job->extents.items[tag - TAG_EXTENT];
    return tag == TAG_PARENT ? &job->parent : &job->data_file;
}

static void reference_set(struct reference *reference, int error)
{
    reference->error = error;
    switch (error) {
    case 0:
        reference->state = REFERENCE_FOUND;
        break;
    case -EPERM:
    case -EMEDIUMTYPE:
        reference->state = REFERENCE_ESCAPES;
        break;
    case -EXDEV:                /* on a file system that nobody looks into */
    case -ENOMEM:               /* what this machine lacks says nothing about a file */
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -EAGAIN:
        reference->state = REFERENCE_UNREACHABLE;
        break;
    default:
        reference->state = request_error_is_helper(error) ? REFERENCE_UNREACHABLE
                                                          : REFERENCE_MISSING;
        break;
    }
}

static void on_resolved(struct job *job, uint64_t tag, const struct request_result *result);

/* Asks another datastore's helper for a reference that leads out of this one onto a file system
 * that may hang. */
static bool ask_elsewhere(struct job *job, uint64_t tag, const struct request_result *result)
{
    const struct datastore *datastore;
    struct files *files;

    return result->error == -EXDEV && result->real_path && !(tag & TAG_ELSEWHERE) &&
           job->audits->options.files(job->audits->options.userdata, result->real_path, &files,
                                      &datastore) >= 0 &&
           datastore != job->image->datastore &&
           request_start(job, REQUEST_RESOLVE, files, job->image->path, result->real_path,
                         tag | TAG_ELSEWHERE, on_resolved) >= 0;
}

static void on_resolved(struct job *job, uint64_t tag, const struct request_result *result)
{
    struct reference *reference = reference_of(job, tag & ~TAG_ELSEWHERE);
    int error = result->error;

    if (ask_elsewhere(job, tag, result))
        return;

    free(reference->path);
    reference->path = NULL;
    if (result->real_path) {
        reference->path = strdup(result->real_path);
        if (!reference->path)
            error = -ENOMEM;
    }
    reference_set(reference, error);
    if (error == 0)
        reference->identity = identity_from_stat(result->stat);
    if (--job->n_resolving == 0)
        job_resolved(job);
}

/* -errno as reference_set() takes it, and the helper to ask, with its datastore; REFERENCE_REMOTE
 * is told by *ret_class. */
static int reference_place(struct job *job, const char *stored, enum reference_text *ret_class,
                           char **ret_path, struct files **ret_files,
                           const struct datastore **ret_datastore)
{
    struct audits *audits = job->audits;
    _cleanup_free_ char *path = NULL, *lexical = NULL;
    int r;

    r = reference_classify(stored, ret_class, &path);
    if (r < 0)
        return r;
    if (*ret_class == REFERENCE_REMOTE)
        return -EMEDIUMTYPE;
    if (*ret_class == REFERENCE_UNSAFE) {
        if (stored[0] != '/' || !audits->options.is_device ||
            !audits->options.is_device(audits->options.userdata, stored))
            return -EPERM;
        *ret_class = REFERENCE_LOCAL;
        path = strdup(stored);
        if (!path)
            return -ENOMEM;
    }
    r = reference_lexical(job->image->path, path, &lexical);
    if (r >= 0)
        r = audits->options.files(audits->options.userdata, lexical, ret_files, ret_datastore);
    /* Links may lead into a datastore all the same, as libvirt writes a domain's path into its
     * overlays. The image's own helper follows them by text, and opens nothing that lies
     * outside. */
    if (r == -EPERM)
        r = audits->options.files(audits->options.userdata, job->image->path, ret_files,
                                  ret_datastore);
    if (r < 0)
        return r;
    *ret_path = TAKE_PTR(path);
    return 0;
}

static void reference_resolve(struct job *job, uint64_t tag)
{
    struct reference *reference = reference_of(job, tag);
    enum reference_text class = REFERENCE_LOCAL;
    const struct datastore *datastore;
    _cleanup_free_ char *path = NULL;
    struct files *files;
    int r;

    if (!reference->stored) {
        reference->state = REFERENCE_NONE;
        return;
    }
    reference->state = REFERENCE_PENDING;
    r = reference_place(job, reference->stored, &class, &path, &files, &datastore);
    if (r >= 0) {
        r = request_start(job, REQUEST_RESOLVE, files, job->image->path, path, tag, on_resolved);
        if (r >= 0) {
            job->n_resolving++;
            return;
        }
    }
    reference_set(reference, r);
    if (class == REFERENCE_REMOTE)
        reference->state = REFERENCE_IS_REMOTE;
}

static int reference_copy(struct reference *reference, const char *stored, const char *format)
{
    reference->stored = stored ? strdup(stored) : NULL;
    reference->format = format ? strdup(format) : NULL;
    return (stored && !reference->stored) || (format && !reference->format) ? -ENOMEM : 0;
}

/* The files that a descriptor, or a record, names; of zeros it names none. */
static int extents_copy(struct job *job, const struct qca_image_info *info)
{
    bool record = qca_format_has(info->format, QCA_TRAIT_RECORD);
    struct reference *items;

    for (size_t i = 0; i < info->n_extents; i++) {
        if (!info->extents[i].name)
            continue;
        if (!job->extents.items) {
            items = calloc(info->n_extents, sizeof(*items));
            if (!items)
                return -ENOMEM;
            job->extents.items = items;
        }
        if (reference_copy(&job->extents.items[job->extents.n++], info->extents[i].name,
                           record ? info->extents[i].type : NULL) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int references_start(struct job *job, const char *parent, const char *parent_format,
                            const char *data_file, const char *data_file_format,
                            const struct qca_image_info *info)
{
    int r;

    r = reference_copy(&job->parent, parent, parent_format);
    if (r >= 0)
        r = reference_copy(&job->data_file, data_file, data_file_format);
    if (r >= 0 && info)
        r = extents_copy(job, info);
    if (r < 0)
        return r;
    job->references_known = true;
    reference_resolve(job, TAG_PARENT);
    reference_resolve(job, TAG_DATA_FILE);
    for (size_t i = 0; i < job->extents.n; i++)
        reference_resolve(job, TAG_EXTENT + i);
    if (job->n_resolving == 0)
        job_resolved(job);
    return 0;
}

int references_from_report(struct job *job, const struct qca_image_info *info)
{
    return references_start(job, info->parent, info->parent_format, info->data_file, NULL,
                            info);
}

int references_again(struct job *job, const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);

    return references_start(job, image->parent.stored, image->parent.format,
                            image->data_file.stored, image->data_file.format,
                            layer ? &layer->info : NULL);
}

/* ---- questions of a worker ------------------------------------------------------------------- */

static void answer(struct job *job, uint64_t question, int error, int fd,
                   const struct files_stat *stat)
{
    struct qca_file_id id = { 0 };
    int r;

    if (!job->slot)
        return;
    if (stat)
        id = (struct qca_file_id){ .a = stat->fsid, .b = stat->inode, .mtime = stat->mtime,
                                    .is_device = stat->type == FILES_BLOCK };
    r = worker_answer(job->slot->worker, question, error, fd, stat ? stat->alignment : 0, &id);
    if (r < 0)
        worker_cancel(job->slot->worker);   /* it would wait for ever */
}

static void on_data_file(struct job *job, uint64_t tag, const struct request_result *result)
{
    _cleanup_close_ int fd = result->fd;

    answer(job, tag, result->error, fd, result->error < 0 ? NULL : result->stat);
}

static void job_note_reached(struct job *job, const struct datastore *datastore)
{
    if (datastore == job->image->datastore)
        return;
    job->reached_several |= job->reached && job->reached != datastore;
    job->reached = datastore;
}

void reference_answer(struct job *job, struct worker *worker,
                      const struct worker_question *question)
{
    enum reference_text class = REFERENCE_LOCAL;
    _cleanup_free_ char *path = NULL, *lexical = NULL;
    const struct datastore *datastore;
    struct files *files;
    int r = -EPERM;

    /* One audit is of one image: no parent is opened for it. */
    if (question->kind != QCA_REFERENCE_PARENT)
        r = reference_place(job, question->name, &class, &path, &files, &datastore);
    if (r >= 0)
        r = reference_lexical(job->image->path, path, &lexical);
    if (r >= 0)
        r = request_start(job, REQUEST_OPEN, files, lexical, NULL, question->id, on_data_file);
    if (r < 0)
        answer(job, question->id, r, -1, NULL);
    else
        job_note_reached(job, datastore);
}
