/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All domains of a connection: listed in bulk, each read again as far as something says that it
 * changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/virt/watch-internal.h"
#include "daemon/virt/xml.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define STATS_AT_ONCE 200       /* domains: an answer has to fit into a message */
#define READ_ALL_EVERY 10       /* polls: then a domain's XML is read again without any reason */
#define RECORD_STRING 80        /* bytes of a parameter's name */

DEFINE_CLEANUP(struct virt_record *, virt_record_unref)

/* One domain, as the lists say. */
struct seen {
    virDomainPtr domain;
    char uuid[37];
    bool active, persistent, saved, has_snapshots, has_checkpoints;
    int state, reason;          /* -1: not asked */
    virDomainStatsRecordPtr stats;      /* of the round's, NULL: none */
    struct virt_record *before;
    bool named;                 /* by an event */
};

struct watch_round {
    struct virt_link *link;
    struct seen *seen;          /* in order of UUID */
    size_t n_seen;
    virDomainPtr *domains;
    virDomainStatsRecordPtr **stats;    /* lists to be freed */
    size_t n_stats;
    struct virt_record **records;
    size_t n_records;
};

static void round_done(struct watch_round *round)
{
    for (size_t i = 0; i < round->n_stats; i++)
        sym_virDomainStatsRecordListFree(round->stats[i]);
    free(round->stats);
    for (size_t i = 0; round->domains && round->domains[i]; i++)
        sym_virDomainFree(round->domains[i]);
    free(round->domains);
    free(round->seen);
    for (size_t i = 0; i < round->n_records; i++)
        virt_record_unref(round->records[i]);
    free(round->records);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static int compare_seen(const void *a, const void *b)
{
    const struct seen *seen_a = a, *seen_b = b;

    return strcmp(seen_a->uuid, seen_b->uuid);
}

static int compare_uuid(const void *key, const void *item)
{
    const struct seen *seen = item;

    return strcmp(key, seen->uuid);
}

static struct seen *seen_find(const struct watch_round *round, const char *uuid)
{
    return bsearch(uuid, round->seen, round->n_seen, sizeof(*round->seen), compare_uuid);
}

static int list(struct virt_link *link, unsigned flags, virDomainPtr **ret_domains, size_t *ret_n)
{
    int r = link_call(link);

    if (r < 0)
        return r;
    r = sym_virConnectListAllDomains(link->connection, ret_domains, flags);
    if (r < 0)
        return link_error(link);
    *ret_n = (size_t)r;
    return 0;
}

static int round_list(struct watch_round *round)
{
    struct virt_link *link = round->link;
    size_t n = 0;
    int r;

    r = list(link, 0, &round->domains, &n);
    if (r < 0 && r != -EOPNOTSUPP)      /* a driver without domains, of pools alone */
        return r;
    round->seen = calloc(n + 1, sizeof(*round->seen));
    if (!round->seen)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct seen *seen = &round->seen[round->n_seen];

        if (sym_virDomainGetUUIDString(round->domains[i], seen->uuid) < 0)
            continue;
        seen->domain = round->domains[i];
        seen->active = sym_virDomainGetID(seen->domain) != (unsigned)-1;
        seen->state = seen->reason = -1;
        round->n_seen++;
    }
    qsort(round->seen, round->n_seen, sizeof(*round->seen), compare_seen);
    if (round->n_seen > VIRT_DOMAINS_MAX) {
        link->n_left_out = round->n_seen - VIRT_DOMAINS_MAX;
        round->n_seen = VIRT_DOMAINS_MAX;
    } else {
        link->n_left_out = 0;
    }
    return 0;
}

/* Sets the flag at offset for those that libvirt lists with the filter. A driver without the filter
 * has none. */
