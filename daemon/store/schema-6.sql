-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 5 of the database to version 6. Types and units as in schema.sql.

-- Files of a datastore that were looked at and are no images.
CREATE TABLE other_files (
    datastore       TEXT NOT NULL PRIMARY KEY,  -- name
    files           BLOB NOT NULL               -- 24 bytes for each file, three little-endian u64: hash of its identity;
                                                --   hash of identity, size and times; its raw_size as in image
) STRICT;
