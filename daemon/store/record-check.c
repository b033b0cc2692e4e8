/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks the chain of events, from the newest down: each row against its digest, the ranges that
 * the retention left against both their ends, and subjects against the renames since. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/db.h"
#include "daemon/store/record-names.h"
#include "daemon/store/record.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

#define PROBLEMS_MAX 100        /* of these the oldest, and how many there are */
#define RANGES_MAX 100          /* likewise the newest */
#define HEADS_MAX 1000

DEFINE_CLEANUP(json_object *, json_object_put)

static const uint8_t genesis[RECORD_DIGEST_SIZE];

/* The digest that an event must have, by somebody who wrote it down. */
struct head {
    int64_t seq;
    uint8_t digest[RECORD_DIGEST_SIZE];
};

/* The link looked at last, which hangs on the next one. */
struct link {
    enum { LINK_NONE, LINK_EVENT, LINK_RANGE } kind;
    int64_t seq, last;          /* of a range its first and last */
    char *body;                 /* of an event, to make its digest of; */
    size_t size;
    uint8_t digest[RECORD_DIGEST_SIZE];         /* that it has; of a range the digest before it */
};

struct record_check {
    sqlite3 *sqlite;
    sqlite3_stmt *events, *ranges;      /* by falling number */
    bool more_events, more_ranges;
    char record[33];
    int64_t unchained, top;
    uint64_t n_unchained;
    uint8_t top_digest[RECORD_DIGEST_SIZE];
    bool has_top;
    int64_t reached;            /* all from here to top was looked at */
    struct link link;
    struct record_names names;  /* of the place that was reached */
    bool names_unknown;         /* renames are gone: older subjects cannot be checked */
    struct head *heads;         /* by falling number */
    size_t n_heads, head, n_heads_removed;
    uint64_t n_events, n_removed, n_ranges, n_problems;
    json_object *problem_rows, *range_rows;
};

/* ---- problems ---------------------------------------------------------------------------- */

static int add_digest(json_object *object, const char *key, const uint8_t *digest)
{
    char text[2 * RECORD_DIGEST_SIZE + 1];

    hex_encode(digest, RECORD_DIGEST_SIZE, text);
    return json_add_text(object, key, text);
}

/* Adds the columns of the event's row. */
static int add_event(const struct record_check *check, json_object *row, int64_t seq)
{
    static const char *const keys[] = { "event", "finding", "subject", "message" };
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code, r = store_db_prepare(check->sqlite,
                          "SELECT type, finding, subject, message, at FROM event WHERE seq = ?1",
                          seq, &statement);

    if (r < 0)
        return r;
    code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return 0;
    if (code != SQLITE_ROW)
        return store_db_error(check->sqlite, code);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(keys); i++) {
        const char *bytes = sqlite3_column_blob(statement, (int)i);

        r = json_add(row, keys[i],
                     json_object_new_string_len(bytes ? bytes : "",
                                                sqlite3_column_bytes(statement, (int)i)));
    }
    return r < 0 ? r : json_add_number(row, "at", (uint64_t)sqlite3_column_int64(statement, 4));
}

/* Found from the newest down: the oldest are kept. *ret_row is borrowed; may be NULL. */
static int problem(struct record_check *check, const char *kind, int64_t seq, int64_t last,
                   json_object **ret_row)
{
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();
    int r = row ? json_add_text(row, "kind", kind) : -ENOMEM;

    if (r >= 0)
        r = json_add_number(row, "seq", (uint64_t)seq);
    if (r >= 0 && last != seq)
        r = json_add_number(row, "last", (uint64_t)last);
    if (r >= 0 && last == seq)
        r = add_event(check, row, seq);
    if (r < 0)
        return r;
    if (json_object_array_length(check->problem_rows) == PROBLEMS_MAX)
        (void)json_object_array_del_idx(check->problem_rows, 0, 1);
    if (json_object_array_add(check->problem_rows, row) < 0)
        return -ENOMEM;
    check->n_problems++;
    if (ret_row)
        *ret_row = row;
    TAKE_PTR(row);
    return 0;
}

