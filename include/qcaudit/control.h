/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of the control interface, shared by qcauditd and qcauditctl. Not installed.
 *
 * D-Bus, peer to peer on a UNIX socket (and on the system bus where there is one). Entries are
 * a{sv} dictionaries, their keys with dashes. Paths and other raw bytes travel as ay without a
 * final NUL; times are t, microseconds since the epoch, 0 when never; sizes are t, bytes;
 * enumerations are their names, s. Numbers that can be negative (error: a negative errno) are x
 * when they are. A member that has no value is left out. */
#pragma once

#define CONTROL_BUS_NAME "org.qcaudit.Auditor1"
#define CONTROL_OBJECT_PATH "/org/qcaudit/Auditor1"
#define CONTROL_INTERFACE "org.qcaudit.Auditor1"
#define CONTROL_SOCKET_NAME "control"               /* in the runtime folder */
#define CONTROL_SYSTEM_RUNTIME_DIR "/run/qcaudit"
#define CONTROL_SYSTEM_STATE_DIR "/var/lib/qcaudit"
#define CONTROL_DATABASE_NAME "qcaudit.db"          /* in the state folder: what --offline reads, */
#define CONTROL_LOCK_NAME "lock"                    /* and the file that a daemon holds an OFD
                                                     * write lock on */
#define CONTROL_JOURNAL_NAME "baselines.journal"    /* beside it: baselines, acknowledgements
                                                     * and mutes, which outlive it */
#define CONTROL_BLOCKS_NAME "blocks"                /* and a folder of block digests */
#define CONTROL_DATABASE_VERSION 8                  /* PRAGMA user_version */

/* Of the journal's entries that say with which event the record ends, when the daemon starts, once
 * a day and when it ends: MESSAGE_ID, and the fields with the path of the database, its record
 * (GetRecord()), and the last event's number and digest. */
#define CONTROL_HEAD_MESSAGE_ID "ac991f50e4834af1b56c45a5eb50f2ff"
#define CONTROL_HEAD_DATABASE "QCAUDIT_LOG_DATABASE"
#define CONTROL_HEAD_RECORD "QCAUDIT_LOG_RECORD"
#define CONTROL_HEAD_SEQ "QCAUDIT_LOG_SEQ"
#define CONTROL_HEAD_DIGEST "QCAUDIT_LOG_DIGEST"
#define CONTROL_HEADS_MAX 500                       /* that CheckRecord() takes: a reader's message
                                                     * holds so many */

#define CONTROL_UID_PREFIX "uid "                   /* and a number: a user, as in
                                                     * acknowledged-by; else a name */

#define CONTROL_LIMIT_MAX 200                       /* entries per page: nobody waits for long
                                                     * while one is made */

#define CONTROL_ERROR_ACCESS_DENIED "org.qcaudit.Error.AccessDenied"
#define CONTROL_ERROR_NOT_FOUND "org.qcaudit.Error.NotFound"
#define CONTROL_ERROR_INVALID_ARGUMENT "org.qcaudit.Error.InvalidArgument"
#define CONTROL_ERROR_INVALID_CONFIGURATION "org.qcaudit.Error.InvalidConfiguration"
#define CONTROL_ERROR_BUSY "org.qcaudit.Error.Busy"
#define CONTROL_ERROR_FAILED "org.qcaudit.Error.Failed"

