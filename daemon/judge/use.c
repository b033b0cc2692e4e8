/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of use: who writes an image, who else relies on it, and as what its domain opens it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/judge/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define DOMAINS_SHOWN 20
#define NAMES_SAID 8            /* of these, in one sentence */
#define ABOVE_MAX 1024          /* layers above an image that are looked at for other domains'
                                 * disks */

/* ---- what several judges of libvirt's word share --------------------------------------------- */

char *entry_words(const struct usage_entry *entry)
{
    _cleanup_free_ char *domain = text_escape_string(entry->domain->name), *target = NULL;
    char *words;

    if (entry->disk)
        target = text_escape_string(entry->disk->target);
    if (!domain || (entry->disk && !target))
        return NULL;
    return asprintf(&words, "%s%s%sdomain %s", entry->disk ? "disk " : "",
                    entry->disk ? target : "", entry->disk ? " of " : "", domain) < 0
               ? NULL
               : words;
}

char *name_words(const char *path)
{
    const char *slash = strrchr(path, '/');

    return text_escape_string(slash ? slash + 1 : path);
}

void evidence_entry(struct evidence *evidence, const struct judging *judging,
                    const struct usage_entry *entry)
{
    const struct virt_status *status = usage_status(graph_usage(judging->graph));

    evidence_text(evidence, TEXT_DOMAIN, entry->domain->name);
    evidence_text(evidence, TEXT_CONNECTION, usage_domain_uri(status, entry->domain));
    if (entry->disk)
        evidence_text(evidence, TEXT_DISK, entry->disk->target);
    evidence_flag(evidence, FLAG_RUNNING, virt_domain_is_active(entry->domain));
}

bool domain_is_known(const struct graph *graph, const struct virt_domain *domain)
{
    const struct virt_status *status = usage_status(graph_usage(graph));
    const struct virt_connection *connection;

    if (!status || domain->connection >= status->n_connections)
        return false;
    connection = &status->connections[domain->connection];
    return connection->connected && connection->complete && !domain->error;
}

/* ---- shared-writable ------------------------------------------------------------------------- */

/* Users of the image, one entry for each domain. */
struct users {
    const struct usage_entry *entries[DOMAINS_SHOWN];
    bool writes[DOMAINS_SHOWN];
    size_t n;                   /* all of them */
    size_t n_writers, n_live;
    const struct usage_entry *writer;   /* the last of them */
    bool writer_live;
    bool reader;                /* one has the image itself as its disk, and only reads it */
};

/* writes: this image, not an overlay of it. */
static void users_add(struct users *users, const struct usage_entry *entry, bool writes)
{
    size_t i = 0;

    while (i < users->n && i < DOMAINS_SHOWN && users->entries[i]->domain != entry->domain)
        i++;
    if (i < DOMAINS_SHOWN && i == users->n) {
        users->entries[i] = entry;
        users->writes[i] = false;
    }
    if (i == users->n) {
        users->n++;
        users->n_live += entry->live;
    }
    if (writes && (i >= DOMAINS_SHOWN || !users->writes[i])) {
        if (i < DOMAINS_SHOWN) {
            users->entries[i] = entry;
            users->writes[i] = true;
        }
        users->writer = entry;
        users->n_writers++;
    }
    users->writer_live |= writes && entry->live;
}

/* The disks that lie above the image: in libvirt's eyes a domain that is shut off has no layers but
 * the first. */
static void users_add_above(struct users *users, const struct judging *judging)
{
    const struct image *queue[ABOVE_MAX];
    size_t first = 0, n = 0;

    queue[n++] = judging->image;
    while (first < n) {
        const struct image *layer = queue[first++], *child;
        const struct relation *relation = graph_relation(judging->graph, layer);

        for (size_t i = 0; relation && !relation->in_loop && n < ABOVE_MAX &&
                           (child = graph_child(layer, i));
             i++) {
            struct usage usage = graph_image_usage(judging->graph, child);
            const struct usage_entry *source = usage_source(&usage);

            if (source)
                users_add(users, source, false);
            queue[n++] = child;
        }
    }
}

