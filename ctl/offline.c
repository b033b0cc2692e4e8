/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's database (daemon/store/schema.sql), read while no daemon runs. */
#include "ctl/offline.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers/text.h"
#include "qcaudit/control.h"
#include "qcaudit/qcaudit.h"

/* SQLite is loaded by the one command that wants it: its start is a tenth of what `check` takes. */
#define SQLITE_LIBRARY "libsqlite3.so.0"
#define SQLITE_FUNCTIONS(F)                                                                        \
    F(bind_blob) F(busy_timeout) F(close) F(column_blob) F(column_bytes) F(column_count)           \
    F(column_double)                                                                               \
    F(column_int) F(column_int64) F(column_name) F(column_text) F(column_type) F(errmsg)           \
    F(finalize) F(open_v2)                                                                         \
    F(prepare_v2) F(step)

struct offline {
    void *library;
    sqlite3 *database;
    sqlite3_stmt *statement;
#define SQLITE_MEMBER(name) __typeof__(sqlite3_##name) *name;
    SQLITE_FUNCTIONS(SQLITE_MEMBER)
#undef SQLITE_MEMBER
};

static void offline_done(struct offline *offline)
{
    if (offline->statement)
        (void)offline->finalize(offline->statement);
    if (offline->database)
        (void)offline->close(offline->database);
    if (offline->library)
        dlclose(offline->library);
}

static int offline_load(struct offline *offline)
{
    bool complete = true;

    offline->library = dlopen(SQLITE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!offline->library)
        return complain(0, "--offline needs SQLite: %s.", dlerror()), -ELIBACC;
#define SQLITE_LOAD(name)                                                                          \
    offline->name = (__typeof__(offline->name))dlsym(offline->library, "sqlite3_" #name);          \
    complete = complete && offline->name;
    SQLITE_FUNCTIONS(SQLITE_LOAD)
#undef SQLITE_LOAD
    return complete ? 0 : (complain(0, SQLITE_LIBRARY " is too old for --offline."), -ELIBBAD);
}

/* ---- the state folder --------------------------------------------------------------------- */

static char *state_directory(const struct ctl *ctl)
{
    const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
    char *path;

    if (ctl->state_directory)
        return strdup(ctl->state_directory);
    if (geteuid() == 0 || access(CONTROL_SYSTEM_STATE_DIR, R_OK) == 0 || (!state && !home))
        return strdup(CONTROL_SYSTEM_STATE_DIR);
    if (state && *state)
        return asprintf(&path, "%s/qcaudit", state) < 0 ? NULL : path;
    return asprintf(&path, "%s/.local/state/qcaudit", home) < 0 ? NULL : path;
}

/* -EBUSY while a daemon holds the folder; asked without taking the lock, as one may start any
 * time. */
static int check_lock(const char *directory)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;

    if (asprintf(&path, "%s/" CONTROL_LOCK_NAME, directory) < 0)
        return -ENOMEM;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type == F_UNLCK ? 0 : -EBUSY;
}

static int database_error(const struct offline *offline, const char *directory)
{
    _cleanup_free_ char *shown = text_escape_string(directory);

    return complain(0, "Cannot read the database in %s: %s.", shown,
                    offline->errmsg(offline->database)),
           -EIO;
}

/* SQLite would wait for ever at the end of a pipe. */
static int look_at_file(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? 0 : -EMEDIUMTYPE;
}

static int open_database(struct offline *offline, const char *directory)
{
    _cleanup_free_ char *path = NULL;
    int version, r;

    if (asprintf(&path, "%s/" CONTROL_DATABASE_NAME, directory) < 0)
        return complain(-ENOMEM, "Cannot open the database");
    r = look_at_file(path);
    if (r < 0) {
        _cleanup_free_ char *shown = text_escape_string(path);

        if (r == -EMEDIUMTYPE)
            return complain(0, "Cannot open the database %s: it is not a regular file.", shown), r;
        return complain(r, "Cannot open the database %s", shown);
    }
    r = offline_load(offline);
    if (r < 0)
        return r;
    if (offline->open_v2(path, &offline->database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOFOLLOW,
                         NULL) != SQLITE_OK)
        return database_error(offline, directory);
    (void)offline->busy_timeout(offline->database, 5000);
    if (offline->prepare_v2(offline->database, "PRAGMA user_version", -1, &offline->statement,
                            NULL) != SQLITE_OK ||
        offline->step(offline->statement) != SQLITE_ROW)
        return database_error(offline, directory);
    version = offline->column_int(offline->statement, 0);
    (void)offline->finalize(TAKE_PTR(offline->statement));
    if (version != CONTROL_DATABASE_VERSION)
        return complain(0, "The database has version %d, and this qcauditctl reads version %d.",
                        version, CONTROL_DATABASE_VERSION),
               -EPROTONOSUPPORT;
    return 0;
}