/* ---- subjects ---------------------------------------------------------------------------- */

/* Columns of the statement of events. */
enum { ROW_SEQ = 0, ROW_KIND = 6, ROW_ORIGIN = 7, ROW_RENAMED_TO = 14, ROW_DIGEST, ROW_SUBJECT };

static char *column_string(sqlite3_stmt *row, int column)
{
    const char *bytes = sqlite3_column_blob(row, column);
    int size = sqlite3_column_bytes(row, column);

    return strndup(bytes ? bytes : "", bytes ? (size_t)size : 0);
}

/* The subject that is shown must be the one that was written, by the renames since. */
static int check_subject(struct record_check *check, int64_t seq)
{
    _cleanup_free_ char *origin = column_string(check->events, ROW_ORIGIN),
                        *subject = column_string(check->events, ROW_SUBJECT),
                        *kind = column_string(check->events, ROW_KIND),
                        *renamed = column_string(check->events, ROW_RENAMED_TO);
    bool is_image, is_rename = sqlite3_column_type(check->events, ROW_RENAMED_TO) != SQLITE_NULL;
    const char *expected;
    json_object *row;
    int r = 0;

    if (!origin || !subject || !kind || !renamed)
        return -ENOMEM;
    if (is_rename)
        r = record_names_rename(&check->names, origin, renamed);
    if (r < 0)
        return r;
    is_image = strcmp(kind, "image") == 0;
    if (is_image && check->names_unknown)
        return 0;
    expected = is_image ? record_name_now(&check->names, origin) : origin;
    if (strcmp(expected, subject) == 0)
        return 0;
    r = problem(check, "subject", seq, seq, &row);
    return r < 0 ? r : json_add_text(row, "expected", expected);
}

/* ---- the chain --------------------------------------------------------------------------- */

static void link_end(struct link *link)
{
    free(link->body);
    *link = (struct link){ .kind = LINK_NONE };
}

/* The digest of an event that is there, or was the last of a range: 0 when there is none. */
static int digest_of(const struct record_check *check, int64_t seq,
                     uint8_t ret_digest[static RECORD_DIGEST_SIZE])
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code, r = store_db_prepare(check->sqlite,
                          "SELECT digest FROM event WHERE seq = ?1"
                          " UNION ALL SELECT digest FROM event_removed WHERE last = ?1",
                          seq, &statement);

    if (r < 0)
        return r;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW && sqlite3_column_bytes(statement, 0) == RECORD_DIGEST_SIZE) {
        memcpy(ret_digest, sqlite3_column_blob(statement, 0), RECORD_DIGEST_SIZE);
        return 1;
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : store_db_error(check->sqlite, code);
}

static int link_fits(struct link *link, const uint8_t *previous, bool *ret_fits)
{
    uint8_t digest[RECORD_DIGEST_SIZE];
    int r = 0;

    if (link->kind == LINK_EVENT)
        r = record_link(link->body, link->size, previous, digest);
    *ret_fits = link->kind == LINK_NONE ||
                memcmp(link->kind == LINK_EVENT ? digest : previous, link->digest,
                       RECORD_DIGEST_SIZE) == 0;
    return r;
}

/* The link against the digest of what lies right below it: the event `below`, 0 of none. */
static int check_link(struct record_check *check, const uint8_t *previous, int64_t below)
{
    struct link *link = &check->link;
    uint8_t other[RECORD_DIGEST_SIZE];
    bool fits = true;
    int r = link_fits(link, previous, &fits);

    if (r < 0 || fits)
        return r;
    if (link->kind == LINK_RANGE)
        return problem(check, "removed-range", link->seq, link->last, NULL);
    /* Does it follow the one below that? Then that one was put in between. */
    if (below > 0) {
        r = below - 1 > check->unchained ? digest_of(check, below - 1, other) : 0;
        if (r == 0 && below - 1 <= check->unchained) {
            memcpy(other, genesis, sizeof(other));
            r = 1;
        }
        if (r > 0)
            r = link_fits(link, other, &fits);
        if (r < 0)
            return r;
        if (fits)
            return problem(check, "inserted", below, below, NULL);
    }
    return problem(check, "changed", link->seq, link->seq, NULL);
}

