/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request to qcauditctl, and its verbs. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "ctl/output.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

/* Exit statuses beside 0 and 1; those of check are in ctl/check.h. */
#define EXIT_TROUBLE 10             /* status, findings: not known; below, the worst that is open:
                                     * severity_status() */
#define EXIT_NOT_COMPARABLE 2       /* compare: nothing is known, as 1 says that they differ */
#define EXIT_NOT_IDENTIFIED 2       /* identify: families could not be read, as 1 says that one is
                                     * not known */
#define EXIT_FINDINGS_OPENED 2      /* scan --wait: findings of severity error or critical were
                                     * opened */

struct ctl {
    struct output output;
    const char *socket;             /* --socket, NULL: found out */
    const char *host;               /* of ssh; NULL: this one */
    const char *state_directory;
    bool offline;
    const char *severity, *name, *path, *datastore, *state, *format, *reason;
    const char *domain, *pool, *channel;
    const char *finding, *class, *id;   /* of what is to be muted */
    bool forever, muted;
    bool all, orphan;
    const char *out;                /* -o: what it is, the verb knows */
    bool brief, exit_zero;
    bool nagios;
    bool own_daemon;            /* of this run, and no service */
    bool wait, scrub;
    bool chain, compatible;
    bool scalar;
    unsigned threads;               /* 0: as many as are worth it */
    bool file, content, tag;
    const char *algorithm;          /* a list */
    const char *snapshot;
    bool deep;
    uint64_t since, until, duration;    /* usec; 0 not given */
    uint64_t at;                        /* usec; 0: now */
    bool evidence;                      /* check: of archives of evidence */
    const char *metric;                 /* of --metric or --crossed; NULL neither */
    const char *catalogue;              /* identify: a list, or a folder of lists; NULL: none */
    const char *families;               /* a file; NULL: the package's and the site's */
    const char *journal;                /* a folder; NULL: the system's */
    uint64_t threshold;                 /* of --crossed; 0 not given */
    const char *signature;              /* catalogue: a file */
    const char *keyring, *fingerprint;  /* by whom: by OpenPGP, */
    const char *key;                    /* by a public key, */
    const char *root, *certificates, *subject;  /* or by a certificate */
    unsigned lines;                     /* 0 not given */
    sd_bus *bus;                        /* once connected */
    uint64_t answer_usec;               /* how long an answer may take; 0: as usual */
    int trouble;                        /* exit status of a verb that could not do its work */
};

/* A verb prints its own errors. Returns an exit status, or -errno for that of trouble. */
int verb_status(struct ctl *ctl, int argc, char **argv);
int verb_images(struct ctl *ctl, int argc, char **argv);
int verb_chain(struct ctl *ctl, int argc, char **argv);
int verb_domains(struct ctl *ctl, int argc, char **argv);
int verb_findings(struct ctl *ctl, int argc, char **argv);
int verb_diff(struct ctl *ctl, int argc, char **argv);
int verb_show(struct ctl *ctl, int argc, char **argv);
int verb_explain(struct ctl *ctl, int argc, char **argv);
int verb_history(struct ctl *ctl, int argc, char **argv);
int verb_scan(struct ctl *ctl, int argc, char **argv);
int verb_ack(struct ctl *ctl, int argc, char **argv);
int verb_mute(struct ctl *ctl, int argc, char **argv);
int verb_mutes(struct ctl *ctl, int argc, char **argv);
int verb_unmute(struct ctl *ctl, int argc, char **argv);
int verb_policy(struct ctl *ctl, int argc, char **argv);
int verb_test_alert(struct ctl *ctl, int argc, char **argv);
int verb_pause(struct ctl *ctl, int argc, char **argv);
int verb_release(struct ctl *ctl, int argc, char **argv);
int verb_resume(struct ctl *ctl, int argc, char **argv);
int verb_reload(struct ctl *ctl, int argc, char **argv);
int verb_monitor(struct ctl *ctl, int argc, char **argv);
int verb_audit(struct ctl *ctl, int argc, char **argv);
int verb_evidence(struct ctl *ctl, int argc, char **argv);
int verb_catalogue(struct ctl *ctl, int argc, char **argv);
int verb_check(struct ctl *ctl, int argc, char **argv);
int verb_hash(struct ctl *ctl, int argc, char **argv);
int verb_verify(struct ctl *ctl, int argc, char **argv);
int verb_verify_log(struct ctl *ctl, int argc, char **argv);
int verb_identify(struct ctl *ctl, int argc, char **argv);
int verb_compare(struct ctl *ctl, int argc, char **argv);
int verb_baseline(struct ctl *ctl, int argc, char **argv);

/* What verbs that change something are given; each complains of what it refuses.
 * --until, or --for from now; else without. */
int end_time(const struct ctl *ctl, uint64_t without, uint64_t *ret_until);
/* --reason. */
int need_reason(const struct ctl *ctl);
/* The number of a finding, as the verb "findings" lists it. */
int id_argument(const struct ctl *ctl, const char *text, const char *of, const char *listed_by,
                int64_t *ret_number);
/* Makes the daemon walk and audit all there is, and waits; -EINTR when stop_fd, unless it is -1,
 * gets readable. */
int scan_all(struct ctl *ctl, int stop_fd);
/* Lines of a status: libvirt's connections, and what is left out, and why. */
int status_print_gaps(const struct ctl *ctl, json_object *status);

/* Contents as several verbs show them: lines of an image's baseline; a table of its readings. */
void baseline_print(const struct ctl *ctl, json_object *baseline);
int baseline_print_readings(struct ctl *ctl, json_object *rows);

/* Prints "TEXT: what error means" (or TEXT alone for 0) to stderr and returns error. */
int complain(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
