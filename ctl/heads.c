/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads the journal's entries of the record's last events. */
#include "ctl/heads.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

#include "helpers/text-buffer.h"
#include "qcaudit/control.h"

/* malloc'd; NULL: the entry has no such field. */
static char *field(sd_journal *journal, const char *name)
{
    const void *data;
    size_t size, length = strlen(name) + 1;

    if (sd_journal_get_data(journal, name, &data, &size) < 0 || size < length)
        return NULL;
    return strndup((const char *)data + length, size - length);
}

/* Users who may write to the journal can say anything there: entries count of root, of the owner of
 * the database, and of the service. */
static bool is_trusted(sd_journal *journal, const char *database)
{
    _cleanup_free_ char *uid = field(journal, "_UID"), *unit = field(journal, "_SYSTEMD_UNIT"),
                        *folder = strdup(database);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    struct stat st;

    if (unit && strcmp(unit, "qcauditd.service") == 0)
        return true;
    if (!uid)
        return false;
    if (strcmp(uid, "0") == 0)
        return true;
    if (!slash)
        return false;
    *slash = '\0';
    return stat(folder, &st) >= 0 && strtoul(uid, NULL, 10) == st.st_uid;
}

static bool is_digest(const char *text)
{
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static void take_entry(sd_journal *journal, const char *record, struct heads *heads,
                       struct text_buffer *text)
{
    _cleanup_free_ char *seq = field(journal, CONTROL_HEAD_SEQ),
                        *digest = field(journal, CONTROL_HEAD_DIGEST),
                        *of = field(journal, CONTROL_HEAD_RECORD);
    uint64_t at = 0;

    if (!seq || !of || !is_digest(digest) || strspn(seq, "0123456789") != strlen(seq) ||
        strlen(seq) > 18 || strtoull(seq, NULL, 10) == 0)
        return;
    (void)sd_journal_get_realtime_usec(journal, &at);
    if (strcmp(of, record) != 0) {
        if (heads->n_other++ == 0) {
            heads->other_at = at;
            heads->other_seq = strtoull(seq, NULL, 10);
        }
        return;
    }
    if (heads->n == CONTROL_HEADS_MAX) {
        heads->more = true;
        return;
    }
    text_buffer_put(text, heads->n > 0 ? " " : "");
    text_buffer_put(text, seq);
    text_buffer_put(text, ":");
    text_buffer_put(text, digest);
    if (heads->n++ == 0)
        heads->last = at;
    heads->first = at;
}

static int open_journal(const struct ctl *ctl, const char *database, sd_journal **ret_journal)
{
    _cleanup_(sd_journal_closep) sd_journal *journal = NULL;
    _cleanup_free_ char *match = NULL;
    int r = ctl->journal ? sd_journal_open_directory(&journal, ctl->journal, 0)
                         : sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY);

    if (r >= 0 && asprintf(&match, "%s=%s", CONTROL_HEAD_DATABASE, database) < 0) {
        match = NULL;
        r = -ENOMEM;
    }
    if (r >= 0)
        r = sd_journal_add_match(journal, "MESSAGE_ID=" CONTROL_HEAD_MESSAGE_ID, 0);
    if (r >= 0)
        r = sd_journal_add_match(journal, match, 0);
    if (r >= 0)
        r = sd_journal_seek_tail(journal);
    if (r >= 0) {
        *ret_journal = journal;
        journal = NULL;
    }
    return r;
}

int heads_read(const struct ctl *ctl, const char *database, const char *record,
               struct heads *ret_heads)
{
    _cleanup_(sd_journal_closep) sd_journal *journal = NULL;
    struct heads heads = { .n = 0 };
    struct text_buffer text = {};
    int r = open_journal(ctl, database, &journal);

    if (r < 0) {
        *ret_heads = (struct heads){ .no_journal = true };
        return r == -ENOMEM ? r : 0;
    }
    /* The newest first. */
    while ((r = sd_journal_previous(journal)) > 0) {
        uint64_t at = 0;

        if (ctl->since > 0 && sd_journal_get_realtime_usec(journal, &at) >= 0 && at < ctl->since)
            break;
        if (is_trusted(journal, database))
            take_entry(journal, record, &heads, &text);
    }
    heads.no_journal = r < 0;
    r = text_buffer_end(&text, &heads.text);
    if (r >= 0)
        *ret_heads = heads;
    return r;
}

void heads_done(struct heads *heads)
{
    free(heads->text);
}
