-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 6 of the database to version 7. Types and units as in schema.sql.

-- event.outbox is a set of bits now: 1, still to be written to the logs; 2, still to be given to the program of
-- alerts.exec.
DROP INDEX event_outbox;
CREATE INDEX event_outbox ON event (seq) WHERE outbox > 0;

-- ---- the past --------------------------------------------------------------------------------------------------------

-- Which image was an overlay of which, and when: what a disk consisted of. Unlike edges, this is kept when the overlay
-- is gone, for as long as the history.
CREATE TABLE overlay_history (
    overlay         BLOB NOT NULL,              -- path
    parent          BLOB NOT NULL,              -- path
    since           INTEGER NOT NULL,           -- time it was first seen to refer to this parent
    until           INTEGER NOT NULL,           -- time it was seen to be deleted or to refer elsewhere, 0: it still does
    moved           INTEGER NOT NULL,           -- time a domain's disk moved from the parent to it, 0: not seen
    PRIMARY KEY (overlay, parent, since)
) STRICT, WITHOUT ROWID;
CREATE INDEX overlay_history_by_parent ON overlay_history (parent);
CREATE INDEX overlay_history_until ON overlay_history (until) WHERE until > 0;
INSERT INTO overlay_history (overlay, parent, since, until, moved)
    SELECT i.path, e.path, i.first_seen, 0,
        coalesce((SELECT m.at FROM disk_move m WHERE m.overlay = i.path AND m.parent = e.path), 0)
    FROM edge e JOIN image i ON i.id = e.child
    WHERE e.kind = 'parent' AND e.state = 'found' AND e.path IS NOT NULL AND e.path <> i.path;

-- The events of one finding, without reading the rows: what was open at a time.
CREATE INDEX event_by_finding ON event (finding_id DESC, seq, at, type);

-- The largest `at` of the events that were deleted, 0 none: events after that are all there. Any rule of retention may
-- leave older ones.
ALTER TABLE state ADD COLUMN events_swept INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER event_swept AFTER DELETE ON event WHEN OLD.at > (SELECT events_swept FROM state)
BEGIN
    UPDATE state SET events_swept = OLD.at;
END;
-- Of what was deleted until now, the gaps in the numbers tell: it is not younger than the first event after the last
-- gap. If those that are gone were the newest of all, nothing before the last sweep is sure.
UPDATE state SET events_swept = CASE
    WHEN coalesce((SELECT max(seq) FROM event), 0) < coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)
    THEN max(swept, coalesce((SELECT max(at) FROM event), 0))
    ELSE coalesce((SELECT e.at FROM event e WHERE e.seq > 1 AND NOT EXISTS
        (SELECT 1 FROM event before WHERE before.seq = e.seq - 1) ORDER BY e.seq DESC LIMIT 1), 0) END;

-- ---- mutes ---------------------------------------------------------------------------------------------------------

-- What administrators do not want to be told of for a while. All that is given of finding, path, class and finding_id
-- must hold. The row of the highest id stays, so that no id is given twice.
CREATE TABLE mute (
    id              INTEGER PRIMARY KEY,
    finding         TEXT,                       -- name; NULL any
    path            BLOB,                       -- pattern; NULL any
    class           TEXT,                       -- of the configuration; NULL any
    finding_id      INTEGER NOT NULL,           -- 0 any
    made_by         TEXT NOT NULL,
    reason          TEXT NOT NULL,
    made            INTEGER NOT NULL,           -- time
    until           INTEGER NOT NULL,           -- time, 0: without end
    ended           INTEGER NOT NULL,           -- time, 0: it holds
    ended_by        TEXT                        -- NULL: its time was over
) STRICT;
-- The mute that covers it, 0 none; its severity when that began to; mutes up to this id do not cover it any more.
ALTER TABLE finding ADD COLUMN muted_by INTEGER NOT NULL DEFAULT 0;
ALTER TABLE finding ADD COLUMN muted_severity TEXT NOT NULL DEFAULT 'info';
ALTER TABLE finding ADD COLUMN mutes_broken INTEGER NOT NULL DEFAULT 0;
-- Because of which it was not told; 0 none.
ALTER TABLE event ADD COLUMN muted_by INTEGER NOT NULL DEFAULT 0;

-- ---- a record that shows tampering -----------------------------------------------------------------------------------

-- Events are a chain: the digest of each is the SHA-256 of its predecessor's digest (32 zero bytes for the first) and
-- of these columns of its own, in this order: seq, id, type, at, finding, finding_id, subject_kind, origin, datastore,
-- severity, confidence, message, depth, muted_by, renamed. A column is one byte and its value: 'n' NULL; 'i' and the number as 8
-- bytes, two's complement, the highest first; 't' (TEXT) or 'b' (BLOB), its length in bytes as such a number, and the
-- bytes. What changes later is left out: outbox, and subject, which follows the image's name.
-- The subject as it was first written; NULL in what is older than the chain.
ALTER TABLE event ADD COLUMN origin BLOB;
-- A row of type "renamed" has no finding: events of the image `origin`, before it and not yet renamed, have this subject
-- from then on. NULL in all others.
ALTER TABLE event ADD COLUMN renamed BLOB;
ALTER TABLE event ADD COLUMN digest BLOB CHECK (length(digest) = 32);

-- Events that the retention deleted, as ranges that are as long as can be. Their digests hold the chain together.
CREATE TABLE event_removed (
    first           INTEGER PRIMARY KEY,        -- event.seq
    last            INTEGER NOT NULL,           -- event.seq
    before          BLOB NOT NULL CHECK (length(before) = 32),  -- digest of the event before the first
    digest          BLOB NOT NULL CHECK (length(digest) = 32),  -- digest of the last
    newest          INTEGER NOT NULL,           -- time of the newest of them
    removed         INTEGER NOT NULL,           -- time at which the last of them was deleted
    renames         INTEGER NOT NULL            -- how many of them were renames
) STRICT;
CREATE UNIQUE INDEX event_removed_by_last ON event_removed (last);

-- Random, of this database: what the system's journal has of another is told from this one's. 32 hexadecimal digits.
ALTER TABLE state ADD COLUMN record TEXT NOT NULL DEFAULT '';
-- event.seq of the last event that is older than the chain: it has no digest.
ALTER TABLE state ADD COLUMN unchained INTEGER NOT NULL DEFAULT 0;
UPDATE state SET record = lower(hex(randomblob(16))),
    unchained = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0);