/* "web1 (writes), web2 (writes), web3 (reads)": the first of them by name, and how many more;
 * malloc'd, NULL without memory. */
static char *users_words(const struct users *users)
{
    size_t n = users->n < NAMES_SAID ? users->n : NAMES_SAID;
    char *words = strdup("");

    for (size_t i = 0; words && i < n; i++) {
        _cleanup_free_ char *before = words,
                            *name = text_escape_string(users->entries[i]->domain->name);

        if (!name || asprintf(&words, "%s%s%s (%s)", before, i > 0 ? ", " : "", name,
                              users->writes[i] ? "writes" : "reads") < 0)
            words = NULL;
    }
    if (words && users->n > n) {
        _cleanup_free_ char *before = words;

        if (asprintf(&words, "%s and %zu more", before, users->n - n) < 0)
            words = NULL;
    }
    return words;
}

/* The same of all but the only one that writes, and without what they do. */
static char *readers_words(const struct users *users)
{
    char *words = strdup("");
    size_t n = 0;

    for (size_t i = 0; words && i < users->n && i < DOMAINS_SHOWN && n < NAMES_SAID; i++) {
        _cleanup_free_ char *before = words, *name = NULL;

        if (users->writes[i]) {
            before = NULL;
            continue;
        }
        name = text_escape_string(users->entries[i]->domain->name);
        if (!name || asprintf(&words, "%s%s%s", before, n++ > 0 ? ", " : "", name) < 0)
            words = NULL;
    }
    if (words && users->n - 1 > n) {
        _cleanup_free_ char *before = words;

        if (asprintf(&words, "%s and %zu more", before, users->n - 1 - n) < 0)
            words = NULL;
    }
    return words;
}

/* One domain writes what others only read, most of them through their own overlays. */
static int add_one_writer(struct judging *judging, const struct users *users,
                          enum severity severity, struct evidence *evidence)
{
    _cleanup_free_ char *writer = text_escape_string(users->writer->domain->name),
                        *readers = readers_words(users);
    size_t n = users->n - 1;

    if (!writer || !readers)
        return -ENOMEM;
    return judging_add(judging, FINDING_SHARED_WRITABLE, severity, users->n, evidence,
                       "can be written by domain %s, though %zu other domain%s %s: %s%s", writer, n,
                       n == 1 ? "" : "s",
                       users->reader ? n == 1 ? "reads it" : "read it"
                       : n == 1      ? "has a disk that stands on it"
                                     : "have disks that stand on it",
                       readers, users->n_live > 1 ? "; several of all these are running" : "");
}

/* domains [domain, connection, disk, running, writes], shareable */
static int judge_shared(struct judging *judging)
{
    const struct layer_report *layer = judging->layer;
    bool qcow2 = layer && layer->info.format != QCA_FORMAT_RAW, shareable = false,
         all_shareable = true;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    struct users users = { .n = 0 };
    _cleanup_free_ char *names = NULL;
    enum severity severity;

    for (size_t i = 0; i < judging->usage.n_entries; i++) {
        const struct usage_entry *entry = &judging->usage.entries[i];

        if (entry->kind != USAGE_LAYER)
            continue;
        users_add(&users, entry, entry->writes && entry->layer == 0);
        if (entry->layer == 0) {
            users.reader |= !entry->writes;
            shareable |= entry->disk->shareable;
            all_shareable &= entry->disk->shareable || !entry->writes;
        }
    }
    judging_looked(judging, FINDING_SHARED_WRITABLE);
    if (users.n_writers == 0 || (all_shareable && !qcow2))
        return 0;
    users_add_above(&users, judging);
    if (users.n < 2 && !(shareable && qcow2))
        return 0;
    severity = users.writer_live && (users.n_live > 1 || (shareable && qcow2))
                   ? SEVERITY_CRITICAL : SEVERITY_WARNING;
    list = evidence_new_list();
    for (size_t i = 0; i < users.n && i < DOMAINS_SHOWN; i++) {
        struct evidence item = evidence_new();

        evidence_entry(&item, judging, users.entries[i]);
        evidence_flag(&item, FLAG_WRITES, users.writes[i]);
        evidence_append(&list, &item);
    }
    evidence = evidence_new();
    evidence_value(&evidence, PART_DOMAINS, &list);
    evidence_flag(&evidence, FLAG_SHAREABLE, shareable);
    if (users.n < 2)
        return judging_add(judging, FINDING_SHARED_WRITABLE, severity, 1, &evidence,
                           "is marked as shareable, and its format must not be shared");
    if (users.n_writers == 1)
        return add_one_writer(judging, &users, severity, &evidence);
    names = users_words(&users);
    if (!names)
        return -ENOMEM;
    return judging_add(judging, FINDING_SHARED_WRITABLE, severity, users.n, &evidence,
                       "is used by %zu domains: %s%s", users.n, names,
                       users.n_live > 1 ? "; several of them are running" : "");
}

