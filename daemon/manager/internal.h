/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the manager's files share: all stages and what is under way between them. */
#pragma once

#include <sys/queue.h>

#include "daemon/audit/audit.h"
#include "daemon/config/config.h"
#include "daemon/contents/contents.h"
#include "daemon/control/control.h"
#include "daemon/core/datastore.h"
#include "daemon/core/file.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/discover/discover.h"
#include "daemon/judge/judge.h"
#include "daemon/manager/manager.h"
#include "daemon/relate/relate.h"
#include "daemon/schedule/schedule.h"
#include "daemon/store/store.h"
#include "daemon/tell/tell.h"
#include "daemon/virt/virt.h"
#include "helpers/process.h"

/* A pass over everything (walks, then audits of what is due), or the audits somebody asked for. */
struct scan {
    uint64_t ticket;            /* from 1 on */
    uint64_t after;             /* the pass this one waited for: whoever asked waited for that
                                 * too; 0 none */
    bool pass;
    bool started;
    uint64_t begun;             /* usec */
    size_t n_walks;             /* datastores whose walk is awaited */
    uint64_t total, done;       /* images */
    bool finished;
};

#define SCANS_KEPT 64

struct image_list {
    struct image **items;
    size_t n_items, n_allocated;
};

int image_list_add(struct image_list *list, struct image *image);
void image_list_forget(struct image_list *list, const struct image *image);     /* leaves a NULL */
void image_list_done(struct image_list *list);

/* Everything judged in one go, written in one transaction; its events are told when that is on
 * disk. */
struct round {
    struct manager *manager;
    LIST_ENTRY(round) entry;
    bool waiting;                       /* in the manager's list */
    struct store_batch *batch;
    struct event **events;
    size_t n_events;
    SLIST_HEAD(, round_answer) answers;         /* to who waits until it is kept */
    bool told;
};

struct manager {
    sd_event *event;
    struct manager_options options;     /* strings are copies */
    struct config *config;

    struct discover *discover;
    struct schedule *schedule;
    struct scrubs *scrubs;
    struct pressure *pressure;
    struct audits *audits;
    struct graph *graph;
    struct contents *contents;
    struct findings *findings;
    struct store *store;
    struct alert *alert;
    struct control *control;
    bool stopping;
    uint64_t started;           /* usec */

    /* pass.c, scan.c */
    sd_event_source *dispatch, *dispatch_timer, *walk_timer;
    struct scan scans[SCANS_KEPT];      /* by ticket modulo SCANS_KEPT */
    uint64_t last_ticket;
    uint64_t pass, pass_next;   /* tickets, 0 none */
    uint64_t last_pass;         /* usec, end of the last one */
    bool first_pass;            /* nothing was known before it */
    bool first_pass_judged;     /* its summary waits until all of it is stored */
    bool workers_fail;          /* the last one could not be started */
    char *current;              /* path of the image whose audit began last */

    sd_event_source *scrub_timer;       /* scrub.c */

    /* release.c */
    struct launches *launches;          /* NULL without a launcher */
    struct process_endings endings;     /* of datastores, or of nobody in particular */
    LIST_HEAD(, release) releases;      /* that are not answered yet */

    /* rest.c */
    struct rest *rests;         /* images that are looked at once more */
    size_t n_rests;
    sd_event_source *rest_timer;

    /* resolve.c */
    sd_event_source *resolve_timer;
    struct image_list resolve;  /* references to be resolved again */
    size_t resolve_at;
    bool resolve_wanted;

    /* judge.c */
    sd_event_source *judge_timer, *again_timer, *tick_timer;
    bool judge_wanted;
    bool daemon_dirty;
    struct image_list audited;  /* new audits that are not stored yet */
    struct image_list attributes;       /* images to be stored again, not audited */
    struct image_list judging;
    struct image_list dismissing;       /* files that are no images after all */
    struct round *round;        /* being filled */
    uint64_t again;             /* usec: earliest judge_again of all */
    char *database_aside;       /* where a damaged database was put */
    int alert_errors[_ALERT_TARGET_MAX];        /* of each channel, as it was judged last */

    /* usage.c, capacity.c */
    struct usages *usages;      /* NULL before the start, and at the end */
    sd_event_source *usage_timer;
    sd_event_source *capacity_timer;

    /* store.c */
    LIST_HEAD(, round) rounds;  /* not on disk yet */
    struct store_batch *told;   /* alerts that arrived */
    sd_event_source *told_timer;
    int store_error;

