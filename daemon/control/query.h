/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answers of the control interface: the model as JSON rows, filtered and paged. Pure.
 *
 * Units and types as in include/qcaudit/control.h; a member without a value is left out.
 *
 * A datastore: name, path, recursive, state, error, type, network, size, available, watched,
 * watch-error, overflows, unreadable, walk-started, walk-finished, paused-until
 * (18446744073709551615: without end), images.
 *
 * An image: path, datastore, present, size, allocated, use ("unused", "read-only", "writer"),
 * audited, confidence, format, virtual-size, corruptions, leaks, check-errors, error and error-text
 * (not opened), parent, parent-stored, parent-state, depth, unconsolidated, leaf, golden ("policy",
 * "inferred"), loop, children, findings (unresolved ones), severity (the worst of them), role
 * ("base", "golden", "overlay", "leaf", "backup", "install-medium", "leftover", "extent",
 * "unknown"); where libvirt knows it as a layer: domain, disk-target, disk-layer (0 the disk's
 * source), running; made-by (the snapshot).
 * With the filter "baseline": baseline{}: state ("verified", "bit-rot", "modified", "incomplete"),
 * source, since, verified, digest (of the layer's own data), zero-bytes, blocks, fs-verity,
 * accepted-by, reason; of what deviates found, read, digest-now, error, different-blocks,
 * different-bytes, ranges[] of guest-offset and guest-length, ranges-total. GetImage adds
 * baseline{} where there is one, and: role-reason (a sentence), users[] of kind ("layer",
 * "copy-target", "file", "made-by-snapshot", "before-snapshot"), domain, connection, disk-target,
 * disk-layer, snapshot, running, writes; mtime, mode, uid, gid, links, first-seen, last-seen,
 * created, created-source, own-layer, deepest-leaf, layers-above and leaves (of an own layer that
 * has layers above), golden-layer, base, children-paths, names (others of the same file),
 * header{}, check{}, snapshots[], bitmaps[],
 * audit{}, findings-list[]. Its findings-list has those of its disk too; findings and severity
 * count the image's own alone.
 * GetChain adds: level, created, created-source, own, asked, not-in-libvirt (below a running disk,
 * and libvirt does not know it);
 * findings-list is [] of id, name, severity and disk; state is "missing", "escapes", "remote",
 * "unreachable", "pending" or "loop" in the row of a parent that is no layer.
 *
 * A domain: name, uuid, connection, state, running, persistent, memory, disks, depth and
 * unconsolidated (of its deepest disk), allocated, snapshots, checkpoints, error-text (what libvirt
 * did not tell), findings and severity (its own, and its disks'). GetDomain adds: disks-list[] of
 * disk-target, device, path or source, format, read-only, shareable, layers (as libvirt has them),
 * job, job-ready, error-text, capacity, missing, datastore, allocated, depth, unconsolidated;
 * snapshots-list[] of name, kind, created, is-current, deleting; findings-list[].
 *
 * A finding: id, name, title, summary, severity, confidence, state, subject-kind, subject, path (of
 * an image), disk (it is about all layers of a disk, and path is the disk's own layer), datastore,
 * first-seen, last-seen, changed, resolved, count, weight, acknowledged-by, acknowledged-reason,
 * acknowledged-until; muted-by (the mute's id), muted-severity (its own, when that began to cover
 * it), muted-user, muted-reason, muted-until; with details: evidence{}, remedy[].
 *
 * A mute: id, what it asks for (finding, path: a pattern, class, finding-id), all-images (nothing
 * but a path that every image has), made-by, reason, made, until, holds, ended, ended-by (left out:
 * its time was over), findings (that it covers; one that two cover is of that which lasts
 * longer). */
#pragma once

#include "daemon/config/config.h"
#include "daemon/control/question.h"
#include "daemon/core/datastore.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/core/policy.h"
#include "daemon/judge/judge.h"
#include "daemon/relate/relate.h"
#include "daemon/virt/virt.h"

/* All that can be asked about; borrowed from the manager. images is sorted by path (bytes). */
struct query_view {
    struct datastore *const *datastores;
    size_t n_datastores;
    struct image *const *images;
    size_t n_images;
    const struct graph *graph;
    const struct findings *findings;
    const struct policy *policy;
    const struct config *config;        /* NULL: it is not known */
    uint64_t now;
    /* The image that has the path as another of its names (a hard link, another way to it), NULL
     * none; NULL: no other names are known. */
    struct image *(*find_name)(void *userdata, const char *path);
    void *find_userdata;
    /* The remedy of a finding as it is now, with *ret_remedy NULL for none; NULL: the one that was
     * kept with the finding. */
    int (*remedy)(void *userdata, const struct finding *finding, json_object **ret_remedy);
    void *remedy_userdata;
};

/* Numbers the manager alone knows, for the status. */
struct query_status {
    const char *version;
    uint64_t started, last_pass, next_pass;     /* usec */
    uint64_t pass_started;                      /* usec, 0 when no pass is under way */
    uint64_t pass_images_total, pass_images_done;
    unsigned workers_running;
    size_t store_waiting;
    int store_error;
};

/* baselines, baselines-deviating, verified-oldest, version, started, last-pass, next-pass,
 * pass-started, pass-images-total, pass-images-done, workers-running, store-waiting, store-error,
 * images, images-audited, images-unreadable (not opened), images-size, images-allocated, chains
 * (leaves of more than one layer), depth-max (unconsolidated layers), depth-max-path, libvirt[],
 * pools[] (query_virt()), disks-outside[] (at most 100) and disks-outside-total, open{} and
 * acknowledged{} and muted{} (findings by severity, each in one of them), mutes (that hold),
 * mute-of-all-images (the id of one that covers every image), datastores[], worst[] (up to 5 open
 * findings). */
int query_status(const struct query_view *view, const struct query_status *status,
                 json_object **ret_entry);
/* Images of a datastore, by what is known of them. */
struct coverage_counts {
    uint64_t images, audited, unaudited, unrested, unreadable, deaths, foreign;
};

/* Of each datastore of the view; counts has room for them and is zeroed. */
void query_coverage_count(const struct query_view *view, struct coverage_counts *counts);
/* Adds to the status' entry, status may be NULL: libvirt[] of uri, state ("connected", "reading":
 * not complete yet, "unreachable", "absent"), since, error, domains, domains-active, pools,
 * left-out; pools[] of name, type, path, active, auditable, datastore, reason and volumes (of those
 * that are not auditable). */
int query_virt(const struct query_view *view, const struct virt_status *status, json_object *entry);
/* Adds a disk in no datastore to rows: domain, target, path. */
int query_virt_outside(const struct virt_domain *domain, const struct virt_disk *disk,
                       json_object *rows);
/* Names of the domains whose disk the subject is, or a layer of one, or whose finding it is: by
 * what libvirt says now, at most 100, NULL-ended; NULL: none. -ENOMEM. */
int query_event_domains(const struct graph *graph, enum subject_kind kind, const char *subject,
                        char ***ret_domains);
/* With details. */
int query_finding_entry(const struct query_view *view, const struct finding *finding,
                        json_object **ret_entry);

/* ---- the questions of methods.def ------------------------------------------------------------ */

int query_datastores(const struct query_view *view, const struct asked *asked,
                     json_object **ret_rows, char **ret_next);
/* filter may be NULL. -EINVAL: a value or the cursor is invalid; -ENOENT: libvirt knows no such
 * domain or pool. In order of path; *ret_next is "" at the end. */
int query_images(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                 char **ret_next);
/* Finds the images that are meant: the one at filter's path, as one row with exact (true); else
 * those whose path ends in filter's end, after a slash: at most limit rows of path and total, how
 * many they are. Either may be left out. With details the only row has shown{}, as query_image(). A
 * domain of the name that filter's domain is comes before them, as one row of shown{}, as
 * query_domain(). -EINVAL: several connections have one of that name. */
int query_find(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
               char **ret_next);
/* By any of its names. */
int query_image(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                char **ret_next);
/* All that libvirt knows, in order of connection and UUID. */
int query_domains(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                  char **ret_next);
/* By name or UUID. -ENOENT; -EINVAL: several connections have one of that name. */
int query_domain(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                 char **ret_next);
/* The asked image's chain, base first, then all overlays on it, depth first: at most 10,000 rows in
 * all, limit (0: all) from the cursor on ("" or NULL: the first). *ret_next is "" after the last.
 * -EINVAL: no such cursor. */
int query_chain(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                char **ret_next);
/* As query_images(); in order of id. With details at most 100 rows a page. */
/* GetPolicy: path, known, class, pattern, golden (as of an image), golden-pattern; each of class-,
 * pattern- and golden- with file and line; settings[] of name, value (as written), default, class
 * (that says so), file, line. "/" as the path: of everything. -EOPNOTSUPP without configuration. */
int query_policy(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                 char **ret_next);
int query_mutes(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                char **ret_next);
int query_findings(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                   char **ret_next);
int query_finding(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                  char **ret_next);
