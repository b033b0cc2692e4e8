/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an audit asks of the datastores' helpers: each answer finds its job, or nobody when that
 * ended before. */
#include <errno.h>

#include "daemon/audit/internal.h"
#include "lib/cleanup.h"

static void request_end(struct request *request, const struct request_result *result)
{
    struct job *job = request->job;
    request_fn done = request->done;
    uint64_t tag = request->tag;

    LIST_REMOVE(request, link);
    free(request);
    if (job)
        done(job, tag, result);
    else if (result->fd >= 0)
        close(result->fd);
}

static void on_open(void *userdata, int error, int fd, const struct files_stat *stat,
                    enum files_use use)
{
    request_end(userdata, &(struct request_result){
        .error = error, .fd = error < 0 ? -1 : fd, .stat = stat, .use = use });
}

static void on_probe(void *userdata, int error, const struct files_stat *stat, enum files_use use)
{
    request_end(userdata,
                &(struct request_result){ .error = error, .fd = -1, .stat = stat, .use = use });
}

static void on_resolve(void *userdata, int error, const char *real_path,
                       const struct files_stat *stat)
{
    request_end(userdata, &(struct request_result){
        .error = error, .fd = -1, .real_path = real_path, .stat = stat });
}

int request_start(struct job *job, enum request_kind kind, struct files *files, const char *path,
                  const char *reference, uint64_t tag, request_fn done)
{
    struct audits *audits = job->audits;
    struct request *request = calloc(1, sizeof(*request));
    int r = -EINVAL;

    if (!request)
        return -ENOMEM;
    *request = (struct request){
        .job = job, .files = files, .tag = tag, .done = done,
    };
    LIST_INSERT_HEAD(&audits->requests, request, link);
    switch (kind) {
    case REQUEST_OPEN:
        r = files_open(files, path, on_open, request);
        break;
    case REQUEST_PROBE:
        r = files_probe(files, path, on_probe, request);
        break;
    case REQUEST_RESOLVE:
        r = files_resolve(files, path, reference, on_resolve, request);
        break;
    }
    if (r < 0) {
        LIST_REMOVE(request, link);
        free(request);
    }
    return r;
}

void requests_detach(struct audits *audits, const struct job *job)
{
    struct request *request;

    LIST_FOREACH(request, &audits->requests, link)
        if (request->job == job)
            request->job = NULL;
}

void requests_files_gone(struct audits *audits, const struct files *files)
{
    struct request *request = LIST_FIRST(&audits->requests);

    /* The end of one job may end others, so look from the start each time. */
    while (request) {
        if (request->files == files) {
            request_end(request, &(struct request_result){ .error = -ENOTCONN, .fd = -1 });
            request = LIST_FIRST(&audits->requests);
        } else {
            request = LIST_NEXT(request, link);
        }
    }
}

bool request_error_is_helper(int error)
{
    switch (error) {
    case -ENOTCONN:
    case -ECANCELED:
    case -ETIMEDOUT:
    case -EBADMSG:
    case -ECHILD:
    case -EPIPE:
    case -ECONNRESET:
        return true;
    default:
        return false;
    }
}
