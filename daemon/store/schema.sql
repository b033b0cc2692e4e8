-- SPDX-License-Identifier: LGPL-2.1-or-later
-- Version 1 of the database (PRAGMA user_version). Run in one transaction by store-migrate.c.
--
-- Read by `qcauditctl --offline` too, so every column says what it holds. In common:
--   times       microseconds since the epoch; mtime, ctime and btime nanoseconds; 0: never or unknown
--   sizes       bytes
--   u64         an unsigned 64-bit number, kept as the signed one with the same bits (-1 is 2^64 - 1)
--   names       enumerations are their names (severity_name() and the like), so a row outlives a renumbering
--   BLOB paths  raw bytes without a final NUL; need not be UTF-8
--   JSON        TEXT as json-c prints it; its strings may hold raw bytes that are no UTF-8
--   booleans    0 or 1

-- One row: what the daemon must know of itself.
CREATE TABLE state (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    clean           INTEGER NOT NULL,   -- 1: stopped cleanly, or nothing written since; 0: running, or killed
    created         INTEGER NOT NULL,   -- time this database was made
    checked         INTEGER NOT NULL    -- time of the last complete quick_check, 0 never
) STRICT;

-- A datastore of the configuration, as last seen.
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

-- A file that is, or may be, an image.
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
CREATE INDEX image_by_datastore ON image (datastore);
CREATE INDEX image_gone ON image (gone) WHERE gone IS NOT NULL;

-- What an image refers to, by its last audit. No row: refers to nothing.
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
CREATE INDEX edge_by_path ON edge (path) WHERE path IS NOT NULL;

-- One examination of one image at one time; newest is the highest id. The figures of the image itself (layer 0).
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
CREATE INDEX audit_by_image ON audit (image);

-- The whole of an image's last audit and of the one before: struct audit_report as JSON, its form in store-report.c.
CREATE TABLE report (
    audit           INTEGER PRIMARY KEY REFERENCES audit (id) ON DELETE CASCADE,
    image           INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    version         INTEGER NOT NULL,           -- of the JSON's form: 1
    body            TEXT NOT NULL               -- JSON
) STRICT;
CREATE INDEX report_by_image ON report (image);

-- A condition with its life. One row for a type and a subject.
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
CREATE INDEX finding_by_subject ON finding (subject);
CREATE INDEX finding_resolved ON finding (resolved) WHERE resolved > 0;

-- One change in a finding's life. Append-only; in the order of seq. Also the outbox of alerts.
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
CREATE INDEX event_by_subject ON event (subject);
CREATE INDEX event_by_at ON event (at);
CREATE INDEX event_outbox ON event (seq) WHERE outbox = 1;

-- Where an event was told.
CREATE TABLE told (
    event           INTEGER NOT NULL REFERENCES event (seq) ON DELETE CASCADE,
    channel         TEXT NOT NULL,              -- "journal", "syslog", "console"
    at              INTEGER NOT NULL,           -- time
    PRIMARY KEY (event, channel)
) STRICT, WITHOUT ROWID;

INSERT INTO state (id, clean, created, checked) VALUES (1, 1, CAST(strftime('%s', 'now') AS INTEGER) * 1000000, 0);