static int round_mark(struct watch_round *round, unsigned filter, size_t offset)
{
    virDomainPtr *domains;
    size_t n = 0;
    int r;

    r = list(round->link, filter, &domains, &n);
    if (r < 0)
        return r == -EOPNOTSUPP ? 0 : r;
    for (size_t i = 0; i < n; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        struct seen *seen = sym_virDomainGetUUIDString(domains[i], uuid) < 0
                                ? NULL : seen_find(round, uuid);

        if (seen)
            *(bool *)((char *)seen + offset) = true;
        sym_virDomainFree(domains[i]);
    }
    free(domains);
    return 0;
}

static void round_match(struct watch_round *round, const struct link_news *news)
{
    const struct virt_link *link = round->link;
    size_t j = 0;

    for (size_t i = 0; i < round->n_seen; i++) {
        struct seen *seen = &round->seen[i];

        while (j < link->n_records && strcmp(link->records[j]->domain.uuid, seen->uuid) < 0)
            j++;
        if (j < link->n_records && strcmp(link->records[j]->domain.uuid, seen->uuid) == 0)
            seen->before = link->records[j];
    }
    for (size_t i = 0; i < news->n_uuids; i++) {
        struct seen *seen = seen_find(round, news->uuids[i]);

        if (seen)
            seen->named = true;
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static int stats_int(virDomainStatsRecordPtr stats, const char *name, int fallback)
{
    int value = fallback;

    return stats && sym_virTypedParamsGetInt(stats->params, stats->nparams, name, &value) == 1
               ? value
               : fallback;
}

static int round_stats_of(struct watch_round *round, virDomainPtr *domains, unsigned what)
{
    struct virt_link *link = round->link;
    virDomainStatsRecordPtr *stats;
    virDomainStatsRecordPtr **lists;
    int r;

    r = link_call(link);
    if (r < 0)
        return r;
    lists = reallocarray(round->stats, round->n_stats + 1, sizeof(*lists));
    if (!lists)
        return -ENOMEM;
    round->stats = lists;
    /* A guest whose monitor hangs must not hold up the others. */
    r = sym_virDomainListGetStats(domains, what, &stats, VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
    if (r < 0) {
        r = link_error(link);
        return r == -EOPNOTSUPP || r == -ENOENT ? 0 : r;
    }
    lists[round->n_stats++] = stats;
    for (size_t i = 0; stats[i]; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        struct seen *seen = sym_virDomainGetUUIDString(stats[i]->dom, uuid) < 0
                                ? NULL
                                : seen_find(round, uuid);

        if (!seen)
            continue;
        seen->stats = stats[i];
        seen->state = stats_int(stats[i], "state.state", -1);
        seen->reason = stats_int(stats[i], "state.reason", -1);
    }
    return 0;
}

/* Of inactive domains nothing but the state: libvirt would open their images. */
static int round_stats(struct watch_round *round, bool full, bool active)
{
    virDomainPtr domains[STATS_AT_ONCE + 1];
    unsigned what = active ? VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_BLOCK
                           : VIR_DOMAIN_STATS_STATE;
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < round->n_seen; i++) {
        const struct seen *seen = &round->seen[i];

        if (seen->active != active || !(full || seen->named || !seen->before ||
                                        virt_domain_is_active(&seen->before->domain) != active))
            continue;
        domains[n++] = seen->domain;
        if (n == STATS_AT_ONCE) {
            domains[n] = NULL;
            r = round_stats_of(round, domains, what);
            n = 0;
        }
    }
    domains[n] = NULL;
    return r < 0 || n == 0 ? r : round_stats_of(round, domains, what);
}

static uint64_t stats_number(virDomainStatsRecordPtr stats, unsigned disk, const char *name)
{
    char key[RECORD_STRING];
    unsigned long long value = 0;

    snprintf(key, sizeof(key), "block.%u.%s", disk, name);
    return sym_virTypedParamsGetULLong(stats->params, stats->nparams, key, &value) == 1 ? value : 0;
}

static const char *stats_text(virDomainStatsRecordPtr stats, unsigned disk, const char *name)
{
    char key[RECORD_STRING];
    const char *value = NULL;

    snprintf(key, sizeof(key), "block.%u.%s", disk, name);
    return sym_virTypedParamsGetString(stats->params, stats->nparams, key, &value) == 1 ? value
                                                                                        : NULL;
}

static unsigned stats_count(virDomainStatsRecordPtr stats)
{
    unsigned n = 0;

    if (!stats || sym_virTypedParamsGetUInt(stats->params, stats->nparams, "block.count", &n) != 1)
        return 0;
    return n > VIRT_DISKS_MAX ? VIRT_DISKS_MAX : n;
}

static struct virt_disk *disk_find(struct virt_disk *disks, size_t n, const char *target)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(disks[i].target, target) == 0)
            return &disks[i];
    return NULL;
}