    /* metrics.c */
    struct metrics_file *metrics_file;      /* NULL when none is wanted */
    struct metrics_counters counters;       /* of these, only what has to be counted as it
                                             * happens */
    sd_event_source *metrics_timer;
    bool metrics_changed;       /* since they were written last */
    int metrics_error;          /* of the last try, said once */

    /* virt.c */
    bool empty;                 /* there is no datastore, and that was said */
    struct virt_watch *virt_watch;      /* NULL: libvirt is not asked */
    struct virt_status *virt;           /* the latest; NULL before the first */
    sd_event_source *virt_timer;        /* while its first word is awaited */

    struct showings *showings;  /* show.c */

    /* control.c */
    struct image **listed;
    size_t n_listed, n_listed_allocated;
    uint64_t listed_generation;
    bool listed_valid;
    char *status;               /* as systemd was told last */
    sd_event_source *status_timer;
};

uint64_t manager_now(const struct manager *manager);
/* Makes the one-shot timer go off after so many usec, or earlier if it already would. */
int manager_arm(struct manager *manager, sd_event_source **source, uint64_t after,
                sd_event_time_handler_t handler);

/* ---- pass.c: what is to be audited, and when ------------------------------------------------- */

void pass_on_image(void *userdata, struct image *image, enum discover_change change, bool by_walk);
void pass_on_datastore(void *userdata, struct datastore *datastore);
void pass_on_walk_begins(void *userdata, struct datastore *datastore);
void pass_on_walked(void *userdata, struct datastore *datastore, int error);
void pass_on_removed(void *userdata, struct datastore *datastore);
void pass_on_audited(void *userdata, struct image *image, int error, struct audit *audit,
                     struct reference *parent, struct reference *data_file,
                     struct reference_list *extents);
/* Does the last audit hold for the file as it lies there? */
bool pass_is_current(const struct image *image);
/* Did nobody write while it was audited, nor so shortly before that its times could hide a later
 * write? */
bool pass_is_settled(const struct image *image);
/* Takes the present use of the file, by its locks. */
void pass_on_locks(void *userdata, struct image *image, enum files_use use);
/* Audits what is due, when the loop comes round. */
void pass_dispatch(struct manager *manager);
/* The image is audited for that reason, when its time comes. */
void pass_plan(struct manager *manager, struct image *image, enum schedule_reason reason);
/* Notes that another file which the image's audit looked at has changed. */
void pass_input_changed(struct manager *manager, struct image *image);
void pass_done(struct manager *manager);

/* ---- scan.c: passes, and what somebody asked for --------------------------------------------- */

/* A new pass, or the next one when one is under way: its ticket. */
uint64_t pass_begin(struct manager *manager);
void pass_plan_next(struct manager *manager);
/* Audits everything at and below the paths (scrub: reads all its data): -ENOENT and the path that
 * is not known, -ENOTCONN and the one whose datastore is offline or paused. */
int pass_scan(struct manager *manager, char **paths, bool scrub, uint64_t *ret_ticket,
              const char **ret_path);
const struct scan *pass_scan_find(const struct manager *manager, uint64_t ticket);
/* Ends the scans of which nothing is left. */
void pass_check_finished(struct manager *manager);
/* The image's audit is awaited by the scan; it, or that there will be none, is no longer awaited;
 * the same of a walk. */
void scan_join(struct manager *manager, struct image *image, uint64_t ticket);
void scan_leave(struct manager *manager, struct image *image);
void scan_leave_walk(struct manager *manager, struct datastore *datastore);

/* ---- contents.c ------------------------------------------------------------------------------ */

/* After the graph. */
int manager_new_contents(struct manager *manager);

/* ---- rename.c: what is called otherwise is the same ------------------------------------------ */

struct image *rename_known(void *userdata, const struct identity *identity);
void rename_on_renamed(void *userdata, struct image *image, const char *before);

/* ---- resolve.c: references that may lead elsewhere now --------------------------------------- */

void resolve_soon(struct manager *manager);
/* References are to be looked up, or are just being. */
bool resolve_is_pending(const struct manager *manager);
/* Makes the files that the image refers to images, whatever they were taken for. */
void resolve_recall(struct manager *manager, const struct image *image);
void resolve_on_other_gone(void *userdata);
void resolve_on_resolved(void *userdata, struct image *image, struct reference *parent,
                         struct reference *data_file, struct reference_list *extents);
void resolve_forget(struct manager *manager, const struct image *image);
void resolve_done(struct manager *manager);

/* ---- rest.c: files that are still being written ---------------------------------------------- */

