/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that remedies share: the steps being written, and questions that many ask of an
 * image first. */
#pragma once

#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/remedy/remedy.h"

struct gate;                    /* gate.h */

/* A remedy being written; once something failed, the end says so. */
struct remedy {
    json_object *steps;
    json_object *last;          /* the command that was added last; NULL: another step was */
    struct looks *looks;        /* what was looked at just now; NULL: no command that needs a look
                                 * is given */
    int64_t finding;            /* id */
    int error;
};

void remedy_precondition(struct remedy *remedy, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Adds a command that writes, copies, moves or defines: fails unless the gate is open. */
void remedy_command(struct remedy *remedy, const struct gate *gate, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, appended to the command before: done only when that went well. */
void remedy_and(struct remedy *remedy, const struct gate *gate, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a command that changes nothing: fails for other programs than fuser, qcauditctl. */
void remedy_look(struct remedy *remedy, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void remedy_text(struct remedy *remedy, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Why there is nothing to run: no step of its own. */
void remedy_note(struct remedy *remedy, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A name as one shell word; NULL when the remedy has failed. Names that only some shells could
 * quote are told to be renamed first: see remedy_name_is_plain(). */
char *remedy_quote(struct remedy *remedy, const char *name);
bool remedy_name_is_plain(const char *name);

/* Does so much of it leak in one place that nothing may be freed? As leak-burst is judged. */
bool remedy_leaks_are_burst(const struct graph *graph, const struct image *image);
/* Nothing is known to be wrong with its tables. */
bool remedy_image_is_sound(const struct graph *graph, const struct image *image);
bool remedy_image_is_golden(const struct graph *graph, const struct image *image);

/* Adds a step on users who must not open the image while the commands run. */
void remedy_step_stop(struct remedy *remedy, const struct gate *gate, const struct image *image,
                      const char *quoted);
/* The copy that is kept beside an image before it is written: its name; its part of the gate; the
 * command, to which what needs the copy is joined by remedy_and(). */
char *remedy_copy_name(struct remedy *remedy, const char *path);
void remedy_gate_copy(struct gate *gate, const struct image *image);
void remedy_step_copy(struct remedy *remedy, const struct gate *gate, const struct image *image);
/* Of an image with which something is wrong that the repair takes away: the same, and an archive of
 * its tables and of what is known of it. */
void remedy_step_keep(struct remedy *remedy, const struct gate *gate, const struct image *image);
void remedy_step_rename_first(struct remedy *remedy);
/* Of as many the commands are not shown. */
void remedy_step_more(struct remedy *remedy, size_t n);

/* Merges the leaf's layers down into its own layer, which is named as the base, and puts the
 * leaf on that. The second half loses nothing: after the commit the own layer holds all that the
 * layers between held. */
void remedy_consolidate(struct remedy *remedy, const struct graph *graph, const struct image *leaf);

/* ---- libvirt.c: with libvirt's names --------------------------------------------------------- */

/* "virsh -c URI", and the domain as a word of its command line; NULL when the remedy has failed. */
char *remedy_virsh(struct remedy *remedy, const struct graph *graph,
                   const struct virt_domain *domain);
char *remedy_domain_name(struct remedy *remedy, const struct virt_domain *domain);
/* These three begin a command, or go on with the last one when there is one (remedy->last).
 * The command that puts another image into the domain's definition; false when the names do not
 * allow one. */
bool remedy_define_source(struct remedy *remedy, const struct gate *gate,
                          const struct virt_domain *domain, const char *from, const char *to);
/* The command that makes the definition name another format of a disk; false when the names do not
 * allow one. */
bool remedy_define_format(struct remedy *remedy, const struct gate *gate,
                          const struct virt_domain *domain, const char *target, const char *from,
                          const char *to);
/* The commands that put another image of that format into the definition, in the place of this
 * disk's. */
bool remedy_define_image(struct remedy *remedy, const struct gate *gate,
                         const struct virt_domain *domain, const struct virt_disk *disk,
                         const char *path, const char *format);
/* Commands after which libvirt does not know the snapshots any more that made the leaf's
 * unconsolidated layers; joined to the last command, so that they are run only after that. */
void remedy_forget_snapshots(struct remedy *remedy, const struct gate *gate,
                             const struct virt_domain *domain, const struct image *leaf);

/* ---- snapshots.c: internal snapshots --------------------------------------------------------- */

/* only: the id of the one to delete, NULL for all. */
void remedy_snapshots(struct remedy *remedy, const struct graph *graph, const struct image *image,
                      const char *only);
/* True when all that is wrong with the image is mended without loss; then the remedy says so. */
bool remedy_snapshot_table(struct remedy *remedy, const struct graph *graph,
                           const struct image *image);

/* ---- domain.c: findings of a domain ---------------------------------------------------------- */

void remedy_domain(struct remedy *remedy, const struct graph *graph, const struct finding *finding);

/* ---- use.c ----------------------------------------------------------------------------------- */

void remedy_orphan(struct remedy *remedy, const struct graph *graph, const struct image *image);
void remedy_shared(struct remedy *remedy, const struct graph *graph, const struct image *image);
void remedy_foreign(struct remedy *remedy, const struct graph *graph, const struct image *image);
void remedy_fork(struct remedy *remedy, const struct graph *graph, const struct image *image);
void remedy_raw(struct remedy *remedy, const struct graph *graph, const struct image *image);
/* Of an image that its domain's definition declares as another format than it is. */
void remedy_driver(struct remedy *remedy, const struct graph *graph, const struct image *image,
                   const char *declared);

/* ---- vmware.c: disks of ESXi's, words alone -------------------------------------------------- */

/* Of a disk with the leaf, whose layers are to be merged; and that no list of snapshots has. */
void remedy_deltas(struct remedy *remedy, const struct graph *graph, const struct image *leaf);
void remedy_unmanaged_deltas(struct remedy *remedy, const struct graph *graph,
                             const struct image *leaf);
void remedy_leftover_disk(struct remedy *remedy, const struct image *image);

/* ---- lost.c ---------------------------------------------------------------------------------- */

/* Of a chain, or tree, of which the image is the base. */
void remedy_leftover(struct remedy *remedy, const struct graph *graph, const struct image *image);
void remedy_parent_missing(struct remedy *remedy, const struct graph *graph,
                           const struct image *image);
/* The command that moves a renamed file back to the path at which the image, or its domain, looks
 * for it. */
void remedy_move_back(struct remedy *remedy, const struct graph *graph, const struct image *image,
                      const struct image *lost, const char *path);
/* Of an image that its running domain, or the layer above, has by the path, and that is the same
 * file under another name. */
void remedy_renamed(struct remedy *remedy, const struct graph *graph, const struct image *image,
                    const char *path);
void remedy_loop(struct remedy *remedy, const struct graph *graph, const struct image *head);

/* Contents that are not what they were. */
void remedy_rot(struct remedy *remedy, const struct graph *graph, const struct image *image);
/* Space that holds nothing. */
void remedy_space(struct remedy *remedy, const struct graph *graph, const struct finding *finding,
                  const struct image *image);
void remedy_modified(struct remedy *remedy, const struct graph *graph, const struct image *image);