/* Methods, and below them what is said of them:
 *
 * GetStatus() -> a{sv}
 * ListDatastores() -> aa{sv}
 * ListImages(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: path ay (it or what is below it), datastore s, format s, findings b,
 *      baseline b (only with), domain s (name or UUID), pool s, orphan b (only those)
 * FindImage(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: path ay, end ay, domain s, details b; the domain of that name or UUID, all of it
 *      ("shown" a{sv}, as of GetDomain, alone), else the image of that path ("exact" b), else
 *      those whose path ends so (path ay, total t); with details, one image that is meant comes
 *      with all of it ("shown" a{sv}, as of GetImage)
 * GetImage(ay path) -> a{sv}
 *      all that is known of one image
 * GetChain(ay path, s cursor, u limit) -> aa{sv}, s next
 *      base first; "level" t, "parent" ay
 * ListDomains() -> aa{sv}
 * GetDomain(s name) -> a{sv}
 *      by name or UUID, as libvirt knows it
 * ListFindings(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: severity s (and above), name s, path ay, datastore s, details b, state s:
 *      "open", "acknowledged", "resolved", "all", "unresolved" (the default: the first two);
 *      what is muted is any of these, and has muted-by
 * GetFinding(x id) -> a{sv}
 *      with evidence and remedy
 * GetPolicy(ay path) -> a{sv}
 *      of an image, known or not: its class, and what holds for it by which line of the
 *      configuration; of "/": all that holds without a class
 * ListMutes() -> aa{sv}
 *      those that hold, and those that ended lately
 * ListEvents(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: path ay, name s, since t, until t, disk b (with path: also of the other layers of
 *      its disk, and of what they stand on); seq t, digest s: number and digest in the record
 * ListAudits(ay path, s cursor, u limit) -> aa{sv}, s next
 * ListReadings(ay path, s cursor, u limit) -> aa{sv}, s next
 *      of all its data: started, finished, verdict, explanation, digest, direct, ...
 * ListDiskAudits(ay path, s cursor, u limit) -> aa{sv}, s next
 *      as ListAudits, of all layers of the image's disk (path ay), of each while it was the
 *      uppermost
 * ListSpace(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: datastore s, which must be there, since t, until t; how full its file system was,
 *      at most once an hour, newest first: at t, size t, available t
 * ListFindingsAt(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: at t; the findings that were open or acknowledged then: id x, name, title, state,
 *      severity, confidence, subject-kind, subject, path, datastore, first-seen, changed, message;
 *      inferred b (it was opened before the events begin that are kept of it)
 * ListChanges(a{sv} filter, s cursor, u limit) -> aa{sv}, s next
 *      filter: since t, until t; likewise, what differs between both: change s ("opened",
 *      "worsened", "eased", "resolved", "passed": opened and resolved since), severity-before s
 * GetRecord() -> a{sv}
 *      begins t (since when every event is kept), created t (of the database), newest t,
 *      record s (of this database, at random), database ay (its path)
 * CheckRecord(a{sv} filter) -> a{sv}
 *      the chain of events, recomputed; filter: heads s, "SEQ:DIGEST ..." that must be in it.
 *      record s, events t (that were checked), unchained t (how many are older than the chain),
 *      chain-begins t (the number of its first), removed t (events that the retention deleted),
 *      ranges-total t, ranges aa{sv} (the newest 100: first, last, newest, removed), heads t,
 *      heads-removed t (of deleted events, not compared), names-unchecked b, head-seq t,
 *      head-digest s, problems-total t, problems aa{sv} (the oldest 100, the oldest first: kind
 *      "changed", "inserted", "missing", "no-digest", "subject", "removed-range", "head-missing" or
 *      "head-differs"; seq t, last t; of an event that is there at, event, finding, subject,
 *      message; expected s, of a subject)
 * AcceptBaseline(ay path, s reason) -> ()
 *      the change that was found was meant
 * Scan(aay paths) -> t ticket
 *      no paths: walk everything, audit what is due
 * Scrub(aay paths) -> t ticket
 *      the same, and reads all their data
 * GetScan(t ticket) -> a{sv}
 *      done b, images-total t, images-done t, current ay
 * TestAlert(s channel) -> aa{sv}
 *      sends a test through that channel ("journal", "syslog", "console", "exec"; "": each that is
 *      configured); channel, configured, delivered, detail
 * Acknowledge(x id, s reason, t until) -> ()
 * Mute(a{sv} what, s reason, t until) -> x id
 *      what: finding s (a name), path ay (a pattern), class s, finding-id t or x; all that is given
 *      must hold, and something is; until 0: without end
 * Unmute(x id) -> ()
 * Pause(s datastore, t until) -> ()
 * Release(s datastore, t until) -> ()
 *      answered when nobody has a file open there any more, or Failed when that takes too long
 * Resume(s datastore) -> ()
 * Reload() -> ()
 * Subscribe() -> ()
 *      signals from now on, to this caller
 *
 * Signals: FindingChanged(a{sv} finding, s event).
 * Properties, of the status: Version s, Started t, LastPass t, NextPass t, PassStarted t,
 * PassImagesTotal t, PassImagesDone t, WorkersRunning t, Images t, ImagesAudited t,
 * ImagesUnreadable t, ImagesSize t, ImagesAllocated t, Chains t, DepthMax t, FindingsOpen a{sv},
 * FindingsAcknowledged a{sv} and FindingsMuted a{sv} by severity. PropertiesChanged goes to those
 * who called Subscribe(), about a second after the change, and not of the pass's progress; on the
 * system bus also to everybody who listens, with values where control.public is set, and otherwise
 * with the names of those that are to be asked for again. */