/* Those of the heads that lie above seq have no event. */
static int heads_missing(struct record_check *check, int64_t seq)
{
    int r = 0;

    for (; r >= 0 && check->head < check->n_heads && check->heads[check->head].seq > seq;
         check->head++)
        r = problem(check, "head-missing", check->heads[check->head].seq,
                    check->heads[check->head].seq, NULL);
    return r;
}

/* And those of this one have this digest; NULL: none. */
static int heads_compare(struct record_check *check, int64_t seq, const uint8_t *digest)
{
    int r = heads_missing(check, seq);

    for (; r >= 0 && check->head < check->n_heads && check->heads[check->head].seq == seq;
         check->head++)
        if (!digest || memcmp(check->heads[check->head].digest, digest, RECORD_DIGEST_SIZE) != 0)
            r = problem(check, "head-differs", seq, seq, NULL);
    return r;
}

/* Events from first to last come next: is anything missing before them? */
static int reach(struct record_check *check, int64_t first, int64_t last, const uint8_t *digest,
                 bool is_event)
{
    int r;

    if (last < check->reached - 1) {
        link_end(&check->link);
        r = problem(check, "missing", last + 1, check->reached - 1, NULL);
    } else
        r = digest ? check_link(check, digest, is_event ? last : 0) : 0;
    link_end(&check->link);
    check->reached = first;
    return r;
}

static int take_event(struct record_check *check)
{
    sqlite3_stmt *row = check->events;
    int64_t seq = sqlite3_column_int64(row, ROW_SEQ);
    const uint8_t *digest = sqlite3_column_bytes(row, ROW_DIGEST) == RECORD_DIGEST_SIZE
                                ? sqlite3_column_blob(row, ROW_DIGEST) : NULL;
    int r;

    check->n_events++;
    r = heads_compare(check, seq, digest);
    if (r >= 0 && seq >= check->reached)        /* where the retention deleted one */
        return problem(check, "inserted", seq, seq, NULL);
    if (r >= 0)
        r = reach(check, seq, seq, digest, true);
    if (r >= 0)
        r = check_subject(check, seq);
    if (r >= 0 && !digest)
        return problem(check, "no-digest", seq, seq, NULL);
    if (r < 0)
        return r;
    check->link.kind = LINK_EVENT;
    check->link.seq = check->link.last = seq;
    memcpy(check->link.digest, digest, RECORD_DIGEST_SIZE);
    return record_body(row, 0, &check->link.body, &check->link.size);
}

static int note_range(struct record_check *check)
{
    static const char *const keys[] = { "first", "last", "newest", "removed" };
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();
    int r = row ? 0 : -ENOMEM;

    check->n_ranges++;
    if (check->n_ranges > RANGES_MAX)
        return 0;
    for (int i = 0; r >= 0 && i < (int)ELEMENTSOF(keys); i++)
        r = json_add_number(row, keys[i], (uint64_t)sqlite3_column_int64(check->ranges, i));
    if (r >= 0)
        r = json_object_array_add(check->range_rows, row) < 0 ? -ENOMEM : 0;
    if (r >= 0)
        TAKE_PTR(row);
    return r;
}

