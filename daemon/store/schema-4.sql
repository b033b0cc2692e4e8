-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 3 of the database to version 4. Types and units as in schema.sql.

-- A domain's disk was seen to move from one image to another, as when a snapshot is made that libvirt keeps nothing of.
CREATE TABLE disk_move (
    overlay         BLOB NOT NULL PRIMARY KEY,  -- path it moved to
    parent          BLOB NOT NULL,              -- path it moved from
    at              INTEGER NOT NULL            -- time
) STRICT, WITHOUT ROWID;

-- What a file was before its beginning changed.
-- By the audits of this very file: as which format other than raw it was opened last, NULL never;
ALTER TABLE image ADD COLUMN past_format TEXT;
-- time, the end of the last audit that found it so; its size and virtual size then (u64, bytes);
ALTER TABLE image ADD COLUMN past_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE image ADD COLUMN past_size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE image ADD COLUMN past_virtual_size INTEGER NOT NULL DEFAULT 0;
-- u64; its size when an audit found it to be raw, and none had found it to be anything else before; 0 never
ALTER TABLE image ADD COLUMN raw_size INTEGER NOT NULL DEFAULT 0;
-- What the audits until now tell of it.
UPDATE image SET (past_format, past_until, past_size, past_virtual_size) =
    (SELECT a.format, a.finished, a.size, a.virtual_size FROM audit a WHERE a.image = image.id
     AND a.fsid = image.fsid AND a.inode = image.inode AND a.btime = image.btime
     AND a.format <> 'raw' ORDER BY a.id DESC LIMIT 1)
    WHERE EXISTS (SELECT 1 FROM audit a WHERE a.image = image.id AND a.fsid = image.fsid
                  AND a.inode = image.inode AND a.btime = image.btime AND a.format <> 'raw');

-- JSON: what the image's parent was before the reference led elsewhere, or nowhere: {path, fsid, inode, btime, size,
-- virtual-size, seen, digest, encrypted, parent-fsid, parent-inode, parent-btime}; what is not known is left out.
-- NULL: it is as it was, or not known.
ALTER TABLE image ADD COLUMN former TEXT;

-- JSON: what the last complete walk of the datastore saw and left out, as the status has it: {files, folders, mounts,
-- left-out {REASON: number}, items [{reason, path, file-system or device}]}. NULL: it was not walked yet.
ALTER TABLE datastore ADD COLUMN coverage TEXT;
