/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of the daemon: names of its enumerations, the catalogue as a table, destructors. */
#include "daemon/core/model.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "daemon/core/strv.h"
#include "lib/cleanup.h"

static const char *name_of(const char *const *names, size_t n_names, size_t index)
{
    return index < n_names ? names[index] : NULL;
}

static int index_of(const char *const *names, size_t n_names, const char *name)
{
    for (size_t i = 0; name && i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -EINVAL;
}

static const char *const severity_names[_SEVERITY_MAX] = {
    [SEVERITY_INFO] = "info",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_ERROR] = "error",
    [SEVERITY_CRITICAL] = "critical",
};

const char *severity_name(enum severity severity)
{
    return name_of(severity_names, ELEMENTSOF(severity_names), severity);
}

int severity_from_name(const char *name)
{
    return index_of(severity_names, ELEMENTSOF(severity_names), name);
}

int severity_priority(enum severity severity)
{
    switch (severity) {
    case SEVERITY_CRITICAL:
        return 2;
    case SEVERITY_ERROR:
        return 3;
    case SEVERITY_WARNING:
        return 4;
    default:
        return 6;
    }
}

static const char *const confidence_names[_CONFIDENCE_MAX] = {
    [CONFIDENCE_RACY] = "racy",
    [CONFIDENCE_CONFIRMED] = "confirmed",
    [CONFIDENCE_FROZEN] = "frozen",
    [CONFIDENCE_OFFLINE] = "offline",
};

const char *confidence_name(enum confidence confidence)
{
    return name_of(confidence_names, ELEMENTSOF(confidence_names), confidence);
}

int confidence_from_name(const char *name)
{
    return index_of(confidence_names, ELEMENTSOF(confidence_names), name);
}

static const struct finding_definition definitions[_FINDING_MAX] = {
#define FINDING(id, name, severity, about, basis, ...)                                             \
    [FINDING_##id] = { name, severity, ABOUT_##about, BASIS_##basis, __VA_ARGS__ },
#include "qcaudit/findings.def"
#undef FINDING
};

const struct finding_definition *finding_definition(enum finding_type type)
{
    return (unsigned)type < _FINDING_MAX ? &definitions[type] : NULL;
}

int finding_type_from_name(const char *name)
{
    for (int i = 0; name && i < _FINDING_MAX; i++)
        if (strcmp(definitions[i].name, name) == 0)
            return i;
    return -EINVAL;
}

bool finding_type_is_of_disk(enum finding_type type)
{
    return finding_definition(type)->about == ABOUT_DISK;
}

static const char *const finding_state_names[_FINDING_STATE_MAX] = {
    [FINDING_OPEN] = "open",
    [FINDING_ACKNOWLEDGED] = "acknowledged",
    [FINDING_RESOLVED] = "resolved",
};

const char *finding_state_name(enum finding_state state)
{
    return name_of(finding_state_names, ELEMENTSOF(finding_state_names), state);
}

int finding_state_from_name(const char *name)
{
    return index_of(finding_state_names, ELEMENTSOF(finding_state_names), name);
}

static const char *const subject_kind_names[_SUBJECT_KIND_MAX] = {
    [SUBJECT_IMAGE] = "image",
    [SUBJECT_DATASTORE] = "datastore",
    [SUBJECT_DAEMON] = "daemon",
    [SUBJECT_DOMAIN] = "domain",
};

const char *subject_kind_name(enum subject_kind kind)
{
    return name_of(subject_kind_names, ELEMENTSOF(subject_kind_names), kind);
}

int subject_kind_from_name(const char *name)
{
    return index_of(subject_kind_names, ELEMENTSOF(subject_kind_names), name);
}

static const char *const event_type_names[_EVENT_MAX] = {
    [EVENT_OPENED] = "opened",
    [EVENT_WORSENED] = "worsened",
    [EVENT_EASED] = "eased",
    [EVENT_ACKNOWLEDGED] = "acknowledged",
    [EVENT_UNACKNOWLEDGED] = "unacknowledged",
    [EVENT_RESOLVED] = "resolved",
    [EVENT_REOPENED] = "reopened",
    [EVENT_REMINDER] = "reminder",
};

const char *event_type_name(enum event_type type)
{
    return name_of(event_type_names, ELEMENTSOF(event_type_names), type);
}

int event_type_from_name(const char *name)
{
    return index_of(event_type_names, ELEMENTSOF(event_type_names), name);
}

bool event_type_alerts(enum event_type type)
{
    switch (type) {
    case EVENT_OPENED:
    case EVENT_WORSENED:
    case EVENT_REOPENED:
    case EVENT_RESOLVED:
    case EVENT_UNACKNOWLEDGED:
    case EVENT_REMINDER:
        return true;
    default:
        return false;
    }
}

static const char *const reference_state_names[_REFERENCE_STATE_MAX] = {
    [REFERENCE_NONE] = "none",
    [REFERENCE_PENDING] = "pending",
    [REFERENCE_FOUND] = "found",
    [REFERENCE_MISSING] = "missing",
    [REFERENCE_ESCAPES] = "escapes",
    [REFERENCE_IS_REMOTE] = "remote",
    [REFERENCE_UNREACHABLE] = "unreachable",
};

const char *reference_state_name(enum reference_state state)
{
    return name_of(reference_state_names, ELEMENTSOF(reference_state_names), state);
}

int reference_state_from_name(const char *name)
{
    return index_of(reference_state_names, ELEMENTSOF(reference_state_names), name);
}

static const char *const datastore_state_names[_DATASTORE_STATE_MAX] = {
    [DATASTORE_STARTING] = "starting",
    [DATASTORE_ONLINE] = "online",
    [DATASTORE_OFFLINE] = "offline",
    [DATASTORE_PAUSED] = "paused",
    [DATASTORE_REMOVED] = "removed",
};

const char *datastore_state_name(enum datastore_state state)
{
    return name_of(datastore_state_names, ELEMENTSOF(datastore_state_names), state);
}

int datastore_state_from_name(const char *name)
{
    return index_of(datastore_state_names, ELEMENTSOF(datastore_state_names), name);
}

struct finding *finding_free(struct finding *finding)
{
    if (!finding)
        return NULL;
    free(finding->subject);
    free(finding->datastore);
    free(finding->acknowledged_by);
    free(finding->acknowledged_reason);
    json_object_put(finding->evidence);
    json_object_put(finding->remedy);
    free(finding);
    return NULL;
}

struct event *event_free(struct event *event)
{
    if (!event)
        return NULL;
    free(event->subject);
    free(event->datastore);
    free(event->message);
    strv_free(event->domains);
    free(event);
    return NULL;
}

bool image_is_device(const struct image *image)
{
    return S_ISBLK(image->fingerprint.mode);
}

struct identity identity_from_stat(const struct files_stat *stat)
{
    return (struct identity){ .fsid = stat->fsid, .inode = stat->inode, .btime = stat->btime };
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    return a->fsid == b->fsid && a->inode == b->inode && a->btime == b->btime;
}

struct fingerprint fingerprint_from_stat(const struct files_stat *stat)
{
    return (struct fingerprint){
        .size = stat->size, .allocated = stat->allocated, .mtime = stat->mtime,
        .ctime = stat->ctime,
        .mode = stat->mode, .uid = stat->uid, .gid = stat->gid, .links = stat->links,
    };
}

bool fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->size == b->size && a->allocated == b->allocated && a->mtime == b->mtime &&
           a->ctime == b->ctime && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
           a->links == b->links;
}