/* The caller calls offline_done(), after an error too. */
static int offline_open(const struct ctl *ctl, struct offline *offline)
{
    _cleanup_free_ char *directory = state_directory(ctl), *shown = NULL;
    int r;

    if (!directory)
        return complain(-ENOMEM, "Cannot open the database");
    shown = text_escape_string(directory);
    r = check_lock(directory);
    if (r == -EBUSY)
        return complain(0, "qcauditd is running and has %s: ask it, without --offline.", shown), r;
    if (r < 0)
        return complain(r, "Cannot look at %s", shown);
    return open_database(offline, directory);
}

/* ---- rows --------------------------------------------------------------------------------- */

/* How a column becomes a member. Its name is the member's; NULL has no member. */
static json_object *column_json(const struct offline *offline, int column)
{
    const char *name = offline->column_name(offline->statement, column);
    size_t n = strlen(name);

    switch (offline->column_type(offline->statement, column)) {
    case SQLITE_INTEGER:
        /* "?": a boolean; "+": an unsigned number with the same bits. */
        if (name[n - 1] == '?')
            return json_object_new_boolean(offline->column_int(offline->statement, column) != 0);
        if (name[n - 1] == '+')
            return json_object_new_uint64(
                (uint64_t)offline->column_int64(offline->statement, column));
        return json_object_new_int64(offline->column_int64(offline->statement, column));
    case SQLITE_FLOAT:
        return json_object_new_double(offline->column_double(offline->statement, column));
    default: {
        const char *bytes = offline->column_blob(offline->statement, column);
        int size = offline->column_bytes(offline->statement, column);

        if (name[n - 1] == '#')     /* JSON */
            return json_tokener_parse(
                bytes ? (const char *)offline->column_text(offline->statement, column) : "{}");
        return json_object_new_string_len(bytes ? bytes : "", size);
    }
    }
}

static int read_row(const struct offline *offline, json_object **ret_row)
{
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();

    if (!row)
        return -ENOMEM;
    for (int i = 0; i < offline->column_count(offline->statement); i++) {
        const char *name = offline->column_name(offline->statement, i);
        _cleanup_free_ char *key = strndup(name, strcspn(name, "?+#"));
        json_object *value;

        if (offline->column_type(offline->statement, i) == SQLITE_NULL)
            continue;
        value = column_json(offline, i);
        if (!key || json_object_object_add(row, key, value) < 0) {
            json_object_put(value);
            return -ENOMEM;
        }
    }
    *ret_row = TAKE_PTR(row);
    return 0;
}

/* What a statement gives, as far as takes() wants it; up to limit rows, 0 all. path binds to ?1
 * where it has one. */
