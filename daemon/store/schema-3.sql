-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 2 of the database to version 3: baselines of encrypted images.

-- boolean: digest is of encrypted data as it is stored, and no content digest
ALTER TABLE baseline ADD COLUMN encrypted INTEGER NOT NULL DEFAULT 0;
