-- SPDX-License-Identifier: LGPL-2.1-or-later
-- A database as version 1 of the schema had it: two images, a finding and its event. Made by `sqlite3 qcaudit.db .dump`.
PRAGMA foreign_keys=OFF;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE state (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    clean           INTEGER NOT NULL,   -- 1: stopped cleanly, or nothing written since; 0: running, or killed
    created         INTEGER NOT NULL,   -- time this database was made
    checked         INTEGER NOT NULL    -- time of the last complete quick_check, 0 never
) STRICT;
INSERT INTO state VALUES(1,1,1795160411000000,1795160411247381);
CREATE TABLE datastore (
    id              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,       -- from the configuration
    path            BLOB NOT NULL,
    recursive       INTEGER NOT NULL,           -- boolean
    state           TEXT NOT NULL,              -- "starting", "online", "offline", "paused"; "removed"
                                                --   from the configuration, only its history is kept
    error           INTEGER NOT NULL,           -- -errno why offline, else 0
    fsid            INTEGER NOT NULL,           -- u64; file system of the root, 0 unknown
    size            INTEGER NOT NULL,           -- u64; of that file system
    available       INTEGER NOT NULL,           -- u64; on that file system
    type            TEXT NOT NULL,              -- "ext4", "nfs4", ...; "" unknown
    network         INTEGER NOT NULL,           -- boolean: other hosts may change it
    watched         INTEGER NOT NULL,           -- boolean: inotify sees all of it
    watch_error     INTEGER NOT NULL,           -- -errno why not, else 0
    overflows       INTEGER NOT NULL,           -- lost inotify events, times
    unreadable      INTEGER NOT NULL,           -- files that may not be read, in the last walk
    walk            INTEGER NOT NULL,           -- number of the last begun walk
    walk_started    INTEGER NOT NULL,           -- time; of the last complete walk
    walk_finished   INTEGER NOT NULL,           -- time; of the last complete walk
    paused_until    INTEGER NOT NULL,           -- time; 0 not paused, -1 without end
    n_images        INTEGER NOT NULL            -- images present
) STRICT;
INSERT INTO datastore VALUES(1,'store',X'2f7372762f696d61676573',1,'online',0,-7841381090285360525,270553174016,83748995072,'ext4',0,1,0,0,0,1,1795160411246638,1795160411246920,0,0);
CREATE TABLE image (
    id              INTEGER PRIMARY KEY,
    path            BLOB NOT NULL UNIQUE,       -- absolute
    datastore       INTEGER NOT NULL REFERENCES datastore (id),
    present         INTEGER NOT NULL,           -- boolean: seen by the last complete walk or event
    gone            INTEGER,                    -- time it was found deleted, NULL while it exists. Only its
                                                --   history is kept then: no edge and no report
    first_seen      INTEGER NOT NULL,           -- time
    last_seen       INTEGER NOT NULL,           -- time
    walk            INTEGER NOT NULL,           -- number of the walk that saw it last
    fsid            INTEGER NOT NULL,           -- u64; identity: file system,
    inode           INTEGER NOT NULL,           -- u64; inode,
    btime           INTEGER NOT NULL,           -- nanoseconds; birth
    size            INTEGER NOT NULL,           -- u64; fingerprint as last seen on disk
    allocated       INTEGER NOT NULL,           -- u64; bytes on disk
    mtime           INTEGER NOT NULL,           -- nanoseconds
    ctime           INTEGER NOT NULL,           -- nanoseconds
    mode            INTEGER NOT NULL,           -- st_mode
    uid             INTEGER NOT NULL,
    gid             INTEGER NOT NULL,
    links           INTEGER NOT NULL,           -- hard links
    use             TEXT NOT NULL,              -- by QEMU's lock bytes: "unused", "read-only", "writer"
    worker_deaths   INTEGER NOT NULL,           -- consecutive audits that ended their worker
    audit           INTEGER,                    -- audit.id of the last audit, NULL before the first
    audit_before    INTEGER                     -- audit.id of the one before that, NULL when there was none
) STRICT;
INSERT INTO image VALUES(1,X'2f7372762f696d616765732f6f7665722e71636f7732',1,1,NULL,1795160411246920,1795160411246920,1,-7841381090285360525,11028459,1795160405083838689,196616,200704,1795160405087838689,1795160405119838688,33206,0,0,1,'unused',0,1,NULL);
INSERT INTO image VALUES(2,X'2f7372762f696d616765732f626173652e71636f7732',1,1,NULL,1795160411246920,1795160411246920,1,-7841381090285360525,11028457,1795160405023838692,1376256,1314816,1795160405071838690,1795160405071838690,33188,0,0,1,'unused',0,2,NULL);
CREATE TABLE edge (
    child           INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    kind            TEXT NOT NULL CHECK (kind IN ('parent', 'data-file')),
    state           TEXT NOT NULL,              -- reference_state_name(): "found", "missing", "escapes", ...
    stored          BLOB,                       -- as the image says it, hostile bytes; NULL unknown
    format          BLOB,                       -- declared format, hostile bytes; NULL when not declared
    path            BLOB,                       -- real path it leads to, where known: image.path of the parent
    fsid            INTEGER NOT NULL,           -- u64; identity of the target when found, else 0
    inode           INTEGER NOT NULL,           -- u64
    btime           INTEGER NOT NULL,           -- nanoseconds
    error           INTEGER NOT NULL,           -- -errno of the resolution, 0 when found
    PRIMARY KEY (child, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO edge VALUES(1,'parent','found',X'2f7372762f696d616765732f626173652e71636f7732',X'71636f7732',X'2f7372762f696d616765732f626173652e71636f7732',-7841381090285360525,11028457,1795160405023838692,0);
CREATE TABLE audit (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    image           INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    started         INTEGER NOT NULL,           -- time
    finished        INTEGER NOT NULL,           -- time
    confidence      TEXT NOT NULL,              -- "racy", "confirmed", "frozen", "offline"
    use             TEXT NOT NULL,              -- as image.use, during the audit
    deep            INTEGER NOT NULL,           -- boolean: forced or scrubbed, not only due to a change
    fsid            INTEGER NOT NULL,           -- u64; identity and fingerprint of what was audited,
    inode           INTEGER NOT NULL,           -- u64     as in image
    btime           INTEGER NOT NULL,
    size            INTEGER NOT NULL,           -- u64
    allocated       INTEGER NOT NULL,           -- u64
    mtime           INTEGER NOT NULL,
    ctime           INTEGER NOT NULL,
    mode            INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    gid             INTEGER NOT NULL,
    links           INTEGER NOT NULL,
    error           INTEGER NOT NULL,           -- 0: opened; else -errno why not (struct audit_report.error)
    open_kind       TEXT NOT NULL,              -- why, when not opened: qca_error_kind_name()
    open_layer      INTEGER NOT NULL,           -- layer it is about, 0 the image itself
    open_offset     INTEGER NOT NULL,           -- u64; host offset of the field or read
    open_value      INTEGER NOT NULL,           -- u64; what the field holds
    open_bound      INTEGER NOT NULL,           -- u64; what it may hold at most, 0 when not a matter of a bound
    open_field      TEXT NOT NULL,              -- the specification's name of the field, "" if none
    open_text       TEXT NOT NULL,              -- one sentence without a final dot
    worker_signal   INTEGER NOT NULL,           -- signal that ended the worker, 0 none
    worker_status   INTEGER NOT NULL,           -- its exit status when no signal
    bytes_read      INTEGER NOT NULL,           -- u64
    elapsed_usec    INTEGER NOT NULL,           -- microseconds
    cpu_usec        INTEGER NOT NULL,           -- microseconds
    peak_memory     INTEGER NOT NULL,           -- bytes
    -- NULL from here on when it was not opened:
    format          TEXT,                       -- qca_format_name()
    version         INTEGER,                    -- qcow2: 2 or 3; raw: 0
    virtual_size    INTEGER,                    -- u64
    cluster_size    INTEGER,                    -- bytes; raw: 0
    refcount_bits   INTEGER,
    incompatible    INTEGER,                    -- u64; feature bits
    compatible      INTEGER,                    -- u64
    autoclear       INTEGER,                    -- u64
    n_snapshots     INTEGER,                    -- readable internal snapshots
    n_bitmaps       INTEGER,                    -- readable persistent bitmaps
    -- NULL from here on when it was not checked:
    check_finished  INTEGER,                    -- boolean: 0, the counters so far stand
    corruptions     INTEGER,                    -- u64; the three counters of `qemu-img check`
    leaks           INTEGER,                    -- u64; clusters
    check_errors    INTEGER,                    -- u64
    total_clusters  INTEGER,                    -- u64; guest clusters
    allocated_clusters INTEGER,                 -- u64
    image_end       INTEGER,                    -- u64; end of the last used cluster, host offset
    n_issues        INTEGER,                    -- issues kept in report
    --
    depth           INTEGER                     -- layers of its chain then, 1 alone, 0 in or above a loop;
                                                --   NULL: not all of them were audited yet
) STRICT;
INSERT INTO audit VALUES(1,1,1795160411246971,1795160411250994,'offline','unused',0,-7841381090285360525,11028459,1795160405083838689,196616,200704,1795160405087838689,1795160405119838688,33206,0,0,1,0,'none',0,0,0,0,'','',0,0,332257,277,231,6676480,'qcow2',3,67108864,65536,16,0,0,0,0,0,1,0,0,0,1024,0,262144,0,2);
INSERT INTO audit VALUES(2,2,1795160411251005,1795160411251331,'offline','unused',0,-7841381090285360525,11028457,1795160405023838692,1376256,1314816,1795160405071838690,1795160405071838690,33188,0,0,1,0,'none',0,0,0,0,'','',0,0,397840,222,198,6676480,'qcow2',3,67108864,65536,16,0,0,0,0,0,1,0,0,0,1024,16,1376256,0,1);
CREATE TABLE report (
    audit           INTEGER PRIMARY KEY REFERENCES audit (id) ON DELETE CASCADE,
    image           INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    version         INTEGER NOT NULL,           -- of the JSON's form: 1
    body            TEXT NOT NULL               -- JSON
) STRICT;
INSERT INTO report VALUES(1,1,1,'{"open-error":{"kind":"none"},"layers":[{"info":{"format":"qcow2","version":3,"file-size":196616,"virtual-size":67108864,"cluster-size":65536,"refcount-bits":16,"header-length":112,"crypt-method":"none","l1-offset":196608,"l1-entries":1,"refcount-table-offset":65536,"refcount-table-clusters":1,"parent":"/srv/images/base.qcow2","parent-format":"qcow2","extensions":[{"type":3799591626,"length":5,"offset":120},{"type":1745090647,"length":384,"offset":136}]},"checked":true,"check":{"finished":true,"error":{"kind":"none"},"image-end":262144,"total-clusters":1024},"has-metadata-digest":true,"metadata-digest":"aacb177fc6e1a281c504fc3258d2e675405b8e97c0c792c88296340468f253a8","probed-format":"qcow2","extensions-total":2}],"bytes-read":332257,"elapsed-usec":277,"cpu-usec":231,"peak-memory":6676480}');
INSERT INTO report VALUES(2,2,1,'{"open-error":{"kind":"none"},"layers":[{"info":{"format":"qcow2","version":3,"file-size":1376256,"virtual-size":67108864,"cluster-size":65536,"refcount-bits":16,"header-length":112,"crypt-method":"none","l1-offset":196608,"l1-entries":1,"refcount-table-offset":65536,"refcount-table-clusters":1,"extensions":[{"type":1745090647,"length":384,"offset":120}]},"checked":true,"check":{"finished":true,"error":{"kind":"none"},"image-end":1376256,"total-clusters":1024,"allocated-clusters":16},"has-metadata-digest":true,"metadata-digest":"64b9d0389809f18907875747726dfbd4cff07819957c0265f5029c47397461ab","probed-format":"qcow2","extensions-total":1}],"bytes-read":397840,"elapsed-usec":222,"cpu-usec":198,"peak-memory":6676480}');
CREATE TABLE finding (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    type            TEXT NOT NULL,              -- name in findings.def: "metadata-corrupt"
    subject_kind    TEXT NOT NULL CHECK (subject_kind IN ('image', 'datastore', 'daemon')),
    subject         BLOB NOT NULL,              -- path of an image, name of a datastore, "" the daemon itself
    datastore       TEXT NOT NULL,              -- name; "" for the daemon itself
    state           TEXT NOT NULL,              -- "open", "acknowledged", "resolved"
    severity        TEXT NOT NULL,              -- "info", "warning", "error", "critical"
    confidence      TEXT NOT NULL,              -- as in audit
    first_seen      INTEGER NOT NULL,           -- time
    last_seen       INTEGER NOT NULL,           -- time
    changed         INTEGER NOT NULL,           -- time of the last transition
    resolved        INTEGER NOT NULL,           -- time, 0 while open
    count           INTEGER NOT NULL,           -- audits that saw it
    misses          INTEGER NOT NULL,           -- consecutive audits of low confidence without it
    weight          INTEGER NOT NULL,           -- u64; grows when it gets worse
    evidence        TEXT NOT NULL,              -- JSON object
    remedy          TEXT,                       -- JSON array of {"command" | "text", "precondition"}; NULL none
    acknowledged_by     TEXT,                   -- NULL when never
    acknowledged_reason TEXT,
    acknowledged_until  INTEGER NOT NULL,       -- time, 0 without end
    acknowledged_weight INTEGER NOT NULL,       -- u64; weight at the acknowledgement
    reminded        INTEGER NOT NULL,           -- time of the last alert
    reminders       INTEGER NOT NULL,           -- reminders since the last change
    UNIQUE (type, subject_kind, subject)
) STRICT;
INSERT INTO finding VALUES(1,'permissions','image',X'2f7372762f696d616765732f6f7665722e71636f7732','store','open','warning','offline',1795160411251375,1795160411251529,1795160411251375,0,1,0,1,'{"mode":438,"uid":0,"gid":0,"golden":false,"owner-writable":true,"group-writable":true,"others-writable":true,"summary":"can be written by everybody (mode 0666)"}','[{"command":"chmod go-w -- /srv/images/over.qcow2"}]',NULL,NULL,0,0,1795160411251375,0);
CREATE TABLE event (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,       -- QCAUDIT_EVENT_ID: 32 lower-case hexadecimal digits
    type            TEXT NOT NULL,              -- event_type_name(): "opened", "worsened", "resolved", ...
    at              INTEGER NOT NULL,           -- time
    finding         TEXT NOT NULL,              -- finding.type
    finding_id      INTEGER NOT NULL,           -- finding.id then; the row may be gone since
    subject_kind    TEXT NOT NULL,              -- as in finding
    subject         BLOB NOT NULL,
    datastore       TEXT NOT NULL,
    severity        TEXT NOT NULL,
    confidence      TEXT NOT NULL,
    message         TEXT NOT NULL,              -- one sentence, escaped
    depth           INTEGER NOT NULL,           -- layers of the chain, 0 when it does not matter
    outbox          INTEGER NOT NULL            -- boolean: 1, still to be told to administrators
) STRICT;
INSERT INTO event VALUES(1,'65ea5907ff6c4a1f9349914df518d4b4','opened',1795160411251375,'permissions',1,'image',X'2f7372762f696d616765732f6f7665722e71636f7732','store','warning','offline','permissions: /srv/images/over.qcow2 can be written by everybody (mode 0666)',2,0);
CREATE TABLE told (
    event           INTEGER NOT NULL REFERENCES event (seq) ON DELETE CASCADE,
    channel         TEXT NOT NULL,              -- "journal", "syslog", "console"
    at              INTEGER NOT NULL,           -- time
    PRIMARY KEY (event, channel)
) STRICT, WITHOUT ROWID;
INSERT INTO told VALUES(1,'console',1795160411484489);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('audit',2);
INSERT INTO sqlite_sequence VALUES('finding',1);
INSERT INTO sqlite_sequence VALUES('event',1);
CREATE INDEX image_by_datastore ON image (datastore);
CREATE INDEX image_gone ON image (gone) WHERE gone IS NOT NULL;
CREATE INDEX edge_by_path ON edge (path) WHERE path IS NOT NULL;
CREATE INDEX audit_by_image ON audit (image);
CREATE INDEX report_by_image ON report (image);
CREATE INDEX finding_by_subject ON finding (subject);
CREATE INDEX finding_resolved ON finding (resolved) WHERE resolved > 0;
CREATE INDEX event_by_subject ON event (subject);
CREATE INDEX event_by_at ON event (at);
CREATE INDEX event_outbox ON event (seq) WHERE outbox = 1;
COMMIT;
