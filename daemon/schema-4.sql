-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 3 of the database to version 4. Types and units as in schema.sql.

-- A domain's disk was seen to move from one image to another, as when a snapshot is made that libvirt keeps nothing of.
CREATE TABLE disk_move (
    overlay         BLOB NOT NULL PRIMARY KEY,  -- path it moved to
    parent          BLOB NOT NULL,              -- path it moved from
    at              INTEGER NOT NULL            -- time
) STRICT, WITHOUT ROWID;