/* Sets image->unrested by its last audit, and plans the next look. True: that is so soon that
 * whoever waits for the audit should wait for that one, too. */
bool rest_on_audited(struct manager *manager, struct image *image);
/* True when the image's next look is so soon that a scan waits for it. */
bool rest_is_short(const struct image *image);
void rest_forget(struct manager *manager, struct image *image);
void rest_done(struct manager *manager);

/* ---- former.c: what lost parents were -------------------------------------------------------- */

/* The image's reference to its parent becomes another one: what it led to is noted. */
void former_note_reference(struct manager *manager, struct image *child,
                           const struct reference *news);
/* The image goes: its overlays note what it was. */
void former_note_gone(struct manager *manager, const struct image *parent);
/* Forgets what nobody will ask for, the parent being there. */
void former_settle(struct manager *manager, struct image *image);

/* ---- scrub.c: images whose data is read again ------------------------------------------------ */

/* The image is to be read at due (usec; UINT64_MAX: not at all); verified: when it was last, 0
 * never: the oldest comes first. Cheap when that is what is planned already. */
void scrub_plan(struct manager *manager, struct image *image, uint64_t due, uint64_t verified);
/* Has the image read as soon as nothing else reads its device, whatever its time and the window. */
void scrub_now(struct manager *manager, struct image *image);
/* Begins what is due, and stops what must not run now. */
void scrub_dispatch(struct manager *manager);
/* Was it a scrub whose audit ended so? Then it is taken note of. */
bool scrub_on_audited(struct manager *manager, struct image *image, int error,
                      const struct audit *audit);
/* Adds what is under way to the entry of a status: scrubs (path, done, total, rate, waits),
 * scrubs-due. -ENOMEM. */
int scrub_show(const struct manager *manager, json_object *entry);
struct scrubs_options scrub_options_of(const struct config *config);
int scrub_init(struct manager *manager);
void scrub_done(struct manager *manager);

/* ---- judge.c: from audits to findings -------------------------------------------------------- */

/* Judges what changed, a moment later and all at once. */
void judge_soon(struct manager *manager);
/* At once: relations are valid then. */
void judge_now(struct manager *manager);
/* Dismisses the files that nothing calls an image, now that it was looked up what references lead
 * to. */
void judge_dismiss(struct manager *manager);
/* The image is freed after this: what is known of it, in memory, goes. */
void judge_image_forget(struct manager *manager, struct image *image);
/* Its file is gone, too: its findings are resolved, and the database says so. */
void judge_image_gone(struct manager *manager, struct image *image);
void judge_datastore_gone(struct manager *manager, const struct datastore *datastore);
/* reply may be NULL; else it is called if this returns 0, perhaps before. */
int judge_acknowledge(struct manager *manager, int64_t id, const char *by, const char *reason,
                      uint64_t until, control_done_fn reply, void *reply_userdata);
/* Answers when the datastore as it is now lies in the database, as keep_answer(). */
void judge_datastore_answer(struct manager *manager, struct datastore *datastore,
                            control_done_fn reply, void *reply_userdata);
void judge_done(struct manager *manager);

void judge_domain_gone(struct manager *manager, const char *subject);

/* ---- usage.c: what libvirt says, brought together with the files ----------------------------- */

int usage_start(struct manager *manager);
/* How libvirt says that the image is in use, as struct audits_options wants it. */
enum files_use usage_said(void *userdata, const struct image *image);
/* After the graph and the datastores are gone. */
void usage_done(struct manager *manager);

/* ---- capacity.c: room, by file system -------------------------------------------------------- */

int capacity_start(struct manager *manager);
/* Fills in growth and space of all datastores; one whose findings tell of a space that another one
 * shares is dirty when that one is. */
void capacity_count(struct manager *manager);
/* Forgets a datastore, which is freed after this. */
void capacity_forget(struct manager *manager, const struct datastore *datastore);
void capacity_done(struct manager *manager);

/* ---- store.c: what is kept ------------------------------------------------------------------- */

int keep_open(struct manager *manager);
int keep_load(struct manager *manager);
/* The round being filled; NULL without memory. */
struct round *keep_round(struct manager *manager);
int keep_event(struct round *round, const struct event *event, int64_t finding_id);
/* Answers when the round being filled lies in the database, with an error as soon as it cannot be
 * written: what was asked for holds all the same, and is tried again. */