static int read_rows(const struct ctl *ctl, const char *sql, const char *path, json_object *filter,
                     bool (*takes)(json_object *filter, json_object *row), unsigned limit,
                     json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    _cleanup_(offline_done) struct offline offline = {};
    int code, r = offline_open(ctl, &offline);

    if (r < 0)
        return r;
    if (!rows)
        return complain(-ENOMEM, "Cannot read the database");
    if (offline.prepare_v2(offline.database, sql, -1, &offline.statement, NULL) != SQLITE_OK)
        return database_error(&offline, "the state folder");
    if (path && offline.bind_blob(offline.statement, 1, path, (int)strlen(path), SQLITE_STATIC) !=
                    SQLITE_OK)
        return database_error(&offline, "the state folder");
    while ((code = offline.step(offline.statement)) == SQLITE_ROW &&
           (limit == 0 || json_object_array_length(rows) < limit)) {
        json_object *row;

        r = read_row(&offline, &row);
        if (r < 0)
            return complain(r, "Cannot read the database");
        if (takes && !takes(filter, row)) {
            json_object_put(row);
            continue;
        }
        if (json_object_array_add(rows, row) < 0) {
            json_object_put(row);
            return complain(-ENOMEM, "Cannot read the database");
        }
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return database_error(&offline, "the state folder");
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

/* ---- filters ------------------------------------------------------------------------------ */

static bool same(json_object *filter, const char *key, json_object *row, const char *member)
{
    const char *wanted = row_raw(filter, key), *value = row_raw(row, member);

    return !wanted || (value && strcmp(wanted, value) == 0);
}

static bool below(json_object *filter, json_object *row, const char *member)
{
    const char *wanted = row_raw(filter, "path"), *path = row_raw(row, member);
    size_t n = wanted ? strlen(wanted) : 0;

    if (!wanted || strcmp(wanted, "/") == 0)
        return true;
    return path && strncmp(path, wanted, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static int severity_level(const char *severity)
{
    static const char *const names[] = { "info", "warning", "error", "critical" };

    for (size_t i = 0; severity && i < ELEMENTSOF(names); i++)
        if (strcmp(names[i], severity) == 0)
            return (int)i;
    return -1;
}

static bool takes_image(json_object *filter, json_object *row)
{
    return same(filter, "datastore", row, "datastore") && same(filter, "format", row, "format") &&
           below(filter, row, "path");
}

static bool takes_finding(json_object *filter, json_object *row)
{
    const char *wanted = row_raw(filter, "state"), *state = row_raw(row, "state");

    if (!state || (!wanted && strcmp(state, "resolved") == 0))
        return false;
    if (wanted && strcmp(wanted, "all") != 0 && strcmp(wanted, state) != 0)
        return false;
    if (row_has(filter, "path") && !row_has(row, "path"))
        return false;
    return severity_level(row_raw(row, "severity")) >=
               severity_level(row_raw(filter, "severity")) &&
           same(filter, "name", row, "name") && same(filter, "datastore", row, "datastore") &&
           below(filter, row, "subject");
}

static bool takes_event(json_object *filter, json_object *row)
{
    uint64_t until = row_number(filter, "until"), at = row_number(row, "at");

    return same(filter, "name", row, "finding") && same(filter, "path", row, "subject") &&
           at >= row_number(filter, "since") && (until == 0 || at <= until);
}

/* ---- what there is ------------------------------------------------------------------------ */

int offline_images(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    static const char sql[] =
        "SELECT i.path, d.name AS datastore, i.present AS 'present?', i.size AS 'size+', "
        "i.allocated AS 'allocated+',"
        " i.use, a.finished AS audited, a.confidence, a.format, a.virtual_size AS 'virtual-size+',"
        " a.corruptions AS 'corruptions+', a.leaks AS 'leaks+', a.check_errors AS 'check-errors+',"
        " nullif(a.error, 0) AS error, CASE WHEN a.error != 0 THEN a.open_text END AS 'error-text',"
        " e.path AS parent, e.stored AS 'parent-stored', e.state AS 'parent-state', a.depth,"
        " (SELECT count(*) FROM edge c WHERE c.path = i.path AND c.kind = 'parent') AS children,"
        " (SELECT count(*) FROM finding f WHERE f.subject_kind = 'image' AND f.subject = i.path"
        "  AND f.state != 'resolved') AS findings,"
        " (SELECT severity FROM finding f WHERE f.subject_kind = 'image' AND f.subject = i.path"
        "  AND f.state != 'resolved' ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'error'"
        " THEN 1"
        "  WHEN 'warning' THEN 2 ELSE 3 END LIMIT 1) AS severity"
        " FROM image i JOIN datastore d ON d.id = i.datastore LEFT JOIN audit a ON a.id = i.audit"
        " LEFT JOIN edge e ON e.child = i.id AND e.kind = 'parent' WHERE i.gone IS NULL ORDER BY"
        " i.path";

    return read_rows(ctl, sql, NULL, filter, takes_image, ctl->lines, ret_rows);
}

/* Titles are not in the database: the catalogue's are this program's own. */
#define FINDING_COLUMNS                                                                            \
    "SELECT id, type AS name, severity, confidence, state, subject_kind AS 'subject-kind',"        \
    " subject, CASE subject_kind WHEN 'image' THEN subject END AS path, datastore,"                \
    " first_seen AS 'first-seen',"                                                                 \
    " last_seen AS 'last-seen', changed, resolved, count, weight AS 'weight+', "                   \
    " CASE WHEN json_valid(evidence) THEN json_extract(evidence, '$.summary') END AS summary,"     \
    " CASE state WHEN 'acknowledged' THEN acknowledged_by END AS 'acknowledged-by',"               \
    " CASE state WHEN 'acknowledged' THEN acknowledged_reason END AS 'acknowledged-reason',"       \
    " CASE state WHEN 'acknowledged' THEN acknowledged_until END AS 'acknowledged-until'"

int offline_findings(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    static const char plain[] = FINDING_COLUMNS " FROM finding ORDER BY id";
    static const char detailed[] = FINDING_COLUMNS ", evidence AS 'evidence#', remedy AS 'remedy#'"
                                                   " FROM finding ORDER BY id";

    return read_rows(ctl, row_bool(filter, "details") ? detailed : plain, NULL, filter,
                     takes_finding, ctl->lines, ret_rows);
}

int offline_events(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    static const char sql[] =
        "SELECT at, type AS event, finding, severity, confidence, subject, subject_kind AS "
        "'subject-kind', datastore,"
        " message, depth, id AS 'event-id' FROM event ORDER BY seq DESC";

    return read_rows(ctl, sql, NULL, filter, takes_event, ctl->lines, ret_rows);
}

int offline_audits(struct ctl *ctl, const char *path, json_object **ret_rows)
{
    static const char sql[] =
        "SELECT a.started, a.finished, a.confidence, a.use, a.error = 0 AS 'opened?', "
        "nullif(a.error, 0) AS error,"
        " a.corruptions AS 'corruptions+', a.leaks AS 'leaks+', a.check_errors AS 'check-errors+',"
        " a.size AS 'size+',"
        " a.allocated AS 'allocated+', a.virtual_size AS 'virtual-size+', a.depth"
        " FROM image i JOIN audit a ON a.image = i.id WHERE i.path = ?1 ORDER BY a.id DESC";

    return read_rows(ctl, sql, path, NULL, NULL, ctl->lines, ret_rows);
}

int offline_readings(struct ctl *ctl, const char *path, json_object **ret_rows)
{
    static const char sql[] =
        "SELECT started, finished, verdict, nullif(explanation, '') AS explanation, "
        "nullif(lower(hex(digest)), '') AS digest,"
        " virtual_size AS 'virtual-size+', read AS 'read-bytes+', zero AS 'zero-bytes+',"
        " unallocated AS 'unallocated-bytes+', direct AS 'direct?', nullif(bad, 0) AS 'bad-ranges'"
        " FROM digest WHERE path = ?1 ORDER BY id DESC";

    return read_rows(ctl, sql, path, NULL, NULL, ctl->lines, ret_rows);
}

/* ---- status ------------------------------------------------------------------------------- */

static int add_counts(struct ctl *ctl, const char *state, const char *key, json_object *status)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    json_object *counts = json_object_new_object();
    int r;

    if (!filter || json_object_object_add(status, key, counts) < 0 ||
        json_object_object_add(filter, "state", json_object_new_string(state)) < 0)
        return complain(-ENOMEM, "Cannot read the database");
    r = offline_findings(ctl, filter, &rows);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        const char *severity = row_raw(json_object_array_get_idx(rows, i), "severity");

        if (severity &&
            json_object_object_add(counts, severity,
                                   json_object_new_uint64(row_number(counts, severity) + 1)) < 0)
            r = complain(-ENOMEM, "Cannot read the database");
    }
    return r;
}

static int add_number(json_object *object, const char *key, uint64_t n)
{
    n += row_number(object, key);
    if (n > 0 && json_object_object_add(object, key, json_object_new_uint64(n)) < 0)
        return complain(-ENOMEM, "Cannot read the database");
    return 0;
}

/* Of a datastore: so many images are, by their last audits, what: a format, or why they were not
 * audited. */
static int add_images(json_object *coverage, const char *what, uint64_t n)
{
    json_object *left_out = row_member(coverage, "left-out");
    enum qca_format format = qca_format_from_name(what);
    int r = add_number(coverage, "images", n);

    if (r < 0 || !left_out)
        return r;
    if (strcmp(what, "not-audited-yet") == 0 || strcmp(what, "unreadable") == 0 ||
        strcmp(what, "worker-deaths") == 0)
        return add_number(left_out, what, n);
    return format != QCA_FORMAT_UNKNOWN && !qca_format_is_understood(format)
               ? add_number(left_out, "format-not-understood", n)
               : add_number(coverage, "audited", n);
}

/* What the walks left out is in the datastores' rows; what the audits did is counted here. */
static int add_coverage(struct ctl *ctl, json_object *stores)
{
    static const char sql[] =
        "SELECT d.name AS datastore, CASE WHEN a.id IS NULL THEN 'not-audited-yet'"
        " WHEN i.worker_deaths >= 3 THEN 'worker-deaths' WHEN a.error != 0 THEN 'unreadable'"
        " ELSE coalesce(a.format, 'raw') END AS what, count(*) AS n"
        " FROM image i JOIN datastore d ON d.id = i.datastore LEFT JOIN audit a ON a.id = i.audit"
        " WHERE i.gone IS NULL AND i.present GROUP BY 1, 2";
    _cleanup_(json_object_putp) json_object *rows = NULL;
    int r = read_rows(ctl, sql, NULL, NULL, NULL, 0, &rows);

    for (size_t s = 0; r >= 0 && s < json_object_array_length(stores); s++) {
        json_object *store = json_object_array_get_idx(stores, s),
                    *coverage = row_member(store, "coverage"),
                    *left_out = coverage ? row_member(coverage, "left-out") : NULL;
        const char *name = row_raw(store, "name");

        if (!name || !left_out || !json_object_is_type(left_out, json_type_object))
            continue;
        r = add_number(left_out, "unreadable", row_number(store, "unreadable"));
        for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
            json_object *row = json_object_array_get_idx(rows, i);
            const char *of = row_raw(row, "datastore"), *what = row_raw(row, "what");

            if (of && what && strcmp(of, name) == 0)
                r = add_images(coverage, what, row_number(row, "n"));
        }
    }
    return r;
}

int offline_status(struct ctl *ctl, json_object **ret_entry)
{
    static const char sums[] =
        "SELECT count(*) AS images, count(a.id) AS 'images-audited', total(a.error != 0) AS "
        "unreadable,"
        " coalesce(sum(i.size), 0) AS 'images-size', coalesce(sum(i.allocated), 0) AS"
        " 'images-allocated',"
        " sum(a.depth > 1 AND NOT EXISTS (SELECT 1 FROM edge c WHERE c.path = i.path AND c.kind ="
        " 'parent')) AS chains,"
        " (SELECT max(walk_finished) FROM datastore) AS 'last-pass'"
        " FROM image i LEFT JOIN audit a ON a.id = i.audit WHERE i.gone IS NULL AND i.present";
    static const char datastores[] =
        "SELECT name, path, recursive AS 'recursive?', state, nullif(error, 0) AS error, type,"
        " network AS 'network?', size AS 'size+', available AS 'available+', watched AS 'watched?',"
        " nullif(watch_error, 0) AS 'watch-error', overflows, unreadable, walk_started AS"
        " 'walk-started',"
        " walk_finished AS 'walk-finished', paused_until AS 'paused-until+', n_images AS images,"
        " coverage AS 'coverage#'"
        " FROM datastore WHERE state <> 'removed' ORDER BY name";
    _cleanup_(json_object_putp) json_object *rows = NULL, *stores = NULL, *status = NULL;
    int r = read_rows(ctl, sums, NULL, NULL, NULL, 0, &rows);

    if (r >= 0)
        r = read_rows(ctl, datastores, NULL, NULL, NULL, 0, &stores);
    if (r >= 0)
        r = add_coverage(ctl, stores);
    if (r < 0)
        return r;
    status = json_object_get(json_object_array_get_idx(rows, 0));
    if (json_object_object_add(status, "images-unreadable",
                               json_object_new_uint64(row_number(status, "unreadable"))) < 0 ||
        json_object_object_add(status, "datastores", json_object_get(stores)) < 0)
        return complain(-ENOMEM, "Cannot read the database");
    json_object_object_del(status, "unreadable");
    r = add_counts(ctl, "open", "open", status);
    if (r >= 0)
        r = add_counts(ctl, "acknowledged", "acknowledged", status);
    if (r < 0)
        return r;
    *ret_entry = TAKE_PTR(status);
    return 0;
}