/* Do the figures name other images than the XML did? */
static bool stats_disagree(const struct seen *seen, const struct virt_body *body)
{
    unsigned n = stats_count(seen->stats);

    if (!seen->stats || n == 0)
        return false;
    for (unsigned i = 0; i < n; i++) {
        const char *target = stats_text(seen->stats, i, "name"),
                   *path = stats_text(seen->stats, i, "path");
        const struct virt_disk *disk = target ? disk_find(body->disks, body->n_disks, target)
                                              : NULL;

        if (target && !disk)
            return true;
        if (path && disk && disk->n_layers > 0 && disk->layers[0].path &&
            strcmp(disk->layers[0].path, path) != 0)
            return true;
    }
    return n < VIRT_DISKS_MAX && n != body->n_disks;
}

static void record_take_stats(struct virt_record *record, virDomainStatsRecordPtr stats)
{
    unsigned n = stats_count(stats);

    for (unsigned i = 0; i < n; i++) {
        const char *target = stats_text(stats, i, "name");
        struct virt_disk *disk = target ? disk_find(record->domain.disks, record->domain.n_disks,
                                                    target)
                                        : NULL;

        if (!disk)
            continue;
        disk->capacity = stats_number(stats, i, "capacity");
        disk->allocation = stats_number(stats, i, "allocation");
        disk->physical = stats_number(stats, i, "physical");
    }
}

/* ---- one domain ------------------------------------------------------------------------------ */

static enum virt_state state_of(const struct seen *seen)
{
    switch (seen->state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return VIRT_RUNNING;
    case VIR_DOMAIN_PAUSED:
        return VIRT_PAUSED;
    case VIR_DOMAIN_CRASHED:
        return seen->active ? VIRT_OTHER_ACTIVE : VIRT_CRASHED;
    default:
        return seen->active ? VIRT_OTHER_ACTIVE : seen->saved ? VIRT_SAVED : VIRT_SHUT_OFF;
    }
}

static int seen_ask_state(struct virt_link *link, struct seen *seen)
{
    int r;

    if (seen->state >= 0)
        return 0;
    r = link_call(link);
    if (r < 0)
        return r;
    return sym_virDomainGetState(seen->domain, &seen->state, &seen->reason, 0) < 0
               ? link_error(link) : 0;
}

static void record_take_state(struct virt_record *record, const struct seen *seen)
{
    const struct virt_domain *before = seen->before ? &seen->before->domain : NULL;
    struct virt_domain *domain = &record->domain;

    domain->id = seen->active ? (int32_t)sym_virDomainGetID(seen->domain) : -1;
    domain->state = state_of(seen);
    domain->persistent = seen->persistent;
    if (!seen->active)
        return;
    domain->started = before && before->id == domain->id && before->started > 0
                          ? before->started
                          : usec_now(CLOCK_REALTIME);
    domain->io_error = seen->state == VIR_DOMAIN_PAUSED &&
                       seen->reason == VIR_DOMAIN_PAUSED_IOERROR;
    domain->migrating = seen->state == VIR_DOMAIN_PAUSED &&
                        seen->reason == VIR_DOMAIN_PAUSED_MIGRATION;
}