struct digest_result *digest_result_free(struct digest_result *digest)
{
    if (!digest)
        return NULL;
    free(digest->bad);
    free(digest);
    return NULL;
}

struct audit *audit_free(struct audit *audit)
{
    if (!audit)
        return NULL;
    digest_result_free(audit->digest);
    audit_report_free(audit->report);
    free(audit);
    return NULL;
}

void reference_done(struct reference *reference)
{
    free(reference->stored);
    free(reference->format);
    free(reference->path);
    *reference = (struct reference){ .state = REFERENCE_NONE };
}

void series_add(struct series *series, uint64_t at, uint64_t value, uint64_t least)
{
    if (series->n > 0) {
        uint64_t last = series->samples[series->n - 1].at, earliest;

        if (at < last || __builtin_add_overflow(last, least, &earliest) || at < earliest)
            return;
    }
    if (series->n == SERIES_MAX) {
        unsigned half = SERIES_MAX / 2, n = half / 2;

        for (unsigned i = 0; i < n; i++)
            series->samples[i] = series->samples[2 * i];
        memmove(&series->samples[n], &series->samples[half],
                (SERIES_MAX - half) * sizeof(*series->samples));
        series->n = n + SERIES_MAX - half;
    }
    series->samples[series->n++] = (struct sample){ .at = at, .value = value };
}

bool series_slope(const struct series *series, uint64_t since, unsigned least,
                  double *ret_per_second)
{
    double sum_t = 0, sum_v = 0, sum_tt = 0, sum_tv = 0, spread;
    unsigned n = 0;

    for (unsigned i = 0; i < series->n; i++) {
        const struct sample *sample = &series->samples[i];
        double t, v;

        if (sample->at < since)
            continue;
        /* From the last one on: times since the epoch would leave no digits for the rest. */
        t = -(double)(series->samples[series->n - 1].at - sample->at) / (double)USEC_PER_SEC;
        v = (double)sample->value - (double)series->samples[series->n - 1].value;
        sum_t += t;
        sum_v += v;
        sum_tt += t * t;
        sum_tv += t * v;
        n++;
    }
    spread = n * sum_tt - sum_t * sum_t;
    if (n < least || n < 2 || spread <= 0)
        return false;
    *ret_per_second = (n * sum_tv - sum_t * sum_v) / spread;
    return true;
}