/* ---- foreign-writer -------------------------------------------------------------------------- */

/* The writer of an image writes its data file, too. */
static bool writer_is_of_data_file(const struct judging *judging)
{
    struct image *owners[DOMAINS_SHOWN];
    size_t n = graph_data_file_owners(judging->graph, judging->image, owners, ELEMENTSOF(owners));

    for (size_t i = 0; i < n && i < ELEMENTSOF(owners); i++)
        if (graph_use(judging->graph, owners[i]) == FILES_WRITER)
            return true;
    return n > ELEMENTSOF(owners);
}

/* Did a running domain begin with this very file, under a name that it had then? */
static bool run_has_it_open(const struct judging *judging)
{
    const struct usage_index *index = graph_usage(judging->graph);
    const struct virt_status *status = usage_status(index);

    for (size_t i = 0; i < status->n_domains; i++) {
        const struct virt_domain *domain = &status->domains[i];

        for (size_t k = 0; k < domain->n_disks; k++)
            for (size_t l = 0; l < domain->disks[k].n_layers; l++) {
                const struct usage_entry *entry = usage_of_layer(index, &domain->disks[k], l);

                if (entry && entry->live && entry->noted &&
                    identity_equal(&entry->identity, &judging->image->identity))
                    return true;
            }
    }
    return false;
}

/* An ESXi host has it open, or its descriptor. */
static bool is_vmwares(const struct judging *judging)
{
    const struct image *owner = graph_data_owner(judging->graph, judging->image);

    return graph_is_vmwares(judging->graph, owner ? owner : judging->image);
}

/* locked [two probes: the first, and the last] */
static int judge_foreign(struct judging *judging)
{
    const struct image *image = judging->image;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    const uint64_t probes[] = { image->locked_since, image->locked_at };

    /* Another host's QEMU holds locks, too. */
    if (!usage_is_complete(graph_usage(judging->graph)) ||
        (image->datastore && image->datastore->root.network))
        return 0;
    if (image->locked != FILES_WRITER || writer_is_of_data_file(judging) ||
        is_vmwares(judging)) {
        judging_looked(judging, FINDING_FOREIGN_WRITER);
        return 0;
    }
    for (size_t i = 0; i < judging->usage.n_entries; i++)
        if (judging->usage.entries[i].live) {
            judging_looked(judging, FINDING_FOREIGN_WRITER);
            return 0;
        }
    if (run_has_it_open(judging)) {
        judging_looked(judging, FINDING_FOREIGN_WRITER);
        return 0;
    }
    if (image->locked_at == image->locked_since)
        return 0;               /* one probe is none: it may have been a moment */
    list = evidence_new_list();
    for (size_t i = 0; i < ELEMENTSOF(probes); i++) {
        struct evidence item = evidence_new();

        evidence_number(&item, NUMBER_PROBED_AT, probes[i]);
        evidence_append(&list, &item);
    }
    evidence = evidence_new();
    evidence_value(&evidence, PART_LOCKED, &list);
    if (judging_add(judging, FINDING_FOREIGN_WRITER, SEVERITY_ERROR, 1, &evidence,
                    "is locked for writing by something that libvirt does not know") < 0)
        return -ENOMEM;
    judging_hold(judging, FINDING_FOREIGN_WRITER, judging->thresholds->foreign_after);
    return 0;
}