static int take_range(struct record_check *check)
{
    sqlite3_stmt *row = check->ranges;
    int64_t first = sqlite3_column_int64(row, 0), last = sqlite3_column_int64(row, 1);
    const uint8_t *before = sqlite3_column_blob(row, 5), *digest = sqlite3_column_blob(row, 6);
    int r = note_range(check);

    if (r >= 0 && (first > last || last >= check->reached))
        return problem(check, "removed-range", first, last, NULL);
    if (r >= 0)
        r = heads_compare(check, last, digest);
    /* Heads inside the removed range cannot be compared any more. */
    for (; r >= 0 && check->head < check->n_heads && check->heads[check->head].seq >= first;
         check->head++)
        check->n_heads_removed++;
    if (r >= 0)
        r = reach(check, first, last, digest, false);
    if (r < 0)
        return r;
    check->n_removed += (uint64_t)(last - first) + 1;
    check->names_unknown |= sqlite3_column_int64(row, 4) > 0;
    check->link.kind = LINK_RANGE;
    check->link.seq = first;
    check->link.last = last;
    memcpy(check->link.digest, before, RECORD_DIGEST_SIZE);
    return 0;
}

/* At the lower end. */
static int finish(struct record_check *check)
{
    int r;

    if (check->reached > check->unchained + 1)
        r = problem(check, "missing", check->unchained + 1, check->reached - 1, NULL);
    else
        r = check_link(check, genesis, 0);
    link_end(&check->link);
    return r < 0 ? r : heads_missing(check, INT64_MIN);
}

static int step(struct record_check *check, sqlite3_stmt *statement, bool *ret_more)
{
    int code = sqlite3_step(statement);

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return store_db_error(check->sqlite, code);
    *ret_more = code == SQLITE_ROW;
    return 0;
}

int record_check_step(struct record_check *check, unsigned n_rows)
{
    for (unsigned i = 0; i < n_rows; i++) {
        bool is_range;
        int r;

        if (!check->more_events && !check->more_ranges) {
            r = finish(check);
            return r < 0 ? r : 0;
        }
        is_range = check->more_ranges &&
                   (!check->more_events || sqlite3_column_int64(check->ranges, 1) >=
                                               sqlite3_column_int64(check->events, ROW_SEQ));
        r = is_range ? take_range(check) : take_event(check);
        if (r >= 0)
            r = is_range ? step(check, check->ranges, &check->more_ranges)
                         : step(check, check->events, &check->more_events);
        if (r < 0)
            return r;
    }
    return 1;
}

/* ---- beginning and end ------------------------------------------------------------------- */

static int by_falling_seq(const void *a, const void *b)
{
    const struct head *left = a, *right = b;

    return left->seq > right->seq ? -1 : left->seq < right->seq;
}

static int parse_heads(struct record_check *check, const char *text)
{
    check->heads = calloc(HEADS_MAX, sizeof(*check->heads));
    if (!check->heads)
        return -ENOMEM;
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        char digest[2 * RECORD_DIGEST_SIZE + 1];
        size_t length = strcspn(at, " ");
        struct head *head = &check->heads[check->n_heads];
        char *end;

        errno = 0;
        head->seq = strtoll(at, &end, 10);
        if (check->n_heads == HEADS_MAX || errno != 0 || head->seq <= 0 || *end != ':' ||
            (size_t)(end + 1 - at) + sizeof(digest) - 1 != length)
            return -EINVAL;
        memcpy(digest, end + 1, sizeof(digest) - 1);
        digest[sizeof(digest) - 1] = '\0';
        if (hex_decode(digest, head->digest, RECORD_DIGEST_SIZE) < 0)
            return -EINVAL;
        check->n_heads++;
        at += length;
    }
    qsort(check->heads, check->n_heads, sizeof(*check->heads), by_falling_seq);
    return 0;
}

static int read_state(struct record_check *check)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    struct record_head head;
    int code, r = store_db_prepare(check->sqlite,
                          "SELECT record, unchained, (SELECT count(*) FROM event"
                          " WHERE seq <= unchained) FROM state WHERE id = 1", 0, &statement);

    if (r < 0)
        return r;
    code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return store_db_error(check->sqlite, code);
    (void)snprintf(check->record, sizeof(check->record), "%s",
                   (const char *)sqlite3_column_text(statement, 0));
    check->unchained = sqlite3_column_int64(statement, 1);
    check->n_unchained = (uint64_t)sqlite3_column_int64(statement, 2);
    r = record_head_load(check->sqlite, &head);
    if (r < 0)
        return r;
    check->top = head.seq > check->unchained ? head.seq : check->unchained;
    check->reached = check->top + 1;
    return digest_of(check, check->top, check->top_digest);
}