/* The version stays as long as the domain does. */
static void record_take_version(struct virt_link *link, const struct virt_record *before,
                                struct virt_record *record)
{
    uint64_t now = usec_now(CLOCK_REALTIME);

    if (before && virt_record_equal(before, record)) {
        record->domain.version = before->domain.version;
        return;
    }
    link->version = now > link->version ? now : link->version + 1;
    record->domain.version = link->version;
}

/* A domain of which libvirt told no more than that it is there. */
static int body_bare(const struct seen *seen, struct virt_body **ret_body)
{
    struct virt_body *body = calloc(1, sizeof(*body));
    const char *name = sym_virDomainGetName(seen->domain);

    if (!body)
        return -ENOMEM;
    body->refs = 1;
    memcpy(body->uuid, seen->uuid, sizeof(body->uuid));
    body->name = strdup(name ?: seen->uuid);
    body->disks = calloc(1, sizeof(*body->disks));
    body->files = calloc(1, sizeof(*body->files));
    if (!body->name || !body->disks || !body->files) {
        virt_body_unref(body);
        return -ENOMEM;
    }
    *ret_body = body;
    return 0;
}

struct pieces {
    struct virt_body *body;
    struct virt_snapshots *snapshots;
    struct virt_checkpoints *checkpoints;
    char *error;
};

static void pieces_done(struct pieces *pieces)
{
    virt_body_unref(pieces->body);
    virt_snapshots_unref(pieces->snapshots);
    virt_checkpoints_unref(pieces->checkpoints);
    free(pieces->error);
}

/* -errno is an error of this domain alone: what was known of it stays, with the reason. */
static int piece_failed(struct pieces *pieces, const char *what, int error)
{
    const char *text = error == -EBADMSG ? "its XML is not understood"
                       : error == -E2BIG ? "its XML is too long"
                       : error == -EIO   ? sym_virGetLastErrorMessage()
                                         : strerror(-error);

    if (error == -ENOTCONN || error == -ECANCELED || error == -ENOMEM || error == -ENOENT)
        return error;
    free(pieces->error);
    if (asprintf(&pieces->error, "%s cannot be read: %.300s", what, text) < 0) {
        pieces->error = NULL;
        return -ENOMEM;
    }
    return 0;
}

static int pieces_read(struct virt_link *link, const struct seen *seen, bool again,
                       struct pieces *pieces)
{
    const struct virt_record *before = seen->before;
    struct virt_body *body = before ? before->body : NULL;
    bool changed = again || seen->named || !before || before->domain.error ||
                   virt_domain_is_active(&before->domain) != seen->active ||
                   (seen->active &&
                    before->domain.id != (int32_t)sym_virDomainGetID(seen->domain)) ||
                   before->domain.persistent != seen->persistent || stats_disagree(seen, body);
    int r;

    r = changed ? link_read_body(link, seen->domain, seen->active, seen->persistent, body,
                                 &pieces->body)
                : (pieces->body = virt_body_ref(body), 0);
    if (r < 0)
        r = piece_failed(pieces, "The domain's XML", r);
    if (r >= 0 && !pieces->body && body)
        pieces->body = virt_body_ref(body);
    else if (r >= 0 && !pieces->body)
        r = body_bare(seen, &pieces->body);
    if (r >= 0 && seen->has_snapshots) {
        r = link_read_snapshots(link, seen->domain, !changed, before ? before->snapshots : NULL,
                                &pieces->snapshots);
        if (r < 0)
            r = piece_failed(pieces, "The list of snapshots", r);
    }
    if (r >= 0 && seen->has_checkpoints) {
        r = link_read_checkpoints(link, seen->domain, !changed, before ? before->checkpoints : NULL,
                                  &pieces->checkpoints);
        if (r < 0)
            r = piece_failed(pieces, "The list of checkpoints", r);
    }
    return r;
}