void keep_answer(struct manager *manager, control_done_fn reply, void *reply_userdata);
/* Hands the round being filled to the store. */
void keep_commit(struct manager *manager);
/* Keeps what is known of the datastore's files that are no images, if it changed (much: a lot). */
void keep_others(struct manager *manager, const struct datastore *datastore, bool much);
void keep_all_others(struct manager *manager);
/* Ends the first pass for the alerts, as soon as all that it showed was handed to them. */
void keep_tell_first_pass(struct manager *manager);
void keep_on_told(void *userdata, sd_id128_t event_id, unsigned outbox, const char *channel,
                  int error);
/* Does each channel of alerts work, or work again? */
void alert_look(struct manager *manager);
void keep_done(struct manager *manager);

/* ---- metrics.c: what is counted -------------------------------------------------------------- */

/* Begins, moves or ends the file, as the configuration wants. */
void metrics_apply_config(struct manager *manager);
void metrics_count_audit(struct manager *manager, int error, const struct audit_report *report);
/* Of an audit that was to read all data, whether it did or not. */
void metrics_count_scrub(struct manager *manager, const struct audit *audit);
/* Writes the file soon, changed or not: its time says that the daemon is at work. */
void metrics_count_pass(struct manager *manager, const struct scan *scan);
/* Something changed: it is written within a minute. */
void metrics_soon(struct manager *manager);
void metrics_done(struct manager *manager);

/* ---- virt.c: what libvirt says --------------------------------------------------------------- */

/* Will pools come? Before the configuration's datastores are made. */
void virt_expect(struct manager *manager);
/* Nothing is judged of disks before libvirt said something, or did not for long. At the start. */
int virt_await(struct manager *manager);
/* Starts what asks libvirt, or again when the configuration (before: the last one, NULL at the
 * start) says otherwise. */
int virt_apply_config(struct manager *manager, const struct config *before);
/* Is the pool to be a datastore? */
bool virt_pool_is_wanted(const struct config *config, const struct virt_pool *pool);
/* Every disk of a domain whose first layer is a file or device in no datastore: nobody audits
 * it. */
void virt_each_outside(const struct manager *manager,
                       void (*each)(void *userdata, const struct virt_domain *domain,
                                    const struct virt_disk *disk),
                       void *userdata);
/* The first of them, as the judge wants them. False: not known yet. */
struct virt_gaps {
    struct outside_disk disks[100];
    size_t n;
    uint64_t total;
    const struct usage_index *index;
    bool pending;               /* it is being looked up whether links lead into a datastore */
};
bool virt_gaps(const struct manager *manager, struct virt_gaps *ret_gaps);
/* Adds libvirt's part to the status. */
int virt_show(const struct manager *manager, const struct query_view *view, json_object *entry);
void virt_done(struct manager *manager);

/* ---- mutes.c: what is recorded, and not told ------------------------------------------------- */

/* As members of struct control_ops. */
int mutes_make(struct manager *manager, struct mute *mute, int64_t *ret_id, control_done_fn reply,
               void *reply_userdata, char **ret_message);
int mutes_unmake(struct manager *manager, int64_t id, const char *by, control_done_fn reply,
                 void *reply_userdata);
/* Puts those that changed into the round being filled, and says so. */
void mutes_keep(struct manager *manager);

/* ---- show.c: answers, with remedies --------------------------------------------------------- */

/* Answers a question from the model. Calls back once, perhaps before it returns; not when it fails.
 * asked must be there until then. */
int show_begin(struct manager *manager, const struct question *question, const struct asked *asked,
               control_rows_fn reply, void *reply_userdata);
int show_init(struct manager *manager);
void show_files_gone(struct manager *manager, const struct files *files);
void show_done(struct manager *manager);

/* ---- release.c: datastores whose files are to be closed -------------------------------------- */

/* Calls back once, perhaps before it returns, when no process of the daemon's has a file of the
 * datastore open any more, or when one does not end: with an error and a sentence. Not when it
 * fails. */
int release_begin(struct manager *manager, struct datastore *datastore, uint64_t until,
                  control_done_fn reply, void *reply_userdata);
/* The datastore is freed after this. */
void release_forget(struct manager *manager, const struct datastore *datastore);
void release_init(struct manager *manager);
void release_done(struct manager *manager);

/* ---- control.c: what is shown ---------------------------------------------------------------- */

extern const struct control_ops manager_control_ops;
/* All that can be shown, with relations that are up to date. */
int control_view(struct manager *manager, struct query_view *ret_view);
void control_status_soon(struct manager *manager);
/* Reads the configuration again; the old one stays when the new one is wrong: *ret_message then
 * says why. */
int manager_reload(struct manager *manager, char **ret_message);
