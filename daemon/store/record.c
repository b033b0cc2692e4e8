/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The chain of events: what a digest is of, and the last one. */
#include "daemon/store/record.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "daemon/store/db.h"
#include "lib/cleanup.h"

static void put_number(struct text_buffer *buffer, int64_t value)
{
    char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((uint64_t)value >> (56 - 8 * i));
    text_buffer_add(buffer, bytes, sizeof(bytes));
}

int record_body(sqlite3_stmt *row, int first, char **ret_body, size_t *ret_size)
{
    static const char room[RECORD_DIGEST_SIZE];
    struct text_buffer buffer = {};
    size_t size;
    int r;

    text_buffer_add(&buffer, room, sizeof(room));
    for (int i = first; i < first + RECORD_N_COLUMNS; i++) {
        int type = sqlite3_column_type(row, i);
        const void *bytes;

        switch (type) {
        case SQLITE_INTEGER:
            text_buffer_add(&buffer, "i", 1);
            put_number(&buffer, sqlite3_column_int64(row, i));
            break;
        case SQLITE_NULL:
            text_buffer_add(&buffer, "n", 1);
            break;
        default:
            bytes = sqlite3_column_blob(row, i);
            text_buffer_add(&buffer, type == SQLITE_TEXT ? "t" : "b", 1);
            put_number(&buffer, sqlite3_column_bytes(row, i));
            if (bytes)
                text_buffer_add(&buffer, bytes, (size_t)sqlite3_column_bytes(row, i));
        }
    }
    size = buffer.n;
    r = text_buffer_end(&buffer, ret_body);
    if (r >= 0)
        *ret_size = size;
    return r;
}

int record_link(char *body, size_t size, const uint8_t previous[static RECORD_DIGEST_SIZE],
                uint8_t ret_digest[static RECORD_DIGEST_SIZE])
{
    memcpy(body, previous, RECORD_DIGEST_SIZE);
    return EVP_Digest(body, size, ret_digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

/* The event of the highest number that there is or was; where the last ones were deleted by
 * somebody else than the retention, the next event does not take their numbers, so that the gap
 * stays. */
int record_head_load(sqlite3 *sqlite, struct record_head *ret_head)
{
    static const char sql[] =
        "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0),"
        " coalesce((SELECT max(seq) FROM event), 0),"
        " coalesce((SELECT max(last) FROM event_removed), 0)),"
        " (SELECT digest FROM (SELECT seq, digest FROM (SELECT seq, digest FROM event"
        " ORDER BY seq DESC LIMIT 1) UNION ALL SELECT last, digest FROM (SELECT last, digest"
        " FROM event_removed ORDER BY last DESC LIMIT 1)) ORDER BY seq DESC LIMIT 1)";
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    struct record_head head = { .seq = 0 };
    int code = sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return store_db_error(sqlite, code);
    head.seq = sqlite3_column_int64(statement, 0);
    if (sqlite3_column_bytes(statement, 1) == RECORD_DIGEST_SIZE)
        memcpy(head.digest, sqlite3_column_blob(statement, 1), RECORD_DIGEST_SIZE);
    *ret_head = head;
    return 0;
}