static int record_make(struct virt_link *link, const struct seen *seen, struct pieces *pieces,
                       bool *ret_again, struct virt_record **ret_record)
{
    _cleanup_(virt_record_unrefp) struct virt_record *record = NULL;
    int r;

    r = virt_record_new(pieces->body, pieces->snapshots, pieces->checkpoints, &record);
    if (r < 0)
        return r;
    record->domain.error = TAKE_PTR(pieces->error);
    record_take_state(record, seen);
    record_take_stats(record, seen->stats);
    if (seen->active)
        r = link_read_jobs(link, seen->domain, seen->before, record, ret_again);
    if (r < 0)
        return r;
    *ret_record = TAKE_PTR(record);
    return 0;
}

static int seen_read(struct virt_link *link, struct seen *seen, bool again,
                     struct virt_record **ret_record)
{
    _cleanup_(pieces_done) struct pieces pieces = { 0 };
    bool job_began = false;
    int r;

    r = seen_ask_state(link, seen);
    if (r >= 0)
        r = pieces_read(link, seen, again, &pieces);
    if (r >= 0)
        r = record_make(link, seen, &pieces, &job_began, ret_record);
    if (r >= 0 && job_began) {
        struct virt_body *body;

        /* The domain's present XML says where the job goes to. */
        r = link_read_body(link, seen->domain, seen->active, seen->persistent, pieces.body, &body);
        if (r == -ENOTCONN || r == -ECANCELED || r == -ENOMEM) {
            *ret_record = virt_record_unref(*ret_record);
            return r;
        }
        if (r >= 0) {
            virt_body_unref(pieces.body);
            pieces.body = body;
            pieces.error = TAKE_PTR((*ret_record)->domain.error);
            *ret_record = virt_record_unref(*ret_record);
        }
        r = r < 0 ? 0 : record_make(link, seen, &pieces, &job_began, ret_record);
    }
    return r;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int round_read(struct watch_round *round, bool full)
{
    struct virt_link *link = round->link;
    int r = 0;

    round->records = calloc(round->n_seen + 1, sizeof(struct virt_record *));
    if (!round->records)
        return -ENOMEM;
    for (size_t i = 0; i < round->n_seen; i++) {
        struct seen *seen = &round->seen[i];
        struct virt_record *before = seen->before, *record = NULL;
        bool again = full && (link->round + i) % READ_ALL_EVERY == 0;

        if (!full && !seen->named && before &&
            virt_domain_is_active(&before->domain) == seen->active) {
            round->records[round->n_records++] = virt_record_ref(before);
            continue;
        }
        r = seen_read(link, seen, again, &record);
        if (r == -ENOENT)
            continue;           /* gone meanwhile: there is an event for that */
        if (r < 0)
            return r;
        record_take_version(link, before, record);
        round->records[round->n_records++] = record;
    }
    return 0;
}

int link_read_domains(struct virt_link *link, bool full, const struct link_news *news)
{
    _cleanup_(round_done) struct watch_round round = { .link = link };
    struct virt_record **records;
    size_t n_records;
    int r;

    r = round_list(&round);
    if (r >= 0)
        r = round_mark(&round, VIR_CONNECT_LIST_DOMAINS_PERSISTENT,
                       offsetof(struct seen, persistent));
    if (r >= 0)
        r = round_mark(&round, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, offsetof(struct seen, saved));
    if (r >= 0)
        r = round_mark(&round, VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT,
                       offsetof(struct seen, has_snapshots));
    if (r >= 0)
        r = round_mark(&round, VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT,
                       offsetof(struct seen, has_checkpoints));
    if (r < 0)
        return r;
    round_match(&round, news);
    r = round_stats(&round, full, true);
    if (r >= 0)
        r = round_stats(&round, full, false);
    if (r >= 0)
        r = round_read(&round, full);
    if (r < 0)
        return r;
    if (full)
        link->round++;
    records = link->records;
    n_records = link->n_records;
    link->records = round.records;
    link->n_records = round.n_records;
    round.records = records;    /* freed with the round */
    round.n_records = n_records;
    return 0;
}
