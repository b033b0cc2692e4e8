/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the parts of the judge share: the judgement under way, and evidence built
 * without checking every step. */
#pragma once

#include "daemon/core/datastore.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/core/policy.h"
#include "daemon/core/series.h"
#include "daemon/judge/judgement.h"
#include "helpers/evidence.h"
#include "helpers/report-json.h"

/* A data file in which less is than the image refers to. */
struct data_cut {
    bool known;                 /* its size */
    uint64_t size, needed;      /* bytes; needed 0: nothing is missing */
    uint64_t clusters;          /* that are missing; 0: it is only shorter than the disk */
};

/* One judgement under way. */
struct judging {
    const struct policy *policy;
    const struct thresholds *thresholds;
    const struct graph *graph;
    const struct image *image;
    const struct relation *relation;
    const struct image *leaf;   /* of an own layer: the deepest leaf above it (or itself), */
    const struct relation *chain;       /* and its place; else NULL */
    bool truncated;             /* the file was cut off: what lies beyond its end is no damage
                                 * besides */
    struct data_cut data_cut;   /* the same of its data file */
    const struct audit *last;
    const struct layer_report *layer;   /* the image itself; NULL when it was not opened */
    struct layer_report layer_storage;
    uint64_t now;
    struct usage usage;         /* what libvirt says of the image */
    enum confidence audit_confidence;   /* while judging_sure() holds */
    struct judgement *judgement;
};

/* A JSON object or array being filled; once something failed for lack of memory, judging_add()
 * says so. */
struct evidence {
    json_object *object;
    bool failed;
};

#define _cleanup_evidence_ __attribute__((cleanup(evidence_done)))

struct evidence evidence_new(void);
struct evidence evidence_new_list(void);
void evidence_done(struct evidence *evidence);
void evidence_number(struct evidence *evidence, enum evidence_number member, uint64_t value);
void evidence_flag(struct evidence *evidence, enum evidence_flag member, bool value);
/* Of an object whose members are kinds of issues. */
void evidence_issue_count(struct evidence *kinds, enum qca_issue_kind kind, uint64_t count);
/* As json_fields_show(), of keys that qcaudit/evidence.def has, too; no member may be a string of
 * an image's. */
void evidence_fields(struct evidence *evidence, const struct json_fields *fields, const void *base,
                     const char *const keys[]);
/* Escapes; NULL is left out. */
void evidence_text(struct evidence *evidence, enum evidence_text member, const char *hostile);
/* Takes what value holds. */
void evidence_value(struct evidence *evidence, enum evidence_part member, struct evidence *value);
void evidence_append(struct evidence *list, struct evidence *value);

/* Adds a condition, unless the administrator does not want it; takes what evidence holds and
 * adds the summary. */
