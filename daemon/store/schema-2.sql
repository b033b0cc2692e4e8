-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 1 of the database to version 2: what is known of contents. Types and units as in schema.sql.

-- What an image that must not change held when it was taken for good, and what the last reading said. The journal of
-- baselines (CONTROL_JOURNAL_NAME) has the same and outlives this database.
CREATE TABLE baseline (
    fsid            INTEGER NOT NULL,           -- u64; identity of the file, as in image
    inode           INTEGER NOT NULL,           -- u64
    btime           INTEGER NOT NULL,           -- nanoseconds
    path            BLOB NOT NULL,              -- where it was seen last
    source          TEXT NOT NULL,              -- why it is kept: "policy", "inferred", "parent", "accepted", "child"
    since           INTEGER NOT NULL,           -- time of the reading that made it
    verified        INTEGER NOT NULL,           -- time of the last reading that found the same
    digest          BLOB CHECK (length(digest) = 32),   -- of its own guest data, the parents' left out; NULL: never
                                                --   read completely
    virtual_size    INTEGER NOT NULL,           -- u64
    zeros           INTEGER NOT NULL,           -- u64; bytes that are allocated and hold zeros
    metadata        BLOB CHECK (length(metadata) = 32),     -- metadata digest then, NULL none
    size            INTEGER NOT NULL,           -- u64; fingerprint at the last reading that found the same
    allocated       INTEGER NOT NULL,           -- u64
    mtime           INTEGER NOT NULL,
    ctime           INTEGER NOT NULL,
    mode            INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    gid             INTEGER NOT NULL,
    links           INTEGER NOT NULL,
    attributes      INTEGER NOT NULL,           -- boolean: owner, mode or links were seen to change since
    parent_fsid     INTEGER NOT NULL,           -- u64; identity of its parent then, all 0 none
    parent_inode    INTEGER NOT NULL,           -- u64
    parent_btime    INTEGER NOT NULL,
    verity          TEXT,                       -- fs-verity's measure, "sha256:HEX"; NULL without
    blocks          TEXT,                       -- file of its block digests in the folder blocks; NULL none
    accepted_by     TEXT,                       -- who accepted it, NULL nobody had to
    reason          TEXT,                       -- and why
    gone            INTEGER NOT NULL,           -- time the file was found deleted, 0 while it exists
    lost_child      BLOB,                       -- overlay that was emptied or deleted since; NULL none
    deviation       TEXT,                       -- JSON: what the last reading found different; NULL nothing
    PRIMARY KEY (fsid, inode, btime)
) STRICT, WITHOUT ROWID;
CREATE INDEX baseline_by_path ON baseline (path);

-- One reading of all of an image's data, newest is the highest id.
CREATE TABLE digest (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    path            BLOB NOT NULL,
    started         INTEGER NOT NULL,           -- time
    finished        INTEGER NOT NULL,           -- time
    digest          BLOB,                       -- as in baseline; NULL: not complete
    virtual_size    INTEGER NOT NULL,           -- u64
    read            INTEGER NOT NULL,           -- bytes that were read,
    zero            INTEGER NOT NULL,           --   are known to be zeros,
    unallocated     INTEGER NOT NULL,           --   are not the image's own
    direct          INTEGER NOT NULL,           -- boolean: past the page cache
    bad             INTEGER NOT NULL,           -- ranges that could not be read
    verdict         TEXT NOT NULL,              -- "baseline", "verified", "metadata", "commit", "accepted",
                                                --   "changed", "bit-rot", "modified", "incomplete"
    explanation     TEXT NOT NULL               -- one sentence, escaped; "" none
) STRICT;
CREATE INDEX digest_by_path ON digest (path);

-- Findings can be of a domain, too: the same table with another check.
CREATE TABLE finding_2 (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    type            TEXT NOT NULL,
    subject_kind    TEXT NOT NULL CHECK (subject_kind IN ('image', 'datastore', 'daemon', 'domain')),
    subject         BLOB NOT NULL,              -- of a domain: "NAME on URI"
    datastore       TEXT NOT NULL,
    state           TEXT NOT NULL,
    severity        TEXT NOT NULL,
    confidence      TEXT NOT NULL,
    first_seen      INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    changed         INTEGER NOT NULL,
    resolved        INTEGER NOT NULL,
    count           INTEGER NOT NULL,
    misses          INTEGER NOT NULL,
    weight          INTEGER NOT NULL,
    evidence        TEXT NOT NULL,
    remedy          TEXT,
    acknowledged_by     TEXT,
    acknowledged_reason TEXT,
    acknowledged_until  INTEGER NOT NULL,
    acknowledged_weight INTEGER NOT NULL,
    reminded        INTEGER NOT NULL,
    reminders       INTEGER NOT NULL,
    UNIQUE (type, subject_kind, subject)
) STRICT;
INSERT INTO finding_2 SELECT * FROM finding;
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'finding_2', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'finding_2');
UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'finding'), 0))
    WHERE name = 'finding_2';
DROP TABLE finding;
ALTER TABLE finding_2 RENAME TO finding;
CREATE INDEX finding_by_subject ON finding (subject);
CREATE INDEX finding_resolved ON finding (resolved) WHERE resolved > 0;

-- The space that was left in a datastore, for two days. (What an image took is in its audits.)
CREATE TABLE sample (
    datastore       TEXT NOT NULL,              -- name
    at              INTEGER NOT NULL,           -- time
    available       INTEGER NOT NULL,           -- u64; bytes
    PRIMARY KEY (datastore, at)
) STRICT, WITHOUT ROWID;