int record_check_new(sqlite3 *sqlite, const char *heads, struct record_check **ret_check)
{
    struct record_check *check = calloc(1, sizeof(*check));
    int r;

    if (!check)
        return -ENOMEM;
    check->sqlite = sqlite;
    check->problem_rows = json_object_new_array();
    check->range_rows = json_object_new_array();
    r = check->problem_rows && check->range_rows ? 0 : -ENOMEM;
    if (r >= 0 && heads)
        r = parse_heads(check, heads);
    if (r >= 0)
        r = read_state(check);
    check->has_top = r > 0;
    if (r >= 0)
        r = store_db_prepare(sqlite,
                             "SELECT " RECORD_COLUMNS ", digest, subject FROM event WHERE seq > ?1"
                             " ORDER BY seq DESC", check->unchained, &check->events);
    if (r >= 0)
        r = store_db_prepare(sqlite, "SELECT first, last, newest, removed, renames, before, digest"
                            " FROM event_removed ORDER BY last DESC", 0, &check->ranges);
    if (r >= 0)
        r = step(check, check->events, &check->more_events);
    if (r >= 0)
        r = step(check, check->ranges, &check->more_ranges);
    if (r < 0) {
        record_check_free(check);
        return r;
    }
    *ret_check = check;
    return 0;
}

struct record_check *record_check_free(struct record_check *check)
{
    if (!check)
        return NULL;
    link_end(&check->link);
    record_names_done(&check->names);
    sqlite3_finalize(check->events);
    sqlite3_finalize(check->ranges);
    json_object_put(check->problem_rows);
    json_object_put(check->range_rows);
    free(check->heads);
    free(check);
    return NULL;
}

int record_check_result(struct record_check *check, json_object **ret_result)
{
    _cleanup_(json_object_putp) json_object *result = json_object_new_object(),
                                            *problems = json_object_new_array();
    size_t n = json_object_array_length(check->problem_rows);
    int r = result && problems ? 0 : -ENOMEM;

    for (size_t i = n; r >= 0 && i > 0; i--)    /* the oldest first */
        r = json_object_array_add(problems, json_object_get(json_object_array_get_idx(
                                                check->problem_rows, i - 1))) < 0 ? -ENOMEM : 0;
    if (r >= 0)
        r = json_add_text(result, "record", check->record);
    if (r >= 0)
        r = json_add_number(result, "events", check->n_events);
    if (r >= 0)
        r = json_add_number(result, "unchained", check->n_unchained);
    if (r >= 0)
        r = json_add_number(result, "chain-begins", (uint64_t)check->unchained + 1);
    if (r >= 0)
        r = json_add_number(result, "removed", check->n_removed);
    if (r >= 0)
        r = json_add_number(result, "ranges-total", check->n_ranges);
    if (r >= 0)
        r = json_add(result, "ranges", json_object_get(check->range_rows));
    if (r >= 0)
        r = json_add_number(result, "heads", check->n_heads);
    if (r >= 0)
        r = json_add_number(result, "heads-removed", check->n_heads_removed);
    if (r >= 0 && check->names_unknown)
        r = json_add(result, "names-unchecked", json_object_new_boolean(true));
    if (r >= 0 && check->has_top && check->top > check->unchained) {
        r = json_add_number(result, "head-seq", (uint64_t)check->top);
        if (r >= 0)
            r = add_digest(result, "head-digest", check->top_digest);
    }
    if (r >= 0)
        r = json_add_number(result, "problems-total", check->n_problems);
    if (r >= 0)
        r = json_add(result, "problems", TAKE_PTR(problems));
    if (r >= 0)
        *ret_result = TAKE_PTR(result);
    return r;
}