int judging_add(struct judging *judging, enum finding_type type, enum severity severity,
                uint64_t weight, struct evidence *evidence, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The condition of this type, if it was added just now, has to hold for so long (usec) before it is
 * a finding. */
void judging_hold(struct judging *judging, enum finding_type type, uint64_t hold);
/* Conditions added from here on rest on libvirt's word and on names, not on the audit: the image's
 * use is their confidence. judging_unsure() ends it. */
void judging_sure(struct judging *judging);
void judging_unsure(struct judging *judging);
/* Was the condition added to this judgement? */
bool judging_has(const struct judging *judging, enum finding_type type);
/* audit.c: an upload or a copy that did not end, as its name says, and that nobody uses. */
bool is_abandoned_part(const struct judging *judging);
/* The condition of this type that was added to this judgement; NULL none. */
struct condition *judging_condition(const struct judging *judging, enum finding_type type);
/* The first disk at or above a layer; NULL when no domain uses one, or when the layers fork. */
const struct usage_entry *judging_branch_disk(const struct judging *judging,
                                              const struct image *image);
/* Looked for, and sure. */
void judging_looked(struct judging *judging, enum finding_type type);

/* The highest step that value reaches; false when none. *ret_step is the step's threshold. */
bool steps_reached(const struct steps *steps, uint64_t value, enum severity *ret_severity,
                   uint64_t *ret_step);

typedef bool (*issue_fn)(const struct judging *judging, const struct qca_issue *issue);

/* "issues": the first 100 wanted ones; "issues-omitted": how many more were kept by the
 * audit. */
void evidence_issues(struct evidence *evidence, const struct judging *judging, issue_fn wanted);
/* The first wanted issue that the audit kept, or NULL. */
const struct qca_issue *issue_first(const struct judging *judging, issue_fn wanted);
/* Compressed clusters and the LUKS header, of an image that nothing writes. */
int judge_compressed(struct judging *judging);
int judge_encryption(struct judging *judging);

/* Metadata: what the audit of the image itself says. Sets `judged` for all findings that it may
 * make. */
int judge_content(struct judging *judging);
int judge_leaks(struct judging *judging);
/* An image that was not opened: only why is said, and that it is not otherwise. */
int judge_not_opened(struct judging *judging);
int judging_add_read_error(struct judging *judging, int error, const struct qca_error *why);
int judging_add_not_auditable(struct judging *judging, int error, const struct qca_error *why);
/* Chain and internal snapshots: what its place in the graph says. */
int judge_chain(struct judging *judging);
uint64_t judge_chain_again(const struct judging *judging);
/* header-invalid of what was an image before, whatever its name is. */
int judge_header(struct judging *judging);
/* By its last audit: its header was overwritten, and nobody made a raw disk of it on purpose. */
bool image_lost_header(const struct graph *graph, const struct image *image);
/* "a qcow2 image until 2026-11-30 12:00 UTC"; malloc'd, NULL without memory. */
char *past_words(const struct image_past *past);
/* data-file, and what it says of the check's issues, which comes first. */
void data_file_look(struct judging *judging, bool unstable);
int judge_data_file(struct judging *judging);
/* reference (what), stored, format, path, errno, error. */
void evidence_reference(struct evidence *evidence, const struct reference *reference,
                        const char *what);
/* References, names, formats and permissions. */
int judge_safety(struct judging *judging);
uint64_t judge_safety_again(const struct judging *judging);
/* Contents: what its baseline says, and what deviates from it. */
int judge_integrity(struct judging *judging);
uint64_t judge_integrity_again(const struct judging *judging);
/* Judges that libvirt's word adds, in use.c, snapshots.c and leftover.c. */
int judge_use(struct judging *judging);
/* A parent that is written, or was replaced, under its overlays. */
int judge_written(struct judging *judging);
int judge_snapshots(struct judging *judging);
int judge_leftover(struct judging *judging);
/* A file that ends too early. Comes before the damage: the pointers that it explains are not damage
 * of their own. */
int judge_truncation(struct judging *judging);
bool issue_is_beyond_end(const struct judging *judging, const struct qca_issue *issue);
/* Pointers to what lies behind the end, each counted. */
uint64_t references_beyond_end(const struct qca_check_result *check);
/* The version that its name says. */
int judge_version(struct judging *judging);
uint64_t judge_version_again(const struct judging *judging);
/* Space: datastore-full, datastore-overcommitted, time-to-full. */
int judge_capacity(struct judging *judging, const struct datastore *datastore);
/* Judges gaps: coverage-gap of a datastore, and of the daemon. */
int judge_coverage(struct judging *judging, const struct datastore *datastore);
int judge_outside(struct judging *judging, const struct outside_disk *disks, size_t n,
                  uint64_t total);
/* domain, connection, disk, running. */
void evidence_entry(struct evidence *evidence, const struct judging *judging,
                    const struct usage_entry *entry);
/* Describes a lost parent: path, inode, fsid, size, virtual-size, digest, seen-at; nothing for
 * NULL. */
void evidence_former(struct evidence *evidence, enum evidence_part member,
                     const struct former *former);
/* An array of {at, bytes}: at most 12 samples of the series, the first and the last among them. */
void evidence_series(struct evidence *evidence, enum evidence_part member,
                     const struct series *series);
/* "disk vda of domain web1", escaped; malloc'd, NULL without memory. */
char *entry_words(const struct usage_entry *entry);
/* The last part of a path, escaped; malloc'd, NULL without memory. */
char *name_words(const char *path);
/* The connection of the domain is there, and all of the domain was read. */
bool domain_is_known(const struct graph *graph, const struct virt_domain *domain);