/* ---- what a domain opens it as --------------------------------------------------------------- */

static const struct usage_entry *entry_with_format(const struct usage *usage)
{
    for (size_t i = 0; i < usage->n_entries; i++)
        if (usage->entries[i].kind == USAGE_LAYER && usage->entries[i].layer == 0 &&
            usage->entries[i].disk->layers[0].format)
            return &usage->entries[i];
    return NULL;
}

/* raw-became-image: content, raw-size; domain, connection, disk, running. format-mismatch:
 * declared, content, and the same */
static int judge_driver(struct judging *judging)
{
    const struct usage_entry *entry = entry_with_format(&judging->usage);
    const struct image *image = judging->image;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *words = NULL, *format = NULL;
    enum qca_format content = judging->layer->probed_format, declared;
    enum qca_variant variant = judging->layer->info.variant;
    bool remembered;

    judging_looked(judging, FINDING_RAW_BECAME_IMAGE);
    if (content == QCA_FORMAT_UNKNOWN)
        return 0;
    declared = entry ? qca_format_from_name(entry->disk->layers[0].format) : QCA_FORMAT_UNKNOWN;
    /* Nobody says as what it is opened, but an earlier audit saw it raw, and as large as it is
     * now. */
    remembered = !entry && image->raw_size > 0 && image->raw_size == image->fingerprint.size;
    if (entry) {
        words = entry_words(entry);
        format = text_escape_string(entry->disk->layers[0].format);
        if (!words || !format)
            return -ENOMEM;
    }
    evidence = evidence_new();
    evidence_text(&evidence, TEXT_CONTENT, qca_format_name(content));
    if (entry)
        evidence_entry(&evidence, judging, entry);
    if (remembered && content != QCA_FORMAT_RAW && content != QCA_FORMAT_UNKNOWN &&
        !qca_format_contradicts(QCA_FORMAT_RAW, content, variant)) {
        evidence_number(&evidence, NUMBER_RAW_SIZE, image->raw_size);
        return judging_add(judging, FINDING_RAW_BECAME_IMAGE, SEVERITY_WARNING, 1, &evidence,
                           "was raw, but has the marks of a %s image now, by which QEMU does not "
                           "guess a format", qca_format_name(content));
    }
    if (qca_format_contradicts(QCA_FORMAT_RAW, content, variant) &&
        (declared == QCA_FORMAT_RAW || remembered)) {
        if (image->raw_size > 0)
            evidence_number(&evidence, NUMBER_RAW_SIZE, image->raw_size);
        return judging_add(judging, FINDING_RAW_BECAME_IMAGE, SEVERITY_CRITICAL, 1, &evidence,
                           "%s%s, but begins as a %s image does",
                           entry ? "is opened as raw, as " : "was raw",
                           entry ? words : "", qca_format_name(content));
    }
    if (!entry || !qca_format_contradicts(declared, content, variant) ||
        judging_has(judging, FINDING_HEADER_INVALID))   /* then the declaration is right */
        return 0;
    evidence_text(&evidence, TEXT_DECLARED, entry->disk->layers[0].format);
    return judging_add(judging, FINDING_FORMAT_MISMATCH, SEVERITY_CRITICAL, 2, &evidence,
                       "is opened as %s, as %s, but its content is %s",
                       format, words, qca_format_name(content));
}

int judge_use(struct judging *judging)
{
    int r = 0;

    if (graph_usage(judging->graph) && usage_status(graph_usage(judging->graph))) {
        r = judge_shared(judging);
        if (r >= 0)
            r = judge_foreign(judging);
    }
    if (r >= 0 && judging->layer)
        r = judge_driver(judging);
    return r;
}
