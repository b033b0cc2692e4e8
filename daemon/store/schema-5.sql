-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 4 of the database to version 5. Types and units as in schema.sql.

-- time by which the history was swept last: a clock that jumps ahead is followed slowly (store-sweep.c); 0 never
ALTER TABLE state ADD COLUMN swept INTEGER NOT NULL DEFAULT 0;
