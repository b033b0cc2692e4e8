/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The database of a daemon that does not run, read and never written. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store/db.h"
#include "daemon/store/record.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

struct store_reader {
    sqlite3 *sqlite;
};

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct store_reader *, store_reader_free)

/* SQLite would wait for ever at the end of a pipe. */
static int look_at_file(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? 0 : -EMEDIUMTYPE;
}

int store_reader_open(const char *directory, int *ret_version, struct store_reader **ret_reader)
{
    _cleanup_(store_reader_freep) struct store_reader *reader = calloc(1, sizeof(*reader));
    _cleanup_free_ char *path = NULL;
    int version, r;

    if (!reader || asprintf(&path, "%s/%s", directory, CONTROL_DATABASE_NAME) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    r = store_folder_look(directory);
    if (r >= 0)
        r = look_at_file(path);
    if (r >= 0)
        r = store_db_open_reader(path, &reader->sqlite);
    if (r >= 0)
        r = store_version(reader->sqlite, &version);
    if (r < 0)
        return r;
    if (version != CONTROL_DATABASE_VERSION) {
        *ret_version = version;
        return -EPROTONOSUPPORT;
    }
    *ret_reader = TAKE_PTR(reader);
    return 0;
}

struct store_reader *store_reader_free(struct store_reader *reader)
{
    if (!reader)
        return NULL;
    sqlite3_close(reader->sqlite);
    free(reader);
    return NULL;
}

int store_reader_load(struct store_reader *reader, const struct store_loader *loader)
{
    return store_load_all(reader->sqlite, loader, usec_now(CLOCK_REALTIME));
}

static void record_check_freep(struct record_check **check)
{
    record_check_free(*check);
}

static int check_record(struct store_reader *reader, const struct history_question *question,
                        json_object **ret_result)
{
    _cleanup_(record_check_freep) struct record_check *check = NULL;
    int r = record_check_new(reader->sqlite, question->heads, &check);

    if (r >= 0)
        r = record_check_step(check, UINT_MAX);
    return r < 0 ? r : record_check_result(check, ret_result);
}

int store_reader_history(struct store_reader *reader, const struct history_question *question,
                         json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *all = NULL;
    struct history_question rest = *question;
    int64_t before = INT64_MAX;

    if (question->of == HISTORY_CHECK)
        return check_record(reader, question, ret_rows);
    while (before > 0 && rest.limit > 0) {
        _cleanup_(json_object_putp) json_object *rows = NULL;
        int r = store_query(reader->sqlite, &rest, before, &rows, &before);

        for (size_t i = 0; all && r >= 0 && i < json_object_array_length(rows); i++)
            r = json_object_array_add(all, json_object_get(json_object_array_get_idx(rows, i)));
        if (r < 0)
            return r;
        if (!all)
            all = TAKE_PTR(rows);
        if (before > 0)
            rest.limit = question->limit - (unsigned)json_object_array_length(all);
    }
    *ret_rows = TAKE_PTR(all);
    return 0;
}
