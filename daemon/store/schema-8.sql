-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 7 of the database to version 8. Types and units as in schema.sql.

-- How full datastores were over time: what was first seen of each in each hour, kept for as long as the history. The id
-- is the order in which the rows were written, whatever the clock said.
CREATE TABLE space (
    id              INTEGER PRIMARY KEY,
    datastore       TEXT NOT NULL,              -- name
    at              INTEGER NOT NULL,           -- time
    size            INTEGER NOT NULL,           -- u64; of the file system, more than 0
    available       INTEGER NOT NULL            -- u64; on that file system
) STRICT;
CREATE INDEX space_by_datastore ON space (datastore, at);
CREATE INDEX space_at ON space (at);