bool error_is_temporary(int error)
{
    switch (error) {
    case -EAGAIN:               /* somebody has a lease on it */
    case -EBUSY:
    case -EINTR:
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
        return true;
    default:
        return false;
    }
}

bool image_was_denied(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    /* What a worker lacked depends on the image. */
    return report && report->n_layers == 0 && report->open_error.kind == QCA_ERROR_NONE &&
           error_is_temporary(report->error);
}

bool image_is_opaque(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && report->n_layers > 0 && layer_is_opaque(&report->layers[0]);
}

bool layer_is_opaque(const struct layer_report *layer)
{
    return layer->info.crypt_method != QCA_CRYPT_NONE ||
           !qca_format_is_understood(layer->info.format);
}

size_t image_count_extents(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;
    const struct qca_image_info *info = report && report->n_layers > 0 ? &report->layers[0].info
                                                                       : NULL;
    size_t n = 0;

    for (size_t i = 0; info && i < info->n_extents; i++)
        n += info->extents[i].name != NULL;
    return n;
}

bool image_is_foreign(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && report->n_layers > 0 &&
           !qca_format_is_understood(report->layers[0].info.format);
}

bool path_is_image_name(const char *path)
{
    static const char *const extensions[] = {
        "avhd", "avhdx", "bochs", "cloop", "cow",  "dd",  "disk", "dmg", "fd",   "hdd",
        "hds",  "img",   "iso",   "ova",   "qco",  "qcow", "qcow2", "qed", "raw", "vdi",
        "vhd",  "vhdx",  "vmdk",  "vpc",
    };
    const char *dot = strrchr(path, '.');

    if (!dot || strchr(dot, '/'))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(extensions); i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0)
            return true;
    return false;
}

bool image_has_data_file(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && report->n_layers > 0 &&
           (report->layers[0].info.incompatible_features & QCA_INCOMPAT_DATA_FILE) != 0;
}

void reference_list_done(struct reference_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        reference_done(&list->items[i]);
    free(list->items);
    *list = (struct reference_list){ 0 };
}

struct image *image_free(struct image *image)
{
    if (!image)
        return NULL;
    free(image->path);
    audit_free(image->audit);
    audit_free(image->audit_before);
    reference_done(&image->parent);
    reference_done(&image->data_file);
    reference_list_done(&image->extents);
    former_free(image->former);
    free(image->growth);
    free(image);
    return NULL;
}

/* rsync's ".NAME.XXXXXX" */
static bool name_is_of_rsync(const char *name)
{
    const char *dot = strrchr(name, '.');

    return name[0] == '.' && dot > name + 1 && strlen(dot + 1) == 6 &&
           strspn(dot + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == 6;
}

bool image_name_is_partial(const char *path)
{
    /* browsers, curl, wget, WinSCP, nova, Proxmox, torrent clients */
    static const char *const ends[] = {
        ".part", ".partial", ".crdownload", ".filepart", ".download", ".opdownload", ".downloading",
        ".incomplete", ".unfinished", ".tmp", ".temp", ".wget", ".!qB", ".!ut", ".bc!",
    };
    static const char *const middles[] = { ".tmp.", ".tmp_dwnl.", ".part." };
    /* of rsync and glance */
    static const char *const folders[] = { "/.rsync-partial/", "/.~tmp~/", "/incomplete/" };
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);

    for (size_t i = 0; i < ELEMENTSOF(ends); i++)
        if (n > strlen(ends[i]) && strcasecmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    for (size_t i = 0; i < ELEMENTSOF(middles); i++)
        if (strstr(name, middles[i]))
            return true;
    for (size_t i = 0; i < ELEMENTSOF(folders); i++)
        if (strstr(path, folders[i]))
            return true;
    return name_is_of_rsync(name);
}

const char *alert_target_name(enum alert_target target)
{
    static const char *const names[] = {
        [ALERT_JOURNAL] = "journal", [ALERT_SYSLOG] = "syslog", [ALERT_CONSOLE] = "console",
    };

    return (unsigned)target < ELEMENTSOF(names) ? names[target] : "?";
}

struct datastore *datastore_free(struct datastore *datastore)
{
    if (!datastore)
        return NULL;
    free(datastore->name);
    free(datastore->path);
    free(datastore->pool);
    free(datastore->space.others);
    coverage_done(&datastore->coverage);
    free(datastore);
    return NULL;
}
